"""A topic in; its newest records out, as many as wanted: for a look at what a topic carries, without a consumer group.

Every partition is asked for its newest records alike, and of all of them the newest are given, in order of their times: a partition that
nobody writes to any more must not fill the sample with last year.
"""

import time
from collections.abc import Iterator
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from pipeline.errors import BrokerUnavailable, ConfigError
from pipeline.model.outcome import Record
from pipeline.settings import KafkaSettings

CLIENT = "trainwatch-sniff"
FIRST_ANSWER_MS = 10_000  # longest wait for a broker to answer at all
SILENCE_SECONDS = 20.0  # longest wait for the next record of those that are there
FETCH_BYTES = 4 << 20


def newest(settings: KafkaSettings, topic: str, wanted: int) -> Iterator[Record]:
    """At most `wanted` records.  Raises BrokerUnavailable; ConfigError when there is no such topic."""
    try:
        consumer: Any = KafkaConsumer(
            bootstrap_servers=settings.bootstrap_servers.split(","),
            client_id=CLIENT,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=FETCH_BYTES,
            bootstrap_timeout_ms=FIRST_ANSWER_MS,
        )
    except KafkaError as error:
        raise BrokerUnavailable(f"no answer from Kafka at {settings.bootstrap_servers}: {error!r}") from error
    try:
        if topic not in consumer.topics():  # asking for its partitions could make it
            raise ConfigError(f"the topic {topic} does not exist", advice="Name a topic that the broker has: `trainwatch topics list`.")
        found = list(_read(consumer, topic, wanted))
    except KafkaError as error:
        raise BrokerUnavailable(f"cannot read {topic}: {error!r}") from error
    finally:
        consumer.close()
    found.sort(key=lambda record: (record.timestamp, record.partition, record.offset))
    yield from found[-wanted:]


def _read(consumer: Any, topic: str, wanted: int) -> Iterator[Record]:
    parts = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
    begins, ends = consumer.beginning_offsets(parts), consumer.end_offsets(parts)
    left = {part: end for part, end in ends.items() if end > begins[part]}
    consumer.assign(list(left))
    share = -(-wanted // max(len(left), 1))
    for part, end in left.items():
        consumer.seek(part, max(begins[part], end - share))
    heard = time.monotonic()
    while left:
        for part, records in consumer.poll(timeout_ms=500).items():
            heard = time.monotonic()
            yield from (_record(record) for record in records if record.offset < ends[part])
        left = {part: end for part, end in left.items() if consumer.position(part) < end}
        if left and time.monotonic() - heard > SILENCE_SECONDS:
            raise BrokerUnavailable(f"{topic}: no record came in {SILENCE_SECONDS:.0f} s, though some are there")


def _record(record: Any) -> Record:
    return Record(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp=record.timestamp,
        value=record.value,
        key=record.key,
        headers=tuple((name, bytes(data or b"")) for name, data in record.headers or ()),
    )
