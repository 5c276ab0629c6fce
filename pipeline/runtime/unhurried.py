"""Requests of a client that it repeats at once when they come to nothing in; the same with a pause behind them, out.

While a partition has no leader aiokafka asks for metadata, and a broker that has lost a disk for records, as fast as answers come
(https://github.com/aio-libs/aiokafka/issues/1155): half a core of ours and a third of one of the broker, for hours (measured).
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.fetcher import Fetcher

PAUSE_SECONDS = 0.1  # Java's retry.backoff.ms


def slow_metadata(client: AIOKafkaClient) -> None:
    """Of a client that has started."""
    client._metadata_update = _unhurried(client._metadata_update, unless=None)


def slow_fetches(fetcher: Fetcher) -> None:
    """Those that bring nothing; the broker holds an empty answer back for longer than the pause, when all is well."""
    fetch = _unhurried(fetcher._proc_fetch_request, unless=True)

    async def run(*args: Any) -> Any:
        try:
            return await fetch(*args)
        except asyncio.CancelledError:  # whoever closes the fetcher awaits this, and does not look for what it raises
            return False

    fetcher._proc_fetch_request = run


def _unhurried(ask: Callable[..., Awaitable[Any]], *, unless: Any) -> Callable[..., Awaitable[Any]]:
    async def run(*args: Any) -> Any:
        loop = asyncio.get_running_loop()
        again = loop.time() + PAUSE_SECONDS
        found = await ask(*args)
        if found is not unless and (left := again - loop.time()) > 0:
            await asyncio.sleep(left)
        return found

    return run
