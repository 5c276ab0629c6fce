"""One campaign in, its canonical incident out: members, timeline over all sources, scope, attribution, loss, limits.

Whoever is not named stands in no text of the body: labels take the place of identity ids, logins and uids in what findings say of a
candidate.  That a candidate is also an owner of affected jobs is said under his own name, since it accuses nobody.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from pipeline.detect import history
from pipeline.incidents.attribution import Known, attribute
from pipeline.incidents.campaigns import DAY_MS, links_of, means_of
from pipeline.incidents.losses import Attempts, Pricing, loss_of
from pipeline.incidents.scope import scope_of, trace
from pipeline.model.finding import Checked, Finding, Severity, Status
from pipeline.model.identity import Directory
from pipeline.model.incident import Attribution, Examined, Incident, Member, Moment, incident_id, label_of

TIMELINE_MAX = 600  # records, and as many members: a body must fit into one message
MEMBERS_MAX = 600
SEVERITIES = (Severity.LOW, Severity.MEDIUM, Severity.HIGH, Severity.CRITICAL)
WORDS = {
    "signals": "processes killed", "bytes": "files altered", "orders": "jobs ordered about", "queue": "queue flooded",
    "nodes": "nodes slowed", "reading": "diagnoses followed", "accounts": "accounts borrowed", "telemetry": "telemetry silenced",
}  # fmt: skip
ALWAYS = (
    "Hypotheses do not exclude one another: several people may have acted, together or apart.",
    "Ratios that no publication gives are assumptions; none of them names anybody.",
    "What no source recorded stands nowhere here.",
)


class Surroundings(msgspec.Struct, frozen=True):
    """What an incident is built from beside its findings."""

    directory: Directory
    examined: Mapping[str, Examined]  # by attempt name
    known: Known
    silent_days: Mapping[str, Sequence[str]]  # of its window, by source
    full: bool  # as many attempts are held as the settings allow
    attempts: Attempts  # the same as `examined`, as losses look them up
    pricing: Pricing


def build(cluster: str, members: Sequence[Finding], around: Surroundings) -> Incident:
    """`members` in canonical order, at least one."""
    first = min(min(each.cause_time, each.effect_time) for each in members)
    last = max(each.effect_time for each in members)
    attribution = attribute(cluster, members, around.known)
    hide = Hiding(cluster, {each.suspect for each in members if each.suspect}, attribution, around.directory)
    traced, loaded = trace(members, around.examined.values())
    links = links_of(members)
    moments = tuple(_timeline(members, hide))
    means = sorted({means_of(each) for each in members})
    aliases = tuple(sorted(incident_id(cluster, each.id) for each in members[1:]))
    return Incident(
        cluster=cluster,
        founder=members[0].id,
        aliases=aliases,
        title=f"{', '.join(WORDS.get(each, each) for each in means)}: {len(members)} finding{'s' if len(members) > 1 else ''}",
        severity=max((each.severity for each in members), key=SEVERITIES.index),
        alert=any(each.alert for each in members),
        first=first,
        last=last,
        closes_at=max(each.closes_at for each in members),
        members=tuple(
            Member(
                finding=each.id,
                detector=each.detector,
                version=each.detector_version,
                severity=each.severity,
                subject=hide(each.about) if each.subject.kind == "identity" else each.about,
                who=who_of(cluster, each.suspect, attribution.named),
                effect_time=each.effect_time,
                summary=hide(each.summary),
                alert=each.alert,
                gate=each.gate,
                links=links[each.id],
            )
            for each in members[:MEMBERS_MAX]
        ),
        timeline=moments[:TIMELINE_MAX],
        traced=traced,
        scope=scope_of(members, around.examined, loaded, (first, last), around.silent_days),
        attribution=attribution,
        checklist=tuple(_checklist(members)),
        limits=tuple(_limits(members, around, len(moments) - TIMELINE_MAX)),
        loss=loss_of(members, around.attempts, around.pricing, (incident_id(cluster, members[0].id), *aliases)),
        status=Status.FINAL if all(each.status is Status.FINAL for each in members) else Status.PROVISIONAL,
    )


def who_of(cluster: str, suspect: str, named: str) -> str:
    """What a suspect is called."""
    return suspect if not suspect or suspect == named else label_of(cluster, suspect)


class Hiding:
    """Puts labels in the place of candidates whose naming is withheld."""

    def __init__(self, cluster: str, candidates: Iterable[str], attribution: Attribution, directory: Directory) -> None:
        self._labels: dict[str, str] = {}
        words: list[str] = []
        for who in sorted(set(candidates) - {attribution.named}):
            label = label_of(cluster, who)
            found = [each for each in directory.identities if each.id == who]
            names = {who, *(each.login for each in found), *(name for each in found for _, name in each.names)} - {""}
            names |= {f"{word} {each.uid}" for each in found if each.uid is not None for word in ("uid", "user")}
            for name in names:
                self._labels[name] = label
                words.append(re.escape(name))
        # The longest first, and whole words only: u01 must not be found in u017.
        self._pattern = (
            re.compile(rf"(?<![\w./-])(?:{'|'.join(sorted(words, key=lambda each: (-len(each), each)))})(?!\w)") if words else None
        )

    def __call__(self, text: str) -> str:
        return self._pattern.sub(lambda found: self._labels[found.group()], text) if self._pattern else text


def _timeline(members: Sequence[Finding], hide: Hiding) -> Iterator[Moment]:
    """Every cited record once, in time."""
    cited: dict[tuple[int, str, str], tuple[Moment, list[str]]] = {}
    for each in members:
        for item in each.evidence:
            key = (item.event_time, item.event_id, item.role)
            if key not in cited:
                moment = Moment(
                    event_time=item.event_time,
                    source=item.source,
                    role=item.role,
                    event_id=item.event_id,
                    sha256=item.sha256,
                    summary=hide(item.summary),
                    findings=(),
                )
                cited[key] = moment, []
            cited[key][1].append(each.id)
    for key in sorted(cited):
        moment, findings = cited[key]
        yield msgspec.structs.replace(moment, findings=tuple(sorted(set(findings))))


def _checklist(members: Sequence[Finding]) -> Iterator[tuple[str, int, int]]:
    counts: dict[str, list[int]] = {}
    for each in members:
        for item in each.checklist:
            pair = counts.setdefault(item.name, [0, 0])
            pair[0] += item.answer is Checked.EXCLUDED
            pair[1] += item.answer is Checked.NOT_CHECKED
    for name in sorted(counts):
        yield name, counts[name][0], counts[name][1]


def _limits(members: Sequence[Finding], around: Surroundings, left_out: int) -> Iterator[str]:
    yield from ALWAYS
    for source in sorted(around.silent_days):
        if days := around.silent_days[source]:
            yield f"{source} was not heard on {len(days)} days, the first of them {days[0]}: absence proves nothing there."
    yield from sorted({item.note for each in members for item in each.checklist if item.name == history.NAME})
    if left_out > 0:
        yield f"The timeline leaves out its last {left_out} records; the findings cite them."
    if len(members) > MEMBERS_MAX:
        yield f"Of {len(members)} findings the first {MEMBERS_MAX} are listed; all were weighed."
    if around.full:
        yield "The oldest attempts that ended may no longer be held: counts of the scope are of the newest."
    if not around.examined:
        yield "No attempt is known to have ended: the scope rests on findings alone."


def days_of(first: int, last: int) -> list[tuple[int, str]]:
    """(start, name) of every day that the window touches."""
    starts = range(first // DAY_MS * DAY_MS, last + 1, DAY_MS)
    return [(start, f"{datetime.fromtimestamp(start / 1000, UTC):%Y-%m-%d}") for start in starts]
