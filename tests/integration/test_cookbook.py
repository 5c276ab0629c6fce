"""What people ask of the tables: every question of the cookbook, the reference, and the commands on findings and labels, on a real day."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result
from kafka import KafkaAdminClient, KafkaProducer

from deploy import reference
from pipeline.cli import main
from pipeline.cli.finding import NEWS
from pipeline.cli.following import Seen
from pipeline.errors import FatalError
from pipeline.runtime import labelling
from pipeline.runtime.labelling import Labeller, Told
from pipeline.settings import IdentitySettings, schemas_folder
from pipeline.sink import evidence, labels
from pipeline.sink.clickhouse import Database
from pipeline.topology import public_topic
from tests.conftest import ROOT
from tests.integration.day import Day
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.servers

DAY_MS = 86_400_000

COOKBOOK = (ROOT / "deploy" / "sql" / "cookbook.sql").read_text(encoding="utf-8")
QUESTIONS = re.findall(r"^-- (\d+)\. (.+)\n(?:-- why.*)\n-- cost: (\w+).*rows: (.+)\n((?:.*\n)*?.*;)\n", COOKBOOK, re.MULTILINE)


@pytest.fixture(scope="module")
def database(day: Day) -> Iterator[Database]:
    with Database(day.settings.clickhouse) as opened:
        yield opened


@pytest.fixture(scope="module")
def labelled(day: Day, trainwatch: Callable[..., Result]) -> Day:
    """A day on which somebody has said something of a finding."""
    finding = next(each for each in day.findings if each["detector"] == "p03_foreign_cancel")
    said = trainwatch("label", finding["id"][:10], "benign", "--because", "admin_ticket", "--note", "CHG-17 [bold]\x1b[31m", "--as", "u101")
    assert said.exit_code == 0, said.output
    return day


@pytest.fixture(scope="module")
def settings_file(day: Day, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the day's servers."""
    path: Path = tmp_path_factory.mktemp("settings") / "trainwatch.yaml"
    clickhouse = {**day.settings.clickhouse.model_dump(mode="json"), "password": ""}
    kafka = {name: getattr(day.settings.kafka, name) for name in ("bootstrap_servers", "topic_prefix", "group")}
    path.write_text(yaml.safe_dump({"clickhouse": clickhouse, "kafka": kafka}))
    return path


@pytest.fixture(scope="module")
def trainwatch(settings_file: Path) -> Callable[..., Result]:
    """The command on the day's tables."""
    return lambda *words: CliRunner(env={"COLUMNS": "200"}).invoke(main, ["--settings", str(settings_file), *words])


# --- cookbook ---------------------------------------------------------------------------------------------------------------------


def test_all_questions_are_read() -> None:
    """The pattern of this test misses none."""
    assert len(QUESTIONS) == len(re.findall(r"^-- \d+\. ", COOKBOOK, re.MULTILINE)) >= 20


def asked(sql: str, day: Day) -> str:
    """The question with what this day holds behind WITH, and its database."""
    tamper = next(each for each in day.findings if each["detector"] == "p06_checkpoint_tamper")
    kill = next(act for act in day.week.acts if act.kind == "foreign_kill")
    values = {
        "the_finding": tamper["id"],
        "the_path": tamper["anchor"],
        "the_folder": tamper["anchor"].rpartition("/")[0] + "/",
        "the_actor": tamper["actor"],
        "the_job": tamper["attempt"][1],
        "the_host": kill.detail["host"],
    }
    moments = {"the_moment": kill.event_time_ms, "since": day.week.start_ms, "until": day.week.start_ms + 2 * DAY_MS}
    for name, value in values.items():
        sql = re.sub(rf"'[^']*' AS {name}\b", f"'{value}' AS {name}", sql)
    for name, moment in moments.items():
        sql = re.sub(rf"toDateTime\('[^']*', 'UTC'\) AS {name}\b", f"toDateTime({moment // 1000}, 'UTC') AS {name}", sql)
    return re.sub(r"\btrainwatch\.", "{db}.", sql).replace("'trainwatch'", "'{db}'").rstrip(";")


def test_every_question_has_an_answer(labelled: Day, database: Database) -> None:
    """It runs as it stands, its columns have names that a person can read, and where it says so it has rows on a day with findings."""
    wrong = {}
    for number, question, _, rows, sql in QUESTIONS:
        try:
            columns, found = database.query_with_columns(asked(sql, labelled))
        except FatalError as error:
            wrong[number] = f"{question}: {error}"
            continue
        if rows == "yes" and not found:
            wrong[number] = f"{question}: no rows"
        if len(set(columns)) < 2 or not all(name.isidentifier() for name in columns):
            wrong[number] = f"{question}: columns {columns}"
    assert wrong == {}


def test_a_question_that_says_it_is_cheap_uses_the_index(labelled: Day, database: Database) -> None:
    """The sort key or a bloom filter."""
    cheap = {number: sql for number, _, cost, _, sql in QUESTIONS if cost in ("key", "filter")}
    plans = {
        number: "\n".join(str(line) for (line,) in database.query("EXPLAIN indexes = 1 " + asked(sql, labelled)))
        for number, sql in cheap.items()
    }
    used = re.compile(r"Keys?:\s*\n\s*(cluster\s*\n\s*)?(job_id|finding_id)|by_job_id|by_event_id")
    assert cheap
    assert {number: plan for number, plan in plans.items() if not used.search(plan)} == {}


# --- reference --------------------------------------------------------------------------------------------------------------------


def test_the_reference_is_what_the_database_says(database: Database) -> None:
    """Renew it with `.venv/bin/python -m deploy.reference` on a migrated database."""
    assert (schemas_folder() / "clickhouse" / "REFERENCE.md").read_text(encoding="utf-8") == reference.render(reference.read(database))


def test_every_table_and_view_says_what_it_is(database: Database) -> None:
    """In the schema itself, where a person in a SQL client looks."""
    tables = reference.read(database)
    assert [table.name for table in tables if not table.comment] == []
    inherited = reference.inherited(tables)
    silent = [
        f"{table.name}.{column.name}"
        for table in tables
        for column in table.columns
        if not column.name.startswith("_") and not column.comment and not inherited.get(table.name, {}).get(column.name)
    ]
    assert silent == []


# --- findings and labels ----------------------------------------------------------------------------------------------------------


def test_findings_are_listed(day: Day, trainwatch: Callable[..., Result]) -> None:
    """As a table, and one JSON object a line; filters as they say."""
    standing = [each for each in day.findings if each["status"] != "retracted"]
    shown = trainwatch("finding", "list")
    assert shown.exit_code == 0, shown.output
    assert all(each["id"][:12] in shown.stdout for each in standing)
    rows = [json.loads(line) for line in trainwatch("finding", "list", "--json").stdout.splitlines()]
    assert {row["finding_id"] for row in rows} == {each["id"] for each in standing}
    assert [row["effect_time"] for row in rows] == sorted(row["effect_time"] for row in rows)
    one = trainwatch("finding", "list", "--json", "--detector", "p03_foreign_cancel", "--alert").stdout.splitlines()
    assert {json.loads(line)["detector"] for line in one} == {"p03_foreign_cancel"}
    assert trainwatch("finding", "list", "--json", "--since", "2030-01-01T00:00:00Z").stdout == ""
    assert "the newest before is of 20" in trainwatch("finding", "list", "--since", "2030-01-01T00:00:00Z").stderr
    assert "there is no detector 'p99'" in trainwatch("finding", "list", "--detector", "p99").stderr


def test_news_are_what_says_something_else(day: Day, trainwatch: Callable[..., Result]) -> None:
    """What --follow prints: not every revision."""
    rows = [json.loads(line) for line in trainwatch("finding", "list", "--json").stdout.splitlines()]
    seen = Seen("finding_id", NEWS)
    assert list(seen.news(rows)) == rows
    assert list(seen.news([{**row, "revision": 9} for row in rows])) == []
    changed = {**rows[0], "status": "retracted"}
    assert list(seen.news([changed, *rows[1:]])) == [changed]


def test_a_finding_is_shown_with_the_lines_that_prove_it(labelled: Day, trainwatch: Callable[..., Result]) -> None:
    """Checklist, evidence with lines, label, what to look at first, what to type next; nothing of it acts on the terminal."""
    finding = next(each for each in labelled.findings if each["detector"] == "p03_foreign_cancel")
    found = json.loads(trainwatch("finding", "show", finding["id"], "--json").stdout)
    assert [each["event_id"] for each in found["evidence"]] != []
    assert all(each["raw"] for each in found["evidence"])
    assert {each["name"] for each in found["checklist"]} == {each["name"] for each in finding["checklist"]}
    shown = trainwatch("finding", "show", finding["id"][:8])
    assert shown.exit_code == 0, shown.output
    for part in (
        "REQUEST_KILL_JOB",
        "labelled benign because admin_ticket",
        "CHG-17 [bold]",
        found["detector_says"]["runbook"][:30],
        "job explain",
    ):
        assert part in shown.stdout
    assert "\x1b" not in shown.stdout
    missing = trainwatch("finding", "show", "0123456789")
    assert missing.exit_code == 4
    assert "finding list" in missing.stderr


def test_a_label_stands_above_the_earlier_one_and_deletes_nothing(day: Day, trainwatch: Callable[..., Result], database: Database) -> None:
    """Both stay readable; the custody log has both; precision counts the newest."""
    finding = next(each for each in day.findings if each["detector"] == "p01_foreign_kill")
    for word in ("false", "true"):
        assert trainwatch("label", finding["id"], word, "--note", f"it was {word}").exit_code == 0
    said = [json.loads(line) for line in trainwatch("label", finding["id"], "--list", "--json").stdout.splitlines()]
    assert [each["label"] for each in said] == ["true", "false"]
    assert database.query("SELECT label, labels FROM {db}.labels_current WHERE finding_id = %(id)s", {"id": finding["id"]}) == [("true", 2)]
    custody = database.query(
        "SELECT detail FROM {db}.custody_log WHERE subject = %(id)s AND action = 'labelled' ORDER BY time", {"id": finding["id"]}
    )
    assert custody == [("false",), ("true",)]
    (quality,) = [each for each in labels.quality(database) if each.detector == "p01_foreign_kill"]
    assert (quality.labelled, quality.true, quality.precision) == (1, 1, 1.0)
    assert "p01_foreign_kill" in trainwatch("label", "--summary").stdout


def test_a_finding_is_benign_by_what_its_detector_knows(
    day: Day, trainwatch: Callable[..., Result], database: Database, settings_file: Path
) -> None:
    """Another explanation is refused, and a shell offers none."""
    finding = next(each for each in day.findings if each["detector"] == "p03_foreign_cancel")
    before = labels.history(database, finding["id"])
    done = trainwatch("label", finding["id"], "benign", "--because", "saver")
    assert done.exit_code == 2
    assert "no explanation that p03_foreign_cancel knows; known are admin_ticket, " in " ".join(done.stderr.split())
    assert labels.history(database, finding["id"]) == before
    words = ["--settings", str(settings_file), "label", finding["id"][:10], "benign", "--because"]
    offered = ShellComplete(main, {}, "trainwatch", "_TRAINWATCH_COMPLETE").get_completions(words, "")
    assert tuple(each.value for each in offered) == labels.explanations("p03_foreign_cancel")


def test_labels_come_by_topic_too(day: Day, database: Database, trainwatch: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same row and the same entry in the custody log; one that comes again, or that is none, changes nothing; one that came before
    its finding is noted when that is there, and one whose finding never comes is given up, on record."""
    finding = next(each for each in day.findings if each["detector"] == "p06_checkpoint_tamper")
    topic = public_topic(day.settings.kafka.topic_prefix, "labels")
    example = [sys.executable, "-W", "ignore", str(ROOT / "deploy" / "examples" / "send_label.py"), day.settings.kafka.bootstrap_servers]
    subprocess.run([*example, finding["id"], "benign", "u101", "CHG-17", "admin_ticket", topic], check=True, timeout=PATIENCE_SECONDS)
    said = {"finding": finding["id"], "label": "true", "note": "seen on the node", "account": "u101"}
    values = [(said, b"review-1"), (said, b"review-1"), ({**said, "label": "?"}, b"review-3")]
    early, never = "e" * 32, "0" * 32
    values += [({**said, "finding": each}, b"review-2") for each in (early, never)]
    values += [({**said, "label": "benign", "because": "trial_run"}, b"review-4")]  # of a cancel, and this is of a checkpoint
    producer = KafkaProducer(bootstrap_servers=day.settings.kafka.bootstrap_servers)
    for value, name in values:
        producer.send(topic, json.dumps(value).encode(), key=finding["id"].encode(), headers=[("ce_id", name)])
    producer.flush()
    producer.close()

    done = trainwatch("label", "--from-topic", "--once")
    assert (done.exit_code, done.stderr.count("passed over")) == (3, 1), done.output
    assert "waiting for their findings, to be read again next time: 2 labels" in done.stderr
    noted = [(each.label, each.because, each.note) for each in labels.history(database, finding["id"])]
    assert noted == [("true", "", said["note"]), ("benign", "admin_ticket", "CHG-17")]
    custody = [(each.account, each.detail) for each in evidence.custody(database, finding["id"]) if each.action == "labelled"]
    assert custody == [(f"u101 through {topic}", "benign because admin_ticket"), (f"u101 through {topic}", "true")]
    (given_up,) = [each.detail for each in evidence.custody(database, finding["id"]) if each.action == "not labelled"]
    assert "'trial_run' is no explanation that p06_checkpoint_tamper knows; known are admin_ticket, " in given_up

    database.insert("findings", {"finding_id": [early], "detector": ["p06_checkpoint_tamper"]}, async_insert=0)
    monkeypatch.setattr(labelling, "WAIT_MS", 0)
    anew = day.settings.kafka.model_copy(update={"group": f"{day.settings.kafka.group}.anew"})  # without offsets: all is read again
    known = (IdentitySettings(id="p-7", login="u101"),)  # the map has learnt of the account meanwhile
    with Labeller(day.settings.model_copy(update={"kafka": anew, "identities": known}), database, print) as again:
        rounds = [again.round(0.5)]
        while not again.caught_up() or not any(map(any, rounds)):
            rounds.append(again.round(0.5))
    assert Told(*map(sum, zip(*rounds, strict=True))) == Told(noted=1, known=3, refused=3)
    assert len(labels.history(database, finding["id"])) == 2
    assert [each.label for each in labels.history(database, early)] == ["true"]
    whose = "SELECT DISTINCT person, holder FROM {db}.labels WHERE finding_id = %(id)s"
    assert [database.query(whose, {"id": each}) for each in (finding["id"], early)] == [[("", "u101")], [("p-7", "p-7")]]
    assert [(each.action, each.detail) for each in evidence.custody(database, never)] == [
        ("not labelled", f"true: there is no finding {never} 0 h later")
    ]
    assert [each.finding_id for each in labels.exactly(database, [f"{number:032x}" for number in range(9000)] + [early])] == [early]
    database.query("DELETE FROM {db}.findings WHERE finding_id = %(early)s", {"early": early})


def test_a_labeller_that_has_nothing_to_read_is_done(day: Day, database: Database) -> None:
    """More of them than partitions: with --once none waits for ever."""
    kafka = day.settings.kafka.model_copy(update={"topic_prefix": f"{day.settings.kafka.topic_prefix}-narrow"})
    with closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)) as admin:
        admin.create_topics({public_topic(kafka.topic_prefix, "labels"): {"num_partitions": 1, "replication_factor": 1}})
    settings, deadline = day.settings.model_copy(update={"kafka": kafka}), time.monotonic() + PATIENCE_SECONDS
    with Labeller(settings, database, print) as one, Labeller(settings, database, print) as other:
        assert not other.caught_up()
        while not (one.caught_up() and other.caught_up()):
            assert time.monotonic() < deadline
            one.round(0.1)
            other.round(0.1)


def test_a_label_of_nothing_is_refused(trainwatch: Callable[..., Result]) -> None:
    """With where ids are; and a beginning that could mean many is no id."""
    missing = trainwatch("label", "0123456789", "true")
    assert (missing.exit_code, "finding list --all" in missing.stderr) == (4, True)
    short = trainwatch("label", "0123", "true")
    assert (short.exit_code, "first 6 digits" in short.stderr) == (2, True)


def test_a_word_that_is_no_text_is_wrong_usage(day: Day, trainwatch: Callable[..., Result]) -> None:
    """Bytes of another encoding, from a terminal or a script: no traceback."""
    done = trainwatch("label", day.findings[0]["id"], "true", "--note", "caf\udce9")
    assert done.exit_code == 2
    assert r"is not UTF-8: '\udce9'" in done.stderr
