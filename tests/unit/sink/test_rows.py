"""Rows to columns: names, order, bytes that are not UTF-8, and which values are refused."""

from typing import Any

import msgspec
import pytest

from pipeline.errors import InvariantViolation
from pipeline.model.outcome import Tell
from pipeline.sink import rows
from pipeline.sink.rows import EVENTS, RANGES, TABLES
from tests.unit.sink.build import event, events, range_row


def column(table: rows.Table, name: str, of: list[Any]) -> list[Any]:
    """One column of a block."""
    return rows.columns_of(table, of)[table.names.index(name)]


def test_rows_are_grouped_by_table_in_their_order() -> None:
    """The class of a row decides its table; order is kept."""
    given = events(0, 3)
    assert rows.by_table(given) == {"events": given}
    assert rows.by_table([]) == {}


def test_a_class_without_a_table_is_refused() -> None:
    """A struct that is not a row is a bug, not data."""
    with pytest.raises(InvariantViolation):
        rows.by_table([Tell("jobs", None)])  # type: ignore[arg-type]


def test_columns_hold_the_values_of_the_rows() -> None:
    """Every column of `events` holds its field, under the column's name."""
    block = rows.columns_of(EVENTS, [event(4, 2, job="7", late=True)])
    values = {name: found[0] for name, found in zip(EVENTS.names, block, strict=True)}
    assert values["ts"] == event(4).event_time
    assert (values["job_id"], values["_offset"], values["_index"], values["late"], values["future"]) == ("7", 4, 2, True, False)


@pytest.mark.parametrize("stored", [b"\xff\xfe plain", "gr\xfc\xdf".encode("latin-1"), b"\x80", b"ok \xed\xa0\x80"])
def test_bytes_that_are_not_utf8_are_stored_as_received(stored: bytes) -> None:
    """Text decoded with surrogateescape becomes the bytes it was; clean rows beside it stay text."""
    text = stored.decode("utf-8", "surrogateescape")
    found = column(EVENTS, "raw", [event(raw=text), event(raw="clean äöü")])
    assert found == [stored, "clean äöü"]
    assert rows.from_stored(found[0]) == text
    assert rows.from_stored(found[1]) == "clean äöü"


@pytest.mark.parametrize(("text", "printed"), [("\udcff x", "\\\\xff x"), ("\ud800", "\\\\xed\\\\xa0\\\\x80"), ("ä\x00", "ä\\u0000")])
def test_attributes_travel_as_json(text: str, printed: str) -> None:
    """One JSON text per row; JSON holds no bytes, so those that are no UTF-8 are written out."""
    encoded = column(EVENTS, "attrs_json", [event(attrs={"k": text, text: "v"}), event(attrs={})])
    assert encoded == [f'{{"k":"{printed}","{printed}":"v"}}'.encode(), b"{}"]


def test_a_lone_surrogate_of_another_origin_is_stored_too() -> None:
    """JSON may hold \\ud800, which no byte sequence explains: it must not end the block."""
    assert column(EVENTS, "raw", [event(raw="\ud800")]) == [b"\xed\xa0\x80"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"partition": 2**16}, "_partition"),
        ({"offset": -1}, "_offset"),
        ({"event_time": 2**63}, "ts"),
        ({"event_time": 1.5}, "ts"),
        ({"raw": None}, "raw"),
        ({"raw": b"bytes"}, "raw"),
        ({"attrs": {"a": 1}}, "attrs_json"),
        ({"attrs": None}, "attrs_json"),
        ({"late": "no"}, "late"),
    ],
)
def test_a_value_that_its_column_cannot_take_is_named(changes: dict[str, Any], named: str) -> None:
    """Position and column of the row that spoils a block."""
    assert rows.refused(EVENTS, [event(0), msgspec.structs.replace(event(1), **changes), event(2)]) == [(1, named)]


def test_clean_rows_are_not_refused() -> None:
    """The check takes what the builders make, the extremes included."""
    extremes = msgspec.structs.replace(event(0), offset=2**64 - 1, partition=2**16 - 1, event_time=-(2**63))
    assert rows.refused(EVENTS, [event(0), extremes]) == []
    assert rows.refused(RANGES, [range_row(0, 5, listed=((2, "empty"),))]) == []


def test_listed_offsets_and_codes_are_two_columns() -> None:
    """A range lists what was not written in two arrays of one order."""
    given = [range_row(0, 5, listed=((2, "empty"), (4, "decode_error")))]
    assert column(RANGES, "listed_offsets", given) == [[2, 4]]
    assert column(RANGES, "listed_codes", given) == [["empty", "decode_error"]]


def test_no_table_has_a_column_twice() -> None:
    """Column names are unique per table, and every block table says where its rows come from."""
    for table in TABLES.values():
        assert len(set(table.names)) == len(table.names)
    for table in rows.BLOCK_TABLES:
        assert {"_topic", "_partition", "_offset", "_index"} <= set(table.names)
