"""What a release left on Kafka and in ClickHouse, with the input that it did not read any more: one file, and back on the servers.

    record.py ──► <release>.gz ──► `kept` ──► `load` ──► the topics and tables as that release left them, under the names they had

Records have the offsets that they had, since state says how far each topic was read; compaction has not begun in so short a run.
Tables are made by that release's own statements, so that the present migrations find what they would find at a site.  Topics that this
release no longer had would be an error here: what becomes of them is for `deploy/CHANGES.md`.
"""

import gzip
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
from kafka import KafkaProducer

from pipeline.runtime.admin import Admin
from pipeline.settings import ClickHouseSettings, Settings
from pipeline.topology import build_topology

FOLDER = Path(__file__).parent
FILES = sorted(FOLDER.glob("*.gz"))


class KeptRecord(msgspec.Struct, frozen=True, array_like=True):
    """One record of a topic."""

    partition: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


class KeptTopic(msgspec.Struct, frozen=True, array_like=True):
    """A topic: its records, partition by partition, in order."""

    name: str
    partitions: int
    records: tuple[KeptRecord, ...]


class KeptTable(msgspec.Struct, frozen=True, array_like=True):
    """A table or view: how it was made, and its rows in ClickHouse's native format."""

    name: str
    statement: str
    rows: bytes


class Kept(msgspec.Struct, frozen=True):
    """All of one release."""

    release: str
    commit: str
    settings: dict[str, Any]  # of the site, without addresses
    topics: tuple[KeptTopic, ...]
    tables: tuple[KeptTable, ...]
    rest: tuple[KeptTopic, ...]  # of the inputs, what came after it was stopped

    @property
    def inputs(self) -> tuple[KeptTopic, ...]:
        """The inputs, as far as it read them."""
        names = {topic.name for topic in self.rest}
        return tuple(topic for topic in self.topics if topic.name in names)


def kept(path: Path) -> Kept:
    """The file's content."""
    return msgspec.msgpack.decode(gzip.decompress(path.read_bytes()), type=Kept)


def keep(found: Kept, path: Path) -> None:
    """The same bytes for the same content."""
    path.write_bytes(gzip.compress(msgspec.msgpack.encode(found), 9, mtime=0))


def load(found: Kept, servers: Settings) -> Settings:
    """Put topics and tables on the servers; answers with the site's settings there."""
    settings = at(found.settings, servers)
    with Admin(settings, build_topology(settings)) as admin:  # with their settings for retention and compaction
        admin.ensure()
    _load_topics(found.topics, settings.kafka.bootstrap_servers)
    ask(settings.clickhouse, f"CREATE DATABASE {settings.clickhouse.database}")
    for table in found.tables:  # views come last: what they read is there, and they are not told of old rows
        ask(settings.clickhouse, table.statement)
        if table.rows:
            ask(settings.clickhouse, f"INSERT INTO {settings.clickhouse.database}.{table.name} FORMAT Native", table.rows)
    return settings


def at(settings: Mapping[str, Any], servers: Settings) -> Settings:
    """A site's settings with the addresses of these servers."""
    kafka, clickhouse = servers.kafka, servers.clickhouse
    here = {"host": clickhouse.host, "port": clickhouse.port, "http_port": clickhouse.http_port}
    return Settings.model_validate({
        **settings,
        "kafka": {**settings["kafka"], "bootstrap_servers": kafka.bootstrap_servers},
        "clickhouse": {**settings["clickhouse"], **here},
    })  # fmt: skip


def _load_topics(topics: Iterable[KeptTopic], bootstrap_servers: str) -> None:
    with closing(KafkaProducer(bootstrap_servers=bootstrap_servers, linger_ms=20)) as producer:
        for topic in topics:
            for record in topic.records:
                producer.send(
                    topic.name, record.value, record.key, list(record.headers), partition=record.partition, timestamp_ms=record.timestamp
                )
        producer.flush()


def ask(clickhouse: ClickHouseSettings, query: str, body: bytes = b"", **settings: str) -> bytes:
    """A query over HTTP, which alone speaks the native format in files."""
    words = urllib.parse.urlencode({"query": query, **settings})
    request = urllib.request.Request(f"http://{clickhouse.host}:{clickhouse.http_port}/?{words}", data=body, method="POST")
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310  of the embedded server
        content: bytes = answer.read()
    return content
