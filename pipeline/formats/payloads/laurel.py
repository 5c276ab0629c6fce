"""A line of LAUREL in, the JSON form of auditd that Debian packages; one AuditRecord per kernel record out, the same as of raw lines.

LAUREL puts the records of one kernel event into one object.  They are taken apart again, because what assembles events has to do with
raw records anyway, and because a record gets the id that it has when it comes raw: a site that ships both is not counted twice.

    {"ID":"1772480441.311:9001","NODE":"gpu-001","SYSCALL":{"arch":"0xc000003e","syscall":62,..,"a0":"0x1267","a1":"0x9"},
     "OBJ_PID":[{"opid":4711,..}],"EXECVE":{"argc":2,"ARGV":["kill","-9"]},"PROCTITLE":{"ARGV":[..]}}

Numbers that the kernel writes in hex or octal have a prefix here and lose it again, except of modes.  Texts are percent-encoded where
they hold bytes that are not text, or `%` or `+`.  Upper-case names are LAUREL's or auditd's own words and never replace the kernel's.

Layout: https://github.com/threathunters-io/laurel/blob/master/json-format.md and man/laurel-about.7.md there (its example event).
Not verified on real lines: no sample exists here but that documented example, which the tests are modelled on.
"""

import re
import zlib
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

import orjson

from pipeline.errors import DecodeError, SchemaMismatch, UnknownFormat
from pipeline.formats.fields import UNMAPPED_FIELDS_MAX, UNMAPPED_TEXT_LENGTH_MAX, shown
from pipeline.formats.json_event import at, event_object
from pipeline.formats.line import Line, Reading
from pipeline.formats.syscalls import syscall_name
from pipeline.model.events import AuditRecord, Parsed
from pipeline.model.source import Source

PROGRAMS = ("laurel", "audit", "audisp")
RECORDS_MAX = 4096  # of one event; the kernel names every process that a signal to a group reached
ARGUMENTS_MAX = 4096
NODE_CHARACTERS_MAX = 255
HEAD_BYTES = 1024  # in which the stamp stands
_STAMPED = re.compile(rb'[{,] ?"ID": ?"[0-9]{1,12}\.[0-9]{3}:[0-9]{1,10}"')
_ID = re.compile(r"([0-9]{1,12})\.([0-9]{3}):([0-9]{1,10})")
_TYPE = re.compile(r"[A-Z][A-Z0-9_]{1,40}")
_DIGITS = "0123456789abcdefABCDEF"
HEX_DIGITS_MAX = 32
_NO_RECORDS = frozenset({"ID", "NODE", "PARENT_INFO"})
_USUAL = frozenset({"SYSCALL", "EXECVE", "CWD", "PATH", "OBJ_PID", "PROCTITLE", "SOCKADDR"})  # types, told without the pattern
_PLAIN, _TEXT = frozenset({str, int}), frozenset({str})
_SINGLE = frozenset({"SYSCALL", "CWD", "PROCTITLE", "SOCKADDR", "EOE"})
# Of the fields with these names the kernel writes hex without prefix.
_HEXADECIMAL = frozenset({"arch", "a0", "a1", "a2", "a3", "saddr"})
_HEXADECIMAL_OF: dict[str, tuple[str, ...]] = {  # what of them a type has
    "SYSCALL": ("arch", "a0", "a1", "a2", "a3"), "OBJ_PID": (), "CWD": (), "PATH": (), "PROCTITLE": (), "EXECVE": (),
    "SOCKADDR": ("saddr",),
}  # fmt: skip
_SUCCESS = {"yes": "success", "success": "success", "1": "success", "no": "fail", "failed": "fail", "fail": "fail", "0": "fail"}


class Laurel:
    """One object per kernel event."""

    name = "laurel"
    source = Source.AUDITD
    begins = (b'{"ID"',)
    in_object = True

    def claims(self, payload: bytes) -> bool:
        """An object with an audit stamp near its start, also after a cookie, a prefix, or what a shipper put in front."""
        return payload.find(b'"ID":', 0, HEAD_BYTES) >= 0 and _STAMPED.search(payload, 0, HEAD_BYTES) is not None

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:
        """The event's records.  Raises SchemaMismatch for more of them than an event has."""
        value, host = event_object(line, reading, PROGRAMS)
        stamp = _ID.fullmatch(value["ID"]) if isinstance(value.get("ID"), str) else None
        if stamp is None:
            raise UnknownFormat("an object without an audit stamp")
        host, seconds, milliseconds, serial = _host(value) or host, *stamp.groups()
        time, number, escaped = int(seconds) * 1000 + int(milliseconds), int(serial), line.payload.find(b"%") >= 0
        events = list[Parsed]()
        for record_type, found in value.items():
            if record_type not in _USUAL and (record_type in _NO_RECORDS or not _TYPE.fullmatch(record_type)):
                continue
            for each in found if type(found) is list else (found,):
                if type(each) is not dict:
                    raise SchemaMismatch(f"{record_type} is not a record")
                if len(events) == RECORDS_MAX:
                    raise SchemaMismatch("an event has too many records")
                own, body = _record(record_type, each, number, escaped)
                events.append(Parsed(Source.AUDITD, body, time, host, f"{stamp[0]}/{record_type}/{own}"))
        return events


def _host(value: dict[str, Any]) -> str:
    """LAUREL's word, else that of the shipper that put its own beside it."""
    if type(node := value.get("NODE")) is str and node:
        return node[:NODE_CHARACTERS_MAX]
    for said in (value.get("host"), at(value, "host", "name")):
        if isinstance(said, str) and said:
            return said[:NODE_CHARACTERS_MAX]
    return ""


def _record(record_type: str, value: dict[str, Any], serial: int, escaped: bool) -> tuple[str, AuditRecord]:
    fields = _fields(record_type, value, escaped)
    key = fields.pop("key", "")
    keys = () if not key else (key,) if "\x01" not in key else tuple([each for each in key.split("\x01") if each])
    item, own = 0, "0"
    if record_type == "PATH":
        text = fields.get("item", "0")
        item = int(text) if len(text) < 6 and text.isascii() and text.isdigit() else 0
        own = str(item)
    elif record_type not in _SINGLE:
        own = format(zlib.crc32(repr(sorted(fields.items())).encode()), "08x")
    return own, AuditRecord(record_type, serial, item, fields, keys)  # in the order of its fields: by name it takes ten times as long


def _fields(record_type: str, value: dict[str, Any], escaped: bool) -> dict[str, str]:
    if escaped or len(value) > UNMAPPED_FIELDS_MAX or not _PLAIN.issuperset(map(type, value.values())):
        fields = _any_fields(record_type, value, escaped)
    else:  # nearly all
        fields = {name: found if type(found) is str else repr(found) for name, found in value.items()}
        for name in _HEXADECIMAL_OF.get(record_type, _HEXADECIMAL):
            if name in fields:
                fields[name] = _bare(name, fields[name])
    outcome = fields.get("success") or fields.get("res")
    if outcome is not None and outcome in _SUCCESS:
        fields["result"] = _SUCCESS[outcome]
    number = fields.get("syscall")
    if number is not None and (name := syscall_name(fields.get("arch", ""), number) or fields.get("SYSCALL", "")):
        fields["syscall_name"] = name
    return fields


def _any_fields(record_type: str, value: dict[str, Any], escaped: bool) -> dict[str, str]:
    if record_type == "PROCTITLE" and not escaped and len(value) == 1 and type(argv := value.get("ARGV")) is list:
        argv = argv[:ARGUMENTS_MAX]
        if _TEXT.issuperset(map(type, argv)):
            return {"proctitle": " ".join(argv)}
    fields: dict[str, str] = {}
    for name, found in value.items():
        if name == "ARGV" and isinstance(found, list):
            if record_type == "PROCTITLE":
                fields["proctitle"] = " ".join(_text(each) for each in found[:ARGUMENTS_MAX])
            else:
                fields.update((f"a{number}", _field(f"a{number}", record_type, each)) for number, each in enumerate(found[:ARGUMENTS_MAX]))
        elif found is not None and len(fields) < UNMAPPED_FIELDS_MAX + ARGUMENTS_MAX and name not in fields:
            fields[name] = _field(name, record_type, found)
    return fields


def _field(name: str, record_type: str, value: object) -> str:
    if name in _HEXADECIMAL and record_type != "EXECVE" and isinstance(value, str) and (bare := _bare(name, value)) != value:
        return bare
    if isinstance(value, (dict, list)):
        try:
            return orjson.dumps(value)[:UNMAPPED_TEXT_LENGTH_MAX].decode("utf-8", "replace")
        except orjson.JSONEncodeError as error:
            raise DecodeError("a field is nested too deeply") from error
    return _text(value)


def _bare(name: str, text: str) -> str:
    """Without the prefix of hex digits."""
    digits = text[2:]
    if text[:2] != "0x" or not digits or len(digits) > HEX_DIGITS_MAX or digits.strip(_DIGITS):
        return text
    return digits.lower() if name != "saddr" else digits


def _text(value: object) -> str:
    """Bytes that are not text stand as `%FF`, and so do `%` and `+` themselves."""
    text = value if isinstance(value, str) else shown(value)
    return unquote(text, errors="replace") if "%" in text else text


FORMAT = Laurel()
