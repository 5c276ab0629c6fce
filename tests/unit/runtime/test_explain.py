"""What ended a worker, said to its operator: the first error of ours in the chain, else what began it."""

from itertools import pairwise

from pipeline.errors import FatalError, StateIncompatible
from pipeline.runtime.app import explain


def chained(*errors: BaseException) -> BaseException:
    """The first, raised while the second was handled, and so on."""
    for error, context in pairwise(errors):
        error.__context__ = context
    return errors[0]


def test_an_error_of_ours_is_found_behind_others() -> None:
    """With its own advice."""
    ours = StateIncompatible("state of another release")
    assert explain(chained(RuntimeError("crashed"), ours)) is ours


def test_without_one_the_beginning_of_the_chain_is_told() -> None:
    """What was raised first says most."""
    assert "KeyError: 'first'" in str(explain(chained(RuntimeError("last"), KeyError("first"))))


def test_a_ring_of_errors_comes_to_an_end() -> None:
    """Faust raises a crash again inside its own handling; a worker that never ends is worse than one that crashed."""
    first, second = RuntimeError("first"), ValueError("second")
    first.__context__, second.__context__ = second, first
    assert isinstance(explain(first), FatalError)
