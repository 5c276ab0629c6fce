"""Small exact tests: how probable is what was seen, if nothing but chance were at work; and between which bounds a share lies.

Counts here are small and discrete, so no test is approximated, and the interval of a share is one that holds for few and for shares near
0 and 1.  A probability is of the data, never of anybody's innocence.
"""

from collections.abc import Sequence
from math import comb, log, pi, sqrt

NORMAL_95 = 1.959964  # two-sided 95 %


def rank_sum(strata: Sequence[tuple[Sequence[float], Sequence[float]]]) -> float:
    """P(the exposed stand as high as this or higher among all of their stratum | nothing but order matters), one-sided, exact.

    The Wilcoxon-Mann-Whitney test of (exposed, others) in several strata; ties speak against the suspicion.  Orders are counted by how
    many pairs have the other one higher: for each stratum a Gaussian binomial, term by term, all multiplied.
    """
    higher = sum(sum(value <= each for each in others) for exposed, others in strata for value in exposed)
    if 2 * higher >= sum(len(exposed) * len(others) for exposed, others in strata):
        return 1.0  # not higher at all: how much lower is not worth counting
    ways, orders = [1] + [0] * higher, 1
    for many, beside in ((len(exposed), len(others)) for exposed, others in strata):
        orders *= comb(beside + many, many)
        for size in range(1, many + 1):
            for pairs in range(higher, beside + size - 1, -1):
                ways[pairs] -= ways[pairs - beside - size]
            for pairs in range(size, higher + 1):
                ways[pairs] += ways[pairs - size]
    return sum(ways) / orders


def fisher(bad: int, exposed: int, bad_others: int, others: int) -> float:
    """P(at least this many bad among the exposed | margins), one-sided: Fisher's exact test."""
    total, all_bad = exposed + others, bad + bad_others
    most = min(exposed, all_bad)
    return sum(comb(all_bad, k) * comb(total - all_bad, exposed - k) for k in range(bad, most + 1)) / comb(total, exposed)


def fisher_of(strata: Sequence[tuple[int, int, int, int]]) -> float:
    """The same of several tables (bad, exposed, bad others, others): P(at least as many bad among all exposed | margins of each), exact."""
    ways, orders, seen = [1], 1, sum(table[0] for table in strata)
    for bad, exposed, bad_others, others in strata:
        all_bad, all_fine = bad + bad_others, exposed - bad + others - bad_others
        more = [comb(all_bad, k) * comb(all_fine, exposed - k) for k in range(min(exposed, all_bad) + 1)]
        found = [0] * (len(ways) + len(more) - 1)
        for left, count in enumerate(ways):
            for right, times in enumerate(more):
                found[left + right] += count * times
        ways, orders = found, orders * comb(exposed + others, exposed)
    return sum(ways[seen:]) / orders


def sequential(outcomes: Sequence[tuple[bool, float, float]], alpha: float, beta: float) -> int | None:
    """Wald's sequential test of (bad?, usual rate, harmful rate): after how many the rates are the harmful ones; None: not by now.

    alpha bounds the chance to say so of a usual rate, however often one looks, beta the chance to give up on a harmful one.  Behind a
    "usual" the test begins anew, so that harm that begins late is seen; the n-th beginning has 6 / (pi n)^2 of alpha, which add up to it.
    Wald, Ann. Math. Stat. 16, 117.
    """
    upper, lower = log((1 - beta) * pi**2 / 6 / alpha), log(beta / (1 - alpha))
    total, begun = 0.0, 1
    for number, (is_bad, usual, harmful) in enumerate(outcomes, start=1):
        total += log(harmful / usual) if is_bad else log((1 - harmful) / (1 - usual))
        if total >= upper + 2 * log(begun):
            return number
        if total <= lower:
            total, begun = 0.0, begun + 1
    return None


def wilson(right: int, of: int) -> tuple[float, float]:
    """Score interval of a share, 95 %; 0 to 1 when nothing was counted.  Wilson, J. Am. Stat. Assoc. 22 (1927) 209."""
    if not of:
        return 0.0, 1.0
    share, z2 = right / of, NORMAL_95**2
    middle = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = NORMAL_95 / (1 + z2 / of) * sqrt(share * (1 - share) / of + z2 / (4 * of * of))
    # Of none or all one end is exact, which rounding would miss by a hair.
    return max(0.0, middle - half) if right else 0.0, min(1.0, middle + half) if right < of else 1.0
