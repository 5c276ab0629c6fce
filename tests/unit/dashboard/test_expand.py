"""Macros and variables: what Grafana and the ClickHouse plugin would send."""

import pytest

from pipeline.dashboard.definition import ALL
from pipeline.dashboard.expand import expand, names_in
from pipeline.dashboard.period import Period
from pipeline.errors import ConfigError

HOUR = Period(1_772_449_200_000, 1_772_452_800_000)  # 2026-03-02 11:00 to 12:00 UTC: an interval of 15 s


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("$__timeFilter(ts)", "ts >= toDateTime(1772449200) AND ts <= toDateTime(1772452800)"),
        ("$__timeFilter(f(a, b))", "f(a, b) >= toDateTime(1772449200) AND f(a, b) <= toDateTime(1772452800)"),
        ("$__timeFilter_ms(ts)", "ts >= fromUnixTimestamp64Milli(1772449200000) AND ts <= fromUnixTimestamp64Milli(1772452800000)"),
        ("$__timeInterval(ts)", "toStartOfInterval(toDateTime(ts), INTERVAL 15 second)"),
        ("$__timeInterval_ms(ts)", "toStartOfInterval(toDateTime64(ts, 3), INTERVAL 15000 millisecond)"),
        ("$__fromTime, $__toTime", "toDateTime(1772449200), toDateTime(1772452800)"),
        ("$__fromTime_ms", "fromUnixTimestamp64Milli(1772449200000)"),
        ("count() / $__interval_s", "count() / 15"),
        ("INTERVAL $__interval_ms", "INTERVAL 15000"),
        ("${__from} to $__to", "1772449200000 to 1772452800000"),
        (
            "$__dateTimeFilter(day, ts)",
            (
                "(day >= toDate(toDateTime(1772449200, 'UTC'), 'UTC') AND day <= toDate(toDateTime(1772452800, 'UTC'), 'UTC'))"
                " AND (ts >= toDateTime(1772449200) AND ts <= toDateTime(1772452800))"
            ),
        ),
    ],
)
def test_macros(written: str, sent: str) -> None:
    """As in the plugin's macros.go."""
    assert expand(written, HOUR, {}) == sent


@pytest.mark.parametrize(
    ("written", "values", "sent"),
    [
        ("job_id = ${job:singlequote}", {"job": ("48344",)}, "job_id = '48344'"),
        ("x IN (${host:singlequote})", {"host": ("gpu-001", "gpu-002")}, "x IN ('gpu-001','gpu-002')"),
        ("x IN (${host:singlequote})", {"host": (ALL,)}, "x IN ('a','b')"),
        ("x IN (${host:sqlstring})", {"host": ("it's",)}, "x IN ('it''s')"),
        ("$job [[job]] ${job}", {"job": ("7",)}, "7 7 7"),
        ("$__conditionalAll(f(x) IN (${host:singlequote}), $host)", {"host": (ALL,)}, "1=1"),
        ("$__conditionalAll(f(x) IN (${host:singlequote}), $host) AND y", {"host": ("b",)}, "f(x) IN ('b') AND y"),
    ],
)
def test_variables(written: str, values: dict[str, tuple[str, ...]], sent: str) -> None:
    """Filled in before macros; All is every value, and no condition at all where `conditionalAll` asks."""
    assert expand(written, HOUR, values, {"host": ("a", "b")}) == sent


@pytest.mark.parametrize("value", ["'; DROP TABLE events --", "\\", "\\'", "' OR 1=1 --", "a\\' OR '"])
def test_a_value_cannot_leave_its_quotes(value: str) -> None:
    """Quotes and backslashes are escaped: read back, the string is the value."""
    sent = expand("${job:singlequote}", HOUR, {"job": (value,)})
    assert sent[0] == sent[-1] == "'"
    inside = sent[1:-1]
    read, at = "", 0
    while at < len(inside):
        assert inside[at] != "'"
        at += inside[at] == "\\"
        read, at = read + inside[at], at + 1
    assert read == value


@pytest.mark.parametrize("value", ["$__toTime(", "$__timeFilter(x)", "$__nothing", "$other", "${other}", "$__conditionalAll(a, $job)"])
def test_a_value_that_looks_like_a_macro_stays_a_value(value: str) -> None:
    """What a reader chooses is never expanded: it would eat the quote behind it."""
    assert expand("f('x', ${job:singlequote}) AND g(1)", HOUR, {"job": (value,)}) == f"f('x', '{value}') AND g(1)"


@pytest.mark.parametrize(
    "written",
    ["${nobody:singlequote}", "$__noSuchMacro(ts)", "$__timeFilter()", "$__timeFilter(ts", "$__dateTimeFilter(ts)", "${job:json}"],
)
def test_what_is_not_known_is_an_error(written: str) -> None:
    """Nothing of Grafana's language is left in the SQL."""
    with pytest.raises(ConfigError):
        expand(written, HOUR, {"job": ("1",)})


def test_the_names_of_variables_in_a_text() -> None:
    """Macros and built-in names are none."""
    assert names_in("$__timeFilter(ts) AND x = ${a:singlequote} AND $b AND [[c]] AND ${__from}") == {"a", "b", "c"}
