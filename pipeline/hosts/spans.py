"""What a host's join asks by time: events between two instants, and allocations that overlap a span.

In: events and allocations in any order, mostly the newest last.  Out: those that a question concerns, found by bisection: a host has
thousands of signals and hundreds of jobs in a retention, and each fact asks about a few of them.

    allocations by start    [8 -- 33]   [20 ------------- 90]   [51 -- 70]   [95 --
    greatest end so far           33                      90           90       inf       who held 80?  from [51 back to [20, not to [8

Holds: answers do not depend on the order of arrival.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator

import msgspec

from pipeline.model.events import Event
from pipeline.model.told import Attempt

UNKNOWN = -1


class Allocation(msgspec.Struct, frozen=True, gc=False):
    """That an attempt held this host, as far as the scheduler has said; `weight` grows with what it has said."""

    attempt: Attempt
    end: int
    owner_uid: int | None
    weight: int
    unproven: bool = False  # only senders that nobody authenticated say that it did

    @property
    def start(self) -> int:
        return self.attempt.start


class Timed(msgspec.Struct, frozen=True, gc=False):
    """An event under its time, with the weight of what it was assembled from."""

    time: int
    id: str
    event: Event
    weight: int


class Timeline:
    """Events by time and id."""

    def __init__(self) -> None:
        self._keys: list[tuple[int, str]] = []  # tuples are compared in C, events are not
        self._events: dict[str, Timed] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def put(self, timed: Timed) -> None:
        """Take an event in, or what is known of it by now."""
        if timed.id not in self._events:
            insort(self._keys, (timed.time, timed.id))
        self._events[timed.id] = timed

    def get(self, name: str) -> Timed | None:
        """The event with this id."""
        return self._events.get(name)

    def remove(self, timed: Timed) -> None:
        """Forget an event; nothing happens when it is not in here."""
        if self._events.pop(timed.id, None) is not None:
            del self._keys[bisect_left(self._keys, (timed.time, timed.id))]

    def between(self, start: int, end: int) -> Iterator[Timed]:
        """Events with start <= time <= end, by time."""
        keys = self._keys
        if keys and keys[-1][0] >= start:
            for _, name in keys[bisect_left(keys, (start,)) : bisect_left(keys, (end + 1,))]:
                yield self._events[name]

    def forget(self, before: int) -> list[Timed]:
        """Forget what happened before a time; answers with it."""
        kept = bisect_left(self._keys, (before,))
        gone = [self._events.pop(name) for _, name in self._keys[:kept]]
        del self._keys[:kept]
        return gone


class Allocations:
    """Allocations by start; the greatest end up to each says where the search for those that reach so far may stop."""

    def __init__(self) -> None:
        self._keys: list[tuple[int, Attempt]] = []
        self._held: list[Allocation] = []
        self._reach: list[int] = []

    def put(self, held: Allocation) -> None:
        """Take an allocation in, or what is known of it by now."""
        key = (held.start, held.attempt)
        at = bisect_left(self._keys, key)
        if at < len(self._keys) and self._keys[at] == key:
            self._held[at] = held
        else:
            self._keys.insert(at, key)
            self._held.insert(at, held)
            self._reach.insert(at, UNKNOWN)
        self._renew(at)

    def remove(self, held: Allocation) -> None:
        """Forget an allocation that is in here."""
        at = bisect_left(self._keys, (held.start, held.attempt))
        del self._keys[at], self._held[at], self._reach[at]
        self._renew(at)

    def overlapping(self, start: int, end: int) -> list[Allocation]:
        """Those that hold any instant in [start, end], the last to begin first."""
        found = []
        at = bisect_left(self._keys, (end + 1,))
        while at and self._reach[at - 1] >= start:
            at -= 1
            if self._held[at].end >= start:
                found.append(self._held[at])
        return found

    def _renew(self, at: int) -> None:
        reach = self._reach[at - 1] if at else 0
        for number in range(at, len(self._held)):
            reach = max(reach, self._held[number].end)
            if self._reach[number] == reach:
                return  # and so for all after it: no host must cost the square of what is told of it
            self._reach[number] = reach
