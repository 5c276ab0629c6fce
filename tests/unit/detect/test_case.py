"""What a detector can ask of a case, over the facts that stages told."""

from typing import Any

import msgspec
import pytest

from pipeline.detect.case import Case
from pipeline.jobs.index import JobIndex
from pipeline.model.events import (
    AuditRecord,
    Event,
    JobUpdate,
    KubernetesRequest,
    ModuleImported,
    ObjectEvent,
    PrivilegeUsed,
    ProcessRun,
)
from pipeline.model.identity import Identity
from pipeline.model.source import Source
from pipeline.model.told import ArtefactUse, Attempt, NodeTouch, Told, Tombstone
from pipeline.settings import IdentitySettings
from tests import build
from tests.build import CLUSTER, COLLEAGUE, HOST, JOB, allocation, job_end, load, ms, save, uses, write

POD = "llm/pretrain"


def cases(*told: Told, job: str = JOB) -> list[Case]:
    """The cases of one job id, by attempt."""
    index = JobIndex(CLUSTER, job, 1_000)
    for number, each in enumerate(told):
        index.add(each.id if isinstance(each, Event) else f"fact-{number}", each)
    return index.cases(build.site())


def request(at: float, verb: str, resource: str = "pytorchjobs.kubeflow.org", *, user: str = "u099", **fields: Any) -> Event:
    body = KubernetesRequest(user=user, verb=verb, resource=resource, namespace="llm", name="pretrain", **{"code": 200, **fields})
    return build.event(at, Source.KUBERNETES_AUDIT, body)


def happened(at: float, reason: str, kind: str = "PyTorchJob", **fields: Any) -> Event:
    return build.event(at, Source.KUBERNETES_EVENTS, ObjectEvent(kind=kind, name="pretrain", namespace="llm", reason=reason, **fields))


# --- who cancelled ----------------------------------------------------------------------------------------------------------------

CANCELS: dict[str, tuple[list[Event], list[tuple[str, int | None]]]] = {
    "accounting's uid": (
        [allocation(), job_end(90, state="CANCELLED", source=Source.SACCT, cancelled_by_uid=COLLEAGUE)], [("u099", COLLEAGUE)],
    ),
    "accounting's name": ([allocation(), job_end(90, state="CANCELLED", source=Source.SACCT, cancelled_by="u099")], [("u099", COLLEAGUE)]),
    "a name of nobody in the map": ([job_end(90, state="CANCELLED", source=Source.SACCT, cancelled_by="x777")], [("login:x777", None)]),
    "root's name": ([job_end(90, state="CANCELLED", source=Source.SACCT, cancelled_by="root")], [("root", 0)]),
    "the requestor of PBS": (
        [allocation(), build.event(80, Source.JOBCOMP, JobUpdate(job=JOB, change="delete", value="u099@login-01"), job=JOB)],
        [("u099", None)],
    ),
    "a change is no cancel": (
        [allocation(), build.event(80, Source.SLURMCTLD, JobUpdate(job=JOB, change="time_limit", uid=COLLEAGUE), job=JOB)], [],
    ),
    "nobody": ([allocation(), job_end(90)], []),
}  # fmt: skip


@pytest.mark.parametrize(("events", "expected"), CANCELS.values(), ids=CANCELS)
def test_whoever_a_record_names_as_canceller_is_known(events: list[Event], expected: list[tuple[str, int | None]]) -> None:
    """By uid or by name, as the scheduler writes it."""
    (case,) = cases(*events)
    assert [(found.identity.id if found.identity else "", found.uid) for found in case.cancelled_by()] == expected


# --- what anybody may have sent -----------------------------------------------------------------------------------------------------


def test_a_load_that_anybody_may_have_sent_is_none_of_the_proven_half() -> None:
    """Whoever told what came before it."""
    loaded = msgspec.structs.replace(load(90), unproven=True)
    (case,) = cases(allocation(), ArtefactUse(loaded, write(40)))
    assert (case.unproven, len(case.loaded()), len(case.proven.loaded())) == (True, 1, 0)


# --- jobs of Kubernetes -------------------------------------------------------------------------------------------------------------


def test_a_kubernetes_job_has_owner_nodes_and_end_without_any_accounting() -> None:
    """Its creation, its controller's word and its pods' nodes stand for the record that nobody writes."""
    (case,) = cases(
        request(0, "create", user="u012"),
        happened(5, "Scheduled", "Pod", node="gpu-003"),
        happened(90, "PyTorchJobFailed"),
        request(95, "delete", user="u012"),
        job=POD,
    )
    assert case.attempt == Attempt(CLUSTER, POD, ms(0), ms(0))
    assert (case.owner_id, case.nodes, case.state, case.end) == ("kubernetes:u012", ("gpu-003",), "FAILED", ms(90))
    assert case.cancelled_by() == []


def test_whoever_deletes_a_running_kubernetes_job_cancelled_it() -> None:
    """The server says who asked; a request that it refused ends nothing."""
    refused = request(40, "delete", user="u098", code=403)
    (case,) = cases(request(0, "create", user="u012"), refused, request(90, "delete"), job=POD)
    assert (case.state, case.end) == ("CANCELLED", ms(90))
    assert [found.name for found in case.cancelled_by()] == ["u099"]
    assert [event.id for event, _ in case.kubernetes("delete", granted=False)] == [refused.id]


def test_runs_of_one_name_are_told_apart_by_their_creation() -> None:
    """What came before the first known creation is of a run that nobody saw begin."""
    events = [
        happened(-500, "Preempted", "Pod"),
        request(0, "create"),
        happened(90, "Completed"),
        request(200, "create"),
        request(250, "get", "pods", subresource="exec"),
    ]
    found = cases(*events, job=POD)
    assert [(case.attempt.start, case.state, len(case.kubernetes("exec"))) for case in found] == [
        (0, "", 0),
        (ms(0), "COMPLETED", 0),
        (ms(200), "", 1),
    ]
    assert [len(case.object_events("Preempted")) for case in found] == [1, 0, 0]


def test_a_list_of_running_jobs_and_the_creation_are_one_run() -> None:
    """The list is taken at the cold start; the end comes from the controller all the same."""
    listed = build.job_record(10, "start", job=POD, submit=0, start=20, owner_uid=None, owner="", nodes=())
    (case,) = cases(listed, request(0, "create", user="u012"), happened(90, "Completed"), job=POD)
    assert (case.attempt.start, case.state, case.owner_id) == (ms(20), "COMPLETED", "kubernetes:u012")
    again = cases(listed, happened(90, "Completed"), request(5_000, "create", user="u012"), happened(5_090, "Completed"), job=POD)
    assert [(case.attempt.start, case.end) for case in again] == [(ms(20), ms(90)), (ms(5_000), ms(5_090))]


def test_a_pod_s_own_end_is_not_the_job_s() -> None:
    """A pod is replaced; only the job's controller says that the job is over."""
    (case,) = cases(request(0, "create"), happened(50, "Failed", "Pod"), request(60, "delete", "pods"), job=POD)
    assert (case.end, case.state) == (None, "")


def test_behind_an_evicted_run_another_one_begins() -> None:
    """A name that was used before: its tombstone does not swallow what comes later, also where nobody saw it created."""
    stone = Tombstone((Attempt(CLUSTER, POD, 0, 0),), (), ms(100))
    (case,) = cases(stone, happened(50, "Preempted", "Pod"), happened(500, "Evicted", "Pod"), job=POD)
    assert case.attempt.start == ms(100) + 1
    assert [event.reason for _, event in case.object_events()] == ["Evicted"]


# --- hosts, files, the probe ------------------------------------------------------------------------------------------------------


def test_what_befell_the_nodes_is_asked_by_kind() -> None:
    """With the word whether it names one of the attempt's own processes."""
    lowered = build.event(50, Source.AUDITD, ProcessRun(serial=0, arguments=("nvidia-smi", "-lgc", "210"), success=True), host=HOST)
    (case,) = cases(allocation(), NodeTouch(build.attempt(), lowered, job_pid=False))
    assert [(event.id, body.arguments[0], mine) for event, body, mine in case.befell(ProcessRun)] == [(lowered.id, "nvidia-smi", False)]
    assert not case.befell(PrivilegeUsed)
    assert not case.befell(AuditRecord)


def test_a_load_comes_with_all_that_was_before_it() -> None:
    """Saves and writes by time; of a kind that was not loaded there is nothing."""
    told = uses(load(90), write(40), save(10))
    (case,) = cases(allocation(), *told)
    (loaded,) = case.loaded()
    assert [event.id for event in (*loaded.saves, *loaded.writes)] == [save(10).id, write(40).id]
    assert (loaded.other, case.loaded(ModuleImported)) == (None, [])


def test_what_was_loaded_is_put_together_once() -> None:
    """Each write in question asks for it again: with a hundred files that would be the square."""
    (case,) = cases(allocation(), *uses(load(90), write(40)))
    assert case.loaded() is case.loaded()


@pytest.mark.parametrize(
    ("path", "root", "who", "leave"),
    [
        ("/env/lib/a.py", "/env/", "u070", True),
        ("/env/red/a.py", "/env/red/", "u070", False),
        ("/env/red/a.py", "/env/red/", "u012", True),
        ("/env/lib/a.py", "/env/", "u012", False),
        ("/env/open/a.py", "/env/open/", "u070", False),
        ("/scratch/a.py", "", "u070", False),
        ("/envy/a.py", "", "u070", False),
    ],
)
def test_the_innermost_root_says_who_may_write(path: str, root: str, who: str, leave: bool) -> None:
    """Whoever owns a folder has no leave in one below it that is another's, or nobody's."""
    roots = ({"path": "/env", "owner": "u070"}, {"path": "/env/red/", "writers": ("u012",)}, {"path": "/env/open"})
    site = build.site(artefact_roots=roots)
    assert (site.root_of(path).path, site.has_leave(Identity(id=who), path)) == (root, leave)


def test_a_job_is_its_submitter_s_although_the_uid_was_given_away_before_it_started() -> None:
    """As for the account's own case (model/conduct.py)."""
    left = IdentitySettings.model_validate({"id": "u011", "uid": 5011, "login": "u011", "valid_to": ms(-10) / 1000})
    heir = IdentitySettings.model_validate({"id": "u077", "uid": 5011, "login": "u077", "valid_from": ms(-5) / 1000})
    case = build.case(build.allocation(owner_uid=5011, owner=""), at=build.site(identities=(*build.IDENTITIES, left, heir)))
    assert case.owner_id == "u011"
