"""Records that were read from files, and the rows that were made of them, in; ranges sealed now, and exhibits of what is cited, out.

For whoever has logs and no site: the same leaves, chain and proofs as a worker's, made when the files are analysed.  So a bundle proves
that nothing changed since then, and nothing about the time before; its custody log says so.

Holds: the offset of a record is its place in the topic as the files were merged, so the same files give the same roots.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby

from pipeline.evidence.bundle import Exhibit, Line
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


def exhibits(cited: Collection[str], records: Sequence[Record], rows: Sequence[EventRow], sealed: Sequence[Sealed]) -> Iterator[Exhibit]:
    """One for each record of which an event is cited; of an event that came twice the first."""
    lines: dict[Place, list[Line]] = {}
    wanted: dict[str, Place] = {}
    for row in rows:
        place = row.topic, row.offset
        if row.event_id in cited:
            wanted.setdefault(row.event_id, place)
    places = set(wanted.values())
    for row in rows:
        if (row.topic, row.offset) in places:
            raw = row.raw.encode("utf-8", "surrogateescape")
            lines.setdefault((row.topic, row.offset), []).append(Line(row.index, row.event_id, row.event_time, raw))
    values: Mapping[Place, bytes | None] = {
        (each.topic, each.offset): each.value for each in records if (each.topic, each.offset) in places
    }
    for place in sorted(places):
        of = next(each for each in sealed if each.topic == place[0] and each.lo <= place[1] < each.hi)
        yield Exhibit(of, place[1], tuple(lines[place]), values[place], "events")
