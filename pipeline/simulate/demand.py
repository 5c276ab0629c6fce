"""What people want from the cluster: jobs by day and by night, new runs and old runs taken up again.

A run is trained by one job at a time.  Days are three times as busy as nights, in the site's zone.
"""

import math

from pipeline.simulate.clock import DAY, HOUR, MINUTE, SECOND, Process
from pipeline.simulate.endings import Site
from pipeline.simulate.fates import draw_fate
from pipeline.simulate.people import Person
from pipeline.simulate.work import Fate, Job, Run

# nodes, GPUs on each, weight
SHAPES = ((1, 1, 12), (1, 2, 12), (1, 4, 16), (1, 8, 30), (2, 8, 18), (4, 8, 12))
NAMES = ("pretrain-7b", "sft-13b", "ablation", "vit-large", "asr-conformer", "eval-sweep", "protein-lm")
RUNS_PER_PERSON_MAX = 12
LOCAL_HOURS = 8  # of the site's zone, ahead of UTC


class Demand:
    """Submits jobs for people."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._dice = site.world.dice("demand")
        # How much and by what each person works: a few people submit most of the jobs.
        self._weights = [self._dice.paretovariate(1.6) for _ in site.world.people.members]
        self._has_probe = {person.id: self._dice.random() < 0.7 for person in site.world.people.members}
        self._has_times = {person.id: self._dice.random() < 0.6 for person in site.world.people.members}

    def arrivals(self) -> Process:
        """Jobs come as a Poisson stream with the rhythm of the day."""
        world, dice = self._site.world, self._dice
        mean_gap = DAY / world.scale.jobs_per_day
        while True:
            hour = (world.now // HOUR + LOCAL_HOURS) % 24
            rhythm = 1 + 0.6 * math.sin((hour - 8) / 24 * 2 * math.pi)
            yield world.now + max(SECOND, round(dice.expovariate(1) * mean_gap / rhythm))
            person = dice.choices(world.people.members, self._weights)[0]
            self.resume(self._run_of(person))

    def resume(self, run: Run, *, protected: bool = False) -> Job:
        """The owner of `run` submits a job that goes on with it; `protected`: an important one that nothing goes wrong with."""
        job = self._job(run)
        if protected:
            job.qos = "high"
            job.protected = True
            job.has_probe = True
            job.nodes = 1
            job.gpus_per_node = min(job.gpus_per_node, 4)
            job.fate = Fate("completed", round(self._dice.uniform(1.2, 3) * HOUR))
            job.limit = job.fate.after // SECOND + 7200
        self._site.slurm.submit(job)
        if not protected and self._dice.random() < 0.02:
            self._site.world.clock.start(self._regret(job), self._site.world.soon("demand", 5, 400))
        return job

    def _regret(self, job: Job) -> Process:
        """The owner cancels the job while it still waits, if it does."""
        if job in self._site.slurm.queue:
            self._site.slurm.owner_cancels_pending(job)
        return
        yield

    def _run_of(self, person: Person) -> Run:
        dice, runs = self._dice, self._site.world.runs.setdefault(person.id, [])
        idle = [run for run in runs if not run.busy]
        if idle and (dice.random() < 0.6 or len(runs) >= RUNS_PER_PERSON_MAX):
            return dice.choice(idle)
        step_ms = round(dice.uniform(6000, 20_000))
        run = Run(
            owner=person,
            number=len(runs) + 1,
            total_iterations=dice.choice((20_000, 50_000, 100_000)),
            step_ms=step_ms,
            save_every=max(20, round(dice.uniform(20, 55) * MINUTE / step_ms / 10) * 10),
            batch=dice.choice((64, 256, 512, 1024)),
            size_bytes=dice.randrange(2, 120) * 1_073_741_824 + dice.randrange(4096),
            rename_on_save=dice.random() < 0.5,
        )
        runs.append(run)
        return run

    def _limited(self, fate: Fate) -> tuple[Fate, int]:
        """The fate, and the time limit in seconds: exact where it ends the job, else generous and in whole hours, as people ask for it."""
        limit = math.ceil(fate.after / MINUTE) * 60
        if fate.kind == "time_limit":
            return Fate(fate.kind, limit * SECOND), limit
        return fate, max(3600, math.ceil(limit * self._dice.uniform(1.5, 4) / 3600) * 3600)

    def _job(self, run: Run) -> Job:
        dice, person = self._dice, run.owner
        nodes, gpus, _ = dice.choices(SHAPES, [weight for _, _, weight in SHAPES])[0]
        fate = draw_fate(dice)
        fate, limit = self._limited(fate)
        return Job(
            id=self._site.slurm.new_id(),
            owner=person,
            run=run,
            name=dice.choice(NAMES),
            qos=dice.choices(("high", "normal", "scavenger"), (12, 66, 22))[0],
            nodes=nodes,
            gpus_per_node=gpus,
            limit=limit,
            fate=fate,
            has_probe=self._has_probe[person.id],
            has_times=self._has_times[person.id],
            new_torch=dice.random() < 0.5,
            launcher="torchrun" if dice.random() < 0.7 else "srun",
            alloc_node=dice.choice(self._site.world.login_hosts).name,
        )
