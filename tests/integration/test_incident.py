"""`trainwatch incident` on a real ClickHouse: values of the topic in, what people ask out, a journal that is only added to."""

from collections.abc import Iterable
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner, Result

from pipeline.cli import Options
from pipeline.cli.incident import NOT_FOUND, incident
from pipeline.incidents.step import step as judge
from pipeline.model.outcome import Publish, Record
from pipeline.settings import Settings
from pipeline.sink import migrate
from pipeline.sink.clickhouse import ClickHouseSink, Database
from pipeline.sink.step import build_state, step
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import NOTHING
from tests.unit.incidents.campaign import examined, marks
from tests.unit.incidents.test_step import STORY, fact, fresh
from tests.unit.sink.build import record as finding_record

pytestmark = pytest.mark.servers
HOSTILE = "<script>alert(1)</script>"


class Site:
    """A database with a campaign whose earliest finding came late, so that its first incident was merged into another."""

    def __init__(self, settings: Settings) -> None:
        self.options = Options()
        self.options.__dict__["settings"] = settings
        self.ids: list[str] = []
        with Database(settings.clickhouse) as database:
            migrate.up(database, say=lambda _: None)
        state = fresh()
        with ClickHouseSink(settings.clickhouse) as sink:
            self._sink, self._offset = sink, 0
            for batch in ([fact(STORY[1])], [*map(fact, STORY), fact(examined("70", 5))]):
                self._store(out for out in judge(state, batch, marks(60))[1] if isinstance(out, Publish))
            for each in STORY:
                self._insert(finding_record(each, self._offset))

    def _store(self, published: Iterable[Publish]) -> None:
        for out in published:
            self.ids.append(out.key.decode())
            self._insert(Record(topic="trainwatch.incidents.v1", partition=0, offset=self._offset, timestamp=0, value=out.value))

    def _insert(self, record: Record) -> None:
        rows = step(build_state(Settings(), Cases()), [record], NOTHING)[1]
        for table, block in self._sink.tables(rows).items():
            self._sink.insert(table, block, f"{record.topic}-{self._offset}-{table}")
        self._offset += 1

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(incident, list(words), obj=self.options, catch_exceptions=False)


def test_an_incident_from_topic_to_report(servers: Settings, tmp_path: Path) -> None:
    """Listed, shown under an old id, written about, reported; what people write changes no verdict."""
    site = Site(servers)
    old, now = site.ids[0], site.ids[1]
    assert old != now
    (row,) = [orjson.loads(line) for line in site.run("list", "--json").output.splitlines()]
    assert (row["incident_id"], row["named"], row["state"], row["assignee"]) == (now, "u099", "open", "")

    for words in (
        ("note", old, HOSTILE),
        ("assign", now[:8], "op2"),
        ("status", now, "contained", "--why", "account closed"),
        ("reply", now, "I was on leave.", "--from", "u099"),
    ):
        assert site.run(*words).exit_code == 0
    found = orjson.loads(site.run("show", old, "--json").output)
    assert found["id"] == now
    assert [entry["action"] for entry in found["journal"]] == ["note", "assign", "status", "reply"]
    assert all(entry["operator"] for entry in found["journal"])
    assert len(found["findings"]) == 3
    assert "contained" in site.run("list").output

    page, body = tmp_path / "report.html", tmp_path / "report.json"
    assert site.run("report", now[:6], "--out", str(page)).exit_code == 0
    assert site.run("report", now, "--out", str(body), "--json").exit_code == 0
    text = page.read_text(encoding="utf-8")
    assert "I was on leave." in text
    assert HOSTILE not in text
    assert orjson.loads(body.read_bytes())["incident"]["attribution"]["named"] == "u099"


@pytest.mark.parametrize("asked", ["ffffffff", "abc", "%", "' OR 1=1 --"])
def test_an_unknown_id_is_said(servers: Settings, asked: str) -> None:
    """Too short, unknown, or no id at all; nothing is written."""
    site = Site(servers)
    assert site.run("note", asked, "text").exit_code == NOT_FOUND
    with Database(servers.clickhouse) as database:
        assert database.query("SELECT count() FROM {db}.incident_journal") == [(0,)]
