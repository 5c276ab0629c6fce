"""`trainwatch topics create | list`: the topics of the pipeline on the broker."""

import click
import msgspec

from pipeline.cli import Options, say


@click.command()
@click.argument("action", type=click.Choice(["create", "list"]), default="list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.pass_context
def topics(ctx: click.Context, action: str, as_json: bool) -> None:
    """Make the topics that are missing (create), or tell which there are (list).

    A second `create` changes nothing.  Exit 0: all are there and fit; 1: the broker does not answer; 2: one does not fit, and the
    message says which; 3: `list` found one missing.
    """
    from pipeline.embedded.servers import connected  # noqa: PLC0415  keeps --help quick
    from pipeline.runtime.admin import Admin  # noqa: PLC0415
    from pipeline.topology import build_topology  # noqa: PLC0415

    settings = connected(ctx.ensure_object(Options).settings, clickhouse=False)
    with Admin(settings, build_topology(settings)) as admin:
        created = admin.ensure() if action == "create" else []
        found = admin.describe()
    missing = [topic.name for topic in found if topic.partitions == 0]
    if as_json:
        click.echo(msgspec.json.encode({"created": created, "missing": missing, "topics": found}).decode())
    elif action == "create":
        say(f"{len(created)} topics created, {len(found) - len(created)} were there" if created else "all topics are there")
    else:
        for topic in found:
            click.echo(f"{topic.role:<8}{topic.partitions or 'missing':>8}  {topic.name}")
    ctx.exit(3 if missing else 0)
