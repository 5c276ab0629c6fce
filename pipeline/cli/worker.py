"""`trainwatch worker`: one process of the pipeline, in the foreground.

Exit codes: 0 stopped by a signal, all work durable; 1 ended by an error, which is printed; 2 wrong settings or topics, or an instance id
that another live process uses; 3 hung for `worker.stuck_seconds`, or did not stop within `checkpoint.shutdown_seconds` of a signal, and
ended itself with a traceback of all threads.  After 1 and 3 nothing uncommitted is lost: start it again.
"""

import logging

import click
from pydantic import ValidationError

from pipeline.cli import Options, complain, examples, say
from pipeline.errors import ConfigError
from pipeline.settings import WorkerSettings


@click.command(
    epilog=examples(
        "worker                                   # runs until SIGTERM or Ctrl-C",
        "worker --health-port 0 --verbose",
        "worker --alerts > trainwatch.rules.yaml",
    )
)
@click.option("--instance-id", help="Name of its own in the consumer group, kept over restarts; default: from host and slot.")
@click.option("--health-port", type=click.IntRange(0, 65_000), help="Port of /healthz, /readyz and /metrics; 0: off.")
@click.option("--verbose", is_flag=True, help="One log line per checkpoint and per rejected record.")
@click.option("--metrics", "wanted", flag_value="metrics", help="Print the table of metrics and end.")
@click.option("--alerts", "wanted", flag_value="alerts", help="Print suggested alert rules for Prometheus and end.")
@click.pass_context
def worker(ctx: click.Context, instance_id: str | None, health_port: int | None, verbose: bool, wanted: str | None) -> None:
    """Run the pipeline: read the input topics, write ClickHouse and the public topics, until a signal.

    Any number of workers share the work, on any number of machines; one per core.  Exit 0: stopped by a signal; 1: ended by an error;
    2: wrong settings or topics; 3: hung, and ended itself.
    """
    from pipeline.embedded.servers import connected  # noqa: PLC0415  keeps --help quick
    from pipeline.runtime import app as runtime  # noqa: PLC0415
    from pipeline.runtime import metrics, retention  # noqa: PLC0415
    from pipeline.runtime.admin import Admin  # noqa: PLC0415
    from pipeline.runtime.instance import claim  # noqa: PLC0415
    from pipeline.sink import migrate  # noqa: PLC0415
    from pipeline.sink.clickhouse import ClickHouseSink  # noqa: PLC0415
    from pipeline.topology import build_topology  # noqa: PLC0415

    if wanted:
        click.echo(metrics.table() if wanted == "metrics" else metrics.alert_rules(), nl=wanted == "metrics")
        return
    settings = connected(ctx.ensure_object(Options).settings)
    given = {"instance_id": instance_id, "health_port": health_port}
    asked = {name: value for name, value in given.items() if value is not None}
    try:
        part = WorkerSettings.model_validate({**settings.worker.model_dump(), **asked})
    except ValidationError as wrong:
        raise ConfigError(
            f"--instance-id {instance_id!r}: {wrong.errors()[0]['msg']}", advice="Letters, digits, . _ and - only."
        ) from wrong
    settings = settings.model_copy(update={"worker": part})
    instance = claim(settings)
    topology = build_topology(settings)
    with Admin(settings, topology) as admin:
        admin.check()
    with ClickHouseSink(settings.clickhouse) as sink:
        migrate.check(sink.database)
        app = runtime.build_app(settings, topology, sink, instance)
        read = [topic for stage in topology.stages for topic in stage.reads]
        app.vitals.retention_seconds = retention.seconds_by_topic(settings.kafka, read)
        named = f", instance {instance.name}" if instance.name else ""
        say(f"worker of group {settings.kafka.group}{named} on {settings.kafka.bootstrap_servers}; end it with Ctrl-C or SIGTERM")
        code = runtime.run(app, level=logging.DEBUG if verbose else logging.INFO)
    if code:
        error = runtime.explain(app.failure)
        complain(error)
        code = 2 if isinstance(error, ConfigError) else code
    ctx.exit(code)
