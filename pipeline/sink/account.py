"""Kafka's offsets, ClickHouse's tables and the dead letters in, an account per topic-partition out: is every record there, once?

    read = written + filtered + dead-lettered        over distinct offsets

The worker's own counters are not asked.  `sink_ranges` says what the worker meant to have done with every range of offsets, `events`
what is there, Kafka what there was to read and which dead letters it holds:

    Kafka     begin ----------------------------------- committed -------- end
    ranges         [lo hi)[lo hi)[lo hi)                [lo hi)              : no gap from begin to committed, no overlap
    events         written offsets of each range, each row once              : exactly those that are neither listed nor absent
    letters           x            x                       x                 : one per listed offset with a dead letter's code
                                                        <in flight><pending> : no violation

Offsets that held no record (markers of transactions, aborted or compacted records) stand in the range as runs, so that every offset of it
is accounted for, and a lost row is named exactly also there.  Of a record with several rows the lost one is named by the sum of the offsets
of all rows, while it is the only one of its range.  In `events` every row counts; the other tables replace rows of one id, so for their
topics only ranges and dead letters are checked; topics of facts have ranges only where something was refused.

A range is noted before its dead letters are sent, and committed after: letters of the last one that are not there yet are in flight.
Dead letters that their topic was free to delete are not checked, and said to be so.

Pure: `verify.py` asks the servers.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import msgspec

from pipeline.errors import ErrorCode
from pipeline.model.outcome import OVERTAKEN

NAMED_MAX = 20  # offsets named per violation, and ranges looked into per partition
FILTERED = frozenset({ErrorCode.CONTROL.value, ErrorCode.NOTHING_TO_KEEP.value})  # all other codes are dead letters
CLOCK_MARGIN_SECONDS = 3600  # between the clocks of ClickHouse, of Kafka and of the workers

Place = tuple[str, int]  # topic, partition
Wanted = Mapping[Place, frozenset[int]]


class Offsets(msgspec.Struct, frozen=True):
    """What Kafka says of one partition: first offset that is kept, the one after the last, and the next that the group would read."""

    topic: str
    partition: int
    begin: int
    end: int
    committed: int | None = None  # 0: the group has committed nothing; None: it was not asked


class Range(msgspec.Struct, frozen=True):
    """One row of `sink_ranges`."""

    lo: int
    hi: int
    rows: int
    written: int  # distinct offsets with a row
    listed: tuple[tuple[int, str], ...] = ()
    gaps: tuple[tuple[int, int, str], ...] = ()  # runs without records, and why
    age_seconds: int = 0  # since it was noted, by ClickHouse's clock
    row_offset_sum: int = 0  # of the offsets of all rows; 0: not known

    @property
    def holes(self) -> int:
        """Offsets that held no record."""
        return self.hi - self.lo - self.written - len(self.listed)

    @property
    def unaccounted(self) -> int:
        """Offsets that are neither written nor listed nor in a run without records."""
        listed = {offset for offset, _ in self.listed if self.lo <= offset < self.hi} if self.listed else ()
        return self.hi - self.lo - self.written - len(listed) - sum(hi - lo for lo, hi, _ in self.gaps)

    @property
    def exact(self) -> bool:
        """Is every offset of it accounted for?"""
        return self.unaccounted == 0

    def expected(self) -> set[int]:
        """Offsets that should have rows; where some are unaccounted for, those that may."""
        offsets = set(range(self.lo, self.hi)).difference(offset for offset, _ in self.listed)
        for lo, hi, _ in self.gaps if self.exact else ():
            offsets.difference_update(range(lo, hi))
        return offsets

    def expected_sum(self) -> int:
        """Of the offsets that should have rows."""
        absent = sum(_sum(lo, hi) for lo, hi, _ in self.gaps)
        return _sum(self.lo, self.hi) - absent - sum(offset for offset, _ in self.listed)


class Stored(msgspec.Struct, frozen=True):
    """What `events` holds of one range."""

    offsets: int  # distinct
    rows: int  # distinct (offset, index)
    copies: int  # all
    offset_sum: int  # of the distinct ones


Detail = Mapping[int, Mapping[int, int]]  # offset -> index -> copies, of one range


class Sighted(msgspec.Struct, frozen=True):
    """What was found on the dead-letter topic of what was asked for."""

    seen: Wanted
    kept_seconds: float = float("inf")  # older ones may have been deleted
    kept_from: int | None = None  # the same as UTC ms: the topic has reached its size


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """One topic-partition.  It is right when `violations` is empty."""

    topic: str
    partition: int
    incarnation: str
    begin: int
    end: int
    committed: int | None
    read: int  # distinct offsets
    written: int
    filtered: int
    dead_lettered: int
    codes: dict[str, int]  # of filtered and dead-lettered records
    rows: int
    holes: int
    overtaken: int  # deleted by Kafka before they were read
    pending: int  # not read yet, or read and not noted
    in_flight: int  # noted, and the group has not committed them yet
    not_checked: int  # dead letters that their topic may have deleted meanwhile
    missing: tuple[int, ...] = ()  # first offsets without the row they should have
    doubled: tuple[tuple[int, int], ...] = ()  # first (offset, index) stored more than once
    extra: tuple[int, ...] = ()  # first offsets with rows that should have none
    without_letter: tuple[int, ...] = ()  # first offsets listed as rejected whose dead letter is not there
    violations: tuple[str, ...] = ()


def noted_within(ranges: Sequence[Range], seconds: int) -> Sequence[Range]:
    """From the first range on that was noted so many seconds ago or later; those after it belong to it, also when they are older."""
    first = next((at for at, judged in enumerate(ranges) if judged.age_seconds <= seconds), len(ranges))
    return ranges[first:]


def account(
    offsets: Offsets,
    incarnation: str,
    ranges: Sequence[Range],
    stored: Mapping[int, Stored] | None,
    *,
    details: Mapping[int, Detail] | None = None,
    outside: Sequence[int] = (),
    letters: Sighted | None = None,
    sparse: bool = False,
    now: int = 0,
) -> Account:
    """Compare.  `ranges` ascend; `stored` maps a range's lo to what is there (None: rows of this topic replace one another); `details`
    are of the ranges that differ; `outside` are offsets with rows in no range; `sparse`: not every offset is in a range; `now`: UTC ms."""
    codes: dict[str, int] = {}
    for _, code in listed_in(ranges):
        codes[code] = codes.get(code, 0) + 1
    violations = list(_of_ranges(ranges)) if sparse else [*_order(offsets, ranges), *_of_ranges(ranges), *_overtaken(offsets, ranges)]
    rows = _Rows()
    for judged in ranges if stored is not None else ():
        violations += rows.compare(judged, (stored or {}).get(judged.lo, NOTHING), (details or {}).get(judged.lo))
    if stored is None and not sparse:
        violations += [_unaccounted(each) for each in ranges if not each.exact]
    if rows.doubled:
        violations.append(f"rows stored more than once: {_some([f'{offset}/{index}' for offset, index in rows.doubled])}")
    if rows.both:
        violations.append(f"offsets stored although listed as not written: {_some(rows.both)}")
    if outside:
        violations.append(f"rows outside of any range, at offsets {_some(outside)}")
    unsent, not_checked = _letters(offsets, ranges, letters, now)
    if unsent:
        violations.append(f"no dead letter, though listed as rejected, at offsets {_some(unsent)}")
    written = sum(judged.written for judged in ranges)
    filtered = sum(count for code, count in codes.items() if code in FILTERED)
    listed = sum(codes.values())
    overtaken = sum(hi - lo for judged in ranges for lo, hi, why in judged.gaps if why == OVERTAKEN)
    last = ranges[-1].hi if ranges else offsets.begin
    return Account(
        topic=offsets.topic,
        partition=offsets.partition,
        incarnation=incarnation,
        begin=offsets.begin,
        end=offsets.end,
        committed=offsets.committed,
        read=written + listed,
        written=written,
        filtered=filtered,
        dead_lettered=listed - filtered,
        codes=dict(sorted(codes.items())),
        rows=sum(judged.rows for judged in ranges),
        holes=sum(judged.holes for judged in ranges) - overtaken,
        overtaken=overtaken,
        pending=0 if sparse else max(0, offsets.end - max(last, offsets.begin)),
        in_flight=0 if sparse or offsets.committed is None else max(0, last - max(offsets.committed, offsets.begin)),
        not_checked=not_checked,
        missing=tuple(rows.missing[:NAMED_MAX]),
        doubled=tuple(rows.doubled[:NAMED_MAX]),
        extra=tuple(sorted({*rows.extra, *rows.both, *outside})[:NAMED_MAX]),
        without_letter=tuple(unsent[:NAMED_MAX]),
        violations=tuple(violations),
    )


NOTHING = Stored(0, 0, 0, 0)


class _Rows:
    """What is wrong with the rows of a partition, range by range."""

    def __init__(self) -> None:
        self.missing: list[int] = []
        self.extra: list[int] = []
        self.both: list[int] = []
        self.doubled: list[tuple[int, int]] = []

    def compare(self, judged: Range, there: Stored, detail: Detail | None) -> Iterator[str]:
        """Sentences; the offsets go to the lists."""
        if not differs(judged, there):
            return
        name = f"range [{judged.lo}, {judged.hi})"
        if detail is None and there.offsets == judged.written and there.rows == there.copies == judged.rows:
            yield _unaccounted(judged)
            return
        if detail is None:
            yield f"{name}: {there.offsets} offsets have {there.copies} rows, {judged.written} should have {judged.rows}"
            return
        there = _counted(detail)
        expected, listed = judged.expected(), {offset for offset, _ in judged.listed}
        missing, extra, both = sorted(expected - detail.keys()), sorted(detail.keys() - expected - listed), sorted(detail.keys() & listed)
        lost = len(missing) if judged.exact else max(0, judged.written - (there.offsets - len(both)))
        if lost:
            self.missing += missing
            yield f"{name}: {lost} of {judged.written} written offsets are missing{'' if judged.exact else ', among these and its holes'}"
        if extra or there.offsets > judged.written:
            self.extra += extra
            yield f"{name}: {there.offsets} offsets have rows, {judged.written} should{f': not {_some(extra)}' if extra else ''}"
        elif not lost and there.rows != judged.rows:
            torn = sorted(offset for offset, rows in detail.items() if max(rows) + 1 != len(rows)) or _shortened(judged, detail)
            self.missing += torn
            yield f"{name}: {there.rows} rows are there, {judged.rows} should be"
        if not judged.exact and not lost and not extra:
            unaccounted = sorted(expected - detail.keys())
            self.missing += unaccounted
            yield f"{name}: nothing says what became of offsets {_some(unaccounted)}: neither written nor listed nor without a record"
        self.both += both
        self.doubled += sorted((offset, index) for offset, rows in detail.items() for index, copies in rows.items() if copies > 1)


def _unaccounted(judged: Range) -> str:
    return f"range [{judged.lo}, {judged.hi}): nothing says what became of {judged.unaccounted} of its offsets"


def _shortened(judged: Range, detail: Detail) -> list[int]:
    """The offset whose last row is gone, where it is the only row of the range that is."""
    offset = judged.row_offset_sum - sum(offset * len(rows) for offset, rows in detail.items())
    return [offset] if judged.row_offset_sum and judged.rows - sum(map(len, detail.values())) == 1 and offset in detail else []


def differs(judged: Range, there: Stored) -> bool:
    """Is anything of the range not as it was noted, or of any offset of it not noted what became of it?"""
    return (
        not judged.exact
        or there.offsets != judged.written
        or there.rows != judged.rows
        or there.copies != there.rows
        or there.offset_sum != judged.expected_sum()
    )


def _counted(detail: Detail) -> Stored:
    copies = sum(sum(rows.values()) for rows in detail.values())
    return Stored(len(detail), sum(map(len, detail.values())), copies, sum(detail))


def listed_in(ranges: Iterable[Range]) -> Iterable[tuple[int, str]]:
    for judged in ranges:
        yield from judged.listed


def _order(offsets: Offsets, ranges: Sequence[Range]) -> Iterator[str]:
    """Do the ranges cover what was committed, each offset once, and nothing that Kafka does not have?"""
    committed = offsets.committed
    if not ranges:
        if committed is not None and committed > offsets.begin:
            yield f"offsets {offsets.begin} to {committed - 1} are in no range"
        return
    if ranges[0].lo > offsets.begin:
        yield f"offsets {offsets.begin} to {ranges[0].lo - 1} are in no range"
    reached = ranges[0].hi
    for before, after in pairwise(ranges):
        if after.lo > reached:
            yield f"offsets {reached} to {after.lo - 1} are in no range"
        elif after.lo < before.hi:
            yield f"ranges [{before.lo}, {before.hi}) and [{after.lo}, {after.hi}) overlap"
        reached = max(reached, after.hi)
    if committed is not None and committed > max(reached, offsets.begin):
        yield f"offsets {max(reached, offsets.begin)} to {committed - 1} are committed and in no range"
    if reached > offsets.end:
        yield f"ranges reach offset {reached}, Kafka ends at {offsets.end}: the topic was truncated, or made again under old state"


def _of_ranges(ranges: Iterable[Range]) -> Iterator[str]:
    """Does each range make sense in itself?"""
    for judged in ranges:
        outside = [offset for offset, _ in judged.listed if not judged.lo <= offset < judged.hi]
        distinct = len({offset for offset, _ in judged.listed})
        if outside or distinct != len(judged.listed):
            yield f"range [{judged.lo}, {judged.hi}) lists offsets twice or from elsewhere: {_some(outside)}"
        if judged.written + distinct > judged.hi - judged.lo:
            yield f"range [{judged.lo}, {judged.hi}) accounts for more offsets than it has"


def _overtaken(offsets: Offsets, ranges: Sequence[Range]) -> Iterator[str]:
    """Runs that retention took before the workers came; markers of transactions among them cannot be told apart any more."""
    runs = [(lo, hi) for judged in ranges for lo, hi, why in judged.gaps if why == OVERTAKEN]
    if ranges and (reached := max(ranges[-1].hi, offsets.committed or 0)) < offsets.begin:
        runs.append((reached, offsets.begin))
    for lo, hi in runs:
        yield f"offsets {lo} to {hi - 1} were deleted by Kafka before they were read"


def settled(offsets: Offsets, ranges: Sequence[Range]) -> Sequence[Range]:
    """Ranges whose dead letters must be there.  Those of a last one in flight may be on their way, those before it were there."""
    in_flight = bool(ranges) and offsets.committed is not None and ranges[-1].hi > offsets.committed
    return ranges[:-1] if in_flight else ranges


def _letters(offsets: Offsets, ranges: Sequence[Range], sighted: Sighted | None, now: int) -> tuple[list[int], int]:
    """Rejected offsets whose dead letter should be there and is not; and how many could not be checked."""
    if sighted is None:
        return [], 0
    seen = sighted.seen.get((offsets.topic, offsets.partition), frozenset())
    unsent: list[int] = []
    not_checked = 0
    for judged in settled(offsets, ranges):
        missing = [offset for offset, code in judged.listed if code not in FILTERED and offset not in seen]
        noted = now - 1000 * judged.age_seconds
        kept_from = max(now - 1000 * sighted.kept_seconds, sighted.kept_from or 0)
        if noted < kept_from + 1000 * CLOCK_MARGIN_SECONDS and kept_from > 0:
            not_checked += len(missing)
        else:
            unsent += missing
    return unsent, not_checked


def _some(items: Sequence[Any]) -> str:
    more = "" if len(items) <= NAMED_MAX else f" and {len(items) - NAMED_MAX} more"
    return ", ".join(map(str, items[:NAMED_MAX])) + more


def _sum(lo: int, hi: int) -> int:
    return (hi - lo) * (lo + hi - 1) // 2
