"""The commands' words, exit codes and error text."""

import json
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

import pytest
from click.testing import CliRunner, Result

from pipeline import __version__
from pipeline.cli import COMMANDS, Commands, complain, main, say
from pipeline.errors import ConfigError


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


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--version"], f"trainwatch, version {__version__}"),
        (["--help"], "Everything at once on this machine"),
        (["job", "explain", "--help"], "Exit 0: found; 4: nothing is known of this job."),
        (["finding", "list", "--help"], "trainwatch finding list --follow"),
        (["notify", "--help"], "Run one notifier for a site"),
    ],
)
def test_help_is_told_without_the_slow_imports(words: list[str], told: str) -> None:
    """Faust, both clients of Kafka and ClickHouse's driver take most of a second, which somebody who looks for an option feels."""
    slow = {"faust", "kafka", "aiokafka", "clickhouse_driver"}
    slow |= {"pydantic", "rich", "orjson", "msgspec"} if len(words) == 1 else set()  # of the words alone nothing but click is needed
    code = f"import sys; from pipeline.cli import main; main({words}, standalone_mode=False); print({slow} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert told in " ".join(done.stdout.split()), done.stderr
    assert done.stdout.splitlines()[-1] == "set()"


@pytest.mark.parametrize("word", sorted(COMMANDS))
def test_the_line_of_a_word_fits_and_ends(word: str) -> None:
    """On a terminal of 80 columns, where what click would cut is what one wanted to know."""
    _, line = COMMANDS[word]
    assert len(line) <= 65
    assert line.endswith((".", "?"))


def test_status_of_stopped_servers_exits_with_3(settings_file: str) -> None:
    """For scripts that wait or start."""
    done = run("--settings", settings_file, "status")
    assert done.exit_code == 3
    assert [line.split()[1:4:2] for line in done.stdout.splitlines() if "│" in line] == [["kafka", "stopped"], ["clickhouse", "stopped"]]
    assert "not all is known: the embedded clickhouse server does not run" in done.stderr
    assert "what to do: To try it here, run `trainwatch up`" in done.stderr


def test_status_as_json_is_one_object(settings_file: str) -> None:
    """Standard output holds nothing else."""
    done = run("--settings", settings_file, "status", "--json")
    assert done.exit_code == 3
    assert json.loads(done.stdout)["kafka"]["state"] == "stopped"


def test_who_forgot_the_settings_is_reminded_of_them(settings_file: str) -> None:
    """On a machine of a site, to start servers of its own would be the last thing to do."""
    done = run("--settings", settings_file, "topics", "list")
    assert done.exit_code == 1
    assert "the embedded kafka server does not run" in done.stderr
    assert "--settings FILE" in done.stderr
    assert "After a demo" not in done.stderr


def test_who_forgot_the_settings_of_a_demo_is_told_them(settings_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the first command that somebody types who tries this, and none of these servers is the demo's."""
    monkeypatch.setenv("TRAINWATCH_EMBEDDED__DIRECTORY", str(tmp_path))
    of_demo = tmp_path / "demo" / "trainwatch.yaml"
    of_demo.parent.mkdir()
    of_demo.touch()
    done = run("--settings", settings_file, "finding", "list")
    assert done.exit_code == 1
    assert f"After a demo: `trainwatch --settings {of_demo} ...`." in done.stderr


def test_a_folder_that_was_deleted_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a shell that still stands in it."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    done = run("status")
    monkeypatch.chdir(tmp_path)
    assert (done.exit_code, "the current folder was deleted" in done.stderr) == (2, True)


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


@pytest.mark.parametrize("words", [["settings", "--json"], ["settings"], ["rules"], ["dashboard", "--json"]], ids=" ".join)
def test_a_full_disk_is_said(words: list[str], settings_file: str) -> None:
    """Of all nights, on the one when it is full: no traceback."""
    command = [sys.executable, "-m", "pipeline", "--settings", settings_file, *words]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, check=False, stdout=full, stderr=PIPE)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert b"No space left on device" in done.stderr


def test_an_error_does_not_act_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """What it names came from a log or a folder, and an attacker chose it; lines and advice stay lines."""
    complain(ConfigError("cannot read \x1b[2Ja.log\r\x07\u202e", advice="one\ntwo"))
    say("sent \x9b2J b.log")
    assert capsys.readouterr().err == "error: cannot read \ufffd[2Ja.log\ufffd\ufffd\ufffd\n  what to do: one\ntwo\nsent \ufffd2J b.log\n"
