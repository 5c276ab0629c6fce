"""When each family was last read from each partition in; for how long it has been silent out.

The one place where the wall clock (monotonic) meets event time: what it says becomes `advanced` marks, which may close windows but prove
nothing.  A take-over starts every silence anew, because what the partition did before is not known.

    moved auditd@t=0     moved sshd@t=15     asked@t=21, patience 20:  auditd 21 s     (sshd: 6 s, too short)
"""

import time
from collections.abc import Callable, Iterable

from pipeline.runtime.channel import PROGRESS
from pipeline.runtime.partition import Source


class Silence:
    """Of all partitions of this worker."""

    def __init__(self, patience_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience, self._clock = patience_seconds, clock
        self._began = clock()
        self._last: dict[Source, dict[str, float]] = {}

    def begin(self) -> None:
        """Partitions were taken over."""
        self._began = self._clock()
        self._last = {}

    def moved(self, source: Source, families: Iterable[str]) -> None:
        """Records were read, among them of these families."""
        now = self._clock()
        last = self._last.setdefault(source, {})
        last[PROGRESS] = now
        for family in families:
            last[family] = now

    def since(self, source: Source, families: Iterable[str], at: float) -> dict[str, int]:
        """Family (and PROGRESS) -> milliseconds of silence up to `at`; only those that lasted long enough."""
        last = self._last.get(source, {})
        silent = {name: at - last.get(name, self._began) for name in (PROGRESS, *families)}
        return {name: int(1000 * seconds) for name, seconds in silent.items() if seconds >= self._patience}

    def now(self) -> float:
        """The clock that `since` is asked with."""
        return self._clock()
