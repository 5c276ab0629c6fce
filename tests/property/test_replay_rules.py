"""The replay rules, row by row: batches of any alignment against an open intent, crashes between any two acts, other rows than before.

`test_checkpoint_model` asks whether faults of processes lose or double something; this one, over the same world of replaced clients,
whether every row of the matrix (`runtime/partition.py`) is reached and leads where it should:

    previous | partly previous | new | new, behind a hole | same | contained | overlapping | not reproducible

Records come with holes (markers of transactions), the start of the log overtakes who is slow, rows are refused, and a restart may bring
settings under which the same records make more or fewer rows.  The model is a number per offset: how often it is stored or listed.
"""

import logging
from collections import Counter
from collections.abc import Sequence

import msgspec
from hypothesis import currently_in_test_context, event
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule, run_state_machine_as_test

from pipeline.errors import ErrorCode
from pipeline.model.facts import Fact
from pipeline.model.outcome import EventRow, Filtered, Outcome, Record, Rejected
from pipeline.runtime.partition import Partition
from pipeline.settings import RetentionSettings, Settings
from pipeline.sink.rows import EvidenceRow
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import Watermarks
from pipeline.topology import Stage, Topology
from tests.integration.fault_worker import event_row
from tests.property import test_checkpoint_model as model
from tests.property.profile import examples
from tests.property.test_checkpoint_model import BATCH_MAX, SOURCE, Process

TWO, ONE = (Settings(retention=RetentionSettings(case_facts_max=100 + rows)) for rows in (2, 1))  # rows of some records
NO_COLUMN_TAKES_MS = 2**70
ROWS = ("previous", "partly previous", "new", "new, behind a hole", "same", "contained", "overlapping", "not reproducible")
reached: Counter[str] = Counter()


class Listening(logging.Handler):
    """Hears when the rows of an open intent came out otherwise."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg.startswith("%s: other rows than intended"):
            seen("not reproducible")


model.LOG.addHandler(Listening())


class State:
    def __init__(self, settings: Settings, cases: Cases) -> None:
        self.cases, self.rows = cases, settings.retention.case_facts_max - 100


def kind_of(offset: int) -> str:
    """What becomes of a record, of whatever settings."""
    return {0: "rejected", 1: "filtered", 4: "refused"}.get(offset % 7, "written")


def step(state: State, batch: Sequence[Record], now: Watermarks) -> tuple[State, list[Outcome]]:
    """One or two events a record, as the settings say; every third has evidence in a table of its own."""
    outcomes: list[Outcome] = []
    for record in batch:
        state.cases.merge(Fact(b"case%d" % (record.offset % 7), str(record.offset), b"", b""))
        kind = kind_of(record.offset)
        if kind == "rejected":
            outcomes.append(Rejected(record.offset, ErrorCode.DECODE_ERROR, "model"))
        elif kind == "filtered":
            outcomes.append(Filtered(record.offset, ErrorCode.EMPTY))
        else:
            row = event_row(record, "case", NO_COLUMN_TAKES_MS if kind == "refused" else 0)
            rows = [msgspec.structs.replace(row, index=index) for index in range(state.rows if record.offset % 2 else 1)]
            outcomes += rows
            if record.offset % 3 == 0:
                outcomes.append(evidence(record))
    return state, outcomes


def evidence(record: Record) -> EvidenceRow:
    """A row of another table."""
    return EvidenceRow(
        finding_id="f", position=0, role="cause", event_id="e", sha256="", source="sshd", event_time=0, summary="", version=1,
        topic=record.topic, partition=record.partition, offset=record.offset, index=9,
    )  # fmt: skip


TOPOLOGY = Topology((Stage("model", (SOURCE.topic,), "records", State, step),), "trainwatch.")


def row_of_the_matrix(part: Partition, batch: Sequence[Record]) -> str:
    """By the words of the design: A = applied, the open intent ends at hi, the batch is [a, b)."""
    first, end = batch[0].offset, batch[-1].offset + 1
    if end <= part.applied:
        return "previous"
    if first < part.applied:
        return "partly previous"
    if part.intent is None:
        return "new" if first == part.applied else "new, behind a hole"
    if end == part.intent.hi:
        return "same"
    return "contained" if end < part.intent.hi else "overlapping"


class Replaying(Process):
    """A worker whose batches begin where the broker likes."""

    def fetch(self, behind: int, count: int) -> bool:
        """A batch that may begin with what is applied already.  True when a checkpoint must come before going on."""
        part = self.part
        if part is None:
            return False
        at = next((number for number, record in enumerate(self.world.records) if record.offset >= part.applied), len(self.world.records))
        batch = self.world.records[max(at - behind, 0) : max(at - behind, 0) + count]
        batch = [record for record in batch if record.offset >= self.world.first]
        if not batch:
            return False
        seen(row_of_the_matrix(part, batch))
        before = part.applied
        again = self.fold_batch(part, batch)
        assert part.applied >= before
        assert part.applied <= max(before, batch[-1].offset + 1, part.intent.hi if part.intent else 0)
        return again


def seen(row: str) -> None:
    """Note that a row of the matrix was reached."""
    reached[row] += 1
    if currently_in_test_context():  # the log is heard wherever this module was imported
        event(row)


class Rules(model.Faults):
    """The same faults; batches of any alignment, settings that change, rows that are refused, a log that is cut at its start."""

    site = TWO

    @rule(behind=st.integers(0, 6), count=st.integers(1, BATCH_MAX))
    def fetch(self, behind: int, count: int) -> None:
        """Also what was folded before, as after a rebalance."""
        process = self.process
        assert isinstance(process, Replaying)
        if process.fetch(behind, count):
            self._run()

    @rule(acts=st.integers(1, 9))
    def other_settings(self, acts: int) -> None:
        """A crash somewhere in a checkpoint, and the next owner makes other rows of the same records."""
        self.records_come(4, 0)
        self.fetch(0, 4)
        self.site = ONE if self.site is TWO else TWO
        self.process.acts = acts
        self._run()

    @rule(ahead=st.integers(0, 4))
    def log_is_cut(self, ahead: int) -> None:
        """Retention overtakes the reader by a few records, on which no open intent stands."""
        part = self.process.part
        if part is None or part.intent is not None:
            return
        self.world.first = min(part.applied + ahead, self.world.end)
        part.log_start = self.world.first

    @invariant()
    def nothing_is_doubled(self) -> None:
        """At no time does the database hold a row twice, or an offset with rows of two makings."""
        if not hasattr(self, "world"):
            return
        counts = Counter((row.offset, row.index) for table in ("events", "finding_evidence") for row in self._rows(table))
        assert not [place for place, count in counts.items() if count > 1]

    def _rows(self, table: str) -> "list[EventRow | EvidenceRow]":
        return self.world.sink.rows(table)  # type: ignore[return-value]

    async def _make(self) -> Process:
        return Replaying(self.world, TOPOLOGY, self.site)

    def _settled(self) -> None:
        """Each offset that Kafka handed out is stored or listed, once; the others are told as gaps; ranges meet."""
        for arguments in self.world.late:
            self.world.sink.insert(*arguments)
        self.records_come(1, 0)
        while self.process.position < self.world.end:
            self.process.fold(BATCH_MAX)
            self._run()
        self._run()
        ranges = self.world.sink.ranges()
        assert [row.lo for row in ranges[1:]] == [row.hi for row in ranges[:-1]]
        stored = {row.offset for row in self._rows("events")}
        listed = Counter(offset for row in ranges for offset, _ in row.listed)
        gaps = {offset for row in ranges for lo, hi, _ in row.gaps for offset in range(lo, hi)}
        codes = {offset: code for row in ranges for offset, code in row.listed}
        for record in self.world.records:
            kind = kind_of(record.offset)
            times = (record.offset in stored) + listed[record.offset] + (record.offset in gaps)
            if record.offset < self.world.first:  # told as overtaken by who could not read it again, while an insert had landed
                times = min(times, 1)
            assert times == 1, (record.offset, kind, record.offset in stored, codes.get(record.offset))
            if record.offset in codes:
                assert codes[record.offset] == {"rejected": "decode_error", "filtered": "empty", "refused": "insert_refused"}[kind]
        for row in self._rows("finding_evidence"):
            assert row.offset in stored


def test_every_row_of_the_matrix_is_reached_and_holds() -> None:
    """A run that did not come to a row proves nothing of it."""
    reached.clear()
    run_state_machine_as_test(Rules, settings=examples(240, derandomize=True))
    assert all(reached[row] >= 3 for row in ROWS), reached
