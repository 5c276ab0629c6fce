"""Identifiers from content, and the order-preserving ranks of facts.

An id never depends on partition, offset, arrival or clock, so that every replay gives the same one.
"""

import hashlib
from typing import NewType

EventId = NewType("EventId", str)
FindingId = NewType("FindingId", str)

DIGEST_BYTES = 16
UNSET_UID = 0xFFFFFFFF  # auditd's "nobody logged in": daemons, cron, most job processes


def digest(*parts: str | bytes | int) -> str:
    """32 hex digits over the parts with their lengths, so that no two lists of parts share one."""
    encoded = [part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogatepass") for part in parts]
    return hashlib.blake2b(b"".join([b"%d:%b," % (len(part), part) for part in encoded]), digest_size=DIGEST_BYTES).hexdigest()


def rank(*numbers: int) -> bytes:
    """Numbers (each 0 <= n < 2**64) as bytes whose order is the order of the tuple."""
    return b"".join(number.to_bytes(8, "big") for number in numbers)
