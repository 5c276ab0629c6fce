"""Who of those that loaded a writer's bytes learns otherwise than his siblings, and how often that would be so by chance: for P10.

In: one group of a cohort, which is a writer and those that loaded what he wrote.  Out: the clearest of what the group shows.

    clearest    of all that loaded the bytes, of each file alone, and so on, that which chance explains least
    choices     an owner who runs his own with another argument chose once, however often he runs it; and who alone got so far, came once
                to a stage that may be of another kind
    meanwhile   where too few say that they loaded the bytes: those that say nothing of what they load, while the bytes may have lain there
    alone       and only if the bytes of every other hand that lay there are known to do no harm

Attempts are held against siblings of their own configuration and size band (`learning.py`), and the tables of all these count together in
one exact test (Fisher; `chance.py`).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from pipeline.detect import cohort
from pipeline.detect.chance import fisher_of
from pipeline.detect.cohort import UNTOLD_MS, Cohort, Group, Kind, by_others, kind_of
from pipeline.detect.learning import BEYOND, OTHERS_MIN, Difference, Siblings, came_far, differs, is_comparable, siblings_of
from pipeline.model.finding import Evidence
from pipeline.model.summary import JobSummary
from pipeline.model.told import Attempt

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

    @property
    def chance_max(self) -> float:
        """More is no finding."""
        return UNTOLD_CHANCE_MAX if self.untold else CHANCE_MAX


class Clearest(msgspec.Struct, frozen=True):
    """What one group shows most clearly."""

    diverged: Diverged
    chance: float  # that as many differ, for all that was asked of the group
    apart: float  # and that as many would beside those that loaded the same bytes of other hands
    families: Mapping[Kind, Siblings]

    def beside(self) -> tuple[list[JobSummary], list[JobSummary]]:
        """Those that loaded other bytes beside it and can be compared, and which of them learn as their siblings do."""
        if self.diverged.untold:
            return [], list(self.diverged.fine)
        beside = [
            each for each in self.diverged.group.beside
            if (known := self.families.get(kind_of(each))) is not None and is_comparable(each, known, early=self.diverged.early)
        ]  # fmt: skip
        return beside, [each for each in beside if differs(each, self.families[kind_of(each)]) is None]


def clearest_of(case: Cohort, group: Group) -> Clearest | None:
    """Of one writer; None: nothing that could be asked for."""
    siblings, asked = _families(group), group.narrowed()
    seen = [_diverged(case, each, siblings) for each in asked]
    clearest = _clearest(group, seen)
    if siblings and (clearest is None or clearest[0] > CHANCE_MAX):
        meanwhile = [_meanwhile(case, each, siblings) for each in asked]
        clearest = _clearest(group, meanwhile) or clearest
    if clearest is None:
        return None
    chance, diverged = clearest
    apart = group.corrected([_apart(each, siblings) if each is diverged else 1.0 for each in seen])
    return Clearest(diverged, chance, min(apart), siblings)


def _apart(diverged: Diverged, families: Mapping[Kind, Siblings]) -> float:
    """How often as many would differ, beside those of their size that loaded the same bytes of other hands, if these were to blame."""
    group, strata = diverged.group, defaultdict[tuple[str, int | None, frozenset[cohort.Bytes]], list[int]](lambda: [0, 0, 0, 0])
    exposed = [member for member, _ in group.exposed if member.attempt not in diverged.again]
    for side, members in ((0, exposed), (2, group.telling)):
        for each in members:
            known = families.get(kind_of(each))
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


def _families(group: Group) -> Mapping[Kind, Siblings]:
    """Siblings of those that loaded the bytes, where there are enough."""
    others: defaultdict[Kind, list[JobSummary]] = defaultdict(list)
    for member in group.others:
        if member.steps or member.arguments:
            others[kind_of(member)].append(member)
    kinds = sorted({kind_of(member) for member, _ in group.exposed})
    return {kind: siblings_of(tuple(others[kind])) for kind in kinds if len(others[kind]) >= OTHERS_MIN}


def _diverged(case: Cohort, group: Group, families: Mapping[Kind, Siblings]) -> Diverged | None:
    window_ms = case.site.windows.convergence_window_seconds * 1000
    recent = [member for member, exposures in group.exposed if any(member.seen - each.written <= window_ms for each in exposures)]
    recent = [member for member in recent if kind_of(member) in families]
    # What differs before the first steps is held against all that tell as much, as far as they came: else only what differs would count.
    early = any(not came_far(each, families[kind_of(each)]) and differs(each, families[kind_of(each)]) for each in recent)
    exposed = [each for each in recent if is_comparable(each, families[kind_of(each)], early=early)]
    differ = [(each, *shown) for each in exposed if (shown := differs(each, families[kind_of(each)])) is not None]
    harmed, again = _choices(differ, families)
    exposed = [each for each in exposed if each.attempt not in again]
    if len(exposed) < EXPOSED_MIN or len(harmed) < EXPOSED_MIN or 2 * len(harmed) < len(exposed):
        return None
    others = [each for family in families.values() for each in family.members if is_comparable(each, family, early=early)]
    fine = tuple(each for each in others if differs(each, families[kind_of(each)]) is None)
    counts = [Counter(kind_of(each) for each in side) for side in ([each for each, _, _ in harmed], exposed, fine, others)]
    bad, loaded, well, beside = counts
    chance = fisher_of([(bad[kind], loaded[kind], beside[kind] - well[kind], beside[kind]) for kind in sorted(families)])
    return Diverged(group, len(exposed), tuple(harmed), fine, len(others), chance, early, again) if len(others) >= OTHERS_MIN else None


def _choices(
    shown: Iterable[Harmed], families: Mapping[Kind, Siblings], before: Iterable[Harmed] = ()
) -> tuple[list[Harmed], frozenset[Attempt]]:
    """(what differs, attempts left out): what an owner chose, or came to first, counts once, however often he runs it."""
    made, kept, again = {_choice(each, families) for each in before}, list[Harmed](), set[Attempt]()
    for each in shown:
        choice = _choice(each, families)
        if choice in made:
            again.add(each[0].attempt)
        else:
            made.add(choice)
            kept.append(each)
    return kept, frozenset(again)


def _choice(harmed: Harmed, families: Mapping[Kind, Siblings]) -> tuple[str, str, str] | Attempt:
    member, what, (first, *_) = harmed
    if what.endswith(BEYOND):
        return member.owner, what, member.configuration
    if first.role != "argument" or _ran_as_usual_later(member, what, families.get(kind_of(member))):
        return member.attempt
    return member.owner, what, first.summary


def _ran_as_usual_later(member: JobSummary, what: str, siblings: Siblings | None) -> bool:
    """Did its owner, when the bytes were gone, run as before at that size, as nobody would who had chosen otherwise?"""
    theirs = [each for each in (siblings.members if siblings else ()) if (each.owner, each.gpus) == (member.owner, member.gpus)]
    return any(name == what for each in theirs if each.attempt.start > member.attempt.start for name, _, _ in each.arguments)


def _meanwhile(case: Cohort, group: Group, families: Mapping[Kind, Siblings]) -> Diverged | None:
    """What those show that do not say what they load, beside the few that loaded the bytes."""
    asked = [(member, mine) for member, mine in group.exposed if (known := families.get(kind_of(member))) and came_far(member, known)]
    differ = [(member, *shown) for member, _ in asked if (shown := differs(member, families[kind_of(member)])) is not None]
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
    for mine, beside in _by_kind(silent, clean):
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
    for members, _ in _by_kind([each for each in case.members if exposures[each.attempt]], clean):
        for member, shown in members:
            for name in {each.writer for each in exposures[member.attempt]}:
                well.setdefault(name, []).append(shown is None)
    meanwhile = {each.writer for mine in exposures.values() for each in mine if there[0] <= each.load.event_time <= there[1]}
    return all(
        len(seen := well.get(name, [])) >= cohort.HARMLESS_MIN and sum(seen) >= cohort.HARMLESS_SHARE * len(seen) for name in meanwhile
    )


Shown = tuple[JobSummary, Difference | None]


def _by_kind(asked: Sequence[JobSummary], clean: Sequence[JobSummary]) -> Iterator[tuple[list[Shown], list[Shown]]]:
    """For each configuration and size band, by what those differ that are asked, and these siblings, as far as they came far enough."""
    sides: defaultdict[Kind, tuple[list[JobSummary], list[JobSummary]]] = defaultdict(lambda: ([], []))
    for place, side in enumerate((asked, clean)):
        for each in side:
            sides[kind_of(each)][place].append(each)
    for kind in sorted({kind_of(each) for each in asked}):
        mine, beside = sides[kind]
        if len(beside) >= OTHERS_MIN:
            known = siblings_of(tuple(beside))
            first, second = ([(each, differs(each, known)) for each in side if came_far(each, known)] for side in (mine, beside))
            yield first, second
