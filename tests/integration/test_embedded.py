"""The embedded servers for real, in a folder of this module's own, since the tests kill them.

The tests of the first pair build on one another's servers, but each of them starts what it needs: `up` is a no-op or a repair.
"""

import contextlib
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
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
from tests.conftest import ROOT, watch
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def own(installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a pair of servers that tests may kill."""
    directory = tmp_path_factory.mktemp("embedded")
    settings = Settings(embedded=EmbeddedSettings(directory=directory, kafka_heap_mib=256, ready_timeout_seconds=PATIENCE_SECONDS))
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
    with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=PATIENCE_SECONDS) as answer:
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
    producer.send("survivor", b"before").get(PATIENCE_SECONDS)
    producer.send("survivor", record).get(PATIENCE_SECONDS)
    producer.close()
    query(addresses, "CREATE DATABASE d")
    query(addresses, "CREATE TABLE d.t (n UInt64) ENGINE = MergeTree ORDER BY n")
    query(addresses, "INSERT INTO d.t SELECT number FROM numbers(1000)")

    for pid in pids(own).values():
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while {servers.status(own).kafka.state, servers.status(own).clickhouse.state} != {State.STALE}:
        assert time.monotonic() < deadline
    with pytest.raises(ServerFailed, match="does not run"):
        servers.connected(own)

    assert servers.up(own, say=print) == addresses
    assert query(addresses, "SELECT count() FROM d.t") == "1000"
    patience_ms = round(1000 * PATIENCE_SECONDS)
    consumer = KafkaConsumer("survivor", bootstrap_servers=addresses.kafka, auto_offset_reset="earliest", consumer_timeout_ms=patience_ms)
    assert [next(consumer).value for _ in range(2)] == [b"before", record]
    consumer.close()


def engine(settings: Settings) -> psutil.Process:
    """The process that holds ClickHouse's library: the child of the noted one."""
    (child,) = psutil.Process(pids(settings)["clickhouse"]).children()
    return child


def answering(addresses: servers.Addresses, sql: str) -> str:
    """The answer, once there is one."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return query(addresses, sql)
        except OSError:
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.1)


def client_hello() -> bytes:
    """What a TLS client says first."""
    wire = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), wire, server_hostname="database-1")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return wire.read()


def send_and_leave(address: servers.Addresses, port: int, said: bytes) -> None:
    """Say it, and then reset the connection in the midst of the answer, as a killed client does."""
    with socket.create_connection((address.clickhouse_host, port), timeout=10) as client:
        client.sendall(said)
        client.settimeout(2)
        with contextlib.suppress(OSError):
            client.recv(64)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize(
    ("port", "said"),
    [
        pytest.param("clickhouse_port", client_hello(), id="TLS on the native port"),
        pytest.param("clickhouse_port", b"GET / HTTP/1.1\r\n\r\n", id="HTTP on the native port"),
        pytest.param("clickhouse_port", b"\xff" * 200, id="garbage"),
        pytest.param("clickhouse_port", b"", id="nothing"),
        pytest.param(
            "clickhouse_http_port", b"GET /?query=SELECT%20*%20FROM%20numbers(100000000) HTTP/1.0\r\n\r\n", id="leaves in mid-query"
        ),
    ],
)
def test_strangers_and_lost_clients_do_not_end_clickhouse(own: Settings, port: str, said: bytes) -> None:
    """The very process goes on."""
    addresses = servers.up(own, say=print)
    before = engine(own)
    send_and_leave(addresses, getattr(addresses, port), said)
    assert answering(addresses, "SELECT 1") == "1"
    assert engine(own) == before


def test_clickhouse_is_back_after_what_ends_it(own: Settings) -> None:
    """By itself, on its ports, with its data; `status` tells how often."""
    addresses = servers.up(own, say=print)
    query(addresses, "CREATE DATABASE IF NOT EXISTS d2")
    query(addresses, "CREATE OR REPLACE TABLE d2.t (n UInt64) ENGINE = MergeTree ORDER BY n")
    query(addresses, "INSERT INTO d2.t SELECT number FROM numbers(1000)")
    supervisor, restarts = pids(own)["clickhouse"], servers.status(own).clickhouse.restarts

    first = engine(own)
    first.send_signal(signal.SIGABRT)
    first.wait(PATIENCE_SECONDS)
    assert answering(addresses, "SELECT count() FROM d2.t") == "1000"
    # A hello that breaks off ends this release of the library; should a later one live on, that is as good.
    second = engine(own)
    send_and_leave(addresses, addresses.clickhouse_port, b"\0" * 100)
    psutil.wait_procs([second], timeout=5)
    assert answering(addresses, "SELECT count() FROM d2.t") == "1000"

    found = servers.status(own).clickhouse
    assert (found.state, found.pid) == (State.RUNNING, supervisor)
    assert found.restarts > restarts
    assert "ended by signal 6" in Layout(own.embedded.directory).output("clickhouse").read_text(errors="replace")


def test_down_and_kill_9_leave_no_part_of_clickhouse(own: Settings) -> None:
    """Neither the supervisor nor the server."""
    for down in (True, False):
        servers.up(own, say=print)
        child = engine(own)
        if down:
            servers.down(own, say=print)
        else:
            os.kill(pids(own)["clickhouse"], signal.SIGKILL)
        child.wait(PATIENCE_SECONDS)
    servers.up(own, say=print)


def test_up_tells_of_ports_that_were_set_while_it_runs(own: Settings) -> None:
    """They have no effect before `down`, and nobody should look for the reason."""
    addresses = servers.up(own, say=print)
    port = ports.choose("none", configured=0, remembered=None)
    told: list[str] = []
    moved = own.model_copy(update={"embedded": own.embedded.model_copy(update={"clickhouse_port": port})})
    assert servers.up(moved, say=told.append) == addresses
    (line,) = [line for line in told if "embedded.clickhouse_port" in line]
    assert f"= {port}, but it listens on {addresses.clickhouse_port}" in line
    assert "trainwatch down" in line


def test_a_topic_nobody_made_is_not_made_by_asking(own: Settings) -> None:
    """A typo in a topic name must not create it."""
    addresses = servers.up(own, say=print)
    admin = KafkaAdminClient(bootstrap_servers=addresses.kafka)
    admin.describe_topics(["no.such.topic"])
    assert "no.such.topic" not in admin.list_topics()
    admin.close()


def test_nothing_listens_beyond_the_loopback_address(own: Settings) -> None:
    """No password guards these ports; and nobody else enters the folder, where records lie."""
    servers.up(own, say=print)
    for each in (psutil.Process(pids(own)["kafka"]), engine(own)):
        listening = {c.laddr.ip.removeprefix("::ffff:") for c in each.net_connections(kind="inet") if c.status == psutil.CONN_LISTEN}
        assert all(address.startswith("127.") for address in listening)
        assert listening
    assert own.embedded.directory.stat().st_mode & 0o077 == 0


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


PATIENT = "import pipeline.runtime.app, time; time.sleep(30)"  # what the client would wait by itself, begun as the commands begin


def test_a_broker_that_does_not_answer_is_told_soon(tmp_path: Path) -> None:
    """Before somebody as patient as the client is done, however busy the machine.  Processes of their own: the client leaks its sockets."""
    closed = f"127.0.0.1:{ports.choose('none', configured=0, remembered=None)}"
    file = tmp_path / "trainwatch.yaml"
    file.write_text(f"kafka: {{bootstrap_servers: '{closed}'}}\nclickhouse: {{host: 127.0.0.1}}\n")
    commands = [
        [sys.executable, "-m", "pipeline", "--settings", str(file), *words] for words in (("topics",), ("dlq", "list"), ("worker",))
    ]
    running = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for command in commands]
    with subprocess.Popen([sys.executable, "-c", PATIENT], cwd=ROOT) as patient:
        for each in running:
            said = each.communicate(timeout=PATIENCE_SECONDS)[1]
            assert each.returncode == 1
            assert f"no answer from Kafka at {closed}" in said
            assert "what to do: Check that the broker runs" in said
        assert patient.poll() is None
        patient.kill()


def test_a_server_of_another_kind_is_not_taken_for_the_right_one(own: Settings) -> None:
    """Addresses swapped in the settings."""
    addresses = servers.up(own, say=print)
    assert kafka.brokers(addresses.clickhouse_host, addresses.clickhouse_port, timeout_seconds=2) == 0
    swapped = Settings(clickhouse=ClickHouseSettings(host="127.0.0.1", port=addresses.clickhouse_http_port))
    assert servers.status(swapped).clickhouse.state is State.EXTERNAL_UNREACHABLE


@pytest.mark.parametrize("setting", ["kafka_port", "clickhouse_port", "clickhouse_http_port"])
def test_a_configured_port_in_use_fails_with_its_number_and_setting(installed: None, tmp_path: Path, setting: str) -> None:
    """Exit 1, before anything is started, also when it is the last of the ports."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        busy = listener.getsockname()[1]
        file = tmp_path / "trainwatch.yaml"
        file.write_text(f"embedded: {{directory: {tmp_path / 'servers'}, {setting}: {busy}, kafka_heap_mib: 256}}\n")
        done = CliRunner().invoke(main, ["--settings", str(file), "up"])
    assert done.exit_code == 1
    assert f"port {busy} on 127.0.0.1 is already in use (setting embedded.{setting})" in done.stderr
    assert "starting" not in done.stderr
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


def test_a_server_that_is_slow_to_start_is_told_with_the_setting(installed: None, tmp_path: Path) -> None:
    """A busy machine is no broken one; what was started is stopped again."""
    settings = Settings(embedded=EmbeddedSettings(directory=tmp_path, ready_timeout_seconds=0.01, kafka_heap_mib=256))
    with pytest.raises(ServerFailed, match="did not answer within") as caught:
        servers.up(settings, say=lambda _: None)
    assert "raise embedded.ready_timeout_seconds" in caught.value.advice
    assert servers.pids(settings) == ()
    assert {each.state for each in (servers.status(settings).kafka, servers.status(settings).clickhouse)} == {State.STOPPED}


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
