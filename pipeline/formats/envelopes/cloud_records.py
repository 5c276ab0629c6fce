"""A list of records that a cloud's log service wrote in; each record, or the event that it wraps, out.

    {"Records":[{"eventSource":"s3.amazonaws.com","eventName":"DeleteObject",..},..]}              CloudTrail, S3's notifications
    {"records":[{"time":"..","category":"kube-audit","properties":{"log":"{\\"kind\\":\\"Event\\",..}","stream":"stdout"}},..]}    Azure

Azure puts what a control plane printed, the audit events of AKS among it, as a text into `properties.log`; a record of that kind may also
come alone.  MinIO's notifications have `Records` too and say in one object what happened: they stay whole.

Holds: at most ITEMS_MAX records; one is the bytes that came, unless they had to be mended; one that is not an object is refused alone.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from pipeline.formats.envelopes.json_lines import Unwrap, decoded, each
from pipeline.formats.envelopes.raw import said_by, without_line_end
from pipeline.formats.envelopes.said import moment, text
from pipeline.formats.line import Headers, Line

HEAD_BYTES = 1024  # in which the names stand


class _Batch(msgspec.Struct, gc=False):
    aws: list[msgspec.Raw] | None = msgspec.field(default=None, name="Records")
    azure: list[msgspec.Raw] | None = msgspec.field(default=None, name="records")
    minio: Any = msgspec.field(default=None, name="EventName")


class _Properties(msgspec.Struct, gc=False):
    log: str
    stream: Any = None
    pod: Any = None


class _AzureRecord(msgspec.Struct, gc=False):
    category: str
    properties: _Properties
    time: Any = None


_decode = msgspec.json.Decoder(_Batch).decode
_decode_azure = msgspec.json.Decoder(_AzureRecord).decode


class CloudRecords:
    """The records of a batch; `unwrap_object` reads one that wraps nothing."""

    name = "cloud_records"
    begins: Sequence[bytes] = (b"{",)
    keys: Sequence[str] = ("Records", "records", "category")

    def __init__(self, unwrap_object: Unwrap) -> None:
        self._unwrap_object = unwrap_object

    def unwrap(self, value: bytes, headers: Headers) -> list[Line] | None:
        """A line a record."""
        if value[:1] != b"{":
            return None
        head = value[:HEAD_BYTES]
        if b'"records"' in head or b'"Records"' in head:
            batch = decoded(_decode, value)
            if batch is None:
                return None
            records = batch.aws if batch.azure is None else batch.azure
            if records is None or batch.minio is not None:
                return None
            return each([bytes(record) for record in records], headers, self._unwrap_record)
        if b'"properties"' in head and b'"category"' in head:
            return _azure(value, headers)
        return None

    def _unwrap_record(self, value: bytes, headers: Headers) -> list[Line]:
        """The event inside, or the record itself.  Raises RejectedRecord."""
        return _azure(value, headers) or self._unwrap_object(value, headers)


def _azure(value: bytes, headers: Headers) -> list[Line] | None:
    if b'"properties"' not in value:
        return None
    record = decoded(_decode_azure, value)
    if record is None:
        return None
    host, program, file, offset, collected = said_by(headers)
    stream = text(record.properties.stream)
    payload = without_line_end(record.properties.log.encode())
    return [
        Line(
            payload=payload,
            host=host,
            program=program,
            file=file or text(record.category),
            file_offset=offset,
            collected_time=moment(record.time) or collected,
            stream=stream if stream in {"stdout", "stderr"} else "",
        )
    ]
