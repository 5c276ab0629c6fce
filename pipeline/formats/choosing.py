"""The formats that a topic may carry in; those to ask about one line out, in the order of the registry but few of them.

Asking forty formats costs more than reading the line, and to remember which format a file had would make the answer depend on what came
before.  So the line itself is looked at, once, for what formats say of their own lines:

    begins       what stands behind the time, host or rank of a line and is this format's alone.  Such a format is asked first, without
                 `claims`: its `parse` must be strict enough to know a line that is not its own.  Where two ranks' lines run into one
                 another, the first of them is read
    first_bytes  the line begins with one of these bytes, else it is not asked
    in_object    the line holds a `{`, else it is not asked

All three are optional: a format without them is always asked.

    Mar  2 19:40:41 login-1 sshd[9]: Accepted ..     [2026-03-02T19:40:41.318] launch task ..     {"jobid":7,..     3: :::MLLOG {..
                           ^ begins here                                     ^                    ^                    ^

Holds: the answer is a function of the line and the formats; finding where a line begins looks at HEAD_BYTES at most.
"""

from collections.abc import Iterable, Sequence

from pipeline.formats.line import Payload

KEY_BYTES = 3  # of a beginning, by which tables are kept
HEAD_BYTES_MIN = 16  # a shorter line has no time before what it says
HEAD_BYTES = 320  # in which times and hosts stand
TEXT = bytes(byte for byte in range(256) if byte != ord("{"))  # first bytes of a line that is no object

_OBJECT, _BRACKET, _BLANK, _DASH, _SLASH, _COLON, _A, _Z, _T, _0, _9 = b"{[ -/:AZT09"

Asked = tuple[tuple[Payload, ...], tuple[Payload, ...]]  # of a line that holds an object, of one that holds none


class Candidates:
    """Some formats, arranged so that few are asked."""

    __slots__ = ("_by_first_byte", "begins")

    def __init__(self, formats: Sequence[Payload], objects: frozenset[str]) -> None:
        """`objects` are names of formats that are offered an object before all others."""
        self.begins = _begins(formats)
        for_objects = sorted(formats, key=lambda format_: format_.name not in objects)
        self._by_first_byte = [_asked(for_objects if byte == _OBJECT else formats, byte) for byte in range(256)]

    def of(self, payload: bytes) -> tuple[Payload, ...]:
        """Those to ask whether they claim the line."""
        if not payload:
            return ()
        with_object, without = self._by_first_byte[payload[0]]
        return with_object if b"{" in payload else without


def telling(payload: bytes) -> int:
    """Where the part begins that tells the format; 0 where nothing known stands before it, -1 where the line ends before."""
    if len(payload) < HEAD_BYTES_MIN:
        return 0
    first = payload[0]
    if first >= _A:
        if first == _BRACKET:  # `[2026-03-02T19:40:41.318] `
            return payload.find(b"] ", 11, HEAD_BYTES) if payload[5] == _DASH else 0
        if first <= _Z and payload[3] == _BLANK == payload[15]:  # `Mar  2 19:40:41 host `
            return payload.find(b" ", 16, HEAD_BYTES)
    elif _0 <= first <= _9:
        if payload[4] == _DASH:  # `2026-03-02T19:40:41+00:00 host `, `2026-03-02 19:40:41,161 `
            end = payload.find(b" ", 19, HEAD_BYTES)
            return payload.find(b" ", end + 1, HEAD_BYTES) if payload[10] == _T else end
        if payload[2] == _SLASH:  # `03/02/2026 19:40:41`
            return 19
        end = payload.find(b" ", 0, 24)  # `135 `, and a rank's `3: `
        return end + 1 if end > 0 and payload[end - 1] == _COLON else end
    elif first == _BLANK and payload[1] == _BRACKET:  # ` [2026-03-02 19:40:41.318] `
        return payload.find(b"] ", 12, HEAD_BYTES) if payload[6] == _DASH else 0
    return 0


def _begins(formats: Iterable[Payload]) -> dict[bytes, tuple[tuple[bytes, Payload], ...]]:
    found: dict[bytes, list[tuple[bytes, Payload]]] = {}
    for format_ in formats:
        for begin in getattr(format_, "begins", ()):
            found.setdefault(begin[:KEY_BYTES], []).append((begin, format_))
    return {key: tuple(_telling_first(some)) for key, some in found.items()}


def _telling_first(some: Sequence[tuple[bytes, Payload]]) -> Sequence[tuple[bytes, Payload]]:
    """In the order of the formats; behind another where it is the beginning of that one."""
    return sorted(some, key=lambda entry: sum(begin.startswith(entry[0]) for begin, _ in some))


def _asked(formats: Iterable[Payload], byte: int) -> Asked:
    some = [format_ for format_ in formats if byte in getattr(format_, "first_bytes", (byte,))]
    return tuple(some), tuple(format_ for format_ in some if not getattr(format_, "in_object", False))
