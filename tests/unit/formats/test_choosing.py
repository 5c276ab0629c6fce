"""Which formats are asked about a line: few of them, and never another answer for it."""

from collections.abc import Sequence
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.bench.format_lines import MAKERS, lines_of
from pipeline.errors import RejectedRecord, UnknownFormat
from pipeline.formats import registry
from pipeline.formats.choosing import HEAD_BYTES, Candidates, telling
from pipeline.formats.line import Line, Payload, Reading
from pipeline.model.events import Parsed
from pipeline.model.source import FAMILIES, Source
from tests.unit.formats.test_registry import LINES

READING = Reading(zone=ZoneInfo("UTC"), reference_time=1_772_600_000_000)

TELLING = [
    (b"", b""),
    (b'{"jobid":7}', b'{"jobid"'),
    (b"Mar  2 19:40:41 login-1 sshd[9]: x", b" sshd"),
    (b"Mar  2 19:40:41", b"Mar"),
    (b"2026-03-02T19:40:41.318+00:00 ctl-1 slurmctld[9]: x", b" slurmctld"),
    (b"2026-03-02 19:40:41,161 INFO FSNamesystem.audit: x", b" INFO"),
    (b"[2026-03-02T19:40:41.318] launch task x", b"] launch"),
    (b"[2026-03-02 19:40:41,765] [INFO] x", b"] [INFO]"),
    (b"[rank3]:[E302", b"[rank3]"),
    (b"03/02/2026 19:40:41;D;48213", b";D;"),
    (b"135 06UNLNK 19:40:41", b" 06UNLNK"),
    (b'3: :::MLLOG {"time_ms":1}', b":::MLLOG"),
    (b"3: :::MLLOG {", b"3:"),
    (b"slurmstepd: error: *** STEP 7.0", b"slurm"),
    (b" iteration 10/", b" iteration"),
]


@pytest.mark.parametrize(("payload", "begin"), TELLING, ids=[payload[:30].decode() for payload, _ in TELLING])
def test_where_a_line_begins(payload: bytes, begin: bytes) -> None:
    """Behind the time, the host or the rank stands what tells the format."""
    assert payload[max(telling(payload), 0) :].startswith(begin)


@given(st.binary(max_size=400))
def test_the_start_is_within_the_line(payload: bytes) -> None:
    """Whatever the bytes, the answer is a place in the head of the line, or -1 for none."""
    assert -1 <= telling(payload) <= min(max(len(payload), 19), HEAD_BYTES)


def one_by_one(line: Line, allowed: frozenset[Source]) -> tuple[str, Sequence[Parsed]] | type[RejectedRecord]:
    """The answer of the slow way: every format in order, objects of objects first, none left out."""
    formats = [format_ for format_ in registry.PAYLOADS if format_.source in allowed]
    if line.payload[:1] == b"{":
        formats.sort(key=lambda format_: format_.name not in registry._OBJECTS)
    for format_ in formats:
        if format_.claims(line.payload):
            try:
                return format_.name, format_.parse(line, READING)
            except UnknownFormat:
                continue
            except RejectedRecord as error:
                return type(error)
    return UnknownFormat


def asked(line: Line, allowed: frozenset[Source]) -> tuple[str, Sequence[Parsed]] | type[RejectedRecord]:
    """The registry's answer."""
    try:
        format_, events = registry.parse(line, READING, allowed=allowed)
    except RejectedRecord as error:
        return type(error)
    return format_.name, events


ALL = [text.encode() for _, text in LINES] + [line for name in MAKERS for line in lines_of(name, 12)]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_answer_is_that_of_asking_everybody(family: str) -> None:
    """Lines of all formats, on the topics of each family."""
    for payload in ALL:
        line = Line(payload=payload)
        assert asked(line, FAMILIES[family]) == one_by_one(line, FAMILIES[family])


@settings(deadline=None, max_examples=400)
@given(data=st.data())
def test_the_answer_for_damaged_lines(data: st.DataObject) -> None:
    """The same of lines that are cut or joined, as an attacker or a full disk leaves them."""
    payload = data.draw(st.sampled_from(ALL))
    start = data.draw(st.integers(0, len(payload)))
    tail = data.draw(st.sampled_from(ALL))
    end = data.draw(st.integers(0, len(tail)))
    line = Line(payload=payload[:start] + data.draw(st.sampled_from([b"", b"{", b" ", b"]", b"9", b'"'])) + tail[end:])
    allowed = FAMILIES[data.draw(st.sampled_from(sorted(FAMILIES)))]
    answer = asked(line, allowed)
    assert answer == one_by_one(line, allowed) or answer == by_its_beginning(line, allowed)


def by_its_beginning(line: Line, allowed: frozenset[Source]) -> tuple[str, Sequence[Parsed]] | None:
    """What the format says whose beginning the line has: of two lines that run into one another it is the first."""
    at = max(telling(line.payload), 0)
    for format_ in registry.PAYLOADS:
        if format_.source in allowed and any(line.payload.startswith(begin, at) for begin in getattr(format_, "begins", ())):
            try:
                return format_.name, format_.parse(line, READING)
            except RejectedRecord:
                continue
    return None


class Spy:
    """A format that notes whether it was asked."""

    source = Source.TRAINING

    def __init__(self, name: str, **optional: object) -> None:
        self.name = name
        for attribute, value in optional.items():
            setattr(self, attribute, value)

    def claims(self, payload: bytes) -> bool:
        return False

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:
        raise UnknownFormat(line.payload.decode() + str(reading.zone))


def test_who_is_asked() -> None:
    """A format is left out only by what it says of itself; formats for objects come first for an object."""
    formats: list[Payload] = [Spy("any"), Spy("digits", first_bytes=b"0123456789"), Spy("inside", in_object=True), Spy("objects")]
    candidates = Candidates(formats, frozenset({"objects"}))
    assert [format_.name for format_ in candidates.of(b"7 x")] == ["any", "digits", "objects"]
    assert [format_.name for format_ in candidates.of(b"x {}")] == ["any", "inside", "objects"]
    assert [format_.name for format_ in candidates.of(b"{}")] == ["objects", "any", "inside"]
    assert candidates.of(b"") == ()


def test_the_longest_beginning_is_tried_first() -> None:
    """Of beginnings that share their first bytes the more telling one wins."""
    candidates = Candidates([Spy("short", begins=(b"] [",)), Spy("long", begins=(b"] [INFO] ",))], frozenset())
    assert [format_.name for _, format_ in candidates.begins[b"] ["]] == ["long", "short"]
