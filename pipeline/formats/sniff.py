"""Sample records of a log in; out: which envelope and which formats read it, what they found, what was lost, what nobody knows.

A record goes the way it would go in the pipeline: unwrapped, then offered to all formats, none pinned and no family excluded.  How sure
the answer is are counts, not a guess: of the lines that hold text,

    typed      a format read them into events whose fields mean something
    generic    a format knows the program and kept the text (`training_line`, `access_line`, ..)
    quiet      known and of no interest: header lines, empty lines of a rank
    broken     a format knew the line for its own and could not read it
    pieces     of lines that a container runtime split: the pipeline reads them when they are together, and here nobody does
    unclaimed  nobody's; grouped by shape: what varies is folded, so that a million lines are a few templates

Whether a time has a zone or a year is found by reading the line again as if it were elsewhere, or long ago: a time that moves had none.
Where records carry a collected time, the distance to times without zone tells which offset they were likely written in.

    [2026-03-02T19:40:41] read in UTC      19:40:41Z
    [2026-03-02T19:40:41] read 12 h west   07:40:41Z a day later: it moved, so the line has no zone

Holds: a function of the records and what is known of them; memory has bounds, whatever the number of records; texts are as they came,
attackers' included: whoever shows a report escapes it.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from zoneinfo import ZoneInfo

import msgspec

from pipeline.errors import DecodeError, RejectedRecord, UnknownFormat
from pipeline.formats import registry, several
from pipeline.formats.line import Headers, Line, Payload, Reading
from pipeline.model.attributes import attributes
from pipeline.model.events import AccessLine, ControllerNote, KernelLine, Parsed, TrainingLine
from pipeline.model.source import FAMILIES

GENERIC = (TrainingLine, AccessLine, KernelLine, ControllerNote)
FAMILY_OF = {source: family for family, sources in FAMILIES.items() for source in sources}

NAMES_MAX = 10_000  # distinct hosts, jobs, keys ... that are counted
SHAPES_MAX = 2000  # distinct shapes that are counted; when they are more, the rarest are given up
SHAPE_BYTES_MAX = 240
EXAMPLE_CHARACTERS_MAX = 300
FIELDS_MAX = 12
LISTED = 20
RIVAL_LINES_MAX = 300  # lines that are offered to every other format too
DISTANCES_MAX = 2000
DISTANCES_MIN = 20
DISTANCE_SPREAD_MS = 600_000
QUARTER_MS = 900_000
YEARLESS_MS = 86_400_000
EARLY, LATE = 1_015_000_000_000, 2_561_000_000_000  # different years for any line without one

_UTC, _WEST, _EAST = ZoneInfo("UTC"), ZoneInfo("Etc/GMT+12"), ZoneInfo("Etc/GMT-14")  # POSIX's sign: GMT+12 is twelve hours behind
_HEX = re.compile(rb"\b(?=[0-9a-fA-F]{0,64}[0-9])(?=[0-9a-fA-F]{0,64}[a-fA-F])[0-9a-fA-F]{6,}\b|0x[0-9a-fA-F]+")
_DIGITS = re.compile(rb"[0-9]+(?:[.,:][0-9]+)*")
_BLANKS = re.compile(rb"[ \t]{2,}")
_CONTROL = bytes(set(range(32)) - {9, 10, 13, 27})  # a terminal's escapes are text of a kind


class Known(msgspec.Struct, frozen=True):
    """What is known beside the records, as `sources` of the settings would say it."""

    zone: ZoneInfo = _UTC
    reference_time: int = 4_000_000_000_000  # UTC ms, for records without collected time: lines without year are not after it
    host: str = ""
    job: str = ""
    json_keys: Mapping[str, Sequence[str]] | None = None
    columns: Sequence[str] = ()
    of_job: bool = False  # they are output of jobs, and nothing else


class Count(msgspec.Struct, frozen=True):
    """A name and how often it came."""

    name: str
    count: int


class FormatShare(msgspec.Struct, frozen=True):
    """One format that knew lines for its own."""

    format: str
    source: str
    family: str
    typed: int
    generic: int
    quiet: int
    broken: int
    rivals: dict[str, int]  # formats that could have read such a line as well, among the first lines

    @property
    def lines(self) -> int:
        return self.typed + self.generic + self.quiet + self.broken


class Kind(msgspec.Struct, frozen=True):
    """Events of one kind, and the fields of the first."""

    kind: str
    count: int
    example: dict[str, str]


class Lost(msgspec.Struct, frozen=True):
    """Lines that a format, or an envelope, knew and could not read."""

    by: str
    code: str
    reason: str
    count: int
    example: str


class Shape(msgspec.Struct, frozen=True):
    """Lines that nobody claims and that differ in numbers only."""

    shape: str
    count: int
    example: str


class Times(msgspec.Struct, frozen=True):
    """Event times, counted by event."""

    earliest: int | None
    latest: int | None
    with_zone: int
    without_zone: int
    without_year: int
    none: int
    likely_offset_minutes: int | None = None  # of those without zone, from when they were collected


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a sample is."""

    records: int
    lines: int
    blank: int
    typed: int
    generic: int
    quiet: int
    broken: int
    unclaimed: int
    confidence: str  # high | medium | low | none
    envelopes: dict[str, int]  # lines by envelope
    formats: list[FormatShare]
    kinds: list[Kind]
    hosts: list[Count]
    hosts_total: int
    jobs: list[Count]
    jobs_total: int
    programs: list[Count]
    files: list[Count]
    times: Times
    unmapped: list[Count]
    unmapped_total: int
    lost: list[Lost]
    shapes: list[Shape]
    other_shapes: int  # unclaimed lines of shapes that were given up
    truncated: int
    pieces: int  # of lines that a container runtime split: read when they are together
    crlf: int
    binary: int
    document: bool  # the sample begins as one JSON document over many lines

    @property
    def claimed(self) -> bool:
        """Every line is somebody's and was read."""
        return self.unclaimed == 0 and self.broken == 0

    @property
    def families(self) -> list[str]:
        """Families of topics that the lines belong to, the one of most lines first."""
        counts: Counter[str] = Counter()
        for share in self.formats:
            counts[share.family] += share.typed + share.generic + share.quiet
        return [family for family, count in counts.most_common() if count]


class Sniffer:
    """Takes records one by one; `report` may be asked at any time."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._counts: Counter[str] = Counter()
        self._envelopes: Counter[str] = Counter()
        self._formats: dict[str, Counter[str]] = {}
        self._rivals: dict[str, Counter[str]] = {}
        self._kinds: Counter[str] = Counter()
        self._examples: dict[str, dict[str, str]] = {}
        self._names: dict[str, Counter[str]] = {name: Counter() for name in ("hosts", "jobs", "programs", "files", "unmapped")}
        self._lost: Counter[tuple[str, str, str]] = Counter()
        self._lost_examples: dict[tuple[str, str, str], str] = {}
        self._shapes: dict[bytes, list[int]] = {}
        self._shape_examples: dict[bytes, str] = {}
        self._distances: list[int] = []
        self._earliest: int | None = None
        self._latest: int | None = None
        self._first: bytes | None = None

    def feed(self, value: bytes, headers: Headers = (), collected: int | None = None) -> None:
        """Take one record; `collected` is its timestamp on a topic."""
        self._counts["records"] += 1
        if self._first is None and value.strip():
            self._first = value.strip()
        name = _envelope_of(value, headers)
        try:
            lines = [each for line in registry.unwrap(value, headers) for each in several.lines_of(line, of_job=self._known.of_job)]
        except RejectedRecord as error:
            self._counts["lines"] += 1
            self._lose(name, error, value)
            return
        self._envelopes[name] += len(lines)
        for line in lines:
            self._take(line, name, value, collected)

    def _take(self, line: Line, envelope: str, value: bytes, collected: int | None) -> None:
        payload = line.payload
        if line.broken:
            self._counts["lines"] += 1
            self._lose(envelope, DecodeError(line.broken), payload)
            return
        if not payload or payload.isspace():
            self._counts["blank"] += 1
            return
        self._counts["lines"] += 1
        self._counts["truncated"] += line.truncated
        self._counts["crlf"] += value[-1:] == b"\r" or value[-2:] == b"\r\n"
        for names, name in (("programs", line.program), ("files", line.file)):
            if name:
                self._count(names, name)
        if line.part is not None and b"\r" not in payload:
            self._counts["pieces"] += 1
            return
        told = line.collected_time or collected
        reading = Reading(
            zone=self._known.zone,
            reference_time=told or self._known.reference_time,
            host=line.host or self._known.host,
            job=self._known.job,
            json_keys=self._known.json_keys,
            columns=self._known.columns,
        )
        try:
            format_, events = registry.parse(line, reading)
        except UnknownFormat:
            self._counts["unclaimed"] += 1
            self._count_shape(payload)
            return
        except RejectedRecord as error:
            self._lose(error.format, error, payload)
            return
        outcome = _outcome(events)
        self._counts[outcome] += 1
        self._formats.setdefault(format_.name, Counter())[outcome] += 1
        if self._counts["lines"] <= RIVAL_LINES_MAX:
            self._ask_rivals(format_, line, reading)
        for event in events:
            self._extract(event, line, reading)
        if events:
            self._look_at_times(format_, line, reading, events, told)

    def _ask_rivals(self, format_: Payload, line: Line, reading: Reading) -> None:
        for other in registry.PAYLOADS:
            if other.name != format_.name and other.claims(line.payload):
                try:
                    other.parse(line, reading)
                except RejectedRecord:
                    continue
                self._rivals.setdefault(format_.name, Counter())[other.name] += 1

    def _extract(self, event: Parsed, line: Line, reading: Reading) -> None:
        kind, fields = attributes(event.body)
        self._kinds[kind] += 1
        if kind not in self._examples:
            shown = [(name, text[:EXAMPLE_CHARACTERS_MAX]) for name, text in fields.items() if text]
            self._examples[kind] = dict(shown[:FIELDS_MAX])
        if host := event.host or str(getattr(event.body, "host", "")) or line.host or reading.host:
            self._count("hosts", host)
        if job := str(getattr(event.body, "job", "")) or reading.job:
            self._count("jobs", job)
        for name in event.unmapped:
            self._count("unmapped", name)

    def _look_at_times(self, format_: Payload, line: Line, reading: Reading, events: Sequence[Parsed], collected: int | None) -> None:
        timed = [event.event_time for event in events if event.event_time is not None]
        self._counts["no_time"] += len(events) - len(timed)
        if not timed:
            return
        self._earliest = min(timed) if self._earliest is None else min(self._earliest, *timed)
        self._latest = max(timed) if self._latest is None else max(self._latest, *timed)
        probe = _EAST if reading.zone.key == _WEST.key else _WEST
        elsewhere = _first_time(format_, line, msgspec.structs.replace(reading, zone=probe))
        if elsewhere == timed[0]:
            self._counts["with_zone"] += len(timed)
            return
        self._counts["without_zone"] += len(timed)
        early, late = (_first_time(format_, line, msgspec.structs.replace(reading, reference_time=moment)) for moment in (EARLY, LATE))
        yearless = early is None or late is None or abs(late - early) > YEARLESS_MS
        self._counts["without_year"] += len(timed) if yearless else 0
        if collected is not None and elsewhere is not None and len(self._distances) < DISTANCES_MAX:
            as_utc = elsewhere - (12 * 3_600_000 if probe is _WEST else -14 * 3_600_000)
            self._distances.append(collected - as_utc)

    def _lose(self, by: str, error: RejectedRecord, line: bytes) -> None:
        self._counts["broken"] += 1
        if by in {format_.name for format_ in registry.PAYLOADS}:
            self._formats.setdefault(by, Counter())["broken"] += 1
        reason = _DIGITS.sub(b"0", str(error)[:EXAMPLE_CHARACTERS_MAX].encode()).decode()
        key = (by, error.code.value, reason)
        if key in self._lost or len(self._lost) < SHAPES_MAX:
            self._lost[key] += 1
            self._lost_examples.setdefault(key, _text(line))

    def _count(self, names: str, name: str) -> None:
        counts = self._names[names]
        if name in counts or len(counts) < NAMES_MAX:
            counts[name] += 1

    def _count_shape(self, payload: bytes) -> None:
        if is_binary(payload):
            self._counts["binary"] += 1
        shape = shape_of(payload)
        known = self._shapes.get(shape)
        if known is not None:
            known[0] += 1
            return
        if len(self._shapes) >= SHAPES_MAX:
            self._give_up_rarest()
        self._shapes[shape] = [1]
        self._shape_examples[shape] = _text(payload)

    def _give_up_rarest(self) -> None:
        """Half of the shapes, the rarest; of equally rare ones the latest: what is frequent has mostly been seen early."""
        kept = sorted(self._shapes.items(), key=lambda entry: -entry[1][0])[: SHAPES_MAX // 2]
        self._counts["other_shapes"] += sum(count[0] for count in self._shapes.values()) - sum(count[0] for _, count in kept)
        self._shapes = dict(kept)
        self._shape_examples = {shape: self._shape_examples[shape] for shape in self._shapes}

    def report(self) -> Report:
        """What was found so far."""
        counts = self._counts
        shapes = sorted(self._shapes.items(), key=lambda entry: (-entry[1][0], entry[0]))
        names = self._names
        document = self._first in (b"{", b"[", b"[{") and counts["unclaimed"] + counts["broken"] > 0
        return Report(
            records=counts["records"],
            lines=counts["lines"],
            blank=counts["blank"],
            typed=counts["typed"],
            generic=counts["generic"],
            quiet=counts["quiet"],
            broken=counts["broken"],
            unclaimed=counts["unclaimed"],
            truncated=counts["truncated"],
            pieces=counts["pieces"],
            crlf=counts["crlf"],
            binary=counts["binary"],
            confidence=_confidence(counts, document=document),
            envelopes=dict(self._envelopes.most_common()),
            formats=self._shares(),
            kinds=[Kind(kind, count, self._examples[kind]) for kind, count in self._kinds.most_common()],
            hosts=_listed(names["hosts"]),
            hosts_total=len(names["hosts"]),
            jobs=_listed(names["jobs"]),
            jobs_total=len(names["jobs"]),
            programs=_listed(names["programs"]),
            files=_listed(names["files"]),
            unmapped=_listed(names["unmapped"]),
            unmapped_total=len(names["unmapped"]),
            times=Times(
                self._earliest,
                self._latest,
                counts["with_zone"],
                counts["without_zone"],
                counts["without_year"],
                counts["no_time"],
                _likely_offset(self._distances),
            ),
            lost=[Lost(*key, count, self._lost_examples[key]) for key, count in self._lost.most_common(LISTED)],
            shapes=[Shape(_text(shape), count[0], self._shape_examples[shape]) for shape, count in shapes[:LISTED]],
            other_shapes=counts["other_shapes"] + sum(count[0] for _, count in shapes[LISTED:]),
            document=document,
        )

    def _shares(self) -> list[FormatShare]:
        shares = []
        for name, counts in self._formats.items():
            source = registry.by_name(name).source
            outcomes = {outcome: counts[outcome] for outcome in ("typed", "generic", "quiet", "broken")}
            rivals = dict(self._rivals.get(name, Counter()).most_common())
            shares.append(FormatShare(name, source.value, FAMILY_OF[source], **outcomes, rivals=rivals))
        return sorted(shares, key=lambda share: (-share.lines, share.format))


def sniff(lines: Iterable[bytes], known: Known | None = None) -> Report:
    """A report on raw values without headers, as the lines of a file are."""
    sniffer = Sniffer(known or Known())
    for line in lines:
        sniffer.feed(line)
    return sniffer.report()


def shape_of(payload: bytes) -> bytes:
    """The line with what varies folded: hex words become `<hex>`, numbers and times `0`, runs of blanks one blank."""
    if is_binary(payload):
        return b"<binary>"
    head = _HEX.sub(b"<hex>", payload[:SHAPE_BYTES_MAX])
    return _BLANKS.sub(b" ", _DIGITS.sub(b"0", head)).strip()


def is_binary(payload: bytes) -> bool:
    """Text of no encoding holds a zero byte, nor control characters in every tenth place."""
    head = payload[:SHAPE_BYTES_MAX]
    return b"\x00" in head or 10 * (len(head) - len(head.translate(None, _CONTROL))) > len(head)


def _envelope_of(value: bytes, headers: Headers) -> str:
    """The envelope that takes the value, or that knows it and finds it broken."""
    for envelope in registry.ENVELOPES:
        if envelope.begins and not value.startswith(tuple(envelope.begins)):
            continue
        try:
            if envelope.unwrap(value, headers) is not None:
                return envelope.name
        except RejectedRecord:
            return envelope.name
    return ""


def _outcome(events: Sequence[Parsed]) -> str:
    if not events:
        return "quiet"
    return "generic" if all(isinstance(event.body, GENERIC) for event in events) else "typed"


def _first_time(format_: Payload, line: Line, reading: Reading) -> int | None:
    try:
        _, events = registry.parse(line, reading, format_.name)
    except RejectedRecord:
        return None
    return next((event.event_time for event in events if event.event_time is not None), None)


def _confidence(counts: Mapping[str, int], *, document: bool) -> str:
    """Whether these formats are the right ones.  Generic lines alone, or pieces of one document, say too little for `high`."""
    lines = counts["lines"]
    share = (counts["typed"] + counts["generic"] + counts["quiet"]) / lines if lines else 0.0
    if share >= 0.95 and counts["typed"] and not document:
        return "high"
    return "medium" if share >= 0.5 and not document else "low" if share > 0 else "none"


def _likely_offset(distances: Sequence[int]) -> int | None:
    """Minutes ahead of UTC, to the quarter of an hour that zones have; None where the distances do not agree."""
    if len(distances) < DISTANCES_MIN:
        return None
    ordered = sorted(distances)
    low, middle, high = (ordered[len(ordered) * part // 4] for part in (1, 2, 3))
    if high - low > DISTANCE_SPREAD_MS:
        return None
    minutes = -round(middle / QUARTER_MS) * 15
    return minutes if -12 * 60 <= minutes <= 14 * 60 else None


def _listed(counts: Counter[str]) -> list[Count]:
    return [Count(name, count) for name, count in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))[:LISTED]]


def _text(line: bytes) -> str:
    return line[: 2 * EXAMPLE_CHARACTERS_MAX].decode("utf-8", "replace")[:EXAMPLE_CHARACTERS_MAX]
