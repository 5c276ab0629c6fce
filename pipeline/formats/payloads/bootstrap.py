"""A job that was there when its cluster's logs began to be read in; its record, and since when there is history, out.

    {"trainwatch_bootstrap":1,"taken":1772451641000,"listed_by":"squeue","job":{"job":"48213","state":"RUNNING","owner_uid":5017,
      "owner":"u017","submit":1772448000000,"start":1772448041000,"nodes":["gpu-001","gpu-002"]}}

`trainwatch bootstrap` writes these out of what the scheduler lists (formats/listing.py).  They are records like all others, so that they
are replayed, accounted for and judged like all others; a family of their own, because a list proves nothing about the shippers of
accounting logs.  Their time is when the list was taken: what it says was true then.

Holds: each job of a list and time has ids of its own, so that the same list sent twice says nothing new.
"""

from collections.abc import Sequence
from typing import Annotated

import msgspec

from pipeline.errors import SchemaMismatch, UnknownFormat
from pipeline.formats.fields import checked_time, json_object, typed
from pipeline.formats.line import Line, Reading
from pipeline.formats.payloads.slurm_jobcomp import own_id
from pipeline.model.events import HistoryBegins, JobRecord, Parsed
from pipeline.model.source import Source

VERSION = 1
NODES_MAX = 16_384
_START = b'{"trainwatch_bootstrap":'
_Text = Annotated[str, msgspec.Meta(max_length=4096)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
_Number = Annotated[int, msgspec.Meta(ge=0, le=0xFFFFFFFF)]


class ListedJob(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a list says of a job that is not over."""

    job: _Name
    state: Annotated[str, msgspec.Meta(max_length=32)]  # RUNNING, PENDING, SUSPENDED ...
    owner_uid: _Number | None = None
    owner: _Text = ""
    account: _Text = ""
    partition: _Text = ""
    qos: _Text = ""
    name: _Text = ""
    submit: int | None = None  # UTC ms, as the next two
    start: int | None = None
    nodes: Annotated[tuple[_Name, ...], msgspec.Meta(max_length=NODES_MAX)] = ()
    gpus: _Number | None = None
    restarts: _Number | None = None
    time_limit_seconds: _Number | None = None
    work_dir: _Text = ""
    std_out: _Text = ""
    array: _Text = ""
    het: _Text = ""


class _Wire(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    trainwatch_bootstrap: int
    taken: int
    listed_by: Annotated[str, msgspec.Meta(max_length=32)]
    job: ListedJob


class Bootstrap:
    """Our own record of a listed job."""

    name = "bootstrap"
    source = Source.BOOTSTRAP
    begins = (_START,)

    def claims(self, payload: bytes) -> bool:
        """By its first key."""
        return payload.startswith(_START)

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:  # noqa: ARG002 - complete in itself
        """The job, and that history begins.  Raises UnknownFormat for other objects, SchemaMismatch."""
        if not self.claims(line.payload):
            raise UnknownFormat("no listed job")
        wire = typed(json_object(line.payload), _Wire)
        if wire.trainwatch_bootstrap != VERSION:
            raise SchemaMismatch(f"version {wire.trainwatch_bootstrap} of a listed job; this release reads {VERSION}")
        taken, listed = checked_time(wire.taken), wire.job
        for time in (listed.submit, listed.start):
            if time is not None:
                checked_time(time)
        record = JobRecord(phase="other" if listed.start is None else "start", **msgspec.structs.asdict(listed))
        begins = HistoryBegins(job=listed.job, at=taken)
        attempt = f"{own_id(record)}/{taken}"
        rest = {"listed_by": wire.listed_by}
        return tuple(
            Parsed(source=Source.BOOTSTRAP, body=body, event_time=taken, own_id=attempt, unmapped=rest) for body in (record, begins)
        )


def encode(listed: ListedJob, taken: int, listed_by: str) -> bytes:
    """The line of a job in a list that was taken at a time, UTC ms."""
    return msgspec.json.encode(_Wire(trainwatch_bootstrap=VERSION, taken=taken, listed_by=listed_by, job=listed))


FORMAT = Bootstrap()
