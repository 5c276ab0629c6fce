"""Several JSON objects in one value, one a line, in; what each of them is out.

    {"message":"iteration 1","host":"gpu-001"}\\n{"message":"iteration 2","host":"gpu-001"}\\n

HTTP bridges and `kcat` on a file send such values.  Each line is unwrapped as if it were a record of its own.  A value whose first line is
not a whole object is not this envelope's: an object printed over several lines is one object.

Holds: at most ITEMS_MAX lines; a line that is no object is refused alone; what one line holds does not depend on the others.
"""

from collections.abc import Callable, Sequence

import msgspec

from pipeline.errors import RecordTooLarge, RejectedRecord
from pipeline.formats.line import ITEMS_MAX, Headers, Line

Unwrap = Callable[[bytes, Headers], list[Line]]
_decode = msgspec.json.Decoder(msgspec.Raw).decode


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
    """Is the first line an object, and does another follow?  The end of the value, also of one that was cut, does not matter."""
    if value[:1] != b"{":
        return False
    end = value.find(b"\n")
    if end < 0 or value[end + 1 :].isspace() or value[end + 1 :].lstrip(b" \t\r\n")[:1] != b"{":
        return False
    try:
        _decode(value[:end])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


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
