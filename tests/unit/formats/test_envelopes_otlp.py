"""OpenTelemetry's batches: what a record says, as JSON and in binary form, and values that only look like one."""

import base64
import importlib
import subprocess
import sys
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import DecodeError, RecordTooLarge, RejectedRecord, UnknownFormat
from pipeline.formats import registry
from pipeline.formats.envelopes.otlp_protobuf import looks_alike
from pipeline.formats.line import ITEMS_MAX, Line, Part, Reading
from tests.unit.formats.bare import bare

LogsData: Any = importlib.import_module("opentelemetry.proto.logs.v1.logs_pb2").LogsData
AT = 1_772_452_800_318  # 2026-03-02T12:00:00.318Z
NANO = "1772452800318000000"
EARLIER = "1772452799000000000"
TEXT = "iteration 40"
SSH = "Accepted publickey for u017 from 10.0.0.7 port 5022 ssh2"


def attributes(said: dict[str, Any]) -> list[dict[str, Any]]:
    """Attributes of the protocol; whole numbers are texts."""
    return [{"key": key, "value": value(each)} for key, each in said.items()]


def value(each: Any) -> dict[str, Any]:
    """An AnyValue."""
    if isinstance(each, bool):
        return {"boolValue": each}
    if isinstance(each, int):
        return {"intValue": str(each)}
    if isinstance(each, float):
        return {"doubleValue": each}
    if isinstance(each, bytes):
        return {"bytesValue": base64.b64encode(each).decode()}
    if isinstance(each, dict):
        return {"kvlistValue": {"values": attributes(each)}}
    if isinstance(each, list):
        return {"arrayValue": {"values": [value(one) for one in each]}}
    return {"stringValue": each}


def batch(*records: dict[str, Any], **resource: Any) -> dict[str, Any]:
    """A batch of one resource."""
    said = {"attributes": attributes({key.replace("__", "."): each for key, each in resource.items()})}
    return {"resourceLogs": [{"resource": said, "scopeLogs": [{"scope": {}, "logRecords": list(records)}]}]}


def record(body: Any = TEXT, time: str = NANO, **said: Any) -> dict[str, Any]:
    """A log record."""
    named = {key.replace("__", "."): each for key, each in said.items()}
    found = {"timeUnixNano": EARLIER, "observedTimeUnixNano": time, "severityText": "INFO", "attributes": attributes(named)}
    return found if body is None else {**found, "body": value(body)}


def binary(said: dict[str, Any]) -> bytes:
    """The same in the protocol's binary form."""
    parse: Any = importlib.import_module("google.protobuf.json_format").ParseDict
    return bytes(parse(said, LogsData()).SerializeToString())


ROWS: dict[str, tuple[dict[str, Any], Line]] = {
    "a tailed file": (
        batch(record(log__file__path="/l/slurm-7.out", log__file__record_offset=512), host__name="gpu-001"),
        Line(payload=TEXT.encode(), host="gpu-001", file="/l/slurm-7.out", file_offset=512, collected_time=AT),
    ),
    "the path in the resource, a service": (
        batch(record(), host__name="gpu-001", service__name="train", log__file__path="/l/a.log"),
        Line(payload=TEXT.encode(), host="gpu-001", program="train", file="/l/a.log", collected_time=AT),
    ),
    "a service without a name": (
        batch(record(), service__name="unknown_service:python"),
        Line(payload=TEXT.encode(), collected_time=AT),
    ),
    "a pod": (
        batch(
            record(log__iostream="stdout"),
            k8s__pod__name="pretrain-0",
            k8s__namespace__name="llm",
            k8s__pod__uid="0a1b",
            k8s__container__name="main",
            k8s__node__name="gpu-001",
        ),
        Line(payload=TEXT.encode(), host="gpu-001", file="/var/log/pods/llm_pretrain-0_0a1b/main/", collected_time=AT, stream="stdout"),
    ),
    "a container's file that nobody took apart": (
        batch(record(f"2026-03-02T12:00:00Z stderr P {TEXT}", log__file__path="/var/log/pods/a/b/0.log")),
        Line(payload=TEXT.encode(), file="/var/log/pods/a/b/0.log", collected_time=AT, truncated=True, stream="stderr", part=Part()),
    ),
    "never observed: its own time": (batch(record(time="0")), Line(payload=TEXT.encode(), collected_time=1_772_452_799_000)),
    "syslog receiver, message alone": (
        batch(record(SSH, appname="sshd", hostname="login-1", proc_id="9"), host__name="relay-1"),
        Line(payload=f"2026-03-02T11:59:59.000+00:00 login-1 sshd[9]: {SSH}".encode(), host="login-1", program="sshd", collected_time=AT),
    ),
    "syslog receiver, whole line": (
        batch(record(f"<38>Mar  2 12:00:00 login-1 sshd[9]: {SSH}", appname="sshd", hostname="login-1")),
        Line(payload=f"<38>Mar  2 12:00:00 login-1 sshd[9]: {SSH}".encode(), host="login-1", program="sshd", collected_time=AT),
    ),
    "journald receiver": (
        batch(
            record(
                {
                    "MESSAGE": SSH,
                    "_HOSTNAME": "login-1",
                    "SYSLOG_IDENTIFIER": "sshd",
                    "_PID": "9",
                    "__REALTIME_TIMESTAMP": "1772452800318000",
                }
            )
        ),
        Line(payload=f"2026-03-02T12:00:00.318+00:00 login-1 sshd[9]: {SSH}".encode(), host="login-1", program="sshd", collected_time=AT),
    ),
    "an event as a body": (
        batch(record({"type": "ADDED", "object": {"reason": "Killing", "count": 1}}), host__name="relay-1"),
        Line(payload=b'{"type":"ADDED","object":{"reason":"Killing","count":1}}', host="relay-1", collected_time=AT),
    ),
    "an object that a job printed, which names another's file": (
        batch(
            record({"message": TEXT, "file": "/l/slurm-8.out", "host": "gpu-009"}, log__file__path="/l/slurm-7.out"), host__name="gpu-001"
        ),
        Line(payload=TEXT.encode(), host="gpu-001", file="/l/slurm-7.out", collected_time=AT),
    ),
    "keys of a line as attributes": (
        batch(
            record(log__file__path="/l/slurm-8.out", appname="sshd", hostname="gpu-009"),
            k8s__pod__name="run7-0",
            k8s__namespace__name="llm",
            k8s__pod__uid="0a1b",
            k8s__container__name="main",
            k8s__node__name="gpu-001",
        ),
        Line(payload=TEXT.encode(), host="gpu-001", program="sshd", file="/var/log/pods/llm_run7-0_0a1b/main/", collected_time=AT),
    ),
    "bytes": (batch(record(b"a\xff\n")), Line(payload=b"a\xff", collected_time=AT)),
    "a number": (batch(record(7)), Line(payload=b"7", collected_time=AT)),
    "a list": (batch(record([1, "a"])), Line(payload=b'[1,"a"]', collected_time=AT)),
    "no body": (batch(record(None)), Line(payload=b"", collected_time=AT, broken="a log record without a body")),
    "no body, but the original": (batch(record(None, log__record__original=TEXT)), Line(payload=TEXT.encode(), collected_time=AT)),
    "names that are none": (
        batch(record(log__file__path="a\nb", appname=7, hostname="x"), host__name="h" * 600, service__name="-"),
        Line(payload=TEXT.encode(), collected_time=AT),
    ),
}


@pytest.mark.parametrize(("said", "line"), ROWS.values(), ids=ROWS)
def test_json(said: dict[str, Any], line: Line) -> None:
    """The line, and what resource and record say of it."""
    assert bare(registry.unwrap(orjson.dumps(said), ())) == [line]


@pytest.mark.parametrize(("said", "line"), ROWS.values(), ids=ROWS)
def test_protobuf(said: dict[str, Any], line: Line) -> None:
    """The binary form of a batch says the same."""
    assert bare(registry.unwrap(binary(said), ())) == [line]


def test_several_resources() -> None:
    """Each line has its own origin, in the order of the batch; headers fill what nobody says."""
    said = {"resourceLogs": [*batch(record("a"), record("b"), host__name="gpu-001")["resourceLogs"], *batch(record("c"))["resourceLogs"]]}
    for data in (orjson.dumps(said), binary(said)):
        found = registry.unwrap(data, [("host", b"relay-1")])
        assert [(line.payload, line.host) for line in found] == [(b"a", "gpu-001"), (b"b", "gpu-001"), (b"c", "relay-1")]


def test_numbers_as_numbers() -> None:
    """Some senders do not write 64-bit numbers as texts, and older ones say scopes in another word."""
    scope = {"logRecords": [{"observedTimeUnixNano": int(NANO), "body": {"intValue": 7}}]}
    data = orjson.dumps({"resourceLogs": [{"instrumentationLibraryLogs": [scope]}]})
    assert bare(registry.unwrap(data, ())) == [Line(payload=b"7", collected_time=AT)]


@pytest.mark.parametrize("said", [{"resourceLogs": []}, batch(), {"resourceLogs": [{}]}, {"resourceLogs": None}])
def test_an_empty_batch(said: dict[str, Any]) -> None:
    """Known, and holds nothing."""
    assert registry.unwrap(orjson.dumps(said), ()) == []


BROKEN: list[bytes] = [
    b'{"resourceLogs":7}',
    b'{"resourceLogs":[7]}',
    b'{"resourceLogs":[{"scopeLogs":{}}]}',
    b'{"resourceLogs":[{"scopeLogs":[{"logRecords":"x"}]}]}',
    b'{"resourceLogs":[{"scopeLogs":[',
    b'{"resourceLogs":[' + b"[" * 100_000,
]


@pytest.mark.parametrize("data", BROKEN, ids=lambda data: data[:40].decode())
def test_a_batch_of_other_things(data: bytes) -> None:
    """Nothing of it is silent."""
    with pytest.raises(DecodeError):
        registry.unwrap(data, ())


STRANGE: list[dict[str, Any]] = [
    {"body": {"bytesValue": "*"}},
    {"body": {"stringValue": ["x"]}},
    {"body": 7},
    {"body": {"kvlistValue": {"values": [{"key": 1}, 7]}}, "attributes": {"a": 1}},
    {"body": value(TEXT), "attributes": [7, {"key": 7}, {"key": "appname", "value": 7}], "timeUnixNano": [], "observedTimeUnixNano": "x"},
]


@pytest.mark.parametrize("said", STRANGE)
def test_one_strange_record_of_two(said: dict[str, Any]) -> None:
    """Its neighbour is kept."""
    first, second = bare(registry.unwrap(orjson.dumps(batch(said, record())), ()))
    assert first.broken or first.payload in {b"{}", TEXT.encode()}
    assert second == Line(payload=TEXT.encode(), collected_time=AT)


def nested(depth: int) -> Any:
    """A body in a body."""
    body: Any = TEXT
    for _ in range(depth):
        body = {"a": body}
    return body


def test_a_body_nested_too_deeply_is_refused_alone() -> None:
    """In both forms."""
    said = batch(record(nested(40)), record())
    for data in (orjson.dumps(said), _deep(40)):
        lines = registry.unwrap(data, ())
        assert "nested too deeply" in lines[0].broken


def _deep(depth: int) -> bytes:
    logs = LogsData()
    body = logs.resource_logs.add().scope_logs.add().log_records.add().body
    for _ in range(depth):
        body = body.array_value.values.add()
    body.string_value = TEXT
    return bytes(logs.SerializeToString())


def test_more_records_than_there_may_be() -> None:
    """A dead letter, not a part of the batch."""
    said = batch(*[{}] * (ITEMS_MAX + 1))
    for data in (orjson.dumps(said), binary(said)):
        with pytest.raises(RecordTooLarge):
            registry.unwrap(data, ())


BINARY = binary(batch(record(), host__name="gpu-001"))


def test_a_binary_batch_that_was_cut() -> None:
    """Cut anywhere it is no batch: undecodable where a header says protobuf was meant, else what it looks like."""
    for end in range(1, len(BINARY)):
        assert not looks_alike(BINARY[:end])
        (line,) = registry.unwrap(BINARY[:end], ())
        assert line.payload == BINARY[:end].removesuffix(b"\n").removesuffix(b"\r")
    assert looks_alike(BINARY * 3)
    broken = b"\n\x02\xff\xff"
    assert looks_alike(broken)
    assert registry.unwrap(broken, ()) == [Line(payload=broken)]
    with pytest.raises(DecodeError):
        registry.unwrap(broken, [("content-type", b"application/x-protobuf")])


@pytest.mark.parametrize("data", [b"\n", b"\n\n", b"\ntext", b"\n" * 100, b"\n\xff\xff\xff\xff\xff\x01", b"\n\x05abc", b"\n\x00x"])
def test_text_after_a_line_feed_is_no_batch(data: bytes) -> None:
    """Unless lengths add up."""
    assert not looks_alike(data) or registry.unwrap(data, ()) is not None


@settings(deadline=None)
@given(st.integers(0, len(BINARY) - 1), st.binary(max_size=8))
def test_any_change_of_a_binary_batch(at: int, put: bytes) -> None:
    """Nothing but a RejectedRecord is raised."""
    try:
        registry.unwrap(BINARY[:at] + put + BINARY[at + len(put) :], ())
    except RejectedRecord:
        return


def test_sites_without_opentelemetry_do_not_load_it() -> None:
    """Not by importing the formats, and not by text that begins with a line feed."""
    code = (
        "import sys; from pipeline.formats import registry; registry.unwrap(b'\\niteration 40', ()); print('opentelemetry' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"


OOM = "Out of memory: Killed process 4711 (python) total-vm:9kB, anon-rss:8kB, file-rss:0kB, UID:5012"


@pytest.mark.parametrize(
    ("said", "is_kernel"),
    [
        ({"facility": 0, "priority": 6}, True),
        ({"priority": 6}, True),
        ({}, True),
        ({"facility": 1, "priority": 14}, False),
        ({"facility": 1}, False),
        ({"facility": "user"}, False),
        ({"priority": 14}, False),
    ],
    ids=str,
)
@pytest.mark.parametrize("body", [OOM, f"<6>Mar  2 12:00:00 gpu-001 kernel: {OOM}"], ids=["taken apart", "whole, as somebody writes it"])
def test_only_the_kernel_is_the_kernel(said: dict[str, Any], is_kernel: bool, body: str) -> None:
    """`logger -t kernel` has the same `appname`; a syslog receiver tells the facility beside it."""
    (line,) = registry.unwrap(orjson.dumps(batch(record(body, appname="kernel", hostname="gpu-001", **said))), ())
    reading = Reading(zone=ZoneInfo("UTC"), reference_time=AT)
    if is_kernel:
        assert [type(event.body).__name__ for event in registry.parse(line, reading)[1]] == ["OomKill"]
    else:
        with pytest.raises(UnknownFormat):
            registry.parse(line, reading)
