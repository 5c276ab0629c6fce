"""Row objects in, columns for ClickHouse out: the one place that knows which class goes to which table and column.

The driver takes columns about as fast as it can copy them, tuples a little slower and dictionaries four times slower, so a block is
built column by column; for 100,000 rows of `events` that takes 0.8 us a row beside the driver's own 1 us.  Times are integers, which
the driver stores as they are: UTC milliseconds in a DateTime64(3).  Addresses are strings: an IPv4 column costs the driver 1.85 us.

Text that is not UTF-8 was decoded with `surrogateescape`; here it becomes the bytes it was, so ClickHouse holds what was received.
The driver takes bytes beside str in one column.  Whole columns are tried first, since nearly all of them are clean.  Attributes travel
as JSON (0.7 us a row; a map of a dozen fields 3.5 us).

Holds: the column order of a table is the order here; a row's class decides its table; rows are never changed.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from pipeline.errors import ErrorCode, RejectedRecord, require
from pipeline.model.outcome import EventRow, RangeRow, Row
from pipeline.model.sealed import Sealed

Columns = list[list[Any]]
Checklist = tuple[tuple[str, str, str, str, tuple[str, ...]], ...]  # name, answer, by, note, missing
Prices = tuple[tuple[float, float, str], ...]  # hours, money per hour, how it comes about
Inputs = tuple[tuple[str, int | None, int | None, float, float, Prices], ...]  # reading, start, end, share, elsewhere, prices


class SinkRow(Row, frozen=True, kw_only=True):
    """Where a row of the sink stage comes from; `version` orders the rows of one id."""

    version: int


class SaidRow(SinkRow, frozen=True, kw_only=True):
    """What stands in every word that may be taken back."""

    closes_at: int
    revision: int
    watermarks: dict[str, int]
    silent: tuple[str, ...]
    settings_digest: str
    software: str
    canonical: str


class IncidentPartRow(SinkRow, frozen=True, kw_only=True):
    """One of several rows of an incident."""

    incident_id: str
    position: int


class EnrichedRow(SinkRow, frozen=True, kw_only=True):
    """One row of `enriched_events`."""

    event_time: int
    cluster: str
    job_id: str
    attempt: str
    enriched_id: str
    event_id: str
    owner: str
    source: str
    kind: str
    host: str
    actor: str
    relation: str
    matched: str
    sha256: str
    attrs: dict[str, str]
    revision: int
    canonical: str


class VerdictRow(SaidRow, frozen=True, kw_only=True):
    """One row of `verdicts`."""

    end_time: int
    cluster: str
    job_id: str
    attempt: str
    submit_time: int
    start_time: int | None
    verdict_id: str
    owner: str
    owner_uid: int | None
    state: str
    verdict: str
    cause: str
    status: str
    by_role: str
    by_event_id: str
    by_sha256: str
    by_source: str
    by_time: int | None
    by_summary: str
    findings: tuple[str, ...]
    checklist: Checklist
    nodes: tuple[str, ...]
    gpus: int | None


class FindingRow(SaidRow, frozen=True, kw_only=True):
    """One row of `findings`."""

    effect_time: int
    cause_time: int
    subject: str
    subject_name: str
    cluster: str
    job_id: str
    attempt: str
    submit_time: int
    start_time: int | None
    finding_id: str
    detector: str
    detector_version: int
    title: str
    severity: str
    status: str
    effect: str
    anchor: str
    owner: str
    actor: str
    actor_withheld: str
    summary: str
    confidence: float
    confidence_parts: dict[str, float]
    alert: bool
    gate: str
    attack: tuple[str, ...]
    sources: tuple[str, ...]
    checklist: Checklist


class EvidenceRow(SinkRow, frozen=True, kw_only=True):
    """One row of `finding_evidence`."""

    finding_id: str
    position: int
    role: str
    event_id: str
    sha256: str
    source: str
    event_time: int
    summary: str


class IncidentRow(SaidRow, frozen=True, kw_only=True):
    """One row of `incidents`."""

    first_time: int
    last_time: int
    cluster: str
    incident_id: str
    founder: str
    aliases: tuple[str, ...]
    merged_into: str
    title: str
    severity: str
    status: str
    alert: bool
    findings: int
    named: str
    withheld: str
    leader: str
    second: str
    gap_low: float | None
    gap_needed: float
    candidates: int
    attempts: int
    exposed: int
    examined: int
    unaffected: int
    users: tuple[str, ...]
    projects: tuple[str, ...]
    gpus_max: int


class IncidentFindingRow(IncidentPartRow, frozen=True, kw_only=True):
    """One row of `incident_findings`."""

    finding_id: str
    detector: str
    effect_time: int
    alert: bool
    links: tuple[str, ...]


class HypothesisRow(IncidentPartRow, frozen=True, kw_only=True):
    """One row of `attribution`."""

    kind: str
    who: str
    low: float
    high: float
    evidence: tuple[str, ...]


class LossRow(IncidentPartRow, frozen=True, kw_only=True):
    """One row of `loss_lines`."""

    ledger: str
    kind: str
    job_id: str
    attempt: str
    gpu_hours_low: float
    gpu_hours_middle: float
    gpu_hours_high: float
    money_low: float
    money_middle: float
    money_high: float
    currency: str
    method: str
    formula: str
    note: str
    evidence: tuple[str, ...]
    gpus: int
    nodes: int
    inputs: Inputs


class RowsRefused(RejectedRecord):
    """These rows hold a value that their column cannot take.  `positions` names them in the sequence that was to be inserted.

    The others are fine: the caller dead-letters the records of the named rows and inserts the rest under the same token.
    """

    code = ErrorCode.INSERT_REFUSED
    advice = "The records are in the dead-letter topic; report the format that let the value through."

    def __init__(self, message: str, positions: tuple[int, ...]) -> None:
        super().__init__(message)
        self.positions = positions


class UnreadableRow(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One row of `unreadable_sources`: what of a source that was read before could not be read in an hour, on one partition."""

    hour: int
    cluster: str
    source: str
    host: str
    topic: str
    partition: int
    file: str
    first_time: int
    last_time: int
    unread: int


class StandingRow(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One row of `standings`: where a worker stood on one partition, by the server's clock."""

    topic: str
    partition: int
    stage: str
    worker: str
    durable: int  # where a restart would go on
    lag: int
    lag_seconds: int | None
    state_bytes: int
    state_cases: int


# --- what a column takes --------------------------------------------------------------------------------------------------------


_encode_json = msgspec.json.Encoder().encode


class Kind(NamedTuple):
    """How values of a column are prepared, and which ones it takes.  `prepare` gets the whole column."""

    takes: Callable[[Any], bool]
    prepare: Callable[[list[Any]], list[Any]] | None = None


def to_stored(value: str) -> str | bytes:
    """The text, or the bytes that it was decoded from when they were not UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError:
        try:
            return value.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:  # a lone surrogate of another origin, e.g. "\ud800" in JSON
            return value.encode("utf-8", "surrogatepass")
    return value


def from_stored(value: str | bytes) -> str:
    """The inverse, for text read back: the driver answers with bytes where they are not UTF-8."""
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


def _clean(values: Iterable[str]) -> bool:
    try:
        "".join(values).encode()
    except UnicodeEncodeError:
        return False
    return True


def _text(column: list[str]) -> list[Any]:
    return column if _clean(column) else [to_stored(value) for value in column]


def _texts(column: list[Sequence[str]]) -> list[Any]:
    return column if _clean(chain.from_iterable(column)) else [[to_stored(value) for value in values] for values in column]


def _attributes(column: list[dict[str, str]]) -> list[bytes]:
    """As JSON, from which the table makes its map.  JSON is text: a byte that is not UTF-8 is written out, as `\\xff`; `raw` has it."""
    try:
        return list(map(_encode_json, column))
    except UnicodeEncodeError:
        return [_encode_json({_printed(key): _printed(value) for key, value in attributes.items()}) for attributes in column]


def _printed(text: str) -> str:
    stored = to_stored(text)
    return stored if isinstance(stored, str) else stored.decode("utf-8", "backslashreplace")


def _checklists(column: list[Checklist]) -> list[Any]:
    return [[(name, answer, by, to_stored(note), [*missing]) for name, answer, by, note, missing in checklist] for checklist in column]


def _inputs(column: list[Inputs]) -> list[Any]:
    return [[(*each[:5], [(hours, rate, to_stored(formula)) for hours, rate, formula in each[5]]) for each in inputs] for inputs in column]


def _integer(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and low <= value <= high


def _or_none(takes: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or takes(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_texts(value: Any) -> bool:
    return isinstance(value, tuple | list) and all(isinstance(item, str) for item in value)


def _map_of(takes: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(isinstance(key, str) and takes(item) for key, item in value.items())


def _is_checklist(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(item, tuple) and len(item) == 5 for item in value)


def _is_inputs(value: Any) -> bool:
    return isinstance(value, tuple) and all(
        isinstance(item, tuple) and len(item) == 6 and all(isinstance(priced, tuple) and len(priced) == 3 for priced in item[5])
        for item in value
    )


_MS = _integer(-(2**63), 2**63 - 1)
TEXT = Kind(_is_text, _text)
TEXTS = Kind(_is_texts, _texts)
ATTRIBUTES = Kind(_map_of(_is_text), _attributes)
CHECKLIST = Kind(_is_checklist, _checklists)
INPUTS = Kind(_is_inputs, _inputs)
TIME = Kind(_MS)
TIME_OR_NONE = Kind(_or_none(_MS))
U16 = Kind(_integer(0, 2**16 - 1))
U32 = Kind(_integer(0, 2**32 - 1))
U32_OR_NONE = Kind(_or_none(_integer(0, 2**32 - 1)))
U64 = Kind(_integer(0, 2**64 - 1))
I64 = Kind(_integer(-(2**63), 2**63 - 1))
U64S = Kind(lambda value: isinstance(value, tuple | list) and all(_integer(0, 2**64 - 1)(item) for item in value))
FLAG = Kind(lambda value: isinstance(value, bool))
SCORE = Kind(lambda value: isinstance(value, float | int))
SCORE_OR_NONE = Kind(lambda value: value is None or isinstance(value, float | int))
SCORES = Kind(_map_of(lambda value: isinstance(value, float | int)))
TIMES = Kind(_map_of(_MS))


# --- tables ---------------------------------------------------------------------------------------------------------------------


class Column(NamedTuple):
    """One column: its name in ClickHouse, where its value stands in the row, and what it takes."""

    name: str
    get: Callable[[Any], Any]
    kind: Kind


class Table(NamedTuple):
    """One table and the columns that trainwatch writes; the server fills the others."""

    name: str
    row: type[msgspec.Struct]
    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


INCARNATION = "_incarnation"  # the same for all rows of a block, so no row carries it


def _columns(kinds: Mapping[str, Kind], renamed: Mapping[str, str]) -> tuple[Column, ...]:
    return tuple(Column(renamed.get(name, name), attrgetter(name), kind) for name, kind in kinds.items())


_ORIGIN = {"topic": TEXT, "partition": U16, "offset": U64, "index": U16}
_ORIGIN_NAMES = {"topic": "_topic", "partition": "_partition", "offset": "_offset", "index": "_index", "version": "_version"}
_TRANSPORT = {"revision": U32, "watermarks": TIMES, "silent": TEXTS, "settings_digest": TEXT, "software": TEXT, "canonical": TEXT}
_ATTEMPT = {"cluster": TEXT, "job_id": TEXT, "attempt": TEXT, "submit_time": TIME, "start_time": TIME_OR_NONE}


def _texts_named(*names: str) -> dict[str, Kind]:
    return dict.fromkeys(names, TEXT)


def _of_topic(kinds: Mapping[str, Kind], renamed: Mapping[str, str] = MappingProxyType({})) -> tuple[Column, ...]:
    """Columns of a row of the sink stage."""
    return _columns({**kinds, "version": U64, **_ORIGIN}, {**renamed, **_ORIGIN_NAMES})


EVENTS = Table(
    "events",
    EventRow,
    _columns(
        {
            "event_time": TIME,
            "collected_time": TIME,
            "kafka_time": TIME,
            **_texts_named("cluster", "source", "kind", "host", "job", "actor", "event_id", "sha256"),
            "attrs": ATTRIBUTES,
            "raw": TEXT,
            "late": FLAG,
            "future": FLAG,
            "file": TEXT,
            "file_offset": I64,
            "program": TEXT,
            **_ORIGIN,
        },
        {"event_time": "ts", "job": "job_id", "attrs": "attrs_json", **_ORIGIN_NAMES},
    ),
)
ENRICHED = Table(
    "enriched_events",
    EnrichedRow,
    _of_topic(
        {
            "event_time": TIME,
            **_texts_named("cluster", "job_id", "attempt", "enriched_id", "event_id", "owner", "source", "kind", "host", "actor"),
            **_texts_named("relation", "matched", "sha256"),
            "attrs": ATTRIBUTES,
            "revision": U32,
            "canonical": TEXT,
        },
        {"event_time": "ts", "attrs": "attrs_json"},
    ),
)
VERDICTS = Table(
    "verdicts",
    VerdictRow,
    _of_topic(
        {
            "end_time": TIME,
            **_ATTEMPT,
            **_texts_named("verdict_id", "owner"),
            "owner_uid": U32_OR_NONE,
            **_texts_named("state", "verdict", "cause", "status", "by_role", "by_event_id", "by_sha256", "by_source"),
            "by_time": TIME_OR_NONE,
            "by_summary": TEXT,
            "findings": TEXTS,
            "checklist": CHECKLIST,
            "nodes": TEXTS,
            "gpus": U32_OR_NONE,
            "closes_at": TIME,
            **_TRANSPORT,
        },
    ),
)
FINDINGS = Table(
    "findings",
    FindingRow,
    _of_topic(
        {
            "effect_time": TIME,
            "cause_time": TIME,
            **_texts_named("subject", "subject_name"),
            **_ATTEMPT,
            **_texts_named("finding_id", "detector"),
            "detector_version": U32,
            **_texts_named("title", "severity", "status", "effect", "anchor", "owner", "actor", "actor_withheld", "summary"),
            "confidence": SCORE,
            "confidence_parts": SCORES,
            "alert": FLAG,
            "gate": TEXT,
            "attack": TEXTS,
            "sources": TEXTS,
            "checklist": CHECKLIST,
            "closes_at": TIME,
            **_TRANSPORT,
        },
    ),
)
EVIDENCE = Table(
    "finding_evidence",
    EvidenceRow,
    _of_topic(
        {
            "finding_id": TEXT,
            "position": U16,
            **_texts_named("role", "event_id", "sha256", "source"),
            "event_time": TIME,
            "summary": TEXT,
        },
    ),
)
INCIDENTS = Table(
    "incidents",
    IncidentRow,
    _of_topic(
        {
            "first_time": TIME,
            "last_time": TIME,
            **_texts_named("cluster", "incident_id", "founder"),
            "aliases": TEXTS,
            **_texts_named("merged_into", "title", "severity", "status"),
            "alert": FLAG,
            "findings": U32,
            **_texts_named("named", "withheld", "leader", "second"),
            "gap_low": SCORE_OR_NONE,
            "gap_needed": SCORE,
            **dict.fromkeys(("candidates", "attempts", "exposed", "examined", "unaffected"), U32),
            "users": TEXTS,
            "projects": TEXTS,
            "gpus_max": U32,
            "closes_at": TIME,
            **_TRANSPORT,
        },
    ),
)
INCIDENT_FINDINGS = Table(
    "incident_findings",
    IncidentFindingRow,
    _of_topic(
        {
            "incident_id": TEXT,
            "position": U16,
            **_texts_named("finding_id", "detector"),
            "effect_time": TIME,
            "alert": FLAG,
            "links": TEXTS,
        },
    ),
)
ATTRIBUTION = Table(
    "attribution",
    HypothesisRow,
    _of_topic(
        {
            "incident_id": TEXT,
            "position": U16,
            **_texts_named("kind", "who"),
            "low": SCORE,
            "high": SCORE,
            "evidence": TEXTS,
        },
    ),
)
LOSS_LINES = Table(
    "loss_lines",
    LossRow,
    _of_topic(
        {
            "incident_id": TEXT,
            "position": U16,
            **_texts_named("ledger", "kind", "job_id", "attempt"),
            **{f"{what}_{reading}": SCORE for what in ("gpu_hours", "money") for reading in ("low", "middle", "high")},
            **_texts_named("currency", "method", "formula", "note"),
            "evidence": TEXTS,
            "gpus": U32,
            "nodes": U32,
            "inputs": INPUTS,
        },
    ),
)


def _listed_offsets(row: RangeRow) -> list[int]:
    return [offset for offset, _ in row.listed]


def _listed_codes(row: RangeRow) -> list[str]:
    return [str(code) for _, code in row.listed]


def _gap_los(row: RangeRow) -> list[int]:
    return [lo for lo, _, _ in row.gaps]


def _gap_his(row: RangeRow) -> list[int]:
    return [hi for _, hi, _ in row.gaps]


def _gap_codes(row: RangeRow) -> list[str]:
    return [code for _, _, code in row.gaps]


RANGES = Table(
    "sink_ranges",
    RangeRow,
    (
        *_columns({"topic": TEXT, "incarnation": TEXT, "partition": U16}, {}),
        *_columns({"lo": U64, "hi": U64, "rows": U64, "offsets_written": U64}, {}),
        Column("listed_offsets", _listed_offsets, U64S),
        Column("listed_codes", _listed_codes, TEXTS),
        *_columns({"settings_digest": TEXT, "token": TEXT}, {}),
        Column("gap_los", _gap_los, U64S),
        Column("gap_his", _gap_his, U64S),
        Column("gap_codes", _gap_codes, TEXTS),
        *_columns({"row_offset_sum": U64}, {}),
    ),
)

ROOTS = Table(
    "evidence_roots",
    Sealed,
    _columns(
        {
            **_texts_named("topic", "incarnation"),
            "partition": U16,
            **dict.fromkeys(("number", "lo", "hi", "count"), U64),
            **_texts_named("root", "previous", "head", "key"),
            "time": TIME,
            **_texts_named("settings", "identities", "software", "signature", "leaves"),
        },
        {"count": "records", "time": "sealed_time", "key": "signing_key", "settings": "settings_digest", "identities": "identities_digest"},
    ),
)

STANDINGS = Table(
    "standings",
    StandingRow,
    _columns(
        {
            "topic": TEXT,
            "partition": U16,
            **_texts_named("stage", "worker"),
            **dict.fromkeys(("durable", "lag"), U64),
            "lag_seconds": U32_OR_NONE,
            "state_bytes": U64,
            "state_cases": U32,
        },
        {},
    ),
)

UNREADABLE = Table(
    "unreadable_sources",
    UnreadableRow,
    _columns(
        {
            "hour": TIME,
            **_texts_named("cluster", "source", "host", "topic"),
            "partition": U16,
            **_texts_named("file"),
            **dict.fromkeys(("first_time", "last_time"), TIME),
            "unread": U64,
        },
        {},
    ),
)

# Rows of records, inserted by offset range.
BLOCK_TABLES = (EVENTS, ENRICHED, VERDICTS, FINDINGS, EVIDENCE, INCIDENTS, INCIDENT_FINDINGS, ATTRIBUTION, LOSS_LINES)
TABLES: Mapping[str, Table] = {table.name: table for table in (*BLOCK_TABLES, RANGES, ROOTS, STANDINGS, UNREADABLE)}
_NAME_OF_CLASS = {table.row: table.name for table in BLOCK_TABLES}


def table_of(row: msgspec.Struct) -> str:
    """The table of a row."""
    name = _NAME_OF_CLASS.get(type(row))
    require(name is not None, f"{type(row).__name__} is not the row of any table")
    return str(name)


def by_table(rows: Iterable[msgspec.Struct]) -> dict[str, list[msgspec.Struct]]:
    """The rows per table, in their order; tables without rows are left out."""
    groups: dict[type, list[msgspec.Struct]] = {}
    for row in rows:
        group = groups.get(type(row))
        if group is None:
            group = groups[type(row)] = []
        group.append(row)
    return {table_of(group[0]): group for group in groups.values()}


def columns_of(table: Table, rows: Sequence[msgspec.Struct]) -> Columns:
    """The block as the driver wants it.  Raises AttributeError or TypeError when a row holds values of wrong types: see `refused`."""
    block: Columns = []
    for column in table.columns:
        values = list(map(column.get, rows))
        block.append(column.kind.prepare(values) if column.kind.prepare else values)
    return block


def refused(table: Table, rows: Sequence[msgspec.Struct]) -> list[tuple[int, str]]:
    """(position, column) of every row with a value that its column does not take.  Slow: asked only after a refused insert."""
    found: list[tuple[int, str]] = []
    for position, row in enumerate(rows):
        for column in table.columns:
            if not column.kind.takes(column.get(row)):
                found.append((position, column.name))
                break
    return found
