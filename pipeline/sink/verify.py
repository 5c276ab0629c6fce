"""Kafka's offsets and ClickHouse's tables in, an account per topic-partition out: is every record there, once?

    read = written + filtered + dead-lettered        over distinct offsets

The worker's own counters are not asked.  `sink_ranges` says what the worker meant to have done with every range of offsets, `events`
what is there, Kafka what there was to read:

    Kafka     begin ------------------------------------------------------ end
    ranges         [lo hi)[lo hi)[lo hi)                                     : no gap from begin on, no overlap
    events         written offsets of each range, each row once              : as many as the range says
                                        <------------ pending -------------> : not read yet, no violation

Holes are offsets that Kafka never handed out: transaction markers, compacted or expired records.  In `events` every row counts; the
other tables replace rows of one id, so for their topics only the ranges are checked.

Holds: `account` is pure; nothing is changed; the newest incarnation of a topic is judged; ranges near the end of their retention,
whose rows the server may have dropped first, are left out.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import msgspec

from pipeline.errors import ErrorCode
from pipeline.sink.clickhouse import Database

NAMED_MAX = 20  # offsets named per violation
FILTERED = frozenset({ErrorCode.CONTROL.value, ErrorCode.NOTHING_TO_KEEP.value})  # all other codes are dead letters
TTL_MARGIN_DAYS = 8  # parts of one week are dropped together


class Offsets(msgspec.Struct, frozen=True):
    """What Kafka says of one partition: first offset that is kept, and the one behind the last."""

    topic: str
    partition: int
    begin: int
    end: int


class Range(msgspec.Struct, frozen=True):
    """One row of `sink_ranges`."""

    lo: int
    hi: int
    rows: int
    written: int  # distinct offsets with a row
    listed: tuple[tuple[int, str], ...] = ()


class Stored(msgspec.Struct, frozen=True):
    """What `events` holds of one range."""

    offsets: int  # distinct
    rows: int  # distinct (offset, index)


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """One topic-partition.  It is right when `violations` is empty."""

    topic: str
    partition: int
    incarnation: str
    begin: int
    end: int
    read: int  # distinct offsets
    written: int
    filtered: int
    dead_lettered: int
    codes: dict[str, int]  # of filtered and dead-lettered records
    rows: int
    holes: int
    pending: int
    missing: tuple[int, ...] = ()  # first offsets without the row they should have
    doubled: tuple[tuple[int, int], ...] = ()  # first (offset, index) stored more than once
    violations: tuple[str, ...] = ()


def account(
    offsets: Offsets,
    incarnation: str,
    ranges: Sequence[Range],
    stored: Mapping[int, Stored] | None,
    *,
    doubled: Sequence[tuple[int, int]] = (),
    both: Sequence[int] = (),
    without_row: Mapping[int, Sequence[int]] | None = None,
) -> Account:
    """Compare.  `ranges` ascend; `stored` maps a range's lo to what is there (None: rows of this topic replace one another);
    `both` are offsets stored although listed; `without_row` names, per deficient range, offsets that have no row."""
    codes: dict[str, int] = {}
    for _, code in (entry for entry in _listed(ranges)):
        codes[code] = codes.get(code, 0) + 1
    violations = list(_order(offsets, ranges))
    missing: list[int] = []
    for judged in ranges if stored is not None else ():
        there = (stored or {}).get(judged.lo, Stored(0, 0))
        if there.offsets < judged.written:
            missing += (without_row or {}).get(judged.lo, ())
            violations.append(
                f"range [{judged.lo}, {judged.hi}): {judged.written - there.offsets} of {judged.written} written offsets are missing"
            )
        elif there.offsets > judged.written:
            violations.append(f"range [{judged.lo}, {judged.hi}): {there.offsets} offsets have rows, {judged.written} should")
        elif there.rows != judged.rows:
            violations.append(f"range [{judged.lo}, {judged.hi}): {there.rows} rows are there, {judged.rows} should be")
    if doubled:
        violations.append(f"rows stored more than once: {_some([f'{offset}/{index}' for offset, index in doubled])}")
    if both:
        violations.append(f"offsets stored although listed as not written: {_some(both)}")
    written = sum(judged.written for judged in ranges)
    filtered = sum(count for code, count in codes.items() if code in FILTERED)
    listed = sum(codes.values())
    return Account(
        topic=offsets.topic,
        partition=offsets.partition,
        incarnation=incarnation,
        begin=offsets.begin,
        end=offsets.end,
        read=written + listed,
        written=written,
        filtered=filtered,
        dead_lettered=listed - filtered,
        codes=dict(sorted(codes.items())),
        rows=sum(judged.rows for judged in ranges),
        holes=sum(judged.hi - judged.lo - judged.written - len(judged.listed) for judged in ranges),
        pending=max(0, offsets.end - (ranges[-1].hi if ranges else offsets.begin)),
        missing=tuple(missing[:NAMED_MAX]),
        doubled=tuple(doubled[:NAMED_MAX]),
        violations=tuple(violations),
    )


def _listed(ranges: Iterable[Range]) -> Iterable[tuple[int, str]]:
    for judged in ranges:
        yield from judged.listed


def _order(offsets: Offsets, ranges: Sequence[Range]) -> Iterable[str]:
    """Violations of the ranges alone."""
    if not ranges:
        return
    if ranges[0].lo > offsets.begin:
        yield f"offsets {offsets.begin} to {ranges[0].lo - 1} are in no range"
    for before, after in pairwise(ranges):
        if after.lo > before.hi:
            yield f"offsets {before.hi} to {after.lo - 1} are in no range"
        elif after.lo < before.hi:
            yield f"ranges [{before.lo}, {before.hi}) and [{after.lo}, {after.hi}) overlap"
    for judged in ranges:
        outside = [offset for offset, _ in judged.listed if not judged.lo <= offset < judged.hi]
        distinct = len({offset for offset, _ in judged.listed})
        if outside or distinct != len(judged.listed):
            yield f"range [{judged.lo}, {judged.hi}) lists offsets twice or from elsewhere: {_some(outside)}"
        if judged.written + distinct > judged.hi - judged.lo:
            yield f"range [{judged.lo}, {judged.hi}) accounts for more offsets than it has"
    if ranges[-1].hi > offsets.end:
        yield f"ranges reach offset {ranges[-1].hi}, Kafka ends at {offsets.end}: the topic was truncated, or made again under old state"


def _some(items: Sequence[Any]) -> str:
    more = "" if len(items) <= NAMED_MAX else f" and {len(items) - NAMED_MAX} more"
    return ", ".join(map(str, items[:NAMED_MAX])) + more


def verify(database: Database, offsets: Sequence[Offsets], *, inputs: Iterable[str]) -> list[Account]:
    """The account of every partition; rows are compared for the topics in `inputs`, whose rows stand in `events`."""
    counted = frozenset(inputs)
    known = sorted(offsets, key=lambda item: (item.topic, item.partition))
    return [_of_partition(database, item, rows_count=item.topic in counted) for item in known]


def _of_partition(database: Database, offsets: Offsets, *, rows_count: bool) -> Account:
    # The server may drop old parts of one table before those of the other: ranges of that age prove nothing.
    days = max(1, database.settings.retention_days - TTL_MARGIN_DAYS)
    where: dict[str, Any] = {"topic": offsets.topic, "partition": offsets.partition, "days": days}
    newest = database.query(
        "SELECT incarnation, min(_inserted) <= now() - toIntervalDay(%(days)s) FROM {db}.sink_ranges "
        "WHERE topic = %(topic)s AND partition = %(partition)s GROUP BY incarnation ORDER BY max(_inserted) DESC LIMIT 1",
        where,
    )
    where["incarnation"], aged = newest[0] if newest else ("", False)
    ranges = [
        Range(lo, hi, rows, written, tuple(zip(listed, codes, strict=True)))
        for lo, hi, rows, written, listed, codes in database.query(
            "SELECT lo, hi, any(rows), any(offsets_written), any(listed_offsets), any(listed_codes) FROM {db}.sink_ranges "
            "WHERE topic = %(topic)s AND partition = %(partition)s AND incarnation = %(incarnation)s "
            "AND _inserted > now() - toIntervalDay(%(days)s) GROUP BY lo, hi ORDER BY lo, hi",
            where,
        )
    ]
    if aged and ranges:
        offsets = msgspec.structs.replace(offsets, begin=max(offsets.begin, ranges[0].lo))
    if not rows_count or not ranges:
        return account(offsets, where["incarnation"], ranges, None)
    where |= {"first": ranges[0].lo, "last": ranges[-1].hi}
    stored = _stored(database, where)
    deficient = [judged for judged in ranges if stored.get(judged.lo, Stored(0, 0)).offsets < judged.written]
    return account(
        offsets,
        where["incarnation"],
        ranges,
        stored,
        doubled=_doubled(database, where),
        both=_both(database, where),
        without_row={judged.lo: _without_row(database, judged, where) for judged in deficient[:NAMED_MAX]},
    )


_ROWS = (
    "WHERE _topic = %(topic)s AND _partition = %(partition)s AND _incarnation = %(incarnation)s "
    "AND _offset >= %(first)s AND _offset < %(last)s"
)


def _stored(database: Database, where: Mapping[str, Any]) -> dict[int, Stored]:
    found = database.query(
        "SELECT r.lo, uniqExact(e._offset), uniqExact(e._offset, e._index) "  # noqa: S608  no value is put into the text
        f"FROM (SELECT _topic, _offset, _index FROM {{db}}.events {_ROWS}) AS e "
        "ASOF INNER JOIN (SELECT DISTINCT topic, lo FROM {db}.sink_ranges WHERE topic = %(topic)s AND partition = %(partition)s "
        "AND incarnation = %(incarnation)s) AS r ON e._topic = r.topic AND e._offset >= r.lo GROUP BY r.lo",
        where,
    )
    return {lo: Stored(offsets, rows) for lo, offsets, rows in found}


def _doubled(database: Database, where: Mapping[str, Any]) -> list[tuple[int, int]]:
    found = database.query(
        f"SELECT _offset, _index FROM {{db}}.events {_ROWS} "  # noqa: S608  same
        "GROUP BY _offset, _index HAVING count() > 1 ORDER BY _offset, _index",
        where,
    )
    return [(offset, index) for offset, index in found]


def _both(database: Database, where: Mapping[str, Any]) -> list[int]:
    found = database.query(
        f"SELECT DISTINCT _offset FROM {{db}}.events {_ROWS} "  # noqa: S608  same
        "AND _offset IN (SELECT arrayJoin(listed_offsets) FROM {db}.sink_ranges WHERE topic = %(topic)s "
        "AND partition = %(partition)s AND incarnation = %(incarnation)s) ORDER BY _offset",
        where,
    )
    return [offset for (offset,) in found]


def _without_row(database: Database, judged: Range, where: Mapping[str, Any]) -> list[int]:
    """First offsets of a range that have no row and are not listed: the missing ones, and among them its holes."""
    found = database.query(
        f"SELECT DISTINCT _offset FROM {{db}}.events {_ROWS}",  # noqa: S608  same
        {**where, "first": judged.lo, "last": judged.hi},
    )
    known = {offset for (offset,) in found} | {offset for offset, _ in judged.listed}
    return [offset for offset in range(judged.lo, judged.hi) if offset not in known][:NAMED_MAX]
