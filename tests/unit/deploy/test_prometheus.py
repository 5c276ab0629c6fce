"""Alert rules and the scrape configuration: what is shipped is what the worker prints, and fires when it should."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from pipeline.runtime.metrics import ALERTS, METRICS, NOTIFIER, Alert, Metrics, Row, alert_rules
from pipeline.settings import NotifySettings, WorkerSettings, cache_folder

DEPLOY = Path(__file__).parents[3] / "deploy"
FOLDER = DEPLOY / "prometheus"
UNPACKED = cache_folder() / "shippers" / "usr" / "bin"  # where deploy/test puts the packages of its tests
PROMTOOL = shutil.which("promtool") or shutil.which("promtool", path=str(UNPACKED))
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="no promtool here: apt-get install --no-install-recommends prometheus")
NAME = r"\b(trainwatch_\w+|process_\w+)(?:_bucket)?\b"


def promtool(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(PROMTOOL), *map(str, words)], capture_output=True, text=True, check=False, cwd=FOLDER)


def test_the_rules_are_what_the_worker_prints() -> None:
    """`trainwatch worker --alerts > deploy/prometheus/alerts.yaml` after a change."""
    assert (FOLDER / "alerts.yaml").read_text(encoding="utf-8") == alert_rules()


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alert_is_over_metrics_that_exist_and_has_a_page(alert: Alert) -> None:
    """A rule over a misspelt metric never fires, and an alert without a page wakes somebody who then stands there."""
    known = {row.name for row in METRICS + NOTIFIER} | {family.name for family in Metrics().registry.collect()}
    named = {name.removesuffix("_bucket") for name in re.findall(NAME, alert.expression)}
    assert named <= known
    assert named or "up{" in alert.expression
    assert (DEPLOY / "runbooks" / f"{alert.name}.md").is_file()


@pytest.mark.parametrize(
    "row", [row for row in METRICS + NOTIFIER if row.kind == "gauge" and "1" not in row.unit], ids=lambda row: row.name
)
def test_a_gauge_says_in_its_name_what_it_counts(row: Row) -> None:
    """Whoever meets it in a query has no table beside him; counters are named after what they count, and end in `_total`."""
    assert row.unit in row.name.split("_")


def test_each_alert_is_seen_firing_and_seen_silent() -> None:
    """In the stories that promtool plays."""
    stories = yaml.safe_load((FOLDER / "alerts_test.yaml").read_text(encoding="utf-8"))["tests"]
    told = [case for story in stories for case in story.get("alert_rule_test", ())]
    assert {case["alertname"] for case in told if case.get("exp_alerts")} == {alert.name for alert in ALERTS}
    assert any("ALERTS" in case["expr"] and not case["exp_samples"] for story in stories for case in story.get("promql_expr_test", ()))


@pytest.mark.parametrize(
    ("name", "port"), [("trainwatch", WorkerSettings().health_port), ("trainwatch-notify", NotifySettings().health_port)]
)
def test_all_are_scraped_under_the_names_that_rules_know(name: str, port: int) -> None:
    """At the ports that they serve."""
    jobs = {job["job_name"]: job for job in yaml.safe_load((FOLDER / "prometheus.yaml").read_text(encoding="utf-8"))["scrape_configs"]}
    assert any(f'up{{job="{name}"}}' in alert.expression for alert in ALERTS)
    assert jobs[name]["static_configs"][0]["targets"][0] == f"127.0.0.1:{port}"


@needs_promtool
def test_the_stories_come_out_as_told() -> None:
    """Every alert fires when it should, and not when it should not."""
    done = promtool("test", "rules", "alerts_test.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_the_stories_notice_a_rule_that_misses_the_first_count(tmp_path: Path) -> None:
    """`increase` alone is blind to a counter that begins with what it should tell."""
    blind = re.sub(r" or \(trainwatch_overtaken_records_total > 0 unless [^)]*\)", "", alert_rules())
    assert blind != alert_rules()
    (tmp_path / "alerts.yaml").write_text(blind, encoding="utf-8")
    shutil.copy(FOLDER / "alerts_test.yaml", tmp_path)
    done = promtool("test", "rules", tmp_path / "alerts_test.yaml")
    assert done.returncode == 1
    assert "TrainwatchLostRecords" in done.stderr + done.stdout


@needs_promtool
@pytest.mark.parametrize("folder", [FOLDER, DEPLOY / "compose"], ids=lambda folder: folder.name)
def test_the_scrape_configuration_is_one(folder: Path, tmp_path: Path) -> None:
    """And so are the rules that it names, which compose mounts beside it."""
    for path in (folder / "prometheus.yaml", FOLDER / "alerts.yaml"):
        shutil.copy(path, tmp_path)
    done = promtool("check", "config", tmp_path / "prometheus.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
