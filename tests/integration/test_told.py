"""Every door by which people are told who acted: none tells a name that no incident gives, each tells one that an incident gives.

One database with three cases: u099, whom an incident names; u098, of whom the finding's records tell and whose incident names nobody; u097,
whose finding is in no incident yet.
"""

import io
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import orjson
import pytest
from click.testing import CliRunner
from rich.console import Console

from pipeline.cli import Options
from pipeline.cli.analyse import show_findings
from pipeline.cli.dashboard import dashboard as dashboard_command
from pipeline.cli.finding import finding
from pipeline.cli.incident import incident
from pipeline.cli.job import job
from pipeline.incidents.step import step as judge
from pipeline.incidents.telling import NOBODY_YET, told_bodies
from pipeline.model.finding import Finding
from pipeline.model.outcome import Publish, Record
from pipeline.runtime.notices import FINDINGS, FORMS, INCIDENTS, Circumstances, payload, read
from pipeline.settings import Settings
from pipeline.sink import copied, evidence
from pipeline.sink.clickhouse import ClickHouseSink, Database
from pipeline.sink.step import build_state, step
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import NOTHING
from tests.integration.day import Day
from tests.unit.incidents.campaign import T0, kill, marks
from tests.unit.incidents.test_step import STORY, fact, fresh
from tests.unit.sink.build import record as finding_record

pytestmark = pytest.mark.servers

NAMED, DOUBTED, ALONE = "u099", "u098", "u097"
FOUND = {NAMED: STORY[0], DOUBTED: kill(3, "70", DOUBTED), ALONE: kill(4, "80", ALONE)}
COMMANDS: dict[str, click.Command] = {"finding": finding, "job": job, "incident": incident, "dashboard": dashboard_command}
PERIOD = ("--from", str(T0 - 86_400_000), "--to", str(T0 + 60 * 86_400_000))


class Site:
    """The three cases in a database, and what was published of them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.findings = [finding_record(each, place).value or b"" for place, each in enumerate((*STORY, FOUND[DOUBTED], FOUND[ALONE]))]
        outcomes = judge(fresh(), [*map(fact, STORY), fact(FOUND[DOUBTED])], marks(60))[1]
        self.incidents = {out.key.decode(): out.value for out in outcomes if isinstance(out, Publish)}
        with Database(settings.clickhouse) as database:
            copied.make(database)
        values = [("findings", value) for value in self.findings] + [("incidents", value) for value in self.incidents.values()]
        with ClickHouseSink(settings.clickhouse) as sink:
            for offset, (content, value) in enumerate(values):
                record = Record(topic=f"trainwatch.{content}.v1", partition=0, offset=offset, timestamp=0, value=value)
                for table, block in sink.tables(step(build_state(Settings(), Cases()), [record], NOTHING)[1]).items():
                    sink.insert(table, block, f"{content}-{offset}-{table}")

    def run(self, *words: str) -> str:
        """Standard output and error of a command."""
        options = Options()
        options.__dict__["settings"] = self.settings
        command, *rest = words
        done = CliRunner(env={"COLUMNS": "400"}).invoke(COMMANDS[command], rest, obj=options, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    def ask(self, sql: str, **asked: str) -> list[tuple[Any, ...]]:
        with Database(self.settings.clickhouse) as database:
            return database.query(sql, asked)

    def bodies(self, values: Sequence[bytes]) -> list[dict[str, Any]]:
        return [orjson.loads(value)["unmapped"]["trainwatch"]["canonical"] for value in values]

    def incident_of(self, finding: Finding) -> str:
        """Its id; empty: there is none."""
        listing = [body["id"] for body in self.bodies([*self.incidents.values()]) if finding.id in str(body["members"])]
        return listing[0] if listing else ""


@pytest.fixture(scope="module")
def filled(running_servers: Settings) -> Iterator[Site]:
    """Tables of its own for this file."""
    name = f"told_{uuid.uuid4().hex[:10]}"
    settings = running_servers.model_copy(update={"clickhouse": running_servers.clickhouse.model_copy(update={"database": name})})
    with Database(settings.clickhouse) as database:
        yield Site(settings)
        database.command(f"DROP DATABASE {name} SYNC")


@pytest.fixture
def site(filled: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Site:
    monkeypatch.chdir(tmp_path)
    return filled


def analysed(site: Site, who: str) -> str:
    """What `analyse` prints of this finding."""
    page = io.StringIO()
    bodies = told_bodies(site.bodies(site.findings), site.bodies([*site.incidents.values()]))
    show_findings(Console(file=page, width=400, highlight=False), [body for body in bodies if body["id"] == FOUND[who].id], {})
    return page.getvalue()


def row(site: Site, who: str) -> str:
    lines = site.run("finding", "list", "--all", "--json").splitlines()
    return next(line for line in lines if FOUND[who].id in line)


def dashboard(site: Site, *words: str) -> str:
    site.run("dashboard", *words, *PERIOD, "--out", "page.html")
    return Path("page.html").read_text()


def job_of(who: str) -> str:
    attempt = FOUND[who].attempt
    return attempt.job if attempt else ""


def incident_report(site: Site, who: str, *words: str) -> str:
    site.run("incident", "report", site.incident_of(FOUND[who]), "--out", "report", *words)
    return Path("report").read_text()


def notices_of(content: str, value: bytes) -> str:
    """In all formats."""
    notice = read(content, value)
    return "".join(payload(form, notice, value, Circumstances()).decode() for form in (*FORMS, "ocsf"))


# Of each door what it says of one person's finding.
OF_FINDING: dict[str, Callable[[Site, str], str]] = {
    "findings_told": lambda site, who: str(site.ask("SELECT * FROM {db}.findings_told WHERE finding_id = %(id)s", id=FOUND[who].id)),
    "job_timeline": lambda site, who: str(site.ask("SELECT * FROM {db}.job_timeline WHERE job_id = %(id)s", id=job_of(who))),
    "finding list --json": row,
    "finding show": lambda site, who: site.run("finding", "show", FOUND[who].id),
    "finding show --json": lambda site, who: site.run("finding", "show", FOUND[who].id, "--json"),
    "job explain": lambda site, who: site.run("job", "explain", job_of(who)),
    "job explain --json": lambda site, who: site.run("job", "explain", job_of(who), "--json"),
    "analyse": analysed,
    "dashboard incident": lambda site, who: dashboard(site, "incident", "--var", f"finding={FOUND[who].id}"),
    "dashboard job": lambda site, who: dashboard(site, "job", "--var", f"job={job_of(who)}"),
}
OF_INCIDENT: dict[str, Callable[[Site, str], str]] = {
    "incident show": lambda site, who: site.run("incident", "show", site.incident_of(FOUND[who])),
    "incident show --json": lambda site, who: site.run("incident", "show", site.incident_of(FOUND[who]), "--json"),
    "incident report": incident_report,
    "incident report --json": lambda site, who: incident_report(site, who, "--json"),
    "notice of the incident": lambda site, who: notices_of(INCIDENTS, site.incidents[site.incident_of(FOUND[who])]),
}
OF_ALL: dict[str, Callable[[Site], str]] = {
    "finding list": lambda site: site.run("finding", "list", "--all"),
    "incident list": lambda site: site.run("incident", "list"),
    "incident list --json": lambda site: site.run("incident", "list", "--json"),
    "dashboard overview": lambda site: dashboard(site, "overview"),
}


def test_no_door_tells_a_name_that_no_incident_gives(site: Site) -> None:
    """And each tells one that an incident gives; the table, the topic and the bundle keep what the records say."""
    raw = {str(actor) for (actor,) in site.ask("SELECT actor FROM {db}.findings_current")}
    assert raw == {NAMED, DOUBTED, ALONE}
    wrong = []
    for door, says in OF_FINDING.items():
        others = (DOUBTED, ALONE) if not door.startswith("dashboard") else (DOUBTED,)  # a page takes half a second
        wrong += [(door, who) for who in others if who in says(site, who)]
        wrong += [(door, NAMED)] if NAMED not in says(site, NAMED) else []
    for door, says in OF_INCIDENT.items():
        wrong += [(door, DOUBTED)] if DOUBTED in says(site, DOUBTED) else []
        wrong += [(door, NAMED)] if NAMED not in says(site, NAMED) else []
    for door, says_all in OF_ALL.items():
        text = says_all(site)
        wrong += [(door, who) for who in (DOUBTED, ALONE) if who in text]
        wrong += [(door, NAMED)] if NAMED not in text else []
    assert wrong == []


def test_a_notice_of_a_finding_names_nobody(site: Site) -> None:
    """In no format: it comes before its incident has weighed anything."""
    for value in site.findings:
        assert not [who for who in FOUND if who in notices_of(FINDINGS, value)]


def test_the_view_and_what_is_told_without_a_server_agree(site: Site) -> None:
    """Whom, and why nobody."""
    stored = {row[0]: row[1:] for row in site.ask("SELECT finding_id, actor, actor_withheld FROM {db}.findings_told")}
    bodies = told_bodies(site.bodies(site.findings), site.bodies([*site.incidents.values()]))
    assert stored == {body["id"]: (body["actor"], body["actor_withheld"]) for body in bodies}
    assert stored[FOUND[NAMED].id] == (NAMED, "")
    assert "only one independent source" in stored[FOUND[DOUBTED].id][1]
    assert stored[FOUND[ALONE].id] == ("", NOBODY_YET)


def test_a_job_is_followed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known of it, then what is new: here, that somebody labelled its finding.  Nothing is told twice."""
    found, number = FOUND[NAMED], job_of(NAMED)

    def label() -> None:
        values = {"finding_id": [found.id], "account": ["u101@ops"], "label": ["true"], "because": [""], "note": [""]}
        with Database(site.settings.clickhouse) as database:
            database.insert("labels", values, async_insert=0)

    waits = iter([lambda: None, label])

    def wait(_: float) -> None:
        if (do := next(waits, None)) is None:
            raise KeyboardInterrupt
        do()

    with monkeypatch.context() as patched:
        patched.setattr("pipeline.cli.following.time.sleep", wait)
        first, *later = map(orjson.loads, site.run("job", "explain", number, "--follow", "--json").splitlines())
    assert [(each["finding_id"], each["label"]) for each in first["findings"]] == [(found.id, "")]
    assert [[(each["finding_id"], each["label"]) for each in news["findings"]] for news in later] == [[(found.id, "true")]]
    assert [news["verdicts"] for news in later] == [[]]


def test_what_people_cleared_stands_beside_whom_a_job_names(site: Site) -> None:
    """The incident names on: by whom its findings were cleared and when is told with the job."""
    found, number = FOUND[NAMED], job_of(NAMED)
    labelled_at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)  # above what others said of it
    values: dict[str, list[Any]] = {"finding_id": [found.id], "account": ["u102@ops"], "label": ["benign"], "at": [labelled_at]}
    with Database(site.settings.clickhouse) as database:
        database.insert("labels", values, async_insert=0)
        told = orjson.loads(site.run("job", "explain", number, "--json"))
        shown = " ".join(site.run("job", "explain", number).split())
        database.query("DELETE FROM {db}.labels WHERE account = 'u102@ops'")
    (case,) = told["dismissed"]
    assert (case["incident_id"], case["of_job"]) == (site.incident_of(found), [found.id])
    assert (case["dismissed"], case["labelled_by"]) == (1, {"u102@ops": int(labelled_at.timestamp() * 1000)})
    assert f"labelled benign (u102@ops, {labelled_at:%Y-%m-%d %H:%M:%S}Z)" in shown
    assert f"people labelled 1 of {case['findings']} finding" in shown
    assert "does not weigh labels" in shown


def test_nobody_acquits_himself(site: Site) -> None:
    """His word stands in the journal; in lists, on boards and beside the name it takes nothing back, nor what others said of it."""
    found, number = FOUND[NAMED], job_of(NAMED)
    incident = site.incident_of(found)

    def told() -> tuple[int, int, int]:
        cases = {each["incident_id"]: each for each in orjson.loads(site.run("job", "explain", number, "--json"))["dismissed"]}
        listed = {each["incident_id"]: each for each in map(orjson.loads, site.run("incident", "list", "--json").splitlines())}
        case = cases.get(incident, {"dismissed": 0, "dismissed_by_named": 0})
        return case["dismissed"], case["dismissed_by_named"], listed[incident]["dismissed"]

    with Database(site.settings.clickhouse) as database:
        ((name,),) = database.query("SELECT named FROM {db}.incidents_current WHERE incident_id = %(id)s", {"id": incident})
        words_of_his = [(f"{name}@ops", "", ""), (f"{name} through trainwatch.labels.v1", "", "")]
        for own in (*words_of_his, ("other-login@ops", name, ""), ("u101@ops", "", name)):
            seen = []
            other = ("u102@ops", "", "")
            for days, (by, whose, spoken), label in ((1, other, "true"), (2, own, "false"), (3, other, "benign"), (4, own, "true")):
                at = datetime.now(UTC) + timedelta(days=days)
                values: dict[str, list[Any]] = {
                    "finding_id": [found.id], "account": [by], "person": [whose], "on_behalf_of": [spoken], "label": [label], "at": [at],
                }  # fmt: skip
                database.insert("labels", values, async_insert=0)
                seen.append(told())
            database.query("DELETE FROM {db}.labels WHERE at > now() + INTERVAL 12 HOUR")
            assert seen == [(0, 0, 0), (0, 1, 0), (1, 1, 1), (1, 0, 1)], own


def test_what_stands_in_the_journal_of_an_incident_that_came_apart_is_found(site: Site) -> None:
    """Where it is read: whom that one withholds is not known to this one.  It is no state of this one."""
    found, former = FOUND[NAMED], "f0" * 16
    incident = site.incident_of(found)
    noted: dict[str, list[Any]] = {"incident_id": [former] * 2, "action": ["status", "note"], "value": ["shut", ""], "text": ["", DOUBTED]}
    rows: dict[str, list[Any]] = {"incident_id": [former], "finding_id": [found.id], "effect_time": [datetime.now(UTC)]}
    with Database(site.settings.clickhouse) as database:
        database.insert("incident_findings", rows, async_insert=0)
        database.insert("incident_journal", noted, async_insert=0)
        shown = " ".join(site.run("incident", "show", incident).split())
        told = orjson.loads(site.run("incident", "show", incident, "--json"))
        database.query("DELETE FROM {db}.incident_findings WHERE incident_id = %(id)s", {"id": former})
        database.query("DELETE FROM {db}.incident_journal WHERE incident_id = %(id)s", {"id": former})
    assert f"Incident {former[:12]} had some of these findings before: 2 entries of its journal stand there" in shown
    assert (told["formerly"], told["state"], DOUBTED in shown) == ([[former, 2]], "open", False)


def test_a_part_of_a_job_s_timeline(site: Site) -> None:
    """From --since on; what is said of the job stays whole."""
    whole, none = (
        orjson.loads(site.run("job", "explain", job_of(NAMED), "--since", since, "--json")) for since in ("2020-01-01", "2100-01-01")
    )
    assert (whole["timeline_length"] > 0, none["timeline_length"], none["timeline"]) == (True, 0, [])
    assert whole["findings"] == none["findings"]


def test_a_long_timeline_is_cut_to_its_end(day: Day) -> None:
    """In order; there stands why the job ended."""
    number = next(each["subject"][2] for each in day.findings if each["detector"] == "p01_foreign_kill")
    options = Options()
    options.__dict__["settings"] = day.settings

    def asked(*more: str) -> Any:
        return orjson.loads(CliRunner().invoke(job, ["explain", number, "--json", *more], obj=options).stdout)

    whole, cut = asked(), asked("--timeline", "7")
    assert whole["timeline_length"] == cut["timeline_length"] == len(whole["timeline"]) > 40
    assert cut["timeline"] == whole["timeline"][-7:]


def test_who_looks_is_on_record(site: Site) -> None:
    """Of commands that show lines as received, before they do; without the right to note it they go on, and say so."""
    found, number, case = FOUND[NAMED].id, job_of(NAMED), site.incident_of(FOUND[NAMED])
    looks = (
        ("finding", "show", found), ("job", "explain", number), ("incident", "show", case), ("incident", "report", case, "--out", "x"),
        ("dashboard", "incident", "--var", f"finding={found[:12]}", "--out", "y", *PERIOD),
        ("dashboard", "overview", "--out", "z", *PERIOD), ("dashboard", "entity", "--var", f"entity={NAMED}", "--out", "e", *PERIOD),
    )  # fmt: skip
    with Database(site.settings.clickhouse) as database:
        before = len(evidence.custody(database))
        for words in looks:
            site.run(*words)
        entries = {(each.action, each.subject, each.detail) for each in evidence.custody(database)[before:]}
        assert entries == {
            ("looked", found, "finding show"), ("looked", f"job {number}", "job explain"), ("looked", found, "job explain"),
            ("looked", case, "incident show"), ("looked", case, "incident report"), ("looked", found, "dashboard incident"),
            ("looked", "all", "dashboard overview"), ("looked", f"kind identity, entity {NAMED}", "dashboard entity"),
        }  # fmt: skip
        database.command(f"DROP TABLE {database.name}.custody_log SYNC")
    for words in (each for each in looks if each[:2] != ("dashboard", "incident")):  # a panel of that one shows the log itself
        assert "this look is not in the custody log" in site.run(*words)
