"""One raw auditd record in; one AuditRecord with decoded fields out.

A kernel event is several records that share time and serial; `hosts` puts them together, because they interleave, come out of order
and get lost.  Here each line is read alone:

    type=SYSCALL msg=audit(1772480441.311:9001): arch=c000003e syscall=62 ... comm="bash" key="kill_signals"<1d>ARCH=x86_64 AUID="u017"
         |                 |          |          `- fields: quoted text is literal, unquoted hex of a text field is encoded
         type              epoch UTC  serial                                                  upper case: auditd's own translations

A line may stand after `node=HOST` or the prefix of a syslog daemon, of which only the audit daemons' tags are read: any user can write a
syslog line that contains `type=SYSCALL msg=audit(..)`.  And under such a tag, too (`logger -t audispd`), so that the event says by which
it came, for ingest to judge.  Fields that user space wrote (`msg='..'`) never replace fields of the kernel.  Numbers stay as the kernel
wrote them (`a0` hex); added are `result` (success, fail) and `syscall_name`, since numbers mean different calls on different machines.
`?` and `(null)` mean absent.

Holds: linear time in the length of the line; a text field that cannot be decoded stays as it was written.

The kernel writes the fields of a type in one order, so the types that make the bulk are first tried against one pattern of the whole
body (2 us for a SYSCALL); what does not fit it to the last byte, as hex text, is read field by field (4 us, as splitting at blanks).
"""

import ipaddress
import re
import zlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from pipeline.errors import DecodeError, UnknownFormat
from pipeline.formats import syslog
from pipeline.formats.choosing import TEXT
from pipeline.formats.line import Line, Reading
from pipeline.formats.syscalls import syscall_name
from pipeline.model.events import AuditRecord, Parsed
from pipeline.model.source import Source

TRANSLATIONS_MAX = 512  # characters of those that are remembered

_HEAD = re.compile(
    r"(?:node=(\S{1,255}) )?type=([A-Z][A-Z0-9_]{1,40}|UNKNOWN\[[0-9]{1,5}\]|[0-9]{4,5}) "
    r"(?:msg=)?audit\(([0-9]{1,12})\.([0-9]{3}):([0-9]{1,10})\):? ?"
)
_STARTS = ("type=", "node=")
_AUDIT_PROGRAMS = frozenset({"audit", "auditd", "audispd", "audisp-syslog", "audisp-remote"})

# A name starts where no name can be going on, which keeps the search linear however long a run without `=` is.
_FIELD = re.compile(r'(?<![A-Za-z0-9_\-\[\]])([A-Za-z_][A-Za-z0-9_\-\[\]]*)=("[^"]*"|[^ ]*)')
_ENRICHED = "\x1d"
# The same translations when a shipper dropped the separator: `key=(null)ARCH=x86_64`, `cap_frootid=0OUID="root"`.
_GLUED = re.compile(r"(?<=\S)(?=ARCH=)|(?<=[^\sA-Z])(?=(?:OAUID|OUID|AUID|UID|SADDR)=)")

_TEXT_FIELDS = frozenset(
    {"comm", "exe", "cwd", "name", "proctitle", "key", "acct", "cmd", "ocomm", "data", "path", "dir", "file", "grp", "vm", "watch"}
)
_HEX = re.compile(r"[0-9A-F]+")
# Of these types all text fields are known; the empty tuple stands for the arguments of EXECVE, as many as there are.
_TEXTS_OF_TYPE: dict[str, tuple[str, ...]] = {
    "SYSCALL": ("comm", "exe", "key"), "PATH": ("name",), "CWD": ("cwd", "proctitle"), "OBJ_PID": ("ocomm",), "EXECVE": (),
    "PROCTITLE": ("proctitle",), "SOCKADDR": ("key",), "EOE": ("key",), "OPENAT2": ("key",),
}  # fmt: skip
_ABSENT = frozenset({"?", "(null)", ""})
# Types that occur once in an event; the records of others need something of their own in their id.
_SINGLE = frozenset({"SYSCALL", "CWD", "PROCTITLE", "SOCKADDR", "EOE"})
_NUMBERED_TYPES = {
    "1300": "SYSCALL", "1302": "PATH", "1306": "SOCKADDR", "1307": "CWD", "1309": "EXECVE", "1318": "OBJ_PID", "1320": "EOE",
    "1327": "PROCTITLE", "1337": "OPENAT2", "1400": "AVC",
}  # fmt: skip
_SUCCESS = {"yes": "success", "success": "success", "1": "success", "no": "fail", "failed": "fail", "fail": "fail", "0": "fail"}
_AVC = re.compile(r"avc: {1,8}([a-z]{1,16}) {1,8}\{ ([^}]{0,256}) \}")
_FAMILIES = {1: "unix", 2: "ipv4", 10: "ipv6", 16: "netlink"}


class Layout(NamedTuple):
    """A pattern for a whole body."""

    whole: re.Pattern[str]
    names: tuple[str, ...]  # of its groups


_SAID = r"([^ ?\"'()][^ \"'()]*)"  # in records where `?` is nothing


def _layout(kernel: str, user_space: str = "", plain: str = r"([^ \"']*)") -> Layout:
    """The layout of an order of fields: "x" is quoted text, which needs no decoding; x? may be missing."""
    plain = _SAID if user_space else plain
    pattern = "".join(_field(field, plain) for field in kernel.split())
    if user_space:
        pattern += "msg='" + "".join(_field(field, rf"(?:\?|{plain})") for field in user_space.split())[:-1] + "' "
    return Layout(re.compile(pattern), tuple(map(_bare, f"{kernel} {user_space}".split())))


def _field(field: str, plain: str) -> str:
    value = r'(?:"([^"]*)"|\(null\))' if field == '"key"' else '"([^"]*)"' if '"' in field else plain
    return f"(?:{_bare(field)}={value} )?" if field.endswith("?") else f"{_bare(field)}={value} "


def _bare(field: str) -> str:
    return field.strip('"?')


# In the order in which kernel/auditsc.c and libaudit write them.
_TASK = "auid uid gid euid suid fsuid egid sgid fsgid tty ses"
_USER_SPACE = _layout("pid uid auid ses subj?", 'op? grantors? unit? id? "acct"? "comm"? "exe" hostname addr terminal res')
_LAYOUTS = {
    "SYSCALL": _layout(f'arch syscall success exit a0 a1 a2 a3 items ppid pid {_TASK} "comm" "exe" subj? "key"'),
    "PATH": _layout('item "name" inode dev mode ouid ogid rdev nametype cap_fp? cap_fi? cap_fe? cap_fver? cap_frootid?'),
    "OBJ_PID": _layout('opid oauid ouid oses "ocomm"'),
    "CWD": _layout('"cwd"'),
    "LOGIN": _layout("pid uid subj? old-auid auid tty old-ses ses res", plain=rf"({_SAID[1:-1]}|\(none\))"),
    **dict.fromkeys(("SERVICE_START", "SERVICE_STOP", "CRED_ACQ", "CRED_DISP", "CRED_REFR"), _USER_SPACE),
    **dict.fromkeys(("USER_ACCT", "USER_AUTH", "USER_LOGIN", "USER_LOGOUT", "USER_START", "USER_END"), _USER_SPACE),
}


class Auditd:
    """Raw records of the kernel's audit subsystem."""

    name = "auditd"
    source = Source.AUDITD
    begins = (b"type=", b"node=", b" audit", b" audisp")
    first_bytes = TEXT

    def claims(self, payload: bytes) -> bool:
        """A record type and an audit stamp; the first alone is a record that auditd itself could not read."""
        if payload.startswith(b"type="):
            return payload.find(b" msg=", 0, 64) >= 0 or payload.find(b"audit(", 0, 128) >= 0
        return payload.find(b"type=") >= 0 and payload.find(b"audit(") >= 0

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:
        """The record.  Raises DecodeError for a record without a stamp, UnknownFormat for other text."""
        text = syslog.text_of(line.payload)
        host, tag, prefixed = "", "", not text.startswith(_STARTS)
        if prefixed:
            host, tag, text = _unprefixed(line, reading)
        elif line.program and not line.file and line.program not in _AUDIT_PROGRAMS:
            raise UnknownFormat("a line of another program: anybody may write to the system log")
        head = _HEAD.match(text)
        if head is None:
            # The tag of an audit daemon is anybody's to choose: only what comes from the audit log itself is known to be a record.
            tagged = prefixed or (line.program and not line.file)
            raise UnknownFormat("no audit record") if tagged else DecodeError("an audit record without type, time and serial")
        node, record_type, seconds, milliseconds, serial = head.groups()
        record_type = _NUMBERED_TYPES.get(record_type, record_type)
        body = text[head.end() :]
        fields = _fields(record_type, body)
        keys = _keys(fields.pop("key", ""))
        if record_type == "PATH":
            item = fields.get("item", "0")
            number = int(item) if len(item) < 6 and item.isascii() and item.isdigit() else 0
            own = str(number)
        else:
            number = 0
            own = "0" if record_type in _SINGLE else format(zlib.crc32(body.encode()), "08x")
        return (
            Parsed(
                source=Source.AUDITD,
                host=node or host,
                event_time=int(seconds) * 1000 + int(milliseconds),
                own_id=f"{seconds}.{milliseconds}:{serial}/{record_type}/{own}",
                body=AuditRecord(record_type=record_type, serial=int(serial), item=number, fields=fields, keys=keys),
                tag=tag,
            ),
        )


def _unprefixed(line: Line, reading: Reading) -> tuple[str, str, str]:
    """Host, tag and record of a line after `audit[1]: ` or a whole syslog prefix."""
    found = syslog.split(line, reading)
    if found is None:
        program, mark, text = syslog.text_of(line.payload).partition(": ")
        if mark and (tag := program.partition("[")[0]) in _AUDIT_PROGRAMS:
            return "", tag, text
        raise UnknownFormat("no audit record")
    text = found.text
    if found.program == "kernel":
        # The kernel's own log, when no daemon listens: `kernel: [  12.345678] audit: type=1400 audit(..): ..`
        stamp = text.find("audit: type=", 0, 64)
        if stamp >= 0:
            return found.host, found.tag, text[stamp + len("audit: ") :]
    elif found.program in _AUDIT_PROGRAMS and text.startswith(_STARTS):
        return found.host, found.tag, text
    raise UnknownFormat("no audit record of an audit daemon")


def _fields(record_type: str, body: str) -> dict[str, str]:
    body, enriched, translations = body.partition(_ENRICHED)
    layout = _LAYOUTS.get(record_type)
    found = layout.whole.fullmatch(body if body[-1:] == " " else f"{body} ") if layout else None
    if layout and found:
        # A strict zip takes twice as long.
        fields = {name: value for name, value in zip(layout.names, found.groups(), strict=False) if value is not None}
    else:
        if not enriched and ("UID=" in body or "ARCH=" in body) and (glued := _GLUED.search(body)):
            body, translations = body[: glued.start()], body[glued.start() :]
        fields = _by_name(record_type, body)
    if translations:
        added = _translated(translations) if len(translations) <= TRANSLATIONS_MAX else _texts(translations)
        fields |= added if fields.keys().isdisjoint(added) else {**added, **fields}
    _derive(record_type, body, fields)
    return fields


def _by_name(record_type: str, body: str) -> dict[str, str]:
    texts = _TEXTS_OF_TYPE.get(record_type)
    if texts is None:
        return _other_fields(record_type, body)
    # The kernel writes text in known fields only, so the others need no look.
    found = _FIELD.findall(body)
    fields = dict(found)
    if len(fields) != len(found):
        fields = dict(reversed(found))
    _clean(fields, texts or [name for name in fields if name != "argc" and not name.endswith("_len")])
    return fields


def _clean(fields: dict[str, str], texts: Iterable[str]) -> None:
    for name in texts:
        value = fields.get(name)
        if value is None:
            continue
        if value.startswith('"'):
            fields[name] = value[1:-1] if value.endswith('"') and len(value) > 1 else value
        elif value in _ABSENT:
            del fields[name]
        else:
            fields[name] = _decoded(value)


def _other_fields(record_type: str, body: str) -> dict[str, str]:
    kernel, quote, said = body.partition("msg='")
    if record_type == "LOGIN":
        for name in ("old auid=", "new auid=", "old ses=", "new ses="):
            kernel = kernel.replace(name, name.replace(" ", "_"))
    fields: dict[str, str] = {}
    _collect(fields, kernel)
    if quote:
        # Old messages wrap some of their fields in brackets and commas: `(hostname=?, addr=?, terminal=cron res=success)'`.
        end = said.rfind("'")
        _collect(fields, (said[:end] if end >= 0 else said).replace(", ", " "))
    return fields


def _collect(fields: dict[str, str], text: str) -> None:
    """Adds the fields of `text` that are not there yet: what user space says never replaces what the kernel said."""
    for name, value in _FIELD.findall(text):
        if name in fields:
            continue
        if value[:1] == '"' == value[-1:] and len(value) > 1:
            fields[name] = value[1:-1]
        elif value not in _ABSENT:
            if name in _TEXT_FIELDS:
                value = _decoded(value)
            elif value[-1] == ")" and "(" not in value:
                value = value[:-1]
            fields[name] = value


def _texts(translations: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    _collect(fields, translations)
    return fields


# The same users make the same calls, and these texts are a third of an enriched record.
_translated = lru_cache(maxsize=4096)(_texts)


def _decoded(value: str) -> str:
    """Text that the kernel wrote in hex because it holds blanks, quotes or bytes outside ASCII: upper-case digits, without quotes."""
    value = value.rstrip("\"'")
    if len(value) % 2 or not _HEX.fullmatch(value):
        return value
    return bytes.fromhex(value).decode("utf-8", "replace").rstrip("\x00").replace("\x00", " ")


def _keys(key: str) -> tuple[str, ...]:
    """The rule's keys.  Rules that were written with `-F key=key=x` carry the word twice."""
    if not key:
        return ()
    if "\x01" not in key:
        return (key.removeprefix("key="),)
    return tuple(each.removeprefix("key=") for each in key.split("\x01") if each)


def _derive(record_type: str, body: str, fields: dict[str, str]) -> None:
    outcome = fields.get("success") or fields.get("res")
    if outcome is not None and outcome in _SUCCESS:
        fields["result"] = _SUCCESS[outcome]
    number = fields.get("syscall")
    if number is not None:
        name = syscall_name(fields.get("arch", ""), number) or fields.get("SYSCALL", "")
        if name:
            fields["syscall_name"] = name
    elif record_type == "SOCKADDR":
        fields.update(_socket_address(fields.get("saddr", "")))
    elif record_type == "AVC" and (verdict := _AVC.search(body)):
        fields["seresult"], fields["seperms"] = verdict[1], verdict[2]


def _socket_address(saddr: str) -> dict[str, str]:
    """Family, address, port or path of a `struct sockaddr` in hex."""
    try:
        raw = bytes.fromhex(saddr)
    except ValueError:
        return {}
    if len(raw) < 2:
        return {}
    family = int.from_bytes(raw[:2], "little")
    name = _FAMILIES.get(family, str(family))
    if name == "ipv4" and len(raw) >= 8:
        return {"family": name, "addr": str(ipaddress.IPv4Address(raw[4:8])), "port": str(int.from_bytes(raw[2:4], "big"))}
    if name == "ipv6" and len(raw) >= 24:
        return {"family": name, "addr": str(ipaddress.IPv6Address(raw[8:24])), "port": str(int.from_bytes(raw[2:4], "big"))}
    if name == "unix":
        path = raw[2:]
        # An abstract socket starts with a zero byte; what follows the path's end is old memory.
        shown = b"@" + path[1:].rstrip(b"\x00") if path[:1] == b"\x00" else path.partition(b"\x00")[0]
        return {"family": name, "path": shown.decode("utf-8", "replace")}
    return {"family": name}


FORMAT = Auditd()
