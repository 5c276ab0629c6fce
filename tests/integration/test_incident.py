"""`trainwatch incident` on a real ClickHouse: values of the topic in, what people ask out, a journal that is only added to."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import msgspec
import orjson
import pytest
from click.testing import CliRunner, Result

from pipeline.cli import Options
from pipeline.cli.asking import NOT_FOUND
from pipeline.cli.evidence import evidence
from pipeline.cli.incident import incident
from pipeline.cli.incident_read import UNTOLD, journals
from pipeline.cli.reveal import REFUSED
from pipeline.errors import ConfigError
from pipeline.evidence.signing import make_key
from pipeline.evidence.verify import read_bundle, verify_bundle
from pipeline.incidents.step import step as judge
from pipeline.model.finding import Finding
from pipeline.model.incident import Mark, label_of
from pipeline.model.outcome import Publish, Record
from pipeline.settings import EvidenceSettings, PrivacySettings, Settings
from pipeline.sink import copied
from pipeline.sink.clickhouse import ClickHouseSink, Database
from pipeline.sink.evidence import Custody, custody, note, subjects
from pipeline.sink.step import build_state, step
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import NOTHING
from tests import build
from tests.unit.incidents.campaign import CLUSTER, T0, examined, kill, marks
from tests.unit.incidents.test_step import STORY, fact, fresh
from tests.unit.sink.build import record as finding_record

pytestmark = pytest.mark.servers
MADE = re.compile(rb"Report made <time[^/]*/time>")
HOSTILE = "<script>alert(1)</script>"


class Site:
    """A database with a campaign whose earliest finding came late, so that its first incident was merged into another."""

    def __init__(self, settings: Settings, renamed: Mapping[str, str] = MappingProxyType({}), story: Sequence[Finding] = STORY) -> None:
        self.options = Options()
        self.options.__dict__["settings"] = settings
        self.ids: list[str] = []
        self._renamed = renamed
        with Database(settings.clickhouse) as database:
            copied.make(database)
        prices = [{"from": "2026-01-01", "currency": "CNY", "gpu_hour": [12, 20, 50]}]
        state = fresh(loss={"prices": prices}, privacy=settings.privacy)
        killed = examined("1", 0, verdict="interference", state="FAILED", nodes=("gpu-001",), gpus=8, saved=Mark(T0 - 1_800_000, "s"))
        with ClickHouseSink(settings.clickhouse) as sink:
            self._sink, self._offset = sink, 0
            for batch in ([fact(story[1])], [*map(fact, story), fact(killed), fact(examined("70", 5))]):
                self._store(out for out in judge(state, batch, marks(60))[1] if isinstance(out, Publish))
            for each in story:
                self._insert(finding_record(each, self._offset))

    def _store(self, published: Iterable[Publish]) -> None:
        for out in published:
            self.ids.append(out.key.decode())
            self._insert(Record(topic="trainwatch.incidents.v1", partition=0, offset=self._offset, timestamp=0, value=out.value))

    def _insert(self, record: Record) -> None:
        for name, other in self._renamed.items():
            record = msgspec.structs.replace(record, value=(record.value or b"").replace(name.encode(), other.encode()))
        rows = step(build_state(Settings(), Cases()), [record], NOTHING)[1]
        for table, block in self._sink.tables(rows).items():
            self._sink.insert(table, block, f"{record.topic}-{self._offset}-{table}")
        self._offset += 1

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(incident, list(words), obj=self.options, catch_exceptions=False)


def test_an_incident_from_topic_to_report(servers: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Listed, shown under an old id, written about, reported; what people write changes no verdict."""
    site = Site(servers)
    old, now = site.ids[0], site.ids[1]
    assert old != now
    assert site.run("list", "--since", "2100-01-01T00:00:00Z", "--json").output == ""
    (row,) = [orjson.loads(line) for line in site.run("list", "--since", "2020-01-01T00:00:00Z", "--json").output.splitlines()]
    assert (row["incident_id"], row["named"], row["state"], row["assignee"]) == (now, "u099", "open", "")

    waits = iter([("assign", now, "op1"), ("list",)])

    def wait(_: float) -> None:
        if not (words := next(waits, ())):
            raise KeyboardInterrupt
        site.run(*words)

    with monkeypatch.context() as patched:
        patched.setattr("pipeline.cli.following.time.sleep", wait)
        rows = [orjson.loads(line) for line in site.run("list", "--follow", "--json").output.splitlines()]
    assert [(each["incident_id"], each["assignee"]) for each in rows] == [(now, ""), (now, "op1")]

    for words in (
        ("note", old, HOSTILE),
        ("assign", now[:8], "op2"),
        ("status", now, "contained", "--why", "account closed"),
        ("reply", now, "I was on leave.", "--from", "u099"),
    ):
        assert site.run(*words).exit_code == 0
    with Database(servers.clickhouse) as database:
        label = {"finding_id": [STORY[0].id], "account": ["u101@ops"], "label": ["benign"], "because": ["admin_ticket"], "note": ["CHG-17"]}
        database.insert("labels", label, async_insert=0)
        note(database, Custody(0, "u101@ops", "exported", old))
        assert [each.action for each in custody(database, now) if each.subject == old] == ["exported"]
        assert subjects(database, old) == subjects(database, old[:8]) == subjects(database, now) == [now]
    found = orjson.loads(site.run("show", old, "--json").output)
    assert found["id"] == now
    assert [entry["action"] for entry in found["journal"]] == ["assign", "note", "assign", "status", "reply", "label"]
    assert all(entry["operator"] for entry in found["journal"])
    assert len(found["findings"]) == 3
    listed = site.run("list").output
    assert "contained" in listed
    assert "1 labelled" in " ".join(listed.split())
    assert orjson.loads(site.run("list", "--json").output)["dismissed"] == 1
    with Database(servers.clickhouse) as database:  # a list of large campaigns asks for more former ids than one statement takes
        former = [f"{number:032x}" for number in range(9000)]
        assert len(journals(database, [*former, now])[now]) == 5

    page, body = tmp_path / "report.html", tmp_path / "report.json"
    assert site.run("report", now[:6], "--out", str(page)).exit_code == 0
    assert site.run("report", now, "--out", str(body), "--json").exit_code == 0
    text = page.read_text(encoding="utf-8")
    assert "I was on leave." in text
    assert f"That finding {STORY[0].id[:12]} (" in text
    assert "was interference. u101@ops labelled it benign because admin_ticket" in text
    assert HOSTILE not in text
    assert "State: contained. Assigned to: op2. Judged by trainwatch " in text
    assert orjson.loads(body.read_bytes())["incident"]["attribution"]["named"] == "u099"


def test_the_bundle_of_an_incident_holds_its_report(servers: Settings, tmp_path: Path) -> None:
    """As HTML and as JSON, as `incident report` writes them, but for when; not where another is given, or none is wanted."""
    make_key(tmp_path / "evidence.key", T0)
    site = Site(servers.model_copy(update={"evidence": EvidenceSettings(key_file=tmp_path / "evidence.key")}))
    now, page = site.ids[1], tmp_path / "given.html"
    site.run("reply", now, "I was on leave.", "--from", "u099")
    site.run("report", now, "--out", str(page))

    def files(of: str, *words: str) -> dict[str, bytes]:
        bundle = tmp_path / f"{of}{''.join(words[:1])}.zip"
        done = CliRunner().invoke(evidence, ["export", of, "-o", str(bundle), *words], obj=site.options, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        assert verify_bundle(read_bundle(bundle)).problems == []
        return dict(read_bundle(bundle))

    found, other = files(now), tmp_path / "evidence.key.ring.json"
    first, again = (MADE.sub(b"", each) for each in (page.read_bytes(), found["report.html"]))
    assert first == again
    assert b"Report made <time" in found["report.html"]
    assert "I was on leave." in found["report.html"].decode()
    assert orjson.loads(found["incident.json"])["id"] == now
    given = files(now, "--report", str(other))
    assert ("report.html" in given, given["incident.json"]) == (False, other.read_bytes())
    for without in (files(now, "--no-report"), files(STORY[0].id)):
        assert not {"report.html", "incident.json"} & {*without}


@pytest.mark.parametrize("has", ["no pseudonyms", "pseudonyms", "no key"])
def test_a_reply_of_whoever_is_not_named_names_nobody(servers: Settings, tmp_path: Path, has: str) -> None:
    """It stands under the label of the candidate, on the screen and in the report; that of counsel as it was given.

    Pseudonyms are those of the names that people type; who has not their key is told of nobody.
    """
    key_file = None if has == "no pseudonyms" else tmp_path / "key"
    privacy = PrivacySettings(pseudonyms=key_file is not None, key_file=key_file)
    settings, known = servers.model_copy(update={"privacy": privacy}), "u099"
    if key_file is not None:
        key_file.write_bytes(b"a key for tests alone, and long enough")
        key_file.chmod(0o600)
        pseudonyms = settings.veil().pseudonyms
        assert pseudonyms is not None
        known = pseudonyms.name("u099")
    site, label = Site(settings, story=[kill(day, str(day), known) for day in range(3)]), label_of(CLUSTER, known, settings.directory().key)
    for who in ("u099", "counsel"):
        assert site.run("reply", site.ids[1], "I was on leave.", "--from", who).exit_code == 0
    if key_file is not None and has == "no key":
        key_file.unlink()
    page = tmp_path / "report.html"
    assert site.run("report", site.ids[1], "--out", str(page)).exit_code == 0
    for text in (page.read_text(encoding="utf-8"), site.run("show", site.ids[1]).output, site.run("show", site.ids[1], "--json").output):
        assert "u099" not in text
        assert text.count("I was on leave.") == 2
        assert label in text
        assert ("counsel" in text, UNTOLD in text) == ((False, True) if has == "no key" else (True, False))


def test_what_it_cost_and_what_people_say(servers: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half an hour of 8 GPUs is 4 GPU-hours and 80 yuan, in the tables, on the screen, and in the report; a rumour is held against it."""
    site = Site(servers)
    now = site.ids[1]
    with Database(servers.clickhouse) as database:
        lines = database.query(
            "SELECT incident_id, kind, job_id, gpu_hours_low, gpu_hours_middle, money_middle, currency, length(evidence) > 0"
            " FROM {db}.loss_lines_current"
        )
        again = database.query(
            "SELECT gpus, nodes, arrayMap(each -> (each.reading, gpus * date_diff('millisecond', assumeNotNull(each.start),"
            " assumeNotNull(each.end)) / 3600000 * each.share - each.elsewhere,"
            " arraySum(priced -> priced.hours * priced.per_hour, each.prices)), inputs) FROM {db}.loss_lines_current"
        )
    assert lines == [(now, "lost_progress", "1", 4.0, 4.0, 80.0, "CNY", 1)]
    assert again == [(8, 1, [("low", 4.0, 48.0), ("middle", 4.0, 80.0), ("high", 4.0, 200.0)])], "worked out again from its inputs"
    shown = site.run("show", now).output
    assert "Loss, low / middle / high: 4.00 GPU-hours of at most 8 GPUs" in shown
    assert "GPUs, times, shares and prices that go into each line: in the report" in shown
    monkeypatch.chdir(tmp_path)
    assert site.run("report", now).exit_code == 0
    text = (tmp_path / f"incident-{now[:12]}.html").read_text(encoding="utf-8")
    assert "GPUs x (failure - last good checkpoint); 20 CNY per GPU-hour (rent)" in text
    assert "low / middle / high: 8 GPUs on 1 node x 0.5000 h (" in text

    said = orjson.loads(site.run("rumour", now, "--gpus", "8000", "--days", "61", "--money", "8000000", "--json").output)
    assert (said["claimed_gpu_hours"], said["recorded_gpu_hours"], said["recorded_gpus"]) == (8000 * 61 * 24, [4.0, 4.0, 4.0], 8)
    assert said["times_too_large"] == 8000 * 61 * 24 / 4
    assert (said["claimed_money"], said["recorded_money"]) == (8e6, [48.0, 80.0, 200.0])
    assert any("no longer held" in line for line in said["unknown"])
    shown = site.run("rumour", now[:8], "--gpus", "8000", "--days", "61").output
    assert "11,712,000" in shown
    assert "times the high reading of the records" in shown
    site.run("list")
    with Database(servers.clickhouse) as database:
        looks = [(entry.action, entry.subject, entry.detail) for entry in custody(database, now)]
    assert looks == [("looked", now, f"incident {word}") for word in ("show", "report", "rumour", "rumour")]


@pytest.mark.parametrize("asked", ["ffffffff", "abc", "%", "' OR 1=1 --"])
def test_an_unknown_id_is_said(servers: Settings, asked: str) -> None:
    """Too short, unknown, or no id at all; nothing is written."""
    site = Site(servers)
    assert site.run("note", asked, "text").exit_code == NOT_FOUND
    with Database(servers.clickhouse) as database:
        assert database.query("SELECT count() FROM {db}.incident_journal") == [(0,)]


def test_a_pseudonym_is_revealed_to_whoever_works_on_it(servers: Settings, tmp_path: Path) -> None:
    """Of an open incident in which it occurs, with the key, on record before; anybody of whom a raw line tells is found, too.

    Whoever is refused stands in the log as well.
    """
    privacy = PrivacySettings.model_validate({"pseudonyms": True, "key": "a key for tests alone"})
    settings = servers.model_copy(update={"identities": build.IDENTITIES, "privacy": privacy})
    pseudonyms = settings.veil().pseudonyms
    assert pseudonyms is not None
    named, stranger = pseudonyms.name("u099"), pseudonyms.name("u345")
    site = Site(settings, {"u099": named, "u013": stranger})
    now = site.ids[1]
    ask = ("--reason", "request 17")
    assert site.run("reveal", now, named, *ask).stdout == "u099\n"
    assert site.run("reveal", now, stranger, *ask).exit_code == NOT_FOUND
    with Database(servers.clickhouse) as database:
        ((event,),) = database.query("SELECT any(event_id) FROM {db}.finding_evidence_current")
        database.insert("events", {"event_id": [event], "raw": ["Failed password for u345 from 10.0.0.9"]})
        assert orjson.loads(site.run("reveal", now, stranger, *ask, "--json").stdout)["names"] == ["u345"]
        assert site.run("reveal", now, pseudonyms.name("u012-not-there"), *ask).exit_code == REFUSED
        assert site.run("status", now, "closed").exit_code == 0
        assert site.run("reveal", now, named, *ask).exit_code == REFUSED
        nowhere = settings.model_copy(update={"privacy": PrivacySettings(pseudonyms=True, key_file=tmp_path / "none")})
        site.options.__dict__["settings"] = nowhere
        with pytest.raises(ConfigError, match="cannot read"):
            site.run("reveal", now, named, *ask)
        entries = custody(database, now)
    assert [entry.action for entry in entries] == [*["revealing", "revealed"] * 3, *["reveal refused"] * 3]
    assert ["does not occur" in entries[6].detail, "is closed" in entries[7].detail, "cannot read" in entries[8].detail] == [True] * 3
    assert all("u099" not in entry.detail and entry.account for entry in entries)
    assert "request 17" in entries[0].detail
    site.options.__dict__["settings"] = servers
    with pytest.raises(ConfigError, match="pseudonyms is off"):
        site.run("reveal", now, named, *ask)
