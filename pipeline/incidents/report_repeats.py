"""Findings of an incident in; the same with what repeats put together, so that the rest is not drowned, out.

One write that a hundred jobs load is a hundred findings below their gate, for one reason.  The first stands in full, and one row tells of
the others by their jobs.  Nothing is left out of what is weighed, counted, or said to machines.

    p06  job 101  loaded /ckpt/a.pt ...            p06  job 101  loaded /ckpt/a.pt ...
    p06  job 102  loaded /ckpt/a.pt ...      ->    p06  jobs 102, 103   2 more of the same write
    p06  job 103  loaded /ckpt/a.pt ...
"""

from collections.abc import Iterable, Mapping, Sequence

from pipeline.incidents.campaigns import CAUSING
from pipeline.incidents.families import family_of
from pipeline.model.finding import Finding
from pipeline.model.incident import Member

REPEATS_MIN = 2  # behind the first
_ACT = {"bytes": "write"}  # by means; others: act


def repeats_of(members: Sequence[Member], findings: Iterable[Finding]) -> list[tuple[Member, Sequence[Member]]]:
    """Each with those that only repeat it: below the gate as it is, of one detector, for one reason, by the same causing records."""
    caused = {each.id: _causes(each) for each in findings}
    groups: dict[object, list[Member]] = {}
    for member in members:
        causes = frozenset[str]() if member.alert else caused.get(member.finding, frozenset())
        groups.setdefault((member.detector, member.gate, causes) if causes else member.finding, []).append(member)
    found: list[tuple[Member, Sequence[Member]]] = []
    for group in groups.values():
        first, *others = group
        found += [(first, others)] if len(others) >= REPEATS_MIN else [(each, ()) for each in group]
    order = {member.finding: place for place, member in enumerate(members)}
    return sorted(found, key=lambda each: order[each[0].finding])


def act_of(first: Member, findings: Mapping[str, Finding]) -> str:
    """What the records are of that all of them cite."""
    return _ACT.get(family_of(findings[first.finding]).means, "act")


def _causes(finding: Finding) -> frozenset[str]:
    return frozenset(each.event_id for each in finding.evidence if each.role in CAUSING)
