"""What `sacct --json` prints in; a JobRecord for each job and a JobStep for each step out.

    {"meta":{..},"jobs":[{"job_id":48213,"user":"u017","state":{"current":["CANCELLED"],"reason":"None"},"kill_request_user":"u099",
      "exit_code":{"status":["SIGNALED"],"signal":{"id":{"set":true,"infinite":false,"number":15},"name":"TERM"}},"time":{"start":..},..}]}

Either the whole document as one record, or one job a record (`sacct --json | jq -c '.jobs[]'`), which stays below a broker's limit.  The
shape differs by the release's data parser, and all are read: a number is bare or `{"set":..,"infinite":..,"number":..}`, a state a
text or a list, a signal `signal_id` (0.0.38) or `id`, a step's id a text or an object.

Times are UNIX seconds and 0 means none; a limit is minutes.  Who cancelled is a **login name**, on the job and on the step: there is no
uid to believe, and none is made up.  The owner's uid is absent likewise.  Exports overlap, so records have ids of their own.

Source: github.com/SchedMD/slurm src/plugins/data_parser (v0.0.38 to v0.0.45), slurm.schedmd.com/sacct.html; the shapes by generated
clients of slurmrestd.  Not verified on a file of a site.
Holds: linear in the document; a script and a submit line are not passed on, since they may hold secrets.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import msgspec

from pipeline.errors import SchemaMismatch, UnknownFormat
from pipeline.formats.fields import ENDED_STATES, checked_time, expand_nodes, job_state, json_object, shown
from pipeline.formats.json_event import TEXT_CHARACTERS_MAX, at, list_at, text_at, texts_of, usual
from pipeline.formats.line import Line, Reading
from pipeline.formats.payloads.slurm_jobcomp import own_id
from pipeline.model.events import JobRecord, JobStep, Parsed
from pipeline.model.source import Source

NUMBER_MAX = 0xFFFFFFFF
STEP_CHARACTERS_MAX = 64
_CODE_MAX = 0xFFFF
_REST = ("failed_node", "group", "cluster", "container")
_REST_OF_USUAL = (*_REST, "reason")

_Number = Annotated[int, msgspec.Meta(ge=0, le=NUMBER_MAX)]
_Text = Annotated[str, msgspec.Meta(max_length=TEXT_CHARACTERS_MAX)] | None


class _Wrapped(msgspec.Struct, frozen=True, gc=False):
    """A number of a newer parser."""

    set: bool = False
    infinite: bool = False
    number: _Number | None = None


_Counted = _Number | _Wrapped | None


class _Signal(msgspec.Struct, frozen=True, gc=False):
    """By one or the other name."""

    id: _Counted | msgspec.UnsetType = msgspec.UNSET
    signal_id: _Counted = None


class _Exit(msgspec.Struct, frozen=True, gc=False):
    """How something ended."""

    return_code: _Counted = None
    signal: _Signal | None = None


class _Times(msgspec.Struct, frozen=True, gc=False):
    """Of a job."""

    submission: _Counted = None
    start: _Counted = None
    end: _Counted = None
    limit: _Counted = None


class _State(msgspec.Struct, frozen=True, gc=False):
    """The base state first."""

    current: str | list[str] | None = None
    reason: _Text = None


class _Resource(msgspec.Struct, frozen=True, gc=False):
    """What was allocated."""

    type: str | None = None
    name: str | None = None
    count: _Counted = None


class _Resources(msgspec.Struct, frozen=True, gc=False):
    """Of a job."""

    allocated: list[_Resource] = []


class _Part(msgspec.Struct, frozen=True, gc=False):
    """Where a job stands in an array or beside its other components."""

    job_id: _Counted = None
    task_id: _Counted = None
    job_offset: _Counted = None


class _Owner(msgspec.Struct, frozen=True, gc=False):
    """As the accounting knows it."""

    user: _Text = None


class _Job(msgspec.Struct, frozen=True, gc=False):
    """A job of the usual types, or the document that has jobs."""

    jobs: "list[_Job]" = []
    job_id: _Counted = None
    time: _Times | None = None
    state: _State = _State()
    exit_code: _Exit = _Exit()
    derived_exit_code: _Exit = _Exit()
    user: _Text = None
    association: _Owner = _Owner()
    account: _Text = None
    partition: _Text = None
    qos: _Text = None
    name: _Text = None
    nodes: _Text = None
    kill_request_user: _Text = None
    working_directory: _Text = None
    stdout_expanded: _Text = None
    stdout: _Text = None
    restart_cnt: _Counted = None
    tres: _Resources = _Resources()
    array: _Part | None = None
    het: _Part | None = None
    failed_node: _Text = None
    group: _Text = None
    cluster: _Text = None
    container: _Text = None
    steps: list[Any] = []


decode_usual = msgspec.json.Decoder(_Job).decode


class SacctJson:
    """Slurm's accounting as JSON, whole or job by job."""

    name = "sacct_json"
    source = Source.SACCT
    programs = ("sacct",)
    begins = (b'{"job_id"',)
    first_bytes = b"{"

    def claims(self, payload: bytes) -> bool:
        """An object with jobs and their states, or such a job."""
        return payload[:1] == b"{" and b'"exit_code"' in payload and b'"derived_exit_code"' in payload and b'"job_id"' in payload

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:  # noqa: ARG002 - its clock is UTC
        """The jobs and steps.  Raises UnknownFormat for other objects, SchemaMismatch for a field of another type."""
        found = usual(line.payload, decode_usual)
        if (
            found is not None
            and (listed := found.jobs or [found])
            and all(job.job_id is not None and job.time is not None for job in listed)
        ):
            return [event for job in listed for event in _of_usual(job)]
        value = json_object(line.payload)
        jobs = value.get("jobs")
        if not isinstance(jobs, list):
            if "job_id" not in value or "time" not in value:
                raise UnknownFormat("no output of sacct --json")
            jobs = [value]
        return [event for job in jobs for event in _of_job(job)]


def _of_usual(job: _Job) -> list[Parsed]:
    """What the next makes of it, in a third of the time."""
    times, state, array, het = job.time or _Times(), _state(job.state.current), job.array, job.het
    number, submit, start, end, limit = (
        _told(job.job_id), _since(times.submission), _since(times.start), _since(times.end), _told(times.limit),
    )  # fmt: skip
    if number is None:
        raise SchemaMismatch("a job without job_id")
    code, signal = _ended(job.exit_code)
    derived_code, derived_signal = _ended(job.derived_exit_code)
    record = JobRecord(  # in the order of its fields: by name it takes ten times as long
        str(number),
        "end" if state in ENDED_STATES and end is not None else "other",
        None,
        job.user or job.association.user or "",
        job.account or "",
        job.partition or "",
        job.qos or "",
        job.name or "",
        state,
        submit,
        start,
        end,
        expand_nodes(job.nodes),
        "",
        code,
        signal,
        derived_code,
        derived_signal,
        None,
        job.kill_request_user or "",
        next((_told(each.count) for each in job.tres.allocated if each.type == "gres" and each.name == "gpu"), None),
        _told(job.restart_cnt),
        None if limit is None else limit * 60,
        job.working_directory or "",
        job.stdout_expanded or job.stdout or "",
        _pair(_told(array.job_id), "_", _told(array.task_id)) if array else "",
        _pair(_told(het.job_id), "+", _told(het.job_offset)) if het else "",
    )
    texts = job.failed_node, job.group, job.cluster, job.container, job.state.reason
    rest = {name: text for name, text in zip(_REST_OF_USUAL, texts, strict=True) if text}
    events = [Parsed(Source.SACCT, record, end or start or submit, "", own_id(record), rest)]
    return [*events, *(_step(record, step) for step in job.steps)] if job.steps else events


def _told(value: _Counted) -> int | None:
    if isinstance(value, _Wrapped):
        return value.number if value.set and not value.infinite else None
    return value


def _since(value: _Counted) -> int | None:
    seconds = _told(value)
    return checked_time(seconds * 1000) if seconds else None


def _ended(value: _Exit) -> tuple[int | None, int | None]:
    code, signal = _told(value.return_code), value.signal
    number = None if signal is None else _told(signal.signal_id if signal.id is msgspec.UNSET else signal.id)
    if code is not None and code > _CODE_MAX:
        code = None
    return (None, None) if number is None and code is None else (code or 0, number or 0)


def _of_job(job: object) -> Iterator[Parsed]:
    number = _number(at(job, "job_id"))
    if number is None:
        raise SchemaMismatch("a job without job_id")
    record = _record(str(number), job)
    time = next((found for found in (record.end, record.start, record.submit) if found is not None), None)
    rest = {name: text for name, text in zip(_REST, texts_of(job, *_REST), strict=True) if text}
    if reason := text_at(job, "state", "reason"):
        rest["reason"] = reason
    yield Parsed(source=Source.SACCT, body=record, event_time=time, own_id=own_id(record), unmapped=rest)
    for step in list_at(job, "steps"):
        yield _step(record, step)


def _record(job_id: str, job: object) -> JobRecord:
    times, array, het = _within(job, "time"), _within(job, "array"), _within(job, "het")
    state, end, limit = _state(_within(job, "state").get("current")), _time(times.get("end")), _number(times.get("limit"))
    owner, account, partition, qos, name, nodes, by, folder, output = texts_of(
        job, "user", "account", "partition", "qos", "name", "nodes", "kill_request_user", "working_directory", "stdout_expanded"
    )
    code, signal = _exit(at(job, "exit_code"))
    derived_code, derived_signal = _exit(at(job, "derived_exit_code"))
    return JobRecord(
        job=job_id,
        phase="end" if state in ENDED_STATES and end is not None else "other",
        owner=owner or text_at(job, "association", "user"),
        account=account,
        partition=partition,
        qos=qos,
        name=name,
        state=state,
        submit=_time(times.get("submission")),
        start=_time(times.get("start")),
        end=end,
        nodes=expand_nodes(nodes),
        exit_code=code,
        exit_signal=signal,
        derived_code=derived_code,
        derived_signal=derived_signal,
        cancelled_by=by,
        gpus=_gpus(job),
        restarts=_number(at(job, "restart_cnt")),
        time_limit_seconds=None if limit is None else limit * 60,
        work_dir=folder,
        std_out=output or text_at(job, "stdout"),
        array=_pair(array.get("job_id"), "_", array.get("task_id")) if array else "",
        het=_pair(het.get("job_id"), "+", het.get("job_offset")) if het else "",
    )


def _step(record: JobRecord, step: object) -> Parsed:
    named = at(step, "step", "id")
    name = shown(named.get("step_id", "")) if isinstance(named, dict) else shown(named or "").rpartition(".")[2]
    state = _state(at(step, "state"))
    start, end = _time(at(step, "time", "start")), _time(at(step, "time", "end"))
    code, signal = _exit(at(step, "exit_code"))
    body = JobStep(
        job=record.job,
        step=name[:STEP_CHARACTERS_MAX],
        state=state,
        start=start,
        end=end,
        nodes=expand_nodes(text_at(step, "nodes", "range")),
        exit_code=code,
        exit_signal=signal,
    )
    identity = JobRecord(job=f"{record.job}.{body.step}", phase="", state=state, submit=record.submit, start=start, end=end)
    by = text_at(step, "kill_request_user")
    time = end if end is not None else start
    return Parsed(
        source=Source.SACCT, body=body, event_time=time, own_id=own_id(identity), unmapped={"kill_request_user": by} if by else {}
    )


# --- what differs between parsers -------------------------------------------------------------------------------------------------


def _number(value: object) -> int | None:
    """A bare number, or a wrapped one that is set and finite."""
    if type(value) is dict:
        if not value.get("set") or value.get("infinite"):
            return None
        value = value.get("number")
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value <= NUMBER_MAX else None


def _within(job: object, name: str) -> dict[str, Any]:
    found = job.get(name) if type(job) is dict else None
    return found if type(found) is dict else {}


def _time(value: object) -> int | None:
    seconds = _number(value)
    return checked_time(seconds * 1000) if seconds else None


def _state(value: object) -> str:
    """The base state: of a list the first, behind which flags stand."""
    if isinstance(value, list):
        value = value[0] if value else ""
    if value is not None and not isinstance(value, str):
        raise SchemaMismatch("a state is no text")
    return job_state(value)[0]


def _exit(value: object) -> tuple[int | None, int | None]:
    """Exit status and signal.  Where a signal ended it, there is no status."""
    if not isinstance(value, dict):
        return None, None
    code = _number(value.get("return_code"))
    signal = value.get("signal")
    number = _number(signal.get("id", signal.get("signal_id"))) if isinstance(signal, dict) else None
    if code is not None and code > _CODE_MAX:
        code = None
    if number is None and code is None:
        return None, None
    return code or 0, number or 0


def _gpus(job: object) -> int | None:
    """The untyped count, which has the typed ones in it."""
    for resource in list_at(job, "tres", "allocated"):
        if isinstance(resource, dict) and resource.get("type") == "gres" and resource.get("name") == "gpu":
            return _number(resource.get("count"))
    return None


def _pair(first: Any, sign: str, second: Any) -> str:
    whole, part = _number(first), _number(second)
    return f"{whole}{sign}{part}" if whole and part is not None else ""


FORMAT = SacctJson()
