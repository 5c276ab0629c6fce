"""Rows of osquery's event tables, told by their columns."""

import json
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pipeline.errors import DecodeError, RejectedRecord, SchemaMismatch, TimestampOutOfRange, UnknownFormat
from pipeline.formats.line import Line, Reading
from pipeline.formats.payloads import osquery
from pipeline.model.events import AccessLine, Body, FileIntegrity, KernelCall, Parsed, ProcessRun

READING = Reading(zone=ZoneInfo("Asia/Shanghai"), reference_time=1_772_480_460_000)
FILE = {
    "target_path": "/lustre/x.pt",
    "action": "UPDATED",
    "sha256": "AB" * 32,
    "uid": "5012",
    "size": "9",
    "md5": "",
    "time": "1772480440",
}


def parse(columns: dict[str, Any], **fields: Any) -> tuple[Parsed, ...]:
    """The events of a result."""
    value = {"name": "pack_x", "hostIdentifier": "gpu-001", "unixTime": 1772480441, "columns": columns, "action": "added", **fields}
    return parsed(json.dumps(value).encode())


def parsed(payload: bytes) -> tuple[Parsed, ...]:
    """The events of a line."""
    assert osquery.FORMAT.claims(payload)
    return tuple(osquery.FORMAT.parse(Line(payload=payload), READING))


RUN = {"pid": "9", "parent": "-1", "uid": "5099", "auid": "4294967295", "path": "/usr/bin/scancel", "syscall": "execve", "env": "TOKEN=x"}
ROWS: list[tuple[str, dict[str, Any], Body]] = [
    ("file_events", FILE,
     FileIntegrity(action="written", path="/lustre/x.pt", how="events", sha256="ab" * 32, size_bytes=9, owner="5012")),
    ("process_file_events", {"operation": "rename", "path": "/a", "dest_path": "/b", "executable": "/bin/mv", "pid": "9", "uid": "5099",
                             "auid": "5099"},
     FileIntegrity(action="renamed", path="/b", how="events", uid=5099, auid=5099, pid=9, exe="/bin/mv")),
    ("process_events", {**RUN, "cmdline": "scancel 48213"},
     ProcessRun(serial=0, arguments=("scancel", "48213"), success=True, pid=9, uid=5099, exe="/usr/bin/scancel")),
    ("quotes", {**RUN, "cmdline": "sh -c 'a b'"},
     ProcessRun(serial=0, arguments=("sh -c 'a b'",), success=True, pid=9, uid=5099, exe="/usr/bin/scancel")),
    ("a signal", {**RUN, "syscall": "tgkill", "auid": "5099", "path": "/usr/bin/bash", "cmdline": ""},
     KernelCall(function="tgkill", pid=9, uid=5099, auid=5099, exe="/usr/bin/bash")),
    ("others", {"username": "u017", "tty": "pts0"}, AccessLine(what="osquery", program="osqueryd", user="u017", text="pack_x")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "columns", "body"), ROWS, ids=[row[0] for row in ROWS])
def test_tables(name: str, columns: dict[str, Any], body: Body) -> None:
    """The owner of a file is not the one who changed it; environments are not kept."""
    (event,) = parse(columns)
    assert name
    assert event.body == body
    assert event.host == "gpu-001"
    assert event.event_time == (1_772_480_440_000 if "time" in columns else 1_772_480_441_000)
    assert "TOKEN" not in repr(event)


def test_what_no_field_of_ours_takes() -> None:
    """Whom a signal reached, as far as the table knows; all of a table that is read as text, but for environments."""
    signal = {**RUN, "syscall": "kill", "comm": "bash", "ocomm": "python3", "oauid": "5012", "oses": "39"}
    assert parse(signal)[0].unmapped == {"syscall": "kill", "comm": "bash", "ocomm": "python3", "oauid": "5012", "oses": "39"}
    clone = {**RUN, "syscall": "clone"}
    assert parse(clone)[0].unmapped == {name: text for name, text in clone.items() if name != "env"}


def test_ids_and_rows_that_went() -> None:
    """A row's number is its id within host, query and time; a removed row is no event."""
    assert parse({**FILE, "eid": "0017"})[0].own_id == "gpu-001/pack_x/0017/1772480440"
    assert parse(FILE)[0].own_id == ""
    assert parse(FILE, action="removed") == ()


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        (b'{"hostIdentifier":"x","columns":{', DecodeError),
        (b'{"hostIdentifier":"x","columns":[]}', UnknownFormat),
        (b'{"hostIdentifier":"x","columns":{}}', SchemaMismatch),
        (b'{"hostIdentifier":"x","name":"q","columns":{"time":"soon"}}', SchemaMismatch),
        (b'{"hostIdentifier":"x","name":"q","columns":{"time":"7"}}', TimestampOutOfRange),
    ],
)
def test_broken(payload: bytes, error: type[RejectedRecord]) -> None:
    """What is wrong is said."""
    with pytest.raises(error):
        parsed(payload)
