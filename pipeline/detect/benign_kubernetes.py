"""The harmless explanations of what is asked of the API server of Kubernetes, in the form of `benign.py`.

In: a case and a suspicion whose cause is a request.  Out: an `Explanation`.  Of a request of another kind both are excluded.  Controllers
work under accounts of their own; those of a namespace in which people run pods may be used by anybody there, and acquit nobody.
"""

import re

from pipeline.detect.benign import Suspicion
from pipeline.detect.case import Case
from pipeline.model.events import Event, KubernetesRequest
from pipeline.model.finding import Checked, Explanation
from pipeline.stream.watermark import Watermarks

# Not `system:admin` and `system:anonymous`: behind those are people.
_COMPONENTS = ("system:node:", "system:kube-", "system:apiserver", "system:aggregator", "system:cloud-")
_SERVICE_ACCOUNT = "system:serviceaccount:"
# Nor the accounts under which people's notebooks and pipelines run there.
_CONTROLLER = re.compile(
    r"system:serviceaccount:(?:kube-system|kubeflow|[a-z0-9-]+-(?:system|operator)):(?!(?:default|default-editor|default-viewer|pipeline-runner)$)"
)


def controller_of_cluster(case: Case, suspicion: Suspicion, now: Watermarks) -> Explanation:  # noqa: ARG001 - one signature for all
    """A controller of Kubernetes did it: garbage collection, the job's own controller, a queue, the life of nodes, an autoscaler."""
    name, cause = "controller_of_cluster", suspicion.cause
    if not isinstance(cause.body, KubernetesRequest):
        return Explanation(name, Checked.EXCLUDED, cause.id, "no request to the API server")
    if controllers(cause):
        return Explanation(name, Checked.CONFIRMED, cause.id, "an account of the cluster's own controllers")
    if cause.body.user.startswith(_SERVICE_ACCOUNT) and not cause.body.impersonated:
        return Explanation(name, Checked.NOT_CHECKED, cause.id, "a service account that every pod of its namespace may use")
    return Explanation(name, Checked.EXCLUDED, cause.id, "the account is no controller's")


def controllers(event: Event) -> bool:
    """Did a component of the cluster ask, or a service account of a namespace that people may not run pods in?"""
    body = event.body
    if not isinstance(body, KubernetesRequest) or body.impersonated:
        return False
    return body.user.startswith(_COMPONENTS) or _CONTROLLER.match(body.user) is not None


def node_drain(case: Case, suspicion: Suspicion, now: Watermarks) -> Explanation:  # noqa: ARG001
    """An admin emptied a node: then pods are evicted, never deleted."""
    name, cause, who = "node_drain", suspicion.cause, suspicion.actor
    body = cause.body
    if not isinstance(body, KubernetesRequest) or body.subresource != "eviction":
        return Explanation(name, Checked.EXCLUDED, cause.id, "no eviction")
    if who is None or who.role not in ("admin", ""):
        return Explanation(name, Checked.EXCLUDED, cause.id, "not by an admin")
    return Explanation(name, Checked.NOT_CHECKED, cause.id, "by an admin, or nobody that the map knows, as a drain does it")
