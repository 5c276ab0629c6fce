"""Values that hold several lines as JSON: lists of events, records of clouds, arrays, an object a line; and all of them compressed."""

import base64
import contextlib
import gzip
import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import DecodeError, RecordTooLarge, RejectedRecord
from pipeline.formats import registry
from pipeline.formats.envelopes import compressed, json_array, json_lines, kubernetes_list
from pipeline.formats.line import ITEMS_MAX, Line
from tests.unit.formats.bare import bare

AT = 1_772_452_800_318  # 2026-03-02T12:00:00.318Z
AUDIT = '{"level":"Metadata","auditID":"a1","stage":"ResponseComplete","verb":"delete"}'
TRAIL = '{"eventVersion":"1.08","eventSource":"s3.amazonaws.com","eventName":"DeleteObject"}'
NO_OBJECT = "an item of a batch is no object"


def aks(log: str, **more: Any) -> dict[str, Any]:
    return {
        "category": "kube-audit",
        "time": "2026-03-02T12:00:00.318Z",
        "properties": {"log": log, "stream": "stdout", "pod": "p"},
        **more,
    }


def watched(*messages: object, kind: str = "DATA_MESSAGE") -> bytes:
    events = [{"id": "1", "timestamp": AT, "message": message} for message in messages]
    about = {
        "messageType": kind,
        "owner": "1",
        "logGroup": "/aws/eks/c1/cluster",
        "logStream": "kube-apiserver-audit-1",
        "subscriptionFilters": [],
    }
    return orjson.dumps({**about, "logEvents": events})


def whole(text: str) -> Line:
    return Line(payload=text.encode())


GROUP = "/aws/eks/c1/cluster/kube-apiserver-audit-1"
ROWS: dict[str, tuple[bytes, list[Line]]] = {
    "the audit webhook": (
        f'{{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{{}},"items":[{AUDIT},{AUDIT}]}}'.encode(),
        [whole(AUDIT), whole(AUDIT)],
    ),
    "an empty list": (b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[]}', []),
    "an item that is no event": (
        f'{{"kind":"EventList","items":[7,{AUDIT},null]}}'.encode(),
        [Line(payload=b"7", broken=NO_OBJECT), whole(AUDIT), Line(payload=b"null", broken=NO_OBJECT)],
    ),
    "an item is the bytes that came": (b'{"kind":"EventList","items":[{"b" : 1,"a":1,"a":2}]}', [whole('{"b" : 1,"a":1,"a":2}')]),
    "a list of pods stays whole": (b'{"kind":"PodList","items":[{"a":1}]}', [whole('{"kind":"PodList","items":[{"a":1}]}')]),
    "items that are no list": (b'{"kind":"EventList","items":{"a":1}}', [whole('{"kind":"EventList","items":{"a":1}}')]),
    "CloudTrail": (f'{{"Records":[{TRAIL},{TRAIL}]}}'.encode(), [whole(TRAIL), whole(TRAIL)]),
    "MinIO says in one object what happened": (
        b'{"EventName":"s3:ObjectRemoved:Delete","Key":"k","Records":[{"s3":{}}]}',
        [whole('{"EventName":"s3:ObjectRemoved:Delete","Key":"k","Records":[{"s3":{}}]}')],
    ),
    "Azure": (
        orjson.dumps({"records": [aks(AUDIT + "\n"), {"category": "Administrative", "properties": {"a": 1}}]}),
        [
            Line(payload=AUDIT.encode(), file="kube-audit", collected_time=AT, stream="stdout"),
            whole('{"category":"Administrative","properties":{"a":1}}'),
        ],
    ),
    "a record of Azure alone": (
        orjson.dumps(aks(AUDIT, resourceId="/SUBSCRIPTIONS/X")),
        [Line(payload=AUDIT.encode(), file="kube-audit", collected_time=AT, stream="stdout")],
    ),
    "CloudWatch": (
        watched(AUDIT, "plain\n", 7),
        [
            Line(payload=AUDIT.encode(), file=GROUP, collected_time=AT),
            Line(payload=b"plain", file=GROUP, collected_time=AT),
            Line(payload=b"", file=GROUP, broken="a log event without a message"),
        ],
    ),
    "CloudWatch asks whether anybody is there": (watched("x", kind="CONTROL_MESSAGE"), []),
    "CloudWatch, compressed": (gzip.compress(watched("x"), mtime=0), [Line(payload=b"x", file=GROUP, collected_time=AT)]),
    "two members": (gzip.compress(b'{"message":"a"}\n', mtime=0) + gzip.compress(b'{"message":"b"}\n', mtime=0), [whole("a"), whole("b")]),
    "a compressed line": (gzip.compress(b"iteration 40\n", mtime=0), [whole("iteration 40")]),
    "compressed twice is a line": (gzip.compress(b"\x1f\x8b\x08\x00", mtime=0), [Line(payload=b"\x1f\x8b\x08\x00")]),
    "an array of wrappers and events": (
        b'[{"@timestamp":1772452800.318,"log":"a\\n"}, {"jobid":7,"message":"x"}]',
        [Line(payload=b"a", collected_time=AT), whole('{"jobid":7,"message":"x"}')],
    ),
    "an array over lines, of which one is no object": (
        b'[\n  {"message": "a"},\n  "b"\n]\n',
        [whole("a"), Line(payload=b'"b"', broken=NO_OBJECT)],
    ),
    "an array in an array is no object": (
        b'[{"message":"a"},[{"message":"b"}]]',
        [whole("a"), Line(payload=b'[{"message":"b"}]', broken=NO_OBJECT)],
    ),
    "a list that Python printed": (b"[{'loss': 2.5}]", [whole("[{'loss': 2.5}]")]),
    "an array that was cut": (b'[{"message":"a"},{"mess', [whole('[{"message":"a"},{"mess')]),
    "a line that begins with a bracket": (b"[2026-03-02T20:00:00.100] x", [whole("[2026-03-02T20:00:00.100] x")]),
    "an array of numbers": (b"[1,2]", [whole("[1,2]")]),
    "objects, one a line": (
        b'{"message":"a","host":"gpu-001"}\n{"jobid":7}\r\n\n{"message":"b"}\n',
        [Line(payload=b"a", host="gpu-001"), whole('{"jobid":7}'), whole("b")],
    ),
    "jobcomp, one a line": (b'{"jobid":7}\n{"jobid":8}', [whole('{"jobid":7}'), whole('{"jobid":8}')]),
    "a batch a line": (f'{{"Records":[{TRAIL}]}}\n{{"message":"b"}}'.encode(), [whole(TRAIL), whole("b")]),
    "an object over lines": (b'{\n "jobs": [\n{"a":1}\n]}', [whole('{\n "jobs": [\n{"a":1}\n]}')]),
}


@pytest.mark.parametrize(("value", "lines"), ROWS.values(), ids=ROWS)
def test_batches(value: bytes, lines: list[Line]) -> None:
    """Each item is the line that it would be alone."""
    assert bare(registry.unwrap(value, ())) == lines


def test_one_broken_object_of_many() -> None:
    """It is refused alone, with the reason."""
    first, second, third = registry.unwrap(b'{"message":"a"}\n{"message":}\n{"message":"c', ())
    assert (first.payload, first.broken) == (b"a", "")
    assert second.payload == b'{"message":}'
    assert second.broken.startswith("not JSON")
    assert third.broken.startswith("not JSON")


HALF = '{"message":"a\\ud800b"}'
HIDING: dict[str, bytes] = {
    "array": f'[{HALF},{{"message":"b"}}]'.encode(),
    "lines": f'{HALF}\n{{"message":"b"}}'.encode(),
    "bytes": b'[{"message":"a\xffb"},{"message":"b"}]',
    "NaN": b'[{"step":1,"loss":NaN},{"message":"b"}]',
    "list": f'{{"kind":"EventList","items":[{HALF},{AUDIT}]}}'.encode(),
    "records": f'{{"Records":[{HALF},{TRAIL}]}}'.encode(),
    "CloudWatch": watched("a", "b").replace(b'"a"', b'"a\\ud800b"'),
    "OpenTelemetry": b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"\\ud800"}},{"body":{"stringValue":"b"}}]}]}]}',
}


@pytest.mark.parametrize("value", HIDING.values(), ids=HIDING)
def test_no_text_hides_its_neighbours(value: bytes) -> None:
    """Half a surrogate pair, or a byte that is no UTF-8, costs at most itself."""
    assert [line.broken for line in registry.unwrap(value, ())] == ["", ""]


def test_headers_reach_every_line() -> None:
    """What is said of a record is said of its lines, except where a line knows better."""
    headers = [("host", b"relay-1"), ("collected", str(AT).encode())]
    found = registry.unwrap(f'[{{"message":"a","host":"gpu-001"}},{AUDIT}]'.encode(), headers)
    assert [(line.host, line.collected_time) for line in found] == [("gpu-001", AT), ("relay-1", AT)]


TOO_MANY = ITEMS_MAX + 1
LARGE: dict[str, bytes] = {
    "list": b'{"kind":"EventList","items":[' + b",".join([b"{}"] * TOO_MANY) + b"]}",
    "records": b'{"Records":[' + b",".join([b"{}"] * TOO_MANY) + b"]}",
    "CloudWatch": watched(*[""] * TOO_MANY),
    "array": b"[" + b",".join([b"{}"] * TOO_MANY) + b"]",
    "lines": b"{}\n" * TOO_MANY,
    "lines of batches": b'{"Records":[{},{},{}]}\n' * (TOO_MANY // 3 + 1),
    "blank lines": b"{}\n{}" + b"\n" * (2 * TOO_MANY),
    "bomb": gzip.compress(b"{" * (compressed.INFLATED_BYTES_MAX + 1), mtime=0),
    "members": gzip.compress(b"", mtime=0) * (compressed.MEMBERS_MAX + 1),
}


@pytest.mark.parametrize("value", LARGE.values(), ids=LARGE)
def test_a_batch_without_end_is_refused_whole(value: bytes) -> None:
    """The bound is a dead letter with its code; nothing is taken in part."""
    with pytest.raises(RecordTooLarge):
        registry.unwrap(value, ())


def test_as_many_as_there_may_be() -> None:
    """The bound itself is allowed."""
    assert len(registry.unwrap(b"[" + b",".join([b'{"a":1}'] * ITEMS_MAX) + b"]", ())) == ITEMS_MAX


@pytest.mark.parametrize(
    "value", [b"\x1f\x8b", b"\x1f\x8b\x08", gzip.compress(b'{"message":"a"}', mtime=0)[:-4], b"\x1f\x8b\x08" + b"x" * 40]
)
def test_a_compressed_value_that_was_cut(value: bytes) -> None:
    """Half a text is no text."""
    if len(value) == 2:  # too short to be gzip
        assert registry.unwrap(value, ()) == [Line(payload=value)]
        return
    with pytest.raises(DecodeError):
        registry.unwrap(value, ())


@pytest.mark.parametrize(
    "value", [b'{"messageType":"DATA_MESSAGE","logEvents":7}', b'{"messageType":[],"logEvents":[]}', watched("a")[:-9]]
)
def test_broken_cloudwatch(value: bytes) -> None:
    """It said what it is, and is not."""
    with pytest.raises(DecodeError):
        registry.unwrap(value, ())


def handed_over(value: bytes) -> bytes:
    """As a function gets it from the subscription."""
    return orjson.dumps({"awslogs": {"data": base64.b64encode(value).decode()}})


def test_what_a_function_gets_of_cloudwatch() -> None:
    """Passed on as it came: the same lines as those of the message inside."""
    assert registry.unwrap(handed_over(gzip.compress(watched("a", "b"), mtime=0)), ()) == registry.unwrap(watched("a", "b"), ())
    other = b'{"awslogs":7,"step":1}'
    assert registry.unwrap(other, ()) == [Line(payload=other)]


@pytest.mark.parametrize("value", [b'{"awslogs":{"data":"&&"}}', handed_over(b"plain"), handed_over(gzip.compress(b"{}", mtime=0)[:-3])])
def test_what_a_function_gets_broken(value: bytes) -> None:
    """No base64, not compressed, or cut."""
    with pytest.raises(DecodeError):
        registry.unwrap(value, ())


def test_what_a_function_gets_has_a_bound() -> None:
    """The same as of any compressed value."""
    with pytest.raises(RecordTooLarge):
        registry.unwrap(handed_over(gzip.compress(b"{" * (compressed.INFLATED_BYTES_MAX + 1), mtime=0)), ())


DEEP = 100_000


@pytest.mark.parametrize(
    "value",
    [
        b'{"kind":"EventList","items":[' + b"[" * DEEP,
        b'{"kind":"EventList","items":[' + b"[" * DEEP + b"]" * DEEP + b"]}",
        b'{"Records":[' + b'{"a":' * DEEP,
        b'[{"a":' + b"[" * DEEP,
        b'{"a":1}\n{"a":' + b"[" * DEEP,
        b'{"messageType":"DATA_MESSAGE","logEvents":[' + b"[" * DEEP,
    ],
    ids=lambda value: value[:24].decode(),
)
def test_nesting_without_end(value: bytes) -> None:
    """Refused, or one line; never an exception of another kind."""
    try:
        lines = registry.unwrap(value, ())
    except (DecodeError, RecordTooLarge):
        return
    assert len(lines) <= 2


def test_an_envelope_alone_knows_its_shape() -> None:
    """Each answers None to a value of another, also when it is asked directly."""
    others = [b"", b"{", b"[", b"text", b'{"message":"a"}', b"{'a': 1}", json.dumps({"items": 1}).encode()]
    for envelope in registry.ENVELOPES[1:-1]:
        assert [envelope.unwrap(value, ()) for value in others] == [None] * len(others), envelope.name


def test_helpers_are_total() -> None:
    """What is no object is no line of objects, and no array."""
    assert not any(json_lines.are(value) for value in (b"", b"a\n{}", b"{}\n", b"{\n{}", b"{}\n[]"))
    array = json_array.JsonArray(registry.unwrap)
    assert array.unwrap(b"[]", ()) is None
    assert kubernetes_list.KubernetesList(registry.unwrap).unwrap(b'{"items":[]}', ()) is None


STARTS = [value[: len(value) * 2 // 3] for value, _ in ROWS.values()]


@settings(deadline=None)
@given(
    st.sampled_from([*STARTS, b"[{", b'{"', b"\n", b"\x1f\x8b\x08", b"<34>1 ", b"40 <34>", b"2026-03-02T12:00:00Z stdout "]),
    st.binary(max_size=40),
)
def test_any_end_of_a_beginning(start: bytes, end: bytes) -> None:
    """Nothing but a RejectedRecord leaves an envelope."""
    with contextlib.suppress(RejectedRecord):
        registry.unwrap(start + end, ())
