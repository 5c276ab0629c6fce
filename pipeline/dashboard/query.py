"""A dashboard, a period and the choices of a reader in; the answers of ClickHouse to every panel out.

The SQL names tables without a database, as Grafana's datasource does: the session is told ours, and a bound on time.  Values of variables
come from whoever wrote the command, and are quoted by `expand`.  A query that fails is the answer of its panel and not the end of the
page; a server that is away is.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipeline.dashboard.charts import Moment
from pipeline.dashboard.definition import ALL, Dashboard, Panel, Variable
from pipeline.dashboard.expand import expand, quoted
from pipeline.dashboard.period import Period
from pipeline.dashboard.text import color_of
from pipeline.errors import ConfigError, FatalError
from pipeline.sink.clickhouse import Database
from pipeline.sink.rows import RowsRefused

FINDING = "finding"  # the variable whose value may be the beginning of an id
QUERY_SECONDS_MAX = 60
ROWS_MAX = 20_000
MARGIN_MS = 300_000
MOMENTS_MAX = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """Columns and rows, or why there are none."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    error: str = ""


@dataclass(frozen=True, slots=True)
class Choices:
    """Values of all variables; `everything` holds those of variables that stand on All."""

    values: Mapping[str, tuple[str, ...]]
    everything: Mapping[str, tuple[str, ...]]


class Reader:
    """Asks one database, for reading only.  Blocks; raises TransientError when it is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ask(self, sql: str) -> Answer:
        """The answer, or the reason of the server."""
        # Each time: a connection that was lost begins anew, in another database and with other settings.
        self._database.command(f"USE {self._database.name}")
        self._database.command(f"SET max_execution_time = {QUERY_SECONDS_MAX}")
        try:
            columns, rows = self._database.query_with_columns(sql)
        except (FatalError, RowsRefused) as error:
            return Answer((), (), str(error))
        return Answer(tuple(columns), tuple(rows[:ROWS_MAX]))

    def newest_ms(self) -> int | None:
        """Time of the newest event, which need not be today; None when there is none."""
        answer = self.ask("SELECT maxOrNull(ts) FROM events WHERE NOT future")
        newest = answer.rows[0][0] if answer.rows else None
        return int(newest.timestamp() * 1000) if isinstance(newest, datetime) else None

    def whole(self, begun: str) -> str:
        """The id of the finding that begins so, as panels and commands show it; `begun` where none does.  Raises ConfigError on several."""
        answer = self.ask(f"SELECT DISTINCT finding_id FROM findings WHERE startsWith(finding_id, {quoted([begun])}) LIMIT 5")  # noqa: S608  quoted
        found = [text(row[0]) for row in answer.rows]
        if len(found) > 1:
            raise ConfigError(f"several findings begin with {begun}: {', '.join(sorted(found))}", advice="Give more of the id.")
        return found[0] if found else begun


def choose(dashboard: Dashboard, given: Mapping[str, Sequence[str]], period: Period, reader: Reader) -> Choices:
    """What is given, and for the rest what Grafana would show first.  Raises ConfigError on names and values that do not exist."""
    known = [variable.name for variable in dashboard.variables]
    for name in given:
        if name not in known:
            raise ConfigError(f"{dashboard.name} has no variable {name}", advice=f"It has: {', '.join(known) or 'none'}")
    choices = Choices({}, {})
    for variable in dashboard.variables:
        values = tuple(given.get(variable.name, ()))
        if variable.name == FINDING:
            values = tuple(reader.whole(value) if value else value for value in values)
        choices = _chosen(variable, values, choices, period, reader)
    return choices


def _chosen(variable: Variable, given: tuple[str, ...], so_far: Choices, period: Period, reader: Reader) -> Choices:
    if given and not variable.multi and len(given) > 1:
        raise ConfigError(f"{variable.name} takes one value", advice=f"Give --var {variable.name}=VALUE once.")
    if given and variable.options and not set(given) <= set(variable.options):
        raise ConfigError(f"{variable.name} is one of {', '.join(variable.options)}")
    offered = variable.options
    if variable.sql and (variable.multi or not given):
        answer = reader.ask(expand(variable.sql, period, so_far.values, so_far.everything))
        if answer.error:
            raise ConfigError(f"the values of ${variable.name} cannot be read: {answer.error}", advice="Run `trainwatch migrate up`.")
        offered = tuple(text(row[0]) for row in answer.rows)
    everything = dict(so_far.everything)
    if given:
        values = given
    elif variable.include_all:
        values, everything[variable.name] = (ALL,), offered
    else:
        values = variable.default or offered[:1] or ("",)
    return Choices({**so_far.values, variable.name: values}, everything)


def span(choices: Choices, period: Period, reader: Reader) -> Period:
    """The time that the chosen job, or the chosen finding and its job, took, with a margin; the period as it is without one of them."""
    job, finding = (quoted(choices.values.get(name, ("",))) for name in ("job", "finding"))
    sql = f"""
SELECT minOrNull(begun), maxOrNull(ended) FROM
(
    SELECT submit_time AS begun, end_time AS ended FROM verdicts
    WHERE job_id != '' AND job_id IN (SELECT job_id FROM findings WHERE finding_id = {finding} UNION ALL SELECT {job})
    UNION ALL
    SELECT event_time AS begun, event_time AS ended FROM finding_evidence WHERE finding_id = {finding}
)
"""  # noqa: S608  quoted above
    answer = reader.ask(sql)
    begun, ended = answer.rows[0] if answer.rows else (None, None)
    if begun is None:
        return period
    from_ms, to_ms = (int(each.timestamp() * 1000) for each in (begun, ended))
    margin = max((to_ms - from_ms) // 10, MARGIN_MS)
    return Period(from_ms - margin, to_ms + margin)


def answers(dashboard: Dashboard, choices: Choices, period: Period, reader: Reader) -> Iterator[tuple[Panel, Answer]]:
    """Every panel with what its query gives, in reading order."""
    for panel in dashboard.panels:
        yield panel, reader.ask(expand(panel.sql[0], period, choices.values, choices.everything))


def moments(dashboard: Dashboard, choices: Choices, period: Period, reader: Reader) -> list[Moment]:
    """What panels over time mark; nothing where a query fails, since no panel depends on it."""
    found = []
    for each in dashboard.annotations:
        for time, title, *_ in reader.ask(expand(each.sql, period, choices.values, choices.everything)).rows[:MOMENTS_MAX]:
            found.append(Moment(int(time.timestamp() * 1000), text(title), color_of(each.color)))
    return found


def says_nothing(answered: Iterable[Answer]) -> bool:
    """Is every value of every panel nothing, or a count of nothing?"""
    return not any(value for answer in answered for row in answer.rows for value in row)


def text(value: object) -> str:
    """As text; bytes that are not UTF-8 are written out."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
