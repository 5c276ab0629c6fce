"""What is known of one artefact in; of each load, what came before it and is worth telling its job, out.

    import(a) by job 6 @10    write by u099 @40    import(b) by job 7 @90     ->  other: a@10    writes: @40

Two places look at a load in this way: the stage of the artefact, which has the whole history, and the judge, who has what his job was
told.  The latter may be more than is worth telling by now, since it was told while less was known.  So both ask here, and the judge sees
the same.

Nobody saves a module or a hook, so what a job loaded is compared with the last other bytes that anybody loaded from the same path.  A job
loads thousands of modules, and for most there is nothing to tell: a load is told only where there were other bytes within a week, or where
somebody who may not write there wrote after the last other bytes.  In the second case the other bytes may be as old as artefacts are kept,
since a run may rest for weeks between two jobs.  Whoever wrote there can print in a job of his own that he loaded still other bytes: so
where the last other bytes were loaded after the last such write, those before it are told too, and where there are none, that write.

Where somebody wrote who may not, of modules, hooks and datasets it is asked, too, whence the bytes came that lay there before the first
such write since the last with leave.  Where all since these first came loaded them, and no write is on record between the load of others
before and that write, somebody had altered the file of whom no record tells:

    import(a) @10    import(d) @20    write by u099 @40    import(b) @90     ->  former: a@10    altered: d@20

Of the saves of one job only the last is told: its output can say a million times that it saved, and must not push out what others saved.
When the number of jobs that say so reaches the bound, nobody knows who saved before them, and all writes are told.  Nothing pushes out
what the loading job says of itself, since nobody else prints its output.  Of the writes that are told, those that may have changed the
bytes come first: setting a file's times again and again hides no write.

Holds: of all that is known, and of any part of it in which nothing is missing that is worth telling, the same is worth telling.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple, TypeVar

import msgspec

from pipeline.model.events import Body, CheckpointLoaded, CheckpointSaved, Event, FileTouched, HookFound, ModuleImported
from pipeline.model.instants import DAY_MS
from pipeline.model.runs import REMOVED

SAVES_MAX = 8  # per load, the last of a job each, the newest: the judge needs the last, and what another job saved before it
WRITES_MAX = 200  # per load, the newest that may have changed the bytes, then the newest others
FOREIGN_MAX = 8  # per import: a job has thousands
SAVES_LOOKED_AT = 64  # one by one, before all jobs are asked for
LOOKED_AT = 16  # loads, before all bytes are
LATEST = 2**62
OTHER_MS = 7 * DAY_MS  # how long other bytes of the same path are worth telling: of modules and hooks that nobody wrote meanwhile,
READ_MS = 90 * DAY_MS  # of those that somebody did, and of checkpoints and datasets
WRITTEN_MS = 30 * DAY_MS  # how long a write after which a module was imported is
STALE_MS = 5 * 60_000  # so long clocks and what a host still holds of a shared file may make a load look later than the write behind it
LOADS = (CheckpointLoaded, ModuleImported, HookFound)
QUIETLY = (ModuleImported, HookFound)  # told only where there is something to tell
Save = TypeVar("Save")


class Known(msgspec.Struct, frozen=True, gc=False):
    """An event of the artefact's history, with the id and rank of its fact."""

    time: int
    event: Event
    rank: bytes
    name: str
    foreign: bool = False  # a write by who may not, as the settings say

    def __lt__(self, other: "Known") -> bool:
        return (self.time, self.event.id, self.name) < (other.time, other.event.id, other.name)

    @property
    def changes(self) -> bool:
        """May it have changed the bytes?"""
        return isinstance(self.event.body, FileTouched) and self.event.body.changes

    @property
    def path(self) -> str:
        return str(getattr(self.event.body, "path", ""))

    @property
    def sha256(self) -> str:
        return str(getattr(self.event.body, "sha256", ""))

    @property
    def removes(self) -> bool:
        """Of a run's folder: is something gone from there?"""
        return isinstance(self.event.body, FileTouched) and self.event.body.action == REMOVED


class Before(NamedTuple):
    """What came before a load, each by time."""

    saves: Sequence[Known] = ()  # of each job the last, of these the newest and its own
    writes: Sequence[Known] = ()  # of modules and hooks by who may not, and the last of all
    other: Known | None = None  # the last load of other bytes
    untouched: Known | None = None  # where it lies after the last write by who may not: the last load of other bytes before that
    same: Known | None = None  # the first load of the same bytes: before the other ones, or before the last write by who may not
    earlier: Known | None = None  # the last write by who may not before `same`
    overwritten: Known | None = None  # where nobody who may not wrote since the first of the saves: the last write before
    resumed: Known | None = None  # where something was removed: the last load after that
    former: Known | None = None  # where who may not wrote what had been altered, and no record says by whom: the last load before that,
    altered: Known | None = None  # and the first load of the bytes that lay there then
    shown: tuple[Known, ...] = ()  # what the rest was judged by

    def every(self) -> Iterator[Known]:
        """All that is worth telling, each once."""
        ones = (self.other, self.untouched, self.same, self.earlier, self.overwritten, self.resumed, self.former, self.altered, *self.shown)
        told = chain(self.saves, self.writes, (each for each in ones if each is not None))
        yield from {each.name: each for each in told}.values()


class History:
    """Saves, writes and loads by event time.  Everybody may fill his own: no question costs all of it."""

    def __init__(self, *, all_writes: bool = False, of_dataset: bool = False) -> None:
        self.all_writes = all_writes or of_dataset  # there are few, and who printed that he saved must hide none
        self.of_dataset = of_dataset
        self.proven: History = self  # the same without what anybody may have sent
        self.saves: list[Known] = []
        self.writes: list[Known] = []
        self.changes: list[Known] = []  # of the writes those that may have changed the bytes
        self.foreign: list[Known] = []  # writes by who may not
        self.foreign_changes: list[Known] = []
        self.with_leave: list[Known] = []  # changes by who may
        self.loads: list[Known] = []
        self.told: dict[str, dict[str, Known]] = {}  # name of a load -> what it was told of, as far as it may be untrue by now
        self._known: dict[str, Known] = {}
        self._saves_of: dict[str, list[Known]] = {}  # job -> its saves
        self._loads_of: dict[str, list[Known]] = {}  # bytes -> loads of them
        self._loads_by_sha256: dict[str, list[Known]] = {}  # the same, whatever was compiled

    def known(self, name: str) -> Known | None:
        """What is known under the id of a fact."""
        return self._known.get(name)

    def add(self, event: Event, order: bytes, name: str, *, foreign: bool = False) -> Known | None:
        """Take one event in; None when its kind has no place here."""
        known = Known(event.event_time, event, order, name, foreign)
        if not self._sides(known):
            return None
        self.remove(name)
        if event.unproven and self.proven is self:
            self.proven = History(all_writes=self.all_writes, of_dataset=self.of_dataset)
            for each in self._known.values():
                self.proven.put(each)
        for view in self.views(known):
            view.put(known)
        return known

    def tell(self, load: Known, before: Known | None) -> None:
        """Of modules everything may be untrue by now, of the others the loads."""
        if before is not None and (isinstance(load.event.body, QUIETLY) or isinstance(before.event.body, LOADS)):
            self.told.setdefault(load.name, {})[before.name] = before

    def put(self, known: Known) -> None:
        """Take it in, whoever sent it."""
        self._known[known.name] = known
        for side in self._sides(known):
            insort(side, known)

    def remove(self, name: str) -> None:
        """Forget what a fact said."""
        known = self._known.get(name)
        if known is None:
            return
        self.told.pop(name, None)
        for view in self.views(known):
            del view._known[name]
            for side in view._sides(known):
                if (at := bisect_left(side, known)) < len(side) and side[at] is known:
                    del side[at]

    def views(self, known: Known) -> tuple["History", ...]:
        """The histories that an event is part of: the whole one, and of a known sender's what is known without the others."""
        return (self,) if known.event.unproven or self.proven is self else (self.proven, self)

    def _sides(self, known: Known) -> tuple[list[Known], ...]:
        body = known.event.body
        if isinstance(body, LOADS):
            same = self._loads_by_sha256.setdefault(known.sha256, [])
            return self.loads, self._loads_of.setdefault(version(known.event), []), same
        if isinstance(body, CheckpointSaved):
            return self.saves, self._saves_of.setdefault(known.event.job, [])
        if isinstance(body, FileTouched):
            sides = (self.writes, self.foreign) if known.foreign else (self.writes,)
            if not known.changes:
                return sides
            return (*sides, self.changes, self.foreign_changes if known.foreign else self.with_leave)
        return ()

    # --- what came before a load ----------------------------------------------------------------------------------------------

    def before(self, load: Known) -> Before:
        """What is worth telling of it."""
        return self._of_module(load) if isinstance(load.event.body, QUIETLY) else self._of_file(load)

    def _of_file(self, load: Known) -> Before:
        """Saves and writes, and other bytes."""
        saves = self._saves_before(load)
        since = self._since(saves)
        writes = _newest(self.writes, self.changes, since, load.time, WRITES_MAX)
        changes = [each for each in writes if each.foreign and each.changes]
        other = self._other_before(load, READ_MS)
        hidden = other is not None and bool(changes) and changes[-1] < other
        untouched = self._other_before(load, READ_MS, changes[-1]) if hidden else None
        same = self._same_before(load)
        if same is not None and (other is None or other < same):  # of more writes than are told nobody knows which made the bytes first
            same = same if changes and same < changes[-1] and len(writes) < WRITES_MAX else None
        earlier = next((each for each in reversed(changes) if same is not None and each < same), None)
        overwritten = None  # or so somebody says
        if not changes and len(writes) < WRITES_MAX:
            overwritten = next(iter(_last(self.changes, 0, since - 1, 1)), None)
        gone = next((each for each in writes if each.removes), None)
        resumed = self._last_since(gone.time, load) if gone is not None else None  # who has felt it before
        former, altered, asked = self._unrecorded(load, load.time - WRITTEN_MS) if self.of_dataset else (None, None, ())
        return Before(saves, writes, other, untouched, same, earlier, overwritten, resumed, former, altered, tuple(asked))

    def _of_module(self, load: Known) -> Before:
        """Other bytes; and writes by who may not, where there are any that may have made these."""
        floor, other = load.time - WRITTEN_MS, self._other_before(load, OTHER_MS)
        change = next(iter(_last(self.foreign_changes, floor, load.time, 1)), None)
        if change is None:
            return Before(other=other)
        other = other or self._other_before(load, READ_MS)
        untouched = self._other_before(load, READ_MS, change) if other is not None and change < other else None
        unseen = other is not None and change < other and untouched is None  # nobody says what lay there before
        first = untouched or other
        opening, unchanged = self._made(first, load) if first is not None else (None, None)
        shown = [each for each in (first, opening, unchanged, change) if each is not None]
        if unchanged is not None:  # these bytes were there before: no such write made them
            other, untouched = (other, None) if untouched is not None else (None, None)
        # A release that was taken back; or what was written since was put back before anybody loaded it.
        same, earlier = self._same_before(load), None
        same = same if same is not None and same < (other or change) else None
        if same is not None:  # who wrote before these bytes came first?
            written = _newest(self.foreign, self.foreign_changes, same.time - WRITTEN_MS, load.time, FOREIGN_MAX)
            earlier = next((each for each in reversed(written) if each.changes and each < same), None)
            shown += written
        first = untouched or other
        start = max(first.time, floor) if first is not None and not unseen else floor
        writes = _newest(self.foreign, self.foreign_changes, start, load.time, FOREIGN_MAX)
        last = _last(self.changes, max(start, change.time), load.time, 1)
        writes += [each for each in last if not each.foreign and change < each]
        former, altered, asked = self._unrecorded(load, floor)
        shown += asked
        return Before((), writes, other, untouched, same, earlier, former=former, altered=altered, shown=tuple(shown))

    def _unrecorded(self, load: Known, floor: int) -> tuple[Known | None, Known | None, list[Known]]:
        """(the last load of other bytes, the first of those that came after them with no write on record, what was asked for it)."""
        leave, foreign = next(iter(_last(self.with_leave, floor, load.time, 1)), None), self.foreign_changes
        at = bisect_left(foreign, leave) if leave is not None else bisect_left(foreign, floor, key=lambda known: known.time)
        opening = foreign[at] if at < len(foreign) and foreign[at].time <= load.time else None
        asked = [each for each in (leave, opening) if each is not None]
        if opening is None:
            return None, None, asked
        lay = self._lay_before(opening)
        former = self._other_before(lay, READ_MS) if lay is not None else None
        asked += [each for each in (lay, former) if each is not None]
        if lay is None or former is None or not former.sha256 or former.sha256 == lay.sha256:
            return None, None, asked
        first, end = self._loads_by_sha256[lay.sha256][0], bisect_left(self.changes, opening)
        since = bisect_left(self.changes, former.time - STALE_MS, key=lambda known: known.time)
        written = self.changes[max(since, end - 1) : end]
        asked += [first, *written]
        if written or not lay.sha256 or first < former or first.time < floor:
            return None, None, asked
        return former, first, asked

    def _lay_before(self, write: Known) -> Known | None:
        """The last load before a write: of the bytes that lay there then."""
        place = bisect_left(self.loads, write)
        return self.loads[place - 1] if place else None

    def _since(self, saves: Sequence[Known]) -> int:
        """From when on writes may have changed what was saved; of more saves than are told nobody knows the first."""
        return saves[0].time if 0 < len(saves) < SAVES_MAX and not self.all_writes else 0

    def _saves_before(self, load: Known) -> list[Known]:
        """The last save of each job before the load, of these the newest, by time."""
        last: dict[str, Known] = {}
        place = bisect_right(self.saves, load.time, key=lambda known: known.time)
        for save in reversed(self.saves[max(0, place - SAVES_LOOKED_AT) : place]):
            last.setdefault(save.event.job, save)
        if len(last) < SAVES_MAX and place > SAVES_LOOKED_AT:  # few jobs, of which one says it over and over
            for job, saves in self._saves_of.items():
                if at := bisect_right(saves, load.time, key=lambda known: known.time):
                    last[job] = saves[at - 1]
        own = _last(self._saves_of.get(load.event.job, ()), 0, load.time, 1)
        return newest_saves(sorted(last.values()), own[0] if own else None)

    def _other_before(self, load: Known, within_ms: int, write: Known | None = None) -> Known | None:
        """The last load of other bytes before this one, of so long; or before a write that came first.

        Bytes that differ as compiled only come after all others.
        """
        mine, path, sha256, since = version(load.event), load.path, load.sha256, load.time - within_ms
        end = load if write is None else write
        place, found = bisect_left(self.loads, end), None
        some = self.loads[max(0, place - LOOKED_AT) : place]
        for last in reversed(some):  # of most the one before
            if last.time >= since and last.path == path and last.sha256 != sha256:
                return last
        if (place <= LOOKED_AT or some[0].time < since) and all(version(last.event) == mine for last in some):
            return None
        for other, loads in self._loads_of.items():
            at = bisect_left(loads, end)
            if other != mine and at:
                last = loads[at - 1]
                order = (last.sha256 != sha256, last.time, last.event.id)
                if last.time >= since and last.path == path and (found is None or found[0] < order):
                    found = order, last
        return found[1] if found is not None else None

    def _same_before(self, load: Known) -> Known | None:
        """The first load of the same bytes, when it came before this one."""
        first = self._loads_of[version(load.event)][0]
        return first if first < load else None

    def _made(self, first: Known, load: Known) -> tuple[Known | None, Known | None]:
        """(the first write after other bytes by who may not, the last load of these bytes between: no such write made them)."""
        at = bisect_right(self.foreign_changes, first)
        opening = self.foreign_changes[at] if at < len(self.foreign_changes) else None
        if opening is None or opening.time > load.time:
            return None, None
        loads = self._loads_of[version(load.event)]
        place = bisect_left(loads, min(opening, load))
        return opening, loads[place - 1] if place and first < loads[place - 1] else None

    def _last_since(self, time: int, load: Known) -> Known | None:
        """The last load after that time, before this one: in a run's folder of any of its files."""
        at = bisect_left(self.loads, load)
        last = self.loads[at - 1] if at else None
        return last if last is not None and last.time >= time else None

    def repeated(self, before: int) -> list[str]:
        """Facts of imports before that time that repeat what was imported before and since: each path of a site has one a job.

        What is asked for later is kept: of the same bytes the first, the last by then, and the last before each write by who may not.
        """
        gone = []
        for alike in self._loads_of.values():
            for loads in ([each for each in alike if each.event.unproven is unproven] for unproven in (False, True)):
                end = bisect_left(loads, before, key=lambda known: known.time)
                kept = {0, end - 1, *(bisect_left(loads, write) - 1 for write in self.foreign_changes)}
                gone += [load.name for at, load in enumerate(loads[:end]) if at not in kept and isinstance(load.event.body, QUIETLY)]
        return gone

    # --- the loads before which it is worth telling ---------------------------------------------------------------------------

    def behind(self, new: Known) -> list[Known]:
        """Loads after news that may be worth telling them: a flood must not be weighed against every load, nor against itself.

        A save is until its job saves again, a write until so many others came, and a load until it is no more the last of other bytes.
        """
        body = new.event.body
        if isinstance(body, LOADS):
            return self._behind_load(new)
        if isinstance(body, CheckpointSaved):
            return self.loads_since(new.time, _after(self._saves_of[new.event.job], new, 1))
        end = _after(self.changes if new.changes else self.writes, new, WRITES_MAX)
        if not new.foreign:
            return [*self.loads_since(new.time, end), *(self._openers(new) if new.changes else ())]
        found = self.loads_since(new.time, max(end, _after(self.foreign_changes if new.changes else self.foreign, new, FOREIGN_MAX)))
        return [*found, *self._opened(new), *self._openers(new)] if new.changes else found

    def _opened(self, new: Known) -> Iterator[Known]:
        """Loads for which it is the first foreign write after other bytes: these were loaded since the write before."""
        at, place = bisect_left(self.foreign_changes, new), bisect_left(self.loads, new)
        last = self.loads[place - 1] if place else None
        before = self._other_before(last, READ_MS) if last is not None else None
        for load in (last, before):
            if load is not None and not (at and load < self.foreign_changes[at - 1]):
                yield from self._others_behind(load)

    def _openers(self, new: Known) -> Sequence[Known]:
        """Loads that ask for it: as the last change with leave, as the first by who may not since, or of 30 days, or before it."""
        at, until = bisect_left(self.changes, new), min(new.time + WRITTEN_MS, _after(self.with_leave, new, 1))
        last = self.changes[at - 1] if at and new.foreign else None
        since = last.time + WRITTEN_MS if last is not None and last.foreign else new.time
        return [*self.loads_since(since, until), *self.loads_since(new.time + WRITTEN_MS, _after(self.changes, new, 1) + WRITTEN_MS)]

    def _behind_load(self, new: Known) -> list[Known]:
        """As the last of other bytes before them or before a foreign write, or of the same bytes the first or the last before one."""
        written, alike = _after(self.foreign_changes, new, 1), self._loads_of[version(new.event)]
        place = bisect_left(alike, new)
        again = alike[place + 1] if place + 1 < len(alike) else None
        found: list[Known] = []
        is_first = place == 0 and (len(self._loads_of) > 1 or len(self.foreign) > 0)
        if is_first or (written < LATEST and (again is None or again.time >= written)):
            found += alike[place + 1 :]
        found += self._lying(new)
        at = bisect_right(self.loads, new)
        return [*found, *self.loads[at : at + 1], *self._others_behind(new)]  # in a run's folder the next one, of whatever file

    def _lying(self, new: Known) -> Iterator[Known]:
        """Loads that ask whence the bytes came that lay there before a foreign write (`_unrecorded`), and are told of it.

        It is the last load before the write, the last of other bytes before that one, or the first of that one's bytes.  Behind a write
        with leave they ask of none before.
        """
        at, alike = bisect_right(self.loads, new), self._loads_by_sha256[new.sha256]
        lay = [(new, at)] if alike[0] is not new else [(each, bisect_right(self.loads, each)) for each in alike]
        end = at
        while end < len(self.loads) and self.loads[end].sha256 == self.loads[at].sha256:
            end += 1
        for first, behind in (*lay, *([(self.loads[at], end)] if end > at else ())):
            low = bisect_right(self.foreign_changes, first)
            high = bisect_left(self.foreign_changes, self.loads[behind]) if behind < len(self.loads) else len(self.foreign_changes)
            if low < high:
                last = self.foreign_changes[high - 1]
                until = min(last.time + WRITTEN_MS, _after(self.with_leave, last, 1))
                yield from self.loads_since(self.foreign_changes[low].time, until)

    def _others_behind(self, new: Known) -> Iterator[Known]:
        """Loads of other bytes before which it is the last of others, or was when somebody wrote last who may not."""
        path, mine, shas = new.path, version(new.event), {new.sha256}
        written, end = _after(self.foreign_changes, new, 1), new.time + READ_MS
        at, shut = bisect_right(self.loads, new), False
        while at < len(self.loads) and self.loads[at].time <= end:
            load = self.loads[at]
            at += 1
            if load.path != path:
                continue
            if not shut:
                shas.add(load.sha256)
            if version(load.event) == mine or len(shas) > 2:  # from here on it is the last of other bytes for nobody
                shut = True
                end = min(end, _after(self.foreign_changes, load, 1) if written <= load.time else load.time)
            if version(load.event) != mine:
                yield load

    def loads_since(self, time: int, end: int) -> list[Known]:
        """Loads with time <= their time <= end."""
        low = bisect_left(self.loads, time, key=lambda known: known.time)
        return self.loads[low : bisect_right(self.loads, end, key=lambda known: known.time)]


def newest_saves(saves: list[Save], own: Save | None) -> list[Save]:
    """As many of them, by time, as are told; among them the loading job's own."""
    newest = saves[-SAVES_MAX:]
    return newest if own is None or own in newest else [own, *newest[1:]]


def version(event: Event) -> str:
    """The bytes that a load names: of a module the compiled ones, too, since they are what runs."""
    body: Body = event.body
    if isinstance(body, ModuleImported):
        return f"{body.sha256}/{body.cached_sha256}" if body.cached_sha256 else body.sha256
    return body.sha256 if isinstance(body, LOADS) else ""


def _newest(side: Sequence[Known], changes: Sequence[Known], start: int, end: int, most: int) -> list[Known]:
    """The newest of one side with start <= time <= end; no `touch` pushes out what may have changed the bytes."""
    found = _last(changes, start, end, most)
    rest = [known for known in _last(side, start, end, most) if not known.changes]
    return sorted([*found, *rest[max(0, len(rest) + len(found) - most) :]])


def _last(side: Sequence[Known], start: int, end: int, most: int) -> Sequence[Known]:
    low = bisect_left(side, start, key=lambda known: known.time)
    high = bisect_right(side, end, key=lambda known: known.time)
    return side[max(low, high - most) : high]


def _after(side: Sequence[Known], known: Known, number: int) -> int:
    """When the so many-th of them came after that one."""
    at = bisect_right(side, known) + number - 1
    return side[at].time if at < len(side) else LATEST
