"""How shippers wrap lines: what is the line, what is said of it, and what is no wrapper."""

import contextlib
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import DecodeError, RejectedRecord
from pipeline.formats import registry
from pipeline.formats.envelopes import json_wrapper, raw
from pipeline.formats.line import Line, Part
from tests.unit.formats.bare import bare

COLLECTED = 1_772_452_800_318  # 2026-03-02T12:00:00.318Z
LINE = "[2026-03-02T20:00:00.100] Time limit exhausted for JobId=7"
Headers = list[tuple[str, bytes]]


def unwrapped(value: dict[str, Any] | bytes, headers: Headers | None = None) -> Line:
    """The one line of a record."""
    data = value if isinstance(value, bytes) else orjson.dumps(value)
    (line,) = bare(registry.unwrap(data, headers or []))
    return line


# --- raw ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "payload"),
    [
        (b"text", b"text"),
        (b"text\n", b"text"),
        (b"text\r\n", b"text"),
        (b"text\n\n", b"text\n"),
        (b"", b""),
        (b"\n", b""),
        (b"\xff", b"\xff"),
    ],
)
def test_a_raw_value_loses_one_line_end(value: bytes, payload: bytes) -> None:
    """Bytes stay as they are but for the end of the line."""
    assert unwrapped(value) == Line(payload=payload)


def test_headers_too_long_for_names_are_not_remembered() -> None:
    """Whoever may write to a topic could fill the memory with them."""
    before = raw._names.cache_info().currsize
    for number in range(5):
        assert unwrapped(b"text", [("file", b"/l/%d" % number + b"x" * raw.NAME_BYTES_MAX)]).file == ""
    assert raw._names.cache_info().currsize <= before + 1


def test_headers_describe_a_raw_line() -> None:
    """Host, program, file, offset and collected time come from the headers; unknown ones do not matter."""
    headers = [
        ("host", b"gpu-001"),
        ("source", b"sshd"),
        ("file", b"auth.log"),
        ("offset", b"4096"),
        ("collected", str(COLLECTED).encode()),
        ("trace", b"\xff"),
    ]
    assert unwrapped(b"text", headers) == Line(
        payload=b"text", host="gpu-001", program="sshd", file="auth.log", file_offset=4096, collected_time=COLLECTED
    )


UNBELIEVED: list[tuple[str, bytes]] = [
    ("host", b"h" * 513),
    ("host", b"gpu\n001"),
    ("file", b""),
    ("offset", b"-1"),
    ("offset", b"9" * 19),
    ("offset", b"9" * 40),
    ("offset", "٣".encode()),
    ("collected", b"12"),
    ("collected", b"soon"),
]


@pytest.mark.parametrize("header", UNBELIEVED, ids=lambda header: f"{header[0]}={header[1][:8]!r}")
def test_a_header_out_of_bounds_counts_as_absent(header: tuple[str, bytes]) -> None:
    """A header never decides whether a line is kept."""
    expected = Line(payload=b"text")
    assert unwrapped(b"text", [header]) == expected


# --- wrappers -------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wrapped:
    """A shipper's value, and the line in it."""

    name: str
    value: dict[str, Any]
    line: Line


def line(payload: str = LINE, **said: Any) -> Line:
    """The line of most rows."""
    return Line(payload=payload.encode(), **said)


WRAPPED = [
    Wrapped(
        "rsyslog, tailed file: the line has its own prefix",
        {
            "@timestamp": "2026-03-02T12:00:00.318000+00:00",
            "received_at": "2026-03-02T20:00:00.318+08:00",
            "host": "ctl-1",
            "program": "slurmctld",
            "procid": "-",
            "file": "/var/log/slurm/slurmctld.log",
            "message": LINE,
        },
        line(host="ctl-1", program="slurmctld", file="/var/log/slurm/slurmctld.log", collected_time=COLLECTED),
    ),
    Wrapped(
        "rsyslog, tailed file without prefix: not composed",
        {
            "@timestamp": "2026-03-02T12:00:00.318Z",
            "host": "gpu-001",
            "program": "train",
            "file": "/l/slurm-7.out",
            "message": "iteration 1",
        },
        line("iteration 1", host="gpu-001", program="train", file="/l/slurm-7.out", collected_time=COLLECTED),
    ),
    Wrapped(
        "rsyslog, system log: put together again",
        {
            "@timestamp": "2026-03-02T12:00:00.100000+00:00",
            "received_at": "2026-03-02T12:00:00.318000+00:00",
            "host": "login-1",
            "program": "sshd",
            "procid": "4711",
            "file": "",
            "message": " Accepted publickey for u017 from 10.0.0.7 port 5022 ssh2",
        },
        line(
            "2026-03-02T12:00:00.100000+00:00 login-1 sshd[4711]: Accepted publickey for u017 from 10.0.0.7 port 5022 ssh2",
            host="login-1",
            program="sshd",
            collected_time=COLLECTED,
        ),
    ),
    Wrapped(
        "rsyslog, kernel: its own clock in brackets is text",
        {"@timestamp": "2026-03-02T12:00:00.318Z", "host": "gpu-001", "program": "kernel", "procid": "-", "message": "[ 12.5] NVRM: Xid"},
        line("2026-03-02T12:00:00.318Z gpu-001 kernel: [ 12.5] NVRM: Xid", host="gpu-001", program="kernel", collected_time=COLLECTED),
    ),
    Wrapped(
        "rsyslog, audit record through syslog: has its own prefix",
        {
            "@timestamp": "2026-03-02T12:00:00.318Z",
            "host": "gpu-001",
            "program": "audisp-syslog",
            "message": " type=EOE msg=audit(1.1:1): ",
        },
        line(" type=EOE msg=audit(1.1:1): ", host="gpu-001", program="audisp-syslog", collected_time=COLLECTED),
    ),
    Wrapped(
        "rsyslog without time: nothing to compose with",
        {"host": "login-1", "program": "sshd", "procid": "1", "message": "Server listening"},
        line("Server listening", host="login-1", program="sshd"),
    ),
    Wrapped(
        "Filebeat",
        {
            "@timestamp": "2026-03-02T12:00:00.318Z",
            "@metadata": {"beat": "filebeat"},
            "message": LINE,
            "log": {"file": {"path": "/var/log/slurmctld.log"}, "offset": 512, "flags": ["truncated"]},
            "host": {"name": "ctl-1"},
        },
        line(host="ctl-1", file="/var/log/slurmctld.log", file_offset=512, collected_time=COLLECTED, truncated=True),
    ),
    Wrapped(
        "Filebeat after a module: the original is the line",
        {"@timestamp": "2026-03-02T12:00:00.318Z", "message": "Time limit", "event": {"original": LINE}, "log": {"offset": 0}},
        line(file_offset=0, collected_time=COLLECTED),
    ),
    Wrapped(
        "Vector, file source",
        {"file": "/l/slurm-7.out", "host": "gpu-001", "message": LINE, "source_type": "file", "timestamp": "2026-03-02T12:00:00.318Z"},
        line(host="gpu-001", file="/l/slurm-7.out", collected_time=COLLECTED),
    ),
    Wrapped(
        "syslog-ng, parsed message with pid, time without year",
        {"MESSAGE": "session opened", "HOST": "login-1", "PROGRAM": "sshd", "PID": "9", "DATE": "Mar  2 12:00:00"},
        line("Mar  2 12:00:00 login-1 sshd[9]: session opened", host="login-1", program="sshd"),
    ),
    Wrapped(
        "syslog-ng, no-parse from a file",
        {
            "MESSAGE": LINE,
            "HOST": "ctl-1",
            "PROGRAM": "",
            "ISODATE": "2026-03-02T20:00:00.318+08:00",
            "FILE_NAME": "/var/log/slurmctld.log",
        },
        line(host="ctl-1", file="/var/log/slurmctld.log", collected_time=COLLECTED),
    ),
    Wrapped(
        "Fluent Bit: seconds as a number, first part of a split line",
        {"@timestamp": 1772452800.318, "log": LINE + "\n", "stream": "stderr", "_p": "P"},
        line(collected_time=COLLECTED, truncated=True, stream="stderr", part=Part()),
    ),
    Wrapped("bare msg", {"msg": LINE}, line()),
    Wrapped("an empty line", {"message": "", "host": "gpu-001"}, line("", host="gpu-001")),
    Wrapped("a line of several lines", {"message": "a\nb\n"}, line("a\nb")),
    Wrapped("a site's own job label", {"log": LINE, "jobid": "48213"}, line()),
]


@pytest.mark.parametrize("row", WRAPPED, ids=lambda row: row.name)
def test_wrappers(row: Wrapped) -> None:
    """The line and what its shipper says of it."""
    assert unwrapped(row.value) == row.line


def test_headers_fill_what_a_wrapper_does_not_say() -> None:
    """The wrapper, which is nearer to the line, wins."""
    headers = [("host", b"relay-1"), ("file", b"x.log"), ("offset", b"7"), ("collected", b"1772452800000")]
    assert unwrapped({"message": "text", "host": "gpu-001"}, headers) == Line(
        payload=b"text", host="gpu-001", file="x.log", file_offset=7, collected_time=1_772_452_800_000
    )


NO_WRAPPERS = [
    b'{"jobid":48213,"state":null}',
    b'{"state":null,"jobid":48213,"message":"x"}',
    b'{"trainwatch_probe":1,"kind":"process_started"}',
    b'{"kind":"process_started","trainwatch_probe":1,"message":"x"}',
    b'{"a":1}',
    b"{}",
    b'{"message":null}',
    b'{"message":{"text":"x"},"log":[1]}',
    b"{'loss': 2.5, 'epoch': 1.0}",
    b'["message"]',
]


@pytest.mark.parametrize("value", NO_WRAPPERS)
def test_an_event_is_no_wrapper(value: bytes) -> None:
    """An object that is the event itself, or has no line, goes on whole."""
    assert json_wrapper.ENVELOPE.unwrap(value, []) is None
    assert unwrapped(value) == Line(payload=value)


@pytest.mark.parametrize("value", [b'{"message":"x"', b'{"@timest', b"{broken", b"{"])
def test_broken_json_is_undecodable(value: bytes) -> None:
    """A truncated wrapper is a dead letter with that reason, not a line of text."""
    with pytest.raises(DecodeError):
        registry.unwrap(value, [])


@pytest.mark.parametrize(
    ("value", "payload"),
    [
        (b'{"message":"a\xff"}', "a\ufffd".encode()),
        (rb'{"log":"a\udcff"}', "a\ufffd".encode()),
        (b'{"message":"x","loss":NaN,"big":1e400}', b"x"),
        (b'{"step":1,"loss":NaN}', b'{"step":1,"loss":NaN}'),
        (b'{"message":NaN}', b'{"message":NaN}'),
    ],
)
def test_what_strict_json_forbids_is_read(value: bytes, payload: bytes) -> None:
    """Shippers write bytes as they came, and training programs a loss that diverged."""
    assert unwrapped(value).payload == payload


STRANGE = [
    {"message": "text", "host": ["a"], "program": 7, "file": {"path": 1}, "offset": True},
    {"message": "text", "host": {"name": 5}, "log": {"file": "x", "offset": -1, "flags": "truncated"}},
    {"message": "text", "host": "h" * 600, "@timestamp": "yesterday", "timestamp": 1e300, "offset": 1.5},
    {"message": "text", "host": "a\nb", "received_at": True, "@timestamp": -5, "timestamp": None},
    {"message": "text", "program": "two words", "@timestamp": "2026-03-02T12:00:00"},
]


@pytest.mark.parametrize("value", STRANGE)
def test_strange_fields_count_as_absent(value: dict[str, Any]) -> None:
    """The line is kept whatever its shipper says beside it."""
    found = unwrapped(value)
    assert (found.payload, found.host, found.file, found.file_offset, found.collected_time) == (b"text", "", "", None, None)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(
    ["message", "MESSAGE", "msg", "log", "host", "file", "offset", "event", "original", "program", "procid", "PID", "@timestamp", "DATE"]
)


@settings(deadline=None)
@given(
    st.dictionaries(KEYS, VALUES, max_size=10),
    st.lists(st.tuples(st.sampled_from(["host", "offset", "collected"]), st.binary()), max_size=3),
)
def test_any_object_is_unwrapped_or_rejected(value: dict[str, Any], headers: Headers) -> None:
    """No value of any field makes an envelope fail in another way."""
    with contextlib.suppress(RejectedRecord):
        assert len(registry.unwrap(orjson.dumps(value), headers)) == 1


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_unwrapped_or_rejected(value: bytes) -> None:
    """Nothing but a RejectedRecord leaves an envelope, and a raw value is its own payload."""
    try:
        (found,) = registry.unwrap(value, [])
    except RejectedRecord:
        assert value[:1] == b"{"
    else:
        assert value[:1] == b"{" or found.payload == raw.without_line_end(value)
