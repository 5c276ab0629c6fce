"""Stock Faust: the steps of the product called from agents on single records, as one builds it from the documentation.

Facts and public outputs go through `topic.send`, rows are inserted by a timer, offsets are committed by Faust; state is in memory and in
no log: there are no guarantees, all in its favour.  Steps, outcomes, marks and rows are those of the product.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import faust

from pipeline.bench.ours import hosts_topology, topology_of
from pipeline.bench.task import Task, ready
from pipeline.model.facts import Fact, encode_fact
from pipeline.model.outcome import Record
from pipeline.runtime.garbage import collect_seldom
from pipeline.runtime.guard import Guard
from pipeline.runtime.partition import Partition, Source
from pipeline.runtime.state_record import Owner
from pipeline.settings import Settings
from pipeline.sink.clickhouse import ClickHouseSink
from pipeline.stream.watermark import encode_vector
from pipeline.topology import PUBLIC, Stage, Topology

FLUSH_SECONDS = 1.0
FETCH_BYTES = 2 << 20

log = logging.getLogger("trainwatch.bench")


def build_app(task: Task) -> Any:
    """An app without tables and web server."""
    collect_seldom()
    kafka = task.site().kafka
    return faust.App(
        kafka.group,
        broker=f"kafka://{kafka.bootstrap_servers.replace(',', ';')}",
        env_prefix="TRAINWATCH_FAUST_",
        web_enabled=False,
        store="memory://",
        topic_allow_declare=False,
        topic_disable_leader=True,
        broker_commit_interval=FLUSH_SECONDS,
        broker_commit_every=1_000_000,
        broker_max_poll_records=None,
        consumer_max_fetch_size=FETCH_BYTES,
        consumer_auto_offset_reset="earliest",
        producer_linger_ms=20,
        worker_redirect_stdouts=False,
    )


def run_app(app: Any) -> None:
    """Until it is ended; says when it has its partitions."""

    async def assigned(*_: Any, **__: Any) -> None:
        ready()

    app.on_rebalance_complete.connect(assigned, weak=False)
    worker = faust.Worker(app, quiet=True, override_logging=False, redirect_stdouts=False, loglevel="WARN")
    worker.spinner = None
    worker.execute_from_commandline()


def stages(task: Task) -> None:
    """The stages that the task names, all when it names none."""
    settings = task.site()
    Stages(task, settings, topology_of(settings, task.options.get("stages", ()))).run()


def hosts(task: Task) -> None:
    """The hosts stage."""
    settings = task.site()
    Stages(task, settings, hosts_topology(settings, task.topics)).run()


class Stages:
    """The app with the state of its partitions."""

    def __init__(self, task: Task, settings: Settings, topology: Topology) -> None:
        self._settings, self._topology = settings, topology
        self._sink = ClickHouseSink(settings.clickhouse)
        self._threads = ThreadPoolExecutor(1)
        self._parts: dict[Source, Partition] = {}
        self._told: list[tuple[str, bytes | None, bytes]] = []
        self._blocks = 0
        self._guard = Guard(settings.time, self._tell, lambda *_: None, log)
        self._app = app = build_app(task)
        names = {topology.facts_topic(stage) for each in topology.stages for stage in each.tells}
        names |= {topology.public_topic(content) for content in (*PUBLIC, "dead-letter")}
        self._topics = {name: self._topic(name) for name in names | {topic for stage in topology.stages for topic in stage.reads}}
        for stage in topology.stages:
            for topic in stage.reads:
                app.agent(self._topics[topic], name=f"{stage.name}-{topic}")(self._agent(stage))
        app.timer(FLUSH_SECONDS)(self._flush)

    def run(self) -> None:
        """Until ended."""
        run_app(self._app)

    def _topic(self, name: str) -> Any:
        return self._app.topic(name, value_serializer="raw", key_serializer="raw", partitions=self._settings.kafka.partitions)

    def _agent(self, stage: Stage) -> Callable[[Any], Any]:
        async def agent(stream: Any) -> None:
            async for event in stream.events():
                message = event.message
                part = self._part(stage, Source(message.topic, message.partition))
                record = Record(
                    topic=message.topic,
                    partition=message.partition,
                    offset=message.offset,
                    timestamp=round(message.timestamp * 1000),
                    value=message.value,
                    key=message.key,
                    headers=_headers(message.headers),
                )
                self._guard.fold(part, [record])
                part.folded([record], ())
                if self._told:
                    told, self._told = self._told, []
                    for name, key, value in told:
                        await self._topics[name].send(key=key, value=value)

        return agent

    def _part(self, stage: Stage, source: Source) -> Partition:
        part = self._parts.get(source)
        if part is None:
            part = self._parts[source] = Partition(source, stage, self._settings, Owner(1, 1, "stock"))
        return part

    def _tell(self, stage: str, fact: Fact) -> None:
        self._told.append((self._topology.facts_topic(stage), fact.case, encode_fact(fact)))

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        for part in list(self._parts.values()):
            rows, part.rows = part.rows, []
            letters, part.dead_letters = part.dead_letters, []
            published, part.published = part.published, []
            part.cases.take_news()
            for table, some in self._sink.tables(rows).items():
                self._blocks += 1
                await loop.run_in_executor(self._threads, partial(self._sink.insert, table, some, f"{part.source}-{self._blocks}", ""))
            for letter in letters:
                await self._send("dead-letter", letter.key, letter.value)
            for each in published:
                await self._send(each.content, each.key, each.value)
        for part in list(self._parts.values()):
            if part.stage.tells:
                await self._speak(part)

    async def _send(self, content: str, key: bytes | None, value: bytes | None) -> None:
        await self._topics[self._topology.public_topic(content)].send(key=key, value=value)

    async def _speak(self, part: Partition) -> None:
        count = self._settings.kafka.partitions
        vector = part.marks.speak(part.source.topic, part.source.partition, count, empty=False)
        if vector is not None:
            for stage in part.stage.tells:
                for number in range(count):
                    topic = self._topics[self._topology.facts_topic(stage)]
                    await topic.send(key=None, value=encode_vector(vector), partition=number)


def _headers(headers: Any) -> tuple[tuple[str, bytes], ...]:
    return tuple(headers.items()) if isinstance(headers, dict) else tuple(headers or ())
