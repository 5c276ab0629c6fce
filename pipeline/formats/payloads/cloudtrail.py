"""Records of AWS CloudTrail in; for each an ObjectAccess (S3) or a CloudRequest (other services) out.

Comes as a file or message `{"Records":[..]}`, or one record at a time.  Data events of S3 (reads and writes of objects) are logged only
where a trail asks for them.

    {"eventTime":"2026-03-02T19:40:41Z","eventSource":"s3.amazonaws.com","eventName":"DeleteObject","userIdentity":{"type":"IAMUser",
     "userName":"u017"},"sourceIPAddress":"..","requestParameters":{"bucketName":"ckpt","key":"step100"},"eventID":"..","errorCode":..}

The user is the ARN.  The short name in it proves nothing and only passes through: whoever assumes a role chooses the session's name, and
other accounts have a `u017` of their own.  An `errorCode` means that nothing happened.  A copy names its source in `x-amz-copy-source`; a
DeleteObjects does not name its objects.

Holds: `eventID` is the own id; time is UTC to the second.  Not verified on real lines: no sample exists here.
Layout: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html
"""

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import unquote

import orjson

from pipeline.errors import DecodeError, SchemaMismatch, UnknownFormat
from pipeline.formats.fields import UNMAPPED_TEXT_LENGTH_MAX, unmapped
from pipeline.formats.json_event import at, event_object, list_at, text_at, time_at
from pipeline.formats.line import Line, Reading
from pipeline.model.events import CloudRequest, ObjectAccess, Parsed
from pipeline.model.source import Source

PROGRAMS = ("cloudtrail", "aws")
RECORDS_MAX = 10_000
_STORE = "s3.amazonaws.com"
_TAKEN = frozenset({
    "eventVersion", "eventTime", "eventSource", "eventName", "userIdentity", "sourceIPAddress", "userAgent", "requestParameters",
    "responseElements", "eventID", "errorCode",
})  # fmt: skip
ACTIONS = {
    "DeleteObject": "deleted", "DeleteObjects": "deleted", "DeleteBucket": "deleted", "PutObject": "written", "CopyObject": "written",
    "CompleteMultipartUpload": "written", "UploadPart": "written", "UploadPartCopy": "written", "CreateMultipartUpload": "written",
    "RestoreObject": "written", "GetObject": "read", "HeadObject": "read", "SelectObjectContent": "read", "ListObjects": "listed",
    "ListObjectsV2": "listed", "ListObjectVersions": "listed", "ListBuckets": "listed", "PutObjectAcl": "attributes",
    "PutObjectTagging": "attributes", "DeleteObjectTagging": "attributes", "PutObjectRetention": "attributes",
    "PutObjectLegalHold": "attributes", "PutBucketPolicy": "attributes", "PutBucketAcl": "attributes", "PutBucketLifecycle": "attributes",
    "PutBucketLifecycleConfiguration": "attributes", "PutBucketVersioning": "attributes", "DeleteBucketPolicy": "attributes",
}  # fmt: skip


class CloudTrail:
    """A record, or a list of them."""

    name = "cloudtrail"
    source = Source.CLOUDTRAIL
    programs = PROGRAMS
    begins = (b'{"eventVersion"',)
    first_bytes = b"{"

    def claims(self, payload: bytes) -> bool:
        """An object with a record's identity and a service of AWS."""
        return payload[:1] == b"{" and b'"eventSource"' in payload and b'"userIdentity"' in payload and b".amazonaws.com" in payload

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:
        """The records' events."""
        value, _ = event_object(line, reading, PROGRAMS)
        records = list_at(value, "Records") if "Records" in value else [value]
        if len(records) > RECORDS_MAX:
            raise SchemaMismatch("too many records")
        return tuple(_events(records))


def _events(records: list[Any]) -> Iterator[Parsed]:
    for record in records:
        service, operation = text_at(record, "eventSource"), text_at(record, "eventName")
        if not isinstance(record, dict) or not service.endswith(".amazonaws.com") or not operation or "userIdentity" not in record:
            raise UnknownFormat("no record of CloudTrail")
        yield Parsed(
            source=Source.CLOUDTRAIL,
            event_time=time_at(record, "eventTime"),
            own_id=text_at(record, "eventID"),
            body=_stored(record, operation) if service == _STORE else _asked(record, service, operation),
            unmapped={**_short_name(record), **unmapped(record, _TAKEN)},
        )


def _stored(record: dict[str, Any], operation: str) -> ObjectAccess:
    asked = record.get("requestParameters")
    bucket, key = text_at(asked, "bucketName"), text_at(asked, "key")
    origin = unquote(text_at(asked, "x-amz-copy-source"), errors="replace").lstrip("/")
    code = text_at(record, "errorCode")
    return ObjectAccess(
        action=ACTIONS.get(operation, "other"),
        operation=operation,
        path=f"s3://{bucket}/{key}" if bucket else "",
        old_path=f"s3://{origin}" if origin else "",
        user=_user(record),
        address=text_at(record, "sourceIPAddress"),
        agent=text_at(record, "userAgent"),
        success=not code,
        code=code,
    )


def _asked(record: dict[str, Any], service: str, operation: str) -> CloudRequest:
    code = text_at(record, "errorCode")
    try:
        target = orjson.dumps(record.get("requestParameters") or {})[:UNMAPPED_TEXT_LENGTH_MAX].decode("utf-8", "replace")
    except orjson.JSONEncodeError as error:
        raise DecodeError("a field is nested too deeply") from error
    return CloudRequest(
        user=_user(record),
        service=service.removesuffix(".amazonaws.com"),
        operation=operation,
        target="" if target == "{}" else target,
        identity=text_at(record, "userIdentity", "type"),
        address=text_at(record, "sourceIPAddress"),
        agent=text_at(record, "userAgent"),
        success=not code,
        code=code,
    )


def _user(record: dict[str, Any]) -> str:
    """The ARN, else the service that acted, else the id that the cloud gave the user."""
    identity = at(record, "userIdentity")
    return text_at(identity, "arn") or text_at(identity, "invokedBy") or text_at(identity, "principalId")


def _short_name(record: dict[str, Any]) -> dict[str, str]:
    """The user's name, or that of a role's session (`arn:aws:sts::1:assumed-role/admin/u017`), for people to read."""
    identity = at(record, "userIdentity")
    name = text_at(identity, "userName") or text_at(identity, "arn").partition("/")[2].rpartition("/")[2]
    return {"user_name": name[:UNMAPPED_TEXT_LENGTH_MAX]} if name else {}


FORMAT = CloudTrail()
