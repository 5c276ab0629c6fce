"""The bodies of facts: what stages tell one another, as one tagged union that travels as MessagePack.

ingest    -> hosts, artefacts, jobs   Event
ingest    -> hosts -> itself          Heard
hosts     -> artefacts                Event (a file was touched)
hosts     -> jobs                     Touch, NodeTouch, HostCoverage, Event (scancel)
artefacts -> jobs                     ArtefactUse
ingest    -> identities               Event
hosts     -> identities               Event (a file was touched, a command read one), Displaced, Worked
each that judges -> itself            Emitted, under `emitted_name`; jobs and identities a Tombstone of what they forgot
"""

from collections.abc import Collection, Iterator

import msgspec

from pipeline.model.events import Event, JobRecord
from pipeline.model.source import Source


class Attempt(msgspec.Struct, frozen=True, gc=False, array_like=True, order=True):
    """One run of a job.  Raw ids wrap and jobs are requeued, so that submit and start, as the scheduler states them, belong to it."""

    cluster: str
    job: str
    submit: int  # UTC ms
    start: int  # UTC ms; -1: never started

    @property
    def name(self) -> str:
        """For people and topics: cluster/job/submit/start."""
        return f"{self.cluster}/{self.job}/{self.submit}/{self.start}"


def attempt_of(cluster: str, record: JobRecord) -> Attempt | None:
    """The attempt that a scheduler's record speaks of; None when it does not say when it was submitted.

    Of a job that ended while it waited jobcomp states the end as its start, and sacct none: without nodes it never ran.
    """
    if record.submit is None:
        return None
    ran = record.start is not None and (record.nodes or record.phase != "end")
    return Attempt(cluster, record.job, record.submit, record.start if ran and record.start is not None else -1)


class Heard(msgspec.Struct, frozen=True, gc=False, tag="heard", tag_field="told"):
    """A source was heard on a host in a bucket of event time; as hosts keeps it, in the buckets of a day."""

    source: Source
    bucket: int  # start of the bucket, or of the day, UTC ms
    bits: bytes = b""  # of a day: bit n, little-endian, for its n-th bucket
    width: int = 0  # of these buckets, ms


class Touch(msgspec.Struct, frozen=True, gc=False, tag="touch", tag_field="told"):
    """A signal reached, or tried to reach, a process that belongs to an attempt."""

    attempt: Attempt
    event: Event  # body: SignalSent
    matched: str  # pid: the probe named the process | owner: only its user fits | host: only the node fits
    job_pid: bool  # the target is a process that the probe or the launcher named


class NodeTouch(msgspec.Struct, frozen=True, gc=False, tag="node_touch", tag_field="told"):
    """Something befell a node on which the attempt ran: Xid, out of memory, a watched command or file, an alert (hosts/index.py)."""

    attempt: Attempt
    event: Event
    job_pid: bool  # it names a process of the attempt


class HostCoverage(msgspec.Struct, frozen=True, gc=False, tag="host_coverage", tag_field="told"):
    """The buckets of a day, around an attempt's end and others' signals, in which a source was heard on one of its hosts."""

    attempt: Attempt
    host: str
    source: Source
    buckets: tuple[int, ...]  # starts of buckets, UTC ms, ascending


class ArtefactUse(msgspec.Struct, frozen=True, gc=False, tag="artefact_use", tag_field="told"):
    """A load, with one save, one write, or the last load of other bytes that came before it.

    The judge picks the last save and the writes after it; of modules and hooks nobody tells a save.
    """

    load: Event  # body: CheckpointLoaded, ModuleImported, HookFound
    before: Event | None  # body: CheckpointSaved, FileTouched, or that of a load; None: the load itself


class Displaced(msgspec.Struct, frozen=True, gc=False, tag="displaced", tag_field="told"):
    """An attempt was preempted on a host, and one of the identity's attempts began there when it was gone.

    Or it was kept waiting: it began there when one of the identity's was gone.
    """

    victim: Attempt
    victim_uid: int | None
    by: Attempt
    event: Event  # body: JobRecord, the end of the victim; of one that waited any word of it
    waited: bool = False


class Worked(msgspec.Struct, frozen=True, gc=False, tag="worked", tag_field="told"):
    """An attempt of the identity wrote steps of training: it did not only hold what it was given."""

    attempt: Attempt
    event: Event  # its first step that is known


class Emitted(msgspec.Struct, frozen=True, gc=False, tag="emitted", tag_field="told"):
    """What a stage last published, or told of an attempt, under an id: so that only changes are said."""

    subject: str  # id of a finding, verdict or incident; of what jobs tell of an attempt, its name
    revision: int
    digest: str  # of the canonical body
    body: bytes = b""  # of a finding, or what a verdict was on, encoded: what a retraction takes back
    retracted: bool = False
    settings: str = ""  # digest of those under which a finding or verdict was said


class Tombstone(msgspec.Struct, frozen=True, gc=False, tag="tombstone", tag_field="told"):
    """An evicted case: later facts of these attempts are counted, never judged on half the evidence."""

    attempts: tuple[Attempt, ...]
    findings: tuple[tuple[str, str], ...]  # (finding id, digest of the last canonical body)
    end: int = 0  # of the last of them: what happened before belongs to no attempt that is still to come


Told = Event | Heard | Touch | NodeTouch | HostCoverage | ArtefactUse | Displaced | Worked | Emitted | Tombstone

EMITTED = "emitted/"  # begins the ids of facts that say what was said


def emitted_name(subject: str) -> str:
    """The fact under which a stage remembers what it last said."""
    return f"{EMITTED}{subject}"


encode_told = msgspec.msgpack.Encoder().encode
decode_told = msgspec.msgpack.Decoder(Told).decode


def heard_in(source: Source, buckets: Collection[int], width: int) -> Heard:
    """One fact for buckets of a width, of which there is at least one; at best of one day."""
    first = min(buckets)
    if len(buckets) == 1:
        return Heard(source, first, b"\x01", width)
    bits = sum(1 << (bucket - first) // width for bucket in buckets)
    return Heard(source, first, bits.to_bytes((bits.bit_length() + 7) // 8, "little"), width)


def buckets_in(told: Heard) -> Iterator[int]:
    """Starts of the buckets that the fact speaks of."""
    if not told.bits:
        yield told.bucket
        return
    bits = int.from_bytes(told.bits, "little")
    while bits:
        yield told.bucket + ((bits & -bits).bit_length() - 1) * told.width
        bits &= bits - 1
