"""No format takes more than linear time in the length of a line: each is timed on lines of doubled lengths.

A good line of the format is filled, at several places, with what is worst for a pattern that could go back; a line that holds an object
also gets it as the text of each of its fields, as items of its lists and as further fields.  All fillings are tried at two lengths, and
those that look as if they grew faster than the line are measured again, with care:

    4 KiB             16 KiB            quick look: 4 times as long, and more than LOOK times as much?
    4 KiB  8 KiB      16 KiB            measured: twice as long, and more than DOUBLED times as much, both times?

Only ratios of process CPU time are compared, the least of several runs each, and a failure must repeat itself.
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pipeline.errors import RejectedRecord
from pipeline.formats import registry
from pipeline.formats.line import Line, Payload, Reading
from pipeline.model.source import FAMILIES, Source
from tests.unit.formats.test_registry import some_lines

READING = Reading(zone=ZoneInfo("Europe/Berlin"), reference_time=1_772_600_000_000)
KIB = 1024
SMALL, LARGE = 4 * KIB, 16 * KIB
SIZES = (4 * KIB, 8 * KIB, 16 * KIB)
LOOK, DOUBLED = 8.0, 3.2
RUNS, TRIES = 4, 2
LINES, PLACES, FIELDS = 40, 3, 14

Shape = Callable[[int], bytes]

UNITS = (
    b"a", b" ", b"9", b"k=v ", b"k=", b'"', b"'", b"\\", b'\\"', b"[", b"]", b"{", b"{'", b"(", b"|", b"| ", b": ", b",", b"-[", b"1-2,",
    b"a b", b"\xff", b"\t", b"\r", b" from ", b" for JobId=", b"gpu-[1-9],",
    b"[rank3]: ", b"0: ", b"100%|", b"a0=", b"error: ", b'""', b"%41", b"nan", b"1.",
)  # fmt: skip
BREAKS = (b"", b"\t", b'"|\x00')  # behind the filling, so that what took all of it must give it back


def filled(unit: bytes, size: int) -> bytes:
    return (unit * (size // len(unit) + 1))[:size]


def in_line(line: bytes, place: int, unit: bytes, broken: bytes = b"") -> Shape:
    """The line with the filling at a place."""
    return lambda size: line[:place] + filled(unit, size) + broken + line[place:]


def shapes_of(line: bytes) -> Iterator[tuple[str, Shape]]:
    """All fillings of a line, with a name."""
    for number in range(PLACES + 1):
        place = len(line) * number // PLACES
        for unit, broken in product(UNITS, BREAKS):
            yield f"{unit!r} {broken!r} at {place}", in_line(line, place, unit, broken)
    start = line.find(b"{")
    if start >= 0:
        with contextlib.suppress(ValueError):
            yield from in_object(line[:start], json.loads(line[start:]))


def in_object(before: bytes, value: Any) -> Iterator[tuple[str, Shape]]:
    """Fields filled, lists lengthened, fields added."""
    holders: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        each = waiting.pop()
        for key, inner in each.items() if isinstance(each, dict) else enumerate(each) if isinstance(each, list) else ():
            holders.append((each, key))
            waiting.append(inner)

    def with_(holder: Any, key: Any, made: Callable[[int], object]) -> Shape:
        def shape(size: int) -> bytes:
            kept = holder[key]
            holder[key] = made(size)
            try:
                return before + json.dumps(value, separators=(",", ":")).encode()
            finally:
                holder[key] = kept

        return shape

    for holder, key in [pair for pair in holders if isinstance(pair[0][pair[1]], str)][:FIELDS]:
        for unit in UNITS:
            text = unit.decode("utf-8", "replace")
            yield f"{unit!r} in {key}", with_(holder, key, lambda size, text=text: (text * size)[:size])  # type: ignore[misc]
    for holder, key in [pair for pair in holders if isinstance(pair[0][pair[1]], list | dict)][:FIELDS]:
        inner = holder[key]
        if isinstance(inner, list):
            item = inner[0] if inner else "a"
            length = len(json.dumps(item)) + 1
            yield f"items of {key}", with_(holder, key, lambda size, item=item, length=length: [item] * (size // length))  # type: ignore[misc]
        else:
            yield f"fields of {key}", with_(holder, key, lambda size, inner=inner: inner | {f"k{n}": n for n in range(size // 12)})  # type: ignore[misc]
    if isinstance(value, dict):
        yield "fields", lambda size: before + json.dumps(value | {f"k{number}": number for number in range(size // 12)}).encode()


def cost(work: Callable[[bytes], None], payload: bytes, runs: int) -> float:
    """Least CPU seconds of several runs."""
    found = []
    for _ in range(runs):
        begun = time.process_time()
        work(payload)
        found.append(time.process_time() - begun)
    return max(min(found), 1e-6)


def is_linear(work: Callable[[bytes], None], shape: Shape) -> bool:
    """Whether a line of twice the length costs about twice as much; looked at closely only where it does not seem so."""
    if cost(work, shape(LARGE), 1) <= LOOK * cost(work, shape(SMALL), 1):
        return True
    payloads = [shape(size) for size in SIZES]
    for _ in range(TRIES):
        once, twice, four_times = (cost(work, payload, RUNS) for payload in payloads)
        if twice <= DOUBLED * once or four_times <= DOUBLED * twice:
            return True
    return False


def asked(format_: Payload) -> Callable[[bytes], None]:
    """What ingest asks of a format."""

    def work(payload: bytes) -> None:
        format_.claims(payload)
        with contextlib.suppress(RejectedRecord):
            format_.parse(Line(payload=payload), READING)

    return work


def kinds(lines: Sequence[bytes]) -> list[bytes]:
    """One line of each kind, told by the letters of its first words and its last."""
    return list({bytes(byte for byte in line[:60] + line[-30:] if not chr(byte).isdigit()): line for line in lines}.values())[:6]


@pytest.mark.parametrize("format_", registry.PAYLOADS, ids=lambda format_: format_.name)
def test_formats(format_: Payload) -> None:
    """Every filling of every kind of line."""
    work = asked(format_)
    lines = kinds(some_lines(format_.name, LINES))
    for line in lines:
        for name, shape in shapes_of(line):
            assert is_linear(work, shape), f"{name} of {line[:80]!r}"


VALUES = [
    b"",
    b'{"message":"',
    b'{"message":"x","log":{"file":{"path":"/x"},"offset":7},"@timestamp":"2026-03-02T19:40:41Z","host":{"name":"gpu-001"}}',
    b'{"@timestamp":1772480441.318,"log":"x\\n","stream":"stderr","kubernetes":{"pod_name":"u017-0","namespace_name":"llm"}}',
    b'{"MESSAGE":"x","HOST":"login-1","PROGRAM":"sshd","PID":"9","ISODATE":"2026-03-02T19:40:41+00:00"}',
    b'{"items":[{"kind":"Event"}],"kind":"EventList"}',
    b'{"Records":[{"eventTime":"2026-03-02T19:40:41Z"}]}',
    b'{"resourceLogs":[{"resource":{"attributes":[]},"scopeLogs":[{"logRecords":[{"body":{"stringValue":"x"}}]}]}]}',
    b'{"logEvents":[{"message":"x","timestamp":1772480441318}]}',
    b'<133>1 2026-03-02T19:40:41Z gpu-001 sshd 9 - [a b="c"] x',
    b"<38>Mar  2 19:40:41 login-1 sshd[9]: x",
    b"2026-03-02T19:40:41.123456789Z stderr P x",
    b'[{"a":1},{"a":2}]',
    b'{"a":1}\n{"a":2}',
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value[:40].decode())
def test_envelopes(value: bytes) -> None:
    """What is unwrapped before any format is asked."""

    def work(payload: bytes) -> None:
        with contextlib.suppress(RejectedRecord):
            registry.unwrap(payload, [])

    for name, shape in shapes_of(value):
        assert is_linear(work, shape), name


@pytest.mark.parametrize("program", ["sshd", "kernel", "slurmctld", "falco", "osm"])
def test_texts_whose_program_the_envelope_tells(program: str) -> None:
    """All formats in turn, without a prefix of the system log."""

    def work(payload: bytes) -> None:
        with contextlib.suppress(RejectedRecord):
            registry.parse(Line(payload=payload, program=program), READING)

    for start in (b"", b"Accepted publickey for ", b"pam_unix(sshd:session): ", b"u017 : TTY=", b"Failed password for invalid user "):
        for unit, broken in product(UNITS, BREAKS):
            assert is_linear(work, in_line(start, len(start), unit, broken)), (unit, broken)


@pytest.mark.parametrize("allowed", [FAMILIES["scheduler"], FAMILIES["access"]], ids=["scheduler", "access"])
def test_behind_a_frame_of_syslog(allowed: frozenset[Source]) -> None:
    """What nobody reads as it is, and is read again without its frame; and rows of a site's own columns."""
    reading = Reading(zone=READING.zone, reference_time=READING.reference_time, columns=("JobID", "JobIDRaw", "JobName", "State", "Submit"))

    def work(payload: bytes) -> None:
        with contextlib.suppress(RejectedRecord):
            registry.parse(Line(payload=payload), reading, allowed=allowed)

    for start in (b"Mar  2 19:40:41 nn-1 sacct: 7|7|", b'<133>1 2026-03-02T19:40:41Z nn-1 hdfs-audit - [a b="c"] ', b"JobID|JobIDRaw|"):
        for unit, broken in product(UNITS, BREAKS):
            assert is_linear(work, in_line(start, len(start), unit, broken)), (start, unit, broken)


def test_the_measure_sees_a_square() -> None:
    """A parser that looks again at all that it has seen is found; a moment of a busy machine may hide it once."""

    def squared(payload: bytes) -> None:
        for place in range(0, len(payload), 64):
            payload[:place].upper()

    assert not all(is_linear(squared, in_line(b"", 0, b"a")) for _ in range(5))
