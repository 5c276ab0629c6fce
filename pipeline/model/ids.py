"""Identifiers from content, and the order-preserving ranks of facts.

An id never depends on partition, offset, arrival or clock, so that every replay gives the same one.
"""

from functools import lru_cache
from hashlib import blake2b

DIGEST_BYTES, KEY_BYTES_MAX = 16, 64
UNSET_UID = 0xFFFFFFFF  # auditd's "nobody logged in": daemons, cron, most job processes


def digest(*parts: str | bytes | int) -> str:
    """32 hex digits over the parts with their lengths, so that no two lists of parts share one."""
    return blake2b(_encoded(parts), digest_size=DIGEST_BYTES).hexdigest()


def keyed(key: bytes, *parts: str | bytes | int) -> str:
    """The digest under a key, so that nobody without it can try what the parts may be; without one it is `digest`."""
    return blake2b(_encoded(parts), digest_size=DIGEST_BYTES, key=key[:KEY_BYTES_MAX]).hexdigest()


class Digester:
    """`digest` for many lists of parts that begin alike: `Digester(a, b).digest(c) == digest(a, b, c)`."""

    def __init__(self, *parts: str | bytes | int) -> None:
        self._begun = blake2b(_encoded(parts), digest_size=DIGEST_BYTES)

    def digest(self, *parts: str | bytes | int) -> str:
        """The digest over the common parts and these."""
        whole = self._begun.copy()
        whole.update(_encoded(parts))
        return whole.hexdigest()

    def of_line(self, time: int, place: int, payload: bytes, kind: str) -> str:
        """`digest` of these, in a third of the time: most events are named by their line."""
        whole = self._begun.copy()
        written, where = str(time), str(place)
        begin = f"{len(written)}:{written},{len(where)}:{where},{len(payload)}:"
        whole.update(b"%b%b,%b" % (begin.encode(), payload, _encoded_word(kind)))
        return whole.hexdigest()

    def of_own(self, own_id: str, kind: str) -> str:
        """`digest` of these, for events that their source names."""
        whole = self._begun.copy()
        data = own_id.encode("utf-8", "surrogatepass")
        whole.update(b"%d:%b,%b" % (len(data), data, _encoded_word(kind)))
        return whole.hexdigest()


def _encoded(parts: tuple[str | bytes | int, ...]) -> bytes:
    encoded = b""
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogatepass")
        encoded += b"%d:%b," % (len(data), data)
    return encoded


@lru_cache(maxsize=1024)
def _encoded_word(word: str) -> bytes:
    return _encoded((word,))


def rank(*numbers: int) -> bytes:
    """Numbers (each 0 <= n < 2**64) as bytes whose order is the order of the tuple."""
    return b"".join(number.to_bytes(8, "big") for number in numbers)
