"""The whole path: all stages and detectors on the mix, from Kafka into ClickHouse, against the same steps under stock agents.

The load is preloaded with the end of all channels after it, so that every job is judged; a run is done when no record, fact or public
value waits any more.  The reference is the same topology in memory: rows of events, findings and verdicts, byte for byte for ours.

The stock agents read a tenth, being slow: the first tenth of the same period, so they hold fewer cases.
"""

from typing import Any

import orjson

from pipeline.bench import mix
from pipeline.bench.contest import must_equal, present, rounds_of, spend, task_of
from pipeline.bench.job_full import inputs, topics_of
from pipeline.bench.ours import topology_of
from pipeline.bench.report import OURS, JobReport, Measured, demand, lines
from pipeline.bench.site import PARTITIONS, Site
from pipeline.runtime.following import caught_up
from pipeline.runtime.local import LocalRuntime
from pipeline.sink.clickhouse import Database
from pipeline.topology import Topology

PEERS = (OURS, "stock")
RATE = 60_000
RATIOS = {"stock": 8}
STOCK_SHARE, STOCK_MIN = 10, 2000
LOCAL_BATCH, LOCAL_CHECKPOINT = 2000, 50_000
JUDGED = {"findings": ("detector", "status"), "verdicts": ("verdict", "cause")}
TABLES = {"findings": ("findings_current", "finding_id"), "verdicts": ("verdicts_current", "verdict_id")}


def run(site: Site, records: int, rounds: int, *, seed: int = 1, peers: tuple[str, ...] = PEERS) -> JobReport:
    """The contest."""
    running, left_out = present(peers, site)
    few = min(records, max(records // STOCK_SHARE, STOCK_MIN))
    load = mix.build(seed, records, PARTITIONS)
    sizes = (records, few) if "stock" in running else (records,)
    topics = {size: topics_of(f"{site.name}.mix{size}") for size in sizes}
    loads = {size: mix.placed(mix.Mix(load.records[:size], load.settings), topics[size]) for size in sizes}
    expected = {}
    for size, content in loads.items():
        site.preload(list(topics[size].values()), content.records, final=True)
        expected[size] = expected_of(site, content, topics[size])
    shares = ", ".join(f"{topic} {share:.1%}" for topic, share in load.shares().items())
    site.say(f"mix: {records:,} records ({shares}), {few:,} for stock; expected: {_short(expected[records])}")

    def one(peer: str) -> Measured:
        size = few if peer == "stock" else records
        return _one(site, peer, topics[size], loads[size], size, expected[size])

    rounds_ = rounds_of(running, rounds, one, site.say, warm_up=site.warms_up)
    site.remove(f"{site.name}.mix")
    found = lines(rounds_)
    report = JobReport(job="mix", title="Whole path", load=f"{records:,} records: {shares}", lines=found, rounds=rounds_, left_out=left_out)
    return report.judged(demand(found, RATE, RATIOS))


def _short(expected: dict[str, Any]) -> str:
    return ", ".join(f"{len(value) if isinstance(value, dict) else value} {name}" for name, value in expected.items())


def expected_of(site: Site, load: mix.Mix, topics: dict[str, str]) -> dict[str, Any]:
    """What the topology answers in memory."""
    settings = site.settings_of_run(load.settings, inputs(topics))
    runtime = LocalRuntime(settings, PARTITIONS, keep_rows=True)
    for start in range(0, len(load.records), LOCAL_BATCH):
        runtime.feed(load.records[start : start + LOCAL_BATCH])
        if start % LOCAL_CHECKPOINT == 0:
            runtime.checkpoint()
    results = runtime.finish()
    events = [row for row in results.rows if hasattr(row, "event_id")]
    return {
        "events": len(events),
        "dead letters": len(results.dead_letters),
        "findings": {key: value.decode() for key, value in results.canonical_findings().items()},
        "verdicts": {key: value.decode() for key, value in results.canonical_verdicts().items()},
    }


def _one(site: Site, peer: str, topics: dict[str, str], load: mix.Mix, size: int, expected: dict[str, Any]) -> Measured:
    settings = site.settings_of_run(load.settings, inputs(topics))
    topology = topology_of(settings)
    site.prepare(settings, topology)
    with Database(settings.clickhouse) as database:

        def done() -> bool:
            rows: int = database.query("SELECT count() FROM {db}.events")[0][0]
            return rows >= expected["events"] and caught_up(settings, topology).done

        spent = spend(site, task_of("mix", peer, settings, tuple(topics.values())), done)
        found = found_by(site, topology, database)
    must_equal(peer, found, {name: expected[name] for name in ("events", "dead letters")})
    if peer == OURS:
        must_equal(peer, differing(found, expected), dict.fromkeys(TABLES, "as in memory"))
    site.remove(settings.kafka.group)
    return Measured.of(peer, size, spent, _judged_alike(found, expected))


def found_by(site: Site, topology: Topology, database: Database) -> dict[str, Any]:
    """What a run left, in the form of `expected_of`."""
    found: dict[str, Any] = {"events": database.query("SELECT count() FROM {db}.events")[0][0]}
    found["dead letters"] = len(list(site.read(topology.public_topic("dead-letter"))))
    for name, (view, key) in TABLES.items():
        where = "WHERE status != 'retracted'" if name == "findings" else ""
        bodies = database.query(f"SELECT {key}, canonical FROM {{db}}.{view} {where}")  # noqa: S608  our own views
        found[name] = {str(id_): orjson.dumps(orjson.loads(body), option=orjson.OPT_SORT_KEYS).decode() for id_, body in bodies}
    return found


def _judged_alike(found: dict[str, Any], expected: dict[str, Any]) -> float:
    """Share of findings and verdicts with the same judgement.  Stock agents keep no order between facts and watermarks: bodies differ."""
    right = [
        key in found[name] and all(orjson.loads(found[name][key])[field] == orjson.loads(body)[field] for field in fields)
        for name, fields in JUDGED.items()
        for key, body in expected[name].items()
    ]
    return sum(right) / len(right) if right else 1.0


def differing(found: dict[str, Any], expected: dict[str, Any]) -> dict[str, str]:
    """Names of findings and verdicts that are not as in memory: their bodies are too long to print."""
    said = {}
    for name in TABLES:
        differing = sorted(key for key in {*found[name], *expected[name]} if found[name].get(key) != expected[name].get(key))
        said[name] = f"{len(differing)} of {len(expected[name])} differ, first {differing[0]}" if differing else "as in memory"
    return said
