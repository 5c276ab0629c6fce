"""How an account was entered, day by day, in; on which days its owner may have, and the logins that are unlike his, out.

    day        1  2  3  4  5  6  7      8                9
    how        k  k  k  k  k  k  k      k                password
    from       a  a  a  a  a  a  a      b                a
                                        new address      no key of his

Where the owner's keys are known, another key is unlike him, and so is a login without any, but where every other day has one; and so is
whoever became the account's user and hardly had before.  Another way is new when the account was entered in the four weeks before, and not
so on two days (on its only day, if there was but one); an address when it was not seen on any of five days or more, of an account whose
addresses hardly change: those of a site that hands them out anew each day do, and of such nothing follows.

An address is a colleague's when in these weeks another member's account was mostly entered from it, on two days or just now, hardly any
third one was, and this one on fewer than five days, and on no more than that one: whoever copies a key uses it from where he works himself.
So is a key, where the map knows none of the owner's.

A day on which it was entered in more ways than a fact holds (`MANY`) tells of no address, and is new to an account that has none.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from pipeline.incidents.places import Beside
from pipeline.model.incident import BY_OTHER, LoggedIn, Way, short
from pipeline.model.instants import DAY_MS

HABIT_DAYS = 28
KNOWN_DAYS = 2  # on so many of these a way is no longer new; an assumption, as the next two
PLACES_DAYS_MIN = 5  # with an address, before one can be new: people come by several, their own hosts among them
NEW_PLACES_IN = 10  # one day of so many may have brought a new one
THIRD_IN = 5  # one day of so many on which others came from a colleague's address may be a third account's
FOREIGN = "by a key that is none of its owner's"
KEYLESS = "without a key, though its owner has one"
OTHER = "by somebody who became its user, and hardly had in four weeks"
NEW_WAY = "in a way in which it had not been entered before"
NEW_PLACE = "from an address from which it had not been entered before"
COLLEAGUES = "from an address from which another account is entered, and this one hardly"
COLLEAGUES_KEY = "by a key by which another account is entered, and this one hardly"
Key = tuple[str, int, int]  # name, and from when until when it is its owner's, UTC ms
Others = Callable[[str, range], Iterable[Beside]]  # of an address or a key, and days


class Logins:
    """To one account.  `keys`: its owner's, as far as the map knows them; `others`: who else comes from where, and by which key."""

    def __init__(self, told: Iterable[LoggedIn], keys: Iterable[Key] = (), others: Others = lambda *_: ()) -> None:
        self._others_from = others
        self._keys = [(short(name), since // DAY_MS, -(-until // DAY_MS)) for name, since, until in keys]
        self._days: set[int] = set()  # told by a release that did not say how
        self._ways: dict[int, list[Way]] = {}
        for block in told:
            if not block.ways:
                self._days.update(block.days)
            for way in block.ways:
                self._ways.setdefault(way.day, []).append(way)

    def entered(self, first: int, until: int) -> bool:
        """May the owner have entered the account between the beginning of this day and this instant, UTC ms?"""
        last, time = divmod(until, DAY_MS)
        if any(day in self._days or self._own(day) for day in range(first, last)):
            return True
        return last in self._days or any(way.first <= time for way in self._own(last))

    def unlike(self, first: int, last: int) -> tuple[tuple[int, str], ...]:
        """(day, what is unlike the owner) of these days, in order."""
        return tuple((day, what) for day in range(first, last + 1) for what in sorted({*self._others(day), *self._new(day)}))

    def _is_foreign(self, way: Way) -> bool:
        """By a key, and none that was its owner's on this day, where any of his is known?"""
        return bool(self._keys and way.key) and (way.key not in {key for key, since, until in self._keys if since <= way.day < until})

    def _own(self, day: int) -> Sequence[Way]:
        return [way for way in self._ways.get(day, ()) if not self._is_foreign(way) and not _is_other(way)]

    def _others(self, day: int) -> Iterator[str]:
        """What the owner himself would not have done."""
        today = self._ways.get(day, ())
        if any(self._is_foreign(way) for way in today):
            yield FOREIGN
        before = [ways for past in range(day - HABIT_DAYS, day) if (ways := self._own(past))]
        if self._keys and _keyless(today) and 2 * sum(map(_keyless, before)) <= len(before):
            yield KEYLESS
        past = Counter(way.method for each in range(day - HABIT_DAYS, day) for way in self._ways.get(each, ()) if _is_other(way))
        if any(_is_other(way) and past[way.method] < KNOWN_DAYS for way in today):
            yield OTHER
        if any(self._is_colleagues(place, day, _places) for place in sorted(_places(self._own(day)))):
            yield COLLEAGUES
        if not self._keys and any(self._is_colleagues(key, day, _by_keys) for key in sorted(_by_keys(self._own(day)))):
            yield COLLEAGUES_KEY

    def _is_colleagues(self, name: str, day: int, of: Callable[[Iterable[Way]], set[str]]) -> bool:
        days = range(day - HABIT_DAYS, day + 1)
        own = sum(name in of(self._own(each)) for each in days)
        if own >= PLACES_DAYS_MIN:
            return False
        others = [*self._others_from(name, days)]
        if not others:
            return False
        most = max(others)
        third = sum(each.here for each in others) - most.here
        works_there = most.member and most.here >= own and 2 * most.here >= most.anywhere
        return works_there and third * THIRD_IN <= most.here + third and (most.here >= KNOWN_DAYS or most.last >= day - 1)

    def _new(self, day: int) -> Iterator[str]:
        """What the four weeks before hardly knew."""
        today = self._own(day)
        before = [ways for past in range(day - HABIT_DAYS, day) if (ways := self._own(past))]
        if not today or not before:
            return
        if {_how(way) for way in today} - _habits({_how(way) for way in ways} for ways in before):
            yield NEW_WAY
        told = [places for ways in before if (places := _places(ways))]
        if len(told) >= PLACES_DAYS_MIN and _moves(told) * NEW_PLACES_IN <= len(told) and _places(today) - set().union(*told):
            yield NEW_PLACE


def _habits(days: Iterable[set[str]]) -> set[str]:
    """What stands in enough of them; whatever there is, where there is but one."""
    counted = [*days]
    seen = Counter(each for of_day in counted for each in of_day)
    return {each for each, times in seen.items() if times >= min(KNOWN_DAYS, len(counted))}


def _moves(days: Sequence[set[str]]) -> int:
    """On how many of them an address came that had not come on those before; the first is no change."""
    known, moves = set(days[0]), 0
    for places in days[1:]:
        moves += not places <= known
        known |= places
    return moves


def _places(ways: Iterable[Way]) -> set[str]:
    return {way.place for way in ways if way.place}


def _by_keys(ways: Iterable[Way]) -> set[str]:
    return {way.key for way in ways if way.key}


def _keyless(ways: Iterable[Way]) -> bool:
    return any(not way.key and not _is_other(way) for way in ways)


def _how(way: Way) -> str:
    return f"{way.method} {way.key}"


def _is_other(way: Way) -> bool:
    return way.method.startswith(BY_OTHER)
