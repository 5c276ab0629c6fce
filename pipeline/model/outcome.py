"""What a step answers with, beside its state: the closed set of outcomes.

Every record of an input ends as exactly one of written (one `Row` or more), `Filtered` or `Rejected`; that is the accounting
identity of architecture section 5.  `Tell` and `Publish` come on top.
"""

import msgspec

from pipeline.errors import ErrorCode
from pipeline.model.facts import Fact
from pipeline.model.source import Source


class Row(msgspec.Struct, frozen=True, gc=False):
    """A row for ClickHouse: its record is written.  The class names the table (sink/rows.py)."""

    topic: str
    partition: int
    offset: int
    index: int  # a record may hold several


class Filtered(msgspec.Struct, frozen=True, gc=False):
    """The record holds nothing to keep."""

    offset: int
    code: ErrorCode


class Rejected(msgspec.Struct, frozen=True, gc=False):
    """The record is wrong: dead letter.  `reason` is for people; only the code is counted."""

    offset: int
    code: ErrorCode
    reason: str


class Tell(msgspec.Struct, frozen=True, gc=False):
    """A fact for a later stage: hosts, artefacts, identities, jobs, cohorts, incidents."""

    stage: str
    fact: Fact
    last_word: bool = False  # the last that is said counts, whoever says it: the runtime puts the epoch of its claim before the rank


class Publish(msgspec.Struct, frozen=True, gc=False):
    """A value for a public topic, at least once, with a stable id."""

    content: str  # enriched | verdicts | findings | incidents
    key: bytes
    id: str  # ce_id
    value: bytes


class Observed(msgspec.Struct, frozen=True, gc=False):
    """Event time of a source family came this far in this batch: ingest only."""

    cluster: str
    source: Source
    event_time: int  # greatest that may move a watermark, UTC ms
    buckets: tuple[int, ...]  # starts of coverage buckets that were heard, UTC ms


class Lost(msgspec.Struct, frozen=True, gc=False):
    """A source was heard, and what it said could not be kept: what is absent there proves nothing.  Ingest only."""

    cluster: str
    source: Source
    host: str  # empty: nobody knows which, so all
    buckets: tuple[int, ...]  # starts of coverage buckets, UTC ms


class Read(msgspec.Struct, frozen=True, gc=False):
    """How far a batch was read: ingest only."""

    collected: int  # greatest collected time, UTC ms
    final: bool  # its last word: the channel ends


Outcome = Row | Filtered | Rejected | Tell | Publish | Observed | Lost | Read


class Record(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A raw Kafka message.  aiokafka's ConsumerRecord has the same attributes and is used in its place on the hot path."""

    topic: str
    partition: int
    offset: int
    timestamp: int  # UTC ms, as the broker tells it
    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


class EventRow(Row, frozen=True):
    """One row of `events`.  Ingest names its values by their place: a struct of this size takes ten times as long to make by keywords."""

    event_time: int
    collected_time: int  # 0: the envelope does not say
    kafka_time: int
    cluster: str
    source: str
    kind: str
    host: str
    job: str
    actor: str  # identity id, as valid at event time
    event_id: str
    sha256: str
    attrs: dict[str, str]
    raw: str
    late: bool
    future: bool  # the line's time is ahead of its collection and moves no watermark
    file: str = ""  # what the shipper said of the line, without which it cannot be read again as it was
    file_offset: int = -1  # -1: it does not say
    program: str = ""


ABSENT = "absent"  # never handed out: markers of transactions, aborted or compacted records
OVERTAKEN = "overtaken"  # Kafka deleted it before it was read


class RangeRow(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One row of `sink_ranges`: an offset range that was made durable, with every offset of it that was not written."""

    topic: str
    partition: int
    incarnation: str  # of the topic: a recreated one counts from 0 again
    lo: int
    hi: int  # after the last
    rows: int
    offsets_written: int  # distinct offsets with at least one row
    listed: tuple[tuple[int, str], ...]  # (offset, code) of filtered and rejected records, ascending
    settings_digest: str
    token: str
    gaps: tuple[tuple[int, int, str], ...] = ()  # (lo, hi, ABSENT or OVERTAKEN): runs of offsets that held no record when read
    row_offset_sum: int = 0  # of the offsets of all rows, each as often as it has rows: names the one row that is gone; 0: not known
