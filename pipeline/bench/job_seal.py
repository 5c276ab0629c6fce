"""What sealing costs: ingest with and without an evidence key, in turns, over the records of job_full; and the whole path likewise.

With a key records are kept until the checkpoint and hashed into Merkle leaves, each of a run of them; every range gets a signed root, and
roots go to their topic and to ClickHouse.  Both are ours, so the ratio tells the cost alone; what was sealed is counted before a figure is
told.
"""

from collections.abc import Sequence
from pathlib import Path

from pipeline.bench import mix
from pipeline.bench.contest import must_equal, rounds_of, spend, task_of
from pipeline.bench.job_full import CHECK, STAGES, inputs, reference, topics_of
from pipeline.bench.ours import topology_of
from pipeline.bench.report import OURS, JobReport, Measured, Requirement, lines
from pipeline.bench.site import PARTITIONS, Site
from pipeline.evidence.signing import make_key
from pipeline.runtime.following import caught_up
from pipeline.sink.clickhouse import Database

UNSEALED, WHOLE = "unsealed", "mix"
SHARE_MIN = 0.95  # of the throughput without
SEALED = "SELECT sum(records) FROM (SELECT DISTINCT topic, partition, lo, hi, records FROM {db}.evidence_roots)"


def run(site: Site, kind: str, records: int, rounds: int, *, seed: int = 1) -> JobReport:
    """The contest; `kind` is json, auditd, or mix: all stages then, until nothing waits any more."""
    topics, whole = topics_of(f"{site.name}.seal{kind}"), kind == WHOLE
    load = mix.placed(mix.build(seed, records, PARTITIONS) if whole else mix.of_kind(seed, kind, records, PARTITIONS), topics)
    site.preload(list(topics.values()), load.records, final=whole)
    key = site.folder / f"{kind}.key"
    make_key(key, 0)
    site.say(f"seal-{kind}: {records:,} records in {PARTITIONS} partitions")
    rows = reference(load, topics, site)["rows"]
    rounds_ = rounds_of(
        [OURS, UNSEALED],
        rounds,
        lambda peer: _one(site, peer, topics, load, key, rows, () if whole else STAGES),
        site.say,
        warm_up=site.warms_up,
    )
    site.remove(f"{site.name}.seal{kind}")
    found = lines(rounds_)
    title = "Whole path, sealed" if whole else f"Sealed {kind} ingest"
    report = JobReport(job=f"seal-{kind}", title=title, load=f"{records:,} records", lines=found, rounds=rounds_)
    (ratio,) = (line.ours_to_it for line in found if line.peer == UNSEALED)
    return report.judged([Requirement(f"x {UNSEALED}", SHARE_MIN, ratio or 0.0)])


def _one(site: Site, peer: str, topics: dict[str, str], load: mix.Mix, key: Path, rows: tuple[int, ...], stages: Sequence[str]) -> Measured:
    settings = site.settings_of_run(load.settings, inputs(topics), evidence={"key_file": key if peer == OURS else None})
    topology = topology_of(settings, stages)
    site.prepare(settings, topology)
    group, ends = settings.kafka.group, site.ends(topics.values())
    with Database(settings.clickhouse) as database:

        def done() -> bool:
            return site.committed(group, ends) and (bool(stages) or caught_up(settings, topology).done)

        spent = spend(site, task_of("full", OURS, settings, tuple(topics.values()), stages=stages), done)
        found = {"rows": database.query(CHECK)[0], "sealed": database.query(SEALED)[0][0]}
    must_equal(peer, found, {"rows": rows, "sealed": sum(ends.values()) if peer == OURS else 0})
    site.remove(group)
    return Measured.of(peer, len(load.records), spent)
