"""P01: somebody else's signal ended a rank, and the scheduler did not ask for it.

In: all facts on one attempt.  Out: a Finding, or nothing.  The kernel's audit record names sender and target; the effect must be there
too: the launcher says that this very process died of this signal, or the job ended by it.  The window before the end is long, because
the other ranks may wait for a collective until the NCCL watchdog ends them (10 minutes by default, up to 30: patterns P01).
"""

from collections.abc import Iterator

from pipeline.detect import benign
from pipeline.detect.benign import Suspicion
from pipeline.detect.case import Case, evidence
from pipeline.detect.detector import Meta, explained, raised, several
from pipeline.model.actor import actor_of, relation
from pipeline.model.events import CollectiveTimeout, Event, SignalSent, TaskEnded
from pipeline.model.finding import NO_LOGIN, Evidence, Finding, Severity
from pipeline.model.source import Source
from pipeline.model.told import Touch
from pipeline.stream.watermark import Watermarks

META = Meta(
    id="p01_foreign_kill",
    version=4,
    title="Rank of a training job killed by somebody else",
    subject="job",
    severity=Severity.HIGH,
    attack=("T1489", "T1499", "AML.T0029"),
    needs=(Source.AUDITD, Source.TRAINING, Source.SLURMCTLD, Source.KERNEL, Source.JOBCOMP),
    window_seconds="detect.kill_window_seconds",
    benign=(
        benign.owner_or_service,
        benign.system_daemon,
        benign.preempted,
        benign.time_limit,
        benign.scheduler_cancel,
        benign.out_of_memory,
        benign.hardware_fault,
        benign.admin_ticket,
        benign.launcher_cleanup,
    ),
    required=("owner_or_service", "scheduler_cancel", "out_of_memory", "time_limit", "preempted"),
    blind_spots=(
        "A kill from inside the victim's own process carries the victim's uid: P02.",
        "A kill on a host without audit rules for signals leaves no record.",
        "A process under the owner's uid without a login (a container, cron) is taken for the job's own; the end stays unexplained.",
        "A daemon that kills on somebody's order (`docker kill`, `crictl stop`, `systemctl kill`) is a daemon.",
        "A kill under the owner's borrowed login looks like the owner: P17.",
        "Root on the node writes its logs: the audit record that names somebody, or the OOM or Xid that explains him away, may be root's.",
        "Where shippers tell neither a line's uid nor its facility, whoever has a login writes an OOM or Xid as the kernel (`logger`).",
        "A node that somebody sets DOWN (`scontrol update`) looks like one that failed: the controller's log does not say who.",
        "A memory limit that a root shell or an own program wrote, or that was set on the node before the job began: its OOM kill acquits.",
    ),
    runbook="Read the audit record of the kill, then the login session (ses) of its sender in the log of another host.",
    ends=frozenset({"ranks_killed"}),
    direct=True,
)

# What ends no process that does not ask for it: CHLD CONT URG WINCH (signal(7)); whatever else there is ends or stops it.
HARMLESS = frozenset({0, 17, 18, 23, 28})
SIGNAL_MAX = 64
STOPS = frozenset({19, 20, 21, 22})
# HUP INT QUIT ILL TRAP ABRT BUS FPE KILL SEGV PIPE TERM STOP.  The others are used to ask a program for something, such as a checkpoint:
# of them the rank, or the job, must have ended by this very signal.
DEADLY = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 15, 19})
AFTER_MS = 5_000  # the launcher's line may carry a whole second


def judge(case: Case, now: Watermarks) -> Iterator[Finding]:
    """At most one finding per attempt."""
    hits = [hit for touch in case.touches if (hit := _hit(case, touch)) is not None]
    if not hits:
        return
    accused = []
    for touch, effect_time, cited, strength in hits:
        suspicion = Suspicion(
            actor=actor_of(case.site.directory, touch.event),
            cause=touch.event,
            effect_time=effect_time,
            host=touch.event.host,
            target_pid=_signal(touch.event).target_pid,
        )
        checklist, harmless = explained(META, case, suspicion, now)
        if not harmless:
            accused.append((touch, suspicion, checklist, cited, strength))
    if not accused:
        return
    touch, suspicion, checklist, _, strength = max(accused, key=lambda hit: (hit[4], -hit[1].cause.event_time, hit[1].cause.id))
    signal = _signal(touch.event)
    yield raised(
        META,
        case,
        suspicion,
        checklist,
        effect="ranks_killed",
        summary=f"signal {signal.signal} to process {signal.target_pid} of job {case.attempt.job} on {touch.event.host}",
        cited=[item for hit in accused for item in (*_cause(hit[0]), *hit[3])],
        parts=(("signal record matches the process", 0.99 if touch.job_pid else 0.95), ("effect", strength)),
        closes_at=max(case.end or 0, *(hit[1].effect_time for hit in accused)) + case.site.grace_ms,
        several_actors=several(hit[1] for hit in accused),
    )


def _hit(case: Case, touch: Touch) -> tuple[Touch, int, list[Evidence], float] | None:
    """(touch, effect time, effect's evidence, strength) when a foreign, successful, deadly signal has an effect to show."""
    body = _signal(touch.event)
    bond = relation(actor_of(case.site.directory, touch.event), case.owner)
    if not body.success or body.signal in HARMLESS or body.signal > SIGNAL_MAX or touch.matched == "host" or bond == "owner":
        return None
    sent = touch.event.event_time
    window_ms = case.site.windows.kill_window_seconds * 1000
    cited: list[Evidence] = []
    died = [
        (event, rank)
        for event, rank in case.failed_ranks()
        if rank.pid == body.target_pid and sent - AFTER_MS <= event.event_time <= sent + window_ms
    ]
    for event, rank in died:
        cited += evidence("effect", event, f"process {rank.pid} ended by signal {rank.signal}")
    by_signal = any(rank.signal == body.signal for _, rank in died)
    ended = case.end is not None and sent - AFTER_MS <= case.end <= sent + window_ms and case.state not in ("COMPLETED", "TIMEOUT")
    if ended and case.end_record is not None:
        record = case.end_record[1]
        traces = {record.exit_signal, record.derived_signal} | {rank.signal for _, rank in case.failed_ranks()}
        traces |= {task.signal for _, task in case.of(TaskEnded)}
        hung = body.signal in STOPS and bool(case.of(CollectiveTimeout))
        if by_signal or body.signal in traces or hung:
            cited += evidence("effect", case.end_record[0], f"job ended {case.state}")
            for event, task in case.of(TaskEnded):
                if task.signal == body.signal and abs(event.event_time - sent) <= window_ms:
                    cited += evidence("effect", event, f"task ended by signal {task.signal}")
            for event, _ in case.of(CollectiveTimeout)[:3]:
                cited += evidence("effect", event, "collective operation timed out")
        elif not died or body.signal not in DEADLY:
            return None
    elif not by_signal:
        return None
    effect_time = died[0][0].event_time if died else case.end if case.end is not None else sent
    return touch, max(effect_time, sent), cited, 0.99 if by_signal else 0.9


def _cause(touch: Touch) -> tuple[Evidence, ...]:
    body = _signal(touch.event)
    by = " from a login" if body.auid is not None else NO_LOGIN
    return evidence("cause", touch.event, f"signal {body.signal} to process {body.target_pid}{by}")


def _signal(event: Event) -> SignalSent:
    if not isinstance(event.body, SignalSent):
        raise TypeError(event.body)
    return event.body
