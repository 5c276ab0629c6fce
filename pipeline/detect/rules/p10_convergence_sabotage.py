"""P10: attempts that loaded what somebody else had written learn otherwise than their siblings that had not, at the same steps.

In: the attempts of an account.  Out: one finding per writer.  Losses spike by themselves (about 20 times in one published run), so a
loss alone raises nothing: the losses of those that loaded the bytes must leave the band of their siblings step after step and stay
outside, and hardly any sibling may do the same.  The learning rate, the samples consumed by a step, and the arguments that training says
it runs with (a seed, an optimizer) are compared in the same way (`learning.py`).  Each is compared with siblings of its own configuration,
and what is seen in all configurations counts together.

    step            1000   1100   1200   1300
    siblings        4.11   4.02   3.96   3.90     +- 0.03
    with the bytes  4.12   4.31   4.55   4.71     leaves the band and stays outside

Many attempts do not say what they load.  Where too few attempts say that they loaded the bytes and differ, those that say nothing and ran
while the bytes may have lain there are looked at too: they must differ as hardly any others of their configurations do.  Nobody is named
then, since most of this does not show what was loaded.  And nothing is found in this way while bytes of another hand lay there, unless
these are known to do no harm.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from pipeline.detect import benign_cohort, cohort
from pipeline.detect.chance import fisher_of
from pipeline.detect.cohort import (
    CITED_MAX,
    UNTOLD_MS,
    Blamed,
    Cohort,
    Comparison,
    Group,
    by_others,
    cited,
    unnamed,
    unnamed_beside,
    unnamed_of_one,
)
from pipeline.detect.detector import Meta, explained, found
from pipeline.detect.learning import OTHERS_MIN, Difference, Siblings, came_far, differs, is_comparable, siblings_of
from pipeline.model.finding import Evidence, Finding, Severity
from pipeline.model.source import Source
from pipeline.model.summary import JobSummary
from pipeline.model.told import Attempt
from pipeline.stream.watermark import Watermarks

META = Meta(
    id="p10_convergence_sabotage",
    version=7,
    title="Training learns otherwise in the attempts that loaded what somebody else wrote",
    subject="cohort",
    severity=Severity.HIGH,
    attack=("T1565.003", "T1554", "AML.T0031"),
    needs=(Source.TRAINING, Source.PROBE, Source.AUDITD, Source.JOBCOMP),
    window_seconds="detect.convergence_window_seconds",
    benign=benign_cohort.BENIGN,
    required=cohort.REQUIRED,
    blind_spots=(
        "Who runs jobs of the same account and name decides what they print: his false siblings blur what is usual.",
        "A configuration that never ran without the bytes has nothing to be compared with.",
        "Bytes that no attempt with the probe loads and differs by.",
        "Who prints before his write, in a job of his own, that he loaded the very bytes that he will write: they seem to have been there.",
        "Harm smaller than six times the spread among siblings.",
        "Frameworks whose lines carry no step number of the whole run.",
    ),
    runbook="Run the same configuration and seed with a clean copy of the file, and compare the losses step by step. "
    "By chance alone fewer than 1 in 100 whose harmless bytes two such attempts loaded are the subject of an alert at some time, unnamed.",
)
EXPOSED_MIN = 2
CHANCE_MAX = 0.02  # at each look; that two attempts leave the band at all is rarer than that
UNTOLD_MIN, UNTOLD_CHANCE_MAX = 3, 1e-4  # of those that do not say what they load, while the bytes lay there
Harmed = tuple[JobSummary, str, tuple[Evidence, ...]]  # by what, shown where


class Diverged(msgspec.Struct, frozen=True):
    """What one group shows."""

    group: Group
    exposed: int
    harmed: tuple[Harmed, ...]
    fine: tuple[JobSummary, ...]  # of the siblings
    others: int
    chance: float
    early: bool = False  # arguments show it before the first steps
    again: frozenset[Attempt] = frozenset()  # of the exposed, those by which an owner repeats what he chose
    untold: int = 0  # of the harmed, those that do not say what they load


def judge(case: Cohort, now: Watermarks) -> Iterator[Finding]:
    """One finding per writer."""
    if case.kind == "configuration":
        seen = [*_judged(case, now)]
        for each, several in zip(seen, cohort.one_of_several([blamed for _, _, blamed in seen]), strict=True):
            yield _raised(case, *each, several=several)


def _judged(case: Cohort, now: Watermarks) -> Iterator[tuple[Diverged, float, Blamed]]:
    """Of each writer the clearest of what is asked, how often it would be so by chance, and what may explain it."""
    for group in case.groups():
        siblings, asked = _families(group), group.narrowed()
        seen = [_diverged(case, each, siblings) for each in asked]
        clearest = _clearest(group, seen)
        if siblings and (clearest is None or clearest[0] > CHANCE_MAX):
            meanwhile = [_meanwhile(case, each, siblings) for each in asked]
            clearest = _clearest(group, meanwhile) or clearest
        if clearest is not None:
            chance, diverged = clearest
            apart = group.corrected([_apart(each, siblings) if each is diverged else 1.0 for each in seen])
            yield diverged, chance, _blamed(case, diverged, chance, min(apart), siblings, now)


def _apart(diverged: Diverged, families: Mapping[str, Siblings]) -> float:
    """How often as many would differ, beside those of their size that loaded the same bytes of other hands, if these were to blame."""
    group, strata = diverged.group, defaultdict[tuple[str, int | None, frozenset[cohort.Bytes]], list[int]](lambda: [0, 0, 0, 0])
    exposed = [member for member, _ in group.exposed if member.attempt not in diverged.again]
    for side, members in ((0, exposed), (2, group.telling)):
        for each in members:
            known = families.get(each.configuration)
            if known is not None and is_comparable(each, known, early=diverged.early):
                table = strata[each.configuration, each.gpus, by_others(each, group)]
                table[side] += differs(each, known) is not None
                table[side + 1] += 1
    return fisher_of([(bad, loaded, others_bad, others) for bad, loaded, others_bad, others in strata.values()])


def _clearest(group: Group, diverged: Sequence[Diverged | None]) -> tuple[float, Diverged] | None:
    """(chance, what is shown) of the least probable of the answers."""
    chances = group.corrected([each.chance if each else 1.0 for each in diverged])
    seen = [(chance, -len(each.harmed), number, each) for number, (each, chance) in enumerate(zip(diverged, chances, strict=True)) if each]
    chance, _, _, clearest = min(seen, key=lambda each: each[:3], default=(1.0, 0, 0, None))
    return (chance, clearest) if clearest is not None else None


def _families(group: Group) -> Mapping[str, Siblings]:
    """By configuration, the siblings of those that loaded the bytes, where there are enough."""
    others: defaultdict[str, list[JobSummary]] = defaultdict(list)
    for member in group.others:
        if member.steps or member.arguments:
            others[member.configuration].append(member)
    names = sorted({member.configuration for member, _ in group.exposed})
    return {name: siblings_of(tuple(others[name])) for name in names if len(others[name]) >= OTHERS_MIN}


def _diverged(case: Cohort, group: Group, families: Mapping[str, Siblings]) -> Diverged | None:
    window_ms = case.site.windows.convergence_window_seconds * 1000
    recent = [member for member, exposures in group.exposed if any(member.seen - each.written <= window_ms for each in exposures)]
    recent = [member for member in recent if member.configuration in families]
    # What differs before the first steps is held against all that tell as much, as far as they came: else only what differs would count.
    early = any(not came_far(each, families[each.configuration]) and differs(each, families[each.configuration]) for each in recent)
    exposed = [each for each in recent if is_comparable(each, families[each.configuration], early=early)]
    differ = [(each, *shown) for each in exposed if (shown := differs(each, families[each.configuration])) is not None]
    harmed, again = _choices(differ, families)
    exposed = [each for each in exposed if each.attempt not in again]
    if len(exposed) < EXPOSED_MIN or len(harmed) < EXPOSED_MIN or 2 * len(harmed) < len(exposed):
        return None
    others = [each for family in families.values() for each in family.members if is_comparable(each, family, early=early)]
    fine = tuple(each for each in others if differs(each, families[each.configuration]) is None)
    counts = [Counter(each.configuration for each in side) for side in ([each for each, _, _ in harmed], exposed, fine, others)]
    bad, loaded, well, beside = counts
    chance = fisher_of([(bad[name], loaded[name], beside[name] - well[name], beside[name]) for name in sorted(families)])
    return Diverged(group, len(exposed), tuple(harmed), fine, len(others), chance, early, again) if len(others) >= OTHERS_MIN else None


def _choices(
    shown: Iterable[Harmed], families: Mapping[str, Siblings], before: Iterable[Harmed] = ()
) -> tuple[list[Harmed], frozenset[Attempt]]:
    """(what differs, attempts left out): an owner who runs his own with another argument chose once, however often he runs it."""
    made, kept, again = {_choice(each, families) for each in before}, list[Harmed](), set[Attempt]()
    for each in shown:
        choice = _choice(each, families)
        if choice in made:
            again.add(each[0].attempt)
        else:
            made.add(choice)
            kept.append(each)
    return kept, frozenset(again)


def _choice(harmed: Harmed, families: Mapping[str, Siblings]) -> tuple[str, str, str] | Attempt:
    member, what, (first, *_) = harmed
    if first.role != "argument" or _ran_as_usual_later(member, what, families.get(member.configuration)):
        return member.attempt
    return member.owner, what, first.summary


def _ran_as_usual_later(member: JobSummary, what: str, siblings: Siblings | None) -> bool:
    """Did its owner, when the bytes were gone, run as before at that size, as nobody would who had chosen otherwise?"""
    theirs = [each for each in (siblings.members if siblings else ()) if (each.owner, each.gpus) == (member.owner, member.gpus)]
    return any(name == what for each in theirs if each.attempt.start > member.attempt.start for name, _, _ in each.arguments)


def _meanwhile(case: Cohort, group: Group, families: Mapping[str, Siblings]) -> Diverged | None:
    """What those show that do not say what they load, beside the few that loaded the bytes."""
    asked = [(member, mine) for member, mine in group.exposed if (known := families.get(member.configuration)) and came_far(member, known)]
    differ = [(member, *shown) for member, _ in asked if (shown := differs(member, families[member.configuration])) is not None]
    told, again = _choices(differ, families)
    asked = [each for each in asked if each[0].attempt not in again]
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
        bad, again = _choices([(each, *shown) for each, shown in mine if shown is not None], families, harmed)
        well = [each for each, shown in beside if shown is None]
        counts.append((len(bad), len(mine) - len(again), len(beside) - len(well), len(beside)))
        harmed += bad
        fine += well
    untold, exposed = len(harmed) - len(told), sum(each[1] for each in counts)
    if untold < UNTOLD_MIN or 2 * untold < exposed:
        return None
    beside_all = sum(each[3] for each in counts)
    return Diverged(group, len(asked) + exposed, tuple(harmed), tuple(fine), beside_all, fisher_of(counts), untold=untold)


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


Shown = tuple[JobSummary, Difference | None]


def _by_configuration(asked: Sequence[JobSummary], clean: Sequence[JobSummary]) -> Iterator[tuple[list[Shown], list[Shown]]]:
    """For each configuration, by what those differ that are asked, and these siblings, as far as they came far enough."""
    sides: defaultdict[str, tuple[list[JobSummary], list[JobSummary]]] = defaultdict(lambda: ([], []))
    for place, side in enumerate((asked, clean)):
        for each in side:
            sides[each.configuration][place].append(each)
    for name in sorted({each.configuration for each in asked}):
        mine, beside = sides[name]
        if len(beside) >= OTHERS_MIN:
            known = siblings_of(tuple(beside))
            first, second = ([(each, differs(each, known)) for each in side if came_far(each, known)] for side in (mine, beside))
            yield first, second


def _blamed(case: Cohort, diverged: Diverged, chance: float, apart: float, families: Mapping[str, Siblings], now: Watermarks) -> Blamed:
    group, members = diverged.group, [member for member, _, _ in diverged.harmed]
    chance_max = UNTOLD_CHANCE_MAX if diverged.untold else CHANCE_MAX
    beside = [
        each for each in group.beside
        if (known := families.get(each.configuration)) is not None and is_comparable(each, known, early=diverged.early)
    ]  # fmt: skip
    fine = [each for each in beside if differs(each, families[each.configuration]) is None]
    if diverged.untold:
        beside, fine = [], list(diverged.fine)
    compared = Comparison(group, members, fine, chance, chance_max, beside, apart)
    return Blamed(compared, explained(META, case, compared, now)[0])


def _raised(case: Cohort, diverged: Diverged, chance: float, blamed: Blamed, *, several: bool) -> Finding:
    group, members = diverged.group, blamed.harmed
    withheld = unnamed(chance) or unnamed_of_one(members) or unnamed_beside(group, members)
    pieces = cited(group, members, beside=blamed.beside() if several else ())
    for _, _, shown in diverged.harmed[:CITED_MAX]:
        pieces += shown
    what = ", ".join(sorted({measure for _, measure, _ in diverged.harmed}))
    loaded = f" or, {diverged.untold} of them, do not say what they loaded meanwhile," if diverged.untold else ""
    loaded = f"that loaded what a foreign hand wrote{loaded}"
    return found(
        META,
        case,
        group.writer,
        blamed.checklist,
        effect="learns_otherwise",
        anchor=case.anchor(group),
        files=group.files,
        summary=f"{len(members)} of {diverged.exposed} attempts {loaded} leave the band of their siblings "
        f"({what}), of which {diverged.others - len(diverged.fine)} in {diverged.others} do",
        cited=pieces,
        parts=(("not by chance", round(1 - chance, 4)), ("compared with its own configuration", 0.9)),
        effect_time=group.last,
        cause_time=group.since,
        closes_at=group.last + case.site.grace_ms,
        withheld="most of those that differ did not say what they loaded" if diverged.untold else withheld,
        several_actors=several,
        aside=[cohort.OTHER_WRITERS] if several else (),
    )
