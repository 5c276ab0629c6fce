"""Events of Teleport: who logged in to the bastion, and what went through it."""

import json
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pipeline.errors import DecodeError, RejectedRecord, SchemaMismatch, UnknownFormat
from pipeline.formats import registry
from pipeline.formats.line import Line, Reading
from pipeline.formats.payloads import teleport
from pipeline.model.events import AccessLine, Body, KubernetesRequest, Login, Parsed, SessionChanged, SessionCommand

READING = Reading(zone=ZoneInfo("Asia/Shanghai"), reference_time=1_772_480_460_000)
BASE: dict[str, Any] = {
    "code": "T2000I", "uid": "t-1", "time": "2026-03-02T19:40:41.318Z", "user": "u017", "addr.remote": "10.0.0.7:51234", "ei": 4,
}  # fmt: skip


def parse(event: str, prefix: bytes = b"", **fields: Any) -> Parsed:
    """The event of an object."""
    return parsed(prefix + json.dumps({**BASE, "event": event, **fields}).encode())


def parsed(payload: bytes) -> Parsed:
    """The event of a line."""
    assert teleport.FORMAT.claims(payload)
    (event,) = teleport.FORMAT.parse(Line(payload=payload), READING)
    return event


ROWS: list[tuple[str, dict[str, Any], Body]] = [
    ("user.login", {"success": True, "method": "oidc"},
     Login(user="u017", outcome="accepted", method="oidc", address="10.0.0.7", port=51_234)),
    ("user.login", {"success": False, "method": "local", "addr.remote": "[::1]:7"},
     Login(user="u017", outcome="failed", method="local", address="::1", port=7)),
    ("session.start", {"login": "root", "sid": "s"},
     SessionChanged(user="root", change="opened", service="teleport", by="u017", session="s", address="10.0.0.7")),
    ("session.end", {"sid": "s"},
     SessionChanged(user="u017", change="closed", service="teleport", by="u017", session="s", address="10.0.0.7")),
    ("session.command", {"login": "root", "sid": "s", "pid": 31638, "ppid": 31637, "path": "/usr/bin/kill", "program": "kill",
                         "argv": ["-9", "4711"], "return_code": 0},
     SessionCommand(user="u017", command="kill -9 4711", login="root", session="s", pid=31_638, ppid=31_637, exe="/usr/bin/kill", code=0,
                    address="10.0.0.7")),
    ("exec", {"command": "scancel 48213", "exitCode": "1"},
     SessionCommand(user="u017", command="scancel 48213", code=1, address="10.0.0.7")),
    ("exec", {"command": "nothing", "exitCode": "-1"}, SessionCommand(user="u017", command="nothing", address="10.0.0.7")),
    ("kube.request", {"verb": "DELETE", "resource_kind": "pods", "resource_namespace": "llm", "resource_name": "p-0", "response_code": 200},
     KubernetesRequest(user="u017", verb="delete", resource="pods", namespace="llm", name="p-0", code=200, address="10.0.0.7")),
    ("role.created", {"error": "no"}, AccessLine(what="role.created", program="teleport", user="u017", address="10.0.0.7", text="no")),
]  # fmt: skip


@pytest.mark.parametrize(("event", "fields", "body"), ROWS, ids=[f"{row[0]}-{number}" for number, row in enumerate(ROWS)])
def test_events(event: str, fields: dict[str, Any], body: Body) -> None:
    """The user of the bastion is the actor, also where the account on the server is root."""
    got = parse(event, **fields)
    assert (got.event_time, got.own_id, got.body) == (1_772_480_441_318, "t-1", body)
    assert got.unmapped["code"] == "T2000I"


def test_no_wrapper_opens_it() -> None:
    """A failed login has a message of its own."""
    payload = json.dumps({**BASE, "event": "user.login", "success": False, "message": "a text"}).encode()
    assert [line.payload for line in registry.unwrap(payload, [])] == [payload]


def test_behind_a_prefix() -> None:
    """Teleport can write to syslog; others there are not Teleport."""
    assert parse("exec", b"Mar  2 19:40:42 bastion-1 teleport[8]: ", command="x").host == "bastion-1"
    with pytest.raises(UnknownFormat):
        parse("exec", b"Mar  2 19:40:42 bastion-1 u017[8]: ", command="x")


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        (b'{"event":"exec","code":"T1","uid":"u","time":', DecodeError),
        (b'{"event":"exec","code":7,"uid":"u","time":1}', UnknownFormat),
        (b'{"event":"exec","code":"E7","uid":"u","time":1}', UnknownFormat),
        (b'{"event":"exec","code":"T1","uid":"u","time":"now"}', DecodeError),
        (b'{"event":"exec","code":"T1","uid":"u","time":"2026-03-02T19:40:41Z","argv":"x"}', SchemaMismatch),
        (b'{"event":"exec","code":"T1","uid":"u","time":"2026-03-02T19:40:41Z","pid":-5}', SchemaMismatch),
    ],
)
def test_broken(payload: bytes, error: type[RejectedRecord]) -> None:
    """What is wrong is said."""
    with pytest.raises(error):
        parsed(payload)
