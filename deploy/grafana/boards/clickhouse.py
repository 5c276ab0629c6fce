"""ClickHouse: are inserts, parts, merges and disk as they should be, and what is slow?

From `system` tables that every server has.  `query_log` may be off: `merge` reads whichever of the two tables there is.
"""

from deploy.grafana.panels import CLUSTER, GREEN, ORANGE, RED, YELLOW, Board, Column, Panel

OURS = "database = currentDatabase()"
PART_LIMIT = "(SELECT toUInt64(value) FROM system.merge_tree_settings WHERE name = 'parts_to_throw_insert')"

WORST = Panel(
    kind="stat", title="How near is a partition to the limit of parts?", width=6, height=4, unit="percentunit", decimals=2, maximum=1,
    thresholds=((None, GREEN), (0.3, YELLOW), (0.7, RED)), no_value="No tables",
    description="Parts of the fullest partition against `parts_to_throw_insert`, at which inserts are refused.",
    sql=f"""
SELECT if(count() = 0, NULL, max(parts)) / {PART_LIMIT} AS share
FROM (SELECT count() AS parts FROM system.parts WHERE active AND {OURS} GROUP BY table, partition_id)
""",
)  # fmt: skip
DISK = Panel(
    kind="stat", title="How full is the disk?", width=6, height=4, unit="percentunit", decimals=1, maximum=1,
    thresholds=((None, GREEN), (0.75, YELLOW), (0.9, RED)), no_value="No disk is known",
    description="Of the fullest disk. At 100 % inserts are refused and workers wait.",
    sql="SELECT max(1 - free_space / total_space) AS used FROM system.disks WHERE total_space > 0",
)  # fmt: skip
MERGES = Panel(
    kind="stat", title="How many merges run?", width=6, height=4, thresholds=((None, GREEN), (20, YELLOW)), no_value="None",
    description="A number that stays high while parts grow: inserts are too small, or the disk is too slow.",
    sql="SELECT count() AS merges FROM system.merges",
)  # fmt: skip
REFUSED = Panel(
    kind="stat", title="How many inserts were delayed or refused?", width=6, height=4, thresholds=((None, GREEN), (1, ORANGE)),
    no_value="None", description="Since the server started, for too many parts.",
    sql="SELECT sum(value) AS inserts FROM system.events WHERE event IN ('DelayedInserts', 'RejectedInserts')",
)  # fmt: skip
TABLES = Panel(
    kind="table", title="How large is each table?", width=24, height=9, no_value="No tables: run `trainwatch migrate up`",
    description="Active parts only.",
    columns={"disk": Column(unit="bytes"), "memory_of_keys": Column(unit="bytes"), "bytes_a_row": Column(unit="bytes", decimals=0)},
    sql=f"""
SELECT table, sum(p.rows) AS rows, sum(p.bytes_on_disk) AS disk, sum(p.bytes_on_disk) / greatest(sum(p.rows), 1) AS bytes_a_row,
    count() AS parts, uniq(partition_id) AS partitions, max(modification_time) AS changed,
        sum(primary_key_bytes_in_memory) AS memory_of_keys
FROM system.parts AS p WHERE active AND {OURS} GROUP BY table ORDER BY disk DESC
""",
)  # fmt: skip
INSERTS = Panel(
    kind="timeseries", title="How many rows were written, and when?", width=12, bars=True, stacked=True, expects_rows=False,
    no_value="No part is from this period",
    description="Rows of active parts by when they were last written or merged. Merged parts move to the time of their merge.",
    sql=f"""
SELECT $__timeInterval(modification_time) AS time, table, sum(p.rows) AS rows
FROM system.parts AS p WHERE active AND {OURS} AND $__timeFilter(modification_time) GROUP BY time, table ORDER BY time, table
""",
)  # fmt: skip
PARTS = Panel(
    kind="barchart", title="Which partitions have most parts?", width=12, horizontal=True, no_value="No tables",
    description="Active parts per table and week.", columns={"parts": Column(color=ORANGE)},
    sql=f"""
SELECT concat(table, ' ', partition) AS partition, count() AS parts FROM system.parts
WHERE active AND {OURS} GROUP BY partition ORDER BY parts DESC LIMIT 20
""",
)  # fmt: skip
RUNNING = Panel(
    kind="table", title="Which merges run now?", width=12, no_value="No merge runs", expects_rows=False,
    description="Merges and mutations under way.",
    columns={"running": Column(unit="s"), "progress": Column(unit="percentunit", decimals=0), "size": Column(unit="bytes")},
    sql="SELECT table, elapsed AS running, progress, num_parts AS parts, total_size_bytes_compressed AS size, is_mutation "
    "FROM system.merges ORDER BY elapsed DESC LIMIT 50",
)  # fmt: skip
QUERIES = Panel(
    kind="table", title="Which queries read most?", width=12, no_value="No query is known",
    description="Those that run now and, where the server keeps `query_log`, those that ended, by rows read; not the server's own.",
    columns={
        "memory_usage": Column(unit="bytes"), "elapsed": Column(unit="s"), "query_duration_ms": Column(unit="ms"),
        "query": Column(width=500),
    },
    sql="""
SELECT COLUMNS('^(event_time|user|query_duration_ms|elapsed|read_rows|memory_usage|query)$')
FROM merge('system', '^(query_log|processes)$') WHERE user != '' ORDER BY read_rows DESC LIMIT 50
""",
)  # fmt: skip
ERRORS = Panel(
    kind="table", title="Which errors did the server raise?", width=24, no_value="None", expects_rows=False,
    description="Since the server started, the most frequent first. TYPE_MISMATCH and NOT_IMPLEMENTED come from its planning of these "
    "dashboards' own queries, which are answered all the same.",
    sql="SELECT name, value AS times, last_error_time AS last, last_error_message AS message FROM system.errors "
    "ORDER BY value DESC LIMIT 30",
)  # fmt: skip

BOARD = Board(
    name="clickhouse", title="ClickHouse", folder="operation", description="Parts, merges, disk, sizes and slow queries of the database.",
    variables=(CLUSTER,), period=("now-24h", "now"),
    rows=((WORST, DISK, MERGES, REFUSED), (TABLES,), (INSERTS, PARTS), (RUNNING, QUERIES), (ERRORS,)),
)  # fmt: skip
