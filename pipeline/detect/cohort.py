"""What a detector of cohorts sees: attempts that should have gone alike, and which of them loaded bytes that a foreign hand had written.

Two kinds of cohorts: attempts of one account, whose pace and losses can be compared within each *configuration*, and all attempts from a
*size* on, of which only the ends can.  What somebody wrote is loaded by a few attempts each of many configurations: each is compared with
its own siblings, and what is seen in all of them counts together.  The members that were exposed to one writer's bytes stand against those
that were not: before the write, after the clean-up, or elsewhere.  That is the comparison that a person who fears to be framed would ask
for: nobody is looked at but by what he wrote, and the members are chosen by what they loaded, before anybody looks at how they went.

What a third hand wrote may be to blame instead.  It is not, when those that loaded it and none of the writer's go well; nor, when of
attempts of one configuration and size that loaded the very same bytes of others those go worse that loaded the writer's as well:

    loaded                     ms a step
    u031's v1                  1020 1018 1025 1019 1022 1030
    u031's v1 and u099's       1310 1290 1333 1305            p = 1/210: not u031's bytes, whatever they do
    u031's v2 and u099's       1298                           compared with nobody

What harms nobody is not alike at every size: large jobs straggle, fail and learn otherwise by themselves.  So each is compared within its
size band: on a node or two, on a few, on some dozens, and of 256 GPUs and more from one power of two to the next.  A small run that went
well says nothing of a large one.

Who alters a file again and again, or only harms jobs above a size, must not hide among his own harmless bytes: a detector may ask of each
version of the bytes, and of jobs from each size on, apart, and pays for each question that it asks (`narrowed`).  Of many not each is asked
about: of sizes those with which size bands begin and the largest, however many small ones there are; of versions the most loaded, and the
newest that several loaded.  Whoever means to push one out must have others' jobs load twenty that do nothing, again and again.

In: summaries of attempts.  Out: typed, sorted, without trace of arrival.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import msgspec

from pipeline.detect.case import Site
from pipeline.detect.gates import alert_or_reason
from pipeline.model.finding import UNPROVEN, Checked, Evidence, Explanation, Subject
from pipeline.model.identity import Identity
from pipeline.model.instants import DAY_MS
from pipeline.model.summary import Exposure, JobSummary
from pipeline.model.told import Attempt

ALONE_MIN = 2
HARMLESS_MIN, HARMLESS_SHARE = 3, 0.75  # of those that loaded what somebody wrote went well: it is not what does the harm
CLEAN_MIN = 5  # and no fewer than the exposed, of a size band: with so many that loaded nothing foreign no others are asked
OTHER_WRITERS = "other_writers"  # the explanation that another hand's bytes did it (benign_cohort.py)
REQUIRED = ("written_with_leave", "own_files", "other_writers", "machines", "changed_for_all", "by_chance")
VERSIONS_MAX, SIZES_MAX = 20, 8  # that are asked about apart
SEVERAL_MIN = 2  # attempts, of which some detector says something
OTHERS_MAX = 60  # of one configuration and size band, to be compared with
ELSEWHERE = -1  # where nobody got that is asked about
NAMED_CHANCE_MAX = 1e-5  # architecture section 6: of naming somebody wrongly
SMALL_BANDS, LARGE = (0, 1, 16, 64), 256  # where bands begin; from LARGE on each is twice as wide as the one before
CITED_MAX = 8  # members of either side whose records a finding cites
UNTOLD_MS = 2 * DAY_MS  # how long bytes may lie there after the last load that is told


class Kind(NamedTuple):
    """What attempts have in common that are compared with one another."""

    configuration: str
    band: int  # see `band_of`


def band_of(member: JobSummary) -> int:
    """Its size band, by the GPUs with which that begins: 256 for 256 to 511; 0: nobody says how many."""
    return _band(member.gpus or 0)


def _band(gpus: int) -> int:
    gpus = max(gpus, 0)
    return 1 << (gpus.bit_length() - 1) if gpus >= LARGE else max(each for each in SMALL_BANDS if each <= gpus)


def kind_of(member: JobSummary) -> Kind:
    """Its configuration and size band."""
    return Kind(member.configuration, band_of(member))


class Group(msgspec.Struct, frozen=True):
    """Members exposed to what one identity wrote, and those exposed to nothing."""

    writer: Identity
    exposed: tuple[tuple[JobSummary, tuple[Exposure, ...]], ...]
    others: tuple[JobSummary, ...]
    telling: tuple[JobSummary, ...] = ()  # all that say what they loaded, and loaded none of it: others' bytes perhaps

    @staticmethod
    def corrected(chances: Sequence[float | None]) -> list[float]:
        """What each answer is worth when several were asked: half of the chance of error is the first one's, the rest is shared.

        None: too few to show anything, however they went.  Such a question costs the others nothing (Tarone, Biometrics 46, 515).
        """
        rest = sum(chance is not None for chance in chances[1:])
        shares = (1 if not rest else 2 if number == 0 else 2 * rest for number in range(len(chances)))
        return [1.0 if chance is None else min(1.0, chance * share) for chance, share in zip(chances, shares, strict=True)]

    def by_size(self) -> list["Group"]:
        """The group itself, and its attempts from each size on (`sizes_asked`); every set of members once."""
        return self._narrowed((None,))

    def narrowed(self) -> list["Group"]:
        """The group itself, each version of the bytes alone, and of each the attempts from a size on; every set of members once."""
        return self._narrowed((None, *self._versions_asked()))

    def apart_from(self, other: "Group") -> "Group":
        """Of one version of the bytes, attempts that loaded none that the other is about; of several nobody."""
        theirs, left = other._versions(), self.exposed if len(self._versions()) == 1 else ()
        kept = tuple(each for each in left if theirs.isdisjoint(_versions(_by_writer(each[0])[self.writer.id])))
        return Group(self.writer, kept, self.others, self.telling)

    def joined(self, other: "Group") -> "Group":
        """The same writer's, about the versions of both."""
        mine: dict[Attempt, tuple[JobSummary, tuple[Exposure, ...]]] = {}
        for member, exposures in (*self.exposed, *other.exposed):
            _, known = mine.get(member.attempt, (member, ()))
            mine[member.attempt] = member, tuple(sorted({*known, *exposures}))
        return Group(self.writer, tuple(mine[attempt] for attempt in sorted(mine)), self.others, self.telling)

    def _versions(self) -> frozenset[tuple[str, str]]:
        return _versions(exposure for _, mine in self.exposed for exposure in mine)

    def _versions_asked(self) -> list[tuple[str, str]]:
        """Versions of the bytes that are asked about apart: half of them the most loaded, half the newest that several loaded.

        What the same attempts loaded is one question.  Chosen is by who loaded them and when they were first written, before anybody looks
        at how these went.
        """
        since: dict[tuple[str, str], int] = {}
        loaded: defaultdict[tuple[str, str], set[Attempt]] = defaultdict(set)
        for member, mine in self.exposed:
            for each in mine:
                version = each.path, each.sha256
                since[version] = min(each.written, since.get(version, each.written))
                loaded[version].add(member.attempt)
        alike: dict[frozenset[Attempt], tuple[str, str]] = {}
        for version in sorted(loaded):
            alike.setdefault(frozenset(loaded[version]), version)
        by_loads = sorted(alike.values(), key=lambda each: (-len(loaded[each]), each))
        most, left = by_loads[: VERSIONS_MAX // 2], by_loads[VERSIONS_MAX // 2 :]
        newest = sorted(left, key=lambda each: (len(loaded[each]) < SEVERAL_MIN, -since[each], each))
        return sorted((*most, *newest[: VERSIONS_MAX - len(most)]))

    def _narrowed(self, versions: Sequence[tuple[str, str] | None]) -> list["Group"]:
        sizes = sizes_asked({member.gpus or 0 for member, _ in self.exposed})
        found: dict[tuple[Attempt, ...], Group] = {}
        for version in versions:
            for size in sizes:
                chosen = tuple(
                    (member, kept)
                    for member, mine in self.exposed
                    if (member.gpus or 0) >= size
                    and (kept := tuple(each for each in mine if version is None or (each.path, each.sha256) == version))
                )
                if chosen:
                    found.setdefault(tuple(member.attempt for member, _ in chosen), Group(self.writer, chosen, self.others, self.telling))
        return list(found.values())

    @property
    def beside(self) -> tuple[JobSummary, ...]:
        """The others, and all that say what they loaded."""
        return tuple(sorted({each.attempt: each for each in (*self.others, *self.telling)}.values(), key=lambda each: each.attempt))

    @property
    def files(self) -> tuple[str, ...]:
        """What was written."""
        return tuple(sorted({exposure.path for _, exposures in self.exposed for exposure in exposures}))

    @property
    def since(self) -> int:
        """When the first of these bytes were written, UTC ms."""
        return min(exposure.written for _, exposures in self.exposed for exposure in exposures)

    @property
    def last(self) -> int:
        """Event time of the newest of what is known of the exposed."""
        return max(member.end or member.seen for member, _ in self.exposed)


def sizes_asked(sizes: Collection[int]) -> list[int]:
    """GPUs from which on attempts are asked about: the smallest, where size bands begin, then the largest.

    None of the large ones goes unasked because there are many small ones, nor any band because there are many sizes in another.
    """
    first = {_band(size): size for size in sorted(sizes, reverse=True)}
    begin = frozenset(first.values())
    smallest = min(sizes, default=0)
    return sorted(sorted(sizes, key=lambda size: (size != smallest, size not in begin, -size))[:SIZES_MAX])


def known_part(member: JobSummary) -> JobSummary | None:
    """What known senders tell of an attempt; None where only others tell that there was one, or how it ended."""
    if _anybodys(member.record):
        return None
    told = (*(cite for _, _, cite in member.arguments), *(each.cited for each in member.steps))
    paced = member.pace is not None and (_anybodys(member.pace.first) or _anybodys(member.pace.slowest))
    if not paced and not any(each.unproven for each in member.exposures) and not any(map(_anybodys, told)):
        return member
    return msgspec.structs.replace(
        member,
        pace=None if paced else member.pace,
        steps=tuple(each for each in member.steps if not _anybodys(each.cited)),
        arguments=tuple(each for each in member.arguments if not _anybodys(each[2])),
        exposures=tuple(each for each in member.exposures if not each.unproven),
    )


def _anybodys(cited: Evidence | None) -> bool:
    """May anybody have sent it?"""
    return cited is not None and cited.summary.endswith(UNPROVEN)


class Cohort:
    """Attempts of one cluster that are compared with one another."""

    owner_unproven = False
    work_dir = ""

    def __init__(self, site: Site, cluster: str, name: str, members: Iterable[JobSummary], *, unproven: bool | None = None) -> None:
        """`unproven`: does a member tell what anybody may have sent?  None: it is not known yet."""
        self.whole: Cohort = self
        self._proven: Cohort | None = None
        self.site = site
        self.subject = Subject("cohort", cluster, name)
        self.attempt = None
        self.members = tuple(sorted(members, key=lambda each: (each.attempt, each.seen)))
        owners = {member.owner for member in self.members}
        self.owner_id = owners.pop() if len(owners) == 1 else ""
        self._groups: tuple[Group, ...] | None = None
        self.unproven = any(known_part(member) is not member for member in self.members) if unproven is None else unproven

    @property
    def proven(self) -> "Cohort":
        """The same without what anybody may have made up: neither to blame a writer, nor to hide him among what went well."""
        if not self.unproven:
            return self
        if self._proven is None:
            known = [part for member in self.members if (part := known_part(member)) is not None]
            self._proven = Cohort(self.site, self.subject.cluster, self.subject.name, known)
            self._proven.whole = self
        return self._proven

    def without(self, writers: Collection[str]) -> "Cohort":
        """The same but for members that loaded what these identities wrote."""
        left = [each for each in self.members if _by_writer(each).keys().isdisjoint(writers)]
        rest = Cohort(self.site, self.subject.cluster, self.subject.name, left)
        if self.whole is not self:
            rest.whole = self.whole.without(writers)
        return rest

    @property
    def kind(self) -> str:
        """configuration | size"""
        return self.subject.name.partition("/")[0]

    def anchor(self, group: Group) -> str:
        """The group's writer, without the name."""
        return self.site.directory.label("writer", group.writer.id)

    def groups(self) -> tuple[Group, ...]:
        """The same for all detectors: one per foreign writer."""
        if self._groups is None:
            self._groups = tuple(self._compared())
        return self._groups

    def _compared(self) -> Iterator[Group]:
        """One per foreign writer.

        It is compared with those that loaded nothing foreign, or only what was put back byte for byte; where they are few in a size band,
        with all others there as well.  These may have been harmed by another hand: they make an accusation weaker, never stronger.  The
        writer's own jobs are nobody's siblings: he decides what they print.  Nor are those that do not say what they load, as long as these
        bytes may have been there to be loaded: they stay behind the last load that is told, and nobody says until when.
        """
        of_configurations = self.kind == "configuration"
        loaded = [(member, _by_writer(member)) for member in self.members]
        compared: dict[str, set[str]] = {}  # writer -> of configurations, those that have a member which loaded the writer's bytes
        for member, by_writer in loaded:
            for writer in by_writer:
                compared.setdefault(writer, set()).add(member.configuration)
        for writer in sorted(compared):
            exposed, clean, others = [], [], []
            for member, by_writer in loaded:
                if of_configurations and member.configuration not in compared[writer]:
                    continue
                if writer in by_writer:
                    exposed.append((member, by_writer[writer]))
                elif member.owner != writer:
                    others.append(member)
                    clean += [] if by_writer else [member]
            since, until = _there(exposed)
            clean, others = (
                [each for each in side if each.loads_told or not since <= each.attempt.start <= until] for side in (clean, others)
            )
            siblings = [*_enough(exposed, clean, others)]
            telling = [each for each in others if each.loads_told]
            if of_configurations:
                asked = [member for member, _ in exposed]
                siblings, telling = nearest(siblings, since, asked), nearest(telling, since, asked)
            yield Group(Identity(id=writer), tuple(exposed), tuple(siblings), tuple(telling))


def _enough(
    exposed: Sequence[tuple[JobSummary, tuple[Exposure, ...]]], clean: Sequence[JobSummary], others: Sequence[JobSummary]
) -> Iterator[JobSummary]:
    """Of each size band those that loaded nothing foreign; where these are few, all."""
    loaded, well = Counter(band_of(member) for member, _ in exposed), Counter(map(band_of, clean))
    few = {band for band, count in loaded.items() if well[band] < max(CLEAN_MIN, count)}
    return chain((each for each in clean if band_of(each) not in few), (each for each in others if band_of(each) in few))


def _versions(exposures: Iterable[Exposure]) -> frozenset[tuple[str, str]]:
    return frozenset((each.path, each.sha256) for each in exposures)


def _by_writer(member: JobSummary) -> dict[str, tuple[Exposure, ...]]:
    """What it loaded of foreign hands that was not put back."""
    found: dict[str, tuple[Exposure, ...]] = {}
    for each in member.exposures:
        if not each.restored:
            found[each.writer] = (*found.get(each.writer, ()), each)
    return found


def _there(exposed: Sequence[tuple[JobSummary, tuple[Exposure, ...]]]) -> tuple[int, int]:
    """When the bytes were written first, and until when they may have been loaded by who does not say so."""
    every = [each for _, mine in exposed for each in mine]
    return min(each.written for each in every), max(each.load.event_time for each in every) + UNTOLD_MS


def nearest(members: list[JobSummary], time: int, asked: Iterable[JobSummary] = ()) -> list[JobSummary]:
    """Of each kind those that began nearest to a time: what ran a year before tells no more, and all with all cost the square.

    `asked`: who is to be compared with them.  In turn those are taken that got as far as some of these, and no further: how a run learns at
    step 50,000 nobody knows who is at 500.
    """
    wanted = {(kind_of(each), reach) for each in asked for reach in _reaches(each)}
    taken: Counter[tuple[Kind, int]] = Counter()
    ordered: defaultdict[Kind, list[tuple[int, int, JobSummary]]] = defaultdict(list)
    for number, each in enumerate(sorted(members, key=lambda each: (abs(each.attempt.start - time), each.attempt))):
        kind = kind_of(each)
        shared = [(kind, reach) for reach in _reaches(each) if (kind, reach) in wanted] or [(kind, ELSEWHERE)]
        ordered[kind].append((min(taken[reach] for reach in shared), number, each))
        taken.update(shared)
    chosen = (each for kind in ordered.values() for _, _, each in sorted(kind, key=lambda each: each[:2])[:OTHERS_MAX])
    return sorted(chosen, key=lambda each: (each.attempt, each.seen))


def _reaches(member: JobSummary) -> range:
    """How far it got, from power of two to power of two of the steps of training that it logged."""
    return range(member.steps[0].iteration.bit_length(), member.steps[-1].iteration.bit_length() + 1) if member.steps else range(0)


def cited(group: Group, members: Sequence[JobSummary], *, beside: Collection["Bytes"] = ()) -> list[Evidence]:
    """Writes, loads and runs of these exposed members, the first of each file and the first ones.

    `beside`: of the bytes of other hands those of which they tell.
    """
    harmed = {member.attempt for member in members}
    exposed = sorted(((member, mine) for member, mine in group.exposed if member.attempt in harmed), key=lambda each: each[0].attempt)
    first = {exposure.path: member.attempt for member, mine in reversed(exposed) for exposure in mine}
    begin = set(first.values())
    order = sorted({member.attempt for member, _ in exposed}, key=lambda attempt: (attempt not in begin, attempt))
    chosen = set(order[:CITED_MAX])
    found: list[Evidence] = []
    for member, exposures in exposed:
        if member.attempt in chosen:
            others = [each for each in member.exposures if not each.restored and _bytes(each) in beside]
            found += [item for exposure in (*exposures, *others) for item in (exposure.write, exposure.load)]
            found += [member.record] if member.record else []
    return found


class Comparison(msgspec.Struct, frozen=True):
    """What a detector holds against the writer of a group's bytes before benign explanations are asked."""

    group: Group
    harmed: Sequence[JobSummary]  # of the exposed
    fine: Sequence[JobSummary]  # of those beside
    chance: float  # that it would look like this if nothing were the matter
    chance_max: float
    beside: Sequence[JobSummary] = ()  # of all that loaded none of it, those that tell how they went; none: the group's others
    apart: float = 1.0  # that it would look like this if what all loaded alike of other hands did it


class Blamed(msgspec.Struct, frozen=True):
    """What speaks against the writer of a group's bytes, and what may explain it."""

    seen: Comparison
    checklist: Sequence[Explanation]

    @property
    def group(self) -> Group:
        """The writer's."""
        return self.seen.group

    @property
    def harmed(self) -> Sequence[JobSummary]:
        """Of the exposed."""
        return self.seen.harmed

    @property
    def is_shown(self) -> bool:
        """Did the writer's bytes do it, whatever others wrote?"""
        return alert_or_reason(self.checklist, REQUIRED)[0]

    @property
    def is_open(self) -> bool:
        """May another hand's bytes have done it?"""
        return any(item.name == OTHER_WRITERS and item.answer is not Checked.EXCLUDED for item in self.checklist)

    def beside(self) -> frozenset["Bytes"]:
        """Bytes of other hands that may have done it; of a hand whose bytes are cleared nothing is cited as of one of several."""
        return frozenset(piece for each in self.harmed for piece in by_others(each, self.group)) - cleared(self.seen)


def one_of_several(blamed: Sequence[Blamed]) -> list[bool]:
    """Of each: did one hand of several do it, or all together, and nothing tells which?  Not where one's bytes are shown to do it alone."""
    alone = {each.group.writer.id for each in blamed if each.is_shown}
    return [
        each.is_open and alone.isdisjoint(piece[0] for member in each.harmed for piece in by_others(member, each.group)) for each in blamed
    ]


def unnamed(chance: float) -> str:
    """Why nobody is named where it would look like this so often if nothing were the matter; empty: it is rare enough."""
    if chance <= NAMED_CHANCE_MAX:
        return ""
    return f"once in {1 / chance:,.0f} comparisons it would look like this by chance; a name asks for one in {1 / NAMED_CHANCE_MAX:,.0f}"


Bytes = tuple[str, str, str]  # writer, path, SHA-256


def by_others(member: JobSummary, group: Group) -> frozenset[Bytes]:
    """What it loaded of hands other than the group's writer's that was not put back."""
    return frozenset(_bytes(each) for each in member.exposures if not each.restored and each.writer != group.writer.id)


def _bytes(exposure: Exposure) -> Bytes:
    return exposure.writer, exposure.path, exposure.sha256


def unnamed_of_one(harmed: Sequence[JobSummary]) -> str:
    """Why nobody is named where all harmed are one person's, who may run them otherwise than before for a reason of the own."""
    return "all of them are of one owner, who may have changed something else as well" if len({each.owner for each in harmed}) == 1 else ""


def unnamed_beside(group: Group, harmed: Sequence[JobSummary]) -> str:
    """Why nobody is named where others' bytes lay beside: these do nothing alone, and may have been made to do harm beside the writer's."""
    alone = sum(not by_others(each, group) for each in harmed)
    return "" if alone >= ALONE_MIN and 2 * alone >= len(harmed) else "most loaded what others wrote as well, which may act together"


def cleared(seen: Comparison) -> frozenset[Bytes]:
    """Bytes of other hands that do no harm: nearly all that loaded them, and nothing of the accused, went well, at sizes at which those did
    not that loaded both.
    """
    sizes: dict[Bytes, set[int | None]] = {}
    for each in seen.harmed:
        for piece in by_others(each, seen.group):
            sizes.setdefault(piece, set()).add(each.gpus)
    loaded, well = (
        Counter(piece for each in side for piece in by_others(each, seen.group) if each.gpus in sizes.get(piece, ()))
        for side in (seen.beside or seen.group.others, seen.fine)
    )
    return frozenset(piece for piece, count in well.items() if count >= max(HARMLESS_MIN, HARMLESS_SHARE * loaded[piece]))
