"""Was a person about more often when attempts ended badly than chance allows?  Attempts and hours in, a probability for everybody out.

It orders a search and proves nothing: presence is not an act, and stands in no attribution.  A court was once given 1 in 342 million from
a test of this kind; with what varies between shifts modelled it was put near 1 in 25, and the accused was acquitted (Gill, Groeneboom
and de Jong, Elementary Statistics on Trial).  The faults were that bad events were picked by who was on duty, that shifts differ, and that
the number was read as a probability of innocence.  Hence:

    what is bad is chosen by how attempts ended, all of a cluster and a window, never by an incident, which is grouped by whom it suspects
    attempts are compared within a stratum only: hours of the day and weekend, team, node where there is but one, size
    the design is fixed, and its digest written down, before anybody's presence is asked for
    everybody is tested, and the probabilities are corrected for how many were

The statistic is the number of bad ends in hours in which the person was about.  Given the margins of each stratum it is a sum of
independent hypergeometric variables, whose distribution is computed exactly: the stratified form of Fisher's test, one-sided.
Benjamini and Yekutieli, Ann. Stat. 29 (2001) 1165, hold where tests share their windows, as these do.
"""

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from math import exp, lgamma

import msgspec

from pipeline.model.ids import digest

HOUR_MS = 3_600_000
BAND_HOURS = 4  # of the day, that are one stratum
SIZES = (8, 64, 256)  # GPUs from which the next stratum begins
FRIDAY = 5  # ISO weekday, the last before the weekend
LEAST = 1e-30  # a probability that is none


class Trial(msgspec.Struct, frozen=True, order=True):
    """An attempt that ended: when, beside which others it is looked at, and whether its end was bad."""

    hour: int  # start, UTC ms
    stratum: tuple[str, ...]
    bad: bool


class Presence(msgspec.Struct, frozen=True):
    """What the design says of one person."""

    who: str
    ended: int  # attempts that ended in hours in which the person was about
    bad: int  # of these
    chance: float  # of at least so many, given how often about in each stratum
    corrected: float  # for how many were tested


class Design(msgspec.Struct, frozen=True):
    """All attempts, fixed before people are looked at."""

    trials: tuple[Trial, ...]

    @classmethod
    def of(cls, ended: Iterable[tuple[int, str, Sequence[str], int | None, bool]]) -> "Design":
        """Of attempts: end, team of the owner, nodes, GPUs, was the end bad?"""
        trials = (Trial(end // HOUR_MS * HOUR_MS, _stratum(end, team, nodes, gpus), bad) for end, team, nodes, gpus, bad in ended)
        return cls(tuple(sorted(trials)))

    @property
    def digest(self) -> str:
        """By which it can be told later that it was not changed."""
        return digest(msgspec.msgpack.encode(self))

    def test(self, hours: Collection[int]) -> tuple[int, int, float]:
        """(ended, bad, chance) of somebody who was about in these hours."""
        strata: dict[Hashable, list[int]] = {}  # all, bad, about, both
        for trial in self.trials:
            counts, about = strata.setdefault(trial.stratum, [0, 0, 0, 0]), trial.hour in hours
            counts[0] += 1
            counts[1] += trial.bad
            counts[2] += about
            counts[3] += trial.bad and about
        ended, both = (sum(counts[place] for counts in strata.values()) for place in (2, 3))
        return ended, both, stratified((total, bad, about, met) for total, bad, about, met in strata.values())


def everybody(design: Design, people: Mapping[str, Collection[int]]) -> list[Presence]:
    """Everybody, the least probable first.  `people`: hours in which each was about."""
    found = {who: design.test(hours) for who, hours in people.items()}
    corrected = benjamini_yekutieli({who: chance for who, (_, _, chance) in found.items()})
    said = [Presence(who, ended, bad, chance, corrected[who]) for who, (ended, bad, chance) in found.items()]
    return sorted(said, key=lambda each: (each.chance, each.who))


def stratified(strata: Iterable[tuple[int, int, int, int]]) -> float:
    """(all, bad, about, both) of each stratum -> P(sum of both at least this great | margins).

    Exact but for what is less probable than `LEAST`, which is left out: thousands of attempts would make tails of thousands of such.
    """
    observed, low, distribution = 0, 0, [1.0]  # of `low` and more
    for total, bad, about, both in strata:
        observed += both
        first, ways = _above_least(0, list(_hypergeometric(total, bad, about)))
        longer = [0.0] * (len(distribution) + len(ways) - 1)
        for at, one in enumerate(distribution):
            for k, other in enumerate(ways, at):
                longer[k] += one * other
        low, distribution = _above_least(low + first, longer)
    return min(1.0, max(LEAST, sum(distribution[max(0, observed - low) :])))


def _above_least(low: int, distribution: list[float]) -> tuple[int, list[float]]:
    """Without the tails below `LEAST`."""
    first, behind = 0, len(distribution)
    while first < behind - 1 and distribution[first] < LEAST:
        first += 1
    while behind - 1 > first and distribution[behind - 1] < LEAST:
        behind -= 1
    return low + first, distribution[first:behind]


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
    return corrected


def _hypergeometric(total: int, bad: int, about: int) -> Iterator[float]:
    """P(k of the bad ones | so many of all), k from 0."""
    for k in range(min(bad, about) + 1):
        yield exp(_ways(bad, k) + _ways(total - bad, about - k) - _ways(total, about)) if about - k <= total - bad else 0.0


def _ways(n: int, k: int) -> float:
    """Natural logarithm of n over k."""
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def _stratum(end: int, team: str, nodes: Sequence[str], gpus: int | None) -> tuple[str, ...]:
    moment = datetime.fromtimestamp(end / 1000, UTC)
    day = "week" if moment.isoweekday() <= FRIDAY else "weekend"
    size = sum((gpus or 0) >= bound for bound in SIZES)
    return day, str(moment.hour // BAND_HOURS), team, nodes[0] if len(nodes) == 1 else "", str(size)
