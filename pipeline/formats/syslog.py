"""A line of a system log in; its time, host, program and text out.

Four shapes exist in practice: the traditional `Mar  2 19:40:41 host prog[1]: text`, the same with an ISO time, RFC 5424 with its
structured data, and the bare text of a shipper that cut the prefix off and says the program beside it.  The first three may stand
after a `<priority>`.  An offset in the line wins over the setting.

The traditional time has neither zone nor year.  The year is the latest in which the line is not ahead of its own collection, since
logs are read after they were written: the *nearest* year would put a line of March, read in November, into next spring.  A clock may
run ahead by `AHEAD_MAX`, which also carries a line of 1 January, read in the last seconds of the old year, across.

Holds: the *first* tag of a line is the program, so a user name or message that imitates a whole line stays text; every pattern takes
linear time.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import msgspec

from pipeline.errors import DecodeError
from pipeline.formats.fields import iso_time, local_to_utc
from pipeline.formats.line import Line, Reading
from pipeline.model.instants import DAY_MS

TEXT_CHARACTERS_MAX = 2000  # of free text carried in an event; the whole line is kept as evidence anyway
NUMBER_DIGITS_MAX = 18  # what fits in 64 bits

AHEAD_MAX = 7 * DAY_MS
YEARS_BACK_MAX = 8  # 29 February comes back after eight years at the latest

_MONTHS = {
    name: number
    for number, name in enumerate(("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), start=1)
}
# A leap second is the last second that a calendar knows.
_SECONDS = {f":{second:02d}": 1000 * min(second, 59) for second in range(61)}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_PRIORITY = re.compile(r"<([0-9]{1,3})>")
_RFC3164 = re.compile(r"([A-Z][a-z]{2}) {1,2}([0-9]{1,2}) ([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))? ")
_ISO = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(?:[.,][0-9]{1,9})?(?:Z|[+-][0-9]{2}:?[0-9]{2})?) ")
# A tag is `prog`, `prog[12]` or `sshd(pam_unix)[12]`; the host before it may be missing where a shipper cut it.
_TAG = re.compile(r"(?:((?:[A-Za-z0-9_.%-]|:(?! )){1,255}) )?([A-Za-z0-9_./@-]{1,64})(?:\([A-Za-z0-9_-]{1,32}\))?(?:\[([0-9]{1,10})\])?: ?")
# As rsyslog's imfile writes it unless its tag is set with a colon; too weak to say that a line is one of the system log.
_TAG_WITHOUT_COLON = re.compile(r"([A-Za-z0-9_.%:-]{1,255}) ([A-Za-z0-9_./@-]{1,64})(?:\[([0-9]{1,10})\])? ")
# The same where what stands after it begins as lines of files do, and system log lines do not.
_TAG_OF_A_FILE = re.compile(_TAG_WITHOUT_COLON.pattern + r"(?=\[[0-9A-Z ]|\{\"|type=|node=)")
_RFC5424 = re.compile(r"1 (\S{1,64}) (\S{1,255}) (\S{1,64}) (\S{1,128}) \S{1,64} ")
_PID = re.compile(r"[0-9]{1,10}")
_FILES = re.compile(
    r"(?:^|/)(?:messages|syslog|secure|(?:auth|authpriv|kern|daemon|user|local[0-7]|all|everything|cluster)(?:\.log)?)(?:[.-][^/]*)?$"
    r"|/(?:remote|hosts|rsyslog|syslog|syslog-ng)/"  # where central hosts keep what others sent
)
_ELEMENT = re.compile(r'\[(?:[^"\]\\]|\\.|"(?:[^"\\]|\\.)*+")*+\]')


NO_TAG = "-"  # of a line of a system log that names no program


class SyslogLine(msgspec.Struct, frozen=True, gc=False):
    """A system log line, taken apart.  `priority` is None where the line has none; its facility is `priority >> 3`."""

    time: int | None
    host: str
    program: str
    pid: int | None
    text: str
    priority: int | None
    framed: bool = True  # the program stands in the line; else its envelope names it

    @property
    def tag(self) -> str:
        """What `Parsed.tag` says of it."""
        return (self.program or NO_TAG) if self.framed else ""


@lru_cache(maxsize=8192)
def is_system_log(path: str) -> bool:
    """Does a log daemon write there what any user sends it, as far as the file's name tells?"""
    return _FILES.search(path) is not None


def text_of(payload: bytes) -> str:
    """The line as text, without the CR that files written on other systems leave at its end."""
    text = payload.decode("utf-8", "replace")
    return text.removesuffix("\r")


def split(line: Line, reading: Reading, tags: re.Pattern[str] = _TAG) -> SyslogLine | None:
    """The parts of the line, or None when it has no syslog prefix and its envelope names no program either.

    Raises DecodeError where the prefix is there and its time is not a time.
    """
    text = text_of(line.payload)
    priority, start = None, 0
    if text[:1] == "<" and (marked := _PRIORITY.match(text)):
        priority, start = int(marked[1]), marked.end()
    if priority is not None and (head := _RFC5424.match(text, start)):
        return _rfc5424(text, head, priority, reading)
    if head := _RFC3164.match(text, start):
        month, day, clock, fraction = head.groups()
        time = yearless_time(_MONTHS.get(month, 0), int(day), clock, fraction or "", reading)
    elif head := _ISO.match(text, start):
        time = iso_time(head[1], reading)
    elif line.program:
        # The shipper took the prefix off and kept what it said.
        return SyslogLine(None, line.host, line.program, None, text[start:].lstrip(" "), priority, framed=priority is not None)
    else:
        return None
    tag = tags.match(text, head.end()) or _TAG_OF_A_FILE.match(text, head.end())
    if tag is None:
        return None
    host, program, pid = tag.groups()
    return SyslogLine(time, host or "", program, int(pid) if pid else None, text[tag.end() :].lstrip(" "), priority)


def begins(text: str) -> bool:
    """Does it begin with a time as lines of a system log do, after a priority or not?"""
    start = marked.end() if (marked := _PRIORITY.match(text)) else 0
    return any(each.match(text, start) for each in ((_RFC5424,) if start else ()) + (_RFC3164, _ISO))


def program_of(text: str) -> str:
    """The program that the line's own prefix names; empty where it has none."""
    start = marked.end() if (marked := _PRIORITY.match(text)) else 0
    if start and (framed := _RFC5424.match(text, start)):
        return framed[3]
    head = _RFC3164.match(text, start) or _ISO.match(text, start)
    tag = _TAG.match(text, head.end()) or _TAG_OF_A_FILE.match(text, head.end()) if head else None
    return tag[2] if tag else ""


def carried(line: Line, reading: Reading) -> tuple[Line, SyslogLine] | None:
    """The line that a daemon carries for another program, without its frame, and the frame; None where it has none that can be read."""
    bare = msgspec.structs.replace(line, program="")
    try:
        frame = split(bare, reading) or split(bare, reading, _TAG_WITHOUT_COLON)
    except DecodeError:
        return None
    if frame is None or not frame.text:
        return None
    host = line.host or frame.host
    # No file: what a program's name is worth must not depend on where the daemon wrote the line down.
    inner = Line(
        payload=frame.text.encode(), host=host, program=frame.program, collected_time=line.collected_time, truncated=line.truncated
    )
    return inner, frame


def _rfc5424(text: str, head: re.Match[str], priority: int | None, reading: Reading) -> SyslogLine:
    at, host, program, process = head.groups()
    start = head.end()
    if text.startswith("-", start):
        start += 1
    else:
        while element := _ELEMENT.match(text, start):
            start = element.end()
    return SyslogLine(
        iso_time(at, reading) if at != "-" else None,
        "" if host == "-" else host,
        "" if program == "-" else program,
        int(process) if _PID.fullmatch(process) else None,
        text[start:].lstrip(" ").removeprefix("\ufeff"),
        priority,
    )


def yearless_time(month: int, day: int, clock: str, fraction: str, reading: Reading) -> int:
    """UTC ms of a local time without year (`19:40:41`, fraction of any length).  Raises DecodeError where no year has that time."""
    in_minute = _SECONDS.get(clock[5:8], -1)
    if fraction and in_minute >= 0:
        in_minute += int((fraction + "00")[:3])
    settled = _settled_minute(month, day, clock[:5], reading.zone, reading.reference_time // DAY_MS)
    if settled is not None and in_minute >= 0:
        return settled + in_minute
    return _searched_time(month, day, clock[:5], in_minute, reading.zone, reading.reference_time)


@lru_cache(maxsize=8192)  # the lines of a minute say the same of it
def _settled_minute(month: int, day: int, clock: str, zone: ZoneInfo, collected_day: int) -> int | None:
    """UTC ms of `19:40` of a line, where that is the same for each of its seconds and at whatever time of its day it was collected."""
    try:
        earliest = _searched_time(month, day, clock, 59_999, zone, collected_day * DAY_MS) - 59_999
        latest = _searched_time(month, day, clock, 0, zone, (collected_day + 1) * DAY_MS - 1)
    except DecodeError:
        return None
    return latest if earliest == latest else None


def _searched_time(month: int, day: int, clock: str, in_minute: int, zone: ZoneInfo, reference: int) -> int:
    year = _year(reference // DAY_MS) + 1
    for candidate in range(year, year - YEARS_BACK_MAX - 2, -1):
        minute = _minute(candidate, month, day, clock)
        if minute is None or in_minute < 0 or minute - reference > AHEAD_MAX + DAY_MS:  # in no zone is it a day earlier
            continue
        time = local_to_utc(minute + in_minute, zone, reference)
        if time - reference <= AHEAD_MAX:
            return time
    raise DecodeError("a date or time that no year has")


@lru_cache(maxsize=1024)
def _year(day: int) -> int:
    return (_EPOCH + timedelta(days=day)).year


@lru_cache(maxsize=8192)  # the lines of a minute say the same of it
def _minute(year: int, month: int, day: int, clock: str) -> int | None:
    """Wall-clock milliseconds of `19:40`; None where there is no such time."""
    try:
        return (datetime(year, month, day, int(clock[:2]), int(clock[3:]), tzinfo=UTC) - _EPOCH) // _MILLISECOND
    except ValueError:
        return None


def number(text: str) -> int | None:
    """A decimal number that fits in 64 bits, or None: never an exception, never a digit of another script."""
    digits = text.removeprefix("-")
    if not digits or len(digits) > NUMBER_DIGITS_MAX or not (digits.isascii() and digits.isdigit()):
        return None
    return int(text)
