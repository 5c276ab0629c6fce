"""Of real outputs of training jobs at least this share of the lines is typed, and what is measured in them comes out.

The files stand beside the repository and are not part of it; without them these tests skip.
"""

from collections import Counter
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pipeline.errors import UnknownFormat
from pipeline.formats import registry
from pipeline.formats.line import Line, Reading
from pipeline.model.events import CheckpointNote, Iteration, Progress, TrainingLine
from pipeline.model.source import FAMILIES

pytestmark = pytest.mark.shared_data

READING = Reading(zone=ZoneInfo("Europe/Paris"), reference_time=1_622_000_000_000)


def read(path: Path) -> tuple[list[Any], float]:
    """All bodies of a file, and the share of its lines, blank ones left out, that a format reads."""
    lines = [line for line in path.read_bytes().split(b"\n") if line.strip()]
    bodies: list[Any] = []
    unread = 0
    for payload in lines:
        try:
            _, events = registry.parse(Line(payload=payload), READING, allowed=FAMILIES["training"])
        except UnknownFormat:
            unread += 1
            continue
        bodies.extend(event.body for event in events)
    return bodies, 1 - unread / len(lines)


SHARES = [
    ("deepspeed/hf_ds_gpt2_base_n4-1832555-last317.out", 1.0),
    ("hf/hf_ds_gpt2_base_n4-1832555.out", 0.99),
    ("megatron/meg_gpt2_base_n64_dp1_tp4_pp64-1809655.out", 0.99),
    ("megatron/meg_gpt2_base_n8_dp1_tp4_pp8-1809562.out", 0.99),
    ("mlperf/v3.1-azure-maskrcnn-230503232823702563316_1-last60.log", 0.98),
    ("mlperf/v4.0-smc-bert-240419135535325785707_1.log", 1.0),
]


@pytest.mark.parametrize(("name", "share"), SHARES)
def test_share(shared_data: Path, name: str, share: float) -> None:
    """Fewer typed lines than before is a parser that was broken."""
    assert read(shared_data / "training" / name)[1] >= share


def test_trainer(shared_data: Path) -> None:
    """The values that the notes of the Trainer's output state, and no failure in a job that succeeded."""
    bodies, _ = read(shared_data / "training/hf/hf_ds_gpt2_base_n4-1832555.out")
    progress = [body for body in bodies if isinstance(body, Progress)]
    assert Counter(body.what for body in progress) == {"summary": 4, "start": 4, "bar": 8}
    assert {body.epoch for body in progress if body.what == "summary"} == {1.0}
    assert {body.steps_total for body in progress if body.what in {"start", "bar"}} == {16}
    assert {body.step for body in progress if body.what == "bar"} == {16}
    assert [(body.iteration, body.learning_rate) for body in bodies if isinstance(body, Iteration)] == [(0, 5e-5)]
    saved = [body for body in bodies if isinstance(body, CheckpointNote)]
    assert [body.path for body in saved if body.action == "saving"] == ["output_dir"]
    kinds = Counter(body.what for body in bodies if isinstance(body, TrainingLine))
    assert kinds["error"] == kinds["traceback"] == 0
