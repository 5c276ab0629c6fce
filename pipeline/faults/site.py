"""One run's place: topics, tables, a settings file and worker processes of its own, on servers that may be shared with other runs.

In: settings that name running servers, and a simulated day.  Out: processes of the real worker, and answers to what can be asked from
outside: logs, offsets folded, rows.  The day's settings (who is who, sources, tickets) are those that an operator would write; intervals
are short, so that a run takes seconds.
"""

import os
import shutil
import signal
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import msgspec
import yaml
from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from pipeline.errors import FatalError, TransientError
from pipeline.evidence.signing import make_key
from pipeline.faults.born import Born
from pipeline.faults.worker import Spec
from pipeline.model.outcome import Record
from pipeline.runtime.admin import Admin
from pipeline.runtime.following import caught_up
from pipeline.settings import ENVIRONMENT_PREFIX, Settings
from pipeline.simulate import Scale, Week, simulate
from pipeline.sink import copied
from pipeline.sink.clickhouse import Database
from pipeline.topology import build_topology

PARTITIONS = 2
FAMILIES = ("training", "scheduler", "access")
QUICK: Mapping[str, Mapping[str, Any]] = {
    "kafka": {"partitions": PARTITIONS, "session_timeout_seconds": 10.0},
    "checkpoint": {"interval_seconds": 0.3, "shutdown_seconds": 15.0},
    "worker": {"instance_id": "w1", "health_port": 0},
}
SMALL = Scale(gpu_hosts=2, members=6, jobs_per_day=12.0, acts_per_kind=(1, 1), broken_values=20)
TAKEN_OVER = "partitions taken over"  # the worker's log, when it begins to read
RETRIED = "again in"  # the worker's log, at an insert that is tried again
PACKAGE = Path(__file__).parents[2]
STOP_SECONDS = 120.0
COMMAND_SECONDS = 240.0


class Process:
    """One worker process and its log."""

    def __init__(self, spec: str, log: Path, environment: Mapping[str, str]) -> None:
        self.path = log
        self._process = Born("pipeline.faults.worker", [spec], environment, log)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Is it there, frozen or not?"""
        return self._process.poll() is None

    @property
    def code(self) -> int | None:
        """The exit code; None while it runs, negative for a signal."""
        return self._process.poll()

    @property
    def frozen(self) -> bool:
        """Was it stopped by a signal?"""
        try:
            return self.alive and Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "T"
        except (FileNotFoundError, ProcessLookupError):
            return False

    def signal(self, number: int) -> None:
        """Send a signal, to a process that may have ended."""
        if self.alive:
            self._process.send_signal(number)

    def wait(self, seconds: float) -> int:
        """The exit code.  Raises subprocess.TimeoutExpired."""
        return self._process.wait(seconds)

    def rotate(self) -> None:
        """Cut its log while it writes, as logrotate's copytruncate does; lines written in between are lost."""
        with self.path.open("r+b") as now, self._rotated.open("ab") as before:
            before.write(now.read())
            now.truncate(0)

    def log(self) -> str:
        """All of it, what was rotated first."""
        parts = [path.read_text(encoding="utf-8", errors="replace") for path in (self._rotated, self.path) if path.exists()]
        return "".join(parts)

    @property
    def _rotated(self) -> Path:
        return self.path.with_suffix(".1.log")

    def take_overs(self) -> int:
        """How often it took partitions over: once at its start, and once for every rebalance."""
        return self.log().count(TAKEN_OVER)


class Site:
    """Use as a context manager.  `changes` alter settings by section."""

    def __init__(self, servers: Settings, week: Week, folder: Path, changes: Mapping[str, Mapping[str, Any]]) -> None:
        self.tag = f"f{uuid.uuid4().hex[:10]}"
        self.folder = folder
        self.settings = _settings(servers, week, self.tag, changes)
        self.topology = build_topology(self.settings)
        self.database = Database(self.settings.clickhouse)  # tools may go another way than the workers
        self.processes: list[Process] = []
        self._file, self._tools = folder / "trainwatch.yaml", folder / "tools.yaml"
        self._folded = folder / "folded"

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._folded.touch()
        self.write_settings(self.settings)
        shutil.copy(self._file, self._tools)
        copied.make(self.database)
        with Admin(self.settings, self.topology) as admin:
            admin.ensure()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.signal(signal.SIGCONT)
            process.signal(signal.SIGKILL)
            process.wait(STOP_SECONDS)
        self._clean()
        self.database.close()

    def _clean(self) -> None:
        """Leave servers that others use as they were; one that was broken on purpose may not answer."""
        try:
            self.database.command(f"DROP DATABASE IF EXISTS {self.settings.clickhouse.database} SYNC")
            admin: Any = KafkaAdminClient(bootstrap_servers=self.settings.kafka.bootstrap_servers.split(","))
            try:
                admin.delete_topics([name for name in admin.list_topics() if name.startswith(f"{self.tag}.")])
            finally:
                admin.close()
        except (TransientError, FatalError, KafkaError):
            return

    def keep_evidence(self) -> None:
        """Workers seal what they read, and the account has it checked."""
        key_file = self.folder / "evidence.key"
        make_key(key_file, round(1000 * time.time()))
        self.settings = self.settings.model_copy(update={"evidence": self.settings.evidence.model_copy(update={"key_file": key_file})})
        self.write_settings(self.settings)
        shutil.copy(self._file, self._tools)

    def write_settings(self, settings: Settings) -> None:
        """What workers started from now on read."""
        content = settings.model_dump(mode="json", exclude={"embedded"})
        content["clickhouse"]["password"] = settings.clickhouse.password.get_secret_value()
        self._file.write_text(yaml.safe_dump(content), encoding="utf-8")

    # --- workers

    def start(self, *, instance: str = "w1", elsewhere: bool = False, **spec: Any) -> Process:
        """A worker; an empty instance makes it a dynamic member of the group.

        `elsewhere`: as on another machine, where nobody knows that its name is in use; it goes by the broker that it asks.
        """
        wanted = Spec(settings=str(self._file), folded=str(self._folded), **spec)
        environment = {**_environment(), f"{ENVIRONMENT_PREFIX}WORKER__INSTANCE_ID": instance}
        if elsewhere:
            servers = self.settings.kafka.bootstrap_servers.replace("127.0.0.1", "localhost")
            environment[f"{ENVIRONMENT_PREFIX}KAFKA__BOOTSTRAP_SERVERS"] = servers
        process = Process(msgspec.json.encode(wanted).decode(), self.folder / f"worker-{len(self.processes)}.log", environment)
        self.processes.append(process)
        return process

    def command(self, *words: str) -> "subprocess.CompletedProcess[bytes]":
        """What an operator asks, with the way to the servers that no fault touches."""
        out, errors = self.folder / "command.out", self.folder / "command.err"
        for path in (out, errors):
            path.unlink(missing_ok=True)
        asked = Born("pipeline", ["--settings", str(self._tools), *words], _environment(), out, errors)
        try:
            code = asked.wait(COMMAND_SECONDS)
        finally:
            asked.kill()
        return subprocess.CompletedProcess(asked.args, code, out.read_bytes(), errors.read_bytes())

    def logs(self) -> str:
        """All logs."""
        return "".join(process.log() for process in self.processes)

    # --- what can be seen from outside

    def folded(self, since: int = 0, until: int | None = None) -> Counter[tuple[str, int, int]]:
        """How often ingest has folded each offset, in these batches."""
        counts: Counter[tuple[str, int, int]] = Counter()
        for line in self._folded.read_text(encoding="utf-8").splitlines()[since:until]:
            _, topic, partition, first, last = line.split()
            counts.update((topic, int(partition), offset) for offset in range(int(first), int(last) + 1))
        return counts

    def folded_by(self, process: Process | None = None) -> int:
        """How many batches a process has folded, or all together."""
        mark = f"{process.pid} " if process else ""
        return sum(line.startswith(mark) for line in self._folded.read_text(encoding="utf-8").splitlines())

    def stored(self) -> set[tuple[str, int, int]]:
        """Offsets that have rows."""
        return set(self.database.query("SELECT DISTINCT _topic, _partition, _offset FROM {db}.events"))

    def reached(self) -> dict[tuple[str, int], int]:
        """The offset after the last finished range of each partition; nothing while ClickHouse does not answer."""
        try:
            found = self.database.query("SELECT topic, partition, max(hi) FROM {db}.sink_ranges GROUP BY ALL")
        except TransientError:
            return {}
        return {(topic, partition): int(hi) for topic, partition, hi in found}

    def done(self) -> bool:
        """Have the workers committed everything?  False too while the broker does not answer."""
        try:
            return caught_up(self.settings, self.topology).done
        except KafkaError:
            return False


def simulated(seed: int) -> Week:
    """A day of a small site."""
    return simulate(seed, 1.0, scale=SMALL)


def as_records(week: Week, settings: Settings) -> list[Record]:
    """The day as shipped, on this run's topics, round robin over partitions."""
    names = {f"logs.{family}": getattr(settings.kafka, f"{family}_topics")[0] for family in FAMILIES}
    return [
        Record(
            topic=names[each.topic],
            partition=number % PARTITIONS,
            offset=number,
            timestamp=each.timestamp,
            value=each.value,
            key=each.key,
            headers=each.headers,
        )
        for number, each in enumerate(week.records)
    ]


def _environment() -> dict[str, str]:
    """Ours, without settings, and with this package where Python looks for it."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ENVIRONMENT_PREFIX)}
    return {**inherited, "PYTHONPATH": os.pathsep.join(filter(None, (str(PACKAGE), inherited.get("PYTHONPATH", ""))))}


def wait(seconds: float) -> None:
    """The one sleep of faults."""
    time.sleep(seconds)


def _settings(servers: Settings, week: Week, tag: str, changes: Mapping[str, Mapping[str, Any]]) -> Settings:
    """The day's settings on these servers, with names of this run's own."""
    content: dict[str, Any] = {**week.settings}
    topics = {f"{family}_topics": (f"{tag}.logs.{family}",) for family in FAMILIES}
    names = {f"logs.{family}": f"{tag}.logs.{family}" for family in FAMILIES}
    content["sources"] = [{**source, "topic": names.get(source.get("topic", ""), "")} for source in content["sources"]]
    kafka = {"bootstrap_servers": servers.kafka.bootstrap_servers, "topic_prefix": f"{tag}.", "group": tag, **topics}
    named = servers.clickhouse
    clickhouse = {"host": named.host, "port": named.port, "http_port": named.http_port, "database": tag}
    own: dict[str, dict[str, Any]] = {"kafka": kafka, "clickhouse": clickhouse}
    for name in {*QUICK, *own, *changes}:
        content[name] = {**content.get(name, {}), **own.get(name, {}), **QUICK.get(name, {}), **changes.get(name, {})}
    return Settings.model_validate(content)
