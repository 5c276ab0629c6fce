"""One-line builders for detectors of hosts and of accounts, beside `tests/build.py`; seconds in, typed values out.

host_case(act@97, held by u012 ...)       identity_case("u012", login@97, ...)       silent sources are named, all others heard
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.detect.detector import registry
from pipeline.detect.subjects import Held, HostCase, IdentityCase
from pipeline.model.events import (
    AuditRecord,
    Event,
    FileTouched,
    Iteration,
    JobRecord,
    KernelLine,
    KillRequest,
    Login,
    PrivilegeUsed,
    ProcessRun,
    Xid,
)
from pipeline.model.finding import Finding
from pipeline.model.source import Source
from pipeline.model.told import Displaced, Worked
from pipeline.settings import ArtefactRootSettings, IdentitySettings
from pipeline.stream.watermark import Watermarks, bucket_of
from tests import build
from tests.build import BUCKET_MS, CLUSTER, COLLEAGUE, DAY, HOST, OWNER, attempt, event, ms

LOGIN_HOST = "login-001"
KEY, FOREIGN = "SHA256:own-of-u012", "SHA256:own-of-u099"
OFFICE, HOME, ABROAD = "10.20.1.7", "10.21.3.3", "198.51.100.23"
HOUR = 3600
# The usual people with keys; u011 has left.
PEOPLE = tuple(
    each.model_copy(update={"names": {"key": (f"SHA256:own-of-{each.id}",)}}) if each.id.startswith("u") else each
    for each in build.IDENTITIES
)
LEFT = IdentitySettings.model_validate(
    {"id": "u011", "uid": 5011, "login": "u011", "team": "red", "names": {"key": ["SHA256:own-of-u011"]}, "valid_to": ms(0) / 1000}
)
ROOTS = (
    ArtefactRootSettings(path="/ckpt", writers=("u070",)),
    ArtefactRootSettings(path="/env", kind="environment", owner="u012"),
    ArtefactRootSettings(path="/ops", kind="diagnostics", writers=("adm1",)),
)


def site(**changes: Any) -> Any:
    """The site of these tests."""
    return build.site(**{"identities": (*PEOPLE, LEFT), "artefact_roots": ROOTS, **changes})


# --- hosts ----------------------------------------------------------------------------------------------------------------------


def command(at: float, *words: str, by: int | None = COLLEAGUE, host: str = HOST, success: bool = True) -> Event:
    """A command as root, as the kernel's audit tells it; `by` None: nobody logged in."""
    body = ProcessRun(serial=round(at * 10), arguments=words, success=success, uid=0, auid=by)
    return event(at, Source.AUDITD, body, host=host)


def sudo(at: float, text: str, by: str = "u099", host: str = HOST) -> Event:
    """The same as sudo writes it."""
    return event(at, Source.SSHD, PrivilegeUsed(user=by, run_as="root", command=text), host=host)


def recorded(at: float, kind: str = "CONFIG_CHANGE", by: int = COLLEAGUE, host: str = HOST, **fields: str) -> Event:
    """What the audit system writes of itself."""
    body = AuditRecord(record_type=kind, serial=round(at * 10), fields={"auid": str(by), "uid": "0", "res": "1", **fields})
    return event(at, Source.AUDITD, body, host=host)


def sudo_in_audit(at: float, text: str, by: int = COLLEAGUE, host: str = HOST) -> Event:
    """The same as sudo tells the kernel's audit."""
    return recorded(at, "USER_CMD", by, host, uid=str(by), cmd=text, res="success")


def switched_off(at: float, by: int = COLLEAGUE) -> Event:
    """CONFIG_CHANGE audit_enabled=0."""
    return recorded(at, by=by, op="set", audit_enabled="0", old="1")


def kernel(at: float, text: str, host: str = HOST) -> Event:
    """A line of the kernel."""
    return event(at, Source.KERNEL, KernelLine(text=text), host=host)


def xid(at: float, code: int = 79) -> Event:
    """A GPU error."""
    return event(at, Source.KERNEL, Xid(code=code), host=HOST)


def step(at: float, took_ms: float | None = 2000, number: int | None = None, job: str = build.JOB) -> Event:
    """A step of training, written on the host."""
    body = Iteration(iteration=round(at) if number is None else number, elapsed_ms=took_ms)
    return event(at, Source.TRAINING, body, host=HOST, job=job)


def steps(start: float, end: float, took_ms: float | None = 2000, job: str = build.JOB) -> list[Event]:
    """One every five minutes."""
    return [step(at, took_ms, job=job) for at in range(round(start), round(end), 300)]


def held(start: float = -5 * HOUR, end: float = 10 * HOUR, owner: int | None = OWNER, job: str = build.JOB) -> Held:
    """An attempt holds the host."""
    return Held(attempt(job, start, start - 60), ms(end), owner)


def host_case(
    *told: Event | Held, gaps: Mapping[Source, tuple[float, float]] | None = None, silent: Iterable[Source] = (), at: Any = None
) -> HostCase:
    """The case of one host; sources were heard throughout but in their gaps."""
    absent = {source: (ms(start), ms(end)) for source, (start, end) in (gaps or {}).items()}

    def was_heard(source: Source, bucket: int) -> bool:
        start, end = absent.get(source, (0, 0))
        return source not in set(silent) and not start <= bucket < end

    events = [each for each in told if isinstance(each, Event)]
    paces = [each for each in events if isinstance(each.body, Iteration)]
    return HostCase(
        at or site(),
        CLUSTER,
        HOST,
        [each for each in events if each not in paces],
        [each for each in told if isinstance(each, Held)],
        paces,
        was_heard,
    )


def judge_host(detector: str, *told: Event | Held, until: float = 10 * DAY, silent: Iterable[Source] = (), **more: Any) -> list[Finding]:
    """What one detector says of a host."""
    (found,) = [each for each in registry("host") if each.meta.id == detector]
    return list(found.judge(host_case(*told, silent=silent, **more), now(until, silent)))


# --- accounts -------------------------------------------------------------------------------------------------------------------


def login(at: float, user: str = "u012", key: str = KEY, address: str = OFFICE, host: str = LOGIN_HOST) -> Event:
    """An accepted login."""
    body = Login(user=user, outcome="accepted", method="publickey", address=address, fingerprint=key)
    return event(at, Source.SSHD, body, host=host)


def entered(at: float, by: str = "u099", user: str = "u012") -> Event:
    """Somebody becomes the account's user by su."""
    return event(at, Source.SSHD, PrivilegeUsed(user=by, run_as=user, means="su"), host=LOGIN_HOST)


def order(at: float, uid: int = OWNER, job: str = build.JOB) -> Event:
    """A request to cancel."""
    return event(at, Source.SLURMCTLD, KillRequest(job=job, uid=uid), job=job, host="ctl-001")


def run(
    submit: float, start: float | None = None, end: float | None = None, job: str = build.JOB, owner: int = OWNER, **more: Any
) -> Event:
    """A job's record: what the scheduler said last."""
    at = end if end is not None else start if start is not None else submit
    body = JobRecord(
        job=job,
        phase="end" if end is not None else "start",
        owner_uid=owner,
        submit=ms(submit),
        start=None if start is None else ms(start),
        end=None if end is None else ms(end),
        state="COMPLETED" if end is not None else "RUNNING",
        gpus=8,
        **more,
    )
    return event(at, Source.JOBCOMP, body, job=job)


def worked(submit: float, start: float, job: str) -> Worked:
    """An attempt wrote steps."""
    return Worked(attempt(job, start, submit), step(start + 60, job=job))


def displaced(at: float, victim: str, by: str, submit: float, start: float, uid: int = COLLEAGUE) -> Displaced:
    """An attempt was preempted, and `by` began in its room."""
    ended = build.job_end(at, "PREEMPTED", job=victim, owner_uid=uid, start=at - HOUR, submit=at - 2 * HOUR)
    return Displaced(attempt(victim, at - HOUR, at - 2 * HOUR), uid, attempt(by, start, submit), ended)


def asked(at: float, *words: str, by: int = COLLEAGUE, uid: int = OWNER) -> Event:
    """A command under somebody's uid, from the login of `by`, as the kernel's audit tells it; a cancel unless told otherwise."""
    body = ProcessRun(serial=round(at * 10), arguments=words or ("scancel", "7"), success=True, uid=uid, auid=by)
    return event(at, Source.AUDITD, body, host=LOGIN_HOST)


def read(at: float, by: int = COLLEAGUE, page: str = "/ops/inc-1.md") -> Event:
    """Somebody reads a page of the diagnostics."""
    body = ProcessRun(serial=round(at * 10), arguments=("less", page), success=True, uid=by, auid=by)
    return event(at, Source.AUDITD, body, host=LOGIN_HOST)


def wrote(at: float, by: int = COLLEAGUE, path: str = "/env/lib/loader.py", owner: int = OWNER) -> Event:
    """Somebody writes an artefact."""
    body = FileTouched(action="written", path=path, serial=round(at * 10), success=True, uid=by, auid=by, file_uid=owner)
    return event(at, Source.AUDITD, body, host=LOGIN_HOST)


def identity_case(name: str, *told: Event | Displaced | Worked, at: Any = None) -> IdentityCase:
    """The case of one account, or of `team:...`."""
    events = [each for each in told if isinstance(each, Event)]
    return IdentityCase(at or site(), CLUSTER, name, events, [each for each in told if not isinstance(each, Event)])


def judge_identity(
    detector: str, name: str, *told: Event | Displaced | Worked, until: float = 100 * DAY, at: Any = None, silent: Iterable[Source] = ()
) -> list[Finding]:
    """What one detector says of an account."""
    (found,) = [each for each in registry("identity") if each.meta.id == detector]
    return list(found.judge(identity_case(name, *told, at=at), now(until, silent)))


def now(until: float, silent: Iterable[Source] = ()) -> Watermarks:
    """All families have passed `until` and were heard for weeks, but those in `silent`, of which nothing was ever heard."""
    families = [source for source in Source if source not in set(silent)]
    heard = frozenset(range(bucket_of(ms(-DAY), BUCKET_MS), ms(min(until, 40 * DAY)), BUCKET_MS))
    return Watermarks(
        {(CLUSTER, source): (ms(until), ms(until)) for source in families}, {(CLUSTER, source): heard for source in families}, BUCKET_MS
    )


def flood(jobs: int = 25, victims: int = 4, at: float = 30 * DAY, took: float = 3 * HOUR) -> Sequence[Event | Displaced]:
    """An account's jobs, some of which displace others."""
    told: list[Event | Displaced] = []
    for number in range(jobs):
        submit, start = at + number, at + 100 + number
        told.append(run(submit, start, start + took, job=str(9000 + number)))
        if number < victims:
            told.append(displaced(start - 10, str(100 + number), str(9000 + number), submit, start))
    return told


def usual(jobs: int = 12, at: float = 0, *, seen: bool = True) -> list[Event | Worked]:
    """What the account did before: a few jobs a day, which train."""
    told: list[Event | Worked] = []
    for number in range(jobs):
        submit = at + number * 2 * DAY
        told.append(run(submit, submit + 60, submit + 5 * HOUR, job=str(500 + number)))
        if seen:
            told.append(worked(submit, submit + 60, str(500 + number)))
    return told
