"""`trainwatch status`: do the servers run, how far is each stage, what was not stored, and which sources cannot be read?

Servers are asked themselves; the rest is as workers noted it in ClickHouse (`standings`, `coverage_gaps` every 15 s, `range_accounts`), so
that whoever reaches ClickHouse can look, from any machine.
"""

import math
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import click
import msgspec

from pipeline.cli import Options, examples, say, say_json
from pipeline.cli.times import Since
from pipeline.errors import FatalError, TransientError
from pipeline.model.words import many

if TYPE_CHECKING:
    from rich.console import Group

SILENT_SECONDS = 60  # four notes of a worker were due
DAY_SECONDS = 86_400
AWAY_SECONDS = 2.0  # for whoever did not answer a greeting within five
MIB = 1 << 20
UNKNOWN = "not all is known: "
STAGES = """
SELECT stage, count() AS partitions, uniqExact(worker) AS workers, sum(behind) AS lag, max(age) AS lag_seconds, sum(bytes) AS state_bytes,
    min(noted) AS noted_at, countIf(noted < now() - %(silent)s) AS silent
FROM
(
    SELECT stage, topic, partition, argMax(worker, _inserted) AS worker, argMax(lag, _inserted) AS behind,
        argMax(lag_seconds, _inserted) AS age, argMax(state_bytes, _inserted) AS bytes, max(_inserted) AS noted
    FROM {db}.standings WHERE _inserted >= fromUnixTimestamp64Milli(%(since)s) GROUP BY stage, topic, partition
)
GROUP BY stage ORDER BY indexOf(%(order)s, stage)
"""
RECORDS = """
SELECT topic, toUInt64(sum(read)) AS read, toUInt64(sum(written)) AS written, sum(unaccounted) AS unaccounted,
    toUInt64(sum(overtaken)) AS overtaken, arrayFlatten(groupArray(codes)) AS codes
FROM (SELECT DISTINCT * EXCEPT stored FROM {db}.range_accounts WHERE stored >= fromUnixTimestamp64Milli(%(since)s))
GROUP BY topic ORDER BY topic
"""

GAPS = """
SELECT cluster, source, host, sum(unread) AS unread, min(first_time) AS first_time, max(last_time) AS last_time
FROM {db}.coverage_gaps WHERE hour >= toStartOfHour(fromUnixTimestamp64Milli(%(since)s))
GROUP BY cluster, source, host ORDER BY source, cluster, host
"""
GAPS_SHOWN = 20


@click.command(epilog=examples("status", "status --follow", "status --since 24h --json | jq .stages"))
@click.option(
    "--since", type=Since(), default="1h", show_default=True, help="What workers noted since then: 30m, 2h, 7d, or a time with offset."
)
@click.option("--follow", is_flag=True, help="Go on, and show it again every two seconds.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output; with --follow one a line.")
@click.pass_context
def status(ctx: click.Context, since: int, follow: bool, as_json: bool) -> None:
    """Tell which servers run, how far each stage is, and which records were not stored.

    Exit 0: both servers run, or answer where settings name them; 3: at least one does not.  Whether nothing is lost: `trainwatch verify`;
    whether settings fit: `trainwatch check`.
    """
    options = ctx.ensure_object(Options)
    if not follow:
        found = _look(options, since)
        _tell(found, options, as_json=as_json)
        ctx.exit(0 if found["all_running"] else 3)
    _follow(options, since, as_json=as_json)


def _look(options: Options, since: int) -> "dict[str, Any]":
    """All that is told, as `--json` has it.  What ClickHouse does not answer is absent, and `why` says so."""
    from pipeline.cli.asking import clickhouse, rows  # noqa: PLC0415  keeps --help quick
    from pipeline.embedded import servers  # noqa: PLC0415
    from pipeline.topology import build_topology  # noqa: PLC0415

    found = servers.status(options.settings)
    said = {**msgspec.to_builtins(found), "all_running": found.all_running}
    order = [stage.name for stage in build_topology(options.settings).stages]
    asked = {"since": since, "silent": SILENT_SECONDS, "order": order}
    # One that hangs is asked once more, in short, for its reason: whoever runs this wants to know which server is away.
    away = found.clickhouse.state not in (servers.State.RUNNING, servers.State.EXTERNAL_OK)
    try:
        with clickhouse(options, seconds_max=AWAY_SECONDS if away else math.inf) as database:
            said["stages"] = [{**row, "noted_at": row["noted_at"].isoformat()} for row in rows(database, STAGES, asked)]
            said["records"] = [{**row, "codes": dict(Counter(row["codes"]).most_common())} for row in rows(database, RECORDS, asked)]
            times = ("first_time", "last_time")  # asked last: before its migration the rest is told all the same
            said["unreadable"] = [{**row, **{name: row[name].isoformat() for name in times}} for row in rows(database, GAPS, asked)]
    except (FatalError, TransientError) as error:
        said["why"] = f"{error}\n  what to do: {error.advice}" if error.advice else str(error)
    return said


def _follow(options: Options, since: int, *, as_json: bool) -> None:
    """Until Ctrl-C: in place on a terminal, else one after the other."""
    from rich.console import Group  # noqa: PLC0415

    from pipeline.cli.console import safe, stdout  # noqa: PLC0415
    from pipeline.cli.following import watch  # noqa: PLC0415

    def shown(found: "Mapping[str, Any]") -> "Group":
        return Group(_shown(found, options), *([safe(UNKNOWN + found["why"])] if "why" in found else []))

    console = stdout()
    live = console if console.is_terminal and not as_json else None
    watch(partial(_look, options, since), partial(_tell, options=options, as_json=as_json), shown, console=live)


def _tell(found: "Mapping[str, Any]", options: Options, *, as_json: bool) -> None:
    from pipeline.cli.console import stdout  # noqa: PLC0415

    if as_json:
        say_json(msgspec.json.encode(found))
        return
    stdout().print(_shown(found, options))
    if "why" in found:
        say(UNKNOWN + found["why"])


def _shown(found: "Mapping[str, Any]", options: Options) -> "Group":
    """As tables."""
    from rich.console import Group  # noqa: PLC0415

    from pipeline.cli.console import build_table, moment, safe  # noqa: PLC0415
    from pipeline.embedded import files  # noqa: PLC0415

    logs = files.Layout(options.settings.embedded.directory)
    running = build_table("Servers", "server", "state", "address", "process")
    for name in ("kafka", "clickhouse"):
        server = found[name]
        process = f"pid {server['pid']}, {server['data_mib']} MiB on disk" if server["pid"] else ""
        if server["restarts"]:
            process += f", restarted {server['restarts']}x, see {logs.output(name)}"
        running.add_row(name, server["state"], " ".join(server["addresses"]), safe(process))
    if "records" not in found:
        return Group(running)
    heads = ("stage", "partitions", "workers", "records that wait", "behind", "remembers")
    warned = any(stage["silent"] for stage in found["stages"])
    stages = build_table("Stages, as their workers noted", *heads, *[""] * warned)
    for stage in found["stages"]:
        silent = f"no worker reports on {many(stage['silent'], 'partition')}" if stage["silent"] else ""
        behind = "-" if stage["lag_seconds"] is None else _span(stage["lag_seconds"])
        remembers = f"{stage['state_bytes'] / MIB:,.1f} MiB"
        stages.add_row(
            stage["stage"], *map(str, (stage["partitions"], stage["workers"])), f"{stage['lag']:,}", behind, remembers, *[silent] * warned
        )
    gone = any(topic["overtaken"] for topic in found["records"])
    columns = ("topic", "read", "stored", "not stored, and why", "not accounted for")
    records = build_table("Records", *columns, *["deleted by Kafka before they were read"] * gone)
    for topic in found["records"]:
        codes = ", ".join(f"{safe(code)} {count:,}" for code, count in topic["codes"].items())
        counts = (f"{topic['read'] - topic['overtaken']:,}", f"{topic['written']:,}", codes, f"{topic['unaccounted']:,}")
        records.add_row(safe(topic["topic"]), *counts, *[f"{topic['overtaken']:,}"] * gone)
    none = [] if found["stages"] else ["No worker noted anything: is one running (`trainwatch worker`)?  --since looks back further."]
    gaps = build_table("Sources that cannot be read any more", "cluster", "source", "host", "lines, at least", "first", "last")
    unreadable = found.get("unreadable", [])
    for gap in unreadable[:GAPS_SHOWN]:
        times = (moment(datetime.fromisoformat(gap[name])) for name in ("first_time", "last_time"))
        gaps.add_row(*(safe(gap[name]) for name in ("cluster", "source", "host")), f"{gap['unread']:,}", *times)
    more = len(unreadable) - GAPS_SHOWN
    left_out = [f"and {more} more: --json shows all"] if more > 0 else []
    return Group(running, stages, records, *none, *([gaps] if unreadable else []), *left_out)


def _span(seconds: int) -> str:
    """How long ago what waits was sent; of logs of a year ago that are read today, days."""
    return f"{seconds:,} s" if seconds < 2 * DAY_SECONDS else f"{seconds // DAY_SECONDS:,} days"
