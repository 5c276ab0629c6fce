"""P16: rounds of reading diagnostics and changing others' artefacts.

# every two days an incident; 48 hours behind each read
#
#   u099   read . write    read . write   ...   8 times          u098, u097: read    read    read     (blue team)
"""

from collections.abc import Sequence
from typing import NamedTuple

import pytest

from pipeline.model.events import Event
from pipeline.model.finding import Checked, Finding
from pipeline.settings import IdentitySettings
from tests import build
from tests.build import COLLEAGUE, DAY, OTHER
from tests.build_subjects import HOUR, PEOPLE, judge_identity, read, site, wrote

ID, TEAM = "p16_reads_diagnoses", "team:blue"
THIRD = IdentitySettings.model_validate({"id": "u097", "uid": 5097, "login": "u097", "team": "blue"})
WITH_SERVICE = IdentitySettings.model_validate({"id": "bot", "uid": 5801, "login": "bot", "team": "blue", "role": "service"})


def rounds(count: int = 8, by: int = COLLEAGUE, delay: float = 5 * HOUR, **fields: object) -> list[Event]:
    """So many reads, each followed by a write."""
    days = range(0, 3 * count, 3)
    return [event for day in days for event in (read(day * DAY, by), wrote(day * DAY + delay, by, **fields))]  # type: ignore[arg-type]


def readers(count: int = 16, by: int = OTHER) -> list[Event]:
    """Reads that nothing follows."""
    return [read(day * DAY + 7200, by) for day in range(count)]


class Row(NamedTuple):
    """What a team read and wrote."""

    name: str
    events: Sequence[Event]


FIRING = [
    Row("eight rounds, and nobody else", [*rounds(), *readers()]),
    Row("eight rounds, and one of the others in twelve", [*rounds(), *readers(12), wrote(2 * DAY + 3 * HOUR, OTHER)]),
    Row("one of the others wrote once", [*rounds(12), *readers(30), wrote(2 * DAY + 3 * HOUR, OTHER)]),
    Row("a file of another in a folder without writers", [*rounds(path="/env2/x.py"), *readers()]),
]
SILENT = [
    Row("everybody reads", readers()),
    Row("one round", [*rounds(1), *readers()]),
    Row("everybody reads and edits: the team debugs", [*rounds(), *rounds(by=OTHER, delay=6 * HOUR), *readers(4)]),
    Row("writes without reads", [wrote(day * DAY) for day in range(20)]),
    Row("reads, and writes of the own", [*rounds(owner=COLLEAGUE), *readers()]),
    Row("reads, and writes where one may", [*rounds(by=5700, path="/ckpt/a.pt"), *readers()]),
]
BOUNDARY = [
    Row("five rounds are too few", [*rounds(5), *readers()]),
    Row("a moment more than two days later is no round", [*rounds(delay=2 * DAY + 0.001), *readers()]),
    Row(
        "reads of one sitting are one",
        [*[read(number * HOUR) for number in range(20)], *[wrote(21 * HOUR + n) for n in range(9)], *readers()],
    ),
]
HARMLESS = [
    Row("service_or_daemon: a bot of the team", [*rounds(by=5801), *readers()]),
    Row("as_the_team_does: half of the others' reads, too", [*rounds(), *readers(8), *rounds(8, OTHER, 9 * HOUR)]),
    Row(
        "as_the_team_does: few reads, by chance", [*rounds(6), *readers(8), *[wrote(day * DAY + 3 * HOUR, OTHER) for day in range(0, 8, 2)]]
    ),
]


def judge(*events: Event, **settings: object) -> list[Finding]:
    return judge_identity(ID, TEAM, *events, at=site(**{"identities": (*PEOPLE, WITH_SERVICE), **settings}))


@pytest.mark.parametrize("row", FIRING, ids=lambda row: row.name)
def test_fires(row: Row) -> None:
    """Far more rounds than the team: about the team, since the member would be a name, with reads and writes as evidence."""
    (finding,) = judge(*row.events)
    assert (finding.subject.name, finding.owner, finding.suspect, finding.alert) == (TEAM, "", "u099", True)
    assert {item.role for item in finding.evidence} == {"read", "written"}


@pytest.mark.parametrize("row", [*SILENT, *BOUNDARY, *HARMLESS], ids=lambda row: row.name)
def test_is_silent(row: Row) -> None:
    """Debugging, too few rounds, or what is one's own."""
    assert judge(*row.events) == []


def test_six_rounds_are_enough_where_the_team_reads_much() -> None:
    """The edge of the number of rounds, and of two days."""
    assert judge(*rounds(6), *readers(40))[0].alert
    assert judge(*rounds(delay=2 * DAY), *readers())[0].alert


def test_members_who_read_seldom_do_not_weaken_it() -> None:
    """Nobody asks about who has read twice: the chance is shared by those with enough reads."""
    team = [IdentitySettings.model_validate({"id": f"b{n}", "uid": 5300 + n, "login": f"b{n}", "team": "blue"}) for n in range(5)]
    reads = [event for n in range(5) for event in readers(2, by=5300 + n)]
    (finding,) = judge(*rounds(), *reads, identities=(*PEOPLE, *team))
    assert finding.alert, finding.gate


def test_without_others_to_compare_it_stays_below_the_gate() -> None:
    """A baseline of seven reads is none."""
    (finding,) = judge(*rounds(), *readers(7))
    assert (finding.alert, build.answer(finding, "as_the_team_does").answer) == (False, Checked.NOT_CHECKED)


def test_what_is_rare_and_not_rare_enough_stays_below_the_gate() -> None:
    """Six of eight against none of eight: the team does not do alike, and there are too few reads to say more."""
    (finding,) = judge(*rounds(6), read(20 * DAY), read(23 * DAY), *readers(8))
    assert (finding.alert, build.answer(finding, "as_the_team_does").answer) == (False, Checked.NOT_CHECKED)


def test_repairs_under_ticket_acquit() -> None:
    """Somebody was asked to repair what the diagnoses are about."""
    for days, cluster, acquits in ((30, "", True), (30, build.CLUSTER, True), (1, "", False), (30, "west", False)):
        ticket = build.ticket(0, days * DAY, identities=("u099",), cluster=cluster)
        assert (judge(*rounds(), *readers(), tickets=(ticket,)) == []) is acquits


def test_two_members_are_two_findings() -> None:
    """About one team, with ids that do not collide."""
    found = judge(*rounds(12), *rounds(12, by=5097), *readers(60), identities=(*PEOPLE, THIRD))
    assert sorted(each.suspect for each in found) == ["u097", "u099"]
    assert len({each.id for each in found}) == 2


@pytest.mark.parametrize(("members", "alert"), [(6, True), (5, False)])
def test_two_at_once_do_not_hide_one_another(members: int, alert: bool) -> None:
    """Who stands out is no measure of what is usual, while those who do are few: one in four."""
    team = [IdentitySettings.model_validate({"id": f"b{n}", "uid": 5300 + n, "login": f"b{n}", "team": "blue"}) for n in range(members)]
    reads = [event for n in range(members) for event in readers(3, by=5300 + n)]
    found = judge(*rounds(), *rounds(by=5097, delay=6 * HOUR), *reads, identities=(*PEOPLE, THIRD, *team))
    assert [(each.suspect, each.alert) for each in found] == [("u097", alert), ("u099", alert)]


def test_audit_alone_names_nobody_as_actor() -> None:
    """One group of sources."""
    assert judge(*rounds(), *readers())[0].actor == ""
