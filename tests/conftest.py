"""What all tests share: the fence around the network, and the real servers.

A test without the marker `servers` that opens a connection fails at that line.  Tests with the marker share one embedded Kafka
and one ClickHouse per run, however many xdist workers there are: `up` is safe to call from each of them.  Every test gets its own
database, consumer group and topics, so that tests do not see one another.

    controller --- worker --- up(shared folder) --- tests --- ... --- session ends: down
        \\- watched by tests/watchdog.py, which ends the servers when the run itself was killed
"""

import gc
import os
import shutil
import socket
import sys
import urllib.parse
import urllib.request
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Never

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from pipeline.embedded import install, process
from pipeline.embedded import servers as embedded
from pipeline.errors import ServerFailed
from pipeline.settings import EmbeddedSettings, Settings
from pipeline.sink import copied
from pipeline.sink.clickhouse import Database
from tests.patience import PATIENCE_SECONDS

ROOT = Path(__file__).parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"
SERVERS_FOLDER = "servers"
# No property holds or fails by the clock, however busy the machine is.
hypothesis_settings.register_profile("trainwatch", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("trainwatch")


@pytest.fixture(autouse=True)
def _no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails a test without the marker `servers` where it connects to anything but a Unix socket."""
    if request.node.get_closest_marker("servers") is not None:
        return
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def refuse(address: Any) -> Never:
        pytest.fail(f"a test without the marker `servers` connects to {address}")

    def fenced(self: socket.socket, address: Any) -> None:
        return connect(self, address) if self.family == socket.AF_UNIX else refuse(address)

    def fenced_ex(self: socket.socket, address: Any) -> int:
        return connect_ex(self, address) if self.family == socket.AF_UNIX else refuse(address)

    monkeypatch.setattr(socket.socket, "connect", fenced)
    monkeypatch.setattr(socket.socket, "connect_ex", fenced_ex)


# kafka-python 3.0 loses the socket of a connection attempt when its client is closed meanwhile (kafka/net/inet.py, sock_connect), which
# happens on a busy machine and when a broker is killed on purpose.  It is closed when the garbage is collected, with a warning.
LOST_SOCKETS = "ignore:unclosed <socket:ResourceWarning"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests on the real servers bear the client's lost sockets; the others do not.

    Files with and without them take turns, each kind in its order: the former mostly wait, the latter compute, so that a run of all of them
    would first leave cores idle and then want more.  The last fifth of those without is left for the end, for all workers.
    """
    kinds: dict[bool, dict[Path, None]] = {True: {}, False: {}}
    for item in items:
        if item.get_closest_marker("servers") is not None:
            item.add_marker(pytest.mark.filterwarnings(LOST_SOCKETS))
            kinds[True][item.path] = None
    for item in items:
        if item.path not in kinds[True]:
            kinds[False][item.path] = None
    turns = {path: number / len(kind) * (0.8 if kind is kinds[True] else 1) for kind in kinds.values() for number, path in enumerate(kind)}
    items.sort(key=lambda item: turns[item.path])  # stable: what stands in a file stays in its order


def pytest_collection_finish() -> None:
    """Modules and collected tests stay: garbage is not looked for among them, which took a quarter of a second each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _lost_sockets(request: pytest.FixtureRequest) -> Iterator[None]:
    """Collected where they were lost, so that no later test is blamed for them."""
    yield
    if request.node.get_closest_marker("servers") is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()


@pytest.fixture(scope="session")
def installed() -> None:
    """The parts of both servers are there.  Missing ones fail the run in CI and skip the test elsewhere."""
    try:
        install.find_kafka()
        install.find_clickhouse()
    except ServerFailed as error:
        if os.environ.get("CI"):
            pytest.fail(f"{error} {error.advice}")
        pytest.skip(f"{error}. {error.advice}")


@pytest.fixture(scope="session")
def running_servers(installed: None, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of the run's two servers, which run.  Ended by `pytest_sessionfinish`."""
    base = tmp_path_factory.getbasetemp()
    in_worker = "PYTEST_XDIST_WORKER" in os.environ
    folder = (base.parent if in_worker else base) / SERVERS_FOLDER
    settings = Settings(embedded=EmbeddedSettings(directory=folder, kafka_heap_mib=768, ready_timeout_seconds=PATIENCE_SECONDS))
    # Watched before they start, since a run is most often broken off while one waits.
    watch(folder)
    embedded.up(settings, say=_say)
    return embedded.connected(settings)


@pytest.fixture
def servers(running_servers: Settings) -> Iterator[Settings]:
    """Settings connected to the real servers, with names of this test's own for topics, group and database."""
    tag = f"t{uuid.uuid4().hex[:10]}"
    kafka = running_servers.kafka.model_copy(
        update={
            "topic_prefix": f"{tag}.",
            "group": tag,
            "training_topics": (f"{tag}.logs.training",),
            "scheduler_topics": (f"{tag}.logs.scheduler",),
            "access_topics": (f"{tag}.logs.access",),
        }
    )
    clickhouse = running_servers.clickhouse.model_copy(update={"database": tag})
    yield running_servers.model_copy(update={"kafka": kafka, "clickhouse": clickhouse})
    query = urllib.parse.quote(f"DROP DATABASE IF EXISTS {tag} SYNC")
    address = f"http://{clickhouse.host}:{clickhouse.http_port}/?query={query}"
    try:
        urllib.request.urlopen(urllib.request.Request(address, method="POST"), timeout=PATIENCE_SECONDS).close()
    except OSError as error:
        # A test may have ended the server; the folder goes with the run anyway.
        _say(f"database {tag} stays: {error}")


@pytest.fixture(scope="module")
def shared_database(running_servers: Settings) -> Iterator[Database]:
    """A migrated database for those tests of a module that leave its tables as they are, see `migrated`."""
    clickhouse = running_servers.clickhouse.model_copy(update={"database": f"t{uuid.uuid4().hex[:10]}"})
    with Database(clickhouse) as connection:
        copied.make(connection)
        yield connection
        connection.command(f"DROP DATABASE {connection.name} SYNC")


@pytest.fixture
def migrated(shared_database: Database) -> Database:
    """The tables of this release, without rows; making them takes the server a second, so they are made once per module."""
    full = shared_database.query(
        "SELECT name FROM system.tables WHERE database = %(name)s AND total_rows > 0 AND name != 'migrations'",
        {"name": shared_database.name},
    )
    for (name,) in full:
        shared_database.command(f"TRUNCATE TABLE {shared_database.name}.{name} SYNC")
    return shared_database


@pytest.fixture
def shared_data() -> Path:
    """The folder of real log lines; skips without it."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real log lines: {SHARED_DATA} does not exist")
    return SHARED_DATA


def pytest_configure(config: pytest.Config) -> None:
    """kafka-python reads its schemas by a function that Python 3.11 and 3.12 deprecate and 3.13 does not.

    Brokers of tests do not live long enough to earn what Java's second compiler costs: half of their CPU.
    """
    os.environ.setdefault("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1")
    config.addinivalue_line("filterwarnings", "ignore:(read|open)_text is deprecated:DeprecationWarning")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """The process that started the run ends the servers, after its workers."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        return
    # pytest has no public way to ask for the folder here.
    factory: pytest.TempPathFactory | None = getattr(session.config, "_tmp_path_factory", None)
    folder = factory.getbasetemp() / SERVERS_FOLDER if factory is not None else None
    if folder is not None and folder.is_dir():
        end_servers(folder)


def end_servers(folder: Path) -> None:
    """End the run's servers and drop their data."""
    embedded.down(Settings(embedded=EmbeddedSettings(directory=folder)), say=_silent)
    shutil.rmtree(folder, ignore_errors=True)


def watch(folder: Path) -> None:
    """Have the servers of `folder` ended also when this run is killed; one watchdog per folder."""
    note = folder / "run" / "watchdog.json"
    note.parent.mkdir(parents=True, exist_ok=True)
    try:
        note.open("x").close()
    except FileExistsError:
        return
    controller = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
    process.write_note(note, process.note_of(controller, {}))
    command = [sys.executable, "-m", "tests.watchdog", str(folder)]
    process.spawn(command, log=folder / "logs" / "watchdog.out", folder=ROOT)


def _silent(line: str) -> None:
    """pytest prints its own last lines then."""


def _say(line: str) -> None:
    print(line, file=sys.stderr)  # noqa: T201  shown by pytest beside a failure
