"""Log-structured state of one partition, as pure functions of its records: how it is read back, and what a checkpoint appends.

    claim A   delta 1  meta(seq 1)   delta 2 | crash | claim B   meta(seq 1)   delta 3  meta(seq 3)
              └────── covered ────┘  void: no meta covers it     copied by B   └─── covered ──────┘

Deltas cost what changed, bases what is known: when the deltas outgrow the bases, the bucket whose base is oldest is written again, one
per checkpoint, and deltas older than every base are deleted.  A table of key and value, as Faust has it, would show only the last value
per key, so what a frozen worker wrote late could not be told from the owner's.

Only the end of a log tells what of it counts.  So it is read twice: once for the keys, sequences and metas, once to unpack what counts,
record by record.  What is known is there once, never beside the bytes that it came from, and whoever reads can do something else in
between.  A state of a gigabyte kept as bytes until its end is known would be twice the memory, for a second of reading saved.

Holds: what is read back is the state exactly as of `meta.applied`; a record of a former owner after a claim counts for nothing;
nothing is listed for deletion that a reader could still need.
"""

from collections import deque
from collections.abc import Iterator
from typing import Any

import msgspec

from pipeline.errors import StateIncompatible, require
from pipeline.model.facts import Fact
from pipeline.model.words import many
from pipeline.runtime.state_record import (
    BASE,
    BUCKETS,
    CLAIM,
    DELTA,
    LOOK,
    META,
    NOBODY,
    RAISED,
    VERSION,
    Base,
    BaseHead,
    Delta,
    Meta,
    Owner,
    Raised,
    bucket_of,
    chunks,
    key,
    pack,
    pack_chunks,
    parse_key,
    unpack,
    unpack_head,
)
from pipeline.stream.cases import Cases

BASE_FROM_BYTES = 1_000_000  # no base while the deltas are smaller than this
BASE_SHARE = 1.0  # or smaller than this share of the bases (measured: 2.1 bytes written per byte of new facts)

Write = tuple[str, bytes | None]  # key and value; None deletes


class Entry(msgspec.Struct, frozen=True):
    """A delta or base in use."""

    seq: int
    key: str
    size: int
    bucket: int = -1  # of a base
    part: int = 0


class LogReader:
    """Takes the records of one state partition in log order; then they are shown again, to be unpacked.

    With `keep` it keeps their bytes and shows them to itself.
    """

    def __init__(self, *, keep: bool = True) -> None:
        self.owner = NOBODY  # of the last valid claim
        self.last = NOBODY  # the claim of the highest order, void ones included
        self.meta: Meta | None = None
        self.raised: Raised | None = None  # the last one
        self.seq = 0  # the highest seen; an owner counts on from here
        self.deltas: dict[str, Entry] = {}
        self.bases: list[dict[str, Entry]] = [{} for _ in range(BUCKETS)]
        self._keep = keep
        self._values: dict[str, bytes] = {}  # of deltas and bases, until they are unpacked
        self._pending: dict[str, Entry] = {}  # not yet covered by a meta
        self._heads: dict[str, Owner] = {}  # claims and metas
        self._raised: dict[str, Raised] = {}
        self._void: dict[str, None] = {}
        self._cases: Cases | None = None
        self._left: dict[str, Entry] = {}  # what counts and is not unpacked yet, by sequence
        self._since: list[int] = []

    def take(self, name: str, value: bytes | None) -> None:
        """The next record.  Raises StateIncompatible."""
        require(self._cases is None, "a record of state behind its unpacking")
        if value is None:
            self._forget(name)
            return
        kind, owner = parse_key(name)
        if kind == CLAIM:
            self._heads[name] = owner
            self.last = max(self.last, owner, key=lambda each: each.order)
            if owner.order > self.owner.order:  # who has read the claim before says a later epoch
                self.owner = owner
            return
        if kind == LOOK or owner != self.owner:
            self._void[name] = None
            return
        if kind in (META, RAISED):
            self._note(name, owner, unpack(kind, value))
            return
        head = unpack_head(kind, value)
        self.seq = max(self.seq, head.seq)
        place = (head.bucket, head.part) if isinstance(head, BaseHead) else ()
        self._pending[name] = Entry(head.seq, name, len(value), *place)
        if self._keep:
            self._values[name] = value

    @property
    def cases(self) -> Cases:
        """The state as of the last valid meta.  Raises StateIncompatible when something of it was not shown again."""
        for _ in self.unpacking():
            pass
        if self.left or self._cases is None:
            raise StateIncompatible(f"state is incomplete: {many(self.left, 'record')} gone from its topic")
        return self._cases

    @property
    def left(self) -> int:
        """Records that count and are not unpacked yet."""
        self._begin()
        return len(self._left)

    def facts(self) -> Iterator[Fact]:
        """The state: all facts as of the last valid meta."""
        return self.cases.facts()

    def unpacking(self) -> Iterator[None]:
        """Unpack what was kept, one record a step."""
        self._begin()
        for name in list(self._left):
            if name in self._values:
                self.unpack(name, self._values.pop(name))
                yield

    def unpack(self, name: str, value: bytes | None) -> None:
        """A record once more, in log order: it becomes state if it counts.  Nothing new can be taken after that."""
        cases = self._begin()
        entry = self._left.pop(name, None)
        if entry is None or value is None:
            return
        if self._left and entry.seq > (lost := next(iter(self._left.values()))).seq:
            raise StateIncompatible(f"the record {lost.key} of the state is gone from its topic")
        record = unpack(parse_key(name)[0], value)
        if isinstance(record, Base):
            for packed in record.packs:
                cases.put(packed)
        if isinstance(record, (Base, Delta)):
            old = isinstance(record, Delta) and entry.seq < max(self._since)
            for fact in record.facts:
                if not (old and entry.seq < self._since[bucket_of(fact.case)]):
                    cases.merge(fact)
        cases.take_news()

    def _begin(self) -> Cases:
        if self._cases is None:
            self._cases = Cases()
            # A base says all of its bucket, so what deltas said of it before need not be looked at.
            self._since = [min((entry.seq for entry in base.values()), default=0) for base in self.bases]
            entries = [entry for entries in (self.deltas, *self.bases) for entry in entries.values()]
            self._left = {entry.key: entry for entry in sorted(entries, key=lambda entry: entry.seq)}
        return self._cases

    def garbage(self) -> list[str]:
        """Keys that the present owner may delete once its membership is proven after a checkpoint of its own."""
        applied = self.meta.applied if self.meta else 0
        passed = [name for name, it in self._raised.items() if it is not self.raised or (it.hi <= applied and not (it.aside or it.cases))]
        used = {parse_key(name)[1] for entries in (self.deltas, *self.bases, self._raised.keys() - passed) for name in entries}
        heads = [
            name
            for name, owner in self._heads.items()
            # A claim stays while its owner's records are in use: without it they are void, and the late ones of the owner before are not.
            if owner != self.owner and (name.startswith(META) or owner not in used)
        ]
        return [*self._void, *self._pending, *heads, *passed]

    def _note(self, name: str, owner: Owner, record: Meta | Raised | Delta | Base) -> None:
        if isinstance(record, Meta):
            self._heads[name] = owner
            self._cover(record)
        elif isinstance(record, Raised):
            self.raised = record
            self._raised[name] = record

    def _forget(self, name: str) -> None:
        known: tuple[dict[str, Any], ...] = (
            self.deltas, *self.bases, self._values, self._pending, self._heads, self._raised, self._void,
        )  # fmt: skip
        for entries in known:
            entries.pop(name, None)

    def _cover(self, meta: Meta) -> None:
        for name, entry in self._pending.items():
            if entry.seq > meta.seq:
                self._leave(name)  # of a former owner that died before its meta
            elif name.startswith(DELTA):
                self.deltas[name] = entry
            else:
                if entry.part == 0:
                    for old in self.bases[entry.bucket]:
                        self._leave(old)
                    self.bases[entry.bucket] = {}
                self.bases[entry.bucket][name] = entry
        self._pending.clear()
        self.meta, self.seq = meta, max(self.seq, meta.seq)

    def _leave(self, name: str) -> None:
        self._void[name] = None
        self._values.pop(name, None)


class LogWriter:
    """Knows which records of one partition are in use, and what to append next."""

    def __init__(self, owner: Owner, read: LogReader | None = None) -> None:
        self.owner = owner
        self.seq = read.seq if read else 0
        self.garbage = read.garbage() if read else []
        self._deltas = deque(sorted(read.deltas.values(), key=lambda entry: entry.seq)) if read else deque[Entry]()
        self._bases: list[list[Entry]] = [list(base.values()) for base in read.bases] if read else [[] for _ in range(BUCKETS)]
        self.delta_bytes = sum(entry.size for entry in self._deltas)
        self.base_bytes = sum(entry.size for base in self._bases for entry in base)

    @property
    def size(self) -> int:
        """Bytes in use in the log."""
        return sum(entry.size for entry in self._deltas) + sum(entry.size for base in self._bases for entry in base)

    def append(self, news: list[Fact], cases: Cases) -> tuple[list[Write], list[str]]:
        """(records for what is new, keys to delete once they are safe).  The caller's meta goes after them."""
        writes: list[Write] = []
        dead, self.garbage = self.garbage, []
        if news:
            for chunk in chunks(news):
                entry = self._write(writes, DELTA, Delta(VERSION, self._next(), chunk))
                self._deltas.append(entry)
                self.delta_bytes += entry.size
        if self.delta_bytes > max(BASE_FROM_BYTES, BASE_SHARE * self.base_bytes):
            dead += self._write_base(writes, cases)
        return writes, dead

    def whole(self, cases: Cases) -> list[Write]:
        """Records for all that is known, a base for each bucket.  The caller's meta goes after them."""
        writes: list[Write] = []
        for _ in range(BUCKETS):
            self._write_base(writes, cases)
        return writes

    def _next(self) -> int:
        self.seq += 1
        return self.seq

    def _write(self, writes: list[Write], kind: str, record: Delta | Base) -> Entry:
        name, value = key(kind, self.owner, record.seq), pack(record)
        writes.append((name, value))
        return Entry(record.seq, name, len(value))

    def _write_base(self, writes: list[Write], cases: Cases) -> list[str]:
        """Write the bucket whose base is oldest; answer with the keys that this makes superfluous."""
        age = [base[0].seq if base else 0 for base in self._bases]
        bucket = age.index(min(age))
        old = self._bases[bucket]
        dead = [entry.key for entry in old]
        members = sorted(case for case in cases.every() if bucket_of(case) == bucket)
        facts = (Fact(case, fact_id, rank, body) for case in members for fact_id, (rank, body) in cases.open(case).items())
        entries = [self._write(writes, BASE, Base(VERSION, self._next(), bucket, part, chunk)) for part, chunk in enumerate(chunks(facts))]
        for packs in pack_chunks(each for case in members for each in cases.packs(case)):
            if packs:
                entries.append(self._write(writes, BASE, Base(VERSION, self._next(), bucket, len(entries), [], packs)))
        self._bases[bucket] = entries
        self.base_bytes += sum(entry.size for entry in entries) - sum(entry.size for entry in old)
        age[bucket] = entries[0].seq
        while self._deltas and self._deltas[0].seq < min(age):
            entry = self._deltas.popleft()
            self.delta_bytes -= entry.size
            dead.append(entry.key)
        return dead
