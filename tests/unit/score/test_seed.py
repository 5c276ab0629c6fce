"""A small period from its plan to its score."""

import pytest

from pipeline.score.seed import SeedScore, score
from pipeline.simulate.plan import Plan

FOUND_AT_ONCE = ("p01", "p03")


@pytest.fixture(scope="module")
def scored() -> SeedScore:
    """A day and a half with one foreign kill and one foreign cancel."""
    return score(Plan(seed=5, days=1.5, gpus=96, acts=dict.fromkeys(FOUND_AT_ONCE, 1)))


def test_acts_are_found_and_named(scored: SeedScore) -> None:
    """By alerts of their own detector, with the right name, within a few hours."""
    for pattern in FOUND_AT_ONCE:
        of = scored.patterns[pattern]
        assert (of.acts, of.found, of.named) == (1, 1, 1), pattern
        assert 0 <= of.delays_ms[0] < 6 * 3_600_000
    assert scored.missed == []


def test_nobody_is_accused_falsely(scored: SeedScore) -> None:
    """Of a few dozen attempts that ended in the ways in which attempts end."""
    assert (scored.false_alerts, scored.named_wrongly) == (0, [])
    assert scored.ended_badly > 0
    assert {"completed", "script_error"} <= set(scored.verdicts)


def test_every_attempt_that_ended_has_a_verdict(scored: SeedScore) -> None:
    """The truth names attempts as the scheduler does."""
    unsaid = sum(counts.get("no verdict", 0) for counts in scored.verdicts.values())
    assert unsaid == 0
