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
from collections.abc import Iterable, Iterator, Mapping, Sequence

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
from pipeline.model.ids import Digester
from pipeline.model.outcome import EventRow, Filtered, Lost, Observed, Outcome, Read, Record, Rejected, Tell
from pipeline.model.source import PER_HOST, Source
from pipeline.model.told import encode_told, heard_in
from pipeline.settings import Settings
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import Watermarks, bucket_of

FINAL_HEADER = "trainwatch-final"  # ends a channel: sent by `replay --final`
COLLECTED_HEADER = "collected"  # UTC ms: when the shipper took the line
COLLECTED_DIGITS_MAX = 15
YEAR_2000_MS, YEAR_2100_MS = 946_684_800_000, 4_102_444_800_000
CACHE_MAX = HEARD_CACHE_MAX = 50_000
JOB_SOURCES = frozenset({Source.TRAINING, Source.PROBE})
DAY_MS = 86_400_000


class IngestState:
    """Nothing that must survive but the marks in `cases`; the rest is settings and caches."""

    def __init__(self, settings: Settings, cases: Cases) -> None:
        self.cases = cases
        self.settings = settings.ingest
        self.bucket_ms = settings.time.coverage_bucket_seconds * 1000
        self.grace_ms = settings.time.grace_seconds * 1000
        self.keep_ms = max(settings.retention.job_days, settings.retention.host_days) * DAY_MS
        self.reader = SourceReader(settings)
        self.directory: Directory = settings.directory()
        self.heard: set[tuple[str, str, Source, int]] = set()  # told already; telling again would be harmless
        self._digesters: dict[tuple[str, str, str], Digester] = {}

    def digester(self, source: Source, cluster: str, host: str) -> Digester:
        """Makes the ids of events of one family, cluster and host."""
        known = self._digesters.get((source, cluster, host))
        if known is None:
            if len(self._digesters) >= CACHE_MAX:
                self._digesters.clear()
            known = self._digesters[source, cluster, host] = Digester(source, cluster, host)
        return known


class OnHost:
    """What a batch tells of one family on one host."""

    __slots__ = ("buckets", "cluster", "host", "keep_from", "late_before", "latest", "source")

    def __init__(self, event: Event, state: IngestState, now: Watermarks) -> None:
        self.cluster, self.source, self.host = event.cluster, event.source, event.host
        observed = now.observed(event.cluster, event.source)
        self.late_before, self.keep_from = observed - state.grace_ms, observed - state.keep_ms
        self.latest = 0  # event time that may move a mark
        self.buckets: dict[int, None] = {}  # coverage, in order of arrival


def build_state(settings: Settings, cases: Cases) -> IngestState:
    """State of one input partition."""
    return IngestState(settings, cases)


def step(state: IngestState, batch: Sequence[Record], now: Watermarks) -> tuple[IngestState, list[Outcome]]:
    """Decode a batch of records of one partition.

    `now` is how far this partition itself had come before the batch: what lies behind it by more than grace is flagged late.
    """
    outcomes: list[Outcome] = []
    heard: dict[tuple[str, Source, str], OnHost] = {}
    lost: dict[tuple[str, Source, str], set[int]] = {}
    bucket_ms, progress, final = state.bucket_ms, 0, False
    for record in batch:
        headers = dict(record.headers)
        progress = max(progress, collected_time(record.timestamp, headers))
        try:
            if FINAL_HEADER in headers and record.value is not None:
                final = final or headers[FINAL_HEADER] == b"1"
                outcomes.append(Filtered(record.offset, ErrorCode.CONTROL))
                continue
            decoded = _decode(state, record, headers, lost)
        except RejectedRecord as error:
            outcomes.append(Rejected(record.offset, error.code, str(error)))
            continue
        if not decoded:
            outcomes.append(Filtered(record.offset, ErrorCode.NOTHING_TO_KEEP))
        for event, row in decoded:
            time, key = event.event_time, (event.cluster, event.source, event.host)
            family = heard.get(key)
            if family is None:
                family = heard[key] = OnHost(event, state, now)
            if time < family.late_before:
                row = msgspec.structs.replace(row, late=True)
            outcomes.append(row)
            if facts := facts_of(event):
                outcomes += facts
            if row.future or time < family.keep_from:
                continue  # nobody asks any more who was heard then; and a job may print any time a million times
            if time > family.latest:
                family.latest = time
            family.buckets[time - time % bucket_ms] = None
    outcomes += _observed(state, heard.values())
    outcomes += [Lost(*key, tuple(sorted(buckets))) for key, buckets in lost.items()]
    outcomes.append(Read(progress, final))
    return state, outcomes


def collected_time(stamped: int, headers: Mapping[str, bytes]) -> int:
    """When a record was collected, UTC ms: what its shipper says, but not later than its own timestamp."""
    said = headers.get(COLLECTED_HEADER)
    if said and said.isdigit() and len(said) <= COLLECTED_DIGITS_MAX:
        return min(int(said), stamped) if stamped > 0 else int(said)
    return max(stamped, 0)


def _decode(
    state: IngestState, record: Record, headers: Mapping[str, bytes], lost: dict[tuple[str, Source, str], set[int]]
) -> list[tuple[Event, EventRow]]:
    """The events of one record with their rows.  Raises RejectedRecord; what was lost by it is noted in `lost`."""
    value = record.value
    if value is None:
        raise _rejected(ErrorCode.TOMBSTONE, "the record has no value")
    if len(value) > state.settings.record_bytes_max:
        raise _rejected(ErrorCode.RECORD_TOO_LARGE, f"{len(value)} bytes, at most {state.settings.record_bytes_max}")
    if not value or value.isspace():
        raise _rejected(ErrorCode.EMPTY, "the record is empty")
    decoded: list[tuple[Event, EventRow]] = []
    for line in registry.unwrap(value, headers):
        if not line.payload or line.payload.isspace():
            raise _rejected(ErrorCode.EMPTY, "the line is empty")
        if headers and value[:1] == b"{":
            line = _as_shipped(state, record, line, headers)
        source = state.reader.reading_of(record.topic, line)
        # Both clocks are the producer's to set: an absurd one must not become the year of a line.
        collected = min(max(line.collected_time or record.timestamp, YEAR_2000_MS), YEAR_2100_MS)
        reading = Reading(zone=source.zone, reference_time=collected, host=source.host, job=source.job, json_keys=source.json_keys)
        try:
            _, events = registry.parse(line, reading, source.format, source.allowed)
        except RejectedRecord as error:
            if error.format:
                _lose(state, lost, registry.by_name(error.format).source, source, collected)
            raise
        sha256 = hashlib.sha256(line.payload).hexdigest()
        for parsed in events:
            event = _event(state, parsed, line, source, collected, sha256)
            try:
                future = _is_ahead(state, event, collected, record)
            except TimestampOutOfRange:
                _lose(state, lost, event.source, source, collected)
                raise
            row = _row(state, event, parsed, line, record, len(decoded), future=future)
            if line.host and event.source in PER_HOST and source.host != event.host:
                row.attrs["shipped_by"] = source.host
            decoded.append((event, row))
    return decoded


def _lose(state: IngestState, lost: dict[tuple[str, Source, str], set[int]], family: Source, source: SourceReading, collected: int) -> None:
    """Note that a line of the family was lost shortly before it was collected.

    A job's output is left out: whoever runs a job could blind everybody by printing half a line.
    """
    if family in JOB_SOURCES:
        return
    host = source.host if family in PER_HOST else ""
    buckets = lost.setdefault((source.cluster, family, host), set())
    buckets.update(range(bucket_of(collected - state.grace_ms, state.bucket_ms), collected + 1, state.bucket_ms))


def _as_shipped(state: IngestState, record: Record, line: Line, headers: Mapping[str, bytes]) -> Line:
    """The line, with what the headers say of it where they name a job's output: a job may print what looks like an envelope."""
    host, program, file, offset, collected = said_by(headers)
    if not file or file == line.file:
        return line
    shipped = Line(payload=line.payload, host=host, program=program, file=file, file_offset=offset, collected_time=collected)
    return shipped if state.reader.reading_of(record.topic, shipped).job else line


def _event(state: IngestState, parsed: Parsed, line: Line, source: SourceReading, collected: int, sha256: str) -> Event:
    """The event, attributed to cluster, host and job."""
    kind, family, body = type(parsed.body).__name__, parsed.source, parsed.body
    host = short_host(parsed.host) if parsed.host else source.host
    job = getattr(body, "job", "")
    if family in JOB_SOURCES and (not job or not source.is_of(job)):
        job = source.job
    if parsed.own_id:
        digester = state.digester(family, source.cluster, host if family in PER_HOST else "")
        event_id = digester.digest(parsed.own_id, kind)
    else:
        own_time = -1 if parsed.event_time is None else parsed.event_time
        where = -1 if line.file_offset is None else line.file_offset
        event_id = state.digester(family, source.cluster, host).digest(line.file, own_time, where, line.payload, kind)
    return Event(
        id=event_id,
        source=family,
        cluster=source.cluster,
        event_time=collected if parsed.event_time is None else parsed.event_time,
        body=body,
        host=host,
        job=job,
        sha256=sha256,
    )


def _is_ahead(state: IngestState, event: Event, collected: int, record: Record) -> bool:
    """Is the event's time ahead of when it was seen?  Raises TimestampOutOfRange where it is absurd.

    A shipper shares the wrong clock of its host; a broker that stamps records does not.
    """
    time = event.event_time
    seen = record.timestamp if 0 < record.timestamp < collected else collected
    ahead = time - seen
    if not YEAR_2000_MS <= time < YEAR_2100_MS or ahead > state.settings.future_seconds_rejected * 1000:
        raise TimestampOutOfRange(f"event time {time} ms, collected {collected} ms, seen by {seen} ms")
    return ahead > state.settings.future_seconds_max * 1000


def _row(state: IngestState, event: Event, parsed: Parsed, line: Line, record: Record, index: int, *, future: bool) -> EventRow:
    kind, attrs = attributes(event.body)
    if parsed.unmapped:
        attrs.update(parsed.unmapped)
    if event.source in JOB_SOURCES and (claimed := spoken_for(event)) != event.job:
        attrs["claimed_job"] = claimed
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


def _observed(state: IngestState, heard: Iterable[OnHost]) -> Iterator[Outcome]:
    """How far each family came, and in which buckets it was heard: for the cluster, and to each host that was not told yet."""
    families: dict[tuple[str, Source], tuple[int, set[int]]] = {}
    for on_host in heard:
        if not on_host.latest:
            continue
        key = (on_host.cluster, on_host.source)
        latest, buckets = families.get(key) or (0, set())
        buckets.update(on_host.buckets)
        families[key] = max(latest, on_host.latest), buckets
        if on_host.source in PER_HOST and on_host.host:
            yield from _told_heard(state, on_host)
    for (cluster, source), (latest, buckets) in families.items():
        yield Observed(cluster, source, latest, tuple(sorted(buckets)))


def _told_heard(state: IngestState, on_host: OnHost) -> Iterator[Tell]:
    """What is news in a batch, in one fact a day."""
    key = (on_host.cluster, on_host.host, on_host.source)
    days: dict[int, list[int]] = {}
    for bucket in on_host.buckets:
        if (*key, bucket) not in state.heard:
            days.setdefault(bucket // DAY_MS, []).append(bucket)
    for buckets in days.values():
        if len(state.heard) >= HEARD_CACHE_MAX:
            state.heard.clear()
        state.heard.update((*key, bucket) for bucket in buckets)
        told = heard_in(on_host.source, buckets, state.bucket_ms)
        fact = Fact(host_case(on_host.cluster, on_host.host), f"heard/{on_host.source}/{told.bucket}", b"", encode_told(told))
        yield Tell("hosts", fact)


def _rejected(code: ErrorCode, reason: str) -> RejectedRecord:
    error = RejectedRecord(reason)
    error.code = code
    return error
