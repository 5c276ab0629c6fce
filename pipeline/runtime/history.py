"""A range of time in; the input records of it out, in order, from Kafka's input topics or from the rows of `events`.  For `backtest`.

    Kafka        offsets of both ends by time ── partitions merged by timestamp ──► records as they were
    ClickHouse   rows per minute counted ── chunk after chunk, sorted ──► records of which the lines are left (ingest/stored.py)
                 dead letters of the range, where their topic answers ──► records as they were

The range is that of Kafka's timestamps, which a reader can ask both for.  From ClickHouse the order is (timestamp, topic, partition,
offset, index); from Kafka a partition keeps its own order.  What follows does not depend on it within grace.  Controls that end a channel
are left out: the end of the range does that.

Dead letters have no row.  They are read again and refused again; but where a format knows the line, ingest notes that something was lost
at that time.  Without them an absence could be taken for a proof, and a finding could differ from the stored one.

Holds: nothing is written; in memory are a chunk of rows and the dead letters of the range, or WAITING_MAX records a partition; equal ranges
give equal records.
"""

import heapq
import itertools
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol, Self

from kafka import TopicPartition

from pipeline.errors import BrokerUnavailable, ConfigError
from pipeline.ingest.step import FINAL_HEADER
from pipeline.ingest.stored import StoredRecord, StoredRow
from pipeline.model.events import UNKNOWN_HOST
from pipeline.model.instants import MINUTE_MS
from pipeline.model.outcome import Record
from pipeline.runtime.access import answering
from pipeline.runtime.consuming import consumer, ends_of, offsets_at, record_of
from pipeline.runtime.dead_letter import Letter
from pipeline.runtime.dead_letters import Letters
from pipeline.settings import KafkaSettings
from pipeline.sink.clickhouse import Database

BATCH_RECORDS = 2000  # between two checkpoints
CHUNK_ROWS = 50_000  # of one question to ClickHouse; a minute is never split
WAITING_MAX = 5_000  # records of one partition that wait for the others
FETCH_BYTES = 4 << 20
SILENCE_SECONDS = 30.0  # without a record that should come
FOREVER_MS = 4_102_444_800_000  # 2100


class Span(NamedTuple):
    """A range of Kafka's timestamps, UTC ms."""

    begin: int
    end: int | None  # after the last; None: all there is


class Batch(NamedTuple):
    """Some records in order, and how much of `total` they are."""

    records: list[Record]
    units: int


class History(Protocol):
    """A range to be read once."""

    total: int  # records or rows in it, about; 0: it is empty
    unit: str
    gaps: list[str]  # what is known to be missing; complete when all is read
    begins: int | None  # UTC ms: what was before is not read; None: there was nothing before
    letters: dict[str, int]  # records of the range that nobody judged, by code

    def batches(self) -> Iterator[Batch]:
        """The records.  May block; raises TransientError."""


# --- from Kafka -----------------------------------------------------------------------------------------------------------------


class KafkaHistory:
    """From the input topics.  Use as a context manager.  Raises BrokerUnavailable."""

    unit = "records"

    def __init__(self, settings: KafkaSettings, span: Span) -> None:
        self._kafka = settings
        self.gaps: list[str] = []
        self.letters: dict[str, int] = {}
        with ExitStack() as opened:
            options = {"auto_offset_reset": "none", "max_poll_records": WAITING_MAX, "max_partition_fetch_bytes": FETCH_BYTES}
            self._consumer: Any = opened.enter_context(consumer(settings, **options))
            existing = self._consumer.topics()
            self.gaps += [f"the topic {topic} does not exist" for topic in settings.input_topics if topic not in existing]
            parts = [
                TopicPartition(topic, number)
                for topic in settings.input_topics
                if topic in existing
                for number in sorted(self._consumer.partitions_for_topic(topic) or ())
            ]
            self._first, self._end = self._bounds(parts, span)
            beginning = ends_of(self._consumer, parts, begins=True)
            self._opened = opened.pop_all()
        self._deleted = {part: offset for part, offset in beginning.items() if 0 < offset == self._first[part] and offset < self._end[part]}
        self.total = sum(self._end[part] - self._first[part] for part in parts)
        earlier = any(beginning[part] < self._first[part] for part in parts)
        self.begins = span.begin if earlier or self._deleted else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def batches(self) -> Iterator[Batch]:
        """Partitions merged by timestamp; their own order is kept."""
        records = iter(self._merged())
        while some := list(itertools.islice(records, BATCH_RECORDS)):
            yield Batch([record_of(each) for each in some if not any(name == FINAL_HEADER for name, _ in each.headers)], len(some))

    def _bounds(self, parts: Sequence[Any], span: Span) -> tuple[dict[Any, int], dict[Any, int]]:
        """First offset, and the one after the last, of each partition."""
        ends = ends_of(self._consumer, parts)
        first = offsets_at(self._consumer, parts, span.begin, ends)
        behind = ends if span.end is None else offsets_at(self._consumer, parts, span.end, ends)
        return first, {part: max(behind[part], first[part]) for part in parts}

    def _merged(self) -> Iterator[Any]:
        waiting: dict[Any, deque[Any]] = {}
        heads: list[tuple[int, Any]] = []  # timestamp of the next record of each partition
        for part in sorted(self._first):
            waiting[part] = self._fetched(part)
            if waiting[part]:
                self._note_deleted(part, waiting[part][0])
                heads.append((waiting[part][0].timestamp, part))
        heapq.heapify(heads)
        while heads:
            _, part = heads[0]
            yield waiting[part].popleft()
            if not waiting[part]:
                waiting[part] = self._fetched(part)
            if waiting[part]:
                heapq.heapreplace(heads, (waiting[part][0].timestamp, part))
            else:
                heapq.heappop(heads)

    def _fetched(self, part: Any) -> deque[Any]:
        """The next records of a partition, one partition at a time: none means its end.  Moves `_first` on."""
        heard = time.monotonic()
        with answering(self._kafka):
            if self._first[part] < self._end[part]:
                self._consumer.assign([part])
                self._consumer.seek(part, self._first[part])
            while self._first[part] < self._end[part]:
                records = self._consumer.poll(timeout_ms=500).get(part, ())
                self._first[part] = self._consumer.position(part)  # after what holds no record, too: transactions, compaction
                if found := deque(record for record in records if record.offset < self._end[part]):
                    return found
                if time.monotonic() - heard > SILENCE_SECONDS:
                    raise BrokerUnavailable(
                        f"no record of {part.topic}/{part.partition} from {self._kafka.bootstrap_servers} for {SILENCE_SECONDS:.0f} s"
                    )
        return deque()

    def _note_deleted(self, part: Any, record: Any) -> None:
        if (offset := self._deleted.pop(part, None)) is not None:
            self.begins = max(self.begins or 0, record.timestamp)
            first = datetime.fromtimestamp(record.timestamp / 1000, UTC)
            self.gaps.append(f"{part.topic}/{part.partition}: records below offset {offset} are deleted; the first is of {first:%F %T}Z")


# --- from ClickHouse ------------------------------------------------------------------------------------------------------------

_RANGE = (
    "kafka_time >= fromUnixTimestamp64Milli(toInt64(%(begin)s)) AND kafka_time < fromUnixTimestamp64Milli(toInt64(%(end)s)) "
    "AND _topic IN %(topics)s"
)
MINUTES = f"""
SELECT intDiv(toUnixTimestamp64Milli(kafka_time), {MINUTE_MS}) AS minute, count() FROM {{db}}.events
WHERE {_RANGE} GROUP BY minute ORDER BY minute
"""  # noqa: S608  our own text
ROWS = f"""
SELECT toUnixTimestamp64Milli(kafka_time), toString(_topic), _partition, toString(_incarnation), _offset, event_id, toString(source),
    toString(kind), if(attrs['shipped_by'] = '', toString(host), attrs['shipped_by']), toString(program), file, file_offset,
    toUnixTimestamp64Milli(collected_time), raw, toString(cluster), attrs['by_syslog']
FROM {{db}}.events WHERE {_RANGE} ORDER BY kafka_time, _topic, _partition, _incarnation, _offset, _index
"""  # noqa: S608  same
EARLIER = """
SELECT count() FROM
(SELECT 1 FROM {db}.events WHERE kafka_time < fromUnixTimestamp64Milli(toInt64(%(begin)s)) AND _topic IN %(topics)s LIMIT 1)
"""
FILELESS = f"""
SELECT count() FROM {{db}}.events WHERE {_RANGE}
AND kind IN ('iteration', 'training_line', 'rank_failed', 'progress') AND job_id != '' AND file = ''
"""  # noqa: S608  same; only the file tells whose these are
DROPPED = """
SELECT concat(topic, '/', toString(partition)), min(lo) AS first FROM {db}.sink_ranges WHERE topic IN %(topics)s
GROUP BY topic, incarnation, partition HAVING first > 0 ORDER BY 1
"""
LISTED = f"""
SELECT code, count() FROM
(
    SELECT DISTINCT topic, incarnation, partition, o, code FROM {{db}}.sink_ranges ARRAY JOIN listed_offsets AS o, listed_codes AS code
    WHERE topic IN %(topics)s AND code NOT IN ('control', 'nothing_to_keep')
) AS listed
INNER JOIN
(
    SELECT _topic AS topic, _incarnation AS incarnation, _partition AS partition, min(_offset) AS lo, max(_offset) AS hi
    FROM {{db}}.events WHERE {_RANGE} GROUP BY topic, incarnation, partition
) AS heard USING (topic, incarnation, partition)
WHERE o BETWEEN lo AND hi GROUP BY code ORDER BY code
"""  # noqa: S608  same


class ClickHouseHistory:
    """From `events`; dead letters from their topic, where `kafka` names a broker that answers.  Raises TransientError or FatalError."""

    unit = "rows"

    def __init__(self, database: Database, kafka: KafkaSettings, span: Span) -> None:
        self._database, self._kafka = database, kafka
        self._begin, self._end = max(span.begin, 0), FOREVER_MS if span.end is None else span.end
        self._asked = {"begin": self._begin, "end": self._end, "topics": list(kafka.input_topics)}
        self.gaps: list[str] = []
        self._minutes = [(int(minute), int(rows)) for minute, rows in database.query(MINUTES, self._asked)]
        self.total = sum(rows for _, rows in self._minutes)
        self.letters = {str(code): int(count) for code, count in database.query(LISTED, self._asked)} if self.total else {}
        dropped = [f"{place}: offsets below {first} have no rows any more" for place, first in database.query(DROPPED, self._asked)]
        self.gaps += dropped
        if fileless := int(database.query(FILELESS, self._asked)[0][0]):
            self.gaps.append(f"{fileless} lines of jobs were stored before migration 0015, without their file: whose they are is not known")
        earlier = bool(database.query(EARLIER, self._asked)[0][0])
        self.begins = max(span.begin, self._minutes[0][0] * MINUTE_MS if dropped else 0) if self._minutes and (earlier or dropped) else None

    def batches(self) -> Iterator[Batch]:
        """Records of which the rows are left, with the dead letters between them."""
        merged = heapq.merge(self._stored(), self._refused(), key=_place)
        while some := list(itertools.islice(merged, BATCH_RECORDS)):
            yield Batch(some, sum(len(each.rows) for each in some if isinstance(each, StoredRecord)))

    def _stored(self) -> Iterator[Record]:
        for begin, end in self._chunks():
            yield from records_of(self._database.query(ROWS, {**self._asked, "begin": begin, "end": end}))

    def _chunks(self) -> Iterator[tuple[int, int]]:
        """Ranges of whole minutes with about CHUNK_ROWS rows, cut to what was asked for."""
        first, rows = 0, 0
        for number, (minute, count) in enumerate(self._minutes):
            first = minute if rows == 0 else first
            rows += count
            if rows >= CHUNK_ROWS or number + 1 == len(self._minutes):
                yield max(first * MINUTE_MS, self._begin), min((minute + 1) * MINUTE_MS, self._end)
                rows = 0

    def _refused(self) -> list[Record]:
        """The dead letters of ingest in the range, in order."""
        if not self.letters:
            return []
        try:
            if not self._kafka.bootstrap_servers:
                raise ConfigError("kafka.bootstrap_servers is empty")
            with Letters(self._kafka) as letters:  # of one record there may be several
                found = {each.origin: _as_it_was(each) for each in letters.read() if isinstance(each, Letter) and self._is_meant(each)}
        except (BrokerUnavailable, ConfigError) as error:
            self.gaps.append(f"dead letters cannot be read ({error}): where they were, silence may look like proof")
            return []
        if (missing := sum(self.letters.values()) - len(found)) > 0:
            self.gaps.append(f"{missing} dead letters are no longer in their topic: where they were, silence may look like proof")
        return sorted(found.values(), key=_place)

    def _is_meant(self, letter: Letter) -> bool:
        return (
            letter.stage == "ingest"
            and letter.topic in self._kafka.input_topics
            and letter.truncated is None
            and self._begin <= letter.timestamp < self._end
        )


def _place(record: Record) -> tuple[int, str, int, int]:
    return record.timestamp, record.topic, record.partition, record.offset


def records_of(rows: Iterable[tuple[Any, ...]]) -> Iterator[StoredRecord]:
    """Rows as `ROWS` gives them, put together by record."""
    for (stamped, topic, partition, _, offset), group in itertools.groupby(rows, key=lambda row: row[:5]):
        yield _restored(topic, partition, offset, stamped, [_stored_row(row) for row in group])


def _stored_row(row: tuple[Any, ...]) -> StoredRow:
    event_id, source, kind, host, program, file, file_offset, collected, raw, cluster, by_syslog = row[5:]
    return StoredRow(
        event_id=event_id,
        source=source,
        kind=kind,
        host="" if host == UNKNOWN_HOST else host,
        program=program,
        file=file,
        file_offset=None if file_offset < 0 else file_offset,
        collected_time=collected or None,
        payload=raw if isinstance(raw, bytes) else raw.encode(),  # the driver answers with bytes where they are not UTF-8
        cluster=cluster,
        by_syslog=by_syslog,
    )


def _restored(topic: str, partition: int, offset: int, stamped: int, rows: Sequence[StoredRow]) -> StoredRecord:
    collected = max((row.collected_time or 0 for row in rows), default=0)
    return StoredRecord(
        topic=topic,
        partition=partition,
        offset=offset,
        timestamp=stamped,
        value=rows[0].payload,
        headers=(("collected", b"%d" % collected),) if collected else (),
        rows=tuple(rows),
    )


def _as_it_was(letter: Letter) -> Record:
    return Record(
        topic=letter.topic,
        partition=letter.source_partition,
        offset=letter.source_offset,
        timestamp=letter.timestamp,
        value=letter.value,
        key=letter.key,
        headers=letter.headers,
    )
