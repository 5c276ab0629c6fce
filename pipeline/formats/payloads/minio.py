"""What MinIO writes to Kafka by itself in: audit entries and bucket notifications; for each object an ObjectAccess out.

    audit          {"version":"1","time":"..","trigger":"incoming","api":{"name":"DeleteObject","bucket":"ckpt","object":"step100",
                   "statusCode":204},"remotehost":"..","requestID":"..","userAgent":"..","accessKey":"u017","parentUser":".."}
    notification   {"EventName":"s3:ObjectRemoved:Delete","Key":"ckpt/step100","Records":[{"eventTime":"..","userIdentity":{"principalId"},
                   "requestParameters":{"sourceIPAddress"},"s3":{"bucket":{"name"},"object":{"key":"a%2Fb","size","eTag","sequencer"}}}]}

A notification also comes from other stores that speak S3; a record alone is read as well.  Keys in it are URL-encoded, with `+` for a
blank; names in audit entries are not.  A request that deletes many objects lists them: one event each.  The actor is the parent user
of a temporary or service account where there is one, since keys are handed around.  Headers are not kept: they hold signatures.

Holds: own ids from `requestID` with object, or `sequencer` with object; times are UTC.  Not verified on real lines: no sample exists
here.  Layout: github.com/minio/pkg logger/message/audit/entry.go,
https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any
from urllib.parse import unquote_plus

import msgspec

from pipeline.errors import SchemaMismatch, UnknownFormat
from pipeline.formats.fields import unmapped, utc_time
from pipeline.formats.json_event import Passing, at, event_object, int_at, list_at, passed, text_at, time_at, usual_line
from pipeline.formats.line import Line, Reading
from pipeline.formats.payloads.cloudtrail import ACTIONS
from pipeline.model.events import ObjectAccess, Parsed
from pipeline.model.source import Source

PROGRAMS = ("minio",)
RECORDS_MAX = 10_000
_TAKEN = frozenset({
    "version", "deploymentid", "time", "api", "remotehost", "requestID", "userAgent", "accessKey", "parentUser", "requestHeader",
    "responseHeader", "requestClaims", "requestQuery",
})  # fmt: skip
_OWN_ACTIONS = {
    "DeleteMultipleObjects": "deleted",
    "PutObjectPart": "written",
    "CopyObjectPart": "written",
    "NewMultipartUpload": "written",
}
_NOTIFIED = {
    "ObjectRemoved": "deleted", "ObjectCreated": "written", "ObjectAccessed": "read", "ObjectRestore": "written",
    "ObjectTagging": "attributes",
    "ObjectAcl": "attributes", "LifecycleExpiration": "deleted", "ObjectTransition": "attributes",
}  # fmt: skip


class _Call(msgspec.Struct, frozen=True, gc=False):
    name: str = ""
    bucket: str = ""
    object: str = ""
    code: Annotated[int, msgspec.Meta(ge=0, le=999)] | None = msgspec.field(default=None, name="statusCode")
    objects: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET  # of a deletion of several


class _Entry(msgspec.Struct, frozen=True, gc=False, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """An audit entry about one object, of the usual types."""

    version: msgspec.Raw = msgspec.Raw()
    deployment: str = msgspec.field(default="", name="deploymentid")
    time: str = ""
    event: Passing = None
    trigger: Passing = None
    api: _Call
    address: str = msgspec.field(default="", name="remotehost")
    request: str = msgspec.field(name="requestID")
    agent: str = msgspec.field(default="", name="userAgent")
    request_path: Passing = None
    request_host: Passing = None
    request_node: Passing = None
    request_claims: msgspec.Raw = msgspec.Raw()
    request_query: msgspec.Raw = msgspec.Raw()
    request_header: msgspec.Raw = msgspec.Raw()
    response_header: msgspec.Raw = msgspec.Raw()
    key: str = msgspec.field(default="", name="accessKey")
    parent: str = msgspec.field(default="", name="parentUser")


_PASSING = "event", "trigger", "requestPath", "requestHost", "requestNode"
decode_usual = msgspec.json.Decoder(_Entry).decode


class Minio:
    """Audit entries and notifications."""

    name = "minio"
    source = Source.MINIO
    programs = PROGRAMS
    begins = (b'{"version"', b'{"EventName"')
    first_bytes = b"{"

    def claims(self, payload: bytes) -> bool:
        """An object with the marks of one of the two."""
        if payload[:1] != b"{":
            return False
        return (b'"api"' in payload and b'"requestID"' in payload) or (b'"s3"' in payload and b'"eventName"' in payload)

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:
        """One event per object."""
        if (found := usual_line(line, decode_usual)) is not None and found.api.objects is msgspec.UNSET:
            return (_usual(found),)
        value, _ = event_object(line, reading, PROGRAMS)
        if isinstance(value.get("api"), dict) and "requestID" in value:
            return tuple(_audited(value))
        records = list_at(value, "Records") if "Records" in value else [value]
        if len(records) > RECORDS_MAX:
            raise SchemaMismatch("too many records")
        if not records or not all(isinstance(at(record, "s3"), dict) for record in records):
            raise UnknownFormat("neither an audit entry nor a notification")
        return tuple(map(_notified, records))


def _usual(entry: _Entry) -> Parsed:
    """What the next makes of it."""
    api, request = entry.api, entry.request
    operation, name, code = api.name, api.object, api.code
    body = ObjectAccess(
        ACTIONS.get(operation) or _OWN_ACTIONS.get(operation, "other"),
        operation,
        f"s3://{api.bucket}/{name}" if api.bucket else "",
        "",
        entry.parent or entry.key,
        None,
        entry.address,
        entry.agent,
        None if code is None else code < 400,
        "" if code is None else str(code),
    )
    own_id = f"audit/{entry.deployment}/{request}/{name}" if request else ""
    rest = passed(_PASSING, (entry.event, entry.trigger, entry.request_path, entry.request_host, entry.request_node))
    return Parsed(Source.MINIO, body, utc_time(entry.time) if entry.time else None, "", own_id, rest)


def _audited(value: dict[str, Any]) -> Iterator[Parsed]:
    api = value["api"]
    operation, bucket, request = text_at(api, "name"), text_at(api, "bucket"), text_at(value, "requestID")
    code = int_at(api, "statusCode", maximum=999)
    objects = list_at(api, "objects")
    if len(objects) > RECORDS_MAX:
        raise SchemaMismatch("too many objects")
    names = [text_at(each, "objectName") for each in objects] or [text_at(api, "object")]
    for name in dict.fromkeys(names):
        yield Parsed(
            source=Source.MINIO,
            event_time=time_at(value, "time"),
            own_id=f"audit/{text_at(value, 'deploymentid')}/{request}/{name}" if request else "",
            body=ObjectAccess(
                action=ACTIONS.get(operation) or _OWN_ACTIONS.get(operation, "other"),
                operation=operation,
                path=f"s3://{bucket}/{name}" if bucket else "",
                user=text_at(value, "parentUser") or text_at(value, "accessKey"),
                address=text_at(value, "remotehost"),
                agent=text_at(value, "userAgent"),
                success=None if code is None else code < 400,
                code="" if code is None else str(code),
            ),
            unmapped=unmapped(value, _TAKEN),
        )


def _notified(record: dict[str, Any]) -> Parsed:
    operation = text_at(record, "eventName").removeprefix("s3:")
    stored = record["s3"]
    bucket, key = text_at(stored, "bucket", "name"), unquote_plus(text_at(stored, "object", "key"), errors="replace")
    sequencer = text_at(stored, "object", "sequencer")
    return Parsed(
        source=Source.MINIO,
        event_time=time_at(record, "eventTime"),
        own_id=f"event/{bucket}/{key}/{operation}/{sequencer}" if sequencer else "",
        body=ObjectAccess(
            action=_NOTIFIED.get(operation.partition(":")[0], "other"),
            operation=operation,
            path=f"s3://{bucket}/{key}",
            user=text_at(record, "userIdentity", "principalId"),
            address=text_at(record, "requestParameters", "sourceIPAddress") or text_at(record, "source", "host"),
            agent=text_at(record, "source", "userAgent"),
            success=True,  # only what happened is told
            size_bytes=int_at(stored, "object", "size"),
        ),
    )


FORMAT = Minio()
