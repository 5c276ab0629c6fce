"""A rejected record in; the same record with the reason in its headers out, for the dead-letter topic.

Key, value, time and headers stay as they came, so that a repaired record can be sent again.  What the log author wrote is never trusted
in our own headers: the reason is bounded and printable.  A record that was a dead letter before keeps the time of its first failure, and
its attempts count up.
"""

import msgspec

from pipeline import __version__
from pipeline.errors import ErrorCode
from pipeline.model.outcome import Record

REASON_CHARS_MAX = 200
VALUE_BYTES_MAX = 900_000  # below the broker's usual limit of 1 MiB, headers included
HEADER_BYTES_MAX = 32_000  # of the original headers that are kept
OWN_PREFIX = "x-dlq-"

Headers = list[tuple[str, bytes]]


class DeadLetter(msgspec.Struct, frozen=True, gc=False):
    """One record for the dead-letter topic."""

    partition: int  # of its source; a record without a key goes where it came from
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


def printable(text: str, limit: int = REASON_CHARS_MAX) -> str:
    """Text that came from a record, fit for a header or a log line."""
    escaped = text.encode("unicode_escape", "backslashreplace").decode("ascii")
    return escaped if len(escaped) <= limit else f"{escaped[: limit - 3]}..."


def dead_letter(stage: str, record: Record, code: ErrorCode, reason: str) -> DeadLetter:
    """The record with the reason for its rejection."""
    original = {name: value for name, value in record.headers if name.startswith(OWN_PREFIX)}
    attempts = original.get("x-dlq-attempts") or b""
    own: dict[str, str | int] = {
        "stage": stage,
        "code": code.value,
        "reason": printable(reason),
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "first-failed-at": printable((original.get("x-dlq-first-failed-at") or b"").decode("latin-1")) or record.timestamp,
        "attempts": int(attempts) + 1 if attempts.isdigit() and len(attempts) < 9 else 1,
        "version": __version__,
    }
    value = record.value
    if value is not None and len(value) > VALUE_BYTES_MAX:
        own["truncated"] = len(value)
        value = value[:VALUE_BYTES_MAX]
    headers = _kept(record) + [(f"{OWN_PREFIX}{name}", str(content).encode("utf-8", "backslashreplace")) for name, content in own.items()]
    return DeadLetter(record.partition, record.key, value, tuple(headers))


def _kept(record: Record) -> Headers:
    """The original headers, as far as they fit."""
    kept: Headers = []
    size = 0
    for name, value in record.headers:
        size += len(name) + len(value or b"")
        if size > HEADER_BYTES_MAX:
            break
        if not name.startswith(OWN_PREFIX):
            kept.append((name, value))
    return kept
