"""Alerts of Wazuh: files that changed, with the one who did it where the kernel told."""

import json
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pipeline.errors import DecodeError, RejectedRecord, SchemaMismatch, UnknownFormat
from pipeline.formats.line import Line, Reading
from pipeline.formats.payloads import wazuh
from pipeline.model.events import FileIntegrity, Parsed, RuntimeAlert

READING = Reading(zone=ZoneInfo("UTC"), reference_time=1_772_480_460_000)
SHA = "AB" * 32
ALERT: dict[str, Any] = {
    "timestamp": "2026-03-03T03:40:41.209+0800", "rule": {"id": "550", "level": 7, "description": "Integrity checksum changed."},
    "agent": {"id": "006", "name": "gpu-001"}, "manager": {"name": "m"}, "id": "1772480441.12345", "full_log": "File changed",
    "decoder": {"name": "syscheck_integrity_changed"}, "location": "syscheck",
    "syscheck": {
        "path": "/lustre/run7/x.pt", "mode": "whodata", "event": "modified", "changed_attributes": ["size", "sha256"], "size_after": "9",
        "sha256_before": SHA, "sha256_after": SHA, "uname_after": "u042",
        "audit": {"login_user": {"id": "5099", "name": "u017"}, "user": {"id": "0", "name": "root"},
                  "process": {"id": "13235", "name": "/usr/bin/vim"}},
    },
}  # fmt: skip


def parse(value: object) -> Parsed:
    """The event of an object."""
    payload = value if isinstance(value, bytes) else json.dumps(value).encode()
    assert wazuh.FORMAT.claims(payload)
    (event,) = wazuh.FORMAT.parse(Line(payload=payload), READING)
    return event


def test_who_changed_a_file() -> None:
    """The login counts, not the owner; an offset without colon is read."""
    event = parse(ALERT)
    assert (event.event_time, event.own_id, event.host) == (1_772_480_441_209, "m/1772480441.12345", "gpu-001")
    assert event.body == FileIntegrity(
        action="written", path="/lustre/run7/x.pt", how="whodata", sha256=SHA.lower(), sha256_before=SHA.lower(), size_bytes=9,
        changed=("size", "sha256"), owner="u042", user="u017", uid=0, auid=5099, pid=13_235, exe="/usr/bin/vim",
    )  # fmt: skip


ROWS: list[tuple[dict[str, Any], str]] = [
    ({"event": "deleted"}, "deleted"),
    ({"event": "added", "changed_attributes": None}, "written"),
    ({"changed_attributes": ["perm", "uid"]}, "attributes"),
]


@pytest.mark.parametrize(("change", "action"), ROWS)
def test_without_the_kernels_word(change: dict[str, Any], action: str) -> None:
    """A scan says what changed and not who: the owner of the file is not accused."""
    body = parse({**ALERT, "syscheck": {**ALERT["syscheck"], "mode": "scheduled", "audit": None, **change}}).body
    assert isinstance(body, FileIntegrity)
    assert (body.action, body.user, body.uid, body.auid, body.owner) == (action, "", None, None, "u042")


def test_other_alerts() -> None:
    """What Wazuh thinks of other logs is an opinion with its text."""
    event = parse({name: field for name, field in ALERT.items() if name != "syscheck"})
    assert event.body == RuntimeAlert(rule="Integrity checksum changed.", priority="7", text="File changed")
    assert event.unmapped["location"] == "syscheck"


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        (b'{"rule":{},"agent":{},"decoder":{', DecodeError),
        (b'{"rule":1,"agent":2,"decoder":3}', UnknownFormat),
        (json.dumps({**ALERT, "syscheck": {"mode": "x"}}).encode(), SchemaMismatch),
        (json.dumps({**ALERT, "syscheck": [1]}).encode(), SchemaMismatch),
        (json.dumps({**ALERT, "timestamp": "Mon"}).encode(), DecodeError),
    ],
)
def test_broken(payload: bytes, error: type[RejectedRecord]) -> None:
    """What is wrong is said."""
    with pytest.raises(error):
        parse(payload)
