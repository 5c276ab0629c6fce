"""P06: a job loaded a checkpoint whose bytes are not those that were saved, and somebody else wrote the file in between.

In: all facts on one attempt, among them each load with the saves and writes before it.  Out: one finding per artefact.  There is no
clock limit: save, write and load may be days apart, and the record of the write may come after the load.

    save(hash a)  ....  write by u017  ....  load(hash b)       a != b, u017 neither owner nor allowed writer
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
        benign.allowed_writer,
        benign.admin_ticket,
    ),
    required=("owner_or_service", "saver", "allowed_writer", "admin_ticket"),
    blind_spots=(
        "Jobs that do not use the probe have no hashes.",
        "A write from another client of shared storage without audit rules leaves no record; the storage's changelog would.",
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
        if isinstance(load.body, CheckpointLoaded):
            by_path.setdefault(load.body.path, []).append(load)
    for path in sorted(by_path):
        for load in by_path[path]:
            finding = _tampered(case, now, path, load)
            if finding is not None:
                yield finding
                break


def _tampered(case: Case, now: Watermarks, path: str, load: Event) -> Finding | None:
    history = [use.before for use in case.uses if use.load.id == load.id and use.before is not None]
    saves = sorted((each for each in history if isinstance(each.body, CheckpointSaved)), key=lambda each: (each.event_time, each.id))
    if not saves or not isinstance(load.body, CheckpointLoaded):
        return None
    saved = saves[-1]
    if not isinstance(saved.body, CheckpointSaved) or saved.body.sha256 == load.body.sha256:
        return None
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
    cited += evidence("loaded", load, f"loaded with sha256 {load.body.sha256[:16]}…")
    for each, _, body in accused:
        cited += evidence("written", each.cause, f"{body.action} by login uid {body.auid} as uid {body.uid}")
    return raised(
        META,
        case,
        suspicion,
        checklist,
        effect="loaded_tampered_checkpoint",
        anchor=path,
        summary=f"job {case.attempt.job} loaded {path} with other bytes than were saved; it was written in between",
        cited=cited,
        parts=(("hashes differ", 1.0), ("a foreign write lies between", 0.97 if len(accused) == len(writes) else 0.9)),
        closes_at=load.event_time + case.site.grace_ms,
        several_actors=len(actors) > 1,
    )
