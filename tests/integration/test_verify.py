"""`trainwatch verify` on real servers, after a real worker: what somebody has tampered with is named, and nothing else is."""

import io
import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from rich.console import Console

from pipeline.cli import main, meter
from pipeline.errors import ErrorCode
from pipeline.model.outcome import Record
from pipeline.runtime import dead_letters
from pipeline.runtime.dead_letter import dead_letter
from pipeline.runtime.dead_letters import Letters
from pipeline.settings import Settings
from tests.integration.following import following
from tests.integration.site import BASE_MS, Site, open_site
from tests.patience import PATIENCE_SECONDS

TRANSACTIONS = 6
pytestmark = pytest.mark.servers


@dataclass(frozen=True)
class Audited:
    """A site whose worker has done its work and left, and the command."""

    site: Site
    file: Path
    beside_a_worker: list[Result]  # what verify said while the worker was at it

    def verify(self, *words: str) -> Result:
        return run(self.file, *words)

    def wrong(self) -> dict[str, dict[str, Any]]:
        """The partitions with violations; exit code and report agree."""
        done = self.verify("--json")
        report = json.loads(done.stdout)
        found = {f"{each['topic']}/{each['partition']}": each for each in report["partitions"] if each["violations"]}
        assert (done.exit_code, report["ok"]) == ((1, False) if found else (0, True))
        return found


def run(file: Path, *words: str) -> Result:
    """The command."""
    return CliRunner().invoke(main, ["--settings", str(file), "verify", *words])


@pytest.fixture(scope="module")
def audited(running_servers: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    folder = tmp_path_factory.mktemp("audited")
    tag = f"v{folder.name[-1]}{time.time_ns() % 10**9}"
    kafka = running_servers.kafka.model_copy(update={"topic_prefix": f"{tag}.", "group": tag, "access_topics": (f"{tag}.logs",)})
    clickhouse = running_servers.clickhouse.model_copy(update={"database": tag})
    with open_site(running_servers.model_copy(update={"kafka": kafka, "clickhouse": clickhouse}), folder) as site:
        file = folder / "trainwatch.yaml"
        kept = site.settings.kafka.model_dump(mode="json") | {"training_topics": [site.topics[0]], "scheduler_topics": [site.topics[1]]}
        address = site.settings.clickhouse.model_dump(mode="json", include={"host", "port", "database"})
        file.write_text(yaml.safe_dump({"kafka": kept | {"access_topics": []}, "clickhouse": address}))
        worker = site.start()
        beside = []
        with site.feeding(per_second=400):
            site.until(lambda: "taken over" in site.log(), "the take-over")
            beside = [run(file, "--json") for _ in range(3)]
        send_with_holes(site)
        site.send(40)
        until_caught_up(file)
        assert site.stop(worker) == 0, site.log()
        yield Audited(site, file, beside)
        site.database.command(f"DROP DATABASE {tag} SYNC")


def send_with_holes(site: Site) -> None:
    """Transactions leave markers: offsets without records.  The broker writes the last one a moment after the commit is answered."""
    place = TopicPartition(site.topics[0], 0)
    reader: Any = KafkaConsumer(bootstrap_servers=site.settings.kafka.bootstrap_servers, enable_auto_commit=False)
    behind = reader.end_offsets([place])[place] + 2 * TRANSACTIONS
    producer: Any = KafkaProducer(bootstrap_servers=site.settings.kafka.bootstrap_servers, transactional_id=site.settings.kafka.group)
    producer.init_transactions()
    for number in range(TRANSACTIONS):
        producer.begin_transaction()
        producer.send(site.topics[0], value=f"c1,{9000 + number},{BASE_MS}".encode(), partition=0)
        producer.commit_transaction()
    producer.close()
    site.until(lambda: reader.end_offsets([place])[place] >= behind, "the last marker")
    reader.close()


def until_caught_up(file: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (done := run(file, "--caught-up")).exit_code != 0:
        assert time.monotonic() < deadline, done.output
        time.sleep(0.2)


@contextmanager
def tampered(site: Site, offset: int, topic: str, *, copies: int) -> Iterator[None]:
    """The rows of an offset of partition 0, so many times; afterwards they are as they were."""
    name, where = site.database.name, f"_topic = '{topic}' AND _partition = 0 AND _offset = {offset}"
    site.database.command(f"CREATE TABLE {name}.held ENGINE = Memory AS SELECT * FROM {name}.events WHERE {where}")  # noqa: S608  a name of this test's own
    columns = ", ".join(site.database.columns("held"))

    def store(times: int) -> None:
        site.database.command(f"DELETE FROM {name}.events WHERE {where}")  # noqa: S608  same
        for _ in range(times):
            site.database.command(
                f"INSERT INTO {name}.events ({columns}) SETTINGS insert_deduplicate = 0 SELECT {columns} FROM {name}.held"  # noqa: S608  same
            )

    try:
        store(copies)
        yield
    finally:
        store(1)
        site.database.command(f"DROP TABLE {name}.held SYNC")


def written(site: Site, topic: str, *, behind: str = "0") -> int:
    """An offset of partition 0 that has a row."""
    sql = f"SELECT min(_offset) FROM {{db}}.events WHERE _topic = %(topic)s AND _partition = 0 AND _offset > {behind}"  # noqa: S608  same
    return int(site.database.query(sql, {"topic": topic})[0][0])


def test_nothing_is_wrong_beside_a_running_worker(audited: Audited) -> None:
    """What is not committed yet is in flight; it took part in the race, or this shows nothing."""
    for done in audited.beside_a_worker:
        assert done.exit_code == 0, done.output
    partitions = [each for done in audited.beside_a_worker for each in json.loads(done.stdout)["partitions"]]
    assert any(each["pending"] or each["in_flight"] for each in partitions)
    assert any(each["dead_lettered"] for each in partitions)


def test_a_site_that_nobody_touched_is_right(audited: Audited) -> None:
    """All kinds of outcomes are there: rows, filtered, dead letters, and the holes that transactions leave."""
    done = audited.verify("--json", "--caught-up")
    assert done.exit_code == 0, done.output
    partitions = json.loads(done.stdout)["partitions"]
    kinds = ("written", "filtered", "dead_lettered", "holes")
    assert all(sum(each[kind] for each in partitions) > 0 for kind in kinds)
    assert sum(each["holes"] for each in partitions) >= 5


def test_a_deleted_row_is_named(audited: Audited, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody deletes one row from `events`.  A terminal is told meanwhile how far it is; not with --json."""
    topic = audited.site.topics[1]
    offset = written(audited.site, topic, behind="20")
    page = io.StringIO()
    monkeypatch.setattr(meter, "stderr", lambda: Console(file=page, width=160, force_terminal=True, color_system=None))
    with tampered(audited.site, offset, topic, copies=0):
        wrong = audited.wrong()
        assert not page.getvalue()
        done = audited.verify()
    assert "/s " in page.getvalue()
    assert "100%" in page.getvalue()
    assert list(wrong) == [f"{topic}/0"]
    assert wrong[f"{topic}/0"]["missing"] == [offset]
    assert done.exit_code == 1
    assert f"{topic}/0: without row: {offset}\n" in done.output
    assert audited.wrong() == {}


def test_since_leaves_out_what_was_noted_before(audited: Audited) -> None:
    """A row that was deleted long ago is somebody else's question; that it was not asked is said."""
    topic = audited.site.topics[1]
    offset = written(audited.site, topic, behind="20")
    with tampered(audited.site, offset, topic, copies=0):
        assert audited.verify("--since", "1h").exit_code == 1
        late = audited.verify("--since", "0s")
    assert late.exit_code == 0, late.output
    assert "not checked: what workers noted before --since" in late.stderr
    partitions = json.loads(audited.verify("--since", "0s", "--json").stdout)["partitions"]
    assert sum(each["read"] for each in partitions) == 0
    whole, hour = (json.loads(audited.verify(*words, "--json").stdout) for words in ((), ("--since", "1h")))
    assert whole == hour


def test_followed_it_says_when_something_becomes_wrong(audited: Audited) -> None:
    """One object a line; Ctrl-C ends it with the code of the last comparison."""
    topic = audited.site.topics[1]
    offset = written(audited.site, topic, behind="20")
    with following(audited.file, "verify", "--follow", "--json") as follower:
        assert follower.stdout is not None
        assert json.loads(follower.stdout.readline())["ok"]
        with tampered(audited.site, offset, topic, copies=0):
            assert any(not json.loads(follower.stdout.readline())["ok"] for _ in range(3))
        follower.send_signal(signal.SIGINT)
        said = follower.communicate(timeout=PATIENCE_SECONDS)[0].splitlines()
        assert follower.returncode == (0 if said and json.loads(said[-1])["ok"] else 1)


def test_a_deleted_row_among_holes_is_named_and_no_hole_is(audited: Audited) -> None:
    """Markers of transactions look just like lost rows to whoever only counts."""
    topic = audited.site.topics[0]
    gaps = "SELECT max(his) FROM {db}.sink_ranges ARRAY JOIN gap_his AS his WHERE topic = %(topic)s AND partition = 0"
    behind = int(audited.site.database.query(gaps, {"topic": topic})[0][0])
    offset = written(audited.site, topic, behind=str(behind - 3))
    with tampered(audited.site, offset, topic, copies=0):
        assert {name: each["missing"] for name, each in audited.wrong().items()} == {f"{topic}/0": [offset]}
    assert audited.wrong() == {}


def test_a_doubled_row_is_named(audited: Audited) -> None:
    """Somebody inserts one row a second time."""
    topic = audited.site.topics[1]
    offset = written(audited.site, topic, behind="30")
    with tampered(audited.site, offset, topic, copies=2):
        wrong = audited.wrong()
        assert {name: each["doubled"] for name, each in wrong.items()} == {f"{topic}/0": [[offset, 0]]}
        assert f"rows stored more than once: {offset}/0" in audited.verify().output
    assert audited.wrong() == {}


@pytest.mark.parametrize(
    ("column", "value"),
    [("_incarnation", "'another'"), ("_partition", "99"), ("_topic", "'logs.elsewhere'"), ("_offset", "1000000")],
    ids=["life", "partition", "topic", "offset"],
)
def test_a_copy_that_stands_elsewhere_is_named(audited: Audited, column: str, value: str) -> None:
    """Whoever asks `events` counts it: of a life of the topic that no range knows, of a place that Kafka has not, or behind its end."""
    site, topic = audited.site, audited.site.topics[1]
    offset, name = written(site, topic, behind="30"), site.database.name
    where = f"_topic = '{topic}' AND _partition = 0 AND _offset = {offset}"
    anew = f"{value} AS {column}, now() - toIntervalHour(1) AS _inserted, 'a copy' AS event_id"
    site.database.command(
        f"INSERT INTO {name}.events SELECT * REPLACE ({anew}) FROM (SELECT * FROM {name}.events WHERE {where})"  # noqa: S608  same
    )
    try:
        at = {"_topic": "logs.elsewhere/0", "_partition": f"{topic}/99"}.get(column, f"{topic}/0")
        extra = 1_000_000 if column == "_offset" else offset
        assert {name: each["extra"] for name, each in audited.wrong().items()} == {at: [extra]}
        assert f"{at}: rows outside of any range, at offsets {extra}" in audited.verify().output
        assert audited.verify("--since", "30m").exit_code == 0
    finally:
        site.database.command(f"DELETE FROM {name}.events WHERE event_id = 'a copy'")  # noqa: S608  same
    assert audited.wrong() == {}


def test_a_forgotten_range_is_named(audited: Audited) -> None:
    """Somebody deletes the note of a range; its rows are in no range then."""
    site, topic = audited.site, audited.site.topics[1]
    ranges = "SELECT lo, hi FROM {db}.sink_ranges WHERE topic = %(topic)s AND partition = 1 ORDER BY lo"
    held = site.database.query(ranges, {"topic": topic})
    lo, hi = held[len(held) // 2]
    name, where = site.database.name, f"topic = '{topic}' AND partition = 1 AND lo = {lo}"
    site.database.command(f"CREATE TABLE {name}.held ENGINE = Memory AS SELECT * FROM {name}.sink_ranges WHERE {where}")  # noqa: S608  same
    site.database.command(f"DELETE FROM {name}.sink_ranges WHERE {where}")  # noqa: S608  same
    found = audited.wrong()[f"{topic}/1"]
    site.database.command(f"INSERT INTO {name}.sink_ranges SETTINGS insert_deduplicate = 0 SELECT * FROM {name}.held")  # noqa: S608  same
    site.database.command(f"DROP TABLE {name}.held SYNC")
    assert f"offsets {lo} to {hi - 1} are in no range" in found["violations"]
    assert any("rows outside of any range" in said for said in found["violations"])
    assert audited.wrong() == {}


def test_letters_are_looked_for_from_when_their_range_was_noted(running_servers: Settings) -> None:
    """A million old letters are not read for a new one; one that a wrong clock stamped is found all the same."""
    kafka = running_servers.kafka.model_copy(update={"topic_prefix": f"old{time.time_ns() % 10**9}."})
    now, source = int(time.time() * 1000), ("logs.access", 0)
    topic = f"{kafka.topic_prefix}dead-letter.v1"
    admin: Any = KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    admin.create_topics([NewTopic(topic, 1, 1)])
    admin.close()
    producer: Any = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
    for offset in range(40):
        record = Record(topic=source[0], partition=source[1], offset=offset, timestamp=now, value=b"?")
        kept = dead_letter("ingest", record, ErrorCode.UNKNOWN_FORMAT, "no format")
        stamp = now if offset >= 30 else now - 2 * 86_400_000
        producer.send(topic, kept.value, headers=list(kept.headers), timestamp_ms=stamp, partition=0)
    producer.close()
    read: list[int] = []
    with Letters(kafka) as letters:
        for offset, records in (35, [10]), (5, [10, 30]), (99, [10, 30]):
            wanted = {source: frozenset({offset})}
            found = letters.sighted(wanted, now - 3_600_000, lambda _, total: read.append(total))
            assert found.seen == ({source: frozenset({offset})} if offset < 40 else {source: frozenset()})
            assert sorted(set(read)) == records
            read.clear()
        assert letters.sighted({source: frozenset({5})}).seen == {source: frozenset({5})}


def test_letters_may_be_taken_slowly(running_servers: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sends them back waits for the broker between two of them: that is no silence of the broker."""
    kafka = running_servers.kafka.model_copy(update={"topic_prefix": f"slow{time.time_ns() % 10**9}."})
    topic = f"{kafka.topic_prefix}dead-letter.v1"
    admin: Any = KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    admin.create_topics([NewTopic(topic, 1, 1)])
    admin.close()
    record = Record(topic="logs.access", partition=0, offset=1, timestamp=1, value=b"?")
    kept = dead_letter("ingest", record, ErrorCode.UNKNOWN_FORMAT, "no format")
    producer: Any = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
    for _ in range(3):
        producer.send(topic, kept.value, headers=list(kept.headers), partition=0)
    producer.close()
    clock = [0.0]
    monkeypatch.setattr(dead_letters, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    with Letters(kafka) as letters:
        places = []
        for letter in letters.at([(0, offset) for offset in range(3)]):
            places.append(letter.place)
            clock[0] += 3600
    assert places == [(0, offset) for offset in range(3)]


def test_a_letter_that_is_listed_no_more_is_named(audited: Audited) -> None:
    """Somebody takes it out of the note of its range: the record then looks as if it had never been there."""
    site = audited.site
    topics = {"topics": list(site.topics[:2])}
    listed = "SELECT topic, partition, lo, listed_offsets[1] FROM {db}.sink_ranges WHERE topic IN %(topics)s AND notEmpty(listed_offsets)"
    topic, partition, lo, offset = min(site.database.query(listed, topics))
    name, where = site.database.name, f"topic = '{topic}' AND partition = {partition} AND lo = {lo}"
    site.database.command(f"CREATE TABLE {name}.held ENGINE = Memory AS SELECT * FROM {name}.sink_ranges WHERE {where}")  # noqa: S608  a name of this test's own
    anew = "arrayPopFront(listed_offsets) AS listed_offsets, arrayPopFront(listed_codes) AS listed_codes"
    try:
        for what in (f"SELECT * REPLACE ({anew}) FROM {name}.held", f"SELECT * FROM {name}.held"):  # noqa: S608  same
            site.database.command(f"DELETE FROM {name}.sink_ranges WHERE {where}")  # noqa: S608  same
            site.database.command(f"INSERT INTO {name}.sink_ranges SETTINGS insert_deduplicate = 0 {what}")
            if "REPLACE" in what:
                assert {at: each["missing"] for at, each in audited.wrong().items()} == {f"{topic}/{partition}": [offset]}
                assert f"{topic}/{partition}: without row: {offset}" in audited.verify().output
    finally:
        site.database.command(f"DROP TABLE {name}.held SYNC")
    assert audited.wrong() == {}


def test_a_range_says_what_its_rows_add_up_to(audited: Audited) -> None:
    """So that of a record with several rows the one that is gone can be named (tests/unit/sink/test_verify.py)."""
    query = audited.site.database.query
    topics = {"topics": list(audited.site.topics[:2])}
    ranges = "SELECT DISTINCT topic, partition, lo, row_offset_sum FROM {db}.sink_ranges WHERE topic IN %(topics)s"
    noted = query(f"SELECT topic, sum(row_offset_sum) FROM ({ranges}) GROUP BY topic ORDER BY topic", topics)  # noqa: S608  same
    assert noted == query("SELECT _topic, sum(_offset) FROM {db}.events WHERE _topic IN %(topics)s GROUP BY 1 ORDER BY 1", topics)
    assert all(total for _, total in noted)


def test_a_removed_dead_letter_is_named(audited: Audited) -> None:
    """Somebody deletes the first letters from the dead-letter topic; had its retention done so, that would be no fault."""
    site = audited.site
    topic = f"{site.settings.kafka.topic_prefix}dead-letter.v1"
    gone = [letter for letter in site.read(topic) if letter.partition == 0][:2]
    admin: Any = KafkaAdminClient(bootstrap_servers=site.settings.kafka.bootstrap_servers)
    try:
        admin.delete_records({TopicPartition(topic, 0): gone[-1].offset + 1})
        sources: dict[str, list[int]] = {}
        for headers in (dict(letter.headers) for letter in gone):
            place = f"{headers['x-dlq-topic'].decode()}/{headers['x-dlq-partition'].decode()}"
            sources.setdefault(place, []).append(int(headers["x-dlq-offset"]))
        assert {name: each["without_letter"] for name, each in audited.wrong().items()} == sources
        output = audited.verify().output
        for place, offsets in sources.items():
            assert f"{place}: no dead letter, though listed as rejected, at offsets {', '.join(map(str, offsets))}\n" in output
        assert audited.verify("--no-letters").exit_code == 0

        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {"retention.ms": "60000"})])
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (done := audited.verify()).exit_code != 0:
            assert time.monotonic() < deadline, done.output
            time.sleep(0.2)
        assert "not checked: 2 dead letters" in done.stderr
    finally:
        admin.close()
