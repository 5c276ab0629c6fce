"""`trainwatch bench ingest`: how fast this machine reads, and whether our transport keeps what it promises."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from pipeline.cli import Options, say
from pipeline.cli.console import build_table, stdout
from pipeline.errors import ServerFailed

if TYPE_CHECKING:
    from pipeline.settings import Settings

TOO_SLOW = 3


@click.group()
def bench() -> None:
    """Measure speed on a real broker."""


@bench.command()
@click.option("--records", type=click.IntRange(min=100_000), default=500_000, show_default=True, help="Records to preload and read.")
@click.option("--rounds", type=click.IntRange(1, 25), default=3, show_default=True, help="Interleaved rounds; medians are told.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.pass_context
def ingest(ctx: click.Context, /, records: int, rounds: int, as_json: bool) -> None:
    """Bare JSON ingest: the batch transport against stock Faust and against aiokafka by hand.

    On the configured broker, else the embedded one, else one that is started for this and ended.  Exit 0: both required ratios are
    reached; 1: something failed; 3: a ratio is below.
    """
    from pipeline.runtime import bench as measure  # noqa: PLC0415  keeps --help quick

    with broker(ctx.ensure_object(Options).settings) as bootstrap:
        report = measure.ingest(bootstrap, records, rounds, say=say)
    if as_json:
        click.echo(msgspec.json.encode(report).decode())
    else:
        table = build_table("Bare JSON ingest", "consumer", "events/s per core", "CPU µs per event", "batch is", "required")
        compared = {
            "stock": (report.batch_to_stock, measure.BATCH_TO_STOCK_MIN),
            "aiokafka": (report.batch_to_aiokafka, measure.BATCH_TO_AIOKAFKA_MIN),
        }
        for name, rate in report.events_per_core_second.items():
            ratios = [f"{ratio:.2f} x" for ratio in compared.get(name, ())] or ["", ""]
            table.add_row(name, f"{rate:,.0f}", f"{1e6 / rate:.2f}", *ratios)
        stdout().print(table)
        say("both required ratios are reached" if report.reached else "a required ratio is NOT reached")
    ctx.exit(0 if report.reached else TOO_SLOW)


@contextmanager
def broker(settings: "Settings") -> Iterator[str]:
    """Address of a broker to measure on: configured, running, or started for this."""
    from pipeline.embedded import servers  # noqa: PLC0415  keeps --help quick

    if settings.kafka.bootstrap_servers:
        yield settings.kafka.bootstrap_servers
        return
    try:
        running = servers.connected(settings)
    except ServerFailed:
        with tempfile.TemporaryDirectory(prefix="trainwatch-bench-") as folder:
            embedded = settings.embedded.model_copy(
                update={"directory": Path(folder), "kafka_port": 0, "clickhouse_port": 0, "clickhouse_http_port": 0}
            )
            own = settings.model_copy(update={"embedded": embedded})
            try:
                yield servers.up(own, say=say).kafka
            finally:
                servers.down(own, say=say)
    else:
        yield running.kafka.bootstrap_servers
