"""Hosts on which somebody acted in; findings about them, whom preemption on a host made room for, and who had waited for room, out.

A host is judged when an act is told, when anything else is told of a host with an act, and when the window of what was said closes.  Most
hosts have none, and cost one look at what is new.  What is packed away is not judged again, and what was said of it stands; but once after
a restart, where it was said under other settings: a corrected identity map says anew who acted, as far back as the host remembers.
"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from pipeline.detect import acts
from pipeline.detect.detector import registry
from pipeline.detect.publishing import Publisher
from pipeline.detect.site import site_of
from pipeline.detect.subjects import Held, HostCase
from pipeline.hosts.index import OPEN_END, Changes, HostIndex
from pipeline.hosts.spans import Allocation
from pipeline.model.actor import actor_of
from pipeline.model.events import Event
from pipeline.model.facts import VOID, Fact, identity_case
from pipeline.model.finding import Finding
from pipeline.model.ids import digest, rank
from pipeline.model.instants import DAY_MS
from pipeline.model.outcome import Publish, Tell
from pipeline.model.told import EMITTED, Displaced, Emitted, Worked, decode_told, emitted_name, encode_told
from pipeline.settings import Settings
from pipeline.stream.agenda import Agenda
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import Watermarks

PACE = "pace/"
LATEST = 2**63
WORKED_MAX = 100_000
ALWAYS = 2**61
_decode = msgspec.msgpack.Decoder(Finding).decode
NOTHING_TOLD = (2**62, "")
ROOM_MS, ROOM_SEEN_MS, CLOCK_MS = 120_000, 600_000, 5_000  # an attempt begins this soon in the room that another made
WAITED_MS = 2_700_000  # and had waited, when it is told that it had: less is how schedulers work


class Judging:
    """What hosts need to judge; nothing in here must survive."""

    def __init__(self, settings: Settings, cases: Cases) -> None:
        self.site = site_of(settings)
        self._cases = cases
        self._publisher = Publisher(cases, settings.digest())
        self.agenda = Agenda()
        self._told_worked: dict[tuple[str, str], tuple[int, str]] = {}  # told already; telling again would be harmless
        self._keep_ms = settings.retention.host_days * DAY_MS
        windows = settings.detect
        self.reach_ms = 3 * max(windows.degrade_window_seconds, windows.telemetry_window_seconds) * 1000
        # Hosts of which something was said: looked at once after a restart, since marks may have passed meanwhile.
        self.watched = {case for case in cases if any(name.startswith(EMITTED) for name in cases.open(case))}
        for case in sorted(self.watched):
            self.agenda.plan(case, 0)
        self._anew = dict.fromkeys(case for case in sorted(self.watched) if self._said_otherwise(case, settings.digest()))

    def _said_otherwise(self, case: bytes, digest: str) -> bool:
        known = self._cases.open(case)
        said = (decode_told(known[name][1]) for name in known if name.startswith(EMITTED) and known[name][1])
        return any(isinstance(each, Emitted) and each.settings != digest for each in said)

    def take_anew(self, most: int) -> list[bytes]:
        """Hosts, so many at a time, whose whole past is to be judged once."""
        taken = [*self._anew][:most]
        for case in taken:
            del self._anew[case]
        return taken

    def concerns(self, case: bytes, index: HostIndex, new: Changes) -> bool:
        """Must the host be judged for what is new?"""
        if case not in self.watched:
            found = [timed.event for timed in new.node_events]
            found += [event for key in new.audit for event in index.befell_by(key)]
            for attempt in new.attempts:  # who held the host during an act may be known only when the job ends
                held = index.allocations[attempt]
                found += [timed.event for timed in index.node_events.between(held.start, held.end)]
            if not any(self._is_act(event) for event in found):
                return False
            self.watched.add(case)
        return True

    def has_acts(self, index: HostIndex) -> bool:
        """Is an act at hand: then the whole past of the host counts, packed or not."""
        return any(self._is_act(timed.event) for timed in index.node_events.between(0, ALWAYS))

    def judge(self, case: bytes, index: HostIndex, now: Watermarks) -> Iterator[Publish | Tell]:
        """All that is to be said of a host."""
        host = self.case_of(index)
        kept_from = max(index.since, now.floor(index.cluster) - self._keep_ms) + self.reach_ms
        judged: list[Finding] = []
        for detector in registry("host"):
            judged += (finding for finding in detector.judge(host, now) if finding.closes_at >= kept_from)
        plan = self.agenda.plan
        yield from self._publisher.settle(case, index.emitted, judged, now, lambda time: plan(case, time), kept_from=kept_from)

    def case_of(self, index: HostIndex) -> HostCase:
        """What detectors see of a host."""
        return HostCase(
            self.site,
            index.cluster,
            index.host,
            (timed.event for timed in index.node_events.between(0, ALWAYS)),
            (Held(held.attempt, held.end, held.owner_uid, held.unproven) for held in index.allocations.values()),
            index.paces.values(),
            index.was_heard,
        )

    def displaced(self, index: HostIndex, new: Changes) -> Iterator[Tell]:
        """For each attempt that was preempted here, who began in its room: told to whose it is."""
        pairs: dict[tuple[Allocation, Allocation], None] = {}
        for attempt in new.attempts:
            held = index.allocations[attempt]
            if self._preemptions(index, held):
                for other in index.held.overlapping(held.end - ROOM_SEEN_MS, held.end + ROOM_SEEN_MS):
                    pairs[held, other] = None
            for other in index.held.overlapping(held.start - ROOM_SEEN_MS, held.start + ROOM_SEEN_MS):
                if self._preemptions(index, other):
                    pairs[other, held] = None
        for victim, by in pairs:
            if victim.attempt == by.attempt or abs(by.start - victim.end) > ROOM_SEEN_MS:
                continue
            told = self._displaced(index, victim, by)
            if told is not None:
                yield told

    def kept_waiting(self, index: HostIndex, new: Changes) -> Iterator[Tell]:
        """For each attempt that had waited long when it began here, in whose room it did: told to whose that was."""
        pairs: dict[tuple[Allocation, Allocation], None] = {}
        for attempt in new.attempts:
            held = index.allocations[attempt]
            if _waited(held):
                pairs.update(((held, other), None) for other in index.held.overlapping(held.start - ROOM_SEEN_MS, held.start))
            if held.end < OPEN_END:
                later = index.held.overlapping(held.end - ROOM_SEEN_MS, held.end + ROOM_SEEN_MS)
                pairs.update(((other, held), None) for other in later if _waited(other))
        for victim, by in pairs:
            who = self.site.directory.of(index.cluster).by_uid(by.owner_uid, by.attempt.submit)
            if victim.attempt == by.attempt or abs(victim.start - by.end) > ROOM_SEEN_MS or who is None:
                continue
            in_room = by.end - CLOCK_MS <= victim.start <= by.end + ROOM_MS and victim.owner_uid != by.owner_uid
            said = _doubted(index.records_of(victim.attempt)[0][0], by) if in_room else None
            body = encode_told(Displaced(victim.attempt, victim.owner_uid, by.attempt, said, waited=True)) if said is not None else VOID
            name = digest("waited", victim.attempt.name, by.attempt.name)
            yield Tell("identities", Fact(identity_case(index.cluster, who.id), name, rank(victim.weight, by.weight), body))

    def worked(self, index: HostIndex, facts: Iterable[Fact], new: Changes) -> Iterator[Tell]:
        """Attempts whose steps are written here: told to whose they are.

        One step of an attempt says it, and the first that is known is kept: its time is the rank.  Anybody's word is told apart.
        """
        began = {attempt.job for attempt in new.attempts}
        steps = [pace for fact in facts if fact.id.startswith(PACE) and (pace := index.paces.get(fact.id)) is not None]
        steps += [pace for pace in index.paces.values() if pace.job in began] if began else []
        for step in sorted(steps, key=lambda each: (each.event_time, each.id)):
            for held in index.allocations_of(step.job):
                who = self.site.directory.of(index.cluster).by_uid(held.owner_uid, held.attempt.submit)
                if who is None or not held.start <= step.event_time <= held.end:
                    continue
                said = _doubted(step, held)
                name = digest("worked", held.attempt.name) + said.mark
                told, this = self._told_worked.get((name, who.id), NOTHING_TOLD), (said.event_time, said.id)
                if this[0] > told[0] or this == told:
                    continue
                if len(self._told_worked) >= WORKED_MAX:
                    self._told_worked.clear()
                self._told_worked[name, who.id] = this
                fact = Fact(identity_case(index.cluster, who.id), name, rank(LATEST - this[0]), encode_told(Worked(held.attempt, said)))
                yield Tell("identities", fact)

    def _displaced(self, index: HostIndex, victim: Allocation, by: Allocation) -> Tell | None:
        who = self.site.directory.of(index.cluster).by_uid(by.owner_uid, by.attempt.submit)
        if who is None:
            return None
        in_room = victim.end - CLOCK_MS <= by.start <= victim.end + ROOM_MS and victim.owner_uid != by.owner_uid
        ends = self._preemptions(index, victim) if in_room else ()
        body = encode_told(Displaced(victim.attempt, victim.owner_uid, by.attempt, _doubted(ends[0], by))) if ends else VOID
        name = digest("displaced", victim.attempt.name, by.attempt.name)
        return Tell("identities", Fact(identity_case(index.cluster, who.id), name, rank(victim.weight, by.weight), body))

    def _preemptions(self, index: HostIndex, held: Allocation) -> Sequence[Event]:
        """Records by which the attempt was preempted."""
        return [event for event, record in index.records_of(held.attempt) if record.state == "PREEMPTED"]

    def _is_act(self, event: Event) -> bool:
        """Did a person act on the telemetry, or on what the node gives?"""
        if not acts.on_telemetry(event) and not acts.on_node(event):
            return False
        who = actor_of(self.site.directory, event)
        return who is not None and who.role not in ("daemon", "service")

    def forget(self, case: bytes, index: HostIndex, before: int) -> None:
        """Forget what was said of a host so long ago that nothing is left of what it rested on."""
        for subject, last in list(index.emitted.items()):
            if not last.body or _decode(last.body).closes_at < before:
                self._cases.drop(case, emitted_name(subject))
                del index.emitted[subject]
        if not index.emitted:
            self.watched.discard(case)


def _waited(held: Allocation) -> bool:
    return held.start - held.attempt.submit >= WAITED_MS


def _doubted(event: Event, held: Allocation) -> Event:
    """The event, as unproven as what it says of the attempt, where nobody who is known says that it held the host."""
    return msgspec.structs.replace(event, unproven=True) if held.unproven and not event.unproven else event
