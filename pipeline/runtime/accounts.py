"""The name of an account in; what it must be allowed on Kafka and in ClickHouse for its work out: what `trainwatch check --as` asks for.

Each is one line of the table in deploy/runbooks/README.md, or a data source of Grafana.  Rights on Kafka are those of `rights.py`, grants
are samples of deploy/sql/roles.sql that would show that the role is missing; a test holds them against it on a real server.
"""

from collections.abc import Iterator
from typing import NamedTuple

from pipeline.runtime.rights import DESCRIBE_CONFIGS, READ, rights
from pipeline.settings import Settings
from pipeline.sink.rows import BLOCK_TABLES, RANGES, ROOTS, TABLES
from pipeline.topology import Topology

WORKER = "worker"
LANDED = ("_topic", "_partition", "_offset", "_incarnation")  # what `ClickHouseSink.landed` reads
NOTED = ("topic", "incarnation", "partition", "lo", "hi")  # what `ClickHouseSink.noted` reads, and `rooted`, which reads the root too
WRITTEN_BY_PEOPLE = ("labels", "incident_journal", "custody_log")
HELD = ("events_held", "records_held", "evidence_roots_held")
OF_THE_SERVER = ("parts", "merges", "disks", "events", "errors", "merge_tree_settings")


class Account(NamedTuple):
    """Its roles; empty where it has nothing to do."""

    kafka: str = ""  # of `rights.ROLES`
    clickhouse: str = ""  # of deploy/sql/roles.sql, after `trainwatch_`
    may: str = ""  # what that role is for, in words


ACCOUNTS = {
    WORKER: Account("worker", "writer", "add rows, and look whether they have landed"),
    "notifier": Account("notifier"),
    "operator": Account("operator"),
    "owner": Account("", "owner", "make and alter tables"),
    "investigator": Account("investigator", "investigator", "read everything, and write what people say and hold"),
    "labeller": Account("labeller", "investigator", "read everything, and write what people say and hold"),
    "privacy": Account("", "privacy", "read everything, and erase lines on request"),
    "dashboards": Account("", "dashboards", "read everything, and what the server does"),
    "reader": Account("", "reader", "read all but lines and names"),
}


class Needs(NamedTuple):
    """On Kafka, in the words in which a broker says what an account may."""

    topics: dict[str, frozenset[str]]
    groups: dict[str, frozenset[str]]
    configs: bool  # it may ask how topics are kept, too; without, less can be warned of, and all works

    def readable(self) -> list[str]:
        """Topics whose values it may see."""
        return [name for name, operations in self.topics.items() if READ.upper() in operations]


def on_kafka(account: str, settings: Settings, topology: Topology) -> Needs:
    """As `rights` grants it."""
    granted = rights(settings, topology, {ACCOUNTS[account].kafka: ""})
    found = Needs({}, {}, any(right.operation == DESCRIBE_CONFIGS for right in granted))
    for right in granted:
        into = {"topic": found.topics, "group": found.groups}.get(right.resource)
        if into is not None and right.operation != DESCRIBE_CONFIGS:
            into[right.name] = into.get(right.name, frozenset()) | {right.operation.upper()}
    return found


def in_clickhouse(account: str, database: str) -> list[str]:
    """Grants that CHECK GRANT is asked for."""
    return [f"{what} ON {on if '.' in on else f'{database}.{on}'}" for what, on in _grants(ACCOUNTS[account].clickhouse)]


def _grants(role: str) -> Iterator[tuple[str, str]]:
    if role == "writer":
        yield from (("INSERT", table) for table in TABLES)
        yield from (("SELECT({})".format(", ".join(LANDED)), table.name) for table in BLOCK_TABLES)
        yield f"SELECT({', '.join(NOTED)})", RANGES.name
        yield f"SELECT({', '.join((*NOTED, 'root'))})", ROOTS.name
    elif role == "owner":
        yield from ((what, "*") for what in ("CREATE TABLE", "CREATE VIEW", "ALTER TABLE", "DROP TABLE", "INSERT", "SELECT"))
    elif role == "reader":
        yield from (("SELECT", table) for table in ("sink_ranges", "standings", "coverage", "traffic", "detection_times", "loss_lines"))
        yield from (("SELECT(finding_id, severity, status, alert)", table) for table in ("findings", "findings_current"))
    else:
        yield "SELECT", "*"
    if role == "investigator":
        yield from (("INSERT", table) for table in (*WRITTEN_BY_PEOPLE, *HELD))
        yield from (("ALTER DELETE", table) for table in HELD)
    elif role == "privacy":
        yield from (("INSERT", table) for table in ("erasures", "custody_log"))
        yield "ALTER UPDATE(raw, attrs, actor, file)", "events"
        yield "ALTER DELETE", "enriched_events"
    if role in ("dashboards", "reader", "investigator"):
        yield from (("SELECT", f"system.{table}") for table in OF_THE_SERVER)
    if role == "dashboards":
        yield from (("SELECT", f"system.{table}") for table in ("processes", "query_log"))
