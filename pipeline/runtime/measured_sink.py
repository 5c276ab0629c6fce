"""The port to the database, with a stopwatch: how long calls take, how they fail, and whether one is under way.

Around the sink rather than in the checkpoint, because retries, hurry and order are hard enough to read without it.  Called from the sink's
thread, so what it tells must bear that.
"""

import time
from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

import msgspec

from pipeline.errors import TrainwatchError, TransientError
from pipeline.model.outcome import RangeRow
from pipeline.model.sealed import Sealed
from pipeline.runtime.health import Health
from pipeline.runtime.metrics import Metrics
from pipeline.runtime.ports import Sink
from pipeline.sink.rows import StandingRow, UnreadableRow

T = TypeVar("T")


class MeasuredSink:
    """A sink that tells `metrics` and `health`."""

    def __init__(self, sink: Sink, metrics: Metrics, health: Health) -> None:
        self._sink, self._metrics, self._health = sink, metrics, health

    def tables(self, rows: Sequence[msgspec.Struct]) -> dict[str, list[msgspec.Struct]]:
        """As the sink has it: no call to the database."""
        return self._sink.tables(rows)

    def insert(self, table: str, rows: Sequence[msgspec.Struct], token: str, incarnation: str = "") -> None:
        """As the sink has it."""
        self._measured("insert", lambda: self._sink.insert(table, rows, token, incarnation))
        self._metrics.inserted(table, len(rows))

    def landed(self, table: str, topic: str, partition: int, lo: int, hi: int, incarnation: str = "") -> int:
        """As the sink has it."""
        return self._measured("landed", lambda: self._sink.landed(table, topic, partition, lo, hi, incarnation))

    def write_ranges(self, ranges: Sequence[RangeRow]) -> None:
        """As the sink has it."""
        self._measured("write_ranges", lambda: self._sink.write_ranges(ranges))

    def write_roots(self, sealed: Sequence[Sealed]) -> None:
        """As the sink has it."""
        self._measured("write_roots", lambda: self._sink.write_roots(sealed))

    def rooted(self, topic: str, partition: int, lo: int, hi: int, incarnation: str, root: str) -> bool:
        """As the sink has it."""
        return self._measured("rooted", lambda: self._sink.rooted(topic, partition, lo, hi, incarnation, root))

    def stored(self, topic: str, partition: int, lo: int, hi: int, incarnation: str) -> Collection[int]:
        """As the sink has it."""
        return self._measured("stored", lambda: self._sink.stored(topic, partition, lo, hi, incarnation))

    def noted(self, topic: str, partition: int, lo: int, hi: int, incarnation: str) -> bool:
        """As the sink has it."""
        return self._measured("noted", lambda: self._sink.noted(topic, partition, lo, hi, incarnation))

    def write_standings(self, rows: Sequence[StandingRow]) -> None:
        """As the sink has it: no record waits for it, so neither stopwatch nor health is told."""
        self._sink.write_standings(rows)

    def write_unreadable(self, rows: Sequence[UnreadableRow]) -> None:
        """As the sink has it."""
        self._sink.write_unreadable(rows)

    def _measured(self, call: str, run: Callable[[], T]) -> T:
        started = time.monotonic()
        self._health.sink_calls()
        try:
            result = run()
        except TrainwatchError as error:
            self._metrics.sink(call, time.monotonic() - started, error.code)
            self._health.sink_answered(f"{type(error).__name__}: {error}" if isinstance(error, TransientError) else "")
            raise
        self._metrics.sink(call, time.monotonic() - started)
        self._health.sink_answered()
        return result
