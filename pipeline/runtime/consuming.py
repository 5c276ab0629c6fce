"""Settings in; a consumer of Kafka out that is closed whatever happens, and its records as ours: for tools that look from outside.

Built on kafka-python, without a group unless one is named, and never committing by itself: who only looks must leave no trace, and who has
a group says when its work is done.

Holds: what Kafka's client raises within is BrokerUnavailable to whoever asked.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kafka import KafkaConsumer
from kafka.errors import KafkaError

from pipeline.errors import BrokerUnavailable
from pipeline.model.outcome import Record
from pipeline.settings import KafkaSettings

FIRST_ANSWER_MS = 10_000  # longest wait for a broker to answer at all


@contextmanager
def consumer(settings: KafkaSettings, **options: Any) -> Iterator[Any]:
    """A KafkaConsumer with these options.  Raises BrokerUnavailable."""
    usual = {"group_id": None, "enable_auto_commit": False, "bootstrap_timeout_ms": FIRST_ANSWER_MS}
    with answering(settings):
        made = KafkaConsumer(**{"bootstrap_servers": settings.bootstrap_servers.split(","), **usual, **options})
        try:
            yield made
        finally:
            made.close()


@contextmanager
def answering(settings: KafkaSettings) -> Iterator[None]:
    """Kafka is asked something within.  Raises BrokerUnavailable where its client gives up."""
    try:
        yield
    except KafkaError as error:
        raise BrokerUnavailable(f"no answer from Kafka at {settings.bootstrap_servers}: {error!r}") from error


def record_of(found: Any) -> Record:
    """As steps take it."""
    return Record(
        topic=found.topic,
        partition=found.partition,
        offset=found.offset,
        timestamp=found.timestamp,
        value=found.value,
        key=found.key,
        headers=tuple((name, value or b"") for name, value in found.headers or ()),
    )
