"""The account of a topic-partition: what adds up, and what is named when it does not."""

from dataclasses import dataclass, field

import pytest

from pipeline.sink.verify import NAMED_MAX, Account, Offsets, Range, Stored, account

EMPTY = ((3, "empty"),)


@dataclass(frozen=True)
class Row:
    """One case: ranges and what is stored, and what is said of it."""

    name: str
    ranges: list[Range]
    stored: dict[int, Stored]
    says: tuple[str, ...] = ()  # a part of each violation
    begin: int = 0
    end: int = 20
    doubled: list[tuple[int, int]] = field(default_factory=list)
    both: list[int] = field(default_factory=list)


FULL = [Range(0, 10, 11, 9, EMPTY), Range(10, 20, 10, 10)]
THERE = {0: Stored(9, 11), 10: Stored(10, 10)}

ROWS = [
    Row("all is there", FULL, THERE),
    Row("nothing was read", [], {}),
    Row("a range without rows", [Range(0, 10, 0, 0, tuple((offset, "empty") for offset in range(10)))], {}, end=10),
    Row("holes are no violation", [Range(0, 20, 5, 5)], {0: Stored(5, 5)}),
    Row("expired records before the first range", [Range(10, 20, 10, 10)], {10: Stored(10, 10)}, begin=10),
    Row("ranges older than the log", FULL, THERE, begin=15),
    Row("an offset lost its row", FULL, {**THERE, 0: Stored(8, 10)}, ("[0, 10): 1 of 9 written offsets are missing",)),
    Row("a whole range lost its rows", FULL, {0: THERE[0]}, ("[10, 20): 10 of 10",)),
    Row("an event of a record is lost", FULL, {**THERE, 0: Stored(9, 10)}, ("10 rows are there, 11 should be",)),
    Row("too many offsets", FULL, {**THERE, 10: Stored(11, 11)}, ("11 offsets have rows, 10 should",)),
    Row("a gap between ranges", [FULL[0], Range(12, 20, 8, 8)], {0: THERE[0], 12: Stored(8, 8)}, ("offsets 10 to 11 are in no range",)),
    Row("begin was never read", [FULL[1]], THERE, ("offsets 0 to 9 are in no range",)),
    Row("overlapping ranges", [FULL[0], Range(8, 20, 12, 12)], {0: THERE[0], 8: Stored(12, 12)}, ("overlap",)),
    Row("a truncated topic", FULL, THERE, ("Kafka ends at 15",), end=15),
    Row("a doubled row", FULL, THERE, ("more than once: 4/0",), doubled=[(4, 0)]),
    Row("written and listed", FULL, THERE, ("although listed as not written: 3",), both=[3]),
    Row("an offset listed twice", [Range(0, 10, 8, 8, EMPTY * 2)], {0: Stored(8, 8)}, ("lists offsets twice",)),
    Row("an offset of another range", [Range(0, 3, 2, 2, EMPTY)], {0: Stored(2, 2)}, ("from elsewhere: 3",)),
    Row("more offsets than it has", [Range(0, 2, 3, 3)], {0: Stored(3, 3)}, ("more offsets than it has",)),
]


def judged(row: Row, *, rows_count: bool = True) -> Account:
    """The account of a case."""
    offsets = Offsets("logs.access", 0, row.begin, row.end)
    return account(offsets, "i1", row.ranges, row.stored if rows_count else None, doubled=row.doubled, both=row.both)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_violations_are_named_and_nothing_else_is(row: Row) -> None:
    """One sentence per violation, none where all adds up."""
    found = judged(row).violations
    assert len(found) == len(row.says), found
    for said, expected in zip(found, row.says, strict=True):
        assert expected in said


def test_the_identity_and_the_counts() -> None:
    """read = written + filtered + dead-lettered; holes and pending stand apart."""
    ranges = [Range(0, 10, 7, 6, ((1, "decode_error"), (3, "control"), (5, "nothing_to_keep"))), Range(10, 12, 2, 2)]
    found = account(Offsets("logs.access", 0, 0, 20), "i1", ranges, {0: Stored(6, 7), 10: Stored(2, 2)})
    assert (found.read, found.written, found.filtered, found.dead_lettered) == (11, 8, 2, 1)
    assert found.codes == {"control": 1, "decode_error": 1, "nothing_to_keep": 1}
    assert (found.rows, found.holes, found.pending, found.violations) == (9, 1, 8, ())


def test_rows_that_replace_one_another_are_not_counted() -> None:
    """Of the other topics only the ranges are checked."""
    assert judged(ROWS[7], rows_count=False).violations == ()
    assert judged(ROWS[10], rows_count=False).violations != ()


def test_named_offsets_are_bounded() -> None:
    """A lost table does not fill the terminal."""
    ranges = [Range(0, 100, 100, 100)]
    found = account(Offsets("t", 0, 0, 100), "i1", ranges, {}, without_row={0: range(100)}, doubled=[(offset, 0) for offset in range(50)])
    assert len(found.missing) == len(found.doubled) == NAMED_MAX
    assert "and 30 more" in found.violations[1]
