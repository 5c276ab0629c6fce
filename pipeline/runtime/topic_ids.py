"""Names of topics in; which topics these are out: the id that Kafka gave each when it was made, and how many partitions it has.

A name is no identity: a topic that is deleted and made again begins at offset 0, and its records would pass for those that were read.  The
id is in Metadata from version 10 on (https://cwiki.apache.org/confluence/display/KAFKA/KIP-516), and aiokafka speaks version 5; so the
question is put here, in version 12 (Kafka 3.1), on aiokafka's connections.  The layout is that of MetadataRequest.json and
MetadataResponse.json in Kafka's sources (clients/src/main/resources/common/message).

Holds: asking makes no topic.
"""

from base64 import urlsafe_b64encode
from collections.abc import Sequence
from io import BytesIO
from typing import Any, NamedTuple

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import NodeNotReadyError, UnknownTopicOrPartitionError, for_code
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.metadata import MetadataRequest_v5
from aiokafka.protocol.types import Boolean, CompactArray, CompactString, Int16, Int32, Schema, TaggedFields

METADATA = 3
ID_BYTES = 16
NO_ID = bytes(ID_BYTES)
NAME = CompactString("utf-8")
TAGS = ("tags", TaggedFields)


class Topic(NamedTuple):
    """A topic as it is now."""

    id: str  # as Kafka's own tools show it; empty: the broker tells none
    partitions: int


class _Id(AbstractType[bytes]):
    @classmethod
    def encode(cls, value: bytes) -> bytes:
        return value

    @classmethod
    def decode(cls, data: BytesIO) -> bytes:
        return data.read(ID_BYTES)


class _Answer(Response):
    API_KEY, API_VERSION = METADATA, 12
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", CompactArray(("node_id", Int32), ("host", NAME), ("port", Int32), ("rack", NAME), TAGS)),
        ("cluster_id", NAME),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("topic", NAME),
                ("topic_id", _Id),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        TAGS,
                    ),
                ),
                ("authorized_operations", Int32),
                TAGS,
            ),
        ),
        TAGS,
    )


class _WithIds(RequestStruct):
    API_KEY, API_VERSION = METADATA, 12
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _Answer
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", _Id), ("name", NAME), TAGS)),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        TAGS,
    )


class _Describe(Request[MetadataRequest_v5 | _WithIds]):
    API_KEY = METADATA

    def __init__(self, names: Sequence[str]) -> None:
        self._names = list(names)

    def build(self, request_struct_class: Any) -> Any:
        if request_struct_class is _WithIds:
            return _WithIds([(NO_ID, name, {}) for name in self._names], False, False, {})
        return request_struct_class(self._names, False)


async def topics_of(client: AIOKafkaClient, names: Sequence[str]) -> dict[str, Topic]:
    """Those that exist.  Raises KafkaError when no broker answers, or one does not let us ask."""
    if (node := client.get_random_node()) is None:
        raise NodeNotReadyError("no broker is known")
    answer = await client.send(node, _Describe(names))
    found = {}
    for topic in answer.to_object()["topics"]:
        error, name = topic["error_code"], topic["topic"]
        if error and error != UnknownTopicOrPartitionError.errno:
            raise for_code(error)(name)
        if not error:
            found[name] = Topic(shown_id(topic.get("topic_id", NO_ID)), len(topic["partitions"]))
    return found


def shown_id(raw: bytes) -> str:
    """16 bytes as Kafka's own tools show them; empty: no id."""
    return urlsafe_b64encode(raw).decode().rstrip("=") if raw != NO_ID else ""
