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
from typing import Annotated, Any, Literal
from urllib.parse import unquote

import msgspec
import orjson

from pipeline.errors import DecodeError, SchemaMismatch, UnknownFormat
from pipeline.formats.fields import UNMAPPED_TEXT_LENGTH_MAX, shown, unmapped, utc_time
from pipeline.formats.json_event import Passing, at, event_object, list_at, passed, text_at, time_at, usual_line
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


_PASSING = (
    "awsRegion", "requestID", "eventType", "recipientAccountId", "eventCategory", "sharedEventID", "vpcEndpointId", "errorMessage",
)  # fmt: skip
_SHOWN = "readOnly", "managementEvent", "additionalEventData", "resources", "tlsDetails"


class _Identity(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    arn: str = ""
    invoked_by: str = ""
    principal_id: str = ""
    user_name: str = ""


class _Asked(msgspec.Struct, frozen=True, gc=False):
    bucket: str = msgspec.field(default="", name="bucketName")
    key: str = ""
    origin: str = msgspec.field(default="", name="x-amz-copy-source")


class _Record(msgspec.Struct, frozen=True, gc=False, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A record of the store, alone and of the usual types."""

    event_version: msgspec.Raw = msgspec.Raw()
    identity: _Identity = msgspec.field(name="userIdentity")
    time: str = msgspec.field(default="", name="eventTime")
    service: Literal["s3.amazonaws.com"] = msgspec.field(name="eventSource")
    operation: Annotated[str, msgspec.Meta(min_length=1)] = msgspec.field(name="eventName")
    aws_region: Passing = None
    address: str = msgspec.field(default="", name="sourceIPAddress")
    agent: str = msgspec.field(default="", name="userAgent")
    code: str = msgspec.field(default="", name="errorCode")
    error_message: Passing = None
    asked: _Asked | None = msgspec.field(default=None, name="requestParameters")
    response_elements: msgspec.Raw = msgspec.Raw()
    additional_event_data: dict[str, Passing | float] | None = None
    request_id: Passing = msgspec.field(default=None, name="requestID")
    own_id: str = msgspec.field(default="", name="eventID")
    read_only: bool | None = None
    resources: list[dict[str, str]] | None = None
    event_type: Passing = None
    management_event: bool | None = None
    recipient_account_id: Passing = None
    shared_event_id: Passing = msgspec.field(default=None, name="sharedEventID")
    vpc_endpoint_id: Passing = None
    event_category: Passing = None
    tls_details: dict[str, str] | None = None


decode_usual = msgspec.json.Decoder(_Record).decode


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
        if (found := usual_line(line, decode_usual)) is not None:
            return (_usual(found),)
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


def _usual(record: _Record) -> Parsed:
    """What the next and its callers make of it."""
    identity, asked, code = record.identity, record.asked or _Asked(), record.code
    origin = unquote(asked.origin, errors="replace").lstrip("/") if asked.origin else ""
    body = ObjectAccess(
        ACTIONS.get(record.operation, "other"),
        record.operation,
        f"s3://{asked.bucket}/{asked.key}" if asked.bucket else "",
        f"s3://{origin}" if origin else "",
        identity.arn or identity.invoked_by or identity.principal_id,
        None,
        record.address,
        record.agent,
        not code,
        code,
    )
    name = identity.user_name or identity.arn.partition("/")[2].rpartition("/")[2]
    rest = {"user_name": name[:UNMAPPED_TEXT_LENGTH_MAX]} if name else {}
    rest |= passed(_PASSING, (
        record.aws_region, record.request_id, record.event_type, record.recipient_account_id, record.event_category, record.shared_event_id,
        record.vpc_endpoint_id, record.error_message,
    ))  # fmt: skip
    others = record.read_only, record.management_event, record.additional_event_data, record.resources, record.tls_details
    rest |= {name: shown(other) for name, other in zip(_SHOWN, others, strict=True) if other is not None}
    return Parsed(Source.CLOUDTRAIL, body, utc_time(record.time) if record.time else None, "", record.own_id, rest)


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
