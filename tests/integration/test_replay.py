"""`trainwatch replay` on the real broker: what arrives is what `analyse` reads, in order, with times, keys, headers and ends."""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from click.testing import CliRunner, Result
from kafka import KafkaAdminClient
from kafka.admin import NewTopic

from pipeline.cli import main
from pipeline.errors import ConfigError
from pipeline.model.outcome import Record
from pipeline.runtime.files import FileOptions, read_files
from pipeline.runtime.replay import send
from pipeline.settings import Settings
from tests.conftest import ROOT
from tests.integration.topics import partitions_read
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.servers

PARTITIONS = 3
AT = 1_772_451_641_000
LINE = b"2026-03-02T11:40:%02dZ login-1 sshd[7]: Accepted publickey for u017 from 192.0.2.7 port 51234 ssh2: ED25519 SHA256:k"
FINAL = ("trainwatch-final", b"1")
LIMIT = 1_000_000


@pytest.fixture
def site(servers: Settings) -> Iterator[Settings]:
    """Settings whose input topics exist; the access topic takes a megabyte."""
    admin: Any = KafkaAdminClient(bootstrap_servers=servers.kafka.bootstrap_servers)
    limits = {servers.kafka.access_topics[0]: {"max.message.bytes": str(LIMIT)}}
    topics = [NewTopic(name, PARTITIONS, 1, topic_configs=limits.get(name)) for name in servers.kafka.input_topics]
    admin.create_topics(topics)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not {topic["name"] for topic in admin.describe_topics()} >= set(servers.kafka.input_topics):
        assert time.monotonic() < deadline, "the broker does not tell of its new topics"
        time.sleep(0.1)
    yield servers
    admin.delete_topics(list(servers.kafka.input_topics))
    admin.close()


def run(settings: Settings, folder: Path, *arguments: str | Path) -> Result:
    """The command with these settings."""
    return CliRunner().invoke(main, [*arguments_of(settings, folder), *map(str, arguments)])


def arguments_of(settings: Settings, folder: Path) -> list[str]:
    """What stands before the files."""
    kafka = settings.kafka.model_dump(mode="json", include={"bootstrap_servers", "training_topics", "scheduler_topics", "access_topics"})
    path = folder / "site.yaml"
    path.write_text(yaml.safe_dump({"kafka": kafka, "embedded": {"directory": str(folder / "none")}}))
    return ["--settings", str(path), "replay"]


def as_read(record: Any) -> tuple[Any, ...]:
    """What must not change on the way."""
    return record.timestamp, record.key, record.value, tuple(record.headers)


def log_file(folder: Path, lines: Sequence[bytes], name: str = "auth.log") -> Path:
    """A file of lines."""
    path = folder / name
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def test_what_arrives_is_what_analyse_reads(site: Settings, tmp_path: Path) -> None:
    """Each partition holds the reader's records in the reader's order: time, key, value and headers; and then its end."""
    topic = site.kafka.access_topics[0]
    raw = log_file(tmp_path, [LINE % (number // 20) for number in range(1000)] + [b"\xff\x00", b"", b"x" * 500_000])
    shipped = [
        {"timestamp": AT + 60 * number, "key": f"gpu-{number % 7:03}", "headers": {}, "value": f"line {number}"} for number in range(500)
    ]
    keyed = log_file(tmp_path, [orjson.dumps(each) for each in shipped], name=f"{topic}.jsonl")

    result = run(site, tmp_path, raw, keyed, "--final", "--json")

    assert result.exit_code == 0, result.output
    told = orjson.loads(result.stdout)
    assert (told["records"], told["by_topic"][topic], told["refused"], told["final"]) == (1503, 1503, [], True)
    expected: list[list[Record]] = [[] for _ in range(PARTITIONS)]
    for record in read_files([raw, keyed], FileOptions(), site):
        expected[record.partition % PARTITIONS].append(record)
    for got, wanted in zip(partitions_read(site, topic), expected, strict=True):
        *records, end = got
        assert list(map(as_read, records)) == list(map(as_read, wanted))
        assert (end.value, end.headers, end.timestamp) == (b"", [FINAL], max(record.timestamp for wanted in expected for record in wanted))


def test_final_ends_every_partition_of_every_topic(site: Settings) -> None:
    """Topics that got no record are ended too: they must not hold back the others."""
    assert send(site, [], final=True).final
    for topic in site.kafka.input_topics:
        assert [[tuple(record.headers) for record in records] for records in partitions_read(site, topic)] == [[(FINAL,)]] * PARTITIONS


def test_record_without_value(site: Settings) -> None:
    """A tombstone travels as one."""
    topic = site.kafka.training_topics[0]
    send(site, [Record(topic=topic, partition=4, offset=0, timestamp=AT, value=None, key=b"k")])
    assert [list(map(as_read, records)) for records in partitions_read(site, topic)] == [[], [(AT, b"k", None, ())], []]


def test_too_large_record_is_named_and_left_out(site: Settings, tmp_path: Path) -> None:
    """A line above the topic's limit is named with file and place, its neighbours arrive, and the exit code tells."""
    path = log_file(tmp_path, [LINE % 1, b"x" * (LIMIT + 1), LINE % 2])
    result = run(site, tmp_path, path)
    assert result.exit_code == 3
    assert f"auth.log, byte {len(LINE % 1) + 1}: a record of {LIMIT + 1:,} bytes was not sent" in result.stderr
    values = [record.value for records in partitions_read(site, site.kafka.access_topics[0]) for record in records]
    assert sorted(values) == [LINE % 1, LINE % 2]


def test_rate(site: Settings, tmp_path: Path) -> None:
    """--rate holds records back, and all arrive."""
    path = log_file(tmp_path, [LINE % 1] * 60)
    begun = time.monotonic()
    assert run(site, tmp_path, path, "--rate", "60").exit_code == 0
    assert time.monotonic() - begun >= 0.9
    assert sum(map(len, partitions_read(site, site.kafka.access_topics[0]))) == 60


def test_progress_is_told(site: Settings) -> None:
    """A library user hears how many records went out, the last time of all of them."""
    told: list[int] = []
    topic = site.kafka.training_topics[0]
    records = [Record(topic=topic, partition=number, offset=number, timestamp=AT, value=b"x") for number in range(5000)]
    assert send(site, records, progress=told.append).records == 5000
    assert told[-1] == 5000
    assert told == sorted(told)
    assert len(told) > 1


def test_missing_topic(servers: Settings, tmp_path: Path) -> None:
    """Input topics are the site's: a missing one is not made but reported, with what to do."""
    result = run(servers, tmp_path, log_file(tmp_path, [LINE % 1]))
    assert result.exit_code == 2
    assert "trainwatch topics create" in result.stderr


def test_foreign_topic(site: Settings) -> None:
    """A record for a topic that trainwatch does not read is refused."""
    with pytest.raises(ConfigError, match="elsewhere is not an input topic"):
        send(site, [Record(topic="elsewhere", partition=0, offset=0, timestamp=AT, value=b"x")])


def test_no_broker(servers: Settings, tmp_path: Path) -> None:
    """An address at which nothing listens is an error with advice, not a hang.  In a process of its own: the client leaks its sockets."""
    site = servers.model_copy(update={"kafka": servers.kafka.model_copy(update={"bootstrap_servers": "127.0.0.1:9"})})
    command = [sys.executable, "-m", "pipeline", *arguments_of(site, tmp_path), str(log_file(tmp_path, [LINE % 1]))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    assert done.returncode == 1
    assert "127.0.0.1:9" in done.stderr
    assert "trainwatch status" in done.stderr
