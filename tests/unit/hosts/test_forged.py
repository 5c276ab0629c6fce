"""What anybody may have sent of jobs and processes on a host: it takes nothing from what known senders say, and is marked where it adds.

scheduler   [0 --------- 100]  by a known sender      [0 --- 50]  or another owner, by anybody      ->  the known sender's word
"""

import random
from itertools import permutations

import pytest

from pipeline.hosts.index import PARTS_MAX
from pipeline.hosts.step import build_state, step
from pipeline.model.conduct import Conduct
from pipeline.model.events import Event, Iteration
from pipeline.model.facts import Fact
from pipeline.model.outcome import Tell
from pipeline.model.source import Source
from pipeline.model.told import Displaced, NodeTouch, Touch, Worked, decode_told
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import NOTHING
from tests import build
from tests.build import (
    COLLEAGUE,
    HOST,
    OTHER,
    OWNER,
    allocation,
    audit,
    job_end,
    kill_parts,
    process_started,
    unproven,
    xid,
)
from tests.unit.hosts.test_step import Hosts, Words, facts, run

LOW = 5001  # a uid below the owner's
KILL, ENDED = kill_parts(97), job_end(100)
MINE, LIKE_MINE = ("7", "owner", False), ("7", "owner", True)


def touches(words: Words) -> list[tuple[str, str, bool]]:
    """(job, how it was matched, unproven) of each touch."""
    found = [each for each in words.values() if isinstance(each, (Touch, NodeTouch))]
    return sorted((each.attempt.job, each.matched if isinstance(each, Touch) else "host", each.event.unproven) for each in found)


def began(start: float = 0, **fields: object) -> Event:
    return unproven(allocation(start, **fields))


FORGED: dict[str, tuple[list[Event], list[tuple[str, str, bool]]]] = {
    "the job is somebody else's": ([*KILL, ENDED, began(owner_uid=LOW)], [MINE]),
    "it had ended before": ([*KILL, ENDED, unproven(job_end(50))], [MINE]),
    "it ran on": ([*kill_parts(150), ENDED, unproven(job_end(200))], []),
    "another job of the owner's was there, and claims the process": (
        [*KILL, ENDED, began(1, job="8"), process_started(5, job="8")], [MINE, ("8", "pid", True)],
    ),
    "another job that was there claims the process, as nobody known says": (
        [*KILL, ENDED, allocation(1, job="8"), unproven(process_started(5, job="8"))], [MINE, ("8", "owner", False)],
    ),
    "against the job whose process it was": (
        [*KILL, ENDED, process_started(1), allocation(1, job="8"), unproven(process_started(5, job="8"))], [("7", "pid", False)],
    ),
    "the job claims the process": ([*KILL, ENDED, unproven(process_started(1))], [MINE]),
    "it claims one of which the kernel names no owner": ([KILL[0], ENDED, unproven(process_started(1))], [("7", "host", False)]),
    "nobody known says that the job was there": ([*KILL, unproven(ENDED)], [LIKE_MINE]),
    "nor what befell the node": ([xid(97), unproven(ENDED)], [("7", "host", True)]),
    "somebody says the same first": ([*KILL, ENDED, unproven(process_started(0)), process_started(1)], [("7", "pid", False)]),
}  # fmt: skip


@pytest.mark.parametrize(("events", "expected"), FORGED.values(), ids=FORGED)
def test_a_forged_place_takes_nothing_from_a_true_one(events: list[Event], expected: list[tuple[str, str, bool]]) -> None:
    """In any order of arrival, and with a restart anywhere, byte for byte."""
    told = facts(*events)
    base = run(told)
    assert touches(base) == expected
    for order in list(permutations(told))[:: 1 + len(told) // 6 * 6]:
        assert run(order) == base
    for at in range(len(told)):
        before = Hosts()
        before.take(*told[:at])
        again = Hosts(before.cases.facts(), before.said)
        again.take(*told[at:])
        assert again.last == base


def identities(*told: Fact) -> dict[str, list[object]]:
    """Account -> last words."""
    said, state = Cases(), build_state(build.settings(), Cases())
    for each in told:
        state, outcomes = step(state, [each], NOTHING)
        for out in outcomes:
            if isinstance(out, Tell) and out.stage == "identities":
                said.merge(out.fact)
    by: dict[str, list[object]] = {}
    for fact in said.facts():
        if fact.body:
            by.setdefault(fact.case.decode().partition("\x1f")[2], []).append(decode_told(fact.body))
    return by


def test_who_began_in_anothers_room_is_known_only_of_known_senders() -> None:
    """A forged start behind somebody's preemption would make a colleague a flooder of the queue."""
    gone = job_end(1000, "PREEMPTED", start=0)
    mine = allocation(1000, job="8", submit=940, owner_uid=COLLEAGUE, owner="u099")
    for victim, by, doubted in ((gone, mine, False), (gone, unproven(mine), True), (unproven(gone), mine, True)):
        for order in permutations(facts(victim, by)):
            (displaced,) = (each for each in identities(*order)["u099"] if isinstance(each, Displaced))
            assert displaced.event.unproven == doubted
    ended = job_end(1000, "COMPLETED", start=0)
    assert identities(*facts(ended, unproven(gone), mine)) == {}  # nor is it preempted where its scheduler says how it ended


def paced(at: float) -> Event:
    """A step of job 7."""
    return build.event(at, Source.TRAINING, Iteration(iteration=int(at)), host=HOST, job="7")


def as_told(*steps: Event) -> list[Fact]:
    """As ingest tells them."""
    conduct = Conduct(build.settings().directory(), ())
    return [tell.fact for each in steps for tell in conduct.of(each)]


def test_forged_steps_take_no_place_of_true_ones() -> None:
    """An earlier step that anybody may have sent, and an allocation of such: each stands beside what is known."""
    for order in permutations([*as_told(unproven(paced(1)), paced(60)), *facts(allocation(0))]):
        worked = [each for each in identities(*order)["u012"] if isinstance(each, Worked)]
        assert sorted((each.event.event_time, each.event.unproven) for each in worked) == [(build.ms(1), True), (build.ms(60), False)]
    (only,) = identities(*as_told(paced(60)), *facts(began(owner_uid=OTHER)))["u098"]
    assert isinstance(only, Worked)
    assert only.event.unproven


def test_parts_of_one_audit_event_are_bounded() -> None:
    """In any order the same stay, and the state holds no others."""
    parts = [unproven(audit(97, "PATH", name=f"/x/{number}", item=number)) for number in range(PARTS_MAX + 20)]
    kept = []
    for told in (parts, parts[::-1]):
        hosts = Hosts()
        hosts.take(*facts(*told))
        kept.append(sorted(fact.id for fact in hosts.cases.facts()))
    assert kept[0] == kept[1]
    assert len(kept[0]) == PARTS_MAX


def test_many_allocations_in_any_order_are_found_like_one_by_one() -> None:
    """The search for those that reach into a span stops early, and is right all the same."""
    dice = random.Random(3)
    spans = [(start, start + dice.randrange(1, 400)) for start in dice.sample(range(2_000), 60)]
    told = [job_end(end, job=str(number), start=start, submit=start - 1) for number, (start, end) in enumerate(spans)]
    dice.shuffle(told)
    hosts = Hosts()
    hosts.take(*facts(*told))
    index = next(iter(hosts.state.indexes.values()))
    for at in range(0, 2_400, 37):
        found = {held.attempt.job for held in index.held.overlapping(build.ms(at), build.ms(at))}
        assert found == {str(number) for number, (start, end) in enumerate(spans) if start <= at <= end}
    assert OWNER in {held.owner_uid for held in index.allocations.values()}
