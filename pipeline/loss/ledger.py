"""Claims in; lines of hours and money out, in which no GPU-hour stands twice.

Hours are counted node by node along time.  At each moment an attempt loses at most the GPUs that it holds on the node, whatever number of
claims and incidents speak of it, and all attempts together at most the GPUs of the node, however restarts overlap with whoever ran there
meanwhile.  Where several claims speak of one moment the hours go to the first kind in `claims.KINDS`, then to the first attempt:

    invalid        ============              4 h
    lost_progress        ==========          4 h, of which 2 h are counted above: 2 h

So lines add up to their total, more claims never make it smaller, and incidents that are put together never cost more than apart.  Each
reading is counted by itself: of one line the middle may be less than the low, where another line claims the same hours in the middle.
"""

from bisect import insort
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

import msgspec

from pipeline.loss.claims import KINDS, Claim, Span
from pipeline.loss.prices import READINGS, Prices
from pipeline.model.incident import NONE, Loss, LossLine, Range
from pipeline.model.instants import HOUR_MS
from pipeline.model.told import Attempt

DIRECT, INDIRECT = "direct", "indirect"
FORMULAS: Mapping[str, str] = {
    "invalid": "GPUs x (end - load of altered bytes)",
    "held": "GPUs x (end - start), without a step",
    "hang": "GPUs x (end - last step)",
    "lost_progress": "GPUs x (failure - last good checkpoint)",
    "slowdown": "GPUs x time x (1 - pace of siblings / own pace)",
    "restart": "GPUs x (next start - failure, 68 min at most)",
}


class Staff(msgspec.Struct, frozen=True, kw_only=True):
    """Indirect: people's time, as somebody states it."""

    what: str
    hours: tuple[float, float, float]
    per_hour: tuple[float, float, float]
    evidence: tuple[str, ...]


class Ledgers(msgspec.Struct, frozen=True):
    """Both, kept apart; and what is not known."""

    lines: tuple[LossLine, ...]
    unpriced: Range  # hours before the first price, where there is one
    gpus: int  # different GPUs that were concerned, at most: the sum over nodes

    def total(self, ledger: str) -> tuple[Range, Range]:
        """GPU-hours and money of a ledger."""
        lines = [line for line in self.lines if line.ledger == ledger]
        hours = [sum(getattr(line.gpu_hours, reading) for line in lines) for reading in READINGS]
        money = [sum(getattr(line.money, reading) for line in lines) for reading in READINGS]
        return Range.of(hours), Range.of(money)

    def loss(self, currency: str, unknown: Iterable[str] = ()) -> Loss:
        """As it is said of an incident."""
        hours, money = self.total(DIRECT)
        return Loss(
            currency=currency,
            direct_gpu_hours=hours,
            direct_money=money,
            indirect_money=self.total(INDIRECT)[1],
            unpriced_gpu_hours=self.unpriced.middle,
            gpus=self.gpus,
            lines=self.lines,
            unknown=tuple(unknown),
        )


def ledgers(claims: Iterable[Claim], prices: Prices, gpus_per_node: int, staff: Iterable[Staff] = ()) -> Ledgers:
    """All lines, in canonical order."""
    ordered = sorted(set(claims), key=lambda each: (KINDS.index(each.kind), each.attempt, msgspec.msgpack.encode(each)))
    shares = [_allotted(ordered, reading, gpus_per_node, prices) for reading in range(3)]
    lines = []
    unpriced = [0.0, 0.0, 0.0]
    for place, claim in enumerate(ordered):
        hours = [sum(amount for _, amount in shares[reading].get(place, ())) for reading in range(3)]
        money = [0.0, 0.0, 0.0]
        priced: tuple[list[str], ...] = ([], [], [])  # by reading: how its hours are priced
        for reading in range(3):
            for time, amount in shares[reading].get(place, ()):
                price = prices.at(time)
                if price is None:
                    unpriced[reading] += amount if prices.periods else 0.0
                    continue
                money[reading] += amount * price.of_hour(reading)
                if price.formula(reading) not in priced[reading]:
                    priced[reading].append(price.formula(reading))
        formulas = priced[1] or priced[2] or priced[0]
        method = " + ".join(sorted({price.method for price in prices.periods})) if formulas else "hours only"
        lines.append(
            LossLine(
                ledger=DIRECT,
                kind=claim.kind,
                attempt=claim.attempt,
                gpu_hours=Range.of(hours),
                money=Range.of(money),
                currency=prices.currency,
                method=method,
                formula="; ".join([FORMULAS[claim.kind], *formulas]),
                note=claim.note,
                evidence=claim.evidence,
            )
        )
    for each in sorted(set(staff), key=lambda each: (each.what, each.hours)):
        money = [hours * rate for hours, rate in zip(each.hours, each.per_hour, strict=True)]
        lines.append(
            LossLine(
                ledger=INDIRECT,
                kind="staff",
                attempt=None,
                gpu_hours=NONE,
                money=Range.of(money),
                currency=prices.currency,
                method="as stated",
                formula="hours x rate",
                note=each.what,
                evidence=each.evidence,
            )
        )
    held: dict[str, dict[Attempt, int]] = {}
    for claim in ordered:
        for node in claim.nodes:
            of_node = held.setdefault(node, {})
            of_node[claim.attempt] = max(of_node.get(claim.attempt, 0), -(-claim.gpus // len(claim.nodes)))
    # Which of a node's GPUs an attempt held no record tells: two may have held different ones.
    gpus = sum(min(sum(of_node.values()), gpus_per_node) for of_node in held.values())
    return Ledgers(tuple(lines), Range.of(unpriced), gpus)


# --- the sweep ------------------------------------------------------------------------------------------------------------------


def _allotted(claims: Sequence[Claim], reading: int, gpus_per_node: int, prices: Prices) -> dict[int, list[tuple[int, float]]]:
    """By place of the claim: (moment, GPU-hours) pieces, such that nothing is counted twice in this reading.

    Nodes of which the same claims speak lose the same, so that each set of claims is swept once, whatever the size of the job.
    """
    by_node: dict[str, list[int]] = {}
    for place, claim in enumerate(claims):
        span = claim.spans[reading]
        if span is not None and span.start < span.end:
            for node in claim.nodes:
                by_node.setdefault(node, []).append(place)
    alike = Counter(tuple(places) for places in by_node.values())
    found: dict[int, list[tuple[int, float]]] = {}
    for places in sorted(alike):
        for start, end, active in _stretches([(place, span) for place in places if (span := claims[place].spans[reading])], prices):
            for place, amount in _at(claims, reading, active, float(gpus_per_node)):
                found.setdefault(place, []).append((start, alike[places] * amount * (end - start) / HOUR_MS))
    return found


def _stretches(spans: Sequence[tuple[int, Span]], prices: Prices) -> Iterator[tuple[int, int, Sequence[int]]]:
    """(start, end, places of the claims that hold then, in order), such that neither claims nor prices change within."""
    first, last = min(span.start for _, span in spans), max(span.end for _, span in spans)
    begins: dict[int, list[int]] = {}
    ends: dict[int, list[int]] = {}
    for place, span in spans:
        begins.setdefault(span.start, []).append(place)
        ends.setdefault(span.end, []).append(place)
    active: list[int] = []
    for start, end in pairwise(sorted({*prices.borders(first, last), *begins, *ends})):
        for place in ends.get(start, ()):
            active.remove(place)
        for place in begins.get(start, ()):
            insort(active, place)
        if active:
            yield start, end, active


def _at(claims: Sequence[Claim], reading: int, active: Sequence[int], capacity: float) -> Iterator[tuple[int, float]]:
    """GPUs that each claim loses on one node at a moment, in canonical order of the claims."""
    taken: dict[Attempt, float] = {}
    free = capacity
    for place in active:
        claim = claims[place]
        span = claim.spans[reading]
        share = span.share if span is not None else 0.0
        amount = min(claim.gpus / len(claim.nodes) * share - taken.get(claim.attempt, 0.0), free)
        if amount > 0:
            taken[claim.attempt] = taken.get(claim.attempt, 0.0) + amount
            free -= amount
            yield place, amount
