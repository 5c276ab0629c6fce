"""Newest signed heads of this worker's partitions in; lines with somebody who keeps them outside out.

A chain shows that nothing was changed since it was signed, not that its signer has no second one.  A witness that the site does not rule
closes that gap from the moment it was told on: a later history must contain what he holds.  He is told the newest head of each partition
now and then, and that covers all before it.

    print    a line of the worker's standard output, which a collector may keep elsewhere
    file:    appended to a file, best on storage that only appends
    kafka:   a topic of another cluster, keyed by partition

Told after the commit, so that nobody witnesses what was never durable.  A witness who does not answer holds nothing up: the heads are in
`evidence_roots` and on the topic, and the next telling covers them; that he was not reached is logged.
"""

import asyncio
import logging
import os
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from pipeline.evidence.chain import value_of
from pipeline.model.sealed import Sealed
from pipeline.settings import EvidenceSettings

PATIENCE_SECONDS = 20.0


class Witness:
    """Tells one witness.  All methods belong to the event loop."""

    def __init__(self, settings: EvidenceSettings, log: logging.Logger) -> None:
        self._kind, _, self._where = settings.witness.partition(":")
        self._pause, self._log = settings.witness_seconds, log
        self._newest: dict[tuple[str, int], Sealed] = {}
        self._told_at = -float("inf")
        self._telling: asyncio.Task[None] | None = None

    def note(self, ranges: Iterable[Sealed]) -> None:
        """These are durable.  Tells when it is time; never waits."""
        if not self._kind:
            return
        for sealed in ranges:
            self._newest[sealed.topic, sealed.partition] = sealed
        busy = self._telling is not None and not self._telling.done()
        if self._newest and not busy and time.monotonic() - self._told_at >= self._pause:
            self._telling = asyncio.create_task(self._tell())

    async def close(self) -> None:
        """Tell what was not told yet."""
        if self._telling is not None:
            await self._telling
        if self._newest:
            await self._tell()

    async def _tell(self) -> None:
        newest, self._newest = self._newest, {}
        self._told_at = time.monotonic()
        heads = [newest[place] for place in sorted(newest)]
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                if self._kind == "kafka":
                    await self._send(heads)
                else:
                    text = b"".join(value_of(sealed) + b"\n" for sealed in heads)
                    await asyncio.to_thread(self._write, text)
        except (OSError, KafkaError, TimeoutError) as why:
            self._newest = {**newest, **self._newest}
            self._log.error("evidence: the witness was not reached, %d heads wait: %r", len(heads), why)

    def _write(self, text: bytes) -> None:
        if self._kind == "print":
            sys.stdout.buffer.write(text)
            sys.stdout.buffer.flush()
            return
        with os.fdopen(os.open(Path(self._where), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())

    async def _send(self, heads: Sequence[Sealed]) -> None:
        servers, _, topic = self._where.rpartition("/")
        producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all")
        await producer.start()
        try:
            for sealed in heads:
                await producer.send_and_wait(topic, value_of(sealed), f"{sealed.topic}/{sealed.partition}".encode())
        finally:
            await producer.stop()
