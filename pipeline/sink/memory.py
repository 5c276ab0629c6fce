"""Row objects in, the same rows kept in memory out: the sink of the local runtime and of tests.

It keeps the promises of the real one, which one contract suite checks on both: a token is stored once, whatever the rows of the second
insert are; a block is taken whole or not at all; a wrong value is refused by the same rules.  Where ClickHouse replaces rows of one id
by the greatest version when it likes, this one keeps all and leaves the choice to `current`, as the views do.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from pipeline.errors import require
from pipeline.model.outcome import EventRow, RangeRow
from pipeline.model.sealed import Sealed
from pipeline.sink import rows as layout
from pipeline.sink.rows import TABLES, RowsRefused, StandingRow, UnreadableRow

IDS = {"enriched_events": "enriched_id", "verdicts": "verdict_id", "findings": "finding_id", "incidents": "incident_id"}


class MemorySink:
    """The port of `runtime/ports.py` without a server."""

    def __init__(self) -> None:
        self._blocks: dict[str, dict[str, tuple[str, list[msgspec.Struct]]]] = {}  # table -> token -> (incarnation, rows)
        self._ranges: dict[tuple[str, str, int, int, int], RangeRow] = {}
        self._roots: set[tuple[str, str, int, int, int, str]] = set()
        self.standings: list[StandingRow] = []
        self.unreadable: list[UnreadableRow] = []

    def tables(self, rows: Sequence[msgspec.Struct]) -> dict[str, list[msgspec.Struct]]:
        """The rows per table, in their order."""
        return layout.by_table(rows)

    def insert(self, table: str, rows: Sequence[msgspec.Struct], token: str, incarnation: str = "") -> None:
        """One block, stored once per token.  Raises RowsRefused."""
        if not rows:
            return
        found = layout.refused(TABLES[table], rows)
        if found:
            raise RowsRefused(f"{table} refuses {len(found)} of {len(rows)} rows: {found[:5]}", tuple(position for position, _ in found))
        self._blocks.setdefault(table, {}).setdefault(token, (incarnation, list(rows)))

    def landed(self, table: str, topic: str, partition: int, lo: int, hi: int, incarnation: str = "") -> int:
        """How many rows of the range are stored."""
        return sum(1 for _ in self._stored(table, topic, partition, lo, hi, incarnation))

    def _stored(self, table: str, topic: str, partition: int, lo: int, hi: int, incarnation: str) -> Iterator[Any]:
        for life, block in self._blocks.get(table, {}).values():
            for row in block if incarnation in ("", life) else ():
                if (
                    isinstance(row, layout.SinkRow | EventRow)
                    and (row.topic, row.partition) == (topic, partition)
                    and lo <= row.offset < hi
                ):
                    yield row

    def write_ranges(self, ranges: Sequence[RangeRow]) -> None:
        """The audit copies of ranges; harmless when repeated."""
        for each in ranges:
            self._ranges[each.topic, each.incarnation, each.partition, each.lo, each.hi] = each

    def write_roots(self, sealed: Sequence[Sealed]) -> None:
        """What ranges were sealed as; harmless when repeated."""
        self._roots.update((each.topic, each.incarnation, each.partition, each.lo, each.hi, each.root) for each in sealed)

    def rooted(self, topic: str, partition: int, lo: int, hi: int, incarnation: str, root: str) -> bool:
        """Is this very range kept as sealed under this root?"""
        return (topic, incarnation, partition, lo, hi, root) in self._roots

    def stored(self, topic: str, partition: int, lo: int, hi: int, incarnation: str) -> frozenset[int]:
        """Offsets of the range that have rows of `events`."""
        return frozenset(row.offset for row in self._stored("events", topic, partition, lo, hi, incarnation))

    def noted(self, topic: str, partition: int, lo: int, hi: int, incarnation: str) -> bool:
        """Is this very range noted?"""
        return (topic, incarnation, partition, lo, hi) in self._ranges

    def write_standings(self, rows: Sequence[StandingRow]) -> None:
        """Where a worker stands: the last rows alone."""
        self.standings = list(rows)

    def write_unreadable(self, rows: Sequence[UnreadableRow]) -> None:
        """What of sources could not be read."""
        self.unreadable += rows

    # --- for the local runtime and tests

    def rows(self, table: str) -> list[msgspec.Struct]:
        """All rows of a table, block by block."""
        return [row for _, block in self._blocks.get(table, {}).values() for row in block]

    def ranges(self) -> list[RangeRow]:
        """All ranges, by topic, incarnation, partition and offset."""
        return [self._ranges[key] for key in sorted(self._ranges)]

    def current(self, table: str) -> dict[str, Any]:
        """Id -> its row of the greatest version, as the `*_current` views show it."""
        require(table in IDS, f"rows of {table} have no versions")
        newest: dict[str, Any] = {}
        row: Any
        for row in self.rows(table):
            name = getattr(row, IDS[table])
            if name not in newest or newest[name].version <= row.version:
                newest[name] = row
        return newest
