"""What the input partitions of a worker know of their sources in; wrong zones, silent hosts and unread lines, as gauges and log lines, out.

    ingest ── Zones, Rates, Feeds per partition ──► merged over partitions ──► gauges    every LOOK_SECONDS
                                                                         └──► one line for each that is new, one when it is over

A partition that has nothing more to read has come as far as the clock; one with lag as far as what it read, since the rest may be in the
backlog; none further than the clock, or one producer whose clock is ahead would make all sources look silent.

Nothing is judged by this and nothing is corrected: it is for people.  But when many hosts cannot be read any more, it is our own fault or a
change at all of them: the worker ends, before the evidence of a day becomes dead letters.
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from logging import Logger
from typing import NamedTuple

from pipeline.errors import SourcesFailing
from pipeline.ingest import feeds, rates, zones
from pipeline.ingest.feeds import Failing
from pipeline.ingest.rates import Under
from pipeline.ingest.step import IngestState
from pipeline.ingest.zones import WrongZone
from pipeline.runtime.partition import Partition, Source

LOOK_SECONDS = 30.0
SHOWN_MAX = 5
TOLD_MAX = 1_000  # of each kind; more are counted in the gauges
Gauges = Mapping[str, Mapping[tuple[str, ...], float]]


class Seen(NamedTuple):
    """Of all partitions at hand."""

    wrong_zones: list[WrongZone]
    under: list[Under]
    lines: dict[str, int]  # of sources with a rate, in the last hour that is over
    failing: list[Failing]  # most of whose lines cannot be read


def seen(parts: Iterable[Partition], reached: Mapping[Source, int], now: int = sys.maxsize) -> Seen:
    """`reached`: UTC ms to which partitions without lag have come by the clock.  `now`: the clock, where no record can be of later."""
    states = [(part.source, part.state) for part in parts if isinstance(part.state, IngestState)]
    wrong = zones.merged(suspect for source, state in states for suspect in state.zones.suspects(source.topic))
    under, lines = rates.merged((state.rates, max(min(state.rates.newest, now), reached.get(source, 0))) for source, state in states)
    return Seen(wrong, under, lines, feeds.merged((state.feeds for _, state in states), now))


def require_read(part: Partition, parts: Iterable[Partition], hosts_min: int) -> None:
    """To be asked when `part` was folded.  Raises SourcesFailing when, since it was asked last, so many hosts have come to fail."""
    state = part.state
    if not isinstance(state, IngestState) or not state.feeds.began:
        return
    state.feeds.began = False
    if hosts := feeds.together((each.state.feeds for each in parts if isinstance(each.state, IngestState)), hosts_min):
        shown = ", ".join(hosts[:SHOWN_MAX]) + (" ..." if len(hosts) > SHOWN_MAX else "")
        raise SourcesFailing(f"most lines of {len(hosts)} hosts that were read until now cannot be read: {shown}")


class SourceWatch:
    """Of one worker process."""

    def __init__(self, log: Logger) -> None:
        self._log = log
        self._looked = float("-inf")
        self._gauges: Gauges = {}
        self._zones: set[tuple[str, str, str, int]] = set()  # told of
        self._under: set[tuple[str, str]] = set()
        self._failing: dict[tuple[str, str, tuple[str, ...]], str] = {}

    def look(self, parts: Collection[Partition], idle: Collection[Source], now: float) -> Gauges:
        """Gauges; `idle` partitions have no lag at `now`, seconds since 1970."""
        if now - self._looked < LOOK_SECONDS:
            return self._gauges
        self._looked = now
        now_ms = int(now * 1000)
        found = seen(parts, dict.fromkeys(idle, now_ms), now_ms)
        self._tell(found)
        gauges: dict[str, dict[tuple[str, ...], float]] = defaultdict(dict)
        for suspect in found.wrong_zones:
            offsets, labels = gauges["trainwatch_zone_offset_minutes"], (suspect.topic, suspect.source)
            offsets[labels] = max(offsets.get(labels, 0), suspect.ahead_minutes, key=abs)
        for name, count in found.lines.items():
            gauges["trainwatch_source_lines"][(name,)] = count
            gauges["trainwatch_source_hosts_under_rate"][(name,)] = sum(under.source == name for under in found.under)
        hosts = {(family, each.cluster, each.host) for each in found.failing for family in each.families}
        for family, count in Counter(family for family, _, _ in hosts).items():
            gauges["trainwatch_source_hosts_unreadable"][(family,)] = count
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
        failing_news = {(each.cluster, each.host, each.families): each.text for each in found.failing[:TOLD_MAX]}
        for failing in sorted(failing_news.keys() - self._failing.keys()):
            self._log.warning("cannot be read: %s", failing_news[failing])
        for _, host, families in sorted(self._failing.keys() - failing_news.keys()):
            self._log.info("%s on %s is read again, or is silent", ", ".join(families), host or "an unknown host")
        self._zones, self._under, self._failing = set(zone_news), set(under_news), failing_news
