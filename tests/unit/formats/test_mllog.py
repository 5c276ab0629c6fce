"""MLPerf: records behind their marker, whole or diverged, and the lines of the run scripts."""

import json
import math

import pytest

from pipeline.errors import DecodeError, SchemaMismatch, TimestampOutOfRange, UnknownFormat
from pipeline.formats.line import Line
from pipeline.formats.payloads.mllog import FORMAT
from pipeline.model.events import AnyBody, Iteration, Progress, TrainingLine
from tests.unit.formats.training_lines import AT, READING, the_event


def record(key: str, value: object, **metadata: object) -> str:
    """A record as the logger writes it."""
    metadata = {"file": "train.py", "lineno": 77, **metadata}
    fields = {"namespace": "", "time_ms": AT, "event_type": "POINT_IN_TIME", "key": key, "value": value, "metadata": metadata}
    return f":::MLLOG {json.dumps(fields)}"


RECORDS: list[tuple[str, AnyBody]] = [
    (
        record("train_loss", 1.29, step_num=40, samples_count=4096, lr=1e-4),
        Iteration(iteration=40, loss=1.29, consumed_samples=4096, learning_rate=1e-4),
    ),
    (record("train_loss", 1.29, samples_count=4096), Progress(what="train", loss=1.29)),
    ("3: " + record("train_loss", 1.29, epoch_num=2), Progress(what="train", loss=1.29, epoch=2.0, rank=3)),
    (record("train_loss", 1.29, step_num=40.5), Progress(what="train", loss=1.29)),
    (record("train_loss", None, step_num=40), TrainingLine(what="mllog", text="train_loss")),
    (record("eval_accuracy", 0.72, epoch_num=1), TrainingLine(what="mllog", text="eval_accuracy", value=0.72)),
    (record("run_stop", None, status="aborted"), TrainingLine(what="mllog", text="run_stop")),
    (record("global_batch_size", 10**400), TrainingLine(what="mllog", text="global_batch_size")),
    (record("cache_clear", True), TrainingLine(what="mllog", text="cache_clear")),
    (" 40%|#   | 2/5 [00:01<00:02, 1.2it/s]" + record("epoch", 3), TrainingLine(what="mllog", text="epoch", value=3.0)),
    (record("epoch", 3) + "1: Run vars: id 7", TrainingLine(what="mllog", text="epoch", value=3.0)),
]


@pytest.mark.parametrize(("text", "body"), RECORDS)
def test_records(text: str, body: AnyBody) -> None:
    """A numbered step is an iteration; a count of samples alone numbers none."""
    event = the_event(FORMAT, text)
    assert (event.body, event.event_time) == (body, AT)


def test_a_diverged_loss() -> None:
    """NaN, which is no JSON, is the news that the line is for."""
    body = the_event(FORMAT, record("train_loss", math.nan, step_num=3)).body
    assert isinstance(body, Iteration)
    assert body.loss is not None
    assert math.isnan(body.loss)


def test_metadata_passes_through() -> None:
    """What has no field of ours is kept; the place in the source is not."""
    assert the_event(FORMAT, record("run_stop", None, status="aborted")).unmapped == {"event_type": "POINT_IN_TIME", "status": "aborted"}


SCRIPTS = [
    ("6: Run vars: id 7 gpus 8 mparams ''", "run_script", 6),
    ("Beginning trial 1 of 1", "run_script", None),
    ("5: num_gpus=8 num_sockets = 2 num_nodes=2 cores_per_socket=32", "run_script", 5),
    ("vm.drop_caches = 3", "run_script", None),
    ("RESULT,SINGLE_STAGE_DETECTOR,,93,u017,2026-03-02 07:40:41 PM", "run_script", None),
    ("0: libnuma: Warning: cpu argument 64-71 is out of range", "usage", 0),
    ("0:   file:PATH  the node the block device of path is connected to", "usage", 0),
    ("0: <0-7,64-71> is invalid", "usage", 0),
    (":::DLPAL /images/bert.sqsh 7 1 gpu-001 'unknown' pack", "run_script", None),
    (":::SYSJSON {}", "run_script", None),
    (":::MLPv0.5.0 resnet 1772451641.3 (train.py:77) epoch: 3", "mllog", None),
]


@pytest.mark.parametrize(("text", "what", "rank"), SCRIPTS)
def test_scripts(text: str, what: str, rank: int | None) -> None:
    """Lines around the records are typed by shape."""
    body = the_event(FORMAT, text).body
    assert isinstance(body, TrainingLine)
    assert (body.what, body.rank) == (what, rank)


REFUSED = [
    (':::MLLOG {"time_ms": 1', DecodeError),
    (':::MLLOG {"time_ms": "1772451641360", "key": "x"}', SchemaMismatch),
    (':::MLLOG {"time_ms": true, "key": "x"}', SchemaMismatch),
    (':::MLLOG {"time_ms": 5, "key": "x"}', TimestampOutOfRange),
    (':::MLLOG {"a": ' * 20_000, DecodeError),
    ("An ordinary sentence.", UnknownFormat),
    ("<ann> is invalid", UnknownFormat),
]


@pytest.mark.parametrize(("text", "error"), REFUSED)
def test_refused(text: str, error: type[Exception]) -> None:
    """A broken record says what is wrong with it; other text is passed on."""
    with pytest.raises(error):
        FORMAT.parse(Line(payload=text.encode()), READING)
