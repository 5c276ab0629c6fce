"""The topics of a topology on the broker: which there should be, which there are, and making those that are missing.

Inputs belong to the site: they are made only when missing, and their partition counts are taken as they are.  A state topic has its
input's count.  Existing topics are never altered, only checked, since a wrong count or cleanup policy is for an operator to decide.
"""

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Self

import msgspec
from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from kafka.errors import InvalidReplicationFactorError, TopicAlreadyExistsError

from pipeline.errors import ConfigError
from pipeline.model.instants import DAY_MS
from pipeline.runtime.access import absent, answering, client
from pipeline.settings import KafkaSettings, Settings
from pipeline.topology import Topology

COMPACTION_LAG_MS = 60_000  # a frozen owner may overwrite its meta: the good one must outlive the next owner's copy
STATE_SEGMENT_BYTES = 16 << 20  # only closed segments are compacted
STATE_SEGMENT_MS = 600_000
APPEARS_SECONDS = 15.0
UNFENCED_SECONDS = 30.0
DEAD_LETTER = "dead-letter"
# Incidents as long as their state (retention.incident_days), which says nothing of one while there is no news of it.
RETENTION_DAYS = {"enriched": 7, "verdicts": 90, "findings": 90, "incidents": 180, "evidence": 730, DEAD_LETTER: 30}
FACTS_RETENTION_DAYS = 7
LABELS = "labels"  # what others say of findings; read by `trainwatch label --from-topic`
LABELS_RETENTION_DAYS = 90


class Topic(msgspec.Struct, frozen=True):
    """A topic as it should be.  `partitions` 0: as it is."""

    name: str
    role: str  # input | facts | public | labels | state
    partitions: int
    config: dict[str, str] = {}


class TopicStatus(msgspec.Struct, frozen=True):
    """A topic as found."""

    name: str
    role: str
    partitions: int  # 0: it does not exist
    wanted: int


def plan(settings: KafkaSettings, topology: Topology, existing: Mapping[str, int]) -> list[Topic]:
    """All topics of the topology, in data order; state topics last.  `existing`: partition counts by name."""
    stages = topology.stages
    facts = {topology.facts_topic(stage) for each in stages for stage in each.tells}
    facts |= {topic for stage in stages if stage.takes == "facts" for topic in stage.reads}
    public = {topology.public_topic(content): days for content, days in RETENTION_DAYS.items()}
    read = [topic for stage in stages for topic in stage.reads]
    topics = [Topic(name, "input", 0) for name in read if name not in facts and name not in public]
    told = {**_deleted(FACTS_RETENTION_DAYS), "message.timestamp.type": "LogAppendTime"}
    topics += [Topic(name, "facts", 0, told) for name in sorted(facts)]
    topics += [Topic(name, "public", 0, _deleted(days)) for name, days in public.items()]
    topics += [
        Topic(topology.public_topic(LABELS), LABELS, 0, {**_deleted(LABELS_RETENTION_DAYS), "message.timestamp.type": "LogAppendTime"})
    ]
    topics = [msgspec.structs.replace(topic, partitions=existing.get(topic.name, settings.partitions)) for topic in topics]
    counts = {topic.name: topic.partitions for topic in topics}
    state = {
        "cleanup.policy": "compact",
        "min.compaction.lag.ms": str(COMPACTION_LAG_MS),
        "segment.bytes": str(STATE_SEGMENT_BYTES),
        "segment.ms": str(STATE_SEGMENT_MS),
    }
    return topics + [Topic(topology.state_topic(name), "state", counts[name], state) for name in read]


def _deleted(days: int) -> dict[str, str]:
    return {"cleanup.policy": "delete", "retention.ms": str(days * DAY_MS)}


class Admin:
    """A connection for topic work.  Use as a context manager.  Raises BrokerUnavailable or ConfigError."""

    def __init__(self, settings: Settings, topology: Topology) -> None:
        self._kafka, self._topology = settings.kafka, topology
        self._client = client(KafkaAdminClient, settings.kafka, client_id="trainwatch-admin")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def ensure(self) -> list[str]:
        """Make what is missing, then check.  Returns the names of topics made.  Raises ConfigError when an existing one does not fit."""
        wanted = plan(self._kafka, self._topology, self._partitions())
        existing = self._partitions()
        missing = [topic for topic in wanted if topic.name not in existing]
        self._create(missing)
        self._await(missing)
        self.check()
        return [topic.name for topic in missing]

    def check(self) -> None:
        """Raises ConfigError when a topic is missing or has another partition count than it must have; no worker needs that of labels."""
        for status in self.describe():
            if status.role == LABELS:
                continue
            if status.partitions == 0:
                raise absent(self._kafka, status.name)
            if status.partitions != status.wanted:
                raise ConfigError(
                    f"the topic {status.name} has {status.partitions} partitions, and the topic whose state it holds has {status.wanted}",
                    advice="A topic has grown; its state grows with it, unless it holds facts: see deploy/runbooks/partition-growth.md.",
                )

    def describe(self) -> list[TopicStatus]:
        """All topics as they are, in data order."""
        existing = self._partitions()
        return [
            TopicStatus(topic.name, topic.role, existing.get(topic.name, 0), topic.partitions)
            for topic in plan(self._kafka, self._topology, existing)
        ]

    def _create(self, topics: Iterable[Topic]) -> None:
        for topic in topics:
            new = NewTopic(topic.name, topic.partitions, self._kafka.replication_factor, topic_configs=topic.config)
            # Another worker may be quicker; `check` looks at what it made.
            with answering(self._kafka, f"cannot create {topic.name}"), suppress(TopicAlreadyExistsError):
                create(self._client, new)

    def _await(self, topics: Iterable[Topic]) -> None:
        """A broker tells of a new topic a moment after it has agreed to make it."""
        deadline = time.monotonic() + APPEARS_SECONDS
        missing = {topic.name for topic in topics}
        while missing - self._partitions().keys() and time.monotonic() < deadline:
            time.sleep(0.1)

    def _partitions(self) -> dict[str, int]:
        with answering(self._kafka, "cannot list topics"):
            found = self._client.describe_topics()
        return {_name(topic): len(topic["partitions"]) for topic in found}


def create(client: KafkaAdminClient, new: NewTopic, *, pause_seconds: float = 0.5) -> None:
    """Ask again while all brokers are fenced: one that was slow for a moment is, until its controller has heard of it again.

    Raises what the client raises, InvalidReplicationFactorError where there are too few brokers or they stay fenced.
    """
    deadline = time.monotonic() + UNFENCED_SECONDS
    while True:
        try:
            client.create_topics([new])
        except InvalidReplicationFactorError as error:
            if "fenced" not in str(error) or time.monotonic() >= deadline:
                raise
        else:
            return
        time.sleep(pause_seconds)


def _name(topic: Mapping[str, Any]) -> str:
    return str(topic.get("name") or topic.get("topic"))
