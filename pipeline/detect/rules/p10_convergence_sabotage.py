"""P10: attempts that loaded what somebody else had written learn otherwise than their siblings that had not, at the same steps.

In: the attempts of an account.  Out: one finding per writer.  Losses spike by themselves (about 20 times in one published run), so a
loss alone raises nothing: the losses of those that loaded the bytes must leave the band of their siblings step after step and stay
outside, and hardly any sibling may do the same.  The learning rate, the samples consumed by a step, and the arguments that training says
it runs with (a seed, an optimizer) are compared in the same way.  Between two steps that siblings have
logged a run must lie between what they had there.  Each is compared with siblings of its own configuration, and what is seen in all
configurations counts together.

    step            1000   1100   1200   1300
    siblings        4.11   4.02   3.96   3.90     +- 0.03
    with the bytes  4.12   4.31   4.55   4.71     leaves the band and stays outside
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from math import isfinite
from statistics import median

import msgspec

from pipeline.detect import cohort
from pipeline.detect.chance import fisher_of
from pipeline.detect.cohort import CITED_MAX, Cohort, Comparison, Group, cited
from pipeline.detect.detector import Meta, explained, found
from pipeline.model.finding import Evidence, Finding, Severity
from pipeline.model.source import Source
from pipeline.model.summary import JobSummary, Step
from pipeline.model.told import Attempt
from pipeline.stream.watermark import Watermarks

META = Meta(
    id="p10_convergence_sabotage",
    version=2,
    title="Training learns otherwise in the attempts that loaded what somebody else wrote",
    subject="cohort",
    severity=Severity.HIGH,
    attack=("T1565.003", "T1554", "AML.T0031"),
    needs=(Source.TRAINING, Source.PROBE, Source.AUDITD, Source.JOBCOMP),
    window_seconds="detect.convergence_window_seconds",
    benign=cohort.BENIGN,
    required=cohort.REQUIRED,
    blind_spots=(
        "Who runs jobs of the same account and name decides what they print: his false siblings blur what is usual.",
        "A configuration that never ran without the bytes has nothing to be compared with.",
        "Harm smaller than six times the spread among siblings.",
        "Frameworks whose lines carry no step number of the whole run.",
    ),
    runbook="Run the same configuration and seed with a clean copy of the file, and compare the losses step by step.",
)
EXPOSED_MIN, OTHERS_MIN = 2, 3
STEPS_MIN = 3  # in which a run must be outside, the last among them
SPREADS = 6.0  # of the siblings, about their median: 1.4826 median deviations make one, as in a normal distribution
NOISE = 0.005  # of the loss: kernels and reduced precision alone make that much
EXACT = 0.01  # of what a schedule decides: learning rate, samples consumed
APART_MAX = 2.0  # how far apart, as a ratio, two steps of siblings may lie between which a step is compared with both
SAME_MIN = 0.8  # of the siblings run with the same argument, or it is no part of the configuration
CHANCE_MAX = 0.02
# What is compared at each step, and what is no difference: part of the siblings' median.
Measure = Callable[[JobSummary, Step], float | None]
MEASURES: tuple[tuple[str, Measure, float], ...] = (
    ("loss", lambda _, step: step.loss, NOISE),
    ("learning rate", lambda member, step: step.learning_rate if _stated_rate(member) is None else None, EXACT),
    ("learning rate", lambda member, step: _part_of(step.learning_rate, _stated_rate(member)), EXACT),
    ("samples consumed", lambda _, step: _part_of(step.samples, step.iteration), EXACT),
)


Band = Mapping[int, tuple[float, float]]  # step -> median and spread


class Siblings(msgspec.Struct, frozen=True):
    """How attempts without the bytes learn."""

    members: tuple[JobSummary, ...]
    bands: tuple[Band, ...]  # of each measure
    arguments: Mapping[str, Mapping[str, frozenset[Attempt]]]  # of which nearly all have one value: who runs with which


class Diverged(msgspec.Struct, frozen=True):
    """What one group shows."""

    group: Group
    exposed: int
    harmed: tuple[tuple[JobSummary, str, tuple[Evidence, ...]], ...]  # by what, shown where
    fine: tuple[JobSummary, ...]  # of the siblings
    others: int
    chance: float


def judge(case: Cohort, now: Watermarks) -> Iterator[Finding]:
    """One finding per writer."""
    if case.kind == "configuration":
        for group in case.groups():
            siblings, asked = _families(group), group.narrowed()
            if len(group.exposed) < EXPOSED_MIN or not siblings:
                continue
            diverged = [_diverged(case, each, siblings) for each in asked]
            chances = group.corrected([each.chance if each else 1.0 for each in diverged])
            seen = [
                (chance, -len(each.harmed), number) for number, (each, chance) in enumerate(zip(diverged, chances, strict=True)) if each
            ]
            clearest = diverged[min(seen)[2]] if seen else None
            if clearest is not None:
                yield _raised(case, clearest, min(seen)[0], now)


def _families(group: Group) -> Mapping[str, Siblings]:
    """By configuration, the siblings of those that loaded the bytes, where there are enough."""
    found = {}
    for name in sorted({member.configuration for member, _ in group.exposed}):
        members = tuple(member for member in group.others if (member.steps or member.arguments) and member.configuration == name)
        exposed = [member for member, _ in group.exposed if member.configuration == name]
        if len(members) >= OTHERS_MIN:
            found[name] = _siblings(members, {step.iteration for member in (*members, *exposed) for step in member.steps})
    return found


def _siblings(members: tuple[JobSummary, ...], reached: Collection[int]) -> Siblings:
    """What they had at all these steps, as far as they tell."""
    words: dict[str, dict[str, frozenset[Attempt]]] = {}
    for member in members:
        for name, value, _ in member.arguments:
            known = words.setdefault(name, {})
            known[value] = known.get(value, frozenset()) | {member.attempt}
    totals = {name: sum(map(len, known.values())) for name, known in words.items()}
    agreed = {name: known for name, known in words.items() if max(OTHERS_MIN, SAME_MIN * totals[name]) <= max(map(len, known.values()))}
    return Siblings(members, tuple(_band(members, reached, measure, noise) for _, measure, noise in MEASURES), agreed)


def _diverged(case: Cohort, group: Group, families: Mapping[str, Siblings]) -> Diverged | None:
    window_ms = case.site.windows.convergence_window_seconds * 1000
    recent = [member for member, exposures in group.exposed if any(member.seen - each.written <= window_ms for each in exposures)]
    recent = [member for member in recent if member.configuration in families]
    # What differs before the first steps is held against all that tell as much, as far as they came: else only what differs would count.
    early = any(not _came_far(each, families[each.configuration]) and _differs(each, families[each.configuration]) for each in recent)
    exposed = [each for each in recent if _is_comparable(each, families[each.configuration], early=early)]
    harmed = tuple((each, *shown) for each in exposed if (shown := _differs(each, families[each.configuration])) is not None)
    if len(exposed) < EXPOSED_MIN or len(harmed) < EXPOSED_MIN or 2 * len(harmed) < len(exposed):
        return None
    others = [each for family in families.values() for each in family.members if _is_comparable(each, family, early=early)]
    fine = tuple(each for each in others if _differs(each, families[each.configuration]) is None)
    counts = [Counter(each.configuration for each in side) for side in ([each for each, _, _ in harmed], exposed, fine, others)]
    bad, loaded, well, beside = counts
    chance = fisher_of([(bad[name], loaded[name], beside[name] - well[name], beside[name]) for name in sorted(families)])
    return Diverged(group, len(exposed), harmed, fine, len(others), chance) if len(others) >= OTHERS_MIN else None


def _raised(case: Cohort, diverged: Diverged, chance: float, now: Watermarks) -> Finding:
    group, members = diverged.group, [member for member, _, _ in diverged.harmed]
    checklist, _ = explained(META, case, Comparison(group, members, diverged.fine, chance, CHANCE_MAX), now)
    pieces = cited(group, members)
    for _, _, shown in diverged.harmed[:CITED_MAX]:
        pieces += shown
    what = ", ".join(sorted({measure for _, measure, _ in diverged.harmed}))
    return found(
        META,
        case,
        group.writer,
        checklist,
        effect="learns_otherwise",
        anchor=case.anchor(group),
        summary=f"{len(members)} of {diverged.exposed} attempts that loaded what a foreign hand wrote leave the band of their siblings "
        f"({what}), of which {diverged.others - len(diverged.fine)} in {diverged.others} do",
        cited=pieces,
        parts=(("not by chance", round(1 - chance, 4)), ("compared with its own configuration", 0.9)),
        effect_time=group.last,
        cause_time=group.since,
        closes_at=group.last + case.site.grace_ms,
    )


def _differs(member: JobSummary, siblings: Siblings) -> tuple[str, tuple[Evidence, ...]] | None:
    """The first measure by which it stays outside the band of its siblings, with what shows it; None: by none."""
    for name, value, shown in member.arguments:
        # An owner may run his own otherwise, and then does so without the bytes, too.
        if name in siblings.arguments and not siblings.arguments[name].get(value, frozenset()) - {member.attempt}:
            return name, (shown,)
    for (name, measure, _), band in zip(MEASURES, siblings.bands, strict=True):
        if steps := _outside(member, band, measure):
            return name, (steps[0].cited, steps[-1].cited)
    return None


def _is_comparable(member: JobSummary, siblings: Siblings, *, early: bool) -> bool:
    """May it show a difference at all?  `early`: arguments do, too, of which it told before its first step."""
    return _came_far(member, siblings) or (early and any(name in siblings.arguments for name, _, _ in member.arguments))


def _came_far(member: JobSummary, siblings: Siblings) -> bool:
    """Did it get as far as others, in enough steps to say whether it stays in one of their bands?"""
    return any(sum(step.iteration in band for step in member.steps) >= STEPS_MIN for band in siblings.bands)


def _stated_rate(member: JobSummary) -> float | None:
    """The learning rate with which training says it runs: another one is its owner's choice, and no other schedule."""
    for name, value, _ in member.arguments:
        if name == "lr":
            try:
                return float(value)
            except ValueError:
                return None
    return None


def _part_of(value: float | None, whole: float | None) -> float | None:
    return value / whole if value is not None and whole else None


def _outside(member: JobSummary, band: Band, measure: Measure) -> list[Step]:
    """Its steps outside the band; none unless it stays outside."""
    known = [(step, value) for step in member.steps if step.iteration in band and (value := measure(member, step)) is not None]
    outside = [step for step, value in known if _is_outside(value, *band[step.iteration])]
    stays = len(known) >= STEPS_MIN and all(_is_outside(value, *band[step.iteration]) for step, value in known[-STEPS_MIN:])
    return outside if stays else []


def _is_outside(value: float, middle: float, spread: float) -> bool:
    return not abs(value - middle) <= SPREADS * spread  # a loss that is no number is outside


def _band(members: Sequence[JobSummary], reached: Collection[int], measure: Measure, noise: float) -> Band:
    """Median and spread of a measure at each of these steps: of the members that logged it, else of those shortly before and behind.

    One that is no number stands nowhere among the others, and says nothing of what is usual.
    """
    values: dict[int, list[float]] = {}
    for member in members:
        for step in member.steps:
            if (value := measure(member, step)) is not None and isfinite(value):
                values.setdefault(step.iteration, []).append(value)
    known = {iteration: _spread(found, noise) for iteration, found in values.items() if len(found) >= OTHERS_MIN - 1}
    logged = sorted(known)
    band = {}
    for iteration in reached:
        place = bisect_left(logged, iteration)
        if iteration in known:
            band[iteration] = known[iteration]
        elif 0 < place < len(logged) and logged[place] <= APART_MAX * logged[place - 1]:
            (before, narrow), (behind, wide) = known[logged[place - 1]], known[logged[place]]
            band[iteration] = ((before + behind) / 2, max(narrow, wide) + abs(before - behind) / 2 / SPREADS)
    return band


def _spread(values: Sequence[float], noise: float) -> tuple[float, float]:
    middle = median(values)
    return middle, max(1.4826 * median(abs(value - middle) for value in values), noise * abs(middle))
