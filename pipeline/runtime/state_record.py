"""The records of a state topic, and their keys.

A record's key is `kind/owner/sequence`; an owner is `epoch-generation-nonce`.  In log order:

    look    marks how far the log must be read before a claim; says nothing
    claim   a worker took the partition over; what former owners write after it is void (a frozen worker may wake up and write)
    delta   facts merged since the previous checkpoint, all buckets together
    base    one bucket in full, packs as they are; a delta older than the bases of all buckets is deleted
    meta    applied offset and open intent; after what it covers, so it is the commit record
    raised  where a step raised; written before the worker ends, so that a second time is known as one

Every value starts with the version of its layout, so that a release can refuse what it cannot read before it reads it:

    1   facts alone
    2   what was done to cases stands among the facts of a delta, and a base ends with the packs of its bucket
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar
from zlib import crc32

import msgspec

from pipeline.errors import StateIncompatible
from pipeline.model.facts import Fact
from pipeline.model.sealed import ChainHead
from pipeline.stream.cases import Pack

VERSION = 2
READABLE = (1, 2)  # what a release wrote is read by the next ones; it is written anew as bases are
BUCKETS = 16  # per partition; a base is one bucket
CHUNK_BYTES = 400_000  # facts in one record, below every default message limit
T = TypeVar("T")
LOOK, CLAIM, DELTA, BASE, META, RAISED = "look", "claim", "delta", "base", "meta", "raised"


class Owner(msgspec.Struct, frozen=True, array_like=True):
    """Who writes: the epoch grows by one with every claim, the generation is the consumer group's, the nonce tells processes apart.

    A replaced static member keeps the generation of the process before it, and a recreated group starts its generations again.
    """

    epoch: int
    generation: int
    nonce: str

    def __str__(self) -> str:
        return f"{self.epoch}-{self.generation}-{self.nonce}"

    @property
    def order(self) -> tuple[int, int]:
        """Claims count in this order; a claim that arrives late is void, and so is the second of two that are alike."""
        return self.epoch, self.generation


NOBODY = Owner(0, -1, "")


class TableIntent(msgspec.Struct, frozen=True, array_like=True):
    """One block that is about to be inserted."""

    rows: int
    token: str


class Intent(msgspec.Struct, frozen=True, array_like=True):
    """Rows of [lo, hi) are about to leave, one block per table.  Open until a meta without it is written."""

    lo: int
    hi: int
    tables: dict[str, TableIntent]
    written: int  # distinct offsets with rows
    token: str  # of the range row
    settings_digest: str  # what the rows depend on
    root: str = ""  # of the range, where evidence is kept: what comes of it after a crash must be the same
    software: str = ""  # that made the root
    families: tuple[str, ...] = ()  # cluster SEP family, of which the partition speaks from now on: see Partition.adopt
    count: int = -1  # of the records under the root; with it the head of the range is known


class Claim(msgspec.Struct, frozen=True, array_like=True):
    """The partition is mine; also the value of a look."""

    version: int = VERSION


class Delta(msgspec.Struct, frozen=True, array_like=True):
    """What changed in the cases, and what was done to them: see the ranks in `stream.cases`."""

    version: int
    seq: int
    facts: list[Fact]


class Base(msgspec.Struct, frozen=True, array_like=True):
    """All facts of a bucket, in as many parts as it takes; part 0 starts anew."""

    version: int
    seq: int
    bucket: int
    part: int
    facts: list[Fact]
    packs: list[Pack] = []


class Head(msgspec.Struct, frozen=True, array_like=True):
    """What must be known of a delta before it is unpacked."""

    version: int
    seq: int


class BaseHead(msgspec.Struct, frozen=True, array_like=True):
    """The same of a base."""

    version: int
    seq: int
    bucket: int
    part: int


class Meta(msgspec.Struct, frozen=True, array_like=True):
    """State as of `applied` consists of all records before this one with a sequence up to `seq`."""

    version: int
    seq: int
    applied: int  # next offset to fold
    incarnation: str
    intent: Intent | None = None
    head: ChainHead = ChainHead()  # of what was sealed; an older release leaves it out, and a new chain begins
    topic_id: str = ""  # of the input, as Kafka tells it; empty: it did not, or an older release wrote this


class Raised(msgspec.Struct, frozen=True, array_like=True):
    """The step raised somewhere in [lo, hi), last; and these facts it does not bear, by digest, wherever they come again.

    Nor these cases, whatever comes of them.
    """

    version: int
    lo: int
    hi: int
    aside: tuple[str, ...] = ()
    judge: str = ""  # release and settings digest: another one gets another chance
    suspects: tuple[bytes, ...] = ()  # cases at which it raised once, told nothing of them
    cases: tuple[bytes, ...] = ()  # set aside
    untold: tuple[bytes, ...] = ()  # of these, those that are no dead letters yet
    bears: int = 0  # how many may raise in a row before it ends again; twice as many with each life


class _Versioned(msgspec.Struct, array_like=True):
    version: int


pack = msgspec.msgpack.Encoder().encode
_version = msgspec.msgpack.Decoder(_Versioned)
_decoders: dict[str, msgspec.msgpack.Decoder[Any]] = {
    kind: msgspec.msgpack.Decoder(layout) for kind, layout in ((DELTA, Delta), (BASE, Base), (META, Meta), (RAISED, Raised))
}
_heads: dict[str, msgspec.msgpack.Decoder[Any]] = {
    kind: msgspec.msgpack.Decoder(layout) for kind, layout in ((DELTA, Head), (BASE, BaseHead))
}


def unpack(kind: str, value: bytes) -> Delta | Base | Meta | Raised:
    """The record.  Raises StateIncompatible for another version or an unknown kind."""
    record: Delta | Base | Meta | Raised = _decode(_decoders, kind, value)
    return record


def unpack_head(kind: str, value: bytes) -> Head | BaseHead:
    """The beginning of a delta or base.  Raises as `unpack` does."""
    head: Head | BaseHead = _decode(_heads, kind, value)
    return head


def _decode(decoders: dict[str, msgspec.msgpack.Decoder[Any]], kind: str, value: bytes) -> Any:
    try:
        version = _version.decode(value).version
        if version not in READABLE:
            raise StateIncompatible(f"state record of version {version}; this release reads the versions {READABLE}")
        return decoders[kind].decode(value)
    except (KeyError, msgspec.MsgspecError) as error:
        raise StateIncompatible(f"state record of kind {kind!r} cannot be read: {error!r}") from error


def key(kind: str, owner: Owner, seq: int | None = None) -> str:
    """`delta/3-17-9f0c11aa/42`; the others have no sequence, so that compaction keeps one of each per owner."""
    return f"{kind}/{owner}" if seq is None else f"{kind}/{owner}/{seq}"


def parse_key(text: str) -> tuple[str, Owner]:
    """Kind and owner.  Raises StateIncompatible."""
    kind, _, rest = text.partition("/")
    epoch, _, more = rest.split("/", maxsplit=1)[0].partition("-")
    generation, _, nonce = more.partition("-")
    if not (epoch.isdecimal() and generation.isdecimal() and nonce):
        raise StateIncompatible(f"state record with the key {text!r}")
    return kind, Owner(int(epoch), int(generation), nonce)


def bucket_of(case: bytes) -> int:
    """The bucket of a case."""
    return crc32(case) % BUCKETS


def chunks(facts: Iterable[Fact]) -> Iterator[list[Fact]]:
    """Lists of at most CHUNK_BYTES, or of one larger fact; one empty list for no facts, so that an empty bucket gets a base too."""
    yield from _in_chunks(facts, lambda fact: len(fact.case) + len(fact.id) + len(fact.rank) + len(fact.body) + 16)


def pack_chunks(packs: Iterable[Pack]) -> Iterator[list[Pack]]:
    """The same of packs."""
    yield from _in_chunks(packs, lambda pack: len(pack.case) + len(pack.digests) + len(pack.packed) + 16)


def _in_chunks(things: Iterable[T], length_of: Callable[[T], int]) -> Iterator[list[T]]:
    chunk: list[T] = []
    size = 0
    for thing in things:
        length = length_of(thing)
        if chunk and size + length > CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append(thing)
        size += length
    yield chunk
