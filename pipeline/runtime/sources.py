"""What the input partitions of a worker know of their sources in; wrong zones and silent hosts, as gauges and as lines of the log, out.

    ingest ── Zones, Rates per partition ──► merged over partitions ──► gauges    every LOOK_SECONDS
                                                                  └──► one line for each that is new, one when it is over

A partition that has nothing more to read has come as far as the clock; one with lag as far as what it read, since the rest may be in the
backlog.  Nothing is judged by this and nothing is corrected: it is for people.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from logging import Logger
from typing import NamedTuple

from pipeline.ingest import rates, zones
from pipeline.ingest.rates import Under
from pipeline.ingest.step import IngestState
from pipeline.ingest.zones import WrongZone
from pipeline.runtime.partition import Partition, Source

LOOK_SECONDS = 30.0
TOLD_MAX = 1_000  # of each kind; more are counted in the gauges
Gauges = Mapping[str, Mapping[tuple[str, ...], float]]


class Seen(NamedTuple):
    """Of all partitions at hand."""

    wrong_zones: list[WrongZone]
    under: list[Under]
    lines: dict[str, int]  # of sources with a rate, in the last hour that is over


def seen(parts: Iterable[Partition], reached: Mapping[Source, int]) -> Seen:
    """`reached`: UTC ms to which partitions without lag have come by the clock."""
    states = [(part.source, part.state) for part in parts if isinstance(part.state, IngestState)]
    wrong = zones.merged(suspect for source, state in states for suspect in state.zones.suspects(source.topic))
    under, lines = rates.merged((state.rates, max(state.rates.newest, reached.get(source, 0))) for source, state in states)
    return Seen(wrong, under, lines)


class SourceWatch:
    """Of one worker process."""

    def __init__(self, log: Logger) -> None:
        self._log = log
        self._looked = float("-inf")
        self._gauges: Gauges = {}
        self._zones: set[tuple[str, str, str, int]] = set()  # told of
        self._under: set[tuple[str, str]] = set()

    def look(self, parts: Collection[Partition], idle: Collection[Source], now: float) -> Gauges:
        """Gauges; `idle` partitions have no lag at `now`, seconds since 1970."""
        if now - self._looked < LOOK_SECONDS:
            return self._gauges
        self._looked = now
        found = seen(parts, dict.fromkeys(idle, int(now * 1000)))
        self._tell(found)
        gauges: dict[str, dict[tuple[str, ...], float]] = defaultdict(dict)
        for suspect in found.wrong_zones:
            offsets, labels = gauges["trainwatch_zone_offset_minutes"], (suspect.topic, suspect.source)
            offsets[labels] = max(offsets.get(labels, 0), suspect.ahead_minutes, key=abs)
        for name, count in found.lines.items():
            gauges["trainwatch_source_lines"][(name,)] = count
            gauges["trainwatch_source_hosts_under_rate"][(name,)] = sum(under.source == name for under in found.under)
        self._gauges = gauges
        return gauges

    def _tell(self, found: Seen) -> None:
        zone_news = {(each.topic, each.source, each.where, each.ahead_minutes): each.text for each in found.wrong_zones[:TOLD_MAX]}
        for zone in sorted(zone_news.keys() - self._zones):
            self._log.warning("wrong zone? %s", zone_news[zone])
        under_news = {(each.source, each.host): each.text for each in found.under[:TOLD_MAX]}
        for under in sorted(under_news.keys() - self._under):
            self._log.warning("under its rate: %s", under_news[under])
        for source, host in sorted(self._under - under_news.keys()):
            self._log.info("source %s on %s has its rate again, or is no longer looked at", source, host or "an unknown host")
        self._zones, self._under = set(zone_news), set(under_news)
