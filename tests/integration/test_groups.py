"""A consumer group of kafka-python on a real broker."""

import time

import pytest

from pipeline.runtime.admin import Admin
from pipeline.runtime.consuming import Group, consumer
from pipeline.settings import Settings
from pipeline.topology import build_topology
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.servers


@pytest.mark.parametrize("poll_ms", [2, 5, 60])
def test_a_group_is_joined_however_short_the_polls_are(servers: Settings, poll_ms: int) -> None:
    """They end anywhere within the two joins of a start: the first comes before metadata, the second with it."""
    topology = build_topology(servers)
    topic = topology.public_topic("findings")
    with Admin(servers, topology) as admin:
        admin.ensure()
    with consumer(servers.kafka, group_id=servers.kafka.group, auto_offset_reset="earliest") as reader:
        group = Group(reader, [topic])
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not reader.assignment():
            assert time.monotonic() < deadline
            group.poll(poll_ms / 1000)
        assert group.joined
        assert {part.topic for part in reader.assignment()} == {topic}
