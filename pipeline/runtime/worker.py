"""The stages of a topology, driven on Kafka: batches in; folding, ownership, checkpoints and silences of one worker process.

    assigned ──► take state over ──► wake each stage ──► seek to `applied` ──► fold batches ──► checkpoint ... ──► revoked: drop
                                                              ▲                    │ buffers full: wait
                                                              └────────────────────┘

Take-over runs when the rebalance is complete, before the seek, with heartbeats going (they stop during the assignment callback).
Positions are `applied` from the state, never committed offsets.  An exception in fold or checkpoint first drops the partitions, because
Faust's shutdown runs one more checkpoint, which would commit past half-folded or swapped-out rows.

Holds: a batch is acknowledged when it is folded in full, or when its partition is not ours; every buffer is bounded.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from pipeline.errors import BrokerUnavailable, StateIncompatible, TrainwatchError
from pipeline.evidence.chain import Sealer
from pipeline.evidence.signing import load_signer
from pipeline.model.facts import Fact, encode_fact
from pipeline.model.outcome import Record
from pipeline.model.words import many
from pipeline.runtime.abandoned import Abandoned
from pipeline.runtime.access import RIGHTS, reaching
from pipeline.runtime.bounds import bounds_of
from pipeline.runtime.channel import silence
from pipeline.runtime.checkpoint import Checkpoint
from pipeline.runtime.guard import Guard, StepRaised
from pipeline.runtime.health import Reading
from pipeline.runtime.inputs import Inputs
from pipeline.runtime.membership import GroupMembership, Tenure
from pipeline.runtime.partition import Partition, Source
from pipeline.runtime.ports import Sink
from pipeline.runtime.producer import Sender, build_producer, partition_of
from pipeline.runtime.silence import Silence
from pipeline.runtime.sources import require_read
from pipeline.runtime.state_record import META, RAISED, key, pack
from pipeline.runtime.state_topic import Outclaimed, StateTopics, give_back
from pipeline.runtime.topic_ids import topics_of
from pipeline.runtime.vitals import Vitals
from pipeline.runtime.witness import Witness
from pipeline.settings import Settings
from pipeline.topology import PUBLIC, Topology

FOLD_SECONDS = 0.1  # folded in one go at most, about: nothing else runs meanwhile; small pieces tell the same things often (decision 0009)
PIECE_RECORDS_MIN, PIECE_RECORDS_MAX = 500, 20_000
SEND_SECONDS = 0.03  # facts leave this often
REST_SHARE = 0.25  # of the interval that is left between two checkpoints, however long one takes
LOOK_SECONDS = 3.0  # offsets are looked at this often
INPUTS_SECONDS = 5.0  # and the topics themselves this often
QUIET_SECONDS = 3.0  # silences are looked at this often, or at half the patience when that is shorter
OFFSETS_SECONDS = 5.0  # longest wait for the offsets of a look at silences, which is skipped then
TAKE_OVER_SECONDS = 30.0  # and of a take-over, which ends the worker then
REJOIN_LOOKS, REJOIN_LOOK_SECONDS = 600, 0.1  # for the group's next generation, where a take-over found us no longer a member of it
READ_AGAIN_MS = 5000  # longest wait for one record that is read again
HOMES_LOOKED_AT = 1000  # cases of a partition; of a topic that has grown by one partition half are elsewhere
UNSENT_BYTES_MAX = 32 << 20  # of facts; more, and folding waits
TAKE_OVER_STEPS = ("assigned", "proved", "claimed", "adopted", "recovered")  # told to `reached`, as those of the checkpoint are
LEAVING_STEPS = ("hurried", "revoked")
_UNTIMED = frozenset((*TAKE_OVER_STEPS, *LEAVING_STEPS))


class Worker:
    """One worker process, as long as it runs."""

    def __init__(self, app: Any, settings: Settings, topology: Topology, sink: Sink, vitals: Vitals, log: logging.Logger) -> None:
        self._app, self._settings, self._topology, self._sink, self._log = app, settings, topology, vitals.measured(sink), log
        self._vitals = vitals
        self._stood: dict[Source, int] = {}  # where partitions stood at the last look
        self._room = asyncio.Event()
        self._woken = False  # all cases were looked at, and no checkpoint has run since
        self._piece: dict[str, int] = {}  # stage -> records that are folded in one go
        self._homes = {stage: topology.facts_topic(stage) for each in topology.stages for stage in each.tells}
        self.membership = GroupMembership(app)
        self._inputs = Inputs(settings.kafka, (topic for stage in topology.stages for topic in stage.reads), self.membership)
        self._silence = Silence(settings.time.idle_seconds)
        self._producer: Any = None
        self._offsets: Any = None  # a plain consumer that only asks for offsets: ours would queue behind its long poll
        self._facts: Sender | None = None
        self._state: StateTopics | None = None
        self.checkpoint: Checkpoint | None = None
        self.reached: Callable[[str], None] | None = None  # hook of the checkpoints, for fault tests
        key_file = settings.evidence.key_file
        self._sealer = Sealer(load_signer(key_file), settings) if key_file else None  # a worker that cannot sign does not start
        self._witness = Witness(settings.evidence, log)
        self._guard = Guard(settings.time, self._tell, self._moved, log)

    # --- folding

    async def fold(self, source: Source, records: Sequence[Record]) -> None:
        """Fold one fetched batch in pieces, so that facts leave and checkpoints run meanwhile.  Waits while buffers are full."""
        checkpoint = self.checkpoint
        part = checkpoint.parts.get(source) if checkpoint else None
        if part is not None and records and part.applied < records[0].offset and not await self._knows_start(part):
            return
        while records and checkpoint is not None and part is not None:
            await self._room.wait()
            # Not ours any more, or ours again since a rebalance: whoever owns it now reads it from where its state stands.
            if checkpoint.parts.get(source) is not part:
                return
            size = self._piece.get(part.stage.name, PIECE_RECORDS_MIN)
            piece, behind = records[:size], records[size:]
            now, rest = part.cut(piece)
            left: Sequence[Record] = ()
            try:
                if now:
                    before, started = self._vitals.before(part), time.perf_counter()
                    done = self._guard.fold(part, now)
                    now, left = now[:done], now[done:]
                    self._pace(part.stage.name, done, time.perf_counter() - started)
                    self._vitals.folded(part, now, before)
                    require_read(part, checkpoint.parts.values(), self._settings.ingest.failing_hosts)
                part.folded(now, () if left else rest)
            except BaseException as error:
                checkpoint.drop()  # a half-folded batch must not reach the checkpoint that the shutdown runs
                await self._note(checkpoint, part, error)
                raise
            self._update_room()
            records = [*left, *rest, *behind] if left or rest else behind
            if rest and not left:  # close the open intent before going on
                await checkpoint.run()
            await asyncio.sleep(0)
        if checkpoint is not None and part is not None and part.raised is not None:  # its state may have been made again
            await self._wake_all(checkpoint, part)

    async def _knows_start(self, part: Partition) -> bool:
        """Before a hole: does the topic begin after it by now?  What was deleted since the last look would pass for markers.

        Within what was fetched at once all holes are markers.  False: the partition is not ours any more, or the worker ends.
        """
        while not self._app.should_stop and self.checkpoint is not None and self.checkpoint.parts.get(part.source) is part:
            try:
                first, _ = await self._topic_offsets([part.source])
            except (KafkaError, TimeoutError) as why:
                self._log.info("%s: where it begins is not known, asking again: %r", part.source, why)
                await self._app.sleep(LOOK_SECONDS)
            else:
                part.log_start = first[part.source]
                return True
        return False

    def _pace(self, stage: str, records: int, seconds: float) -> None:
        """Pieces of a stage grow and shrink with what its records take."""
        size = self._piece.get(stage, PIECE_RECORDS_MIN)
        if seconds > FOLD_SECONDS:
            self._piece[stage] = max(size // 2, PIECE_RECORDS_MIN)
        elif records == size and seconds < FOLD_SECONDS / 2:
            self._piece[stage] = min(2 * size, PIECE_RECORDS_MAX)

    async def _note(self, checkpoint: Checkpoint, part: Partition, error: BaseException) -> None:
        """Where the step raised, so that the next life knows it; a fault of the broker here is the lesser one."""
        if not isinstance(error, StepRaised) or self._state is None or part.saved is None:
            return
        async with checkpoint.lock:
            try:
                await self.membership.confirm({part.source: part.saved.applied})
                await self._state.write({part.source: [(key(RAISED, part.owner), pack(error.raised))]})
            except (KafkaError, Abandoned) as why:
                self._log.warning("where the step raised is not noted: %s", why)

    def _tell(self, stage: str, fact: Fact) -> None:
        if self._facts is not None:
            self._facts.add(self._homes[stage], fact.case, encode_fact(fact))

    def _moved(self, part: Partition, families: Sequence[str]) -> None:
        part.empty = False
        self._silence.moved(part.source, families)

    def _update_room(self) -> None:
        parts = self.checkpoint.parts if self.checkpoint else {}
        buffered = sum(part.buffered for part in parts.values())
        # Without partitions there is nothing to wait for: whoever waits finds that he owns nothing.
        held_back = bool(parts) and (
            buffered > self._settings.checkpoint.rows_max or (self._facts is not None and self._facts.unsent_bytes > UNSENT_BYTES_MAX)
        )
        if held_back and not any(part.held for part in parts.values()):
            self._room.clear()
        else:
            self._room.set()

    # --- ownership

    async def assigned(self) -> None:
        """Take over the state of what the group gave us.  Raises StateIncompatible; Abandoned only when no further rebalance comes."""
        self._vitals.assigned()
        checkpoint, state = await self._started()
        tenure = self.membership.current()
        self._vitals.joined(tenure.member)
        async with checkpoint.lock:  # a checkpoint that outlived the revoke ends before we claim
            checkpoint.drop()
        give_back()  # the state of before
        self.membership.tenure = tenure
        self._reached("assigned")
        try:
            parts = await self._take_over(state, tenure)
        except Abandoned as why:
            if not await self._superseded(tenure):
                raise
            self._log.info("take-over abandoned: %s", why)
            return
        if self.membership.current() != tenure:
            return
        checkpoint.adopt(parts)
        self._silence.begin()
        for part in parts.values():
            await self._wake_all(checkpoint, part)
        self._update_room()
        self._woken = True
        self._vitals.recovered(len(parts))
        self._log.info("generation %d: %d partitions taken over: %s", tenure.generation, len(parts), ", ".join(map(str, parts)))
        checkpoint.reached("recovered")

    async def _superseded(self, tenure: Tenure) -> bool:
        """Does the group go on without us?  Whose session has ended joins again at once, but hears of it only when all others have."""
        for _ in range(REJOIN_LOOKS):
            if self._app.should_stop or self.membership.current() != tenure:
                return True
            await asyncio.sleep(REJOIN_LOOK_SECONDS)
        return False

    async def _wake_all(self, checkpoint: Checkpoint, part: Partition) -> None:
        """All that is to be looked at, while it is ours."""
        while checkpoint.parts.get(part.source) is part and await self._wake(checkpoint, part):  # noqa: ASYNC110  lets others run
            await asyncio.sleep(0)

    async def _wake(self, checkpoint: Checkpoint, part: Partition) -> bool:
        """Some of what is to be looked at after a take-over; True: there is more."""
        try:
            return self._guard.wake(part)
        except BaseException as error:
            checkpoint.drop()
            await self._note(checkpoint, part, error)
            raise

    async def _take_over(self, state: StateTopics, tenure: Tenure) -> dict[Source, Partition]:
        sources = [source for source in self.membership.assigned() if any(source.topic in stage.reads for stage in self._topology.stages)]
        if not sources:
            return {}
        self._log.info("generation %d: taking over %d partitions", tenure.generation, len(sources))
        taken = None
        while taken is None:
            try:
                taken = await state.take_over(
                    sources, tenure.generation, self._prove, self._began, lambda: self.membership.current() == tenure
                )
            except Outclaimed as why:  # whoever is out does not pass the proof again
                self._log.info("claiming once more: %s", why)
        self._reached("claimed")
        try:
            first, end = await self._topic_offsets(sources, patience_seconds=TAKE_OVER_SECONDS)
            ids = await self._topic_ids(sources)
        except TimeoutError as why:
            raise BrokerUnavailable(
                f"Kafka told no offsets of {many(len(sources), 'partition')} to take over within {TAKE_OVER_SECONDS:.0f} s",
                advice="Look for partitions without a leader (`trainwatch check`), then start it again: nothing uncommitted is lost.",
            ) from why
        parts = {}
        for source, (owner, read) in taken.items():
            parts[source] = part = Partition(source, self._topology.stage_of(source.topic), self._settings, owner, read)
            part.seals = self._sealer is not None and part.observes
            self._require_home(part)
        metas = {
            source: part.adopt(first[source], end[source], secrets.token_hex(4), ids.get(source.topic, ""))
            for source, part in parts.items()
        }
        await state.write({source: [(key(META, parts[source].owner), pack(meta))] for source, meta in metas.items()})
        self._reached("adopted")
        return parts

    def _require_home(self, part: Partition) -> None:
        """New facts go where their case is.  Raises StateIncompatible when that is another partition, because the topic has grown."""
        count = self._facts.count(part.source.topic) if self._facts and part.stage.takes == "facts" else 0
        cases = (case for case in part.cases.every() if count and case[:1] != b"\x00")  # those begin what is reserved
        if any(partition_of(case, count) != part.source.partition for case in islice(cases, HOMES_LOOKED_AT)):
            raise StateIncompatible(
                f"{part.source}: its cases belong to other partitions, since the topic did not have {count} partitions when they were told",
                advice="Topics of facts never grow. deploy/runbooks/partition-growth.md says what to do now.",
            )

    async def _prove(self, offsets: Mapping[Source, int]) -> None:
        await self.membership.confirm(offsets)
        self._reached("proved")

    async def _began(self, source: Source) -> bool:
        return await self.membership.committed(source) is not None

    def revoked(self) -> None:
        """The last checkpoint has run."""
        self._vitals.dropped()
        if self.checkpoint is not None:
            if self.checkpoint.parts:
                self._log.info("%d partitions given back: the group rebalances, or the worker ends", len(self.checkpoint.parts))
            self._reached("revoked")
            self.checkpoint.drop()

    def positions(self) -> Mapping[Source, int]:
        """Where each of our partitions goes on."""
        return {source: part.applied for source, part in self.checkpoint.parts.items()} if self.checkpoint else {}

    # --- tasks

    async def run_checkpoints(self) -> None:
        """One every interval, until the app stops: from start to start, where Faust's timer adds what each takes.

        Findings are published by one and stored by the next, which does not wait then.  None when the app stops: that runs the last one.
        """
        interval = self._settings.checkpoint.interval_seconds
        due = time.monotonic() + interval
        while not self._app.should_stop:
            urgent = self.checkpoint is not None and self.checkpoint.urgent
            await self._app.sleep(max(0.0 if urgent else due - time.monotonic(), REST_SHARE * interval))
            if self._app.should_stop:  # after the last one, clients are closed under it
                return
            due = time.monotonic() + interval
            await self._app.consumer.commit()
            if self._woken:
                self._woken = False
                give_back()  # what the first looks at all cases had published, a fifth of a large worker's memory

    async def send_facts(self) -> None:
        """Facts on their way every few milliseconds, until the app stops."""
        while not self._app.should_stop:
            await asyncio.sleep(SEND_SECONDS)
            if self._facts is not None and (self._facts.unsent_bytes or not self._room.is_set()):  # an idle worker sleeps
                await self._facts.send()
                self._update_room()

    async def watch_silences(self) -> None:
        """Quiet families move on every few seconds, until the app stops."""
        pause = min(QUIET_SECONDS, self._settings.time.idle_seconds / 2)
        while not self._app.should_stop:
            await asyncio.sleep(pause)
            checkpoint = self.checkpoint
            if checkpoint is None or not checkpoint.parts:
                continue
            async with checkpoint.lock:
                try:
                    await self._advance_silent(checkpoint)
                except (KafkaError, TimeoutError, Abandoned) as why:  # nothing was said: the next round tries again
                    self._log.info("silences not looked at: %r", why)
            for part in list(checkpoint.parts.values()):
                if getattr(part.state, "stale", ()):  # goes on by itself while facts come
                    await self._wake(checkpoint, part)

    async def watch_offsets(self) -> None:
        """Where our partitions stand, every few seconds, until the app stops."""
        while not self._app.should_stop:
            await asyncio.sleep(LOOK_SECONDS)
            parts = dict(self.checkpoint.parts) if self.checkpoint else {}
            try:
                readings = await self._readings(parts) if parts else []
            except (KafkaError, TimeoutError) as why:
                self._vitals.unread(why)
            else:
                self._vitals.look(parts, readings, self._facts.unsent_bytes if self._facts else 0)

    async def watch_inputs(self) -> None:
        """Whether inputs are the ones that were read, every few seconds, until the app stops.  Raises what `Inputs.look` does."""
        while not self._app.should_stop:
            await self._app.sleep(INPUTS_SECONDS)
            checkpoint = self.checkpoint
            if checkpoint is None or self._offsets is None or self._app.should_stop:
                continue
            try:
                await self._inputs.look(self._offsets._client, dict(checkpoint.parts))
            except TrainwatchError:
                checkpoint.drop()  # a commit for a topic that is gone does not end
                raise

    async def _readings(self, parts: Mapping[Source, Partition]) -> list[Reading]:
        first, end = await self._topic_offsets(list(parts))
        readings = []
        for source, part in parts.items():
            part.log_start = first[source]
            durable, goal = part.saved.applied if part.saved else part.applied, end[source]
            if durable == part.applied < goal and self._stood.get(source) == durable:
                async with asyncio.timeout(OFFSETS_SECONDS):
                    goal = await self._end(part, goal)  # only markers of transactions may be left
            self._stood[source] = durable
            readings.append(Reading(source, first[source], durable, goal))
        return readings

    async def _advance_silent(self, checkpoint: Checkpoint) -> None:
        """Marks move by the silence up to a moment before the proof: what we say then was true while we owned the partition."""
        asked = self._silence.now()
        due: dict[Source, dict[str, int]] = {}
        for source, part in checkpoint.parts.items():
            if part.observes and not part.held and (silent := self._silence.since(source, part.marks.own_marks(), asked)):
                due[source] = silent
        if not due:
            return
        first, end = await self._topic_offsets(list(due))
        parts = checkpoint.parts
        reached = {}
        for source in due:
            asleep = parts.get(source)
            if asleep is not None and asleep.applied >= await self._end(asleep, end[source]):
                reached[source] = asleep
        if not reached:
            return
        await self.membership.confirm({source: part.saved.applied for source, part in reached.items() if part.saved})
        for source, part in reached.items():
            # What was read meanwhile is silent no longer.
            still = self._silence.since(source, part.marks.own_marks(), asked)
            part.marks.advance(silence(part.marks, still))
            part.empty = first[source] == end[source] and bool(still)

    async def _end(self, part: Partition, end: int) -> int:
        """The end to reach: transaction markers after the last record are not delivered, so a position past them counts."""
        consumer = self._app.consumer
        if part.applied < end and not consumer.in_flight(part.source):
            before = part.applied
            if await self.membership.position(part.source) >= end:
                await asyncio.sleep(SEND_SECONDS)  # a fetch just taken over is delivered within a few turns of the loop
                if part.applied == before and not consumer.in_flight(part.source):
                    return before
        return end

    async def _topic_offsets(
        self, sources: Sequence[Source], patience_seconds: float = OFFSETS_SECONDS
    ) -> tuple[Mapping[Source, int], Mapping[Source, int]]:
        """First and end offsets.  Raises TimeoutError, KafkaError."""
        async with asyncio.timeout(patience_seconds):
            return await bounds_of(self._offsets, sources)

    async def _topic_ids(self, sources: Sequence[Source]) -> Mapping[str, str]:
        """Waits for brokers that are away.  Raises TimeoutError, or what says that we have no right."""
        names = sorted({source.topic for source in sources})
        async with asyncio.timeout(TAKE_OVER_SECONDS):
            while True:
                try:
                    async with asyncio.timeout(OFFSETS_SECONDS):
                        return {name: topic.id for name, topic in (await topics_of(self._offsets._client, names)).items()}
                except RIGHTS:
                    raise
                except (KafkaError, TimeoutError) as why:
                    self._log.info("ids of topics are not told, asking again: %r", why)
                    await asyncio.sleep(REJOIN_LOOK_SECONDS)

    async def _read_again(self, source: Source, offsets: Sequence[int]) -> list[Record]:
        """Records at offsets, from the topic; those that are gone are left out."""
        consumer = AIOKafkaConsumer(**reaching(self._settings.kafka), enable_auto_commit=False)
        await consumer.start()
        pair, records = TopicPartition(*source), []
        try:
            consumer.assign([pair])
            for offset in offsets:
                consumer.seek(pair, offset)
                found = await consumer.getmany(pair, timeout_ms=READ_AGAIN_MS, max_records=1)
                records += [record for record in found.get(pair, ()) if record.offset == offset]
        finally:
            await consumer.stop()
        return records

    # --- start and stop

    async def _started(self) -> tuple[Checkpoint, StateTopics]:
        """Clients, on first use: they belong to the running loop."""
        if self.checkpoint is None or self._state is None:
            kafka = self._settings.kafka
            self._producer = build_producer(kafka)
            await self._producer.start()
            self._offsets = AIOKafkaConsumer(**reaching(kafka), isolation_level="read_committed", enable_auto_commit=False)
            await self._offsets.start()
            self._facts, outputs = Sender(self._producer), Sender(self._producer)
            self._facts.sent = outputs.sent = self._vitals.metrics.sent
            stages = self._topology.stages
            await self._facts.open(self._homes.values())
            await self._facts.open({topic for stage in stages for topic in stage.reads})  # for their partition counts
            await outputs.open(self._public_topics())
            self._state = StateTopics(kafka, self._producer, self._topology.state_topic)
            self.checkpoint = Checkpoint(
                self._topology,
                self._sink,
                self._state,
                self._facts,
                outputs,
                self.membership,
                originals=self._read_again,
                source_name=self._settings.kafka.group,
                log=self._log,
                sealer=self._sealer,
                witness=self._witness,
            )
            self.checkpoint.changed = self._update_room
            self.checkpoint.overtaken = self._vitals.overtaken
            self.checkpoint.forked = self._vitals.metrics.forked
            self.checkpoint.reached = self._reached
        return self.checkpoint, self._state

    def _reached(self, step: str) -> None:
        if step not in _UNTIMED:
            self._vitals.reached(step)
        if self.reached is not None:
            self.reached(step)

    def _public_topics(self) -> set[str]:
        sealed = ("evidence",) if self._sealer is not None else ()
        return {self._topology.public_topic(content) for content in ("dead-letter", *sealed, *PUBLIC)}

    async def close(self) -> None:
        """After the last checkpoint."""
        if self.checkpoint is not None:
            self.checkpoint.close()
        await self._witness.close()
        for client in (self._producer, self._offsets):
            if client is not None:
                await client.stop()
