"""The formats that a topic may carry in; those to ask about one line out, in the order of the registry but few of them.

Asking forty formats costs more than reading the line, and to remember which format a file had would make the answer depend on what came
before.  So the line itself is looked at, once, for what formats say of their own lines:

    begins       the line begins with one of these, or what stands after its time and host does, and with that it is this format's alone.
                 Such a format is offered the line first, without `claims`: its `parse` must be strict enough to know a line that is not
                 its own.  Where two ranks' lines run into one another, the first of them is read
    shape        the same as a pattern for the start of the line, after the bytes with which that may begin
    first_bytes  the line begins with one of these bytes, else it is not asked
    in_object    the line holds a `{`, else it is not asked

All are optional: a format without them is always asked.

    Mar  2 19:40:41 login-1 sshd[9]: Accepted ..     [2026-03-02T19:40:41.318] launch task ..     {"jobid":7,..     3: :::MLLOG {..
                           ^ begins here                                     ^                    ^                 a shape

Beginnings and shapes of all formats are one pattern for each first byte.  Up to eight bytes are looked up before it, of objects, after a
time in brackets, and where a first byte stands before no time: without the match sniffing takes a third to two thirds as long.  To check
instead whether the format of the line before may be asked again saves a tenth of a microsecond of an object, costs as much where formats
take turns, and gains nothing after a time (measured).

Holds: the answer is a function of the line and the formats; who is offered a line first is told by a head of bounded length.
"""

import re
from collections.abc import Callable, Iterable, Sequence

from pipeline.formats.line import Payload

ANY = bytes(range(256))
TEXT = bytes(byte for byte in range(256) if byte != ord("{"))  # first bytes of a line that is not an object
DIGITS = b"0123456789"
LETTERS = bytes(byte for byte in range(128) if chr(byte).isalpha())

# What may stand before a beginning: its first bytes, its pattern, and what the beginning starts with.
_SYSLOG_TIME, _ISO_TIME = rb"[A-Z][a-z]{2} .{11} [^ ]{1,255}", rb"[0-9]{4}-.{5}T[^ ]{8,40} [^ ]{1,255}"
_BRACKETS = rb"\[[0-9]{4}-[^\]]{6,40}"
_HEADS = (
    (ANY, b"", b""),
    (b"JFMASOND", _SYSLOG_TIME, b" "),  # `Mar  2 19:40:41 host sshd[9]: `
    (DIGITS, _ISO_TIME, b" "),  # `2026-03-02T19:40:41+00:00 host sshd[9]: `
    (b"<", rb"<[0-9]{1,3}>(?:" + _SYSLOG_TIME + b"|" + _ISO_TIME + b")", b" "),
    (b"[", _BRACKETS, b"]"),  # `[2026-03-02T19:40:41.318] launch task `
    (b" ", b" " + _BRACKETS, b"]"),
    (DIGITS, rb"[0-9]{1,6}: ? ?" + _BRACKETS, b"]"),  # of a rank
)

_OBJECT, _BRACKET = ord("{"), ord("[")
_NAME_BYTES = {_OBJECT: 8, _BRACKET: 6}
_BEHIND_TIME = len("[2026-03-02T19:40:41.318")
_BEFORE_TIME = b"".join(first_bytes for first_bytes, head, _ in _HEADS if head)

Begin = tuple[bytes, Payload]
Asked = tuple[tuple[Payload, ...], tuple[Payload, ...]]  # of a line that holds an object, of one that holds none
Match = Callable[[bytes], re.Match[bytes] | None]
Told = tuple[
    slice, dict[bytes, Payload], Match, dict[int | None, Payload]
]  # bytes that name a format; a match, and that at its `lastindex`


class Candidates:
    """Some formats, arranged so that few are asked."""

    __slots__ = ("_by_first_byte", "offered")

    def __init__(self, formats: Sequence[Payload], objects: frozenset[str]) -> None:
        """`objects` are names of formats that are offered an object before all others."""
        begins = _telling_first([(begin, format_) for format_ in formats for begin in getattr(format_, "begins", ())])
        shapes = [(*getattr(format_, "shape", (b"", b"")), format_) for format_ in formats]
        self.offered = [
            _told(byte, begins, [(shape, format_) for first_bytes, shape, format_ in shapes if byte in first_bytes]) for byte in range(256)
        ]
        for_objects = sorted(formats, key=lambda format_: format_.name not in objects)
        self._by_first_byte = [_asked(for_objects if byte == _OBJECT else formats, byte) for byte in range(256)]

    def of(self, payload: bytes) -> tuple[Payload, ...]:
        """Those to ask whether they claim the line."""
        if not payload:
            return ()
        with_object, without = self._by_first_byte[payload[0]]
        # `in` takes twice as long as `find`: of bytes it first asks whether they are a number.
        return with_object if payload.find(b"{") >= 0 else without


def _telling_first(begins: Sequence[Begin]) -> list[Begin]:
    """In the order of the formats; but where one is the beginning of another, the longer goes first."""
    return sorted(begins, key=lambda entry: sum(begin.startswith(entry[0]) for begin, _ in begins))


def _told(byte: int, begins: Sequence[Begin], shapes: Sequence[Begin]) -> Told:
    """Groups are empty and stand last: in front they would hide with what byte a choice begins, by which most are left out."""
    choices, told = list[bytes](), list[Payload]()
    for first_bytes, head, lead in _HEADS:
        if byte in first_bytes:
            some = [(begin, format_) for begin, format_ in begins if (begin.startswith(lead) if head else begin[0] == byte)]
            if some:
                choices.append(head + b"(?:" + b"|".join(re.escape(begin) + b"()" for begin, _ in some) + b")")
                told += [format_ for _, format_ in some]
    choices += [b"(?:" + shape + b")()" for shape, _ in shapes]
    told += [format_ for _, format_ in shapes]
    where, named = _named(byte, begins)
    return where, named, re.compile(b"|".join(choices) or b"(?!)").match, dict(enumerate(told, start=1))


def _named(byte: int, begins: Sequence[Begin]) -> tuple[slice, dict[bytes, Payload]]:
    """Which bytes of a line name a format: those of its beginning, where they are that one's alone."""
    start, lead = (_BEHIND_TIME, ord("]")) if byte == _BRACKET else (0, byte)
    some = [(begin, format_) for begin, format_ in begins if begin[0] == lead]
    if not some or (byte in _BEFORE_TIME and byte != _BRACKET):
        return slice(0), {}
    length = _NAME_BYTES[byte] if byte in _NAME_BYTES else min(6, *(len(begin) for begin, _ in some))
    named: dict[bytes, set[Payload]] = {}
    for begin, format_ in some:
        # After a whole key stands a colon.
        for name in {(begin + more)[:length] for more in ((b':"', b": ") if begin[-1:] == b'"' else (b"",))}:
            named.setdefault(name, set()).add(format_)
    short = tuple(name for name in named if len(name) < length)
    alone = {name: formats.pop() for name, formats in named.items() if len(formats) == 1 and not name.startswith(short)}
    return slice(start, start + length), alone


def _asked(formats: Iterable[Payload], byte: int) -> Asked:
    some = [format_ for format_ in formats if byte in getattr(format_, "first_bytes", ANY)]
    return tuple(some), tuple(format_ for format_ in some if not getattr(format_, "in_object", False))
