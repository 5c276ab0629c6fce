"""How all accounts of a cluster were entered in; on how many days each was entered from an address, and from any, out."""

from collections.abc import Collection, Iterator
from typing import NamedTuple

from pipeline.model.incident import LoggedIn

ANY = ""


class Beside(NamedTuple):
    """Another account that was entered from an address."""

    here: int  # on how many days from there
    anywhere: int  # on how many from any
    last: int  # the last of these days, since 1970
    account: str
    member: bool = True  # administrators and services come by login hosts, which are nobody's place


class Places:
    """Addresses, by their digests."""

    def __init__(self) -> None:
        self._days: dict[str, dict[str, set[int]]] = {}  # address -> account -> days, since 1970

    def replace(self, account: str, old: LoggedIn | None, new: LoggedIn | None) -> set[str]:
        """One block of an account's days is told anew, or forgotten.  Answers with the addresses in either."""
        before, after = _pairs(old), _pairs(new)
        for place, day in before - after:
            self._drop(place, account, day)
        for place, day in after - before:
            self._days.setdefault(place, {}).setdefault(account, set()).add(day)
        return {place for place, _ in before | after} - {ANY}

    def others(self, place: str, accounts: Collection[str], days: range) -> Iterator[Beside]:
        """All accounts but these that were entered from there on one of the days."""
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
    ways = [way for way in told.ways if way.place] if told is not None else []
    return {(place, way.day) for way in ways for place in (way.place, ANY)}
