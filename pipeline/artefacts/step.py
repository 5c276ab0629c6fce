"""Facts about artefacts in; for each load, its saves and writes before it out, to the job that loaded.

    save(hash a)@10    write by u017 @40    load(hash b)@90    ->  job of the load: (load), (save, load), (write, load)
    import(a) by job 1 @10   write @40   import(b) by job 2 @90    ->  job 2: (import a, import b), (write, import b)

Days may lie between, and the record of the write may come last: each pair is told when both its sides are known, in whatever order
they came.  Which save was the last, and who wrote behind it, is for the judge, since a late record can change it.

Nobody saves a module or a hook: what a job loaded is compared with the last other bytes that anybody loaded from there, and told only
where there were any within a week, or where somebody wrote there who may not, behind them: then with the last other bytes of the time for
which artefacts are kept, since a run may rest for weeks between two jobs.  A job loads thousands of modules, and of most there is nothing
to tell.  Whoever wrote there can print in a job of his own that he loaded still other bytes: so where the last other bytes lie behind the
last such write, those before it are told, too.

An artefact of which nothing was heard for some days is sealed: packed, without a history, at hand again when something is told of it.

Of the saves of one job the last is told: its output can say a million times that it saved, and must not push out what others saved.
Where as many jobs say so as are told, who saved before them is not known, and all writes are told.
Of the writes that are told, those that may have changed the bytes come first: setting a file's times again and again hides no write.

What anybody may have sent, at a site that authenticates others, takes no place of what is known: a load by a known sender is told what it
would be told without all that, and what it is told with it.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from pipeline.model.actor import actor_of
from pipeline.model.events import Body, CheckpointLoaded, CheckpointSaved, Event, FileTouched, HookFound, ModuleImported
from pipeline.model.facts import VOID, Fact, case_name, job_case
from pipeline.model.ids import digest, rank
from pipeline.model.instants import DAY_MS
from pipeline.model.outcome import Outcome, Tell
from pipeline.model.runs import REMOVED
from pipeline.model.told import ArtefactUse, decode_told, encode_told
from pipeline.settings import Settings
from pipeline.stream.cases import Cases
from pipeline.stream.sweep import Sweep
from pipeline.stream.watermark import Watermarks

SAVES_TOLD_MAX = 8  # per load, the last of a job each, the newest: the judge needs the last, and what another job saved before it
WRITES_TOLD_MAX = 200  # per load, the newest that may have changed the bytes, then the newest others
FOREIGN_TOLD_MAX = 8  # per import: a job has thousands
SAVES_LOOKED_AT = 64  # one by one, before all jobs are asked for
LOOKED_AT = 16  # loads, before all bytes are
LATEST = 2**62
QUIET_MS = 2 * DAY_MS  # after its last event an artefact is sealed
OTHER_MS = 7 * DAY_MS  # how long other bytes of the same path are worth telling: of modules and hooks that nobody wrote meanwhile,
READ_MS = 90 * DAY_MS  # of those that somebody did, and of checkpoints and datasets
WRITTEN_MS = 30 * DAY_MS  # how long a write behind which a module was imported is
SWEEP_CASES_MAX = 50  # in one step
LOADS = (CheckpointLoaded, ModuleImported, HookFound)
NOBODY: frozenset[str] = frozenset()
QUIETLY = (ModuleImported, HookFound)  # told only where there is something to tell


class Known(msgspec.Struct, frozen=True, gc=False):
    """An event of the artefact's history, with the id and rank of its fact."""

    time: int
    event: Event
    rank: bytes
    name: str
    foreign: bool = False  # a write by who may not, as the settings say

    def __lt__(self, other: "Known") -> bool:
        return (self.time, self.name) < (other.time, other.name)


class History:
    """Derived from one case: saves, writes and loads by event time.  Everybody may fill his own: no question costs all of it."""

    def __init__(self, *, dataset: bool = False) -> None:
        self.dataset = dataset  # it is written rarely, and who printed that he saved it must not hide a write: all of them are told
        self.proven: History = self  # the same without what anybody may have sent
        self.saves: list[Known] = []
        self.writes: list[Known] = []
        self.foreign: list[Known] = []  # writes by who may not
        self.changes: list[Known] = []  # of the writes those that may have changed the bytes
        self.foreign_changes: list[Known] = []
        self.loads: list[Known] = []
        self.told: dict[str, dict[str, Known]] = {}  # name of a load -> what it was told of, as far as it may be untrue by now
        self._known: dict[str, Known] = {}
        self._saves_of: dict[str, list[Known]] = {}  # job -> its saves
        self._loads_of: dict[str, list[Known]] = {}  # bytes -> loads of them

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
            self.proven = History(dataset=self.dataset)
            for each in self._known.values():
                self.proven._put(each)
        for view in self.views(known):
            view._put(known)
        return known

    def tell(self, load: Known, before: Known | None) -> None:
        """Of modules everything may be untrue by now, of the others the loads."""
        if before is not None and (isinstance(load.event.body, QUIETLY) or isinstance(before.event.body, LOADS)):
            self.told.setdefault(load.name, {})[before.name] = before

    def _put(self, known: Known) -> None:
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
            return self.loads, self._loads_of.setdefault(version(known.event), [])
        if isinstance(body, CheckpointSaved):
            return self.saves, self._saves_of.setdefault(known.event.job, [])
        if isinstance(body, FileTouched):
            sides = (self.writes, self.foreign) if known.foreign else (self.writes,)
            if not _changes(body):
                return sides
            return (*sides, self.changes, self.foreign_changes) if known.foreign else (*sides, self.changes)
        return ()

    def saves_before(self, load: Known) -> list[Known]:
        """The last save of each job before the load, of these the newest, by time."""
        last: dict[str, Known] = {}
        place = bisect_right(self.saves, load.time, key=lambda known: known.time)
        for save in reversed(self.saves[max(0, place - SAVES_LOOKED_AT) : place]):
            last.setdefault(save.event.job, save)
        if len(last) < SAVES_TOLD_MAX and place > SAVES_LOOKED_AT:  # few jobs, of which one says it over and over
            for job, saves in self._saves_of.items():
                if at := bisect_right(saves, load.time, key=lambda known: known.time):
                    last[job] = saves[at - 1]
        return sorted(last.values())[-SAVES_TOLD_MAX:]

    def writes_between(self, start: int, end: int) -> list[Known]:
        """The newest writes with start <= time <= end."""
        return _newest(self.writes, self.changes, start, end, WRITES_TOLD_MAX)

    def foreign_between(self, start: int, end: int) -> list[Known]:
        """The newest writes with start <= time <= end by who may not write there."""
        return _newest(self.foreign, self.foreign_changes, start, end, FOREIGN_TOLD_MAX)

    def repeated(self, before: int) -> list[str]:
        """Facts of imports before that time that repeat what was imported before and since: each path of a site has one a job."""
        gone = []
        for alike in self._loads_of.values():
            for loads in ([each for each in alike if each.event.unproven is unproven] for unproven in (False, True)):
                end = bisect_left(loads, before, key=lambda known: known.time)
                gone += [known.name for known in loads[1 : min(end, len(loads) - 1)] if isinstance(known.event.body, QUIETLY)]
        return gone

    def other_before(self, load: Known, within_ms: int, write: Known | None = None) -> Known | None:
        """The last load of other bytes before this one, of so long; or before a write that came first.

        Bytes that differ as compiled only come after all others.
        """
        mine, body, found = version(load.event), load.event.body, None
        path, sha256, since = _path(load), getattr(body, "sha256", ""), load.time - within_ms
        place = bisect_left(self.loads, load) if write is None else bisect_left(self.loads, write.time, key=lambda known: known.time)
        some = self.loads[max(0, place - LOOKED_AT) : place]
        for last in reversed(some):  # of most the one before
            if last.time >= since and _path(last) == path and getattr(last.event.body, "sha256", "") != sha256:
                return last
        if (place <= LOOKED_AT or some[0].time < since) and all(version(last.event) == mine for last in some):
            return None
        for other, loads in self._loads_of.items():
            at = bisect_left(loads, load) if write is None else bisect_left(loads, write.time, key=lambda known: known.time)
            if other != mine and at:
                last = loads[at - 1]
                order = (getattr(last.event.body, "sha256", "") != sha256, last.time, last.name)
                if last.time >= since and _path(last) == path and (found is None or found[0] < order):
                    found = order, last
        return found[1] if found is not None else None

    def same_before(self, load: Known) -> Known | None:
        """The first load of the same bytes, when it came before this one."""
        first = self._loads_of[version(load.event)][0]
        return first if first < load else None

    def unchanged(self, other: Known, load: Known) -> Known | None:
        """The last load of the same bytes behind the others and before anybody wrote there who may not: no such write made them."""
        first = bisect_right(self.foreign, other)
        loads = self._loads_of[version(load.event)]
        at = bisect_left(loads, self.foreign[first]) if first < len(self.foreign) else 0
        return loads[at - 1] if at and other < loads[at - 1] else None

    def last_since(self, time: int, load: Known) -> Known | None:
        """The last load behind that time, before this one: in a run's folder of any of its files."""
        at = bisect_left(self.loads, load)
        last = self.loads[at - 1] if at else None
        return last if last is not None and last.time >= time else None

    def leave_since(self, foreign: Known, end: int) -> Known | None:
        """The last write that may have changed the bytes, when it is behind the foreign one and by somebody who may write there."""
        at = bisect_right(self.changes, end, key=lambda known: known.time)
        last = self.changes[at - 1] if at else None
        return last if last is not None and foreign < last else None

    def behind(self, new: Known) -> list[Known]:
        """Loads behind news that may be worth telling them: a flood must not be weighed against every load, nor against itself.

        A save is until its job saves again, a write until so many others came, and a load until it is no more the last of other bytes.
        """
        body = new.event.body
        if isinstance(body, LOADS):
            return self._behind_load(new)
        if isinstance(body, CheckpointSaved):
            return self.loads_since(new.time, _after(self._saves_of[new.event.job], new, 1))
        changes = _changes(body)
        end = _after(self.changes if changes else self.writes, new, WRITES_TOLD_MAX)
        if new.foreign:
            end = max(end, _after(self.foreign_changes if changes else self.foreign, new, FOREIGN_TOLD_MAX))
        return self.loads_since(new.time, end)

    def _behind_load(self, new: Known) -> list[Known]:
        """As the last of other bytes before them or before a foreign write, or of the same bytes the first or the last before one."""
        path, mine, sha256 = _path(new), version(new.event), getattr(new.event.body, "sha256", "")
        written = _after(self.foreign, new, 1)
        alike = self._loads_of[mine]
        place = bisect_left(alike, new)
        again = alike[place + 1] if place + 1 < len(alike) else None
        found: list[Known] = []
        is_first = place == 0 and (len(self._loads_of) > 1 or len(self.foreign) > 0)
        if is_first or (written < LATEST and (again is None or again.time >= written)):
            found += [load for load in alike[place + 1 :] if load.time <= new.time + READ_MS]
        at, end, others = bisect_right(self.loads, new), new.time + READ_MS, {sha256}
        found += self.loads[at : at + 1]  # in a run's folder of whatever file
        while at < len(self.loads) and self.loads[at].time <= end:
            load = self.loads[at]
            at += 1
            if _path(load) != path:
                continue
            if end == new.time + READ_MS:
                others.add(getattr(load.event.body, "sha256", ""))
                if version(load.event) == mine or len(others) > 2:  # from here on it is the last of other bytes for nobody
                    end = min(end, _after(self.foreign, load, 1) if written <= load.time else load.time)
            if version(load.event) != mine:
                found.append(load)
        return found

    def loads_since(self, time: int, end: int) -> list[Known]:
        """Loads with time <= their time <= end."""
        low = bisect_left(self.loads, time, key=lambda known: known.time)
        return self.loads[low : bisect_right(self.loads, end, key=lambda known: known.time)]


def _newest(side: Sequence[Known], changes: Sequence[Known], start: int, end: int, most: int) -> list[Known]:
    """The newest of one side with start <= time <= end; no `touch` pushes out what may have changed the bytes."""
    found = _last(changes, start, end, most)
    rest = [known for known in _last(side, start, end, most) if not _changes(known.event.body)]
    return sorted([*found, *rest[max(0, len(rest) + len(found) - most) :]])


def _last(side: Sequence[Known], start: int, end: int, most: int) -> Sequence[Known]:
    low = bisect_left(side, start, key=lambda known: known.time)
    high = bisect_right(side, end, key=lambda known: known.time)
    return side[max(low, high - most) : high]


def _after(side: Sequence[Known], known: Known, number: int) -> int:
    """When the so many-th of them came behind that one."""
    at = bisect_right(side, known) + number - 1
    return side[at].time if at < len(side) else LATEST


class ArtefactsState:
    """Cases by path, and the histories derived from them."""

    def __init__(self, settings: Settings, cases: Cases) -> None:
        self.cases = cases
        self.at = b""  # the case that is worked on: whoever catches what the step raises learns which
        self.histories: dict[bytes, History] = {}
        self.keep_ms = settings.retention.artefact_days * DAY_MS
        self.sweep = Sweep(DAY_MS, SWEEP_CASES_MAX)
        self.directory = settings.directory()
        self.roots = sorted(
            ((root.path.rstrip("/") + "/", root.kind, frozenset({*root.writers, root.owner} - {""})) for root in settings.artefact_roots),
            key=lambda root: (-len(root[0]), root[0]),
        )

    def history(self, case: bytes) -> History:
        """The history of one artefact, built from its case when first asked for."""
        known = self.histories.get(case)
        if known is None:
            path = case_name(case)[1]
            kind = next((kind for root, kind, _ in self.roots if path.startswith(root)), "")
            known = self.histories[case] = History(dataset=kind == "dataset")
            for name, (order, body) in self.cases.of(case).items():
                told = decode_told(body)
                if isinstance(told, Event):
                    known.add(told, order, name, foreign=self.is_foreign(told))
        return known

    def is_foreign(self, event: Event) -> bool:
        """Is it a write by somebody whom the settings do not allow to write there?  The innermost root decides."""
        body = event.body
        if not isinstance(body, FileTouched):
            return False
        allowed = next((writers for root, _, writers in self.roots if body.path.startswith(root)), NOBODY)
        who = actor_of(self.directory, event) if allowed else None
        return who is None or who.id not in allowed


def _is_removal(body: Body) -> bool:
    return isinstance(body, FileTouched) and body.action == REMOVED


def _changes(body: Body) -> bool:
    """May it have changed the bytes?"""
    return isinstance(body, FileTouched) and body.changes


def _path(known: Known) -> str:
    return str(getattr(known.event.body, "path", ""))


def other_ms(event: Event) -> int:
    """How long other bytes of the same path are worth telling: a dataset is read for months."""
    return READ_MS if isinstance(event.body, CheckpointLoaded) else OTHER_MS


def version(event: Event) -> str:
    """The bytes that a load names: of a module the compiled ones, too, since they are what runs."""
    body = event.body
    if isinstance(body, ModuleImported):
        return f"{body.sha256}/{body.cached_sha256}" if body.cached_sha256 else body.sha256
    return body.sha256 if isinstance(body, LOADS) else ""


def build_state(settings: Settings, cases: Cases) -> ArtefactsState:
    """State of one partition."""
    return ArtefactsState(settings, cases)


def step(state: ArtefactsState, batch: Sequence[Fact], now: Watermarks) -> tuple[ArtefactsState, list[Outcome]]:
    """Fold facts and tell each load what came before it."""
    outcomes: list[Outcome] = []
    state.at = b""
    for fact in batch:
        state.at = fact.case
        history = state.history(fact.case)
        if not state.cases.merge(fact):
            continue
        told = decode_told(fact.body)
        if not isinstance(told, Event):
            continue
        replaced = history.known(fact.id)
        later = replaced if replaced is not None and isinstance(replaced.event.body, LOADS) else None
        was = {**_named(_before(history, later)), **history.told.get(fact.id, {})} if later is not None else {}
        if (known := history.add(told, fact.rank, fact.id, foreign=state.is_foreign(told))) is None:
            continue
        for load, before in _uses(history, known):
            history.tell(load, before)
            outcomes.append(Tell("jobs", _use(load, before)))
        if later is not None:
            outcomes.extend(Tell("jobs", use) for use in _replaced(history, later, known, was))
    for case, floor in state.sweep.due(state.cases, now):
        state.at = case
        _seal(state, case, floor)
    return state, outcomes


def _uses(history: History, new: Known) -> Iterator[tuple[Known, Known | None]]:
    """What the news tells: a load what came before it, a save or a write the loads behind it."""
    body = new.event.body
    if isinstance(body, LOADS):
        if not isinstance(body, QUIETLY):
            yield new, None
        for before in _before(history, new):
            yield new, before
        for load in _behind(history, new):  # none, where loads come in order
            yield from _again(history, load, new)
        return
    for load in _behind(history, new):
        if isinstance(load.event.body, QUIETLY):
            yield from _again(history, load, new)
        elif not isinstance(body, CheckpointSaved):
            yield load, new
            if _is_removal(body) or new.foreign:
                yield from ((load, each) for each in _before(history, load) if isinstance(each.event.body, LOADS))
        else:
            yield from _saved(history, load, new)


def _behind(history: History, new: Known) -> Iterable[Known]:
    return _named(load for view in history.views(new) for load in view.behind(new) if load is not new).values()


def _again(history: History, load: Known, new: Known) -> Iterator[tuple[Known, Known]]:
    """All that is worth telling of a load, when the news is a part of it: one part may make another worth telling."""
    before = _before(history, load)
    if any(each is new for each in before):
        quietly = isinstance(load.event.body, QUIETLY)
        yield from ((load, each) for each in before if quietly or each is new or isinstance(each.event.body, LOADS))


def _saved(history: History, load: Known, new: Known) -> Iterator[tuple[Known, Known]]:
    for view in history.views(load):
        saves = view.saves_before(load)
        if not any(each is new for each in saves):
            continue  # nor will it ever be one: more saves make the others no later
        yield load, new
        if new is saves[0] or len(saves) == SAVES_TOLD_MAX:  # what was written was told as far as the next save only
            yield from ((load, write) for write in view.writes_between(_since(view, saves), load.time))


def _replaced(history: History, old: Known, new: Known, was: Mapping[str, Known]) -> Iterator[Fact]:
    """A load that proves to be an earlier one, since some rank's word came late: what the later one was told is void.

    And what came behind the earlier one may have another load before it by now.
    """
    still = _named(_before(history, new))
    yield from (_use(new, before, void=True) for name, before in was.items() if name not in still)
    for load in history.loads_since(old.time, old.time + READ_MS):
        if load is not new and new.name in history.told.get(load.name, {}):
            before = _named(_before(history, load))
            for each in before.values():
                history.tell(load, each)
                yield _use(load, each)
            if new.name not in before:
                yield _use(load, new, void=True)


def _named(known: Iterable[Known]) -> dict[str, Known]:
    return {each.name: each for each in known}


def _since(history: History, saves: Sequence[Known]) -> int:
    """From when on writes may have changed what was saved; of more saves than are told nobody knows the first."""
    return saves[0].time if 0 < len(saves) < SAVES_TOLD_MAX and not history.dataset else 0


def _before(history: History, load: Known) -> list[Known]:
    """What came before a load and is worth telling its job: as known senders tell it, and with what anybody may have sent."""
    return list(_named(each for view in history.views(load) for each in _before_in(view, load)).values())


def _before_in(history: History, load: Known) -> list[Known]:
    """Saves and writes of a checkpoint; else other bytes, and foreign writes."""
    other, same = history.other_before(load, other_ms(load.event)), history.same_before(load)
    again = same if same is not None and other is not None and same < other else None  # they come again
    quietly = isinstance(load.event.body, QUIETLY)
    floor = load.time - (WRITTEN_MS if quietly else READ_MS)
    written = history.foreign_between(floor, load.time)
    reach = history.other_before(load, READ_MS) if other is None and written else other
    if written and reach is not None and written[-1].time < reach.time:
        untouched = history.other_before(load, READ_MS, written[-1])
    else:
        untouched = None
    if not quietly:
        saves = history.saves_before(load)
        writes = history.writes_between(_since(history, saves), load.time)
        gone = next((each for each in writes if _is_removal(each.event.body)), None)
        last = history.last_since(gone.time, load) if gone is not None else None  # who has felt it before
        return [*saves, *writes, *(each for each in (again, reach, untouched, last) if each is not None)]
    first = untouched or other
    foreign = history.foreign_between(max(first.time if first is not None else 0, floor), load.time)
    if not foreign:
        return [other] if other is not None else []
    first = untouched or reach
    unchanged = history.unchanged(first, load) if first is not None else None
    others = [each for each in (reach, untouched, unchanged) if each is not None]
    if other is None and same is not None and same < foreign[-1]:  # what was written since was put back before anybody loaded it
        again = same
    if again is not None:  # who wrote before they came first?
        foreign, others = history.foreign_between(again.time - WRITTEN_MS, load.time), [again, *others]
    change = next((each for each in reversed(foreign) if _changes(each.event.body)), foreign[-1])
    leave = history.leave_since(change, load.time)
    return [*foreign, *([leave] if leave is not None else []), *others]


def _use(load: Known, before: Known | None, *, void: bool = False) -> Fact:
    """The rank grows with both sides; what is folded under one id may be an earlier event by now."""
    event = load.event
    job = getattr(event.body, "job", "") or event.job
    body = VOID if void else encode_told(ArtefactUse(event, before.event if before else None))
    order = load.rank + (before.rank if before else rank(0))
    return Fact(job_case(event.cluster, job), digest("use", load.name, before.name if before else ""), order, body)


def _seal(state: ArtefactsState, case: bytes, floor: int) -> None:
    """Seal a quiet artefact; forget one of which nothing was heard for the retention."""
    forget_at = state.cases.sealed(case)
    if case not in state.cases or forget_at > floor:
        return
    if not forget_at:
        history = state.history(case)
        last = max((known.time for side in (history.saves, history.writes, history.loads) for known in side), default=0)
        forget_at = last + state.keep_ms
        if last + QUIET_MS > floor:
            for name in history.repeated(floor - QUIET_MS):
                history.remove(name)
                state.cases.drop(case, name)
            return
    if forget_at < floor:
        state.cases.drop(case)
    else:
        state.cases.seal(case, forget_at)
    state.histories.pop(case, None)
