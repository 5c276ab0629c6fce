"""The memory of one worker that has the state of 45 days and reads the mix, and whether it grows.

    state topics filled ──► worker takes all over ──► the mix, in parts ──► memory while each part is read, until nothing waits

The mix begins where the 45 days end, so that nothing of the state is out of date at once.
"""

import statistics
import tempfile
import time
from pathlib import Path

from pipeline.bench import mix
from pipeline.bench.contest import task_of
from pipeline.bench.job_full import topics_of
from pipeline.bench.job_rebalance import PATIENCE_SECONDS
from pipeline.bench.job_state import MEMORY_MB
from pipeline.bench.loaded import load_state
from pipeline.bench.report import OURS, JobReport, Requirement
from pipeline.bench.running import TAKEN_OVER, Running, started
from pipeline.bench.site import PARTITIONS, Site
from pipeline.runtime.following import caught_up
from pipeline.settings import Settings
from pipeline.topology import Topology

PARTS = 8  # looked at one by one
LOOK_SECONDS = 0.5


def run(site: Site, records: int, scale: float, *, seed: int = 1) -> JobReport:
    """One worker, `records` of the mix, a share of the state."""
    topics = topics_of(f"{site.name}.memory")
    load = mix.placed(mix.build(seed, records, PARTITIONS), topics)
    site.create(topics.values())
    settings, topology = load_state(site, scale, topics, load.settings)
    task = task_of("mix", OURS, settings, tuple(topics.values()))
    with tempfile.TemporaryDirectory(dir=site.folder) as folder, started(task, Path(folder)) as running:
        running.until(lambda: TAKEN_OVER in running.log(), PATIENCE_SECONDS)
        taken_over = running.resident_mb()
        site.say(f"all taken over: {taken_over:,.0f} MB")
        parts = []
        for part in range(PARTS):
            begin, end = (number * records // PARTS for number in (part, part + 1))
            site.send(list(topics.values()), load.records[begin:end], final=part == PARTS - 1)
            parts.append(_while_reading(running, settings, topology))
            site.say(f"{end:,} records read: {statistics.median(parts[-1]):,.0f} MB, at most {max(parts[-1]):,.0f}")
    site.remove(settings.kafka.group)
    site.remove(f"{site.name}.memory")
    first, second = ([mb for part in half for mb in part] for half in (parts[: PARTS // 2], parts[PARTS // 2 :]))
    figures = {
        "taken over, MB": taken_over,
        "first half of the mix, median, MB": statistics.median(first),
        "second half of the mix, median, MB": statistics.median(second),
        "largest, MB": max(*first, *second),
    }
    report = JobReport(
        job="memory",
        title="A worker with the state of 45 days on the mix",
        load=f"{scale:g} of the state, {records:,} records",
        figures=figures,
    )
    return report.judged([Requirement("largest, MB", MEMORY_MB, figures["largest, MB"], at_most=True)])


def _while_reading(running: Running, settings: Settings, topology: Topology) -> list[float]:
    """Memory, time by time, until no record or fact waits any more."""
    looked: list[float] = []

    def done() -> bool:
        looked.append(running.resident_mb())
        return caught_up(settings, topology).done

    time.sleep(LOOK_SECONDS)
    running.until(done, pause=LOOK_SECONDS)
    return looked
