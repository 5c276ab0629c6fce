"""P09: attempts that loaded what somebody else had written are slower, step by step, than their siblings that had not.

In: the attempts of an account.  Out: one finding per writer.  Slow is normal (four of ten jobs straggle), so slowness alone raises
nothing: the same configuration must be quick without those bytes, slow with them in at least three attempts, and not on one machine only.

    without   1020 1018 1025 1019 1380 ms     one straggler in five
    with      1310 1290 1333 ms               slower than all but the straggler: p = 7/56, by the exact rank sum test

How slow each is, is told beside siblings of its own configuration and just as many GPUs.  It is ranked among those of its configuration and
size band, since large ones straggle more, and the ranks of all are added up: a few in each tell little, and together much.  Asked is
whether those with the bytes stand higher than chance puts them, of all bytes of a writer, and of each version and of jobs from each size
on.  The more is asked, the less each answer is worth.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from statistics import median, median_low

import msgspec

from pipeline.detect import benign_cohort, cohort
from pipeline.detect.chance import rank_sum
from pipeline.detect.cohort import CITED_MAX, Blamed, Cohort, Comparison, Group, Kind, by_others, cited, kind_of
from pipeline.detect.detector import Meta, explained
from pipeline.detect.detector import found as finding_of
from pipeline.model.finding import Finding, Severity
from pipeline.model.source import Source
from pipeline.model.summary import JobSummary
from pipeline.stream.watermark import Watermarks

META = Meta(
    id="p09_injected_delay",
    version=12,
    title="Steps slower in every attempt that loaded what somebody else wrote",
    subject="cohort",
    severity=Severity.HIGH,
    attack=("T1565.003", "T1499", "AML.T0029"),
    needs=(Source.TRAINING, Source.PROBE, Source.AUDITD, Source.JOBCOMP),
    window_seconds="detect.delay_window_seconds",
    benign=benign_cohort.BENIGN,
    required=cohort.REQUIRED,
    blind_spots=(
        "Who runs jobs of the same account and name decides what they print: his false siblings blur what is usual.",
        "A configuration that never ran without the bytes at that size has nothing to be compared with.",
        "Jobs that do not use the probe do not say which files they loaded.",
        "Delays below one part in twenty.",
        "Attempts that tell fewer than five samples of their pace; and fewer than three others.",
        "Three attempts beside fewer than nine others, four beside fewer than six: too few to tell from chance, below the gate.",
        "Where 3 attempts in 10 straggle, less than 4 acts in 5 of +50 % in fewer than 3 attempts beside 12, +30 %: 4 / 16, +20 %: 8 / 20.",
        "Who prints before his write, in a job of his own, that he loaded the very bytes that he will write: they seem to have been there.",
        "One version beside twenty that do nothing: ten that more attempts loaded, and ten written later that two or more each loaded.",
        "Where attempts of more than eight sizes loaded the bytes, harm that begins within a size band may show only from the next one on.",
        "Bytes loaded only beside another hand's, and these only beside them: nothing tells which of both it was, and nobody is suspected.",
    ),
    runbook="Compare the file with its wheel or image; run one attempt with a clean copy on the same nodes, at the same size. "
    "By chance alone about 1 in 100 whose harmless bytes three such attempts loaded is the subject of an alert at some time, unnamed.",
)
EXPOSED_MIN, OTHERS_MIN = 3, 3
EXPOSED_MAX = 60  # the first, to be ranked: more would not say more
SIBLINGS_MIN = 2  # of one size, to say what is usual
SLOWER_MIN = 1.05
CHANCE_MAX = 0.005  # at each look, of which there is one whenever a job ends that loaded the bytes


Same = tuple[str, int | None]  # configuration, GPUs


class Slowed(msgspec.Struct, frozen=True):
    """What one group shows."""

    group: Group
    harmed: tuple[JobSummary, ...]
    others: int
    ratio: float
    chance: float  # 1: it shows nothing


def judge(case: Cohort, now: Watermarks) -> Iterator[Finding]:
    """One finding per writer."""
    if case.kind == "configuration":
        seen = [*_judged(case, now)]
        for each, several in zip(seen, cohort.one_of_several([blamed for _, _, blamed in seen]), strict=True):
            yield _raised(case, *each, several=several)


def _judged(case: Cohort, now: Watermarks) -> Iterator[tuple[Slowed, float, Blamed]]:
    """Of each writer the clearest of what is asked, how often it would be so by chance, and what may explain it.

    Of a writer whose clearest version is shown to slow jobs every other is told with it that is shown to do so where it lay alone.
    """
    for group in case.groups():
        usual, asked = _usual(group), group.narrowed()
        slowed = [_slowed(case, each, usual) for each in asked]
        chances = group.corrected([each.chance if each else None for each in slowed])
        found = sorted((chance, -len(each.harmed), number) for number, (each, chance) in enumerate(zip(slowed, chances, strict=True))
                       if each and each.chance < 1)  # fmt: skip
        seen = [(each, chance, number) for chance, _, number in found if (each := slowed[number]) is not None]
        if not seen:
            continue
        clearest, chance, number = seen[0]
        apart = group.corrected([(_apart(each) if each is clearest else 1.0) if each else None for each in slowed])[number]
        blamed = _blamed(case, clearest, chance, apart, usual, now)
        told = clearest
        for each, rarer, _ in seen[1:] if blamed.is_shown else ():
            alone = _slowed(case, each.group.apart_from(told.group), usual) if rarer <= CHANCE_MAX else None
            if alone and _blamed(case, alone, alone.chance * rarer / each.chance, 1.0, usual, now).is_shown:
                told = _slowed(case, told.group.joined(each.group), usual) or told
        yield told, chance, blamed


def _blamed(case: Cohort, slowed: Slowed, chance: float, apart: float, usual: Mapping[Same, float], now: Watermarks) -> Blamed:
    paces = [(each, each.pace.mean / usual[_same(each)]) for each in slowed.group.beside if each.pace and _same(each) in usual]
    fine, beside = [each for each, pace in paces if pace < SLOWER_MIN], [each for each, _ in paces]
    compared = Comparison(slowed.group, slowed.harmed, fine, chance, CHANCE_MAX, beside, apart)
    return Blamed(compared, explained(META, case, compared, now)[0])


def _apart(slowed: Slowed) -> float:
    """How often they would be as slow beside those of their kind that loaded the same bytes of other hands, if these were to blame.

    That most of the slow ones have somebody to be compared with is asked for, of as many as are looked at: others' harmless bytes say
    nothing of theirs.
    """
    group, harmed = slowed.group, {each.attempt for each in slowed.harmed}
    strata: defaultdict[tuple[Same, frozenset[cohort.Bytes]], tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    slow: Counter[tuple[Same, frozenset[cohort.Bytes]]] = Counter()
    for side, members in enumerate(([member for member, _ in group.exposed[:EXPOSED_MAX]], group.telling)):
        for each in members:
            if each.pace:
                stratum = _same(each), by_others(each, group)
                strata[stratum][side].append(each.pace.mean)
                slow[stratum] += each.attempt in harmed
    compared = sum(slow[stratum] for stratum, (_, beside) in strata.items() if beside)
    return rank_sum(list(strata.values())) if 2 * compared >= min(len(harmed), EXPOSED_MAX) else 1.0


def _usual(group: Group) -> Mapping[Same, float]:
    """By configuration and GPUs, how long a step takes in those that had not loaded the bytes, where there are enough of such a size.

    Of two in the middle the lower one: slow is normal, and nobody is quicker than the machine.
    """
    paces: dict[Same, list[float]] = {}
    kinds = {kind_of(member) for member, _ in group.exposed}
    for each in group.others:
        if each.pace and kind_of(each) in kinds:
            paces.setdefault(_same(each), []).append(each.pace.mean)
    return {same: median_low(means) for same, means in paces.items() if len(means) >= SIBLINGS_MIN}


def _same(member: JobSummary) -> Same:
    return member.configuration, member.gpus


def _slowed(case: Cohort, group: Group, usual: Mapping[Same, float]) -> Slowed | None:
    """None: too few to be compared, however slow they are."""
    window_ms = case.site.windows.delay_window_seconds * 1000
    recent = [member for member, exposures in group.exposed if any(member.seen - each.written <= window_ms for each in exposures)]
    exposed = [(each, each.pace.mean / usual[_same(each)]) for each in recent if each.pace and _same(each) in usual]
    kinds = {kind_of(each) for each, _ in exposed}
    beside = [each for each in group.others if kind_of(each) in kinds]
    others = [(each, each.pace.mean / usual[_same(each)]) for each in beside if each.pace and _same(each) in usual]
    if len(exposed) < EXPOSED_MIN or len(others) < OTHERS_MIN:
        return None
    harmed = tuple(member for member, ratio in exposed if ratio >= SLOWER_MIN)
    ratio = median(ratio for _, ratio in exposed)
    if len(harmed) < EXPOSED_MIN or ratio < SLOWER_MIN:
        return Slowed(group, harmed, len(others), ratio, 1.0)
    strata: dict[Kind, tuple[list[float], list[float]]] = {}
    for side, members in enumerate((exposed[:EXPOSED_MAX], others)):
        for member, pace in members:
            strata.setdefault(kind_of(member), ([], []))[side].append(pace)
    return Slowed(group, harmed, len(others), ratio, rank_sum(list(strata.values())))


def _raised(case: Cohort, slowed: Slowed, chance: float, blamed: Blamed, *, several: bool) -> Finding:
    group, harmed = slowed.group, slowed.harmed
    pieces = cited(group, harmed, beside=blamed.beside() if several else ())
    for each in harmed[:CITED_MAX]:
        pieces += [each.pace.first, each.pace.slowest] if each.pace else []
    return finding_of(
        META,
        case,
        group.writer,
        blamed.checklist,
        effect="slowed",
        anchor=case.anchor(group),
        files=group.files,
        summary=f"{len(harmed)} attempts that loaded what a foreign hand wrote are slow, in the median {slowed.ratio:.2f} times as slow as "
        f"{slowed.others} of their configurations and sizes that had not",
        cited=pieces,
        parts=(("not by chance", round(1 - chance, 4)), ("compared with its own configuration and size", 0.9)),
        effect_time=group.last,
        cause_time=group.since,
        closes_at=group.last + case.site.grace_ms,
        withheld=cohort.unnamed(chance)
        or cohort.unnamed_of_one(blamed.harmed)
        or cohort.unnamed_beside(blamed.group, blamed.harmed),  # `chance` is the clearest version's alone
        several_actors=several,
        aside=[cohort.OTHER_WRITERS] if several else (),
    )
