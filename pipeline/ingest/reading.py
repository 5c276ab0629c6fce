"""Which settings apply to a record: zone, cluster, pinned format, job id from the file name.

A pure function of the record and the settings; the cache only makes it quick.
"""

import ipaddress
import re
from zoneinfo import ZoneInfo

import msgspec

from pipeline.formats.line import Line
from pipeline.model.source import FAMILIES, Source
from pipeline.settings import Settings, SourceSettings

DEFAULT = SourceSettings(name="default")
CACHE_MAX = 10_000


class SourceReading(msgspec.Struct, frozen=True):
    """What the settings say of one kind of record."""

    cluster: str
    zone: ZoneInfo
    format: str
    host: str
    job: str
    allowed: frozenset[Source]


class SourceReader:
    """Finds the first `sources` entry that fits; remembers answers per (topic, program, file)."""

    def __init__(self, settings: Settings) -> None:
        self._sources = [(source, re.compile(source.file)) for source in settings.sources]
        topics = (
            ("training", settings.kafka.training_topics),
            ("scheduler", settings.kafka.scheduler_topics),
            ("access", settings.kafka.access_topics),
        )
        self._allowed: dict[str, frozenset[Source]] = {}
        for family, names in topics:
            for name in names:
                self._allowed[name] = self._allowed.get(name, frozenset()) | FAMILIES[family]
        self._cache: dict[tuple[str, str, str], SourceReading] = {}

    def reading_of(self, topic: str, line: Line) -> SourceReading:
        """Settings of the source that a line belongs to; the built-in default when none fits."""
        key = (topic, line.program, line.file)
        known = self._cache.get(key)
        if known is None:
            if len(self._cache) >= CACHE_MAX:
                self._cache.clear()
            known = self._cache[key] = self._find(topic, line)
        return known

    def _find(self, topic: str, line: Line) -> SourceReading:
        for source, pattern in self._sources:
            if source.topic and source.topic != topic:
                continue
            if source.program and source.program != line.program:
                continue
            if source.file and not pattern.search(line.file):
                continue
            return self._build(source, topic, line)
        return self._build(DEFAULT, topic, line)

    def _build(self, source: SourceSettings, topic: str, line: Line) -> SourceReading:
        found = re.search(source.job_pattern, line.file) if line.file and source.job_pattern else None
        job = (found.groupdict().get("job") or "") if found else ""
        return SourceReading(source.cluster, ZoneInfo(source.zone), source.format, source.host, job, self._allowed.get(topic, frozenset()))


def short_host(name: str) -> str:
    """`gpu-001.cluster.example` and `gpu-001` are one host; an address stays whole."""
    if "." not in name:
        return name
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name.split(".", maxsplit=1)[0]
    return name
