"""Topics in; first, last and committed offsets of their partitions out, for tools that look at a pipeline from outside.

Built on kafka-python, without a group of its own.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing

from kafka import KafkaAdminClient, TopicPartition
from kafka.errors import RetriableError

from pipeline.runtime.access import answering, client
from pipeline.runtime.consuming import consumer, ends_of
from pipeline.settings import KafkaSettings
from pipeline.sink.account import Offsets, Place

COORDINATOR_SECONDS, PAUSE_SECONDS = 30.0, 0.5


def read_offsets(settings: KafkaSettings, topics: Iterable[str]) -> list[Offsets]:
    """Of all partitions; a topic that does not exist has none.  Committed offsets are the oldest word.  Raises BrokerUnavailable."""
    known = committed(settings)
    with consumer(settings) as found:
        existing = found.topics()
        asked = [
            TopicPartition(topic, partition)
            for topic in topics
            if topic in existing
            for partition in sorted(found.partitions_for_topic(topic) or ())
        ]
        begin, end = ends_of(found, asked, begins=True), ends_of(found, asked)
    return [Offsets(part.topic, part.partition, begin[part], end[part], known.get(part, 0)) for part in asked]


def read_ends(settings: KafkaSettings, places: Sequence[Place]) -> Mapping[Place, int]:
    """The offset after the last, per partition.  Raises BrokerUnavailable."""
    with consumer(settings) as found:
        ends = ends_of(found, (TopicPartition(*place) for place in places))
    return {(part.topic, part.partition): end for part, end in ends.items()}


def committed(settings: KafkaSettings) -> Mapping[TopicPartition, int]:
    """Offsets of the group, as far as it has any.  Raises BrokerUnavailable, also where its coordinator does not tell.

    After a start it first reads what groups have committed, for seconds or minutes; a broker that never had a group makes the topic for it.
    That is no group without offsets: it is asked again, by a new client, since one keeps a coordinator that has moved.
    """
    deadline = time.monotonic() + COORDINATOR_SECONDS
    with answering(settings, f"what the group {settings.group} has read cannot be asked"):
        while True:
            try:
                with closing(client(KafkaAdminClient, settings)) as admin:
                    found = admin.list_group_offsets(settings.group).get(settings.group, {})
            except RetriableError:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(PAUSE_SECONDS)
            else:
                return {part: each.offset for part, each in found.items()}
