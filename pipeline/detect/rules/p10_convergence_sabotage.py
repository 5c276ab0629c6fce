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

Many attempts do not say what they load.  Where too few say that they loaded the bytes, and differ, those are asked that say nothing and
ran while the bytes may have lain there: they must differ as hardly any others of their configurations do; nobody is named, since most of
it is no word on what was loaded.  Nothing is said so while another hand's bytes lay there that are not known to do no harm.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from math import isfinite
from statistics import median

import msgspec

from pipeline.detect import cohort
from pipeline.detect.chance import fisher_of
from pipeline.detect.cohort import CITED_MAX, Cohort, Comparison, Group, cited, unnamed
from pipeline.detect.detector import Meta, explained, found
from pipeline.model.finding import Evidence, Finding, Severity
from pipeline.model.instants import DAY_MS
from pipeline.model.source import Source
from pipeline.model.summary import JobSummary, Step
from pipeline.model.told import Attempt
from pipeline.stream.watermark import Watermarks

META = Meta(
    id="p10_convergence_sabotage",
    version=3,
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
        "Bytes that no attempt with the probe loads and differs by.",
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
UNTOLD_MIN, UNTOLD_CHANCE_MAX = 3, 1e-4  # of those that do not say what they load, while the bytes lay there
UNTOLD_MS = 2 * DAY_MS  # and how long these may have, behind the last load that is told
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
    untold: int = 0  # of the harmed, those that do not say what they load


def judge(case: Cohort, now: Watermarks) -> Iterator[Finding]:
    """One finding per writer."""
    if case.kind == "configuration":
        for group in case.groups():
            siblings, asked = _families(group), group.narrowed()
            clearest = _clearest(group, [_diverged(case, each, siblings) for each in asked])
            if siblings and (clearest is None or clearest[0] > CHANCE_MAX):
                clearest = _clearest(group, [_meanwhile(case, each, siblings) for each in asked]) or clearest
            if clearest is not None:
                yield _raised(case, clearest[1], clearest[0], now)


def _clearest(group: Group, diverged: Sequence[Diverged | None]) -> tuple[float, Diverged] | None:
    """(chance, what is shown) of the least probable of the answers."""
    chances = group.corrected([each.chance if each else 1.0 for each in diverged])
    seen = [(chance, -len(each.harmed), number, each) for number, (each, chance) in enumerate(zip(diverged, chances, strict=True)) if each]
    chance, _, _, clearest = min(seen, key=lambda each: each[:3], default=(1.0, 0, 0, None))
    return (chance, clearest) if clearest is not None else None


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


def _meanwhile(case: Cohort, group: Group, families: Mapping[str, Siblings]) -> Diverged | None:
    """What those show that do not say what they load, beside the few that loaded the bytes."""
    asked = [(member, mine) for member, mine in group.exposed if (known := families.get(member.configuration)) and _came_far(member, known)]
    told = tuple((member, *shown) for member, _ in asked if (shown := _differs(member, families[member.configuration])) is not None)
    if not told or 2 * len(told) < len(asked):
        return None
    recent = max(member.attempt.start for member, _, _ in told) - case.site.windows.convergence_window_seconds * 1000
    since = max(recent, min(each.written for _, mine in asked for each in mine))
    until = max(each.load.event_time for _, mine in asked for each in mine) + UNTOLD_MS
    others = [each for each in case.members if each.owner != group.writer.id and not each.exposed and each.steps]
    silent = [each for each in others if not each.loads_told and since <= each.attempt.start <= until]
    clean = cohort.nearest([each for each in others if each.loads_told or not since <= each.attempt.start <= until], since)
    if not _alone(case, group.writer.id, (since, until), clean):
        return None
    counts, harmed, fine = [], [*told], []
    for mine, beside in _by_configuration(silent, clean):
        bad = [(each, *shown) for each, shown in mine if shown is not None]
        well = [each for each, shown in beside if shown is None]
        counts.append((len(bad), len(mine), len(beside) - len(well), len(beside)))
        harmed += bad
        fine += well
    untold, exposed = len(harmed) - len(told), sum(each[1] for each in counts)
    if untold < UNTOLD_MIN or 2 * untold < exposed:
        return None
    beside_all = sum(each[3] for each in counts)
    return Diverged(group, len(asked) + exposed, tuple(harmed), tuple(fine), beside_all, fisher_of(counts), untold)


def _alone(case: Cohort, writer: str, there: tuple[int, int], clean: Sequence[JobSummary]) -> bool:
    """Are the bytes of every other hand that were loaded meanwhile known to do no harm?"""
    exposures = {each.attempt: [mine for mine in each.exposures if mine.writer != writer and not mine.restored] for each in case.members}
    well: dict[str, list[bool]] = {}
    for members, _ in _by_configuration([each for each in case.members if exposures[each.attempt]], clean):
        for member, shown in members:
            for name in {each.writer for each in exposures[member.attempt]}:
                well.setdefault(name, []).append(shown is None)
    meanwhile = {each.writer for mine in exposures.values() for each in mine if there[0] <= each.load.event_time <= there[1]}
    return all(
        len(seen := well.get(name, [])) >= cohort.HARMLESS_MIN and sum(seen) >= cohort.HARMLESS_SHARE * len(seen) for name in meanwhile
    )


Shown = tuple[JobSummary, tuple[str, tuple[Evidence, ...]] | None]


def _by_configuration(asked: Sequence[JobSummary], clean: Sequence[JobSummary]) -> Iterator[tuple[list[Shown], list[Shown]]]:
    """For each configuration, by what those differ that are asked, and these siblings, as far as they came far enough."""
    sides: defaultdict[str, tuple[list[JobSummary], list[JobSummary]]] = defaultdict(lambda: ([], []))
    for place, side in enumerate((asked, clean)):
        for each in side:
            sides[each.configuration][place].append(each)
    for name in sorted({each.configuration for each in asked}):
        mine, beside = sides[name]
        if len(beside) >= OTHERS_MIN:
            known = _siblings(tuple(beside), {step.iteration for each in (*mine, *beside) for step in each.steps})
            first, second = ([(each, _differs(each, known)) for each in side if _came_far(each, known)] for side in (mine, beside))
            yield first, second


def _raised(case: Cohort, diverged: Diverged, chance: float, now: Watermarks) -> Finding:
    group, members = diverged.group, [member for member, _, _ in diverged.harmed]
    chance_max = UNTOLD_CHANCE_MAX if diverged.untold else CHANCE_MAX
    checklist, _ = explained(META, case, Comparison(group, members, diverged.fine, chance, chance_max), now)
    pieces = cited(group, members)
    for _, _, shown in diverged.harmed[:CITED_MAX]:
        pieces += shown
    what = ", ".join(sorted({measure for _, measure, _ in diverged.harmed}))
    loaded = f" or, {diverged.untold} of them, do not say what they loaded meanwhile," if diverged.untold else ""
    loaded = f"that loaded what a foreign hand wrote{loaded}"
    return found(
        META,
        case,
        group.writer,
        checklist,
        effect="learns_otherwise",
        anchor=case.anchor(group),
        summary=f"{len(members)} of {diverged.exposed} attempts {loaded} leave the band of their siblings "
        f"({what}), of which {diverged.others - len(diverged.fine)} in {diverged.others} do",
        cited=pieces,
        parts=(("not by chance", round(1 - chance, 4)), ("compared with its own configuration", 0.9)),
        effect_time=group.last,
        cause_time=group.since,
        closes_at=group.last + case.site.grace_ms,
        withheld="most of those that differ did not say what they loaded" if diverged.untold else unnamed(chance),
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
