"""A small period from its plan to its score."""

from dataclasses import replace

import pytest

from pipeline.score.seed import SeedScore, score
from pipeline.simulate.plan import Plan

FOUND_AT_ONCE = ("p01", "p03")
SMALL = Plan(seed=5, days=1.5, gpus=96, acts=dict.fromkeys(FOUND_AT_ONCE, 1))


@pytest.fixture(scope="module")
def scored() -> SeedScore:
    """A day and a half with one foreign kill and one foreign cancel."""
    return score(SMALL)


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


def test_what_could_have_erred_is_counted(scored: SeedScore) -> None:
    """Events at risk, look-alikes, and records that came late or broken: what false alerts are set against."""
    assert 0 < scored.patterns["p01"].at_risk < scored.patterns["p17"].at_risk < scored.records
    assert sum(each.simulated for each in scored.look_alikes.values()) > 0
    assert all(each.alerted <= each.seen <= each.simulated for each in scored.look_alikes.values())
    assert scored.checklist.ended.keys() >= {"owner_or_service", "system_daemon"}
    assert sum(scored.checklist.acquitted.values()) + sum(scored.checklist.not_acquitted.values()) == scored.ended_badly
    assert sum(scored.transport.dead_letters.values()) == scored.dead_letters == sum(scored.transport.planted.broken.values())


def test_a_silent_family_costs_recall_and_makes_nobody_guilty(scored: SeedScore) -> None:
    """Nothing false is raised for want of what would have acquitted, and each finding of a detector that reads it says what was missing."""
    silent = score(replace(SMALL, silent=frozenset({"auditd"})))
    found, before = (sum(of.found for of in each.patterns.values()) for each in (silent, scored))
    assert found < before
    assert (silent.false_alerts, silent.named_wrongly) == (0, [])
    assert silent.checklist.told == silent.checklist.told_of > 0
