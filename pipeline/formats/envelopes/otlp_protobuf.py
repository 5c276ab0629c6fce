"""A batch of OpenTelemetry's log records in binary form in; a line a record out.

The collector's Kafka exporter writes these unless told otherwise (`otlp_proto`), without a header that says so.  So a value is taken for
one when it is nothing but a sequence of the only field that such a batch has, and what is in the field can be read:

    0a <length> <ResourceLogs>  0a <length> <ResourceLogs>  ...  end

Text does not look so: its first byte would be a line feed, and its second the number of bytes that follow.  A `content-type` header that
names protobuf makes what cannot be read a DecodeError; without one it may be anything, and is left to the other envelopes.

The library (opentelemetry-proto) is loaded when the first such value comes: it takes a tenth of a second and 20 MB, which sites without
OpenTelemetry do not pay.  Figures of decoding: README.

Holds: at most ITEMS_MAX records; the nesting of a body is bounded by the library and here; one record that cannot be read is refused alone.
"""

import importlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from pipeline.errors import DecodeError
from pipeline.formats.envelopes.json_lines import Unwrap
from pipeline.formats.envelopes.otlp import DEPTH_MAX, check_room, line_of, origin_of
from pipeline.formats.envelopes.raw import sane_time
from pipeline.formats.line import Headers, Line

_FIELD = 0x0A  # number 1, with a length
_LENGTH_BYTES_MAX = 4  # of a length: 256 MiB
_WANTED = frozenset({
    "appname", "hostname", "proc_id", "log.file.path", "log.file.name", "log.file.record_offset", "log.iostream", "log.record.original",
})  # fmt: skip


class OtlpProtobuf:
    """The lines of a batch; `unwrap_object` reads a body that is an object."""

    name = "otlp_protobuf"
    begins: Sequence[bytes] = (b"\n",)

    def __init__(self, unwrap_object: Unwrap) -> None:
        self._unwrap_object = unwrap_object

    def unwrap(self, value: bytes, headers: Headers) -> list[Line] | None:
        """All records of all resources."""
        if not looks_alike(value):
            return None
        decode, broken = _library()
        try:
            batch = decode(value)
        except broken as error:
            if _said_to_be(headers):
                raise DecodeError(f"not a batch of log records: {error}") from error
            return None
        lines: list[Line] = []
        for resource_logs in batch.resource_logs:
            origin = origin_of({each.key: _value(each.value, DEPTH_MAX) for each in resource_logs.resource.attributes}, headers)
            for scope_logs in resource_logs.scope_logs:
                check_room(len(lines) + len(scope_logs.log_records))
                lines += [self._line(record, origin) for record in scope_logs.log_records]
        return lines

    def _line(self, record: Any, origin: Any) -> Line:
        try:
            body = _value(record.body, DEPTH_MAX)
        except DecodeError as error:
            return Line(payload=b"", broken=str(error))
        said = {key: _value(each.value, 1) for each in record.attributes if (key := each.key) in _WANTED}
        return line_of(body, said, _moment(record.time_unix_nano), _moment(record.observed_time_unix_nano), origin, self._unwrap_object)


def looks_alike(value: bytes) -> bool:
    """Is the value a sequence of fields of number 1, and nothing else?"""
    at, end = 0, len(value)
    while at < end and value[at] == _FIELD:
        length, shift, byte = 0, 0, 0x80
        while byte >= 0x80:
            at += 1
            if at == end or shift == 7 * _LENGTH_BYTES_MAX:
                return False
            byte = value[at]
            length |= (byte & 0x7F) << shift
            shift += 7
        at += 1 + length
    return at == end and end > 0


@lru_cache(maxsize=1)
def _library() -> tuple[Any, type[Exception]]:
    """The decoder and its error."""
    logs = importlib.import_module("opentelemetry.proto.logs.v1.logs_pb2")
    message = importlib.import_module("google.protobuf.message")
    return logs.LogsData.FromString, message.DecodeError


def _said_to_be(headers: Headers) -> bool:
    return b"protobuf" in dict(headers).get("content-type", b"")


def _value(value: Any, room: int) -> Any:
    """What an AnyValue holds.  Raises DecodeError."""
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return value.string_value
    if kind is None:
        return None
    if kind == "kvlist_value":
        _check(room)
        return {each.key: _value(each.value, room - 1) for each in value.kvlist_value.values}
    if kind == "array_value":
        _check(room)
        return [_value(each, room - 1) for each in value.array_value.values]
    return getattr(value, kind)


def _check(room: int) -> None:
    if room == 0:
        raise DecodeError("a value of a log record is nested too deeply")


def _moment(nanoseconds: int) -> int | None:
    return sane_time(nanoseconds // 1_000_000) if nanoseconds else None
