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
from typing import Any

from pipeline.errors import SchemaMismatch, UnknownFormat
from pipeline.formats.fields import unmapped
from pipeline.formats.json_event import event_object, int_at, pid_at, text_at, texts_at, texts_of, time_at, uid_at
from pipeline.formats.line import Line, Reading
from pipeline.formats.syslog import TEXT_CHARACTERS_MAX
from pipeline.model.events import FileIntegrity, Parsed, RuntimeAlert
from pipeline.model.source import Source

PROGRAMS = ("wazuh", "ossec")
_ACTIONS = {"added": "written", "modified": "written", "deleted": "deleted"}
_CONTENT = frozenset({"size", "sha256", "sha1", "md5", "mtime", "inode"})
_TAKEN = frozenset({"timestamp", "agent", "id", "syscheck", "full_log", "manager"})


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
        value, host = event_object(line, reading, PROGRAMS)
        if not (type(value.get("rule")) is type(value.get("agent")) is type(value.get("decoder")) is dict):
            raise UnknownFormat("no alert of Wazuh")
        return (
            Parsed(
                source=Source.WAZUH,
                host=text_at(value, "agent", "name") or host,
                event_time=time_at(value, "timestamp"),
                own_id=f"{text_at(value, 'manager', 'name')}/{alert}" if (alert := text_at(value, "id")) else "",
                body=_changed(value) if value.get("syscheck") else _alert(value),
                unmapped=unmapped(value, _TAKEN),
            ),
        )


def _changed(value: dict[str, Any]) -> FileIntegrity:
    found = value["syscheck"]
    if not isinstance(found, dict) or not (path := text_at(found, "path")):
        raise SchemaMismatch("a changed file without path")
    changed = texts_at(found, "changed_attributes")
    action = _ACTIONS.get(text_at(found, "event"), "written")
    if action == "written" and changed and not _CONTENT.intersection(changed):
        action = "attributes"
    audit = found.get("audit")
    how, after, before, owner = texts_of(found, "mode", "sha256_after", "sha256_before", "uname_after")
    return FileIntegrity(
        action=action,
        path=path,
        how=how,
        sha256=after.lower(),
        sha256_before=before.lower(),
        size_bytes=int_at(found, "size_after"),
        changed=changed,
        owner=owner,
        user=text_at(audit, "login_user", "name") or text_at(audit, "user", "name"),
        uid=uid_at(audit, "user", "id"),
        auid=uid_at(audit, "login_user", "id"),
        pid=pid_at(audit, "process", "id"),
        exe=text_at(audit, "process", "name"),
    )


def _alert(value: dict[str, Any]) -> RuntimeAlert:
    return RuntimeAlert(
        rule=text_at(value, "rule", "description") or text_at(value, "rule", "id"),
        priority=text_at(value, "rule", "level"),
        text=text_at(value, "full_log")[:TEXT_CHARACTERS_MAX],
    )


FORMAT = Wazuh()
