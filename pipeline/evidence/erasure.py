"""A line that is to be forgotten in; a signed statement that it was erased, and what its sha256 was, out.

A leaf holds the sha256 of each line, not the line, so a chain can be checked without the bytes; and a bundle that proves a record beside it
still shows that sha256, by which who knows the line can tell that it was there.  What is missing then must be
told from what somebody destroyed: an erasure is a statement with a reason, signed with the site's key, which whoever may merely write into
the tables does not have.  It excuses this one line, as long as nothing else stands in its place.
"""

import hashlib
from collections.abc import Iterator

import msgspec

from pipeline.evidence.signing import Signer
from pipeline.evidence.verify import Problem, Ring, erasure_text

NOTHING = hashlib.sha256(b"").hexdigest()  # of the bytes that stand in place of an erased line


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """One row of `erasures`."""

    time: int  # UTC ms
    account: str
    reason: str
    topic: str
    incarnation: str
    partition: int
    offset: int
    line: int
    event_id: str
    sha256: str
    signing_key: str = ""
    signature: str = ""

    def text(self) -> bytes:
        """What is signed."""
        return erasure_text(msgspec.structs.asdict(self))

    def signed(self, signer: Signer) -> "Erasure":
        """The statement as the site makes it."""
        return msgspec.structs.replace(self, signing_key=signer.key, signature=signer.sign(self.text()))


def is_of_site(erasure: Erasure, ring: Ring) -> bool:
    """Did a key of the site sign it?"""
    return not any(ring.check(erasure.signing_key, erasure.time, erasure.signature, erasure.text(), "", "erasure_wrong"))


def check_erasure(erasure: Erasure, ring: Ring, said: str, computed: str) -> Iterator[Problem]:
    """Does it excuse a row that says one sha256 and holds bytes of another?"""
    where = f"{erasure.topic}/{erasure.partition}@{erasure.offset}"
    if erasure.sha256 != said or computed not in (NOTHING, said):
        text = f"line {erasure.line}: erased with sha256 {erasure.sha256}, its row says {said}, its bytes have {computed}"
        yield Problem("line_changed", where, text)
    yield from ring.check(erasure.signing_key, erasure.time, erasure.signature, erasure.text(), where, "erasure_wrong")
