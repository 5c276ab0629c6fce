"""Records in; the same records on the input topics over some seconds out, sent by a thread while workers are broken.

    allow(0.5)   at most half of the records leave, at the set pace       finish()   the rest leaves at once, then every channel ends

A thread with an event loop of its own, since faults are written as plain code with waits.  The producer is idempotent and patient, so
that a broker that is killed and comes back gets each record once.  With `aborts` all goes by transactions, of which some, with the very
records that follow, are aborted: what a reader must not see.

Holds: the records of a partition keep their order; after `finish` the broker has acknowledged everything.
"""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from random import Random
from typing import Any

from aiokafka import AIOKafkaProducer

from pipeline.ingest.step import FINAL_HEADER
from pipeline.model.outcome import Record

TICK_SECONDS = 0.05
PATIENCE_SECONDS = 240.0
ABORTED_SHARE = 0.3  # of slices that are sent once for nothing before they are sent
SLICE = 400  # records of one transaction


class Feed:
    """Sends `records` within about `seconds`."""

    def __init__(
        self,
        bootstrap: str,
        partitions: int,
        records: Sequence[Record],
        seconds: float,
        topics: Sequence[str],
        aborts: Random | None = None,
    ) -> None:
        self._bootstrap, self._partitions, self._records, self._topics = bootstrap, partitions, records, topics
        self._rate = len(records) / seconds
        self._limit = len(records)
        self._aborts = aborts
        self._hurry = self._ending = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="feed")
        self._done: Future[None] | None = None
        self._stopped = False
        self.sent = 0
        self.placed: list[tuple[Record, tuple[str, int, int]]] = []  # where each record went: topic, partition, offset
        self.aborted = 0  # records of aborted transactions

    def start(self, share: float = 1.0) -> None:
        """Begin, with at most this share of the records."""
        self.allow(share)
        self._done = self._thread.submit(lambda: asyncio.run(self._main()))

    def allow(self, share: float) -> None:
        """So much may have left by now."""
        self._limit = round(len(self._records) * min(1.0, share))

    def hurry(self) -> None:
        """As fast as the broker takes them."""
        self._hurry = True

    def finish(self) -> None:
        """All the rest, and the ends of all channels; returns when the broker has them.  Raises what sending raised."""
        self.allow(1.0)
        self._hurry = self._ending = True
        if self._done is not None:
            self._done.result(PATIENCE_SECONDS)

    def stop(self) -> None:
        """Send no more."""
        self._stopped = True
        self._thread.shutdown(wait=True)

    async def _main(self) -> None:
        transactional = f"feed-{self._topics[0]}" if self._aborts else None
        producer = self._producer(transactional)
        await producer.start()
        try:
            before = time.monotonic()
            while self.sent < len(self._records) and not self._stopped:
                await asyncio.sleep(0 if self._hurry else TICK_SECONDS)
                now = time.monotonic()
                due = SLICE if self._hurry else max(1, int(self._rate * (now - before)))
                before = now
                some = self._records[self.sent : min(self.sent + due, self._limit)]
                if some:
                    await self._send(producer, some)
                    self.sent += len(some)
            while not (self._ending or self._stopped):  # noqa: ASYNC110  set by another thread
                await asyncio.sleep(TICK_SECONDS)
        finally:
            await producer.stop()
        if not self._stopped:
            await self._end_channels()

    def _producer(self, transactional: str | None = None) -> AIOKafkaProducer:
        return AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            enable_idempotence=True,
            transactional_id=transactional,
            compression_type="lz4",
            max_request_size=16 << 20,
            request_timeout_ms=60_000,  # also how long a record may wait for a broker to come back
        )

    async def _send(self, producer: AIOKafkaProducer, records: Sequence[Record]) -> None:
        if self._aborts is None:
            await self._place(producer, records)
            return
        if self._aborts.random() < ABORTED_SHARE:
            await producer.begin_transaction()
            await self._deliver(producer, records)
            await producer.abort_transaction()
            self.aborted += len(records)
        async with producer.transaction():
            await self._place(producer, records)

    async def _place(self, producer: AIOKafkaProducer, records: Sequence[Record]) -> None:
        places = await self._deliver(producer, records)
        self.placed += [(record, (it.topic, it.partition, it.offset)) for record, it in zip(records, places, strict=True)]

    async def _deliver(self, producer: AIOKafkaProducer, records: Sequence[Record]) -> list[Any]:
        futures = [
            await producer.send(
                record.topic,
                record.value,
                record.key,
                partition=record.partition % self._partitions,
                timestamp_ms=record.timestamp,
                headers=list(record.headers),
            )
            for record in records
        ]
        return await asyncio.gather(*futures)

    async def _end_channels(self) -> None:
        """By a producer without transactions, whose markers would stand after the last record."""
        latest = max(record.timestamp for record in self._records)
        producer = self._producer()
        await producer.start()
        try:
            for topic in self._topics:
                for partition in range(self._partitions):
                    await producer.send_and_wait(
                        topic, b"", key=None, partition=partition, timestamp_ms=latest, headers=[(FINAL_HEADER, b"1")]
                    )
        finally:
            await producer.stop()
