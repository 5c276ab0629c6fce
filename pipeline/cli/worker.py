"""`trainwatch worker`: one process of the pipeline, in the foreground.

Exit codes: 0 stopped by a signal, all work durable; 1 ended by an error, which is printed; 2 wrong settings or topics; 3 did not stop
within `checkpoint.shutdown_seconds` of a signal and ended itself.  After 1 and 3 nothing uncommitted is lost: start it again.
"""

import logging

import click

from pipeline.cli import Options, complain, say
from pipeline.errors import ConfigError


@click.command()
@click.option("--instance-id", help="Static membership: a name of its own for each worker, kept over restarts; quicker take-over.")
@click.option("--verbose", is_flag=True, help="One log line per checkpoint and per rejected record.")
@click.pass_context
def worker(ctx: click.Context, instance_id: str | None, verbose: bool) -> None:
    """Run the pipeline: read the input topics, write ClickHouse and the public topics, until a signal.

    Any number of workers share the work, on any number of machines; one per core.  Exit 0: stopped by a signal; 1: ended by an error;
    2: wrong settings or topics; 3: had to end itself while stopping.
    """
    from pipeline.embedded.servers import connected  # noqa: PLC0415  keeps --help quick
    from pipeline.runtime import app as runtime  # noqa: PLC0415
    from pipeline.runtime.admin import Admin  # noqa: PLC0415
    from pipeline.sink import migrate  # noqa: PLC0415
    from pipeline.sink.clickhouse import ClickHouseSink  # noqa: PLC0415
    from pipeline.topology import build_topology  # noqa: PLC0415

    settings = connected(ctx.ensure_object(Options).settings)
    if instance_id:
        settings = settings.model_copy(update={"worker": settings.worker.model_copy(update={"instance_id": instance_id})})
    topology = build_topology(settings)
    with Admin(settings, topology) as admin:
        admin.check()
    with ClickHouseSink(settings.clickhouse) as sink:
        migrate.check(sink.database)
        app = runtime.build_app(settings, topology, sink)
        say(f"worker of group {settings.kafka.group} on {settings.kafka.bootstrap_servers}; end it with Ctrl-C or SIGTERM")
        code = runtime.run(app, level=logging.DEBUG if verbose else logging.INFO)
    if code:
        error = runtime.explain(app.failure)
        complain(error)
        code = 2 if isinstance(error, ConfigError) else code
    ctx.exit(code)
