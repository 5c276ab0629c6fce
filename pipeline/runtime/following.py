"""Tools that watch a running pipeline from outside: values of a topic as they arrive, and whether all work is done.

Built on kafka-python, without a group of their own, so that they never disturb the workers.
"""

from collections.abc import Iterator
from typing import NamedTuple, Self

from kafka import KafkaConsumer, TopicPartition

from pipeline.runtime.access import answering, client
from pipeline.runtime.consuming import consumer, ends_of
from pipeline.runtime.offsets import committed
from pipeline.settings import Settings
from pipeline.topology import Topology


class Follower:
    """Values of one topic, from its beginning.  Raises BrokerUnavailable."""

    def __init__(self, settings: Settings, topic: str) -> None:
        self._settings = settings.kafka
        self._consumer = client(KafkaConsumer, settings.kafka, enable_auto_commit=False, auto_offset_reset="earliest")
        with answering(settings.kafka):
            self._consumer.assign([TopicPartition(topic, number) for number in sorted(self._consumer.partitions_for_topic(topic) or ())])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def poll(self, seconds: float) -> Iterator[bytes]:
        """What has arrived, after waiting at most `seconds` for something to arrive."""
        with answering(self._settings):
            polled = self._consumer.poll(timeout_ms=int(seconds * 1000))
        for records in polled.values():
            yield from (record.value for record in records if record.value is not None)


class Backlog(NamedTuple):
    """What the workers have not committed yet."""

    lag: int  # records of all consumed topics
    input_lag: int  # of the input topics alone
    settled: bool  # the ends did not move while we looked

    @property
    def done(self) -> bool:
        return self.settled and self.lag == 0


def caught_up(settings: Settings, topology: Topology) -> Backlog:
    """Compare committed offsets with ends, ends asked before and after: facts in flight would move them.  Raises BrokerUnavailable."""
    topics = [topic for stage in topology.stages for topic in stage.reads]
    with consumer(settings.kafka) as reader:
        parts = [TopicPartition(topic, number) for topic in topics for number in reader.partitions_for_topic(topic) or ()]
        before = ends_of(reader, parts)
        known = committed(settings.kafka)
        after = ends_of(reader, parts)
    behind = {part: max(after[part] - known.get(part, 0), 0) for part in parts}
    inputs = set(settings.kafka.input_topics)
    return Backlog(sum(behind.values()), sum(lag for part, lag in behind.items() if part.topic in inputs), before == after)
