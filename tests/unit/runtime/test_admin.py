"""Which topics a site needs, by name, count and policy."""

import pytest
from kafka.admin import NewTopic
from kafka.errors import InvalidReplicationFactorError

from pipeline.runtime.admin import COMPACTION_LAG_MS, RETENTION_DAYS, create, plan
from pipeline.settings import KafkaSettings, Settings
from pipeline.topology import build_topology

TOPOLOGY = build_topology(Settings())


def test_every_topic_of_the_topology_is_planned() -> None:
    """Inputs, facts, public topics, and one state topic for each topic that is read."""
    topics = plan(KafkaSettings(partitions=6), TOPOLOGY, {})
    names = [topic.name for topic in topics]
    assert len(names) == len(set(names))
    read = {topic for stage in TOPOLOGY.stages for topic in stage.reads}
    assert read | {TOPOLOGY.state_topic(topic) for topic in read} | {TOPOLOGY.public_topic("dead-letter")} <= set(names)
    assert {topic.partitions for topic in topics} == {6}


def test_state_follows_the_partitions_of_its_input() -> None:
    """An input that exists keeps its count, and its state has the same."""
    counts = {topic.name: topic.partitions for topic in plan(KafkaSettings(partitions=4), TOPOLOGY, {"logs.access": 32})}
    assert counts["logs.access"] == 32
    assert counts[TOPOLOGY.state_topic("logs.access")] == 32
    assert counts[TOPOLOGY.state_topic("logs.training")] == 4


@pytest.mark.parametrize(("role", "policy"), [("input", None), ("facts", "delete"), ("public", "delete"), ("state", "compact")])
def test_policies(role: str, policy: str | None) -> None:
    """Inputs are the site's; only state is compacted, and late enough for a frozen owner."""
    for topic in plan(KafkaSettings(), TOPOLOGY, {}):
        if topic.role == role:
            assert topic.config.get("cleanup.policy") == policy
            if role == "state":
                assert int(topic.config["min.compaction.lag.ms"]) >= COMPACTION_LAG_MS >= 60_000
            if role == "facts":
                assert topic.config["message.timestamp.type"] == "LogAppendTime"


def test_an_incident_without_news_stays_on_its_topic() -> None:
    """As long as it is remembered: until then nothing says it again."""
    assert RETENTION_DAYS["incidents"] >= Settings().retention.incident_days


class Answers:
    """What a client of Kafka raises, one after the other; then it makes the topic."""

    def __init__(self, *said: str) -> None:
        self.left, self.made = list(said), list[str]()

    def create_topics(self, topics: list[NewTopic]) -> None:
        """Of the client."""
        if self.left:
            raise InvalidReplicationFactorError(self.left.pop(0))
        self.made += [topic.name for topic in topics]


def test_a_broker_that_is_fenced_for_a_moment_is_asked_again() -> None:
    """Its controller had not heard of it in time; a broker that is not there is no reason to wait."""
    fenced = "Unable to replicate the partition 1 time(s): All brokers are currently fenced."
    client = Answers(fenced, fenced)
    create(client, NewTopic("a", 1, 1), pause_seconds=0)
    assert client.made == ["a"]
    few = Answers("The target replication factor of 3 cannot be reached because only 1 broker(s) are registered.")
    with pytest.raises(InvalidReplicationFactorError):
        create(few, NewTopic("a", 1, 3), pause_seconds=0)
