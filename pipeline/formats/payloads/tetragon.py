"""An event of Tetragon in; a process run or ended, a signal sent, or another call that the site's policy watches out.

    {"process_exec":{"process":{"exec_id":"..","pid":68790,"uid":5099,"auid":4294967295,"binary":"/usr/bin/scancel","arguments":"48213",
     "pod":{..}},"parent":{..}},"node_name":"gpu-001","time":"2026-03-02T19:40:41.318546829Z"}

    process_exec                                   ProcessRun: `arguments` is one text, taken apart at blanks unless it quotes
    process_exit                                   ProcessEnded: the signal without its sender; zero values are left out, so no signal
                                                   and no status is a normal end
    process_kprobe or _tracepoint of a kill call   SignalSent by its integer arguments in their order; whose process it was is not told
    other calls, LSM hooks                         KernelCall

An event without `time` happened when its process started.  `exec_id` with kind and time is the event's own id.  `return` is a call's
answer; a kill without it is taken for one that was let, since a policy reports the call when it is made.

Holds: time UTC, cut to milliseconds.  `process_exec` and `process_exit` are verified on the samples of cilium/tetragon (tests, where
present); calls are not verified on real lines.  Layout: https://tetragon.io/docs/reference/grpc-api/ and
https://tetragon.io/docs/concepts/tracing-policy/hooks/
"""

import posixpath
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import orjson

from pipeline.errors import DecodeError, SchemaMismatch, UnknownFormat
from pipeline.formats.fields import UNMAPPED_TEXT_LENGTH_MAX, unmapped, utc_time
from pipeline.formats.json_event import (
    LIST_MAX,
    PID_MAX,
    UID_UNSET,
    Passing,
    at,
    event_object,
    int_at,
    list_at,
    pid_at,
    text_at,
    time_at,
    uid_at,
    usual_line,
)
from pipeline.formats.line import Line, Reading
from pipeline.model.events import KernelCall, Parsed, ProcessEnded, ProcessRun, SignalSent
from pipeline.model.source import Source

PROGRAMS = ("tetragon",)
ARGUMENTS_MAX = 1024
HEAD_BYTES = 1024  # in which the kind stands: shippers put keys of theirs in front
_CALLS = ("process_kprobe", "process_tracepoint", "process_lsm")
_KINDS = ("process_exec", "process_exit", *_CALLS)
_MARKS = tuple(f'"{kind}"'.encode() for kind in _KINDS)
# Which of a call's integer arguments are target and signal.
_SIGNALS = {"kill": (0, 1), "tkill": (0, 1), "tgkill": (0, 2), "rt_sigqueueinfo": (0, 1), "rt_tgsigqueueinfo": (0, 2)}
_CALL_PREFIXES = ("__x64_sys_", "__arm64_sys_", "__ia32_sys_", "sys_enter_", "sys_")
_TAKEN = frozenset({*_KINDS, "node_name", "time"})


_Pid = Annotated[int, msgspec.Meta(ge=0, le=PID_MAX)] | None
_Uid = Annotated[int, msgspec.Meta(ge=0, le=UID_UNSET)] | None


class _Process(msgspec.Struct, frozen=True, gc=False):
    exec_id: str = ""
    pid: _Pid = None
    uid: _Uid = None
    auid: _Uid = None
    binary: str = ""
    arguments: str = ""
    start_time: str = ""


class _Parent(msgspec.Struct, frozen=True, gc=False):
    pid: _Pid = None


class _Exec(msgspec.Struct, frozen=True, gc=False):
    process: _Process
    parent: _Parent = _Parent()


class _Event(msgspec.Struct, frozen=True, gc=False, kw_only=True, forbid_unknown_fields=True):
    """A process that was run, of the usual types: most of what comes."""

    process_exec: _Exec
    node_name: str = ""
    cluster_name: Passing = None
    time: str = ""


decode_usual = msgspec.json.Decoder(_Event).decode


class Tetragon:
    """One object per event."""

    name = "tetragon"
    source = Source.TETRAGON
    programs = PROGRAMS
    begins = (b'{"process_',)
    first_bytes = b"{"

    def claims(self, payload: bytes) -> bool:
        """An object that names one of the kinds near its start."""
        if payload[:1] != b"{" or payload.find(b'"process_', 0, HEAD_BYTES) < 0:
            return False
        return any(payload.find(mark, 0, HEAD_BYTES) >= 0 for mark in _MARKS)

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:
        """One event.  Raises UnknownFormat for the kinds that say nothing about a process."""
        if (found := usual_line(line, decode_usual)) is not None:
            return (_usual(found),)
        value, host = event_object(line, reading, PROGRAMS)
        kind = next((name for name in _KINDS if isinstance(value.get(name), dict)), "")
        if not kind:
            raise UnknownFormat("no event of a process")
        event = value[kind]
        time = time_at(value, "time")
        if time is None:
            time = time_at(event, "process", "start_time")
        exec_id = text_at(event, "process", "exec_id")
        return (
            Parsed(
                source=Source.TETRAGON,
                host=text_at(value, "node_name") or host,
                event_time=time,
                # Calls of one process may share a millisecond: their line tells them apart.
                own_id=f"{exec_id}/{kind}/{time}" if exec_id and kind not in _CALLS else "",
                body=_body(kind, event),
                unmapped=unmapped(value, _TAKEN),
            ),
        )


def _usual(event: _Event) -> Parsed:
    process = event.process_exec.process
    text, uid, auid = event.time or process.start_time, process.uid, process.auid
    time = utc_time(text) if text else None
    body = ProcessRun(
        0,
        (process.binary, *_split(process.arguments)),
        True,
        process.pid,
        event.process_exec.parent.pid,
        None if uid == UID_UNSET else uid,
        None if auid == UID_UNSET else auid,
        None,
        process.binary,
    )
    own_id = f"{process.exec_id}/process_exec/{time}" if process.exec_id else ""
    rest = {} if event.cluster_name is None else {"cluster_name": str(event.cluster_name)}
    return Parsed(Source.TETRAGON, body, time, event.node_name, own_id, rest)


def _body(kind: str, event: dict[str, Any]) -> ProcessRun | ProcessEnded | SignalSent | KernelCall:
    process = event.get("process")
    pid, uid, auid = pid_at(process, "pid"), uid_at(process, "uid"), uid_at(process, "auid")
    exe = text_at(process, "binary")
    namespace, pod = text_at(process, "pod", "namespace"), text_at(process, "pod", "name")
    if kind == "process_exec":
        parent, run = pid_at(event, "parent", "pid"), (exe, *_split(text_at(process, "arguments")))
        return ProcessRun(serial=0, arguments=run, success=True, pid=pid, ppid=parent, uid=uid, auid=auid, exe=exe)
    if kind == "process_exit":
        if pid is None:
            raise SchemaMismatch("the end of a process without its number")
        return ProcessEnded(
            pid=pid, uid=uid, auid=auid, exe=exe, signal=text_at(event, "signal"),
            status=int_at(event, "status", maximum=0xFFFFFFFF) or 0, started=time_at(process, "start_time"), namespace=namespace, pod=pod,
        )  # fmt: skip
    function = text_at(event, "function_name") or text_at(event, "event")
    arguments = list_at(event, "args")
    if (sent := _sent(function, arguments)) is not None:
        target, signal = sent
        answer = at(event, "return", "int_arg")
        return SignalSent(
            signal=signal, target_pid=target, success=not isinstance(answer, int) or answer >= 0, serial=0, pid=pid,
            ppid=pid_at(event, "parent", "pid"), uid=uid, auid=auid, comm=posixpath.basename(exe)[:15], exe=exe,
        )  # fmt: skip
    return KernelCall(
        function=function, arguments=tuple(_shown(each) for each in arguments[:LIST_MAX]), action=text_at(event, "action"),
        policy=text_at(event, "policy_name"), pid=pid, uid=uid, auid=auid, exe=exe, namespace=namespace, pod=pod,
    )  # fmt: skip


def _split(arguments: str) -> list[str]:
    """The arguments one by one; whole where a quote says that a blank may belong to one of them."""
    if not arguments:
        return []
    return [arguments] if '"' in arguments or "'" in arguments else arguments.split(maxsplit=ARGUMENTS_MAX)


def _sent(function: str, arguments: list[Any]) -> tuple[int, int] | None:
    """(target, signal) of a call that sends one; None for signal 0, which only asks, and where the policy leaves an argument out."""
    places = _SIGNALS.get(next((function.removeprefix(prefix) for prefix in _CALL_PREFIXES if function.startswith(prefix)), function))
    if places is None or len(arguments) <= places[1]:
        return None
    # A protocol buffer's zero is left out, so an empty argument is the number 0.
    target, signal = (_integer(arguments[place]) for place in places)
    if target is None or not signal or not 0 < signal <= 64 or not -(2**31) <= target < 2**31:
        return None
    return target, signal


def _integer(argument: object) -> int | None:
    for name in ("int_arg", "size_arg", "uint_arg", "long_arg"):
        number = at(argument, name)
        if isinstance(number, str) and len(number) <= 20 and number.removeprefix("-").isascii() and number.removeprefix("-").isdigit():
            return int(number)
        if isinstance(number, int) and not isinstance(number, bool):
            return number
    return 0 if argument == {} else None


def _shown(argument: object) -> str:
    """A path, a text or a number as itself; what else there is as JSON."""
    for path in (("file_arg", "path"), ("path_arg", "path"), ("string_arg",), ("int_arg",)):
        found = at(argument, *path)
        if isinstance(found, (str, int)):
            return str(found)[:UNMAPPED_TEXT_LENGTH_MAX]
    try:
        return orjson.dumps(argument)[:UNMAPPED_TEXT_LENGTH_MAX].decode("utf-8", "replace")
    except orjson.JSONEncodeError as error:
        raise DecodeError("an argument is nested too deeply") from error


FORMAT = Tetragon()
