"""Findings and the truth in; which finding is about which act, which are false, and who was named wrongly, out.

    finding on a job         an act harmed it, or it loaded what the act's actor had altered, or had put back: also when another act
                             brought it to load that
    on a host                an act happened there within two days
    on a cohort or artefact  it cites a file that an act altered
    on an identity           the act's actor, or whose account it used: by a detector of its pattern, or within the hour of one of its steps
    on a team                it cites a file that an act of its pattern altered
    on a queue               an act of its pattern happened within two days

A finding that fits no act, and says of somebody just what he did without leave and without harm, is counted apart: it is not false, and
no act was found.  A finding that fits an act is true whatever its pattern: the same traces fit several.  An act counts as found only by a
finding of its own pattern, or of one that its traces fit as well.  A name is right when it is the actor's of an act that the finding fits.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from pipeline.score.truth import Act, Harmed, LookAlike, Truth

NEAR_MS = 2 * 86_400_000
COURSE_MS = 3_600_000
OTHER = "no look-alike"
WITHOUT_LEAVE = frozenset({"harmless_edit"})  # look-alikes of which all is true but the harm, of which these detectors say nothing


class Found(msgspec.Struct, frozen=True):
    """A finding's last body, as far as it is compared, and when it was first an alert."""

    id: str
    detector: str
    kind: str
    name: str
    job: str
    submit_ms: int
    effect_time: int
    alert: bool
    actor: str
    cited: tuple[str, ...]  # summaries of its evidence
    alerted_ms: int | None  # how far collection had come then
    anchor: str = ""  # the file that it is about, or what else tells two of a kind apart
    written: tuple[int, ...] = ()  # event times of the writes that it cites, UTC ms


class Matched(msgspec.Struct, frozen=True):
    """What became of all findings and all acts of one period."""

    found: Mapping[str, Sequence[Found]]  # act id -> findings of its pattern
    false: Sequence[tuple[Found, LookAlike | None]]  # with the look-alike that it fell for
    harmless: Sequence[tuple[Found, LookAlike]]  # about what was done without leave and without harm
    named_wrongly: Sequence[Found]


def found_of(body: Mapping[str, Any], alerted_ms: int | None) -> Found:
    """A canonical body."""
    kind, _, name = body["subject"]
    attempt = body["attempt"] or ("", "", 0, 0)
    return Found(
        body["id"],
        body["detector"],
        kind,
        name,
        attempt[1],
        attempt[2],
        body["effect_time"],
        body["alert"],
        body["actor"],
        tuple(each["summary"] for each in body["evidence"]),
        alerted_ms,
        body["anchor"],
        tuple(each["event_time"] for each in body["evidence"] if each["role"] == "written"),
    )


def match(findings: Iterable[Found], truth: Truth) -> Matched:
    """Each finding against each act."""
    found: dict[str, list[Found]] = {act.id: [] for act in truth.acts}
    false: list[tuple[Found, LookAlike | None]] = []
    harmless: list[tuple[Found, LookAlike]] = []
    named_wrongly: list[Found] = []
    fitting = fitting_acts(truth)
    for finding in findings:
        acts = fitting(finding)
        named = not finding.actor or finding.actor in {act.actor for act in acts}
        about = None if acts and named else fell_for(finding, truth.look_alikes)
        if about is not None and is_true_of(finding, about):
            harmless.append((finding, about))
            continue
        for act in acts:
            if is_own(finding, act) and finding not in found[act.id]:
                found[act.id].append(finding)
        if not acts:
            false.append((finding, about))
        if not named:
            named_wrongly.append(finding)
    return Matched(found, false, harmless, named_wrongly)


def is_true_of(finding: Found, each: LookAlike) -> bool:
    """Is it about what this person did without leave, and by the detector of just that?"""
    return each.kind in WITHOUT_LEAVE and finding.detector[:3] == each.pattern and finding.actor in ("", each.person)


def fitting_acts(truth: Truth) -> Callable[[Found], Sequence[Act]]:
    """The acts that a finding is about."""
    by_job = _by_job(truth.acts)

    def fitting(finding: Found) -> Sequence[Act]:
        if finding.job:
            return by_job.get((finding.job, finding.submit_ms), [])
        return [act for act in truth.acts if fits(finding, act)]

    return fitting


def _by_job(acts: Sequence[Act]) -> dict[tuple[str, int], list[Act]]:
    loads: dict[str, list[Harmed]] = {}
    for harmed in (each for act in acts for each in act.exposed):
        loads.setdefault(harmed.effect, []).append(harmed)
    by_job: dict[tuple[str, int], list[Act]] = {}
    for act in acts:
        since = min(act.times_ms, default=0)
        later = (each for artefact in act.artefacts for each in loads.get(artefact, ()) if each.time_ms >= since)
        for harmed in (*act.victims, *act.exposed, *act.after_revert, *later):
            known = by_job.setdefault((harmed.job, harmed.submit_ms), [])
            if act not in known:
                known.append(act)
    return by_job


def fits(finding: Found, act: Act) -> bool:
    """Is a finding on something else than a job about this act?"""
    own = is_own(finding, act)
    if finding.kind == "host":
        return finding.name in act.hosts and _is_near(finding, act)
    if finding.kind == "identity" and not finding.name.startswith("team:"):
        people = {act.actor, *act.detail.values(), *(victim.owner for victim in act.victims)}
        in_its_course = any(abs(time - finding.effect_time) <= COURSE_MS for time in act.times_ms)
        return finding.name in people and (own or in_its_course)
    if finding.kind == "identity":
        return own and cites(finding, act)
    return (own and _is_near(finding, act)) if finding.name.startswith("queue/") else cites(finding, act)


def is_own(finding: Found, act: Act) -> bool:
    """Is it of the act's pattern, or of one that its traces fit as well?"""
    return finding.detector[:3] in (act.pattern, *act.also)


def cites(finding: Found, act: Act) -> bool:
    """Does it name a file that the act altered?"""
    return any(artefact and artefact in text for artefact in act.artefacts for text in (finding.name, *finding.cited))


def _is_near(finding: Found, act: Act) -> bool:
    """Within two days of a step of the act."""
    spans = [*((time, time) for time in act.times_ms), *((window[0], window[-1]) for window in act.windows_ms)]
    return any(low - NEAR_MS <= finding.effect_time <= high + NEAR_MS for low, high in spans)


def kind_of(look_alike: LookAlike | None) -> str:
    """As it is called where it is counted."""
    return look_alike.kind if look_alike is not None else OTHER


def fell_for(finding: Found, look_alikes: Iterable[LookAlike]) -> LookAlike | None:
    """The look-alike that a false finding is about, as far as one can be told.

    Of several one of its pattern; of these one from before the effect, since nobody loads what is written later; and the nearest in time.
    """

    def unlike(each: LookAlike) -> tuple[bool, bool, int]:
        return each.pattern != finding.detector[:3], each.time_ms > finding.effect_time, abs(each.time_ms - finding.effect_time)

    return min((each for each in look_alikes if _is_about(finding, each)), key=unlike, default=None)


def _is_about(finding: Found, each: LookAlike) -> bool:
    if finding.job and (each.job, each.submit_ms) == (finding.job, finding.submit_ms):
        return True
    near = abs(each.time_ms - finding.effect_time) <= NEAR_MS
    if near and finding.name and finding.name in (each.host, each.person, each.artefact):
        return True
    return bool(each.artefact) and (each.artefact == finding.anchor or any(each.artefact in text for text in finding.cited))
