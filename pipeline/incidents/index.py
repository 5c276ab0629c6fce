"""Facts of one cluster's incidents in; findings, ended attempts, and what was said out.

Derived from the stage's cases and built again after a restart.  Which attempts a full case keeps is decided by their ends, never by
arrival: the newest stay.
"""

from sortedcontainers import SortedSet

from pipeline.model.finding import Finding
from pipeline.model.incident import Examined, Found, decode_in_case
from pipeline.model.told import Emitted

HEARD = "heard/"  # begins the ids of facts about days on which a source was heard
EMITTED = "emitted/"


class IncidentsIndex:
    """Everything told of one cluster."""

    def __init__(self, facts_max: int) -> None:
        self.facts_max = facts_max
        self.findings: dict[str, Finding] = {}  # by fact id
        self.examined: dict[str, Examined] = {}
        self.emitted: dict[str, Emitted] = {}
        self.heard: set[str] = set()
        self._order = SortedSet()  # (time, fact id) of attempts

    def add(self, fact_id: str, body: bytes) -> str:
        """Take one fact in.  Answers with the id of the attempt that the bound pushes out, or ""."""
        if fact_id.startswith(HEARD):
            self.heard.add(fact_id)
            return ""
        told = decode_in_case(body)
        if isinstance(told, Emitted):
            self.emitted[told.subject] = told
            return ""
        self.void(fact_id)
        if isinstance(told, Found):
            self.findings[fact_id] = told.finding
            return ""
        self.examined[fact_id] = told
        self._order.add((time_of(told), fact_id))
        if len(self.examined) <= self.facts_max:
            return ""
        _, out = self._order.pop(0)
        del self.examined[out]
        return str(out)

    def void(self, fact_id: str) -> None:
        """What no longer holds."""
        self.findings.pop(fact_id, None)
        known = self.examined.pop(fact_id, None)
        if known is not None:
            self._order.discard((time_of(known), fact_id))


def time_of(examined: Examined) -> int:
    """When it ended; of one that runs, when it began."""
    return examined.end if examined.end is not None else max(examined.attempt.submit, examined.attempt.start)
