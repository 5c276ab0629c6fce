"""A rate of records, the size of a site and its settings in; what it takes to run it, and where it must be split, out.

Pure arithmetic over numbers that were measured, each with where it is from.  What was not measured is marked as assumed, and every
amount has a low and a high beside it, since a machine, a mix of lines and a codec easily make a factor of two.

    rate ──► workers ──► groups (a vector goes from each partition to each of the later stages: P² a checkpoint) ──► partitions
         ──► bytes on Kafka and in ClickHouse, by retention
    site ──► state: hosts and jobs that are remembered ──► memory, state topics

Holds: a plan for twice the rate is nowhere smaller.
"""

import math
from typing import NamedTuple

import msgspec

from pipeline.runtime.admin import FACTS_RETENTION_DAYS, RETENTION_DAYS
from pipeline.settings import Settings
from pipeline.topology import Topology

DAY_SECONDS = 86_400
DEMO = "`trainwatch demo`, 255,380 records"
BENCH = "README, Speed"
MIX_LINES = "pipeline/decisions/0009"
STATE = "pipeline/decisions/0008"


class Measured(NamedTuple):
    """A number and where it is from.  `doubt`: the true one on other machines and other logs is within this factor, as a rule."""

    value: float
    unit: str
    source: str
    doubt: float


PER_CORE = Measured(15_400, "records per CPU second, whole path", BENCH, 2.0)
IDLE_WORKER = Measured(0.23, "GB of memory of a worker with little state", "an idle worker after `trainwatch demo`", 1.5)
STATE_MEMORY = Measured(1.05, "GB of memory for 2,000 hosts, 100,000 ended jobs and 20,000 artefacts", f"{BENCH}, less an idle worker", 3.0)
STATE_BYTES = Measured(1.6e9, "bytes of facts for the same", STATE, 3.0)
STATE_WRITTEN = Measured(1.98, "bytes written per byte of new facts", STATE, 1.5)
TAKE_OVER = Measured(6.9, "CPU seconds to recover the same", STATE, 2.0)
FACT_SECONDS = Measured(9e-6, "CPU seconds for a fact, to Kafka and back and folded", MIX_LINES, 2.0)
INSERT_SECONDS = Measured(0.013, "seconds for a block, three at a time on two cores", MIX_LINES, 2.0)
RAW = Measured(185, "bytes of a record", DEMO, 3.0)
# Bytes on disk for each input record, by content: Kafka compressed by lz4, ClickHouse by its default.
KAFKA = {
    "input": Measured(57, "bytes a record, lz4", DEMO, 3.0),
    "facts": Measured(179, "bytes a record, lz4", DEMO, 3.0),
    "enriched": Measured(38, "bytes a record, lz4", DEMO, 3.0),
    "verdicts": Measured(3.2, "bytes a record of verdicts, findings and incidents, lz4", DEMO, 3.0),
}
NEW_STATE = Measured(163, "bytes of new facts a record", DEMO, 3.0)
CLICKHOUSE = {
    "events": Measured(162, "bytes a record", DEMO, 3.0),
    "evidence_roots": Measured(71, "bytes a record, where evidence is sealed", DEMO, 2.0),
    "enriched_events": Measured(49, "bytes a record", DEMO, 3.0),
    "verdicts": Measured(2.3, "bytes a record", DEMO, 3.0),
    "findings and incidents": Measured(0.7, "bytes a record", DEMO, 5.0),
}
ROWS = Measured(1.26, "rows a record, all tables", DEMO, 1.5)
MEASURED = (
    *(PER_CORE, IDLE_WORKER, STATE_MEMORY, STATE_BYTES, STATE_WRITTEN, TAKE_OVER, FACT_SECONDS, INSERT_SECONDS, RAW, NEW_STATE, ROWS),
    *KAFKA.values(),
    *CLICKHOUSE.values(),
)
SITE_HOSTS, SITE_JOBS = 2_000, 100_000  # that the numbers on state are of

BUSY = 0.6  # of a core that is used at that rate; the rest catches up after a pause
PARTITIONS_PER_WORKER = 4
VECTOR_SHARE = 0.05  # of a core that may go into watermark vectors
INPUT_DAYS = 7  # that inputs are kept
REPLICAS = 3
NODE_ROWS = Measured(300_000, "rows a second into one ClickHouse node", "assumed, not measured", 3.0)
NODE_BYTES = Measured(20e12, "bytes of disk of one ClickHouse node", "assumed", 1.0)
BROKER_REPLICAS = Measured(4_000, "replicas of partitions on one broker", "assumed, not measured", 2.0)
BROKER_DISK = Measured(40e12, "bytes of disk of one broker", "assumed", 1.0)
BROKER_BYTES = Measured(250e6, "bytes a second into one broker", "assumed, not measured", 2.0)
WHOLE = ("processes, a core each", "nodes")
INSERTS_MAX = 50.0  # a second into one node; more, and merges do not keep up


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """What the site brings."""

    events_per_second: float
    hosts: int
    jobs_per_day: float
    record_bytes: float = RAW.value
    input_days: float = INPUT_DAYS
    replicas: int = REPLICAS
    interval_seconds: float = 1.0


class Amount(msgspec.Struct, frozen=True):
    """One line of a plan."""

    part: str  # workers | kafka | clickhouse | network
    name: str
    low: float
    middle: float
    high: float
    unit: str
    how: str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """All lines, and what an operator must know beside them."""

    demand: Demand
    amounts: tuple[Amount, ...]
    notes: tuple[str, ...]

    def middle(self, part: str, name: str) -> float:
        """Of one line."""
        return next(amount.middle for amount in self.amounts if (amount.part, amount.name) == (part, name))


def vectors_per_partition_pair(topology: Topology) -> int:
    """Pairs of a topic that speaks and a stage that listens."""
    return sum(len(stage.reads) * len(stage.tells) for stage in topology.stages)


def group_workers_max(topology: Topology, interval_seconds: float) -> int:
    """Workers of one group at which vectors take their share: with P partitions, P² go to each later stage at each checkpoint."""
    cost = vectors_per_partition_pair(topology) * PARTITIONS_PER_WORKER**2 * FACT_SECONDS.value / interval_seconds
    return max(1, int(VECTOR_SHARE / cost))


def retention_days(settings: Settings, table: str) -> int:
    """Of a table in ClickHouse."""
    return settings.clickhouse.retention_days_by_table.get(table, settings.clickhouse.retention_days)


def plan(demand: Demand, settings: Settings, topology: Topology) -> Plan:
    """What `demand` takes under these settings."""
    workers = math.ceil(demand.events_per_second / (PER_CORE.value * BUSY))
    most = group_workers_max(topology, demand.interval_seconds)
    groups = math.ceil(workers / most)
    each = math.ceil(workers / groups)
    partitions = PARTITIONS_PER_WORKER * each
    amounts = [
        _amount(
            "workers", "workers", groups * each, "processes, a core each", f"{PER_CORE.value * BUSY:,.0f} records/s each", PER_CORE.doubt
        ),
        Amount("workers", "groups", groups, groups, groups, "consumer groups", f"at most {most} workers in one at this interval"),
        *_memory(demand, settings, groups * each),
        *_kafka(demand, settings, topology, groups, partitions),
        *_clickhouse(demand, settings, topology, groups * partitions),
    ]
    made = Plan(demand=demand, amounts=tuple(amounts), notes=())
    return msgspec.structs.replace(made, notes=tuple(_notes(made, groups, each)))


def _amount(part: str, name: str, value: float, unit: str, how: str, doubt: float) -> Amount:
    low, middle, high = (math.ceil(each) if unit in WHOLE else each for each in (value / doubt, value, value * doubt))
    return Amount(part, name, low, middle, high, unit, how)


def _site(demand: Demand, settings: Settings) -> float:
    """How large the remembered site is, in sites of the measurement: the larger of hosts and jobs, and no less than nothing."""
    return max(demand.hosts / SITE_HOSTS, demand.jobs_per_day * settings.retention.job_days / SITE_JOBS)


def _memory(demand: Demand, settings: Settings, workers: int) -> list[Amount]:
    site = _site(demand, settings)
    state = STATE_MEMORY.value * site
    return [
        _amount("workers", "state in memory", state, "GB", f"{site:.2g} sites of 2,000 hosts and 100,000 ended jobs", STATE_MEMORY.doubt),
        _amount("workers", "memory of a worker", IDLE_WORKER.value + state / workers, "GB", "its share of the state, even keys", 2.0),
        _amount("workers", "take-over", TAKE_OVER.value * site / workers, "s", "of one worker's share of the state", TAKE_OVER.doubt),
    ]


def _kafka(demand: Demand, settings: Settings, topology: Topology, groups: int, partitions: int) -> list[Amount]:
    rate, size = demand.events_per_second, demand.record_bytes / RAW.value
    state = STATE_BYTES.value * _site(demand, settings)
    flows = {
        "input": (KAFKA["input"].value * size, demand.input_days),
        "facts": (KAFKA["facts"].value, float(FACTS_RETENTION_DAYS)),
        "enriched": (KAFKA["enriched"].value, float(RETENTION_DAYS["enriched"])),
        "verdicts": (KAFKA["verdicts"].value, float(RETENTION_DAYS["verdicts"])),
    }
    lines = [Amount("kafka", "partitions", partitions, partitions, partitions, "of each topic, in each group", "4 a worker")]
    disk = 0.0
    for name, (of_one, days) in flows.items():
        daily = rate * of_one * DAY_SECONDS
        disk += daily * days
        lines.append(_amount("kafka", f"{name} a day", daily / 1e9, "GB", f"{of_one:.0f} B a record, kept {days:g} days", 3.0))
    lines.append(_amount("kafka", "state topics", 2 * state / 1e9, "GB", "facts, and once more before compaction", STATE_BYTES.doubt))
    all_disk = demand.replicas * (disk + 2 * state)
    lines.append(_amount("kafka", "disk", all_disk / 1e12, "TB", f"{demand.replicas} replicas", 3.0))
    written = rate * (sum(of_one for of_one, _ in flows.values()) + NEW_STATE.value * STATE_WRITTEN.value)
    replicas = groups * partitions * demand.replicas * _topics(topology)
    brokers = max(
        demand.replicas,
        written * demand.replicas / BROKER_BYTES.value,
        replicas / BROKER_REPLICAS.value,
        all_disk / BROKER_DISK.value,
    )
    lines += [
        _amount("network", "into Kafka", written / 1e6, "MB/s", "inputs, facts, public values, state; before replication", 3.0),
        _amount("network", "between brokers", written * (demand.replicas - 1) / 1e6, "MB/s", "replication", 3.0),
        _amount("network", "out of Kafka", written / 1e6, "MB/s", "each record and fact is read once; state when partitions move", 3.0),
        _amount("kafka", "brokers", math.ceil(brokers), "nodes", f"{replicas:,.0f} replicas; 4,000, 250 MB/s, 40 TB each; assumed", 2.0),
    ]
    return lines


def _topics(topology: Topology) -> int:
    """Of one group: read, their state, the dead letters and the evidence."""
    return 2 * sum(len(stage.reads) for stage in topology.stages) + 2


def _clickhouse(demand: Demand, settings: Settings, topology: Topology, partitions: int) -> list[Amount]:
    rate, size = demand.events_per_second, demand.record_bytes / RAW.value
    sealed = settings.evidence.key_file is not None
    lines, disk = [], 0.0
    for table, measured in CLICKHOUSE.items():
        if table == "evidence_roots" and not sealed:
            continue
        days = retention_days(settings, table.split(" ", 1)[0])
        daily = rate * measured.value * (size if table == "events" else 1) * DAY_SECONDS
        disk += daily * days
        lines.append(_amount("clickhouse", f"{table} a day", daily / 1e9, "GB", f"kept {days} days", measured.doubt))
    rows = rate * ROWS.value
    # A block per partition and table: inputs make events, and public topics their tables.
    blocks = partitions * sum(len(stage.reads) for stage in topology.stages if stage.takes == "records") / demand.interval_seconds
    nodes = math.ceil(max(rows / NODE_ROWS.value, disk / NODE_BYTES.value, blocks / INSERTS_MAX, 1))
    return [
        *lines,
        _amount("clickhouse", "disk", disk / 1e12, "TB", "one copy", 3.0),
        _amount("clickhouse", "rows", rows, "rows/s", f"{ROWS.value:g} a record", ROWS.doubt),
        _amount("clickhouse", "blocks", blocks, "inserts/s", f"a block a partition every {demand.interval_seconds:g} s at most", 1.5),
        _amount(
            "clickhouse", "nodes", nodes, "nodes", f"{INSERTS_MAX:g} inserts/s, {NODE_ROWS.value:,.0f} rows/s, 20 TB each; assumed", 3.0
        ),
        _amount("network", "into ClickHouse", rate * demand.record_bytes * 2 / 1e6, "MB/s", "columns are sent uncompressed", 2.0),
    ]


def _notes(made: Plan, groups: int, each: int) -> list[str]:
    notes, demand = [], made.demand
    if groups > 1:
        notes.append(
            f"One group does not carry it: {groups} groups of {each} workers, each with its own kafka.group, kafka.topic_prefix and input "
            "topics. Split by cluster, so that all lines on a job and its hosts come to one group; detectors over people and incidents "
            "see one group at a time."
        )
    if made.middle("clickhouse", "disk") > 100:
        notes.append("Most of ClickHouse's disk is `events`: keep them for fewer days (clickhouse.retention_days_by_table) than findings.")
    if demand.events_per_second > PER_CORE.value:
        notes.append("A shipper that filters at the source saves more than any machine: lines that concern no job, file or login.")
    blocks = made.middle("clickhouse", "blocks")
    if blocks > INSERTS_MAX and made.middle("clickhouse", "nodes") == math.ceil(blocks / INSERTS_MAX):
        notes.append(
            f"Inserts decide the number of ClickHouse nodes: a longer checkpoint.interval_seconds (now {demand.interval_seconds:g}) makes "
            "fewer and larger blocks, and findings as much later."
        )
    notes.append("Hot keys are not in this: a host or job that says more than a worker folds is the limit of its partition.")
    return notes
