"""Bare JSON ingest: decode, typed columns, insert.  Ours as a stage of the worker with all guarantees, the others at least once."""

from pipeline.bench import bare
from pipeline.bench.contest import must_equal, present, rounds_of, spend, task_of
from pipeline.bench.ours import bare_topology
from pipeline.bench.report import OURS, JobReport, Measured, demand, lines
from pipeline.bench.site import PARTITIONS, Site
from pipeline.sink.clickhouse import Database

PEERS = (OURS, "confluent", "aiokafka", "bytewax", "quix", "stock")
RATE = 250_000
RATIOS = {"aiokafka": 0.85, "stock": 25, "bytewax": 1.4}
STOCK_SHARE, STOCK_MIN = 10, 5000  # stock reads a tenth: it is slow
UNCOMMITTED = ("bytewax",)


def run(site: Site, records: int, rounds: int, *, seed: int = 1, peers: tuple[str, ...] = PEERS) -> JobReport:
    """The contest."""
    running, left_out = present(peers, site)
    few = min(records, max(records // STOCK_SHARE, STOCK_MIN))
    topics = {records: f"{site.name}.bare", few: f"{site.name}.bare.few"}
    references = {}
    for size, topic in topics.items():
        site.preload([topic], bare.records(seed, size, topic, PARTITIONS))
        references[size] = bare.reference(seed, size)
    site.say(f"ingest: {records:,} JSON records in {PARTITIONS} partitions, {few:,} for stock")

    def one(peer: str) -> Measured:
        size = few if peer == "stock" else records
        return _one(site, peer, topics[size], size, references[size])

    rounds_ = rounds_of(running, rounds, one, site.say, warm_up=site.warms_up)
    site.remove(f"{site.name}.bare")
    found = lines(rounds_)
    report = JobReport(
        job="ingest",
        title="Bare JSON ingest",
        load=f"{records:,} records of about 270 bytes",
        lines=found,
        rounds=rounds_,
        left_out=left_out,
    )
    return report.judged(demand(found, RATE, RATIOS))


def _one(site: Site, peer: str, topic: str, size: int, reference: tuple[int, ...]) -> Measured:
    settings = site.settings_of_run({}, {"access_topics": (topic,)})
    site.prepare(settings, bare_topology(settings) if peer == OURS else None)
    group, ends = settings.kafka.group, site.ends([topic])
    with Database(settings.clickhouse) as database:
        database.command(bare.CREATE.replace("{db}", settings.clickhouse.database))

        def done() -> bool:
            stored = database.query(f"SELECT count() FROM {{db}}.{bare.TABLE}")[0][0]  # noqa: S608  our own table
            return stored >= size and (peer in UNCOMMITTED or site.committed(group, ends))

        spent = spend(site, task_of("ingest", peer, settings, [topic]), done)
        must_equal(peer, {"rows": database.query(bare.CHECK)[0]}, {"rows": reference})
    site.remove(settings.kafka.group)
    return Measured.of(peer, size, spent)
