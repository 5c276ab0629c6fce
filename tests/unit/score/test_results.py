"""The file of finished periods, and the processes that meet in it."""

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.errors import ConfigError
from pipeline.score.results import finished, note
from pipeline.simulate.plan import Plan
from tests.unit.score.test_table import period

PLAN = Plan(days=2, gpus=64, acts={"p01": 1})


def noted(path: Path, plan: Plan, *seeds: int) -> None:
    for seed in seeds:
        note(path, msgspec.structs.replace(period(seed), plan=plan.name))


def test_a_run_goes_on_with_its_own_periods_alone(tmp_path: Path) -> None:
    """Those of another size, other acts or a silent source are another plan; the seed is none of it, and a period twice is one."""
    path = tmp_path / "score.jsonl"
    noted(path, PLAN, 1, 2, 2)
    others = [
        Plan(days=3, gpus=64, acts={"p01": 1}),
        Plan(days=2, gpus=64, acts={"p01": 2}),
        Plan(days=2, gpus=64, silent=frozenset({"sshd"})),
    ]
    for other in others:
        noted(path, other, 1, 3)
    assert [each.seed for each in finished(path, PLAN)] == [1, 2]
    assert [each.seed for each in finished(path, Plan(seed=9, days=2, gpus=64, acts={"p01": 1, "p02": 0}))] == [1, 2]
    assert [each.seed for each in finished(path, others[0])] == [1, 3]


def test_a_line_that_was_cut_off_is_done_again(tmp_path: Path) -> None:
    """And spoils neither the lines before nor those behind."""
    path = tmp_path / "score.jsonl"
    noted(path, PLAN, 1, 2)
    path.write_bytes(path.read_bytes()[:-40])
    noted(path, PLAN, 3)
    assert [each.seed for each in finished(path, PLAN)] == [1, 3]


@pytest.mark.parametrize("line", ["{}", '{"seed": 1, "days": 7}', "[1]"])
def test_another_file_is_refused(tmp_path: Path, line: str) -> None:
    """Before anything is simulated, and before anything is appended to it."""
    path = tmp_path / "trainwatch.json"
    path.write_text(f"{line}\n")
    with pytest.raises(ConfigError, match="something else than results"):
        finished(path, PLAN)
    assert path.read_text() == f"{line}\n"


def test_a_file_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """Before hours are spent."""
    with pytest.raises(ConfigError, match="cannot write"):
        finished(tmp_path / "no" / "score.jsonl", PLAN)


def test_a_worker_that_breaks_off_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the table would be of fewer periods than it says; here no interpreter can be started as one would."""
    monkeypatch.setattr("sys.executable", "/bin/false")
    words = [
        "score",
        "--seeds",
        "2",
        "--days",
        "1",
        "--gpus",
        "32",
        "--acts",
        "p01=1",
        "--workers",
        "2",
        "--results",
        str(tmp_path / "s.jsonl"),
    ]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 1
    assert "did not finish: seeds 1, 2" in done.stderr
