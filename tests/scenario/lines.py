"""Real log lines of a small cluster: what happened in, lines as Slurm, the kernel, torchrun and the probe write them out.

    Site     seconds in, (stream, host, file, line) out, one method per thing that happens; its names are the words of the stories
    ship     lines to Kafka records with the headers of a shipper: host, file, offset, collected two seconds later

Everything is UTC.  A method gives all lines that one thing leaves behind, on all streams: a kill is two audit records, a cancel one
line of the controller and one of the submit host's audit log.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson

from pipeline.model.outcome import Record
from tests.build import COLLEAGUE, HOST, JOB, OWNER, PATH, PID, UNSET, ms

TOPICS = {"training": "logs.training", "scheduler": "logs.scheduler", "access": "logs.access"}
SHIPPING_SECONDS = 2
NOTHING: Mapping[str, str] = MappingProxyType({})
HEX_STATE = {
    "COMPLETED": "0:0", "FAILED": "1:0", "CANCELLED": "0:15", "TIMEOUT": "0:0", "NODE_FAIL": "0:0", "PREEMPTED": "0:0",
    "OUT_OF_MEMORY": "0:125",
}  # fmt: skip


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

    def __init__(self, serial: int = 100) -> None:
        self._serial = serial

    # --- scheduler

    def start(
        self, at: float, job: str = JOB, owner: int = OWNER, nodes: str = HOST, submit: float | None = None, gpus: int = 8
    ) -> list[Line]:
        """The job starts; it was submitted a minute before unless told otherwise."""
        return [self._jobcomp(at, job, owner, nodes, at - 60 if submit is None else submit, at, None, {"state": None}, gpus)]

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
        gpus: int = 8,
    ) -> list[Line]:
        """The job ends."""
        said = {"state": state, "exit_code": HEX_STATE[state], "derived_ec": f"0:{signal}"}
        return [self._jobcomp(at, job, owner, nodes, start - 60 if submit is None else submit, start, at, said, gpus)]

    def sacct(
        self, at: float, job: str = JOB, state: str = "COMPLETED", start: float = 0, end: float = 100, owner: int = OWNER, nodes: str = HOST
    ) -> list[Line]:
        """A row of the hourly export."""
        times = [iso(start - 60), iso(start), iso(end)]
        row = [job, job, "pretrain", f"u{owner % 1000:03d}", str(owner), "llm", "gpu", "normal", state, "0:15", "0:0", *times]
        row += ["00:01:40", "1-00:00:00", "1", nodes, "billing=8,gres/gpu=8", "0"]
        return [Line(at, "scheduler", "ctl-001", "sacct", "/var/spool/sacct.txt", "|".join(row))]

    def cancel(self, at: float, job: str = JOB, by: int = COLLEAGUE, command: bool = True, login: int | None = None) -> list[Line]:
        """Somebody runs scancel; the controller logs the request.  `login`: whose it was, where another's."""
        lines = [self._controller(at, f"_slurm_rpc_kill_job: REQUEST_KILL_JOB JobId={job} uid {by}")]
        return [*self._scancel(at - 0.5, job, by, login), *lines] if command else lines

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

    def update(self, at: float, job: str = JOB, by: int = COLLEAGUE, what: str = "time_limit", to: str = "5") -> list[Line]:
        """Somebody runs scontrol update; the controller logs what it sets, then who asked."""
        return [
            self._controller(at, f"_update_job: setting {what} to {to} for JobId={job}"),
            self._controller(at + 0.1, f"_slurm_rpc_update_job: complete JobId={job} uid={by} usec=812"),
        ]

    def update_refused(self, at: float, job: str = JOB, by: int = COLLEAGUE) -> list[Line]:
        """Somebody tries to, and may not."""
        return [self._controller(at, f"_slurm_rpc_update_job: JobId={job} uid={by}: Access/permission denied")]

    def burst(
        self, at: float, first: int = 1000, count: int = 1, owner: int = OWNER, every: float = 1.0, wait: float = 60.0, hours: float = 3.0,
        nodes: str = HOST,
    ) -> list[Line]:  # fmt: skip
        """Jobs that are submitted one behind the other, start, and end by themselves."""
        lines = []
        for number in range(count):
            submit, job = at + number * every, str(first + number)
            lines += self.start(submit + wait, job, owner, nodes, submit)
            lines += self.end(submit + wait + hours * 3600, job, "COMPLETED", submit + wait, owner, nodes, 0, submit)
        return lines

    def runs(
        self, at: float, first: int = 1, count: int = 1, every: float = 86_400.0, sha: str = "a", path: str = "/env/loss.py",
        took: float = 1000.0, harm: float = 0.0, state: str = "COMPLETED", signal: int = 0,
        other: str = "", owner: int = 0, node: str = "", rate: str = "1.5E-04", batch: int = 4, says: Mapping[str, str] = NOTHING,
        probe: bool = True, gpus: int = 8, kernel: bool = False,
    ) -> list[Line]:  # fmt: skip
        """Runs of one configuration, of two owners in turn, over several nodes: each goes on from a base, imports a module, and an `other`
        where told, prints its steps, and ends.

        No two are quite alike; `harm` is added to the loss, more with every step.  `says` are arguments that it prints, `{job}` in them its
        number; a step consumes a `batch` of samples at a learning `rate`.  `owner` and `node` where all are of one, or on one.  Without the
        `probe` they do not say what they load.  `kernel`: that of the node is heard at their end.
        """
        lines = []
        for number in range(count):
            start, job, odd = at + number * every, str(first + number), (first + number) * 7 % 5
            whose, nodes = owner or (OWNER if odd % 2 else 5013), node or f"gpu-{100 + odd:03d}"
            lines += self.start(start, job, whose, nodes, gpus=gpus)
            dumped = [f"  {name} {'.' * 30} {value.format(job=job)}" for name, value in says.items()]
            lines += [self._training(start + 10, job, text, nodes) for text in dumped]
            lines += self.load(start + 20, "a", job, "/ckpt/base.pt") if probe else []
            lines += self.imported(start + 30, sha, job, path) if probe else []
            lines += self.imported(start + 31, other, job, "/env/other.py") if other and probe else []
            for step in range(1, 13):
                said = f"elapsed time per iteration (ms): {took + odd * 3 + step % 3} | learning rate: {rate} | global batch size: 4"
                loss = 3 + 5 / step + odd / 200 + harm * step
                text = f" iteration {step * 100}/ 100000 | consumed samples: {step * 100 * batch} | {said} | lm loss: {loss:.4f} |"
                lines.append(self._training(start + step * 600, job, text, nodes))
            lines += self.end(start + 8000, job, state, start, whose, nodes, signal, gpus=gpus)
            lines += self.hum(start + 8000, ["kernel"] * kernel, (nodes,))
        return lines

    def pbs(self, at: float, kind: str, job: str, text: str) -> list[Line]:
        """A record of PBS's accounting log."""
        stamp = datetime.fromtimestamp(ms(at) / 1000, UTC).strftime("%m/%d/%Y %H:%M:%S")
        return [
            Line(at, "scheduler", "ctl-001", "pbs", "/var/spool/pbs/server_priv/accounting/20260302", f"{stamp};{kind};{job}.ctl-1;{text}")
        ]

    def pbs_ran(self, at: float, job: str, end: float | None = None, status: int = 0, owner: str = "u012") -> list[Line]:
        """PBS starts a job, or ends one that started then; 271 is 256 and SIGTERM."""
        text = f"user={owner} group=llm jobname=pretrain queue=gpu ctime={ms(at) // 1000 - 60} start={ms(at) // 1000} exec_host=gpu-001/0*8"
        if end is None:
            return self.pbs(at, "S", job, text)
        return self.pbs(end, "E", job, f"{text} end={ms(end) // 1000} Exit_status={status}")

    def happened(self, at: float, name: str, reason: str, kind: str = "Pod", text: str = "", node: str = "") -> list[Line]:
        """A controller of Kubernetes tells of an object."""
        self._serial += 1
        about = {"kind": kind, "namespace": "llm", "name": name}
        source = {"source": {"component": "kubelet", "host": node}} if node else {}
        told: dict[str, Any] = {
            "kind": "Event",
            "apiVersion": "v1",
            "metadata": {"uid": f"e{self._serial}"},
            "involvedObject": about,
            "reason": reason,
        }
        told |= {"message": text, "type": "Normal", "count": 1, "lastTimestamp": f"{iso(at)}Z", **source}
        return [Line(at, "scheduler", "", "", "", orjson.dumps(told).decode())]

    # --- training

    def steps(
        self, at: float, job: str = JOB, count: int = 12, took: float = 2000.0, every: float = 300.0, first: int = 1, host: str = HOST
    ) -> list[Line]:
        """Megatron's lines, one every five minutes."""
        return [
            self._training(
                at + number * every,
                job,
                f" iteration {first + number}/ 100000 | consumed samples: {first + number} | elapsed time per iteration (ms): {took} |"
                " learning rate: 1.499E-04 | global batch size: 4 | lm loss: 7.1E+00 | loss scale: 1.0 | grad norm: 1.2 |"
                " number of skipped iterations: 0 | number of nan iterations: 0 |",
                host,
            )
            for number in range(count)
        ]

    def rank(self, at: float, job: str = JOB, pid: int = PID, host: str = HOST) -> list[Line]:
        """A rank starts under the probe."""
        return [self._probe(at, job, pid, host, {"kind": "process_started", "rank": 0, "uid": OWNER})]

    def save(self, at: float, sha: str = "a", job: str = JOB, path: str = PATH, uid: int = OWNER) -> list[Line]:
        """The job saves a checkpoint under the probe."""
        return [self._probe(at, job, PID, HOST, {"kind": "checkpoint_saved", "uid": uid, "path": path, "sha256": sha * 64})]

    def load(self, at: float, sha: str = "b", job: str = JOB, path: str = PATH) -> list[Line]:
        """The job loads a checkpoint under the probe."""
        return [self._probe(at, job, PID, HOST, {"kind": "checkpoint_loaded", "uid": OWNER, "path": path, "sha256": sha * 64})]

    def imported(self, at: float, sha: str = "b", job: str = JOB, path: str = "/env/torch/nn.py", module: str = "torch.nn") -> list[Line]:
        """The job imports a module under the probe."""
        said = {"kind": "module_imported", "uid": OWNER, "module": module, "path": path, "sha256": sha * 64}
        return [self._probe(at, job, PID, HOST, said)]

    def hook(
        self, at: float, sha: str = "b", job: str = JOB, path: str = "/env/sitecustomize.py", hook: str = "sitecustomize",
        executes: bool | None = None,
    ) -> list[Line]:  # fmt: skip
        """The probe finds what runs before the job's own code."""
        said = {"kind": "hook_found", "uid": OWNER, "hook": hook, "path": path, "sha256": sha * 64}
        return [self._probe(at, job, PID, HOST, said if executes is None else {**said, "executes": executes})]

    def variable(self, at: float, name: str, value: str, job: str = JOB) -> list[Line]:
        """The probe tells how a variable of the job is set."""
        said = {"kind": "environment_set", "uid": OWNER, "name": name, "sha256": "c" * 64, "value": value}
        return [self._probe(at, job, PID, HOST, said)]

    def unpickled(self, at: float, what: str = "posix.system", job: str = JOB, path: str = PATH) -> list[Line]:
        """A pickle names what ordinary ones do not."""
        module, _, name = what.rpartition(".")
        return [self._probe(at, job, PID, HOST, {"kind": "global_unpickled", "uid": OWNER, "module": module, "name": name, "path": path})]

    def spawned(self, at: float, line: str, job: str = JOB, shell: bool = False) -> list[Line]:
        """The job is about to start a program; with a shell the whole line is one argument of it."""
        words = [line] if shell else line.split()
        said = {"kind": "process_spawned", "uid": OWNER, "means": "os.system" if shell else "subprocess.Popen", "arguments": words}
        return [self._probe(at, job, PID, HOST, {**said, "executable": "/bin/sh" if shell else f"/usr/bin/{words[0]}"})]

    def requested(self, at: float, signal: int = 9, target: int = PID, job: str = JOB, through: str = "/home/u012/train.py") -> list[Line]:
        """The job's code is about to send a signal, out of this file."""
        said = {"kind": "signal_requested", "uid": OWNER, "means": "os.kill", "target_pid": target, "signal": signal, "through": [through]}
        return [self._probe(at, job, PID, HOST, said)]

    def loading(self, at: float, step: int, job: str = JOB, folder: str = "/ckpt/u012") -> list[Line]:
        """Megatron says which checkpoint it loads."""
        return [self._training(at, job, f" loading checkpoint from {folder} at iteration {step}")]

    def found_nothing(self, at: float, job: str = JOB, folder: str = "/ckpt/u012") -> list[Line]:
        """Megatron finds no checkpoint, and begins anew."""
        return [self._training(at, job, f"WARNING: could not find the metadata file {folder}/latest_checkpointed_iteration.txt")]

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

    def remove(self, at: float, by: int = COLLEAGUE, path: str = PATH, host: str = "login-001", login: bool = True) -> list[Line]:
        """A process deletes a file of the owner's."""
        called = "arch=c000003e syscall=87 success=yes exit=0 a0=7f a1=0 a2=0 a3=0 items=2 ppid=800 pid=904"
        folder = path.rpartition("/")[0]
        return self._audit(
            at,
            host,
            ("SYSCALL", f'{called} auid={by if login else UNSET} uid={by} gid={by} ses=7 comm="rm" exe="/usr/bin/rm" key="ckpt"'),
            ("CWD", 'cwd="/home"'),
            ("PATH", f'item=0 name="{folder}/" inode=4 dev=00:2d mode=042775 ouid={OWNER} ogid={OWNER} rdev=00:00 nametype=PARENT'),
            ("PATH", f'item=1 name="{path}" inode=5 dev=00:2d mode=0100644 ouid={OWNER} ogid={OWNER} rdev=00:00 nametype=DELETE'),
        )

    def write(
        self, at: float, by: int = COLLEAGUE, path: str = PATH, host: str = "login-001", login: bool = True, of: int = OWNER
    ) -> list[Line]:
        """A process opens a file for writing."""
        auid = by if login else UNSET
        called = "arch=c000003e syscall=257 success=yes exit=3 a0=ffffff9c a1=7f a2=241 a3=1b6 items=1 ppid=800 pid=901"
        return self._audit(
            at,
            host,
            ("SYSCALL", f'{called} auid={auid} uid={by} gid={by} ses=7 comm="cp" exe="/usr/bin/cp" key="ckpt"'),
            ("CWD", 'cwd="/home"'),
            ("PATH", f'item=0 name="{path}" inode=5 dev=00:2d mode=0100644 ouid={of} ogid={OWNER} rdev=00:00 nametype=NORMAL'),
        )

    def login(
        self, at: float, user: str = "u012", key: str = "own-of-u012", address: str = "10.20.1.7", host: str = "login-001", days: int = 1
    ) -> list[Line]:
        """sshd accepts a key, on so many days."""
        text = f"Accepted publickey for {user} from {address} port 50022 ssh2: ED25519 SHA256:{key}"
        return [self._system(at + day * 86_400, host, "sshd", text) for day in range(days)]

    def become(self, at: float, by: str = "u099", user: str = "u012", host: str = "login-001") -> list[Line]:
        """Somebody becomes another user by su."""
        return [self._system(at, host, "su", f"(to {user}) {by} on pts/0")]

    def sudo(self, at: float, command: str, by: str = "u099", host: str = HOST, audited: int | None = None) -> list[Line]:
        """Somebody runs a command as root; `audited`: the kernel tells it, too, with this login uid."""
        lines = [self._system(at, host, "sudo", f"    {by} : TTY=pts/0 ; PWD=/home/{by} ; USER=root ; COMMAND={command}")]
        return lines if audited is None else [*lines, *self.command(at + 0.1, command, audited, host)]

    def sudo_in_audit(
        self, at: float, command: str, by: int = COLLEAGUE, host: str = HOST, done: bool = True, login: bool = True
    ) -> list[Line]:
        """What sudo itself tells the kernel's audit of a command."""
        said = f'cwd="/home" cmd={command.encode().hex().upper()} exe="/usr/bin/sudo" terminal=pts/0 res={"success" if done else "failed"}'
        return self._audit(at, host, ("USER_CMD", f"pid=903 uid={by} auid={by if login else UNSET} ses=7 msg='{said}'"))

    def command(self, at: float, command: str, by: int = COLLEAGUE, host: str = HOST, login: bool = True, root: bool = True) -> list[Line]:
        """A command, as the kernel's audit tells it."""
        words = command.split()
        called = "arch=c000003e syscall=59 success=yes exit=0 a0=1 a1=2 a2=3 a3=4 items=2 ppid=800 pid=903"
        who = f"auid={by if login else UNSET} uid={0 if root else by} gid=0 ses=7"
        given = " ".join(f'a{number}="{word}"' for number, word in enumerate(words))
        return self._audit(
            at,
            host,
            ("SYSCALL", f'{called} {who} comm="{words[0].rpartition("/")[2]}" exe="{words[0]}" key="user_commands"'),
            ("EXECVE", f"argc={len(words)} {given}"),
        )

    def audit_switched(self, at: float, to: int = 0, by: int = COLLEAGUE, host: str = HOST, login: bool = True) -> list[Line]:
        """The audit system writes that it is switched off, or on."""
        text = f"op=set audit_enabled={to} old={1 - to} auid={by if login else UNSET} ses=7 res=1"
        return self._audit(at, host, ("CONFIG_CHANGE", text))

    def hum_of(self, at: float, until: float, host: str = HOST, of: str = "auditd") -> list[Line]:
        """The audit of one host, or another source, is alive from here to there, and at no other time."""
        return [line for each in range(round(at), round(until), 300) for line in self.hum(each, [of], (host,))]

    def api(
        self, at: float, by: str, verb: str, name: str, resource: str = "pytorchjobs.kubeflow.org", code: int = 200, subresource: str = "",
        trial: str = "",
    ) -> list[Line]:  # fmt: skip
        """Somebody asks the API server for something, as its audit log tells it; `trial`: where the request calls itself a dry run."""
        self._serial += 1
        kind, _, group = resource.partition(".")
        about = {"resource": kind, "apiGroup": group, "subresource": subresource, "namespace": "llm", "name": name}
        told: dict[str, Any] = {
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "auditID": f"a{self._serial}",
            "stage": "ResponseComplete",
            "verb": verb,
        }
        told |= {"user": {"username": by}, "objectRef": {field: text for field, text in about.items() if text}}
        told |= {"responseStatus": {"code": code}, "stageTimestamp": f"{iso(at)}.{_milliseconds(at)}000Z"}
        if trial.startswith("address"):
            told["requestURI"] = f"/apis/{group}/v1/namespaces/llm/{kind}/{name}?dryRun=All"
        if trial.endswith("body"):
            told["requestObject"] = {"kind": "DeleteOptions", **({"dryRun": ["All"]} if trial == "body" else {})}
        return [Line(at, "access", "", "", "", orjson.dumps(told).decode())]

    def kernel(self, at: float, text: str, host: str = HOST) -> list[Line]:
        """A line of the kernel."""
        return [self._kernel(at, host, text)]

    def reads(self, at: float, by: int = COLLEAGUE, times: int = 1, every: float = 3 * 86_400, page: str = "/ops/inc-1.md") -> list[Line]:
        """Somebody reads a page of the diagnostics, so many times."""
        return [line for number in range(times) for line in self.command(at + number * every, f"less {page}", by, "login-001", root=False)]

    def writes(self, at: float, by: int = COLLEAGUE, times: int = 1, every: float = 3 * 86_400, path: str = "/env/loader.py") -> list[Line]:
        """Somebody writes a file, so many times."""
        return [line for number in range(times) for line in self.write(at + number * every, by, path)]

    def oom(self, at: float, pid: int = PID, host: str = HOST, of: int = OWNER) -> list[Line]:
        """The kernel ends somebody's process for want of memory."""
        sizes = "total-vm:187000kB, anon-rss:130000kB, file-rss:4kB"
        return [self._kernel(at, host, f"Memory cgroup out of memory: Killed process {pid} (python3) {sizes}, UID:{of} pgtables:16kB")]

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
                if name == "sshd":
                    lines.append(self._system(at, host, "sshd", "Connection closed by 10.20.9.9 port 40022 [preauth]"))
                if name == "auditd":
                    lines += self._audit(at, host, ("CRED_ACQ", "pid=70 uid=0 auid=0 ses=3 msg='op=PAM:setcred acct=\"root\" res=success'"))
        return lines

    # --- how it is written

    def _jobcomp(
        self, at: float, job: str, owner: int, nodes: str, submit: float, start: float, end: float | None, said: dict[str, Any], gpus: int
    ) -> Line:
        name = f"u{owner % 1000:03d}"
        event = {"jobid": int(job), "username": name, "user_id": owner, "partition": "gpu", "nodes": nodes, "account": "llm"}
        event |= {
            "@submit": iso(submit),
            "@start": iso(start),
            **said,
            "tres_alloc": f"billing={gpus},gres/gpu={gpus}",
            "job_name": "pretrain",
        }
        if end is not None:
            event["@end"] = iso(end)
        return Line(at, "scheduler", "", "", "", orjson.dumps(event).decode())

    def _controller(self, at: float, text: str) -> Line:
        return Line(at, "scheduler", "ctl-001", "slurmctld", "/var/log/slurmctld.log", f"[{iso(at)}.{_milliseconds(at)}] {text}")

    def _training(self, at: float, job: str, text: str, host: str = HOST) -> Line:
        return Line(at, "training", host, "job", f"/runs/slurm-{job}.out", text)

    def _probe(self, at: float, job: str, pid: int, host: str, said: dict[str, Any]) -> Line:
        event = {"trainwatch_probe": 1, "time_ms": ms(at), "host": host, "job": job, "pid": pid, **said}
        return Line(at, "training", host, "job", f"/runs/slurm-{job}.out", orjson.dumps(event).decode())

    def _kernel(self, at: float, host: str, text: str) -> Line:
        return Line(
            at, "access", host, "kernel", "/var/log/messages", f"{iso(at)}.{_milliseconds(at)}+00:00 {host} kernel: [81231.5] {text}"
        )

    def _system(self, at: float, host: str, program: str, text: str) -> Line:
        stamp = f"{iso(at)}.{_milliseconds(at)}+00:00"
        return Line(at, "access", host, program, "/var/log/secure", f"{stamp} {host} {program}[71]: {text}")

    def _audit(self, at: float, host: str, *records: tuple[str, str]) -> list[Line]:
        self._serial += 1
        stamp = f"msg=audit({ms(at) // 1000}.{_milliseconds(at)}:{self._serial}): "
        return [Line(at, "access", host, "auditd", "/var/log/audit/audit.log", f"type={kind} {stamp}{text}") for kind, text in records]

    def _scancel(self, at: float, job: str, by: int, login: int | None = None) -> list[Line]:
        called = "arch=c000003e syscall=59 success=yes exit=0 a0=1 a1=2 a2=3 a3=4 items=2 ppid=800 pid=902"
        return self._audit(
            at,
            "login-001",
            ("SYSCALL", f'{called} auid={login or by} uid={by} gid={by} ses=7 comm="scancel" exe="/usr/bin/scancel" key="slurm"'),
            ("EXECVE", f'argc=2 a0="scancel" a1="{job}"'),
        )


def what(site: Site, name: str) -> Callable[..., list[Line]]:
    """The method of a story's word."""
    if name.startswith("_") or not callable(getattr(site, name, None)):
        known = sorted(each for each, value in vars(Site).items() if callable(value) and not each.startswith("_"))
        near = get_close_matches(name, known, 1)
        raise ValueError(f"nothing is called {name!r} here{f'; did you mean {near[0]!r}?' if near else ''}: there are {', '.join(known)}")
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
