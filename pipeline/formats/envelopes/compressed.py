"""A value that its sender compressed with gzip in; the lines of what is inside out.

CloudWatch's subscriptions send such values, and bridges that pass on HTTP bodies as they come.  Kafka's own compression is not meant: its
clients undo that.  Several members in one value, as Firehose puts them together, are one text.

Holds: never more than INFLATED_BYTES_MAX bytes are inflated, whatever the value promises, and what is inside is not inflated again.
"""

import zlib
from collections.abc import Sequence

from pipeline.errors import DecodeError, RecordTooLarge
from pipeline.formats.envelopes.json_lines import Unwrap
from pipeline.formats.line import Headers, Line

INFLATED_BYTES_MAX = 8 << 20
MEMBERS_MAX = 100  # the rest of the value is copied for each
_MAGIC = b"\x1f\x8b\x08"
_GZIP = 16 + zlib.MAX_WBITS


class Compressed:
    """Whatever envelope is inside; `unwrap` reads it."""

    name = "gzip"
    begins: Sequence[bytes] = (b"\x1f\x8b",)

    def __init__(self, unwrap: Unwrap) -> None:
        self._unwrap = unwrap

    def unwrap(self, value: bytes, headers: Headers) -> list[Line] | None:
        """The lines inside.  Raises DecodeError for a value that was cut."""
        return self._unwrap(inflated(value), headers) if value.startswith(_MAGIC) else None


def inflated(value: bytes) -> bytes:
    """The text of all members.  Raises DecodeError, RecordTooLarge."""
    found: list[bytes] = []
    room, rest = INFLATED_BYTES_MAX, value
    for _ in range(MEMBERS_MAX):
        member = zlib.decompressobj(_GZIP)
        try:
            text = member.decompress(rest, room + 1)
        except zlib.error as error:
            raise DecodeError(f"not gzip: {error}") from error
        if len(text) > room:
            raise RecordTooLarge(f"more than {INFLATED_BYTES_MAX} bytes when inflated")
        if not member.eof:
            raise DecodeError("a gzip value was cut")
        found.append(text)
        room -= len(text)
        rest = member.unused_data
        if not rest.startswith(_MAGIC):
            return b"".join(found)
    raise RecordTooLarge(f"more than {MEMBERS_MAX} gzip members")
