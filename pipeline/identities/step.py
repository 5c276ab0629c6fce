"""Facts about people in; findings about accounts and about teams' conduct out, and to incidents on which days each account was entered.

An account is judged when something new is told of it, the larger the less often; a team some hours later; both when the window of what was
said closes, and once after a restart, since the identity map may have been corrected:

    login@97 with a key of somebody else        joint watermark passes 97 + grace        a key that is enrolled late
    provisional finding r1                      final r2                                 retracted r3

What lies before the retention is forgotten, and what was said of it stands: neither judged again on half the evidence nor taken back.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from pipeline.detect.detector import registry
from pipeline.detect.publishing import Publisher
from pipeline.detect.site import site_of
from pipeline.detect.subjects import IdentityCase
from pipeline.identities.index import IdentityIndex
from pipeline.model.actor import key_of
from pipeline.model.conduct import TEAM
from pipeline.model.facts import Fact, case_name, incidents_case
from pipeline.model.finding import Finding
from pipeline.model.identity import KEY
from pipeline.model.ids import rank
from pipeline.model.incident import BLOCK_DAYS, BY_OTHER, MANY, LoggedIn, Way, encode_in_case, entered_id, short
from pipeline.model.instants import DAY_MS, HOUR_MS
from pipeline.model.outcome import Outcome, Publish, Tell
from pipeline.model.told import Tombstone, decode_told, encode_told
from pipeline.settings import Settings
from pipeline.stream.agenda import Agenda
from pipeline.stream.cases import FULL, Cases
from pipeline.stream.sweep import Sweep
from pipeline.stream.watermark import COVERAGE, MARKS, Watermarks

QUIET_MS = 2 * DAY_MS  # after its last fact a case is packed
HORIZON = "horizon"  # id of the fact that says what was forgotten
SWEEP_CASES_MAX = 20  # in one step
WAYS_MAX = 16  # of one account on one day
UNSEEN_MAX = 20
TEAM_MS = 6 * HOUR_MS  # of event time between two looks at a team: what is said of one is about weeks, and a look costs by its conduct
LOOK_FACTS_FREE = 5_000  # an account of so many facts is looked at whenever one is told
LOOK_FACTS_A_MS = 5  # of event time, above that: a look costs 4 us a fact, so that no account takes more than some 2 % of a core


class IdentitiesState:
    """Cases by account, the indexes derived from them, and when to look at which again."""

    def __init__(self, settings: Settings, cases: Cases) -> None:
        self.cases = cases
        self.at = b""  # the case that is worked on: whoever catches what the step raises learns which
        self.site = site_of(settings)
        self.publisher = Publisher(cases, settings.digest())
        self.indexes: dict[bytes, IdentityIndex] = {}
        self.agenda = Agenda()
        self.judged: dict[bytes, int] = {}  # when a team or a large account was judged last; none after a restart
        self.unseen = deque(case for case in cases if case not in (MARKS, COVERAGE))
        self.keep_ms = settings.retention.identity_days * DAY_MS
        windows = settings.detect
        # A finding rests on what lies this far before its effect; below that distance from the horizon it stands as it was said.
        self.reach_ms = max(windows.diagnosis_window_seconds * 1000, 7 * DAY_MS)
        self.sweep = Sweep(DAY_MS, SWEEP_CASES_MAX)

    def index(self, case: bytes) -> IdentityIndex:
        """The index of an account, built from its case when first asked for."""
        known = self.indexes.get(case)
        if known is None:
            known = self.indexes[case] = IdentityIndex(*case_name(case))
            for fact_id, (_, body) in self.cases.of(case).items():
                if body:
                    known.add(fact_id, decode_told(body))
        return known

    def kept_from(self, index: IdentityIndex) -> int:
        """What was said and closed before stands."""
        return index.horizon + self.reach_ms if index.horizon else 0


def build_state(settings: Settings, cases: Cases) -> IdentitiesState:
    """State of one partition."""
    return IdentitiesState(settings, cases)


def step(state: IdentitiesState, batch: Sequence[Fact], now: Watermarks) -> tuple[IdentitiesState, list[Outcome]]:
    """Fold facts into the cases of their accounts and judge every case that changed or whose window `now` has closed.

    The same facts in any order within grace leave the same last body under every id.
    """
    dirty: dict[bytes, None] = {}
    state.at = b""
    for fact in batch:
        state.at = fact.case
        index = state.index(fact.case)
        if not state.cases.merge(fact):
            continue
        if not fact.body:
            index.void(fact.id)
        elif pushed_out := index.add(fact.id, decode_told(fact.body)):
            state.cases.leave_out(fact.case, pushed_out, FULL)
        dirty[fact.case] = None
    for _ in range(min(UNSEEN_MAX, len(state.unseen))):
        dirty[state.unseen.popleft()] = None
    dirty.update(dict.fromkeys(state.agenda.take_due(now)))
    outcomes: list[Outcome] = []
    for case in dirty:
        state.at = case
        if case in state.cases and not _waits(state, case, now):
            outcomes += _judge(state, case, now)
    for case, floor in state.sweep.due(state.cases, now):  # after judging: what is forgotten was judged before
        state.at = case
        if case in state.cases:
            _forget(state, case, floor)
    return state, outcomes


def _waits(state: IdentitiesState, case: bytes, now: Watermarks) -> bool:
    cluster, name = case_name(case)
    apart_ms = TEAM_MS if name.startswith(TEAM) else _apart_ms(len(state.index(case).told))
    if not apart_ms:
        return False
    joint, last = now.joint(cluster), state.judged.get(case)
    if last is not None and joint - last < apart_ms:
        state.agenda.plan(case, last + apart_ms)
        return True
    state.judged[case] = joint
    return False


def _apart_ms(facts: int) -> int:
    """Between two looks at an account: a robot's job a minute would cost a look at all of its jobs each time."""
    return facts // LOOK_FACTS_A_MS if facts > LOOK_FACTS_FREE else 0


def _judge(state: IdentitiesState, key: bytes, now: Watermarks) -> Iterator[Publish | Tell]:
    index = state.index(key)
    case = index.case(state.site)
    kept_from = state.kept_from(index)
    judged: list[Finding] = []
    for detector in registry("identity"):
        judged += (finding for finding in detector.judge(case, now) if finding.closes_at >= kept_from)
    again = state.agenda.plan
    yield from state.publisher.settle(key, index.emitted, judged, now, lambda time: again(key, time), kept_from=kept_from)
    yield from _entered(index, case)


def _entered(index: IdentityIndex, case: IdentityCase) -> Iterator[Tell]:
    """On which days the account was entered, and how, a fact for each block of days that has another one.

    Days that are forgotten here stay known there: what is left of their block has a lower rank, as it was entered less often.
    """
    enrolled = {short(name) for each in case.validities for kind, name in each.names if kind == KEY}
    blocks: dict[int, list[Way]] = {}
    for way in _ways(case.proven):
        blocks.setdefault(way.day // BLOCK_DAYS, []).append(way)
    for block, ways in blocks.items():
        own = {way.day for way in ways if not way.method.startswith(BY_OTHER) and (not enrolled or way.key in {"", *enrolled})}
        told = LoggedIn(tuple(sorted(own)), tuple(sorted(_bounded(ways))))
        if index.entered.get(block) != told:
            index.entered[block] = told
            earlier = sum(DAY_MS - way.first for way in ways)  # of logins alike a case keeps the first, however late it came
            order = rank(max(way.day for way in ways), len(own), len(ways), earlier)
            yield Tell("incidents", Fact(incidents_case(index.cluster), entered_id(index.name, block), order, encode_in_case(told)))


def _ways(case: IdentityCase) -> Iterator[Way]:
    """One for each time that the account was entered."""
    for event, login in case.logins:
        if login.outcome == "accepted":
            day, at = divmod(event.event_time, DAY_MS)
            key = key_of(login.fingerprint)
            # Whose ticket of Kerberos it is sshd writes there: no key, and another way all the same.
            method = f"{login.method} {short(login.fingerprint)}" if login.method.startswith("gssapi") else login.method
            yield Way(day, method, short(key), short(login.address), at)
    for event, body in case.entered:
        if (who := case.actor(event)) is not None and who.id != case.name:
            day, at = divmod(event.event_time, DAY_MS)
            yield Way(day, f"{BY_OTHER}{body.means} {short(body.user)}", "", "", at)


def _bounded(ways: Iterable[Way]) -> Iterator[Way]:
    """Each way of a day once, the first time.  Where an account is entered from hundreds of addresses a day its keys alone are told."""
    by_day: dict[int, list[Way]] = {}
    for way in _first(ways):
        by_day.setdefault(way.day, []).append(way)
    for day, known in by_day.items():
        if len(known) <= WAYS_MAX:
            yield from known
            continue
        yield from [way for way in known if way.method.startswith(BY_OTHER)][:WAYS_MAX]
        keys = (Way(day, MANY, way.key, "", way.first) for way in known if not way.method.startswith(BY_OTHER))
        yield from _first(keys)[:WAYS_MAX]


def _first(ways: Iterable[Way]) -> list[Way]:
    """Of those that differ in their time alone the first, in order."""
    return [next(same) for _, same in groupby(sorted(ways), key=lambda way: (way.day, way.method, way.key, way.place))]


def _forget(state: IdentitiesState, case: bytes, floor: int) -> None:
    """Forget what is older than the retention; pack a case of which nothing was heard for some days."""
    horizon, forget_at = floor - state.keep_ms, state.cases.sealed(case)
    if forget_at > floor:
        state.indexes.pop(case, None)  # it was looked at after a restart
        return
    index = state.index(case)
    old = list(index.before(horizon))
    for fact_id in old:
        state.cases.drop(case, fact_id)
    if not index.told:
        state.cases.drop(case)
        state.indexes.pop(case, None)
        state.judged.pop(case, None)
        return
    if old:
        index.horizon = horizon
        state.cases.merge(Fact(case, HORIZON, rank(horizon), encode_told(Tombstone((), (), horizon))))
    state.publisher.shorten(case, index.emitted, state.kept_from(index))
    if index.newest() + QUIET_MS <= floor:
        state.cases.seal(case, floor + state.keep_ms // 4)
        state.indexes.pop(case, None)
