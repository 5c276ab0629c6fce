"""What is known of an attempt in; what its end cost out: the claims that several families of findings make (losses.py, losses_beside.py).

    saved       began ===== save ===================== end      lost progress: from the save on
    hang                          last step ~~~~~~~~~~ end      where it stood still before it ended
    restart                                            end ---- next start, or until others began on these GPUs

Holds: what an attempt lost is read from its own records, never from a finding; what is not known is noted in `left_out`.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from pipeline.incidents.attempts import FINE, Attempts
from pipeline.incidents.campaigns import CAUSING
from pipeline.loss import claims as claim
from pipeline.loss.claims import EVIDENCE_MAX, Claim
from pipeline.loss.ledger import Staff
from pipeline.loss.prices import Prices, prices_of
from pipeline.model.finding import Finding
from pipeline.model.incident import Examined
from pipeline.settings import LossSettings

HANG_MS_MIN = 600_000  # a watchdog of collectives notices after ten minutes at the earliest
HANG_DISTANCES = 3
CITED_MAX = 4  # records of one finding on one line
LeftOut = dict[str, set[str]]  # why -> what


class Pricing(msgspec.Struct, frozen=True):
    """What the settings say about cost."""

    prices: Prices
    gpus_per_node: int
    staff: tuple[tuple[str, Staff], ...]  # incident id, hours

    @classmethod
    def of(cls, settings: LossSettings) -> "Pricing":
        """From the settings."""
        staff = tuple(
            (each.incident, Staff(kind=each.kind, what=each.what, hours=each.hours, per_hour=each.per_hour, evidence=each.evidence))
            for each in settings.staff
        )
        return cls(prices_of(settings), settings.gpus_per_node, staff)


class Gate(NamedTuple):
    """In which readings a claim counts, and why not in others."""

    low: bool
    middle: bool
    why: str = claim.BELOW


class Held(NamedTuple):
    """An attempt of which something can be claimed."""

    each: Examined
    began: int
    end: int
    gpus: int
    gate: Gate
    room: int  # GPUs of a node


def held_of(name: str, attempts: Attempts, pricing: Pricing, gate: Gate, left_out: LeftOut) -> Held | None:
    """None: not enough is known of it, which is noted."""
    each = attempts.get(name)
    if each is None or each.end is None:
        left_out.setdefault("end", set()).add(name)
        return None
    if each.attempt.start < 0 or each.end <= each.attempt.start:
        return None  # it never ran
    if not each.nodes:
        left_out.setdefault("nodes", set()).add(name)
        return None
    if each.gpus is None:
        left_out.setdefault("gpus", set()).add(name)
        whole = Gate(low=False, middle=False, why="no record states its GPUs: high takes whole nodes")
        return Held(each, each.attempt.start, each.end, len(each.nodes) * pricing.gpus_per_node, whole, pricing.gpus_per_node)
    return Held(each, each.attempt.start, each.end, each.gpus, gate, pricing.gpus_per_node) if each.gpus else None


def ended(did: Sequence[str], held: Held, attempts: Attempts) -> Iterator[Claim]:
    """What an end cost that was brought about.  `did`: the records that say by what."""
    each = held.each
    if each.state == FINE:
        return
    of = (each.attempt, each.nodes, held.gpus)
    told = [*did, each.record]
    after = attempts.next_of(each)
    saves = [each.saved] if each.saved else []
    if after is not None and after.resumed is not None and after.resumed[0] == each.attempt.job:
        saves.append(after.resumed[1])
    saved = max((save for save in saves if held.began <= save.time <= held.end), default=None)
    shows = saved or (after.resumed[1] if after is not None and after.resumed else each.last_step)
    evidence = known(*told, shows.event_id if shows else "", after.record if after is not None else "")
    made = claim.lost_progress(
        *of, saved=saved.time if saved else None, began=held.began, failed=held.end, evidence=evidence,
        told=each.last_step is not None, unused=after is not None and left_alone(each, after, held.began),
    )  # fmt: skip
    yield gated(held.gate, made)
    if each.last_step is not None and held.began <= each.last_step.time < held.end and each.steps_apart:
        quiet, usual = held.end - each.last_step.time, HANG_DISTANCES * each.steps_apart
        if quiet > (usual if each.timed_out else max(usual, HANG_MS_MIN)):
            evidence = known(*told, each.last_step.event_id, each.timed_out)
            yield gated(held.gate, claim.hang(*of, last_step=each.last_step.time, ended=held.end, evidence=evidence))
    if after is not None:
        for nodes, gpus, until, others in _waits(held, after, attempts):
            evidence = known(*told, after.record, others)
            made = claim.restart(each.attempt, nodes, gpus, failed=held.end, resumed=until, evidence=evidence)
            yield gated(held.gate, claim.noted(made, claim.SERVED) if others else made)


def _waits(held: Held, after: Examined, attempts: Attempts) -> Iterator[tuple[list[str], int, int, str]]:
    """(nodes, GPUs there, until when these waited, record of the others who began there then or "").  None: others began at once.

    Whoever began on a node has the GPUs that waited where there was no room beside them; who holds what of a node, no record says.  GPUs
    of all parts are those of the whole.
    """
    last = min(after.attempt.start, held.end + claim.RESTART_HIGH_MS)
    there: dict[str, list[Examined]] = {}
    for other in attempts.began(held.end, last - 1):
        if other.attempt not in (held.each.attempt, after.attempt) and other.gpus:
            for node in other.nodes:
                there.setdefault(node, []).append(other)
    free = held.room - held.gpus / len(held.each.nodes)
    found: dict[tuple[int, str], list[str]] = {}
    for node in held.each.nodes:
        first = _without_room(there.get(node, ()), free)
        found.setdefault((first.attempt.start, first.record) if first else (after.attempt.start, ""), []).append(node)
    done = before = 0
    for (until, record), nodes in found.items():
        done += len(nodes)
        so_far = held.gpus * done // len(held.each.nodes)
        gpus, before = so_far - before, so_far
        if until > held.end and gpus:
            yield nodes, gpus, until, record


def _without_room(others: Iterable[Examined], free: float) -> Examined | None:
    """Of those that began on a node, in this order, the first for which so many GPUs were too few beside those that still ran."""
    running: list[Examined] = []
    for new in others:
        running = [each for each in running if each.end is None or new.attempt.start < each.end]
        running.append(new)
        if sum((each.gpus or 0) / len(each.nodes) for each in running) > free:
            return new
    return None


def slowed(did: Sequence[str], writer: str, held: Held, loaded: int, attempts: Attempts) -> Iterator[Claim]:
    """Since the load, against siblings that loaded nothing of the writer's, as far as there are any."""
    each = held.each
    usual = attempts.paces_beside(each, writer) if each.pace else []
    if each.pace and usual:
        evidence = known(*did, each.record, each.last_step.event_id if each.last_step else "")
        start = min(max(loaded, held.began), held.end)
        of = (each.attempt, each.nodes, held.gpus)
        made = claim.slowdown(*of, start=start, end=held.end, pace_ms=each.pace, usual_ms=usual, evidence=evidence)
        yield gated(held.gate, made)


def left_alone(each: Examined, after: Examined, began: int) -> bool:
    """Did the next run go on from something older; or from nothing that either is known to have saved, where both tell of their files?"""
    if after.resumed is not None:
        return after.resumed[1].time <= began
    return each.loads_told and after.loads_told


def gated(gate: Gate, made: Claim) -> Claim:
    if not gate.middle:
        return claim.below_gate(made, gate.why)
    return made if gate.low else msgspec.structs.replace(made, low=None)


def cited(finding: Finding) -> list[str]:
    """The records that did it, and where it showed."""
    first = [item.event_id for item in finding.evidence if item.role in CAUSING]
    return [*first, *(item.event_id for item in finding.evidence if item.role == "effect")][:CITED_MAX]


def known(*ids: str) -> list[str]:
    return [each for each in dict.fromkeys(ids) if each][:EVIDENCE_MAX]
