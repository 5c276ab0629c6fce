"""P06: a job loaded a checkpoint whose bytes are not those that were saved, and somebody else wrote the file in between.

In: all facts on one attempt, among them each load with the saves and writes before it.  Out: one finding per artefact.  There is no
clock limit: save, write and load may be days apart, and the record of the write may come after the load.

    save(hash a)  ....  write by u017  ....  load(hash b)       a != b, u017 neither owner nor allowed writer

When another job says that it saved the file since the hit stays, below the gate: it may be so, and it may be what u017 printed.
"""

from collections.abc import Iterator

from pipeline.detect import benign
from pipeline.detect.benign import Suspicion
from pipeline.detect.case import Case, evidence
from pipeline.detect.detector import Meta, explained, raised
from pipeline.model.actor import actor_of, relation
from pipeline.model.events import CheckpointLoaded, CheckpointSaved, Event, FileTouched
from pipeline.model.finding import Finding, Severity
from pipeline.model.source import Source
from pipeline.stream.watermark import Watermarks

META = Meta(
    id="p06_checkpoint_tamper",
    version=1,
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
    ),
    required=("owner_or_service", "saver", "saved_again", "own_file", "allowed_writer", "admin_ticket"),
    blind_spots=(
        "Jobs that do not use the probe have no hashes.",
        "A write from another client of shared storage without audit rules leaves no record; the storage's changelog would.",
        "A save is told by a job's output: in a job of one's own, under any name for its file, one can say to have saved any file.",
        "A tamper by the owner's own login, or by malware under it, looks like the owner.",
    ),
    runbook="Compare the file with the saved hash, and find every other job that loaded it since the write.",
)
WRITES_MAX = 200  # the newest: artefacts tell a load no more of what came before it
WRITING = frozenset({"written", "renamed", "truncated"})


def judge(case: Case, now: Watermarks) -> Iterator[Finding]:
    """One finding per path, on its first load with other bytes than were saved."""
    loads = {use.load.id: use.load for use in case.uses}
    by_path: dict[str, list[Event]] = {}
    for load in sorted(loads.values(), key=lambda each: (each.event_time, each.id)):
        if isinstance(load.body, CheckpointLoaded) and case.site.kind_of(load.body.path) != "dataset":  # P11's
            by_path.setdefault(load.body.path, []).append(load)
    for path in sorted(by_path):
        for load in by_path[path]:
            finding = _tampered(case, now, path, load)
            if finding is not None:
                yield finding
                break


def _tampered(case: Case, now: Watermarks, path: str, load: Event) -> Finding | None:
    """The loaded bytes against the last save; where another job said that one, against what others saved before it, too.

    Whoever changed a file can print, in a job of his own, that it was saved so or otherwise: that must not end the story.  What the
    loading job says of itself is believed, since nobody else prints its output.
    """
    if not isinstance(load.body, CheckpointLoaded):
        return None
    saves = case.saves_before(path, load.event_time)
    for saved in reversed(saves):
        if saved is not saves[-1] and saves[-1].job == case.attempt.job:
            break
        if (finding := _compared(case, now, path, load, saved, saves[-1])) is not None:
            return finding
    return None


def _compared(case: Case, now: Watermarks, path: str, load: Event, saved: Event, last: Event) -> Finding | None:
    if not isinstance(load.body, CheckpointLoaded) or not isinstance(saved.body, CheckpointSaved):
        return None
    loaded, again = load.body.sha256, saved is not last
    if saved.body.sha256 == loaded:
        return None
    history = [use.before for use in case.uses if use.load.id == load.id and use.before is not None]
    writes = [
        (each, each.body)
        for each in sorted(history, key=lambda each: (each.event_time, each.id))
        if isinstance(each.body, FileTouched) and each.event_time > saved.event_time and each.body.success and each.body.action in WRITING
    ][-WRITES_MAX:]
    accused = []
    for write, body in writes:
        if relation(actor_of(case.site.directory, write), case.owner) == "owner":
            continue
        suspicion = Suspicion(actor_of(case.site.directory, write), write, load.event_time, host=write.host)
        checklist, harmless = explained(META, case, suspicion, now)
        if not harmless:
            accused.append((suspicion, checklist, body))
    if not accused or accused[-1][0].cause is not writes[-1][0]:
        return None  # the bytes that were loaded come from the last write, and that one is explained
    suspicion, checklist, _ = accused[-1]
    actors = {each.actor.id if each.actor else "" for each, _, _ in accused}
    cited = [*evidence("saved", saved, f"saved with sha256 {saved.body.sha256[:16]}…")]
    if again:
        cited += evidence("saved again", last, f"saved again, says job {last.job}")
    cited += evidence("loaded", load, f"loaded with sha256 {loaded[:16]}…")
    for each, _, body in accused:
        cited += evidence("written", each.cause, f"{body.action} by login uid {body.auid} as uid {body.uid}")
    how = "it was written in between" + (", and another job says that it saved the file" if again else "")
    return raised(
        META,
        case,
        suspicion,
        checklist,
        effect="loaded_resaved_checkpoint" if again else "loaded_tampered_checkpoint",
        anchor=path,
        summary=f"job {case.attempt.job} loaded {path} with other bytes than were saved; {how}",
        cited=cited,
        parts=(
            ("hashes differ", 0.5 if again else 1.0),
            ("a foreign write lies between", 0.97 if len(accused) == len(writes) else 0.9),
        ),
        closes_at=load.event_time + case.site.grace_ms,
        severity=Severity.MEDIUM if again else None,
        several_actors=len(actors) > 1,
    )
