"""Settings in; a consumer of Kafka out that is closed whatever happens, and its records as ours: for tools that look from outside.

Built on kafka-python, without a group unless one is named, and never committing by itself: who only looks must leave no trace, and who has
a group says when its work is done.

Holds: what Kafka's client raises within is BrokerUnavailable or ConfigError to whoever asked.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from kafka import KafkaConsumer

from pipeline.model.outcome import Record
from pipeline.runtime.access import answering, client
from pipeline.settings import KafkaSettings

ENDS_MS = 30_000


@contextmanager
def consumer(settings: KafkaSettings, **options: Any) -> Iterator[Any]:
    """A KafkaConsumer with these options.  Raises BrokerUnavailable or ConfigError."""
    made = client(KafkaConsumer, settings, **{"group_id": None, "enable_auto_commit": False, **options})
    with answering(settings):
        try:
            yield made
        finally:
            made.close()


def ends_of(reader: Any, parts: Iterable[Any], *, begins: bool = False) -> dict[Any, int]:
    """Where each partition ends, or begins.  Raises KafkaError, also when one has no leader for ENDS_MS.

    Asked one by one: of several, the client leaves out without a word those whose leader it does not know.
    """
    ask = reader.beginning_offsets if begins else reader.end_offsets
    return {part: int(ask([part], timeout_ms=ENDS_MS)[part]) for part in parts}


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
