"""Alert rules on the pipeline's health, as Grafana provisions them.  Findings do not alert from here but from their topic.

Every query gives one row with one number, 0 when all is well: an empty answer would be `NoData`, which is kept for a server that is away.
They ask ClickHouse alone, which knows what was stored: that a worker ends again and again, or that nobody tells people, only the processes'
own metrics say (deploy/prometheus), which in turn know nothing of ClickHouse's disk.  Neither list is a copy of the other: run both.
Times are the clock's, not event times: a rule asks how things are now.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deploy.grafana.panels import DATASOURCE, PLUGIN_VERSION, TABLE

LOOK_BACK_SECONDS = 3600
RANGES = "(SELECT * FROM range_accounts WHERE stored >= now() - toIntervalHour(1))"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Fires when `sql`'s number is above `above` for `minutes`."""

    uid: str
    title: str
    summary: str
    description: str
    sql: str
    above: float
    minutes: int
    severity: str
    board: str = "pipeline"

    def as_json(self) -> dict[str, Any]:
        """Grafana's rule: A the query, B the last value, C the comparison."""
        time = {"from": LOOK_BACK_SECONDS, "to": 0}
        query = {
            "refId": "A", "datasource": DATASOURCE, "editorType": "sql", "rawSql": self.sql.strip(), "format": TABLE, "queryType": "table",
            "pluginVersion": PLUGIN_VERSION,
        }  # fmt: skip
        reduce = {"refId": "B", "type": "reduce", "expression": "A", "reducer": "last"}
        compare = {
            "refId": "C", "type": "threshold", "expression": "B",
            "conditions": [{"evaluator": {"type": "gt", "params": [self.above]}}],
        }  # fmt: skip
        return {
            "uid": f"trainwatch-{self.uid}", "title": self.title, "condition": "C", "for": f"{self.minutes}m",
            "noDataState": "Alerting", "execErrState": "Error",
            "annotations": {"summary": self.summary, "description": self.description, "__dashboardUid__": f"trainwatch-{self.board}"},
            "labels": {"severity": self.severity, "service": "trainwatch"},
            "data": [
                {"refId": "A", "relativeTimeRange": time, "datasourceUid": DATASOURCE["uid"], "model": query},
                {"refId": "B", "relativeTimeRange": time, "datasourceUid": "__expr__", "model": reduce},
                {"refId": "C", "relativeTimeRange": time, "datasourceUid": "__expr__", "model": compare},
            ],
        }  # fmt: skip


RULES: Sequence[Rule] = (
    Rule(
        uid="nothing-stored", title="trainwatch: nothing is stored", above=900, minutes=5, severity="critical",
        summary="No range was made durable for {{ $values.B }} seconds",
        description="Workers are down or stuck, or Kafka is silent: `trainwatch status`, then /healthz of each worker.",
        sql="SELECT if(count() = 0, 86400, dateDiff('second', max(stored), now())) AS seconds FROM range_accounts "
        "WHERE stored >= now() - toIntervalDay(1)",
    ),
    Rule(
        uid="unaccounted", title="trainwatch: records are not accounted for", above=0, minutes=5, severity="critical",
        summary="{{ $values.B }} offsets of the last hour are neither written, listed nor known to be absent",
        description="Run `trainwatch verify`: it names the offsets.",
        sql=f"SELECT sum(unaccounted) AS records FROM {RANGES}",
    ),
    Rule(
        uid="dead-letters", title="trainwatch: many records are refused", above=0.01, minutes=10, severity="warning",
        summary="More than one record in a hundred was refused in the last hour",
        description="A format changed or a shipper is wrong: `trainwatch dlq list`.",
        sql="SELECT sum(arrayCount(code -> code NOT IN ('control', 'nothing_to_keep', 'filtered', 'empty', 'tombstone'), codes))"
        f" / greatest(sum(read), 1) AS share\nFROM {RANGES}",
    ),
    Rule(
        uid="late", title="trainwatch: many events come late", above=0.05, minutes=30, severity="warning",
        summary="More than one event in twenty came behind the watermark in the last hour",
        description="A shipper lags or a clock is wrong: see `Is every source complete?`.",
        sql="SELECT if(count() = 0, 0, countIf(late) / count()) AS share FROM events WHERE ts >= now() - toIntervalHour(1)",
    ),
    Rule(
        uid="silent-source", title="trainwatch: a source is silent", above=0, minutes=15, severity="warning",
        summary="{{ $values.B }} sources of the last week have been silent for an hour, and for longer than is usual for them",
        description="Longer than five times the pause that 99 in 100 of their pauses keep within. What they would have said can neither "
        "acquit nor accuse: see `Which source was silent in which hour?`.",
        sql="""
SELECT countIf(seconds > greatest(3600, 5 * usual)) AS sources
FROM
(
    SELECT dateDiff('second', max(minute), now()) AS seconds,
        arraySort(groupUniqArray(toUnixTimestamp(toStartOfFifteenMinutes(minute)))) AS heard,
        arrayReduce('quantileExact(0.99)', arrayPopFront(arrayDifference(heard))) AS usual
    FROM traffic WHERE minute >= now() - toIntervalDay(7) AND minute <= now()
    GROUP BY cluster, source HAVING length(heard) > 1
)
""",
    ),
    Rule(
        uid="parts", title="trainwatch: ClickHouse has too many parts", above=0.5, minutes=10, severity="warning", board="clickhouse",
        summary="A partition is half way to the limit at which inserts are refused",
        description="Merges do not keep up: raise TRAINWATCH_CHECKPOINT__INTERVAL_SECONDS, or look at the disk. "
        "More workers make it worse.",
        sql="SELECT if(count() = 0, 0, max(parts) / (SELECT toUInt64(value) FROM system.merge_tree_settings "
        "WHERE name = 'parts_to_throw_insert')) AS share\n"
        "FROM (SELECT count() AS parts FROM system.parts WHERE active AND database = currentDatabase() GROUP BY table, partition_id)",
    ),
    Rule(
        uid="disk", title="trainwatch: ClickHouse's disk is nearly full", above=0.9, minutes=5, severity="critical", board="clickhouse",
        summary="Less than a tenth of the disk is free", description="Lower the retention, or add room: full, inserts are refused.",
        sql="SELECT max(1 - free_space / total_space) AS used FROM system.disks WHERE total_space > 0",
    ),
)  # fmt: skip


def as_json() -> dict[str, Any]:
    """The file of rules."""
    group = {
        "orgId": 1, "name": "trainwatch pipeline", "folder": "trainwatch operation", "interval": "1m",
        "rules": [rule.as_json() for rule in RULES],
    }  # fmt: skip
    return {"apiVersion": 1, "groups": [group]}
