"""`--follow`: looked at again and again, in place on a terminal, else one after the other, until Ctrl-C."""

import io
from collections.abc import Callable, Iterable

import pytest
from rich.console import Console

from pipeline.cli.following import watch
from pipeline.errors import BrokerUnavailable


def looking(answers: Iterable[int | Exception]) -> Callable[[], int]:
    """One answer a look; then somebody presses Ctrl-C."""
    left = iter(answers)

    def look() -> int:
        found = next(left, None)
        if found is None:
            raise KeyboardInterrupt
        if isinstance(found, Exception):
            raise found
        return found

    return look


def test_each_look_is_told_and_a_server_that_is_away_is_asked_again(capsys: pytest.CaptureFixture[str]) -> None:
    """The last one is answered with, for the exit code."""
    told: list[int] = []
    assert watch(looking([1, BrokerUnavailable("away"), 2]), told.append, str, seconds=0) == 2
    assert told == [1, 2]
    assert "away; asking again" in capsys.readouterr().err
    assert watch(looking([]), told.append, str, seconds=0) is None


def test_a_terminal_shows_them_in_place() -> None:
    """Nothing is told beside it."""
    page, told = io.StringIO(), list[int]()
    console = Console(file=page, force_terminal=True, color_system=None, highlight=False, width=80)
    assert watch(looking([1, 2]), told.append, lambda found: f"seen {found}", console=console, seconds=0) == 2
    assert told == []
    assert "seen 1" in page.getvalue()
    assert "seen 2" in page.getvalue()
