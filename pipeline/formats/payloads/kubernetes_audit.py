"""An event of the Kubernetes API server's audit log in; one KubernetesRequest out: who did what to which object, and whether it was let.

    {"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"..","stage":"ResponseComplete","verb":"delete","user":{"username":".."},
     "objectRef":{"resource":"pods","namespace":"llm","name":"pretrain-0","uid":".."},"responseStatus":{"code":200},..}

One request gives an event per stage under one `auditID`; together they are its own id.  Only requests that change something, read secrets
or enter a container become facts of interest later, but which requests are logged at all is the site's audit policy: all are read here.

`exec` and `attach` are known by their subresource: the verb is `create` over SPDY and `get` over WebSocket.  The command of an exec stands
only in the query of the URI, and `kubectl cp` is an exec of tar.  An eviction is `create` on `pods/eviction`.  `deletecollection` has
no name.  A user who acts as another is the actor, and the other is `impersonated`.

A dry run is answered like the act.  The query of the URI says so, but of a deletion only where it has no body: the server reads the options
of one or the other, so that `?dryRun=All` above a body that says nothing of it deletes.  `kubectl delete --dry-run=server` writes the body,
which stands in the record from the audit level `Request` on (apiserver pkg/endpoints/handlers/delete.go, kubectl pkg resource/helper.go, by
knowledge of the code).

Holds: time is that of the stage, UTC.  The decision and the code are the server's; request and response objects are not kept, since
they may hold secrets; of a Command of Volcano its action and its job are.
Verified on the four real events of falcosecurity/falco test/trace_files/k8s_audit (tests, where present);
layout: https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/
"""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any
from urllib.parse import parse_qs

import msgspec

from pipeline.errors import UnknownFormat
from pipeline.formats.fields import UNMAPPED_TEXT_LENGTH_MAX, shown, unmapped, utc_time
from pipeline.formats.json_event import (
    TEXT_CHARACTERS_MAX,
    Passing,
    Texts,
    as_usual,
    event_object,
    int_at,
    text_at,
    texts_at,
    texts_of,
    usual_line,
)
from pipeline.formats.line import Line, Reading
from pipeline.model.events import KubernetesRequest, Parsed
from pipeline.model.source import Source

PROGRAMS = ("kube-apiserver", "kubernetes", "audit")
CODE_MAX = 999
VOLCANO_COMMANDS = "commands.bus.volcano.sh"  # `vcctl job suspend` and the like: who asked stands only here
ENTERING = frozenset({"exec", "attach"})
_DRY_RUN = re.compile(r"[?&]dryRun=All(?:&|$)")
_TAKEN = frozenset({
    "kind", "apiVersion", "auditID", "stage", "verb", "user", "impersonatedUser", "objectRef", "responseStatus", "requestObject",
    "responseObject", "stageTimestamp", "userAgent", "sourceIPs", "metadata", "timestamp", "requestURI",
})  # fmt: skip


class KubernetesAudit:
    """One object per stage of a request."""

    name = "kubernetes_audit"
    source = Source.KUBERNETES_AUDIT
    programs = PROGRAMS
    begins = (b'{"kind":"Event","apiVersion":"audit.k8s.io/',)

    def claims(self, payload: bytes) -> bool:
        """An object with an audit id and a stage."""
        return payload[:1] == b"{" and b'"auditID"' in payload and b'"stage"' in payload

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:
        """One request."""
        if (found := usual_line(line, decode_usual)) is not None and found.audit_id and found.stage:
            return (_usual(found),)
        value, _ = event_object(line, reading, PROGRAMS)
        usual = as_usual(value, _Request) if len(line.payload) <= TEXT_CHARACTERS_MAX else None
        told = usual or _field_by_field(value)
        if not told.audit_id or not told.stage:
            raise UnknownFormat("an object that is no audit event")
        body = _request(told, told.annotations.decision, _trial(told, value.get("requestObject")))
        rest = unmapped(value, _TAKEN)
        if body.resource == VOLCANO_COMMANDS:
            rest.update(_commanded(value.get("requestObject")))
        return (_parsed(told, body, rest),)


def _parsed(told: "_Told", body: KubernetesRequest, rest: dict[str, str]) -> Parsed:
    time = told.stage_time or told.received or told.timestamp  # before v1 an event had one time of whole seconds
    return Parsed(Source.KUBERNETES_AUDIT, body, utc_time(time) if time else None, "", f"{told.audit_id}/{told.stage}", rest)


def _commanded(value: object) -> dict[str, str]:
    """What a Command of Volcano asks of which job: its own name tells neither."""
    told = {"commanded_action": text_at(value, "action"), "commanded_job": text_at(value, "target", "name")}
    return {field: text for field, text in told.items() if text}


class _User(msgspec.Struct, frozen=True, gc=False):
    username: str = ""
    groups: Texts = ()


class _Object(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    resource: str = ""
    api_group: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""


class _Status(msgspec.Struct, frozen=True, gc=False):
    code: Annotated[int, msgspec.Meta(ge=0, le=CODE_MAX)] | None = None


class _Annotations(msgspec.Struct, frozen=True, gc=False):
    decision: str = msgspec.field(default="", name="authorization.k8s.io/decision")


class _Told(msgspec.Struct, frozen=True, gc=False):
    """The usual types of what is read of an event."""

    audit_id: str = msgspec.field(default="", name="auditID")
    stage: str = ""
    verb: str = ""
    agent: str = msgspec.field(default="", name="userAgent")
    uri: str = msgspec.field(default="", name="requestURI")
    stage_time: str = msgspec.field(default="", name="stageTimestamp")
    received: str = msgspec.field(default="", name="requestReceivedTimestamp")
    timestamp: str = ""
    addresses: Texts = msgspec.field(default=(), name="sourceIPs")
    user: _User = _User()
    impersonated: _User = msgspec.field(default=_User(), name="impersonatedUser")
    object: _Object = msgspec.field(default=_Object(), name="objectRef")
    status: _Status = msgspec.field(default=_Status(), name="responseStatus")


class _Request(_Told, frozen=True, gc=False):
    """With what else it may say."""

    annotations: _Annotations = _Annotations()


class _UsualRequest(_Told, frozen=True, gc=False, forbid_unknown_fields=True):
    """A request whose body was not logged, and no key but the server's own."""

    kind: msgspec.Raw = msgspec.Raw()
    version: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="apiVersion")
    metadata: msgspec.Raw = msgspec.Raw()
    answer: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="responseObject")
    level: Passing = None
    received: Annotated[str, msgspec.Meta(min_length=1)] = msgspec.field(default="", name="requestReceivedTimestamp")
    annotations: dict[str, str] | None = None


decode_usual = msgspec.json.Decoder(_UsualRequest).decode


def _usual(told: _UsualRequest) -> Parsed:
    annotations, rest = told.annotations, dict[str, str]()
    if told.level is not None:
        rest["level"] = str(told.level)
    if told.received:
        rest["requestReceivedTimestamp"] = told.received[:UNMAPPED_TEXT_LENGTH_MAX]
    if annotations is not None:
        rest["annotations"] = shown(annotations)
    decision = annotations.get("authorization.k8s.io/decision", "") if annotations else ""
    return _parsed(told, _request(told, decision, _trial(told, None)), rest)


def _field_by_field(value: dict[str, Any]) -> _Request:
    """The same for what is written otherwise than usual."""
    audit_id, stage = text_at(value, "auditID"), text_at(value, "stage")
    if not audit_id or not stage:
        raise UnknownFormat("an object that is no audit event")
    resource, group, subresource, namespace, name, uid = texts_of(
        value.get("objectRef"), "resource", "apiGroup", "subresource", "namespace", "name", "uid"
    )
    return _Request(
        audit_id=audit_id,
        stage=stage,
        verb=text_at(value, "verb"),
        agent=text_at(value, "userAgent"),
        uri=text_at(value, "requestURI"),
        stage_time=text_at(value, "stageTimestamp") or text_at(value, "requestReceivedTimestamp") or text_at(value, "timestamp"),
        addresses=texts_at(value, "sourceIPs"),
        user=_User(text_at(value, "user", "username"), texts_at(value, "user", "groups")),
        impersonated=_User(text_at(value, "impersonatedUser", "username")),
        object=_Object(resource, group, subresource, namespace, name, uid),
        status=_Status(int_at(value, "responseStatus", "code", maximum=CODE_MAX)),
        annotations=_Annotations(text_at(value, "annotations", "authorization.k8s.io/decision")),
    )


def _trial(told: _Told, asked: object) -> str:
    """yes | claimed; empty: it was meant.  `asked` is the body of the request, where the site's policy has it logged."""
    said = _DRY_RUN.search(told.uri) is not None
    if told.verb != "delete":
        return "yes" if said else ""
    if isinstance(asked, dict):
        return "yes" if asked.get("dryRun") == ["All"] else ""
    return "claimed" if said else ""


def _request(told: _Told, decision: str, trial: str) -> KubernetesRequest:
    about, user, addresses = told.object, told.user, told.addresses
    # Whoever enters writes the address: it is bounded by its length alone, since no number of parameters may hide that he did.
    query = parse_qs(told.uri[:TEXT_CHARACTERS_MAX].partition("?")[2]) if about.subresource in ENTERING else _NOTHING
    return KubernetesRequest(  # in the order of its fields: by name it takes ten times as long
        user.username,
        told.verb,
        f"{about.resource}.{about.api_group}" if about.api_group else about.resource,
        about.subresource,
        about.namespace,
        about.name,
        about.uid,
        told.status.code,
        decision,
        told.stage,
        told.impersonated.username,
        user.groups,
        addresses[0] if addresses else "",  # the others are what proxies claim
        told.agent,
        tuple(query.get("command", ())),
        query.get("container", _NO_CONTAINER)[0],
        trial,
    )


_NO_CONTAINER = ("",)
_NOTHING: Mapping[str, Sequence[str]] = MappingProxyType({})


FORMAT = KubernetesAudit()
