"""Findings in; which of them are one campaign out: a pure function of their set, so that neither order nor history shows.

Strong links connect, weak ones only attach.  Two findings are tied strongly by one and the same causing record, by one artefact, or by one
suspect together with an alert on both sides, the same means, or the same victim.  What only shares an attempt, a bare suspect, or means and
victim, is weak: a finding that has no strong link at all joins the one other finding to which it is tied best.

    strong   X kills u012's job ─── X kills u012's job ─── X writes a.pt ─── job 9 loads a.pt
    weak     someone kills job 9 ........................................... (same attempt: joins, and ends there)

Holds: a finding that joins by a weak link never ties two campaigns together, because it has one such link only; so a victim whom two people
harm keeps two campaigns apart.  What lies further apart than GAP_MS is not tied by suspect, means or artefact: a pause of weeks is one
campaign, another year's trouble is not.  More findings may merge campaigns, and findings taken back may split them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from pipeline.model.finding import Finding

DAY_MS = 86_400_000
GAP_MS = 45 * DAY_MS  # the campaign of the patterns paused for weeks and lasted two months
NEAR_MS = 7 * DAY_MS  # means and victim alone are worth little, and nothing after a week
CAUSING = frozenset({"cause", "written", "act", "hook", "unpickled"})  # roles of the records that did it
Key = tuple[str, ...]
Keys = Callable[[Finding], Iterator[tuple[Key, int]]]  # (what ties, within which time)

# Families of means: what a hand that knows one can do with another of the same family.
MEANS = {
    "p01": "signals", "p02": "bytes", "p03": "orders", "p04": "bytes", "p05": "bytes", "p06": "bytes", "p07": "bytes", "p08": "bytes",
    "p09": "bytes", "p10": "bytes", "p11": "bytes", "p12": "orders", "p13": "queue", "p14": "nodes", "p15": "bytes", "p16": "reading",
    "p17": "accounts", "p18": "telemetry",
}  # fmt: skip
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


def order_of(finding: Finding) -> tuple[int, str]:
    """Canonical order; the first of a campaign founds it."""
    return finding.effect_time, finding.id


def means_of(finding: Finding) -> str:
    """The family of what was done."""
    return MEANS.get(finding.detector.partition("_")[0], finding.detector)


def artefacts_of(finding: Finding) -> frozenset[str]:
    """Paths that the finding is about."""
    found = {finding.anchor} if "/" in finding.anchor else set()
    if finding.subject.kind == "artefact":
        found.add(finding.subject.name)
    return frozenset(found)


def cluster_findings(findings: Iterable[Finding]) -> list[tuple[Finding, ...]]:
    """Campaigns, each in canonical order, by their founders."""
    ordered = sorted({each.id: each for each in findings}.values(), key=order_of)
    groups = Groups(len(ordered))
    for places in _by_key(ordered, _strong).values():
        for one, other in places:
            groups.union(one, other)
    lonely = [place for place in range(len(ordered)) if groups.size(place) == 1]
    for place, target in _attachments(ordered, lonely).items():
        groups.union(place, target)
    found: dict[int, list[Finding]] = {}
    for place, each in enumerate(ordered):
        found.setdefault(groups.root(place), []).append(each)
    return [tuple(members) for members in found.values()]


def links_of(campaign: Sequence[Finding]) -> dict[str, tuple[str, ...]]:
    """Finding id -> what ties it to others of the campaign, by name of the link."""
    found: dict[str, set[str]] = {each.id: set() for each in campaign}
    for keys in (_strong, _weak):
        for key, pairs in _by_key(campaign, keys).items():
            for pair in pairs:
                for place in pair:
                    found[campaign[place].id].add(key[0])
    return {name: tuple(link for link in LINKS if link in links) for name, links in found.items()}


# --- inside -----------------------------------------------------------------------------------------------------------------------


def _strong(finding: Finding) -> Iterator[tuple[Key, int]]:
    """(what ties, within which time)."""
    for item in finding.evidence:
        if item.role in CAUSING:
            yield ("record", item.event_id), 2**62
    for path in artefacts_of(finding):
        yield ("artefact", path), GAP_MS
    if who := finding.suspect:
        if finding.alert:
            yield ("suspect+alert", who), GAP_MS
        yield ("suspect+means", who, means_of(finding)), GAP_MS
        if finding.owner:
            yield ("suspect+victim", who, finding.owner), GAP_MS


def _weak(finding: Finding) -> Iterator[tuple[Key, int]]:
    if finding.attempt is not None:
        yield ("attempt", finding.attempt.name), 2**62
    if finding.suspect:
        yield ("suspect", finding.suspect), GAP_MS
    if finding.subject.kind == "identity":  # what befell an account belongs to what was done with it
        yield ("suspect", finding.subject.name), GAP_MS
    if finding.owner:
        yield ("means+victim", means_of(finding), finding.owner), NEAR_MS


def _by_key(ordered: Sequence[Finding], keys: Keys) -> dict[Key, list[tuple[int, int]]]:
    """Neighbours in time that share a key, near enough; ties between all follow from those between neighbours."""
    last: dict[Key, int] = {}
    found: dict[Key, list[tuple[int, int]]] = {}
    for place, finding in enumerate(ordered):
        for key, within in keys(finding):
            before = last.get(key)
            if before is not None and before != place and finding.effect_time - ordered[before].effect_time <= within:
                found.setdefault(key, []).append((before, place))
            last[key] = place
    return found


def _attachments(ordered: Sequence[Finding], lonely: Sequence[int]) -> dict[int, int]:
    """Where each finding without a strong link belongs: to its nearest by the best weak link, unless another is suspected there."""
    by_key: dict[Key, list[int]] = {}
    for place, finding in enumerate(ordered):
        for key, _ in _weak(finding):
            by_key.setdefault(key, []).append(place)
    found: dict[int, int] = {}
    for place in lonely:
        finding, best = ordered[place], None
        for key, within in _weak(finding):
            for other in by_key[key]:
                apart = abs(ordered[other].effect_time - finding.effect_time)
                if other == place or apart > within or _contradict(finding, ordered[other]):
                    continue
                rank = (WEAK.index(key[0]), apart, order_of(ordered[other]), other)
                best = rank if best is None or rank < best else best
        if best is not None:
            found[place] = best[3]
    return found


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
