"""Findings of an incident and all attempts that are held in; what it cost out: claims with their evidence, counted once (loss/ledger.py).

    P01 P02 P03 P15, P12 below   the attempt ended by it      lost_progress, restart, and hang where it stood still before it ended
    P04 P06 P10 P11, P05 P07 below   it loaded altered bytes  invalid, from the load to the end
    P08                          its run had come further     lost_progress of the attempt that had saved what was removed
    P09                          siblings were quicker        slowdown

Low and middle rest on findings above their gate; what is below counts in the high reading alone, and so does an attempt that loaded the
altered bytes without a finding of its own.  What an attempt lost is read from its own records, never from other findings: so incidents
that are put together claim together what they claimed apart, and never more.

    lost progress      back to the later of: the last save that its framework told, the save that its next run loaded
    restart            the next attempt of the owner at the same work that was submitted, or requeued, behind the end, within a week
    hang               the last step lies more than three of its usual distances, and ten minutes, before the end

Left out, and said: attempts that run or are no longer held, GPUs or nodes that no record states (where only GPUs are missing the high
reading takes whole nodes), and families of findings without a formula.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from pipeline.incidents.attempts import Attempts
from pipeline.incidents.campaigns import CAUSING
from pipeline.incidents.families import ALTERED, DIVERGED, END, ENDINGS, OF_COHORTS, REMOVED, family_of
from pipeline.loss import claims as claim
from pipeline.loss.claims import EVIDENCE_MAX, Claim
from pipeline.loss.ledger import DIRECT, INDIRECT, Staff, ledgers
from pipeline.loss.prices import READINGS, Prices, prices_of
from pipeline.model.finding import Finding
from pipeline.model.incident import NONE, Examined, Loss, Range
from pipeline.model.summary import Exposure
from pipeline.settings import LossSettings

REFUSED = frozenset({"cancel_refused", "spec_change_refused"})  # nothing came of it
RESTORED = frozenset({"imported_restored_module", "read_restored_dataset"})  # the bytes are former ones: results hold
LOADED = frozenset({"loaded", "imported", "hook", "unpickled"})
HANG_MS_MIN = 600_000  # a watchdog of collectives notices after ten minutes at the earliest
HANG_DISTANCES = 3
CITED_MAX = 4  # records of one finding on one line
FINE = "COMPLETED"


class Pricing(msgspec.Struct, frozen=True):
    """What the settings say about cost."""

    prices: Prices
    gpus_per_node: int
    staff: tuple[tuple[str, Staff], ...]  # incident id, hours

    @classmethod
    def of(cls, settings: LossSettings) -> "Pricing":
        """From the settings."""
        staff = tuple(
            (each.incident, Staff(what=each.what, hours=each.hours, per_hour=each.per_hour, evidence=each.evidence))
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


def loss_of(members: Sequence[Finding], attempts: Attempts, pricing: Pricing, ids: Iterable[str]) -> Loss:
    """Of an incident with these findings; `ids`: its own, and those that were merged into it."""
    left_out: dict[str, set[str]] = {}
    claimed = (each for finding in members for each in _claims(finding, attempts, pricing, left_out))
    claims = claim.joined([*claimed, *_traced(members, attempts, pricing, left_out)])
    known = set(ids)
    counted = ledgers(claims, pricing.prices, pricing.gpus_per_node, (staff for name, staff in pricing.staff if name in known))
    loss = counted.loss(pricing.prices.currency, _unknown(left_out, counted.unpriced_hours))
    lines = [line for line in counted.lines if line.ledger == INDIRECT or line.gpu_hours != NONE]
    return msgspec.structs.replace(loss, lines=tuple(lines))


# --- claims of one finding --------------------------------------------------------------------------------------------------------


def _claims(finding: Finding, attempts: Attempts, pricing: Pricing, left_out: dict[str, set[str]]) -> Iterator[Claim]:
    family = family_of(finding)
    seen = finding.alert and not family.doubt
    gate = Gate(seen, seen)
    if finding.effect in REFUSED or finding.effect in RESTORED:
        return
    if family.cost == END and finding.attempt is not None:
        if (held := _held(finding.attempt.name, attempts, pricing, gate, left_out)) is not None:
            yield from _ended(finding, held, attempts)
    elif family.cost == ALTERED and finding.attempt is not None:
        if (held := _held(finding.attempt.name, attempts, pricing, gate, left_out)) is not None:
            loads = [item.event_time for item in finding.evidence if item.role in LOADED]
            yield from _invalid(finding, held, min(loads, default=finding.effect_time), diverged=False)
    elif family.cost == REMOVED and finding.attempt is not None:
        yield from _removed(finding, attempts, pricing, gate, left_out)
    elif family.cost in OF_COHORTS:
        yield from _of_cohort(finding, family.cost, attempts, pricing, left_out)
    else:
        left_out.setdefault("formula", set()).add(finding.detector)


def _held(name: str, attempts: Attempts, pricing: Pricing, gate: Gate, left_out: dict[str, set[str]]) -> Held | None:
    """None: not enough is known of it, which is noted."""
    each = attempts.by_name.get(name)
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
        return Held(each, each.attempt.start, each.end, len(each.nodes) * pricing.gpus_per_node, whole)
    return Held(each, each.attempt.start, each.end, each.gpus, gate) if each.gpus else None


def _ended(finding: Finding, held: Held, attempts: Attempts) -> Iterator[Claim]:
    """What an end cost that was brought about."""
    each = held.each
    if each.state == FINE:
        return
    of = (each.attempt, each.nodes, held.gpus)
    cited = [*_cited(finding), each.record]
    after = attempts.next_of(each)
    saves = [each.saved] if each.saved else []
    if after is not None and after.resumed is not None and after.resumed[0] == each.attempt.job:
        saves.append(after.resumed[1])
    saved = max((save for save in saves if held.began <= save.time <= held.end), default=None)
    evidence = _known(*cited, saved.event_id if saved else "")
    yield _gated(
        held.gate,
        claim.lost_progress(*of, saved=saved.time if saved else None, began=held.began, failed=held.end, evidence=evidence),
    )
    if each.last_step is not None and held.began <= each.last_step.time < held.end and each.steps_apart:
        quiet, usual = held.end - each.last_step.time, HANG_DISTANCES * each.steps_apart
        if quiet > (usual if each.timed_out else max(usual, HANG_MS_MIN)):
            evidence = _known(*cited, each.last_step.event_id, each.timed_out)
            yield _gated(held.gate, claim.hang(*of, last_step=each.last_step.time, ended=held.end, evidence=evidence))
    if after is not None:
        evidence = _known(*cited, after.record)
        yield _gated(held.gate, claim.restart(*of, failed=held.end, resumed=after.attempt.start, evidence=evidence))


def _invalid(finding: Finding, held: Held, loaded: int, *, diverged: bool, load: str = "") -> Iterator[Claim]:
    """`loaded` may lie before the recorded start by clock error."""
    each = held.each
    start = min(max(loaded, held.began), held.end)
    evidence = _known(*_cited(finding), load, each.record)
    made = claim.invalid(each.attempt, each.nodes, held.gpus, loaded=start, end=held.end, diverged=diverged, evidence=evidence)
    yield _gated(held.gate, made)


def _removed(finding: Finding, attempts: Attempts, pricing: Pricing, gate: Gate, left_out: dict[str, set[str]]) -> Iterator[Claim]:
    """The attempt that saved last what was removed: its work since the save from which the run went on is done again."""
    later = attempts.by_name.get(finding.attempt.name) if finding.attempt else None
    newest = max(((item.event_time, item.event_id) for item in finding.evidence if item.role == "saved"), default=None)
    ran = attempts.running(later, newest[0]) if later and newest else []
    if later is None or newest is None or len(ran) != 1:
        left_out.setdefault("removed", set()).add(finding.about)
        return
    held = _held(ran[0].attempt.name, attempts, pricing, gate, left_out)
    if held is not None:
        went_on = max(later.resumed[1].time, held.began) if later.resumed else None  # None: nothing says where it went on
        evidence = _known(*_cited(finding), newest[1], later.resumed[1].event_id if later.resumed else "", ran[0].record)
        of = (ran[0].attempt, ran[0].nodes, held.gpus)
        made = claim.lost_progress(*of, saved=went_on, began=held.began, failed=newest[0], evidence=evidence)
        yield _gated(held.gate, made)


def _traced(members: Iterable[Finding], attempts: Attempts, pricing: Pricing, left_out: dict[str, set[str]]) -> Iterator[Claim]:
    """Attempts that loaded the same altered bytes, whatever came of it: for each file that somebody altered his earliest act speaks."""
    earliest: dict[tuple[str, str], Finding] = {}
    written: dict[tuple[str, str], set[str]] = {}
    for finding in members:
        if family_of(finding).cost == ALTERED and finding.effect not in REFUSED | RESTORED:
            key = finding.suspect, finding.anchor
            if key not in earliest or _earlier(finding, earliest[key]):
                earliest[key] = finding
            written.setdefault(key, set()).update(item.event_id for item in finding.evidence if item.role == "written")
    gate = Gate(low=False, middle=False, why=claim.TRACED)
    for (suspect, path), finding in sorted(earliest.items()):
        by = written[suspect, path]
        for each in attempts.loaded([path, *by]):
            mine = [
                exposure
                for exposure in each.exposures
                if exposure.writer == suspect
                and not exposure.restored
                and ((exposure.path == path and exposure.written >= finding.cause_time) or exposure.write.event_id in by)
            ]
            if (
                mine
                and each.attempt != finding.attempt
                and (held := _held(each.attempt.name, attempts, pricing, gate, left_out)) is not None
            ):
                first = min(mine, key=lambda exposure: (exposure.load.event_time, exposure.load.event_id)).load
                yield from _invalid(finding, held, first.event_time, diverged=False, load=first.event_id)


def _earlier(one: Finding, other: Finding) -> bool:
    times = (one.cause_time, one.effect_time), (other.cause_time, other.effect_time)
    return times[0] < times[1] or (times[0] == times[1] and one.id < other.id)


def _of_cohort(finding: Finding, cost: str, attempts: Attempts, pricing: Pricing, left_out: dict[str, set[str]]) -> Iterator[Claim]:
    """What is said of a cohort holds for the members that it cites; for others that loaded the same bytes in the middle reading, for all
    that loaded what the writer had written in the high one."""
    cited = {item.event_id for item in finding.evidence}
    kind, _, name = finding.subject.name.partition("/")
    members = [each for each in attempts.exposed_to(finding.suspect) if kind == "size" or each.configuration == name]
    mine = {
        each.attempt.name: [exposure for exposure in each.exposures if exposure.writer == finding.suspect and not exposure.restored]
        for each in members
    }
    named = [each for each in members if any(exposure.load.event_id in cited for exposure in mine[each.attempt.name])]
    bytes_of = {_bytes(exposure) for each in named for exposure in mine[each.attempt.name] if exposure.load.event_id in cited}
    size = min((each.gpus or 0 for each in named), default=0)
    for each in members:
        exposures = mine[each.attempt.name]
        inside = min(exposure.written for exposure in exposures) >= finding.cause_time and (each.end or 0) <= finding.effect_time
        alike = inside and (each.gpus or 0) >= size and any(_bytes(exposure) in bytes_of for exposure in exposures)
        gate = Gate(finding.alert and each in named, finding.alert and (each in named or alike))
        if kind == "size" and ((each.gpus or 0) < size or each.verdict == "benign" or not inside):
            continue  # it ended well, or is of a size that was not accused
        held = _held(each.attempt.name, attempts, pricing, gate, left_out)
        if held is None:
            continue
        first = min(exposures, key=lambda exposure: (exposure.load.event_time, exposure.load.event_id)).load
        if cost == DIVERGED:
            yield from _invalid(finding, held, first.event_time, diverged=each in named, load=first.event_id)
        elif cost == ENDINGS:
            yield from _ended(finding, held, attempts)
        else:
            yield from _slowed(finding, held, first.event_time, attempts)


def _slowed(finding: Finding, held: Held, loaded: int, attempts: Attempts) -> Iterator[Claim]:
    """Against siblings, as far as there are any."""
    each = held.each
    usual = attempts.paces_beside(each, finding.suspect) if each.pace else []
    if each.pace and usual:
        evidence = _known(*_cited(finding), each.record, each.last_step.event_id if each.last_step else "")
        start = min(max(loaded, held.began), held.end)
        of = (each.attempt, each.nodes, held.gpus)
        made = claim.slowdown(*of, start=start, end=held.end, pace_ms=each.pace, usual_ms=usual, evidence=evidence)
        yield _gated(held.gate, made)


def _gated(gate: Gate, made: Claim) -> Claim:
    if not gate.middle:
        return claim.below_gate(made, gate.why)
    return made if gate.low else msgspec.structs.replace(made, low=None)


def _bytes(exposure: Exposure) -> tuple[str, str]:
    return exposure.path, exposure.sha256


def _cited(finding: Finding) -> list[str]:
    """The records that did it, and where it showed."""
    first = [item.event_id for item in finding.evidence if item.role in CAUSING or item.role == "removed"]
    return [*first, *(item.event_id for item in finding.evidence if item.role == "effect")][:CITED_MAX]


def _known(*ids: str) -> list[str]:
    return [each for each in dict.fromkeys(ids) if each][:EVIDENCE_MAX]


# --- what a body says -------------------------------------------------------------------------------------------------------------


def listed_loss(loss: Loss, most: int) -> Loss:
    """With the greatest lines in their order, and the rest as one, so that lines add up whatever their number."""
    if len(loss.lines) <= most:
        return loss
    by_size = sorted(
        range(len(loss.lines)), key=lambda place: (loss.lines[place].ledger == DIRECT, -loss.lines[place].gpu_hours.high, place)
    )
    shown = set(by_size[: most - 1])
    rest = [line for place, line in enumerate(loss.lines) if place not in shown]
    others = msgspec.structs.replace(
        rest[0],
        kind="others",
        attempt=None,
        gpu_hours=_sum([line.gpu_hours for line in rest]),
        money=_sum([line.money for line in rest]),
        formula="sum",
        note=f"{len(rest)} further lines",
        evidence=(),
    )
    return msgspec.structs.replace(loss, lines=(*(line for place, line in enumerate(loss.lines) if place in shown), others))


def _sum(ranges: Sequence[Range]) -> Range:
    return Range.of([sum(getattr(each, reading) for each in ranges) for reading in READINGS])


def _unknown(left_out: Mapping[str, set[str]], unpriced: float) -> Iterator[str]:
    words = {
        "end": "{} attempts of its findings run or are no longer held: nothing is counted for them.",
        "nodes": "Of {} attempts no record says where they ran: nothing is counted for them.",
        "gpus": "Of {} attempts no record states the GPUs: high alone counts them, with whole nodes.",
    }
    for kind, sentence in words.items():
        if names := left_out.get(kind):
            yield sentence.format(len(names))
    if names := left_out.get("removed"):
        yield f"Of {len(names)} removals of checkpoints no record says which attempt had saved them: nothing is counted for them."
    if detectors := left_out.get("formula"):
        yield f"No formula is used for what these findings cost: {', '.join(sorted(detectors))}."
    if unpriced:
        yield f"{unpriced:g} GPU-hours of the middle reading lie before the first price: they are counted, and cost nothing."
