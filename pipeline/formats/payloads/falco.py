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
from functools import lru_cache
from typing import Annotated, Any

import msgspec

from pipeline.errors import SchemaMismatch, UnknownFormat
from pipeline.formats.fields import UNMAPPED_TEXT_LENGTH_MAX, shown, unmapped, utc_time
from pipeline.formats.json_event import (
    PID_MAX,
    UID_MAX,
    UID_UNSET,
    as_usual,
    event_object,
    pid_at,
    text_at,
    texts_of,
    uid_at,
    usual_line,
)
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
        """An object with rule, priority and output, also after a prefix."""
        return b'"rule"' in payload and b'"priority"' in payload and b'"output"' in payload

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:
        """One alert."""
        if (found := usual_line(line, decode_usual)) is not None and (event := _usual(found)) is not None:
            return (event,)
        value, host = event_object(line, reading, PROGRAMS)
        if "rule" not in value or "priority" not in value or "output" not in value:
            raise UnknownFormat("an object that is no alert")
        fields = value.get("output_fields") or {}
        if not isinstance(fields, dict):
            raise SchemaMismatch("output_fields is no object")
        told = value
        if absent := {name for name, field in fields.items() if type(field) is str and field in _ABSENT}:
            fields = {name: field for name, field in fields.items() if name not in absent}
            told = {**value, "output_fields": fields}
        usual = as_usual(told, _Alert) if len(line.payload) <= TEXT_CHARACTERS_MAX else None
        alert = usual or _field_by_field(value, fields)
        rest = unmapped(fields, _TAKEN_FIELDS)
        rest.update(unmapped(value, _TAKEN))
        time = utc_time(alert.time) if alert.time else None
        return (Parsed(Source.FALCO, _alert(alert, alert.output_fields), time, alert.hostname or host, alert.uuid, rest),)


_Pid = Annotated[int, msgspec.Meta(ge=0, le=PID_MAX)] | None
_Text = str | None  # some rules name fields that the call has not
_Passing = Annotated[str, msgspec.Meta(max_length=UNMAPPED_TEXT_LENGTH_MAX)]
_Uid = Annotated[int, msgspec.Meta(ge=-1, le=UID_UNSET)] | None


class _Fields(msgspec.Struct, frozen=True, gc=False):
    """The usual types of what is read of an alert's fields."""

    call: _Text = msgspec.field(default="", name="evt.type")
    path: _Text = msgspec.field(default="", name="fd.name")
    user: _Text = msgspec.field(default="", name="user.name")
    user_of_audit: _Text = msgspec.field(default="", name="ka.user.name")
    uid: _Uid = msgspec.field(default=None, name="user.uid")
    auid: _Uid = msgspec.field(default=None, name="user.loginuid")
    pid: _Pid = msgspec.field(default=None, name="proc.pid")
    ppid: _Pid = msgspec.field(default=None, name="proc.ppid")
    comm: _Text = msgspec.field(default="", name="proc.name")
    command: _Text = msgspec.field(default="", name="proc.cmdline")
    exe: _Text = msgspec.field(default="", name="proc.exepath")
    container: _Text = msgspec.field(default="", name="container.id")
    namespace: _Text = msgspec.field(default="", name="k8s.ns.name")
    namespace_of_audit: _Text = msgspec.field(default="", name="ka.target.namespace")
    pod: _Text = msgspec.field(default="", name="k8s.pod.name")
    pod_of_audit: _Text = msgspec.field(default="", name="ka.target.name")


class _Alert(msgspec.Struct, frozen=True, gc=False):
    """The same of an alert."""

    rule: str = ""
    priority: str = ""
    output: str = ""
    time: str = ""
    uuid: str = ""
    hostname: str = ""
    output_fields: _Fields = _Fields()


class _UsualFields(_Fields, frozen=True, gc=False, forbid_unknown_fields=True):
    """The same where the rest is what the rules that Falco comes with add."""

    time: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="evt.time")
    iso_time: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="evt.time.iso8601")
    parent: _Passing | None = msgspec.field(default="", name="proc.pname")
    terminal: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] | None = msgspec.field(default=None, name="proc.tty")
    flags: _Passing | None = msgspec.field(default="", name="evt.arg.flags")
    container_name: _Passing | None = msgspec.field(default="", name="container.name")
    image: _Passing | None = msgspec.field(default="", name="container.image.repository")
    image_tag: _Passing | None = msgspec.field(default="", name="container.image.tag")


class _UsualAlert(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """No key but Falco's own."""

    rule: str
    priority: str
    output: str
    time: str = ""
    uuid: str = ""
    hostname: str = ""
    output_fields: _UsualFields = _UsualFields()
    source: _Passing | None = None
    tags: tuple[str, ...] | None = None


decode_usual = msgspec.json.Decoder(_UsualAlert).decode


def _usual(alert: _UsualAlert) -> Parsed | None:
    """An alert of the usual types; None where a text means that there is none."""
    some = alert.output_fields
    texts = (
        some.call, some.path, some.user, some.user_of_audit, some.comm, some.command, some.exe, some.container, some.namespace,
        some.namespace_of_audit, some.pod, some.pod_of_audit, some.parent, some.flags, some.container_name, some.image, some.image_tag,
    )  # fmt: skip
    if "<NA>" in texts or "N/A" in texts:
        return None
    rest = {"proc.pname": some.parent} if some.parent else {}
    if some.terminal is not None:
        rest["proc.tty"] = str(some.terminal)
    if some.flags or some.container_name or some.image or some.image_tag:
        rest |= {
            name: text for name, text in zip(_PASSING, (some.flags, some.container_name, some.image, some.image_tag), strict=True) if text
        }
    if alert.source is not None:
        rest["source"] = alert.source
    if alert.tags is not None:
        rest["tags"] = _shown(alert.tags)
    time = utc_time(alert.time) if alert.time else None
    return Parsed(Source.FALCO, _alert(alert, some), time, alert.hostname, alert.uuid, rest)


_PASSING = "evt.arg.flags", "container.name", "container.image.repository", "container.image.tag"


@lru_cache(maxsize=256)
def _shown(tags: tuple[str, ...]) -> str:
    """They are the rule's."""
    return shown(tags)


def _field_by_field(value: dict[str, Any], fields: dict[str, Any]) -> _Alert:
    """What is written otherwise than usual."""
    rule, priority, output, time, uuid, hostname = texts_of(value, "rule", "priority", "output", "time", "uuid", "hostname")
    read = _Fields(
        call=text_at(fields, "evt.type"),
        path=text_at(fields, "fd.name"),
        user=text_at(fields, "user.name"),
        user_of_audit=text_at(fields, "ka.user.name"),
        uid=uid_at(fields, "user.uid"),
        auid=uid_at(fields, "user.loginuid"),
        pid=pid_at(fields, "proc.pid"),
        ppid=pid_at(fields, "proc.ppid"),
        comm=text_at(fields, "proc.name"),
        command=text_at(fields, "proc.cmdline"),
        exe=text_at(fields, "proc.exepath"),
        container=text_at(fields, "container.id"),
        namespace=text_at(fields, "k8s.ns.name"),
        namespace_of_audit=text_at(fields, "ka.target.namespace"),
        pod=text_at(fields, "k8s.pod.name"),
        pod_of_audit=text_at(fields, "ka.target.name"),
    )
    return _Alert(rule, priority, output, time, uuid, hostname, read)


def _alert(alert: _Alert | _UsualAlert, fields: _Fields) -> RuntimeAlert:
    uid, auid = fields.uid, fields.auid
    return RuntimeAlert(  # in the order of its fields: by name it takes ten times as long
        alert.rule,
        alert.priority.lower(),
        alert.output[:TEXT_CHARACTERS_MAX],
        fields.call or "",
        fields.path or "",
        fields.user or fields.user_of_audit or "",
        uid if uid is None or 0 <= uid <= UID_MAX else None,
        auid if auid is None or 0 <= auid <= UID_MAX else None,
        fields.pid,
        fields.ppid,
        fields.comm or "",
        fields.command or "",
        fields.exe or "",
        fields.container or "",
        fields.namespace or fields.namespace_of_audit or "",
        fields.pod or fields.pod_of_audit or "",
    )


FORMAT = Falco()
