"""Facts about hosts in; touches of jobs, node facts, coverage and changed files out.

A symmetric interval join: which attempt held this host when something happened to its processes.  Allocations often become known only
when a job ends, so events wait for allocations as allocations wait for events:

    access        kill@97 ........... kept
    scheduler                          [50 --------- 120] record@121   ->  touch(kill@97, attempt)

A touch is a derived fact: its id names the signal and the attempt, its rank what it rests on, so it may be sent again whenever either
side says more, and is voided when a later word of the scheduler puts the attempt elsewhere.  Whether the touch is harmless is not
judged here.
"""

from collections.abc import Iterator, Sequence

from pipeline.hosts.index import OPEN_END, Allocation, HostIndex, Timed, owner_of_target, target_of
from pipeline.model.events import Event, FileTouched, ProcessRun, SignalSent
from pipeline.model.facts import VOID, Fact, artefact_case, case_name, job_case
from pipeline.model.ids import digest, rank
from pipeline.model.outcome import Outcome, Tell
from pipeline.model.source import PER_HOST
from pipeline.model.told import Attempt, Heard, HostCoverage, NodeTouch, Touch, decode_told, encode_told
from pipeline.settings import Settings
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import COVERAGE, MARKS, Watermarks, bucket_of

CLOCK_MS = 5_000  # schedulers state whole seconds, and processes outlive their step by a moment
SCANCEL_JOBS_MAX = 1_000
DAY_MS = 86_400_000


class HostsState:
    """Cases by host, and the index derived from them."""

    def __init__(self, settings: Settings, cases: Cases) -> None:
        self.cases = cases
        self.indexes: dict[bytes, HostIndex] = {}
        self.roots = tuple(root.path.rstrip("/") + "/" for root in settings.artefact_roots)
        self.bucket_ms = settings.time.coverage_bucket_seconds * 1000
        # An act may lie a kill window before its effect, and what explains it a hardware window before the act.
        self.kill_ms = settings.detect.kill_window_seconds * 1000
        self.hardware_ms = settings.detect.hardware_window_seconds * 1000
        self.keep_ms = settings.retention.host_days * DAY_MS
        self.swept: dict[str, int] = {}

    def index(self, case: bytes) -> HostIndex:
        """The index of a host, built from its case when first asked for."""
        known = self.indexes.get(case)
        if known is None:
            known = self.indexes[case] = HostIndex(*case_name(case))
            for fact_id, (_, body) in self.cases.of(case).items():
                change = known.add(fact_id, decode_told(body))
                if change.audit:
                    known.assembled(change.audit)
            for held in known.allocations.values():  # what this state supports was told before it was saved
                for _ in (*_touches_by(known, held), *_coverage_of(self, known, held)):
                    pass
        return known


def build_state(settings: Settings, cases: Cases) -> HostsState:
    """State of one partition."""
    return HostsState(settings, cases)


def step(state: HostsState, batch: Sequence[Fact], now: Watermarks) -> tuple[HostsState, list[Outcome]]:
    """Fold facts and join what they made new.  The same facts in any order leave the same last word of every derived fact."""
    changed: dict[bytes, list[tuple[str, bytes]]] = {}
    for fact in batch:
        state.index(fact.case)
        if state.cases.merge(fact):
            changed.setdefault(fact.case, []).append((fact.id, fact.body))
    outcomes: list[Outcome] = []
    for case, facts in changed.items():
        outcomes.extend(Tell(stage, fact) for stage, fact in _join(state, case, facts))
    _sweep(state, now)
    return state, outcomes


def _join(state: HostsState, case: bytes, facts: Sequence[tuple[str, bytes]]) -> Iterator[tuple[str, Fact]]:
    index = state.indexes[case]
    audit: dict[tuple[int, int], None] = {}
    attempts: dict[Attempt, None] = {}
    again: dict[str, Timed] = {}
    heard: list[Heard] = []
    for fact_id, body in facts:
        change = index.add(fact_id, decode_told(body))
        if change.needless:
            state.cases.drop(case, change.needless)
        if change.audit:
            audit[change.audit] = None
        if change.attempt:
            attempts[change.attempt] = None
        if change.node_event:
            again[change.node_event.id] = change.node_event
        if change.pid is not None:
            again.update((timed.id, timed) for timed in index.naming(change.pid))
        if change.attempt:  # whose process it was depends on when its job held the host
            again.update((timed.id, timed) for timed in index.naming_job(change.attempt.job))
        if change.heard:
            heard.append(change.heard)
    for key in audit:
        made, gone = index.assembled(key)
        for timed in gone:
            again.pop(timed.id, None)
            yield from _taken_back(index, timed)
        for timed in made:
            again.pop(timed.id, None)
            yield from _told_of(state, index, timed)
    for timed in again.values():
        yield from _touches_of(index, timed)
    for attempt in attempts:
        yield from _touches_by(index, index.allocations[attempt])
    near = {held.attempt: held for held in _near(state, index, heard)}
    near.update((attempt, index.allocations[attempt]) for attempt in attempts)
    for time, _ in audit:
        near.update((held.attempt, held) for held in index.allocations.values() if any(_sent(index, held, time, time)))
    for held in near.values():
        yield from _coverage_of(state, index, held)


def _told_of(state: HostsState, index: HostIndex, timed: Timed) -> Iterator[tuple[str, Fact]]:
    """What an assembled audit event tells: touches of jobs, a changed artefact, a cancel command."""
    body = timed.event.body
    if isinstance(body, SignalSent):
        yield from _touches_of(index, timed)
    elif isinstance(body, FileTouched):
        for path in {body.path, body.old_path} - {""}:
            if path.startswith(state.roots):
                yield "artefacts", Fact(artefact_case(index.cluster, path), timed.id, rank(timed.weight), encode_told(timed.event))
    elif isinstance(body, ProcessRun):
        for job in _cancelled_by(body):
            yield "jobs", Fact(job_case(index.cluster, job), timed.id, rank(timed.weight), encode_told(timed.event))


def _cancelled_by(run: ProcessRun) -> tuple[str, ...]:
    """Job ids that a `scancel` command names."""
    if not run.arguments or run.arguments[0].rsplit("/", maxsplit=1)[-1] != "scancel":
        return ()
    ids = (argument.split(".")[0].split("_")[0] for argument in run.arguments[1:SCANCEL_JOBS_MAX])
    return tuple(dict.fromkeys(job for job in ids if job.isascii() and job.isdigit() and len(job) <= 20))


# --- the join -------------------------------------------------------------------------------------------------------------------


def _touches_of(index: HostIndex, timed: Timed) -> Iterator[tuple[str, Fact]]:
    """One event against the allocations that hold it, and those for which it was told before."""
    for held in list(index.allocations.values()):
        if _holds(held, timed) or timed.id in index.told.get(held.attempt, ()):
            yield from _touch(index, held, timed)


def _touches_by(index: HostIndex, held: Allocation) -> Iterator[tuple[str, Fact]]:
    """One allocation against the events that it holds, and those that were told of it before."""
    concerned = dict(index.told.get(held.attempt, {}))
    for events in (index.signals, index.node_events):
        concerned.update((timed.id, timed) for timed in index.between(events, held.start - CLOCK_MS, held.end + CLOCK_MS))
    for timed in concerned.values():
        yield from _touch(index, held, timed)


def _holds(held: Allocation, timed: Timed) -> bool:
    return held.start - CLOCK_MS <= timed.time <= held.end + CLOCK_MS


def _touch(index: HostIndex, held: Allocation, timed: Timed, *, said: bool = True) -> Iterator[tuple[str, Fact]]:
    pid = target_of(timed.event)
    owner = owner_of_target(timed.event)
    owner_job, processes, allocations = index.job_of(pid, timed.time, CLOCK_MS, owner) if pid is not None else ("", 0, 0)
    matched = _matched(held, timed.event, owner_job) if said and _holds(held, timed) else ""
    told = index.told.setdefault(held.attempt, {})
    if matched:
        told[timed.id] = timed
    elif told.pop(timed.id, None) is None:
        return
    name = digest("touch", timed.id, held.attempt.name)
    body = encode_told(_told(held, timed.event, matched)) if matched else VOID
    order = rank(held.weight, timed.weight, processes, allocations)
    yield "jobs", Fact(job_case(index.cluster, held.attempt.job), name, order, body)


def _taken_back(index: HostIndex, timed: Timed) -> Iterator[tuple[str, Fact]]:
    """A signal that its audit event, more complete by now, does not speak of any more."""
    for held in index.allocations.values():
        if timed.id in index.told.get(held.attempt, ()):
            yield from _touch(index, held, timed, said=False)


def _matched(held: Allocation, event: Event, owner_job: str) -> str:
    """How sure it is that the event concerns this attempt; empty: it does not."""
    if owner_job:
        return "pid" if owner_job == held.attempt.job else ""
    body = event.body
    if not isinstance(body, SignalSent):
        return "host"
    if body.target_uid is None:
        return "host"
    return "owner" if body.target_uid == held.owner_uid else ""


def _told(held: Allocation, event: Event, matched: str) -> Touch | NodeTouch:
    if isinstance(event.body, SignalSent):
        return Touch(held.attempt, event, matched, matched == "pid")
    return NodeTouch(held.attempt, event, matched == "pid")


# --- coverage -------------------------------------------------------------------------------------------------------------------


def _near(state: HostsState, index: HostIndex, heard: Sequence[Heard]) -> Iterator[Allocation]:
    """Allocations about whose end, or about a signal on whose host, one of these buckets tells something."""
    if not heard:
        return
    low, high = min(told.bucket for told in heard) - 2 * state.bucket_ms, max(told.bucket for told in heard) + 2 * state.bucket_ms
    for held in index.allocations.values():
        about_end = held.end - state.kill_ms - state.hardware_ms <= high and low <= held.end
        if about_end or any(_sent(index, held, low - state.kill_ms, high + state.hardware_ms)):
            yield held


def _sent(index: HostIndex, held: Allocation, start: int, end: int) -> Iterator[int]:
    """Times in [start, end] at which somebody else than owner and system sent a signal on the host while the attempt held it."""
    for timed in index.between(index.signals, max(start, held.start - CLOCK_MS), min(end, held.end + CLOCK_MS)):
        body = timed.event.body
        if isinstance(body, SignalSent):
            who = body.uid if body.auid is None else body.auid
            if who not in (None, held.owner_uid) and (body.auid is not None or who != 0):
                yield timed.time


def _spans(state: HostsState, index: HostIndex, held: Allocation) -> Iterator[tuple[int, int]]:
    """What a judge may ask about: the time before the end, and the time around a signal, which a job may survive by hours."""
    if held.end < OPEN_END:
        yield held.end - state.kill_ms - state.hardware_ms, held.end
    start, width = held.start - CLOCK_MS, state.bucket_ms
    while (time := next(_sent(index, held, start, held.end + CLOCK_MS), None)) is not None:
        first, last = time - state.hardware_ms, time + state.kill_ms
        yield first, last
        # Signals up to there ask for the same buckets: a million of them must not be looked at again with each further one.
        start = min(bucket_of(first, width) + width + state.hardware_ms, bucket_of(last, width) + width - state.kill_ms)


def _coverage_of(state: HostsState, index: HostIndex, held: Allocation) -> Iterator[tuple[str, Fact]]:
    """For each source, the buckets in which it was heard on this host, as far as a judge may ask; one more on either side."""
    width = state.bucket_ms
    wanted: set[int] = set()
    for start, end in _spans(state, index, held):
        wanted.update(range(bucket_of(max(start, width), width) - width, bucket_of(end, width) + width + 1, width))
    for source in sorted(PER_HOST):
        buckets = tuple(sorted(wanted & index.heard.get(source, set())))
        name = f"coverage/{index.host}/{source}/{held.attempt.name}"
        if not buckets and name not in index.covered:
            continue
        index.covered.add(name)  # void when the end proves to be where nothing was heard
        body = encode_told(HostCoverage(held.attempt, index.host, source, buckets)) if buckets else VOID
        yield "jobs", Fact(job_case(index.cluster, held.attempt.job), name, rank(held.weight, len(buckets)), body)


# --- retention ------------------------------------------------------------------------------------------------------------------


def _sweep(state: HostsState, now: Watermarks) -> None:
    """Once a day of event time, forget what is older than the retention."""
    for cluster in now.clusters():
        oldest = now.floor(cluster) - state.keep_ms
        if oldest < state.swept.get(cluster, 0) + DAY_MS:
            continue
        state.swept[cluster] = oldest
        for case in [case for case in state.cases if case not in (MARKS, COVERAGE) and case_name(case)[0] == cluster]:
            for fact_id in list(state.index(case).horizon(oldest)):
                state.cases.drop(case, fact_id)
