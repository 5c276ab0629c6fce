"""How fast the transport is: the same preloaded JSON records through three consumers, each in a process of its own, in turns.

    batch      an agent on our batch transport, orjson per record
    stock      an agent of stock Faust on single records, orjson per record; fewer of them, since it is slow
    aiokafka   a `getmany` loop by hand, without Faust: what could be reached

CPU seconds of the whole process are counted, from the end of a warm-up to the last record, so that other load matters little and
no start-up is measured.  All three use the same fetch size, commit interval and garbage collector settings.  Rounds are interleaved and
ratios are taken within a round, because a machine that is slow for a while is slow for all three.
"""

import asyncio
import gc
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Never

import faust
import msgspec
import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from kafka.errors import KafkaError

from pipeline.errors import BrokerUnavailable, FatalError
from pipeline.runtime.app import FETCH_WAIT_MS, GC_THRESHOLDS, QUEUE_BATCHES
from pipeline.runtime.batch_transport import BatchApp, BatchSchema

PARTITIONS = 8
RECORD_BYTES = 300
SET_RECORDS = 1000  # of a Kafka record set: larger ones are quicker to read for everybody
FETCH_BYTES = 2 << 20
COMMIT_SECONDS = 1.0
WARM_UP_SHARE = 0.2
STOCK_SHARE = 10  # stock reads a tenth
STOCK_RECORDS_MIN = 5000
RUN_SECONDS_MAX = 300.0
BATCH_TO_STOCK_MIN, BATCH_TO_AIOKAFKA_MIN = 25.0, 0.8


class Task(msgspec.Struct, frozen=True):
    """What one process is to read."""

    consumer: str  # batch | stock | aiokafka
    bootstrap: str
    topic: str
    group: str
    records: int


class Measured(msgspec.Struct, frozen=True):
    """What one process took."""

    consumer: str
    records: int
    cpu_seconds: float
    seconds: float

    @property
    def a_second(self) -> float:
        """Records per CPU second: what one core does."""
        return self.records / self.cpu_seconds


class Report(msgspec.Struct, frozen=True):
    """All rounds."""

    record_bytes: int
    partitions: int
    rounds: list[list[Measured]]
    events_per_core_second: dict[str, float]  # medians
    batch_to_stock: float  # medians of the rounds' ratios
    batch_to_aiokafka: float
    reached: bool  # both required ratios


# --- in the process that measures


class Meter:
    """Counts from the end of a warm-up, since a first fetch was decoded before anybody could look at the clock; ends the process."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._warm = int(task.records * WARM_UP_SHARE)
        self._count = self._before = 0
        self._cpu = self._clock = 0.0

    def read(self, records: int) -> None:
        """A delivery was decoded."""
        self._count += records
        if not self._before:
            if self._count >= self._warm:
                self._before, self._cpu, self._clock = self._count, time.process_time(), time.monotonic()
        elif self._count >= self._task.records:
            cpu, seconds = time.process_time() - self._cpu, time.monotonic() - self._clock
            self._end(Measured(self._task.consumer, self._count - self._before, cpu, seconds))

    def _end(self, measured: Measured) -> Never:
        sys.stdout.buffer.write(msgspec.json.encode(measured))
        sys.stdout.flush()
        os._exit(0)  # an orderly end of Faust takes seconds and is not what is measured


def read_batches(task: Task, meter: Meter) -> None:
    """An agent as those of the worker."""
    app = BatchApp(task.group, **_options(task), stream_wait_empty=True)
    topic = app.topic(task.topic, schema=BatchSchema(), maxsize=QUEUE_BATCHES)

    async def agent(stream: Any) -> None:
        loads = orjson.loads
        async for event in stream.noack().events():
            records = event.value
            for record in records:
                loads(record.value)
            event.ack()
            meter.read(len(records))

    app.agent(topic, name="batch")(agent)
    _run(app)


def read_stock(task: Task, meter: Meter) -> None:
    """An agent as in the Faust documentation."""
    app = faust.App(task.group, **_options(task))
    topic = app.topic(task.topic, value_serializer="raw")

    async def agent(stream: Any) -> None:
        loads = orjson.loads
        async for value in stream:
            loads(value)
            meter.read(1)

    app.agent(topic, name="stock")(agent)
    _run(app)


def _options(task: Task) -> dict[str, Any]:
    return {
        "broker": f"kafka://{task.bootstrap.replace(',', ';')}",
        "env_prefix": "TRAINWATCH_FAUST_",
        "web_enabled": False,
        "store": "memory://",
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        "broker_commit_interval": COMMIT_SECONDS,
        "broker_commit_every": 1_000_000,
        "broker_max_poll_records": None,
        "consumer_max_fetch_size": FETCH_BYTES,
        "consumer_auto_offset_reset": "earliest",
        "worker_redirect_stdouts": False,
    }


def _run(app: Any) -> None:
    worker = faust.Worker(app, quiet=True, override_logging=False, redirect_stdouts=False, loglevel="WARN")
    worker.spinner = None
    worker.execute_from_commandline()


def read_by_hand(task: Task, meter: Meter) -> None:
    """What one writes without a framework."""
    asyncio.run(_getmany(task, meter))


async def _getmany(task: Task, meter: Meter) -> None:
    loads = orjson.loads
    consumer = AIOKafkaConsumer(
        task.topic,
        bootstrap_servers=task.bootstrap,
        group_id=task.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=FETCH_BYTES,
        fetch_max_wait_ms=FETCH_WAIT_MS,
    )
    await consumer.start()
    committed = time.monotonic()
    while True:
        for records in (await consumer.getmany(timeout_ms=FETCH_WAIT_MS)).values():
            for record in records:
                loads(record.value)
            meter.read(len(records))
        if time.monotonic() - committed >= COMMIT_SECONDS:
            await consumer.commit()
            committed = time.monotonic()


CONSUMERS: dict[str, Callable[[Task, Meter], None]] = {"batch": read_batches, "stock": read_stock, "aiokafka": read_by_hand}


def main(argument: str) -> None:
    """Run one task and print what it took."""
    task = msgspec.json.decode(argument, type=Task)
    gc.set_threshold(*GC_THRESHOLDS)
    CONSUMERS[task.consumer](task, Meter(task))


# --- in the process that compares


def ingest(bootstrap: str, records: int, rounds: int, *, say: Callable[[str], None]) -> Report:
    """Preload a topic of its own, measure in turns, delete the topic.  Raises BrokerUnavailable, FatalError."""
    counts = {"batch": records, "stock": min(records, max(records // STOCK_SHARE, STOCK_RECORDS_MIN)), "aiokafka": records}
    name = f"trainwatch.bench.{os.getpid()}.{time.time_ns()}"
    measured: list[list[Measured]] = []
    with _topic(bootstrap, name):
        asyncio.run(_preload(bootstrap, name, records))
        say(f"{records} records of {RECORD_BYTES} bytes in {PARTITIONS} partitions; {rounds} rounds")
        for number in range(rounds):
            order = [*counts][number % 3 :] + [*counts][: number % 3]
            results = [_measure(Task(each, bootstrap, name, f"{name}.{each}.{number}", counts[each])) for each in order]
            for each in results:
                say(f"round {number + 1}: {each.consumer:<9} {each.a_second:>9,.0f} events/s per core, {each.cpu_seconds:.2f} CPU s")
            measured.append(results)
    return _report(measured)


def _report(rounds: list[list[Measured]]) -> Report:
    rates: dict[str, list[float]] = {name: [] for name in CONSUMERS}
    for results in rounds:
        for each in results:
            rates[each.consumer].append(each.a_second)

    def ratio(other: str) -> float:
        return statistics.median(mine / theirs for mine, theirs in zip(rates["batch"], rates[other], strict=True))

    to_stock, to_aiokafka = ratio("stock"), ratio("aiokafka")
    return Report(
        RECORD_BYTES,
        PARTITIONS,
        rounds,
        {name: statistics.median(values) for name, values in rates.items()},
        to_stock,
        to_aiokafka,
        to_stock >= BATCH_TO_STOCK_MIN and to_aiokafka >= BATCH_TO_AIOKAFKA_MIN,
    )


def _measure(task: Task) -> Measured:
    package = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(package), os.environ.get("PYTHONPATH", ""))))}
    command = [sys.executable, "-m", "pipeline.runtime.bench", msgspec.json.encode(task).decode()]
    try:
        with tempfile.TemporaryDirectory(prefix="trainwatch-") as scratch:  # Faust makes folders where it is started
            done = subprocess.run(command, capture_output=True, cwd=scratch, env=environment, timeout=RUN_SECONDS_MAX, check=False)
    except subprocess.TimeoutExpired as error:
        raise FatalError(f"{task.consumer} did not read {task.records} records in {RUN_SECONDS_MAX:.0f} s") from error
    if done.returncode:
        raise FatalError(f"{task.consumer} ended with code {done.returncode}: {done.stderr.decode(errors='replace')[-2000:]}")
    return msgspec.json.decode(done.stdout, type=Measured)


@contextmanager
def _topic(bootstrap: str, name: str) -> Iterator[None]:
    try:
        admin: Any = KafkaAdminClient(bootstrap_servers=bootstrap.split(","), client_id="trainwatch-bench")
        admin.create_topics([NewTopic(name, PARTITIONS, 1)])
    except KafkaError as error:
        raise BrokerUnavailable(f"{bootstrap}: {error!r}") from error
    try:
        yield
    finally:
        admin.delete_topics([name])
        admin.close()


async def _preload(bootstrap: str, topic: str, records: int) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, max_batch_size=2 * SET_RECORDS * RECORD_BYTES, acks="all")
    await producer.start()
    try:
        pending = []
        for number, values in enumerate(_sets(records)):
            batch = producer.create_batch()
            for value in values:
                batch.append(key=None, value=value, timestamp=None)
            pending.append(await producer.send_batch(batch, topic, partition=number % PARTITIONS))
        await asyncio.gather(*pending)
    finally:
        await producer.stop()


def _sets(records: int) -> Iterator[Sequence[bytes]]:
    for start in range(0, records, SET_RECORDS):
        yield [_record(number) for number in range(start, min(start + SET_RECORDS, records))]


def _record(number: int) -> bytes:
    """A JSON object of exactly RECORD_BYTES."""
    fields = {
        "@timestamp": "2026-03-02T11:40:41.318Z",
        "host": f"gpu-{number % 100:03}",
        "program": "kernel",
        "number": number,
        "file": {"path": "/var/log/kern.log", "offset": number * 120},
        "rate": number / 7,
        "message": "",
    }
    return orjson.dumps({**fields, "message": "x" * (RECORD_BYTES - len(orjson.dumps(fields)))})


if __name__ == "__main__":
    main(sys.argv[1])
