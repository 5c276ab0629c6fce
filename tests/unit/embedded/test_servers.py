"""What `status`, `down` and `connected` make of the notes in the run folder, and what `up` refuses."""

import os
import signal
from pathlib import Path

import pytest

from pipeline.embedded import process, servers
from pipeline.embedded.files import Layout
from pipeline.embedded.process import Note
from pipeline.embedded.servers import Room, State
from pipeline.errors import ServerFailed
from pipeline.settings import ClickHouseSettings, EmbeddedSettings, KafkaSettings, Settings

KAFKA_PORTS = {"kafka": 20_001, "controller": 20_002}
CLICKHOUSE_PORTS = {"clickhouse": 20_003, "clickhouse_http": 20_004}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(embedded=EmbeddedSettings(directory=tmp_path))


def quiet(line: str) -> None:
    """Progress that nobody reads."""


def this_process(ports: dict[str, int]) -> Note:
    return process.note_of(os.getpid(), ports)


def note(settings: Settings, name: str, content: Note) -> None:
    process.write_note(Layout(settings.embedded.directory).note(name), content)


def test_nothing_started_is_stopped(settings: Settings) -> None:
    """Without a note there is no server of ours."""
    found = servers.status(settings)
    assert (found.kafka.state, found.clickhouse.state) == (State.STOPPED, State.STOPPED)
    assert not found.all_running


def test_a_note_without_its_process_is_stale(settings: Settings) -> None:
    """As after kill -9 or a reboot; the old addresses are told, no pid is."""
    note(settings, "kafka", Note(pid=os.getpid(), birth="boot:1", ports=KAFKA_PORTS))
    found = servers.status(settings).kafka
    assert (found.state, found.addresses, found.pid) == (State.STALE, ("127.0.0.1:20001",), None)


def test_connected_fills_in_the_running_servers(settings: Settings) -> None:
    """And leaves all else as it was."""
    note(settings, "kafka", this_process(KAFKA_PORTS))
    note(settings, "clickhouse", this_process(CLICKHOUSE_PORTS))
    found = servers.connected(settings)
    assert found.kafka.bootstrap_servers == "127.0.0.1:20001"
    assert (found.clickhouse.host, found.clickhouse.port, found.clickhouse.http_port) == ("127.0.0.1", 20_003, 20_004)
    assert found.kafka.group == settings.kafka.group
    assert settings.kafka.bootstrap_servers == ""


def test_connected_keeps_servers_that_settings_name(settings: Settings) -> None:
    """Then there is nothing to ask the run folder."""
    named = settings.model_copy(
        update={
            "kafka": KafkaSettings(bootstrap_servers="broker-1:9092"),
            "clickhouse": ClickHouseSettings(host="database-1", port=9440, secure=True),
        }
    )
    assert servers.connected(named) == named


def test_connected_without_servers_says_how_to_start_them(settings: Settings) -> None:
    """Every other command meets this first."""
    note(settings, "kafka", this_process(KAFKA_PORTS))
    with pytest.raises(ServerFailed, match="clickhouse") as caught:
        servers.connected(settings)
    assert "run `trainwatch up`" in caught.value.advice
    assert "--settings" in caught.value.advice


@pytest.mark.parametrize(("runs", "needs"), [("kafka", {"clickhouse": False}), ("clickhouse", {"kafka": False})])
def test_connected_asks_only_for_what_a_command_needs(settings: Settings, runs: str, needs: dict[str, bool]) -> None:
    """Tables can be looked at while the broker is down, and topics while the database is."""
    note(settings, runs, this_process({**KAFKA_PORTS, **CLICKHOUSE_PORTS}))
    found = servers.connected(settings, **needs)
    assert bool(found.kafka.bootstrap_servers) is (runs == "kafka")
    assert bool(found.clickhouse.host) is (runs == "clickhouse")


def test_running_servers_are_known_without_asking_them(settings: Settings) -> None:
    """A dead one is not among them."""
    note(settings, "kafka", Note(pid=os.getpid(), birth="boot:1", ports=KAFKA_PORTS))
    note(settings, "clickhouse", this_process(CLICKHOUSE_PORTS))
    assert servers.pids(settings) == (os.getpid(),)


def test_down_removes_stale_notes_and_ends_nobody(settings: Settings, tmp_path: Path) -> None:
    """The pid of a dead server may be anyone's by now."""
    pid = process.spawn(["/bin/sleep", "60"], log=tmp_path / "a.out", folder=tmp_path)
    stranger = process.note_of(pid, {})
    note(settings, "kafka", Note(pid=pid, birth="boot:1", ports=KAFKA_PORTS))
    try:
        servers.down(settings, say=quiet)
        assert process.is_alive(stranger)
    finally:
        os.kill(pid, signal.SIGKILL)
    assert servers.status(settings).kafka.state is State.STOPPED


def test_down_ends_what_the_note_names(settings: Settings, tmp_path: Path) -> None:
    """And removes the note."""
    pid = process.spawn(["/bin/sleep", "60"], log=tmp_path / "a.out", folder=tmp_path)
    running = process.note_of(pid, KAFKA_PORTS)
    note(settings, "kafka", running)
    told: list[str] = []
    servers.down(settings, say=told.append)
    assert not process.is_alive(running)
    assert told == [f"kafka: stopped (pid {pid})", "clickhouse: not running"]


def test_down_where_nothing_ever_ran_leaves_no_trace(tmp_path: Path) -> None:
    """It makes no folder just to hold a lock."""
    folder = tmp_path / "never"
    servers.down(Settings(embedded=EmbeddedSettings(directory=folder)), say=quiet)
    assert not folder.exists()


ROOM = Room(where=Path("/srv"), used_mib=10, quota_mib=1024, free_mib=5000, memory_mib=4000, memory_needed_mib=1500)


@pytest.mark.parametrize(
    ("change", "setting"),
    [
        pytest.param({"used_mib": 1025}, "embedded.disk_quota_mib", id="over the quota"),
        pytest.param({"free_mib": 1023}, "embedded.directory", id="disk nearly full"),
        pytest.param({"memory_mib": 1499}, "embedded.kafka_heap_mib", id="too little memory"),
    ],
)
def test_up_refuses_without_room_and_names_the_setting(change: dict[str, int], setting: str) -> None:
    """At the bound itself it starts."""
    Room(where=Path("/srv"), used_mib=1024, quota_mib=1024, free_mib=1024, memory_mib=1500, memory_needed_mib=1500).check()
    fields = {name: getattr(ROOM, name) for name in ROOM.__struct_fields__}
    with pytest.raises(ServerFailed) as caught:
        Room(**{**fields, **change}).check()
    assert setting in caught.value.advice
