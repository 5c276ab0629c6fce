"""Stage cohorts: summaries in, findings on cohorts out, whatever the order."""

from collections.abc import Iterable
from itertools import permutations
from typing import Any

import orjson
import pytest

from pipeline.incidents.cohorts import CohortsState, build_state, step
from pipeline.model.facts import VOID, Fact, cohort_case
from pipeline.model.ids import rank
from pipeline.model.outcome import Publish
from pipeline.model.summary import JobSummary, encode_summary
from pipeline.stream.cases import Cases
from tests import build
from tests.unit.detect.cohorts import paced

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


def test_retention_forgets_members_and_takes_nothing_back() -> None:
    """What rested on them stands as it was said."""
    state = fresh()
    run(state, map(fact, MEMBERS))
    assert run(state, [], until=400 * build.DAY) == []
    assert CASE not in state.cases
