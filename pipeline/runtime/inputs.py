"""The topics that a worker reads, looked at every few seconds by a client of its own; an error when one is not the one that was read, out.

A client of a group looks for little of this.  For a topic that is gone it commits without end, and nothing of any topic is read meanwhile
(https://github.com/aio-libs/aiokafka/issues/1095).  A topic that was made again has the name of the one before, and offsets of its own.
New partitions are looked for by the leader of the group alone, and one that came back under its name is not told that it leads
(https://cwiki.apache.org/confluence/display/KAFKA/KIP-814).  And brokers that have all come back under other addresses are never found,
since `kafka.bootstrap_servers` are asked once (https://github.com/aio-libs/aiokafka/issues/459).

    an input is gone                  ConfigError         and one that is made again under its name is known by its id
    an input has another id           StateIncompatible   https://cwiki.apache.org/confluence/display/KAFKA/KIP-516
    brokers have other addresses      BrokerUnavailable   a new process asks where they are
    partitions that nobody reads      the group is asked to share them out

Holds: what a single look finds, a broker that just starts may have said; while brokers are merely away, nothing is raised.
"""

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress

from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.coordinator.protocol import ConsumerProtocol
from aiokafka.errors import KafkaError
from aiokafka.protocol.admin import DescribeGroupsRequest

from pipeline.errors import BrokerUnavailable
from pipeline.model.words import many
from pipeline.runtime.access import absent, reaching
from pipeline.runtime.membership import GroupMembership
from pipeline.runtime.partition import Partition, Source, made_again
from pipeline.runtime.topic_ids import Topic, topics_of
from pipeline.settings import KafkaSettings

ANSWER_SECONDS = 5.0
LOOKS = 3  # that find the same before it is believed
SHOWN = 3

Addresses = set[tuple[str, int]]
log = logging.getLogger("trainwatch.worker")


class Inputs:
    """All inputs of a group, as one of its members sees them."""

    def __init__(self, kafka: KafkaSettings, names: Iterable[str], membership: GroupMembership) -> None:
        self._kafka, self._names, self._membership = kafka, sorted(set(names)), membership
        self._missed: dict[str, int] = {}  # topic -> looks in a row that did not find it
        self._unanswered = 0
        self._unread: list[Source] = []  # at the look before
        self._shared_out: list[Source] = []  # for which the group was asked already

    async def look(self, client: AIOKafkaClient, parts: Mapping[Source, Partition]) -> None:
        """Once.  Raises ConfigError, StateIncompatible, BrokerUnavailable; of Kafka's own errors none."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                found = await topics_of(client, self._names)
        except (KafkaError, TimeoutError) as why:
            log.info("inputs not looked at: %r", why)
            self._unanswered += 1
            if self._unanswered >= LOOKS:
                await self._require_brokers(client)
            return
        self._unanswered = 0
        self._require_there(found, {source.topic for source in parts})
        for source, part in parts.items():
            if (topic := found.get(source.topic)) is not None and part.is_another(topic.id):
                raise made_again(source, part.applied, f"its id is {topic.id} now")
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                self._share_out(await _unread(client, self._kafka.group, found))
        except (KafkaError, TimeoutError) as why:
            log.info("who reads what is not known: %r", why)

    def _require_there(self, found: Collection[str], ours: Collection[str]) -> None:
        self._missed = {name: self._missed.get(name, 0) + 1 for name in sorted(ours) if name not in found}
        for name, looks in self._missed.items():
            if looks >= LOOKS:
                raise absent(self._kafka, name)

    def _share_out(self, unread: list[Source]) -> None:
        """Once for the same partitions: where it does not help, it would stop the whole group again and again."""
        if not unread:
            self._shared_out = []
        elif unread == self._unread != self._shared_out:
            shown = ", ".join(map(str, unread[:SHOWN]))
            log.info("nobody reads %s, asking the group to share them out: %s", many(len(unread), "partition"), shown)
            self._shared_out = unread
            self._membership.join_again()
        self._unread = unread

    async def _require_brokers(self, client: AIOKafkaClient) -> None:
        before, now = _addresses(client), await self._addresses_now()
        if now and not now & before:
            raise BrokerUnavailable(
                f"all brokers of Kafka have other addresses than before: {_shown(now)}, not {_shown(before)}",
                advice="Start it again: it asks kafka.bootstrap_servers where they are. Nothing uncommitted is lost.",
            )

    async def _addresses_now(self) -> Addresses:
        """What a new client is told; empty: nobody answers."""
        client = AIOKafkaClient(**reaching(self._kafka))
        try:
            with suppress(KafkaError, TimeoutError, OSError):
                async with asyncio.timeout(ANSWER_SECONDS):
                    await client.bootstrap()
                return _addresses(client)
        finally:
            await client.close()
        return set()


async def _unread(client: AIOKafkaClient, group: str, topics: Mapping[str, Topic]) -> list[Source]:
    """Partitions that no member has, in order; none while members share them out, or when Kafka does not say.  Raises KafkaError."""
    node = await client.coordinator_lookup(CoordinationType.GROUP, group)
    answer = await client.send(node, DescribeGroupsRequest([group]))
    error, _, state, _, _, members = answer.groups[0][:6]
    if error or state != "Stable":
        return []
    shares = [ConsumerProtocol.ASSIGNMENT.decode(share) for *_, share in members if share]
    read = {Source(*pair) for share in shares for pair in share.partitions()}
    there = {Source(name, number) for name, topic in topics.items() for number in range(topic.partitions)}
    return sorted(there - read)


def _addresses(client: AIOKafkaClient) -> Addresses:
    return {(broker.host, broker.port) for broker in client.cluster.brokers()}


def _shown(addresses: Addresses) -> str:
    return ", ".join(f"{host}:{port}" for host, port in sorted(addresses))
