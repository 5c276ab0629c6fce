"""DeepSpeed's logger: steps, overflows, checkpoints, the launcher's end."""

import pytest

from pipeline.errors import UnknownFormat
from pipeline.formats.line import Line
from pipeline.formats.payloads.deepspeed import FORMAT
from pipeline.model.events import AnyBody, CheckpointNote, Iteration, Progress, RankFailed, TrainingLine
from tests.unit.formats.training_lines import AT, READING, the_event

TIME = "[2026-03-02 19:40:41,765]"
RANK0 = f"{TIME} [INFO] [logging.py:96:log_dist] [Rank 0]"
ROWS: list[tuple[str, AnyBody, dict[str, str]]] = [
    (
        f"{RANK0} step=100, skipped=3, lr=[0.0001, 0.0001], mom=[(0.9, 0.95), (0.9, 0.95)]",
        Iteration(iteration=100, learning_rate=1e-4),
        {"skipped_total": "3"},
    ),
    (f"{RANK0} step=0, skipped=0, lr=[5e-05], mom=[[0.9, 0.999]]", Iteration(iteration=0, learning_rate=5e-5), {"skipped_total": "0"}),
    (
        (
            f"{TIME} [INFO] [timer.py:260:stop] "
            "epoch=0/micro_step=400/global_step=100,"
            " RunningAvgSamplesPerSec=25.02, CurrSamplesPerSec=25.7, "
            "MemAllocated=4.32GB, MaxMemAllocated=38.49GB"
        ),
        Progress(what="throughput", step=100, epoch=0.0),
        {"samples_per_second": "25.7"},
    ),
    (
        f"{TIME} [INFO] [timer.py:198:stop] 0/20, SamplesPerSec=232.73, MemAllocated=0.36GB",
        Progress(what="throughput", step=20),
        {"samples_per_second": "232.73"},
    ),
    (
        (
            f"{TIME} [INFO] [loss_scaler.py:183:update_scale] "
            "[deepspeed] OVERFLOW! Rank "
            "2 Skipping step. Attempted loss scale: 8192, reducing to 4096"
        ),
        TrainingLine(
            what="overflow",
            text="[deepspeed] OVERFLOW! Rank 2 Skipping step. Attempted loss scale: 8192, reducing to 4096",
            rank=2,
            value=4096.0,
        ),
        {},
    ),
    (
        (
            f"{TIME} [INFO] [loss_scaler.py:190:update_scale] "
            "[deepspeed] OVERFLOW! Rank "
            "2 Skipping step. Attempted loss scale: 64, but hysteresis is 2. "
            "Reducing hysteresis to 1"
        ),
        TrainingLine(
            what="overflow",
            text="[deepspeed] OVERFLOW! Rank 2 Skipping step. Attempted loss scale: 64, but hysteresis is 2. Reducing hysteresis to 1",
            rank=2,
        ),
        {},
    ),
    (
        (
            f"  0%|   | 0/500 [00:00<?, ?it/s]{TIME} [INFO] "
            "[stage3.py:1834:_overflow_clean_up] "
            "[deepspeed] OVERFLOW! Rank 0 Skipping step. Attempted "
            "loss scale: 65536, reducing to 65536"
        ),
        TrainingLine(
            what="overflow",
            text="[deepspeed] OVERFLOW! Rank 0 Skipping step. Attempted loss scale: 65536, reducing to 65536",
            rank=0,
            value=65536.0,
        ),
        {},
    ),
    (
        f"{RANK0} [Torch] Checkpoint global_step500 is about to be saved!",
        CheckpointNote(action="saving", path="global_step500", iteration=500),
        {},
    ),
    (
        f"{TIME} [INFO] [torch_checkpoint_engine.py:33:commit] [Torch] Checkpoint global_step500 is ready now!",
        CheckpointNote(action="saved", path="global_step500", iteration=500),
        {},
    ),
    (
        f"{TIME} [INFO] [torch_checkpoint_engine.py:21:save] [Torch] Saving /ckpt/run 7/global_step500/mp_rank_00_model_states.pt...",
        CheckpointNote(action="saving", path="/ckpt/run 7/global_step500/mp_rank_00_model_states.pt", iteration=500),
        {},
    ),
    (
        (
            f"{TIME} [INFO] [torch_checkpoint_engine.py:27:load] [Torch] Loading "
            "checkpoint from /ckpt/global_step500/mp_rank_00_model_states.pt..."
        ),
        CheckpointNote(action="loading", path="/ckpt/global_step500/mp_rank_00_model_states.pt", iteration=500),
        {},
    ),
    (
        f"{TIME} [ERROR] [launch.py:321:sigkill_handler] ['/usr/bin/python', 'train.py'] exits with return code = -9",
        RankFailed(exit_code=-9, signal=9, text="['/usr/bin/python', 'train.py'] exits with return code = -9"),
        {},
    ),
    (
        f"{TIME} [INFO] [engine.py:1867:save_fp16_model] Did not save the model out/pytorch_model.bin because weights are not gathered",
        TrainingLine(what="deepspeed", text="Did not save the model out/pytorch_model.bin because weights are not gathered"),
        {"level": "INFO"},
    ),
    (
        f"{TIME} [INFO] [config.py:752:print]   loss_scale ................... 0",
        TrainingLine(what="config", text="  loss_scale ................... 0"),
        {"level": "INFO"},
    ),
    (f"gpu-001: {RANK0} step=1, skipped=0, lr=[], mom=[]", Iteration(iteration=1), {"skipped_total": "0"}),
    (f"[1,3]<stdout>:{TIME} [INFO] [stage3.py:1:__init__] x", TrainingLine(what="deepspeed", text="x", rank=3), {"level": "INFO"}),
]


@pytest.mark.parametrize(("text", "body", "rest"), ROWS)
def test_lines(text: str, body: AnyBody, rest: dict[str, str]) -> None:
    """What a line says, at its local time."""
    event = the_event(FORMAT, text)
    rank = 0 if text.startswith((RANK0, "gpu-001")) else None
    if isinstance(body, TrainingLine) and body.rank is None:
        assert isinstance(event.body, TrainingLine)
        assert event.body.rank == rank
    assert (event.body, event.event_time) == (body, AT + 765)
    assert {name: value for name, value in event.unmapped.items() if name != "logger"} == rest


def test_past_the_logger() -> None:
    """What it prints itself is typed without a time."""
    event = the_event(FORMAT, "Adam Optimizer #0 is created with AVX512 arithmetic capability.")
    assert (event.body, event.event_time) == (
        TrainingLine(what="config", text="Adam Optimizer #0 is created with AVX512 arithmetic capability."),
        None,
    )


@pytest.mark.parametrize(
    "text",
    [
        f"{TIME} [INFO] [launch.py:315:sigkill_handler] Killing subprocess 4711",
        f"{TIME} [INFO] [launch.py:324:sigkill_handler] Main process received SIGTERM, exiting",
        "[2026-03-02T19:40:41.318] [x] y",
        "An ordinary sentence.",
    ],
)
def test_left_to_others(text: str) -> None:
    """The cascade of a launcher is read where several of its lines are found in one; other brackets are not DeepSpeed's."""
    with pytest.raises(UnknownFormat):
        FORMAT.parse(Line(payload=text.encode()), READING)
