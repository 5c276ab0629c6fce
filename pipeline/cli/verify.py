"""`trainwatch verify`: is every record of every input in ClickHouse, once, or listed with the reason why not?"""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import click
import msgspec

from pipeline.cli import Options, examples, say
from pipeline.cli.meter import meter

if TYPE_CHECKING:
    from pipeline.runtime.dead_letters import Progress
    from pipeline.settings import Settings
    from pipeline.sink.verify import Account, Sighted, Wanted


@click.command(epilog=examples("verify", "verify --caught-up --json | jq .ok"))
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.option("--caught-up", is_flag=True, help="Records that nobody has read or committed yet are a violation too.")
@click.option("--no-letters", is_flag=True, help="Leave the dead-letter topic unread, which takes a minute per million letters.")
@click.pass_context
def verify(ctx: click.Context, as_json: bool, caught_up: bool, no_letters: bool) -> None:
    """Compare Kafka's offsets and dead letters with ClickHouse's tables; the workers' own counters are not asked.

    May run beside workers: what they have not committed yet is in flight, not wrong.

    Exit 0: read = written + filtered + dead-lettered everywhere; 1: it is not, and the offsets are named, or there is no input topic, or
    a server does not answer; 2: wrong settings.
    """
    from pipeline.embedded.servers import connected  # noqa: PLC0415  keeps --help quick
    from pipeline.runtime.offsets import read_ends, read_offsets  # noqa: PLC0415
    from pipeline.sink import migrate  # noqa: PLC0415
    from pipeline.sink.clickhouse import Database  # noqa: PLC0415
    from pipeline.sink.verify import verify as compare  # noqa: PLC0415
    from pipeline.topology import build_topology  # noqa: PLC0415

    settings = connected(ctx.ensure_object(Options).settings)
    inputs = settings.kafka.input_topics
    stages = build_topology(settings).stages
    facts = tuple(topic for stage in stages if stage.takes == "facts" for topic in stage.reads)
    topics = (*inputs, *(topic for stage in stages for topic in stage.reads if topic not in {*inputs, *facts}), *facts)
    with Database(settings.clickhouse) as database, meter("asking Kafka", quiet=as_json) as line:
        migrate.check(database)
        offsets = read_offsets(settings.kafka, topics)
        accounts = compare(
            database,
            offsets,
            inputs=inputs,
            sparse=facts,
            letters=None if no_letters else partial(_sighted, settings, partial(line.count, "looking for letters", "letters")),
            ends=partial(read_ends, settings.kafka, [(item.topic, item.partition) for item in offsets]),
            progress=partial(line.count, "comparing rows", "records"),
        )
    absent = sorted(set(inputs) - {account.topic for account in accounts})
    for topic in absent:
        say(f"the input topic {topic} does not exist: nothing of it was checked (`trainwatch topics create` makes it)")
    wrong = [account for account in accounts if account.violations or (caught_up and (account.pending or account.in_flight))]
    accounts = [account for account in accounts if account.topic not in facts or account.codes or account.violations]
    if as_json:
        click.echo(msgspec.json.encode({"ok": not wrong, "letters_checked": not no_letters, "partitions": accounts}).decode())
    else:
        _show(accounts)
        _show_unchecked(accounts, letters_checked=not no_letters, caught_up=caught_up)
    ctx.exit(1 if wrong or len(absent) == len(inputs) else 0)


def _sighted(settings: "Settings", progress: "Progress", wanted: "Wanted") -> "Sighted":
    """Dead letters found; where there is no topic of them, none is."""
    from pipeline.errors import ConfigError  # noqa: PLC0415
    from pipeline.runtime.dead_letters import Letters  # noqa: PLC0415
    from pipeline.sink.verify import Sighted  # noqa: PLC0415

    try:
        with Letters(settings.kafka) as letters:
            return letters.sighted(wanted, progress)
    except ConfigError as error:
        say(f"{error}: no dead letter was found")
        return Sighted({})


def _show(accounts: "Sequence[Account]") -> None:
    from rich.table import Column, Table  # noqa: PLC0415

    from pipeline.cli.console import stdout  # noqa: PLC0415

    heads = ("read", "written", "filtered", "dead-lettered", "rows", "holes", "in flight", "pending", "")
    table = Table(Column("partition", no_wrap=True), *heads, box=None, pad_edge=False)
    for account in accounts:
        numbers = (account.read, account.written, account.filtered, account.dead_lettered, account.rows, account.holes)
        waiting = (account.in_flight, account.pending)
        table.add_row(f"{account.topic}/{account.partition}", *map(str, (*numbers, *waiting)), "WRONG" if account.violations else "ok")
    stdout().print(table)
    for account in accounts:
        name = f"{account.topic}/{account.partition}"
        for violation in account.violations:
            click.echo(f"{name}: {violation}")
        if account.missing:
            click.echo(f"{name}: without row: {', '.join(map(str, account.missing))}")


def _show_unchecked(accounts: "Sequence[Account]", *, letters_checked: bool, caught_up: bool) -> None:
    """What is not wrong, and not proved either."""
    unchecked = sum(account.not_checked for account in accounts)
    if unchecked:
        say(f"not checked: {unchecked} dead letters are older than what the dead-letter topic keeps")
    if not letters_checked:
        say("not checked: whether rejected records have their dead letters (--no-letters)")
    behind = [account for account in accounts if account.pending or account.in_flight]
    if behind:
        pending, in_flight = sum(account.pending for account in behind), sum(account.in_flight for account in behind)
        word = "behind" if caught_up else "behind, which is not wrong"
        say(f"{len(behind)} partitions are {word}: {pending} records not read yet, {in_flight} not committed")
