"""`trainwatch verify`: is every record of every input in ClickHouse, once, or listed with the reason why not?"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
import msgspec

from pipeline.cli import Options, say
from pipeline.errors import BrokerUnavailable

if TYPE_CHECKING:
    from pipeline.sink.verify import Account, Offsets


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.option("--caught-up", is_flag=True, help="Records that nobody has read yet are a violation too.")
@click.pass_context
def verify(ctx: click.Context, as_json: bool, caught_up: bool) -> None:
    """Compare Kafka's offsets with ClickHouse's tables; the workers' own counters are not asked.

    Exit 0: read = written + filtered + dead-lettered everywhere; 1: it is not, and the offsets are named, or a server does not
    answer; 2: wrong settings.
    """
    from pipeline.embedded.servers import connected  # noqa: PLC0415  keeps --help quick
    from pipeline.sink import migrate  # noqa: PLC0415
    from pipeline.sink.clickhouse import Database  # noqa: PLC0415
    from pipeline.sink.verify import verify as compare  # noqa: PLC0415

    settings = connected(ctx.ensure_object(Options).settings)
    inputs = settings.kafka.input_topics
    public = tuple(f"{settings.kafka.topic_prefix}{content}.v1" for content in ("enriched", "verdicts", "findings"))
    with Database(settings.clickhouse) as database:
        migrate.check(database)
        accounts = compare(database, offsets_of(settings.kafka.bootstrap_servers, (*inputs, *public)), inputs=inputs)
    absent = sorted(set(inputs) - {account.topic for account in accounts})
    for topic in absent:
        say(f"the input topic {topic} does not exist: nothing of it was checked (`trainwatch topics create` makes it)")
    wrong = [account for account in accounts if account.violations or (caught_up and account.pending)]
    if as_json:
        click.echo(msgspec.json.encode({"ok": not wrong, "partitions": accounts}).decode())
    else:
        _show(accounts)
        behind = [account for account in accounts if account.pending]
        if caught_up and behind:
            say(f"{len(behind)} partitions are behind: {sum(account.pending for account in behind)} records not read yet")
    ctx.exit(1 if wrong or len(absent) == len(inputs) else 0)


def offsets_of(bootstrap_servers: str, topics: Sequence[str]) -> "list[Offsets]":
    """First and last offsets of all partitions; a topic that does not exist has none.  Raises BrokerUnavailable."""
    from kafka import KafkaConsumer, TopicPartition  # noqa: PLC0415
    from kafka.errors import KafkaError  # noqa: PLC0415

    from pipeline.sink.verify import Offsets  # noqa: PLC0415

    try:
        consumer = KafkaConsumer(bootstrap_servers=bootstrap_servers.split(","), enable_auto_commit=False, group_id=None)
        try:
            existing = consumer.topics()
            asked = [
                TopicPartition(topic, partition)
                for topic in topics
                if topic in existing
                for partition in sorted(consumer.partitions_for_topic(topic) or ())
            ]
            begin, end = consumer.beginning_offsets(asked), consumer.end_offsets(asked)
        finally:
            consumer.close()
    except KafkaError as error:
        raise BrokerUnavailable(f"no answer from Kafka at {bootstrap_servers}: {error}") from error
    return [Offsets(item.topic, item.partition, begin[item], end[item]) for item in asked]


def _show(accounts: "Sequence[Account]") -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Column, Table  # noqa: PLC0415

    table = Table(
        Column("partition", no_wrap=True),
        "read",
        "written",
        "filtered",
        "dead-lettered",
        "rows",
        "holes",
        "pending",
        "",
        box=None,
        pad_edge=False,
    )
    for account in accounts:
        numbers = (account.read, account.written, account.filtered, account.dead_lettered, account.rows, account.holes, account.pending)
        table.add_row(f"{account.topic}/{account.partition}", *map(str, numbers), "WRONG" if account.violations else "ok")
    Console().print(table)
    for account in accounts:
        for violation in account.violations:
            click.echo(f"{account.topic}/{account.partition}: {violation}")
        if account.missing:
            click.echo(f"{account.topic}/{account.partition}: without row: {', '.join(map(str, account.missing))}")
