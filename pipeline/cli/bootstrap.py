"""`trainwatch bootstrap LISTS...`: what the scheduler has of running and waiting jobs in, records on its input topic out.

Run it once, when the shippers run.  Jobs that began before have told nobody where they run and whose they are; their findings and verdicts
say since when there is history.
"""

import io
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import click
import msgspec

from pipeline.cli import Options, examples, say, say_json
from pipeline.cli.console import moment, safe
from pipeline.cli.output import write_file
from pipeline.cli.replay import REFUSED, report, with_broker
from pipeline.cli.times import Moment, Zone
from pipeline.model.words import many

if TYPE_CHECKING:
    from pipeline.runtime.bootstrap import ColdStart

NAMED_MAX = 20
LINE_MAX = 300
STDOUT = Path("-")


@click.command(
    epilog=examples(
        "bootstrap --commands                     # what to run: sacct, squeue or kubectl",
        "bootstrap squeue.txt",
        "bootstrap squeue.txt --taken 2026-03-09T08:00:00+01:00 --output logs.scheduler.jsonl",
    )
)
@click.argument("lists", nargs=-1, type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--taken", type=Moment(), help="When the lists were taken, with offset: history begins then. Default: now.")
@click.option("--zone", type=Zone(), help="Zone of times without offset; default: that of the source in the settings.")
@click.option("--source", default="bootstrap", show_default=True, help="Program by which the settings find zone and cluster.")
@click.option("--topic", default="", help="Scheduler topic; default: the first of kafka.scheduler_topics.")
@click.option("--owner-label", "owner_labels", multiple=True, help="Label or annotation that names a job's owner; may be repeated.")
@click.option("--output", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path), help="Write the records there, send nothing.")
@click.option("--commands", is_flag=True, help="Print the commands whose output is read, and end.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.pass_context
def bootstrap(
    ctx: click.Context,
    /,
    lists: tuple[Path, ...],
    taken: int | None,
    zone: ZoneInfo | None,
    source: str,
    topic: str,
    owner_labels: tuple[str, ...],
    output: Path | None,
    commands: bool,
    as_json: bool,
) -> None:
    """Tell the pipeline of the jobs that run already.

    LISTS are files with what sacct, squeue or kubectl printed (see --commands); none, or -, is standard input.  With --output the
    records go to a file that `replay` and `analyse` read; call it after the topic: logs.scheduler.jsonl.

    Exit 0: all sent or written; 1: the broker does not answer; 2: a file is not such a list; 3: done, except for jobs that
    could not be read or are larger than the broker accepts, which are named.
    """
    from pipeline.formats.listing import COMMANDS  # noqa: PLC0415  keeps --help quick
    from pipeline.runtime import bootstrap as cold  # noqa: PLC0415

    if commands:
        for command in COMMANDS.values():
            click.echo(command)
        return
    settings = ctx.ensure_object(Options).settings
    now = int(time.time()) * 1000
    options = cold.Options(taken=now if taken is None else taken, zone=zone, program=source, topic=topic, owner_names=owner_labels)
    read = cold.read_lists(lists, options, settings)
    sum_up(read)
    too_large = 0
    if output is not None:
        lines = io.StringIO()
        cold.write_records(read.records, lines)
        if output == STDOUT:
            click.echo(lines.getvalue(), nl=False)
        else:
            write_file(output, lines.getvalue().encode())
        if as_json and output != STDOUT:
            told = {"cluster": read.cluster, "taken": read.taken, "jobs": len(read.jobs), "refused": read.refused}
            say_json(msgspec.json.encode(told))
    else:
        from pipeline.runtime.replay import send  # noqa: PLC0415

        begun = time.monotonic()
        sent = send(with_broker(settings), read.records)
        report(sent, time.monotonic() - begun, as_json=as_json)
        too_large = len(sent.refused)
    ctx.exit(REFUSED if read.refused or too_large else 0)


def sum_up(read: "ColdStart") -> None:
    """What the lists hold, and what of them could not be read, for people."""
    states = Counter(job.state for job in read.jobs)
    hosts = {node for job in read.jobs for node in job.nodes}
    unowned = sum(not job.owner and job.owner_uid is None for job in read.jobs)
    counts = ", ".join(f"{count} {safe(state)}" for state, count in sorted(states.items())) or "none"
    say(
        f"cluster {safe(read.cluster)}: {many(len(read.jobs), 'job')} ({counts}) on {many(len(hosts), 'host')}"
        f"; history begins at {moment(read.taken)}"
    )
    if unowned:
        say(f"{unowned} of them without an owner: nobody can be called foreign to them; see --owner-label")
    for line in read.refused[:NAMED_MAX]:
        say(f"not read: {safe(line, LINE_MAX)}")
    if len(read.refused) > NAMED_MAX:
        say(f"not read: {len(read.refused) - NAMED_MAX} more")
