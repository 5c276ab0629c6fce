"""P04, P05, P09 and P10: bytes below a shared environment are changed by somebody who does not maintain it.

What follows depends on what the bytes do: jobs that import them crash, are killed, sleep, or learn worse.  After a while the
maintainer installs again, or the actor puts the old bytes back, and it is over.
"""

from pipeline.simulate.chronicle import Deed
from pipeline.simulate.clock import HOUR, Process
from pipeline.simulate.scene import Scene
from pipeline.simulate.wares import Effect, Hook, Project, new_file

HOOKS = ("sitecustomize", "pth", "preload")


def library_tamper(scene: Scene, deed: Deed, number: int) -> Process:
    """A module is altered; the jobs that import it fail in it."""
    yield from altered(scene, deed, Effect(("crash", "segfault", "exit")[number % 3], deed), hours=60, reverted=number % 2 == 1)


def injected_sleep(scene: Scene, deed: Deed, number: int) -> Process:
    """A module sleeps now and then: every job that imports it is slower by the same amount."""
    strength = scene.dice.uniform(1800, 3500) * scene.plan.intensity  # ms in a step of 6 to 20 s
    yield from altered(scene, deed, Effect("sleep", deed, strength=strength), hours=96, reverted=number % 2 == 0)


def convergence(scene: Scene, deed: Deed, number: int) -> Process:
    """A module changes what is learned: the gradient, the learning rate, the batch or the seed."""
    kind = ("diverge", "learning_rate", "batch", "seed")[number % 4]
    yield from altered(scene, deed, Effect(kind, deed, strength=0.5 * scene.plan.intensity), hours=96, reverted=number % 2 == 0)


def altered(scene: Scene, deed: Deed, effect: Effect, *, hours: float, reverted: bool, project: Project | None = None) -> Process:
    """Alter a module, wait for victims, and have the original come back: from the actor when `reverted`, else from the maintainer."""
    yield from scene.until_present(deed.actor)
    chosen = project
    if chosen is None:
        chosen = yield from scene.environment(deed)
    if chosen is None:
        return
    environment = chosen.environment
    module = scene.dice.choice(environment.modules)
    session = scene.enter(deed.actor)
    yield scene.soon(60, 600)
    begin = scene.world.now
    yield from scene.alter(deed, session, module, effect, chosen)
    deed.detail.update({"effect": effect.kind, "environment": environment.root})
    scene.leave(session)
    yield from scene.victims_or(deed, hours)
    yield scene.world.now + round(scene.dice.uniform(0.5, 6) * HOUR)
    if reverted:
        yield from scene.until_present(deed.actor)
    person = deed.actor if reverted else environment.maintainer
    yield from scene.restore(person, [module], how="cp" if reverted else "pip", deed=deed if reverted else None)
    if reverted:
        deed.did(scene.world.now, module.path)
        deed.detail["reverted"] = "yes"
    deed.windows_ms.append([begin, scene.world.now])
    environment.claimed = False


def startup_hook(scene: Scene, deed: Deed, number: int) -> Process:
    """A hook that the interpreter runs first, or a variable of a shared profile, appears in an environment."""
    yield from scene.until_present(deed.actor)
    project = yield from scene.environment(deed)
    if project is None:
        return
    yield from hooked(scene, deed, project, HOOKS[number % 3], ("kill", "crash", "exit")[number % 3])


def hooked(scene: Scene, deed: Deed, project: Project, kind: str, effect: str, hours: float = 60) -> Process:
    """Plant the hook, wait for victims, and have the maintainer delete it."""
    environment, world = project.environment, scene.world
    session = scene.enter(deed.actor)
    yield scene.soon(60, 600)
    begin = world.now
    name = {"sitecustomize": "sitecustomize.py", "pth": "distutils-compat.pth"}.get(kind)
    path = f"{environment.site}/{name}" if name else f"{environment.root}/etc/profile.d/gpu.sh"
    file = new_file(world, path, environment.maintainer)
    yield from scene.alter(deed, session, file, Effect(effect, deed), project, "open")
    if name:
        hook = Hook(kind, file, True if kind == "pth" else None)
        environment.hooks.append(hook)
    else:
        library = new_file(world, f"{environment.root}/lib/libgpustat.so", environment.maintainer)
        yield from scene.alter(deed, session, library, None, project, "rename")
        environment.variables["LD_PRELOAD"] = (library.path, file)
    deed.detail.update({"hook": kind, "effect": effect, "environment": environment.root})
    scene.leave(session)
    yield from scene.victims_or(deed, hours)
    yield world.now + round(scene.dice.uniform(0.5, 6) * HOUR)
    yield from scene.restore(environment.maintainer, [file])
    if name:
        environment.hooks.remove(hook)
    else:
        environment.variables.pop("LD_PRELOAD", None)
    deed.windows_ms.append([begin, world.now])
    environment.claimed = False
