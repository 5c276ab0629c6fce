"""The audit of the JumpServer bastion: who logged in to it, and what went through it."""

import json
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pipeline.errors import DecodeError, RejectedRecord, SchemaMismatch, TimestampOutOfRange, UnknownFormat
from pipeline.formats import registry
from pipeline.formats.line import Line, Reading
from pipeline.formats.payloads import jumpserver
from pipeline.model.events import AccessLine, Body, Login, Parsed, SessionChanged, SessionCommand
from pipeline.model.source import FAMILIES, Source

AT = 1_772_451_641_000  # 2026-03-02T19:40:41 in Shanghai
READING = Reading(zone=ZoneInfo("Asia/Shanghai"), reference_time=AT + 5_000)
WHEN = "2026/03/02 19:40:41 +0800"


def parsed(text: str, program: str = "") -> Parsed:
    """The event of a line."""
    payload = text.encode()
    assert jumpserver.FORMAT.claims(payload)
    (event,) = jumpserver.FORMAT.parse(Line(payload=payload, program=program), READING)
    return event


def parse(category: str, prefix: str = "<14>osm: ", **fields: Any) -> Parsed:
    """The event of an object."""
    return parsed(f"{prefix}{category}_log - {json.dumps(fields)}")


ACTED = {"user": "a name(u017)", "asset": "gpu-001(10.0.0.7)", "account": "root(root)", "remote_addr": "10.0.0.5", "id": "i-1"}
ROWS: list[tuple[str, dict[str, Any], Body]] = [
    ("login", {"id": "i-1", "username": "u017", "ip": "10.0.0.5", "status": True, "backend": "Password", "datetime": WHEN},
     Login(user="u017", outcome="accepted", method="Password", address="10.0.0.5")),
    ("login", {"id": "i-1", "username": "u017", "ip": "10.0.0.5", "status": {"value": False, "label": "失败"}, "datetime": WHEN},
     Login(user="u017", outcome="failed", address="10.0.0.5")),
    ("login", {"id": "i-1", "username": "u017", "ip": "10.0.0.5", "status": {"value": True, "label": "成功"}, "datetime": WHEN},
     Login(user="u017", outcome="accepted", address="10.0.0.5")),
    ("login", {"id": "i-1", "username": "u017", "ip": "10.0.0.5", "datetime": WHEN},
     Login(user="u017", outcome="failed", address="10.0.0.5")),
    ("host_session", {**ACTED, "is_finished": False, "date_start": WHEN, "date_end": None},
     SessionChanged(user="root", change="opened", service="jumpserver", by="u017", session="i-1", address="10.0.0.5")),
    ("host_session", {**ACTED, "is_finished": True, "date_start": "2026/03/02 18:00:00 +0800", "date_end": WHEN},
     SessionChanged(user="root", change="closed", service="jumpserver", by="u017", session="i-1", address="10.0.0.5")),
    ("session_command", {**ACTED, "input": "kill -9 4711", "output": "x", "session": "s-1", "timestamp": AT // 1000, "risk_level": 0},
     SessionCommand(user="u017", command="kill -9 4711", login="root", session="s-1", address="10.0.0.5")),
    ("session_command", {"id": "i-1", "user": "u017", "asset": "gpu-001(10.0.0.7)", "system_user": "root", "input": "w",
                         "timestamp_display": WHEN},
     SessionCommand(user="u017", command="w", login="root")),
    ("ftp", {**ACTED, "operate": "Delete", "filename": "/ckpt/a b.pt", "is_success": True, "date_start": WHEN},
     SessionCommand(user="u017", command="sftp delete /ckpt/a b.pt", login="root", address="10.0.0.5")),
    ("operation", {**ACTED, "action": {"value": "delete", "label": "删除"}, "resource_type": "Asset permission", "resource": "llm",
                   "datetime": WHEN},
     AccessLine(what="delete Asset permission", program="jumpserver", user="u017", address="10.0.0.5", text="llm")),
    ("password_change", {"id": "i-1", "user": "x(u012)", "change_by": "a name(u017)", "remote_addr": "10.0.0.5", "datetime": WHEN},
     AccessLine(what="password changed", program="jumpserver", user="u017", address="10.0.0.5", text="u012")),
]  # fmt: skip


@pytest.mark.parametrize(("category", "fields", "body"), ROWS, ids=[f"{row[0]}-{number}" for number, row in enumerate(ROWS)])
def test_events(category: str, fields: dict[str, Any], body: Body) -> None:
    """Every category, with values bare and labelled, in the names of old and new releases."""
    got = parse(category, **fields)
    assert (got.source, got.event_time, got.body) == (Source.TELEPORT, AT, body)
    assert got.own_id.startswith(f"jumpserver/{category}/i-1")
    assert got.unmapped["bastion"] == "jumpserver"


def test_the_two_ends_of_a_session_are_two_events() -> None:
    """They are two states of one record with one id."""
    opened = parse("host_session", **ACTED, is_finished=False, date_start=WHEN)
    closed = parse("host_session", **ACTED, is_finished=True, date_start=WHEN, date_end=WHEN)
    assert opened.own_id != closed.own_id


@pytest.mark.parametrize(
    ("user", "login"),
    [
        ("a name(u017)", "u017"),
        ("root(root)(u017)", "u017"),
        ("a) (b(u017)", "u017"),
        ("u012(u012) from 10.0.0.1(u017)", "u017"),
        ("u017", "u017"),
        ("(u017)", "(u017)"),
        ("a(u017", "a(u017"),
        ("", ""),
    ],
)
def test_a_display_name_names_nobody_else(user: str, login: str) -> None:
    """The name before the login is the user's own to choose."""
    fields: dict[str, Any] = {**ACTED, "user": user, "input": "w", "timestamp": AT // 1000}
    body = parse("session_command", **fields).body
    assert isinstance(body, SessionCommand)
    assert body.user == login


@pytest.mark.parametrize(
    "prefix", ["<14>osm: ", "jumpserver: ", "Mar  2 19:40:42 jump-1 osm: ", "2026-03-02T19:40:42+08:00 jump-1 osm[8]: ", ""]
)
def test_prefixes(prefix: str) -> None:
    """As Python's handler sends it, behind a prefix of the system log, and bare; the object's own time holds."""
    assert parse("session_command", prefix, **ACTED, input="w", timestamp=AT // 1000).event_time == AT


def test_host() -> None:
    """The asset where its name is a host's, else the bastion."""
    assert parse("session_command", **ACTED, input="w", timestamp=AT // 1000).host == "gpu-001"
    elsewhere: dict[str, Any] = {**ACTED, "asset": "节点 1(10.0.0.7)", "input": "w"}
    assert parse("session_command", "Mar  2 19:40:42 jump-1 osm: ", **elsewhere).host == "jump-1"


@pytest.mark.parametrize(
    "when", [WHEN, "2026-03-02T11:40:41Z", "2026-03-02 19:40:41", "2026/03/02 19:40:41+08:00", "2026-03-02T19:40:41.000+08:00"]
)
def test_times(when: str) -> None:
    """In the forms of several releases; without offset it is the server's zone."""
    assert parse("operation", **ACTED, action="view", datetime=when).event_time == AT


def test_from_a_wrapper() -> None:
    """A system log that the shipper took apart."""
    value = {
        "@timestamp": "2026-03-02T19:40:42+08:00",
        "host": "jump-1",
        "program": "osm",
        "message": 'login_log - {"username":"u017","status":true}',
    }
    (line,) = registry.unwrap(json.dumps(value).encode(), [])
    format_, (event,) = registry.parse(line, READING, allowed=FAMILIES["access"])
    assert (format_.name, event.host) == ("jumpserver", "jump-1")
    assert event.body == Login(user="u017", outcome="accepted")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('Mar  2 19:40:42 gpu-001 u017[9]: login_log - {"username":"u012","status":true}', UnknownFormat),
        ('osm: other_log - {"username":"u012"}', UnknownFormat),
        ('osm: a login_log - {"username":"u012"}', UnknownFormat),
        ('osm: login_log - {"username":', DecodeError),
        ('osm: login_log - {"username":["u012"]}', SchemaMismatch),
        ('osm: session_command_log - {"user":"u017","timestamp":-1}', SchemaMismatch),
        ('osm: session_command_log - {"user":"u017","timestamp":7}', TimestampOutOfRange),
        ('osm: operation_log - {"user":"u017","datetime":"9999-02-31 00:00:00"}', DecodeError),
    ],
)
def test_broken(text: str, error: type[RejectedRecord]) -> None:
    """Lines of others, and what is wrong."""
    with pytest.raises(error):
        parsed(text)
