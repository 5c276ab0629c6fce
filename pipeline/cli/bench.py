"""`trainwatch bench ingest | pipeline`: how fast this machine is, and whether the transport keeps what it promises.

ingest      consumers that decode JSON and do nothing else, side by side: `pipeline/runtime/bench.py`
pipeline    a worker process, as operators run it, on preloaded simulated records: all stages, checkpoints and inserts included
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
import psutil
import yaml

from pipeline.cli import Options, say
from pipeline.cli.console import build_table, stdout
from pipeline.errors import FatalError, ServerFailed

if TYPE_CHECKING:
    from pipeline.settings import Settings
    from pipeline.simulate import Week

TOO_SLOW = 3
POLL_SECONDS = 0.4
TAKEN_OVER = b"partitions taken over"  # the worker's log, when it begins to read
WAIT_SECONDS_MAX = 900.0
STOP_SECONDS = 60.0


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


@bench.command()
@click.option("--days", type=click.FloatRange(min=1), default=7.0, show_default=True, help="Length of the simulated period.")
@click.option("--partitions", type=click.IntRange(1, 64), default=4, show_default=True, help="Partitions per topic.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.pass_context
def pipeline(ctx: click.Context, /, days: float, partitions: int, as_json: bool) -> None:
    """One real worker over a simulated period: from Kafka through all stages into ClickHouse.

    On embedded servers of its own, which are ended and removed.  All records are in Kafka before the worker starts; what is measured
    begins when it has taken its partitions over and ends when nothing waits any more.  Exit 0: measured; 1: something failed.
    """
    from pipeline.simulate import simulate  # noqa: PLC0415  keeps --help quick

    week = simulate(1, days)
    with tempfile.TemporaryDirectory(prefix="trainwatch-bench-") as folder:
        took = _drive(ctx.ensure_object(Options).settings, week, Path(folder), partitions)
    if as_json:
        click.echo(msgspec.json.encode(took).decode())
        return
    click.echo(f"{took.records} records in {took.seconds:.1f} s, {took.cpu_seconds:.1f} CPU s of the worker")
    click.echo(f"{took.records / took.seconds:.0f} records/s, {took.records / took.cpu_seconds:.0f} records per CPU second")


class Took(msgspec.Struct, frozen=True):
    """What a worker took."""

    records: int
    seconds: float
    cpu_seconds: float


def _drive(settings: "Settings", week: "Week", folder: Path, partitions: int) -> Took:
    """Servers, preloaded records, a worker until all is done; then everything ends."""
    from pipeline import settings as settings_module  # noqa: PLC0415  keeps --help quick
    from pipeline.embedded import servers  # noqa: PLC0415
    from pipeline.model.outcome import Record  # noqa: PLC0415
    from pipeline.runtime.admin import Admin  # noqa: PLC0415
    from pipeline.runtime.replay import send  # noqa: PLC0415
    from pipeline.sink import migrate  # noqa: PLC0415
    from pipeline.sink.clickhouse import Database  # noqa: PLC0415
    from pipeline.topology import build_topology  # noqa: PLC0415

    path = folder / settings_module.SETTINGS_FILE
    embedded = {"directory": str(folder / "servers"), "kafka_heap_mib": settings.embedded.kafka_heap_mib}
    path.write_text(yaml.safe_dump({**week.settings, "embedded": embedded, "kafka": {"partitions": partitions}}), encoding="utf-8")
    own = settings_module.load(path)
    try:
        servers.up(own, say=say)
        site = servers.connected(own)
        with Database(site.clickhouse) as database:
            migrate.up(database, say=_silent)
        with Admin(site, build_topology(site)) as admin:
            admin.ensure()
        records = (
            Record(
                topic=each.topic,
                partition=number,
                offset=number,
                timestamp=each.timestamp,
                value=each.value,
                key=each.key,
                headers=each.headers,
            )
            for number, each in enumerate(week.records)
        )
        send(site, records, final=True)
        say(f"{len(week.records)} records are in Kafka; the worker starts")
        return _measured(site, path)
    finally:
        servers.down(own, say=say)


def _measured(site: "Settings", path: Path) -> Took:
    from pipeline.runtime.following import caught_up  # noqa: PLC0415  keeps --help quick
    from pipeline.topology import build_topology  # noqa: PLC0415

    topology = build_topology(site)
    total = caught_up(site, topology).input_lag
    package = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH", ""))))}
    command = [sys.executable, "-m", "pipeline", "--settings", str(path), "worker"]
    log = path.with_name("worker.log")
    with log.open("wb") as out:
        worker = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=environment)
    process = psutil.Process(worker.pid)
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    begun: tuple[float, float] | None = None
    try:
        while True:
            if begun is None:
                if TAKEN_OVER in log.read_bytes():
                    begun = time.monotonic(), sum(process.cpu_times()[:2])
            elif caught_up(site, topology).done:
                return Took(total, time.monotonic() - begun[0], sum(process.cpu_times()[:2]) - begun[1])
            if worker.poll() is not None or time.monotonic() > deadline:
                raise FatalError(f"the worker ended or is late:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(POLL_SECONDS)
    finally:
        worker.terminate()
        try:
            worker.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            worker.kill()


def _silent(_: str) -> None:
    """Migrations need no lines here."""


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
