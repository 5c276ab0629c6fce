"""`trainwatch dashboard` without a server: the list, and what is wrong usage."""

import json

import pytest
from click.testing import CliRunner, Result

from deploy.grafana.boards import BOARDS
from pipeline.cli import main
from pipeline.cli.dashboard import _first


def dashboard(*words: str) -> Result:
    return CliRunner().invoke(main, ["dashboard", *words], env={"COLUMNS": "200"})


def test_without_a_name_it_lists_the_dashboards() -> None:
    """All of them, with what can be chosen."""
    done = dashboard()
    assert done.exit_code == 0
    for board in BOARDS:
        assert board.name in done.stdout
        assert board.description.split(",", maxsplit=1)[0] in done.stdout


def test_the_list_as_json() -> None:
    """One object each, in the same order."""
    found = json.loads(dashboard("--json").stdout)
    assert next(each["name"] for each in found) == "overview"
    assert {each["name"]: each["variables"] for each in found} == {board.name: [item.name for item in board.variables] for board in BOARDS}


@pytest.mark.parametrize(
    ("words", "said"),
    [(("nothing",), "overview"), (("job", "--var", "48344"), "NAME=VALUE"), (("\x1b[2J",), "no dashboard")],
    ids=["no such dashboard", "a value without a name", "a hostile name"],
)
def test_wrong_usage(words: tuple[str, ...], said: str) -> None:
    """Exit 2, what would be right, and no control characters."""
    done = dashboard(*words)
    assert done.exit_code == 2
    assert said in done.stderr
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize(
    ("chosen", "given", "said"),
    [
        ({"cluster": ("$__all",), "job": ("48344",)}, (), "shown is job 48344, the first in the list; --var job=... chooses another"),
        ({"kind": ("identity",), "entity": ("u017",)}, ("kind",), "shown is entity u017, the first in the list; --var entity=... "),
        ({"kind": ("identity",), "entity": ("u017",)}, (), "shown is kind identity, entity u017, the first in the list; --var entity=... "),
        ({"job": ("48344",)}, ("job",), ""),
        ({"job": ("",)}, (), ""),
        ({"cluster": ("$__all",)}, (), ""),
    ],
)
def test_which_one_nobody_chose_is_said(chosen: dict[str, tuple[str, ...]], given: tuple[str, ...], said: str) -> None:
    """Whoever asks for a job's page without a job is told which one he got."""
    assert _first(chosen, given).startswith(said)
    assert bool(_first(chosen, given)) == bool(said)
