"""Ray's submitted jobs."""

import json
from typing import Any

import pytest

from pipeline.errors import SchemaMismatch, UnknownFormat
from pipeline.formats.line import Line
from pipeline.formats.payloads.ray_jobs import FORMAT
from pipeline.model.events import ControllerJob, Parsed
from tests.unit.formats.training_lines import AT, READING

DATA: dict[str, Any] = {
    "submission_job_id": "raysubmit_x",
    "status": "STOPPED",
    "entrypoint": "TOKEN=x python train.py",
    "message": "Job was intentionally stopped.",
    "metadata": {"job_name": "pretrain"},
}
EVENT: dict[str, Any] = {"event_id": "e-1", "timestamp": AT // 1000, "source_type": "EXPORT_SUBMISSION_JOB", "event_data": DATA}


def parse(value: object) -> Parsed:
    """The one event of an object."""
    payload = json.dumps(value).encode()
    assert FORMAT.claims(payload)
    (event,) = FORMAT.parse(Line(payload=payload), READING)
    return event


def test_a_stopped_job() -> None:
    """Somebody stopped it; the entry point stays in the record."""
    event = parse(EVENT)
    assert event.body == ControllerJob(job="raysubmit_x", change="cancelled", detail="STOPPED: Job was intentionally stopped.")
    assert (event.event_time, event.own_id, event.unmapped) == (AT, "e-1", {"job_name": "pretrain"})
    assert "TOKEN" not in str(event)


@pytest.mark.parametrize(
    ("status", "change"), [("PENDING", "submitted"), ("RUNNING", "started"), ("SUCCEEDED", "completed"), ("FAILED", "completed")]
)
def test_statuses(status: str, change: str) -> None:
    """Each status is a change of the job."""
    body = parse({**EVENT, "event_data": {**DATA, "status": status, "message": ""}}).body
    assert body == ControllerJob(job="raysubmit_x", change=change, detail=status)


REFUSED = [
    ({**EVENT, "event_data": {**DATA, "status": "LOST"}}, SchemaMismatch),
    ({**EVENT, "event_data": {}}, SchemaMismatch),
    ({"source_type": "X", "a": "EXPORT_SUBMISSION_JOB"}, UnknownFormat),
]


@pytest.mark.parametrize(("value", "error"), REFUSED)
def test_refused(value: object, error: type[Exception]) -> None:
    """An unknown status is not guessed at."""
    with pytest.raises(error):
        parse(value)
