"""The mix through the pipeline without servers: microseconds of CPU per record, stage by stage.  For tuning, and for `bench mix --local`.

    ingest alone    `pipeline.ingest.step` on batches of one partition, outcomes thrown away
    rows            rows of what ingest wrote to columns, as the sink does before the driver takes them
    whole           `LocalRuntime`: each stage's step under its own watch, and what the runtime adds: guard, marks, topics in memory

There is neither broker nor database in it, so it is a lower bound of what a worker takes.
"""

import argparse
import cProfile
import gc
import pstats
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any

import msgspec

from pipeline.bench.mix import Mix, build
from pipeline.ingest import step as ingest
from pipeline.model.outcome import EventRow, Outcome, Record
from pipeline.runtime.garbage import collect_seldom
from pipeline.runtime.local import LocalRuntime
from pipeline.settings import Settings
from pipeline.sink import rows as layout
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import Watermarks
from pipeline.topology import Stage, Topology, build_topology

BATCH_RECORDS = 1000  # of one partition: what a worker folds in one go
CHECKPOINT_RECORDS = 50_000  # about what a worker reads between two checkpoints
PROFILE_LINES = 45
WARM_UP_RECORDS = 5000


class StageTime(msgspec.Struct):
    """What one stage took."""

    stage: str
    inputs: int  # records or facts that its step was given
    cpu_seconds: float
    us_per_input: float
    us_per_record: float  # of the whole load


class LocalReport(msgspec.Struct):
    """One run without servers."""

    records: int
    shares: dict[str, float]
    stages: list[StageTime]  # `ingest alone`, `rows`, then each stage within the whole, then `runtime`
    whole_us_per_record: float
    findings: int
    verdicts: int
    dead_letters: int


class Watch:
    """CPU time of one stage's steps within a run of all."""

    def __init__(self) -> None:
        self.seconds, self.inputs = 0.0, 0

    def around(self, stage: Stage) -> Stage:
        """The stage with its step under this watch."""

        def step(state: Any, batch: Sequence[Any], now: Watermarks) -> tuple[Any, list[Outcome]]:
            begun = time.process_time()
            try:
                return stage.step(state, batch, now)
            finally:
                self.seconds += time.process_time() - begun
                self.inputs += len(batch)

        return stage._replace(step=step)


def measure(size: int, seed: int, *, say: Callable[[str], None], profile: str = "") -> LocalReport:
    """Build the mix and run it.  `profile`: `ingest` or `whole`, whose functions are then listed by their own time."""
    mix = build(seed, size, partitions=1)
    settings = Settings(**mix.settings)
    say(f"{len(mix.records)} records built: " + ", ".join(f"{topic} {share:.1%}" for topic, share in mix.shares().items()))
    collect_seldom()
    gc.collect()
    gc.freeze()  # the load itself is not the pipeline's work
    stages: list[StageTime] = []

    def note(name: str, inputs: int, seconds: float) -> None:
        stages.append(StageTime(name, inputs, seconds, 1e6 * seconds / max(inputs, 1), 1e6 * seconds / len(mix.records)))

    _whole(settings, Mix(mix.records[:WARM_UP_RECORDS], mix.settings), profiled=False)
    with _profiled(profile == "ingest"):
        rows, seconds = _ingest_alone(settings, mix.records)
    note("ingest alone", len(mix.records), seconds)
    note("rows", len(rows), _columns(rows))
    del rows
    watches, runtime, seconds = _whole(settings, mix, profiled=profile == "whole")
    for name, watch in watches.items():
        note(name, watch.inputs, watch.seconds)
    note("runtime", len(mix.records), seconds - sum(watch.seconds for watch in watches.values()))
    results = runtime.results
    return LocalReport(
        len(mix.records),
        mix.shares(),
        stages,
        1e6 * seconds / len(mix.records),
        len(results.canonical_findings()),
        len(results.verdicts),
        len(results.dead_letters),
    )


def batches(records: Sequence[Record], size: int = BATCH_RECORDS) -> Iterator[list[Record]]:
    """Records of one topic each, in the order of the load, about as a worker fetches them."""
    for start in range(0, len(records), size * 10):
        window = sorted(records[start : start + size * 10], key=lambda record: (record.topic, record.partition))
        for _, some in groupby(window, key=lambda record: (record.topic, record.partition)):
            of_one = list(some)
            yield from (of_one[at : at + size] for at in range(0, len(of_one), size))


def _ingest_alone(settings: Settings, records: Sequence[Record]) -> tuple[list[msgspec.Struct], float]:
    state, seconds = ingest.build_state(settings, Cases()), 0.0
    rows: list[msgspec.Struct] = []
    nothing_passed = Watermarks({}, {}, settings.time.coverage_bucket_seconds * 1000)
    for batch in batches(records):
        begun = time.process_time()
        state, outcomes = ingest.step(state, batch, nothing_passed)
        seconds += time.process_time() - begun
        rows += [outcome for outcome in outcomes if isinstance(outcome, EventRow)]
    return rows, seconds


def _columns(rows: Sequence[msgspec.Struct]) -> float:
    begun = time.process_time()
    for start in range(0, len(rows), CHECKPOINT_RECORDS):
        for table, some in layout.by_table(rows[start : start + CHECKPOINT_RECORDS]).items():
            layout.columns_of(layout.TABLES[table], some)
    return time.process_time() - begun


def _whole(settings: Settings, mix: Mix, *, profiled: bool) -> tuple[dict[str, Watch], LocalRuntime, float]:
    watches: dict[str, Watch] = {}
    topology = build_topology(settings)
    if not profiled:  # a watch would hide who called
        watches = {stage.name: Watch() for stage in topology.stages if stage.name != "sink"}
        stages = tuple(watches[stage.name].around(stage) if stage.name in watches else stage for stage in topology.stages)
        topology = Topology(stages, topology.prefix)
    runtime = LocalRuntime(settings, topology=topology)
    with _profiled(profiled):
        begun, fed = time.process_time(), 0
        for batch in batches(mix.records):
            runtime.feed(batch)
            fed += len(batch)
            if fed >= CHECKPOINT_RECORDS:
                runtime.checkpoint()
                fed = 0
        runtime.finish()
        seconds = time.process_time() - begun
    return watches, runtime, seconds


@contextmanager
def _profiled(wanted: bool) -> Iterator[None]:
    if not wanted:
        yield
        return
    profiler = cProfile.Profile()
    profiler.enable()
    try:
        yield
    finally:
        profiler.disable()
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(PROFILE_LINES)


def _to_stderr(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def main() -> None:
    """`python -m pipeline.bench.local [--records N] [--seed N] [--profile ingest|whole]`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--profile", choices=("ingest", "whole"), default="")
    wanted = parser.parse_args()
    report = measure(wanted.records, wanted.seed, say=_to_stderr, profile=wanted.profile)
    sys.stdout.write("\n".join(lines(report)) + "\n")


def lines(report: LocalReport) -> list[str]:
    """The report for people."""
    head = f"{'stage':<14}{'inputs':>10}{'CPU s':>9}{'us/input':>10}{'us/record':>11}"
    table = [
        f"{each.stage:<14}{each.inputs:>10}{each.cpu_seconds:>9.2f}{each.us_per_input:>10.2f}{each.us_per_record:>11.2f}"
        for each in report.stages
    ]
    whole = f"whole: {report.whole_us_per_record:.2f} us per record, {1e6 / report.whole_us_per_record:,.0f} records per CPU second"
    came = f"{report.findings} findings, {report.verdicts} verdicts, {report.dead_letters} dead letters"
    return [head, *table, whole, came]


if __name__ == "__main__":
    main()
