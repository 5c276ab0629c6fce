"""The Trainer's dictionaries, bars and logger, and what only looks like a measurement."""

import math
from collections.abc import Callable

import pytest

from pipeline.errors import UnknownFormat
from pipeline.formats.line import Line
from pipeline.formats.payloads.hf_trainer import FORMAT
from pipeline.model.events import AnyBody, CheckpointNote, Iteration, Progress, TrainingLine
from tests.unit.formats.training_lines import AT, READING, the_event

LOGGED = "[INFO|trainer.py:1143] 2026-03-02 19:40:41,284 >> "
ROWS: list[tuple[str, AnyBody, int | None]] = [
    (
        "{'loss': 2.31, 'grad_norm': 1.2, 'learning_rate': 5e-05, 'epoch': 0.4}",
        Progress(what="train", loss=2.31, grad_norm=1.2, learning_rate=5e-5, epoch=0.4),
        None,
    ),
    (
        "{'loss': '2.31', 'grad_norm': '1.2', 'learning_rate': '5e-05', 'epoch': '0.4'}",
        Progress(what="train", loss=2.31, grad_norm=1.2, learning_rate=5e-5, epoch=0.4),
        None,
    ),
    ("0: {'loss': 2.31, 'epoch': 0.4}", Progress(what="train", loss=2.31, epoch=0.4, rank=0), None),
    ("\r 12%|#  | 2/16 [02:00<13:53, 59.57s/it]\r{'loss': 2.31, 'epoch': 0.4}", Progress(what="train", loss=2.31, epoch=0.4), None),
    ("{'eval_loss': 2.1, 'eval_runtime': 3.2, 'epoch': 1.0}", Progress(what="evaluation", loss=2.1, epoch=1.0), None),
    (
        "{'train_runtime': 919.097, 'train_samples_per_second': 1.088, 'train_loss': 2.2, 'epoch': 1.0}",
        Progress(what="summary", loss=2.2, epoch=1.0),
        None,
    ),
    (
        "[INFO|trainer_tf.py:398] 2026-03-02 19:40:41,284 >> {'loss': 0.63, 'learning_rate': 4.8e-05, 'epoch': 0.08, 'step': 10}",
        Iteration(iteration=10, loss=0.63, learning_rate=4.8e-5),
        AT + 284,
    ),
    (f"{LOGGED}  Total optimization steps = 1,600", Progress(what="start", steps_total=1600), AT + 284),
    (
        f"{LOGGED}Saving model checkpoint to /ckpt/run 7/checkpoint-500",
        CheckpointNote(action="saving", path="/ckpt/run 7/checkpoint-500", iteration=500),
        AT + 284,
    ),
    (
        f"{LOGGED}Model weights saved in out/checkpoint-500/pytorch_model.bin",
        CheckpointNote(action="saved", path="out/checkpoint-500/pytorch_model.bin", iteration=500),
        AT + 284,
    ),
    (
        "03/02/2026 19:40:41 - INFO - transformers.trainer -   Loading model from out/checkpoint-500).",
        CheckpointNote(action="loading", path="out/checkpoint-500)"),
        AT,
    ),
    ("Saving model checkpoint to /ckpt/checkpoint-500", CheckpointNote(action="saving", path="/ckpt/checkpoint-500", iteration=500), None),
    ("3: Loading model from /ckpt/checkpoint-500.", CheckpointNote(action="loading", path="/ckpt/checkpoint-500", iteration=500), None),
    (
        f"{LOGGED}  Continuing training from global step 500",
        TrainingLine(what="resumed", text="Continuing training from global step 500", value=500.0),
        AT + 284,
    ),
    (
        f"{LOGGED}  train_steps_per_second   =      0.017",
        TrainingLine(what="metrics", text="train_steps_per_second   =      0.017", value=0.017),
        AT + 284,
    ),
    (
        "[INFO|2026-03-02 19:40:41] llamafactory.model.loader:143 >> trainable params: 20,971,520",
        TrainingLine(what="log", text="trainable params: 20,971,520"),
        AT,
    ),
    (
        "\r  0%|   | 0/16 [00:00<?, ?it/s]\r 12%|#  | 2/16 [02:00<13:53, 59.57s/it]",
        Progress(what="bar", step=2, steps_total=16, seconds_per_step=59.57),
        None,
    ),
    (
        "Map: 100%|####| 1000/1000 [00:01<00:00, 500.00it/s]",
        Progress(what="bar", step=1000, steps_total=1000, seconds_per_step=0.002),
        None,
    ),
    ('        "loss_scale": 0, ', TrainingLine(what="config", text='        "loss_scale": 0,'), None),
    ("  ],", TrainingLine(what="config", text="  ],"), None),
]


@pytest.mark.parametrize(("text", "body", "time"), ROWS)
def test_lines(text: str, body: AnyBody, time: int | None) -> None:
    """Numbers and paths of each shape, and the logger's local time."""
    event = the_event(FORMAT, text)
    assert (event.body, event.event_time) == (body, time)


@pytest.mark.parametrize(("value", "holds"), [("nan", math.isnan), ("inf", math.isinf)])
def test_a_diverged_loss(value: str, holds: Callable[[float], bool]) -> None:
    """Bare `nan` and `inf` are no literals, and are the news."""
    body = the_event(FORMAT, f"{{'loss': {value}, 'grad_norm': {value}, 'epoch': 0.4}}").body
    assert isinstance(body, Progress)
    assert body.loss is not None
    assert holds(body.loss)


def test_what_has_no_field_passes_through() -> None:
    """Runtimes and metrics of the site's own are kept."""
    event = the_event(FORMAT, "{'train_runtime': 919.097, 'train_samples_per_second': 1.088, 'epoch': 1.0}")
    assert event.unmapped == {"train_runtime": "919.097", "train_samples_per_second": "1.088"}


@pytest.mark.parametrize(
    "text",
    [
        "{'a': 1}",
        "{'loss': 2.31}",
        "{'message': 'loss: 2'}",
        "Epoch 0:  12%|#  | 40/333 [00:51<06:17,  0.78it/s]",
        "Loading the sacks",
        "Loading model from",
        "Saving model checkpoint to ",
        "13/40/2026 19:40:41 - INFO - x -   y",
        "An ordinary sentence.",
    ],
)
def test_refused(text: str) -> None:
    """Other dictionaries, other bars and prose are passed on."""
    with pytest.raises(UnknownFormat):
        FORMAT.parse(Line(payload=text.encode()), READING)
