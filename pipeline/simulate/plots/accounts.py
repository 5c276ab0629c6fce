"""P17: somebody acts through an account that is not theirs, or no longer theirs.

0  the account's last day has passed       1  a key that another person enrolled
2  the victim's own key, from elsewhere while the victim is at work (nobody can tell by whom)       3  root becomes the victim
"""

from pipeline.simulate import deeds, deeds_files
from pipeline.simulate.chronicle import Deed
from pipeline.simulate.clock import HOUR, Process
from pipeline.simulate.deeds import Session
from pipeline.simulate.endings import slurm_ends_ranks
from pipeline.simulate.people import Person
from pipeline.simulate.scene import Scene
from pipeline.simulate.wares import ProjectJob


def borrowed(scene: Scene, deed: Deed, number: int) -> Process:
    """One of four ways to be somebody else, used to cancel a job."""
    variant = number % 4
    deed.detail["variant"] = ("after_last_day", "foreign_key", "two_places", "became_owner")[variant]
    if variant == 0:
        yield from _after_last_day(scene, deed)
    elif variant == 3:
        yield from _became_owner(scene, deed)
    else:
        yield from _as_victim(scene, deed, own_key=variant == 2)


def _after_last_day(scene: Scene, deed: Deed) -> Process:
    """Days after the last one the account still works; it cancels its own old job's neighbour through a login that should not be."""
    world = scene.world
    staying = {other.actor.id for other in scene.chronicle.deeds if other is not deed} | {*scene.offboarded}
    for project in scene.projects:
        staying |= {project.environment.maintainer.id, project.dataset.owner.id}
    leaving = [person for person in world.people.members if person.id not in staying and person not in world.people.operators]
    deed.actor = scene.dice.choice(leaving or [deed.actor])
    yield from scene.leaves(deed.actor)
    deed.detail["last_day_ms"] = str(world.now)
    deed.attributable, deed.why_not = False, "in whose hands the account of somebody who has left is, no record tells"
    yield world.now + round(scene.dice.uniform(6, 72) * HOUR)
    job = yield from scene.job(lambda job: job.owner is not deed.actor, 20)
    if job is None:
        return
    session = scene.enter(deed.actor)
    deed.did(world.now, "", session.host.name)
    yield scene.soon(20, 200)
    shell = deeds.switch_user(session, job.owner)
    deed.detail["shell"] = str(shell)
    yield from _cancel(scene, deed, job, session)
    scene.leave(session)


def _as_victim(scene: Scene, deed: Deed, *, own_key: bool) -> Process:
    """A login under the victim's name from the actor's machine; with the victim's own key nobody can tell whose hands they were."""
    world, actor = scene.world, deed.actor
    yield from scene.until_present(actor)
    job = yield from scene.job(lambda job: job.owner is not actor and scene.present(job.owner), 60)
    if job is None:
        return
    victim = job.owner
    if own_key:
        deed.attributable, deed.why_not = False, "the key is the victim's own; only the address is another"
        own = scene.enter(victim)
        scene.leave(own, "", 3600, 7200)
        yield scene.soon(60, 600)
        address = f"198.51.100.{scene.dice.randrange(1, 250)}"
        session = scene.enter(victim, None, address, "")
    else:
        yield from _enrol(scene, deed, victim)
        address = actor.address
        session = scene.enter(victim, None, address, actor.fingerprint)
        deed.detail["fingerprint"] = actor.fingerprint
    deed.did(world.now, "", session.host.name)
    deed.detail["address"] = address
    yield scene.soon(20, 200)
    yield from _cancel(scene, deed, job, session)
    scene.leave(session, address)


def _enrol(scene: Scene, deed: Deed, victim: Person) -> Process:
    """The actor adds the own key to the victim's account, as root."""
    session = scene.enter(deed.actor)
    yield scene.soon(30, 200)
    keys = f"/home/{victim.login}/.ssh/authorized_keys"
    writer = deeds_files.writer_of(session, ("tee", "-a", keys), "/usr/bin/tee", as_root=True)
    deeds_files.write(writer, keys, victim, scene.world.inode(), key="ssh_keys")
    deed.did(scene.world.now, keys, session.host.name)
    scene.leave(session)
    yield scene.soon(300, 1500)


def _became_owner(scene: Scene, deed: Deed) -> Process:
    """The actor logs in under the own name, becomes the owner by su, and cancels as the owner."""
    world = scene.world
    yield from scene.until_present(deed.actor)
    job = yield from scene.job(lambda job: job.owner is not deed.actor, 20)
    if job is None:
        return
    session = scene.enter(deed.actor)
    yield scene.soon(20, 200)
    deeds.switch_user(session, job.owner)
    deed.did(world.now, "", session.host.name)
    yield from _cancel(scene, deed, job, session)
    scene.leave(session)


def _cancel(scene: Scene, deed: Deed, job: ProjectJob, session: Session) -> Process:
    """scancel with the owner's uid; Slurm sees the owner."""
    world, owner = scene.world, job.owner
    yield scene.soon(3, 30)
    if job.over:
        return
    job.over = True
    subject = session.subject(owner.uid, owner.gid)
    deeds.execute(session.host, subject, session.shell_pid, ("scancel", str(job.id)), "/usr/bin/scancel", f"/home/{owner.login}")
    yield scene.soon(0.05, 0.3)
    scene.site.slurm.log(f"_slurm_rpc_kill_job: REQUEST_KILL_JOB JobId={job.id} uid {owner.uid}")
    yield from _ended_by_cancel(scene, job, owner)
    deed.did(world.now)
    deed.befell(job, world.now, "cancelled as its owner")


def _ended_by_cancel(scene: Scene, job: ProjectJob, by: Person) -> Process:
    """The rest of a cancel."""
    yield scene.soon(0.1, 1.0)
    yield from slurm_ends_ranks(scene.site, job, "")
    scene.site.slurm.end(job, "CANCELLED", "0:15", "0:15", "interference", cancelled_by=by.uid)
