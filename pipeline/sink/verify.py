"""A database and what Kafka says of its topics in, an account per topic-partition out; `account.py` says what it means.

    committed offsets ── ClickHouse: ranges, rows ── end offsets, dead letters ── accounts           in this order

Holds: nothing is changed; the newest incarnation of a topic is judged; ranges near the end of their retention, whose rows the server may
have dropped first, are left out; committed offsets are older, end offsets and dead letters newer than what ClickHouse was asked, so that
a running worker never looks wrong; memory is bounded by the ranges, not by the rows.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import msgspec

from pipeline.sink.account import (
    CLOCK_MARGIN_SECONDS,
    FILTERED,
    NAMED_MAX,
    NOTHING,
    Account,
    Offsets,
    Place,
    Range,
    Sighted,
    Stored,
    Wanted,
    account,
    differs,
    listed_in,
    noted_within,
    settled,
)
from pipeline.sink.clickhouse import Database

__all__ = ["FILTERED", "Account", "Offsets", "Place", "Sighted", "Wanted", "verify"]

CHUNK_OFFSETS = 1_000_000  # compared by one query, which needs some 150 bytes for each
TTL_MARGIN_DAYS = 8  # parts of one week are dropped together
IN_FLIGHT_SECONDS = 600  # rows come before the note of their range

Progress = Callable[[int, int], None]  # offsets compared, of how many
Letters = Callable[[Wanted, int], Sighted]  # what is looked for; when the first of its ranges was noted, UTC ms, less a margin
Ends = Callable[[], Mapping[Place, int]]


class Found(msgspec.Struct, frozen=True):
    """What ClickHouse says of one partition."""

    offsets: Offsets
    incarnation: str
    ranges: tuple[Range, ...]
    stored: dict[int, Stored] | None = None
    details: dict[int, dict[int, dict[int, int]]] = {}
    outside: tuple[int, ...] = ()

    @property
    def place(self) -> Place:
        return self.offsets.topic, self.offsets.partition

    @property
    def wanted(self) -> frozenset[int]:
        """Offsets that should have a dead letter."""
        return frozenset(offset for offset, code in listed_in(settled(self.offsets, self.ranges)) if code not in FILTERED)

    @property
    def age_seconds(self) -> int:
        """Since the first range with such an offset was noted; its letters were sent after that."""
        listed = (each.age_seconds for each in settled(self.offsets, self.ranges) if any(code not in FILTERED for _, code in each.listed))
        return max(listed, default=0)


def verify(
    database: Database,
    offsets: Sequence[Offsets],
    *,
    inputs: Iterable[str],
    sparse: Iterable[str] = (),
    letters: Letters | None = None,
    ends: Ends | None = None,
    within_seconds: int | None = None,
    progress: Progress = lambda _, __: None,
) -> list[Account]:
    """The account of every partition.

    Rows are compared for the topics in `inputs`, whose rows stand in `events`; topics in `sparse` have ranges only where something was
    refused.  `letters` looks for dead letters and `ends` asks for end offsets, both after ClickHouse was asked; without them dead letters
    are not checked and the ends are those of `offsets`.  `within_seconds` leaves out what stands before the first range noted so long ago.
    """
    counted, thin = frozenset(inputs), frozenset(sparse)
    found = []
    done, total = 0, sum(_width(item) for item in offsets if item.topic in counted)

    def tell(more: int) -> None:
        progress(min(done + more, total), total)

    for item in sorted(offsets, key=lambda item: (item.topic, item.partition)):
        tell(0)
        found.append(_of_partition(database, item, rows_count=item.topic in counted, within=within_seconds, progress=tell))
        done += _width(item) if item.topic in counted else 0
    behind = _behind(database, within_seconds)
    newer = ends() if ends is not None else {}
    strangers = _strangers(found, behind, newer)
    found += [Found(Offsets(*place, 0, 0), "", ()) for place in sorted(strangers.keys() - {each.place for each in found})]
    wanted = {each.place: each.wanted for each in found if each.wanted}
    now = int(database.query("SELECT toUnixTimestamp(now())")[0][0]) * 1000
    noted = now - 1000 * (max((each.age_seconds for each in found), default=0) + CLOCK_MARGIN_SECONDS)
    sighted = letters(wanted, noted) if letters is not None else None
    return [
        account(
            msgspec.structs.replace(each.offsets, end=newer.get(each.place, each.offsets.end)),
            each.incarnation,
            each.ranges,
            each.stored,
            details=each.details,
            outside=(*each.outside, *strangers.get(each.place, ())),
            letters=sighted,
            sparse=each.offsets.topic in thin,
            now=now,
        )
        for each in found
    ]


def _strangers(found: Iterable[Found], behind: Iterable[tuple[Place, bool, int]], ends: Mapping[Place, int]) -> dict[Place, list[int]]:
    """Offsets of rows of which no range will ever speak: of a place or a life of a topic that has none, or behind Kafka's end.

    Others behind the last range, or in a place of Kafka that has no range yet, may be of a worker that died before it could note them.
    """
    places = {each.place: each for each in found}
    strangers: dict[Place, list[int]] = {}
    for place, known, offset in behind:
        there = places.get(place)
        if there is None or (offset >= ends.get(place, there.offsets.end) if known else there.ranges):
            strangers.setdefault(place, []).insert(0, offset)
    return strangers


def _behind(database: Database, within: int | None) -> list[tuple[Place, bool, int]]:
    """The last offsets that have rows behind all ranges of their life of the topic, and have had them for a while; known: it has ranges."""
    oldest = 86_400 * _days(database)
    found = database.query(
        "SELECT DISTINCT _topic, _partition, r.topic != '', _offset FROM {db}.events LEFT JOIN "
        "(SELECT topic, partition, incarnation, max(hi) AS behind FROM {db}.sink_ranges GROUP BY ALL) AS r "
        "ON r.topic = _topic AND r.partition = _partition AND r.incarnation = _incarnation "
        "WHERE _offset >= behind AND _inserted > now() - %(oldest)s AND (_inserted < now() - %(young)s OR _inserted > now() + %(young)s) "
        "ORDER BY _offset DESC LIMIT %(most)s BY _topic, _partition",
        {"most": NAMED_MAX + 1, "oldest": oldest if within is None else min(oldest, within), "young": IN_FLIGHT_SECONDS},
    )
    return [((topic, partition), bool(known), offset) for topic, partition, known, offset in found]


def _days(database: Database) -> int:
    """The server may drop old parts of one table before those of the other: what is older proves nothing."""
    return max(1, database.settings.kept_days("events", "sink_ranges") - TTL_MARGIN_DAYS)


def _width(offsets: Offsets) -> int:
    """How many offsets are compared."""
    return max(0, (offsets.committed or offsets.end) - offsets.begin)


def _of_partition(database: Database, offsets: Offsets, *, rows_count: bool, within: int | None, progress: Callable[[int], None]) -> Found:
    where: dict[str, Any] = {"topic": offsets.topic, "partition": offsets.partition, "days": _days(database)}
    newest = database.query(
        "SELECT incarnation, min(_inserted) <= now() - toIntervalDay(%(days)s) FROM {db}.sink_ranges "
        "WHERE topic = %(topic)s AND partition = %(partition)s GROUP BY incarnation ORDER BY max(_inserted) DESC LIMIT 1",
        where,
    )
    where["incarnation"], aged = newest[0] if newest else ("", False)
    known = _ranges(database, where)
    ranges = known if within is None else tuple(noted_within(known, within))
    if aged or ranges != known:
        first = ranges[0].lo if ranges else known[-1].hi if known else offsets.committed
        offsets = msgspec.structs.replace(offsets, begin=max(offsets.begin, first or offsets.begin))
    if not rows_count:
        return Found(offsets, where["incarnation"], ranges)
    stored: dict[int, Stored] = {}
    for chunk in _chunks(ranges):
        stored |= _stored(database, where, chunk)
        progress(max(0, chunk[-1].hi - offsets.begin))
    wrong = [judged for judged in ranges if differs(judged, stored.get(judged.lo, NOTHING))]
    details = {judged.lo: _detail(database, where, judged) for judged in wrong[:NAMED_MAX]}
    return Found(
        offsets, where["incarnation"], ranges, stored, details, _outside(database, where, offsets, ranges, aged=aged or ranges != known)
    )


def _ranges(database: Database, where: Mapping[str, Any]) -> tuple[Range, ...]:
    """The ranges of an incarnation, ascending; of one that was noted again, its last word."""
    found = database.query(
        "SELECT lo, hi, "
        "argMax((rows, offsets_written, listed_offsets, listed_codes, gap_los, gap_his, gap_codes, row_offset_sum), _inserted), "
        "dateDiff('second', max(_inserted), now()) FROM {db}.sink_ranges "
        "WHERE topic = %(topic)s AND partition = %(partition)s AND incarnation = %(incarnation)s "
        "AND _inserted > now() - toIntervalDay(%(days)s) GROUP BY lo, hi ORDER BY lo, hi",
        where,
    )
    return tuple(
        Range(lo, hi, rows, written, tuple(zip(at, codes, strict=True)), tuple(zip(los, his, whys, strict=True)), age, row_sum)
        for lo, hi, (rows, written, at, codes, los, his, whys, row_sum), age in found
    )


def _chunks(ranges: Sequence[Range]) -> Iterator[Sequence[Range]]:
    """The ranges in pieces of bounded width."""
    begin = 0
    for at, judged in enumerate(ranges):
        if at > begin and judged.hi - ranges[begin].lo > CHUNK_OFFSETS:
            yield ranges[begin:at]
            begin = at
    if ranges:
        yield ranges[begin:]


_ROWS = "_topic = %(topic)s AND _partition = %(partition)s AND _incarnation = %(incarnation)s"
_SPAN = f"{_ROWS} AND _offset >= %(first)s AND _offset < %(last)s"


def _stored(database: Database, where: Mapping[str, Any], ranges: Sequence[Range]) -> dict[int, Stored]:
    found = database.query(
        "SELECT r.lo, uniqExact(e._offset), uniqExact(e._offset, e._index), count(), sum(DISTINCT e._offset) FROM "  # noqa: S608  no value is put into the text
        f"(SELECT _topic, _offset, _index FROM {{db}}.events WHERE {_SPAN}) AS e "
        "ASOF INNER JOIN (SELECT topic, lo, max(hi) AS hi FROM {db}.sink_ranges WHERE topic = %(topic)s AND partition = %(partition)s "
        "AND incarnation = %(incarnation)s AND lo >= %(first)s AND lo < %(last)s GROUP BY topic, lo) AS r "
        "ON e._topic = r.topic AND e._offset >= r.lo WHERE e._offset < r.hi GROUP BY r.lo",
        {**where, "first": ranges[0].lo, "last": max(judged.hi for judged in ranges)},
    )
    return {lo: Stored(*numbers) for lo, *numbers in found}


def _detail(database: Database, where: Mapping[str, Any], judged: Range) -> dict[int, dict[int, int]]:
    """Offset -> index -> copies."""
    found = database.query(
        f"SELECT _offset, _index, count() FROM {{db}}.events WHERE {_SPAN} GROUP BY _offset, _index ORDER BY _offset, _index",  # noqa: S608  same
        {**where, "first": judged.lo, "last": judged.hi},
    )
    detail: dict[int, dict[int, int]] = {}
    for offset, index, copies in found:
        detail.setdefault(offset, {})[index] = copies
    return detail


def _outside(database: Database, where: Mapping[str, Any], offsets: Offsets, ranges: Sequence[Range], *, aged: bool) -> tuple[int, ...]:
    """First offsets that have rows and are in no range.  Behind the last range only what is committed: the rest is in flight."""
    committed = offsets.committed or 0
    holes = [(before.hi, after.lo) for before, after in pairwise(ranges) if after.lo > before.hi][:NAMED_MAX]
    if ranges:
        holes += [] if aged else [(0, ranges[0].lo)]
        holes += [(ranges[-1].hi, committed)]
    elif not aged:
        holes = [(0, committed)]
    spans = " OR ".join(f"(_offset >= {lo} AND _offset < {hi})" for lo, hi in holes if hi > lo)
    if not spans:
        return ()
    incarnation = _ROWS if ranges else "_topic = %(topic)s AND _partition = %(partition)s"
    found = database.query(
        f"SELECT DISTINCT _offset FROM {{db}}.events WHERE {incarnation} AND ({spans}) ORDER BY _offset LIMIT {NAMED_MAX + 1}",  # noqa: S608  numbers of our own
        where,
    )
    return tuple(offset for (offset,) in found)
