"""A simulated day on the real servers in seconds: the tables filled, the public topics written, and what a test asks about it.

The day is judged in memory and stored with the sink's own step and insert, so that tables hold what a worker would have written; a worker
of its own would take minutes.  Values go to Kafka with the headers that workers give them.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from kafka import KafkaProducer

from pipeline.model.instants import HOUR_MS
from pipeline.model.outcome import Publish, RangeRow, Record, Row
from pipeline.runtime.admin import Admin
from pipeline.runtime.dead_letter import DeadLetter
from pipeline.runtime.local import LocalRuntime, Results
from pipeline.settings import Settings
from pipeline.simulate import Scale, Week, simulate
from pipeline.sink import copied
from pipeline.sink.clickhouse import ClickHouseSink, Database
from pipeline.sink.rows import StandingRow, UnreadableRow
from pipeline.sink.step import build_state, step
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import NOTHING
from pipeline.topology import Topology, build_topology
from tests.build import T0

SMALL = Scale(gpu_hosts=6, members=10, jobs_per_day=60.0, acts_per_kind=(1, 1))
SEED, DAYS = 3, 1.0
BATCH = 2000
INCARNATION = "day"
EPOCH = b"1"


class Day(NamedTuple):
    """Where it lies, and what it holds."""

    settings: Settings
    week: Week
    published: list[Publish]
    findings: list[dict[str, Any]]  # canonical bodies, the last word of each


class _Keeping(Results):
    """Keeps every word, as the topics do."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[Publish] = []

    def take(self, out: Publish) -> dict[str, object] | None:
        self.words.append(out)
        return super().take(out)


@contextmanager
def filled(settings: Settings) -> Iterator[Day]:
    """Tables and topics of `settings`, which name a database and topics of their own; the database goes at the end."""
    week = simulate(SEED, DAYS, scale=SMALL)
    judged = Settings.model_validate({**week.settings, "clickhouse": settings.clickhouse, "kafka": settings.kafka})
    topology = build_topology(judged)
    results = _judged(judged, week)
    with Database(judged.clickhouse) as database:
        copied.make(database)
        with Admin(judged, topology) as admin:
            admin.ensure()
        try:
            _store(judged, topology, results)
            _publish(judged, topology, results)
            yield Day(judged, week, results.words, list(results.findings.values()))
        finally:
            database.command(f"DROP DATABASE IF EXISTS {database.name} SYNC")


def _judged(settings: Settings, week: Week) -> _Keeping:
    names = {f"logs.{family}": getattr(settings.kafka, f"{family}_topics")[0] for family in ("training", "scheduler", "access")}
    local = LocalRuntime(_renamed(settings, names), keep_rows=True)
    results = local.results = _Keeping()
    for at in range(0, len(week.records), BATCH):
        local.feed(
            Record(
                topic=names[each.topic],
                partition=0,
                offset=0,
                timestamp=each.timestamp,
                value=each.value,
                key=each.key,
                headers=each.headers,
            )
            for each in week.records[at : at + BATCH]
        )
        local.checkpoint()
    local.finish()
    return results


def _renamed(settings: Settings, names: dict[str, str]) -> Settings:
    """Sources that name a default topic mean this site's own."""
    sources = tuple(each.model_copy(update={"topic": names.get(each.topic, each.topic)}) for each in settings.sources)
    return settings.model_copy(update={"sources": sources})


def _store(settings: Settings, topology: Topology, results: _Keeping) -> None:
    """Rows of ingest and of the sink stage, and the ranges that account for them."""
    rows: list[Any] = list(results.rows)
    state = build_state(settings, Cases())
    for offset, word in enumerate(results.words):
        record = Record(
            topic=topology.public_topic(word.content),
            partition=0,
            offset=offset,
            timestamp=0,
            value=word.value,
            key=word.key,
            headers=(("tw-epoch", EPOCH),),
        )
        rows += [outcome for outcome in step(state, [record], NOTHING)[1] if isinstance(outcome, Row)]
    with ClickHouseSink(settings.clickhouse) as sink:
        for table, of_table in sink.tables(rows).items():
            sink.insert(table, of_table, f"day-{table}", INCARNATION)
        ranges = _ranges(results)
        sink.write_ranges(ranges)
        sink.write_standings([_standing(each) for each in ranges])
        sink.write_unreadable([_unreadable(each, unread) for each in ranges[:1] for unread in (7, 30, 20)])


def _ranges(results: _Keeping) -> list[RangeRow]:
    offsets: dict[str, set[int]] = defaultdict(set)
    listed: dict[str, dict[int, str]] = defaultdict(dict)
    for row in results.rows:
        assert isinstance(row, Row)
        offsets[f"{row.topic}/{row.partition}"].add(row.offset)
    for place, offset, code in results.listed:
        listed[place][offset] = code
    found = []
    for place in sorted({place for place in (*offsets, *listed) if ".logs." in place}):
        topic, _, partition = place.rpartition("/")
        codes = sorted(listed[place].items())
        found.append(
            RangeRow(
                topic=topic, partition=int(partition), incarnation=INCARNATION, lo=0,
                hi=max((*offsets[place], *listed[place])) + 1,
                rows=len(offsets[place]), offsets_written=len(offsets[place] - listed[place].keys()), listed=tuple(codes),
                settings_digest="day",
                token=f"day-{place}",
            )
        )  # fmt: skip
    return found


def _standing(reached: RangeRow) -> StandingRow:
    """Of a worker that has read all."""
    return StandingRow(
        topic=reached.topic, partition=reached.partition, stage="ingest", worker=INCARNATION, durable=reached.hi, lag=0, lag_seconds=0,
        state_bytes=1000 + reached.hi, state_cases=8,
    )  # fmt: skip


def _unreadable(reached: RangeRow, unread: int) -> UnreadableRow:
    """An hour before the day of a source that nobody could read, as a worker notes it now and again, also behind a restart."""
    hour = T0 - HOUR_MS
    return UnreadableRow(
        hour=hour, cluster="main", source="kernel", host="gpu-900", topic=reached.topic, partition=reached.partition, file="/var/log/kern#",
        first_time=hour + 1000, last_time=hour + 1000 * unread, unread=unread,
    )  # fmt: skip


def _publish(settings: Settings, topology: Topology, results: _Keeping) -> None:
    producer: Any = KafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers.split(","), linger_ms=20)
    try:
        for word in results.words:
            topic = topology.public_topic(word.content)
            headers = [
                ("ce_id", word.id.encode()), ("ce_specversion", b"1.0"), ("ce_source", b"/day/jobs"), ("ce_type", topic.encode()),
                ("content-type", b"application/json"), ("tw-epoch", EPOCH),
            ]  # fmt: skip
            producer.send(topic, key=word.key, value=word.value, headers=headers)
        letter: DeadLetter
        for letter in results.dead_letters:
            producer.send(topology.public_topic("dead-letter"), key=letter.key, value=letter.value, headers=list(letter.headers))
        producer.flush()
    finally:
        producer.close()
