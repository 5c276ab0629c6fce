"""Requests of a client that it repeats at once when they come to nothing in; the same with a pause behind them, out.

While a partition has no leader aiokafka asks for metadata, and a broker that has lost a disk for records, as fast as answers come
(https://github.com/aio-libs/aiokafka/issues/1155): half a core of ours and a third of one of the broker, for hours (measured).
"""

import asyncio
from collections import deque
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.fetcher import Fetcher

PAUSE_SECONDS = 0.1  # Java's retry.backoff.ms
BURST = 100  # metadata is asked for so often without a pause: for each topic of a producer that has just started


def slow_metadata(client: AIOKafkaClient) -> None:
    """Of a client that has started."""
    ask = client._metadata_update
    asked: deque[float] = deque(maxlen=BURST)

    async def run(*args: Any) -> Any:
        loop = asyncio.get_running_loop()
        found = await ask(*args)
        if len(asked) == BURST and loop.time() < asked[0] + BURST * PAUSE_SECONDS:
            await asyncio.sleep(PAUSE_SECONDS)
        asked.append(loop.time())
        return found

    client._metadata_update = run


def slow_fetches(fetcher: Fetcher) -> None:
    """Those that bring nothing; the broker holds an empty answer back for longer than the pause, when all is well."""
    fetch = fetcher._proc_fetch_request

    async def run(*args: Any) -> Any:
        loop = asyncio.get_running_loop()
        again = loop.time() + PAUSE_SECONDS
        try:
            found = await fetch(*args)
            if not found and (left := again - loop.time()) > 0:
                await asyncio.sleep(left)
        except asyncio.CancelledError:  # whoever closes the fetcher awaits this, and does not look for what it raises
            return False
        return found

    fetcher._proc_fetch_request = run
