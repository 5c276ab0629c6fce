"""State as version 1 of its layout was written: for tests that a later release reads it.

A copy of the layout and of nothing else: it must not follow the present one.  `state` is a whole log of one owner; `RECORDS` are bytes
that the release itself wrote.
"""

from collections.abc import Sequence
from zlib import crc32

import msgspec

from pipeline.model.facts import Fact

VERSION, BUCKETS = 1, 16
OWNER = "1-7-aa"
DROPPED = b"\xff" * 9
pack = msgspec.msgpack.Encoder().encode

# Two facts are told, one is forgotten, bucket 0 is written in full (it is empty), an intent is open at 5, a step has raised.
RECORDS: tuple[tuple[str, str], ...] = (
    ("claim/1-7-aa", "9101"),
    ("delta/1-7-aa/1", "9301019294c4066d61696e1f37a161c40108c4016294c4066d61696e1f38a163c400c40164"),
    ("delta/1-7-aa/2", "9301029194c4066d61696e1f38a163c409ffffffffffffffffffc400"),
    ("base/1-7-aa/3", "950103000090"),
    ("meta/1-7-aa", "95010305a46c69666596050981a66576656e74739203a5746f6b656e03a572616e6765a6646967657374"),
    ("raised/1-7-aa", "9501050691a466616374a56a75646765"),
)


def claim() -> tuple[str, bytes]:
    """The partition is mine."""
    return f"claim/{OWNER}", pack([VERSION])


def delta(seq: int, facts: Sequence[Fact]) -> tuple[str, bytes]:
    """What changed."""
    return f"delta/{OWNER}/{seq}", pack([VERSION, seq, [_fact(fact) for fact in facts]])


def base(seq: int, bucket: int, facts: Sequence[Fact]) -> tuple[str, bytes]:
    """A bucket in full."""
    return f"base/{OWNER}/{seq}", pack([VERSION, seq, bucket, 0, [_fact(fact) for fact in facts]])


def meta(seq: int, applied: int) -> tuple[str, bytes]:
    """What counts."""
    return f"meta/{OWNER}", pack([VERSION, seq, applied, "life", None])


def state(facts: Sequence[Fact], applied: int) -> list[tuple[str, bytes]]:
    """A log from which exactly these facts are read: some told in deltas, a forgotten one, and bases in between."""
    half = len(facts) // 2
    gone = Fact(b"gone", "gone", b"", b"x")
    log = [claim(), delta(1, [*facts[:half], gone])]
    for bucket in range(BUCKETS):
        inside = [fact for fact in [*facts[:half], gone] if crc32(fact.case) % BUCKETS == bucket]
        log.append(base(2 + bucket, bucket, inside))
    return [*log, delta(30, [*facts[half:], Fact(b"gone", "gone", DROPPED, b"")]), meta(30, applied)]


def _fact(fact: Fact) -> list[object]:
    return [fact.case, fact.id, fact.rank, fact.body]
