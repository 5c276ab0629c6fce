"""A message of GELF, the format of Graylog, in; the line in it, and what stands beside it, out.

    {"version":"1.1","host":"gpu-001","short_message":"Out of memory: Killed process 4711","timestamp":1772452800.318,"_program":"kernel"}

Fluent Bit's `Format gelf`, syslog-ng's `graylog2`, Docker's driver and loggers of programs write it.  The line is `full_message` where
there is one, since the short one may be cut or be its first line.  All other fields of a record begin with one `_` more than they are
called, and Fluent Bit writes those of an object as `_kubernetes_pod_name`: both are undone, and what that says is read as of any object of
a shipper (json_wrapper.py).  So `_UID` is a field `UID`, which anybody may write to the journal, and the journal's own word is `__UID`.

`file` and `line` of GELF 1.0 are a place in a program, and `facility` is a name that a logger chose: they are nobody's file or program.

Holds: a field of any other type counts as absent, and none makes a line unreadable.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import orjson

from pipeline.formats.envelopes import json_wrapper
from pipeline.formats.envelopes.json_lines import decoded
from pipeline.formats.envelopes.said import NUMBER_DIGITS_MAX, iso, moment, text
from pipeline.formats.line import Headers, Line

VERSIONS = frozenset({"1.0", "1.1"})
_KEY = b'"short_message"'
_POD = "kubernetes_"
_SAID = frozenset({"pod_name", "namespace_name", "pod_id", "container_name", "host"})
# By these an object is known as an event itself, or holds its line elsewhere; a program may call a field of its own so (`_jobid`).
_NO_LINE = frozenset({"event", "jobid", "log", "node_state", "object_kind", "trainwatch_probe"})
_PLAIN = (str, int, float)
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Gelf:
    """The line is a field of a message of GELF."""

    name = "gelf"
    begins: Sequence[bytes] = (b"{",)

    def unwrap(self, value: bytes, headers: Headers) -> list[Line] | None:
        """One line, or None where it is no such message."""
        if value[:1] != b"{" or _KEY not in value:
            return None
        said = decoded(_decode, value)
        if said is None or not isinstance(said.get("short_message"), str) or text(said.get("version")) not in VERSIONS:
            return None
        lines = json_wrapper.ENVELOPE.unwrap(_object(said), headers)
        return None if lines is None else [msgspec.structs.replace(line, beside=value) for line in lines]


def _object(said: Mapping[str, Any]) -> bytes:
    """As Fluent Bit would have written the same record without GELF."""
    fields: dict[str, Any] = {key[1:]: each for key, each in said.items() if key[:1] == "_" and isinstance(each, _PLAIN)}
    for name in _NO_LINE & fields.keys():
        del fields[name]
    pod = {key.removeprefix(_POD): each for key, each in fields.items() if key.startswith(_POD)}
    if pod := {key: each for key, each in pod.items() if key in _SAID}:
        fields["kubernetes"] = pod
    full = said.get("full_message")
    fields["message"] = full if isinstance(full, str) and full else said["short_message"]
    fields |= {"host": text(said.get("host")), "timestamp": _time(said.get("timestamp"))}
    try:
        return orjson.dumps(fields)
    except orjson.JSONEncodeError:  # half of a surrogate pair, or a number of more than 64 bits
        return json.dumps(fields).encode()


def _time(seconds: object) -> str | None:
    """Some write the number as text.  None: it is not a time."""
    if isinstance(seconds, str) and seconds.isascii() and len(seconds) <= NUMBER_DIGITS_MAX and seconds.replace(".", "", 1).isdecimal():
        seconds = float(seconds)
    found = moment(seconds)
    return None if found is None else iso(found)


ENVELOPE = Gelf()
