"""Times on the command line: what each word means, and that the others are refused with an example."""

from zoneinfo import ZoneInfo

import click
import pytest

from pipeline.cli import times
from pipeline.cli.times import Day, Duration, Moment, Number, Since, Zone

NOON = 1_772_452_800_000  # 2026-03-02T12:00:00Z


@pytest.mark.parametrize(
    ("kind", "word", "value"),
    [
        (Moment(), "2026-03-02T20:00:00+08:00", NOON),
        (Day(), "2026-03-02", NOON - 43_200_000),
        (Since(), "2026-03-02", NOON - 43_200_000),
        (Since(), "30s", NOON - 30_000),
        (Since(), "2h", NOON - 7_200_000),
        (Since(), "1w", NOON - 7 * 86_400_000),
        (Since(), "0m", NOON),
        (Duration(), "0", 0),
        (Duration(), "36h", 36 * 3_600_000),
        (Zone(), "Asia/Shanghai", ZoneInfo("Asia/Shanghai")),
    ],
)
def test_a_word_is_a_time(kind: click.ParamType, word: str, value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """As --help says; what was converted stays."""
    monkeypatch.setattr(times, "now_ms", lambda: NOON)
    assert kind.convert(word, None, None) == value
    assert kind.convert(value, None, None) == value


@pytest.mark.parametrize(
    ("kind", "word", "told"),
    [
        (Moment(), "2026-03-02T12:00:00", "has no offset"),
        (Moment(), "2026-03-02", "has no offset"),
        (Moment(), "yesterday", "not a time; write for example"),
        (Since(), "-2h", "not a time; write for example"),
        (Since(), "\uff12h", "not a time; write for example"),
        (Day(), "2026-13-45", "not a time; write for example"),
        (Duration(), "36", "36h or 7d"),
        (Duration(), "", "36h or 7d"),
        (Number(0, 9), "nan", "is not a number"),
        (Number(0), "inf", "is not a number"),
        (Number(0), "1e309", "is not a number"),
        (Number(0), "-1", "not in the range"),
        (Number(0), "two", "not a valid float"),
        (Zone(), "Mars/Olympus", "Asia/Shanghai"),
        (Zone(), "Asia", "Asia/Shanghai"),  # a folder of zones
        (Zone(), "../etc/passwd", "Asia/Shanghai"),
        (Zone(), "x" * 300, "Asia/Shanghai"),
        (Zone(), "", "Asia/Shanghai"),
        (Zone(), "\x00", "Asia/Shanghai"),
    ],
)
def test_what_is_none_is_refused(kind: click.ParamType, word: str, told: str) -> None:
    """With what to write instead, and no traceback."""
    with pytest.raises(click.BadParameter, match=told):
        kind.convert(word, None, None)
