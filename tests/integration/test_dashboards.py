"""The dashboards on the real ClickHouse: every query runs, gives what its panel needs, and reads a bounded part of a large table.

The simulated day of the run (`day.py`) is what they read; what they cost is told by the bench, on a table made inside ClickHouse.
"""

import json
import re
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from click.testing import CliRunner

from deploy.grafana import alerts
from deploy.grafana.boards import BOARDS
from deploy.grafana.panels import Kind
from pipeline.bench import job_dashboards
from pipeline.cli import main
from pipeline.dashboard.definition import Dashboard, Panel, dashboards
from pipeline.dashboard.expand import expand
from pipeline.dashboard.period import Period, parse_period
from pipeline.dashboard.query import Answer, Choices, Reader, choose
from pipeline.settings import Settings
from pipeline.sink.clickhouse import Database
from tests.browser import CHROMIUM, NONE_HERE, opened, show
from tests.integration.day import Day

pytestmark = pytest.mark.servers

SERVER = "clickhouse"  # its panels tell of the server's own time
EXPECTED = {(f"{board.name}", panel.title): panel.expects_rows for board in BOARDS for panel in board.panels}
PANELS = [pytest.param(board.name, panel.title, id=f"{board.name}: {panel.title}") for board in BOARDS for panel in board.panels]


class Filled(NamedTuple):
    """A database with a day in it, and what a reader would choose."""

    settings: Settings
    reader: Reader
    boards: dict[str, Dashboard]
    period: Period
    now: Period
    choices: dict[str, Choices]

    def period_of(self, board: str) -> Period:
        return self.now if board == SERVER else self.period

    def sql(self, board: str, written: str) -> str:
        choices = self.choices[board]
        return expand(written, self.period_of(board), choices.values, choices.everything)


@pytest.fixture(scope="module")
def filled(day: Day) -> Iterator[Filled]:
    """The simulated day of this run, and what a reader would choose first."""
    with Database(day.settings.clickhouse) as database:
        reader, boards = Reader(database), dashboards()
        newest = reader.newest_ms()
        assert newest is not None
        period, now = parse_period("-2d", "now+1m", newest), parse_period("-1d", "now+1m", int(time.time() * 1000))
        choices = {name: choose(board, {}, now if name == SERVER else period, reader) for name, board in boards.items()}
        yield Filled(day.settings, reader, boards, period, now, choices)


# --- what the queries give ------------------------------------------------------------------------------------------------------------

TIME, NUMBER, TEXT = "time", "number", "text"
SHAPES: dict[Kind, re.Pattern[str]] = {
    "timeseries": re.compile(r"time( text)?( number)+"),
    "heatmap": re.compile(r"time text number"),
    "stat": re.compile(r"number( number)*( text)?"),
    "barchart": re.compile(r"text( number)+"),
    "state-timeline": re.compile(r"time( text)+"),
    "table": re.compile(r"(time|text|number|other)( (time|text|number|other))*"),
}


def class_of(kind: str) -> str:
    """What Grafana makes of a type of ClickHouse."""
    bare = re.sub(r"(Nullable|LowCardinality)\((.*?)\)$", r"\2", re.sub(r"(Nullable|LowCardinality)\((.*)\)$", r"\2", kind)).rstrip(")")
    if bare.startswith("DateTime"):
        return TIME
    if re.match(r"U?Int|Float|Decimal", bare):
        return NUMBER
    return TEXT if bare.startswith(("String", "Enum")) else "other"


@pytest.mark.parametrize(("name", "title"), PANELS)
def test_a_panel_gives_what_its_kind_needs(filled: Filled, name: str, title: str) -> None:
    """Columns and types as Grafana's panel reads them; rows where there must be some; no two of one time in a series."""
    panel = filled.boards[name].panel(title)
    sql = filled.sql(name, panel.sql[0])
    answer = filled.reader.ask(sql)
    assert answer.error == ""
    described = filled.reader.ask(f"DESCRIBE TABLE (\n{sql}\n)")
    shape = " ".join(class_of(row[1]) for row in described.rows)
    assert SHAPES[_kind(panel)].fullmatch(shape), shape
    if panel.kind in ("table", "barchart"):  # of others the names are those of series
        named = {override.column for override in panel.overrides}
        assert named <= set(answer.columns) or "COLUMNS(" in sql, "settings of a column that is not there"
    if EXPECTED[name, title]:
        assert answer.rows, sql
        assert any(value is not None for value in answer.rows[-1])
    if panel.kind in ("timeseries", "heatmap"):
        keys = [tuple(value for value in row if not isinstance(value, int | float)) for row in answer.rows]
        assert len(keys) == len(set(keys))
        assert [row[0] for row in answer.rows] == sorted(row[0] for row in answer.rows)


def _kind(panel: Panel) -> Kind:
    return next(kind for kind in SHAPES if kind == panel.kind)


@pytest.mark.parametrize("name", [board.name for board in BOARDS])
def test_variables_offer_values(filled: Filled, name: str) -> None:
    """Each query gives one or two columns, the value first; the first choice is a real one."""
    board = filled.boards[name]
    for variable in board.variables:
        if variable.sql:
            answer = filled.reader.ask(filled.sql(name, variable.sql))
            assert answer.error == ""
            assert len(answer.columns) in (1, 2)
            assert len({row[0] for row in answer.rows}) == len(answer.rows) > 0
        assert filled.choices[name].values[variable.name] not in ((), ("",))


@pytest.mark.parametrize("kind", ["identity", "host", "artefact", "event"])
def test_every_kind_of_entity_is_offered(filled: Filled, kind: str) -> None:
    """And its records are found."""
    board = filled.boards["entity"]
    choices = choose(board, {"kind": (kind,)}, filled.period, filled.reader)
    assert choices.values["entity"] != ("",)
    panel = board.panel("How many records tell of it?")
    answer = filled.reader.ask(expand(panel.sql[0], filled.period, choices.values, choices.everything))
    assert answer.rows[0][0] > 0


def test_a_file_is_followed_to_who_wrote_it(filled: Filled) -> None:
    """The kernel's records of its writes stand beside the probe's, the touches say whose they were, and a harmed file stands out."""

    def rows(board: str, title: str) -> tuple[dict[str, Any], ...]:
        sql = expand(filled.boards[board].panel(title).sql[0], filled.period, choices.values, choices.everything)
        answer = filled.reader.ask(sql)
        return tuple(dict(zip(answer.columns, row, strict=True)) for row in answer.rows)

    (harmed,) = {
        row[0] for row in filled.reader.ask("SELECT anchor FROM findings_told WHERE detector = 'p06_checkpoint_tamper' AND alert").rows
    }
    choices = choose(filled.boards["entity"], {"kind": ("artefact",), "entity": (harmed,)}, filled.period, filled.reader)
    assert {row["source"] for row in rows("entity", "Which records tell of it?")} == {"auditd", "probe"}
    assert {"owner", "foreign"} <= {row["relation"] for row in rows("entity", "Which jobs did it touch, and how?") if row["actor"]}
    (standing,) = (row for row in rows("overview", "Which people, hosts and files stand out?") if row["name"] == harmed)
    assert (standing["kind"], standing["findings"]) == ("artefact", 1)


def test_the_rank_that_failed_first_is_told(filled: Filled, day: Day) -> None:
    """Of torchrun's block, whose lines came one by one, from several partitions."""
    number = next(each["subject"][2] for each in day.findings if each["detector"] == "p01_foreign_kill" and each["status"] != "retracted")
    choices = choose(filled.boards["job"], {"job": (number,)}, filled.period, filled.reader)
    panel = filled.boards["job"].panel("Which ranks failed, and which first?")
    answer = filled.reader.ask(expand(panel.sql[0], filled.period, choices.values, choices.everything))
    rows = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
    ((rank, line),) = {(row["rank"], row["line"]) for row in rows if row["first"]}
    assert rank.isdigit()
    assert "exitcode" in line
    assert {row["kind"] for row in rows} <= {"rank_failed", "task_ended", "step_oom", "step_cancelled", "collective_timeout"}


def test_annotations_have_time_and_text(filled: Filled) -> None:
    """The columns that Grafana reads, and something to mark."""
    for board in BOARDS:
        for each in board.annotations:
            answer = filled.reader.ask(filled.sql(board.name, each.sql))
            assert answer.error == ""
            assert answer.columns == ("time", "title", "text", "tags")
            assert answer.rows


def test_what_people_found_harmless_counts_against_nobody(filled: Filled) -> None:
    """It stays in the lists with what they said of it, and calls for no action; a later `true` brings it back."""

    def shown() -> tuple[Any, ...]:
        def rows(board: str, title: str) -> tuple[tuple[Any, ...], ...]:
            sql = expand(filled.boards[board].panel(title).sql[0], filled.period, choices.values, choices.everything)
            return filled.reader.ask(sql).rows

        ((calls,),), ((named,),) = rows("overview", "How many findings call for action?"), rows("entity", "How many findings name it?")
        risk = sum(row[2] for row in rows("overview", "Which people, hosts and files stand out?") if row[1] == actor)
        (label,) = (row[-3] for row in rows("overview", "Which findings need a look?") if row[-1] == finding)
        cases = filled.reader.ask(filled.sql("overview", filled.boards["overview"].panel("Which incidents are there?").sql[0]))
        dismissed.append(sum(row[cases.columns.index("dismissed")] for row in cases.rows))
        return calls, round(risk, 6), label, named

    with Database(filled.settings.clickhouse) as database:
        (finding, actor), *_ = database.query(
            "SELECT finding_id, actor FROM {db}.findings_told WHERE alert AND actor != '' AND status != 'retracted' ORDER BY finding_id"
        )
        choices = choose(filled.boards["entity"], {"kind": ("identity",), "entity": (actor,)}, filled.period, filled.reader)
        seen, dismissed = [], list[int]()
        for number, label in enumerate(("true", "benign", "true")):  # above what others said of it before
            at = datetime.now(UTC) + timedelta(minutes=number + 1)
            database.insert("labels", {"finding_id": [finding], "at": [at], "label": [label], "account": ["u101@test"]}, async_insert=0)
            seen.append(shown())
        database.query("DELETE FROM {db}.labels WHERE account = 'u101@test'")
    before, harmless, after = seen
    assert [label for _, _, label, _ in seen] == ["true", "benign", "true"]
    assert (harmless[0], harmless[3]) == (before[0] - 1, before[3] - 1)
    assert harmless[1] < before[1]
    assert after == before
    assert [each - dismissed[0] for each in dismissed] == [0, 1, 0]


def test_what_people_cleared_was_not_lost(filled: Filled) -> None:
    """Hours and money of an incident leave the sums with its last alert that stands, and come back with it."""

    def lost() -> tuple[float, ...]:
        panels = (filled.boards["overview"].panel(title) for title in ("How many GPU-hours were lost?", "What did that cost?"))
        answers = [filled.reader.ask(filled.sql("overview", panel.sql[0])) for panel in panels]
        assert [each.error for each in answers] == ["", ""]
        return tuple(value for each in answers for row in each.rows for value in row if isinstance(value, float))

    with Database(filled.settings.clickhouse) as database:

        def label(findings: Sequence[str], word: str, minutes: int) -> None:
            said = {"at": datetime.now(UTC) + timedelta(minutes=minutes), "label": word, "account": "u102@test"}
            values = {"finding_id": findings, **{name: [value] * len(findings) for name, value in said.items()}}
            database.insert("labels", values, async_insert=0)

        ((alerting, hours),) = database.query(
            "SELECT any(m.ids), sum(l.gpu_hours_middle) AS hours FROM {db}.losses_once AS l INNER JOIN "
            "(SELECT incident_id, groupArrayIf(finding_id, alert) AS ids FROM {db}.incident_findings_current GROUP BY incident_id) AS m "
            "ON m.incident_id = l.incidents[1] WHERE length(l.incidents) = 1 AND l.ledger = 'direct' "
            "GROUP BY m.incident_id HAVING hours > 0 AND length(any(m.ids)) > 0 ORDER BY length(any(m.ids)) DESC, m.incident_id LIMIT 1"
        )
        before = lost()
        label(alerting[1:] or alerting, "benign" if alerting[1:] else "true", 1)
        partly = lost()
        label(alerting, "false", 2)
        cleared = lost()
        database.query("DELETE FROM {db}.labels WHERE account = 'u102@test'")
        after = lost()
    assert partly == after == pytest.approx(before)
    assert cleared[1] == pytest.approx(before[1] - hours)
    assert all(now <= was for now, was in zip(cleared, before, strict=True))


@pytest.mark.parametrize("rule", alerts.RULES, ids=lambda rule: rule.uid)
def test_an_alert_rule_gives_one_number(filled: Filled, rule: alerts.Rule) -> None:
    """One row also when nothing came, since an empty answer would be `NoData`; what tells of loss is quiet after a clean day."""
    answer = filled.reader.ask(rule.sql)
    assert answer.error == ""
    ((value,),) = answer.rows
    assert isinstance(value, int | float)
    if rule.uid in ("unaccounted", "nothing-stored", "dead-letters", "parts"):
        assert value <= rule.above


# --- how much they read ---------------------------------------------------------------------------------------------------------------

EVENTS = 1_000_000


@pytest.fixture(scope="module")
def shares(running_servers: Settings, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, float]]:
    """Board -> panel -> the share of the granules of a large table that it is going to read, as the bench tells."""
    path = tmp_path_factory.mktemp("bench") / "trainwatch.yaml"
    clickhouse = {**running_servers.clickhouse.model_dump(mode="json"), "password": ""}
    path.write_text(yaml.safe_dump({"clickhouse": clickhouse, "kafka": {"bootstrap_servers": running_servers.kafka.bootstrap_servers}}))
    words = ["bench", "dashboards", "--events", str(EVENTS), "--rounds", "1", "--json"]
    done = CliRunner().invoke(main, ["--settings", str(path), *words])
    assert done.exit_code == 0, done.output
    found: dict[str, dict[str, float]] = {}
    for name, figures in json.loads(done.stdout)["jobs"][0]["details"].items():
        board, _, title = name.partition(": ")
        found.setdefault(board, {})[title] = figures["share"]
    return found


@pytest.mark.parametrize(
    ("name", "bound"),
    [
        ("job", job_dashboards.JOB_SHARE),
        ("incident", job_dashboards.JOB_SHARE),
        ("pipeline", job_dashboards.PERIOD_SHARE),
        ("entity", job_dashboards.PERIOD_SHARE),
        ("overview", 0.0),
        ("detectors", 0.0),
    ],
)
def test_panels_read_a_bounded_part(shares: dict[str, dict[str, float]], name: str, bound: float) -> None:
    """Of a job few granules, of a period the weeks that it touches, and of findings nothing of the large tables."""
    assert {title: share for title, share in shares[name].items() if share > bound} == {}
    assert bool(bound) == any(shares[name].values()), "nothing is read: the test shows nothing"


# --- the preview ----------------------------------------------------------------------------------------------------------------------


class Sections(HTMLParser):
    """States of the panels by title."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.states: dict[str, str] = {}
        self._state, self._title = "", False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        if tag == "section":
            self._state = str(dict(attrs)["data-state"])
        self._title = tag == "h2"

    def handle_data(self, data: str) -> None:
        if self._title:
            self.states[data] = self._state
            self._title = False


@pytest.fixture(scope="module")
def pages(filled: Filled, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every dashboard as the command writes it."""
    folder = tmp_path_factory.mktemp("pages")
    content = filled.settings.model_dump(mode="json", include={"clickhouse"})
    content["clickhouse"]["password"] = ""
    (folder / "trainwatch.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    written = {}
    for name in filled.boards:
        path, period = folder / f"{name}.html", filled.period_of(name)
        words = ["--settings", str(folder / "trainwatch.yaml"), "dashboard", name, "--out", str(path)]
        done = CliRunner().invoke(main, [*words, "--from", str(period.from_ms), "--to", str(period.to_ms)])
        assert done.exit_code == 0, done.output
        assert done.stdout.strip() == str(path)
        written[name] = path
    return written


def test_the_preview_shows_every_panel(pages: dict[str, Path]) -> None:
    """None fails, and none is empty that should not be."""
    for name, path in pages.items():
        states = Sections(path.read_text(encoding="utf-8")).states
        wanted = {title for board, title in EXPECTED if board == name}
        assert len(states) == len(wanted)
        assert [title for title, state in states.items() if state == "failed"] == []
        assert [title for title, state in states.items() if state == "empty" and EXPECTED[name, title]] == []


def test_the_preview_finds_its_period(filled: Filled, pages: dict[str, Path], tmp_path: Path) -> None:
    """Without one: that of the job; of nothing newer, the end of the data; JSON says what was shown."""
    words = ["--settings", str(pages["job"].parent / "trainwatch.yaml"), "dashboard", "job", "--json", "--out", str(tmp_path / "job.html")]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert filled.period.from_ms <= said["from_ms"] < said["to_ms"] <= filled.period.to_ms + 86_400_000
    assert said["to_ms"] - said["from_ms"] < 2 * 86_400_000
    assert "period ends with the newest event" in done.stderr
    assert said["failed"] == {}


def test_the_preview_of_what_is_cut_or_unknown(filled: Filled, pages: dict[str, Path], tmp_path: Path) -> None:
    """The beginning of an id, as the overview shows it, finds it; nothing known is said, and no page is written."""
    start = ["--settings", str(pages["job"].parent / "trainwatch.yaml"), "dashboard"]
    [finding] = filled.choices["incident"].values["finding"]
    done = CliRunner().invoke(main, [*start, "incident", "--var", f"finding={finding[:12]}", "--json", "--out", str(tmp_path / "a.html")])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["variables"]["finding"] == [finding]
    assert f"--settings {start[1]} dashboard job --var job=" in (tmp_path / "a.html").read_text(encoding="utf-8")
    for name, given in (("job", "job=99999999"), ("incident", "finding=c22bd0"), ("entity", "entity=nobody")):
        done = CliRunner().invoke(main, [*start, name, "--var", given, "--out", str(tmp_path / "b.html")])
        assert done.exit_code == 1, (name, done.output)
        assert f"nothing is known of {given}" in done.stderr
        assert not (tmp_path / "b.html").exists()


@pytest.mark.skipif(CHROMIUM is None, reason=NONE_HERE)
def test_a_browser_shows_every_panel(pages: dict[str, Path], tmp_path: Path) -> None:
    """Headless Chromium: nothing on the console, not even of the page's own policy, a picture that is not blank, every chart drawn."""
    for name, path in pages.items():
        shown = show(path, tmp_path / f"{name}.png")
        assert shown.console == []
        assert shown.picture.stat().st_size > 20_000, "the page is blank"
        with opened(path, tmp_path / f"{name}-profile") as tab:
            counts = tab.ask("[...document.querySelectorAll('.chart')].map(each => each.querySelectorAll('svg path, svg rect').length)")
            assert len(counts) == path.read_text(encoding="utf-8").count('class="chart"')
            assert min(counts, default=3) >= 3, "a chart is blank"
            assert tab.console == []


def test_a_query_that_fails_is_one_panel(filled: Filled) -> None:
    """The server's words, and the connection goes on."""
    failed = filled.reader.ask("SELECT nothing FROM events")
    assert isinstance(failed, Answer)
    assert "nothing" in failed.error
    assert filled.reader.ask("SELECT 1").rows == ((1,),)
