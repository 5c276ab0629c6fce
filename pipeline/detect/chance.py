"""Small exact tests: how probable is what was seen, if nothing but chance were at work.

Counts here are small and discrete, so nothing is approximated.  A probability is of the data, never of anybody's innocence.
"""

from collections.abc import Sequence
from functools import cache
from math import comb, log


def rank_sum(harmed: Sequence[float], others: Sequence[float]) -> float:
    """P(the harmed rank at least this high among all), one-sided, exact; 1.0 when a side is empty.

    Mann and Whitney, Ann. Math. Stat. 18 (1947) 50; ties count against the difference.
    """
    n, m = len(harmed), len(others)
    if not n or not m:
        return 1.0
    u = sum(one > other for one in harmed for other in others)
    return sum(_ways(n, m, k) for k in range(u, n * m + 1)) / comb(n + m, n)


@cache
def _ways(n: int, m: int, u: int) -> int:
    """Orders of n and m values in which exactly u pairs have the first above the second."""
    if u < 0 or u > n * m:
        return 0
    if n == 0 or m == 0:
        return int(u == 0)
    return _ways(n - 1, m, u - m) + _ways(n, m - 1, u)


def fisher(bad: int, exposed: int, bad_others: int, others: int) -> float:
    """P(at least this many bad among the exposed | margins), one-sided: Fisher's exact test."""
    total, all_bad = exposed + others, bad + bad_others
    most = min(exposed, all_bad)
    return sum(comb(all_bad, k) * comb(total - all_bad, exposed - k) for k in range(bad, most + 1)) / comb(total, exposed)


def sequential(outcomes: Sequence[bool], usual: float, harmful: float, alpha: float, beta: float) -> int | None:
    """Wald's sequential test: after how many outcomes (True: bad) the rate is `harmful` rather than `usual`; None: not by now.

    alpha bounds the chance to say so of a usual rate, however often one looks, beta the chance to give up on a harmful one.  Behind a
    "usual" the test begins anew, so that harm that begins late is seen; alpha holds for each beginning.  Wald, Ann. Math. Stat. 16 (1945) 117.
    """
    upper, lower = log((1 - beta) / alpha), log(beta / (1 - alpha))
    bad, good = log(harmful / usual), log((1 - harmful) / (1 - usual))
    total = 0.0
    for number, outcome in enumerate(outcomes, start=1):
        total += bad if outcome else good
        if total >= upper:
            return number
        if total <= lower:
            total = 0.0
    return None
