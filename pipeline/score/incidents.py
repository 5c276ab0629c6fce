"""Incidents and the truth in; whether the right person leads, whether anybody was named wrongly, and whether the loss is right, out.

An act belongs to the incident that holds most of the findings about it, alerts first; an incident that no act belongs to is a fragment,
which is asked for its name alone.

    attributable   one of its acts is, by the truth, and a source that shows who acted arrives: whatever we made of it
    leader         right: an actor of its acts, as "did"; borrowed: an actor's account, or a victim's, in others' hands;
                   open: nobody, or somebody of whom no record tells; wrong: anybody else
    named          right, wrong, or withheld
    wasted         GPU-hours that the simulator knows to be destroyed or wasted by its acts, each moment of an attempt once

The simulator's GPU-hours come from its own causes (simulate/waste.py), not from the formulas of loss/.  What still ran when the period
ended is left out by both.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import msgspec

from pipeline.model.incident import label_of
from pipeline.model.instants import HOUR_MS
from pipeline.score.match import Found, fitting_acts
from pipeline.score.truth import Act, Truth, Wasted

# Sources whose records say under which account a pattern's act was done.
TELLS_WHO = {"p13": frozenset({"slurmctld", "jobcomp", "sacct"}), "p03": frozenset({"slurmctld", "sacct", "auditd"})}
TELLS_WHO_ELSE = frozenset({"auditd", "sshd", "slurmctld", "git_push"})
RIGHT, BORROWED, OPEN, WRONG, WITHHELD = "right", "borrowed", "open", "wrong", "withheld"
# The truth is in milliseconds; records of the scheduler state whole seconds, and log lines are stamped a moment after what they tell.
SLACK_SHARE, SLACK_HOURS = 0.02, 0.1
Name = tuple[str, int]


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

    @property
    def counted(self) -> bool:
        """Does it stand for acts, above the gate?"""
        return self.alert and bool(self.acts)

    @property
    def inside(self) -> bool:
        """Is what was wasted between low and high?"""
        slack = max(SLACK_HOURS, SLACK_SHARE * self.wasted)
        return self.low - slack <= self.wasted <= self.high + slack


def is_attributable(act: Act) -> bool:
    """Does a source that arrives tell whose account did it?  Nothing that was found is asked."""
    return act.attributable and bool(TELLS_WHO.get(act.pattern, TELLS_WHO_ELSE) & set(act.shows))


def judged(incidents: Iterable[Mapping[str, Any]], findings: Sequence[Found], truth: Truth, key: bytes = b"") -> list[Judged]:
    """All incidents that were not taken back, in order of their ids.  `key`: of the labels of candidates (Directory.key)."""
    known = sorted((body for body in incidents if body["status"] != "retracted"), key=lambda body: str(body["id"]))
    by_id, fitting = {finding.id: finding for finding in findings}, fitting_acts(truth)
    members = [[by_id[name] for name in _members(body) if name in by_id] for body in known]
    about = [[(finding, act) for finding in mine for act in fitting(finding)] for mine in members]
    homes = _homes(known, about)
    return [_judge(body, pairs, [act for act in truth.acts if homes.get(act.id) == place], truth, key)
            for place, (body, pairs) in enumerate(zip(known, about, strict=True))]  # fmt: skip


def _members(body: Mapping[str, Any]) -> list[str]:
    return [*(each["finding"] for each in body["members"]), *(each[0] for each in body["others"])]


def _homes(known: Sequence[Mapping[str, Any]], about: Sequence[Sequence[tuple[Found, Act]]]) -> dict[str, int]:
    """Act -> place of the incident that it belongs to: findings of its own pattern first, then alerts, then numbers."""
    best: dict[str, tuple[tuple[bool, int, int, int], int]] = {}
    for place, pairs in enumerate(about):
        for act in {act.id: act for _, act in pairs}.values():
            mine = [finding for finding, each in pairs if each is act]
            own = [finding for finding in mine if finding.detector[:3] in (act.pattern, *act.also)]
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
    leader = OPEN
    if kind == "did":
        leader = RIGHT if is_actor(who) else WRONG
    elif kind == BORROWED:
        leader = BORROWED if is_actor(who) or is_victim(who) else WRONG
    named = WITHHELD if not said["named"] else RIGHT if is_actor(str(said["named"])) else WRONG
    hours = body["loss"]["direct_gpu_hours"]
    mine = {act.id for act in acts}
    return Judged(
        id=str(body["id"]),
        alert=bool(body["alert"]),
        acts=tuple(sorted(mine)),
        actors=tuple(sorted({act.actor for act in acts})),
        attributable=any(is_attributable(act) for act in acts),
        leader=leader,
        named=named,
        findings=int(body["findings"]),
        low=float(hours[0]),
        middle=float(hours[1]),
        high=float(hours[2]),
        wasted=round(hours_of(each for each in truth.waste if each.act in mine), 3),
    )


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
