"""Full ingest of JSON and of auditd text: the ingest stage as the product runs it, against stock agents that call the same step.

Records are those of the simulator: rsyslog, Filebeat and Vector objects around real lines and the probe's own objects, or raw auditd
records of all types with their headers.  Event ids, raw lines kept and hashed, identities, facts routed to their topics.
"""

from typing import Any

from pipeline.bench import mix
from pipeline.bench.contest import must_equal, present, rounds_of, spend, task_of
from pipeline.bench.ours import topology_of
from pipeline.bench.report import OURS, JobReport, Measured, demand, lines
from pipeline.bench.site import PARTITIONS, Site
from pipeline.ingest import step as ingest
from pipeline.model.outcome import EventRow, Record, Tell
from pipeline.sink.clickhouse import Database
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import Watermarks

PEERS = (OURS, "stock")
STOCK_SHARE, STOCK_MIN = 10, 2000
RATES = {"json": 120_000, "auditd": 60_000}
RATIOS = {"json": {"stock": 12}, "auditd": {"stock": 6}}
CHECK = "SELECT count(), uniqExact(_topic, _partition, _offset), uniqExact(event_id), sum(length(raw)) FROM {db}.events"
STAGES = ("ingest",)


def run(site: Site, kind: str, records: int, rounds: int, *, seed: int = 1, peers: tuple[str, ...] = PEERS) -> JobReport:
    """The contest; `kind` is json or auditd."""
    running, left_out = present(peers, site)
    few = min(records, max(records // STOCK_SHARE, STOCK_MIN))
    load = mix.of_kind(seed, kind, records, PARTITIONS)
    topics = {size: topics_of(f"{site.name}.{kind}{size}") for size in (records, few)}
    contents = {size: mix.placed(mix.Mix(load.records[:size], load.settings), topics[size]) for size in topics}
    expected = {}
    for size, content in contents.items():
        site.preload(list(topics[size].values()), content.records)
        expected[size] = reference(content, topics[size], site)
    site.say(f"full-{kind}: {records:,} records in {PARTITIONS} partitions, {few:,} for stock")

    def one(peer: str) -> Measured:
        size = few if peer == "stock" else records
        return _one(site, peer, topics[size], contents[size], size, expected[size])

    rounds_ = rounds_of(running, rounds, one, site.say, warm_up=site.warms_up)
    site.remove(f"{site.name}.{kind}")
    found = lines(rounds_)
    bytes_ = sum(len(record.value or b"") for record in load.records) // max(len(load.records), 1)
    report = JobReport(
        job=f"full-{kind}",
        title=f"Full {kind} ingest",
        load=f"{records:,} records of {bytes_} bytes",
        lines=found,
        rounds=rounds_,
        left_out=left_out,
    )
    return report.judged(demand(found, RATES[kind], RATIOS[kind]))


def topics_of(name: str) -> dict[str, str]:
    """The three topics of one load."""
    return {mix.TRAINING: f"{name}.training", mix.SCHEDULER: f"{name}.scheduler", mix.ACCESS: f"{name}.access"}


def inputs(topics: dict[str, str]) -> dict[str, tuple[str, ...]]:
    """The topics as the settings name them."""
    return {
        "training_topics": (topics[mix.TRAINING],),
        "scheduler_topics": (topics[mix.SCHEDULER],),
        "access_topics": (topics[mix.ACCESS],),
    }


def reference(load: mix.Mix, topics: dict[str, str], site: Site) -> dict[str, Any]:
    """What the step makes of the records, in memory, partition by partition."""
    settings = site.settings_of_run(load.settings, inputs(topics))
    nothing_passed = Watermarks({}, {}, settings.time.coverage_bucket_seconds * 1000)
    parts: dict[tuple[str, int], list[Record]] = {}
    for record in load.records:
        parts.setdefault((record.topic, record.partition), []).append(record)
    rows, offsets, ids, length, told = 0, set(), set(), 0, 0
    for place, records in parts.items():
        state = ingest.build_state(settings, Cases())
        for record in records:
            state, outcomes = ingest.step(state, [record], nothing_passed)
            for outcome in outcomes:
                if isinstance(outcome, EventRow):
                    row = outcome
                    rows += 1
                    offsets.add((*place, row.offset))
                    ids.add(row.event_id)
                    length += len(row.raw.encode("utf-8", "surrogateescape"))
                told += isinstance(outcome, Tell)
    return {"rows": (rows, len(offsets), len(ids), length), "facts": told}


def _one(site: Site, peer: str, topics: dict[str, str], load: mix.Mix, size: int, expected: dict[str, Any]) -> Measured:
    settings = site.settings_of_run(load.settings, inputs(topics))
    topology = topology_of(settings, STAGES)
    site.prepare(settings, topology)
    group, ends = settings.kafka.group, site.ends(topics.values())
    rows, *_ = expected["rows"]
    with Database(settings.clickhouse) as database:

        def done() -> bool:
            return database.query("SELECT count() FROM {db}.events")[0][0] >= rows and site.committed(group, ends)

        spent = spend(site, task_of("full", peer, settings, tuple(topics.values()), stages=STAGES), done)
        found = {"rows": database.query(CHECK)[0]}
    must_equal(peer, found, {"rows": expected["rows"]})
    site.remove(group)
    return Measured.of(peer, size, spent)
