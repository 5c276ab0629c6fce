"""MessagePack as Fluent Bit writes it: what its JSON says; values that only look like it, and hostile ones."""

import contextlib
import time
import tracemalloc
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import DecodeError, RejectedRecord
from pipeline.formats import registry
from pipeline.formats.envelopes import msgpack
from pipeline.formats.line import Line, Part
from tests.unit.formats.bare import bare

AT, COLLECTED = 1_772_452_800.318, 1_772_452_800_318
TEXT = "saving checkpoint at iteration 40"
PLAIN = Line(payload=TEXT.encode(), collected_time=COLLECTED)
pack = msgspec.msgpack.Encoder().encode

SAID: dict[str, tuple[dict[str, Any], Line]] = {
    "a tailed file": (
        {"@timestamp": AT, "log": TEXT, "path": "/o/slurm-7.out", "hostname": "gpu-001", "offset": 4096},
        Line(payload=TEXT.encode(), host="gpu-001", file="/o/slurm-7.out", file_offset=4096, collected_time=COLLECTED),
    ),
    "a time as text": ({"@timestamp": "2026-03-02T12:00:00.318000Z", "log": TEXT}, Line(payload=TEXT.encode(), collected_time=COLLECTED)),
    "a part of a pod's line": (
        {
            "@timestamp": AT, "time": "2026-03-02T12:00:00Z", "stream": "stderr", "_p": "P", "log": TEXT,
            "kubernetes": {"namespace_name": "llm", "pod_name": "p-0", "pod_id": "0a1b", "container_name": "main", "host": "gpu-002"},
        },
        Line(payload=TEXT.encode(), host="gpu-002", file="/var/log/pods/llm_p-0_0a1b/main/", collected_time=COLLECTED,
             truncated=True, stream="stderr", part=Part()),
    ),
    "many fields": ({"@timestamp": AT, "log": TEXT} | {f"f{n}": n for n in range(20)}, PLAIN),
    "bytes": ({"@timestamp": AT, "log": TEXT, "other": b"\xff", "hostname": "gpu-001"},
              Line(payload=TEXT.encode(), host="gpu-001", collected_time=COLLECTED)),
    "a number that JSON has not": ({"@timestamp": AT, "log": TEXT, "x": float("nan")}, PLAIN),
}  # fmt: skip


@pytest.mark.parametrize("name", SAID)
def test_it_says_what_its_json_says(name: str) -> None:
    """Line, host, file, time and parts."""
    said, line = SAID[name]
    assert bare(registry.unwrap(pack(said), ())) == [line]
    if name != "bytes":
        assert bare(registry.unwrap(orjson.dumps(said), ())) == [line]


def test_an_object_that_is_the_event_is_one() -> None:
    """A record of jobcomp that came through Fluent Bit."""
    said = {"@timestamp": AT, "jobid": 7, "@start": "2026-03-02T12:00:00"}
    assert registry.unwrap(pack(said), ()) == [Line(payload=orjson.dumps(said))]


def test_bytes_that_are_no_utf_8_do_not_hide_a_line() -> None:
    """Whoever writes the line chooses them; also beside every other kind of item."""
    said = {
        "@timestamp": AT, "log": "iteration \x00\x01", "a": [None, True, False, 1, -1, -200, 300, 70_000, 5_000_000_000, -70_000, 1.5],
        "b": "x" * 300, "c": "y" * 70_000, "d": list(range(20)), "e": {str(n): n for n in range(20)}, "f": b"z" * 300, "g": -5_000_000_000,
    }  # fmt: skip
    value = pack(said)
    (line,) = registry.unwrap(value.replace(b"\x00\x01", b"\xff\xfe", 1), ())
    assert line.payload == "iteration \ufffd\ufffd".encode()
    assert isinstance(line.beside, bytes)
    assert orjson.loads(line.beside) == said | {"log": "iteration \ufffd\ufffd", "f": "z" * 300}


NONE: dict[str, bytes] = {
    "cut": pack({"@timestamp": AT, "log": TEXT})[:-1],
    "more behind it": pack({"@timestamp": AT, "log": TEXT}) + b"x",
    "a list": pack([AT, {"log": TEXT}]),
    "a key that is a number": b"\x82\xa1a\x01\x01\x02",
    "text in another encoding": b"\x81\xb1\xff\xfe of the job",
    "a promise of four thousand million items": b"\x81\xa1a\xdd\xff\xff\xff\xff",
    "the same behind what is no UTF-8": b"\x82\xa1\xff\x01\xa1a\xdd\xff\xff\xff\xff",
    "a kind that is none": b"\x82\xa1\xff\x01\xa1a\xc1",
    "a size that is cut": b"\x82\xa1\xff\x01\xa1a\xdb\x00",
    "an extension that is cut": b"\x82\xa1\xff\x01\xa1a\xc7\xff",
    "keys that are maps, each written out longer than the one in it": b"\x82\xa1a\x01" + b"\x81" * 18 + b"\xa2\\\xff" + b"\x01" * 19,
}


@pytest.mark.parametrize("name", NONE)
def test_what_is_none_is_a_raw_line(name: str) -> None:
    """As it came; no size that it promises takes memory."""
    tracemalloc.start()
    try:
        assert registry.unwrap(NONE[name], ()) == [Line(payload=NONE[name])]
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


DEEP = {
    "lists": b"\x81\xa1a" + b"\x91" * 200_000 + b"\xc0",
    "maps": b"\x81\xa1a" * 200_000 + b"\xc0",
    "lists behind what is no UTF-8": b"\x82\xa1\xff\x01\xa1a" + b"\x91" * 500 + b"\xc0",
    "as JSON writes no more": b"\x81\xa1a" + b"\x91" * 300 + b"\xc0",
}


@pytest.mark.parametrize("name", DEEP)
def test_nesting_is_bounded(name: str) -> None:
    """A dead letter."""
    with pytest.raises(DecodeError):
        registry.unwrap(DEEP[name], ())


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200), st.integers(0, 200), st.binary(max_size=6))
def test_nothing_but_a_rejection_is_raised(data: bytes, at: int, put: bytes) -> None:
    """Whatever the bytes."""
    value = pack(SAID["a part of a pod's line"][0])
    for each in (b"\x82\xa1a" + data, b"\x81\xa1\xff" + data, value[:at] + put + value[at + len(put) :], b"\xde\x00" + data):
        with contextlib.suppress(RejectedRecord):
            registry.unwrap(each, ())


@settings(deadline=None, max_examples=100)
@given(st.dictionaries(st.text(max_size=8), st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=40), inner, max_size=20), max_leaves=20,
), min_size=1, max_size=20))  # fmt: skip
def test_the_slow_way_reads_the_same(said: dict[str, Any]) -> None:
    """What is no UTF-8 is read by other code."""
    assert msgpack._tolerant(pack(said)) == said


def test_linear_time() -> None:
    """Eight times the length takes far less than 64 times as long, also where it is read slowly."""

    def seconds(size: int) -> float:
        value = pack({"@timestamp": AT, "log": "x", "a": ["y"] * size}).replace(b"\xa1x", b"\xa1\xff", 1)
        best = 1e9
        for _ in range(5):
            begun = time.process_time()
            registry.unwrap(value, ())
            best = min(best, time.process_time() - begun)
        return best

    assert seconds(160_000) < 20 * seconds(20_000)
