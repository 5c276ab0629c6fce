"""What the client of a group does not see by itself: a topic that is gone or made again, brokers that are elsewhere now."""

import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import GroupSubscribedToTopicError, TopicAlreadyExistsError

from pipeline.embedded import ports
from pipeline.embedded import servers as embedded
from pipeline.faults.proxy import Proxy
from pipeline.faults.servers import KAFKA, Servers
from pipeline.runtime.admin import Admin
from pipeline.runtime.app import EXIT_CRASHED
from pipeline.runtime.watchdog import EXIT_STUCK
from pipeline.settings import EmbeddedSettings, Settings
from tests.conftest import SERVERS_FOLDER, watch
from tests.integration import site as sites
from tests.integration.site import Site, open_site
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.servers

ENDS = (EXIT_CRASHED, EXIT_STUCK)  # the latter from the middle of a rebalance, or where nobody is there to take leave of
FETCH_SECONDS = 1.0  # longer than a fetch waits at the broker
AGAIN = "was made again, or lost its newest records"


@contextmanager
def administering(site: Site) -> Iterator[Any]:
    with closing(KafkaAdminClient(bootstrap_servers=site.settings.kafka.bootstrap_servers)) as admin:
        yield admin


def test_an_input_that_is_deleted_ends_the_worker(servers: Settings, tmp_path: Path) -> None:
    """What was read of it is to be committed, and the client tries that for ever: nothing of any topic would be read meanwhile."""
    with open_site(servers, tmp_path, checkpoint={"interval_seconds": 60.0}) as site:
        worker = site.start()
        site.until(lambda: "taken over: " in site.log(), "the take-over")
        site.send(200)
        site.until(lambda: sum(map(len, site.folded())) == 200, "the input")
        with administering(site) as admin:
            admin.delete_topics([site.topics[0]])
        assert worker.wait(PATIENCE_SECONDS) in ENDS
        assert f"the topic {site.topics[0]} does not exist" in site.log()


@pytest.mark.parametrize("records", [40, 1000], ids=["shorter", "longer"])
def test_an_input_that_is_made_again_ends_the_worker(servers: Settings, tmp_path: Path, records: int) -> None:
    """It begins at 0 again, so its records would be taken for ones that were read, or passed over up to where the one before ended."""
    with open_site(servers, tmp_path) as site:
        site.send(400)
        worker = site.start()
        site.until(site.done, "the end of the input")
        worker.send_signal(signal.SIGSTOP)  # the client must not see that it was away
        time.sleep(FETCH_SECONDS)
        make_again(site)
        site.send(records)
        worker.send_signal(signal.SIGCONT)
        assert worker.wait(PATIENCE_SECONDS) in ENDS
        assert AGAIN in site.log()


def test_an_input_that_was_made_again_and_has_outgrown_the_one_before_is_not_read(servers: Settings, tmp_path: Path) -> None:
    """No offset tells them apart: Kafka's id of the topic does."""
    with open_site(servers, tmp_path) as site:
        site.send(400)
        worker = site.start()
        site.until(site.done, "the end of the input")
        assert site.stop(worker) == 0, site.log()
        make_again(site)
        site.send(1000)
        worker = site.start()
        assert worker.wait(PATIENCE_SECONDS) == EXIT_CRASHED
        assert AGAIN in site.log()


def test_after_an_input_was_made_again_the_advice_helps(servers: Settings, tmp_path: Path) -> None:
    """Without state and offsets of the one before, the new one is read from its start, and all others from where they were.

    A worker that runs meanwhile commits the old offsets for the new topic, so that the state alone is not enough.
    """
    with open_site(servers, tmp_path, kafka={"session_timeout_seconds": 6}) as site:
        site.send(400)
        worker = site.start()
        site.until(site.done, "the end of the input")
        make_again(site)
        for partition in range(sites.PARTITIONS):
            site.truth[site.topics[0], partition].clear()
        site.send(1000)
        assert worker.wait(PATIENCE_SECONDS) in ENDS
        assert AGAIN in site.log()
        with administering(site) as admin:
            admin.delete_topics([site._topology.state_topic(site.topics[0])])
            forget_offsets(admin, site)
        with Admin(site.settings, site._topology) as made:
            made.ensure()
        worker = site.start()
        site.until(site.done, "the end of the new input")
        assert site.stop(worker) == 0, site.log()


def forget_offsets(admin: Any, site: Site) -> None:
    """As soon as the broker has heard long enough of no member."""
    parts = [TopicPartition(site.topics[0], number) for number in range(sites.PARTITIONS)]
    deadline = time.monotonic() + PATIENCE_SECONDS
    while any(error is GroupSubscribedToTopicError for error in admin.delete_group_offsets(site.settings.kafka.group, parts).values()):
        assert time.monotonic() < deadline
        time.sleep(0.5)


def make_again(site: Site) -> None:
    topic = site.topics[0]
    with administering(site) as admin:
        admin.delete_topics([topic])
        make(admin, topic)


def make(admin: Any, topic: str) -> None:
    """As soon as the deletion is through."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            admin.create_topics([NewTopic(topic, sites.PARTITIONS, 1)])
        except TopicAlreadyExistsError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


@pytest.fixture
def movable(installed: None, tmp_path: Path) -> Iterator[Settings]:
    """Servers of which the broker may move."""
    directory = tmp_path / SERVERS_FOLDER
    settings = Settings(embedded=EmbeddedSettings(directory=directory, kafka_heap_mib=384, ready_timeout_seconds=PATIENCE_SECONDS))
    watch(directory)
    embedded.up(settings, say=print)
    yield settings
    embedded.down(settings, say=print)


def test_a_worker_ends_when_all_brokers_are_elsewhere(movable: Settings, tmp_path: Path) -> None:
    """A client knows the addresses that it was told last; the one in the settings, a name in front of them all, leads to the new ones."""
    settings = Servers(movable).settings
    proxy = Proxy(int(settings.kafka.bootstrap_servers.rpartition(":")[2]))
    address = f"127.0.0.1:{proxy.port}"
    named = settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"bootstrap_servers": address})})
    with closing(proxy), open_site(named, tmp_path) as site:
        site.send(200)
        worker = site.start()
        site.until(site.done, "the end of the input")
        port = ports.choose("", configured=0, remembered=None)
        moved = Servers(movable.model_copy(update={"embedded": movable.embedded.model_copy(update={"kafka_port": port})}))
        moved.end(KAFKA, signal.SIGTERM)
        proxy.target(port)
        moved.up()
        site._producer.close(timeout=0)
        assert worker.wait(PATIENCE_SECONDS) in ENDS
        assert "other addresses" in site.log()
        site._producer = KafkaProducer(bootstrap_servers=address, linger_ms=5)
        site.send(200)
        worker = site.start()
        site.until(site.done, "the end of the input")
        assert site.stop(worker) == 0, site.log()
