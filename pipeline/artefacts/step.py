"""Facts about artefacts in; for each load, its saves and writes before it out, to the job that loaded.

    save(hash a)@10    write by u017 @40    load(hash b)@90    ->  job of the load: (load), (save, load), (write, load)
    import(a) by job 1 @10   write @40   import(b) by job 2 @90    ->  job 2: (import a, import b), (write, import b)

Days may lie between, and the record of the write may come last: each pair is told when both its sides are known, in whatever order
they came.  Which save was the last, and who wrote after it, is for the judge, since a late record can change it.

What is worth telling is said in one place (detect/lineage.py): the judge asks there, too.

An artefact of which nothing was heard for some days is sealed: packed, without a history, at hand again when something is told of it.

What anybody may have sent, at a site that authenticates others, takes no place of what is known: a load by a known sender is told what it
would be told without all that, and what it is told with it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from pipeline.detect.lineage import LOADS, QUIETLY, READ_MS, SAVES_MAX, History, Known
from pipeline.detect.site import site_of
from pipeline.model.events import CheckpointSaved, Event
from pipeline.model.facts import VOID, Fact, case_name, job_case
from pipeline.model.ids import digest, rank
from pipeline.model.instants import DAY_MS
from pipeline.model.outcome import Outcome, Tell
from pipeline.model.told import ArtefactUse, decode_told, encode_told
from pipeline.settings import Settings
from pipeline.stream.cases import Cases
from pipeline.stream.sweep import Sweep
from pipeline.stream.watermark import Watermarks

QUIET_MS = 2 * DAY_MS  # after its last event an artefact is sealed
SWEEP_CASES_MAX = 50  # in one step


class ArtefactsState:
    """Cases by path, and the histories derived from them."""

    def __init__(self, settings: Settings, cases: Cases) -> None:
        self.cases = cases
        self.at = b""  # the case that is worked on: whoever catches what the step raises learns which
        self.histories: dict[bytes, History] = {}
        self.keep_ms = settings.retention.artefact_days * DAY_MS
        self.sweep = Sweep(DAY_MS, SWEEP_CASES_MAX)
        self.site = site_of(settings)

    def history(self, case: bytes) -> History:
        """The history of one artefact, built from its case when first asked for."""
        known = self.histories.get(case)
        if known is None:
            path = case_name(case)[1]
            known = self.histories[case] = self.site.history_of(path)
            for name, (order, body) in self.cases.of(case).items():
                told = decode_told(body)
                if isinstance(told, Event):
                    known.add(told, order, name, foreign=self.site.is_foreign(told, path))
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
        if not isinstance(told, Event):
            continue
        replaced = history.known(fact.id)
        was = _named(_before(history, replaced)) | history.told.get(fact.id, {}) if replaced is not None and _is_load(replaced) else {}
        holders = _holders(history, replaced) if replaced is not None else {}
        if (known := history.add(told, fact.rank, fact.id, foreign=state.site.is_foreign(told, case_name(fact.case)[1]))) is None:
            continue
        for load, before in _uses(history, known):
            history.tell(load, before)
            outcomes.append(Tell("jobs", _use(load, before)))
        outcomes.extend(Tell("jobs", use) for use in _replaced(history, known, was, holders))
    for case in {fact.case for fact in batch}:  # told again as it was: logs that are shipped twice must not unpack all that is over
        if state.cases.sealed(case):
            state.histories.pop(case, None)
    for case, floor in state.sweep.due(state.cases, now):
        state.at = case
        _seal(state, case, floor)
    return state, outcomes


def _is_load(known: Known) -> bool:
    return isinstance(known.event.body, LOADS)


def _quietly(load: Known) -> bool:
    return isinstance(load.event.body, QUIETLY)


def _uses(history: History, new: Known) -> Iterator[tuple[Known, Known | None]]:
    """What the news tells: a load what came before it, and whatever it is the loads after it."""
    if _is_load(new):
        if not _quietly(new):
            yield new, None
        yield from ((new, before) for before in _before(history, new))
    for load in _named(load for view in history.views(new) for load in view.behind(new) if load is not new).values():
        for view in history.views(load):
            yield from ((load, before) for before in _again(view, load, new))


def _again(history: History, load: Known, new: Known) -> Iterable[Known]:
    """The news, when it is worth telling the load, and what may be so because of it: without it, nothing else is.

    Of a module that is little.  A save tells of all writes when nobody knows any more who saved first, or it is the first itself.
    """
    told = history.before(load)
    known = list(told.every())
    if not any(each is new for each in known):
        return ()
    if _quietly(load):
        return known
    if isinstance(new.event.body, CheckpointSaved):
        return [new, *known[len(told.saves) :]] if new is told.saves[0] or len(told.saves) == SAVES_MAX else [new]
    return [new, *(each for each in known if each is not new and _is_load(each))]


def _holders(history: History, old: Known) -> dict[str, Known]:
    """The loads that were told of it."""
    behind = _named(load for view in history.views(old) for load in view.behind(old) if load is not old)
    found = {name: load for name, load in behind.items() if any(each is old for each in _before(history, load))}
    return found | _named(load for load in history.loads_since(old.time, old.time + READ_MS) if old.name in history.told.get(load.name, ()))


def _replaced(history: History, new: Known, was: Mapping[str, Known], holders: Mapping[str, Known]) -> Iterator[Fact]:
    """What proves to be another: of a load an earlier rank's word, which came late, of a write one that says who wrote.

    What the load was told that no longer came before it is void, and so is what later loads were told of the word that was replaced.
    """
    still = _named(_before(history, new)) if was else {}
    yield from (_use(new, before, void=True) for name, before in was.items() if name not in still)
    for load in holders.values():
        before = _named(_before(history, load))
        for each in before.values():
            history.tell(load, each)
            yield _use(load, each)
        if new.name not in before:
            yield _use(load, new, void=True)


def _named(known: Iterable[Known]) -> dict[str, Known]:
    return {each.name: each for each in known}


def _before(history: History, load: Known) -> list[Known]:
    """What came before a load and is worth telling its job: as known senders tell it, and with what anybody may have sent."""
    return list(_named(each for view in history.views(load) for each in view.before(load).every()).values())


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
