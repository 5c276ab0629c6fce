"""Which workload of Kubernetes an object belongs to: the key of its job's case is `namespace/name`.

Not the object's uid: a request to the API server often has none, a pod has another than the job that made it, and the same job must
have one case.  Runs that share a name are told apart by their creation, as requeues are (`jobs/index.py`).

    Pod llm/pretrain-worker-3      llm/pretrain        Workload llm/pytorchjob-pretrain-1a2b3      llm/pretrain
    Pod llm/pretrain-0-x8k2p       llm/pretrain        PyTorchJob llm/pretrain                     llm/pretrain

Names of pods are conventions of the controllers that make them: a pod that a person made by hand and called `a-0` goes to `a`.
Nothing is lost by that: objects of one namespace that share a beginning share a case.
"""

import re
from functools import lru_cache

# Kinds and resources that stand for a whole job; of CronJobs the jobs are told, not the template.
JOB_KINDS = frozenset({
    "job", "pytorchjob", "mpijob", "tfjob", "xgboostjob", "paddlejob", "jaxjob", "rayjob", "raycluster", "jobset", "trainjob", "appwrapper",
    "leaderworkerset", "statefulset", "sparkapplication", "notebook",
})  # fmt: skip
_PARTS = frozenset({"pod", "workload", "podgroup", "configmap", "persistentvolumeclaim", "secret"})
NAME_CHARACTERS_MAX = 253
# What controllers put after a job's name; the letters of random ends are the ones that Kubernetes uses (apimachinery util/rand).
_RANDOM = "[bcdfghjklmnpqrstvwxz2456789]{5}"
_POD = re.compile(
    rf"-(?:(?:master|worker|launcher|chief|ps|evaluator|leader|head|node|task|driver)(?:-group)?(?:-[0-9]+){{0,2}}(?:-{_RANDOM})?"
    rf"|[0-9]+(?:-[0-9]+)?(?:-{_RANDOM})?|{_RANDOM})$"
)
_WORKLOAD = re.compile(r"^(?:pod|[a-z]+job|job|jobset|raycluster|appwrapper|statefulset|leaderworkerset)-(.+)-[0-9a-f]{5}$")
_GROUP = re.compile(r"^(?:podgroup-)?(.+?)-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")


def kind_of(resource: str) -> str:
    """`PyTorchJob`, `pytorchjobs.kubeflow.org` and `jobs.batch` as one word, singular and in lower case."""
    word = resource.partition(".")[0].lower()
    return word.removesuffix("s") if len(word) > 2 else word


@lru_cache(maxsize=8192)
def job_of(namespace: str, kind: str, name: str) -> str:
    """The key of the job that the object is or belongs to; empty: it is of a kind that runs nothing, or has no name."""
    kind = kind_of(kind)
    if not name or (kind not in JOB_KINDS and kind not in _PARTS):
        return ""
    name = name[:NAME_CHARACTERS_MAX]
    if kind == "pod":
        name = _POD.sub("", name) or name
    elif (kind == "workload" and (found := _WORKLOAD.match(name))) or (kind == "podgroup" and (found := _GROUP.match(name))):
        name = found[1]
    return f"{namespace}/{name}"


def is_workload(job: str) -> bool:
    """Is the job one of Kubernetes?  Ids of other schedulers have no slash."""
    return "/" in job
