"""What the partitions of this worker have folded in; rows, facts, public outputs, state and offsets, made durable together, out.

    1 pack      in one loop turn: swap out rows, pack state, word watermark vectors
    2 intent    meta with the old offset and what is about to leave; then a commit of the old offsets proves that we still own it; vectors
                are spoken, after all facts
    3 insert    rows and range rows, repeated until they are in; folding goes on into fresh, bounded buffers
    4 publish   dead letters and public outputs; await these, and the facts
    5 state     deltas, bases, meta
    6 commit    the new offsets: for lag tools, and the proof again
    7 delete    what the new bases replace

Runs on the worker's own timer, also without input, and once more when a rebalance or shutdown waits.  Nothing fences a frozen worker's
writes, so the order of the log decides: an intent before the next owner's claim is repeated by it under its token; one after the claim is
void, and then the proof fails before a row leaves.  (Left out on purpose in a fault run, 1,120 rows doubled.)

Holds: no row leaves before its intent is in the log and the coordinator has confirmed us; nothing is deleted before it has again; after
any exception the partitions are dropped, since their rows are swapped out and a second attempt would commit past them.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol, TypeVar

from pipeline.errors import ConfigError, TransientError
from pipeline.evidence.chain import Range, Sealer, value_of
from pipeline.model.outcome import Publish, Record
from pipeline.model.sealed import Sealed
from pipeline.runtime.abandoned import Abandoned, Cancelled
from pipeline.runtime.dead_letter import dead_letter
from pipeline.runtime.partition import Groups, Partition, Source, Work
from pipeline.runtime.ports import Sink
from pipeline.runtime.producer import Sender
from pipeline.runtime.state_log import Write
from pipeline.runtime.state_record import Intent
from pipeline.runtime.state_topic import StateTopics
from pipeline.runtime.witness import Witness
from pipeline.sink.rows import TABLES, RowsRefused, refused
from pipeline.stream.watermark import Vector
from pipeline.topology import Topology

HURRY_SECONDS = 4.0  # for the checkpoint that a rebalance or shutdown waits for
PAUSE_SECONDS_MAX = 5.0  # between two tries of an insert
POLL_SECONDS = 0.25
SINK_THREADS = 3  # inserts of different partitions wait for the database side by side
STEPS = ("packed", "intent", "fenced", "inserted", "rooted", "ranged", "published", "state", "committed", "deleted")

T = TypeVar("T")
Originals = Callable[[Source, Sequence[int]], Awaitable[list[Record]]]  # the records at offsets, read again


async def _all(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Side by side; when one raises, the others are left where they are, since their partitions are dropped with it."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _ignore(step: str) -> None:
    """Nobody listens."""


class Membership(Protocol):
    """The consumer group's word on whether we still own our partitions."""

    async def confirm(self, offsets: Mapping[Source, int]) -> None:
        """Commit the offsets as the member as which they were taken over.  Raises Abandoned when it is none any more."""


class Checkpoint:
    """Owns the partitions of this worker."""

    def __init__(
        self,
        topology: Topology,
        sink: Sink,
        state: StateTopics,
        facts: Sender,
        outputs: Sender,
        membership: Membership,
        *,
        originals: Originals,
        source_name: str,
        log: logging.Logger,
        sealer: Sealer | None = None,
        witness: Witness | None = None,
    ) -> None:
        self._sealer, self._witness = sealer, witness
        self._originals = originals
        self._topology, self._sink, self._state, self._membership = topology, sink, state, membership
        self._facts, self._outputs, self._source_name, self._log = facts, outputs, source_name, log
        self._executor = ThreadPoolExecutor(SINK_THREADS, thread_name_prefix="sink")
        self._deadline: float | None = None
        self.urgent = False  # the last one published findings, of which the sink stage will have rows in a moment
        self.parts: dict[Source, Partition] = {}
        self.lock = asyncio.Lock()
        self.changed: Callable[[], None] = lambda: None  # told when buffers have emptied or partitions are gone
        self.overtaken: Callable[[Source, int, int], None] = lambda *_: None  # told which offsets Kafka deleted before they were read
        self.forked: Callable[[str], None] = _ignore  # told the topic of a range whose records are not those of before a crash
        self.reached: Callable[[str], None] = _ignore  # told after each step: for timings and fault tests

    # --- ownership

    def adopt(self, parts: Mapping[Source, Partition]) -> None:
        """These are ours now."""
        self.parts, self._deadline = dict(parts), None

    def drop(self) -> None:
        """Forget all partitions; what they hold is repeated by the next owner."""
        self.parts, self.urgent = {}, False
        self.changed()

    def hurry(self) -> None:
        """Somebody waits: a sink that does not answer is left alone.  Its intent stays open, and the next owner finishes."""
        self._deadline = self._deadline or time.monotonic() + HURRY_SECONDS
        self.reached("hurried")

    def close(self) -> None:
        """Drop all and let the sink's thread go."""
        self.drop()
        self._executor.shutdown(wait=False, cancel_futures=True)

    # --- the checkpoint

    async def run(self) -> None:
        """One checkpoint.  Raises what makes it impossible; the partitions are dropped then."""
        async with self.lock:
            try:
                if self.parts:
                    await self._run(self.parts)
            except Abandoned as why:
                self._log.warning("checkpoint abandoned: %s; the next owner repeats it", why)
                self.drop()
            except asyncio.CancelledError as why:
                self.drop()
                if (task := asyncio.current_task()) is not None and task.cancelling():
                    raise
                raise Cancelled("a checkpoint was cancelled within, and nobody ends the worker") from why
            except BaseException:
                self.drop()
                raise

    async def _run(self, parts: Mapping[Source, Partition]) -> None:
        started = time.monotonic()
        self.reached("begun")
        works, vectors = self._pack(parts)
        self.changed()
        self.reached("packed")
        await self._intend(parts, works)
        for stages, vector in vectors:
            self._facts.say((self._topology.facts_topic(stage) for stage in stages), vector)
        await _all(self._insert(parts[work.source], work) for work in works.values())
        self.reached("inserted")
        if sealed := [work.sealed for work in works.values() if work.sealed and not work.rooted]:
            await self._patiently(partial(self._sink.write_roots, sealed))  # before the range: what is noted as done has its root
        self.reached("rooted")
        if ranges := [row for work in works.values() if (row := work.range_row(parts[work.source].incarnation))]:
            await self._patiently(partial(self._sink.write_ranges, ranges))
        for work in works.values():
            for lo, hi in work.lost:
                self.overtaken(work.source, lo, hi)
        self.reached("ranged")
        await self._publish(parts, works.values())
        self.reached("published")
        await self._state.write({work.source: work.writes for work in works.values()})
        for work in works.values():
            parts[work.source].durable(work)
        self.reached("state")
        deletions: dict[Source, list[Write]] = {w.source: [(name, None) for name in w.deletions] for w in works.values() if w.deletions}
        await self._commit(parts, deletions)
        self.reached("committed")
        if self._witness is not None:
            self._witness.note(work.sealed for work in works.values() if work.sealed)
        await self._state.write(deletions)
        self.reached("deleted")
        if works:
            rows, folded = sum(len(work.rows) for work in works.values()), sum(work.hi - work.lo for work in works.values())
            took = 1000 * (time.monotonic() - started)
            self._log.debug("checkpoint: %d partitions, %d offsets, %d rows, %.0f ms", len(works), folded, rows, took)

    def _pack(self, parts: Mapping[Source, Partition]) -> tuple[dict[Source, Work], list[tuple[Sequence[str], Vector]]]:
        """Rows, state and marks of the same prefix, with no await in between; the stages to which each vector goes."""
        works = {source: work for source, part in parts.items() if (work := part.snapshot())}
        vectors: list[tuple[Sequence[str], Vector]] = []
        for source, part in parts.items():
            if part.stage.tells and (
                vector := part.marks.speak(source.topic, source.partition, self._facts.count(source.topic), empty=part.empty)
            ):
                vectors.append((part.stage.tells, vector))
        return works, vectors

    async def _intend(self, parts: Mapping[Source, Partition], works: Mapping[Source, Work]) -> None:
        """Say what is about to leave, and prove that it may."""
        intents: dict[Source, list[Write]] = {}
        for source, work in works.items():
            if work.overtaken:
                await self._look_behind(parts[source], work)
        groups = await self._call(partial(self._prepared, parts, works)) if works else {}
        for source, work in works.items():
            part = parts[source]
            if not part.intend(work, groups[source]) and not await self._refused_before(part, work):
                self._log.warning(
                    "%s: other rows than intended for offsets %d to %d: another release or other settings than before the crash, perhaps; "
                    "ClickHouse is asked what is there",
                    *(source, work.lo, work.hi - 1),
                )
                part.reconcile(work, await self._landed(part.incarnation, work))
                if work.landed and work.overtaken and (work.rooted or not part.seals):
                    work.read_before(await self._patiently(partial(self._sink.stored, *source, work.lo, work.hi, part.incarnation)))
            if write := part.intent_write(work):
                intents[source] = [write]
        await self._state.write(intents)
        self.reached("intent")
        leaving = [work for work in works.values() if work.intent or work.published or work.dead_letters]
        if leaving:
            await self._membership.confirm({work.source: work.lo for work in leaving})
        self.reached("fenced")

    def _prepared(self, parts: Mapping[Source, Partition], works: Mapping[Source, Work]) -> dict[Source, Groups]:
        """Sealed, and their rows by table; of all of them in one call, since each waits for the fold that is under way."""
        groups: dict[Source, Groups] = {}
        for source, work in works.items():
            part = parts[source]
            if self._sealer is not None and part.seals and work.hi > work.lo:
                self._seal(self._sealer, part, work)
            groups[source] = self._sink.tables(work.rows) if work.rows else {}
        return groups

    def _seal(self, sealer: Sealer, part: Partition, work: Work) -> None:
        """Hash and sign the range, in a thread: the hot path only kept the records.

        After a crash the same range must come out the same, or the broker has other records than it had.  Unless it says itself that it
        has deleted some: what was sealed of them all stands, if it had come so far, and else we seal what is left.
        """
        if part.saved is None:
            return
        where = Range(work.source.topic, work.source.partition, part.incarnation, work.lo, work.hi)
        before, now = part.intent, round(1000 * time.time())
        if before is not None and work.rooted:
            sealed = sealer.again(where, before.root, before.count, part.saved.head, now)
        else:
            sealed = sealer.seal(where, work.records, work.rows, part.saved.head, now)
        if before is not None and before.root not in ("", sealed.root):
            self._sealed_otherwise(work, before, sealed)
        work.seal(sealed, part.owner)
        work.published.append(Publish("evidence", f"{sealed.topic}/{sealed.partition}".encode(), sealed.head, value_of(sealed)))

    def _sealed_otherwise(self, work: Work, before: Intent, sealed: Sealed) -> None:
        """Say why, as far as we know.  That records were deleted is Kafka's word; nothing in ClickHouse can make a fork look like it."""
        forked = False
        if work.overtaken:
            what = "evidence: fewer records, since Kafka deleted some, and their seal had not left,"
        elif (before.settings_digest, before.software) != (sealed.settings, sealed.software):
            what = "evidence: other lines, by another release or other settings,"
        else:
            what, forked = "EVIDENCE FORK: other records", True
        self._log.log(
            logging.CRITICAL if forked else logging.WARNING,
            "%s: %s at offsets %d to %d than before the crash: root %s, now %s",
            *(work.source, what, work.lo, work.hi - 1, before.root, sealed.root),
        )
        if forked:
            self.forked(work.source.topic)

    async def _landed(self, incarnation: str, work: Work) -> dict[str, int]:
        landed = {}
        if work.intent is not None:
            topic, partition, lo, hi = *work.source, work.intent.lo, work.intent.hi
            for table in work.intent.tables:
                landed[table] = await self._patiently(partial(self._sink.landed, table, topic, partition, lo, hi, incarnation))
        return landed

    async def _look_behind(self, part: Partition, work: Work) -> None:
        """How far had the former owner come with a range of which records were deleted since?"""
        work.noted = await self._noted(part)
        work.rooted = work.noted or await self._rooted(part)

    async def _noted(self, part: Partition) -> bool:
        """Has the former owner noted the range, who saw records of it that were deleted since?  Then all its rows are in, and its seal.

        Where evidence is kept and he did not keep it, the range is noted anew all the same: a new root would be of no range.
        """
        intent = part.intent
        if intent is None or (self._sealer is not None and part.seals and intent.count < 0):
            return False
        return await self._known(part, intent, partial(self._sink.noted, *part.source, intent.lo, intent.hi, part.incarnation))

    async def _rooted(self, part: Partition) -> bool:
        """Has he kept what he sealed it as, and died a moment before he noted it?  Then all its rows are in too."""
        intent = part.intent
        if intent is None or self._sealer is None or not part.seals or intent.count < 0:
            return False
        where = *part.source, intent.lo, intent.hi, part.incarnation, intent.root
        return await self._known(part, intent, partial(self._sink.rooted, *where))

    async def _known(self, part: Partition, intent: Intent, ask: Callable[[], bool]) -> bool:
        try:
            return await self._patiently(ask)
        except ConfigError as why:  # roles of an earlier release may not look there, which must not end us at each start
            self._log.warning("%s: whether offsets %d to %d were noted before is not known: %s", part.source, intent.lo, intent.hi - 1, why)
            return False

    async def _insert(self, part: Partition, work: Work) -> None:
        if work.intent is None or work.landed:
            return
        landed = await self._landed(part.incarnation, work) if work.recovered else {}
        for table in list(work.groups):
            while (rows := work.groups[table]) and (intended := work.intent.tables[table]).rows != landed.get(table, -1):
                try:
                    await self._patiently(partial(self._sink.insert, table, rows, intended.token, part.incarnation))
                except RowsRefused as error:
                    await self._refuse(part, work, table, error)
                else:
                    break

    async def _refuse(self, part: Partition, work: Work, table: str, error: RowsRefused) -> None:
        """Rows that never fit become dead letters; the rest is intended anew, under the same token, before it is tried again."""
        await self._set_aside(part, work, table, error)
        if write := part.intend_again(work):
            await self._state.write({part.source: [write]})

    async def _set_aside(self, part: Partition, work: Work, table: str, error: RowsRefused) -> None:
        offsets = work.refuse(table, error.positions)
        if not offsets:
            raise error
        self._log.error("%s: rows of offsets %s are refused: dead letters: %s", part.source, offsets, error)
        for record in await self._originals(part.source, offsets):
            work.dead_letters.append(dead_letter(part.stage.name, record, error.code, str(error)))

    async def _refused_before(self, part: Partition, work: Work) -> bool:
        """Rows that the former owner had taken out of the intent came out again; True when the rest is what it says.

        Their block may have landed: then nobody would be asked about them any more, and they would be neither stored nor listed.
        """
        for table, rows in list(work.groups.items()):
            if positions := tuple(position for position, _ in refused(TABLES[table], rows)):
                await self._set_aside(part, work, table, RowsRefused(f"{table} refuses {len(positions)} of {len(rows)} rows", positions))
        return part.as_intended(work)

    async def _publish(self, parts: Mapping[Source, Partition], works: Iterable[Work]) -> None:
        """Dead letters and public outputs; a stale owner does not come this far."""
        dead = self._topology.public_topic("dead-letter")
        self.urgent = False
        for work in works:
            for letter in work.dead_letters:
                self._outputs.add(dead, letter.key, letter.value, list(letter.headers), unkeyed=letter.partition)
            for published in work.published:
                self.urgent |= published.content == "findings"
                topic = self._topology.public_topic(published.content)
                self._outputs.add(topic, published.key, published.value, self._envelope(parts[work.source], published))
        await _all((self._outputs.settle(), self._facts.settle()))

    def _envelope(self, part: Partition, published: Publish) -> list[tuple[str, bytes]]:
        """CloudEvents in binary mode.  The epoch orders what two owners of one partition published."""
        return [
            ("ce_specversion", b"1.0"),
            ("ce_id", published.id.encode()),
            ("ce_source", f"/{self._source_name}/{part.stage.name}".encode()),
            ("ce_type", self._topology.public_topic(published.content).encode()),
            ("content-type", b"application/json"),
            ("tw-epoch", str(part.owner.epoch).encode()),
        ]

    async def _commit(self, parts: Mapping[Source, Partition], deletions: Mapping[Source, object]) -> None:
        """After a take-over also without input, or the report of a worker that died before it could stays behind for ever.

        Before a deletion in any case: what a worker that froze has replaced after the claim of the next owner is still in use there.
        """
        offsets = {
            source: part.saved.applied
            for source, part in parts.items()
            if part.saved and (part.saved.applied != part.committed or source in deletions)
        }
        if offsets:
            await self._membership.confirm(offsets)
            for source, offset in offsets.items():
                parts[source].committed = offset

    # --- the sink's threads

    async def _patiently(self, call: Callable[[], T]) -> T:
        """Until it is done: a transient error says nothing about the outcome, and the recorded token makes a retry harmless."""
        pause = 0.0
        while True:
            try:
                return await self._call(call)
            except TransientError as error:
                pause = min(max(2 * pause, error.retry_after_seconds), PAUSE_SECONDS_MAX)
                self._log.warning("sink: %s; again in %.1f s", error, pause)
            self._check_deadline()
            await self._sleep(pause)

    async def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._check_deadline()
            await asyncio.sleep(min(left, POLL_SECONDS))

    async def _call(self, call: Callable[[], T]) -> T:
        future = asyncio.get_running_loop().run_in_executor(self._executor, call)
        while not (await asyncio.wait([future], timeout=POLL_SECONDS))[0]:
            self._check_deadline()
        return future.result()

    def _check_deadline(self) -> None:
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise Abandoned("the sink does not answer, and a rebalance or shutdown waits")
