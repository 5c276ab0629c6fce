"""Which run a checkpoint belongs to, and what is a removal from it."""

import pytest

from pipeline.model.events import FileTouched
from pipeline.model.runs import REMOVED, removal_of, run_of
from tests.build import COLLEAGUE, OWNER, write

PATHS: list[tuple[str, tuple[str, int | None]]] = [
    ("/ckpt/u012/step100.pt", ("/ckpt/u012/", 100)),
    ("/ckpt/u012/iter_0000500/mp_rank_00/model.pt", ("/ckpt/u012/", 500)),
    ("/ckpt/u012/global_step1200/zero.pt", ("/ckpt/u012/", 1200)),
    ("/ckpt/u012/checkpoint-500/model.safetensors", ("/ckpt/u012/", 500)),
    ("/ckpt/u012/epoch=3-step=900.ckpt", ("/ckpt/u012/", 3)),
    ("s3://bucket/u012/step_7.pt", ("s3://bucket/u012/", 7)),
    ("/ckpt/u012/latest", ("/ckpt/u012/", None)),
    ("/ckpt/u012/latest_checkpointed_iteration.txt", ("/ckpt/u012/", None)),
    ("/ckpt/u012/model.pt", ("", None)),
    ("/data/web/shard-003.npz", ("", None)),
    ("/env/torch/optim/lr_scheduler.py", ("", None)),
    ("", ("", None)),
]


@pytest.mark.parametrize(("path", "expected"), PATHS)
def test_a_path_names_its_run_and_its_step(path: str, expected: tuple[str, int | None]) -> None:
    """The folder above the first part that carries a step; datasets and modules have none."""
    assert run_of(path) == expected


STEP, OLDER, LATEST = "/ckpt/u012/step200.pt", "/ckpt/u012/step100.pt", "/ckpt/u012/latest"
REMOVALS: list[tuple[str, dict[str, object], str]] = [
    ("deleted", {"action": "deleted", "path": STEP}, STEP),
    ("truncated", {"action": "truncated", "path": STEP}, STEP),
    ("renamed away", {"action": "renamed", "path": "/tmp/x", "old_path": STEP}, STEP),  # noqa: S108 - no file is made
    ("renamed over another", {"action": "renamed", "path": STEP, "old_path": OLDER}, OLDER),
    ("latest was written", {"action": "written", "path": LATEST}, LATEST),
    ("put there", {"action": "renamed", "path": STEP, "old_path": "/ckpt/u012/.tmp"}, ""),
    ("written", {"action": "written", "path": STEP}, ""),
    ("rights", {"action": "attributes", "path": STEP}, ""),
    ("failed", {"action": "deleted", "path": STEP, "success": False}, ""),
    ("of no run", {"action": "deleted", "path": "/ckpt/u012/model.pt"}, ""),
    ("by its owner", {"action": "deleted", "path": STEP, "uid": OWNER}, ""),
    ("by its owner's job", {"action": "deleted", "path": STEP, "uid": OWNER, "auid": None}, ""),
    ("by su, as its owner", {"action": "deleted", "path": STEP, "uid": OWNER, "auid": COLLEAGUE}, STEP),
    ("by whom a store names no owner for", {"action": "deleted", "path": STEP, "uid": OWNER, "file_uid": None}, STEP),
]


@pytest.mark.parametrize(("fields", "gone"), [row[1:] for row in REMOVALS], ids=[row[0] for row in REMOVALS])
def test_what_is_gone_is_told_to_the_folder(fields: dict[str, object], gone: str) -> None:
    """The same event, with what is gone and nothing else."""
    event = write(40, **{"uid": COLLEAGUE, **fields})  # type: ignore[arg-type]
    found = removal_of(event)
    if not gone:
        assert found is None
        return
    assert found is not None
    folder, removal = found
    assert isinstance(removal.body, FileTouched)
    assert (folder, removal.id, removal.body.action, removal.body.path) == ("/ckpt/u012/", event.id, REMOVED, gone)
