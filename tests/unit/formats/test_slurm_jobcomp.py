"""Objects of Slurm's jobcomp plugin: phases, times, what passes through, what is refused."""

from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest

from pipeline.errors import DecodeError, RejectedRecord, SchemaMismatch, TimestampOutOfRange, UnknownFormat
from pipeline.formats.line import Line, Reading
from pipeline.formats.payloads import slurm_jobcomp
from pipeline.model.events import JobRecord, Parsed
from pipeline.model.source import Source

# The zone must not matter: the plugin writes UTC.
READING = Reading(zone=ZoneInfo("Asia/Shanghai"), reference_time=1_772_480_460_000)
SUBMIT, START, END = 1_772_449_080_000, 1_772_449_450_000, 1_772_480_455_000
STARTED: dict[str, Any] = {
    "jobid": 48213,
    "container": None,
    "username": "u017",
    "user_id": 5017,
    "group_id": 5000,
    "@start": "2026-03-02T11:04:10",
    "@submit": "2026-03-02T10:58:00",
    "partition": "h800",
    "alloc_node": "login-2",
    "nodes": "gpu-[001-002]",
    "state": None,
    "qos": "normal",
    "account": "llm",
    "cluster": "main",
    "work_dir": "/lustre/run7",
    "std_out": "/lustre/run7/slurm-48213.out",
    "time_limit": 172800,
    "job_name": "pretrain",
    "tres_alloc": "cpu=256,gres/gpu=16,gres/gpu:h800=16,node=2",
}
ENDED = STARTED | {"@end": "2026-03-02T19:40:55", "state": "CANCELLED", "exit_code": "0:15", "derived_ec": "0:9", "elapsed": 31005}


def parsed(value: dict[str, Any] | bytes) -> Parsed:
    """The one event of an object."""
    payload = value if isinstance(value, bytes) else orjson.dumps(value)
    assert slurm_jobcomp.FORMAT.claims(payload)
    (event,) = slurm_jobcomp.FORMAT.parse(Line(payload=payload), READING)
    return event


def record(**changed: Any) -> JobRecord:
    """The body of an ended job with other fields."""
    body = parsed(ENDED | changed).body
    assert isinstance(body, JobRecord)
    return body


def test_a_finish() -> None:
    """Owner, nodes, times, exit codes and GPUs of a finish; the event is the end."""
    event = parsed(ENDED | {"sluid": "s1", "script": "#!/bin/sh\nexport TOKEN=secret"})
    assert event == Parsed(
        source=Source.JOBCOMP,
        event_time=END,
        own_id=f"48213/{SUBMIT}/{START}/CANCELLED/{END}",
        body=JobRecord(
            job="48213",
            phase="end",
            owner_uid=5017,
            owner="u017",
            account="llm",
            partition="h800",
            qos="normal",
            name="pretrain",
            state="CANCELLED",
            submit=SUBMIT,
            start=START,
            end=END,
            nodes=("gpu-001", "gpu-002"),
            submit_host="login-2",
            exit_code=0,
            exit_signal=15,
            derived_code=0,
            derived_signal=9,
            gpus=16,
            time_limit_seconds=172800,
            work_dir="/lustre/run7",
            std_out="/lustre/run7/slurm-48213.out",
        ),
        unmapped={"group_id": "5000", "cluster": "main", "tres_alloc": STARTED["tres_alloc"], "elapsed": "31005", "sluid": "s1"},
    )


def test_a_start() -> None:
    """A start has neither end nor exit code; the event is the start."""
    event = parsed(STARTED)
    assert isinstance(event.body, JobRecord)
    assert (event.body.phase, event.event_time, event.own_id) == ("start", START, f"48213/{SUBMIT}/{START}//")


@dataclass(frozen=True)
class Phase:
    """Fields of a record, and what it then is."""

    changed: dict[str, Any]
    phase: str
    event_time: int | None


PHASES = [
    Phase({"state": "COMPLETED"}, "end", END),
    Phase({"state": "NODE_FAIL"}, "end", END),
    Phase({"state": "REQUEUED"}, "end", END),
    Phase({"state": "RESIZING"}, "other", END),
    Phase({"state": "RUNNING"}, "other", END),
    Phase({"@start": None, "@end": None, "state": "CANCELLED", "exit_code": "0:0"}, "end", None),
    Phase({"@end": None, "exit_code": None, "state": "RUNNING"}, "start", START),
    Phase({"@end": None, "exit_code": None, "state": "PENDING"}, "other", START),
    Phase({"@end": None, "exit_code": None, "state": None, "@start": "Unknown"}, "start", SUBMIT),
]


@pytest.mark.parametrize("row", PHASES, ids=lambda row: str(row.changed))
def test_phases(row: Phase) -> None:
    """An end needs its state; an end without time takes no other time in its place."""
    event = parsed(ENDED | row.changed)
    assert isinstance(event.body, JobRecord)
    assert (event.body.phase, event.event_time) == (row.phase, row.event_time)


def test_attempts_differ_in_their_id() -> None:
    """A requeued job has several finishes under one job id."""
    assert parsed(ENDED).own_id != parsed(ENDED | {"@start": "2026-03-02T12:00:00"}).own_id != parsed(ENDED | {"state": "NODE_FAIL"}).own_id


def test_array_and_het() -> None:
    """Tasks of arrays and components of heterogeneous jobs keep the name under which people know them; job is the raw id."""
    array = record(jobid=48217, array_job_id=48213, array_task_id=0)
    assert (array.job, array.array, array.het) == ("48217", "48213_0", "")
    het = record(jobid=48218, het_job_id=48217, het_job_offset=1)
    assert (het.job, het.array, het.het) == ("48218", "", "48217+1")


def test_nulls_count_as_absent() -> None:
    """A job that never started has no nodes, GPUs or limit."""
    body = record(nodes=None, tres_alloc=None, username=None, alloc_node=None, job_name=None, time_limit=None)
    assert (body.nodes, body.gpus, body.owner, body.submit_host, body.name, body.time_limit_seconds) == ((), None, "", "", "", None)


REFUSED: list[tuple[dict[str, Any] | bytes, type[RejectedRecord]]] = [
    (b'{"jobid":48213', DecodeError),
    (b'{"jobid":NaN}', DecodeError),
    (ENDED | {"jobid": "48213"}, SchemaMismatch),
    (ENDED | {"jobid": -1}, SchemaMismatch),
    (ENDED | {"jobid": 1.5}, SchemaMismatch),
    (ENDED | {"jobid": True}, SchemaMismatch),
    (b'{"jobid":123456789012345678901234567890}', SchemaMismatch),
    (ENDED | {"user_id": "u017"}, SchemaMismatch),
    (ENDED | {"nodes": ["gpu-001"]}, SchemaMismatch),
    (ENDED | {"state": "gone"}, SchemaMismatch),
    (ENDED | {"exit_code": 9}, SchemaMismatch),
    (ENDED | {"exit_code": "9"}, SchemaMismatch),
    (ENDED | {"@end": 1772480455}, SchemaMismatch),
    (ENDED | {"@end": "yesterday"}, DecodeError),
    (ENDED | {"@end": "1970-01-01T00:00:00"}, TimestampOutOfRange),
    (ENDED | {"nodes": "gpu-[1-999999999]"}, DecodeError),
    (b'{"a":"\\"jobid\\"","b":{"jobid":1}}', UnknownFormat),
]


@pytest.mark.parametrize(("value", "error"), REFUSED, ids=lambda part: part.__name__ if isinstance(part, type) else "")
def test_refused(value: dict[str, Any] | bytes, error: type[RejectedRecord]) -> None:
    """Broken JSON, wrong types and impossible values are dead letters, each with its code."""
    payload = value if isinstance(value, bytes) else orjson.dumps(value)
    with pytest.raises(error):
        slurm_jobcomp.FORMAT.parse(Line(payload=payload), READING)


def test_another_object_is_not_claimed() -> None:
    """Text and objects without job id are somebody else's."""
    assert not slurm_jobcomp.FORMAT.claims(b'{"auditID":"1"}')
    assert not slurm_jobcomp.FORMAT.claims(b'"jobid"')
    with pytest.raises(UnknownFormat):
        slurm_jobcomp.FORMAT.parse(Line(payload=b"text"), READING)
