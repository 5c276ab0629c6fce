"""Stage cohorts: summaries of attempts in; findings on cohorts out.

Each attempt is told to the cohort of its account, and a large one to the cohort of its size too.  A cohort is judged when a member
changes and again when the windows of its findings close.

    jobs ── summary of 48213 ─┬─ configuration/5f1c..   48190 48201 48213         P09 P10      kept for cohort_days
                              └─ size/256               48190 48213 48377 ...     P15          kept for incident_days: ends are small

What one attempt says of itself last counts, whoever said it: the epoch of the claim under which it was said comes first (Tell.last_word).
Members are forgotten one by one, and a finding that cites one of them stands as it was said last.  So does a finding of which the bound
took members away, unless those that it cites and that are left speak against it: who floods a cohort takes back nothing, and what is left
of an alert does not make it less than one.

A cohort of which nothing was heard for a day is packed (stream/cases.py), so that versions of artefacts that all its members loaded stand
there about once.
"""

from collections import deque
from collections.abc import Iterator, Sequence

import msgspec

from pipeline.cohorts.index import SIZE, VOLUME, CohortIndex, Whole, kept
from pipeline.detect.case import Site
from pipeline.detect.cohort import Cohort
from pipeline.detect.detector import registry
from pipeline.detect.gates import SUPPRESSED
from pipeline.detect.publishing import Publisher
from pipeline.detect.site import site_of
from pipeline.model.facts import Fact, case_name
from pipeline.model.finding import Finding
from pipeline.model.ids import rank
from pipeline.model.instants import DAY_MS, HOUR_MS
from pipeline.model.outcome import Outcome, Publish, Tell
from pipeline.model.summary import JobSummary
from pipeline.model.told import Tombstone, encode_told
from pipeline.settings import Settings
from pipeline.stream.agenda import Agenda
from pipeline.stream.cases import FULL, Cases
from pipeline.stream.sweep import Sweep
from pipeline.stream.watermark import COVERAGE, MARKS, Watermarks

SWEEP_CASES_MAX = 20  # in one step
UNSEEN_MAX = 20  # cases looked at in one step after a restart
LARGE, WAIT_MAX_MS = 100, 12 * HOUR_MS  # members; event time between two looks at the largest
WHOLE_MAX = 4000  # members held whole, some 20 kB each, beside the cohort that is judged

decode_finding = msgspec.msgpack.Decoder(Finding).decode


class CohortsState:
    """Cases by cohort, and the indexes derived from them."""

    def __init__(self, settings: Settings, cases: Cases) -> None:
        self.cases = cases
        self.at = b""  # the case that is worked on: whoever catches what the step raises learns which
        self.site: Site = site_of(settings)
        self.publisher = Publisher(cases, settings.digest())
        self.agenda = Agenda()
        self.unseen = deque(case for case in cases if case not in (MARKS, COVERAGE))  # what watermarks have closed meanwhile
        self.members_max = settings.retention.cohort_members_max
        self._keep_ms = settings.retention.cohort_days * DAY_MS, settings.retention.incident_days * DAY_MS
        self.sweep = Sweep(DAY_MS, SWEEP_CASES_MAX)
        self.indexes: dict[bytes, CohortIndex] = {}
        self.whole = Whole(WHOLE_MAX)
        self.judged: dict[bytes, int] = {}  # when a large one was judged last; none after a restart

    def index(self, case: bytes) -> CohortIndex:
        """The index of a cohort, built from its case when first asked for."""
        known = self.indexes.get(case)
        if known is None:
            known = self.indexes[case] = CohortIndex(self.members_max)
            for fact_id, (_, body) in self.cases.of(case).items():
                if body:
                    known.add(fact_id, body)
        return known

    def keep_ms(self, case: bytes) -> int:
        """How long its members are remembered."""
        return self._keep_ms[case_name(case)[1].startswith(SIZE)]


def build_state(settings: Settings, cases: Cases) -> CohortsState:
    """State of one partition."""
    return CohortsState(settings, cases)


def step(state: CohortsState, batch: Sequence[Fact], now: Watermarks) -> tuple[CohortsState, list[Outcome]]:
    """Fold summaries into their cohorts and judge every cohort that changed or whose window `now` has closed."""
    dirty: dict[bytes, None] = {}
    state.at = b""
    for fact in batch:
        state.at = fact.case
        if _fold(state, fact):
            dirty[fact.case] = None
    for _ in range(min(UNSEEN_MAX, len(state.unseen))):
        dirty[state.unseen.popleft()] = None
    dirty.update(dict.fromkeys(state.agenda.take_due(now)))
    for case, floor in state.sweep.due(state.cases, now):
        state.at = case
        if state.cases.sealed(case) > floor:
            continue
        if _forget(state, case, floor - state.keep_ms(case)):
            dirty[case] = None
        elif case in state.cases and case not in dirty:
            _seal(state, case, floor)
    outcomes: list[Outcome] = []
    for case in dirty:
        state.at = case
        if case in state.cases:
            outcomes += [] if _waits(state, case, now) else _judge(state, case, now)
            if state.cases.sealed(case):  # looked at after a restart, and as it was
                del state.indexes[case]
    return state, outcomes


def _waits(state: CohortsState, case: bytes, now: Watermarks) -> bool:
    """A large cohort is judged once an hour of event time, one of twice the size every two: a look costs by its members, a day does not.

    What is said of it is about weeks.
    """
    members = len(state.index(case).members)
    if members < LARGE:
        return False
    joint, last = now.joint(case_name(case)[0]), state.judged.get(case)
    wait_ms = min(members * HOUR_MS // LARGE, WAIT_MAX_MS)
    if last is not None and joint - last < wait_ms:
        state.agenda.plan(case, last + wait_ms)
        return True
    state.judged[case] = joint
    return False


def _fold(state: CohortsState, fact: Fact) -> bool:
    """Take one fact in; True when the cohort changed."""
    index, body = state.index(fact.case), kept(case_name(fact.case)[1], fact.body) if fact.body else b""
    if not state.cases.merge(Fact(fact.case, fact.id, fact.rank, body)):
        if state.cases.sealed(fact.case):  # told again, and as it was
            del state.indexes[fact.case]
        return False
    state.whole.forget(fact.case, fact.id)
    if not body:
        index.drop(fact.id)
    elif (pushed_out := index.add(fact.id, body)) is not None:
        state.cases.leave_out(fact.case, pushed_out[0], FULL)
        state.whole.forget(fact.case, pushed_out[0])
        _shorten(state, fact.case, index, pushed_out[1].attempt.start)
    return True


def _shorten(state: CohortsState, case: bytes, index: CohortIndex, start: int) -> None:
    """Remember what was said when the member that the bound took was there."""
    left = (each for each in index.emitted.values() if each.body and not each.retracted and each.subject not in index.shortened)
    shortened = {each.subject for each in left if decode_finding(each.body).closes_at >= start}
    if shortened:
        index.shortened |= shortened
        body = encode_told(Tombstone((), tuple((subject, "") for subject in sorted(index.shortened))))
        state.cases.merge(Fact(case, VOLUME, rank(len(index.shortened)), body))


def _judge(state: CohortsState, key: bytes, now: Watermarks) -> Iterator[Publish | Tell]:
    index = state.index(key)
    if not index.exposed and not index.emitted:
        return
    members, unproven = state.whole.of(key, index, state.cases)
    cohort = Cohort(state.site, *case_name(key), members, unproven=unproven)
    kept_from = now.floor(case_name(key)[0]) - state.keep_ms(key)
    found = (finding for detector in registry("cohort") for finding in detector.judge(cohort, now))
    judged = {each.id: each for each in found if each.closes_at >= kept_from or not _is_shortened(index, each.id)}
    for said in _standing(index, kept_from, members):
        if said.id not in judged or _is_left_of(said, judged[said.id], members):
            judged[said.id] = said
    yield from state.publisher.settle(
        key, index.emitted, [*judged.values()], now, lambda time: state.agenda.plan(key, time), kept_from=kept_from
    )


def _is_shortened(index: CohortIndex, subject: str) -> bool:
    """Was it said so long ago that it stands, whatever is told of it?"""
    said = index.emitted.get(subject)
    return said is not None and not said.body


def _standing(index: CohortIndex, before: int, members: Sequence[JobSummary]) -> Iterator[Finding]:
    """Findings as they were said, that rest on members which are forgotten: without these they would be taken back, or be no alert any
    more, and nothing has spoken against them.

    Members that were pushed out are forgotten, too; but somebody may see to that, so that a word against the finding counts still.
    """
    for subject, said in index.emitted.items():
        if said.body and not said.retracted:
            finding = decode_finding(said.body)
            old = any(item.role == "run" and item.event_time < before for item in finding.evidence)
            if old or (subject in index.shortened and not _corrected(finding, members)):
                yield finding


def _is_left_of(said: Finding, found: Finding, members: Sequence[JobSummary]) -> bool:
    """Is what is found less than the alert that was said, and neither the site's word nor one that it cites speaks against that?"""
    return said.alert and not found.alert and not found.gate.startswith(SUPPRESSED) and not _corrected(said, members)


def _corrected(finding: Finding, members: Sequence[JobSummary]) -> bool:
    """Did one that it cites prove not to have loaded what it is said to have?"""
    runs = {item.event_id for item in finding.evidence if item.role == "run"}
    writes = {item.event_id for item in finding.evidence if item.role == "written"}
    return any(
        each.record is not None
        and each.record.event_id in runs
        and not any(exposure.write.event_id in writes and not exposure.restored for exposure in each.exposures)
        for each in members
    )


def _forget(state: CohortsState, case: bytes, before: int) -> bool:
    """Drop members that nothing was heard of since `before`; of a cohort without members all."""
    index = state.index(case)
    state.publisher.shorten(case, index.emitted, before - state.keep_ms(case))  # a member that it cites may have been heard of since
    old = [fact_id for fact_id, member in index.members.items() if member.seen < before]
    for fact_id in old:
        state.cases.drop(case, fact_id)
        index.drop(fact_id)
    if not index.members:
        state.cases.drop(case)
        state.judged.pop(case, None)
        del state.indexes[case]
    return bool(old)


def _seal(state: CohortsState, case: bytes, floor: int) -> None:
    """Pack a cohort of which nothing was heard for a day, until its first member is to be forgotten."""
    seen = [member.seen for member in state.indexes[case].members.values()]
    if max(seen) < floor - DAY_MS:
        state.cases.seal(case, min(seen) + state.keep_ms(case))
        del state.indexes[case]
