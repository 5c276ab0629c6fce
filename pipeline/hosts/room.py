"""Which signals on a host are remembered: anybody may send a million, and each costs 5 kB for as long as the host is at hand.

In: calls that sent signals.  Out: those for which there is no room any more, perhaps the one that came.  Of two bounds each keeps the
earliest by time and id:

    alike     one sender, one process, one signal, in one hour: `most` / FEW
    harmless  what somebody sent in a day who reaches nobody but himself: `most` if it succeeded, can kill and named a process; else a FEWth

Without privilege a signal goes to processes of its sender's uids, says the kernel.  So no flood of his own takes room from what he sends as
root, or as another whom the settings know; there the deadly signal behind a million harmless ones stays, since these differ from it in
process, signal or hour.  Uids that the settings do not know may be those of his name spaces: there are 65,536, and they share one room.

Why the call alone, and not the owner of the target, which another record says: what is left out must not depend on which came first.

Holds: what is kept of a set of calls does not depend on their order, nor on which were left out before (tests/property/test_room.py).
"""

from bisect import bisect_left
from collections.abc import Collection

from pipeline.formats.assembly import SignalCall
from pipeline.model.instants import DAY_MS, HOUR_MS

Sent = tuple[int, int, str]  # time; serial of the audit event; id of an event that a watcher tells whole
Key = str | tuple[object, ...]
Rooms = dict[Key, Sent | list[Sent]]  # nearly all hold one
FEW = 50
IGNORED = frozenset({17, 18, 23, 28})  # nobody ends by CHLD, CONT, URG or WINCH; runtimes send URG to their own threads all day


class Room:
    """What is remembered of the signals on one host; derived from them."""

    def __init__(self, most: int, people: Collection[int] = ()) -> None:
        self._most, self._few, self._people = most, max(1, most // FEW), people
        self._days: dict[int, Rooms] = {}

    def take(self, sent: Sent, call: SignalCall, *, unproven: bool) -> list[Sent]:
        """Take a call in; answers with those that are left out for it."""
        hour = sent[0] // HOUR_MS
        rooms = self._days.get(hour // 24)
        if rooms is None:
            rooms = self._days[hour // 24] = {}
        # One text: a tuple for each signal is more work for the garbage collector than all of the bound.
        alike = f"{call.auid}/{call.uid}/{call.euid}/{call.target}/{call.signal}/{call.done:d}{unproven:d}/{hour}"
        if alike not in rooms:
            rooms[alike] = sent
            out = None
        else:
            out = _put(rooms, alike, sent, self._few if call.target else self._most)
            if out == sent:
                return [sent]
        if not unproven and (call.uid == "0" or call.euid == "0"):
            return [] if out is None else [out]
        whose: tuple[object, ...] | None = ("anybody",) if unproven else self._reaching_himself(call)
        if whose is None:
            return [] if out is None else [out]
        kills, group = call.number not in IGNORED, call.is_to_group
        harmless = (*whose, call.done, kills, group)
        if out is not None:
            _remove(rooms, harmless, out)
        last = _put(rooms, harmless, sent, self._most if call.done and kills and not group else self._few)
        return [each for each in (out, last) if each is not None]

    def _reaching_himself(self, call: SignalCall) -> tuple[object, ...] | None:
        """Who sent a signal that no process of others can have got; None: it may be anybody's."""
        who, uid, euid = call.identities
        if not uid or not euid:  # root, or it is not known
            return None
        if who is None and uid in self._people:
            who = uid
        if (uid != who and uid in self._people) or (euid != who and euid in self._people):
            return None
        return ("one", who)

    def forget(self, before: int) -> None:
        """Forget the days that ended before a time."""
        for day in [day for day in self._days if (day + 1) * DAY_MS <= before]:
            del self._days[day]


def _put(rooms: Rooms, key: Key, sent: Sent, most: int) -> Sent | None:
    """Take a call into a room; answers with the latest when it is full."""
    room = rooms.get(key)
    if room is None:
        rooms[key] = sent
        return None
    if not isinstance(room, list):
        room = rooms[key] = [room]
    at = bisect_left(room, sent)
    if at == len(room) or room[at] != sent:
        room.insert(at, sent)
    return room.pop() if len(room) > most else None


def _remove(rooms: Rooms, key: Key, sent: Sent) -> None:
    room = rooms.get(key)
    if not isinstance(room, list):
        if room == sent:
            del rooms[key]
        return
    at = bisect_left(room, sent)
    if at < len(room) and room[at] == sent:
        del room[at]
