"""P11: a job read a shard of a dataset whose bytes are not those that were published or read before, and somebody else wrote it in between.

In: all facts on one attempt, among them each read of a file below a dataset's root.  Out: one finding per shard.  A dataset lives long, so
the window does, too; what publishes it is told as a save where that ran under the probe.

    read(a) by job 6 @10 ....... write by u099, day 40 ....... read(b) by job 7, day 41       a != b, u099 did not publish it

Where a job says that it read still other bytes after the write, or that it published these in the place of another's, the hit stays, below
the gate: it may be so, and it may be what u099 printed.  Where the shard had been altered before u099 wrote, and no record says by whom,
the hit stays above the gate and names nobody.
"""

from collections.abc import Iterator

from pipeline.detect import benign, benign_artefacts
from pipeline.detect.case import Case, Loaded, evidence
from pipeline.detect.detector import Meta, raised
from pipeline.detect.lineage import SAVES_MAX
from pipeline.detect.writers import Accusation, accusation, writes_of
from pipeline.model.events import CheckpointLoaded, CheckpointSaved, Event
from pipeline.model.finding import Checked, Finding, Severity
from pipeline.model.source import Source
from pipeline.stream.watermark import Watermarks

META = Meta(
    id="p11_dataset_tamper",
    version=5,
    title="Shard of a dataset changed by somebody who did not publish it",
    subject="job",
    severity=Severity.HIGH,
    attack=("T1565.001", "AML.T0020", "AML.T0059"),
    needs=(Source.PROBE, Source.AUDITD),
    window_seconds="detect.dataset_window_seconds",
    benign=(
        benign.owner_or_service,
        benign.system_daemon,
        benign.allowed_writer,
        benign.admin_ticket,
        benign.own_file,
        benign.saved_again,
        benign_artefacts.known_bytes,
        benign_artefacts.loaded_since,
        benign_artefacts.altered_before,
    ),
    required=("owner_or_service", "allowed_writer", "admin_ticket", "own_file", "saved_again", "known_bytes", "loaded_since"),
    blind_spots=(
        "Shards that the probe does not hash: of an unknown suffix, or read through a stream.",
        "Samples that were bad when the dataset was published.",
        "A write through a link that lies elsewhere: audit records tell the name by which a file was opened, not where it lies.",
        "An index or a mixture that names other shards: that is a job specification.",
        "A shard that nobody read under the probe in the 90 days before the write, and that was published without it.",
        "Who prints that he published these very bytes, where nobody had before and no record says that the shard was another's.",
        "Who writes unseen first, or prints in a job of his own that it was so: the hit stays, and he is not named by it for a month.",
        "Who alters what an unseen hand had altered more than a month before, or where others read the former bytes since: he is named.",
    ),
    runbook="Compare the shard with its manifest, and list every job that read it since the write.",
    harms=frozenset({"read_tampered_dataset"}),
)


def judge(case: Case, now: Watermarks) -> Iterator[Finding]:
    """One finding per shard, on its first read with other bytes."""
    done: set[str] = set()
    for loaded in case.loaded(CheckpointLoaded):
        if loaded.path in done or case.site.root_of(loaded.path).kind != "dataset":
            continue
        if (finding := _tampered(case, loaded, now)) is not None:
            done.add(loaded.path)
            yield finding


def _tampered(case: Case, loaded: Loaded, now: Watermarks) -> Finding | None:
    start = loaded.event.event_time - case.site.windows.dataset_window_seconds * 1000
    for before in _before(loaded):
        held = accusation(META.benign, case, writes_of(loaded, max(before.event_time, start)), loaded.event.event_time, now)
        if held is not None and (held.of_anothers_file or not _is_published(loaded)):
            return _raised(case, loaded, before, held)
    return None


def _before(loaded: Loaded) -> Iterator[Event]:
    """The last read of other bytes, that before the last foreign write, and how it was published with other ones."""
    yield from (each for each in (loaded.other, loaded.untouched) if each is not None)
    yield from [each for each in loaded.saves if isinstance(each.body, CheckpointSaved) and each.body.sha256 != loaded.sha256][:1]


def _is_published(loaded: Loaded) -> bool:
    """Was it published with the bytes that were read, as the first that says so says?

    Whoever changed the shard can print later, in a job of his own, that he saved it; where nobody published it under the probe he is the
    first, and where as many say so as are told nobody knows the first.  So it counts only where the kernel does not say that he wrote what
    was another's.
    """
    published = loaded.saves[0].body if 0 < len(loaded.saves) < SAVES_MAX else None
    return isinstance(published, CheckpointSaved) and published.sha256 == loaded.sha256


def _raised(case: Case, loaded: Loaded, before: Event, held: Accusation) -> Finding:
    doubted = {item.name for item in held.checklist if item.answer is Checked.NOT_CHECKED}
    again, doubt = "known_bytes" in doubted, bool(doubted & {"known_bytes", "loaded_since"})
    sha256 = getattr(before.body, "sha256", "")
    did = "published" if isinstance(before.body, CheckpointSaved) else "read"
    unseen, withheld = benign_artefacts.cited_altered(case, held.suspicion)
    cited = [*evidence("before", before, f"job {before.job} {did} sha256 {sha256[:16]}…"), *unseen, *held.cited()]
    cited += evidence("loaded", loaded.event, f"read sha256 {loaded.sha256[:16]}…")
    return raised(
        META,
        case,
        held.suspicion,
        held.checklist,
        effect="read_restored_dataset" if again else "read_tampered_dataset",
        anchor=loaded.path,
        summary=f"job {case.attempt.job} read {loaded.path} with other bytes than before; it was written in between"
        + (", and its bytes are older ones that came again" if again else ""),
        cited=cited,
        parts=(("bytes differ", 0.5 if doubt else 0.98), ("a foreign write lies between", held.strength)),
        closes_at=loaded.event.event_time + case.site.grace_ms,
        severity=Severity.MEDIUM if doubt else None,
        several_actors=held.several,
        withheld=withheld,
    )
