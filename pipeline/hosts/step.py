"""Facts about hosts in; touches of jobs, coverage, changed files, what people did there, and findings about the host out.

A symmetric interval join: which attempt held this host when something happened to its processes.  Allocations often become known only
when a job ends, so events wait for allocations as allocations wait for events:

    access        kill@97 ........... kept
    scheduler                          [50 --------- 120] record@121   ->  touch(kill@97, attempt)

A touch is a derived fact: its id names the signal and the attempt, its rank what it rests on, so it may be sent again whenever either side
says more, and is voided when a later word of the scheduler puts the attempt elsewhere.  Where only senders that nobody authenticated put
it here, or say whose process it was, the touch is as unproven as if they had sent the event.  The stage of jobs judges whether it is
harmless; only what was done to the host itself is judged here (judging.py).

Nearly all audit events are starts of programs by people who log in, and concern nobody: they are forgotten as soon as they are whole.
Of signals so many are kept as room.py says; coverage that was told around one that is left out stays, since it is true.

What happened more than OPEN_MS before the watermark is packed and not at hand.  A fact that looks back further opens the host's packs as
far as it needs, until the next sweep: one week for the end of a job that ran a week, however much more the host remembers.
"""

from collections.abc import Container, Iterator, Mapping, Sequence

import msgspec

from pipeline.hosts.index import (
    CLAIM_MS,
    HEARD_DAY,
    OPEN_END,
    Changes,
    HostIndex,
    audit_key,
    begins,
    owner_of_target,
    sender,
    target_of,
)
from pipeline.hosts.judging import Judging
from pipeline.hosts.room import Room
from pipeline.hosts.spans import Allocation, Timed
from pipeline.model import watched
from pipeline.model.conduct import Conduct, Folder
from pipeline.model.events import AuditRecord, Event, FileTouched, ProcessEnded, ProcessRun, SignalSent
from pipeline.model.facts import VOID, Fact, artefact_case, case_name, host_case, job_case
from pipeline.model.ids import digest, rank
from pipeline.model.instants import DAY_MS
from pipeline.model.outcome import Outcome, Tell
from pipeline.model.runs import in_folder, removal_of
from pipeline.model.source import PER_HOST, Source
from pipeline.model.told import Attempt, Heard, HostCoverage, NodeTouch, Told, Touch, buckets_in, decode_told, encode_told
from pipeline.settings import Settings
from pipeline.stream.cases import ALIKE, Cases
from pipeline.stream.sweep import Sweep
from pipeline.stream.watermark import Watermarks, bucket_of

CLOCK_MS = 5_000  # schedulers state whole seconds, and processes outlive their step by a moment
NO_JOBS = ("", "")
OPEN_MS = 2 * DAY_MS  # of a host that are at hand
SWEEP_MS = 2 * DAY_MS  # of event time between two looks at what is older
SWEEP_CASES_MAX = 5  # in one step
ANEW_CASES_MAX = 5  # likewise: their packs are opened
IDLE_MAX = 5_000  # the parts of one come within seconds, if from several partitions


class HostsState:
    """Cases by host, and the index derived from them."""

    def __init__(self, settings: Settings, cases: Cases) -> None:
        self.cases = cases
        self.at = b""  # the case that is worked on: whoever catches what the step raises learns which
        self.indexes: dict[bytes, HostIndex] = {}
        self.roots = tuple(root.path.rstrip("/") + "/" for root in settings.artefact_roots)
        self.bucket_ms = settings.time.coverage_bucket_seconds * 1000
        # An act may lie a kill window before its effect, and what explains it a hardware window before the act.
        self.kill_ms = settings.detect.kill_window_seconds * 1000
        self.hardware_ms = settings.detect.hardware_window_seconds * 1000
        self.keep_ms = settings.retention.host_days * DAY_MS
        self.judging = Judging(settings, cases)
        self.directory = directory = settings.directory()
        self.signals_max = settings.retention.host_signals_max
        self.conduct = Conduct(directory, [Folder(root.path.rstrip("/") + "/", root.kind) for root in settings.artefact_roots])
        self.sweep = Sweep(SWEEP_MS, SWEEP_CASES_MAX)
        # So long before what is new lies what it is looked at with: claims, and the coverage of whole days.
        self.looks_back_ms = max(CLAIM_MS, DAY_MS) + 2 * (self.kill_ms + self.hardware_ms + 2 * self.bucket_ms) + CLOCK_MS
        self.idle: set[tuple[bytes, int, int]] = set()  # audit events that were forgotten: a part that comes later need not be kept

    def index(self, case: bytes, at: int = OPEN_END) -> HostIndex:
        """The index of a host, built from its case when first asked for; reaching further back when the time lies before what is open."""
        known = self.indexes.get(case)
        if known is None or (known.since and at - self.looks_back_ms < known.since):
            back = min(at - self.looks_back_ms, OPEN_END if known is None else known.since)
            since = max((pack.until for pack in self.cases.packs(case) if pack.until <= back), default=0)
            known = self.indexes[case] = self._build(case, since, self.cases.of(case, since))
        return known

    def _build(self, case: bytes, since: int, facts: Mapping[str, tuple[bytes, bytes]]) -> HostIndex:
        cluster, host = case_name(case)
        index = HostIndex(cluster, host, self.bucket_ms, Room(self.signals_max, self.directory.of(cluster).uids), since)
        new, until = Changes(), self.cases.until(case, facts)
        for fact_id, (_, body) in facts.items():
            index.add(fact_id, decode_told(body), new, packed=until.get(fact_id, 0))
        for key in new.audit:
            index.assembled(key)
        for held in index.allocations.values():  # what this state supports was told before it was saved
            for _ in (*_touches_by(index, held), *_coverage_of(self, index, held)):
                pass
        return index


def build_state(settings: Settings, cases: Cases) -> HostsState:
    """State of one partition."""
    return HostsState(settings, cases)


def step(state: HostsState, batch: Sequence[Fact], now: Watermarks) -> tuple[HostsState, list[Outcome]]:
    """Fold facts and join what they made new.  The same facts in any order leave the same last word of every derived fact."""
    by_case: dict[bytes, list[Fact]] = {}
    for fact in batch:
        by_case.setdefault(fact.case, []).append(fact)
    outcomes: list[Outcome] = []
    judged: dict[bytes, None] = {}
    state.at = b""
    for case, facts in by_case.items():
        state.at = case
        index, new = _fold(state, case, facts)
        outcomes += _join(state, index, new)
        outcomes += state.judging.displaced(index, new)
        outcomes += state.judging.kept_waiting(index, new)
        outcomes += state.judging.worked(index, facts, new)
        if state.judging.concerns(case, index, new):
            judged[case] = None
    judged.update(dict.fromkeys(state.judging.agenda.take_due(now)))
    anew = state.judging.take_anew(ANEW_CASES_MAX)
    judged.update(dict.fromkeys(anew))
    for case in judged:
        state.at = case
        if case in state.cases:
            index = state.index(case)
            if case in anew or state.judging.has_acts(index):  # a fault of a week ago may explain one, or another act of the day
                index = state.index(case, 0)
            outcomes += state.judging.judge(case, index, now)
    for case, floor in state.sweep.due(state.cases, now):
        state.at = case
        _pack(state, case, floor)
    return state, outcomes


def _fold(state: HostsState, case: bytes, facts: Sequence[Fact]) -> tuple[HostIndex, Changes]:
    """Merge the facts of one host, and take into its index what is news."""
    told = [decode_told(fact.body) for fact in facts]
    index = state.indexes.get(case)
    if index is None or index.since:  # before any is merged: what is built is taken as told before
        index = state.index(case, min(map(begins, told)))
    merge, new = state.cases.merge, Changes()
    days: dict[tuple[Source, int], None] = {}
    for fact, each in zip(facts, told, strict=True):
        if isinstance(each, Heard) and not fact.id.startswith(HEARD_DAY):
            for bucket in buckets_in(each) if each.bits else (each.bucket,):
                if index.hear(each.source, bucket):
                    new.heard.append(bucket)
                    days[each.source, bucket - bucket % DAY_MS] = None
        elif not _is_of_idle(state, case, each) and merge(fact):
            index.add(fact.id, each, new)
    for source, day in days:  # kept by the day: a bucket as a fact of its own would be the greatest part of the state of a site
        fact_id, count, heard = index.heard_on(source, day)
        merge(Fact(case, fact_id, rank(count), encode_told(heard)))
    for needless in new.needless:
        state.cases.drop(case, needless)
    if packs := state.cases.packs(case):
        until = max(pack.until for pack in packs)
        late: dict[int, list[str]] = {}
        for attempt in new.attempts:
            held = index.allocations[attempt]
            _bring_back(state, case, index.outlasted(held))
            for name, end in _past(index, held, until, state.cases.open(case)):
                late.setdefault(end, []).append(name)
        for end, words in late.items():
            state.cases.pack(case, words, end)
    return index, new


def _is_of_idle(state: HostsState, case: bytes, told: Told) -> bool:
    """Is it a part that says nothing more of the start of a program, which was forgotten when it was whole without this one?"""
    if not isinstance(told, Event) or not isinstance(body := told.body, AuditRecord):
        return False
    return body.record_type in ("CWD", "PATH") and (case, *audit_key(told, body)) in state.idle


def _bring_back(state: HostsState, case: bytes, names: Sequence[str]) -> None:
    """Have packed facts at hand again: told once more, at a rank that is higher by a byte, they stand beside their packs."""
    known = state.cases.of(case) if names else {}
    for name in set(names).difference(state.cases.open(case)):
        order, body = known[name]
        state.cases.merge(Fact(case, name, order + b"\0", body))


def _past(index: HostIndex, held: Allocation, until: int, is_open: Container[str]) -> list[tuple[str, int]]:
    """Of a late word on an attempt that ended before this: all words on it, which are packed together, and until when.

    A start that is at hand without the end, since that is packed, would go on for ever after a restart.  While none is packed, and
    something at hand rests on them, they stay so.
    """
    if held.end >= until:
        return []
    words = index.words_on(held.attempt)
    if index.rests_on(held.attempt.job) and all(name in is_open for name in words):
        return []
    if (known := index.past.get(held.attempt, 0)) > held.end:  # none is opened without the others
        until = known
    index.past[held.attempt] = until
    return [(name, until) for name in words]


def _join(state: HostsState, index: HostIndex, new: Changes) -> list[Outcome]:
    told: list[Outcome] = _left_out(state, index, new) if new.left_out else []
    case = host_case(index.cluster, index.host)
    again = {timed.id: timed for timed in (*new.node_events, *new.signals)}
    for pid, since in new.pids.items():
        again.update((timed.id, timed) for timed in index.naming(pid, since))
    for attempt in new.attempts:  # whose process it was depends on when its job held the host
        again.update((timed.id, timed) for timed in index.naming_job(attempt.job, attempt.start - CLOCK_MS))
    near: dict[Attempt, Allocation] = {}
    for timed in new.signals:
        near.update(_about(index, timed))
    for key in new.audit:
        made, gone = index.assembled(key)
        for timed in gone:
            again.pop(timed.id, None)
            told += _taken_back(index, timed)
        for timed in made:
            if isinstance(timed.event.body, SignalSent):
                again[timed.id] = timed
                near.update(_about(index, timed))
            else:
                said = [*_told_of(state, index, timed)]
                told += said
                if index.node_events.get(timed.id) is not None:
                    again[timed.id] = timed
                if not said and isinstance(timed.event.body, ProcessRun) and index.is_idle_run(key):
                    if len(state.idle) >= IDLE_MAX:
                        state.idle.clear()
                    state.idle.add((case, *key))
                    for name in index.dismiss(key):
                        state.cases.drop(case, name)
    for timed in again.values():
        told += _touches_of(index, timed, new.attempts)
    for attempt in new.attempts:
        told += _touches_by(index, index.allocations[attempt])
        near[attempt] = index.allocations[attempt]
    near.update((held.attempt, held) for held in _near(state, index, new.heard))
    for held in near.values():
        told += _coverage_of(state, index, held)
    return told


def _left_out(state: HostsState, index: HostIndex, new: Changes) -> list[Outcome]:
    """Forget the signals for which there is no room, and void what was told of them."""
    told: list[Outcome] = []
    case = host_case(index.cluster, index.host)
    for sent in new.left_out:
        names, gone = index.leave_out(sent)
        for timed in gone:
            told += _taken_back(index, timed)
        for name in names:
            state.cases.leave_out(case, name, ALIKE)
        if not sent[2]:
            new.audit.pop(sent[:2], None)
    names = {name for _, _, name in new.left_out}
    new.signals = [timed for timed in new.signals if timed.id not in names]
    new.node_events = [timed for timed in new.node_events if timed.id not in names]
    return told


def _about(index: HostIndex, timed: Timed) -> dict[Attempt, Allocation]:
    """Attempts whose owner did not send the signal: around it, coverage is asked for."""
    who = sender(timed.event)
    return {} if who is None else {held.attempt: held for held in _holding(index, timed) if who != held.owner_uid}


def _told_of(state: HostsState, index: HostIndex, timed: Timed) -> Iterator[Tell]:
    """What an assembled audit event tells beside touches of jobs: a changed artefact, an order to the scheduler."""
    body = timed.event.body
    if isinstance(body, FileTouched):
        yield from state.conduct.of(timed.event)
        for path in {body.path, body.old_path} - {""}:
            if path.startswith(state.roots):
                fact = Fact(artefact_case(index.cluster, path), timed.id, rank(timed.weight), encode_told(timed.event))
                yield Tell("artefacts", fact)
        if (gone := removal_of(timed.event)) is not None and gone[0].startswith(state.roots):
            fact = Fact(artefact_case(index.cluster, gone[0]), in_folder(timed.id), rank(timed.weight), encode_told(gone[1]))
            yield Tell("artefacts", fact)
    elif isinstance(body, ProcessRun):
        yield from state.conduct.of(timed.event)
        for job in watched.jobs_ordered(body.arguments):
            yield Tell("jobs", Fact(job_case(index.cluster, job), timed.id, rank(timed.weight), encode_told(timed.event)))


# --- the join -------------------------------------------------------------------------------------------------------------------


def _touches_of(index: HostIndex, timed: Timed, but: Container[Attempt]) -> list[Tell]:
    """One event against the allocations that hold it, and those for which it was told before, `but` some."""
    concerned = {held.attempt: held for held in (*_holding(index, timed), *index.told_to(timed))}
    found = [_touch(index, held, timed) for attempt, held in concerned.items() if attempt not in but]
    return [told for told in found if told]


def _touches_by(index: HostIndex, held: Allocation) -> list[Tell]:
    """One allocation against the events that it holds, and those that were told of it before."""
    concerned = dict(index.told.get(held.attempt, {}))
    for events in (index.signals, index.node_events):
        concerned.update((timed.id, timed) for timed in events.between(held.start - CLOCK_MS, held.end + CLOCK_MS))
    found = [_touch(index, held, timed) for timed in concerned.values()]
    return [told for told in found if told]


def _holding(index: HostIndex, timed: Timed) -> list[Allocation]:
    return index.held.overlapping(timed.time - CLOCK_MS, timed.time + CLOCK_MS)


def _holds(held: Allocation, timed: Timed) -> bool:
    return held.start - CLOCK_MS <= timed.time <= held.end + CLOCK_MS


def _touch(index: HostIndex, held: Allocation, timed: Timed, *, said: bool = True) -> Tell | None:
    pid = target_of(timed.event)
    owner = owner_of_target(timed.event)
    jobs, processes, allocations = index.job_of(pid, timed.time, CLOCK_MS, owner) if pid is not None else (NO_JOBS, 0, 0)
    matched, event = "", timed.event
    if said and _holds(held, timed):
        known, anybodys = jobs
        matched = "" if held.unproven else _matched(held, event, known)
        if not matched and (matched := _matched(held, event, anybodys)):
            event = msgspec.structs.replace(event, unproven=True)
    if matched:
        index.tell(held.attempt, timed)
    elif not index.void(held.attempt, timed.id):
        return None
    name = digest("touch", timed.id, held.attempt.name)
    body = encode_told(_told(held, event, matched)) if matched else VOID
    order = rank(held.weight, timed.weight, processes, allocations)
    return Tell("jobs", Fact(job_case(index.cluster, held.attempt.job), name, order, body))


def _taken_back(index: HostIndex, timed: Timed) -> list[Tell]:
    """A signal that its audit event, more complete by now, does not speak of any more."""
    found = [_touch(index, held, timed, said=False) for held in index.told_to(timed)]
    return [told for told in found if told]


def _matched(held: Allocation, event: Event, owner_job: str) -> str:
    """How sure it is that the event concerns this attempt; empty: it does not."""
    if owner_job:
        return "pid" if owner_job == held.attempt.job else ""
    body = event.body
    if isinstance(body, ProcessEnded):  # a node ends processes all day: whose it was must fit
        return "owner" if body.uid is not None and body.uid == held.owner_uid else ""
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


def _near(state: HostsState, index: HostIndex, heard: Sequence[int]) -> Iterator[Allocation]:
    """Allocations about whose end, or about a signal on whose host, one of these buckets tells something."""
    if not heard:
        return
    low, high = min(heard) - 2 * state.bucket_ms, max(heard) + 2 * state.bucket_ms
    for held in index.held.overlapping(low - state.kill_ms - CLOCK_MS, high + state.kill_ms + state.hardware_ms + CLOCK_MS):
        about_end = held.end - state.kill_ms - state.hardware_ms <= high and low <= held.end
        if about_end or any(_sent(index, held, low - state.kill_ms, high + state.hardware_ms)):
            yield held


def _sent(index: HostIndex, held: Allocation, start: int, end: int) -> Iterator[int]:
    """Times in [start, end] at which somebody else than owner and system sent a signal on the host while the attempt held it."""
    for timed in index.suspects.between(max(start, held.start - CLOCK_MS), min(end, held.end + CLOCK_MS)):
        if sender(timed.event) != held.owner_uid:
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


def _coverage_of(state: HostsState, index: HostIndex, held: Allocation) -> Iterator[Tell]:
    """For each source, the buckets in which it was heard on this host, as far as a judge may ask; one more on either side.

    A fact a day: of days of which something is not at hand nothing is new, and what was told of them stands.
    """
    width = state.bucket_ms
    wanted: set[int] = set()
    for start, end in _spans(state, index, held):
        wanted.update(range(bucket_of(max(start, width), width) - width, bucket_of(end, width) + width + 1, width))
    whole_from = index.since and index.since + state.kill_ms + 2 * width
    covered = index.covered.setdefault(held.attempt, set())
    found: dict[tuple[Source, int], list[int]] = {each: [] for each in covered}  # void where nothing was heard after all
    for bucket in sorted(wanted):
        for source in PER_HOST:
            if index.was_heard(source, bucket):
                found.setdefault((source, bucket - bucket % DAY_MS), []).append(bucket)
    for source, day in sorted(found):
        if day < whole_from:
            continue
        covered.add((source, day))
        buckets = tuple(found[source, day])
        name = f"coverage/{index.host}/{source}/{held.attempt.name}/{day // DAY_MS}"
        body = encode_told(HostCoverage(held.attempt, index.host, source, buckets)) if buckets else VOID
        yield Tell("jobs", Fact(job_case(index.cluster, held.attempt.job), name, rank(held.weight, len(buckets)), body))


# --- retention ------------------------------------------------------------------------------------------------------------------


def _pack(state: HostsState, case: bytes, floor: int) -> None:
    """Forget what is older than the retention, pack what is no longer asked for."""
    oldest, open_from = floor - state.keep_ms, floor - OPEN_MS
    state.cases.forget(case, oldest)
    if case in state.cases:
        index = state.index(case)
        is_open = state.cases.open(case).keys()
        for fact_id in [fact_id for fact_id in index.horizon(oldest, for_good=True) if fact_id in is_open]:
            state.cases.drop(case, fact_id)
        state.cases.pack(case, list(index.horizon(open_from)), open_from)
        index.since = max(index.since, open_from)
        state.judging.forget(case, index, oldest)
    if case not in state.cases:
        state.indexes.pop(case, None)
