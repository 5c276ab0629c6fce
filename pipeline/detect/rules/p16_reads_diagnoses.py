"""P16: somebody reads each diagnosis, and then changes what is not his, round after round, as nobody else in the team does.

In: reads of diagnostics and writes of artefacts of a team.  Out: one finding for a member whose reads are followed by writes to others'
artefacts far more often than the reads of the rest.  Everybody reads the page of an incident, and those whose code it is repair it: writes
to what one owns or may write do not count, and one round proves nothing.

    u099    read . write    read . write    read ..... write    read . write ...    9 of 9 reads
    team    read  read  read  read  read  read  read                                1 of 41 reads      chance 4e-9 if all were alike

The chance is the hypergeometric tail (Fisher's exact test, one-sided) over all reads of the team, corrected for the number of members who
read often enough to be asked about: a look is wrong about at most one team in 1,000, and a team is looked at with each reading.
Others who stand out as well do not tell what is usual while they are few.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache

import msgspec

from pipeline.detect.benign import Suspicion
from pipeline.detect.case import Site, evidence
from pipeline.detect.chance import fisher
from pipeline.detect.detector import Meta, explained, raised
from pipeline.detect.subjects import IdentityCase
from pipeline.model.conduct import TEAM
from pipeline.model.events import Event, FileTouched, ObjectAccess, ProcessRun
from pipeline.model.finding import Checked, Evidence, Explanation, Finding, Severity, Subject
from pipeline.model.identity import Identity
from pipeline.model.source import Source
from pipeline.stream.watermark import Watermarks

CITED_ROUNDS_MAX = 10
FEW = 4  # one in so many of those who read may stand out, before standing out is what the team does
ORDINARY = 0.01  # chance above which a member does as the others do
NO_TEAM = f"{TEAM}none"
OTHERS_READS_MIN = 8  # of the rest of the team, below which there is no baseline
READS_APART_MS = 6 * 3_600_000  # reads of one sitting are one


class Rounds(msgspec.Struct, frozen=True):
    """One member: each sitting of reading, and the first foreign write after it, within the window, if there was one."""

    who: Identity
    reads: tuple[tuple[Event, Event | None], ...]

    @property
    def followed(self) -> int:
        return sum(write is not None for _, write in self.reads)


def service_or_daemon(case: IdentityCase, suspicion: Suspicion, now: Watermarks) -> Explanation:  # noqa: ARG001 - one signature for all
    """A service reads and writes as it is made to."""
    name, who = "service_or_daemon", suspicion.actor
    if who is not None and who.role in ("service", "daemon", "root"):
        return Explanation(name, Checked.CONFIRMED, suspicion.cause.record, f"the actor is a {who.role}")
    return Explanation(name, Checked.EXCLUDED, suspicion.cause.record, "a person")


def repairs_under_ticket(case: IdentityCase, suspicion: Suspicion, now: Watermarks) -> Explanation:  # noqa: ARG001
    """A ticket covers the writes: somebody repairs what the diagnosis is about."""
    name, who = "repairs_under_ticket", suspicion.actor
    rounds = next((each for each in rounds_of(case) if who is not None and each.who.id == who.id), None)
    writes = [write for _, write in rounds.reads if write is not None] if rounds else []
    ticket_for, cluster = case.site.directory.ticket_for, case.cluster
    covered = [write for write in writes if who is not None and ticket_for(who, write.event_time, cluster=cluster, host=write.host)]
    if covered and len(covered) * 2 >= len(writes):
        return Explanation(name, Checked.CONFIRMED, covered[0].record, f"tickets cover {len(covered)} of {len(writes)} writes")
    return Explanation(name, Checked.EXCLUDED, note="no tickets in the settings cover most of the writes")


def as_the_team_does(case: IdentityCase, suspicion: Suspicion, now: Watermarks) -> Explanation:  # noqa: ARG001
    """The rest of the team reads and writes alike: that is debugging.  Between alike and far from it too few have read to say."""
    name, who = "as_the_team_does", suspicion.actor
    every = rounds_of(case)
    mine = next((each for each in every if who is not None and each.who.id == who.id), None)
    others = [each for each in every if mine is not None and each.who.id != mine.who.id]
    usual = [each for each in others if each.followed < case.site.windows.diagnosis_rounds_min]
    if FEW * (len(every) - len(usual)) <= len(every):  # two who do so at once must not be the measure of one another
        others = usual
    reads = sum(len(each.reads) for each in others)
    if mine is None or reads < OTHERS_READS_MIN:
        return Explanation(name, Checked.NOT_CHECKED, note=f"only {reads} reads of others to compare with")
    followed = sum(each.followed for each in others)
    asked = sum(len(each.reads) >= case.site.windows.diagnosis_rounds_min for each in every)
    chance = min(1.0, fisher(mine.followed, len(mine.reads), followed, reads) * asked)
    told = f"{mine.followed} of {len(mine.reads)} reads against {followed} of {reads}: chance {chance:.1e}"
    if chance > ORDINARY:
        return Explanation(name, Checked.CONFIRMED, suspicion.cause.record, told)
    if chance > case.site.windows.diagnosis_chance_max:
        return Explanation(name, Checked.NOT_CHECKED, suspicion.cause.record, told)
    return Explanation(name, Checked.EXCLUDED, note=told)


META = Meta(
    id="p16_reads_diagnoses",
    version=4,
    title="Diagnoses read, and others' artefacts changed behind them, in rounds",
    subject="identity",
    severity=Severity.MEDIUM,
    attack=("T1213", "T1654", "T1114", "AML.T0036", "AML.T0042"),
    needs=(Source.AUDITD,),
    window_seconds="detect.diagnosis_window_seconds",
    benign=(service_or_daemon, repairs_under_ticket, as_the_team_does),
    required=("service_or_daemon", "repairs_under_ticket", "as_the_team_does"),
    blind_spots=(
        "Who hears a diagnosis in a meeting, or reads it on paper, reads no file.",
        "A file that no command names by its whole path: by a relative one, a shell's `<`, an editor that was open, a page on the web.",
        "Somebody without a team, or in one that hardly reads, has nobody to be compared with.",
        "Writes to what one owns or may write do not count: an owner's own sabotage is not seen here.",
        "A team that shares folders without naming writers in the settings is judged by the owners of files alone.",
    ),
    runbook="Lay each diagnosis beside the change that followed it. A page with a false lead, written for nobody else, decides it. "
    "By chance alone each look at a team is wrong at most 1 time in 1,000.",
)


def judge(case: IdentityCase, now: Watermarks) -> Iterator[Finding]:
    """One finding for each member with enough rounds, about the team: who it is, is for the gates to say."""
    for rounds in rounds_of(case):
        if rounds.followed < case.site.windows.diagnosis_rounds_min:
            continue
        pairs = [(read, write) for read, write in rounds.reads if write is not None]
        last = pairs[-1][1]
        suspicion = Suspicion(rounds.who, pairs[0][0], last.event_time)
        checklist, harmless = explained(META, case, suspicion, now)
        if harmless:
            continue
        cited: list[Evidence] = []
        for read, write in pairs[:CITED_ROUNDS_MAX]:
            cited += evidence("read", read, "a diagnosis was read")
            cited += evidence("written", write, f"{getattr(write.body, 'path', '')}, of others, was changed behind it")
        yield raised(
            META,
            case,
            suspicion,
            checklist,
            effect="rounds_of_reading_and_writing",
            about=Subject("identity", case.cluster, case.name if case.name.startswith(TEAM) else NO_TEAM),
            anchor=case.site.directory.label("member", rounds.who.id),
            summary=f"{rounds.followed} of {len(rounds.reads)} readings of diagnostics were followed by changes of others' artefacts",
            cited=cited,
            parts=(("rounds, compared with the team", 0.7),),
            closes_at=last.event_time + case.site.grace_ms,
        )


@lru_cache(maxsize=2)  # the judge and two explanations ask, of a case and its proven half
def rounds_of(case: IdentityCase) -> Sequence[Rounds]:
    """Each member's sittings of reading with what followed; by identity id."""
    window = case.site.windows.diagnosis_window_seconds * 1000
    people: dict[str, tuple[Identity, list[Event], list[Event]]] = {}
    for event in case.touches:
        who = case.actor(event)
        if who is None:
            continue
        _, reads, writes = people.setdefault(who.id, (who, [], []))
        if is_read(event):
            if not reads or event.event_time - reads[-1].event_time > READS_APART_MS:
                reads.append(event)
        elif is_foreign(case.site, who, event):
            writes.append(event)
    return [Rounds(who, tuple(_paired(reads, writes, window))) for _, (who, reads, writes) in sorted(people.items()) if reads]


def _paired(reads: Sequence[Event], writes: Sequence[Event], window_ms: int) -> Iterator[tuple[Event, Event | None]]:
    """Each read with the first write after it that follows no read before; both by time."""
    times, at = [write.event_time for write in writes], 0
    for read in reads:
        at = max(at, bisect_right(times, read.event_time))
        follows = at < len(times) and times[at] - read.event_time <= window_ms
        yield read, writes[at] if follows else None
        at += follows


def is_read(event: Event) -> bool:
    """A command that was given a file of the diagnostics, or the read of one from a store."""
    return isinstance(event.body, ProcessRun) or (isinstance(event.body, ObjectAccess) and event.body.action == "read")


def is_foreign(site: Site, who: Identity, event: Event) -> bool:
    """Does a write change what is neither the writer's own nor his to write?"""
    body = event.body
    if not isinstance(body, (FileTouched, ObjectAccess)):
        return False
    if isinstance(body, FileTouched) and body.file_uid is not None and who.uid is not None and body.file_uid == who.uid:
        return False
    if site.root_of(body.path).writers:
        return not site.has_leave(who, body.path)
    return isinstance(body, FileTouched) and body.file_uid is not None and who.uid is not None
