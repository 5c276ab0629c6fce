"""P02, P06, P07 and P08: somebody else's checkpoint is altered, booby-trapped, or taken away while nobody trains the run.

The owner goes on with the run some hours later, and what happens then happens as the owner.
"""

from pipeline.simulate import acts, deeds
from pipeline.simulate.acts import Plan as Step
from pipeline.simulate.chronicle import Deed
from pipeline.simulate.clock import HOUR, MINUTE, Process
from pipeline.simulate.deeds_files import writer_of
from pipeline.simulate.plots import code
from pipeline.simulate.scene import Scene
from pipeline.simulate.wares import Effect, ProjectRun
from pipeline.simulate.work import Tamper


def tamper(scene: Scene, deed: Deed, number: int) -> Process:
    """Other weights: the job goes on, with results that are wrong."""
    yield from _through_checkpoint(scene, deed, number, "weights")


def kill_from_inside(scene: Scene, deed: Deed, number: int) -> Process:
    """A checkpoint, or every third time a module, that kills the job which loads it; the traces of the file may be undone before that."""
    if number % 3 == 2:
        yield from code.altered(scene, deed, Effect("kill", deed), hours=30, reverted=True)
    else:
        yield from _through_checkpoint(scene, deed, number, "kill")


def back_door(scene: Scene, deed: Deed, number: int) -> Process:
    """A checkpoint that opens a shell, adds a key, and lets the actor in as the victim."""
    yield from _through_checkpoint(scene, deed, number, "shell")


def _through_checkpoint(scene: Scene, deed: Deed, number: int, kind: str) -> Process:
    world, dice = scene.world, scene.dice
    yield from scene.until_present(deed.actor)
    run = yield from scene.idle_run(deed)
    if run is None:
        return
    original = scene.newest(run).sha256
    yield from acts.alter_checkpoint(scene.site, run, Step(kind, 0, deed.actor, number, 0), dice)
    checkpoint = scene.newest(run)
    known = checkpoint.tamper
    if known is not None:
        deed.did(known.time, checkpoint.path, known.detail["host"])
        deed.detail.update(known.detail)
        known.effect = Effect(kind, deed)
    yield from _go_on(scene, deed, run)
    # It may be undone once it has been loaded, before anybody looks.
    if kind == "kill" and number % 2 and run.checkpoints and deed.victims:
        session = scene.enter(deed.actor)
        writer = writer_of(session, ("cp", "-p", "/tmp/.k", checkpoint.path), "/usr/bin/cp", as_root=True)  # noqa: S108 - made up
        deeds.open_for_writing(writer, run, checkpoint.path, checkpoint.inode, create=False)
        checkpoint.sha256, checkpoint.tamper = original, None
        deed.did(world.now, checkpoint.path, session.host.name)
        deed.detail["reverted"] = "yes"
        scene.leave(session)


def _go_on(scene: Scene, deed: Deed, run: ProjectRun) -> Process:
    """The owner goes on with the run, and again should the first job never get as far as the load."""
    world = scene.world
    for _ in range(3):
        yield world.now + round(scene.dice.uniform(0.4, 8) * HOUR)
        if world.now + 3 * HOUR > world.end:
            return
        job = scene.resume(run)
        while job.end is None:
            yield world.now + 10 * MINUTE
        if deed.victims:
            return
        run.busy = True
    run.busy = False


def delete(scene: Scene, deed: Deed, number: int) -> Process:
    """The newest checkpoints are deleted, or an older one is renamed over the newest; the run goes on from further back."""
    world, dice = scene.world, scene.dice
    yield from scene.until_present(deed.actor)
    run = yield from scene.idle_run(deed, checkpoints=2)
    if run is None:
        return
    session = scene.enter(deed.actor)
    yield scene.soon(60, 400)
    newest = run.checkpoints[-1]
    swapped = number % 3 == 2
    argv = ("mv" if swapped else "rm", "-f", newest.path)
    writer = writer_of(session, argv, f"/usr/bin/{argv[0]}", as_root=number % 2 == 0, gid=run.owner.gid)
    lost = run.checkpoints[1:] if number % 3 == 1 else run.checkpoints[-1:]
    if swapped:
        older = run.checkpoints[-2]
        deeds.rename(writer, run, older.path, newest.path, (older.inode, newest.inode))
        newest.inode, newest.sha256, newest.iteration = older.inode, older.sha256, older.iteration
        run.checkpoints.remove(older)
        deed.did(world.now, older.path, session.host.name)
    else:
        for checkpoint in lost:
            deeds.unlink(writer, run, checkpoint)
            run.checkpoints.remove(checkpoint)
            yield scene.soon(0.2, 3)
    deed.did(world.now, newest.path, session.host.name)
    deed.detail["means"] = "swap" if swapped else "delete"
    scene.leave(session)
    run.checkpoints[-1].tamper = Tamper(deed.actor, world.now, {}, Effect("rollback", deed))
    dice.random()
    yield from _go_on(scene, deed, run)
