"""Volcano's own objects: what was asked of a job, and the phases it went through."""

import json
from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pipeline.errors import DecodeError, RejectedRecord, SchemaMismatch, UnknownFormat
from pipeline.formats import registry
from pipeline.formats.line import Line, Reading
from pipeline.formats.payloads import volcano
from pipeline.model.events import KubernetesRequest, ObjectEvent, Parsed
from pipeline.model.source import FAMILIES, Source

AT = 1_772_480_441_000
READING = Reading(zone=ZoneInfo("Asia/Shanghai"), reference_time=AT + 5_000)
COMMAND: dict[str, Any] = {
    "kind": "Command", "apiVersion": "bus.volcano.sh/v1alpha1",
    "metadata": {"name": "run7-abortjob-x2k", "namespace": "llm", "uid": "c-1", "creationTimestamp": "2026-03-02T19:40:41Z"},
    "action": "AbortJob", "target": {"apiVersion": "batch.volcano.sh/v1alpha1", "kind": "Job", "name": "run7", "uid": "j-1"},
}  # fmt: skip
JOB: dict[str, Any] = {
    "kind": "Job", "apiVersion": "batch.volcano.sh/v1alpha1", "metadata": {"name": "run7", "namespace": "llm", "uid": "j-1"},
    "status": {
        "state": {"phase": "Aborted"},
        "conditions": [
            {"status": "Running", "lastTransitionTime": "2026-03-02T19:00:00Z"},
            {"status": "Aborted", "lastTransitionTime": "2026-03-02T19:40:41Z"},
        ],
    },
}  # fmt: skip
GROUP: dict[str, Any] = {
    "kind": "PodGroup", "apiVersion": "scheduling.volcano.sh/v1beta1", "metadata": {"name": "pg-7", "namespace": "llm", "uid": "p-1"},
    "status": {
        "conditions": [
            {"type": "Unschedulable", "status": "True", "reason": "NotEnoughResources", "message": "3/8 tasks in gang unschedulable",
             "lastTransitionTime": "2026-03-02T19:40:41Z"},
            {"type": "Scheduled", "status": "False", "lastTransitionTime": "2026-03-02T19:40:41Z"},
        ],
    },
}  # fmt: skip


def parse(value: object) -> Sequence[Parsed]:
    """The events of an object, found by sniffing."""
    format_, events = registry.parse(Line(payload=json.dumps(value).encode()), READING, allowed=FAMILIES["scheduler"])
    assert format_.name == "volcano"
    return events


def test_command() -> None:
    """The job that is meant is the subject; the command's own name and uid tell one from the next."""
    (event,) = parse(COMMAND)
    assert (event.source, event.event_time, event.own_id) == (Source.KUBERNETES_EVENTS, AT, "c-1/command")
    assert event.body == ObjectEvent(kind="Job", name="run7", reason="AbortJob", namespace="llm", object_uid="j-1", component="volcano")
    assert event.unmapped == {"command": "run7-abortjob-x2k"}


@pytest.mark.parametrize("wrapped", [{"type": "ADDED", "object": COMMAND}, {"kind": "List", "items": [COMMAND]}])
def test_wrapped(wrapped: dict[str, Any]) -> None:
    """In a watch's wrapper and in a list it is the same event."""
    assert list(parse(wrapped)) == list(parse(COMMAND))


def test_phases_of_a_job() -> None:
    """One event each, at the time at which it began."""
    events = parse(JOB)
    assert [(event.body.reason, event.event_time) for event in events if isinstance(event.body, ObjectEvent)] == [
        ("Running", AT - 2_441_000),
        ("Aborted", AT),
    ]
    assert len({event.own_id for event in events}) == 2


def test_conditions_of_a_group() -> None:
    """Only what holds."""
    (event,) = parse(GROUP)
    assert event.body == ObjectEvent(
        kind="PodGroup", name="pg-7", reason="Unschedulable", namespace="llm", object_uid="p-1", text="3/8 tasks in gang unschedulable",
        component="volcano",
    )  # fmt: skip


def test_a_new_job_tells_nothing() -> None:
    """It is known, and nothing happened yet."""
    assert list(parse({**JOB, "status": {}})) == []


def test_its_events_are_those_of_kubernetes() -> None:
    """Evict and CommandIssued are read where all events are."""
    about = {"kind": "Job", "apiVersion": "batch.volcano.sh/v1alpha1", "name": "run7"}
    payload = json.dumps({"kind": "Event", "involvedObject": about, "reason": "CommandIssued", "message": "x"}).encode()
    assert registry.parse(Line(payload=payload), READING)[0].name == "kubernetes_events"


def test_who_commanded() -> None:
    """Only the API server's audit log knows; there the action and the job are those of the object that was sent."""
    request = {
        "kind": "Event", "auditID": "a-1", "stage": "ResponseComplete", "verb": "create", "user": {"username": "u017"},
        "objectRef": {"resource": "commands", "apiGroup": "bus.volcano.sh", "namespace": "llm"}, "requestObject": COMMAND,
    }  # fmt: skip
    _, (event,) = registry.parse(Line(payload=json.dumps(request).encode()), READING, allowed=FAMILIES["access"])
    assert isinstance(event.body, KubernetesRequest)
    assert (event.body.user, event.body.verb, event.body.resource) == ("u017", "create", "commands.bus.volcano.sh")
    assert (event.unmapped["commanded_action"], event.unmapped["commanded_job"]) == ("AbortJob", "run7")


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        (b'{"a":"bus.volcano.sh/', DecodeError),
        (b'{"kind":"Command","apiVersion":"v1","x":"bus.volcano.sh/v1"}', UnknownFormat),
        (b'{"kind":"Queue","apiVersion":"scheduling.volcano.sh/v1beta1"}', UnknownFormat),
        (b'{"kind":"Job","apiVersion":"batch.volcano.sh/v1alpha1","status":{"conditions":{}}}', SchemaMismatch),
        (b'{"kind":"Job","apiVersion":"batch.volcano.sh/v1alpha1","status":7}', None),
        (b'{"kind":"Command","apiVersion":"bus.volcano.sh/v1alpha1","action":["x"]}', SchemaMismatch),
        (b'{"kind":"Command","apiVersion":"bus.volcano.sh/v1alpha1","metadata":{"creationTimestamp":"now"}}', DecodeError),
    ],
)
def test_broken(payload: bytes, error: type[RejectedRecord] | None) -> None:
    """What merely mentions Volcano is nobody's; what is wrong is said."""
    if error is None:
        assert list(volcano.FORMAT.parse(Line(payload=payload), READING)) == []
    else:
        with pytest.raises(error):
            volcano.FORMAT.parse(Line(payload=payload), READING)
