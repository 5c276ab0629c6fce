"""The planted interference: who does what to whose job, how, and when.

Acts are planned before the period starts, with a time before which nothing happens; the first job from then on that suits an act
becomes its victim when it starts.  A victim is protected: no preemption and no hardware trouble near it, for an act must have one
cause.  Everything the actor does leaves the lines that it would leave: the login, the change of user, the command, the effect.

An act enters the ledger when it has had its effect: the job has died, was cancelled, the attempt was refused, or the altered
checkpoint was loaded.
"""

from dataclasses import dataclass
from random import Random

from pipeline.simulate import deeds
from pipeline.simulate.clock import DAY, HOUR, MINUTE, Process
from pipeline.simulate.deeds import Writer
from pipeline.simulate.demand import Demand
from pipeline.simulate.endings import SIGKILL, SIGTERM, Site, kill_rank
from pipeline.simulate.fates import cancel
from pipeline.simulate.lines_access import Program
from pipeline.simulate.people import Person
from pipeline.simulate.work import PYTHON, Fate, Job, Run, Tamper

KINDS = ("foreign_kill", "foreign_cancel", "refused_cancel", "checkpoint_tamper")
LONGEST_KILL = 100 * MINUTE  # login, kill, the longest NCCL timeout, end
TRIES, BETWEEN_TRIES = 3, (305, 400)  # of who means it and may not; seconds
# Hours of a week: from the victim's end to the tampering, from there to the next job of the run.
BEFORE_TAMPER, BEFORE_LOAD = (0.7, 26.0), (0.4, 12.0)


@dataclass(slots=True, eq=False)
class Plan:
    """One act to come."""

    kind: str
    not_before: int
    actor: Person
    variant: int
    delay: int
    done: bool = False


class Plots:
    """All acts of a period.  `claim` is asked for every job that starts."""

    def __init__(self, site: Site, demand: Demand) -> None:
        self._site = site
        self._demand = demand
        world = site.world
        dice = world.dice("acts")
        low, high = world.scale.acts_per_kind
        length = world.end - world.start
        # A shorter period is the same story in less time.
        self._pace = length / (7 * DAY)
        actors = dice.sample([person for person in world.people.members if person not in world.people.operators], 3)
        self.plans: list[Plan] = []
        for kind in KINDS:
            latest = 0.45 if kind == "checkpoint_tamper" else 0.8
            for number in range(dice.randint(low, high)):
                actor = dice.choice(world.people.operators if kind == "foreign_cancel" else actors)
                begin = world.start + round(length * dice.uniform(0.04, latest))
                self.plans.append(Plan(kind, begin, actor, number, round(dice.uniform(12, 70) * MINUTE)))

    def claim(self, job: Job) -> bool:
        """Make `job` the victim of an act that is due, if it suits one; returns whether it did."""
        for plan in self.plans:
            if not plan.done and plan.not_before <= self._site.world.now and self._suits(plan, job):
                plan.done = True
                self._begin(plan, job)
                return True
        return False

    def _suits(self, plan: Plan, job: Job) -> bool:
        world = self._site.world
        needed = plan.delay + LONGEST_KILL
        if job.owner is plan.actor or job.gpus < 2 or job.limit * 1000 < needed or world.now + needed > world.end:
            return False
        if any(share.host.last_trouble > world.now - 2 * HOUR for share in job.shares):
            return False
        if plan.kind == "foreign_kill":
            return job.has_probe or job.launcher == "torchrun"
        if plan.kind == "refused_cancel":
            return job.fate.kind == "completed" and job.fate.after > plan.delay + 20 * MINUTE
        if plan.kind == "checkpoint_tamper":
            until_next_load = job.fate.after + (BEFORE_TAMPER[1] + BEFORE_LOAD[1] + 2) * HOUR * self._pace
            between_saves = job.run.save_every * job.run.step_ms
            is_long = job.fate.kind == "completed" and job.fate.after > 2 * between_saves
            return job.has_probe and is_long and not job.restarts and between_saves < HOUR and world.now + until_next_load < world.end
        return True

    def _begin(self, plan: Plan, job: Job) -> None:
        site = self._site
        job.protected = True
        for share in job.shares:
            share.host.quiet_until = max(share.host.quiet_until, site.world.now + plan.delay + LONGEST_KILL)
        due = site.world.now + plan.delay
        if plan.kind == "checkpoint_tamper":
            job.keeps_run = True
            site.world.clock.start(self._tamper(plan, job))
        elif plan.kind == "refused_cancel":
            site.world.clock.start(refused_cancel(site, job, plan), due)
        else:
            job.fate = Fate("claimed", plan.delay)
            story = foreign_kill if plan.kind == "foreign_kill" else foreign_cancel
            site.world.clock.start(story(site, job, plan), due)

    def _tamper(self, plan: Plan, job: Job) -> Process:
        """Wait for the victim's job to end, alter its newest checkpoint, and let the victim go on with it."""
        site, world, run = self._site, self._site.world, job.run
        dice = world.dice("acts")
        while job.end is None:
            yield world.now + MINUTE
        yield world.now + round(dice.uniform(*BEFORE_TAMPER) * HOUR * self._pace)
        yield from alter_checkpoint(site, run, plan, dice)
        yield world.now + round(dice.uniform(*BEFORE_LOAD) * HOUR * self._pace)
        self._demand.resume(run, protected=True)


def _approach(site: Site, job: Job, plan: Plan) -> deeds.Session:
    """The actor logs in on the node, straight or through a login node."""
    dice = site.world.dice("acts")
    origin = site.world.login_hosts[plan.variant % 2].address if plan.variant % 3 else ""
    return deeds.log_in(site.world, dice.choice(job.shares).host, plan.actor, origin)


def foreign_kill(site: Site, job: Job, plan: Plan) -> Process:
    """Log in on the victim's node, become root or the victim, kill a rank."""
    world, dice = site.world, site.world.dice("acts")
    while not all(share.ranks for share in job.shares):
        yield world.now + 5000
    session = _approach(site, job, plan)
    share = next(share for share in job.shares if share.host is session.host)
    yield world.soon("acts", 30, 240)
    rank = dice.choice(share.told)
    signal = SIGTERM if plan.variant == 3 else SIGKILL
    argv = ("kill", f"-{signal}", str(rank.pid))
    if plan.variant % 2:
        shell = deeds.switch_user(session, job.owner)
        yield world.soon("acts", 3, 20)
        sender, program = session.subject(job.owner.uid, job.owner.gid), Program("bash", "/usr/bin/bash", ("-bash",))
        pids, means = (session.shell_pid, shell), "su"
    else:
        parent = deeds.sudo(session, "/usr/bin/" + " ".join(argv))
        sender, program = session.subject(0, 0), Program("kill", "/usr/bin/kill", argv)
        pids, means = (parent, share.host.process()), "sudo"
    time = world.now
    hang = (600_000, 1_800_000, 0)[plan.variant % 3] if job.launcher == "srun" else 0
    world.clock.start(_leave(site, session))
    yield from kill_rank(site, job, share, rank, sender, pids, program, signal, "interference", hang)
    detail = {"host": share.host.name, "pid": str(rank.pid), "signal": str(signal), "means": means, "hang_ms": str(hang)}
    world.ledger.act(plan.kind, plan.actor, job, time, detail)


def foreign_cancel(site: Site, job: Job, plan: Plan) -> Process:
    """Cancel somebody else's job with an operator's right."""
    world = site.world
    session = deeds.log_in(world, world.login_hosts[plan.variant % 2], plan.actor)
    yield world.soon("acts", 20, 300)
    time = world.now
    yield from cancel(site, job, session)
    site.slurm.end(job, "CANCELLED", "0:15", "0:15", "interference", cancelled_by=plan.actor.uid)
    world.ledger.act(plan.kind, plan.actor, job, time, {"host": session.host.name})
    yield from _leave(site, session)


def refused_cancel(site: Site, job: Job, plan: Plan) -> Process:
    """Try to cancel somebody else's job without the right, again and again; Slurm refuses each time, the job goes on."""
    world = site.world
    session = deeds.log_in(world, world.login_hosts[plan.variant % 2], plan.actor)
    yield world.soon("acts", 20, 200)
    for number in range(TRIES):
        if job.over:
            break
        deeds.run_command(session, ("scancel", str(job.id)), "/usr/bin/scancel")
        yield world.soon("acts/tries" if number else "acts", 0.05, 0.3)
        site.slurm.log(*refused(job, plan.actor.uid))
        if not number:
            world.ledger.act(plan.kind, plan.actor, job, world.now, {"host": session.host.name, "tries": str(TRIES)})
        yield world.soon("acts/tries", *BETWEEN_TRIES)
    yield from _leave(site, session)


def refused(job: Job, uid: int) -> tuple[str, ...]:
    """What the controller writes when somebody asks it to cancel a job that is not theirs."""
    return (
        f"_slurm_rpc_kill_job: REQUEST_KILL_JOB JobId={job.id} uid {uid}",
        f"error: Security violation, REQUEST_KILL_JOB RPC for JobId={job.id} from uid {uid}",
        f"_slurm_rpc_kill_job: job_str_signal() uid={uid} JobId={job.id} sig=9 returned: Access/permission denied",
    )


def alter_checkpoint(site: Site, run: Run, plan: Plan, dice: Random) -> Process:
    """Write into the newest checkpoint of a run: in place as root or as a group member, or by renaming a prepared file over it."""
    world = site.world
    host = dice.choice([*world.login_hosts, *(host for host in world.gpu_hosts if host.is_up)])
    session = deeds.log_in(world, host, plan.actor)
    yield world.soon("acts", 60, 400)
    checkpoint = run.checkpoints[-1]
    late = 0
    if plan.variant % 3 == 1:
        late = min(round(dice.uniform(2, 24) * HOUR), max(0, world.end - world.now - HOUR))
    argv = (PYTHON, "/tmp/.p.py", checkpoint.path)  # noqa: S108 - a name in a made-up command line
    if plan.variant % 2:
        subject, parent = session.subject(gid=run.owner.gid), session.shell_pid
    else:
        parent = deeds.sudo(session, " ".join(argv))
        subject = session.subject(0, 0)
    writer = Writer(host, subject, (parent, host.process()), Program("python3", PYTHON, argv), f"/home/{plan.actor.login}")
    if plan.variant % 4 < 2:
        means = "open"
        deeds.open_for_writing(writer, run, checkpoint.path, checkpoint.inode, create=False, late=late)
    else:
        means = "rename"
        prepared, inode = f"{run.checkpoint_folder}/.{run.number}.tmp", world.inode()
        deeds.open_for_writing(writer, run, prepared, inode, create=True, late=late)
        yield world.soon("acts", 5, 60)
        deeds.rename(writer, run, prepared, checkpoint.path, (inode, checkpoint.inode), late)
        checkpoint.inode = inode
    detail = {"host": host.name, "path": checkpoint.path, "means": means, "late_ms": str(late)}
    checkpoint.sha256 = world.content(checkpoint.path, plan.actor.id, world.now)
    checkpoint.tamper = Tamper(plan.actor, world.now, detail)
    world.clock.start(_leave(site, session))


def _leave(site: Site, session: deeds.Session) -> Process:
    yield site.world.soon("acts", 20, 900)
    deeds.log_out(session)
