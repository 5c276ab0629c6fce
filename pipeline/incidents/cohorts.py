"""Stage cohorts: summaries of attempts in; findings on cohorts out.

Each attempt is told to the cohort of its configuration, and a large one to the cohort of its size too.  A cohort is judged when a member
changes and again when the windows of its findings close; a member older than the retention is forgotten.

    jobs ── summary of 48213 ─┬─ configuration/5f1c..   48190 48201 48213         P09 P10
                              └─ size/256               48190 48213 48377 ...     P15

What one attempt says of itself last counts, whoever said it: the epoch of the claim under which it was said comes first (Tell.last_word).
"""

from collections import deque
from collections.abc import Iterator, Sequence

from pipeline.detect.case import Site
from pipeline.detect.cohort import Cohort
from pipeline.detect.detector import registry
from pipeline.detect.publishing import Publisher
from pipeline.detect.site import site_of
from pipeline.model.facts import Fact, case_name
from pipeline.model.outcome import Outcome, Publish, Tell
from pipeline.model.summary import JobSummary, decode_in_incidents
from pipeline.model.told import Emitted
from pipeline.settings import Settings
from pipeline.stream.agenda import Agenda
from pipeline.stream.cases import Cases
from pipeline.stream.sweep import Sweep
from pipeline.stream.watermark import COVERAGE, MARKS, Watermarks

DAY_MS = 86_400_000
SWEEP_CASES_MAX = 20  # in one step
UNSEEN_MAX = 20  # cases looked at in one step after a restart


class CohortIndex:
    """Everything told of one cohort."""

    def __init__(self, members_max: int) -> None:
        self._members_max = members_max
        self.members: dict[str, JobSummary] = {}  # by fact id
        self.emitted: dict[str, Emitted] = {}

    def add(self, fact_id: str, body: bytes) -> str:
        """Take one fact in.  Answers with the id of the member that the bound pushes out, or "": the newest attempts stay."""
        told = decode_in_incidents(body)
        if isinstance(told, Emitted):
            self.emitted[told.subject] = told
        elif isinstance(told, JobSummary):
            self.members[fact_id] = told
            if len(self.members) > self._members_max:
                oldest = min(self.members, key=lambda each: (_age(self.members[each]), each))
                del self.members[oldest]
                return oldest
        return ""


def _age(member: JobSummary) -> tuple[int, int]:
    return member.attempt.submit, member.attempt.start


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
        self.keep_ms = settings.retention.incident_days * DAY_MS
        self.sweep = Sweep(DAY_MS, SWEEP_CASES_MAX)
        self.indexes: dict[bytes, CohortIndex] = {}

    def index(self, case: bytes) -> CohortIndex:
        """The index of a cohort, built from its case when first asked for."""
        known = self.indexes.get(case)
        if known is None:
            known = self.indexes[case] = CohortIndex(self.members_max)
            for fact_id, (_, body) in self.cases.of(case).items():
                if body:
                    known.add(fact_id, body)
        return known


def build_state(settings: Settings, cases: Cases) -> CohortsState:
    """State of one partition."""
    return CohortsState(settings, cases)


def step(state: CohortsState, batch: Sequence[Fact], now: Watermarks) -> tuple[CohortsState, list[Outcome]]:
    """Fold summaries into their cohorts and judge every cohort that changed or whose window `now` has closed."""
    dirty: dict[bytes, None] = {}
    state.at = b""
    for fact in batch:
        state.at = fact.case
        index = state.index(fact.case)
        if not state.cases.merge(fact):
            continue
        if fact.body:
            if pushed_out := index.add(fact.id, fact.body):
                state.cases.drop(fact.case, pushed_out)
        else:
            index.members.pop(fact.id, None)
        dirty[fact.case] = None
    for _ in range(min(UNSEEN_MAX, len(state.unseen))):
        dirty[state.unseen.popleft()] = None
    dirty.update(dict.fromkeys(state.agenda.take_due(now)))
    for case, floor in state.sweep.due(state.cases, now):
        state.at = case
        if _forget(state, case, floor - state.keep_ms):
            dirty[case] = None
    outcomes: list[Outcome] = []
    for case in dirty:
        state.at = case
        if case in state.cases:
            outcomes += _judge(state, case, now)
    return state, outcomes


def _judge(state: CohortsState, key: bytes, now: Watermarks) -> Iterator[Publish | Tell]:
    index = state.index(key)
    cohort = Cohort(state.site, *case_name(key), index.members.values())
    judged = [finding for detector in registry("cohort") for finding in detector.judge(cohort, now)]
    kept_from = now.floor(case_name(key)[0]) - state.keep_ms
    yield from state.publisher.settle(key, index.emitted, judged, now, lambda time: state.agenda.plan(key, time), kept_from=kept_from)


def _forget(state: CohortsState, case: bytes, before: int) -> bool:
    """Drop members that nothing was heard of since `before`; of a cohort without members all."""
    index = state.index(case)
    old = [fact_id for fact_id, member in index.members.items() if member.seen < before]
    for fact_id in old:
        state.cases.drop(case, fact_id)
        del index.members[fact_id]
    if not index.members:
        state.cases.drop(case)
        del state.indexes[case]
    return bool(old)
