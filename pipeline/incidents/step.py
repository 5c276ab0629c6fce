"""Stage incidents, by cluster: findings of all stages in; incidents, weighed and with their scope, out.

All findings of a cluster meet in one case, with the attempts that ended.  When findings come, change or are taken back they are grouped
anew, so that incidents are those of the set, whatever the order:

    finding 1, suspect X ──┐
    finding 2, suspect X ──┴─ incident A     finding 3 ── incident B     finding 4: 3 and 1 are one artefact  ->  A updated, B merged into A

    campaigns.py   what ties findings, and by              scope.py        what was touched, what is fine, what cannot be told
    grouping.py    which of them belong together
    looks.py       what is built anew, and what waits      building.py     the canonical body, within bounds
    attribution.py hypotheses about who, by                publishing.py   what changed goes out, and is remembered
    likelihoods.py the table of ratios                     report.py       what people read
    losses.py      what it cost, by                        families.py     the table of detectors
    attempts.py    attempts, looked up                     presence.py     for a search by people; nothing here asks it
    origins.py     who could have written what is cited      asked.py        what an incident rests on, so that others need not be built

On which days logins were heard is remembered as facts of the case, because coverage is forgotten sooner than a campaign; on which days each
account was entered the stage identities tells.  Retention forgets whole incidents, and takes nothing back.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from pipeline.detect.site import site_of
from pipeline.incidents import building
from pipeline.incidents.attribution import AFTER_END, SESSION_DAYS, Known
from pipeline.incidents.building import Surroundings, days_of
from pipeline.incidents.campaigns import GAP_MS, Linked, window_of
from pipeline.incidents.index import EMITTED, HEARD, IncidentsIndex
from pipeline.incidents.logins import HABIT_DAYS, Logins
from pipeline.incidents.looks import Rests
from pipeline.incidents.losses_ended import Pricing
from pipeline.incidents.places import Beside
from pipeline.incidents.publishing import IncidentPublisher
from pipeline.model.facts import Fact, case_name
from pipeline.model.finding import Finding
from pipeline.model.identity import KEY, Directory
from pipeline.model.ids import rank
from pipeline.model.incident import Incident
from pipeline.model.instants import DAY_MS
from pipeline.model.outcome import Outcome, Publish
from pipeline.model.source import Source
from pipeline.settings import Role, Settings
from pipeline.stream.agenda import Agenda
from pipeline.stream.cases import FULL, Cases
from pipeline.stream.sweep import Sweep
from pipeline.stream.watermark import COVERAGE, MARKS, Watermarks

SWEEP_CASES_MAX = 1  # in one step: a cluster has one
NEEDED = frozenset({Source.SSHD, Source.AUDITD})  # who acted is told by these first: a site that ships none is told what it cannot know
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
    dirty: dict[bytes, bool] = {}  # case -> is everything built anew?
    state.at = b""
    for fact in batch:
        state.at = fact.case
        if _fold(state, fact):
            dirty.setdefault(fact.case, False)
    for case in state.agenda.take_due(now):
        dirty.setdefault(case, False)
    for case, index in state.indexes.items():
        if index.looks.surrounded(_around(index, case, now)):
            dirty.setdefault(case, False)
    for _ in range(len(state.unseen)):
        dirty[state.unseen.popleft()] = True
    for case, floor in state.sweep.due(state.cases, now):
        state.at = case
        if _forget(state, case, floor - state.keep_ms):
            dirty[case] = True
    outcomes: list[Outcome] = []
    for case, everything in dirty.items():
        state.at = case
        if case in state.cases:
            outcomes += _judge(state, case, now, everything=everything)
    return state, outcomes


def _fold(state: IncidentsState, fact: Fact) -> bool:
    """Take one fact in; True when a finding changed.  For attempts it is asked later: they come in numbers and change counts only."""
    index = state.index(fact.case)
    if not state.cases.merge(fact):
        return False
    known = fact.id in index.findings
    if not fact.body:
        index.void(fact.id)
    elif pushed_out := index.add(fact.id, fact.body):
        state.cases.leave_out(fact.case, pushed_out, FULL)
    if known or fact.id in index.findings:
        return True
    if (at := index.looks.all_at()) is not None:
        state.agenda.plan(fact.case, at)
    return False


def _around(index: IncidentsIndex, case: bytes, now: Watermarks) -> tuple[object, ...]:
    """What all incidents of a cluster rest on."""
    cluster, _ = case_name(case)
    return index.full, len(index.attempts) > 0, *(now.known(cluster, source) for source in WATCHED)


def _judge(state: IncidentsState, case: bytes, now: Watermarks, *, everything: bool) -> Iterator[Publish]:
    index, (cluster, _) = state.index(case), case_name(case)
    looks, joint = index.looks, now.joint(cluster)
    all_at, group_at = looks.all_at(), looks.group_at(len(index.findings))
    if not everything and (all_at is None or all_at > joint):
        if all_at is not None:
            state.agenda.plan(case, all_at)
        if group_at > joint:
            state.agenda.plan(case, group_at)
            return
    campaigns = index.grouping.campaigns()
    homes = {each.id: members[0].founds for members in campaigns for each in members}
    around = _around(index, case, now)
    asks = everything or (all_at is not None and all_at <= joint)

    def holds(rests: Rests) -> bool:
        heard = (_heard(state, case, source, day, now) for source, day in rests.unheard)
        return not everything and rests.around == around and not any(heard)

    looks.begin(joint, asks=asks, holds=holds)
    incidents, rivalry = [], index.grouping.rivals()
    for members in campaigns:
        rivals = rivalry.get(members[0].id, ())
        at = looks.build_at(members, rivals)
        if at is not None and at <= joint:
            incident, rests = _incident(state, case, members, rivals, around, now)
            incidents.append(incident)
            looks.done(members, rivals, incident, rests, joint)
            at = looks.build_at(members, rivals)
        if at is not None:
            state.agenda.plan(case, at)
    looks.keep(members[0].id for members in campaigns)
    yield from state.publisher.settle(case, index.emitted, incidents, homes, now)


def _incident(
    state: IncidentsState, case: bytes, members: Sequence[Linked], rivals: Sequence[Linked], around: tuple[object, ...], now: Watermarks
) -> tuple[Incident, Rests]:
    index, (cluster, _) = state.index(case), case_name(case)
    people = state.directory.of(cluster)
    unheard: set[tuple[Source, int]] = set()

    def heard(source: Source, day: int) -> bool:
        found = _heard(state, case, source, day, now)
        if not found:
            unheard.add((source, day))
        return found

    places: set[str] = set()

    def logins(who: str, time: int) -> Logins:
        """To the account of this identity, under whatever id they were told."""
        accounts = [*people.told_as(who, time)]

        def others(place: str, days: range) -> Iterator[Beside]:
            places.add(place)
            for each in index.places.others(place, accounts, days):
                yield each._replace(member=state.roles.get(each.account, Role.MEMBER) == Role.MEMBER)

        return Logins(index.logins_of(accounts), people.owned(who, KEY), others)

    first, last = window_of(members)
    accused = {each.finding.suspect for each in members} - {""}
    silent = {}
    for source in WATCHED:
        days = [name for start, name in days_of(first, last) if not heard(source, start)]
        if days and (source in NEEDED or now.known(cluster, source)):  # what else a site does not ship is not a gap
            silent[source.value] = days
    known = Known(
        role=lambda who: state.roles.get(who, ""),
        signals=_signals(people, index, accused, first, last),
        heard=heard,
        entered=lambda who, time: logins(who, time).entered(_of_session(time)[0], time),
        unlike=lambda who, day: logins(who, day).unlike(*_of_session(day)),
    )
    with index.attempts.questions.working() as asked:
        others = [each.finding for each in rivals]
        around_it = Surroundings(state.directory, known, silent, index.full, index.attempts, state.pricing, others)
        built = building.build(cluster, members, around_it)
    suspects = frozenset(account for who in accused for account in people.told_as(who))
    return built, Rests(asked, suspects, frozenset(places), frozenset(unheard), around)


def _heard(state: IncidentsState, case: bytes, source: Source, day: int, now: Watermarks) -> bool:
    """Was the source heard on this day?  Once heard, always heard."""
    index, name = state.index(case), f"{HEARD}{source.value}/{day}"
    if name not in index.heard and now.heard_within(case_name(case)[0], source, day, day + DAY_MS - 1):
        state.cases.merge(Fact(case, name, rank(1), b"\x01"))
        index.heard.add(name)
    return name in index.heard


def _of_session(day: int) -> tuple[int, int]:
    """The days on which a session may have begun in which something was done on this day."""
    return day // DAY_MS - SESSION_DAYS, day // DAY_MS


def _signals(people: Directory, index: IncidentsIndex, whose: Iterable[str], first: int, last: int) -> dict[str, list[Finding]]:
    """Those that are near enough in time, by suspect; whichever incident they belong to.  One tells of all uses, from the first on."""
    found: dict[str, list[Finding]] = {}
    for each in sorted(index.signals.values(), key=lambda each: (each.effect_time, each.id)):
        if each.effect_time <= last + GAP_MS and (each.effect == AFTER_END or each.closes_at >= first - GAP_MS):
            for who in whose:
                if each.subject.name in people.told_as(who, each.effect_time):
                    found.setdefault(who, []).append(each)
    return found


def _forget(state: IncidentsState, case: bytes, before: int) -> bool:
    """Drop incidents of which nothing was heard since `before`, with what was said of them, and attempts that no other incident spans."""
    index = state.index(case)
    oldest, dropped = before, False
    for members in index.grouping.campaigns():
        if max(max(each.finding.effect_time, each.finding.closes_at) for each in members) >= before:
            oldest = min(oldest, window_of(members)[0])
            continue
        dropped = True
        for each in members:
            state.cases.drop(case, each.id)
            index.void(each.id)
            if index.emitted.pop(each.founds, None) is not None:
                state.cases.drop(case, f"{EMITTED}{each.founds}")
    for fact_id in index.attempts.before(oldest):
        state.cases.drop(case, fact_id)
        index.void(fact_id)
    for name in [name for name in index.heard if int(name.rpartition("/")[2]) < oldest - DAY_MS]:
        state.cases.drop(case, name)
        index.heard.discard(name)
    for fact_id in index.logins_before(oldest // DAY_MS - SESSION_DAYS - HABIT_DAYS):
        state.cases.drop(case, fact_id)
    return dropped
