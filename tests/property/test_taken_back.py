"""The real stages, taken back at any batch and folded again: the findings are those of an undisturbed run.

    step folds some of the batch, raises ──► cases undone, state made of them ──► one fact at a time     =  base, byte for byte

A step that raised has changed more than its cases: indexes, agendas, what it remembers to have told.  All of that must follow from them.
"""

import random
from collections.abc import Sequence
from typing import Any

import pytest

from pipeline.model.facts import Fact
from pipeline.model.outcome import Outcome, Record
from pipeline.runtime.local import LocalRuntime
from pipeline.runtime.partition import Source
from pipeline.stream.watermark import Watermarks
from pipeline.topology import Stage, Topology, build_topology
from tests.property.test_determinism import Whole, assert_same, day

SHARE = 0.3  # of batches at which a step raises
ELSEWHERE = 10**9  # an offset that is not reached
EVERY = 150
PARTITIONS = 2


class Careful(LocalRuntime):
    """As a worker that knows that a step of its keyed stages has raised before."""

    def _fold(self, source: Source, batch: Sequence[Record]) -> None:
        part = self._parts[source]
        if part.stage.takes == "facts" and part.raised is None:
            part.raised = part.raises_again(ELSEWHERE, ELSEWHERE + 1, "")
        while batch:
            done = self._guard.fold(part, batch)
            part.folded(batch[:done], ())
            batch = batch[done:]
        while self._guard.wake(part):
            pass


def raising(stage: Stage, dice: random.Random, raised: dict[str, int]) -> Stage:
    """It raises at a batch now and then, behind some of it; alone every fact gets through."""

    def step(state: Any, batch: Sequence[Fact], now: Watermarks) -> tuple[Any, list[Outcome]]:
        if len(batch) > 1 and dice.random() < SHARE:
            stage.step(state, batch[: dice.randint(1, len(batch))], now)
            state.at = b""
            raised[stage.name] = raised.get(stage.name, 0) + 1
            raise KeyError(stage.name)
        return stage.step(state, batch, now)

    return stage._replace(step=step)


@pytest.mark.parametrize("seed", range(3))
def test_what_was_taken_back_leaves_no_trace(seed: int) -> None:
    """All keyed stages, each at its turn."""
    settings, records, _, _ = day()
    real, dice, raised = build_topology(settings), random.Random(seed), dict[str, int]()
    stages = tuple(raising(stage, dice, raised) if stage.takes == "facts" else stage for stage in real.stages)
    runtime = Careful(settings, PARTITIONS, topology=Topology(stages, real.prefix))
    runtime.results = results = Whole()
    for at in range(0, len(records), EVERY):
        runtime.feed(records[at : at + EVERY])
        runtime.checkpoint()
    runtime.finish()
    assert_same(results)
    assert {*raised} == {stage.name for stage in real.stages if stage.takes == "facts"}
