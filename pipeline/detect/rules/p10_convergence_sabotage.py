"""P10: attempts that loaded what somebody else had written learn otherwise than their siblings that had not, at the same steps.

In: a cohort of one configuration.  Out: one finding per writer.  Losses spike by themselves (about 20 times in one published run), so a
loss alone raises nothing: the losses of those that loaded the bytes must leave the band of their siblings step after step and stay
outside, and hardly any sibling may do the same.  The learning rate, the samples consumed by a step, and the arguments that training says
it runs with (a seed, an optimizer) are compared in the same way.

    step            1000   1100   1200   1300
    siblings        4.11   4.02   3.96   3.90     +- 0.03
    with the bytes  4.12   4.31   4.55   4.71     leaves the band and stays outside
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from statistics import median

import msgspec

from pipeline.detect import cohort
from pipeline.detect.chance import fisher
from pipeline.detect.cohort import CITED_MAX, Cohort, Comparison, Group, cited
from pipeline.detect.detector import Meta, explained, found
from pipeline.model.finding import Evidence, Finding, Severity
from pipeline.model.source import Source
from pipeline.model.summary import JobSummary, Step
from pipeline.stream.watermark import Watermarks

META = Meta(
    id="p10_convergence_sabotage",
    version=1,
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
SAME_MIN = 0.8  # of the siblings run with the same argument, or it is no part of the configuration
CHANCE_MAX = 0.02
# What is compared at each step, and what is no difference: part of the siblings' median.
MEASURES: tuple[tuple[str, Callable[[Step], float | None], float], ...] = (
    ("loss", lambda step: step.loss, NOISE),
    ("learning rate", lambda step: step.learning_rate, EXACT),
    ("samples consumed", lambda step: step.samples, EXACT),
)


Band = Mapping[int, tuple[float, float]]  # step -> median and spread


class Siblings(msgspec.Struct, frozen=True):
    """How attempts without the bytes learn."""

    members: tuple[JobSummary, ...]
    bands: tuple[Band, ...]  # of each measure
    arguments: Mapping[str, str]  # with which nearly all of them run


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
            members = tuple(member for member in group.others if member.steps)
            reached = {step.iteration for member, _ in group.exposed for step in member.steps}
            if len(group.exposed) < EXPOSED_MIN or len(members) < OTHERS_MIN or not reached:
                continue
            siblings, asked = _siblings(members, reached), group.narrowed()
            diverged = [_diverged(case, each, siblings) for each in asked]
            chances = group.corrected([each.chance if each else 1.0 for each in diverged])
            seen = [
                (chance, -len(each.harmed), number) for number, (each, chance) in enumerate(zip(diverged, chances, strict=True)) if each
            ]
            clearest = diverged[min(seen)[2]] if seen else None
            if clearest is not None:
                yield _raised(case, clearest, min(seen)[0], now)


def _siblings(members: tuple[JobSummary, ...], reached: Collection[int]) -> Siblings:
    """As far as it can be compared: at the steps that the exposed have reached."""
    words: dict[str, Counter[str]] = {}
    for member in members:
        for name, value, _ in member.arguments:
            words.setdefault(name, Counter())[value] += 1
    usual = {name: counts.most_common(1)[0] for name, counts in words.items() if counts.total() >= OTHERS_MIN}
    agreed = {name: value for name, (value, times) in usual.items() if times >= SAME_MIN * words[name].total()}
    return Siblings(members, tuple(_band(members, reached, measure, noise) for _, measure, noise in MEASURES), agreed)


def _diverged(case: Cohort, group: Group, siblings: Siblings) -> Diverged | None:
    window_ms = case.site.windows.convergence_window_seconds * 1000
    recent = [member for member, exposures in group.exposed if any(member.seen - each.written <= window_ms for each in exposures)]
    exposed = [member for member in recent if _is_comparable(member, siblings)]
    harmed = tuple((member, *shown) for member in exposed if (shown := _differs(member, siblings)) is not None)
    if len(exposed) < EXPOSED_MIN or len(harmed) < EXPOSED_MIN or 2 * len(harmed) < len(exposed):
        return None
    others = [member for member in siblings.members if _is_comparable(member, siblings)]
    fine = tuple(member for member in others if _differs(member, siblings) is None)
    chance = fisher(len(harmed), len(exposed), len(others) - len(fine), len(others))
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
        if siblings.arguments.get(name, value) != value:
            return name, (shown,)
    for (name, measure, _), band in zip(MEASURES, siblings.bands, strict=True):
        if steps := _outside(member, band, measure):
            return name, (steps[0].cited, steps[-1].cited)
    return None


def _is_comparable(member: JobSummary, siblings: Siblings) -> bool:
    """Did it get as far as others, in enough steps to say whether it stays in their band?"""
    return sum(step.iteration in siblings.bands[0] for step in member.steps) >= STEPS_MIN


def _outside(member: JobSummary, band: Band, measure: Callable[[Step], float | None]) -> list[Step]:
    """Its steps outside the band; none unless it stays outside."""
    known = [(step, value) for step in member.steps if step.iteration in band and (value := measure(step)) is not None]
    outside = [step for step, value in known if _is_outside(value, *band[step.iteration])]
    stays = len(known) >= STEPS_MIN and all(_is_outside(value, *band[step.iteration]) for step, value in known[-STEPS_MIN:])
    return outside if stays else []


def _is_outside(value: float, middle: float, spread: float) -> bool:
    return not abs(value - middle) <= SPREADS * spread  # a loss that is no number is outside


def _band(members: Sequence[JobSummary], reached: Collection[int], measure: Callable[[Step], float | None], noise: float) -> Band:
    """Median and spread of a measure at each of these steps that enough members reached."""
    values: dict[int, list[float]] = {}
    for member in members:
        for step in member.steps:
            if step.iteration in reached and (value := measure(step)) is not None:
                values.setdefault(step.iteration, []).append(value)
    band = {}
    for iteration, known in values.items():
        if len(known) >= OTHERS_MIN - 1:
            middle = median(known)
            spread = 1.4826 * median(abs(value - middle) for value in known)
            band[iteration] = (middle, max(spread, noise * abs(middle)))
    return band
