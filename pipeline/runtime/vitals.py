"""What the worker tells of itself, in one place: counts, health, the watchdog's beat, and the snapshot of where its partitions stand.

    Worker ── folded, assigned, recovered, dropped, reached, look ──► Vitals ─┬─► Metrics   /metrics
    sink   ── calls and answers ────────────────────────────────────────────  ├─► Health    /healthz /readyz
    loop   ── beat ────────────────────────────────────────────────────────── └─► Watchdog  ends a process that hangs

So that the worker has one thing to tell, a batch at a time, and none of the three knows the other two.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.model.source import Source as Family
from pipeline.runtime.checkpoint import STEPS
from pipeline.runtime.health import Health, HealthServer, Reading, serve
from pipeline.runtime.instance import Instance, Twins
from pipeline.runtime.measured_sink import MeasuredSink
from pipeline.runtime.metrics import Before, Metrics
from pipeline.runtime.partition import Partition, Source
from pipeline.runtime.ports import Sink
from pipeline.runtime.sources import SourceWatch
from pipeline.runtime.standings import Standings
from pipeline.runtime.watchdog import Watchdog
from pipeline.settings import Settings
from pipeline.stream.watermark import EMPTY, UNHELD

Gauges = defaultdict[str, dict[tuple[str, ...], float]]


class Vitals:
    """Of one worker process."""

    def __init__(self, settings: Settings, instance: Instance, log: logging.Logger) -> None:
        self._settings, self.instance, self._log = settings.worker, instance, log
        patience = settings.checkpoint.interval_seconds  # between two signs of progress when all is well
        self.watchdog = Watchdog(self._settings.stuck_seconds + patience, log)
        self.health = Health(self._settings.unhealthy_seconds + patience, self.watchdog.awake, self.watchdog.blocked_seconds)
        self.metrics = Metrics(instance.name)
        self.metrics.computed = self.health.gauges
        self.watchdog.hangs = self.health.hangs
        self.retention_seconds: Mapping[str, float] = {}  # by topic, where Kafka deletes by age
        self._twins = Twins(instance.name)
        self._sources = SourceWatch(log)
        self._standings = Standings(instance.name, log)
        self._server: HealthServer | None = None
        self._assigned_at: float | None = None
        self._begun = self._last_step = 0.0
        self._overtaken: dict[Source, int] = {}  # counted up to here

    def measured(self, sink: Sink) -> Sink:
        """The sink with a stopwatch, which is told where partitions stand from now on."""
        self._standings.start(sink)
        return MeasuredSink(sink, self.metrics, self.health)

    def start(self) -> None:
        """Serve and watch, before the event loop runs."""
        port = self._settings.health_port
        self._server = serve(self.health, self.metrics, self._settings.health_host, port + self.instance.slot if port else 0, self._log)
        self.watchdog.start()

    def close(self) -> None:
        """The event loop has ended."""
        self.watchdog.close()
        self._standings.leave(self.metrics.last_time, time.time())
        self._standings.close()
        if self._server is not None:
            self._server.close()

    # --- told

    def before(self, part: Partition) -> Before:
        """Before a batch is folded."""
        return self.metrics.before(part)

    def folded(self, part: Partition, records: Sequence[Any], before: Before) -> None:
        """Behind it, with no await in between."""
        self.metrics.folded(part, records, before)

    def assigned(self) -> None:
        """A take-over begins."""
        self._assigned_at = time.monotonic()
        self.health.assigned()

    def joined(self, member: str) -> None:
        """The group gave us partitions under this member id.  Raises ConfigError when another live process uses our instance id."""
        self._twins.joined(member, time.monotonic())

    def recovered(self, partitions: int) -> None:
        """The take-over has ended."""
        if self._assigned_at is not None:
            self.metrics.taken_over(time.monotonic() - self._assigned_at)
        self.health.recovered(partitions)

    def dropped(self) -> None:
        """Partitions were taken away; their last checkpoint has run."""
        self._standings.leave(self.metrics.last_time, time.time())
        self.health.dropped()

    def reached(self, step: str) -> None:
        """A step of a checkpoint has ended; `begun` comes first.  Other moments are not timed."""
        now = time.monotonic()
        if step == "begun":
            self._begun = now
        elif step in STEPS:
            self.metrics.step(step, now - self._last_step)
        else:
            return
        if step == STEPS[-1]:
            self.metrics.checkpoint(now - self._begun)
            self.health.checkpoint_ended()
        self._last_step = now

    def unread(self, why: Exception) -> None:
        """The broker did not tell where its topics end."""
        self.health.unread(repr(why))

    def overtaken(self, source: Source, lo: int, hi: int) -> None:
        """Kafka has deleted these offsets before they were read: counted once, whether a look or a checkpoint comes first."""
        lo = max(lo, self._overtaken.get(source, 0))
        if hi > lo:
            self.metrics.overtaken(source.topic, hi - lo)
            self._overtaken[source] = hi

    def look(self, parts: Mapping[Source, Partition], readings: Iterable[Reading], unsent_bytes: int) -> None:
        """Where all owned partitions stand."""
        readings = list(readings)
        self.health.read(readings)
        now = time.time()
        self._standings.look(parts, readings, self.metrics.last_time, now)
        gauges: Gauges = defaultdict(dict)
        gauges["trainwatch_unsent_fact_bytes"][()] = unsent_bytes
        gauges["trainwatch_buffered_rows"][()] = sum(part.buffered for part in parts.values())
        for reading in readings:
            self._lag(gauges, reading, now)
        for part in parts.values():
            if part.intent is None:  # what belongs to one may have been read by the owner before
                self.overtaken(part.source, part.applied, part.log_start)
            stage = (part.stage.name,)
            for name, value in (("partitions", 1), ("state_cases", len(part.cases)), ("state_bytes", part.state_bytes)):
                gauges[f"trainwatch_{name}"][stage] = gauges[f"trainwatch_{name}"].get(stage, 0) + value
        _watermarks(gauges, parts.values(), now)
        idle = [reading.source for reading in readings if not reading.lag]
        gauges.update({name: dict(values) for name, values in self._sources.look(parts.values(), idle, now).items()})
        self.metrics.replace(gauges)

    def _lag(self, gauges: Gauges, reading: Reading, now: float) -> None:
        topic = (reading.source.topic,)
        lags, ages = gauges["trainwatch_consumer_lag_records"], gauges["trainwatch_consumer_lag_seconds"]
        lags[topic] = lags.get(topic, 0) + reading.lag
        ages.setdefault(topic, 0.0)
        last = self.metrics.last_time.get(reading.source)
        if not reading.lag:
            return
        _least(gauges["trainwatch_retention_headroom_records"], topic, max(0, reading.durable - reading.first))
        if last is None:
            return
        age = max(0.0, now - last / 1000)
        ages[topic] = max(ages[topic], age)
        if keeps := self.retention_seconds.get(reading.source.topic):
            _least(gauges["trainwatch_retention_headroom_seconds"], topic, max(0.0, keeps - age))


def _least(values: dict[tuple[str, ...], float], labels: tuple[str, ...], value: float) -> None:
    values[labels] = min(values.get(labels, value), value)


def _watermarks(gauges: Gauges, parts: Iterable[Partition], now: float) -> None:
    """Delay: the slowest partition holds windows open.  Lag: the newest partition of the cluster that lags most tells of the source."""
    newest: dict[tuple[str, str, Family], int] = {}
    slowest: dict[tuple[str, Family], int] = {}
    for part in parts:
        for (cluster, family), (observed, advanced) in part.marks.view().marks().items():
            if not EMPTY < observed < UNHELD:
                continue  # not heard yet
            name = part.stage.name
            newest[name, cluster, family] = max(newest.get((name, cluster, family), 0), observed)
            slowest[name, family] = min(slowest.get((name, family), UNHELD), max(observed, advanced))
    delay, lag = gauges["trainwatch_watermark_delay_seconds"], gauges["trainwatch_watermark_lag_seconds"]
    for (stage, family), mark in slowest.items():
        delay[stage, family.value] = now - mark / 1000
    for (stage, _, family), mark in newest.items():
        lag[stage, family.value] = max(lag.get((stage, family.value), 0.0), now - mark / 1000)
