"""The harmless explanations of what is asked of the API server of Kubernetes, in the form of `benign.py`.

In: a case and a suspicion whose cause is a request.  Out: an `Explanation`.  Of a request of another kind both are excluded.  Controllers
work under accounts of their own; those of a namespace in which people run pods may be used by anybody there, and acquit nobody.  Nor do
events of the cluster, which anybody may write who may make them: they are a doubt where somebody's request stands beside them.
"""

import re

from pipeline.detect import workload
from pipeline.detect.benign import Suspicion
from pipeline.detect.case import Case
from pipeline.model.actor import actor_of, relation
from pipeline.model.events import Event, Iteration, KubernetesRequest, ObjectEvent
from pipeline.model.finding import Checked, Explanation
from pipeline.model.workload import kind_of
from pipeline.stream.watermark import Watermarks

# Not `system:admin` and `system:anonymous`: behind those are people.
_COMPONENTS = ("system:node:", "system:kube-", "system:apiserver", "system:aggregator", "system:cloud-")
_SERVICE_ACCOUNT = "system:serviceaccount:"
# Nor the accounts under which people's notebooks and pipelines run there.
_CONTROLLER = re.compile(
    r"system:serviceaccount:(?:kube-system|kubeflow|[a-z0-9-]+-(?:system|operator)):(?!(?:default|default-editor|default-viewer|pipeline-runner)$)"
)


TAKING = ("delete", "eviction")
ENTERING = ("exec", "attach", "ephemeralcontainers")
WENT_ON_MS = 600_000  # pods that are told to end may take some minutes, and their output comes late


def controller_of_cluster(case: Case, suspicion: Suspicion, now: Watermarks) -> Explanation:  # noqa: ARG001 - one signature for all
    """A controller of Kubernetes did it: garbage collection, the job's own controller, a queue, the life of nodes, an autoscaler."""
    name, cause = "controller_of_cluster", suspicion.cause
    if not isinstance(cause.body, KubernetesRequest):
        return Explanation(name, Checked.EXCLUDED, cause.record, "no request to the API server")
    if controllers(cause):
        return Explanation(name, Checked.CONFIRMED, cause.record, "an account of the cluster's own controllers")
    if (before := _asked_before(case, cause, cause.body)) is not None:
        if (again := _put_back(case, before, cause, cause.body)) is not None:
            note = "a controller, a service or the owner had asked for the same before; since then, says an event, it was put back"
            return Explanation(name, Checked.NOT_CHECKED, again.record, note)
        return Explanation(name, Checked.CONFIRMED, before.record, "a controller, a service or the owner had asked for the same before")
    if cause.body.user.startswith(_SERVICE_ACCOUNT) and not cause.body.impersonated:
        return Explanation(name, Checked.NOT_CHECKED, cause.record, "a service account that every pod of its namespace may use")
    return Explanation(name, Checked.EXCLUDED, cause.record, "the account is no controller's")


def controllers(event: Event) -> bool:
    """Did a component of the cluster ask, or a service account of a namespace that people may not run pods in?"""
    body = event.body
    if not isinstance(body, KubernetesRequest) or body.impersonated:
        return False
    return body.user.startswith(_COMPONENTS) or _CONTROLLER.match(body.user) is not None


def _asked_before(case: Case, cause: Event, body: KubernetesRequest) -> Event | None:
    """Who may take the object away had done so shortly before: who puts an end to what hangs then changes nothing."""
    start = cause.event_time - case.site.windows.hardware_window_seconds * 1000
    if (body.subresource or body.verb) not in TAKING or not body.name:
        return None
    for event, other in case.kubernetes(*TAKING):
        same = (other.resource.partition(".")[0], other.name) == (body.resource.partition(".")[0], body.name)
        same = same and (not other.object_uid or not body.object_uid or other.object_uid == body.object_uid)
        if (
            same
            and not other.trial
            and event.id != cause.id
            and start <= event.event_time <= cause.event_time
            and not is_persons(case, event)
        ):
            return event
    return None


def _put_back(case: Case, before: Event, cause: Event, body: KubernetesRequest) -> Event | None:
    """The controllers' word that another object of this name began in between: the requests often tell names alone."""
    return next(
        (
            event
            for event, said in case.object_events("Scheduled")
            if (kind_of(said.kind), said.name) == (kind_of(body.resource), body.name)
            and before.event_time < event.event_time < cause.event_time
        ),
        None,
    )


def is_persons(case: Case, event: Event) -> bool:
    """Did somebody ask who is neither the owner nor acts for owners, no controller, and under no ticket?"""
    who = actor_of(case.site.directory, event)
    if controllers(event) or relation(who, case.owner) in ("owner", "service"):
        return False
    attempt = case.attempt
    return who is None or case.site.directory.ticket_for(who, event.event_time, cluster=attempt.cluster, job=attempt.job) is None


def stands_beside(case: Case, start: int, end: int) -> bool:
    """Did such a person take parts of the job away meanwhile, or enter one shortly before the end?  Then events alone explain nothing."""
    soon = end - case.site.windows.cancel_window_seconds * 1000
    asked = [event for event, _ in case.kubernetes(*TAKING) if start <= event.event_time <= end]
    asked += [event for event, _ in case.kubernetes(*ENTERING) if soon <= event.event_time <= end]
    return any(is_persons(case, event) for event in asked)


def lived_on(case: Case) -> bool:
    """Does the job's output go on long after an end that only an event of the cluster tells?"""
    if case.end is None or case.end_record is None or not isinstance(case.end_record[0].body, ObjectEvent):
        return False
    return any(event.event_time > case.end + WENT_ON_MS for event, _ in case.of(Iteration))


def deleted_behind_end(case: Case) -> Event | None:
    """The deletion by such a person of a job of which only an event says that it was over: soon after it, or while its output goes on."""
    if case.end is None or case.owner is None or case.end_record is None or not isinstance(case.end_record[0].body, ObjectEvent):
        return None
    first = next((event for event, body in case.kubernetes("delete") if workload.ends(body) and event.event_time >= case.end), None)
    if first is None or not is_persons(case, first):
        return None
    return first if first.event_time <= case.end + WENT_ON_MS or lived_on(case) else None


def over_before(case: Case, suspicion: Suspicion, now: Watermarks) -> Explanation:  # noqa: ARG001
    """The job was over when it was deleted, and was tidied away."""
    name, end = "over_before", case.end_record[0] if case.end_record is not None else None
    if end is None or not isinstance(end.body, ObjectEvent) or end.event_time > suspicion.cause.event_time:
        return Explanation(name, Checked.EXCLUDED, suspicion.cause.record, "no record says that it was over before")
    return Explanation(name, Checked.NOT_CHECKED, end.record, f"{end.body.kind} {end.body.reason}: only an event of the cluster says so")


def trial_run(case: Case, suspicion: Suspicion, now: Watermarks) -> Explanation:  # noqa: ARG001
    """A dry run, which is answered like the deletion: the audit log need not hold the options by which they differ."""
    name, cause = "trial_run", suspicion.cause
    if not isinstance(cause.body, KubernetesRequest) or not workload.ends(cause.body):
        return Explanation(name, Checked.EXCLUDED, cause.record, "no deletion of a job of Kubernetes")
    if cause.body.trial:
        return Explanation(name, Checked.NOT_CHECKED, cause.record, "its address says so, and its body is not on record")
    for event, _ in case.of(Iteration):
        if event.event_time > cause.event_time + WENT_ON_MS:
            return Explanation(name, Checked.NOT_CHECKED, event.record, "the job's output goes on long behind it, or came late")
    return Explanation(name, Checked.EXCLUDED, cause.record, "nothing is known of the job behind it")


def node_drain(case: Case, suspicion: Suspicion, now: Watermarks) -> Explanation:  # noqa: ARG001
    """An admin emptied a node: then pods are evicted, never deleted."""
    name, cause, who = "node_drain", suspicion.cause, suspicion.actor
    body = cause.body
    if not isinstance(body, KubernetesRequest) or body.subresource != "eviction":
        return Explanation(name, Checked.EXCLUDED, cause.record, "no eviction")
    if who is None or who.role not in ("admin", ""):
        return Explanation(name, Checked.EXCLUDED, cause.record, "not by an admin")
    return Explanation(name, Checked.NOT_CHECKED, cause.record, "by an admin, or nobody that the map knows, as a drain does it")
