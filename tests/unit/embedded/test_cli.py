"""The commands' words, exit codes and error text."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeline import __version__
from pipeline.cli import COMMANDS, Commands, main


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.fixture
def settings_file(tmp_path: Path) -> str:
    path = tmp_path / "trainwatch.yaml"
    path.write_text(f"embedded: {{directory: {tmp_path / 'servers'}}}\n")
    return str(path)


@pytest.mark.parametrize("word", sorted(COMMANDS))
def test_every_word_of_the_table_has_its_function(word: str) -> None:
    """The table is read only when a word is used, so a typo in it would wait for a user."""
    done = run(word, "--help")
    assert done.exit_code == 0
    assert f"Usage: main {word}" in done.output


def test_an_unknown_word_is_wrong_usage() -> None:
    """Exit 2, as for every wrong usage."""
    assert run("upp").exit_code == 2


def test_version_is_told_without_the_slow_imports() -> None:
    """pydantic and Faust take most of a second."""
    code = "import sys; from pipeline.cli import main; main(['--version'], standalone_mode=False); print('pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"trainwatch, version {__version__}", "False"]


def test_status_of_stopped_servers_exits_with_3(settings_file: str) -> None:
    """For scripts that wait or start."""
    done = run("--settings", settings_file, "status")
    assert done.exit_code == 3
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [["kafka", "stopped"], ["clickhouse", "stopped"]]


def test_status_as_json_is_one_object(settings_file: str) -> None:
    """Standard output holds nothing else."""
    done = run("--settings", settings_file, "status", "--json")
    assert done.exit_code == 3
    assert json.loads(done.stdout)["kafka"]["state"] == "stopped"


def test_down_of_stopped_servers_is_fine(settings_file: str) -> None:
    """Safe to run twice."""
    assert run("--settings", settings_file, "down").exit_code == 0


def test_an_error_says_what_to_do_and_exits_with_1(settings_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here: nothing is installed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    done = run("--settings", settings_file, "up")
    assert done.exit_code == 1
    assert "error: " in done.stderr
    assert "\n  what to do: Run `trainwatch up --install`" in done.stderr


def test_wrong_settings_exit_with_2_and_leave_help_alone(tmp_path: Path) -> None:
    """--help is what one reads to repair them."""
    path = tmp_path / "trainwatch.yaml"
    path.write_text("embedded: {no_such_setting: 1}\n")
    done = run("--settings", str(path), "status")
    assert done.exit_code == 2
    assert "embedded.no_such_setting" in done.stderr
    assert run("--settings", str(path), "status", "--help").exit_code == 0


def test_the_group_lists_its_commands() -> None:
    """In the table's order, which is the order of first use."""
    assert isinstance(main, Commands)
    assert all(word in run("--help").output for word in COMMANDS)
