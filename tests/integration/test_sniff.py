"""`trainwatch sniff --topic` on the real broker: the newest records of all partitions, with what their shippers say."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from click.testing import CliRunner, Result
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic

from pipeline.cli import main
from pipeline.errors import ConfigError
from pipeline.runtime.sampling import newest
from pipeline.settings import Settings
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.servers

TOPIC = "logs.unknown"
PARTITIONS = 3
RECORDS = 60
START_MS = 1_772_451_600_000  # 11:40 UTC
AHEAD_MS = 8 * 3_600_000  # the hosts' clocks show the time of Shanghai


@pytest.fixture
def site(servers: Settings) -> Iterator[Settings]:
    """A topic whose last partition is empty, with lines of sshd a minute apart."""
    admin: Any = KafkaAdminClient(bootstrap_servers=servers.kafka.bootstrap_servers)
    admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)])
    deadline = time.monotonic() + PATIENCE_SECONDS
    while TOPIC not in {topic["name"] for topic in admin.describe_topics()}:
        assert time.monotonic() < deadline, "the broker does not tell of its new topic"
        time.sleep(0.1)
    producer: Any = KafkaProducer(bootstrap_servers=servers.kafka.bootstrap_servers)
    for number in range(RECORDS):
        line = f"Mar  2 19:{40 + number // 6:02d}:{number % 6 * 10:02d} login-1 sshd[{number}]: Connection closed by 192.0.2.7 port 5022"
        at = START_MS + number * 10_000 + 1200
        producer.send(TOPIC, line.encode(), partition=number % 2, timestamp_ms=at, headers=[("host", b"login-1")])
    producer.flush()
    producer.close()
    yield servers
    admin.delete_topics([TOPIC])
    admin.close()


def sniff(settings: Settings, folder: Path, *arguments: str) -> Result:
    """The command with these settings."""
    path = folder / "site.yaml"
    kafka = {"bootstrap_servers": settings.kafka.bootstrap_servers}
    path.write_text(yaml.safe_dump({"kafka": kafka, "embedded": {"directory": str(folder / "none")}}))
    return CliRunner().invoke(main, ["--settings", str(path), "sniff", *arguments])


def test_a_topic(site: Settings, tmp_path: Path) -> None:
    """Everything is claimed, the zone is told from the time of collection, and the topic is put among those of its family."""
    result = sniff(site, tmp_path, "--topic", TOPIC, "--json")
    assert result.exit_code == 0, result.output
    report = msgspec.json.decode(result.stdout)["samples"][0]
    assert (report["records"], report["families"]) == (RECORDS, ["access"])
    assert report["times"]["likely_offset_minutes"] == AHEAD_MS // 60_000
    pasted = yaml.safe_load("\n".join(report["settings"]))
    assert pasted["kafka"]["access_topics"] == ["logs.access", TOPIC]
    assert (pasted["sources"][0]["topic"], pasted["sources"][0]["zone"]) == (TOPIC, "Etc/GMT-8")


def test_the_newest(site: Settings) -> None:
    """Of all partitions the newest records, in order of time."""
    found = list(newest(site.kafka, TOPIC, 10))
    assert [record.timestamp for record in found] == [START_MS + number * 10_000 + 1200 for number in range(RECORDS - 10, RECORDS)]
    assert found[0].headers == (("host", b"login-1"),)
    assert len(list(newest(site.kafka, TOPIC, 1000))) == RECORDS


def test_no_such_topic(site: Settings, tmp_path: Path) -> None:
    """It is said, and none is made."""
    assert sniff(site, tmp_path, "--topic", "logs.nowhere").exit_code == 2
    with pytest.raises(ConfigError, match=r"logs\.nowhere does not exist"):
        list(newest(site.kafka, "logs.nowhere", 10))
