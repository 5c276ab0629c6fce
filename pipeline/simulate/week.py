"""Puts a site together, lets it live for a while, and hands over the records with the truth.

The same seed, start, length and scale give the same bytes; another seed gives another week.
"""

from datetime import UTC, datetime

from pipeline.errors import ConfigError
from pipeline.simulate import background, lookalikes
from pipeline.simulate.acts import Plots
from pipeline.simulate.clock import DAY
from pipeline.simulate.demand import Demand
from pipeline.simulate.endings import Site
from pipeline.simulate.fates import FATES, draw_fate, preempt, run_fate
from pipeline.simulate.shipping import count_by_topic
from pipeline.simulate.slurm import Slurm
from pipeline.simulate.training import Training
from pipeline.simulate.truth import Week
from pipeline.simulate.work import Job
from pipeline.simulate.world import Scale, build_world

DEFAULT_START = datetime(2026, 3, 2, tzinfo=UTC)
DEFAULT_SCALE = Scale()
DAYS_MIN = 1.0


def simulate(seed: int, days: float = 7.0, start: datetime = DEFAULT_START, scale: Scale = DEFAULT_SCALE) -> Week:
    """Let the site of `seed` live for `days` from `start`.

    Raises ConfigError when the time is too short for the acts to have their effect, or `start` has no offset.
    """
    if days < DAYS_MIN or start.tzinfo is None:
        raise ConfigError(
            f"cannot simulate {days} days from {start.isoformat()}",
            advice=f"Take at least {DAYS_MIN:.0f} day and a start with an offset.",
        )
    begin = round(start.timestamp() * 1000)
    end = begin + round(days * DAY)
    world = build_world(seed, begin, end, scale)
    training = Training(world)

    def on_start(job: Job) -> None:
        if not job.protected:
            plots.claim(job)
        world.clock.start(training.run(job))
        if job.fate.kind in FATES:
            world.clock.start(run_fate(site, job))

    def on_preempt(job: Job, requeued: bool) -> None:
        job.over = True
        world.clock.start(preempt(site, job, requeued), world.soon("fates", 1, 3))

    slurm = Slurm(world, on_start, on_preempt, lambda _: draw_fate(world.dice("fates")))
    site = Site(world, slurm, training)
    demand = Demand(site)
    plots = Plots(site, demand)
    world.clock.start(demand.arrivals())
    world.clock.start(slurm.export_accounting())
    world.clock.start(slurm.tick())
    background.hum(world)
    lookalikes.every_day(site, demand)
    world.clock.run(until=end)
    slurm.export_now()
    for job in sorted([*slurm.running.values(), *slurm.queue], key=lambda job: job.id):
        job.cause = "running" if job.start is not None else "pending"
        world.ledger.job(job)
    broken = world.shipper.damage(scale.broken_values)
    records = world.shipper.delivered()
    return Week(
        seed=seed,
        start_ms=begin,
        end_ms=end,
        records=records,
        settings=world.settings(),
        acts=tuple(sorted(world.ledger.acts, key=lambda act: (act.event_time_ms, act.id))),
        jobs=tuple(sorted(world.ledger.jobs, key=lambda job: (int(job.job), job.submit_ms))),
        counts=count_by_topic(records),
        broken=broken,
        duplicates=world.shipper.duplicates,
    )
