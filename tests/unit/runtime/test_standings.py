"""Where partitions stand, as rows: written now and then, once more at the end, and never in the way."""

import logging
from collections.abc import Sequence

import msgspec
import pytest

from pipeline.errors import SinkUnavailable
from pipeline.ingest.feeds import LEARNT, Feeds, feed_key
from pipeline.ingest.step import build_state
from pipeline.model.source import Source
from pipeline.runtime.health import Reading
from pipeline.runtime.standings import Standings
from pipeline.sink.memory import MemorySink
from pipeline.sink.rows import STANDINGS, StandingRow, refused
from pipeline.stream.cases import Cases
from tests import build
from tests.unit.runtime.build import SOURCE, partition

LOG = logging.getLogger("test")
OTHER = SOURCE._replace(partition=1)


class Keeping(MemorySink):
    """Keeps each block; fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        super().__init__()
        self.blocks: list[Sequence[StandingRow]] = []
        self.failures = failures

    def write_standings(self, rows: Sequence[StandingRow]) -> None:
        self.blocks.append(rows)
        if self.failures:
            self.failures -= 1
            raise SinkUnavailable("away")


def test_a_row_says_how_far_behind_and_how_large() -> None:
    """Of partitions that are ours; the age of the last record counts while others wait, and is not known before the first."""
    part = partition()
    told = Standings("gpu-012-0", LOG)
    readings = [Reading(SOURCE, 10, 40, 100), Reading(OTHER, 0, 0, 7)]
    (row,) = told.rows({SOURCE: part}, readings, {SOURCE: 50_000}, now=80.0)
    assert (row.topic, row.partition, row.stage, row.worker) == (*SOURCE, "test", "gpu-012-0")
    assert (row.durable, row.lag, row.lag_seconds) == (40, 60, 30)
    assert (row.state_bytes, row.state_cases) == (part.state_bytes, len(part.cases))
    ages = [
        told.rows({SOURCE: part}, [Reading(SOURCE, 0, 5, end)], times, 80.0)[0].lag_seconds for end, times in ((9, {}), (5, {SOURCE: 1}))
    ]
    assert ages == [None, 0]
    assert refused(STANDINGS, [row]) == []


def test_what_a_worker_leaves_is_told_from_its_last_checkpoint() -> None:
    """Not from the last look, which was before it; nothing is told twice."""
    part, sink = partition(), Keeping()
    told = Standings("w", LOG)
    told.start(sink)
    told.look({SOURCE: part}, [Reading(SOURCE, 0, 40, 100)], {}, 80.0)
    told.look({SOURCE: part}, [Reading(SOURCE, 0, 50, 100)], {}, 83.0)  # too early to be noted
    assert part.saved is not None
    part.saved = msgspec.structs.replace(part.saved, applied=100)
    told.leave({}, 84.0)
    told.leave({}, 85.0)
    told.close()
    assert [[(row.durable, row.lag) for row in block] for block in sink.blocks] == [[(40, 60)], [(100, 0)]]


def test_a_database_that_is_away_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """And the next rows are tried all the same."""
    part, sink = partition(), Keeping(failures=2)
    told = Standings("w", LOG)
    told.start(sink)
    for now in (1.0, 2.0, 3.0):
        told.look({SOURCE: part}, [Reading(SOURCE, 0, 40, 100)], {}, now)
        told.leave({}, now)
    told.close()
    assert 1 < len(sink.blocks) <= 4
    assert [record.levelname for record in caplog.records if "not written" in record.message] == ["WARNING"]


def test_gaps_wait_for_a_database_that_is_away() -> None:
    """Standings are told anew; a gap is known once."""
    part, sink = partition(), Keeping(failures=1)
    part.state = state = build_state(build.settings(), Cases())
    told = Standings("w", LOG)
    told.start(sink)
    fail(state.feeds, "gpu-001")
    told.look({SOURCE: part}, [Reading(SOURCE, 0, 40, 100)], {}, 1.0)
    fail(state.feeds, "gpu-002")
    told.leave({}, 2.0)
    told.close()
    assert [(row.host, row.file, row.unread) for row in sink.unreadable] == [(host, "/audit.log", 20) for host in ("gpu-001", "gpu-002")]


def fail(feeds: Feeds, host: str) -> None:
    """A steady feed of the host whose lines nobody can read any more."""
    key = feed_key("logs.access", "main", host, host, "/audit.log")
    for _ in range(LEARNT):
        feeds.read(key, Source.AUDITD, build.ms(0))
    for at in range(20):
        feeds.unread(key, build.ms(at))
    feeds.keep()
