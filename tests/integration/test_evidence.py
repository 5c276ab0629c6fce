"""Evidence on the real servers: killed workers keep one chain; what is changed in ClickHouse is named; bundles stand alone."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cryptography
import msgspec
import pytest
import yaml
from click.testing import CliRunner, Result
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from rich.console import Console

from pipeline.cli import asking, main, meter
from pipeline.evidence import verify
from pipeline.evidence.chain import Range, Sealer
from pipeline.evidence.erasure import Erasure
from pipeline.evidence.signing import load_signer, make_key
from pipeline.model.finding import Evidence
from pipeline.model.outcome import EventRow
from pipeline.model.sealed import ChainHead
from pipeline.settings import EvidenceSettings, Settings
from pipeline.sink import erasure
from pipeline.sink.clickhouse import ClickHouseSink
from tests.integration import topics
from tests.integration.test_pipeline import Site
from tests.patience import PATIENCE_SECONDS
from tests.unit.evidence import build
from tests.unit.evidence.build import WIDTH
from tests.unit.sink.build import CHECKLIST, finding, record, rows_of

pytestmark = pytest.mark.servers

BASE_MS = 1_772_420_000_000
PARTITIONS = 2
BATCH = 200
SENT = 8 * BATCH
GONE = 10  # first records of each partition, deleted while a worker is dead who had sealed them
SSHD = "Mar  2 03:{minute:02d}:{second:02d} gpu-012 sshd[{pid}]: Accepted publickey for u017 from 10.0.0.9 port 5{pid} ssh2"


@dataclass
class Sealed:
    """A site whose workers were killed and came back, and have left."""

    site: Site
    file: Path
    witness: Path
    fingerprint: str
    finding: str
    cited: tuple[str, ...]
    offsets: tuple[int, int]  # of the cited records: one that is its line, one that wraps it
    killed: list[int]

    @property
    def topic(self) -> str:
        return self.site.settings.kafka.access_topics[0]

    @property
    def name(self) -> str:
        return self.site.database.name

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(main, ["--settings", str(self.file), "evidence", *words])

    def codes(self, *words: str) -> set[str]:
        """What `evidence verify` finds on the site."""
        done = self.run("verify", "--json", *words)
        report = json.loads(done.stdout)
        assert (done.exit_code, report["ok"]) == ((1, False) if report["problems"] else (0, True))
        return {problem["code"] for problem in report["problems"]}

    def notes(self, *words: str) -> list[str]:
        """What it says that is neither wrong nor proved."""
        return list(json.loads(self.run("verify", "--json", *words).stdout)["notes"])


def line_of(number: int) -> bytes:
    """Most are their own line; some wrap it, some hold nothing."""
    text = SSHD.format(minute=number // 60 % 60, second=number % 60, pid=4000 + number)
    if number % 10 == 3:
        return json.dumps({"message": text, "host": {"name": "gpu-012"}, "log": {"file": {"path": "/var/log/auth.log"}}}).encode()
    return b"  " if number % 50 == 7 else text.encode()


@pytest.fixture(scope="module")
def sealed(running_servers: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sealed]:
    folder = tmp_path_factory.mktemp("sealed")
    tag = f"e{time.time_ns() % 10**9}"
    names = {f"{family}_topics": (f"{tag}.logs.{family}",) for family in ("training", "scheduler", "access")}
    kafka = running_servers.kafka.model_copy(update={"topic_prefix": f"{tag}.", "group": tag, "partitions": PARTITIONS, **names})
    clickhouse = running_servers.clickhouse.model_copy(update={"database": tag})
    signer = make_key(folder / "evidence.key", round(time.time() * 1000))
    witness = folder / "heads.jsonl"
    evidence = EvidenceSettings(key_file=folder / "evidence.key", witness=f"file:{witness}", witness_seconds=0.2)
    checkpoint = running_servers.checkpoint.model_copy(update={"interval_seconds": 0.3})
    settings = running_servers.model_copy(update={"kafka": kafka, "clickhouse": clickhouse, "evidence": evidence, "checkpoint": checkpoint})
    site = Site(settings, folder)
    try:
        file = folder / "trainwatch.yaml"
        kept = {name: getattr(settings, name).model_dump(mode="json") for name in ("kafka", "clickhouse", "evidence")}
        kept["clickhouse"].pop("password")
        file.write_text(yaml.safe_dump(kept))
        killed, sent = [], 0
        with closing(KafkaProducer(bootstrap_servers=kafka.bootstrap_servers, linger_ms=5)) as producer:
            for step in ("fenced", "ranged", "published", "state"):
                sent = send(producer, kafka.access_topics[0], sent)
                killed.append(site.start(step=step).wait(PATIENCE_SECONDS))
                if step == "published":
                    forget(settings, noted(site))
            worker = site.start()
            for _ in range(4):
                sent = send(producer, kafka.access_topics[0], sent)
                site.until(partial(all_sealed, site, sent), "a range")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(PATIENCE_SECONDS) == 0
        yield with_finding(Sealed(site, file, witness, signer.fingerprint, "", (), (0, 0), killed))
    finally:
        site.database.command(f"DROP DATABASE IF EXISTS {tag} SYNC")
        site.close()


def send(producer: Any, topic: str, sent: int) -> int:
    """The next batch, over all partitions; answers with how many were sent in all."""
    for number in range(sent, sent + BATCH):
        producer.send(
            topic,
            line_of(number),
            key=b"k" if number % 2 else None,
            headers=[("source", b"sshd"), ("host", b"gpu-012")],
            partition=number % PARTITIONS,
            timestamp_ms=BASE_MS + number,
        )
    producer.flush()
    return sent + BATCH


def noted(site: Site) -> Sequence[int]:
    """Partitions whose first range is: a killed worker may not have come to all of them."""
    found = site.database.query("SELECT DISTINCT partition FROM {db}.sink_ranges WHERE topic LIKE '%.access' AND lo = 0 AND hi > 0")
    assert found, "no range was noted: the test shows nothing"
    return [partition for (partition,) in found]


def forget(settings: Settings, partitions: Iterable[int]) -> None:
    """Kafka deletes their first records, as retention does; they stand in a range that is noted, and may be to be read again."""
    admin: Any = KafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap_servers)
    with closing(admin):
        admin.delete_records({TopicPartition(settings.kafka.access_topics[0], part): GONE for part in partitions})


def all_sealed(site: Site, sent: int) -> bool:
    """Are all records in finished ranges?"""
    found = site.database.query("SELECT partition, max(hi) FROM {db}.sink_ranges WHERE topic LIKE '%.access' GROUP BY partition")
    return dict(found) == dict.fromkeys(range(PARTITIONS), sent // PARTITIONS)


def with_finding(sealed: Sealed) -> Sealed:
    """A finding that cites one plain and one wrapped record."""
    sealed.offsets = (20, 21)  # of partition 1: numbers 41 and 43
    cites = []
    for role, offset in zip(("cause", "effect"), sealed.offsets, strict=True):
        ((event_id, sha256),) = sealed.site.database.query(
            "SELECT event_id, sha256 FROM {db}.events WHERE _topic = %(topic)s AND _partition = 1 AND _offset = %(offset)s",
            {"topic": sealed.topic, "offset": offset},
        )
        cites.append(Evidence(role, event_id, sha256, "sshd", BASE_MS, role))
    ruled_out = msgspec.structs.replace(CHECKLIST[0], by=cites[0].event_id)
    body = finding(evidence=tuple(cites), checklist=(ruled_out, *CHECKLIST[1:]))
    with ClickHouseSink(sealed.site.settings.clickhouse) as sink:
        for table, rows in sink.tables(rows_of(record(body))).items():
            sink.insert(table, rows, f"{table}-{sealed.name}")
    sealed.finding, sealed.cited = str(body.id), tuple(cite.event_id for cite in cites)
    return sealed


@contextmanager
def changed(sealed: Sealed, table: str, where: str, *, drop: bool = False, copies: int = 1, **columns: str) -> Iterator[None]:
    """Rows of a table with other values, dropped, or added; afterwards as they were."""
    name, command = sealed.name, sealed.site.database.command
    where = where.replace("{topic}", sealed.topic)
    replaced = ", ".join(f"{expression} AS {column}" for column, expression in columns.items())
    select = f"* REPLACE ({replaced})" if replaced else "*"
    command(f"CREATE TABLE {name}.kept ENGINE = Memory AS SELECT * FROM {name}.{table}")  # noqa: S608  names of this test's own
    rows = f"(SELECT * FROM {name}.kept WHERE {where})"  # noqa: S608  same
    command(f"CREATE TABLE {name}.other ENGINE = Memory AS SELECT {select} FROM {rows}")  # noqa: S608  same
    assert sealed.site.database.query("SELECT count() FROM {db}.other")[0][0], f"nothing to change: {where}"
    names = ", ".join(sealed.site.database.columns("kept"))
    insert = f"INSERT INTO {name}.{table} ({names}) SETTINGS insert_deduplicate = 0 SELECT {names} FROM {name}"  # noqa: S608  same
    try:
        if copies == 1:
            command(f"DELETE FROM {name}.{table} WHERE {where}")  # noqa: S608  same
        if not drop:
            command(f"{insert}.other")
        yield
    finally:
        command(f"TRUNCATE TABLE {name}.{table} SYNC")
        command(f"{insert}.kept")
        command(f"DROP TABLE {name}.other SYNC")
        command(f"DROP TABLE {name}.kept SYNC")


# --- the chain ------------------------------------------------------------------------------------------------------------------------


def test_a_terminal_is_told_how_much_was_checked(sealed: Sealed, monkeypatch: pytest.MonkeyPatch) -> None:
    """And how fast, and how long it will still take: all records in the end."""
    page = io.StringIO()
    monkeypatch.setattr(meter, "stderr", lambda: Console(file=page, width=160, force_terminal=True, color_system=None))
    assert sealed.run("verify").exit_code == 0
    assert f"checking: {SENT:,} of {SENT:,} records" in page.getvalue()
    assert "/s " in page.getvalue()


def test_killed_workers_leave_one_chain(sealed: Sealed) -> None:
    """SIGKILL behind proof, range, publication and state, and records deleted behind one: every offset once under a root."""
    assert not any("EVIDENCE FORK" in log.read_text(errors="replace") for log in sealed.site.folder.glob("worker-*.log"))
    assert sealed.killed == [-signal.SIGKILL] * 4
    assert sum(map(len, sealed.site.batches())) > SENT, "nothing was folded twice: the test shows nothing"
    assert sealed.codes("--trust", sealed.fingerprint, "--witness", str(sealed.witness)) == set()
    found = sealed.site.database.query(
        "SELECT partition, lo, hi, any(records), uniqExact(head) FROM {db}.evidence_roots WHERE topic = %(topic)s "
        "GROUP BY partition, lo, hi ORDER BY partition, lo",
        {"topic": sealed.topic},
    )
    reached = dict.fromkeys(range(PARTITIONS), 0)
    for partition, lo, hi, records, heads in found:
        assert (lo, heads, records) == (reached[partition], 1, hi - lo)
        reached[partition] = hi
    assert reached == dict.fromkeys(range(PARTITIONS), SENT // PARTITIONS)


def test_the_topic_tells_the_same_heads(sealed: Sealed) -> None:
    """Consumers and the table see one history; what was published twice is the same head."""
    there = {head for (head,) in sealed.site.database.query("SELECT head FROM {db}.evidence_roots")}
    topic = f"{sealed.site.settings.kafka.topic_prefix}evidence.v1"
    published = [verify.head_of(json.loads(found.value)["statement"]) for found in topics.read(sealed.site.settings, topic)]
    assert set(published) == there
    assert len(published) >= len(there)


ROOT_OF = "topic = '{topic}' AND partition = 1 AND number = 2"
ROW_OF = "_topic = '{topic}' AND _partition = 1 AND _offset = 20"
FIRST_LEAF_GONE = "if(position(leaves, char(10)) > 0, substring(leaves, position(leaves, char(10)) + 1), '')"


@dataclass(frozen=True)
class Tamper:
    """What somebody does to a table, and the code under which it is found."""

    name: str
    code: str
    table: str
    where: str
    columns: dict[str, str]
    drop: bool = False
    copies: int = 1


def root(name: str, code: str, **columns: str) -> Tamper:
    """Of the second range of a partition."""
    return Tamper(name, code, "evidence_roots", ROOT_OF, columns)


def row(name: str, code: str, **columns: str) -> Tamper:
    """Of a stored line."""
    return Tamper(name, code, "events", ROW_OF, columns)


SITE_TAMPERING = [
    row("a line", "line_changed", raw="'nothing happened'"),
    row("a line and its sha256", "line_changed", raw="'nothing happened'", sha256="lower(hex(SHA256('nothing happened')))"),
    row("the sha256 of a line", "line_changed", sha256="'00'"),
    row("the event time of a line", "line_time_changed", ts="ts - 3600"),
    row("the time of a record", "time_changed", kafka_time="kafka_time - 3600"),
    row("an offset", "line_missing", _offset="21"),
    row("the number of a line", "line_added", _index="toUInt16(1)"),
    row("the incarnation of a line", "line_missing", _incarnation="'deadbeef'"),
    Tamper("a line dropped", "line_missing", "events", ROW_OF, {}, drop=True),
    Tamper("a line added", "line_added", "events", ROW_OF, {}, copies=2),
    root("a root", "head_wrong", root="repeat('0', 64)"),
    root("leaves", "leaves_changed", leaves="replaceOne(leaves, 'Z3B1LTAxMg==', 'Z3B1LTAxMw==')"),
    root("a leaf dropped", "count_changed", leaves=FIRST_LEAF_GONE),
    root("leaves in another order", "leaves_changed", leaves="arrayStringConcat(arrayReverse(splitByChar(char(10), leaves)), char(10))"),
    root("a count", "head_wrong", records="records - 1"),
    root("a bound", "range_gap", lo="lo + 1"),
    root("a head", "head_wrong", head="repeat('0', 64)"),
    root("a previous head", "chain_broken", previous="repeat('0', 64)"),
    root("a number", "chain_missing", number="number + 1000"),
    root("a signature", "signature_wrong", signature="repeat('0', 128)"),
    root("the time of sealing", "signature_wrong", sealed_time="sealed_time + 5"),
    root("the key", "key_unknown", signing_key="'0123456789abcdef'"),
    root("the settings", "signature_wrong", settings_digest="'0123456789abcdef'"),
    root("the incarnation of a range", "chain_missing", incarnation="'deadbeef'"),
    Tamper("a range dropped", "chain_missing", "evidence_roots", ROOT_OF, {}, drop=True),
]


@pytest.mark.parametrize("tamper", SITE_TAMPERING, ids=lambda tamper: tamper.name)
def test_what_is_changed_in_clickhouse_is_named(sealed: Sealed, tamper: Tamper) -> None:
    """By its code; and nothing is wrong any more when it is put back."""
    with changed(sealed, tamper.table, tamper.where, drop=tamper.drop, copies=tamper.copies, **tamper.columns):
        assert tamper.code in sealed.codes()
    assert sealed.codes() == set()


def test_an_old_range_excuses_nothing_in_the_others(sealed: Sealed) -> None:
    """Retention takes rows of old ranges; what was sealed since is missed, whenever the tables say that it was stored."""
    command, name = sealed.site.database.command, sealed.name
    old = f"INSERT INTO {name}.evidence_roots SELECT * REPLACE (now() - toIntervalDay(360) AS _inserted) FROM {name}.evidence_roots WHERE "  # noqa: S608  names of this test's own
    with changed(sealed, "events", ROW_OF, drop=True):
        command(old + ROOT_OF.replace("{topic}", sealed.topic))
        assert sealed.codes() == {"line_missing"}
        command(f"DELETE FROM {name}.evidence_roots WHERE _inserted < now() - toIntervalDay(300)")  # noqa: S608  same
    with changed(sealed, "evidence_roots", ROOT_OF.replace("= 2", "= 1"), drop=True):
        command(old + ROOT_OF.replace("{topic}", sealed.topic))
        assert sealed.codes() == {"chain_missing"}
    assert sealed.codes() == set()


def test_a_number_that_no_chain_reaches_ends_no_check(sealed: Sealed) -> None:
    """Whoever may write rows must not keep anybody from an answer."""
    with changed(sealed, "evidence_roots", ROOT_OF, copies=2, number="18446744073709551615"):
        assert "chain_missing" in sealed.codes()


@pytest.mark.parametrize(
    ("place", "at"),
    [("900000 AS _offset", "/1@900000"), ("900000 AS _offset, now() + toIntervalDay(9) AS _inserted", "/1@900000"),
     ("7 AS _partition", "/7@20"), ("'deadbeef' AS _incarnation, 'n' AS event_id", "/1@20")],
    ids=["behind the last range", "stored in the future", "of a partition without a range", "of another life of the topic"],
)  # fmt: skip
def test_a_row_outside_of_all_ranges_is_named(sealed: Sealed, place: str, at: str) -> None:
    """By its offset, where it is older than what a worker may have under way."""
    command, name, where = sealed.site.database.command, sealed.name, ROW_OF.replace("{topic}", sealed.topic)
    stored = place if "_inserted" in place else f"{place}, now() - toIntervalHour(1) AS _inserted"
    command(
        f"INSERT INTO {name}.events SELECT * REPLACE ({stored}, 'added' AS file) "  # noqa: S608  names of this test's own
        f"FROM (SELECT * FROM {name}.events WHERE {where})"
    )
    problems = json.loads(sealed.run("verify", "--json").stdout)["problems"]
    command(f"DELETE FROM {name}.events WHERE file = 'added'")  # noqa: S608  same
    assert [(each["code"], each["where"]) for each in problems] == [("line_added", f"{sealed.topic}{at}")]
    assert sealed.codes() == set()


def test_a_row_under_no_root_may_have_been_overtaken(sealed: Sealed) -> None:
    """It is told all the same, with what its range says: whoever may write rows may write that, too."""
    command, name = sealed.site.database.command, sealed.name
    where = ROOT_OF.replace("{topic}", sealed.topic)
    with changed(sealed, "evidence_roots", ROOT_OF, leaves=FIRST_LEAF_GONE):
        command(
            f"INSERT INTO {name}.sink_ranges (topic, incarnation, partition, lo, hi, token, gap_los, gap_his, gap_codes) "  # noqa: S608  names of this test's own
            "SELECT topic, incarnation, partition, lo, lo + 1, 'gap', [lo], [lo + 1], ['overtaken'] "
            f"FROM {name}.evidence_roots WHERE {where}"
        )
        problems = json.loads(sealed.run("verify", "--json").stdout)["problems"]
        command(f"DELETE FROM {name}.sink_ranges WHERE token = 'gap'")  # noqa: S608  same
    added = [problem["text"] for problem in problems if problem["code"] == "line_added"]
    assert "Kafka deleted it before it was sealed, which nobody signed" in added[0]
    assert not any("Kafka" in text for text in added[1:])
    assert sealed.codes() == set()


def test_a_chain_that_an_earlier_release_began_is_checked_to_its_end(sealed: Sealed) -> None:
    """A leaf for each record, then leaves of many: both hold, and a line of either is named by its offset."""
    signer, last, now = load_signer(sealed.site.folder / "evidence.key"), ChainHead(), round(time.time() * 1000)
    made = []
    for number, form in enumerate((1, 1, verify.FORM)):
        made.append(build.sealed_range(number * WIDTH, (number + 1) * WIDTH, last, signer=signer, time=now, form=form))
        last = made[-1].chain_head
    lines = [row for offset in range(3 * WIDTH) for row in build.rows(build.record(offset))]
    where = f"_topic = '{build.TOPIC}' AND _incarnation = '{build.LIFE}'"
    with ClickHouseSink(sealed.site.settings.clickhouse) as sink:
        sink.insert("events", lines, "two-forms", build.LIFE)
        sink.write_roots(made)
    try:
        assert sealed.codes() == set()
        for offset in (WIDTH + 5, 2 * WIDTH + 20):
            with changed(sealed, "events", f"{where} AND _offset = {offset}", raw="'nothing happened'"):
                problems = json.loads(sealed.run("verify", "--json").stdout)["problems"]
            assert {(each["code"], each["where"]) for each in problems} == {("line_changed", f"{build.TOPIC}/{build.PARTITION}@{offset}")}
    finally:
        sealed.site.database.command(f"DELETE FROM {sealed.name}.events WHERE {where}")  # noqa: S608  names of this test's own
        sealed.site.database.command(f"DELETE FROM {sealed.name}.evidence_roots WHERE incarnation = '{build.LIFE}'")  # noqa: S608  same


def test_the_newest_range_is_missed_too(sealed: Sealed) -> None:
    """By the finished range that has no root; and by the witness, when that is gone as well."""
    newest = (
        "topic = '{topic}' AND partition = 1 AND lo = (SELECT max(lo) FROM %s.evidence_roots WHERE topic = '{topic}' AND partition = 1)"
    )
    with changed(sealed, "evidence_roots", newest % sealed.name, drop=True):
        assert "root_missing" in sealed.codes()
        last = sealed.site.database.query("SELECT max(lo) FROM {db}.other")[0][0]
        gone = f"partition = 1 AND lo = {last} AND topic = '{sealed.topic}'"
        sealed.site.database.command(f"DELETE FROM {sealed.name}.sink_ranges WHERE {gone}")  # noqa: S608  names of this test's own
        assert "root_missing" not in sealed.codes()
        assert "witness_unknown" in sealed.codes("--witness", str(sealed.witness))


def test_a_chain_that_is_gone_as_a_whole_is_missed_by_the_witness(sealed: Sealed, tmp_path: Path) -> None:
    """No other root follows it; and a line that is none is told, and ends nothing."""
    kept = tmp_path / "heads.jsonl"
    kept.write_bytes(sealed.witness.read_bytes() + b'{"statement": {"topic": "%s", "partition": 1}}\n' % sealed.topic.encode())
    with changed(sealed, "evidence_roots", "topic = '{topic}' AND partition = 1", drop=True):
        assert sealed.codes("--witness", str(kept)) == {"witness_unknown", "bundle_unreadable"}


def test_ranges_without_a_chain_are_told_without_a_witness(sealed: Sealed) -> None:
    """Where others were sealed a day before they are missed; else they may be older than the key, and what tells is said."""
    command, name = sealed.site.database.command, sealed.name
    with changed(sealed, "evidence_roots", "topic = '{topic}' AND partition = 1", drop=True):
        assert f"of 1 partition without a root ({sealed.topic}/1)" in sealed.notes()[0]
        assert len(sealed.notes("--witness", str(sealed.witness))) == 1
        later = "* REPLACE (100000 AS lo, 100001 AS hi, now() + toIntervalDay(2) AS _inserted)"
        command(f"INSERT INTO {name}.sink_ranges SELECT {later} FROM {name}.sink_ranges WHERE partition = 1 LIMIT 1")  # noqa: S608  names of this test's own
        assert sealed.codes() == {"chain_missing"}
        command(f"DELETE FROM {name}.sink_ranges WHERE lo = 100000")  # noqa: S608  same
        command(f"TRUNCATE TABLE {name}.evidence_roots SYNC")
        assert "of 2 partitions without a root" in sealed.notes()[0]
    assert ["--witness" in note for note in sealed.notes()] == [True]
    assert sealed.notes("--witness", str(sealed.witness)) == []


# --- bundles --------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bundle(sealed: Sealed) -> Path:
    path = sealed.site.folder / "case.zip"
    done = sealed.run("export", sealed.finding, "-o", str(path))
    assert done.exit_code == 0, done.output
    return path


def test_a_bundle_holds_what_the_finding_cites_and_is_right(sealed: Sealed, bundle: Path) -> None:
    """Whole records: one from its line in ClickHouse, one that wraps its line from Kafka."""
    files = verify.read_bundle(bundle)
    verdict = verify.verify_bundle(files, trust=sealed.fingerprint, witness=verify.lines_of(sealed.witness.read_bytes()))
    assert verdict.problems == []
    assert verdict.notes == []
    records = verify.lines_of(files[verify.RECORDS])
    assert {each["offset"]: each["value_from"] for each in records} == dict(zip(sealed.offsets, ("events", "kafka"), strict=True))
    assert {line["event_id"] for each in records for line in each["lines"]} == set(sealed.cited)


def test_a_bundle_is_checked_where_nothing_of_ours_is(bundle: Path, tmp_path: Path) -> None:
    """An interpreter that finds the standard library and `cryptography` alone, in another folder."""
    packages = tmp_path / "packages"
    packages.mkdir()
    site_packages = Path(cryptography.__file__).parents[1]
    for name in ("cryptography", "cffi", *(path.name for path in site_packages.glob("_cffi_backend*"))):
        (packages / name).symlink_to(site_packages / name)
    (tmp_path / "verify.py").write_bytes(Path(verify.__file__).read_bytes())
    program = (
        f"import sys, runpy; sys.path.insert(0, {str(packages)!r}); sys.argv = ['verify.py', {str(bundle)!r}]; "
        f"runpy.run_path({str(tmp_path / 'verify.py')!r}, run_name='__main__')"
    )
    command = [sys.executable, "-I", "-S", "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={"PATH": os.defpath}, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("OK: 2 records")


def test_the_command_checks_a_bundle_without_settings(bundle: Path) -> None:
    """On a machine that has neither file nor servers; a broken one is named."""
    done = CliRunner().invoke(main, ["evidence", "verify", str(bundle)])
    assert done.exit_code == 0, done.output
    broken = bundle.with_name("broken.zip")
    broken.write_bytes(bundle.read_bytes()[:-300])
    done = CliRunner().invoke(main, ["evidence", "verify", str(broken)])
    assert (done.exit_code, "bundle_unreadable" in done.output) == (1, True)


def test_what_is_held_outlives_its_rows(sealed: Sealed) -> None:
    """Rows and roots gone, and Kafka not asked: the bundle is whole all the same; released, it is not."""
    done = sealed.run("hold", "no-such-id", sealed.finding[:12])
    assert (done.exit_code, "no-such-id is no finding" in done.stderr) == (4, True)  # and the others are held
    assert sealed.finding in sealed.run("hold").output
    assert [json.loads(line)["rows"] for line in sealed.run("hold", "--json").stdout.splitlines()] == [2]
    path = sealed.site.folder / "held.zip"
    rows = "_topic = '{topic}' AND _partition = 1 AND _offset IN (20, 21)"
    with changed(sealed, "events", rows, drop=True):
        done = sealed.run("export", sealed.finding, "--no-kafka", "-o", str(path))
        assert done.exit_code == 0, done.output
        files = verify.read_bundle(path)
        assert verify.verify_bundle(files).problems == []
        assert [each["value_from"] for each in verify.lines_of(files[verify.RECORDS])] == ["events", "hold"]
        assert sealed.run("release", sealed.finding).exit_code == 0
        gone = sealed.run("export", sealed.finding, "--no-kafka", "-o", str(sealed.site.folder / "gone.zip"))
        assert "not in ClickHouse any more" in gone.output
    assert sealed.run("release", sealed.finding).exit_code == 4


@pytest.fixture(scope="module")
def matters(sealed: Sealed) -> Sealed:
    """The same with an open incident, which counts a finding that it does not list, and a closed one.  The finding rules something out by
    one record, the loss of the incident rests on another, and by a third a checkpoint is traced forward."""
    command, name = sealed.site.database.command, sealed.name
    lines = [
        {"ledger": "direct", "evidence": [event_at(sealed, 52), event_at(sealed, 50)]},
        {"ledger": "indirect", "evidence": ["ticket-1"]},
    ]
    said = json.dumps({"loss": {"lines": lines}, "derived": [{"event_id": event_at(sealed, 56)}, {"event_id": ""}]})
    rows = ", ".join(
        f"('{each}', 'final', 1, 'big', '2026-03-02', '2026-03-03', {count}, '{body}')"
        for each, count, body in (("i-open", 2, said), ("i-closed", 1, "{}"))
    )
    columns = "incident_id, status, _version, cluster, first_time, last_time, findings, canonical"
    command(f"INSERT INTO {name}.incidents ({columns}) VALUES {rows}")  # noqa: S608  names of this test's own
    body = json.dumps(
        {"id": "f-unlisted", "checklist": [{"name": "preempted", "by": event_at(sealed, 54)}, {"name": "time_limit", "by": ""}]}
    )
    unlisted = f"'f-unlisted', '{body}', 'big', '2026-03-02 12:00:00', 'final', 1"
    command(f"INSERT INTO {name}.findings (finding_id, canonical, cluster, effect_time, status, _version) VALUES ({unlisted})")  # noqa: S608  same
    cites = f"SELECT 'f-unlisted', 'cause', event_id, sha256, 1 FROM {name}.events WHERE event_id = '{event_at(sealed, 50)}'"  # noqa: S608  same
    command(f"INSERT INTO {name}.finding_evidence (finding_id, role, event_id, sha256, _version) {cites}")
    rows = ", ".join(f"('{incident}', 0, '{sealed.finding}', 1)" for incident in ("i-open", "i-closed"))
    command(f"INSERT INTO {name}.incident_findings (incident_id, position, finding_id, _version) VALUES {rows}")  # noqa: S608  same
    command(f"INSERT INTO {name}.incident_journal (incident_id, action, value) VALUES ('i-closed', 'status', 'closed')")  # noqa: S608  same
    return sealed


def test_an_incident_is_held_while_it_is_open(matters: Sealed, tmp_path: Path) -> None:
    """By its own id, with all its findings, those too that it counts and does not list, what they ruled out, its loss, and what is traced
    forward; a closed one is left alone."""
    sealed = matters
    assert sealed.run("hold", "--open").output.startswith("i-open: 6 records held")
    held = sealed.run("hold").output
    assert "i-open: 6 rows" in held
    assert sealed.run("export", "i-open", "--no-report", "-o", str(tmp_path / "open")).exit_code == 0
    files = verify.read_bundle(tmp_path / "open")
    assert verify.verify_bundle(files).ok
    roles = {each["event_id"]: (each["finding_id"], each["role"]) for each in json.loads(files[verify.REPORT])["evidence"]}
    assert roles[event_at(sealed, 52)] == ("i-open", "loss")
    assert roles[event_at(sealed, 56)] == ("i-open", "saved after something suspect was loaded")
    assert roles[event_at(sealed, 54)] == ("f-unlisted", "explanation preempted")
    assert roles[event_at(sealed, 50)] == ("f-unlisted", "cause")
    assert "i-closed" not in held
    assert sealed.run("export", "i-closed", "--no-report", "-o", str(tmp_path / "case")).exit_code == 0
    assert verify.verify_bundle(verify.read_bundle(tmp_path / "case")).ok


def test_custody_of_an_incident_is_that_of_its_findings(matters: Sealed, tmp_path: Path) -> None:
    """The same records leave the house under either id."""
    one, other = (tmp_path / name for name in ("finding", "incident"))
    assert matters.run("export", matters.finding, "-o", str(one)).exit_code == 0
    assert matters.run("export", "i-closed", "--no-report", "-o", str(other)).exit_code == 0
    assert f"to {one.name}" in verify.read_bundle(other)[verify.CUSTODY].decode()
    assert f"to {other.name}" in matters.run("log", matters.finding, "--json").output


def test_a_hold_does_not_lean_on_another(sealed: Sealed, tmp_path: Path) -> None:
    """What is a neighbour in one hold is proved by another; and what was held first may be let go of first, though retention was there."""
    command, name, same = sealed.site.database.command, sealed.name, sealed.offsets[0]
    for known, offset in (("f-same", same), ("f-late", 700)):
        command(f"INSERT INTO {name}.findings (finding_id, canonical, status, _version) VALUES ('{known}', '{{}}', 'final', 1)")  # noqa: S608  names of this test's own
        cites = f"SELECT '{known}', 'cause', event_id, sha256, 1 FROM {name}.events WHERE event_id = '{event_at(sealed, offset)}'"  # noqa: S608  same
        command(f"INSERT INTO {name}.finding_evidence (finding_id, role, event_id, sha256, _version) {cites}")
    assert sealed.run("hold", "f-late", sealed.finding).exit_code == 0
    with changed(sealed, "events", "_topic = '{topic}' AND _partition = 1", drop=True):
        command(f"CREATE TABLE {name}.roots ENGINE = Memory AS SELECT * FROM {name}.evidence_roots")  # noqa: S608  same
        command(f"TRUNCATE TABLE {name}.evidence_roots SYNC")
        assert sealed.run("hold", "f-same").exit_code == 0
        assert sealed.run("release", sealed.finding).exit_code == 0
        found = {each: sealed.run("export", each, "--no-kafka", "-o", str(tmp_path / each)) for each in ("f-late", "f-same")}
        names = ", ".join(sealed.site.database.columns("roots"))
        command(f"INSERT INTO {name}.evidence_roots ({names}) SETTINGS insert_deduplicate = 0 SELECT {names} FROM {name}.roots")  # noqa: S608  same
        command(f"DROP TABLE {name}.roots SYNC")
    for each, done in found.items():
        assert "1 record, 1 of them whole" in done.output, (each, done.output)
        assert verify.verify_bundle(verify.read_bundle(tmp_path / each)).ok
    assert [sealed.run("release", each).exit_code for each in found] == [0, 0]
    for table in ("findings", "finding_evidence"):
        command(f"DELETE FROM {name}.{table} WHERE finding_id IN ('f-same', 'f-late')")  # noqa: S608  same


def test_a_hold_ends_with_its_incident(sealed: Sealed) -> None:
    """Some weeks after it was closed, with the reason in the chain of custody; not what is open again, nor what somebody held by name."""
    command, name = sealed.site.database.command, sealed.name
    ids = ("i-ended", "i-again", "i-merged", "i-named", "i-home", "i-reopened")
    into = {"i-merged": "i-ended", "i-reopened": "i-home"}
    rows = ", ".join(f"('{each}', 'final', 1, '{into.get(each, '')}', 1)" for each in ids)
    command(f"INSERT INTO {name}.incidents (incident_id, status, _version, merged_into, findings) VALUES {rows}")  # noqa: S608  names of this test's own
    rows = ", ".join(f"('{incident}', 0, '{sealed.finding}', 1)" for incident in ids)
    command(f"INSERT INTO {name}.incident_findings (incident_id, position, finding_id, _version) VALUES {rows}")  # noqa: S608  same
    assert sealed.run("hold", "--open").exit_code == sealed.run("hold", "i-named").exit_code == 0
    said = ", ".join(
        f"('{each}', 'status', '{state}', 'op2', 'charges dropped', now64(3) - INTERVAL {days} DAY)"
        for each, state, days in (
            *(("i-ended", "closed", 31), ("i-named", "closed", 31), ("i-again", "closed", 40), ("i-again", "open", 35)),
            *(("i-home", "closed", 40), ("i-reopened", "open", 35)),  # under another id
        )
    )
    command(f"INSERT INTO {name}.incident_journal (incident_id, action, value, operator, text, at) VALUES {said}")  # noqa: S608  same

    def held() -> set[str]:
        return {json.loads(line)["subject"] for line in sealed.run("hold", "--json").stdout.splitlines()}.intersection(ids)

    assert held() == set(ids)
    assert "nothing is held" in sealed.run("release", "--closed", "--days", "32").output
    assert sealed.run("release", "--closed").exit_code == 0
    assert held() == {"i-again", "i-named", "i-home", "i-reopened"}
    entries = [json.loads(line) for line in sealed.run("log", "--json").stdout.splitlines()]
    released = {entry["subject"]: entry["detail"] for entry in entries if entry["action"] == "released" and entry["subject"] in ids}
    assert released.keys() == {"i-ended", "i-merged"}
    assert all("i-ended was closed on 20" in why and "by op2: charges dropped" in why for why in released.values())
    assert sealed.run("release", "i-named", "--reason", "nobody asked").exit_code == 0
    assert "nobody asked" in sealed.run("log", "i-named").output
    assert [sealed.run("release", *words).exit_code for words in ((), ("i-named", "--closed"))] == [2, 2]
    for table in ("incidents", "incident_findings", "incident_journal"):
        command(f"DELETE FROM {name}.{table} WHERE incident_id IN {ids}")  # noqa: S608  same


REPEATED = "48213-running"
ROWS = (5, 6, 7)  # offsets of the same job's row of three exports, each with another elapsed time; the last two are cited
AT = f"_topic = '{build.TOPIC}' AND _incarnation = '{build.LIFE}' AND _offset = "


def repeated_row(offset: int) -> EventRow:
    raw = f"48213|train|u017|RUNNING|2026-03-02T01:00:00|Unknown|0{offset}:00:00"
    (row,) = build.rows(build.record(offset))
    sha256 = hashlib.sha256(raw.encode()).hexdigest()
    return msgspec.structs.replace(row, event_id=REPEATED, source="sacct", host="", raw=raw, sha256=sha256)


@pytest.fixture
def repeated(sealed: Sealed) -> Iterator[str]:
    """A finding that cites two of three lines of one event, as `sacct` repeats a job that runs."""
    command, name, signer = sealed.site.database.command, sealed.name, load_signer(sealed.site.folder / "evidence.key")
    lines = [repeated_row(offset) for offset in ROWS]
    records = [msgspec.structs.replace(build.record(row.offset), value=row.raw.encode()) for row in lines]
    where = Range(build.TOPIC, build.PARTITION, build.LIFE, ROWS[0], ROWS[-1] + 1)
    root = Sealer(signer, Settings()).seal(where, records, lines, ChainHead(), round(time.time() * 1000))
    cites = tuple(Evidence("cause", row.event_id, row.sha256, "sacct", row.event_time, f"export {row.offset}") for row in lines[1:])
    body, token = finding(evidence=cites, anchor="repeated", checklist=()), f"repeated-{time.time_ns()}"
    with ClickHouseSink(sealed.site.settings.clickhouse) as sink:
        sink.insert("events", lines, token, build.LIFE)
        sink.write_roots([root])
        for table, rows in sink.tables(rows_of(record(body))).items():
            sink.insert(table, rows, f"{table}-{token}")
    yield str(body.id)
    command(f"DELETE FROM {name}.events WHERE _incarnation = '{build.LIFE}'")  # noqa: S608  names of this test's own
    command(f"DELETE FROM {name}.evidence_roots WHERE incarnation = '{build.LIFE}'")  # noqa: S608  same
    for table in ("findings", "finding_evidence"):
        command(f"DELETE FROM {name}.{table} WHERE finding_id = '{body.id}'")  # noqa: S608  same


def exported(sealed: Sealed, subject: str, path: Path) -> tuple[list[int], verify.Verdict]:
    """Offsets of what is in the bundle, and what its check says."""
    done = sealed.run("export", subject, "--no-kafka", "-o", str(path))
    assert done.exit_code == 0, done.output
    files = verify.read_bundle(path)
    return [each["offset"] for each in verify.lines_of(files[verify.RECORDS])], verify.verify_bundle(files, trust=sealed.fingerprint)


def test_each_line_of_an_event_that_is_cited_is_exported_and_held(sealed: Sealed, repeated: str, tmp_path: Path) -> None:
    """Not the first of that id in place of it; and what is on hold proves it when retention has taken the rows."""
    offsets, verdict = exported(sealed, repeated, tmp_path / "case")
    assert (offsets, verdict.problems) == ([*ROWS[1:]], [])
    assert sealed.codes() == set()
    told = [(row["summary"], row["raw"]) for row in asking.evidence(sealed.site.database, [repeated])]
    assert told == [(f"export {offset}", repeated_row(offset).raw) for offset in ROWS[1:]]
    assert sealed.run("hold", repeated).output == f"{repeated}: 2 records held, 0 events unavailable\n"
    assert f"{repeated}: 2 rows" in sealed.run("hold").output
    with changed(sealed, "events", AT + "_offset", drop=True):
        offsets, verdict = exported(sealed, repeated, tmp_path / "held")
        assert (offsets, verdict.problems) == ([*ROWS[1:]], [])
    assert sealed.run("release", repeated).exit_code == 0


def test_one_line_of_an_event_is_missed_although_others_are_there(sealed: Sealed, repeated: str, tmp_path: Path) -> None:
    """Altered, exchanged for the other, dropped, or cited as one that never was."""
    one, other = (repeated_row(offset) for offset in ROWS[1:])
    where = f"{build.TOPIC}/{build.PARTITION}@{ROWS[1]}"
    for name, raw in (("altered", "nothing happened"), ("exchanged", other.raw)):
        with changed(sealed, "events", AT + str(ROWS[1]), raw=f"'{raw}'"):
            assert sealed.codes() == {"line_changed"}
            offsets, verdict = exported(sealed, repeated, tmp_path / name)
        missed = [problem for problem in verdict.problems if problem.where == where or one.sha256 in problem.text]
        assert (offsets, missed) == ([*ROWS[1:]], verdict.problems)
        assert {"line_changed", "evidence_changed" if name == "altered" else "evidence_missing"} == {problem.code for problem in missed}
    with changed(sealed, "events", AT + str(ROWS[1]), drop=True):
        assert sealed.codes() == {"line_missing"}
        offsets, verdict = exported(sealed, repeated, tmp_path / "dropped")
    assert (offsets, verdict.problems) == ([ROWS[2]], [])
    assert any(f"sha256 {one.sha256}, is cited and not in the bundle" in note for note in verdict.notes)
    with changed(sealed, "finding_evidence", f"finding_id = '{repeated}' AND position = 0", sha256="repeat('0', 64)"):
        offsets, verdict = exported(sealed, repeated, tmp_path / "cited")
    assert ([problem.code for problem in verdict.problems], "0" * 64 in verdict.problems[0].text) == (["evidence_changed"], True)


def test_one_line_of_an_event_is_erased(sealed: Sealed, repeated: str, tmp_path: Path) -> None:
    """It is told with the word of the site, and the other is proved."""
    gone = repeated_row(ROWS[1])
    said = Erasure(
        time=round(time.time() * 1000), account="u900@ops", reason="request 18", topic=build.TOPIC, incarnation=build.LIFE,
        partition=build.PARTITION, offset=gone.offset, line=gone.index, event_id=gone.event_id, sha256=gone.sha256,
    ).signed(load_signer(sealed.site.folder / "evidence.key"))  # fmt: skip
    with changed(sealed, "events", AT + str(gone.offset), raw="''"):
        sealed.site.database.insert("erasures", {name: [value] for name, value in msgspec.structs.asdict(said).items()}, async_insert=0)
        offsets, verdict = exported(sealed, repeated, tmp_path / "erased")
        sealed.site.database.command(f"DELETE FROM {sealed.name}.erasures WHERE reason = 'request 18'")  # noqa: S608  names of this test's own
    (told,) = json.loads(verify.read_bundle(tmp_path / "erased")[verify.REPORT])["unavailable"]
    assert (offsets, verdict.problems) == ([ROWS[2]], [])
    assert (told["sha256"], told["why"], told["erasure"]["sha256"]) == (gone.sha256, "it was erased: request 18", gone.sha256)


def test_who_looked_is_on_record(sealed: Sealed, bundle: Path) -> None:
    """Export, check, listing: each with account and time; the bundle carries the log."""
    sealed.run("heads")
    entries = [json.loads(line) for line in sealed.run("log", "--json").output.splitlines()]
    assert {"exporting", "exported", "verified", "listed"} <= {entry["action"] for entry in entries}
    assert all(entry["account"] and entry["time"] for entry in entries)
    exported = [entry for entry in entries if entry["action"] == "exported" and entry["detail"].endswith("case.zip")]
    assert exported[0]["sha256"] == hashlib.sha256(bundle.read_bytes()).hexdigest()
    assert [entry["action"] for entry in verify.lines_of(verify.read_bundle(bundle)[verify.CUSTODY])] == ["exporting"]


def test_an_unknown_subject_is_no_bundle(sealed: Sealed) -> None:
    """Exit 4, and nothing is written."""
    path = sealed.site.folder / "unknown.zip"
    assert sealed.run("export", "f-unknown", "-o", str(path)).exit_code == 4
    assert not path.exists()


def test_heads_are_what_a_witness_keeps(sealed: Sealed, tmp_path: Path) -> None:
    """`heads --json` handed to somebody serves as his record."""
    kept = tmp_path / "kept.jsonl"
    kept.write_text(sealed.run("heads", "--json").output)
    assert len(verify.lines_of(kept.read_bytes())) == PARTITIONS
    assert sealed.codes("--witness", str(kept)) == set()


# --- erasure --------------------------------------------------------------------------------------------------------------------------


def erased(sealed: Sealed, *words: str) -> Result:
    return sealed.run("erase", "--reason", "request 17", *words)


def event_at(sealed: Sealed, offset: int) -> str:
    """Of a line of partition 1."""
    ((event_id,),) = sealed.site.database.query(
        "SELECT event_id FROM {db}.events WHERE _topic = %(topic)s AND _partition = 1 AND _offset = %(offset)s",
        {"topic": sealed.topic, "offset": offset},
    )
    return str(event_id)


def test_what_is_erased_is_gone_and_the_chain_holds(sealed: Sealed) -> None:
    """Bytes and fields are empty, the row, its hash and the account stay; the check says so with the reason; it is on record."""
    event = event_at(sealed, 40)
    copy = {"event_id": [event], "cluster": ["c"], "job_id": ["48213"], "attrs_json": ['{"actor": "u017"}']}
    sealed.site.database.insert("enriched_events", copy, async_insert=0)
    assert erased(sealed, "--event", event, "--dry-run").output.endswith("1 line would be erased, 0 stay\n")
    done = erased(sealed, "--event", event)
    assert (done.exit_code, done.output) == (0, "1 line erased, 0 stay\n")
    found = sealed.site.database.query(
        "SELECT raw, attrs, actor, file, host, length(sha256) FROM {db}.events WHERE event_id = %(id)s", {"id": event}
    )
    assert found == [("", {}, "", "", "gpu-012", 64)]
    copies = "SELECT count() FROM {db}.enriched_events WHERE event_id = %(id)s SETTINGS apply_deleted_mask = 0"
    assert sealed.site.database.query(copies, {"id": event}) == [(0,)], "gone, and not only hidden"
    report = json.loads(sealed.run("verify", "--json").stdout)
    assert (report["problems"], report["notes"][-1]) == ([], "erased: 1 line, request 17")
    actions = [json.loads(line)["action"] for line in sealed.run("log", "--json").output.splitlines()]
    assert actions.index("erasing") < actions.index("erased")
    assert erased(sealed, "--event", event).exit_code == 4, "what is gone is not erased again"
    everything = erased(sealed, "--actor", "login:u017", "--dry-run").output
    assert int(everything.rsplit("\n", 2)[-2].split()[0].replace(",", "")) > SENT / 2
    assert erased(sealed, "--actor", "login:u017", "--until", "2001-01-01", "--dry-run").exit_code == 4


def test_evidence_of_an_open_matter_is_not_erased(matters: Sealed) -> None:
    """Whoever is accused could otherwise have it removed, and so could whoever accuses; and what is on hold stays when all is over."""
    sealed = matters
    for held in sealed.site.database.query("SELECT DISTINCT hold FROM {db}.events_held"):
        assert sealed.run("release", held[0]).exit_code == 0
    done = erased(sealed, "--event", sealed.cited[0])
    assert (done.exit_code, "a finding cites it" in done.output) == (3, True)
    counted = event_at(sealed, 50)  # of a finding that i-open counts and does not list
    assert erased(sealed, "--event", counted).exit_code == 3
    journal = "('i-over', 'status', 'closed'), ('i-open', 'status', 'closed')"
    for table, columns, values in (
        ("incident_findings", "incident_id, position, finding_id, _version", f"('i-over', 0, '{sealed.finding}', 1)"),
        ("incidents", "incident_id, status, _version", "('i-over', 'final', 1)"),
        ("incident_journal", "incident_id, action, value", journal),
    ):
        sealed.site.database.command(f"INSERT INTO {sealed.name}.{table} ({columns}) VALUES {values}")  # noqa: S608  names of this test's own
    assert sealed.run("hold", sealed.finding).exit_code == 0
    kept = erased(sealed, "--event", sealed.cited[0])
    assert (kept.exit_code, "it is on hold" in kept.output) == (3, True)
    assert sealed.run("release", sealed.finding).exit_code == 0
    both = erased(sealed, "--event", sealed.cited[0], "--event", counted, "--dry-run")
    assert (both.exit_code, both.output) == (0, "2 lines would be erased, 0 stay\n")
    assert sealed.codes() == set()


def test_tampering_is_no_erasure(sealed: Sealed) -> None:
    """An insider empties a line and writes the statement himself, without the key; or puts other bytes where one was erased."""
    row = ROW_OF.replace("_offset = 20", "_offset = 60")
    name, columns = sealed.name, "topic, incarnation, partition, offset, line, event_id, sha256, reason"
    said = "SELECT _topic, _incarnation, _partition, _offset, _index, event_id, sha256, 'r'"
    with changed(sealed, "events", row, raw="''"):
        assert "line_changed" in sealed.codes()
        command = sealed.site.database.command
        command(f"INSERT INTO {name}.erasures ({columns}) {said} FROM {name}.events WHERE {row.replace('{topic}', sealed.topic)}")
        assert sealed.codes() == {"key_unknown"}
        command(f"DELETE FROM {name}.erasures WHERE reason = 'r'")  # noqa: S608  names of this test's own
    with changed(sealed, "events", row.replace("= 60", "= 40"), raw="'nothing happened'"):
        assert "line_changed" in sealed.codes()


@pytest.fixture
def of_erased(sealed: Sealed) -> Iterator[str]:
    """A finding that cites the line that was erased on request."""
    command, name = sealed.site.database.command, sealed.name
    command(f"INSERT INTO {name}.findings (finding_id, canonical, status, _version) VALUES ('f-erased', '{{}}', 'final', 1)")  # noqa: S608  names of this test's own
    cites = f"SELECT 'f-erased', 'cause', event_id, sha256, 1 FROM {name}.events WHERE event_id = '{event_at(sealed, 40)}'"  # noqa: S608  same
    command(f"INSERT INTO {name}.finding_evidence (finding_id, role, event_id, sha256, _version) {cites}")
    yield "f-erased"
    for table in ("findings", "finding_evidence"):
        command(f"DELETE FROM {name}.{table} WHERE finding_id = 'f-erased'")  # noqa: S608  same


def test_an_erased_line_is_told_with_the_word_of_the_site(sealed: Sealed, of_erased: str, tmp_path: Path) -> None:
    """Whoever checks the bundle sees who signed it."""
    assert sealed.run("export", of_erased, "--no-kafka", "-o", str(tmp_path / "signed")).exit_code == 0
    files = verify.read_bundle(tmp_path / "signed")
    verdict = verify.verify_bundle(files, trust=sealed.fingerprint)
    (gone,) = json.loads(files[verify.REPORT])["unavailable"]
    assert (verdict.problems, gone["why"], gone["erasure"]["event_id"]) == ([], "it was erased: request 17", gone["event_id"])


def test_an_erasure_that_nobody_signed_excuses_nothing_in_a_bundle(sealed: Sealed, tmp_path: Path) -> None:
    """A line that an insider emptied shows that it was changed, whatever he writes beside it."""
    name, columns = sealed.name, "time, topic, incarnation, partition, offset, line, event_id, sha256, reason"
    said = "SELECT now64(3), _topic, _incarnation, _partition, _offset, _index, event_id, sha256, 'r'"
    with changed(sealed, "events", ROW_OF, raw="''"):
        command = sealed.site.database.command
        command(f"INSERT INTO {name}.erasures ({columns}) {said} FROM {name}.events WHERE {ROW_OF.replace('{topic}', sealed.topic)}")
        done = sealed.run("export", sealed.finding, "--no-kafka", "-o", str(tmp_path / "forged"))
        command(f"DELETE FROM {name}.erasures WHERE reason = 'r'")  # noqa: S608  names of this test's own
    assert (done.exit_code, "it was erased" in done.output) == (0, False)
    codes = {problem.code for problem in verify.verify_bundle(verify.read_bundle(tmp_path / "forged")).problems}
    assert codes == {"line_changed", "evidence_changed"}


def test_what_a_note_alone_excuses_is_told(sealed: Sealed) -> None:
    """Rows that ClickHouse refused are listed by a worker, after the range was sealed; whoever removes a row can write that, too."""
    command, name = sealed.site.database.command, sealed.name
    where = f"topic = '{sealed.topic}' AND partition = 1 AND lo <= 20 AND hi > 20"
    with changed(sealed, "events", ROW_OF, drop=True):
        assert sealed.codes() == {"line_missing"}
        command(
            f"INSERT INTO {name}.sink_ranges (topic, incarnation, partition, lo, hi, token, listed_offsets, listed_codes) "  # noqa: S608  names of this test's own
            f"SELECT topic, incarnation, partition, lo, hi, 'refused', [20], ['insert_refused'] FROM {name}.evidence_roots WHERE {where}"
        )
        notes = [note for note in sealed.notes() if "which nobody signed" in note]
        command(f"DELETE FROM {name}.sink_ranges WHERE token = 'refused'")  # noqa: S608  same
    assert [note.startswith(f"1 record without rows ({sealed.topic}/1@20)") for note in notes] == [True]
    assert not any("without rows" in note for note in sealed.notes())


def test_a_copy_on_hold_stands_for_a_row_that_was_changed(sealed: Sealed, tmp_path: Path) -> None:
    """The check of the tables names the row; the bundle is right."""
    assert sealed.run("hold", sealed.finding).exit_code == 0
    with changed(sealed, "events", ROW_OF, raw="'nothing happened'"):
        assert sealed.codes() == {"line_changed"}
        assert sealed.run("export", sealed.finding, "--no-kafka", "-o", str(tmp_path / "case")).exit_code == 0
    assert sealed.run("release", sealed.finding).exit_code == 0
    assert verify.verify_bundle(verify.read_bundle(tmp_path / "case")).problems == []


HELD_ROW = "_topic = '{topic}' AND _partition = 1 AND _offset = 20"
HELD_RECORD = "topic = '{topic}' AND partition = 1 AND offset = 21"
HELD_TAMPERING = [
    Tamper("a line", "line_changed", "events_held", HELD_ROW, {"raw": "'nothing happened'"}),
    Tamper("its time", "line_time_changed", "events_held", HELD_ROW, {"ts": "ts - 3600"}),
    Tamper("an offset", "line_changed", "events_held", HELD_ROW, {"_offset": "22"}),
    Tamper("a line added", "root_missing", "events_held", HELD_ROW, {"_offset": "900000"}, copies=2),
    Tamper("a whole record", "record_changed", "records_held", HELD_RECORD, {"value": "'nothing happened'"}),
    Tamper("leaves", "leaves_changed", "evidence_roots_held", "leaves != ''", {"leaves": FIRST_LEAF_GONE}),
    Tamper("a signature", "signature_wrong", "evidence_roots_held", "leaves != ''", {"signature": "repeat('0', 128)"}),
    Tamper("a range dropped", "root_missing", "evidence_roots_held", "leaves != ''", {}, drop=True),
]


@pytest.fixture(scope="module")
def on_hold(sealed: Sealed) -> Iterator[Sealed]:
    assert sealed.run("hold", sealed.finding).exit_code == 0
    yield sealed
    assert sealed.run("release", sealed.finding).exit_code == 0


@pytest.mark.parametrize("tamper", HELD_TAMPERING, ids=lambda tamper: tamper.name)
def test_what_is_changed_on_hold_is_named(on_hold: Sealed, tamper: Tamper) -> None:
    """Its row may be gone by then, and nobody looks at a copy before it is needed."""
    with changed(on_hold, tamper.table, tamper.where, drop=tamper.drop, copies=tamper.copies, **tamper.columns):
        assert tamper.code in on_hold.codes()
    assert on_hold.codes() == set()


def test_all_lines_of_a_person_are_erased_in_a_few_steps(sealed: Sealed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mutation takes many lines, and the next ones are asked for until there are none; what must stay does, and the chain holds."""
    count = "SELECT count() FROM {db}.events WHERE actor = 'login:u017' AND raw != ''"
    query = sealed.site.database.query
    assert sealed.run("hold", sealed.finding).exit_code == 0
    [(before,)], few = query(count), 600
    monkeypatch.setattr(erasure, "AT_ONCE", few)
    mutations = "SELECT count() FROM system.mutations WHERE database = '{db}' AND table = 'events'"
    ((begun,),) = query(mutations)
    done = erased(sealed, "--actor", "login:u017")
    [(stay,)] = query(count)
    assert (done.exit_code, done.output.splitlines()[-1]) == (3, f"{before - stay:,} lines erased, {stay} stay")
    assert stay <= 3, "two are on hold, and one is cited by a finding without an incident"
    assert query(mutations) == [(begun + -(-(before - stay) // few),)]
    assert sealed.codes() == set()
