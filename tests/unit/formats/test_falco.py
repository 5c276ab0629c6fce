"""Alerts of Falco: fields differ by rule, and absent ones have several spellings."""

import json
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pipeline.errors import DecodeError, RejectedRecord, SchemaMismatch, UnknownFormat
from pipeline.formats.line import Line, Reading
from pipeline.formats.payloads import falco
from pipeline.model.events import Parsed, RuntimeAlert

READING = Reading(zone=ZoneInfo("Asia/Shanghai"), reference_time=1_772_480_460_000)
ALERT: dict[str, Any] = {
    "uuid": "f-1", "hostname": "gpu-001", "output": "a file was opened (user=u017)", "priority": "Warning", "rule": "Write below run",
    "source": "syscall", "tags": ["filesystem"], "time": "2026-03-02T19:40:41.341081180Z",
    "output_fields": {
        "evt.time.iso8601": 1772480441341081180, "evt.type": "openat", "fd.name": "/lustre/run7/step100.pt", "proc.cmdline": "dd of=x",
        "proc.name": "dd", "proc.pname": "bash", "proc.pid": 912, "user.name": "u017", "user.uid": 5099, "user.loginuid": -1,
        "container.id": "host", "k8s.ns.name": None, "k8s.pod.name": "<NA>",
    },
}  # fmt: skip


def parse(value: object, prefix: bytes = b"") -> Parsed:
    """The event of an object."""
    payload = prefix + (value if isinstance(value, bytes) else json.dumps(value).encode())
    assert falco.FORMAT.claims(payload)
    (event,) = falco.FORMAT.parse(Line(payload=payload), READING)
    return event


def test_an_alert() -> None:
    """Nanoseconds are cut, the three ways to say nothing say nothing, and unknown fields pass through."""
    event = parse(ALERT)
    assert (event.event_time, event.own_id, event.host) == (1_772_480_441_341, "f-1", "gpu-001")
    assert event.body == RuntimeAlert(
        rule="Write below run", priority="warning", text="a file was opened (user=u017)", call="openat", path="/lustre/run7/step100.pt",
        user="u017", uid=5099, pid=912, comm="dd", command="dd of=x", container="host",
    )  # fmt: skip
    assert event.unmapped == {"proc.pname": "bash", "source": "syscall", "tags": '["filesystem"]'}


def test_without_fields() -> None:
    """Old versions have the text only; the text is not read for fields, since users choose the names in it."""
    event = parse({"output": "kill by user=root uid=0", "priority": "Error", "rule": "r", "time": "2026-03-02T19:40:41Z"})
    assert event.body == RuntimeAlert(rule="r", priority="error", text="kill by user=root uid=0")
    assert event.own_id == ""


def test_behind_a_prefix() -> None:
    """Falco writes to syslog too; another program's object is not Falco's."""
    value = {name: field for name, field in ALERT.items() if name != "hostname"}
    assert parse(value, b"Mar  2 19:40:42 gpu-002 falco[812]: ").host == "gpu-002"
    with pytest.raises(UnknownFormat):
        parse(value, b"Mar  2 19:40:42 gpu-002 u017[812]: ")


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        (b'{"rule":1,"priority":2,"output"', DecodeError),
        (b'{"a":{"rule":1,"priority":2,"output":3}}', UnknownFormat),
        (json.dumps({**ALERT, "output_fields": [1]}).encode(), SchemaMismatch),
        (json.dumps({**ALERT, "rule": ["x"]}).encode(), SchemaMismatch),
        (json.dumps({**ALERT, "output_fields": {"user.uid": "root"}}).encode(), SchemaMismatch),
        (json.dumps({**ALERT, "time": "2026-13-02T19:40:41Z"}).encode(), DecodeError),
    ],
)
def test_broken(payload: bytes, error: type[RejectedRecord]) -> None:
    """What is wrong is said."""
    with pytest.raises(error):
        parse(payload)
