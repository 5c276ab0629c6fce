"""Findings in; which of them are one campaign out: a pure function of their set, so that neither order nor history shows.

Strong links connect, weak ones only attach.  Two findings that suspect one account are tied strongly by the same causing record, by one
artefact, or by the suspect together with an alert on both sides, the same means, or the same victim.  Those that suspect nobody are tied
among themselves by record and artefact, and join, together, the campaign that is nearest by these.  What only shares an attempt, a bare
suspect, or means and victim, is weak: a finding without any strong link joins the one other finding to which it is tied best.

    strong   X kills u012's job ─── X kills u012's job ─── X writes a.pt ─── job 9 loads a.pt
    weak     someone kills job 9 ........................................... (same attempt: joins, and ends there)
    apart    Y writes a.pt ─── job 10 loads a.pt         a campaign of its own; each is the other's rival

A finding that is once taken in keeps its keys (`Linked`), since thousands are grouped anew whenever one comes.

Holds: a campaign suspects one account, or none.  So neither a victim nor a file on which several laid hands makes one campaign of what
several people did; a shared environment would tie everything.  What lies further apart than GAP_MS is not tied by suspect, means or
artefact: a pause of weeks is one campaign, another year's trouble is not.  More findings may merge campaigns, and fewer may split them.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from operator import attrgetter

import msgspec

from pipeline.incidents.families import family_of
from pipeline.model.finding import Finding
from pipeline.model.incident import incident_id
from pipeline.model.instants import DAY_MS

GAP_MS = 45 * DAY_MS  # the campaign of the patterns paused for weeks and lasted two months
NEAR_MS = 7 * DAY_MS  # means and victim alone are worth little, and nothing after a week
CAUSING = frozenset({"cause", "written", "act", "hook", "unpickled"})  # roles of the records that did it
Keys = tuple[tuple[str, int], ...]  # (what ties, within which time)
RIVAL_MAX = 5  # findings of a rival at one artefact
SCANNED_MAX = 200  # neighbours on either side of which one may be fit to be joined

LINKS = {
    "record": "the same causing record",
    "artefact": "the same artefact",
    "suspect+alert": "the same suspect, both above the gate",
    "suspect+means": "the same suspect and means",
    "suspect+victim": "the same suspect and victim",
    "attempt": "the same attempt",
    "suspect": "the same suspect, below the gate",
    "means+victim": "the same means and victim within a week",
}
ANYBODY = ("record", "artefact")  # by these a campaign that suspects nobody joins another, the best first
WEAK = ("attempt", "suspect", "means+victim")  # likewise a finding


class Linked(msgspec.Struct, frozen=True, gc=False):
    """A finding, and what may tie it to others."""

    finding: Finding
    id: str
    founds: str  # id of the incident whose earliest finding it is
    shared: Keys  # records and artefacts, whoever is suspected
    strong: Keys  # with the suspect
    weak: Keys
    order: tuple[int, str]  # by time of the effect; the first of a campaign founds it

    @property
    def ties(self) -> tuple[object, ...]:
        """All that decides with which others it is one campaign."""
        return self.strong, self.weak, self.order, self.finding.suspect


def linked(finding: Finding) -> Linked:
    """With all that is worked out of it once."""
    name = finding.id
    founds, order = incident_id(finding.subject.cluster, name), (finding.effect_time, name)
    shared = tuple(_shared(finding))
    strong = (*((_key(key, finding.suspect), within) for key, within in shared), *_strong(finding))
    return Linked(finding, name, founds, shared, strong, tuple(_weak(finding)), order)


def artefacts_of(finding: Finding) -> frozenset[str]:
    """Paths that the finding is about."""
    found = {finding.anchor} if "/" in finding.anchor else set()
    if finding.subject.kind == "artefact":
        found.add(finding.subject.name)
    return frozenset(found)


def cluster_findings(findings: Iterable[Linked]) -> list[tuple[Linked, ...]]:
    """Campaigns, each in canonical order, by their founders.  One finding per id."""
    ordered = sorted(findings, key=attrgetter("order"))
    groups = Groups([each.finding.suspect for each in ordered])
    for _, one, other in _neighbours([each.strong for each in ordered], ordered):
        groups.union(one, other)
    for place, target in [*_homes(ordered, groups)]:
        groups.union(place, target)
    _attach(ordered, groups)
    found: dict[int, list[Linked]] = {}
    for place, each in enumerate(ordered):
        found.setdefault(groups.root(place), []).append(each)
    return [tuple(members) for members in found.values()]


def rivals_of(campaigns: Sequence[Sequence[Linked]], counts: Callable[[Finding], bool]) -> dict[str, tuple[Linked, ...]]:
    """Founder -> what others are suspected of at the artefacts of this campaign, GAP_MS from one to the next at most; none: left out.

    `counts`: does a finding show an act?  Of each suspect and artefact the first are told, so that they change seldom.
    """
    cited: dict[str, list[tuple[Linked, int]]] = {}
    for place, members in enumerate(campaigns):
        for each in members:
            for path in artefacts_of(each.finding):
                cited.setdefault(path, []).append((each, place))
    found: dict[int, dict[str, Linked]] = {}
    for of_path in cited.values():
        if len({place for _, place in of_path}) > 1:
            for stretch in _stretches(sorted(of_path, key=lambda each: each[0].order)):
                first: dict[int, list[Linked]] = {}
                for each, place in stretch:
                    acts = first.setdefault(place, [])
                    if len(acts) < RIVAL_MAX and each.finding.suspect and counts(each.finding):
                        acts.append(each)
                for place in first:
                    acts_of_others = (each for other, acts in first.items() if other != place for each in acts)
                    found.setdefault(place, {}).update((each.id, each) for each in acts_of_others)
    return {campaigns[place][0].id: tuple(sorted(others.values(), key=attrgetter("order"))) for place, others in found.items() if others}


def window_of(campaign: Sequence[Linked]) -> tuple[int, int]:
    """From the first act, or effect without one, to the last effect."""
    return min(min(each.finding.cause_time, each.finding.effect_time) for each in campaign), campaign[-1].finding.effect_time


def links_of(campaign: Sequence[Linked]) -> dict[str, tuple[str, ...]]:
    """Finding id -> what ties it to others of the campaign, by name of the link."""
    found: dict[str, set[str]] = {each.id: set() for each in campaign}
    for key, *pair in _neighbours([each.shared + each.strong + each.weak for each in campaign], campaign):
        for place in pair:
            found[campaign[place].id].add(_link(key))
    return {name: tuple(link for link in LINKS if link in links) for name, links in found.items()}


# --- inside -----------------------------------------------------------------------------------------------------------------------


def _shared(finding: Finding) -> Iterator[tuple[str, int]]:
    """(what ties, within which time)."""
    for name in sorted({item.event_id for item in finding.evidence if item.role in CAUSING}):
        yield _key("record", name), 2**62
    for path in sorted(artefacts_of(finding)):
        yield _key("artefact", path), GAP_MS


def _strong(finding: Finding) -> Iterator[tuple[str, int]]:
    if who := finding.suspect:
        if finding.alert:
            yield _key("suspect+alert", who), GAP_MS
        yield _key("suspect+means", who, family_of(finding).means), GAP_MS
        if finding.owner:
            yield _key("suspect+victim", who, finding.owner), GAP_MS


def _weak(finding: Finding) -> Iterator[tuple[str, int]]:
    if finding.attempt is not None:
        yield _key("attempt", finding.attempt.name), 2**62
    if finding.suspect:
        yield _key("suspect", finding.suspect), GAP_MS
    if finding.subject.kind == "identity":  # what befell an account belongs to what was done with it
        yield _key("suspect", finding.subject.name), GAP_MS
    if finding.owner:
        yield _key("means+victim", family_of(finding).means, finding.owner), NEAR_MS


def _key(link: str, *of: str) -> str:
    """As text, which is hashed once and not whenever it is looked up."""
    return "\x1f".join((link, *of))


def _link(key: str) -> str:
    return key.partition("\x1f")[0]


def _neighbours(keys: Iterable[Keys], ordered: Sequence[Linked]) -> Iterator[tuple[str, int, int]]:
    """(key, places) of neighbours in time that share a key, near enough; ties between all follow from those between neighbours."""
    last: dict[str, tuple[int, int]] = {}
    for place, mine in enumerate(keys):
        time = ordered[place].order[0]
        for key, within in mine:
            before = last.get(key)
            if before is not None and before[1] != place and time - before[0] <= within:
                yield key, before[1], place
            last[key] = time, place


def _homes(ordered: Sequence[Linked], groups: "Groups") -> Iterator[tuple[int, int]]:
    """Where each group that suspects nobody belongs: by one of its findings, to the nearest that suspects somebody, by the best link."""
    lonely = [place for place, each in enumerate(ordered) if not each.finding.suspect]
    wanted = {key for place in lonely for key, _ in ordered[place].shared}
    by_key: dict[str, list[int]] = {}
    for place, each in enumerate(ordered):
        if each.finding.suspect:
            for key in {key for key, _ in each.shared} & wanted:
                by_key.setdefault(key, []).append(place)
    best: dict[int, tuple[int, int, int, int]] = {}
    for place in lonely:
        for key, within in ordered[place].shared:
            near = _nearest(ordered, by_key.get(key, ()), place, within, lambda _: True)
            if near:
                root, found = groups.root(place), (ANYBODY.index(_link(key)), near[0], place, near[1])
                best[root] = min(best.get(root, found), found)
    yield from (each[2:] for _, each in sorted(best.items()))


def _attach(ordered: Sequence[Linked], groups: "Groups") -> None:
    """Put each finding without a strong link to its nearest by the best weak link, unless another is suspected there."""
    lonely = [place for place in range(len(ordered)) if groups.size(place) == 1]
    by_key: dict[str, list[int]] = {}
    wanted = {key for place in lonely for key, _ in ordered[place].weak}
    for place, each in enumerate(ordered):
        for key, _ in each.weak:
            if key in wanted:
                by_key.setdefault(key, []).append(place)
    for place in lonely:
        found = []
        for key, within in ordered[place].weak:
            near = _nearest(ordered, by_key[key], place, within, partial(groups.agree, place))
            if near:
                found.append((WEAK.index(_link(key)), *near))
        if found:
            groups.union(place, min(found)[2])


def _nearest(
    ordered: Sequence[Linked], bucket: Sequence[int], place: int, within: int, fits: Callable[[int], bool]
) -> tuple[int, int] | None:
    """(time apart, place) of the nearest to which it may be tied; of several the first in canonical order."""
    at = bisect_left(bucket, place)
    best: tuple[int, int] | None = None
    for side in (bucket[max(0, at - SCANNED_MAX) : at][::-1], bucket[at : at + SCANNED_MAX]):
        for other in side:
            apart = abs(ordered[other].finding.effect_time - ordered[place].finding.effect_time)
            if apart > within or (best is not None and apart > best[0]):
                break
            if other != place and fits(other):
                best = (apart, other) if best is None else min(best, (apart, other))
    return best


def _stretches(cited: Sequence[tuple[Linked, int]]) -> Iterator[list[tuple[Linked, int]]]:
    """In time, cut where nothing was for GAP_MS."""
    mine: list[tuple[Linked, int]] = []
    for each in cited:
        if mine and each[0].order[0] - mine[-1][0].order[0] > GAP_MS:
            yield mine
            mine = []
        mine.append(each)
    yield mine


class Groups:
    """Disjoint sets of places that suspect one account at most; the smallest place stands for its set."""

    def __init__(self, suspects: Sequence[str]) -> None:
        self._parent, self._size, self._suspect = list(range(len(suspects))), [1] * len(suspects), list(suspects)

    def root(self, place: int) -> int:
        """Who stands for the set."""
        while self._parent[place] != place:
            self._parent[place] = self._parent[self._parent[place]]
            place = self._parent[place]
        return place

    def size(self, place: int) -> int:
        """Of its set."""
        return self._size[self.root(place)]

    def agree(self, one: int, other: int) -> bool:
        """May two sets be one: do not both suspect somebody, and not the same?"""
        first, second = self._suspect[self.root(one)], self._suspect[self.root(other)]
        return not first or not second or first == second

    def union(self, one: int, other: int) -> None:
        """Put two sets together, which must agree."""
        low, high = sorted((self.root(one), self.root(other)))
        if low != high:
            self._parent[high] = low
            self._size[low] += self._size[high]
            self._suspect[low] = self._suspect[low] or self._suspect[high]
