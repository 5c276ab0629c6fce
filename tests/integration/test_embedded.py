"""The embedded servers for real, in a folder of this module's own, since the tests kill them.

The tests of the first pair build on one another's servers, but each of them starts what it needs: `up` is a no-op or a repair.
"""

import os
import signal
import socket
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic

from pipeline.cli import main
from pipeline.embedded import kafka, ports, process, servers
from pipeline.embedded.files import Layout
from pipeline.embedded.servers import State
from pipeline.errors import ServerFailed
from pipeline.settings import ClickHouseSettings, EmbeddedSettings, KafkaSettings, Settings
from tests.conftest import watch

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def own(installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a pair of servers that tests may kill."""
    directory = tmp_path_factory.mktemp("embedded")
    settings = Settings(embedded=EmbeddedSettings(directory=directory, kafka_heap_mib=256))
    watch(directory)
    yield settings
    servers.down(settings, say=print)


def pids(settings: Settings) -> dict[str, int]:
    """Of both servers; fails when one was never started."""
    layout = Layout(settings.embedded.directory)
    notes = {name: process.read_note(layout.note(name)) for name in ("kafka", "clickhouse")}
    return {name: note.pid for name, note in notes.items() if note is not None}


def query(address: servers.Addresses, sql: str) -> str:
    url = f"http://{address.clickhouse_host}:{address.clickhouse_http_port}/?query={urllib.parse.quote(sql)}"
    with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=30) as answer:
        return str(answer.read().decode()).strip()


def test_a_second_up_changes_nothing(own: Settings) -> None:
    """Same processes, same addresses, and it says so."""
    first = servers.up(own, say=print)
    before = pids(own)
    told: list[str] = []
    assert servers.up(own, say=told.append) == first
    assert pids(own) == before
    assert [line.split(" (")[0] for line in told] == ["kafka: runs already", "clickhouse: runs already"]
    assert servers.status(own).all_running


def test_data_and_addresses_survive_kill_9(own: Settings) -> None:
    """Both servers die at once with data just written; the next `up` finds everything."""
    addresses = servers.up(own, say=print)
    record = b"x" * 6_000_000
    admin = KafkaAdminClient(bootstrap_servers=addresses.kafka)
    admin.create_topics([NewTopic("survivor", 1, 1)])
    admin.close()
    producer = KafkaProducer(bootstrap_servers=addresses.kafka, max_request_size=7_000_000)
    producer.send("survivor", b"before").get(30)
    producer.send("survivor", record).get(30)
    producer.close()
    query(addresses, "CREATE DATABASE d")
    query(addresses, "CREATE TABLE d.t (n UInt64) ENGINE = MergeTree ORDER BY n")
    query(addresses, "INSERT INTO d.t SELECT number FROM numbers(1000)")

    for pid in pids(own).values():
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while {servers.status(own).kafka.state, servers.status(own).clickhouse.state} != {State.STALE}:
        assert time.monotonic() < deadline
    with pytest.raises(ServerFailed, match="does not run"):
        servers.connected(own)

    assert servers.up(own, say=print) == addresses
    assert query(addresses, "SELECT count() FROM d.t") == "1000"
    consumer = KafkaConsumer("survivor", bootstrap_servers=addresses.kafka, auto_offset_reset="earliest", consumer_timeout_ms=20_000)
    assert [next(consumer).value for _ in range(2)] == [b"before", record]
    consumer.close()


def test_a_topic_nobody_made_is_not_made_by_asking(own: Settings) -> None:
    """A typo in a topic name must not create it."""
    addresses = servers.up(own, say=print)
    admin = KafkaAdminClient(bootstrap_servers=addresses.kafka)
    admin.describe_topics(["no.such.topic"])
    assert "no.such.topic" not in admin.list_topics()
    admin.close()


def test_nothing_listens_beyond_the_loopback_address(own: Settings) -> None:
    """No password guards these ports."""
    servers.up(own, say=print)
    for pid in pids(own).values():
        listening = {c.laddr.ip for c in psutil.Process(pid).net_connections(kind="inet") if c.status == psutil.CONN_LISTEN}
        assert listening <= {"127.0.0.1", "::ffff:127.0.0.1"}
        assert listening


def test_servers_that_settings_name_are_checked_and_never_started(own: Settings, tmp_path: Path) -> None:
    """Here they are the embedded pair, named as if they were far away."""
    addresses = servers.up(own, say=print)
    settings = Settings(
        kafka=KafkaSettings(bootstrap_servers=addresses.kafka),
        clickhouse=ClickHouseSettings(host=addresses.clickhouse_host, port=addresses.clickhouse_port),
        embedded=EmbeddedSettings(directory=tmp_path / "unused"),
    )
    told: list[str] = []
    servers.up(settings, say=told.append)
    assert all("nothing to start" in line for line in told)
    found = servers.status(settings)
    assert (found.kafka.state, found.clickhouse.state) == (State.EXTERNAL_OK, State.EXTERNAL_OK)
    assert found.all_running
    servers.down(settings, say=print)
    assert servers.status(own).all_running
    assert not (tmp_path / "unused").exists()


def test_a_named_server_that_does_not_answer_is_an_error(tmp_path: Path) -> None:
    """Nothing is started in its stead."""
    closed = ports.choose("none", configured=0, remembered=None)
    settings = Settings(
        kafka=KafkaSettings(bootstrap_servers=f"127.0.0.1:{closed}"),
        clickhouse=ClickHouseSettings(host="127.0.0.1", port=closed),
        embedded=EmbeddedSettings(directory=tmp_path / "unused"),
    )
    with pytest.raises(ServerFailed, match=str(closed)) as caught:
        servers.up(settings, say=print)
    assert "kafka.bootstrap_servers" in caught.value.advice
    found = servers.status(settings)
    assert (found.kafka.state, found.clickhouse.state) == (State.EXTERNAL_UNREACHABLE, State.EXTERNAL_UNREACHABLE)
    assert not (tmp_path / "unused").exists()


def test_a_server_of_another_kind_is_not_taken_for_the_right_one(own: Settings) -> None:
    """Addresses swapped in the settings."""
    addresses = servers.up(own, say=print)
    assert kafka.brokers(addresses.clickhouse_host, addresses.clickhouse_port, timeout_seconds=2) == 0
    swapped = Settings(clickhouse=ClickHouseSettings(host="127.0.0.1", port=addresses.clickhouse_http_port))
    assert servers.status(swapped).clickhouse.state is State.EXTERNAL_UNREACHABLE


def test_a_configured_port_in_use_fails_with_its_number_and_setting(installed: None, tmp_path: Path) -> None:
    """Exit 1, and the other server is not blamed."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        busy = listener.getsockname()[1]
        file = tmp_path / "trainwatch.yaml"
        file.write_text(f"embedded: {{directory: {tmp_path / 'servers'}, kafka_port: {busy}}}\n")
        done = CliRunner().invoke(main, ["--settings", str(file), "up"])
    assert done.exit_code == 1
    assert f"port {busy} on 127.0.0.1 is already in use (setting embedded.kafka_port)" in done.stderr
    assert servers.status(Settings(embedded=EmbeddedSettings(directory=tmp_path / "servers"))).kafka.state is State.STOPPED


def test_a_server_that_ends_at_its_start_is_told_with_its_log(installed: None, tmp_path: Path) -> None:
    """Here: a data folder that is not Kafka's."""
    data = tmp_path / "kafka" / "data"
    data.mkdir(parents=True)
    (data / "meta.properties").write_text("version=1\ncluster.id=other\nnode.id=99\n")
    with pytest.raises(ServerFailed, match="ended at its start") as caught:
        servers.up(Settings(embedded=EmbeddedSettings(directory=tmp_path, kafka_heap_mib=256)), say=print)
    assert "node" in str(caught.value)
    assert str(tmp_path / "logs") in caught.value.advice
    servers.down(Settings(embedded=EmbeddedSettings(directory=tmp_path)), say=print)


def test_down_ends_its_own_servers_and_no_others(own: Settings, tmp_path: Path) -> None:
    """A second pair on the same machine goes on; ports come back with the next `up`."""
    addresses = servers.up(own, say=print)
    other = Settings(
        kafka=KafkaSettings(bootstrap_servers=addresses.kafka),
        embedded=EmbeddedSettings(directory=tmp_path),
    )
    servers.up(other, say=print)
    servers.down(own, say=print)
    assert servers.status(own).kafka.state is State.STOPPED
    assert servers.status(other).clickhouse.state is State.RUNNING
    servers.down(other, say=print)
    assert servers.status(other).clickhouse.state is State.STOPPED
    assert servers.up(own, say=print) == addresses


def test_each_test_gets_names_of_its_own(servers: Settings) -> None:
    """The shared pair answers under the settings of the fixture."""
    assert servers.kafka.topic_prefix.startswith(servers.kafka.group)
    assert servers.clickhouse.database == servers.kafka.group
    host, _, port = servers.kafka.bootstrap_servers.partition(":")
    assert kafka.brokers(host, int(port)) == 1
