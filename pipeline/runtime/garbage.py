"""How often this process looks for objects that hold one another.

A batch makes many objects that live until it is folded, and state is millions that live on.  By its own thresholds the collector looks
through all of them again and again: 12 % of `trainwatch score`, and half of a worker's time on bare records (79 k -> 141 k events per CPU
second, measured).  Nothing here is left in rings on purpose; what is, is found later.
"""

import gc

THRESHOLDS = (100_000, 50, 50)


def collect_seldom() -> None:
    """From now on, in the whole process."""
    gc.set_threshold(*THRESHOLDS)
