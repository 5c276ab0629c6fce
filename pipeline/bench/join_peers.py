"""How others do the interval join of `join.py`: the same bytes, decoded only as far as they need, pairs to a topic.

State (`buffers.py`) is in memory and lost with the process, except in Quix Streams (RocksDB; its changelog is off in its favour).

    confluent, by_hand, bytewax, stock    `Buffers` on one topic       quix    its own `join_interval` on two topics, having no other
"""

import asyncio
import signal
import time
from collections.abc import Callable
from typing import Any

from pipeline.bench import join
from pipeline.bench.bare_peers import FETCH_BYTES, FETCH_WAIT_MS, bytewax_source, librdkafka
from pipeline.bench.buffers import Buffers, Pair, decode_fact, decode_told, encode_pair
from pipeline.bench.task import Task, ready
from pipeline.runtime.garbage import collect_seldom

COMMIT_SECONDS = 1.0


def by_hand(task: Task) -> None:
    """By hand on aiokafka."""
    asyncio.run(_by_hand(task))


async def _by_hand(task: Task) -> None:
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer  # noqa: PLC0415

    collect_seldom()
    kafka = task.site().kafka
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, acks="all", max_batch_size=256 << 10)
    consumer = AIOKafkaConsumer(
        *task.topics,
        bootstrap_servers=kafka.bootstrap_servers,
        group_id=kafka.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=FETCH_BYTES,
        fetch_max_wait_ms=FETCH_WAIT_MS,
    )
    await producer.start()
    await consumer.start()
    ready()
    buffers: dict[int, Buffers] = {}
    pending: list[Any] = []
    due = time.monotonic() + COMMIT_SECONDS
    while True:
        for place, records in (await consumer.getmany(timeout_ms=200)).items():
            take = buffers.setdefault(place.partition, Buffers()).take
            pairs: list[Pair] = []
            for record in records:
                pairs += take(record.key, decode_told(decode_fact(record.value).body))
            await _send(producer, task.pairs, place.partition, pairs, pending)
        if time.monotonic() >= due:
            await asyncio.gather(*pending)
            pending.clear()
            await consumer.commit()
            due = time.monotonic() + COMMIT_SECONDS


async def _send(producer: Any, topic: str, partition: int, pairs: list[Pair], pending: list[Any]) -> None:
    batch = producer.create_batch()
    for pair in pairs:
        value = encode_pair(pair)
        if batch.append(key=None, value=value, timestamp=None) is None:
            pending.append(await producer.send_batch(batch, topic, partition=partition))
            batch = producer.create_batch()
            batch.append(key=None, value=value, timestamp=None)
    if batch.record_count():
        pending.append(await producer.send_batch(batch, topic, partition=partition))


def confluent(task: Task) -> None:
    """By hand on confluent-kafka."""
    from confluent_kafka import Consumer, Producer  # noqa: PLC0415  optional

    collect_seldom()
    consumer, producer = Consumer(librdkafka(task)), Producer(_producing(task))
    consumer.subscribe(list(task.topics))
    ready()
    buffers: dict[int, Buffers] = {}
    due = time.monotonic() + COMMIT_SECONDS
    while True:
        for message in consumer.consume(10_000, timeout=0.2):
            if message.error():
                continue
            take = buffers.setdefault(message.partition(), Buffers()).take
            for pair in take(message.key(), decode_told(decode_fact(message.value()).body)):
                producer.produce(task.pairs, encode_pair(pair))
            producer.poll(0)
        if time.monotonic() >= due:
            producer.flush()
            consumer.commit(asynchronous=True)
            due = time.monotonic() + COMMIT_SECONDS


def _producing(task: Task) -> dict[str, Any]:
    return {
        "bootstrap.servers": task.site().kafka.bootstrap_servers,
        "linger.ms": 20,
        "batch.size": 256 << 10,
        "queue.buffering.max.messages": 1_000_000,
    }


def bytewax(task: Task) -> None:
    """Bytewax: keyed by host, one stateful operator, which it calls with all messages of a key in a lot."""
    from bytewax import operators as op  # noqa: PLC0415  optional
    from bytewax._bytewax import cli_main  # noqa: PLC0415
    from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource  # noqa: PLC0415
    from bytewax.dataflow import Dataflow  # noqa: PLC0415
    from bytewax.operators import StatefulBatchLogic  # noqa: PLC0415

    class Logic(StatefulBatchLogic):
        def __init__(self, state: Buffers | None) -> None:
            self.buffers = state or Buffers()

        def on_batch(self, values: list[Any]) -> tuple[list[Any], bool]:
            take, pairs = self.buffers.take, []
            for message in values:
                for pair in take(message.key, decode_told(decode_fact(message.value).body)):
                    pairs.append(KafkaSinkMessage(None, encode_pair(pair)))  # noqa: PERF401  reads as the others
            return pairs, StatefulBatchLogic.RETAIN

        def snapshot(self) -> Buffers:
            return self.buffers

    config = _producing(task)
    flow = Dataflow("join")
    keyed = op.key_on("key", op.input("in", flow, bytewax_source(KafkaSource, task)), _host_of)
    pairs = op.map("value", op.stateful_batch("join", keyed, Logic), _value_of)
    op.output("out", pairs, KafkaSink([config.pop("bootstrap.servers")], task.pairs, config))
    ready()
    cli_main(flow)
    signal.pause()


def _host_of(message: Any) -> str:
    return str(message.key, "utf-8")


def _value_of(keyed: tuple[str, Any]) -> Any:
    return keyed[1]


def stock(task: Task) -> None:
    """An agent as in the Faust documentation."""
    from pipeline.bench.stock import build_app, run_app  # noqa: PLC0415  faust writes on import

    app = build_app(task)
    pairs = app.topic(task.pairs, value_serializer="raw", key_serializer="raw")
    buffers: dict[int, Buffers] = {}

    async def agent(stream: Any) -> None:
        async for event in stream.events():
            take = buffers.setdefault(event.message.partition, Buffers()).take
            for pair in take(event.message.key, decode_told(decode_fact(event.value).body)):
                await pairs.send(value=encode_pair(pair))

    for topic in task.topics:
        app.agent(app.topic(topic, value_serializer="raw", key_serializer="raw"), name=topic)(agent)
    run_app(app)


def quix(task: Task) -> None:
    """Quix Streams: `join_interval`, allocations on the left, then the exact test of the interval."""
    from quixstreams import Application  # noqa: PLC0415  optional

    extra = librdkafka(task)
    for name in ("bootstrap.servers", "group.id", "auto.offset.reset", "enable.auto.commit"):
        del extra[name]
    signals, allocations = task.topics
    app = Application(
        broker_address=task.site().kafka.bootstrap_servers,
        consumer_group=task.site().kafka.group,
        auto_offset_reset="earliest",
        commit_interval=COMMIT_SECONDS,
        consumer_extra_config=extra,
        producer_extra_config={"linger.ms": 20, "queue.buffering.max.messages": 1_000_000},
        consumer_poll_timeout=0.2,
        loglevel="WARNING",
        state_dir="state",
        use_changelog_topics=False,
        auto_create_topics=False,
    )

    def frame(name: str, decode: Callable[[bytes], dict[str, Any]]) -> Any:
        return app.dataframe(app.topic(name, value_deserializer="bytes", key_deserializer="bytes")).apply(decode)

    joined = frame(allocations, _allocation).join_interval(
        frame(signals, _signal),
        how="inner",
        on_merge=lambda left, right: {**left, **right},
        grace_ms=join.HORIZON_MS,
        backward_ms=join.JOB_MS_MAX + join.SLACK_MS,
        forward_ms=join.SLACK_MS,
    )
    joined = joined.filter(lambda both: both["start"] - join.SLACK_MS <= both["time"] <= both["end"] + join.SLACK_MS)
    joined.apply(lambda both: encode_pair((both["serial"], both["job"]))).to_topic(app.topic(task.pairs, value_serializer="bytes"))
    ready()
    app.run()


def _allocation(value: bytes) -> dict[str, Any]:
    body = decode_told(decode_fact(value).body).body
    return {"job": body.job, "start": body.start, "end": body.end}


def _signal(value: bytes) -> dict[str, Any]:
    told = decode_told(decode_fact(value).body)
    return {"serial": told.body.serial, "time": told.event_time}
