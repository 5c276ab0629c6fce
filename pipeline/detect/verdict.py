"""What is said of every ended attempt: benign with the record that acquits it, under a finding, or unexplained.

In: a case, its findings, the watermarks.  Out: one Verdict.  The scheduler's own word comes first; a failure needs a record that
explains it (out of memory, hardware, an application's error, the owner's own signal), and without one it is *unexplained*, which is not
an accusation.
"""

from collections.abc import Callable, Iterator, Sequence

from pipeline.detect.benign import (
    HARDWARE_XIDS,
    MEMORY_LIMITED,
    NODE_LOST,
    OUT_OF_MEMORY,
    PREEMPTIONS,
    Suspicion,
    memory_limited,
    root_without_login,
)
from pipeline.detect.benign_cancel import may_have_ended
from pipeline.detect.benign_kubernetes import controllers, deleted_behind_end, stands_beside
from pipeline.detect.case import Case, evidence
from pipeline.detect.detector import registry
from pipeline.model.actor import actor_of, relation
from pipeline.model.events import (
    ControllerJob,
    Event,
    NodeState,
    OomKill,
    SignalSent,
    StepOom,
    TaskEnded,
    TrainingLine,
    Xid,
)
from pipeline.model.finding import UNPROVEN, Checked, Evidence, Explanation, Finding, Verdict
from pipeline.model.source import Source
from pipeline.stream.watermark import Watermarks

NEVER = 2**62
LAUNCHERS_WORD = "ChildFailedError"  # torchrun's own error behind every failure of a rank (torch/distributed/elastic)
LAUNCH_FAILURE = 53  # Slurm's own code in the place of a signal
Found = tuple[str, Evidence]


def judge(case: Case, findings: Sequence[Finding], now: Watermarks) -> Verdict | None:
    """The verdict on an ended attempt; None while it runs."""
    if case.end_record is None or case.end is None:
        return None
    under = tuple(sorted(finding.id for finding in findings))
    harmed = [each.effect for each in findings if _harms(case, each)]
    if harmed:
        verdict, cause, by = "interference", harmed[0], None
    elif (found := _acquitted(case.proven, now)) is not None and not found[1].summary.endswith(UNPROVEN):
        verdict, (cause, by) = "benign", found
    else:
        verdict, cause, by = "unexplained", "no_record", None
    return Verdict(
        attempt=case.attempt,
        owner=case.owner_id,
        owner_uid=case.owner_uid,
        state=case.state,
        end=case.end,
        verdict=verdict,
        cause=cause,
        by=by,
        findings=under,
        checklist=_looked_at(case, now) if verdict == "unexplained" else (),
        nodes=case.nodes,
        gpus=case.gpus,
        closes_at=case.end + case.site.grace_ms,
    )


def _harms(case: Case, finding: Finding) -> bool:
    """Does the finding say how the attempt ended?  Not below its gate; and a job that lost pods and went on ends by something else."""
    if not finding.alert:
        return False
    meta = next(each.meta for each in registry("job") if each.meta.id == finding.detector)
    window_ms = case.site.windows.kill_window_seconds * 1000
    went_on = meta.direct and (case.state != "FAILED" or (case.end or 0) - finding.effect_time > window_ms)
    return finding.effect in meta.ends or (finding.effect in meta.harms and not went_on)


def _acquitted(case: Case, now: Watermarks) -> Found | None:
    """The first explanation that a record proves."""
    ends: dict[str, Callable[[Case], Found | None]] = {
        "COMPLETED": lambda each: _by_end(each, "completed"),
        "TIMEOUT": lambda each: _by_controller(each, "time_limit", "time_limit"),
        "DEADLINE": lambda each: _by_controller(each, "time_limit", "time_limit"),
        "PREEMPTED": lambda each: _by_controller(each, "preempted", "preempted"),
        "REQUEUED": lambda each: _by_controller(each, "requeued", "requeued"),
        "NODE_FAIL": lambda each: _by_controller(each, "node_fail", "node_failed"),
        "BOOT_FAIL": lambda each: _by_end(each, "node_fail"),
        "OUT_OF_MEMORY": lambda each: _oom(each) or (None if _limited(each) else _by_end(each, "out_of_memory")),
        "CANCELLED": lambda each: _cancelled(each, now),
        "FAILED": lambda each: _failed(each, now),
    }
    return ends[case.state](case) if case.state in ends and deleted_behind_end(case) is None else None


def _cited(case: Case, event: Event, summary: str) -> Evidence:  # noqa: ARG001 - reads as the others
    return evidence("acquits", event, summary)[0]


def _by_end(case: Case, cause: str) -> Found | None:
    return (cause, _cited(case, case.end_record[0], f"state {case.state}")) if case.end_record else None


def _by_controller(case: Case, cause: str, *changes: str) -> Found | None:
    """The controller's line where there is one, else the end record: both are the scheduler's word."""
    found = case.controller(*changes)
    return (cause, _cited(case, found[0], found[1].change)) if found else _by_end(case, cause)


def _cancelled(case: Case, now: Watermarks) -> Found | None:
    """Who asked for it: the request before the end, else whom a record names, else nobody knows."""
    if case.end is None:
        return None
    start, cancelled = case.end - case.site.windows.cancel_window_seconds * 1000, case.state == "CANCELLED"
    asked = [(event, actor_of(case.site.directory, event)) for event, _ in may_have_ended(case)]
    asked += [(each.event, each.identity) for each in case.cancelled_by() if cancelled or start <= each.event.event_time <= case.end]
    for event, who in asked:
        bond = relation(who, case.owner)
        if bond in ("owner", "service"):
            return f"{bond}_cancel", _cited(case, event, f"cancelled by {'its owner' if bond == 'owner' else 'a service'}")
        if who is not None and (
            ticket := case.site.directory.ticket_for(who, event.event_time, cluster=case.attempt.cluster, job=case.attempt.job)
        ):
            return "admin_cancel", _cited(case, event, f"cancelled under ticket {ticket.id}")
        if who is not None and controllers(event):
            return "service_cancel", _cited(case, event, "cancelled by a controller of the cluster")
        if root_without_login(case, Suspicion(who, event, case.end), now).answer is Checked.CONFIRMED:
            return "service_cancel", _cited(case, event, "cancelled by root, without a login")
    deleted = case.controller("deleted")
    if deleted is not None and start <= deleted[0].event_time <= case.end + 1_000:
        return "service_cancel", _cited(case, deleted[0], "deleted by the scheduler")
    if cancelled and not asked and (preempted := _preempted_before(case, case.end)) is not None:
        return "preempted", _cited(case, preempted, "preempted by the scheduler; nobody is on record as having asked for its end")
    # What was deleted by somebody else no event explains: whoever may delete may often write events, too.
    return None if cancelled else _of_objects(case, "preempted", PREEMPTIONS)


def _preempted_before(case: Case, end: int) -> Event | None:
    """The controller's word that it took the job's resources, shortly before the end; one that was suspended goes on."""
    start = end - case.site.windows.hardware_window_seconds * 1000
    said = ((event, body) for event, body in case.of(ControllerJob) if body.change == "preempted" and body.detail != "suspended")
    return next((event for event, _ in said if start <= event.event_time <= end + 1_000), None)


def _of_objects(case: Case, cause: str, reasons: tuple[str, ...]) -> Found | None:
    """What a controller of Kubernetes said of the job's objects before its end, unless somebody's request stands beside it."""
    start = (case.end or 0) - case.site.windows.hardware_window_seconds * 1000
    if case.end is not None and stands_beside(case, start, case.end):
        return None
    for event, body in case.object_events(*reasons):
        if case.end is not None and start <= event.event_time <= case.end:
            return cause, _cited(case, event, f"{body.kind} {body.reason}")
    return None


def _limited(case: Case) -> Event | None:
    """What somebody else did by which memory may have been short."""
    return memory_limited(case, case.end) if case.end is not None else None


def _oom(case: Case) -> Found | None:
    for event, body in _killed_by_kernel(case):
        if memory_limited(case, event.event_time, event.host) is None:
            return "out_of_memory", _cited(case, event, f"the kernel ended process {body.pid}")
    return None if _limited(case) else _of_objects(case, "out_of_memory", OUT_OF_MEMORY)


def _killed_by_kernel(case: Case) -> Iterator[tuple[Event, OomKill]]:
    """For want of memory, shortly before the end, of the job's own processes: the first on each node, since a limit holds from then on."""
    start = (case.end or 0) - case.site.windows.hardware_window_seconds * 1000
    pids = {rank.pid for _, rank in case.failed_ranks()}
    hosts: set[str] = set()
    for touch in case.node_touches:
        body, event = touch.event.body, touch.event
        if isinstance(body, OomKill) and case.end is not None and start <= event.event_time <= case.end and event.host not in hosts:
            named = body.pid in pids and (None in (body.uid, case.owner_uid) or body.uid == case.owner_uid)  # anybody prints a number
            if touch.job_pid or named:
                hosts.add(event.host)
                yield event, body


def _counted(case: Case, now: Watermarks) -> Found | None:
    """The step daemon's count of memory kills stands in the job's output: it counts only where the kernel was not heard."""
    start = (case.end or 0) - case.site.windows.hardware_window_seconds * 1000
    for event, _ in case.of(StepOom):
        if case.end is not None and not _limited(case) and case.missing(now, Source.KERNEL, start, case.end, case.nodes):
            return "out_of_memory", _cited(case, event, "the step daemon saw an out-of-memory kill")
    return None


def _hardware(case: Case) -> Found | None:
    if case.end is None:
        return None
    start = case.end - case.site.windows.hardware_window_seconds * 1000
    for touch in case.node_touches:
        body = touch.event.body
        if not start <= touch.event.event_time <= case.end:
            continue
        if isinstance(body, Xid) and body.code in HARDWARE_XIDS:
            return "hardware", _cited(case, touch.event, f"Xid {body.code}")
        if isinstance(body, NodeState) and body.change in ("not_responding", "down"):
            return "node_fail", _cited(case, touch.event, "node not responding")
    return _of_objects(case, "node_fail", NODE_LOST)


def _own_signal(case: Case) -> Found | None:
    """The owner ended it, or an admin under a ticket."""
    if case.end is None:
        return None
    start = case.end - case.site.windows.kill_window_seconds * 1000
    failed = {(rank.pid, rank.signal) for _, rank in case.failed_ranks()}
    traces = {signal for _, signal in failed} | (
        {case.end_record[1].exit_signal, case.end_record[1].derived_signal} if case.end_record else set()
    )
    traces |= {task.signal for _, task in case.of(TaskEnded)}
    for touch in case.touches:
        body = touch.event.body
        if not isinstance(body, SignalSent) or not body.success or not start <= touch.event.event_time <= case.end + 5_000:
            continue
        if body.signal not in traces or touch.matched == "host":
            continue
        actor = actor_of(case.site.directory, touch.event)
        bond = relation(actor, case.owner)
        login = body.auid is not None
        if bond == "owner" and login:
            return "owner_kill", _cited(case, touch.event, f"signal {body.signal} by the owner's login")
        where = {"cluster": case.attempt.cluster, "host": touch.event.host, "job": case.attempt.job}
        ticket = case.site.directory.ticket_for(actor, touch.event.event_time, **where) if actor else None
        if ticket is not None:
            return "admin_kill", _cited(case, touch.event, f"signal {body.signal} under ticket {ticket.id}")
    return None


def _app_error(case: Case) -> Found | None:
    """The program itself failed: an error line, or a plain exit code without any signal.

    What comes after a rank's death by a signal, or for want of memory that somebody else took away, is the word of those that were left,
    and of whoever writes there.  The launcher's own error stands behind every failure, also of a rank that somebody killed.
    """
    taken = [event.event_time for event, _ in _killed_by_kernel(case) if memory_limited(case, event.event_time, event.host) is not None]
    died = min((*taken, *(event.event_time for event, rank in case.failed_ranks() if rank.signal)), default=NEVER)
    for event, line in case.of(TrainingLine):
        if line.what == "error" and event.event_time <= died and LAUNCHERS_WORD not in line.text:
            return "app_error", _cited(case, event, "error line of the program")
    if taken:
        return None
    for event, rank in case.failed_ranks():
        if rank.exit_code is not None and rank.exit_code > 0 and rank.signal is None:
            return "app_error", _cited(case, event, f"rank ended with exit code {rank.exit_code}")
    if case.end_record is None:
        return None
    record = case.end_record[1]
    if not record.exit_signal and not record.derived_signal and (record.exit_code or record.derived_code):
        if any(rank.signal for _, rank in case.failed_ranks()):
            return None
        return "app_error", _cited(case, case.end_record[0], f"exit code {record.exit_code or record.derived_code}")
    return None


def _launch(case: Case) -> Found | None:
    """`0:53` is not a signal: the step could not be started (bad output path, missing folder)."""
    if case.end_record is not None and LAUNCH_FAILURE in (case.end_record[1].exit_signal, case.end_record[1].derived_signal):
        return "launch_failure", _cited(case, case.end_record[0], "the step could not be launched")
    return None


def _failed(case: Case, now: Watermarks) -> Found | None:
    node = case.controller("node_failed")
    if node is not None:
        return "node_fail", _cited(case, node[0], "node failure")
    # PBS ends what was deleted like any job that a signal ended.
    for look in (_launch, _oom, _hardware, lambda each: _cancelled(each, now), _own_signal, lambda each: _counted(each, now), _app_error):
        if (found := look(case)) is not None:
            return found
    return None


def _looked_at(case: Case, now: Watermarks) -> tuple[Explanation, ...]:
    """Which sources were heard around the end of a job that nothing acquits, and what only they say whom nobody authenticated."""
    if case.end is None:
        return ()
    start = case.end - case.site.windows.hardware_window_seconds * 1000
    checks = []
    if case.unproven and (said := _acquitted(case, now)) is not None:
        checks.append(Explanation(said[0], Checked.NOT_CHECKED, said[1].event_id, said[1].summary))
    if (limit := _limited(case)) is not None:
        checks.append(Explanation("out_of_memory", Checked.NOT_CHECKED, limit.record, MEMORY_LIMITED))
    for source in (Source.SLURMCTLD, Source.AUDITD, Source.KERNEL):
        missing = case.missing(now, source, start, case.end, case.nodes)
        answer = Checked.NOT_CHECKED if missing else Checked.EXCLUDED
        note = "" if missing else "heard around the end; no record explains it"
        checks.append(Explanation(f"explained_by_{source}", answer, note=note, missing=missing))
    return tuple(checks)
