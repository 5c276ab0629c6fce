"""P12: a job's specification changed by somebody who does not own it.

# one call writes what it sets, then that it is complete; five seconds
#
#   scheduler   start@0   set time_limit@97.9  complete uid=5099@98    Time limit@300  end@300
"""

from collections.abc import Sequence
from typing import NamedTuple

import pytest

from pipeline.model.events import Event, JobUpdate, KubernetesRequest, ProcessRun
from pipeline.model.finding import Checked, Finding, Severity
from pipeline.model.source import Source
from pipeline.settings import IdentitySettings
from tests import build
from tests.build import ADMIN, COLLEAGUE, JOB, OTHER, OWNER, SERVICE, controller, event, job_end, ticket

ID = "p12_spec_changed"


def complete(at: float = 98, uid: int = COLLEAGUE, *, refused: bool = False) -> Event:
    """An update, carried out or refused."""
    body = JobUpdate(job=JOB, uid=uid, change="update", refused=refused)
    return event(at, Source.SLURMCTLD, body, job=JOB, host="ctl-001")


def setting(at: float = 97.9, what: str = "time_limit", value: str = "5") -> Event:
    """What the controller sets."""
    return event(at, Source.SLURMCTLD, JobUpdate(job=JOB, change=what, value=value), job=JOB, host="ctl-001")


def patch(at: float = 98, user: str = "u099@example.org", code: int = 200, verb: str = "patch", subresource: str = "") -> Event:
    """A request to the Kubernetes API on the job's object."""
    body = KubernetesRequest(user=user, verb=verb, resource="jobs.batch", name="pretrain", code=code, subresource=subresource)
    return event(at, Source.KUBERNETES_AUDIT, body, job=JOB)


def ran(at: float = 97, *arguments: str, uid: int = 0, login: int | None = None) -> Event:
    """The kernel saw a command run that named the job."""
    words = ("scontrol", *(arguments or ("update", f"JobId={JOB}", "TimeLimit=5")))
    return event(at, Source.AUDITD, ProcessRun(round(at * 10), words, True, uid=uid, auid=login))


def judge(*events: Event, **more: object) -> list[Finding]:
    return build.judge(ID, *events, **more)  # type: ignore[arg-type]


class Row(NamedTuple):
    """A story, and the effects of its findings."""

    name: str
    events: Sequence[Event]
    effects: tuple[str, ...] = ("spec_changed",)


FIRING = [
    Row("a colleague shortens the limit", [setting(), complete()]),
    Row("what was set is not on record", [complete()]),
    Row("an admin without a ticket", [setting(), complete(uid=ADMIN)]),
    Row("root, and no record shows how", [setting(), complete(uid=0)]),
    Row("root by sudo, says the kernel", [ran(login=ADMIN), setting(), complete(uid=0)]),
    Row("root's timer long before", [ran(67.999), setting(), complete(uid=0)]),
    Row("root's timer that cancels", [build.scancel(97, 0), setting(), complete(uid=0)]),
    Row("a colleague, beside root's timer", [ran(), setting(), complete()]),
    Row("a job that ended since", [setting(), complete(), job_end(300, "COMPLETED")]),
    Row("another user patches its object", [patch()]),
    Row("another user scales it to nothing", [patch(subresource="scale")]),
    Row("it was refused", [complete(refused=True)], ("spec_change_refused",)),
    Row("the API refused it", [patch(code=403)], ("spec_change_refused",)),
    Row(
        "refused, then carried out by somebody else",
        [complete(90, refused=True), complete(98, OTHER)],
        ("spec_changed", "spec_change_refused"),
    ),
]
SILENT = [
    Row("the owner's tuning", [setting(), complete(uid=OWNER)], ()),
    Row("nobody asked", [job_end(100, "COMPLETED")], ()),
    Row("what was set, but not by whom", [setting()], ()),
    Row("a look at it", [patch(verb="get")], ()),
    Row("its status, by a controller", [patch(subresource="status")], ()),
    Row("a look at how many there are", [patch(verb="get", subresource="scale")], ()),
    Row("changed meanwhile by somebody else: it has no effect", [patch(code=409)], ()),
    Row("suspended: no uid is written", [event(98, Source.SLURMCTLD, JobUpdate(job=JOB, change="suspend"), job=JOB)], ()),
]
BOUNDARY = [
    Row("set five seconds before", [setting(93, "comment"), complete()], ()),
    Row("a moment more belongs to another call", [setting(92.999, "comment"), complete()]),
    Row("behind the end nothing is changed", [job_end(97.999, "COMPLETED"), complete()], ()),
    Row("set in an earlier call", [setting(95, "comment"), complete(96, OWNER), complete(98)]),
]
HARMLESS = [
    Row("root_without_login: a timer of the site", [ran(), setting(), complete(uid=0)], ()),
    Row("owner_or_service: a service that is refused", [complete(uid=SERVICE, refused=True)], ()),
    Row("owner_or_service: a service of the site", [setting(), complete(uid=SERVICE)], ()),
    Row("controller_of_cluster: an autoscaler", [patch(user="system:serviceaccount:kube-system:autoscaler")], ()),
    Row("nothing_that_runs: a comment", [setting(what="comment"), complete()], ()),
]


@pytest.mark.parametrize("row", [*FIRING, *SILENT, *BOUNDARY, *HARMLESS], ids=lambda row: row.name)
def test_effects(row: Row) -> None:
    """What is said, and nothing else."""
    assert tuple(each.effect for each in judge(*row.events)) == row.effects


def test_the_limit_that_ended_the_job_is_cited() -> None:
    """Then the change is known to have harmed it."""
    (finding,) = judge(setting(), complete(), controller(300, "time_limit"), job_end(300, "TIMEOUT"))
    assert finding.severity is Severity.HIGH
    assert {item.summary for item in finding.evidence if item.role == "effect"} == {"time_limit set to 5", "the job ran into the limit"}


def test_admin_ticket_acquits() -> None:
    """An admin shortens limits before a maintenance window; a ticket for another job acquits nobody."""
    story = [setting(), complete(uid=ADMIN)]
    assert judge(*story, at=build.site(tickets=(ticket(0, 200, jobs=(JOB,)),))) == []
    assert judge(*story, at=build.site(tickets=(ticket(0, 200, jobs=("8",)),)))[0].alert


@pytest.mark.parametrize(
    ("times", "alert"), [((50,), False), ((50, 55, 60), False), ((50, 650), False), ((50, 60, 649.999), False), ((50, 60, 650), True)]
)
@pytest.mark.parametrize("by_api", [False, True])
def test_a_request_that_was_refused_is_an_attempt(times: Sequence[float], alert: bool, by_api: bool) -> None:
    """By mistyped_number: medium, and below the gate of whoever was refused once, or a few times in a row."""
    names = {"u012": "u012@example.org", "u099": "u099@example.org"}
    people = [{"id": each.id, "uid": each.uid, "names": {"kubernetes": [names.get(each.id, each.id)]}} for each in build.IDENTITIES]
    site = build.site(identities=tuple(IdentitySettings.model_validate(each) for each in people))
    (finding,) = judge(*(patch(at, code=403) if by_api else complete(at, refused=True) for at in times), at=site)
    assert (finding.effect, finding.severity, finding.alert) == ("spec_change_refused", Severity.MEDIUM, alert)
    assert finding.gate == ("" if alert else "not checked: mistyped_number")
    assert ("mistyped" in finding.summary) == (not alert)
    assert len(finding.evidence) == len(times)


def test_refused_cancels_are_no_tries_to_change_it() -> None:
    """Each is told by the detector that it is for."""
    (finding,) = judge(complete(50, refused=True), *(build.cancel_request(at, refused=True) for at in (300, 700)))
    assert not finding.alert


def test_a_ticket_of_one_refused_try_explains_no_other() -> None:
    """What came under it counts for none, either."""
    story = [complete(at, ADMIN, refused=True) for at in (40, 70, 80)]
    (finding,) = judge(*story, at=build.site(tickets=(ticket(0, 60),)))
    assert (len(finding.evidence), finding.cause_time) == (2, story[1].event_time)
    assert judge(*story, at=build.site(tickets=(ticket(0, 160),))) == []


def test_owner_or_service_is_not_checked_without_an_owner() -> None:
    """Below the gate: nobody knows whose it is."""
    (finding,) = judge(complete(), job_end(100, "COMPLETED", owner_uid=None, owner=""))
    assert (finding.alert, build.answer(finding, "owner_or_service").answer) == (False, Checked.NOT_CHECKED)


def test_one_group_of_sources_names_nobody() -> None:
    """All of it is the controller's word."""
    (finding,) = judge(setting(), complete())
    assert finding.actor == ""


def test_two_people_name_nobody() -> None:
    """Both changed it."""
    (finding,) = judge(complete(), complete(99, OTHER))
    assert finding.actor_withheld.startswith("several")


@pytest.mark.parametrize("code", [404, 409, 429, 500])
def test_a_request_without_effect_is_no_attempt(code: int) -> None:
    """Objects change and go meanwhile; only what was forbidden was tried."""
    assert judge(patch(code=code)) == []


def test_a_service_account_before_it_hides_nobody() -> None:
    """The change that is best established decides on the alert; of two identities none is named."""
    map_of = (
        {"id": "u012", "uid": OWNER, "login": "u012", "role": "member"},
        {"id": "u099", "uid": COLLEAGUE, "login": "u099", "role": "member"},
    )
    site = build.site(identities=tuple(IdentitySettings.model_validate(each) for each in map_of))
    pod = patch(50, "system:serviceaccount:llm:default")
    (finding,) = judge(pod, setting(), complete(), at=site)
    assert (finding.alert, finding.actor) == (True, "")
    assert finding.actor_withheld.startswith("several")


def test_whom_to_write_to_stands_in_no_text() -> None:
    """It is often who asked, whose name is withheld."""
    (finding,) = judge(setting(what="mail_user", value="u099@example.org"), setting(97.8), complete())
    assert finding.actor == ""
    assert "u099" not in " ".join(item.summary for item in finding.evidence)
    assert "mail_user set" in [item.summary for item in finding.evidence]


def test_it_says_whose_word_it_judges_by() -> None:
    """The controller's, and the API server's: where one was silent, a finding names it."""
    (finding,) = judge(patch())
    assert {Source.SLURMCTLD, Source.KUBERNETES_AUDIT} <= set(finding.sources)
