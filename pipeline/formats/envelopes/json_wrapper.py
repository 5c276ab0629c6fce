"""A JSON object that carries a line, and what its shipper says of it.

| shipper | line | file, offset | host, program | read at |
| --- | --- | --- | --- | --- |
| rsyslog (JSON template) | `message` | `file` | `host`, `program`, `procid`, `facility`, `inputname` | `received_at`, else `@timestamp` |
| Filebeat, Logstash | `message`, `event.original`, `json` | `log.file.path`, `log.offset` | `host.name`, else `agent` | `@timestamp` |
| - its inputs for syslog, journald | `message` | | `log.syslog.*`, `syslog.identifier`, `process.*` | `@timestamp` |
| Fluent Bit, Fluentd | `log`, `message` | `path`, `filename`, else the pod's | `hostname`, `ident` | `@timestamp`, `date`, `time` |
| Vector | `message` | `file`, else the pod's | `host`, `appname` | `timestamp` |
| syslog-ng | `MESSAGE` | `FILE_NAME` | `HOST`, `PROGRAM`, `PID`, `FACILITY` | `received_at`, else `ISODATE`, `ts` |
| systemd's journal | `MESSAGE`, also as bytes | | `_HOSTNAME`, `SYSLOG_IDENTIFIER`, else `_COMM`, `_PID` | `__REALTIME_TIMESTAMP` |
| Docker json-file | `log` | | | `time` |

An object that *is* the event (jobcomp, our probe, a webhook) is not a wrapper, also when a field of it is called `message`: None is
answered, and the envelopes after it are asked.  One into which Fluent Bit merged what it says of the pod is both.

Who writes a line may choose keys beside it: fields of the journal without a `_` in front, and keys of his JSON where the shipper merges
them.  So what the journal knows, `log.file` and the pod come first.

A system log line that its shipper took apart is put together again (`said.composed`).  That happens only when the wrapper names a
program, names no file (a line tailed from a file is complete) and the message has no prefix of its own (a time, `type=`, `[`, `{`), or
one that names another program; the kernel's `[12345.678901]` counts as text.  The composed line is the payload, and is what evidence
cites.  Anybody can send a line as the program `kernel`, of that facility, too; where the facility, the journal's transport, the input
or a uid says that it was not the kernel, the composed line says so too.  As what daemon somebody writes is seen by what journal, rsyslog
or syslog-ng know of him (`said.sender`).

Lines that a container runtime split say that they are parts: `logtag` or `_p` of Fluent Bit, `partial_*` of Docker's drivers, `_partial`
of Vector, a `log` of Docker without line end.

Holds: a value that starts like a JSON object and is none raises DecodeError, but for what producers write all the same (NaN, bytes that
are not UTF-8, halves of surrogate pairs); of a doubled key the last one holds; no field of a wrapper makes a line unreadable, it only
counts as absent, but for one that is nested deeper than decoders go.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from pipeline.errors import DecodeError
from pipeline.formats.envelopes import container, json_lines
from pipeline.formats.envelopes.raw import NUMBER_MAX, said_by, without_line_end
from pipeline.formats.envelopes.said import (
    FROM_A_USER,
    KERNEL_FACILITY,
    composed,
    first,
    iso,
    moment,
    nested,
    own_file,
    pod_of,
    sender,
    text,
)
from pipeline.formats.fields import strict_json, zoned_time
from pipeline.formats.line import ANYBODY, ROOT, Headers, Line, Part
from pipeline.formats.syslog import is_system_log

_JOBCOMP_START = re.compile(rb'\{"jobid":[0-9]')
_PROBE_START = b'{"trainwatch_probe":'
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_OPEN = Part()
_STREAMS = frozenset({"stdout", "stderr"})
_BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_ORDINAL_DIGITS_MAX = 6
_SOCKET = "imuxsock"  # rsyslog's input for programs
_OF_THE_KERNEL = frozenset({"audit", "kernel"})  # the journal's transports
POD_BYTES_MAX = 8192  # labels and annotations of a pod are usually a few hundred

_TAILED = (b'{"@timestamp":"', b'{"file":"', b'{"message":"')  # how the shippers begin whose objects are `_Tailed`

Unread = Raw | UnsetType  # looked into only where nothing else says the same


class _Wrapper(msgspec.Struct, gc=False):
    """The keys that shippers use; the others are skipped.  A value of an unexpected type counts as absent."""

    trainwatch_probe: Any = UNSET
    object_kind: Any = None
    involved: Any = msgspec.field(default=None, name="involvedObject")
    node_state: Any = None
    code: Any = None
    uid: Any = None
    jobid: Any = None
    event: Any = None
    message: Any = None
    message_capital: Any = msgspec.field(default=None, name="MESSAGE")
    msg: Any = None
    log: Any = None
    host: Any = None
    host_capital: Any = msgspec.field(default=None, name="HOST")
    hostname: Any = None
    hostname_journal: Any = msgspec.field(default=None, name="_HOSTNAME")
    program: Any = None
    program_capital: Any = msgspec.field(default=None, name="PROGRAM")
    identifier: Any = msgspec.field(default=None, name="SYSLOG_IDENTIFIER")
    appname: Any = None
    ident: Any = None
    command: Any = msgspec.field(default=None, name="_COMM")
    procid: Any = None
    pid_capital: Any = msgspec.field(default=None, name="PID")
    pid_journal: Any = msgspec.field(default=None, name="_PID")
    uid_journal: Any = msgspec.field(default=None, name="_UID")
    executable: Any = msgspec.field(default=None, name="_EXE")
    uid_socket: Any = msgspec.field(default=None, name="_uid")
    executable_socket: Any = msgspec.field(default=None, name="_exe")
    input_name: Any = msgspec.field(default=None, name="inputname")
    pid: Any = None
    facility: Any = None
    facility_capital: Any = msgspec.field(default=None, name="FACILITY")
    facility_journal: Any = msgspec.field(default=None, name="SYSLOG_FACILITY")
    transport: Any = msgspec.field(default=None, name="_TRANSPORT")
    file: Any = None
    file_name: Any = msgspec.field(default=None, name="FILE_NAME")
    path: Any = None
    filename: Any = None
    offset: Any = None
    received_at: Any = None
    received: Any = msgspec.field(default=None, name="R_ISODATE")
    at_timestamp: Any = msgspec.field(default=None, name="@timestamp")
    timestamp: Any = None
    written: Any = msgspec.field(default=None, name="ISODATE")
    ts: Any = None
    time: Any = None
    date: Any = msgspec.field(default=None, name="DATE")
    date_lower: Any = msgspec.field(default=None, name="date")
    realtime: Any = msgspec.field(default=None, name="__REALTIME_TIMESTAMP")
    source_realtime: Any = msgspec.field(default=None, name="_SOURCE_REALTIME_TIMESTAMP")
    stream: Any = None
    source: Any = None
    logtag: Any = None
    part: Any = msgspec.field(default=None, name="_p")
    part_vector: Any = msgspec.field(default=None, name="_partial")
    partial: Any = msgspec.field(default=None, name="partial_message")
    partial_id: Any = None
    partial_ordinal: Any = None
    partial_last: Any = None
    kubernetes: Unread = UNSET
    agent: Unread = UNSET
    syslog: Unread = UNSET
    process: Unread = UNSET
    journald: Unread = UNSET
    systemd: Unread = UNSET
    json: Unread = UNSET


class _File(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    path: str = ""


class _Log(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    file: _File
    offset: int | None = None


class _Host(msgspec.Struct, gc=False):
    name: str = ""


class _Tailed(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A line of a file as our template for rsyslog, Filebeat and Vector say it: most of all objects, read in a third of the time.

    A key that is not here may say more: then the object is a `_Wrapper`.
    """

    message: str
    file: str = ""
    log: _Log | None = None
    host: str | _Host = ""
    program: str = ""
    received_at: str | None = None
    at_timestamp: str | None = msgspec.field(default=None, name="@timestamp")
    timestamp: str | None = None
    # Of no use where the file is known.
    procid: Unread = UNSET
    facility: Unread = UNSET
    severity: Unread = UNSET
    source_type: Unread = UNSET
    metadata: Unread = msgspec.field(default=UNSET, name="@metadata")
    input: Unread = UNSET
    ecs: Unread = UNSET
    agent: Unread = UNSET


_decode_tailed = msgspec.json.Decoder(_Tailed).decode
_decode = msgspec.json.Decoder(_Wrapper).decode
_decode_unread = msgspec.json.Decoder().decode


class JsonWrapper:
    """The line is a field of a JSON object."""

    name = "json_wrapper"
    begins: Sequence[bytes] = (b"{",)

    def unwrap(self, value: bytes, headers: Headers) -> list[Line] | None:
        """One line, or None for a value that is not an object or is itself the event.  Raises DecodeError on broken JSON."""
        if not headers and value.startswith(_TAILED) and (line := _tailed(value)) is not None:
            return [line]
        # `{'` opens the text of a Python dictionary, which frameworks print: a raw line.
        if value[:1] != b"{" or value[1:2] == b"'" or _JOBCOMP_START.match(value):
            return None
        if value.startswith(_PROBE_START) and value.find(b'"kubernetes"') < 0:
            return None
        try:
            wrapper = _decode(value)
        except _BROKEN as error:
            if json_lines.are(value):
                return None
            try:  # a name that somebody chose, or a loss that diverged, must not hide the line
                wrapper = _decode(strict_json(value))
            except (DecodeError, msgspec.DecodeError):
                raise DecodeError(f"not JSON: {error}") from error
        message = None if _is_event(wrapper) else _message(wrapper)
        if message is None and _is_stream(wrapper.stream) and _pod(wrapper.kubernetes)[0]:  # merged by Fluent Bit: the event, and its pod
            message = value.decode("utf-8", "surrogateescape")
        return None if message is None else [_line(value, wrapper, message, headers)]


def _tailed(value: bytes) -> Line | None:
    """The line of an object that holds nothing else; None: it must be read as a wrapper."""
    try:
        tailed = _decode_tailed(value)
    except _BROKEN:
        return None
    host, log = tailed.host, tailed.log
    path = (text(log.file.path) if log is not None else "") or text(tailed.file)
    host = text(host if isinstance(host, str) else host.name)
    if not path or not host:
        return None
    payload = without_line_end(tailed.message.encode())
    if payload[:1] in b"2{":  # a container's line, or nothing
        return None
    collected = None
    for time in (tailed.received_at, tailed.at_timestamp, tailed.timestamp):
        if time is not None and (collected := zoned_time(time) or moment(time)) is not None:
            break
    offset = None if log is None else _offset(log.offset)
    program = text(tailed.program)
    return Line(
        payload=payload,
        host=host,
        program=program,
        tagged=bool(program),
        writer=ANYBODY if program and is_system_log(path) else "",
        file=path,
        file_offset=offset,
        collected_time=collected,
        beside=value,
    )


def _line(value: bytes, wrapper: _Wrapper, message: str, headers: Headers) -> Line:
    host, program, file, offset, collected = said_by(headers)
    log: Mapping[str, Any] = wrapper.log if type(wrapper.log) is dict else _NOTHING
    if wrapper.hostname_journal is not None or wrapper.transport is not None or wrapper.realtime is not None:
        _without_chosen(wrapper)
    # What stands in an object of the shipper's comes before keys into which a shipper may have merged those of a line.
    path = (nested(log, "file", "path") if log else "") or text(wrapper.file) or first(wrapper.file_name, wrapper.path, wrapper.filename)
    host = _host(wrapper) or host
    if wrapper.kubernetes is not UNSET:
        pod_file, node = _pod(wrapper.kubernetes)
        if pod_file and (file_of_pod := own_file(path, pod_file)) != path:
            path, host = file_of_pod, node or host
        host = host or node
    said_program = text(wrapper.program) or first(
        wrapper.program_capital, wrapper.identifier, wrapper.appname, wrapper.ident, wrapper.command
    )
    pid: object = None
    if not said_program and not path:
        said_program, pid, facility = _apart(wrapper, log, message)
        wrapper.facility = wrapper.facility or facility
    if wrapper.uid_journal is not None:
        said_program = sender(said_program, wrapper.uid_journal, wrapper.executable, message, wrapper.transport)
    elif wrapper.uid_socket is not None:
        said_program = sender(said_program, wrapper.uid_socket, wrapper.executable_socket, message, "")
    writer = _writer(wrapper, log, path)
    program = said_program or program
    if program and not path:
        message = _composed(message, wrapper, host, program, pid, tagged=bool(said_program))
    try:
        payload = without_line_end(message.encode())
    except UnicodeEncodeError:  # bytes of the journal
        payload = without_line_end(message.encode("utf-8", "surrogateescape"))
    collected = _collected(wrapper) or collected
    stream, part = _part(wrapper) if _of_container(wrapper) else ("", None)
    if path and payload[:1] in b"2{" and (within := container.inside(payload, path)):
        payload, stream, part = within.payload, within.stream, within.part
    return Line(
        payload=payload,
        host=host,
        program=program,
        tagged=bool(said_program),
        writer=writer,
        file=path or file,
        file_offset=_offset(wrapper.offset, log.get("offset"), offset) if log or wrapper.offset is not None else offset,
        collected_time=collected,
        truncated=(part is not None and not part.last) or _flagged(log, "truncated"),
        joined=_flagged(log, "multiline") and bool(nested(log, "file", "path")),  # of the journal it joins what anybody wrote, too
        stream=stream,
        part=part,
        beside=value,
    )


def _writer(wrapper: _Wrapper, log: Mapping[str, Any], path: str) -> str:
    """Who may have written the line: ROOT where the log daemon says so, ANYBODY of what a system log holds besides, else nobody knows.

    Of a file it is the file that tells, but for one that its shipper took apart as a system log: of that the rest stands in `message`.
    """
    apart = wrapper.ident is not None or wrapper.appname is not None or isinstance(log.get("syslog"), dict)
    named = wrapper.program is not None or wrapper.program_capital is not None
    if path:
        return ANYBODY if apart or (named and is_system_log(path)) else ""
    transport: object = wrapper.transport
    uids = [wrapper.uid_journal, wrapper.uid_socket]
    if wrapper.journald is not UNSET:
        uids.append(_read(wrapper.journald).get("uid"))
        transport = transport or _read(wrapper.systemd).get("transport")
    told = {word for uid in uids if (word := _word(uid))}
    if told == {"0"} or (isinstance(transport, str) and transport in _OF_THE_KERNEL):
        return ROOT
    others = (wrapper.identifier, wrapper.facility, wrapper.facility_capital, wrapper.facility_journal, wrapper.procid, transport)
    objects = wrapper.syslog is not UNSET or wrapper.journald is not UNSET
    return ANYBODY if told or apart or named or objects or any(each is not None for each in others) else ""


def _without_chosen(wrapper: _Wrapper) -> None:
    """Whoever writes to the journal chooses any field without a `_` in front: syslog-ng's own keys are nobody's word there."""
    wrapper.host_capital = wrapper.program_capital = wrapper.pid_capital = wrapper.facility_capital = wrapper.file_name = None
    wrapper.written = wrapper.received = wrapper.date = None


def _is_event(wrapper: _Wrapper) -> bool:
    """Jobcomp's and the probe's; GitLab's webhooks, Teleport's and Kubernetes' events and torch elastic's have a message of their own."""
    if wrapper.trainwatch_probe is not UNSET or isinstance(wrapper.jobid, int):
        return True
    if isinstance(wrapper.object_kind, str) or isinstance(wrapper.involved, dict) or isinstance(wrapper.node_state, str):
        return True
    return isinstance(wrapper.event, str) and isinstance(wrapper.code, str) and isinstance(wrapper.uid, str)


def _message(wrapper: _Wrapper) -> str | None:
    event = wrapper.event
    if isinstance(event, dict) and isinstance(original := event.get("original"), str):
        return original
    if _is_stream(wrapper.stream) and isinstance(wrapper.log, str):  # beside it there may be keys of the line
        return wrapper.log
    for message in (wrapper.message, wrapper.message_capital, wrapper.msg, wrapper.log):
        if isinstance(message, str):
            return message
    if not isinstance(wrapper.json, UnsetType) and nested(wrapper.log, "file", "path"):  # Filebeat's, which took the line for an object
        return bytes(wrapper.json).decode("utf-8", "replace")
    return _bytes(wrapper.message_capital)


def _bytes(message: object) -> str | None:
    """The journal writes what is not UTF-8, or holds control characters, as a list of numbers."""
    if not isinstance(message, list) or not message:
        return None
    try:
        return bytes(message).decode("utf-8", "surrogateescape")
    except (TypeError, ValueError):
        return None


def _composed(message: str, wrapper: _Wrapper, host: str, program: str, pid: object, *, tagged: bool) -> str:
    times = (wrapper.at_timestamp, wrapper.written, wrapper.timestamp, wrapper.ts, wrapper.date, wrapper.received_at)
    written = next((time for time in times if isinstance(time, str)), "")
    if not written and (numbered := _numbered(wrapper)) is not None:
        written = iso(numbered)
    if not pid:
        pid = next((found for found in (wrapper.procid, wrapper.pid_capital, wrapper.pid_journal, wrapper.pid) if found), None)
    whole = composed(message, written, host, program, pid, tagged=tagged)
    return f"{FROM_A_USER}{whole}" if program == "kernel" and _not_the_kernel(wrapper) else whole


def _numbered(wrapper: _Wrapper) -> int | None:
    for time in (wrapper.source_realtime, wrapper.realtime, wrapper.at_timestamp, wrapper.date_lower, wrapper.time):
        if time is not None and (found := moment(time)) is not None:
            return found
    return None


def _not_the_kernel(wrapper: _Wrapper) -> bool:
    """Does the syslog daemon, or the journal, know better than the line?  The kernel has no uid, and no socket asks who may say `kern`.

    What root writes to /dev/kmsg comes as the kernel's own does, but for its facility, which the kernel makes a program's.
    """
    if wrapper.input_name == _SOCKET or _word(wrapper.uid_journal) or _word(wrapper.uid_socket):
        return True
    if isinstance(wrapper.transport, str):
        by_program = wrapper.facility_journal is not None and _word(wrapper.facility_journal) not in KERNEL_FACILITY
        return by_program or wrapper.transport != "kernel"
    facility = wrapper.facility_capital if wrapper.facility is None else wrapper.facility
    return facility is not None and _word(facility) not in KERNEL_FACILITY


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, str | int) else ""


def _apart(wrapper: _Wrapper, log: Mapping[str, Any], message: str) -> tuple[str, object, object]:
    """Program, pid and facility from Filebeat's inputs for syslog and for the journal."""
    syslog, process = _read(wrapper.syslog), _read(wrapper.process)
    inner = log.get("syslog")
    inner = inner if isinstance(inner, dict) else _NOTHING
    program = first(inner.get("appname"), syslog.get("identifier"), process.get("name"))
    if wrapper.journald is not UNSET:
        journald = _read(wrapper.journald)
        executable = nested(journald, "process", "executable") or process.get("executable")
        program = sender(program, journald.get("uid"), executable, message, _read(wrapper.systemd).get("transport"))
    facility = inner.get("facility")
    facility = facility.get("code") if isinstance(facility, dict) else syslog.get("facility")
    return program, inner.get("procid") or process.get("pid") or syslog.get("pid"), facility


def _read(unread: Unread) -> Mapping[str, Any]:
    if isinstance(unread, UnsetType):
        return _NOTHING
    try:
        value = _decode_unread(unread)
    except _BROKEN:
        return _NOTHING
    return value if isinstance(value, dict) else _NOTHING


def _host(wrapper: _Wrapper) -> str:
    host = wrapper.host
    if isinstance(host, dict):
        return nested(host, "name") or nested(host, "hostname") or _agent(wrapper)
    return first(host, wrapper.host_capital, wrapper.hostname, wrapper.hostname_journal) or _agent(wrapper)


def _agent(wrapper: _Wrapper) -> str:
    """Where Filebeat itself runs, which is where the file is; older ones say it in `beat`, which nobody runs any more."""
    if wrapper.agent is UNSET:
        return ""
    agent = _read(wrapper.agent)
    return first(agent.get("hostname"), agent.get("name"))


def _collected(wrapper: _Wrapper) -> int | None:
    for time in (wrapper.received_at, wrapper.received, wrapper.at_timestamp, wrapper.timestamp, wrapper.written):
        if time is not None and (found := (zoned_time(time) if type(time) is str else None) or moment(time)) is not None:
            return found
    for time in (wrapper.ts, wrapper.realtime, wrapper.date_lower, wrapper.time):
        if time is not None and (found := moment(time)) is not None:
            return found
    return None


def _pod(unread: Unread) -> tuple[str, str]:
    if isinstance(unread, UnsetType) or len(said := bytes(unread)) > POD_BYTES_MAX:
        return "", ""
    return _repeated_pod(said)


@lru_cache(maxsize=4096)  # every line of a pod says the same of it
def _repeated_pod(said: bytes) -> tuple[str, str]:
    return pod_of(_read(Raw(said)))


def _offset(*offsets: object) -> int | None:
    return next((offset for offset in offsets if type(offset) is int and 0 <= offset <= NUMBER_MAX), None)


def _flagged(log: Mapping[str, Any], flag: str) -> bool:
    flags = log.get("flags") if log else None
    return isinstance(flags, list) and flag in flags


def _is_stream(stream: object) -> bool:
    return isinstance(stream, str) and stream in _STREAMS


def _of_container(wrapper: _Wrapper) -> bool:
    return bool(wrapper.stream or wrapper.logtag or wrapper.source or wrapper.part or wrapper.part_vector or wrapper.partial)


def _part(wrapper: _Wrapper) -> tuple[str, Part | None]:
    """The stream of a container, and what its runtime or shipper says of a split line."""
    stream = wrapper.stream if wrapper.stream is not None else wrapper.source
    stream = stream if _is_stream(stream) else ""
    if wrapper.partial is not None and _word(wrapper.partial) == "true":
        ordinal = _word(wrapper.partial_ordinal)
        return stream, Part(
            id=text(wrapper.partial_id),
            ordinal=int(ordinal) if ordinal.isascii() and ordinal.isdigit() and len(ordinal) <= _ORDINAL_DIGITS_MAX else None,
            last=_word(wrapper.partial_last) == "true",
        )
    if wrapper.logtag == "P" or wrapper.part == "P" or wrapper.part_vector is True:
        return stream, _OPEN
    if stream and wrapper.logtag is None and isinstance(wrapper.time, str) and isinstance(wrapper.log, str):  # Docker's own
        return stream, None if wrapper.log.endswith("\n") else _OPEN
    return stream, None


ENVELOPE = JsonWrapper()
