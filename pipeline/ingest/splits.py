"""Lines of containers in, as their shipper sends them; of which long line each is a piece, and in what place, out.

A runtime that splits a line marks all pieces but the last, which looks like any whole line; only what stood before it in its file and
stream tells.  So this is the one thing that ingest remembers between records, and it does so in the state of its partition:

    P {"step":7,"lo     opens line a: 0        F iteration 8      nothing is open: a line
    P ss":2.5,          line a: 1              P <a bar>\\r..      nothing of it is needed: read alone, see `bar`
    F "lr":1e-4}        line a: 2, the last

Where the runtime numbers the pieces itself (Docker's `partial_id`, from 1), nothing is remembered.  Else the lines of a file must come
on one partition and in order, as shippers send them that key by file or host; pieces that come otherwise are told all the same, and
what lacks its end is released as it is.

Holds: the same records in the same partition give the same answer, cut into any batches, after any restart; a piece that comes again
gets the same place; OPEN_MAX files are remembered, each for HOLD_MS of collected time from the first piece.
"""

from typing import NamedTuple

import msgspec

from pipeline.formats.line import Line
from pipeline.formats.split_lines import BYTES_MAX, HOLD_MS, PIECES_MAX
from pipeline.model.facts import Fact
from pipeline.model.ids import digest, rank
from pipeline.stream.cases import Cases

SPLITS = b"\x00splits"  # reserved case: no subject's key begins with a zero byte
OPEN_MAX = 4_096
FORGET_MS = 3_600_000  # after the newest of the partition: other files may lag


class Place(NamedTuple):
    """Where a piece belongs."""

    line: str
    ordinal: int | None
    last: bool


class _Open(msgspec.Struct, frozen=True, array_like=True):
    """The long line that a file and stream are at, or were at last."""

    line: str  # empty: of a progress bar
    since: int  # UTC ms, when its first piece was collected
    pieces: tuple[str, ...]  # their ids
    size: int
    closer: str = ""  # id of the piece that ended it


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Open).decode


class Splits:
    """Of one partition; what must survive is in its cases.  `files` are those whose next line may be a piece."""

    def __init__(self, cases: Cases) -> None:
        self._cases = cases
        known = sorted(cases.of(SPLITS).items(), key=lambda entry: entry[1])
        self.files = {key: _decode(body) for key, (_, body) in known}
        self._count = int.from_bytes(known[-1][1][0], "big") if known else 0

    def place(self, line: Line, file: str, piece: str, collected: int) -> Place | None:
        """Of the line whose id as a piece is `piece`; None: it is a line of its own.

        `file` names file and stream; empty: nobody knows which, so a piece stays alone.
        """
        part = line.part
        if part is not None and part.id:
            return Place(digest("split", part.id), None if part.ordinal is None else part.ordinal - 1, part.last)
        known = self.files.get(file)
        if known is not None and abs(collected - known.since) > HOLD_MS:
            self._drop(file)
            known = None
        if known is not None and piece in known.pieces:  # sent again
            return Place(known.line, known.pieces.index(piece), piece == known.closer)
        if part is None:
            return None if known is None or known.closer else self._close(file, known, piece)
        if not file:
            return Place(piece, 0, last=False)
        size = len(line.payload)
        if known is None or known.closer or not known.line or len(known.pieces) + 1 >= PIECES_MAX or known.size + size > BYTES_MAX:
            known = _Open(piece, collected, (), 0)
        self._keep(file, msgspec.structs.replace(known, pieces=(*known.pieces, piece), size=known.size + size))
        return Place(known.line, len(known.pieces), last=False)

    def bar(self, file: str, collected: int) -> None:
        """A piece of a progress bar went by, which draws over its own line: what ends it is the rest of an update."""
        if file:
            self._keep(file, _Open("", collected, (), 0))

    def forget(self, newest: int) -> None:
        """Files of which nothing came for long."""
        for file in [file for file, known in self.files.items() if known.since < newest - FORGET_MS]:
            self._drop(file)

    def _close(self, file: str, known: _Open, piece: str) -> Place:
        line = known.line or piece
        self._keep(file, _Open(line, known.since, (*known.pieces, piece), known.size, piece))
        return Place(line, len(known.pieces), last=bool(known.line))

    def _keep(self, file: str, known: _Open) -> None:
        self._count += 1
        self.files.pop(file, None)  # the newest stand last
        self.files[file] = known
        self._cases.merge(Fact(SPLITS, file, rank(self._count), _encode(known)))
        if len(self.files) > OPEN_MAX:
            self._drop(next(iter(self.files)))

    def _drop(self, file: str) -> None:
        del self.files[file]
        self._cases.drop(SPLITS, file)
