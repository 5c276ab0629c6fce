"""Harmless things that look like interference until one reads the record that explains them.

Probes with signal 0, signals refused for want of permission, people tidying up their own processes, refused opens of other
people's files, cancels that come too late, owners editing their own checkpoints, the resharding service, and restores by an admin
under a ticket.  Each change of a checkpoint is followed by a job that loads it.
"""

from collections.abc import Callable

from pipeline.simulate import deeds, lines_training
from pipeline.simulate.clock import DAY, Process
from pipeline.simulate.deeds import EACCES, EPERM, Writer
from pipeline.simulate.demand import Demand
from pipeline.simulate.endings import SIGKILL, SIGTERM, Site
from pipeline.simulate.lines_access import Program, Subject
from pipeline.simulate.work import PYTHON, Checkpoint, Job, Run

# what happens, and how often a day
Story = Callable[[Site, Demand], Process]


def every_day(site: Site, demand: Demand) -> None:
    """Start all stories of this module, each at its own rate."""
    for story, per_day in RATES:
        site.world.clock.start(_again_and_again(site, demand, story, per_day))


def _again_and_again(site: Site, demand: Demand, story: Story, per_day: float) -> Process:
    dice = site.world.dice("lookalikes")
    while True:
        yield site.world.now + round(dice.expovariate(1) * DAY / per_day)
        site.world.clock.start(story(site, demand))


def tidy_up_on_login_node(site: Site, _: Demand) -> Process:
    """Somebody ends a process of their own on a login node."""
    world = site.world
    dice = world.dice("lookalikes")
    session = deeds.log_in(world, dice.choice(world.login_hosts), dice.choice(world.staff))
    yield world.soon("lookalikes", 20, 600)
    target = session.host.process()
    yield world.soon("lookalikes", 5, 60)
    program = Program("bash", "/usr/bin/bash", ("-bash",))
    signal = dice.choice((SIGTERM, SIGKILL))
    subject = session.subject()
    comm = dice.choice(("python3", "vim", "tensorboard"))
    deeds.send_signal(session.host, subject, (session.sshd_pid, session.shell_pid), program, (target, subject, comm), signal)
    world.ledger.look_alike("tidies_up", "p01", session.person, world.now, host=session.host.name)
    yield world.soon("lookalikes", 10, 300)
    deeds.log_out(session)


def _running_job(site: Site) -> Job | None:
    jobs = [job for job in site.slurm.running.values() if not job.over and job.shares[0].ranks]
    return site.world.dice("lookalikes").choice(jobs) if jobs else None


def is_it_alive(site: Site, _: Demand) -> Process:
    """`kill -0`: the owner, or an admin as root, asks whether a rank lives."""
    world = site.world
    dice = world.dice("lookalikes")
    job = _running_job(site)
    if job is None:
        return
    by_admin = dice.random() < 0.5
    person = dice.choice(world.people.admins) if by_admin else job.owner
    share = job.shares[0]
    session = deeds.log_in(world, share.host, person)
    yield world.soon("lookalikes", 5, 60)
    if not job.over:
        rank = dice.choice(share.told)
        argv = ("kill", "-0", str(rank.pid))
        parent = deeds.sudo(session, "/usr/bin/" + " ".join(argv)) if by_admin else session.shell_pid
        subject = session.subject(0, 0) if by_admin else session.subject()
        target = Subject.daemon(job.owner.uid, job.owner.gid)
        program = Program("kill", "/usr/bin/kill", argv)
        deeds.send_signal(share.host, subject, (parent, share.host.process()), program, (rank.pid, target, "python3"), 0)
        world.ledger.look_alike("is_it_alive", "p01", person, world.now, job, host=share.host.name)
    yield world.soon("lookalikes", 5, 200)
    deeds.log_out(session)


def careless_pkill(site: Site, _: Demand) -> Process:
    """pkill by pattern on a node: the kernel refuses for everybody else's ranks."""
    world = site.world
    dice = world.dice("lookalikes")
    job = _running_job(site)
    if job is None:
        return
    host = job.shares[0].host
    present = [other.owner for other in site.slurm.jobs_on(host)]
    person = dice.choice([person for person in world.staff if person not in present])
    session = deeds.log_in(world, host, person, world.login_hosts[0].address)
    yield world.soon("lookalikes", 10, 200)
    program = Program("pkill", "/usr/bin/pkill", ("pkill", "-f", lines_training.SCRIPT))
    pids = (session.shell_pid, host.process())
    for other in site.slurm.jobs_on(host):
        target = Subject.daemon(other.owner.uid, other.owner.gid)
        for share in other.shares:
            if share.host is host and not other.over and other.owner is not person:
                for rank in share.told:
                    deeds.send_signal(host, session.subject(), pids, program, (rank.pid, target, "python3"), SIGTERM, EPERM)
                world.ledger.look_alike("careless_pkill", "p01", person, world.now, other, host=host.name)
    yield world.soon("lookalikes", 10, 200)
    deeds.log_out(session, world.login_hosts[0].address)


def too_late_cancel(site: Site, _: Demand) -> Process:
    """The owner of a job that has just ended cancels it: a request without effect."""
    world = site.world
    dice = world.dice("lookalikes")
    job = site.slurm.last_ended()
    if job is None:
        return
    session = deeds.log_in(world, dice.choice(world.login_hosts), job.owner)
    yield world.soon("lookalikes", 5, 60)
    deeds.run_command(session, ("scancel", str(job.id)), "/usr/bin/scancel")
    yield world.soon("lookalikes", 0.05, 0.3)
    world.ledger.look_alike("too_late_cancel", "p03", job.owner, world.now, job)
    uid = job.owner.uid
    site.slurm.log(
        f"_slurm_rpc_kill_job: REQUEST_KILL_JOB JobId={job.id} uid {uid}",
        f"_slurm_rpc_kill_job: job_str_signal() uid={uid} JobId={job.id} sig=9 returned: Job/step already completing or completed",
    )
    yield world.soon("lookalikes", 10, 200)
    deeds.log_out(session)


def refused_open(site: Site, _: Demand) -> Process:
    """A program opens somebody else's checkpoint to write, by mistake, and may not."""
    world = site.world
    dice = world.dice("lookalikes")
    found = world.idle_checkpoint("lookalikes")
    if found is None:
        return
    run, checkpoint = found
    person = dice.choice([person for person in world.staff if person.gid != run.owner.gid])
    session = deeds.log_in(world, dice.choice(world.login_hosts), person)
    yield world.soon("lookalikes", 10, 200)
    argv = (PYTHON, "convert.py", checkpoint.path)
    writer = _writer(session, session.subject(), session.shell_pid, Program("python3", PYTHON, argv))
    deeds.open_for_writing(writer, run, checkpoint.path, checkpoint.inode, create=False, result=EACCES)
    world.ledger.look_alike("refused_open", "p06", person, world.now, artefact=checkpoint.path)
    yield world.soon("lookalikes", 10, 200)
    deeds.log_out(session)


def owner_edits(site: Site, demand: Demand) -> Process:
    """The owner averages weights into a checkpoint of their own, and goes on from there."""
    world = site.world
    found = world.idle_checkpoint("lookalikes")
    if found is None:
        return
    run, checkpoint = found
    run.busy = True
    session = deeds.log_in(world, world.dice("lookalikes").choice(world.login_hosts), run.owner)
    yield world.soon("lookalikes", 20, 300)
    argv = (PYTHON, "average.py", "--out", checkpoint.path)
    _rewrite(site, _writer(session, session.subject(), session.shell_pid, Program("python3", PYTHON, argv)), run, checkpoint)
    yield world.soon("lookalikes", 30, 900)
    job = demand.resume(run)
    world.ledger.look_alike("owner_edits", "p06", run.owner, world.now, job, artefact=checkpoint.path)
    deeds.log_out(session)


def service_reshards(site: Site, demand: Demand) -> Process:
    """The resharding service rewrites a checkpoint for another number of GPUs; its owner then goes on with it."""
    world = site.world
    found = world.idle_checkpoint("lookalikes")
    if found is None:
        return
    run, checkpoint = found
    run.busy = True
    service = world.people.service
    host = world.login_hosts[1]
    program = Program("ckpt-reshard", "/opt/reshard/bin/ckpt-reshard", ("ckpt-reshard", "--tp", "4", checkpoint.path))
    writer = Writer(host, Subject.daemon(service.uid, service.gid), (1, host.process()), program, "/var/lib/reshard")
    beside, inode = f"{checkpoint.path}.reshard", world.inode()
    deeds.open_for_writing(writer, run, beside, inode, create=True)
    yield world.soon("lookalikes", 20, 120)
    deeds.rename(writer, run, beside, checkpoint.path, (inode, checkpoint.inode))
    checkpoint.inode = inode
    checkpoint.sha256 = world.content(checkpoint.path, service.id, world.now)
    yield world.soon("lookalikes", 60, 3600)
    job = demand.resume(run)
    world.ledger.look_alike("service_reshards", "p06", service, world.now, job, artefact=checkpoint.path)


def admin_restores(site: Site, demand: Demand) -> Process:
    """An admin restores a damaged checkpoint from backup as root, under a ticket."""
    world = site.world
    found = world.idle_checkpoint("lookalikes")
    if found is None:
        return
    run, checkpoint = found
    run.busy = True
    admin = world.dice("lookalikes").choice(world.people.admins)
    host = world.login_hosts[0]
    session = deeds.log_in(world, host, admin)
    ticket = world.ticket(admin, hosts=(host.name,))
    yield world.soon("lookalikes", 60, 600)
    argv = ("rsync", "-a", f"/backup{checkpoint.path}", checkpoint.path)
    parent = deeds.sudo(session, "/usr/bin/" + " ".join(argv))
    _rewrite(site, _writer(session, session.subject(0, 0), parent, Program("rsync", "/usr/bin/rsync", argv)), run, checkpoint)
    yield world.soon("lookalikes", 120, 3600)
    job = demand.resume(run)
    world.ledger.look_alike("admin_restores", "p06", admin, world.now, job, artefact=checkpoint.path, ticket=ticket)
    deeds.log_out(session)


def _writer(session: deeds.Session, subject: Subject, parent: int, program: Program) -> Writer:
    return Writer(session.host, subject, (parent, session.host.process()), program, f"/home/{session.person.login}")


def _rewrite(site: Site, writer: Writer, run: Run, checkpoint: Checkpoint) -> None:
    deeds.open_for_writing(writer, run, checkpoint.path, checkpoint.inode, create=False)
    checkpoint.sha256 = site.world.content(checkpoint.path, writer.subject.auid, site.world.now)


RATES: tuple[tuple[Story, float], ...] = (
    (tidy_up_on_login_node, 12),
    (is_it_alive, 4),
    (careless_pkill, 1.2),
    (refused_open, 1.2),
    (too_late_cancel, 3),
    (owner_edits, 0.8),
    (service_reshards, 1.4),
    (admin_restores, 0.5),
)
