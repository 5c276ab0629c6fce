"""P03: a job was cancelled by someone who neither owns it nor acts for its owner, or somebody tried to.

In: all facts on one attempt.  Out: findings.  Slurm's controller logs a request before it checks permission, so a request alone proves
an attempt: the effect is the end record, and who did it is confirmed by sacct's `CANCELLED by` or the kernel's record of the command.
PBS and the API server of Kubernetes say who deleted a job once it is granted; who deletes pods, or evicts them, ends a job by its parts.
A refused request is an attempt and is said to be one, below the gate as long as a mistyped number looks the same.  A request may be for
any signal, which the controller does not write down: of a job that fails by one after somebody's request that is said, below the gate.
"""

from collections.abc import Iterator, Sequence
from itertools import takewhile

from msgspec.structs import replace

from pipeline.detect import benign, benign_cancel, benign_kubernetes
from pipeline.detect.benign import COMMAND_MS, Suspicion
from pipeline.detect.case import Cancel, Case, evidence
from pipeline.detect.deletions import asked_for, deleted_in_doubt, parts_taken
from pipeline.detect.detector import CITED_MAX, Meta, explained, hit, raised, several
from pipeline.detect.refusals import refused
from pipeline.model.actor import actor_of, relation
from pipeline.model.events import Event, JobUpdate, KillRequest, StepCancelled
from pipeline.model.finding import NO_LOGIN, UNPROVEN, Evidence, Finding, Severity
from pipeline.model.identity import Identity
from pipeline.model.source import Source
from pipeline.stream.watermark import Watermarks

META = Meta(
    id="p03_foreign_cancel",
    version=12,
    title="Job cancelled by a non-owner",
    subject="job",
    severity=Severity.HIGH,
    attack=("T1489", "T1531", "T1078"),
    needs=(Source.SLURMCTLD, Source.JOBCOMP, Source.SACCT, Source.AUDITD, Source.KUBERNETES_AUDIT),
    window_seconds="detect.cancel_window_seconds",
    benign=(
        benign.owner_or_service,
        benign.preempted,
        benign.time_limit,
        benign.out_of_memory,
        benign.hardware_fault,
        benign.admin_ticket,
        benign.root_without_login,
        benign_kubernetes.controller_of_cluster,
        benign_kubernetes.node_drain,
        benign_kubernetes.over_before,
        benign_kubernetes.trial_run,
        benign_cancel.which_signal,
        benign_cancel.mistyped_number,
    ),
    required=(
        "owner_or_service", "time_limit", "preempted", "controller_of_cluster", "node_drain", "over_before", "trial_run", "which_signal",
        "mistyped_number",
    ),
    blind_spots=(
        "A cancel from the owner's borrowed login looks like the owner: P17; one by root's timer, whoever made that, like the system.",
        "`scancel --ctld` with filters leaves no line per job at the default log level: then accounting alone tells who, hours later.",
        "Where accounting is silent, a cancel soon after the owner asked for one, or for a mere signal by a command that nobody recorded.",
        "Where it is, who cancels while others send such signals is not named; nor is one told whose own `scancel` only looks like one.",
        "A request for a whole collection of Kubernetes, or a Command of Volcano (`vcctl job suspend`), names no job.",
        "Who makes an object of another kind under the job's name owns, as far as is known, the pods that are taken from then on.",
        "Who may write events of Kubernetes can lower his own deletion below the gate: by a preemption before it, or an end.",
        "A dry run of `kubectl delete` looks like a deletion where the audit policy leaves out what requests hold.",
        "Of a job that a service made (a pipeline, a notebook server) nobody says for whom: its deletion stays below the gate.",
        "LSF writes down that somebody signalled a job, and not for certain who.",
        "`scancel --signal` by who may is told where the job fails by a signal, and not which one was asked for.",
        "Refused tries are an alert from the third on, over ten minutes: who tries each of many jobs once stays below the gate.",
        "A node that somebody sets DOWN (`scontrol update`) looks like one that failed: the controller's log does not say who.",
        "A cancel of one step goes straight to the node and never to the controller log.",
    ),
    runbook="Look at sacct's State of the job (CANCELLED by <uid>) and at the actor's session on the submit host; "
    "of refused tries, whether the actor has a job with a number like it.",
    ends=frozenset({"cancelled"}),
    harms=frozenset({"pods_deleted"}),
    direct=True,
)  # fmt: skip
OF_SEVERAL = ", of whom several asked"
OWNER_TOO = "its owner asked for it, too, and no record tells by whose request it ended"
OF_A_TRY = (benign.owner_or_service, benign.admin_ticket, benign_kubernetes.controller_of_cluster)


def judge(case: Case, now: Watermarks) -> Iterator[Finding]:
    """One finding for a cancel that took effect, one for parts that were taken away, and one per identity whose requests were refused.

    And one for a deletion of which it is not known that it ended anything: the job was over, or it was a dry run; and for a request for
    some signal, after which the job failed by one.
    """
    yield from _cancelled(case, now)
    yield from _signalled(case, now)
    yield from deleted_in_doubt(META, case, now)
    yield from parts_taken(META, case, now)
    yield from _refused(case, now)


def _cancelled(case: Case, now: Watermarks) -> Iterator[Finding]:
    """Where accounting does not say by whose request the job ended, each that came before its owner's may be the one.

    By several identities' nobody is named, and what acquits one request does not acquit the others: neither somebody else's nor another
    of the same one's.
    """
    asked = [Suspicion(actor_of(case.site.directory, event), event, case.end or 0) for event, _ in benign_cancel.may_have_ended(case)]
    if not asked:
        yield from _accounted(case, now)
        return
    before = [*takewhile(lambda each: relation(each.actor, case.owner) != "owner", asked)]  # whoever asked again changed nothing
    hits = sorted((found for each in before if (found := hit(META, case, each, now)) is not None), key=lambda each: each.open)
    if case.end_record is None or not hits:
        return
    suspicion, checklist = hits[0]
    told: dict[str, Suspicion] = {}
    for each in (*(each for each, _ in hits), *before):  # of each identity the request that is explained least
        told.setdefault(each.actor.id if each.actor else "", each)
    shown, of_several = [*told.values()][:CITED_MAX], len(told) > 1
    as_user = [item for each in shown for item in _as_user(case, _uid(each), each.actor, each.cause.event_time)]
    cited = [item for each in shown for item in _asked(case, each)] + as_user
    cited += evidence("effect", case.end_record[0], "job ended CANCELLED")
    another = any(each.uid is None or each.uid != _uid(suspicion) for each in benign_cancel.accounted(case))
    twice = ("who cancelled is recorded twice", 1.0 if len(cited) > 2 else 0.9)
    for ended, step in case.of(StepCancelled):
        if not step.reason:
            cited += evidence("effect", ended, "step cancelled")
    yield raised(
        META,
        case,
        suspicion,
        checklist,
        effect="cancelled",
        summary=f"job {case.attempt.job} of {case.owner_id} was cancelled on the request of somebody else{OF_SEVERAL * of_several}",
        cited=cited,
        parts=(("request before the end", 0.97), ("whose request it was is not told", 0.5) if of_several else twice),
        closes_at=suspicion.effect_time + case.site.grace_ms,
        several_actors=of_several or bool(as_user) or another,
        withheld=OWNER_TOO if len(before) < len(asked) else "",
    )


def _uid(suspicion: Suspicion) -> int | None:
    return suspicion.cause.body.uid if isinstance(suspicion.cause.body, KillRequest) else None


def _asked(case: Case, suspicion: Suspicion) -> list[Evidence]:
    """A request, the records of accounting that name who made it, and the commands by which."""
    said = [*evidence("cause", suspicion.cause, "request to cancel")]
    for each in benign_cancel.accounted(case):
        said += evidence("cause", each.event, "record of who cancelled") if benign_cancel.may_be(case, suspicion.cause, each) else ()
    return _with_commands(said, case, suspicion.actor, suspicion.cause.event_time)


def _signalled(case: Case, now: Watermarks) -> Iterator[Finding]:
    """`scancel --signal=KILL` of all steps leaves a job that failed."""
    if case.end_record is None or case.end is None or case.state != "FAILED":
        return
    record, window_ms = case.end_record[1], case.site.windows.cancel_window_seconds * 1000
    if not (record.exit_signal or record.derived_signal):
        return
    near = [event for event, _ in case.requests() if case.end - window_ms <= event.event_time <= case.end + 1_000]
    actors = [actor_of(case.site.directory, event) for event in near]
    if any(relation(actor, case.owner) == "owner" for actor in actors):
        return
    found = (hit(META, case, Suspicion(actor, event, case.end), now) for event, actor in zip(near, actors, strict=True))
    hits = [each for each in found if each is not None]
    if not hits:
        return
    suspicion, checklist = min(hits, key=lambda each: each.open)
    cited = [item for each, _ in hits[:CITED_MAX] for item in evidence("cause", each.cause, "request to signal or to cancel")]
    yield raised(
        META,
        case,
        suspicion,
        checklist,
        effect="signalled",
        summary=f"job {case.attempt.job} of {case.owner_id} failed by a signal behind a request of somebody else",
        cited=[*cited, *evidence("effect", case.end_record[0], "job ended FAILED")],
        parts=(("request before the end", 0.97), ("which signal is not known", 0.5)),
        closes_at=case.end + case.site.grace_ms,
        severity=Severity.MEDIUM,
        several_actors=several(each for each, _ in hits),
    )


def _accounted(case: Case, now: Watermarks) -> Iterator[Finding]:
    """No line of Slurm's controller tells of a request, but a record says who cancelled: accounting, PBS, the API server.

    Root is what Slurm and PBS write when they cancel by themselves, for a dependency or a failed prolog; so that alone accuses nobody.
    """
    named = [each for each in case.cancelled_by() if each.uid != 0 and each.name != "root" and _ended(case, each)]
    first = min(named, key=lambda each: (each.event.event_time, each.event.id), default=None)
    if first is None or relation(first.identity, case.owner) == "owner":
        return  # when the owner asked first, whoever asked again changed nothing
    end = case.end if case.end is not None else first.event.event_time
    suspicion = Suspicion(first.identity, first.event, end)
    checklist, harmless = explained(META, case, suspicion, now)
    if harmless:
        return
    effect = evidence("effect", case.end_record[0], f"job ended {case.state}") if case.end_record else ()
    as_user = _as_user(case, first.uid, first.identity, end)
    yield raised(
        META,
        case,
        suspicion,
        checklist,
        effect="cancelled",
        summary=f"job {case.attempt.job} of {case.owner_id} was cancelled by somebody else, says {first.event.source}",
        cited=[*_with_commands(_says_who(case, first), case, first.identity, end), *as_user, *effect],
        parts=(("a record names who cancelled", 0.95),),
        closes_at=end + case.site.grace_ms,
        several_actors=bool(as_user),
    )


def _ended(case: Case, cancel: Cancel) -> bool:
    """Did the job end by it?  PBS writes down the request, and then an end like any other by a signal; what waits leaves no end."""
    asked = cancel.event.event_time
    if not isinstance(cancel.event.body, JobUpdate):
        return case.end is not None and case.state == "CANCELLED"
    if case.end is None:
        return case.attempt.start < 0
    window_ms = case.site.windows.cancel_window_seconds * 1000
    return case.state != "COMPLETED" and asked - 1_000 <= case.end <= asked + window_ms


def _says_who(case: Case, of: Cancel) -> list[Evidence]:
    same = [each for each in case.cancelled_by() if (each.uid, each.name) == (of.uid, of.name)]
    return [item for each in same for item in evidence("cause", each.event, "record of who cancelled")]


def _with_commands(said: Sequence[Evidence], case: Case, actor: Identity | None, at: int) -> list[Evidence]:
    """Who gave the order, and the commands by which: where no login is behind any of these, none is behind the order."""
    commands = _commands(case, actor, at)
    if commands and all(each.summary.endswith(NO_LOGIN) for each in commands):
        said = [each if each.summary.endswith(UNPROVEN) else replace(each, summary=each.summary + NO_LOGIN) for each in said]
    return [*said, *commands]


def _commands(case: Case, actor: Identity | None, at: int) -> list[Evidence]:
    """`scancel` runs of the same identity around the request."""
    cited: list[Evidence] = []
    for event, run in case.ran("scancel"):
        runner = actor_of(case.site.directory, event)
        if runner and actor and runner.id == actor.id and abs(event.event_time - at) <= COMMAND_MS:
            by = NO_LOGIN if event.source is Source.AUDITD and run.auid is None and run.uid else ""
            cited += evidence("cause", event, f"command {run.exe or 'scancel'} on {event.host}{by}")
    return cited


def _as_user(case: Case, uid: int | None, actor: Identity | None, at: int) -> list[Evidence]:
    """`scancel` runs under the account that asked, from somebody else's login: the controller sees the account, the kernel who came in.

    Where the account's own login ran one as well, nothing says that the other's was the one that told.
    """
    if uid is None or actor is None or _commands(case, actor, at):
        return []
    cited: list[Evidence] = []
    for event, run in case.ran("scancel"):
        runner = actor_of(case.site.directory, event)
        if runner and runner.id != actor.id and run.auid is not None and run.uid == uid and abs(event.event_time - at) <= COMMAND_MS:
            cited += evidence("cause", event, f"command {run.exe or 'scancel'} on {event.host} under this account, from another's login")
    return cited


def _refused(case: Case, now: Watermarks) -> Iterator[Finding]:
    def cite(tries: Sequence[Event]) -> Iterator[Evidence]:
        for event in tries:
            yield from evidence("cause", event, f"refused: {asked_for(event)}")
        yield from _commands(case, actor_of(case.site.directory, tries[0]), tries[0].event_time)

    made = benign_cancel.tries(case, to_change=False)
    yield from refused(META, case, now, made, OF_A_TRY, effect="cancel_refused", tried_to="cancel", cite=cite)
