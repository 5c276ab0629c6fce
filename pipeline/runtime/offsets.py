"""Topics in; first, last and committed offsets of their partitions out, for tools that look at a pipeline from outside.

Built on kafka-python, without a group of its own.
"""

from collections.abc import Iterable, Mapping, Sequence

from kafka import KafkaAdminClient, TopicPartition
from kafka.errors import RetriableError

from pipeline.runtime.access import answering, client
from pipeline.runtime.consuming import consumer, ends_of
from pipeline.settings import KafkaSettings
from pipeline.sink.account import Offsets, Place


def read_offsets(settings: KafkaSettings, topics: Iterable[str]) -> list[Offsets]:
    """Of all partitions; a topic that does not exist has none.  Committed offsets are the oldest word.  Raises BrokerUnavailable."""
    committed = _committed(settings)
    with consumer(settings) as found:
        existing = found.topics()
        asked = [
            TopicPartition(topic, partition)
            for topic in topics
            if topic in existing
            for partition in sorted(found.partitions_for_topic(topic) or ())
        ]
        begin, end = ends_of(found, asked, begins=True), ends_of(found, asked)
    return [Offsets(part.topic, part.partition, begin[part], end[part], committed.get((part.topic, part.partition), 0)) for part in asked]


def read_ends(settings: KafkaSettings, places: Sequence[Place]) -> Mapping[Place, int]:
    """The offset after the last, per partition.  Raises BrokerUnavailable."""
    with consumer(settings) as found:
        ends = ends_of(found, (TopicPartition(*place) for place in places))
    return {(part.topic, part.partition): end for part, end in ends.items()}


def _committed(settings: KafkaSettings) -> dict[Place, int]:
    """None while the coordinator is not there yet, as before the first group of a new broker."""
    admin = client(KafkaAdminClient, settings)
    with answering(settings):
        try:
            found = admin.list_group_offsets(settings.group)
        except RetriableError:
            return {}
        finally:
            admin.close()
    return {(part.topic, part.partition): offset.offset for part, offset in found.get(settings.group, {}).items()}
