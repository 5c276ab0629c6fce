"""Places in; the values that Kafka still has there, out: for exports and holds of records of which ClickHouse has lines alone.

Built on kafka-python, without a group.  Whether a value is the one that was sealed is for the caller to check.
"""

from collections.abc import Iterable
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from pipeline.errors import BrokerUnavailable
from pipeline.settings import KafkaSettings

FIRST_ANSWER_MS = 10_000
READ_MS = 5000  # longest wait for one record

Spot = tuple[str, int, int]  # topic, partition, offset


def read_originals(settings: KafkaSettings, spots: Iterable[Spot]) -> dict[Spot, bytes]:
    """Values by place; what is gone, or has no value, is left out.  Raises BrokerUnavailable."""
    found: dict[Spot, bytes] = {}
    try:
        consumer: Any = KafkaConsumer(
            bootstrap_servers=settings.bootstrap_servers.split(","),
            enable_auto_commit=False,
            group_id=None,
            max_poll_records=1,
            bootstrap_timeout_ms=FIRST_ANSWER_MS,
        )
        try:
            for topic, partition, offset in sorted(spots):
                pair = TopicPartition(topic, partition)
                if partition not in (consumer.partitions_for_topic(topic) or ()):
                    continue
                if not consumer.beginning_offsets([pair])[pair] <= offset < consumer.end_offsets([pair])[pair]:
                    continue
                consumer.assign([pair])
                consumer.seek(pair, offset)
                for record in consumer.poll(timeout_ms=READ_MS, max_records=1).get(pair, ()):
                    if record.offset == offset and record.value is not None:
                        found[topic, partition, offset] = record.value
        finally:
            consumer.close()
    except KafkaError as error:
        raise BrokerUnavailable(f"no answer from Kafka at {settings.bootstrap_servers}: {error!r}") from error
    return found
