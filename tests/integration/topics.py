"""What stands in a topic of Kafka: everything, by a consumer without a group, which leaves no trace."""

from typing import Any

from kafka import KafkaConsumer, TopicPartition

from pipeline.settings import Settings


def partitions_read(settings: Settings, topic: str) -> list[list[Any]]:
    """All records, a list for each partition."""
    consumer: Any = KafkaConsumer(bootstrap_servers=settings.kafka.bootstrap_servers, enable_auto_commit=False)
    try:
        partitions = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic))]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        ends = consumer.end_offsets(partitions)
        found: dict[Any, list[Any]] = {partition: [] for partition in partitions}
        while any(consumer.position(partition) < end for partition, end in ends.items()):
            for partition, records in consumer.poll(timeout_ms=500).items():
                found[partition] += records
    finally:
        consumer.close()
    return list(found.values())


def read(settings: Settings, topic: str) -> list[Any]:
    """All records, partition by partition."""
    return [record for records in partitions_read(settings, topic) for record in records]
