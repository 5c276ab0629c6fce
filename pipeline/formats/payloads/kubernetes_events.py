"""An Event of Kubernetes, or a Workload of Kueue, in; what a controller tells of an object out.

    {"kind":"Event","apiVersion":"v1","involvedObject":{"kind":"Pod","namespace":"llm","name":"u017-train-0","uid":".."},"reason":"Evicted",
     "message":"..","type":"Warning","source":{"component":"kubelet","host":"gpu-001"},"count":2,"firstTimestamp":"..","lastTimestamp":".."}
    {"kind":"Event","apiVersion":"events.k8s.io/v1","regarding":{..},"reason":"Preempted","note":"..",
     "reportingController":"kueue-admission","eventTime":"..","series":{"count":3,"lastObservedTime":".."}}
    {"kind":"Workload","apiVersion":"kueue.x-k8s.io/v1beta1","metadata":{..},"status":{"conditions":[{"type":"Evicted","status":"True",..}]}}

They say what happened, never who wanted it: that is in the API server's audit log.  Equal events are counted in one object that changes,
so that uid and count together are its id.  The reasons that acquit are Kueue's and the scheduler's `Preempted`, whose text names the
other workload, and `DeadlineExceeded`; Volcano's `Evict` has the same shape.  Of a Workload, conditions that hold become one event each.

Wrapped forms: `{"type":"ADDED","object":{..}}` of a watch (OpenTelemetry's k8sobjects), `{"items":[..]}` of `kubectl get events -o json`,
`{"event":{..}}` and `{"verb":"ADDED","event":{..}}` of event exporters.

Sources: kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1, github.com/kubernetes/kubernetes pkg/kubelet/events,
github.com/kubernetes-sigs/kueue pkg/scheduler/preemption/preemption.go and apis/kueue (conditions), by their code.
Not verified on records of a site.
Holds: linear time; a list stops at ITEMS_MAX.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import msgspec

from pipeline.errors import UnknownFormat
from pipeline.formats.fields import json_object, utc_time
from pipeline.formats.json_event import at, int_at, list_at, number_of, text_at, texts_of, time_at, usual_line
from pipeline.formats.line import Line, Reading
from pipeline.model.events import ObjectEvent, Parsed
from pipeline.model.source import Source

ITEMS_MAX = 10_000
COUNT_MAX = 2**31
_BENEFICIARY = re.compile(r"(?:accommodate a workload|for workload|Preempted by|by) \(?(?:UID: )?([a-z0-9][a-z0-9./-]{1,300})")
_TOLD = frozenset({"Evicted", "Preempted", "Finished", "Admitted", "QuotaReserved", "PodsReady", "Requeued", "DeactivationTarget"})
_NODE_KINDS = frozenset({"Node"})


class _Meta(msgspec.Struct, frozen=True, gc=False):
    name: str = ""
    uid: str = ""
    created: str = msgspec.field(default="", name="creationTimestamp")


class _About(msgspec.Struct, frozen=True, gc=False):
    kind: str = ""
    name: str = ""
    namespace: str = ""
    uid: str = ""
    path: str = msgspec.field(default="", name="fieldPath")


class _Source(msgspec.Struct, frozen=True, gc=False):
    component: str = ""
    host: str = ""


class _Usual(msgspec.Struct, frozen=True, gc=False, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """An Event of the core group, of the usual types.  Nothing of one passes through, but another key may be one that is read."""

    kind: Literal["Event"]
    version: Literal["v1"] = msgspec.field(name="apiVersion")
    metadata: _Meta = _Meta()
    about: _About = msgspec.field(name="involvedObject")
    reason: Annotated[str, msgspec.Meta(min_length=1)]
    message: str = ""
    source: _Source = _Source()
    first_timestamp: str | None = None
    last_timestamp: str | None = None
    count: Annotated[int, msgspec.Meta(ge=0, le=COUNT_MAX)] | None = None
    type: str = ""
    event_time: None = None
    reporting_component: str = ""
    reporting_instance: str = ""


decode_usual = msgspec.json.Decoder(_Usual).decode
_NOTHING = _About()


class KubernetesEvents:
    """Events of the cluster, alone, in a list or in a watch's wrapper, and Kueue's Workloads."""

    name = "kubernetes_events"
    source = Source.KUBERNETES_EVENTS
    programs = ("event", "kube", "kueue")
    begins = (b'{"kind":"Event","apiVersion":"v1"', b'{"kind":"Event","apiVersion":"events.k8s.io/')
    first_bytes = b"{"

    def claims(self, payload: bytes) -> bool:
        """An object that names what it is about, or a Workload."""
        if payload[:1] != b"{":
            return False
        return (b'"reason"' in payload and (b'"involvedObject"' in payload or b'"regarding"' in payload)) or b'"kueue.x-k8s.io/' in payload

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:  # noqa: ARG002 - its clock is UTC
        """An event each.  Raises UnknownFormat for other objects."""
        if (found := usual_line(line, decode_usual)) is not None and found.about != _NOTHING:
            return (_usual(found),)
        value = json_object(line.payload)
        events = [event for each in _objects(value) for event in _of_object(each)]
        if not events and not list_at(at(value, "status"), "conditions"):
            raise UnknownFormat("no event of Kubernetes")
        return events


def _objects(value: dict[str, Any]) -> Sequence[Any]:
    for name in ("object", "event"):
        if isinstance(inner := value.get(name), dict):
            return [inner]
    items = value.get("items")
    return items[:ITEMS_MAX] if isinstance(items, list) else [value]


def _of_object(value: Any) -> Iterator[Parsed]:
    about = at(value, "involvedObject") or at(value, "regarding")
    if isinstance(about, dict) and text_at(value, "reason"):
        yield _event(value, about)
    elif text_at(value, "kind") == "Workload" and text_at(value, "apiVersion").startswith("kueue.x-k8s.io/"):
        yield from _conditions(value)


def _usual(event: _Usual) -> Parsed:
    """What the next makes of it."""
    about, source, metadata, first, last = event.about, event.source, event.metadata, event.first_timestamp, event.last_timestamp
    count, uid, happened = event.count or 1, metadata.uid or metadata.name, last or metadata.created
    time = utc_time(happened) if happened else None
    body = ObjectEvent(
        about.kind,
        about.name,
        event.reason,
        about.namespace,
        about.uid,
        event.message,
        event.type,
        event.reporting_component or source.component,
        source.host or (about.name if about.kind in _NODE_KINDS else ""),
        count,
        None if not first else time if first == last else utc_time(first),
        _beneficiary(event.reason, event.message),
    )
    own_id = f"{uid}/{count}/{time or ''}" if uid else ""
    return Parsed(Source.KUBERNETES_EVENTS, body, time, "", own_id, {"field": about.path} if about.path else {})


def _event(value: dict[str, Any], about: dict[str, Any]) -> Parsed:
    text, note, reason, severity, controller, component = texts_of(
        value, "message", "note", "reason", "type", "reportingController", "reportingComponent"
    )
    text = text or note
    series, source, older = value.get("series"), value.get("source"), value.get("deprecatedSource")
    count = number_of(value.get("count"), "count", COUNT_MAX)
    if series is not None:
        count = int_at(series, "count", maximum=COUNT_MAX) or count
    count = count or int_at(value, "deprecatedCount", maximum=COUNT_MAX) or 1
    kind, name, namespace, object_uid, path = texts_of(about, "kind", "name", "namespace", "uid", "fieldPath")
    node = text_at(source, "host") or text_at(older, "host") or (name if kind in _NODE_KINDS else "")
    first = _time(value, ("firstTimestamp",), ("deprecatedFirstTimestamp",), ("eventTime",))
    last = _time(value, ("series", "lastObservedTime"), ("lastTimestamp",), ("deprecatedLastTimestamp",), ("eventTime",), _CREATED)
    uid = text_at(value, "metadata", "uid") or text_at(value, "metadata", "name")
    body = ObjectEvent(  # in the order of its fields: by name it takes ten times as long
        kind,
        name,
        reason,
        namespace,
        object_uid,
        text,
        severity,
        controller or component or text_at(source, "component") or text_at(older, "component"),
        node,
        count,
        first,
        _beneficiary(reason, text),
    )
    own_id = f"{uid}/{count}/{last or ''}" if uid else ""
    return Parsed(Source.KUBERNETES_EVENTS, body, last, "", own_id, {"field": path} if path else {})


def _conditions(value: dict[str, Any]) -> Iterator[Parsed]:
    """What holds of a Workload.  The job that it stands for is its owner."""
    name, uid = text_at(value, "metadata", "name"), text_at(value, "metadata", "uid")
    owners = [text_at(owner, "kind") + "/" + text_at(owner, "name") for owner in list_at(at(value, "metadata"), "ownerReferences")[:8]]
    rest = {"owners": ",".join(owners)[:512], "queue": text_at(value, "spec", "queueName")}
    for condition in list_at(at(value, "status"), "conditions")[:64]:
        told, held = text_at(condition, "type"), text_at(condition, "status")
        if told not in _TOLD or held != "True":
            continue
        text, time = text_at(condition, "message"), time_at(condition, "lastTransitionTime")
        body = ObjectEvent(
            kind="Workload",
            name=name,
            reason=told,
            namespace=text_at(value, "metadata", "namespace"),
            object_uid=uid,
            text=text,
            component="kueue",
            beneficiary=_beneficiary(told, text),
        )
        rest["reason"] = text_at(condition, "reason")
        yield Parsed(
            source=Source.KUBERNETES_EVENTS,
            body=body,
            event_time=time,
            own_id=f"{uid}/{told}/{time or ''}" if uid else "",
            unmapped={field: told_text for field, told_text in rest.items() if told_text},
        )


def _beneficiary(reason: str, text: str) -> str:
    """For whom this object was preempted.  The preemptor's own event has another reason."""
    if reason not in {"Preempted", "Evicted", "EvictedDueToPreempted"}:
        return ""
    named = _BENEFICIARY.search(text[:1000])
    return named[1].rstrip(".") if named else ""


_CREATED = ("metadata", "creationTimestamp")


def _time(value: dict[str, Any], *paths: tuple[str, ...]) -> int | None:
    for path in paths:
        if value.get(path[0]) is not None and (found := time_at(value, *path)) is not None:
            return found
    return None


FORMAT = KubernetesEvents()
