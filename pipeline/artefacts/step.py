"""Facts about artefacts in; for each load, its saves and writes before it out, to the job that loaded.

    save(hash a)@10    write by u017 @40    load(hash b)@90    ->  job of the load: (load), (save, load), (write, load)
    import(a) by job 1 @10   write @40   import(b) by job 2 @90    ->  job 2: (import a, import b), (write, import b)

Days may lie between, and the record of the write may come last: each pair is told when both its sides are known, in whatever order
they came.  Which save was the last, and who wrote behind it, is for the judge, since a late record can change it.

Nobody saves a module or a hook: what a job loaded is compared with the last other bytes that anybody loaded from there, and told only
where there were any within a week, or where somebody wrote there who may not, behind them.  A job loads thousands of modules, and of most
there is nothing to tell.

An artefact of which nothing was heard for some days is sealed: packed, without a history, at hand again when something is told of it.

Of the saves of one job the last is told: its output can say a million times that it saved, and must not push out what others saved.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Sequence

import msgspec

from pipeline.model.actor import actor_of
from pipeline.model.events import Body, CheckpointLoaded, CheckpointSaved, Event, FileTouched, HookFound, ModuleImported
from pipeline.model.facts import VOID, Fact, job_case
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
WRITES_TOLD_MAX = 200  # per load, the newest
FOREIGN_TOLD_MAX = 8  # per import: a job has thousands
JOBS_FEW = 64
LATEST = 2**62
QUIET_MS = 2 * DAY_MS  # after its last event an artefact is sealed
OTHER_MS = 7 * DAY_MS  # how long other bytes of the same path are worth telling: of modules and hooks,
READ_MS = 90 * DAY_MS  # and of checkpoints and datasets
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

    def __lt__(self, other: "Known") -> bool:
        return (self.time, self.name) < (other.time, other.name)


class History:
    """Derived from one case: saves, writes and loads by event time.  Everybody may fill his own: no question costs all of it."""

    def __init__(self) -> None:
        self.saves: list[Known] = []
        self.writes: list[Known] = []
        self.foreign: list[Known] = []  # writes by who may not, as the settings say
        self.loads: list[Known] = []
        self._known: dict[str, Known] = {}
        self._saves_of: dict[str, list[Known]] = {}  # job -> its saves
        self._loads_of: dict[str, list[Known]] = {}  # bytes -> loads of them

    def known(self, name: str) -> Known | None:
        """What is known under the id of a fact."""
        return self._known.get(name)

    def add(self, event: Event, order: bytes, name: str, *, foreign: bool = False) -> Known | None:
        """Take one event in; None when its kind has no place here."""
        known = Known(event.event_time, event, order, name)
        sides = self._sides(event, foreign)
        if not sides:
            return None
        self.remove(name)
        self._known[name] = known
        for side in sides:
            insort(side, known)
        return known

    def remove(self, name: str) -> None:
        """Forget what a fact said."""
        known = self._known.pop(name, None)
        if known is None:
            return
        for side in (*self._sides(known.event, foreign=False), self.foreign):
            if (at := bisect_left(side, known)) < len(side) and side[at] is known:
                del side[at]

    def _sides(self, event: Event, foreign: bool) -> tuple[list[Known], ...]:
        body = event.body
        if isinstance(body, LOADS):
            return self.loads, self._loads_of.setdefault(version(event), [])
        if isinstance(body, CheckpointSaved):
            return self.saves, self._saves_of.setdefault(event.job, [])
        if isinstance(body, FileTouched):
            return (self.writes, self.foreign) if foreign else (self.writes,)
        return ()

    def saves_before(self, load: Known) -> list[Known]:
        """The last save of each job before the load, of these the newest, by time."""
        last: dict[str, Known] = {}
        if len(self._saves_of) <= JOBS_FEW:
            for job, saves in self._saves_of.items():
                if at := bisect_right(saves, load.time, key=lambda known: known.time):
                    last[job] = saves[at - 1]
        else:
            at = bisect_right(self.saves, load.time, key=lambda known: known.time)
            while at and len(last) < SAVES_TOLD_MAX:
                at -= 1
                last.setdefault(self.saves[at].event.job, self.saves[at])
        return sorted(last.values())[-SAVES_TOLD_MAX:]

    def writes_between(self, start: int, end: int) -> list[Known]:
        """The newest writes with start <= time <= end."""
        low = bisect_left(self.writes, start, key=lambda known: known.time)
        high = bisect_right(self.writes, end, key=lambda known: known.time)
        return self.writes[max(low, high - WRITES_TOLD_MAX) : high]

    def foreign_between(self, start: int, end: int) -> list[Known]:
        """The newest writes with start <= time <= end by who may not write there."""
        low = bisect_left(self.foreign, start, key=lambda known: known.time)
        high = bisect_right(self.foreign, end, key=lambda known: known.time)
        return self.foreign[max(low, high - FOREIGN_TOLD_MAX) : high]

    def repeated(self, before: int) -> list[str]:
        """Facts of imports before that time that repeat what was imported before and since: each path of a site has one a job."""
        gone = []
        for loads in self._loads_of.values():
            end = bisect_left(loads, before, key=lambda known: known.time)
            gone += [known.name for known in loads[1 : min(end, len(loads) - 1)] if isinstance(known.event.body, QUIETLY)]
        return gone

    def other_before(self, load: Known) -> Known | None:
        """The last load of other bytes before this one, of the last days.  Bytes that differ as compiled only come after all others."""
        mine, body, found = version(load.event), load.event.body, None
        path, sha256, since = _path(load), getattr(body, "sha256", ""), load.time - other_ms(load.event)
        for other, loads in self._loads_of.items():
            if other != mine and (at := bisect_left(loads, load)):
                last = loads[at - 1]
                order = (getattr(last.event.body, "sha256", "") != sha256, last.time, last.name)
                if last.time >= since and _path(last) == path and (found is None or found[0] < order):
                    found = order, last
        return found[1] if found is not None else None

    def same_before(self, load: Known) -> Known | None:
        """The first load of the same bytes, when it came before this one."""
        first = self._loads_of[version(load.event)][0]
        return first if first < load else None

    def last_since(self, time: int, load: Known) -> Known | None:
        """The last load behind that time, before this one: in a run's folder of any of its files."""
        at = bisect_left(self.loads, load)
        last = self.loads[at - 1] if at else None
        return last if last is not None and last.time >= time else None

    def leave_since(self, foreign: Known, end: int) -> Known | None:
        """The last write, when it is behind the foreign one and by somebody who may write there."""
        at = bisect_right(self.writes, end, key=lambda known: known.time)
        last = self.writes[at - 1] if at else None
        return last if last is not None and foreign < last else None

    def loads_since(self, time: int, end: int) -> list[Known]:
        """Loads with time <= their time <= end."""
        low = bisect_left(self.loads, time, key=lambda known: known.time)
        return self.loads[low : bisect_right(self.loads, end, key=lambda known: known.time)]


class ArtefactsState:
    """Cases by path, and the histories derived from them."""

    def __init__(self, settings: Settings, cases: Cases) -> None:
        self.cases = cases
        self.at = b""  # the case that is worked on: whoever catches what the step raises learns which
        self.histories: dict[bytes, History] = {}
        self.keep_ms = settings.retention.artefact_days * DAY_MS
        self.sweep = Sweep(DAY_MS, SWEEP_CASES_MAX)
        self.directory = settings.directory()
        self.writers = sorted(
            ((root.path.rstrip("/") + "/", frozenset({*root.writers, root.owner} - {""})) for root in settings.artefact_roots),
            key=lambda pair: (-len(pair[0]), pair[0]),
        )

    def history(self, case: bytes) -> History:
        """The history of one artefact, built from its case when first asked for."""
        known = self.histories.get(case)
        if known is None:
            known = self.histories[case] = History()
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
        allowed = next((writers for root, writers in self.writers if body.path.startswith(root)), NOBODY)
        who = actor_of(self.directory, event) if allowed else None
        return who is None or who.id not in allowed


def _is_removal(body: Body) -> bool:
    return isinstance(body, FileTouched) and body.action == REMOVED


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
        was = _before(history, replaced) if replaced is not None and isinstance(replaced.event.body, QUIETLY) else []
        if known := history.add(told, fact.rank, fact.id, foreign=state.is_foreign(told)):
            outcomes.extend(Tell("jobs", use) for use in _uses(history, known))
            still = {before.name for before in _before(history, known)} if was else set()
            outcomes.extend(Tell("jobs", _use(known, before, void=True)) for before in was if before.name not in still)
    for case, floor in state.sweep.due(state.cases, now):
        state.at = case
        _seal(state, case, floor)
    return state, outcomes


def _uses(history: History, new: Known) -> Iterator[Fact]:
    """What the news tells: a load what came before it, a save or a write the loads behind it."""
    body = new.event.body
    if isinstance(body, LOADS):
        if not isinstance(body, QUIETLY):
            yield _use(new, None)
        for before in _before(history, new):
            yield _use(new, before)
        for load in history.loads_since(new.time, new.time + max(WRITTEN_MS, other_ms(new.event))):  # none, where loads come in order
            if load is not new:
                yield from _again(history, load, new)
        return
    for load in history.loads_since(new.time, LATEST):
        if isinstance(load.event.body, QUIETLY):
            yield from _again(history, load, new)
        elif not isinstance(body, CheckpointSaved):
            yield _use(load, new)
            if _is_removal(body):
                yield from (_use(load, each) for each in _before(history, load) if isinstance(each.event.body, LOADS))
        else:
            yield from _saved(history, load, new)


def _again(history: History, load: Known, new: Known) -> Iterator[Fact]:
    """All that is worth telling of a load, when the news is a part of it: one part may make another worth telling."""
    before = _before(history, load)
    if any(each is new for each in before):
        quietly = isinstance(load.event.body, QUIETLY)
        yield from (_use(load, each) for each in before if quietly or each is new or isinstance(each.event.body, LOADS))


def _saved(history: History, load: Known, new: Known) -> Iterator[Fact]:
    saves = history.saves_before(load)
    if new not in saves:
        return  # nor will it ever be: more saves make the others no later
    yield _use(load, new)
    if new is saves[0] and len(saves) > 1:  # what was written behind it was told as far as the second only
        for write in history.writes_between(new.time, saves[1].time):
            yield _use(load, write)


def _before(history: History, load: Known) -> list[Known]:
    """What came before a load and is worth telling its job: saves and writes of a checkpoint; else other bytes, and foreign writes."""
    other, same = history.other_before(load), history.same_before(load)
    others = [other] if other is not None else []
    again = same if same is not None and other is not None and same < other else None  # they come again
    if not isinstance(load.event.body, QUIETLY):
        saves = history.saves_before(load)
        writes = history.writes_between(saves[0].time if saves else 0, load.time)
        gone = next((each for each in writes if _is_removal(each.event.body)), None)
        last = history.last_since(gone.time, load) if gone is not None else None  # who has felt it before
        return [*saves, *writes, *dict.fromkeys(each for each in (again, other, last) if each is not None)]
    since = max(other.time if other is not None else 0, load.time - WRITTEN_MS)
    foreign = history.foreign_between(since, load.time)
    if not foreign:
        return others
    if other is None and same is not None and same < foreign[-1]:  # what was written since was put back before anybody loaded it
        again = same
    if again is not None:  # who wrote before they came first?
        foreign, others = history.foreign_between(again.time - WRITTEN_MS, load.time), [again, *others]
    leave = history.leave_since(foreign[-1], load.time)
    return [*foreign, *([leave] if leave is not None else []), *others]


def _use(load: Known, before: Known | None, *, void: bool = False) -> Fact:
    """The rank grows with both sides; what is folded under one id may be an earlier event by now."""
    event = load.event
    job = getattr(event.body, "job", "") or event.job
    body = VOID if void else encode_told(ArtefactUse(event, before.event if before else None))
    order = load.rank + (before.rank if before else rank(0)) + (b"\xff" if void else b"")
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
