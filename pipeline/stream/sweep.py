"""Marks in; cases whose past is due for a look, a few a step, out: what retention forgets and what is packed.

Once in a span of event time every case of a cluster gets its turn.  Only observed marks count, since what silence adds must forget
nothing; and never all at once, because a site has thousands of cases and a step holds up everything else.

Turns come at round times, and what is old is so by then: a worker that was started in between looks no further than the one before it did,
which has told what it did not live to save.
"""

from collections import deque
from collections.abc import Iterator

from pipeline.model.facts import case_name
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import COVERAGE, MARKS, Watermarks


class Sweep:
    """When each cluster was swept, and who waits for his turn; nothing that must survive, since a sweep may be repeated."""

    def __init__(self, every_ms: int, cases_max: int) -> None:
        self._every_ms, self._cases_max = every_ms, cases_max
        self._swept: dict[str, int] = {}
        self.waiting: deque[tuple[bytes, int]] = deque()  # (case, floor of its cluster when its turn was due)

    def due(self, cases: Cases, now: Watermarks) -> Iterator[tuple[bytes, int]]:
        """(case, the last round time that all families have passed) of at most `cases_max` cases."""
        for cluster in now.clusters():
            floor = now.floor(cluster)
            floor -= floor % self._every_ms
            if floor > self._swept.get(cluster, 0) and not self.waiting:
                self._swept[cluster] = floor
                self.waiting += ((case, floor) for case in cases if case not in (MARKS, COVERAGE) and case_name(case)[0] == cluster)
        for _ in range(min(self._cases_max, len(self.waiting))):
            yield self.waiting.popleft()
