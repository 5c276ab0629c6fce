"""Pipeline health: what arrives, how late, what is refused, and where nothing was heard."""

from deploy.grafana.panels import (
    BLUE,
    CLUSTER,
    GREEN,
    IN_CLUSTER,
    ORANGE,
    RED,
    YELLOW,
    Board,
    Column,
    Panel,
    named_series,
)  # fmt: skip

EVENTS = f"FROM events WHERE $__timeFilter_ms(ts) AND {IN_CLUSTER}"
# Counts alone, of which the server keeps sums per minute.
TRAFFIC = f"FROM traffic AS t WHERE $__timeFilter(minute) AND {IN_CLUSTER}"
# A backlog or a replay arrives long after what it tells of: both the period and the last day are of interest.  There is a range a second
# and partition, so what was noted again after a crash is not sought out: it counts twice until the server merges it, and 0 stays 0.
ARRIVED = "($__timeFilter(stored) OR stored >= now() - toIntervalDay(1))"
RANGES = f"(SELECT * FROM range_accounts WHERE {ARRIVED})"
STOOD = "(SELECT * FROM standings WHERE $__timeFilter(_inserted) OR _inserted >= now() - toIntervalDay(1))"

NEWEST = Panel(
    kind="stat", title="How old is the newest event?", width=6, height=4, unit="s", thresholds=((None, GREEN), (600, YELLOW), (3600, RED)),
    description="From the newest event time to the end of the period, or now.", no_value="No events in this period",
    sql=f"SELECT if(count() = 0, NULL, dateDiff('second', max(ts_max), least($__toTime, now()))) AS seconds {TRAFFIC}",
)  # fmt: skip
LATE = Panel(
    kind="stat", title="How many events came behind the watermark?", width=6, height=4, unit="percentunit", decimals=3,
    thresholds=((None, GREEN), (0.001, YELLOW), (0.01, RED)), no_value="No events in this period",
    description="Share of late events. They are stored and shown, and are judged when they come within the grace.",
    sql=f"SELECT if(count() = 0, NULL, sum(t.late) / sum(t.events)) AS late {TRAFFIC}",
)  # fmt: skip
REFUSED = Panel(
    kind="stat", title="How many records were refused?", width=6, height=4, thresholds=((None, GREEN), (1, YELLOW), (1000, RED)),
    description="Records that became dead letters in the period or in the last day. `trainwatch dlq list` shows them.",
    no_value="Nothing arrived",
    sql=f"""
SELECT countIf(code NOT IN ('control', 'nothing_to_keep', 'filtered', 'empty', 'tombstone')) AS records
FROM (SELECT arrayJoin(codes) AS code FROM {RANGES})
""",
)  # fmt: skip
UNACCOUNTED = Panel(
    kind="stat", title="How many records are not accounted for?", width=6, height=4, thresholds=((None, GREEN), (1, RED)),
    description="Offsets read that are neither written, nor listed, nor known to be absent. Anything but 0 is a loss, or a range from "
    "before absent offsets were noted: `trainwatch verify` tells which.",
    no_value="Nothing arrived",
    sql=f"SELECT sum(unaccounted) AS records FROM {RANGES}",
)  # fmt: skip
RATES = Panel(
    kind="timeseries", title="How much comes from each source?", width=12, unit="cps", no_value="No events in this period",
    description="Events per second of event time.",
    sql=f"""
SELECT $__timeInterval(minute) AS time, source, sum(t.events) / greatest($__interval_s, 60) AS events
{TRAFFIC} GROUP BY time, source ORDER BY time, source
""",
)  # fmt: skip
LATENESS = Panel(
    kind="timeseries", title="When did events come late or from the future?", width=12, bars=True, stacked=True,
    columns=named_series({"late": ORANGE, "future": RED}), no_value="No events in this period",
    description="Late: behind the watermark. Future: ahead of their own collection, which is a wrong clock or zone.",
    sql=f"SELECT $__timeInterval(minute) AS time, sum(t.late) AS late, sum(t.future) AS future {TRAFFIC} GROUP BY time ORDER BY time",
)  # fmt: skip
LAG = Panel(
    kind="timeseries", title="How long from Kafka to here?", width=12, unit="s", expects_rows=False,
    columns=named_series({"median": BLUE, "slowest_tenth": ORANGE}), no_value="Nothing came within a day of being written",
    description="By the time at which records were written to Kafka; those that came more than a day later are a replay and are left out.",
    sql=f"""
SELECT $__timeInterval(ts) AS time, quantile(0.5)(dateDiff('second', kafka_time, _inserted)) AS median,
    quantile(0.9)(dateDiff('second', kafka_time, _inserted)) AS slowest_tenth
{EVENTS} AND _inserted < kafka_time + toIntervalDay(1) GROUP BY time ORDER BY time
""",
)  # fmt: skip
BEHIND = Panel(
    kind="barchart", title="How far behind is each source's watermark?", width=12, horizontal=True, unit="s",
    columns={"seconds": Column(color=YELLOW)}, no_value="No attempt was judged in this period",
    description="From the end of the period, or now, back to where the newest judgement stood. Nothing is final before all have passed.",
    sql=f"""
SELECT source, greatest(dateDiff('second', fromUnixTimestamp64Milli(passed), least($__toTime, now())), 0) AS seconds
FROM
(
    SELECT argMax(watermarks, _version) AS newest FROM verdicts
    WHERE $__timeFilter_ms(end_time) AND {IN_CLUSTER} AND notEmpty(watermarks)
)
ARRAY JOIN mapKeys(newest) AS source, mapValues(newest) AS passed
ORDER BY source
""",
)  # fmt: skip
STANDING = Panel(
    kind="table", title="How far behind is each stage, and how much does it remember?", width=24, height=9, no_value="No worker stood by",
    description="As workers told it last, in the period or in the last day, by the clock. Behind: the oldest wait among its partitions. "
    "A stage that stands still while records wait: `/healthz` of its worker says why.",
    columns={
        "behind": Column(unit="s"), "state": Column(unit="bytes"), "largest_partition": Column(unit="bytes"),
    },
    sql=f"""
SELECT stage, topic, count() AS partitions, sum(s.newest_lag) AS waiting, max(s.behind) AS behind, max(s.most) AS worst_partition_waited,
    sum(s.bytes) AS state, max(s.bytes) AS largest_partition, sum(s.cases) AS cases, max(s.told) AS told
FROM
(
    SELECT stage, topic, partition, argMax(lag, _inserted) AS newest_lag, argMax(lag_seconds, _inserted) AS behind, max(lag) AS most,
        argMax(state_bytes, _inserted) AS bytes, argMax(state_cases, _inserted) AS cases, max(_inserted) AS told
    FROM {STOOD} GROUP BY stage, topic, partition
) AS s
GROUP BY stage, topic ORDER BY stage, topic LIMIT 200
""",
)  # fmt: skip
WAITING = Panel(
    kind="timeseries", title="How many records wait to be read?", width=12, height=6, expects_rows=False,
    description="Per topic, the most in each interval, by the clock of the server. Growth without end: too few workers, or one that hangs.",
    no_value="No worker stood by in this period",
    sql="""
SELECT time, topic, sum(s.most) AS waiting
FROM (SELECT $__timeInterval(_inserted) AS time, topic, partition, max(lag) AS most FROM standings WHERE $__timeFilter(_inserted)
    GROUP BY time, topic, partition) AS s
GROUP BY time, topic ORDER BY time, topic
""",
)  # fmt: skip
REMEMBERED = Panel(
    kind="timeseries", title="How much do workers remember?", width=12, height=6, unit="bytes", expects_rows=False,
    description="State per stage as it is kept in Kafka, by the clock of the server. It levels off when the days of `retention` are full.",
    no_value="No worker stood by in this period",
    sql="""
SELECT time, stage, sum(s.bytes) AS state
FROM (SELECT $__timeInterval(_inserted) AS time, stage, topic, partition, max(state_bytes) AS bytes FROM standings
    WHERE $__timeFilter(_inserted) GROUP BY time, stage, topic, partition) AS s
GROUP BY time, stage ORDER BY time, stage
""",
)  # fmt: skip
COVERAGE = Panel(
    kind="heatmap", title="Which source was silent in which hour?", width=24, height=9, no_value="No events in this period",
    description="Events per source and hour. An empty cell is silence: what would stand there cannot acquit or accuse.",
    sql=f"SELECT toStartOfHour(minute) AS time, source, sum(t.events) AS events {TRAFFIC} GROUP BY time, source ORDER BY time, source",
)  # fmt: skip
SOURCES = Panel(
    kind="table", title="Is every source complete?", width=14, no_value="No events in this period",
    description="Per source: hours of the period in which it was heard, hosts, duplicates, and delay from event to Kafka.",
    columns={
        "late": Column(unit="percentunit", decimals=2), "heard": Column(unit="percentunit", decimals=0),
        "delay": Column(unit="s", decimals=1),
    },
    sql=f"""
SELECT source, count() AS events, uniq(host) AS hosts,
    least(uniq(toStartOfHour(ts)) / greatest(dateDiff('hour', $__fromTime, $__toTime), 1), 1) AS heard, avg(late) AS late,
    countIf(future) AS future, quantile(0.9)(dateDiff('millisecond', ts, kafka_time)) / 1000 AS delay, max(ts) AS last
{EVENTS} GROUP BY source ORDER BY source
""",
)  # fmt: skip
CODES = Panel(
    kind="barchart", title="Why were records not stored?", width=10, horizontal=True, columns={"records": Column(color=ORANGE)},
    description="Codes of records that were filtered or refused, in the period or in the last day.", no_value="All records were stored",
    sql=f"SELECT code, count() AS records FROM (SELECT arrayJoin(codes) AS code FROM {RANGES}) GROUP BY code "
    "ORDER BY records DESC LIMIT 30",
)  # fmt: skip
PROGRESS = Panel(
    kind="table", title="How far is each partition?", width=14, no_value="Nothing arrived",
    description="Ranges that were made durable, in the period or in the last day.",
    columns={"accounted": Column(unit="percentunit", decimals=3)},
    sql=f"""
SELECT topic, partition, count() AS ranges, max(hi) AS reached, sum(r.read) AS read, sum(r.written) AS written, sum(r.listed) AS listed,
    1 - sum(unaccounted) / sum(r.read) AS accounted
FROM {RANGES} AS r GROUP BY topic, incarnation, partition ORDER BY topic, partition LIMIT 500
""",
)  # fmt: skip
IDENTITY = Panel(
    kind="barchart", title="Whose acts cannot be told?", width=10, horizontal=True, stacked=True, maximum=1, unit="percentunit",
    columns={"unknown": Column(color=YELLOW), "known": Column(color=BLUE)}, no_value="No acts in this period",
    description="Share of touches on jobs by people whose identity is not known: `identities` of the settings lack them.",
    sql=f"""
SELECT source, avg(relation = 'unknown') AS unknown, avg(relation != 'unknown') AS known
FROM enriched_current WHERE $__timeFilter_ms(ts) AND {IN_CLUSTER} AND kind IN ('signal_sent', 'process_run', 'file_touched',
    'kill_request', 'login', 'privilege_used')
GROUP BY source ORDER BY source
""",
)  # fmt: skip

BOARD = Board(
    name="pipeline", title="Pipeline health", folder="operation", description="Rates, lag, state, lateness, refusals, coverage, ranges.",
    variables=(CLUSTER,), period=("now-24h", "now"),
    rows=(
        (NEWEST, LATE, REFUSED, UNACCOUNTED), (RATES, LATENESS), (COVERAGE,), (STANDING,), (WAITING, REMEMBERED), (LAG, BEHIND),
        (SOURCES, CODES), (PROGRESS, IDENTITY),
    ),
)  # fmt: skip
