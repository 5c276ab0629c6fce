"""What the worker tells after each batch, checkpoint step and sink call in; Prometheus metrics, their table and alert rules out.

Nothing is counted per record: a call into the client library costs more than decoding a line.  Counts are taken from what a batch left
behind.  Gauges that describe partitions are a snapshot, made every few seconds in the event loop and given out whole, so that a scrape
never sees half of a rebalance and a partition that went away takes its values with it.

Holds: labels come from closed sets (topology, settings, error codes, source families), never from what a log says; the registry is our
own, so two workers in one process, as in tests, do not meet; scraping takes no lock of the event loop.
"""

from collections import Counter as Counts
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any, Literal, NamedTuple

import yaml
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pipeline import __version__
from pipeline.errors import ErrorCode

WRITTEN = "written"  # the label of a record that is in ClickHouse; all others are error codes
SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)  # buckets


class Row(NamedTuple):
    """One metric, as it is made and as it is explained."""

    name: str
    kind: Literal["counter", "histogram", "gauge"]
    unit: str
    labels: tuple[str, ...]
    meaning: str
    alert: str = ""


METRICS = (
    Row("trainwatch_healthy", "gauge", "0 or 1", (), "what /healthz says", "0"),
    Row("trainwatch_ready", "gauge", "0 or 1", (), "what /readyz says"),
    Row("trainwatch_info", "gauge", "1", ("version", "instance_id"), "release, and name in the consumer group"),
    Row("trainwatch_loop_blocked_seconds", "gauge", "seconds", (), "since the event loop last turned", "above 10"),
    Row("trainwatch_records_total", "counter", "records", ("stage", "topic"), "read and folded", "no increase while lag is above 0"),
    Row("trainwatch_record_bytes_total", "counter", "bytes", ("stage", "topic"), "their values"),
    Row(
        "trainwatch_outcomes_total",
        "counter",
        "records",
        ("stage", "topic", "code"),
        "how they ended: `written`, or the code under which they were filtered or rejected",
        "share of codes other than `written`, `control`, `empty` and `nothing_to_keep`; any `step_raised`",
    ),
    Row("trainwatch_messages_sent_total", "counter", "messages", ("topic",), "facts, watermark vectors, public values and dead letters"),
    Row("trainwatch_dead_letters_total", "counter", "records", ("stage",), "records set aside", "share of records above what is usual"),
    Row(
        "trainwatch_facts_left_out_total",
        "counter",
        "facts",
        ("stage", "why"),
        "not judged: `full`, a case holds as many of their kind as it may; `late`, their attempt was forgotten (`backtest` judges them); "
        "`alike`, records of signals of which a host has as many as it may",
        "`full` increases: somebody floods, or `retention.case_facts_max` is low; `alike`: somebody signals in a loop",
    ),
    Row("trainwatch_rebalances_total", "counter", "assignments", (), "taken over", "more than a few an hour"),
    Row("trainwatch_takeover_seconds", "histogram", "seconds", (), "from an assignment to recovered state"),
    Row("trainwatch_partitions", "gauge", "partitions", ("stage",), "owned now"),
    Row(
        "trainwatch_consumer_lag_records",
        "gauge",
        "records",
        ("topic",),
        "behind what is durable, sum over owned partitions",
        "grows for 15 min",
    ),
    Row(
        "trainwatch_consumer_lag_seconds",
        "gauge",
        "seconds",
        ("topic",),
        "age in Kafka of the last folded record while there is lag, worst partition",
    ),
    Row(
        "trainwatch_retention_headroom_records",
        "gauge",
        "records",
        ("topic",),
        "between the oldest record that Kafka still has and the next one to read, worst partition with lag; absent without lag",
        "shrinks while lag grows: records are about to be deleted unread",
    ),
    Row(
        "trainwatch_retention_headroom_seconds",
        "gauge",
        "seconds",
        ("topic",),
        "until the next record to read is old enough to be deleted; absent without lag, or when the topic keeps by size",
        "below 6 h",
    ),
    Row("trainwatch_evidence_forks_total", "counter", "ranges", ("topic",), "whose records were others after a crash than before", "any"),
    Row("trainwatch_overtaken_records_total", "counter", "records", ("topic",), "deleted by retention before they were read", "any"),
    Row(
        "trainwatch_watermark_delay_seconds",
        "gauge",
        "seconds",
        ("stage", "family"),
        "now less the event time by which windows close, slowest partition and cluster (large while old logs are replayed)",
        "twice what the family usually has",
    ),
    Row(
        "trainwatch_watermark_lag_seconds",
        "gauge",
        "seconds",
        ("stage", "family"),
        "the same by what was observed alone: how old the newest lines are",
    ),
    Row(
        "trainwatch_zone_offset_minutes",
        "gauge",
        "minutes",
        ("topic", "family"),
        "by which times of a source are ahead of their collection as those of a wrong zone are, the worst; absent when none are",
        "any: the log names host and likely zone",
    ),
    Row(
        "trainwatch_source_lines",
        "gauge",
        "lines",
        ("source",),
        "of a source with `expected_per_hour` in the last hour that is over, owned partitions; absent until one is",
        "0 in sum over workers",
    ),
    Row(
        "trainwatch_source_hosts_under_rate",
        "gauge",
        "hosts",
        ("source",),
        "that were heard before and fell under `expected_per_hour` in that hour",
        "above 0: the log names them",
    ),
    Row(
        "trainwatch_source_hosts_unreadable",
        "gauge",
        "hosts",
        ("family",),
        "whose lines were read and now mostly cannot be, owned partitions; absent when there are none",
        "above 0: the log names them",
    ),
    Row("trainwatch_checkpoint_step_seconds", "histogram", "seconds", ("step",), "each step of a checkpoint"),
    Row("trainwatch_checkpoint_seconds", "histogram", "seconds", (), "a whole checkpoint", "p99 above 10"),
    Row("trainwatch_checkpoint_age_seconds", "gauge", "seconds", (), "since the last one ended, while partitions are owned", "above 60"),
    Row("trainwatch_buffered_rows", "gauge", "rows", (), "that wait for the checkpoint; folding waits at `checkpoint.rows_max`"),
    Row("trainwatch_unsent_fact_bytes", "gauge", "bytes", (), "facts that are not with the broker yet"),
    Row("trainwatch_state_cases", "gauge", "cases", ("stage",), "remembered"),
    Row("trainwatch_state_bytes", "gauge", "bytes", ("stage",), "in use in the state topics", "grows without end"),
    Row(
        "trainwatch_sink_seconds",
        "histogram",
        "seconds",
        ("call",),
        "calls to ClickHouse that were answered, refusals included",
        "p99 above 5",
    ),
    Row("trainwatch_sink_rows_total", "counter", "rows", ("table",), "inserted"),
    Row(
        "trainwatch_sink_errors_total",
        "counter",
        "calls",
        ("code",),
        "calls that failed; the transient ones are repeated",
        "steady increase",
    ),
    Row(
        "trainwatch_sink_waiting_seconds",
        "gauge",
        "seconds",
        (),
        "for how long calls have failed; 0 when the last one succeeded",
        "above 60",
    ),
)
NOTIFIER = (  # of `trainwatch notify`, at its own port
    Row(
        "trainwatch_notify_words_total",
        "counter",
        "values",
        ("outcome",),
        "of the topics: `taken`, or `passed_over` when they are not ours",
    ),
    Row(
        "trainwatch_notify_deliveries_total",
        "counter",
        "tries",
        ("target", "outcome"),
        "`told`, or `failed`: to be tried again or given up",
    ),
    Row(
        "trainwatch_notify_waiting_notices",
        "gauge",
        "notices",
        ("target",),
        "still to be delivered: due now, before their next try, or given up",
    ),
    Row(
        "trainwatch_notify_oldest_seconds", "gauge", "seconds", ("target",), "since the oldest of them was due; 0: none waits", "above 900"
    ),
    Row("trainwatch_notify_lag_records", "gauge", "records", (), "of the topics, not read yet", "grows for 15 min"),
    Row("trainwatch_notify_round_age_seconds", "gauge", "seconds", (), "since a round ended in which Kafka answered", "above 300"),
)
BY_NAME = {row.name: row for row in METRICS}
SNAPSHOT = tuple(row.name for row in METRICS if row.kind == "gauge")

Gauges = Mapping[str, Mapping[tuple[str, ...], float]]  # by metric and label values


class Alert(NamedTuple):
    """A suggestion for Prometheus."""

    name: str
    expression: str
    minutes: int
    severity: Literal["page", "ticket"]
    summary: str


LATELY_STARTED = "time() - process_start_time_seconds < 3600"


def _any_of_late(series: str) -> str:
    """A counter with labels begins at its first count, and `increase` does not see how a series begins.

    Nor does it see 1 after 1: one fault ends a worker, and the next is counted at the start of the process after it.
    """
    begun, started = f"{series} > 0 unless {series} offset 1h", f"{series} > 0 and on (job, instance) {LATELY_STARTED}"
    return f"increase({series}[1h]) > 0 or ({begun}) or ({started})"


def _restarting(job: str) -> str:
    """Who ends soon after each start is seen alive in between: no `for` is ever over."""
    return f'changes(process_start_time_seconds{{job="{job}"}}[1h]) > 5'


def _gone(job: str) -> str:
    """Seen in the last day, and not even looked for now: whoever finds its targets finds none where it waits for a place to run."""
    return f'absent(up{{job="{job}"}}) and on () count_over_time(up{{job="{job}"}}[1d])'


ALERTS = (
    Alert("TrainwatchUnhealthy", "trainwatch_healthy == 0", 2, "page", "A worker makes no progress; its /healthz says why."),
    Alert("TrainwatchDown", "absent(trainwatch_healthy)", 5, "page", "No worker answers: nothing is detected."),
    Alert("TrainwatchWorkerDown", 'up{job="trainwatch"} == 0', 10, "ticket", "One worker does not answer; the others do its work."),
    Alert(
        "TrainwatchRestarting",
        _restarting("trainwatch"),
        0,
        "page",
        "A worker ends again and again, soon after its start; its log says why.",
    ),
    Alert(
        "TrainwatchAboutToLoseRecords",
        "min by (topic) (trainwatch_retention_headroom_seconds) < 6 * 3600",
        5,
        "page",
        "Kafka will delete records unread. Add workers, or raise the retention of the topic.",
    ),
    Alert(
        "TrainwatchEvidenceForked",
        _any_of_late("trainwatch_evidence_forks_total"),
        0,
        "page",
        "Kafka gave other records for offsets that were sealed already; `trainwatch evidence verify` names the range.",
    ),
    Alert(
        "TrainwatchLostRecords",
        _any_of_late("trainwatch_overtaken_records_total"),
        0,
        "page",
        "Kafka has deleted records unread; `trainwatch verify` names the offsets.",
    ),
    Alert(
        "TrainwatchSinkUnavailable",
        "trainwatch_sink_waiting_seconds > 60",
        1,
        "page",
        "ClickHouse refuses or does not answer. Nothing is lost while Kafka keeps the records.",
    ),
    Alert(
        "TrainwatchStepRaised",
        _any_of_late('trainwatch_outcomes_total{code="step_raised"}'),
        0,
        "ticket",
        "A record broke a stage and was set aside: a fault of trainwatch. `trainwatch dlq list` shows it.",
    ),
    Alert(
        "TrainwatchLagGrows",
        "sum by (topic) (trainwatch_consumer_lag_records) > 100000 and sum by (topic) (deriv(trainwatch_consumer_lag_records[15m])) > 0",
        15,
        "ticket",
        "Workers do not keep up. Add one per core, up to a quarter of the partitions.",
    ),
    Alert(
        "TrainwatchDeadLetters",
        "sum by (stage) (rate(trainwatch_dead_letters_total[15m])) > 0.05 * sum by (stage) (rate(trainwatch_records_total[15m]))",
        15,
        "ticket",
        "One record in twenty cannot be read: a source has changed its format, or somebody floods it.",
    ),
    Alert(
        "TrainwatchSourceSilent",
        'max by (family) (trainwatch_watermark_lag_seconds{stage="ingest"}) > 2 * 3600',
        30,
        "ticket",
        "The newest line of a source family is two hours old: shipper down, or nothing happens there.",
    ),
    Alert(
        "TrainwatchWrongZone",
        "max by (topic, family) (abs(trainwatch_zone_offset_minutes)) > 0",
        5,
        "ticket",
        "Times of a source are read in a wrong zone; the worker's log names the host and the likely zone. Set `zone` of the source.",
    ),
    Alert(
        "TrainwatchSourceUnderRate",
        "sum by (source) (trainwatch_source_hosts_under_rate) > 0 or sum by (source) (trainwatch_source_lines) == 0",
        15,
        "ticket",
        "A source says less than settings expect; the worker's log names the hosts. What they do not say proves nothing.",
    ),
    Alert(
        "TrainwatchSourceUnreadable",
        "sum by (family) (trainwatch_source_hosts_unreadable) > 0",
        5,
        "ticket",
        "A source that was read before cannot be read any more; the worker's log names the hosts. What they do not say proves nothing.",
    ),
    Alert(
        "TrainwatchJudgementLate",
        'max(trainwatch_watermark_delay_seconds{stage="jobs",family!="sacct"}) > 1800',
        15,
        "ticket",
        "Final verdicts wait for a source that lags or stands still.",
    ),
    Alert(
        "TrainwatchRebalancing", "increase(trainwatch_rebalances_total[1h]) > 6", 0, "ticket", "Workers come and go, or sessions expire."
    ),
    Alert(
        "TrainwatchCheckpointSlow",
        "histogram_quantile(0.99, sum by (le) (rate(trainwatch_checkpoint_seconds_bucket[15m]))) > 10",
        15,
        "ticket",
        "Checkpoints take long; trainwatch_checkpoint_step_seconds names the step.",
    ),
    Alert(
        "TrainwatchNoticesUntold",
        "max by (target) (trainwatch_notify_oldest_seconds) > 900",
        5,
        "page",
        "A webhook has not taken a notice for a quarter of an hour: somebody does not learn of a finding.",
    ),
    Alert(
        "TrainwatchNotifierDown",
        'up{job="trainwatch-notify"} == 0 or trainwatch_notify_round_age_seconds > 300 '
        f"or {_restarting('trainwatch-notify')} or ({_gone('trainwatch-notify')})",
        5,
        "page",
        "The notifier does not answer, or does not get on: nobody is told of findings.",
    ),
    Alert(
        "TrainwatchMemory",
        "process_resident_memory_bytes > 1.4e9 and on (job, instance) trainwatch_info",
        15,
        "ticket",
        "A worker holds more than 1.4 GB; the unit slows it at 1.6 GB and ends it at 2.1 GB.",
    ),
)


class Before(NamedTuple):
    """How much a partition held before a batch."""

    written: int
    listed: int
    dead_letters: int


_value_of = attrgetter("value")


class Metrics:
    """Told by the worker, scraped by the health server.  One per worker process."""

    def __init__(self, instance_id: str = "") -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self._counters = {row.name: _counter(row, self.registry) for row in METRICS if row.kind == "counter"}
        self._histograms = {row.name: _histogram(row, self.registry) for row in METRICS if row.kind == "histogram"}
        self._gauges: Gauges = {}
        self._info: Mapping[tuple[str, ...], float] = {(__version__, instance_id): 1.0}
        self.computed: Callable[[], Mapping[str, float]] = dict  # unlabelled gauges, asked at each scrape
        self.last_time: dict[Any, int] = {}  # source -> Kafka's time of the last folded record, UTC ms
        self.registry.register(_Snapshot(self._families))
        ProcessCollector(registry=self.registry)

    # --- told per batch

    @staticmethod
    def before(part: Any) -> Before:
        """Before a batch is folded."""
        return Before(part.written, len(part.listed), len(part.dead_letters))

    def folded(self, part: Any, records: Sequence[Any], before: Before) -> None:
        """A batch was folded, with no await since `before`: what it left behind tells how its records ended."""
        labels = (part.stage.name, part.source.topic)
        self._add("trainwatch_records_total", labels, len(records))
        self._add("trainwatch_record_bytes_total", labels, sum(map(len, filter(None, map(_value_of, records)))))
        self._add("trainwatch_outcomes_total", (*labels, WRITTEN), part.written - before.written)
        for code, count in Counts(code for _, code in part.listed[before.listed :]).items():
            self._add("trainwatch_outcomes_total", (*labels, ErrorCode(code).value), count)
        self._add("trainwatch_dead_letters_total", labels[:1], len(part.dead_letters) - before.dead_letters)
        left_out, part.cases.left_out = part.cases.left_out, Counts()
        for why, count in left_out.items():
            self._add("trainwatch_facts_left_out_total", (part.stage.name, why), count)
        if records:  # what a step did may have been taken back
            self.last_time[part.source] = records[-1].timestamp

    def sent(self, topic: str, messages: int) -> None:
        """A Kafka batch is on its way."""
        self._add("trainwatch_messages_sent_total", (topic,), messages)

    def overtaken(self, topic: str, records: int) -> None:
        """The log begins after the next record to read: these are gone."""
        self._add("trainwatch_overtaken_records_total", (topic,), records)

    def forked(self, topic: str) -> None:
        """A range came out with another root than before a crash, by the same release and settings."""
        self._add("trainwatch_evidence_forks_total", (topic,), 1)

    # --- told per checkpoint, sink call and rebalance

    def step(self, name: str, seconds: float) -> None:
        """A step of a checkpoint."""
        self._observe("trainwatch_checkpoint_step_seconds", (name,), seconds)

    def checkpoint(self, seconds: float) -> None:
        """All of one."""
        self._observe("trainwatch_checkpoint_seconds", (), seconds)

    def sink(self, call: str, seconds: float, code: ErrorCode | None = None) -> None:
        """A call to the sink; `code` when it failed."""
        self._observe("trainwatch_sink_seconds", (call,), seconds)
        if code is not None:
            self._add("trainwatch_sink_errors_total", (code.value,), 1)

    def inserted(self, table: str, rows: int) -> None:
        """A block is in."""
        self._add("trainwatch_sink_rows_total", (table,), rows)

    def taken_over(self, seconds: float) -> None:
        """An assignment is complete."""
        self._add("trainwatch_rebalances_total", (), 1)
        self._observe("trainwatch_takeover_seconds", (), seconds)

    # --- the snapshot

    def replace(self, gauges: Gauges) -> None:
        """The gauges of all partitions; what is left out is no longer told."""
        self._gauges = gauges

    def _families(self) -> Iterator[Metric]:
        gauges: Gauges = {
            **self._gauges,
            "trainwatch_info": self._info,
            **{name: {(): value} for name, value in self.computed().items()},
        }
        for name in SNAPSHOT:
            row = BY_NAME[name]
            family = GaugeMetricFamily(name, row.meaning, labels=row.labels)
            for labels, value in gauges.get(name, {}).items():
                family.add_metric(list(labels), value)
            yield family

    def _add(self, name: str, labels: tuple[str, ...], amount: float) -> None:
        if amount > 0:
            counter = self._counters[name]
            (counter.labels(*labels) if labels else counter).inc(amount)

    def _observe(self, name: str, labels: tuple[str, ...], seconds: float) -> None:
        histogram = self._histograms[name]
        (histogram.labels(*labels) if labels else histogram).observe(seconds)


class _Snapshot(Collector):
    def __init__(self, families: Callable[[], Iterator[Metric]]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families()


def _counter(row: Row, registry: CollectorRegistry) -> Counter:
    return Counter(row.name, row.meaning, row.labels, registry=registry)


def _histogram(row: Row, registry: CollectorRegistry) -> Histogram:
    return Histogram(row.name, row.meaning, row.labels, registry=registry, buckets=SECONDS)


RULES_HEAD = """\
# Made by `trainwatch worker --alerts`; a test compares them.  page: wake somebody; ticket: in the morning.  Tried with promtool 2.42.
# What only ClickHouse knows (records not accounted for, parts, disk) alerts from Grafana, see deploy/grafana.  Two are asked on both sides,
# so that either is enough alone: dead letters and silent sources.  With both, pause those two of Grafana.
"""


def table() -> str:
    """The metrics of workers and notifier as a Markdown table."""
    lines = ["| metric | unit | labels | meaning | look at it when |", "|---|---|---|---|---|"]
    for row in METRICS + NOTIFIER:
        labels = ", ".join(row.labels)
        lines.append(f"| `{row.name}` | {row.unit} | {labels} | {row.meaning} | {row.alert} |")
    return "\n".join(lines)


def alert_rules() -> str:
    """The suggestions as a rule file of Prometheus: deploy/prometheus/alerts.yaml."""
    rules = [
        {
            "alert": alert.name,
            "expr": alert.expression,
            "for": f"{alert.minutes}m",
            "labels": {"severity": alert.severity},
            "annotations": {"summary": alert.summary, "runbook": f"deploy/runbooks/{alert.name}.md"},
        }
        for alert in ALERTS
    ]
    return RULES_HEAD + str(yaml.safe_dump({"groups": [{"name": "trainwatch", "rules": rules}]}, sort_keys=False, width=200))
