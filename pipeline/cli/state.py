"""`trainwatch state save | restore`: what workers remember, in one file, in step with a backup of ClickHouse."""

import sys
from pathlib import Path

import click

from pipeline.cli import Options, Verbs, examples, say
from pipeline.cli.replay import with_broker
from pipeline.model.words import many

NOT_DONE = 3
FILE = click.Path(dir_okay=False, path_type=Path)


@click.group(cls=Verbs)
def state() -> None:
    """Back up what workers remember; deploy/runbooks/backup-and-restore.md has the whole procedure."""


@state.command(epilog=examples("state save trainwatch.state"))
@click.argument("file", type=FILE)
@click.pass_obj
def save(options: Options, file: Path) -> None:
    """Write all state topics to the new FILE, while no worker runs.

    Back ClickHouse up at the same moment: one without the other is of no use.

    Exit 0; 1: the broker does not answer; 2: workers run, or were started meanwhile, FILE is there, or settings are wrong.
    """
    from pipeline.runtime import state_backup  # noqa: PLC0415  keeps --help quick
    from pipeline.topology import build_topology  # noqa: PLC0415

    settings = with_broker(options.settings)
    records = state_backup.save(settings, build_topology(settings), file, lambda topic: say(f"saved {topic}"))
    click.echo(f"{many(records, 'record')}, {many(file.stat().st_size, 'byte')} in {file}")


@state.command(epilog=examples("state restore trainwatch.state", "state restore trainwatch.state --new-topics --yes"))
@click.argument("file", type=FILE)
@click.option("--new-topics", is_flag=True, help="Kafka was lost: take over what is remembered, and read the new topics from their start.")
@click.option("--yes", is_flag=True, help="Replace what is there without asking.")
@click.pass_obj
def restore(options: Options, file: Path, *, new_topics: bool, yes: bool) -> None:
    """Put the state in FILE in place of that of the state topics, while no worker runs.

    Restore the backup of ClickHouse of the same moment first. Workers then read everything since that moment again.

    Exit 0; 1: the broker does not answer, or FILE is of another site or of other topics; 2: workers run, or were started meanwhile: run it
    again; FILE is not a saved state, or settings are wrong; 3: not confirmed.
    """
    from pipeline.runtime import state_backup  # noqa: PLC0415  keeps --help quick
    from pipeline.topology import build_topology  # noqa: PLC0415

    settings = with_broker(options.settings)
    if not yes and not (sys.stdin.isatty() and click.confirm("Replace what workers remember?", err=True)):
        say("nothing was changed: --yes replaces it")
        raise SystemExit(NOT_DONE)
    done = state_backup.restore(settings, build_topology(settings), file, anew=new_topics, progress=lambda part: say(f"restored {part}"))
    click.echo(f"{many(len(done), 'partition')} restored; workers will read {many(sum(part.behind for part in done), 'record')} again")
