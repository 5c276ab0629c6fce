"""deploy/sql/roles.sql on a real ClickHouse: each role does its work and is refused the rest.

The embedded server keeps no accounts, but reads users from a file.  A user per role is written there with the grants, row policies,
settings profile and quota of the SQL as they stand, so that what is tried is what a site runs; statements that make a role or a user are
parsed.
"""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from click.testing import CliRunner

from deploy.grafana import alerts
from deploy.grafana.boards import BOARDS
from pipeline.cli import main
from pipeline.dashboard.definition import dashboards
from pipeline.dashboard.expand import expand
from pipeline.dashboard.period import Period
from pipeline.dashboard.query import Reader
from pipeline.embedded import install, ports
from pipeline.embedded.ports import HOST
from pipeline.errors import ConfigError, FatalError, SinkUnavailable
from pipeline.evidence.erasure import Erasure
from pipeline.evidence.signing import make_key
from pipeline.runtime import examine
from pipeline.runtime.accounts import ACCOUNTS
from pipeline.runtime.soundness import Mark
from pipeline.settings import ClickHouseSettings, Settings
from pipeline.sink import erasure, migrate
from pipeline.sink.clickhouse import ClickHouseSink, Database
from pipeline.sink.rows import BLOCK_TABLES, RANGES, ROOTS, STANDINGS, TABLES, UNREADABLE
from tests.integration.site import ROOT
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.servers

SQL = ROOT / "deploy" / "sql" / "roles.sql"
STATEMENTS = [
    " ".join(statement.split())
    for statement in re.sub(r"^--.*$", "", SQL.read_text(encoding="utf-8"), flags=re.MULTILINE).split(";")
    if statement.strip()
]
GRANT = re.compile(r"GRANT (?P<what>.+) ON (?P<on>((?P<database>trainwatch|system)\.)?(?P<table>\w+|\*)) TO (?P<roles>[\w, ]+)")
POLICY = re.compile(
    r"CREATE ROW POLICY IF NOT EXISTS \w+ ON trainwatch\.(?P<table>\w+) FOR SELECT USING (?P<rows>.+) TO (?P<role>trainwatch_\w+)"
)
PROFILE = re.compile(r"CREATE SETTINGS PROFILE IF NOT EXISTS (?P<name>\w+) SETTINGS (?P<settings>.+) TO (?P<roles>[\w, ]+)")
SETTING = re.compile(r"(?P<name>\w+) = (?P<value>\d+)(?: MAX (?P<most>\d+))?(?P<changeable> CHANGEABLE_IN_READONLY)?")
QUOTA = re.compile(
    r"CREATE QUOTA IF NOT EXISTS (?P<name>\w+) KEYED BY user_name FOR INTERVAL 1 hour MAX (?P<limits>.+) TO (?P<roles>[\w, ]+)"
)
ROLES = ("owner", "writer", "dashboards", "reader", "reader_main", "investigator", "privacy")
SERVE = """
import sys
sys.path.insert(0, {root!r})
from pipeline.embedded import clickhouse_server
arguments = clickhouse_server.server_arguments(path={path!r}, log={log!r}, host={host!r}, tcp_port={tcp}, http_port={http})
sys.exit(clickhouse_server.serve({library!r}, [arguments[0], "--config-file=" + {config!r}, *arguments[1:]]))
"""


def users() -> str:
    """users.xml: a user for each role, and one that may do everything."""
    ours = {f"trainwatch_{role}": ("", "") for role in ROLES}
    profile, quota = dict.fromkeys(ours, "default"), dict.fromkeys(ours, "default")
    profiles = quotas = "<default/>"
    for statement in STATEMENTS:
        if found := GRANT.fullmatch(statement):
            for role in re.split(r",\s*", found["roles"]):
                grants, rows = ours[role]
                query = f"GRANT {found['what']} ON {found['on']}"
                ours[role] = f"{grants}<query>{escape(query)}</query>", rows
        elif found := POLICY.fullmatch(statement):
            grants, rows = ours[found["role"]]
            ours[found["role"]] = grants, f"{rows}<{found['table']}><filter>{escape(found['rows'])}</filter></{found['table']}>"
        elif found := PROFILE.fullmatch(statement):
            profiles += f"<{found['name']}>{settings_of(found['settings'])}</{found['name']}>"
            profile |= dict.fromkeys(found["roles"].split(", "), found["name"])
        elif found := QUOTA.fullmatch(statement):
            limits = "".join(f"<{name}>{value}</{name}>" for name, value in re.findall(r"(\w+) = (\d+)", found["limits"]))
            interval = f"<interval><duration>3600</duration>{limits}</interval>"
            quotas += f"<{found['name']}><keyed/>{interval}</{found['name']}>"
            quota |= dict.fromkeys(found["roles"].split(", "), found["name"])
    common = "<password></password><networks><ip>::/0</ip></networks>"
    every = "".join(
        f"<{name}>{common}<profile>{profile[name]}</profile><quota>{quota[name]}</quota><grants>{grants}</grants>"
        f"<databases><trainwatch>{rows}</trainwatch></databases></{name}>"
        for name, (grants, rows) in ours.items()
    )
    root = f"<default>{common}<profile>default</profile><quota>default</quota><access_management>1</access_management></default>"
    return f"<clickhouse><profiles>{profiles}</profiles><quotas>{quotas}</quotas><users>{root}{every}</users></clickhouse>"


def settings_of(listed: str) -> str:
    """The settings of a profile, and how far they may be changed, as users.xml has them."""
    found = list(SETTING.finditer(listed))
    values = "".join(f"<{each['name']}>{each['value']}</{each['name']}>" for each in found)
    bounds = "".join(
        f"<{each['name']}><max>{each['most']}</max>{'<changeable_in_readonly/>' if each['changeable'] else ''}</{each['name']}>"
        for each in found
        if each["most"]
    )
    return f"{values}<constraints>{bounds}</constraints>"


@pytest.fixture(scope="module")
def server(installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Its port.  Tables are made by the owner's role."""
    folder = tmp_path_factory.mktemp("roles")
    numbers: list[int] = []
    for _ in range(2):
        numbers.append(ports.choose("", configured=0, remembered=None, taken=numbers))
    (folder / "users.xml").write_text(users())
    (folder / "config.xml").write_text(f"<clickhouse><users_config>{folder / 'users.xml'}</users_config></clickhouse>")
    values = {"root": str(ROOT), "path": str(folder / "data"), "log": str(folder / "log"), "host": HOST, "tcp": numbers[0]}
    script = SERVE.format(**values, http=numbers[1], library=str(install.find_clickhouse()), config=str(folder / "config.xml"))
    with (folder / "out").open("wb") as out:
        process = subprocess.Popen([sys.executable, "-c", script], stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            assert process.poll() is None, (folder / "out").read_text()
            assert time.monotonic() < deadline
            try:
                with as_role("owner", numbers[0]) as database:
                    migrate.up(database, say=lambda _: None)
                break
            except SinkUnavailable:
                time.sleep(0.1)
        yield numbers[0]
    finally:
        process.kill()
        process.wait()


def as_role(role: str, port: int) -> Database:
    """A connection of a role; `` is the account that may do everything."""
    return Database(ClickHouseSettings(host=HOST, port=port, user=f"trainwatch_{role}" if role else "default"))


def test_every_statement_parses(server: int) -> None:
    """Also those that the embedded server has no place for."""
    with as_role("", server) as database:
        for statement in STATEMENTS:
            assert database.query("SELECT formatQuery(%(statement)s)", {"statement": statement})
    known = {word for statement in STATEMENTS for word in re.findall(r"^(?:CREATE \w+ ?\w*|GRANT)", statement)}
    assert known == {"CREATE ROLE IF", "CREATE ROW POLICY", "CREATE SETTINGS PROFILE", "CREATE QUOTA IF", "CREATE USER IF", "GRANT"}


def test_what_is_named_is_there(server: int) -> None:
    """Tables and columns, so that a grant is not for something that a migration has renamed; and no table is forgotten."""
    with as_role("", server) as database:
        found = database.query("SELECT table, name FROM system.columns WHERE database = 'trainwatch'")
    columns = {table: {name for each, name in found if each == table} for table, _ in found}
    named = set()
    for grant in filter(None, map(GRANT.fullmatch, STATEMENTS)):
        if grant["database"] == "trainwatch" and grant["table"] != "*":
            named.add(grant["table"])
            assert grant["table"] in columns, grant[0]
            listed = {name.strip() for names in re.findall(r"\(([^)]*)\)", grant["what"]) for name in names.split(",")}
            assert listed <= columns[grant["table"]], f"{grant['table']}: no column {listed - columns[grant['table']]}"
    investigators_alone = {
        *(
            "attribution_current",
            "detector_quality",
            "dismissed_current",
            "finding_evidence_current",
            "findings_told",
            "job_timeline",
            "labels_current",
        ),
    }
    assert columns.keys() - named == investigators_alone


def test_a_worker_adds_rows_and_nothing_else(server: int) -> None:
    """Into every table of the sink; it asks whether they have landed; it reads no line."""
    settings = ClickHouseSettings(host=HOST, port=server, user="trainwatch_writer")
    with ClickHouseSink(settings) as sink:
        migrate.check(sink.database)
        for name, table in TABLES.items():
            if table not in (RANGES, ROOTS, STANDINGS, UNREADABLE):
                assert sink.landed(name, "t", 0, 0, 1) == 0
        assert not sink.noted("t", 0, 0, 1, "first")
        assert not sink.rooted("t", 0, 0, 1, "first", "root")
        assert not sink.stored("t", 0, 0, 1, "first")
        sink.database.insert("events", {"event_id": ["e1"], "cluster": ["main"], "raw": ["line"]})
        sink.database.insert("events", {"event_id": ["e2"], "cluster": ["other"], "raw": ["line"]})
        for table in TABLES.values():
            sink.database.insert(table.name, {next(iter(table.names)): []})


REFUSED: dict[str, tuple[str, ...]] = {
    "owner": ("CREATE DATABASE elsewhere", "SELECT name FROM system.users"),
    "writer": (
        "SELECT raw FROM trainwatch.events",
        "SELECT who FROM trainwatch.attribution",
        "ALTER TABLE trainwatch.events DELETE WHERE 1",
        "DROP TABLE trainwatch.events",
        "INSERT INTO trainwatch.labels (note) SELECT ''",
        "INSERT INTO trainwatch.migrations (number) SELECT 1",
    ),
    "dashboards": (
        "INSERT INTO trainwatch.labels (note) SELECT ''",
        "ALTER TABLE trainwatch.events DELETE WHERE 1",
        "SELECT name FROM system.users",
    ),
    "reader": (
        "SELECT raw FROM trainwatch.events",
        "SELECT attrs FROM trainwatch.events",
        "SELECT * FROM trainwatch.events",
        "SELECT canonical FROM trainwatch.findings_current",
        "SELECT actor FROM trainwatch.findings",
        "SELECT named FROM trainwatch.incidents_current",
        "SELECT who FROM trainwatch.attribution_current",
        "SELECT value FROM trainwatch.records_held",
        "SELECT text FROM trainwatch.job_timeline",
        "INSERT INTO trainwatch.labels (note) SELECT ''",
    ),
    "reader_main": ("SELECT raw FROM trainwatch.events", "SELECT incident_id FROM trainwatch.incidents"),
    "investigator": (
        "INSERT INTO trainwatch.findings (title) SELECT ''",
        "ALTER TABLE trainwatch.events UPDATE raw = '' WHERE 1",
        "ALTER TABLE trainwatch.custody_log DELETE WHERE 1",
        "TRUNCATE TABLE trainwatch.labels",
    ),
    "privacy": ("ALTER TABLE trainwatch.events DELETE WHERE 1", "ALTER TABLE trainwatch.events UPDATE host = '' WHERE 1"),
}


@pytest.mark.parametrize("role", REFUSED)
def test_the_rest_is_refused(server: int, role: str) -> None:
    """By the server, with advice that names this file."""
    with as_role(role, server) as database:
        for statement in REFUSED[role]:
            with pytest.raises(ConfigError, match="Not enough privileges") as caught:
                database.command(statement)
            assert "roles.sql" in caught.value.advice


def test_a_reader_sees_all_that_it_was_granted(server: int) -> None:
    """Tables and views, column by column."""
    for role in ("reader", "reader_main"):
        with as_role(role, server) as database:
            for grant in filter(None, map(GRANT.fullmatch, STATEMENTS)):
                if f"trainwatch_{role}" in grant["roles"].split(", ") and grant["table"] != "*":
                    columns = grant["what"].removeprefix("SELECT").strip("()") or "*"
                    try:
                        database.query(f"SELECT {columns} FROM {grant['on']} LIMIT 1")  # noqa: S608  from our own file
                    except FatalError as error:
                        pytest.fail(f"{role}: {grant['table']}: {str(error)[:300]}")


PERIOD = Period(1_772_000_000_000, 1_772_086_400_000)


def refused(role: str, port: int) -> dict[str, set[str]]:
    """By dashboard, the panels, variables, annotations and alerts that a role is refused."""
    found: dict[str, set[str]] = {}
    with as_role(role, port) as database:
        reader = Reader(database)
        for board in dashboards().values():
            values = {variable.name: ("x",) for variable in board.variables}
            asked = [(panel.title, panel.sql[0]) for panel in board.panels]
            asked += [(variable.name, variable.sql) for variable in board.variables if variable.sql]
            found[board.name] = {what for what, sql in asked if reader.ask(expand(sql, PERIOD, values)).error}
        for made in BOARDS:
            values = {variable.name: ("x",) for variable in dashboards()[made.name].variables}
            found[made.name] |= {each.name for each in made.annotations if reader.ask(expand(each.sql, PERIOD, values)).error}
        found["alerts"] = {rule.uid for rule in alerts.RULES if reader.ask(rule.sql).error}
    return {name: each for name, each in found.items() if each}


def test_grafana_is_answered(server: int) -> None:
    """All that the dashboards ask, by the role of Grafana's account; whoever runs the pipeline needs no role that sees lines and names."""
    assert refused("dashboards", server) == {}
    short = refused("reader", server)
    assert short.keys().isdisjoint({"pipeline", "alerts"})
    assert short["clickhouse"] == {"Which queries read most?"}  # of others: names and lines stand in them


def test_compose_grants_the_same(server: int) -> None:
    """Its file of users is written by hand."""
    xml = (ROOT / "deploy" / "compose" / "clickhouse-users.xml").read_text(encoding="utf-8")
    ours = {f"GRANT {grant['what']} ON {grant['on']}" for grant in map(GRANT.fullmatch, STATEMENTS)
            if grant and "trainwatch_dashboards" in re.split(r",\s*", grant["roles"])}  # fmt: skip
    assert set(re.findall(r"<query>(.*?)</query>", xml)) == ours


@pytest.mark.parametrize(("account", "role"), [(name, each.clickhouse) for name, each in ACCOUNTS.items() if each.clickhouse])
def test_check_asks_for_no_more_than_an_account_has(server: int, account: str, role: str) -> None:
    """Of each account; what it may not look at is skipped, advice undoes no least rights, and another role will not do."""
    other = "writer" if role != "writer" else "investigator"
    for user in (role, other):
        settings = Settings(clickhouse=ClickHouseSettings(host=HOST, port=server, user=f"trainwatch_{user}"))
        lines = {line.what: line for line in examine.clickhouse(settings, account)}
        assert {what for what, line in lines.items() if line.mark is Mark.FAIL} == (set() if user == role else {"rights"})
        looks = user not in ("writer", "owner", "privacy")
        assert {what for what, line in lines.items() if line.mark is Mark.SKIP} == (set() if looks else {"parts", "disk"})
        seen = 7 if user == "reader" else len(BLOCK_TABLES)
        assert lines["deduplication"].found.endswith(f"{seen} tables")
        assert "GRANT" not in lines["rights"].advice
        assert (f"trainwatch_{role} of deploy/sql/roles.sql" in lines["rights"].advice) == (user != role)


@pytest.mark.parametrize(("role", "code"), [("investigator", 0), ("writer", 2)])
def test_the_nightly_check_takes_an_account_of_its_own(server: int, tmp_path: Path, role: str, code: int) -> None:
    """Workers read no line, so theirs will not do; the role of `trainwatch_evidence` holds and checks."""
    settings = tmp_path / "trainwatch.yaml"
    settings.write_text(
        f"clickhouse: {{host: {HOST}, port: {server}, user: trainwatch_{role}}}\nevidence: {{key_file: {tmp_path / 'evidence.key'}}}\n"
    )
    make_key(tmp_path / "evidence.key", 0)
    for words in (("hold", "--open"), ("verify",)):
        done = CliRunner().invoke(main, ["--settings", str(settings), "evidence", *words])
        assert done.exit_code == code, done.output


def test_one_cluster_alone(server: int) -> None:
    """Who reads one cluster sees its rows, also through views; the others see all."""
    with as_role("", server) as database:
        database.insert("events", {"event_id": ["p1", "p2"], "cluster": ["main", "elsewhere"]})
    for role, seen in (("reader_main", {"main"}), ("reader", {"main", "elsewhere"})):
        with as_role(role, server) as database:
            assert {
                name for (name,) in database.query("SELECT DISTINCT cluster FROM trainwatch.events WHERE event_id LIKE 'p%%'", {})
            } == seen
            assert {name for (name,) in database.query("SELECT DISTINCT cluster FROM trainwatch.coverage WHERE cluster != 'other'")} == seen


def test_who_investigates_writes_what_people_say(server: int) -> None:
    """Labels, journal, custody, holds; who erases on request may do that."""
    with as_role("", server) as database:
        database.insert("events", {"event_id": ["p1"], "raw": ["line"], "_offset": [17]})
    with as_role("investigator", server) as database:
        for table in ("labels", "incident_journal", "custody_log", "events_held", "records_held", "evidence_roots_held"):
            database.insert(table, {next(iter(database.columns(table))): []})
        database.insert("labels", {"note": ["seen"]})
        database.query("DELETE FROM trainwatch.events_held WHERE hold = ''")
        database.query("SELECT text FROM trainwatch.job_timeline LIMIT 1")
    with as_role("privacy", server) as database:
        wanted = erasure.Wanted(ids=("p1",), actor="", since=0, until=2**42)
        assert len(erasure.going(database, wanted)) == 1
        whose = {"account": "ops", "reason": "request 17", "event_id": "p1", "sha256": "", "topic": "", "incarnation": ""}
        erasure.erase(database, [Erasure(time=1, partition=0, offset=17, line=0, **whose)])
        assert erasure.counts(database, wanted) == (0, 0)


@pytest.mark.parametrize(
    ("role", "allowed", "refused"),
    [
        (
            "reader",
            ("SELECT 1 SETTINGS max_execution_time = 120",),
            ("max_execution_time = 301", "max_memory_usage = 1", "max_threads = 1"),
        ),
        ("reader_main", ("SELECT 1 SETTINGS max_execution_time = 120",), ("max_execution_time = 301", "readonly = 0")),
        ("dashboards", ("SELECT 1 SETTINGS max_execution_time = 120, max_threads = 1",), ("max_execution_time = 301", "readonly = 0")),
    ],
)
def test_who_reads_raises_no_bound(server: int, role: str, allowed: tuple[str, ...], refused: tuple[str, ...]) -> None:
    """Profiles of the SQL are in force: Grafana may send settings, and shorten or lengthen a query within bounds; nobody may write."""
    with as_role(role, server) as database:
        for statement in allowed:
            assert database.query(statement) == [(1,)]
        for setting in refused:
            with pytest.raises(ConfigError) as caught:
                database.query(f"SELECT 1 SETTINGS {setting}")
            assert "roles.sql" in caught.value.advice
        with pytest.raises(ConfigError, match=r"readonly|privileges"):
            database.insert("labels", {"note": ["x"]})


@pytest.mark.parametrize(("role", "quota"), [("reader", 6000), ("investigator", 6000), ("dashboards", None), ("writer", None)])
def test_notebooks_have_a_quota(server: int, role: str, quota: int | None) -> None:
    """The SQL's own, which counts; workers and dashboards are never held back by one."""
    with as_role(role, server) as database:
        if quota:  # questions to system tables do not count
            database.query("SELECT count() FROM trainwatch.migrations")
        ((queries, most),) = database.query("SELECT queries, max_queries FROM system.quota_usage")
    assert most == quota
    assert quota is None or queries > 0
