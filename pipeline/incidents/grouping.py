"""Findings of a cluster, one by one, in; the campaigns that they are now, and who else acted at their artefacts, out.

What is tied strongly suspects one account (campaigns.py), so each account's findings are grouped by themselves, and again only when one of
them has changed.  What suspects nobody, and what is tied weakly, is few, and is put in its place each time:

    u3   [a b c] [d]          nobody   [e] [f g]          e joins a b c by its artefact, f and g nobody: [a b c e] [d] [f g]

Holds: campaigns and rivals follow from the set of findings; how it came to be does not show.
"""

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from operator import attrgetter, itemgetter
from typing import Generic, TypeVar

import msgspec

from pipeline.incidents.campaigns import ANYBODY, GAP_MS, WEAK, Linked, link_of, neighbours, of_several
from pipeline.incidents.families import counts

T = TypeVar("T")
RIVAL_MAX = 5  # findings of a rival at one artefact
RIVALS_MAX = 20  # whose acts at one artefact are looked at, the first ones: a file that all may write must not cost the square of them
SCANNED_MAX = 200  # neighbours on either side of which one may be fit to be joined

Tied = tuple[Linked, ...]  # in canonical order
Place = tuple[str, int]  # of what is tied strongly: suspect, number
_order = attrgetter("order")


class Acts(msgspec.Struct, frozen=True):
    """What one account is suspected of at an artefact, GAP_MS from one to the next at most, so that it is of one campaign."""

    suspect: str
    id: str  # of its first finding there
    first: Tied  # that count, RIVAL_MAX at most: they change seldom; where none does, its first finding
    counts: bool


class Grouping:
    """Of one cluster."""

    def __init__(self) -> None:
        self._known: dict[str, Linked] = {}
        self._by_suspect: dict[str, dict[str, Linked]] = {}
        self._by_key: dict[str, dict[str, Linked]] = {}  # by weak keys; of what suspects somebody, by record and artefact, too
        self._stale: set[str] = set()  # suspects
        self._tied: dict[str, list[Tied]] = {}
        self._place: dict[str, Place] = {}
        self._founder: dict[Place, str] = {}  # as grouped last
        self._sorted: dict[str, list[Linked]] = {}  # of `_by_key`, while nothing has changed there
        self._acts: dict[str, list[list[Acts]]] = {}  # by artefact, likewise
        self._hands: dict[str, dict[str, int]] = {}  # artefact -> suspect -> findings

    def put(self, new: Linked) -> None:
        """Take one in; the last word on it counts."""
        self.drop(new.id)
        self._known[new.id] = new
        self._by_suspect.setdefault(new.finding.suspect, {})[new.id] = new
        for key in _keys(new):
            self._by_key.setdefault(key, {})[new.id] = new
        self._changed(new, 1)

    def drop(self, name: str) -> None:
        """As if it had never been told."""
        if (old := self._known.pop(name, None)) is not None:
            _take_out(self._by_suspect, old.finding.suspect, name)
            for key in _keys(old):
                _take_out(self._by_key, key, name)
            self._place.pop(name, None)
            self._changed(old, -1)

    def campaigns(self) -> list[Tied]:
        """Each in canonical order, by their founders.  What has not changed is the same object as before."""
        for suspect in self._stale:
            tied = _tied(sorted(self._by_suspect.get(suspect, {}).values(), key=_order))
            if tied:
                self._tied[suspect] = tied
            else:
                self._tied.pop(suspect, None)
            self._place.update((each.id, (suspect, number)) for number, group in enumerate(tied) for each in group)
        self._stale.clear()
        parts = {(suspect, number): group for suspect, tied in self._tied.items() for number, group in enumerate(tied)}
        groups = Groups(parts, label=itemgetter(0))
        apart: set[Place] = set()
        for place, home in [*self._homes()]:
            if home is None:
                apart.add(place)
            else:
                groups.union(place, self._place[home.id])
        alone = (place for place, group in parts.items() if len(group) == 1 and place not in apart and groups.is_alone(place))
        lonely = sorted((parts[place][0] for place in alone), key=_order)
        for each in lonely:
            if groups.is_alone(self._place[each.id]) and (target := self._attachment(each, groups, apart)) is not None:
                groups.union(self._place[each.id], self._place[target.id])
        found = []
        self._founder.clear()
        for places in groups.all():
            members = parts[places[0]] if len(places) == 1 else tuple(sorted((each for at in places for each in parts[at]), key=_order))
            self._founder.update(dict.fromkeys(places, members[0].id))
            found.append(members)
        return sorted(found, key=lambda each: each[0].order)

    def rivals(self) -> dict[str, Tied]:
        """Founder -> the first acts of others at artefacts where its own suspect acted; none: left out.  As campaigns were grouped last."""
        found: dict[str, dict[str, Linked]] = {}
        for key in [key for key, hands in self._hands.items() if len(hands) > 1]:
            if key not in self._acts:
                self._acts[key] = [*_stretches(self._bucket(key))]
            for stretch in self._acts[key]:
                leading = sorted(stretch, key=lambda each: not each.counts)[: RIVALS_MAX + 1]
                for mine in stretch:
                    others = (each for theirs in leading if theirs.suspect != mine.suspect for each in theirs.first)
                    found.setdefault(self._founder[self._place[mine.id]], {}).update((each.id, each) for each in others)
        return {founder: tuple(sorted(others.values(), key=_order)) for founder, others in found.items() if others}

    def _changed(self, one: Linked, by: int) -> None:
        suspect = one.finding.suspect
        self._stale.add(suspect)
        for key in _keys(one):
            self._sorted.pop(key, None)
            if link_of(key) == "artefact":
                self._acts.pop(key, None)
                hands = self._hands.setdefault(key, {})
                hands[suspect] = hands.get(suspect, 0) + by
                if not hands[suspect]:
                    _take_out(self._hands, key, suspect)

    def _bucket(self, key: str) -> list[Linked]:
        if key not in self._by_key:
            return []
        if key not in self._sorted:
            self._sorted[key] = sorted(self._by_key[key].values(), key=_order)
        return self._sorted[key]

    def _homes(self) -> Iterator[tuple[Place, Linked | None]]:
        """Where what suspects nobody belongs: by one of its findings, to the nearest that suspects somebody, by the best link.

        None: it cites acts of several people, and tells of none that they are his; so it is laid at nobody's door, also where no finding
        suspects the others of theirs: whoever is the only one that is looked at did not act alone.
        """
        for number, group in enumerate(self._tied.get("", ())):
            if any(of_several(each.finding) for each in group):
                yield ("", number), None
                continue
            near = [
                (ANYBODY.index(link_of(key)), apart, each.order, target)
                for each in group
                for key, within in each.shared
                for apart, target in _nearest(self._bucket(key), each, within, lambda _: True)
            ]
            if len({target.finding.suspect for link, _, _, target in near if ANYBODY[link] == "record"}) > 1:
                yield ("", number), None
            elif near:
                yield ("", number), min(near, key=lambda each: (*each[:3], each[3].order))[3]

    def _attachment(self, one: Linked, groups: "Groups[Place]", apart: Collection[Place]) -> Linked | None:
        """The nearest by the best weak link, where no other is suspected, nor one of several."""

        def fits(other: Linked) -> bool:
            return self._place[other.id] not in apart and groups.agree(self._place[one.id], self._place[other.id])

        near = [
            (WEAK.index(link_of(key)), apart, target)
            for key, within in one.weak
            for apart, target in _nearest(self._bucket(key), one, within, fits)
        ]
        return min(near, key=lambda each: (*each[:2], each[2].order))[2] if near else None


# --- inside -----------------------------------------------------------------------------------------------------------------------


def _keys(one: Linked) -> set[str]:
    return {key for key, _ in ((*one.shared, *one.weak) if one.finding.suspect else one.weak)}


def _take_out(held: dict[str, dict[str, T]], key: str, name: str) -> None:
    """What is empty goes: keys are as many as there ever were records and files."""
    del held[key][name]
    if not held[key]:
        del held[key]


def _tied(ordered: Sequence[Linked]) -> list[Tied]:
    """What one account is suspected of, by strong links."""
    groups = Groups(range(len(ordered)))
    for _, one, other in neighbours([each.strong for each in ordered], ordered):
        groups.union(one, other)
    return [tuple(ordered[at] for at in places) for places in groups.all()]


def _nearest(bucket: Sequence[Linked], one: Linked, within: int, fits: Callable[[Linked], bool]) -> Iterator[tuple[int, Linked]]:
    """(time apart, the nearest to which it may be tied), of several the first in canonical order; nothing when there is none."""
    at = bisect_left(bucket, one.order, key=_order)
    best: tuple[int, tuple[int, str], Linked] | None = None
    for side in (bucket[max(0, at - SCANNED_MAX) : at][::-1], bucket[at : at + SCANNED_MAX]):
        for other in side:
            apart = abs(other.order[0] - one.order[0])
            if apart > within or (best is not None and apart > best[0]):
                break
            if other.id != one.id and fits(other) and (best is None or (apart, other.order) < best[:2]):
                best = (apart, other.order, other)
    if best is not None:
        yield best[0], best[2]


def _stretches(bucket: Iterable[Linked]) -> Iterator[list[Acts]]:
    """Findings at one artefact, in time, cut where nobody's was for GAP_MS; of each suspect, where none of his own was."""
    acts: list[list[Linked]] = []
    mine: dict[str, list[Linked]] = {}  # the newest of each
    last = 0
    for each in bucket:
        if acts and each.order[0] - last > GAP_MS:
            yield [*map(_acts, acts)]
            acts, mine = [], {}
        last, suspect = each.order[0], each.finding.suspect
        if suspect not in mine or last - mine[suspect][-1].order[0] > GAP_MS:
            mine[suspect] = []
            acts.append(mine[suspect])
        mine[suspect].append(each)
    if acts:
        yield [*map(_acts, acts)]


def _acts(cited: Sequence[Linked]) -> Acts:
    first = [each for each in cited if counts(each.finding)][:RIVAL_MAX]
    return Acts(cited[0].finding.suspect, cited[0].id, tuple(first or cited[:1]), bool(first))


class Groups(Generic[T]):
    """Disjoint sets of what is given; a set has at most one label that is not empty."""

    def __init__(self, members: Iterable[T], label: Callable[[T], str] = lambda _: "") -> None:
        self._parent = {each: each for each in members}
        self._label, self._order = {each: label(each) for each in self._parent}, {each: at for at, each in enumerate(self._parent)}
        self._large: set[T] = set()  # roots of sets of several

    def root(self, one: T) -> T:
        """Who stands for the set: of its members the first that was given."""
        while self._parent[one] != one:
            self._parent[one] = self._parent[self._parent[one]]
            one = self._parent[one]
        return one

    def is_alone(self, one: T) -> bool:
        """Is it the only one of its set?"""
        return self.root(one) not in self._large

    def agree(self, one: T, other: T) -> bool:
        """May two sets be one?"""
        first, second = self._label[self.root(one)], self._label[self.root(other)]
        return not first or not second or first == second

    def union(self, one: T, other: T) -> None:
        """Put two sets together, which must agree."""
        low, high = sorted((self.root(one), self.root(other)), key=self._order.__getitem__)
        if low != high:
            self._parent[high] = low
            self._large.add(low)
            self._label[low] = self._label[low] or self._label[high]

    def all(self) -> Iterable[list[T]]:
        """Members of each set, in order."""
        found: dict[T, list[T]] = {}
        for each in self._parent:
            found.setdefault(self.root(each), []).append(each)
        return found.values()
