"""An event of Auditbeat's auditd module in; the AuditRecords that it was coalesced from out, as far as it kept them.

Auditbeat merges the records of a kernel event, translates numbers and spreads the fields over ECS names.  They go back to where the
kernel had them, so that one piece of code assembles events of every origin, and under the ids that raw records have:

    auditd.sequence, @timestamp        serial, time             auditd.data.a0..a3, syscall, arch, exit     SYSCALL
    process.pid, .parent.pid, .name    pid, ppid, comm          auditd.data.opid, ouid, oauid, oses, ocomm  OBJ_PID
    user.audit.id, user.id             auid, uid                auditd.paths[]                              PATH
    auditd.session, tags, .result      ses, key, success        process.args, .working_directory            EXECVE, CWD

What it lost stays lost: of several OBJ_PID records it keeps the first, so of a signal to a group one receiver.  Fields are absent when
unset; an absent `user.audit.id` therefore becomes auid 4294967295, which says that nobody logged in.
For some calls newer releases put the acting identity of their ECS mapping into `user.id`, which may be the login instead of the uid; the
login itself always stands in `user.audit.id`, and it is what actors are found by.

Layout: github.com/elastic/go-libaudit aucoalesce/coalesce.go, github.com/elastic/beats auditbeat/module/auditd/audit_linux.go and
_meta/execve.json (the source's own example).  Not verified on real lines: no sample exists here.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from pipeline.errors import SchemaMismatch, UnknownFormat
from pipeline.formats.fields import UNMAPPED_FIELDS_MAX, UNMAPPED_TEXT_LENGTH_MAX, shown, unmapped, utc_time
from pipeline.formats.json_event import (
    LIST_MAX,
    PID_MAX,
    TEXT_CHARACTERS_MAX,
    event_object,
    int_at,
    list_at,
    text_at,
    texts_at,
    texts_of,
    usual_line,
)
from pipeline.formats.line import Line, Reading
from pipeline.model.events import AuditRecord, Parsed
from pipeline.model.source import Source

PROGRAMS = ("auditbeat",)
RECORDS_MAX = 4096
ARGUMENTS_MAX = 4096
SERIAL_MAX = 0xFFFFFFFF
_UNSET = "4294967295"
_OF_CALL = ("pid", "ppid", "comm", "exe", "proctitle", "uid", "euid", "auid", "ses", "result")
_OBJECT = ("opid", "oauid", "ouid", "oses", "ocomm")
_KNOWN = frozenset({"@timestamp", "@metadata", "auditd", "process", "user", "tags", "event", "file", "ecs", "agent", "service", "group"})
_ARCHES = {"x86_64": "c000003e", "aarch64": "c00000b7", "i386": "40000003"}


_Pid = str | Annotated[int, msgspec.Meta(ge=1, le=PID_MAX)]  # zero as a number would look like none
_Short = Annotated[str, msgspec.Meta(max_length=UNMAPPED_TEXT_LENGTH_MAX)]


class _Id(msgspec.Struct, frozen=True, gc=False):
    """Of a user."""

    id: str = ""


class _User(msgspec.Struct, frozen=True, gc=False):
    """Who acted."""

    id: str = ""
    effective: _Id = _Id()
    audit: _Id = _Id()


class _Parent(msgspec.Struct, frozen=True, gc=False):
    """Of a process."""

    pid: _Pid = ""


class _Process(msgspec.Struct, frozen=True, gc=False):
    """What acted."""

    pid: _Pid = ""
    ppid: _Pid = ""
    parent: _Parent = _Parent()
    name: str = ""
    executable: str = ""
    title: str = ""
    working_directory: str = ""
    args: list[Any] = []


class _Module(msgspec.Struct, frozen=True, gc=False):
    """What the auditd module says."""

    sequence: Annotated[int, msgspec.Meta(ge=0, le=SERIAL_MAX)]
    message_type: str = ""
    session: str = ""
    result: str = ""
    data: dict[str, Any] = {}
    paths: list[Any] = []


class _Event(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What is read of an event."""

    time: Annotated[str, msgspec.Meta(min_length=1)] = msgspec.field(name="@timestamp")
    auditd: _Module
    process: _Process = _Process()
    user: _User = _User()
    tags: tuple[str, ...] = ()


class _UsualModule(_Module, frozen=True, gc=False):
    data: dict[str, _Short] = {}


class _UsualEvent(_Event, frozen=True, gc=False, forbid_unknown_fields=True):
    """Such an event of the usual types, and no key beside those of which nothing is read: another one would have to pass through."""

    auditd: _UsualModule
    host: dict[str, str | bool | list[str] | dict[str, str]] = {}  # no numbers, which decoders hold differently
    event: msgspec.Raw = msgspec.Raw()
    file: msgspec.Raw = msgspec.Raw()
    ecs: msgspec.Raw = msgspec.Raw()
    agent: msgspec.Raw = msgspec.Raw()
    service: msgspec.Raw = msgspec.Raw()
    group: msgspec.Raw = msgspec.Raw()
    metadata: msgspec.Raw = msgspec.field(name="@metadata", default=msgspec.Raw())


decode_usual = msgspec.json.Decoder(_UsualEvent).decode


class Auditbeat:
    """One ECS object per kernel event."""

    name = "auditbeat"
    source = Source.AUDITD
    programs = PROGRAMS
    begins = (b'{"@timestamp"',)
    first_bytes = b"{"

    def claims(self, payload: bytes) -> bool:
        """An object with the module's part and its serial."""
        return payload[:1] == b"{" and b'"auditd"' in payload and b'"sequence"' in payload

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:
        """The records of the event."""
        found = usual_line(line, decode_usual)
        event: _Event
        if (
            found is not None
            and type(host := found.host.get("name")) is str
            and host
            and len(found.auditd.data) <= UNMAPPED_FIELDS_MAX
            and len(found.tags) <= LIST_MAX
        ):
            event, rest, fields = found, {"host": shown(found.host)}, found.auditd.data
        else:
            value, _ = event_object(line, reading, PROGRAMS)
            event = _field_by_field(value)
            host = text_at(value, "host", "name") or text_at(value, "host", "hostname") or text_at(value, "agent", "hostname")
            rest, fields = unmapped(value, _KNOWN), _texts(event.auditd.data)
        time, serial = utc_time(event.time), event.auditd.sequence
        stamp, keys, parsed = f"{time // 1000}.{time % 1000:03d}:{serial}", event.tags, list[Parsed]()
        for record_type, own, texts in _records(event, fields):
            item = int(own) if record_type == "PATH" else 0
            # In the order of their fields: by name it takes ten times as long.
            body = AuditRecord(record_type, serial, item, texts, keys)
            parsed.append(Parsed(Source.AUDITD, body, time, host, f"{stamp}/{record_type}/{own}", rest))
            keys, rest = (), {}
        return parsed


def _field_by_field(value: dict[str, Any]) -> _Event:
    """What is written otherwise than usual, each field checked."""
    module = value.get("auditd")
    if not isinstance(module, dict) or "sequence" not in module:
        raise UnknownFormat("not an event of the auditd module")
    serial, time = int_at(module, "sequence", maximum=SERIAL_MAX), text_at(value, "@timestamp")
    if serial is None or not time:
        raise SchemaMismatch("an audit event without serial or time")
    process, user, data = value.get("process"), value.get("user"), module.get("data")
    arguments, paths = list_at(process, "args"), list_at(module, "paths")
    session, result, message_type = texts_of(module, "session", "result", "message_type")
    pid, name, executable, title, folder = texts_of(process, "pid", "name", "executable", "title", "working_directory")
    ppid = text_at(process, "parent", "pid") or text_at(process, "ppid")
    return _Event(
        time=time,
        auditd=_Module(serial, message_type, session, result, data if isinstance(data, dict) else {}, paths),
        process=_Process(pid, ppid, _Parent(), name, executable, title, folder, arguments),
        user=_User(text_at(user, "id"), _Id(text_at(user, "effective", "id")), _Id(text_at(user, "audit", "id"))),
        tags=texts_at(value, "tags"),
    )


def _records(event: _Event, fields: dict[str, str]) -> list[tuple[str, str, dict[str, str]]]:
    """Types, what tells each from others of its type, and texts; `fields` are those of the data, and become those of the call."""
    module, process, data = event.auditd, event.process, event.auditd.data
    syscall = data.get("syscall")
    # Of an event that is more than a system call the other record gives the type, and the call stands in the data.
    record_type = "SYSCALL" if "syscall" in data else module.message_type.upper() or "SYSCALL"
    records = [(record_type, "0", fields)]
    if "opid" in data and text_at(data, "opid"):
        receiver = {name: text for name in _OBJECT if (text := text_at(data, name))}
        records.append(("OBJ_PID", receiver["opid"], receiver))
    _to_call(event, fields)
    if process.working_directory:
        records.append(("CWD", "0", {"cwd": process.working_directory}))
    if process.args and (syscall == "execve" or syscall == "execveat"):
        if not all(isinstance(each, str) for each in process.args):
            raise SchemaMismatch("args is not a list of texts")
        texts = {f"a{number}": text[:TEXT_CHARACTERS_MAX] for number, text in enumerate(process.args[:ARGUMENTS_MAX])}
        records.append(("EXECVE", "0", texts))
    if len(module.paths) > RECORDS_MAX:
        raise SchemaMismatch("an event has too many paths")
    for number, path in enumerate(module.paths):
        item = int_at(path, "item", maximum=99_999)
        records.append(("PATH", str(number if item is None else item), _texts(path)))
    return records


def _to_call(event: _Event, fields: dict[str, str]) -> None:
    """The texts of the data become those of the system call."""
    module, process, user = event.auditd, event.process, event.user
    for name in _OBJECT:
        fields.pop(name, None)
    if name := fields.pop("syscall", ""):
        fields["syscall_name"] = name
    if arch := fields.get("arch", ""):
        fields["arch"] = _ARCHES.get(arch, arch)
    # What the kernel said of the process is not replaced by what a program said of itself, which lands in the data under such names.
    texts = (
        process.pid, process.parent.pid or process.ppid, process.name, process.executable, process.title,
        user.id, user.effective.id, user.audit.id or _UNSET, module.session or _UNSET, module.result,
    )  # fmt: skip
    # A strict zip takes twice as long.
    for name, text in zip(_OF_CALL, texts, strict=False):
        if text:
            fields[name] = text if type(text) is str else str(text)


def _texts(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise SchemaMismatch("paths holds something that is no record")
    fields: dict[str, str] = {}
    for name in value if len(value) <= UNMAPPED_FIELDS_MAX else list(value)[:UNMAPPED_FIELDS_MAX]:
        found = value[name]
        kind = type(found)
        if kind is str:
            fields[name] = found[: UNMAPPED_TEXT_LENGTH_MAX if name != "name" else TEXT_CHARACTERS_MAX]
        elif kind is int:
            fields[name] = str(found)
    return fields


FORMAT = Auditbeat()
