"""P15 and P16: many weak acts over weeks.

P15 only touches jobs above a size and rests while its actor is away.  P16 answers each diagnosis: after every round somebody writes up
what happened, many read it, and within hours the actor changes the means.
"""

from pipeline.simulate import deeds
from pipeline.simulate.chronicle import Deed
from pipeline.simulate.clock import DAY, HOUR, Process
from pipeline.simulate.deeds_files import write, writer_of
from pipeline.simulate.people import Person
from pipeline.simulate.plots import code
from pipeline.simulate.scene import Scene
from pipeline.simulate.wares import Effect

SIZE_GATE = 256
INCIDENTS = "/lustre/ops/incidents"


def low_and_long(scene: Scene, deed: Deed, _: int) -> Process:
    """Every few days a module is bad for one or two large jobs and good again; nothing happens while the actor is away."""
    world, dice = scene.world, scene.dice
    gate = min(SIZE_GATE, scene.plan.gpus // 8)
    deed.detail["gpus_above"] = str(gate)
    length = world.end - world.start
    for _ in range(max(1, round(length / (25 * DAY)))):
        begin = world.start + round(length * dice.uniform(0.15, 0.85))
        scene.away.goes(deed.actor, begin, begin + round(dice.uniform(3, 8) * DAY * min(1, length / (40 * DAY))))
    deed.windows_ms.extend([begin, end] for begin, end in scene.away.periods(deed.actor))
    deed.detail["windows"] = "when the actor was away"
    wanted, rounds = deed.wanted, 0
    while scene.days_left() > 2 and len(deed.victims) < wanted:
        yield from scene.until_present(deed.actor)
        project = yield from scene.environment(deed, large=True)
        if project is None:
            return
        # Of what is there it strikes only some; two at most, then it is undone.
        deed.wanted = len(deed.victims) + dice.randint(1, 2)
        kind = dice.choice(("exit", "kill", "exit", "crash"))
        effect = Effect(kind, deed, gpus_min=gate + 1, share=0.7)
        yield from code.altered(scene, deed, effect, hours=40, reverted=True, project=project)
        deed.windows_ms.pop()
        rounds += 1
        deed.detail["rounds"] = str(rounds)
        yield world.now + round(dice.uniform(0.3, 2.2) * DAY)
    deed.wanted = wanted


def adaptive(scene: Scene, deed: Deed, _: int) -> Process:
    """Rounds of: an incident page, the actor reads it, another means within hours, another victim, the maintainer cleans up."""
    world, dice = scene.world, scene.dice
    wanted, rounds = deed.wanted, 0
    while scene.days_left() > 2 and len(deed.victims) < wanted and rounds < 14:
        yield from diagnosed(scene, deed)
        yield world.now + round(dice.uniform(2, 20) * HOUR)
        yield from scene.until_present(deed.actor)
        project = yield from scene.environment(deed)
        if project is None:
            return
        deed.wanted = len(deed.victims) + 1
        if rounds % 3 == 2:
            yield from code.hooked(scene, deed, project, code.HOOKS[rounds % 2], "exit", 40)
        else:
            effect = Effect(("crash", "kill")[rounds % 3], deed)
            yield from code.altered(scene, deed, effect, hours=40, reverted=False, project=project)
        rounds += 1
        deed.detail["rounds"] = str(rounds)
        yield world.now + round(dice.uniform(4, 30) * HOUR)
    deed.wanted = wanted


def diagnosed(scene: Scene, deed: Deed | None) -> Process:
    """An admin writes an incident page; people of the team read it, and so does the actor."""
    world, dice = scene.world, scene.dice
    admin = dice.choice(world.people.admins)
    scene.incidents += 1
    page = f"{INCIDENTS}/inc-{scene.incidents:04d}.md"
    session = scene.enter(admin)
    yield scene.soon(30, 600)
    writer = writer_of(session, ("vim", page), "/usr/bin/vim.basic")
    write(writer, page, admin, world.inode(), create=True, key="ops_write")
    scene.leave(session)
    yield world.now + round(dice.uniform(0.2, 3) * HOUR)
    for reader in dice.sample([person for person in world.people.members if scene.present(person)], 3):
        world.clock.start(_read(scene, reader, page, None), scene.soon(60, 4 * 3600))
    if deed is not None and scene.present(deed.actor):
        yield from _read(scene, deed.actor, page, deed)


def _read(scene: Scene, reader: Person, page: str, deed: Deed | None) -> Process:
    session = scene.enter(reader)
    yield scene.soon(10, 300)
    deeds.run_command(session, ("less", page), "/usr/bin/less")
    if deed is not None:
        deed.did(scene.world.now, page, session.host.name)
    else:
        scene.chronicle.look_alike("reads_incident_page", "p16", reader, scene.world.now, artefact=page)
    scene.leave(session)
