"""P10: attempts that loaded what somebody else had written learn otherwise than their siblings that had not, at the same steps.

In: a cohort of one configuration.  Out: one finding per writer.  Losses spike by themselves (about 20 times in one published run), so a
loss alone raises nothing: the losses of those that loaded the bytes must leave the band of their siblings step after step and stay
outside, and hardly any sibling may do the same.

    step            1000   1100   1200   1300
    siblings        4.11   4.02   3.96   3.90     +- 0.03
    with the bytes  4.12   4.31   4.55   4.71     leaves the band and stays outside
"""

from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from pipeline.detect import cohort
from pipeline.detect.chance import fisher
from pipeline.detect.cohort import CITED_MAX, Cohort, Comparison, Group, cited
from pipeline.detect.detector import Meta, explained, found
from pipeline.model.finding import Finding, Severity
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
CHANCE_MAX = 0.02


def judge(case: Cohort, now: Watermarks) -> Iterator[Finding]:
    """One finding per writer."""
    if case.kind == "configuration":
        for group in case.groups():
            yield from _diverged(case, group, now)


def _diverged(case: Cohort, group: Group, now: Watermarks) -> Iterator[Finding]:
    window_ms = case.site.windows.convergence_window_seconds * 1000
    exposed = [m for m, exposures in group.exposed if m.steps and any(m.seen - each.written <= window_ms for each in exposures)]
    others = [member for member in group.others if member.steps]
    if len(exposed) < EXPOSED_MIN or len(others) < OTHERS_MIN:
        return
    outside = {member.attempt: steps for member in exposed if (steps := _outside(member, others))}
    harmed = [member for member in exposed if member.attempt in outside]
    strays = [m for m in others if _outside(m, [each for each in others if each is not m])]
    if len(harmed) < EXPOSED_MIN or 2 * len(harmed) < len(exposed):
        return
    chance = fisher(len(harmed), len(exposed), len(strays), len(others))
    checklist, _ = explained(META, case, Comparison(group, harmed, others, chance, CHANCE_MAX), now)
    pieces = cited(group, harmed)
    for each in harmed[:CITED_MAX]:
        pieces += [step.cited for step in (outside[each.attempt][0], outside[each.attempt][-1])]
    yield found(
        META,
        case,
        group.writer,
        checklist,
        effect="learns_otherwise",
        anchor=group.anchor,
        summary=f"{len(harmed)} of {len(exposed)} attempts that loaded what a foreign hand wrote leave the band of their siblings, "
        f"of which {len(strays)} in {len(others)} do",
        cited=pieces,
        parts=(("not by chance", round(1 - chance, 4)), ("compared with its own configuration", 0.9)),
        effect_time=group.last,
        cause_time=group.since,
        closes_at=group.last + case.site.grace_ms,
    )


def _outside(member: JobSummary, others: Sequence[JobSummary]) -> list[Step]:
    """Its steps outside the band of the others; none unless it stays outside."""
    band = _band(others)
    known = [step for step in member.steps if step.iteration in band]
    outside = [step for step in known if _is_outside(step, *band[step.iteration])]
    stays = len(known) >= STEPS_MIN and all(_is_outside(step, *band[step.iteration]) for step in known[-STEPS_MIN:])
    return outside if stays else []


def _is_outside(step: Step, middle: float, spread: float) -> bool:
    return not abs(step.loss - middle) <= SPREADS * spread  # a loss that is no number is outside


def _band(members: Sequence[JobSummary]) -> Mapping[int, tuple[float, float]]:
    """Median and spread of the losses at each step that enough members reached."""
    losses: dict[int, list[float]] = {}
    for member in members:
        for step in member.steps:
            losses.setdefault(step.iteration, []).append(step.loss)
    band = {}
    for iteration, values in losses.items():
        if len(values) >= OTHERS_MIN - 1:
            middle = median(values)
            spread = 1.4826 * median(abs(value - middle) for value in values)
            band[iteration] = (middle, max(spread, NOISE * abs(middle)))
    return band
