"""Was a person present more often in bad hours than chance allows?  Counts per stratum in, a probability out.

It orders a search and proves nothing: presence is no act.  In the case of Lucia de Berk a court was given 1 in 342 million from a test of
this kind; with what varies between shifts modelled it was put near 1 in 25, and she was acquitted.  The faults were that bad events were
picked by who was on duty, that shifts differ, and that the number was read as a probability of innocence.  Hence:

    the bad hours are chosen by what happened to jobs, one choice for everybody, and frozen before anybody's presence is looked at
    hours are compared within a stratum only: working hours, project, node, job size
    everybody is tested, and the probabilities are corrected for how many were

The statistic is the number of bad hours in which the person was present.  Given the margins of each stratum it is a sum of independent
hypergeometric variables, whose distribution is computed exactly: the stratified form of Fisher's test, one-sided.
Benjamini and Yekutieli, Ann. Stat. 29 (2001) 1165, hold where tests share their windows, as these do.
"""

from collections.abc import Hashable, Iterable, Mapping
from math import comb

import msgspec


class Hour(msgspec.Struct, frozen=True):
    """An hour that is looked at: its stratum, and whether something happened to jobs in it."""

    stratum: Hashable
    bad: bool


class Design(msgspec.Struct, frozen=True):
    """All hours, fixed before people are looked at.  Keys are starts of hours, UTC ms."""

    hours: Mapping[int, Hour]

    def test(self, present: Iterable[int]) -> float:
        """P(present in at least as many bad hours | how often present in each stratum)."""
        there = set(present) & self.hours.keys()
        strata: dict[Hashable, list[int]] = {}  # hours, bad, present, both
        for start, hour in self.hours.items():
            counts = strata.setdefault(hour.stratum, [0, 0, 0, 0])
            counts[0] += 1
            counts[1] += hour.bad
            counts[2] += start in there
            counts[3] += hour.bad and start in there
        return stratified((total, bad, seen, both) for total, bad, seen, both in strata.values())


def stratified(strata: Iterable[tuple[int, int, int, int]]) -> float:
    """(hours, bad, present, both) of each stratum -> P(sum of both at least this great | margins)."""
    observed, distribution = 0, [1.0]
    for total, bad, seen, both in strata:
        observed += both
        ways = [comb(bad, k) * comb(total - bad, seen - k) / comb(total, seen) if k <= seen else 0.0 for k in range(min(bad, seen) + 1)]
        longer = [0.0] * (len(distribution) + len(ways) - 1)
        for at, one in enumerate(distribution):
            for k, other in enumerate(ways):
                longer[at + k] += one * other
        distribution = longer
    return min(1.0, sum(distribution[observed:]))


def bonferroni(probabilities: Mapping[str, float]) -> dict[str, float]:
    """Corrected for how many were tested."""
    return {who: min(1.0, p * len(probabilities)) for who, p in probabilities.items()}


def benjamini_yekutieli(probabilities: Mapping[str, float]) -> dict[str, float]:
    """Corrected for the share of false ones among those that stand out, however the tests depend on one another."""
    ordered = sorted(probabilities, key=lambda who: (probabilities[who], who))
    count = len(ordered)
    harmonic = sum(1 / n for n in range(1, count + 1))
    corrected, least = {}, 1.0
    for place in range(count, 0, -1):
        who = ordered[place - 1]
        least = min(least, probabilities[who] * count * harmonic / place)
        corrected[who] = least
    return {who: corrected[who] for who in probabilities}
