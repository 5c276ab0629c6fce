"""A site for tests of the runtime: real topics and tables, a feeder, workers as processes, and the truth to compare with."""

import os
import signal
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from kafka import KafkaProducer

from pipeline.faults.born import Born
from pipeline.model.facts import Fact
from pipeline.runtime.admin import Admin
from pipeline.runtime.state_log import LogReader
from pipeline.settings import Settings
from pipeline.sink import copied
from pipeline.sink.clickhouse import Database
from tests.integration import topics
from tests.integration.fault_worker import CLUSTER, FINAL, Spec, topology
from tests.patience import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]
PARTITIONS = 2
BASE_MS = 1_760_000_000_000
CASES = 12


class Site:
    """One test's topics, tables and workers.  Use `open_site`."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self.folder = folder
        self.topics = settings.kafka.access_topics
        self.truth: dict[tuple[str, int], list[str]] = defaultdict(list)  # values by partition, in offset order
        self.database = Database(settings.clickhouse)
        self.workers: list[Born] = []
        self._number = 0
        self._lock = threading.Lock()
        self._producer: Any = None
        self._topology = topology(self.spec(), settings.kafka.topic_prefix)

    def open(self) -> None:
        """Make tables and topics."""
        copied.make(self.database)
        with Admin(self.settings, self._topology) as admin:
            admin.ensure()
        (self.folder / "folded").touch()
        self._producer = KafkaProducer(bootstrap_servers=self.settings.kafka.bootstrap_servers, linger_ms=5)

    def close(self) -> None:
        """End what was started."""
        for worker in self.workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGCONT)
                worker.kill()
            worker.wait()
        if self._producer is not None:
            self._producer.close()
        self.database.close()

    # --- input

    def send(self, count: int, *, values: Iterator[str] | None = None) -> None:
        """Records round robin over all partitions: mostly numbers of cases, some bad, some to skip."""
        with self._lock:
            for _ in range(count):
                self._number += 1
                number = self._number
                case = "bad" if number % 50 == 7 else "skip" if number % 50 == 11 else f"c{number % CASES}"
                value = next(values) if values else f"{case},{number},{BASE_MS + 100 * number}"
                topic, partition = self.topics[number % len(self.topics)], number // len(self.topics) % PARTITIONS
                self._producer.send(topic, value=value.encode(), partition=partition)
                self.truth[topic, partition].append(value)
            self._producer.flush()

    def end_channels(self) -> None:
        """What `replay --final` does."""
        with self._lock:
            for topic in self.topics:
                for partition in range(PARTITIONS):
                    self._producer.send(topic, value=b"end", headers=[(FINAL, b"1")], partition=partition)
                    self.truth[topic, partition].append("final")
            self._producer.flush()

    @contextmanager
    def feeding(self, per_second: int) -> Iterator[None]:
        """Send all the time."""
        stop = threading.Event()

        def feed() -> None:
            while not stop.wait(0.05):
                self.send(per_second // 20)

        thread = threading.Thread(target=feed)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    # --- workers

    def spec(self, **changes: Any) -> Spec:
        """What workers are asked to do."""
        settings = self.settings.model_dump(mode="json")
        settings["clickhouse"]["password"] = ""
        return Spec(settings=settings, topics=self.topics, folded=str(self.folder / "folded"), **changes)

    def start(self, *, instance: str = "w1", **changes: Any) -> Born:
        """A worker process; an empty instance makes it a dynamic member."""
        spec = self.spec(**changes)
        spec.settings["worker"] = {"instance_id": instance}
        words = [msgspec.json.encode(spec).decode()]
        worker = Born("tests.integration.fault_worker", words, os.environ, self.folder / f"worker-{len(self.workers)}.log")
        self.workers.append(worker)
        return worker

    def stop(self, worker: Born) -> int:
        """SIGTERM; answers with the exit code."""
        worker.send_signal(signal.SIGTERM)
        return worker.wait(timeout=PATIENCE_SECONDS)

    def log(self, number: int = -1) -> str:
        """The log of a worker."""
        number = range(len(self.workers))[number]
        return (self.folder / f"worker-{number}.log").read_text(errors="replace")

    def until(self, reached: Callable[[], bool], what: str) -> None:
        """Wait for something that workers bring about."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not reached():
            if time.monotonic() > deadline:
                logs = "\n".join(f"worker {number}: {self.log(number)[-4000:]}" for number in range(len(self.workers)))
                message = f"{what} not reached in {PATIENCE_SECONDS:.0f} s\n{logs}"
                raise AssertionError(message)
            time.sleep(0.2)

    def done(self) -> bool:
        """Is every record in a finished range?"""
        found = self.database.query("SELECT topic, partition, max(hi) FROM {db}.sink_ranges GROUP BY ALL")
        return {(topic, partition): hi for topic, partition, hi in found} == {source: len(values) for source, values in self.truth.items()}

    # --- what came out

    def stored(self) -> int:
        """Rows of events."""
        return int(self.database.query("SELECT count() FROM {db}.events")[0][0])

    def folded(self) -> list[set[tuple[str, str, int]]]:
        """The offsets of each batch that ingest has folded, over all workers, in order."""
        batches = []
        for line in (self.folder / "folded").read_text().splitlines():
            topic, partition, first, last = line.split()
            batches.append({(topic, partition, offset) for offset in range(int(first), int(last) + 1)})
        return batches

    def replayed(self) -> int:
        """How many offsets were folded more than once."""
        batches = self.folded()
        return sum(map(len, batches)) - len(set().union(*batches))

    def check_rows(self) -> None:
        """Each source offset that is to be written is in ClickHouse once, and the ranges account for all of them."""
        rows = self.database.query("SELECT _topic, _partition, count(), uniqExact(_offset) FROM {db}.events GROUP BY ALL")
        expected = {source: sum(self._kept(value) for value in values) for source, values in self.truth.items()}
        found = {(topic, partition): (rows, offsets) for topic, partition, rows, offsets in rows}
        wanted = {source: (count, count) for source, count in expected.items() if count}
        assert found == wanted, sorted({*found.items()} ^ {*wanted.items()})
        ranges = self.database.query(
            "SELECT DISTINCT topic, partition, lo, hi, offsets_written, length(listed_offsets) FROM {db}.sink_ranges ORDER BY ALL"
        )
        reached: dict[tuple[str, int], int] = defaultdict(int)
        accounted: Counter[tuple[str, int]] = Counter()
        for topic, partition, lo, hi, written, listed in ranges:
            assert lo == reached[topic, partition], f"{topic}/{partition}: a gap or overlap at {lo}"
            reached[topic, partition] = hi
            accounted[topic, partition] += written + listed
        lengths = {source: len(values) for source, values in self.truth.items()}
        assert dict(reached) == lengths
        assert dict(accounted) == lengths

    def check_dead_letters(self) -> None:
        """Each bad record is a dead letter with its code and offset."""
        letters = {
            (headers["x-dlq-topic"].decode(), int(headers["x-dlq-partition"]), int(headers["x-dlq-offset"])): headers["x-dlq-code"]
            for headers in (dict(record.headers) for record in self.read(self._topology.public_topic("dead-letter")))
        }
        bad = {(*source, at) for source, values in self.truth.items() for at, value in enumerate(values) if value.startswith("bad,")}
        assert set(letters) == bad
        assert set(letters.values()) == {b"decode_error"}

    def check_cases(self) -> None:
        """The state of the second stage holds every number of every case."""
        assert self.cases() == self._numbers()

    def check_verdicts(self) -> None:
        """The last verdict of each case counts all its numbers."""
        assert self.missing_verdicts() == set()

    def missing_verdicts(self) -> set[tuple[str, str]]:
        """Cases whose last verdict is not the right one."""
        last = dict(record.value.decode().split(",") for record in self.read(self._topology.public_topic("verdicts")))
        return {(case, str(len(numbers))) for case, numbers in self._numbers().items()} ^ set(last.items())

    def cases(self) -> dict[str, set[str]]:
        """Case -> numbers, from the state log."""
        readers: dict[int, LogReader] = defaultdict(LogReader)
        topic = self._topology.state_topic(self._topology.facts_topic("counts"))
        for record in self.read(topic):
            readers[record.partition].take(record.key.decode(), record.value)
        found: dict[str, set[str]] = defaultdict(set)
        facts: list[Fact] = [fact for reader in readers.values() for fact in reader.facts()]
        for fact in facts:
            if fact.case.startswith(CLUSTER.encode()) and fact.id != "closed":
                found[fact.case.decode().partition("\x1f")[2]].add(fact.id)
        return dict(found)

    def read(self, topic: str) -> list[Any]:
        """All records of a topic, partition by partition."""
        return topics.read(self.settings, topic)

    def _numbers(self) -> dict[str, set[str]]:
        numbers: dict[str, set[str]] = defaultdict(set)
        for values in self.truth.values():
            for value in values:
                if self._kept(value):
                    case, number, _ = value.split(",")
                    numbers[case].add(number)
        return dict(numbers)

    @staticmethod
    def _kept(value: str) -> bool:
        return not value.startswith(("bad,", "skip,", "final"))


@contextmanager
def open_site(servers: Settings, folder: Path, **sections: dict[str, object]) -> Iterator[Site]:
    """A site with short intervals; `sections` changes settings, e.g. kafka={"session_timeout_seconds": 6}."""
    quick: dict[str, dict[str, object]] = {
        "kafka": {"partitions": PARTITIONS, "session_timeout_seconds": 30.0},
        "checkpoint": {"interval_seconds": 0.25, "shutdown_seconds": 15.0},
        "time": {"out_of_order_seconds": 1, "idle_seconds": 600},
    }
    changes = {
        name: getattr(servers, name).model_copy(update={**quick.get(name, {}), **sections.get(name, {})}) for name in {*quick, *sections}
    }
    topic = servers.kafka.access_topics[0]
    changes["kafka"] = changes["kafka"].model_copy(update={"access_topics": (topic, f"{topic}.more")})
    site = Site(servers.model_copy(update=changes), folder)
    try:
        site.open()
        yield site
    finally:
        site.close()


def running(worker: Born) -> bool:
    """Is it there, and not stopped by a signal?"""
    state = Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()[0] if worker.poll() is None else "X"
    return state not in "TXZ"
