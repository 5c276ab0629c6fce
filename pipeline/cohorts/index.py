"""Facts of one cohort in; its members, in short or whole, and what was said of it out.

Nearly all members are never compared with anybody, since nobody in their cohort loaded what a foreign hand had written.  So an index holds
them in short; whole ones are read out of the cases when a cohort is judged, and the `Whole` of a partition keeps those of the cohorts that
were judged last.  Derived from the cases and built again after a restart.

Of too many members the bound takes the oldest of whoever has the most, exposed and others apart: who runs thousands of jobs in a cohort
pushes out his own.  Which members stay depends on what they are, never on the order in which they came.

    at most 6      u012   a b c d e f    exposed: g h          g stays, though it is older than f: 6 of 8 are u012's other ones
"""

from collections.abc import Sequence

import msgspec

from pipeline.detect.cohort import known_part
from pipeline.model.summary import Brief, JobSummary, brief_of, decode_in_cohort, encode_summary
from pipeline.model.told import Emitted, Tombstone
from pipeline.stream.cases import Cases

VOLUME = "volume"  # the fact that names the findings of which the bound has taken members away
SIZE = "size/"  # begins the names of cohorts of which only the ends are compared


class CohortIndex:
    """Everything told of one cohort."""

    def __init__(self, members_max: int) -> None:
        self._members_max = members_max
        self.members: dict[str, Brief] = {}  # by fact id
        self._alike: dict[tuple[str, bool], set[str]] = {}  # (owner, exposed) -> fact ids
        self.emitted: dict[str, Emitted] = {}
        self.shortened: set[str] = set()  # findings of which the bound has taken members away

    def add(self, fact_id: str, body: bytes) -> tuple[str, Brief] | None:
        """Take one fact in.  Answers with the member that the bound pushes out."""
        if fact_id == VOLUME:
            told = decode_in_cohort(body)
            self.shortened |= {finding for finding, _ in told.findings} if isinstance(told, Tombstone) else set()
            return None
        brief = brief_of(body)
        if isinstance(brief, Emitted):
            self.emitted[brief.subject] = brief
        elif brief is not None:
            self.drop(fact_id)
            self.members[fact_id] = brief
            self._alike.setdefault((brief.owner, brief.exposed), set()).add(fact_id)
            if len(self.members) > self._members_max:
                most = max(self._alike, key=lambda each: (len(self._alike[each]), each))
                oldest = min(self._alike[most], key=lambda each: (_age(self.members[each]), each))
                pushed_out = self.drop(oldest)
                return (oldest, pushed_out) if pushed_out is not None else None
        return None

    def drop(self, fact_id: str) -> Brief | None:
        """Nothing is known of it any more."""
        brief = self.members.pop(fact_id, None)
        if brief is not None:
            alike = self._alike[brief.owner, brief.exposed]
            alike.discard(fact_id)
            if not alike:
                del self._alike[brief.owner, brief.exposed]
        return brief

    @property
    def exposed(self) -> bool:
        """Is there anybody to compare the others with?"""
        return any(each.exposed for each in self.members.values())


class Whole:
    """Members as they were told, of the cohorts that were judged last."""

    def __init__(self, members_max: int) -> None:
        self._members_max = members_max
        self._cohorts: dict[bytes, dict[str, tuple[JobSummary, bool]]] = {}  # the one judged last is the last; is some of it unproven?

    def __contains__(self, case: bytes) -> bool:
        return case in self._cohorts

    def forget(self, case: bytes, fact_id: str) -> None:
        """There is another word on it."""
        if case in self._cohorts:
            self._cohorts[case].pop(fact_id, None)

    def of(self, case: bytes, index: CohortIndex, cases: Cases) -> tuple[Sequence[JobSummary], bool]:
        """All members of a cohort, and whether any tells what anybody may have sent."""
        known, facts = self._cohorts.pop(case, {}), cases.of(case)
        members = self._cohorts[case] = {}
        for fact_id in index.members:
            if fact_id in known:
                members[fact_id] = known[fact_id]
            elif isinstance(member := decode_in_cohort(facts[fact_id][1]), JobSummary):
                members[fact_id] = member, known_part(member) is not member
        held = sum(map(len, self._cohorts.values()))
        for other in list(self._cohorts)[:-1]:
            if held > self._members_max:
                held -= len(self._cohorts.pop(other))
        return [member for member, _ in members.values()], any(unproven for _, unproven in members.values())


def kept(name: str, body: bytes) -> bytes:
    """What a cohort keeps of what it was told: of large attempts how they ended and what they loaded, which is all that is compared."""
    told = decode_in_cohort(body) if name.startswith(SIZE) else None
    if isinstance(told, JobSummary) and (told.pace or told.steps or told.arguments):
        return encode_summary(msgspec.structs.replace(told, pace=None, steps=(), arguments=()))
    return body


def _age(member: Brief) -> tuple[int, int]:
    return member.attempt.submit, member.attempt.start
