"""What was asked of the attempts while an answer was worked out in; which answers a change may alter, out.

An incident that was built once is right until something that it had asked for changes.  So each answer remembers by what it had looked
attempts up, and between which times these could have begun:

    answer A   work u012/llm   began within [day 3, day 10]        a run of u012/llm that began on day 8 changes:    A no longer holds
    answer B   loads /env/a.py whenever it began                   one of u013/llm, or of day 30:                    A holds

What an answer asks within another counts for that one, too.  Spans are hulls: an answer may be worked out again in vain, and never stays
when it must not.  A change costs as much as it concerns answers, and not as there ever were.
"""

from bisect import bisect_left, insort
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

EVER = 2**62


class Key(NamedTuple):
    """What attempts are looked up by."""

    what: str  # name | ends | began | owner | work | task | job | paced | writer | load | from | untold
    of: tuple[Hashable, ...] = ()


class Asked:
    """What one answer rests on."""

    def __init__(self, number: int) -> None:
        self.number = number  # tells answers apart
        self.spans: dict[Key, tuple[int, int]] = {}
        self.holds = True

    def add(self, key: Key, since: int, until: int) -> None:
        """And on this."""
        first, last = self.spans.get(key, (since, until))
        self.spans[key] = min(first, since), max(last, until)


class Questions:
    """All answers that hold, by what they rest on."""

    def __init__(self) -> None:
        self._open: list[Asked] = []  # that are being worked out, the innermost last
        self._by_key: dict[Key, list[tuple[int, int, Asked]]] = {}  # by (until, number): what is long over is not looked at
        self._count = 0

    @contextmanager
    def working(self) -> Iterator[Asked]:
        """An answer is worked out inside; afterwards it holds until a change."""
        self._count += 1
        asked = Asked(self._count)
        self._open.append(asked)
        try:
            yield asked
        finally:
            self._open.pop()
        for key, (_, until) in asked.spans.items():
            insort(self._by_key.setdefault(key, []), (until, asked.number, asked))
        self.rests_on(asked)

    def ask(self, key: Key, since: int = -EVER, until: int = EVER) -> None:
        """What is worked out now looks up who began within this span."""
        if self._open:
            self._open[-1].add(key, since, until)

    def rests_on(self, asked: Asked) -> None:
        """What is worked out now takes over an answer that holds."""
        if self._open:
            for key, span in asked.spans.items():
                self._open[-1].add(key, *span)

    def changed(self, key: Key, at: int) -> None:
        """An attempt with this key, that began then, is another than it was."""
        known = self._by_key.get(key, ())
        for _, _, asked in known[bisect_left(known, (at,)) :]:
            if asked.spans[key][0] <= at:
                self.forget(asked)

    def forget(self, asked: Asked) -> None:
        """The answer no longer holds, or nobody needs it."""
        if asked.holds:
            asked.holds = False
            for key, (_, until) in asked.spans.items():
                known = self._by_key[key]
                del known[bisect_left(known, (until, asked.number))]
                if not known:
                    del self._by_key[key]
