"""Requests about somebody else's job that the scheduler, or the API server, refused: to end it (P03), or to change it (P12).

In: all facts on one attempt, and who was refused what.  Out: a finding per identity.  Nothing came of it, and a mistyped number looks the
same: it is an alert only of who goes on for minutes (`benign_cancel.mistyped_number`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from pipeline.detect import benign_cancel
from pipeline.detect.benign import Benign, Suspicion
from pipeline.detect.case import Case
from pipeline.detect.detector import Hit, Meta, answered, raised
from pipeline.model.actor import actor_of
from pipeline.model.events import Event
from pipeline.model.finding import Checked, Evidence, Finding, Severity
from pipeline.stream.watermark import Watermarks


def refused(
    meta: Meta,
    case: Case,
    now: Watermarks,
    made: Mapping[str, Sequence[Event]],
    checks: Sequence[Benign],
    *,
    effect: str,
    tried_to: str,
    cite: Callable[[Sequence[Event]], Iterable[Evidence]],
) -> Iterator[Finding]:
    """One finding per identity, from its first try on that `checks` do not explain."""
    for identity, tries in sorted(made.items()):
        hit = _unexplained(case, tries, checks, now)
        if hit is None:
            continue
        suspicion, checklist = hit
        (slip,) = answered((benign_cancel.mistyped_number,), case, suspicion, now)
        summary = f"somebody tried to {tried_to} job {case.attempt.job} of {case.owner_id} and was refused"
        yield raised(
            meta,
            case,
            suspicion,
            (*checklist, slip),
            effect=effect,
            anchor=case.site.directory.label("by", identity),
            summary=summary if slip.answer is Checked.EXCLUDED else f"{summary}; it may be a mistyped number",
            cited=[*cite([each for each in tries if each.event_time >= suspicion.cause.event_time])],
            parts=(("it was refused", 0.97),),
            closes_at=suspicion.effect_time + case.site.grace_ms,
            severity=Severity.MEDIUM,
        )


def _unexplained(case: Case, tries: Sequence[Event], checks: Sequence[Benign], now: Watermarks) -> Hit | None:
    for each in tries:
        suspicion = Suspicion(actor_of(case.site.directory, each), each, tries[-1].event_time)
        checklist = answered(checks, case, suspicion, now)
        if all(item.answer is not Checked.CONFIRMED for item in checklist):
            return Hit(suspicion, checklist)
    return None
