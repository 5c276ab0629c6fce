"""Facts of one job id, told apart by attempt, within bounds.

attempt 1   submit -60   start 0 ....... end 100
attempt 2                                    submit 150   start 200 ..........
events            -30->1     50->1      120->1        160->2      250->2
"""

from itertools import permutations

import msgspec
import pytest

from pipeline.detect.case import Case
from pipeline.jobs.index import JobIndex
from pipeline.model.events import Event, RankFailed
from pipeline.model.source import Source
from pipeline.model.told import Attempt, Told
from tests import build
from tests.build import (
    CLUSTER,
    JOB,
    allocation,
    attempt,
    cancel_request,
    coverage,
    iteration,
    job_end,
    job_record,
    kill,
    load,
    rank_failed,
    save,
    touch,
    uses,
    write,
)

FIRST, SECOND = attempt(), attempt(start=200, submit=150)


def index(*told: Told, bound: int = 100) -> JobIndex:
    """The index after these facts, named as their stages name them."""
    made = JobIndex(CLUSTER, JOB, bound)
    for number, each in enumerate(told):
        made.add(each.id if isinstance(each, Event) else f"fact-{number}", each)
    return made


def cases(*told: Told) -> dict[Attempt, Case]:
    return {each.attempt: each for each in index(*told).cases(build.site())}


TWO_RUNS = [allocation(), job_end(100), allocation(200, submit=150), job_end(300, submit=150, start=200)]


@pytest.mark.parametrize(
    ("at", "of"),
    [(-3600, None), (-61, FIRST), (-30, FIRST), (50, FIRST), (120, FIRST), (149.999, FIRST), (150, SECOND), (250, SECOND), (400, SECOND)],
)
def test_an_event_belongs_to_the_attempt_that_had_begun_last(at: float, of: Attempt | None) -> None:
    """The submission begins an attempt; what comes shortly before the first one is its own, by clock error."""
    at = at if of is not None else build.SUBMIT - 3600.001
    found = cases(*TWO_RUNS, rank_failed(at))
    assert [each for each in found if found[each].of(RankFailed)] == ([of] if of else [])


def test_attempts_of_one_submission_are_told_apart_by_their_start() -> None:
    """A requeue that keeps the submit time: the first run's events stay with the first."""
    again = attempt(start=200)
    found = cases(allocation(), job_end(100), allocation(200), rank_failed(50), rank_failed(250))
    assert set(found) == {FIRST, again}
    assert [[event.event_time for event, _ in found[each].of(RankFailed)] for each in (FIRST, again)] == [[build.ms(50)], [build.ms(250)]]


def test_facts_that_name_an_attempt_go_to_it() -> None:
    """Touches and coverage know where they belong, whatever their time."""
    late = touch(kill(97), of=SECOND)
    found = cases(*TWO_RUNS, late, coverage(Source.KERNEL, 0, 100, of=FIRST))
    assert [len(found[each].touches) for each in (FIRST, SECOND)] == [0, 1]


def test_facts_of_an_unknown_attempt_wait() -> None:
    """The scheduler has not spoken of it yet."""
    late = touch(kill(97), of=SECOND)
    assert set(cases(allocation(), late)) == {FIRST}
    assert cases(allocation(), late, *TWO_RUNS[2:])[SECOND].touches == (late,)


def test_uses_go_to_the_attempt_that_loaded() -> None:
    """By the time of the load, not of the write."""
    found = cases(*TWO_RUNS, *uses(load(250), save(10)))
    assert [len(found[each].uses) for each in (FIRST, SECOND)] == [0, 2]


def test_a_record_of_the_time_before_the_start_belongs_to_the_run_that_followed() -> None:
    """Pending, then running: one attempt."""
    pending = job_record(-60, "other", state="PENDING", start=None)
    assert set(cases(pending)) == {attempt(start=None)}
    assert set(cases(pending, allocation())) == {FIRST}
    assert len(cases(pending, allocation())[FIRST].records) == 2


def test_without_a_record_of_the_scheduler_there_is_no_attempt() -> None:
    """Nothing is judged on training lines alone."""
    assert cases(rank_failed(50), job_end(100, submit=None)) == {}


def test_the_cases_do_not_depend_on_arrival() -> None:
    """Every order gives the same attempts with the same events."""
    told: list[Told] = [allocation(), job_end(100), job_end(300, submit=150, start=200), rank_failed(50), touch(kill(97))]

    def shape(order: tuple[Told, ...]) -> list[tuple[Attempt, list[str], int]]:
        made = JobIndex(CLUSTER, JOB, 100)
        for each in order:
            made.add(str(told.index(each)), each)
        return [(case.attempt, sorted(event.id for event in case.all_events()), len(case.touches)) for case in made.cases(build.site())]

    assert len({repr(shape(order)) for order in permutations(told)}) == 1


# --- bounds ---------------------------------------------------------------------------------------------------------------------


def test_a_full_case_keeps_the_earliest_whatever_came_first() -> None:
    """Which facts stay is decided by event time and id, never by arrival."""
    events = [rank_failed(at) for at in range(5)]
    for order in permutations(events):
        made = index(*order, bound=3)
        assert set(made.told) == {event.id for event in events[:3]}


def test_the_answer_names_the_fact_that_was_pushed_out() -> None:
    """It must be dropped from the case as well."""
    made = index(rank_failed(1), rank_failed(3), bound=2)
    assert made.add(rank_failed(2).id, rank_failed(2)) == rank_failed(3).id
    assert made.add(rank_failed(4).id, rank_failed(4)) == rank_failed(4).id


def test_a_flood_of_one_kind_pushes_out_no_other() -> None:
    """The bound is per kind."""
    made = index(job_end(100), *(rank_failed(at) for at in range(10)), bound=2)
    assert job_end(100).id in made.told


def forged(told: Event) -> Event:
    """The same as anybody may have sent it."""
    return msgspec.structs.replace(told, id=f"{told.id}-unproven", unproven=True)


def test_names_that_are_made_up_lift_no_bound() -> None:
    """Of known senders everybody's requests have a bound of their own; of all others there is one."""
    asked = [cancel_request(10 + at, 5000 + at) for at in range(10)]
    assert len(index(*asked, bound=2).told) == 10
    assert len(index(*asked, *map(forged, asked), bound=2).told) == 12


def test_what_anybody_may_send_pushes_out_no_load() -> None:
    """Nor what came before it."""
    told, sent = uses(load(90), write(80)), [uses(forged(load(at)), write(5))[0] for at in range(10)]
    assert set(told) <= set(index(*told, *sent, bound=2).told.values())


def test_a_fact_that_grows_takes_one_place() -> None:
    """Steps of an hour are folded into one fact that is told again and again: a day of them must not fill the case."""
    made = JobIndex(CLUSTER, JOB, 3)
    for number in range(10):
        assert made.add("iteration/1", iteration(number, number)) == ""
    assert list(made.told) == ["iteration/1"]
    assert made.told["iteration/1"] == iteration(9, 9)


def test_a_void_takes_no_place() -> None:
    """A derived fact that no longer holds equals one never told; a second void changes nothing."""
    made = index(bound=1)
    for at in (1, 2):
        made.add(f"touch-{at}", touch(kill(at)))
        made.void(f"touch-{at}")
        made.void(f"touch-{at}")
    assert made.told == {}
