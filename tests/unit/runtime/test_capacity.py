"""Plans: arithmetic over numbers that say where they are from; a larger site never takes less."""

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.runtime import capacity
from pipeline.runtime.capacity import Demand
from pipeline.settings import Settings
from pipeline.topology import build_topology
from tests.conftest import ROOT

PAGE = ROOT / "deploy" / "plan-5M-events-per-second.md"
SETTINGS = Settings()
TOPOLOGY = build_topology(SETTINGS)
SMALL = Demand(events_per_second=1000, hosts=100, jobs_per_day=100)


def planned(rate: float, hosts: int = 1000, **changes: float) -> capacity.Plan:
    return capacity.plan(Demand(events_per_second=rate, hosts=hosts, jobs_per_day=hosts, **changes), SETTINGS, TOPOLOGY)  # type: ignore[arg-type]


def test_a_small_site_takes_one_worker() -> None:
    """And the partitions that topics are made with."""
    plan = capacity.plan(SMALL, SETTINGS, TOPOLOGY)
    assert (plan.middle("workers", "workers"), plan.middle("workers", "groups"), plan.middle("kafka", "partitions")) == (1, 1, 4)
    assert plan.middle("workers", "memory of a worker") == pytest.approx(capacity.IDLE_WORKER.value + capacity.STATE_MEMORY.value * 0.05)


def test_the_rate_of_a_core_is_the_one_that_readme_tells() -> None:
    """Measured anew there, plans and the page follow."""
    [told] = re.findall(r"^\| the whole path: .*? \| ([0-9,]+) \|", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert int(told.replace(",", "")) == capacity.PER_CORE.value


def test_bytes_are_rate_times_size_times_days() -> None:
    """By hand: 1,000 records a second of 57 bytes are 4.9 GB a day."""
    plan = planned(1000)
    assert plan.middle("kafka", "input a day") == pytest.approx(1000 * 57 * 86_400 / 1e9)
    assert planned(1000, record_bytes=370.0).middle("kafka", "input a day") == pytest.approx(2 * plan.middle("kafka", "input a day"))
    assert planned(1000, record_bytes=370.0).middle("kafka", "facts a day") == plan.middle("kafka", "facts a day")


@pytest.mark.parametrize("rate", [1.0, 900.0, 13_500.0, 40_000.0, 216_000.0, 1e6, 4e6])
def test_twice_the_rate_and_site_takes_no_less(rate: float) -> None:
    """Of anything but the share of one worker, since there are more."""
    shared = {"memory of a worker", "take-over", "partitions"}
    few, many = planned(rate), planned(2 * rate, hosts=2000)
    for small, large in zip(few.amounts, many.amounts, strict=True):
        assert small.name == large.name
        assert small.low <= small.middle <= small.high
        if small.name not in shared:
            assert large.middle >= small.middle, small.name


def test_groups_are_as_large_as_vectors_allow() -> None:
    """P² vectors a checkpoint: a longer interval carries more workers."""
    assert capacity.group_workers_max(TOPOLOGY, 10.0) == pytest.approx(10 * capacity.group_workers_max(TOPOLOGY, 1.0), rel=0.1)
    plan = planned(1e6)
    assert plan.middle("workers", "groups") * capacity.group_workers_max(TOPOLOGY, 1.0) >= plan.middle("workers", "workers")
    assert any("One group does not carry it" in note for note in plan.notes)
    assert not any("One group" in note for note in planned(1000).notes)


def test_retention_of_a_table_is_that_of_the_settings() -> None:
    """Which may differ by table."""
    settings = Settings(clickhouse={"retention_days": 100, "retention_days_by_table": {"events": 10}})
    plan = capacity.plan(SMALL, settings, TOPOLOGY)
    daily = [plan.middle("clickhouse", f"{what} a day") for what in ("enriched_events", "verdicts", "findings and incidents")]
    expected = 10 * plan.middle("clickhouse", "events a day") + 100 * sum(daily)
    assert plan.middle("clickhouse", "disk") == pytest.approx(expected / 1000)


def test_each_number_says_where_it_is_from() -> None:
    """And how far it may be off."""
    assert all(number.source and number.doubt >= 1 and number.value > 0 for number in capacity.MEASURED)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"{capacity.PER_CORE.value:,.0f}" in readme


def test_the_command_prints_json_and_numbers() -> None:
    """Exit 2 on nonsense."""
    words = ["plan", "--events-per-second", "20000", "--hosts", "500"]
    report = json.loads(CliRunner().invoke(main, [*words, "--json"]).stdout)
    assert report["demand"]["hosts"] == 500
    assert {amount["part"] for amount in report["amounts"]} == {"workers", "kafka", "clickhouse", "network"}
    assert "pipeline/decisions/0009" in CliRunner().invoke(main, [*words, "--measured"]).stdout
    assert CliRunner().invoke(main, ["plan", "--events-per-second", "0"]).exit_code == 2


def test_the_paper_plan_is_what_the_command_prints(tmp_path: Path) -> None:
    """Copy what this shows into the page after a change."""
    text = PAGE.read_text(encoding="utf-8")
    [settings] = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    [line] = re.findall(r"^trainwatch (plan .*)$", text, re.MULTILINE)
    (tmp_path / "trainwatch.yaml").write_text(yaml.safe_dump(yaml.safe_load(settings)))
    done = CliRunner().invoke(main, ["--settings", str(tmp_path / "trainwatch.yaml"), *shlex.split(line)])
    assert done.exit_code == 0, done.output
    [stands] = re.findall(r"<!-- plan -->\n(.*?)<!-- end of plan -->", text, re.DOTALL)
    assert stands == done.stdout
