"""Topics in; first, last and committed offsets of their partitions out, for tools that look at a pipeline from outside.

Built on kafka-python, without a group of its own.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, RetriableError

from pipeline.errors import BrokerUnavailable
from pipeline.settings import KafkaSettings
from pipeline.sink.account import Offsets, Place

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST_ANSWER_MS = 10_000  # longest wait for a broker to answer at all


def read_offsets(settings: KafkaSettings, topics: Iterable[str]) -> list[Offsets]:
    """Of all partitions; a topic that does not exist has none.  Committed offsets are the oldest word.  Raises BrokerUnavailable."""
    committed = _committed(settings)
    with _consumer(settings) as consumer:
        existing = consumer.topics()
        asked = [
            TopicPartition(topic, partition)
            for topic in topics
            if topic in existing
            for partition in sorted(consumer.partitions_for_topic(topic) or ())
        ]
        begin, end = consumer.beginning_offsets(asked), consumer.end_offsets(asked)
    return [Offsets(part.topic, part.partition, begin[part], end[part], committed.get((part.topic, part.partition), 0)) for part in asked]


def read_ends(settings: KafkaSettings, places: Sequence[Place]) -> Mapping[Place, int]:
    """The offset behind the last, per partition.  Raises BrokerUnavailable."""
    with _consumer(settings) as consumer:
        ends = consumer.end_offsets([TopicPartition(*place) for place in places])
    return {(part.topic, part.partition): end for part, end in ends.items()}


@contextmanager
def _consumer(settings: KafkaSettings) -> "Iterator[Any]":
    servers = settings.bootstrap_servers
    try:
        consumer = KafkaConsumer(
            bootstrap_servers=servers.split(","), enable_auto_commit=False, group_id=None, bootstrap_timeout_ms=FIRST_ANSWER_MS
        )
        try:
            yield consumer
        finally:
            consumer.close()
    except KafkaError as error:
        raise BrokerUnavailable(f"no answer from Kafka at {servers}: {error!r}") from error


def _committed(settings: KafkaSettings) -> dict[Place, int]:
    """None while the coordinator is not there yet, as before the first group of a new broker."""
    try:
        admin: Any = KafkaAdminClient(bootstrap_servers=settings.bootstrap_servers.split(","), bootstrap_timeout_ms=FIRST_ANSWER_MS)
        try:
            found = admin.list_group_offsets(settings.group)
        except RetriableError:
            return {}
        finally:
            admin.close()
    except KafkaError as error:
        raise BrokerUnavailable(f"no answer from Kafka at {settings.bootstrap_servers}: {error!r}") from error
    return {(part.topic, part.partition): offset.offset for part, offset in found.get(settings.group, {}).items()}
