"""Events of Tetragon: starts and ends of processes, signals, and calls that a policy watches."""

import json
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pipeline.errors import DecodeError, RejectedRecord, SchemaMismatch, UnknownFormat
from pipeline.formats import registry
from pipeline.formats.line import Line, Reading
from pipeline.formats.payloads import tetragon
from pipeline.model.events import Body, KernelCall, Parsed, ProcessEnded, ProcessRun, SignalSent
from pipeline.model.source import FAMILIES

READING = Reading(zone=ZoneInfo("Asia/Shanghai"), reference_time=1_772_480_460_000)
PROCESS: dict[str, Any] = {
    "exec_id": "e-1", "pid": 912, "uid": 5099, "auid": 4294967295, "cwd": "/", "binary": "/usr/bin/kill", "arguments": "-9 4711",
    "start_time": "2026-03-02T19:40:40.5Z", "pod": {"namespace": "llm", "name": "pretrain-0"},
}  # fmt: skip


def parse(kind: str, node: str = "gpu-001", time: str = "2026-03-02T19:40:41.318546829Z", **event: Any) -> Parsed:
    """The event of a kind."""
    value = {kind: {"process": PROCESS, "parent": {"pid": 880}, **event}, "node_name": node}
    return parsed(json.dumps({**value, "time": time} if time else value).encode())


def parsed(payload: bytes) -> Parsed:
    """The event of a line."""
    assert tetragon.FORMAT.claims(payload)
    (event,) = tetragon.FORMAT.parse(Line(payload=payload), READING)
    return event


@pytest.mark.parametrize("kind", ["process_exec", "process_exit"])
def test_behind_what_a_shipper_put_in_front(kind: str) -> None:
    """A kind is found in the first KiB; keys of others pass through."""
    value = {kind: {"process": PROCESS}, "node_name": "gpu-001", "time": "2026-03-02T19:40:41Z"}
    front = {"@timestamp": "2026-03-02T19:40:41.000Z", "log": {"file": {"path": "/x"}, "offset": 12}, "tags": ["x" * 600]}
    payload = json.dumps({**front, **value}).encode()
    (line,) = registry.unwrap(payload, [])
    format_, (event,) = registry.parse(line, READING, allowed=FAMILIES["access"])
    assert (format_, event.body) == (tetragon.FORMAT, parsed(json.dumps(value).encode()).body)
    assert set(event.unmapped) == set(front)


def test_a_run() -> None:
    """Host, id and arguments; an unset login is nobody."""
    event = parse("process_exec")
    assert (event.host, event.event_time, event.own_id) == ("gpu-001", 1_772_480_441_318, "e-1/process_exec/1772480441318")
    assert event.body == ProcessRun(
        serial=0, arguments=("/usr/bin/kill", "-9", "4711"), success=True, pid=912, ppid=880, uid=5099, exe="/usr/bin/kill"
    )


def test_quoted_arguments_stay_whole() -> None:
    """One text for all arguments does not say where a quoted one ends."""
    body = parse("process_exec", process={**PROCESS, "arguments": '-c "kill -9 1"'}).body
    assert isinstance(body, ProcessRun)
    assert body.arguments == ("/usr/bin/kill", '-c "kill -9 1"')


def test_without_time() -> None:
    """The process's start stands in."""
    assert parse("process_exec", time="").event_time == 1_772_480_440_500


ENDS: list[tuple[dict[str, Any], str, int]] = [({}, "", 0), ({"signal": "SIGKILL"}, "SIGKILL", 0), ({"status": 137}, "", 137)]


@pytest.mark.parametrize(("event", "signal", "status"), ENDS)
def test_an_end(event: dict[str, Any], signal: str, status: int) -> None:
    """Zero values are left out: no signal and no status is a normal end."""
    body = parse("process_exit", **event).body
    assert isinstance(body, ProcessEnded)
    assert (body.pid, body.signal, body.status, body.started, body.pod) == (912, signal, status, 1_772_480_440_500, "pretrain-0")


CALLS: list[tuple[str, dict[str, Any], Body]] = [
    ("kill", {"function_name": "__x64_sys_kill", "args": [{"int_arg": 4711}, {"int_arg": 9}]},
     SignalSent(signal=9, target_pid=4711, success=True, serial=0, pid=912, ppid=880, uid=5099, comm="kill", exe="/usr/bin/kill")),
    ("refused", {"function_name": "sys_tgkill", "args": [{"int_arg": 4711}, {"int_arg": 4712}, {"int_arg": 15}], "return": {"int_arg": -1}},
     SignalSent(signal=15, target_pid=4711, success=False, serial=0, pid=912, ppid=880, uid=5099, comm="kill", exe="/usr/bin/kill")),
    ("own group", {"function_name": "__arm64_sys_kill", "args": [{}, {"int_arg": 15}]},
     SignalSent(signal=15, target_pid=0, success=True, serial=0, pid=912, ppid=880, uid=5099, comm="kill", exe="/usr/bin/kill")),
    ("asks only", {"function_name": "__x64_sys_kill", "args": [{"int_arg": 4711}, {}]},
     KernelCall(function="__x64_sys_kill", arguments=("4711", "{}"), pid=912, uid=5099, exe="/usr/bin/kill", namespace="llm",
                pod="pretrain-0")),
    ("file", {"function_name": "security_file_permission", "args": [{"file_arg": {"path": "/lustre/x"}}, {"int_arg": 2}], "action": "POST",
              "policy_name": "p"},
     KernelCall(function="security_file_permission", arguments=("/lustre/x", "2"), action="POST", policy="p", pid=912, uid=5099,
                exe="/usr/bin/kill", namespace="llm", pod="pretrain-0")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "event", "body"), CALLS, ids=[row[0] for row in CALLS])
def test_calls(name: str, event: dict[str, Any], body: Body) -> None:
    """Kill calls become signals with sender and target; the others stay calls, and have no id of their own."""
    assert name
    got = parse("process_kprobe", **event)
    assert (got.body, got.own_id) == (body, "")


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        (b'{"process_exec":{', DecodeError),
        (b'{"x":{"process_exec":{}}}', UnknownFormat),
        (b'{"process_exit":{"process":{}}}', SchemaMismatch),
        (b'{"process_exec":{"process":{"pid":"many"}}}', SchemaMismatch),
        (b'{"process_kprobe":{"args":7}}', SchemaMismatch),
    ],
)
def test_broken(payload: bytes, error: type[RejectedRecord]) -> None:
    """What is wrong is said."""
    with pytest.raises(error):
        parsed(payload)


@pytest.mark.shared_data
def test_real_events(shared_data: Path) -> None:
    """The source's own samples: one without time, and a start and end that join."""
    folder = shared_data / "access/tetragon"
    events = [parsed(line) for line in (folder / "events.json").read_bytes().splitlines()]
    assert [event.event_time for event in events[:1]] == [1_666_062_978_273]
    assert all(isinstance(event.body, ProcessRun) and event.body.auid is None for event in events)
    run, end = (
        parsed(json.dumps(json.loads((folder / f"{name}.json").read_bytes())).encode()) for name in ("process_exec", "process_exit")
    )
    assert isinstance(run.body, ProcessRun)
    assert isinstance(end.body, ProcessEnded)
    assert run.own_id.partition("/")[0] == end.own_id.partition("/")[0] != ""
    assert (run.body.pid, run.body.arguments) == (51583, ("/usr/bin/whoami", "--version"))
    assert (end.body.pid, end.body.signal, end.body.status, end.body.pod) == (51583, "", 0, "xwing")
    assert run.event_time is not None
    assert end.event_time == run.event_time + 1
