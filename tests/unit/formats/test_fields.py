"""Texts of fields: instants in zones, node lists, exit codes, states, TRES, JSON objects."""

import contextlib
import datetime as dt
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import DecodeError, RejectedRecord, SchemaMismatch, TimestampOutOfRange
from pipeline.formats import fields
from pipeline.formats.line import Reading

NOON = 1_772_452_800_000  # 2026-03-02T12:00:00Z
MINUTE = 60_000
HOUR = 60 * MINUTE


def reading(zone: str = "UTC", reference_time: int = NOON) -> Reading:
    """What settings and record say."""
    return Reading(zone=ZoneInfo(zone), reference_time=reference_time)


TIMES = [
    ("2026-03-02T12:00:00", "UTC", NOON),
    ("2026-03-02 12:00:00", "UTC", NOON),
    ("2026-03-02T12:00:00.3", "UTC", NOON + 300),
    ("2026-03-02T12:00:00.318", "UTC", NOON + 318),
    ("2026-03-02T12:00:00,318999999", "UTC", NOON + 318),
    ("2026-03-02T20:00:00", "Asia/Shanghai", NOON),
    ("2026-03-02T20:00:00+08:00", "America/New_York", NOON),
    ("2026-03-02T20:00:00+0800", "America/New_York", NOON),
    ("2026-03-02T12:00:00Z", "Asia/Shanghai", NOON),
    ("2026-03-02T06:30:00.001-0530", "UTC", NOON + 1),
    ("2026-07-02T14:00:00", "Europe/Berlin", 1_782_993_600_000),  # summer time
]


@pytest.mark.parametrize(("text", "zone", "expected"), TIMES)
def test_iso_time(text: str, zone: str, expected: int) -> None:
    """An offset in the text wins over the zone, and fractions are cut to milliseconds."""
    assert fields.iso_time(text, reading(zone)) == expected


@given(
    st.integers(fields.EVENT_TIME_MIN // 1000 + 86_400, fields.EVENT_TIME_MAX // 1000 - 86_400),
    st.text("0123456789", max_size=9),
    st.sampled_from("T "),
    st.sampled_from(".,"),
    st.sampled_from([("", 0), ("Z", 0), ("+08:00", 480), ("-0530", -330)]),
)
def test_every_way_to_write_a_time(seconds: int, digits: str, letter: str, point: str, offset: tuple[str, int]) -> None:
    """The usual shapes are looked up, the others are read by a pattern, and nobody can tell which."""
    (written, ahead), time = offset, dt.datetime.fromtimestamp(seconds, dt.UTC)
    text = f"{time:%Y-%m-%d}{letter}{time:%H:%M:%S}{point + digits if digits else ''}{written}"
    expected = 1000 * seconds + int((digits + "000")[:3]) - ahead * MINUTE
    assert fields.iso_time(text, reading()) == fields.utc_time(text) == expected
    assert fields.zoned_time(text) == (expected if written else None)


# Berlin, 25 October 2026: the clock goes from 03:00 back to 02:00 at 01:00 UTC.
FIRST = 1_792_888_200_000  # 00:30Z is 02:30 in summer time
FOLDS = [
    ("collected between the two", FIRST + MINUTE, FIRST),
    ("collected after both", FIRST + HOUR + MINUTE, FIRST + HOUR),
    ("collected at the second itself", FIRST + HOUR, FIRST + HOUR),
    ("collected before either, by a clock that is behind", FIRST - MINUTE, FIRST),
]


@pytest.mark.parametrize(("name", "reference_time", "expected"), FOLDS)
def test_a_wall_time_that_comes_twice(name: str, reference_time: int, expected: int) -> None:
    """The later of two equal wall times is meant, unless that lies ahead of the collection."""
    assert fields.iso_time("2026-10-25T02:30:00", reading("Europe/Berlin", reference_time)) == expected


def test_a_wall_time_that_never_was() -> None:
    """A time that the clock skipped is read with the offset before the change."""
    assert fields.iso_time("2026-03-29T02:30:00", reading("Europe/Berlin")) == 1_774_747_800_000  # 01:30Z


NO_TIMES = [
    "", "Unknown", "2026-03-02", "2026-03-02T12:00", "2026-02-30T12:00:00", "2026-13-02T12:00:00", "2026-03-02T24:00:00",
    "2026-03-02T12:60:00", "2026-03-02T12:00:60", "2026-03-02T12:00:00+24:00", "2026-03-02T12:00:00+08:60",
    "2026-03-02T12:00:00 ", "0000-01-01T00:00:00", "\uff12026-03-02T12:00:00", "2026-03-02T12:00:00\n",
]  # fmt: skip


@pytest.mark.parametrize("text", NO_TIMES)
def test_what_is_no_time(text: str) -> None:
    """Only a whole and possible time is one."""
    with pytest.raises(DecodeError):
        fields.iso_time(text, reading())
    assert fields.zoned_time(text) is None


@pytest.mark.parametrize("text", ["1999-12-31T23:59:59", "1970-01-01T00:00:00", "2100-01-01T00:00:00", "9999-12-31T23:59:59-23:59"])
def test_absurd_years_are_out_of_range(text: str) -> None:
    """A zero or a broken clock is not an event time."""
    with pytest.raises(TimestampOutOfRange):
        fields.utc_time(text)


def test_a_shippers_time_needs_its_offset() -> None:
    """Without offset a collected time could be hours off, so it counts as absent."""
    assert fields.zoned_time("2026-03-02T12:00:00.318Z") == NOON + 318
    assert fields.zoned_time("2026-03-02T12:00:00.318") is None
    assert fields.zoned_time("1970-01-01T00:00:00Z") is None


NODES = [
    ("gpu-001", ("gpu-001",)),
    ("gpu-[001-003,007]", ("gpu-001", "gpu-002", "gpu-003", "gpu-007")),
    ("gpu-[8-10]", ("gpu-8", "gpu-9", "gpu-10")),
    ("gpu-[098-101]", ("gpu-098", "gpu-099", "gpu-100", "gpu-101")),
    ("rack[0-1]n[01-02]", ("rack0n01", "rack0n02", "rack1n01", "rack1n02")),
    ("gpu-[1,3]-ib,login2", ("gpu-1-ib", "gpu-3-ib", "login2")),
    ("a,b", ("a", "b")),
    ("", ()),
    ("(null)", ()),
    ("None assigned", ()),
]


@pytest.mark.parametrize(("text", "names"), NODES)
def test_node_lists(text: str, names: tuple[str, ...]) -> None:
    """Brackets multiply, commas outside them separate, padding stays."""
    assert fields.expand_nodes(text) == names


NO_NODE_LISTS = [
    "gpu-[", "gpu-[]", "gpu-[3-1]", "gpu-[a-b]", "gpu-[1-2", "gpu 1", ",", "a,", "gpu-[1,,2]", "a[1][1][1][1][1]", "x" * 256,
    "x" * 300 + "[1-2]", "gpu-[1-]", "gpu-[0-100000]", "gpu-[" + "1-99999," * 2 + "7]", "n[1-1000]m[1-1000]", "gpu-[1-9999999999999999999]",
    ",".join(["gpu-[1-60000]"] * 2),
]  # fmt: skip


@pytest.mark.parametrize("text", NO_NODE_LISTS, ids=lambda text: text[:24])
def test_node_lists_are_bounded(text: str) -> None:
    """Neither a malformed list nor one that expands beyond any cluster is read."""
    with pytest.raises(DecodeError):
        fields.expand_nodes(text)


def test_the_largest_node_list() -> None:
    """The bound itself is inside."""
    names = fields.expand_nodes(f"n[1-{fields.NODES_MAX}]")
    assert (len(names), names[0], names[-1]) == (fields.NODES_MAX, "n1", f"n{fields.NODES_MAX}")


@settings(deadline=None)
@given(st.lists(st.integers(0, 99_999), min_size=1, max_size=200, unique=True), st.integers(1, 5))
def test_folded_numbers_come_back(numbers: list[int], width: int) -> None:
    """Expanding a list that was folded into ranges gives the same names in the same order."""
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and ranges[-1][1] == number - 1 and len(f"{ranges[-1][0]:0{width}d}") == len(f"{number:0{width}d}"):
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    folded = ",".join(f"{low:0{width}d}" if low == high else f"{low:0{width}d}-{high:0{width}d}" for low, high in ranges)
    assert fields.expand_nodes(f"gpu-[{folded}]") == tuple(f"gpu-{number:0{width}d}" for number in sorted(numbers))


@settings(deadline=None)
@given(st.text(alphabet="ag0129[]-,", max_size=60) | st.text(max_size=30))
def test_any_text_is_a_node_list_or_rejected(text: str) -> None:
    """No text makes the expansion fail in another way."""
    with contextlib.suppress(RejectedRecord):
        assert len(fields.expand_nodes(text)) <= fields.NODES_MAX


@pytest.mark.parametrize(
    ("text", "expected"), [("0:9", (0, 9)), ("137:0", (137, 0)), ("0:125", (0, 125)), ("", (None, None)), (None, (None, None))]
)
def test_exit_codes(text: str | None, expected: tuple[int | None, int | None]) -> None:
    """Status and signal; an empty field has neither."""
    assert fields.code_and_signal(text) == expected


@pytest.mark.parametrize("text", ["9", "0:", ":9", "0:9:1", "-1:0", "a:b", "0:99999", "0:\u0669"])
def test_what_is_no_exit_code(text: str) -> None:
    """Anything but two small decimal numbers."""
    with pytest.raises(SchemaMismatch):
        fields.code_and_signal(text)


STATES = [
    ("CANCELLED by 5012", ("CANCELLED", 5012)),
    ("CANCELLED", ("CANCELLED", None)),
    ("CA", ("CANCELLED", None)),
    ("OUT_OF_MEMORY", ("OUT_OF_MEMORY", None)),
    ("CANCELLED+", ("CANCELLED", None)),  # cut by a column that is too narrow
    (None, ("", None)),
]


@pytest.mark.parametrize(("text", "expected"), STATES)
def test_job_states(text: str | None, expected: tuple[str, int | None]) -> None:
    """Base name and, where sacct knows, who cancelled."""
    assert fields.job_state(text) == expected


@pytest.mark.parametrize("text", ["cancelled", "CANCELLED by ann", "CANCELLED by 99999999999", "FAILED 1"])
def test_what_is_no_job_state(text: str) -> None:
    """Names are upper case and a uid is a 32-bit number."""
    with pytest.raises(SchemaMismatch):
        fields.job_state(text)


TRES = [
    ("billing=12,cpu=12,gres/gpu=2,mem=31000M,node=1", 2),
    ("gres/gpu=8,gres/gpu:a100=8", 8),
    ("gres/gpu:a100=8,gres/gpu=8", 8),
    ("gres/gpu:a100=8", None),
    ("gres/gpumem=80G", None),
    ("cpu=4", None),
    ("", None),
    (None, None),
]


@pytest.mark.parametrize(("tres", "gpus"), TRES)
def test_gpus_are_the_untyped_count(tres: str | None, gpus: int | None) -> None:
    """Typed entries count the same GPUs once more."""
    assert fields.gpus_of(tres) == gpus


@dataclass(frozen=True)
class BadJson:
    """Bytes that are no object of ours, and how they are refused."""

    payload: bytes
    error: type[RejectedRecord]


BAD_JSON = [
    BadJson(b'{"a":NaN}', DecodeError),
    BadJson(b'{"a":Infinity}', DecodeError),
    BadJson(b'{"a":1', DecodeError),
    BadJson(b"[" * 100_000, DecodeError),
    BadJson(b"", DecodeError),
    BadJson(b"[1]", SchemaMismatch),
]


@pytest.mark.parametrize("row", BAD_JSON, ids=lambda row: repr(row.payload[:16]))
def test_broken_json(row: BadJson) -> None:
    """Broken JSON is undecodable; other JSON than an object does not match."""
    with pytest.raises(row.error):
        fields.json_object(row.payload)


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (rb'{"a":"x\ud800"}', "x\ufffd"),
        (rb'{"a":"\udcff\ud83d\ude00"}', "\ufffd\U0001f600"),
        (rb'{"a":"\\ud800\udc0"}', None),
        (rb'{"a":"\\ud800\udc00"}', "\\ud800\ufffd"),
        (b'{"a":"x\xff"}', "x\ufffd"),
        (b'{"a":"\xed\xa0\x80"}', "\ufffd\ufffd\ufffd"),
    ],
)
def test_what_is_no_text_does_not_hide_a_line(payload: bytes, text: str | None) -> None:
    """A file name or an argument that is no UTF-8 comes as bytes or as half a pair; what is broken otherwise stays so."""
    if text is None:
        with pytest.raises(DecodeError):
            fields.json_object(payload)
    else:
        assert fields.json_object(payload) == {"a": text}


class _Model(msgspec.Struct):
    number: int


def test_typed_names_the_field() -> None:
    """The operator reads in the dead letter which field was wrong."""
    with pytest.raises(SchemaMismatch, match="number"):
        fields.typed({"number": "7"}, _Model)


def test_unmapped_is_bounded() -> None:
    """Unknown keys pass through as text, within bounds, and null counts as absent."""
    value = {"known": 1, "none": None, "flag": True, "list": [1, {"a": 2}], "long": "x" * 9999, "n" * 129: 1}
    value |= {f"key{i}": i for i in range(100)}
    rest = fields.unmapped(value, frozenset({"known"}))
    assert rest["flag"] == "true"
    assert rest["list"] == '[1,{"a":2}]'
    assert len(rest["long"]) == fields.UNMAPPED_TEXT_LENGTH_MAX
    assert len(rest) == fields.UNMAPPED_FIELDS_MAX
    assert not {"known", "none", "n" * 129} & rest.keys()


def test_a_deeply_nested_unknown_key_is_rejected() -> None:
    """The decoder takes deeper nesting than the encoder; that is a rejected record, not a crash."""
    value = orjson.loads(b'{"a":' + b"[" * 600 + b"]" * 600 + b"}")
    with pytest.raises(DecodeError):
        fields.unmapped(value, frozenset())
