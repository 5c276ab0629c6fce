"""sacct --json in the shapes of its parsers."""

import json
from typing import Any

import pytest

from pipeline.errors import DecodeError, SchemaMismatch, TimestampOutOfRange, UnknownFormat
from pipeline.formats.line import Line
from pipeline.formats.payloads.sacct_json import FORMAT
from pipeline.model.events import JobRecord, JobStep, Parsed
from pipeline.model.source import Source
from tests.unit.formats.training_lines import AT, READING

START, END = AT // 1000 - 3600, AT // 1000


def wrapped(number: int, *, known: bool = True, infinite: bool = False) -> dict[str, Any]:
    """A number as newer parsers write it."""
    return {"set": known, "infinite": infinite, "number": number}


OLD: dict[str, Any] = {
    "job_id": 48213,
    "name": "pretrain",
    "user": None,
    "association": {"user": "u017", "account": "llm"},
    "account": "llm",
    "partition": "h800",
    "qos": "normal",
    "nodes": "gpu-[001-002]",
    "state": {"current": "CANCELLED", "reason": "None"},
    "exit_code": {"status": "SIGNALED", "return_code": 0, "signal": {"signal_id": 15, "name": "TERM"}},
    "derived_exit_code": {"status": "SUCCESS", "return_code": 0},
    "kill_request_user": "u099",
    "time": {"submission": START - 60, "start": START, "end": END, "limit": 2880, "elapsed": 3600},
    "tres": {
        "allocated": [
            {"type": "cpu", "name": None, "count": 8},
            {"type": "gres", "name": "gpu:a100", "count": 3},
            {"type": "gres", "name": "gpu", "count": 16},
        ]
    },
    "array": {"job_id": 0, "task_id": None},
    "het": {"job_id": 0, "job_offset": None},
    "steps": [],
}
NEW: dict[str, Any] = {
    **OLD,
    "user": "u017",
    "state": {"current": ["CANCELLED", "COMPLETING"], "reason": "None"},
    "exit_code": {"status": ["SIGNALED"], "return_code": wrapped(0, known=False), "signal": {"id": wrapped(15), "name": "TERM"}},
    "derived_exit_code": {"status": ["SUCCESS"], "return_code": wrapped(0), "signal": {"id": wrapped(0, known=False), "name": ""}},
    "time": {"submission": START - 60, "start": START, "end": END, "limit": wrapped(2880)},
    "array": {"job_id": 0, "task_id": wrapped(0, known=False)},
    "het": {"job_id": 0, "job_offset": wrapped(0, known=False)},
}
EXPECTED = JobRecord(
    job="48213",
    phase="end",
    owner="u017",
    account="llm",
    partition="h800",
    qos="normal",
    name="pretrain",
    state="CANCELLED",
    submit=AT - 3_660_000,
    start=AT - 3_600_000,
    end=AT,
    nodes=("gpu-001", "gpu-002"),
    exit_code=0,
    exit_signal=15,
    derived_code=0,
    derived_signal=0,
    cancelled_by="u099",
    gpus=16,
    time_limit_seconds=172_800,
)


def parse(value: object) -> list[Parsed]:
    """The events of an object."""
    payload = json.dumps(value).encode()
    assert FORMAT.claims(payload)
    return list(FORMAT.parse(Line(payload=payload), READING))


@pytest.mark.parametrize("job", [OLD, NEW], ids=["0.0.38", "0.0.41"])
def test_parsers_agree(job: dict[str, Any]) -> None:
    """The same job in two shapes is the same record, with the canceller's name."""
    for value in (job, {"meta": {}, "errors": [], "jobs": [job]}):
        (event,) = parse(value)
        assert (event.source, event.event_time, event.body) == (Source.SACCT, AT, EXPECTED)
        assert event.own_id == f"48213/{AT - 3_660_000}/{AT - 3_600_000}/CANCELLED/{AT}"


def body_of(**fields: Any) -> JobRecord:
    """The record of a job with other fields."""
    (event,) = parse({**NEW, **fields})
    assert isinstance(event.body, JobRecord)
    return event.body


def test_variants() -> None:
    """A running job, an unlimited one, a task of an array; no canceller, no GPU."""
    running = body_of(
        state={"current": ["RUNNING"]}, time={"submission": START, "start": START, "end": 0, "limit": wrapped(0, infinite=True)}
    )
    assert (running.phase, running.end, running.time_limit_seconds) == ("other", None, None)
    task = body_of(array={"job_id": 48000, "task_id": wrapped(4)}, kill_request_user=None, tres={"allocated": []})
    assert (task.array, task.cancelled_by, task.gpus) == ("48000_4", "", None)
    assert body_of(exit_code={"status": ["ERROR"], "return_code": wrapped(1)}).exit_code == 1
    assert body_of(exit_code=None).exit_code is None


STEPS = [
    {
        "step": {"id": {"job_id": 48213, "step_id": "batch"}, "name": "batch"},
        "state": ["CANCELLED"],
        "nodes": {"range": "gpu-001"},
        "time": {"start": wrapped(START), "end": wrapped(END)},
        "exit_code": {"signal": {"id": wrapped(15)}},
        "kill_request_user": "u099",
    },
    {
        "step": {"id": "48213.0", "name": "python"},
        "state": "COMPLETED",
        "time": {"start": START, "end": END},
        "exit_code": {"return_code": 0},
        "nodes": {"list": ["gpu-001"]},
    },
]


def test_steps() -> None:
    """Steps follow their job, each under an id of its own."""
    events = parse({**NEW, "steps": STEPS})
    assert [event.body for event in events[1:]] == [
        JobStep(
            job="48213", step="batch", state="CANCELLED", start=AT - 3_600_000, end=AT, nodes=("gpu-001",), exit_code=0, exit_signal=15
        ),
        JobStep(job="48213", step="0", state="COMPLETED", start=AT - 3_600_000, end=AT, exit_code=0, exit_signal=0),
    ]
    assert len({event.own_id for event in events}) == 3
    assert events[1].unmapped == {"kill_request_user": "u099"}


def test_secrets_are_not_passed_on() -> None:
    """Scripts and command lines stay in the record."""
    (event,) = parse({**NEW, "script": "export TOKEN=x", "submit_line": "sbatch --export=TOKEN=x"})
    assert "TOKEN" not in str(event)


REFUSED = [
    ({**NEW, "job_id": "x"}, SchemaMismatch),
    ({**NEW, "state": {"current": 7}}, SchemaMismatch),
    ({**NEW, "steps": 7}, SchemaMismatch),
    ({**NEW, "nodes": "gpu-[1-"}, DecodeError),
    ({**NEW, "time": {"start": 5}}, TimestampOutOfRange),
    ({"job_id": 1, "exit_code": 0, "derived_exit_code": 0}, UnknownFormat),
    ({"jobs": [7], "job_id": 0, "exit_code": 0, "derived_exit_code": 0}, SchemaMismatch),
]


@pytest.mark.parametrize(("value", "error"), REFUSED)
def test_refused(value: object, error: type[Exception]) -> None:
    """A field of another type is named; other objects are passed on."""
    with pytest.raises(error):
        parse(value)
