"""A fact is (id, rank, body): what one stage tells the next about one subject.

The id names what is asserted, the rank how complete the assertion is, both from content alone.  A case keeps per id the greatest
(rank, body), so merging is idempotent and commutative, and replays after a crash change nothing:

    merge(merge(a, b), c) == merge(a, merge(c, b))      merge(a, a) == a

A derived fact takes as rank the tuple of its inputs' ranks, so that it grows with them; when they no longer support it, an empty
body of the then higher rank takes its place.  Empty equals absent.
"""

import msgspec

from pipeline.model.ids import digest

VOID = b""


class Fact(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One assertion about the subject that `case` names."""

    case: bytes  # key of the subject; also the Kafka key
    id: str
    rank: bytes  # compared as bytes: see ids.rank
    body: bytes  # what is asserted; VOID: no longer


encode_fact = msgspec.msgpack.Encoder().encode
decode_fact = msgspec.msgpack.Decoder(Fact).decode


def job_case(cluster: str, job: str) -> bytes:
    """Key of a job's case: cluster and raw id; attempts are told apart inside."""
    return f"{cluster}\x1f{job}".encode()


def host_case(cluster: str, host: str) -> bytes:
    """Key of a host's case."""
    return f"{cluster}\x1f{host}".encode()


def artefact_case(cluster: str, path: str) -> bytes:
    """Key of an artefact's case.  Paths of shared storage mean the same on every host of a cluster."""
    return f"{cluster}\x1f{path}".encode()


def identity_case(cluster: str, identity_id: str) -> bytes:
    """Key of an identity's case: the id that the identity map gives, or the bare name or uid that it does not know."""
    return f"{cluster}\x1f{identity_id}".encode()


def cohort_case(cluster: str, cohort: str) -> bytes:
    """Key of a cohort's case: configuration/<digest> or size/<GPUs>."""
    return f"{cluster}\x1f{cohort}".encode()


def compared_with(account: str, configuration: str) -> str:
    """The cohort of an attempt: all configurations of its account, since what somebody wrote is loaded by them all; without an account its
    own configuration is all that is known."""
    return f"configuration/{digest('account', account) if account else configuration}"


def incidents_case(cluster: str) -> bytes:
    """Key of the one case in which all findings of a cluster meet."""
    return f"{cluster}\x1fincidents".encode()


def case_name(case: bytes) -> tuple[str, str]:
    """(cluster, name) of a case key."""
    cluster, _, name = case.decode().partition("\x1f")
    return cluster, name
