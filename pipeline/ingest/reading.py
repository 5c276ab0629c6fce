"""Which settings apply to a line: zone, cluster, host, pinned format, job id from the file name.

A pure function of the record and the settings; the cache only makes it quick.

The job in the file name is whose output a line is, and a line of a job's output speaks for no other job.  It is as good as the name:
whoever runs a job chooses where its output goes, so `job_pattern` should name a folder that only the scheduler writes to.  Of the
tasks of an array (`slurm-48213_4.out`) the name does not tell the raw id; any that can be a task's is believed.

Clusters that share a topic are told apart by what their shippers say (`hosts`, `cluster_header`, `cluster_field`), never by the line:
where headers name the file of the line, the value is the line, and what looks like a shipper's object in it was printed by somebody.
Which entries a record fits by that is `named`, one bit an entry, so that no name that somebody makes up is remembered.
"""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from pipeline.errors import DecodeError
from pipeline.formats import registry
from pipeline.formats.envelopes.raw import said_by
from pipeline.formats.envelopes.said import nested, text
from pipeline.formats.fields import json_object, strict_json
from pipeline.formats.line import Beside, Headers, Line
from pipeline.formats.payloads.sacct import layout
from pipeline.model.source import FAMILIES, Source
from pipeline.settings import Settings, SourceSettings

DEFAULT = SourceSettings(name="default")
CACHE_MAX = 10_000
DIGITS_MAX = 18
_NUMBER_FIRST = re.compile(r"[_+]")  # `48213_4`, `48213+1`
_TASK = re.compile(r"_[0-9]{1,9}(?![0-9])")


class SourceReading(msgspec.Struct, frozen=True):
    """What the settings say of one kind of record."""

    cluster: str
    zone: ZoneInfo
    format: str
    host: str  # short name: the line's, else the settings'
    job: str
    allowed: frozenset[Source]
    json_keys: Mapping[str, Sequence[str]] | None = None
    name: str = ""  # of the entry in the settings
    expected: bool = False  # the entry has a rate
    columns: tuple[str, ...] = ()
    array: bool = False  # the file is of a task of an array: `job` is the array's id, not the task's

    @property
    def of_job(self) -> bool:
        """Are its lines the output of jobs, and nothing else?"""
        return bool(self.job) or (bool(self.allowed) and self.allowed <= FAMILIES["training"])

    def is_of(self, job: str) -> bool:
        """May a line of this file speak for the job?  Every one where the name tells no job."""
        if not self.job or job == self.job or _NUMBER_FIRST.split(job, maxsplit=1)[0] == self.job:
            return True
        # Raw ids of tasks are given out after the array's.
        return self.array and job.isascii() and job.isdigit() and len(job) <= DIGITS_MAX and int(job) >= int(self.job)


class SourceReader:
    """Finds the first `sources` entry that fits; remembers answers per (topic, host, program, file, named)."""

    def __init__(self, settings: Settings) -> None:
        self._sources = [
            (source, re.compile(source.file), 1 << number if source.hosts or source.cluster_header or source.cluster_field else 0)
            for number, source in enumerate(settings.sources)
        ]
        self._named = [(bit, source, re.compile(source.hosts)) for source, _, bit in self._sources if bit]
        self.names_clusters = bool(self._named)
        self._names_fields = any(source.cluster_field for _, source, _ in self._named)
        for source in settings.sources:
            if source.format:
                registry.by_name(source.format)  # a wrong name must stop the start, not the first record
            if source.columns:
                layout(source.columns)
        topics = (
            ("training", settings.kafka.training_topics),
            ("scheduler", settings.kafka.scheduler_topics),
            ("access", settings.kafka.access_topics),
        )
        self._allowed: dict[str, frozenset[Source]] = {}
        for family, names in topics:
            for name in names:
                self._allowed[name] = self._allowed.get(name, frozenset()) | FAMILIES[family]
        self._cache: dict[tuple[str, str, str, str, int], SourceReading] = {}
        self.authenticated = frozenset(
            source for name in settings.ingest.authenticated_topics for source in self._allowed.get(name, frozenset())
        )

    def named(self, line: Line, headers: Headers) -> int:
        """The entries that fit by host or cluster, as their shippers name them."""
        named = 0
        if isinstance(line.beside, str):
            for bit, source, _ in self._named:
                named |= bit if source.cluster == line.beside else 0
            return named
        said = headers if isinstance(headers, Mapping) else dict(headers)
        host, beside = said_by(said)[0] or line.host, None if said.get("file") else line.beside
        if isinstance(beside, bytes):  # read once, however many clusters there are
            beside = _object(beside) if self._names_fields else None
        for bit, source, hosts in self._named:
            if not hosts.search(host) or (source.cluster_header and said.get(source.cluster_header) != source.cluster.encode()):
                continue
            if not source.cluster_field or _said_beside(beside, source.cluster_field) == source.cluster:
                named |= bit
        return named

    def reading_of(self, topic: str, line: Line, named: int = 0) -> SourceReading:
        """Settings of the source that a line belongs to; the built-in default when none fits."""
        key = (topic, line.host, line.program, line.file, named)
        known = self._cache.get(key)
        if known is None:
            if len(self._cache) >= CACHE_MAX:
                self._cache.clear()
            known = self._cache[key] = self._find(topic, line, named)
        return known

    def _find(self, topic: str, line: Line, named: int) -> SourceReading:
        for source, pattern, bit in self._sources:
            if source.topic and source.topic != topic:
                continue
            if source.program and source.program != line.program:
                continue
            if (source.file and not pattern.search(line.file)) or bit & named != bit:
                continue
            return self._build(source, topic, line)
        return self._build(DEFAULT, topic, line)

    def _build(self, source: SourceSettings, topic: str, line: Line) -> SourceReading:
        job, array = "", False
        if line.file and source.job_pattern:
            for found in re.finditer(source.job_pattern, line.file):  # the last: folders stand before the file they hold
                job = found.groupdict().get("job") or ""
                array = job.isascii() and job.isdigit() and len(job) <= DIGITS_MAX and bool(_TASK.match(line.file, found.end()))
        allowed = self._allowed.get(topic, frozenset())
        return SourceReading(
            source.cluster,
            ZoneInfo(source.zone),
            source.format,
            short_host(line.host or source.host),
            job,
            allowed,
            {str(meaning): keys for meaning, keys in source.json_keys.items()} or None,
            source.name,
            source.expected_per_hour > 0,
            source.columns,
            array,
        )


def _object(said: bytes) -> dict[str, Any] | None:
    """What a shipper wrote, read as forgivingly as its line was (json_wrapper.py)."""
    for read in (bytes, strict_json):
        try:
            return json_object(read(said))
        except DecodeError:
            continue
    return None


def _said_beside(beside: Beside, field: str) -> str:
    """What the shipper says in the field; `fields.cluster` is within `fields`, or called so."""
    return "" if not isinstance(beside, Mapping) else nested(beside, *field.split(".")) or text(beside.get(field))


def short_host(name: str) -> str:
    """`gpu-001.cluster.example` and `gpu-001` are one host; an address stays whole."""
    if "." not in name:
        return name
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name.split(".", maxsplit=1)[0]
    return name
