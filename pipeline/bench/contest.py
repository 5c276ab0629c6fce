"""Consumers of one load, in turns: each round runs all of them, in an order that moves on from round to round.

Before the first round all run once uncounted: files that the servers have not read yet would make whoever comes first the slower one.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pipeline.bench.report import OURS, Measured
from pipeline.bench.running import Spent, started
from pipeline.bench.site import Site
from pipeline.bench.task import Task, dumped
from pipeline.errors import FatalError
from pipeline.settings import Settings

NEEDS = {"confluent": "confluent_kafka", "quix": "quixstreams", "bytewax": "bytewax"}


def present(peers: Sequence[str], site: Site) -> tuple[list[str], list[str]]:
    """(those that can run here, those that are not installed)."""
    missing = [peer for peer in peers if peer in NEEDS and find_spec(NEEDS[peer]) is None]
    for peer in missing:
        site.say(f"{peer}: {NEEDS[peer]} is not installed: left out (extra `bench`)")
    return [peer for peer in peers if peer not in missing], missing


def rounds_of(
    peers: Sequence[str], rounds: int, run: Callable[[str], Measured], say: Callable[[str], None], *, warm_up: bool
) -> list[list[Measured]]:
    """All rounds; within a round the results are in the order of `peers`."""
    found: list[list[Measured]] = []
    for peer in peers if warm_up else ():
        run(peer)
        say(f"warm-up: {peer}")
    for number in range(rounds):
        first = number % len(peers)
        results: dict[str, Measured] = {}
        for peer in [*peers[first:], *peers[:first]]:
            measured = results[peer] = run(peer)
            say(
                f"round {number + 1}: {peer:<10} {measured.per_cpu_second:>10,.0f} events per CPU s, {measured.cpu_seconds:6.2f} CPU s, "
                f"{measured.seconds:6.1f} s, {measured.peak_mib:5.0f} MiB, {measured.correct:.2%} correct"
            )
        found.append([results[peer] for peer in peers])
    return found


def spend(site: Site, task: Task, done: Callable[[], bool]) -> Spent:
    """Run one consumer until `done`."""
    with tempfile.TemporaryDirectory(dir=site.folder) as folder, started(task, Path(folder)) as running:
        running.await_ready()
        return running.spent_until(done)


def task_of(job: str, peer: str, settings: Settings, topics: Sequence[str], **options: Any) -> Task:
    """A task; `pairs` names the output topic of a join."""
    pairs = options.pop("pairs", "")
    return Task(job, peer, dumped(settings), tuple(topics), pairs, options)


def must_equal(peer: str, found: Mapping[str, object], expected: Mapping[str, object]) -> None:
    """A figure of a run that came out wrong is worth nothing."""
    wrong = [f"{name}: {found.get(name)}, must be {value}" for name, value in expected.items() if found.get(name) != value]
    if wrong:
        raise FatalError(
            f"{peer} came out wrong: {'; '.join(wrong)}", advice="Its speed is not reported, since its result is not that of the load."
        )


__all__ = ["OURS", "must_equal", "present", "rounds_of", "spend", "task_of"]
