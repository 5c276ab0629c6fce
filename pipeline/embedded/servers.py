"""`up`, `down`, `status`: settings in; two servers that answer, are gone, or are described, out.

A server that settings name (`kafka.bootstrap_servers`, `clickhouse.host`) is only asked whether it answers.  One that they do
not name is embedded: a process of this machine on the loopback address, with everything below `embedded.directory`:

    kafka/ clickhouse/   data                    run/<server>.json   the running process: pid, start, ports
    logs/                one older log each      run/ports.json      ports to use again; run/lock: one `up` at a time

    stopped --up--> starting --answers--> running --down--> stopped
                       |  ends or is late: stopped again, an error with the log's last lines
                       running --crash, kill -9--> stale --up--> starting (data are kept)
                       ClickHouse alone: running --abort--> running again, by its supervisor

Holds: a second `up` is a no-op; `down` ends only processes that `up` started, known by pid and start time; nothing listens
beyond the loopback address, since neither server has a password.
"""

import ssl
import time
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import msgspec
import psutil

from pipeline.embedded import ports, process
from pipeline.embedded.clickhouse import HTTP, NATIVE, ClickHouseServer, says_hello
from pipeline.embedded.files import MIB, Layout, Say, exclusive, free_mib, private, rotate, tail, used_mib, write_atomically
from pipeline.embedded.kafka import BROKER, KafkaServer, brokers
from pipeline.embedded.process import Note
from pipeline.errors import BrokerUnavailable, ServerFailed
from pipeline.settings import KafkaSettings, Settings

STOP_SECONDS = 20.0
POLL_SECONDS = 0.05
STARTS_MAX = 3
SETTLE_SECONDS = 10.0
FREE_MIB_MIN = 1024


class Addresses(msgspec.Struct, frozen=True):
    """Where both servers answer."""

    kafka: str
    clickhouse_host: str
    clickhouse_port: int
    clickhouse_http_port: int

    @property
    def web_page(self) -> str:
        """ClickHouse's page for queries."""
        return f"http://{self.clickhouse_host}:{self.clickhouse_http_port}/play"


class State(StrEnum):
    """What `status` can say of a server."""

    RUNNING = "running"
    STOPPED = "stopped"
    STALE = "stale"  # noted as running, but gone: it crashed or was killed
    UNRESPONSIVE = "unresponsive"  # the process lives, but does not answer
    EXTERNAL_OK = "external-ok"
    EXTERNAL_UNREACHABLE = "external-unreachable"


class ServerStatus(msgspec.Struct, frozen=True):
    """One server as found."""

    state: State
    addresses: tuple[str, ...] = ()
    pid: int | None = None
    data_mib: int = 0
    restarts: int = 0  # by its supervisor, since it was started by `up`


class Status(msgspec.Struct, frozen=True):
    """Both servers as found."""

    kafka: ServerStatus
    clickhouse: ServerStatus

    @property
    def all_running(self) -> bool:
        return {self.kafka.state, self.clickhouse.state} <= {State.RUNNING, State.EXTERNAL_OK}


class Server(Protocol):
    """What sets one embedded server apart from the other.  `ports` maps port names to numbers."""

    @property
    def name(self) -> str:
        """Names its files."""

    @property
    def memory_mib(self) -> int:
        """What it may take."""

    def wanted_ports(self) -> Mapping[str, tuple[str, int]]:
        """Port name -> the setting that pins it, and its value, 0 for any."""

    def command(self, ports: Mapping[str, int]) -> list[str]:
        """The command line; writes the files it names.  May run for seconds.  Raises ServerFailed when a part is missing."""

    def answers(self, ports: Mapping[str, int]) -> bool:
        """Whether it serves.  Blocks for seconds at most, never raises."""

    def addresses(self, ports: Mapping[str, int]) -> tuple[str, ...]:
        """For people."""


class Room(msgspec.Struct, frozen=True):
    """What the machine has to give when servers are to be started, in MiB."""

    where: Path
    used_mib: int
    quota_mib: int
    free_mib: int
    memory_mib: int
    memory_needed_mib: int

    def check(self) -> None:
        """Raises ServerFailed when it is too little."""
        if self.used_mib > self.quota_mib:
            message = f"the data in {self.where} are {self.used_mib} MiB, more than embedded.disk_quota_mib = {self.quota_mib}"
            raise ServerFailed(message, advice="Raise embedded.disk_quota_mib, or delete the folder if nothing in it is needed.")
        if self.free_mib < FREE_MIB_MIN:
            message = f"{self.free_mib} MiB are free where {self.where} is; the servers need {FREE_MIB_MIN} MiB"
            raise ServerFailed(message, advice="Make room, or set embedded.directory to a folder on a larger disk.")
        if self.memory_mib < self.memory_needed_mib:
            message = f"{self.memory_mib} MiB of memory are available; the servers need {self.memory_needed_mib} MiB"
            raise ServerFailed(message, advice="End other programs, lower embedded.kafka_heap_mib, or name servers elsewhere.")


def up(settings: Settings, *, say: Say) -> Addresses:
    """Start what settings do not name elsewhere, and wait until it answers; check what they name.  A second call is a no-op.

    Raises ServerFailed: not installed, port in use, too little room, over quota, ended at its start, late, or unreachable.
    """
    layout = Layout(settings.embedded.directory)
    _check_external(settings, say=say)
    embedded = _embedded(settings, layout)
    if embedded:
        private(layout.root)  # records, and rows made of them
        with exclusive(layout.lock, say=say):
            _start_missing(embedded, settings, layout, say=say)
    return _addresses(connected(settings))


def down(settings: Settings, *, say: Say) -> None:
    """End the servers that `up` started.  Data, logs and ports stay for the next `up`."""
    layout = Layout(settings.embedded.directory)
    if not layout.root.is_dir():
        say(f"nothing runs: {layout.root} does not exist")
        return
    with exclusive(layout.lock, say=say):
        # Kafka first: its orderly end takes a second or two.
        for name in (KafkaServer.name, ClickHouseServer.name):
            note = process.read_note(layout.note(name))
            if note is None:
                say(f"{name}: not running")
            elif not process.is_alive(note):
                say(f"{name}: not running; its stale pid file is removed")
            else:
                process.stop(note, patience_seconds=STOP_SECONDS)
                say(f"{name}: stopped (pid {note.pid})")
            layout.note(name).unlink(missing_ok=True)
            layout.restarts(name).unlink(missing_ok=True)


def status(settings: Settings) -> Status:
    """Both servers as they are now.  Changes nothing."""
    layout = Layout(settings.embedded.directory)
    return Status(
        kafka=_external_kafka(settings) or _status_of(KafkaServer(settings, layout), layout),
        clickhouse=_external_clickhouse(settings) or _status_of(ClickHouseServer(settings, layout), layout),
    )


def pids(settings: Settings) -> tuple[int, ...]:
    """Of the embedded servers that live.  No server is asked."""
    layout = Layout(settings.embedded.directory)
    notes = (process.read_note(layout.note(name)) for name in (KafkaServer.name, ClickHouseServer.name))
    return tuple(note.pid for note in notes if note is not None and process.is_alive(note))


def connected(settings: Settings, *, kafka: bool = True, clickhouse: bool = True) -> Settings:
    """A copy of the settings in which the addresses of the running embedded servers are filled in, of those that the caller needs.

    Raises ServerFailed when one of them does not run.  Whether it answers is not asked: `up` has seen to that.
    """
    layout = Layout(settings.embedded.directory)
    changes: dict[str, object] = {}
    if kafka and not settings.kafka.bootstrap_servers:
        numbers = _running(KafkaServer.name, layout).ports
        update = {"bootstrap_servers": f"{ports.HOST}:{numbers[BROKER]}", "security_protocol": "plaintext"}
        changes["kafka"] = settings.kafka.model_copy(update=update)
    if clickhouse and not settings.clickhouse.host:
        numbers = _running(ClickHouseServer.name, layout).ports
        where = {"host": ports.HOST, "port": numbers[NATIVE], "http_port": numbers[HTTP], "secure": False, "ca_file": None}
        changes["clickhouse"] = settings.clickhouse.model_copy(update=where)
    return settings.model_copy(update=changes)


def _addresses(settings: Settings) -> Addresses:
    return Addresses(
        kafka=settings.kafka.bootstrap_servers,
        clickhouse_host=settings.clickhouse.host,
        clickhouse_port=settings.clickhouse.port,
        clickhouse_http_port=settings.clickhouse.http_port,
    )


def _running(name: str, layout: Layout) -> Note:
    note = process.read_note(layout.note(name))
    if note is None or not process.is_alive(note):
        demo = layout.root / "demo" / "trainwatch.yaml"
        after = f"After a demo: `trainwatch --settings {demo} ...`. " if demo.is_file() else ""
        raise ServerFailed(
            f"the embedded {name} server does not run ({layout.root})",
            advice=f"{after}To try it here, run `trainwatch up`; where a site has servers, name its settings: "
            "`trainwatch --settings FILE ...`, or TRAINWATCH_SETTINGS in the environment.",
        )
    return note


# Servers that settings name


def _check_external(settings: Settings, *, say: Say) -> None:
    for name, setting, found in (
        ("kafka", "kafka.bootstrap_servers", _external_kafka(settings)),
        ("clickhouse", "clickhouse.host and clickhouse.port", _external_clickhouse(settings)),
    ):
        if found is None:
            continue
        where = ", ".join(found.addresses)
        if found.state is not State.EXTERNAL_OK:
            message = f"{name} at {where} does not answer"
            raise ServerFailed(message, advice=f"Check that it runs and that {setting} is right; empty starts one on this machine.")
        say(f"{name}: {where} answers; nothing to start")


def _external_kafka(settings: Settings) -> ServerStatus | None:
    """None when settings name none.  One bootstrap address that answers is enough, as for a client."""
    named = settings.kafka.bootstrap_servers
    if not named:
        return None
    addresses = tuple(part.strip() for part in named.split(",") if part.strip())
    if settings.kafka.protocol == "plaintext":
        fine = any(brokers(*_host_and_port(address)) for address in addresses)
    else:
        fine = _signs_in(settings.kafka)
    return ServerStatus(state=State.EXTERNAL_OK if fine else State.EXTERNAL_UNREACHABLE, addresses=addresses)


def _signs_in(settings: KafkaSettings) -> bool:
    """Raises ConfigError when a broker answers and refuses us."""
    from kafka import KafkaAdminClient  # noqa: PLC0415  takes 0.3 s to import

    from pipeline.runtime.access import client  # noqa: PLC0415

    try:
        client(KafkaAdminClient, settings).close()
    except BrokerUnavailable:
        return False
    return True


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or not 0 < int(port) < 65_536:
        message = f"kafka.bootstrap_servers: {address!r} is not host:port"
        raise ServerFailed(message, advice="Write host:port, several separated by commas.")
    return host.strip("[]"), int(port)


def _external_clickhouse(settings: Settings) -> ServerStatus | None:
    """None when settings name none."""
    named = settings.clickhouse
    if not named.host:
        return None
    tls = None
    if named.secure:
        from pipeline.sink.clickhouse import authorities  # noqa: PLC0415  the driver takes a while to import

        tls = ssl.create_default_context(cafile=authorities(named))
        tls.check_hostname, tls.verify_mode = named.verify, ssl.CERT_REQUIRED if named.verify else ssl.CERT_NONE
    wrong = says_hello(named.host, named.port, user=named.user, password=named.secret(), tls=tls)
    where = f"{named.host}:{named.port}"
    if wrong:
        return ServerStatus(state=State.EXTERNAL_UNREACHABLE, addresses=(f"{where} ({wrong})",))
    return ServerStatus(state=State.EXTERNAL_OK, addresses=(where,))


# Servers of this machine


def _embedded(settings: Settings, layout: Layout) -> list[Server]:
    servers: list[Server] = []
    if not settings.kafka.bootstrap_servers:
        servers.append(KafkaServer(settings, layout))
    if not settings.clickhouse.host:
        servers.append(ClickHouseServer(settings, layout))
    return servers


def _status_of(server: Server, layout: Layout) -> ServerStatus:
    data_mib = used_mib(layout.data(server.name))
    note = process.read_note(layout.note(server.name))
    if note is None:
        return ServerStatus(state=State.STOPPED, data_mib=data_mib)
    addresses = server.addresses(note.ports)
    if not process.is_alive(note):
        return ServerStatus(state=State.STALE, addresses=addresses, data_mib=data_mib)
    state = State.RUNNING if server.answers(note.ports) else State.UNRESPONSIVE
    return ServerStatus(state=state, addresses=addresses, pid=note.pid, data_mib=data_mib, restarts=_restarts(server, layout))


def _restarts(server: Server, layout: Layout) -> int:
    """0 for a server without a supervisor."""
    try:
        return int(layout.restarts(server.name).read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return 0


def _start_missing(servers: Sequence[Server], settings: Settings, layout: Layout, *, say: Say) -> None:
    """Start all that are not running, then wait for all, so that their start-up times overlap."""
    patience = settings.embedded.ready_timeout_seconds
    notes = {server.name: process.read_note(layout.note(server.name)) for server in servers}
    missing = [server for server in servers if (note := notes[server.name]) is None or not process.is_alive(note)]
    if missing:
        _check_room(missing, settings, layout)
    for note in (note for server in missing if (note := notes[server.name]) is not None):
        _await_ports(note)
    # All ports and parts before any process: a wrong setting of the one must not leave the other running.
    numbers = _choose_ports(missing, layout)
    commands = {server.name: server.command(numbers[server.name]) for server in missing}
    started = time.monotonic()
    launched = {server.name: _launch(server, numbers[server.name], commands[server.name], layout, say=say) for server in missing}
    try:
        for server in servers:
            if server.name in launched:
                note = _await_start(server, launched[server.name], layout, patience, say=say)
                say(f"{server.name}: answers after {time.monotonic() - started:.1f} s at {' '.join(server.addresses(note.ports))}")
            elif (running := notes[server.name]) is not None:
                _await_running(server, running, layout, patience)
                say(f"{server.name}: runs already (pid {running.pid}) at {' '.join(server.addresses(running.ports))}")
                _tell_moved(server, running, say=say)
    except ServerFailed:
        for name in launched:
            _stop(name, layout)
        raise


def _stop(name: str, layout: Layout) -> None:
    """One that was started for nothing, since the other failed."""
    note = process.read_note(layout.note(name))
    if note is not None:
        process.stop(note, patience_seconds=STOP_SECONDS)
        layout.note(name).unlink(missing_ok=True)


def _check_room(missing: Sequence[Server], settings: Settings, layout: Layout) -> None:
    """Refuse before anything is started, rather than fail somewhere inside a server."""
    room = Room(
        where=layout.root,
        used_mib=used_mib(layout.root),
        quota_mib=settings.embedded.disk_quota_mib,
        free_mib=free_mib(layout.root),
        memory_mib=psutil.virtual_memory().available // MIB,
        memory_needed_mib=sum(server.memory_mib for server in missing),
    )
    room.check()


def _tell_moved(server: Server, running: Note, *, say: Say) -> None:
    """Settings that were changed while it runs have no effect yet."""
    for name, (setting, configured) in server.wanted_ports().items():
        if configured and configured != running.ports[name]:
            say(
                f"{server.name}: {setting} = {configured}, but it listens on {running.ports[name]} since it was started before; "
                "`trainwatch down`, then `trainwatch up` moves it"
            )


def _await_ports(stale: Note) -> None:
    """A killed server holds its ports until the system has taken its memory back; another owner than that gets no more patience."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline and not all(ports.is_free(number) for number in stale.ports.values()):
        time.sleep(POLL_SECONDS)


def _launch(server: Server, numbers: Mapping[str, int], command: Sequence[str], layout: Layout, *, say: Say) -> Note:
    """Start the process and note it.  It need not answer yet, and may have ended already."""
    say(f"{server.name}: starting at {' '.join(server.addresses(numbers))}")
    output = layout.output(server.name)
    rotate(output)
    note = process.note_of(process.spawn(command, log=output, folder=layout.data(server.name)), dict(numbers))
    process.write_note(layout.note(server.name), note)
    return note


def _choose_ports(servers: Sequence[Server], layout: Layout) -> dict[str, dict[str, int]]:
    """Of all these servers at once, configured ones first; nothing is remembered unless all are found."""
    remembered = _remembered_ports(layout)
    wanted = [(server.name, name, *port) for server in servers for name, port in server.wanted_ports().items()]
    chosen: dict[str, dict[str, int]] = {server.name: {} for server in servers}
    taken: set[int] = set()
    for owner, name, setting, configured in sorted(wanted, key=lambda entry: not entry[3]):
        promised = taken if configured else taken | {number for other, number in remembered.items() if other != name}
        chosen[owner][name] = ports.choose(setting, configured=configured, remembered=remembered.get(name), taken=promised)
        taken.add(chosen[owner][name])
    write_atomically(
        layout.ports, msgspec.json.encode({**remembered, **{name: at for found in chosen.values() for name, at in found.items()}})
    )
    return chosen


def _remembered_ports(layout: Layout) -> dict[str, int]:
    try:
        return msgspec.json.decode(layout.ports.read_bytes(), type=dict[str, int])
    except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError):
        return {}


def _await_start(server: Server, note: Note, layout: Layout, patience_seconds: float, *, say: Say) -> Note:
    """Wait for a server just started.  One that ended since another program took its drawn port meanwhile is started again."""
    for attempt in range(1, STARTS_MAX + 1):
        if _wait(server, note, patience_seconds):
            return note
        if process.is_alive(note):
            process.stop(note, patience_seconds=STOP_SECONDS)
            layout.note(server.name).unlink(missing_ok=True)
            advice = f"If this machine is busy, raise embedded.ready_timeout_seconds; the logs in {layout.logs} tell more."
            raise _failure(server, layout, f"did not answer within {patience_seconds:g} s and was stopped again", advice=advice)
        if attempt < STARTS_MAX and _lost_its_port(server, note):
            say(f"{server.name}: another program took its port; trying another one")
            numbers = _choose_ports([server], layout)[server.name]
            note = _launch(server, numbers, server.command(numbers), layout, say=say)
        else:
            break
    layout.note(server.name).unlink(missing_ok=True)
    raise _failure(server, layout, "ended at its start")


def _await_running(server: Server, note: Note, layout: Layout, patience_seconds: float) -> None:
    if not _wait(server, note, patience_seconds):
        advice = "Run `trainwatch down`, then `trainwatch up`; data are kept."
        raise _failure(server, layout, f"runs (pid {note.pid}) but does not answer", advice=advice)


def _lost_its_port(server: Server, note: Note) -> bool:
    drawn = [note.ports[name] for name, (_, configured) in server.wanted_ports().items() if not configured]
    return not all(ports.is_free(number) for number in drawn)


def _wait(server: Server, note: Note, patience_seconds: float) -> bool:
    """Whether the server answers before it ends or the time is up."""
    deadline = time.monotonic() + patience_seconds
    while time.monotonic() < deadline:
        if server.answers(note.ports):
            return process.is_alive(note)
        if not process.is_alive(note):
            return False
        time.sleep(POLL_SECONDS)
    return False


def _failure(server: Server, layout: Layout, what: str, *, advice: str = "") -> ServerFailed:
    output = layout.output(server.name)
    logs = [text for log in (layout.logs / f"{server.name}.log", output) if (text := tail(log))]
    message = "\n".join([f"{server.name} {what}; the last lines of its logs:", *logs])
    return ServerFailed(message, advice=advice or f"The logs in {layout.logs} tell more.")
