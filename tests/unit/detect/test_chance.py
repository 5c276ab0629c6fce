"""Exact tests of chance: values that can be counted by hand, and bounds that hold for all."""

from math import comb
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.detect.chance import fisher, rank_sum, sequential


@pytest.mark.parametrize(
    ("harmed", "others", "expected"),
    [
        ([4.0, 5, 6], [1.0, 2, 3], 1 / comb(6, 3)),  # one of twenty orders
        ([3.0, 5, 6], [1.0, 2, 4], 2 / comb(6, 3)),
        ([1.0, 2, 3], [4.0, 5, 6], 1.0),
        ([1.0], [1.0], 1.0),  # a tie counts against the difference
        ([], [1.0], 1.0),
        ([1.0], [], 1.0),
    ],
)
def test_rank_sum(harmed: list[float], others: list[float], expected: float) -> None:
    """Orders counted one by one."""
    assert rank_sum(harmed, others) == pytest.approx(expected)


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


@given(st.lists(st.integers(0, 9), max_size=6), st.lists(st.integers(0, 9), max_size=6))
def test_a_probability_is_one(harmed: list[int], others: list[int]) -> None:
    """And slower members make it smaller, never greater."""
    chance = rank_sum([float(each) for each in harmed], [float(each) for each in others])
    assert 0 < chance <= 1 + 1e-12
    assert rank_sum([each + 1.0 for each in harmed], [float(each) for each in others]) <= chance + 1e-12


def test_the_sequential_test_keeps_its_error() -> None:
    """Where the rate is usual, it says harmful hardly more often than alpha; where it is harmful, nearly always."""
    wrong = right = 0
    for seed in range(2000):
        dice = Random(seed)
        wrong += sequential([dice.random() < 0.1 for _ in range(60)], 0.1, 0.4, 0.01, 0.1) is not None
        right += sequential([dice.random() < 0.4 for _ in range(60)], 0.1, 0.4, 0.01, 0.1) is not None
    assert wrong <= 2000 * 0.01 * 8  # it began anew some times in 60 outcomes
    assert right >= 2000 * 0.95


def test_it_says_when() -> None:
    """After the outcome that decides, and not before."""
    outcomes = [True] * 20
    decided = sequential(outcomes, 0.1, 0.4, 1e-4, 0.1)
    assert decided is not None
    assert sequential(outcomes[: decided - 1], 0.1, 0.4, 1e-4, 0.1) is None
    assert sequential([], 0.1, 0.4, 1e-4, 0.1) is None
