"""Topics that grow, on real servers: inputs do while workers run, behind their state, and lose nothing; else workers say why not."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewPartitions

from pipeline.errors import ConfigError
from pipeline.runtime.admin import Admin
from pipeline.settings import Settings
from tests.integration import site as sites
from tests.integration.site import Site, open_site
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.servers


@pytest.fixture
def site(servers: Settings, tmp_path: Path) -> Iterator[Site]:
    with open_site(servers, tmp_path, kafka={"session_timeout_seconds": 6}) as site:
        yield site


def grow(site: Site, count: int, *topics: str) -> None:
    """`kafka-topics.sh --alter --partitions COUNT`."""
    with closing(KafkaAdminClient(bootstrap_servers=site.settings.kafka.bootstrap_servers)) as admin:
        admin.create_partitions({topic: NewPartitions(count) for topic in topics})
    site.until(lambda: dict.fromkeys(topics, count).items() <= counts(site).items(), "more partitions")


def counts(site: Site) -> dict[str, int]:
    with Admin(site.settings, site._topology) as admin:
        return {topic.name: topic.partitions for topic in admin.describe()}


def send_to_all(site: Site, monkeypatch: pytest.MonkeyPatch, partitions: int) -> None:
    """Of a shipper that knows of them."""
    monkeypatch.setattr(sites, "PARTITIONS", partitions)
    site._producer.close()
    site._producer = KafkaProducer(bootstrap_servers=site.settings.kafka.bootstrap_servers, linger_ms=5)
    site.send(300)
    assert {partition for _, partition in site.truth} == set(range(partitions))


def test_inputs_grow_with_their_state_and_facts_do_not(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old and new partitions are read, each record is there once, and no case has lost anything; cases are never parted."""
    states = [site._topology.state_topic(topic) for topic in site.topics]
    site.send(200)
    worker = site.start()
    site.until(site.done, "the end of the input")
    grow(site, 3, *states)
    grow(site, 3, *site.topics)
    send_to_all(site, monkeypatch, 3)
    site.until(site.done, "the end of the input in new partitions")
    assert worker.poll() is None, site.log()

    grow(site, 4, *site.topics)
    assert worker.wait(PATIENCE_SECONDS) == 1
    assert "the topic has grown" in site.log()
    with (
        Admin(site.settings, site._topology) as admin,
        pytest.raises(ConfigError, match="has 3 partitions, and the topic whose state it holds has 4"),
    ):
        admin.check()
    grow(site, 4, *states)
    send_to_all(site, monkeypatch, 4)
    site.end_channels()
    worker = site.start()
    site.until(site.done, "the end of the input")
    site.until(lambda: not site.missing_verdicts(), "the verdicts")
    assert site.stop(worker) == 0, site.log()
    site.check_rows()
    site.check_dead_letters()
    site.check_cases()
    site.check_verdicts()

    facts = site._topology.facts_topic("counts")
    grow(site, 3, facts, site._topology.state_topic(facts))
    worker = site.start(instance="w2")
    assert worker.wait(PATIENCE_SECONDS) == 1
    assert "its cases belong to other partitions" in site.log()


def test_an_input_grows_behind_a_leader_that_came_back(servers: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under its name it is given what it had, and not told that it still leads the group: no client would look."""
    with open_site(servers, tmp_path, kafka={"session_timeout_seconds": 60}) as site:
        site.send(200)
        leader = site.start()
        site.until(site.done, "the end of the input")
        other = site.start(instance="w2")
        site.until(lambda: "partitions taken over" in site.log(), "two workers")
        assert site.stop(leader) == 0, site.log(0)
        grow(site, 3, *(site._topology.state_topic(topic) for topic in site.topics))
        grow(site, 3, *site.topics)
        leader = site.start()
        site.until(lambda: "partitions taken over" in site.log(), "the same generation again")
        send_to_all(site, monkeypatch, 3)
        site.until(site.done, "the end of the input in new partitions")
        assert [site.stop(worker) for worker in (leader, other)] == [0, 0], site.log()
        site.check_rows()
        site.check_cases()
