"""Texts of log fields in; checked numbers, instants, node names and states out.

What several formats share, and nothing that knows one format.  A text that is not what its field promises raises a RejectedRecord,
since a guessed value would be believed downstream.

Times are UTC milliseconds.  Most cluster logs write local time without zone: `Reading.zone` says which, and
`Reading.reference_time` (when the line was collected) settles which of two equal wall times is meant when a clock was set back.

    clock set back at 02:00      01:30 (first)   01:30 (second)
    collected before the second  ^ taken
    collected later                              ^ taken: the smaller delay is the likelier one

Holds: linear time and bounded memory for any text (an expansion stops at a fixed number of nodes); no clock; caches only of pure
functions, and bounded.
"""

import datetime as dt
import json
import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from math import isfinite
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import msgspec
import orjson

from pipeline.errors import DecodeError, RejectedRecord, SchemaMismatch, TimestampOutOfRange
from pipeline.formats.line import Reading

EVENT_TIME_MIN = 946_684_800_000  # 2000-01-01: a smaller time is a counter, a zero or a clock that was never set
EVENT_TIME_MAX = 4_102_444_800_000  # 2100-01-01
SECONDS_LENGTH = len("2026-03-02T19:40:41")  # without fraction and offset
NODES_MAX = 100_000
NODE_NAME_LENGTH_MAX = 255
BRACKETS_MAX = 4  # per name: rack, chassis, slot, node
UNMAPPED_FIELDS_MAX = 64
UNMAPPED_NAME_LENGTH_MAX = 128
UNMAPPED_TEXT_LENGTH_MAX = 512

_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - a wall clock's zero; the zone is applied by local_to_utc

Model = TypeVar("Model", bound=msgspec.Struct)


# --- instants -------------------------------------------------------------------------------------------------------------------


def checked_time(milliseconds: int) -> int:
    """The time itself.  Raises TimestampOutOfRange outside 2000 to 2100."""
    if EVENT_TIME_MIN <= milliseconds < EVENT_TIME_MAX:
        return milliseconds
    raise TimestampOutOfRange("event time outside the years 2000 to 2099")


_ISO = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}):([0-5][0-9])(?:[.,]([0-9]{1,9}))?(Z|[+-][0-9]{2}:?[0-5][0-9])?")


def iso_time(text: str, reading: Reading) -> int:
    """`2026-03-02T19:40:41[.318][+08:00]`; without offset it is local time of the reading's zone."""
    wall, offset = _read(text)
    return checked_time(local_to_utc(wall, reading.zone, reading.reference_time) if offset is None else wall - offset)


def utc_time(text: str) -> int:
    """The same, for sources that write UTC without saying so."""
    length, second = len(text), _SECONDS.get(text[16:19])
    if length == SECONDS_LENGTH and second is not None:
        time = _minute(text[:16]) + second
    elif (
        second is not None
        and text[-1] == "Z"
        and (millisecond := _MILLISECONDS.get(text[19:23])) is not None
        and (length == _MILLISECONDS_LENGTH or (length <= _NANOSECONDS_LENGTH and text.isascii() and text[23:-1].isdigit()))
    ):
        time = _minute(text[:16]) + second + millisecond
    else:
        time, offset = _read(text)
        time -= offset or 0
    return time if EVENT_TIME_MIN <= time < EVENT_TIME_MAX else checked_time(time)


_MILLISECONDS_LENGTH, _NANOSECONDS_LENGTH = len("2026-03-02T19:40:41.318Z"), len("2026-03-02T19:40:41.318546829Z")


def _read(text: str) -> tuple[int, int | None]:
    """Milliseconds of the wall clock, and those that it is ahead of UTC where the text says so."""
    # The usual shapes by tables: in half the time that the pattern takes.
    second = _SECONDS.get(text[16:19])
    if second is not None:
        if len(text) == SECONDS_LENGTH:
            return _minute(text[:16]) + second, None
        place = text[19:]
        if place == "Z":
            return _minute(text[:16]) + second, 0
        millisecond, offset = _MILLISECONDS.get(place[:4]), place[4:].lstrip("0123456789")
        if millisecond is not None and len(place) - len(offset) <= len(".123456789"):
            return _minute(text[:16]) + second + millisecond, None if not offset else 0 if offset == "Z" else _offset(offset)
    match = _ISO.fullmatch(text)
    if match is None:
        raise DecodeError("not an ISO 8601 time")
    minute, rest, fraction, zone = match.groups()
    wall = _minute(minute) + 1000 * int(rest)
    if fraction:
        wall += int(fraction[:3]) if len(fraction) > 2 else int(f"{fraction}00"[:3])
    return wall, None if zone is None else 0 if zone == "Z" else _offset(zone)


_SECONDS = {f":{second:02d}": 1000 * second for second in range(60)}
_MILLISECONDS = {f"{point}{millisecond:03d}": millisecond for point in ".," for millisecond in range(1000)}
_ISO_OFFSET = re.compile(r"[+-][0-9]{2}:?[0-5][0-9]")
_ISO_MINUTE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}")


@lru_cache(maxsize=16_384)  # the lines of a minute say the same of it, and rows about a job repeat its times
def _minute(text: str) -> int:
    """Milliseconds of the wall clock at `2026-03-02T19:40`."""
    if _ISO_MINUTE.fullmatch(text) is None:
        raise DecodeError("not an ISO 8601 time")
    try:
        return _milliseconds(dt.datetime.fromisoformat(text) - _EPOCH)
    except ValueError as error:
        raise DecodeError("no such day or time of day") from error


@lru_cache(maxsize=256)
def _offset(text: str) -> int:
    """Milliseconds that `+08:00` is ahead of UTC."""
    if _ISO_OFFSET.fullmatch(text) is None:
        raise DecodeError("not an ISO 8601 time")
    try:
        ahead = dt.datetime.fromisoformat(f"2000-01-01T00:00:00{text}").utcoffset()
    except ValueError as error:
        raise DecodeError("no such offset") from error
    return _milliseconds(ahead or dt.timedelta())


def _milliseconds(span: dt.timedelta) -> int:
    """Whole ones; three times as quick as to divide by a millisecond."""
    return span.days * 86_400_000 + span.seconds * 1000 + span.microseconds // 1000


def zoned_time(text: str) -> int | None:
    """The same for a time that must carry its offset, as shippers' clocks do; None when it does not, or is not a time."""
    try:
        wall, offset = _read(text)
    except RejectedRecord:
        return None
    if offset is None:
        return None
    time = wall - offset
    return time if EVENT_TIME_MIN <= time < EVENT_TIME_MAX else None


def local_to_utc(wall: int, zone: ZoneInfo, reference: int) -> int:
    """UTC of a wall clock's milliseconds; of a time that comes twice the later one that is not ahead of `reference`."""
    first_offset, second_offset = _offsets(zone, wall // 60_000)
    first = wall - first_offset
    if first_offset <= second_offset:  # an ordinary time; or one that the clock skipped, read with the offset before
        return first
    second = wall - second_offset
    return second if second <= reference else first


@lru_cache(maxsize=16_384)
def _offsets(zone: ZoneInfo, minute: int) -> tuple[int, int]:
    """Milliseconds that the zone is ahead of UTC at a wall-clock minute: before and after a change that makes it ambiguous.

    By the minute, since zones have changed at 00:01, and streams repeat the minute often enough.
    """
    wall = _EPOCH + dt.timedelta(minutes=minute)
    first, second = (wall.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1))
    return _milliseconds(first or dt.timedelta()), _milliseconds(second or dt.timedelta())


# --- numbers and texts ----------------------------------------------------------------------------------------------------------


def bounded_int(text: str, maximum: int = 0xFFFFFFFF) -> int:
    """Decimal digits, 0 to `maximum`."""
    if not text.isascii() or not text.isdigit() or len(text) > 20:
        raise SchemaMismatch("a field that holds a number holds something else")
    number = int(text)
    if number > maximum:
        raise SchemaMismatch("a number is larger than its field allows")
    return number


def optional_int(text: str, maximum: int = 0xFFFFFFFF) -> int | None:
    """The same; None for an empty field."""
    return bounded_int(text, maximum) if text else None


def text_of(payload: bytes) -> str:
    """The line as text; bytes that are not UTF-8 become replacement characters, since one bad name must not hide a line."""
    return payload.decode("utf-8", "replace")


@lru_cache(maxsize=1024)  # a site's jobs end in few ways
def code_and_signal(text: str | None) -> tuple[int | None, int | None]:
    """Slurm's `exit status:signal`; empty: neither."""
    if not text:
        return None, None
    code, separator, signal = text.partition(":")
    if not separator:
        raise SchemaMismatch("an exit code is not of the form status:signal")
    return bounded_int(code, 0xFFFF), bounded_int(signal, 0xFFFF)


_UNTYPED_GPUS = re.compile(r"(?:^|,)gres/gpu=([0-9]{1,9})(?:,|$)")


@lru_cache(maxsize=1024)  # jobs of a site ask for few kinds of allocations
def limit_seconds(found: re.Match[str] | None) -> int | None:
    """Days, hours, minutes and seconds of Slurm's `D-HH:MM:SS`, as four groups; None for a limit that is none (UNLIMITED, empty)."""
    if found is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def gpus_of(tres: str | None) -> int | None:
    """GPUs of a TRES list.  The untyped entry already counts the typed ones, so they are never added up."""
    match = _UNTYPED_GPUS.search(tres) if tres else None
    return int(match[1]) if match else None


# --- Slurm job states -----------------------------------------------------------------------------------------------------------

_SHORT_STATES = {
    "PD": "PENDING", "R": "RUNNING", "S": "SUSPENDED", "CD": "COMPLETED", "CA": "CANCELLED", "F": "FAILED", "TO": "TIMEOUT",
    "NF": "NODE_FAIL", "PR": "PREEMPTED", "BF": "BOOT_FAIL", "DL": "DEADLINE", "OOM": "OUT_OF_MEMORY", "CG": "COMPLETING",
    "CF": "CONFIGURING", "RQ": "REQUEUED", "RS": "RESIZING", "RV": "REVOKED", "SE": "SPECIAL_EXIT",
}  # fmt: skip
# States in which an attempt is over.  A requeue ends the attempt too: the next one has a later submit or start.
ENDED_STATES = frozenset({
    "COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "DEADLINE", "OUT_OF_MEMORY", "REVOKED",
    "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT",
})  # fmt: skip
_STATE = re.compile(r"([A-Z_]{1,32})(?: by ([0-9]{1,10}))?\+?")


@lru_cache(maxsize=1024)
def job_state(text: str | None) -> tuple[str, int | None]:
    """Base name of a state, and the uid of `CANCELLED by 5012`."""
    if not text:
        return "", None
    match = _STATE.fullmatch(text)
    if match is None:
        raise SchemaMismatch("not a job state")
    name, uid = match.groups()
    return _SHORT_STATES.get(name, name), None if uid is None else bounded_int(uid)


# --- node lists -----------------------------------------------------------------------------------------------------------------
#
# ClusterShell (1.10) reads these lists too, and was turned down: it expands without a bound (two million names: 10 s), asks the groups of
# this machine for a text like `@all`, refuses two brackets side by side, and takes 24 µs for five names; remembered here, 0.3.

_NO_NODES = frozenset({"", "(null)", "None", "None assigned", "Unknown", "n/a"})
_NODE_NAME = re.compile(r"[A-Za-z0-9._-]{1,255}")
_NODE_PATTERN = re.compile(r"(?:[A-Za-z0-9._-]|\[[0-9,-]+\])+")
_BRACKET = re.compile(r"\[([0-9,-]*)\]")
_RANGE = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?")
_SHORT_LIST = 256  # characters
_SHORT_ANSWER = 128  # names


class _TooManyNodes(DecodeError):
    """The list has more names than there is room for."""


def expand_nodes(text: str | None) -> tuple[str, ...]:
    """`gpu-[001-003,007],login` -> its names; zero padding is kept.  Raises DecodeError above NODES_MAX names."""
    if text is None or text in _NO_NODES:
        return ()
    if _NODE_NAME.fullmatch(text):
        return (text,)
    if len(text) <= _SHORT_LIST:
        try:
            return _expand_short(text)
        except _TooManyNodes:
            pass
    return _expand(text, NODES_MAX)


def _expand(text: str, room: int) -> tuple[str, ...]:
    names: list[str] = []
    position = 0
    while True:
        match = _NODE_PATTERN.match(text, position)
        if match is None:
            raise DecodeError("not a node list")
        names.extend(_expand_pattern(match[0], room - len(names)))
        position = match.end()
        if position == len(text):
            return tuple(names)
        if text[position] != ",":
            raise DecodeError("not a node list")
        position += 1


@lru_cache(maxsize=1024)
def _expand_short(text: str) -> tuple[str, ...]:
    """Every row about a job repeats its nodes.  Long answers are refused, and thereby not kept."""
    return _expand(text, _SHORT_ANSWER)


def _expand_pattern(pattern: str, room: int) -> list[str]:
    pieces = _BRACKET.split(pattern)  # literal, ranges, literal, ranges, ..., literal
    if len(pieces) > 2 * BRACKETS_MAX + 1:
        raise DecodeError("a node name has too many brackets")
    if sum(map(len, pieces[::2])) > NODE_NAME_LENGTH_MAX:
        raise DecodeError("a node name is too long")  # found before it is multiplied
    names = [pieces[0]]
    for ranges, literal in zip(pieces[1::2], pieces[2::2], strict=True):
        numbers = list(islice(_numbers(ranges, room), room + 1))  # many ranges, each of them short enough, stop here
        if len(names) * len(numbers) > room:
            raise _TooManyNodes("a node list has too many names")
        names = [f"{name}{number}{literal}" for name in names for number in numbers]
    if len(names) > room:
        raise _TooManyNodes("a node list has too many names")
    if any(len(name) > NODE_NAME_LENGTH_MAX for name in names):
        raise DecodeError("a node name is too long")
    return names


def _numbers(ranges: str, room: int) -> Iterator[str]:
    for item in ranges.split(","):
        match = _RANGE.fullmatch(item)
        if match is None:
            raise DecodeError("not a range of node numbers")
        first, last = match.groups()
        if last is None:
            yield first
            continue
        low, high = int(first), int(last)
        if low > high:
            raise DecodeError("a range of nodes runs backwards")
        if high - low >= room:
            raise _TooManyNodes("a range of nodes is too long")
        width = len(first)
        for number in range(low, high + 1):
            yield f"{number:0{width}d}"


# --- JSON objects ---------------------------------------------------------------------------------------------------------------


_ESCAPE = re.compile(r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL)


def mended_json(text: str) -> str:
    """The same with a replacement character for each half of a surrogate pair.

    Producers write what they were given: a file name or an argument that is not UTF-8 comes as its bytes, or as `\\udcff`.  Whoever chose
    it must not hide the line by it.
    """
    return _ESCAPE.sub(lambda escape: escape[0] if escape[1] is None else "\\ufffd", text)


def strict_json(payload: bytes) -> bytes:
    """The same as JSON that every decoder reads, by the slower one of the standard library: NaN and numbers that nothing holds are null.

    Raises DecodeError where it is broken otherwise.
    """
    try:
        value = json.loads(mended_json(payload.decode("utf-8", "replace")), parse_constant=_null, parse_float=_held, parse_int=_whole)
        return orjson.dumps(value)
    except (ValueError, TypeError, RecursionError) as error:
        raise DecodeError("not JSON, nor nearly") from error


def _null(_: str) -> None:
    return None


def _held(number: str) -> float | None:
    value = float(number)
    return value if isfinite(value) else None


def _whole(number: str) -> int | None:
    return int(number) if len(number) <= 18 else None


def json_object(payload: bytes) -> dict[str, Any]:
    """The object.  NaN and broken JSON are refused; of a doubled key the last one holds, as in every common decoder."""
    try:
        value = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        try:
            value = orjson.loads(mended_json(payload.decode("utf-8", "replace")))
        except orjson.JSONDecodeError:
            raise DecodeError(f"not JSON: {error.msg}") from error
    if not isinstance(value, dict):
        raise SchemaMismatch("the JSON is not an object")
    return value


def typed(value: dict[str, Any], model: type[Model]) -> Model:
    """The object as the struct that promises its fields.  Raises SchemaMismatch naming the field."""
    try:
        return msgspec.convert(value, model)
    except msgspec.ValidationError as error:
        raise SchemaMismatch(str(error)) from error


def shown(field: object) -> str:
    """A text as it is, anything else as JSON, bounded: of a value that is nested deeply enough `str` has no end."""
    if isinstance(field, str | int) and not isinstance(field, bool):
        return str(field)[:UNMAPPED_TEXT_LENGTH_MAX]
    try:
        text = orjson.dumps(field)
    except orjson.JSONEncodeError as error:
        raise DecodeError("a field is nested too deeply, or holds a number of more than 64 bits") from error
    if len(text) <= UNMAPPED_TEXT_LENGTH_MAX:
        return text.decode()
    return text[: 4 * UNMAPPED_TEXT_LENGTH_MAX].decode("utf-8", "ignore")[:UNMAPPED_TEXT_LENGTH_MAX]


def unmapped(value: dict[str, Any], known: frozenset[str]) -> dict[str, str]:
    """The keys that no field of ours takes, as bounded texts: they pass through."""
    rest: dict[str, str] = {}
    many = len(value) > UNMAPPED_FIELDS_MAX
    for name, field in value.items():
        if name in known or field is None or len(name) > UNMAPPED_NAME_LENGTH_MAX:
            continue
        kind = type(field)
        if kind is str:
            rest[name] = field if len(field) <= UNMAPPED_TEXT_LENGTH_MAX else field[:UNMAPPED_TEXT_LENGTH_MAX]
        elif kind is int:
            rest[name] = repr(field)
        elif kind is float:  # three times as quick as `repr`
            rest[name] = orjson.dumps(field).decode()
        else:
            rest[name] = shown(field)
        if many and len(rest) == UNMAPPED_FIELDS_MAX:
            break
    return rest
