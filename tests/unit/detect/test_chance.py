"""Exact tests of chance: values that can be counted by hand, and bounds that hold for all."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.detect.chance import exceeding, fisher, sequential


@pytest.mark.parametrize(
    ("harmed", "above", "others", "expected"),
    [
        (3, 0, 3, 1 / 20),  # one of twenty orders
        (3, 1, 3, 4 / 20),
        (3, 3, 3, 1.0),
        (1, 0, 1, 1 / 2),
        (0, 0, 5, 1.0),
        (2, 0, 0, 1.0),
    ],
)
def test_exceeding(harmed: int, above: int, others: int, expected: float) -> None:
    """Orders counted one by one."""
    assert exceeding(harmed, above, others) == pytest.approx(expected)


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


@given(st.integers(1, 8), st.integers(0, 12), st.integers(0, 12))
def test_a_probability_is_one(harmed: int, above: int, more: int) -> None:
    """And the more others are above, the greater it is."""
    chances = [exceeding(harmed, each, above + more) for each in range(above + more + 1)]
    assert all(0 < chance <= 1 for chance in chances)
    assert chances == sorted(chances)


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
