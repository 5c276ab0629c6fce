"""`trainwatch verify`: is every record of every input in ClickHouse, once, or listed with the reason why not?"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import click
import msgspec

from pipeline.cli import Options, examples, say, say_json
from pipeline.cli.meter import meter
from pipeline.cli.times import Since, now_ms
from pipeline.model.words import many

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from pipeline.runtime.dead_letters import Progress
    from pipeline.settings import Settings
    from pipeline.sink.clickhouse import Database
    from pipeline.sink.verify import Account, Sighted, Wanted

FOLLOW_SECONDS = 5.0


class Asked(NamedTuple):
    """What is to be compared, and how strictly."""

    settings: "Settings"
    database: "Database"
    since: int | None
    caught_up: bool
    letters: bool
    quiet: bool


class Found(NamedTuple):
    """What a comparison said."""

    accounts: "Sequence[Account]"
    wrong: bool
    absent: Sequence[str]  # input topics that do not exist
    nothing: bool  # none of them does


@click.command(epilog=examples("verify", "verify --caught-up --json | jq .ok", "verify --since 1h --follow"))
@click.option("--since", type=Since(), help="Leave out what workers noted earlier: 30m, 2h, 7d, or a time with offset.")
@click.option("--follow", is_flag=True, help="Go on, and compare again every five seconds; ends with Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output; with --follow one a line.")
@click.option("--caught-up", is_flag=True, help="Records that nobody has read or committed yet are a violation too.")
@click.option("--no-letters", is_flag=True, help="Leave the dead-letter topic unread, which takes a minute per million letters.")
@click.pass_context
def verify(ctx: click.Context, since: int | None, *, follow: bool, as_json: bool, caught_up: bool, no_letters: bool) -> None:
    """Compare Kafka's offsets and dead letters with ClickHouse's tables; the workers' own counters are not asked.

    May run beside workers: what they have not committed yet is in flight, not wrong.

    Exit 0: read = written + filtered + dead-lettered everywhere; 1: it is not, and the offsets are named, or there is no input topic, or
    a server does not answer; 2: wrong settings. With --follow: as the last comparison.
    """
    from pipeline.cli.console import stdout  # noqa: PLC0415  keeps --help quick
    from pipeline.cli.following import watch  # noqa: PLC0415
    from pipeline.embedded.servers import connected  # noqa: PLC0415
    from pipeline.sink import migrate  # noqa: PLC0415
    from pipeline.sink.clickhouse import Database  # noqa: PLC0415

    settings = connected(ctx.ensure_object(Options).settings)
    with Database(settings.clickhouse) as database:
        migrate.check(database)
        asked = Asked(settings, database, since, caught_up, not no_letters, quiet=as_json or follow)
        tell = partial(_tell, asked, as_json=as_json)
        if follow:
            live = console if (console := stdout()).is_terminal and not as_json else None
            found = watch(partial(_look, asked), tell, partial(_shown, asked), console=live, seconds=FOLLOW_SECONDS)
        else:
            tell(found := _look(asked))
    ctx.exit(1 if found and (found.wrong or found.nothing) else 0)


def _look(asked: Asked) -> Found:
    from pipeline.runtime.offsets import read_ends, read_offsets  # noqa: PLC0415  keeps --help quick
    from pipeline.sink.verify import verify as compare  # noqa: PLC0415
    from pipeline.topology import build_topology  # noqa: PLC0415

    settings = asked.settings
    inputs = settings.kafka.input_topics
    stages = build_topology(settings).stages
    facts = tuple(topic for stage in stages if stage.takes == "facts" for topic in stage.reads)
    topics = (*inputs, *(topic for stage in stages for topic in stage.reads if topic not in {*inputs, *facts}), *facts)
    with meter("asking Kafka", quiet=asked.quiet) as line:
        offsets = read_offsets(settings.kafka, topics)
        accounts = compare(
            asked.database,
            offsets,
            inputs=inputs,
            sparse=facts,
            letters=partial(_sighted, settings, partial(line.count, "looking for letters", "letters")) if asked.letters else None,
            ends=partial(read_ends, settings.kafka, [(item.topic, item.partition) for item in offsets]),
            within_seconds=None if asked.since is None else max(0, (now_ms() - asked.since) // 1000),
            progress=partial(line.count, "comparing rows", "records"),
        )
    absent = sorted(set(inputs) - {account.topic for account in accounts})
    wrong = any(account.violations or (asked.caught_up and (account.pending or account.in_flight)) for account in accounts)
    shown = [account for account in accounts if account.topic not in facts or account.codes or account.violations]
    return Found(shown, wrong, absent, nothing=len(absent) == len(inputs))


def _sighted(settings: "Settings", progress: "Progress", wanted: "Wanted", since: int) -> "Sighted":
    """Dead letters found; where there is no topic of them, none is."""
    from pipeline.errors import ConfigError  # noqa: PLC0415
    from pipeline.runtime.dead_letters import Letters  # noqa: PLC0415
    from pipeline.sink.verify import Sighted  # noqa: PLC0415

    try:
        with Letters(settings.kafka) as letters:
            return letters.sighted(wanted, since, progress)
    except ConfigError as error:
        say(f"{error}: no dead letter was found")
        return Sighted({})


def _tell(asked: Asked, found: Found, *, as_json: bool) -> None:
    from pipeline.cli.console import stdout  # noqa: PLC0415  keeps --help quick

    for topic in found.absent:
        say(_absent(topic))
    if as_json:
        said = {"ok": not found.wrong, "letters_checked": asked.letters, "partitions": found.accounts}
        say_json(msgspec.json.encode(said))
        return
    stdout().print(_table(found.accounts))
    for text in _violations(found.accounts):
        click.echo(text)
    for text in _unchecked(asked, found.accounts):
        say(text)


def _shown(asked: Asked, found: Found) -> "Group":
    """The same for a terminal, in place: what is said before the table, whose end may be below the screen's."""
    from rich.console import Group  # noqa: PLC0415

    from pipeline.cli.console import safe  # noqa: PLC0415

    texts = (*map(_absent, found.absent), *_violations(found.accounts), *_unchecked(asked, found.accounts))
    return Group(*map(safe, texts), _table(found.accounts))


def _absent(topic: str) -> str:
    return f"the input topic {topic} does not exist: nothing of it was checked (`trainwatch topics create` makes it)"


def _table(accounts: "Sequence[Account]") -> "Table":
    from pipeline.cli.console import build_table  # noqa: PLC0415  keeps --help quick

    table = build_table("", "partition", "read", "written", "filtered", "dead-lettered", "rows", "holes", "in flight", "pending", "")
    for column in table.columns[1:-1]:
        column.justify = "right"
    for account in accounts:
        counts = (account.read, account.written, account.filtered, account.dead_lettered, account.rows, account.holes)
        waiting = (account.in_flight, account.pending)
        table.add_row(
            f"{account.topic}/{account.partition}",
            *(f"{number:,}" for number in (*counts, *waiting)),
            "WRONG" if account.violations else "ok",
        )
    return table


def _violations(accounts: "Sequence[Account]") -> Iterator[str]:
    for account in accounts:
        name = f"{account.topic}/{account.partition}"
        yield from (f"{name}: {violation}" for violation in account.violations)
        if account.missing:
            yield f"{name}: without row: {', '.join(map(str, account.missing))}"


def _unchecked(asked: Asked, accounts: "Sequence[Account]") -> Iterator[str]:
    """What is not wrong, and not proved either."""
    unchecked = sum(account.not_checked for account in accounts)
    if unchecked:
        yield f"not checked: {many(unchecked, 'dead letter')}, older than what the dead-letter topic keeps"
    if not asked.letters:
        yield "not checked: whether rejected records have their dead letters (--no-letters)"
    if asked.since is not None:
        yield "not checked: what workers noted before --since"
    behind = [account for account in accounts if account.pending or account.in_flight]
    if behind:
        pending, in_flight = sum(account.pending for account in behind), sum(account.in_flight for account in behind)
        word = "behind" if asked.caught_up else "behind, which is not wrong"
        yield f"{word}: {many(len(behind), 'partition')}, {many(pending, 'record')} not read yet, {in_flight:,} not committed"
