"""What the sink in memory offers beyond the port; the port itself is in tests/contract."""

import pytest

from pipeline.errors import InvariantViolation
from pipeline.model.finding import Status
from pipeline.sink.memory import MemorySink
from pipeline.sink.rows import by_table
from tests.unit.sink.build import events, finding, record, rows_of


def test_rows_come_back_in_the_order_of_blocks() -> None:
    """Tests look at them."""
    sink = MemorySink()
    sink.insert("events", events(5, 7), "b")
    sink.insert("events", events(0, 2), "a")
    assert sink.rows("events") == [*events(5, 7), *events(0, 2)]
    assert sink.rows("findings") == []


def test_current_shows_the_greatest_version_of_an_id() -> None:
    """As `findings_current` does: epoch before offset, whatever came last."""
    sink = MemorySink()
    words = (
        record(finding(status=Status.FINAL), 3, epoch=2, revision=2),
        record(finding(), 2, epoch=2),
        record(finding(title="former owner"), 99, epoch=1),
    )
    for word in words:
        for table, block in by_table(rows_of(word)).items():
            sink.insert(table, block, f"{word.offset}-{table}")
    assert [(name, row.status, row.revision) for name, row in sink.current("findings").items()] == [(finding().id, "final", 2)]


def test_rows_without_versions_have_no_current() -> None:
    """Events do not replace one another."""
    with pytest.raises(InvariantViolation):
        MemorySink().current("events")
