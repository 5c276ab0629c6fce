"""The port of `runtime/ports.py`: one suite for the sink in memory and the one on a real ClickHouse."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from pipeline.model.sealed import ChainHead
from pipeline.runtime.ports import Sink
from pipeline.sink.clickhouse import ClickHouseSink, Database
from pipeline.sink.memory import MemorySink
from pipeline.sink.rows import RowsRefused
from tests.unit.evidence.build import LIFE, PARTITION, TOPIC, sealed_range
from tests.unit.sink.build import event, events, finding, range_row, record, rows_of

LOGS = ("logs.access", 0)
PORTS: tuple[type[Sink], ...] = (MemorySink, ClickHouseSink)  # checked by mypy


@pytest.fixture
def clickhouse(migrated: Database) -> Iterator[ClickHouseSink]:
    """The real one, without rows."""
    with ClickHouseSink(migrated.settings) as sink:
        yield sink


@pytest.fixture(params=["memory", pytest.param("clickhouse", marks=pytest.mark.servers)])
def sink(request: pytest.FixtureRequest) -> Sink:
    """Each of the two."""
    if request.param == "memory":
        return MemorySink()
    real: Sink = request.getfixturevalue("clickhouse")
    return real


def landed(sink: Sink, lo: int, hi: int) -> int:
    """Rows of the range."""
    return sink.landed("events", *LOGS, lo, hi)


def test_rows_go_to_the_table_of_their_class(sink: Sink) -> None:
    """Grouping keeps the order and leaves out what is not there."""
    given = events(0, 3)
    assert sink.tables(given) == {"events": given}
    assert sink.tables([]) == {}


def test_landed_counts_the_rows_of_a_range(sink: Sink) -> None:
    """Half-open, per topic and partition; a record with two events counts twice."""
    sink.insert("events", [*events(0, 10), event(9, 1)], "token-0-10")
    assert landed(sink, 0, 10) == 11
    assert landed(sink, 0, 9) == 9
    assert landed(sink, 10, 20) == 0
    assert sink.landed("events", "logs.access", 1, 0, 10) == 0
    assert sink.landed("events", "logs.other", 0, 0, 10) == 0


@pytest.mark.parametrize("again", [events(0, 10), events(0, 4), events(5, 15)], ids=["same", "fewer", "others"])
def test_a_token_is_stored_once(sink: Sink, again: list[msgspec.Struct]) -> None:
    """Whatever the second insert holds: the token decides, so a wrong token would lose rows."""
    sink.insert("events", events(0, 10), "token-0-10")
    sink.insert("events", again, "token-0-10")
    assert landed(sink, 0, 100) == 10


def test_a_token_counts_per_table(sink: Sink) -> None:
    """One range goes to several tables under one token without loss."""
    sink.insert("events", events(0, 10), "shared")
    sink.insert("findings", rows_of(record(finding()))[:1], "shared")
    assert landed(sink, 0, 10) == 10
    assert sink.landed("findings", "trainwatch.findings.v1", 0, 0, 10) == 1


def test_other_tokens_are_stored_beside(sink: Sink) -> None:
    """The next range adds its rows."""
    sink.insert("events", events(0, 10), "token-0-10")
    sink.insert("events", events(10, 15), "token-10-15")
    assert landed(sink, 0, 100) == 15


def test_a_token_covers_all_weeks_of_a_block(sink: Sink) -> None:
    """A block may span many partitions of the table; all are absorbed on the second insert."""
    week = 7 * 86_400_000
    block = [event(number, event_time=event(0).event_time + number * week) for number in range(150)]
    sink.insert("events", block, "token-0-150")
    sink.insert("events", block, "token-0-150")
    assert landed(sink, 0, 150) == 150


def test_no_rows_are_no_insert(sink: Sink) -> None:
    """An empty block changes nothing and does not use its token up."""
    sink.insert("events", [], "token-0-10")
    sink.insert("events", events(0, 10), "token-0-10")
    assert landed(sink, 0, 10) == 10


WRONG: list[dict[str, Any]] = [{"partition": 2**16}, {"raw": None}, {"event_time": 2**63}]


@pytest.mark.parametrize("changes", WRONG, ids=[next(iter(changes)) for changes in WRONG])
def test_a_wrong_value_refuses_the_block_and_names_its_row(sink: Sink, changes: dict[str, Any]) -> None:
    """Nothing of the block is stored; without the named row the same token takes the rest."""
    block = events(0, 10)
    block[7] = msgspec.structs.replace(block[7], **changes)
    with pytest.raises(RowsRefused) as refusal:
        sink.insert("events", block, "token-0-10")
    assert refusal.value.positions == (7,)
    assert landed(sink, 0, 10) == 0
    del block[7]
    sink.insert("events", block, "token-0-10")
    assert landed(sink, 0, 10) == 9


def test_a_range_may_be_noted_twice(sink: Sink) -> None:
    """Also ranges without rows are noted; the second note changes nothing.  It is known by its bounds and its incarnation."""
    for noted in (range_row(0, 10, listed=((3, "empty"),)), range_row(10, 12, listed=((10, "empty"), (11, "tombstone")))):
        sink.write_ranges([noted])
        sink.write_ranges([noted])
    assert ranges_of(sink) == [(0, 10, [3]), (10, 12, [10, 11])]
    asked = [sink.noted(*LOGS, lo, hi, life) for lo, hi, life in ((0, 10, "i1"), (0, 10, "i2"), (0, 11, "i1"))]
    assert asked == [True, False, False]


def test_a_seal_may_be_kept_twice(sink: Sink) -> None:
    """It is known by its bounds, its incarnation and its root."""
    sealed = sealed_range(0, 10, ChainHead())
    for _ in range(2):
        sink.write_roots([sealed])
    asked = [
        sink.rooted(TOPIC, PARTITION, lo, hi, life, root)
        for lo, hi, life, root in (
            (0, 10, LIFE, sealed.root), (0, 10, LIFE, "00"), (0, 10, "another", sealed.root), (0, 9, LIFE, sealed.root),
        )
    ]  # fmt: skip
    assert asked == [True, False, False, False]


def test_offsets_that_have_rows(sink: Sink) -> None:
    """Of the range that is asked for, and of one life of the topic."""
    sink.insert("events", [*events(0, 4), *events(7, 9)], "token-0-10", "i1")
    assert sink.stored(*LOGS, 1, 8, "i1") == {1, 2, 3, 7}
    assert sink.stored(*LOGS, 1, 8, "i2") == frozenset()


@pytest.mark.parametrize("name", ["memory", pytest.param("clickhouse", marks=pytest.mark.servers)])
def test_a_recreated_topic_is_told_apart(name: str, request: pytest.FixtureRequest) -> None:
    """Offsets that an earlier incarnation gave out do not count as landed."""
    sink: MemorySink | ClickHouseSink = MemorySink() if name == "memory" else request.getfixturevalue("clickhouse")
    sink.insert("events", events(0, 10), "token-i1", incarnation="i1")
    assert sink.landed("events", *LOGS, 0, 10, incarnation="i1") == 10
    assert sink.landed("events", *LOGS, 0, 10, incarnation="i2") == 0
    assert sink.landed("events", *LOGS, 0, 10) == 10


def ranges_of(sink: Sink) -> list[tuple[int, int, list[int]]]:
    """(lo, hi, listed offsets) of all ranges."""
    if isinstance(sink, MemorySink):
        return [(noted.lo, noted.hi, [offset for offset, _ in noted.listed]) for noted in sink.ranges()]
    assert isinstance(sink, ClickHouseSink)
    return [(lo, hi, listed) for lo, hi, listed in sink.database.query("SELECT lo, hi, listed_offsets FROM {db}.sink_ranges ORDER BY lo")]
