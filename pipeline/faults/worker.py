"""`python -m pipeline.faults.worker SPEC`: the real `trainwatch worker`, which also notes what it folds and ends where it is told to.

    SPEC ──► trainwatch --settings ... worker
                 ├─ every batch that ingest folds is noted in a file: what stands there twice was replayed
                 ├─ at a named step of checkpoint, take-over or rebalance it sends itself a signal
                 └─ at a poisoned record or fact a step raises, as a fault of ours would

It goes in by the names through which the command builds its app, so that settings, checks, exit codes and logs are those of operators.

Holds: without `at` and `poison` the worker does nothing that the real one does not.
"""

import os
import runpy
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from pipeline import topology
from pipeline.model.facts import Fact
from pipeline.model.ids import rank
from pipeline.model.outcome import Outcome, Tell
from pipeline.runtime import app as runtime
from pipeline.runtime.worker import LEAVING_STEPS, TAKE_OVER_STEPS
from pipeline.sink import clickhouse
from pipeline.stream.watermark import Watermarks
from pipeline.topology import Topology

POISON = b"a line that a step does not bear"  # no format claims it
POISON_CASE = b"main\x1fpoison"
ALWAYS_AT_STAKE = frozenset((*TAKE_OVER_STEPS, *LEAVING_STEPS))

Step = Callable[..., tuple[Any, list[Outcome]]]


class Spec(msgspec.Struct, kw_only=True):
    """What a run asks of a worker."""

    settings: str  # path
    folded: str  # file to which folded ranges are appended
    at: str = ""  # the step at which to signal itself
    times: int = 1  # the n-th time that it is reached with something at stake
    signal: int = signal.SIGKILL
    poison: str = ""  # the stage that raises: ingest or jobs
    starving: str = ""  # while this file exists, inserts may use next to no memory of the server


class Starving(Mapping[str, Any]):
    """Settings of an insert, with the server's memory limit close to nothing while a file exists."""

    def __init__(self, usual: Mapping[str, Any], path: Path) -> None:
        self._usual, self._path = usual, path

    def _now(self) -> dict[str, Any]:
        limit = {"max_memory_usage": 1, "max_untracked_memory": 1} if self._path.exists() else {}
        return {**self._usual, **limit}

    def __getitem__(self, name: str) -> Any:
        return self._now()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._now())

    def __len__(self) -> int:
        return len(self._now())


class Trap:
    """Signals the process at a step.  A checkpoint that carries nothing of ingest shows nothing, and is not counted."""

    def __init__(self, spec: Spec) -> None:
        self._spec, self._left = spec, spec.times
        self._folded = self._carried = False

    def folded(self) -> None:
        """Ingest has folded something."""
        self._folded = True

    def reached(self, step: str) -> None:
        """A step of the worker has ended."""
        if step == "packed":
            self._carried, self._folded = self._folded, False
        if step == self._spec.at and (self._carried or step in ALWAYS_AT_STAKE):
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), self._spec.signal)


def watched(real: Topology, spec: Spec, trap: Trap) -> Topology:
    """The topology, with notes and poison."""
    stages = []
    for stage in real.stages:
        step: Step = stage.step
        if stage.name == "ingest":
            step = _noted(step, Path(spec.folded), trap)
            step = _raising(step, _is_poison) if spec.poison == "ingest" else step
            step = _telling_poison(step) if spec.poison == "jobs" else step
        elif stage.name == spec.poison:
            step = _raising(step, lambda fact: fact.case.startswith(POISON_CASE))
        stages.append(stage._replace(step=step))
    return Topology(tuple(stages), real.prefix)


def _is_poison(record: Any) -> bool:
    return bool(record.value == POISON)


def _noted(real: Step, path: Path, trap: Trap) -> Step:
    def step(state: Any, batch: Sequence[Any], now: Watermarks) -> tuple[Any, list[Outcome]]:
        if batch:
            trap.folded()
            with path.open("a", encoding="utf-8") as file:
                file.write(f"{os.getpid()} {batch[0].topic} {batch[0].partition} {batch[0].offset} {batch[-1].offset}\n")
        return real(state, batch, now)

    return step


def _raising(real: Step, poisonous: Callable[[Any], bool]) -> Step:
    def step(state: Any, batch: Sequence[Any], now: Watermarks) -> tuple[Any, list[Outcome]]:
        for each in filter(poisonous, batch):
            if isinstance(each, Fact):
                state.at = each.case  # as a keyed step does: the guard blames this case
            message = "poison"
            raise RuntimeError(message)
        return real(state, batch, now)

    return step


def _telling_poison(real: Step) -> Step:
    """A poisoned record tells a fact that the keyed stage does not bear, each of another case."""

    def step(state: Any, batch: Sequence[Any], now: Watermarks) -> tuple[Any, list[Outcome]]:
        state, outcomes = real(state, batch, now)
        cases = [POISON_CASE + b"%d/%d" % (each.partition, each.offset) for each in batch if _is_poison(each)]
        facts = [Fact(case, "poison", rank(0), b"{}") for case in cases]
        return state, [*outcomes, *(Tell("jobs", fact) for fact in facts)]

    return step


def main() -> None:
    spec = msgspec.json.decode(sys.argv[1], type=Spec)
    trap = Trap(spec)
    real_topology, real_app = topology.build_topology, runtime.build_app

    def build_topology(*args: Any, **kwargs: Any) -> Topology:
        return watched(real_topology(*args, **kwargs), spec, trap)

    def build_app(*args: Any, **kwargs: Any) -> Any:
        app = real_app(*args, **kwargs)
        app.worker.reached = trap.reached
        return app

    topology.build_topology, runtime.build_app = build_topology, build_app
    if spec.starving:
        clickhouse.INSERT_SETTINGS = Starving(clickhouse.INSERT_SETTINGS, Path(spec.starving))
    sys.argv = ["trainwatch", "--settings", spec.settings, "worker"]
    runpy.run_module("pipeline", run_name="__main__")


if __name__ == "__main__":
    main()
