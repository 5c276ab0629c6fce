"""Results of faults: kept line by line, so that a suite that was killed goes on where it was; a fault that did not bite is no success."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.faults import suite
from pipeline.faults.run import Result
from pipeline.faults.table import FAULTS


def result(**changes: Any) -> Result:
    """A run in which all was right."""
    usual: dict[str, Any] = {
        "fault": FAULTS[0].name, "seed": 1, "attempt": 0, "bit": True, "records": 100, "replayed": 7, "take_overs": 2, "restarts": 0,
        "crashes": 0, "retries": 0, "lost": 0, "doubled": 0, "findings": 2, "findings_equal": True, "verdicts_equal": True, "seconds": 9.5,
    }  # fmt: skip
    return Result(**{**usual, **changes})


def test_what_was_noted_is_found_again(tmp_path: Path) -> None:
    """Also behind a line that a kill cut off, which counts as not finished, as a run does in which nothing bit."""
    path = tmp_path / "results"
    suite.note(path, result(seed=1))
    with path.open("ab") as file:
        file.write(b'{"fault": "kill_at_ran')
    suite.note(path, result(seed=2, wrong=["1 offsets neither stored nor listed"]))
    suite.note(path, result(seed=3, bit=False))
    assert [(each.seed, each.right) for each in suite.finished(path)] == [(1, True), (2, False)]


@pytest.mark.parametrize(
    ("changes", "right"),
    [({}, True), ({"bit": False}, False), ({"wrong": ["rows stored more than once"], "doubled": 1}, False)],
    ids=["right", "did not bite", "wrong"],
)
def test_a_row_is_right_when_every_run_bit_and_none_went_wrong(changes: dict[str, Any], right: bool) -> None:
    """A fault that never bit proves nothing."""
    (row,) = suite.rows([result(), result(seed=2, **changes)], FAULTS)
    assert (row.runs, row.replayed, row.right) == (2, 14, right)


def test_every_fault_says_what_it_does_and_how_it_is_known_to_bite() -> None:
    """The table is for reading; names are what `--only` takes."""
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    assert all(fault.does and fault.bites for fault in FAULTS)
