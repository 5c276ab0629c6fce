"""`trainwatch migrate`: the tables of this release in ClickHouse, and back."""

import sys
from typing import TYPE_CHECKING

import click
import msgspec

from pipeline.cli import Options, examples, say, say_json
from pipeline.model.words import many

if TYPE_CHECKING:
    from pipeline.sink.clickhouse import Database

NOT_DONE = 3


@click.command(epilog=examples("migrate up --dry-run", "migrate up", "migrate down --to 23"))
@click.argument("action", type=click.Choice(["up", "down", "status"]), default="up")
@click.option("--to", type=click.IntRange(min=0), help="down: the number that stays; 0 drops all tables with their rows.")
@click.option("--dry-run", is_flag=True, help="Tell what would be done, and do nothing.")
@click.option("--yes", is_flag=True, help="down: without asking.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.pass_context
def migrate(ctx: click.Context, action: str, to: int | None, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Bring the tables in ClickHouse to this release (up), back (down --to N), or tell where they are (status).

    A second `up` changes nothing.  `down` takes tables and columns away with what is in them, so it asks; without a terminal it does
    nothing unless --yes is given.

    Exit 0: done, and with `status` all applied; 1: refused, and the message says why; 2: wrong usage or settings; 3: `status` found
    migrations that are not applied, or `down` was not confirmed.
    """
    from pipeline.embedded.servers import connected  # noqa: PLC0415  keeps --help quick
    from pipeline.sink import migrate as runner  # noqa: PLC0415
    from pipeline.sink.clickhouse import Database  # noqa: PLC0415

    if (action == "down") != (to is not None):
        raise click.UsageError("`down` needs --to N, and only `down` takes it.")
    with Database(connected(ctx.ensure_object(Options).settings, kafka=False).clickhouse) as database:
        if action == "status":
            lines = runner.status(database)
            behind = any(line.state is not runner.State.APPLIED for line in lines)
            if as_json:
                say_json(msgspec.json.encode({"database": database.name, "behind": behind, "migrations": lines}))
            else:
                for line in lines:
                    click.echo(
                        f"{line.number:04d}  {line.state:<9} {line.release:<9} {line.name}{'' if line.known else '  (newer release)'}"
                    )
            ctx.exit(NOT_DONE if behind else 0)
        if to is not None and not (dry_run or yes or _confirmed(database, to)):
            say("nothing was reverted: --yes reverts it, --dry-run only looks")
            ctx.exit(NOT_DONE)
        done = runner.up(database, say=say, dry_run=dry_run) if to is None else runner.down(database, to, say=say, dry_run=dry_run)
        if as_json:
            report = {"database": database.name, "action": action, "dry_run": dry_run, "migrations": [step.title for step in done]}
            say_json(msgspec.json.encode(report))
        elif not done:
            click.echo(f"database {database.name}: nothing to do")


def _confirmed(database: "Database", to: int) -> bool:
    """After what would go was told; true when nothing would."""
    from pipeline.sink import migrate as runner  # noqa: PLC0415  keeps --help quick

    todo = runner.down(database, to, say=lambda _: None, dry_run=True)
    if not todo:
        return True
    rows = runner.rows_of(database, runner.dropped(todo))
    for name, count in rows.items():
        say(f"{name} goes with {many(count, 'row')}")
    return sys.stdin.isatty() and click.confirm(
        f"Revert {many(len(todo), 'migration')}? What their tables and columns hold is lost.", err=True
    )
