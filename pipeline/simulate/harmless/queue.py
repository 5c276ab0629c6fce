"""Harmless things in the queue: they look like P03, P12 and P13."""

from pipeline.simulate import acts, deeds
from pipeline.simulate.clock import HOUR, MINUTE, Process
from pipeline.simulate.harmless.jobs import running
from pipeline.simulate.scene import Scene


def own_update(scene: Scene) -> Process:
    """The owner asks for more time for an own job."""
    job = running(scene, probe=False)
    if job is None:
        return
    session = scene.enter(job.owner)
    yield scene.soon(20, 200)
    if not job.over:
        minutes = job.limit // 60 + 120
        deeds.run_command(session, ("scontrol", "update", f"JobId={job.id}", f"TimeLimit={minutes}"), "/usr/bin/scontrol")
        yield scene.soon(0.05, 0.3)
        scene.site.slurm.log(
            f"_update_job: setting time_limit to {minutes} for JobId={job.id}",
            f"_slurm_rpc_update_job: complete JobId={job.id} uid={job.owner.uid} usec={scene.world.dice('harmless').randrange(300, 2500)}",
        )
        if job.fate.kind != "time_limit":
            job.limit = minutes * 60
        scene.chronicle.look_alike("owner_updates", "p12", job.owner, scene.world.now, job)
    scene.leave(session)


def mistyped_cancel(scene: Scene) -> Process:
    """Somebody cancels an own job and mistypes its number: it is another's, Slurm refuses, and they type it again."""
    world = scene.world
    dice = world.dice("harmless/mistyped_cancel")
    stopped = [job for job in scene.site.slurm.running.values() if not job.over and job.owner not in world.people.operators]
    own = dice.choice(stopped) if stopped else None
    others = [job for job in stopped if own is not None and job.owner is not own.owner and _one_digit_apart(job.id, own.id)]
    if own is None or not others:
        return
    job = dice.choice(others)
    session = scene.enter(own.owner)
    yield world.soon("harmless/mistyped_cancel", 20, 200)
    if not job.over:
        uid = own.owner.uid
        deeds.run_command(session, ("scancel", str(job.id)), "/usr/bin/scancel")
        yield world.soon("harmless/mistyped_cancel", 0.05, 0.3)
        scene.site.slurm.log(*acts.refused(job, uid))
        scene.chronicle.look_alike("mistyped_cancel", "p03", own.owner, world.now, job, host=session.host.name)
    scene.leave(session)


def _one_digit_apart(first: int, second: int) -> bool:
    """Does one differ from the other by what a finger does: one digit?"""
    one, other = str(first), str(second)
    return len(one) == len(other) and sum(left != right for left, right in zip(one, other, strict=True)) == 1


def limits_before_maintenance(scene: Scene) -> Process:
    """An admin shortens limits before a maintenance window, under a ticket; the jobs end in time by themselves."""
    world = scene.world
    admin = world.dice("harmless").choice(world.people.admins)
    jobs = [job for _ in range(4) if (job := running(scene, probe=False)) is not None]
    if not jobs:
        return
    session = scene.enter(admin)
    ticket = world.ticket(admin, jobs=tuple(str(job.id) for job in jobs))
    yield scene.soon(60, 300)
    for job in jobs:
        if not job.over and job.start is not None:
            left = (job.start + job.fate.after - world.now) // MINUTE + 30
            minutes = (world.now - job.start) // MINUTE + max(30, left)
            scene.site.slurm.log(
                f"_update_job: setting time_limit to {minutes} for JobId={job.id}",
                f"_slurm_rpc_update_job: complete JobId={job.id} uid={admin.uid} usec=812",
            )
            if job.fate.kind != "time_limit":
                job.limit = int(minutes * 60)
            scene.chronicle.look_alike("limits_before_maintenance", "p12", admin, world.now, job, ticket=ticket)
            yield scene.soon(1, 5)
    scene.leave(session)


def evaluation_burst(scene: Scene) -> Process:
    """Many short evaluation jobs of one person at once, at high quality of service: some scavengers make room."""
    yield from _burst(scene, "evaluation_burst", "eval", 30, (4, 20), 2)


def deadline_rush(scene: Scene) -> Process:
    """The evening before a deadline: three people submit far more than usual, and really train."""
    world = scene.world
    dice = world.dice("harmless")
    people = dice.sample([person for person in world.people.members if scene.present(person)], 3)
    for person in people:
        scene.chronicle.look_alike("deadline_rush", "p13", person, world.now)
        for _ in range(max(3, round(6 * scene.plan.gpus / 2000))):
            run = scene.demand.new_run(person)
            world.runs[person.id].append(run)
            scene.demand.resume(run)
            yield scene.soon(10, 300)


def crash_loop(scene: Scene) -> Process:
    """A script submits the same failing job again and again, at high quality of service: each time others make room for it."""
    world = scene.world
    dice = world.dice("harmless")
    person = dice.choice([person for person in world.people.members if scene.present(person)])
    run = scene.demand.new_run(person)
    run.busy = True
    world.runs[person.id].append(run)
    for _ in range(dice.randint(8, 20)):
        job = scene.demand.submit_failing(run)
        scene.chronicle.look_alike("crash_loop", "p13", person, world.now, job)
        while job.end is None:
            yield world.now + 2 * MINUTE


def _burst(scene: Scene, kind: str, name: str, jobs: int, minutes: tuple[float, float], gpus: int) -> Process:
    world = scene.world
    dice = world.dice("harmless")
    person = dice.choice([person for person in world.people.members if scene.present(person)])
    run = scene.demand.new_run(person)
    world.runs[person.id].append(run)
    session = scene.enter(person)
    yield scene.soon(30, 200)
    scene.chronicle.look_alike(kind, "p13", person, world.now)
    for _ in range(max(6, round(jobs * scene.plan.gpus / 2000))):
        scene.demand.submit_holder(person, run, gpus, dice.uniform(*minutes), name)
        yield scene.soon(0.5, 10)
    scene.leave(session)
    yield world.now + HOUR
