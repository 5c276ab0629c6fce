"""The acts of interference of a simulated cluster: one module per family, one function per pattern, found by the pattern's id.

    kills         p01 p03 p18   what is done to processes and jobs         code       p04 p05 p09 p10   shared environments
    checkpoints   p02 p06 p07 p08                                          inputs     p11 p12           datasets, job specifications
    resources     p13 p14       queue, nodes                               campaigns  p15 p16           over weeks
    accounts      p17           whose login it is                      story       a campaign as a whole, instead of single acts

A story plants one deed: it looks for what suits, lets the actor do what the pattern says, and lets the effect follow from it.
"""

from collections.abc import Callable, Mapping

from pipeline.simulate.chronicle import Deed
from pipeline.simulate.clock import DAY, HOUR, Process
from pipeline.simulate.plots import accounts, campaigns, checkpoints, code, inputs, kills, resources, story
from pipeline.simulate.scene import Scene

Plot = Callable[[Scene, Deed, int], Process]

PLOTS: Mapping[str, Plot] = {
    "p01": kills.foreign_kill,
    "p02": checkpoints.kill_from_inside,
    "p03": kills.foreign_cancel,
    "p04": code.library_tamper,
    "p05": code.startup_hook,
    "p06": checkpoints.tamper,
    "p07": checkpoints.back_door,
    "p08": checkpoints.delete,
    "p09": code.injected_sleep,
    "p10": code.convergence,
    "p11": inputs.dataset_tamper,
    "p12": inputs.job_spec,
    "p13": resources.flood,
    "p14": resources.degrade,
    "p15": campaigns.low_and_long,
    "p16": campaigns.adaptive,
    "p17": accounts.borrowed,
    "p18": kills.audit_gap,
}
# How many jobs an act is content with, at intensity 1.
WANTED = {"p04": 3, "p05": 3, "p09": 15, "p10": 10, "p11": 3, "p13": 6, "p14": 3, "p15": 18, "p16": 8}
# Acts that last, and how many days they take to do as much as that; in a shorter period they do less.
COURSE_DAYS = {"p15": 60, "p16": 25}  # of P16 each round takes two or three
# No act begins in the first part: what is ordinary must have been seen before.
FIRST, LAST = 0.06, 0.82


def plant(scene: Scene) -> None:
    """Start all acts of the plan, each at its own time."""
    if scene.plan.plot:
        story.plant(scene)
        return
    world, dice = scene.world, scene.world.dice("planting")
    length = world.end - world.start
    operators = set(world.people.operators)
    members = [person for person in world.people.members if person not in operators]
    for pattern in sorted(PLOTS):
        count = scene.plan.acts.get(pattern, 0)
        for number in range(count):
            rightful = (pattern == "p03" and number % 3 < 2) or (pattern == "p12" and number % 2 == 0)
            actor = dice.choice(world.people.operators if rightful else members)
            first = dice.uniform(0.02, 0.06) if pattern in COURSE_DAYS else FIRST + (LAST - FIRST) * (number + dice.random()) / count
            wanted = max(1, round(WANTED.get(pattern, 1) * scene.plan.intensity))
            if pattern in COURSE_DAYS:
                wanted = max(2, round(wanted * min(1.0, length / (COURSE_DAYS[pattern] * DAY))))
            deed = Deed(f"{pattern}-{number + 1:03d}", pattern, actor, world.start + round(length * first), wanted)
            scene.chronicle.deeds.append(deed)
            world.clock.start(PLOTS[pattern](scene, deed, number), max(deed.not_before_ms, world.start + HOUR))
