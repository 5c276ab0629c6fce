"""Records in; rows for ClickHouse, facts for the next stages, dead letters and observed event times out.

    record -> envelope -> line -> payload -> events -> row + facts

Decoding is a function of record bytes, headers, Kafka timestamp and settings, so that a replay gives the same events.  One
unreadable record is one outcome, never the end of the batch.  Three times are kept: the line's own, the shipper's, the broker's; a line
whose time is ahead of its collection is flagged and moves no watermark, since one wrong clock must not close everybody's windows.

Authors of lines lie.  A line in the output of one job that speaks for another is a row that says so, and no fact; a JSON object that a
job printed does not replace the shipper's word on whose output it is; a time long past what was observed proves nothing was heard then.
Where the shipper says neither host nor file, nobody knows the author, and the line is taken at its word.  A host that a line names
(`node=`, the system log's prefix) is believed over the shipper's, because logs come through central hosts: the row says `shipped_by`.
"""

import hashlib
from collections.abc import Sequence

import msgspec

from pipeline.errors import ErrorCode, RejectedRecord, TimestampOutOfRange
from pipeline.formats import registry
from pipeline.formats.envelopes.raw import said_by
from pipeline.formats.line import Line, Reading
from pipeline.ingest.facts import facts_of, spoken_for
from pipeline.ingest.reading import SourceReader, SourceReading, short_host
from pipeline.model.actor import actor_of
from pipeline.model.attributes import attributes
from pipeline.model.events import Event, Parsed
from pipeline.model.facts import Fact, host_case
from pipeline.model.identity import Directory
from pipeline.model.ids import digest
from pipeline.model.outcome import EventRow, Filtered, Observed, Outcome, Record, Rejected, Tell, Written
from pipeline.model.source import PER_HOST, Source
from pipeline.model.told import Heard, encode_told
from pipeline.settings import Settings
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import Watermarks, bucket_of

FINAL_HEADER = "trainwatch-final"  # ends a channel: sent by `replay --final`
YEAR_2000_MS, YEAR_2100_MS = 946_684_800_000, 4_102_444_800_000
HEARD_CACHE_MAX = 50_000
JOB_SOURCES = frozenset({Source.TRAINING, Source.PROBE})
DAY_MS = 86_400_000


class IngestState:
    """Nothing that must survive but the marks in `cases`; the rest is settings and a cache."""

    def __init__(self, settings: Settings, cases: Cases) -> None:
        self.cases = cases
        self.settings = settings.ingest
        self.bucket_ms = settings.time.coverage_bucket_seconds * 1000
        self.grace_ms = settings.time.grace_seconds * 1000
        self.keep_ms = max(settings.retention.job_days, settings.retention.host_days) * DAY_MS
        self.reader = SourceReader(settings)
        self.directory: Directory = settings.directory()
        self.heard: set[tuple[str, str, Source, int]] = set()  # told already; telling again would be harmless


def build_state(settings: Settings, cases: Cases) -> IngestState:
    """State of one input partition."""
    return IngestState(settings, cases)


def step(state: IngestState, batch: Sequence[Record], now: Watermarks) -> tuple[IngestState, list[Outcome]]:
    """Decode a batch of records of one partition.

    `now` is how far this partition itself had come before the batch: what lies behind it by more than grace is flagged late.
    """
    outcomes: list[Outcome] = []
    latest: dict[tuple[str, Source], int] = {}
    buckets: dict[tuple[str, Source], set[int]] = {}
    for record in batch:
        try:
            decoded = _decode(state, record)
        except RejectedRecord as error:
            outcomes.append(Rejected(record.offset, error.code, str(error)))
            continue
        if isinstance(decoded, ErrorCode):
            outcomes.append(Filtered(record.offset, decoded))
            continue
        for index, (event, row) in enumerate(decoded):
            key = (event.cluster, event.source)
            late = event.event_time < now.observed(*key) - state.grace_ms
            outcomes.append(Written(record.offset, index, msgspec.structs.replace(row, late=True) if late else row))
            outcomes.extend(facts_of(event))
            if row.future or event.event_time < now.observed(*key) - state.keep_ms:
                continue  # nobody asks any more who was heard then; and a job may print any time a million times
            bucket = bucket_of(event.event_time, state.bucket_ms)
            latest[key] = max(latest.get(key, 0), event.event_time)
            buckets.setdefault(key, set()).add(bucket)
            if event.source in PER_HOST and event.host:
                _tell_heard(state, outcomes, event, bucket)
    outcomes += [Observed(*key, time, tuple(sorted(buckets[key]))) for key, time in latest.items()]
    return state, outcomes


def _decode(state: IngestState, record: Record) -> list[tuple[Event, EventRow]] | ErrorCode:
    """The events of one record with their rows, or the reason why it holds none.  Raises RejectedRecord."""
    value = record.value
    if value is None:
        raise _rejected(ErrorCode.TOMBSTONE, "the record has no value")
    if any(name == FINAL_HEADER for name, _ in record.headers):
        return ErrorCode.CONTROL
    if len(value) > state.settings.record_bytes_max:
        raise _rejected(ErrorCode.RECORD_TOO_LARGE, f"{len(value)} bytes, at most {state.settings.record_bytes_max}")
    if not value.strip():
        raise _rejected(ErrorCode.EMPTY, "the record is empty")
    decoded: list[tuple[Event, EventRow]] = []
    for line in registry.unwrap(value, record.headers):
        if not line.payload.strip():
            raise _rejected(ErrorCode.EMPTY, "the line is empty")
        line = _as_shipped(state, record, line)
        source = state.reader.reading_of(record.topic, line)
        # Both clocks are the producer's to set: an absurd one must not become the year of a line.
        collected = min(max(line.collected_time or record.timestamp, YEAR_2000_MS), YEAR_2100_MS)
        host = short_host(line.host or source.host)
        reading = Reading(zone=source.zone, reference_time=collected, host=host, job=source.job)
        _, events = registry.parse(line, reading, source.format, source.allowed)
        sha256 = hashlib.sha256(line.payload).hexdigest()
        for parsed in events:
            index = len(decoded)
            event, future = _event(state, parsed, line, source, host, collected, _seen(collected, record), sha256)
            decoded.append((event, _row(state, event, parsed, line, record, index, future=future)))
    return decoded or ErrorCode.NOTHING_TO_KEEP


def _as_shipped(state: IngestState, record: Record, line: Line) -> Line:
    """The line, with what the headers say of it where they name a job's output: a job may print what looks like an envelope."""
    if (record.value or b"")[:1] != b"{":
        return line
    host, program, file, offset, collected = said_by(record.headers)
    shipped = Line(payload=line.payload, host=host, program=program, file=file, file_offset=offset, collected_time=collected)
    return shipped if file and file != line.file and state.reader.reading_of(record.topic, shipped).job else line


def _event(
    state: IngestState, parsed: Parsed, line: Line, source: SourceReading, host: str, collected: int, seen: int, sha256: str
) -> tuple[Event, bool]:
    """The event, and whether its time is ahead of when it was seen.  Raises TimestampOutOfRange."""
    time = collected if parsed.event_time is None else parsed.event_time
    ahead = time - seen
    if not YEAR_2000_MS <= time < YEAR_2100_MS or ahead > state.settings.future_seconds_rejected * 1000:
        raise TimestampOutOfRange(f"event time {time} ms, collected {collected} ms, seen by {seen} ms")
    host = short_host(parsed.host) if parsed.host else host
    job = getattr(parsed.body, "job", "")
    if parsed.source in JOB_SOURCES and (not job or not source.is_of(job)):
        job = source.job
    if parsed.own_id:
        event_id = digest(
            parsed.source, source.cluster, host if parsed.source in PER_HOST else "", parsed.own_id, type(parsed.body).__name__
        )
    else:
        own_time = -1 if parsed.event_time is None else parsed.event_time
        where = -1 if line.file_offset is None else line.file_offset
        event_id = digest(parsed.source, source.cluster, host, line.file, own_time, where, line.payload, type(parsed.body).__name__)
    event = Event(
        id=event_id, source=parsed.source, cluster=source.cluster, event_time=time, body=parsed.body, host=host, job=job, sha256=sha256
    )
    return event, ahead > state.settings.future_seconds_max * 1000


def _seen(collected: int, record: Record) -> int:
    """When the record existed at the latest.  A shipper shares the wrong clock of its host; a broker that stamps records does not."""
    return min(collected, record.timestamp) if record.timestamp > 0 else collected


def _row(state: IngestState, event: Event, parsed: Parsed, line: Line, record: Record, index: int, *, future: bool) -> EventRow:
    kind, attrs = attributes(event.body)
    if parsed.unmapped:
        attrs.update(parsed.unmapped)
    if (claimed := spoken_for(event)) != event.job and event.source in JOB_SOURCES:
        attrs["claimed_job"] = claimed
    if line.host and event.source in PER_HOST and (shipper := short_host(line.host)) != event.host:
        attrs["shipped_by"] = shipper
    actor = actor_of(state.directory, event)
    return EventRow(
        event_time=event.event_time,
        collected_time=line.collected_time or 0,
        kafka_time=record.timestamp,
        cluster=event.cluster,
        source=event.source.value,
        kind=kind,
        host=event.host,
        job=event.job,
        actor=actor.id if actor else "",
        event_id=event.id,
        sha256=event.sha256,
        attrs=attrs,
        raw=line.payload.decode("utf-8", "surrogateescape"),
        late=False,
        future=future,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        index=index,
    )


def _tell_heard(state: IngestState, outcomes: list[Outcome], event: Event, bucket: int) -> None:
    key = (event.cluster, event.host, event.source, bucket)
    if key in state.heard:
        return
    if len(state.heard) >= HEARD_CACHE_MAX:
        state.heard.clear()
    state.heard.add(key)
    fact = Fact(host_case(event.cluster, event.host), f"heard/{event.source}/{bucket}", b"", encode_told(Heard(event.source, bucket)))
    outcomes.append(Tell("hosts", fact))


def _rejected(code: ErrorCode, reason: str) -> RejectedRecord:
    error = RejectedRecord(reason)
    error.code = code
    return error
