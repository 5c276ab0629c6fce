"""Our own consumers: the worker of the product with all its guarantees, limited to what a job measures.

bare      one stage that decodes JSON into rows: checkpoints, intents, insert tokens and range audit as for any other stage
stages    the real topology, or its first stages
join      one stage that joins facts with those of before; hosts: the hosts stage alone, on facts that are in its topic
"""

import logging
from collections.abc import Sequence
from typing import Any

import msgspec

from pipeline.bench import bare as layout
from pipeline.bench import join_ours
from pipeline.bench.task import Task
from pipeline.errors import ErrorCode
from pipeline.model.outcome import Outcome, Record, Rejected
from pipeline.runtime import app as runtime
from pipeline.settings import Settings
from pipeline.sink.clickhouse import ClickHouseSink
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import Watermarks
from pipeline.topology import Stage, Topology, build_topology


def stages(task: Task) -> None:
    """The stages that the task names, all when it names none."""
    settings = task.site()
    with ClickHouseSink(settings.clickhouse) as sink:
        _run(settings, topology_of(settings, task.options.get("stages", ())), sink)


def topology_of(settings: Settings, names: Sequence[str] = ()) -> Topology:
    """The real topology, limited to some stages."""
    whole = build_topology(settings)
    return Topology(tuple(stage for stage in whole.stages if not names or stage.name in names), whole.prefix)


def bare(task: Task) -> None:
    """Decode, insert."""
    settings = task.site()
    with BareSink(settings.clickhouse) as sink:
        _run(settings, bare_topology(settings), sink)


def bare_topology(settings: Settings) -> Topology:
    """One stage."""
    stage = Stage("ingest", settings.kafka.input_topics, "records", BareState, _bare_step)
    return Topology((stage,), settings.kafka.topic_prefix)


def join(task: Task) -> None:
    """The interval join alone."""
    settings = task.site()
    with ClickHouseSink(settings.clickhouse) as sink:
        _run(settings, join_ours.topology(settings, task.topics), sink)


def hosts(task: Task) -> None:
    """The hosts stage."""
    settings = task.site()
    with ClickHouseSink(settings.clickhouse) as sink:
        _run(settings, hosts_topology(settings, task.topics), sink)


def hosts_topology(settings: Settings, topics: tuple[str, ...]) -> Topology:
    """The hosts stage of the real topology, reading facts from `topics`."""
    whole = build_topology(settings)
    hosts = next(stage for stage in whole.stages if stage.name == "hosts")
    return Topology((hosts._replace(reads=topics),), whole.prefix)


def _run(settings: Settings, topology: Topology, sink: Any) -> None:
    raise SystemExit(runtime.run(runtime.build_app(settings, topology, sink), level=logging.INFO))


class BareState:
    """Nothing to remember."""

    def __init__(self, settings: Settings, cases: Cases) -> None:  # noqa: ARG002  as all states are built
        self.cases = cases


def _bare_step(state: BareState, batch: Sequence[Record], now: Watermarks) -> tuple[BareState, list[Outcome]]:  # noqa: ARG001  all steps alike
    outcomes: list[Any] = []
    decode = layout.decode
    topic, partition = batch[0].topic, batch[0].partition
    for record in batch:
        try:
            row = decode(record.value or b"")
        except msgspec.MsgspecError as error:
            outcomes.append(Rejected(record.offset, ErrorCode.DECODE_ERROR, str(error)))
            continue
        row.topic, row.partition, row.offset = topic, partition, record.offset
        outcomes.append(row)
    return state, outcomes


class BareSink(ClickHouseSink):
    """The sink of the product, with one more table."""

    def tables(self, rows: Sequence[msgspec.Struct]) -> dict[str, list[msgspec.Struct]]:
        return {layout.TABLE: list(rows)}

    def insert(self, table: str, rows: Sequence[Any], token: str, incarnation: str = "") -> None:  # noqa: ARG002  the port's
        columns = dict(zip(layout.COLUMNS, layout.columns(rows), strict=True))
        where = {
            "_topic": [rows[0].topic] * len(rows),
            "_partition": [rows[0].partition] * len(rows),
            "_offset": [row.offset for row in rows],
        }
        self.database.insert(table, {**columns, **where}, async_insert=0, insert_deduplicate=1, insert_deduplication_token=token)

    def landed(self, table: str, topic: str, partition: int, lo: int, hi: int, incarnation: str = "") -> int:  # noqa: ARG002  the port's
        sql = f"SELECT count() FROM {{db}}.{table} WHERE _topic = %(t)s AND _partition = %(p)s AND _offset >= %(lo)s AND _offset < %(hi)s"  # noqa: S608  our own table
        return int(self.database.query(sql, {"t": topic, "p": partition, "lo": lo, "hi": hi})[0][0])
