"""What every command prints for people."""

import io
import re
import shlex
import sys
from pathlib import Path

import click
import orjson
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pipeline import cli
from pipeline.cli import say_json
from pipeline.cli.console import confidence, invocation, write


@pytest.mark.parametrize(
    ("withheld", "text"),
    [("", "0.95"), ("only one independent source: scheduler", "0.95 in the act; no name: only one independent source: scheduler")],
)
def test_confidence_in_an_act_is_not_confidence_in_a_person(withheld: str, text: str) -> None:
    """Where no name is given, the number says what it is of, and why there is no name."""
    assert confidence(0.95, withheld) == text


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """An installed command."""
    path = tmp_path / "bin" / "trainwatch"
    path.parent.mkdir()
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_a_hint_names_the_command_as_it_was_called(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A virtual environment that is not active is in no PATH."""
    monkeypatch.chdir(program.parents[1])
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sys, "argv", ["bin/trainwatch"])
    assert invocation() == "bin/trainwatch"


@pytest.mark.parametrize("called", ["bin/trainwatch", "{folder}/bin/trainwatch"])
def test_a_hint_is_short_where_the_shell_finds_the_command(program: Path, monkeypatch: pytest.MonkeyPatch, called: str) -> None:
    """Python is given the whole path then."""
    monkeypatch.chdir(program.parents[1])
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setattr(sys, "argv", [called.format(folder=program.parents[1])])
    assert invocation() == "trainwatch"


def test_another_command_of_that_name_is_not_meant(program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An older release in the PATH would be run instead."""
    other = tmp_path / "other" / "trainwatch"
    other.parent.mkdir()
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", str(other.parent))
    monkeypatch.setattr(sys, "argv", [str(program)])
    assert invocation() == str(program)


def test_a_hint_names_the_module_where_that_was_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -m pipeline` has no program of its own."""
    monkeypatch.setattr(sys, "argv", ["/srv/pipeline/__main__.py"])
    assert invocation() == f"{shlex.quote(sys.executable)} -m pipeline"


def test_a_paragraph_keeps_its_indent() -> None:
    page = io.StringIO()
    write(Console(file=page, width=24), "actor withheld; [bold]confidence[/bold] 0.97 in the act")
    assert page.getvalue().splitlines() == ["  actor withheld;", "  confidence 0.97 in the", "  act"]


TEXT = st.text(st.characters(codec="utf-8"))  # also such as act


@given(st.recursive(TEXT, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner)), st.booleans())
def test_json_says_the_same_and_acts_on_no_terminal(value: object, pretty: bool) -> None:
    """What records say is printed on a terminal, too: what turns, hides or rewrites text there is escaped, as JSON has it."""
    text = orjson.dumps(value, option=orjson.OPT_INDENT_2 if pretty else 0)
    page = CliRunner().invoke(click.command()(lambda: say_json(text)), catch_exceptions=False).stdout
    assert orjson.loads(page) == value
    assert all(line.isprintable() for line in page.split("\n"))


@pytest.mark.parametrize("path", sorted(Path(cli.__file__).parent.glob("*.py")), ids=lambda path: str(path.name))
def test_commands_print_json_in_one_way(path: Path) -> None:
    """The one that escapes."""
    assert not re.search(r"echo\([^\n]*(dumps|encode|as_json)\(", path.read_text())
