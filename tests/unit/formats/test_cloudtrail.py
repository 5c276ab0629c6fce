"""Records of CloudTrail: objects of S3 and requests to other services, one or many."""

import json
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pipeline.errors import DecodeError, RejectedRecord, SchemaMismatch, UnknownFormat
from pipeline.formats.line import Line, Reading
from pipeline.formats.payloads import cloudtrail
from pipeline.model.actor import actor_of
from pipeline.model.events import CloudRequest, Event, ObjectAccess, Parsed
from pipeline.model.identity import Directory, Identity

READING = Reading(zone=ZoneInfo("Asia/Shanghai"), reference_time=1_772_480_460_000)
DELETE: dict[str, Any] = {
    "eventVersion": "1.09", "eventTime": "2026-03-02T19:40:41Z", "eventSource": "s3.amazonaws.com", "eventName": "DeleteObject",
    "awsRegion": "eu-central-1", "userIdentity": {"type": "IAMUser", "arn": "arn:aws:iam::1:user/u017", "userName": "u017"},
    "sourceIPAddress": "10.0.0.7", "userAgent": "aws-cli/2", "requestParameters": {"bucketName": "ckpt", "key": "run 7/step100"},
    "responseElements": None, "eventID": "c-1",
}  # fmt: skip


def parse(value: object) -> tuple[Parsed, ...]:
    """The events of an object."""
    payload = value if isinstance(value, bytes) else json.dumps(value).encode()
    assert cloudtrail.FORMAT.claims(payload)
    return tuple(cloudtrail.FORMAT.parse(Line(payload=payload), READING))


def test_a_deleted_object() -> None:
    """Who, what and whether; regions pass through, answers do not."""
    (event,) = parse(DELETE)
    assert (event.event_time, event.own_id) == (1_772_480_441_000, "c-1")
    assert event.unmapped == {"user_name": "u017", "awsRegion": "eu-central-1"}
    assert event.body == ObjectAccess(
        action="deleted", operation="DeleteObject", path="s3://ckpt/run 7/step100", user="arn:aws:iam::1:user/u017", address="10.0.0.7",
        agent="aws-cli/2", success=True,
    )  # fmt: skip


def test_many_records() -> None:
    """A file's records are events with ids of their own."""
    copy = {
        **DELETE, "eventID": "c-2", "eventName": "CopyObject", "errorCode": "AccessDenied",
        "requestParameters": {"bucketName": "ckpt", "key": "b", "x-amz-copy-source": "/old/a%20c"},
    }  # fmt: skip
    first, second = parse({"Records": [DELETE, copy]})
    assert (first.own_id, second.own_id) == ("c-1", "c-2")
    assert isinstance(second.body, ObjectAccess)
    assert (second.body.old_path, second.body.path) == ("s3://old/a c", "s3://ckpt/b")
    assert (second.body.success, second.body.code) == (False, "AccessDenied")


ADMIN = "arn:aws:sts::1:assumed-role/admin/u017"
IDENTITIES = [
    ({"type": "AssumedRole", "arn": ADMIN, "principalId": "A:u017"}, ADMIN),
    ({"type": "AWSAccount", "principalId": "AIDA7", "accountId": "9", "userName": "u017"}, "AIDA7"),
    ({"type": "Root", "arn": "arn:aws:iam::1:root"}, "arn:aws:iam::1:root"),
    ({"type": "AWSService", "invokedBy": "autoscaling.amazonaws.com"}, "autoscaling.amazonaws.com"),
]


@pytest.mark.parametrize(("identity", "user"), IDENTITIES)
def test_other_services(identity: dict[str, str], user: str) -> None:
    """Machines that are ended under a role, by the root account or by the cloud itself."""
    asked = {"instancesSet": {"items": [{"instanceId": "i-1"}]}}
    value = {**DELETE, "eventSource": "ec2.amazonaws.com", "eventName": "TerminateInstances", "userIdentity": identity}
    (event,) = parse({**value, "requestParameters": asked})
    assert event.body == CloudRequest(
        user=user, service="ec2", operation="TerminateInstances", target=json.dumps(asked, separators=(",", ":")),
        identity=identity["type"], address="10.0.0.7", agent="aws-cli/2",
    )  # fmt: skip


ROLE = "arn:aws:sts::1:assumed-role"
MAP = Directory([
    Identity(id="u017", names=(("cloud", "arn:aws:iam::1:user/u017"), ("cloud", "u017"), ("email", "u017@example.org"))),
    Identity(id="trainer", names=(("cloud", f"{ROLE}/trainer"),), role="service"),
])  # fmt: skip
ACTORS = [
    ({"type": "IAMUser", "arn": "arn:aws:iam::1:user/u017", "userName": "u017"}, "u017"),
    ({"type": "IAMUser", "arn": "arn:aws:iam::9:user/u017", "userName": "u017"}, "cloud:arn:aws:iam::9:user/u017"),
    ({"type": "AssumedRole", "arn": f"{ROLE}/trainer/u017"}, "trainer"),
    ({"type": "AssumedRole", "arn": f"{ROLE}/trainer/u017@example.org", "principalId": "A:u017@example.org"}, "trainer"),
    ({"type": "AssumedRole", "arn": f"{ROLE}/other/u017@example.org"}, f"cloud:{ROLE}/other/u017@example.org"),
    ({"type": "FederatedUser", "arn": "arn:aws:sts::1:federated-user/u017"}, "cloud:arn:aws:sts::1:federated-user/u017"),
    ({"type": "AssumedRole", "principalId": "A:u017@example.org"}, "cloud:A:u017@example.org"),
]


@pytest.mark.parametrize(("identity", "actor"), ACTORS)
def test_nobody_is_accused_by_a_name_that_another_chose(identity: dict[str, str], actor: str) -> None:
    """A session is called as its caller likes, and every account has its own users: the map must say the whole ARN, or the role."""
    (parsed,) = parse({**DELETE, "userIdentity": identity})
    event = Event(id="", source=parsed.source, cluster="main", event_time=0, body=parsed.body)
    who = actor_of(MAP, event)
    assert who is not None
    assert who.id == actor


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        (b'{"eventSource":"s3.amazonaws.com","userIdentity":{', DecodeError),
        (b'{"eventSource":"x","userIdentity":{},"a":".amazonaws.com"}', UnknownFormat),
        (b'{"Records":[7,".amazonaws.com"],"eventSource":1,"userIdentity":1}', UnknownFormat),
        (b'{"Records":7,"eventSource":".amazonaws.com","userIdentity":1}', SchemaMismatch),
        (json.dumps({**DELETE, "eventTime": "soon"}).encode(), DecodeError),
    ],
)
def test_broken(payload: bytes, error: type[RejectedRecord]) -> None:
    """What is wrong is said."""
    with pytest.raises(error):
        parse(payload)
