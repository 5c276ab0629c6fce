"""Same findings: a simulated day in any arrival order within grace, cut and repeated in any way, over any number of partitions.

    the day in order, one partition        ->  canonical findings, verdicts and incidents     =  base
    shuffled | 1, 4, 8 partitions | checkpoints every n records | each record twice    =  base, byte for byte

A record may be displaced by up to the grace of the settings, in time of collection.  Seeds are in the test ids.  The day knows three
patterns; some days of a cluster on which nearly all are played go through it, too, less often since they are longer.
"""

import random
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import msgspec
import orjson
import pytest

from pipeline.model.outcome import Publish, Record
from pipeline.runtime.local import LocalRuntime, Results
from pipeline.settings import Settings
from pipeline.simulate import Expected, Scale, simulate
from tests.cluster import RAISED_MIN, period
from tests.property.profile import TIMES

SEED = 1
SCALE = Scale(gpu_hosts=5, members=7, jobs_per_day=24, acts_per_kind=(1, 1), broken_values=6)


class Whole(Results):
    """Enriched events too: of each the last value, of which a store keeps that alone."""

    def __init__(self) -> None:
        super().__init__()
        self.enriched: dict[str, object] = {}

    def take(self, out: Publish) -> dict[str, object] | None:
        if out.content == "enriched":
            self.enriched[out.id.partition("/")[0]] = orjson.loads(out.value)["canonical"]
        return super().take(out)


class Day(NamedTuple):
    """A simulated day and what came of it when everything arrived in order."""

    settings: Settings
    records: tuple[Record, ...]
    expected: frozenset[Expected]
    base: Whole


@cache
def day() -> Day:
    """Made once per process."""
    week = simulate(SEED, days=1, scale=SCALE)
    records = tuple(
        Record(topic=each.topic, partition=0, offset=0, timestamp=each.timestamp, value=each.value, key=each.key, headers=each.headers)
        for each in week.records
    )
    settings = Settings(**week.settings)
    return Day(settings, records, week.expected_findings(), run(settings, records, 1, 500))


def run(settings: Settings, records: Sequence[Record], partitions: int, every: int, *, waiting: bool = False) -> Whole:
    """Through the whole pipeline with a checkpoint every so many records; `waiting`: from a broker that holds all of them."""
    runtime = LocalRuntime(settings, partitions, keep_rows=True)
    runtime.results = results = Whole()
    if waiting:
        runtime.expect(records)
    for at in range(0, len(records), every):
        runtime.feed(records[at : at + every])
        runtime.checkpoint()
    runtime.finish()
    return results


def assert_same(results: Whole, base: Whole | None = None, *, within_grace: bool = True) -> None:
    """Byte for byte.  Nothing takes an enriched event back, so where facts come later than grace some more may stay."""
    base = base or day().base
    assert results.canonical_findings() == base.canonical_findings()
    assert results.canonical_verdicts() == base.canonical_verdicts()
    assert results.canonical_incidents() == base.canonical_incidents()
    assert results.enriched.keys() == base.enriched.keys() if within_grace else results.enriched.keys() >= base.enriched.keys()
    assert {key: results.enriched[key] for key in base.enriched} == base.enriched


def spread_out(settings: Settings, records: Sequence[Record], partitions: int, dice: random.Random) -> list[Record]:
    """Each record displaced by up to a grace, and sent to any partition."""
    grace_ms = settings.time.grace_seconds * 1000
    shuffled = sorted(records, key=lambda record: record.timestamp + dice.uniform(0, grace_ms))
    return [msgspec.structs.replace(record, partition=dice.randrange(partitions)) for record in shuffled]


def uneven(records: Sequence[Record], partitions: int, most: int, dice: random.Random) -> list[Record]:
    """Sent to any partition, of which one after the other is read, by up to so many records."""
    queues: dict[tuple[str, int], list[Record]] = {}
    for record in records:
        spread = msgspec.structs.replace(record, partition=dice.randrange(partitions))
        queues.setdefault((spread.topic, spread.partition), []).append(spread)
    read: list[Record] = []
    while queues:
        name = dice.choice(sorted(queues))
        took = dice.randrange(1, most)
        read += queues[name][:took]
        del queues[name][:took]
        if not queues[name]:
            del queues[name]
    return read


def test_the_day_holds_what_the_others_compare() -> None:
    """Nothing would be proved by a day without interference, or without ordinary ends."""
    base = day().base
    found = [orjson.loads(body) for body in base.canonical_findings().values()]
    assert {Expected(body["detector"], body["attempt"][1], body["actor"]) for body in found} == day().expected
    assert len({body["detector"] for body in found}) == 3
    assert {body["status"] for body in found} == {"final"}
    verdicts = [orjson.loads(body) for body in base.canonical_verdicts().values()]
    assert len(verdicts) >= 15
    assert len({body["cause"] for body in verdicts}) >= 5
    assert {body["status"] for body in verdicts} == {"final"}


@pytest.mark.parametrize("seed", range(9 * TIMES))  # each number of partitions three times
def test_arrival_order_partitions_and_checkpoints_do_not_matter(seed: int) -> None:
    """Each record displaced by up to a grace, sent to any partition, with checkpoints near and far."""
    dice = random.Random(seed)
    partitions = (1, 4, 8)[seed % 3]
    spread = spread_out(day().settings, day().records, partitions, dice)
    assert_same(run(day().settings, spread, partitions, dice.choice((200, 1000, 5000))))


def test_nor_do_they_where_nearly_all_patterns_are_played() -> None:
    """Findings of jobs, hosts, artefacts and people, and the incidents that they make."""
    settings, dice = Settings(**period().settings), random.Random(SEED)
    records = [
        Record(topic=each.topic, partition=0, offset=0, timestamp=each.timestamp, value=each.value, key=each.key, headers=each.headers)
        for each in period().records
    ]
    base = run(settings, records, 1, 2000)
    assert len({orjson.loads(body)["detector"] for body in base.canonical_findings().values()}) >= RAISED_MIN
    assert len(base.canonical_incidents()) > 1
    assert_same(run(settings, spread_out(settings, records, 4, dice), 4, 1000), base)
    assert_same(run(settings, uneven(records, 2, 3000, random.Random(2)), 2, 300, waiting=True), base, within_grace=False)


@pytest.mark.parametrize("seed", range(4))
def test_partitions_may_be_read_at_any_speed(seed: int) -> None:
    """A worker that takes over reads one partition hours ahead of another: far beyond grace, but each is in order in itself."""
    dice = random.Random(seed)
    spread = uneven(day().records, 4, 400, dice)
    assert_same(run(day().settings, spread, 4, dice.choice((150, 900)), waiting=True), within_grace=False)


@pytest.mark.parametrize("every", [100, 2_000, 1_000_000])
def test_how_often_work_is_made_durable_does_not_matter(every: int) -> None:
    """The last one is one checkpoint at the end of the day."""
    assert_same(run(day().settings, day().records, 1, every))


def test_every_record_twice_changes_nothing() -> None:
    """At once, and again when everything is over: rows are doubled, findings are not."""
    twice = [record for record in day().records for _ in range(2)]
    results = run(day().settings, twice, 4, 1000)
    assert_same(results)
    assert len(results.rows) == 2 * len(day().base.rows)
    assert_same(run(day().settings, [*day().records, *day().records], 1, 5000))


def test_a_replay_publishes_nothing_new() -> None:
    """All of it again behind its end: no finding and no verdict is said a second time."""
    runtime = LocalRuntime(day().settings)
    runtime.feed(day().records)
    runtime.finish()
    before = dict(runtime.results.published)
    for at in range(0, len(day().records), 1000):
        runtime.feed(day().records[at : at + 1000])
        runtime.checkpoint()
    assert runtime.finish().published == before


def test_every_offset_is_accounted_for_once() -> None:
    """read = written + filtered + rejected, per partition, over distinct offsets; every rejected one is a dead letter."""
    dice = random.Random(SEED)
    spread = [msgspec.structs.replace(record, partition=dice.randrange(4)) for record in day().records]
    results = run(day().settings, spread, 4, 700)
    written = {(row.topic, row.partition, row.offset) for row in results.rows}  # type: ignore[attr-defined]
    listed = [(part.rpartition("/")[0], int(part.rpartition("/")[2]), offset) for part, offset, _ in results.listed]
    counts: dict[tuple[str, int], int] = {}
    for record in spread:
        counts[record.topic, record.partition] = counts.get((record.topic, record.partition), 0) + 1
    read = {(topic, partition, offset) for (topic, partition), count in counts.items() for offset in range(count)}
    assert len(listed) == len(set(listed))
    assert written.isdisjoint(listed)
    assert written | set(listed) == read
    assert len(results.dead_letters) == len([code for _, _, code in results.listed if code not in ("nothing_to_keep", "control")]) >= 6
