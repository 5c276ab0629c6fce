"""Facts of one host in; what the interval join needs at hand out.

Derived from the case and built again after a restart: nothing in here is state.

    allocations   attempt -> [start, end)      signals, node events   by time      processes   pid -> job -> (time, fact id)
    held          the same by time             suspects   the signals that neither the system nor nobody sent
    told          attempt -> events of which a touch was told, so that it can be voided
    covered       attempt -> (source, day) of coverage that was told, for the same reason
    heard         source -> day -> bits, one a bucket: a set of them would be most of the memory of a site

Of a host that runs for months only the last days are at hand; `since` says from when on the index knows all.

Whose process a number was is said by the probe, that is by a job's own output, where anybody may claim any number.  So a claim counts
only while the scheduler has the claimant on this host, and never against the owner that the kernel names.

A derived fact is ranked by what it rests on, so that must never become less.  Hence what an event at hand rests on is not packed before
the event is, however old it is (`rests_on`); and what was packed until a day before the event counts for nothing, even when it is
opened (`past`): once it is, for something older in the same batch, and once it is not.  What was packed later is opened whenever the
event is looked at anew: that is when something is told of the time until then, so nobody looks at events before what is new.  Claims are
packed with their attempt, since many schedulers tell of a job only when it has ended, perhaps after a week.  An attempt that proves to end
after the hour of its pack has its words and claims at hand again (`outlasted`).
Retention waits for nothing: otherwise somebody who claims a number that is named every day would have all his claims kept for ever.

What anybody may have sent, at a site that authenticates others, takes nothing from what known senders say of the same attempt or process:
neither its owner nor its end, nor whose process it is.  What follows from it alone is marked as such (step.py).
"""

from collections.abc import Collection, Iterator, Sequence

import msgspec

from pipeline.detect.case import based
from pipeline.formats.assembly import assemble, call_of, is_whole_run, signal_call
from pipeline.hosts.room import Room, Sent
from pipeline.hosts.spans import Allocation, Allocations, Timed, Timeline
from pipeline.model import watched
from pipeline.model.events import (
    AuditRecord,
    Body,
    DaemonNote,
    Event,
    FileIntegrity,
    FileTouched,
    Iteration,
    JobRecord,
    KernelCall,
    KernelLine,
    NodeState,
    ObjectEvent,
    OomKill,
    PrivilegeUsed,
    ProcessEnded,
    ProcessRun,
    ProcessStarted,
    RuntimeAlert,
    SessionCommand,
    SignalSent,
    Xid,
)
from pipeline.model.ids import Digester, digest
from pipeline.model.instants import DAY_MS
from pipeline.model.source import Source
from pipeline.model.told import Attempt, Emitted, Heard, Told, attempt_of, buckets_in

Claimant = tuple[str, bool, int]  # job; whether anybody may have sent the claim; on which day
CLAIM_MS = DAY_MS  # so much older than an attempt may the claim be by which a process is its own: the first of that day is kept
UNTOLD_MS = 30 * DAY_MS  # so long may a job run of which the scheduler tells nothing before its end: what it claims stays at hand
OPEN_END = 2**62
LATEST = 2**42  # ms: above all event times
PARTS_MAX = 512  # of one audit event; the arguments of the longest command have some three hundred
HEARD_DAY = "heard/day/"  # begins the ids of facts that say a day
NO_DAYS: dict[int, int] = {}
NONE_TOLD: dict[str, Timed] = {}
NO_RECORDS: dict[str, Event] = {}
NO_PARTS: dict[str, "Part"] = {}
LEFT_OUT = 2 * PARTS_MAX  # weight of an event that is forgotten: above all that its parts can have
# What befalls a node, and with it whatever runs there; ingest tells of them only those that may matter (model/watched.py).
NODE_EVENTS = (
    OomKill, Xid, NodeState, ObjectEvent, RuntimeAlert, KernelCall, KernelLine, ProcessEnded, ProcessRun, PrivilegeUsed, SessionCommand,
    FileTouched, FileIntegrity, DaemonNote,
)  # fmt: skip


class Part(msgspec.Struct, frozen=True, gc=False):
    """A record of an audit event, with the digest of its line."""

    record: AuditRecord
    sha256: str
    shipper: str


class Changes:
    """What facts made new: what must be joined again."""

    __slots__ = ("attempts", "audit", "heard", "left_out", "needless", "node_events", "pids", "signals")

    def __init__(self) -> None:
        self.audit: dict[tuple[int, int], None] = {}
        self.attempts: dict[Attempt, None] = {}
        self.pids: dict[int, int] = {}  # that were claimed -> since when
        self.node_events: list[Timed] = []
        self.signals: list[Timed] = []  # that a watcher tells whole
        self.heard: list[int] = []  # buckets
        self.needless: list[str] = []  # ids of facts that say nothing more
        self.left_out: dict[Sent, None] = {}  # signals for which there is no room


class HostIndex:
    """The join side of one host."""

    def __init__(self, cluster: str, host: str, bucket_ms: int, room: Room, since: int = 0) -> None:
        self.cluster, self.host, self.bucket_ms, self.room, self.since = cluster, host, bucket_ms, room, since
        self.allocations: dict[Attempt, Allocation] = {}
        self.held = Allocations()
        self.signals, self.suspects, self.node_events = Timeline(), Timeline(), Timeline()
        self.processes: dict[int, dict[Claimant, tuple[int, str]]] = {}  # pid -> claimant -> (start, fact id) of its first claim
        self.heard: dict[Source, dict[int, int]] = {}
        self.paces: dict[str, Event] = {}  # fact id -> a step of a job whose log is written here, one in five minutes
        self.emitted: dict[str, Emitted] = {}  # what was said of the host
        self._heard_ids: list[tuple[int, str]] = []  # of single buckets, as an older release kept them
        self.past: dict[Attempt | str, int] = {}  # attempts, and ids of claims, that are packed -> until when
        self.told: dict[Attempt, dict[str, Timed]] = {}
        self.covered: dict[Attempt, set[tuple[Source, int]]] = {}
        self._attempts: dict[str, set[Attempt]] = {}  # job -> its attempts on this host
        self._pids: dict[str, set[int]] = {}  # job -> its processes
        # Of each event there is one in the next four: what holds no containers is none of the garbage collector's business.
        self._told_to: dict[str, tuple[Attempt, ...]] = {}  # event id -> attempts that it was told of
        self._naming: dict[int, dict[str, None]] = {}  # pid -> ids of signals and node events that name it
        self._made: dict[tuple[int, int], tuple[str, ...]] = {}  # audit event -> ids of what befell by it
        self._parts: dict[tuple[int, int], dict[str, Part]] = {}
        self._records: dict[Attempt, dict[str, Event]] = {}  # body: JobRecord
        self._digester = Digester("auditd", cluster, host)

    # --- folding

    def add(self, fact_id: str, told: Told, new: Changes, *, packed: int = 0) -> None:
        """Take one fact, and note what must be joined again.  `packed`: until when, if it was at hand no more."""
        if not isinstance(told, Event):
            if isinstance(told, Heard):
                if not told.bits and not fact_id.startswith(HEARD_DAY):
                    self._heard_ids.append((told.bucket, fact_id))
                new.heard += [bucket for bucket in buckets_in(told) if self.hear(told.source, bucket)]
            elif isinstance(told, Emitted):
                self.emitted[told.subject] = told
            return
        body = told.body
        if isinstance(body, AuditRecord):
            if watched.audit(body):
                self._befell(told, new)
                return
            key = audit_key(told, body)
            if (call := signal_call(body)) is not None and (out := self.room.take((*key, ""), call, unproven=told.unproven)):
                new.left_out.update(dict.fromkeys(out))
            parts = self._parts.setdefault(key, {})
            parts[told.id] = Part(body, told.sha256, told.shipper)
            if len(parts) > PARTS_MAX:  # whoever makes up records gives any number of them one serial
                new.needless.append(max(parts))
                del parts[max(parts)]
            new.audit[key] = None
        elif isinstance(body, JobRecord):
            attempt = self._allocate(fact_id, told)
            if attempt is not None:
                new.attempts[attempt] = None
                self._pack(attempt, packed)
        elif isinstance(body, Iteration):
            self.paces[fact_id] = told
        elif isinstance(body, ProcessStarted):
            self._claim(fact_id, told, body.pid, new)
            self._pack(fact_id, packed)
        elif isinstance(body, SignalSent):
            timed = Timed(told.event_time, told.id, told, 1)
            self._sent(timed)
            new.left_out.update(dict.fromkeys(self.room.take((told.event_time, 0, told.id), call_of(body), unproven=told.unproven)))
            new.signals.append(timed)
            new.node_events += [timed] if is_watched(body) else ()
        elif isinstance(body, NODE_EVENTS):
            self._befell(told, new)

    def _pack(self, name: Attempt | str, until: int) -> None:
        if until:
            self.past[name] = max(until, self.past.get(name, 0))

    def _is_past(self, name: Attempt | str, at: int) -> bool:
        """Was it packed so long before that what happened then does not have it opened?"""
        return self.past.get(name, OPEN_END) <= at - CLAIM_MS

    def _befell(self, event: Event, new: Changes) -> None:
        timed = Timed(event.event_time, event.id, event, 1)
        self.node_events.put(timed)
        self._name(timed)
        new.node_events.append(timed)

    def _sent(self, timed: Timed) -> None:
        self.signals.put(timed)
        self._name(timed)
        if sender(timed.event) is not None:
            self.suspects.put(timed)
        if is_watched(timed.event.body):
            self.node_events.put(timed)

    def hear(self, source: Source, bucket: int) -> bool:
        """Note that the source was heard; True when that is news.  Of another width's buckets those count that begin with one of ours."""
        since = bucket % DAY_MS
        number, rest = divmod(since, self.bucket_ms)
        days = self.heard.setdefault(source, {})
        bits = days.get(bucket - since, 0)
        if rest or bits >> number & 1:
            return False
        days[bucket - since] = bits | 1 << number
        return True

    def heard_on(self, source: Source, day: int) -> tuple[str, int, Heard]:
        """(fact id, number of buckets, all of them) of a day on which the source was heard."""
        bits = self.heard[source][day]
        size = (DAY_MS // self.bucket_ms + 7) // 8
        return f"{HEARD_DAY}{source}/{day}", bits.bit_count(), Heard(source, day, bits.to_bytes(size, "little"), self.bucket_ms)

    def was_heard(self, source: Source, bucket: int) -> bool:
        """Was the source heard in the bucket that starts then?"""
        day = bucket - bucket % DAY_MS
        return bool(self.heard.get(source, NO_DAYS).get(day, 0) >> (bucket - day) // self.bucket_ms & 1)

    def _claim(self, fact_id: str, event: Event, pid: int, new: Changes) -> None:
        """Of what a job says about one number the first word of a day counts: a million of them must not cost a million facts.

        One of all days would not do: a job comes again under its number, and what its first attempt claimed is packed some day.
        """
        claims, claimant = self.processes.setdefault(pid, {}), (event.job, event.unproven, event.event_time // DAY_MS)
        known, claim = claims.get(claimant), (event.event_time, fact_id)
        if known is not None and known < claim:
            new.needless.append(fact_id)
            return
        if known is not None and known != claim:
            new.needless.append(known[1])
        claims[claimant] = claim
        self._pids.setdefault(event.job, set()).add(pid)
        new.pids[pid] = min(event.event_time, new.pids.get(pid, LATEST))

    def _allocate(self, fact_id: str, event: Event) -> Attempt | None:
        attempt = attempt_of(event.cluster, event.body) if isinstance(event.body, JobRecord) else None
        if attempt is None or attempt.start < 0:
            return None
        self._attempts.setdefault(attempt.job, set()).add(attempt)
        records = self._records.setdefault(attempt, {})
        records[fact_id] = event
        known = self.records_of(attempt)
        ends = [record.end for _, record in known if record.phase == "end" and record.end is not None]
        owners = [record.owner_uid for _, record in known if record.owner_uid is not None]
        ended = sum(getattr(each.body, "phase", "") == "end" for each in records.values())  # grows with each, whoever sent it
        held = self.allocations[attempt] = Allocation(
            attempt, max(ends, default=OPEN_END), min(owners, default=None), len(records) + 1000 * ended, known[0][0].unproven
        )
        self.held.put(held)
        return attempt

    def assembled(self, key: tuple[int, int]) -> tuple[list[Timed], list[Timed]]:
        """(what the parts of one audit event say by now, signals that they said before and say no more).

        The number by which a sender in a container knows its target gives way to the one that the kernel names, and a group to its
        members.
        """
        parts = self._parts[key]
        bodies = assemble([(event_id, part.record) for event_id, part in parts.items()])
        before = self._made.pop(key, None)
        if not bodies and not before:
            return [], []  # the record that says who and what is missing
        weight = len(parts)
        cited = tuple(sorted([(event_id, part.sha256) for event_id, part in parts.items()]))
        sha256 = cited[0][1] if weight == 1 else digest(*[sha256 for _, sha256 in cited])
        time, serial = key
        made = []
        kept: list[str] = []
        for body in bodies:
            event = Event(
                id=self._digester.digest(time, serial, _what(body)),
                source=Source.AUDITD,
                cluster=self.cluster,
                event_time=time,
                body=body,
                host=self.host,
                sha256=sha256,
                parts=cited,
                shipper=max(part.shipper for part in parts.values()),
                unproven=serial < 0,
            )
            timed = Timed(time, event.id, event, weight)
            made.append(timed)
            if isinstance(body, SignalSent):
                kept.append(timed.id)
                self._sent(timed)
            elif is_watched(body):
                kept.append(timed.id)
                self.node_events.put(timed)
        lost = sorted(set(before).difference(kept)) if before else ()
        gone = [known for name in lost if (known := self.signals.get(name) or self.node_events.get(name))]
        for timed in gone:
            self.signals.remove(timed)
            self.node_events.remove(timed)
            self._unname(timed)
        if kept:
            self._made[key] = tuple(kept)
        return made, [msgspec.structs.replace(timed, weight=weight) for timed in gone]

    def dismiss(self, key: tuple[int, int]) -> Collection[str]:
        """Fact ids of the parts of an audit event that says all it can and concerns nobody: nothing is kept of it."""
        self._made.pop(key, None)
        return self._parts.pop(key, {})

    def leave_out(self, sent: Sent) -> tuple[Collection[str], list[Timed]]:
        """(fact ids of a signal for which there is no room, what it was told to be).  What was told of it is outranked."""
        time, serial, name = sent
        names: Collection[str] = (name,) if name else self._parts.pop((time, serial), NO_PARTS)
        made = (name,) if name else self._made.pop((time, serial), ())
        gone = [known for each in made if (known := self.signals.get(each)) is not None]
        for timed in gone:
            self.signals.remove(timed)
            self.node_events.remove(timed)
            self._unname(timed)
        return names, [msgspec.structs.replace(timed, weight=LEFT_OUT) for timed in gone]

    def is_idle_run(self, key: tuple[int, int]) -> bool:
        """Is it the start of a program by which nothing befell the node, and will it stay so?  Most of what auditd tells is."""
        return key not in self._made and is_whole_run([part.record for part in self._parts[key].values()])

    def _name(self, timed: Timed) -> None:
        if (pid := target_of(timed.event)) is not None:
            self._naming.setdefault(pid, {})[timed.id] = None

    def _unname(self, timed: Timed) -> None:
        self.suspects.remove(timed)
        if (pid := target_of(timed.event)) is not None:
            named = self._naming.get(pid, {})
            named.pop(timed.id, None)
            if not named:
                self._naming.pop(pid, None)

    # --- what was told

    def tell(self, attempt: Attempt, timed: Timed) -> None:
        """A touch of the attempt is told."""
        self.told.setdefault(attempt, {})[timed.id] = timed
        attempts = self._told_to.get(timed.id, ())
        if attempt not in attempts:
            self._told_to[timed.id] = (*attempts, attempt)

    def void(self, attempt: Attempt, name: str) -> bool:
        """The event is not a touch of the attempt; True when it was told to be one."""
        if self.told.get(attempt, NONE_TOLD).pop(name, None) is None:
            return False
        left = tuple(other for other in self._told_to[name] if other != attempt)
        if left:
            self._told_to[name] = left
        else:
            del self._told_to[name]
        return True

    def told_to(self, timed: Timed) -> list[Allocation]:
        """Allocations of the attempts that the event was told of."""
        return [self.allocations[attempt] for attempt in self._told_to.get(timed.id, ())]

    # --- asking

    def befell_by(self, key: tuple[int, int]) -> Iterator[Event]:
        """What befell the node by one audit event."""
        for name in self._made.get(key, ()):
            if (timed := self.node_events.get(name)) is not None:
                yield timed.event

    def allocations_of(self, job: str) -> list[Allocation]:
        """How the attempts of a job held the host."""
        return [self.allocations[attempt] for attempt in sorted(self._attempts.get(job, ())) if attempt in self.allocations]

    def records_of(self, attempt: Attempt) -> list[tuple[Event, JobRecord]]:
        """The scheduler's records of an attempt that held the host, in order; where known senders tell of it, theirs alone."""
        records = self._records.get(attempt, NO_RECORDS)
        ordered = based([records[name] for name in sorted(records)])
        return [(event, event.body) for event in ordered if isinstance(event.body, JobRecord)]

    def naming(self, pid: int, since: int) -> Iterator[Timed]:
        """Events since a time that name this process as their target."""
        for name in self._naming.get(pid, ()):
            timed = self.signals.get(name) or self.node_events.get(name)
            if timed is not None and timed.time >= since:
                yield timed

    def naming_job(self, job: str, since: int) -> Iterator[Timed]:
        """Events since a time that name a process of this job, or one that had its number."""
        for pid in self._pids.get(job, ()):
            yield from self.naming(pid, since)

    def job_of(self, pid: int, at: int, slack: int, uid: int | None) -> tuple[tuple[str, str], int, int]:
        """(job of the process that had this pid at that time or "", weight of claims, weight of allocations it rests on).

        The job twice: as known senders tell it, and as anybody does where they tell nothing.

        Numbers come again: a rank of a job that held the host at another time only is not a rank any more.  `uid` is the owner of the
        process as the kernel names it: a job of somebody else claims it in vain.  Where the kernel names none, and jobs of several
        owners claim the process, nobody knows.
        """
        claimed = self.processes.get(pid)
        if not claimed:
            return ("", ""), 0, 0
        claims = sorted((start, claimant) for claimant, (start, name) in claimed.items() if start <= at and not self._is_past(name, at))
        weight = 0
        known: dict[Attempt, Allocation] = {}  # in the order of the first claim of each
        anybodys: dict[Attempt, Allocation] = {}
        for start, (job, unproven, _) in claims:
            held = [self.allocations[attempt] for attempt in self._attempts.get(job, ()) if not self._is_past(attempt, at)]
            weight += sum(each.weight for each in held)
            holding = [each for each in held if each.start - slack <= at <= each.end + slack and each.start - CLAIM_MS <= start]
            fitting = [each for each in holding if uid is None or each.owner_uid is None or each.owner_uid == uid]
            known.update((each.attempt, each) for each in fitting if not unproven and not each.unproven)
            anybodys.update((each.attempt, each) for each in fitting)
        told = _last_of_one_owner([*known.values()])
        # A claim that proves to be older may be the last no more: that weighs, too.
        return (told, told or _last_of_one_owner([*anybodys.values()])), sum(LATEST - start for start, _ in claims), weight

    def words_on(self, attempt: Attempt) -> Collection[str]:
        """Fact ids of all records of an attempt."""
        return self._records.get(attempt, NO_RECORDS)

    def outlasted(self, held: Allocation) -> list[str]:
        """Fact ids of what an attempt rests on and what is packed until an hour that it outlasts; from now on they count as at hand."""
        attempt, past = held.attempt, self.past
        names: list[str] = []
        if 0 < past.get(attempt, 0) <= held.end:
            del past[attempt]
            names += self.words_on(attempt)
        claims = (each for pid in self._pids.get(attempt.job, ()) for each in self.processes[pid].items())
        mine = [name for (job, _, _), (start, name) in claims if job == attempt.job and attempt.start - CLAIM_MS <= start]
        for name in mine:
            if 0 < past.get(name, 0) <= held.end:
                del past[name]
                names.append(name)
        return names

    def rests_on(self, job: str) -> bool:
        """Does what is said of an event at hand rest on this job: has it claimed a process that the event names?"""
        return any(pid in self._naming for pid in self._pids.get(job, ()))

    def horizon(self, oldest: int, *, for_good: bool = False) -> Iterator[str]:
        """Forget what happened before `oldest`; yields the fact ids to drop.  `for_good`: also that on which a later event rests."""
        for key in [key for key in self._parts if key[0] < oldest]:
            yield from self._parts.pop(key)
            self._made.pop(key, None)
        for timed in self.node_events.forget(oldest):
            self._unname(timed)
            yield timed.id
        for timed in self.signals.forget(oldest):
            self._unname(timed)
            yield timed.id  # of those that a watcher told whole; the others are not facts of their own
        for fact_id in [fact_id for fact_id, pace in self.paces.items() if pace.event_time < oldest]:
            del self.paces[fact_id]
            yield fact_id
        self.room.forget(oldest)
        for source, days in self.heard.items():
            for day in [day for day in sorted(days) if day + DAY_MS <= oldest]:
                del days[day]
                yield f"{HEARD_DAY}{source}/{day}"
        yield from (fact_id for bucket, fact_id in self._heard_ids if bucket + DAY_MS <= oldest)
        self._heard_ids = [(bucket, fact_id) for bucket, fact_id in self._heard_ids if bucket + DAY_MS > oldest]
        ended = [each for each, held in self.allocations.items() if held.end < oldest and (for_good or not self.rests_on(each.job))]
        for attempt in ended:
            self.held.remove(self.allocations.pop(attempt))
            for name in list(self.told.get(attempt, ())):
                self.void(attempt, name)
            self.told.pop(attempt, None)
            self.covered.pop(attempt, None)
            self._attempts[attempt.job].discard(attempt)
            self.past.pop(attempt, None)
            yield from self._records.pop(attempt)
        over = {attempt.job for attempt in ended}
        for pid, claims in [(pid, claims) for pid, claims in self.processes.items() if for_good or pid not in self._naming]:
            for claimant in [each for each, (start, _) in claims.items() if start < oldest and not self._attempts.get(each[0])]:
                if not for_good and claimant[0] not in over and claims[claimant][0] >= oldest - UNTOLD_MS:
                    continue
                self.past.pop(claims[claimant][1], None)
                yield claims.pop(claimant)[1]
            if not claims:
                del self.processes[pid]
        self._attempts = {job: attempts for job, attempts in self._attempts.items() if attempts}
        self._pids = {}
        for pid, claims in self.processes.items():
            for job, _, _ in claims:
                self._pids.setdefault(job, set()).add(pid)


def _last_of_one_owner(claiming: Sequence[Allocation]) -> str:
    """The job that claimed a process last; "" where none did, or jobs of several owners."""
    return claiming[-1].attempt.job if len({each.owner_uid for each in claiming}) == 1 else ""


def audit_key(event: Event, body: AuditRecord) -> tuple[int, int]:
    """Which audit event a record is part of; what anybody sends is not part of what is known."""
    return event.event_time, ~body.serial if event.unproven else body.serial


def begins(told: Told) -> int:
    """The earliest time that a fact makes one look at."""
    if isinstance(told, Heard):
        return told.bucket
    if not isinstance(told, Event):
        return OPEN_END
    start = told.body.start if isinstance(told.body, JobRecord) else None
    return told.event_time if start is None else min(start, told.event_time)


def is_watched(body: Body) -> bool:
    """Does what was assembled befall the node: a command, a file or a signal that concerns others?"""
    if isinstance(body, ProcessRun):
        return bool(watched.command(body.arguments))
    if isinstance(body, SignalSent):
        return watched.ends_teller(body)
    return isinstance(body, FileTouched) and bool(watched.path(body.path))


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
    return body.uid if isinstance(body, (OomKill, ProcessEnded)) else None


def sender(event: Event) -> int | None:
    """Who sent a signal: the login, else the uid; None when nobody is named, or the system sent it: root without a login."""
    body = event.body
    if not isinstance(body, SignalSent):
        return None
    return body.auid if body.auid is not None else body.uid or None


def target_of(event: Event) -> int | None:
    """The process that an event befell, where it names one."""
    body = event.body
    if isinstance(body, SignalSent):
        return body.target_pid
    return body.pid if isinstance(body, (OomKill, Xid, ProcessEnded)) else None
