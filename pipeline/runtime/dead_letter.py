"""A rejected record in; the same record with the reason in its headers out, for the dead-letter topic; and back again.

Key, value and headers stay as they came, within bounds, and the time is kept in a header, so that the record can be sent again.  What the
log author wrote is never trusted in our own headers: the reason is bounded and printable.  A record that was a dead letter before keeps
the time of its first failure, and its attempts count up.

    record ── dead_letter ──► topic ── read_letter ──► Letter ── headers_again ──► the original topic, attempts 1
                                                                                    └── refused again: attempts 2

Holds: `read_letter` takes any record, since the topic may hold what we did not write, and answers None for what is no dead letter.
"""

from typing import Any

import msgspec

from pipeline import __version__
from pipeline.errors import ErrorCode
from pipeline.model.outcome import Record

REASON_CHARS_MAX = 200
VALUE_BYTES_MAX = 900_000  # below the broker's usual limit of 1 MiB, headers included
HEADER_BYTES_MAX = 32_000  # of the original headers that are kept
KEY_BYTES_MAX = 64_000  # all three together fit into a message: one that does not would end each worker that reads the record
OWN_PREFIX = "x-dlq-"
ATTEMPTS, FIRST_FAILED_AT = f"{OWN_PREFIX}attempts", f"{OWN_PREFIX}first-failed-at"
NUMBER_DIGITS_MAX = 19

Headers = list[tuple[str, bytes]]


class DeadLetter(msgspec.Struct, frozen=True, gc=False):
    """One record for the dead-letter topic."""

    partition: int  # of its source; a record without a key goes where it came from
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


class Letter(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One record of the dead-letter topic, read."""

    partition: int  # where it lies
    offset: int
    time: int  # when it was set aside, UTC ms
    stage: str
    code: str
    reason: str
    topic: str  # where it came from
    source_partition: int
    source_offset: int
    timestamp: int  # of the original record, UTC ms
    first_failed_at: int  # UTC ms
    attempts: int
    version: str
    truncated: int | None  # original length of the value, where it or the key was cut
    headers_left_out: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]  # of the original

    @property
    def place(self) -> tuple[int, int]:
        """Where it lies."""
        return self.partition, self.offset

    @property
    def origin(self) -> tuple[str, int, int, int]:
        """Which record it is of; the time tells lives of a topic apart."""
        return self.topic, self.source_partition, self.source_offset, self.timestamp


def printable(text: str, limit: int = REASON_CHARS_MAX) -> str:
    """Text that came from a record, fit for a header or a log line."""
    escaped = text.encode("unicode_escape", "backslashreplace").decode("ascii")
    return escaped if len(escaped) <= limit else f"{escaped[: limit - 3]}..."


def dead_letter(stage: str, record: Record, code: ErrorCode, reason: str) -> DeadLetter:
    """The record with the reason for its rejection."""
    original = {name: value for name, value in record.headers if name.startswith(OWN_PREFIX)}
    attempts = original.get(ATTEMPTS) or b""
    kept, left_out = _kept(record)
    own: dict[str, str | int] = {
        "stage": stage,
        "code": code.value,
        "reason": printable(reason),
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "first-failed-at": printable((original.get(FIRST_FAILED_AT) or b"").decode("latin-1")) or record.timestamp,
        "attempts": int(attempts) + 1 if attempts.isdigit() and len(attempts) < 9 else 1,
        "version": __version__,
    }
    key, value = record.key, record.value
    if len(key or b"") > KEY_BYTES_MAX or len(value or b"") > VALUE_BYTES_MAX:
        own["truncated"] = len(value or b"")
        key, value = key and key[:KEY_BYTES_MAX], value and value[:VALUE_BYTES_MAX]
    if left_out:
        own["headers-left-out"] = left_out
    headers = kept + [(f"{OWN_PREFIX}{name}", str(content).encode("utf-8", "backslashreplace")) for name, content in own.items()]
    return DeadLetter(record.partition, key, value, tuple(headers))


def _kept(record: Record) -> tuple[Headers, int]:
    """The original headers, as far as they fit, and how many do not."""
    original = [(name, value) for name, value in record.headers if not name.startswith(OWN_PREFIX)]
    size = 0
    for at, (name, value) in enumerate(original):
        size += len(name) + len(value or b"")
        if size > HEADER_BYTES_MAX:
            return original[:at], len(original) - at
    return original, 0


def read_letter(record: Any) -> Letter | None:
    """A record of the dead-letter topic, as a client gives it; None when its headers are not those of a dead letter."""
    own = {name[len(OWN_PREFIX) :]: value or b"" for name, value in record.headers if name.startswith(OWN_PREFIX)}
    numbers = {name: _number(own.get(name, b"")) for name in ("partition", "offset", "timestamp", "attempts")}
    partition, offset, timestamp, attempts = numbers.values()
    if partition is None or offset is None or timestamp is None or attempts is None or not {"stage", "code", "topic"} <= own.keys():
        return None
    first = _number(own.get("first-failed-at", b""))
    return Letter(
        partition=record.partition,
        offset=record.offset,
        time=record.timestamp,
        stage=_text(own["stage"]),
        code=_text(own["code"]),
        reason=_text(own.get("reason", b"")),
        topic=_text(own["topic"]),
        source_partition=partition,
        source_offset=offset,
        timestamp=timestamp,
        first_failed_at=timestamp if first is None else first,
        attempts=attempts,
        version=_text(own.get("version", b"")),
        truncated=_number(own["truncated"]) or 0 if "truncated" in own else None,
        headers_left_out=_number(own.get("headers-left-out", b"0")) or 0,
        key=record.key,
        value=record.value,
        headers=tuple((name, value) for name, value in record.headers if not name.startswith(OWN_PREFIX)),
    )


def headers_again(letter: Letter) -> Headers:
    """The headers with which the record goes back: its own, and what lets the attempts count on."""
    return [*letter.headers, (ATTEMPTS, str(letter.attempts).encode()), (FIRST_FAILED_AT, str(letter.first_failed_at).encode())]


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")


def _number(value: bytes) -> int | None:
    digits = value.removeprefix(b"-")
    return int(value) if digits.isdigit() and len(digits) <= NUMBER_DIGITS_MAX else None
