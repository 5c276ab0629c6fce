"""An alert of Falco in, as `json_output: true` or falcosidekick writes it; one RuntimeAlert out.

    {"uuid":"..","hostname":"gpu-001","output":"..","output_fields":{"evt.type":"openat","fd.name":"..","proc.cmdline":"..",
     "user.uid":5099,"user.loginuid":-1,..},"priority":"Warning","rule":"..","source":"syscall","tags":[..],"time":"..341081180Z"}

Which fields there are is up to the rule; `null`, `<NA>` and a login of -1 mean absent.  An alert is the rule's opinion, so no kill or
write is made of it: it stands beside what the kernel's audit says.  The event's text (`output`) is made of names that a user chose, so
every field is taken from `output_fields` only.

Holds: time is the event's, UTC, cut to milliseconds; `uuid` (0.38 and later) is its own id; other fields pass through.
Layout: https://falco.org/docs/concepts/outputs/formatting/ and the design's example; not verified on real lines: no sample exists here.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from pipeline.errors import SchemaMismatch, UnknownFormat
from pipeline.formats.fields import unmapped
from pipeline.formats.json_event import PID_MAX, as_usual, event_object, number_of, pid_at, text_at, texts_of, time_at, uid_at, uid_of
from pipeline.formats.line import Line, Reading
from pipeline.formats.syslog import TEXT_CHARACTERS_MAX
from pipeline.model.events import Parsed, RuntimeAlert
from pipeline.model.source import Source

PROGRAMS = ("falco",)
_ABSENT = frozenset({"<NA>", "N/A", ""})
_TAKEN = frozenset({"uuid", "hostname", "output", "output_fields", "priority", "rule", "time"})
_TAKEN_FIELDS = frozenset({
    "evt.time", "evt.time.iso8601", "evt.type", "fd.name", "user.name", "ka.user.name", "user.uid", "user.loginuid", "proc.pid",
    "proc.ppid", "proc.name", "proc.cmdline", "proc.exepath", "container.id", "k8s.ns.name", "ka.target.namespace", "k8s.pod.name",
    "ka.target.name",
})  # fmt: skip


class Falco:
    """One object per alert."""

    name = "falco"
    source = Source.FALCO
    begins = (b'{"uuid"', b'{"hostname"', b'{"output"')
    in_object = True

    def claims(self, payload: bytes) -> bool:
        """An object with rule, priority and output, also behind a prefix."""
        return b'"rule"' in payload and b'"priority"' in payload and b'"output"' in payload

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:
        """One alert."""
        value, host = event_object(line, reading, PROGRAMS)
        if "rule" not in value or "priority" not in value or "output" not in value:
            raise UnknownFormat("an object that is no alert")
        fields = value.get("output_fields") or {}
        if not isinstance(fields, dict):
            raise SchemaMismatch("output_fields is no object")
        payload = line.payload
        if b"NA" in payload or b"/A" in payload or b'""' in payload:  # else none of these is there
            fields = {name: field for name, field in fields.items() if type(field) is not str or field not in _ABSENT}
        return (
            Parsed(
                source=Source.FALCO,
                host=text_at(value, "hostname") or host,
                event_time=time_at(value, "time"),
                own_id=text_at(value, "uuid"),
                body=_alert(value, fields, len(payload)),
                unmapped=unmapped(fields, _TAKEN_FIELDS) | unmapped(value, _TAKEN),
            ),
        )


class _Fields(msgspec.Struct, frozen=True, gc=False):
    """The usual types of what is read of an alert's fields."""

    call: str = msgspec.field(default="", name="evt.type")
    path: str = msgspec.field(default="", name="fd.name")
    user: str = msgspec.field(default="", name="user.name")
    user_of_audit: str = msgspec.field(default="", name="ka.user.name")
    uid: int | None = msgspec.field(default=None, name="user.uid")
    auid: int | None = msgspec.field(default=None, name="user.loginuid")
    pid: int | None = msgspec.field(default=None, name="proc.pid")
    ppid: int | None = msgspec.field(default=None, name="proc.ppid")
    comm: str = msgspec.field(default="", name="proc.name")
    command: str = msgspec.field(default="", name="proc.cmdline")
    exe: str = msgspec.field(default="", name="proc.exepath")
    container: str = msgspec.field(default="", name="container.id")
    namespace: str = msgspec.field(default="", name="k8s.ns.name")
    namespace_of_audit: str = msgspec.field(default="", name="ka.target.namespace")
    pod: str = msgspec.field(default="", name="k8s.pod.name")
    pod_of_audit: str = msgspec.field(default="", name="ka.target.name")


def _alert(value: dict[str, Any], fields: dict[str, Any], size: int) -> RuntimeAlert:
    rule, priority, text = texts_of(value, "rule", "priority", "output")
    usual = (as_usual(fields, _Fields) if size <= TEXT_CHARACTERS_MAX else None) or _field_by_field(fields)
    return RuntimeAlert(  # in the order of its fields: by name it takes ten times as long
        rule,
        priority.lower(),
        text[:TEXT_CHARACTERS_MAX],
        usual.call,
        usual.path,
        usual.user or usual.user_of_audit,
        uid_of(usual.uid, "user.uid"),
        uid_of(usual.auid, "user.loginuid"),
        number_of(usual.pid, "proc.pid", PID_MAX),
        number_of(usual.ppid, "proc.ppid", PID_MAX),
        usual.comm,
        usual.command,
        usual.exe,
        usual.container,
        usual.namespace or usual.namespace_of_audit,
        usual.pod or usual.pod_of_audit,
    )


_NAMES = {field.name: field.encode_name for field in msgspec.structs.fields(_Fields) if field.type is str}
_TEXT_NAMES, _TEXTS = tuple(_NAMES), tuple(_NAMES.values())


def _field_by_field(fields: dict[str, Any]) -> _Fields:
    """The same for what is written otherwise than usual."""
    texts = texts_of(fields, *_TEXTS)
    return _Fields(
        **dict(zip(_TEXT_NAMES, texts, strict=True)),
        uid=uid_at(fields, "user.uid"),
        auid=uid_at(fields, "user.loginuid"),
        pid=pid_at(fields, "proc.pid"),
        ppid=pid_at(fields, "proc.ppid"),
    )


FORMAT = Falco()
