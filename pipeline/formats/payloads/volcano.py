"""An object of Volcano's own kinds in; what its controllers are told, or tell, of a job out.

    {"kind":"Command","apiVersion":"bus.volcano.sh/v1alpha1","metadata":{..},"action":"AbortJob","target":{"kind":"Job","name":"run7",..}}
    {"kind":"Job","apiVersion":"batch.volcano.sh/v1alpha1","metadata":{..},"status":{"state":{"phase":"Aborted",..},"conditions":[..]}}
    {"kind":"PodGroup","apiVersion":"scheduling.volcano.sh/v1beta1","metadata":{..},"status":{"conditions":[{"type":"Unschedulable",..}]}}

Volcano's *events* (`Evict` on a pod or a group, `CommandIssued`, `PodEvicted`, `ExecuteAction` on a job) have the shape of all events of
Kubernetes and are read by `kubernetes_events`.  Here is what they leave out: a Command says which action `vcctl job suspend`, `resume`
or a controller asked for, on which job (its reason is the action); the conditions of a Job and of a PodGroup say when each phase began.
None names a person: who made the Command stands in the API server's audit log, as a create of `commands.bus.volcano.sh`.

Alone, in a list, or in a watch's wrapper, as `kubernetes_events` has them.  A Command is deleted as soon as it is read, so that only a
watch sees it.

Holds: linear time; a list stops at ITEMS_MAX, conditions at CONDITIONS_MAX.  Not verified on real lines.
Layout: github.com/volcano-sh/apis pkg/apis (bus/v1alpha1, batch/v1alpha1, scheduling/v1beta1), by their code.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from pipeline.errors import UnknownFormat
from pipeline.formats.fields import json_object
from pipeline.formats.json_event import list_at, text_at, time_at
from pipeline.formats.line import Line, Reading
from pipeline.model.events import ObjectEvent, Parsed
from pipeline.model.source import Source

ITEMS_MAX = 10_000
CONDITIONS_MAX = 64
_GROUPS = (b'"bus.volcano.sh/', b'"batch.volcano.sh/', b'"scheduling.volcano.sh/')


class Volcano:
    """Commands, Jobs and PodGroups."""

    name = "volcano"
    source = Source.KUBERNETES_EVENTS
    programs = ("volcano", "event", "kube")
    begins = (b'{"kind":"Command","apiVersion":"bus.volcano.sh/', *(b'{"apiVersion":' + group for group in _GROUPS))
    first_bytes = b"{"

    def claims(self, payload: bytes) -> bool:
        """An object of one of Volcano's groups."""
        return payload[:1] == b"{" and b".volcano.sh/" in payload and any(group in payload for group in _GROUPS)

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:  # noqa: ARG002 - its clock is UTC
        """An event each.  Raises UnknownFormat for other objects, those that merely mention Volcano included."""
        known, events = False, list[Parsed]()
        for each in _objects(json_object(line.payload)):
            kind, group = text_at(each, "kind"), text_at(each, "apiVersion").partition("/")[0]
            if (kind, group) == ("Command", "bus.volcano.sh"):
                events.append(_command(each))
            elif (kind, group) in {("Job", "batch.volcano.sh"), ("PodGroup", "scheduling.volcano.sh")}:
                known = True
                events.extend(_conditions(each, kind))
        if not events and not known:
            raise UnknownFormat("no object of Volcano")
        return events


def _objects(value: dict[str, Any]) -> Sequence[Any]:
    if isinstance(inner := value.get("object"), dict):
        return [inner]
    items = value.get("items")
    return items[:ITEMS_MAX] if isinstance(items, list) else [value]


def _command(value: dict[str, Any]) -> Parsed:
    uid = text_at(value, "metadata", "uid")
    body = ObjectEvent(
        kind=text_at(value, "target", "kind"),
        name=text_at(value, "target", "name"),
        reason=text_at(value, "action"),
        namespace=text_at(value, "metadata", "namespace"),
        object_uid=text_at(value, "target", "uid"),
        text=text_at(value, "message") or text_at(value, "reason"),
        component="volcano",
    )
    return _parsed(
        body, time_at(value, "metadata", "creationTimestamp"), f"{uid}/command" if uid else "", text_at(value, "metadata", "name")
    )


def _conditions(value: dict[str, Any], kind: str) -> Iterator[Parsed]:
    """When each phase of a Job began; what is said of a PodGroup, as far as it holds."""
    namespace, name, uid = (text_at(value, "metadata", field) for field in ("namespace", "name", "uid"))
    for condition in list_at(value.get("status"), "conditions")[:CONDITIONS_MAX]:
        phase = text_at(condition, "status" if kind == "Job" else "type")
        if not phase or (kind == "PodGroup" and text_at(condition, "status") != "True"):
            continue
        time, text = time_at(condition, "lastTransitionTime"), text_at(condition, "message") or text_at(condition, "reason")
        body = ObjectEvent(kind=kind, name=name, reason=phase, namespace=namespace, object_uid=uid, text=text, component="volcano")
        yield _parsed(body, time, f"{uid}/{phase}/{time or ''}" if uid else "", "")


def _parsed(body: ObjectEvent, time: int | None, own_id: str, command: str) -> Parsed:
    rest = {"command": command} if command else {}
    return Parsed(source=Source.KUBERNETES_EVENTS, body=body, event_time=time, own_id=own_id, unmapped=rest)


FORMAT = Volcano()
