"""What formats make of records: one `Event` per thing that happened, with a typed body.

In: nothing.  Out: the vocabulary of the pipeline.  Bodies are a tagged union (`msgspec`), so that an event travels as bytes and
comes back typed; the tag is the event's kind, which is what stands in ClickHouse.  Times are UTC milliseconds.  A field that the line
does not have is None or empty; nothing is guessed here.

`msgspec.Struct(frozen, gc=False)` instead of dataclasses: a frozen dataclass costs about four times as much to make, and events
are made for every record.
"""

import msgspec

from pipeline.model.source import Source


class Body(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """Base of all bodies."""


# --- scheduler ------------------------------------------------------------------------------------------------------------------


class JobRecord(Body, frozen=True, tag="job_record"):
    """A job's accounting record (jobcomp, sacct job row): the scheduler's own word on owner, nodes, times and end."""

    job: str
    phase: str  # "start" | "end" | "other" (pending, running, resizing)
    owner_uid: int | None = None
    owner: str = ""  # login name
    account: str = ""
    partition: str = ""
    qos: str = ""
    name: str = ""
    state: str = ""  # base name: COMPLETED, FAILED, CANCELLED ...
    submit: int | None = None
    start: int | None = None
    end: int | None = None
    nodes: tuple[str, ...] = ()
    submit_host: str = ""
    exit_code: int | None = None
    exit_signal: int | None = None
    derived_code: int | None = None  # of the worst step: often the only place where a signal shows
    derived_signal: int | None = None
    cancelled_by_uid: int | None = None
    cancelled_by: str = ""  # login name, where the source has no uid
    gpus: int | None = None
    restarts: int | None = None
    time_limit_seconds: int | None = None
    work_dir: str = ""
    std_out: str = ""
    array: str = ""  # "48213_4"
    het: str = ""  # "48213+1"


class JobStep(Body, frozen=True, tag="job_step"):
    """A sacct step row: `123.batch`, `123.0`."""

    job: str
    step: str
    state: str = ""
    start: int | None = None
    end: int | None = None
    nodes: tuple[str, ...] = ()
    exit_code: int | None = None
    exit_signal: int | None = None


class KillRequest(Body, frozen=True, tag="kill_request"):
    """Somebody asked the controller to signal a job.  Logged before permission is checked: alone it proves an attempt."""

    job: str
    uid: int
    refused: bool = False
    no_effect: bool = False  # the job was already gone
    signal: int | None = None


class JobUpdate(Body, frozen=True, tag="job_update"):
    """Somebody changed, suspended or tried to change a job."""

    job: str
    uid: int | None = None
    change: str = ""  # "update", "suspend", "priority", "time_limit" ...
    value: str = ""
    refused: bool = False


class ControllerJob(Body, frozen=True, tag="controller_job"):
    """The controller's word on a job's life."""

    job: str
    change: str  # submitted | allocated | started | completed | time_limit | preempted | requeued | node_failed | oom | cancelled | deleted
    exit_code: int | None = None
    exit_signal: int | None = None
    nodes: tuple[str, ...] = ()
    beneficiary: str = ""  # the job for which this one was preempted
    detail: str = ""


class NodeState(Body, frozen=True, tag="node_state"):
    """The controller's word on nodes; it never says who."""

    nodes: tuple[str, ...]
    change: str  # not_responding | down | drain | draining | responding | reason
    reason: str = ""


class ControllerNote(Body, frozen=True, tag="controller_note"):
    """A controller line about itself (restart, reconfiguration, recovered jobs) or a refused request that names no job."""

    note: str
    uid: int | None = None
    job: str = ""


# --- training -------------------------------------------------------------------------------------------------------------------


class RankFailed(Body, frozen=True, tag="rank_failed"):
    """The elastic agent or launcher says that a rank ended."""

    rank: int | None = None
    local_rank: int | None = None
    pid: int | None = None
    exit_code: int | None = None
    signal: int | None = None  # from a negative exit code, or 128 + n of a shell
    host: str = ""
    first: bool = False  # named as root cause
    text: str = ""


class RanksClosed(Body, frozen=True, tag="ranks_closed"):
    """The launcher ends its own other workers after a failure: not interference."""

    pid: int
    signal: int | None = None


class Iteration(Body, frozen=True, tag="iteration"):
    """One logged training step."""

    iteration: int
    iterations_total: int | None = None
    consumed_samples: int | None = None
    elapsed_ms: float | None = None
    learning_rate: float | None = None
    global_batch_size: int | None = None
    loss: float | None = None
    loss_scale: float | None = None
    grad_norm: float | None = None
    params_norm: float | None = None
    skipped: int | None = None
    nan: int | None = None


def is_round(iteration: int) -> bool:
    """Two significant digits: 90 steps a decade, which every run logs that logs each 1st, 10th or 100th."""
    if iteration <= 0:
        return False
    while iteration >= 100:
        iteration, rest = divmod(iteration, 10)
        if rest:
            return False
    return True


class CheckpointNote(Body, frozen=True, tag="checkpoint_note"):
    """A framework's line about a checkpoint; it carries no hash."""

    action: str  # saving | saved | loading | loaded
    path: str = ""
    iteration: int | None = None


class StepCancelled(Body, frozen=True, tag="step_cancelled"):
    """slurmstepd: `*** JOB 7 ON gpu-001 CANCELLED AT ... DUE TO TIME LIMIT ***`."""

    job: str
    step: str = ""
    host: str = ""
    reason: str = ""  # "" | time_limit | preemption | node_failure | requeue | task_failure | signal | failed
    detail: str = ""


class TaskEnded(Body, frozen=True, tag="task_ended"):
    """srun: `error: gpu-003: task 17: Killed`."""

    host: str
    tasks: str
    outcome: str  # killed | terminated | exited | out_of_memory | aborted ...
    exit_code: int | None = None
    signal: int | None = None


class StepOom(Body, frozen=True, tag="step_oom"):
    """slurmstepd: `Detected 1 oom_kill event in StepId=7.0`."""

    job: str = ""
    step: str = ""
    count: int = 1


class CollectiveTimeout(Body, frozen=True, tag="collective_timeout"):
    """The NCCL watchdog: it comes `timeout_ms` after the cause."""

    rank: int | None = None
    operation: str = ""
    timeout_ms: int | None = None
    ran_ms: int | None = None


class TrainingLine(Body, frozen=True, tag="training_line"):
    """Another known line of a training job: what it is, and its numbers or text."""

    what: str  # validation | timing | traceback | error | shell_trace | launcher | nccl | rendezvous | config | mllog | srun ...
    text: str = ""
    rank: int | None = None
    value: float | None = None


class LinePart(Body, frozen=True, tag="line_part"):
    """A piece of a line that a container runtime split; jobs puts the pieces together (formats/split_lines.py).

    It says how the whole line is to be read, since no setting is known where that is done.
    """

    line: str  # the same for all pieces of one
    payload: bytes
    ordinal: int | None = None  # None: nobody counted
    last: bool = False
    cut: bool = False  # longer than a piece may be
    zone: str = "UTC"
    format: str = ""  # pinned
    json_keys: dict[str, tuple[str, ...]] = {}


class ProcessStarted(Body, frozen=True, tag="process_started"):
    """Our probe: a rank started."""

    job: str
    pid: int
    uid: int | None = None
    rank: int | None = None
    local_rank: int | None = None
    host: str = ""


class CheckpointSaved(Body, frozen=True, tag="checkpoint_saved"):
    """Our probe: the bytes that a job saved."""

    job: str
    path: str
    sha256: str
    pid: int | None = None
    uid: int | None = None
    size_bytes: int | None = None
    host: str = ""


class CheckpointLoaded(Body, frozen=True, tag="checkpoint_loaded"):
    """Our probe: the bytes that a job loaded."""

    job: str
    path: str
    sha256: str
    pid: int | None = None
    uid: int | None = None
    size_bytes: int | None = None
    host: str = ""


class ModuleImported(Body, frozen=True, tag="module_imported"):
    """Our probe: the bytes of a module that a job imported."""

    job: str
    module: str
    path: str
    sha256: str
    pid: int | None = None
    host: str = ""
    cached_sha256: str = ""  # of the compiled file, which is what ran


# --- access ---------------------------------------------------------------------------------------------------------------------


class AuditRecord(Body, frozen=True, tag="audit_record"):
    """One raw auditd record: a part of the event that `hosts` assembles by (host, time, serial).

    `fields` holds decoded strings: hex-encoded text is text, a0..a3 stay hex digits as the kernel wrote them.
    """

    record_type: str
    serial: int
    item: int = 0  # number among several records of one type, where the record says it (PATH)
    fields: dict[str, str] = {}
    keys: tuple[str, ...] = ()


class SignalSent(Body, frozen=True, tag="signal_sent"):
    """Assembled: a process sent a signal."""

    signal: int
    target_pid: int  # negative: a process group
    success: bool
    serial: int
    pid: int | None = None
    ppid: int | None = None
    uid: int | None = None
    auid: int | None = None  # None: nobody logged in (daemon)
    session: int | None = None
    comm: str = ""
    exe: str = ""
    target_uid: int | None = None  # None: the OBJ_PID record is missing
    target_auid: int | None = None
    target_comm: str = ""
    keys: tuple[str, ...] = ()


class FileTouched(Body, frozen=True, tag="file_touched"):
    """A file was written, renamed, deleted or changed: assembled of the kernel's records, or what a store, a watcher or a push tells."""

    action: str  # written | renamed | deleted | truncated | attributes
    path: str
    serial: int
    success: bool
    item: int = 0
    old_path: str = ""
    file_uid: int | None = None  # owner of the file that was touched, or replaced, as the kernel says it
    pid: int | None = None
    uid: int | None = None
    auid: int | None = None
    session: int | None = None
    comm: str = ""
    exe: str = ""
    keys: tuple[str, ...] = ()
    user: str = ""  # name, where the source has no uid
    address: str = ""  # whence, where a store tells it
    job_label: str = ""  # what the client says of itself
    sha256: str = ""  # of the bytes behind it, where a watcher hashed them
    sha256_before: str = ""
    self_named: bool = False  # the user is what a store's client called itself

    @property
    def changes(self) -> bool:
        """May it have changed the bytes?  Times, rights, a file that is gone and what failed show whose a file was, and no more."""
        return self.success and self.action in ("written", "renamed", "truncated")


class ProcessRun(Body, frozen=True, tag="process_run"):
    """Assembled: a process was executed."""

    serial: int
    arguments: tuple[str, ...]
    success: bool
    pid: int | None = None
    ppid: int | None = None
    uid: int | None = None
    auid: int | None = None
    session: int | None = None
    exe: str = ""
    keys: tuple[str, ...] = ()


class Login(Body, frozen=True, tag="login"):
    """sshd: somebody tried to log in."""

    user: str
    outcome: str  # accepted | failed | invalid_user | too_many
    method: str = ""
    address: str = ""
    port: int | None = None
    fingerprint: str = ""
    pid: int | None = None


class SessionChanged(Body, frozen=True, tag="session_changed"):
    """PAM, logind or sshd: a session opened or closed."""

    user: str
    change: str  # opened | joined (by one more, who may only watch) | closed
    service: str = ""  # sshd, sudo, su, cron, logind ...
    by: str = ""
    session: str = ""
    pid: int | None = None
    address: str = ""


class PrivilegeUsed(Body, frozen=True, tag="privilege_used"):
    """sudo or su: somebody acted as somebody else, or tried to."""

    user: str
    run_as: str
    command: str = ""
    tty: str = ""
    working_directory: str = ""
    means: str = "sudo"
    refused: bool = False
    detail: str = ""


class AccessLine(Body, frozen=True, tag="access_line"):
    """Another known line of sshd, sudo, su, logind, cron or useradd."""

    what: str
    program: str = ""
    user: str = ""
    address: str = ""
    text: str = ""
    pid: int | None = None


class OomKill(Body, frozen=True, tag="oom_kill"):
    """Kernel: the out-of-memory killer ended a process."""

    pid: int
    comm: str = ""
    uid: int | None = None
    constraint: str = ""


class Xid(Body, frozen=True, tag="xid"):
    """NVIDIA driver: a GPU error."""

    code: int
    pid: int | None = None
    name: str = ""
    device: str = ""
    text: str = ""


class KernelLine(Body, frozen=True, tag="kernel_line"):
    """Another kernel line."""

    text: str


class Heartbeat(Body, frozen=True, tag="heartbeat"):
    """A source says that it is alive (`-- MARK --`): coverage, nothing else."""

    program: str = ""


class KubernetesRequest(Body, frozen=True, tag="kubernetes_request"):
    """Somebody asked the Kubernetes API for something.  A code of 400 and more, or a decision to forbid, makes it an attempt."""

    user: str
    verb: str
    resource: str = ""  # pods, jobs ...; with its group: jobs.batch
    subresource: str = ""  # exec and attach are told by it, never by the verb
    namespace: str = ""
    name: str = ""  # empty: a whole collection
    object_uid: str = ""
    code: int | None = None
    decision: str = ""  # allow | forbid
    stage: str = ""
    impersonated: str = ""  # the user as whom `user` acted
    groups: tuple[str, ...] = ()
    address: str = ""
    agent: str = ""
    command: tuple[str, ...] = ()  # of an exec
    container: str = ""
    trial: str = ""  # yes: a dry run, nothing was changed; claimed: its address says so, which the body of a deletion overrules


class RuntimeAlert(Body, frozen=True, tag="runtime_alert"):
    """A rule of a watcher on the node (Falco) matched: its opinion, and what it saw."""

    rule: str
    priority: str = ""
    text: str = ""
    call: str = ""
    path: str = ""
    user: str = ""
    uid: int | None = None
    auid: int | None = None
    pid: int | None = None
    ppid: int | None = None
    comm: str = ""
    command: str = ""
    exe: str = ""
    container: str = ""
    namespace: str = ""
    pod: str = ""


class ProcessEnded(Body, frozen=True, tag="process_ended"):
    """A watcher on the node saw a process end.  It does not know who sent the signal."""

    pid: int
    uid: int | None = None
    auid: int | None = None
    exe: str = ""
    signal: str = ""  # SIGKILL; empty: it ended by itself
    status: int = 0
    started: int | None = None
    namespace: str = ""
    pod: str = ""


class KernelCall(Body, frozen=True, tag="kernel_call"):
    """A watcher on the node saw a process call a function that its site's policy names."""

    function: str
    arguments: tuple[str, ...] = ()
    action: str = ""
    policy: str = ""
    pid: int | None = None
    uid: int | None = None
    auid: int | None = None
    exe: str = ""
    namespace: str = ""
    pod: str = ""


class ObjectAccess(Body, frozen=True, tag="object_access"):
    """Somebody used a store over its own protocol (S3, MinIO, HDFS, Lustre), which no audit daemon on a node sees."""

    action: str  # read | written | renamed | deleted | truncated | attributes | listed | other
    operation: str  # the store's own word
    path: str  # s3://bucket/key, or the path in the store
    old_path: str = ""
    user: str = ""
    uid: int | None = None
    address: str = ""
    agent: str = ""
    success: bool | None = None  # None: the source does not say
    code: str = ""
    size_bytes: int | None = None
    comm: str = ""
    job_label: str = ""  # what the client says of itself: its environment sets it
    self_named: bool = False  # so is the user: the store asks for no proof


class CloudRequest(Body, frozen=True, tag="cloud_request"):
    """Somebody asked a cloud's control plane for something: machines ended, rights changed."""

    user: str
    service: str
    operation: str
    target: str = ""  # the request's parameters
    identity: str = ""  # kind of the account: IAMUser, AssumedRole, Root ...
    address: str = ""
    agent: str = ""
    success: bool = True
    code: str = ""


class FileIntegrity(Body, frozen=True, tag="file_integrity"):
    """A watcher found that a file is not what it was.  Who did it is known only where the kernel's audit told it."""

    action: str  # written | renamed | deleted | attributes | read
    path: str
    how: str = ""  # realtime | whodata | scheduled | events
    sha256: str = ""
    sha256_before: str = ""
    size_bytes: int | None = None
    changed: tuple[str, ...] = ()
    owner: str = ""
    user: str = ""
    uid: int | None = None
    auid: int | None = None
    pid: int | None = None
    exe: str = ""


class CodePushed(Body, frozen=True, tag="code_pushed"):
    """Somebody pushed to a repository.  Commits carry whatever author and time they claim; the pusher is who logged in."""

    user: str
    repository: str
    ref: str
    before: str = ""
    after: str = ""
    change: str = ""  # created | deleted | forced | pushed
    commits: int | None = None
    files: tuple[str, ...] = ()


class SessionCommand(Body, frozen=True, tag="session_command"):
    """A bastion saw a command within a session that it carries."""

    user: str
    command: str
    login: str = ""
    session: str = ""
    pid: int | None = None
    ppid: int | None = None
    exe: str = ""
    code: int | None = None
    address: str = ""


class Progress(Body, frozen=True, tag="progress"):
    """How far training has come, from a framework that does not number the iterations of the whole run in this line."""

    what: str  # train | evaluation | summary | bar | throughput
    step: int | None = None  # within what the line counts: an epoch, or the run
    steps_total: int | None = None
    epoch: float | None = None
    loss: float | None = None
    learning_rate: float | None = None
    grad_norm: float | None = None
    seconds_per_step: float | None = None
    rank: int | None = None


class ObjectEvent(Body, frozen=True, tag="object_event"):
    """A controller of Kubernetes tells of an object: what happened, never who wanted it.  Equal events are counted, not repeated."""

    kind: str  # Pod, Job, Workload, Node, PodGroup ...
    name: str
    reason: str
    namespace: str = ""
    object_uid: str = ""
    text: str = ""
    severity: str = ""  # Normal | Warning
    component: str = ""
    node: str = ""
    count: int = 1
    first_time: int | None = None
    beneficiary: str = ""  # namespace/name, or uid, of the workload for which this one was preempted


class DaemonNote(Body, frozen=True, tag="daemon_note"):
    """slurmd: what the daemon of a node did for a job, or was asked to do by whom."""

    what: str  # launch | signal | terminate | refused | prolog | node | error | log
    job: str = ""
    step: str = ""
    uid: int | None = None  # who asked
    owner_uid: int | None = None
    signal: int | None = None
    text: str = ""


# --- training: what the probe tells beside hashes of modules and checkpoints ------------------------------------------------------


class HookFound(Body, frozen=True, tag="hook_found"):
    """Our probe: a file that the interpreter runs, or may run, before the job's own code."""

    job: str
    hook: str  # sitecustomize | usercustomize | pth | startup
    path: str
    sha256: str
    executes: bool | None = None  # a .pth file: does it hold code, or folders only?
    size_bytes: int | None = None
    pid: int | None = None
    uid: int | None = None
    host: str = ""


class EnvironmentSet(Body, frozen=True, tag="environment_set"):
    """Our probe: a variable that steers what is loaded.  The value is empty where it is told by its hash only."""

    job: str
    name: str
    sha256: str
    value: str = ""
    pid: int | None = None
    uid: int | None = None
    host: str = ""


class GlobalUnpickled(Body, frozen=True, tag="global_unpickled"):
    """Our probe: a pickle named a global that ordinary checkpoints do not; it is told before it is called."""

    job: str
    module: str
    name: str
    path: str = ""  # the file that was being loaded
    pid: int | None = None
    uid: int | None = None
    host: str = ""


class ProcessSpawned(Body, frozen=True, tag="process_spawned"):
    """Our probe: the job is about to start a program."""

    job: str
    means: str  # subprocess.Popen | os.system | os.exec | os.posix_spawn
    executable: str = ""
    arguments: tuple[str, ...] = ()
    pid: int | None = None
    uid: int | None = None
    host: str = ""


class SignalRequested(Body, frozen=True, tag="signal_requested"):
    """Our probe: the job is about to send a signal, from its own code."""

    job: str
    signal: int
    target_pid: int  # negative: a process group
    means: str = ""  # os.kill | os.killpg | signal.pthread_kill
    pid: int | None = None
    uid: int | None = None
    host: str = ""
    through: tuple[str, ...] = ()  # files whose code made the call, the innermost first; none: it was not told


class SocketUsed(Body, frozen=True, tag="socket_used"):
    """Our probe: the job connects to an address, or binds one, for the first time."""

    job: str
    action: str  # connect | bind
    address: str
    port: int
    pid: int | None = None
    uid: int | None = None
    host: str = ""


class ProbeNote(Body, frozen=True, tag="probe_note"):
    """Our probe on itself: what it left out or could not do, and that its process ends in the ordinary way."""

    job: str
    what: str  # left_out | too_large | not_hashed | changed_while_hashing | failed | exiting
    about: str = ""  # kind of line
    count: int | None = None
    path: str = ""
    text: str = ""
    pid: int | None = None
    uid: int | None = None
    host: str = ""


# --- cold start -----------------------------------------------------------------------------------------------------------------


class HistoryBegins(Body, frozen=True, tag="history_begins"):
    """`trainwatch bootstrap`: the job was there when the logs of its cluster began to be read; what was before nobody told."""

    job: str
    at: int  # UTC ms: when the list was taken


AnyBody = (
    JobRecord
    | JobStep
    | KillRequest
    | JobUpdate
    | ControllerJob
    | NodeState
    | ControllerNote
    | RankFailed
    | RanksClosed
    | Iteration
    | CheckpointNote
    | StepCancelled
    | TaskEnded
    | StepOom
    | CollectiveTimeout
    | TrainingLine
    | LinePart
    | ProcessStarted
    | CheckpointSaved
    | CheckpointLoaded
    | ModuleImported
    | AuditRecord
    | SignalSent
    | FileTouched
    | ProcessRun
    | Login
    | SessionChanged
    | PrivilegeUsed
    | AccessLine
    | OomKill
    | Xid
    | KernelLine
    | Heartbeat
    | KubernetesRequest
    | RuntimeAlert
    | ProcessEnded
    | KernelCall
    | ObjectAccess
    | CloudRequest
    | FileIntegrity
    | CodePushed
    | SessionCommand
    | Progress
    | ObjectEvent
    | DaemonNote
    | HookFound
    | EnvironmentSet
    | GlobalUnpickled
    | ProcessSpawned
    | SignalRequested
    | SocketUsed
    | ProbeNote
    | HistoryBegins
)


class Parsed(msgspec.Struct, frozen=True, gc=False):
    """What a payload format makes of one line: one of possibly several.

    `event_time` is None where the line carries no clock; ingest then takes the collected time.  `own_id` is the source's own id
    of the event, where it has one; ingest builds the event id from it, else from the line.  `tag` is the program under whose name the
    line stood in a system log, which is anybody's to choose; empty: it came otherwise, or the format does not say.
    """

    source: Source
    body: AnyBody
    event_time: int | None = None
    host: str = ""
    own_id: str = ""
    unmapped: dict[str, str] = {}
    tag: str = ""


UNKNOWN_HOST = "?"  # nobody says which host handed a record in


class Event(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="event", tag_field="told"):
    """One thing that happened, normalised and attributed to cluster, host and job; it travels as the body of facts."""

    id: str
    source: Source
    cluster: str
    event_time: int
    body: AnyBody
    host: str = ""
    job: str = ""
    sha256: str = ""  # of the payload line: what evidence cites
    parts: tuple[tuple[str, str], ...] = ()  # (event id, sha256) of the records it was assembled from
    file: str = ""  # of a line that may be a part of something: where it stood
    position: int | None = None  # its offset there, bytes
    shipper: str = ""  # of a host's own log: who handed it in, where that is not the host that it tells of
    unproven: bool = False  # anybody may have sent it, where the site says of other topics that their senders are authenticated

    @property
    def record(self) -> str:
        """What names it to people: an event that was put together may have no row of its own, the first of its records has."""
        return self.parts[0][0] if self.parts else self.id

    @property
    def mark(self) -> str:
        """Stands after the name of a fact, or of a bound: what anybody may have sent takes no place of what known senders tell."""
        return "/unproven" if self.unproven else ""
