"""What the panels of the dashboards cost on a large table: how long they take, and which share of it they read.

A database of its own is filled inside ClickHouse (tables.py).  Every query of every panel is asked some times, warm; its time is the
90th percentile.  `EXPLAIN indexes` tells how many granules of the large tables it is going to read, whatever the machine.
"""

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from pipeline.bench.report import JobReport, Requirement
from pipeline.bench.site import Site
from pipeline.bench.tables import Large, fill
from pipeline.sink import migrate
from pipeline.sink.clickhouse import Database

LARGE = ("events", "enriched_events")
MILLISECONDS_MAX = 300.0
OF_ONE_JOB = ("job", "incident")
JOB_SHARE, PERIOD_SHARE = 0.1, 0.21  # a job: a few granules of each source, which is much of a small table; a week of ten: parts of two
SLOWEST_SHOWN = 10


class Query(NamedTuple):
    """What one panel asks."""

    board: str
    title: str
    sql: str


class Cost(NamedTuple):
    """What it takes."""

    query: Query
    milliseconds: float  # of nine of ten times that it was asked
    share: float  # of the granules of the large table of which it reads most; 0: it reads none of them

    def __str__(self) -> str:
        return f"{self.query.board}: {self.query.title}"


def run(site: Site, queries: Callable[[Large], Sequence[Query]], events: int, rounds: int) -> JobReport:
    """Fill, ask, tell."""
    settings = site.settings.clickhouse.model_copy(update={"database": f"{site.name}dashboards"})
    with Database(settings) as database:
        migrate.up(database, say=lambda _: None)
        site.say(f"making {events:,} events inside ClickHouse")
        begun = time.monotonic()
        large = fill(database, events, int(time.time()))
        filled = time.monotonic() - begun
        site.say(f"made in {filled:,.0f} s")
        costs = []
        for query in queries(large):
            costs.append(cost(database, query, rounds))
            site.say(f"{costs[-1]}  {costs[-1].milliseconds:,.0f} ms, reads {costs[-1].share:.1%}")
    return told(costs, events, rounds, filled)


def cost(database: Database, query: Query, rounds: int) -> Cost:
    """Time and share of one query."""
    database.query(query.sql)
    seconds = []
    for _ in range(rounds):
        begun = time.perf_counter()
        database.query(query.sql)
        seconds.append(time.perf_counter() - begun)
    return Cost(query, 1000 * percentile_90(seconds), share(database, query.sql))


def share(database: Database, sql: str) -> float:
    """Of the granules of that large table of which it reads most; 0: it reads none of them."""
    return max((read / whole for table, (read, whole) in granules(database, sql).items() if table in LARGE and whole), default=0.0)


def granules(database: Database, sql: str) -> Mapping[str, tuple[int, int]]:
    """Table -> granules to be read, and all of them, as `EXPLAIN indexes` tells."""
    found: dict[str, tuple[int, int]] = {}

    def visit(node: Mapping[str, Any]) -> None:
        table = str(node.get("Description", "")).rpartition(".")[2]
        indexes = node.get("Indexes", ())
        if node.get("Node Type") == "ReadFromMergeTree" and indexes:
            read, whole = found.get(table, (0, 0))
            found[table] = (read + indexes[-1]["Selected Granules"], whole + indexes[0]["Initial Granules"])
        for child in node.get("Plans", ()):
            visit(child)

    rows = database.query(f"EXPLAIN json = 1, indexes = 1 {sql}")
    visit(json.loads("".join(row[0] for row in rows))[0]["Plan"])
    return found


def percentile_90(values: Sequence[float]) -> float:
    """Of one value: itself."""
    return statistics.quantiles(values, n=10, method="inclusive")[-1] if len(values) > 1 else values[0]


def told(costs: Sequence[Cost], events: int, rounds: int, filled: float) -> JobReport:
    """The report."""
    worst = percentile_90([each.milliseconds for each in costs])
    slowest = sorted(costs, key=lambda each: -each.milliseconds)[:SLOWEST_SHOWN]
    figures = {
        "panels": float(len(costs)), "seconds to make the tables": filled, "90th percentile of panels, ms": worst,
        "median of panels, ms": statistics.median(each.milliseconds for each in costs),
        **{f"{each}, ms": each.milliseconds for each in slowest},
    }  # fmt: skip

    details = {str(each): {"milliseconds": each.milliseconds, "share": each.share} for each in costs}

    def most(of_one_job: bool) -> float:
        return max((each.share for each in costs if (each.query.board in OF_ONE_JOB) is of_one_job), default=0.0)

    report = JobReport(job="dashboards", title="Dashboards", load=f"{events:,} events, {rounds} rounds", figures=figures, details=details)
    return report.judged(
        [
            Requirement("90th percentile of panels, ms", MILLISECONDS_MAX, worst, at_most=True, counts=False),
            Requirement("share of a large table read for a panel of one job", JOB_SHARE, most(of_one_job=True), at_most=True),
            Requirement("share of it read for a panel of a period", PERIOD_SHARE, most(of_one_job=False), at_most=True),
        ]
    )
