"""Real log lines of a small cluster: what happened in, lines as Slurm, the kernel, torchrun and the probe write them out.

    Site     seconds in, (stream, host, file, line) out, one method per thing that happens; its names are the words of the stories
    ship     lines to Kafka records with the headers of a shipper: host, file, offset, collected two seconds later

Everything is UTC.  A method gives all lines that one thing leaves behind, on all streams: a kill is two audit records, a cancel one
line of the controller and one of the submit host's audit log.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

from pipeline.model.outcome import Record
from tests.build import COLLEAGUE, HOST, JOB, OWNER, PATH, PID, UNSET, ms

TOPICS = {"training": "logs.training", "scheduler": "logs.scheduler", "access": "logs.access"}
SHIPPING_SECONDS = 2
HEX_STATE = {"COMPLETED": "0:0", "FAILED": "1:0", "CANCELLED": "0:15", "TIMEOUT": "0:0", "NODE_FAIL": "0:0"}


class Line(NamedTuple):
    """A line as it is written somewhere."""

    at: float
    stream: str
    host: str
    source: str
    file: str
    text: str


def iso(at: float) -> str:
    return datetime.fromtimestamp(ms(at) / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _milliseconds(at: float) -> str:
    return f"{ms(at) % 1000:03d}"


class Site:
    """What can happen.  Audit serials count up, so that no two events share one."""

    def __init__(self) -> None:
        self._serial = 100

    # --- scheduler

    def start(self, at: float, job: str = JOB, owner: int = OWNER, nodes: str = HOST, submit: float | None = None) -> list[Line]:
        """The job starts; it was submitted a minute before unless told otherwise."""
        return [self._jobcomp(at, job, owner, nodes, at - 60 if submit is None else submit, at, None, {"state": None})]

    def end(
        self,
        at: float,
        job: str = JOB,
        state: str = "COMPLETED",
        start: float = 0,
        owner: int = OWNER,
        nodes: str = HOST,
        signal: int = 0,
        submit: float | None = None,
    ) -> list[Line]:
        """The job ends."""
        said = {"state": state, "exit_code": HEX_STATE[state], "derived_ec": f"0:{signal}"}
        return [self._jobcomp(at, job, owner, nodes, start - 60 if submit is None else submit, start, at, said)]

    def sacct(
        self, at: float, job: str = JOB, state: str = "COMPLETED", start: float = 0, end: float = 100, owner: int = OWNER, nodes: str = HOST
    ) -> list[Line]:
        """A row of the hourly export."""
        times = [iso(start - 60), iso(start), iso(end)]
        row = [job, job, "pretrain", f"u{owner % 1000:03d}", str(owner), "llm", "gpu", "normal", state, "0:15", "0:0", *times]
        row += ["00:01:40", "1-00:00:00", "1", nodes, "billing=8,gres/gpu=8", "0"]
        return [Line(at, "scheduler", "ctl-001", "sacct", "/var/spool/sacct.txt", "|".join(row))]

    def cancel(self, at: float, job: str = JOB, by: int = COLLEAGUE, command: bool = True) -> list[Line]:
        """Somebody runs scancel; the controller logs the request."""
        lines = [self._controller(at, f"_slurm_rpc_kill_job: REQUEST_KILL_JOB JobId={job} uid {by}")]
        return [*self._scancel(at - 0.5, job, by), *lines] if command else lines

    def refuse(self, at: float, job: str = JOB, by: int = COLLEAGUE) -> list[Line]:
        """Somebody runs scancel and may not."""
        return [
            *self.cancel(at, job, by),
            self._controller(at, f"error: Security violation, REQUEST_KILL_JOB RPC for JobId={job} from uid {by}"),
            self._controller(at, f"_slurm_rpc_kill_job: job_str_signal() uid={by} JobId={job} sig=9 returned: Access/permission denied"),
        ]

    def time_limit(self, at: float, job: str = JOB) -> list[Line]:
        """The controller ends the job at its limit."""
        return [self._controller(at, f"Time limit exhausted for JobId={job}")]

    def preempt(self, at: float, job: str = JOB, other: str = "99") -> list[Line]:
        """The controller takes the job's place for another."""
        return [self._controller(at, f"preempted JobId={job} has been killed to reclaim resources for JobId={other}")]

    def node_down(self, at: float, node: str = HOST) -> list[Line]:
        """The controller loses a node."""
        return [self._controller(at, f"error: Nodes {node} not responding, setting DOWN")]

    # --- training

    def rank(self, at: float, job: str = JOB, pid: int = PID, host: str = HOST) -> list[Line]:
        """A rank starts under the probe."""
        return [self._probe(at, job, pid, host, {"kind": "process_started", "rank": 0, "uid": OWNER})]

    def save(self, at: float, sha: str = "a", job: str = JOB, path: str = PATH) -> list[Line]:
        """The job saves a checkpoint under the probe."""
        return [self._probe(at, job, PID, HOST, {"kind": "checkpoint_saved", "uid": OWNER, "path": path, "sha256": sha * 64})]

    def load(self, at: float, sha: str = "b", job: str = JOB, path: str = PATH) -> list[Line]:
        """The job loads a checkpoint under the probe."""
        return [self._probe(at, job, PID, HOST, {"kind": "checkpoint_loaded", "uid": OWNER, "path": path, "sha256": sha * 64})]

    def rank_failed(self, at: float, job: str = JOB, pid: int = PID, code: int = -9) -> list[Line]:
        """torchrun names the rank that failed."""
        text = f"failed (exitcode: {code}) local_rank: 0 (pid: {pid}) of binary: /usr/bin/python3"
        return [self._training(at, job, f"ERROR:torch.distributed.elastic.multiprocessing.api:{text}")]

    def closing(self, at: float, job: str = JOB, pid: int = PID + 1) -> list[Line]:
        """torchrun ends a sibling."""
        return [
            self._training(at, job, f"WARNING:torch.distributed.elastic.multiprocessing.api:Sending process {pid} closing signal SIGTERM")
        ]

    def nccl_timeout(self, at: float, job: str = JOB, minutes: int = 30) -> list[Line]:
        """The watchdog of the collectives gives up."""
        stamp = datetime.fromtimestamp(ms(at) / 1000, UTC).strftime("%m%d %H:%M:%S")
        limit = minutes * 60_000
        text = (
            f"[rank1]:[E{stamp}.000000000 ProcessGroupNCCL.cpp:629] [Rank 1] Watchdog caught collective operation timeout: "
            f"WorkNCCL(SeqNum=7, OpType=ALLREDUCE, NumelIn=1, NumelOut=1, Timeout(ms)={limit}) ran for {limit + 61} milliseconds "
            "before timing out."
        )
        return [self._training(at, job, text)]

    def error(self, at: float, job: str = JOB, text: str = "ValueError: bad shape") -> list[Line]:
        """The program's own error."""
        return [self._training(at, job, text)]

    def step_cancelled(self, at: float, job: str = JOB, why: str = "") -> list[Line]:
        """slurmstepd's farewell."""
        due = f" DUE TO {why}" if why else ""
        return [self._training(at, job, f"slurmstepd: error: *** STEP {job}.0 ON {HOST} CANCELLED AT {iso(at)}{due} ***")]

    # --- access

    def kill(
        self,
        at: float,
        by: int = COLLEAGUE,
        target: int = PID,
        signal: int = 9,
        owner: int = OWNER,
        host: str = HOST,
        uid: int | None = None,
        login: bool = True,
    ) -> list[Line]:
        """A process sends a signal, as the kernel's audit records tell it."""
        who = by if uid is None else uid
        auid = by if login else UNSET
        called = f"arch=c000003e syscall=62 success=yes exit=0 a0={target:x} a1={signal:x} a2=0 a3=0 items=0 ppid=800 pid=900"
        return self._audit(
            at,
            host,
            ("SYSCALL", f'{called} auid={auid} uid={who} gid={who} ses=7 comm="bash" exe="/usr/bin/bash" key="kill_signals"'),
            ("OBJ_PID", f'opid={target} oauid=-1 ouid={owner} oses=-1 ocomm="python3"'),
        )

    def write(self, at: float, by: int = COLLEAGUE, path: str = PATH, host: str = "login-001", login: bool = True) -> list[Line]:
        """A process opens a file for writing."""
        auid = by if login else UNSET
        called = "arch=c000003e syscall=257 success=yes exit=3 a0=ffffff9c a1=7f a2=241 a3=1b6 items=1 ppid=800 pid=901"
        return self._audit(
            at,
            host,
            ("SYSCALL", f'{called} auid={auid} uid={by} gid={by} ses=7 comm="cp" exe="/usr/bin/cp" key="ckpt"'),
            ("CWD", 'cwd="/home"'),
            ("PATH", f'item=0 name="{path}" inode=5 dev=00:2d mode=0100644 ouid={OWNER} ogid={OWNER} rdev=00:00 nametype=NORMAL'),
        )

    def oom(self, at: float, pid: int = PID, host: str = HOST) -> list[Line]:
        """The kernel ends a process for want of memory."""
        sizes = "total-vm:187000kB, anon-rss:130000kB, file-rss:4kB"
        return [self._kernel(at, host, f"Memory cgroup out of memory: Killed process {pid} (python3) {sizes}, UID:{OWNER} pgtables:16kB")]

    def xid(self, at: float, code: int = 79, host: str = HOST) -> list[Line]:
        """The GPU driver reports an error."""
        return [self._kernel(at, host, f"NVRM: Xid (PCI:0000:3b:00): {code}, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.")]

    # --- that a source is alive

    def hum(self, at: float, of: Sequence[str], hosts: Sequence[str] = (HOST,)) -> list[Line]:
        """An ordinary line of each source."""
        lines = []
        for name in of:
            if name == "slurmctld":
                lines.append(self._controller(at, "sched: Running job scheduler"))
            for host in hosts:
                if name == "kernel":
                    lines.append(self._kernel(at, host, "usb 1-1: new device"))
                if name == "auditd":
                    lines += self._audit(at, host, ("CRED_ACQ", "pid=70 uid=0 auid=0 ses=3 msg='op=PAM:setcred acct=\"root\" res=success'"))
        return lines

    # --- how it is written

    def _jobcomp(
        self, at: float, job: str, owner: int, nodes: str, submit: float, start: float, end: float | None, said: dict[str, Any]
    ) -> Line:
        name = f"u{owner % 1000:03d}"
        event = {"jobid": int(job), "username": name, "user_id": owner, "partition": "gpu", "nodes": nodes, "account": "llm"}
        event |= {"@submit": iso(submit), "@start": iso(start), **said, "tres_alloc": "billing=8,gres/gpu=8", "job_name": "pretrain"}
        if end is not None:
            event["@end"] = iso(end)
        return Line(at, "scheduler", "", "", "", orjson.dumps(event).decode())

    def _controller(self, at: float, text: str) -> Line:
        return Line(at, "scheduler", "ctl-001", "slurmctld", "/var/log/slurmctld.log", f"[{iso(at)}.{_milliseconds(at)}] {text}")

    def _training(self, at: float, job: str, text: str) -> Line:
        return Line(at, "training", HOST, "job", f"/runs/slurm-{job}.out", text)

    def _probe(self, at: float, job: str, pid: int, host: str, said: dict[str, Any]) -> Line:
        event = {"trainwatch_probe": 1, "time_ms": ms(at), "host": host, "job": job, "pid": pid, **said}
        return Line(at, "training", host, "job", f"/runs/slurm-{job}.out", orjson.dumps(event).decode())

    def _kernel(self, at: float, host: str, text: str) -> Line:
        return Line(
            at, "access", host, "kernel", "/var/log/messages", f"{iso(at)}.{_milliseconds(at)}+00:00 {host} kernel: [81231.5] {text}"
        )

    def _audit(self, at: float, host: str, *records: tuple[str, str]) -> list[Line]:
        self._serial += 1
        stamp = f"msg=audit({ms(at) // 1000}.{_milliseconds(at)}:{self._serial}): "
        return [Line(at, "access", host, "auditd", "/var/log/audit/audit.log", f"type={kind} {stamp}{text}") for kind, text in records]

    def _scancel(self, at: float, job: str, by: int) -> list[Line]:
        called = "arch=c000003e syscall=59 success=yes exit=0 a0=1 a1=2 a2=3 a3=4 items=2 ppid=800 pid=902"
        return self._audit(
            at,
            "login-001",
            ("SYSCALL", f'{called} auid={by} uid={by} gid={by} ses=7 comm="scancel" exe="/usr/bin/scancel" key="slurm"'),
            ("EXECVE", f'argc=2 a0="scancel" a1="{job}"'),
        )


def what(site: Site, name: str) -> Callable[..., list[Line]]:
    """The method of a story's word."""
    if name.startswith("_") or not callable(getattr(site, name, None)):
        raise ValueError(f"nothing is called {name!r} here")
    method: Callable[..., list[Line]] = getattr(site, name)
    return method


def ship(lines: Iterable[Line], late: dict[int, float] | None = None) -> Iterator[Record]:
    """Lines in order of collection; `late`: number of the line -> seconds more than usual."""
    offsets: dict[tuple[str, str], int] = {}
    made = []
    for number, line in enumerate(sorted(lines, key=lambda each: each.at)):
        where = (line.host, line.file)
        collected = line.at + SHIPPING_SECONDS + (late or {}).get(number, 0.0)
        headers: tuple[tuple[str, bytes], ...] = (("collected", str(ms(collected)).encode()),)
        if line.file:
            given = {"host": line.host, "source": line.source, "file": line.file, "offset": str(offsets.get(where, 0))}
            headers = (*((name, text.encode()) for name, text in given.items()), *headers)
            offsets[where] = offsets.get(where, 0) + len(line.text) + 1
        made.append(
            Record(topic=TOPICS[line.stream], partition=0, offset=0, timestamp=ms(collected), value=line.text.encode(), headers=headers)
        )
    yield from sorted(made, key=lambda record: record.timestamp)
