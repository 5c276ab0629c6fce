"""A JSON line of trainwatch's own probe in; one event out: a rank started, bytes were saved, loaded or imported.

The probe runs inside the job and prints to the job's own output, so its lines come through whatever collects that output, possibly
behind the label of `srun -l` or torchrun's `[default0]:`.  It is the only source of hashes.  It is also only as trustworthy as the
job: a user can print such a line, and a finding that rests on the probe alone says so.

    {"trainwatch_probe":1,"kind":"checkpoint_saved","time_ms":1772480441318,"host":"gpu-001","job":"48213","pid":4711,"uid":5012,
     "path":"/lustre/run7/step100.pt","sha256":"<64 hex digits>","size_bytes":1048576}

The schema stands in `schemas/events/trainwatch_probe.v1.schema.json`; this module is as strict: types, digits of hashes, absolute
paths without `.` or `..`, lengths.  Hashes come out in lower case.  Keys that this version does not know pass through.
"""

import posixpath
import re
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from pipeline.errors import SchemaMismatch, UnknownFormat
from pipeline.formats.fields import checked_time, json_object, typed, unmapped
from pipeline.formats.line import Line, Reading
from pipeline.model.events import CheckpointLoaded, CheckpointSaved, ModuleImported, Parsed, ProcessStarted
from pipeline.model.source import Source

VERSION = 1
_MARK = b'{"trainwatch_probe":'
# What a launcher puts before a line of a rank.
_LABEL = re.compile(rb" {0,8}(?:[0-9]{1,7}: ?|\[[A-Za-z_.-]{0,32}[0-9]{1,7}\]: ?)")

_Pid = Annotated[int, msgspec.Meta(ge=1, le=4_194_304)]  # Linux' own limit
_Uid = Annotated[int, msgspec.Meta(ge=0, le=0xFFFFFFFE)]
_Rank = Annotated[int, msgspec.Meta(ge=0, le=10_000_000)]
_Size = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Host = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9._-]{1,253}\Z")]
_Job = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9._+-]{1,64}\Z")]
_Sha256 = Annotated[str, msgspec.Meta(pattern=r"\A[0-9A-Fa-f]{64}\Z")]
_Path = Annotated[str, msgspec.Meta(pattern=r"\A/[^\x00]{0,4095}\Z")]
_Module = Annotated[str, msgspec.Meta(pattern=r"\A\S{1,512}\Z")]


class _Wire(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="kind"):
    """What every line has."""

    trainwatch_probe: Literal[1]
    time_ms: int
    host: _Host
    job: _Job
    pid: _Pid
    uid: _Uid | None = None


class _Started(_Wire, frozen=True, gc=False, kw_only=True, tag="process_started"):
    rank: _Rank | None = None
    local_rank: _Rank | None = None


class _Saved(_Wire, frozen=True, gc=False, kw_only=True, tag="checkpoint_saved"):
    path: _Path
    sha256: _Sha256
    size_bytes: _Size | None = None


class _Loaded(_Wire, frozen=True, gc=False, kw_only=True, tag="checkpoint_loaded"):
    path: _Path
    sha256: _Sha256
    size_bytes: _Size | None = None


class _Imported(_Wire, frozen=True, gc=False, kw_only=True, tag="module_imported"):
    module: _Module
    path: _Path
    sha256: _Sha256


_KINDS: dict[str, type[_Started | _Saved | _Loaded | _Imported]] = {
    "process_started": _Started,
    "checkpoint_saved": _Saved,
    "checkpoint_loaded": _Loaded,
    "module_imported": _Imported,
}
_KNOWN = {kind: frozenset({"kind", *model.__struct_fields__}) for kind, model in _KINDS.items()}


class Probe:
    """Our own JSON lines."""

    name = "probe"
    source = Source.PROBE

    def claims(self, payload: bytes) -> bool:
        """An object that says it is one of ours, also behind a launcher's label."""
        if payload[:1] == b"{":
            return b'"trainwatch_probe"' in payload
        return _MARK in payload[:64]

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:  # noqa: ARG002 - the probe writes UTC, host and job
        """One event."""
        value = json_object(_object(line.payload))
        if "trainwatch_probe" not in value:
            raise UnknownFormat("an object that is not the probe's")
        kind = str(value.get("kind"))
        model = _KINDS.get(kind)
        if model is None:
            raise SchemaMismatch("the probe knows no such kind")
        wire = typed(value, model)
        return (
            Parsed(
                source=Source.PROBE,
                body=_body(wire),
                event_time=checked_time(wire.time_ms),
                host=wire.host,
                unmapped=unmapped(value, _KNOWN[kind]),
            ),
        )


def _object(payload: bytes) -> bytes:
    if payload[:1] == b"{":
        return payload
    label = _LABEL.match(payload)
    if label is None or not payload.startswith(_MARK, label.end()):
        raise UnknownFormat("not an object behind a launcher's label")
    return payload[label.end() :]


def _body(wire: _Started | _Saved | _Loaded | _Imported) -> ProcessStarted | CheckpointSaved | CheckpointLoaded | ModuleImported:
    if isinstance(wire, _Started):
        return ProcessStarted(job=wire.job, pid=wire.pid, uid=wire.uid, rank=wire.rank, local_rank=wire.local_rank, host=wire.host)
    path, sha256 = _normal(wire.path), wire.sha256.lower()
    if isinstance(wire, _Imported):
        return ModuleImported(job=wire.job, module=wire.module, path=path, sha256=sha256, pid=wire.pid, host=wire.host)
    body = CheckpointSaved if isinstance(wire, _Saved) else CheckpointLoaded
    return body(job=wire.job, path=path, sha256=sha256, pid=wire.pid, uid=wire.uid, size_bytes=wire.size_bytes, host=wire.host)


def _normal(path: str) -> str:
    """The path, which must name its file in one way only: it is what a save and a load are matched by."""
    if path.startswith("//") or posixpath.normpath(path) != path:
        raise SchemaMismatch("a path is not normalised")
    return path


FORMAT = Probe()
