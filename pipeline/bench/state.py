"""A site's state of 45 days, made, written, read back and woken up: bytes, seconds, memory.

In: a size.  Out: a `Report`.  The facts are of the real types, in the numbers that a site of 2,000 hosts gives: 100,000 jobs of 2.6 hosts
and five hours each, of which a third runs under the probe, 20,000 artefacts, three sources a host that are heard at all times, one watched
signal a host and day.  Hosts and artefacts fold them by their own steps; jobs take them as told and seal what has ended, since judging
100,000 jobs is not what is measured here.  Partitions, marks and state log are those of the worker.

    make    day by day: fold, snapshot, write, delete        live log -> one file
    read    in a fresh process: take, once more to unpack, build the stages, wake them, then hear every host once

Written over new is what a checkpoint writes per byte of the facts that were told.  The broker is left out: it delivers 450 MB/s.

Holds: the same size gives the same facts.
"""

import random
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import psutil

from pipeline.hosts.index import HEARD_DAY
from pipeline.hosts.step import HostsState
from pipeline.jobs.step import JobsState
from pipeline.model.events import (
    AnyBody,
    AuditRecord,
    CheckpointLoaded,
    CheckpointNote,
    CheckpointSaved,
    ControllerJob,
    Event,
    FileTouched,
    Iteration,
    JobRecord,
    ProcessStarted,
)
from pipeline.model.facts import Fact, artefact_case, encode_fact, host_case, job_case
from pipeline.model.ids import rank
from pipeline.model.instants import DAY_MS, HOUR_MS
from pipeline.model.source import PER_HOST, Source
from pipeline.model.told import Attempt, Emitted, Heard, HostCoverage, encode_told
from pipeline.runtime.garbage import collect_seldom
from pipeline.runtime.partition import Partition
from pipeline.runtime.partition import Source as Input
from pipeline.runtime.producer import partition_of
from pipeline.runtime.state_log import LogReader
from pipeline.runtime.state_record import CLAIM, META, Claim, Owner, key, pack
from pipeline.runtime.state_topic import give_back
from pipeline.settings import ArtefactRootSettings, Settings
from pipeline.simulate import DEFAULT_START
from pipeline.stream.watermark import Vector
from pipeline.topology import Stage, build_topology

DAYS, JOBS, HOSTS, ARTEFACTS, LIVE_JOBS = 45, 100_000, 2_000, 20_000, 2_000
STAGES = ("hosts", "artefacts", "jobs")
PARTITIONS = 4
BEGIN_MS = round(1000 * DEFAULT_START.timestamp()) - DAYS * DAY_MS  # a load of the simulator goes on from here
CLUSTER = "main"
NODES = (*[1] * 60, *[2] * 20, *[4] * 12, *[8] * 6, *[32] * 2)  # hosts of a job, out of a hundred
PROBED = 0.3  # of the jobs say their processes
RANKS = 8  # per host
CHECKPOINT_FACTS = 2_000
SPREAD = 37  # hosts of a job lie next to one another, and jobs next to one another do not
OWNER, NEXT = Owner(1, 1, "bench"), Owner(2, 2, "again")
SETTINGS = Settings(artefact_roots=(ArtefactRootSettings(path="/lustre/checkpoints/"),))


class Made(msgspec.Struct):
    """What making the state showed."""

    facts: int = 0
    new_bytes: int = 0  # of the facts told
    written_bytes: int = 0  # state records, metas included
    live_bytes: int = 0  # what a reader must read
    make_seconds: float = 0.0
    pack_ms_max: float = 0.0  # longest snapshot, of CPU


class Read(msgspec.Struct):
    """What reading it back showed."""

    take_seconds: float = 0.0
    unpack_seconds: float = 0.0
    build_seconds: float = 0.0
    wake_seconds: float = 0.0
    recovery_cpu_seconds: float = 0.0  # of these four together: what they would take on an idle machine
    block_ms_max: float = 0.0  # longest time in which nothing else could run, of CPU
    hear_seconds: float = 0.0  # every host is heard once: what must be built for that
    memory_mb: float = 0.0  # resident, of this process, with the state
    memory_peak_mb: float = 0.0
    memory_live_mb: float = 0.0  # after every host was heard


class Report(msgspec.Struct):
    """All of it."""

    scale: float
    made: Made
    read: Read

    @property
    def written_per_new(self) -> float:
        """Bytes of state written per byte of new facts."""
        return self.made.written_bytes / max(self.made.new_bytes, 1)

    @property
    def recovery_seconds(self) -> float:
        """Until the worker goes on reading."""
        read = self.read
        return read.take_seconds + read.unpack_seconds + read.build_seconds + read.wake_seconds


def measure(scale: float = 1.0, folder: Path | None = None) -> Report:
    """Make a state of this share of the full size, and read it back in a process of its own."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        path = Path(scratch) / "state"
        made = make(scale, path)
        command = [sys.executable, "-m", "pipeline.bench.state", "--read", str(path)]
        done = subprocess.run(command, capture_output=True, check=True)
        return Report(scale, made, msgspec.json.decode(done.stdout, type=Read))


# --- facts ----------------------------------------------------------------------------------------------------------------------


def day_of_facts(day: int, scale: float) -> Iterator[tuple[str, Fact]]:
    """(stage, fact) of one day, roughly in the order of event time."""
    chance = random.Random(day)
    hosts, per_day = max(round(HOSTS * scale), 1), round(JOBS * scale / DAYS)
    for number in range(day * per_day, (day + 1) * per_day):
        yield from _job(number, day, hosts, chance)
    if day == DAYS - 1:
        for number in range(round(LIVE_JOBS * scale)):
            yield from _job(DAYS * per_day + number, day, hosts, chance, live=True)
    for number in range(hosts):
        yield from _host(number, day, chance)
    for number in range(round(ARTEFACTS * scale)):
        if number % DAYS == day:
            yield from _artefact(number, day, chance)


def _job(number: int, day: int, hosts: int, chance: random.Random, *, live: bool = False) -> Iterator[tuple[str, Fact]]:
    job, uid = str(100_000 + number), 10_000 + chance.randrange(300)
    start = BEGIN_MS + day * DAY_MS + chance.randrange(DAY_MS // 2)
    hours = 11 if live else min(max(chance.lognormvariate(1.2, 0.9), 0.1), 11.5)
    end = start + int(hours * HOUR_MS)
    count = min(chance.choice(NODES), hosts)
    nodes = tuple(_name((number * SPREAD + each) % hosts) for each in range(count))
    begun = JobRecord(
        job=job,
        phase="start",
        owner_uid=uid,
        owner=f"u{uid - 10_000:03d}",
        account=f"p{uid % 40:02d}",
        partition="gpu",
        qos="normal",
        name=f"pretrain-{number % 97}",
        state="RUNNING",
        submit=start - 60_000,
        start=start,
        nodes=nodes,
        gpus=RANKS * count,
        work_dir=f"/home/u{uid - 10_000:03d}/run{number % 9}",
    )
    ended = msgspec.structs.replace(begun, phase="end", state="COMPLETED", end=end, exit_code=0, exit_signal=0)
    for record, at in ((begun, start), *(() if live else ((ended, end),))):
        event = _event(chance, Source.JOBCOMP, at, record, job=job)
        yield "jobs", _told(job_case(CLUSTER, job), event)
        for node in nodes:
            mine = msgspec.structs.replace(event, body=msgspec.structs.replace(record, nodes=(node,)))
            yield "hosts", _told(host_case(CLUSTER, node), mine)
    for change in ("submitted", "allocated", "started", *(() if live else ("completed",))):
        event = _event(chance, Source.SLURMCTLD, end if change == "completed" else start, ControllerJob(job=job, change=change), job=job)
        yield "jobs", _told(job_case(CLUSTER, job), event)
    for hour in range(int(hours) + 1):
        at = start + hour * HOUR_MS
        step = Iteration(iteration=hour * 900, iterations_total=10_000, elapsed_ms=3970.5, learning_rate=3e-4, loss=2.31, grad_norm=0.7)
        event = _event(chance, Source.TRAINING, at, step, job=job)
        yield "jobs", Fact(job_case(CLUSTER, job), f"iteration/{at // HOUR_MS}", rank(at), encode_told(event))
        note = CheckpointNote(action="saved", path=f"/lustre/checkpoints/{job}/iter_{hour * 900:07d}", iteration=hour * 900)
        yield "jobs", _told(job_case(CLUSTER, job), _event(chance, Source.TRAINING, at, note, job=job))
    if chance.random() < PROBED:
        for node in nodes:
            for local in range(RANKS):
                body = ProcessStarted(job=job, pid=chance.randrange(1000, 4_000_000), uid=uid, rank=local, local_rank=local, host=node)
                event = _event(chance, Source.PROBE, start, body, job=job, host=node)
                yield "jobs", _told(job_case(CLUSTER, job), event)
                yield "hosts", _told(host_case(CLUSTER, node), event)
    if live:
        return
    attempt = Attempt(CLUSTER, job, start - 60_000, start)
    buckets = tuple(range(end - end % 600_000 - 3_600_000, end + 600_000, 600_000))
    for node in nodes:
        for source in sorted(PER_HOST):
            covered = encode_told(HostCoverage(attempt, node, source, buckets))
            yield "jobs", Fact(job_case(CLUSTER, job), f"coverage/{node}/{source}/{attempt.name}", rank(2, len(buckets)), covered)
    said = Emitted(_id(chance), 1, _id(chance))
    yield "jobs", Fact(job_case(CLUSTER, job), f"emitted/{said.subject}", rank(1), encode_told(said))


def _host(number: int, day: int, chance: random.Random) -> Iterator[tuple[str, Fact]]:
    name = _name(number)
    at = BEGIN_MS + day * DAY_MS + chance.randrange(DAY_MS)
    serial, pid = chance.randrange(1 << 24), chance.randrange(1000, 4_000_000)
    who = {"auid": "4294967295", "uid": "0", "ses": "4294967295"}
    call = {"arch": "c000003e", "syscall": "62", "success": "yes", "exit": "0", "a0": f"{pid:x}", "a1": "f", "pid": "1201", "ppid": "1"}
    program = {"comm": "slurmstepd", "exe": "/usr/sbin/slurmstepd", "key": "signals"}
    target = {"opid": str(pid), "oauid": "-1", "ouid": "10017", "oses": "-1", "ocomm": "python3"}
    for kind, fields in (("SYSCALL", {**call, **who, **program}), ("OBJ_PID", target)):
        body = AuditRecord(record_type=kind, serial=serial, fields=fields, keys=("signals",) if kind == "SYSCALL" else ())
        yield "hosts", _told(host_case(CLUSTER, name), _event(chance, Source.AUDITD, at, body, host=name))
    begin = BEGIN_MS + day * DAY_MS
    for source in sorted(PER_HOST):
        yield "heard", Fact(host_case(CLUSTER, name), source.value, rank(begin), b"")


def _artefact(number: int, day: int, chance: random.Random) -> Iterator[tuple[str, Fact]]:
    path = f"/lustre/checkpoints/run{number:05d}/iter_{chance.randrange(100_000):07d}/model.pt"
    case, at, sha256 = artefact_case(CLUSTER, path), BEGIN_MS + day * DAY_MS, _id(chance) * 2
    for _ in range(3):
        at += HOUR_MS
        write = FileTouched(action="written", path=path, serial=chance.randrange(1 << 24), success=True, pid=77, uid=10_017, comm="python3")
        yield "artefacts", _told(case, _event(chance, Source.AUDITD, at, write, host=_name(number)))
    job = str(100_000 + chance.randrange(JOBS))
    for body in (
        CheckpointSaved(job=job, path=path, sha256=sha256, size_bytes=1 << 30),
        CheckpointLoaded(job=job, path=path, sha256=sha256),
    ):
        at += HOUR_MS
        yield "artefacts", _told(case, _event(chance, Source.PROBE, at, body, job=job))


def _event(chance: random.Random, source: Source, at: int, body: AnyBody, *, job: str = "", host: str = "") -> Event:
    sha256 = _id(chance) + _id(chance)
    return Event(id=_id(chance), source=source, cluster=CLUSTER, event_time=at, body=body, host=host, job=job, sha256=sha256)


def _told(case: bytes, event: Event) -> Fact:
    return Fact(case, event.id, b"", encode_told(event))


def _id(chance: random.Random) -> str:
    return f"{chance.getrandbits(128):032x}"


def _name(number: int) -> str:
    return f"gpu-{number:04d}"


# --- making ---------------------------------------------------------------------------------------------------------------------


class _Log:
    """One partition, and the live records of its state log."""

    def __init__(self, stage: Stage, number: int, settings: Settings) -> None:
        self.part = Partition(Input(stage.reads[0], number), stage, settings, OWNER)
        self.live: dict[str, bytes] = {key(CLAIM, OWNER): pack(Claim())}
        self.live[key(META, OWNER)] = pack(self.part.adopt(0, 1 << 62, "bench"))
        self.batch: list[Fact] = []
        self.ended: list[tuple[int, bytes]] = []
        self._upstream, self._offset = stage.upstream, 0

    def hear(self, time_ms: int) -> None:
        """All sources of all partitions upstream have come to this time."""
        marks = {f"{CLUSTER}\x1f{source}": (time_ms, time_ms) for source in Source}
        coverage = {name: list(range(time_ms - DAY_MS, time_ms, 600_000)) for name in marks}
        for topic in self._upstream:
            self.part.marks.hear(Vector(topic, 0, 1, time_ms, marks, coverage))

    def fold(self, made: Made) -> None:
        """One batch, then a checkpoint."""
        part, batch, self.batch = self.part, self.batch, []
        made.facts += len(batch)
        made.new_bytes += sum(len(encode_fact(fact)) for fact in batch)
        if isinstance(part.state, JobsState):
            for fact in batch:
                part.cases.merge(fact)
        else:
            part.state, _ = part.stage.step(part.state, batch, part.marks.view())
        self._offset += len(batch)
        part.applied = self._offset
        began = time.process_time()
        work = part.snapshot()
        made.pack_ms_max = max(made.pack_ms_max, 1000 * (time.process_time() - began))
        if work is None:
            return
        for name, value in work.writes:
            if value is not None:
                self.live.pop(name, None)  # a record written again stands at the end
                self.live[name] = value
                made.written_bytes += len(name) + len(value)
        part.durable(work)
        for name in work.deletions:
            self.live.pop(name, None)


def make(scale: float, path: Path, settings: Settings = SETTINGS, *, judged: bool = False) -> Made:
    """A state of this share of the full size, as one file of live records.

    With `judged`, all jobs were judged under these settings, as when a worker starts again; else whoever reads it judges all of them, as
    after an upgrade.
    """
    collect_seldom()
    began, made = time.monotonic(), Made()
    topology = build_topology(settings)
    logs = {
        (stage.name, number): _Log(stage, number, settings)
        for stage in topology.stages
        if stage.name in STAGES
        for number in range(PARTITIONS)
    }
    for day in range(DAYS):
        for stage, fact in day_of_facts(day, scale):
            for name, each in _as_told(stage, fact):
                log = logs[name, partition_of(each.case, PARTITIONS)]
                log.batch.append(each)
                if len(log.batch) >= CHECKPOINT_FACTS:
                    log.fold(made)
        for log in logs.values():
            log.hear(BEGIN_MS + (day + 1) * DAY_MS)
            _seal(log)
            log.fold(made)
            while hasattr(log.part.state, "sweep") and log.part.state.sweep.waiting:  # a day has steps enough for it
                log.fold(made)
    if judged:
        for log in logs.values():
            if isinstance(log.part.state, JobsState):
                log.part.derive()  # cases were taken as told: now they are new to the stage
                while log.part.state.unseen or log.part.state.stale:
                    deque(_wake(log.part), 0)
                log.fold(made)
    made.live_bytes = sum(len(name) + len(value) for log in logs.values() for name, value in log.live.items())
    made.make_seconds = time.monotonic() - began
    with path.open("wb") as file:
        for (stage, number), log in logs.items():
            for name, value in log.live.items():
                record = pack((stage, number, name, value))
                file.write(len(record).to_bytes(4, "big") + record)
    return made


def _as_told(stage: str, fact: Fact) -> Iterator[tuple[str, Fact]]:
    """Being heard is told by the bucket, but 39 million of these facts are not needed to see what they leave: what hosts keep of a day."""
    if stage != "heard":
        yield stage, fact
        return
    begin, source = int.from_bytes(fact.rank, "big"), Source(fact.id)
    told = Heard(source, begin, b"\xff" * 18, 600_000)
    yield "hosts", Fact(fact.case, f"{HEARD_DAY}{source}/{begin}", rank(144), encode_told(told))


def _seal(log: _Log) -> None:
    """What the jobs stage does with jobs that ended."""
    part = log.part
    if not isinstance(part.state, JobsState):
        return
    passed = part.marks.view().floor(CLUSTER)
    for case in [case for case in part.cases if case[:1] != b"\x00" and not part.cases.sealed(case)]:
        if any(name.startswith("emitted/") for name in part.cases.of(case)):
            part.cases.seal(case, passed + part.state.keep_ms)


# --- reading --------------------------------------------------------------------------------------------------------------------


def read(path: Path) -> Read:
    """Take the file over as a worker takes its state topics over."""
    collect_seldom()
    found, process, began = Read(), psutil.Process(), time.process_time()
    topology = build_topology(SETTINGS)
    readers: dict[tuple[str, int], LogReader] = {}
    clock = _Clock(found)
    for stage, number, name, value in records_of(path):
        reader = readers.get((stage, number))
        if reader is None:
            reader = readers[stage, number] = LogReader(keep=False)
        reader.take(name, value)
    for reader in readers.values():
        reader.take(key(CLAIM, NEXT), pack(Claim()))
    found.take_seconds = clock.lap()
    for stage, number, name, value in records_of(path):
        readers[stage, number].unpack(name, value)
        clock.turn()
    give_back()
    found.unpack_seconds = clock.lap()
    parts = []
    stages = {stage.name: stage for stage in topology.stages}
    for (stage, number), reader in list(readers.items()):
        part = Partition(Input(stages[stage].reads[0], number), stages[stage], SETTINGS, NEXT, readers.pop((stage, number)))
        part.adopt(0, 1 << 62, "bench")
        parts.append(part)
        del reader
        clock.turn()
    found.build_seconds = clock.lap()
    for part in parts:
        for _ in _wake(part):
            clock.turn()
    found.wake_seconds = clock.lap()
    found.recovery_cpu_seconds = time.process_time() - began
    found.memory_mb = process.memory_info().rss / 1e6
    hear_all(parts)
    found.hear_seconds = clock.lap()
    found.memory_live_mb = process.memory_info().rss / 1e6
    found.memory_peak_mb = _peak_mb()
    return found


class _Clock:
    def __init__(self, found: Read) -> None:
        self._found = found
        self._lap, self._turn = time.monotonic(), time.process_time()

    def turn(self) -> None:
        """Something else could run now."""
        now = time.process_time()
        self._found.block_ms_max = max(self._found.block_ms_max, 1000 * (now - self._turn))
        self._turn = now

    def lap(self) -> float:
        """Seconds since the last lap."""
        now = time.monotonic()
        took, self._lap, self._turn = now - self._lap, now, time.process_time()
        return took


def _wake(part: Partition) -> Iterator[None]:
    while True:
        part.state, _ = part.stage.step(part.state, [], part.marks.view())
        yield
        if not getattr(part.state, "unseen", None):
            return


def hear_all(parts: Sequence[Partition]) -> None:
    """Every host is heard once: so many facts come within minutes of a restart."""
    bucket = BEGIN_MS + DAYS * DAY_MS
    for part in parts:
        if isinstance(part.state, HostsState):
            body = encode_told(Heard(Source.AUDITD, bucket))
            facts = [Fact(case, f"heard/{Source.AUDITD}/{bucket}", b"", body) for case in part.cases if case[:1] != b"\x00"]
            part.state, _ = part.stage.step(part.state, facts, part.marks.view())


def records_of(path: Path) -> Iterator[tuple[str, int, str, bytes]]:
    """(stage, partition, key, value) of the live records of a made state, in the order of their logs."""
    decode = msgspec.msgpack.Decoder(tuple[str, int, str, bytes]).decode
    with path.open("rb") as file:
        while length := file.read(4):
            yield decode(file.read(int.from_bytes(length, "big")))


def _peak_mb() -> float:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1e3
    return 0.0


def main(arguments: Sequence[str]) -> None:
    """`--make SCALE FILE`, `--read FILE`, or the scale for both."""
    if arguments[:1] == ["--read"]:
        sys.stdout.write(msgspec.json.encode(read(Path(arguments[1]))).decode())
        return
    if arguments[:1] == ["--make"]:
        made = make(float(arguments[1]), Path(arguments[2]))
        sys.stdout.write(msgspec.json.encode(made).decode())
        return
    report = measure(float(arguments[0]) if arguments else 1.0)
    text = msgspec.json.format(msgspec.json.encode(report)).decode()
    sys.stdout.write(f"{text}\nwritten per new byte {report.written_per_new:.2f}, recovery {report.recovery_seconds:.1f} s\n")


if __name__ == "__main__":
    main(sys.argv[1:])
