"""The state topics on Kafka: taken over when partitions are assigned, appended to by the checkpoint.

    read to our own look ──► proof of membership ──► never claimed, yet offsets of the group? refused ──► claim, epoch + 1
        ──► read to our own claim ──► still ours? ──► read once more, unpacking what counts

The look makes the end of the log findable, since compaction may remove the last record before the end offset.  The proof stands between
reading and claiming, so that a frozen worker that wakes up does not claim over an owner that it has read about; one that freezes between
proof and claim comes second with its epoch, or with an older one, which voids its claim.  Should it come first after all, whoever has
proved since claims once more.  A group that was deleted starts its generations again: its epochs go on, since they are counted in the log.

A partition that nobody ever claimed has lost its state if the group has offsets; that is looked at before our own claim, which would hide
it from the next worker.  One that was claimed and has no meta lost nothing: its owner went, in a rebalance, before anything was durable.

Reading uses a plain consumer outside the group: the log must be read whole, while a Faust table shows only the last value per key.
It is read in slices, between which heartbeats and other tasks have their turn.
"""

import asyncio
import contextlib
import ctypes
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import TopicPartition

from pipeline.errors import ConfigError, StateIncompatible
from pipeline.model.words import many
from pipeline.runtime.abandoned import Abandoned
from pipeline.runtime.access import reaching
from pipeline.runtime.partition import Source
from pipeline.runtime.state_log import LogReader, Write
from pipeline.runtime.state_record import CLAIM, LOOK, NOBODY, Claim, Owner, key, pack
from pipeline.settings import KafkaSettings

log = logging.getLogger("trainwatch.worker")

FETCH_BYTES = 1 << 20  # per partition and fetch, while reading state: dozens of partitions are in memory at once
POLL_MS = 200
STILL_SECONDS = 30.0  # of reading, until a line says that it goes on
SLICE_SECONDS = 0.02  # of reading, in which nothing else runs
Take = Callable[[str, bytes | None], None]
Prove = Callable[[Mapping[Source, int]], Awaitable[None]]  # with offsets, if there are any; raises Abandoned when we are no member any more
Began = Callable[[Source], Awaitable[bool]]  # has the group offsets of it?


class Outclaimed(Abandoned):
    """Somebody else, who may be no member any more, has claimed between our reading and our claim.  Whoever is still one tries again."""


def give_back() -> None:
    """Return freed memory to the system: reading frees a gigabyte in pieces, and glibc alone keeps a third of it."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _unreadable(record: Any, why: StateIncompatible) -> StateIncompatible:
    """With the place: whoever looks for what is wrong with a log of thousands of records begins there."""
    return StateIncompatible(
        f"{record.topic}/{record.partition}@{record.offset}: {why}",
        advice=f"{why.advice} If somebody else wrote it, delete the topic and restore it: deploy/runbooks/backup-and-restore.md.",
    )


class StateTopics:
    """The state of all input partitions of this worker.  `topic_of` names the state topic of an input topic."""

    def __init__(self, settings: KafkaSettings, producer: AIOKafkaProducer, topic_of: Callable[[str], str]) -> None:
        self._settings, self._producer, self._topic_of = settings, producer, topic_of

    async def write(self, writes: Mapping[Source, Sequence[Write]]) -> None:
        """Append per partition, in order, and wait until the broker has all of it."""
        futures = []
        for source, pairs in writes.items():
            topic = self._topic_of(source.topic)
            for name, value in pairs:
                futures.append(await self._producer.send(topic, value, name.encode(), partition=source.partition))
        await asyncio.gather(*futures)

    async def take_over(
        self, sources: Sequence[Source], generation: int, prove: Prove, began: Began, current: Callable[[], bool]
    ) -> dict[Source, tuple[Owner, LogReader]]:
        """Claim the partitions and read their state.  `current`: is the generation still the group's?

        Raises Abandoned when it is not; Outclaimed when somebody else has the better claim; StateIncompatible for state it cannot read;
        ConfigError when there is no place for it.
        """
        await self._require_places(sources)
        nonce = secrets.token_hex(4)
        look = key(LOOK, Owner(0, max(generation, 0), nonce))
        states = {source: LogReader(keep=False) for source in sources}
        consumer = AIOKafkaConsumer(
            **reaching(self._settings),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=FETCH_BYTES,
            fetch_max_wait_ms=50,
        )
        await consumer.start()
        try:
            partitions = [self._state_partition(source) for source in sources]
            consumer.assign(partitions)
            await self.write({source: [(look, pack(Claim()))] for source in sources})
            await self._read(consumer, self._takers(states), dict.fromkeys(sources, look), current)
            lost = [source for source, read in states.items() if read.last == NOBODY and await began(source)]
            await prove({source: read.meta.applied for source, read in states.items() if read.meta is not None})
            for source, read in states.items():
                if source in lost:  # and not that somebody else has begun since
                    raise StateIncompatible(
                        f"{source}: offsets are committed for this group, but there is no state",
                        advice="deploy/runbooks/backup-and-restore.md: put back what was saved, or begin an input anew.",
                    )
                if read.last != NOBODY and read.meta is None:
                    log.warning("%s: claimed before, and no state stands behind the claim: it begins where its topic begins", source)
            owners = {source: Owner(read.last.epoch + 1, generation, nonce) for source, read in states.items()}
            claims = {source: key(CLAIM, owner) for source, owner in owners.items()}
            await self.write({source: [(claim, pack(Claim()))] for source, claim in claims.items()})
            await self._read(consumer, self._takers(states), claims, current)
            for source, read in states.items():
                if read.owner != owners[source]:
                    raise Outclaimed(f"{source} was claimed by {read.owner}, we are {owners[source]}")
            await consumer.seek_to_beginning(*partitions)
            again = {source: read.unpack for source, read in states.items()}
            await self._read(consumer, again, claims, current)
        finally:
            await consumer.stop()
        for source, read in states.items():
            if read.left:
                raise StateIncompatible(f"{source}: gone from its state: {many(read.left, 'record')}")
        give_back()
        return {source: (owners[source], read) for source, read in states.items()}

    async def _require_places(self, sources: Sequence[Source]) -> None:
        """The group gives us a partition when the input has it, which may be before its state has."""
        for source in sources:
            topic, partition = self._state_partition(source)
            if partition not in await self._producer.partitions_for(topic):
                await self._producer.client.force_metadata_update()  # it may have grown since the producer looked
            if partition not in (found := await self._producer.partitions_for(topic)):
                raise ConfigError(
                    f"{source}: the topic has grown, and {topic} has {many(len(found), 'partition')}",
                    advice="Let the state of an input grow to the same count, then start again: deploy/runbooks/partition-growth.md.",
                )

    @staticmethod
    def _takers(states: Mapping[Source, LogReader]) -> dict[Source, Take]:
        return {source: read.take for source, read in states.items()}

    async def _read(self, consumer: Any, takers: Mapping[Source, Take], until: Mapping[Source, str], current: Callable[[], bool]) -> None:
        sources = {self._state_partition(source): source for source in takers}
        missing = set(sources)
        began = told = time.monotonic()
        while missing:
            if not current():
                raise Abandoned("the group rebalanced while state was read")
            if time.monotonic() - told > STILL_SECONDS:
                told = time.monotonic()
                first = min(missing)
                log.info("state is still read: %d of %d partitions left, %s/%d among them", len(missing), len(sources), *first)
            for partition, records in (await consumer.getmany(*missing, timeout_ms=POLL_MS)).items():
                source = sources[partition]
                take = takers[source]
                for record in records:
                    try:
                        name = record.key.decode(errors="backslashreplace")  # which is no key of ours then
                        take(name, record.value)
                    except StateIncompatible as why:
                        raise _unreadable(record, why) from why
                    if name == until[source]:
                        missing.discard(partition)
                    if time.monotonic() - began > SLICE_SECONDS:
                        await asyncio.sleep(0)
                        began = time.monotonic()

    def _state_partition(self, source: Source) -> TopicPartition:
        return TopicPartition(self._topic_of(source.topic), source.partition)
