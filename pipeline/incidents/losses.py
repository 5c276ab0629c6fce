"""Findings of an incident and all attempts that are held in; what it cost out: claims with their evidence, counted once (loss/ledger.py).

    P01 P02 P03 P15, P12 below   the attempt ended by it      lost_progress, restart, and hang where it stood still before it ended
    P04 P06 P10 P11              it loaded altered bytes      invalid, from the load to the end
    P05 P07 (in high alone)      foreign code ran in it       the same, and lost_progress where it broke
    P08                          its run had come further     lost_progress of the attempts that had led to what was removed
    P09                          siblings were quicker        slowdown
    P13 P14 P17 P18              it ran beside the act        losses_beside.py

Low and middle rest on findings above their gate.  High counts besides what one open thing leaves possible: a finding below its gate; an
attempt that loaded the altered bytes without a finding of its own, or may have loaded or built on them (losses_lineage.py); code of which
nobody saw what it did.  Of hours at which two things are open none is counted, but for what may have been made of altered data.  What an
attempt lost is read from its own records, never from other findings: so incidents that are put together claim together what they claimed
apart, and never more.  Where high is more than twice low, the loss says which lines make it so, and what would narrow it (loss/width.py).

    lost progress      back to the later of: the last save that its framework told, the save that its next run loaded; without any, back to
                       its start: in low where its next run went on from something older, or anew as both tell, in middle where it told
                       steps at least (else half an hour), and in high; of a run whose save was removed middle counts half, where no record
                       says when what was taken up instead had been saved
    restart            the next attempt of the owner at the same work that was submitted, or requeued, after the end, within a week; a wait
                       for it ends on each node where others began on its GPUs: what they lose is theirs, in whatever incident it stands
    hang               the last step lies more than three of its usual distances, and ten minutes, before the end
    altered code       where three or more of those that loaded it can be compared and are slow in the median (P09 asks the same), middle
                       counts the slow-down.  Where it killed one of them from inside, or they break more often than others at their
                       work (Fisher, 1 in 20; of modules also over all that one hand altered; ends that a record explains count on
                       neither side), middle counts the ends.  High counts the same harm, also of whoever loaded the code without a
                       finding of its own; that it spoils results besides is a second act, which nothing suggests.  Of a checkpoint that
                       named what opens shells when it was unpickled, as of a foreign hook, no harm is seen: high counts the whole run.
    altered data       shows nothing by itself: middle counts the whole run, and every run that is on record as going on from it

Sources: loss/claims.py; that results are wrong of all runs that loaded tampered bytes, less those shown unaffected, is our own, as no
published formula was found: a run whose code was seen to do something else, and that ended well at its pace, is shown so.

Left out, and said: attempts that run or are no longer held, GPUs or nodes that no record states (where only GPUs are missing the high
reading takes whole nodes), and families of findings without a formula.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from pipeline.incidents.attempts import FINE, NOTHING_SHOWN, Attempts, Shown, broke_down
from pipeline.incidents.families import ALTERED, BESIDE, DIVERGED, END, ENDINGS, NOTHING_CAME, OF_COHORTS, REMOVED, family_of
from pipeline.incidents.losses_beside import beside
from pipeline.incidents.losses_ended import Gate, Held, LeftOut, Pricing, cited, ended, gated, held_of, known, left_alone, slowed
from pipeline.incidents.losses_lineage import lineage, resting
from pipeline.loss import claims as claim
from pipeline.loss.claims import Claim
from pipeline.loss.ledger import DIRECT, INDIRECT, ledgers
from pipeline.loss.prices import READINGS
from pipeline.loss.width import said_of_width
from pipeline.model.facts import compared_with
from pipeline.model.finding import Finding
from pipeline.model.incident import NONE, Loss, Range
from pipeline.model.instants import DAY_MS
from pipeline.model.summary import Exposure
from pipeline.model.words import many

LOADED = frozenset({"loaded", "imported", "hook", "unpickled"})
HARM = "harm"  # code killed, broke or slowed what loaded it
REMOVED_WITHIN_MS = 7 * DAY_MS  # in which a run had come as far as what was removed


def loss_of(members: Sequence[Finding], attempts: Attempts, pricing: Pricing, ids: Iterable[str]) -> Loss:
    """Of an incident with these findings; `ids`: its own, and those that were merged into it."""
    left_out: LeftOut = {}
    claimed = [(finding, [*_claims(finding, attempts, pricing, left_out)]) for finding in members]
    spoilt = [each for finding, made in claimed if not family_of(finding).shared_code for each in made]
    firm: list[Finding] = []
    harming: list[Finding] = []
    for each in members:
        if each.suspect and each.alert and _altered(each):
            (harming if _unspoilt(each, attempts) else firm).append(each)
    claims = claim.joined(
        [
            *(each for _, made in claimed for each in made),
            *_traced(members, attempts, pricing, left_out),
            *resting(spoilt, attempts, pricing, left_out),
            *lineage(firm, harming, attempts, pricing, left_out),
        ]
    )
    mine = set(ids)
    counted = ledgers(claims, pricing.prices, pricing.gpus_per_node, (staff for name, staff in pricing.staff if name in mine))
    width = said_of_width(counted.lines)
    loss = counted.loss(pricing.prices.currency, [*_unknown(left_out, counted.unpriced), *([width] if width else [])])
    lines = [line for line in counted.lines if line.ledger == INDIRECT or line.gpu_hours != NONE]
    return msgspec.structs.replace(loss, lines=tuple(lines))


# --- claims of one finding --------------------------------------------------------------------------------------------------------


def _claims(finding: Finding, attempts: Attempts, pricing: Pricing, left_out: LeftOut) -> Iterator[Claim]:
    family = family_of(finding)
    seen = finding.alert and not family.doubt
    gate = Gate(seen, seen)
    if finding.effect in NOTHING_CAME:
        return
    if family.cost == END and finding.attempt is not None:
        if (held := held_of(finding.attempt.name, attempts, pricing, gate, left_out)) is not None:
            yield from ended(cited(finding), held, attempts)
    elif family.cost == ALTERED and finding.attempt is not None:
        if (held := held_of(finding.attempt.name, attempts, pricing, Gate(low=False, middle=finding.alert), left_out)) is not None:
            loaded = min((item.event_time for item in finding.evidence if item.role in LOADED), default=finding.effect_time)
            yield from _loaded(finding, held, loaded, attempts)
    elif family.cost == REMOVED and finding.attempt is not None:
        yield from _removed(finding, attempts, pricing, gate, left_out)
    elif family.cost in OF_COHORTS:
        yield from _of_cohort(finding, family.cost, attempts, pricing, left_out)
    elif family.cost in BESIDE:
        yield from beside(finding, family.cost, attempts, pricing, left_out)
    else:
        left_out.setdefault("formula", set()).add(finding.detector)


def _loaded(finding: Finding, held: Held, loaded: int, attempts: Attempts, load: str = "") -> Iterator[Claim]:
    """Middle counts the whole run from the load on.  Of code of which a harm was seen all readings count that: the slow-down, or the bad
    end, unless a record explains it; of code of which nobody saw what it did middle counts the bad end, and high the whole run, if the
    finding is above its gate: else two things are open."""
    shown, why = _shown(finding, attempts), _unspoilt(finding, attempts)
    if not why or (why == claim.CODE and finding.alert):
        made_by_load = _invalid(finding, held, loaded, diverged=False, load=load)
        yield from (claim.below_gate(made, why) if why else made for made in made_by_load)
    if shown.slower:
        yield from list(slowed(cited(finding), finding.suspect, held, loaded, attempts)) or [
            gated(held.gate, _at_share(finding, held, loaded, shown.slower))
        ]
    if held.each.state != FINE:  # then what it had done before the load is lost, too
        broke = bool(why) and not shown.slower and broke_down(held.each)
        if broke or (not load and (finding.alert or not why)):
            made_by_end = (made for made in ended(cited(finding), held, attempts) if made.kind == "lost_progress")
            yield from (made if broke else claim.below_gate(made) for made in made_by_end)


def _shown(finding: Finding, attempts: Attempts) -> Shown:
    return attempts.shown_by(finding.suspect, finding.anchor) if family_of(finding).code else NOTHING_SHOWN


def _unspoilt(finding: Finding, attempts: Attempts) -> str:
    """Why nothing suggests that results differ of whoever loaded its bytes: these are code of which another harm was seen, or none; or
    empty."""
    family, shown = family_of(finding), _shown(finding, attempts)
    if shown.slower or shown.kills or shown.ends or (family.shared_code and attempts.break_by(finding.suspect)):
        return HARM
    held = attempts.get(finding.attempt.name) if finding.attempt and family.code else None
    return claim.CODE if family.doubt or shown.opens or (held is not None and finding.anchor in held.code_in) else ""


def _invalid(finding: Finding, held: Held, loaded: int, *, diverged: bool, load: str = "") -> Iterator[Claim]:
    """`loaded` may lie before the recorded start by clock error."""
    each = held.each
    start = min(max(loaded, held.began), held.end)
    evidence = known(*cited(finding), load, each.record)
    made = claim.invalid(each.attempt, each.nodes, held.gpus, loaded=start, end=held.end, diverged=diverged, evidence=evidence)
    yield gated(held.gate, made)


def _altered(finding: Finding) -> bool:
    return family_of(finding).cost in (ALTERED, DIVERGED) and finding.effect not in NOTHING_CAME


def _removed(finding: Finding, attempts: Attempts, pricing: Pricing, gate: Gate, left_out: LeftOut) -> Iterator[Claim]:
    """The attempt that saved last what was removed: its work since the save from which the run went on is done again."""
    later = attempts.get(finding.attempt.name) if finding.attempt else None
    newest = max(((item.event_time, item.event_id) for item in finding.evidence if item.role == "saved"), default=None)
    ran = attempts.running(later, newest[0]) if later and newest else []
    if later is None or newest is None or len(ran) != 1:
        left_out.setdefault("removed", set()).add(finding.about)
        return
    held = held_of(ran[0].attempt.name, attempts, pricing, gate, left_out)
    if held is not None:
        went_on = max(later.resumed[1].time, held.began) if later.resumed else None  # None: nothing says where it went on
        evidence = known(*cited(finding), newest[1], later.resumed[1].event_id if later.resumed else "", ran[0].record)
        of = (ran[0].attempt, ran[0].nodes, held.gpus)
        unused = left_alone(ran[0], later, held.began)
        made = claim.lost_progress(*of, saved=went_on, began=held.began, failed=newest[0], evidence=evidence, unused=unused)
        yield gated(held.gate, made if unused or made.low else claim.half_of(made))
    # The run may have needed several attempts to come as far as what was removed: which of them did how much no record says.  What had been
    # done before the save from which it went on is in that save.
    before = Gate(low=False, middle=False, why=claim.BEFORE_REMOVAL)
    kept = later.resumed[1].time if later.resumed else 0
    for each in attempts.same_work(later, max(newest[0] - REMOVED_WITHIN_MS, kept), newest[0]):
        if each is not ran[0] and (held := held_of(each.attempt.name, attempts, pricing, before, left_out)) is not None:
            of, saved, evidence = (each.attempt, each.nodes, held.gpus), max(held.began, kept), known(newest[1], each.record)
            yield gated(before, claim.lost_progress(*of, saved=saved, began=held.began, failed=held.end, evidence=evidence))


def _traced(members: Iterable[Finding], attempts: Attempts, pricing: Pricing, left_out: LeftOut) -> Iterator[Claim]:
    """Attempts that loaded the same altered bytes, whatever came of it: for each file that somebody altered his earliest act speaks,
    of each kind.  Of a bad end that nothing but the load explains see `_loaded`."""
    earliest: dict[tuple[str, str, str], Finding] = {}
    written: dict[tuple[str, str, str], set[str]] = {}
    for finding in members:
        if (
            family_of(finding).cost == ALTERED
            and finding.effect not in NOTHING_CAME
            and (finding.alert or _unspoilt(finding, attempts) != claim.CODE)
        ):
            key = finding.suspect, finding.anchor, finding.detector
            if key not in earliest or _earlier(finding, earliest[key]):
                earliest[key] = finding
            written.setdefault(key, set()).update(item.event_id for item in finding.evidence if item.role == "written")
    gate = Gate(low=False, middle=False, why=claim.TRACED)
    for (suspect, path, detector), finding in sorted(earliest.items()):
        by = written[suspect, path, detector]
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
                and (held := held_of(each.attempt.name, attempts, pricing, gate, left_out)) is not None
            ):
                first = min(mine, key=lambda exposure: (exposure.load.event_time, exposure.load.event_id)).load
                yield from _loaded(finding, held, first.event_time, attempts, first.event_id)


def _earlier(one: Finding, other: Finding) -> bool:
    times = (one.cause_time, one.effect_time), (other.cause_time, other.effect_time)
    return times[0] < times[1] or (times[0] == times[1] and one.id < other.id)


def _of_cohort(finding: Finding, cost: str, attempts: Attempts, pricing: Pricing, left_out: LeftOut) -> Iterator[Claim]:
    """What is said of a cohort holds for the members that it cites; for others of their configurations that loaded the same bytes in the
    middle reading, for all of these that loaded what the writer had written in the high one.  Of ends low counts none: some of them would
    have come by themselves.  High counts the same bytes in other configurations, too, of which too few ran to compare; where they spoil
    results, in other cohorts as well."""
    told = {item.event_id for item in finding.evidence}
    cohort = finding.subject.name
    of_size = cohort.startswith("size/")
    exposed = attempts.exposed_to(finding.suspect)
    mine = {
        each.attempt.name: [exposure for exposure in each.exposures if exposure.writer == finding.suspect and not exposure.restored]
        for each in exposed
    }
    members = [each for each in exposed if of_size or compared_with(each.project, each.configuration) == cohort]
    named = [each for each in members if any(exposure.load.event_id in told for exposure in mine[each.attempt.name])]
    bytes_of = {_bytes(exposure) for each in named for exposure in mine[each.attempt.name] if exposure.load.event_id in told}
    configurations, size = {each.configuration for each in named}, min((each.gpus or 0 for each in named), default=0)
    slow: list[Claim] = []
    unmeasured: list[tuple[Held, int]] = []
    for each in exposed if cost == DIVERGED and finding.alert else members:
        exposures = mine[each.attempt.name]
        alike = any(_bytes(exposure) in bytes_of for exposure in exposures)
        compared = of_size or each.configuration in configurations
        if not compared and not (alike and finding.alert):  # below its gate two things would be open
            continue
        inside = min(exposure.written for exposure in exposures) >= finding.cause_time and (each.end or 0) <= finding.effect_time
        if of_size and ((each.gpus or 0) < size or each.verdict == "benign" or not inside):
            continue  # it ended well, or is of a size that was not accused
        likely = each in named or (alike and compared and inside and (each.gpus or 0) >= size)
        why = claim.BELOW if compared else claim.COMPARED_ELSEWHERE
        gate = Gate(finding.alert and each in named and cost != ENDINGS, finding.alert and likely, why)
        held = held_of(each.attempt.name, attempts, pricing, gate, left_out)
        if held is None:
            continue
        first = min(exposures, key=lambda exposure: (exposure.load.event_time, exposure.load.event_id)).load
        if cost == DIVERGED:
            yield from _invalid(finding, held, first.event_time, diverged=each in named, load=first.event_id)
        elif cost == ENDINGS:
            yield from (claim.noted(made, claim.AMONG) for made in ended(cited(finding), held, attempts))
        else:
            made = list(slowed(cited(finding), finding.suspect, held, first.event_time, attempts))
            slow += made
            unmeasured += [(held, first.event_time)] if compared and not made else []
    # An attempt that told too few steps was slowed as well; how much only the others show.
    share = max((made.high.share for made in slow if made.high), default=0.0)
    yield from slow
    for held, since in unmeasured if share else ():
        yield claim.below_gate(_at_share(finding, held, since, share), claim.UNMEASURED)


def _at_share(finding: Finding, held: Held, since: int, share: float) -> Claim:
    of = (held.each.attempt, held.each.nodes, held.gpus)
    start = min(max(since, held.began), held.end)
    return claim.slowdown(
        *of, start=start, end=held.end, pace_ms=1.0, usual_ms=[1 - share], evidence=known(*cited(finding), held.each.record)
    )


def _bytes(exposure: Exposure) -> tuple[str, str]:
    return exposure.path, exposure.sha256


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
        gpus=0,
        nodes=0,
        inputs=(),
    )
    return msgspec.structs.replace(loss, lines=(*(line for place, line in enumerate(loss.lines) if place in shown), others))


def _sum(ranges: Sequence[Range]) -> Range:
    return Range.of([sum(getattr(each, reading) for each in ranges) for reading in READINGS])


def _unknown(left_out: Mapping[str, set[str]], unpriced: Range) -> Iterator[str]:
    words = {
        "end": "Nothing is counted for {} of its findings: running, or no longer held.",
        "nodes": "Nothing is counted for {} of which no record says on which nodes.",
        "gpus": "High alone counts {} of which no record states the GPUs, with whole nodes.",
    }
    for kind, sentence in words.items():
        if names := left_out.get(kind):
            yield sentence.format(many(len(names), "attempt"))
    if names := left_out.get("removed"):
        yield f"Nothing is counted for {many(len(names), 'removal')} of checkpoints: no record says which attempt had saved them."
    if detectors := left_out.get("formula"):
        yield f"No formula is used for what these findings cost: {', '.join(sorted(detectors))}."
    for reading in ("middle", "high", "low"):
        if hours := getattr(unpriced, reading):
            yield f"{hours:g} GPU-hours of the {reading} reading lie before the first price: they are counted, and cost nothing."
            return
