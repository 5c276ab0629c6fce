"""Several JSON objects in one value, one a line, in; what each of them is out.

    {"message":"iteration 1","host":"gpu-001"}\\n{"message":"iteration 2","host":"gpu-001"}\\n

HTTP bridges and `kcat` on a file send such values.  Each line is unwrapped as if it were a record of its own.  An object that
is printed over several lines is one object.

Holds: at most ITEMS_MAX lines; a line that is not an object is refused alone; what one line holds does not depend on the others.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from pipeline.errors import DecodeError, RecordTooLarge, RejectedRecord
from pipeline.formats.fields import strict_json
from pipeline.formats.line import ITEMS_MAX, Headers, Line

Unwrap = Callable[[bytes, Headers], list[Line]]
Value = TypeVar("Value")
_BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class JsonLines:
    """An object a line; `unwrap_object` reads one of them."""

    name = "json_lines"
    begins: Sequence[bytes] = (b"{",)
    keys: Sequence[str] = ()

    def __init__(self, unwrap_object: Unwrap) -> None:
        self._unwrap_object = unwrap_object

    def unwrap(self, value: bytes, headers: Headers) -> list[Line] | None:
        """The lines of all objects."""
        if not are(value):
            return None
        if value.count(b"\n") > 2 * ITEMS_MAX:
            raise RecordTooLarge(f"more than {ITEMS_MAX} lines in a record")
        return each([item for item in value.split(b"\n") if item and not item.isspace()], headers, self._unwrap_object)


def are(value: bytes) -> bool:
    """Does an object end with its line, and does another begin after it?  In one object a comma, or its end, would stand between."""
    if value[:1] != b"{":
        return False
    end = value.find(b"\n")
    return end > 0 and value[:end].rstrip()[-1:] == b"}" and value[end + 1 :].lstrip()[:1] == b"{"


def decoded(decode: Callable[[bytes], Value], value: bytes) -> Value | None:
    """What a batch is, None if it is broken.  NaN and what is not UTF-8 is mended, or one item would hide the others."""
    try:
        return decode(value)
    except _BROKEN:
        pass
    try:
        return decode(strict_json(value))
    except (DecodeError, *_BROKEN):
        return None


def each(items: list[bytes], headers: Headers, unwrap_object: Unwrap) -> list[Line]:
    """The lines of objects that stand side by side; one that cannot be read is a broken line.  Raises RecordTooLarge."""
    if len(items) > ITEMS_MAX:
        raise RecordTooLarge(f"{len(items)} items in a record, at most {ITEMS_MAX}")
    lines: list[Line] = []
    for item in items:
        if item.lstrip()[:1] != b"{":
            lines.append(Line(payload=item, broken="an item of a batch is no object"))
            continue
        try:
            lines += unwrap_object(item, headers)
        except RecordTooLarge:
            raise
        except RejectedRecord as error:
            lines.append(Line(payload=item, broken=str(error)))
        if len(lines) > ITEMS_MAX:
            raise RecordTooLarge(f"more than {ITEMS_MAX} lines in a record")
    return lines
