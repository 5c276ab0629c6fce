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

from collections.abc import Iterator, Sequence
from typing import Any

from pipeline.errors import SchemaMismatch, UnknownFormat
from pipeline.formats.fields import UNMAPPED_FIELDS_MAX, UNMAPPED_TEXT_LENGTH_MAX, unmapped
from pipeline.formats.json_event import TEXT_CHARACTERS_MAX, event_object, int_at, list_at, text_at, texts_at, texts_of, time_at
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
        value, _ = event_object(line, reading, PROGRAMS)
        module = value.get("auditd")
        if not isinstance(module, dict) or "sequence" not in module:
            raise UnknownFormat("not an event of the auditd module")
        serial, time = int_at(module, "sequence", maximum=SERIAL_MAX), time_at(value, "@timestamp")
        if serial is None or time is None:
            raise SchemaMismatch("an audit event without serial or time")
        stamp = f"{time // 1000}.{time % 1000:03d}:{serial}"
        keys = texts_at(value, "tags")
        host = text_at(value, "host", "name") or text_at(value, "host", "hostname") or text_at(value, "agent", "hostname")
        rest = unmapped(value, _KNOWN)
        return tuple(
            Parsed(
                source=Source.AUDITD,
                host=host,
                event_time=time,
                own_id=f"{stamp}/{record_type}/{own}",
                body=AuditRecord(
                    record_type=record_type,
                    serial=serial,
                    item=int(own) if record_type == "PATH" else 0,
                    fields=fields,
                    keys=keys if number == 0 else (),
                ),
                unmapped=rest if number == 0 else {},
            )
            for number, (record_type, own, fields) in enumerate(_records(value, module))
        )


def _records(value: dict[str, Any], module: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, str]]]:
    record_type = text_at(module, "message_type").upper() or "SYSCALL"
    data = module.get("data")
    data = data if isinstance(data, dict) else {}
    call = _call(value, module, data)
    # Of an event that is more than a system call the other record gives the type, and the call stands in the data.
    yield ("SYSCALL" if "syscall" in data else record_type), "0", call
    if text_at(data, "opid"):
        receiver = {name: text for name in _OBJECT if (text := text_at(data, name))}
        yield "OBJ_PID", receiver["opid"], receiver
    if folder := text_at(value, "process", "working_directory"):
        yield "CWD", "0", {"cwd": folder}
    arguments = list_at(value, "process", "args")
    if arguments and text_at(data, "syscall") in {"execve", "execveat"}:
        if not all(isinstance(each, str) for each in arguments):
            raise SchemaMismatch("args is not a list of texts")
        yield "EXECVE", "0", {f"a{number}": text[:TEXT_CHARACTERS_MAX] for number, text in enumerate(arguments[:ARGUMENTS_MAX])}
    paths = list_at(module, "paths")
    if len(paths) > RECORDS_MAX:
        raise SchemaMismatch("an event has too many paths")
    for number, path in enumerate(paths):
        item = int_at(path, "item", maximum=99_999)
        yield "PATH", str(number if item is None else item), _texts(path)


def _call(value: dict[str, Any], module: dict[str, Any], data: dict[str, Any]) -> dict[str, str]:
    fields = _texts(data)
    for name in _OBJECT:
        fields.pop(name, None)
    if name := fields.pop("syscall", ""):
        fields["syscall_name"] = name
    if arch := fields.get("arch", ""):
        fields["arch"] = _ARCHES.get(arch, arch)
    process, user = value.get("process"), value.get("user")
    pid, *named = texts_of(process, "pid", "name", "executable", "title")
    ppid = text_at(process, "parent", "pid") or text_at(process, "ppid")
    uid, euid, auid = text_at(user, "id"), text_at(user, "effective", "id"), text_at(user, "audit", "id") or _UNSET
    session, result = texts_of(module, "session", "result")
    # What the kernel said of the process is not replaced by what a program said of itself, which lands in the data under such names.
    for name, text in zip(_OF_CALL, (pid, ppid, *named, uid, euid, auid, session or _UNSET, result), strict=True):
        if text:
            fields[name] = text
    return fields


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
