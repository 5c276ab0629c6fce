"""The map: the path of a record, one line per stage, in data order.

    stage         reads             is told by                           says
    ingest        logs.*                                                 events, dead letters
    hosts         facts.host        ingest                               findings on hosts
    artefacts     facts.artefact    ingest, hosts
    identities    facts.identity    ingest, hosts                        findings on accounts and teams
    jobs          facts.job         ingest, hosts, artefacts             enriched, verdicts, findings on jobs
    cohorts       facts.cohort      jobs                                 findings on attempts that should have gone alike
    incidents     facts.incident    hosts, identities, jobs, cohorts     incidents
    sink          what is said                                           rows in ClickHouse

It is a value: `runtime/` runs it on Kafka with Faust, `runtime/local.py` in memory.  A stage reads topics, remembers facts, and
answers with outcomes; it never knows which runtime it is in.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from pipeline.artefacts import step as artefacts
from pipeline.cohorts import step as cohorts
from pipeline.detect.site import require_known_detectors
from pipeline.hosts import step as hosts
from pipeline.identities import step as identities
from pipeline.incidents import step as incidents
from pipeline.ingest import step as ingest
from pipeline.jobs import step as jobs
from pipeline.model.outcome import Outcome
from pipeline.settings import Settings
from pipeline.sink import step as sink
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import Watermarks

PUBLIC = ("enriched", "verdicts", "findings", "incidents")  # what stages publish, and sink stores


class State(Protocol):
    """What one partition of a stage holds.  All that must survive is in `cases`; the rest is built again from it."""

    cases: Cases


class Stage(NamedTuple):
    """One line of the map."""

    name: str
    reads: tuple[str, ...]  # topics
    takes: str  # "records": raw Kafka messages | "facts": decoded facts and watermark vectors
    build: Callable[[Settings, Cases], Any]
    step: Callable[[Any, Sequence[Any], Watermarks], tuple[Any, list[Outcome]]]
    upstream: tuple[str, ...] = ()  # topics whose partitions speak watermarks to this stage
    tells: tuple[str, ...] = ()  # stages that get its facts and its vectors


class Topology(NamedTuple):
    """All stages in data order, and the names of the topics between and after them."""

    stages: tuple[Stage, ...]
    prefix: str

    def facts_topic(self, stage: str) -> str:
        """The topic that a keyed stage reads."""
        return facts_topic(self.prefix, stage)

    def public_topic(self, content: str) -> str:
        """The topic of `enriched`, `verdicts`, `findings`, `incidents` or `dead-letter`."""
        return public_topic(self.prefix, content)

    def state_topic(self, topic: str) -> str:
        """The compacted topic that holds the state of a consumed topic."""
        return f"{self.prefix}state.{topic.removeprefix(self.prefix)}.v1"

    def stage_of(self, topic: str) -> Stage:
        """The stage that reads a topic."""
        return next(stage for stage in self.stages if topic in stage.reads)


def facts_topic(prefix: str, stage: str) -> str:
    """`trainwatch.facts.host.v1` for stage `hosts`: the fact topic is named after one subject."""
    subject = f"{stage.removesuffix('ies')}y" if stage.endswith("ies") else stage.removesuffix("s")
    return f"{prefix}facts.{subject}.v1"


def public_topic(prefix: str, content: str) -> str:
    """`trainwatch.findings.v1`."""
    return f"{prefix}{content}.v1"


def build_topology(settings: Settings) -> Topology:
    """The stages of one site.

    Raises ConfigError, before any partition is taken over, where the key that hides names cannot be had, or there is no such detector.
    """
    settings.veil()
    require_known_detectors(settings)
    prefix, inputs = settings.kafka.topic_prefix, settings.kafka.input_topics
    host, artefact, identity = (facts_topic(prefix, stage) for stage in ("hosts", "artefacts", "identities"))
    job, cohort, incident = (facts_topic(prefix, stage) for stage in ("jobs", "cohorts", "incidents"))
    both, behind_hosts = (*inputs, host), ("artefacts", "identities", "jobs", "incidents")
    public = tuple(public_topic(prefix, content) for content in PUBLIC)
    stages = (
        Stage("ingest", inputs, "records", ingest.build_state, ingest.step, tells=("hosts", "artefacts", "identities", "jobs")),
        Stage("hosts", (host,), "facts", hosts.build_state, hosts.step, upstream=inputs, tells=behind_hosts),
        Stage("artefacts", (artefact,), "facts", artefacts.build_state, artefacts.step, upstream=both, tells=("jobs",)),
        Stage("identities", (identity,), "facts", identities.build_state, identities.step, upstream=both, tells=("incidents",)),
        Stage("jobs", (job,), "facts", jobs.build_state, jobs.step, upstream=(*inputs, host, artefact), tells=("cohorts", "incidents")),
        Stage("cohorts", (cohort,), "facts", cohorts.build_state, cohorts.step, upstream=(job,), tells=("incidents",)),
        Stage("incidents", (incident,), "facts", incidents.build_state, incidents.step, upstream=(host, identity, job, cohort)),
        Stage("sink", public, "records", sink.build_state, sink.step),
    )
    return Topology(stages, prefix)
