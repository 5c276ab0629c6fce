"""What detectors of hosts and of identities see: everything kept about one host, or one person's account, in canonical order.

In: what befell a host and who held it; what was told of an account, or of a team's reads and writes.  Out: typed, sorted, without trace
of arrival.  A case of a team has reads and writes only, one of an account everything else: each detector finds nothing in the other.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import NamedTuple, TypeVar

import msgspec

from pipeline.detect.case import Site
from pipeline.model.actor import actor_of
from pipeline.model.conduct import TEAM, account, for_another
from pipeline.model.events import (
    Body,
    Event,
    FileTouched,
    Iteration,
    JobRecord,
    JobUpdate,
    KillRequest,
    KubernetesRequest,
    Login,
    ObjectAccess,
    PrivilegeUsed,
    ProcessRun,
)
from pipeline.model.finding import Subject
from pipeline.model.identity import Identity
from pipeline.model.source import Source
from pipeline.model.told import Attempt, Displaced, Worked
from pipeline.stream.watermark import Watermarks, bucket_of

SILENT_SHARE_MAX = 0.05

AnyBodyType = TypeVar("AnyBodyType", bound=Body)


class Held(msgspec.Struct, frozen=True, order=True):
    """An attempt held the host in [start, end]; the end of one that runs is far away."""

    attempt: Attempt
    end: int
    owner_uid: int | None
    unproven: bool = False  # only senders that nobody authenticated say so

    @property
    def start(self) -> int:
        return self.attempt.start


class HostCase:
    """One host."""

    attempt = None
    owner_id = ""
    owner_unproven = False
    work_dir = ""

    def __init__(
        self,
        site: Site,
        cluster: str,
        host: str,
        events: Iterable[Event],
        held: Iterable[Held],
        paces: Iterable[Event],
        was_heard: Callable[[Source, int], bool],
    ) -> None:
        self.whole: HostCase = self
        self._proven: HostCase | None = None
        self.site, self.cluster, self.host = site, cluster, host
        self.subject = Subject("host", cluster, host)
        self.events = _in_order(events)
        self._times = [event.event_time for event in self.events]
        self.held = tuple(sorted(held, key=lambda each: (each.start, each.attempt)))
        self._paces = tuple(paces)
        self._paces_of: dict[str, tuple[Event, ...]] | None = None  # job -> its steps by time
        self._was_heard = was_heard
        self.unproven = any(each.unproven for told in (self.events, self._paces, self.held) for each in told)

    @property
    def proven(self) -> "HostCase":
        """The same without what anybody may have sent."""
        if not self.unproven:
            return self
        if self._proven is None:
            events, paces = ([event for event in told if not event.unproven] for told in (self.events, self._paces))
            held = [each for each in self.held if not each.unproven]
            self._proven = HostCase(self.site, self.cluster, self.host, events, held, paces, self._was_heard)
            self._proven.whole = self
        return self._proven

    def between(self, start: int, end: int) -> Sequence[Event]:
        """What befell the host in [start, end]."""
        return self.events[bisect_left(self._times, start) : bisect_right(self._times, end)]

    def actor(self, event: Event) -> Identity | None:
        return actor_of(self.site.directory, event)

    def holding(self, time: int) -> Sequence[Held]:
        """Attempts that held the host then."""
        return [each for each in self.held if each.start <= time <= each.end]

    def silent_buckets(self, source: Source, start: int, end: int) -> Sequence[int]:
        """Buckets that lie whole in [start, end] and in which nothing was heard of the source on this host."""
        width = self.site.bucket_ms
        return [at for at in range(bucket_of(start + width - 1, width), end - width + 2, width) if not self._was_heard(source, at)]

    def heard_between(self, source: Source, start: int, end: int) -> bool:
        """Was the source heard in any bucket that touches [start, end]?"""
        width = self.site.bucket_ms
        return any(self._was_heard(source, at) for at in range(bucket_of(start, width), end + 1, width))

    def missing(self, now: Watermarks, source: Source, start: int, end: int) -> tuple[str, ...]:
        """The source, where it was not heard throughout [start, end] on this host, or has not passed it."""
        width = self.site.bucket_ms
        heard = all(self._was_heard(source, at) for at in range(bucket_of(start, width), end + 1, width))
        whole = heard and not now.lost(self.cluster, source, self.host, start, end)
        if whole and now.passed(self.cluster, source, end):
            return ()
        return (f"{source} on {self.host}",)

    def steps(self, attempt: Attempt, start: int, end: int) -> Sequence[tuple[Event, float]]:
        """(step, ms it took) of an attempt in [start, end]: as it says itself, else over the steps since the one before."""
        found: list[tuple[Event, float]] = []
        before: tuple[int, int] | None = None
        if self._paces_of is None:  # a host has steps of hundreds of jobs, and one is asked for a few
            of: dict[str, list[Event]] = {}
            for event in self._paces:
                of.setdefault(event.job, []).append(event)
            self._paces_of = {job: _in_order(events) for job, events in of.items()}
        for event in self._paces_of.get(attempt.job, ()):
            if not start <= event.event_time <= end or not isinstance(event.body, Iteration):
                continue
            number, took = event.body.iteration, event.body.elapsed_ms
            if took is None and before is not None and number > before[1]:
                took = (event.event_time - before[0]) / (number - before[1])
            if took is not None and took > 0:
                found.append((event, took))
            before = (event.event_time, number)
        return found


class Run(NamedTuple):
    """An attempt of the account, as the scheduler last spoke of it."""

    event: Event
    record: JobRecord

    @property
    def submit(self) -> int:
        return self.record.submit or 0

    @property
    def start(self) -> int | None:
        return self.record.start

    @property
    def ran_ms(self) -> int | None:
        """How long it ran; None: it did not, or still does."""
        record = self.record
        if record.phase != "end" or record.start is None or record.end is None:
            return None
        return record.end - record.start


def felt_at(each: Displaced) -> int:
    """When an attempt was preempted; or could begin at last."""
    return each.victim.start if each.waited else each.event.event_time


class IdentityCase:
    """One account, or the reads and writes of one team.

    Events that, by the map of today, are somebody else's are left out: the map was corrected after they were told.
    """

    attempt = None
    owner_unproven = False
    work_dir = ""

    def __init__(self, site: Site, cluster: str, name: str, events: Iterable[Event], others: Iterable[Displaced | Worked]) -> None:
        self.whole: IdentityCase = self
        self._proven: IdentityCase | None = None
        self._told = tuple(events), tuple(others)
        events, others = self._told
        self.unproven = any(each.unproven for each in (*events, *(other.event for other in others)))
        self.site, self.cluster, self.name = site, cluster, name
        self.subject = Subject("identity", cluster, name)
        self.owner_id = "" if name.startswith(TEAM) else name
        self.validities: tuple[Identity, ...] = tuple(
            sorted((each for each in site.directory.identities if each.id == name), key=lambda each: (each.valid_from, each.valid_to))
        )
        mine = [event for event in _in_order(events) if name.startswith(TEAM) or self._is_mine(event)]
        self.logins = _with(mine, Login)
        orders = {event.id: event for event in mine if isinstance(event.body, (KillRequest, JobUpdate, KubernetesRequest))}
        self.orders = tuple(orders.values())  # each once, though it may be the first of an hour and the last of ten minutes
        self.runs = tuple(Run(event, body) for event, body in _with(mine, JobRecord))
        runs = _with(mine, ProcessRun)
        self.asked_by_others = tuple(event for event, body in runs if for_another(body))
        read = {event.id for event, body in runs if not for_another(body)}
        self.touches = tuple(event for event in mine if isinstance(event.body, (FileTouched, ObjectAccess)) or event.id in read)
        self.entered = _with(mine, PrivilegeUsed)
        displaced = (each for each in others if isinstance(each, Displaced))
        self.displaced = tuple(sorted(displaced, key=lambda each: (each.waited, felt_at(each), each.victim, each.by)))
        worked = sorted((each for each in others if isinstance(each, Worked)), key=lambda each: not each.event.unproven)
        self.worked = {each.attempt: each.event for each in worked}  # of each the word of a known sender, if there is one

    @property
    def proven(self) -> "IdentityCase":
        """The same without what anybody may have sent."""
        if not self.unproven:
            return self
        if self._proven is None:
            events, others = self._told
            known = [event for event in events if not event.unproven], [each for each in others if not each.event.unproven]
            self._proven = IdentityCase(self.site, self.cluster, self.name, *known)
            self._proven.whole = self
        return self._proven

    def _is_mine(self, event: Event) -> bool:
        who = account(self.site.directory, event)
        return who is not None and who.id == self.name

    def valid_at(self, time: int) -> Identity | None:
        """The entry of the map that is valid then; None: it does not know the account, or nobody had it."""
        return next((each for each in self.validities if each.valid_from <= time < each.valid_to), None)

    def actor(self, event: Event) -> Identity | None:
        return actor_of(self.site.directory, event)

    def missing(self, now: Watermarks, source: Source, start: int, end: int) -> tuple[str, ...]:
        """The source, where it was not heard shortly before start and shortly after end, or has not passed the end.

        A flood may leave nobody else room to train: while it lasts the cluster is silent, and what is heard on both sides proves the way.
        """
        gap, width = self.site.windows.coverage_gap_seconds * 1000, self.site.bucket_ms
        before = now.heard_within(self.cluster, source, bucket_of(max(start - gap, 0), width), start)
        behind = now.heard_within(self.cluster, source, bucket_of(end, width), end + gap)
        return () if before and behind and now.passed(self.cluster, source, end) else (str(source),)

    def missing_over(self, now: Watermarks, source: Source, start: int, end: int) -> tuple[str, ...]:
        """The source, where it was silent for more than a twentieth of [start, end], or has not passed the end.

        An hour without a word from any host (`coverage_gap_seconds`) is silence, and minutes are none.  What is looked for may lie in any
        hour alike: the less of them are unknown, the less likely it lay there, and an outage that was long ago weighs less and less.
        """
        width = self.site.bucket_ms
        spell = max(self.site.windows.coverage_gap_seconds * 1000, width)
        spells = range(bucket_of(start, width), end + 1, spell)
        silent = sum(not now.heard_within(self.cluster, source, at, at + spell - 1) for at in spells)
        return () if silent <= len(spells) * SILENT_SHARE_MAX and now.passed(self.cluster, source, end) else (str(source),)


def _in_order(events: Iterable[Event]) -> tuple[Event, ...]:
    return tuple(sorted(events, key=attrgetter("event_time", "id")))


def _with(events: Iterable[Event], kind: type[AnyBodyType]) -> tuple[tuple[Event, AnyBodyType], ...]:
    return tuple((event, event.body) for event in events if isinstance(event.body, kind))
