"""Keyed messages in; one Kafka batch per partition out, sent every few milliseconds or when a checkpoint settles.

`topic.send` of Faust costs 100 us a message, `AIOKafkaProducer.send` 28, a batch built by hand 2.2 (measured), and facts are told for
nearly every record.  Facts leave eagerly, since a fact told twice is harmless; public outputs wait in their partition until the
checkpoint has proof of ownership, and then go through a second `Sender` on the same producer.

Holds: messages to one partition keep the order in which they were added, so a vector is behind all facts it covers; `settle` returns
when the broker has acknowledged all that was added before it was called.
"""

import asyncio
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from aiokafka import AIOKafkaProducer, codec
from aiokafka.partitioner import murmur2

from pipeline.errors import BrokerUnavailable, InvariantViolation
from pipeline.runtime.access import reaching
from pipeline.settings import KafkaSettings
from pipeline.stream.watermark import Vector, encode_vector

BATCH_BYTES_MAX = 256 << 10
LZ4_LEVEL = 1  # aiokafka's 9 takes five times as long, a quarter of what a join takes in all, and saves 6 % of the bytes (measured)
VALUE_BYTES_MAX = 960_000  # a larger message would be refused by the broker, again at each restart
KEYS_CACHED = 200_000  # murmur2 is pure Python

Headers = list[tuple[str, bytes]]  # aiokafka insists on a list


def build_producer(settings: KafkaSettings) -> AIOKafkaProducer:
    """The producer of a worker: idempotent, so that it keeps order and never doubles."""
    codec.lz4_encode.__defaults__ = (LZ4_LEVEL,)  # of this process: the producer has no parameter for it
    return AIOKafkaProducer(**reaching(settings), enable_idempotence=True, max_batch_size=BATCH_BYTES_MAX, compression_type="lz4")


@lru_cache(KEYS_CACHED)
def partition_of(key: bytes, count: int) -> int:
    """The partition that Java's default partitioner chooses for a key."""
    return int(murmur2(key) & 0x7FFFFFFF) % count


class Sender:
    """Batches per (topic, partition).  `add` and `say` never wait."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        self._counts: dict[str, int] = {}
        self._waiting: dict[tuple[str, int], list[Any]] = {}
        self._pending: list[asyncio.Future[Any]] = []
        self._lock = asyncio.Lock()
        self.unsent_bytes = 0
        self.sent: Callable[[str, int], None] = lambda topic, messages: None  # noqa: ARG005  told per batch

    async def open(self, topics: Iterable[str]) -> None:
        """Learn the partition counts.  Raises BrokerUnavailable when a topic does not exist."""
        for topic in topics:
            if topic not in self._counts:
                partitions = await self._producer.partitions_for(topic)
                if not partitions:
                    raise BrokerUnavailable(f"the topic {topic} does not exist", advice="Run `trainwatch topics create`.")
                self._counts[topic] = len(partitions)

    def count(self, topic: str) -> int:
        """Partitions of a topic that was opened."""
        return self._counts[topic]

    def add(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers | None = None, *, unkeyed: int = 0) -> None:
        """One message; without a key it goes to partition `unkeyed` modulo the count."""
        count = self._counts[topic]
        self._append(topic, unkeyed % count if key is None else partition_of(key, count), key, value, headers or [])

    def say(self, topics: Iterable[str], vector: Vector) -> None:
        """A vector to every partition of the topics, after everything added before."""
        value = encode_vector(vector)
        for topic in topics:
            for partition in range(self._counts[topic]):
                self._append(topic, partition, None, value, [])

    def _append(self, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: Headers) -> None:
        size = len(value) if value is not None else 0
        if size > VALUE_BYTES_MAX:
            raise InvariantViolation(f"a message of {size} bytes for {topic}: at most {VALUE_BYTES_MAX} fit")
        place = topic, partition
        batches = self._waiting.get(place)
        if batches is None:
            batches = self._waiting[place] = []
        if not batches or batches[-1].append(key=key, value=value, timestamp=None, headers=headers) is None:
            batches.append(self._producer.create_batch())
            batches[-1].append(key=key, value=value, timestamp=None, headers=headers)
        self.unsent_bytes += size

    async def send(self) -> None:
        """Hand over all that waits; it is under way, not yet acknowledged."""
        async with self._lock:  # keeps the batches of a partition in order
            waiting, self._waiting, unsent = self._waiting, {}, self.unsent_bytes
            for (topic, partition), batches in waiting.items():
                self.sent(topic, sum(batch.record_count() for batch in batches))
                for batch in batches:
                    self._pending.append(await self._producer.send_batch(batch, topic, partition=partition))
            self.unsent_bytes -= unsent
        if len(self._pending) > 1000:
            self._pending = [future for future in self._pending if not (future.done() and future.exception() is None)]

    async def settle(self) -> None:
        """Send all that waits and return when the broker has it.  Raises what the producer raises: the worker then ends."""
        await self.send()
        pending, self._pending = self._pending, []
        await asyncio.gather(*pending)
