"""Offsets that held no record: noted as runs, so that an audit can tell a hole from a lost row."""

from dataclasses import dataclass

import pytest

from pipeline.model.outcome import ABSENT, OVERTAKEN
from pipeline.runtime.partition import Gap
from tests.unit.runtime.build import partition, records


@dataclass(frozen=True)
class Row:
    """Batches as they are folded, from offset 0, and the runs between them."""

    name: str
    batches: tuple[tuple[int, ...], ...]
    gaps: tuple[Gap, ...] = ()
    log_start: int = 0


ROWS = [
    Row("none", ((0, 1, 2), (3, 4))),
    Row("a marker between batches", ((0, 1), (3, 4)), ((2, 3, ABSENT),)),
    Row("compacted inside a batch", ((0, 4, 5, 9),), ((1, 4, ABSENT), (6, 9, ABSENT))),
    Row("aborted at the beginning", ((7,),), ((0, 7, ABSENT),)),
    Row("retention came first", ((7, 8),), ((0, 7, OVERTAKEN),), log_start=7),
    Row("retention came first, and a marker behind it", ((7, 8),), ((0, 5, OVERTAKEN), (5, 7, ABSENT)), log_start=5),
    Row("the log starts where we are", ((0, 2),), ((1, 2, ABSENT),), log_start=1),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_runs_between_records_are_noted(row: Row) -> None:
    """With why; together with the records they make up the range."""
    part = partition()
    part.log_start = row.log_start
    for batch in row.batches:
        part.folded(records(*batch), [])
    work = part.snapshot()
    assert work is not None
    part.intend(work, {})
    noted = work.range_row(part.incarnation)
    assert noted is not None
    assert noted.gaps == row.gaps
    assert noted.hi - noted.lo == sum(map(len, row.batches)) + sum(hi - lo for lo, hi, _ in noted.gaps)


def test_the_next_range_begins_without_gaps() -> None:
    """They went with the checkpoint."""
    part = partition()
    part.folded(records(0, 2), [])
    first = part.snapshot()
    assert first is not None
    part.durable(first)
    part.folded(records(3, 4), [])
    second = part.snapshot()
    assert second is not None
    assert (first.gaps, second.gaps) == ([(1, 2, ABSENT)], [])


@pytest.mark.parametrize(
    ("stored", "gaps"),
    [
        ((), [(0, 6, OVERTAKEN), (8, 9, ABSENT)]),
        ((0, 1, 2, 3, 4, 5), [(8, 9, ABSENT)]),
        ((1, 4, 7), [(0, 1, OVERTAKEN), (2, 4, OVERTAKEN), (5, 6, OVERTAKEN), (8, 9, ABSENT)]),
    ],
    ids=["none", "all", "some"],
)
def test_what_has_rows_was_read_before_kafka_deleted_it(stored: tuple[int, ...], gaps: list[Gap]) -> None:
    """A former owner wrote them: only the rest of the run was lost."""
    part = partition()
    part.log_start = 6
    part.folded(records(6, 7, 9), [])
    work = part.snapshot()
    assert work is not None
    work.read_before(stored)
    assert work.gaps == gaps
