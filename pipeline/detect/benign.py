"""The harmless explanations, each a function that answers with the record that clears the case, or says what was not looked at.

In: a case and a suspicion (who, what, when).  Out: an `Explanation`: *confirmed* by a record, *excluded* by a record or by a source that
was heard and said nothing of the kind, or *not checked*, since the source that would have told is missing.  The order is that of
patterns section 2.3.  A confirmed one ends the suspicion; one not checked weakens it and is listed, because "we did not look" is
another answer than "no".
"""

from collections.abc import Callable, Iterator

import msgspec

from pipeline.detect import acts
from pipeline.detect.case import CLOCK_MS, Case
from pipeline.detect.lineage import SAVES_MAX
from pipeline.model import watched
from pipeline.model.actor import actor_of, relation
from pipeline.model.events import (
    Body,
    CheckpointLoaded,
    CheckpointSaved,
    Event,
    FileTouched,
    JobUpdate,
    KubernetesRequest,
    NodeState,
    ObjectEvent,
    OomKill,
    PrivilegeUsed,
    ProcessRun,
    SessionCommand,
    SignalSent,
    Xid,
)
from pipeline.model.finding import Checked, Explanation
from pipeline.model.identity import Identity
from pipeline.model.instants import DAY_MS
from pipeline.model.source import Source
from pipeline.model.told import NodeTouch
from pipeline.model.workload import is_workload
from pipeline.stream.watermark import Watermarks

# Application-caused or consequential Xids (the list that NVIDIA's device plugin ignores): any abrupt death, a kill included, may leave
# one, so they never acquit.  Hardware and fabric: NVIDIA Xid catalogue.
HARDWARE_XIDS = frozenset({48, 63, 64, 74, 79, 92, 94, 95, 119, 120, 140, *range(144, 151)})
# Of these: what was put right, or counted, and ended no process.
SURVIVED_XIDS = frozenset({63, 64, 92})
CONTAINED_XID = 94  # ends the processes that it befell, and no other
# What controllers of Kubernetes, Kueue and Volcano say of a pod, a workload or a group (pkg/kubelet/events, kueue pkg/workload, volcano).
PREEMPTIONS = ("Preempted", "EvictedDueToPreempted", "Evicted", "Evict", "PodEvicted")
DEADLINES = ("DeadlineExceeded",)
OUT_OF_MEMORY = ("OOMKilled", "OOMKilling")
NODE_LOST = ("NodeNotReady", "TaintManagerEviction", "NodeShutdown", "DeletingNode")
COMMAND_MS = 30_000  # a command runs a moment before the controller logs its request
MEMORY_LIMITED = "somebody else had set how much memory may be taken there"
EVENT_ALONE = "so says an event of the cluster, which anybody may write who may make events there"


class Suspicion(msgspec.Struct, frozen=True):
    """What a detector holds against somebody before benign explanations are asked."""

    actor: Identity | None
    cause: Event
    effect_time: int
    host: str = ""  # where the cause happened, for per-host sources
    target_pid: int | None = None
    path: str = ""  # of an act from inside: the file whose code may have done it


Benign = Callable[[Case, Suspicion, Watermarks], Explanation]


def owner_or_service(case: Case, suspicion: Suspicion, now: Watermarks) -> Explanation:
    """The owner, or a service identity that acts for owners, did it."""
    name = "owner_or_service"
    if case.owner is None:
        tell = (Source.KUBERNETES_AUDIT,) if is_workload(case.attempt.job) else (Source.JOBCOMP, Source.SACCT)
        return Explanation(name, Checked.NOT_CHECKED, missing=tell)
    if suspicion.actor is None:
        return _nobody(name, case, suspicion, now, "no record says who acted")
    bond = relation(suspicion.actor, case.owner)
    if bond in ("owner", "service"):
        return Explanation(name, Checked.CONFIRMED, suspicion.cause.record, f"the actor is the {bond}")
    if is_workload(case.attempt.job) and (case.owner.role == "service" or ":serviceaccount:" in case.owner.id):
        return Explanation(name, Checked.NOT_CHECKED, note="a service made the job: for whom, nobody says")
    if not _comparable(suspicion.actor, case.owner):
        return Explanation(name, Checked.NOT_CHECKED, note="no identity map says whether the actor is the owner")
    return Explanation(name, Checked.EXCLUDED, suspicion.cause.record, f"relation of actor to owner: {bond}")


def _nobody(name: str, case: Case, suspicion: Suspicion, now: Watermarks, note: str) -> Explanation:
    """Who acted is not known: nor would it be, where the kernels' audit logs were not heard in the day before."""
    heard = now.heard_within(case.attempt.cluster, Source.AUDITD, suspicion.effect_time - DAY_MS, suspicion.effect_time)
    return Explanation(name, Checked.NOT_CHECKED, note=note, missing=() if heard else (Source.AUDITD,))


def _comparable(one: Identity, other: Identity) -> bool:
    """Two names that no identity map ties, a uid and a login or two of Kubernetes, may be the same person's."""
    return (one.uid is not None and other.uid is not None) or bool(one.login and other.login) or bool(one.role and other.role)


def system_daemon(case: Case, suspicion: Suspicion, now: Watermarks) -> Explanation:
    """The system itself did it: the scheduler's step daemon, an epilog, a health check; no login is attached to the act."""
    name = "system_daemon"
    if suspicion.actor is None:
        return _nobody(name, case, suspicion, now, "no record says who acted")
    if suspicion.actor.role == "daemon":
        return Explanation(name, Checked.CONFIRMED, suspicion.cause.record, "root without a login")
    return Explanation(name, Checked.EXCLUDED, suspicion.cause.record, no_system(suspicion.actor))


def no_system(actor: Identity) -> str:
    """Why it was not the system, of whose accounts only root's is a person's, too; whether there was a login the gates ask."""
    return "a login is attached to the act" if actor.role == "root" else "the account is none of the system's"


def preempted(case: Case, suspicion: Suspicion, now: Watermarks) -> Explanation:
    """The scheduler took the resources for another job, or put the job back in the queue; a node put a pod out for want of room."""
    if is_workload(case.attempt.job):
        return _controllers_said(case, suspicion, now, "preempted", (*PREEMPTIONS, *NODE_LOST))
    found, step = case.controller("preempted", "requeued"), case.step_cancelled("preemption", "requeue")
    cause, preempted_before = suspicion.cause, case.controller("preempted")
    if isinstance(cause.body, SignalSent) and not _is_systems(cause.body) and case.state != "PREEMPTED" and preempted_before is None:
        # Many jobs put themselves back in the queue when a rank dies: that is what somebody's signal did, and no reason for it.
        if found is not None and found[0].event_time > cause.event_time:
            return Explanation("preempted", Checked.EXCLUDED, found[0].record, "it was put back in the queue behind the signal")
        if found is None and case.state == "REQUEUED":
            return Explanation("preempted", Checked.NOT_CHECKED, note="no record says when it was put back", missing=(Source.SLURMCTLD,))
    return _scheduler_said(case, suspicion, now, "preempted", ("PREEMPTED", "REQUEUED"), found, step)


def _is_systems(sent: SignalSent) -> bool:
    """Did an account of the system send it, or nobody who is named, without a login?  A colleague's cron or container is no scheduler."""
    return sent.auid is None and (sent.uid is None or sent.uid in watched.SYSTEM_UIDS)


def time_limit(case: Case, suspicion: Suspicion, now: Watermarks) -> Explanation:
    """The job ran into its time limit."""
    if is_workload(case.attempt.job):
        return _controllers_said(case, suspicion, now, "time_limit", DEADLINES)
    found, step = case.controller("time_limit"), case.step_cancelled("time_limit")
    return _scheduler_said(case, suspicion, now, "time_limit", ("TIMEOUT", "DEADLINE"), found, step)


def _before(last: int, found: tuple[Event, Body] | None) -> str:
    return found[0].id if found and found[0].event_time <= last else ""


def _explains_until(case: Case, suspicion: Suspicion) -> int:
    """Until when an end may still explain the effect: a launcher starts a rank again, and the job ends by something else, hours later."""
    return suspicion.effect_time + case.site.windows.hardware_window_seconds * 1000


def _ended(case: Case, suspicion: Suspicion, *states: str) -> Event | None:
    """The record of an end in one of these states, and soon enough to explain the effect."""
    if case.end_record is None or case.end is None or case.state not in states:
        return None
    return case.end_record[0] if case.end <= _explains_until(case, suspicion) else None


def _scheduler_said(
    case: Case,
    suspicion: Suspicion,
    now: Watermarks,
    name: str,
    states: tuple[str, ...],
    found: tuple[Event, Body] | None,
    step: tuple[Event, Body] | None,
) -> Explanation:
    """An end state proves it, or rules it out; without an end record only the controller log can.

    `step` is the step daemon's line in the job's output, where anybody may have written it who can write there: it keeps a hit below
    the gate, and acquits nobody against the scheduler's own silence.
    """
    until, ended = _explains_until(case, suspicion), _ended(case, suspicion, *states)
    by, printed = _before(until, found), _before(until, step)
    if ended is not None or (by and case.state in states):
        return Explanation(name, Checked.CONFIRMED, by or printed or (ended.record if ended else ""), f"state {case.state}")
    if by:
        return Explanation(name, Checked.CONFIRMED, by)
    if printed:
        return Explanation(name, Checked.NOT_CHECKED, printed, "only the job's own output says so, no record of the scheduler")
    if case.end_record is not None:
        return Explanation(
            name, Checked.EXCLUDED, case.end_record[0].record, f"state {case.state}{', long after it' * (case.state in states)}"
        )
    if case.attempt.start < 0:
        return Explanation(name, Checked.EXCLUDED, suspicion.cause.record, "it never ran")
    missing = case.missing(now, Source.SLURMCTLD, suspicion.cause.event_time, suspicion.effect_time)
    if missing:
        return Explanation(name, Checked.NOT_CHECKED, missing=(*missing, Source.JOBCOMP))
    return Explanation(name, Checked.EXCLUDED, note="the controller log was heard and says nothing of it")


def _controllers_said(case: Case, suspicion: Suspicion, now: Watermarks, name: str, reasons: tuple[str, ...]) -> Explanation:
    """Of a job of Kubernetes its controllers say it, before the act; where the API server says who acted, nobody else did.

    Whoever may make events in a namespace can write the same.  So an event is a doubt; what a controller really took away it asked the
    API server for, whose log tells it (`controller_of_cluster`).
    """
    cause = suspicion.cause
    if found := object_event(case, suspicion, *reasons):
        return _said_by_event(name, *found)
    if isinstance(cause.body, KubernetesRequest):
        return Explanation(name, Checked.EXCLUDED, cause.record, "the API server says who asked, and no controller said it before")
    missing = case.missing(now, Source.KUBERNETES_EVENTS, cause.event_time, suspicion.effect_time)
    if missing:
        return Explanation(name, Checked.NOT_CHECKED, missing=missing)
    return Explanation(name, Checked.EXCLUDED, note="the controllers were heard and say nothing of it")


def _said_by_event(name: str, event: Event, body: ObjectEvent) -> Explanation:
    return Explanation(name, Checked.NOT_CHECKED, event.record, f"{body.kind} {body.reason}: {EVENT_ALONE}")


def object_event(case: Case, suspicion: Suspicion, *reasons: str) -> tuple[Event, ObjectEvent] | None:
    """What a controller said of the job's objects shortly before the act; after it, it may be what the act did."""
    at = suspicion.cause.event_time
    start = at - case.site.windows.hardware_window_seconds * 1000
    return next(((event, body) for event, body in case.object_events(*reasons) if start <= event.event_time <= at + CLOCK_MS), None)


def scheduler_cancel(case: Case, suspicion: Suspicion, now: Watermarks) -> Explanation:
    """Signals came from the scheduler, since somebody asked it to end the job: the request is another matter than a kill.

    A request by which a job does not end cancelled was for another signal, or cancelled nothing: it explains no other end.
    """
    name = "scheduler_cancel"
    start = suspicion.cause.event_time - case.site.windows.cancel_window_seconds * 1000
    for event, _ in case.requests():
        if case.state in ("", "CANCELLED") and start <= event.event_time <= suspicion.cause.event_time:
            return Explanation(name, Checked.CONFIRMED, event.record, "a request to the controller came first")
    missing = case.missing(now, Source.SLURMCTLD, start, suspicion.effect_time)
    if missing:
        return Explanation(name, Checked.NOT_CHECKED, missing=missing)
    return Explanation(name, Checked.EXCLUDED, note="the controller log was heard and holds no request before the act")


def out_of_memory(case: Case, suspicion: Suspicion, now: Watermarks) -> Explanation:
    """The kernel's out-of-memory killer ended the process."""
    name = "out_of_memory"
    if (ended := _ended(case, suspicion, "OUT_OF_MEMORY")) is not None:
        return _for_want_of_memory(case, ended, case.end or 0, "", "state OUT_OF_MEMORY")
    cause = suspicion.cause
    start = min(cause.event_time, suspicion.effect_time) - case.site.windows.hardware_window_seconds * 1000
    for touch in case.node_touches:
        body = touch.event.body
        if isinstance(body, OomKill) and start <= touch.event.event_time <= suspicion.effect_time and _fits(case, suspicion, touch, body):
            return _for_want_of_memory(case, touch.event, touch.event.event_time, touch.event.host, f"process {body.pid}")
    if found := object_event(case, suspicion, *OUT_OF_MEMORY):
        return _said_by_event(name, *found)
    missing = case.missing(now, Source.KERNEL, start, suspicion.effect_time, (suspicion.host,) if suspicion.host else case.nodes)
    if missing:
        return Explanation(name, Checked.NOT_CHECKED, missing=missing)
    return Explanation(name, Checked.EXCLUDED, note="the kernel log was heard and names no such process")


def _for_want_of_memory(case: Case, said: Event, time: int, host: str, note: str) -> Explanation:
    """It was, unless somebody else had seen to it that there was little."""
    if (limit := memory_limited(case, time, host)) is not None:
        return Explanation("out_of_memory", Checked.NOT_CHECKED, limit.record, MEMORY_LIMITED)
    return Explanation("out_of_memory", Checked.CONFIRMED, said.record, note)


def memory_limited(case: Case, until: int, host: str = "") -> Event | None:
    """The last act by which somebody else set how much memory may be taken: on a node of the job, or of the job, by an update of it.

    Not the system's own, nor one under a ticket.  How much there was before no record says; nor whose limit it is, where a path or a unit
    does not name the job.
    """
    done = [event for kind in (ProcessRun, PrivilegeUsed, SessionCommand) for event, _, _ in case.befell(kind) if acts.limits_memory(event)]
    done = [event for event in done if host in ("", event.host)] + list(_memory_updates(case))
    foreign = [event for event in done if event.event_time <= until and _is_anothers(case, event)]
    return max(foreign, key=lambda each: (each.event_time, each.id), default=None)


def _memory_updates(case: Case) -> Iterator[Event]:
    """Requests to change the job that took effect, and by which the controller set its memory."""
    if any("memory" in body.change for _, body in case.of(JobUpdate)):
        done = [event for event, body in case.of(JobUpdate) if body.uid is not None and not body.refused]
        yield from (event for event in done if any("memory" in body.change for _, body in case.set_by(event)))


def _is_anothers(case: Case, event: Event) -> bool:
    who = actor_of(case.site.directory, event)
    if who is None or relation(who, case.owner) in ("owner", "service", "daemon"):
        return False
    return (
        case.site.directory.ticket_for(who, event.event_time, cluster=case.attempt.cluster, host=event.host, job=case.attempt.job) is None
    )


def _fits(case: Case, suspicion: Suspicion, touch: NodeTouch, body: OomKill) -> bool:
    """Did it befall the process that the suspicion is about; where it is about none, one of the job's?

    A number is another process's on another node, and comes again on its own.  Hosts are compared where the scheduler names the
    suspicion's, too; in a container a job may run as root.
    """
    if suspicion.target_pid is None:
        return touch.job_pid
    elsewhere = suspicion.host in case.nodes and touch.event.host != suspicion.host
    whose = None in (body.uid, case.owner_uid) or body.uid in (0, case.owner_uid)
    return body.pid == suspicion.target_pid and not elsewhere and whose


def hardware_fault(case: Case, suspicion: Suspicion, now: Watermarks) -> Explanation:
    """A GPU, link or node failed in the quarter of an hour before: of any node of the job's, whose ranks wait for one another.

    Of a process's end that is no reason which ends none, or ended another's.  Somebody may cancel a job for it, so there it counts.
    """
    name = "hardware_fault"
    if (ended := _ended(case, suspicion, "NODE_FAIL", "BOOT_FAIL")) is not None:
        return Explanation(name, Checked.CONFIRMED, ended.record, f"state {case.state}")
    cause = suspicion.cause
    before = cause.event_time if isinstance(cause.body, SignalSent) else suspicion.effect_time
    start = before - case.site.windows.hardware_window_seconds * 1000
    for touch in case.node_touches:
        body = touch.event.body
        failed = (isinstance(body, Xid) and _is_fault(suspicion, touch, body)) or (
            isinstance(body, NodeState) and body.change in ("not_responding", "down")
        )
        if failed and start <= touch.event.event_time <= before:
            what = f"Xid {body.code}" if isinstance(body, Xid) else "node not responding"
            return Explanation(name, Checked.CONFIRMED, touch.event.record, what)
    if found := object_event(case, suspicion, *NODE_LOST):
        return _said_by_event(name, *found)
    # Two sources tell: the kernel of a GPU, the controller of a node.  Each must have been heard for as long as one looks back.
    missing = case.missing(now, Source.KERNEL, start, before, (suspicion.host,) if suspicion.host else case.nodes)
    missing += case.missing(now, Source.SLURMCTLD, start, before)
    if missing:
        return Explanation(name, Checked.NOT_CHECKED, missing=missing)
    return Explanation(name, Checked.EXCLUDED, note="kernel and controller log were heard and show no hardware fault")


def _is_fault(suspicion: Suspicion, touch: NodeTouch, body: Xid) -> bool:
    """Is it the hardware's, and where the suspicion is about a process, may it have ended that?"""
    if suspicion.target_pid is None:
        return body.code in HARDWARE_XIDS
    anothers = body.code == CONTAINED_XID and body.pid not in (None, suspicion.target_pid) and not touch.job_pid
    return body.code in HARDWARE_XIDS - SURVIVED_XIDS and not anothers


def admin_ticket(case: Case, suspicion: Suspicion, now: Watermarks) -> Explanation:
    """A change ticket or maintenance window covers the act."""
    name = "admin_ticket"
    if suspicion.actor is None:
        return _nobody(name, case, suspicion, now, "no record says who acted")
    cause, attempt = suspicion.cause, case.attempt
    where = {"cluster": attempt.cluster, "host": suspicion.host or cause.host, "job": attempt.job}
    ticket = case.site.directory.ticket_for(suspicion.actor, cause.event_time, **where)
    if ticket is not None:
        return Explanation(name, Checked.CONFIRMED, cause.record, f"ticket {ticket.id}")
    return Explanation(name, Checked.EXCLUDED, note="no ticket in the settings covers actor, time and place")


def root_without_login(case: Case, suspicion: Suspicion, now: Watermarks) -> Explanation:  # noqa: ARG001
    """The site's own timer or health check gave the order as root: the kernel saw the command run, and nobody was logged in behind it."""
    name, cause = "root_without_login", suspicion.cause
    if suspicion.actor is None or suspicion.actor.role != "root":
        return Explanation(name, Checked.EXCLUDED, cause.record, "it was not root")
    ordered = case.ran("scontrol" if isinstance(cause.body, JobUpdate) else "scancel")
    near = [event for event, _ in ordered if abs(event.event_time - cause.event_time) <= COMMAND_MS]
    ran = [(event, actor_of(case.site.directory, event)) for event in near if event.source is Source.AUDITD]
    by_hand = next((event for event, who in ran if who is None or who.role != "daemon"), None)
    if by_hand is not None:
        return Explanation(name, Checked.EXCLUDED, by_hand.record, "somebody ran the command about that time who was logged in")
    if ran:
        return Explanation(name, Checked.CONFIRMED, ran[0][0].record, "root ran the command, and no login is attached to it")
    return Explanation(name, Checked.NOT_CHECKED, note="no record shows how root's command was run", missing=(Source.AUDITD,))


def launcher_cleanup(case: Case, suspicion: Suspicion, now: Watermarks) -> Explanation:
    """The launcher ended its other workers after a first failure: its signals carry the owner's uid and come after that failure."""
    name = "launcher_cleanup"
    cause = suspicion.cause
    if not isinstance(cause.body, SignalSent):
        return Explanation(name, Checked.EXCLUDED, cause.record, "the act is no signal")
    if cause.body.uid is None:
        return Explanation(
            name, Checked.NOT_CHECKED, missing=case.missing(now, Source.AUDITD, cause.event_time, cause.event_time, (cause.host,))
        )
    own = cause.body.uid == case.owner_uid and cause.body.auid in (None, case.owner_uid)
    if own:
        return Explanation(name, Checked.CONFIRMED, cause.record, "sent under the owner's own uid")
    return Explanation(name, Checked.EXCLUDED, cause.record, "the sender is not under the owner's uid and login")


def saver(case: Case, suspicion: Suspicion, now: Watermarks) -> Explanation:
    """Who saved the checkpoint wrote it again: a base model that its maker repaired, a save that finished late.

    A save is told by a job's output, where anybody may say that he saved the file under any uid: it explains nothing, and rules nothing
    out, where others saved the file too.
    """
    name = "saver"
    path, before = getattr(suspicion.cause.body, "path", ""), suspicion.cause.event_time
    saves = case.saves_before(path, before)
    uids = [getattr(save.body, "uid", None) for save in saves]
    if not saves or None in uids or suspicion.actor is None:
        return Explanation(name, Checked.NOT_CHECKED, note="no record says under which uid it was saved", missing=(Source.PROBE,))
    people = [case.site.directory.of(save.cluster).by_uid(uid, save.event_time) for uid, save in zip(uids, saves, strict=True)]
    own = [relation(suspicion.actor, who) == "owner" for who in people]
    if all(own) and own_file(case, suspicion, now).answer is Checked.EXCLUDED:
        return Explanation(name, Checked.NOT_CHECKED, saves[-1].record, "so says a job; the kernel says that it was another's file")
    if all(own) and len(saves) == SAVES_MAX:
        return Explanation(name, Checked.NOT_CHECKED, saves[-1].record, "so many jobs say so that who saved it first is not known")
    if all(own):
        return Explanation(name, Checked.CONFIRMED, saves[-1].record, "saved and written by the same identity")
    if any(own):
        return Explanation(name, Checked.NOT_CHECKED, saves[-1].record, "saved by several identities, the writer among them")
    return Explanation(name, Checked.EXCLUDED, saves[-1].record, "saved by somebody else")


def saved_again(case: Case, suspicion: Suspicion, now: Watermarks) -> Explanation:  # noqa: ARG001
    """Another job says that it saved the file after the write, or that it saved the very bytes that were loaded.

    It may have, in a folder that people share.  Or whoever changed the file prints so, in a job of his own.
    """
    name = "saved_again"
    path = getattr(suspicion.cause.body, "path", "")
    loads = [use.load for use in case.uses if use.load.event_time <= suspicion.effect_time and getattr(use.load.body, "path", "") == path]
    last = max((load.event_time for load in loads), default=0)  # the effect may come after the load
    loaded = {load.body.sha256 for load in loads if isinstance(load.body, CheckpointLoaded) and load.event_time == last}
    for save in case.saves_before(path, suspicion.effect_time)[-1:]:
        same = isinstance(save.body, CheckpointSaved) and save.body.sha256 in loaded
        if same or save.event_time >= suspicion.cause.event_time:
            return Explanation(name, Checked.NOT_CHECKED, save.record, f"job {save.job} says in its output that it saved the file")
    return Explanation(name, Checked.EXCLUDED, note="no job says that it saved the file since, or that it saved the bytes that were loaded")


def own_file(case: Case, suspicion: Suspicion, now: Watermarks) -> Explanation:
    """The writer touched only files of his own: then whoever says that he saved this one for somebody else may be lying.

    The kernel says whose file was written or replaced; the probe's word on a save is the word of whoever printed it.
    """
    name, path = "own_file", getattr(suspicion.cause.body, "path", "")
    directory, actor = case.site.directory.of(case.attempt.cluster), suspicion.actor
    if actor is None:
        return _nobody(name, case, suspicion, now, "no record says who wrote")
    known = {each.id: each for loaded in case.loaded() for each in (*loaded.writes, loaded.overwritten, *loaded.removed) if each}
    for touched in sorted(known.values(), key=lambda each: each.id):
        body = touched.body
        if not isinstance(body, FileTouched) or body.path != path or body.file_uid is None:
            continue
        who = actor_of(directory, touched)
        if who is not None and who.id == actor.id and relation(directory.by_uid(body.file_uid, touched.event_time), actor) != "owner":
            return Explanation(name, Checked.EXCLUDED, touched.record, "the file belonged to somebody else")
    return Explanation(name, Checked.NOT_CHECKED, note="no record shows that the file was somebody else's")


def allowed_writer(case: Case, suspicion: Suspicion, now: Watermarks) -> Explanation:
    """The settings allow this identity to write below the artefact's root: resharding, conversion, retention."""
    name = "allowed_writer"
    if suspicion.actor is None:
        return _nobody(name, case, suspicion, now, "no record says who wrote")
    path = getattr(suspicion.cause.body, "path", "")
    if case.site.has_leave(suspicion.actor, path):
        return Explanation(name, Checked.CONFIRMED, suspicion.cause.record, f"writer of {case.site.root_of(path).path}")
    return Explanation(name, Checked.EXCLUDED, suspicion.cause.record, "not among the writers of the artefact's root")
