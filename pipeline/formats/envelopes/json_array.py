"""A JSON array of objects in; what each of them is out, as if it were a record of its own.

    [{"@timestamp":1772452800.318,"log":"iteration 40\\n"},{"@timestamp":1772452801.1,"log":"iteration 41\\n"}]

HTTP outputs (Fluent Bit's `format json`, Vector's batches) and webhook relays send such values.

Many logs have lines that begin with a bracket, and programs print lists: what is not an array of objects is not this envelope's.

Holds: at most ITEMS_MAX items; an item is the bytes that came, unless they had to be mended; one that is not an object is refused alone.
"""

import re
from collections.abc import Sequence

import msgspec

from pipeline.formats.envelopes.json_lines import Unwrap, decoded, each
from pipeline.formats.line import Headers, Line

_START = re.compile(rb"\[[ \t\r\n]{0,16}\{[ \t\r\n]{0,16}[\"}]")
_decode = msgspec.json.Decoder(list[msgspec.Raw]).decode


class JsonArray:
    """The items of an array; `unwrap_object` reads one of them."""

    name = "json_array"
    begins: Sequence[bytes] = (b"[{", b"[ ", b"[\n", b"[\r", b"[\t")

    def __init__(self, unwrap_object: Unwrap) -> None:
        self._unwrap_object = unwrap_object

    def unwrap(self, value: bytes, headers: Headers) -> list[Line] | None:
        """The lines of all items."""
        if value[1:2] not in b"{ \t\r\n" or _START.match(value) is None:
            return None
        items = decoded(_decode, value)
        if items is None:
            return None
        return each([bytes(item) for item in items], headers, self._unwrap_object)
