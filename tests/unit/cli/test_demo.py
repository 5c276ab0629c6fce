"""What the demo does with what is there already, and with servers that outlive it."""

import io
import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from pipeline.cli import demo, main
from pipeline.embedded import process
from pipeline.embedded.files import Layout
from pipeline.settings import EmbeddedSettings, Settings


@pytest.fixture
def earlier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that an earlier demo left below the working directory."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / ".trainwatch" / "demo"
    (folder / "servers").mkdir(parents=True)
    (folder / "worker.log").write_text("first\n")
    return folder


def settings_of(folder: Path) -> Settings:
    return Settings(embedded=EmbeddedSettings(directory=folder / "servers"))


def running(folder: Path) -> None:
    """A server that lives: this process."""
    process.write_note(Layout(folder / "servers").note("kafka"), process.note_of(os.getpid(), {"kafka": 20_001, "controller": 20_002}))


def test_an_earlier_demo_is_named_before_it_is_emptied(earlier: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where nobody can be asked."""
    demo._ask(earlier)  # standard input of a test is no terminal
    demo._empty(earlier, settings_of(earlier), Console(stderr=True, soft_wrap=True))
    assert f"emptying {earlier}" in capsys.readouterr().err
    assert not earlier.exists()


def test_no_is_an_answer(earlier: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Then everything stays, and it is said how to look at it."""
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.confirm", lambda text, **_: str(earlier) not in text)
    with pytest.raises(SystemExit) as ended:
        demo._ask(earlier)
    assert ended.value.code == 1
    assert (earlier / "worker.log").read_text() == "first\n"
    assert f"--settings {earlier / 'trainwatch.yaml'} status" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value"),
    [("EMBEDDED__DIRECTORY", "/srv/site"), ("KAFKA__BOOTSTRAP_SERVERS", "broker-1:9092"), ("CLICKHOUSE__HOST", "database-1")],
)
def test_an_environment_that_names_other_servers_is_refused(earlier: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """It wins over the demo's own settings, which would mix the simulated week with a site's data, or empty the wrong folder."""
    monkeypatch.setenv(f"TRAINWATCH_{name}", value)
    done = CliRunner().invoke(main, ["demo", "--again"])
    assert done.exit_code == 2
    assert f"TRAINWATCH_{name}" in done.stderr
    assert (earlier / "worker.log").read_text() == "first\n"


def test_a_demo_that_is_broken_off_tells_how_to_stop_its_servers(earlier: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C reaches the demo, not them."""
    running(earlier)
    with pytest.raises(KeyboardInterrupt), demo._ended(earlier, settings_of(earlier), Console(stderr=True, soft_wrap=True), stop=False):
        raise KeyboardInterrupt
    assert f"still run; stop them with: {demo.command_on(earlier)} down" in capsys.readouterr().err


def test_a_demo_that_ends_well_says_it_in_its_report_alone(earlier: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not twice."""
    running(earlier)
    with demo._ended(earlier, settings_of(earlier), Console(stderr=True), stop=False):
        pass
    assert capsys.readouterr().err == ""


def test_servers_are_stopped_also_when_it_is_broken_off(earlier: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --stop nothing is left running, however it ends."""
    pid = process.spawn(["/bin/sleep", "60"], log=earlier / "a.out", folder=earlier)
    note = process.note_of(pid, {"kafka": 20_001, "controller": 20_002})
    process.write_note(Layout(earlier / "servers").note("kafka"), note)
    with pytest.raises(KeyboardInterrupt), demo._ended(earlier, settings_of(earlier), Console(stderr=True), stop=True):
        raise KeyboardInterrupt
    assert not process.is_alive(note)
    assert "kafka: stopped" in capsys.readouterr().err


@pytest.mark.parametrize("stop", [True, False])
def test_servers_that_are_gone_are_not_advertised(earlier: Path, stop: bool) -> None:
    """With --stop no page answers afterwards: first of all stands how to have the servers again."""
    page = io.StringIO()
    demo._where_to_look(Console(file=page), settings_of(earlier), earlier, "48344", stop=stop)
    text = page.getvalue()
    up = f"The servers stop now; start them again to look at the rest: {demo.command_on(earlier)} up"
    assert (up in text.partition("ClickHouse web page")[0]) == stop
    assert (f"Stop the servers: {demo.command_on(earlier)} down" in text) != stop
    assert "job explain 48344" in text
