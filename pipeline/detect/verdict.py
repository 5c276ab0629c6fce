"""What is said of every ended attempt: benign with the record that acquits it, under a finding, or unexplained.

In: a case, its findings, the watermarks.  Out: one Verdict.  The scheduler's own word comes first; a failure needs a record that
explains it (out of memory, hardware, an application's error, the owner's own signal), and without one it is *unexplained*, which is not
an accusation.
"""

from collections.abc import Callable, Sequence

from pipeline.detect.benign import HARDWARE_XIDS
from pipeline.detect.case import Case, evidence
from pipeline.model.actor import actor_of, relation
from pipeline.model.events import (
    Event,
    JobRecord,
    KillRequest,
    NodeState,
    OomKill,
    SignalSent,
    StepOom,
    TaskEnded,
    TrainingLine,
    Xid,
)
from pipeline.model.finding import Checked, Evidence, Explanation, Finding, Verdict
from pipeline.model.source import Source
from pipeline.stream.watermark import Watermarks

LAUNCH_FAILURE = 53  # Slurm's own code in the place of a signal
Found = tuple[str, Evidence]
DEADLY_EFFECTS = frozenset({"ranks_killed", "cancelled", "loaded_tampered_checkpoint"})
# What harms a job by what it loaded, or did from inside: less is known of it, so that only an alert decides the verdict.
HARMFUL_EFFECTS = frozenset({
    "killed_from_inside", "imported_tampered_module", "started_with_foreign_hook", "shell_from_pickle", "resumed_from_older",
    "read_tampered_dataset",
})  # fmt: skip


def judge(case: Case, findings: Sequence[Finding], now: Watermarks) -> Verdict | None:
    """The verdict on an ended attempt; None while it runs."""
    if case.end_record is None or case.end is None:
        return None
    under = tuple(sorted(finding.id for finding in findings))
    harmed = [each.effect for each in findings if each.effect in DEADLY_EFFECTS or (each.alert and each.effect in HARMFUL_EFFECTS)]
    if harmed:
        verdict, cause, by = "interference", harmed[0], None
    elif (found := _acquitted(case)) is not None:
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


def _acquitted(case: Case) -> Found | None:
    """The first explanation that a record proves."""
    ends: dict[str, Callable[[Case], Found | None]] = {
        "COMPLETED": lambda each: _by_end(each, "completed"),
        "TIMEOUT": lambda each: _by_controller(each, "time_limit", "time_limit"),
        "DEADLINE": lambda each: _by_controller(each, "time_limit", "time_limit"),
        "PREEMPTED": lambda each: _by_controller(each, "preempted", "preempted"),
        "REQUEUED": lambda each: _by_controller(each, "requeued", "requeued"),
        "NODE_FAIL": lambda each: _by_controller(each, "node_fail", "node_failed"),
        "BOOT_FAIL": lambda each: _by_end(each, "node_fail"),
        "OUT_OF_MEMORY": lambda each: _oom(each) or _by_end(each, "out_of_memory"),
        "CANCELLED": _cancelled,
        "FAILED": _failed,
    }
    return ends[case.state](case) if case.state in ends else None


def _cited(case: Case, event: Event, summary: str) -> Evidence:  # noqa: ARG001 - reads as the others
    return evidence("acquits", event, summary)[0]


def _by_end(case: Case, cause: str) -> Found | None:
    return (cause, _cited(case, case.end_record[0], f"state {case.state}")) if case.end_record else None


def _by_controller(case: Case, cause: str, *changes: str) -> Found | None:
    """The controller's line where there is one, else the end record: both are the scheduler's word."""
    found = case.controller(*changes)
    return (cause, _cited(case, found[0], found[1].change)) if found else _by_end(case, cause)


def _cancelled(case: Case) -> Found | None:
    """Who asked for it: the request before the end, else sacct's word, else nobody knows."""
    if case.end is None:
        return None
    start = case.end - case.site.windows.cancel_window_seconds * 1000
    asked: list[tuple[Event, KillRequest | JobRecord]] = [
        (event, body) for event, body in case.requests() if start <= event.event_time <= case.end + 1_000
    ]
    asked += [(event, record) for event, record in case.records if record.cancelled_by_uid is not None]
    for event, body in asked:
        uid = body.cancelled_by_uid if isinstance(body, JobRecord) else body.uid
        who = case.site.directory.by_uid(uid, event.event_time)
        bond = relation(who, case.owner)
        if bond == "owner":
            return "owner_cancel", _cited(case, event, f"cancelled by its owner, uid {uid}")
        if bond == "service":
            return "service_cancel", _cited(case, event, f"cancelled by service uid {uid}")
        if who is not None and (ticket := case.site.directory.ticket_for(who, event.event_time, job=case.attempt.job)):
            return "admin_cancel", _cited(case, event, f"cancelled by uid {uid} under ticket {ticket.id}")
    return None


def _oom(case: Case) -> Found | None:
    if case.end is None:
        return None
    start = case.end - case.site.windows.hardware_window_seconds * 1000
    pids = {rank.pid for _, rank in case.failed_ranks()}
    for touch in case.node_touches:
        body = touch.event.body
        if isinstance(body, OomKill) and start <= touch.event.event_time <= case.end and (touch.job_pid or body.pid in pids):
            return "out_of_memory", _cited(case, touch.event, f"the kernel ended process {body.pid}")
    for event, _ in case.of(StepOom):
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
    return None


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
        ticket = (
            case.site.directory.ticket_for(actor, touch.event.event_time, host=touch.event.host, job=case.attempt.job) if actor else None
        )
        if ticket is not None:
            return "admin_kill", _cited(case, touch.event, f"signal {body.signal} under ticket {ticket.id}")
    return None


def _app_error(case: Case) -> Found | None:
    """The program itself failed: an error line, or a plain exit code without any signal."""
    for event, line in case.of(TrainingLine):
        if line.what == "error":
            return "app_error", _cited(case, event, "error line of the program")
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
    """`0:53` is no signal: the step could not be started (bad output path, missing folder)."""
    if case.end_record is not None and LAUNCH_FAILURE in (case.end_record[1].exit_signal, case.end_record[1].derived_signal):
        return "launch_failure", _cited(case, case.end_record[0], "the step could not be launched")
    return None


def _failed(case: Case) -> Found | None:
    node = case.controller("node_failed")
    if node is not None:
        return "node_fail", _cited(case, node[0], "node failure")
    for look in (_launch, _oom, _hardware, _own_signal, _app_error):
        if (found := look(case)) is not None:
            return found
    return None


def _looked_at(case: Case, now: Watermarks) -> tuple[Explanation, ...]:
    """Which sources were heard around the end of a job that nothing acquits."""
    if case.end is None:
        return ()
    start = case.end - case.site.windows.hardware_window_seconds * 1000
    checks = []
    for source in (Source.SLURMCTLD, Source.AUDITD, Source.KERNEL):
        missing = case.missing(now, source, start, case.end, case.nodes)
        answer = Checked.NOT_CHECKED if missing else Checked.EXCLUDED
        note = "" if missing else "heard around the end; no record explains it"
        checks.append(Explanation(f"explained_by_{source}", answer, note=note, missing=missing))
    return tuple(checks)
