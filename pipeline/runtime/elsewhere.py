"""A client that reaches none of the brokers it was told of last in; an error when the settings lead to others, out.

A client that has begun never asks `kafka.bootstrap_servers` again: when all brokers have come back under other addresses (a single one,
a cluster that was set up anew elsewhere, behind a name that stayed) it would look for the old ones for ever
(https://github.com/aio-libs/aiokafka/issues/459).  Java's clients begin anew since Kafka 4.0; ours is a process that is started again.

Holds: while brokers are merely away, nobody answers a new client either, and nothing is raised.
"""

from contextlib import suppress

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from pipeline.errors import BrokerUnavailable
from pipeline.runtime.access import reaching
from pipeline.settings import KafkaSettings

Addresses = set[tuple[str, int]]


async def require_brokers(client: AIOKafkaClient, settings: KafkaSettings) -> None:
    """Raises BrokerUnavailable when no broker answers this client, and others answer a new one."""
    if await client.force_metadata_update():
        return
    before, now = _addresses(client), await _addresses_now(settings)
    if now and not now & before:
        raise BrokerUnavailable(
            f"all brokers of Kafka have other addresses than before: {_shown(now)}, not {_shown(before)}",
            advice="Start it again: it asks kafka.bootstrap_servers where they are. Nothing uncommitted is lost.",
        )


async def _addresses_now(settings: KafkaSettings) -> Addresses:
    """Empty: nobody answers."""
    client = AIOKafkaClient(**reaching(settings))
    try:
        with suppress(KafkaError, TimeoutError, OSError):
            await client.bootstrap()
            return _addresses(client)
    finally:
        await client.close()
    return set()


def _addresses(client: AIOKafkaClient) -> Addresses:
    return {(broker.host, broker.port) for broker in client.cluster.brokers()}


def _shown(addresses: Addresses) -> str:
    return ", ".join(f"{host}:{port}" for host, port in sorted(addresses))
