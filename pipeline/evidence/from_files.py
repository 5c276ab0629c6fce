"""Records that were read from files, and the rows that were made of them, in; ranges sealed now, and exhibits of what is cited, out.

For whoever has logs and no site: the same leaves, chain and proofs as a worker's, made when the files are analysed.  So a bundle proves
that nothing changed since then, and nothing about the time before; its custody log says so.

Holds: the offset of a record is its place in the topic as the files were merged, so the same files give the same roots.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from pipeline.evidence.bundle import Cited, Exhibit, Line
from pipeline.evidence.chain import Range, Sealer
from pipeline.model.outcome import EventRow, Record
from pipeline.model.sealed import ChainHead, Sealed

INCARNATION = "files"
RANGE_RECORDS = 1000
Place = tuple[str, int]  # topic, offset


def seal_all(records: Sequence[Record], rows: Sequence[EventRow], sealer: Sealer, time: int) -> list[Sealed]:
    """A chain for each topic."""
    sealed: list[Sealed] = []
    told: dict[Place, list[EventRow]] = {}
    for row in rows:
        told.setdefault((row.topic, row.offset), []).append(row)
    for topic, mine in groupby(sorted(records, key=lambda each: (each.topic, each.offset)), key=lambda each: each.topic):
        of_topic, last = list(mine), ChainHead()
        for at in range(0, len(of_topic), RANGE_RECORDS):
            block = of_topic[at : at + RANGE_RECORDS]
            where = Range(topic, 0, INCARNATION, block[0].offset, block[-1].offset + 1)
            of_block = [row for each in block for row in told.get((topic, each.offset), ())]
            sealed.append(sealer.seal(where, block, of_block, last, time))
            last = sealed[-1].chain_head
    return sealed


class Exhibits:
    """Everything that was read and sealed, looked up by event and sha256 of the line: many incidents ask, each for its own."""

    def __init__(self, records: Sequence[Record], rows: Sequence[EventRow], sealed: Sequence[Sealed]) -> None:
        self._places: dict[Cited, Place] = {}  # of a line that came twice the first, and, without a sha256, of an event
        self._rows: dict[Place, list[EventRow]] = {}
        for row in rows:
            for name in ((row.event_id, row.sha256), (row.event_id, "")):
                self._places.setdefault(name, (row.topic, row.offset))
            self._rows.setdefault((row.topic, row.offset), []).append(row)
        self._values = {(each.topic, each.offset): each.value for each in records}
        self._sealed: dict[str, list[Sealed]] = {}
        for each in sorted(sealed, key=lambda each: each.lo):
            self._sealed.setdefault(each.topic, []).append(each)

    def of(self, cited: Iterable[Cited]) -> Iterator[Exhibit]:
        """One for each record of which a line is cited; where no line of the event has that sha256, its first: the check tells."""
        places = (self._places.get(each) or self._places.get((each[0], "")) for each in cited)
        for place in sorted({each for each in places if each is not None}):
            ranges = self._sealed[place[0]]
            of = ranges[bisect_right(ranges, place[1], key=lambda each: each.lo) - 1]
            yield Exhibit(of, place[1], tuple(map(_line, self._rows[place])), self._values[place], "events")

    def line(self, event_id: str) -> Line | None:
        """Of which the event was read first; None: no record has it."""
        rows = self._rows[self._places[event_id, ""]] if (event_id, "") in self._places else ()
        return next((_line(row) for row in rows if row.event_id == event_id), None)


def _line(row: EventRow) -> Line:
    return Line(row.index, row.event_id, row.event_time, row.raw.encode("utf-8", "surrogateescape"))
