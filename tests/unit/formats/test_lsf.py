"""LSF: finished jobs and signals, by place."""

import pytest

from pipeline.errors import SchemaMismatch, TimestampOutOfRange, UnknownFormat
from pipeline.formats.line import Line
from pipeline.formats.payloads.lsf import FORMAT
from pipeline.model.events import JobRecord, JobUpdate, Parsed
from tests.unit.formats.training_lines import AT, READING

END = AT // 1000
USAGE = " ".join(["-1"] * 19)


def finished(name: str = "pretrain", state: int = 32, status: int = 15, slots: str = '3 "gpu-001" "gpu-001" "8*gpu-002"') -> str:
    """A record of a finished job."""
    return (
        f'"JOB_FINISH" "10.1" {END} 48213 5017 33 8 {END - 3660} 0 0 {END - 3600} '
        '"u017" "gpu" "select[ngpus>0]" "" "" "login-1" "run 7" "" '
        f'"out.%J" "" "1772.48213" 0 {slots} {state} 60.0 "{name}" "python train.py" {USAGE} "" "default" {status} 8'
    )


def parse(text: str) -> Parsed:
    """The one event of the line."""
    assert FORMAT.claims(text.encode())
    (event,) = FORMAT.parse(Line(payload=text.encode()), READING)
    return event


def test_a_finished_job() -> None:
    """Owner, times, hosts without repeats, and the signal of the wait status."""
    event = parse(finished())
    assert (event.event_time, event.unmapped) == (AT, {"project": "default"})
    assert event.body == JobRecord(
        job="48213",
        phase="end",
        owner_uid=5017,
        owner="u017",
        partition="gpu",
        name="pretrain",
        state="FAILED",
        submit=AT - 3_660_000,
        start=AT - 3_600_000,
        end=AT,
        nodes=("gpu-001", "gpu-002"),
        submit_host="login-1",
        exit_code=0,
        exit_signal=15,
        work_dir="run 7",
        std_out="out.%J",
    )


def test_a_name_shifts_nothing() -> None:
    """Quotes in a name are doubled, and the fields behind it stay in their places."""
    body = parse(finished(name='a"" 64 0.0 ""b', state=64, status=256)).body
    assert isinstance(body, JobRecord)
    assert (body.name, body.state, body.exit_code, body.exit_signal) == ('a" 64 0.0 "b', "COMPLETED", 1, 0)


def test_a_signal() -> None:
    """The request, of which the pages do not agree whose uid it names."""
    event = parse(f'"JOB_SIGNAL" "10.1" {END} 48213 5099 1 "KILL" 0 "u099"')
    assert (event.body, event.event_time) == (JobUpdate(job="48213", change="signal", value="KILL"), AT)
    assert event.unmapped == {"invoked_by_or_submitter": "5099"}


def test_other_records() -> None:
    """Known, and of no interest."""
    assert FORMAT.parse(Line(payload=f'"MBD_START" "10.1" {END} "ctl-1" "main" 1'.encode()), READING) == ()


REFUSED = [
    (finished()[:200], SchemaMismatch),
    (finished(slots="999999999999999"), SchemaMismatch),
    ('"JOB_SIGNAL" "10.1" 100000000 7 1 1 "KILL" 0', TimestampOutOfRange),
    ('"JOB_SIGNAL"', UnknownFormat),
    ("An ordinary sentence.", UnknownFormat),
]


@pytest.mark.parametrize(("text", "error"), REFUSED)
def test_refused(text: str, error: type[Exception]) -> None:
    """A record cut short is broken; other text is passed on."""
    with pytest.raises(error):
        FORMAT.parse(Line(payload=text.encode()), READING)
