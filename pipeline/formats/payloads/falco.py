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

from pipeline.errors import SchemaMismatch, UnknownFormat
from pipeline.formats.fields import unmapped
from pipeline.formats.json_event import event_object, pid_at, text_at, texts_of, time_at, uid_at
from pipeline.formats.line import Line, Reading
from pipeline.formats.syslog import TEXT_CHARACTERS_MAX
from pipeline.model.events import Parsed, RuntimeAlert
from pipeline.model.source import Source

PROGRAMS = ("falco",)
_ABSENT = frozenset({"<NA>", "N/A", ""})
_TAKEN = frozenset({"uuid", "hostname", "output", "output_fields", "priority", "rule", "time"})
_TEXTS = ("evt.type", "fd.name", "user.name", "proc.name", "proc.cmdline", "proc.exepath", "container.id")
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
        fields = {name: field for name, field in fields.items() if field is not None and (type(field) is not str or field not in _ABSENT)}
        return (
            Parsed(
                source=Source.FALCO,
                host=text_at(value, "hostname") or host,
                event_time=time_at(value, "time"),
                own_id=text_at(value, "uuid"),
                body=_alert(value, fields),
                unmapped={**unmapped(fields, _TAKEN_FIELDS), **unmapped(value, _TAKEN)},
            ),
        )


def _alert(value: dict[str, Any], fields: dict[str, Any]) -> RuntimeAlert:
    rule, priority, text = texts_of(value, "rule", "priority", "output")
    call, path, user, comm, command, exe, container = texts_of(fields, *_TEXTS)
    return RuntimeAlert(
        rule=rule,
        priority=priority.lower(),
        text=text[:TEXT_CHARACTERS_MAX],
        call=call,
        path=path,
        user=user or text_at(fields, "ka.user.name"),
        uid=uid_at(fields, "user.uid"),
        auid=uid_at(fields, "user.loginuid"),
        pid=pid_at(fields, "proc.pid"),
        ppid=pid_at(fields, "proc.ppid"),
        comm=comm,
        command=command,
        exe=exe,
        container=container,
        namespace=text_at(fields, "k8s.ns.name") or text_at(fields, "ka.target.namespace"),
        pod=text_at(fields, "k8s.pod.name") or text_at(fields, "ka.target.name"),
    )


FORMAT = Falco()
