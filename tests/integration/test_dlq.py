"""`trainwatch dlq` on real servers: a source that was configured wrong, the letters of that night, the cure, everything back in place."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from kafka import KafkaProducer

from pipeline.cli import main
from pipeline.runtime.admin import Admin
from pipeline.runtime.dead_letters import NOTE_HEADER
from pipeline.settings import Settings
from pipeline.sink import copied
from pipeline.sink.clickhouse import Database
from pipeline.topology import build_topology
from tests.conftest import ROOT
from tests.integration.following import following
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.servers

AT = 1_772_451_641_000
GOOD = 12
EVIL = b"\x1b[2J\x1b]0;owned\x07[red]not a line\xff\nsecond"
HEADERS = [("host", b"login-1"), ("file", b"/var/log/\x1b[31mauth.log")]


class Night:
    """A site, its command, and how it went."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self.folder = settings, folder
        self.database = Database(settings.clickhouse)
        self.topic = settings.kafka.access_topics[0]
        self.kafka = settings.kafka.model_dump(mode="json")
        self.address = settings.clickhouse.model_dump(mode="json", include={"host", "port", "database"})

    def file(self, **more: Any) -> Path:
        """The site's settings file."""
        path = self.folder / "trainwatch.yaml"
        quick = {"checkpoint": {"interval_seconds": 0.25}, "worker": {"health_port": 0}}
        path.write_text(yaml.safe_dump({"kafka": self.kafka, "clickhouse": self.address, **quick, **more}))
        return path

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(main, ["--settings", str(self.folder / "trainwatch.yaml"), *words])

    def work(self, done: Callable[[], bool]) -> None:
        """A worker, until it has done what was to be done."""
        with (self.folder / "worker.log").open("ab") as log:
            command = [sys.executable, "-m", "pipeline", "--settings", str(self.folder / "trainwatch.yaml"), "worker"]
            worker = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not done():
                assert time.monotonic() < deadline, (self.folder / "worker.log").read_text(errors="replace")[-3000:]
                assert worker.poll() is None, (self.folder / "worker.log").read_text(errors="replace")[-3000:]
                time.sleep(0.2)
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(PATIENCE_SECONDS) == 0
        finally:
            if worker.poll() is None:
                worker.kill()
                worker.wait()

    def caught_up(self) -> bool:
        return self.run("verify", "--caught-up").exit_code == 0

    def listed(self, *words: str) -> dict[str, Any]:
        """What `dlq list --json` says."""
        done = self.run("dlq", "list", "--json", *words)
        assert done.exit_code == 0, done.output
        report: dict[str, Any] = json.loads(done.stdout)
        return report


@pytest.fixture(scope="module")
def night(running_servers: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    """Lines of sshd, one key each, under a source that says slurmctld; one attack on whoever reads; an empty line; one line too long."""
    folder = tmp_path_factory.mktemp("night")
    tag = f"d{time.time_ns() % 10**10}"
    topics = {f"{family}_topics": (f"{tag}.logs.{family}",) for family in ("training", "scheduler", "access")}
    kafka = running_servers.kafka.model_copy(update={"topic_prefix": f"{tag}.", "group": tag, "partitions": 2, **topics})
    settings = running_servers.model_copy(
        update={"kafka": kafka, "clickhouse": running_servers.clickhouse.model_copy(update={"database": tag})}
    )
    night = Night(settings, folder)
    copied.make(night.database)
    with Admin(settings, build_topology(settings)) as admin:
        admin.ensure()
    night.file(sources=[{"name": "wrong", "topic": night.topic, "format": "slurmctld"}])
    producer: Any = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
    for number in range(GOOD):
        line = (
            f"2026-03-02T11:40:{number:02}Z login-1 sshd[7]: Accepted publickey for u017 from 192.0.2.7 port 51234 ssh2: ED25519 SHA256:k"
        )
        key = f"k{number}".encode()
        producer.send(night.topic, line.encode(), key=key, headers=HEADERS, partition=number % 2, timestamp_ms=AT + number)
    producer.send(night.topic, EVIL, key=b"\x1b[7m", headers=HEADERS, partition=0, timestamp_ms=AT)
    producer.send(night.topic, b"", partition=0, timestamp_ms=AT)
    producer.send(night.topic, b"x" * 1_000_000, partition=1, timestamp_ms=AT)
    producer.close()
    night.work(night.caught_up)
    yield night
    night.database.command(f"DROP DATABASE {tag} SYNC")
    night.database.close()


def test_the_list_counts_by_code_and_shows_the_newest(night: Night) -> None:
    """All letters, by code and source; filters; nothing of them acts on the terminal."""
    report = night.listed()
    assert (report["total"], report["resent"], report["strangers"]) == (GOOD + 3, 0, 0)
    assert {(count["code"], count["stage"], count["topic"]) for count in report["counts"]} >= {("empty", "ingest", night.topic)}
    assert sum(count["letters"] for count in report["counts"] if count["code"] != "empty") == GOOD + 2
    assert len(report["letters"]) == GOOD + 3
    assert night.listed("--code", "empty")["total"] == 1
    assert night.listed("--partition", "1", "--offset", "0-2")["total"] == 3
    assert night.listed("--topic", "elsewhere")["total"] == night.listed("--stage", "jobs")["total"] == 0
    assert night.listed("--since", "1h")["total"] == GOOD + 3
    assert night.listed("--since", "0s")["total"] == 0
    assert night.listed("--summary")["letters"] == []
    done = night.run("dlq", "list")
    assert done.exit_code == 0
    assert "\x1b" not in done.output
    assert "owned" in done.output


def place_of(night: Night, text: str) -> str:
    """PARTITION:OFFSET of the newest letter with this text."""
    return next(
        f"{each['partition']}:{each['offset']}" for each in night.listed("--limit", "1000")["letters"] if text in (each["preview"] or "")
    )


def test_one_letter_is_shown_with_headers_and_value(night: Night, tmp_path: Path) -> None:
    """Escaped on the terminal, exact in a file."""
    place = place_of(night, "not a line")
    done = night.run("dlq", "show", place)
    assert done.exit_code == 0, done.output
    assert "\x1b" not in done.output
    assert "\x07" not in done.output
    for part in (
        "  | \\x1b[2J\\x1b]0;owned\\x07[red]not a line\\xff\n  | second\n",
        "file: /var/log/\\x1b[31mauth.log",
        "key           \\x1b[7m",
    ):
        assert part in done.output
    assert night.run("dlq", "show", place, "--raw", str(tmp_path / "value")).exit_code == 0
    assert (tmp_path / "value").read_bytes() == EVIL
    assert night.run("dlq", "show", place, "--raw", str(tmp_path / "value")).exit_code == 2
    assert night.run("dlq", "show", "0:999").exit_code == 4


def test_nothing_is_sent_without_a_yes(night: Night) -> None:
    """No terminal, no --yes: a plan, exit 3."""
    done = night.run("dlq", "replay", "--all")
    assert done.exit_code == 3
    assert f"{GOOD + 2} records to send" in done.output
    assert "was cut from 1,000,000 bytes" in done.output
    assert night.listed()["resent"] == 0
    assert night.run("dlq", "replay", "--topic", "elsewhere").exit_code == 4
    assert night.run("dlq", "replay", "0:999", "--dry-run").exit_code == 4


def test_after_the_cure_everything_is_back_where_it_belongs(night: Night) -> None:
    """The lines become rows with their own times; what is still refused is a second attempt; a second replay sends nothing."""
    codes = [word for count in night.listed()["counts"] if count["code"] != "empty" for word in ("--code", count["code"])]
    night.file()
    done = night.run("dlq", "replay", *codes, "--yes")
    assert done.exit_code == 3  # the one that was cut stays
    assert f"{night.topic}  {GOOD + 1} records sent" in done.output
    night.work(night.caught_up)

    rows = night.database.query("SELECT toUnixTimestamp64Milli(kafka_time), host, count() FROM {db}.events GROUP BY ALL ORDER BY 1")
    assert rows == [(AT + number, "login-1", 1) for number in range(GOOD)]
    back = [each for each in night.listed("--unsent")["letters"] if each["attempts"] == 2]
    assert [each["preview"].startswith("\\x1b[2J") for each in back] == [True]
    assert back[0]["first_failed_at"] == AT
    every, left = night.listed(), night.listed("--unsent")
    assert every["resent"] == GOOD + 1
    assert (left["total"], left["resent"]) == (every["total"] - every["resent"], 0)

    done = night.run("dlq", "replay", *codes, "--partition", "1", "--yes", "--json")
    assert json.loads(done.stdout)["plan"]["sent_before"] == GOOD // 2
    assert json.loads(done.stdout)["sent"] is None
    assert night.run("verify", "--caught-up").exit_code == 0


def test_sent_again_on_purpose_it_is_said_what_that_does(night: Night) -> None:
    """Without --again nothing goes; with it one record does, and a warning comes first."""
    letter = next(each for each in night.listed("--limit", "1000")["letters"] if each["resent_for_sure"] and "sshd" in each["preview"])
    place = f"{letter['partition']}:{letter['offset']}"
    done = night.run("dlq", "replay", place, "--yes")
    assert (done.exit_code, " sent\n" in done.output) == (0, False)
    done = night.run("dlq", "replay", place, "--again", "--yes")
    assert (done.exit_code, f"{night.topic}  1 record sent\n" in done.output) == (0, True)
    assert "careful: 1 sent before: what goes again becomes a second row" in done.stderr


def own_headers(**said: str) -> list[tuple[str, bytes]]:
    """Those of a dead letter, as anybody may write them."""
    usual = {"stage": "ingest", "code": "empty", "partition": "0", "offset": "0", "timestamp": "0", "attempts": "1"}
    return [(f"x-dlq-{name}", value.encode()) for name, value in {**usual, **said}.items()]


def test_what_was_refused_three_times_is_parked(night: Night) -> None:
    """It stays, with a code for scripts, until somebody asks for parked ones; its time and its attempts go with it."""
    place = {"topic": night.topic, "partition": "1", "offset": "90000", "timestamp": str(AT)}
    producer: Any = KafkaProducer(bootstrap_servers=night.settings.kafka.bootstrap_servers)
    producer.send(f"{night.settings.kafka.topic_prefix}dead-letter.v1", b"again", headers=own_headers(**place, attempts="3"), partition=0)
    producer.close()
    words = ("dlq", "replay", "--offset", "90000", "--yes", "--json")
    done = night.run(*words)
    assert done.exit_code == 3
    report = json.loads(done.stdout)
    assert (report["sent"], [refused["code"] for refused in report["plan"]["refused"]]) == (None, ["parked"])
    done = night.run(*words, "--parked")
    assert (done.exit_code, json.loads(done.stdout)["sent"]["records"]) == (0, 1)
    night.work(night.caught_up)
    [back] = [each for each in night.listed("--unsent")["letters"] if each["attempts"] == 4]
    assert (back["timestamp"], back["preview"]) == (AT, "again")


def test_what_is_no_letter_of_ours_is_counted_and_never_sent(night: Night) -> None:
    """Anybody who may write to the topic can put there what they like: it names a topic, and is not believed."""
    topic = f"{night.settings.kafka.topic_prefix}dead-letter.v1"
    producer: Any = KafkaProducer(bootstrap_servers=night.settings.kafka.bootstrap_servers)
    producer.send(topic, b"stray", partition=0)
    producer.send(topic, b"{not json", headers=[(NOTE_HEADER, b"resent")], partition=0)
    producer.send(topic, b"x", headers=own_headers(topic="__consumer_offsets"), partition=0)
    producer.close()
    assert night.listed()["strangers"] == 1
    done = night.run("dlq", "replay", "--topic", "__consumer_offsets", "--yes")
    assert done.exit_code == 3
    assert "no topic of this site" in done.output


def test_letters_are_followed_as_they_are_set_aside(night: Night) -> None:
    """First the newest that lie there, then those that come and are chosen; Ctrl-C ends it with 0."""
    words = ("dlq", "list", "--code", "empty", "--follow", "--json", "--limit", "1")
    with following(night.folder / "trainwatch.yaml", *words) as follower:
        assert follower.stdout is not None
        assert json.loads(follower.stdout.readline())["code"] == "empty"
        producer: Any = KafkaProducer(bootstrap_servers=night.settings.kafka.bootstrap_servers)
        topic, place = f"{night.settings.kafka.topic_prefix}dead-letter.v1", {"topic": night.topic, "timestamp": str(AT)}
        for number, code in ((91_000, "decode_error"), (91_001, "empty")):
            producer.send(topic, b"it came", headers=own_headers(**place, offset=str(number), code=code), partition=1)
            producer.flush()
        producer.close()
        come = json.loads(follower.stdout.readline())
        assert (come["source_offset"], come["preview"]) == (91_001, "it came")
        follower.send_signal(signal.SIGINT)
        assert follower.wait(PATIENCE_SECONDS) == 0


def test_a_site_without_the_topic_is_an_error_with_advice(night: Night, tmp_path: Path) -> None:
    """Exit 2, and what to run first."""
    path = tmp_path / "trainwatch.yaml"
    path.write_text(yaml.safe_dump({"kafka": {**night.kafka, "topic_prefix": "nobody."}, "clickhouse": night.address}))
    done = CliRunner().invoke(main, ["--settings", str(path), "dlq", "list"])
    assert done.exit_code == 2
    assert "trainwatch topics create" in done.stderr
