"""Facts of one account, or of one team, in; the case that detectors see out.

Derived from the stage's cases and built again after a restart.  Each kind of fact has a bound for each day, so that neither a flood of one
kind nor one bad day pushes out what was before or comes behind:

    Login      Mon 12   Tue 2,000 (bound)   Wed 9          JobRecord   Mon 40 ...

Which facts a full day keeps is decided by time and id, never by arrival: the earliest stay.
"""

from collections.abc import Iterator

from sortedcontainers import SortedSet

from pipeline.detect.case import Site
from pipeline.detect.subjects import IdentityCase
from pipeline.model.events import Event, JobRecord
from pipeline.model.incident import LoggedIn
from pipeline.model.instants import DAY_MS
from pipeline.model.told import Displaced, Emitted, Told, Tombstone, Worked

DAY_FACTS_MAX = 2_000  # of one kind on one day


class IdentityIndex:
    """Everything told of one account or team."""

    def __init__(self, cluster: str, name: str, day_facts_max: int = DAY_FACTS_MAX) -> None:
        self.cluster, self.name = cluster, name
        self.told: dict[str, Event | Displaced | Worked] = {}
        self.emitted: dict[str, Emitted] = {}
        self.horizon = 0  # what was before is forgotten
        self.entered: dict[int, LoggedIn] = {}  # block -> what incidents were told of its logins since the start
        self._day_facts_max = day_facts_max
        self._days: dict[tuple[str, int], SortedSet] = {}  # (kind, day) -> (time, fact id)

    def add(self, fact_id: str, told: Told) -> str:
        """Take one fact in.  Answers with the id of a fact that the bound of its day pushes out, or ""."""
        if isinstance(told, Emitted):
            self.emitted[told.subject] = told
        elif isinstance(told, Tombstone):
            self.horizon = max(self.horizon, told.end)
        elif isinstance(told, (Event, Displaced, Worked)):
            self.void(fact_id)
            self.told[fact_id] = told
            kind, time = _kind_and_time(told)
            day = self._days.setdefault((kind, time // DAY_MS), SortedSet())
            day.add((time, fact_id))
            if len(day) > self._day_facts_max:
                _, out = day.pop()
                del self.told[out]
                return str(out)
        return ""

    def void(self, fact_id: str) -> None:
        """A fact that no longer holds, or says more by now: as if it had never been told."""
        told = self.told.pop(fact_id, None)
        if told is not None:
            kind, time = _kind_and_time(told)
            self._days[kind, time // DAY_MS].discard((time, fact_id))

    def case(self, site: Site) -> IdentityCase:
        """What detectors see."""
        events = (told for told in self.told.values() if isinstance(told, Event))
        others = (told for told in self.told.values() if not isinstance(told, Event))
        return IdentityCase(site, self.cluster, self.name, events, others)

    def newest(self) -> int:
        """Event time of the newest fact; 0: there is none."""
        return max((_kind_and_time(told)[1] for told in self.told.values()), default=0)

    def before(self, horizon: int) -> Iterator[str]:
        """Forget what happened before; yields the fact ids to drop."""
        for fact_id, told in list(self.told.items()):
            if _kind_and_time(told)[1] < horizon:
                self.void(fact_id)
                yield fact_id
        self._days = {key: day for key, day in self._days.items() if day}


def _kind_and_time(told: Event | Displaced | Worked) -> tuple[str, int]:
    """A job is placed by its submission, which does not change when it ends."""
    event = told if isinstance(told, Event) else told.event
    if isinstance(told, Displaced):
        return f"{'Waited' if told.waited else 'Displaced'}{event.mark}", told.event.event_time
    if isinstance(told, Worked):
        return f"Worked{event.mark}", told.attempt.submit
    body = told.body
    if isinstance(body, JobRecord) and body.submit is not None:
        return f"JobRecord{event.mark}", body.submit
    return f"{type(body).__name__}{event.mark}", told.event_time
