"""Findings in; which of them are one campaign out: a pure function of their set, so that neither order nor history shows.

Strong links connect, weak ones only attach.  Two findings are tied strongly by one and the same causing record, by one artefact, or by one
suspect together with an alert on both sides, the same means, or the same victim.  What only shares an attempt, a bare suspect, or means and
victim, is weak: a finding that has no strong link at all joins the one other finding to which it is tied best.

    strong   X kills u012's job ─── X kills u012's job ─── X writes a.pt ─── job 9 loads a.pt
    weak     someone kills job 9 ........................................... (same attempt: joins, and ends there)

A finding that is once taken in keeps its keys (`Linked`), since thousands are grouped anew whenever one comes.

Holds: a finding that joins by a weak link never ties two campaigns together, because it has one such link only; so a victim whom two people
harm keeps two campaigns apart.  What lies further apart than GAP_MS is not tied by suspect, means or artefact: a pause of weeks is one
campaign, another year's trouble is not.  More findings may merge campaigns, and findings taken back may split them.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
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
WEAK = ("attempt", "suspect", "means+victim")  # the best first


class Linked(msgspec.Struct, frozen=True, gc=False):
    """A finding, and what may tie it to others."""

    finding: Finding
    id: str
    founds: str  # id of the incident whose earliest finding it is
    strong: Keys
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
    return Linked(finding, name, founds, tuple(_strong(finding)), tuple(_weak(finding)), order)


def artefacts_of(finding: Finding) -> frozenset[str]:
    """Paths that the finding is about."""
    found = {finding.anchor} if "/" in finding.anchor else set()
    if finding.subject.kind == "artefact":
        found.add(finding.subject.name)
    return frozenset(found)


def cluster_findings(findings: Iterable[Linked]) -> list[tuple[Linked, ...]]:
    """Campaigns, each in canonical order, by their founders.  One finding per id."""
    ordered = sorted(findings, key=attrgetter("order"))
    groups = Groups(len(ordered))
    for _, one, other in _neighbours(ordered, attrgetter("strong")):
        groups.union(one, other)
    lonely = [place for place in range(len(ordered)) if groups.size(place) == 1]
    for place, target in _attachments(ordered, lonely):
        groups.union(place, target)
    found: dict[int, list[Linked]] = {}
    for place, each in enumerate(ordered):
        found.setdefault(groups.root(place), []).append(each)
    return [tuple(members) for members in found.values()]


def window_of(campaign: Sequence[Linked]) -> tuple[int, int]:
    """From the first act, or effect without one, to the last effect."""
    return min(min(each.finding.cause_time, each.finding.effect_time) for each in campaign), campaign[-1].finding.effect_time


def links_of(campaign: Sequence[Linked]) -> dict[str, tuple[str, ...]]:
    """Finding id -> what ties it to others of the campaign, by name of the link."""
    found: dict[str, set[str]] = {each.id: set() for each in campaign}
    for key, *pair in _neighbours(campaign, lambda each: each.strong + each.weak):
        for place in pair:
            found[campaign[place].id].add(_link(key))
    return {name: tuple(link for link in LINKS if link in links) for name, links in found.items()}


# --- inside -----------------------------------------------------------------------------------------------------------------------


def _strong(finding: Finding) -> Iterator[tuple[str, int]]:
    """(what ties, within which time)."""
    for item in finding.evidence:
        if item.role in CAUSING:
            yield _key("record", item.event_id), 2**62
    for path in artefacts_of(finding):
        yield _key("artefact", path), GAP_MS
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


def _neighbours(ordered: Sequence[Linked], keys_of: Callable[[Linked], Keys]) -> Iterator[tuple[str, int, int]]:
    """(key, places) of neighbours in time that share a key, near enough; ties between all follow from those between neighbours."""
    last: dict[str, tuple[int, int]] = {}
    for place, each in enumerate(ordered):
        time = each.order[0]
        for key, within in keys_of(each):
            before = last.get(key)
            if before is not None and before[1] != place and time - before[0] <= within:
                yield key, before[1], place
            last[key] = time, place


def _attachments(ordered: Sequence[Linked], lonely: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Where each finding without a strong link belongs: to its nearest by the best weak link, unless another is suspected there."""
    by_key: dict[str, list[int]] = {}
    wanted = {key for place in lonely for key, _ in ordered[place].weak}
    for place, each in enumerate(ordered):
        for key, _ in each.weak:
            if key in wanted:
                by_key.setdefault(key, []).append(place)
    for place in lonely:
        keys = ordered[place].weak
        found = [(WEAK.index(_link(key)), *near) for key, within in keys if (near := _nearest(ordered, by_key[key], place, within))]
        if found:
            yield place, min(found)[2]


def _nearest(ordered: Sequence[Linked], bucket: Sequence[int], place: int, within: int) -> tuple[int, int] | None:
    """(time apart, place) of the nearest to which it may be tied; of several the first in canonical order."""
    at = bisect_left(bucket, place)
    best: tuple[int, int] | None = None
    for side in (bucket[max(0, at - SCANNED_MAX) : at][::-1], bucket[at : at + SCANNED_MAX]):
        for other in side:
            apart = abs(ordered[other].finding.effect_time - ordered[place].finding.effect_time)
            if apart > within or (best is not None and apart > best[0]):
                break
            if other != place and not _contradict(ordered[place].finding, ordered[other].finding):
                best = (apart, other) if best is None else min(best, (apart, other))
    return best


def _contradict(one: Finding, other: Finding) -> bool:
    return bool(one.suspect and other.suspect and one.suspect != other.suspect)


class Groups:
    """Disjoint sets of places; the smallest place stands for its set."""

    def __init__(self, count: int) -> None:
        self._parent, self._size = list(range(count)), [1] * count

    def root(self, place: int) -> int:
        """Who stands for the set."""
        while self._parent[place] != place:
            self._parent[place] = self._parent[self._parent[place]]
            place = self._parent[place]
        return place

    def size(self, place: int) -> int:
        """Of its set."""
        return self._size[self.root(place)]

    def union(self, one: int, other: int) -> None:
        """Put two sets together."""
        low, high = sorted((self.root(one), self.root(other)))
        if low != high:
            self._parent[high] = low
            self._size[low] += self._size[high]
