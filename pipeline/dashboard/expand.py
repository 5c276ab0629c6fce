"""SQL of a panel, a period and values of variables in; the SQL that Grafana would send out.

Two languages meet in it: variables (`$job`, `${job}`, `${job:singlequote}`, `[[job]]`) are Grafana's, and macros (`$__timeFilter(ts)`) are
the ClickHouse plugin's (pkg/macros/macros.go of grafana/clickhouse-datasource).  `$__conditionalAll(condition, $var)` is taken out by the
plugin's front end before anything else.  Grafana fills in variables before macros, so that a value such as `$__toTime(` would eat its own
quote; here macros come first.  The SQL is the same for every value that holds no macro.

A value comes from whoever holds the address of a dashboard, so only the format `singlequote`, which escapes, may stand where text
goes; a lint refuses others in our dashboards.  Backslashes are escaped too: ClickHouse reads them, and Grafana escapes the quote alone.

Holds: what is not known is an error, never left in the SQL.
"""

import re
from collections.abc import Mapping, Sequence

from pipeline.dashboard.definition import ALL
from pipeline.dashboard.period import Period
from pipeline.errors import ConfigError

Values = Mapping[str, Sequence[str]]  # by variable; `(ALL,)` is every value of `options_all`

VARIABLE = re.compile(r"\$\{(\w+)(?::(\w+))?\}|\$(?!__)([A-Za-z]\w*)|\[\[(\w+)(?::(\w+))?\]\]")
MACRO = re.compile(r"\$__(\w+)")
BUILT_IN = re.compile(r"\$\{__(from|to)\}|\$__(from|to|interval|interval_ms|timezone)\b(?!\()")


def expand(sql: str, period: Period, values: Values, everything: Values | None = None) -> str:
    """Ready to send.  `everything` holds all values of those variables that stand on All.  Raises ConfigError on an unknown name."""
    text = _conditional_all(sql, values)
    text = BUILT_IN.sub(lambda match: _built_in(match[1] or match[2], period), text)
    text = _macros(text, period)
    return VARIABLE.sub(lambda match: _variable(match, values, everything or {}), text)


def quoted(values: Sequence[str]) -> str:
    """Values as a list of SQL strings: the format `singlequote`."""
    return ",".join("'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'" for value in values)


def names_in(sql: str) -> set[str]:
    """The variables that a text uses."""
    return {match[1] or match[3] or match[4] for match in VARIABLE.finditer(sql) if not (match[1] or "").startswith("__")}


# --- variables ------------------------------------------------------------------------------------------------------------------------


def _variable(match: re.Match[str], values: Values, everything: Values) -> str:
    name, form = match[1] or match[3] or match[4], match[2] or match[5] or ""
    if name not in values:
        raise ConfigError(f"the variable ${name} has no value", advice=f"Give one: --var {name}=VALUE")
    chosen = values[name]
    if tuple(chosen) == (ALL,):
        chosen = everything.get(name, ())
    if form == "singlequote":
        return quoted(chosen)
    if form == "sqlstring":
        return ",".join("'" + value.replace("'", "''") + "'" for value in chosen)
    if form in ("", "csv", "raw"):
        return ",".join(chosen)
    raise ConfigError(f"${{{name}:{form}}}: the preview does not know this format", advice="Use singlequote.")


def _conditional_all(sql: str, values: Values) -> str:
    opening = "$__conditionalAll("
    while (at := sql.find(opening)) >= 0:
        inside, end = _arguments(sql, at + len(opening) - 1)
        condition, _, name = inside.rpartition(",")
        names = names_in(name)
        if len(names) != 1 or not condition:
            raise ConfigError(f"$__conditionalAll({inside}) needs a condition and one variable")
        chosen = tuple(values.get(names.pop(), ()))
        sql = sql[:at] + ("1=1" if chosen in ((), ("",), (ALL,)) else condition.strip()) + sql[end:]
    return sql


# --- macros ---------------------------------------------------------------------------------------------------------------------------


def _built_in(name: str, period: Period) -> str:
    return {
        "from": str(period.from_ms),
        "to": str(period.to_ms),
        "interval": f"{period.interval_ms // 1000}s",
        "interval_ms": str(period.interval_ms),
        "timezone": "UTC",
    }[name]


def _macros(sql: str, period: Period) -> str:
    at = 0
    while match := MACRO.search(sql, at):
        name, end, given = match[1], match.end(), ""
        if sql[end : end + 1] == "(":
            given, end = _arguments(sql, end)
        replaced = _macro(name, given, period)
        sql = sql[: match.start()] + replaced + sql[end:]
        at = match.start() + len(replaced)
    return sql


def _macro(name: str, given: str, period: Period) -> str:
    seconds = period.from_ms // 1000, period.to_ms // 1000
    from_s, to_s = (f"toDateTime({each})" for each in seconds)
    from_ms, to_ms = (f"fromUnixTimestamp64Milli({each})" for each in (period.from_ms, period.to_ms))
    from_day, to_day = (f"toDate(toDateTime({each}, 'UTC'), 'UTC')" for each in seconds)
    step_s, step_ms = max(period.interval_ms // 1000, 1), max(period.interval_ms, 1)
    if name in ("dateTimeFilter", "dt"):
        day, _, time = given.partition(",")
        if not time:
            raise ConfigError(f"$__{name}({given}) needs two columns")
        day, time = day.strip(), time.strip()
        return f"({day} >= {from_day} AND {day} <= {to_day}) AND ({time} >= {from_s} AND {time} <= {to_s})"
    found = {
        "fromTime": from_s,
        "toTime": to_s,
        "fromTime_ms": from_ms,
        "toTime_ms": to_ms,
        "interval_s": str(step_s),
        "timeFilter": f"{given} >= {from_s} AND {given} <= {to_s}",
        "timeFilter_ms": f"{given} >= {from_ms} AND {given} <= {to_ms}",
        "dateFilter": f"{given} >= {from_day} AND {given} <= {to_day}",
        "timeInterval": f"toStartOfInterval(toDateTime({given}), INTERVAL {step_s} second)",
        "timeInterval_ms": f"toStartOfInterval(toDateTime64({given}, 3), INTERVAL {step_ms} millisecond)",
    }.get(name)
    needs_column = name.removesuffix("_ms") in ("timeFilter", "timeInterval", "dateFilter")
    if found is None or needs_column != bool(given.strip()):
        raise ConfigError(f"$__{name}({given}): no macro of the ClickHouse plugin", advice="Its documentation lists them.")
    return found


def _arguments(sql: str, opening: int) -> tuple[str, int]:
    """What stands between a bracket and its partner, and the position after that."""
    depth = 0
    for at in range(opening, len(sql)):
        depth += {"(": 1, ")": -1}.get(sql[at], 0)
        if depth == 0:
            return sql[opening + 1 : at], at + 1
    raise ConfigError(f"a bracket is not closed: {sql[opening : opening + 60]}")
