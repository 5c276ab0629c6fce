"""Stage cohorts: summaries in, findings on cohorts out, whatever the order."""

from collections.abc import Iterable
from itertools import permutations
from random import Random
from typing import Any

import msgspec
import orjson
import pytest

from pipeline.cohorts.index import Whole
from pipeline.cohorts.step import CohortsState, build_state, step
from pipeline.model.facts import VOID, Fact, cohort_case
from pipeline.model.ids import rank
from pipeline.model.outcome import Publish
from pipeline.model.summary import JobSummary, decode_in_cohort, encode_summary
from pipeline.stream.cases import Cases
from tests import build
from tests.unit.detect.cohorts import learned, paced

COHORT = "configuration/c1"
CASE = cohort_case("main", COHORT)
MEMBERS = [*(paced(number, 1000.0 + number) for number in (0, 1, 2, 7, 8, 9)), *(paced(n, 1400.0, exposed=True) for n in (3, 4, 5))]


def fact(member: JobSummary, revision: int = 1, case: bytes = CASE) -> Fact:
    """What jobs tell, the epoch of the claim before the revision."""
    return Fact(case, member.attempt.name, rank(1, revision), encode_summary(member))


def run(state: CohortsState, facts: Iterable[Fact], **marks: Any) -> list[dict[str, Any]]:
    """Canonical bodies of the findings that a step publishes."""
    _, outcomes = step(state, list(facts), build.now(**marks))
    return [orjson.loads(out.value)["unmapped"]["trainwatch"]["canonical"] for out in outcomes if isinstance(out, Publish)]


def fresh(cases: Cases | None = None) -> CohortsState:
    return build_state(build.settings(), cases or Cases())


def test_a_cohort_gives_its_finding_once() -> None:
    """Told again, it says nothing new."""
    state = fresh()
    (found,) = run(state, map(fact, MEMBERS))
    assert (found["detector"], found["subject"], found["attempt"]) == ("p09_injected_delay", ["cohort", "main", COHORT], None)
    assert run(state, map(fact, MEMBERS)) == []


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_order_does_not_matter(order: tuple[int, ...]) -> None:
    """The last body is the same, however summaries came."""
    thirds = [MEMBERS[:3], MEMBERS[3:6], MEMBERS[6:]]
    state, last = fresh(), {}
    for place in order:
        last.update({found["id"]: found for found in run(state, map(fact, thirds[place]))})
    assert list(last.values()) == run(fresh(), map(fact, MEMBERS))


def test_a_later_word_takes_it_back() -> None:
    """The slow ones prove to have loaded nothing foreign: a corrected identity map, say."""
    state = fresh()
    run(state, map(fact, MEMBERS))
    (taken,) = run(state, [fact(paced(number, 1400.0), revision=2) for number in (3, 4, 5)])
    assert taken["status"] == "retracted"


@pytest.mark.parametrize(("members", "wait"), [(100, 3600), (200, 7200), (3000, 43_200)])
def test_a_large_cohort_is_judged_the_more_seldom_the_larger_it_is(members: int, wait: int) -> None:
    """What was told meanwhile is not lost: it counts when the hours are over."""
    state, many = fresh(), [paced(number, 1020.0) for number in range(20, 11 + members)]
    assert len(run(state, map(fact, [*MEMBERS, *many]))) == 1
    assert run(state, [fact(paced(number, 1020.0), revision=2) for number in (3, 4, 5)]) == []
    assert run(state, [], until=10 * build.DAY + wait - 1) == []
    (taken,) = run(state, [], until=10 * build.DAY + wait)
    assert taken["status"] == "retracted"


def test_an_attempt_that_belongs_elsewhere_leaves() -> None:
    """Void where it was, since its configuration became known later."""
    state = fresh()
    run(state, map(fact, MEMBERS))
    gone = [Fact(CASE, member.attempt.name, rank(1, 2), VOID) for member in MEMBERS[6:]]
    (taken,) = run(state, gone)
    assert taken["status"] == "retracted"


def test_a_restart_says_nothing_new() -> None:
    """What was said stands in the cases."""
    state = fresh()
    run(state, map(fact, MEMBERS))
    assert run(fresh(Cases(state.cases.facts())), []) == []


def test_a_former_owner_of_the_partition_is_late() -> None:
    """The epoch of the claim comes before the revision."""
    state = fresh()
    run(state, map(fact, MEMBERS))
    stale = Fact(CASE, MEMBERS[6].attempt.name, rank(0, 99), encode_summary(paced(3, 1000.0)))
    assert run(state, [stale]) == []


def test_forgetting_day_by_day_takes_nothing_back() -> None:
    """Members go one by one, and with what is left alone nobody would have been found."""
    state = fresh()
    run(state, map(fact, MEMBERS))
    kept = build.settings().retention.cohort_days * 86_400
    said = [found for day in range(12) for found in run(state, [], until=kept + day * 86_400)]
    assert [found["status"] for found in said if found["status"] == "retracted"] == []
    assert CASE not in state.cases


def test_of_what_was_said_long_ago_only_that_is_remembered() -> None:
    """The cohort lives on; its finding stands, takes a few bytes, and is neither taken back nor said again."""
    state = fresh()
    said = run(state, map(fact, MEMBERS))
    remembered = []
    for day in range(0, 3 * build.settings().retention.cohort_days, 10):
        said += run(state, [fact(paced(20 + 24 * day, 1000.0 + day))], until=(4 + day) * build.DAY)
        (only,) = state.index(CASE).emitted.values()
        remembered.append((len(said), len(only.body)))
        state = fresh(Cases(state.cases.facts()))
    assert {each["id"] for each in said} == {only.subject}
    assert {each["status"] for each in said} <= {"provisional", "final"}
    assert remembered[0][1] > 1000
    assert remembered[-1] == (remembered[7][0], 0)


def test_retention_forgets_members_and_takes_nothing_back() -> None:
    """What rested on them stands as it was said."""
    state = fresh()
    run(state, map(fact, MEMBERS))
    assert run(state, [], until=400 * build.DAY) == []
    assert CASE not in state.cases


def test_of_large_attempts_only_the_ends_are_kept() -> None:
    """Of a cohort of sizes nothing else is compared, and it is kept three times as long."""
    case, state = cohort_case("main", "size/256"), fresh()
    run(state, [fact(learned(0, [4.1] * 9, exposed=True), case=case)])
    ((_, body),) = state.cases.of(case).values()
    kept = decode_in_cohort(body)
    assert isinstance(kept, JobSummary)
    assert (kept.steps, kept.pace, kept.arguments, len(kept.exposures)) == ((), None, (), 1)
    assert run(state, [], until=100 * build.DAY) == []
    assert case in state.cases


def test_a_quiet_cohort_is_packed_and_opens_for_a_late_word() -> None:
    """It is judged as if it had never been packed."""
    state = fresh()
    run(state, map(fact, MEMBERS))
    before = dict(state.cases.of(CASE))
    assert run(state, [], until=20 * build.DAY) == []
    assert state.cases.sealed(CASE)
    assert CASE not in state.indexes
    assert dict(state.cases.of(CASE)) == before
    again = fresh(state.cases)
    assert run(again, [], until=20 * build.DAY) == []
    assert again.indexes == {}
    assert run(state, map(fact, MEMBERS), until=20 * build.DAY) == []
    assert CASE not in state.indexes, "what is told again as it was opens nothing"
    (taken,) = run(state, [fact(paced(number, 1400.0), revision=2) for number in (3, 4, 5)], until=20 * build.DAY)
    assert taken["status"] == "retracted"


def test_state_of_an_older_release_is_judged_alike() -> None:
    """Bodies were maps then; what comes on top is not."""
    older = [Fact(CASE, member.attempt.name, rank(1, 1), msgspec.msgpack.encode(member)) for member in MEMBERS]
    state = fresh(Cases(older))
    assert run(state, []) == run(fresh(), map(fact, MEMBERS))
    assert run(state, map(fact, MEMBERS)) == []
    (taken,) = run(state, [fact(paced(number, 1400.0), revision=2) for number in (3, 4, 5)])
    assert taken["status"] == "retracted"


def test_whole_members_are_held_of_the_last_cohorts_only() -> None:
    """The bound counts members; the cohort that is judged stays whatever its size."""
    state = build_state(build.settings(), Cases())
    state.whole = Whole(12)
    cases = [cohort_case("main", f"configuration/c{number}") for number in range(3)]
    for case in cases:
        run(state, [fact(member, case=case) for member in MEMBERS])
    assert [case in state.whole for case in cases] == [False, False, True]


# --- the bound ------------------------------------------------------------------------------------------------------------------


def bounded(members_max: int = 12, cases: Cases | None = None) -> CohortsState:
    """State of a site whose cohorts hold so many members."""
    retention = build.settings().retention.model_copy(update={"cohort_members_max": members_max})
    return build_state(build.settings(retention=retention), cases or Cases())


def flood(count: int = 60, owner: str = "u099") -> list[JobSummary]:
    """Later attempts of one owner, all alike."""
    return [paced(100 + number, 1400.0, owner=owner) for number in range(count)]


@pytest.mark.parametrize("seed", range(6))
def test_who_floods_a_cohort_pushes_out_his_own(seed: int) -> None:
    """In whatever order they come, those of the others stay, and so does what is said."""
    facts = list(map(fact, (*MEMBERS, *flood())))
    Random(seed).shuffle(facts)
    state = bounded()
    for at in range(0, len(facts), 7):
        run(state, facts[at : at + 7])
    kept = state.index(CASE).members
    assert {member.attempt.name for member in MEMBERS} <= set(kept)
    assert {fact.id for fact in facts if fact.id in kept} == {each.attempt.name for each in (*MEMBERS, *flood()[-3:])}
    (said,) = [each for each in state.index(CASE).emitted.values() if each.body]
    assert not said.retracted


def shortened() -> CohortsState:
    """A finding whose siblings later attempts of the same owners have pushed out, slow ones for another reason."""
    state = bounded(10)
    (said,) = run(state, map(fact, MEMBERS))
    later = [paced(100 + number, 1400.0) for number in range(60)]
    assert [each["status"] for each in run(state, map(fact, later)) if each["id"] == said["id"]] in ([], ["final"])
    assert not {each.attempt.name for each in MEMBERS if not each.exposed} & set(state.index(CASE).members)
    return state


def test_what_the_bound_takes_away_takes_no_finding_back() -> None:
    """Nobody has spoken against it; nor does a restart."""
    state = shortened()
    assert run(bounded(10, Cases(state.cases.facts())), []) == []
    (said,) = [each for each in state.index(CASE).emitted.values() if each.body]
    assert not said.retracted


def test_what_is_left_of_an_alert_is_no_word_against_it() -> None:
    """Of its siblings the bound leaves some that are as slow: the comparison of what is left shows less, and the alert stands as it was."""
    state = bounded(20)
    (said,) = run(state, map(fact, [*MEMBERS, *(paced(number, 1010.0 - number) for number in range(-9, 0))]))
    assert said["alert"]
    later = [paced(100 + number, 1000.0 + 400 * (number % 3 == 0)) for number in range(60)]
    assert [each for each in run(state, map(fact, later)) if each["id"] == said["id"] and not each["alert"]] == []
    assert run(bounded(20, Cases(state.cases.facts())), []) == []
    (taken,) = run(state, [fact(paced(number, 1400.0), revision=2) for number in (3, 4, 5)])
    assert taken["status"] == "retracted"


def test_what_the_site_puts_up_with_is_no_alert_though_the_bound_took_members() -> None:
    """An operator's word is none of what the bound has taken."""
    state, siblings = bounded(20), [paced(number, 1010.0 - number) for number in range(-9, 0)]
    run(state, map(fact, [*MEMBERS, *siblings]))
    run(state, [fact(paced(number, 1000.0)) for number in range(20, 26)])
    (said,) = state.index(CASE).shortened
    borne = {"detector": "p09_injected_delay", "because": "known", "subject": COHORT, "until": 4_000_000_000}
    retention = build.settings().retention.model_copy(update={"cohort_members_max": 20})
    settings = build.settings(detect={"suppressions": [borne]}, retention=retention)
    (held,) = run(build_state(settings, Cases(state.cases.facts())), [])
    assert (held["id"], held["alert"], held["gate"].partition(" until")[0]) == (said, False, "suppressed")


def test_a_word_against_it_counts_though_one_that_it_cites_is_forgotten() -> None:
    """Of five slow ones one proves to have loaded nothing foreign when the first is forgotten: what is left is no alert."""
    state, siblings = fresh(), [paced(number, 1000.0 + number) for number in range(20, 25)]
    slow = [paced(number, 1400.0, exposed=True) for number in (3, 4, 5, 10, 11)]
    (said,) = run(state, map(fact, [*siblings, *slow]))
    assert said["alert"]
    later = {"until": (4 + build.settings().retention.cohort_days) * 86_400}
    assert all(each["alert"] for each in run(state, [], **later))
    assert len(state.index(CASE).members) == 9
    corrected = fact(paced(11, 1400.0), revision=2)
    assert [(each["id"], each["alert"]) for each in run(state, [corrected], **later)] == [(said["id"], False)]


def test_what_speaks_against_it_does_all_the_same() -> None:
    """Those that it cites, and that are left, prove to have loaded nothing foreign."""
    state = shortened()
    (taken,) = run(state, [fact(paced(number, 1400.0), revision=2) for number in (3, 4, 5)])
    assert taken["status"] == "retracted"
