"""The identities stage: facts about people in, findings about accounts out; in any order, over restarts, within bounds."""

import random
from collections.abc import Iterable, Sequence
from typing import Any, cast

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.identities.index import IdentityIndex
from pipeline.identities.step import build_state, step
from pipeline.model.conduct import Conduct, Folder
from pipeline.model.events import Event
from pipeline.model.facts import Fact, incidents_case
from pipeline.model.incident import BLOCK_DAYS, BY_OTHER, ENTERED, MANY, LoggedIn, Way, decode_in_case, encode_in_case, entered_id, short
from pipeline.model.instants import DAY_MS
from pipeline.model.outcome import Outcome, Publish, Tell
from pipeline.model.told import Displaced
from pipeline.settings import Settings
from pipeline.stream.cases import Cases
from tests import build
from tests.build import COLLEAGUE, DAY, OTHER
from tests.build_subjects import (
    ABROAD,
    FOREIGN,
    HOUR,
    KEY,
    LEFT,
    OFFICE,
    PEOPLE,
    ROOTS,
    asked,
    entered,
    login,
    now,
    order,
    read,
    run,
    sudo,
    wrote,
)


def settings(**changes: Any) -> Settings:
    return build.settings(**{"identities": (*PEOPLE, LEFT), "artefact_roots": ROOTS, **changes})


def facts(*events: Event, **changes: Any) -> list[Fact]:
    """What ingest tells identities of these events."""
    site = settings(**changes)
    conduct = Conduct(site.directory(), [Folder(root.path + "/", root.kind) for root in site.artefact_roots])
    return [tell.fact for event in events for tell in conduct.of(event) if tell.stage == "identities"]


def cases_of(told: Iterable[Fact]) -> set[str]:
    return {fact.case.decode().partition("\x1f")[2] for fact in told}


def public(outcomes: Iterable[Outcome]) -> list[Publish]:
    """What is published; incidents are told the same."""
    return [out for out in outcomes if isinstance(out, Publish)]


def bodies(outcomes: Iterable[Outcome]) -> dict[str, bytes]:
    """The last canonical body under each id that was not taken back."""
    last: dict[str, Any] = {}
    for out in public(outcomes):
        body = orjson.loads(out.value)["unmapped"]["trainwatch"]["canonical"]
        last[body["id"]] = body
    return {name: orjson.dumps(body) for name, body in last.items() if body["status"] != "retracted"}


def effects(found: dict[str, bytes]) -> list[str]:
    return sorted(orjson.loads(body)["effect"] for body in found.values())


# --- what is told of whom -------------------------------------------------------------------------------------------------------

TOLD: dict[str, tuple[Event, set[str]]] = {
    "a login: the account, not the key's holder": (login(0, key=FOREIGN), {"u012"}),
    "a login after the last day: who had the account last": (login(60, "u011", ""), {"u011"}),
    "an unknown account: itself": (login(0, "guest", ""), {"login:guest"}),
    "a job: who submitted it": (run(0, 10), {"u012"}),
    "a job from before the last day": (run(-60, -30, 500, owner=5011), {"u011"}),
    "an order: who gave it": (order(0, COLLEAGUE), {"u099"}),
    "su: whose user was entered": (entered(0), {"u012"}),
    "a request under another's uid: whose it is": (asked(0), {"u012"}),
    "another command under it: nobody": (asked(0, "scontrol", "show", "job", "7"), set()),
    "a request under the own uid: nobody, the scheduler tells it": (asked(0, by=build.OWNER), set()),
    "sudo to root: nobody, the host is told": (sudo(0, "/usr/bin/nvidia-smi -pl 200"), set()),
    "a page that was read: the team": (read(0), {"team:blue"}),
    "a write of an artefact: the team": (wrote(0), {"team:blue"}),
    "a write elsewhere: nobody": (wrote(0, path="/home/u099/x"), set()),
    "a person without a team: himself": (read(0, build.ADMIN), {"adm1"}),
    "a service: nobody, it would be millions": (login(0, "svc", ""), set()),
}


@pytest.mark.parametrize(("event", "cases"), TOLD.values(), ids=TOLD)
def test_facts_go_to_whom_they_concern(event: Event, cases: set[str]) -> None:
    """One person, or his team; by the map of that time."""
    assert cases_of(facts(event)) == cases


def test_what_is_done_over_and_over_is_one_fact_of_a_span() -> None:
    """A thousand logins of a script within ten minutes are one fact, the first, in whatever order they come."""
    logins = [login(number / 10) for number in range(1000)]
    random.Random(1).shuffle(logins)
    cases = Cases()
    for fact in facts(*logins):
        cases.merge(fact)
    (case,) = list(cases)
    assert len(cases.of(case)) == 1
    assert login(0).id.encode() in next(iter(cases.of(case).values()))[1]


@pytest.mark.parametrize("seed", range(3))
def test_of_orders_the_first_of_an_hour_and_the_last_of_ten_minutes_are_told(seed: int) -> None:
    """What its owner ordered in the same hour does not hide what others do with the account; a script's orders stay a few facts."""
    orders = [order(number) for number in range(HOUR)]
    random.Random(seed).shuffle(orders)
    state, _ = step(build_state(settings(), Cases()), facts(*orders), now(2 * HOUR))
    (index,) = state.indexes.values()
    assert len(index.told) == 7
    assert [each.event_time for each in index.case(state.site).orders] == [build.ms(at) for at in (0, *range(599, HOUR, 600))]


@pytest.mark.parametrize("seed", range(3))
def test_an_order_of_the_owners_hides_none_that_another_gives_in_the_same_hour(seed: int) -> None:
    """Both cancel within minutes; in any order of arrival."""
    told = facts(order(60), entered(360), order(400))
    random.Random(seed).shuffle(told)
    found = bodies(step(build_state(settings(), Cases()), told, now(DAY))[1])
    assert [orjson.loads(body)["alert"] for body in found.values()] == [True]


def test_an_order_that_is_told_twice_is_one() -> None:
    """The first of an hour, and the last of ten minutes."""
    found = bodies(step(build_state(settings(), Cases()), facts(order(60, 5011)), now(DAY))[1])
    assert ["once" in orjson.loads(body)["summary"] for body in found.values()] == [True]


def test_steps_tell_the_host_how_fast_it_is_once_in_five_minutes() -> None:
    """Of the steps of a log the first of a span; the line behind it tells nothing new."""
    conduct = Conduct(settings().directory(), [])
    told = [tell for at in range(0, 600, 10) for tell in conduct.of(build.event(at, *_step(at)[:2], host=build.HOST, job="7"))]
    assert [tell.stage for tell in told] == ["hosts", "hosts"]


def _step(at: int) -> tuple[Any, Any]:
    made = build.iteration(at, at)
    return made.source, made.body


# --- judging --------------------------------------------------------------------------------------------------------------------

STORY: Sequence[Event] = (
    *(login(number * DAY) for number in range(5)),
    login(5 * DAY, key=FOREIGN),
    login(5 * DAY + 900, address=ABROAD),
    entered(6 * DAY),
    order(6 * DAY + 60),
    login(HOUR, "u011", ""),
    *(event for day in range(0, 24, 3) for event in (read(day * DAY), wrote(day * DAY + HOUR))),
    *(read(day * DAY + 7200, OTHER) for day in range(16)),
)  # fmt: skip
EFFECTS = ["access_after_end", "entered_by_other", "opened_with_foreign_key", "rounds_of_reading_and_writing", "two_places"]


@pytest.mark.parametrize("seed", range(12))
def test_any_order_and_any_batches_leave_the_same_last_bodies(seed: int) -> None:
    """Facts repeated, displaced and cut anywhere, with marks in between."""
    dice = random.Random(seed)
    told = facts(*STORY)
    base = bodies(step(build_state(settings(), Cases()), told, now(60 * DAY))[1])
    assert effects(base) == EFFECTS
    shuffled = [*told, *dice.sample(told, len(told) // 2)]
    dice.shuffle(shuffled)
    state, outcomes = build_state(settings(), Cases()), []
    size = dice.randrange(1, 9)
    for at in range(0, len(shuffled), size):
        state, more = step(state, shuffled[at : at + size], now(-DAY))
        outcomes += more
    state, more = step(state, [], now(60 * DAY))
    assert bodies([*outcomes, *more]) == base


def test_a_restart_says_nothing_again_and_goes_on() -> None:
    """Provisional before, final after; what was said is in the case."""
    told = facts(login(0, key=FOREIGN))
    cases = Cases()
    _, first = step(build_state(settings(), cases), told, now(60))
    _, again = step(build_state(settings(), Cases(cases.facts())), told, now(60))
    _, later = step(build_state(settings(), Cases(cases.facts())), [], now(DAY))
    assert (len(public(first)), len(public(again)), len(public(later))) == (1, 0, 1)
    assert [orjson.loads(body)["status"] for body in bodies(later).values()] == ["final"]


def test_a_corrected_map_takes_a_finding_back() -> None:
    """The key proves to be the account's own."""
    told = facts(login(0, key=FOREIGN))
    cases = Cases()
    step(build_state(settings(), cases), told, now(DAY))
    own = [each.model_copy(update={"names": {"key": (FOREIGN,)}}) if each.id == "u012" else each for each in PEOPLE if each.id != "u099"]
    _, later = step(build_state(settings(identities=tuple(own)), Cases(cases.facts())), [], now(DAY))
    assert len(public(later)) == 1
    assert bodies(later) == {}


def test_what_is_forgotten_is_neither_judged_nor_taken_back() -> None:
    """Ninety days later the login is gone, and what was said of it stands."""
    cases = Cases()
    state = build_state(settings(), cases)
    state, first = step(state, facts(login(0, key=FOREIGN), login(80 * DAY)), now(DAY))
    assert len(public(first)) == 1
    state, then = step(state, [], now(100 * DAY))
    state, behind = step(state, facts(login(101 * DAY)), now(102 * DAY))
    assert public(then) == public(behind) == []
    assert len(state.index(facts(login(0))[0].case).told) == 2
    _, restarted = step(build_state(settings(), Cases(cases.facts())), facts(login(102 * DAY)), now(102 * DAY))
    assert public(restarted) == []


def test_what_is_said_again_after_the_retention_goes_on_counting() -> None:
    """Of what was said ninety days ago only that is remembered: a later word under the same id is not behind it."""
    state = build_state(settings(), Cases())
    state, first = step(state, facts(login(0, key=FOREIGN), login(80 * DAY)), now(DAY))
    state, _ = step(state, [], now(100 * DAY))
    (only,) = state.index(facts(login(0))[0].case).emitted.values()
    assert only.body == b""
    state = build_state(settings(), Cases(state.cases.facts()))
    _, again = step(state, facts(login(101 * DAY, key=FOREIGN)), now(102 * DAY))
    said = [orjson.loads(out.value)["unmapped"]["trainwatch"] for out in public([*first, *again])]
    assert len({each["canonical"]["id"] for each in said}) == 1
    assert [each["transport"]["revision"] for each in said] == [1, 2]


def test_incidents_are_told_on_which_days_and_how_an_account_was_entered() -> None:
    """Once for each way of a day, but for refused logins; by a foreign key it is no day of his."""
    refused = msgspec.structs.replace(login(DAY), body=msgspec.structs.replace(login(DAY).body, outcome="failed"))
    state, first = step(
        build_state(settings(), Cases()), facts(login(0), login(60), refused, login(DAY, key="SHA256:nobodys")), now(2 * DAY)
    )
    state, second = step(state, facts(login(3 * DAY)), now(4 * DAY))
    state, third = step(state, facts(login(3 * DAY + 60)), now(5 * DAY))
    told = [[tell.fact for tell in each if isinstance(tell, Tell) and tell.fact.id.startswith(ENTERED)] for each in (first, second, third)]
    day = build.T0 // DAY_MS
    own, other = (Way(0, "publickey", short(key), short(OFFICE)) for key in (KEY, "SHA256:nobodys"))
    ways = [msgspec.structs.replace(way, day=day + later) for way, later in ((own, 0), (other, 1), (own, 3))]
    said = [[decode_in_case(fact.body) for fact in each] for each in told]
    assert said == [[LoggedIn((day,), tuple(ways[:2]))], [LoggedIn((day, day + 3), tuple(ways))], []]
    assert {fact.id for each in told for fact in each} == {entered_id("u012", day // BLOCK_DAYS)}
    assert told[0][0].rank < told[1][0].rank


def test_who_became_the_user_of_an_account_is_no_login_to_it() -> None:
    """And is told all the same; its owner's own su is not."""
    _, told = step(build_state(settings(), Cases()), facts(entered(0), entered(700, by="u012")), now(DAY))
    (fact,) = [each.fact for each in told if isinstance(each, Tell) and each.fact.id.startswith(ENTERED)]
    assert decode_in_case(fact.body) == LoggedIn((), (Way(build.T0 // DAY_MS, f"{BY_OTHER}su {short('u099')}", "", ""),))


def test_an_account_that_is_entered_from_everywhere_tells_its_keys_alone() -> None:
    """A fact stays small, whatever a robot does; who else became its user is said."""
    logins = [login(at, address=f"10.20.{at}.1") for at in range(40)]
    _, told = step(build_state(settings(), Cases()), facts(*logins, entered(60)), now(DAY))
    facts_told = [each.fact for each in told if isinstance(each, Tell) and each.fact.id.startswith(ENTERED)]
    day, ways = build.T0 // DAY_MS, cast("LoggedIn", decode_in_case(facts_told[-1].body)).ways
    assert ways == (Way(day, f"{BY_OTHER}su {short('u099')}", "", "", 60_000), Way(day, MANY, short(KEY), ""))


@given(times=st.lists(st.integers(0, 86_399), min_size=1, max_size=12, unique=True), cut=st.integers(0, 12), data=st.data())
def test_since_when_an_account_is_entered_so_does_not_depend_on_order(times: list[int], cut: int, data: st.DataObject) -> None:
    """The first login of a day by a way is told, however late it is heard of."""
    memory = Cases()
    state, shuffled = build_state(settings(), Cases()), data.draw(st.permutations(times))
    for batch in (shuffled[:cut], shuffled[cut:]):
        state, told = step(state, facts(*map(login, batch)), now(2 * DAY))
        for each in told:
            if isinstance(each, Tell) and each.fact.id.startswith(ENTERED):
                memory.merge(each.fact)
    ((_, body),) = memory.of(incidents_case("main")).values()
    assert [way.first for way in cast("LoggedIn", decode_in_case(body)).ways] == [min(times) * 1_000]


def test_logins_told_by_a_release_before_are_told_again_with_their_times() -> None:
    """What it told had no times and a rank of three numbers: it is replaced."""
    _, told = step(build_state(settings(), Cases()), facts(login(60)), now(DAY))
    (fact,) = [each.fact for each in told if isinstance(each, Tell) and each.fact.id.startswith(ENTERED)]
    said = cast("LoggedIn", decode_in_case(fact.body))
    before = LoggedIn(said.days, tuple(msgspec.structs.replace(way, first=0) for way in said.ways))
    memory = Cases()
    memory.merge(msgspec.structs.replace(fact, rank=fact.rank[:24], body=encode_in_case(before)))
    assert memory.merge(fact)


def test_logins_that_are_forgotten_here_stay_known_to_incidents() -> None:
    """A campaign may last longer than logins are kept: each block of days is a fact of its own, and a later one does not replace it."""
    memory = Cases()
    state = build_state(settings(), Cases())
    for day in (0, 10, 40, 80, 120, 160):
        state, told = step(state, facts(login(day * DAY)), now((day + 1) * DAY))
        for each in told:
            if isinstance(each, Tell) and each.fact.id.startswith(ENTERED):
                memory.merge(each.fact)
    known = [day for _, body in memory.of(incidents_case("main")).values() for day in cast("LoggedIn", decode_in_case(body)).days]
    assert sorted(day - build.T0 // DAY_MS for day in known) == [0, 10, 40, 80, 120, 160]


def test_a_flood_of_a_day_does_not_push_out_other_days() -> None:
    """The bound holds for each kind and day; the earliest stay, whatever order they come in."""
    index = IdentityIndex("main", "u012", day_facts_max=10)
    events = [order(DAY + number) for number in range(50)] + [order(3 * DAY)]
    random.Random(3).shuffle(events)
    for event in events:
        index.add(event.id, event)
    kept = sorted(event.event_time for event in index.told.values() if isinstance(event, Event))
    assert kept == [build.ms(DAY + number) for number in range(10)] + [build.ms(3 * DAY)]


def test_a_flood_that_anybody_may_send_pushes_out_nothing() -> None:
    """It has a bound of its own."""
    index = IdentityIndex("main", "u012", day_facts_max=10)
    flood = [msgspec.structs.replace(order(DAY + number), id=f"{number}", unproven=True) for number in range(50)]
    for event in (*flood, order(DAY + 60)):
        index.add(event.id, event)
    assert order(DAY + 60).id in index.told
    assert len(index.told) == 11
    by, victim = build.attempt("8"), build.attempt("7")
    for number, event in enumerate((*flood, order(DAY + 60))):
        index.add(f"displaced-{number}", Displaced(victim, build.OWNER, by, event))
    assert "displaced-50" in index.told


def test_only_incidents_are_told() -> None:
    """Jobs do not wait for what is said of people."""
    _, outcomes = step(build_state(settings(), Cases()), facts(*STORY), now(DAY))
    assert {out.stage for out in outcomes if isinstance(out, Tell)} <= {"incidents"}


def test_a_large_account_is_looked_at_less_often() -> None:
    """A fifth of a second of event time for a thousand facts, from five thousand on; what was told meanwhile counts at the next look."""
    state = build_state(settings(), Cases())
    step(state, facts(*(run(60 * number, 60 * number + 1, 60 * number + 2, str(number)) for number in range(5_500))), now(until=4 * DAY))
    until = 4 * DAY + 600
    _, first = step(state, facts(login(until - 300, key=FOREIGN)), now(until=until))
    assert len(public(first)) == 1
    _, none = step(state, facts(login(until + 1, key=FOREIGN, address=ABROAD)), now(until=until + 1))
    assert not public(none)
    _, again = step(state, [], now(until=until + 2))
    assert public(again)
