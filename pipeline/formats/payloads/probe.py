"""A JSON line of trainwatch's own probe in; one event out: a rank started, bytes were saved, loaded or imported, or code did something.

The probe runs inside the job and prints to the job's own output, so its lines come through whatever collects that output, possibly
after the label of `srun -l` or torchrun's `[default0]:`.  It is the only source of hashes.  It is also only as trustworthy as the
job: a user can print such a line, and a finding that rests on the probe alone says so.

    {"trainwatch_probe":1,"kind":"checkpoint_saved","time_ms":1772480441318,"host":"gpu-001","job":"48213","pid":4711,"uid":5012,
     "path":"/lustre/run7/step100.pt","sha256":"<64 hex digits>","size_bytes":1048576}

A line may lack the job, where the probe found no id of a scheduler: it is then the job whose output it is.  What the probe tells of
code's doings (unpickling, programs, signals, sockets) it tells before they are done: they are attempts.

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
from pipeline.model.events import (
    AnyBody,
    CheckpointLoaded,
    CheckpointSaved,
    EnvironmentSet,
    GlobalUnpickled,
    HookFound,
    ModuleImported,
    Parsed,
    ProbeNote,
    ProcessSpawned,
    ProcessStarted,
    SignalRequested,
    SocketUsed,
)
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
_Variable = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z_][A-Za-z0-9_]{0,127}\Z")]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
_Text = Annotated[str, msgspec.Meta(max_length=4096)]
_Address = Annotated[str, msgspec.Meta(max_length=255)]
_Arguments = Annotated[tuple[_Text, ...], msgspec.Meta(max_length=64)]
_Target = Annotated[int, msgspec.Meta(ge=-4_194_304, le=4_194_304)]
_Signal = Annotated[int, msgspec.Meta(ge=1, le=64)]
_Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]


class _Wire(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="kind"):
    """What every line has."""

    trainwatch_probe: Literal[1]
    time_ms: int
    host: _Host
    job: _Job | None = None
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
    cached_sha256: _Sha256 | None = None


class _Hook(_Wire, frozen=True, gc=False, kw_only=True, tag="hook_found"):
    hook: Literal["sitecustomize", "usercustomize", "pth", "startup"]
    path: _Path
    sha256: _Sha256
    size_bytes: _Size | None = None
    executes: bool | None = None


class _Environment(_Wire, frozen=True, gc=False, kw_only=True, tag="environment_set"):
    name: _Variable
    sha256: _Sha256
    value: _Text | None = None


class _Unpickled(_Wire, frozen=True, gc=False, kw_only=True, tag="global_unpickled"):
    module: _Name
    name: _Name
    path: _Path | None = None


class _Spawned(_Wire, frozen=True, gc=False, kw_only=True, tag="process_spawned"):
    means: Literal["subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"]
    executable: _Text
    arguments: _Arguments


class _Signalled(_Wire, frozen=True, gc=False, kw_only=True, tag="signal_requested"):
    means: Literal["os.kill", "os.killpg", "signal.pthread_kill"]
    signal: _Signal
    target_pid: _Target
    through: _Arguments = ()


class _Socket(_Wire, frozen=True, gc=False, kw_only=True, tag="socket_used"):
    action: Literal["connect", "bind"]
    address: _Address
    port: _Port


class _Note(_Wire, frozen=True, gc=False, kw_only=True, tag="probe_note"):
    what: Literal["left_out", "too_large", "not_hashed", "changed_while_hashing", "failed", "exiting"]
    about: _Name | None = None
    count: _Size | None = None
    path: _Path | None = None
    text: _Text | None = None


_AnyWire = _Started | _Saved | _Loaded | _Imported | _Hook | _Environment | _Unpickled | _Spawned | _Signalled | _Socket | _Note
_KINDS: dict[str, type[_AnyWire]] = {
    "process_started": _Started,
    "checkpoint_saved": _Saved,
    "checkpoint_loaded": _Loaded,
    "module_imported": _Imported,
    "hook_found": _Hook,
    "environment_set": _Environment,
    "global_unpickled": _Unpickled,
    "process_spawned": _Spawned,
    "signal_requested": _Signalled,
    "socket_used": _Socket,
    "probe_note": _Note,
}
_KNOWN = {kind: frozenset({"kind", *model.__struct_fields__}) for kind, model in _KINDS.items()}


class Probe:
    """Our own JSON lines."""

    name = "probe"
    source = Source.PROBE
    begins = (b'{"trainwatch_probe"',)
    in_object = True

    def claims(self, payload: bytes) -> bool:
        """An object that says it is one of ours, also after a launcher's label."""
        if payload[:1] == b"{":
            return b'"trainwatch_probe"' in payload
        return _MARK in payload[:64]

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:  # noqa: ARG002 - the probe writes UTC, host and job
        """One event."""
        value = json_object(_object(line.payload))
        if "trainwatch_probe" not in value:
            raise UnknownFormat("an object that is not the probe's")
        kind = found if isinstance(found := value.get("kind"), str) else ""
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


def _body(wire: _AnyWire) -> AnyBody:
    job, pid, uid, host = wire.job or "", wire.pid, wire.uid, wire.host
    match wire:
        case _Started():
            return ProcessStarted(job=job, pid=pid, uid=uid, rank=wire.rank, local_rank=wire.local_rank, host=host)
        case _Saved() | _Loaded():
            body = CheckpointSaved if isinstance(wire, _Saved) else CheckpointLoaded
            path, sha256 = _normal(wire.path), wire.sha256.lower()
            return body(job=job, path=path, sha256=sha256, pid=pid, uid=uid, size_bytes=wire.size_bytes, host=host)
        case _Imported():
            path, sha256, cached = _normal(wire.path), wire.sha256.lower(), (wire.cached_sha256 or "").lower()
            return ModuleImported(job=job, module=wire.module, path=path, sha256=sha256, pid=pid, host=host, cached_sha256=cached)
        case _Hook():
            path, sha256, size = _normal(wire.path), wire.sha256.lower(), wire.size_bytes
            return HookFound(
                job=job, hook=wire.hook, path=path, sha256=sha256, executes=wire.executes, size_bytes=size, pid=pid, uid=uid, host=host
            )
        case _Environment():
            sha256, value = wire.sha256.lower(), wire.value or ""
            return EnvironmentSet(job=job, name=wire.name, sha256=sha256, value=value, pid=pid, uid=uid, host=host)
        case _Unpickled():
            path = _normal(wire.path) if wire.path else ""
            return GlobalUnpickled(job=job, module=wire.module, name=wire.name, path=path, pid=pid, uid=uid, host=host)
        case _Spawned():
            means, executable = wire.means, wire.executable
            return ProcessSpawned(job=job, means=means, executable=executable, arguments=wire.arguments, pid=pid, uid=uid, host=host)
        case _Signalled():
            target, through = wire.target_pid, wire.through
            return SignalRequested(
                job=job, signal=wire.signal, target_pid=target, means=wire.means, pid=pid, uid=uid, host=host, through=through
            )
        case _Socket():
            return SocketUsed(job=job, action=wire.action, address=wire.address, port=wire.port, pid=pid, uid=uid, host=host)
        case _Note():
            path, about, text = _normal(wire.path) if wire.path else "", wire.about or "", wire.text or ""
            return ProbeNote(job=job, what=wire.what, about=about, count=wire.count, path=path, text=text, pid=pid, uid=uid, host=host)


def _normal(path: str) -> str:
    """The path, which must name its file in one way only: it is what a save and a load are matched by."""
    if path.startswith("//") or posixpath.normpath(path) != path:
        raise SchemaMismatch("a path is not normalised")
    return path


FORMAT = Probe()
