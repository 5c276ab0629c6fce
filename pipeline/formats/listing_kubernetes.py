"""Objects that `kubectl get pods,jobs,pytorchjobs... -o json` prints in; the jobs among them that are not over out.

Pods and objects of one workload are one job (model/workload.py): created when the workload was, running from the first start of any of
its pods, on the nodes of all of them.  What else runs on a cluster is left out: pods of daemon sets, of services and of nodes.

A job has no owner whom the API server vouches for in its object: a label or annotation is the claim of whoever made it, and is taken
for it because nothing better is in a list.  An environment, a command line or a volume is not read at all.

    PyTorchJob llm/pretrain              created 10:00   label owner=u017
    Pod llm/pretrain-worker-0, -1        node gpu-001, gpu-002   started 10:02     ->  llm/pretrain, u017, gpu-001 and gpu-002, 10:02
"""

from collections.abc import Sequence
from typing import Any

from pipeline.errors import RejectedRecord, SchemaMismatch
from pipeline.formats.json_event import at, list_at, text_at, time_at
from pipeline.formats.payloads.bootstrap import NODES_MAX, ListedJob
from pipeline.model.workload import JOB_KINDS, job_of, kind_of

OWNER_NAMES = ("owner", "user", "username", "submitter", "created-by")  # of annotations and labels, after any prefix
GPU_RESOURCES = ("nvidia.com/gpu", "amd.com/gpu")
_OVER = frozenset({"Succeeded", "Failed"})
_NO_JOBS = frozenset({"daemonset", "node", "replicaset", "replicationcontroller"})
_ENDED = frozenset({"Complete", "Completed", "Failed", "Succeeded"})
REFUSED_MAX = 1000  # told of a list
_CONTAINERS_MAX = 256
_DIGITS_MAX = 6


class _Job:
    """What is known of one workload so far."""

    def __init__(self) -> None:
        self.created: list[int] = []  # of the workload's own object
        self.pods_created: list[int] = []
        self.started: list[int] = []
        self.nodes: set[str] = set()
        self.gpus = 0
        self.owners: list[str] = []  # of the workload's own object before those of pods
        self.name = ""

    def listed(self, job: str) -> ListedJob:
        began = min(self.started, default=None) if self.nodes else None
        return ListedJob(
            job=job,
            state="PENDING" if began is None else "RUNNING",
            owner=next(iter(self.owners), ""),
            account=job.partition("/")[0],
            name=self.name or job.partition("/")[2],
            submit=min(self.created or self.pods_created, default=None),
            start=began,
            nodes=tuple(sorted(self.nodes)[:NODES_MAX]) if began is not None else (),
            gpus=self.gpus or None,
        )


def workloads(items: Sequence[Any], kind: str, owner_names: Sequence[str]) -> tuple[tuple[ListedJob, ...], tuple[str, ...]]:
    """(jobs by key, what could not be read).  `kind` is that of items that do not say it themselves."""
    jobs: dict[str, _Job] = {}
    over: set[str] = set()
    refused: list[str] = []
    for item in sorted(items, key=lambda item: at(item, "kind") == "Pod"):  # the workloads' own objects first
        try:
            if not isinstance(item, dict):
                raise SchemaMismatch("it is no object")
            if kind_of(text_at(item, "kind") or kind) == "pod":
                _add_pod(jobs, item, owner_names)
            else:
                _add_workload(jobs, over, item, text_at(item, "kind") or kind, owner_names)
        except RejectedRecord as error:
            if len(refused) < REFUSED_MAX:
                refused.append(f"{at(item, 'kind') or kind} {at(item, 'metadata', 'name')}"[:200] + f": {error}")
    return tuple(jobs[job].listed(job) for job in sorted(jobs.keys() - over)), tuple(refused)


def _add_workload(jobs: dict[str, _Job], over: set[str], item: Any, kind: str, owner_names: Sequence[str]) -> None:
    if kind_of(kind) not in JOB_KINDS:
        return
    key = job_of(text_at(item, "metadata", "namespace"), kind, text_at(item, "metadata", "name"))
    if not key:
        raise SchemaMismatch("it has no name")
    held = [text_at(each, "type") for each in list_at(item, "status", "conditions") if text_at(each, "status") == "True"]
    if not _ENDED.isdisjoint(held):
        over.add(key)
        return
    job = jobs.setdefault(key, _Job())
    job.name = text_at(item, "metadata", "name")
    if (created := time_at(item, "metadata", "creationTimestamp")) is not None:
        job.created.append(created)
    job.owners += _owners(item, owner_names)


def _add_pod(jobs: dict[str, _Job], item: Any, owner_names: Sequence[str]) -> None:
    if text_at(item, "status", "phase") in _OVER:
        return
    namespace = text_at(item, "metadata", "namespace")
    controller = next((each for each in list_at(item, "metadata", "ownerReferences") if at(each, "controller") is True), None)
    kind = text_at(controller, "kind") if controller is not None else ""
    if kind_of(kind) in _NO_JOBS:
        return
    by_controller = job_of(namespace, kind, text_at(controller, "name")) if kind_of(kind) in JOB_KINDS else ""
    key = by_controller or job_of(namespace, "Pod", text_at(item, "metadata", "name"))
    if not key:
        raise SchemaMismatch("it has no name")
    job = jobs.setdefault(key, _Job())
    if (created := time_at(item, "metadata", "creationTimestamp")) is not None:
        job.pods_created.append(created)
    node, started = text_at(item, "spec", "nodeName"), time_at(item, "status", "startTime")
    if node and started is not None:
        job.nodes.add(node.partition(".")[0])
        job.started.append(started)
        job.gpus += _gpus(item)
    job.owners += _owners(item, owner_names)


def _owners(item: Any, names: Sequence[str]) -> list[str]:
    """What the first of these names says, in annotations and then in labels; `example.org/owner` counts as `owner`."""
    for name in names:
        for place in ("annotations", "labels"):
            said = at(item, "metadata", place)
            for key, value in said.items() if isinstance(said, dict) else ():
                if isinstance(value, str) and value and (key == name or key.rpartition("/")[2] == name):
                    return [value[:512]]
    return []


def _gpus(pod: Any) -> int:
    total = 0
    for container in list_at(pod, "spec", "containers")[:_CONTAINERS_MAX]:
        for resource in GPU_RESOURCES:
            text = text_at(container, "resources", "limits", resource)
            total += int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX else 0
    return total
