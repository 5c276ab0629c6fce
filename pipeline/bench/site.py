"""Servers to measure on, and names of our own on them: topics that are filled once, and for every run a fresh group, prefix and database.

Servers are those of the settings, else the embedded ones that run, else a pair that is started for this and ended with it.  All that
is made is removed at the end.

    open_site ──► preload: input topics, filled, shared by all runs ──► run 1: own group, state, facts, tables ──► removed
                                                                    └─► run 2 ...
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import KafkaError, UnknownTopicOrPartitionError

from pipeline.embedded import servers
from pipeline.errors import BrokerUnavailable, ServerFailed
from pipeline.model.outcome import Record
from pipeline.runtime import replay
from pipeline.runtime.admin import Admin
from pipeline.runtime.consuming import ends_of
from pipeline.settings import Settings
from pipeline.sink import copied
from pipeline.sink.clickhouse import Database
from pipeline.topology import Topology

Say = Callable[[str], None]
PARTITIONS = 4
SESSION_SECONDS = 30.0
APPEARS_SECONDS = 15.0
DROPPED_SECONDS = 600.0


class Site:
    """An open site.  Use `open_site`."""

    def __init__(self, settings: Settings, say: Say, folder: Path, *, warms_up: bool = True) -> None:
        self.settings, self.say, self.folder, self.warms_up = settings, say, folder, warms_up
        self.name = f"bench{os.getpid()}x{time.time_ns() // 1_000_000 % 10**9}"
        self._runs = 0
        servers_ = settings.kafka.bootstrap_servers.split(",")
        try:
            self._admin: Any = KafkaAdminClient(bootstrap_servers=servers_, client_id="trainwatch-bench")
            self._reader: Any = KafkaConsumer(bootstrap_servers=servers_, enable_auto_commit=False)
        except KafkaError as error:
            raise BrokerUnavailable(f"{settings.kafka.bootstrap_servers}: {error!r}") from error

    def close(self) -> None:
        """Remove what was made."""
        self.remove(self.name)
        self._reader.close()
        self._admin.close()

    def remove(self, prefix: str) -> None:
        """Topics and databases whose names begin so."""
        for topic in self._made(prefix):
            with suppress(UnknownTopicOrPartitionError):  # on its way out already
                self._admin.delete_topics([topic])
        self._await(lambda: not self._made(prefix))
        # Nothing is heard until all files are gone.
        patient = self.settings.clickhouse.model_copy(update={"timeout_seconds": DROPPED_SECONDS})
        with Database(patient) as database:
            for (found,) in database.query("SELECT name FROM system.databases WHERE startsWith(name, %(prefix)s)", {"prefix": prefix}):
                database.command(f"DROP DATABASE {found} SYNC")

    def _made(self, prefix: str) -> list[str]:
        return [str(name) for name in self._admin.list_topics() if str(name).startswith(prefix)]

    def _await(self, seen: Callable[[], bool]) -> None:
        """A broker tells of what it has agreed to a moment later."""
        deadline = time.monotonic() + APPEARS_SECONDS
        while not seen() and time.monotonic() < deadline:
            time.sleep(0.05)

    # --- loads

    def create(self, topics: Iterable[str], partitions: int = PARTITIONS) -> None:
        """Make topics and wait until the broker tells of them."""
        names = set(topics)
        self._admin.create_topics([NewTopic(name, partitions, 1) for name in sorted(names)])
        self._await(lambda: names <= set(self._admin.list_topics()))

    def preload(self, topics: Sequence[str], records: Iterable[Record], *, final: bool = False) -> None:
        """Make the topics and send the records, whose topics are among them."""
        self.create(topics)
        self.send(topics, records, final=final)

    def send(self, topics: Sequence[str], records: Iterable[Record], *, final: bool = False) -> replay.Sent:
        """Send records to topics that exist."""
        return replay.send(self.sending(topics), records, final=final)

    def sending(self, topics: Sequence[str]) -> Settings:
        """Settings of which the topics are the inputs."""
        inputs = {"access_topics": tuple(topics), "training_topics": (), "scheduler_topics": ()}
        return self.settings.model_copy(update={"kafka": self.settings.kafka.model_copy(update=inputs)})

    def ends(self, topics: Iterable[str]) -> dict[tuple[str, int], int]:
        """End offsets."""
        pairs = [TopicPartition(topic, number) for topic in topics for number in self._reader.partitions_for_topic(topic) or ()]
        return {(pair.topic, pair.partition): end for pair, end in ends_of(self._reader, pairs).items()}

    def committed(self, group: str, ends: Mapping[tuple[str, int], int]) -> bool:
        """Has the group committed up to these ends?"""
        try:
            found = self._admin.list_group_offsets(group).get(group, {})
        except KafkaError:  # its coordinator is not there yet
            return False
        offsets = {(pair.topic, pair.partition): offset.offset for pair, offset in found.items()}
        return all(offsets.get(pair, 0) >= end for pair, end in ends.items())

    def read(self, topic: str) -> Iterator[Any]:
        """All records of a topic."""
        pairs = [TopicPartition(topic, number) for number in sorted(self._reader.partitions_for_topic(topic) or ())]
        self._reader.assign(pairs)
        self._reader.seek_to_beginning(*pairs)
        ends = ends_of(self._reader, pairs)
        while any(self._reader.position(pair) < end for pair, end in ends.items()):
            for records in self._reader.poll(timeout_ms=500).values():
                yield from records

    # --- runs

    def settings_of_run(self, content: Mapping[str, Any], inputs: Mapping[str, tuple[str, ...]], **sections: Mapping[str, Any]) -> Settings:
        """Settings with names of their own for one run; `content` is the operator's part, `sections` are added to ours."""
        self._runs += 1
        name = f"{self.name}r{self._runs}"
        kafka = {
            **self.settings.kafka.model_dump(),
            "group": name,
            "topic_prefix": f"{name}.",
            "partitions": PARTITIONS,
            "session_timeout_seconds": SESSION_SECONDS,
            "training_topics": (),
            "scheduler_topics": (),
            "access_topics": (),
            **inputs,
        }
        clickhouse = {**self.settings.clickhouse.model_dump(), "database": name}
        worker = {"instance_id": "", "health_port": 0}
        own = {"kafka": kafka, "clickhouse": clickhouse, "worker": worker}
        merged = {section: {**own.get(section, {}), **sections.get(section, {})} for section in {*own, *sections}}
        return Settings.model_validate({**content, **merged})

    def prepare(self, settings: Settings, topology: Topology | None) -> None:
        """Tables and topics of one run."""
        with Database(settings.clickhouse) as database:
            copied.make(database)
        if topology is not None:
            with Admin(settings, topology) as admin:
                admin.ensure()


@contextmanager
def open_site(settings: Settings, say: Say, *, warms_up: bool = True) -> Iterator[Site]:
    """A site on the servers of the settings, on the embedded ones that run, or on a pair of its own."""
    with tempfile.TemporaryDirectory(prefix="trainwatch-bench-") as folder:
        own = None
        try:
            connected = servers.connected(settings)
        except ServerFailed:
            ports = {"kafka_port": 0, "clickhouse_port": 0, "clickhouse_http_port": 0}
            embedded = settings.embedded.model_copy(update={"directory": Path(folder) / "servers", **ports})
            own = settings.model_copy(update={"embedded": embedded})
        try:
            if own is not None:
                servers.up(own, say=say)
                connected = servers.connected(own)
            site = Site(connected, say, Path(folder), warms_up=warms_up)
            try:
                yield site
            finally:
                site.close()
        finally:
            if own is not None:
                servers.down(own, say=say)
