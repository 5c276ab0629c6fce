"""Records in; the same records on the input topics of the broker out, with the time of collection as Kafka's time.

Batches are built by hand: for a simulated week of 260,000 records `KafkaProducer.send` took 12 CPU seconds and batches 0.6 (measured).
What the topics accept is asked first, because a record that is too large fails its batch, and would take innocent neighbours with it.

    records ──► one open batch per partition ──full, or every SLICE records──► broker ──► acknowledged
                                                                                └─ then, if wanted: `trainwatch-final` to each partition

Holds: the records of a partition keep their order; when `send` returns, the broker has acknowledged all that was sent; a record that
no topic accepts is named and left out, never cut.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer, errors
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from pipeline.errors import ConfigError
from pipeline.ingest.step import FINAL_HEADER
from pipeline.model.outcome import Record
from pipeline.runtime.access import absent, answering, client, reaching, told
from pipeline.settings import KafkaSettings, Settings

BATCH_BYTES = 256 << 10
REQUEST_BYTES_MAX = 64 << 20  # the client's own bound; the topics' are asked of the broker
OVERHEAD_BYTES = 256  # of a batch with one record
SLICE = 20_000  # records after which all open batches leave, so that no partition lags far behind the others
PACED_SECONDS = 0.05  # with a rate: how often batches leave
PENDING_MAX = 64
SIZE_SETTING = "max.message.bytes"

TOLD_EVERY = 2000  # records between two calls of `progress`

Progress = Callable[[int], None]  # records so far


class Refused(msgspec.Struct, frozen=True):
    """A record that is larger than its topic accepts."""

    topic: str
    file: str
    offset: str  # in the file
    bytes: int
    limit: int


class Sent(msgspec.Struct, frozen=True):
    """What the broker has acknowledged."""

    records: int
    bytes: int
    by_topic: dict[str, int]
    refused: tuple[Refused, ...]
    final: bool


class InputTopic(msgspec.Struct, frozen=True):
    """An input topic as it is."""

    name: str
    partitions: int
    record_bytes_max: int


def send(
    settings: Settings, records: Iterable[Record], *, final: bool = False, rate: float | None = None, progress: Progress | None = None
) -> Sent:
    """Send all records, at most `rate` a second, and with `final` end every partition of the input topics.

    `settings` must name the broker.  Returns when all is acknowledged.  Raises BrokerUnavailable, and ConfigError when an input
    topic does not exist; what `records` raises passes through.
    """
    topics = input_topics(settings)
    replay = Replay(topics, rate, progress)
    return asyncio.run(replay.run(settings.kafka, records, final=final))


def input_topics(settings: Settings) -> dict[str, InputTopic]:
    """The input topics of the settings as they are on the broker.  Raises BrokerUnavailable, ConfigError."""
    names = settings.kafka.input_topics
    admin = client(KafkaAdminClient, settings.kafka, client_id="trainwatch-replay")
    try:
        with answering(settings.kafka, "cannot describe the input topics"):
            found = {str(topic["name"]): len(topic["partitions"]) for topic in admin.describe_topics()}
            missing = [name for name in names if not found.get(name)]
            if missing:
                raise absent(settings.kafka, missing[0])
            wanted = [ConfigResource(ConfigResourceType.TOPIC, name, {SIZE_SETTING: None}) for name in names]
            limits = admin.describe_configs(wanted, config_filter="all")["topic"]
    finally:
        admin.close()
    return {name: InputTopic(name, found[name], int(limits[name][SIZE_SETTING]["value"])) for name in names}


class Replay:
    """One run of sending."""

    def __init__(self, topics: Mapping[str, InputTopic], rate: float | None, progress: Progress | None) -> None:
        self._topics, self._rate, self._progress = topics, rate, progress
        self._slice = SLICE if rate is None else max(1, int(rate * PACED_SECONDS))
        self._open: dict[tuple[str, int], Any] = {}
        self._pending: list[asyncio.Future[Any]] = []
        self._refused: list[Refused] = []
        self._counts = dict.fromkeys(topics, 0)
        self._bytes = self._latest = 0
        self._producer: Any = None

    async def run(self, kafka: KafkaSettings, records: Iterable[Record], *, final: bool) -> Sent:
        """Everything, from the first connection to the last acknowledgement."""
        self._producer = AIOKafkaProducer(
            **reaching(kafka),
            client_id="trainwatch-replay",
            enable_idempotence=True,
            max_batch_size=BATCH_BYTES,
            max_request_size=REQUEST_BYTES_MAX,
            compression_type="lz4",
        )
        try:
            await self._producer.start()
            await self._send_all(records)
            if final:
                await self._end_channels()
            await asyncio.gather(*self._pending)
        except errors.KafkaError as error:
            raise told(kafka, error, "records cannot be sent") from error
        finally:
            await self._producer.stop()
        return Sent(sum(self._counts.values()), self._bytes, self._counts, tuple(self._refused), final)

    async def _send_all(self, records: Iterable[Record]) -> None:
        begun = time.monotonic()
        waiting = sent = 0
        for record in records:
            await self._add(record)
            waiting += 1
            if (sent + waiting) % TOLD_EVERY == 0:
                self._tell()
            if waiting >= self._slice:
                sent, waiting = sent + waiting, 0
                await self._send_open()
                if self._rate is not None:
                    await asyncio.sleep(max(0.0, begun + sent / self._rate - time.monotonic()))
        await self._send_open()
        self._tell()

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(sum(self._counts.values()))

    async def _add(self, record: Record) -> None:
        topic = self._topics.get(record.topic)
        if topic is None:
            raise ConfigError(f"{record.topic} is not an input topic", advice=f"Use one of: {', '.join(self._topics)}.")
        size = len(record.value or b"") + len(record.key or b"") + sum(len(name) + len(data) for name, data in record.headers)
        if size + OVERHEAD_BYTES > topic.record_bytes_max:
            headers = {name: data.decode("utf-8", "replace") for name, data in record.headers}
            where = headers.get("file", ""), headers.get("offset", "")
            self._refused.append(Refused(record.topic, *where, len(record.value or b""), topic.record_bytes_max))
            return
        place = (record.topic, record.partition % topic.partitions)
        batch = self._open.get(place)
        if batch is None or not _append(batch, record):
            if batch is not None:
                await self._send(place, batch)
            batch = self._open[place] = self._producer.create_batch()
            _append(batch, record)
        self._counts[record.topic] += 1
        self._bytes += len(record.value or b"")
        self._latest = max(self._latest, record.timestamp)

    async def _send_open(self) -> None:
        batches, self._open = self._open, {}
        for place, batch in batches.items():
            await self._send(place, batch)

    async def _send(self, place: tuple[str, int], batch: Any) -> None:
        self._pending.append(await self._producer.send_batch(batch, place[0], partition=place[1]))
        if len(self._pending) >= PENDING_MAX:
            done, self._pending = self._pending[: PENDING_MAX // 2], self._pending[PENDING_MAX // 2 :]
            await asyncio.gather(*done)

    async def _end_channels(self) -> None:
        """After everything else in each partition; at the last collected time, since it must not move progress by itself."""
        for topic in self._topics.values():
            for partition in range(topic.partitions):
                batch = self._producer.create_batch()
                batch.append(key=None, value=b"", timestamp=self._latest, headers=[(FINAL_HEADER, b"1")])
                await self._send((topic.name, partition), batch)


def _append(batch: Any, record: Record) -> bool:
    """Whether it had room; an empty batch takes a record of any size."""
    added = batch.append(key=record.key, value=record.value, timestamp=record.timestamp, headers=list(record.headers))
    return added is not None
