"""Times as people write them."""

import pytest

from pipeline.dashboard.period import Period, parse_period, parse_time
from pipeline.errors import ConfigError

NOW = 1_772_452_800_000  # 2026-03-02 12:00 UTC
HOUR = 3_600_000


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("now", NOW),
        ("-7d", NOW - 7 * 24 * HOUR),
        ("now-90m", NOW - 90 * 60_000),
        ("now+1h", NOW + HOUR),
        ("now/d", NOW - 12 * HOUR),
        ("now-1d/d", NOW - 36 * HOUR),
        ("2026-03-02T11:00:00Z", NOW - HOUR),
        ("2026-03-02T11:00", NOW - HOUR),
        ("2026-03-02T19:00:00+08:00", NOW - HOUR),
        ("1772449200000", NOW - HOUR),
    ],
)
def test_times(written: str, meant: int) -> None:
    """Grafana's notation, ISO 8601 (UTC without an offset), epoch milliseconds."""
    assert parse_time(written, NOW) == meant


@pytest.mark.parametrize("written", ["", "yesterday", "-7", "now-7y", "7d ago"])
def test_what_is_no_time(written: str) -> None:
    """Told with examples."""
    with pytest.raises(ConfigError) as caught:
        parse_time(written, NOW)
    assert "-7d" in caught.value.advice


def test_the_end_comes_after_the_begin() -> None:
    """An empty period is a mistake."""
    with pytest.raises(ConfigError):
        parse_period("now", "-1h", NOW)


@pytest.mark.parametrize(("span", "interval"), [(1, 1_000), (HOUR, 15_000), (24 * HOUR, 600_000), (7 * 24 * HOUR, HOUR)])
def test_intervals_are_round_and_few(span: int, interval: int) -> None:
    """At most 240 points, a second at least."""
    assert Period(NOW - span, NOW).interval_ms == interval
