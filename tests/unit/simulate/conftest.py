"""One simulated period for all tests of this folder: the default week, made once."""

import pytest

from pipeline.simulate import simulate
from tests.unit.simulate.reading import Told

SEED = 6


@pytest.fixture(scope="session")
def told() -> Told:
    """What the records of the period tell."""
    return Told(simulate(SEED))
