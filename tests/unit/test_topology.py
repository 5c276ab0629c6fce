"""The map: stages in data order, topics that fit together, and a path without cycles."""

import pytest

from pipeline.settings import KafkaSettings
from pipeline.topology import build_topology
from tests import build

TOPOLOGY = build_topology(build.settings())
ORDER = ["ingest", "hosts", "artefacts", "identities", "jobs", "cohorts", "incidents", "sink"]


def test_stages_stand_in_data_order() -> None:
    """It reads as the drawing does."""
    assert [stage.name for stage in TOPOLOGY.stages] == ORDER


def test_facts_go_forwards_only() -> None:
    """One direction, no cycles: who tells stands before who is told."""
    for stage in TOPOLOGY.stages:
        assert all(ORDER.index(told) > ORDER.index(stage.name) for told in stage.tells)


def test_a_keyed_stage_waits_for_all_who_tell_it() -> None:
    """Its watermark is the minimum over the input topics and the fact topics of the stages that tell it, and over nothing else."""
    for stage in TOPOLOGY.stages:
        if stage.takes == "facts":
            tellers = [each for each in TOPOLOGY.stages if stage.name in each.tells]
            assert set(stage.upstream) == {topic for each in tellers for topic in each.reads}


def test_each_topic_is_read_by_one_stage() -> None:
    """A partition has one owner of its state."""
    read = [topic for stage in TOPOLOGY.stages for topic in stage.reads]
    assert len(read) == len(set(read))
    assert all(TOPOLOGY.stage_of(topic).reads.count(topic) == 1 for topic in read)


def test_topics_are_named_after_what_they_hold() -> None:
    """As operators know them."""
    assert TOPOLOGY.facts_topic("hosts") == "trainwatch.facts.host.v1"
    assert TOPOLOGY.facts_topic("identities") == "trainwatch.facts.identity.v1"
    assert TOPOLOGY.public_topic("dead-letter") == "trainwatch.dead-letter.v1"
    assert TOPOLOGY.state_topic("trainwatch.facts.job.v1") == "trainwatch.state.facts.job.v1.v1"
    assert TOPOLOGY.state_topic("logs.access") == "trainwatch.state.logs.access.v1"


def test_no_two_topics_share_a_state_topic() -> None:
    """Nor is a state topic one that is read."""
    read = [topic for stage in TOPOLOGY.stages for topic in stage.reads]
    states = {TOPOLOGY.state_topic(topic) for topic in read}
    assert len(states) == len(read)
    assert states.isdisjoint(read)


@pytest.mark.parametrize("prefix", ["site-a.", "x."])
def test_the_prefix_is_a_setting(prefix: str) -> None:
    """All topics that trainwatch makes carry it; the inputs are the site's own."""
    topology = build_topology(build.settings(kafka=KafkaSettings(topic_prefix=prefix, access_topics=("audit", "sshd"))))
    assert topology.stages[0].reads == ("logs.training", "logs.scheduler", "audit", "sshd")
    assert all(topic.startswith(prefix) for stage in topology.stages[1:] for topic in stage.reads)
