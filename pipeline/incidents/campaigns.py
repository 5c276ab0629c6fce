"""What ties findings to one campaign: links of two kinds, a pure function of each finding.  Which are one, `grouping.py` says.

Strong links connect, weak ones only attach.  Two findings that suspect one account are tied strongly by the same causing record, by one
artefact, or by the suspect together with an alert on both sides, the same means, or the same victim.  Those that suspect nobody are tied
among themselves by record and artefact, and join, together, the campaign that is nearest by these; where they cite acts of several people,
which of them it was is not told, and they stay apart.  What only shares an attempt, a bare suspect, or means and victim, is weak: a finding
without any strong link joins the one other finding to which it is tied best.

    strong   X kills u012's job ─── X kills u012's job ─── X writes a.pt ─── job 9 loads a.pt
    weak     someone kills job 9 ........................................... (same attempt: joins, and ends there)
    apart    Y writes a.pt ─── job 10 loads a.pt         a campaign of its own; each is the other's rival

Holds: a campaign suspects one account, or none.  So neither a victim nor a file on which several laid hands makes one campaign of what
several people did; a shared environment would tie everything.  What lies further apart than GAP_MS is not tied by suspect, means or
artefact: a pause of weeks is one campaign, another year's trouble is not.  More findings may merge campaigns, and fewer may split them.
"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from pipeline.incidents.families import family_of
from pipeline.model.finding import SEVERAL, Finding
from pipeline.model.incident import incident_id
from pipeline.model.instants import DAY_MS

GAP_MS = 45 * DAY_MS  # the campaign of the patterns paused for weeks and lasted two months
NEAR_MS = 7 * DAY_MS  # means and victim alone are worth little, and nothing after a week
CAUSING = frozenset({"cause", "written", "removed", "act", "hook", "unpickled"})  # roles of the records that did it
Keys = tuple[tuple[str, int], ...]  # (what ties, within which time)

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


def linked(finding: Finding) -> Linked:
    """With all that is worked out of it once."""
    name = finding.id
    founds, order = incident_id(finding.subject.cluster, name), (finding.effect_time, name)
    shared = tuple(_shared(finding))
    strong = (*((_key(key, finding.suspect), within) for key, within in shared), *_strong(finding))
    return Linked(finding, name, founds, shared, strong, tuple(_weak(finding)), order)


def of_several(finding: Finding) -> bool:
    """Does it cite acts of several people, and suspect none of them?"""
    return finding.actor_withheld.startswith(SEVERAL) and not finding.suspect


def artefacts_of(finding: Finding) -> frozenset[str]:
    """Paths that the finding is about."""
    found = {finding.anchor} if "/" in finding.anchor else set()
    if finding.subject.kind == "artefact":
        found.add(finding.subject.name)
    return frozenset(found)


def window_of(campaign: Sequence[Linked]) -> tuple[int, int]:
    """From the first act, or effect without one, to the last effect."""
    return min(min(each.finding.cause_time, each.finding.effect_time) for each in campaign), campaign[-1].finding.effect_time


def links_of(campaign: Sequence[Linked]) -> dict[str, tuple[str, ...]]:
    """Finding id -> what ties it to others of the campaign, by name of the link."""
    found: dict[str, set[str]] = {each.id: set() for each in campaign}
    for key, *pair in neighbours([each.shared + each.strong + each.weak for each in campaign], campaign):
        for place in pair:
            found[campaign[place].id].add(link_of(key))
    return {name: tuple(link for link in LINKS if link in links) for name, links in found.items()}


def link_of(key: str) -> str:
    """The name of its link."""
    return key.partition("\x1f")[0]


def neighbours(keys: Iterable[Keys], ordered: Sequence[Linked]) -> Iterator[tuple[str, int, int]]:
    """(key, places) of neighbours in time that share a key, near enough; ties between all follow from those between neighbours."""
    last: dict[str, tuple[int, int]] = {}
    for place, mine in enumerate(keys):
        time = ordered[place].order[0]
        for key, within in mine:
            before = last.get(key)
            if before is not None and before[1] != place and time - before[0] <= within:
                yield key, before[1], place
            last[key] = time, place


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
