"""A short period of a small cluster on which nearly every pattern is played, simulated once per process.

What raises nothing in three days takes weeks to be seen: the scenarios of P09, P10, P15 and P16 tell of it.  Some records are broken.
"""

from functools import cache
from typing import Any, NamedTuple

from pipeline.simulate import Record
from pipeline.simulate.cluster import simulate
from pipeline.simulate.plan import PATTERNS, Plan

PLAN = Plan(seed=12, days=3, gpus=64, thin=6, members=24, acts=dict.fromkeys(PATTERNS, 1))
RAISED_MIN = 11  # of the detectors, or the comparison says little


class Period(NamedTuple):
    """As the simulator's week has them."""

    records: tuple[Record, ...]
    settings: dict[str, Any]


@cache
def period() -> Period:
    """Records in order of the time at which they were collected, and what the operator of the site sets."""
    run = simulate(PLAN)
    return Period(tuple(run), run.settings())
