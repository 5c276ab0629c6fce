"""Harmless things on a cluster that look like acts until one reads the record that explains them; each is told to the chronicle.

    jobs        a rank that ends its own loader, programs that loaders start, failed saves   queue      rushes, bursts, limits, slips
    artefacts   releases, hooks, others' edits, rewinding, re-tokenising, retention          nodes      capping, reboots, overflow
    people      hand-overs, two addresses, reading the incident page, debugging

Rates are for a day of 2,000 GPUs and scale with the size of the cluster.
"""

from collections.abc import Callable

from pipeline.simulate import lookalikes
from pipeline.simulate.clock import DAY, Process
from pipeline.simulate.harmless import artefacts, jobs, nodes, people, queue
from pipeline.simulate.scene import Scene

Story = Callable[[Scene], Process]

RATES: tuple[tuple[Story, float], ...] = (
    (jobs.loader_cleaned_up, 5.0),
    (jobs.loader_starts_programs, 6.0),
    (jobs.odd_pickle, 2.0),
    (jobs.debugger, 1.0),
    (artefacts.release, 0.5),
    (artefacts.development, 1.0),
    (artefacts.harmless_edit, 0.3),
    (artefacts.own_hook, 0.15),
    (artefacts.profiler, 0.15),
    (artefacts.rewind, 0.5),
    (artefacts.tidied_checkpoints, 0.5),
    (artefacts.retokenised, 0.06),
    (artefacts.own_arguments, 1.5),
    (queue.own_update, 4.0),
    (queue.mistyped_cancel, 0.3),
    (queue.limits_before_maintenance, 0.08),
    (queue.evaluation_burst, 0.12),
    (queue.deadline_rush, 0.03),
    (queue.crash_loop, 0.04),
    (nodes.capping, 0.25),
    (nodes.reboot, 0.25),
    (nodes.overflow, 0.5),
    (nodes.agent_upgrade, 0.1),
    (nodes.cut_off, 0.5),
    (nodes.passing_heat, 0.6),
    (people.hand_over, 0.04),
    (people.roaming, 0.7),
    (people.shared_screen, 0.15),
    (people.shared_service, 0.5),
    (people.incident_page, 0.3),
)


def every_day(scene: Scene) -> None:
    """Start all stories of this room, and those of the simulated week."""
    size = scene.plan.gpus / 2000
    for story, per_day in RATES:
        scene.world.clock.start(_again_and_again(scene, story, per_day * size))
    lookalikes.every_day(scene.site, scene.demand)


def _again_and_again(scene: Scene, story: Story, per_day: float) -> Process:
    dice = scene.world.dice(f"harmless/{story.__name__}")
    while True:
        yield scene.world.now + round(dice.expovariate(1) * DAY / max(per_day, 1e-6))
        scene.world.clock.start(story(scene))
