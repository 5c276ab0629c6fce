"""A range of records, and where the chain of its partition stands, in; the range sealed out.

    head 16 ◄── previous of 17: [4200, 4350), 148 records, root ──► head 17 ◄── previous of 18 ...

The head names nothing but content: numbers, root, previous head.  Who signed, when, and under which settings stands in the seal, so the
same range sealed again after a crash, perhaps by another worker with a newer key, has the same head, and both rows are one.

Pure but for the time, which the runtime hands in.
"""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from pipeline import __version__
from pipeline.evidence.leaves import leaves_of
from pipeline.evidence.merkle import leaf_hash, root_of
from pipeline.evidence.signing import Signer
from pipeline.evidence.verify import SEAL_CONTEXT, canonical, head_of
from pipeline.model.outcome import Record
from pipeline.model.sealed import ChainHead, Sealed

if TYPE_CHECKING:
    from pipeline.settings import Settings


class Range(msgspec.Struct, frozen=True):
    """Where records lie."""

    topic: str
    partition: int
    incarnation: str
    lo: int
    hi: int


class Sealer:
    """Seals ranges with one key, under one version of settings."""

    def __init__(self, signer: Signer, settings: "Settings") -> None:
        self._signer, self._settings, self._identities = signer, settings.digest(), identities_digest(settings)

    def seal(self, where: Range, records: Sequence[Record], rows: Sequence[Any], last: ChainHead, time: int) -> Sealed:
        """The range, after `last`.  `time`: UTC ms, now."""
        leaves = leaves_of(records, rows)
        root = root_of(list(map(leaf_hash, leaves))).hex()
        return self._signed(where, root, len(records), last, time, b"\n".join(leaves).decode())

    def again(self, where: Range, root: str, count: int, last: ChainHead, time: int) -> Sealed:
        """The range as somebody sealed it before, who had all its records: the same head.  Its leaves are with his row."""
        return self._signed(where, root, count, last, time, "")

    def _signed(self, where: Range, root: str, count: int, last: ChainHead, time: int, leaves: str) -> Sealed:
        statement = {
            "v": 1,
            "topic": where.topic,
            "partition": where.partition,
            "incarnation": where.incarnation,
            "number": last.number + 1,
            "lo": where.lo,
            "hi": where.hi,
            "count": count,
            "root": root,
            "previous": last.digest,
        }
        seal = {
            "head": head_of(statement),
            "key": self._signer.key,
            "time": time,
            "settings": self._settings,
            "identities": self._identities,
            "software": __version__,
        }
        signature = self._signer.sign(SEAL_CONTEXT + canonical(seal))
        del statement["v"]
        return Sealed(**{**statement, **seal}, signature=signature, leaves=leaves)  # type: ignore[arg-type]


def entry_of(sealed: Sealed) -> dict[str, Any]:
    """As it stands on the topic, with a witness, and in a bundle."""
    statement = {name: getattr(sealed, name) for name in ("topic", "partition", "incarnation", "number", "lo", "hi", "count", "root")}
    seal = {name: getattr(sealed, name) for name in ("head", "key", "time", "settings", "identities", "software")}
    return {"statement": {"v": 1, **statement, "previous": sealed.previous}, "seal": seal, "signature": sealed.signature}


def value_of(sealed: Sealed) -> bytes:
    """The value on `trainwatch.evidence.v1`, and a line of a witness."""
    return canonical(entry_of(sealed))


def identities_digest(settings: "Settings") -> str:
    """Names the identity map.  16 hex digits."""
    return hashlib.sha256(settings.model_dump_json(include={"identities"}).encode()).hexdigest()[:16]
