"""When a worker's checkpoints run, by its own clock: from start to start, at once behind findings, and none beside the last one."""

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.errors import BrokerUnavailable, FatalError
from pipeline.runtime.app import App, lasting
from pipeline.runtime.membership import Tenure
from pipeline.runtime.partition import Source
from pipeline.runtime.worker import REST_SHARE, Worker
from pipeline.settings import CheckpointSettings, Settings
from pipeline.topology import build_topology

INTERVAL = 40.0
TENURE = Tenure(1, 1, "w1-c0ffee")
SETTINGS = Settings(checkpoint=CheckpointSettings(interval_seconds=INTERVAL))


class Site:
    """An app that is told to stop in its last sleep, and its consumer; sleeping takes no time."""

    def __init__(self, rounds: int) -> None:
        self.consumer, self.rounds = self, rounds
        self.should_stop = False
        self.slept: list[float] = []
        self.commits = 0

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.should_stop = len(self.slept) == self.rounds

    async def commit(self) -> None:
        self.commits += 1


async def ran(*, urgent: bool, woken: bool = False) -> Site:
    site = Site(3)
    worker: Any = SimpleNamespace(_app=site, _settings=SETTINGS, checkpoint=SimpleNamespace(urgent=urgent), _woken=woken)
    await Worker.run_checkpoints(worker)
    return site


@pytest.mark.asyncio
async def test_a_worker_that_stops_begins_no_checkpoint_beside_the_last() -> None:
    """The last one is run by whoever stops it, and closes the clients behind it: another would end an orderly stop with an error."""
    assert (await ran(urgent=False)).commits == 2


@pytest.mark.asyncio
@pytest.mark.parametrize("woken", [False, True])
async def test_memory_is_given_back_once_behind_a_take_over(woken: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was published when all cases were looked at is a fifth of a large worker's memory; to walk the heap each second costs more."""
    given: list[None] = []
    monkeypatch.setattr("pipeline.runtime.worker.give_back", lambda: given.append(None))
    assert (await ran(urgent=False, woken=woken)).commits == 2
    assert len(given) == woken


@pytest.mark.asyncio
@pytest.mark.parametrize(("urgent", "seconds"), [(False, INTERVAL), (True, REST_SHARE * INTERVAL)])
async def test_what_was_found_is_stored_soon(urgent: bool, seconds: float) -> None:
    """Behind a checkpoint that published findings the next one waits a share of the interval alone."""
    assert (await ran(urgent=urgent)).slept == pytest.approx([seconds] * 3, abs=1.0)


@pytest.mark.asyncio
@pytest.mark.parametrize("stops", [False, True])
async def test_a_clock_that_is_cancelled_ends_the_worker(stops: bool) -> None:
    """Unless it stops anyway: Faust says nothing of a task that is cancelled, and a worker without its clock commits nothing any more."""

    async def clock() -> None:
        raise asyncio.CancelledError

    app: Any = SimpleNamespace(should_stop=stops, failure=None)
    app.noting_failure = lambda: App.noting_failure(app)
    with pytest.raises(asyncio.CancelledError if stops else FatalError) as ended:
        await lasting(app, clock)()
    assert app.failure is (None if stops else ended.value)
    assert stops or "clock" in str(ended.value)


@pytest.mark.asyncio
async def test_a_take_over_says_what_it_waited_for() -> None:
    """A partition without a leader has no offsets: whoever is woken needs more than that something timed out."""

    async def taken(*_: Any) -> dict[Source, Any]:
        return {}

    async def silent(*_: Any, **__: Any) -> None:
        raise TimeoutError

    topology = build_topology(SETTINGS)
    membership = SimpleNamespace(assigned=lambda: [Source(topology.stages[0].reads[0], 0)], current=lambda: TENURE)
    worker: Any = SimpleNamespace(
        membership=membership, _topology=topology, _topic_offsets=silent, _prove=None, _began=None, _reached=lambda _: None,
        _log=logging.getLogger("test"),
    )  # fmt: skip
    state: Any = SimpleNamespace(take_over=taken)
    with pytest.raises(BrokerUnavailable, match="Kafka told no offsets of 1 partition to take over") as ended:
        await Worker._take_over(worker, state, TENURE)
    assert "leader" in ended.value.advice
