"""A topic in; its newest records out, as many as wanted: for a look at what a topic carries, without a consumer group.

Every partition is asked for its newest records alike, and of all of them the newest are given, in order of their times: a partition that
nobody writes to any more must not fill the sample with last year.
"""

import time
from collections.abc import Iterator
from typing import Any

from kafka import TopicPartition

from pipeline.errors import BrokerUnavailable, ConfigError
from pipeline.model.outcome import Record
from pipeline.runtime.access import answering
from pipeline.runtime.consuming import consumer, ends_of, record_of
from pipeline.settings import KafkaSettings

CLIENT = "trainwatch-sniff"
SILENCE_SECONDS = 20.0  # longest wait for the next record of those that are there
FETCH_BYTES = 4 << 20


def newest(settings: KafkaSettings, topic: str, wanted: int) -> Iterator[Record]:
    """At most `wanted` records.  Raises BrokerUnavailable; ConfigError when there is no such topic."""
    options = {"client_id": CLIENT, "auto_offset_reset": "earliest", "max_partition_fetch_bytes": FETCH_BYTES}
    with consumer(settings, **options) as reader, answering(settings, f"cannot read {topic}"):
        if topic not in reader.topics():  # asking for its partitions could make it
            raise ConfigError(f"the topic {topic} does not exist", advice="Name a topic that the broker has: `trainwatch topics list`.")
        found = list(_read(reader, topic, wanted))
    found.sort(key=lambda record: (record.timestamp, record.partition, record.offset))
    yield from found[-wanted:]


def _read(reader: Any, topic: str, wanted: int) -> Iterator[Record]:
    parts = [TopicPartition(topic, number) for number in sorted(reader.partitions_for_topic(topic) or ())]
    begins, ends = ends_of(reader, parts, begins=True), ends_of(reader, parts)
    left = {part: end for part, end in ends.items() if end > begins[part]}
    reader.assign(list(left))
    share = -(-wanted // max(len(left), 1))
    for part, end in left.items():
        reader.seek(part, max(begins[part], end - share))
    heard = time.monotonic()
    while left:
        for part, records in reader.poll(timeout_ms=500).items():
            heard = time.monotonic()
            yield from (record_of(record) for record in records if record.offset < ends[part])
        left = {part: end for part, end in left.items() if reader.position(part) < end}
        if left and time.monotonic() - heard > SILENCE_SECONDS:
            raise BrokerUnavailable(f"{topic}: no record came in {SILENCE_SECONDS:.0f} s, though some are there")
