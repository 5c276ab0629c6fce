"""What a worker makes of a group that has offsets and a partition that has no state, or members of another release, on the real broker."""

import asyncio
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.structs import OffsetAndMetadata

from pipeline.faults.feed import Feed
from pipeline.faults.site import PARTITIONS, Process, Site, as_records, simulated, wait
from pipeline.runtime.bounds import bounds_of
from pipeline.runtime.consuming import Group
from pipeline.runtime.partition import Source
from pipeline.runtime.state_record import CLAIM, Claim, Owner, key, pack
from pipeline.settings import Settings
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.servers

WEEK = simulated(1)
FEW = 400
LOOK_SECONDS = 0.2
LOOKS = round(PATIENCE_SECONDS / LOOK_SECONDS)


@pytest.fixture
def site(servers: Settings, tmp_path: Path) -> Iterator[Site]:
    with Site(servers, WEEK, tmp_path / "site", {}) as opened:
        yield opened


def inputs(site: Site) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for topic in site.settings.kafka.input_topics for number in range(PARTITIONS)]


def commit(site: Site) -> None:
    """The group's word that somebody had begun, at offset 0."""
    consumer: Any = KafkaConsumer(
        bootstrap_servers=site.settings.kafka.bootstrap_servers.split(","), group_id=site.settings.kafka.group, enable_auto_commit=False
    )
    try:
        consumer.commit({part: OffsetAndMetadata(0, "", -1) for part in inputs(site)})
    finally:
        consumer.close()


def claim(site: Site) -> None:
    """Of somebody who lost his partitions again before he had written what he adopted."""
    producer: Any = KafkaProducer(bootstrap_servers=site.settings.kafka.bootstrap_servers.split(","))
    try:
        for part in inputs(site):
            name = key(CLAIM, Owner(1, 1, "aa"))
            producer.send(site.topology.state_topic(part.topic), pack(Claim()), name.encode(), partition=part.partition)
        producer.flush()
    finally:
        producer.close()


def test_a_claim_without_state_is_taken_over(site: Site) -> None:
    """A rebalance in the middle of the first take-over leaves a claim, and an offset that was committed to prove membership."""
    claim(site)
    commit(site)
    records = as_records(WEEK, site.settings)[:FEW]
    feed = Feed(site.settings.kafka.bootstrap_servers, PARTITIONS, records, 1.0, site.settings.kafka.input_topics)
    worker = site.start()
    try:
        feed.start()
        feed.finish()
        for _ in range(LOOKS):
            if not worker.alive or site.done():
                break
            wait(LOOK_SECONDS)
    finally:
        feed.stop()
    assert worker.alive, worker.log()[-3000:]
    assert "no state stands behind the claim" in worker.log()
    assert site.database.query("SELECT uniqExact(topic, partition) FROM {db}.sink_ranges WHERE topic LIKE '%logs.%'")[0][0] == len(
        inputs(site)
    )


def test_a_session_that_ends_in_a_take_over_does_not_end_the_worker(servers: Settings, tmp_path: Path) -> None:
    """A machine that stands still for longer than the session: the group forgets the worker, which joins it again."""
    with Site(servers, WEEK, tmp_path / "site", {"kafka": {"session_timeout_seconds": 6.0}}) as site:
        first = site.start()
        reached(first, lambda: first.take_overs() > 0)
        first.signal(signal.SIGTERM)
        assert first.wait(PATIENCE_SECONDS) == 0
        worker = site.start(at="assigned", signal=signal.SIGSTOP)
        reached(worker, lambda: worker.frozen)
        wait(9.0)
        worker.signal(signal.SIGCONT)
        reached(worker, lambda: not worker.alive or worker.take_overs() > 0)
        assert worker.alive, worker.log()[-3000:]


def reached(worker: Process, there: Callable[[], bool]) -> None:
    """Wait for it, and fail when it does not come."""
    for _ in range(LOOKS):
        if there():
            return
        wait(LOOK_SECONDS)
    raise AssertionError(worker.log()[-3000:])


def test_offsets_without_any_state_are_refused_by_every_worker(site: Site) -> None:
    """The state topics were lost: to begin anew silently would lose what is between; the second worker must not do so either."""
    commit(site)
    for _ in range(2):
        worker = site.start()
        assert worker.wait(PATIENCE_SECONDS) == 1
        assert "there is no state" in worker.log()


@pytest.mark.parametrize(
    ("name", "value"),
    [(b"\xff\xfe", b"{}"), (b"a tool's own key", b"{}"), (b"meta/1-1-aa", b"\x93\x63\x01\x01"), (b"delta/1-1-aa/1", b"\xc1")],
    ids=["no text", "no key of ours", "another version", "no record"],
)
def test_a_record_of_state_that_cannot_be_read_is_named(site: Site, name: bytes, value: bytes) -> None:
    """Whoever wrote it: nothing is folded before somebody has looked at it."""
    claim(site)
    topic = site.topology.state_topic(site.settings.kafka.access_topics[0])
    producer: Any = KafkaProducer(bootstrap_servers=site.settings.kafka.bootstrap_servers.split(","))
    try:
        at = producer.send(topic, value, name, partition=1).get(PATIENCE_SECONDS)
    finally:
        producer.close()
    worker = site.start()
    assert worker.wait(PATIENCE_SECONDS) == 1
    log = worker.log()
    assert f"{topic}/1@{at.offset}" in log
    assert "what to do: " in log
    assert not site.folded()


def test_a_worker_does_not_join_workers_that_speak_otherwise(site: Site) -> None:
    """The broker refuses it, it says what to do, and the other one goes on; when that has left, the worker has the partitions."""
    older: Any = KafkaConsumer(
        bootstrap_servers=site.settings.kafka.bootstrap_servers.split(","),
        group_id=site.settings.kafka.group,
        partition_assignment_strategy=[RoundRobinPartitionAssignor],  # as workers of before `FACTS` go by
        enable_auto_commit=False,
    )
    try:
        group = Group(older, site.settings.kafka.input_topics)
        for _ in range(LOOKS):
            group.poll(0.2)
            if older.assignment():
                break
        worker = site.start()
        assert worker.wait(PATIENCE_SECONDS) == 1
        assert "an incompatible release" in worker.log()
        assert "Stop all workers of the other one" in worker.log()
        assert older.assignment() == set(inputs(site))
    finally:
        older.close()  # leaves at once; a worker's place is kept until its session has passed
    worker = site.start()
    for _ in range(LOOKS):
        if worker.take_overs():
            break
        wait(LOOK_SECONDS)
    assert worker.take_overs(), worker.log()[-3000:]


def test_offsets_of_topics_that_a_client_does_not_know_take_no_try_each(site: Site) -> None:
    """A client whose pause between two tries is longer than any patience has the answer all the same."""
    sources = [Source(*part) for part in inputs(site)]

    async def asked() -> tuple[Mapping[Source, int], Mapping[Source, int]]:
        servers = site.settings.kafka.bootstrap_servers
        client = AIOKafkaConsumer(bootstrap_servers=servers, enable_auto_commit=False, retry_backoff_ms=round(2000 * PATIENCE_SECONDS))
        await client.start()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await bounds_of(client, sources)
        finally:
            await client.stop()

    first, end = asyncio.run(asked())
    assert first == end == dict.fromkeys(sources, 0)
