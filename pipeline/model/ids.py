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
    state = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogatepass")
        state.update(len(data).to_bytes(8, "big"))
        state.update(data)
    return state.hexdigest()


def rank(*numbers: int) -> bytes:
    """Numbers (each 0 <= n < 2**64) as bytes whose order is the order of the tuple."""
    return b"".join(number.to_bytes(8, "big") for number in numbers)
