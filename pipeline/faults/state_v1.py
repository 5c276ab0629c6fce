"""The state topics in; the same state as the first release would have written it, out: the state of an older version, for a fault.

Layout 1, pinned here: facts alone, without packs.  Old records are deleted first, so that nothing of the present layout is left to read.

    claim/OWNER [1]   delta/OWNER/n [1, n, facts]   meta/OWNER [1, n, applied, incarnation]

Holds: only for topics that no worker has; the next owner finds what the last one left.
"""

from collections import defaultdict
from typing import Any

import msgspec
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import BrokerResponseError, PolicyViolationError

from pipeline.errors import require
from pipeline.faults.account import read
from pipeline.faults.site import wait
from pipeline.runtime.state_log import LogReader
from pipeline.settings import Settings
from pipeline.topology import Topology

VERSION = 1
FACTS_AT_ONCE = 500
DELETE_TRIES = 60

_pack = msgspec.msgpack.Encoder().encode


def rewrite(settings: Settings, topology: Topology) -> int:
    """Replace all state; answers with the number of facts."""
    inputs = [topic for stage in topology.stages for topic in stage.reads]
    topics = [topology.state_topic(topic) for topic in inputs]
    readers: dict[tuple[str, int], LogReader] = defaultdict(LogReader)
    ends: dict[tuple[str, int], int] = {}
    for record in read(settings, topics, committed=False):
        readers[record.topic, record.partition].take(record.key.decode(), record.value)
        ends[record.topic, record.partition] = record.offset + 1
    _delete(settings, topics, ends)
    producer: Any = KafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers.split(","), linger_ms=5)
    written = 0
    try:
        for (topic, partition), reader in readers.items():
            for name, value in _records(reader):
                producer.send(topic, value=value, key=name.encode(), partition=partition)
            written += sum(1 for _ in reader.facts())
        producer.flush()
    finally:
        producer.close()
    return written


def _records(reader: LogReader) -> list[tuple[str, bytes]]:
    meta = reader.meta
    require(meta is not None and meta.intent is None, "the worker was not stopped in order")
    owner = f"{reader.last.epoch + 1}-{max(reader.last.generation, 0)}-0ld0"
    records = [(f"claim/{owner}", _pack([VERSION]))]
    for _ in reader.unpacking():
        pass
    facts = list(reader.facts())
    seq = 0
    for at in range(0, len(facts), FACTS_AT_ONCE):
        seq += 1
        records.append((f"delta/{owner}/{seq}", _pack([VERSION, seq, facts[at : at + FACTS_AT_ONCE]])))
    if meta is not None:
        records.append((f"meta/{owner}", _pack([VERSION, seq, meta.applied, meta.incarnation, None])))
    return records


def _delete(settings: Settings, topics: list[str], ends: dict[tuple[str, int], int]) -> None:
    """A topic that is only compacted refuses to delete; and for a moment after it was told that it is so no more."""
    admin: Any = KafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap_servers.split(","))
    try:
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, {"cleanup.policy": "delete"}) for name in topics])
        for left in reversed(range(DELETE_TRIES)):
            try:
                admin.delete_records({TopicPartition(*at): end for at, end in ends.items()})
                break
            except BrokerResponseError as error:
                if not left or PolicyViolationError.__name__ not in str(error):
                    raise
                wait(0.5)
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, {"cleanup.policy": "compact"}) for name in topics])
    finally:
        admin.close()
