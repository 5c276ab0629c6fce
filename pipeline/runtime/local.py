"""The same topology in memory: records in, the same findings as on Kafka out.

For `analyse`, backtests and most tests.  Partitions, guard, marks and vectors are those of the Kafka runtime; only the topics are lists
and there is no state log.  `feed` takes records in arrival order and `checkpoint` does what a checkpoint does downstream: every stage
folds what it was told, in data order, then speaks its watermarks.  `finish` ends all channels.

    feed(records) -> ingest;   checkpoint() -> hosts -> artefacts -> jobs;   finish() -> all windows close

A partition to which nothing was fed counts as empty, which holds nothing back.  As long as records come in order within grace that is
harmless.  A caller who feeds one partition far ahead of another must say first what is to come, as a broker would know it: `expect`.
"""

import logging
from collections.abc import Collection, Iterable, Sequence
from zlib import crc32

import msgspec
import orjson

from pipeline.model.facts import Fact, encode_fact
from pipeline.model.outcome import Publish, Record
from pipeline.runtime.channel import end_of_channel
from pipeline.runtime.dead_letter import DeadLetter
from pipeline.runtime.guard import Guard
from pipeline.runtime.partition import Partition, Source
from pipeline.runtime.sources import Seen, seen
from pipeline.runtime.state_record import Owner
from pipeline.settings import Settings
from pipeline.stream.watermark import encode_vector
from pipeline.topology import Stage, Topology, build_topology

log = logging.getLogger(__name__)


def _unmoved(_: Partition, __: Sequence[str]) -> None:
    """Silence is a matter of clocks: there is none here."""


class Results:
    """What came out: the last word under each id, and everything that was counted."""

    def __init__(self) -> None:
        self.findings: dict[str, dict[str, object]] = {}  # id -> canonical body
        self.unheard: dict[str, list[str]] = {}  # finding id -> families that it needed and that were not heard then
        self.verdicts: dict[str, dict[str, object]] = {}
        self.incidents: dict[str, dict[str, object]] = {}
        self.published: dict[str, int] = {}
        self.rows: list[msgspec.Struct] = []
        self.dead_letters: list[DeadLetter] = []
        self.listed: list[tuple[str, int, str]] = []  # (topic/partition, offset, code)
        self.records = 0
        self.sources = Seen([], [], {}, [])  # wrong zones, who fell under its rate, who cannot be read

    def canonical_findings(self) -> dict[str, bytes]:
        """Finding id -> canonical body; retracted ones equal those never raised and are left out."""
        kept = {key: body for key, body in self.findings.items() if body["status"] != "retracted"}
        return {key: orjson.dumps(kept[key], option=orjson.OPT_SORT_KEYS) for key in sorted(kept)}

    def canonical_verdicts(self) -> dict[str, bytes]:
        """Verdict id -> canonical body."""
        return {key: orjson.dumps(self.verdicts[key], option=orjson.OPT_SORT_KEYS) for key in sorted(self.verdicts)}

    def canonical_incidents(self) -> dict[str, bytes]:
        """Incident id -> canonical body, those taken back left out."""
        kept = {key: body for key, body in self.incidents.items() if body["status"] != "retracted"}
        return {key: orjson.dumps(kept[key], option=orjson.OPT_SORT_KEYS) for key in sorted(kept)}

    def take(self, out: Publish) -> dict[str, object] | None:
        """Note a public output; answers with the canonical body of a finding."""
        self.published[out.content] = self.published.get(out.content, 0) + 1
        if out.content == "findings":
            said = orjson.loads(out.value)["unmapped"]["trainwatch"]
            body: dict[str, object] = said["canonical"]
            self.findings[str(body["id"])], self.unheard[str(body["id"])] = body, said["transport"]["silent"]
            return body
        if out.content == "verdicts":
            body = orjson.loads(out.value)["canonical"]
            self.verdicts[str(body["id"])] = body
            if body["status"] == "retracted":
                del self.verdicts[str(body["id"])]
        if out.content == "incidents":
            body = orjson.loads(out.value)["unmapped"]["trainwatch"]["canonical"]
            self.incidents[str(body["id"])] = body
        return None


class LocalRuntime:
    """One process, no servers.  `keep_rows` keeps the rows that ClickHouse would get."""

    def __init__(self, settings: Settings, partitions: int = 1, *, keep_rows: bool = False, topology: Topology | None = None) -> None:
        self.results = Results()
        self._keep_rows, self._partitions = keep_rows, partitions
        self._topology = topology or build_topology(settings)
        self._guard = Guard(settings.time, self._tell, _unmoved, log)
        self._stages = [stage for stage in self._topology.stages if stage.name != "sink"]
        owner = Owner(1, 1, "local")
        self._parts = {
            Source(topic, number): Partition(Source(topic, number), stage, settings, owner)
            for stage in self._stages
            for topic in stage.reads
            for number in range(partitions)
        }
        self._waiting: dict[Source, list[Record]] = {source: [] for source in self._parts}
        self._next: dict[Source, int] = dict.fromkeys(self._parts, 0)
        self._expected: set[Source] = set()
        self.found: list[dict[str, object]] = []  # canonical bodies of findings, in order of publication

    def expect(self, records: Iterable[Record]) -> None:
        """These wait to be fed: their partitions are not empty, and hold back all marks until they are read."""
        self._expected.update(map(self._source, records))

    def feed(self, records: Iterable[Record]) -> None:
        """Raw records in arrival order; each goes to the partition it names, modulo the number of partitions here."""
        batches: dict[Source, list[Record]] = {}
        for record in records:
            source = self._source(record)
            batches.setdefault(source, []).append(self._at(source, record))
        for source, batch in batches.items():
            self.results.records += len(batch)
            self._fold(source, batch)

    def checkpoint(self, waiting: Collection[str] = ()) -> None:
        """Speak watermarks, let every keyed stage fold what it was told, collect what came out.

        What stages that are `waiting` are told is kept for them until the next checkpoint at which they are not.
        """
        for stage in self._stages:
            if stage.name in waiting:
                continue
            for topic in stage.reads:
                for number in range(self._partitions):
                    source = Source(topic, number)
                    batch, self._waiting[source] = self._waiting[source], []
                    if batch:
                        self._fold(source, batch)
                    self._speak(stage, source)
                    self._collect(self._parts[source])

    def finish(self) -> Results:
        """End all channels, as `replay --final` does, and judge what is open."""
        self.checkpoint()
        spoken = [part.marks for part in self._parts.values() if part.observes]
        latest = max(marks.own_progress() for marks in spoken)
        for marks in spoken:  # all channels end at one time, also those whose last record was long before
            marks.progress(latest)
            marks.advance(end_of_channel(marks))
        self.checkpoint()
        self.results.sources = seen(self._parts.values(), {})
        return self.results

    def _fold(self, source: Source, batch: Sequence[Record]) -> None:
        part = self._parts[source]
        self._guard.fold(part, batch)
        part.folded(batch, ())

    def _speak(self, stage: Stage, source: Source) -> None:
        part = self._parts[source]
        empty = not stage.upstream and self._next[source] == 0 and source not in self._expected
        vector = part.marks.speak(source.topic, source.partition, self._partitions, empty=empty)
        if vector is None:
            return
        value = encode_vector(vector)
        for told in stage.tells:
            for number in range(self._partitions):
                self._append(Source(self._topology.facts_topic(told), number), None, value)

    def _collect(self, part: Partition) -> None:
        for out in part.published:
            body = self.results.take(out)
            if body is not None:
                self.found.append(body)
        if self._keep_rows:
            self.results.rows += part.rows
        self.results.dead_letters += part.dead_letters
        self.results.listed += [(str(part.source), offset, code) for offset, code in part.listed]
        part.published, part.rows, part.dead_letters, part.listed = [], [], [], []
        part.cases.take_news()

    def _tell(self, stage: str, fact: Fact) -> None:
        number = crc32(fact.case) % self._partitions
        self._append(Source(self._topology.facts_topic(stage), number), fact.case, encode_fact(fact))

    def _append(self, source: Source, key: bytes | None, value: bytes) -> None:
        record = Record(topic=source.topic, partition=source.partition, offset=0, timestamp=0, value=value, key=key)
        self._waiting[source].append(self._at(source, record))

    def _source(self, record: Record) -> Source:
        return Source(record.topic, record.partition % self._partitions)

    def _at(self, source: Source, record: Record) -> Record:
        offset = self._next[source]
        self._next[source] = offset + 1
        return msgspec.structs.replace(record, partition=source.partition, offset=offset)
