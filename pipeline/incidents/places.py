"""How all accounts of a cluster were entered in; on how many days each was entered from an address or by a key, and by any, out."""

from collections.abc import Collection, Iterator
from typing import NamedTuple

from pipeline.model.incident import LoggedIn

ANY = ""


class Beside(NamedTuple):
    """Another account that was entered from an address, or by a key."""

    here: int  # on how many days so
    anywhere: int  # on how many in any way
    last: int  # the last of these days, since 1970
    account: str
    member: bool = True  # administrators and services come by login hosts, which are nobody's place


class Places:
    """Addresses and keys, by their digests."""

    def __init__(self) -> None:
        self._days: dict[str, dict[str, set[int]]] = {}  # address -> account -> days, since 1970

    def replace(self, account: str, old: LoggedIn | None, new: LoggedIn | None) -> set[str]:
        """One block of an account's days is told anew, or forgotten.  Answers with the addresses and keys in either."""
        before, after = _pairs(old), _pairs(new)
        for place, day in before - after:
            self._drop(place, account, day)
        for place, day in after - before:
            self._days.setdefault(place, {}).setdefault(account, set()).add(day)
        return {place for place, _ in before | after} - {ANY}

    def others(self, place: str, accounts: Collection[str], days: range) -> Iterator[Beside]:
        """All accounts but these that were entered from there, or by that key, on one of the days."""
        for account, known in self._days.get(place, {}).items():
            if account not in accounts and (here := [day for day in known if day in days]):
                yield Beside(len(here), sum(day in days for day in self._days[ANY][account]), max(here), account)

    def _drop(self, place: str, account: str, day: int) -> None:
        by_account = self._days.get(place, {})
        by_account.get(account, set()).discard(day)
        if not by_account.get(account):
            by_account.pop(account, None)
        if not by_account:
            self._days.pop(place, None)


def _pairs(told: LoggedIn | None) -> set[tuple[str, int]]:
    ways = told.ways if told is not None else ()
    return {(name, way.day) for way in ways if way.place or way.key for name in (way.place or ANY, way.key or ANY, ANY)}
