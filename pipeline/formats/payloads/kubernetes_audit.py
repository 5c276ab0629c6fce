"""An event of the Kubernetes API server's audit log in; one KubernetesRequest out: who did what to which object, and whether it was let.

    {"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"..","stage":"ResponseComplete","verb":"delete","user":{"username":".."},
     "objectRef":{"resource":"pods","namespace":"llm","name":"pretrain-0","uid":".."},"responseStatus":{"code":200},..}

One request gives an event per stage under one `auditID`; together they are its own id.  Only requests that change something, read secrets
or enter a container become facts of interest later, but which requests are logged at all is the site's audit policy: all are read here.

`exec` and `attach` are known by their subresource: the verb is `create` over SPDY and `get` over WebSocket.  The command of an exec stands
only in the query of the URI, and `kubectl cp` is an exec of tar.  An eviction is `create` on `pods/eviction`.  `deletecollection` has
no name.  A user who acts as another is the actor, and the other is `impersonated`.

Holds: time is that of the stage, UTC.  The decision and the code are the server's; request and response objects are not kept, since
they may hold secrets; of a Command of Volcano its action and its job are.
Verified on the four real events of falcosecurity/falco test/trace_files/k8s_audit (tests, where present);
layout: https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs

from pipeline.errors import DecodeError, UnknownFormat
from pipeline.formats.fields import unmapped
from pipeline.formats.json_event import event_object, int_at, text_at, texts_at, texts_of, time_at
from pipeline.formats.line import Line, Reading
from pipeline.model.events import KubernetesRequest, Parsed
from pipeline.model.source import Source

PROGRAMS = ("kube-apiserver", "kubernetes", "audit")
QUERY_FIELDS_MAX = 256
URI_CHARACTERS_MAX = 16_384
VOLCANO_COMMANDS = "commands.bus.volcano.sh"  # `vcctl job suspend` and the like: who asked stands only here
ENTERING = frozenset({"exec", "attach"})
_TAKEN = frozenset({
    "kind", "apiVersion", "auditID", "stage", "verb", "user", "impersonatedUser", "objectRef", "responseStatus", "requestObject",
    "responseObject", "stageTimestamp", "userAgent", "sourceIPs", "metadata", "timestamp", "requestURI",
})  # fmt: skip


class KubernetesAudit:
    """One object per stage of a request."""

    name = "kubernetes_audit"
    source = Source.KUBERNETES_AUDIT
    begins = (b'{"kind":"Event","apiVersion":"audit.k8s.io/',)

    def claims(self, payload: bytes) -> bool:
        """An object with an audit id and a stage."""
        return payload[:1] == b"{" and b'"auditID"' in payload and b'"stage"' in payload

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:
        """One request."""
        value, _ = event_object(line, reading, PROGRAMS)
        audit_id, stage = text_at(value, "auditID"), text_at(value, "stage")
        if not audit_id or not stage:
            raise UnknownFormat("an object that is no audit event")
        # Before v1 an event had one time of whole seconds.
        time = time_at(value, "stageTimestamp")
        if time is None:
            time = time_at(value, "requestReceivedTimestamp")
        if time is None:
            time = time_at(value, "timestamp")
        body, rest = _request(value, stage), unmapped(value, _TAKEN)
        if body.resource == VOLCANO_COMMANDS:
            rest.update(_commanded(value.get("requestObject")))
        return (Parsed(source=Source.KUBERNETES_AUDIT, event_time=time, own_id=f"{audit_id}/{stage}", body=body, unmapped=rest),)


def _commanded(value: object) -> dict[str, str]:
    """What a Command of Volcano asks of which job: its own name tells neither."""
    told = {"commanded_action": text_at(value, "action"), "commanded_job": text_at(value, "target", "name")}
    return {field: text for field, text in told.items() if text}


def _request(value: dict[str, Any], stage: str) -> KubernetesRequest:
    verb, agent, uri = texts_of(value, "verb", "userAgent", "requestURI")
    resource, group, subresource, namespace, name, uid = texts_of(
        value.get("objectRef"), "resource", "apiGroup", "subresource", "namespace", "name", "uid"
    )
    query = _query(uri) if subresource in ENTERING else _NOTHING
    addresses, user = texts_at(value, "sourceIPs"), value.get("user")
    command, container = query.get("command", ()), query.get("container", ("",))
    return KubernetesRequest(  # in the order of its fields: by name it takes ten times as long
        text_at(user, "username"),
        verb,
        f"{resource}.{group}" if group else resource,
        subresource,
        namespace,
        name,
        uid,
        int_at(value, "responseStatus", "code", maximum=999),
        text_at(value, "annotations", "authorization.k8s.io/decision"),
        stage,
        text_at(value.get("impersonatedUser"), "username"),
        texts_at(user, "groups"),
        addresses[0] if addresses else "",  # the others are what proxies claim
        agent,
        tuple(command),
        container[0],
    )


_NOTHING: Mapping[str, Sequence[str]] = MappingProxyType({})


def _query(uri: str) -> Mapping[str, Sequence[str]]:
    try:
        return parse_qs(uri[:URI_CHARACTERS_MAX].partition("?")[2], max_num_fields=QUERY_FIELDS_MAX)
    except ValueError as error:
        raise DecodeError("a request has too many parameters") from error


FORMAT = KubernetesAudit()
