"""How training processes come to an end, and what launcher, NCCL, Slurm and kernel write while they do.

Fates and acts choose the cause; from the first dead rank on, the rest follows by itself.  With torchrun the agent ends the siblings
and reports a block; without it srun names the task, and the other ranks find their peer gone or hang until NCCL's watchdog ends
them.  Slurm ends ranks through slurmstepd, as root without a login.

    signal -> rank dies -> (agent ends siblings | peers notice | watchdog after 10 or 30 min) -> srun -> batch script -> Slurm
"""

from dataclasses import dataclass
from random import Random

from pipeline.simulate import deeds, lines_access, lines_training
from pipeline.simulate.clock import SECOND, Process
from pipeline.simulate.lines_access import Program, Subject
from pipeline.simulate.slurm import Slurm
from pipeline.simulate.training import Training
from pipeline.simulate.work import PYTHON, TORCHRUN, Job, Rank, Share
from pipeline.simulate.world import World

SIGKILL, SIGTERM, SIGCONT = 9, 15, 18
AGENT = Program("torchrun", PYTHON, (PYTHON, TORCHRUN, "--nproc-per-node=8", lines_training.SCRIPT))
STEPD = Program("slurmstepd", "/usr/sbin/slurmstepd", ("slurmstepd:",))
EPILOG = Program("epilog.sh", "/usr/bin/bash", ("/bin/bash", "/etc/slurm/epilog.sh"))
KILL_WAIT = 30 * SECOND


@dataclass(frozen=True, slots=True)
class Site:
    """What a story works with: the world, its scheduler, the training of its jobs."""

    world: World
    slurm: Slurm
    training: Training

    def after(self, low: float, high: float) -> int:
        """An instant between `low` and `high` seconds from now."""
        return self.world.soon("fates", low, high)

    @property
    def dice(self) -> Random:
        return self.world.dice("fates")


def kill_rank(
    site: Site,
    job: Job,
    share: Share,
    rank: Rank,
    sender: Subject,
    pids: tuple[int, int],
    program: Program,
    signal: int,
    cause: str,
    hang_ms: int = 0,
) -> Process:
    """Somebody's signal reaches a rank, and the job dies of it: at once, or after NCCL has waited `hang_ms` for the lost rank."""
    job.over = True
    target = Subject.daemon(job.owner.uid, job.owner.gid)
    deeds.send_signal(share.host, sender, pids, program, (rank.pid, target, "python3"), signal)
    yield site.after(0.02, 0.4)
    share.host.kernel(lines_access.xid(bus(rank), 45, rank.pid, "Ch 00000008"))
    yield from ranks_fail(site, job, share, rank, -signal, hang_ms)
    if job.launcher == "torchrun":
        finish_failed(site, job, "1:0", cause)
    else:
        site.slurm.complete_line(job, f"WEXITSTATUS {128 + signal}")
        site.slurm.end(job, "FAILED", f"{128 + signal}:0", f"0:{signal}", cause)


def ranks_fail(site: Site, job: Job, share: Share, rank: Rank, code: int, hang_ms: int = 0) -> Process:
    """One rank is gone with exit `code`; the launcher and NCCL bring the others down."""
    if job.launcher == "torchrun":
        yield from _torchrun_fails(site, job, share, rank, code)
    else:
        yield from _srun_fails(site, job, share, rank, code, hang_ms)


def finish_failed(site: Site, job: Job, derived: str, cause: str) -> None:
    """The batch script ended with exit code 1."""
    site.slurm.complete_line(job, "WEXITSTATUS 1")
    site.slurm.end(job, "FAILED", "1:0", derived, cause)


def _torchrun_fails(site: Site, job: Job, share: Share, rank: Rank, code: int) -> Process:
    """The agent notices, ends the siblings itself, and reports; agents of other nodes lose their store and do the same."""
    yield site.after(0.2, 4.0)
    noticed = site.world.now
    for other in (share, *(other for other in job.shares if other is not share)):
        if other is not share:
            yield site.after(0.5, 6)
            peer = share.host.address
            site.training.print(job, lines_training.nccl_peer_gone(other, other.ranks[0], peer))
        spared = rank.local_rank if other is share else -1
        for sibling in other.told:
            if sibling.local_rank != spared:
                site.training.print(job, lines_training.closing(job, site.world.now, sibling.pid))
        agent = Subject.daemon(job.owner.uid, job.owner.gid)
        deeds.signal_ranks(other, job.owner, agent, (other.stepd_pid, other.agent_pid), AGENT, SIGTERM, spared)
    yield site.after(1, 12)
    site.training.print(job, lines_training.failed(job, site.world.now, rank, code))
    yield site.after(0.05, 0.5)
    site.training.print(job, *lines_training.failure_block(share, rank, code, noticed))
    yield site.after(0.3, 3)
    for other in job.shares:
        site.training.print(job, lines_training.srun_error(other.host.name, [share_number(job, other)], "Exited with exit code 1"))
    yield site.after(1, 8)


def _srun_fails(site: Site, job: Job, share: Share, rank: Rank, code: int, hang_ms: int) -> Process:
    """srun reports the task; the other ranks find their peer gone, or wait until NCCL's watchdog ends them."""
    yield site.after(0.1, 1.5)
    how = {-SIGKILL: "Killed", -SIGTERM: "Terminated", -6: "Aborted (core dumped)"}.get(code, f"Exited with exit code {code}")
    site.training.print(job, lines_training.srun_error(share.host.name, [rank.rank], how))
    if hang_ms:
        yield site.world.now + hang_ms
        for other in job.shares:
            for left in other.told:
                if left.rank != rank.rank:
                    lines = lines_training.nccl_watchdog(left, site.world.now, hang_ms, job.run.iteration)
                    site.training.print(job, *lines)
    else:
        yield site.after(0.5, 5)
        for other in job.shares:
            for left in other.told:
                if left.rank != rank.rank:
                    site.training.print(job, lines_training.nccl_peer_gone(other, left, share.host.address))
    yield site.after(0.5, 4)
    ending = "Aborted (core dumped)" if hang_ms else "Exited with exit code 1"
    for other in job.shares:
        tasks = [left.rank for left in other.told if left.rank != rank.rank]
        if tasks:
            site.training.print(job, lines_training.srun_error(other.host.name, tasks, ending))
    yield site.after(1, 8)


def slurm_ends_ranks(site: Site, job: Job, why: str) -> Process:
    """slurmstepd ends a step: SIGCONT and SIGTERM as root without login, SIGKILL half a minute later for those left."""
    now = site.world.now
    site.training.print(job, *lines_training.cancelled(job, now, why), lines_training.step_aborted())
    stepd = Subject.daemon()
    for share in job.shares:
        for signal in (SIGCONT, SIGTERM):
            deeds.signal_ranks(share, job.owner, stepd, (1, share.stepd_pid), STEPD, signal)
    yield site.after(0.5, 4)
    for share in job.shares:
        if tasks := [rank.rank for rank in share.told] if job.launcher == "srun" else [share_number(job, share)]:
            site.training.print(job, lines_training.srun_error(share.host.name, tasks, "Terminated"))
    if job.id % 5 == 0:
        yield now + KILL_WAIT
        for share in job.shares:
            deeds.signal_ranks(share, job.owner, stepd, (1, share.stepd_pid), STEPD, SIGKILL, spared=0)
    if job.id % 7 == 0:
        # The epilog makes sure that nothing of the job is left.
        yield site.after(2, 6)
        for share in job.shares:
            deeds.signal_ranks(share, job.owner, stepd, (1, share.host.process()), EPILOG, SIGKILL)
    yield site.after(1, 6)


def share_number(job: Job, share: Share) -> int:
    """Which task of the step runs on this share's node, with one task a node."""
    return job.shares.index(share)


def bus(rank: Rank) -> str:
    return f"0000:{0x18 + 0x11 * rank.local_rank:02x}:00.0"[:-2]
