"""One campaign in, its canonical incident out: members, timeline over all sources, scope, attribution, loss, limits.

All findings are weighed and counted; what is told of them is bounded, because a body must fit into one message however large a campaign
is.  What is listed follows from the set of findings: the first of each kind before the second of any (`spread`), and its last.  If the
body is still too large, because its texts are long, all bounds are halved until it fits.

    findings 5,000 = members 200, in full + others 4,800, by id            detectors: p01 1,667 ...; they add up to 5,000

Whoever is not named stands in no text of the body: labels take the place of identity ids, logins and uids in what findings say of a
candidate, and in what the site wrote of it.  That a candidate is also an owner of affected jobs is said under his own name, since it
accuses nobody.
"""

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from pipeline.detect import history
from pipeline.detect.benign_artefacts import ALTERED, FORMER
from pipeline.incidents.attempts import Attempts
from pipeline.incidents.attribution import Known, attribute, is_altered_before
from pipeline.incidents.campaigns import Linked, links_of, window_of
from pipeline.incidents.families import family_of, is_signal, words_of
from pipeline.incidents.grouping import RIVALS_MAX
from pipeline.incidents.losses import listed_loss, loss_of
from pipeline.incidents.losses_beside import victims
from pipeline.incidents.losses_ended import Pricing
from pipeline.incidents.report_text import day_and_time
from pipeline.incidents.scope import derive, scope_of, trace
from pipeline.model.finding import Checked, Evidence, Finding, Severity, Status
from pipeline.model.identity import Directory
from pipeline.model.incident import Attribution, Incident, Member, Moment, Other, Scope, canonical_incident, label_of
from pipeline.model.instants import DAY_MS
from pipeline.model.source import Source
from pipeline.model.words import many

BODY_BYTES_MAX = 750_000  # and the message around it stays below what a broker takes
TEXT_MAX = 2000  # characters of one text that comes from records
CITED_BY_MAX = 5
HISTORY_MAX = 5  # sentences on where the history of something begins, or on what had been altered before
UNSEEN_DAYS = 30  # before the bytes were loaded that nobody is on record as having written
SEVERITIES = (Severity.LOW, Severity.MEDIUM, Severity.HIGH, Severity.CRITICAL)
ALWAYS = (
    "Hypotheses do not exclude one another: several people may have acted, together or apart.",
    "Ratios that no publication gives are assumptions; none of them names anybody.",
    "A record names an account. Whoever holds its key, its token or an open session of it leaves the same records as its owner.",
    "Whoever is root on a host may have written its logs, and whoever holds a shipper's account may have named another host.",
    "Whoever is root on a host may act there under any account, and with the scheduler's key give orders in anybody's name.",
    "What no source recorded stands nowhere here.",
)
OPENED = (
    "The kernel's audit tells that a file was opened for writing under an account, not what was written: of bytes that no watcher hashed "
    "then, another hand behind it, of which no record tells, leaves the same records."
)


class Surroundings(msgspec.Struct, frozen=True):
    """What an incident is built from beside its findings."""

    directory: Directory
    known: Known
    silent_days: Mapping[str, Sequence[str]]  # of its window, by source
    full: bool  # as many attempts are held as the settings allow
    attempts: Attempts
    pricing: Pricing
    rivals: Sequence[Finding] = ()  # the first that others are suspected of at the same artefacts


class Bounds(msgspec.Struct, frozen=True):
    """How much of each list a body tells."""

    members: int = 200
    others: int = 6000
    moments: int = 300
    aliases: int = 500
    artefacts: int = 50
    loads: int = 30  # of one artefact
    names: int = 200  # attempts, users, projects
    hypotheses: int = 30
    losses: int = 200

    def halved(self) -> "Bounds":
        """One of each at least."""
        return Bounds(*(max(1, bound // 2) for bound in msgspec.structs.astuple(self)))


def build(cluster: str, campaign: Sequence[Linked], around: Surroundings) -> Incident:
    """`campaign` in canonical order, at least one."""
    whole, bounds = Whole(cluster, campaign, around), Bounds()
    body = whole.told(bounds)
    while len(canonical_incident(body)) > BODY_BYTES_MAX and bounds != bounds.halved():
        bounds = bounds.halved()
        body = whole.told(bounds)
    return body


class Whole:
    """Everything that can be said of a campaign, and a body with as much of it as is wanted."""

    def __init__(self, cluster: str, campaign: Sequence[Linked], around: Surroundings) -> None:
        self._cluster, self._campaign, self._around = cluster, campaign, around
        self._findings = findings = [each.finding for each in campaign]
        self._window = window_of(campaign)
        self._said = attribute(cluster, findings, around.known, around.directory.key, around.rivals)
        suspects = {each.suspect for each in (*findings, *around.rivals) if each.suspect}
        self._hide = Hiding(cluster, suspects, self._said, around.directory)
        self._traced = trace(findings, around.attempts)
        self._derived = derive(self._traced, around.attempts)
        self._scope = scope_of(
            findings,
            around.attempts,
            self._traced,
            self._derived,
            self._window,
            around.silent_days,
            around.pricing.gpus_per_node,
            victims(findings, around.attempts, around.pricing),
        )
        self._links = links_of(campaign)
        self._loss = loss_of(findings, around.attempts, around.pricing, (each.founds for each in campaign))
        self._records = len({(item.event_time, item.event_id, item.role, item.sha256) for each in findings for item in each.evidence})

    def told(self, bounds: Bounds) -> Incident:
        """The body."""
        campaign, findings, first = self._campaign, self._findings, self._campaign[0]
        listed = spread([(not each.alert, each.severity, each.detector, each.suspect) for each in findings], bounds.members)
        counts = sorted(Counter(each.detector for each in findings).items())
        alerts = Counter(each.detector for each in findings if each.alert)
        places = {detector: place for place, (detector, _) in enumerate(counts)}
        shown = set(listed)
        others = [
            Other(each.id, places[each.finding.detector], each.finding.effect_time, each.finding.alert)
            for place, each in enumerate(campaign)
            if place not in shown
        ]
        moments = list(_timeline([campaign[place] for place in listed], self._hide, bounds.moments))
        return Incident(
            cluster=self._cluster,
            founder=first.id,
            aliases=tuple(sorted(each.founds for each in campaign[1 : bounds.aliases + 1])),
            title=self._title(),
            severity=max((each.severity for each in findings), key=SEVERITIES.index),
            alert=any(each.alert for each in findings),
            first=self._window[0],
            last=self._window[1],
            closes_at=max(each.closes_at for each in findings),
            members=tuple(self._member(campaign[place]) for place in listed),
            timeline=tuple(moments),
            traced=tuple(
                msgspec.structs.replace(each, path=cut(each.path), loaded_by=each.loaded_by[: bounds.loads])
                for each in self._traced[: bounds.artefacts]
            ),
            scope=_cut_scope(self._scope, bounds.names),
            attribution=msgspec.structs.replace(
                self._said,
                withheld=self._hide(self._said.withheld),
                hypotheses=self._said.hypotheses[: bounds.hypotheses],
                alone=tuple(msgspec.structs.replace(each, place=self._hide(each.place)) for each in self._said.alone),
            ),
            checklist=tuple(_checklist(findings)),
            limits=tuple(self._limits(bounds, len(listed), len(others), len(moments))),
            loss=listed_loss(self._loss, bounds.losses),
            status=Status.FINAL if all(each.status is Status.FINAL for each in findings) else Status.PROVISIONAL,
            findings=len(campaign),
            detectors=tuple((detector, count, alerts[detector]) for detector, count in counts),
            others=tuple(others[: bounds.others]),
            records=self._records,
            artefacts=len(self._traced),
            derived=tuple(
                msgspec.structs.replace(
                    each,
                    after=cut(each.after),
                    path=cut(each.path),
                    loaded_by=each.loaded_by[: bounds.loads],
                    saved_by=each.saved_by[: bounds.loads],
                )
                for each in self._derived[: bounds.artefacts]
            ),
        )

    def _title(self) -> str:
        count = len(self._campaign)
        words = sorted({(family_of(each).means, words_of(each.detector, each.effect)) for each in self._findings})
        return f"{', '.join(word for _, word in words)}: {count} finding{'s' if count > 1 else ''}"

    def _member(self, linked: Linked) -> Member:
        each = linked.finding
        # Whoever became an account's user is named for that nowhere, although other acts name him here.
        suspect = "" if is_signal(each) and each.suspect == self._said.named else each.suspect
        return Member(
            finding=linked.id,
            detector=each.detector,
            version=each.detector_version,
            severity=each.severity,
            subject=cut(self._subject(each)),
            who=who_of(self._cluster, suspect, self._said.named, self._around.directory.key),
            effect_time=each.effect_time,
            summary=cut(self._hide(each.summary)),
            alert=each.alert,
            gate=self._hide(each.gate),
            links=self._links[linked.id],
        )

    def _subject(self, finding: Finding) -> str:
        """What it is about.  Behind a slash, as in a path, no name is hidden; so an account's is, by itself."""
        subject = finding.subject
        if subject.kind != "identity":
            return finding.about
        return finding.about.removesuffix(subject.name) + self._hide(subject.name)

    def _limits(self, bounds: Bounds, listed: int, others: int, moments: int) -> Iterator[str]:
        around, attempts = self._around, self._around.attempts
        yield from ALWAYS
        for source in sorted(around.silent_days):
            if days := around.silent_days[source]:
                when = f"{len(days)} days, the first of them {days[0]}" if len(days) > 1 else days[0]
                yield f"{source} was not heard on {when}: absence proves nothing there."
        notes = sorted({item.note for each in self._findings for item in each.checklist if item.name == history.NAME})
        yield from (cut(note) for note in notes[:HISTORY_MAX])
        yield from self._unseen()
        if any(item.role == "written" and item.source == Source.AUDITD for each in self._findings for item in each.evidence):
            yield OPENED
        if others:
            yield (
                f"Of {len(self._campaign)} findings {listed} are listed, the first of every kind and the last of all, and "
                f"{min(others, bounds.others)} more by their ids; all were weighed and are counted."
            )
        if moments < self._records:
            yield f"The timeline shows {moments} of {self._records} cited records; the findings cite all of them."
        if len(self._traced) > bounds.artefacts:
            yield f"Of {len(self._traced)} suspect artefacts {bounds.artefacts} are listed; all were traced."
        if len(self._derived) > bounds.artefacts:
            yield f"Of {len(self._derived)} checkpoints derived from suspect artefacts the first {bounds.artefacts} are listed."
        if len(self._said.hypotheses) > bounds.hypotheses:
            yield f"Of {len(self._said.hypotheses)} hypotheses the {bounds.hypotheses} leading ones are listed; all were weighed."
        untold = [each.amount for each in self._scope.unjudged if (each.source, each.what) == (Source.PROBE, "attempts")]
        if untold:
            yield f"What {many(sum(untold), 'attempt')} of its time loaded is not known: they count neither as touched nor as fine."
        if around.full:
            yield "The oldest attempts that ended may no longer be held: counts of the scope are of the newest."
        if others_there := len({each.suspect for each in around.rivals}):
            least = "At least " if others_there >= RIVALS_MAX else ""
            whom = "Another account is" if others_there == 1 else f"{least}{others_there} other accounts are"
            yield f"{whom} suspected of acts at the same artefacts: incidents of their own are about these."
        if not len(attempts):
            yield "No attempt is known to have ended: the scope rests on findings alone."

    def _unseen(self) -> Iterator[str]:
        """Which files had been altered before, no record says by whom, and on which days in between the kernel's audit was not heard."""
        found: dict[str, tuple[int, int]] = {}  # path -> the first time between which loads
        for each in self._findings:
            loads = {item.role: item.event_time for item in each.evidence if item.role in (FORMER, ALTERED)}
            if is_altered_before(each) and len(loads) > 1:
                between = loads[ALTERED], loads[FORMER]
                found[each.anchor] = min(between, found.get(each.anchor, between))
        for path in sorted(found)[:HISTORY_MAX]:
            last, first = found[path]
            days = days_of(first, last)[-UNSEEN_DAYS:]
            silent = [name for start, name in days if not self._around.known.heard(Source.AUDITD, start)]
            yield cut(
                f"The bytes of {path} had changed before the first act of the candidate there, between {day_and_time(first)} and "
                f"{day_and_time(last)}, and no record says by whom"
                + (f"; auditd was not heard on {many(len(silent), 'day')} between, the first of them {silent[0]}." if silent else ".")
            )


def spread(kinds: Sequence[Hashable], most: int) -> list[int]:
    """Places of at most so many: the last, the first of each kind, the second of each kind, and so on."""
    seen: Counter[Hashable] = Counter()
    ranked = []
    for place, kind in enumerate(kinds):
        ranked.append((seen[kind] if place < len(kinds) - 1 else -1, place))
        seen[kind] += 1
    return sorted(place for _, place in sorted(ranked)[:most])


def cut(text: str) -> str:
    """What comes from records may be as long as somebody likes."""
    return text if len(text) <= TEXT_MAX else f"{text[: TEXT_MAX - 1]}…"


def who_of(cluster: str, suspect: str, named: str, key: bytes) -> str:
    """What a suspect is called."""
    return suspect if not suspect or suspect == named else label_of(cluster, suspect, key)


class Hiding:
    """Puts labels in the place of candidates whose naming is withheld."""

    def __init__(self, cluster: str, candidates: Iterable[str], attribution: Attribution, directory: Directory) -> None:
        self._labels: dict[str, str] = {}
        words: list[str] = []
        for who in sorted(set(candidates) - {attribution.named}):
            label = label_of(cluster, who, directory.key)
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


def _timeline(members: Sequence[Linked], hide: Hiding, most: int) -> Iterator[Moment]:
    """Cited records in time, each once in each of its roles; of an event that came in several lines each line that is cited."""
    cited: dict[tuple[int, str, str, str], tuple[Evidence, list[str]]] = {}
    for each in members:
        for item in each.finding.evidence:
            cited.setdefault((item.event_time, item.event_id, item.role, item.sha256), (item, []))[1].append(each.id)
    ordered = [cited[key] for key in sorted(cited)]
    for place in spread([(item.role, item.source) for item, _ in ordered], most):
        item, findings = ordered[place]
        names = sorted(set(findings))
        yield Moment(
            event_time=item.event_time,
            source=item.source,
            role=item.role,
            event_id=item.event_id,
            sha256=item.sha256,
            summary=cut(hide(item.summary)),
            findings=tuple(names[:CITED_BY_MAX]),
            cited_by=len(names),
        )


def _cut_scope(scope: Scope, most: int) -> Scope:
    lists = ("attempts", "users", "projects", "unaffected_users", "unaffected_projects")
    return msgspec.structs.replace(scope, **{name: getattr(scope, name)[:most] for name in lists})


def _checklist(members: Sequence[Finding]) -> Iterator[tuple[str, int, int]]:
    counts: dict[str, list[int]] = {}
    for each in members:
        for item in each.checklist:
            pair = counts.setdefault(item.name, [0, 0])
            pair[0] += item.answer is Checked.EXCLUDED
            pair[1] += item.answer is Checked.NOT_CHECKED
    for name in sorted(counts):
        yield name, counts[name][0], counts[name][1]


def days_of(first: int, last: int) -> list[tuple[int, str]]:
    """(start, name) of every day that the window touches."""
    starts = range(first // DAY_MS * DAY_MS, last + 1, DAY_MS)
    return [(start, f"{datetime.fromtimestamp(start / 1000, UTC):%Y-%m-%d}") for start in starts]
