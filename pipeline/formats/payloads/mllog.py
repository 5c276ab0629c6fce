"""A line of an MLPerf benchmark's output in; an iteration, or a typed line of its logger and run scripts, out.

    0: :::MLLOG {"namespace": "", "time_ms": 1772480441318, "event_type": "POINT_IN_TIME", "key": "train_loss", "value": 1.29,
                 "metadata": {"file": "..", "lineno": 77, "samples_count": 4096}}

The record is JSON after a marker, with UTC milliseconds: a job's only absolute clock, which also shows whether its zone is right.  It
may stand anywhere in a line, since progress bars have no line end, and the same record comes once per rank.  A loss becomes an
`Iteration` where the record numbers the step; where it counts samples only it is `Progress`, for no step is made up from a batch size.
Python's encoder writes a diverged loss as NaN, which is not JSON and is read all the same.

Around the records stand the lines of the reference run scripts (`Run vars:`, `num_gpus=`, `Beginning trial 1 of 1`, numactl's usage when
a node has other cores than the script thinks) and the older markers (`:::MLPv0.5.0`, `:::DLPAL`, `:::SYSJSON`): typed by shape.

Sources: github.com/mlcommons/logging mlperf_logging/mllog/mllog.py and constants.py; result logs of training_results_v3.1 and v4.0.
Holds: linear time; unmapped is bounded.
"""

import json
import math
import re
from collections.abc import Sequence
from typing import Any

import orjson

from pipeline.errors import DecodeError, SchemaMismatch, UnknownFormat
from pipeline.formats.choosing import DIGITS
from pipeline.formats.fields import checked_time, mended_json, shown, unmapped
from pipeline.formats.line import Line, Reading
from pipeline.formats.ranks import unlabelled
from pipeline.formats.syslog import TEXT_CHARACTERS_MAX, text_of
from pipeline.model.events import AnyBody, Iteration, Parsed, Progress, TrainingLine
from pipeline.model.source import Source

COUNT_MAX = 2**53  # as a JSON number that is still exact
_MARK = ":::MLLOG "
_LOSSES = frozenset({"train_loss", "loss", "training_loss", "train/loss"})
_STEPS = ("step_num", "step", "iteration", "iteration_num", "global_step")
_SAMPLES = ("samples_count", "samples", "num_samples", "consumed_samples")
_METADATA = frozenset({"file", "lineno"})
_SHAPES = (
    r"(?P<mllog>:::MLPv?[0-9.]{0,10}\b)"
    r"|(?P<run_script>:::(?:DLPAL|SYSJSON|SMI|GPUS|NVIDIA)\b|Run vars: "
    r"|(?:num_gpus|num_sockets|DGXNGPU|DGXSYSTEM) ?= ?|Beginning trial [0-9]{1,4} of [0-9]"
    r"|Clearing caches? on |vm\.drop_caches = [0-9]|RESULT,|from mlperf_logger import |mllogger\.event\(|running benchmark$"
    r"|(?:Finished|Skipping) (?:clear|cache))"
    r"|(?P<usage>libnuma: Warning: |usage: numactl |       +(?:numactl )?\[--|  (?:netdev|file|ip|block|pci):"
    r"|<(?:nodes|cpus|length)> (?:is|can) |memory policy is --|Instead of a number a node |all (?:numbers and )?ranges can be "
    r"|the old --cpubind |use --cpunodebind |       +memory policy \||<[0-9,-]{1,200}> is invalid)"
)
_KINDS = re.compile(_SHAPES)
_CLAIM = re.compile(rf"(?: {{0,8}}[0-9]{{1,6}}: ?)?(?:{_SHAPES})".encode())


class Mllog:
    """MLPerf's logger and run scripts."""

    name = "mllog"
    source = Source.TRAINING
    begins = (b":::MLLOG {",)
    shape = DIGITS + b" ", rb" {0,8}[0-9]{1,6}: ?:::MLLOG \{"

    def claims(self, payload: bytes) -> bool:
        """The marker anywhere, or the start of a line of the scripts."""
        return payload.find(b":::MLLOG {") >= 0 or _CLAIM.match(payload) is not None

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:  # noqa: ARG002 - its clock is UTC
        """The event of the line.  Raises UnknownFormat for other text, DecodeError or SchemaMismatch for a broken record."""
        labelled = unlabelled(text_of(line.payload))
        start = labelled.text.find(_MARK + "{")
        if start >= 0:
            return (_record(labelled.text[start + len(_MARK) :], labelled.rank),)
        found = _KINDS.match(labelled.text)
        if found is None:
            raise UnknownFormat("no line of an MLPerf benchmark")
        what = found.lastgroup or "mllog"
        body = TrainingLine(what=what, text=labelled.text.rstrip()[:TEXT_CHARACTERS_MAX], rank=labelled.rank)
        return (Parsed(source=Source.TRAINING, body=body),)


def _record(text: str, rank: int | None) -> Parsed:
    record = decoded(text)
    time, key, value, metadata = record.get("time_ms"), record.get("key"), record.get("value"), record.get("metadata")
    if not isinstance(time, int) or isinstance(time, bool) or not isinstance(key, str):
        raise SchemaMismatch("an MLLOG record without time_ms and key")
    metadata = metadata if isinstance(metadata, dict) else {}
    number = _number(value)
    rest = {"event_type": shown(record.get("event_type")), **unmapped(metadata, _METADATA)}
    if isinstance(namespace := record.get("namespace"), str) and namespace:
        rest["namespace"] = namespace[:TEXT_CHARACTERS_MAX]
    if number is None and value is not None:
        rest["value"] = shown(value)
    return Parsed(source=Source.TRAINING, event_time=checked_time(time), body=_body(key, number, metadata, rank), unmapped=rest)


def _body(key: str, value: float | None, metadata: dict[str, Any], rank: int | None) -> AnyBody:
    if key not in _LOSSES or value is None:
        return TrainingLine(what="mllog", text=key[:TEXT_CHARACTERS_MAX], rank=rank, value=value)
    step, samples, rate = _count(metadata, _STEPS), _count(metadata, _SAMPLES), _number(metadata.get("lr"))
    if step is not None:
        return Iteration(iteration=step, consumed_samples=samples, loss=value, learning_rate=rate)
    return Progress(what="train", epoch=_number(metadata.get("epoch_num")), loss=value, learning_rate=rate, rank=rank)


def decoded(text: str) -> dict[str, Any]:
    """The object; NaN and Infinity as Python writes them are read too.  What follows it on the line is another program's."""
    try:
        record = orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            record, _ = json.JSONDecoder().raw_decode(mended_json(text))
        except (ValueError, RecursionError) as error:
            raise DecodeError("a record of a logger that is no JSON") from error
    if not isinstance(record, dict):
        raise SchemaMismatch("a record of a logger that is no object")
    return record


def _number(value: object) -> float | None:
    """A number, a diverged one included; counts that no float holds are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if isinstance(value, float) or -COUNT_MAX <= value <= COUNT_MAX else None


def _count(metadata: dict[str, Any], names: Sequence[str]) -> int | None:
    """The first of the names that holds a whole number."""
    for name in names:
        value = _number(metadata.get(name))
        if value is not None and math.isfinite(value) and value == int(value) and 0 <= value <= COUNT_MAX:
            return int(value)
    return None


FORMAT = Mllog()
