"""MinIO's audit entries and notifications, as it writes them to Kafka."""

import json
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pipeline.errors import DecodeError, RejectedRecord, SchemaMismatch, UnknownFormat
from pipeline.formats import registry
from pipeline.formats.line import Line, Reading
from pipeline.formats.payloads import minio
from pipeline.model.events import ObjectAccess, Parsed

READING = Reading(zone=ZoneInfo("Asia/Shanghai"), reference_time=1_772_480_460_000)
AUDIT: dict[str, Any] = {
    "version": "1", "deploymentid": "d", "time": "2026-03-02T19:40:41.318546829Z", "event": "", "trigger": "incoming",
    "api": {"name": "DeleteObject", "bucket": "ckpt", "object": "run 7/a%2Bb", "status": "No Content", "statusCode": 204, "rx": 0, "tx": 0},
    "remotehost": "10.0.0.7", "requestID": "R1", "userAgent": "mc", "requestHeader": {"Authorization": "secret"}, "accessKey": "K",
    "parentUser": "u017",
}  # fmt: skip
NOTE: dict[str, Any] = {
    "EventName": "s3:ObjectRemoved:Delete", "Key": "ckpt/run 7/step100",
    "Records": [{
        "eventVersion": "2.0", "eventSource": "minio:s3", "eventTime": "2026-03-02T19:40:41.318Z", "eventName": "s3:ObjectRemoved:Delete",
        "userIdentity": {"principalId": "u017"}, "requestParameters": {"sourceIPAddress": "10.0.0.7"},
        "s3": {"bucket": {"name": "ckpt"}, "object": {"key": "run+7%2Fstep100", "size": 9, "sequencer": "17"}},
        "source": {"host": "10.0.0.7", "userAgent": "mc"},
    }],
}  # fmt: skip


def parse(value: object) -> tuple[Parsed, ...]:
    """The events of an object."""
    payload = value if isinstance(value, bytes) else json.dumps(value).encode()
    assert minio.FORMAT.claims(payload)
    return tuple(minio.FORMAT.parse(Line(payload=payload), READING))


def test_an_audit_entry() -> None:
    """The user behind a service account's key; the name as it is; no header."""
    (event,) = parse(AUDIT)
    assert (event.event_time, event.own_id) == (1_772_480_441_318, "audit/d/R1/run 7/a%2Bb")
    assert event.body == ObjectAccess(
        action="deleted", operation="DeleteObject", path="s3://ckpt/run 7/a%2Bb", user="u017", address="10.0.0.7", agent="mc", success=True,
        code="204",
    )  # fmt: skip
    assert "secret" not in repr(event)


def test_many_objects_of_one_request() -> None:
    """Each is an event; a refused request changes nothing."""
    api = {"name": "DeleteMultipleObjects", "bucket": "ckpt", "objects": [{"objectName": "a"}, {"objectName": "b"}], "statusCode": 403}
    events = parse({**AUDIT, "api": api})
    assert [event.own_id for event in events] == ["audit/d/R1/a", "audit/d/R1/b"]
    assert {event.body.success for event in events if isinstance(event.body, ObjectAccess)} == {False}


def test_a_notification() -> None:
    """Keys are URL-encoded; a record alone says the same."""
    (event,) = parse(NOTE)
    assert (event.event_time, event.own_id) == (1_772_480_441_318, "event/ckpt/run 7/step100/ObjectRemoved:Delete/17")
    assert event.body == ObjectAccess(
        action="deleted", operation="ObjectRemoved:Delete", path="s3://ckpt/run 7/step100", user="u017", address="10.0.0.7", agent="mc",
        success=True, size_bytes=9,
    )  # fmt: skip
    assert parse(NOTE["Records"][0]) == (event,)


@pytest.mark.parametrize("value", [AUDIT, NOTE])
def test_no_wrapper_opens_it(value: dict[str, Any]) -> None:
    """They are events."""
    payload = json.dumps(value).encode()
    assert [line.payload for line in registry.unwrap(payload, [])] == [payload]


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        (b'{"api":{"requestID"', DecodeError),
        (b'{"api":7,"requestID":1}', UnknownFormat),
        (b'{"Records":[],"x":{"s3":1,"eventName":2}}', UnknownFormat),
        (b'{"Records":{},"x":{"s3":1,"eventName":2}}', SchemaMismatch),
        (json.dumps({**AUDIT, "api": {"name": ["x"]}}).encode(), SchemaMismatch),
    ],
)
def test_broken(payload: bytes, error: type[RejectedRecord]) -> None:
    """What is wrong is said."""
    with pytest.raises(error):
        parse(payload)
