"""Log-structured state of one partition, as pure functions of its records: how it is read back, and what a checkpoint appends.

    claim A   delta 1  meta(seq 1)   delta 2 | crash | claim B   meta(seq 1)   delta 3  meta(seq 3)
              └────── covered ────┘  void: no meta covers it     copied by B   └─── covered ──────┘

Deltas cost what changed, bases what is known: when the deltas outgrow the bases, the bucket whose base is oldest is written again, one
per checkpoint, and deltas older than every base are deleted.  A table of key and value, as Faust has it, would show only the last value
per key, so what a frozen worker wrote late could not be told from the owner's.

Holds: what is read back is the state exactly as of `meta.applied`; a record of a former owner behind a claim counts for nothing;
nothing is listed for deletion that a reader could still need.
"""

from collections import deque
from collections.abc import Iterator
from typing import Any

import msgspec

from pipeline.model.facts import Fact
from pipeline.runtime.state_record import (
    BASE,
    BUCKETS,
    CLAIM,
    DELTA,
    LOOK,
    META,
    NOBODY,
    VERSION,
    Base,
    Delta,
    Meta,
    Owner,
    Raised,
    bucket_of,
    chunks,
    key,
    pack,
    parse_key,
    unpack,
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


class LogReader:
    """Takes the records of one state partition in log order."""

    def __init__(self) -> None:
        self.owner = NOBODY  # of the last valid claim
        self.last = NOBODY  # the claim of the highest order, void ones included
        self.meta: Meta | None = None
        self.raised: Raised | None = None  # the last one
        self.seq = 0  # the highest seen; an owner counts on from here
        self.deltas: dict[str, Entry] = {}
        self.bases: list[dict[str, Entry]] = [{} for _ in range(BUCKETS)]
        self._buckets = [Cases() for _ in range(BUCKETS)]
        self._pending: dict[str, tuple[Delta | Base, int]] = {}  # not yet covered by a meta
        self._heads: dict[str, Owner] = {}  # claims and metas
        self._raised: dict[str, Raised] = {}
        self._void: dict[str, None] = {}

    def take(self, name: str, value: bytes | None) -> None:
        """The next record.  Raises StateIncompatible."""
        if value is None:
            self._forget(name)
            return
        kind, owner = parse_key(name)
        if kind == CLAIM:
            self._heads[name] = owner
            self.last = max(self.last, owner, key=lambda each: each.order)
            if owner.order >= self.owner.order:
                self.owner = owner
            return
        if kind == LOOK or owner != self.owner:
            self._void[name] = None
            return
        record = unpack(kind, value)
        if isinstance(record, Meta):
            self._heads[name] = owner
            self._cover(record)
        elif isinstance(record, Raised):
            self.raised = record
            self._raised[name] = record
        else:
            self.seq = max(self.seq, record.seq)
            self._pending[name] = (record, len(value))

    def facts(self) -> Iterator[Fact]:
        """The state: all facts as of the last valid meta."""
        for bucket in self._buckets:
            yield from bucket.facts()

    def garbage(self) -> list[str]:
        """Keys that the present owner may delete once its membership is proven behind a checkpoint of its own."""
        used = {owner for name, owner in self._owners_in_use()}
        heads = [
            name
            for name, owner in self._heads.items()
            # A claim stays while its owner's records are in use: it is what voids the late records of the owner before.
            if owner != self.owner and (name.startswith(META) or owner not in used)
        ]
        applied = self.meta.applied if self.meta else 0
        passed = [name for name, it in self._raised.items() if it is not self.raised or (it.hi <= applied and not it.aside)]
        return [*self._void, *self._pending, *heads, *passed]

    def _owners_in_use(self) -> Iterator[tuple[str, Owner]]:
        for entries in (self.deltas, *self.bases):
            for name in entries:
                yield name, parse_key(name)[1]

    def _forget(self, name: str) -> None:
        known: tuple[dict[str, Any], ...] = (self.deltas, *self.bases, self._pending, self._heads, self._raised, self._void)
        for entries in known:
            entries.pop(name, None)

    def _cover(self, meta: Meta) -> None:
        for name, (record, size) in self._pending.items():
            if record.seq > meta.seq:
                self._void[name] = None  # of a former owner that died before its meta
                continue
            entry = Entry(record.seq, name, size)
            if isinstance(record, Delta):
                for fact in record.facts:
                    self._buckets[bucket_of(fact.case)].merge(fact)
                self.deltas[name] = entry
                continue
            if record.part == 0:
                self._void.update(dict.fromkeys(self.bases[record.bucket]))
                self.bases[record.bucket] = {}
                self._buckets[record.bucket] = Cases()
            for fact in record.facts:
                self._buckets[record.bucket].merge(fact)
            self.bases[record.bucket][name] = entry
        self._pending.clear()
        self.meta, self.seq = meta, max(self.seq, meta.seq)


class LogWriter:
    """Knows which records of one partition are in use, and what to append next."""

    def __init__(self, owner: Owner, read: LogReader | None = None) -> None:
        self.owner = owner
        self.seq = read.seq if read else 0
        self.garbage = read.garbage() if read else []
        self._deltas = deque(sorted(read.deltas.values(), key=lambda entry: entry.seq)) if read else deque[Entry]()
        self._bases: list[list[Entry]] = [list(base.values()) for base in read.bases] if read else [[] for _ in range(BUCKETS)]
        self._members: list[set[bytes]] = [set() for _ in range(BUCKETS)]
        for fact in read.facts() if read else ():
            self._members[bucket_of(fact.case)].add(fact.case)

    def append(self, news: list[Fact], cases: Cases) -> tuple[list[Write], list[str]]:
        """(records for what is new, keys to delete once they are safe).  The caller's meta goes behind them."""
        writes: list[Write] = []
        dead, self.garbage = self.garbage, []
        if news:
            for fact in news:
                self._members[bucket_of(fact.case)].add(fact.case)
            for chunk in chunks(news):
                self._deltas.append(self._write(writes, DELTA, Delta(VERSION, self._next(), chunk)))
        deltas, bases = sum(entry.size for entry in self._deltas), sum(entry.size for base in self._bases for entry in base)
        if deltas > max(BASE_FROM_BYTES, BASE_SHARE * bases):
            dead += self._write_base(writes, cases)
        return writes, dead

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
        dead = [entry.key for entry in self._bases[bucket]]
        members = self._members[bucket] = {case for case in self._members[bucket] if case in cases}
        facts = (Fact(case, fact_id, rank, body) for case in sorted(members) for fact_id, (rank, body) in cases.of(case).items())
        self._bases[bucket] = [
            self._write(writes, BASE, Base(VERSION, self._next(), bucket, part, chunk)) for part, chunk in enumerate(chunks(facts))
        ]
        age[bucket] = self._bases[bucket][0].seq
        while self._deltas and self._deltas[0].seq < min(age):
            dead.append(self._deltas.popleft().key)
        return dead
