"""What is claimed of one attempt: a stretch of its time, in a low, a middle and a high reading, and the records that it rests on.

    lost_progress   from the last good checkpoint to the failure: work that is done again
    hang            from the last step to the end that the hang had: the whole silent time
    restart         from the failure to the next attempt's start, as long as a restart takes, or until others began on these GPUs: they may
                    have served somebody of whom no record tells, so low is nothing, and what is longer is a wait, in the queue or for its
                    owner, in which they do serve others
    slowdown        the share of its time that its siblings did not need
    invalid         the whole run from its load of altered bytes on; where nothing shows that its results differ, low counts nothing
    held            the whole run of a job that only kept GPUs from others

Sources: the decomposition of effective training time in arXiv 2410.21680; slow-down against the cohort as in arXiv 2505.05713; badput kinds
of the goodput documentation of Google Cloud TPUs.  What counts as invalid is our own: no published formula was found.
"""

from collections.abc import Iterable, Sequence

import msgspec

from pipeline.errors import require
from pipeline.model.told import Attempt

KINDS = ("invalid", "held", "hang", "lost_progress", "slowdown", "restart")  # in the order in which hours are given to lines
NOT_SEEN = "its results were not seen to differ: low counts nothing"
BELOW = "no finding above its gate says so: high alone counts it"
TRACED = "it loaded the altered bytes without a finding of its own: high alone counts it"
DERIVED = "it may have gone on from what had been saved after altered bytes were loaded: high alone counts it"
UNTOLD = "no record says what it loaded, and others at its work loaded altered bytes: high alone counts it"
COMPARED_ELSEWHERE = "it loaded the bytes by which results of another configuration differ: high alone counts it"
BEFORE_REMOVAL = "its work may have led to what was removed: high alone counts it"
UNMEASURED = "it told too few steps: high alone counts it, as slow as the slowest"
NEARBY = "nothing but time and place ties its end to the act: high alone counts it"
UNSEEN_END = "no record explains its end, and the log that would was switched off: low counts nothing"
AMONG = "more such attempts ended so than do by themselves, and which of them by what was written nothing shows: low counts nothing"
UNSAVED = "it told steps and no checkpoint: low counts nothing"
TAKEN = "what it had saved was removed, and no record says when what was taken up instead had been: low counts nothing, middle half"
UNTOLD_SAVES = "no record says what of its work was kept: middle counts half an hour, high from its start"
SERVED = "others began on these GPUs before it went on: until then they are counted"
CODE = "foreign code ran in it, and nobody saw that it did harm: high alone counts all of it"
WITHIN_HOURS = "it held GPUs within hours of the burst, and is not like it: high alone counts it"
BEGAN_LATER = "it began there after the slow steps that are cited: high alone counts it"
ALONE = "no sibling is known: high alone counts it, as if it had stood still"
HIGH_ALONE = frozenset({
    BELOW, TRACED, DERIVED, UNTOLD, COMPARED_ELSEWHERE, BEFORE_REMOVAL, UNMEASURED, NEARBY, CODE, WITHIN_HOURS, BEGAN_LATER, ALONE,
})  # fmt: skip
EVIDENCE_MAX = 12
SAVED_AGO_MS = 1_800_000  # half an hour since a checkpoint that nobody told of: an assumption, no publication gives one
RESTART_MIDDLE_MS = 600_000  # a cold restart takes 200 to 900 s (arXiv 2602.00277)
RESTART_HIGH_MS = 4_080_000  # 68 min from the failure until it works again, its diagnosis included (Unicron, arXiv 2401.00134)


class Span(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """[start, end), UTC ms, and the share of it that is lost."""

    start: int
    end: int
    share: float = 1.0


class Claim(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One stretch of one attempt."""

    kind: str
    attempt: Attempt
    nodes: tuple[str, ...]
    gpus: int  # of the attempt, all nodes together
    low: Span | None
    middle: Span | None
    high: Span | None
    evidence: tuple[str, ...]  # event ids
    note: str = ""

    @property
    def spans(self) -> tuple[Span | None, Span | None, Span | None]:
        """Low, middle, high."""
        return self.low, self.middle, self.high


def lost_progress(
    attempt: Attempt,
    nodes: Sequence[str],
    gpus: int,
    *,
    saved: int | None,
    began: int,
    failed: int,
    evidence: Sequence[str],
    told: bool = False,
    unused: bool = False,
) -> Claim:
    """Between the last good checkpoint and the failure; without one since the start.

    `told`: it told steps, and a log that tells steps tells saves as a rule: middle counts all of it.  `unused`: its work was taken up from
    something older, or anew: what it may have saved unsaid served nobody, and low counts it as well.
    """
    require(began <= failed, "an attempt failed before it began")
    if saved is not None and began <= saved <= failed:
        span: Span | None = Span(saved, failed)
        return _claim("lost_progress", attempt, nodes, gpus, span, span, span, evidence)
    span = Span(began, failed)
    middle = span if told or unused else Span(max(began, failed - SAVED_AGO_MS), failed)
    note = "" if unused else UNSAVED if told else UNTOLD_SAVES
    return _claim("lost_progress", attempt, nodes, gpus, span if unused else None, middle, span, evidence, note)


def half_of(claim: Claim) -> Claim:
    """What was taken up instead of something removed had been saved at some time between the start and what was removed: the middle."""
    whole = claim.high
    half = Span((whole.start + whole.end) // 2, whole.end) if whole else None
    return msgspec.structs.replace(claim, low=None, middle=half, note=TAKEN)


def hang(attempt: Attempt, nodes: Sequence[str], gpus: int, *, last_step: int, ended: int, evidence: Sequence[str]) -> Claim:
    """From the last step that was logged to the end."""
    span = Span(last_step, ended) if last_step < ended else None
    return _claim("hang", attempt, nodes, gpus, span, span, span, evidence)


def restart(attempt: Attempt, nodes: Sequence[str], gpus: int, *, failed: int, resumed: int | None, evidence: Sequence[str]) -> Claim:
    """From the failure to the start of the next attempt, if there was one."""
    if resumed is None or resumed <= failed:
        return _claim("restart", attempt, nodes, gpus, None, None, None, evidence, "no later attempt is on record")
    middle, high = (Span(failed, min(resumed, failed + most)) for most in (RESTART_MIDDLE_MS, RESTART_HIGH_MS))
    return _claim("restart", attempt, nodes, gpus, None, middle, high, evidence)


def slowdown(
    attempt: Attempt,
    nodes: Sequence[str],
    gpus: int,
    *,
    start: int,
    end: int,
    pace_ms: float,
    usual_ms: Sequence[float],
    evidence: Sequence[str],
) -> Claim:
    """The share of [start, end) that steps at the siblings' pace would not have needed: against the slowest, the median, the quickest.

    Raises InvariantViolation without siblings.
    """
    require(bool(usual_ms), "slow-down needs siblings to be compared with")
    usual = sorted(usual_ms)
    readings = (usual[-1], usual[len(usual) // 2], usual[0])
    low, middle, high = (
        Span(start, end, share) if (share := max(0.0, 1 - each / pace_ms)) > 0 and start < end else None for each in readings
    )
    return _claim("slowdown", attempt, nodes, gpus, low, middle, high, evidence)


def invalid(attempt: Attempt, nodes: Sequence[str], gpus: int, *, loaded: int, end: int, diverged: bool, evidence: Sequence[str]) -> Claim:
    """All of the run since it loaded altered bytes.  Low counts it only where its results were seen to differ from its siblings'."""
    span = Span(loaded, end) if loaded < end else None
    note = "" if diverged else NOT_SEEN
    return _claim("invalid", attempt, nodes, gpus, span if diverged else None, span, span, evidence, note)


def held(attempt: Attempt, nodes: Sequence[str], gpus: int, *, began: int, ended: int, evidence: Sequence[str]) -> Claim:
    """All of the run: no step of training was seen in it."""
    span = Span(began, ended)
    return _claim("held", attempt, nodes, gpus, span, span, span, evidence)


def below_gate(claim: Claim, why: str = BELOW) -> Claim:
    """The same in the high reading alone; of a restart as long as one is likely to take: that it took longer would be open, too."""
    high = claim.middle if claim.kind == "restart" else claim.high
    return noted(msgspec.structs.replace(claim, low=None, middle=None, high=high), why)


def noted(claim: Claim, why: str) -> Claim:
    """The same with one more word on what is left out of a reading."""
    return msgspec.structs.replace(claim, note="; ".join(filter(None, (claim.note, why))))


def joined(claims: Iterable[Claim]) -> list[Claim]:
    """One claim for each kind, attempt and end: in each reading all of the time that any of them claims.

    Claims that end together claim one stretch together, and restarts that begin together on the same nodes.  Slow-down stays apart: its
    shares differ.
    """
    found: dict[tuple[str, Attempt, int, int, tuple[str, ...]], Claim] = {}
    for number, each in enumerate(claims):
        border = -1 if each.high is None else each.high.start if each.kind == "restart" else each.high.end
        nodes = each.nodes if each.kind == "restart" else ()
        key = (each.kind, each.attempt, border, number if each.kind == "slowdown" else -1, nodes)
        found[key] = _both(found[key], each) if key in found else each
    return [
        msgspec.structs.replace(each, evidence=tuple(sorted(set(each.evidence)))[:EVIDENCE_MAX], note=_notes(each))
        for each in found.values()
    ]


def _both(one: Claim, other: Claim) -> Claim:
    low, middle, high = (_hull(*pair) for pair in zip(one.spans, other.spans, strict=True))
    evidence = sorted({*one.evidence, *other.evidence})[:EVIDENCE_MAX]  # thousands of findings may claim one attempt
    return msgspec.structs.replace(
        one,
        nodes=one.nodes if one.nodes == other.nodes else tuple(sorted({*one.nodes, *other.nodes})),
        gpus=max(one.gpus, other.gpus),
        low=low,
        middle=middle,
        high=high,
        evidence=tuple(evidence),
        note="; ".join(sorted({*one.note.split("; "), *other.note.split("; ")})),
    )


def _notes(each: Claim) -> str:
    """What still holds of what was noted of its parts."""
    settled = {
        "",
        *((NOT_SEEN, UNSAVED, TAKEN, UNTOLD_SAVES, UNSEEN_END, AMONG) if each.low or not each.middle else ()),
        *(HIGH_ALONE if each.middle else ()),
        *((TRACED,) if {BELOW, CODE} & {*each.note.split("; ")} else ()),  # they are of a finding of its own
    }
    return "; ".join(sorted({*each.note.split("; ")} - settled))


def _hull(one: Span | None, other: Span | None) -> Span | None:
    if one is None or other is None:
        return one or other
    return Span(min(one.start, other.start), max(one.end, other.end), max(one.share, other.share))


def _claim(
    kind: str,
    attempt: Attempt,
    nodes: Sequence[str],
    gpus: int,
    low: Span | None,
    middle: Span | None,
    high: Span | None,
    evidence: Sequence[str],
    note: str = "",
) -> Claim:
    return Claim(
        kind=kind,
        attempt=attempt,
        nodes=tuple(sorted(set(nodes))),
        gpus=gpus,
        low=low,
        middle=middle,
        high=high,
        evidence=tuple(sorted(set(evidence))),
        note=note,
    )
