"""LAUREL's objects give the records that raw lines of the same event give."""

import json
from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pipeline.errors import DecodeError, RejectedRecord, SchemaMismatch, UnknownFormat
from pipeline.formats import registry
from pipeline.formats.assembly import assemble
from pipeline.formats.line import Line, Reading
from pipeline.formats.payloads import auditd, laurel
from pipeline.model.events import AuditRecord, FileTouched, Parsed, ProcessRun, SignalSent
from pipeline.model.source import FAMILIES

READING = Reading(zone=ZoneInfo("Asia/Shanghai"), reference_time=1_772_480_460_000)
KILL: dict[str, Any] = {
    "ID": "1772480441.311:9001",
    "NODE": "gpu-001",
    "SYSCALL": {
        "arch": "0xc000003e", "syscall": 62, "success": "yes", "exit": 0, "a0": "0x1267", "a1": "0x9", "a2": "0x0", "a3": "0x0", "items": 0,
        "ppid": 880, "pid": 912, "auid": 5099, "uid": 0, "tty": "pts3", "ses": 41, "comm": "bash", "exe": "/usr/bin/bash",
        "key": "kill_signals", "ARCH": "x86_64", "SYSCALL": "kill", "UID": "root",
    },
    "OBJ_PID": [{"opid": 4711, "oauid": 5012, "ouid": 5012, "oses": 39, "ocomm": "python3"}],
    "PROCTITLE": {"ARGV": ["-bash"]},
}  # fmt: skip
RAW_KILL = [
    (
        b"type=SYSCALL msg=audit(1772480441.311:9001): arch=c000003e syscall=62 success=yes exit=0 a0=1267 a1=9 a2=0 a3=0 items=0 ppid=880 "
        b'pid=912 auid=5099 uid=0 tty=pts3 ses=41 comm="bash" exe="/usr/bin/bash" key="kill_signals"'
    ),
    b'type=OBJ_PID msg=audit(1772480441.311:9001): opid=4711 oauid=5012 ouid=5012 oses=39 ocomm="python3"',
]


def parse(value: object, **said: Any) -> Sequence[Parsed]:
    """The records of an object."""
    payload = value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()
    line = Line(payload=payload, **said)
    assert laurel.FORMAT.claims(payload)
    return laurel.FORMAT.parse(line, READING)


def assembled(events: Sequence[Parsed]) -> tuple[object, ...]:
    """What the records say together."""
    return assemble([(event.own_id, event.body) for event in events if isinstance(event.body, AuditRecord)])


IN_FRONT: list[dict[str, Any]] = [
    {"@timestamp": 1772480441.318},
    {"@timestamp": "2026-03-02T19:40:41.000Z", "log": {"file": {"path": "/var/log/laurel/audit.log"}, "offset": 12}, "agent": {"id": "f"}},
    {"file": "/var/log/laurel/audit.log", "host": "gpu-001", "source_type": "file", "timestamp": "2026-03-02T19:40:41Z"},
]


@pytest.mark.parametrize("front", IN_FRONT)
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_behind_what_a_shipper_put_in_front(front: dict[str, Any], separators: tuple[str, str]) -> None:
    """The object stays the event, and is found by its stamp."""
    payload = json.dumps({**front, **KILL}, separators=separators).encode()
    (line,) = registry.unwrap(payload, [])
    format_, events = registry.parse(line, READING, allowed=FAMILIES["access"])
    assert (format_, events) == (laurel.FORMAT, parse(KILL))


@pytest.mark.parametrize(("said", "host"), [({"host": "gpu-002"}, "gpu-002"), ({"host": {"name": "gpu-003"}}, "gpu-003"), ({}, "")])
def test_a_shipper_says_the_host_where_laurel_does_not(said: dict[str, Any], host: str) -> None:
    """Its configuration may leave the node out."""
    value = {name: field for name, field in KILL.items() if name != "NODE"}
    assert {event.host for event in parse({**said, **value})} == {host}
    assert {event.host for event in parse({**said, **KILL})} == {"gpu-001"}


def test_a_signal() -> None:
    """Time, host, serial and keys of the event, and the kill that its records are."""
    events = parse(KILL)
    assert {event.event_time for event in events} == {1_772_480_441_311}
    assert {event.host for event in events} == {"gpu-001"}
    (sent,) = assembled(events)
    assert sent == SignalSent(
        signal=9, target_pid=4711, success=True, serial=9001, pid=912, ppid=880, uid=0, auid=5099, session=41, comm="bash",
        exe="/usr/bin/bash", target_uid=5012, target_auid=5012, target_comm="python3", keys=("kill_signals",),
    )  # fmt: skip


def test_the_same_event_comes_raw() -> None:
    """A site that ships both forms has one event: ids and what is assembled are the same."""
    raw = [event for line in RAW_KILL for event in auditd.FORMAT.parse(Line(payload=line), READING)]
    ours = parse(KILL)
    assert ours[0].own_id == raw[0].own_id == "1772480441.311:9001/SYSCALL/0"
    assert assembled(ours) == assembled(raw) == assembled([*ours, *raw])


FILES = {
    "ID": "1772480441.400:77",
    "SYSCALL": {"arch": "0xc00000b7", "syscall": 276, "success": "no", "exit": -13,
                "ARGV": ["0xffffffffffffff9c", "0x1", "0xffffff9c", "0x2"],
                "pid": 7, "auid": 4294967295, "uid": 5012, "comm": "mv"},
    "CWD": {"cwd": "/lustre/run 7"},
    "PATH": [
        {"item": 2, "name": "step100%25.pt", "nametype": "DELETE", "ouid": 5012, "mode": "0o100644"},
        {"item": 3, "name": "/lustre/b%FF.pt", "nametype": "CREATE", "ouid": 5012},
    ],
}  # fmt: skip


def test_a_refused_rename_on_aarch64() -> None:
    """Old versions list the arguments; percent signs stand for bytes; an unset login is nobody."""
    (touched,) = assembled(parse(FILES))
    assert isinstance(touched, FileTouched)
    assert (touched.action, touched.success, touched.uid, touched.auid) == ("renamed", False, 5012, None)
    assert (touched.old_path, touched.path) == ("/lustre/run 7/step100%.pt", "/lustre/b\ufffd.pt")


def test_an_execution() -> None:
    """Arguments keep their order, digits included."""
    value = {
        "ID": "1772480441.500:78",
        "SYSCALL": {"arch": "0xc000003e", "syscall": 59, "success": "yes", "pid": 9, "uid": 5099, "PPID": {"comm": "sh"}},
        "EXECVE": {"argc": 3, "ARGV": ["scancel", "48213", "0x12"]},
    }
    (run,) = assembled(parse(value))
    assert isinstance(run, ProcessRun)
    assert run.arguments == ("scancel", "48213", "0x12")


def test_names_in_upper_case_do_not_replace_the_kernels() -> None:
    """What LAUREL adds stands beside the fields; the number of the call decides, not its translation."""
    value = {"ID": "1772480441.500:79", "SYSCALL": {**KILL["SYSCALL"], "SYSCALL": "getpid", "uid": 5099, "UID": "root"}}
    record = parse(value)[0].body
    assert isinstance(record, AuditRecord)
    assert (record.fields["syscall_name"], record.fields["uid"]) == ("kill", "5099")


def test_behind_a_prefix_or_a_cookie() -> None:
    """Of syslog programs only LAUREL and the audit daemons are believed."""
    text = json.dumps(KILL).replace('{"ID": ', '{"ID":').encode()
    assert parse(b"@cee: " + text) == parse(KILL)
    (first, *_) = parse(b"Mar  2 19:40:41 gpu-009 laurel[7]: " + text)
    assert first.host == "gpu-001"
    for forged, said in ((b"Mar  2 19:40:41 gpu-009 u017[7]: " + text, {}), (text, {"program": "u017"})):
        with pytest.raises(UnknownFormat):
            parse(forged, **said)
    assert parse(text, program="audit.json", file="/var/log/laurel/audit.log")


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        (b'{"ID":"1772480441.311:9001"', DecodeError),
        (b'{"ID":"7"}', UnknownFormat),
        (b'{"ID":"1772480441.311:9001","PATH":[7]}', SchemaMismatch),
        (b'{"ID":"1772480441.311:9001","PATH":[' + b",".join([b"{}"] * 5000) + b"]}", SchemaMismatch),
        (b'{"ID":"1772480441.311:9001","PATH":{"x":' + b"[" * 900 + b"]" * 900 + b"}}", RejectedRecord),
    ],
    ids=["cut", "no stamp", "no record", "too many records", "deep"],
)
def test_broken(payload: bytes, error: type[RejectedRecord]) -> None:
    """What is wrong is said, and bounded."""
    with pytest.raises(error):
        laurel.FORMAT.parse(Line(payload=payload), READING)
