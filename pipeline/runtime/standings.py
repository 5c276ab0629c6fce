"""Where a worker's partitions stand in, rows of `standings` in ClickHouse out: lag and state for who looks there and not at the metrics.
With them go rows of `unreadable_sources`: what could not be read of sources that were read before.

A thread of its own inserts, so that neither the event loop nor a checkpoint waits; while one insert is under way the next one is left out,
and an insert that fails is told in the log once.  Standings are not written again: the next row says what matters.  Unread lines are, with
the next, since each is told once.  Written every NOTE_SECONDS, and once more when partitions are taken away or the worker ends, so that
the last row of a worker that caught up says so.

Holds: nothing here raises into the worker, and nothing keeps its process alive.
"""

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Iterable, Mapping, Sequence

from pipeline.errors import TrainwatchError
from pipeline.ingest.step import IngestState
from pipeline.runtime.health import Reading
from pipeline.runtime.partition import Partition, Source
from pipeline.runtime.ports import Sink
from pipeline.sink.rows import StandingRow, UnreadableRow

NOTE_SECONDS = 15.0
LEAVE_SECONDS = 5.0  # for the last rows of a worker that ends
UNWRITTEN_MAX = 10_000  # gaps that wait for ClickHouse, the newest; standings are told anew


class Standings:
    """Of one worker.  All methods belong to the event loop's thread."""

    def __init__(self, worker: str, log: logging.Logger) -> None:
        self._worker, self._log = worker, log
        self._queue: queue.Queue[tuple[list[StandingRow], list[UnreadableRow]] | None] = queue.Queue(maxsize=2)
        self._thread: threading.Thread | None = None
        self._looked_at: tuple[Mapping[Source, Partition], Sequence[Reading]] = ({}, ())
        self._due = 0.0
        self._failed = ""

    def start(self, sink: Sink) -> None:
        """Rows go there from now on."""
        self._thread = threading.Thread(target=self._write, args=(sink,), name="standings", daemon=True)
        self._thread.start()

    def look(self, parts: Mapping[Source, Partition], readings: Sequence[Reading], last_time: Mapping[Source, int], now: float) -> None:
        """Where all owned partitions stand; noted when it is time."""
        self._looked_at = (dict(parts), readings)
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + NOTE_SECONDS
            self._note(self.rows(parts, readings, last_time, now), parts)

    def leave(self, last_time: Mapping[Source, int], now: float) -> None:
        """The last checkpoint has run: what is left to read is counted from there, up to the ends of the last look."""
        parts, readings = self._looked_at
        self._looked_at = ({}, ())
        left = [
            reading._replace(durable=max(reading.durable, saved.applied))
            for reading in readings
            if reading.source in parts and (saved := parts[reading.source].saved)
        ]
        if left:
            self._note(self.rows(parts, left, last_time, now), parts)

    def close(self) -> None:
        """Waits a moment for what was noted last."""
        if self._thread is not None:
            with contextlib.suppress(queue.Full):
                self._queue.put(None, timeout=LEAVE_SECONDS)
            self._thread.join(LEAVE_SECONDS)

    def rows(
        self, parts: Mapping[Source, Partition], readings: Iterable[Reading], last_time: Mapping[Source, int], now: float
    ) -> list[StandingRow]:
        """One for each partition that is ours."""
        found = []
        for reading in readings:
            if (part := parts.get(reading.source)) is None:
                continue
            last = last_time.get(reading.source)
            age = None if last is None else max(0, int(now - last / 1000))
            found.append(
                StandingRow(
                    topic=reading.source.topic,
                    partition=reading.source.partition,
                    stage=part.stage.name,
                    worker=self._worker,
                    durable=reading.durable,
                    lag=reading.lag,
                    lag_seconds=age if reading.lag else 0,
                    state_bytes=part.state_bytes,
                    state_cases=len(part.cases),
                )
            )
        return found

    def _note(self, rows: list[StandingRow], parts: Mapping[Source, Partition]) -> None:
        if not rows or self._thread is None:
            return
        if self._queue.full():  # ClickHouse is away: gaps stay untold, and nobody else fills the queue meanwhile
            self._log.debug("standings: left out, since those before wait")
            return
        self._queue.put_nowait((rows, unreadable(parts)))

    def _write(self, sink: Sink) -> None:
        unwritten: list[UnreadableRow] = []
        while (noted := self._queue.get()) is not None:
            rows, unread = noted
            unwritten = [*unwritten, *unread][-UNWRITTEN_MAX:]
            try:
                sink.write_standings(rows)
                if unwritten:
                    sink.write_unreadable(unwritten)
                    unwritten = []
            except TrainwatchError as why:
                if self._failed != why.code:
                    self._log.warning("standings: not written: %s %s", why, why.advice)
                self._failed = why.code
            else:
                self._failed = ""


def unreadable(parts: Mapping[Source, Partition]) -> list[UnreadableRow]:
    """What became known since it was asked last, one row for each family and hour."""
    return [
        UnreadableRow(
            hour=gap.hour,
            cluster=gap.cluster,
            source=family.value,
            host=gap.host,
            topic=source.topic,
            partition=source.partition,
            file=gap.file,
            first_time=gap.first,
            last_time=gap.last,
            unread=gap.unread,
        )
        for source, part in parts.items()
        if isinstance(part.state, IngestState)
        for gap in part.state.feeds.take_gaps()
        for family in gap.families
    ]
