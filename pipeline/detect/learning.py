"""How attempts learn, step by step, and which of them learn otherwise than their siblings: for P10.

In: summaries of attempts of one configuration and size band.  Out: by what one differs, and the lines that show it.

    step            1000   1100   1200   1300
    siblings        4.11   4.02   3.96   3.90     +- 0.03: their median, and six times their spread about it
    attempt         4.12   4.31   4.55   4.71     leaves the band and stays outside: differs by its loss

Compared are the loss, the norm of the gradient, the learning rate, the samples consumed by a step, and the arguments that training says
it runs with.  Between two steps that siblings have logged an attempt must lie between what they had there.  Who got further than they did
must not lie above what they had last, where a measure falls.  Most is asked again and again, so answers are remembered.

Holds: an answer is a function of the attempt and of its siblings; what is remembered changes none.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import NamedTuple

import msgspec

from pipeline.model.finding import Evidence
from pipeline.model.summary import JobSummary, Step
from pipeline.model.told import Attempt

OTHERS_MIN = 3  # siblings, to say what is usual
STEPS_MIN = 3  # in which a run must be outside, the last among them
SPREADS = 6.0  # of the siblings, about their median: 1.4826 median deviations make one, as in a normal distribution
NOISE = 0.005  # of the loss: kernels and reduced precision alone make that much
NORM_NOISE = 0.25  # of the gradient's norm, which hops from step to step: outside is two and a half times as much, and never less
EXACT = 0.01  # of what a schedule decides: learning rate, samples consumed
APART_MAX = 2.0  # how far apart, as a ratio, two steps of siblings may lie between which a step is compared with both
SAME_MIN = 0.8  # of the siblings run with the same argument, or it is not part of the configuration
# What is compared at each step, one value for each or none at all, and what is no difference: part of the siblings' median.
Measure = Callable[[JobSummary], Sequence[float | None]]
# The last says whether it falls in training: then who got further than the others must not lie above what they had before.
MEASURES: tuple[tuple[str, Measure, float, bool], ...] = (
    ("loss", lambda member: [step.loss for step in member.steps], NOISE, True),
    ("norm of the gradient", lambda member: [step.gradient_norm for step in member.steps], NORM_NOISE, True),
    ("learning rate", lambda member: [step.learning_rate for step in member.steps] if _stated_rate(member) is None else (), EXACT, False),
    ("learning rate", lambda member: _parts_of_rate(member, _stated_rate(member)), EXACT, False),
    ("samples consumed", lambda member: [_part_of(step.samples, step.iteration) for step in member.steps], EXACT, False),
)
BEYOND = " beyond theirs"  # shown where no sibling got alone: a stage that all come to looks so while nobody else has come to it
KNOWN_MAX = 300  # sets of siblings of which it is remembered how they learn: from look to look nearly all are the same
HELD_MAX = 8000  # attempts that these keep in memory, whoever else has forgotten them
Difference = tuple[str, tuple[Evidence, ...]]  # by what, shown where


class Usual(NamedTuple):
    """What is usual at a step."""

    middle: float
    spread: float
    is_bound: bool = False  # nobody got so far, or logs near it, and it falls: only what lies above is outside

    def excludes(self, value: float) -> bool:
        """Is it outside?  What is no number is."""
        return not (abs(value - self.middle) <= SPREADS * self.spread or (self.is_bound and value < self.middle))


class Band:
    """Median and spread of a measure at each step: of the members that logged it, else of those shortly before and after.

    A value that is not a number stands nowhere among the others, and says nothing of what is usual.
    """

    def __init__(self, members: Sequence[JobSummary], measure: Measure, noise: float, *, falls: bool) -> None:
        self._falls = falls
        values: dict[int, list[float]] = {}
        for member in members:
            for step, value in zip(member.steps, measure(member), strict=False):
                if value is not None and isfinite(value):
                    values.setdefault(step.iteration, []).append(value)
        self._at: dict[int, Usual | None] = {
            iteration: _usual(found, noise) for iteration, found in values.items() if len(found) >= OTHERS_MIN - 1
        }
        self._logged = sorted(self._at)

    def at(self, iteration: int) -> Usual | None:
        """None: the siblings do not tell."""
        if iteration not in self._at:
            self._at[iteration] = self._between(iteration)
        return self._at[iteration]

    def _between(self, iteration: int) -> Usual | None:
        logged = self._logged
        place = bisect_left(logged, iteration)
        before = self._at[logged[place - 1]] if place and iteration <= APART_MAX * logged[place - 1] else None
        behind = self._at[logged[place]] if place < len(logged) else None
        if before is None:
            return None
        if behind is None or logged[place] > APART_MAX * logged[place - 1]:
            return before._replace(is_bound=True) if self._falls else None
        apart = abs(before.middle - behind.middle)
        return Usual((before.middle + behind.middle) / 2, max(before.spread, behind.spread) + apart / 2 / SPREADS)


class Siblings(msgspec.Struct, frozen=True):
    """How attempts without the bytes learn."""

    members: tuple[JobSummary, ...]
    bands: tuple[Band, ...]  # of each measure
    arguments: Mapping[str, Mapping[str, frozenset[Attempt]]]  # of which nearly all have one value: who runs with which
    # What was found of whom, as far as he had come then: the same are asked about for each version and size, and at the next look.
    differ: dict[Attempt, tuple[JobSummary, Difference | None]]
    came_far: dict[Attempt, tuple[JobSummary, bool]]


_known: dict[tuple[int, ...], Siblings] = {}  # by the identities of members, which it keeps alive
_held: set[int] = set()  # identities of all attempts in there


def siblings_of(members: tuple[JobSummary, ...]) -> Siblings:
    """What they had at their steps, as far as they tell."""
    names = tuple(map(id, members))
    if names not in _known:
        if len(_known) >= KNOWN_MAX or len(_held) >= HELD_MAX:
            _known.clear()
            _held.clear()
        _known[names] = _compared(members)
        _held.update(names)
    return _known[names]


def _compared(members: tuple[JobSummary, ...]) -> Siblings:
    words: dict[str, dict[str, frozenset[Attempt]]] = {}
    for member in members:
        for name, value, _ in member.arguments:
            known = words.setdefault(name, {})
            known[value] = known.get(value, frozenset()) | {member.attempt}
    totals = {name: sum(map(len, known.values())) for name, known in words.items()}
    agreed = {name: known for name, known in words.items() if max(OTHERS_MIN, SAME_MIN * totals[name]) <= max(map(len, known.values()))}
    return Siblings(members, tuple(Band(members, measure, noise, falls=falls) for _, measure, noise, falls in MEASURES), agreed, {}, {})


def differs(member: JobSummary, siblings: Siblings) -> Difference | None:
    """The first measure by which it stays outside the band of its siblings, with what shows it; None: by none."""
    known = siblings.differ.get(member.attempt)
    if known is None or known[0] is not member:
        known = siblings.differ[member.attempt] = member, _difference(member, siblings)
        _held.add(id(member))
    return known[1]


def _difference(member: JobSummary, siblings: Siblings) -> Difference | None:
    for name, value, shown in member.arguments:
        # An owner may run his own otherwise, and then does so without the bytes, too.
        if name in siblings.arguments and not siblings.arguments[name].get(value, frozenset()) - {member.attempt}:
            return name, (shown,)
    for (name, measure, _, _), band in zip(MEASURES, siblings.bands, strict=True):
        if outside := _outside(member, band, measure):
            beyond = all(usual.is_bound for _, usual in outside)
            return name + BEYOND * beyond, (outside[0][0].cited, outside[-1][0].cited)
    return None


def is_comparable(member: JobSummary, siblings: Siblings, *, early: bool) -> bool:
    """May it show a difference at all?  `early`: arguments do, too, of which it told before its first step."""
    return came_far(member, siblings) or (early and any(name in siblings.arguments for name, _, _ in member.arguments))


def came_far(member: JobSummary, siblings: Siblings) -> bool:
    """Did it get as far as others, in enough steps to say whether it stays in one of their bands?"""
    known = siblings.came_far.get(member.attempt)
    if known is None or known[0] is not member:
        far = any(sum(band.at(step.iteration) is not None for step in member.steps) >= STEPS_MIN for band in siblings.bands)
        known = siblings.came_far[member.attempt] = member, far
        _held.add(id(member))
    return known[1]


def _stated_rate(member: JobSummary) -> float | None:
    """The learning rate with which training says it runs: another one is its owner's choice, and no other schedule."""
    for name, value, _ in member.arguments:
        if name == "lr":
            try:
                return float(value)
            except ValueError:
                return None
    return None


def _parts_of_rate(member: JobSummary, rate: float | None) -> Sequence[float | None]:
    return [_part_of(step.learning_rate, rate) for step in member.steps] if rate else ()


def _part_of(value: float | None, whole: float | None) -> float | None:
    return value / whole if value is not None and whole else None


def _outside(member: JobSummary, band: Band, measure: Measure) -> list[tuple[Step, Usual]]:
    """Its steps outside the band, and what is usual there; none unless it stays outside."""
    known = [
        (step, usual, usual.excludes(value))
        for step, value in zip(member.steps, measure(member), strict=False)
        if value is not None and (usual := band.at(step.iteration)) is not None
    ]
    stays = len(known) >= STEPS_MIN and all(is_outside for _, _, is_outside in known[-STEPS_MIN:])
    return [(step, usual) for step, usual, is_outside in known if is_outside] if stays else []


def _usual(values: Sequence[float], noise: float) -> Usual:
    middle = _middle(values)
    return Usual(middle, max(1.4826 * _middle([abs(value - middle) for value in values]), noise * abs(middle)))


def _middle(values: Sequence[float]) -> float:
    """The median: `statistics` takes twice as long, and there are millions."""
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(values) % 2 else (ordered[half - 1] + ordered[half]) / 2
