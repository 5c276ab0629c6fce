"""Facts of one job id in; one case per attempt out.

Derived from the stage's cases and built again after a restart.  A raw job id may stand for several attempts (requeues, wrapped ids):
facts that name an attempt go to it, the others to the attempt that was running, or about to, when they happened:

    attempt 1   submit 10   start 20 ....... end 50
    attempt 2                                    submit 60   start 70 ..........
    events            15->1     30->1      55->1           65->2       80->2

For a job of Kubernetes there is no such record: an attempt begins with each creation of the job.  Facts before the first creation belong
to an attempt that began at time 0, or after what was evicted.  Objects of several kinds may share a name and have different owners: a fact
that names a kind goes to the last object created of that kind, so that nobody takes over another's job by creating something of the same
name.
"""

import posixpath
from bisect import bisect_right
from collections.abc import Collection, Sequence

import msgspec
from sortedcontainers import SortedSet

from pipeline.detect.case import CLOCK_MS, Case, Site, based
from pipeline.detect.workload import creates
from pipeline.formats.split_lines import released_at, whole_lines
from pipeline.model import watched
from pipeline.model.events import (
    Event,
    FileTouched,
    JobRecord,
    KillRequest,
    KubernetesRequest,
    LinePart,
    ObjectEvent,
    PrivilegeUsed,
    ProcessRun,
    ProcessSpawned,
    SessionCommand,
    SignalSent,
    TrainingLine,
)
from pipeline.model.identity import Identity
from pipeline.model.instants import DAY_MS
from pipeline.model.privacy import Veil
from pipeline.model.told import ArtefactUse, Attempt, Emitted, HostCoverage, NodeTouch, Told, Tombstone, Touch, attempt_of
from pipeline.model.workload import is_workload, kind_of

SUMMARY = "summary/"  # begins the subject of what was told to incidents
SIGNAL_MAX = 65  # the kernel's greatest is 64
PIECES_MAX = 256  # of split lines, 16 KiB each
EVER = 2**62  # event time that has passed everything
SAME_RUN_MS = 60_000  # between the creation of a Kubernetes job in the audit log and in a list
BEFORE_START_MS = 3_600_000  # lines of a job may precede its recorded start by clock error; never by more


class JobIndex:
    """Everything told of one raw job id."""

    def __init__(self, cluster: str, job: str, facts_max: int, veil: Veil | None = None) -> None:
        self.cluster, self.job, self._facts_max, self._veil = cluster, job, facts_max, veil
        self.told: dict[str, Told] = {}
        self._pieces: dict[str, Event] = {}  # those of `told` that are pieces of split lines
        self.emitted: dict[str, Emitted] = {}
        self.summaries: dict[str, Emitted] = {}  # by attempt: to which cohorts it was told last
        self.tombstone: Tombstone | None = None
        # By attempt and event, what this process last published: made of which event, matched how, of whose job; digest of the body.
        self.enriched: dict[tuple[Attempt, str], tuple[Event, str, Identity | None, str]] = {}
        # kind -> (time, fact id), to bound a flood of one kind; sorted when there is one: few cases have any, and many kinds one fact
        self._order: dict[str, set[tuple[int, str]] | SortedSet] = {}

    def add(self, fact_id: str, told: Told) -> str:
        """Take one fact in.  Answers with the id of a fact that the bound of its kind pushes out, or "".

        Which facts a full case keeps is decided by event time and id, never by arrival: the earliest stay.
        """
        if isinstance(told, Emitted):
            (self.summaries if told.subject.startswith(SUMMARY) else self.emitted)[told.subject] = told
            return ""
        if isinstance(told, Tombstone):
            self.tombstone = told
            return ""
        self.void(fact_id)  # a fact that grows, such as the newest step of an hour, takes one place
        self.told[fact_id] = told
        if isinstance(told, Event) and isinstance(told.body, LinePart):
            self._pieces[fact_id] = told
        kind, time = _kind_and_time(told)
        order = self._order.get(kind)
        if order is None:
            order = self._order[kind] = set()
        order.add((time, fact_id))
        if len(order) <= (self._facts_max if fact_id not in self._pieces else min(PIECES_MAX, self._facts_max)):
            return ""
        if not isinstance(order, SortedSet):
            order = self._order[kind] = SortedSet(order)
        _, out = order.pop()
        del self.told[out]
        self._pieces.pop(out, None)
        return str(out)

    def void(self, fact_id: str) -> None:
        """A derived fact that no longer holds: as if it had never been told."""
        told = self.told.pop(fact_id, None)
        self._pieces.pop(fact_id, None)
        if told is not None:
            kind, time = _kind_and_time(told)
            self._order[kind].discard((time, fact_id))

    def waits(self) -> set[int]:
        """Event times at which a split line that is not whole by then is released as it is."""
        return {released_at(piece) for piece in self._pieces.values()}

    def cases(self, site: Site, passed: int = EVER) -> list[Case]:
        """One case per attempt, by submit and start.  A record of the time before the start belongs to the run that followed.

        Pieces of split lines are what they say together, as far as they are whole or event time has `passed` their wait.  Forgotten
        attempts get no case, but what is told of them goes to them all the same, and not to a later user of the id.
        """
        by_attempt: dict[Attempt, tuple[list[Event], list[Touch | NodeTouch], list[HostCoverage], list[ArtefactUse]]] = {}
        for gone in self.forgotten:
            by_attempt[gone] = ([], [], [], [])
        known: Collection[Told] = self.told.values()
        if self._pieces:
            lines = whole_lines(self._pieces.values(), passed)
            if self._veil is not None:
                lines = [msgspec.structs.replace(line, body=self._veil.body(line.body)) for line in lines]
            known = [*(told for name, told in self.told.items() if name not in self._pieces), *lines]
        events = based([told for told in known if isinstance(told, Event)])
        known = [*events, *(told for told in known if not isinstance(told, Event))]
        for event in events:
            if isinstance(event.body, JobRecord) and (attempt := attempt_of(event.cluster, event.body)):
                by_attempt.setdefault(attempt, ([], [], [], []))
        if is_workload(self.job):
            for attempt in self._created(events, [each.submit for each in by_attempt if each not in self.forgotten]):
                by_attempt.setdefault(attempt, ([], [], [], []))
        kinds = self._kinds(events, by_attempt) if is_workload(self.job) else {}
        started = {(attempt.job, attempt.submit) for attempt in by_attempt if attempt.start >= 0}
        attempts = sorted(each for each in by_attempt if each.start >= 0 or (each.job, each.submit) not in started)
        begins = _begins(attempts)
        for told in known:
            if isinstance(told, Event):
                named = attempt_of(told.cluster, told.body) if isinstance(told.body, JobRecord) else None
                attempt = named if named in attempts else self._of_kind(kinds, told) or self._running(attempts, begins, told.event_time)
                if attempt is not None:
                    by_attempt[attempt][0].append(told)
            elif isinstance(told, (Touch, NodeTouch)) and told.attempt in by_attempt:
                by_attempt[told.attempt][1].append(told)
            elif isinstance(told, HostCoverage) and told.attempt in by_attempt:
                by_attempt[told.attempt][2].append(told)
            elif isinstance(told, ArtefactUse):
                attempt = self._running(attempts, begins, told.load.event_time)
                if attempt is not None:
                    by_attempt[attempt][3].append(told)
        return [Case(site, attempt, *by_attempt[attempt]) for attempt in attempts if attempt not in self.forgotten]

    def _created(self, events: Sequence[Event], recorded: Sequence[int]) -> list[Attempt]:
        """Attempts of a job of Kubernetes, by its creations; `recorded` are the times of those of which a list tells."""
        after = self.tombstone.end if self.tombstone else 0
        known = [event for event in events if event.event_time > after]
        made = {event.event_time for event in known if isinstance(event.body, KubernetesRequest) and creates(event.body)}
        times = sorted(time for time in made if not any(abs(time - other) <= SAME_RUN_MS for other in recorded))
        first = min((event.event_time for event in known), default=0)
        if known and all(first < time - CLOCK_MS for time in (*times, *recorded)):
            times.insert(0, after + 1 if after else 0)
        return [Attempt(self.cluster, self.job, time, time) for time in times]

    @staticmethod
    def _kinds(events: Sequence[Event], attempts: Collection[Attempt]) -> dict[str, list[Attempt]]:
        """Attempts that began with the creation of an object, by its kind and time; none where all are of one kind."""
        begun = {attempt.submit: attempt for attempt in attempts if attempt.submit == attempt.start}
        found: dict[str, dict[int, Attempt]] = {}
        for event in events:
            body = event.body
            if isinstance(body, KubernetesRequest) and creates(body) and event.event_time in begun:
                found.setdefault(kind_of(body.resource), {})[event.event_time] = begun[event.event_time]
        return {kind: [made[time] for time in sorted(made)] for kind, made in found.items()} if len(found) > 1 else {}

    @staticmethod
    def _of_kind(kinds: dict[str, list[Attempt]], event: Event) -> Attempt | None:
        """The last attempt of the kind that a request or an event of the cluster names, which had begun by then."""
        body = event.body
        named = body.resource if isinstance(body, KubernetesRequest) else body.kind if isinstance(body, ObjectEvent) else ""
        mine = [attempt for attempt in kinds.get(kind_of(named), ()) if attempt.submit <= event.event_time]
        return mine[-1] if mine else None

    @property
    def forgotten(self) -> tuple[Attempt, ...]:
        """Attempts that were evicted."""
        return self.tombstone.attempts if self.tombstone else ()

    def late(self) -> list[str]:
        """Ids of facts that came for forgotten attempts: they would pile up beside the tombstone."""
        stone = self.tombstone
        if stone is None:
            return []
        return [
            name for name, told in self.told.items() if _attempt_named(told) in stone.attempts or 0 < _kind_and_time(told)[1] <= stone.end
        ]

    def newest(self) -> int:
        """Event time of the newest fact; 0: there is none."""
        return max((_kind_and_time(told)[1] for told in self.told.values()), default=0)

    @staticmethod
    def _running(attempts: list[Attempt], begins: list[int], time: int) -> Attempt | None:
        """The last attempt that had begun by then; the first one for what comes shortly before it."""
        at = bisect_right(begins, time)
        if at:
            return attempts[at - 1]
        return attempts[0] if attempts and time >= begins[0] - BEFORE_START_MS else None


def _begins(attempts: Sequence[Attempt]) -> list[int]:
    """When each attempt began: with its submission, or with its start where an earlier attempt has the same submission."""
    begins: list[int] = []
    for number, attempt in enumerate(attempts):
        again = number > 0 and attempts[number - 1].submit == attempt.submit
        begins.append(attempt.start if again or 0 <= attempt.start < attempt.submit else attempt.submit)
    return begins


def _attempt_named(told: Told) -> Attempt | None:
    """The attempt that a fact itself names."""
    if isinstance(told, (Touch, NodeTouch, HostCoverage)):
        return told.attempt
    return attempt_of(told.cluster, told.body) if isinstance(told, Event) and isinstance(told.body, JobRecord) else None


def _kind_and_time(told: Told) -> tuple[str, int]:
    """The kind has a bound of its own: twenty thousand harmless signals, or requests, must not push out one deadly signal after them.

    Nor must what anybody may send push out what known senders do, nor what befell others on a node what befell the job.
    """
    if isinstance(told, Event):
        return f"{type(told.body).__name__}{_whose(told)}", told.event_time
    if isinstance(told, (Touch, NodeTouch)):
        body, closely = told.event.body, told.matched if isinstance(told, Touch) else told.job_pid
        which = f"/{min(body.signal, SIGNAL_MAX)}/{body.success}{told.event.mark}" if isinstance(body, SignalSent) else _whose(told.event)
        return f"{type(told).__name__}/{type(body).__name__}{which}/{closely}", told.event.event_time
    if isinstance(told, ArtefactUse):
        load, before = told.load, told.before
        sent = load.mark or (before.mark if before else "")
        return f"ArtefactUse/{type(load.body).__name__}/{type(before.body).__name__ if before else ''}{sent}", load.event_time
    # Told by the day: a long job on many hosts must not lose what was heard on some of them to what was heard on other days.
    return f"HostCoverage/{min(told.buckets, default=0) // DAY_MS}" if isinstance(told, HostCoverage) else type(told).__name__, 0


def _whose(event: Event) -> str:
    """What a kind is divided by: who asks often must not push out what somebody else asked."""
    body = event.body
    sent, who = event.mark, ""
    if isinstance(body, (KillRequest, ProcessRun, FileTouched)):
        who = str(body.uid)
    if isinstance(body, (KubernetesRequest, PrivilegeUsed, SessionCommand)):
        who = body.user
    if isinstance(body, TrainingLine):
        return f"/{body.what}{sent}"
    if isinstance(body, ProcessSpawned) and posixpath.basename(body.executable) in watched.OPENERS:
        return f"/opening{sent}"
    return sent or f"/{who}"  # whoever makes up records makes up any number of names: these have one bound together
