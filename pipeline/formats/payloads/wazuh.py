"""An alert of Wazuh in; a FileIntegrity for those of its file watcher, a RuntimeAlert for the others out.

    {"timestamp":"2026-03-02T19:40:41.209+0800","rule":{"id":"550","level":7,"description":".."},"agent":{"id":"006","name":"gpu-001"},
     "id":"1772480441.12345","syscheck":{"path":"/lustre/run7/x.pt","mode":"whodata","event":"modified","changed_attributes":["sha256"],
     "sha256_before":"..","sha256_after":"..","audit":{"login_user":{"id":"5099","name":"u017"},"user":{..},"process":{..}}}}

Who changed the file is known in `whodata` mode only, where the kernel's audit told it; `uname_after` is the owner of the file, not the
actor.  `scheduled` finds a change at the next scan: its time is when it was found, not when it happened.  The offset has no colon.

Holds: `id` with its manager is the own id; times carry their offset.  Not verified on real lines: no sample exists here but the
documented example.
Layout: https://documentation.wazuh.com/current/user-manual/capabilities/file-integrity/
"""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from pipeline.errors import SchemaMismatch, UnknownFormat
from pipeline.formats.fields import shown, unmapped, utc_time
from pipeline.formats.json_event import (
    LIST_MAX,
    NUMBER_MAX,
    PID_MAX,
    Passing,
    as_usual,
    event_object,
    int_at,
    number_of,
    text_at,
    texts_at,
    time_at,
    uid_at,
    uid_of,
    usual_line,
)
from pipeline.formats.line import Line, Reading
from pipeline.formats.syslog import TEXT_CHARACTERS_MAX
from pipeline.model.events import FileIntegrity, Parsed, RuntimeAlert
from pipeline.model.source import Source

PROGRAMS = ("wazuh", "ossec")
_ACTIONS = {"added": "written", "modified": "written", "deleted": "deleted"}
_CONTENT = frozenset({"size", "sha256", "sha1", "md5", "mtime", "inode"})
_TAKEN = frozenset({"timestamp", "agent", "id", "syscheck", "full_log", "manager"})


class _Somebody(msgspec.Struct, frozen=True, gc=False):
    """A user or a process."""

    id: str = ""
    name: str = ""


class _Audit(msgspec.Struct, frozen=True, gc=False):
    """What the kernel told."""

    user: _Somebody = _Somebody()
    login_user: _Somebody = _Somebody()
    process: _Somebody = _Somebody()


class _Syscheck(msgspec.Struct, frozen=True, gc=False):
    """The usual types of what is read of a changed file."""

    path: str
    mode: str = ""
    event: str = ""
    changed_attributes: tuple[str, ...] = ()
    size_after: str = ""
    sha256_before: str = ""
    sha256_after: str = ""
    uname_after: str = ""
    audit: _Audit = _Audit()


_Whole = Annotated[int, msgspec.Meta(ge=-NUMBER_MAX, le=NUMBER_MAX)]


class _Agent(msgspec.Struct, frozen=True, gc=False):
    name: str = ""


class _Alert(msgspec.Struct, frozen=True, gc=False, kw_only=True, forbid_unknown_fields=True):
    """An alert of the file watcher, of the usual types."""

    timestamp: str = ""
    rule: dict[str, str | bool | _Whole | list[str] | dict[str, list[str]]]
    agent: _Agent
    manager: _Agent = _Agent()
    id: str = ""
    full_log: msgspec.Raw = msgspec.Raw()
    syscheck: _Syscheck
    decoder: dict[str, str]
    location: Passing = None


decode_usual = msgspec.json.Decoder(_Alert).decode


class Wazuh:
    """One object per alert."""

    name = "wazuh"
    source = Source.WAZUH
    begins = (b'{"timestamp"',)
    in_object = True

    def claims(self, payload: bytes) -> bool:
        """An object with a rule, an agent and a decoder."""
        return b'"rule"' in payload and b'"agent"' in payload and b'"decoder"' in payload

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:
        """One alert."""
        if (found := usual_line(line, decode_usual)) is not None and (changed := _usual(found.syscheck)) is not None:
            rest = {"rule": shown(found.rule), "decoder": shown(found.decoder)}
            if found.location is not None:
                rest["location"] = str(found.location)
            own_id = f"{found.manager.name}/{found.id}" if found.id else ""
            time = utc_time(found.timestamp) if found.timestamp else None
            return (Parsed(Source.WAZUH, changed, time, found.agent.name, own_id, rest),)
        value, host = event_object(line, reading, PROGRAMS)
        if not (type(value.get("rule")) is type(value.get("agent")) is type(value.get("decoder")) is dict):
            raise UnknownFormat("no alert of Wazuh")
        host = text_at(value["agent"], "name") or host
        own_id = f"{text_at(value, 'manager', 'name')}/{alert}" if (alert := text_at(value, "id")) else ""
        time = time_at(value, "timestamp")
        body = _changed(value, line) if value.get("syscheck") else _alert(value)
        return (Parsed(Source.WAZUH, body, time, host, own_id, unmapped(value, _TAKEN)),)


def _changed(value: dict[str, Any], line: Line) -> FileIntegrity:
    found = value["syscheck"]
    usual = as_usual(found, _Syscheck) if len(line.payload) <= TEXT_CHARACTERS_MAX else None
    return (usual and _usual(usual)) or _field_by_field(found)


def _usual(usual: _Syscheck) -> FileIntegrity | None:
    if not usual.path or len(usual.changed_attributes) > LIST_MAX:
        return None
    audit = usual.audit
    user, login, process = audit.user, audit.login_user, audit.process
    return FileIntegrity(  # in the order of its fields: by name it takes ten times as long
        _action(usual.event, usual.changed_attributes),
        usual.path,
        usual.mode,
        usual.sha256_after.lower(),
        usual.sha256_before.lower(),
        number_of(usual.size_after or None, "size_after"),
        usual.changed_attributes,
        usual.uname_after,
        login.name or user.name,
        uid_of(user.id or None, "id"),
        uid_of(login.id or None, "id"),
        number_of(process.id or None, "id", PID_MAX),
        process.name,
    )


def _field_by_field(found: object) -> FileIntegrity:
    """The same for what is written otherwise than usual."""
    if not isinstance(found, dict) or not (path := text_at(found, "path")):
        raise SchemaMismatch("a changed file without path")
    changed = texts_at(found, "changed_attributes")
    audit = found.get("audit")
    return FileIntegrity(
        action=_action(text_at(found, "event"), changed),
        path=path,
        how=text_at(found, "mode"),
        sha256=text_at(found, "sha256_after").lower(),
        sha256_before=text_at(found, "sha256_before").lower(),
        size_bytes=int_at(found, "size_after"),
        changed=changed,
        owner=text_at(found, "uname_after"),
        user=text_at(audit, "login_user", "name") or text_at(audit, "user", "name"),
        uid=uid_at(audit, "user", "id"),
        auid=uid_at(audit, "login_user", "id"),
        pid=int_at(audit, "process", "id", maximum=PID_MAX),
        exe=text_at(audit, "process", "name"),
    )


def _action(event: str, changed: Sequence[str]) -> str:
    action = _ACTIONS.get(event, "written")
    return "attributes" if action == "written" and changed and _CONTENT.isdisjoint(changed) else action


def _alert(value: dict[str, Any]) -> RuntimeAlert:
    return RuntimeAlert(
        rule=text_at(value, "rule", "description") or text_at(value, "rule", "id"),
        priority=text_at(value, "rule", "level"),
        text=text_at(value, "full_log")[:TEXT_CHARACTERS_MAX],
    )


FORMAT = Wazuh()
