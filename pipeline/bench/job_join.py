"""Interval join: signals with the allocations that held their host, in order of arrival and disordered, with what each engine finds.

Ours is the hosts stage of the product with its state checkpointed; it assembles the audit event and tells the jobs stage a full fact for
each pair.  The others write two numbers for it.  Done is when all offsets are committed, or no pair has come for a while.
"""

import time
from collections.abc import Sequence

import orjson

from pipeline.bench import join
from pipeline.bench.contest import present, rounds_of, spend, task_of
from pipeline.bench.ours import join_topology
from pipeline.bench.report import OURS, JobReport, Measured, demand, lines
from pipeline.bench.site import PARTITIONS, Site
from pipeline.errors import FatalError
from pipeline.model.events import SignalSent
from pipeline.model.facts import decode_fact
from pipeline.model.told import Touch, decode_told

PEERS = (OURS, "confluent", "aiokafka", "bytewax", "quix", "stock")
RATE = 300_000
RATIOS = {"bytewax": 1.4, "quix": 4}
STOCK_SHARE, STOCK_MIN = 10, 2000
PRODUCTS_STEP = (OURS, "stock")  # run the hosts stage and tell full facts
QUIET_SECONDS = 3.0  # without commits an engine is taken as done when no pair came for so long


def run(site: Site, records: int, rounds: int, *, seed: int = 1, disordered: bool = False, peers: Sequence[str] = PEERS) -> JobReport:
    """The contest."""
    running, left_out = present(peers, site)
    few = min(records, max(records // STOCK_SHARE, STOCK_MIN))
    load = join.build(seed, records, disordered=disordered)
    small = join.build(seed, few, disordered=disordered) if "stock" in running else load
    name = f"{site.name}.join"
    for topic, some in ((name, load), (f"{name}.few", small)):
        site.preload([topic], join.records(some, topic, PARTITIONS))
    both = [f"{name}.signals", f"{name}.allocations"]
    if "quix" in running:
        site.preload(both, join.records(load, both[0], PARTITIONS, allocations=both[1]))
    site.say(f"join: {len(load.facts):,} facts, {len(load.pairs):,} pairs, {'disordered' if disordered else 'in order'}")

    def one(peer: str) -> Measured:
        if peer == "stock":
            return _one(site, peer, [f"{name}.few"], small)
        return _one(site, peer, both if peer == "quix" else [name], load)

    rounds_ = rounds_of(running, rounds, one, site)
    site.remove(name)
    found = lines(rounds_)
    title = "Interval join, disordered" if disordered else "Interval join"
    report = JobReport(
        job="join-disordered" if disordered else "join",
        title=title,
        load=f"{len(load.facts):,} facts, {len(load.pairs):,} pairs",
        lines=found,
        rounds=rounds_,
        left_out=left_out,
    )
    return report.judged(demand(found, RATE, RATIOS))


def _one(site: Site, peer: str, topics: Sequence[str], load: join.Load) -> Measured:
    settings = site.settings_of_run({}, {"access_topics": tuple(topics)})
    if peer in PRODUCTS_STEP:
        topology = join_topology(settings, tuple(topics))
        site.prepare(settings, topology)
        pairs = topology.facts_topic("jobs")
    else:
        pairs = f"{settings.kafka.topic_prefix}pairs"
        site.create([pairs])
    ends = site.ends(topics)
    progress = Quiet(site, pairs)

    def done() -> bool:
        return progress.quiet() if peer == "bytewax" else site.committed(settings.kafka.group, ends)

    spent = spend(site, task_of("join", peer, settings, topics, pairs=pairs), done)
    found = (
        _told(site, pairs)
        if peer in PRODUCTS_STEP
        else {(serial, job) for serial, job in (orjson.loads(each.value) for each in site.read(pairs))}
    )
    wrong = found - load.pairs
    if wrong:
        raise FatalError(f"{peer} found {len(wrong)} pairs that are none, e.g. {min(wrong)}")
    site.remove(settings.kafka.group)
    return Measured.of(peer, len(load.facts), spent, len(found) / max(len(load.pairs), 1))


def _told(site: Site, topic: str) -> set[tuple[int, str]]:
    """The last word on each touch."""
    last: dict[str, tuple[bytes, bytes]] = {}
    for record in site.read(topic):
        if record.key is not None:
            fact = decode_fact(record.value)
            last[fact.id] = max(last.get(fact.id, (b"", b"")), (fact.rank, fact.body))
    touches = (decode_told(body) for _, body in last.values() if body)
    signals = ((touch.event.body, touch.attempt.job) for touch in touches if isinstance(touch, Touch))
    return {(body.serial, job) for body, job in signals if isinstance(body, SignalSent)}


class Quiet:
    """Watches an output topic of somebody who commits nothing."""

    def __init__(self, site: Site, topic: str) -> None:
        self._site, self._topic = site, topic
        self._count, self._since = -1, time.monotonic()

    def quiet(self) -> bool:
        """Has nothing come for a while, after something has?"""
        count = sum(self._site.ends([self._topic]).values())
        if count != self._count:
            self._count, self._since = count, time.monotonic()
        return count > 0 and time.monotonic() - self._since > QUIET_SECONDS
