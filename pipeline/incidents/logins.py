"""How an account was entered, day by day, in; on which days its owner may have, and the logins that are unlike his, out.

    day        1  2  3  4  5  6  7      8                9
    how        k  k  k  k  k  k  k      k                password
    from       a  a  a  a  a  a  a      b                a
                                        new address      new way

A key that is none of the owner's, where his are known, is always unlike him, and so is somebody else who became the account's user, unless
he does that every few weeks: a script of root's.  A way or an address is new when the account was not entered
so in the four weeks before, though on five days or more; addresses count only where they hardly ever change, which those of a site that
hands them out anew each day do.  Whoever uses a copied key from where its owner works is not to be told from him.

Days of which more is known than a fact holds (`MANY`) are no habit, and nothing is new on them but a foreign key.
"""

from collections.abc import Iterable, Iterator, Sequence

from pipeline.model.incident import BY_OTHER, MANY, LoggedIn, Way, short

HABIT_DAYS = 28
HABIT_DAYS_MIN = 5  # with a login; an assumption, as the next
NEW_PLACES_IN = 10  # one day of so many may have brought a new address
FOREIGN = "by a key that is none of its owner's"
OTHER = "by somebody who became its user, as he had not in four weeks"
NEW_WAY = "in a way in which nobody had entered it before"
NEW_PLACE = "from an address from which nobody had entered it before"


class Logins:
    """To one account.  `keys`: its owner's, as far as the map knows them."""

    def __init__(self, told: Iterable[LoggedIn], keys: Iterable[str] = ()) -> None:
        self._keys = {short(key) for key in keys}
        self._days: set[int] = set()  # told by a release that did not say how
        self._ways: dict[int, list[Way]] = {}
        for block in told:
            if not block.ways:
                self._days.update(block.days)
            for way in block.ways:
                self._ways.setdefault(way.day, []).append(way)

    def entered(self, first: int, last: int) -> bool:
        """May the owner have entered the account on one of these days?"""
        return any(day in self._days or self._own(day) for day in range(first, last + 1))

    def unlike(self, first: int, last: int) -> tuple[tuple[int, str], ...]:
        """(day, what is unlike the owner) of these days, in order."""
        found = set()
        for day in range(first, last + 1):
            if any(self._is_foreign(way) for way in self._ways.get(day, ())):
                found.add((day, FOREIGN))
            others = {way.method for way in self._ways.get(day, ()) if _is_other(way)}
            if others - {way.method for past in range(day - HABIT_DAYS, day) for way in self._ways.get(past, ())}:
                found.add((day, OTHER))
            found |= {(day, what) for what in self._new(day)}
        return tuple(sorted(found))

    def _is_foreign(self, way: Way) -> bool:
        return bool(self._keys and way.key) and way.key not in self._keys

    def _own(self, day: int) -> Sequence[Way]:
        return [way for way in self._ways.get(day, ()) if not self._is_foreign(way) and not _is_other(way)]

    def _new(self, day: int) -> Iterator[str]:
        """What none of the four weeks before knew."""
        today = self._own(day)
        before = [ways for past in range(day - HABIT_DAYS, day) if (ways := self._own(past))]
        many = any(way.method == MANY for ways in (today, *before) for way in ways)
        if not today or len(before) < HABIT_DAYS_MIN or many:
            return
        if {_how(way) for way in today} - {_how(way) for ways in before for way in ways}:
            yield NEW_WAY
        known = {way.place for way in before[0]}
        moves = 0
        for ways in before[1:]:
            places = {way.place for way in ways}
            moves += not places <= known
            known |= places
        if moves * NEW_PLACES_IN <= len(before) and {way.place for way in today if way.place} - known:
            yield NEW_PLACE


def _is_other(way: Way) -> bool:
    return way.method.startswith(BY_OTHER)


def _how(way: Way) -> tuple[str, str]:
    return way.method, way.key
