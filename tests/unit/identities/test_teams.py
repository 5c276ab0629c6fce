"""How often a team is looked at: what is said of one is about weeks.

#   round 8 @21 d      judged         a ninth round      nobody looks       6 hours later: judged again
"""

from pipeline.identities.step import build_state, step
from pipeline.stream.cases import Cases
from tests.build import DAY, OTHER
from tests.build_subjects import HOUR, now, read, wrote
from tests.unit.identities.test_step import facts, public, settings


def test_a_team_is_judged_some_hours_after_it_was_judged_last() -> None:
    """What was told meanwhile is not lost: it counts when they are over."""
    state = build_state(settings(), Cases())
    rounds = [event for day in range(0, 24, 3) for event in (read(day * DAY), wrote(day * DAY + 5 * HOUR))]
    others = [read(day * DAY + 7200, OTHER) for day in range(16)]
    at = 22 * DAY
    _, first = step(state, facts(*rounds, *others), now(until=at))
    assert len(public(first)) == 1
    _, none = step(state, facts(read(at), wrote(at + HOUR)), now(until=at + 6 * HOUR - 1))
    assert not public(none)
    _, again = step(state, [], now(until=at + 6 * HOUR))
    assert len(public(again)) == 1
