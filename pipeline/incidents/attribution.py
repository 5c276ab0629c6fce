"""A campaign in; hypotheses about who, weighed against one another, out.  Hypotheses are weighed, not people.

    did/X        the holder of identity X did it          borrowed/X   somebody else did it with X's account or key
    nobody       machine, scheduler, mistake              other        somebody of whom no record tells

Direct links carry the weight: whose account wrote what the job loaded, sent the signal, gave the order.  Presence orders a search at best
and stands nowhere here.  Every kind of evidence counts once (likelihoods.py).  What two hypotheses share is left out of the gap between
them, so that X and X's borrowed account differ only by what is known of X's logins.

A name is given only when all of this holds, and what fails is said:

    a member finding names X, which takes its own gate             X is one known person's account, of no service
    two independent sources say who acted, one out of X's reach    no finding says that X's account was borrowed
    not all of them are logs of one host (origins.py)
    logins were heard on the days of the acts                      before each of them X had logged in, on that day or in the week before
    none of these logins was unlike X's own (logins.py)
    the gap is wide enough, more so the more candidates there are
    not all of it rests on files that had been altered before, no record says by whom: what he did elsewhere must name him by itself

Holds: the same campaign gives the same body; neither leader nor name depends on the order of members; a name rests neither on one source
nor on one host.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from math import inf, log10

import msgspec

from pipeline.detect.benign_artefacts import ALTERED_BEFORE
from pipeline.detect.gates import GROUPS, name_or_reason
from pipeline.incidents.campaigns import CAUSING, artefacts_of, of_several
from pipeline.incidents.families import DIVERGED, ENDINGS, SLOWED, counts, family_of, is_signal
from pipeline.incidents.likelihoods import BORROWED_GAP_MIN, GAP_MIN, KINDS
from pipeline.incidents.origins import origins, too_few
from pipeline.incidents.report_text import ratio
from pipeline.model.finding import OF_ANYBODY, ONLY_LOGGED, Checked, Evidence, Finding
from pipeline.model.identity import Identity
from pipeline.model.incident import WITNESSES_MAX, Attribution, Deciding, Hypothesis, Weighed, Witness, label_of
from pipeline.model.instants import DAY_MS
from pipeline.model.source import Source

WHO = CAUSING - {"act", "hook", "unpickled"} | {"read"}  # roles of records that say under whose account something was done
COMPARED = frozenset({SLOWED, DIVERGED, ENDINGS})  # that the act had a part in the harm is shown by a comparison, which may err
LOADED = frozenset({"loaded", "imported", "hook", "unpickled"})
DAYS_MIN = 3
CITED_MAX = 5
SESSION_DAYS = 7  # so long somebody stays in a session that nobody saw him leave
SESSION_MS = SESSION_DAYS * DAY_MS
AFTER_END = "access_after_end"  # what P17 calls it
OF_ACTS = frozenset({"act", "act_below_gate", "bytes"})  # rows that a rival's hypothesis has
KIND_ORDER = ("did", "borrowed", "nobody", "other")


class Known(msgspec.Struct, frozen=True):
    """What attribution needs beside the campaign."""

    role: Callable[[str], str]  # of an identity id: member, admin, service; empty: the identity map does not know it
    signals: Mapping[str, Sequence[Finding]]  # identity id -> findings that its account was used by others
    heard: Callable[[Source, int], bool]  # did anything of the source arrive, of the day that begins so?
    entered: Callable[[str, int], bool]  # is a login of this account on record, before this time, UTC ms, and within a week?
    unlike: Callable[[str, int], Sequence[tuple[int, str]]]  # of these, on which day one was unlike its owner's, and in what (logins.py)


def attribute(cluster: str, members: Sequence[Finding], known: Known, key: bytes = b"", rivals: Sequence[Finding] = ()) -> Attribution:
    """Who may have done it.  `rivals`: what others are suspected of at the same artefacts; none of them is named here."""
    own = sorted({each.suspect for each in members if each.suspect})
    candidates = sorted({*own, *(each.suspect for each in rivals)})
    views = [Candidate(who, (*members, *rivals), known) for who in own]
    hypotheses = [hypothesis for view in views for hypothesis in view.hypotheses()]
    theirs: dict[str, list[Finding]] = {who: [] for who in candidates if who not in own}
    for each in rivals:
        theirs[each.suspect].append(each)
    hypotheses += [Candidate(who, acts, known).as_rival() for who, acts in theirs.items()]
    hypotheses += [_nobody(members), _other(members, views)]
    hypotheses.sort(key=lambda each: (-(each.low + each.high), KIND_ORDER.index(each.kind), each.who not in own, each.who))
    leader = hypotheses[0]
    gaps = sorted((gap(leader, each), KIND_ORDER.index(each.kind), each.who, place) for place, each in enumerate(hypotheses) if place)
    (gap_low, gap_high), _, _, place = gaps[0]
    needed = GAP_MIN + log10(max(1, len(candidates)))
    view = next((each for each in views if each.who == leader.who), None)
    if leader.who and not view:
        reasons = ["the leading candidate is suspected of other acts, at the same artefacts: an incident of its own is about these"]
    elif view and leader.kind == "did":
        reasons = list(view.reasons(hypotheses, needed))
    else:
        reasons = [_no_leader(leader, members), *(view.doubts() if view else ())]
    named = view.who if view and not reasons else ""
    labels = {who: who if who == named else label_of(cluster, who, key) for who in candidates}
    said = [msgspec.structs.replace(each, who=labels.get(each.who, "")) for each in hypotheses]
    return Attribution(
        named=named,
        withheld="; ".join(reasons),
        leader=_title(said[0]),
        second=_title(said[place]),
        gap_low=round(gap_low, 2),
        gap_high=round(gap_high, 2),
        gap_needed=round(needed, 2),
        candidates=len(candidates),
        hypotheses=tuple(said),
        clears=tuple(_clears(leader, (*members, *rivals))),
        decides=tuple(_decides(members, views)),
        alerts=len(view.alerts) if view else 0,
        alone=tuple(view.witnesses())[:WITNESSES_MAX] if view else (),
    )


def gap(one: Hypothesis, other: Hypothesis) -> tuple[float, float]:
    """Decimal logarithm of the ratio between two hypotheses, low and high, without what both share."""
    shared = {(each.kind, each.cites) for each in one.weighed} & {(each.kind, each.cites) for each in other.weighed}
    lows = highs = 0.0
    for sign, hypothesis in ((1, one), (-1, other)):
        for each in hypothesis.weighed:
            if (each.kind, each.cites) not in shared:
                low, high = log10(each.low), log10(each.high)
                lows += low if sign > 0 else -high
                highs += high if sign > 0 else -low
    return lows, highs


class Candidate:
    """What the campaign holds about one identity."""

    def __init__(self, who: str, members: Sequence[Finding], known: Known) -> None:
        self.who, self._known = who, known
        self.acts = [each for each in members if each.suspect == who]
        # Whose user somebody became says of no harm that he did it: it is not a second word on who acted.
        self.alerts = [each for each in self.acts if counts(each) and not is_signal(each)]
        self.others = [each for each in members if each.suspect and each.suspect != who and counts(each)]
        self.role = known.role(who)
        self.signals = tuple(known.signals.get(who, ()))
        told = [item for each in self.alerts for item in each.evidence if item.role in WHO]
        # A line that anybody writes adds nothing, and takes nothing: else whoever did it would write one.
        self.records = [item for item in told if not item.summary.endswith(OF_ANYBODY)] or told
        self.is_logged = any(item.summary.endswith(ONLY_LOGGED) for item in told)
        # Of accounts alone: role "" passes the gate of sources, which knows root and daemons only.
        self.unattested = name_or_reason(Identity(id=who, role=self.role), self.records)[1] or too_few(self.records)
        self.attested = not self.unattested

    @property
    def told(self) -> set[str]:
        """Groups of sources that say who acted."""
        return {GROUPS.get(item.source, item.source) for item in self.records}

    @property
    def shared(self) -> bool:
        """Can several people use the account?"""
        return self.role in ("service", "shared")

    @cached_property
    def times(self) -> frozenset[int]:
        """Of all acts, UTC ms: a finding may be about several."""
        told = {item.event_time for each in self.acts for item in each.evidence if item.role in WHO}
        return frozenset(told | {each.cause_time for each in self.acts})

    @property
    def days(self) -> list[int]:
        """Starts of days with acts, UTC ms."""
        return sorted({time // DAY_MS * DAY_MS for time in self.times})

    @property
    def heard(self) -> bool:
        """Were logins recorded on all of these days?"""
        return self.is_heard(Source.SSHD)

    def is_heard(self, source: Source) -> bool:
        """On all days of the acts?"""
        return all(self._known.heard(source, day) for day in self.days)

    @property
    def entered(self) -> bool:
        """Had the account been logged in to before each of the acts?  Timers, and whoever is root, act under it without."""
        return all(self._known.entered(self.who, time) for time in sorted(self.times))

    @cached_property
    def unlike(self) -> Sequence[tuple[int, str]]:
        """Logins unlike the owner's, in whose sessions acts may have been done: day and what is unlike."""
        return sorted({each for day in self.days for each in self._known.unlike(self.who, day)})

    def witnesses(self) -> Iterator[Witness]:
        """Of which acts one place alone tells who did them, or none that counts; the most first."""
        told: dict[str, list[str]] = {}
        for each in self.alerts:
            places = origins(item for item in each.evidence if item.role in WHO)
            if len(places) < 2:
                told.setdefault(min(places, default=""), []).append(each.detector)
        for place, detectors in sorted(told.items(), key=lambda each: (-len(each[1]), each[0])):
            yield Witness(place, len(detectors), tuple(sorted(set(detectors))))

    def hypotheses(self) -> list[Hypothesis]:
        """The holder, and somebody else with the account."""
        same = list(self._acted())
        clear = [each for each in self.signals if each.alert]
        near = [each for each in clear if not self.alerts or self._is_near(each)]  # without an act that counts it is about these
        doubt = [weighed("owner_less", _cited(near))] if near or self.shared else []
        borrowed = [weighed("no_sign" if self.heard else "unheard", ())]
        if near:
            borrowed = [weighed("signal", _cited(near))]
        elif clear and self.heard:
            borrowed = [weighed("signal_apart", _cited(clear))]
        elif self.signals and self.heard:
            borrowed = [weighed("open_sign", _cited(self.signals))]
        elif self.heard and not self.entered:
            borrowed = [weighed("no_login", ())]
        elif self.heard and self.unlike:
            borrowed = [weighed("unlike_owner", ())]
        if self.shared:
            borrowed.append(weighed("shared", ()))
        return [hypothesis("did", self.who, [*same, *doubt]), hypothesis("borrowed", self.who, [*same, *borrowed])]

    def _is_near(self, signal: Finding) -> bool:
        """Was an act done while others used the account, or so soon after that their session may have lasted?

        Their use begins with a login, and that is the sign: what was done days before it was not done in that session.
        """
        since, until = signal.effect_time - DAY_MS, signal.closes_at + SESSION_MS
        for_good = signal.effect == AFTER_END  # its owner has left and comes back to none of the later acts
        return any(since <= time and (for_good or time <= until) for time in self.times)

    def _acted(self) -> Iterator[Weighed]:
        """What is known of the account, whoever used it."""
        caused = any(family_of(each).cost not in COMPARED for each in self.alerts)
        yield weighed("act", _ids(self.records)) if caused else weighed("act_below_gate", _cited(self.acts))
        if loaded := [each for each in self.alerts if "written" in roles_of(each) and roles_of(each) & LOADED]:
            yield weighed("bytes", _cited(loaded))
        if self.attested:
            first = {GROUPS.get(item.source, item.source): item for item in sorted(self.records, reverse=True)}  # of each source
            yield weighed("second_source", _ids(first.values()))
        if len({each.cause_time // DAY_MS for each in self.alerts}) >= DAYS_MIN:
            yield weighed("days", _cited(self.alerts))
        if reads := [each for each in self.acts if family_of(each).means == "reading"]:
            yield weighed("reads", _cited(reads))
        if self._came_after():
            yield weighed("came_after", _cited(self.acts))
        if self.came_after_unseen:
            yield weighed("altered_before", _cited(each for each in self.acts if is_altered_before(each)))

    @cached_property
    def came_after_unseen(self) -> bool:
        """Had a file been altered before his acts on it, no record says by whom, and do the acts that rest on no such file not name him?

        On it rest what was done to the file, with what came of that, and to the runs that had loaded it: whoever looks for what befell
        them edits it and cancels them.  What he did elsewhere counts by itself: else whoever alters a file unseen first is never named.
        """
        found = [each for each in self.acts if is_altered_before(each)]
        if not found:
            return False
        paths, runs = {path for each in found for path in artefacts_of(each)}, {each.attempt for each in found}
        writes = {item.event_id for each in found for item in each.evidence if item.role == "written"}
        apart = [
            each
            for each in self.acts
            if not (artefacts_of(each) & paths or each.attempt in runs or any(item.event_id in writes for item in each.evidence))
        ]
        return not (any(each.actor == self.who for each in apart) and Candidate(self.who, apart, self._known).attested)

    def as_rival(self) -> Hypothesis:
        """Of what he did elsewhere only the acts weigh here, not what more is known of the account."""
        return hypothesis("did", self.who, [row for row in self._acted() if row.kind in OF_ACTS])

    def _came_after(self) -> bool:
        """Was each act done to something that another hand had altered before, so that the harm may be the other's?"""
        begun: dict[str, int] = {}
        for each in self.others:
            for path in artefacts_of(each):
                begun[path] = min(each.effect_time, begun.get(path, each.effect_time))
        return all(any(begun.get(path, inf) < each.cause_time for path in artefacts_of(each)) for each in self.acts)

    def doubts(self) -> Iterator[str]:
        """Why the account need not be its holder."""
        if self.shared:
            yield "several people can use the account"
        if self.signals:
            yield "a finding says that the account was borrowed"
        if self.heard and not self.entered:
            yield "logins were recorded, but none of this account in the week before each act: who used it nobody knows"
        if self.unlike:
            first = self.unlike[0][0]
            since = datetime.fromtimestamp(first * DAY_MS / 1000, UTC).date()
            what = " and ".join(what for day, what in self.unlike if day == first)
            yield f"on {since}, in the week before an act or on its day, the account was entered {what}: whose session it was nobody knows"

    def reasons(self, hypotheses: Iterable[Hypothesis], needed: float) -> Iterator[str]:
        """Why the leading candidate is not named."""
        first = self.acts[0]
        named = any(each.actor == self.who for each in self.acts)
        unnamed = "" if named else first.actor_withheld or first.gate or "below the gate"
        if unnamed:
            yield f"no finding names this candidate: {unnamed}"
        if not self.attested and self.unattested != unnamed:
            yield f"of who acted: {self.unattested}"
        if not self.role:
            yield "by the identity map nobody had the account then"
        yield from self.doubts()
        if not self.heard:
            yield "logins were not recorded on every day of the acts, so that a borrowed account cannot be told"
        if self._came_after():
            yield "everything under this account was done where the harm had begun by another hand"
        if self.came_after_unseen:
            yield "what this account altered had been altered before by somebody of whom no record tells"
        mine = next(each for each in hypotheses if each.kind == "did" and each.who == self.who)
        for each in hypotheses:
            bar = BORROWED_GAP_MIN if (each.kind, each.who) == ("borrowed", self.who) else needed
            if each is not mine and gap(mine, each)[0] < bar:
                yield f"the gap to {_words(each)} is below a factor of {ratio(bar)}"
                return


def is_altered_before(finding: Finding) -> bool:
    """Is it about a file that had been altered before, no record says by whom?"""
    return any(item.name == ALTERED_BEFORE and item.answer is Checked.NOT_CHECKED for item in finding.checklist)


def roles_of(finding: Finding) -> set[str]:
    """Roles of the records that a finding cites."""
    return {item.role for item in finding.evidence}


def weighed(kind: str, cites: tuple[str, ...]) -> Weighed:
    """One row of the table, with the records that show it."""
    row = KINDS[kind]
    return Weighed(kind=kind, statement=row.statement, low=row.low, high=row.high, source=row.source, cites=cites)


def hypothesis(kind: str, who: str, rows: Sequence[Weighed]) -> Hypothesis:
    """The product of its ratios, as logarithms."""
    low, high = sum(log10(each.low) for each in rows), sum(log10(each.high) for each in rows)
    return Hypothesis(kind=kind, who=who, low=round(low, 2), high=round(high, 2), weighed=tuple(rows))


def _nobody(members: Sequence[Finding]) -> Hypothesis:
    rows = []
    acts = [each for each in members if counts(each) and any(item.role in CAUSING for item in each.evidence)]
    if caused := [each for each in acts if family_of(each).cost not in COMPARED]:
        rows.append(weighed("recorded_act", _cited(caused)))
    elif compared := [each for each in acts if family_of(each).cost != ENDINGS]:
        rows.append(weighed("compared", _cited(compared)))
    if any(each.attempt is not None for each in members):
        rows.append(weighed("ends_badly", ()))
    if ended := [each for each in members if each.alert and family_of(each).cost == ENDINGS]:
        rows.append(weighed("sequential", _cited(ended)))
    return hypothesis("nobody", "", rows)


def _other(members: Sequence[Finding], views: Sequence[Candidate]) -> Hypothesis:
    """The measure of the others: one, unless the records themselves can be doubted."""
    rows = []
    acting = [view for view in views if view.alerts]
    if acting and not any(view.attested for view in acting):
        rows.append(weighed("one_source", ()))
    if several := [each for each in members if of_several(each)]:
        rows.append(weighed("several_hands", _cited(several)))
    return hypothesis("other", "", rows)


def _clears(leader: Hypothesis, members: Sequence[Finding]) -> Iterator[str]:
    """What would speak for the leading candidate."""
    if leader.kind not in ("did", "borrowed"):
        return
    acts = [each for each in members if each.suspect == leader.who]
    yield "a ticket, agreement or order that covers the acts and was not entered"
    yield "a record that shows the holder of the account elsewhere, or the account in other hands, when the acts were done"
    if any("written" in {item.role for item in each.evidence} for each in acts):
        yield "the written files, when they hold nothing that explains the effect"
    names = sorted({item.name for each in acts for item in each.checklist if item.answer is Checked.NOT_CHECKED})
    if names:
        yield f"a record that confirms what could not be checked: {', '.join(names)}"


def _decides(members: Sequence[Finding], views: Sequence[Candidate]) -> Iterator[Deciding]:
    """Sources that were missing and would tell."""
    if any(not view.heard for view in views):
        yield Deciding(Source.SSHD.value, "logins on the days of the acts: whether the account was borrowed")
    if any(view.heard and not view.entered for view in views):
        yield Deciding(Source.AUDITD.value, "the processes behind the acts: of a session, a timer, a job, or started by root")
    unattested = [view for view in views if view.alerts and not view.attested]
    silent = [
        word
        for word in (Source.AUDITD, Source.SLURMCTLD, Source.SSHD)  # by a line of sudo, which stands in sshd's log
        if any(GROUPS[word] not in view.told and not view.is_heard(word) for view in unattested)
    ]
    if any(view.is_logged for view in unattested):
        yield Deciding(Source.AUDITD.value, "sudo's own word on its commands (USER_CMD)")
    for word in [word.value for word in silent] or ["a source that is not read here"] * bool(unattested):
        yield Deciding(word, "a second word on who acted")
    missing: dict[str, set[str]] = {}
    for each in members:
        for item in each.checklist:
            if item.answer is Checked.NOT_CHECKED:
                for source in item.missing:
                    missing.setdefault(source, set()).add(item.name)
    for source in sorted(missing):
        yield Deciding(source, f"would have told: {', '.join(sorted(missing[source]))}")


def _no_leader(leader: Hypothesis, members: Sequence[Finding]) -> str:
    if leader.kind == "borrowed":
        return "the leading hypothesis is that the account was in others' hands"
    if leader.kind == "nobody":
        return "the leading hypothesis is that nobody did it"
    return "no record says who acted" + ("; of one effect at least it was several accounts" if any(map(of_several, members)) else "")


def _title(each: Hypothesis) -> str:
    return f"{each.kind}/{each.who}" if each.who else each.kind


def _words(each: Hypothesis) -> str:
    return {
        "did": "another candidate",
        "borrowed": "the account in others' hands",
        "nobody": "nobody's doing",
        "other": "somebody of whom no record tells",
    }[each.kind]


def _ids(records: Iterable[Evidence]) -> tuple[str, ...]:
    ordered = sorted({(item.event_time, item.event_id) for item in records})
    return tuple(event_id for _, event_id in ordered[:CITED_MAX])


def _cited(findings: Iterable[Finding]) -> tuple[str, ...]:
    causing = [item for each in findings for item in each.evidence if item.role in CAUSING or item.role == "read"]
    return _ids(causing)
