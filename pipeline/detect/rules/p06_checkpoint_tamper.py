"""P06: a job loaded a checkpoint whose bytes are not those that were saved, and somebody else wrote the file in between.

In: all facts on one attempt, among them each load with the saves and writes before it.  Out: one finding per artefact.  There is no
clock limit: save, write and load may be days apart, and the record of the write may come after the load.

    save(hash a)  ....  write by u017  ....  load(hash b)       a != b, u017 neither owner nor allowed writer

When another job says that it saved the file since the hit stays, below the gate: it may be so, and it may be what u017 printed.  Where as
many jobs say so as are told of, who saved it first is not known, and any foreign write after which nobody else wrote is such a hit.
"""

from collections.abc import Iterator

from pipeline.detect import benign, benign_artefacts
from pipeline.detect.case import Case, Loaded, evidence
from pipeline.detect.detector import Meta, raised
from pipeline.detect.lineage import SAVES_MAX
from pipeline.detect.writers import Accusation, accusation, writes_of
from pipeline.model.events import CheckpointLoaded, CheckpointSaved, Event
from pipeline.model.finding import Finding, Severity
from pipeline.model.source import Source
from pipeline.stream.watermark import Watermarks

META = Meta(
    id="p06_checkpoint_tamper",
    version=6,
    title="Checkpoint changed by somebody else between save and load",
    subject="job",
    severity=Severity.CRITICAL,
    attack=("T1565.001", "T1565.003", "AML.T0018.000"),
    needs=(Source.PROBE, Source.AUDITD),
    window_seconds="",
    benign=(
        benign.owner_or_service,
        benign.system_daemon,
        benign.saver,
        benign.saved_again,
        benign.own_file,
        benign.allowed_writer,
        benign.admin_ticket,
        benign_artefacts.known_bytes,
        benign_artefacts.loaded_since,
    ),
    required=("owner_or_service", "saver", "saved_again", "own_file", "allowed_writer", "admin_ticket", "known_bytes", "loaded_since"),
    blind_spots=(
        "Jobs that do not use the probe have no hashes.",
        "A write from another client of shared storage without audit rules leaves no record; the storage's changelog would.",
        "Saves, loads of the same bytes before, and of others since, are told by jobs' output: printed, they lower the hit below the gate.",
        "A tamper by the owner's own login, or by malware under it, looks like the owner.",
        "An unseen hand that altered the file first: who writes behind it, to see what is wrong, is taken for who did it.",
        "A write through a link that lies elsewhere: audit records tell the name by which a file was opened, not where it lies.",
    ),
    runbook="Compare the file with the saved hash, and find every other job that loaded it since the write.",
    ends=frozenset({"loaded_tampered_checkpoint"}),
)


def judge(case: Case, now: Watermarks) -> Iterator[Finding]:
    """One finding per path, on its first load with other bytes than were saved."""
    done: set[str] = set()
    for loaded in case.loaded(CheckpointLoaded):
        if loaded.path in done or case.site.root_of(loaded.path).kind == "dataset":  # P11's
            continue
        if (finding := _tampered(case, now, loaded)) is not None:
            done.add(loaded.path)
            yield finding


def _tampered(case: Case, now: Watermarks, loaded: Loaded) -> Finding | None:
    """The loaded bytes against the last save; where another job said that one, against what others saved before it, too.

    Whoever changed a file can print, in a job of his own, that it was saved so or otherwise: that must not end the story.  What the
    loading job says of itself is believed, since nobody else prints its output.
    """
    saves = case.saves_before(loaded.path, loaded.event.event_time)
    own = next((place for place, save in enumerate(saves) if save.job == case.attempt.job), None)
    saves = saves[own or 0 :]
    for saved in reversed(saves):
        if not isinstance(saved.body, CheckpointSaved) or saved.body.sha256 == loaded.sha256:
            continue
        held = accusation(META.benign, case, writes_of(loaded, saved.event_time), loaded.event.event_time, now)
        if held is not None:
            return _raised(case, loaded, saved, saves[-1], held)
    if len(saves) == SAVES_MAX and own is None:
        held = accusation(META.benign, case, writes_of(loaded, -1), loaded.event.event_time, now)
        return _raised(case, loaded, None, saves[-1], held) if held is not None else None
    return None


def _raised(case: Case, loaded: Loaded, saved: Event | None, last: Event, held: Accusation) -> Finding:
    """`saved` None: more say that they saved it than are known."""
    again, cited = saved is not last, [*evidence("loaded", loaded.event, f"loaded with sha256 {loaded.sha256[:16]}…")]
    how = "with other bytes than were saved; it was written in between" if saved else "that somebody else had written"
    if saved is not None:
        cited += evidence("saved", saved, f"saved with sha256 {getattr(saved.body, 'sha256', '')[:16]}…")
    if again:
        cited += evidence("saved again", last, f"saved again, says job {last.job}")
        how += ", and another job says that it saved the file" if saved else ", and many other jobs say that they saved"
    return raised(
        META,
        case,
        held.suspicion,
        held.checklist,
        effect="loaded_resaved_checkpoint" if again else "loaded_tampered_checkpoint",
        anchor=loaded.path,
        summary=f"job {case.attempt.job} loaded {loaded.path} {how}",
        cited=[*cited, *held.cited()],
        parts=(("hashes differ", 0.5 if again else 1.0), ("a foreign write lies between", held.strength)),
        closes_at=loaded.event.event_time + case.site.grace_ms,
        severity=Severity.MEDIUM if again else None,
        several_actors=held.several,
    )
