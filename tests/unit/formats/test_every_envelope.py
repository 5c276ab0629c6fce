"""Every payload in every envelope: what comes out is what the bare line says."""

import base64
import gzip
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest

from pipeline.formats import registry
from pipeline.formats.line import Line, Reading
from pipeline.model.source import FAMILIES, Source
from tests.unit.formats.test_envelopes_msgpack import pack
from tests.unit.formats.test_envelopes_otlp import batch, binary, record
from tests.unit.formats.test_registry import LINES

READING = Reading(zone=ZoneInfo("UTC"), reference_time=1_772_480_460_000)
AT, FILE, POD = "2026-03-02T19:41:00Z", "/var/log/x.log", {"pod_name": "p", "namespace_name": "n", "pod_id": "u", "container_name": "c"}
OTHER = b'{"message":"x","file":"/var/log/x.log"}'


def wrapped(**said: Any) -> bytes:
    """A shipper's object."""
    return orjson.dumps(said)


ENVELOPES: dict[str, Callable[[str], bytes]] = {
    "raw": str.encode,
    "raw, CR LF": lambda text: f"{text}\r\n".encode(),
    "rsyslog": lambda text: wrapped(**{"@timestamp": AT, "host": "h", "program": "", "file": FILE, "message": text}),
    "syslog-ng": lambda text: wrapped(ISODATE=AT, HOST="h", FILE_NAME=FILE, MESSAGE=text),
    "Filebeat": lambda text: wrapped(**{"@timestamp": AT, "message": text, "log": {"file": {"path": FILE}, "offset": 7}, "ecs": {}}),
    "Filebeat's modules": lambda text: wrapped(event={"original": text}, message="x", log={"file": {"path": FILE}}),
    "Fluent Bit": lambda text: wrapped(**{"@timestamp": 1_772_480_460.0, "log": f"{text}\n", "stream": "stdout", "kubernetes": POD}),
    "Fluentd": lambda text: wrapped(time=AT, path=FILE, message=text),
    "Vector": lambda text: wrapped(file=FILE, host="h", message=text, source_type="file", timestamp=AT),
    "GELF": lambda text: wrapped(version="1.1", host="h", short_message=text, timestamp=1_772_480_460.5, _path=FILE),
    "GELF of two messages": lambda text: wrapped(_path=FILE, full_message=text, host="h", short_message=text[:9], version="1.1"),
    "Docker": lambda text: wrapped(log=f"{text}\n", stream="stdout", time=AT),
    "CRI": lambda text: f"{AT} stdout F {text}".encode(),
    "OTLP": lambda text: orjson.dumps(batch(record(text, log__file__path=FILE))),
    "OTLP protobuf": lambda text: binary(batch(record(text, log__file__path=FILE))),
    "CloudWatch": lambda text: wrapped(messageType="DATA_MESSAGE", logGroup="g", logStream="s", logEvents=[{"message": text}]),
    "AKS": lambda text: wrapped(records=[{"category": "kube-audit", "time": AT, "properties": {"log": text}}]),
    "an array": lambda text: b"[%s,%s]" % (wrapped(message=text, file=FILE), OTHER),
    "one a line": lambda text: b"%s\n%s\n" % (wrapped(message=text, file=FILE), OTHER),
    "gzip": lambda text: gzip.compress(text.encode()),
    "GELF, compressed": lambda text: gzip.compress(wrapped(version="1.1", short_message=text, _path=FILE)),
    "gzip of an array": lambda text: gzip.compress(b"[%s]" % wrapped(message=text, file=FILE)),
    "MessagePack": lambda text: pack({"log": text, "path": FILE}),
}
OBJECTS: dict[str, Callable[[bytes], bytes]] = {
    "OTLP": lambda value: orjson.dumps(batch(record(orjson.loads(value), log__file__path=FILE))),
    "an array": lambda value: b"[%s,{}]" % value,
    "one a line": lambda value: b"%s\n%s" % (value, OTHER),
    "gzip": gzip.compress,
    "CloudWatch, for a function": lambda value: wrapped(
        awslogs={
            "data": base64.b64encode(
                gzip.compress(wrapped(messageType="DATA_MESSAGE", logGroup="g", logStream="s", logEvents=[{"message": value.decode()}]))
            ).decode()
        }
    ),
}
JSON = [(name, text) for name, text in LINES if text.startswith('{"')]


def read(line: Line, source: Source) -> list[object]:
    """The format, and what it says; not when a shipper saw the line, which dates lines that have no time."""
    allowed = next(family for family in FAMILIES.values() if source in family)
    format_, events = registry.parse(line, READING, allowed=allowed)
    return [format_.name, *((event.source, event.body, event.event_time, event.own_id) for event in events)]


@pytest.mark.parametrize("name", ENVELOPES)
def test_every_line(name: str) -> None:
    """Text in a field, or as it is."""
    for format_, text in LINES:
        source = registry.by_name(format_).source
        line = registry.unwrap(ENVELOPES[name](text), ())[0]
        assert read(line, source) == read(Line(payload=text.encode(), file=FILE), source), text


@pytest.mark.parametrize("name", OBJECTS)
def test_every_object(name: str) -> None:
    """The event as an item, or as a body, that is no text."""
    for format_, text in JSON:
        source = registry.by_name(format_).source
        line = registry.unwrap(OBJECTS[name](text.encode()), ())[0]
        assert read(line, source) == read(Line(payload=text.encode(), file=FILE), source), text
