"""An audit event of the Teleport bastion in; a login, a session, a command or a Kubernetes request out.

    {"event":"session.command","code":"T4000I","uid":"..","time":"2026-03-02T19:40:41.318Z","user":"u017","login":"root","sid":"..",
     "server_hostname":"gpu-001","pid":31638,"ppid":31637,"path":"/usr/bin/kill","program":"kill","argv":["-9","4711"],"return_code":0}

    user.login                              Login: `success` false is a failed one
    session.start .end .join .leave         SessionChanged, of service teleport
    session.command exec scp sftp           SessionCommand; only `session.command` (enhanced recording) knows the process
    kube.request                            KubernetesRequest
    others                                  AccessLine, what happened as `what`

`user` is who logged in to the bastion, `login` the account on the server: the actor is the first.  `argv` has the arguments without the
program.  Names of fields hold dots; the object is flat.

Holds: `uid` is the own id; times are UTC.  Not verified on real lines: no sample exists here but the documented examples.
Layout: https://goteleport.com/docs/reference/audit-events/, github.com/gravitational/teleport api/types/events
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec

from pipeline.errors import UnknownFormat
from pipeline.formats.fields import unmapped, utc_time
from pipeline.formats.json_event import (
    PID_MAX,
    TEXT_CHARACTERS_MAX,
    Passing,
    Texts,
    bool_at,
    event_object,
    int_at,
    number_of,
    passed,
    text_at,
    texts_at,
    time_at,
    usual_line,
)
from pipeline.formats.line import Line, Reading
from pipeline.model.events import AccessLine, KubernetesRequest, Login, Parsed, SessionChanged, SessionCommand
from pipeline.model.source import Source

PROGRAMS = ("teleport",)
_TAKEN = frozenset({
    "event", "code", "uid", "time", "user", "login", "sid", "server_hostname", "addr.remote", "command", "exitCode", "return_code", "pid",
    "ppid", "path", "program", "argv", "method", "success", "verb", "resource_kind", "resource_namespace", "resource_name",
    "response_code", "kubernetes_groups",
})  # fmt: skip
_SESSIONS = {"session.start": "opened", "session.join": "joined", "session.end": "closed", "session.leave": "closed"}
_COMMANDS = frozenset({"session.command", "exec", "scp", "sftp"})
_PORT_MAX = 65_535
_PASSING = "ei", "cluster_name", "namespace", "server_id", "server_addr", "cgroup_id"

_Pid = Annotated[int, msgspec.Meta(ge=0, le=PID_MAX)] | None


class _Command(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A `session.command` of the usual types: as many of them come as processes start."""

    event: Literal["session.command"]
    code: str
    uid: str
    time: str = ""
    user: str = ""
    login: str = ""
    sid: str = ""
    host: str = msgspec.field(default="", name="server_hostname")
    address: str = msgspec.field(default="", name="addr.remote")
    pid: _Pid = None
    ppid: _Pid = None
    path: str = ""
    program: str = ""
    argv: Texts = ()
    return_code: Annotated[int, msgspec.Meta(ge=-1, le=0xFFFFFFFF)] | None = None
    ei: Passing = None
    cluster_name: Passing = None
    namespace: Passing = None
    server_id: Passing = None
    server_addr: Passing = None
    cgroup_id: Passing = None


decode_usual = msgspec.json.Decoder(_Command).decode


class Teleport:
    """One flat object per event."""

    name = "teleport"
    source = Source.TELEPORT
    begins = (b'{"event"', b'{"ei"')
    in_object = True

    def claims(self, payload: bytes) -> bool:
        """An object with an event, its code and its uid."""
        return b'"event"' in payload and b'"code"' in payload and b'"uid"' in payload and b'"time"' in payload

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:
        """One event.  Raises UnknownFormat for an object whose code is not one of Teleport's."""
        if (found := usual_line(line, decode_usual)) is not None and found.code[:1] == "T":
            return (_usual(found),)
        value, host = event_object(line, reading, PROGRAMS)
        event, code, uid = (value.get(name) for name in ("event", "code", "uid"))
        if not (isinstance(event, str) and isinstance(code, str) and isinstance(uid, str)) or code[:1] != "T":
            raise UnknownFormat("no event of Teleport")
        rest = {"code": code[:64]}
        rest.update(unmapped(value, _TAKEN))
        host = text_at(value, "server_hostname") or host
        return (Parsed(Source.TELEPORT, _body(value, event), time_at(value, "time"), host, uid[:TEXT_CHARACTERS_MAX], rest),)


def _usual(found: _Command) -> Parsed:
    code, path = found.return_code, found.path
    address, _ = _address(found.address)
    body = SessionCommand(
        found.user,
        " ".join((found.program or path, *found.argv)).strip()[:TEXT_CHARACTERS_MAX],
        found.login,
        found.sid,
        found.pid,
        found.ppid,
        path,
        None if code == -1 else code,
        address,
    )
    fields = found.ei, found.cluster_name, found.namespace, found.server_id, found.server_addr, found.cgroup_id
    rest = {"code": found.code[:64]} | passed(_PASSING, fields)
    return Parsed(Source.TELEPORT, body, utc_time(found.time) if found.time else None, found.host, found.uid, rest)


def _body(value: dict[str, Any], event: str) -> Login | SessionChanged | SessionCommand | KubernetesRequest | AccessLine:
    user, session = text_at(value, "user"), text_at(value, "sid")
    address, port = _address(text_at(value, "addr.remote"))
    if event == "user.login":
        outcome = "accepted" if bool_at(value, "success") else "failed"
        return Login(user=user, outcome=outcome, method=text_at(value, "method"), address=address, port=port)
    if event in _SESSIONS:
        return SessionChanged(
            user=text_at(value, "login") or user, change=_SESSIONS[event], service="teleport", by=user, session=session, address=address
        )
    if event in _COMMANDS:
        return SessionCommand(  # in the order of its fields: by name it takes ten times as long
            user,
            _command(value),
            text_at(value, "login"),
            session,
            number_of(value.get("pid"), "pid", PID_MAX),
            number_of(value.get("ppid"), "ppid", PID_MAX),
            text_at(value, "path") if event == "session.command" else "",
            _code(value),
            address,
        )
    if event == "kube.request":
        return KubernetesRequest(
            user=user,
            verb=text_at(value, "verb").lower(),
            resource=text_at(value, "resource_kind"),
            namespace=text_at(value, "resource_namespace"),
            name=text_at(value, "resource_name"),
            code=int_at(value, "response_code", maximum=999),
            groups=texts_at(value, "kubernetes_groups"),
            address=address,
        )
    return AccessLine(what=event[:128], program="teleport", user=user, address=address, text=text_at(value, "error"))


def _command(value: dict[str, Any]) -> str:
    if command := text_at(value, "command"):
        return command
    program = text_at(value, "program") or text_at(value, "path")
    return " ".join((program, *texts_at(value, "argv"))).strip()[:TEXT_CHARACTERS_MAX]


def _code(value: dict[str, Any]) -> int | None:
    """A command's answer; `exec` writes it as text, and a failure to run as -1."""
    for name in ("return_code", "exitCode"):
        found = value.get(name)
        if found not in (None, "", -1, "-1"):
            return int_at(value, name, maximum=0xFFFFFFFF)
    return None


def _address(text: str) -> tuple[str, int | None]:
    """`10.0.0.7:51234`, `[::1]:51234`; the port stays out when it is none."""
    address, mark, port = text.rpartition(":")
    if not mark or not (port.isascii() and port.isdigit()) or len(port) > 5 or int(port) > _PORT_MAX:
        return text, None
    return address.strip("[]"), int(port)


FORMAT = Teleport()
