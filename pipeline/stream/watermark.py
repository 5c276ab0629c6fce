"""How far event time has come, per source family, heard as vectors from every partition upstream.

In: what ingest observed, and the vectors of the stages before.  Out: `Watermarks`, the frozen view that a step gets as `now`.

A vector speaks for one partition of one topic.  A stage takes, per (cluster, family), the minimum over all partitions upstream and
waits until each has spoken, because a quick partition must not close a window for a slow one.  Each family has two marks: *observed*
(greatest event time less the bound of disorder; true for ever once said) and *advanced* (what idleness adds; it may close windows, but
proves nothing and evicts nothing).  A partition in which a family was never seen holds it back by its progress, the collected time of
what it read; a partition that is empty holds nothing back.

    logs.access/0   auditd 90   sshd 70
    logs.access/1   auditd 60   progress 80          auditd min(90, 60) = 60      sshd min(70, 80) = 70

Coverage is a set of buckets per (cluster, family), without a minimum: heard is heard.  Marks and coverage are facts in the reserved
cases below, so they merge by the maximum, survive a restart and cost the state log only what changed.

Holds: never goes back; reads no clock; who sent a mark does not matter.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

import msgspec

from pipeline.model.facts import Fact
from pipeline.model.ids import rank
from pipeline.model.outcome import Observed
from pipeline.model.source import Source
from pipeline.stream.cases import Cases

MARKS = b"\x00marks"  # reserved cases: no subject's key begins with a zero byte
COVERAGE = b"\x00coverage"
NEVER = 0  # a mark before which nothing has passed
EMPTY = 1  # progress of a partition without records: the least that can be said, so that its first record takes its place
DAY_MS = 86_400_000
KEEP_MS = 45 * DAY_MS  # of coverage, unless the settings say otherwise
UNHELD = 2**62  # above all times: an empty partition holds nothing back
SEPARATOR = "\x1f"


class Vector(msgspec.Struct, frozen=True, array_like=True):
    """What one partition of one topic has come to.  Sent to every partition of the stages behind, after all facts it covers."""

    topic: str
    partition: int
    partitions: int  # of the topic: how many must speak
    progress: int  # UTC ms of collection
    marks: dict[str, tuple[int, int]]  # cluster SEP family -> (observed, advanced)
    coverage: dict[str, list[int]] = {}  # cluster SEP family -> buckets new since the last vector


encode_vector = msgspec.msgpack.Encoder().encode
decode_vector = msgspec.msgpack.Decoder(Vector).decode


class Watermarks:
    """A frozen view: what has passed, and what was heard."""

    def __init__(
        self,
        marks: Mapping[tuple[str, Source], tuple[int, int]],
        coverage: Mapping[tuple[str, Source], AbstractSet[int]],
        bucket_ms: int,
        slow: frozenset[Source] = frozenset({Source.SACCT}),
    ) -> None:
        self._marks, self._coverage, self._bucket_ms = dict(marks), dict(coverage), bucket_ms
        self._joint: dict[str, int] = {}
        self._floor: dict[str, int] = {}
        for (cluster, source), (observed, advanced) in self._marks.items():
            if source not in slow:
                self._joint[cluster] = min(self._joint.get(cluster, UNHELD), max(observed, advanced))
                self._floor[cluster] = min(self._floor.get(cluster, UNHELD), observed)

    def joint(self, cluster: str) -> int:
        """The time that all prompt families have passed; windows close by it.  sacct comes by cron and is not waited for."""
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
        first = bucket_of(start + self._bucket_ms - 1, self._bucket_ms)
        return any(bucket in heard for bucket in range(first, end + 1, self._bucket_ms))

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


class Marks:
    """The marks of one stage partition, kept as facts in its `Cases`.

    `upstream` names the topics whose partitions must all have spoken; ingest has none and speaks from what it observed itself.
    """

    def __init__(self, cases: Cases, bucket_ms: int, upstream: Sequence[str] = (), keep_ms: int = KEEP_MS) -> None:
        self._cases, self._bucket_ms, self._upstream, self._keep_ms = cases, bucket_ms, tuple(upstream), keep_ms
        self._forgotten: dict[str, int] = {}
        self._view: Watermarks | None = None
        self._passed: dict[str, tuple[int, int]] = {}
        self._spoken: tuple[int, dict[str, tuple[int, int]]] | None = None
        self._heard: dict[str, set[int]] = {}
        for name in cases.of(COVERAGE):
            key, _, bucket = name.rpartition(SEPARATOR)
            self._heard.setdefault(key, set()).add(int(bucket))
        # After a restart all is said again: it may not have been sent.
        self._unsaid = {key: set(buckets) for key, buckets in self._heard.items()}

    # --- taking in

    def observe(self, observed: Observed, bound_ms: int) -> None:
        """Ingest: event times of a batch, less the family's bound of disorder."""
        key = f"{observed.cluster}{SEPARATOR}{observed.source}"
        self._raise(f"own{SEPARATOR}{key}{SEPARATOR}o", max(observed.event_time - bound_ms, 0))
        self._cover(key, observed.buckets)

    def progress(self, collected: int) -> None:
        """Ingest: collected time of what was read."""
        self._raise(f"own{SEPARATOR}p", collected)

    def advance(self, by_family: Mapping[str, int]) -> None:
        """Ingest: advanced marks, cluster SEP family -> time, and "" -> progress."""
        for key, time in by_family.items():
            self._raise(f"own{SEPARATOR}{key}{SEPARATOR}a" if key else f"own{SEPARATOR}q", time)

    def hear(self, vector: Vector) -> None:
        """A keyed stage: the vector of a partition upstream."""
        speaker = f"{vector.topic}{SEPARATOR}{vector.partition}"
        self._raise(f"count{SEPARATOR}{vector.topic}", vector.partitions)
        self._raise(f"{speaker}{SEPARATOR}p", vector.progress)
        for key, (observed, advanced) in vector.marks.items():
            self._raise(f"{speaker}{SEPARATOR}{key}{SEPARATOR}o", observed)
            self._raise(f"{speaker}{SEPARATOR}{key}{SEPARATOR}a", advanced)
        for key, buckets in vector.coverage.items():
            self._cover(key, buckets)

    def _raise(self, name: str, value: int) -> None:
        if self._cases.merge(Fact(MARKS, name, rank(value), b"")):
            self._view = None

    def _cover(self, key: str, buckets: Iterable[int]) -> None:
        for bucket in buckets:
            if self._cases.merge(Fact(COVERAGE, f"{key}{SEPARATOR}{bucket}", b"", b"")):
                self._unsaid.setdefault(key, set()).add(bucket)
                self._heard.setdefault(key, set()).add(bucket)
                self._view = None

    # --- giving out

    def view(self) -> Watermarks:
        """The minimum over all speakers; nothing has passed while one of them is missing."""
        if self._view is None:
            self._view = Watermarks(
                {_family(key): marks for key, marks in self._minimum().items()},
                {_family(key): buckets for key, buckets in self._heard.items()},
                self._bucket_ms,
            )
            self._forget(self._view)
        return self._view

    def _forget(self, view: Watermarks) -> None:
        """Once a day of event time, let go of coverage that no case can ask for any more; only observed marks may do that."""
        for key, buckets in self._heard.items():
            oldest = view.floor(_family(key)[0]) - self._keep_ms
            if oldest < self._forgotten.get(key, 0) + DAY_MS:
                continue
            self._forgotten[key] = oldest
            for bucket in [bucket for bucket in buckets if bucket < oldest]:
                buckets.discard(bucket)
                self._unsaid.get(key, set()).discard(bucket)
                self._cases.drop(COVERAGE, f"{key}{SEPARATOR}{bucket}")

    def speak(self, topic: str, partition: int, partitions: int, *, empty: bool = False) -> Vector | None:
        """The vector to send on, or None when nothing changed.  `empty`: the partition has no records at all."""
        marks = self._minimum()
        progress = EMPTY if empty else self._progress()
        coverage = {key: sorted(buckets) for key, buckets in self._unsaid.items()}
        if not coverage and self._spoken == (progress, marks):
            return None
        self._spoken, self._unsaid = (progress, marks), {}
        return Vector(topic, partition, partitions, progress, marks, coverage)

    def own_marks(self) -> dict[str, tuple[int, int]]:
        """Ingest: cluster SEP family -> (observed, advanced) of this partition."""
        return self._minimum()

    def own_progress(self) -> int:
        """Ingest: collected time of what was read; what silence added is kept apart, or it would add to itself."""
        return self._value(f"own{SEPARATOR}p")

    def _reached(self, speaker: str) -> int:
        """Progress of a speaker: what it read, or what silence added to that."""
        reached = max(self._value(f"{speaker}{SEPARATOR}p"), self._value(f"{speaker}{SEPARATOR}q"))
        return UNHELD if reached == EMPTY else reached

    def _value(self, name: str) -> int:
        known = self._cases.of(MARKS).get(name)
        return int.from_bytes(known[0], "big") if known else NEVER

    def _speakers(self) -> list[str] | None:
        """Names of all partitions upstream; None while the size of a topic is unknown."""
        if not self._upstream:
            return ["own"]
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
        said: dict[str, dict[str, dict[str, int]]] = {}  # family -> speaker -> o | a -> time
        for name, (value, _) in self._cases.of(MARKS).items():
            parts = name.split(SEPARATOR)
            if parts[-1] in ("o", "a"):
                speaker, family = SEPARATOR.join(parts[:-3]), SEPARATOR.join(parts[-3:-1])
                said.setdefault(family, {}).setdefault(speaker, {})[parts[-1]] = int.from_bytes(value, "big")
        speakers = self._speakers()
        if speakers is None or not all(self._reached(speaker) for speaker in speakers):
            return dict.fromkeys(sorted(said), (NEVER, NEVER))
        result = {}
        for family in sorted(said):
            observed, advanced = UNHELD, UNHELD
            for speaker in speakers:
                mark = said[family].get(speaker)
                held = self._reached(speaker)
                observed = min(observed, mark["o"] if mark else held)
                advanced = min(advanced, max(mark["o"], mark.get("a", NEVER)) if mark else held)
            before = self._passed.get(family, (NEVER, NEVER))  # an empty partition may begin to hold, and takes nothing back
            result[family] = (max(observed, before[0]), max(advanced, before[1]))
        self._passed = result
        return result


def _family(key: str) -> tuple[str, Source]:
    cluster, _, source = key.partition(SEPARATOR)
    return cluster, Source(source)
