"""Workers of one group against one worker, and a load in which one host has nearly all the access records.

alone     one worker on the mix                               together  N workers in one group on the same load
hot       one worker on the mix with one host's name in every line: all host facts go to one partition and one case

What counts is the shape: more workers must not cost more CPU for a record, nor may one busy host; how much faster they are together
depends on how many cores are free.  Results are compared with memory in every run.
"""

import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from pipeline.bench import mix
from pipeline.bench.contest import must_equal, task_of
from pipeline.bench.job_full import inputs, topics_of
from pipeline.bench.job_mix import TABLES, differing, expected_of, found_by
from pipeline.bench.ours import topology_of
from pipeline.bench.report import OURS, JobReport, Requirement
from pipeline.bench.running import POLL_SECONDS, READY_SECONDS_MAX, RUN_SECONDS_MAX, TAKEN_OVER, Running, started
from pipeline.bench.site import PARTITIONS, Site
from pipeline.errors import FatalError
from pipeline.runtime.following import caught_up
from pipeline.sink.clickhouse import Database

DEARER_MAX = 1.5  # CPU of a record: N workers to one, and the hot host to the mix
HOT_HOST = b"gpu-001"
_HOSTS = re.compile(rb"\bgpu-\d{3}\b")


class Cost(msgspec.Struct, frozen=True):
    """Of one run."""

    cpu_us: float  # per record, all workers together
    records_per_second: float


def run(site: Site, records: int, workers: int, rounds: int, *, seed: int = 1) -> JobReport:
    """All three, in turns."""
    load = mix.build(seed, records, PARTITIONS)
    kinds = {"mix": load, "hot": mix.Mix([_hot(record) for record in load.records], load.settings)}
    topics = {kind: topics_of(f"{site.name}.{kind}") for kind in kinds}
    loads = {kind: mix.placed(content, topics[kind]) for kind, content in kinds.items()}
    expected: dict[str, Any] = {}
    for kind, content in loads.items():
        site.preload(list(topics[kind].values()), content.records, final=True)
        expected[kind] = expected_of(site, content, topics[kind])
    plans = {"alone": ("mix", 1), "together": ("mix", workers), "hot": ("hot", 1)}
    found: dict[str, list[Cost]] = {name: [] for name in plans}
    if site.warms_up:
        _one(site, 1, topics["mix"], loads["mix"], expected["mix"])
        site.say("warm-up: one worker")
    for number in range(rounds):
        for name, (kind, count) in plans.items():
            cost = _one(site, count, topics[kind], loads[kind], expected[kind])
            found[name].append(cost)
            site.say(f"round {number + 1}: {name}: {cost.cpu_us:.1f} CPU us a record, {cost.records_per_second:,.0f} records/s")
    for kind in kinds:
        site.remove(f"{site.name}.{kind}")
    return _report(found, f"{records:,} records of the mix", workers)


def _report(found: Mapping[str, list[Cost]], load: str, workers: int) -> JobReport:
    def ratio(name: str, field: str) -> float:
        pairs = zip(found[name], found["alone"], strict=True)
        return float(median(getattr(some, field) / getattr(alone, field) for some, alone in pairs))

    figures = {f"{name}, CPU us a record": median(cost.cpu_us for cost in costs) for name, costs in found.items()}
    figures[f"{workers} workers, records/s, times one worker"] = ratio("together", "records_per_second")
    report = JobReport(job="scale", title="Scale-out", load=f"{load}; {workers} workers against one", figures=figures)
    return report.judged(
        [
            Requirement(f"CPU of a record, {workers} workers to one", DEARER_MAX, ratio("together", "cpu_us"), at_most=True),
            Requirement("CPU of a record, one hot host to the mix", DEARER_MAX, ratio("hot", "cpu_us"), at_most=True),
        ]
    )


def _hot(record: Any) -> Any:
    return msgspec.structs.replace(record, value=_HOSTS.sub(HOT_HOST, record.value)) if record.value else record


def _ready(running: Sequence[Running]) -> tuple[float, float]:
    """(CPU of each up to its own first take-over, the moment of the first of these): who is ready first begins at once."""
    spent: dict[int, float] = {}
    began = time.monotonic()
    first = 0.0
    while len(spent) < len(running):
        for each in running:
            each.check()
            if each.pid not in spent and TAKEN_OVER in each.log():
                spent[each.pid], first = each.cpu_seconds(), first or time.monotonic()
        if time.monotonic() - began > READY_SECONDS_MAX:
            raise FatalError(f"not all of {len(running)} workers were given partitions:\n{running[-1].log()[-2000:]}")
        time.sleep(POLL_SECONDS / 5)
    return sum(spent.values()), first


def _one(site: Site, workers: int, topics: dict[str, str], load: mix.Mix, expected: dict[str, Any]) -> Cost:
    settings = site.settings_of_run(load.settings, inputs(topics))
    topology = topology_of(settings)
    site.prepare(settings, topology)
    task = task_of("mix", OURS, settings, tuple(topics.values()))
    with ExitStack() as stack:
        database = stack.enter_context(Database(settings.clickhouse))
        folders = [Path(stack.enter_context(tempfile.TemporaryDirectory(dir=site.folder))) for _ in range(workers)]
        running = [stack.enter_context(started(task, folder)) for folder in folders]
        cpu, clock = _ready(running)
        while not (database.query("SELECT count() FROM {db}.events")[0][0] >= expected["events"] and caught_up(settings, topology).done):
            for each in running:
                each.check()
            if time.monotonic() - clock > RUN_SECONDS_MAX:
                raise FatalError(f"{workers} workers are late:\n{running[0].log()[-2000:]}")
            time.sleep(POLL_SECONDS)
        spent, seconds = sum(each.cpu_seconds() for each in running) - cpu, time.monotonic() - clock
        found = found_by(site, topology, database)
    must_equal(OURS, found, {name: expected[name] for name in ("events", "dead letters")})
    must_equal(OURS, differing(found, expected), dict.fromkeys(TABLES, "as in memory"))
    site.remove(settings.kafka.group)
    return Cost(1e6 * spent / len(load.records), len(load.records) / seconds)
