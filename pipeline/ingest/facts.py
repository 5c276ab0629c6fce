"""Which facts an event gives: whom it concerns, and how often it is worth telling.

    scheduler   JobRecord -> its job, and every host of the allocation       the rest -> its job
    training    failures, checkpoints' hashes -> job, artefact, host         steps and errors -> one fact per span of time
    access      parts of watched audit events, OOM, Xid -> host              bulk -> coverage only

A line in one job's output that names another job gives none: its author is not that job.

Series are folded by rank, which is commutative: of the steps of an hour the last is kept, of the errors of a minute the first.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from pipeline.formats.assembly import is_part
from pipeline.model.events import (
    AnyBody,
    AuditRecord,
    CheckpointLoaded,
    CheckpointNote,
    CheckpointSaved,
    CollectiveTimeout,
    ControllerJob,
    Event,
    Iteration,
    JobRecord,
    JobStep,
    JobUpdate,
    KillRequest,
    NodeState,
    OomKill,
    ProcessStarted,
    RankFailed,
    RanksClosed,
    StepCancelled,
    StepOom,
    TaskEnded,
    TrainingLine,
    Xid,
)
from pipeline.model.facts import Fact, artefact_case, host_case, job_case
from pipeline.model.ids import rank
from pipeline.model.outcome import Tell
from pipeline.model.told import encode_told

TO_JOB = (
    JobRecord, JobStep, KillRequest, JobUpdate, ControllerJob, RankFailed, RanksClosed, StepCancelled, TaskEnded, StepOom,
    CollectiveTimeout, CheckpointNote, ProcessStarted,
)  # fmt: skip
TO_HOST = (OomKill, Xid, ProcessStarted)
TO_ARTEFACT = (CheckpointSaved, CheckpointLoaded)
NODES_MAX = 16_384
HOUR_MS, MINUTE_MS = 3_600_000, 60_000
LATEST = 2**63


def spoken_for(event: Event) -> str:
    """The job that the line itself names, else the event's."""
    return getattr(event.body, "job", "") or event.job


def facts_of(event: Event) -> Sequence[Tell]:
    """The facts to tell about one event; nothing for events that concern nobody yet."""
    facts = _FACTS.get(type(event.body))
    if facts is None or (event.job and spoken_for(event) != event.job):
        return ()
    return facts(event, event.body)


def _of_audit_record(event: Event, body: AuditRecord) -> Sequence[Tell]:
    if event.host and is_part(body):
        return (_tell("hosts", host_case(event.cluster, event.host), event),)
    return ()


def _of_iteration(event: Event, _: Iteration) -> Sequence[Tell]:
    if event.job:
        return (_folded(event, f"iteration/{event.event_time // HOUR_MS}", rank(max(event.event_time, 0))),)
    return ()


def _of_training_line(event: Event, body: TrainingLine) -> Sequence[Tell]:
    if event.job and body.what == "error":
        return (_folded(event, f"error/{event.event_time // MINUTE_MS}", rank(LATEST - event.event_time)),)
    return ()


def _of_others(event: Event, body: AnyBody) -> Sequence[Tell]:
    facts = []
    if isinstance(body, TO_JOB) and event.job:
        facts.append(_tell("jobs", job_case(event.cluster, event.job), event))
    if isinstance(body, TO_HOST) and event.host:
        facts.append(_tell("hosts", host_case(event.cluster, event.host), event))
    if isinstance(body, (JobRecord, NodeState)):
        for node in body.nodes[:NODES_MAX]:  # to each its own part: all names to all nodes would be the square
            mine = msgspec.structs.replace(event, body=msgspec.structs.replace(body, nodes=(node,)))
            facts.append(_tell("hosts", host_case(event.cluster, node), mine))
    if isinstance(body, TO_ARTEFACT):
        facts.append(_tell("artefacts", artefact_case(event.cluster, body.path), event))
    return facts


_FACTS: dict[type, Callable[[Event, Any], Sequence[Tell]]] = {
    **dict.fromkeys((*TO_JOB, *TO_HOST, *TO_ARTEFACT, NodeState), _of_others),
    AuditRecord: _of_audit_record,
    Iteration: _of_iteration,
    TrainingLine: _of_training_line,
}


def _tell(stage: str, case: bytes, event: Event) -> Tell:
    return Tell(stage, Fact(case, event.id, b"", encode_told(event)))


def _folded(event: Event, name: str, order: bytes) -> Tell:
    return Tell("jobs", Fact(job_case(event.cluster, event.job), name, order, encode_told(event)))
