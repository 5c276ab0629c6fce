"""`deploy/record-release COMMIT`: runs an earlier release of this repository on real servers, and keeps what it leaves behind.

    git archive COMMIT ──► its worker, on servers of our own ──► first part of story.yaml ──► stopped ──► topics, tables ──► <release>.gz

Everything is synthetic.  The release runs by its own commands out of its own tree, with this environment's libraries.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import yaml
from kafka import KafkaConsumer, TopicPartition

from pipeline.embedded import servers as embedded
from pipeline.model.outcome import Record
from pipeline.runtime import replay
from pipeline.runtime.following import caught_up
from pipeline.settings import ClickHouseSettings, EmbeddedSettings, Settings
from pipeline.topology import build_topology
from tests import build
from tests.releases.kept import FOLDER, Kept, KeptRecord, KeptTable, KeptTopic, ask, at, keep
from tests.scenario.lines import TOPICS, Line, Site, ship, what

ROOT = Path(__file__).parents[2]
PARTITIONS = 2
PATIENCE_SECONDS, STILL_SECONDS = 120.0, 5.0


def record(commit: str) -> Path:
    """Run that release, and write its file."""
    full = _said("git", "rev-parse", f"{commit}^{{commit}}").strip()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tree = folder / "tree"
        tree.mkdir()
        archive = subprocess.run(["git", "-C", str(ROOT), "archive", full], check=True, capture_output=True)  # noqa: S607  of whoever runs it
        subprocess.run(["tar", "-x", "-C", str(tree)], input=archive.stdout, check=True)  # noqa: S607
        release = re.search(r'^__version__ = "(.+)"$', (tree / "pipeline/__init__.py").read_text(encoding="utf-8"), re.MULTILINE)
        assert release is not None
        own = Settings(embedded=EmbeddedSettings(directory=folder / "servers"))
        embedded.up(own, say=_say)
        try:
            found = _run(tree, full[:12], release[1], embedded.connected(own))
        finally:
            embedded.down(own, say=_say)
    path = FOLDER / f"{release[1]}-{full[:12]}.gz"
    keep(found, path)
    return path


def _run(tree: Path, commit: str, release: str, servers: Settings) -> Kept:
    content = site_of(commit)
    settings = at(content, servers)
    file = tree.parent / "site.yaml"
    kafka, clickhouse = content["kafka"], content["clickhouse"]
    kafka = {**kafka, "bootstrap_servers": settings.kafka.bootstrap_servers}
    clickhouse = {**clickhouse, "host": settings.clickhouse.host, "port": settings.clickhouse.port}
    file.write_text(yaml.safe_dump({**content, "kafka": kafka, "clickhouse": clickhouse}), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    command = [sys.executable, "-m", "pipeline", "--settings", str(file)]
    for words in (["migrate", "up"], ["topics", "create"]):
        subprocess.run([*command, *words], cwd=tree, env=environment, check=True)
    read, rest = _parts(settings)
    replay.send(settings, read)
    worker = subprocess.Popen([*command, "worker"], cwd=tree, env=environment)
    try:
        _await_end(settings, worker)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(PATIENCE_SECONDS) == 0
    finally:
        worker.kill()
        worker.wait()
    return Kept(
        release=release,
        commit=commit,
        settings=content,
        topics=tuple(_topics(settings)),
        tables=tuple(_tables(settings.clickhouse)),
        rest=tuple(_as_topics(settings, rest)),
    )


def site_of(commit: str) -> dict[str, Any]:
    """Settings in words that every release knows; names of its own, since state and tables speak of them."""
    tag = f"release{commit}"
    site = build.settings().model_dump(mode="json", include={"identities", "artefact_roots"}, exclude_defaults=True)
    return {
        **site,
        "kafka": {
            "topic_prefix": f"{tag}.", "group": tag, "partitions": PARTITIONS, "session_timeout_seconds": 6,
            **{f"{stream}_topics": [f"{tag}.{topic}"] for stream, topic in TOPICS.items()},
        },
        "clickhouse": {"database": tag, "retention_days": 3650},  # rows keep the day of the recording
        "checkpoint": {"interval_seconds": 0.3},
        "time": {"idle_seconds": 3600},
        "worker": {"instance_id": "w1"},
    }  # fmt: skip


def _parts(settings: Settings) -> tuple[list[Record], list[Record]]:
    """The story, up to the cut and behind it, on the topics of the site."""
    story = yaml.safe_load((FOLDER / "story.yaml").read_text(encoding="utf-8"))
    names = dict(zip(TOPICS.values(), settings.kafka.input_topics, strict=True))
    records = [_on(record, number, names) for number, record in enumerate(ship(_lines_of(story)))]
    cut = build.ms(story["cut"])
    return [each for each in records if each.timestamp <= cut], [each for each in records if each.timestamp > cut]


def _on(record: Record, number: int, names: dict[str, str]) -> Record:
    return Record(
        topic=names[record.topic], partition=number % PARTITIONS, offset=0, timestamp=record.timestamp, value=record.value, key=record.key,
        headers=record.headers,
    )  # fmt: skip


def _lines_of(story: dict[str, Any]) -> Iterator[Line]:
    site = Site()
    for stream in TOPICS:
        for told in story[stream]:
            (word,) = told.keys() - {"at"}
            yield from what(site, word)(float(told["at"]), **told[word])
    for moment in range(-story["every"], story["until"], story["every"]):
        yield from site.hum(moment, story["heard"], ("gpu-001", "gpu-002"))


def _await_end(settings: Settings, worker: "subprocess.Popen[bytes]") -> None:
    """Everything that stages read is committed, and stays so: facts in flight would move the ends.  Stages that it lacks have no topics."""
    topology, deadline, still = build_topology(settings), time.monotonic() + PATIENCE_SECONDS, time.monotonic()
    while time.monotonic() - still < STILL_SECONDS:
        assert worker.poll() is None, "the worker ended"
        assert time.monotonic() < deadline, "the end of the input was not reached"
        time.sleep(0.3)
        if not caught_up(settings, topology).done:
            still = time.monotonic()


def _topics(settings: Settings) -> Iterator[KeptTopic]:
    with closing(KafkaConsumer(bootstrap_servers=settings.kafka.bootstrap_servers, enable_auto_commit=False)) as consumer:
        for name in sorted(topic for topic in consumer.topics() if topic.startswith(settings.kafka.topic_prefix)):
            numbers = sorted(consumer.partitions_for_topic(name))
            records = [record for number in numbers for record in _records(consumer, TopicPartition(name, number))]
            yield KeptTopic(name, len(numbers), tuple(records))


def _records(consumer: Any, part: TopicPartition) -> Iterator[KeptRecord]:
    consumer.assign([part])
    consumer.seek_to_beginning(part)
    end, expected = consumer.end_offsets([part])[part], 0
    while consumer.position(part) < end:
        for record in consumer.poll(timeout_ms=1000).get(part, ()):
            assert record.offset == expected, f"{part} has a gap before {record.offset}"
            expected += 1
            yield KeptRecord(part.partition, record.timestamp, record.key, record.value, tuple(record.headers))


def _tables(clickhouse: ClickHouseSettings) -> Iterator[KeptTable]:
    """Tables with their rows first, then views, in the order in which they were made."""
    database = clickhouse.database
    told = ask(
        clickhouse,
        f"SELECT name, engine LIKE '%View' FROM system.tables WHERE database = '{database}' "  # noqa: S608  our own names
        "ORDER BY 2, metadata_modification_time, name FORMAT TSV",
    )
    for name, view in (line.split("\t") for line in told.decode().splitlines()):
        statement = ask(clickhouse, f"SHOW CREATE {database}.{name} FORMAT TSVRaw").decode()
        rows = b"" if view == "1" else ask(clickhouse, f"SELECT * FROM {database}.{name} FORMAT Native")  # noqa: S608
        yield KeptTable(name, statement, rows)


def _as_topics(settings: Settings, records: list[Record]) -> Iterator[KeptTopic]:
    for name in settings.kafka.input_topics:
        own = (KeptRecord(each.partition, each.timestamp, each.key, each.value, each.headers) for each in records if each.topic == name)
        yield KeptTopic(name, PARTITIONS, tuple(own))


def _said(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def _say(line: str) -> None:
    print(line, file=sys.stderr)  # noqa: T201  a command for people


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: deploy/record-release COMMIT")
    written = record(sys.argv[1])
    _say(f"{written.relative_to(ROOT)}: {written.stat().st_size:,} bytes")
