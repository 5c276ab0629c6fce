"""What a worker says of its sources: gauges every half minute, a line of the log for what is new and for what is over."""

import logging
from collections.abc import Iterable
from datetime import UTC, datetime

import pytest

from pipeline.model.outcome import Record
from pipeline.runtime.local import LocalRuntime
from pipeline.runtime.metrics import BY_NAME
from pipeline.runtime.partition import Source
from pipeline.runtime.sources import LOOK_SECONDS, SourceWatch
from pipeline.settings import SourceSettings
from tests import build
from tests.build import ms

TOPIC = "logs.scheduler"
LOG = logging.getLogger("test.sources")
HOUR, DAY = 3_600, 86_400


def line(at: int, host: str = "ctl-001", ahead: int = 0, partition: int = 0) -> Record:
    """A line of a controller whose clock is read so many seconds ahead."""
    wall = datetime.fromtimestamp(ms(at + ahead) / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    headers = [("host", host.encode()), ("source", b"slurmctld"), ("collected", b"%d" % ms(at + 1))]
    text = f"[{wall}.000] error: Nodes gpu-{at:06d} not responding"
    return build.record(text, at, topic=TOPIC, at=at + 2, headers=headers, partition=partition)


def runtime(records: Iterable[Record], partitions: int = 1) -> LocalRuntime:
    source = SourceSettings(name="ctl", program="slurmctld", expected_per_hour=30)
    local = LocalRuntime(build.settings(sources=(source,)), partitions)
    local.feed(records)
    return local


def steady(hours: int, host: str = "ctl-001", every: int = 60, **how: int) -> list[Record]:
    return [line(at, host, **how) for at in range(0, hours * HOUR, every)]


def test_a_wrong_zone_is_a_gauge_and_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """With topic and family; the log names host and zone once, however often one looks."""
    parts = runtime(steady(4, ahead=8 * HOUR))._parts.values()
    watch = SourceWatch(LOG)
    with caplog.at_level(logging.INFO, LOG.name):
        for look in range(5):
            gauges = watch.look(parts, (), ms(5 * HOUR) / 1000 + look * (LOOK_SECONDS + 1))
    assert gauges["trainwatch_zone_offset_minutes"] == {(TOPIC, "slurmctld"): 480}
    (said,) = [record.getMessage() for record in caplog.records]
    assert "ctl-001" in said
    assert "Asia/Shanghai" in said


def test_hosts_under_their_rate_come_and_go(caplog: pytest.LogCaptureFixture) -> None:
    """One line when a host falls silent, one when it speaks again; the clock goes on where there is nothing more to read."""
    local = runtime([*steady(3), *steady(5, "ctl-002")])
    parts, watch, source = local._parts.values(), SourceWatch(LOG), Source(TOPIC, 0)
    with caplog.at_level(logging.INFO, LOG.name):
        first = watch.look(parts, (), ms(5 * HOUR) / 1000)
        by_the_clock = watch.look(parts, (source,), ms(6 * HOUR + 700) / 1000)
        local.feed([line(at, host) for at in range(5 * HOUR, 7 * HOUR, 60) for host in ("ctl-001", "ctl-002")])
        last = watch.look(parts, (), ms(7 * HOUR) / 1000)
    under, lines = (
        [gauges[f"trainwatch_source_{name}"][("ctl",)] for gauges in (first, by_the_clock, last)] for name in ("hosts_under_rate", "lines")
    )
    assert under == [1, 2, 0]
    assert lines == [60, 0, 120]
    said = [record.getMessage() for record in caplog.records]
    assert [("under its rate" in each, "again" in each, "ctl-001" in each) for each in said] == [
        (True, False, True), (True, False, False), (False, True, True), (False, True, False),
    ]  # fmt: skip


@pytest.mark.parametrize("idle", [True, False])
def test_a_record_from_the_future_makes_nobody_silent(idle: bool) -> None:
    """One producer's clock is ahead: the hour that it names is not over for all others."""
    ahead = build.record("no such line", 5, topic=TOPIC, at=3 * DAY, headers=[("host", b"ctl-009")])
    parts = runtime([*steady(5), *steady(5, "ctl-002"), ahead])._parts.values()
    gauges = SourceWatch(LOG).look(parts, (Source(TOPIC, 0),) if idle else (), ms(5 * HOUR) / 1000)
    assert gauges["trainwatch_source_hosts_under_rate"] == {("ctl",): 0}
    assert gauges["trainwatch_source_lines"] == {("ctl",): 120}


def test_between_two_looks_nothing_is_counted_again() -> None:
    """Looks are asked for every few seconds, and take their time."""
    watch = SourceWatch(LOG)
    local = runtime(steady(3))
    before = watch.look(local._parts.values(), (), 1000.0)
    local.feed(steady(4, "ctl-009", ahead=8 * HOUR))
    assert watch.look(local._parts.values(), (), 1000.0 + LOOK_SECONDS - 1) is before
    assert watch.look(local._parts.values(), (), 1000.0 + LOOK_SECONDS) != before


def test_every_gauge_is_in_the_table() -> None:
    """With as many labels."""
    parts = runtime([*steady(4, ahead=8 * HOUR), *steady(4, "ctl-002")])._parts.values()
    gauges = SourceWatch(LOG).look(parts, (), ms(5 * HOUR) / 1000)
    assert set(gauges) == {"trainwatch_zone_offset_minutes", "trainwatch_source_lines", "trainwatch_source_hosts_under_rate"}
    for name, values in gauges.items():
        assert {len(labels) for labels in values} == {len(BY_NAME[name].labels)}


def test_the_local_runtime_says_the_same_at_its_end() -> None:
    """For `analyse`, over any number of partitions."""
    found = []
    for partitions in (1, 3):
        records = [
            line(at, host, ahead, at // 60) for at in range(0, 4 * HOUR, 60) for host, ahead in (("ctl-001", 0), ("ctl-002", 8 * HOUR))
        ]
        results = runtime([*records, *steady(2, "ctl-003")], partitions).finish()
        found.append(
            ([(each.where, each.ahead_minutes) for each in results.sources.wrong_zones], [each.host for each in results.sources.under])
        )
    assert found == [([("ctl-002", 480)], ["ctl-003"])] * 2
