"""Presence: the worked examples of the textbook, strata, and corrections."""

from math import comb

import pytest

from pipeline.incidents.presence import HOUR_MS, Design, benjamini_yekutieli, everybody, stratified

MONDAY = 1_772_409_600_000  # 2026-03-02T00:00:00Z


def test_one_stratum_is_the_hypergeometric_tail() -> None:
    """1,440 hours, active in 240, 12 of 12 bad ones inside; and the same person active in 600."""
    assert stratified([(1440, 12, 240, 12)]) == pytest.approx(3.6e-10, rel=0.05)
    assert stratified([(1440, 12, 600, 12)]) == pytest.approx(2.6e-5, rel=0.06)


def test_fifty_candidates_make_it_a_lead() -> None:
    """2.6e-5 becomes 5.8e-3."""
    found = {f"u{number:03d}": 1.0 for number in range(49)} | {"u099": 2.6e-5}
    assert benjamini_yekutieli(found)["u099"] == pytest.approx(2.6e-5 * 50 * sum(1 / n for n in range(1, 51)))


def test_corrections_keep_order_and_stay_below_one() -> None:
    """The least probable stays so."""
    corrected = benjamini_yekutieli({"a": 0.001, "b": 0.01, "c": 0.9})
    assert sorted(corrected, key=corrected.__getitem__) == ["a", "b", "c"]
    assert all(chance <= 1 for chance in corrected.values())
    assert benjamini_yekutieli({}) == {}


def by_day(*, pooled: bool = False) -> Design:
    """A month of attempts, one an hour, of which every third fails by day: pooled, all are said to have ended in one hour of the night."""
    ends = [(MONDAY + hour * HOUR_MS, hour % 24 < 8 and hour % 3 == 0) for hour in range(24 * 28)]
    design = Design.of((end, "vision", ("gpu-001", "gpu-002"), 64, bad) for end, bad in ends)
    if not pooled:
        return design
    return Design(tuple(type(trial)(trial.hour, (), trial.bad) for trial in design.trials))


def test_who_is_there_when_everybody_is_stands_out_no_more() -> None:
    """Bad ends by day, present by day: pooled it looks rare, within the hours of the day it does not."""
    present = frozenset(MONDAY + hour * HOUR_MS for hour in range(24 * 28) if hour % 24 < 8)
    assert by_day(pooled=True).test(present)[2] < 1e-9
    assert by_day().test(present)[2] == pytest.approx(1.0)


def test_who_is_there_at_the_bad_ends_alone_stands_out() -> None:
    """Among the same hours of the same days; whoever was about in others is beside him, and nobody else is named by it."""
    bad = frozenset(trial.hour for trial in by_day().trials if trial.bad)
    other = frozenset(hour + HOUR_MS for hour in bad)
    first, second = everybody(by_day(), {"x": bad, "y": other})
    assert (first.who, first.ended, first.bad) == ("x", len(bad), len(bad))
    assert first.chance < first.corrected < 1e-9
    assert (second.bad, second.corrected) == (0, 1.0)


def test_presence_outside_the_design_does_not_count() -> None:
    """What is looked at is fixed before people are."""
    present = frozenset({MONDAY})
    assert by_day().test(present) == by_day().test(present | {MONDAY - HOUR_MS, MONDAY + 400 * 24 * HOUR_MS})


@pytest.mark.parametrize(
    ("other", "apart"),
    [
        ((MONDAY + HOUR_MS, "vision", ("gpu-001",), 8, False), False),
        ((MONDAY + 5 * HOUR_MS, "vision", ("gpu-001",), 8, False), True),
        ((MONDAY + 5 * 24 * HOUR_MS, "vision", ("gpu-001",), 8, False), True),
        ((MONDAY, "speech", ("gpu-001",), 8, False), True),
        ((MONDAY, "vision", ("gpu-002",), 8, False), True),
        ((MONDAY, "vision", ("gpu-001",), 64, False), True),
    ],
    ids=["the next hour", "another time of the day", "the weekend", "another team", "another node", "another size"],
)
def test_strata(other: tuple[int, str, tuple[str, ...], int, bool], apart: bool) -> None:
    """By what ends differ without anybody's doing."""
    design = Design.of([(MONDAY, "vision", ("gpu-001",), 8, True), other])
    assert (len({trial.stratum for trial in design.trials}) == 2) is apart


def test_a_design_is_known_by_its_digest() -> None:
    """The same attempts in any order; not so when one is called bad afterwards."""
    ended = [(MONDAY + number * HOUR_MS, "vision", ("gpu-001",), 8, number == 0) for number in range(5)]
    assert Design.of(ended).digest == Design.of(ended[::-1]).digest
    assert Design.of(ended).digest != Design.of([*ended[:-1], (*ended[-1][:-1], True)]).digest


def test_tails_that_are_left_out_change_nothing() -> None:
    """Of hundreds of attempts: the same as with every tail, to twelve digits."""
    strata = [(400, 160, 120, 62), (300, 90, 40, 15), (250, 125, 60, 33)]
    whole = [1.0]
    for total, bad, about, _ in strata:
        ways = [comb(bad, k) * comb(total - bad, about - k) / comb(total, about) for k in range(min(bad, about) + 1)]
        whole = [
            sum(whole[at - k] * ways[k] for k in range(len(ways)) if 0 <= at - k < len(whole)) for at in range(len(whole) + len(ways) - 1)
        ]
    observed = sum(both for *_, both in strata)
    assert stratified(strata) == pytest.approx(sum(whole[observed:]), rel=1e-12)
