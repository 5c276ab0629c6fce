"""Lines of system logs: four shapes of prefix, the year rule, and text that imitates a prefix."""

import contextlib
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import DecodeError, RejectedRecord
from pipeline.formats import syslog
from pipeline.formats.line import Line, Reading
from pipeline.formats.syslog import SyslogLine

NOON = 1_772_452_800_000  # 2026-03-02T12:00:00Z
SECOND = 1000
DAY = 86_400 * SECOND


def split(text: str, zone: str = "UTC", at: int = NOON, program: str = "") -> SyslogLine | None:
    """The parts of a line that was collected `at`."""
    line = Line(payload=text.encode(), program=program, host="gpu-001")
    return syslog.split(line, Reading(zone=ZoneInfo(zone), reference_time=at))


SHAPES = [
    ("traditional", "Mar  2 12:00:00 login2 sshd[1291]: hello", ("login2", "sshd", 1291, NOON)),
    ("traditional, two-digit day", "Mar 02 12:00:00 login2 sudo: hello", ("login2", "sudo", None, NOON)),
    ("traditional with a fraction", "Mar  2 12:00:00.25 login2 sudo: hello", ("login2", "sudo", None, NOON + 250)),
    ("padded text", "Mar  2 12:00:00 login2 sudo:    hello", ("login2", "sudo", None, NOON)),
    ("program with a module", "Mar  2 12:00:00 login2 sshd(pam_unix)[7]: hello", ("login2", "sshd", 7, NOON)),
    ("no host", "Mar  2 12:00:00 sshd[7]: hello", ("", "sshd", 7, NOON)),
    ("an address as host", "Mar  2 12:00:00 2001:db8::7 sshd[7]: hello", ("2001:db8::7", "sshd", 7, NOON)),
    ("ISO without zone", "2026-03-02T12:00:00.912134 login2 sudo: hello", ("login2", "sudo", None, NOON + 912)),
    ("ISO with offset", "2026-03-02T20:00:00.5+08:00 login2 sudo: hello", ("login2", "sudo", None, NOON + 500)),
    ("behind a priority", "<38>Mar  2 12:00:00 login2 sshd[7]: hello", ("login2", "sshd", 7, NOON)),
    ("RFC 5424", "<38>1 2026-03-02T12:00:00.956734+00:00 login2 sshd 7 msgid - hello", ("login2", "sshd", 7, NOON + 956)),
    ("RFC 5424, absent parts", "<38>1 - - sshd - - - hello", ("", "sshd", None, None)),
    ("RFC 5424, data", '<38>1 2026-03-02T12:00:00Z login2 sshd 7 - [a@1 b="x \\"] y"][c] hello', ("login2", "sshd", 7, NOON)),
]


@pytest.mark.parametrize(("name", "text", "expected"), SHAPES)
def test_shapes(name: str, text: str, expected: tuple[str, str, int | None, int | None]) -> None:
    """Every prefix in use gives host, program, pid, time and the same text."""
    found = split(text)
    assert found is not None
    assert (found.host, found.program, found.pid, found.time) == expected
    assert found.text == "hello"


def test_priority() -> None:
    """The priority is kept, for its facility tells the kernel from programs."""
    found = split("<3>Mar  2 12:00:00 gpu-001 kernel: hello")
    assert found is not None
    assert found.priority == 3


YEARS = [
    ("the same day", "Mar  2 12:00:00", "UTC", NOON, NOON),
    ("read much later", "Mar  2 12:00:00", "UTC", NOON + 250 * DAY, NOON),
    ("read in the next year", "Dec 31 23:59:59", "UTC", 1_767_225_660_000, 1_767_225_599_000),
    ("written in the new year by a fast clock", "Jan  1 00:00:05", "UTC", 1_767_225_590_000, 1_767_225_605_000),
    ("local time of the zone", "Mar  2 20:00:00", "Asia/Shanghai", NOON, NOON),
    ("29 February, read two years later", "Feb 29 00:00:00", "UTC", NOON, 1_709_164_800_000),
    ("leap second", "Mar  2 12:00:60", "UTC", NOON, NOON + 59 * SECOND),
]


@pytest.mark.parametrize(("name", "stamp", "zone", "at", "expected"), YEARS)
def test_year(name: str, stamp: str, zone: str, at: int, expected: int) -> None:
    """The year is the latest in which the line is not ahead of its collection."""
    found = split(f"{stamp} login2 sshd: hello", zone, at)
    assert found is not None
    assert found.time == expected


def test_the_wall_time_that_comes_twice() -> None:
    """When a clock was set back, the later of two equal wall times is meant unless it lies ahead of the collection."""
    first = 1_792_888_200_000  # 02:30 summer time in Berlin on 25 October 2026
    for collected, expected in ((first + SECOND, first), (first + 3_700 * SECOND, first + 3_600 * SECOND)):
        found = split("Oct 25 02:30:00 login2 sshd: hello", "Europe/Berlin", collected)
        assert found is not None
        assert found.time == expected


@given(
    st.sampled_from(["UTC", "Asia/Shanghai", "Europe/Berlin", "America/New_York", "Pacific/Kiritimati", "Pacific/Pago_Pago"]),
    st.one_of(st.integers(NOON - 800 * DAY, NOON + 800 * DAY), st.sampled_from([1_792_890_000_000, 1_798_761_600_000, 1_774_746_000_000])),
    st.one_of(st.integers(-400 * DAY, 9 * DAY), st.integers(-2 * 3600 * SECOND, 2 * 3600 * SECOND), st.integers(6 * DAY, 8 * DAY)),
)
def test_the_year_of_a_minute_is_that_of_each_of_its_seconds(zone: str, collected: int, apart: int) -> None:
    """What is remembered of a minute gives what a search for this very second gives: at turns of years, and of clocks."""
    wall = datetime.fromtimestamp((collected + apart) // SECOND, ZoneInfo(zone))
    reading = Reading(zone=ZoneInfo(zone), reference_time=collected)
    in_minute = wall.second * SECOND
    try:
        expected = syslog._searched_time(wall.month, wall.day, f"{wall:%H:%M}", in_minute, reading.zone, collected)
    except DecodeError:
        expected = None
    try:
        found = syslog.yearless_time(wall.month, wall.day, f"{wall:%H:%M:%S}", "", reading)
    except DecodeError:
        found = None
    assert found == expected


@pytest.mark.parametrize("stamp", ["Feb 31 12:00:00", "Mar  2 25:00:00", "Xyz  2 12:00:00", "2026-13-01T12:00:00", "2026-03-02T1:::0000"])
def test_a_time_that_is_none(stamp: str) -> None:
    """A prefix whose time cannot be is broken, not unknown."""
    with pytest.raises(DecodeError):
        split(f"{stamp} login2 sshd: hello")


@pytest.mark.parametrize(
    "text", ["", "hello", "1 iteration of many a b c", "Mar  2 12:00:00", "Mar  2 12:00:00 login2", "19:40:41 sshd: x"]
)
def test_other_text(text: str) -> None:
    """Text without a prefix is not a system log line."""
    assert split(text) is None


def test_the_envelope_names_the_program() -> None:
    """A shipper that cut the prefix off says the program, and then the whole line is text."""
    found = split(" Accepted password for u017", program="sshd")
    assert found == SyslogLine(None, "gpu-001", "sshd", None, "Accepted password for u017", None, framed=False)


def test_only_the_first_tag_counts() -> None:
    """A message that imitates a line stays a message."""
    found = split("Mar  2 12:00:00 login2 sshd[7]: Invalid user Mar  2 12:00:00 login2 kernel: x from 203.0.113.9")
    assert found is not None
    assert found.program == "sshd"


NUMBERS = [
    ("0", 0),
    ("-12", -12),
    ("9" * 18, 10**18 - 1),
    ("9" * 19, None),
    ("", None),
    ("-", None),
    ("--1", None),
    ("٣", None),
    ("1_0", None),
]


@pytest.mark.parametrize(("text", "expected"), NUMBERS)
def test_number(text: str, expected: int | None) -> None:
    """Only plain decimal digits that fit are a number."""
    assert syslog.number(text) == expected


@given(st.binary(max_size=300), st.sampled_from(["", "<38>", "<38>1 ", "Mar  2 12:00:00 ", "2026-03-02T12:00:00 h p[1]: "]))
def test_any_bytes(payload: bytes, start: str) -> None:
    """Nothing but a RejectedRecord is raised, whatever follows a prefix."""
    with contextlib.suppress(RejectedRecord):
        syslog.split(Line(payload=start.encode() + payload), Reading(zone=ZoneInfo("Asia/Shanghai"), reference_time=NOON))


@pytest.mark.parametrize("piece", ['[a="', "[", "\\", 'x="]" ', "Mar  2 12:00:00 ", "a:"])
def test_hostile_megabyte(piece: str) -> None:
    """A megabyte made to send a pattern astray is read in linear time."""
    for start in ("", "<38>1 2026-03-02T12:00:00Z h p 1 - ", "Mar  2 12:00:00 h "):
        split(start + piece * (1_000_000 // len(piece)))
