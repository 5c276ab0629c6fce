"""P11 and P12: what a job is given is changed: the shards that it reads, the limits and arguments that it runs with."""

from pipeline.simulate import deeds, lines_training
from pipeline.simulate.chronicle import Deed
from pipeline.simulate.clock import HOUR, MINUTE, SECOND, Process
from pipeline.simulate.deeds_files import write, writer_of
from pipeline.simulate.endings import slurm_ends_ranks
from pipeline.simulate.scene import EDITOR, Scene
from pipeline.simulate.wares import Effect


def dataset_tamper(scene: Scene, deed: Deed, number: int) -> Process:
    """A published shard gets other bytes: jobs that read it cannot decode it, or learn worse than runs with equal arguments."""
    yield from scene.until_present(deed.actor)
    project = yield from scene.dataset(deed)
    if project is None:
        return
    dataset = project.dataset
    shard = scene.dice.choice(dataset.shards)
    kind = ("decode", "loss")[number % 2]
    session = scene.enter(deed.actor)
    yield scene.soon(60, 600)
    begin = scene.world.now
    yield from scene.alter(deed, session, shard, Effect(kind, deed, strength=0.35 * scene.plan.intensity), project)
    deed.detail.update({"effect": kind, "dataset": dataset.root})
    scene.leave(session)
    yield from scene.victims_or(deed, 72)
    yield scene.world.now + round(scene.dice.uniform(1, 8) * HOUR)
    yield from scene.restore(dataset.owner, [shard], how="cp")
    deed.windows_ms.append([begin, scene.world.now])
    dataset.claimed = False


def job_spec(scene: Scene, deed: Deed, number: int) -> Process:
    """An operator shortens the limit of somebody's job; or somebody edits the launch script of a run between two attempts."""
    yield from scene.until_present(deed.actor)
    if deed.actor in scene.world.people.operators:
        yield from _limit(scene, deed, number)
    else:
        yield from _script(scene, deed)


def _limit(scene: Scene, deed: Deed, number: int) -> Process:
    world, slurm = scene.world, scene.site.slurm
    job = yield from scene.job(lambda job: job.owner is not deed.actor, 60)
    if job is None or job.start is None:
        return
    session = scene.enter(deed.actor)
    yield scene.soon(20, 200)
    if job.over:
        return
    minutes = (world.now - job.start) // MINUTE + scene.dice.randrange(3, 25)
    deeds.run_command(session, ("scontrol", "update", f"JobId={job.id}", f"TimeLimit={minutes}"), "/usr/bin/scontrol")
    yield scene.soon(0.05, 0.3)
    slurm.log(
        f"_update_job: setting time_limit to {minutes} for JobId={job.id}",
        f"_slurm_rpc_update_job: complete JobId={job.id} uid={deed.actor.uid} usec={scene.dice.randrange(300, 2500)}",
    )
    job.limit = int(minutes * 60)
    deed.did(world.now, "", session.host.name)
    deed.detail.update({"change": "time_limit", "minutes": str(minutes), "variant": str(number)})
    scene.leave(session)
    yield job.start + job.limit * SECOND + scene.dice.randrange(20) * SECOND
    if not job.over:
        job.over = True
        deed.befell(job, world.now, "time_limit")
        slurm.log(f"Time limit exhausted for JobId={job.id}")
        yield from slurm_ends_ranks(scene.site, job, "TIME LIMIT")
        slurm.end(job, "TIMEOUT", "0:0", "0:15", "interference")


def _script(scene: Scene, deed: Deed) -> Process:
    """The script of a run is edited and pushed by the actor; the next attempt has another learning rate in its arguments."""
    world = scene.world
    run = yield from scene.idle_run(deed)
    if run is None or run.project is None:
        return
    session = scene.enter(deed.actor)
    yield scene.soon(60, 400)
    path = f"{run.folder}/{lines_training.SCRIPT}"
    writer = writer_of(session, ("vim", path), EDITOR, as_root=deed.actor.team != run.project.team, gid=run.owner.gid)
    write(writer, path, run.owner, world.inode(), key="script_write")
    deed.did(world.now, path, session.host.name)
    yield scene.soon(30, 300)
    scene.push(deed.actor, run.project, (f"runs/{run.owner.login}/run{run.number}/{lines_training.SCRIPT}",))
    run.rate_factor, run.script_version = 10.0, f"{deed.actor.id} {world.now}"
    deed.also.append("p04")  # the script is a module, too
    run.script_effect = Effect("arguments", deed)
    deed.detail.update({"change": "learning rate", "factor": "10"})
    scene.leave(session)
    for _ in range(3):
        yield world.now + round(scene.dice.uniform(0.4, 6) * HOUR)
        if world.now + 3 * HOUR > world.end:
            return
        job = scene.resume(run)
        while job.end is None:
            yield world.now + 10 * MINUTE
        if deed.victims:
            break
        run.busy = True
    run.rate_factor, run.script_effect, run.script_version = 1.0, None, ""
    run.busy = False
