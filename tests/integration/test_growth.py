"""Topics that grow, on real servers: an input does, with its state, and loses nothing; facts do not, and workers say so."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewPartitions

from pipeline.errors import ConfigError
from pipeline.runtime.admin import Admin
from pipeline.runtime.state_backup import require_no_worker
from pipeline.settings import Settings
from tests.integration import site as sites
from tests.integration.site import Site, open_site

pytestmark = pytest.mark.servers

GROWN = 3


@pytest.fixture
def site(servers: Settings, tmp_path: Path) -> Iterator[Site]:
    with open_site(servers, tmp_path, kafka={"session_timeout_seconds": 6}) as site:
        yield site


def grow(site: Site, *topics: str) -> None:
    """`kafka-topics.sh --alter --partitions 3`, when the sessions of stopped workers are over: who comes back under his name before that
    gets what he had, and nobody the new partitions."""
    require_no_worker(site.settings.kafka)
    with closing(KafkaAdminClient(bootstrap_servers=site.settings.kafka.bootstrap_servers)) as admin:
        admin.create_partitions({topic: NewPartitions(GROWN) for topic in topics})
    site.until(lambda: dict.fromkeys(topics, GROWN).items() <= counts(site).items(), "more partitions")


def counts(site: Site) -> dict[str, int]:
    with Admin(site.settings, site._topology) as admin:
        return {topic.name: topic.partitions for topic in admin.describe()}


def test_inputs_grow_with_their_state_and_facts_do_not(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old and new partitions are read, each record is there once, and no case has lost anything; cases are never parted."""
    site.send(200)
    worker = site.start(instance="")
    site.until(site.done, "the end of the input")
    assert site.stop(worker) == 0, site.log()
    grow(site, *site.topics)
    with Admin(site.settings, site._topology) as admin, pytest.raises(ConfigError, match="has 2 partitions; what it is the state of has 3"):
        admin.check()
    grow(site, *map(site._topology.state_topic, site.topics))
    monkeypatch.setattr(sites, "PARTITIONS", GROWN)  # records are sent to all of them, by a shipper that knows
    site._producer = KafkaProducer(bootstrap_servers=site.settings.kafka.bootstrap_servers, linger_ms=5)
    site.send(300)
    assert {partition for _, partition in site.truth} == set(range(GROWN))
    site.end_channels()
    worker = site.start(instance="")
    site.until(site.done, "the end of the input")
    site.until(lambda: not site.missing_verdicts(), "the verdicts")
    assert site.stop(worker) == 0, site.log()
    site.check_rows()
    site.check_dead_letters()
    site.check_cases()
    site.check_verdicts()

    facts = site._topology.facts_topic("counts")
    grow(site, facts, site._topology.state_topic(facts))
    worker = site.start(instance="")
    assert worker.wait(60) == 1
    assert "its cases belong to other partitions" in site.log()
