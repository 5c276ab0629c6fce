"""`trainwatch topics create | list | acl`: the topics of the pipeline on the broker, and who needs which rights to them."""

import click
import msgspec

from pipeline.cli import Options, examples, say, say_json
from pipeline.model.words import many


@click.command(epilog=examples("topics list", "topics create", "topics acl --role reader --principal reader=User:siem"))
@click.argument("action", type=click.Choice(["create", "list", "acl"]), default="list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.option("--role", "roles", multiple=True, help="acl: of this role only; may be repeated.")
@click.option(
    "--principal", "named", multiple=True, metavar="ROLE=PRINCIPAL", help="acl: as the broker calls it; default User:trainwatch-ROLE."
)
@click.pass_context
def topics(ctx: click.Context, action: str, as_json: bool, roles: tuple[str, ...], named: tuple[str, ...]) -> None:
    """Make the topics that are missing (create), or tell which there are (list), or which rights accounts need (acl).

    A second `create` changes nothing.  `acl` asks no broker: it prints the least rights of the roles shipper, worker, notifier, reader,
    investigator, reviewer, labeller and operator as commands for Kafka's administrator, or with --json as entries.

    Exit 0: all are there and fit; 1: the broker does not answer; 2: one does not fit, or we are refused, and the message says which; 3:
    `list` found one missing.
    """
    from pipeline.embedded.servers import connected  # noqa: PLC0415  keeps --help quick
    from pipeline.runtime.admin import Admin  # noqa: PLC0415
    from pipeline.topology import build_topology  # noqa: PLC0415

    if action == "acl":
        _print_rights(ctx.ensure_object(Options), roles, named, as_json=as_json)
        return
    if roles or named:
        raise click.UsageError("--role and --principal belong to `topics acl`")
    settings = connected(ctx.ensure_object(Options).settings, clickhouse=False)
    with Admin(settings, build_topology(settings)) as admin:
        created = admin.ensure() if action == "create" else []
        found = admin.describe()
    missing = [topic.name for topic in found if topic.partitions == 0]
    if as_json:
        say_json(msgspec.json.encode({"created": created, "missing": missing, "topics": found}))
    elif action == "create":
        say(f"{many(len(created), 'topic')} created, {len(found) - len(created)} were there" if created else "all topics are there")
    else:
        for topic in found:
            click.echo(f"{topic.role:<8}{topic.partitions or 'missing':>8}  {topic.name}")
    ctx.exit(3 if missing else 0)


def _print_rights(options: Options, roles: tuple[str, ...], named: tuple[str, ...], *, as_json: bool) -> None:
    from pipeline.runtime import rights  # noqa: PLC0415  keeps --help quick
    from pipeline.topology import build_topology  # noqa: PLC0415

    given = dict(each.partition("=")[::2] for each in named)
    who = rights.principals(given)
    if strange := [role for role in (*roles, *given) if role not in who]:
        raise click.UsageError(f"no role {strange[0]!r}: there are {', '.join(who)}")
    if bare := [role for role, principal in given.items() if ":" not in principal]:
        raise click.UsageError(f"--principal {bare[0]}: write TYPE:NAME, for example {bare[0]}=User:{given[bare[0]] or 'name'}")
    who = {role: principal for role, principal in who.items() if role in roles or not roles}
    found = rights.rights(options.settings, build_topology(options.settings), who)
    if as_json:
        say_json(msgspec.json.encode({"rights": found}))
        return
    for line in rights.commands(found, options.settings.kafka.bootstrap_servers or "BROKER:9093"):
        click.echo(line)
