"""P03: a job was cancelled by someone who neither owns it nor acts for its owner, or somebody tried to.

In: all facts on one attempt.  Out: findings.  The controller logs a request before it checks permission, so a request alone proves an
attempt: the effect is the end record, and who did it is confirmed by sacct's `CANCELLED by` or the kernel's record of the command.
A refused request is an attempt and is said to be one.
"""

from collections.abc import Iterator, Sequence

from pipeline.detect import benign
from pipeline.detect.benign import Suspicion
from pipeline.detect.case import Case, evidence
from pipeline.detect.detector import Meta, explained, raised
from pipeline.model.actor import actor_of, relation
from pipeline.model.events import Event, KillRequest, ProcessRun, StepCancelled
from pipeline.model.finding import Evidence, Finding, Severity
from pipeline.model.identity import Identity
from pipeline.model.source import Source
from pipeline.stream.watermark import Watermarks

META = Meta(
    id="p03_foreign_cancel",
    version=1,
    title="Job cancelled by a non-owner",
    subject="job",
    severity=Severity.HIGH,
    attack=("T1489", "T1531", "T1078"),
    needs=(Source.SLURMCTLD, Source.JOBCOMP, Source.AUDITD),
    window_seconds="detect.cancel_window_seconds",
    benign=(
        benign.owner_or_service,
        benign.preempted,
        benign.time_limit,
        benign.hardware_fault,
        benign.admin_ticket,
    ),
    required=("owner_or_service", "time_limit", "preempted"),
    blind_spots=(
        "A cancel from the owner's borrowed login looks like the owner: P17.",
        "`scancel --ctld` with filters leaves no line per job at the default log level: then accounting alone tells who, hours later.",
        "A cancel of one step goes straight to the node and never to the controller log.",
    ),
    runbook="Look at sacct's State of the job (CANCELLED by <uid>) and at the actor's session on the submit host.",
)
COMMAND_MS = 30_000  # the command runs a moment before the controller logs the request


def judge(case: Case, now: Watermarks) -> Iterator[Finding]:
    """One finding for a cancel that took effect, and one per identity whose requests were refused."""
    yield from _cancelled(case, now)
    yield from _refused(case, now)


def _cancelled(case: Case, now: Watermarks) -> Iterator[Finding]:
    if case.end_record is None or case.end is None or case.state != "CANCELLED":
        return
    window_ms = case.site.windows.cancel_window_seconds * 1000
    for event, request in case.requests():
        if not case.end - window_ms <= event.event_time <= case.end + 1_000:
            continue
        actor = actor_of(case.site.directory, event)
        if relation(actor, case.owner) == "owner":
            return  # the owner asked first: whoever asked again changed nothing
        if case.cancelled_by_uid is not None and case.cancelled_by_uid != request.uid:
            continue
        suspicion = Suspicion(actor, event, case.end)
        checklist, harmless = explained(META, case, suspicion, now)
        if harmless:
            return
        cited = [*evidence("cause", event, f"request to cancel by uid {request.uid}")]
        cited += evidence("effect", case.end_record[0], "job ended CANCELLED")
        cited += _says_who(case, request.uid)
        cited += _commands(case, actor, event.event_time)
        for ended, step in case.of(StepCancelled):
            if not step.reason:
                cited += evidence("effect", ended, "step cancelled")
        yield raised(
            META,
            case,
            suspicion,
            checklist,
            effect="cancelled",
            summary=f"job {case.attempt.job} of {case.owner_id} was cancelled on the request of uid {request.uid}",
            cited=cited,
            parts=(("request before the end", 0.97), ("who cancelled is recorded twice", 1.0 if len(cited) > 2 else 0.9)),
            closes_at=case.end + case.site.grace_ms,
        )
        return
    yield from _accounted(case, now)


def _accounted(case: Case, now: Watermarks) -> Iterator[Finding]:
    """No line of the controller tells of a request, but accounting says who cancelled.

    Root is what Slurm writes when it cancels by itself, for a dependency or a failed prolog; so that alone accuses nobody.
    """
    uid = case.cancelled_by_uid
    if not uid or case.end is None or case.end_record is None:
        return
    cause = next(event for event, record in case.records if record.cancelled_by_uid == uid)
    actor = case.site.directory.by_uid(uid, case.end)
    suspicion = Suspicion(actor, cause, case.end)
    checklist, harmless = explained(META, case, suspicion, now)
    if harmless:
        return
    yield raised(
        META,
        case,
        suspicion,
        checklist,
        effect="cancelled",
        summary=f"job {case.attempt.job} of {case.owner_id} was cancelled by uid {uid}, says accounting",
        cited=[*_says_who(case, uid), *evidence("effect", case.end_record[0], "job ended CANCELLED"), *_commands(case, actor, case.end)],
        parts=(("accounting names who cancelled", 0.95),),
        closes_at=case.end + case.site.grace_ms,
    )


def _says_who(case: Case, uid: int) -> list[Evidence]:
    return [
        item
        for event, record in case.records
        if record.cancelled_by_uid == uid
        for item in evidence("cause", event, f"accounting: cancelled by uid {uid}")
    ]


def _commands(case: Case, actor: Identity | None, at: int) -> list[Evidence]:
    """`scancel` runs of the same identity around the request."""
    cited: list[Evidence] = []
    for event, run in case.of(ProcessRun):
        runner = actor_of(case.site.directory, event)
        if runner and actor and runner.id == actor.id and at - COMMAND_MS <= event.event_time <= at + COMMAND_MS:
            cited += evidence("cause", event, f"command {run.exe or 'scancel'} on {event.host}")
    return cited


def _refused(case: Case, now: Watermarks) -> Iterator[Finding]:
    tries: dict[str, list[tuple[Event, KillRequest]]] = {}
    for event, request in case.of(KillRequest):
        actor = actor_of(case.site.directory, event)
        if request.refused and relation(actor, case.owner) != "owner":
            tries.setdefault(actor.id if actor else "", []).append((event, request))
    for identity in sorted(tries):
        yield from _refused_of(case, now, identity, tries[identity])


def _refused_of(case: Case, now: Watermarks, identity: str, tries: Sequence[tuple[Event, KillRequest]]) -> Iterator[Finding]:
    first, request = tries[0]
    actor = actor_of(case.site.directory, first)
    suspicion = Suspicion(actor, first, tries[-1][0].event_time)
    checklist = tuple(explain(case, suspicion, now) for explain in (benign.owner_or_service, benign.admin_ticket))
    if any(item.answer == "confirmed" for item in checklist):
        return
    cited = [item for event, body in tries for item in evidence("cause", event, f"refused request by uid {body.uid}")]
    cited += _commands(case, actor, first.event_time)
    yield raised(
        META,
        case,
        suspicion,
        checklist,
        effect="cancel_refused",
        anchor=identity,
        summary=f"uid {request.uid} tried to cancel job {case.attempt.job} of {case.owner_id} and was refused",
        cited=cited,
        parts=(("the controller refused it", 0.97),),
        closes_at=suspicion.effect_time + case.site.grace_ms,
        severity=Severity.MEDIUM,
    )
