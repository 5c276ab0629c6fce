"""Events of Kubernetes in both versions and all wrappers, and Kueue's Workloads."""

import json
from typing import Any

import pytest

from pipeline.errors import DecodeError, SchemaMismatch, UnknownFormat
from pipeline.formats import registry
from pipeline.formats.line import Line
from pipeline.formats.payloads.kubernetes_events import FORMAT
from pipeline.model.events import ObjectEvent, Parsed
from pipeline.model.source import Source
from tests.unit.formats.training_lines import AT, READING

POD = {"kind": "Pod", "namespace": "llm", "name": "u017-train-0", "uid": "p-1", "fieldPath": "spec.containers{main}"}
CORE: dict[str, Any] = {
    "kind": "Event",
    "apiVersion": "v1",
    "metadata": {"name": "u017-train-0.17", "uid": "e-1", "creationTimestamp": "2026-03-02T11:00:00Z"},
    "involvedObject": POD,
    "reason": "Killing",
    "message": "Stopping container main",
    "type": "Normal",
    "count": 2,
    "source": {"component": "kubelet", "host": "gpu-001"},
    "firstTimestamp": "2026-03-02T11:40:00Z",
    "lastTimestamp": "2026-03-02T11:40:41Z",
    "eventTime": None,
    "reportingComponent": "",
    "reportingInstance": "",
}
KILLING = ObjectEvent(
    kind="Pod",
    name="u017-train-0",
    reason="Killing",
    namespace="llm",
    object_uid="p-1",
    text="Stopping container main",
    severity="Normal",
    component="kubelet",
    node="gpu-001",
    count=2,
    first_time=AT - 41_000,
)
PREEMPTED: dict[str, Any] = {
    "kind": "Event",
    "apiVersion": "events.k8s.io/v1",
    "metadata": {"name": "w.17", "uid": "e-2"},
    "eventTime": "2026-03-02T11:40:40.500000Z",
    "regarding": {"kind": "Workload", "namespace": "llm", "name": "job-u017", "uid": "w-1"},
    "reason": "Preempted",
    "type": "Normal",
    "note": "Preempted to accommodate a workload (UID: 6f1c0d3e-4a2b) due to prioritization in the ClusterQueue",
    "reportingController": "kueue-admission",
    "series": {"count": 3, "lastObservedTime": "2026-03-02T11:40:41.000000Z"},
}


def parse(value: object) -> list[Parsed]:
    """The events of an object, as a record brings it: no envelope may take it for a wrapper."""
    payload = json.dumps(value).encode()
    (line,) = registry.unwrap(payload, [])
    assert line.payload == payload
    assert FORMAT.claims(payload)
    events = list(FORMAT.parse(Line(payload=payload), READING))
    assert {event.source for event in events} <= {Source.KUBERNETES_EVENTS}
    return events


WRAPPED = [
    ("alone", CORE),
    ("watch", {"type": "ADDED", "object": CORE}),
    ("exporter", {"verb": "ADDED", "event": CORE}),
    ("list", {"kind": "List", "items": [CORE]}),
]


@pytest.mark.parametrize("value", [row[1] for row in WRAPPED], ids=[row[0] for row in WRAPPED])
def test_core_events(value: object) -> None:
    """The object, the node, how often and when last, in every wrapper."""
    (event,) = parse(value)
    assert (event.body, event.event_time, event.own_id) == (KILLING, AT, f"e-1/2/{AT}")
    assert event.unmapped == {"field": "spec.containers{main}"}


def test_the_newer_version() -> None:
    """Names differ; a preemption names for whom."""
    (event,) = parse(PREEMPTED)
    assert event.event_time == AT
    assert event.body == ObjectEvent(
        kind="Workload",
        name="job-u017",
        reason="Preempted",
        namespace="llm",
        object_uid="w-1",
        text=PREEMPTED["note"],
        severity="Normal",
        component="kueue-admission",
        count=3,
        first_time=AT - 500,
        beneficiary="6f1c0d3e-4a2b",
    )


def test_a_counted_event_is_told_again() -> None:
    """The same object with a higher count is another event; the same count is the same one."""
    first, again, more = (parse({**CORE, "count": count})[0].own_id for count in (2, 2, 3))
    assert first == again != more


def test_times() -> None:
    """Without the usual times, when the object was made; without any, none."""
    bare = {name: value for name, value in CORE.items() if not name.endswith("Timestamp")}
    assert parse(bare)[0].event_time == AT - 2_441_000
    assert parse({**bare, "metadata": {"name": "x"}})[0].event_time is None


def test_a_node() -> None:
    """An event about a node names it."""
    (event,) = parse({**CORE, "involvedObject": {"kind": "Node", "name": "gpu-003"}, "source": {}, "reason": "NodeNotReady"})
    assert isinstance(event.body, ObjectEvent)
    assert (event.body.node, event.body.kind) == ("gpu-003", "Node")


WORKLOAD: dict[str, Any] = {
    "apiVersion": "kueue.x-k8s.io/v1beta1",
    "kind": "Workload",
    "spec": {"queueName": "gpu"},
    "metadata": {"name": "job-u017", "namespace": "llm", "uid": "w-1", "ownerReferences": [{"kind": "PyTorchJob", "name": "u017-train"}]},
    "status": {
        "conditions": [
            {"type": "QuotaReserved", "status": "False", "reason": "Pending", "lastTransitionTime": "2026-03-02T11:40:41Z"},
            {
                "type": "Evicted",
                "status": "True",
                "reason": "Preempted",
                "message": "Preempted to accommodate a workload (UID: w-9)",
                "lastTransitionTime": "2026-03-02T11:40:41Z",
            },
            {"type": "Other", "status": "True", "lastTransitionTime": "2026-03-02T11:40:41Z"},
        ]
    },
}


def test_a_workload() -> None:
    """Conditions that hold, with the job that the workload stands for."""
    (event,) = parse(WORKLOAD)
    assert (event.event_time, event.own_id) == (AT, f"w-1/Evicted/{AT}")
    assert event.unmapped == {"owners": "PyTorchJob/u017-train", "queue": "gpu", "reason": "Preempted"}
    assert event.body == ObjectEvent(
        kind="Workload",
        name="job-u017",
        reason="Evicted",
        namespace="llm",
        object_uid="w-1",
        text="Preempted to accommodate a workload (UID: w-9)",
        component="kueue",
        beneficiary="w-9",
    )


def test_a_workload_of_which_nothing_holds() -> None:
    """Known, and of no interest."""
    assert parse({**WORKLOAD, "status": {"conditions": WORKLOAD["status"]["conditions"][:1]}}) == []


REFUSED = [
    ({"kind": "Pod", "reason": "involvedObject", "involvedObject": "x"}, UnknownFormat),
    ({**CORE, "involvedObject": {}}, UnknownFormat),
    ({**CORE, "count": "many"}, SchemaMismatch),
    ({**CORE, "lastTimestamp": "yesterday"}, DecodeError),
    ({**CORE, "involvedObject": {"kind": ["Pod"]}}, SchemaMismatch),
]


@pytest.mark.parametrize(("value", "error"), REFUSED)
def test_refused(value: object, error: type[Exception]) -> None:
    """Broken fields are named; other objects are passed on."""
    with pytest.raises(error):
        parse(value)
