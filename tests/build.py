"""One-line builders of what the core is made of: events, facts, cases, watermarks, records.  Seconds in, typed values out.

Time is told in seconds from T0, so that a test reads like its drawing:

    access       kill@97                   u099 is the colleague, u012 the owner, gpu-001 the host, 4711 the rank
    scheduler    start@0    end@100
    training                rank_failed@98

`case` puts events together as the stages would, with every source heard throughout unless it is named in `silent`.  Ids come from
content, so equal calls are equal events.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from pipeline.artefacts import step as artefacts
from pipeline.detect.benign import Suspicion
from pipeline.detect.case import Case, Site
from pipeline.detect.detector import registry
from pipeline.detect.site import site_of
from pipeline.ingest.facts import facts_of
from pipeline.jobs.index import JobIndex
from pipeline.model import watched
from pipeline.model.events import (
    AnyBody,
    AuditRecord,
    CheckpointLoaded,
    CheckpointNote,
    CheckpointSaved,
    CollectiveTimeout,
    ControllerJob,
    EnvironmentSet,
    Event,
    FileTouched,
    GlobalUnpickled,
    HookFound,
    Iteration,
    JobRecord,
    JobUpdate,
    KillRequest,
    ModuleImported,
    NodeState,
    OomKill,
    ProcessRun,
    ProcessSpawned,
    ProcessStarted,
    RankFailed,
    RanksClosed,
    SignalRequested,
    SignalSent,
    SocketUsed,
    StepCancelled,
    StepOom,
    TaskEnded,
    TrainingLine,
    Xid,
)
from pipeline.model.facts import Fact, artefact_case, host_case, job_case
from pipeline.model.finding import Checked, Explanation, Finding
from pipeline.model.identity import Identity
from pipeline.model.ids import digest
from pipeline.model.outcome import Record, Tell
from pipeline.model.source import PER_HOST, Source
from pipeline.model.told import ArtefactUse, Attempt, Heard, HostCoverage, NodeTouch, Told, Touch, decode_told, encode_told
from pipeline.settings import (
    ArtefactRootSettings,
    IdentitySettings,
    Role,
    Settings,
    TicketSettings,
)
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import NOTHING, Watermarks, bucket_of

T0 = 1_772_409_600_000  # 2026-03-02T00:00:00Z
CLUSTER, JOB, HOST, PID = "main", "7", "gpu-001", 4711
OWNER, COLLEAGUE, OTHER, ADMIN, SERVICE, WRITER = 5012, 5099, 5098, 5900, 5800, 5700
UNSET = 4_294_967_295
PATH = "/ckpt/u012/step100.pt"
MODULE, HOOK = "/ckpt/env/torch/nn.py", "/ckpt/env/sitecustomize.py"
SUBMIT = -60
BUCKET_MS = 600_000
DAY = 86_400

IDENTITIES = (
    IdentitySettings(id="u012", uid=OWNER, login="u012", team="red"),
    IdentitySettings(id="u099", uid=COLLEAGUE, login="u099", team="blue"),
    IdentitySettings(id="u098", uid=OTHER, login="u098", team="blue"),
    IdentitySettings(id="adm1", uid=ADMIN, login="adm1", role=Role.ADMIN),
    IdentitySettings(id="svc", uid=SERVICE, login="svc", role=Role.SERVICE),
    IdentitySettings(id="u070", uid=WRITER, login="u070", team="green"),
)
ROOTS = (ArtefactRootSettings(path="/ckpt", writers=("u070",)),)


def ms(at: float) -> int:
    """Seconds from T0 as UTC milliseconds."""
    return T0 + round(at * 1000)


def settings(**changes: Any) -> Settings:
    """The site of the tests."""
    return Settings(**{"identities": IDENTITIES, "artefact_roots": ROOTS, **changes})


def ticket(start: float, end: float, *, identities: tuple[str, ...] = ("adm1",), **where: Any) -> TicketSettings:
    """A change ticket."""
    return TicketSettings.model_validate(
        {"id": "CHG1", "identities": identities, "start": ms(start) / 1000, "end": ms(end) / 1000, **where}
    )


def site(**changes: Any) -> Site:
    """What detectors know of the site."""
    return site_of(settings(**changes))


def attempt(job: str = JOB, start: float | None = 0, submit: float = SUBMIT) -> Attempt:
    """One run of a job; `start` None: it never ran."""
    return Attempt(CLUSTER, job, ms(submit), -1 if start is None else ms(start))


def event(at: float, source: Source, body: AnyBody, *, host: str = "", job: str = "", tag: str = "") -> Event:
    """An event; `tag` tells equal ones apart."""
    name = digest(source, host, ms(at), type(body).__name__, msgspec.json.encode(body), tag)
    return Event(id=name, source=source, cluster=CLUSTER, event_time=ms(at), body=body, host=host, job=job, sha256=digest("line", name) * 2)


def unproven(told: Event) -> Event:
    """The same as anybody may have sent it, under a name of its own as ingest gives it."""
    return msgspec.structs.replace(told, id=digest("unproven", told.id), unproven=True)


# --- scheduler ------------------------------------------------------------------------------------------------------------------


def job_record(at: float, phase: str, *, job: str = JOB, source: Source = Source.JOBCOMP, **fields: Any) -> Event:
    """A job's accounting record; times in `fields` are seconds from T0."""
    given = {"submit": SUBMIT, "start": 0.0, "owner_uid": OWNER, "owner": "u012", "nodes": (HOST,), "gpus": 8, **fields}
    for name in ("submit", "start", "end"):
        if given.get(name) is not None:
            given[name] = ms(given[name])
    return event(at, source, JobRecord(job=job, phase=phase, **given), job=job)


def allocation(at: float = 0, **fields: Any) -> Event:
    """The scheduler says that the job started."""
    return job_record(at, "start", **{"start": at, **fields})


def job_end(at: float = 100, state: str = "FAILED", **fields: Any) -> Event:
    """The scheduler says that the job ended; FAILED means a rank was killed by signal 9 unless `derived_signal` says otherwise."""
    trace: dict[str, Any] = {"exit_code": 1, "derived_signal": 9} if state == "FAILED" else {}
    return job_record(at, "end", **{"end": at, "state": state, **trace, **fields})


def cancel_request(at: float, uid: int = COLLEAGUE, *, job: str = JOB, refused: bool = False, no_effect: bool = False) -> Event:
    """The controller logs that somebody asked it to signal the job."""
    return event(at, Source.SLURMCTLD, KillRequest(job=job, uid=uid, refused=refused, no_effect=no_effect), job=job, host="ctl-001")


def controller(at: float, change: str, *, job: str = JOB, detail: str = "") -> Event:
    """The controller's word on the job's life."""
    return event(at, Source.SLURMCTLD, ControllerJob(job=job, change=change, detail=detail), job=job, host="ctl-001")


def job_update(at: float, uid: int = COLLEAGUE, *, job: str = JOB) -> Event:
    """Somebody changed the job."""
    return event(at, Source.SLURMCTLD, JobUpdate(job=job, uid=uid, change="update"), job=job, host="ctl-001")


def node_down(at: float, *, node: str = HOST) -> Event:
    """The controller lost a node."""
    return event(at, Source.SLURMCTLD, NodeState(nodes=(node,), change="not_responding"), host="ctl-001")


# --- training -------------------------------------------------------------------------------------------------------------------


def rank_failed(at: float, *, pid: int | None = PID, signal: int | None = 9, exit_code: int | None = None, job: str = JOB) -> Event:
    """The launcher says that a rank ended."""
    return event(at, Source.TRAINING, RankFailed(pid=pid, signal=signal, exit_code=exit_code, first=True), job=job)


def step_cancelled(at: float, reason: str = "", *, job: str = JOB) -> Event:
    """slurmstepd says that the step was cancelled."""
    return event(at, Source.TRAINING, StepCancelled(job=job, reason=reason), job=job)


def task_ended(at: float, signal: int = 9, *, job: str = JOB) -> Event:
    """srun says that a task ended."""
    return event(at, Source.TRAINING, TaskEnded(host=HOST, tasks="0", outcome="killed", signal=signal), job=job)


def step_oom(at: float, *, job: str = JOB) -> Event:
    """slurmstepd counted an out-of-memory kill."""
    return event(at, Source.TRAINING, StepOom(job=job), job=job)


def error_line(at: float, text: str = "ValueError: bad shape", *, job: str = JOB) -> Event:
    """The program's own error."""
    return event(at, Source.TRAINING, TrainingLine(what="error", text=text), job=job)


def collective_timeout(at: float, *, job: str = JOB) -> Event:
    """The NCCL watchdog."""
    return event(at, Source.TRAINING, CollectiveTimeout(rank=1, timeout_ms=1_800_000), job=job)


def iteration(at: float, number: int = 1, *, job: str = JOB) -> Event:
    """A logged training step."""
    return event(at, Source.TRAINING, Iteration(iteration=number), job=job)


def process_started(at: float, *, pid: int = PID, host: str = HOST, job: str = JOB) -> Event:
    """The probe says that a rank started."""
    return event(at, Source.PROBE, ProcessStarted(job=job, pid=pid, uid=OWNER, host=host), host=host, job=job)


def save(at: float, sha: str = "a", *, path: str = PATH, job: str = JOB, uid: int | None = OWNER) -> Event:
    """The probe says what a job of `uid` saved."""
    return event(at, Source.PROBE, CheckpointSaved(job=job, path=path, sha256=sha * 64, uid=uid, host=HOST), host=HOST, job=job)


def load(at: float, sha: str = "b", *, path: str = PATH, job: str = JOB) -> Event:
    """The probe says what the job loaded."""
    return event(at, Source.PROBE, CheckpointLoaded(job=job, path=path, sha256=sha * 64, uid=OWNER, host=HOST), host=HOST, job=job)


def imported(at: float, sha: str = "b", *, path: str = MODULE, job: str = JOB, module: str = "torch.nn", cached: str = "") -> Event:
    """The probe says what bytes of a module the job imported."""
    body = ModuleImported(job=job, module=module, path=path, sha256=sha * 64, cached_sha256=cached * 64, host=HOST)
    return event(at, Source.PROBE, body, host=HOST, job=job)


def hook(
    at: float, sha: str = "b", *, path: str = HOOK, kind: str = "sitecustomize", job: str = JOB, executes: bool | None = None
) -> Event:
    """The probe says what runs before the job's own code."""
    body = HookFound(job=job, hook=kind, path=path, sha256=sha * 64, executes=executes, host=HOST)
    return event(at, Source.PROBE, body, host=HOST, job=job)


def environment(at: float, name: str, value: str, *, job: str = JOB) -> Event:
    """The probe says how a variable is set."""
    return event(at, Source.PROBE, EnvironmentSet(job=job, name=name, sha256=digest(value) * 2, value=value, host=HOST), host=HOST, job=job)


def unpickled(at: float, what: str = "posix.system", *, path: str = PATH, job: str = JOB) -> Event:
    """The probe says that a pickle named what ordinary ones do not."""
    module, _, name = what.rpartition(".")
    return event(at, Source.PROBE, GlobalUnpickled(job=job, module=module, name=name, path=path, pid=PID, host=HOST), host=HOST, job=job)


def spawned(at: float, *arguments: str, means: str = "subprocess.Popen", job: str = JOB) -> Event:
    """The probe says that the job is about to start a program; by `os.system` a command line."""
    executable = "/bin/sh" if means == "os.system" else f"/usr/bin/{arguments[0]}"
    body = ProcessSpawned(job=job, means=means, executable=executable, arguments=arguments, pid=PID, host=HOST)
    return event(at, Source.PROBE, body, host=HOST, job=job)


def requested(
    at: float, signal: int = 9, *, target: int = PID, sender: int = PID, job: str = JOB, through: tuple[str, ...] = (PATH,)
) -> Event:
    """The probe says that the job's code is about to send a signal, and out of which files."""
    body = SignalRequested(job=job, signal=signal, target_pid=target, means="os.kill", pid=sender, host=HOST, through=through)
    return event(at, Source.PROBE, body, host=HOST, job=job)


def bound(at: float, port: int = 4444, *, action: str = "bind", job: str = JOB) -> Event:
    """The probe says that the job listens on a port."""
    return event(at, Source.PROBE, SocketUsed(job=job, action=action, address="0.0.0.0", port=port, host=HOST), host=HOST, job=job)  # noqa: S104


def closing(at: float, pid: int = PID, *, job: str = JOB) -> Event:
    """The launcher says that it ends a rank."""
    return event(at, Source.TRAINING, RanksClosed(pid=pid, signal=15), job=job)


def note(at: float, step: int, action: str = "loading", *, job: str = JOB) -> Event:
    """The framework says which checkpoint it loads."""
    return event(at, Source.TRAINING, CheckpointNote(action=action, path="/ckpt/u012", iteration=step), job=job)


# --- access ---------------------------------------------------------------------------------------------------------------------


def kill(
    at: float = 97,
    *,
    signal: int = 9,
    auid: int | None = COLLEAGUE,
    uid: int | None = COLLEAGUE,
    target: int = PID,
    target_uid: int | None = OWNER,
    host: str = HOST,
    success: bool = True,
) -> Event:
    """A process sent a signal; `auid` None: nobody logged in."""
    body = SignalSent(signal=signal, target_pid=target, success=success, serial=round(at * 10), uid=uid, auid=auid, target_uid=target_uid)
    return event(at, Source.AUDITD, body, host=host)


def write(
    at: float, uid: int | None = COLLEAGUE, *, action: str = "written", path: str = PATH, auid: int | None = -1, **fields: Any
) -> Event:
    """A process changed a file; `auid` is `uid` unless given."""
    who = uid if auid == -1 else auid
    body = FileTouched(action=action, path=path, serial=round(at * 10), success=True, uid=uid, auid=who, file_uid=OWNER)
    return event(at, Source.AUDITD, msgspec.structs.replace(body, **fields), host="login-001")


def scancel(at: float, uid: int = COLLEAGUE, *, job: str = JOB) -> Event:
    """A cancel command on a login node."""
    body = ProcessRun(serial=round(at * 10), arguments=("scancel", job), success=True, uid=uid, auid=uid, exe="/usr/bin/scancel")
    return event(at, Source.AUDITD, body, host="login-001")


def oom(at: float, *, pid: int = PID, host: str = HOST) -> Event:
    """The kernel ended a process for want of memory."""
    return event(at, Source.KERNEL, OomKill(pid=pid, uid=OWNER), host=host)


def xid(at: float, code: int = 79, *, pid: int | None = None, host: str = HOST) -> Event:
    """A GPU error."""
    return event(at, Source.KERNEL, Xid(code=code, pid=pid), host=host)


def audit(at: float, kind: str, serial: int = 0, *, host: str = HOST, item: int = 0, **fields: str) -> Event:
    """One raw audit record."""
    body = AuditRecord(record_type=kind, serial=serial or round(at * 10), item=item, fields=fields)
    return event(at, Source.AUDITD, body, host=host)


def kill_parts(
    at: float = 97, *, signal: int = 9, auid: int = COLLEAGUE, uid: int = COLLEAGUE, target: int = PID, **more: Any
) -> list[Event]:
    """The raw records of `kill`."""
    where = {"host": more.get("host", HOST), "serial": more.get("serial", round(at * 10))}
    asked = more.get("asked", target)  # the number by which the sender knows its target
    return [
        audit(
            at, "SYSCALL", syscall_name="kill", success="yes", a0=f"{asked:x}", a1=f"{signal:x}", pid="900", uid=str(uid), auid=str(auid),
            **where,
        ),
        audit(at, "OBJ_PID", opid=str(target), ouid=str(more.get("target_uid", OWNER)), oauid=str(UNSET), **where),
    ]  # fmt: skip


def write_parts(at: float, uid: int = COLLEAGUE, *, path: str = PATH, host: str = "login-001") -> list[Event]:
    """The raw records of an open for writing, with an absolute name."""
    return [
        audit(
            at, "SYSCALL", syscall_name="openat", success="yes", a0="ffffff9c", a2="241", pid="900", uid=str(uid), auid=str(uid), host=host
        ),
        audit(at, "PATH", name=path, nametype="NORMAL", ouid=str(OWNER), host=host),
    ]


def scancel_parts(at: float, uid: int = COLLEAGUE, *arguments: str, host: str = "login-001") -> list[Event]:
    """The raw records of a cancel command."""
    words: Any = {f"a{number}": word for number, word in enumerate(("scancel", *(arguments or (JOB,))))}
    return [
        audit(at, "SYSCALL", syscall_name="execve", success="yes", pid="900", uid=str(uid), auid=str(uid), host=host),
        audit(at, "EXECVE", host=host, **words),
    ]


# --- facts ----------------------------------------------------------------------------------------------------------------------


def fact(told: Told, name: str = "", *, case: bytes = b"", rank: bytes = b"") -> Fact:
    """A fact about the job unless `case` says otherwise; an event's fact is named by its id, as ingest names it."""
    if not name:
        name = told.id if isinstance(told, Event) else digest(encode_told(told))
    return Fact(case or job_case(CLUSTER, JOB), name, rank, encode_told(told))


def to_host(told: Event, host: str = HOST) -> Fact:
    """The fact that ingest tells a host."""
    return fact(told, case=host_case(CLUSTER, host))


def to_artefact(told: Event, path: str = PATH) -> Fact:
    """The fact that an artefact is told."""
    return fact(told, case=artefact_case(CLUSTER, path))


def heard(at: float, source: Source = Source.KERNEL, *, host: str = HOST) -> Fact:
    """A source was heard on a host."""
    told = Heard(source, bucket_of(ms(at), BUCKET_MS))
    return fact(told, f"heard/{source}/{told.bucket}", case=host_case(CLUSTER, host))


def touch(cause: Event, *, of: Attempt | None = None, matched: str = "pid") -> Touch | NodeTouch:
    """What hosts make of an event on the job's host."""
    if isinstance(cause.body, SignalSent):
        return Touch(of or attempt(), cause, matched, matched == "pid")
    return NodeTouch(of or attempt(), cause, matched == "pid")


def coverage(source: Source, start: float, end: float, *, host: str = HOST, of: Attempt | None = None) -> HostCoverage:
    """A source was heard on a host all the time."""
    return HostCoverage(of or attempt(), host, source, tuple(range(bucket_of(ms(start), BUCKET_MS), ms(end) + 1, BUCKET_MS)))


def uses(loaded: Event, *before: Event) -> list[ArtefactUse]:
    """What artefacts tell of a load."""
    return [ArtefactUse(loaded, None), *(ArtefactUse(loaded, each) for each in before)]


# --- watermarks -----------------------------------------------------------------------------------------------------------------


def now(until: float = 10 * DAY, *, since: float = -2 * DAY, silent: Iterable[Source] = (), observed: float | None = None) -> Watermarks:
    """All families have passed `until` and were heard since `since`, but those in `silent`, of which nothing was ever heard.

    With `observed` they came that far by records, and the rest of the way by idleness.
    """
    families = [source for source in Source if source not in set(silent)]
    buckets = frozenset(range(bucket_of(ms(since), BUCKET_MS), ms(min(until, 2 * DAY)) + 1, BUCKET_MS))
    return Watermarks(
        {(CLUSTER, source): (ms(until if observed is None else observed), ms(until)) for source in families},
        {(CLUSTER, source): buckets for source in families},
        BUCKET_MS,
    )


# --- cases ----------------------------------------------------------------------------------------------------------------------


def told_of(
    events: Iterable[Event | Told], of: Attempt, silent: Iterable[Source] = (), hosts: Iterable[str] = (HOST,), at: Site | None = None
) -> list[Told]:
    """Events as the stages before would tell them: signals and node events as touches, per-host sources heard throughout.

    With a site, what is told of loads is what the stage of artefacts tells, from the facts that ingest tells it.
    """
    said: list[Told] = []
    if at is not None:
        said += artefact_uses([each for each in events if isinstance(each, Event)], of.job, at)
        events = [each for each in events if not isinstance(each, Event) or not isinstance(each.body, (CheckpointLoaded, ModuleImported))]
        events = [each for each in events if not isinstance(each, Event) or each.job in ("", of.job)]
        said += [NodeTouch(of, each, False) for each in events if isinstance(each, Event) and _watched(each) and each.host in hosts]
    history = [each for each in events if isinstance(each, Event) and isinstance(each.body, (CheckpointSaved, FileTouched))]
    for each in events:
        if not isinstance(each, Event):
            said.append(each)
        elif isinstance(each.body, (SignalSent, OomKill, Xid, NodeState)):
            matched = "pid" if getattr(each.body, "target_pid", getattr(each.body, "pid", None)) == PID else "host"
            said.append(touch(each, of=of, matched=matched))
        elif isinstance(each.body, CheckpointLoaded):
            said += uses(each, *(before for before in history if before.event_time <= each.event_time and _same_file(each, before)))
        elif each not in history:
            said.append(each)
    for source in sorted(PER_HOST - set(silent)):
        said += [coverage(source, -DAY, 2 * DAY, host=host, of=of) for host in hosts]
    return said


def _watched(event: Event) -> bool:
    return isinstance(event.body, FileTouched) and bool(watched.path(event.body.path))


def artefact_uses(events: Iterable[Event], job: str, at: Site) -> list[Told]:
    """What the stage of artefacts tells a job of these events."""
    roots = tuple(
        ArtefactRootSettings.model_validate({"path": root.path, "kind": root.kind, "writers": sorted(root.writers)}) for root in at.roots
    )
    state = artefacts.build_state(settings(artefact_roots=roots), Cases())
    facts = [tell.fact for each in events for tell in facts_of(each, tuple(root.path for root in at.roots)) if tell.stage == "artefacts"]
    told: dict[str, Fact] = {}
    for outcome in artefacts.step(state, facts, NOTHING)[1]:
        assert isinstance(outcome, Tell)
        if outcome.fact.case == job_case(CLUSTER, job) and (outcome.fact.id not in told or told[outcome.fact.id].rank <= outcome.fact.rank):
            told[outcome.fact.id] = outcome.fact
    return [decode_told(each.body) for each in told.values() if each.body]


def _same_file(one: Event, other: Event) -> bool:
    return getattr(one.body, "path", "") in (getattr(other.body, "path", ""), getattr(other.body, "old_path", ""))


def case(*events: Event | Told, of: Attempt | None = None, silent: Iterable[Source] = (), at: Site | None = None) -> Case:
    """The case of one attempt, put together as the jobs stage does it; an allocation is added when no record of the job is given."""
    silent = tuple(silent)
    given = list(events)
    if not any(isinstance(each, Event) and isinstance(each.body, JobRecord) for each in given):
        given.append(allocation())
    wanted = of or attempt()
    index = JobIndex(CLUSTER, wanted.job, 10_000)
    for number, told in enumerate(told_of(given, wanted, silent, at=at or site())):
        index.add(told.id if isinstance(told, Event) else f"{number}", told)
    return next(each for each in index.cases(at or site()) if each.attempt == wanted)


def judge(
    detector: str,
    *events: Event | Told,
    of: Attempt | None = None,
    silent: Iterable[Source] = (),
    until: float = 10 * DAY,
    at: Site | None = None,
) -> list[Finding]:
    """What one detector says of the case of these events."""
    silent = tuple(silent)
    (found,) = [each for each in registry() if each.meta.id == detector]
    return list(found.judge(case(*events, of=of, silent=silent, at=at), now(until, silent=silent)))


def answer(finding: Finding, name: str) -> Explanation:
    """One line of a finding's checklist."""
    return next(each for each in finding.checklist if each.name == name)


def answers(finding: Finding) -> dict[str, Checked]:
    """The whole checklist in short."""
    return {each.name: each.answer for each in finding.checklist}


def suspicion(cause: Event, actor: int | None = COLLEAGUE, *, effect: float = 100, target: int | None = None) -> Suspicion:
    """What a detector holds against somebody."""
    who: Identity | None = site().directory.by_uid(actor, cause.event_time)
    return Suspicion(who, cause, ms(effect), cause.host, target)


# --- records --------------------------------------------------------------------------------------------------------------------


def record(
    value: bytes | str | None,
    offset: int = 0,
    *,
    topic: str = "logs.training",
    at: float = 0,
    partition: int = 0,
    headers: Sequence[tuple[str, bytes]] = (),
) -> Record:
    """A raw Kafka message."""
    data = value.encode() if isinstance(value, str) else value
    return Record(topic=topic, partition=partition, offset=offset, timestamp=ms(at), value=data, headers=tuple(headers))
