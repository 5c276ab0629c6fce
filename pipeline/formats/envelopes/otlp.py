"""A batch of OpenTelemetry's log records, as JSON, in; a line a record out.

    {"resourceLogs":[{"resource":{"attributes":[{"key":"host.name","value":{"stringValue":"gpu-001"}}]},
      "scopeLogs":[{"logRecords":[{"timeUnixNano":"1772452800318000000","body":{"stringValue":"iteration 40"},"attributes":[..]}]}]}]}

| said | by |
| --- | --- |
| line | body: a text, bytes, or an object, which is an event or what the journal says of a line (`MESSAGE`) |
| host | `host.name`, `k8s.node.name`; the `hostname` of a syslog receiver |
| program | `appname` of a syslog receiver, `service.name` |
| file | `log.file.path`, `log.file.name`, else the pod's of `k8s.*` |
| read at | `observedTimeUnixNano`, else `timeUnixNano` |

The attributes of a record stand before those of its resource, but for another file than the pod's.  Where a file is known a line does not
choose its host or file by keys of its own.  The text that a syslog receiver took the prefix off gets it again; that it is the kernel's is
not believed where the receiver tells another facility.
otlp_protobuf.py reads the same batch in its binary form, and shares what is below.

Holds: at most ITEMS_MAX records; one without a body that can be read is refused alone; numbers are texts, as the protocol writes them, or
numbers; nothing of a batch is silent: what should be a list and is none makes the whole value undecodable.
Layout: https://opentelemetry.io/docs/specs/otlp/ and opentelemetry-proto's logs.proto, version 1.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import orjson

from pipeline.errors import DecodeError, RecordTooLarge
from pipeline.formats.envelopes import container
from pipeline.formats.envelopes.json_lines import Unwrap
from pipeline.formats.envelopes.raw import NUMBER_MAX, said_by, sane_time, without_line_end
from pipeline.formats.envelopes.said import FROM_A_USER, KERNEL_FACILITY, composed, first, iso, own_file, pod_file, text
from pipeline.formats.fields import json_object
from pipeline.formats.line import ANYBODY, ITEMS_MAX, Headers, Line

HEAD_BYTES = 256  # in which the only key stands
DEPTH_MAX = 32  # of objects in a body
_KEY = b'"resourceLogs"'
_NO_BODY = "a log record without a body"


class Origin(msgspec.Struct, frozen=True, gc=False):
    """What a resource, or the headers of the record, say of all its lines."""

    host: str
    node: str
    program: str
    file: str
    pod_file: str
    offset: int | None
    collected: int | None
    resource: Mapping[str, Any]


class Otlp:
    """The lines of a batch; `unwrap_object` reads a body that is an object."""

    name = "otlp_json"
    begins: Sequence[bytes] = (b"{",)
    keys: Sequence[str] = ("resourceLogs",)

    def __init__(self, unwrap_object: Unwrap) -> None:
        self._unwrap_object = unwrap_object

    def unwrap(self, value: bytes, headers: Headers) -> list[Line] | None:
        """All records of all resources."""
        if value[:1] != b"{" or _KEY not in value[:HEAD_BYTES]:
            return None
        batch = json_object(value)
        if "resourceLogs" not in batch:
            return None
        lines: list[Line] = []
        for resource_logs in _list(batch.get("resourceLogs")):
            origin = origin_of(_attributes(_object(resource_logs.get("resource")).get("attributes")), headers)
            scopes = resource_logs.get("scopeLogs", resource_logs.get("instrumentationLibraryLogs"))  # the second until version 0.15
            for scope_logs in _list(scopes):
                records = _list(scope_logs.get("logRecords"))
                check_room(len(lines) + len(records))
                lines += [self._line(record, origin) for record in records]
        return lines

    def _line(self, record: dict[str, Any], origin: Origin) -> Line:
        time, observed = _nanoseconds(record.get("timeUnixNano")), _nanoseconds(record.get("observedTimeUnixNano"))
        try:
            body = _value(record.get("body"), DEPTH_MAX)
            said = _attributes(record.get("attributes"))
        except DecodeError as error:
            return Line(payload=orjson.dumps(record, default=str)[:HEAD_BYTES], broken=str(error))
        return line_of(body, said, time, observed, origin, self._unwrap_object)


def check_room(count: int) -> None:
    """Raises RecordTooLarge."""
    if count > ITEMS_MAX:
        raise RecordTooLarge(f"{count} log records or more in a record, at most {ITEMS_MAX}")


def origin_of(resource: Mapping[str, Any], headers: Headers) -> Origin:
    """Where the lines of a resource come from."""
    host, program, file, offset, collected = said_by(headers)
    service = text(resource.get("service.name"))
    names = ("k8s.namespace.name", "k8s.pod.name", "k8s.pod.uid", "k8s.container.name")
    return Origin(
        host=text(resource.get("host.name")) or host,
        node=text(resource.get("k8s.node.name")),
        program=("" if service.startswith("unknown_service") else service) or program,
        file=first(resource.get("log.file.path"), resource.get("log.file.name")) or file,
        pod_file=pod_file(*(text(resource.get(name)) for name in names)),
        offset=offset,
        collected=collected,
        resource=resource,
    )


def line_of(body: object, said: Mapping[str, Any], time: int | None, observed: int | None, origin: Origin, unwrap_object: Unwrap) -> Line:
    """The line of a record.  `body` is a text, bytes, an object, a list, a number, or None."""
    tag = text(said.get("appname"))
    file = first(said.get("log.file.path"), said.get("log.file.name")) or origin.file
    if origin.pod_file:  # attributes may be keys of a line that the collector parsed
        file = own_file(file, origin.pod_file)
    host = (text(said.get("hostname")) if tag and not file else "") or origin.host or origin.node
    program = tag or origin.program
    collected = observed or time or origin.collected
    offset = said.get("log.file.record_offset")
    stream = text(said.get("log.iostream"))
    part = None
    # The syslog receiver, or its parser; a program may send none.
    writer = ANYBODY if tag or "facility" in said or "priority" in said else ""
    if isinstance(body, dict):
        line = _of_object(body, unwrap_object)
        known = msgspec.structs.replace(line, collected_time=line.collected_time or collected)
        if file:  # the collector knows whose line it is: a job may print any object
            known = msgspec.structs.replace(known, host=host or line.host, file=file)
        return msgspec.structs.replace(
            known,
            host=known.host or host,
            program=known.program or program,
            tagged=known.tagged or bool(tag),
            writer=known.writer or writer,
            file=known.file or file,
            stream=line.stream or stream,
            beside=origin.resource,  # never the body, whose fields may be those of a line
        )
    if isinstance(body, str):
        written = time or observed
        if tag and not file and written is not None:
            body = composed(body, iso(written), host, program, said.get("proc_id"))
        if program == "kernel" and _is_a_programs(said):
            body = f"{FROM_A_USER}{body}"
        payload = body.encode("utf-8", "surrogatepass")
    elif isinstance(body, bytes):
        payload = body
    elif body is None:
        payload = text(said.get("log.record.original")).encode()
    else:
        payload = orjson.dumps(body, default=str)
    payload = without_line_end(payload)
    if within := container.inside(payload, file):
        payload, stream, part = within.payload, within.stream, within.part
    return Line(
        payload=payload,
        host=host,
        program=program,
        tagged=bool(tag),
        writer=writer,
        file=file,
        file_offset=offset if isinstance(offset, int) and 0 <= offset <= NUMBER_MAX else origin.offset,
        collected_time=collected,
        truncated=part is not None,
        stream=stream,
        part=part,
        beside=origin.resource,
        broken="" if body is not None or payload else _NO_BODY,
    )


def _is_a_programs(said: Mapping[str, Any]) -> bool:
    """Does a syslog receiver tell another facility than the kernel's?  Anybody's `logger` may call itself so."""
    facility, priority = said.get("facility"), said.get("priority")
    if facility is None and isinstance(priority, int):
        facility = priority >> 3
    return facility is not None and str(facility).lower() not in KERNEL_FACILITY


def _of_object(body: dict[str, Any], unwrap_object: Unwrap) -> Line:
    try:
        payload = orjson.dumps(body, default=_as_text)
    except orjson.JSONEncodeError as error:
        return Line(payload=b"{}", broken=f"the body of a log record cannot be written as JSON: {error}")
    try:
        (line,) = unwrap_object(payload, ())
    except DecodeError as error:
        return Line(payload=payload, broken=str(error))
    return line


def _as_text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


# --- values of the protocol, as JSON ------------------------------------------------------------------------------------------------


def _list(value: object) -> list[dict[str, Any]]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise DecodeError("a batch of log records holds something else than objects in a list")
    return value


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _attributes(value: object) -> dict[str, Any]:
    if not isinstance(value, list):
        return {}
    found = {}
    for each in value:
        if isinstance(each, dict) and isinstance(key := each.get("key"), str):
            found[key] = _value(each.get("value"), DEPTH_MAX)
    return found


def _value(value: object, room: int) -> Any:
    """What an AnyValue holds.  Raises DecodeError."""
    if not isinstance(value, dict):
        return None
    if room == 0:
        raise DecodeError("a value of a log record is nested too deeply")
    for kind in ("stringValue", "boolValue", "doubleValue"):
        if kind in value:
            plain = value[kind]
            return plain if isinstance(plain, str | bool | int | float) else None
    if "intValue" in value:
        return _whole(value["intValue"])
    if "kvlistValue" in value:
        entries = _object(value["kvlistValue"]).get("values")
        entries = entries if isinstance(entries, list) else []
        pairs = [each for each in entries if isinstance(each, dict) and isinstance(each.get("key"), str)]
        return {each["key"]: _value(each.get("value"), room - 1) for each in pairs}
    if "arrayValue" in value:
        entries = _object(value["arrayValue"]).get("values")
        return [_value(each, room - 1) for each in entries] if isinstance(entries, list) else []
    if "bytesValue" in value:
        return _bytes(value["bytesValue"])
    return None


def _bytes(value: object) -> bytes:
    try:
        return base64.b64decode(value if isinstance(value, str) else "", validate=True)
    except (binascii.Error, ValueError) as error:
        raise DecodeError("bytes of a log record are not base64") from error


def _whole(value: object) -> int | None:
    if isinstance(value, str) and value.removeprefix("-").isdigit() and value.isascii() and len(value) <= 20:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _nanoseconds(value: object) -> int | None:
    number = _whole(value)
    return sane_time(number // 1_000_000) if number else None
