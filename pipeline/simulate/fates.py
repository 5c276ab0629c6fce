"""How jobs end without anybody meaning harm: the ordinary life that detectors must not mistake for interference.

Each fate is a process that starts when the job's hour has come and writes what the machines involved would write, in their
order.  Shares of fates follow published base rates: about two in five GPU jobs fail, mostly by their own scripts, and owners
cancel one in ten.  Look-alikes on purpose: torchrun ends the siblings of a failed rank, slurmstepd and the epilog end ranks as
root, owners kill their own ranks, the kernel kills for memory, admins cancel and kill under a ticket.
"""

from collections.abc import Callable
from random import Random

from pipeline.simulate import deeds, effects, lines_access, lines_training
from pipeline.simulate.clock import MINUTE, SECOND, Process, local_second
from pipeline.simulate.endings import SIGKILL, Site, bus, finish_failed, kill_rank, ranks_fail, share_number, slurm_ends_ranks
from pipeline.simulate.lines_access import Program
from pipeline.simulate.work import Fate, Job, Share

# kind, share in percent, shortest and longest time to it in minutes (longest: three in four are below half of it)
SHARES: tuple[tuple[str, float, float, float], ...] = (
    ("completed", 45.5, 8, 640),
    ("script_error", 22.0, 0.7, 20),
    ("cuda_error", 5.0, 3, 120),
    ("network_hang", 2.0, 10, 200),
    ("hardware", 3.0, 10, 300),
    ("node_fail", 1.0, 10, 300),
    ("oom", 3.5, 3, 90),
    ("owner_kill", 2.0, 5, 120),
    ("launch_failure", 0.7, 0.1, 0.2),
    ("owner_cancel", 11.0, 2, 400),
    ("time_limit", 2.5, 30, 480),
    ("admin_cancel", 0.9, 10, 240),
    ("admin_kill", 0.9, 10, 240),
)


def draw_fate(dice: Random) -> Fate:
    """What is to become of a job."""
    kind, _, low, high = dice.choices(SHARES, [share for _, share, _, _ in SHARES])[0]
    return Fate(kind, round((low + (high - low) * dice.betavariate(1.1, 3.2)) * MINUTE))


def run_fate(site: Site, job: Job) -> Process:
    """Wait for the job's hour, then let its fate take over."""
    yield site.world.now + job.fate.after
    if not job.over:
        yield from FATES[job.fate.kind](site, job)


def completed(site: Site, job: Job) -> Process:
    """Training reaches its goal for this job."""
    job.over = True
    site.training.print(job, "[after training is done] datetime: " + local_second(site.world.now // SECOND))
    yield site.after(2, 15)
    site.slurm.complete_line(job, "WEXITSTATUS 0")
    site.slurm.end(job, "COMPLETED", "0:0", "0:0", "completed")


SCRIPT_ERRORS = (
    ("ModuleNotFoundError: No module named 'flash_attn_3'", "import flash_attn_3"),
    ("FileNotFoundError: [Errno 2] No such file or directory: '/lustre/data/tokens_v3.idx'", "self.index = open(path + '.idx', 'rb')"),
    ("ValueError: hidden_size must be divisible by num_attention_heads", "raise ValueError('hidden_size must be divisible')"),
    ("KeyError: 'lr_warmup_fraction'", "warmup = config['lr_warmup_fraction']"),
    ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 9.50 GiB.", "hidden = self.mlp(hidden)"),
)


def script_error(site: Site, job: Job) -> Process:
    """The user's own code raises."""
    yield from _wait_for_processes(site, job)
    if job.over:
        return
    job.over = True
    error, code = site.dice.choice(SCRIPT_ERRORS)
    share = job.shares[0]
    rank = site.dice.choice(share.told)
    where = (
        (f"{job.run.folder}/{lines_training.SCRIPT}", 127, "main", "pretrain(args)"),
        (f"{job.run.folder}/model.py", 88, "build", code),
    )
    site.training.print(job, *lines_training.traceback(job, rank, error, where))
    yield from ranks_fail(site, job, share, rank, 1)
    finish_failed(site, job, "1:0", "script_error")


def cuda_error(site: Site, job: Job) -> Process:
    """A kernel of the user's own reads out of bounds; the driver reports an application fault."""
    yield from _wait_for_processes(site, job)
    if job.over:
        return
    job.over = True
    share = site.dice.choice(job.shares)
    rank = site.dice.choice(share.told)
    number, what = site.dice.choice(
        ((31, "Ch 00000010, intr 10000000. MMU Fault"), (13, "Graphics SM Warp Exception: Out Of Range Address"))
    )
    share.host.kernel(lines_access.xid(bus(rank), number, rank.pid, what))
    yield site.after(0.2, 2)
    where = ((f"{job.run.folder}/{lines_training.SCRIPT}", 301, "train_step", "loss.backward()"),)
    site.training.print(job, *lines_training.traceback(job, rank, "RuntimeError: CUDA error: device-side assert triggered", where))
    yield from ranks_fail(site, job, share, rank, 1)
    finish_failed(site, job, "1:0", "cuda_error")


def hardware(site: Site, job: Job, on: Share | None = None) -> Process:
    """A GPU falls off the bus or reports memory errors; the node is drained."""
    share = on or site.dice.choice(job.shares)
    host = share.host
    if host.quiet_until > site.world.now or not share.ranks:
        yield from script_error(site, job)
        return
    job.over = True
    host.last_trouble = site.world.now
    rank = site.dice.choice(share.told)
    number, what = site.dice.choice(
        (
            (79, "GPU has fallen off the bus."),
            (48, "An uncorrectable double bit error (DBE) has been detected on GPU."),
            (94, "Contained ECC error"),
        )
    )
    host.kernel(lines_access.xid(bus(rank), number, rank.pid, what))
    yield site.after(0.5, 5)
    where = ((f"{job.run.folder}/{lines_training.SCRIPT}", 301, "train_step", "loss.backward()"),)
    site.training.print(job, *lines_training.traceback(job, rank, "RuntimeError: CUDA error: unspecified launch failure", where))
    yield from ranks_fail(site, job, share, rank, -6)
    finish_failed(site, job, "1:0", "hardware")
    yield site.after(5, 60)
    site.slurm.log(f"update_node: node {host.name} reason set to: Xid {number}", f"drain_nodes: node {host.name} state set to DRAIN")


def oom(site: Site, job: Job) -> Process:
    """A rank outgrows the job's memory; the kernel kills it, which the agent sees as signal 9."""
    yield from _wait_for_processes(site, job)
    if job.over:
        return
    job.over = True
    share = site.dice.choice(job.shares)
    rank = site.dice.choice(share.told)
    for line in lines_access.oom_kill(job.id, job.owner.uid, rank.pid, rank.local_rank):
        share.host.kernel(line)
    yield from ranks_fail(site, job, share, rank, -SIGKILL)
    site.training.print(
        job,
        f"slurmstepd: error: Detected 1 oom_kill event in StepId={job.id}.0. Some of the step tasks have been OOM Killed.",
        lines_training.srun_error(share.host.name, [share_number(job, share)], "Out Of Memory"),
    )
    yield site.after(1, 5)
    site.slurm.complete_line(job, "OOM failure")
    site.slurm.end(job, "OUT_OF_MEMORY", "0:125", "0:125", "oom")


def network_hang(site: Site, job: Job) -> Process:
    """A link flaps and a collective never comes back: the watchdog ends the ranks ten minutes later, nobody killed them."""
    yield from _wait_for_processes(site, job)
    if job.over:
        return
    job.over = True
    share = site.dice.choice(job.shares)
    share.host.kernel("mlx5_core 0000:5e:00.0 ens1np0: Link down")
    yield site.after(3, 20)
    share.host.kernel("mlx5_core 0000:5e:00.0 ens1np0: Link up")
    yield site.world.now + 600 * SECOND
    rank = share.ranks[0]
    site.training.print(job, *lines_training.nccl_watchdog(rank, site.world.now, 600_000, job.run.iteration))
    yield from ranks_fail(site, job, share, rank, -6)
    finish_failed(site, job, "1:0", "network_hang")


def launch_failure(site: Site, job: Job) -> Process:
    """The output folder does not exist: the batch script never starts."""
    job.over = True
    site.slurm.complete_line(job, "WTERMSIG 53")
    site.slurm.end(job, "FAILED", "0:53", "0:53", "launch_failure")
    return
    yield


def time_limit(site: Site, job: Job) -> Process:
    """The time that the owner asked for is used up."""
    job.over = True
    site.slurm.log(f"Time limit exhausted for JobId={job.id}")
    yield from slurm_ends_ranks(site, job, "TIME LIMIT")
    site.slurm.end(job, "TIMEOUT", "0:0", "0:15", "time_limit")


def owner_cancel(site: Site, job: Job) -> Process:
    """The owner has seen enough."""
    host = site.dice.choice(site.world.login_hosts)
    session = deeds.log_in(site.world, host, job.owner)
    yield site.after(10, 200)
    if not job.over:
        yield from cancel(site, job, session)
        site.slurm.end(job, "CANCELLED", "0:15", "0:15", "owner_cancel", cancelled_by=job.owner.uid)
    yield site.after(20, 600)
    deeds.log_out(session)


def admin_cancel(site: Site, job: Job) -> Process:
    """Maintenance: an admin cancels under a ticket."""
    admin = site.dice.choice(site.world.people.admins)
    session = deeds.log_in(site.world, site.world.login_hosts[0], admin)
    site.world.ticket(admin, jobs=(str(job.id),))
    yield site.after(60, 300)
    if not job.over:
        yield from cancel(site, job, session)
        site.slurm.end(job, "CANCELLED", "0:15", "0:15", "admin_cancel", cancelled_by=admin.uid)
    yield site.after(20, 600)
    deeds.log_out(session)


def cancel(site: Site, job: Job, session: deeds.Session) -> Process:
    """scancel by whoever is logged in, allowed by Slurm; ends when the ranks are gone."""
    job.over = True
    deeds.run_command(session, ("scancel", str(job.id)), "/usr/bin/scancel")
    yield site.after(0.05, 0.3)
    site.slurm.log(f"_slurm_rpc_kill_job: REQUEST_KILL_JOB JobId={job.id} uid {session.person.uid}")
    yield site.after(0.1, 1.0)
    yield from slurm_ends_ranks(site, job, "")


def owner_kill(site: Site, job: Job) -> Process:
    """The owner ends his own ranks by hand, on the node."""
    share = site.dice.choice(job.shares)
    host = share.host
    session = deeds.log_in(site.world, host, job.owner, site.world.login_hosts[0].address)
    yield site.after(15, 120)
    if not job.over and share.ranks:
        rank = share.ranks[0]
        pid = host.process()
        program = Program("pkill", "/usr/bin/pkill", ("pkill", "-9", "-f", lines_training.SCRIPT))
        yield from kill_rank(site, job, share, rank, session.subject(), (session.shell_pid, pid), program, SIGKILL, "owner_kill")
    yield site.after(20, 300)
    deeds.log_out(session, site.world.login_hosts[0].address)


def stops_itself(site: Site, job: Job) -> Process:
    """The job's own script ends a rank by a signal, as at a deadline: from inside, and nobody's doing but its owner's."""
    yield from _wait_for_processes(site, job)
    if not job.over:
        share = job.shares[0]
        script = f"{job.run.folder}/{lines_training.SCRIPT}"
        yield from effects.kill_itself(site, job, share, share.ranks[0], script, "stops_itself")


def admin_kill(site: Site, job: Job) -> Process:
    """A stuck process: an admin kills a rank as root, under a ticket for that node."""
    share = site.dice.choice(job.shares)
    host = share.host
    admin = site.dice.choice(site.world.people.admins)
    session = deeds.log_in(site.world, host, admin, site.world.login_hosts[0].address)
    site.world.ticket(admin, hosts=(host.name,))
    yield site.after(30, 200)
    if not job.over and share.ranks:
        rank = site.dice.choice(share.told)
        parent = deeds.sudo(session, f"/usr/bin/kill -9 {rank.pid}")
        program = Program("kill", "/usr/bin/kill", ("/usr/bin/kill", "-9", str(rank.pid)))
        pids = (parent, host.process())
        yield from kill_rank(site, job, share, rank, session.subject(0, 0), pids, program, SIGKILL, "admin_kill")
    yield site.after(20, 300)
    deeds.log_out(session, site.world.login_hosts[0].address)


def node_fail(site: Site, job: Job, on: Share | None = None) -> Process:
    """A node dies, with everything on it, and comes back after a while."""
    host = (on or site.dice.choice(job.shares)).host
    others = site.slurm.jobs_on(host)
    if host.quiet_until > site.world.now or any(other.protected for other in others):
        yield from script_error(site, job)
        return
    host.is_up = False
    host.last_trouble = site.world.now
    lost = [other for other in others if not other.over]
    for other in lost:
        other.over = True
    site.slurm.log(f"error: Nodes {host.name} not responding")
    yield site.after(60, 200)
    site.slurm.node_down(host)
    for other in lost:
        requeued = other.id % 3 == 0
        if requeued:
            site.slurm.log(f"requeue job JobId={other.id} due to failure of node {host.name}")
        else:
            site.slurm.log(f"Killing JobId={other.id} on failed node {host.name}")
        if other.node_names[0] != host.name:
            why = "NODE FAILURE, SEE SLURMCTLD LOG FOR DETAILS"
            site.training.print(other, *lines_training.cancelled(other, site.world.now, why))
        site.slurm.end(other, "NODE_FAIL", "0:0", "0:0", "node_fail", failed_node=host.name)
        if requeued:
            site.slurm.requeue(other)
    yield site.after(900, 2400)
    host.boot()
    yield site.after(20, 60)
    site.slurm.log(f"Node {host.name} now responding")


def preempt(site: Site, job: Job, requeued: bool) -> Process:
    """Slurm takes the job's place for a more important one."""
    job.over = True
    yield from slurm_ends_ranks(site, job, "PREEMPTION")
    site.slurm.end(job, "PREEMPTED", "0:0", "0:15", "preempted")
    if requeued:
        site.slurm.requeue(job)


def _wait_for_processes(site: Site, job: Job) -> Process:
    while not job.over and not all(share.ranks for share in job.shares):
        yield site.after(1, 3)


FATES: dict[str, Callable[[Site, Job], Process]] = {
    "completed": completed,
    "script_error": script_error,
    "cuda_error": cuda_error,
    "hardware": hardware,
    "oom": oom,
    "network_hang": network_hang,
    "launch_failure": launch_failure,
    "time_limit": time_limit,
    "owner_cancel": owner_cancel,
    "admin_cancel": admin_cancel,
    "owner_kill": owner_kill,
    "stops_itself": stops_itself,
    "admin_kill": admin_kill,
    "node_fail": node_fail,
}
