"""Harmless changes of shared files and of the owner's own: they look like P04, P05, P08, P10, P11 and P12."""

from pipeline.simulate import deeds, deeds_files, lines_training
from pipeline.simulate.clock import DAY, HOUR, Process
from pipeline.simulate.scene import EDITOR, Scene
from pipeline.simulate.wares import Hook, Project, ProjectRun, new_file
from pipeline.simulate.work import PYTHON

EDITED_HOOKS = 0.15  # of harmless edits, those of a hook


def _free(scene: Scene) -> Project | None:
    """A project whose environment nobody works on, claimed."""
    found = [each for each in scene.projects if not each.environment.claimed and scene.present(each.environment.maintainer)]
    if not found:
        return None
    project = scene.world.dice("harmless").choice(found)
    project.environment.claimed = True
    return project


def release(scene: Scene) -> Process:
    """The maintainer upgrades: new hashes from then on, and some jobs fail for it, which nobody meant."""
    project = _free(scene)
    if project is None:
        return
    environment, dice = project.environment, scene.world.dice("harmless")
    session = scene.enter(environment.maintainer)
    yield scene.soon(30, 300)
    argv = (PYTHON, "-m", "pip", "install", "-U", "megatron-core")
    deeds.run_command(session, argv, PYTHON)
    for file in dice.sample(environment.modules, 2):
        writer = deeds_files.writer_of(session, argv, PYTHON)
        deeds_files.write(writer, file.path, file.owner, file.inode, create=True)
        file.reverted = None
        file.sha256 = file.original = scene.world.content(file.path, environment.maintainer.id, scene.world.now)
        scene.chronicle.look_alike("release", "p04", environment.maintainer, scene.world.now, artefact=file.path)
        yield scene.soon(0.2, 4)
    environment.claimed = False
    scene.leave(session)


def development(scene: Scene) -> Process:
    """The maintainer edits a module in place while debugging, several times within the hour, after a push."""
    project = _free(scene)
    if project is None:
        return
    environment, dice = project.environment, scene.world.dice("harmless")
    file = dice.choice(environment.modules)
    session = scene.enter(environment.maintainer)
    for _ in range(dice.randint(1, 4)):
        yield scene.soon(60, 900)
        writer = deeds_files.writer_of(session, ("vim", file.path), EDITOR)
        deeds_files.write(writer, file.path, file.owner, file.inode)
        file.reverted = None
        file.sha256 = file.original = scene.world.content(file.path, environment.maintainer.id, scene.world.now)
        scene.push(environment.maintainer, project, (file.path.removeprefix(f"{environment.site}/"),))
    scene.chronicle.look_alike("maintainer_edits", "p04", environment.maintainer, scene.world.now, artefact=file.path)
    environment.claimed = False
    scene.leave(session)


def harmless_edit(scene: Scene) -> Process:
    """A colleague of the maintainer's adds a comment to a shared module, or to a hook that was there before: it does what it did."""
    world = scene.world
    dice = world.dice("harmless/harmless_edit")
    found = [
        (project, person) for project in scene.projects if not project.environment.claimed
        for person in project.members if person is not project.environment.maintainer and scene.present(person)
    ]  # fmt: skip
    if not found:
        return
    project, person = dice.choice(found)
    environment = project.environment
    environment.claimed = True
    file = dice.choice(environment.hooks).file if environment.hooks and dice.random() < EDITED_HOOKS else dice.choice(environment.modules)
    session = scene.enter(person)
    yield world.soon("harmless/harmless_edit", 60, 600)
    deeds_files.write(deeds_files.writer_of(session, ("vim", file.path), EDITOR), file.path, file.owner, file.inode)
    file.reverted = None
    file.sha256 = file.original = world.content(file.path, person.id, world.now)
    environment.claimed = False
    scene.chronicle.look_alike("harmless_edit", "p04" if file in environment.modules else "p05", person, world.now, artefact=file.path)
    scene.leave(session)


def own_hook(scene: Scene) -> Process:
    """The maintainer installs something editable: a .pth file that stays for some days."""
    project = _free(scene)
    if project is None:
        return
    environment = project.environment
    session = scene.enter(environment.maintainer)
    yield scene.soon(30, 300)
    file = new_file(scene.world, f"{environment.site}/__editable__.teamlib-0.{scene.world.now // DAY}.pth", environment.maintainer)
    argv = (PYTHON, "-m", "pip", "install", "-e", ".")
    writer = deeds_files.writer_of(session, argv, PYTHON)
    deeds_files.write(writer, file.path, file.owner, file.inode, create=True)
    hook = Hook("pth", file, executes=True)
    environment.hooks.append(hook)
    environment.claimed = False
    scene.chronicle.look_alike("editable_install", "p05", environment.maintainer, scene.world.now, artefact=file.path)
    scene.leave(session)
    yield scene.world.now + 3 * DAY
    environment.hooks.remove(hook)


def profiler(scene: Scene) -> Process:
    """The maintainer preloads a profiler for a day: LD_PRELOAD, as shims of NCCL do it."""
    project = _free(scene)
    if project is None:
        return
    environment = project.environment
    file = new_file(scene.world, f"{environment.root}/etc/profile.d/profiler.sh", environment.maintainer)
    session = scene.enter(environment.maintainer)
    yield scene.soon(30, 300)
    writer = deeds_files.writer_of(session, ("vim", file.path), EDITOR)
    deeds_files.write(writer, file.path, file.owner, file.inode, create=True)
    scene.leave(session)
    environment.claimed = False
    if "LD_PRELOAD" not in environment.variables:
        environment.variables["LD_PRELOAD"] = ("/opt/nccl-profiler/libprof.so", file)
        scene.chronicle.look_alike("profiler", "p05", environment.maintainer, scene.world.now, artefact=file.path)
        yield scene.world.now + DAY
        if environment.variables.get("LD_PRELOAD", ("", None))[1] is file:
            del environment.variables["LD_PRELOAD"]


def _own_run(scene: Scene, checkpoints: int) -> ProjectRun | None:
    found = [
        run for runs in scene.world.runs.values() for run in runs
        if isinstance(run, ProjectRun) and not run.busy and len(run.checkpoints) >= checkpoints and scene.present(run.owner)
    ]  # fmt: skip
    if not found:
        return None
    run = scene.world.dice("harmless").choice(found)
    run.busy = True
    return run


def rewind(scene: Scene) -> Process:
    """The owner deletes the newest checkpoint after a loss spike and goes on from the one before."""
    run = _own_run(scene, 2)
    if run is None:
        return
    session = scene.enter(run.owner)
    yield scene.soon(30, 300)
    newest = run.checkpoints.pop()
    writer = deeds_files.writer_of(session, ("rm", newest.path), "/usr/bin/rm")
    deeds.unlink(writer, run, newest)
    yield scene.soon(60, 1200)
    job = scene.demand.resume(run)
    scene.chronicle.look_alike("owner_rewinds", "p08", run.owner, scene.world.now, job, artefact=newest.path)
    scene.leave(session)


def tidied_checkpoints(scene: Scene) -> Process:
    """The resharding service, which also keeps quotas, deletes the oldest checkpoint of an idle run."""
    run = _own_run(scene, 3)
    if run is None:
        return
    world = scene.world
    oldest = run.checkpoints.pop(0)
    service = world.people.service
    writer = deeds_files.daemon_writer(world.login_hosts[1], service, ("ckpt-reshard", "--quota"), "/opt/reshard/bin/ckpt-reshard")
    deeds.unlink(writer, run, oldest)
    run.busy = False
    scene.chronicle.look_alike("retention", "p08", service, world.now, artefact=oldest.path)
    return
    yield


def retokenised(scene: Scene) -> Process:
    """The publisher tokenises anew: all shards have other hashes from then on; it was announced in a ticket."""
    found = [each for each in scene.projects if not each.dataset.claimed and scene.present(each.dataset.owner)]
    if not found:
        return
    world = scene.world
    dataset = world.dice("harmless").choice(found).dataset
    dataset.claimed = True
    session = scene.enter(dataset.owner)
    ticket = world.ticket(dataset.owner, hosts=(session.host.name,))
    yield scene.soon(60, 600)
    argv = (PYTHON, "tokenize.py", "--out", dataset.root)
    for shard in dataset.shards:
        writer = deeds_files.writer_of(session, argv, PYTHON)
        deeds_files.write(writer, shard.path, shard.owner, shard.inode, create=True)
        shard.sha256 = shard.original = world.content(shard.path, dataset.owner.id, world.now)
        yield scene.soon(5, 60)
    scene.chronicle.look_alike("retokenised", "p11", dataset.owner, world.now, artefact=dataset.root, ticket=ticket)
    dataset.claimed = False
    scene.leave(session)


def own_arguments(scene: Scene) -> Process:
    """The owner changes the learning rate of an own run, pushes it and goes on: another curve, by will."""
    run = _own_run(scene, 1)
    if run is None or run.project is None:
        return
    session = scene.enter(run.owner)
    yield scene.soon(30, 400)
    path = f"{run.folder}/{lines_training.SCRIPT}"
    writer = deeds_files.writer_of(session, ("vim", path), EDITOR)
    deeds_files.write(writer, path, run.owner, scene.world.inode(), key="script_write")
    scene.push(run.owner, run.project, (f"runs/{run.owner.login}/run{run.number}/{lines_training.SCRIPT}",))
    run.rate_factor = scene.world.dice("harmless").choice((0.3, 0.5, 2.0))
    run.script_version = f"{run.owner.id} {scene.world.now}"
    yield scene.soon(60, 1800)
    job = scene.demand.resume(run)
    scene.chronicle.look_alike("owner_changes_arguments", "p12", run.owner, scene.world.now, job, artefact=path)
    scene.leave(session)
    yield scene.world.now + HOUR
