"""What comes to nothing is asked again after a pause; what brings something, at once."""

import asyncio
from typing import Any

import pytest

from pipeline.runtime.unhurried import PAUSE_SECONDS, slow_fetches, slow_metadata

TIMES = 20


class Leaping(asyncio.SelectorEventLoop):
    """Where nothing is left to do but to wait, it is later."""

    now = 0.0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:  # type: ignore[attr-defined]
            self.now = max(self.now, self._scheduled[0].when())  # type: ignore[attr-defined]
        super()._run_once()  # type: ignore[misc]


class Client:
    """Stands where aiokafka's client and fetcher stand: answers take no time, or as long as a broker waits for records."""

    def __init__(self, *, found: bool, seconds: float) -> None:
        self._found, self._seconds = found, seconds

    async def _metadata_update(self, _: Any, __: Any) -> bool:
        await asyncio.sleep(self._seconds)
        return self._found

    async def _proc_fetch_request(self, _: Any, __: Any, ___: Any) -> bool:
        return await self._metadata_update(_, __)


async def _metadata(client: Any) -> None:
    slow_metadata(client)
    for _ in range(TIMES):
        await client._metadata_update(None, None)


async def _fetches(client: Any) -> None:
    slow_fetches(client)
    for _ in range(TIMES):
        await client._proc_fetch_request(None, None, None)


@pytest.mark.parametrize(
    ("asks", "found", "seconds", "took"),
    [
        (_fetches, False, 0.0, TIMES * PAUSE_SECONDS),
        (_fetches, False, 0.5, TIMES * 0.5),
        (_fetches, True, 0.0, 0.0),
        (_metadata, True, 0.0, TIMES * PAUSE_SECONDS),
        (_metadata, False, 0.0, TIMES * PAUSE_SECONDS),
    ],
    ids=["an error", "nothing new", "records", "no leader", "no broker"],
)
def test_pauses(asks: Any, found: bool, seconds: float, took: float) -> None:
    """By a clock that leaps."""
    loop = Leaping()
    try:
        loop.run_until_complete(asks(Client(found=found, seconds=seconds)))
        assert loop.time() == pytest.approx(took)
    finally:
        loop.close()


@pytest.mark.asyncio
async def test_a_fetch_that_is_cancelled_in_its_pause_ends_in_order() -> None:
    """As aiokafka's own does while it waits for an answer: the error would end the client's thread in the middle of its stop."""
    client: Any = Client(found=False, seconds=0.0)
    slow_fetches(client)
    fetch = asyncio.ensure_future(client._proc_fetch_request(None, None, None))
    await asyncio.sleep(PAUSE_SECONDS / 10)
    assert not fetch.done()
    fetch.cancel()
    assert await fetch is False
