"""Presence: the worked examples of the textbook, strata, and corrections."""

import pytest

from pipeline.incidents.presence import Design, Hour, benjamini_yekutieli, bonferroni, stratified


def test_one_stratum_is_the_hypergeometric_tail() -> None:
    """1,440 hours, active in 240, 12 of 12 bad hours inside; and the same person active in 600."""
    assert stratified([(1440, 12, 240, 12)]) == pytest.approx(3.6e-10, rel=0.05)
    assert stratified([(1440, 12, 600, 12)]) == pytest.approx(2.6e-5, rel=0.06)


def test_fifty_candidates_make_it_a_lead() -> None:
    """2.6e-5 becomes 1.3e-3."""
    found = {f"u{number:03d}": 1.0 for number in range(49)} | {"u099": 2.6e-5}
    assert bonferroni(found)["u099"] == pytest.approx(1.3e-3)
    assert benjamini_yekutieli(found)["u099"] == pytest.approx(2.6e-5 * 50 * sum(1 / n for n in range(1, 51)))


def test_who_is_there_when_everybody_is_stands_out_no_more() -> None:
    """Bad hours by day, present by day: pooled it looks rare, within working hours it does not."""
    hours = {hour: Hour("day" if hour % 24 < 8 else "night", bad=hour % 24 < 8 and hour % 3 == 0) for hour in range(24 * 30)}
    present = [hour for hour in hours if hour % 24 < 8]
    pooled = Design({hour: Hour("", each.bad) for hour, each in hours.items()})
    assert pooled.test(present) < 1e-9
    assert Design(hours).test(present) == 1.0


def test_presence_outside_the_design_does_not_count() -> None:
    """Hours are fixed before people are looked at."""
    design = Design({0: Hour("", bad=True), 1: Hour("", bad=False)})
    assert design.test([0, 99]) == design.test([0]) == pytest.approx(0.5)


def test_corrections_keep_order_and_stay_below_one() -> None:
    """The least probable stays so."""
    found = {"a": 0.001, "b": 0.01, "c": 0.9}
    for corrected in (bonferroni(found), benjamini_yekutieli(found)):
        assert sorted(corrected, key=corrected.__getitem__) == ["a", "b", "c"]
        assert all(p <= 1 for p in corrected.values())
    assert benjamini_yekutieli({}) == {}
