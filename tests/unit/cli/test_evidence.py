"""`trainwatch evidence hold`, without a server."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from click.testing import CliRunner

from pipeline.cli import Options
from pipeline.cli import evidence as command
from pipeline.sink import evidence as store
from pipeline.sink.evidence import Found


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is held, of two open incidents; retention has taken the findings of the first."""
    found: list[str] = []

    @contextmanager
    def nowhere(_: Options) -> Iterator[None]:
        yield

    def hold(_: None, subject: str, *__: object) -> int:
        found.append(subject)
        return 1

    monkeypatch.setattr(command, "clickhouse", nowhere)
    monkeypatch.setattr(command, "_found", lambda _, asked, __: None if asked == "gone" else (asked, Found([], [], [], [], [])))
    monkeypatch.setattr(store, "open_incidents", lambda _: ["gone", "here"])
    monkeypatch.setattr(store, "note", lambda *_: None)
    monkeypatch.setattr(store, "hold", hold)
    return found


@pytest.mark.parametrize(
    ("words", "subjects", "code"),
    [(["--open"], ["here"], 0), (["gone", "other"], ["other"], 4), (["gone", "--open"], ["here"], 4), (["other"], ["other"], 0)],
)
def test_an_open_incident_of_which_nothing_is_left_fails_no_night(
    held: list[str], words: list[str], subjects: list[str], code: int
) -> None:
    """Nobody can mend it, and the timer would never come to its check; what somebody names must be known."""
    assert CliRunner().invoke(command.evidence, ["hold", *words], obj=Options()).exit_code == code
    assert held == subjects
