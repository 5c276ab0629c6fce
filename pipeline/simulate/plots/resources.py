"""P13 and P14: what jobs need is taken from them: their place in the queue, the speed of their nodes."""

from pipeline.simulate import deeds
from pipeline.simulate.chronicle import Deed
from pipeline.simulate.clock import HOUR, MINUTE, Process
from pipeline.simulate.machines import GPUS, Host
from pipeline.simulate.scene import Scene
from pipeline.simulate.wares import ProjectJob, ProjectRun

MEANS = (
    ("nvidia-smi", "-pl", "200"),
    ("tc", "qdisc", "add", "dev", "eth0", "root", "netem", "delay", "40ms"),
    ("sh", "-c", "echo 200000 1000000 > /sys/fs/cgroup/slurm/cpu.max"),
)
UNDO = (
    ("nvidia-smi", "-pl", "700"),
    ("tc", "qdisc", "del", "dev", "eth0", "root"),
    ("sh", "-c", "echo max > /sys/fs/cgroup/slurm/cpu.max"),
)


def flood(scene: Scene, deed: Deed, _: int) -> Process:
    """Many jobs at once that only hold GPUs, at the highest quality of service: others are preempted for them, or wait."""
    world, slurm = scene.world, scene.site.slurm
    yield from scene.until_present(deed.actor)
    while _displaceable(scene, deed) < 8 and scene.days_left() > 1:
        yield world.now + HOUR
    run = scene.demand.new_run(deed.actor)
    world.runs[deed.actor.id].append(run)
    session = scene.enter(deed.actor)
    yield scene.soon(30, 200)
    begin = world.now
    deed.detail["account"] = deed.actor.team
    hours = scene.dice.uniform(1.5, 4)
    free = sum(host.free_gpus == GPUS for host in world.gpu_hosts)
    count = max(64, free + max(12, round(0.15 * len(world.gpu_hosts) * scene.plan.intensity)))
    mine: set[int] = set()
    for _ in range(count):
        if not mine:
            deeds.run_command(session, ("sbatch", "hold.sh"), "/usr/bin/sbatch")
        job = scene.demand.submit_holder(deed.actor, run, GPUS, hours * 60 * scene.dice.uniform(0.8, 1.2), "hold")
        mine.add(job.id)
        scene.flooding[job.id] = deed
        scene.chronicle.holders[str(job.id), job.submit] = deed.id
        yield scene.soon(1, 20)
    deed.did(world.now, "", session.host.name)
    deed.detail["jobs"] = str(count)
    scene.leave(session)
    waiting: dict[int, ProjectJob] = {}
    until = begin + round(hours * HOUR)
    while world.now < until:
        for other in slurm.queue:
            if isinstance(other, ProjectJob) and other.id not in mine and other.owner is not deed.actor:
                waiting.setdefault(other.id, other)
        yield world.now + 5 * MINUTE
    for job in waiting.values():
        waited = ((job.start or world.now) - job.submit) // MINUTE
        if waited >= 45:
            deed.befell(job, job.submit, f"waited {waited} minutes")
    deed.windows_ms.append([begin, world.now])


def _displaceable(scene: Scene, deed: Deed) -> int:
    """How many jobs of others run that must make room for more important ones."""
    jobs = scene.site.slurm.running.values()
    return sum(job.qos == "scavenger" and not job.protected and job.owner is not deed.actor for job in jobs)


def degrade(scene: Scene, deed: Deed, number: int) -> Process:
    """On the node of somebody's job power is capped, the network delayed or processors withheld, through sudo, and undone later."""
    for _ in range(3):
        yield from scene.until_present(deed.actor)
        yield from _degraded_once(scene, deed, number)
        if deed.victims or scene.days_left() < 1:
            return
        yield scene.world.now + round(scene.dice.uniform(2, 20) * HOUR)


def _degraded_once(scene: Scene, deed: Deed, number: int) -> Process:
    job = yield from scene.job(
        lambda job: job.owner is not deed.actor and job.nodes <= 4 and all(share.host.slow == 1.0 for share in job.shares), 90
    )
    if job is None:
        return
    job.protected = False
    yield from slowed(scene, deed, job.shares[0].host, number)


def slowed(scene: Scene, deed: Deed, host: Host, number: int) -> Process:
    """A node is slowed for some hours, and everything on it."""
    world = scene.world
    yield from _command(scene, deed, host, MEANS[number % 3])
    begin = world.now
    deed.detail["means"] = MEANS[number % 3][0]
    host.slow = 1.0 + scene.dice.uniform(0.45, 0.9) * scene.plan.intensity
    scene.chronicle.waste.slow_nodes[host.name] = deed.id
    until = world.now + round(scene.dice.uniform(2, 7) * HOUR)
    since: dict[int, int] = {}
    while world.now < until:
        for other in scene.site.slurm.jobs_on(host):
            if isinstance(other, ProjectJob) and isinstance(other.run, ProjectRun) and not other.over and other.owner is not deed.actor:
                first = since.setdefault(other.id, world.now)
                # A few lines of it must have been written.
                if world.now - first > 3 * other.log_every * other.run.step_ms * host.slow:
                    deed.befell(other, first, f"slow on {host.name}")
        yield world.now + 5 * MINUTE
    host.slow = 1.0
    del scene.chronicle.waste.slow_nodes[host.name]
    yield from _command(scene, deed, host, UNDO[number % 3])
    deed.windows_ms.append([begin, world.now])


def _command(scene: Scene, deed: Deed, host: Host, argv: tuple[str, ...]) -> Process:
    session = scene.enter(deed.actor, host, scene.world.login_hosts[0].address)
    yield scene.soon(15, 90)
    deeds.sudo(session, f"/usr/bin/{' '.join(argv)}")
    deeds.run_command(session, argv, f"/usr/bin/{argv[0]}", as_root=True)
    deed.did(scene.world.now, "", host.name)
    scene.leave(session, scene.world.login_hosts[0].address)
