"""A result line of osquery in; for event tables a process run or a changed file, for others what they say, out.

    {"name":"pack_x_file_events","hostIdentifier":"gpu-001","unixTime":1772480441,"columns":{"target_path":"/lustre/x.pt",
     "action":"UPDATED","sha256":"..","time":"1772480440"},"action":"added"}

    columns                                table                  gives
    target_path, action                    file_events            FileIntegrity: no actor; `uid` is the owner of the file
    path, operation, pid, executable       process_file_events    FileIntegrity with actor
    cmdline, syscall or parent, pid        process_events         ProcessRun: the command line is one text, cut at blanks unless it quotes
    syscall kill, tkill or tgkill, pid     process_events         KernelCall: who sent a signal; of the receiver the table knows name
                                                                  and login (`ocomm`, `oauid`) only
    others                                                        AccessLine, with all columns beside it

The name of a query is the site's, so tables are told by their columns.  All columns are texts, and empty ones absent.  Results that were
`removed` are not events.  Environments are not kept: they hold secrets.

Holds: time is the row's own, UTC to the second, else the result's; the own id is the row's `eid`, which counts up within a host, with
host, query and time.  Not verified on real lines: no sample exists here.
Layout: github.com/osquery/osquery specs/ (the tables), osquery/tables/events/linux/process_events.cpp (rows of signals),
https://osquery.readthedocs.io/en/stable/deployment/logging/
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec

from pipeline.errors import SchemaMismatch, UnknownFormat
from pipeline.formats.fields import checked_time, shown, unmapped
from pipeline.formats.json_event import Passing, event_object, int_at, number_of, passed, pid_at, text_at, uid_at, usual_line
from pipeline.formats.line import Line, Reading
from pipeline.formats.syslog import TEXT_CHARACTERS_MAX
from pipeline.model.events import AccessLine, FileIntegrity, KernelCall, Parsed, ProcessRun
from pipeline.model.source import Source

PROGRAMS = ("osquery",)
ARGUMENTS_MAX = 1024
_ACTIONS = {
    "CREATED": "written", "UPDATED": "written", "DELETED": "deleted", "MOVED_FROM": "renamed", "MOVED_TO": "renamed",
    "ATTRIBUTES_MODIFIED": "attributes", "OPENED": "read", "ACCESSED": "read",
    "open": "written", "create": "written", "write": "written", "unlink": "deleted", "rename": "renamed", "truncate": "truncated",
    "link": "written", "symlink": "written", "mknod": "written", "read": "read", "close": "read",
}  # fmt: skip
_TAKEN = frozenset({"name", "hostIdentifier", "unixTime", "calendarTime", "columns", "action"})
_SIGNALS = frozenset({"kill", "tkill", "tgkill"})
_SECRET = frozenset({"env", "environment"})
_TAKEN_COLUMNS = _SECRET | frozenset({
    "target_path", "path", "dest_path", "action", "operation", "time", "eid", "sha256", "size", "uid", "auid", "pid", "ppid", "parent",
    "executable", "cmdline",
})  # fmt: skip


_PASSING = "epoch", "counter"
_PASSING_COLUMNS = "category", "md5", "sha1", "transaction_id", "hashed", "mode", "mtime", "atime", "ctime", "gid", "inode"


class _FileEvent(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """The columns of `file_events`."""

    target_path: Annotated[str, msgspec.Meta(min_length=1)]
    action: Annotated[str, msgspec.Meta(min_length=1)]
    category: Passing = None
    md5: Passing = None
    sha1: Passing = None
    sha256: str = ""
    transaction_id: Passing = None
    hashed: Passing = None
    size: str = ""
    mode: Passing = None
    mtime: Passing = None
    atime: Passing = None
    ctime: Passing = None
    gid: Passing = None
    inode: Passing = None
    uid: str = ""
    eid: str = ""
    time: str = ""


class _Row(msgspec.Struct, frozen=True, gc=False, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A changed file of the usual types."""

    name: str = ""
    host: str = msgspec.field(name="hostIdentifier")
    calendar_time: msgspec.Raw = msgspec.Raw()
    unix_time: Annotated[int, msgspec.Meta(ge=0, le=2**40)] | None = None
    epoch: Passing = None
    counter: Passing = None
    numerics: bool | None = None
    columns: _FileEvent
    action: Literal["added"]


decode_usual = msgspec.json.Decoder(_Row).decode


class Osquery:
    """One object per row of an event table."""

    name = "osquery"
    source = Source.OSQUERY
    begins = (b'{"name"',)
    in_object = True

    def claims(self, payload: bytes) -> bool:
        """An object with a host identifier and columns."""
        return b'"hostIdentifier"' in payload and b'"columns"' in payload

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:
        """One event; nothing for a row that went away."""
        if (found := usual_line(line, decode_usual)) is not None:
            return (_usual(found),)
        value, host = event_object(line, reading, PROGRAMS)
        columns = value.get("columns")
        if not isinstance(columns, dict) or "hostIdentifier" not in value:
            raise UnknownFormat("no result of osquery")
        if value.get("action") == "removed":
            return ()
        columns = {name: field for name, field in columns.items() if field not in ("", None)}
        query, event_id = text_at(value, "name"), text_at(columns, "eid")
        seconds = int_at(columns, "time", maximum=2**40)
        if seconds is None:
            seconds = int_at(value, "unixTime", maximum=2**40)
        body = _body(query, columns)
        taken = _SECRET if isinstance(body, AccessLine) else _TAKEN_COLUMNS
        return (
            Parsed(
                source=Source.OSQUERY,
                host=text_at(value, "hostIdentifier") or host,
                event_time=None if seconds is None else checked_time(seconds * 1000),
                own_id=f"{text_at(value, 'hostIdentifier')}/{query}/{event_id}/{seconds}" if event_id else "",
                body=body,
                unmapped={**unmapped(columns, taken), **unmapped(value, _TAKEN)},
            ),
        )


def _usual(row: _Row) -> Parsed:
    columns = row.columns
    seconds = number_of(columns.time, "time", 2**40)
    if seconds is None:
        seconds = row.unix_time
    body = FileIntegrity(
        _ACTIONS.get(columns.action, "written"),
        columns.target_path,
        "events",
        columns.sha256.lower(),
        "",
        number_of(columns.size, "size"),
        (),
        columns.uid,
    )
    some = (
        columns.category, columns.md5, columns.sha1, columns.transaction_id, columns.hashed, columns.mode, columns.mtime, columns.atime,
        columns.ctime, columns.gid, columns.inode,
    )  # fmt: skip
    rest = passed(_PASSING_COLUMNS, [None if each == "" else each for each in some]) | passed(_PASSING, (row.epoch, row.counter))
    if row.numerics is not None:
        rest["numerics"] = shown(row.numerics)
    own_id = f"{row.host}/{row.name}/{columns.eid}/{seconds}" if columns.eid else ""
    return Parsed(Source.OSQUERY, body, None if seconds is None else checked_time(seconds * 1000), row.host, own_id, rest)


def _body(query: str, columns: dict[str, Any]) -> FileIntegrity | ProcessRun | KernelCall | AccessLine:
    if "target_path" in columns and "action" in columns:
        return FileIntegrity(
            action=_ACTIONS.get(text_at(columns, "action"), "written"),
            path=text_at(columns, "target_path"),
            how="events",
            sha256=text_at(columns, "sha256").lower(),
            size_bytes=int_at(columns, "size"),
            owner=text_at(columns, "uid"),
        )
    if "operation" in columns and "path" in columns and "executable" in columns:
        return FileIntegrity(
            action=_ACTIONS.get(text_at(columns, "operation"), "written"),
            path=text_at(columns, "dest_path") or text_at(columns, "path"),
            how="events",
            uid=uid_at(columns, "uid"),
            auid=uid_at(columns, "auid"),
            pid=pid_at(columns, "pid"),
            exe=text_at(columns, "executable"),
        )
    if "cmdline" in columns and "pid" in columns and ("syscall" in columns or "parent" in columns):
        parent = None if columns.get("parent") in ("-1", -1) else pid_at(columns, "parent")
        return ProcessRun(
            serial=0,
            arguments=_split(text_at(columns, "cmdline")),
            success=True,
            pid=pid_at(columns, "pid"),
            ppid=parent,
            uid=uid_at(columns, "uid"),
            auid=uid_at(columns, "auid"),
            exe=text_at(columns, "path"),
        )
    if text_at(columns, "syscall") in _SIGNALS and "pid" in columns:
        return KernelCall(
            function=text_at(columns, "syscall"),
            pid=pid_at(columns, "pid"),
            uid=uid_at(columns, "uid"),
            auid=uid_at(columns, "auid"),
            exe=text_at(columns, "path"),
        )
    if not query:
        raise SchemaMismatch("a result without the name of its query")
    return AccessLine(what="osquery", program="osqueryd", user=text_at(columns, "username"), text=query[:TEXT_CHARACTERS_MAX])


def _split(command: str) -> tuple[str, ...]:
    """The arguments one by one; whole where a quote says that a blank may belong to one of them."""
    if '"' in command or "'" in command:
        return (command,)
    return tuple(command.split(maxsplit=ARGUMENTS_MAX))


FORMAT = Osquery()
