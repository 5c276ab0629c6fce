"""Places in; the values that Kafka still has there, out: for exports and holds of records of which ClickHouse has lines alone.

Built on kafka-python, without a group.  Whether a value is the one that was sealed is for the caller to check.
"""

from collections.abc import Iterable

from kafka import TopicPartition

from pipeline.errors import BrokerUnavailable
from pipeline.runtime.consuming import consumer, ends_of
from pipeline.settings import KafkaSettings

READ_MS = 5000  # longest wait for one record

Spot = tuple[str, int, int]  # topic, partition, offset


def read_originals(settings: KafkaSettings, spots: Iterable[Spot]) -> dict[Spot, bytes]:
    """Values by place; what is gone, or has no value, is left out.  Raises BrokerUnavailable."""
    found: dict[Spot, bytes] = {}
    with consumer(settings, max_poll_records=1) as reader:
        for topic, partition, offset in sorted(spots):
            pair = TopicPartition(topic, partition)
            if partition not in (reader.partitions_for_topic(topic) or ()):
                continue
            if not ends_of(reader, [pair], begins=True)[pair] <= offset < ends_of(reader, [pair])[pair]:
                continue
            reader.assign([pair])
            reader.seek(pair, offset)
            records = reader.poll(timeout_ms=READ_MS, max_records=1).get(pair, ())
            if not records and reader.position(pair) == offset:  # behind it, where a marker stands or a record was compacted
                raise BrokerUnavailable(f"{topic}/{partition}: nothing came from offset {offset} in {READ_MS // 1000} s")
            for record in records:
                if record.offset == offset and record.value is not None:
                    found[topic, partition, offset] = record.value
    return found
