"""Some envelopes in; a function that unwraps what stands inside another one, or a quick way to ask them, out.

Batches hold wrappers, compressed values hold batches.  Who may hold what is said once, where envelopes are listed (formats/registry.py):
each is given the function for what may be inside it, which is always less than what it is itself, so that nothing nests without end.

Most objects are not batches, and to ask each kind of batch costs more than to read the object.  A batch's names stand near its beginning,
so one look there tells whether any is to be asked.  `by_beginning` and `Dated` spare lines of text the same.
"""

import re
from collections.abc import Sequence
from typing import Protocol

from pipeline.errors import UnknownFormat
from pipeline.formats.envelopes.json_lines import Unwrap
from pipeline.formats.line import Envelope, Headers, Line

HEAD_BYTES = 256  # in which the names of a batch begin


class Batch(Envelope, Protocol):
    """An object that holds several lines."""

    keys: Sequence[str]  # one of them stands in the head


class Batches:
    """Asks batches in order, if the value looks like any.  Several lines, of which each is an object, look so too."""

    name = "batches"
    begins: Sequence[bytes] = (b"{",)

    def __init__(self, *batches: Batch) -> None:
        self._batches = batches
        keys = "|".join(re.escape(key) for batch in batches for key in batch.keys)
        self._find = re.compile(f'"(?:{keys})"'.encode()).search

    def unwrap(self, value: bytes, headers: Headers) -> list[Line] | None:
        """The lines of the first that takes the value."""
        if self._find(value, 0, HEAD_BYTES) is None and b"\n" not in value:
            return None
        for batch in self._batches:
            lines = batch.unwrap(value, headers)
            if lines is not None:
                return lines
        return None


class Dated:
    """Asks either of two envelopes whose values begin with `20`: a date, or a number of octets."""

    name = "dated"
    begins: Sequence[bytes] = (b"20",)

    def __init__(self, dated: Envelope, counted: Envelope) -> None:
        self._dated, self._counted = dated, counted

    def unwrap(self, value: bytes, headers: Headers) -> list[Line] | None:
        """What the one that fits says."""
        if value[4:5] != b"-":
            return self._counted.unwrap(value, headers)
        return self._dated.unwrap(value, headers) if value.find(b" std", 20, 40) > 0 else None


def first_of(*envelopes: Envelope) -> Unwrap:
    """Asks them in order."""

    def unwrap(value: bytes, headers: Headers) -> list[Line]:
        for envelope in envelopes:
            lines = envelope.unwrap(value, headers)
            if lines is not None:
                return lines
        raise UnknownFormat("no envelope takes this item")

    return unwrap


def by_beginning(envelopes: Sequence[Envelope]) -> dict[bytes, tuple[Envelope, ...]]:
    """Those to ask about a value, by its first two bytes, or its only one; for a value that is not in it, only the last."""
    *some, last = envelopes
    found: dict[bytes, tuple[Envelope, ...]] = {}
    for begin in {begin[:2] for envelope in some for begin in envelope.begins}:
        for key in (begin, *(begin + bytes([second]) for second in range(256))) if len(begin) == 1 else (begin,):
            found[key] = (*(each for each in some if key.startswith(tuple(each.begins))), last)
    return found
