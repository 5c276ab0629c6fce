"""Facts of one host in; what the interval join needs at hand out.

Derived from the case and built again after a restart: nothing in here is state.

    allocations   attempt -> [start, end)      signals, node events   by time      processes   pid -> job -> (time, fact id)
    told          attempt -> events of which a touch was told, so that it can be voided
    covered       names of coverage facts that were told, for the same reason

Whose process a number was is said by the probe, that is by a job's own output, where anybody may claim any number.  So a claim counts
only while the scheduler has the claimant on this host, and never against the owner that the kernel names.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator

import msgspec

from pipeline.formats.assembly import assemble
from pipeline.model.events import (
    AuditRecord,
    Event,
    FileTouched,
    JobRecord,
    NodeState,
    OomKill,
    ProcessRun,
    ProcessStarted,
    SignalSent,
    Xid,
)
from pipeline.model.ids import digest
from pipeline.model.source import Source
from pipeline.model.told import Attempt, Heard, Told

OPEN_END = 2**62


class Allocation(msgspec.Struct, frozen=True, gc=False):
    """That an attempt held this host, as far as the scheduler has said; `weight` grows with what it has said."""

    attempt: Attempt
    end: int
    owner_uid: int | None
    weight: int

    @property
    def start(self) -> int:
        return self.attempt.start


class Timed(msgspec.Struct, frozen=True, gc=False):
    """An event under its time, with the weight of what it was assembled from."""

    time: int
    id: str
    event: Event
    weight: int

    def __lt__(self, other: "Timed") -> bool:  # events themselves have no order
        return (self.time, self.id) < (other.time, other.id)


class HostIndex:
    """The join side of one host."""

    def __init__(self, cluster: str, host: str) -> None:
        self.cluster, self.host = cluster, host
        self.allocations: dict[Attempt, Allocation] = {}
        self.signals: list[Timed] = []
        self.node_events: list[Timed] = []
        self.processes: dict[int, dict[str, tuple[int, str]]] = {}  # pid -> job -> (start, fact id) of its first claim
        self.heard: dict[Source, set[int]] = {}
        self.told: dict[Attempt, dict[str, Timed]] = {}
        self.covered: set[str] = set()
        self._attempts: dict[str, set[Attempt]] = {}  # job -> its attempts on this host
        self._pids: dict[str, set[int]] = {}  # job -> its processes
        self._placed: dict[str, Timed] = {}  # id -> signal or node event as it stands in its list
        self._naming: dict[int, dict[str, Timed]] = {}  # pid -> signals and node events that name it
        self._made: dict[tuple[int, int], set[str]] = {}  # audit event -> ids of the signals made of it
        self._records: dict[Attempt, dict[str, JobRecord]] = {}
        self._parts: dict[tuple[int, int], dict[str, tuple[AuditRecord, str]]] = {}

    # --- folding; each method answers with what the fact makes new

    def add(self, fact_id: str, told: Told) -> "Change":
        """Take one fact; the answer says what must be joined again."""
        if isinstance(told, Heard):
            self.heard.setdefault(told.source, set()).add(told.bucket)
            return Change(heard=told)
        if not isinstance(told, Event):
            return Change()
        body = told.body
        if isinstance(body, AuditRecord):
            key = (told.event_time, body.serial)
            self._parts.setdefault(key, {})[told.id] = (body, told.sha256)
            return Change(audit=key)
        if isinstance(body, JobRecord):
            return Change(attempt=self._allocate(fact_id, told, body))
        if isinstance(body, ProcessStarted):
            return self._claim(fact_id, told, body.pid)
        if isinstance(body, (OomKill, Xid, NodeState)):
            timed = Timed(told.event_time, told.id, told, 1)
            self._place(self.node_events, timed)
            return Change(node_event=timed)
        return Change()

    def _claim(self, fact_id: str, event: Event, pid: int) -> "Change":
        """Of what a job says about one number the first word counts: saying it a million times must not cost a million facts."""
        claims = self.processes.setdefault(pid, {})
        known, claim = claims.get(event.job), (event.event_time, fact_id)
        if known is not None and known < claim:
            return Change(needless=fact_id)
        claims[event.job] = claim
        self._pids.setdefault(event.job, set()).add(pid)
        return Change(pid=pid, needless=known[1] if known is not None and known != claim else "")

    def _allocate(self, fact_id: str, event: Event, record: JobRecord) -> Attempt | None:
        if record.start is None or record.submit is None:
            return None
        attempt = Attempt(event.cluster, record.job, record.submit, record.start)
        self._attempts.setdefault(attempt.job, set()).add(attempt)
        records = self._records.setdefault(attempt, {})
        records[fact_id] = record
        ordered = [records[name] for name in sorted(records)]
        ends = [each.end for each in ordered if each.phase == "end" and each.end is not None]
        owners = [each.owner_uid for each in ordered if each.owner_uid is not None]
        self.allocations[attempt] = Allocation(
            attempt, max(ends) if ends else OPEN_END, min(owners) if owners else None, len(records) + 1000 * len(ends)
        )
        return attempt

    def assembled(self, key: tuple[int, int]) -> tuple[list[Timed], list[Timed]]:
        """(what the parts of one audit event say by now, signals that they said before and say no more).

        The number by which a sender in a container knows its target gives way to the one that the kernel names, and a group to its
        members.
        """
        parts = self._parts[key]
        weight = len(parts)
        cited = tuple(sorted((event_id, sha256) for event_id, (_, sha256) in parts.items()))
        time, serial = key
        made = []
        for body in assemble([(event_id, record) for event_id, (record, _) in parts.items()]):
            event = Event(
                id=digest("auditd", self.cluster, self.host, time, serial, _what(body)),
                source=Source.AUDITD,
                cluster=self.cluster,
                event_time=time,
                body=body,
                host=self.host,
                sha256=cited[0][1] if weight == 1 else digest(*(sha256 for _, sha256 in cited)),
                parts=cited,
            )
            timed = Timed(time, event.id, event, weight)
            made.append(timed)
            if isinstance(body, SignalSent):
                self._place(self.signals, timed)
        signals = {timed.id for timed in made if isinstance(timed.event.body, SignalSent)}
        gone = [self._placed[name] for name in sorted(self._made.get(key, set()) - signals)]
        for timed in gone:
            self._displace(self.signals, timed)
        self._made[key] = signals
        return made, [msgspec.structs.replace(timed, weight=weight) for timed in gone]

    def _place(self, events: list[Timed], timed: Timed) -> None:
        known = self._placed.get(timed.id)
        if known is not None:
            self._displace(events, known)
        insort(events, timed)
        self._placed[timed.id] = timed
        if (pid := target_of(timed.event)) is not None:
            self._naming.setdefault(pid, {})[timed.id] = timed

    def _displace(self, events: list[Timed], timed: Timed) -> None:
        del events[bisect_left(events, timed)]
        self._unname(timed)

    def _unname(self, timed: Timed) -> None:
        del self._placed[timed.id]
        if (pid := target_of(timed.event)) is not None:
            named = self._naming[pid]
            del named[timed.id]
            if not named:
                del self._naming[pid]

    # --- asking

    def between(self, events: list[Timed], start: int, end: int) -> Iterator[Timed]:
        """Events with start <= time <= end."""
        low = bisect_left(events, start, key=lambda timed: timed.time)
        high = bisect_right(events, end, key=lambda timed: timed.time)
        for at in range(low, high):
            yield events[at]

    def naming(self, pid: int) -> Iterator[Timed]:
        """Events that name this process as their target."""
        yield from self._naming.get(pid, {}).values()

    def naming_job(self, job: str) -> Iterator[Timed]:
        """Events that name a process of this job, or one that had its number."""
        for pid in self._pids.get(job, ()):
            yield from self.naming(pid)

    def job_of(self, pid: int, at: int, slack: int, uid: int | None) -> tuple[str, int, int]:
        """(job of the process that had this pid at that time or "", number of claims, weight of allocations it rests on).

        Numbers come again: a rank of a job that held the host at another time only is no rank any more.  `uid` is the owner of the
        process as the kernel names it: a job of somebody else claims it in vain.  Where the kernel names none, and jobs of several
        owners claim the process, nobody knows.
        """
        claims = sorted((start, fact_id, job) for job, (start, fact_id) in self.processes.get(pid, {}).items() if start <= at)
        weight, found, owners = 0, "", set()
        for _, _, job in claims:
            held = [self.allocations[attempt] for attempt in self._attempts.get(job, ())]
            weight += sum(each.weight for each in held)
            holding = [each for each in held if each.start - slack <= at <= each.end + slack]
            fitting = [each for each in holding if uid is None or each.owner_uid is None or each.owner_uid == uid]
            if fitting:
                found = job
                owners |= {each.owner_uid for each in fitting}
        return (found if len(owners) <= 1 else ""), len(claims), weight

    def horizon(self, oldest: int) -> Iterator[str]:
        """Forget what happened before `oldest`; yields the fact ids to drop."""
        for key in [key for key in self._parts if key[0] < oldest]:
            yield from self._parts.pop(key)
            self._made.pop(key, None)
        for timed in self.node_events:
            if timed.time < oldest:
                yield timed.id
        for events in (self.signals, self.node_events):
            kept = bisect_left(events, oldest, key=lambda timed: timed.time)
            for timed in events[:kept]:
                self._unname(timed)
            del events[:kept]
        for source, buckets in self.heard.items():
            yield from (f"heard/{source}/{bucket}" for bucket in sorted(buckets) if bucket < oldest)
            buckets -= {bucket for bucket in buckets if bucket < oldest}
        for attempt in [attempt for attempt, held in self.allocations.items() if held.end < oldest]:
            del self.allocations[attempt]
            self.told.pop(attempt, None)
            self.covered = {name for name in self.covered if not name.endswith(f"/{attempt.name}")}
            self._attempts[attempt.job].discard(attempt)
            yield from self._records.pop(attempt)
        for pid, claims in list(self.processes.items()):
            for job in [job for job, (start, _) in claims.items() if start < oldest and not self._attempts.get(job)]:
                yield claims.pop(job)[1]
                self._pids[job].discard(pid)
            if not claims:
                del self.processes[pid]
        self._attempts = {job: attempts for job, attempts in self._attempts.items() if attempts}
        self._pids = {job: pids for job, pids in self._pids.items() if pids}


class Change(msgspec.Struct, frozen=True):
    """What one fact made new."""

    audit: tuple[int, int] | None = None
    attempt: Attempt | None = None
    pid: int | None = None
    node_event: Timed | None = None
    heard: Heard | None = None
    needless: str = ""  # id of a fact that says nothing more


def _what(body: SignalSent | FileTouched | ProcessRun) -> str:
    """What tells the things apart that one audit event may be."""
    if isinstance(body, SignalSent):
        return f"signal/{body.target_pid}"
    if isinstance(body, FileTouched):
        return f"file/{body.item}/{body.action}"  # not the path: a further part may complete it
    return "run"


def owner_of_target(event: Event) -> int | None:
    """The uid of the process that an event befell, where the kernel says it."""
    body = event.body
    if isinstance(body, SignalSent):
        return body.target_uid
    return body.uid if isinstance(body, OomKill) else None


def target_of(event: Event) -> int | None:
    """The process that an event befell, where it names one."""
    body = event.body
    if isinstance(body, SignalSent):
        return body.target_pid
    return body.pid if isinstance(body, (OomKill, Xid)) else None
