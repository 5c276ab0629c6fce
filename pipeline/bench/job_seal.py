"""What sealing costs: the ingest stage with and without an evidence key, in turns, over the records of job_full.

With a key records are kept until the checkpoint and hashed into Merkle leaves, each of a run of them; every range gets a signed root, and
roots go to their topic and to ClickHouse.  Both are ours, so the ratio tells the cost alone; what was sealed is counted before a figure is
told.
"""

from pathlib import Path

from pipeline.bench import mix
from pipeline.bench.contest import must_equal, rounds_of, spend, task_of
from pipeline.bench.job_full import CHECK, STAGES, inputs, reference, topics_of
from pipeline.bench.ours import topology_of
from pipeline.bench.report import OURS, JobReport, Measured, Requirement, lines
from pipeline.bench.site import PARTITIONS, Site
from pipeline.evidence.signing import make_key
from pipeline.sink.clickhouse import Database

UNSEALED = "unsealed"
SHARE_MIN = 0.95  # of the throughput without: what the whole path may lose; README says what this stage alone was measured at
SEALED = "SELECT sum(records) FROM (SELECT DISTINCT topic, partition, lo, hi, records FROM {db}.evidence_roots)"


def run(site: Site, kind: str, records: int, rounds: int, *, seed: int = 1) -> JobReport:
    """The contest; `kind` is json or auditd."""
    topics = topics_of(f"{site.name}.seal{kind}")
    load = mix.placed(mix.of_kind(seed, kind, records, PARTITIONS), topics)
    site.preload(list(topics.values()), load.records)
    key = site.folder / f"{kind}.key"
    make_key(key, 0)
    site.say(f"seal-{kind}: {records:,} records in {PARTITIONS} partitions")
    rows = reference(load, topics, site)["rows"]
    rounds_ = rounds_of([OURS, UNSEALED], rounds, lambda peer: _one(site, peer, topics, load, key, rows), site.say, warm_up=site.warms_up)
    site.remove(f"{site.name}.seal{kind}")
    found = lines(rounds_)
    report = JobReport(job=f"seal-{kind}", title=f"Sealed {kind} ingest", load=f"{records:,} records", lines=found, rounds=rounds_)
    (ratio,) = (line.ours_to_it for line in found if line.peer == UNSEALED)
    return report.judged([Requirement(f"x {UNSEALED}", SHARE_MIN, ratio or 0.0)])


def _one(site: Site, peer: str, topics: dict[str, str], load: mix.Mix, key: Path, rows: tuple[int, ...]) -> Measured:
    settings = site.settings_of_run(load.settings, inputs(topics), evidence={"key_file": key if peer == OURS else None})
    site.prepare(settings, topology_of(settings, STAGES))
    group, ends, size = settings.kafka.group, site.ends(topics.values()), len(load.records)
    with Database(settings.clickhouse) as database:

        def done() -> bool:
            return site.committed(group, ends)

        spent = spend(site, task_of("full", OURS, settings, tuple(topics.values()), stages=STAGES), done)
        found = {"rows": database.query(CHECK)[0], "sealed": database.query(SEALED)[0][0]}
    must_equal(peer, found, {"rows": rows, "sealed": size if peer == OURS else 0})
    site.remove(group)
    return Measured.of(peer, size, spent)
