"""Settings in; a consumer of Kafka out that is closed whatever happens, and its records as ours: for tools that look from outside.

Built on kafka-python, without a group unless one is named, and never committing by itself: who only looks must leave no trace, and who has
a group says when its work is done.

Holds: what Kafka's client raises within is BrokerUnavailable or ConfigError to whoever asked.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from kafka import ConsumerRebalanceListener, KafkaConsumer

from pipeline.model.outcome import Record
from pipeline.runtime.access import answering, client
from pipeline.settings import KafkaSettings

ENDS_MS = 30_000
GOODBYE_MS = 2000  # for leaving a group; the client's own 30 s would outlast the patience of whoever ends us


@contextmanager
def consumer(settings: KafkaSettings, **options: Any) -> Iterator[Any]:
    """A KafkaConsumer with these options.  Raises BrokerUnavailable or ConfigError."""
    made = client(KafkaConsumer, settings, **{"group_id": None, "enable_auto_commit": False, **options})
    with answering(settings):
        try:
            yield made
        finally:
            made.close(timeout_ms=GOODBYE_MS)


class Group(ConsumerRebalanceListener):
    """A reader in its consumer group, which shares out the partitions of topics.  `joined`: it has said what is ours, if anything."""

    def __init__(self, reader: Any, topics: Sequence[str]) -> None:
        self.joined = False
        self._reader = reader
        reader.subscribe(topics, listener=self)

    def on_partitions_revoked(self, revoked: object) -> None:  # noqa: ARG002  a signature of the library
        self.joined = False

    def on_partitions_assigned(self, assigned: object) -> None:  # noqa: ARG002  same
        self.joined = True

    def poll(self, seconds: float) -> dict[Any, list[Any]]:
        """What came within `seconds`, by partition.  Raises KafkaError.

        Where new metadata made the client join again (kafka-python 3.0.12: `need_rejoin` is false from the assignment on) and a poll ends
        before the group has answered, no later one takes the answer: nothing is assigned, no heartbeat goes out, and nothing says so.
        """
        fetched: dict[Any, list[Any]] = self._reader.poll(timeout_ms=round(seconds * 1000))
        if not self.joined:
            self._reader._coordinator.request_rejoin()  # nothing public asks for it; the join under way is taken up
        return fetched


def ends_of(reader: Any, parts: Iterable[Any], *, begins: bool = False, wait_ms: int = ENDS_MS) -> dict[Any, int]:
    """Where each partition ends, or begins.  Raises KafkaError, also when one has no leader for `wait_ms`.

    Of several, the client forgets those whose leader it does not know, and ends with a KeyError as a rule; of one it waits for the leader.
    """
    ask, parts, found = (reader.beginning_offsets if begins else reader.end_offsets), list(parts), {}
    with suppress(KeyError):
        found = ask(parts, timeout_ms=wait_ms)
    return {part: int(found[part] if part in found else ask([part], timeout_ms=wait_ms)[part]) for part in parts}


def offsets_at(reader: Any, parts: Iterable[Any], moment: int, ends: Mapping[Any, int]) -> dict[Any, int]:
    """The first offset of each partition at or after a moment (UTC ms), else its end.  Raises KafkaError.

    Of several, the client answers None for one without a leader as for one without such a record: that one is asked for again, alone.
    """
    moments = dict.fromkeys(parts, max(moment, 0))
    found = reader.offsets_for_times(dict(moments)) if moments else {}
    offsets = {part: found[part] or reader.offsets_for_times({part: at})[part] for part, at in moments.items()}
    return {part: at.offset if at else ends[part] for part, at in offsets.items()}


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
