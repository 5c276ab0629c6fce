"""Findings about no attempt in, of a queue, a node or an account; what the attempts beside them lost, out.

    P13   a burst of jobs kept GPUs and did no work        held: the burst's own time; the displaced: as attempts that were ended
    P14   a node was slowed                                slowdown of whoever ran there, against siblings elsewhere
    P18   recording was switched off on a node             bad ends there within the day that nobody had ordered: middle where no record
                                                           explains one that came within the hour, or while the audit log was missing
                                                           there; else high alone
    P17   an account was in others' hands                  high alone: what of its owner's was cancelled within hours; of an account that
                                                           was used after its owner had left, what of anybody's was within the hour

Which attempts these are follows from nodes, accounts and times of their own records:

    burst        without a step, at the same work as jobs that the finding cites, submitted within an hour of the first of these: all
                 readings.  Whatever else of the account wrote no step within six hours may be work that failed: high alone
    node         whoever held it at a time that the finding cites: middle; who began there within the day: high alone, for nobody knows
                 when the node was quick again
"""

from collections.abc import Container, Iterable, Iterator

from pipeline.incidents.attempts import FINE, Attempts
from pipeline.incidents.families import BORROWED, FLOODED, ON_NODE, family_of
from pipeline.incidents.losses_ended import Gate, Held, LeftOut, Pricing, cited, ended, gated, held_of, known
from pipeline.loss import claims as claim
from pipeline.loss.claims import Claim
from pipeline.model.finding import Finding
from pipeline.model.incident import Examined
from pipeline.model.instants import DAY_MS, HOUR_MS
from pipeline.model.source import Source

BURST_MS = 6 * HOUR_MS  # around the first job that a finding cites of a burst, or its effect if no job is known by what it cites
SPAN_MS = HOUR_MS  # of a burst, as its detector has it unless the settings say otherwise
DISPLACED_MS = 180_000  # between the end of a displaced attempt and the start of one of the burst on its node
CANCELLED_MS = 12 * HOUR_MS  # a session of somebody else's
SILENT_MS = HOUR_MS  # in which a gap begins that belongs to the act, as its detector has it unless the settings say otherwise
ORDERED = frozenset({"CANCELLED", "PREEMPTED"})  # the scheduler's own word, which no silence of a node takes away
AFTER_END = "access_after_end"
HELD = "held"  # kind of claim: of the burst's own time
ENTERED_MS = HOUR_MS  # a session under an account that should be nobody's, which may become any user


def beside(finding: Finding, cost: str, attempts: Attempts, pricing: Pricing, left_out: LeftOut) -> Iterator[Claim]:
    """All claims of one finding."""
    seen = Gate(finding.alert, finding.alert)
    nearby = Gate(low=False, middle=False, why=claim.NEARBY)

    def held(each: Examined, gate: Gate) -> Held | None:
        return held_of(each.attempt.name, attempts, pricing, gate, left_out)

    if cost == FLOODED:
        for burst, gate in zip(_burst(finding, attempts), (seen, Gate(low=False, middle=False, why=claim.WITHIN_HOURS)), strict=True):
            for each in burst:
                if (of := held(each, gate)) is not None:
                    evidence = known(*cited(finding), each.record)
                    made = claim.held(each.attempt, each.nodes, of.gpus, began=of.began, ended=of.end, evidence=evidence)
                    yield gated(gate, made)
            for each in _displaced(burst, attempts):
                if (of := held(each, gate)) is not None:
                    yield from ended(cited(finding), of, attempts)
    elif cost == ON_NODE:
        node, at = finding.subject.name, finding.cause_time
        there = [each for each in attempts.on_node(node, at, at + 2 * DAY_MS) if each.attempt.start < at + DAY_MS]
        accused = frozenset(each.attempt.name for each in there)
        until = max((item.event_time for item in finding.evidence), default=at)
        later = Gate(low=False, middle=False, why=claim.BEGAN_LATER)
        for each in there:
            if (of := held(each, seen if each.attempt.start <= until else later)) is not None:
                yield from _on_node(finding, of, attempts, accused)
    elif cost == BORROWED:
        at = finding.effect_time
        for each in attempts.of_owner(finding.subject.name, at + CANCELLED_MS):
            if each.state == "CANCELLED" and at <= (each.end or 0) <= at + CANCELLED_MS and (of := held(each, nearby)) is not None:
                yield from ended(cited(finding), of, attempts)
        if finding.effect == AFTER_END:
            for each in _within(ENTERED_MS, [item.event_time for item in finding.evidence if item.role == "cause"], attempts):
                if each.state == "CANCELLED" and each.owner != finding.subject.name and (of := held(each, nearby)) is not None:
                    yield from ended(cited(finding), of, attempts)
    else:
        at, node = finding.cause_time, finding.subject.name
        for each in attempts.on_node(node, at, at + DAY_MS):
            ordered = each.state in ORDERED and each.verdict == "benign"
            silent = (each.end or 0) <= at + SILENT_MS or f"{Source.AUDITD} on {node}" in each.missing
            unseen = finding.alert and silent and each.verdict == "unexplained"
            gate = Gate(low=False, middle=True) if unseen else nearby
            if each.state not in (FINE, "") and not ordered and each.owner != finding.suspect and (of := held(each, gate)) is not None:
                yield from (claim.noted(made, claim.UNSEEN_END) if unseen else made for made in ended(cited(finding), of, attempts))


def victims(findings: Iterable[Finding], attempts: Attempts, pricing: Pricing) -> set[str]:
    """Attempts that a flooded queue or a slowed node made lose hours, as alerts about it say; those of the burst itself are none."""
    found: set[str] = set()
    for each in findings:
        if each.alert and (cost := family_of(each).cost) in (FLOODED, ON_NODE):
            made = beside(each, cost, attempts, pricing, {})
            found |= {claimed.attempt.name for claimed in made if claimed.kind != HELD and claimed.middle is not None}
    return found


def _burst(finding: Finding, attempts: Attempts) -> tuple[list[Examined], list[Examined]]:
    """The suspect's jobs of these hours that wrote no step: those of the burst, and others."""
    mine = [each for each in (attempts.of_owner(finding.suspect) if finding.suspect else []) if each.attempt.start >= 0]
    told = {item.event_id for item in finding.evidence if item.role == "cause"}
    named = [each for each in mine if each.record in told]
    first, work = min((each.attempt.submit for each in named), default=finding.effect_time), {each.task for each in named}
    found: tuple[list[Examined], list[Examined]] = ([], [])
    for each in mine:
        if each.last_step is None and abs(each.attempt.submit - first) <= BURST_MS:
            found[not (each.task in work and first <= each.attempt.submit <= first + SPAN_MS)].append(each)
    return found


def _within(span: int, times: list[int], attempts: Attempts) -> list[Examined]:
    """That ended so soon after any of these times, each once."""
    found = {each.attempt.name: each for time in sorted(set(times)) for each in attempts.within(time, time + span)}
    return [found[name] for name in sorted(found)]


def _displaced(burst: list[Examined], attempts: Attempts) -> list[Examined]:
    """Preempted just before one of the burst began on a node of theirs."""
    if not burst:
        return []
    began: dict[str, list[int]] = {}
    for each in burst:
        for node in each.nodes:
            began.setdefault(node, []).append(each.attempt.start)
    first, last = min(map(min, began.values()), default=0), max(map(max, began.values()), default=0)
    return [
        each
        for each in attempts.within(first - DISPLACED_MS, last)
        if each.state == "PREEMPTED"
        and any(0 <= start - (each.end or 0) <= DISPLACED_MS for node in each.nodes for start in began.get(node, ()))
    ]


def _on_node(finding: Finding, held: Held, attempts: Attempts, accused: Container[str]) -> Iterator[Claim]:
    """Its mean pace against siblings of other times or nodes, where there are enough.

    Low counts nothing: many run slower than their siblings by themselves.  Of whom no sibling is known nothing says how much slower it was.
    """
    each = held.each
    usual = attempts.paces_beside(each, finding.suspect, accused) if each.pace else []
    if each.pace and usual:
        evidence = known(*cited(finding), each.record, each.last_step.event_id if each.last_step else "")
        of = (each.attempt, each.nodes, held.gpus)
        made = claim.slowdown(*of, start=held.began, end=held.end, pace_ms=each.pace, usual_ms=usual, evidence=evidence)
        yield gated(Gate(low=False, middle=held.gate.middle, why=held.gate.why), made)
    elif each.attempt.start <= finding.cause_time:
        made = claim.slowdown(
            each.attempt, each.nodes, held.gpus, start=finding.cause_time, end=max(held.end, finding.cause_time), pace_ms=1.0,
            usual_ms=[0.0], evidence=known(*cited(finding), each.record),
        )  # fmt: skip
        yield claim.below_gate(made, claim.ALONE)
