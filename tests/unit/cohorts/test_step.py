"""Stage cohorts: summaries in, findings on cohorts out, whatever the order."""

from collections.abc import Iterable
from itertools import permutations
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
