"""What a detector is: a `META` and a pure `judge(case, now)`; the registry walks `rules/` and refuses doubles.

Where a site says which topics only known senders may write to, a case that holds anything else is judged twice: whole, and without it.
What is found without it stands; an explanation that rests on it is a doubt and no acquittal:

    kill @97, by a known sender        OOM @96, by anybody        a finding, below the gate: out of memory not checked
    kill @97, by anybody                                          a finding that names nobody (gates.py)
"""

import importlib
import pkgutil
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, NamedTuple, Protocol

import msgspec

from pipeline.detect import gates, rules
from pipeline.detect.benign import Suspicion
from pipeline.detect.case import Site
from pipeline.errors import require
from pipeline.model.finding import SEVERAL, UNPROVEN, Checked, Confidence, Evidence, Explanation, Finding, Severity, Subject
from pipeline.model.identity import Identity
from pipeline.model.source import Source
from pipeline.model.told import Attempt
from pipeline.stream.watermark import Watermarks

CITED_MAX = 20  # acts of one finding whose records it cites


Witness = Callable[[Any, Any, Sequence[Explanation]], None]  # (case, suspicion, what was answered)
_WITNESS: ContextVar[Witness | None] = ContextVar("witness", default=None)


class Judged(Protocol):
    """What every kind of case has: whom a finding on it is about, and its halves where not all senders are known."""

    unproven: bool  # it holds what anybody may have sent
    owner_unproven: bool  # whose it is, only such a sender says

    @property
    def site(self) -> Site:
        """What the settings say."""

    @property
    def proven(self) -> Any:
        """The case without that."""

    @property
    def whole(self) -> Any:
        """The case with it."""

    @property
    def subject(self) -> Subject:
        """Job, host, artefact, identity or cohort."""

    @property
    def attempt(self) -> Attempt | None:
        """Of a job."""

    @property
    def owner_id(self) -> str:
        """Identity of whom it belongs to, or empty."""

    @property
    def work_dir(self) -> str:
        """Of a job: where it ran, or empty."""


class Meta(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of a detector without running it."""

    id: str
    version: int
    title: str
    subject: str  # job | host | artefact | identity | cohort: the stage of that subject judges
    severity: Severity
    attack: tuple[str, ...]  # ATT&CK v18, ATLAS
    needs: tuple[Source, ...]
    window_seconds: str  # name of the setting
    benign: tuple[Callable[[Any, Any, Watermarks], Explanation], ...]  # each takes the kind of case that the subject has
    required: tuple[str, ...]  # explanations that must be excluded before a hit is an alert
    blind_spots: tuple[str, ...]
    runbook: str  # what to look at first
    ends: frozenset[str] = frozenset()  # effects that end a job, or make it worthless: an alert with one decides its verdict
    harms: frozenset[str] = frozenset()  # ... after which a job may have gone on
    direct: bool = False  # what it sees was done to the job itself, not through a file that it loaded


class Hit(NamedTuple):
    """A suspicion that no explanation ended, with what was asked."""

    suspicion: Suspicion
    checklist: tuple[Explanation, ...]

    @property
    def open(self) -> tuple[int, int, str]:
        """By how many explanations could not be excluded: of several hits the least open is best established, of equal ones the first."""
        left = sum(item.answer is not Checked.EXCLUDED for item in self.checklist)
        return left, self.suspicion.cause.event_time, self.suspicion.cause.id


class Detector(msgspec.Struct, frozen=True):
    """One file of `rules/`."""

    meta: Meta
    judge: Callable[[Any, Watermarks], Iterator[Finding]]  # takes the kind of case that the subject has


@cache
def registry(subject: str = "") -> tuple[Detector, ...]:
    """The detectors of a subject, or all, sorted by id.

    Raises InvariantViolation when two share an id, or a file has another name than its id.
    """
    if subject:
        return tuple(detector for detector in registry() if detector.meta.subject == subject)
    found = []
    for info in sorted(pkgutil.iter_modules(rules.__path__), key=lambda each: each.name):
        module = importlib.import_module(f"{rules.__name__}.{info.name}")
        require(module.META.id == info.name, f"{info.name}: the detector's id is {module.META.id}")
        found.append(Detector(module.META, _twice(module.judge)))
    require(len({each.meta.id for each in found}) == len(found), "two detectors share an id")
    return tuple(found)


def explanations_in_words() -> dict[str, str]:
    """By name of each harmless explanation that any detector checks what it says, as its own documentation begins."""
    benign = (explain for detector in registry() for explain in detector.meta.benign)
    return {explain.__name__: " ".join((explain.__doc__ or "").partition("\n\n")[0].split()) for explain in benign}


def _twice(rule: Callable[[Any, Watermarks], Iterator[Finding]]) -> Callable[[Any, Watermarks], Iterator[Finding]]:
    """What a rule finds in the case, and what it finds in its proven half, which counts where both find the same."""

    def judge(case: Any, now: Watermarks) -> Iterator[Finding]:
        if not case.unproven:
            yield from rule(case, now)
            return
        proven = {finding.id: finding for finding in rule(case.proven, now)}
        yield from proven.values()
        for finding in rule(case, now):
            if finding.id not in proven:
                why = finding.actor_withheld or "only with what senders say that nobody authenticated"
                yield msgspec.structs.replace(finding, actor="", actor_withheld=why)

    return judge


def several(suspicions: Iterable[Suspicion]) -> bool:
    """Do they hold it against more than one identity?  Then nobody is named."""
    return len({each.actor.id if each.actor else "" for each in suspicions}) > 1


def hit(meta: Meta, case: Judged, suspicion: Suspicion, now: Watermarks) -> Hit | None:
    """The suspicion with its checklist; None when one explanation is confirmed."""
    checklist, harmless = explained(meta, case, suspicion, now)
    return None if harmless else Hit(suspicion, checklist)


def explained(meta: Meta, case: Judged, suspicion: Any, now: Watermarks) -> tuple[tuple[Explanation, ...], bool]:
    """(the checklist, whether one of them was confirmed)."""
    checklist = answered(meta.benign, case, suspicion, now)
    return checklist, any(item.answer is Checked.CONFIRMED for item in checklist)


@contextmanager
def witnessed(seen: Witness) -> Iterator[None]:
    """Within it every checklist is shown, also one that ends a suspicion: of that nothing else is left (score, tests)."""
    token = _WITNESS.set(seen)
    try:
        yield
    finally:
        _WITNESS.reset(token)


def answered(checks: Iterable[Callable[..., Explanation]], case: Any, suspicion: Any, now: Watermarks) -> tuple[Explanation, ...]:
    """What each explanation answers.  One that holds only by what anybody may have sent is not checked.

    Where nobody else says whose a job is, such records stand in its proven half, too; how it ended they prove no more than others do.
    """
    answers = _answers(checks, case, suspicion, now)
    if (seen := _WITNESS.get()) is not None:
        seen(case, suspicion, answers)
    return answers


def _answers(checks: Iterable[Callable[..., Explanation]], case: Any, suspicion: Any, now: Watermarks) -> tuple[Explanation, ...]:
    if not case.whole.unproven:
        return tuple(check(case, suspicion, now) for check in checks)
    answers, doubted = [], {event.record for event, _ in case.whole.records if event.unproven} if case.whole.owner_unproven else ()
    for check in checks:
        proven, whole = check(case.proven, suspicion, now), check(case.whole, suspicion, now)
        if proven.answer is Checked.CONFIRMED and proven.by not in doubted:
            answers.append(proven)
        elif whole.answer is Checked.CONFIRMED:
            answers.append(Explanation(whole.name, Checked.NOT_CHECKED, whole.by, f"{whole.note}{UNPROVEN}"))
        else:
            answers.append(whole)
    return tuple(answers)


def raised(
    meta: Meta,
    case: Judged,
    suspicion: Suspicion,
    checklist: Sequence[Explanation],
    *,
    effect: str,
    anchor: str = "",
    summary: str,
    cited: Sequence[Evidence],
    parts: Sequence[tuple[str, float]],
    closes_at: int,
    severity: Severity | None = None,
    several_actors: bool = False,
    withheld: str = "",
    about: Subject | None = None,
    files: Sequence[str] = (),
) -> Finding:
    """A finding of this detector on what an event caused."""
    return found(
        meta,
        case,
        suspicion.actor,
        checklist,
        effect=effect,
        anchor=anchor,
        summary=summary,
        cited=cited,
        parts=parts,
        effect_time=suspicion.effect_time,
        cause_time=suspicion.cause.event_time,
        closes_at=closes_at,
        severity=severity,
        several_actors=several_actors,
        withheld=withheld,
        about=about,
        files=files,
    )


def found(
    meta: Meta,
    case: Judged,
    actor: Identity | None,
    checklist: Sequence[Explanation],
    *,
    effect: str,
    anchor: str = "",
    summary: str,
    cited: Sequence[Evidence],
    parts: Sequence[tuple[str, float]],
    effect_time: int,
    cause_time: int,
    closes_at: int,
    severity: Severity | None = None,
    several_actors: bool = False,
    withheld: str = "",
    about: Subject | None = None,
    files: Sequence[str] = (),
    aside: Collection[str] = (),
) -> Finding:
    """A finding with gates applied and evidence in canonical order.

    Gates decide on names, so neither anchor nor summary, neither evidence nor notes may hold the actor's.  `withheld` says why the detector
    would not name anybody, whatever the gates say.  `about` takes the place of the case's subject where that is the very account that is
    suspected.  `files` are those that it is about, where the anchor is none.  `aside` are explanations that this finding need not exclude,
    although the detector asks for it elsewhere.
    """
    score = 1.0
    for _, part in parts:
        score *= part
    subject, owner = about or case.subject, "" if about else case.owner_id
    alert, gate = gates.alert_or_reason(checklist, [each for each in meta.required if each not in aside])
    if alert:
        files = files or [each for each in (anchor, case.work_dir) if "/" in each][:1]
        gate = gates.suppressed(case.site.windows.suppressions, meta.id, subject=subject, files=files, owner=owner, effect_time=effect_time)
        alert = not gate
    name, reason = gates.name_or_reason(actor, cited, one_host=case.subject.kind == "host")
    if name and case.owner_unproven:
        name, reason = "", "only senders that nobody authenticated tell whose it is"
    if several_actors:
        name, reason = "", f"{SEVERAL}; see the evidence"
    if name and withheld:
        name, reason = "", withheld
    if name and not alert:
        name, reason = "", f"below the gate: {gate}"
    return Finding(
        detector=meta.id,
        detector_version=meta.version,
        title=meta.title,
        severity=severity or meta.severity,
        subject=subject,
        attempt=case.attempt,
        effect=effect,
        anchor=anchor,
        owner=owner,
        actor=name,
        actor_withheld=reason,
        effect_time=effect_time,
        cause_time=cause_time,
        closes_at=closes_at,
        summary=summary,
        evidence=once(cited),
        checklist=tuple(checklist),
        confidence=Confidence(round(score, 4), tuple(parts)),
        attack=meta.attack,
        alert=alert,
        gate=gate,
        sources=meta.needs,
        suspect=actor.id if actor is not None and actor.role not in ("root", "daemon") and not several_actors else "",
    )


def once(cited: Iterable[Evidence]) -> tuple[Evidence, ...]:
    """Each record once, in order of time; of one that is known with its host and, from before hosts were told, without, the former."""
    known = {msgspec.structs.replace(item, host=""): item for item in sorted(cited)}
    return tuple(sorted(known.values(), key=lambda item: (item.event_time, item.role, item.event_id, item.summary)))
