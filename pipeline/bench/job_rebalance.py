"""A worker that comes to another, with the state of 45 days on a real broker: how long until both read on.

    state topics filled ──► first worker: starts, takes all over ──► second worker: starts, both take their shares over
                            └────────── recovery ──────────┘         └──────────────── rebalance ────────────────┘

Both times begin with the process, so imports and the join of the group are in them.  Nothing flows in: what an input holds back meanwhile
is its rate times these seconds.
"""

import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pipeline.bench.contest import task_of
from pipeline.bench.job_full import topics_of
from pipeline.bench.job_state import RECOVERY_SECONDS
from pipeline.bench.loaded import load_state
from pipeline.bench.report import OURS, JobReport, Requirement
from pipeline.bench.running import TAKEN_OVER, Running, started
from pipeline.bench.site import Site

PATIENCE_SECONDS = 300.0


def run(site: Site, scale: float) -> JobReport:
    """A share of the state of 45 days."""
    topics = topics_of(f"{site.name}.rebalance")
    site.create(topics.values())
    settings, _ = load_state(site, scale, topics, {})
    task = task_of("mix", OURS, settings, tuple(topics.values()))
    with ExitStack() as stack:
        first, recovery = _until_taken_over(stack, site, task, ())
        site.say(f"first worker: all taken over after {recovery:.1f} s")
        second, rebalance = _until_taken_over(stack, site, task, (first,))
        site.say(f"second worker: both have their share after {rebalance:.1f} s")
        memory = max(each.resident_mb() for each in (first, second))
    site.remove(settings.kafka.group)
    site.remove(f"{site.name}.rebalance")
    figures = {"recovery of one worker, s": recovery, "rebalance between two, s": rebalance, "memory of the larger, MB": memory}
    report = JobReport(job="rebalance", title="Rebalance with the state of 45 days", load=f"{scale:g} of the full size", figures=figures)
    return report.judged([Requirement("recovery of one worker, s", RECOVERY_SECONDS, recovery, at_most=True)])


def _until_taken_over(stack: ExitStack, site: Site, task: Any, others: Sequence[Running]) -> tuple[Running, float]:
    """One worker more, and the seconds until it and the others have taken their partitions over."""
    before = [each.log().count(TAKEN_OVER) for each in others]
    begun = time.monotonic()
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=site.folder)))
    new = stack.enter_context(started(task, folder))

    def done() -> bool:
        for each in others:
            each.check()
        again = all(each.log().count(TAKEN_OVER) > count for each, count in zip(others, before, strict=True))
        return again and TAKEN_OVER in new.log()

    new.until(done, PATIENCE_SECONDS)
    return new, time.monotonic() - begun
