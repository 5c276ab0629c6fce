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
from pipeline.model.incident import NONE, Input, Loss, LossLine, Priced, Range
from pipeline.model.instants import HOUR_MS
from pipeline.model.told import Attempt

DIRECT, INDIRECT = "direct", "indirect"
Pieces = list[tuple[int, float]]  # moment, GPU-hours from then on at one price
FORMULAS: Mapping[str, str] = {
    "invalid": "GPUs x (end - load of altered bytes)",
    "held": "GPUs x (end - start), without a step",
    "hang": "GPUs x (end - last step)",
    "lost_progress": "GPUs x (failure - last good checkpoint)",
    "slowdown": "GPUs x time x (1 - pace of siblings / own pace)",
    "restart": "GPUs x (next start - failure, 68 min at most)",
}


class Staff(msgspec.Struct, frozen=True, kw_only=True):
    """Indirect: people's time, or a delay, as somebody states it."""

    kind: str = "staff"  # staff | delay
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
    direct = [_line(claim, [each.get(place, []) for each in shares], prices) for place, claim in enumerate(ordered)]
    indirect = [_stated(each, prices.currency) for each in sorted(set(staff), key=lambda each: (each.kind, each.what, each.hours))]
    return Ledgers((*direct, *indirect), _unpriced(direct) if prices.periods else NONE, _gpus(ordered, gpus_per_node))


def _line(claim: Claim, pieces: Sequence[Pieces], prices: Prices) -> LossLine:
    """`pieces` by reading."""
    hours = [_by_price(pieces[reading], reading, prices) for reading in range(3)]
    formulas = next((named for each in (hours[1], hours[2], hours[0]) if (named := [formula for _, formula in each if formula])), [])
    used = {price.method for each in pieces for time, _ in each if (price := prices.at(time))}
    inputs = tuple(_input(claim.gpus, READINGS[place], span, hours[place]) for place, span in enumerate(claim.spans) if span)
    return LossLine(
        ledger=DIRECT,
        kind=claim.kind,
        attempt=claim.attempt,
        gpu_hours=Range.of([sum(each.values()) for each in hours]),
        money=Range.of([sum(amount * per_hour for (per_hour, _), amount in each.items()) for each in hours]),
        currency=prices.currency,
        method=" then ".join(dict.fromkeys(price.method for price in prices.periods if price.method in used)) or "hours only",
        formula="; ".join([FORMULAS[claim.kind], *formulas]),
        note="; ".join(filter(None, (claim.note, _counted_by_others(inputs)))),
        evidence=claim.evidence,
        gpus=claim.gpus,
        nodes=len(claim.nodes),
        inputs=inputs,
    )


def _counted_by_others(inputs: Sequence[Input]) -> str:
    """Why a line may say less in a wider reading: an hour is counted once, and there another line has it."""
    none_left = [each.reading for each in inputs if each.elsewhere and not sum(price.hours for price in each.prices)]
    return f"{' and '.join(none_left)}: other lines count these hours" if none_left else ""


def _by_price(pieces: Pieces, reading: int, prices: Prices) -> dict[tuple[float, str], float]:
    """(money per hour, how that comes about) -> GPU-hours; without a price (0, "")."""
    hours: dict[tuple[float, str], float] = {}
    for time, amount in pieces:
        price = prices.at(time)
        key = (price.of_hour(reading), price.formula(reading)) if price else (0.0, "")
        hours[key] = hours.get(key, 0.0) + amount
    return hours


def _input(gpus: int, reading: str, span: Span, hours: Mapping[tuple[float, str], float]) -> Input:
    claimed = gpus * span.share * max(0, span.end - span.start) / HOUR_MS
    return Input(
        reading=reading,
        start=span.start,
        end=span.end,
        share=span.share,
        elsewhere=max(0.0, round(claimed - sum(hours.values()), 6)),
        prices=tuple(Priced(hours=round(amount, 6), per_hour=per_hour, formula=formula) for (per_hour, formula), amount in hours.items()),
    )


def _stated(staff: Staff, currency: str) -> LossLine:
    stated = list(zip(READINGS, staff.hours, staff.per_hour, strict=True))
    return LossLine(
        ledger=INDIRECT,
        kind=staff.kind,
        attempt=None,
        gpu_hours=NONE,
        money=Range.of([hours * rate for _, hours, rate in stated]),
        currency=currency,
        method="as stated",
        formula="hours x rate",
        note=staff.what,
        evidence=staff.evidence,
        inputs=tuple(
            Input(
                reading=reading, start=None, end=None, share=1.0, elsewhere=0.0,
                prices=(Priced(hours=hours, per_hour=rate, formula="as stated"),),
            )
            for reading, hours, rate in stated
        ),
    )  # fmt: skip


def _unpriced(lines: Iterable[LossLine]) -> Range:
    """GPU-hours before the first price."""
    hours = dict.fromkeys(READINGS, 0.0)
    for line in lines:
        for each in line.inputs:
            hours[each.reading] += sum(priced.hours for priced in each.prices if not priced.formula)
    return Range.of([*hours.values()])


def _gpus(claims: Iterable[Claim], gpus_per_node: int) -> int:
    """Different ones, at most.  Which of a node's GPUs an attempt held no record tells: two may have held different ones."""
    held: dict[str, dict[Attempt, int]] = {}
    for claim in claims:
        for node in claim.nodes:
            of_node = held.setdefault(node, {})
            of_node[claim.attempt] = max(of_node.get(claim.attempt, 0), -(-claim.gpus // len(claim.nodes)))
    return sum(min(sum(of_node.values()), gpus_per_node) for of_node in held.values())


# --- the sweep ------------------------------------------------------------------------------------------------------------------


def _allotted(claims: Sequence[Claim], reading: int, gpus_per_node: int, prices: Prices) -> dict[int, Pieces]:
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
    found: dict[int, Pieces] = {}
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
