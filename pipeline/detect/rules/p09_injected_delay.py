"""P09: attempts that loaded what somebody else had written are slower, step by step, than their siblings that had not.

In: a cohort of one configuration.  Out: one finding per writer.  Slow is normal (four of ten jobs straggle), so slowness alone raises
nothing: the same configuration must be quick without those bytes, slow with them in at least three attempts, and not on one machine only.

    without   1020 1018 1025 1019 1022 ms
    with      1310 1290 1333 ms               every pair of them the slower one: p = 1/56
"""

from collections.abc import Iterator
from statistics import median

from pipeline.detect import cohort
from pipeline.detect.chance import rank_sum
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
SLOWER_MIN = 1.05
CHANCE_MAX = 0.02  # beside the foreign write, which is rare by itself


def judge(case: Cohort, now: Watermarks) -> Iterator[Finding]:
    """One finding per writer."""
    if case.kind == "configuration":
        for group in case.groups():
            yield from _slowed(case, group, now)


def _slowed(case: Cohort, group: Group, now: Watermarks) -> Iterator[Finding]:
    window_ms = case.site.windows.delay_window_seconds * 1000
    harmed = [
        member for member, exposures in group.exposed if member.pace and any(member.seen - each.written <= window_ms for each in exposures)
    ]
    others = [member for member in group.others if member.pace]
    if len(harmed) < EXPOSED_MIN or len(others) < OTHERS_MIN:
        return
    slow, usual = [_mean(each) for each in harmed], [_mean(each) for each in others]
    ratio = median(slow) / median(usual)
    if ratio < SLOWER_MIN:
        return
    chance = rank_sum(slow, usual)
    checklist, _ = explained(META, case, Comparison(group, harmed, others, chance, CHANCE_MAX), now)
    pieces = cited(group, harmed)
    for each in harmed[:CITED_MAX]:
        pieces += [each.pace.first, each.pace.slowest] if each.pace else []
    yield found(
        META,
        case,
        group.writer,
        checklist,
        effect="slowed",
        anchor=group.anchor,
        summary=f"{len(harmed)} attempts that loaded what a foreign hand wrote are {ratio:.2f} times as slow as {len(others)} that had not",
        cited=pieces,
        parts=(("not by chance", round(1 - chance, 4)), ("compared with its own configuration", 0.9)),
        effect_time=group.last,
        cause_time=group.since,
        closes_at=group.last + case.site.grace_ms,
    )


def _mean(member: JobSummary) -> float:
    return member.pace.mean if member.pace else 0.0
