"""Metrics: what a batch leaves behind is counted, what goes away is no longer told, and the table and the rules name what exists."""

import logging
import re

import msgspec
import pytest
import yaml
from prometheus_client import generate_latest

from pipeline.errors import ErrorCode
from pipeline.model.outcome import Filtered, Observed, Outcome, Rejected
from pipeline.model.source import Source as Family
from pipeline.runtime.guard import Guard
from pipeline.runtime.health import Reading
from pipeline.runtime.instance import Instance
from pipeline.runtime.metrics import ALERTS, METRICS, NOTIFIER, Metrics, alert_rules, table
from pipeline.runtime.vitals import Vitals
from pipeline.settings import Settings
from pipeline.stream.cases import FULL
from tests.unit.runtime.build import SOURCE, partition, records, row, stage

LOG = logging.getLogger("test")
LABELS = {"stage": "test", "topic": SOURCE.topic}


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def nobody(*_: object) -> None:
    """Listens to what the guard tells."""


def vitals() -> Vitals:
    return Vitals(Settings(), Instance("gpu-012-0"), LOG)


def test_a_batch_is_counted_by_what_it_left_behind() -> None:
    """Records, bytes, and each outcome once, although a record may make several rows."""
    outcomes: list[Outcome] = [row(0), msgspec.structs.replace(row(0), index=1), row(1)]
    outcomes += [Filtered(2, ErrorCode.EMPTY), Rejected(3, ErrorCode.DECODE_ERROR, "no")]
    part = partition(stage(outcomes))
    metrics = Metrics()
    guard = Guard(Settings().time, nobody, nobody, LOG)
    batch = records(0, 1, 2, 3, timestamp=77_000)
    for _ in range(2):
        before = metrics.before(part)
        guard.fold(part, batch)
        metrics.folded(part, batch, before)
    codes = {"written": 4, "empty": 2, "decode_error": 2}
    assert {code: value(metrics, "trainwatch_outcomes_total", **LABELS, code=code) for code in codes} == codes
    assert value(metrics, "trainwatch_records_total", **LABELS) == 8
    assert value(metrics, "trainwatch_record_bytes_total", **LABELS) == 8 * len(b"line")
    assert value(metrics, "trainwatch_dead_letters_total", stage="test") == 2
    assert metrics.last_time == {SOURCE: 77_000}


def test_facts_that_are_left_out_are_counted_once() -> None:
    """By stage and reason."""
    metrics, part = Metrics(), partition()
    part.cases.leave_out(b"case", "a", FULL)
    part.cases.leave_out(b"case", "b", FULL)
    for _ in range(2):
        metrics.folded(part, records(0), metrics.before(part))
    assert value(metrics, "trainwatch_facts_left_out_total", stage="test", why="full") == 2


def test_records_without_a_value_have_no_bytes() -> None:
    """Tombstones."""
    metrics, part = Metrics(), partition()
    metrics.folded(part, records(0, value=None), metrics.before(part))
    assert value(metrics, "trainwatch_records_total", **LABELS) == 1
    assert value(metrics, "trainwatch_record_bytes_total", **LABELS) is None


def test_lag_and_distance_to_retention() -> None:
    """Sums and worst cases over the partitions of a topic; headroom is told while there is lag."""
    told = vitals()
    told.retention_seconds = {SOURCE.topic: 1e12}
    part = partition()
    told.metrics.last_time[SOURCE] = 1000
    other = SOURCE._replace(partition=1)
    told.look({SOURCE: part}, [Reading(SOURCE, 10, 40, 100), Reading(other, 10, 30, 50)], unsent_bytes=5)
    topic = {"topic": SOURCE.topic}
    assert value(told.metrics, "trainwatch_consumer_lag_records", **topic) == 80
    assert value(told.metrics, "trainwatch_retention_headroom_records", **topic) == 20
    lag = value(told.metrics, "trainwatch_consumer_lag_seconds", **topic)
    headroom = value(told.metrics, "trainwatch_retention_headroom_seconds", **topic)
    assert lag is not None
    assert headroom is not None
    assert lag > 1e9
    assert lag + headroom == pytest.approx(1e12)
    assert value(told.metrics, "trainwatch_unsent_fact_bytes") == 5
    told.look({SOURCE: part}, [Reading(SOURCE, 10, 100, 100), Reading(other, 10, 50, 50)], unsent_bytes=0)
    assert value(told.metrics, "trainwatch_consumer_lag_records", **topic) == 0
    assert value(told.metrics, "trainwatch_consumer_lag_seconds", **topic) == 0
    assert value(told.metrics, "trainwatch_retention_headroom_seconds", **topic) is None


def test_what_retention_took_is_counted_once() -> None:
    """However often one looks before the worker has moved on, and whatever the checkpoint says of it then."""
    told, part = vitals(), partition()
    part.applied = 40
    for first in (50, 50, 60):
        part.log_start = first
        told.look({SOURCE: part}, [Reading(SOURCE, first, 30, 100)], unsent_bytes=0)  # what is folded and not durable was read
    assert value(told.metrics, "trainwatch_overtaken_records_total", topic=SOURCE.topic) == 20
    told.overtaken(SOURCE, 40, 65)
    assert value(told.metrics, "trainwatch_overtaken_records_total", topic=SOURCE.topic) == 25


def test_a_partition_that_went_away_takes_its_values_with_it() -> None:
    """Else a dashboard would add up what two workers say of it."""
    told, part = vitals(), partition()
    told.look({SOURCE: part}, [Reading(SOURCE, 0, 5, 9)], unsent_bytes=0)
    assert value(told.metrics, "trainwatch_partitions", stage="test") == 1
    told.look({}, [], unsent_bytes=0)
    assert value(told.metrics, "trainwatch_partitions", stage="test") is None
    assert value(told.metrics, "trainwatch_consumer_lag_records", topic=SOURCE.topic) is None


def test_watermarks_are_told_by_family() -> None:
    """Seconds behind now; the cluster is no label, because a log may name any."""
    told = vitals()
    part = partition(stage(tells=("jobs",)))
    part.marks.progress(9_000_000)
    for cluster, time in (("a", 5_000_000), ("b", 2_000_000)):
        part.marks.observe(Observed(cluster, Family.AUDITD, time, ()), 0)
    told.look({SOURCE: part}, [], unsent_bytes=0)
    of = {"stage": "test", "family": "auditd"}
    delay, lag = (value(told.metrics, f"trainwatch_watermark_{name}_seconds", **of) for name in ("delay", "lag"))
    assert delay == lag
    assert delay is not None
    assert delay > 1e9


def test_steps_add_up_to_a_checkpoint() -> None:
    """Other moments, such as a take-over, are not timed."""
    told = vitals()
    for step in ("assigned", "recovered", "begun", "packed", "intent", "deleted"):
        told.reached(step)
    counted = {
        step: value(told.metrics, "trainwatch_checkpoint_step_seconds_count", step=step) for step in ("packed", "intent", "recovered")
    }
    assert counted == {"packed": 1, "intent": 1, "recovered": None}
    assert value(told.metrics, "trainwatch_checkpoint_seconds_count") == 1


def test_all_metrics_of_the_table_are_served_and_no_other() -> None:
    """The table is what README is made from."""
    told = vitals()
    served = set(re.findall(r"^# TYPE (trainwatch_\w+) ", generate_latest(told.metrics.registry).decode(), re.MULTILINE))
    created = {name for name in served if name.endswith("_created")}
    assert served - created == {metric.name for metric in METRICS}
    assert all(f"| `{metric.name}` |" in table() for metric in METRICS)


def test_alert_rules_name_metrics_and_labels_that_exist() -> None:
    """A rule over a misspelt metric never fires."""
    [group] = yaml.safe_load(alert_rules())["groups"]
    assert [rule["alert"] for rule in group["rules"]] == [alert.name for alert in ALERTS]
    known = {metric.name: metric for metric in METRICS + NOTIFIER}
    for rule in group["rules"]:
        for name, matchers in re.findall(r"(trainwatch_\w+)(?:\{([^}]*)\})?", rule["expr"]):
            metric = known[name.removesuffix("_bucket")]
            assert set(re.findall(r"(\w+)(?:=|!=|=~)\"", matchers)) <= set(metric.labels), rule["alert"]
        for labels in re.findall(r"by \(([\w, ]+)\)", rule["expr"]):
            assert set(labels.split(", ")) <= {"le", *(label for metric in METRICS + NOTIFIER for label in metric.labels)}, rule["alert"]
