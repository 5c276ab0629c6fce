"""Facts of one host in; what the interval join needs at hand out.

Derived from the case and built again after a restart: nothing in here is state.

    allocations   attempt -> [start, end)      signals, node events   by time      processes   pid -> (time, job)
    told          attempt -> events of which a touch was told, so that it can be voided
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


class Timed(msgspec.Struct, frozen=True, gc=False, order=True):
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
        self.processes: dict[int, list[tuple[int, str]]] = {}  # pid -> (start, job), ascending
        self.heard: dict[Source, set[int]] = {}
        self.told: dict[Attempt, dict[str, Timed]] = {}
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
            insort(self.processes.setdefault(body.pid, []), (told.event_time, told.job))
            return Change(pid=body.pid)
        if isinstance(body, (OomKill, Xid, NodeState)):
            timed = Timed(told.event_time, told.id, told, 1)
            insort(self.node_events, timed)
            return Change(node_event=timed)
        return Change()

    def _allocate(self, fact_id: str, event: Event, record: JobRecord) -> Attempt | None:
        if record.start is None or record.submit is None:
            return None
        attempt = Attempt(event.cluster, record.job, record.submit, record.start)
        records = self._records.setdefault(attempt, {})
        records[fact_id] = record
        ordered = [records[name] for name in sorted(records)]
        ends = [each.end for each in ordered if each.phase == "end" and each.end is not None]
        owners = [each.owner_uid for each in ordered if each.owner_uid is not None]
        self.allocations[attempt] = Allocation(
            attempt, max(ends) if ends else OPEN_END, min(owners) if owners else None, len(records) + 1000 * len(ends)
        )
        return attempt

    def assembled(self, key: tuple[int, int]) -> list[Timed]:
        """What the parts of one audit event say by now; signals take their new place in the join."""
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
                self._place(timed)
        return made

    def _place(self, timed: Timed) -> None:
        at = bisect_left(self.signals, timed)
        if at < len(self.signals) and self.signals[at].id == timed.id:
            self.signals[at] = timed
        else:
            self.signals.insert(at, timed)

    # --- asking

    def between(self, events: list[Timed], start: int, end: int) -> Iterator[Timed]:
        """Events with start <= time <= end."""
        low = bisect_left(events, start, key=lambda timed: timed.time)
        high = bisect_right(events, end, key=lambda timed: timed.time)
        yield from events[low:high]

    def naming(self, pid: int) -> Iterator[Timed]:
        """Events that name this process as their target."""
        for events in (self.signals, self.node_events):
            yield from (timed for timed in events if target_of(timed.event) == pid)

    def job_of(self, pid: int, at: int) -> tuple[str, int]:
        """(job of the process that had this pid at that time or "", number of facts the answer rests on)."""
        known = self.processes.get(pid, ())
        before = [job for start, job in known if start <= at]
        return (before[-1] if before else ""), len(before)

    def horizon(self, oldest: int) -> Iterator[str]:
        """Forget what happened before `oldest`; yields the fact ids to drop."""
        for key in [key for key in self._parts if key[0] < oldest]:
            yield from self._parts.pop(key)
        self.signals = [timed for timed in self.signals if timed.time >= oldest]
        for timed in self.node_events:
            if timed.time < oldest:
                yield timed.id
        self.node_events = [timed for timed in self.node_events if timed.time >= oldest]
        for source, buckets in self.heard.items():
            yield from (f"heard/{source}/{bucket}" for bucket in sorted(buckets) if bucket < oldest)
            buckets -= {bucket for bucket in buckets if bucket < oldest}
        for attempt in [attempt for attempt, held in self.allocations.items() if held.end < oldest]:
            del self.allocations[attempt]
            self.told.pop(attempt, None)
            yield from self._records.pop(attempt)


class Change(msgspec.Struct, frozen=True):
    """What one fact made new."""

    audit: tuple[int, int] | None = None
    attempt: Attempt | None = None
    pid: int | None = None
    node_event: Timed | None = None
    heard: Heard | None = None


def _what(body: SignalSent | FileTouched | ProcessRun) -> str:
    """What tells the things apart that one audit event may be."""
    if isinstance(body, SignalSent):
        return f"signal/{body.target_pid}"
    if isinstance(body, FileTouched):
        return f"file/{body.path}/{body.action}"
    return "run"


def target_of(event: Event) -> int | None:
    """The process that an event befell, where it names one."""
    body = event.body
    if isinstance(body, SignalSent):
        return body.target_pid
    return body.pid if isinstance(body, (OomKill, Xid)) else None
