"""The port to the database: what the checkpoint needs of a sink, and nothing else.

All methods block and are called from a few threads, never from the event loop.  An error says nothing about the outcome of an insert,
so the checkpoint repeats it with the same token until it is in.
"""

from collections.abc import Collection, Sequence
from typing import Protocol

import msgspec

from pipeline.model.outcome import RangeRow
from pipeline.model.sealed import Sealed
from pipeline.sink.rows import StandingRow, UnreadableRow


class Sink(Protocol):
    """Where rows go.  `pipeline.sink.clickhouse` is the real one, `pipeline.sink.memory` the one for tests and `analyse`."""

    def tables(self, rows: Sequence[msgspec.Struct]) -> dict[str, list[msgspec.Struct]]:
        """Rows by table, in the order given.  Pure: the same rows give the same tables."""

    def insert(self, table: str, rows: Sequence[msgspec.Struct], token: str, incarnation: str = "") -> None:
        """One block.  A second insert with the token changes nothing.

        Raises TransientError when the same insert may succeed later, or may have succeeded; RowsRefused, which names rows, when it will
        without those; FatalError when it never will.
        """

    def landed(self, table: str, topic: str, partition: int, lo: int, hi: int, incarnation: str = "") -> int:
        """How many rows of source offsets [lo, hi) of that life of the topic the table holds.  Raises TransientError."""

    def write_ranges(self, ranges: Sequence[RangeRow]) -> None:
        """Note finished ranges for audits.  To note one again changes nothing.  Raises like `insert`."""

    def write_roots(self, sealed: Sequence[Sealed]) -> None:
        """Keep what ranges were sealed as, before they are noted.  Harmless when repeated.  Raises like `insert`."""

    def rooted(self, topic: str, partition: int, lo: int, hi: int, incarnation: str, root: str) -> bool:
        """Is this very range kept as sealed under this root?  Raises TransientError."""

    def stored(self, topic: str, partition: int, lo: int, hi: int, incarnation: str) -> Collection[int]:
        """Offsets of the range that have rows of `events`.  Raises TransientError."""

    def noted(self, topic: str, partition: int, lo: int, hi: int, incarnation: str) -> bool:
        """Is this very range noted as finished?  Raises TransientError."""

    def write_standings(self, rows: Sequence[StandingRow]) -> None:
        """Note where a worker stands, for people.  Raises TrainwatchError; nobody tries it again."""

    def write_unreadable(self, rows: Sequence[UnreadableRow]) -> None:
        """Note what of sources could not be read, for people.  Raises TrainwatchError; nobody tries it again."""
