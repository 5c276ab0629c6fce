"""Records about a job of Kubernetes in; the accounting records that its scheduler does not write out.

Nobody accounts for a Kubernetes job as Slurm does.  What the API server and the controllers tell is put in the same form, so that a
detector asks one question for all schedulers:

    create of the job, by u017            JobRecord start: submitted and started then; u017 is the owner
    Completed, JobFailed, BackoffLimit..  JobRecord end: COMPLETED, FAILED, TIMEOUT
    delete of the job before it ended     JobRecord end: CANCELLED by whoever asked
    Scheduled on gpu-003                  the nodes

Holds: of several ends the first counts, since a finished job is deleted, too; what is built cites the event that it was built of.
"""

import re
from collections.abc import Iterable, Sequence

import msgspec

from pipeline.model.events import Event, JobRecord, KubernetesRequest, ObjectEvent
from pipeline.model.told import Attempt
from pipeline.model.workload import JOB_KINDS, kind_of

REFUSED_FROM, FAILED_FROM = 400, 500  # HTTP
NO_EFFECT = frozenset({404, 409, 410, 429})  # gone, changed meanwhile, not now: nobody was forbidden anything
# Reasons of a job's own controller that end it; `JobFailed` and `PyTorchJobSucceeded` by their last word.
_ENDS = {
    "Completed": "COMPLETED", "Complete": "COMPLETED", "Succeeded": "COMPLETED", "AllJobsCompleted": "COMPLETED",
    "BackoffLimitExceeded": "FAILED", "PodFailurePolicy": "FAILED", "Failed": "FAILED", "FailedJobs": "FAILED",
    "DeadlineExceeded": "TIMEOUT",
}  # fmt: skip
_RUNNING = frozenset({"pod", "podgroup", "workload"})
_LAST_WORD = re.compile(r"(Succeeded|Completed|Failed)$")
_WHOLE_NODES_MAX = 16_384


def granted(request: KubernetesRequest) -> bool:
    """Was the request let, as far as its server says, and meant?"""
    return request.trial != "yes" and request.decision != "forbid" and (request.code is None or request.code < REFUSED_FROM)


def refused(request: KubernetesRequest) -> bool:
    """Was it forbidden?  What found nothing, came too late or met a server in trouble is not an attempt, nor is a trial."""
    if request.trial == "yes":
        return False
    denied = request.code is not None and REFUSED_FROM <= request.code < FAILED_FROM and request.code not in NO_EFFECT
    return request.decision == "forbid" or denied


def creates(request: KubernetesRequest) -> bool:
    """Does it make the job itself, rather than something in it?"""
    return request.verb == "create" and not request.subresource and kind_of(request.resource) in JOB_KINDS and granted(request)


def ends(request: KubernetesRequest) -> bool:
    """Does it, or would it, delete the job itself?"""
    return request.verb == "delete" and not request.subresource and kind_of(request.resource) in JOB_KINDS


def stops(request: KubernetesRequest) -> bool:
    """Does it take a part of the job away that runs, or hold its place in the queue: a pod, a group of pods, a workload?"""
    return (request.subresource or request.verb) in ("delete", "eviction") and kind_of(request.resource) in _RUNNING


def creation(events: Iterable[Event]) -> Event | None:
    """The request that made the job: whoever asked owns it."""
    made = [event for event in events if isinstance(event.body, KubernetesRequest) and creates(event.body)]
    return min(made, key=lambda each: (each.event_time, each.id), default=None)


def records_of(attempt: Attempt, events: Iterable[Event]) -> list[tuple[Event, JobRecord]]:
    """What accounting would say of the attempt, with the event that says it; whose it is, in another kind of name, says `creation`."""
    ordered = sorted(events, key=lambda each: (each.event_time, each.id))
    base = JobRecord(job=attempt.job, phase="start", submit=attempt.submit or None, start=attempt.start or None, nodes=_nodes(ordered))
    made = creation(ordered)
    records = [(made, base)] if made is not None else []
    for event in ordered:
        state, by = _end(event)
        if state:
            records.append((event, msgspec.structs.replace(base, phase="end", state=state, end=event.event_time, cancelled_by=by)))
            break
    return records


def _end(event: Event) -> tuple[str, str]:
    """(state, who asked) of an event that ends the job."""
    body = event.body
    if isinstance(body, KubernetesRequest):
        return ("CANCELLED", body.user) if ends(body) and granted(body) and not body.trial else ("", "")
    if not isinstance(body, ObjectEvent) or kind_of(body.kind) not in JOB_KINDS:
        return "", ""
    state = _ENDS.get(body.reason, "")
    if not state and (word := _LAST_WORD.search(body.reason)):
        state = "FAILED" if word[1] == "Failed" else "COMPLETED"
    return state, ""


def _nodes(events: Sequence[Event]) -> tuple[str, ...]:
    nodes = {event.body.node for event in events if isinstance(event.body, ObjectEvent) and event.body.node}
    return tuple(sorted(nodes)[:_WHOLE_NODES_MAX])
