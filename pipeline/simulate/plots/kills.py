"""P01, P03 and P18: a rank is killed from outside, a job is cancelled by somebody else, and auditing is switched off before either."""

from pipeline.simulate import acts, deeds, deeds_files
from pipeline.simulate.acts import Plan as Step
from pipeline.simulate.chronicle import Deed
from pipeline.simulate.clock import HOUR, MINUTE, Process
from pipeline.simulate.scene import Scene
from pipeline.simulate.wares import ProjectJob


def foreign_kill(scene: Scene, deed: Deed, number: int) -> Process:
    """Somebody else's rank is killed on its node, as root or as its owner, after a login of the actor's."""
    yield from scene.until_present(deed.actor)
    job = yield from scene.job(lambda job: _can_be_told(job) and job.owner is not deed.actor and job.gpus >= 2, 90)
    if job is None:
        return
    scene.chronicle.expect(deed.actor, job, deed)
    yield from acts.foreign_kill(scene.site, job, Step("foreign_kill", 0, deed.actor, number, 0))


def foreign_cancel(scene: Scene, deed: Deed, number: int) -> Process:
    """A job is cancelled by an operator who has no business with it; or somebody without the right tries to, again and again."""
    yield from scene.until_present(deed.actor)
    job = yield from scene.job(lambda job: job.owner is not deed.actor, 20)
    if job is None:
        return
    scene.chronicle.expect(deed.actor, job, deed)
    refused = deed.actor not in scene.world.people.operators
    story = acts.refused_cancel if refused else acts.foreign_cancel
    yield from story(scene.site, job, Step("refused_cancel" if refused else "foreign_cancel", 0, deed.actor, number, 0))
    if not job.over:
        job.protected = False


def audit_gap(scene: Scene, deed: Deed, number: int) -> Process:
    """Auditing is switched off on a node, a rank is killed there, and auditing comes back later or with the next boot."""
    world = scene.world
    yield from scene.until_present(deed.actor)
    job = yield from scene.job(lambda job: _can_be_told(job) and job.owner is not deed.actor and _is_alone(scene, job), 100)
    if job is None:
        return
    host = job.shares[0].host
    session = scene.enter(deed.actor, host, world.login_hosts[0].address)
    yield scene.soon(20, 120)
    begin = world.now
    means = ("auditctl -e 0", "systemctl stop auditd")[number % 2]
    deed.detail["switched_off_by"] = means
    argv = tuple(means.split(" "))
    deeds.sudo(session, f"/usr/sbin/{means}")
    deeds.run_command(session, argv, f"/usr/sbin/{argv[0]}", as_root=True)
    if number % 2 == 0:
        deeds_files.audit_switched(session, 0)
    else:
        deeds_files.audit_daemon(host, "DAEMON_END", deed.actor.uid, session.number)
    deed.did(world.now, "", host.name)
    host.audit.stopped = True
    yield scene.soon(60, 900)
    if not job.over:
        scene.chronicle.expect(deed.actor, job, deed)
        deed.also.append("p01")
        deed.why_not = "the kill itself left no audit record; the switch did"
        yield from acts.foreign_kill(scene.site, job, Step("kill_unheard", 0, deed.actor, 2 * number, 0))
    yield world.now + round(scene.dice.uniform(1.3, 3) * HOUR * max(1, scene.plan.heartbeat_minutes / 30))
    host.audit.stopped = False
    if number % 2 == 0:
        deeds.sudo(session, "/usr/sbin/auditctl -e 1")
        deeds_files.audit_switched(session, 1)
    else:
        deeds.sudo(session, "/usr/bin/systemctl start auditd")
        deeds_files.audit_daemon(host, "DAEMON_START", deed.actor.uid, session.number)
    deed.windows_ms.append([begin, world.now])
    yield world.now + 5 * MINUTE
    deeds.log_out(session, world.login_hosts[0].address)


def _is_alone(scene: Scene, job: ProjectJob) -> bool:
    """No other act is under way on the node of a job of one node."""
    others = scene.site.slurm.jobs_on(job.shares[0].host) if job.nodes == 1 else []
    return job.nodes == 1 and not any(other.protected for other in others)


def _can_be_told(job: ProjectJob) -> bool:
    return job.has_probe or job.launcher == "torchrun"
