"""The evidence tables of a site and its public keys in; everything in ClickHouse that is not as it was sealed, out.

    evidence_roots ── statement, seal, chain ── is each range signed, and does it follow the one before?
         │ leaves  ── do they give the root?
    events ─────────── is each stored line one that was sealed, with its times, and is each sealed line there?
    erasures ───────── or, where a line is gone, did the site sign that it was erased, and why?
    sink_ranges ────── does each finished range have a root?  All of a partition are missed where others were sealed a day before
    events ─────────── does each row lie between the first and the last range that was noted or sealed?
    what is on hold ── is each copy what was sealed, by the range that is held with it?

The rules are those of `verify.py`, which judges bundles.  Nothing is changed; ranges and rows near the end of their retention, which the
server may drop one before the other, are not missed.  May run beside workers: what is not noted as finished is not missed either.  What
leaves no gap in the tables, because all that speaks of it is gone, only a witness can miss; the audit says so.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec

from pipeline.errors import ErrorCode
from pipeline.evidence.chain import entry_of
from pipeline.evidence.erasure import check_erasure
from pipeline.evidence.verify import (
    ODD,
    Problem,
    Ring,
    Told,
    check_chain,
    check_entry,
    check_leaves,
    check_lines,
    check_witness,
    is_readable,
    read_leaf,
)
from pipeline.model.outcome import OVERTAKEN
from pipeline.model.sealed import Sealed
from pipeline.model.words import many
from pipeline.sink.clickhouse import Database
from pipeline.sink.erasure import erasures_in
from pipeline.sink.evidence import pages, partitions, ranges
from pipeline.sink.verify import TTL_MARGIN_DAYS

CHUNK_RANGES = 200  # with their leaves and rows in memory at once
PROBLEMS_MAX = 1000  # named; the rest is counted by nobody, since that many are one fault
LIKE_MAX = 20  # of one kind at one place; further ones are counted: a thousand rows under one offset would hide all else

IN_FLIGHT_SECONDS = 600
PLACES_MAX = 5
NO_WITNESS = (
    "no witness was asked: the holder of the key could have sealed a second history, and what was taken away together with all that "
    "speaks of it leaves no gap (--witness)"
)
REFUSED = (
    "their ranges say that ClickHouse refused these, which nobody signed, so whoever took the rows may have written it; "
    "each has a dead letter, insert_refused, as long as these are kept"
)
# Workers are started again one by one when a key is new, so not all partitions are sealed from one moment on.
CHAINLESS = """
SELECT topic, partition, min(lo), max(hi), uniqExact(lo, hi),
    max(_inserted) > (SELECT if(count() = 0, toDateTime('2100-01-01'), min(sealed_time) + toIntervalDay(1)) FROM {db}.evidence_roots)
FROM {db}.sink_ranges
WHERE topic IN %(inputs)s AND hi > lo AND _inserted > now() - toIntervalDay(%(days)s)
    AND (topic, partition, incarnation) NOT IN (SELECT topic, partition, incarnation FROM {db}.evidence_roots)
GROUP BY topic, partition, incarnation ORDER BY topic, partition
"""

# Rows come before the note of their range.  A worker that died between has it noted when it is back.
OUTSIDE = """
SELECT _topic, _partition, _incarnation, count(), min(_offset), max(_offset)
FROM {db}.events AS e
LEFT JOIN
(
    SELECT topic, partition, incarnation, min(lo) AS first, max(hi) AS behind
    FROM
    (
        SELECT topic, partition, incarnation, lo, hi FROM {db}.sink_ranges
        UNION ALL SELECT topic, partition, incarnation, lo, hi FROM {db}.evidence_roots
    )
    GROUP BY topic, partition, incarnation
) AS r ON r.topic = e._topic AND r.partition = e._partition AND r.incarnation = e._incarnation
WHERE (_offset < first OR _offset >= behind)
    AND _inserted > now() - toIntervalDay(%(days)s) AND (_inserted < now() - %(in_flight)s OR _inserted > now() + %(in_flight)s)
GROUP BY _topic, _partition, _incarnation ORDER BY _topic, _partition, _incarnation
"""

HELD_LINES = """
SELECT DISTINCT _offset, _index, toUnixTimestamp64Milli(ts), lower(hex(SHA256(raw))) FROM {db}.events_held
WHERE _topic = %(topic)s AND _partition = %(partition)s AND _incarnation = %(life)s ORDER BY _offset, _index
"""
HELD_RECORDS = """
SELECT offset, groupUniqArray(lower(hex(SHA256(value)))) FROM {db}.records_held
WHERE topic = %(topic)s AND partition = %(partition)s AND incarnation = %(life)s GROUP BY offset
"""
HELD_RANGES = """
SELECT DISTINCT number FROM {db}.evidence_roots_held
WHERE topic = %(topic)s AND partition = %(partition)s AND incarnation = %(life)s AND leaves != '' ORDER BY number
"""

Entry = Mapping[str, Any]
Progress = Callable[[int, int], None]  # records checked, of how many


class Audit(msgspec.Struct):
    """What came of it."""

    problems: list[Problem] = []
    notes: list[str] = []
    chains: int = 0
    ranges: int = 0
    records: int = 0
    erased: dict[str, int] = {}  # reason -> lines
    refused: list[str] = []  # where a record has no row, and only an unsigned note says why


def audit(
    database: Database,
    ring: Ring,
    *,
    inputs: Sequence[str],
    witness: Sequence[Any] = (),
    progress: Progress = lambda _, __: None,
) -> Audit:
    """Every chain of the site.  `inputs`: topics of which each finished range should have a root; `progress` hears of records."""
    found = Audit(problems=list(ring.problems))
    of_chains, of_none = _problems(database, ring, found, witness, progress), _chainless(database, inputs, found, bool(witness))
    alike: Counter[tuple[str, str]] = Counter()
    for problem in unlike(chain(of_chains, of_none, _outside(database), _held(database, ring)), alike):
        found.problems.append(problem)
        if len(found.problems) >= PROBLEMS_MAX:
            found.notes += [f"more than {PROBLEMS_MAX} problems: not looked further", *left_out(alike)]
            return found
    found.notes += left_out(alike)
    if not witness:
        found.notes.append(NO_WITNESS)
    if found.refused:
        named = ", ".join(found.refused[:PLACES_MAX]) + (", ..." if len(found.refused) > PLACES_MAX else "")
        found.notes.append(f"{many(len(found.refused), 'record')} without rows ({named}): {REFUSED}")
    found.notes += [f"erased: {many(lines, 'line')}, {reason}" for reason, lines in sorted(found.erased.items())]
    return found


def unlike(problems: Iterable[Problem], alike: Counter[tuple[str, str]]) -> Iterator[Problem]:
    """The first ones of each kind at each place; `alike` counts all of them."""
    for problem in problems:
        alike[problem.code, problem.where] += 1
        if alike[problem.code, problem.where] <= LIKE_MAX:
            yield problem


def left_out(alike: Counter[tuple[str, str]]) -> list[str]:
    """How many were not named, where."""
    return [f"{count - LIKE_MAX} more {code} at {where}" for (code, where), count in sorted(alike.items()) if count > LIKE_MAX]


def _problems(database: Database, ring: Ring, found: Audit, witness: Sequence[Any], progress: Progress) -> Iterator[Problem]:
    chains = [{"topic": topic, "partition": partition, "life": life} for topic, partition, life in partitions(database)]
    ((total,),) = database.query("SELECT sum(records) FROM {db}.evidence_roots FINAL")
    for where in chains:
        found.chains += 1
        yield from _of_chain(database, ring, where, found, witness, lambda: progress(min(found.records, total), total))
    ((since,),) = database.query("SELECT toUnixTimestamp(now() - toIntervalDay(%(days)s))", {"days": _days(database)})
    known = {tuple(where.values()) for where in chains}
    # A chain may be gone as a whole: by its age, or because somebody took all of it.
    yield from check_witness((), (each for each in witness if _place(each) not in known and not _is_older(each, since * 1000)))


def _days(database: Database) -> int:
    """Younger rows cannot have been dropped by retention."""
    return max(1, database.settings.kept_days("events", "sink_ranges", "evidence_roots") - TTL_MARGIN_DAYS)


def _of_chain(
    database: Database, ring: Ring, where: dict[str, Any], found: Audit, witness: Sequence[Any], progress: Callable[[], None]
) -> Iterator[Problem]:  # fmt: skip
    days = _days(database)
    # What has aged is told by the time of sealing, which is signed: when a row was stored whoever writes rows may write, too.
    first, last, sealed, since = database.query(
        "SELECT min(number), max(number), toUnixTimestamp64Milli(argMin(sealed_time, number)), "
        "toUnixTimestamp(now() - toIntervalDay(%(days)s)) * 1000 "
        "FROM {db}.evidence_roots WHERE topic = %(topic)s AND partition = %(partition)s AND incarnation = %(life)s",
        {**where, "days": days},
    )[0]
    if first != 1 and sealed >= since:
        yield Problem("chain_missing", f"{where['topic']}/{where['partition']}", f"numbers 1 to {first - 1} are not there")
    yield from _unsealed(database, {**where, "days": days})
    before: Entry | None = None
    ours = [each for each in witness if _place(each) == tuple(where.values())]
    begin = first
    while begin <= last:
        end = min(last, begin + CHUNK_RANGES - 1)
        span = {**where, "first": begin, "last": end}
        chunk, notes = _without_rereadings(ranges(database, "number >= %(first)s AND number <= %(last)s", span, leaves=True))
        if not chunk:  # somebody may have written a number that no chain ever reaches
            end = _next_number(database, span) - 1
        found.notes += notes
        entries = [entry_of(each) for each in chunk]
        yield from check_chain(entries, ring, before=before)
        yield from check_witness(entries, ours, [_segment(where, begin, end)])
        before = entries[-1] if entries else before
        for each, entry in zip(chunk, entries, strict=True):
            found.ranges, found.records = found.ranges + 1, found.records + each.count
            yield from check_leaves(entry["statement"], each.leaves.split("\n") if each.leaves else [])
        yield from _rows(database, ring, where, chunk, found, since)
        progress()
        begin = end + 1
    yield from check_witness((), (each for each in ours if each["statement"]["number"] > last))


def _next_number(database: Database, span: Mapping[str, Any]) -> int:
    """The first number behind `last` of the span, where there is one."""
    one = "topic = %(topic)s AND partition = %(partition)s AND incarnation = %(life)s AND number > %(last)s"
    ((number,),) = database.query(f"SELECT min(number) FROM {{db}}.evidence_roots WHERE {one}", span)  # noqa: S608  our own text
    return int(number)


def _place(witnessed: Any) -> tuple[Any, ...]:
    """Of which chain it speaks; nothing: it cannot be read."""
    statement = witnessed["statement"] if is_readable(witnessed) else {}
    return tuple(statement[name] for name in ("topic", "partition", "incarnation") if name in statement)


def _is_older(witnessed: Any, since: int) -> bool:
    return bool(is_readable(witnessed) and witnessed["seal"]["time"] < since)


def _segment(where: Mapping[str, Any], first: int, last: int) -> dict[str, Any]:
    return {"topic": where["topic"], "partition": where["partition"], "incarnation": where["life"], "first": first, "last": last}


def _unsealed(database: Database, where: Mapping[str, Any]) -> Iterator[Problem]:
    """Finished ranges after the first root without one of their own."""
    one = "topic = %(topic)s AND partition = %(partition)s AND incarnation = %(life)s"
    missing = database.query(
        f"SELECT DISTINCT lo, hi FROM {{db}}.sink_ranges WHERE {one} AND _inserted > now() - toIntervalDay(%(days)s) "  # noqa: S608  our own text
        f"AND lo > (SELECT min(lo) FROM {{db}}.evidence_roots WHERE {one}) "
        f"AND (lo, hi) NOT IN (SELECT lo, hi FROM {{db}}.evidence_roots WHERE {one}) ORDER BY lo LIMIT 20",
        where,
    )
    for lo, hi in missing:
        yield Problem("root_missing", f"{where['topic']}/{where['partition']} [{lo}, {hi})", "a finished range has no root")


def _chainless(database: Database, inputs: Sequence[str], found: Audit, witnessed: bool) -> Iterator[Problem]:
    """Finished ranges of partitions without any root: missed after the first day of sealing, and told before it."""
    early = []
    for topic, partition, lo, hi, count, missed in database.query(CHAINLESS, {"inputs": [*inputs, ""], "days": _days(database)}):
        if missed:
            text = f"{many(count, 'finished range')} without a root, as all of the partition, a day and more after others were sealed"
            yield Problem("chain_missing", f"{topic}/{partition} [{lo}, {hi})", text)
        else:
            early.append((f"{topic}/{partition}", count))
    if early:
        named = ", ".join(sorted({place for place, _ in early})[:PLACES_MAX]) + (", ..." if len(early) > PLACES_MAX else "")
        why = "evidence was not kept then" + ("" if witnessed else ", or whole chains were taken away: only heads kept outside can tell")
        found.notes.append(
            f"{many(sum(count for _, count in early), 'finished range')} of {many(len(early), 'partition')} without a root ({named}): {why}"
        )


def _outside(database: Database) -> Iterator[Problem]:
    """Rows of which no range speaks: before the first that was noted, after the last, or of a partition that has none."""
    rows = database.query(OUTSIDE, {"days": _days(database), "in_flight": IN_FLIGHT_SECONDS})
    for topic, partition, _, count, first, last in rows:
        at = f"{topic}/{partition}@{first}" + (f" to {last}" if last > first else "")
        yield Problem("line_added", at, f"{many(count, 'row')} outside of all ranges that were noted or sealed")


def _held(database: Database, ring: Ring) -> Iterator[Problem]:
    """Copies on hold, which outlive rows and ranges: they must not first be looked at when somebody needs them."""
    for topic, partition, life in database.query("SELECT DISTINCT _topic, _partition, _incarnation FROM {db}.events_held ORDER BY ALL"):
        where = {"topic": topic, "partition": partition, "life": life}
        lines: dict[int, list[tuple[int, int, str]]] = {}
        for offset, index, time, computed in database.query(HELD_LINES, where):
            lines.setdefault(offset, []).append((index, time, computed))
        told: dict[int, list[Told]] = {}
        for some in pages([number for (number,) in database.query(HELD_RANGES, where)], CHUNK_RANGES):
            span = {**where, "numbers": some}
            for each in ranges(database, "number IN %(numbers)s AND leaves != ''", span, leaves=True, tables=("evidence_roots_held",)):
                entry = entry_of(each)
                yield from check_entry(entry, ring)
                yield from check_leaves(entry["statement"], each.leaves.split("\n"))
                for offset, one in _told([each]).items():
                    if offset in lines:
                        told.setdefault(offset, []).append(one)
        values = dict(database.query(HELD_RECORDS, where))
        for offset, found in lines.items():
            at, known = f"{topic}/{partition}@{offset}, on hold", told.get(offset, [])
            if not known:
                yield Problem("root_missing", at, "no range that is held with it tells of it")
                continue
            yield from min((list(check_lines(one, found, at)) for one in known), key=len)  # it may have been read in two ways
            if unknown := set(values.get(offset, ())) - {one.sha256 for one in known}:
                yield Problem("record_changed", at, f"sealed with sha256 {known[0].sha256}, is {min(unknown)}")


def _without_rereadings(found: Sequence[Sealed]) -> tuple[list[Sealed], list[str]]:
    """Where one number has two heads over the same records, read into other lines by another release or settings: the later one."""
    kept: list[Sealed] = []
    notes = []
    for each in found:
        other = kept[-1] if kept and kept[-1].number == each.number else None
        if other is None or not _same_records(other, each):
            kept.append(each)
            continue
        kept[-1] = max(other, each, key=lambda one: one.time)
        notes.append(
            f"chain_reread: {each.topic}/{each.partition} [{each.lo}, {each.hi}): the same records, other lines; "
            f"{other.software} with settings {other.settings}, {each.software} with {each.settings}"
        )
    return kept, notes


def _same_records(one: Sealed, other: Sealed) -> bool:
    same = (one.lo, one.hi, one.previous, one.count) == (other.lo, other.hi, other.previous, other.count)
    otherwise_read = (one.software, one.settings) != (other.software, other.settings)
    try:
        mine, theirs = ([told[:5] for leaf in each.leaves.split("\n") if leaf for told in read_leaf(leaf).told] for each in (one, other))
    except ODD:
        return False
    return same and otherwise_read and mine == theirs


def _rows(database: Database, ring: Ring, where: Mapping[str, Any], chunk: Sequence[Sealed], found: Audit, since: int) -> Iterator[Problem]:
    """Stored lines against leaves, both ways.  Of ranges that were sealed before `since`, UTC ms, retention may have taken the rows."""
    if not chunk:
        return
    sealed, kept = _told(chunk), _told([each for each in chunk if each.time >= since])
    span = {**where, "lo": chunk[0].lo, "hi": chunk[-1].hi}
    stored = database.query(
        "SELECT _offset, _index, toUnixTimestamp64Milli(ts), toUnixTimestamp64Milli(kafka_time), sha256, lower(hex(SHA256(raw))) "
        "FROM {db}.events WHERE _topic = %(topic)s AND _partition = %(partition)s AND _incarnation = %(life)s "
        "AND _offset >= %(lo)s AND _offset < %(hi)s ORDER BY _offset, _index",
        span,
    )
    erased = erasures_in(database, span)
    lines: dict[int, list[tuple[int, int, str]]] = {}
    for offset, index, time, kafka_time, said, computed in stored:
        at = f"{where['topic']}/{where['partition']}@{offset}"
        if erasure := erased.get((offset, index)):
            found.erased[erasure.reason] = found.erased.get(erasure.reason, 0) + 1
            yield from check_erasure(erasure, ring, said, computed)
        lines.setdefault(offset, []).append((index, time, said if erasure else computed))
        if said != computed and not erasure:
            yield Problem("line_changed", at, f"line {index}: its row says sha256 {said}, its bytes have {computed}")
        if offset in sealed and sealed[offset].timestamp != kafka_time:
            yield Problem("time_changed", at, f"sealed with time {sealed[offset].timestamp}, its row says {kafka_time}")
    excused, overtaken = _refused(database, span), _overtaken(database, span)
    for offset in sorted(sealed.keys() | lines.keys()):
        at = f"{where['topic']}/{where['partition']}@{offset}"
        if offset not in sealed:
            said = "; its range says that Kafka deleted it before it was sealed, which nobody signed"
            why = said if any(lo <= offset < hi for lo, hi in overtaken) else ""
            yield Problem("line_added", at, f"a row of a record that was never sealed{why}")
        elif offset in lines or (offset in kept and offset not in excused):
            yield from check_lines(sealed[offset], lines.get(offset, []), at)
        elif offset in kept and sealed[offset].rows:
            found.refused.append(at)


def _told(chunk: Sequence[Sealed]) -> dict[int, Told]:
    """Offset -> what its leaf tells of it; leaves that cannot be read are named by their own check."""
    found: dict[int, Told] = {}
    for each in chunk:
        for text in each.leaves.split("\n") if each.leaves else ():
            try:
                leaf = read_leaf(text)
            except ODD:
                continue
            found.update((told.offset, told) for told in leaf.told)
    return found


def _refused(database: Database, span: Mapping[str, Any]) -> frozenset[int]:
    """Offsets whose rows, by the note of their range, no column took: dead letters, read but not stored.

    A range is sealed before its rows are inserted, so nothing that is signed tells of them.
    """
    found = database.query(
        "SELECT DISTINCT offset FROM {db}.sink_ranges ARRAY JOIN listed_offsets AS offset, listed_codes AS code "
        "WHERE topic = %(topic)s AND partition = %(partition)s AND incarnation = %(life)s "
        "AND lo < %(hi)s AND hi > %(lo)s AND code = %(code)s",
        {**span, "code": ErrorCode.INSERT_REFUSED.value},
    )
    return frozenset(offset for (offset,) in found)


def _overtaken(database: Database, span: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Runs that Kafka had deleted when they were to be read, or read again after a crash."""
    found = database.query(
        "SELECT DISTINCT gap_lo, gap_hi FROM {db}.sink_ranges ARRAY JOIN gap_los AS gap_lo, gap_his AS gap_hi, gap_codes AS code "
        "WHERE topic = %(topic)s AND partition = %(partition)s AND incarnation = %(life)s "
        "AND lo < %(hi)s AND hi > %(lo)s AND code = %(code)s",
        {**span, "code": OVERTAKEN},
    )
    return [(lo, hi) for lo, hi in found]
