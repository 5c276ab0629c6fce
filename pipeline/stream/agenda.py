"""Times at which a case wants to be looked at again in; the cases whose time has come out.

By the joint watermark of each case's cluster.  Nothing in here must survive: what is open is looked at once after a restart, and asks
again.
"""

import heapq
from collections.abc import Iterator

from pipeline.model.facts import case_name
from pipeline.stream.watermark import Watermarks


class Agenda:
    """Of one partition."""

    def __init__(self) -> None:
        self._due: dict[str, list[tuple[int, bytes]]] = {}  # cluster -> heap of (event time, case)
        self._planned: set[tuple[int, bytes]] = set()

    def plan(self, case: bytes, time: int) -> None:
        """Look at the case again once the joint watermark has passed `time`."""
        if (time, case) not in self._planned:
            self._planned.add((time, case))
            heapq.heappush(self._due.setdefault(case_name(case)[0], []), (time, case))

    def take_due(self, now: Watermarks) -> Iterator[bytes]:
        """Cases whose time has come; one that asked for several times comes as often."""
        for cluster in sorted(self._due):
            heap, joint = self._due[cluster], now.joint(cluster)
            while heap and heap[0][0] <= joint:
                entry = heapq.heappop(heap)
                self._planned.discard(entry)
                yield entry[1]
