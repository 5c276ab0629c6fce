"""An object that Slurm's `jobcomp/kafka` (or `jobcomp/elasticsearch`) plugin wrote in; one JobRecord out.

The record is the scheduler's own word on owner, nodes, times and end.  It never says who cancelled: that is in slurmctld's log and
in sacct.  Its times are UTC, written without `Z`; a time that Slurm does not know is an absent key.  There is no field for the kind
of event: a finish has `@end` or an exit code and a state in which the attempt is over, a start (since 25.05) has neither; a
resize is neither of the two.

`jobcomp/elasticsearch` posts the same object for a finish; read back out of the index it stands in a hit, `{"_index":..,"_source":{..}}`.

A job that is requeued has one finish per attempt, told apart by submit and start, which are therefore part of the record's own id.

Holds: keys without a field of ours pass through as `unmapped`, except `script`, which may hold secrets.
"""

from collections.abc import Sequence
from typing import Annotated

import msgspec
import orjson

from pipeline.errors import UnknownFormat
from pipeline.formats.fields import (
    ENDED_STATES,
    UNMAPPED_TEXT_LENGTH_MAX,
    code_and_signal,
    expand_nodes,
    gpus_of,
    job_state,
    json_object,
    typed,
    unmapped,
    utc_time,
)
from pipeline.formats.json_event import Passing, usual_line
from pipeline.formats.line import Line, Reading
from pipeline.model.events import JobRecord, Parsed
from pipeline.model.source import Source

# 32-bit in Slurm, with the two highest values meaning "none" and "unlimited".
_Number = Annotated[int, msgspec.Meta(ge=0, le=0xFFFFFFFF)]


class _Wire(msgspec.Struct, frozen=True, gc=False, rename={"submit": "@submit", "start": "@start", "end": "@end"}):
    """The fields that we take, as the plugin writes them."""

    jobid: _Number
    user_id: _Number | None = None
    username: str | None = None
    account: str | None = None
    partition: str | None = None
    qos: str | None = None
    job_name: str | None = None
    state: str | None = None
    submit: str | None = None
    start: str | None = None
    end: str | None = None
    nodes: str | None = None
    alloc_node: str | None = None
    exit_code: str | None = None
    derived_ec: str | None = None
    time_limit: _Number | None = None
    tres_alloc: str | None = None
    work_dir: str | None = None
    std_out: str | None = None
    array_job_id: _Number | None = None
    array_task_id: _Number | None = None
    het_job_id: _Number | None = None
    het_job_offset: _Number | None = None


class _Usual(_Wire, frozen=True, gc=False, forbid_unknown_fields=True):
    """The object with no key but those that the plugin is known to write."""

    script: msgspec.Raw = msgspec.Raw()
    cpu_hours: Passing | float = None
    container: Passing = None
    groupname: Passing = None
    group_id: Passing = None
    elapsed: Passing = None
    total_cpus: Passing = None
    total_nodes: Passing = None
    failed_node: Passing = None
    eligible: Passing = msgspec.field(default=None, name="@eligible")
    queue_wait: Passing = msgspec.field(default=None, name="@queue_wait")
    cluster: Passing = None
    ntasks: Passing = None
    ntasks_per_node: Passing = None
    ntasks_per_tres: Passing = None
    cpus_per_task: Passing = None
    priority: Passing = None
    reservation_name: Passing = None
    wc_key: Passing = None
    parent_accounts: Passing = None
    tres_req: Passing = None
    tres_req_raw: Passing = None
    tres_alloc_raw: Passing = None
    std_err: Passing = None
    std_in: Passing = None
    sluid: Passing = None
    original_sluid: Passing = None


_PASSING = tuple(field.encode_name for field in msgspec.structs.fields(_Usual))[len(msgspec.structs.fields(_Wire)) + 2 :]
decode_usual = msgspec.json.Decoder(_Usual).decode
_TAKEN = frozenset(field.encode_name for field in msgspec.structs.fields(_Wire))
_NO_TIME = frozenset({"Unknown", "None"})
_NOT_PASSED = _TAKEN - {"tres_alloc"} | {"script"}


class SlurmJobcomp:
    """The plugin's JSON object."""

    name = "slurm_jobcomp"
    source = Source.JOBCOMP
    programs = ("jobcomp", "job_comp")
    begins = (b'{"jobid"',)
    first_bytes = b"{"

    def claims(self, payload: bytes) -> bool:
        """An object with a job id."""
        return payload[:1] == b"{" and b'"jobid"' in payload

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:  # noqa: ARG002 - UTC, complete and without host
        """One JobRecord."""
        if (found := usual_line(line, decode_usual)) is not None:
            record = _body(found)
            return (Parsed(Source.JOBCOMP, record, _event_time(record), "", own_id(record), _passed(found)),)
        if line.payload[:1] != b"{":
            raise UnknownFormat("not an object")
        value = json_object(line.payload)
        if "jobid" not in value:
            document = value.get("_source")
            if not isinstance(document, dict) or "jobid" not in document:
                raise UnknownFormat("an object without job id")
            value = document
        record = _body(typed(value, _Wire))
        return (Parsed(Source.JOBCOMP, record, _event_time(record), "", own_id(record), unmapped(value, _NOT_PASSED)),)


def _passed(found: _Usual) -> dict[str, str]:
    """As `unmapped` has it."""
    fields = msgspec.structs.astuple(found)[-len(_PASSING) :]
    rest = {name: field if type(field) is str else repr(field) for name, field in zip(_PASSING, fields, strict=True) if field is not None}
    if found.tres_alloc is not None:
        rest["tres_alloc"] = found.tres_alloc[:UNMAPPED_TEXT_LENGTH_MAX]
    if (hours := found.cpu_hours) is not None:
        rest["cpu_hours"] = hours if type(hours) is str else orjson.dumps(hours).decode()
    return rest


def own_id(record: JobRecord) -> str:
    """What tells this record from every other of its cluster: job, attempt and state."""
    submit, start, end = record.submit, record.start, record.end
    if submit is None or start is None or end is None:
        return f"{record.job}/{_shown(submit)}/{_shown(start)}/{record.state}/{_shown(end)}"
    return f"{record.job}/{submit}/{start}/{record.state}/{end}"


def _shown(time: int | None) -> str:
    return "" if time is None else str(time)


def _body(wire: _Wire) -> JobRecord:
    state, cancelled_by = job_state(wire.state)
    exit_code, exit_signal = code_and_signal(wire.exit_code)
    derived_code, derived_signal = code_and_signal(wire.derived_ec)
    return JobRecord(  # in the order of its fields: by name it takes ten times as long
        str(wire.jobid),
        _phase(wire, state),
        wire.user_id,
        wire.username or "",
        wire.account or "",
        wire.partition or "",
        wire.qos or "",
        wire.job_name or "",
        state,
        _time(wire.submit),
        _time(wire.start),
        _time(wire.end),
        expand_nodes(wire.nodes),
        wire.alloc_node or "",
        exit_code,
        exit_signal,
        derived_code,
        derived_signal,
        cancelled_by,
        "",  # who cancelled has a uid
        gpus_of(wire.tres_alloc),
        None,
        wire.time_limit,
        wire.work_dir or "",
        wire.std_out or "",
        f"{wire.array_job_id}_{wire.array_task_id}" if wire.array_job_id and wire.array_task_id is not None else "",
        f"{wire.het_job_id}+{wire.het_job_offset}" if wire.het_job_id and wire.het_job_offset is not None else "",
    )


def _phase(wire: _Wire, state: str) -> str:
    if wire.end is None and wire.exit_code is None:
        return "start" if state in {"", "RUNNING"} else "other"
    return "end" if state in ENDED_STATES else "other"


def _event_time(record: JobRecord) -> int | None:
    """When the thing told happened; None (the record's collection) for an end without time, rather than the start."""
    if record.phase == "end":
        return record.end
    if record.phase == "start":
        return record.start if record.start is not None else record.submit
    return next((time for time in (record.end, record.start, record.submit) if time is not None), None)


def _time(text: str | None) -> int | None:
    return utc_time(text) if text and text not in _NO_TIME else None


FORMAT = SlurmJobcomp()
