"""Rows of `events` in; what ingest made of their records then out, for runs over history.

A record of Kafka is gone after days, its rows stay for a year.  A row has the payload line as received and what the shipper said of it
(file, offset, program, host, two times), which is all that ingest reads; so the line goes through the same formats again, under the
settings of today.  Of the row are taken its id, since of equal lines of one record the second got another, by its neighbours; and its
cluster, where settings tell it by what stood beside the line, which is not stored.

    rows 0 1 2 of one record      line of row 0 gives two events -> ids of rows 0 and 1;   the next line is that of row 2

A line that is read otherwise today (another format, other events) keeps the id that it gets now, and is counted: `otherwise`.  Which
line a piece of a split one belongs to is not told by its own row, so pieces are left out; headers of no use to ingest are not stored.

Holds: same settings and same release, same events.
"""

from collections.abc import Mapping, Sequence

import msgspec

from pipeline.errors import ErrorCode, RejectedRecord
from pipeline.formats.line import ANYBODY, ROOT, Line
from pipeline.ingest.step import REFUSED, IngestState, Losses, decode_line, decode_record, fold
from pipeline.model.events import Event
from pipeline.model.outcome import EventRow, Outcome, Record
from pipeline.stream.watermark import Watermarks

PIECES = frozenset({"line_part", ErrorCode.SPLIT_LINE.value})


class StoredRow(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One row of `events`, as far as its line is to be read again."""

    event_id: str
    source: str
    kind: str
    host: str  # the shipper's, where the row says so
    program: str
    file: str
    file_offset: int | None
    collected_time: int | None  # UTC ms
    payload: bytes
    cluster: str = ""
    by_syslog: str = ""  # who wrote it, as the log daemon tells, `prefix` or `file`; empty: it came otherwise, or before that was stored


class StoredRecord(Record, frozen=True, kw_only=True):
    """A record of which the rows are left, in their order.  `value` is the first line."""

    rows: tuple[StoredRow, ...]


class Restored:
    """The step of ingest for records of both kinds; of one run."""

    def __init__(self) -> None:
        self.otherwise = 0  # rows whose line is read otherwise today

    def step(self, state: IngestState, batch: Sequence[Record], now: Watermarks) -> tuple[IngestState, list[Outcome]]:
        """As `ingest.step`."""
        return fold(state, batch, now, self._decode)

    def _decode(
        self, state: IngestState, record: Record, headers: Mapping[str, bytes], lost: Losses
    ) -> tuple[list[tuple[Event, EventRow]], list[EventRow]]:
        if not isinstance(record, StoredRecord):
            return decode_record(state, record, headers, lost)
        decoded: list[tuple[Event, EventRow]] = []
        at = 0
        while at < len(record.rows):
            if record.rows[at].kind in PIECES:
                at += 1
                continue
            before = len(decoded)
            self._read(state, record, record.rows[at], lost, decoded)
            made = len(decoded) - before
            then = record.rows[at : at + made]
            if made == 0:
                self.otherwise += record.rows[at].source != REFUSED
            elif [row.kind for row in then] == [row.kind for _, row in decoded[before:]]:
                decoded[before:] = [_named(pair, row.event_id) for pair, row in zip(decoded[before:], then, strict=True)]
            else:
                self.otherwise += 1
            at += max(made, 1)
        return decoded, []

    @staticmethod
    def _read(state: IngestState, record: StoredRecord, row: StoredRow, lost: Losses, decoded: list[tuple[Event, EventRow]]) -> None:
        """Adds the events of the row's line; a line that was refused then is refused again, which notes what was lost by it."""
        of_another = row.source == REFUSED and row.kind == ErrorCode.UNKNOWN_FORMAT.value  # a program that no format has, it may be
        line = Line(
            payload=row.payload,
            host=row.host,
            program=row.program,
            tagged=of_another and bool(row.program),
            writer=row.by_syslog if row.by_syslog in (ROOT, ANYBODY) else "",
            file=row.file,
            file_offset=row.file_offset,
            collected_time=row.collected_time,
            beside=row.cluster,
        )
        before = len(decoded)
        try:
            decode_line(state, record, {}, line, lost, decoded, None)
        except RejectedRecord:
            del decoded[before:]


def _named(pair: tuple[Event, EventRow], event_id: str) -> tuple[Event, EventRow]:
    event, row = pair
    if event.id == event_id:
        return pair
    return msgspec.structs.replace(event, id=event_id), msgspec.structs.replace(row, event_id=event_id)
