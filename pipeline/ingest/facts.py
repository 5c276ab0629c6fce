"""Which facts an event gives: whom it concerns, and how often it is worth telling.

    scheduler   JobRecord -> its job, and every host of the allocation       the rest -> its job
    training    failures, what the probe saw -> job; hashes -> artefact      steps and errors -> one fact per span of time
    access      parts of watched audit events, signals, OOM, Xid, watched commands and files -> host
    stores      writes below the artefact roots, whoever tells them -> artefact, as FileTouched
    Kubernetes  requests that change or enter a job's objects, what befell them -> job; nodes -> host
    people      logins, orders, reads, writes -> identity (model/conduct.py)       bulk -> coverage only (`BULK`, with the reason)

A line in one job's output that names another job gives none: its author is not that job.

Series are folded by rank, which is commutative: of the steps of an hour the last is kept, of the errors of a minute the first.  What the
ranks of a job all say alike is folded under what they say: two thousand modules of a thousand ranks must not fill a case.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from pipeline.formats.assembly import is_part
from pipeline.ingest.stores import touched_by
from pipeline.model import watched
from pipeline.model.arguments import argument_of
from pipeline.model.events import (
    AccessLine,
    AuditRecord,
    Body,
    CheckpointLoaded,
    CheckpointNote,
    CheckpointSaved,
    CloudRequest,
    CodePushed,
    CollectiveTimeout,
    ControllerJob,
    ControllerNote,
    DaemonNote,
    EnvironmentSet,
    Event,
    FileIntegrity,
    FileTouched,
    GlobalUnpickled,
    Heartbeat,
    HistoryBegins,
    HookFound,
    Iteration,
    JobRecord,
    JobStep,
    JobUpdate,
    KernelCall,
    KernelLine,
    KillRequest,
    KubernetesRequest,
    LinePart,
    Login,
    ModuleImported,
    NodeState,
    ObjectAccess,
    ObjectEvent,
    OomKill,
    PrivilegeUsed,
    ProbeNote,
    ProcessEnded,
    ProcessRun,
    ProcessSpawned,
    ProcessStarted,
    Progress,
    RankFailed,
    RanksClosed,
    RuntimeAlert,
    SessionChanged,
    SessionCommand,
    SignalRequested,
    SignalSent,
    SocketUsed,
    StepCancelled,
    StepOom,
    TaskEnded,
    TrainingLine,
    Xid,
    is_round,
)
from pipeline.model.facts import Fact, artefact_case, host_case, job_case
from pipeline.model.ids import digest, rank
from pipeline.model.instants import DAY_MS, HOUR_MS, MINUTE_MS
from pipeline.model.outcome import Tell
from pipeline.model.runs import in_folder, removal_of, run_of
from pipeline.model.told import encode_told
from pipeline.model.workload import job_of, kind_of

NODES_MAX = 16_384
SAMPLE_MS = 300_000  # of a job's steps one is kept in each span of this length, if one begins in its first minute
LATEST = 2**63
CONTEXT_WORDS = 3  # of a program's arguments that tell it from another run of it
PATHS_MAX = 16  # of those that one variable names
# Variables that name files which every process of the job runs first, or loads (ld.so(8), bash(1), python(1)).
RUNS_FIRST = frozenset({"LD_PRELOAD", "LD_AUDIT", "PYTHONSTARTUP", "BASH_ENV", "ENV", "CUDA_INJECTION64_PATH", "NCCL_NET_PLUGIN",
                        "NCCL_TUNER_PLUGIN", "NCCL_PROFILER_PLUGIN"})  # fmt: skip
_SEPARATORS = re.compile(r"[:\s]+")
EPHEMERAL_PORT = 32_768  # from here on ports are drawn, and tell nothing
PLACED = (TrainingLine, RankFailed, LinePart)  # of whose lines it matters what stood beside them
Roots = tuple[str, ...]  # folders of artefacts, each with a slash at its end
Facts = Callable[[Event, Any], Sequence[Tell]]
RootedFacts = Callable[[Event, Any, Roots], Sequence[Tell]]

# What no stage but ingest sees, and why.
BULK: dict[type[Body], str] = {
    Login: "concerns a person: the identities stage",
    SessionChanged: "concerns a person: the identities stage",
    CloudRequest: "names machines and rights, no job, host or artefact: the identities stage",
    AccessLine: "noise of login daemons; what matters in it has bodies of its own",
    Heartbeat: "coverage is all that it says",
}


def spoken_for(event: Event) -> str:
    """The job that the line itself names, else the event's."""
    return getattr(event.body, "job", "") or event.job


def facts_of(event: Event, roots: Roots = ()) -> Sequence[Tell]:
    """The facts to tell about one event; nothing for events that concern nobody yet."""
    kind = type(event.body)
    if (facts := FACTS.get(kind)) is not None:
        return () if event.job and spoken_for(event) != event.job else facts(event, event.body)
    if (below := BELOW_ROOTS.get(kind)) is not None:
        return () if event.job and spoken_for(event) != event.job else below(event, event.body, roots)
    return ()


# --- scheduler ------------------------------------------------------------------------------------------------------------------


def _to_job(event: Event, _: Body) -> Sequence[Tell]:
    return (_tell("jobs", job_case(event.cluster, event.job), event),) if event.job else ()


def _to_host(event: Event, _: Body) -> Sequence[Tell]:
    return (_tell("hosts", host_case(event.cluster, event.host), event),) if event.host else ()


def _to_both(event: Event, body: Body) -> Sequence[Tell]:
    return (*_to_job(event, body), *_to_host(event, body))


def _of_record(event: Event, body: JobRecord | NodeState) -> Sequence[Tell]:
    """To each host its own part: all names to all nodes would be the square."""
    facts = list(_to_job(event, body)) if isinstance(body, JobRecord) else []
    for node in body.nodes[:NODES_MAX]:
        mine = msgspec.structs.replace(event, body=msgspec.structs.replace(body, nodes=(node,)))
        facts.append(_tell("hosts", host_case(event.cluster, node), mine))
    return facts


def _of_note(event: Event, body: ControllerNote) -> Sequence[Tell]:
    """A refused request that names a job is told to it; what the controller says of itself concerns no single one."""
    return (_tell("jobs", job_case(event.cluster, body.job), event),) if body.job else ()


def _of_daemon(event: Event, body: DaemonNote) -> Sequence[Tell]:
    """What a node's daemon did for a job, not its chatter: of a thousand nodes that launch a step the first."""
    if not event.job or body.what == "log":
        return _to_host(event, body) if body.what == "node" else ()
    if body.what in ("launch", "terminate", "prolog"):
        return (_first(event, HOUR_MS, "daemon", body.what, body.step, "" if body.uid is None else body.uid),)
    if body.what in ("error", "node"):
        return (_first(event, MINUTE_MS, "daemon", body.what, event.host),)
    return _to_job(event, body)


# --- training -------------------------------------------------------------------------------------------------------------------


def _of_iteration(event: Event, body: Iteration) -> Sequence[Tell]:
    """The last of an hour, samples of the pace, and the first word on each round step, by which siblings are compared."""
    if not event.job:
        return ()
    time = event.event_time
    told = [_folded(event, f"iteration/{time // HOUR_MS}", rank(max(time, 0)))]
    if time % SAMPLE_MS < MINUTE_MS:
        told.append(_folded(event, f"iteration/sample/{time // SAMPLE_MS}", rank(LATEST - time)))
    if is_round(body.iteration):
        told.append(_folded(event, f"iteration/at/{body.iteration}", rank(LATEST - time)))
    return told


def _of_progress(event: Event, body: Progress) -> Sequence[Tell]:
    """The first of a span, so that a case is not judged again with each line."""
    if not event.job or event.event_time % SAMPLE_MS >= MINUTE_MS:
        return ()
    return (_folded(event, f"progress/{body.what}/{event.event_time // SAMPLE_MS}", rank(LATEST - event.event_time)),)


def _of_training_line(event: Event, body: TrainingLine) -> Sequence[Tell]:
    """Errors, what it runs with, and parts of what jobs puts together (formats/failures.py): of ranks that fail alike the first one's."""
    if not event.job:
        return ()
    if body.what == "failure_block":
        return (_tell("jobs", job_case(event.cluster, event.job), event),)
    if body.what == "traceback":
        return (_first(event, HOUR_MS, "traceback", event.file, body.text),)
    if body.what == "error":
        return (_folded(event, f"error/{event.event_time // MINUTE_MS}", rank(LATEST - event.event_time)),)
    if body.what == "config" and (argument := argument_of(body.text)) is not None:
        return (_first(event, HOUR_MS, "argument", argument[0]),)
    return ()


def _of_line(event: Event, body: TrainingLine, roots: Roots) -> Sequence[Tell]:
    """That nothing was found to go on from is told to the run's folder, as a load of nothing; of a job's ranks the first says it."""
    told = _of_training_line(event, body)
    path = body.text.rpartition(" ")[2] if roots and event.job and body.what == "checkpoint_missing" else ""
    folder, _ = run_of(path) if path.startswith(roots or ("\0",)) else ("", None)
    if not folder:
        return told
    nothing = msgspec.structs.replace(event, body=CheckpointLoaded(job=event.job, path=path, sha256=""))
    name = in_folder(digest("nothing", event.job, event.event_time // HOUR_MS) + event.mark)
    fact = Fact(artefact_case(event.cluster, folder), name, rank(LATEST - event.event_time), encode_told(nothing))
    return (*told, Tell("artefacts", fact))


def _of_checkpoint(event: Event, body: CheckpointSaved | CheckpointLoaded, roots: Roots) -> Sequence[Tell]:
    """To the file, and below the roots to its run's folder: what somebody removes is missed there."""
    told = (_tell("artefacts", artefact_case(event.cluster, body.path), event),)
    folder, step = run_of(body.path) if roots and body.path.startswith(roots) else ("", None)
    return (*told, _to_folder(event, folder)) if step is not None else told


def _to_folder(event: Event, folder: str) -> Tell:
    """Under a name of its own, as the file itself is told of it, too."""
    return Tell("artefacts", Fact(artefact_case(event.cluster, folder), in_folder(event.id), b"", encode_told(event)))


def _of_module(event: Event, body: ModuleImported, roots: Roots) -> Sequence[Tell]:
    """Below the artefact roots only: elsewhere a path means another file in every image."""
    if not event.job or not body.path.startswith(roots or ("\0",)):
        return ()
    return (_load(event, body.path, body.sha256, body.cached_sha256),)


def _of_hook(event: Event, body: HookFound, roots: Roots) -> Sequence[Tell]:
    if not event.job:
        return ()
    told = (_first(event, HOUR_MS, "hook", body.path, body.sha256),)
    return (*told, _load(event, body.path, body.sha256)) if body.path.startswith(roots or ("\0",)) else told


def _of_environment(event: Event, body: EnvironmentSet, roots: Roots) -> Sequence[Tell]:
    """To the job, and of a file that it makes every process run, below the roots, to the file: as a hook whose bytes nobody hashed."""
    if not event.job:
        return ()
    told = [_first(event, HOUR_MS, "environment", body.name, body.sha256)]
    if roots and body.name in RUNS_FIRST:
        for path in [part for part in _SEPARATORS.split(body.value) if part.startswith(roots)][:PATHS_MAX]:
            hook = HookFound(job=body.job, hook=body.name, path=path, sha256="", pid=body.pid, uid=body.uid, host=body.host)
            told.append(_load(msgspec.structs.replace(event, body=hook), path, body.sha256))
    return told


def _of_unpickled(event: Event, body: GlobalUnpickled) -> Sequence[Tell]:
    return (_first(event, HOUR_MS, "unpickled", body.module, body.name, body.path),) if event.job else ()


def _of_spawned(event: Event, body: ProcessSpawned) -> Sequence[Tell]:
    """A loader that starts ffmpeg for each sample says so once an hour."""
    if not event.job:
        return ()
    words = (word[:128] for word in body.arguments[:CONTEXT_WORDS] if not word.startswith("/tmp"))  # noqa: S108 - no file is made
    return (_first(event, HOUR_MS, "spawned", body.means, body.executable, *words),)


def _of_request(event: Event, body: SignalRequested) -> Sequence[Tell]:
    """By process: the kernel's record names it, too."""
    if not event.job:
        return ()
    pid = -1 if body.pid is None else body.pid
    return (_first(event, MINUTE_MS, "signal", event.host, pid, body.target_pid, body.signal),)


def _of_socket(event: Event, body: SocketUsed) -> Sequence[Tell]:
    if not event.job:
        return ()
    port = body.port if body.port < EPHEMERAL_PORT else 0
    return (_first(event, DAY_MS, "socket", body.action, body.address if body.action == "connect" else "", port),)


def _of_probe(event: Event, body: ProbeNote) -> Sequence[Tell]:
    """That the probe left something out, failed, or ended: by host, of its ranks the first."""
    return (_first(event, MINUTE_MS, "probe", event.host, body.what, body.about),) if event.job else ()


# --- access ---------------------------------------------------------------------------------------------------------------------


def _of_audit_record(event: Event, body: AuditRecord) -> Sequence[Tell]:
    if event.host and (is_part(body) or watched.audit(body)):
        return (_tell("hosts", host_case(event.cluster, event.host), event),)
    return ()


def _of_run(event: Event, body: ProcessRun) -> Sequence[Tell]:
    """A command as a watcher tells it whole; what the kernel's records tell of it is assembled by hosts."""
    facts = [_tell("jobs", job_case(event.cluster, job), event) for job in watched.jobs_ordered(body.arguments)]
    if event.host and watched.command(body.arguments):
        facts.append(_tell("hosts", host_case(event.cluster, event.host), event))
    return facts


def _of_privilege(event: Event, body: PrivilegeUsed) -> Sequence[Tell]:
    return _to_host(event, body) if body.command and watched.privileged(body.command) else ()


def _of_command(event: Event, body: SessionCommand) -> Sequence[Tell]:
    if not watched.privileged(body.command):
        return ()
    words = watched.split(body.command)
    facts = [_tell("jobs", job_case(event.cluster, job), event) for job in watched.jobs_cancelled(words)]
    return (*facts, *_to_host(event, body))


def _of_kernel_line(event: Event, body: KernelLine) -> Sequence[Tell]:
    return _to_host(event, body) if watched.kernel_line(body.text) else ()


def _of_file(event: Event, body: FileTouched, roots: Roots) -> Sequence[Tell]:
    return (*_to_host(event, body), *_to_artefacts(event, roots)) if watched.path(body.path) else _to_artefacts(event, roots)


def _of_integrity(event: Event, body: FileIntegrity, roots: Roots) -> Sequence[Tell]:
    facts = _of_store(event, body, roots)
    return (*facts, *_to_host(event, body)) if body.action != "read" and watched.path(body.path) else facts


def _of_watcher(event: Event, body: RuntimeAlert | KernelCall | ProcessEnded, roots: Roots) -> Sequence[Tell]:
    """What a watcher on the node saw: to the host, and where it names the pod to the job as well.

    A process that ended by itself says nothing; of an alert or a call the rule or policy decided that it matters.
    """
    if isinstance(body, ProcessEnded) and not body.signal:
        return ()
    facts = list(_to_host(event, body))
    if job := job_of(body.namespace, "Pod", body.pod):
        facts.append(_tell("jobs", job_case(event.cluster, job), event))
    if isinstance(body, KernelCall):
        facts += _of_store(event, body, roots)
    return facts


# --- stores ---------------------------------------------------------------------------------------------------------------------


def _of_store(event: Event, _: ObjectAccess | FileIntegrity | CodePushed | KernelCall, roots: Roots) -> Sequence[Tell]:
    """Writes and deletes below the roots, whoever tells them, under one kind of body; reads concern nobody."""
    if not roots:
        return ()
    return [tell for touched in touched_by(event, roots) for tell in _to_artefacts(touched, roots)]


def _to_artefacts(event: Event, roots: Roots) -> Sequence[Tell]:
    """A rename is a fact for both names."""
    body = event.body
    if not roots or not isinstance(body, FileTouched):
        return ()
    names = (body.path, body.old_path) if body.action == "renamed" else (body.path,)
    told = [_tell("artefacts", artefact_case(event.cluster, name), event) for name in dict.fromkeys(names) if name.startswith(roots)]
    if (gone := removal_of(event)) is not None and gone[0].startswith(roots):
        told.append(_to_folder(gone[1], gone[0]))
    return told


# --- Kubernetes -----------------------------------------------------------------------------------------------------------------

CHANGES = frozenset({"create", "delete", "deletecollection", "patch", "update"})
ENTERS = frozenset({"exec", "attach", "portforward", "ephemeralcontainers", "eviction", "proxy", "scale"})
_BY_SYSTEM = ("system:node:", "system:kube-", "system:apiserver", "system:serviceaccount:kube-system:")
# Steps on the way of every pod; they explain no end.
_USUAL = frozenset({
    "Pulling", "Pulled", "Created", "SuccessfulAttachVolume", "SuccessfulMountVolume", "FailedScheduling", "ScalingReplicaSet",
    "SuccessfulCreate", "SuccessfulCreatePod", "SuccessfulCreateService", "Synced", "NoPods", "WaitForFirstConsumer", "Provisioning",
    "ProvisioningSucceeded", "ExternalProvisioning", "Sandbox", "SandboxChanged", "DNSConfigForming", "NotTriggerScaleUp",
    "TriggeredScaleUp", "LeaderElection", "Starting", "RegisteredNode", "NodeAllocatableEnforced", "NodeHasSufficientMemory",
    "NodeHasNoDiskPressure", "NodeHasSufficientPID",
})  # fmt: skip


def _of_kubernetes(event: Event, body: KubernetesRequest) -> Sequence[Tell]:
    """A request that changes, ends or enters a job's object; not that it was received, and not what controllers write down for themselves.

    A request for a whole collection names no job: it reaches nobody but who made it.
    """
    enters = body.subresource in ENTERS
    if body.stage == "RequestReceived" or (body.subresource and not enters) or not (enters or body.verb in CHANGES):
        return ()
    if body.user.startswith(_BY_SYSTEM) and body.verb not in ("delete", "deletecollection") and not enters:
        return ()
    if body.verb == "create" and not enters and kind_of(body.resource) in ("pod", "workload", "podgroup", "configmap", "secret"):
        return ()  # the job's own creation tells more
    job = job_of(body.namespace, body.resource, body.name)
    return (_tell("jobs", job_case(event.cluster, job), event),) if job else ()


def _of_object(event: Event, body: ObjectEvent) -> Sequence[Tell]:
    """Equal events are counted by their source: the last word of an hour is kept."""
    if body.reason in _USUAL:
        return ()
    if kind_of(body.kind) == "node":
        return (_tell("hosts", host_case(event.cluster, body.name), event),) if body.name else ()
    job = job_of(body.namespace, body.kind, body.name)
    if not job:
        return ()
    name = digest("object", body.kind, body.name, body.object_uid, body.reason, event.event_time // HOUR_MS) + event.mark
    order = rank(max(event.event_time, 0))
    return (Tell("jobs", Fact(job_case(event.cluster, job), name, order, encode_told(event))),)


FACTS: dict[type[Body], Facts] = {
    **dict.fromkeys(
        (
            JobStep, KillRequest, JobUpdate, ControllerJob, RankFailed, RanksClosed, StepCancelled, TaskEnded, StepOom, CollectiveTimeout,
            CheckpointNote, HistoryBegins, LinePart,
        ),
        _to_job,
    ),
    **dict.fromkeys((OomKill, Xid, SignalSent), _to_host),
    **dict.fromkeys((JobRecord, NodeState), _of_record),
    ProcessStarted: _to_both,
    ControllerNote: _of_note,
    DaemonNote: _of_daemon,
    Iteration: _of_iteration,
    Progress: _of_progress,
    GlobalUnpickled: _of_unpickled,
    ProcessSpawned: _of_spawned,
    SignalRequested: _of_request,
    SocketUsed: _of_socket,
    ProbeNote: _of_probe,
    AuditRecord: _of_audit_record,
    ProcessRun: _of_run,
    PrivilegeUsed: _of_privilege,
    SessionCommand: _of_command,
    KernelLine: _of_kernel_line,
    KubernetesRequest: _of_kubernetes,
    ObjectEvent: _of_object,
}  # fmt: skip
# What depends on the artefact roots as well.
BELOW_ROOTS: dict[type[Body], RootedFacts] = {
    **dict.fromkeys((RuntimeAlert, KernelCall, ProcessEnded), _of_watcher),
    **dict.fromkeys((ObjectAccess, CodePushed), _of_store),
    ModuleImported: _of_module,
    HookFound: _of_hook,
    EnvironmentSet: _of_environment,
    TrainingLine: _of_line,
    **dict.fromkeys((CheckpointSaved, CheckpointLoaded), _of_checkpoint),
    FileTouched: _of_file,
    FileIntegrity: _of_integrity,
}
TELLING = frozenset({*FACTS, *BELOW_ROOTS})


# --- telling --------------------------------------------------------------------------------------------------------------------


def _tell(stage: str, case: bytes, event: Event) -> Tell:
    return Tell(stage, Fact(case, event.id, b"", encode_told(event)))


def _folded(event: Event, name: str, order: bytes) -> Tell:
    return Tell("jobs", Fact(job_case(event.cluster, event.job), name + event.mark, order, encode_told(event)))


def _first(event: Event, span_ms: int, *what: str | int) -> Tell:
    """Of all that says the same in a span of time, the first."""
    return _folded(event, digest(*what, event.event_time // span_ms), rank(LATEST - event.event_time))


def _load(event: Event, path: str, *bytes_: str) -> Tell:
    """A job's first load of these bytes in a day: its ranks load the same."""
    name = digest("load", event.job, path, event.event_time // DAY_MS, *bytes_) + event.mark
    return Tell("artefacts", Fact(artefact_case(event.cluster, path), name, rank(LATEST - event.event_time), encode_told(event)))
