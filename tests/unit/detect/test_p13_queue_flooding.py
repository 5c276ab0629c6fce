"""P13: a flood of jobs that hold GPUs, do no work and displace others.

# one hour; twenty jobs, twice the busiest hour before, three victims
#
#   jobs   . . . . (12 in a month, all at work)   |25 in half a minute| 4 preempted for them, or 3 of others wait until they end
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import pytest

from pipeline.model.events import Event, JobRecord
from pipeline.model.finding import Checked, Finding, Severity
from pipeline.model.source import Source
from pipeline.model.told import Displaced, Worked
from pipeline.settings import Role
from tests import build
from tests.build import COLLEAGUE, DAY, OTHER
from tests.build_subjects import HOUR, flood, judge_identity, run, site, usual, worked

ID = "p13_queue_flooding"
AT = 30 * DAY
Told = Event | Displaced | Worked


def sweep(share: int, at: float = AT) -> list[Told]:
    """The same jobs, of which so many train."""
    return [*flood(at=at), *(worked(at + number, at + 100 + number, str(9000 + number)) for number in range(share))]


def waiters(*people: int | None) -> list[Told]:
    """Attempts that had waited for an hour when they began behind one of the jobs; None: nobody says whose."""
    told: list[Told] = []
    for number, uid in enumerate(people):
        began, submit = AT + 3 * HOUR, AT + 2 * HOUR
        record = run(submit, began, job=str(700 + number), owner=uid or OTHER)
        by = build.attempt(str(9000 + number), AT + 100 + number, AT + number)
        told.append(Displaced(build.attempt(str(700 + number), began, submit), uid, by, record, waited=True))
    return told


def cancelled_at(record: Event, after: float) -> Event:
    """The same job, cancelled so many seconds behind its start."""
    assert isinstance(record.body, JobRecord)
    body = msgspec.structs.replace(record.body, state="CANCELLED", end=(record.body.start or 0) + round(after * 1000))
    return msgspec.structs.replace(record, body=body)


class Row(NamedTuple):
    """What the account did; whether it is a flood."""

    name: str
    told: Sequence[Told]


FIRING = [
    Row("holders that displace others", [*usual(), *flood()]),
    Row("many more", [*usual(), *flood(60, 20)]),
    Row("a few of them print steps", [*usual(), *sweep(4)]),
]
WAITED = [
    Row("three people wait behind them", [*usual(), *flood(victims=0), *waiters(COLLEAGUE, OTHER, 5070)]),
    Row("two are preempted, a third waits", [*usual(), *flood(victims=2), *waiters(OTHER, 5070)]),
]
SILENT = [
    Row("what it usually does", usual()),
    Row("two people wait behind them, and somebody of whom nobody knows who", [
        *usual(), *flood(victims=0), *waiters(COLLEAGUE, OTHER, None),
    ]),
    Row("two people wait behind them, one of them often", [*usual(), *flood(victims=0), *waiters(COLLEAGUE, OTHER, OTHER, OTHER)]),
    Row(
        "three wait behind a sweep",
        [*usual(), *(each for each in sweep(25) if not isinstance(each, Displaced)), *waiters(COLLEAGUE, OTHER, 5070)],
    ),
    Row("three wait behind jobs as many as ever", [*usual(), *waiters(COLLEAGUE, OTHER, 5070)]),
    Row("a burst that displaces nobody: a deadline rush in an idle cluster", [*usual(), *flood(victims=0)]),
    Row("a reservation that waits", [*usual(), *[run(AT + number, job=str(number)) for number in range(40)]]),
    Row("one large job that crashes and comes again", [*usual(), *[run(AT, AT + 60 * n, AT + 60 * n + 9, job="77") for n in range(1, 50)]]),
    Row("jobs spread over the day", [*usual(), *[run(AT + number * HOUR, job=str(number)) for number in range(24)]]),
]  # fmt: skip
BOUNDARY = [
    Row("nineteen jobs are none", [*usual(), *flood(19)]),
    Row("two victims are the scheduler's daily business", [*usual(), *flood(victims=2)]),
    Row("at work: one in five", [*usual(), *sweep(5)]),
    Row("half an hour each", [*usual(), *flood(took=1800)]),
]
HARMLESS = [
    Row("evaluation: short jobs", [*usual(), *flood(took=600)]),
    Row("at_work: a sweep trains", [*usual(), *sweep(25)]),
    Row("usual_for_the_account: so it was last week", [*usual(), *flood(20, 0, at=AT - 7 * DAY), *flood()]),
    Row("usual_for_the_account: so many trained last week", [*usual(), *sweep(25, AT - 7 * DAY), *flood()]),
    Row("usual_for_the_account: so many were evaluated last week", [*usual(), *flood(took=600, at=AT - 7 * DAY), *flood()]),
]


@pytest.mark.parametrize("row", FIRING, ids=lambda row: row.name)
def test_fires(row: Row) -> None:
    """All three together are an alert."""
    (finding,) = judge_identity(ID, "u012", *row.told)
    assert (finding.effect, finding.alert, finding.subject.name, finding.owner) == ("queue_flooded", True, "queue/", "")
    assert {item.role for item in finding.evidence} == {"cause", "effect"}


@pytest.mark.parametrize("row", WAITED, ids=lambda row: row.name)
def test_who_only_waits_counts_when_several_people_do(row: Row) -> None:
    """It is an alert, and weighs less; the finding says who waited for how long, and cites it."""
    (finding,) = judge_identity(ID, "u012", *row.told)
    assert (finding.alert, finding.severity, finding.actor) == (True, Severity.LOW, "")
    assert "kept waiting" in finding.summary
    assert any("waited 60 minutes" in item.summary for item in finding.evidence)


@pytest.mark.parametrize("row", [*SILENT, *BOUNDARY, *HARMLESS], ids=lambda row: row.name)
def test_is_silent(row: Row) -> None:
    """One of the three is missing, or a record explains it."""
    assert judge_identity(ID, "u012", *row.told) == []


def only(*told: Told, **settings: object) -> Finding:
    (finding,) = judge_identity(ID, "u012", *told, at=site(**settings))
    return finding


@pytest.mark.parametrize(
    ("earlier", "floods"),
    [
        ([*flood(at=AT - 7 * DAY)], 2),
        ([*flood(60, at=AT - 20 * DAY), *flood(60, at=AT - 7 * DAY)], 3),
        ([*flood(60, at=AT - 7 * DAY), *(run(AT - 7 * DAY + 4000 + number, job=str(number)) for number in range(25))], 2),
        ([*flood(22, at=AT - 2 * HOUR)], 2),
        ([*flood(30, at=AT + 9 * HOUR)], 1),
    ],
    ids=["a week before", "twice before", "whose last jobs displaced nobody", "late on the day before", "a greater one later that day"],
)
def test_a_flood_makes_nothing_usual(earlier: list[Told], floods: int) -> None:
    """Who floods the queue again is no less a flooder: of each day the greatest is told."""
    found = judge_identity(ID, "u012", *usual(), *earlier, *flood())
    assert [(each.alert, build.answer(each, "usual_for_the_account").answer) for each in found] == [(True, Checked.EXCLUDED)] * floods


def test_days_of_floods_alone_are_no_past() -> None:
    """What the account usually does nobody knows then."""
    told = [*flood(at=AT - 7 * DAY), *flood(), *(worked(day, day + 60, str(day)) for day in (1, 2, 3))]
    found = judge_identity(ID, "u012", *told)
    assert [(each.alert, build.answer(each, "usual_for_the_account").answer) for each in found] == [(False, Checked.NOT_CHECKED)] * 2


def test_one_more_is_a_flood() -> None:
    """The other side of each edge above."""
    assert only(*usual(), *flood(20)).alert
    assert only(*usual(), *flood(victims=3)).alert
    assert only(*usual(), *flood(took=1801)).alert


@pytest.mark.parametrize(
    ("told", "explanation"),
    [
        ([*usual(seen=False), *flood()], "at_work"),
        ([*flood(), worked(0, 60, "1"), worked(0, 60, "2"), worked(0, 60, "3")], "usual_for_the_account"),
    ],
)
def test_what_is_not_known_stays_below_the_gate(told: list[Told], explanation: str) -> None:
    """Steps that are written elsewhere, an account without a past."""
    finding = only(*told)
    assert (finding.alert, build.answer(finding, explanation).answer) == (False, Checked.NOT_CHECKED)


def test_idle_means_nothing_while_no_output_arrives() -> None:
    """Of nobody at all; or not yet, of the first hour in which they ran."""
    (finding,) = judge_identity(ID, "u012", *usual(), *flood(), silent=[Source.TRAINING])
    assert (finding.alert, build.answer(finding, "at_work").answer) == (False, Checked.NOT_CHECKED)
    assert build.answer(finding, "at_work").missing == ("training",)
    (finding,) = judge_identity(ID, "u012", *usual(), *flood(), until=AT + HOUR)
    assert not finding.alert


def test_what_ends_days_later_changes_nothing() -> None:
    """When the window has closed nobody looks again: an end that no watermark has passed yet would leave the flood below the gate."""
    long = flood(took=3 * DAY)
    for until in (AT + 2 * HOUR, AT + 2 * DAY, AT + 3 * DAY + 100, AT + 10 * DAY):
        (finding,) = judge_identity(ID, "u012", *usual(), *long, until=until)
        assert (finding.alert, build.answer(finding, "at_work").answer) == (True, Checked.EXCLUDED)


def test_evaluation_is_not_known_while_the_jobs_run() -> None:
    """A short job and a long one begin alike."""
    still = [run(AT + number, AT + 100 + number, job=str(9000 + number)) for number in range(25)]
    finding = only(*usual(), *still, *(each for each in flood() if isinstance(each, Displaced)))
    assert (finding.alert, build.answer(finding, "evaluation").answer) == (False, Checked.NOT_CHECKED)


@pytest.mark.parametrize(("cancelled", "took", "alert"), [(13, 300, False), (13, 1801, True), (12, 300, None)])
def test_jobs_that_were_cancelled_soon_are_no_evaluation(cancelled: int, took: float, alert: bool | None) -> None:
    """Others had been preempted for them all the same: whoever floods a queue can take his jobs back.  None: no finding."""
    told = [*usual(), *flood(took=600 if took == 300 else took)]
    back = [each for each in told if isinstance(each, Event) and getattr(each.body, "job", "").startswith("90")][:cancelled]
    changed = [cancelled_at(each, took) if each in back else each for each in told]
    found = judge_identity(ID, "u012", *changed)
    assert [each.alert for each in found] == ([] if alert is None else [alert])
    assert all(build.answer(each, "evaluation").answer is (Checked.EXCLUDED if alert else Checked.NOT_CHECKED) for each in found)


def test_written_agreement_acquits() -> None:
    """A ticket names the account: the queue was handed over."""
    ticket = build.ticket(AT - 60, AT + DAY, identities=("u012",))
    assert judge_identity(ID, "u012", *usual(), *flood(), at=site(tickets=(ticket,))) == []


def test_an_account_that_several_people_use_is_judged() -> None:
    """Whose hand flooded the queue nobody knows; that several may use the account is no reason to submit so much."""
    shared = [each.model_copy(update={"role": Role.SHARED}) for each in build.IDENTITIES if each.id == "u012"]
    (finding,) = judge_identity(ID, "u012", *usual(), *flood(), at=site(identities=tuple(shared)))
    assert (finding.alert, build.answer(finding, "service_account").answer) == (True, Checked.EXCLUDED)


def test_service_account_acquits() -> None:
    """An evaluation service submits by the hundred."""
    service = [each.model_copy(update={"role": Role.SERVICE}) for each in build.IDENTITIES if each.id == "u012"]
    assert judge_identity(ID, "u012", *usual(), *flood(), at=site(identities=tuple(service))) == []
