"""When a worker's checkpoints run, by its own clock: from start to start, at once behind findings, and none beside the last one."""

from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.runtime.worker import REST_SHARE, Worker
from pipeline.settings import CheckpointSettings, Settings

INTERVAL = 40.0
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


async def ran(*, urgent: bool) -> Site:
    site = Site(3)
    worker: Any = SimpleNamespace(_app=site, _settings=SETTINGS, checkpoint=SimpleNamespace(urgent=urgent))
    await Worker.run_checkpoints(worker)
    return site


@pytest.mark.asyncio
async def test_a_worker_that_stops_begins_no_checkpoint_beside_the_last() -> None:
    """The last one is run by whoever stops it, and closes the clients behind it: another would end an orderly stop with an error."""
    assert (await ran(urgent=False)).commits == 2


@pytest.mark.asyncio
@pytest.mark.parametrize(("urgent", "seconds"), [(False, INTERVAL), (True, REST_SHARE * INTERVAL)])
async def test_what_was_found_is_stored_soon(urgent: bool, seconds: float) -> None:
    """Behind a checkpoint that published findings the next one waits a share of the interval alone."""
    assert (await ran(urgent=urgent)).slept == pytest.approx([seconds] * 3, abs=1.0)
