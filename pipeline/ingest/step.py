"""Records in; rows for ClickHouse, facts for the next stages, dead letters and observed event times out.

    record -> envelope -> line -> payload -> events -> row + facts

Decoding is a function of record bytes, headers, Kafka timestamp and settings, so that a replay gives the same events.  There is one
exception: where a container runtime split a line, the lines before it in its file tell where a piece belongs (splits.py).  One unreadable
record is one outcome, never the end of the batch.  Three times are kept: the line's own, the shipper's, the broker's; a line whose time is
ahead of its collection is flagged and moves no watermark, since one wrong clock must not close everybody's windows.

A record may hold many lines (a batch of OpenTelemetry, an audit webhook's list).  Its rows are numbered; a second equal line that no
source numbered gets another id.  A line that cannot be kept is a row of its own, with source `refused`, which says which line and why;
where no line can be kept the record is a dead letter that names them.

Authors of lines lie.  A line in the output of one job that speaks for another is a row that says so, and no fact; a JSON object that a job
printed does not replace the shipper's word on whose output it is; a time long past what was observed proves nothing was heard then.  Where
the shipper says neither host nor file, nobody knows the author, and the line is taken at its word.  Where the site says that some topics
are closed, events of the others, to which anybody may write, are marked as unproven; they count neither as heard nor as lost where their
source has a closed topic.  So are those of a line that came by the system log in the name of a daemon that has a log of its own, unless
the log daemon tells that root sent it, or the site that it lets nobody else use that name: `logger -t` is open to every user, and
what stands behind a line end in his message is a line without a prefix in a file of the system log.  A host that a line names (`node=`, the
system log's prefix) is believed over the shipper's, because logs come through central hosts: the row says `shipped_by`, UNKNOWN_HOST
where nobody said it.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

import msgspec

from pipeline.errors import DecodeError, ErrorCode, RejectedRecord, SplitLine, TimestampOutOfRange
from pipeline.formats import registry, several
from pipeline.formats.envelopes.compressed import INFLATED_BYTES_MAX
from pipeline.formats.envelopes.raw import said_by
from pipeline.formats.line import ITEMS_MAX, ROOT, Line, Reading
from pipeline.formats.split_lines import PIECE_BYTES_MAX
from pipeline.formats.syslog import NO_TAG, is_system_log, program_of, text_of
from pipeline.ingest.facts import PLACED, TELLING, facts_of, spoken_for
from pipeline.ingest.feeds import OPEN_TO_USERS, Feeds, feed_key
from pipeline.ingest.rates import Rates
from pipeline.ingest.reading import SourceReader, SourceReading, short_host
from pipeline.ingest.splits import Place, Splits
from pipeline.ingest.zones import SAMPLED_BELOW, Zones
from pipeline.model.actor import actor_of, with_uids
from pipeline.model.attributes import attributes
from pipeline.model.conduct import Conduct, Folder
from pipeline.model.events import UNKNOWN_HOST, Event, JobRecord, LinePart, Login, Parsed, SessionChanged, StepCancelled, TrainingLine
from pipeline.model.facts import Fact, host_case
from pipeline.model.identity import Directory
from pipeline.model.ids import Digester, digest
from pipeline.model.instants import DAY_MS
from pipeline.model.outcome import EventRow, Filtered, Lost, Observed, Outcome, Read, Record, Rejected, Tell
from pipeline.model.source import OF_HOSTS, OF_LOGS, PER_HOST, Source
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
EVENTS_MAX = 50_000  # of a record; with its refused lines they are numbered in 16 bits
HEAD_BYTES = 1024  # in which the prefix of a system log line stands
MLPERF = "mllog"  # its records are in UTC
TWO_CLOCKS = frozenset({MLPERF, "slurmstepd", "torchrun"})  # formats whose lines stand in one file, and show whether its zone is right
UNREAD = frozenset({ErrorCode.DECODE_ERROR, ErrorCode.UNKNOWN_FORMAT, ErrorCode.SCHEMA_MISMATCH, ErrorCode.TIMESTAMP_OUT_OF_RANGE})
REFUSED = "refused"  # the source of lines of a batch that could not be kept
REASONS_MAX, REASON_CHARACTERS_MAX = 3, 200
_NO_HEADERS: Mapping[str, bytes] = MappingProxyType({})
_WRITTEN = {source: source.value for source in Source}  # `value` of an enum is a call


class IngestState:
    """Nothing that must survive but the marks and the split lines in `cases`; the rest is settings and caches."""

    def __init__(self, settings: Settings, cases: Cases) -> None:
        self.cases = cases
        self.settings = settings.ingest
        self.bucket_ms = settings.time.coverage_bucket_seconds * 1000
        self.grace_ms = settings.time.grace_seconds * 1000
        self.record_bytes_max = settings.ingest.record_bytes_max
        self.ahead_ms = settings.ingest.future_seconds_max * 1000
        self.absurd_ms = settings.ingest.future_seconds_rejected * 1000
        self.authenticated = frozenset(settings.ingest.authenticated_topics)
        self.trusted_programs = frozenset(settings.ingest.trusted_syslog_programs)
        self.keep_ms = max(settings.retention.job_days, settings.retention.host_days) * DAY_MS
        self.reader = SourceReader(settings)
        self.directory: Directory = settings.directory()
        self.veil = settings.veil()
        self.roots = tuple(root.path.rstrip("/") + "/" for root in settings.artefact_roots)
        self.conduct = Conduct(self.directory, [Folder(root.path.rstrip("/") + "/", root.kind) for root in settings.artefact_roots])
        self.zones, self.rates = Zones(), Rates((source.name, source.expected_per_hour) for source in settings.sources)
        self.splits = Splits(cases)
        self.feeds = Feeds(cases, settings.ingest.failing_percent, settings.ingest.failing_records)
        self.heard: set[tuple[str, str, Source, int]] = set()  # told already; telling again would be harmless
        self._digesters: dict[tuple[str, ...], Digester] = {}
        self._origins: dict[tuple[str, str, str, str, int, bool], Origin] = {}

    def is_proven(self, topic: str) -> bool:
        """May only known senders write there, as far as the site says?"""
        return not self.authenticated or topic in self.authenticated

    def digester(self, *begin: str) -> Digester:
        """Makes the ids of events of one family, cluster and host, and of one file where the line is what names them."""
        known = self._digesters.get(begin)
        if known is None:
            if len(self._digesters) >= CACHE_MAX:
                self._digesters.clear()
            known = self._digesters[begin] = Digester(*begin)
        return known

    def forget_origins(self) -> None:
        """They believe to know feeds that are forgotten."""
        self._origins.clear()

    def origin(self, topic: str, line: Line, named: int, *, said: bool) -> "Origin":
        """What all lines like this one share.  `said`: their shipper names the host, and no line does."""
        key = (topic, line.host, line.program, line.file, named, said)
        known = self._origins.get(key)
        if known is None:
            if len(self._origins) >= CACHE_MAX:
                self._origins.clear()
            known = self._origins[key] = Origin(self, topic, line, named, said=said)
        return known


class Origin:
    """What does not depend on a line but on where it comes from: topic, host, program and file, and the cluster that its shipper names."""

    __slots__ = ("clock", "feed", "file", "job", "program", "proven", "read", "source", "system_log", "until")

    def __init__(self, state: IngestState, topic: str, line: Line, named: int, *, said: bool) -> None:
        self.source = source = state.reader.reading_of(topic, line, named)
        self.proven = state.is_proven(topic)
        self.system_log = is_system_log(line.file)
        self.feed, self.until = "", 0
        self.read: frozenset[Source] = frozenset()  # families of which it is known until then that they are read there
        if not source.of_job:  # of a job's output nobody concludes anything
            # The shipper's word on its host is no more than anybody's where anybody may send, or where jobs print among the rest.
            sender = source.host if said and self.proven and JOB_SOURCES.isdisjoint(source.allowed) else ""
            self.feed, self.clock = feed_key(topic, source.cluster, source.host, sender, line.file), state.feeds.clock(sender)
        self.job, self.file, self.program = map(state.veil.text, (self.source.job, line.file, line.program))  # as they are told


Losses = dict[tuple[str, Source, str], set[int]]  # cluster, family, host -> buckets in which something of it was lost
Decode = Callable[[IngestState, Record, Mapping[str, bytes], Losses], tuple[list[tuple[Event, EventRow]], list[EventRow]]]


class OnHost:
    """What a batch tells of one family on one host."""

    __slots__ = ("buckets", "cluster", "host", "keep_from", "late_before", "latest", "source")

    def __init__(self, event: Event, state: IngestState, now: Watermarks) -> None:
        self.cluster, self.source, self.host = event.cluster, event.source, event.host
        observed = now.observed(event.cluster, event.source)
        self.late_before, self.keep_from = observed - state.grace_ms, observed - state.keep_ms
        self.latest = 0  # event time that may move a mark
        self.buckets: dict[int, None] = {}  # coverage, in order of arrival


class Twins:
    """Tells equal lines of one record apart, which no source numbered: they are not one line that came twice.

    The second gets an id of its own, the same on every replay and in every batch that holds as many.
    """

    def __init__(self) -> None:
        self._line = 0
        self._seen: dict[str, tuple[int, int]] = {}  # id -> the last line that had it, lines before that had it

    def next_line(self) -> None:
        """What is told apart from now on is of another line."""
        self._line += 1

    def told_apart(self, event: Event) -> Event:
        """The event, with another id if a line before had its id."""
        line, before = self._seen.get(event.id, (self._line, 0))
        before += line != self._line
        self._seen[event.id] = self._line, before
        return msgspec.structs.replace(event, id=digest(event.id, before)) if before else event


def build_state(settings: Settings, cases: Cases) -> IngestState:
    """State of one input partition."""
    return IngestState(settings, cases)


def step(state: IngestState, batch: Sequence[Record], now: Watermarks) -> tuple[IngestState, list[Outcome]]:
    """Decode a batch of records of one partition.

    `now` is how far this partition itself had come before the batch: what lies behind it by more than grace is flagged late.
    """
    return fold(state, batch, now, decode_record)


def fold(state: IngestState, batch: Sequence[Record], now: Watermarks, decode: Decode) -> tuple[IngestState, list[Outcome]]:
    """The step, with its way to decode one record."""
    if state.feeds.begin():
        state.forget_origins()
    outcomes: list[Outcome] = []
    heard: dict[tuple[str, Source, str], OnHost] = {}
    lost: Losses = {}
    doubted: Losses = {}  # of senders that nobody authenticated
    bucket_ms, of_people, progress, final = state.bucket_ms, state.conduct.kinds, 0, False
    for record in batch:
        headers = dict(record.headers) if record.headers else _NO_HEADERS
        read = collected_time(record.timestamp, headers)
        if read > progress:
            progress = read
        try:
            if headers and FINAL_HEADER in headers and record.value is not None:
                final = final or headers[FINAL_HEADER] == b"1"
                outcomes.append(Filtered(record.offset, ErrorCode.CONTROL))
                continue
            decoded, refused = decode(state, record, headers, lost if state.is_proven(record.topic) else doubted)
        except RejectedRecord as error:
            outcomes.append(Rejected(record.offset, error.code, str(error)))
            continue
        if not decoded and not refused:
            outcomes.append(Filtered(record.offset, ErrorCode.NOTHING_TO_KEEP))
        for event, row in decoded:
            time, key = event.event_time, (event.cluster, event.source, event.host)
            family = heard.get(key)
            if family is None:
                family = heard[key] = OnHost(event, state, now)
            if time < family.late_before:
                row = msgspec.structs.replace(row, late=True)
            outcomes.append(row)
            kind = type(event.body)
            if kind in TELLING and (facts := facts_of(event, state.roots)):
                outcomes += facts
            if kind in of_people:
                outcomes += state.conduct.of(event)
            if row.future or time < family.keep_from:
                continue  # nobody asks any more who was heard then; and a job may print any time a million times
            if event.unproven and event.source in state.reader.authenticated:
                continue  # a forger must not stand in for a source that is silent
            if time > family.latest:
                family.latest = time
            family.buckets[time - time % bucket_ms] = None
        outcomes += refused
    if state.splits.files:
        state.splits.forget(progress)
    if state.feeds.keep():
        state.forget_origins()
    if batch:
        state.rates.progress(collected_time(batch[0].timestamp, dict(batch[0].headers)), progress)
    outcomes += _observed(state, heard.values())
    for key, buckets in doubted.items():
        if key[1] not in state.reader.authenticated:  # a forger must not blind a source with half a line, either
            lost.setdefault(key, set()).update(buckets)
    outcomes += [Lost(*key, tuple(sorted(buckets))) for key, buckets in lost.items()]
    outcomes.append(Read(progress, final))
    return state, outcomes


def collected_time(stamped: int, headers: Mapping[str, bytes]) -> int:
    """When a record was collected, UTC ms: what its shipper says, but not later than its own timestamp."""
    said = headers.get(COLLECTED_HEADER) if headers else None
    if said and said.isdigit() and len(said) <= COLLECTED_DIGITS_MAX:
        return min(int(said), stamped) if stamped > 0 else int(said)
    return max(stamped, 0)


def decode_record(
    state: IngestState, record: Record, headers: Mapping[str, bytes], lost: Losses
) -> tuple[list[tuple[Event, EventRow]], list[EventRow]]:
    """The events of one record with their rows, and the rows of its lines that were refused.

    Raises RejectedRecord when nothing of the record could be kept; what was lost by it is noted in `lost`.
    """
    value = record.value
    if value is None:
        raise _rejected(ErrorCode.TOMBSTONE, "the record has no value")
    if len(value) > state.record_bytes_max:
        _note_whose(state, record, headers, value, lost)
        raise _rejected(ErrorCode.RECORD_TOO_LARGE, f"{len(value)} bytes, at most {state.record_bytes_max}")
    if not value or value.isspace():
        raise _rejected(ErrorCode.EMPTY, "the record is empty")
    try:
        lines = registry.unwrap(value, headers)
    except RejectedRecord as error:
        _note_broken(state, record, headers, error, lost)
        raise
    for line in lines:
        if several.may_be(line.payload):
            lines = _apart(state, record, headers, lines)
            break
    decoded: list[tuple[Event, EventRow]] = []
    if len(lines) == 1:
        try:
            decode_line(state, record, headers, lines[0], lost, decoded, None)
        except SplitLine as error:
            return [], [_refused_row(state, record, headers, 0, lines[0], error, 0)]
        return decoded, []
    refused: list[tuple[int, Line, RejectedRecord]] = []
    twins = Twins()
    for number, line in enumerate(lines):
        before = len(decoded)
        try:
            decode_line(state, record, headers, line, lost, decoded, twins)
        except RejectedRecord as error:
            del decoded[before:]
            refused.append((number, line, error))
        twins.next_line()
        if len(decoded) > EVENTS_MAX:
            raise _rejected(ErrorCode.RECORD_TOO_LARGE, f"more than {EVENTS_MAX} events in one record")
    if refused and not decoded and not any(isinstance(error, SplitLine) for _, _, error in refused):
        reasons = "; ".join(f"item {number}: {error}" for number, _, error in refused[:REASONS_MAX])
        raise _rejected(refused[0][2].code, f"{len(refused)} of {len(lines)} items refused, {reasons}")
    return decoded, [_refused_row(state, record, headers, *each, len(decoded) + index) for index, each in enumerate(refused)]


def _apart(state: IngestState, record: Record, headers: Mapping[str, bytes], lines: Iterable[Line]) -> list[Line]:
    """Those that hold several taken apart.  Raises RecordTooLarge."""
    found: list[Line] = []
    for line in lines:
        named = state.reader.named(line, headers) if state.reader.names_clusters else 0
        source = state.reader.reading_of(record.topic, _as_shipped(state, record, line, headers, named), named)
        found += several.lines_of(line, of_job=source.of_job, allowed=source.allowed, pinned=source.format)
        if len(found) > ITEMS_MAX:
            raise _rejected(ErrorCode.RECORD_TOO_LARGE, f"more than {ITEMS_MAX} lines in a record")
    return found


def decode_line(
    state: IngestState,
    record: Record,
    headers: Mapping[str, bytes],
    line: Line,
    lost: Losses,
    decoded: list[tuple[Event, EventRow]],
    twins: Twins | None,
) -> None:
    """Adds the events of one line, with their rows.  Raises RejectedRecord."""
    value, payload = record.value or b"", line.payload
    if not line.broken and (not payload or payload.isspace()):
        raise _rejected(ErrorCode.EMPTY, "the line is empty")
    named = state.reader.named(line, headers) if state.reader.names_clusters else 0
    if len(payload) > state.record_bytes_max:  # inflated
        _note_too_large(state, record, line, named, lost)
        raise _rejected(ErrorCode.RECORD_TOO_LARGE, f"a line of {len(payload)} bytes, at most {state.record_bytes_max}")
    shipper = line.host
    if headers and (value[:1] == b"{" or not value.startswith(payload)):
        shipper = said_by(headers)[0] or shipper
        line = _as_shipped(state, record, line, headers, named)
    said = (headers and "host" in headers) or value[:1] == b"{"
    origin = state.origin(record.topic, line, named, said=said and shipper == line.host)
    source = origin.source
    shipper = source.host if shipper == line.host else short_host(shipper)
    collected = _collected(line, record)
    reading = Reading(
        zone=source.zone, reference_time=collected, host=source.host, job=source.job, json_keys=source.json_keys, columns=source.columns
    )
    try:
        if line.broken:
            raise DecodeError(line.broken)
        if line.part is None and not state.splits.files:
            format_, events = registry.parse(line, reading, source.format, source.allowed)
            if line.file and format_.name in TWO_CLOCKS:
                _note_clocks(state, origin, format_.name == MLPERF, line.file, events)
        else:
            events = _read(state, line, reading, source, collected, lost)
    except RejectedRecord as error:
        if error.format:
            _lose(state, lost, registry.by_name(error.format).source, source, collected)
        _note_unread(state, record, origin, collected, error, lost)
        raise
    if events and origin.feed:
        known = _when_known(record, collected)
        if known > origin.clock.time:
            origin.clock.time = known
        if known >= origin.until or events[0].source not in origin.read or state.feeds.uneasy:
            _note_read(state, origin, events[0].source, known)
    sha256 = hashlib.sha256(payload).hexdigest()
    raw, heard = payload.decode("utf-8", "surrogateescape"), False
    for parsed in events:
        proven = origin.proven and not _is_claimed(state, parsed, line, origin)
        event = _event(state, parsed, line, origin, collected, sha256, shipper, proven=proven)
        if twins is not None and not parsed.own_id:
            event = twins.told_apart(event)
        try:
            future = _is_ahead(state, event.event_time, collected, record.timestamp)
        except TimestampOutOfRange as error:
            _lose(state, lost, event.source, source, collected)
            _note_unread(state, record, origin, collected, error, lost)
            raise
        if line.truncated:  # what is absent after the cut proves nothing
            _lose(state, lost, event.source, source, collected)
        decoded.append((event, _row(state, event, parsed, line, origin, record, len(decoded), raw, future=future)))
        if event.unproven and event.source in state.reader.authenticated:
            continue  # a forger must neither hide that a source is silent nor make its clock a wrong one
        heard = True
        if sha256 < SAMPLED_BELOW and parsed.event_time is not None:
            state.zones.note((event.source, event.host or line.file, source.zone.key), event.event_time, collected)
    if source.expected and heard:
        state.rates.note(source.name, source.host, collected)


def _note_clocks(state: IngestState, origin: Origin, utc: bool, file: str, events: Sequence[Parsed]) -> None:
    """For the check of zones: records in UTC, and local times that stand beside them."""
    if not origin.proven and Source.TRAINING in state.reader.authenticated:
        return
    clock = (Source.TRAINING.value, origin.source.host, origin.source.zone.key)
    for parsed in events:
        body, time = parsed.body, parsed.event_time
        if time is None:
            continue
        if utc:
            state.zones.note_utc(clock, file, time)
        elif isinstance(body, StepCancelled):
            state.zones.note_local(clock, file, "cancelled", time)
        elif isinstance(body, TrainingLine) and body.what == "timing_run":
            state.zones.note_local(clock, file, body.text.partition(" ")[0], time)


# --- feeds ----------------------------------------------------------------------------------------------------------------------


def _note_read(state: IngestState, origin: Origin, family: Source, collected: int) -> None:
    """A line was read that may say something new of its feed."""
    feeds, key = state.feeds, origin.feed
    if feeds.is_news(key, family, collected):
        feeds.read(key, family, collected)
    if not feeds.is_news(key, family, collected):
        origin.read, origin.until = origin.read | {family}, collected - collected % DAY_MS + DAY_MS


def _note_unread(state: IngestState, record: Record, origin: Origin, collected: int, error: RejectedRecord, lost: Losses) -> None:
    """A line is lost that nobody could read; where most of its feed is, so is all that the feed used to say."""
    if not origin.feed or error.code not in UNREAD:
        return
    collected = _when_known(record, collected)
    families, since = state.feeds.unread(origin.feed, collected)
    for family in families:
        _lose(state, lost, family, origin.source, collected, since)


def _when_known(record: Record, collected: int) -> int:
    """A shipper whose clock is years ahead would make all other feeds look forgotten."""
    return min(collected, record.timestamp) if record.timestamp > 0 else collected


def _note_broken(state: IngestState, record: Record, headers: Mapping[str, bytes], error: RejectedRecord, lost: Losses) -> None:
    """Not even its envelope could be read: only the headers say whose it is."""
    line = _said_of(b"", headers)
    _note_unread(state, record, state.origin(record.topic, line, 0, said=bool(line.host)), _collected(line, record), error, lost)


def _said_of(payload: bytes, headers: Mapping[str, bytes]) -> Line:
    """A line of which the headers alone tell."""
    host, program, file, offset, collected = said_by(headers)
    return Line(payload=payload, host=host, program=program, file=file, file_offset=offset, collected_time=collected)


def _note_whose(state: IngestState, record: Record, headers: Mapping[str, bytes], value: bytes, lost: Losses) -> None:
    """Nothing is kept of a record that is too large, and its lines are only looked at to see what was lost with it."""
    lines = [_said_of(value, headers)]
    if len(value) <= INFLATED_BYTES_MAX:
        with contextlib.suppress(RejectedRecord):
            lines = registry.unwrap(value, headers)
    for line in lines:
        _note_too_large(state, record, line, state.reader.named(line, headers) if state.reader.names_clusters else 0, lost)


def _note_too_large(state: IngestState, record: Record, line: Line, named: int, lost: Losses) -> None:
    """Whose a line is, a format may claim by the look of it, and not where any user may have written it."""
    source = state.reader.reading_of(record.topic, line, named)
    if source.job or (line.tagged and not line.file) or is_system_log(line.file):
        return
    format_ = registry.by_name(source.format) if source.format else registry.claimant(line.payload, source.allowed)
    if format_ is not None and format_.source not in OPEN_TO_USERS and not program_of(text_of(line.payload[:HEAD_BYTES])):
        _lose(state, lost, format_.source, source, _collected(line, record))


# --- split lines ----------------------------------------------------------------------------------------------------------------


def _read(state: IngestState, line: Line, reading: Reading, source: SourceReading, collected: int, lost: Losses) -> Sequence[Parsed]:
    """The events of a line that may be a piece of a longer one.  Raises SplitLine where nobody puts the pieces together."""
    of_job, file = not JOB_SOURCES.isdisjoint(source.allowed), ""
    if line.file:
        file = f"{source.cluster}\x1f{source.host}\x1f{line.file}\x1f{line.stream}"
    if line.part is None and file not in state.splits.files:
        return registry.parse(line, reading, source.format, source.allowed)[1]
    if of_job and line.part is not None and (end := line.payload.rfind(b"\r")) > 0:
        updates = msgspec.structs.replace(line, payload=line.payload[:end])  # of a progress bar; each is whole up to there
        try:
            events = registry.parse(updates, reading, source.format, source.allowed)[1]
        except RejectedRecord:
            pass
        else:
            state.splits.bar(file, collected)
            return events
    piece = _piece_id(state, line, source, collected)
    place = state.splits.place(line, file, piece, collected)
    if place is None:
        return registry.parse(line, reading, source.format, source.allowed)[1]
    if line.part is None and place.line == piece:  # the rest of a bar
        try:
            return registry.parse(line, reading, source.format, source.allowed)[1]
        except RejectedRecord:
            pass
    if not of_job:
        _lose_split(state, line, source, collected, place, lost)
        raise SplitLine(f"piece {'?' if place.ordinal is None else place.ordinal} of a line that a container runtime split")
    which: str | int = hashlib.sha256(line.payload).hexdigest() if place.ordinal is None else place.ordinal
    return (Parsed(source=Source.TRAINING, body=_piece(line, source, place), own_id=f"{place.line}/{which}"),)


def _piece_id(state: IngestState, line: Line, source: SourceReading, collected: int) -> str:
    """The same whenever the piece is sent again."""
    where = f"at {collected}" if line.file_offset is None else line.file_offset
    return state.digester(Source.TRAINING, source.cluster, source.host).digest("piece", line.file, where, line.payload)


def _piece(line: Line, source: SourceReading, place: Place) -> LinePart:
    return LinePart(
        line=place.line,
        payload=line.payload[:PIECE_BYTES_MAX],
        ordinal=place.ordinal,
        last=place.last,
        cut=len(line.payload) > PIECE_BYTES_MAX,
        zone=source.zone.key,
        format=source.format,
        json_keys={meaning: tuple(keys) for meaning, keys in (source.json_keys or {}).items()},
    )


def _lose_split(state: IngestState, line: Line, source: SourceReading, collected: int, place: Place, lost: Losses) -> None:
    """Note by its first piece whose line was lost, where a format knows it for its own."""
    if place.ordinal not in (None, 0):
        return
    format_ = registry.by_name(source.format) if source.format else registry.claimant(line.payload, source.allowed)
    if format_ is not None:
        _lose(state, lost, format_.source, source, collected)


# --- rows -----------------------------------------------------------------------------------------------------------------------


def _collected(line: Line, record: Record) -> int:
    """Both clocks are the producer's to set: an absurd one must not become the year of a line."""
    time = line.collected_time or record.timestamp
    return time if YEAR_2000_MS <= time <= YEAR_2100_MS else min(max(time, YEAR_2000_MS), YEAR_2100_MS)


def _refused_row(
    state: IngestState, record: Record, headers: Mapping[str, bytes], number: int, line: Line, error: RejectedRecord, index: int
) -> EventRow:
    """One line of a batch that could not be kept, beside those that could.

    A dead letter is a whole record, and this one is written; so the line is kept as a row that says why, and no stage hears of it.
    """
    named = state.reader.named(line, headers) if state.reader.names_clusters else 0
    line = _as_shipped(state, record, line, headers, named)
    source, collected = state.reader.reading_of(record.topic, line, named), _collected(line, record)
    return EventRow(
        event_time=collected,
        collected_time=line.collected_time or 0,
        kafka_time=record.timestamp,
        cluster=source.cluster,
        source=REFUSED,
        kind=error.code.value,
        host=source.host,
        job=state.veil.text(source.job),
        actor="",
        event_id=digest(REFUSED, source.cluster, source.host, line.file, collected, number, line.payload),
        sha256=hashlib.sha256(line.payload).hexdigest(),
        attrs={**state.veil.unmapped({"reason": str(error)[:REASON_CHARACTERS_MAX]}), "item": str(number), "format": error.format},
        raw=line.payload.decode("utf-8", "surrogateescape"),
        late=False,
        future=False,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        index=index,
        file=state.veil.text(line.file),
        file_offset=-1 if line.file_offset is None else line.file_offset,
        program=state.veil.text(line.program),
    )


def _lose(state: IngestState, lost: Losses, family: Source, source: SourceReading, collected: int, since: int | None = None) -> None:
    """Note that a line of the family was lost shortly before it was collected, or lines that were collected from then on.

    A job's output is left out: whoever runs a job could blind everybody by printing half a line.
    """
    if family in JOB_SOURCES:
        return
    host = source.host if family in PER_HOST else ""
    buckets = lost.setdefault((source.cluster, family, host), set())
    first = bucket_of((collected if since is None else since) - state.grace_ms, state.bucket_ms)
    buckets.update(range(first, collected + 1, state.bucket_ms))


def _as_shipped(state: IngestState, record: Record, line: Line, headers: Mapping[str, bytes], named: int) -> Line:
    """The line, with what the headers say of it where they name a job's output: a job may print what looks like an envelope."""
    if said_by(headers)[2] in ("", line.file):
        return line
    shipped = _said_of(line.payload, headers)
    return shipped if state.reader.reading_of(record.topic, shipped, named).job else line


def _by_system_log(parsed: Parsed, line: Line, origin: Origin) -> bool:
    """Did the line of a daemon that has a log of its own come by the system log?

    Without a prefix, too: what stands behind a line end in a message, log daemons write as a line without one.
    Not asked of whom a bastion lets in: as sshd's and su's lines that withholds a name, and says of nobody what he did.
    """
    if parsed.source in OF_LOGS or (parsed.tag == "" and line.writer == "" and not origin.system_log):
        return False
    return not (parsed.source is Source.TELEPORT and isinstance(parsed.body, Login | SessionChanged))


def _is_claimed(state: IngestState, parsed: Parsed, line: Line, origin: Origin) -> bool:
    """May anybody have written it in the name of its program?"""
    if not _by_system_log(parsed, line, origin) or line.writer == ROOT:
        return False
    names = {parsed.tag} if parsed.tag else set[str]()
    if line.writer:
        names.add(line.program or NO_TAG)
    return not (names or {NO_TAG}) <= state.trusted_programs


def _event(
    state: IngestState, parsed: Parsed, line: Line, origin: Origin, collected: int, sha256: str, shipper: str, *, proven: bool
) -> Event:
    """The event, attributed to cluster, host and job."""
    source, family, said = origin.source, parsed.source, parsed.body
    body = said if state.veil.idle else state.veil.body(said)
    host = short_host(parsed.host) if parsed.host else source.host
    job = getattr(body, "job", "")
    if family in JOB_SOURCES and (not job or not source.is_of(getattr(said, "job", ""))):
        job = origin.job
    offset, time = line.file_offset, parsed.event_time
    if parsed.own_id:
        digester = state.digester(family, source.cluster, host if family in PER_HOST else "")
        event_id = digester.of_own(parsed.own_id, type(said).__name__)
    else:
        digester = state.digester(family, source.cluster, host, line.file)
        own_time, place = -1 if time is None else time, -1 if offset is None else offset
        event_id = digester.of_line(own_time, place, line.payload, type(said).__name__)
    if not proven:  # never in the place of a true one
        event_id = digest("unproven", event_id)
    if time is None:
        time = collected
    if isinstance(body, JobRecord):
        body = with_uids(state.directory.of(source.cluster), body, time)
    placed = offset is not None and isinstance(body, PLACED)
    return Event(
        id=event_id,
        source=family,
        cluster=source.cluster,
        event_time=time,
        body=body,
        host=host,
        job=job,
        sha256=sha256,
        file=origin.file if placed else "",
        position=offset if placed else None,
        shipper=(shipper or UNKNOWN_HOST) if shipper != host and family in OF_HOSTS else "",
        unproven=not proven,
    )


def _is_ahead(state: IngestState, time: int, collected: int, stamped: int) -> bool:
    """Is the event's time ahead of when it was seen?  Raises TimestampOutOfRange where it is absurd.

    A shipper shares the wrong clock of its host; a broker that stamps records does not.
    """
    seen = stamped if 0 < stamped < collected else collected
    ahead = time - seen
    if not YEAR_2000_MS <= time < YEAR_2100_MS or ahead > state.absurd_ms:
        raise TimestampOutOfRange(f"event time {time} ms, collected {collected} ms, seen by {seen} ms")
    return ahead > state.ahead_ms


def _row(
    state: IngestState, event: Event, parsed: Parsed, line: Line, origin: Origin, record: Record, index: int, raw: str, *, future: bool
) -> EventRow:
    family, host = event.source, event.host
    kind, attrs = attributes(event.body)
    if parsed.unmapped:
        attrs.update(state.veil.unmapped(parsed.unmapped))
    if family in JOB_SOURCES and (claimed := spoken_for(event)) != event.job:
        attrs["claimed_job"] = claimed
    if event.unproven:
        attrs["sender"] = "not authenticated"
    if _by_system_log(parsed, line, origin):  # read again from here, since the line alone may not tell
        attrs["by_syslog"] = line.writer or ("prefix" if parsed.tag else "file")
    if line.truncated:
        attrs["truncated"] = "by its shipper"
    if event.shipper and origin.source.host != host:  # read again from here, since by it logs count as those of one host or of two
        attrs["shipped_by"] = event.shipper
    actor = actor_of(state.directory, event)
    offset = line.file_offset
    return EventRow(
        record.topic,
        record.partition,
        record.offset,
        index,
        event.event_time,
        line.collected_time or 0,
        record.timestamp,
        event.cluster,
        _WRITTEN[family],
        kind,
        host,
        event.job,
        actor.id if actor else "",
        event.id,
        event.sha256,
        attrs,
        raw,
        False,  # whether it is late is seen by the batch
        future,
        origin.file,
        -1 if offset is None else offset,
        origin.program,
    )


def _observed(state: IngestState, heard: Iterable[OnHost]) -> list[Outcome]:
    """How far each family came, and in which buckets it was heard: for the cluster, and to each host that was not told yet."""
    families: dict[tuple[str, Source], tuple[int, set[int]]] = {}
    outcomes: list[Outcome] = []
    for on_host in heard:
        if not on_host.latest:
            continue
        key = (on_host.cluster, on_host.source)
        latest, buckets = families.get(key) or (0, set())
        buckets.update(on_host.buckets)
        families[key] = max(latest, on_host.latest), buckets
        if on_host.source in PER_HOST and on_host.host:
            outcomes += _told_heard(state, on_host)
    outcomes += [Observed(*key, latest, tuple(sorted(buckets))) for key, (latest, buckets) in families.items()]
    return outcomes


def _told_heard(state: IngestState, on_host: OnHost) -> list[Tell]:
    """What is news in a batch, in one fact a day."""
    cluster, host, source, told_before = on_host.cluster, on_host.host, on_host.source, state.heard
    if len(told_before) >= HEARD_CACHE_MAX:
        told_before.clear()
    days: dict[int, list[int]] = {}
    for bucket in on_host.buckets:
        place = (cluster, host, source, bucket)
        if place not in told_before:
            told_before.add(place)
            days.setdefault(bucket // DAY_MS, []).append(bucket)
    told = [heard_in(source, buckets, state.bucket_ms) for buckets in days.values()]
    case = host_case(cluster, host)
    return [Tell("hosts", Fact(case, f"heard/{source}/{each.bucket}", b"", encode_told(each))) for each in told]


def _rejected(code: ErrorCode, reason: str) -> RejectedRecord:
    error = RejectedRecord(reason)
    error.code = code
    return error
