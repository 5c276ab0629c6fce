"""Facts about artefacts in; for each load, its saves and writes before it out, to the job that loaded.

    save(hash a)@10    write by u017 @40    load(hash b)@90    ->  job of the load: (load), (save, load), (write, load)

Days may lie between, and the record of the write may come last: each pair is told when both its sides are known, in whatever order
they came.  Which save was the last, and who wrote behind it, is for the judge, since a late record can change it.

An artefact of which nothing was heard for some days is sealed: packed, without a history, at hand again when something is told of it.

Of the saves of one job the last is told: its output can say a million times that it saved, and must not push out what others saved.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Sequence

import msgspec

from pipeline.model.events import CheckpointLoaded, CheckpointSaved, Event, FileTouched
from pipeline.model.facts import Fact, job_case
from pipeline.model.ids import digest, rank
from pipeline.model.outcome import Outcome, Tell
from pipeline.model.told import ArtefactUse, decode_told, encode_told
from pipeline.settings import Settings
from pipeline.stream.cases import Cases
from pipeline.stream.sweep import Sweep
from pipeline.stream.watermark import Watermarks

SAVES_TOLD_MAX = 8  # per load, the last of a job each, the newest: the judge needs the last, and what another job saved before it
WRITES_TOLD_MAX = 200  # per load, the newest
JOBS_FEW = 64
DAY_MS = 86_400_000
QUIET_MS = 2 * DAY_MS  # after its last event an artefact is sealed
SWEEP_CASES_MAX = 50  # in one step


class Known(msgspec.Struct, frozen=True, gc=False):
    """An event of the artefact's history, with the rank of its fact."""

    time: int
    event: Event
    rank: bytes

    def __lt__(self, other: "Known") -> bool:
        return (self.time, self.event.id) < (other.time, other.event.id)


class History:
    """Derived from one case: saves, writes and loads by event time.  Everybody may fill his own: no question costs all of it."""

    def __init__(self) -> None:
        self.saves: list[Known] = []
        self.writes: list[Known] = []
        self.loads: list[Known] = []
        self._known: dict[str, Known] = {}
        self._saves_of: dict[str, list[Known]] = {}  # job -> its saves

    def add(self, event: Event, order: bytes) -> Known | None:
        """Take one event in; None when its kind has no place here."""
        known = Known(event.event_time, event, order)
        kinds = {CheckpointSaved: self.saves, CheckpointLoaded: self.loads, FileTouched: self.writes}
        side = kinds.get(type(event.body))
        if side is None:
            return None
        before = self._known.get(event.id)
        self._known[event.id] = known
        if before is not None:
            del side[bisect_left(side, before)]
        insort(side, known)
        if side is self.saves:
            if before is not None:
                of_job = self._saves_of[before.event.job]
                del of_job[bisect_left(of_job, before)]
            insort(self._saves_of.setdefault(event.job, []), known)
        return known

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


class ArtefactsState:
    """Cases by path, and the histories derived from them."""

    def __init__(self, settings: Settings, cases: Cases) -> None:
        self.cases = cases
        self.at = b""  # the case that is worked on: whoever catches what the step raises learns which
        self.histories: dict[bytes, History] = {}
        self.keep_ms = settings.retention.artefact_days * DAY_MS
        self.sweep = Sweep(DAY_MS, SWEEP_CASES_MAX)

    def history(self, case: bytes) -> History:
        """The history of one artefact, built from its case when first asked for."""
        known = self.histories.get(case)
        if known is None:
            known = self.histories[case] = History()
            for order, body in self.cases.of(case).values():
                told = decode_told(body)
                if isinstance(told, Event):
                    known.add(told, order)
        return known


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
        if isinstance(told, Event) and (known := history.add(told, fact.rank)):
            outcomes.extend(Tell("jobs", use) for use in _uses(history, known))
    for case, floor in state.sweep.due(state.cases, now):
        state.at = case
        _seal(state, case, floor)
    return state, outcomes


def _uses(history: History, new: Known) -> Iterator[Fact]:
    if isinstance(new.event.body, CheckpointLoaded):
        yield _use(new, None)
        saves = history.saves_before(new)
        for before in (*saves, *history.writes_between(saves[0].time if saves else 0, new.time)):
            yield _use(new, before)
        return
    for load in history.loads:
        if load.time < new.time:
            continue
        if not isinstance(new.event.body, CheckpointSaved):
            yield _use(load, new)
            continue
        saves = history.saves_before(load)
        if new not in saves:
            continue  # nor will it ever be: more saves make the others no later
        yield _use(load, new)
        if new is saves[0] and len(saves) > 1:  # what was written behind it was told as far as the second only
            for write in history.writes_between(new.time, saves[1].time):
                yield _use(load, write)


def _use(load: Known, before: Known | None) -> Fact:
    body = load.event.body
    job = body.job if isinstance(body, CheckpointLoaded) else load.event.job
    told = encode_told(ArtefactUse(load.event, before.event if before else None))
    name = digest("use", load.event.id, before.event.id if before else "")
    return Fact(job_case(load.event.cluster, job), name, before.rank if before else rank(0), told)


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
            return
    if forget_at < floor:
        state.cases.drop(case)
    else:
        state.cases.seal(case, forget_at)
    state.histories.pop(case, None)
