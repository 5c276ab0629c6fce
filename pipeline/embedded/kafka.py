"""A Kafka broker for one machine: its files and its command line in, an answer on its port out.

One process is broker and controller (KRaft), so there is nothing else to run.  Its files are rendered from settings at each
start; only the cluster id, made when the data directory is formatted, stays.

Retention is by size alone.  Kafka's default, seven days by the record's own time, would delete a replayed or simulated week as
soon as it arrives.  The size per partition is the quota's share of the broker over the partitions one machine usually holds.
"""

import base64
import secrets
import socket
import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from pipeline.embedded import install
from pipeline.embedded.files import MIB, Layout
from pipeline.embedded.install import KafkaParts
from pipeline.embedded.ports import HOST
from pipeline.errors import ServerFailed
from pipeline.settings import Settings

BROKER: Final = "kafka"
CONTROLLER: Final = "controller"

# A line of 5 MB must arrive, so that the worker can tell its sender by a dead letter; batch overhead comes on top.
MESSAGE_BYTES_MAX = 8 * MIB
BROKER_SHARE_OF_QUOTA = 0.5
PARTITIONS_EXPECTED = 64
# The rest of a Java process whose heap is full.
BEYOND_HEAP_MIB = 384


def properties(*, data: Path, ports: Mapping[str, int], quota_mib: int, over: Mapping[str, object] = MappingProxyType({})) -> str:
    """server.properties.  Segments are a quarter of what a partition may keep, since Kafka deletes whole segments only.

    `over` wins over what is here: tests run a broker with accounts and certificates, which the product does not.
    """
    keep_mib = max(64, int(quota_mib * BROKER_SHARE_OF_QUOTA / PARTITIONS_EXPECTED))
    broker, controller = ports[BROKER], ports[CONTROLLER]
    lines: dict[str, object] = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{HOST}:{controller}",
        "listeners": f"PLAINTEXT://{HOST}:{broker},CONTROLLER://{HOST}:{controller}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{broker}",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": data,
        "auto.create.topics.enable": "false",
        # One broker: nothing to replicate to, and few partitions of its own topics, which are opened at every start.
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        # After kill -9 the controller still believes in the old broker for a session: 9 s by default, in which nothing answers.
        "broker.session.timeout.ms": 3_000,
        "broker.heartbeat.interval.ms": 500,
        # The only replica is the best one; without this a partition could stay without a leader after a crash.
        "unclean.leader.election.enable": "true",
        # The first worker of a group need not wait for others.
        "group.initial.rebalance.delay.ms": 0,
        "message.max.bytes": MESSAGE_BYTES_MAX,
        "replica.fetch.max.bytes": MESSAGE_BYTES_MAX,
        "log.retention.ms": -1,
        "log.retention.bytes": keep_mib * MIB,
        "log.segment.bytes": max(2 * MESSAGE_BYTES_MAX, keep_mib * MIB // 4),
        "log.retention.check.interval.ms": 30_000,
        # A shipper with a wrong clock is a dead letter of ours, not an error of its own.
        "log.message.timestamp.after.max.ms": 9_223_372_036_854_775_807,
        # The default, 128 MiB, is a good part of a small heap.
        "log.cleaner.dedupe.buffer.size": 32 * MIB,
        "num.network.threads": 2,
        "num.io.threads": 4,
    }
    return "".join(f"{name}={value}\n" for name, value in {**lines, **over}.items())


def logging_properties(log: Path) -> str:
    """log4j2 configuration: what an operator reads, in one file with one predecessor, 10 MB each."""
    return f"""status=error
rootLogger.level=info
rootLogger.appenderRef.file.ref=file
appender.file.type=RollingFile
appender.file.name=file
appender.file.fileName={log}
appender.file.filePattern={log}.%i
appender.file.layout.type=PatternLayout
appender.file.layout.pattern=%d{{yyyy-MM-dd'T'HH:mm:ss.SSSXXX}} %p %c{{1}}: %m%n
appender.file.policies.type=Policies
appender.file.policies.size.type=SizeBasedTriggeringPolicy
appender.file.policies.size.size=10MB
appender.file.strategy.type=DefaultRolloverStrategy
appender.file.strategy.max=1
# Thousands of lines of configuration values at every start.
logger.config.name=org.apache.kafka.common.config
logger.config.level=warn
logger.server.name=kafka.server.KafkaConfig
logger.server.level=warn
logger.reflections.name=org.reflections
logger.reflections.level=error
"""


class KafkaServer:
    """The embedded broker, as `servers` starts and asks it."""

    name = "kafka"

    def __init__(self, settings: Settings, layout: Layout) -> None:
        self._embedded = settings.embedded
        self._folder = layout.data(self.name)
        self._logs = layout.logs

    @property
    def memory_mib(self) -> int:
        return self._embedded.kafka_heap_mib + BEYOND_HEAP_MIB

    def wanted_ports(self) -> dict[str, tuple[str, int]]:
        # Nobody but the broker itself talks to its controller, so that port has no setting.
        return {BROKER: ("embedded.kafka_port", self._embedded.kafka_port), CONTROLLER: ("embedded.kafka_port", 0)}

    def command(self, ports: Mapping[str, int]) -> list[str]:
        parts = install.find_kafka()
        prepare(self._folder, logs=self._logs, parts=parts, ports=ports, quota_mib=self._embedded.disk_quota_mib)
        return command(parts, self._folder, heap_mib=self._embedded.kafka_heap_mib)

    def answers(self, ports: Mapping[str, int]) -> bool:
        return brokers(HOST, ports[BROKER]) > 0

    def addresses(self, ports: Mapping[str, int]) -> tuple[str, ...]:
        return (f"{HOST}:{ports[BROKER]}",)


def command(parts: KafkaParts, folder: Path, *, heap_mib: int) -> list[str]:
    """What starts the broker whose folder is prepared."""
    return [*_java(parts, folder, f"-Xmx{heap_mib}m"), "kafka.Kafka", str(folder / "server.properties")]


def prepare(
    folder: Path,
    *,
    logs: Path,
    parts: KafkaParts,
    ports: Mapping[str, int],
    quota_mib: int,
    over: Mapping[str, object] = MappingProxyType({}),
) -> None:
    """Write the files, and format the data directory unless that is done."""
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    configuration = folder / "server.properties"
    configuration.write_text(properties(data=data, ports=ports, quota_mib=quota_mib, over=over), encoding="utf-8")
    (folder / "log4j2.properties").write_text(logging_properties(logs / "kafka.log"), encoding="utf-8")
    if (data / "meta.properties").exists():
        return
    done = subprocess.run(
        [
            *_java(parts, folder),
            *("kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", _cluster_id(), "-c", str(configuration)),
        ],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        message = f"Kafka could not format {data}: {done.stdout.strip()[-500:]}"
        raise ServerFailed(message, advice=f"If the folder holds nothing of value, delete {folder} and run `trainwatch up` again.")


def _java(parts: KafkaParts, folder: Path, *options: str) -> list[str]:
    return [
        str(parts.java),
        *options,
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:+PerfDisableSharedMem",
        "-Djava.awt.headless=true",
        f"-Dlog4j2.configurationFile={folder / 'log4j2.properties'}",
        "-cp",
        f"{parts.jars}/*",
    ]


def _cluster_id() -> str:
    """Sixteen random bytes as Kafka writes them.  A leading dash would read as an option."""
    while (text := base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")).startswith("-"):
        pass
    return text


# A Metadata request, version 1, for no topics: the oldest question that every broker from 0.10 to 4.x answers with its members.
METADATA_KEY, METADATA_VERSION = 3, 1
ANSWER_BYTES_MAX = 4 * MIB


def brokers(host: str, port: int, *, timeout_seconds: float = 5.0) -> int:
    """How many brokers the cluster at this address has; 0 when none answers.

    An open port is not enough: a broker listens before the controller lets it serve, and is in no answer until then.
    Asked over a socket, because a client library takes 0.3 s to import and logs each refused connection.
    """
    client = b"trainwatch"
    body = struct.pack(f">hhih{len(client)}si", METADATA_KEY, METADATA_VERSION, 1, len(client), client, 0)
    try:
        with socket.create_connection((host, port), timeout=timeout_seconds) as connection:
            connection.settimeout(timeout_seconds)
            connection.sendall(struct.pack(">i", len(body)) + body)
            with connection.makefile("rb") as answer:
                (length,) = struct.unpack(">i", answer.read(4))
                if not 8 <= length <= ANSWER_BYTES_MAX:
                    return 0
                correlation, count = struct.unpack(">ii", answer.read(8))
    except (OSError, struct.error):
        return 0
    return int(count) if correlation == 1 else 0
