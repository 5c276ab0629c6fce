"""The checkpoint against a model of Kafka and ClickHouse: crashes, freezes and late inserts between any two of its acts.

The real `Checkpoint`, `Partition`, `Guard` and state log run here; only the clients are replaced.  An owner can crash or freeze before
any single record it writes, before any proof and with an insert under way; a frozen one can wake up at any later time, in any order.
One that froze before its claim claims then.  Members are dynamic, or static under one name: the group lets those in at the same generation.

    held at every take-over   the state is exactly what the records below `applied` amount to
    held at the end           each offset is written, filtered or rejected, once; ranges meet without gap or overlap
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pipeline.errors import ConfigError, ErrorCode, SinkUnavailable
from pipeline.model.facts import Fact
from pipeline.model.outcome import OVERTAKEN, Filtered, Outcome, RangeRow, Record, Rejected
from pipeline.model.sealed import Sealed
from pipeline.runtime import state_log
from pipeline.runtime.abandoned import Abandoned
from pipeline.runtime.checkpoint import Checkpoint
from pipeline.runtime.guard import Guard
from pipeline.runtime.partition import Partition, Source
from pipeline.runtime.state_log import LogReader, Write
from pipeline.runtime.state_record import CLAIM, META, Claim, Owner, key, pack
from pipeline.settings import Settings
from pipeline.sink.memory import MemorySink
from pipeline.sink.rows import TABLES, refused
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import Watermarks
from pipeline.topology import Stage, Topology
from tests.integration.fault_worker import event_row
from tests.patience import PATIENCE_SECONDS

SETTINGS = Settings()
SOURCE = Source("logs.access", 0)
LOG = logging.getLogger("model")
BATCH_MAX = 12


class Crash(Exception):
    """The process is gone."""


class State:
    def __init__(self, cases: Cases) -> None:
        self.cases = cases


def step(state: State, batch: Sequence[Record], now: Watermarks) -> tuple[State, list[Outcome]]:
    """Every record is a fact; of five offsets one is rejected, one filtered, three are written."""
    outcomes: list[Outcome] = []
    for record in batch:
        state.cases.merge(Fact(b"case%d" % (record.offset % 7), str(record.offset), b"", b"x" * 40))
        if record.offset % 5 == 0:
            outcomes.append(Rejected(record.offset, ErrorCode.DECODE_ERROR, "model"))
        elif record.offset % 5 == 1:
            outcomes.append(Filtered(record.offset, ErrorCode.EMPTY))
        else:
            outcomes.append(event_row(record, "case", 0))
    return state, outcomes


STAGE = Stage("model", (SOURCE.topic,), "records", lambda _, cases: State(cases), step)
TOPOLOGY = Topology((STAGE,), "trainwatch.")


class World:
    """The topic, the state log, the group, the database."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.end = 0
        self.first = 0  # what lies before was deleted
        self.log: list[tuple[str, bytes | None]] = []
        self.static = False
        self.generation = self.member = 0
        self.sleepers: list[Write] = []  # claims of take-overs that stood still before them
        self.claims_between = False  # one of these falls between the reading and the claim of the next owner
        self.sink = MemorySink()
        self.late: list[tuple[Any, ...]] = []  # inserts of dead processes that are still on their way


class Process:
    """One worker: it acts until `acts` of its acts are done; then it crashes or freezes."""

    def __init__(self, world: World, topology: Topology = TOPOLOGY, site: Settings = SETTINGS) -> None:
        self.world, self.topology, self.site = world, topology, site
        self.acts: int | None = None
        self.freezes = False
        self.stands, self.thawed = asyncio.Event(), asyncio.Event()
        self.letters: list[list[tuple[str, bytes]]] = []  # headers of what was published
        self.insert_is_lost: str = ""  # "answer": stored, but it looks as if not | "way": it arrives when we are dead
        self.join()
        self.checkpoint = Checkpoint(topology, self, self, self, self, self, originals=self._originals, source_name="model", log=LOG)  # type: ignore[arg-type]
        self.position = self._take_over()
        self.guard = Guard(site.time, self._tell, self._moved, LOG)

    def join(self) -> None:
        """Whoever was a member is none any more."""
        self.member = self.world.member = self.world.member + 1
        self.world.generation += not self.world.static or not self.world.generation
        self.generation = self.world.generation

    def read(self) -> tuple[LogReader, Owner]:
        """What is there, and as whom to claim it."""
        read = LogReader()
        for name, value in self.world.log:
            read.take(name, value)
        return read, Owner(read.last.epoch + 1, self.generation, f"n{self.member}")

    def _take_over(self) -> int:
        read, owner = self.read()
        came = self.world.sleepers.pop(0) if self.world.claims_between and self.world.sleepers else None
        self.world.claims_between = False
        for write in (came, (key(CLAIM, owner), pack(Claim()))):
            if write is not None:
                self.world.log.append(write)
                read.take(*write)
        if read.owner != owner:  # abandoned: the worker tries again
            return self._take_over()
        part = Partition(SOURCE, self.topology.stages[0], self.site, owner, read)
        meta = part.adopt(self.world.first, self.world.end, f"life{self.member}")
        known = {fact.id for fact in read.facts() if not fact.case.startswith(b"\x00")}
        folded = {str(record.offset) for record in self.world.records if record.offset < part.applied}
        assert known <= folded
        assert all(int(name) < self.world.first for name in folded - known)  # deleted before it was read
        self.world.log.append((key(META, owner), pack(meta)))
        self.checkpoint.adopt({SOURCE: part})
        return part.applied

    @property
    def part(self) -> Partition | None:
        return self.checkpoint.parts.get(SOURCE)

    def fold(self, count: int) -> bool:
        """What `Worker.fold` does; True when a checkpoint must come before going on."""
        part = self.part
        if part is None:
            return False
        batch = [record for record in self.world.records if record.offset >= max(self.position, self.world.first)][:count]
        if not batch:
            return False
        return self.fold_batch(part, batch)

    def fold_batch(self, part: Partition, batch: Sequence[Record]) -> bool:
        """The same for a batch that was fetched, wherever it begins."""
        now, rest = part.cut(batch)
        if now:
            self.guard.fold(part, now)
        part.folded(now, rest)
        self.position = part.applied
        return bool(rest)

    async def _act(self) -> None:
        if self.acts is None:
            return
        if self.acts == 0:
            if not self.freezes:
                raise Crash
            self.acts = None
            self.stands.set()
            await self.thawed.wait()
        else:
            self.acts -= 1

    def _tell(self, stage: str, fact: Fact) -> None:
        raise AssertionError

    def _moved(self, part: Partition, families: Sequence[str]) -> None:
        pass

    async def _originals(self, source: Source, offsets: Sequence[int]) -> list[Record]:
        return [record for record in self.world.records if record.offset in offsets]

    # --- the state log

    async def write(self, writes: Mapping[Source, Sequence[Write]]) -> None:
        for pairs in writes.values():
            for pair in pairs:
                await self._act()
                self.world.log.append(pair)

    # --- the group

    async def confirm(self, offsets: Mapping[Source, int]) -> None:
        await self._act()
        if self.member != self.world.member:
            raise Abandoned("another member")

    # --- the producer

    def add(self, topic: str, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]], **_: Any) -> None:
        self.letters.append(headers)

    async def settle(self) -> None:
        await self._act()

    # --- the database

    def tables(self, rows: Sequence[msgspec.Struct]) -> dict[str, list[msgspec.Struct]]:
        return self.world.sink.tables(rows)

    def insert(self, table: str, rows: Sequence[msgspec.Struct], token: str, incarnation: str = "") -> None:
        if refused(TABLES[table], rows):
            self.world.sink.insert(table, rows, token, incarnation)
        lost, self.insert_is_lost = self.insert_is_lost, ""
        if lost == "way":
            self.world.late.append((table, rows, token, incarnation))
            raise Crash
        self.world.sink.insert(table, rows, token, incarnation)
        if lost == "answer":
            error = SinkUnavailable("the answer was lost")
            error.retry_after_seconds = 0.0
            raise error

    def landed(self, *arguments: Any) -> int:
        return self.world.sink.landed(*arguments)

    def noted(self, *arguments: Any) -> bool:
        return self.world.sink.noted(*arguments)

    def write_roots(self, sealed: Sequence[Sealed]) -> None:
        self.world.sink.write_roots(sealed)

    def rooted(self, *arguments: Any) -> bool:
        return self.world.sink.rooted(*arguments)

    def stored(self, *arguments: Any) -> frozenset[int]:
        return self.world.sink.stored(*arguments)

    def write_ranges(self, ranges: Sequence[RangeRow]) -> None:
        self.world.sink.write_ranges(ranges)


class Faults(RuleBasedStateMachine):
    """One partition, one owner at a time as the group sees it, and any number of frozen former owners."""

    @initialize(base_from=st.sampled_from([200, 2000, 100_000]), static=st.booleans())
    def begin(self, base_from: int, static: bool) -> None:
        self.saved_base_from, state_log.BASE_FROM_BYTES = state_log.BASE_FROM_BYTES, base_from
        self.runner = asyncio.Runner()
        self.world = World()
        self.world.static = static
        self.process = self._made()
        self.frozen: list[tuple[Process, asyncio.Task[None]]] = []

    def teardown(self) -> None:
        if not hasattr(self, "runner"):
            return
        try:
            self.runner.run(self._end())
            self._settled()
        finally:
            self.process.checkpoint.close()
            self.runner.close()
            state_log.BASE_FROM_BYTES = self.saved_base_from

    @rule(count=st.integers(1, 8), hole=st.sampled_from([0, 0, 0, 1, 3]))
    def records_come(self, count: int, hole: int) -> None:
        """New records, at times behind a hole (transaction markers)."""
        self.world.end += hole
        for _ in range(count):
            offset = self.world.end
            self.world.records.append(
                Record(topic=SOURCE.topic, partition=SOURCE.partition, offset=offset, timestamp=1, value=b"", key=b"k")
            )
            self.world.end += 1

    @rule(count=st.integers(1, BATCH_MAX))
    def fold(self, count: int) -> None:
        """A batch, of another size than in the life before."""
        if self.process.fold(count):
            self._run()

    @rule()
    def checkpoint(self) -> None:
        """One that succeeds."""
        self._run()

    @rule(lost=st.sampled_from(["answer", "way"]), count=st.integers(1, BATCH_MAX))
    def insert_is_lost(self, lost: str, count: int) -> None:
        """The next insert's answer does not come, or the process dies with the insert on its way."""
        self.records_come(3, 0)
        self.fold(count)
        self.process.insert_is_lost = lost
        self._run()
        self.process.insert_is_lost = ""

    @rule(acts=st.integers(0, 9), freezes=st.booleans(), count=st.integers(0, BATCH_MAX))
    def fault(self, acts: int, freezes: bool, count: int) -> None:
        """A checkpoint that crashes or freezes before one of its acts; the next owner takes over."""
        self.records_come(3, 0)
        self.fold(count)
        self.process.acts, self.process.freezes = acts, freezes
        self._run()

    @rule()
    def rebalance(self) -> None:
        """Everything folded since the last checkpoint is forgotten; somebody else goes on."""
        self._replace()

    @rule()
    def take_over_freezes(self) -> None:
        """A member that has read, and proved that it is one, stands still; the group gives its partition to another process."""
        self.process.join()
        _, owner = self.process.read()
        self.world.sleepers.append((key(CLAIM, owner), pack(Claim())))
        self._replace()

    @precondition(lambda self: bool(self.world.sleepers))
    @rule(between=st.booleans())
    def frozen_take_over_claims(self, between: bool) -> None:
        """It wakes up: while another one works, or takes over."""
        if between:
            self.world.claims_between = True
            self._replace()
        else:
            self.world.log.append(self.world.sleepers.pop(0))

    @precondition(lambda self: bool(self.frozen))
    @rule(which=st.integers(0, 5))
    def thaw(self, which: int) -> None:
        """A frozen owner wakes up and goes on with what it was doing."""
        process, task = self.frozen.pop(which % len(self.frozen))
        process.thawed.set()
        self.runner.run(self._wait(task))
        process.checkpoint.close()

    @precondition(lambda self: bool(self.world.late))
    @rule()
    def late_insert_arrives(self) -> None:
        """The database gets an insert whose sender is long dead."""
        self.world.sink.insert(*self.world.late.pop(0))

    @rule()
    def compact(self) -> None:
        """Superseded records that are older than the lag are gone: those before the present owner's claim."""
        claim = max(index for index, (name, _) in enumerate(self.world.log) if name.startswith(CLAIM))
        last = {name: index for index, (name, _) in enumerate(self.world.log)}
        self.world.log = [pair for index, pair in enumerate(self.world.log) if index >= claim or last[pair[0]] == index]

    @invariant()
    def nothing_is_doubled(self) -> None:
        """At no time does the database hold an offset twice."""
        if hasattr(self, "world"):
            counts = Counter(row.offset for row in self.world.sink.rows("events"))  # type: ignore[attr-defined]
            assert not [offset for offset, count in counts.items() if count > 1]

    # --- machinery

    def _made(self) -> Process:
        return self.runner.run(self._make())

    async def _make(self) -> Process:
        return Process(self.world)

    def _replace(self) -> None:
        self.process.checkpoint.close()
        self.process = self._made()

    def _run(self) -> None:
        process = self.process
        task = self.runner.run(self._start(process))
        if not task.done():  # frozen: the group gives its partition to another process
            self.frozen.append((process, task))
            self.process = self._made()
        elif process.part is None:
            self._replace()
        else:
            process.acts = None

    async def _start(self, process: Process) -> "asyncio.Task[None]":
        """Run until the checkpoint ends or freezes."""
        task = asyncio.create_task(self._guarded(process))
        frozen = asyncio.create_task(process.stands.wait())
        await asyncio.wait([task, frozen], timeout=PATIENCE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        assert task.done() or frozen.done()
        frozen.cancel()
        return task

    async def _guarded(self, process: Process) -> None:
        with contextlib.suppress(Crash):
            await process.checkpoint.run()

    async def _wait(self, task: "asyncio.Task[None]") -> None:
        await asyncio.wait_for(task, PATIENCE_SECONDS)

    async def _end(self) -> None:
        for process, task in self.frozen:
            process.thawed.set()
            await self._wait(task)
            process.checkpoint.close()

    def _settled(self) -> None:
        """Let the last owner finish, then compare with the truth."""
        for arguments in self.world.late:
            self.world.sink.insert(*arguments)
        while self.process.position <= self.world.records[-1].offset if self.world.records else False:
            self.process.fold(BATCH_MAX)
            self._run()
        self._run()
        stored = Counter(row.offset for row in self.world.sink.rows("events"))  # type: ignore[attr-defined]
        assert stored == {record.offset: 1 for record in self.world.records if record.offset % 5 > 1}
        ranges = self.world.sink.ranges()
        assert [row.lo for row in ranges[1:]] == [row.hi for row in ranges[:-1]]
        listed = [offset for row in ranges for offset, _ in row.listed]
        assert sorted(listed) == [record.offset for record in self.world.records if record.offset % 5 <= 1]
        assert sum(row.offsets_written for row in ranges) == len(stored)


@pytest.mark.parametrize("first", [2, 4, 10], ids=["what had no row", "in part", "in full"])
@pytest.mark.parametrize("acts", range(8))
def test_what_is_deleted_behind_a_crash_is_lost_where_no_row_of_it_is_in(acts: int, first: int) -> None:
    """The crash leaves an intent, whose rows are in or not; then records of it are deleted.  Each offset is stored, listed or overtaken."""
    world = World()
    world.end = 20
    world.records = [Record(topic=SOURCE.topic, partition=0, offset=at, timestamp=1, value=b"", key=b"k") for at in range(world.end)]

    async def live(acts: int | None) -> Process:
        process = Process(world)
        process.acts = acts
        with contextlib.suppress(Crash):
            for _ in range(2):
                process.fold(10)
                await process.checkpoint.run()
        process.checkpoint.close()
        return process

    asyncio.run(live(acts))
    landed = {row.offset for row in world.sink.rows("events")}  # type: ignore[attr-defined]
    world.first = first
    asyncio.run(live(None))
    stored = [row.offset for row in world.sink.rows("events")]  # type: ignore[attr-defined]
    listed = [offset for row in world.sink.ranges() for offset, _ in row.listed]
    gone = [at for row in world.sink.ranges() for lo, hi, why in row.gaps if why == OVERTAKEN for at in range(lo, hi)]
    assert sorted([*stored, *listed, *gone]) == [*range(world.end)]
    assert not landed.intersection(gone)
    assert bool(landed) is not bool(gone)


def test_an_account_that_may_not_look_at_ranges_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A site whose roles are of an earlier release: the range is noted anew, as by that one."""
    world = World()
    world.end = 10
    world.records = [Record(topic=SOURCE.topic, partition=0, offset=at, timestamp=1, value=b"", key=b"k") for at in range(world.end)]

    def not_allowed(*_: Any) -> bool:
        raise ConfigError("not enough privileges")

    async def live(acts: int | None) -> None:
        process = Process(world)
        process.acts = acts
        process.fold(10)
        with contextlib.suppress(Crash):
            await process.checkpoint.run()
        process.checkpoint.close()

    asyncio.run(live(3))
    assert len(world.sink.ranges()) == 1
    world.first = 2
    monkeypatch.setattr(Process, "noted", not_allowed)
    asyncio.run(live(None))
    assert [row.gaps for row in world.sink.ranges()] == [((0, 2, OVERTAKEN),)]


TestFaults = Faults.TestCase
TestFaults.settings = settings(
    max_examples=150, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
