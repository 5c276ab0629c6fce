"""Auditbeat's coalesced events give the records that raw lines of the same event give, as far as it kept them."""

import json
from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pipeline.errors import DecodeError, RejectedRecord, SchemaMismatch, UnknownFormat
from pipeline.formats import registry
from pipeline.formats.assembly import assemble
from pipeline.formats.line import Line, Reading
from pipeline.formats.payloads import auditbeat
from pipeline.model.events import AuditRecord, FileTouched, Parsed, ProcessRun, SignalSent

READING = Reading(zone=ZoneInfo("Asia/Shanghai"), reference_time=1_772_480_460_000)
KILL: dict[str, Any] = {
    "@timestamp": "2026-03-02T19:40:41.311Z",
    "@metadata": {"beat": "auditbeat"},
    "host": {"name": "gpu-001"},
    "auditd": {
        "message_type": "syscall", "sequence": 9001, "result": "success", "session": "41",
        "data": {"arch": "x86_64", "syscall": "kill", "a0": "1267", "a1": "9", "exit": "0", "tty": "pts3", "opid": "4711", "oauid": "5012",
                 "ouid": "5012", "ocomm": "python3"},
    },
    "process": {"pid": 912, "parent": {"pid": 880}, "name": "bash", "executable": "/usr/bin/bash", "title": "-bash"},
    "user": {"id": "0", "audit": {"id": "5099", "name": "u017"}},
    "tags": ["kill_signals"],
    "event": {"module": "auditd", "action": "killed-pid", "original": ["type=SYSCALL msg=audit(1772480441.311:9001): x"]},
}  # fmt: skip


def parse(value: object) -> Sequence[Parsed]:
    """The records of an object."""
    payload = value if isinstance(value, bytes) else json.dumps(value).encode()
    assert auditbeat.FORMAT.claims(payload)
    return auditbeat.FORMAT.parse(Line(payload=payload), READING)


def assembled(events: Sequence[Parsed]) -> tuple[object, ...]:
    """What the records say together."""
    return assemble([(event.own_id, event.body) for event in events if isinstance(event.body, AuditRecord)])


def test_a_signal() -> None:
    """A kill with its receiver, under the id and with the fields of the raw records."""
    events = parse(KILL)
    assert (events[0].own_id, events[0].event_time, events[0].host) == ("1772480441.311:9001/SYSCALL/0", 1_772_480_441_311, "gpu-001")
    assert assembled(events) == (
        SignalSent(
            signal=9, target_pid=4711, success=True, serial=9001, pid=912, ppid=880, uid=0, auid=5099, session=41, comm="bash",
            exe="/usr/bin/bash", target_uid=5012, target_auid=5012, target_comm="python3", keys=("kill_signals",),
        ),
    )  # fmt: skip


def test_no_wrapper_opens_it() -> None:
    """It is an event, though shippers' keys stand in it."""
    payload = json.dumps(KILL).encode()
    assert [line.payload for line in registry.unwrap(payload, [])] == [payload]


def test_an_unset_login_is_nobody() -> None:
    """Auditbeat leaves unset ids out; a daemon of root must not look like a person."""
    (sent,) = assembled(parse({**KILL, "user": {"id": "0"}}))
    assert isinstance(sent, SignalSent)
    assert (sent.uid, sent.auid) == (0, None)


def test_an_execution() -> None:
    """Arguments come from ECS, and the old place of the parent's pid is known."""
    module = {"sequence": 8, "result": "success", "message_type": "syscall", "data": {"syscall": "execve", "arch": "x86_64", "a0": "1c8"}}
    process = {"pid": 9, "ppid": 8, "args": ["/usr/bin/scancel", "48213"], "executable": "/usr/bin/scancel", "working_directory": "/home"}
    (run,) = assembled(parse({**KILL, "auditd": module, "process": process}))
    assert isinstance(run, ProcessRun)
    assert (run.arguments, run.ppid) == (("/usr/bin/scancel", "48213"), 8)


def test_a_deletion() -> None:
    """Relative names start from the working directory; parents are not what was touched."""
    module = {
        "sequence": 9, "result": "fail", "message_type": "syscall",
        "data": {"syscall": "unlinkat", "arch": "aarch64", "a0": "ffffffffffffff9c", "exit": "EACCES"},
        "paths": [
            {"item": "0", "name": "/lustre/run7", "nametype": "PARENT", "ouid": "5012"},
            {"item": "1", "name": "step100.pt", "nametype": "DELETE", "ouid": "5012"},
        ],
    }  # fmt: skip
    (touched,) = assembled(parse({**KILL, "auditd": module, "process": {"working_directory": "/lustre/run7", "pid": 1}}))
    assert isinstance(touched, FileTouched)
    assert (touched.action, touched.path, touched.success, touched.file_uid) == ("deleted", "/lustre/run7/step100.pt", False, 5012)


def test_a_login_record() -> None:
    """Records that are no system call keep their type; what a program says of itself does not replace who it is."""
    module = {"sequence": 10, "message_type": "user_login", "result": "fail", "data": {"acct": "u017", "pid": "1", "op": "login"}}
    (event,) = parse({**KILL, "auditd": module, "process": {"pid": 77}})
    assert isinstance(event.body, AuditRecord)
    assert (event.body.record_type, event.body.fields["pid"], event.body.fields["acct"]) == ("USER_LOGIN", "77", "u017")


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        (b'{"auditd":{"sequence":1', DecodeError),
        (b'{"x":"auditd","auditd":1,"sequence":2}', UnknownFormat),
        (b'{"auditd":{"sequence":-1},"@timestamp":"2026-03-02T19:40:41Z"}', SchemaMismatch),
        (b'{"auditd":{"sequence":1}}', SchemaMismatch),
        (b'{"auditd":{"sequence":1},"@timestamp":"yesterday"}', DecodeError),
        (b'{"auditd":{"sequence":1,"paths":[7]},"@timestamp":"2026-03-02T19:40:41Z"}', SchemaMismatch),
    ],
)
def test_broken(payload: bytes, error: type[RejectedRecord]) -> None:
    """What is wrong is said."""
    with pytest.raises(error):
        parse(payload)
