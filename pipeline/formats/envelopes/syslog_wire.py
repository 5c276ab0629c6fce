"""A system log line as syslog daemons send it to one another in; the line out, and the host and program that it names.

    <34>Oct 11 22:14:15 login-1 sshd[12]: text                                       RFC 3164
    <165>1 2026-03-02T12:00:00.318Z login-1 sshd 12 ID47 [origin ip="10.0.0.7"] text     RFC 5424
    104 <165>1 2026-03-02T ...                                                       RFC 6587: after the number of its octets

The payload is the line with its priority, as it came: formats/syslog.py takes it apart, once, when a format reads it.  Here only its
head is looked at, so that settings can tell sources by program and host.  The headers of the record win; and where they name a file,
nothing is taken from the text at all: a tailed line is whole, and who may print into a file must not choose who said it.

Several frames in one value are several lines, as a relay that forwards TCP as it comes sends them.  A count that does not fit its frame is
no count.

Holds: linear time; every value that begins with a priority is one line at least; no time of RFC 3164 becomes a collected time, for it has
no zone.
"""

import re
from collections.abc import Sequence

from pipeline.errors import RecordTooLarge
from pipeline.formats.envelopes.raw import said_by, without_line_end
from pipeline.formats.envelopes.said import text
from pipeline.formats.fields import zoned_time
from pipeline.formats.line import ITEMS_MAX, Headers, Line

_OCTETS = re.compile(rb"([1-9][0-9]{0,6}) (?=<[0-9]{1,3}>)")
_TAGGED = rb"(?:([A-Za-z0-9_.%:-]{1,255}) )?([A-Za-z0-9_./@-]{1,64})(?:\([A-Za-z0-9_-]{1,32}\))?(?:\[[0-9]{1,10}\])?: "
_HEAD = re.compile(
    rb"<[0-9]{1,3}>(?:"
    rb"1 (\S{1,64}) (\S{1,255}) (\S{1,48}) \S{1,128} \S{1,32} "
    rb"|[A-Z][a-z]{2} {1,2}[0-9]{1,2} [0-9:]{8}(?:\.[0-9]{1,9})? " + _TAGGED + rb"|20[0-9]{2}-[0-9]{2}-[0-9]{2}T\S{8,32} " + _TAGGED + rb")"
)


class SyslogOnTheWire:
    """A line after a priority."""

    name = "syslog"
    begins: Sequence[bytes] = (b"<", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8", b"9")

    def unwrap(self, value: bytes, headers: Headers) -> list[Line] | None:
        """One line, or one a frame."""
        if value[:1] == b"<":
            head = _HEAD.match(value)
            return None if head is None else [_line(value, head, headers)]
        if value.find(b" <", 1, 8) < 0:
            return None
        lines = []
        for frame in _frames(value):
            lines.append(_line(frame, _HEAD.match(frame), headers))
            if len(lines) > ITEMS_MAX:
                raise RecordTooLarge(f"more than {ITEMS_MAX} syslog frames in a record")
        return lines or None


def _frames(value: bytes) -> list[bytes]:
    """The frames, when their counts add up; none otherwise."""
    frames: list[bytes] = []
    at = 0
    while at < len(value) and len(frames) <= ITEMS_MAX:
        counted = _OCTETS.match(value, at)
        if counted is None:
            return frames if frames and value[at:].isspace() else []
        end = counted.end() + int(counted[1])
        if end > len(value) + 1:  # one more: the line end was counted, and cut by the shipper
            return []
        frames.append(value[counted.end() : end])
        at = end
    return frames


def _line(value: bytes, head: re.Match[bytes] | None, headers: Headers) -> Line:
    host, program, file, offset, collected = said_by(headers)
    if head is not None and not file:
        time, host5424, program5424, host3164, program3164, host_iso, program_iso = head.groups()
        host = host or _name(host5424 or host3164 or host_iso)
        program = program or _name(program5424 or program3164 or program_iso)
        if collected is None and time:
            collected = zoned_time(time.decode("ascii", "replace"))
    payload = without_line_end(value).removesuffix(b"\0")
    return Line(payload=payload, host=host, program=program, file=file, file_offset=offset, collected_time=collected)


def _name(said: bytes | None) -> str:
    return text(said.decode("utf-8", "replace")) if said else ""


ENVELOPE = SyslogOnTheWire()
