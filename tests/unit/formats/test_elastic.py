"""Error file and events of torch elastic."""

import json

import pytest

from pipeline.errors import DecodeError, SchemaMismatch, UnknownFormat
from pipeline.formats.line import Line
from pipeline.formats.payloads.elastic import FORMAT
from pipeline.model.events import AnyBody, RankFailed, TrainingLine
from tests.unit.formats.training_lines import AT, READING, the_event


def event(state: str, timestamp: int, rank: int | None = 3, error: str | None = None) -> str:
    """An event of the agent."""
    metadata = {
        "run_id": "u017",
        "global_rank": rank,
        "worker_id": "4711",
        "hostname": "gpu-001",
        "state": state,
        "raw_error": error,
        "agent_restarts": 1,
    }
    return json.dumps({"name": f"torchelastic.worker.status.{state}", "source": "AGENT", "timestamp": timestamp, "metadata": metadata})


ERROR = {
    "message": {"message": "RuntimeError: size mismatch", "extraInfo": {"py_callstack": "..", "timestamp": "1772451641"}, "errorCode": 1}
}
RENDEZVOUS = {
    "name": "join",
    "run_id": "u017",
    "message": "The node 'gpu-001_4711_0' has joined round 0",
    "hostname": "gpu-001",
    "pid": 4711,
    "node_state": "RUNNING",
    "rank": 1,
}
ROWS: list[tuple[str, str, AnyBody, int | None]] = [
    (
        json.dumps(ERROR),
        "/run/elastic_x/none_y/attempt_0/3/error.json",
        RankFailed(exit_code=1, local_rank=3, text="RuntimeError: size mismatch"),
        AT,
    ),
    (json.dumps({"message": {"message": "x", "extraInfo": {"timestamp": 0}}}), "", RankFailed(text="x"), None),
    (event("SUCCEEDED", AT), "", TrainingLine(what="agent", text="torchelastic.worker.status.SUCCEEDED", rank=3), AT),
    (
        event("FAILED", 0, error="exitcode: -9"),
        "",
        RankFailed(rank=3, pid=4711, host="gpu-001", exit_code=-9, signal=9, text="exitcode: -9"),
        None,
    ),
    (event("FAILED", AT, rank=None), "", RankFailed(pid=4711, host="gpu-001"), AT),
    ("[default3]:" + event("STARTED", AT, rank=None), "", TrainingLine(what="agent", text="torchelastic.worker.status.STARTED"), AT),
    (json.dumps(RENDEZVOUS), "", TrainingLine(what="rendezvous", text="The node 'gpu-001_4711_0' has joined round 0", rank=1), None),
    (
        "The node 'gpu-001_4711_0' has joined round 0 of the rendezvous 'u017' as rank 1 in a world of size 2.",
        "",
        TrainingLine(
            what="rendezvous", text="The node 'gpu-001_4711_0' has joined round 0 of the rendezvous 'u017' as rank 1 in a world of size 2."
        ),
        None,
    ),
]


@pytest.mark.parametrize(("text", "file", "body", "time"), ROWS)
def test_objects(text: str, file: str, body: AnyBody, time: int | None) -> None:
    """Who failed and why; zero is no time, and seconds are not milliseconds."""
    told = the_event(FORMAT, text, file=file)
    assert (told.body, told.event_time) == (body, time)


def test_metadata_passes_through() -> None:
    """Restarts of the agent are kept."""
    assert the_event(FORMAT, event("SUCCEEDED", AT)).unmapped == {"run_id": "u017", "agent_restarts": "1"}


REFUSED = [
    ('{"name": "torchelastic.x"}', SchemaMismatch),
    ('{"name": "torchelastic.x"', DecodeError),
    ('{"message": "extraInfo"}', UnknownFormat),
    ('{"message": {"message": ["x"], "extraInfo": {}}}', SchemaMismatch),
    ("An ordinary sentence.", UnknownFormat),
]


@pytest.mark.parametrize(("text", "error"), REFUSED)
def test_refused(text: str, error: type[Exception]) -> None:
    """Broken objects say what is wrong."""
    with pytest.raises(error):
        FORMAT.parse(Line(payload=text.encode()), READING)
