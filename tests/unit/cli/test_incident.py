"""`trainwatch incident`: what a terminal shows, who wrote into the journal, and that log content does not act there."""

import getpass
import io

from click.testing import CliRunner
from rich.console import Console

from pipeline.cli import main
from pipeline.cli.incident import operator, print_report
from pipeline.incidents.report import Entry, Report
from tests import build
from tests.unit.incidents.campaign import kill
from tests.unit.incidents.reports import hostile, report


def shown(made: Report) -> str:
    page = io.StringIO()
    print_report(Console(file=page, width=220, highlight=False, emoji=False), made)
    return page.getvalue()


def test_a_named_candidate_is_shown_with_the_second_best() -> None:
    """And with what people did."""
    text = shown(report())
    assert "named: u099" in text
    assert "leading: u099; next: u099, account in others' hands" in text
    assert "reply u099 I was on leave." in text
    assert "state open, assigned to -" in text


def test_a_withheld_name_says_why() -> None:
    """Where the name would stand."""
    text = shown(report([kill(0, "1", "u099")], journal=()))
    assert "no name: of who acted: only one independent source" in text
    assert "u099" not in text


def test_the_newest_entry_is_the_state() -> None:
    """Older ones stay in the journal."""
    entries = tuple(Entry(at=at, operator="op", action="status", value=value, text="") for at, value in ((1, "contained"), (2, "closed")))
    text = shown(report(journal=entries))
    assert "state closed" in text
    assert "status contained" in text


def test_hostile_text_does_not_act_on_a_terminal() -> None:
    """No control characters reach it."""
    assert not {"\x1b", "\u202e"} & set(shown(hostile()))


def test_the_operator_is_the_system_user() -> None:
    """With what the settings state beside it."""
    assert operator(build.settings()) == getpass.getuser()
    assert operator(build.settings(operator="night shift")) == f"{getpass.getuser()} (night shift)"


def test_every_word_explains_itself() -> None:
    """Without servers or settings."""
    for word in ("list", "show", "report", "rumour", "status", "assign", "note", "reply"):
        result = CliRunner().invoke(main, ["incident", word, "--help"])
        assert result.exit_code == 0, result.output
