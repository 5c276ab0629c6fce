"""The account of a topic-partition: what adds up, and what is named when it does not."""

from dataclasses import dataclass, field

import pytest

from pipeline.model.outcome import ABSENT, OVERTAKEN
from pipeline.sink.account import CLOCK_MARGIN_SECONDS, NAMED_MAX, Account, Detail, Offsets, Range, Sighted, Stored, account, noted_within

EMPTY = ((3, "empty"),)
NOW = 1_760_000_000_000


def there(detail: Detail) -> Stored:
    """What is counted of rows in a range."""
    copies = sum(sum(rows.values()) for rows in detail.values())
    return Stored(len(detail), sum(map(len, detail.values())), copies, sum(detail))


def rows(*offsets: int, **changes: dict[int, int]) -> dict[int, dict[int, int]]:
    """One row per offset; `at7={0: 1, 1: 1}` has others."""
    return {offset: {0: 1} for offset in offsets} | {int(name[2:]): held for name, held in changes.items()}


@dataclass(frozen=True)
class Row:
    """One case: ranges and what is stored in each, and what is said of it."""

    name: str
    ranges: list[Range]
    stored: dict[int, dict[int, dict[int, int]]]
    says: tuple[str, ...] = ()  # a part of each violation
    missing: tuple[int, ...] = ()
    extra: tuple[int, ...] = ()
    begin: int = 0
    end: int = 20
    committed: int | None = None
    outside: tuple[int, ...] = field(default=())


TWO_EVENTS = {0: 1, 1: 1}
FULL = [Range(0, 10, 10, 9, EMPTY), Range(10, 20, 10, 10)]
FIRST = rows(0, 1, 2, 4, 5, 6, 8, 9, at7=TWO_EVENTS)
THERE = {0: FIRST, 10: rows(*range(10, 20))}
GAPS = [Range(0, 10, 6, 6, EMPTY, ((2, 3, ABSENT), (7, 9, ABSENT)))]

ROWS = [
    Row("all is there", FULL, THERE),
    Row("nothing was read", [], {}),
    Row("a range without rows", [Range(0, 10, 0, 0, tuple((offset, "empty") for offset in range(10)))], {}, end=10),
    Row("holes are no violation", [Range(0, 20, 5, 5, (), ((5, 20, ABSENT),))], {0: rows(*range(5))}),
    Row("what was listed is listed no more", [Range(0, 5, 4, 4)], {0: rows(0, 1, 3, 4)}, ("became of offsets 2: neither",), (2,), end=5),
    Row("expired records before the first range", [Range(10, 20, 10, 10)], {10: THERE[10]}, begin=10),
    Row("ranges older than the log", FULL, THERE, begin=15),
    Row("committed to the end", FULL, THERE, committed=20),
    Row("noted and not committed yet", FULL, THERE, committed=10),
    Row("an offset lost its row", FULL, {**THERE, 10: rows(*range(11, 20))}, ("[10, 20): 1 of 10 written offsets are missing",), (10,)),
    Row("a lost row among holes", GAPS, {0: rows(0, 1, 4, 5, 9)}, ("1 of 6 written offsets are missing",), (6,), end=10),
    Row(
        "a lost row, and one where none should be", GAPS, {0: rows(0, 1, 4, 5, 7, 9)}, ("1 of 6", "not 7"), (6,), (7,), end=10
    ),
    Row("candidates where holes are not known", [Range(0, 4, 3, 3)], {0: rows(0, 2)}, ("1 of 3 written", ), (1, 3), end=4),
    Row("the last of two rows", [Range(0, 4, 6, 4, row_offset_sum=11)], {0: rows(0, 1, 2, at3={0: 1, 1: 1})}, ("5 rows are",), (2,), end=4),
    Row("of two lost rows none can be named", [Range(0, 3, 6, 3, row_offset_sum=6)], {0: rows(0, 1, at2={0: 1, 1: 1})}, ("4 rows",), end=3),
    Row("a whole range lost its rows", FULL, {0: FIRST}, ("[10, 20): 10 of 10",), tuple(range(10, 20))),
    Row("an event of a record is lost", [Range(0, 1, 3, 1)], {0: rows(at0={0: 1, 2: 1})}, ("2 rows are there, 3",), (0,), end=1),
    Row("a doubled row", FULL, {**THERE, 0: FIRST | {4: {0: 2}}}, ("more than once: 4/0",)),
    Row("a doubled event of a record", FULL, {**THERE, 0: FIRST | {7: {0: 1, 1: 3}}}, ("more than once: 7/1",)),
    Row("written and listed", FULL, {**THERE, 0: FIRST | {3: {0: 1}}}, ("10 offsets have rows", "not written: 3"), (), (3,)),
    Row("rows in no range", FULL, THERE, ("outside of any range, at offsets 25",), (), (25,), end=30, outside=(25,)),
    Row("a gap between ranges", [FULL[0], Range(12, 20, 8, 8)], {0: FIRST, 12: rows(*range(12, 20))}, ("10 to 11 are in no range",)),
    Row("begin was never read", [FULL[1]], THERE, ("offsets 0 to 9 are in no range",)),
    Row("committed and never noted", FULL, THERE, ("offsets 20 to 24 are committed and in no range",), end=30, committed=25),
    Row("committed and no range at all", [], {}, ("offsets 0 to 6 are in no range",), committed=7),
    Row("overlapping ranges", [FULL[0], Range(8, 20, 12, 12)], {0: FIRST, 8: rows(*range(8, 20))}, ("overlap",)),
    Row("a range inside another", [Range(0, 20, 20, 20), Range(5, 6, 1, 1)], {0: rows(*range(20)), 5: rows(5)}, ("overlap",)),
    Row("a truncated topic", FULL, THERE, ("Kafka ends at 15",), end=15),
    Row("deleted before it was read", [Range(0, 10, 4, 4, (), ((0, 6, OVERTAKEN),))], {0: rows(6, 7, 8, 9)}, ("0 to 5 were",), end=10),
    Row("deleted, and nobody came since", FULL, THERE, ("offsets 20 to 29 were deleted by Kafka before",), begin=30, end=40),
    Row("an offset listed twice", [Range(0, 10, 9, 9, EMPTY * 2)], {0: rows(0, 1, 2, 4, 5, 6, 7, 8, 9)}, ("lists offsets twice",), end=10),
    Row("an offset of another range", [Range(0, 3, 2, 2, EMPTY)], {0: rows(0, 1)}, ("elsewhere: 3", "became of offsets 2"), (2,), end=3),
    Row("more offsets than it has", [Range(0, 2, 3, 3)], {0: rows(0, 1)}, ("more offsets than it has", "1 of 3"), end=2),
]  # fmt: skip


def judged(row: Row, *, rows_count: bool = True) -> Account:
    """The account of a case."""
    offsets = Offsets("logs.access", 0, row.begin, row.end, row.committed)
    stored = {lo: there(detail) for lo, detail in row.stored.items()} if rows_count else None
    details = {judged.lo: row.stored.get(judged.lo, {}) for judged in row.ranges}
    return account(offsets, "i1", row.ranges, stored, details=details, outside=row.outside)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_violations_are_named_and_nothing_else_is(row: Row) -> None:
    """One sentence per violation, none where all adds up; and the offsets."""
    found = judged(row)
    assert len(found.violations) == len(row.says), found.violations
    for said, expected in zip(found.violations, row.says, strict=True):
        assert expected in said
    if row.name != "more offsets than it has":
        assert found.missing == row.missing
    assert found.extra == row.extra


def test_what_was_noted_of_late_has_no_hole() -> None:
    """From the first range of that age on, in the order of the offsets; one behind it may be older, as after a second note of the first."""
    old, again, between, new = (Range(at, at + 10, 10, 10, age_seconds=age) for at, age in ((0, 900), (10, 30), (20, 800), (30, 5)))
    assert noted_within([old, again, between, new], 60) == [again, between, new]
    assert noted_within([old, again, between, new], 5) == [new]
    assert noted_within([old, again, between, new], 4) == noted_within([], 60) == []


def test_the_identity_and_the_counts() -> None:
    """read = written + filtered + dead-lettered; holes, pending and in flight stand apart."""
    ranges = [Range(0, 10, 7, 6, ((1, "decode_error"), (3, "control"), (5, "nothing_to_keep")), ((9, 10, ABSENT),)), Range(10, 12, 2, 2)]
    stored = {0: Stored(6, 7, 7, 27), 10: Stored(2, 2, 2, 21)}
    found = account(Offsets("logs.access", 0, 0, 20, 10), "i1", ranges, stored)
    assert (found.read, found.written, found.filtered, found.dead_lettered) == (11, 8, 2, 1)
    assert found.codes == {"control": 1, "decode_error": 1, "nothing_to_keep": 1}
    assert (found.rows, found.holes, found.pending, found.in_flight, found.violations) == (9, 1, 8, 2, ())


def test_rows_that_replace_one_another_are_not_counted() -> None:
    """Of the other topics only the ranges are checked."""
    lost = next(row for row in ROWS if row.name == "an offset lost its row")
    gap = next(row for row in ROWS if row.name == "a gap between ranges")
    assert judged(lost, rows_count=False).violations == ()
    assert judged(gap, rows_count=False).violations != ()


def test_named_offsets_are_bounded() -> None:
    """A lost table does not fill the terminal, also when nobody looked into its ranges."""
    ranges = [Range(0, 100, 100, 100)]
    found = account(Offsets("t", 0, 0, 100), "i1", ranges, {}, details={0: {}})
    assert len(found.missing) == NAMED_MAX
    doubled = {offset: {0: 2} for offset in range(100)}
    found = account(Offsets("t", 0, 0, 100), "i1", ranges, {0: there(doubled)}, details={0: doubled})
    assert len(found.doubled) == NAMED_MAX
    assert "and 80 more" in found.violations[0]
    found = account(Offsets("t", 0, 0, 100), "i1", ranges, {0: there(doubled)})
    assert found.violations == ("range [0, 100): 100 offsets have 200 rows, 100 should have 100",)


# --- dead letters -----------------------------------------------------------------------------------------------------------------

MONTH_SECONDS = 30 * 86_400
REJECTED = ((2, "decode_error"), (4, "control"), (6, "unknown_format"))


@dataclass(frozen=True)
class Case:
    """Where the letters of offsets 2 and 6 are."""

    name: str
    seen: frozenset[int]
    unsent: tuple[int, ...] = ()
    not_checked: int = 0
    age_seconds: int = 7200
    committed: int | None = 10
    kept_seconds: float = MONTH_SECONDS
    kept_from: int | None = None


CASES = [
    Case("all are there", frozenset({2, 6})),
    Case("a filtered offset needs none", frozenset({2, 6, 99})),
    Case("one was removed", frozenset({2}), (6,)),
    Case("all were removed", frozenset(), (2, 6)),
    Case("the last range is not committed", frozenset(), committed=9),
    Case("older than the topic keeps", frozenset(), not_checked=2, age_seconds=MONTH_SECONDS + 1),
    Case("as old, within what clocks differ", frozenset(), not_checked=2, age_seconds=MONTH_SECONDS - CLOCK_MARGIN_SECONDS + 1),
    Case("younger", frozenset({6}), (2,), age_seconds=MONTH_SECONDS - CLOCK_MARGIN_SECONDS - 1),
    Case("kept for ever", frozenset(), (2, 6), age_seconds=10 * MONTH_SECONDS, kept_seconds=float("inf")),
    Case("older than what a full topic holds", frozenset({2}), not_checked=1, kept_from=NOW),
    Case("younger than what a full topic holds", frozenset({2}), (6,), kept_from=NOW - 86_400_000),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_missing_dead_letter_is_named_unless_it_may_be_missing(case: Case) -> None:
    """Removed ones are violations; those in flight and those that expired are not."""
    judged = Range(0, 10, 7, 7, REJECTED, age_seconds=case.age_seconds)
    sighted = Sighted({("logs.access", 0): case.seen}, case.kept_seconds, case.kept_from)
    found = account(Offsets("logs.access", 0, 0, 10, case.committed), "i1", [judged], None, letters=sighted, now=NOW)
    assert found.without_letter == case.unsent
    assert found.not_checked == case.not_checked
    assert bool(found.violations) == bool(case.unsent)


def test_only_the_last_range_can_be_in_flight() -> None:
    """A checkpoint sends the letters of one before it notes the next, also where the group's offsets are forgotten."""
    ranges = [Range(0, 10, 7, 7, REJECTED), Range(10, 20, 9, 9, ((12, "empty"),))]
    found = account(Offsets("logs.access", 0, 0, 20, 0), "i1", ranges, None, letters=Sighted({}), now=NOW)
    assert found.without_letter == (2, 6)


def test_topics_of_facts_are_checked_for_dead_letters_alone() -> None:
    """Most of their offsets are in no range."""
    ranges = [Range(50, 60, 0, 0, ((55, "step_raised"),), ())]
    offsets = Offsets("trainwatch.facts.job.v1", 0, 0, 100, 90)
    found = account(offsets, "i1", ranges, None, letters=Sighted({}), sparse=True, now=NOW)
    assert found.violations == ("no dead letter, though listed as rejected, at offsets 55",)
    assert (found.pending, found.in_flight) == (0, 0)
