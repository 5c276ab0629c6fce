"""A campaign of two months as one story: acts of several kinds on one large run, by somebody who learns from what is written about them.

    day   6  a rank of a 256-GPU job is killed         page; all read it
    day  11  a module ends jobs from 256 GPUs on       a colleague debugs it, the maintainer installs again, page
    day  18  the newest checkpoint gets other weights  page
    day  22  for a week auditd is heard nowhere        a kill in it, of which no record tells
    day  34  another module, undone by the actor       page
    day  42  a node is slowed through sudo             page
    day  45  a rank is killed                          page
    day  50  a module again

Two colleagues of the actor's have the same access: one was on the login nodes whenever something happened, and reads every page; the other
edits the altered module after the harm.  Nothing else happens on this cluster but ordinary work on few GPUs, and idle nodes say little, so
that two months are tens of thousands of lines.
"""

from collections.abc import Callable

from pipeline.simulate import acts, deeds
from pipeline.simulate.acts import Plan as Step
from pipeline.simulate.chronicle import Deed
from pipeline.simulate.clock import DAY, HOUR, MINUTE, SECOND, Process
from pipeline.simulate.people import Person
from pipeline.simulate.plots import campaigns, code, resources
from pipeline.simulate.scene import Scene
from pipeline.simulate.wares import Effect, Project, ProjectJob
from pipeline.simulate.work import Fate

NODES, GPUS = 32, 8
EVERY_HOURS = 30  # a large run is taken up again
SILENT_FROM, SILENT_DAYS = 22, 7


def plant(scene: Scene) -> None:
    """Start it."""
    Campaign(scene).start()


class Campaign:
    """Its cast, and what they do."""

    def __init__(self, scene: Scene) -> None:
        self._scene, self._world = scene, scene.world
        self.project, (self.owner, self.actor, self.bystander, self.helper) = self._cast()
        self.run = scene.demand.new_run(self.owner)
        self.run.project, self.run.nodes, self.run.gpus_per_node = self.project, NODES, GPUS
        self.run.recipe = self.project.recipes[0]
        self._world.runs[self.owner.id].append(self.run)
        self._count = 0

    def _cast(self) -> tuple[Project, list[Person]]:
        """Four members of one project, none of whom maintains its environment or runs the cluster."""
        for project in self._scene.projects:
            others = {project.environment.maintainer, *self._world.people.operators}
            people = [person for person in self._world.people.members if person.team == project.team and person not in others]
            owner = next((person for person in people if self._scene.demand.has_probe(person)), None)
            if owner is not None and len(people) >= len(("owner", "actor", "bystander", "helper")):
                return project, [owner, *(person for person in people if person is not owner)][:4]
        raise LookupError("no project has four members for the story")

    def start(self) -> None:
        """Everything at its day."""
        plan: tuple[tuple[float, Callable[[], Process]], ...] = (
            (6, self.kill), (11, lambda: self.module("exit", 2, reverted=False, debugged=True)), (18, self.weights),
            (SILENT_FROM, self.silence), (SILENT_FROM + 3, self.kill), (34, lambda: self.module("crash", 1, reverted=True)),
            (42, self.slow), (45, self.kill), (50, lambda: self.module("exit", 2, reverted=False)),
        )  # fmt: skip
        self._world.clock.start(self.work(), self._world.start + HOUR)
        for day, story in plan:
            self._world.clock.start(story(), self._world.start + round(day * DAY))

    def work(self) -> Process:
        """The large run, job after job; the owner begins again the next day, whatever became of the last one."""
        while True:
            if not self.run.busy:
                self._submit()
            yield self._world.now + EVERY_HOURS * HOUR

    def _submit(self) -> None:
        job = self._scene.resume(self.run)
        job.nodes, job.gpus_per_node, job.has_probe, job.launcher = NODES, GPUS, True, "torchrun"
        job.fate = Fate("completed", round(self._scene.dice.uniform(4, 7) * HOUR))
        job.limit = job.fate.after // SECOND + 7200

    # --- acts -------------------------------------------------------------------------------------------------------------------------

    def _deed(self, pattern: str, wanted: int = 1) -> Deed:
        self._count += 1
        deed = Deed(f"story-{self._count}-{pattern}", pattern, self.actor, self._world.now, wanted)
        self._scene.chronicle.deeds.append(deed)
        return deed

    def kill(self) -> Process:
        """A rank of the large job, on its node."""
        deed = self._deed("p01")
        while (job := self._running()) is None:
            yield self._world.now + 10 * MINUTE
        if job.shares[0].host.audit.stopped:
            deed.attributable, deed.why_not = False, "auditd was heard nowhere"
        job.protected = True
        self._scene.chronicle.expect(self.actor, job, deed)
        self._world.clock.start(self._about())
        yield from acts.foreign_kill(self._scene.site, job, Step("foreign_kill", 0, self.actor, 2 * self._count, 0))
        yield from self._written_up(deed)

    def module(self, kind: str, wanted: int, *, reverted: bool, debugged: bool = False) -> Process:
        """A module that spares all jobs below 256 GPUs."""
        while self.project.environment.claimed:
            yield self._world.now + HOUR
        self.project.environment.claimed = True
        deed = self._deed("p04", wanted)
        self._world.clock.start(self._about())
        if debugged:
            self._world.clock.start(self._debugs(deed))
        effect = Effect(kind, deed, gpus_min=NODES * GPUS)
        yield from code.altered(self._scene, deed, effect, hours=120, reverted=reverted, project=self.project)
        yield from self._written_up(deed)

    def weights(self) -> Process:
        """The newest checkpoint of the large run, while nobody trains it."""
        deed, run = self._deed("p06"), self.run
        while run.busy or not run.checkpoints:
            yield self._world.now + 10 * MINUTE
        run.busy = True
        self._world.clock.start(self._about())
        yield from acts.alter_checkpoint(self._scene.site, run, Step("weights", 0, self.actor, 0, 0), self._scene.dice)
        tamper = run.checkpoints[-1].tamper
        if tamper is not None:
            deed.did(tamper.time, run.checkpoints[-1].path, tamper.detail["host"])
            deed.detail.update(tamper.detail)
            tamper.effect = Effect("weights", deed)
        yield self._world.now + 3 * HOUR
        self._submit()
        while not deed.victims:
            yield self._world.now + HOUR
        yield from self._written_up(deed)

    def slow(self) -> Process:
        """The node on which the large job writes its log."""
        deed = self._deed("p14")
        while (job := self._running()) is None:
            yield self._world.now + 10 * MINUTE
        self._world.clock.start(self._about())
        yield from resources.slowed(self._scene, deed, job.shares[0].host, 1)
        yield from self._written_up(deed)

    def silence(self) -> Process:
        """The relay of the audit logs is down for a week; nobody's doing."""
        for host in self._world.hosts:
            host.audit.stopped = True
        yield self._world.now + SILENT_DAYS * DAY
        for host in self._world.hosts:
            host.audit.stopped = False

    # --- the others -------------------------------------------------------------------------------------------------------------------

    def _about(self) -> Process:
        """The bystander is there at the hour, and does nothing."""
        session = self._scene.enter(self.bystander)
        yield self._scene.soon(60, 600)
        deeds.run_command(session, ("squeue", "--me"), "/usr/bin/squeue")
        self._scene.chronicle.look_alike("was_there", "p01", self.bystander, self._world.now, host=session.host.name)
        self._scene.leave(session, low=3600, high=7200)

    def _debugs(self, deed: Deed) -> Process:
        """Jobs have died of the module; the helper looks into it under a ticket, and adds a line that says where it stops."""
        while not deed.is_content:
            yield self._world.now + 5 * MINUTE
        file = next(file for file in self.project.environment.modules if file.deed is deed)
        session = self._scene.enter(self.helper)
        self._world.ticket(self.helper, hosts=(session.host.name,))
        yield self._scene.soon(60, 600)
        yield from self._scene.put(session, file, as_root=False, how="open")
        file.sha256 = self._world.content(file.path, self.helper.id, self._world.now)
        self._scene.chronicle.look_alike("debugs", "p04", self.helper, self._world.now, artefact=file.path)
        self._scene.leave(session)

    def _written_up(self, deed: Deed) -> Process:
        """A page about it; the actor reads it, and so does everybody."""
        yield self._world.now + round(self._scene.dice.uniform(2, 10) * HOUR)
        yield from campaigns.diagnosed(self._scene, deed)

    def _running(self) -> ProjectJob | None:
        """The large job, when it has come as far as its steps, and will go on."""
        for job in self._scene.site.slurm.running.values():
            if isinstance(job, ProjectJob) and job.run is self.run and job.start is not None and not job.over and not job.effects:
                ran = self._world.now - job.start
                if ran > 90 * MINUTE and job.fate.after - ran > 90 * MINUTE and all(share.ranks for share in job.shares):
                    return job
        return None
