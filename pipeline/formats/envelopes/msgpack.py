"""A record that Fluent Bit wrote as MessagePack (`format msgpack` of its Kafka output) in; the lines of the object that it is out.

    8n  aa "@timestamp"  cb <double seconds>  a3 "log"  .. "<line>"  ..        one map, the time first; JSON of the same has the same keys

It is read as the JSON that Fluent Bit would have written (json_wrapper.py).  A value is taken for one when it is one map and nothing
after it, whose keys are texts: no text in UTF-8 begins so, and what begins so and is none is left to the other envelopes.

Fluent Bit passes on bytes of a line that are not UTF-8 as they are, in what it calls a text; they become U+FFFD, as in JSON.

Holds: linear time, nesting bounded by DEPTH_MAX, or by msgspec; no size that the value promises is believed before the bytes are there.
Layout: plugins/out_kafka/kafka.c of Fluent Bit and github.com/msgpack/msgpack spec.md.
"""

import struct
from collections.abc import Sequence
from typing import Any

import msgspec
import orjson

from pipeline.errors import DecodeError
from pipeline.formats.envelopes.json_lines import Unwrap
from pipeline.formats.line import Headers, Line

DEPTH_MAX = 64
_TEXTS = (*range(0xA1, 0xC0), 0xD9)  # how a first key begins
_BEGINS = (*(bytes([first, second]) for first in range(0x81, 0x90) for second in _TEXTS), b"\xde\x00", b"\xdf\x00")
_decode = msgspec.msgpack.Decoder().decode

# Kinds with a number of fixed size, and those with a size before their bytes, or their items.
_NUMBERS = {
    0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q", 0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q",
}  # fmt: skip
_SIZES = {
    0xC4: ">B", 0xC5: ">H", 0xC6: ">I", 0xC7: ">B", 0xC8: ">H", 0xC9: ">I", 0xD9: ">B", 0xDA: ">H", 0xDB: ">I",
    0xDC: ">H", 0xDD: ">I", 0xDE: ">H", 0xDF: ">I",
}  # fmt: skip
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}


class Msgpack:
    """One map; `unwrap_object` reads it as JSON."""

    name = "msgpack"
    begins: Sequence[bytes] = _BEGINS

    def __init__(self, unwrap_object: Unwrap) -> None:
        self._unwrap_object = unwrap_object

    def unwrap(self, value: bytes, headers: Headers) -> list[Line] | None:
        """The lines of the object.  Raises DecodeError for one that is nested too deeply."""
        if not value.startswith(_BEGINS):
            return None
        try:
            found = _decode(value)
        except UnicodeDecodeError:
            found = _tolerant(value)
        except msgspec.DecodeError:
            return None
        except RecursionError as error:
            raise DecodeError("a MessagePack value is nested too deeply") from error
        if type(found) is not dict or not all(type(key) is str for key in found):
            return None
        try:
            return self._unwrap_object(orjson.dumps(found, default=_as_text), headers)
        except orjson.JSONEncodeError as error:
            raise DecodeError(f"a MessagePack value that JSON cannot say: {error}") from error


def _as_text(value: object) -> object:
    """Bytes of a line; nothing of the kinds that nobody knows."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else None


def _tolerant(value: bytes) -> object:
    """The value, with texts that are not UTF-8; None where it is not MessagePack.  Raises DecodeError when it is nested too deeply."""
    try:
        found, end = _item(value, 0, DEPTH_MAX)
    except (IndexError, struct.error):
        return None
    return found if end == len(value) else None


def _item(data: bytes, at: int, room: int) -> tuple[Any, int]:
    """The item that begins there, and where it ends.  Raises IndexError or struct.error where more is promised than is there."""
    kind, at = data[at], at + 1
    if kind < 0x80 or kind >= 0xE0:
        return kind if kind < 0x80 else kind - 256, at
    if kind in _CONSTANTS:
        return _CONSTANTS[kind], at
    if number := _NUMBERS.get(kind):
        return struct.unpack_from(number, data, at)[0], at + struct.calcsize(number)
    if kind < 0xA0:
        size = kind & 0x0F
    elif kind < 0xC0:
        size = kind & 0x1F
    elif width := _SIZES.get(kind):
        size, at = struct.unpack_from(width, data, at)[0], at + struct.calcsize(width)
    elif 0xD4 <= kind <= 0xD8:
        size = 1 << (kind - 0xD4)
    else:
        raise IndexError(kind)
    if size > len(data) - at:
        raise IndexError(kind)
    if kind < 0xA0 or kind >= 0xDC:
        if room == 0:
            raise DecodeError("a MessagePack value is nested too deeply")
        return _items(data, at, size, room - 1, of_pairs=kind < 0x90 or kind >= 0xDE)
    if kind < 0xC0 or kind >= 0xD9:
        return data[at : at + size].decode("utf-8", "replace"), at + size
    if kind <= 0xC6:
        return data[at : at + size], at + size
    return None, at + size + 1  # after the type of an extension


def _items(data: bytes, at: int, size: int, room: int, *, of_pairs: bool) -> tuple[Any, int]:
    if not of_pairs:
        found = []
        for _ in range(size):
            item, at = _item(data, at, room)
            found.append(item)
        return found, at
    pairs: dict[str, Any] = {}
    for _ in range(size):
        key, at = _item(data, at, room)
        if type(key) is not str:  # written out as a text, a key that is a map would be twice as long as the key in it
            raise IndexError(at)
        pairs[key], at = _item(data, at, room)
    return pairs, at
