"""What the notifier did in each round in; its metrics and its health out, served as those of a worker are.

Counts are of this process.  What waits is looked at every few seconds, in the notifier's own thread, since its book is a file of that
thread, and Kafka is asked then whether it is there; a scrape takes what was found last.

Holds: labels are names of targets, which settings give; nothing that a log says gets into one.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector

from pipeline.runtime.metrics import NOTIFIER

LOOK_SECONDS = 5.0  # what waits is looked at this often
Waiting = Mapping[tuple[str, str], int]  # (id, target) -> since when, UTC ms


class NotifierMetrics:
    """Of one notifier.  `limit_seconds`: a round that takes longer is reported; `now` is a clock that only runs forward."""

    def __init__(self, targets: Iterable[str], limit_seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        counters = {
            row.name: Counter(row.name, row.meaning, row.labels, registry=self.registry) for row in NOTIFIER if row.kind == "counter"
        }
        gauges = {row.name: Gauge(row.name, row.meaning, row.labels, registry=self.registry) for row in NOTIFIER if row.kind == "gauge"}
        ProcessCollector(registry=self.registry)
        self._words, self._deliveries = counters["trainwatch_notify_words_total"], counters["trainwatch_notify_deliveries_total"]
        self._waiting, self._oldest = gauges["trainwatch_notify_waiting_notices"], gauges["trainwatch_notify_oldest_seconds"]
        self._lag = gauges["trainwatch_notify_lag_records"]
        self._targets, self._limit, self._now = tuple(targets), limit_seconds, now
        self._since: dict[tuple[str, str], int] = {}
        self._looked, self._ended, self._ready = float("-inf"), now(), False
        gauges["trainwatch_notify_round_age_seconds"].set_function(self._age)
        for target in self._targets:  # a counter that is there from the beginning shows its first count
            for outcome in ("told", "failed"):
                self._deliveries.labels(target, outcome)
        for outcome in ("taken", "passed_over"):
            self._words.labels(outcome)
        self.waits({}, 0)

    def delivery(self, target: str, *, told: bool) -> None:
        """One try has ended."""
        self._deliveries.labels(target, "told" if told else "failed").inc()

    def round(self, taken: int, passed_over: int, lag: int) -> None:
        """One has ended.  Whether Kafka answered is not known: a poll that nobody answers finds nothing."""
        self._words.labels("taken").inc(taken)
        self._words.labels("passed_over").inc(passed_over)
        self._lag.set(lag)

    def answered(self) -> None:
        """Kafka did, after a round."""
        self._ended, self._ready = self._now(), True

    def looks(self) -> bool:
        """Is it time to say what waits, and to ask Kafka?"""
        if self._now() - self._looked < LOOK_SECONDS:
            return False
        self._looked = self._now()
        return True

    def waits(self, found: Waiting, now_ms: int) -> None:
        """All that is still to be delivered.  Of a change nobody knows since when, so it is remembered from the first look on."""
        self._since = {key: min(since, self._since.get(key, since)) for key, since in found.items()}
        for target in self._targets:
            times = [since for (_, each), since in self._since.items() if each == target]
            self._waiting.labels(target).set(len(times))
            self._oldest.labels(target).set(max(0, now_ms - min(times)) / 1000 if times else 0)

    def answer(self, path: str) -> tuple[str, bytes] | None:
        """As `Health.answer`: 503 while Kafka does not answer, or a round takes too long; ready after the first one."""
        late = self._age() > self._limit
        reasons = [f"no round has ended for {self._age():.0f} s"] if late or not self._ready else []
        if path == "/healthz":
            word, reasons = "healthy", reasons if late else []
        elif path == "/readyz":
            word = "ready"
        else:
            return None
        body = {word: not reasons, "reasons": reasons}
        return ("503 Service Unavailable" if reasons else "200 OK"), json.dumps(body).encode() + b"\n"

    def _age(self) -> float:
        return self._now() - self._ended
