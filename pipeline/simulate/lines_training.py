"""What a training job prints: Megatron, torchrun, NCCL, srun and slurmstepd lines, and tracebacks.  Values in, lines out.

Two generations live side by side, as they do on real clusters: Megatron with and without a time in front of its iteration lines,
and torchrun's logging with and without the glog prefix.
"""

from collections.abc import Sequence

from pipeline.simulate.clock import SECOND, glog_time, local_ms, local_second
from pipeline.simulate.work import PYTHON, TORCHRUN, Job, Rank, Run, Share

SCRIPT = "pretrain_gpt.py"
RULE = "=" * 60
THIN_RULE = "-" * 60
_ELASTIC = "torch.distributed.elastic.multiprocessing.api"
_ELASTIC_FILE = "torch/distributed/elastic/multiprocessing/api.py"


def iteration(job: Job, now: int, loss: float, grad_norm: float, elapsed_ms: float) -> str:
    """One progress line of Megatron."""
    run = job.run
    rate = 3.0e-4 * max(0.1, 1 - run.iteration / (run.total_iterations * 1.1))
    prefix = f" [{local_ms(now).replace('T', ' ')}] iteration" if job.has_times else " iteration"
    return (
        f"{prefix} {run.iteration:8d}/{run.total_iterations:8d} | consumed samples: {run.iteration * run.batch:12d} | "
        f"elapsed time per iteration (ms): {elapsed_ms:.1f} | learning rate: {rate:.3E} | global batch size: {run.batch:5d} | "
        f"lm loss: {loss:.6E} | loss scale: 1.0 | grad norm: {grad_norm:.3f} | number of skipped iterations:   0 | "
        f"number of nan iterations:   0 |"
    )


def saving(run: Run) -> str:
    """A save begins."""
    return f"saving checkpoint at iteration {run.iteration:7d} to {run.checkpoint_folder}"


def saved(run: Run) -> str:
    """A save is done, says the framework."""
    return f"  successfully saved checkpoint at iteration {run.iteration:7d} to {run.checkpoint_folder}"


def loading(run: Run, number: int) -> str:
    """A load begins."""
    return f" loading checkpoint from {run.checkpoint_folder} at iteration {number}"


def loaded(run: Run, number: int) -> str:
    """A load is done."""
    return f"  successfully loaded checkpoint from {run.checkpoint_folder} [ t 0/1, p 0/1 ] at iteration {number}"


def elastic(job: Job, now: int, level: str, text: str, line: int) -> str:
    """A line of torchrun's agent."""
    if job.new_torch:
        return f"{level[0]}{glog_time(now)} {139_600_000_000_000 + job.id * 4096} {_ELASTIC_FILE}:{line}] {text}"
    return f"{level}:{_ELASTIC}:{text}"


def closing(job: Job, now: int, pid: int) -> str:
    """The agent ends a sibling of the rank that failed."""
    return elastic(job, now, "WARNING", f"Sending process {pid} closing signal SIGTERM", 906)


def failed(job: Job, now: int, rank: Rank, code: int) -> str:
    """The agent names the rank that failed."""
    text = f"failed (exitcode: {code}) local_rank: {rank.local_rank} (pid: {rank.pid}) of binary: {PYTHON}"
    return elastic(job, now, "ERROR", text, 874)


def failure_block(share: Share, rank: Rank, code: int, time: int) -> list[str]:
    """torchrun's report: an exception with a block of details."""
    reason = {
        -9: f"Signal 9 (SIGKILL) received by PID {rank.pid}",
        -15: f"Signal 15 (SIGTERM) received by PID {rank.pid}",
        -6: f"Signal 6 (SIGABRT) received by PID {rank.pid}",
    }.get(code, "To enable traceback see: https://pytorch.org/docs/stable/elastic/errors.html")
    return [
        "Traceback (most recent call last):",
        f'  File "{TORCHRUN}", line 8, in <module>',
        "    sys.exit(main())",
        "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: ",
        RULE,
        f"{SCRIPT} FAILED",
        THIN_RULE,
        "Failures:",
        "  <NO_OTHER_FAILURES>",
        THIN_RULE,
        "Root Cause (first observed failure):",
        "[0]:",
        f"  time      : {local_second(time // SECOND).replace('T', '_')}",
        f"  host      : {share.host.name}",
        f"  rank      : {rank.rank} (local_rank: {rank.local_rank})",
        f"  exitcode  : {code} (pid: {rank.pid})",
        "  error_file: <N/A>",
        f"  traceback : {reason}",
        RULE,
    ]


def traceback(job: Job, rank: Rank, error: str, where: Sequence[tuple[str, int, str, str]]) -> list[str]:
    """A Python traceback of one rank: (file, line, function, code) from outermost to innermost."""
    prefix = f"[rank{rank.rank}]: " if job.new_torch else ""
    lines = [f"{prefix}Traceback (most recent call last):"]
    for file, number, function, code in where:
        lines += [f'{prefix}  File "{file}", line {number}, in {function}', f"{prefix}    {code}"]
    return [*lines, f"{prefix}{error}"]


def nccl_start(share: Share, rank: Rank) -> str:
    """NCCL introduces itself: host and pid of a rank."""
    return f"{share.host.name}:{rank.pid}:{rank.pid} [{rank.local_rank}] NCCL INFO Bootstrap : Using eth0:{share.host.address}<0>"


def nccl_peer_gone(share: Share, rank: Rank, peer: str) -> str:
    """A peer's socket closed."""
    return (
        f"{share.host.name}:{rank.pid}:{rank.pid + 61} [{rank.local_rank}] misc/socket.cc:58 NCCL WARN socketProgress: "
        f"Connection closed by remote peer {peer}<41234>"
    )


def nccl_watchdog(rank: Rank, now: int, timeout_ms: int, sequence: int) -> list[str]:
    """A collective did not come back in time."""
    month_day, clock = glog_time(now).split(" ")
    stamp = f"[rank{rank.rank}]:[E{month_day} {clock}426 ProcessGroupNCCL.cpp:"
    over = 60 + rank.rank * 7 % 40
    caught = (
        f"{stamp}629] [Rank {rank.rank}] Watchdog caught collective operation timeout: WorkNCCL(SeqNum={sequence}, "
        f"OpType=ALLREDUCE, NumelIn=33554432, NumelOut=33554432, Timeout(ms)={timeout_ms}) ran for {timeout_ms + over} "
        "milliseconds before timing out."
    )
    taken_down = f"{stamp}681] [Rank {rank.rank}] To avoid data inconsistency, we are taking the entire process down."
    return [caught, taken_down]


def cancelled(job: Job, now: int, why: str = "") -> list[str]:
    """slurmstepd's farewell to the step and to the job."""
    host, time = job.node_names[0], local_second(now // SECOND)
    reason = f" DUE TO {why}" if why else ""
    return [
        f"slurmstepd: error: *** STEP {job.id}.0 ON {host} CANCELLED AT {time}{reason} ***",
        f"slurmstepd: error: *** JOB {job.id} ON {host} CANCELLED AT {time}{reason} ***",
    ]


def step_aborted() -> str:
    """srun waits for what is left of the step."""
    return "srun: Job step aborted: Waiting up to 32 seconds for job step to finish."


def srun_error(host: str, tasks: Sequence[int], how: str) -> str:
    """srun reports how tasks ended: `Killed`, `Terminated`, `Exited with exit code 1`."""
    numbers = _ranges(tasks)
    word = "task" if len(tasks) == 1 else "tasks"
    return f"srun: error: {host}: {word} {numbers}: {how}"


def _ranges(numbers: Sequence[int]) -> str:
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ",".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)
