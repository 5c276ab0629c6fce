"""A line of the JumpServer bastion's audit, as it goes to syslog, in; a login, a session, a command or another act out.

    <14>osm: session_command_log - {"id":"..","user":"u017 (x)(u017)","asset":"gpu-001(10.0.0.7)","account":"root(root)",
                                    "input":"kill -9 4711","output":"","session":"..","timestamp":1772480441,"remote_addr":"10.0.0.5"}

    login_log                Login: by `status`, true or false, also as {"value": true, "label": ".."}
    host_session_log         SessionChanged, of service jumpserver: closed where it is finished, else opened
    session_command_log      SessionCommand; the bastion knows neither process nor exit code
    ftp_log                  SessionCommand `sftp <operation> <file>`
    operation_log            AccessLine `<action> <type of the resource>`: what was done in the bastion's own console
    password_change_log      AccessLine, of who changed it

A user is written `name(login)`, and the name is his own to choose: the login is what stands in the *last* parentheses.  Releases before 3
say `system_user` where later ones say `account`.  Labels are translated, so only values are read.  The program is `osm`, formerly
`jumpserver`; the line may come without time and host, as Python's own handler sends it.

The events are of the family teleport, the bastion's: a cluster has one, and what is asked of it is the same.  `bastion` tells them apart.

Holds: times without offset are the server's, in the source's zone; a row's own id is the id of its record.  Not verified on real lines.
Layout: github.com/jumpserver/jumpserver apps/audits (signal_handlers/other.py, serializers.py), apps/terminal/serializers, by their code.
"""

import re
from collections.abc import Sequence
from typing import Any

from pipeline.errors import UnknownFormat
from pipeline.formats import syslog
from pipeline.formats.fields import checked_time, iso_time, json_object, unmapped
from pipeline.formats.json_event import TEXT_CHARACTERS_MAX, at, int_at, text_at
from pipeline.formats.line import Line, Reading
from pipeline.model.events import AccessLine, AnyBody, Login, Parsed, SessionChanged, SessionCommand
from pipeline.model.source import Source

PROGRAMS = frozenset({"osm", "jumpserver"})
SECONDS_MAX = 2**33
_BARE = re.compile(r"(?:<[0-9]{1,3}>)?(osm|jumpserver): ")
_CATEGORY = re.compile(r"(login|ftp|operation|password_change|host_session|session_command)_log - (?=\{)")
_TIME = re.compile(
    r"([0-9]{4})[/-]([0-9]{2})[/-]([0-9]{2})[ T]([0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]{1,9})?) ?(Z|[+-][0-9]{2}:?[0-9]{2})?"
)
_HOST = re.compile(r"[A-Za-z0-9._-]{1,255}")
_TIMES = {
    "login": "datetime", "operation": "datetime", "password_change": "datetime", "ftp": "date_start",
    "session_command": "timestamp_display",
}  # fmt: skip
_TAKEN = frozenset({
    "id", "username", "ip", "status", "backend", "datetime", "user", "user_id", "asset", "account", "system_user", "input", "output",
    "session",
    "timestamp", "timestamp_display", "remote_addr", "date_start", "date_end", "is_finished", "operate", "filename", "action",
    "resource_type", "resource", "change_by",
})  # fmt: skip


class JumpServer:
    """A category, a dash and an object."""

    name = "jumpserver"
    source = Source.TELEPORT
    begins = (b"osm: ", b"jumpserver: ")
    shape = b"<", rb"<[0-9]{1,3}>(?:osm|jumpserver): "
    in_object = True

    def claims(self, payload: bytes) -> bool:
        """The end of a category and the start of its object."""
        return b"_log - {" in payload

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:
        """One event.  Raises UnknownFormat for lines of other programs."""
        text, host, tag = _said(line, reading)
        found = _CATEGORY.match(text)
        if found is None:
            raise UnknownFormat("no line of JumpServer's audit")
        value = json_object(text[found.end() :].rstrip("\x00\n ").encode())
        category = found[1]
        body = _body(category, value)
        asset = text_at(value, "asset").rpartition("(")[0]
        own = text_at(value, "id")
        change = f"/{body.change}" if isinstance(body, SessionChanged) else ""
        return (
            Parsed(
                source=Source.TELEPORT,
                host=asset if _HOST.fullmatch(asset) else host,
                event_time=_time(category, value, reading),
                own_id=f"jumpserver/{category}/{own}{change}" if own else "",
                body=body,
                unmapped={"bastion": "jumpserver", **unmapped(value, _TAKEN)},
                tag=tag,
            ),
        )


def _said(line: Line, reading: Reading) -> tuple[str, str, str]:
    """The text after the program, and host and tag of the prefix."""
    text = syslog.text_of(line.payload)
    if bare := _BARE.match(text):
        return text[bare.end() :], "", bare[1]
    found = syslog.split(line, reading)
    if found is None:
        return text, "", ""
    if found.program not in PROGRAMS:
        raise UnknownFormat("a line that another program wrote")
    return found.text, found.host, found.tag


def _body(category: str, value: dict[str, Any]) -> AnyBody:
    user, address, session = _login(text_at(value, "user")), text_at(value, "remote_addr"), text_at(value, "session")
    account = _login(text_at(value, "account") or text_at(value, "system_user"))
    match category:
        case "login":
            outcome = "accepted" if _plain(value, "status") is True else "failed"
            return Login(user=text_at(value, "username"), outcome=outcome, method=text_at(value, "backend"), address=text_at(value, "ip"))
        case "host_session":
            change = "closed" if value.get("is_finished") is True else "opened"
            return SessionChanged(
                user=account or user, change=change, service="jumpserver", by=user, session=text_at(value, "id"), address=address
            )
        case "session_command":
            return SessionCommand(user=user, command=text_at(value, "input"), login=account, session=session, address=address)
        case "ftp":
            command = f"sftp {_word(value, 'operate').lower()} {text_at(value, 'filename')}"
            return SessionCommand(user=user, command=command[:TEXT_CHARACTERS_MAX], login=account, session=session, address=address)
        case "operation":
            what = f"{_word(value, 'action')} {text_at(value, 'resource_type')}"
            return AccessLine(what=what[:128], program="jumpserver", user=user, address=address, text=text_at(value, "resource"))
        case _:
            changed_by = _login(text_at(value, "change_by"))
            return AccessLine(what="password changed", program="jumpserver", user=changed_by, address=address, text=user)


def _login(text: str) -> str:
    """`u017` of `any name(u017)`."""
    name, opened, login = text.rpartition("(")
    return login[:-1] if name and opened and login.endswith(")") else text


def _plain(value: dict[str, Any], name: str) -> object:
    """A choice, without the label beside it."""
    return at(value, name, "value") if isinstance(value.get(name), dict) else value.get(name)


def _word(value: dict[str, Any], name: str) -> str:
    return text_at({name: _plain(value, name)}, name)


def _time(category: str, value: dict[str, Any], reading: Reading) -> int | None:
    if category == "session_command" and (seconds := int_at(value, "timestamp", maximum=SECONDS_MAX)) is not None:
        return checked_time(seconds * 1000)
    name = _TIMES.get(category) or ("date_end" if value.get("is_finished") is True else "date_start")
    found = _TIME.fullmatch(text_at(value, name))
    if found is None:
        return None
    year, month, day, clock, offset = found.groups()
    return iso_time(f"{year}-{month}-{day}T{clock}{offset or ''}", reading)


FORMAT = JumpServer()
