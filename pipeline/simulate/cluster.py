"""A plan in, the log records of a cluster out, one after the other as they are collected; and, once all are out, the truth about them.

    run = simulate(Plan(seed=7, days=60, gpus=2000, acts={"p01": 3}))
    for record in run: ...            streamed: an hour of the cluster is in memory at a time, not the period
    run.truth()                       one dict a line: the run, its acts, its look-alikes, its jobs
    run.settings()                    trainwatch.yaml of the site

Causes are modelled, and lines follow from them: nothing writes a line because a detector looks for it, and this room imports none of
the pipeline's but `errors`.  The same plan gives the same bytes.  Iterating a run again lets it happen again.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from random import Random
from typing import Any

from pipeline.errors import ConfigError
from pipeline.simulate import effects, harmless, plots
from pipeline.simulate.chronicle import Chronicle
from pipeline.simulate.clock import DAY, HOUR, MINUTE, Process
from pipeline.simulate.cluster_background import hum
from pipeline.simulate.cluster_demand import SHARES, Away, ClusterDemand
from pipeline.simulate.cluster_training import ClusterTraining
from pipeline.simulate.endings import Site
from pipeline.simulate.fates import FATES, preempt, run_fate
from pipeline.simulate.harmless.people import BUILD_SERVICE, ROAMING
from pipeline.simulate.plan import Plan
from pipeline.simulate.scene import Scene, git_channel
from pipeline.simulate.shipping import TOPICS, Record
from pipeline.simulate.slurm import Slurm
from pipeline.simulate.wares import Hook, build_projects, new_file
from pipeline.simulate.work import Fate, Job
from pipeline.simulate.world import CLUSTER, Scale, World, build_world

BROKEN_A_DAY = 1.0
STEP = HOUR
FOREVER = 1 << 62
OPERATIONS = "/lustre/ops"
LARGE_GPUS, LARGE_PART = 256, 8  # a job is large from so many on, or from this part of the site on
FOLDERS = "/lustre"  # people's own, with the scripts of their runs


class Run:
    """A simulated period.  Iterate it once for its records; then ask for truth and settings."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.counts = dict.fromkeys(TOPICS, 0)
        self.broken = {"truncated_json": 0, "binary": 0}
        self._scene: Scene | None = None
        self._is_over = False

    def __iter__(self) -> Iterator[Record]:
        """All records in order of the time at which they were collected."""
        self._is_over = False
        self.counts = dict.fromkeys(TOPICS, 0)
        self.broken = {"truncated_json": 0, "binary": 0}
        scene = _build(self.plan)
        self._scene = scene
        world, counts = scene.world, self.counts
        dice = world.dice("broken")
        for record in self._pieces(scene, dice):
            counts[record.topic] += 1
            yield record
        self._is_over = True

    def _pieces(self, scene: Scene, dice: Random) -> Iterator[Record]:
        world, shipper = scene.world, scene.world.shipper
        until = world.start
        while until < world.end:
            until = min(until + STEP, world.end)
            world.clock.run(until)
            if dice.random() < BROKEN_A_DAY * STEP / DAY / 2:
                for kind, count in shipper.damage(2).items():
                    self.broken[kind] += count
            yield from shipper.taken(until)
        slurm = scene.site.slurm
        slurm.export_now()
        for job in sorted([*slurm.running.values(), *slurm.queue], key=lambda job: job.id):
            job.cause = "running" if job.start is not None else "pending"
            world.ledger.job(job)
        yield from shipper.taken(FOREVER)

    @property
    def scene(self) -> Scene:
        """The cluster after its period.  Raises ConfigError before the last record."""
        if self._scene is None or not self._is_over:
            raise ConfigError("the truth is known when the period is over", advice="Iterate the run to its last record first.")
        return self._scene

    @property
    def chronicle(self) -> Chronicle:
        """Acts, look-alikes and jobs as objects."""
        return self.scene.chronicle

    def truth(self) -> Iterator[dict[str, Any]]:
        """The truth file, line by line: first the run, then acts, look-alikes and jobs."""
        scene, plan = self.scene, self.plan
        deeds = scene.chronicle.deeds
        yield {
            "truth": "run",
            "cluster": CLUSTER,
            "seed": plan.seed,
            "start_ms": scene.world.start,
            "end_ms": scene.world.end,
            "gpus": plan.hosts * 8,
            "acts_planned": dict(plan.acts),
            "acts_effective": _count(deed.pattern for deed in deeds if deed.victims),
            "intensity": plan.intensity,
            "silent": sorted(plan.silent),
            "thin": plan.thinning,
            "thinned": plan.factors(),
            "records": self.counts,
            "broken": self.broken,
            "duplicates": scene.world.shipper.duplicates,
            "late": scene.world.shipper.late,
            "causes": _count(job.cause for job in scene.chronicle.jobs),
            "look_alikes": _count(each.kind for each in scene.chronicle.look_alikes),
            "offboarded_ms": dict(scene.offboarded),
            "keys": {f"SHA256:{person.fingerprint}": person.id for person in scene.world.people.members},
            "projects": {
                project.name: {
                    "team": project.team,
                    "members": [person.id for person in project.members],
                    "environment": project.environment.root,
                    "maintainer": project.environment.maintainer.id,
                    "dataset": project.dataset.root,
                    "publisher": project.dataset.owner.id,
                }
                for project in scene.projects
            },
        }
        yield from scene.chronicle.lines(plan.silent)

    def settings(self) -> dict[str, Any]:
        """What an operator of this site writes into trainwatch.yaml."""
        scene = self.scene
        settings = scene.world.settings()
        settings["sources"].append({"name": "git", "topic": "logs.access", "cluster": CLUSTER, "zone": "UTC"})
        people = (*scene.world.people.members, *scene.world.people.admins, BUILD_SERVICE)
        keys = {person.id: person.fingerprint for person in people}
        settings["identities"].append(BUILD_SERVICE.setting())
        for identity in settings["identities"]:
            if identity["id"] in keys:
                identity["names"] = {"key": [f"SHA256:{keys[identity['id']]}"], "git": [identity["login"]]}
            last = scene.offboarded.get(identity["id"])
            if last is not None:
                identity["valid_to"] = datetime.fromtimestamp(last // 1000, UTC).isoformat()
        for project in scene.projects:
            environment, dataset = project.environment, project.dataset
            settings["artefact_roots"] += [
                {"path": environment.root, "kind": "environment", "owner": environment.maintainer.id, "writers": []},
                {"path": dataset.root, "kind": "dataset", "owner": dataset.owner.id, "writers": []},
            ]
        settings["artefact_roots"].append({"path": OPERATIONS, "kind": "diagnostics", "owner": "", "writers": ["u101", "u102"]})
        settings["artefact_roots"].append({"path": FOLDERS, "kind": "environment", "owner": "", "writers": []})
        settings["detect"] = {"roaming_networks": [f"{ROAMING}0.0/16"], "large_job_gpus": min(LARGE_GPUS, self.plan.gpus // LARGE_PART)}
        settings["time"] = {"coverage_bucket_seconds": self.plan.heartbeat_minutes * 60}
        if self.plan.plot:  # as invented as everything else: no offer of anybody
            settings["loss"] = {"prices": [{"from": "2026-01-01", "currency": "CNY", "method": "rent", "gpu_hour": [10, 20, 40]}]}
        return settings


def simulate(plan: Plan) -> Run:
    """The period that the plan describes; it happens while it is iterated."""
    return Run(plan)


def _build(plan: Plan) -> Scene:
    begin = round(plan.start.timestamp() * 1000)
    end = begin + round(plan.days * DAY)
    scale = Scale(gpu_hosts=plan.hosts, members=plan.members, jobs_per_day=plan.jobs_a_day)
    silent = plan.silent | ({"marks"} if plan.silent & {"sshd", "kernel"} else frozenset())
    world = build_world(plan.seed, begin, end, scale, frozenset(silent))
    chronicle = Chronicle()
    world.ledger = chronicle
    training = ClusterTraining(world, chronicle, plan.thinning)

    def on_start(job: Job) -> None:
        world.clock.start(training.run(job))
        if job.fate.kind == "holds_only":
            world.clock.start(_held_long_enough(site, job))
        elif job.fate.kind in FATES:
            world.clock.start(run_fate(site, job))

    def on_preempt(job: Job, requeued: bool) -> None:
        job.over = True
        other = slurm.making_room_for
        deed = scene.flooding.get(other.id) if other is not None else None
        if deed is not None and other is not None and job.owner is not deed.actor:
            deed.befell(job, world.now, f"preempted for {other.id}")
        world.clock.start(preempt(site, job, requeued), world.soon("fates", 1, 3))

    slurm = Slurm(world, on_start, on_preempt, lambda _: _draw(world.dice("fates")))
    slurm.starts_untold = 40
    world.names[BUILD_SERVICE.uid] = BUILD_SERVICE.login
    site = Site(world, slurm, training)
    training.strike = lambda job, path, effect: effects.strike(site, job, path, effect)
    away = Away()
    projects = build_projects(world, Random(f"{plan.seed}/projects"))
    demand = ClusterDemand(site, projects, away)
    scene = Scene(plan, site, demand, projects, chronicle, away, git_channel(world))
    for project in projects:
        environment = project.environment
        file = new_file(world, f"{environment.site}/distutils-precedence.pth", environment.maintainer)
        environment.hooks.append(Hook("pth", file, executes=True))
        environment.variables["LD_LIBRARY_PATH"] = (f"{environment.root}/lib:/usr/local/cuda/lib64", file)
    world.clock.start(demand.arrivals())
    world.clock.start(slurm.export_accounting())
    world.clock.start(slurm.tick(HOUR if plan.plot else 5 * MINUTE))
    hum(scene)
    if not plan.plot:
        harmless.every_day(scene)
    plots.plant(scene)
    return scene


def _draw(dice: Random) -> Fate:
    """What becomes of a requeued job."""
    kind, _, low, high = dice.choices(SHARES, [share for _, share, _, _ in SHARES])[0]
    return Fate("completed" if kind == "time_limit" else kind, round((low + (high - low) * dice.betavariate(1.1, 3.2)) * 60_000))


def _held_long_enough(site: Site, job: Job) -> Process:
    """A job that only holds GPUs ends by itself."""
    yield site.world.now + job.fate.after
    if not job.over:
        job.over = True
        site.slurm.complete_line(job, "WEXITSTATUS 0")
        site.slurm.end(job, "COMPLETED", "0:0", "0:0", "completed")


def _count(names: Iterator[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items()))


__all__ = ["Plan", "Run", "World", "simulate"]
