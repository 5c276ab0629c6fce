"""Partitions in; their first and end offsets out, by a client of the worker's loop: one request each for all of them.

The client is told of all their topics first.  Asked for topics that it does not know it learns one of them, sleeps for a tenth of a second
and tries again, once for each topic: more than a second of every take-over.
"""

from collections.abc import Mapping, Sequence

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from pipeline.runtime.partition import Source


async def bounds_of(client: AIOKafkaConsumer, sources: Sequence[Source]) -> tuple[Mapping[Source, int], Mapping[Source, int]]:
    """(first, end) offsets.  Waits for partitions without a leader.  Raises KafkaError."""
    for topic in {source.topic for source in sources}:
        client._client.add_topic(topic)  # the request waits for what this asks the broker
    pairs = [TopicPartition(*source) for source in sources]
    first, end = await client.beginning_offsets(pairs), await client.end_offsets(pairs)
    return {Source(*pair): offset for pair, offset in first.items()}, {Source(*pair): offset for pair, offset in end.items()}
