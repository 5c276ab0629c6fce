"""Small exact tests: how probable is what was seen, if nothing but chance were at work; and between which bounds a share lies.

Counts here are small and discrete, so no test is approximated, and the interval of a share is one that holds for few and for shares near
0 and 1.  A probability is of the data, never of anybody's innocence.
"""

from collections.abc import Sequence
from math import comb, log, sqrt

NORMAL_95 = 1.959964  # two-sided 95 %


def exceeding(harmed: int, above: int, others: int) -> float:
    """P(even the least of so many harmed is exceeded by at most this many of the others), one-sided, exact.

    Orders of all values in which the harmed stand among the greatest harmed + above: Epstein, Ann. Math. Stat. 25 (1954) 762.
    """
    return comb(above + harmed, harmed) / comb(others + harmed, harmed)


def fisher(bad: int, exposed: int, bad_others: int, others: int) -> float:
    """P(at least this many bad among the exposed | margins), one-sided: Fisher's exact test."""
    total, all_bad = exposed + others, bad + bad_others
    most = min(exposed, all_bad)
    return sum(comb(all_bad, k) * comb(total - all_bad, exposed - k) for k in range(bad, most + 1)) / comb(total, exposed)


def sequential(outcomes: Sequence[bool], usual: float, harmful: float, alpha: float, beta: float) -> int | None:
    """Wald's sequential test: after how many outcomes (True: bad) the rate is `harmful` rather than `usual`; None: not by now.

    alpha bounds the chance to say so of a usual rate, however often one looks, beta the chance to give up on a harmful one.  Behind a
    "usual" the test begins anew, so that harm that begins late is seen; alpha holds for each beginning.  Wald, Ann. Math. Stat. 16, 117.
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


def wilson(right: int, of: int) -> tuple[float, float]:
    """Score interval of a share, 95 %; 0 to 1 when nothing was counted.  Wilson, J. Am. Stat. Assoc. 22 (1927) 209."""
    if not of:
        return 0.0, 1.0
    share, z2 = right / of, NORMAL_95**2
    middle = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = NORMAL_95 / (1 + z2 / of) * sqrt(share * (1 - share) / of + z2 / (4 * of * of))
    return max(0.0, middle - half), min(1.0, middle + half)
