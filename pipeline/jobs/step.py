"""Facts about jobs in; enriched events, verdicts and findings out, and of each attempt what cohorts and incidents compare it by.

A case is judged when direct evidence arrives (provisional), when its window closes (final), and again whenever a late fact changes it
(a new revision, or a retraction):

    kill@97  end@100          joint watermark passes 100 + grace        sacct row, late
        provisional finding r1                  final r2                     r3, or retracted

What was last published is itself a fact of the case, so only changes are published, and after a crash the same bodies come again under
the same ids.  Windows close by the joint watermark; sources that come hours late revise.  A second look follows when the sources that
prove an absence have had their time.  After that the case is sealed until its retention ends: packed, without an index, at hand again
when a late fact comes.

After a restart open cases are looked at, some a step; sealed ones only when they were judged by another release or other settings.
"""

from collections import deque
from collections.abc import Iterator, Sequence

from pipeline import __version__
from pipeline.detect import history, ocsf, verdict
from pipeline.detect.case import CLOCK_MS, Case
from pipeline.detect.detector import registry
from pipeline.detect.publishing import Publisher, last_said
from pipeline.detect.site import site_of
from pipeline.jobs.index import SUMMARY, JobIndex
from pipeline.jobs.summary import cohorts_of, examine, summarise
from pipeline.model.actor import actor_of, relation
from pipeline.model.attributes import attributes
from pipeline.model.events import Event, Iteration, TrainingLine
from pipeline.model.facts import VOID, Fact, case_name, cohort_case, incidents_case
from pipeline.model.finding import Enriched, Finding, Transport, Verdict, canonical_digest
from pipeline.model.ids import digest, rank
from pipeline.model.incident import encode_in_case
from pipeline.model.instants import DAY_MS, HOUR_MS
from pipeline.model.outcome import Outcome, Publish, Tell
from pipeline.model.summary import encode_summary
from pipeline.model.told import Emitted, Tombstone, decode_told, emitted_name, encode_told
from pipeline.settings import Settings
from pipeline.stream.agenda import Agenda
from pipeline.stream.cases import FULL, LATE, Cases
from pipeline.stream.watermark import COVERAGE, MARKS, Watermarks

RETRACTED = 2**62  # rank part of a tombstone
JUDGE = b"\x00judge"  # reserved case: the release and settings by which sealed cases were judged
NEVER_AGAIN = 2**62  # until which a tombstone is sealed
UNSEEN_MAX = 20  # cases looked at in one step after a restart


class JobsState:
    """Cases by job, the indexes derived from them, and when to look at which case again."""

    def __init__(self, settings: Settings, cases: Cases) -> None:
        self.cases = cases
        self.at = b""  # the case that is worked on: whoever catches what the step raises learns which
        self.site = site_of(settings)
        self.veil = settings.veil()
        self.publisher = Publisher(cases, settings.digest())
        self.indexes: dict[bytes, JobIndex] = {}
        self.facts_max = settings.retention.case_facts_max
        self.keep_ms = settings.retention.job_days * DAY_MS
        # Coverage is known by the bucket: the last one that tells anything begins within the gap and ends a bucket later.
        self.gap_ms = (settings.detect.coverage_gap_seconds + settings.time.coverage_bucket_seconds) * 1000
        self.agenda = Agenda()
        self.unseen: deque[bytes] = deque()  # open cases: what watermarks have closed meanwhile
        self.stale: deque[bytes] = deque()  # sealed ones, judged by another judge
        self.direct = {detector.meta.id for detector in registry("job") if detector.meta.direct}
        self.judge = f"{__version__}/{settings.digest()}".encode()
        judged = cases.of(JUDGE).get("judge", (b"", b""))[1] == self.judge
        for case in cases:
            if case in (MARKS, COVERAGE, JUDGE):
                continue
            until = cases.sealed(case)
            if not until:
                self.unseen.append(case)
            elif until < NEVER_AGAIN:
                self.agenda.plan(case, until)
                if not judged:
                    self.stale.append(case)

    def take_unseen(self) -> Iterator[bytes]:
        """Some of the cases that were not yet looked at in this life."""
        for cases in (self.unseen, self.stale):
            for _ in range(min(UNSEEN_MAX, len(cases))):
                yield cases.popleft()
        known = self.cases.of(JUDGE).get("judge", (b"", b""))
        if not self.unseen and not self.stale and known[1] != self.judge:
            self.cases.merge(Fact(JUDGE, "judge", rank(int.from_bytes(known[0], "big") + 1), self.judge))

    def index(self, case: bytes) -> JobIndex:
        """The index of a job, built from its case when first asked for."""
        known = self.indexes.get(case)
        if known is None:
            known = self.indexes[case] = JobIndex(*case_name(case), self.facts_max, self.veil)
            for fact_id, (_, body) in self.cases.of(case).items():
                if body:
                    known.add(fact_id, decode_told(body))
        return known


def build_state(settings: Settings, cases: Cases) -> JobsState:
    """State of one partition."""
    return JobsState(settings, cases)


def step(state: JobsState, batch: Sequence[Fact], now: Watermarks) -> tuple[JobsState, list[Outcome]]:
    """Fold facts into the cases of their jobs and judge every case that changed or whose window `now` has closed.

    The same facts in any order within grace leave the same last body under every id, sides that never came included.
    """
    dirty: dict[bytes, None] = {}
    state.at = b""
    for fact in batch:
        state.at = fact.case
        index = state.index(fact.case)
        if not state.cases.merge(fact):
            continue
        if fact.body:
            told = decode_told(fact.body)
            pushed_out = index.add(fact.id, told)
            if pushed_out:
                state.cases.leave_out(fact.case, pushed_out, FULL)
            if isinstance(told, Event) and isinstance(told.body, Iteration):
                state.agenda.plan(fact.case, _hour_ends(told))
                continue  # the last step of an hour takes the place of the others, and nobody is judged by it: once is enough
        else:
            index.void(fact.id)
        dirty[fact.case] = None
    dirty.update(dict.fromkeys(state.take_unseen()))
    outcomes: list[Outcome] = []
    for case in state.agenda.take_due(now):
        if case in dirty:
            continue
        state.at = case
        if state.cases.sealed(case):  # all is said: only its retention can have ended
            index = state.index(case)
            _retire(state, case, index, index.cases(state.site), 0, now)
        else:
            dirty[case] = None
    for case in dirty:
        state.at = case
        if case in state.cases:
            outcomes.extend(_judge(state, case, now))
    for case in {fact.case for fact in batch}:  # told again, or late: logs that are shipped twice must not unpack all that is over
        if state.cases.sealed(case):
            state.indexes.pop(case, None)
    return state, outcomes


# --- judging --------------------------------------------------------------------------------------------------------------------


def _judge(state: JobsState, key: bytes, now: Watermarks) -> Iterator[Publish | Tell]:
    index = state.index(key)
    for late in index.late():  # of evicted attempts: never judged on half the evidence
        index.void(late)
        state.cases.leave_out(key, late, LATE)
    joint = now.joint(index.cluster)
    for time in index.waits():
        if time >= joint:
            state.agenda.plan(key, time + 1)
    cases = index.cases(state.site, joint)
    judged: list[Finding | Verdict] = []
    enriched: list[Publish] = []
    held: set[int] = set()
    for case in cases:
        findings = [history.noted(case, finding) for detector in registry("job") for finding in detector.judge(case, now)]
        judged += findings
        if (ended := verdict.judge(case, findings, now)) is not None:
            judged.append(history.noted(case, ended))
        said, waits = _enrich(index, case, joint)
        enriched += said
        held |= waits
        direct = [finding for finding in findings if finding.detector in state.direct]
        apart = ended if direct == findings else verdict.judge(case, direct, now)
        yield from _tell_cohorts(state, key, index, case, ended, apart)
    for time in sorted(held):
        state.agenda.plan(key, time)
    yield from _take_back(state, key, index, cases)
    yield from enriched
    # A second look when the sources that prove an absence have had their time.
    yield from state.publisher.settle(key, index.emitted, judged, now, lambda time: state.agenda.plan(key, time), (0, state.gap_ms))
    _retire(state, key, index, cases, max([0, *held, *(value.closes_at + state.gap_ms for value in judged)]), now)


def _tell_cohorts(
    state: JobsState, key: bytes, index: JobIndex, case: Case, ended: Verdict | None, apart: Verdict | None
) -> Iterator[Tell]:
    """The attempt's summary, to the cohorts it belongs to, when it is not what was told last; void where it belongs no more.

    `apart` is the verdict without regard to what it loaded: by that cohorts compare.  Incidents are told how it ended and what it loaded
    that others had written.
    """
    subject = f"{SUMMARY}{case.attempt.name}"
    last, summary = index.summaries.get(subject), summarise(case, apart)
    cohorts = cohorts_of(case, summary) if summary else []
    body = encode_summary(summary) if summary else b""
    examined = examine(case, summary, ended)
    about = encode_in_case(examined) if examined else VOID
    said = digest(body, about, *cohorts)
    if (last is None and not summary and not examined) or (last is not None and last.digest == said):
        return
    revision = last.revision + 1 if last else 1
    before = last.body.decode().split("\n") if last and last.body else []
    for cohort in sorted({*before, *cohorts}):
        told = body if cohort in cohorts else VOID
        yield Tell("cohorts", Fact(cohort_case(case.attempt.cluster, cohort), case.attempt.name, rank(revision), told), last_word=True)
    yield Tell("incidents", Fact(incidents_case(case.attempt.cluster), case.attempt.name, rank(revision), about), last_word=True)
    _remember(state, key, index, Emitted(subject, revision, said, "\n".join(cohorts).encode()))


def _take_back(state: JobsState, key: bytes, index: JobIndex, cases: Sequence[Case]) -> Iterator[Tell]:
    """Of attempts that are none by now, since a further record says when they started, nothing stays told."""
    said = digest(b"", VOID)
    for subject in sorted(index.summaries.keys() - {f"{SUMMARY}{case.attempt.name}" for case in cases}):
        last, name = index.summaries[subject], subject.removeprefix(SUMMARY)
        if last.digest == said:
            continue
        told = [("cohorts", cohort_case(index.cluster, cohort)) for cohort in filter(None, last.body.decode().split("\n"))]
        for stage, case in (*told, ("incidents", incidents_case(index.cluster))):
            yield Tell(stage, Fact(case, name, rank(last.revision + 1), VOID), last_word=True)
        _remember(state, key, index, Emitted(subject, last.revision + 1, said))


def _remember(state: JobsState, key: bytes, index: JobIndex, emitted: Emitted) -> None:
    state.cases.merge(Fact(key, emitted_name(emitted.subject), rank(emitted.revision), encode_told(emitted)))
    index.summaries[emitted.subject] = emitted


# --- enriched events ------------------------------------------------------------------------------------------------------------


def _enrich(index: JobIndex, case: Case, joint: int) -> tuple[list[Publish], set[int]]:
    """Every event that touches the attempt, with owner and relation, each once per body and process; and the times that others wait for.

    Nothing takes an enriched event back: what another one may still take the place of, within grace, is held until that time has passed.
    """
    said: list[Publish] = []
    held: set[int] = set()
    for event, matched, settled in _touching(case):
        if settled > joint:
            held.add(settled)
            continue
        key = (case.attempt, event.id)
        known = index.enriched.get(key)
        if known is not None and known[0] is event and known[1] == matched and known[2] == case.owner:
            continue
        value = _enriched(case, event, matched)
        body = canonical_digest(value)
        index.enriched[key] = (event, matched, case.owner, body)
        if known is None or known[3] != body:
            content = ocsf.enriched_value(value, Transport(revision=1))
            said.append(Publish("enriched", case.attempt.name.encode(), f"{value.id}/{body}", content))  # corrected, it is another value
    return said, held


def _touching(case: Case) -> Iterator[tuple[Event, str, int]]:
    """Event, how it touches, and the time by which it is sure to be this one; 0: it is."""
    last_steps = {_hour_ends(event): event.id for event, _ in case.of(Iteration)}
    for event in case.all_events():
        if isinstance(event.body, Iteration):
            if last_steps[_hour_ends(event)] == event.id:  # the samples are for comparing only
                yield event, "job", _hour_ends(event)
        else:  # of the same line, printed by several ranks, the first is kept
            yield event, "job", event.event_time + 1 if isinstance(event.body, TrainingLine) else 0
    for touch in case.touches:
        if _certain(case, touch.event, by_pid=touch.matched == "pid"):
            yield touch.event, touch.matched, 0
    for befallen in case.node_touches:
        if _certain(case, befallen.event, by_pid=befallen.job_pid):
            yield befallen.event, "pid" if befallen.job_pid else "host", 0
    for loaded in case.loaded():  # which saves and writes are worth telling follows from all that came before the load
        yield from ((event, "artefact", loaded.event.event_time + 1) for event in loaded.told())


def _hour_ends(event: Event) -> int:
    return event.event_time - event.event_time % HOUR_MS + HOUR_MS


def _certain(case: Case, event: Event, *, by_pid: bool) -> bool:
    """May it be published that this befell the attempt?  What is published is read by people and cannot be called back.

    While an attempt runs, hosts must take everything on its nodes for a touch; only its own processes are certain.  Once the end is
    known, what came after it is none.
    """
    return by_pid if case.end is None else event.event_time <= case.end + CLOCK_MS


def _enriched(case: Case, event: Event, matched: str) -> Enriched:
    kind, attrs = attributes(event.body)
    actor = actor_of(case.site.directory, event)
    return Enriched(
        event_id=event.id,
        attempt=case.attempt,
        owner=case.owner_id,
        event_time=event.event_time,
        source=event.source.value,
        kind=kind,
        host=event.host,
        actor=actor.id if actor else "",
        relation=relation(actor, case.owner),
        matched=matched,
        sha256=event.sha256,
        attrs=attrs,
    )


# --- retention ------------------------------------------------------------------------------------------------------------------


def _retire(state: JobsState, key: bytes, index: JobIndex, cases: Sequence[Case], settled: int, now: Watermarks) -> None:
    """When the last attempt ended longer ago than the retention, keep a tombstone in place of the case; until then seal what is settled.

    Facts of which the scheduler never spoke are forgotten by their own time.  Only observed marks may evict: idleness proves nothing.
    """
    ends = [case.end for case in cases if case.end is not None]
    last = max(ends, default=0) if cases else index.newest()
    if len(ends) < len(cases) or not last:
        return
    evict_at, joint = last + state.keep_ms, now.joint(index.cluster)
    if now.floor(index.cluster) < evict_at:
        again_at = evict_at if joint < evict_at else joint + DAY_MS  # idle: not at every step
        state.agenda.plan(key, again_at)
        if joint >= max(settled, last + state.gap_ms):
            state.cases.seal(key, again_at)
            del state.indexes[key]
        return
    old = index.tombstone or Tombstone((), ())
    stone = Tombstone((*old.attempts, *(case.attempt for case in cases)), (*old.findings, *last_said(index.emitted)), max([old.end, *ends]))
    state.cases.drop(key)
    del state.indexes[key]
    if stone.attempts:
        state.cases.merge(Fact(key, "tombstone", rank(RETRACTED), encode_told(stone)))
        state.cases.seal(key, NEVER_AGAIN)
