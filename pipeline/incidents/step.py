"""Stage incidents, by cluster: findings of all stages in; incidents, weighed and with their scope, out.

All findings of a cluster meet in one case, with the attempts that ended.  When a finding comes, changes or is taken back, everything is
grouped anew, so that incidents are those of the set, whatever the order:

    finding 1, suspect X ──┐
    finding 2, suspect X ──┴─ incident A     finding 3 ── incident B     finding 4: 3 and 1 are one artefact  ->  A updated, B merged into A

    campaigns.py   which findings belong together          scope.py        what was touched, what is fine, what cannot be told
    attribution.py hypotheses about who, by                building.py     the canonical body
    likelihoods.py the table of ratios                     publishing.py   what changed goes out, and is remembered
    losses.py      what it cost                            cohorts.py      another stage: attempts that should have gone alike
    presence.py    a statistic for investigators

Ended attempts are looked at once a while, since they come in numbers and change counts only.  On which days logins were heard is remembered
as facts of the case, because coverage is forgotten sooner than a campaign.  Retention forgets whole incidents, and takes nothing back.
"""

from collections import deque
from collections.abc import Iterator, Sequence

from pipeline.detect.site import site_of
from pipeline.incidents import building
from pipeline.incidents.attribution import Known
from pipeline.incidents.building import Surroundings, days_of
from pipeline.incidents.campaigns import DAY_MS, GAP_MS, cluster_findings, means_of
from pipeline.incidents.index import EMITTED, HEARD, IncidentsIndex, time_of
from pipeline.incidents.losses import Attempts, Pricing
from pipeline.incidents.publishing import IncidentPublisher
from pipeline.model.facts import Fact, case_name
from pipeline.model.finding import Finding
from pipeline.model.ids import rank
from pipeline.model.incident import Incident, incident_id
from pipeline.model.outcome import Outcome, Publish
from pipeline.model.source import Source
from pipeline.settings import Settings
from pipeline.stream.agenda import Agenda
from pipeline.stream.cases import Cases
from pipeline.stream.sweep import Sweep
from pipeline.stream.watermark import COVERAGE, MARKS, Watermarks

SWEEP_CASES_MAX = 1  # in one step: a cluster has one
LOOK_MS = 600_000  # of event time between two looks at ended attempts
WATCHED = (Source.SSHD, Source.AUDITD, Source.SLURMCTLD, Source.JOBCOMP, Source.KERNEL)  # whose silent days an incident tells


class IncidentsState:
    """Cases by cluster, the indexes derived from them, and when to look again."""

    def __init__(self, settings: Settings, cases: Cases) -> None:
        self.cases = cases
        self.at = b""  # the case that is worked on: whoever catches what the step raises learns which
        self.directory = site_of(settings).directory
        self.roles = {each.id: each.role for each in self.directory.identities}
        self.pricing = Pricing.of(settings.loss)
        self.publisher = IncidentPublisher(cases, settings.digest())
        self.agenda = Agenda()
        self.unseen = deque(case for case in cases if case not in (MARKS, COVERAGE))  # what watermarks have closed meanwhile
        self.facts_max = settings.retention.case_facts_max
        self.keep_ms = settings.retention.incident_days * DAY_MS
        self.sweep = Sweep(DAY_MS, SWEEP_CASES_MAX)
        self.indexes: dict[bytes, IncidentsIndex] = {}

    def index(self, case: bytes) -> IncidentsIndex:
        """The index of a cluster, built from its case when first asked for."""
        known = self.indexes.get(case)
        if known is None:
            known = self.indexes[case] = IncidentsIndex(self.facts_max)
            for fact_id, (_, body) in self.cases.of(case).items():
                if body:
                    known.add(fact_id, body)
        return known


def build_state(settings: Settings, cases: Cases) -> IncidentsState:
    """State of one partition."""
    return IncidentsState(settings, cases)


def step(state: IncidentsState, batch: Sequence[Fact], now: Watermarks) -> tuple[IncidentsState, list[Outcome]]:
    """Fold findings and ended attempts, and say of every cluster that changed which incidents there are."""
    dirty: dict[bytes, None] = {}
    state.at = b""
    for fact in batch:
        state.at = fact.case
        index = state.index(fact.case)
        if not state.cases.merge(fact):
            continue
        if not fact.body:
            index.void(fact.id)
        elif pushed_out := index.add(fact.id, fact.body):
            state.cases.drop(fact.case, pushed_out)
        examined = index.examined.get(fact.id)
        if examined is None:
            dirty[fact.case] = None
        else:
            state.agenda.plan(fact.case, time_of(examined) // LOOK_MS * LOOK_MS + LOOK_MS)
    for _ in range(len(state.unseen)):
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


def _judge(state: IncidentsState, case: bytes, now: Watermarks) -> Iterator[Publish]:
    index, (cluster, _) = state.index(case), case_name(case)
    incidents = []
    attempts = Attempts(index.examined if index.findings else {})
    for members in cluster_findings(index.findings.values()):
        incidents.append(_incident(state, case, members, attempts, now))
        if (closes_at := incidents[-1].closes_at) > now.joint(cluster):
            state.agenda.plan(case, closes_at)
    yield from state.publisher.settle(case, index.emitted, incidents, now)


def _incident(state: IncidentsState, case: bytes, members: Sequence[Finding], attempts: Attempts, now: Watermarks) -> Incident:
    index, (cluster, _) = state.index(case), case_name(case)
    first = min(min(each.cause_time, each.effect_time) for each in members)
    last = max(each.effect_time for each in members)
    silent = {}
    for source in WATCHED:
        days = [name for start, name in days_of(first, last) if not _heard(state, case, source, start, now)]
        if days and (source is Source.SSHD or now.known(cluster, source)):  # what a site does not ship is no gap, logins always are
            silent[source.value] = days
    known = Known(
        role=lambda who: state.roles.get(who, ""),
        signals=_signals(index, first, last),
        logins_heard=lambda day: _heard(state, case, Source.SSHD, day, now),
    )
    full = len(index.examined) >= index.facts_max
    around = Surroundings(state.directory, index.examined, known, silent, full, attempts, state.pricing)
    return building.build(cluster, members, around)


def _heard(state: IncidentsState, case: bytes, source: Source, day: int, now: Watermarks) -> bool:
    """Was the source heard on this day?  Once heard, always heard."""
    index, name = state.index(case), f"{HEARD}{source.value}/{day}"
    if name not in index.heard and now.heard_within(case_name(case)[0], source, day, day + DAY_MS - 1):
        state.cases.merge(Fact(case, name, rank(1), b"\x01"))
        index.heard.add(name)
    return name in index.heard


def _signals(index: IncidentsIndex, first: int, last: int) -> dict[str, list[Finding]]:
    """Findings that an account was in others' hands, near enough in time, by identity; whichever incident they belong to."""
    found: dict[str, list[Finding]] = {}
    for each in sorted(index.findings.values(), key=lambda each: (each.effect_time, each.id)):
        if means_of(each) == "accounts" and each.subject.kind == "identity" and first - GAP_MS <= each.effect_time <= last + GAP_MS:
            found.setdefault(each.subject.name, []).append(each)
    return found


def _forget(state: IncidentsState, case: bytes, before: int) -> bool:
    """Drop incidents of which nothing was heard since `before`, with what was said of them, and attempts that no other incident spans."""
    index, (cluster, _) = state.index(case), case_name(case)
    oldest, dropped = before, False
    for members in cluster_findings(index.findings.values()):
        if max(max(each.effect_time, each.closes_at) for each in members) >= before:
            oldest = min(oldest, *(min(each.cause_time, each.effect_time) for each in members))
            continue
        dropped = True
        for each in members:
            state.cases.drop(case, each.id)
            index.void(each.id)
            name = incident_id(cluster, each.id)
            if index.emitted.pop(name, None) is not None:
                state.cases.drop(case, f"{EMITTED}{name}")
    for fact_id, examined in list(index.examined.items()):
        if time_of(examined) < oldest:
            state.cases.drop(case, fact_id)
            index.void(fact_id)
    for name in [name for name in index.heard if int(name.rpartition("/")[2]) < oldest - DAY_MS]:
        state.cases.drop(case, name)
        index.heard.discard(name)
    return dropped
