"""Interval join: signals with the allocations that held their host, in order of arrival and disordered, with what each engine finds.

join     all read two numbers of a fact, join them in the same buffers, except Quix Streams, and write a pair of numbers; only ours keeps
         its state in a log, with the offsets.
hosts    the stage of the product on the same facts: audit events assembled, touches and coverage told as facts, hosts judged; by our
         worker, and by stock agents that call the same step.

Done is when all offsets are committed, or no pair has come for a while.
"""

import time
from collections.abc import Sequence

import orjson

from pipeline.bench import join
from pipeline.bench.contest import present, rounds_of, spend, task_of
from pipeline.bench.join_ours import topology as join_topology
from pipeline.bench.ours import hosts_topology
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
HOSTS_PEERS = (OURS, "stock")
QUIET_SECONDS = 3.0  # without commits an engine is taken as done when no pair came for so long


def run(site: Site, records: int, rounds: int, *, seed: int = 1, disordered: bool = False, peers: Sequence[str] = PEERS) -> JobReport:
    """The contest of joins."""
    report = _contest(site, "join", records, rounds, seed, peers, disordered=disordered)
    return report.judged(demand(report.lines, RATE, RATIOS))


def run_hosts(site: Site, records: int, rounds: int, *, seed: int = 1, peers: Sequence[str] = HOSTS_PEERS) -> JobReport:
    """The hosts stage, ours and under stock agents."""
    return _contest(site, "hosts", records, rounds, seed, peers)


def _contest(
    site: Site, job: str, records: int, rounds: int, seed: int, peers: Sequence[str], *, disordered: bool = False
) -> JobReport:  # fmt: skip
    running, left_out = present(peers, site)
    few = min(records, max(records // STOCK_SHARE, STOCK_MIN))
    load = join.build(seed, records, disordered=disordered)
    small = join.build(seed, few, disordered=disordered) if "stock" in running else load
    name = f"{site.name}.{job}"
    for topic, some in ((name, load), (f"{name}.few", small)):
        site.preload([topic], join.records(some, topic, PARTITIONS))
    both = [f"{name}.signals", f"{name}.allocations"]
    if "quix" in running:
        site.preload(both, join.records(load, both[0], PARTITIONS, allocations=both[1]))
    site.say(f"{job}: {len(load.facts):,} facts, {len(load.pairs):,} pairs, {'disordered' if disordered else 'in order'}")

    def one(peer: str) -> Measured:
        if peer == "stock":
            return _one(site, job, peer, [f"{name}.few"], small)
        return _one(site, job, peer, both if peer == "quix" else [name], load)

    rounds_ = rounds_of(running, rounds, one, site.say, warm_up=site.warms_up)
    site.remove(name)
    title = {"join": "Interval join", "hosts": "Hosts stage"}[job]
    return JobReport(
        job=f"{job}-disordered" if disordered else job,
        title=f"{title}, disordered" if disordered else title,
        load=f"{len(load.facts):,} facts, {len(load.pairs):,} pairs",
        lines=lines(rounds_),
        rounds=rounds_,
        left_out=left_out,
    )


def _one(site: Site, job: str, peer: str, topics: Sequence[str], load: join.Load) -> Measured:
    settings = site.settings_of_run({}, {"access_topics": tuple(topics)})
    if job == "hosts" or peer == OURS:
        topology = (hosts_topology if job == "hosts" else join_topology)(settings, tuple(topics))
        site.prepare(settings, topology)
        pairs = topology.facts_topic("jobs")
    else:
        pairs = f"{settings.kafka.topic_prefix}pairs"
        site.create([pairs])
    ends = site.ends(topics)
    progress = Quiet(site, pairs)

    def done() -> bool:
        return progress.quiet() if peer == "bytewax" else site.committed(settings.kafka.group, ends)

    spent = spend(site, task_of(job, peer, settings, topics, pairs=pairs), done)
    found = _told(site, pairs) if job == "hosts" else _written(site, pairs, facts=peer == OURS)
    wrong = found - load.pairs
    if wrong:
        raise FatalError(f"{peer} found {len(wrong)} pairs that are none, e.g. {min(wrong)}")
    if peer == OURS and (left_out := load.pairs - found):
        raise FatalError(f"{peer} left out {len(left_out)} of {len(load.pairs)} pairs, e.g. {min(left_out)}")
    site.remove(settings.kafka.group)
    return Measured.of(peer, len(load.facts), spent, len(found) / max(len(load.pairs), 1))


def _written(site: Site, topic: str, *, facts: bool) -> set[tuple[int, str]]:
    """Pairs, as they are or as facts of our own."""
    values = (decode_fact(each.value).body if facts else each.value for each in site.read(topic) if each.key is not None or not facts)
    return {(serial, job) for serial, job in map(orjson.loads, values)}


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
