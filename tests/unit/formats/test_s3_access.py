"""S3 server access logs: encoded keys, nobody's requests, and what clients write."""

from zoneinfo import ZoneInfo

import pytest

from pipeline.errors import DecodeError, RejectedRecord, TimestampOutOfRange, UnknownFormat
from pipeline.formats.line import Line, Reading
from pipeline.formats.payloads import s3_access
from pipeline.model.events import ObjectAccess, Parsed

READING = Reading(zone=ZoneInfo("Asia/Shanghai"), reference_time=1_772_480_460_000)
OWNER = "7" * 64
LINE = (
    f"{OWNER} ckpt [02/Mar/2026:19:40:41 +0000] 10.0.0.7 arn:aws:iam::1:user/u017 R1 REST.DELETE.OBJECT run%207/step100 "
    '"DELETE /run%207/step100 HTTP/1.1" 204 - - 4406583 41 - "-" "aws-cli/2" - x= SigV4 - AuthHeader h TLSv1.2 - -'
)


def parse(text: str) -> Parsed:
    """The event of a line."""
    assert s3_access.FORMAT.claims(text.encode())
    (event,) = s3_access.FORMAT.parse(Line(payload=text.encode()), READING)
    return event


def test_a_deletion() -> None:
    """Who, what, whether; the short name passes through."""
    event = parse(LINE)
    assert (event.event_time, event.own_id) == (1_772_480_441_000, "R1/REST.DELETE.OBJECT/run%207/step100")
    assert event.unmapped == {"requester_name": "u017"}
    assert event.body == ObjectAccess(
        action="deleted", operation="REST.DELETE.OBJECT", path="s3://ckpt/run 7/step100", user="arn:aws:iam::1:user/u017",
        address="10.0.0.7", agent="aws-cli/2", success=True, size_bytes=4_406_583,
    )  # fmt: skip


ADMIN = "arn:aws:sts::1:assumed-role/admin/u017"
ROWS = [
    ("REST.PUT.OBJECT", OWNER, "403 AccessDenied", "written", OWNER, False, "AccessDenied"),
    ("BATCH.DELETE.OBJECT", ADMIN, "204 -", "deleted", ADMIN, True, ""),
    ("REST.GET.BUCKETPOLICY", "-", "- -", "other", "", None, ""),
]


@pytest.mark.parametrize(("operation", "requester", "answer", "action", "user", "success", "code"), ROWS)
def test_operations(operation: str, requester: str, answer: str, action: str, user: str, success: bool | None, code: str) -> None:
    """Requesters of each kind, refusals, and what has no status."""
    text = LINE.replace("REST.DELETE.OBJECT", operation).replace("arn:aws:iam::1:user/u017", requester).replace("204 -", answer)
    body = parse(text).body
    assert isinstance(body, ObjectAccess)
    assert (body.action, body.user, body.success, body.code) == (action, user, success, code)


def test_an_agent_that_imitates_fields() -> None:
    """Who and what stand before anything that the client writes."""
    forged = LINE.replace("aws-cli/2", '" 204 - - 1 1 - "-" arn:aws:iam::1:user/u099 REST.PUT.OBJECT')
    body = parse(forged).body
    assert isinstance(body, ObjectAccess)
    assert (body.user, body.operation, body.success) == ("arn:aws:iam::1:user/u017", "REST.DELETE.OBJECT", True)


def test_offsets_are_read() -> None:
    """The line's offset counts, not the zone of the settings."""
    assert parse(LINE.replace("+0000", "+0130")).event_time == 1_772_480_441_000 - 5_400_000


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (f"{OWNER} ckpt [02/Mar/2026 what", UnknownFormat),
        (LINE.replace("Mar", "Mai"), DecodeError),
        (LINE.replace("02/Mar", "32/Mar"), DecodeError),
        (LINE.replace("2026", "1926"), TimestampOutOfRange),
    ],
)
def test_broken(text: str, error: type[RejectedRecord]) -> None:
    """What is wrong is said."""
    with pytest.raises(error):
        parse(text)
