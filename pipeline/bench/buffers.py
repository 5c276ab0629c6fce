"""Facts of hosts in, the pairs that they complete out: the interval join of `join.py`, shared by ours and by others that have none.

Both sides are kept by host and forgotten beyond the horizon, so a match is found in whatever order its sides come.
"""

from bisect import bisect_left, insort
from collections.abc import Sequence

import msgspec

from pipeline.bench import join

PRUNE_EVERY = 50_000  # facts
Pair = tuple[int, str]


class Body(msgspec.Struct, frozen=True, gc=False):
    """Of both kinds of events what a join needs."""

    serial: int = 0
    job: str = ""
    start: int = 0
    end: int = 0


class Told(msgspec.Struct, frozen=True, gc=False):
    event_time: int
    body: Body


class Fact(msgspec.Struct, frozen=True, gc=False, array_like=True):
    case: bytes
    id: str
    rank: bytes
    body: bytes


decode_fact = msgspec.msgpack.Decoder(Fact).decode
decode_told = msgspec.msgpack.Decoder(Told).decode
encode_pair = msgspec.json.Encoder().encode


class Buffers:
    """Both sides of all hosts."""

    def __init__(self) -> None:
        self._signals: dict[bytes, list[tuple[int, int]]] = {}
        self._allocations: dict[bytes, list[tuple[int, int, str]]] = {}
        self._latest = self._taken = 0

    def take(self, host: bytes, told: Told) -> Sequence[Pair]:
        """The pairs that a fact completes."""
        body, time = told.body, told.event_time
        pairs: Sequence[Pair] = ()
        if body.serial:
            insort(self._signals.setdefault(host, []), (time, body.serial))
            ended = self._allocations.get(host, ())
            if ended and ended[-1][0] >= time - join.SLACK_MS:  # most are sent before their job ends
                first = bisect_left(ended, (time - join.SLACK_MS, 0, ""))
                pairs = [(body.serial, job) for _, start, job in ended[first:] if start - join.SLACK_MS <= time]
        else:
            insort(self._allocations.setdefault(host, []), (body.end, body.start, body.job))
            signals = self._signals.get(host, [])
            first, last = bisect_left(signals, (body.start - join.SLACK_MS, 0)), bisect_left(signals, (body.end + join.SLACK_MS + 1, 0))
            pairs = [(serial, body.job) for _, serial in signals[first:last]]
        self._latest = max(self._latest, time)
        self._taken += 1
        if self._taken % PRUNE_EVERY == 0:
            self._prune()
        return pairs

    def _prune(self) -> None:
        oldest = self._latest - join.HORIZON_MS
        for signals in self._signals.values():
            del signals[: bisect_left(signals, (oldest, 0))]
        for allocations in self._allocations.values():
            del allocations[: bisect_left(allocations, (oldest, 0, ""))]
