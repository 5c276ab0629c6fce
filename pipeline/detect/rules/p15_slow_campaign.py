"""P15: over weeks, large jobs that loaded what somebody else had written end without explanation more often than large jobs that had not.

In: all attempts of a cluster from a size on.  Out: one finding per writer.  Each act is weak and no single end proves anything; large jobs
fail more by physics, and the person may be away for weeks.  So ends are counted only among attempts that loaded the person's bytes, in the
order in which they ended, each against the rate of those of its size band that had not, and the count is stopped by a sequential test with
stated errors:

    exposed     x x . x x x x x          x: no record explains the end
    others      . . . x . . . . . .      usual rate 0.17; the test says "harmful" at the 7th: wrongly about once in 1,000 writers

Ends that a record explains - hardware, a cancel, an error in the owner's own code - count on neither side: they came before any harm could.
Pauses do not matter, since nobody is exposed in them; a small rerun that goes well does not clear anything, since it is not a member.
Where those that ended so loaded another hand's bytes as well, and nothing tells which did it, that is told and nobody is suspected.  Where
one is shown to do it without the others, these are asked again, without the attempts that loaded what that one wrote:

    u011's      x x . x x x x x          shown
    u026's      . x x . x x . x x        of six bad ends two are u011's as well: four of seven count
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from pipeline.detect import benign_cohort, cohort
from pipeline.detect.chance import sequential
from pipeline.detect.cohort import Blamed, Cohort, Comparison, Group, band_of, cited, unnamed
from pipeline.detect.detector import Meta, explained, found
from pipeline.model.finding import Finding, Severity
from pipeline.model.instants import DAY_MS
from pipeline.model.source import Source
from pipeline.model.summary import JobSummary
from pipeline.stream.watermark import Watermarks

META = Meta(
    id="p15_slow_campaign",
    version=10,
    title="Large jobs that loaded what somebody else wrote keep ending without explanation",
    subject="cohort",
    severity=Severity.CRITICAL,
    attack=("T1480", "T1497.003", "AML.T0031"),
    needs=(Source.JOBCOMP, Source.PROBE, Source.AUDITD, Source.KERNEL),
    window_seconds="detect.campaign_window_seconds",
    benign=(*benign_cohort.BENIGN, benign_cohort.one_owner),
    required=(*cohort.REQUIRED, "one_owner", "hardware_ends"),
    blind_spots=(
        "Code that prints an error of another file before it ends the job: that end counts as an error of the owner's.",
        "Effects that leave the ends of jobs as they are: P09 and P10 compare pace and losses.",
        "Ends by hardware of nodes whose kernels' logs were silent while others' were heard; or where none was, at up to half of the ends.",
        "Fewer than four large jobs that loaded the bytes and ended so.",
        "Jobs of a size band (256 to 511 GPUs, 512 to 1,023 ...) of which fewer than eight without the bytes ended, or nearly all badly.",
        "Where attempts of more than eight sizes loaded the bytes, harm that begins within a size band may show only from the next one on.",
        "Who prints before his write, in a job of his own, that he loaded the very bytes that he will write: they seem to have been there.",
        "Bytes loaded only beside another hand's, and these only beside them: nothing tells which of both it was, and nobody is suspected.",
    ),
    runbook="Take the listed attempts together: which lines of the written file run only at that size? "
    "By chance alone 1 in 1,000 whose harmless bytes such jobs loaded, 2 where a hundred did, are the subject of an alert, unnamed.",
)
# Chance to accuse a harmless writer's bytes, were the usual rate known, and to give up on harmful ones.  It is estimated from others: where
# one end in ten is bad, of 10,000 harmless writers 5, 9 and 21 were accused, with 20, 50 and 100 exposed attempts beside as many others.
ALPHA, BETA = 1e-3, 0.1
PARTS = (3 / 4, 1 / 8, 1 / 16, 1 / 32)  # of ALPHA: of what is asked first, and of what is asked again
USUAL_MIN, USUAL_MAX, HARMFUL_MAX = 0.05, 0.9, 0.95
HARMS = (0.3, 0.6)  # added to the usual rate: by what strikes now and then, by what nearly always does.  Each test has its part of ALPHA
BAD_MIN, OTHERS_MIN = 4, 8  # of the others: of each size band
DAYS_MIN = 3  # between the first bad end and the last: a bad day is an incident, no campaign
RAN_FULLY = frozenset({"completed", "time_limit"})  # causes of a verdict


class Campaign(msgspec.Struct, frozen=True):
    """What one group shows."""

    group: Group
    bad: tuple[JobSummary, ...]  # of the exposed
    exposed: int
    usual: float  # rate of bad ends of the others, in the mean of their sizes


def judge(case: Cohort, now: Watermarks) -> Iterator[Finding]:
    """One finding per writer: of all his bytes, or of jobs from a size on, whichever shows most."""
    if case.kind == "size":
        seen = _in_turn(case, now)
        for each, several in zip(seen, cohort.one_of_several([blamed for _, blamed in seen]), strict=True):
            yield _raised(case, *each, several=several)


def _in_turn(case: Cohort, now: Watermarks) -> list[tuple[Campaign, Blamed]]:
    """Of each writer what shows most.

    What one hand is shown to do speaks against nobody else, nor does it hide what another did: the others are asked again without it.
    """
    found: dict[str, tuple[Campaign, Blamed]] = {}
    shown: dict[str, tuple[Campaign, Blamed]] = {}
    for part in PARTS:
        left = case.without(shown.keys()) if shown else case
        seen = {each[1].group.writer.id: each for each in _judged(left, part * ALPHA, now)}
        found |= seen
        more = {writer: each for writer, each in seen.items() if each[1].is_shown}
        if not more:
            break
        shown |= more
    return [each for _, each in sorted((found | shown).items())]


def _judged(case: Cohort, alpha: float, now: Watermarks) -> Iterator[tuple[Campaign, Blamed]]:
    """Of each writer what shows most, and what may explain it."""
    for group in case.groups():
        asked = group.by_size()
        # Half of the chance of error is the whole group's, where harm shows first; the rest is shared, as P09 and P10 share theirs.
        shares = [alpha / 2, *[alpha / 2 / max(1, len(asked) - 1)] * (len(asked) - 1)] if len(asked) > 1 else [alpha]
        shown = [campaign for each, share in zip(asked, shares, strict=True) if (campaign := _campaign(case, each, share)) is not None]
        if shown:
            most = max(shown, key=lambda each: len(each.bad))
            bands = {band_of(member) for member, _ in group.exposed}
            beside = [member for member in group.beside if _counts(member) and band_of(member) in bands]
            compared = Comparison(most.group, most.bad, [each for each in beside if not _is_bad(each)], ALPHA, ALPHA, beside)
            yield most, Blamed(compared, explained(META, case, compared, now)[0])


def _campaign(case: Cohort, group: Group, alpha: float) -> Campaign | None:
    window_ms = case.site.windows.campaign_window_seconds * 1000
    usual = _usual(group.others)
    recent = [m for m, exposures in group.exposed if any((m.end or 0) - each.written <= window_ms for each in exposures)]
    exposed = sorted((m for m in recent if _counts(m) and band_of(m) in usual), key=lambda each: (each.end or 0, each.attempt))
    bad = tuple(member for member in exposed if _is_bad(member))
    if len(bad) < BAD_MIN or (bad[-1].end or 0) - (bad[0].end or 0) < DAYS_MIN * DAY_MS:
        return None
    ends = [(_is_bad(member), usual[band_of(member)]) for member in exposed]
    tested = ([(is_bad, rate, min(rate + harm, HARMFUL_MAX)) for is_bad, rate in ends] for harm in HARMS)
    if all(sequential(outcomes, alpha / len(HARMS), BETA) is None for outcomes in tested):
        return None
    return Campaign(group, bad, len(exposed), sum(rate for _, rate in ends) / len(ends))


def _usual(others: Sequence[JobSummary]) -> Mapping[int, float]:
    """By size band, the rate of bad ends, where there are enough; where nearly all are bad nothing could be worse."""
    ends: defaultdict[int, list[bool]] = defaultdict(list)
    for each in others:
        if _counts(each):
            ends[band_of(each)].append(_is_bad(each))
    rates = {band: (sum(seen) + 1) / (len(seen) + 2) for band, seen in ends.items() if len(seen) >= OTHERS_MIN}
    return {band: max(rate, USUAL_MIN) for band, rate in rates.items() if rate <= USUAL_MAX}


def _raised(case: Cohort, campaign: Campaign, blamed: Blamed, *, several: bool) -> Finding:
    group, bad = campaign.group, campaign.bad
    last = bad[-1].end or 0
    return found(
        META,
        case,
        group.writer,
        blamed.checklist,
        effect="ends_without_explanation",
        anchor=case.anchor(group),
        files=group.files,
        summary=f"{len(bad)} of {campaign.exposed} large attempts that loaded what a foreign hand wrote ended without explanation; "
        f"usual at their sizes: {campaign.usual:.0%}",
        cited=cited(group, bad, beside=blamed.beside() if several else ()),
        parts=(("sequential test", 1 - ALPHA), ("compared with jobs of its size", 0.9)),
        effect_time=last,
        cause_time=group.since,
        closes_at=last + case.site.grace_ms,
        withheld=unnamed(ALPHA),
        several_actors=several,
        aside=[cohort.OTHER_WRITERS] if several else (),
    )


def _counts(member: JobSummary) -> bool:
    """It ran as long as it should, or ended without explanation.  Whatever else ended it, before harm could, says nothing about harm."""
    return member.end is not None and (_is_bad(member) or member.cause in RAN_FULLY)


def _is_bad(member: JobSummary) -> bool:
    """Nothing explains its end but what it loaded: not the scheduler, not hardware, not an error in code of its own."""
    return member.verdict == "unexplained"
