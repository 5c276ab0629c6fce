"""Incidents and the truth in; whether the right person leads, whether anybody was named wrongly, and whether the loss is right, out.

An act belongs to the incident that holds most of the findings about it, alerts first; an incident that no act belongs to is a fragment,
which is asked for its name alone.  Two acts may harm one job: where a finding fits several, it is about those of its own pattern, and those
whose files it cites; and one that cites a file of another act is about that one.  Where the truth knows the write that it cites, it is
about nothing else: about the act of which that is a step, or none where it was harmless.  One on a queue is about the flood of whose jobs
it cites most.

    attributable   one of its acts is, by the truth, and a source that shows who acted arrives: whatever we made of it
    leader         right: an actor of its acts, as "did"; borrowed: an actor's account, or a victim's, in others' hands;
                   open: nobody, or somebody of whom no record tells; wrong: anybody else
    by actor       the same of everybody who acted in it: who comes first, in the order of the incident's hypotheses, of those whom the
                   findings about this actor's acts suspect; that they suspect another actor whose act they fit as well is left out
    named          right, wrong, or withheld
    wasted         GPU-hours that the simulator knows to be destroyed or wasted by its acts, each moment of an attempt once

Where several act in one incident its one leader can be right while all others go unseen, so each of them is asked for.  A reading that is
wide enough always holds the truth, so how wide it is stands beside: high / low, and middle against what was wasted.

The simulator's GPU-hours come from its own causes (simulate/waste.py), not from the formulas of loss/.  What still ran when the period
ended is left out by both.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from math import inf
from typing import Any

import msgspec

from pipeline.model.incident import label_of
from pipeline.model.instants import HOUR_MS
from pipeline.score.match import Found, cites, fitting_acts, is_own
from pipeline.score.truth import Act, Truth, Wasted

# Sources whose records say under which account a pattern's act was done.
TELLS_WHO = {"p13": frozenset({"slurmctld", "jobcomp", "sacct"}), "p03": frozenset({"slurmctld", "sacct", "auditd"})}
TELLS_WHO_ELSE = frozenset({"auditd", "sshd", "slurmctld", "git_push"})
RIGHT, BORROWED, OPEN, WRONG, WITHHELD = "right", "borrowed", "open", "wrong", "withheld"
# The truth is in milliseconds; records of the scheduler state whole seconds, and log lines are stamped a moment after what they tell.
SLACK_SHARE, SLACK_HOURS = 0.02, 0.1
MOMENT_MS = 5_000  # at most between what wrote, and the record of it
Name = tuple[str, int]


class OfActor(msgspec.Struct, frozen=True):
    """What an incident tells of one who acted in it."""

    actor: str
    acts: tuple[str, ...]
    attributable: bool
    findings: int  # about these acts
    leader: str  # for them: right | borrowed | open | wrong


class Judged(msgspec.Struct, frozen=True):
    """What came of one incident."""

    id: str
    alert: bool
    acts: tuple[str, ...]  # that belong to it; none: a fragment, or false
    actors: tuple[str, ...]
    attributable: bool
    leader: str  # right | borrowed | open | wrong
    named: str  # right | wrong | withheld
    findings: int
    low: float  # GPU-hours
    middle: float
    high: float
    wasted: float
    by_actor: tuple[OfActor, ...] = ()  # empty in results from before it was asked

    @property
    def counted(self) -> bool:
        """Does it stand for acts, above the gate?"""
        return self.alert and bool(self.acts)

    @property
    def inside(self) -> bool:
        """Is what was wasted between low and high?"""
        slack = max(SLACK_HOURS, SLACK_SHARE * self.wasted)
        return self.low - slack <= self.wasted <= self.high + slack

    @property
    def width(self) -> float:
        """High / low; infinite where low alone is nothing, one where both are."""
        if self.low > 0:
            return self.high / self.low
        return inf if self.high > 0 else 1.0


def is_attributable(act: Act) -> bool:
    """Does a source that arrives tell whose account did it?  Nothing that was found is asked."""
    return act.attributable and bool(TELLS_WHO.get(act.pattern, TELLS_WHO_ELSE) & set(act.shows))


def judged(incidents: Iterable[Mapping[str, Any]], findings: Sequence[Found], truth: Truth, key: bytes = b"") -> list[Judged]:
    """All incidents that were not taken back, in order of their ids.  `key`: of the labels of candidates (Directory.key)."""
    known = sorted((body for body in incidents if body["status"] != "retracted"), key=lambda body: str(body["id"]))
    by_id, fitting = {finding.id: finding for finding in findings}, fitting_acts(truth)
    members = [[by_id[name] for name in _members(body) if name in by_id] for body in known]
    about = [[(finding, act) for finding in mine for act in fitting(finding)] for mine in members]
    homes = _homes(known, [_closest(pairs, truth) for pairs in about])
    return [_judge(body, pairs, [act for act in truth.acts if homes.get(act.id) == place], truth, key)
            for place, (body, pairs) in enumerate(zip(known, about, strict=True))]  # fmt: skip


def _members(body: Mapping[str, Any]) -> list[str]:
    return [*(each["finding"] for each in body["members"]), *(each[0] for each in body["others"])]


def _is_of(finding: Found, act: Act) -> bool:
    return finding.anchor in act.artefacts or cites(finding, act)


def _closest(pairs: Iterable[tuple[Found, Act]], truth: Truth) -> list[tuple[Found, Act]]:
    """Without acts that a finding fits, where it is nearer to others."""
    fitting: dict[str, tuple[Found, list[Act]]] = {}
    for finding, act in pairs:
        fitting.setdefault(finding.id, (finding, []))[1].append(act)
    writes = _writes(truth)
    found = []
    for finding, acts in fitting.values():
        near = [act for act in acts if is_own(finding, act) or _is_of(finding, act)]
        if near or any(_is_of(finding, act) for act in truth.acts):
            acts = near
        if wrote := set(_writers(finding, writes)):
            acts = [act for act in acts if act.id in wrote]
        if finding.name.startswith("queue/"):
            jobs = {word for text in finding.cited for word in text.split()}
            cited = Counter(each.act for each in truth.waste if each.kind == "held" and each.job in jobs)
            acts = [act for act in acts if cited[act.id] == max(cited.values(), default=0)]
        found += [(finding, act) for act in acts]
    return found


def _writes(truth: Truth) -> list[tuple[int, str, str]]:
    """(when, which file, by which act) of all that altered one, in order of time; no act: by something harmless."""
    by_acts = ((time, path, act.id) for act in truth.acts for time in act.times_ms for path in act.artefacts)
    return sorted([*by_acts, *((each.time_ms, each.artefact, "") for each in truth.look_alikes if each.artefact)])


def _writers(finding: Found, writes: Sequence[tuple[int, str, str]]) -> Iterator[str]:
    """By which acts the writes were that it cites; none: the truth does not know them."""
    for time in finding.written:
        first = bisect_left(writes, (time - MOMENT_MS,))
        behind = bisect_left(writes, (time + MOMENT_MS + 1,))
        for _, path, act in writes[first:behind]:
            if path == finding.anchor or any(path in text for text in (finding.name, *finding.cited)):
                yield act


def _homes(known: Sequence[Mapping[str, Any]], about: Sequence[Sequence[tuple[Found, Act]]]) -> dict[str, int]:
    """Act -> place of the incident that it belongs to: findings of its own pattern first, then alerts, then numbers."""
    best: dict[str, tuple[tuple[bool, int, int, int], int]] = {}
    for place, pairs in enumerate(about):
        for act in {act.id: act for _, act in pairs}.values():
            mine = [finding for finding, each in pairs if each is act]
            own = [finding for finding in mine if is_own(finding, act)]
            weight = (bool(known[place]["alert"]), sum(each.alert for each in own), len(own), len(mine))
            if act.effective and (act.id not in best or weight > best[act.id][0]):
                best[act.id] = weight, place
    return {act: place for act, (_, place) in best.items()}


def _judge(body: Mapping[str, Any], pairs: Sequence[tuple[Found, Act]], acts: Sequence[Act], truth: Truth, key: bytes) -> Judged:
    # A fragment is about the acts that its findings fit, although these belong elsewhere.
    concerned = {act.id: act for act in (acts or [act for _, act in pairs])}.values()
    said, cluster = body["attribution"], str(body["cluster"])
    is_actor = _called({act.actor for act in concerned}, cluster, key)
    is_victim = _called({each.owner for act in concerned for each in act.victims}, cluster, key)
    kind, _, who = str(said["leader"]).partition("/")
    named = WITHHELD if not said["named"] else RIGHT if is_actor(str(said["named"])) else WRONG
    hours = body["loss"]["direct_gpu_hours"]
    near = _closest(pairs, truth)
    mine = {act.id for act in acts}
    return Judged(
        id=str(body["id"]),
        alert=bool(body["alert"]),
        acts=tuple(sorted(mine)),
        actors=tuple(sorted({act.actor for act in acts})),
        attributable=any(is_attributable(act) for act in acts),
        leader=_leader(kind, who, is_actor, is_victim),
        named=named,
        findings=int(body["findings"]),
        low=float(hours[0]),
        middle=float(hours[1]),
        high=float(hours[2]),
        wasted=round(hours_of(each for each in truth.waste if each.act in mine), 3),
        by_actor=tuple(_of_actor(actor, body, near, acts, key) for actor in sorted({act.actor for act in acts})),
    )


def _of_actor(actor: str, body: Mapping[str, Any], pairs: Sequence[tuple[Found, Act]], acts: Sequence[Act], key: bytes) -> OfActor:
    mine = {act.id: act for act in acts if act.actor == actor}
    cluster, about = str(body["cluster"]), {finding.id for finding, act in pairs if act.id in mine}
    fits: dict[str, set[str]] = {}  # finding -> to whom it may rightly point
    for finding, act in pairs:
        fits.setdefault(finding.id, set()).add(act.actor)
    is_actor = _called({actor}, cluster, key)
    is_victim = _called({each.owner for act in mine.values() for each in act.victims}, cluster, key)
    suspected = set()
    for member in body["members"]:
        name, who = member["finding"], str(member["who"])
        if name in about and (is_actor(who) or not _called(fits[name], cluster, key)(who)):
            suspected.add(who)
    order = [each for each in body["attribution"]["hypotheses"] if each["who"] and each["who"] in suspected]
    kind, who = (order[0]["kind"], order[0]["who"]) if order else ("", "")
    return OfActor(
        actor=actor,
        acts=tuple(sorted(mine)),
        attributable=any(map(is_attributable, mine.values())),
        findings=len(about),
        leader=_leader(kind, who, is_actor, is_victim),
    )


def _leader(kind: str, who: str, is_actor: Callable[[str], bool], is_victim: Callable[[str], bool]) -> str:
    if kind == "did":
        return RIGHT if is_actor(who) else WRONG
    if kind == BORROWED:
        return BORROWED if is_actor(who) or is_victim(who) else WRONG
    return OPEN


def _called(people: Iterable[str], cluster: str, key: bytes) -> Callable[[str], bool]:
    """Under their ids, and under the labels that hide them."""
    names = {name for who in people for name in (who, label_of(cluster, who, key))}
    return lambda who: who in names


def hours_of(waste: Iterable[Wasted]) -> float:
    """GPU-hours of stretches; of what several acts wasted at a moment of an attempt never more than all."""
    by_attempt: dict[Name, list[Wasted]] = {}
    for each in waste:
        by_attempt.setdefault((each.job, each.submit_ms), []).append(each)
    return sum(_of_attempt(mine) * mine[0].gpus for mine in by_attempt.values()) / HOUR_MS


def _of_attempt(waste: Sequence[Wasted]) -> float:
    """Milliseconds."""
    events = sorted({each.start_ms for each in waste} | {each.end_ms for each in waste})
    steps = dict.fromkeys(events, 0.0)
    for each in waste:
        steps[each.start_ms] += each.share
        steps[each.end_ms] -= each.share
    total = level = 0.0
    for start, end in pairwise(events):
        level += steps[start]
        total += min(1.0, level) * (end - start)
    return total
