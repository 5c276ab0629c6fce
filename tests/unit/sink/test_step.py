"""The sink stage: values of the public topics to rows, and what becomes of values that are wrong."""

from typing import Any

import msgspec
import orjson
import pytest

from pipeline.errors import ErrorCode
from pipeline.incidents.step import step as judge
from pipeline.model.finding import Enriched, Finding, Status, Verdict, canonical
from pipeline.model.outcome import Outcome, Publish, Record, Rejected, Row
from pipeline.settings import Settings
from pipeline.sink import rows
from pipeline.sink.rows import EnrichedRow, EvidenceRow, FindingRow, VerdictRow
from pipeline.sink.step import build_state, step
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import NOTHING
from tests import build
from tests.unit.incidents.test_step import STORY, fact, fresh
from tests.unit.sink.build import ATTEMPT, T0, enriched, finding, record, verdict


def run(*records: Record) -> list[Outcome]:
    """Outcomes of one batch."""
    return step(build_state(Settings(), Cases()), records, NOTHING)[1]


def rows_of(outcomes: list[Outcome]) -> list[Any]:
    """The rows among outcomes."""
    return [outcome for outcome in outcomes if isinstance(outcome, Row)]


def test_a_finding_is_one_row_and_one_per_cited_record() -> None:
    """A finding's record becomes its row and those of its evidence, in canonical order, under one version."""
    found = rows_of(run(record(finding(), offset=17, epoch=3)))
    assert [type(row) for row in found] == [FindingRow, EvidenceRow, EvidenceRow]
    assert [row.index for row in found] == [0, 1, 2]
    assert {row.version for row in found} == {(3 << 40) + 17}
    row = found[0]
    assert (row.finding_id, row.job_id, row.attempt) == (finding().id, "48213", ATTEMPT.name)
    assert (row.severity, row.status, row.confidence_parts) == ("high", "provisional", {"sources": 0.9, "window": 0.8})
    assert [(line.position, line.role, line.event_id) for line in found[1:]] == [
        (0, "cause", "event-cause-0"),
        (1, "effect", "event-effect-1"),
    ]


def test_verdict_and_enriched_event_are_one_row_each() -> None:
    """Their fields stand in columns."""
    by_verdict, by_enriched = rows_of(run(record(verdict(), 4), record(enriched(), 9)))
    assert isinstance(by_verdict, VerdictRow)
    assert (by_verdict.verdict, by_verdict.cause, by_verdict.by_event_id, by_verdict.gpus) == (
        "benign",
        "owner_cancel",
        "event-acquits-0",
        16,
    )
    assert isinstance(by_enriched, EnrichedRow)
    assert (by_enriched.relation, by_enriched.matched, by_enriched.attrs) == ("foreign", "pid", {"signal": "9"})


@pytest.mark.parametrize("body", [finding(), verdict(), enriched()], ids=["finding", "verdict", "enriched"])
def test_the_canonical_body_is_stored_byte_for_byte(body: Finding | Verdict | Enriched) -> None:
    """What stands in ClickHouse is what the promise of equal findings is about."""
    assert rows_of(run(record(body)))[0].canonical.encode() == canonical(body)


def test_an_attempt_that_never_started_has_no_start() -> None:
    """-1 means never; ClickHouse shows NULL, not 1969."""
    attempt = msgspec.structs.replace(ATTEMPT, start=-1)
    assert rows_of(run(record(finding(attempt=attempt))))[0].start_time is None


def test_a_verdict_without_acquitting_record_leaves_its_columns_empty() -> None:
    """`by` is optional."""
    row = rows_of(run(record(verdict(by=None, gpus=None, owner_uid=None))))[0]
    assert (row.by_event_id, row.by_time, row.gpus, row.owner_uid) == ("", None, None, None)


def test_versions_order_epoch_before_offset() -> None:
    """A new owner's word wins over a former owner's at a greater offset; a record without epoch is oldest."""
    without, old, newer, taken_over = rows_of(
        run(
            record(verdict(), 99, epoch=None), record(verdict(), 17, epoch=3), record(verdict(), 18, epoch=3), record(verdict(), 2, epoch=4)
        )
    )
    assert without.version < old.version < newer.version < taken_over.version < 2**64


def test_all_rows_fit_their_columns() -> None:
    """The greatest epoch and offset included."""
    outcomes = run(*(record(body, 2**40 - 1, epoch=2**24 - 1) for body in (finding(status=Status.RETRACTED), verdict(), enriched())))
    for table, group in rows.by_table(rows_of(outcomes)).items():
        assert rows.refused(rows.TABLES[table], group) == []


def changed(body: Finding | Verdict | Enriched, **changes: Any) -> bytes:
    """The value with top-level keys changed."""
    return orjson.dumps(orjson.loads(record(body).value or b"") | changes)


def other_id() -> bytes:
    """A verdict that claims an id that is not its own."""
    value = orjson.loads(record(verdict()).value or b"")
    value["canonical"]["id"] = "0" * 32
    return orjson.dumps(value)


def stray_finding() -> bytes:
    """An incident that lists a finding of a detector that it does not name."""
    outcomes = judge(fresh(), [fact(STORY[0])], build.now(until=build.DAY))[1]
    value = next(orjson.loads(out.value) for out in outcomes if isinstance(out, Publish))
    value["unmapped"]["trainwatch"]["canonical"]["others"] = [["0" * 32, 9, T0, True]]
    return orjson.dumps(value)


WRONG = [
    ("not JSON", "verdicts", b"{", ErrorCode.DECODE_ERROR),
    ("empty", "verdicts", b"", ErrorCode.DECODE_ERROR),
    ("not UTF-8", "enriched", b'{"canonical": "\xff"', ErrorCode.DECODE_ERROR),
    ("no blocks", "verdicts", b"{}", ErrorCode.SCHEMA_MISMATCH),
    ("body of another kind", "findings", record(verdict()).value, ErrorCode.SCHEMA_MISMATCH),
    ("field of another type", "verdicts", changed(verdict(), transport={"revision": "one"}), ErrorCode.SCHEMA_MISMATCH),
    ("id of another body", "verdicts", other_id(), ErrorCode.SCHEMA_MISMATCH),
    ("a finding of nobody's", "incidents", stray_finding(), ErrorCode.SCHEMA_MISMATCH),
    ("unknown topic", "gossip", b"{}", ErrorCode.UNKNOWN_FORMAT),
]


@pytest.mark.parametrize(("name", "content", "value", "code"), WRONG, ids=[row[0] for row in WRONG])
def test_a_wrong_value_is_one_outcome_and_its_neighbours_are_rows(name: str, content: str, value: bytes, code: ErrorCode) -> None:
    """A dead letter with its code, and the batch goes on."""
    wrong = Record(topic=f"trainwatch.{content}.v1", partition=0, offset=1, timestamp=T0, value=value)
    before, middle, after = run(record(enriched(), 0), wrong, record(enriched(), 2))
    assert isinstance(before, Row)
    assert isinstance(middle, Rejected)
    assert (middle.offset, middle.code) == (1, code)
    assert isinstance(after, Row)


@pytest.mark.parametrize("epoch", [b"x", b"-1", b"", str(2**24).encode()])
def test_a_wrong_epoch_is_refused(epoch: bytes) -> None:
    """An epoch that cannot be ordered would let an old row win."""
    given = msgspec.structs.replace(record(verdict()), headers=(("tw-epoch", epoch),))
    assert [type(outcome) for outcome in run(given)] == [Rejected]


def test_a_tombstone_is_a_dead_letter() -> None:
    """Nobody deletes from these topics; one who does is heard of."""
    (outcome,) = run(msgspec.structs.replace(record(verdict()), value=None))
    assert isinstance(outcome, Rejected)
    assert outcome.code is ErrorCode.TOMBSTONE
