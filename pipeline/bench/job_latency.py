"""How long a record takes from the producer to where it can be seen: in a table, and as a provisional finding.

visible     records of the mix are produced at a steady rate; a query asks every 30 ms up to which offset `events` has grown: a record
            below it is visible then.  Latency runs from the moment before it is handed to the producer.
finding     all records up to the one that completes a finding are read and settled; then that one is sent, and the clock runs until the
            finding is on its topic and in ClickHouse.  The same topology in memory tells which record that is.
peers       bare JSON records at the same rate, for ours, aiokafka by hand and stock Faust, all with a flush of a second: what of the first
            figure is the interval, and what is the whole path.

Not measured: the shipper in front of the producer.
"""

import asyncio
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

from pipeline.bench import bare, mix
from pipeline.bench.bare_peers import BLOCK_SECONDS
from pipeline.bench.contest import task_of
from pipeline.bench.job_full import inputs, topics_of
from pipeline.bench.ours import bare_topology, topology_of
from pipeline.bench.report import OURS, Delay, JobReport, Requirement
from pipeline.bench.running import Running, started
from pipeline.bench.site import PARTITIONS, Site
from pipeline.errors import FatalError, require
from pipeline.model.outcome import Record
from pipeline.runtime.following import Follower, caught_up
from pipeline.runtime.local import LocalRuntime
from pipeline.settings import Settings
from pipeline.sink.clickhouse import Database

PEERS = (OURS, "aiokafka", "stock")
RATE = 5000
SLICE_SECONDS = 0.01
LOOK_SECONDS = 0.03  # a look costs the server some milliseconds, and what is measured needs them
WARM_UP_SECONDS = 3.0
PATIENCE_SECONDS = 60.0
P50_1S, P99_1S, P99_200MS, FINDING_SECONDS = 0.7, 1.5, 0.5, 2.0
CHUNK = 1000
BATCH_BYTES_MAX = 900_000


def run(
    site: Site,
    seconds: float,
    *,
    seed: int = 1,
    rate: int = RATE,
    intervals: Sequence[float] = (1.0, 0.2),
    findings: int = 5,
    peers: Sequence[str] = PEERS,
) -> JobReport:
    """All measurements, the first for each flush interval; without other peers than ours not the last."""
    figures: dict[str, float] = {}
    load = mix.build(seed, int(rate * (seconds + WARM_UP_SECONDS)), PARTITIONS)
    for interval in intervals:
        found = Delay.of(OURS, _visible(site, load, interval, rate))
        for name, value in (("p50", found.p50_seconds), ("p99", found.p99_seconds), ("max", found.largest_seconds)):
            figures[f"visible, {interval:g} s flush, {name}, s"] = value
        _tell(site, found, f"{interval:g} s flush")
    delays = [_bare(site, peer, seconds, seed, rate) for peer in peers] if len(peers) > 1 else []
    waits = _findings(site, seed, findings) if findings else []
    if waits:
        figures["provisional finding behind its last fact, 1 s flush, on its topic, max, s"] = max(topic for topic, _ in waits)
        figures["provisional finding behind its last fact, 1 s flush, in ClickHouse, max, s"] = max(stored for _, stored in waits)
    report = JobReport(
        job="latency",
        title="Latency",
        load=f"{rate:,} records/s of the mix for {seconds:g} s; {len(waits)} findings",
        figures=figures,
        delays=delays,
    )
    return report.judged(_demand(figures))


def _tell(site: Site, delay: Delay, what: str) -> None:
    figures = f"{delay.p50_seconds:.2f}, {delay.p99_seconds:.2f}, {delay.largest_seconds:.2f}"
    site.say(f"latency: {delay.peer}, {what}: {figures} s p50, p99, max")


def _demand(figures: dict[str, float]) -> list[Requirement]:
    bounds = {
        "visible, 1 s flush, p50, s": P50_1S,
        "visible, 1 s flush, p99, s": P99_1S,
        "visible, 0.2 s flush, p99, s": P99_200MS,
        "provisional finding behind its last fact, 1 s flush, on its topic, max, s": FINDING_SECONDS,
    }
    return [Requirement(name, bound, figures[name], at_most=True) for name, bound in bounds.items() if name in figures]


# --- visible


def _visible(site: Site, load: mix.Mix, interval: float, rate: int) -> list[float]:
    """Seconds until each record after the warm-up was visible."""
    name = f"{site.name}.latency{interval:g}"
    topics = topics_of(name)
    content = mix.placed(load, topics)
    site.create(topics.values())
    settings = site.settings_of_run(content.settings, inputs(topics), checkpoint={"interval_seconds": interval})
    site.prepare(settings, topology_of(settings))
    with _worker(site, settings, topics) as running, Database(settings.clickhouse) as database:
        running.await_ready()
        found = _watched(site, running, Watch(database, content.records), content.records, rate)
    site.remove(settings.kafka.group)
    site.remove(name)
    return found


def _bare(site: Site, peer: str, seconds: float, seed: int, rate: int) -> Delay:
    """The same of one consumer of bare records."""
    topic = f"{site.name}.latency.bare"
    records = [*bare.records(seed, int(rate * (seconds + WARM_UP_SECONDS)), topic, PARTITIONS)]
    site.create([topic])
    settings = site.settings_of_run({}, {"access_topics": (topic,)}, checkpoint={"interval_seconds": BLOCK_SECONDS})
    site.prepare(settings, bare_topology(settings) if peer == OURS else None)
    folder = Path(tempfile.mkdtemp(dir=site.folder))
    with Database(settings.clickhouse) as database:
        database.command(bare.CREATE.replace("{db}", settings.clickhouse.database))
        with started(task_of("ingest", peer, settings, [topic]), folder) as running:
            running.await_ready()
            delay = Delay.of(peer, _watched(site, running, BareWatch(database, records), records, rate))
    site.remove(settings.kafka.group)
    site.remove(topic)
    _tell(site, delay, f"bare records, {BLOCK_SECONDS:g} s flush")
    return delay


def _watched(site: Site, running: Running, watch: "Watch", records: Sequence[Record], rate: int) -> list[float]:
    """Produce at a steady rate, and look until all is visible; seconds of each record after the warm-up."""
    sent = watch.sent
    producer = threading.Thread(target=lambda: asyncio.run(_produce(site, records, rate, sent)))
    producer.start()
    deadline = time.monotonic() + len(records) / rate + PATIENCE_SECONDS
    while not watch.complete():
        watch.look()
        running.check()
        if time.monotonic() > deadline:
            raise FatalError(f"{watch.missing()} records are not visible in time:\n{running.log()[-2000:]}")
        time.sleep(LOOK_SECONDS)
    producer.join()
    return watch.latencies(int(rate * WARM_UP_SECONDS))


async def _produce(site: Site, records: Sequence[Record], rate: int, sent: list[float]) -> None:
    """At a steady rate; `sent` gets the moment of each record."""
    servers = site.settings.kafka.bootstrap_servers
    producer = AIOKafkaProducer(bootstrap_servers=servers, compression_type="lz4", max_batch_size=BATCH_BYTES_MAX)
    await producer.start()
    try:
        begun, share = time.monotonic(), max(1, round(rate * SLICE_SECONDS))
        for start in range(0, len(records), share):
            await asyncio.sleep(max(0.0, begun + start / rate - time.monotonic()))
            batches: dict[tuple[str, int], Any] = {}  # one by one would take a fifth of a core
            for record in records[start : start + share]:
                sent.append(time.monotonic())
                place = record.topic, record.partition
                batch = batches.get(place) or batches.setdefault(place, producer.create_batch())
                taken = batch.append(key=record.key, value=record.value, timestamp=record.timestamp, headers=list(record.headers))
                require(taken is not None, "a slice of the load fits into a batch")
            for (topic, partition), batch in batches.items():
                await producer.send_batch(batch, topic, partition=partition)
        await producer.flush()
    finally:
        await producer.stop()


class Watch:
    """Looks how far each partition of the input has come to be accounted for: in `events`, or listed in a range."""

    def __init__(self, database: Database, records: Sequence[Record]) -> None:
        self._database = database
        self._order: dict[tuple[str, int], list[int]] = {}  # numbers of the records by partition, in offset order
        for number, record in enumerate(records):
            self._order.setdefault((record.topic, record.partition), []).append(number)
        self._reached = dict.fromkeys(self._order, 0)
        self._topic = records[0].topic
        self._seen = [0.0] * len(records)
        self.sent: list[float] = []

    def look(self) -> None:
        """One query."""
        found = self._database.query("SELECT _topic, _partition, max(_offset) FROM {db}.events GROUP BY 1, 2")
        now = time.monotonic()
        for topic, partition, offset in found:
            self._note(topic, partition, offset + 1, now)
        if len(self.sent) == len(self._seen):  # a tail that only holds rejected records has no row
            for topic, partition, end in self._database.query("SELECT topic, partition, max(hi) FROM {db}.sink_ranges GROUP BY 1, 2"):
                if (topic, partition) in self._order and end == len(self._order[topic, partition]):
                    self._note(topic, partition, end, now)

    def _note(self, topic: str, partition: int, end: int, now: float) -> None:
        """All offsets below `end` are visible."""
        reached = self._reached[topic, partition]
        for number in self._order[topic, partition][reached:end]:
            self._seen[number] = now
        self._reached[topic, partition] = max(reached, end)

    def complete(self) -> bool:
        return self.missing() == 0

    def missing(self) -> int:
        return sum(len(order) - self._reached[place] for place, order in self._order.items())

    def latencies(self, warm: int) -> list[float]:
        """Of the records after the first `warm`."""
        return [seen - sent for seen, sent in zip(self._seen[warm:], self.sent[warm:], strict=True)]


class BareWatch(Watch):
    """The same of bare records, of whose places peers note nothing: their times are their numbers."""

    def look(self) -> None:
        """One query."""
        number = f"toUnixTimestamp64Milli(time_ms) - {bare.BASE_MS}"
        found = self._database.query(f"SELECT ({number}) % {PARTITIONS}, max({number}) FROM {{db}}.{bare.TABLE} GROUP BY 1")  # noqa: S608  our own table
        now = time.monotonic()
        for partition, last in found:
            self._note(self._topic, partition, last // PARTITIONS + 1, now)


# --- findings


def _findings(site: Site, seed: int, count: int) -> list[tuple[float, float]]:
    """(seconds to the topic, seconds to ClickHouse) of some findings, after the record that completes them."""
    name = f"{site.name}.finding"
    topics = topics_of(name)
    load = mix.placed(mix.of_site(seed, PARTITIONS), topics)
    settings = site.settings_of_run(load.settings, inputs(topics))
    last = _completing(settings, load.records, count)
    site.create(topics.values())
    topology = topology_of(settings)
    site.prepare(settings, topology)
    waits, at = [], 0
    names = list(topics.values())
    with _worker(site, settings, topics) as running, Database(settings.clickhouse) as database:
        running.await_ready()
        with Follower(settings, topology.public_topic("findings")) as findings:
            for number, id_ in last:
                site.send(names, load.records[at:number])
                running.until(lambda: caught_up(settings, topology).done)
                for _ in findings.poll(0.5):
                    pass
                site.send(names, [load.records[number]])
                begun = time.monotonic()
                at = number + 1
                waits.append(_wait(findings, database, id_, begun))
                site.say(f"finding {id_}: on its topic after {waits[-1][0]:.2f} s, in ClickHouse after {waits[-1][1]:.2f} s")
    site.remove(settings.kafka.group)
    site.remove(name)
    return waits


def _wait(findings: Follower, database: Database, id_: str, begun: float) -> tuple[float, float]:
    told = stored = 0.0
    while not stored:
        if not told and any(id_.encode() in value for value in findings.poll(LOOK_SECONDS)):
            told = time.monotonic() - begun
        if database.query("SELECT count() FROM {db}.findings WHERE finding_id = %(id)s", {"id": id_})[0][0]:
            stored = time.monotonic() - begun
        if time.monotonic() - begun > PATIENCE_SECONDS:
            raise FatalError(f"the finding {id_} did not come")
    return told or stored, stored


def _completing(settings: Settings, records: Sequence[Record], count: int) -> list[tuple[int, str]]:
    """(number of the record, finding id) of the first findings that are raised without a watermark: at one record, in any batching."""
    coarse: list[tuple[int, str]] = []
    runtime = LocalRuntime(settings, PARTITIONS)
    for start in range(0, len(records), CHUNK):
        before = {str(body["id"]) for body in runtime.found}
        runtime.feed(records[start : start + CHUNK])
        runtime.checkpoint()
        coarse += [(start, id_) for id_ in dict.fromkeys(str(body["id"]) for body in runtime.found) if id_ not in before]
        if len({start for start, _ in coarse}) >= count:
            break
    fine: dict[int, str] = {}
    runtime, at = LocalRuntime(settings, PARTITIONS), 0
    for start in sorted({start for start, _ in coarse}):
        runtime.feed(records[at:start])
        runtime.checkpoint()
        known = {str(body["id"]) for body in runtime.found}
        for number in range(start, min(start + CHUNK, len(records))):
            runtime.feed([records[number]])
            runtime.checkpoint()
            new = [id_ for id_ in (str(body["id"]) for body in runtime.found) if id_ not in known]
            if new:
                fine.setdefault(number, new[0])
                break
        at = min(number + 1, len(records))
    return sorted(fine.items())


def _worker(site: Site, settings: Settings, topics: dict[str, str]) -> Any:
    folder = Path(tempfile.mkdtemp(dir=site.folder))
    return started(task_of("mix", OURS, settings, tuple(topics.values())), folder)
