"""What the people of a cluster want from it: jobs of the projects they work for, in shapes from one GPU to hundreds.

Runs are of a recipe and keep one shape, so that runs with equal arguments can be compared.  People are away now and then, and then
nothing comes from them.
"""

import math

from pipeline.simulate.clock import DAY, HOUR, MINUTE, SECOND, Process
from pipeline.simulate.demand import RUNS_PER_PERSON_MAX, Demand
from pipeline.simulate.endings import Site
from pipeline.simulate.people import Person
from pipeline.simulate.wares import Project, ProjectJob, ProjectRun
from pipeline.simulate.work import Fate, Job, Run

# nodes, GPUs on each, weight
SHAPES = ((1, 1, 16), (1, 2, 14), (1, 4, 18), (1, 8, 24), (2, 8, 15), (4, 8, 9), (8, 8, 4.5), (16, 8, 2.5))
LARGE_SHAPES = ((33, 8, 3), (40, 8, 2), (48, 8, 1))
LARGE_SHARE = 0.14  # of the runs of projects that train large models
STRETCH, STRETCH_LARGE = 1.5, 2.8  # how much longer than in the small site jobs train
# kind, share in percent, shortest and longest minutes: section 3 of the base rates; hardware comes by node-days instead
SHARES: tuple[tuple[str, float, float, float], ...] = (
    ("completed", 48.0, 8, 640),
    ("script_error", 22.0, 0.7, 20),
    ("cuda_error", 5.0, 3, 120),
    ("network_hang", 1.0, 10, 200),
    ("oom", 2.5, 3, 90),
    ("owner_kill", 1.2, 5, 120),
    ("stops_itself", 0.8, 5, 120),
    ("launch_failure", 0.7, 0.1, 0.2),
    ("owner_cancel", 13.0, 2, 400),
    ("time_limit", 2.5, 30, 480),
    ("admin_cancel", 0.3, 10, 240),
    ("admin_kill", 0.3, 10, 240),
)


class Away:
    """Who is away when."""

    def __init__(self) -> None:
        self._periods: dict[str, list[tuple[int, int]]] = {}

    def goes(self, person: Person, begin: int, end: int) -> None:
        """Somebody is away from `begin` to `end`."""
        self._periods.setdefault(person.id, []).append((begin, end))

    def is_away(self, person: Person, now: int) -> bool:
        return any(begin <= now < end for begin, end in self._periods.get(person.id, ()))

    def periods(self, person: Person) -> list[tuple[int, int]]:
        return self._periods.get(person.id, [])


class ClusterDemand(Demand):
    """Submits jobs for the people of all projects."""

    def __init__(self, site: Site, projects: list[Project], away: Away) -> None:
        super().__init__(site)
        self._away = away
        self._of = {
            person.id: [project for project in projects if person in project.members] or [projects[0]]
            for person in site.world.people.members
        }
        hosts = site.world.scale.gpu_hosts
        self._shapes = [shape for shape in SHAPES if shape[0] <= max(1, hosts // 4)]
        self._large = [shape for shape in LARGE_SHAPES if shape[0] <= hosts // 4] or [(max(2, hosts // 5), 8, 1)]

    def arrivals(self) -> Process:
        """Jobs come as a Poisson stream with the rhythm of the day, from those who are there."""
        world, dice = self._site.world, self._dice
        mean_gap = DAY / world.scale.jobs_per_day
        while True:
            hour = (world.now // HOUR + 8) % 24
            rhythm = 1 + 0.6 * math.sin((hour - 8) / 24 * 2 * math.pi)
            yield world.now + max(SECOND, round(dice.expovariate(1) * mean_gap / rhythm))
            person = dice.choices(world.people.members, self._weights)[0]
            while self._away.is_away(person, world.now):
                person = dice.choice(world.people.members)
            self.resume(self._run_of(person))

    def _run_of(self, person: Person) -> Run:
        dice, runs = self._dice, self._site.world.runs.setdefault(person.id, [])
        idle = [run for run in runs if not run.busy]
        if idle and (dice.random() < 0.6 or len(runs) >= RUNS_PER_PERSON_MAX):
            return dice.choice(idle)
        run = self.new_run(person)
        runs.append(run)
        return run

    def new_run(self, person: Person) -> ProjectRun:
        """A run of one of the person's projects."""
        dice = self._dice
        project = dice.choice(self._of[person.id])
        recipe = dice.choice(project.recipes)
        shapes = self._large if project.trains_large and dice.random() < LARGE_SHARE else self._shapes
        nodes, gpus, _ = dice.choices(shapes, [weight for _, _, weight in shapes])[0]
        return ProjectRun(
            owner=person,
            number=len(self._site.world.runs.setdefault(person.id, [])) + 1,
            total_iterations=recipe.iterations,
            step_ms=recipe.step_ms,
            save_every=max(20, round(dice.uniform(40, 90) * MINUTE / recipe.step_ms / 10) * 10),
            batch=recipe.batch,
            size_bytes=dice.randrange(2, 120) * 1_073_741_824 + dice.randrange(4096),
            rename_on_save=dice.random() < 0.5,
            project=project,
            recipe=recipe,
            nodes=nodes,
            gpus_per_node=gpus,
        )

    def has_probe(self, person: Person) -> bool:
        """Do this person's jobs run with the probe?"""
        return self._has_probe[person.id]

    def _job(self, run: Run) -> Job:
        if not isinstance(run, ProjectRun) or run.recipe is None:
            return super()._job(run)
        dice = self._dice
        kind, _, low, high = dice.choices(SHARES, [share for _, share, _, _ in SHARES])[0]
        stretch = 1.0 if kind not in ("completed", "owner_cancel") else STRETCH_LARGE if run.nodes > 8 else STRETCH
        fate, limit = self._limited(Fate(kind, round((low + (high - low) * dice.betavariate(1.1, 3.2)) * MINUTE * stretch)))
        return ProjectJob(
            id=self._site.slurm.new_id(),
            owner=run.owner,
            run=run,
            name=run.recipe.name,
            qos=dice.choices(("high", "normal", "scavenger"), (12, 66, 22))[0],
            nodes=run.nodes,
            gpus_per_node=run.gpus_per_node,
            limit=limit,
            fate=fate,
            has_probe=self._has_probe[run.owner.id],
            has_times=self._has_times[run.owner.id],
            new_torch=dice.random() < 0.5,
            launcher="torchrun" if dice.random() < 0.7 else "srun",
            alloc_node=dice.choice(self._site.world.login_hosts).name,
        )

    def submit_failing(self, run: ProjectRun) -> Job:
        """A job of high quality of service whose script fails at once."""
        job = self._job(run)
        job.qos, job.fate = "high", Fate("script_error", 2 * MINUTE)
        self._site.slurm.submit(job)
        return job

    def submit_holder(self, person: Person, run: ProjectRun, gpus: int, minutes: float, kind: str) -> ProjectJob:
        """A job that takes a node's GPUs for a while and does nothing; `kind` is its name."""
        dice = self._dice
        job = ProjectJob(
            id=self._site.slurm.new_id(), owner=person, run=run, name=kind, qos="high", nodes=1, gpus_per_node=gpus,
            limit=round(minutes * 60) + 3600, fate=Fate("holds_only", round(minutes * MINUTE)), has_probe=False, has_times=False,
            new_torch=True, launcher="srun", alloc_node=dice.choice(self._site.world.login_hosts).name, holds_only=True,
        )  # fmt: skip
        self._site.slurm.submit(job)
        return job
