"""What a range of records was sealed as: a plain value between the room that seals and the sink that stores it."""

import msgspec


class ChainHead(msgspec.Struct, frozen=True, array_like=True):
    """Where the chain of a partition stands; travels in its state.  Number 0: nothing was sealed yet."""

    number: int = 0
    digest: str = ""


class Sealed(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One row of `evidence_roots`: statement, seal, signature and leaves, see `evidence/verify.py`."""

    topic: str
    partition: int
    incarnation: str
    number: int
    lo: int
    hi: int
    count: int
    root: str
    previous: str
    head: str
    key: str
    time: int  # of sealing, UTC ms
    settings: str
    identities: str
    software: str
    signature: str
    leaves: str  # one a line

    @property
    def chain_head(self) -> ChainHead:
        """What the next range follows."""
        return ChainHead(self.number, self.head)
