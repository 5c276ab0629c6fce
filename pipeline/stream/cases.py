"""Facts in, cases out: what one partition of one stage remembers.

A case keeps per fact id the greatest (rank, body), so order and repetition of facts do not matter.  Everything that a stage must
not forget is a fact in here, watermarks included; whatever else it holds is derived and built again after a restart.  `news` collects
what changed since it was last taken: the delta that the checkpoint appends to the state log.

    merge x@1, x@2, x@1        news: x@1, x@2        case: x@2
"""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from pipeline.model.facts import Fact

DROPPED = b"\xff" * 9  # rank of a dropped fact in the log; greater than any rank of a content
EMPTY: Mapping[str, tuple[bytes, bytes]] = MappingProxyType({})


class Cases:
    """All cases of one partition."""

    def __init__(self, facts: Iterable[Fact] = ()) -> None:
        self._cases: dict[bytes, dict[str, tuple[bytes, bytes]]] = {}
        self._news: list[Fact] = []
        for fact in facts:
            self.merge(fact)
        self._news.clear()

    def __len__(self) -> int:
        return len(self._cases)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._cases)

    def __contains__(self, case: bytes) -> bool:
        return case in self._cases

    def of(self, case: bytes) -> Mapping[str, tuple[bytes, bytes]]:
        """Fact id -> (rank, body) of one case; empty when there is none."""
        return self._cases.get(case, EMPTY)

    def merge(self, fact: Fact) -> bool:
        """Take the fact if it says more than what is known; True when the case changed."""
        if fact.rank == DROPPED:
            return self.drop(fact.case, fact.id)
        case = self._cases.get(fact.case)
        if case is None:
            case = self._cases[fact.case] = {}
        new, old = (fact.rank, fact.body), case.get(fact.id)
        if old is not None and old >= new:
            return False
        case[fact.id] = new
        self._news.append(fact)
        return True

    def drop(self, case: bytes, fact_id: str = "") -> bool:
        """Forget one fact, or with an empty id the whole case.

        The caller guarantees that it is not told again: retention refuses what is older than its horizon.
        """
        known = self._cases.get(case)
        if known is None or (fact_id and fact_id not in known):
            return False
        if fact_id:
            del known[fact_id]
        if not fact_id or not known:
            del self._cases[case]
        self._news.append(Fact(case, fact_id, DROPPED, b""))
        return True

    def facts(self) -> Iterator[Fact]:
        """Everything known, case by case: what a base of the state log holds."""
        for case, known in self._cases.items():
            for fact_id, (rank, body) in known.items():
                yield Fact(case, fact_id, rank, body)

    def take_news(self) -> list[Fact]:
        """What changed since the last call, in order."""
        news, self._news = self._news, []
        return news
