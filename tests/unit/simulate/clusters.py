"""Simulated clusters for tests, and what the pipeline's own parsers make of their lines.

Parsing goes through the registry with the settings that the simulator wrote, as ingest does it: what is said of an act here is said of
events, not of text.
"""

from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import msgspec

from pipeline.errors import RejectedRecord
from pipeline.formats import registry
from pipeline.formats.line import Reading
from pipeline.ingest.reading import SourceReader
from pipeline.model.events import AnyBody, AuditRecord, Parsed
from pipeline.settings import Settings
from pipeline.simulate import Record
from pipeline.simulate.cluster import Run, simulate
from pipeline.simulate.plan import Plan


class Seen(msgspec.Struct, frozen=True):
    """One event, with the file and the host of its line."""

    source: str
    host: str
    time: int
    job: str
    body: AnyBody


class Told:
    """A run with its records, its truth, and what its lines were read as."""

    def __init__(self, plan: Plan) -> None:
        self.run: Run = simulate(plan)
        self.records: list[Record] = list(self.run)
        self.truth: list[dict[str, Any]] = list(self.run.truth())
        self.settings = Settings(**self.run.settings())
        self.unread: Counter[str] = Counter()

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Lines of the truth of one kind."""
        return [line for line in self.truth if line["truth"] == kind]

    def acts(self, pattern: str) -> list[dict[str, Any]]:
        """Acts of a pattern that had an effect."""
        return [act for act in self.of("act") if act["pattern"] == pattern and act["effective"]]

    @cached_property
    def events(self) -> list[Seen]:
        """All that could be read; audit records are put together by host, time and serial."""
        reader = SourceReader(self.settings)
        return [each for record in dict.fromkeys(self.records) for each in self._read(reader, record)]

    @cached_property
    def _by_kind(self) -> dict[type[AnyBody], list[Seen]]:
        kinds: dict[type[AnyBody], list[Seen]] = {}
        for seen in self.events:
            kinds.setdefault(type(seen.body), []).append(seen)
        return kinds

    def _read(self, reader: SourceReader, record: Record) -> Iterator[Seen]:
        try:
            for line in registry.unwrap(record.value, record.headers):
                source = reader.reading_of(record.topic, line)
                collected = line.collected_time or record.timestamp
                reading = Reading(zone=source.zone, reference_time=collected, host=source.host, job=source.job)
                _, parsed = registry.parse(line, reading, source.format, source.allowed)
                for each in parsed:
                    yield self._seen(each, source.host, source.job, collected)
        except RejectedRecord as error:
            self.unread[error.code.value] += 1

    @staticmethod
    def _seen(parsed: Parsed, host: str, job: str, collected: int) -> Seen:
        own = str(getattr(parsed.body, "job", ""))
        return Seen(str(parsed.source), parsed.host or host, parsed.event_time or collected, own or job, parsed.body)

    @cached_property
    def touched(self) -> list[dict[str, str]]:
        """Changes of files: the fields of SYSCALL with the names of all PATH records as `paths`."""
        events: dict[tuple[str, int, int], dict[str, str]] = {}
        for seen in self.events:
            if isinstance(seen.body, AuditRecord) and seen.body.record_type in ("SYSCALL", "PATH"):
                event = events.setdefault(
                    (seen.host, seen.time, seen.body.serial), {"paths": "", "time": str(seen.time), "host": seen.host}
                )
                if seen.body.record_type == "SYSCALL":
                    event.update(seen.body.fields)
                else:
                    event["paths"] += f" {seen.body.fields.get('name', '')}"
        return [event for event in events.values() if event["paths"] and "auid" in event]

    def bodies(self, kind: type[AnyBody], job: str = "") -> list[Any]:
        """Bodies of one kind, of one job if named."""
        return [seen.body for seen in self._by_kind.get(kind, ()) if not job or seen.job == job]

    def uid_of(self, identity: str) -> int:
        """The uid of a person."""
        return next(each.uid for each in self.settings.identities if each.id == identity and each.uid is not None)

    def owner_of(self, job: str) -> str:
        """Who owns a job."""
        return str(next(each["owner"] for each in self.of("job") if each["job"] == job))
