"""Lightning's bars and messages, NeMo's logger and printer."""

import math

import pytest

from pipeline.errors import UnknownFormat
from pipeline.formats.line import Line
from pipeline.formats.payloads.bars import whole
from pipeline.formats.payloads.lightning import FORMAT
from pipeline.model.events import AnyBody, CheckpointNote, Iteration, Progress, TrainingLine
from tests.unit.formats.training_lines import AT, READING, the_event

NEMO = "[NeMo I 2026-03-02 19:40:41 nemo_logging:393] "
ROWS: list[tuple[str, AnyBody, int | None]] = [
    (
        "Epoch 0: :  12%|#2   | 40/333 [00:51<06:17,  0.50it/s, v_num=a1, reduced_train_loss=6.930]",
        Progress(what="train", step=40, steps_total=333, epoch=0.0, loss=6.93, seconds_per_step=2.0),
        None,
    ),
    (
        (
            "Epoch 2:   6%|#  | 4/62 [03:24<49:27,  4.00s/it, v_num=8-06, reduced_train_loss=6.930, lr=2.73e-5, global_step=188.0, "
            "consumed_samples=24064.0, gradient_norm=8.600]"
        ),
        Iteration(iteration=188, consumed_samples=24064, elapsed_ms=4000.0, learning_rate=2.73e-5, loss=6.93, grad_norm=8.6),
        None,
    ),
    (
        "Epoch 0:   6%|#  | 32040/500150 [6:28:43<94:39:17,  2.00it/s, loss=2.6, global_step=3.2e+4]",
        Progress(what="train", step=32040, steps_total=500150, epoch=0.0, loss=2.6, seconds_per_step=0.5),
        None,
    ),
    (
        "Epoch 1: : 1it [00:04,  4.36s/it, v_num=d3c7, reduced_train_loss=0.674]",
        Progress(what="train", step=1, epoch=1.0, loss=0.674, seconds_per_step=4.36),
        None,
    ),
    (
        "\rEpoch 0:  12%|#  | 40/333 [00:51<06:17,  0.50it/s, loss=7]\rEpoch 0:  13%|#  | 41/333 [00:53<06:15,  0.50it/s, loss=6]",
        Progress(what="train", step=41, steps_total=333, epoch=0.0, loss=6.0, seconds_per_step=2.0),
        None,
    ),
    (
        "Validation DataLoader 0:  50%|##  | 5/10 [00:01<00:01,  5.00it/s]",
        Progress(what="evaluation", step=5, steps_total=10, seconds_per_step=0.2),
        None,
    ),
    (
        (
            "Training epoch 0, iteration 5/99 | lr: 1.2e-05 | global_batch_size: 512 | global_step: 12345 | reduced_train_loss: 11.03 | "
            "train_step_timing in s: 6.7 | consumed_samples: 3072"
        ),
        Iteration(iteration=12345, consumed_samples=3072, learning_rate=1.2e-5, global_batch_size=512, loss=11.03),
        None,
    ),
    (
        f"{NEMO}Successfully saved checkpoint from iteration     500 to /ckpt/run 7",
        CheckpointNote(action="saved", path="/ckpt/run 7", iteration=500),
        AT,
    ),
    (
        f"{NEMO}Global Checkpoint Save : Rank: 0 : Iteration: 500 : Start time: 1772451641.135s : Save duration: 13.567s",
        CheckpointNote(action="saved", iteration=500),
        AT,
    ),
    ("Restoring states from the checkpoint path at /ckpt/last.ckpt", CheckpointNote(action="loading", path="/ckpt/last.ckpt"), None),
    (
        "Epoch 0, global step 40: 'val_loss' reached 2.10000 (best 2.10000), saving model to '/ckpt/run7/last.ckpt' as top 1",
        CheckpointNote(action="saving", path="/ckpt/run7/last.ckpt", iteration=40),
        None,
    ),
    (f"{NEMO}Experiments will be logged at /ckpt/run7", TrainingLine(what="log", text="Experiments will be logged at /ckpt/run7"), AT),
    ("2: GPU available: True (cuda), used: True", TrainingLine(what="log", text="GPU available: True (cuda), used: True", rank=2), None),
]


@pytest.mark.parametrize(("text", "body", "time"), ROWS)
def test_lines(text: str, body: AnyBody, time: int | None) -> None:
    """A step that was not rounded numbers an iteration; the last update of a bar counts."""
    event = the_event(FORMAT, text)
    assert (event.body, event.event_time) == (body, time)


def test_a_diverged_loss() -> None:
    """`nan` behind a bar, with what the terminal was told after it."""
    body = the_event(FORMAT, "Epoch 0:  12%|#  | 40/333 [00:51<06:17,  0.50it/s, loss=nan]\x1b[A").body
    assert isinstance(body, Progress)
    assert body.loss is not None
    assert math.isnan(body.loss)


COUNTS = [
    ("188.0", 188),
    ("39.", 39),
    ("12345", 12345),
    ("1.5e+03", None),
    ("2e+3", None),
    ("0.5", None),
    ("-1", None),
    ("nan", None),
    (None, None),
]


@pytest.mark.parametrize(("text", "count"), COUNTS)
def test_rounded_counts_are_none(text: str | None, count: int | None) -> None:
    """What a bar rounded is not taken for a number of a step."""
    assert whole(text) == count


@pytest.mark.parametrize(
    "text", ["Map: 100%|##| 10/10 [00:01<00:00, 5.00it/s]", "the last checkpoint of an Epoch ", "An ordinary sentence."]
)
def test_refused(text: str) -> None:
    """Other bars and prose are passed on."""
    with pytest.raises(UnknownFormat):
        FORMAT.parse(Line(payload=text.encode()), READING)
