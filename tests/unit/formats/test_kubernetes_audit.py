"""Audit events of the Kubernetes API server: who, what, on which object, with what answer."""

import json
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pipeline.errors import DecodeError, RejectedRecord, SchemaMismatch, UnknownFormat
from pipeline.formats.line import Line, Reading
from pipeline.formats.payloads import kubernetes_audit
from pipeline.model.events import KubernetesRequest, Parsed

READING = Reading(zone=ZoneInfo("Asia/Shanghai"), reference_time=1_772_480_460_000)
DELETE: dict[str, Any] = {
    "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Request", "auditID": "a-1", "stage": "ResponseComplete",
    "requestURI": "/api/v1/namespaces/llm/pods/pretrain-0", "verb": "delete",
    "user": {"username": "u017", "uid": "x", "groups": ["system:authenticated"], "extra": {"k": ["v"]}},
    "sourceIPs": ["10.0.0.7", "203.0.113.9"], "userAgent": "kubectl/v1.31",
    "objectRef": {"resource": "pods", "namespace": "llm", "name": "pretrain-0", "uid": "p-1", "apiVersion": "v1"},
    "responseStatus": {"metadata": {}, "code": 200},
    "requestReceivedTimestamp": "2026-03-02T19:40:41.100000Z", "stageTimestamp": "2026-03-02T19:40:41.318123Z",
    "annotations": {"authorization.k8s.io/decision": "allow"},
}  # fmt: skip


def parse(value: object) -> Parsed:
    """The event of an object."""
    payload = value if isinstance(value, bytes) else json.dumps(value).encode()
    assert kubernetes_audit.FORMAT.claims(payload)
    (event,) = kubernetes_audit.FORMAT.parse(Line(payload=payload), READING)
    return event


def request(value: object) -> KubernetesRequest:
    """Its body."""
    body = parse(value).body
    assert isinstance(body, KubernetesRequest)
    return body


def test_a_deletion() -> None:
    """Actor, object with uid, answer; stage and id tell the event from the other stages of the request."""
    event = parse(DELETE)
    assert (event.event_time, event.own_id) == (1_772_480_441_318, "a-1/ResponseComplete")
    assert event.body == KubernetesRequest(
        user="u017", verb="delete", resource="pods", namespace="llm", name="pretrain-0", object_uid="p-1", code=200, decision="allow",
        stage="ResponseComplete", groups=("system:authenticated",), address="10.0.0.7", agent="kubectl/v1.31",
    )  # fmt: skip
    assert event.unmapped["level"] == "Request"


def test_an_event_that_the_api_server_cut() -> None:
    """Over its limit it leaves out what was sent and answered, and says so: who did what is all there."""
    event = parse({**DELETE, "annotations": {**DELETE["annotations"], "audit.k8s.io/truncated": "true"}})
    assert event.body == parse(DELETE).body
    assert "audit.k8s.io/truncated" in event.unmapped["annotations"]


ROWS = [
    ("get", "pods/exec over WebSocket", {"subresource": "exec", "resource": "pods"}, "?command=tar&command=xf&container=c", ("tar", "xf")),
    ("create", "pods/exec over SPDY", {"subresource": "exec", "resource": "pods"}, "?command=kill%20-9&stdin=true", ("kill -9",)),
    ("create", "an eviction", {"subresource": "eviction", "resource": "pods"}, "?command=not-one", ()),
    ("deletecollection", "no name", {"resource": "jobs", "apiGroup": "batch"}, "?labelSelector=a%3Db", ()),
]


@pytest.mark.parametrize(("verb", "what", "reference", "query", "command"), ROWS, ids=[row[1] for row in ROWS])
def test_verbs(verb: str, what: str, reference: dict[str, str], query: str, command: tuple[str, ...]) -> None:
    """Subresources say what was done, the query what was run."""
    value = {**DELETE, "verb": verb, "objectRef": reference, "requestURI": f"/x{query}"}
    body = request(value)
    assert what
    assert (body.verb, body.subresource, body.command, body.name) == (verb, reference.get("subresource", ""), command, "")
    assert body.resource == ("jobs.batch" if verb == "deletecollection" else "pods")


@pytest.mark.parametrize("parameters", [1000, 4000], ids=["a long address", "one that is cut"])
def test_an_exec_is_told_however_many_parameters_it_has(parameters: int) -> None:
    """Who enters a pod writes the address: arguments that nobody needs must not hide that he did.  The whole line is kept anyway."""
    body = request({**DELETE, "verb": "get", "objectRef": {"subresource": "exec"}, "requestURI": "/x?command=kill&" + "a=b&" * parameters})
    assert (body.verb, body.subresource, body.command) == ("get", "exec", ("kill",))


TRIALS: dict[str, tuple[str, dict[str, Any], str]] = {
    "a deletion": ("delete", {}, ""),
    "of a patch the address decides": ("patch", {"requestURI": "/x?fieldManager=kubectl&dryRun=All"}, "yes"),
    "of a deletion the body, where it is logged": ("delete", {"requestObject": {"kind": "DeleteOptions", "dryRun": ["All"]}}, "yes"),
    "an address above a body that says nothing of it": (
        "delete", {"requestURI": "/x?dryRun=All", "requestObject": {"kind": "DeleteOptions"}}, "",
    ),
    "an address above a body that nobody logged": ("delete", {"requestURI": "/x?dryRun=All"}, "claimed"),
    "an object that has such a field": ("patch", {"requestObject": {"dryRun": ["All"]}}, ""),
    "a word that only begins so": ("patch", {"requestURI": "/x?dryRun=Allowed&xdryRun=All"}, ""),
}  # fmt: skip


@pytest.mark.parametrize(("verb", "fields", "trial"), TRIALS.values(), ids=TRIALS)
def test_dry_runs(verb: str, fields: dict[str, Any], trial: str) -> None:
    """Who deletes must not be able to say of it that it was a trial."""
    assert request({**DELETE, "verb": verb, **fields}).trial == trial


def test_who_acts_as_another() -> None:
    """The one who logged in is the actor."""
    body = request({**DELETE, "impersonatedUser": {"username": "u042"}, "responseStatus": {"code": 403}})
    assert (body.user, body.impersonated, body.code) == ("u017", "u042", 403)


def test_objects_are_not_kept() -> None:
    """Request and response may hold secrets."""
    event = parse({**DELETE, "requestObject": {"data": "c2VjcmV0"}, "responseObject": {"data": "c2VjcmV0"}})
    assert "c2VjcmV0" not in repr(event)


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        (b'{"auditID":"a","stage":"Pan', DecodeError),
        (b'{"x":{"auditID":"a","stage":"b"}}', UnknownFormat),
        (json.dumps({**DELETE, "responseStatus": {"code": "many"}}).encode(), SchemaMismatch),
        (json.dumps({**DELETE, "sourceIPs": "10.0.0.7"}).encode(), SchemaMismatch),
        (json.dumps({**DELETE, "stageTimestamp": "0001-01-01T00:00:00Z"}).encode(), RejectedRecord),
    ],
)
def test_broken(payload: bytes, error: type[RejectedRecord]) -> None:
    """What is wrong is said."""
    with pytest.raises(error):
        parse(payload)


REAL = [
    ("exec_pod", "create", "pods", "exec", 101, ("bash",), "nginx1"),
    ("attach_pod", "create", "pods", "attach", 101, (), "nginx1"),
    ("delete_deployment", "delete", "deployments.extensions", "", 200, (), ""),
    ("create_configmap", "create", "configmaps", "", 201, (), ""),
]


@pytest.mark.shared_data
@pytest.mark.parametrize(("name", "verb", "resource", "subresource", "code", "command", "container"), REAL, ids=[row[0] for row in REAL])
def test_real_events(
    shared_data: Path, name: str, verb: str, resource: str, subresource: str, code: int, command: tuple[str, ...], container: str
) -> None:
    """Real events of 2018 with the values of their notes."""
    body = request((shared_data / f"access/k8s_audit/{name}.json").read_bytes().strip())
    assert (body.verb, body.resource, body.subresource, body.code) == (verb, resource, subresource, code)
    assert (body.user, body.groups) == ("minikube-user", ("system:masters", "system:authenticated"))
    assert (body.address, body.decision, body.command) == ("192.168.99.1", "allow", command)
    assert body.container == container
