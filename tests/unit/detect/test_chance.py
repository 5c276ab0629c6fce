"""Exact tests of chance: values that can be counted by hand, and bounds that hold for all."""

from itertools import combinations
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.detect.chance import fisher, fisher_of, rank_sum, sequential


@pytest.mark.parametrize(
    ("bad", "exposed", "bad_others", "others", "expected"),
    [
        (3, 3, 0, 3, 1 / 20),
        (2, 2, 0, 9, 1 / 55),
        (0, 3, 0, 3, 1.0),
        (1, 2, 1, 2, 5 / 6),
    ],
)
def test_fisher(bad: int, exposed: int, bad_others: int, others: int, expected: float) -> None:
    """Tables counted one by one."""
    assert fisher(bad, exposed, bad_others, others) == pytest.approx(expected)


@settings(deadline=None)
@given(st.permutations(range(9)), st.integers(1, 5))
def test_rank_sum(values: list[int], many: int) -> None:
    """All choices of so many out of nine counted one by one."""
    orders = [sum(values[a] > values[b] for a in chosen for b in {*range(9)} - {*chosen}) for chosen in combinations(range(9), many)]
    expected = sum(each >= orders[0] for each in orders) / len(orders)
    if 2 * orders[0] > many * (9 - many):
        assert rank_sum([(values[:many], values[many:])]) == pytest.approx(expected)
    else:
        assert rank_sum([(values[:many], values[many:])]) == 1.0


def test_ties_speak_against_who_is_accused() -> None:
    """As if the other one were higher."""
    assert rank_sum([([2.0, 2.0], [1.0, 1.0, 2.0])]) == rank_sum([([2.0, 2.0], [1.0, 1.0, 3.0])])


def test_strata_that_say_the_same_say_more_together() -> None:
    """One of two, and one of three: both highest by chance in one of six; and what one stratum has against it counts."""
    assert rank_sum([([2.0], [1.0]), ([20.0], [10.0, 11.0])]) == pytest.approx(1 / 6)
    assert rank_sum([([2.0], [1.0]), ([10.5], [10.0, 11.0])]) == pytest.approx(3 / 6)
    assert fisher_of([(1, 1, 0, 1), (1, 1, 0, 2)]) == pytest.approx(1 / 6)
    assert fisher_of([(1, 1, 0, 1), (0, 1, 1, 2)]) == pytest.approx(4 / 6)


@settings(deadline=None)
@given(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4), st.integers(0, 4))
def test_one_stratum_is_fishers_test(bad: int, fine: int, bad_others: int, fine_others: int) -> None:
    """Whatever the table."""
    table = (bad, bad + fine, bad_others, bad_others + fine_others)
    assert fisher_of([table]) == pytest.approx(fisher(*table))


@pytest.mark.parametrize("outcomes", [60, 300])
def test_the_sequential_test_keeps_its_error(outcomes: int) -> None:
    """Where the rate is usual it says harmful no more often than alpha, however often it began anew; where it is harmful, nearly always."""
    wrong = right = 0
    for seed in range(2000):
        dice = Random(seed)
        wrong += sequential([(dice.random() < 0.1, 0.1, 0.4) for _ in range(outcomes)], 0.01, 0.1) is not None
        right += sequential([(dice.random() < 0.4, 0.1, 0.4) for _ in range(60)], 0.01, 0.1) is not None
    assert wrong <= 2000 * 0.01
    assert right >= 2000 * 0.95


def test_its_error_holds_where_rates_differ() -> None:
    """Jobs of several sizes, each against the rate that is usual at its size."""
    wrong = 0
    for seed in range(2000):
        dice = Random(seed)
        rates = [dice.choice((0.05, 0.3, 0.8)) for _ in range(200)]
        wrong += sequential([(dice.random() < rate, rate, min(rate + 0.3, 0.95)) for rate in rates], 0.01, 0.1) is not None
    assert wrong <= 2000 * 0.01


def test_it_says_when() -> None:
    """After the outcome that decides, and not before."""
    outcomes = [(True, 0.1, 0.4)] * 20
    decided = sequential(outcomes, 1e-4, 0.1)
    assert decided is not None
    assert sequential(outcomes[: decided - 1], 1e-4, 0.1) is None
    assert sequential([], 1e-4, 0.1) is None
