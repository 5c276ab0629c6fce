"""Harmless things about accounts and reading: they look like P16 and P17."""

from pipeline.simulate import deeds, deeds_files
from pipeline.simulate.clock import HOUR, Process
from pipeline.simulate.people import Person
from pipeline.simulate.plots.campaigns import diagnosed
from pipeline.simulate.scene import EDITOR, Scene

BUILD_SERVICE = Person("svc-build", 991, 991, "", "service", "10.20.0.20", "Yn9uN2J1aWxkLXNlcnZpY2Uta2V5LW9mLXRoZS1zaXRl")
ROAMING = "10.21."  # addresses of the gateway, through which people come from home


def hand_over(scene: Scene) -> Process:
    """Somebody leaves, and comes in once more some days later to hand over, as agreed in a ticket."""
    world = scene.world
    dice = world.dice("harmless")
    actors = {deed.actor.id for deed in scene.chronicle.deeds}
    found = [
        person for person in world.people.members
        if person.id not in scene.offboarded and person.id not in actors and person not in world.people.operators
        and all(person is not project.environment.maintainer and person is not project.dataset.owner for project in scene.projects)
    ]  # fmt: skip
    if len(found) < 5:
        return
    person = dice.choice(found)
    yield from scene.leaves(person)
    yield world.now + round(dice.uniform(8, 60) * HOUR)
    host = world.login_hosts[0]
    ticket = world.ticket(person, hosts=(host.name,))
    session = scene.enter(person, host)
    scene.chronicle.look_alike("hand_over", "p17", person, world.now, host=host.name, ticket=ticket)
    scene.leave(session)


def roaming(scene: Scene) -> Process:
    """Somebody's address changes while they are logged in: the company network and the one at home."""
    world = scene.world
    dice = world.dice("harmless")
    person = dice.choice([person for person in world.people.members if scene.present(person)])
    first = scene.enter(person)
    yield scene.soon(600, 3000)
    address = f"{ROAMING}{dice.randrange(4)}.{dice.randrange(10, 250)}"
    second = scene.enter(person, None, address)
    scene.chronicle.look_alike("roaming", "p17", person, world.now, host=second.host.name)
    yield scene.soon(300, 3000)
    scene.leave(first)
    scene.leave(second, address)


def shared_service(scene: Scene) -> Process:
    """The account of the build service logs in from two of its machines at once."""
    world = scene.world
    first = scene.enter(BUILD_SERVICE)
    second = scene.enter(BUILD_SERVICE, None, "10.20.0.21")
    scene.chronicle.look_alike("build_service", "p17", BUILD_SERVICE, world.now, host=second.host.name)
    yield scene.soon(20, 300)
    deeds.run_command(second, ("git", "pull", "--ff-only"), "/usr/bin/git")
    scene.leave(first)
    scene.leave(second, "10.20.0.21")


def shared_screen(scene: Scene) -> Process:
    """Two people of a team debug together: one logs in from the other's machine, with the own key."""
    world = scene.world
    dice = world.dice("harmless")
    person = dice.choice([person for person in world.people.members if scene.present(person)])
    mates = [mate for mate in world.people.members if mate.team == person.team and mate is not person and scene.present(mate)]
    if not mates:
        return
    mate = dice.choice(mates)
    session = scene.enter(person, None, mate.address)
    scene.chronicle.look_alike("pair_debugging", "p17", person, world.now, host=session.host.name)
    yield scene.soon(900, 5000)
    deeds.log_out(session, mate.address)


def incident_page(scene: Scene) -> Process:
    """An ordinary failure is written up; people read it, and maintainers edit their own code afterwards: that is debugging."""
    yield from diagnosed(scene, None)
    dice = scene.world.dice("harmless")
    for _ in range(2):
        project = dice.choice(scene.projects)
        environment = project.environment
        person = environment.maintainer
        if environment.claimed or not scene.present(person):
            continue
        environment.claimed = True
        yield scene.world.now + round(dice.uniform(0.5, 10) * HOUR)
        session = scene.enter(person)
        yield scene.soon(20, 200)
        deeds.run_command(session, ("less", f"/lustre/ops/incidents/inc-{scene.incidents:04d}.md"), "/usr/bin/less")
        yield scene.soon(600, 4000)
        file = dice.choice(environment.modules)
        writer = deeds_files.writer_of(session, ("vim", file.path), EDITOR)
        deeds_files.write(writer, file.path, file.owner, file.inode)
        file.reverted = None
        file.sha256 = file.original = scene.world.content(file.path, person.id, scene.world.now)
        environment.claimed = False
        scene.chronicle.look_alike("reads_then_edits", "p16", person, scene.world.now, artefact=file.path)
        scene.leave(session)
