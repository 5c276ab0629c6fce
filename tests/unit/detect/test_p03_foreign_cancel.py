"""P03: a job cancelled by somebody who neither owns it nor acts for its owner, or tried to be.

# two minutes before the end, one second after it
#
#   scheduler   start@0    [-20 ... request@98   end@100   101]
#   access                         scancel@97
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import pytest

from pipeline.detect.detector import registry
from pipeline.jobs.index import JobIndex
from pipeline.model.events import Event, JobUpdate, KubernetesRequest, ObjectEvent, ProcessRun
from pipeline.model.finding import Checked, Finding, Severity
from pipeline.model.source import Source
from pipeline.settings import IdentitySettings
from tests import build
from tests.build import (
    ADMIN,
    COLLEAGUE,
    OTHER,
    OWNER,
    SERVICE,
    allocation,
    answer,
    answers,
    attempt,
    cancel_request,
    case,
    controller,
    job_end,
    node_down,
    oom,
    scancel,
    step_cancelled,
    ticket,
    xid,
)

ID = "p03_foreign_cancel"


def judge(*events: Event, silent: Sequence[Source] = ()) -> list[Finding]:
    return build.judge(ID, *events, silent=silent)


def end(at: float = 100, state: str = "CANCELLED", **fields: Any) -> Event:
    return job_end(at, state, **fields)


def by_root(at: float, login: int | None = None) -> Event:
    """The kernel saw root cancel, from a login or without one."""
    return build.event(
        at, Source.AUDITD, ProcessRun(serial=round(at * 10), arguments=("scancel", build.JOB), success=True, uid=0, auid=login)
    )


class Row(NamedTuple):
    """A story, and how many findings it gives."""

    name: str
    events: Sequence[Event]
    findings: int


FIRING = [
    Row("a colleague", [cancel_request(98), end()], 1),
    Row("an unknown uid", [cancel_request(98, 7777), end()], 1),
    Row("an admin without a ticket", [cancel_request(98, ADMIN), end()], 1),
    Row("root without a ticket", [cancel_request(98, 0), end()], 1),
    Row("root by sudo, says the kernel", [by_root(97, ADMIN), cancel_request(98, 0), end()], 1),
    Row("root's timer long before", [by_root(60), cancel_request(98, 0), end()], 1),
    Row("a colleague, beside root's timer", [by_root(97), cancel_request(98), end()], 1),
    Row("the colleague first, the owner after", [cancel_request(97), cancel_request(99, OWNER), end()], 1),
    Row("accounting alone", [end(), end(source=Source.SACCT, cancelled_by_uid=COLLEAGUE)], 1),
    Row("accounting names another than asked", [cancel_request(98), end(), end(source=Source.SACCT, cancelled_by_uid=OTHER)], 1),
    Row("sacct says the same", [cancel_request(98), end(), end(source=Source.SACCT, cancelled_by_uid=COLLEAGUE)], 1),
]
SILENT = [
    Row("nobody asked", [end()], 0),
    Row("the owner", [cancel_request(98, OWNER), end()], 0),
    Row("the owner first, the colleague after", [cancel_request(97, OWNER), cancel_request(98), end()], 0),
    Row("the job was gone already", [cancel_request(98, no_effect=True), end()], 0),
    Row("no effect: it completed", [cancel_request(98), end(state="COMPLETED")], 0),
    Row("no effect: it failed by itself", [cancel_request(98), end(state="FAILED", derived_signal=None)], 0),
    Row("signalled, by the owner, too", [cancel_request(98), cancel_request(99, OWNER), end(state="FAILED")], 0),
    Row("signalled long before", [cancel_request(-20.001), end(state="FAILED")], 0),
    Row("signalled, and out of memory", [cancel_request(98), oom(97), end(state="FAILED")], 0),
    Row("it still runs", [cancel_request(98)], 0),
    Row("accounting names the owner", [end(source=Source.SACCT, cancelled_by_uid=OWNER)], 0),
    Row("accounting names a service", [end(source=Source.SACCT, cancelled_by_uid=SERVICE)], 0),
    Row("accounting names root: Slurm itself", [end(source=Source.SACCT, cancelled_by_uid=0)], 0),
    Row("sacct names another", [cancel_request(98), end(), end(source=Source.SACCT, cancelled_by_uid=OWNER)], 0),
]
BOUNDARY = [
    Row("two minutes before the end are inside", [cancel_request(-20), end()], 1),
    Row("a moment more is not", [cancel_request(-20.001), end()], 0),
    Row("a second behind the end is inside", [cancel_request(101), end()], 1),
    Row("a moment more is not", [cancel_request(101.001), end()], 0),
]
HARMLESS = [
    Row("root_without_login: the site ends what idles", [by_root(97), cancel_request(98, 0), end()], 0),
    Row("owner_or_service", [cancel_request(98, SERVICE), end()], 0),
    Row("preempted, says the controller", [cancel_request(98), controller(97, "preempted"), end()], 0),
    Row("time_limit, says the controller", [cancel_request(98), controller(97, "time_limit"), end()], 0),
    Row("hardware_fault, says the kernel", [cancel_request(98), xid(50), end()], 0),
    Row("hardware_fault, says the controller", [cancel_request(98), node_down(50), end()], 0),
    Row("out_of_memory, says the kernel", [cancel_request(98), oom(97), end()], 0),
]


POD, WORKLOAD = "pods", "workloads.kueue.x-k8s.io"


def asked(at: float, user: str, verb: str = "delete", resource: str = "pytorchjobs.kubeflow.org", **fields: Any) -> Event:
    """A request to the API server about the job's objects."""
    name = "pretrain-worker-1" if resource in (POD, WORKLOAD) else "pretrain"
    said = {"namespace": "llm", "name": name, "code": 200, **fields}
    body = KubernetesRequest(user=user, verb=verb, resource=resource, **said)
    return build.event(at, Source.KUBERNETES_AUDIT, body)


def happened(at: float, reason: str, kind: str = "Pod") -> Event:
    """What a controller tells of an object."""
    return build.event(at, Source.KUBERNETES_EVENTS, ObjectEvent(kind=kind, name="pretrain-worker-1", namespace="llm", reason=reason))


def of_kubernetes(*events: Event, silent: Sequence[Source] = ()) -> list[Finding]:
    """What is said of a job that u012 made at 0."""
    index = JobIndex(build.CLUSTER, "llm/pretrain", 1_000)
    for each in (asked(0, "u012", "create"), *events):
        index.add(each.id, each)
    people = [{"id": each.id, "role": each.role, "team": each.team, "names": {"kubernetes": [each.id]}} for each in build.IDENTITIES]
    made = [{"id": "ci", "role": "service", "names": {"kubernetes": ["system:serviceaccount:ci:runner"]}}]
    site = build.site(identities=tuple(IdentitySettings.model_validate(each) for each in (*people, *made)))
    detector = next(each for each in registry() if each.meta.id == ID)
    return [finding for each in index.cases(site) for finding in detector.judge(each, build.now(silent=silent))]


COLLECTOR = "system:serviceaccount:kube-system:generic-garbage-collector"
OF_KUBERNETES: dict[str, tuple[Sequence[Event], list[tuple[str, bool]]]] = {
    "a colleague deletes the job": ([asked(90, "u099")], [("cancelled", True)]),
    "deletes Volcano's job": ([asked(90, "u099", resource="jobs.batch.volcano.sh")], [("cancelled", True)]),
    "takes a pod": ([asked(90, "u099", resource=POD)], [("pods_deleted", True)]),
    "takes its place in the queue": ([asked(90, "u099", resource=WORKLOAD)], [("pods_deleted", True)]),
    "evicts a pod": ([asked(90, "u099", "create", POD, subresource="eviction", code=201)], [("pods_deleted", True)]),
    "is refused": ([asked(90, "u099", code=403)], [("cancel_refused", False)]),
    "is refused again and again": ([asked(at, "u099", code=403) for at in (90, 400, 690)], [("cancel_refused", True)]),
    "is refused a pod, then takes it": (
        [asked(90, "u099", resource=POD, code=403), asked(95, "u099", resource=POD)], [("pods_deleted", True), ("cancel_refused", False)],
    ),
    "asks again when it is gone": ([asked(90, "u099", code=404)], []),
    "evicts, and is told to wait": ([asked(90, "u099", "create", POD, subresource="eviction", code=429)], []),
    "meets a server in trouble": ([asked(90, "u099", code=500), asked(91, "u099", resource=POD, code=409)], []),
    "an admin drains, then a colleague takes a pod": (
        [asked(80, "adm1", "create", POD, subresource="eviction", code=201), asked(90, "u099", resource=POD)], [("pods_deleted", True)],
    ),
    "a superuser that the map does not know": ([asked(90, "system:admin")], [("cancelled", False)]),
    "acts as a controller": ([asked(90, COLLECTOR, impersonated="u099")], [("cancelled", False)]),
    "a service account of the team": ([asked(90, "system:serviceaccount:llm:default")], [("cancelled", False)]),
    "a pipeline of somebody": ([asked(90, "system:serviceaccount:kubeflow:pipeline-runner")], [("cancelled", False)]),
    "an admin deletes a pod": ([asked(90, "adm1", resource=POD)], [("pods_deleted", True)]),
    "node_drain: an admin evicts": ([asked(90, "adm1", "create", POD, subresource="eviction", code=201)], [("pods_deleted", False)]),
    "controller_of_cluster: what is left is collected": ([asked(90, COLLECTOR, resource=POD)], []),
    "controller_of_cluster: a queue takes it back": ([asked(90, "system:serviceaccount:kueue-system:manager", resource=WORKLOAD)], []),
    "controller_of_cluster: the kubelet": ([asked(90, "system:node:gpu-001", resource=POD)], []),
    "a service of the site": ([asked(90, "system:serviceaccount:ci:runner")], []),
    "the owner": ([asked(90, "u012"), asked(91, "u099")], []),
    "it was over": ([happened(80, "PyTorchJobSucceeded", "PyTorchJob"), asked(681, "u099"), asked(682, "u099", resource=POD)], []),
    "over_before: an event that anybody may write, and the deletion": (
        [happened(80, "PyTorchJobSucceeded", "PyTorchJob"), asked(680, "u099")], [("deleted_in_doubt", False)],
    ),
    "over_before: the output goes on behind it": (
        [happened(80, "PyTorchJobSucceeded", "PyTorchJob"), build.iteration(681), asked(900, "u099")], [("deleted_in_doubt", False)],
    ),
    "over_before: pods are taken of what goes on": (
        [happened(80, "PyTorchJobSucceeded", "PyTorchJob"), build.iteration(681), asked(700, "u099", resource=POD)],
        [("pods_deleted", False)],
    ),
    "the owner tidies up first": ([happened(80, "PyTorchJobSucceeded", "PyTorchJob"), asked(90, "u012"), asked(91, "u099")], []),
    "trial_run: nothing was changed": ([asked(90, "u099", trial="yes"), asked(91, "u099", resource=POD, trial="yes")], []),
    "trial_run: a trial that is refused": ([asked(90, "u099", trial="yes", code=403)], []),
    "trial_run: the address says so": ([asked(90, "u099", trial="claimed")], [("deleted_in_doubt", False)]),
    "the owner tried what a colleague then does": (
        [asked(80, "u012", resource=POD, trial="claimed"), asked(90, "u099", resource=POD)], [("pods_deleted", True)],
    ),
    "trial_run: the output goes on": ([asked(90, "u099"), build.iteration(691)], [("cancelled", False)]),
    "its last lines come late": ([asked(90, "u099"), build.iteration(690)], [("cancelled", True)]),
    "is refused an eviction": ([asked(90, "u099", "create", POD, subresource="eviction", code=403)], [("cancel_refused", False)]),
    "preempted before, says an event": ([happened(80, "Preempted"), asked(90, "u099", resource=POD)], [("pods_deleted", False)]),
    "preempted before, and the scheduler took the pod": (
        [happened(80, "Preempted"), asked(80, "system:kube-scheduler", resource=POD), asked(90, "u099", resource=POD)], [],
    ),
    "the scheduler took another pod": (
        [asked(80, "system:kube-scheduler", resource=POD, name="pretrain-worker-2"), asked(90, "u099", resource=POD)],
        [("pods_deleted", True)],
    ),
    "the owner had taken it": ([asked(80, "u012", resource=POD), asked(90, "u099", resource=POD)], []),
    "the owner had taken another of that name": (
        [asked(80, "u012", resource=POD, object_uid="a"), asked(90, "u099", resource=POD, object_uid="b")], [("pods_deleted", True)],
    ),
    "the owner had taken it, and it was put back, says an event": (
        [asked(80, "u012", resource=POD), happened(85, "Scheduled"), asked(90, "u099", resource=POD)], [("pods_deleted", False)],
    ),
    "the owner had taken it, as its requests tell": (
        [asked(80, "u012", resource=POD, object_uid="a"), happened(79, "Scheduled"), asked(90, "u099", resource=POD, object_uid="a")], [],
    ),
    "the owner had taken it long before": ([asked(80, "u012", resource=POD), asked(981, "u099", resource=POD)], [("pods_deleted", True)]),
    "evicted behind it: that is what it did": ([asked(90, "u099", resource=POD), happened(96, "Evicted")], [("pods_deleted", True)]),
    "out_of_memory before, says an event": ([happened(80, "OOMKilled"), asked(90, "u099")], [("cancelled", True)]),
    "hardware_fault before, says an event": (
        [happened(80, "TaintManagerEviction"), asked(90, "u099", resource=POD)], [("pods_deleted", False)],
    ),
    "a look at it": ([asked(90, "u099", "get"), asked(91, "u099", "patch")], []),
}  # fmt: skip


@pytest.mark.parametrize(("events", "found"), OF_KUBERNETES.values(), ids=OF_KUBERNETES)
def test_what_ends_a_job_of_kubernetes(events: Sequence[Event], found: list[tuple[str, bool]]) -> None:
    """The API server says who asked, and whether it granted it; whoever controls the cluster is nobody."""
    assert [(each.effect, each.alert) for each in of_kubernetes(*events)] == found


def test_what_the_controllers_of_kubernetes_say_is_not_needed_where_the_api_server_speaks() -> None:
    """Who asked is known; without the events nothing else is."""
    (finding,) = of_kubernetes(asked(90, "u099"), silent=[Source.KUBERNETES_EVENTS, Source.SLURMCTLD])
    assert finding.alert


@pytest.mark.parametrize("request_", [asked(90, "u099", resource=POD), asked(90, "u099", resource=POD, code=403)])
def test_pods_of_what_nobody_made_as_a_job_are_no_jobs(request_: Event) -> None:
    """Pods of services come and go all day, and whose they are nobody says."""
    index = JobIndex(build.CLUSTER, "llm/pretrain", 1_000)
    index.add(request_.id, request_)
    detector = next(each for each in registry() if each.meta.id == ID)
    assert [finding for each in index.cases(build.site()) for finding in detector.judge(each, build.now())] == []


def test_two_who_take_pods_name_nobody() -> None:
    """One finding of the attempt."""
    (finding,) = of_kubernetes(asked(90, "u099", resource=POD), asked(91, "u098", resource=POD))
    assert finding.actor_withheld.startswith("several")


def deleted(at: float, by: str = "u099@login-1") -> Event:
    """PBS writes down who deleted a job."""
    return build.event(at, Source.JOBCOMP, JobUpdate(job=build.JOB, change="delete", value=by), job=build.JOB)


OF_PBS: dict[str, tuple[Sequence[Event], int]] = {
    "a colleague": ([deleted(98), end(state="FAILED")], 1),
    "two minutes before the end": ([deleted(-20), end(state="FAILED")], 1),
    "a moment more": ([deleted(-20.001), end(state="FAILED")], 0),
    "it ended well": ([deleted(98), end(state="COMPLETED")], 0),
    "it still runs": ([deleted(98), allocation()], 0),
    "the owner": ([deleted(97, "u012@login-1"), deleted(98), end(state="FAILED")], 0),
    "the server": ([deleted(98, "root@ctl-1"), end(state="FAILED")], 0),
    "accounting names it, by name alone": ([end(source=Source.SACCT, cancelled_by="u099")], 1),
}


@pytest.mark.parametrize(("events", "findings"), OF_PBS.values(), ids=OF_PBS)
def test_who_deleted_is_said_by_name(events: Sequence[Event], findings: int) -> None:
    """The end is one by a signal; who asked stands in a record of its own."""
    assert len(judge(*events)) == findings


def test_what_waits_in_the_queue_is_deleted_at_once() -> None:
    """It leaves no end; it can be neither preempted nor run into its limit."""
    waiting = build.job_record(0, "other", start=None, nodes=(), state="PENDING")
    (finding,) = build.judge(ID, waiting, deleted(98), of=attempt(start=None))
    assert (finding.effect, finding.alert) == ("cancelled", True)


@pytest.mark.parametrize("row", FIRING, ids=lambda row: row.name)
def test_fires(row: Row) -> None:
    """A request by a non-owner and the end that follows it are one finding about this attempt."""
    (finding,) = judge(*row.events)
    assert (finding.detector, finding.effect, finding.severity) == (ID, "cancelled", Severity.HIGH)
    assert {item.role for item in finding.evidence} == {"cause", "effect"}


def test_a_person_with_another_login_is_still_the_owner() -> None:
    """A second entry with the same id says so."""
    entry = {"id": "u012", "uid": OWNER, "team": "red"}
    old = IdentitySettings.model_validate({**entry, "login": "u012", "valid_to": build.ms(50) / 1000})
    new = IdentitySettings.model_validate({**entry, "login": "u112", "valid_from": build.ms(50) / 1000})
    others = [each for each in build.IDENTITIES if each.id != "u012"]
    assert build.judge(ID, cancel_request(98, OWNER), end(), at=build.site(identities=(*others, old, new))) == []


def test_which_signal_was_asked_for_nobody_says() -> None:
    """By which_signal: a job that fails by a signal behind a foreign request may have been signalled so; below the gate."""
    (finding,) = judge(cancel_request(98), scancel(97), end(state="FAILED"))
    assert (finding.effect, finding.alert, finding.actor, finding.suspect) == ("signalled", False, "", "u099")
    assert answer(finding, "which_signal").answer is Checked.NOT_CHECKED


@pytest.mark.parametrize("signal", ["TERM", "INT", "USR1"])
def test_a_job_that_fails_behind_a_signal_is_told_whatever_it_was_for(signal: str) -> None:
    """What cancels no job may still end its processes: the kernel's record of the command takes nothing away."""
    (finding,) = judge(signalled(97, COLLEAGUE, "--signal", signal), cancel_request(98), end(state="FAILED"))
    assert (finding.effect, finding.alert, finding.suspect) == ("signalled", False, "u099")


@pytest.mark.parametrize("row", SILENT, ids=lambda row: row.name)
def test_is_silent(row: Row) -> None:
    """Owner, missing effect, or somebody else's doing: nothing to say."""
    assert judge(*row.events) == []


@pytest.mark.parametrize("row", BOUNDARY, ids=lambda row: row.name)
def test_boundary(row: Row) -> None:
    """Both edges of the window belong to it."""
    assert len(judge(*row.events)) == row.findings


@pytest.mark.parametrize("row", HARMLESS, ids=lambda row: row.name)
def test_a_confirmed_explanation_ends_the_suspicion(row: Row) -> None:
    """What a record proves to be harmless is no finding."""
    assert judge(*row.events) == []


@pytest.mark.parametrize("reason", ["preemption", "time_limit"])
def test_what_only_the_jobs_output_says_acquits_nobody_and_names_nobody(reason: str) -> None:
    """The step daemon's words can be printed by others: the hit stays, below the gate."""
    (finding,) = judge(cancel_request(98), step_cancelled(97, reason), end())
    assert (finding.alert, finding.actor) == (False, "")


def test_who_was_refused_is_not_accused_of_the_cancel_that_followed() -> None:
    """The refused request is a line like any other, the refusal another; then the owner cancels."""
    (finding,) = judge(cancel_request(90), cancel_request(90.1, refused=True), cancel_request(98, OWNER), end())
    assert finding.effect == "cancel_refused"


def test_a_second_request_without_effect_does_not_undo_the_first() -> None:
    """An answer belongs to the last request before it."""
    (finding,) = judge(cancel_request(98), cancel_request(98.5), cancel_request(98.6, no_effect=True), end())
    assert finding.effect == "cancelled"


def test_an_admin_under_a_ticket_is_acquitted() -> None:
    """The ticket may name the job and its cluster; one for another job, or that of another cluster, acquits nobody."""
    story = [cancel_request(98, ADMIN), end()]
    for cluster in ("", build.CLUSTER):
        assert build.judge(ID, *story, at=build.site(tickets=(ticket(0, 200, jobs=("7",), cluster=cluster),))) == []
    for job, cluster in (("8", ""), ("7", "west")):
        (finding,) = build.judge(ID, *story, at=build.site(tickets=(ticket(0, 200, jobs=(job,), cluster=cluster),)))
        assert answer(finding, "admin_ticket").answer is Checked.EXCLUDED


def test_with_all_sources_every_explanation_is_excluded() -> None:
    """The checklist names each explanation with the record, or the heard source, that rules it out."""
    (finding,) = judge(cancel_request(98), end())
    assert set(answers(finding).values()) == {Checked.EXCLUDED}
    assert all(item.by or item.note for item in finding.checklist)
    assert finding.alert


@pytest.mark.parametrize(
    ("explanation", "changed", "silent", "missing"),
    [
        ("owner_or_service", {"owner_uid": None, "owner": ""}, [], ("slurm_jobcomp", "sacct")),
        ("hardware_fault", {}, [Source.KERNEL], ("kernel on gpu-001",)),
        ("hardware_fault", {}, [Source.SLURMCTLD], ("slurmctld",)),
    ],
)
def test_without_the_source_that_acquits_an_explanation_is_not_checked(
    explanation: str, changed: dict[str, Any], silent: Sequence[Source], missing: tuple[str, ...]
) -> None:
    """Excluded turns into not checked, and the missing source is named."""
    (before,) = judge(cancel_request(98), end())
    (finding,) = judge(cancel_request(98), end(**changed), silent=silent)
    assert answer(before, explanation).answer is Checked.EXCLUDED
    assert (answer(finding, explanation).answer, answer(finding, explanation).missing) == (Checked.NOT_CHECKED, missing)


@pytest.mark.parametrize("explanation", ["preempted", "time_limit"])
def test_the_end_record_rules_out_what_the_scheduler_would_have_said(explanation: str) -> None:
    """The state is the scheduler's own word, so these need no other source; the record is cited."""
    ended = end()
    (finding,) = judge(cancel_request(98), ended, silent=[Source.SLURMCTLD])
    assert (answer(finding, explanation).answer, answer(finding, explanation).by) == (Checked.EXCLUDED, ended.id)


def test_a_job_that_never_ran_can_be_cancelled_too() -> None:
    """It has no nodes, so no kernel log could tell anything."""
    (finding,) = build.judge(ID, cancel_request(98), end(start=None, nodes=()), of=attempt(start=None))
    assert set(answers(finding).values()) == {Checked.EXCLUDED}


def test_hardware_is_not_excluded_where_no_record_names_the_nodes() -> None:
    """Nobody knows which kernel log to ask."""
    (finding,) = judge(allocation(nodes=()), cancel_request(98), end(nodes=()))
    assert answer(finding, "hardware_fault").answer is Checked.NOT_CHECKED


def test_one_group_of_sources_names_nobody() -> None:
    """Controller log, jobcomp and sacct all say what slurmctld believes."""
    (finding,) = judge(cancel_request(98), end(), end(source=Source.SACCT, cancelled_by_uid=COLLEAGUE))
    assert (finding.alert, finding.actor, finding.actor_withheld) == (True, "", "only one independent source: scheduler")


def test_accounting_alone_is_an_alert_without_a_name_until_the_request_is_known() -> None:
    """The same finding, revised when the controller's line comes."""
    told = [scancel(97), end(), end(source=Source.SACCT, cancelled_by_uid=COLLEAGUE)]
    (alone,) = judge(*told[1:])
    assert (alone.alert, alone.actor_withheld) == (True, "only one independent source: scheduler")
    (seen,) = judge(*told)
    assert seen.actor == "u099"
    (whole,) = judge(cancel_request(98), *told)
    assert whole.id == alone.id
    assert whole.confidence.score > alone.confidence.score


def test_an_order_whose_command_ran_without_a_login_names_nobody() -> None:
    """The controller knows the uid alone, and the kernel says that no login of that account was behind it: root or a timer ran it."""
    without = build.event(97, Source.AUDITD, ProcessRun(serial=970, arguments=("scancel", build.JOB), success=True, uid=COLLEAGUE))
    (finding,) = judge(cancel_request(98), without, end())
    assert (finding.alert, finding.actor) == (True, "")
    assert (
        finding.actor_withheld == "no login is behind what was done: a daemon, a timer, a job or whoever is root may have used the account"
    )
    (twice,) = judge(cancel_request(98), without, scancel(97), end())
    assert twice.actor == "u099", "another one from a login: who wishes may run it twice"


@pytest.mark.parametrize("accounted", [False, True])
def test_an_order_from_anothers_login_names_nobody(accounted: bool) -> None:
    """The controller and the accounts know the user whom somebody had become; the kernel says whose login it was."""
    run = ProcessRun(serial=970, arguments=("scancel", build.JOB), success=True, uid=COLLEAGUE, auid=OTHER)
    said = end(source=Source.SACCT, cancelled_by_uid=COLLEAGUE) if accounted else cancel_request(98)
    at = 100 if accounted else 97
    (finding,) = judge(said, build.event(at, Source.AUDITD, run), end())
    assert (finding.alert, finding.actor, finding.suspect) == (True, "", "")
    assert finding.actor_withheld.startswith("several identities")
    assert any("from another's login" in item.summary for item in finding.evidence)
    (twice,) = judge(said, build.event(at, Source.AUDITD, run), scancel(at), end())
    assert twice.actor == "u099", "his own login ran one as well"


def test_the_kernels_record_of_the_command_names_the_actor() -> None:
    """The submit host's audit log is a second, independent source."""
    (finding,) = judge(cancel_request(98), scancel(97), end())
    assert (finding.actor, finding.actor_withheld) == ("u099", "")
    assert {item.source for item in finding.evidence} == {"slurmctld", "slurm_jobcomp", "auditd"}


@pytest.mark.parametrize(("at", "uid"), [(68 - 0.001, COLLEAGUE), (128.001, COLLEAGUE), (97, OTHER)])
def test_a_command_of_another_time_or_person_is_no_evidence(at: float, uid: int) -> None:
    """Half a minute around the request, by the same identity."""
    (finding,) = judge(cancel_request(98), scancel(at, uid), end())
    assert "auditd" not in {item.source for item in finding.evidence}


def test_root_is_not_named() -> None:
    """The system's own account says nothing about a person."""
    (finding,) = judge(cancel_request(98, 0), end())
    assert finding.actor_withheld == "the system's own account acted; no login is attached to it"


def test_a_refused_request_is_an_attempt() -> None:
    """Its own effect, of medium severity, also while the job runs; the end has nothing to do with it."""
    for story in ([allocation()], [end(state="COMPLETED")]):
        (finding,) = judge(cancel_request(50, refused=True), *story)
        assert (finding.effect, finding.severity, finding.suspect) == ("cancel_refused", Severity.MEDIUM, "u099")


@pytest.mark.parametrize(
    ("times", "alert"), [((50,), False), ((50, 55, 60), False), ((50, 650), False), ((50, 60, 649.998), False), ((50, 60, 650), True)]
)
def test_a_slip_is_no_alert(times: Sequence[float], alert: bool) -> None:
    """Whoever mistypes the number of a job is refused once, or a few times in a row: it is told, below the gate, and names nobody."""
    lines = [cancel_request(at + later, refused=True) for at in times for later in (0, 0.001)]  # a refusal is two lines
    (finding,) = judge(allocation(), *lines, *(scancel(at - 1) for at in times))
    assert (finding.alert, finding.actor, finding.suspect) == (alert, "u099" if alert else "", "u099")
    assert finding.gate == ("" if alert else "not checked: mistyped_number")
    assert answer(finding, "mistyped_number").note.startswith(f"tries: {len(times)}, in ")
    assert ("mistyped" in finding.summary) == (not alert)


def test_tries_of_anybody_make_no_alert_of_a_slip() -> None:
    """One try that is known, and two that anybody may have sent."""
    forged = [msgspec.structs.replace(cancel_request(at, refused=True), unproven=True) for at in (60, 700)]
    (finding,) = judge(allocation(), cancel_request(50, refused=True), scancel(49), *forged)
    assert (finding.alert, finding.actor) == (False, "")


def test_refused_requests_are_one_finding_per_identity() -> None:
    """Several tries of one are one; tries of two are two, in canonical order."""
    tries = [cancel_request(at, uid, refused=True) for at, uid in ((50, COLLEAGUE), (55, OTHER), (60, COLLEAGUE))]
    first, second = judge(allocation(), *tries)
    assert [(first.suspect, len(first.evidence)), (second.suspect, len(second.evidence))] == [("u098", 1), ("u099", 2)]
    assert first.id != second.id
    assert second.closes_at == build.ms(60) + 120_000


def test_refused_and_then_cancelled_are_two_findings() -> None:
    """Somebody without the right tries, then finds a way."""
    found = judge(cancel_request(90, refused=True), cancel_request(98), end())
    assert [finding.effect for finding in found] == ["cancelled", "cancel_refused"]
    assert len({finding.id for finding in found}) == 2


@pytest.mark.parametrize("uid", [OWNER, SERVICE])
def test_a_refused_request_of_the_owner_or_a_service_is_nothing(uid: int) -> None:
    """A site may forbid even owners to cancel; that is no interference."""
    assert judge(allocation(), cancel_request(50, uid, refused=True)) == []


def test_it_is_about_the_attempt_that_ran() -> None:
    """A request before the requeue belongs to the first run."""
    again = allocation(300, submit=200)
    first = case(allocation(), cancel_request(98), end(), again)
    second = case(allocation(), cancel_request(98), end(), again, of=attempt(start=300, submit=200))
    detector = next(each for each in registry() if each.meta.id == ID)
    assert [len(list(detector.judge(each, build.now()))) for each in (first, second)] == [1, 0]


def signalled(at: float, uid: int, *arguments: str) -> Event:
    """The kernel saw `scancel` run for a signal."""
    return build.event(at, Source.AUDITD, ProcessRun(round(at * 10), ("scancel", *arguments, build.JOB), True, uid=uid, auid=uid))


USR1 = "--signal=USR1"
ADMINS = cancel_request(40, ADMIN)
COLLEAGUES = (scancel(97), cancel_request(98), end())
SACCT = end(source=Source.SACCT, cancelled_by_uid=COLLEAGUE)
OF_SEVERAL: dict[str, tuple[Sequence[Event], list[str]]] = {
    "which of two nobody tells": ([ADMINS, cancel_request(98), end()], [""]),
    "one of them alone was seen to cancel": ([ADMINS, *COLLEAGUES], [""]),
    "the other's was a mere signal": ([signalled(39, ADMIN, USR1), ADMINS, *COLLEAGUES], ["u099"]),
    "the other's was for KILL": ([signalled(39, ADMIN, "-s", "KILL"), ADMINS, *COLLEAGUES], [""]),
    "the other asked twice, and one was seen": (
        [signalled(39, ADMIN, USR1), ADMINS, cancel_request(60, ADMIN), *COLLEAGUES], [""],
    ),
    "the other's command told a moment more before": (
        [signalled(9.999, ADMIN, USR1), ADMINS, *COLLEAGUES], [""],
    ),
    "accounting tells": ([ADMINS, *COLLEAGUES, SACCT], ["u099"]),
    "a service's before": ([cancel_request(40, SERVICE), *COLLEAGUES], [""]),
    "each a service's": ([cancel_request(40, SERVICE), cancel_request(98, SERVICE), end()], []),
    "two, and the memory": ([ADMINS, cancel_request(98), oom(97), end()], []),
    "two, and the owner before both": ([cancel_request(30, OWNER), ADMINS, cancel_request(98), end()], []),
    "the owner's was a mere signal": ([signalled(39, OWNER, USR1), cancel_request(40, OWNER), *COLLEAGUES], ["u099"]),
    "nobody's was more than a signal": ([signalled(39, ADMIN, USR1), ADMINS, end()], []),
    "somebody's was for TERM, and no line tells more": ([signalled(39, OTHER, "--signal=TERM"), cancel_request(40, OTHER), end()], []),
    "the other's was for INT": ([signalled(39, OTHER, "-s", "INT"), cancel_request(40, OTHER), *COLLEAGUES], ["u099"]),
    "nobody's was, and accounting names him": ([signalled(97, COLLEAGUE, USR1), cancel_request(98), end(), SACCT], ["u099"]),
    "the owner's behind it": ([scancel(96), cancel_request(97), cancel_request(99, OWNER), end()], [""]),
}  # fmt: skip


@pytest.mark.parametrize(("events", "actors"), OF_SEVERAL.values(), ids=OF_SEVERAL)
def test_of_several_requests_nobody_knows_which_it_was(events: Sequence[Event], actors: list[str]) -> None:
    """Unless accounting says, or a command line shows that the others' were for signals that cancel nothing."""
    found = judge(*events)
    assert [(each.actor, each.alert) for each in found] == [(actor, True) for actor in actors]


def said(*, mapped: bool = True, **named: Any) -> list[tuple[str, bool, str, str]]:
    """What is found where a colleague's request was seen, and accounting names somebody."""
    site = build.site() if mapped else build.site(identities=())
    found = build.judge(ID, *COLLEAGUES, end(source=Source.SACCT, **named), at=site)
    return [(each.effect, each.alert, each.actor, each.suspect.removeprefix("login:").removeprefix("uid:")) for each in found]


@pytest.mark.parametrize(
    ("uid", "name", "found"),
    [
        (0, "root", []),
        (OWNER, "u012", []),
        (SERVICE, "svc", []),
        (COLLEAGUE, "u099", [("cancelled", True, "u099", "u099")]),
        (OTHER, "u098", [("cancelled", True, "", "u098")]),
        (7777, "x777", [("cancelled", True, "", "7777")]),
    ],
)
def test_accounting_ends_the_question_by_name_as_by_uid(uid: int, name: str, found: list[tuple[str, bool, str, str]]) -> None:
    """`CANCELLED by 0` of sacct is `kill_request_user: root` of its JSON; a name that no map knows is nobody's who asked."""
    assert said(cancelled_by_uid=uid) == found
    assert said(cancelled_by=name) == [(*each, "x777" if suspect == "7777" else suspect) for *each, suspect in found]


def test_without_a_map_a_name_may_be_of_whoever_asked() -> None:
    """It is not known to be; the owner is known by his name in the same record, and root by its own."""
    assert said(mapped=False, cancelled_by="u099") == [("cancelled", True, "", "")]
    assert said(mapped=False, cancelled_by="u012") == said(mapped=False, cancelled_by="root") == []
    assert said(mapped=False, cancelled_by_uid=COLLEAGUE) == [("cancelled", True, f"uid:{COLLEAGUE}", str(COLLEAGUE))]


def test_records_of_accounting_that_contradict_each_other_name_nobody() -> None:
    """Whichever was written first."""
    for one, other in ((100, 101), (101, 100)):
        told = [end(one, source=Source.SACCT, cancelled_by_uid=COLLEAGUE), end(other, source=Source.SACCT, cancelled_by="root")]
        (finding,) = judge(*COLLEAGUES, *told)
        assert (finding.alert, finding.actor, finding.suspect) == (True, "", "")


@pytest.mark.parametrize("ticketed", [(0, 60), (60, 160)])
def test_what_explains_one_request_of_somebody_explains_no_other_of_his(ticketed: tuple[float, float]) -> None:
    """A ticket that covers the first or the last of two: either may be what ended the job, and the other is the cause."""
    story = [cancel_request(40, ADMIN), cancel_request(98, ADMIN), end()]
    (finding,) = build.judge(ID, *story, at=build.site(tickets=(ticket(*ticketed),)))
    cause = story[1] if ticketed[1] == 60 else story[0]
    assert (finding.alert, finding.cause_time, finding.suspect) == (True, cause.event_time, "adm1")
    assert cause.id in {item.event_id for item in finding.evidence if item.role == "cause"}
    assert build.judge(ID, *story, at=build.site(tickets=(ticket(0, 160),))) == []


def test_the_requests_of_several_are_cited_and_none_of_them_is_suspected_until_accounting_names_one() -> None:
    """The same finding, revised; a ticket of one of them says nothing of the other."""
    told = [ADMINS, cancel_request(41, ADMIN), cancel_request(98), end()]
    (before,) = build.judge(ID, *told, at=build.site(tickets=(ticket(0, 60),)))
    assert {told[0].id, told[2].id} <= {item.event_id for item in before.evidence if item.role == "cause"}
    assert (before.alert, before.suspect, before.actor_withheld) == (True, "", "several identities acted; see the evidence")
    (after,) = judge(*told, SACCT)
    assert (after.id, after.suspect) == (before.id, "u099")
