"""The dashboards themselves: what every panel must say, that files are what the generator writes, that links and provisioning fit."""

import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.grafana import alerts, generate, permissions
from deploy.grafana.boards import BOARDS
from deploy.grafana.panels import DATASOURCE, Board, Panel
from pipeline.dashboard.definition import dashboards, folder
from pipeline.dashboard.expand import expand, names_in
from pipeline.dashboard.period import Period
from pipeline.errors import ConfigError

PROVISIONING = Path(generate.__file__).parent / "provisioning"
PANELS = [pytest.param(board, panel, id=f"{board.name}: {panel.title}") for board in BOARDS for panel in board.panels]
UNITS = {"short", "s", "ms", "h", "percentunit", "bytes", "cps", "string"}
HOUR = Period(1_772_449_200_000, 1_772_452_800_000)

# Tables and views by the columns on which a filter bounds what is read.
BOUNDED_BY = {
    "traffic": {"minute"}, "detection_times": {"effect_time"},
    "events": {"ts"}, "enriched_current": {"ts"}, "job_timeline": {"ts"}, "coverage": {"hour"},
    "findings_current": {"effect_time", "finding_id", "job_id"}, "findings": {"effect_time", "finding_id", "job_id"},
    "findings_told": {"effect_time", "finding_id", "job_id"},
    "verdicts_current": {"end_time", "job_id"}, "verdicts": {"end_time", "job_id"},
    "sink_ranges": {"_inserted"}, "standings": {"_inserted"}, "range_accounts": {"stored"},
    "finding_evidence_current": {"finding_id"}, "finding_evidence": {"finding_id"},
    "incidents_current": {"last_time", "incident_id"}, "incident_findings_current": {"finding_id", "incident_id"},
    "attribution_current": {"incident_id"}, "losses_once": {"last_time"},  # of incidents, which are few
}  # fmt: skip


def bounds(sql: str) -> set[str]:
    """Columns that a query compares with the period or with a choice."""
    by_time = re.findall(r"\$__timeFilter(?:_ms)?\((\w+)\)", sql) + re.findall(r"(\w+) >= (?:\$__fromTime(?:_ms)?\b|\(SELECT min)", sql)
    by_choice = re.findall(r"(\w+) (?:=|IN) \(?(?:\$\{\w+:singlequote\}|SELECT)", sql)
    return {*by_time, *by_choice}


@pytest.mark.parametrize(("board", "panel"), PANELS)
def test_every_panel_says_what_it_asks(board: Board, panel: Panel) -> None:
    """A question, a description in sentences, a unit, thresholds from the bottom up, a text for no data."""
    assert panel.title.endswith("?")
    assert panel.title[0].isupper()
    assert panel.description.endswith(".")
    assert len(panel.no_value) > 3
    assert {panel.unit, *(column.unit for column in panel.columns.values())} <= UNITS | {""}
    values = [value for value, _ in panel.thresholds]
    assert values[0] is None
    assert values[1:] == sorted(value for value in values if value is not None)
    if panel.kind == "stat":
        assert panel.thresholds
    if panel.kind == "state-timeline":
        assert panel.states


@pytest.mark.parametrize(("board", "panel"), PANELS)
def test_times_of_milliseconds_are_compared_with_such(board: Board, panel: Panel) -> None:
    """To one of seconds ClickHouse first counts a TYPE_MISMATCH four times a query, which its operators see in `system.errors`."""
    assert re.findall(r"\$__timeFilter\((?:\w+\.)?(?:ts|\w+_time)\)", panel.sql.replace("(modification_time)", "")) == []
    assert re.findall(r"(?:ts|\w+_time) [<>]= \$__(?:from|to)Time\b", panel.sql) == []


@pytest.mark.parametrize(("board", "panel"), PANELS)
def test_every_query_is_bounded(board: Board, panel: Panel) -> None:
    """Each table that is read is filtered by the period or a choice, on a column that bounds the read."""
    read = set(re.findall(r"(?:FROM|JOIN) ([a-z_]+)\b(?![.(])", panel.sql)) & BOUNDED_BY.keys()
    assert read or "system" in panel.sql
    found = bounds(panel.sql)
    for table in read:
        assert found & BOUNDED_BY[table], f"{table} is read without a filter on {BOUNDED_BY[table]}: {found}"


@pytest.mark.parametrize(("board", "panel"), PANELS)
def test_values_of_readers_are_quoted(board: Board, panel: Panel) -> None:
    """No other format than `singlequote` stands in SQL; `$cluster` only names the variable to `conditionalAll`."""
    for text in (panel.sql, *(variable.sql for variable in board.variables), *(each.sql for each in board.annotations)):
        assert not re.search(r"\[\[", text)
        assert {form for _, form in re.findall(r"\$\{(\w+):?(\w*)\}", text)} <= {"singlequote"}
        assert set(re.findall(r"\$(?!__)(\w+)", text)) <= {"cluster"}


@pytest.mark.parametrize(("board", "panel"), PANELS)
def test_links_keep_time_and_cluster(board: Board, panel: Panel) -> None:
    """And lead to a dashboard that has the variables which they set."""
    for column in panel.columns.values():
        if not column.link:
            continue
        match = re.fullmatch(r"/d/trainwatch-(\w+)\?((?:var-\w+=[^&]+&)*)\$\{cluster:queryparam\}&\$\{__url_time_range\}", column.link)
        assert match is not None, column.link
        target = next(each for each in BOARDS if each.name == match[1])
        assert set(re.findall(r"var-(\w+)=", match[2])) <= {variable.name for variable in target.variables}
        assert set(re.findall(r"__data\.fields\.(\w+)", match[2])) <= set(re.findall(r"\bAS (\w+)", panel.sql))


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_panels_lie_on_the_grid(board: Board) -> None:
    """Within 24 columns, none over another, ids of their own."""
    panels = board.as_json()["panels"]
    for panel in panels:
        place = panel["gridPos"]
        assert 0 <= place["x"] < place["x"] + place["w"] <= 24
    for one, other in combinations(panels, 2):
        a, b = one["gridPos"], other["gridPos"]
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        assert beside or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
    assert len({panel["id"] for panel in panels}) == len(panels)


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_everything_is_asked_of_the_one_datasource(board: Board) -> None:
    """The uid that provisioning gives."""
    body = board.as_json()

    def datasources(part: Any) -> list[Any]:
        if isinstance(part, list):
            return [found for each in part for found in datasources(each)]
        if not isinstance(part, dict):
            return []
        own = [part["datasource"]] if "datasource" in part else []
        return own + [found for each in part.values() for found in datasources(each)]

    assert datasources(body)
    assert all(each == DATASOURCE for each in datasources(body))
    provisioned = yaml.safe_load((PROVISIONING / "datasources" / "trainwatch.yaml").read_text())["datasources"]
    assert [{"type": each["type"], "uid": each["uid"]} for each in provisioned] == [DATASOURCE]


def test_variables_have_a_label_a_description_and_values() -> None:
    """From a query or a list; every variable that SQL uses exists."""
    for board in BOARDS:
        for variable in board.variables:
            assert variable.label
            assert variable.description.endswith(".")
            assert bool(variable.sql) != bool(variable.values)
    for dashboard in dashboards().values():
        asked = (*(sql for panel in dashboard.panels for sql in panel.sql), *(variable.sql for variable in dashboard.variables))
        assert {name for sql in asked for name in names_in(sql)} <= {variable.name for variable in dashboard.variables}


def test_the_files_are_what_the_generator_writes() -> None:
    """Renew them with `python -m deploy.grafana.generate`."""
    assert generate.drift() == []


def test_the_preview_reads_every_dashboard() -> None:
    """All of them, the overview first, with every panel."""
    found = dashboards()
    assert next(iter(found)) == "overview"
    assert {name: len(each.panels) for name, each in found.items()} == {board.name: len([*board.panels]) for board in BOARDS}


def test_a_file_that_is_no_dashboard_is_named(tmp_path: Path) -> None:
    """With what to do."""
    (tmp_path / "broken.json").write_text('{"uid": "x"}')
    with pytest.raises(ConfigError, match=r"broken\.json"):
        dashboards(tmp_path)


def test_every_macro_is_one_of_the_plugin() -> None:
    """Annotations and variables as well as panels."""
    for board in BOARDS:
        values = {variable.name: ("x",) for variable in board.variables}
        for sql in (
            *(panel.sql for panel in board.panels),
            *(each.sql for each in board.annotations),
            *(variable.sql for variable in board.variables),
        ):
            assert "$" not in expand(sql, HOUR, values).replace("$')", "').").replace("$'", "'")


def test_folders_are_provisioned_where_the_files_lie() -> None:
    """One provider a folder, with a fixed uid, nothing editable, and rights for each."""
    providers = yaml.safe_load((PROVISIONING / "dashboards" / "trainwatch.yaml").read_text())["providers"]
    assert {Path(each["options"]["path"]).name for each in providers} == {path.name for path in folder().iterdir()}
    assert not any(each["allowUiUpdates"] for each in providers)
    assert {each["folderUid"] for each in providers} == permissions.permissions(1, 2).keys()


def test_alert_rules_are_whole() -> None:
    """Uids of their own, text, a dashboard that exists, no macro of a panel's period, and valid YAML."""
    group = yaml.safe_load((PROVISIONING / "alerting" / "trainwatch.yaml").read_text())["groups"][0]
    assert len({rule["uid"] for rule in group["rules"]}) == len(alerts.RULES) == len(group["rules"])
    for rule in alerts.RULES:
        assert rule.summary
        assert rule.description.endswith((".", "`."))
        assert rule.board in {board.name for board in BOARDS}
        assert "$__" not in rule.sql


def test_rights_name_two_teams_and_take_the_default_away() -> None:
    """People's folder is for investigators alone; the request carries the whole list."""
    wanted = permissions.permissions(3, 4)
    assert wanted[permissions.INVESTIGATION] == [{"teamId": 3, "permission": 1}]
    assert [item["teamId"] for item in wanted[permissions.OPERATION]] == [3, 4]
    sent = permissions.requests("https://grafana.example/", "secret", wanted)
    assert [each.full_url for each in sent] == [f"https://grafana.example/api/folders/{uid}/permissions" for uid in wanted]
    assert {each.get_header("Authorization") for each in sent} == {"Bearer secret"}


def test_the_token_leaves_the_machine_encrypted_and_to_one_address() -> None:
    """Whoever reads it may change dashboards; a redirect does not carry it on."""
    assert "http:// to another machine" in permissions.refusal("http://grafana.example")
    assert "http:// to another machine" in permissions.refusal("http://127.0.0.1.example")
    assert not any(map(permissions.refusal, ("https://grafana.example", "http://localhost:3000", "http://[::1]:3000", "http://127.0.0.1")))
    assert all(map(permissions.refusal, ("", "grafana.example", "ftp://grafana.example", "https://")))
    (sent, *_) = permissions.requests("https://grafana.example", "secret", permissions.permissions(3, 4))
    assert "Authorization" not in sent.headers  # which urllib sends on


ACTOR = re.compile(r"(?<!_)actor(?!\w)|\* *(?:EXCEPT|FROM)|\bcanonical\b")


def test_no_query_tells_a_name_that_no_incident_gives() -> None:
    """Whoever acted is asked of `findings_told` alone: by panels, the choices above them, and annotations."""
    asked = [(f"{board.name}: {panel.title}", panel.sql) for board in BOARDS for panel in board.panels]
    asked += [(f"{board.name}: {each.name}", each.sql) for board in BOARDS for each in board.variables]
    asked += [(f"{board.name}: {mark.name}", mark.sql) for board in BOARDS for mark in board.annotations]
    told = 0
    for title, sql in asked:
        for part in re.split(r"UNION ALL|JOIN", sql):
            assert not (re.search(r"FROM findings(?:_current)?\b", part) and ACTOR.search(part)), title
            told += "FROM findings_told" in part and bool(ACTOR.search(part))
    assert told >= 7


def test_a_borrowed_account_does_not_stand_out() -> None:
    """What a finding is about it was done to: of people only those stand out whom an incident names."""
    (panel,) = (panel for board in BOARDS for panel in board.panels if "stand out" in panel.title)
    assert "('identity', actor)" in panel.sql
    assert "('host', if(subject = 'host', subject_name, ''))" in panel.sql
    assert "FROM findings_told" in panel.sql
