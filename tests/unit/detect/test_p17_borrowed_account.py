"""P17: an account that others use, or that is used after its owner left.

# u011 left at 0; the hour of presence and of two places
#
#   u011   login@-1 | login@0 ...            u012   login@0 from the office .. login@3600 from abroad | 3601
"""

from collections.abc import Sequence
from typing import NamedTuple

import pytest

from pipeline.detect.detector import registry
from pipeline.detect.rules.p17_borrowed_account import WITHHELD
from pipeline.model.events import Event
from pipeline.model.finding import Checked, Finding
from pipeline.model.source import Source
from pipeline.settings import IdentitySettings, Role
from pipeline.stream.watermark import Watermarks, bucket_of
from tests import build
from tests.build import BUCKET_MS, CLUSTER, DAY, ms
from tests.build_subjects import (
    ABROAD,
    FOREIGN,
    HOME,
    HOUR,
    KEY,
    PEOPLE,
    asked,
    entered,
    identity_case,
    judge_identity,
    login,
    order,
    run,
    site,
)

ID = "p17_borrowed_account"
LEFT_UID = 5011
DAYS = [login(number * DAY) for number in range(5)]  # u012 comes from the office every day
NOW = 5 * DAY
NAMED_AS_OWN = f"ED25519-CERT {FOREIGN} ID {KEY} (serial 1) CA ED25519 SHA256:of-the-ca"


class Row(NamedTuple):
    """A story of an account; the effects of its findings."""

    name: str
    account: str
    events: Sequence[Event]
    effects: tuple[str, ...] = ()


FIRING = [
    Row("a login after the last day", "u011", [login(60, "u011", "SHA256:own-of-u011")], ("access_after_end",)),
    Row("a job submitted after it", "u011", [run(60, 90, owner=LEFT_UID)], ("access_after_end",)),
    Row("a cancel after it", "u011", [order(60, LEFT_UID)], ("access_after_end",)),
    Row("a key of somebody else", "u012", [login(60, key=FOREIGN)], ("opened_with_foreign_key",)),
    Row("a certificate for that key, named after the account's own", "u012", [login(60, key=NAMED_AS_OWN)], ("opened_with_foreign_key",)),
    Row("from the office, and from abroad within the hour", "u012", [*DAYS, login(NOW), login(NOW + 600, address=ABROAD)], ("two_places",)),
    Row("a colleague becomes its user and cancels", "u012", [entered(60), order(120)], ("entered_by_other",)),
]
SILENT = [
    Row("every day from the office", "u012", DAYS),
    Row("its owner before the end", "u011", [login(-60, "u011", "SHA256:own-of-u011")]),
    Row("an unknown key", "u012", [login(60, key="SHA256:nobody")]),
    Row("a password", "u012", [login(60, key="")]),
    Row("travelling for a day", "u012", [*DAYS, login(NOW + 9 * HOUR, address=ABROAD)]),
    Row("the owner becomes the own user", "u012", [entered(60, by="u012")]),
    Row("requests of its own", "u012", [login(0), order(60), run(90, 100)]),
]
BOUNDARY = [
    Row("at the end itself", "u011", [login(0, "u011", "")], ("access_after_end",)),
    Row("a moment before", "u011", [login(-0.001, "u011", "")]),
    Row("an hour from here to there", "u012", [*DAYS, login(NOW), login(NOW + HOUR, address=ABROAD)], ("two_places",)),
    Row("a moment more", "u012", [*DAYS, login(NOW), login(NOW + HOUR + 0.001, address=ABROAD)]),
]
HARMLESS = [
    Row("job_from_before: it was submitted before the end", "u011", [run(-60, -30, 900, owner=LEFT_UID)]),
    Row("own_key: enrolled for the account too", "u012", [login(60)]),
    Row(
        "usual_network: it came from there before",
        "u012",
        [*DAYS, login(2 * DAY + 9 * HOUR, address=ABROAD), login(NOW), login(NOW + 9, address=ABROAD)],
    ),
]


@pytest.mark.parametrize("row", [*FIRING, *SILENT, *BOUNDARY, *HARMLESS], ids=lambda row: f"{row.account}: {row.name}")
def test_effects(row: Row) -> None:
    """What is said of the account, and nothing else."""
    assert tuple(each.effect for each in judge_identity(ID, row.account, *row.events)) == row.effects


@pytest.mark.parametrize("row", FIRING, ids=lambda row: row.name)
def test_nobody_is_named(row: Row) -> None:
    """Whoever used the account: it is not known that it was its owner, nor that it was the holder of the key."""
    (finding,) = judge_identity(ID, row.account, *row.events)
    assert (finding.actor, finding.actor_withheld) == ("", WITHHELD)
    assert finding.subject.name == row.account
    assert "u099" not in finding.summary
    assert "1 times" not in finding.summary


@pytest.mark.parametrize(
    ("told", "suspects"),
    [
        ([entered(60), order(120)], {"u099"}),
        ([entered(60), entered(90, "adm1"), order(120)], {"u099", "adm1"}),
        ([entered(60, "root"), order(120)], set()),
        ([login(60, key=FOREIGN)], {""}),
        ([*DAYS, login(NOW), login(NOW + 600, address=ABROAD)], {""}),
    ],
    ids=[
        "one who entered",
        "two who entered",
        "root, whose routine it is",
        "the holder of a key may have lost it",
        "nobody knows who came from there",
    ],
)
def test_who_entered_is_suspected(told: list[Event], suspects: set[str]) -> None:
    """The system's log says who became the account's user; nothing says who came by a key or from another place."""
    assert {each.suspect for each in judge_identity(ID, "u012", *told)} == suspects


def only(*events: Event, account: str = "u012", **settings: object) -> Finding:
    (finding,) = judge_identity(ID, account, *events, at=site(**settings))
    return finding


def heard(*spans: tuple[float, float], until: float = 10 * DAY) -> Watermarks:
    """When sshd was, to the bucket; it has passed `until`."""
    told = frozenset(at for start, end in spans for at in range(bucket_of(ms(start), BUCKET_MS), ms(end) + 1, BUCKET_MS))
    return Watermarks({(CLUSTER, Source.SSHD): (ms(until), ms(until))}, {(CLUSTER, Source.SSHD): told}, BUCKET_MS)


def test_a_key_of_somebody_else_is_an_alert() -> None:
    """The map says whose it is, and nothing explains it."""
    finding = only(login(60, key=FOREIGN))
    assert finding.alert
    assert set(build.answers(finding)) == {"service_account", "written_agreement", "own_key", "debugging_together"}


@pytest.mark.parametrize("identities", [("u099",), ("u012",)])
def test_written_agreement_acquits(identities: tuple[str, ...]) -> None:
    """A ticket for either of the two, at that time."""
    ticket = build.ticket(0, 100, identities=identities)
    assert judge_identity(ID, "u012", login(60, key=FOREIGN), at=site(tickets=(ticket,))) == []
    assert judge_identity(ID, "u012", login(160, key=FOREIGN), at=site(tickets=(ticket,))) != []
    elsewhere = build.ticket(0, 100, identities=identities, cluster="west")
    assert judge_identity(ID, "u012", login(60, key=FOREIGN), at=site(tickets=(elsewhere,))) != []


def test_within_grace_acquits() -> None:
    """What the site gives everybody; a moment later it does not."""
    windows = site().windows.model_copy(update={"offboarding_grace_seconds": 3600})
    assert judge_identity(ID, "u011", login(3599, "u011", ""), at=site(detect=windows)) == []
    assert judge_identity(ID, "u011", login(3600, "u011", ""), at=site(detect=windows)) != []


def test_roaming_acquits() -> None:
    """A network of the VPN is no place; where none is named, nobody knows."""
    story = [*DAYS, login(NOW), login(NOW + 600, address=HOME)]
    windows = site().windows.model_copy(update={"roaming_networks": ("10.21.",)})
    assert judge_identity(ID, "u012", *story, at=site(detect=windows)) == []
    assert not only(*story).alert


@pytest.mark.parametrize(("network", "findings"), [("10.21.", 0), ("10.21.0.0/16", 0), (HOME, 0), ("10.2.0.0/16", 1), ("10.21.3.0/31", 1)])
def test_a_network_is_one_of_addresses_and_not_of_texts(network: str, findings: int) -> None:
    """The second login came from 10.21.3.3."""
    story = [*DAYS, login(NOW), login(NOW + 600, address=HOME)]
    assert len(judge_identity(ID, "u012", *story, at=site(detect={"roaming_networks": (network,)}))) == findings


def test_a_gateway_that_is_given_up_is_a_place_again() -> None:
    """By the moment of the login; that it was the only one named leaves nothing unknown."""
    story = [*DAYS, login(NOW), login(NOW + 600, address=HOME)]
    for until, findings in ((NOW + 600.001, 0), (NOW, 1)):
        entry = {"value": "10.21.", "because": "the old VPN", "until": build.ms(until) / 1000}
        found = judge_identity(ID, "u012", *story, at=site(detect={"roaming_networks": (entry,)}))
        assert len(found) == findings
        assert all(build.answer(each, "roaming").answer is Checked.EXCLUDED for each in found)


def test_two_places_are_an_alert_only_where_roaming_networks_are_known() -> None:
    """The address is public and new, and from no gateway."""
    story = [*DAYS, login(NOW), login(NOW + 600, address=ABROAD)]
    windows = site().windows.model_copy(update={"roaming_networks": ("10.21.",)})
    assert not only(*story).alert
    assert only(*story, detect=windows).alert


@pytest.mark.parametrize(
    ("spans", "missing"),
    [
        ([(-DAY, 6 * DAY)], ()),
        ([(0, 6 * DAY)], ()),
        ([(-DAY, 1.5 * DAY), (3.5 * DAY, 6 * DAY)], ("sshd",)),
        ([(-DAY, 2 * DAY), (2 * DAY + 9 * HOUR, 6 * DAY)], ("sshd",)),
        ([(-DAY, 2 * DAY), (2 * DAY + 5 * HOUR, 6 * DAY)], ()),
        ([(number * HOUR, number * HOUR) for number in range(6 * 24)], ()),
        ([(-DAY, 4.5 * DAY)], ("sshd",)),
    ],
    ids=["throughout", "since it is known", "not for two days", "not for a night", "not for some hours", "once an hour", "not of late"],
)
def test_that_it_never_came_from_there_only_sshd_tells(spans: list[tuple[float, float]], missing: tuple[str, ...]) -> None:
    """Of a twentieth of the days that the account is known it need not tell: an outage makes a doubt, and not for ever."""
    (detector,) = [each for each in registry("identity") if each.meta.id == ID]
    story = [*DAYS, login(NOW), login(NOW + 600, address=ABROAD)]
    windows = site().windows.model_copy(update={"roaming_networks": ("10.99.",)})
    (finding,) = detector.judge(identity_case("u012", *story, at=site(detect=windows)), heard(*spans))
    assert build.answer(finding, "usual_network").missing == missing
    assert finding.alert is (not missing)


def test_debugging_together_stays_below_the_gate() -> None:
    """The owner's own login came from the same machine: they sat there together."""
    finding = only(login(0), login(60, key=FOREIGN))
    assert (finding.alert, build.answer(finding, "debugging_together").answer) == (False, Checked.NOT_CHECKED)


@pytest.mark.parametrize(
    ("heard", "missing"),
    [((-DAY, 2 * DAY), ()), ((-DAY, HOUR - 600), ("sshd",)), ((HOUR + 60, 2 * DAY), ("sshd",)), ((-HOUR, HOUR + 60), ())],
    ids=["throughout", "until a moment too early", "only since an hour behind it", "just long enough"],
)
def test_that_the_owner_was_not_there_only_sshd_tells(heard: tuple[float, float], missing: tuple[str, ...]) -> None:
    """Within the hour before and behind; who was not heard then may have come, and the alert waits."""
    told = frozenset(range(bucket_of(ms(heard[0]), BUCKET_MS), ms(heard[1]) + 1, BUCKET_MS))
    now = Watermarks({(CLUSTER, Source.SSHD): (ms(heard[1]), ms(2 * DAY))}, {(CLUSTER, Source.SSHD): told}, BUCKET_MS)
    (detector,) = [each for each in registry("identity") if each.meta.id == ID]
    (finding,) = detector.judge(identity_case("u012", login(60, key=FOREIGN)), now)
    assert build.answer(finding, "debugging_together").missing == missing
    assert finding.alert is (not missing)


def test_one_login_of_several_about_which_sshd_was_heard_is_enough() -> None:
    """The finding begins with the first all the same."""
    (finding,) = judge_identity(ID, "u012", login(-9 * DAY, key=FOREIGN), login(60, key=FOREIGN))
    assert (finding.alert, finding.cause_time) == (True, ms(-9 * DAY))
    (finding,) = judge_identity(ID, "u012", login(-9 * DAY, key=FOREIGN), login(-8 * DAY, key=FOREIGN))
    assert not finding.alert


@pytest.mark.parametrize(
    ("doubtful", "clear", "asked"),
    [
        ([entered(60)], [entered(DAY), order(DAY + 60)], "nothing_done"),
        ([login(0), login(60, key=FOREIGN)], [login(7 * DAY, key=FOREIGN)], "debugging_together"),
    ],
    ids=["looks, and later cancels", "beside the owner, and later alone"],
)
def test_a_doubt_about_one_of_several_does_not_hide_another(doubtful: list[Event], clear: list[Event], asked: str) -> None:
    """Whichever came first; the record of the one that is not explained is cited, however many came before it."""
    finding = only(*doubtful, *clear)
    assert (finding.alert, build.answer(finding, asked).answer) == (True, Checked.EXCLUDED)
    assert finding.cause_time == doubtful[-1].event_time
    assert clear[0].record in {item.event_id for item in finding.evidence}
    assert only(*clear, *doubtful) == finding
    assert not only(*doubtful).alert


def test_of_many_the_one_that_is_not_explained_is_cited() -> None:
    """Somebody looks for an hour each day, and cancels on the last."""
    looks = [entered(number * DAY) for number in range(30)]
    finding = only(*looks, order(29 * DAY + 60))
    assert finding.alert
    assert looks[-1].record in {item.event_id for item in finding.evidence}


def test_until_sshd_has_passed_the_hour_the_owner_may_still_come() -> None:
    """The finding is there at once, and an alert when nobody came."""
    for until, alert in ((HOUR + 59, False), (HOUR + 60, True)):
        (finding,) = judge_identity(ID, "u012", login(60, key=FOREIGN), until=until)
        assert finding.alert is alert


def test_service_account_acquits() -> None:
    """A service may be opened by whom it serves."""
    assert judge_identity(ID, "svc", login(60, "svc", FOREIGN)) == []


def test_an_account_that_several_people_use_acquits() -> None:
    """Whose key opens it says nothing."""
    lab = IdentitySettings(id="lab", uid=5200, login="lab", role=Role.SHARED)
    assert judge_identity(ID, "lab", login(60, "lab", FOREIGN), at=site(identities=(*PEOPLE, lab))) == []
    lab = lab.model_copy(update={"role": Role.MEMBER})
    assert judge_identity(ID, "lab", login(60, "lab", FOREIGN), at=site(identities=(*PEOPLE, lab))) != []


def test_an_account_that_several_people_used_is_closed_to_them_all() -> None:
    """By its end of validity nobody has it any more, whoever had it before."""
    lab = IdentitySettings(id="lab", uid=5200, login="lab", role=Role.SHARED, valid_to=build.ms(50) / 1000)
    found = judge_identity(ID, "lab", login(49, "lab", FOREIGN), login(60, "lab", FOREIGN), at=site(identities=(*PEOPLE, lab)))
    assert [each.summary for each in found if each.effect == "access_after_end"] == [
        "the account was used once after the validity of its owner had ended"
    ]


@pytest.mark.parametrize(
    ("told", "alert"),
    [
        ([entered(60), order(120)], True),
        ([entered(60)], False),
        ([entered(60, "adm1"), order(90)], False),
        ([entered(60), login(100), order(120)], False),
        ([entered(60), order(90), login(100)], True),
        ([entered(60), login(100, key=FOREIGN), order(120)], True),
    ],
    ids=["orders", "looks", "an admin", "its owner is back", "its owner is back too late", "somebody else's key"],
)
def test_support_and_nothing_done_stay_below_the_gate(told: list[Event], alert: bool) -> None:
    """An admin who helps, somebody who only looks, and what the owner orders behind a login of the own are not an alert."""
    assert {each.alert for each in judge_identity(ID, "u012", *told) if each.effect == "entered_by_other"} == {alert}


@pytest.mark.parametrize(
    ("told", "alert"),
    [
        ([login(-600), entered(60), order(120)], False),
        ([login(60), entered(60), order(120)], False),
        ([login(60 - 12 * HOUR), entered(60), order(120)], False),
        ([login(60 - 12 * HOUR - 0.001), entered(60), order(120)], True),
        ([login(-600, key=FOREIGN), entered(60), order(120)], True),
        ([login(-600), entered(60), order(120), asked(119)], True),
        ([login(-600), entered(60), asked(119)], True),
        ([login(-600), entered(60), order(120), asked(119, by=build.OTHER)], False),
        ([login(-600), entered(60), order(120), asked(-60)], False),
        ([login(-600), entered(60), order(120), asked(119, "scontrol", "show", "job", "7")], False),
    ],
    ids=[
        "minutes before",
        "at the same moment",
        "in the morning",
        "a moment earlier",
        "somebody else's key",
        "the kernel tells whose cancel it was",
        "and the scheduler is silent",
        "whose cancel it was, of a third",
        "before he entered",
        "that he looked",
    ],
)
def test_what_was_ordered_may_be_the_owners_who_had_logged_in(told: list[Event], alert: bool) -> None:
    """He may still be there, beside who became his user; only the kernel tells whose login an order came from."""
    (finding,) = (each for each in judge_identity(ID, "u012", *told) if each.effect == "entered_by_other")
    assert (finding.alert, build.answer(finding, "nothing_done").answer is Checked.EXCLUDED) == (alert, alert)


def test_auditd_would_tell_whose_order_it_was() -> None:
    """Where the owner had logged in, and no kernel was heard."""
    story = [login(-600), entered(60), order(120)]
    for silent, missing in (([], ()), ([Source.AUDITD], ("auditd",))):
        (finding,) = judge_identity(ID, "u012", *story, silent=silent)
        assert build.answer(finding, "nothing_done").missing == missing


@pytest.mark.parametrize(
    ("now", "missing"),
    [
        (heard((-DAY, DAY)), ()),
        (heard((-12 * HOUR, HOUR)), ()),
        (heard((-10 * HOUR, DAY)), ("sshd",)),
        (heard((-DAY, -6 * HOUR), (-4 * HOUR, DAY)), ("sshd",)),
        (heard((-DAY, -6 * HOUR), (-5.5 * HOUR, DAY)), ()),
        (heard((-DAY, DAY), until=119), ("sshd",)),
        (heard((-DAY, DAY), until=120), ()),
    ],
    ids=["throughout", "half a day", "not in the morning", "but for two hours", "but for minutes", "not yet", "just"],
)
def test_that_the_owner_had_not_logged_in_only_sshd_tells(now: Watermarks, missing: tuple[str, ...]) -> None:
    """For half a day before until the order; else it waits below the gate."""
    (detector,) = [each for each in registry("identity") if each.meta.id == ID]
    (finding,) = detector.judge(identity_case("u012", entered(60), order(120)), now)
    assert build.answer(finding, "nothing_done").missing == missing
    assert finding.alert is (not missing)
    (finding,) = detector.judge(identity_case("u012", entered(60), order(120), asked(119)), now)
    assert finding.alert


def test_a_corrected_map_takes_events_away() -> None:
    """A uid that proves to have been somebody else's at that time does not count here."""
    corrected = [each for each in build.IDENTITIES if each.id != "u012"]
    moved = build.IDENTITIES[0].model_copy(update={"id": "u055"})
    assert identity_case("u012", order(60), at=site()).orders
    assert not identity_case("u012", order(60), at=site(identities=(*corrected, moved))).orders
