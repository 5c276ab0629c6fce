"""The pieces of a job's long lines in; the events of the whole lines out.

Container runtimes split a line at 16 KiB, and shippers send the pieces, from partitions in any order.  Ingest says of each piece which line
it is of and in what place (ingest/splits.py); nothing is read before the line is whole, for half an object is none and half a number is
another one:

    {"step":7,"lo        piece 0 of line a
    ss":2.5,..           piece 1 of line a               Iteration(7, loss 2.5), which cites the three
    ..}                  piece 2 of line a, the last

A line of which a piece is missing HOLD_MS after its first is released as what it is: text (`cut_line`), which says nothing but itself.  A
piece that comes later still completes it.

Holds: the answer does not depend on the order of the pieces; a line has no more than PIECES_MAX of them and BYTES_MAX bytes, what is longer
is cut; what the line says of another job than the one whose output it is, is left out.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from zoneinfo import ZoneInfo

from pipeline.errors import RejectedRecord
from pipeline.formats import registry
from pipeline.formats.line import Line, Reading
from pipeline.model.events import Event, LinePart, Parsed, TrainingLine
from pipeline.model.ids import digest
from pipeline.model.source import FAMILIES, Source

HOLD_MS = 30_000  # of event time, from the first piece of a line to its last
PIECES_MAX, BYTES_MAX = 64, 1 << 20
PIECE_BYTES_MAX = 32_768  # runtimes split at 16 KiB
GAP_MAX = 16_384  # bytes between two pieces in their file, beside what a runtime writes before each: another piece stood there
EVENTS_MAX = 64  # of one line
AHEAD_MS = 3_600_000  # by which a line's own time may lie behind its collection: a job prints what it likes
TEXT_CHARACTERS_MAX = 4096


def released_at(part: Event) -> int:
    """Until when a piece waits for the others of its line."""
    return part.event_time + HOLD_MS


def whole_lines(parts: Iterable[Event], passed: int) -> list[Event]:
    """What the lines say whose pieces these are, as far as they are whole, or event time has `passed` their wait."""
    lines: dict[str, list[tuple[Event, LinePart]]] = {}
    for event in parts:
        if isinstance(event.body, LinePart):
            lines.setdefault(event.body.line, []).append((event, event.body))
    return [event for name in sorted(lines) for event in _events(sorted(lines[name], key=_order), passed)]


def _order(piece: tuple[Event, LinePart]) -> tuple[int, int, int, str]:
    event, body = piece
    return -1 if body.ordinal is None else body.ordinal, -1 if event.position is None else event.position, event.event_time, event.id


def _events(pieces: Sequence[tuple[Event, LinePart]], passed: int) -> list[Event]:
    first, body = pieces[0]
    whole = _is_whole(pieces)
    if not whole and passed <= min(released_at(event) for event, _ in pieces):
        return []
    payload = b"".join(piece.payload for _, piece in pieces[:PIECES_MAX])[:BYTES_MAX]
    parsed = _parsed(first, body, payload) if whole else ()
    if not parsed:
        what = "long_line" if whole else "cut_line"
        parsed = (
            Parsed(source=Source.TRAINING, body=TrainingLine(what=what, text=payload.decode("utf-8", "replace")[:TEXT_CHARACTERS_MAX])),
        )
    cited = tuple((event.id, event.sha256) for event, _ in pieces[:PIECES_MAX])
    return [
        Event(
            id=digest("line", first.id, number),
            source=each.source,
            cluster=first.cluster,
            event_time=_time(each, first),
            body=each.body,
            host=first.host,
            job=first.job,
            sha256=cited[0][1] if len(cited) == 1 else digest(*[sha256 for _, sha256 in cited]),
            parts=cited,
            file=first.file,
            position=first.position,
            shipper=first.shipper,
            unproven=any(event.unproven for event, _ in pieces),
        )
        for number, each in enumerate(parsed[:EVENTS_MAX])
        if getattr(each.body, "job", "") in ("", first.job)
    ]


def _is_whole(pieces: Sequence[tuple[Event, LinePart]]) -> bool:
    """Do they follow one another up to the one that ends the line, without a gap in count or place?"""
    if not pieces[-1][1].last or any(body.cut for _, body in pieces):
        return False
    if len(pieces) > PIECES_MAX or sum(len(body.payload) for _, body in pieces) > BYTES_MAX:
        return False
    counted = [body.ordinal for _, body in pieces]
    if None not in counted and counted != list(range(len(counted))):
        return False
    for (one, body), (next_one, _) in pairwise(pieces):
        if one.position is not None and next_one.position is not None:
            behind = next_one.position - one.position - len(body.payload)
            if not 0 <= behind < GAP_MAX + _escapes(body.payload):
                return False
    return True


def _escapes(payload: bytes) -> int:
    """By how much a piece may be longer in a file of JSON."""
    return payload.count(b'"') + payload.count(b"\\") + payload.count(b"\t") + 5 * sum(map(payload.count, (b"<", b">", b"&", b"\x1b")))


def _parsed(first: Event, body: LinePart, payload: bytes) -> Sequence[Parsed]:
    """By the registry, as it would have been in one piece; nothing where no format reads it: its pieces are kept as rows."""
    line = Line(payload=payload, host=first.host, file=first.file, file_offset=first.position, collected_time=first.event_time)
    reading = Reading(
        zone=ZoneInfo(body.zone), reference_time=first.event_time, host=first.host, job=first.job, json_keys=body.json_keys or None
    )
    try:
        return registry.parse(line, reading, body.format, FAMILIES["training"])[1]
    except RejectedRecord:
        return ()


def _time(parsed: Parsed, first: Event) -> int:
    time = parsed.event_time
    return first.event_time if time is None or time > first.event_time + AHEAD_MS else time
