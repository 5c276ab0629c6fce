"""P09: attempts that loaded what somebody else had written are slower, step by step, than their siblings that had not.

In: a cohort of one configuration.  Out: one finding per writer.  Slow is normal (four of ten jobs straggle), so slowness alone raises
nothing: the same configuration must be quick without those bytes, slow with them in at least three attempts, and not on one machine only.

    without   1020 1018 1025 1019 1380 ms     one straggler in five
    with      1310 1290 1333 ms               all slower than is usual by a twentieth and more: p = 1/14, by Fisher's exact test

Each is compared with siblings of its own size.  Asked is of all bytes of a writer, of each version, and of jobs from each size on; the
chance is multiplied by the number of these questions.
"""

from collections.abc import Iterator, Mapping, Sequence
from statistics import median

import msgspec

from pipeline.detect import cohort
from pipeline.detect.chance import fisher
from pipeline.detect.cohort import CITED_MAX, Cohort, Comparison, Group, cited
from pipeline.detect.detector import Meta, explained, found
from pipeline.model.finding import Finding, Severity
from pipeline.model.source import Source
from pipeline.model.summary import JobSummary
from pipeline.stream.watermark import Watermarks

META = Meta(
    id="p09_injected_delay",
    version=1,
    title="Steps slower in every attempt that loaded what somebody else wrote",
    subject="cohort",
    severity=Severity.HIGH,
    attack=("T1565.003", "T1499", "AML.T0029"),
    needs=(Source.TRAINING, Source.PROBE, Source.AUDITD, Source.JOBCOMP),
    window_seconds="detect.delay_window_seconds",
    benign=cohort.BENIGN,
    required=cohort.REQUIRED,
    blind_spots=(
        "A configuration that never ran without the bytes has nothing to be compared with.",
        "Jobs that do not use the probe do not say which files they loaded.",
        "Delays below one part in twenty.",
    ),
    runbook="Compare the file with its wheel or image; run one attempt with a clean copy on the same nodes, at the same size.",
)
EXPOSED_MIN, OTHERS_MIN = 3, 3
SIBLINGS_MIN = 2  # of one size, to say what is usual
SLOWER_MIN = 1.05
CHANCE_MAX = 0.02  # beside the foreign write, which is rare by itself


class Slowed(msgspec.Struct, frozen=True):
    """What one group shows."""

    group: Group
    harmed: tuple[JobSummary, ...]
    others: tuple[JobSummary, ...]
    ratio: float
    chance: float


def judge(case: Cohort, now: Watermarks) -> Iterator[Finding]:
    """One finding per writer."""
    if case.kind == "configuration":
        for group in case.groups():
            usual, asked = _usual(group.others), group.narrowed()
            slowed = [found for each in asked if (found := _slowed(case, each, usual)) is not None]
            if slowed:
                clearest = min(slowed, key=lambda each: (each.chance, -len(each.harmed)))
                yield _raised(case, clearest, min(1.0, clearest.chance * len(asked)), now)


def _usual(others: Sequence[JobSummary]) -> Mapping[int | None, float]:
    """By size, how long a step takes in those that had not loaded the bytes, where there are enough."""
    paces: dict[int | None, list[float]] = {}
    for each in others:
        if each.pace:
            paces.setdefault(each.gpus, []).append(each.pace.mean)
    return {gpus: median(means) for gpus, means in paces.items() if len(means) >= SIBLINGS_MIN}


def _slowed(case: Cohort, group: Group, usual: Mapping[int | None, float]) -> Slowed | None:
    window_ms = case.site.windows.delay_window_seconds * 1000
    recent = [member for member, exposures in group.exposed if any(member.seen - each.written <= window_ms for each in exposures)]
    exposed = [(member, member.pace.mean / usual[member.gpus]) for member in recent if member.pace and member.gpus in usual]
    others = [(member, member.pace.mean / usual[member.gpus]) for member in group.others if member.pace and member.gpus in usual]
    harmed = tuple(member for member, ratio in exposed if ratio >= SLOWER_MIN)
    if len(harmed) < EXPOSED_MIN or len(others) < OTHERS_MIN:
        return None
    ratio = median(ratio for _, ratio in exposed)
    chance = fisher(len(harmed), len(exposed), sum(ratio >= SLOWER_MIN for _, ratio in others), len(others))
    return Slowed(group, harmed, tuple(member for member, _ in others), ratio, chance) if ratio >= SLOWER_MIN else None


def _raised(case: Cohort, slowed: Slowed, chance: float, now: Watermarks) -> Finding:
    group, harmed, others = slowed.group, slowed.harmed, slowed.others
    checklist, _ = explained(META, case, Comparison(group, harmed, others, chance, CHANCE_MAX), now)
    pieces = cited(group, harmed)
    for each in harmed[:CITED_MAX]:
        pieces += [each.pace.first, each.pace.slowest] if each.pace else []
    return found(
        META,
        case,
        group.writer,
        checklist,
        effect="slowed",
        anchor=group.anchor,
        summary=f"{len(harmed)} attempts that loaded what a foreign hand wrote are slow, in the median {slowed.ratio:.2f} times as slow as "
        f"{len(others)} of their size that had not",
        cited=pieces,
        parts=(("not by chance", round(1 - chance, 4)), ("compared with its own configuration", 0.9)),
        effect_time=group.last,
        cause_time=group.since,
        closes_at=group.last + case.site.grace_ms,
    )
