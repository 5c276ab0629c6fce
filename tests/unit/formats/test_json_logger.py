"""Objects of training programs: whatever they call their step and loss, by settings or by custom."""

import math
from typing import Any

import msgspec
import pytest

from pipeline.errors import UnknownFormat
from pipeline.formats.line import Line
from pipeline.formats.payloads.json_logger import FORMAT
from pipeline.model.events import Iteration
from pipeline.settings import SourceSettings
from tests.unit.formats.training_lines import AT, READING, the_event

NAMED = {"step": ("batches",), "loss": ("nll",), "learning_rate": ("eta",), "time": ("when",)}
ROWS: list[tuple[str, Iteration, int | None, dict[str, str]]] = [
    ('{"step": 100, "loss": 2.31, "lr": 0.0003, "time": 1772451641.0}', Iteration(iteration=100, loss=2.31, learning_rate=3e-4), AT, {}),
    ('{"step": 100, "loss": 2, "timestamp": 1772451641000}', Iteration(iteration=100, loss=2.0), AT, {}),
    ('{"step": 100, "loss": 2, "ts": "2026-03-02T19:40:41"}', Iteration(iteration=100, loss=2.0), AT, {}),
    ('{"step": 100, "loss": 2, "ts": "2026-03-02T11:40:41Z", "tokens": 7}', Iteration(iteration=100, loss=2.0), AT, {"tokens": "7"}),
    ('{"_step": 100, "_timestamp": 1772451641.5, "train/loss": 2.31}', Iteration(iteration=100, loss=2.31), AT + 500, {}),
    (
        '2026-03-02 19:40:41 | INFO | train_inner | {"epoch": 1, "loss": "9.42", "num_updates": "100", "lr": "0.0005", "gnorm": "1.5"}',
        Iteration(iteration=100, loss=9.42, learning_rate=5e-4, grad_norm=1.5),
        AT,
        {"epoch": "1"},
    ),
    (
        '{"step": 100, "metrics": {"loss": 2.31, "lr": 0.0003}}',
        Iteration(iteration=100, loss=2.31, learning_rate=3e-4),
        None,
        {"metrics": '{"loss":2.31,"lr":0.0003}'},
    ),
    ('3: {"step": 100, "loss": 2.31, "time": "noon"}', Iteration(iteration=100, loss=2.31), None, {}),
    ('{"step": 100.0, "loss": 2.31, "time": 7}', Iteration(iteration=100, loss=2.31), None, {}),
    ('{"step": 1, "step": 100, "loss": 2.31}', Iteration(iteration=100, loss=2.31), None, {}),
]


@pytest.mark.parametrize(("text", "body", "time", "rest"), ROWS)
def test_customary_names(text: str, body: Iteration, time: int | None, rest: dict[str, str]) -> None:
    """Numbers, times of every kind, prefixes and one level of nesting; of a doubled key the last one holds."""
    event = the_event(FORMAT, text)
    assert (event.body, event.event_time, event.unmapped) == (body, time, rest)


def test_names_of_the_settings() -> None:
    """What a source's settings name is asked before what is customary."""
    settings = SourceSettings.model_validate({"name": "own", "json_keys": NAMED})
    reading = msgspec.structs.replace(READING, json_keys=settings.json_keys)
    event = the_event(FORMAT, '{"batches": 7, "step": 100, "nll": 1.5, "loss": 9, "eta": 0.1, "when": 1772451641}', reading)
    assert event.body == Iteration(iteration=7, loss=1.5, learning_rate=0.1)
    assert (event.event_time, event.unmapped) == (AT, {"step": "100", "loss": "9"})


@pytest.mark.parametrize("value", ["NaN", '"nan"'])
def test_a_diverged_loss(value: str) -> None:
    """NaN, bare as Python writes it or as text."""
    body: Any = the_event(FORMAT, f'{{"step": 100, "loss": {value}}}').body
    assert math.isnan(body.loss)


@pytest.mark.parametrize(
    "text",
    [
        '{"step": 100}',
        '{"loss": 2.31}',
        '{"step": "first", "loss": 2.31}',
        '{"step": -1, "loss": 2.31}',
        '{"step": 1.5, "loss": 2.31}',
        '{"step": true, "loss": 2.31}',
        '{"step": 1e400, "loss": 2.31}',
        '{"step": 100, "loss": 2.31',
        '{"a": ' * 20_000,
        "[1]",
        "An ordinary sentence.",
    ],
)
def test_refused(text: str) -> None:
    """Objects of another kind, and what is none, are passed on."""
    with pytest.raises(UnknownFormat):
        FORMAT.parse(Line(payload=text.encode()), READING)
