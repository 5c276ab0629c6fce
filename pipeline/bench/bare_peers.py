"""How others do the bare ingest: the same decoder, the same columns, at their own best settings; one insert thread where they allow one.

    confluent   consume in lots, insert, commit          by_hand   aiokafka's getmany, insert in a thread, commit
    quix        bytes through, a batching sink           bytewax   lots of messages, a sink that buffers
    stock       an agent of stock Faust on single records, as in its documentation

All insert blocks of about `BLOCK_ROWS` rows or a second's worth, and commit after the insert: at least once.  Bytewax commits nothing
without a recovery store, which is left out in its favour.
"""

import asyncio
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import clickhouse_driver

from pipeline.bench import bare
from pipeline.bench.task import Task, ready
from pipeline.runtime.garbage import collect_seldom

BLOCK_ROWS = 100_000
BLOCK_SECONDS = 1.0
FETCH_BYTES = 2 << 20
FETCH_WAIT_MS = 500


class Table:
    """The table, over a connection of its own."""

    def __init__(self, task: Task) -> None:
        collect_seldom()
        where = task.site().clickhouse
        self._client = clickhouse_driver.Client(
            host=where.host, port=where.port, user=where.user, password=where.password.get_secret_value(), secure=where.secure
        )
        self._statement = f"INSERT INTO {where.database}.{bare.TABLE} ({', '.join(bare.COLUMNS)}) VALUES"
        self._client.execute("SELECT 1")

    def insert(self, rows: list[bare.Access]) -> None:
        """One block."""
        if rows:
            self._client.execute(self._statement, bare.columns(rows), columnar=True, settings={"async_insert": 0})


def librdkafka(task: Task) -> dict[str, Any]:
    """Settings that suit all consumers on librdkafka: large fetches, a deep local queue, no checks that others do not make."""
    kafka = task.site().kafka
    return {
        "bootstrap.servers": kafka.bootstrap_servers,
        "group.id": kafka.group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "fetch.max.bytes": 50 << 20,
        "max.partition.fetch.bytes": 8 << 20,
        "fetch.wait.max.ms": FETCH_WAIT_MS,
        "queued.min.messages": 200_000,
        "queued.max.messages.kbytes": 65_536,
    }


def confluent(task: Task) -> None:
    """By hand on confluent-kafka."""
    from confluent_kafka import Consumer  # noqa: PLC0415  optional

    table, decode = Table(task), bare.decode
    consumer = Consumer(librdkafka(task))
    consumer.subscribe(list(task.topics))
    ready()
    rows: list[bare.Access] = []
    due = time.monotonic() + BLOCK_SECONDS
    while True:
        messages = consumer.consume(10_000, timeout=0.2)
        rows += [decode(message.value()) for message in messages if not message.error()]
        if len(rows) >= BLOCK_ROWS or time.monotonic() >= due:
            if rows:
                table.insert(rows)
                consumer.commit(asynchronous=True)
                rows = []
            due = time.monotonic() + BLOCK_SECONDS


def by_hand(task: Task) -> None:
    """By hand on aiokafka."""
    asyncio.run(_by_hand(task))


async def _by_hand(task: Task) -> None:
    from aiokafka import AIOKafkaConsumer  # noqa: PLC0415  as the others

    table, decode = Table(task), bare.decode
    kafka = task.site().kafka
    consumer = AIOKafkaConsumer(
        *task.topics,
        bootstrap_servers=kafka.bootstrap_servers,
        group_id=kafka.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=FETCH_BYTES,
        fetch_max_wait_ms=FETCH_WAIT_MS,
    )
    await consumer.start()
    ready()
    loop, threads = asyncio.get_running_loop(), ThreadPoolExecutor(1)
    rows: list[bare.Access] = []
    due = time.monotonic() + BLOCK_SECONDS
    while True:
        for records in (await consumer.getmany(timeout_ms=200)).values():
            rows += [decode(record.value) for record in records]
        if len(rows) >= BLOCK_ROWS or time.monotonic() >= due:
            if rows:
                await loop.run_in_executor(threads, table.insert, rows)
                await consumer.commit()
                rows = []
            due = time.monotonic() + BLOCK_SECONDS


def stock(task: Task) -> None:
    """An agent as in the Faust documentation; rows are inserted by a timer."""
    from pipeline.bench.stock import build_app, run_app  # noqa: PLC0415  faust writes on import

    table, decode = Table(task), bare.decode
    app = build_app(task)
    threads = ThreadPoolExecutor(1)
    rows: list[bare.Access] = []

    async def agent(stream: Any) -> None:
        async for value in stream:
            rows.append(decode(value))  # noqa: PERF401  a stream is not a list

    async def flush() -> None:
        nonlocal rows
        block, rows = rows, []
        await asyncio.get_running_loop().run_in_executor(threads, table.insert, block)

    for topic in task.topics:
        app.agent(app.topic(topic, value_serializer="raw"), name=topic)(agent)
    app.timer(BLOCK_SECONDS)(flush)
    run_app(app)


def quix(task: Task) -> None:
    """Quix Streams: nothing between the topic and a batching sink, which is flushed at each commit."""
    from quixstreams import Application  # noqa: PLC0415  optional
    from quixstreams.sinks import BatchingSink, SinkBatch  # noqa: PLC0415

    table, decode = Table(task), bare.decode

    class Block(BatchingSink):
        def write(self, batch: SinkBatch) -> None:
            table.insert([decode(item.value) for item in batch])

    extra = librdkafka(task)
    for name in ("bootstrap.servers", "group.id", "auto.offset.reset", "enable.auto.commit"):
        del extra[name]
    app = Application(
        broker_address=task.site().kafka.bootstrap_servers,
        consumer_group=task.site().kafka.group,
        auto_offset_reset="earliest",
        commit_interval=BLOCK_SECONDS,
        commit_every=BLOCK_ROWS,
        consumer_extra_config=extra,
        consumer_poll_timeout=0.2,
        loglevel="WARNING",
        auto_create_topics=False,
        use_changelog_topics=False,
    )
    sink = Block()
    for topic in task.topics:
        app.dataframe(app.topic(topic, value_deserializer="bytes", key_deserializer="bytes")).sink(sink)
    ready()
    app.run()


def bytewax(task: Task) -> None:
    """Bytewax: a source with large lots, a sink that buffers them; ends at the end of the topic, since only then it can flush."""
    from bytewax import operators as op  # noqa: PLC0415  optional
    from bytewax._bytewax import cli_main  # noqa: PLC0415
    from bytewax.connectors.kafka import KafkaSource  # noqa: PLC0415
    from bytewax.dataflow import Dataflow  # noqa: PLC0415
    from bytewax.outputs import DynamicSink, StatelessSinkPartition  # noqa: PLC0415

    table, decode = Table(task), bare.decode

    class Part(StatelessSinkPartition):
        def __init__(self) -> None:
            self.rows: list[bare.Access] = []

        def write_batch(self, items: list[Any]) -> None:
            self.rows += [decode(message.value) for message in items]
            if len(self.rows) >= BLOCK_ROWS:
                self.close()

        def close(self) -> None:
            table.insert(self.rows)
            self.rows = []

    class Block(DynamicSink):
        def build(self, *_: Any) -> Part:
            return Part()

    flow = Dataflow("ingest")
    op.output("out", op.input("in", flow, bytewax_source(KafkaSource, task)), Block())
    ready()
    cli_main(flow)
    signal.pause()


def bytewax_source(source: Any, task: Task) -> Any:
    """Its Kafka source: lots of 10,000, without the statistics that it parses once a second."""
    config = librdkafka(task)
    servers, group = config.pop("bootstrap.servers"), config.pop("group.id")
    return source(
        [servers], list(task.topics), tail=False, batch_size=10_000, add_config={**config, "group.id": group, "statistics.interval.ms": "0"}
    )
