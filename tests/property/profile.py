"""How hard property tests try: a few seconds a file, or as long as one likes.

PROPERTY_EXAMPLES_TIMES=50 pytest tests/property         fifty times the examples
"""

import os

from hypothesis import HealthCheck, settings

TIMES = int(os.environ.get("PROPERTY_EXAMPLES_TIMES", "1"))
SLOW_IS_FINE = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large)


def examples(count: int, steps: int = 25, *, derandomize: bool = False) -> settings:
    """Settings of a state machine: so many runs of up to so many steps, more when asked for.  Runs in a test of its own are alike."""
    return settings(
        max_examples=count * TIMES,
        stateful_step_count=steps,
        deadline=None,
        derandomize=derandomize,
        suppress_health_check=SLOW_IS_FINE,
    )
