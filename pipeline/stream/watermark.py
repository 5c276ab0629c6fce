"""How far event time has come, per source family, heard as vectors from every partition upstream.

In: what ingest observed, and the vectors of the stages before.  Out: `Watermarks`, the frozen view that a step gets as `now`.

A vector speaks for one partition of one topic.  A stage takes, per (cluster, family), the minimum over all partitions upstream and
waits until each has spoken, because a quick partition must not close a window for a slow one.  Each family has two marks: *observed*
(greatest event time less the bound of disorder; true for ever once said) and *advanced* (what idleness adds; it may close windows, but
proves nothing and evicts nothing).  A partition in which a family was never seen holds it back by its progress, the collected time of
what it read; a partition that was always empty holds nothing back.

    logs.access/0   auditd 90   sshd 70
    logs.access/1   auditd 60   progress 80          auditd min(90, 60) = 60      sshd min(70, 80) = 70

Coverage is a set of buckets per (cluster, family), without a minimum: heard is heard.  Beside it stands what was lost, per (cluster,
family, host): buckets in which something was said that could not be kept, so that an absence there proves nothing.  Marks and coverage are
facts in the reserved cases below, so they merge by the maximum, survive a restart and cost the state log only what changed.  Coverage is
kept by the day, one bit a bucket: a fact for each would be 50,000 a partition.

Holds: never goes back; reads no clock; who sent a mark does not matter.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from types import MappingProxyType

import msgspec

from pipeline.model.facts import Fact
from pipeline.model.ids import rank
from pipeline.model.instants import DAY_MS
from pipeline.model.outcome import Lost, Observed
from pipeline.model.source import SLOW, Source
from pipeline.stream.cases import Cases

MARKS = b"\x00marks"  # reserved cases: no subject's key begins with a zero byte
COVERAGE = b"\x00coverage"
NEVER = 0  # a mark before which nothing has passed
NOT_SAID = -1  # less than any mark
OWN = "own"  # speaks in ingest
NO_MARKS: Mapping[str, tuple[int, int]] = MappingProxyType({})
DAY = "/"  # in the id of a fact of coverage, between the width of its buckets and its day
EMPTY = 1  # progress of a partition without records: the least that can be said, so that its first record takes its place
KEEP_MS = 90 * DAY_MS  # of coverage, unless the settings say otherwise
UNHELD = 2**62  # above all times: an empty partition holds nothing back
SEPARATOR = "\x1f"
PASSED = "passed"  # begins the ids of marks that had passed before a partition began to hold them back
SAID_AGAIN_MS = 2 * DAY_MS  # coverage that a restart says again
SAID_MAX = 10_000  # buckets in one vector; the rest goes with the next


NOTHING_LOST: Mapping[tuple[str, Source, str], AbstractSet[int]] = MappingProxyType({})


class Vector(msgspec.Struct, frozen=True, array_like=True):
    """What one partition of one topic has come to.  Sent to every partition of the later stages, after all facts it covers."""

    topic: str
    partition: int
    partitions: int  # of the topic: how many must speak
    progress: int  # UTC ms of collection
    marks: dict[str, tuple[int, int]]  # cluster SEP family -> (observed, advanced)
    coverage: dict[str, list[int]] = {}  # cluster SEP family, and what was lost: cluster SEP family SEP host -> buckets not said before


encode_vector = msgspec.msgpack.Encoder().encode
decode_vector = msgspec.msgpack.Decoder(Vector).decode


class Watermarks:
    """A frozen view: what has passed, and what was heard."""

    def __init__(
        self,
        marks: Mapping[tuple[str, Source], tuple[int, int]],
        coverage: Mapping[tuple[str, Source], AbstractSet[int]],
        bucket_ms: int,
        slow: frozenset[Source] = SLOW,
        lost: Mapping[tuple[str, Source, str], AbstractSet[int]] = NOTHING_LOST,
    ) -> None:
        self._lost = lost
        self._marks, self._coverage, self._bucket_ms = dict(marks), dict(coverage), bucket_ms
        self._joint: dict[str, int] = {}
        self._floor: dict[str, int] = {}
        for (cluster, source), (observed, advanced) in self._marks.items():
            if source not in slow:
                self._joint[cluster] = min(self._joint.get(cluster, UNHELD), max(observed, advanced))
                self._floor[cluster] = min(self._floor.get(cluster, UNHELD), observed)

    def joint(self, cluster: str) -> int:
        """The time that all prompt families have passed; windows close by it.  Nobody waits for the slow ones."""
        return self._joint.get(cluster, NEVER)

    def floor(self, cluster: str) -> int:
        """The same by observed marks alone: what may evict."""
        return self._floor.get(cluster, NEVER)

    def passed(self, cluster: str, source: Source, time: int) -> bool:
        """Has the family passed this event time?  False when it was never heard."""
        observed, advanced = self._marks.get((cluster, source), (NEVER, NEVER))
        return max(observed, advanced) >= time

    def known(self, cluster: str, source: Source) -> bool:
        """Was the family ever heard in this cluster?"""
        return (cluster, source) in self._marks

    def observed(self, cluster: str, source: Source) -> int:
        """The family's observed mark."""
        return self._marks.get((cluster, source), (NEVER, NEVER))[0]

    def covered(self, cluster: str, source: Source, start: int, end: int) -> bool:
        """Was the family heard somewhere in the cluster in every bucket that [start, end] touches?"""
        return buckets_covered(self._coverage.get((cluster, source), frozenset()), start, end, self._bucket_ms)

    def heard_within(self, cluster: str, source: Source, start: int, end: int) -> bool:
        """Was the family heard somewhere in the cluster in any bucket that begins in [start, end]?"""
        heard = self._coverage.get((cluster, source), frozenset())
        return heard.any_within(start, end) if isinstance(heard, Buckets) else any(start <= bucket <= end for bucket in heard)

    def lost(self, cluster: str, source: Source, host: str, start: int, end: int) -> bool:
        """Was something of the family lost in a bucket that [start, end] touches: of this host, or of one that nobody knows?"""
        if not self._lost:
            return False
        buckets = range(bucket_of(start, self._bucket_ms), end + 1, self._bucket_ms)
        places = (self._lost.get((cluster, source, each), frozenset()) for each in {host, ""})
        return any(bucket in place for place in places for bucket in buckets)

    def clusters(self) -> Iterable[str]:
        """Clusters of which anything was heard."""
        return sorted(self._joint)

    def marks(self) -> Mapping[tuple[str, Source], tuple[int, int]]:
        """(cluster, family) -> (observed, advanced)."""
        return self._marks


NOTHING = Watermarks({}, {}, 1)


def bucket_of(time: int, bucket_ms: int) -> int:
    """Start of the coverage bucket in which an event time lies."""
    return time - time % bucket_ms


def buckets_covered(heard: AbstractSet[int], start: int, end: int, bucket_ms: int) -> bool:
    """Is every bucket that [start, end] touches among those heard?"""
    return all(bucket in heard for bucket in range(bucket_of(start, bucket_ms), end + 1, bucket_ms))


class Buckets(AbstractSet[int]):
    """Starts of buckets of one width, a bit each: as integers they would be most of what a quiet partition holds.

    What another width told, before the settings changed, counts where it starts at a bucket of ours.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._days: dict[int, int] = {}

    def __contains__(self, bucket: object) -> bool:
        if not isinstance(bucket, int):
            return False
        day = bucket - bucket % DAY_MS
        number, rest = divmod(bucket - day, self._width)
        return not rest and bool(self._days.get(day, 0) >> number & 1)

    def __iter__(self) -> Iterator[int]:
        return self.since(0)

    def __len__(self) -> int:
        return sum(bits.bit_count() for bits in self._days.values())

    def add(self, bucket: int) -> None:
        """Another one."""
        day = bucket - bucket % DAY_MS
        number, rest = divmod(bucket - day, self._width)
        if not rest:
            self._days[day] = self._days.get(day, 0) | 1 << number

    def add_day(self, width: int, start: int, bits: int) -> None:
        """All at once: bit n stands for start + n * width."""
        if width == self._width:
            self._days[start] = self._days.get(start, 0) | bits
            return
        for number in _set_bits(bits):
            self.add(start + number * width)

    def day(self, day: int) -> int:
        """The bits of a day."""
        return self._days.get(day, 0)

    def since(self, start: int) -> Iterator[int]:
        """Those that begin then or later, by day."""
        for day, bits in self._days.items():
            if day + DAY_MS > start:
                yield from (bucket for number in _set_bits(bits) if (bucket := day + number * self._width) >= start)

    def any_within(self, start: int, end: int) -> bool:
        """Does one begin in [start, end]?"""
        for day in range(start - start % DAY_MS, end + 1, DAY_MS):
            if bits := self._days.get(day, 0):
                low, high = max(0, -((day - start) // self._width)), (end - day) // self._width
                if bits >> low & (1 << max(high - low + 1, 0)) - 1:
                    return True
        return False

    def newest(self) -> int:
        """The last one; 0 when there is none."""
        day = max(self._days, default=0)
        return day + max(self._days.get(day, 0).bit_length() - 1, 0) * self._width

    def forget(self, oldest: int) -> None:
        """Let go of days that ended by then."""
        for day in [day for day in self._days if day + DAY_MS <= oldest]:
            del self._days[day]


def _set_bits(bits: int) -> Iterator[int]:
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low


class Marks:
    """The marks of one stage partition, kept as facts in its `Cases`.

    `upstream` names the topics whose partitions must all have spoken; ingest has none and speaks from what it observed itself.
    """

    def __init__(self, cases: Cases, bucket_ms: int, upstream: Sequence[str] = (), keep_ms: int = KEEP_MS) -> None:
        self._cases, self._bucket_ms, self._upstream, self._keep_ms = cases, bucket_ms, tuple(upstream), keep_ms
        self._forgotten: dict[str, int] = {}
        self._view: Watermarks | None = None
        self._least: dict[str, tuple[int, int]] | None = None
        self._at: dict[str, int] = {}  # the marks as numbers: thousands are heard again for each that has moved
        self._said: dict[str, dict[str, tuple[int, int]]] = {}  # speaker -> family -> (observed, advanced); -1: not said
        for name, (value, _) in cases.of(MARKS).items():
            self._at[name] = int.from_bytes(value, "big")
            parts = name.split(SEPARATOR)
            if parts[-1] in ("o", "a"):
                self._note(SEPARATOR.join(parts[:-3]), SEPARATOR.join(parts[-3:-1]), parts[-1], self._at[name])
        self._passed: dict[str, tuple[int, int]] = {}
        for name in [name[:-1] for name in cases.of(MARKS) if name.startswith(PASSED)]:
            family = name.removeprefix(f"{PASSED}{SEPARATOR}").removesuffix(SEPARATOR)
            self._passed[family] = self._value(f"{name}o"), self._value(f"{name}a")
        self._spoken: tuple[int, dict[str, tuple[int, int]]] | None = None
        self._still: bool | None = None  # nothing changed since all was said, with this word on whether the partition is empty
        self._heard: dict[str, Buckets] = {}
        for name, (_, body) in cases.of(COVERAGE).items():
            key, width, day, bits = _coverage(name, body)
            self._heard.setdefault(key, Buckets(bucket_ms)).add_day(width, day, bits)
        # After a restart the newest is said again.  It was said: a checkpoint awaits its vectors before it writes its state.
        newest = max((buckets.newest() for buckets in self._heard.values()), default=0)
        self._unsaid = {key: set(buckets.since(newest - SAID_AGAIN_MS)) for key, buckets in self._heard.items()}

    def owe(self, former: "Marks") -> None:
        """Say also what a former object of the same cases had heard and not said, but for what was taken back since."""
        for key, buckets in former._unsaid.items():
            if key in self._unsaid:
                self._unsaid[key].update(bucket for bucket in buckets if bucket in self._heard[key])

    # --- taking in

    def observe(self, observed: Observed, bound_ms: int) -> None:
        """Ingest: event times of a batch, less the family's bound of disorder."""
        key = f"{observed.cluster}{SEPARATOR}{observed.source}"
        self._mark(OWN, key, max(observed.event_time - bound_ms, 0), NOT_SAID)
        self._cover(key, observed.buckets)

    def lose(self, lost: Lost) -> None:
        """Ingest: something was said that could not be kept."""
        self._cover(f"{lost.cluster}{SEPARATOR}{lost.source}{SEPARATOR}{lost.host}", lost.buckets)

    def lose_all(self, start: int, end: int) -> None:
        """Records of this partition are gone, unread, of which nobody knows what they said: all families, in [start, end]."""
        start, width = max(start, end - self._keep_ms), self._bucket_ms
        buckets = range(bucket_of(start, width) - width, end + 1, width)  # what is collected has happened before
        for family in list(self._minimum()):
            self._cover(f"{family}{SEPARATOR}", buckets)

    def reached(self) -> tuple[int, int]:
        """(least, greatest) collected time that the partitions upstream had read, as far as this one was told, UTC ms."""
        progress = [self._value(f"{speaker}{SEPARATOR}p") for speaker in self._speakers() or ()]
        return min(progress, default=NEVER), max(progress, default=NEVER)

    def progress(self, collected: int) -> None:
        """Ingest: collected time of what was read."""
        self._raise(f"{OWN}{SEPARATOR}p", collected)

    def advance(self, by_family: Mapping[str, int]) -> None:
        """Ingest: advanced marks, cluster SEP family -> time, and "" -> progress."""
        for key, time in by_family.items():
            if key:
                self._mark(OWN, key, NOT_SAID, time)
            else:
                self._raise(f"{OWN}{SEPARATOR}q", time)

    def hear(self, vector: Vector) -> None:
        """A keyed stage: the vector of a partition upstream."""
        speaker = f"{vector.topic}{SEPARATOR}{vector.partition}"
        self._raise(f"count{SEPARATOR}{vector.topic}", vector.partitions)
        self._raise(f"{speaker}{SEPARATOR}p", vector.progress)
        for key, (observed, advanced) in vector.marks.items():
            self._mark(speaker, key, observed, advanced)
        for key, buckets in vector.coverage.items():
            self._cover(key, buckets)

    def _mark(self, speaker: str, family: str, observed: int, advanced: int) -> None:
        before = self._said.get(speaker, NO_MARKS).get(family, (NOT_SAID, NOT_SAID))
        for kind, time, known in (("o", observed, before[0]), ("a", advanced, before[1])):
            if time > known:
                self._raise(f"{speaker}{SEPARATOR}{family}{SEPARATOR}{kind}", time)
                self._note(speaker, family, kind, time)

    def _note(self, speaker: str, family: str, kind: str, time: int) -> None:
        families = self._said.setdefault(speaker, {})
        observed, advanced = families.get(family, (NOT_SAID, NOT_SAID))
        families[family] = (time, advanced) if kind == "o" else (observed, time)

    def _raise(self, name: str, value: int) -> None:
        if value > self._at.get(name, NOT_SAID):
            self._at[name] = value
            self._cases.merge(Fact(MARKS, name, rank(value), b""))
            self._view = self._still = self._least = None

    def _cover(self, key: str, buckets: Iterable[int]) -> None:
        heard, width = self._heard.setdefault(key, Buckets(self._bucket_ms)), self._bucket_ms
        fresh = [bucket for bucket in dict.fromkeys(buckets) if bucket not in heard and not bucket % DAY_MS % width]
        if not fresh:
            return
        for bucket in fresh:
            heard.add(bucket)
        self._unsaid.setdefault(key, set()).update(fresh)
        self._view = self._still = None
        for day in dict.fromkeys(bucket - bucket % DAY_MS for bucket in fresh):
            bits = heard.day(day)
            body = bits.to_bytes((bits.bit_length() + 7) // 8, "little")
            self._cases.merge(Fact(COVERAGE, f"{key}{SEPARATOR}{width}{DAY}{day}", rank(bits.bit_count()), body))

    # --- giving out

    def view(self) -> Watermarks:
        """The minimum over all speakers; nothing has passed while one of them is missing."""
        if self._view is None:
            self._view = Watermarks(
                {_family(key): marks for key, marks in self._minimum().items()},
                {_family(key): buckets for key, buckets in self._heard.items() if not _host(key)},
                self._bucket_ms,
                lost={(*_family(key), host[0]): buckets for key, buckets in self._heard.items() if (host := _host(key))},
            )
            self._forget(self._view)
        return self._view

    def _forget(self, view: Watermarks) -> None:
        """Once a day of event time, let go of coverage that no case can ask for any more; only observed marks may do that."""
        due: dict[str, int] = {}
        for key in self._heard:
            oldest = view.floor(_family(key)[0]) - self._keep_ms
            if oldest >= self._forgotten.get(key, 0) + DAY_MS:
                due[key] = oldest
        if not due:
            return
        for name in [name for name in self._cases.of(COVERAGE) if _ends(name) <= due.get(name.rpartition(SEPARATOR)[0], NEVER)]:
            self._cases.drop(COVERAGE, name)
        for key, oldest in due.items():
            buckets = self._heard[key]
            buckets.forget(oldest)
            self._forgotten[key] = oldest
            if key in self._unsaid:
                self._unsaid[key] = {bucket for bucket in self._unsaid[key] if bucket >= oldest}
            if not buckets:  # of a host that is gone for good
                del self._heard[key], self._forgotten[key]

    def speak(self, topic: str, partition: int, partitions: int, *, empty: bool = False) -> Vector | None:
        """The vector to send on, or None when nothing changed.

        `empty`: the partition has no records.  One that was read before they were deleted has a progress all the same: who heard of it
        would wait for more for ever.
        """
        if self._still == empty:
            return None
        marks = self._minimum()
        progress = self._progress() or (EMPTY if empty else NEVER)
        coverage = self._to_say()
        self._still = None if self._unsaid else empty
        if not coverage and self._spoken == (progress, marks):
            return None
        self._spoken = (progress, marks)
        return Vector(topic, partition, partitions, progress, marks, coverage)

    def _to_say(self) -> dict[str, list[int]]:
        """Coverage that was not said yet, the newest first when it is much."""
        coverage: dict[str, list[int]] = {}
        left: dict[str, set[int]] = {}
        room = SAID_MAX
        for key, buckets in self._unsaid.items():
            said = sorted(buckets)[-room:] if room else []
            room -= len(said)
            if said:
                coverage[key] = said
            if len(said) < len(buckets):
                left[key] = buckets.difference(said)
        self._unsaid = left
        return coverage

    def own_marks(self) -> dict[str, tuple[int, int]]:
        """Ingest: cluster SEP family -> (observed, advanced) of this partition."""
        return self._minimum()

    def own_progress(self) -> int:
        """Ingest: collected time of what was read; what silence added is kept apart, or it would add to itself."""
        return self._value(f"{OWN}{SEPARATOR}p")

    def _reached(self, speaker: str) -> int:
        """Progress of a speaker: what it read, or what silence added to that."""
        reached = max(self._value(f"{speaker}{SEPARATOR}p"), self._value(f"{speaker}{SEPARATOR}q"))
        return UNHELD if reached == EMPTY else reached

    def _value(self, name: str) -> int:
        return self._at.get(name, NEVER)

    def _speakers(self) -> list[str] | None:
        """Names of all partitions upstream; None while the size of a topic is unknown."""
        if not self._upstream:
            return [OWN]
        names: list[str] = []
        for topic in self._upstream:
            count = self._value(f"count{SEPARATOR}{topic}")
            if not count:
                return None
            names += [f"{topic}{SEPARATOR}{partition}" for partition in range(count)]
        return names

    def _progress(self) -> int:
        speakers = self._speakers()
        reached = min(self._reached(speaker) for speaker in speakers) if speakers else NEVER
        return EMPTY if reached == UNHELD else reached

    def _minimum(self) -> dict[str, tuple[int, int]]:
        if self._least is None:
            self._least = self._least_said()
        return self._least

    def _least_said(self) -> dict[str, tuple[int, int]]:
        families = sorted({family for said in self._said.values() for family in said})
        speakers = self._speakers()
        reached = [(self._said.get(speaker, NO_MARKS), self._reached(speaker)) for speaker in speakers or ()]
        if speakers is None or not all(held for _, held in reached):
            return dict.fromkeys(families, (NEVER, NEVER))
        result = {}
        for family in families:
            said = [marks.get(family) or (held, held) for marks, held in reached]
            observed = max(min(mark[0] for mark in said), NEVER)
            advanced = max(min(max(mark) for mark in said), NEVER)
            before = self._passed.get(family, (NEVER, NEVER))
            result[family] = (max(observed, before[0]), max(advanced, before[1]))
            if result[family] != (observed, advanced):  # an empty partition begins to hold: it takes nothing back, nor does a restart
                for kind, time in zip("oa", before, strict=True):
                    self._raise(f"{PASSED}{SEPARATOR}{family}{SEPARATOR}{kind}", time)
        self._passed = result
        return result


def _coverage(name: str, body: bytes) -> tuple[str, int, int, int]:
    """(cluster SEP family, width, start, bits) of a fact of coverage: of a day, or of one bucket as an older release kept it."""
    key, _, when = name.rpartition(SEPARATOR)
    width, _, day = when.rpartition(DAY)
    return (key, int(width), int(day), int.from_bytes(body, "little")) if width else (key, 1, int(when), 1)


def _ends(name: str) -> int:
    """When what a fact of coverage speaks of is over, at the latest."""
    return int(name.rpartition(SEPARATOR)[2].rpartition(DAY)[2]) + DAY_MS


@lru_cache(maxsize=1024)
def _family(key: str) -> tuple[str, Source]:
    cluster, source, *_ = key.split(SEPARATOR)
    return cluster, Source(source)


def _host(key: str) -> list[str]:
    """The host of a key of what was lost, maybe empty; nothing for a key of what was heard."""
    return key.split(SEPARATOR)[2:]
