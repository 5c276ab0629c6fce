"""What the stories of a cluster work with: who is there, what they share, and how to find a job, a run or an environment that suits.

A story is a process; looking for something is waiting for it, so a story asks `yield from scene.job(...)` and goes on when there is one.
It gives up (None) when the period is over before that.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from random import Random

from pipeline.simulate import deeds, deeds_files
from pipeline.simulate.acts import LONGEST_KILL
from pipeline.simulate.chronicle import Chronicle, Deed
from pipeline.simulate.clock import DAY, HOUR, MINUTE, SECOND, Process
from pipeline.simulate.cluster_demand import Away, ClusterDemand
from pipeline.simulate.cluster_training import held
from pipeline.simulate.deeds import Session
from pipeline.simulate.endings import Site
from pipeline.simulate.machines import Host
from pipeline.simulate.people import Person
from pipeline.simulate.plan import Plan
from pipeline.simulate.shipping import ACCESS, Events
from pipeline.simulate.wares import Dataset, Effect, Environment, File, Project, ProjectJob, ProjectRun
from pipeline.simulate.work import PYTHON, Checkpoint, Job
from pipeline.simulate.world import World

PATIENCE = 4 * MINUTE
EDITOR = "/usr/bin/vim.basic"


@dataclass(slots=True, eq=False)
class Scene:
    """Everything within reach of a story."""

    plan: Plan
    site: Site
    demand: ClusterDemand
    projects: list[Project]
    chronicle: Chronicle
    away: Away
    git: Events
    offboarded: dict[str, int] = field(default_factory=dict)
    incidents: int = 0
    flooding: dict[int, Deed] = field(default_factory=dict)  # jobs of floods

    @property
    def world(self) -> World:
        return self.site.world

    @property
    def dice(self) -> Random:
        return self.site.world.dice("plots")

    def soon(self, low: float, high: float) -> int:
        """An instant between `low` and `high` seconds from now."""
        return self.world.soon("plots", low, high)

    # --- people -------------------------------------------------------------------------------------------------------------------

    def present(self, person: Person) -> bool:
        """Is somebody at work, and still employed?"""
        last = self.offboarded.get(person.id)
        return not self.away.is_away(person, self.world.now) and (last is None or self.world.now < last)

    def leaves(self, person: Person) -> Process:
        """Somebody's last day: from now on nothing new comes from them, and they have left when their last job has ended.

        A run that a story goes on with ends before, too.
        """
        world, slurm = self.world, self.site.slurm
        self.away.goes(person, world.now, world.end + DAY)
        world.gone.add(person.id)
        while any(job.owner is person for job in (*slurm.queue, *slurm.running.values())) or any(
            run.busy for run in world.runs.get(person.id, ())
        ):
            yield world.now + HOUR
        self.offboarded[person.id] = world.now

    def until_present(self, person: Person) -> Process:
        """Wait for somebody who is away; and for the hours in which people work."""
        while not self.present(person):
            yield self.world.now + 2 * HOUR

    def enter(self, person: Person, host: Host | None = None, origin: str = "", fingerprint: str = "") -> Session:
        """A login, on a login node unless a host is named."""
        return deeds.log_in(self.world, host or self.dice.choice(self.world.login_hosts), person, origin, fingerprint)

    def leave(self, session: Session, origin: str = "", low: float = 20, high: float = 900) -> None:
        """Log out a little later."""
        self.world.clock.start(_leave(session, origin), self.soon(low, high))

    # --- finding ------------------------------------------------------------------------------------------------------------------

    def job(self, suits: Callable[[ProjectJob], bool], minutes: float) -> Generator[int, None, ProjectJob | None]:
        """A running job that suits, has its ranks, and would go on for `minutes` more; from then on nothing else happens to it."""
        needed = round(minutes * MINUTE) + LONGEST_KILL // 4
        while self.world.now + needed < self.world.end:
            found = [
                job for job in self.site.slurm.running.values()
                if isinstance(job, ProjectJob) and self._is_free(job, needed) and suits(job)
            ]  # fmt: skip
            if found:
                job = self.dice.choice(found)
                held(self.world, job)
                return job
            yield self.world.now + PATIENCE
        return None

    def _is_free(self, job: ProjectJob, needed: int) -> bool:
        if job.over or job.protected or job.holds_only or job.start is None or not job.shares or not job.shares[-1].ranks:
            return False
        end = job.start + min(job.fate.after, job.limit * SECOND)
        if end < self.world.now + needed or job.effects:
            return False
        return all(share.host.last_trouble < self.world.now - 2 * HOUR and not share.host.audit.stopped for share in job.shares)

    def environment(self, deed: Deed, *, large: bool = False) -> Generator[int, None, Project | None]:
        """A project (one that trains `large` models) whose environment nobody works on, and the actor does not maintain; it is claimed."""
        while self.world.now + 12 * HOUR < self.world.end:
            found = [
                project for project in self.projects
                if not project.environment.claimed and project.environment.maintainer is not deed.actor
                and (project.trains_large or not large)
            ]  # fmt: skip
            if found:
                project = self.dice.choice(found)
                project.environment.claimed = True
                return project
            yield self.world.now + HOUR
        return None

    def dataset(self, deed: Deed) -> Generator[int, None, Project | None]:
        """A project whose dataset nobody works on, and which the actor did not publish; it is claimed."""
        while self.world.now + 12 * HOUR < self.world.end:
            found = [project for project in self.projects if not project.dataset.claimed and project.dataset.owner is not deed.actor]
            if found:
                project = self.dice.choice(found)
                project.dataset.claimed = True
                return project
            yield self.world.now + HOUR
        return None

    def idle_run(self, deed: Deed, *, checkpoints: int = 1) -> Generator[int, None, ProjectRun | None]:
        """Somebody else's run with checkpoints that nobody trains; it is taken, so that only the story goes on with it."""
        while self.world.now + 6 * HOUR < self.world.end:
            found = [
                run for runs in self.world.runs.values() for run in runs
                if isinstance(run, ProjectRun) and not run.busy and len(run.checkpoints) >= checkpoints
                and run.owner is not deed.actor and self.present(run.owner) and self.demand.has_probe(run.owner)
            ]  # fmt: skip
            if found:
                run = self.dice.choice(found)
                run.busy = True
                return run
            yield self.world.now + 20 * MINUTE
        return None

    # --- doing --------------------------------------------------------------------------------------------------------------------

    def alter(self, deed: Deed, session: Session, file: File, effect: Effect | None, project: Project, how: str = "") -> Process:
        """The actor puts other bytes into a shared file: in place, or by renaming a prepared file over it."""
        yield from self.put(session, file, deed.actor.team != project.team, how or self.dice.choice(("open", "rename")), deed)
        file.sha256 = self.world.content(file.path, deed.actor.id, self.world.now)
        file.effect, file.deed, file.reverted = effect, deed, None

    def put(self, session: Session, file: File, as_root: bool, how: str, deed: Deed | None = None) -> Process:
        """Whoever is logged in writes a file, as root where the file's group is not theirs."""
        world, person = self.world, session.person
        argv = ("vim", file.path) if how == "open" else (PYTHON, "/tmp/.b.py", file.path)  # noqa: S108 - a name in a made-up command line
        writer = deeds_files.writer_of(session, argv, EDITOR if how == "open" else PYTHON, as_root=as_root, gid=file.owner.gid)
        if how == "open":
            deeds_files.write(writer, file.path, file.owner, file.inode)
        else:
            prepared, inode = f"{file.path}.{world.now % 9973}", world.inode()
            deeds_files.write(writer, prepared, file.owner, inode, create=True)
            yield self.soon(2, 20)
            deeds_files.replace(writer, prepared, file, inode)
        if deed is not None:
            deed.did(world.now, file.path, session.host.name)
            deed.detail.setdefault("means", "root" if as_root else person.team)

    def restore(self, person: Person, files: list[File], *, how: str = "pip", deed: Deed | None = None) -> Process:
        """The original bytes come back: the maintainer installs again, or the actor undoes what was done."""
        session = self.enter(person)
        yield self.soon(30, 300)
        argv = (
            (PYTHON, "-m", "pip", "install", "--force-reinstall", "megatron-core")
            if how == "pip"
            else ("cp", "-p", *(f"{each.path}.orig" for each in files))
        )
        exe = PYTHON if how == "pip" else "/usr/bin/cp"
        deeds.run_command(session, argv, exe)
        for file in files:
            writer = deeds_files.writer_of(session, argv, exe, as_root=person.team != file.owner.team, gid=file.owner.gid)
            deeds_files.write(writer, file.path, file.owner, file.inode, create=how == "pip")
            file.sha256, file.effect, file.deed, file.reverted = file.original, None, None, deed
            yield self.soon(0.5, 5)
        self.leave(session)

    def victims_or(self, deed: Deed, hours: float) -> Process:
        """Wait until the act has befallen as many jobs as it was meant to, or for so long."""
        until = min(self.world.now + round(hours * HOUR), self.world.end - HOUR)
        while not deed.is_content and self.world.now < until:
            yield self.world.now + 10 * MINUTE

    def newest(self, run: ProjectRun) -> Checkpoint:
        return run.checkpoints[-1]

    def resume(self, run: ProjectRun) -> Job:
        """The owner goes on with a run, in a job that nothing but a story harms."""
        job = self.demand.resume(run, protected=True)
        job.protected = False
        return job

    def push(self, person: Person, project: Project, files: tuple[str, ...]) -> None:
        """A push to the project's repository, as a webhook tells it."""
        world = self.world
        before, after = (world.content("commit", project.name, world.now + step)[:40] for step in (0, 1))
        self.git.write(
            world.now,
            {
                "ref": "refs/heads/main", "before": before, "after": after, "created": False, "deleted": False, "forced": False,
                "repository": {"full_name": f"{project.team}/{project.name}", "pushed_at": world.now // SECOND},
                "pusher": {"name": person.login}, "sender": {"login": person.login},
                "commits": [{"id": after, "added": [], "removed": [], "modified": list(files)}],
            },
        )  # fmt: skip

    def days_left(self) -> float:
        return (self.world.end - self.world.now) / DAY


def _leave(session: Session, origin: str) -> Process:
    if session.host.is_up:
        deeds.log_out(session, origin)
    return
    yield


def git_channel(world: World) -> Events:
    """The relay of the code host's webhooks."""
    return Events(world.shipper, world.dice("shipping"), ACCESS, (500, 4000), "git_push")


__all__ = ["Dataset", "Environment", "Scene", "git_channel"]
