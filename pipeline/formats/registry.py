"""A record's value and headers in; its lines out.  A line in; the format that reads it and its events out.

The two tuples are the list of formats: a new one is one line here.  Envelopes are asked in order, those alone whose values begin as
this one does, and the raw line takes what is left.  A payload's format is pinned by the settings of its source, or sniffed: formats
are asked in order whether they claim the line, cheaply and mostly by its first bytes, and the first that can read it wins.  A claim may
be wrong: UnknownFormat from `parse` passes the line on; any other rejection is final, because the format knew the line for its own.

Nothing is remembered between lines: the answer must not depend on what came before.  What keeps sniffing cheap instead stands in
choosing.py.
"""

from collections.abc import Sequence
from functools import lru_cache

import msgspec

from pipeline.errors import ConfigError, RejectedRecord, UnknownFormat
from pipeline.formats import syslog
from pipeline.formats.choosing import Candidates
from pipeline.formats.envelopes import (
    cloud_records,
    cloudwatch,
    compressed,
    container,
    gelf,
    json_array,
    json_lines,
    json_wrapper,
    kubernetes_list,
    msgpack,
    otlp,
    otlp_protobuf,
    raw,
    syslog_wire,
)
from pipeline.formats.envelopes.nesting import Batches, Dated, by_beginning, first_of
from pipeline.formats.line import Envelope, Headers, Line, Payload, Reading
from pipeline.formats.payloads import (
    auditbeat,
    auditd,
    bootstrap,
    cloudtrail,
    deepspeed,
    elastic,
    falco,
    git_push,
    hdfs_audit,
    hf_trainer,
    jobcomp_filetxt,
    json_logger,
    jumpserver,
    kernel,
    kubernetes_audit,
    kubernetes_events,
    laurel,
    lightning,
    lsf,
    lustre_changelog,
    megatron,
    minio,
    mllog,
    nccl,
    osquery,
    pbs,
    probe,
    ray_jobs,
    s3_access,
    sacct,
    sacct_json,
    slurm_jobcomp,
    slurmctld,
    slurmd,
    slurmstepd,
    sshd,
    teleport,
    tetragon,
    torchrun,
    volcano,
    wazuh,
)
from pipeline.model.events import Parsed
from pipeline.model.source import FAMILIES, Source

# What may stand inside another envelope is less than what may be a record: nothing nests without end.
_RAW = first_of(raw.ENVELOPE)
_WRAPPERS: tuple[Envelope, ...] = (json_wrapper.ENVELOPE, gelf.ENVELOPE)  # an object that carries one line
_CLOUD_RECORDS = cloud_records.CloudRecords(_RAW)
_WRAPPER_OR_EVENT = first_of(*_WRAPPERS, _CLOUD_RECORDS, raw.ENVELOPE)
_BATCHES = (otlp.Otlp(_WRAPPER_OR_EVENT), cloudwatch.ENVELOPE, kubernetes_list.KubernetesList(_RAW), _CLOUD_RECORDS)
_JSON_LINES = json_lines.JsonLines(first_of(*_WRAPPERS, *_BATCHES, raw.ENVELOPE))
_JSON_ARRAY, _OTLP_PROTOBUF = json_array.JsonArray(_WRAPPER_OR_EVENT), otlp_protobuf.OtlpProtobuf(_WRAPPER_OR_EVENT)
_MSGPACK = msgpack.Msgpack(_WRAPPER_OR_EVENT)
_COMPRESSED = compressed.Compressed(
    first_of(*_WRAPPERS, *_BATCHES, _JSON_LINES, _JSON_ARRAY, _OTLP_PROTOBUF, syslog_wire.ENVELOPE, raw.ENVELOPE)
)

ENVELOPES: tuple[Envelope, ...] = (
    *_WRAPPERS,
    *_BATCHES,
    _JSON_LINES,
    _JSON_ARRAY,
    _OTLP_PROTOBUF,
    _MSGPACK,
    _COMPRESSED,
    syslog_wire.ENVELOPE,
    container.ENVELOPE,
    raw.ENVELOPE,
)

# The order settles which of two claims is tried first: formats with an unmistakable start come before those that look inside the
# line, and torchrun, which claims whatever looks like an error, is asked last.
PAYLOADS: tuple[Payload, ...] = (
    probe.FORMAT,
    bootstrap.FORMAT,
    slurm_jobcomp.FORMAT,
    slurmctld.FORMAT,
    auditd.FORMAT,
    sacct.FORMAT,
    slurmd.FORMAT,
    jobcomp_filetxt.FORMAT,
    sacct_json.FORMAT,
    pbs.FORMAT,
    lsf.FORMAT,
    ray_jobs.FORMAT,
    kubernetes_events.FORMAT,
    volcano.FORMAT,
    hdfs_audit.FORMAT,
    s3_access.FORMAT,
    lustre_changelog.FORMAT,
    sshd.FORMAT,
    kernel.FORMAT,
    laurel.FORMAT,
    auditbeat.FORMAT,
    kubernetes_audit.FORMAT,
    falco.FORMAT,
    tetragon.FORMAT,
    git_push.FORMAT,
    cloudtrail.FORMAT,
    minio.FORMAT,
    teleport.FORMAT,
    jumpserver.FORMAT,
    wazuh.FORMAT,
    osquery.FORMAT,
    slurmstepd.FORMAT,
    deepspeed.FORMAT,
    megatron.FORMAT,
    mllog.FORMAT,
    elastic.FORMAT,
    nccl.FORMAT,
    lightning.FORMAT,
    hf_trainer.FORMAT,
    json_logger.FORMAT,
    torchrun.FORMAT,
)

# Formats whose lines are objects.  One is offered to them first: the others look inside it for what it may merely quote.
_OBJECTS = frozenset({
    "probe", "bootstrap", "slurm_jobcomp", "auditbeat", "kubernetes_audit", "tetragon", "git_push", "cloudtrail", "minio",
    "laurel", "falco", "teleport", "wazuh", "osquery",
})  # fmt: skip

_ARRANGED: dict[frozenset[Source], Candidates] = {}
_BY_NAME = {format_.name: format_ for format_ in PAYLOADS}
_ASKED = by_beginning((
    *_WRAPPERS, Batches(*_BATCHES, _JSON_LINES), _JSON_ARRAY, _OTLP_PROTOBUF, _MSGPACK, _COMPRESSED, syslog_wire.ENVELOPE,
    raw.ENVELOPE,
)) | {b"20": (Dated(container.ENVELOPE, syslog_wire.ENVELOPE), raw.ENVELOPE)}  # fmt: skip
_ONLY_RAW = (raw.ENVELOPE,)
_OF_JOBS = FAMILIES["training"]
_NAMES_OF_JOBS = frozenset(format_.name for format_ in PAYLOADS if format_.source in _OF_JOBS)
_DAEMONS = {"slurmctld": "slurm", "slurmd": "slurm"}  # what of formats that live in the system log is in their programs' names
_NOBODY = Candidates((), frozenset())
_Read = tuple[Payload, Sequence[Parsed]]


def unwrap(value: bytes, headers: Headers) -> list[Line]:
    """The lines of a record.  Raises DecodeError when its envelope is broken, RecordTooLarge when it holds too many lines."""
    for envelope in _ASKED.get(value[:2], _ONLY_RAW):
        lines = envelope.unwrap(value, headers)
        if lines is not None:
            return lines
    raise UnknownFormat("no envelope takes this value")


def parse(
    line: Line, reading: Reading, pinned: str = "", allowed: frozenset[Source] = frozenset(Source)
) -> tuple[Payload, Sequence[Parsed]]:
    """The format that reads the line, and its events; only formats of `allowed` sources are asked, unless one is pinned.

    Raises a RejectedRecord; ConfigError when no format is called `pinned`.
    """
    if pinned:
        format_ = _BY_NAME.get(pinned) or by_name(pinned)
        if pinned in _NAMES_OF_JOBS and line.payload[:1] == b"<" and (carried := _carried(line, reading, _NOBODY, format_)) is not None:
            return carried
        try:
            return _read(format_, line, reading)
        except RejectedRecord:
            if (carried := _carried(line, reading, _NOBODY, format_)) is None:
                raise
            return carried
    payload = line.payload
    try:
        candidates = _ARRANGED[allowed]
    except KeyError:
        candidates = _arranged(allowed)
    # Whether a line is its own that a format cannot read, and broken, is found below.
    where, named, match, told = candidates.offered[payload[0] if payload else 0]
    first = named.get(payload[where]) if named else None
    if first is None and (found := match(payload)) is not None:
        first = told[found.lastindex]
    if first is not None:
        try:
            if not line.tagged or not _is_anothers(line, first):
                return first, _tagged(first, line, first.parse(line, reading))
        except RejectedRecord:
            pass
    if payload[:1] == b"<" and allowed <= _OF_JOBS and (carried := _carried(line, reading, candidates)) is not None:
        return carried  # their formats find much in the middle of a line, and would lose whose rank it is
    for format_ in candidates.of(payload):
        if format_.claims(payload) and (not line.tagged or not _is_anothers(line, format_)):
            try:
                return _read(format_, line, reading)
            except UnknownFormat:
                continue
    if (carried := _carried(line, reading, candidates)) is not None:
        return carried
    raise UnknownFormat("no format reads this line")


def claimant(payload: bytes, allowed: frozenset[Source]) -> Payload | None:
    """The format that claims the beginning of a line, the rest of which is elsewhere."""
    candidates = _ARRANGED.get(allowed) or _arranged(allowed)
    return next((format_ for format_ in candidates.of(payload) if format_.claims(payload)), None)


# --- after a frame of syslog -----------------------------------------------------------------------------------------------------
#
# Daemons carry any file's lines (`<133>1 2026-03-02T.. nn1 hdfs-audit - - - 2026-03-02 19:40:41,161 INFO FSNamesystem.audit: ..`).  Asked
# only about a line that nobody reads as it is, so others pay nothing, and never for formats that live in the system log: after a frame
# there may be a whole line of sshd that somebody made up.  Anybody can send a line to syslog, so the frame's program must be one of the
# format's, unless the settings pin it; of a job's output nobody expects a name.


def _carried(line: Line, reading: Reading, candidates: Candidates, pinned: Payload | None = None) -> _Read | None:
    """The format that reads what a syslog daemon carries, and its events, on the frame's host; None: nobody."""
    if (pinned is not None and pinned.name not in _of_program(None)) or (found := syslog.carried(line, reading)) is None:
        return None
    inner, frame = found
    if pinned is None:
        names = _of_program(frame.program.lower())
        formats = [format_ for format_ in candidates.of(inner.payload) if format_.name in names and format_.claims(inner.payload)]
    else:
        formats = [pinned]
    for format_ in formats:
        try:
            events = _read(format_, inner, reading)[1]
        except UnknownFormat:
            continue
        # A job may print what looks like a frame, with any host.
        host = "" if line.host or format_.source in _OF_JOBS else frame.host
        return format_, [_framed(event, host, frame) for event in events]
    return None


def _tagged(format_: Payload, line: Line, events: Sequence[Parsed]) -> Sequence[Parsed]:
    """The events, with the program in whose name an object stood in a system log: its format takes the prefix off without a word."""
    if line.payload[:1] == b"{" or format_.name not in _OBJECTS:
        return events
    tag = syslog.program_of(syslog.text_of(line.payload)) or syslog.NO_TAG
    return [msgspec.structs.replace(event, tag=tag) for event in events]


def _framed(event: Parsed, host: str, frame: syslog.SyslogLine) -> Parsed:
    time = frame.time if event.event_time is None else event.event_time
    return msgspec.structs.replace(event, host=event.host or host, event_time=time, tag=frame.tag)


def _is_anothers(line: Line, format_: Payload) -> bool:
    """Does the line's sender call himself a program that does not write in this format, and no file is named?"""
    if line.file:
        return False
    name = format_.name
    if name in _DAEMONS:
        return _DAEMONS[name] not in line.program.lower()
    return name in _of_program(None) and name not in _of_program(line.program.lower())


@lru_cache(maxsize=1024)
def _of_program(program: str | None) -> frozenset[str]:
    """Names of the formats in which a program writes; None: of all that syslog may carry."""
    return frozenset(
        format_.name
        for format_ in PAYLOADS
        if format_.source in _OF_JOBS
        or ((programs := getattr(format_, "programs", ())) and (program is None or any(part in program for part in programs)))
    )


def _read(format_: Payload, line: Line, reading: Reading) -> tuple[Payload, Sequence[Parsed]]:
    try:
        return format_, _tagged(format_, line, format_.parse(line, reading))
    except UnknownFormat:
        raise
    except RejectedRecord as error:
        error.format = format_.name
        raise


def _arranged(sources: frozenset[Source]) -> Candidates:
    """Asked once for the sources of each topic, which the settings name."""
    arranged = _ARRANGED[sources] = Candidates([format_ for format_ in PAYLOADS if format_.source in sources], _OBJECTS)
    return arranged


def by_name(name: str) -> Payload:
    """The format that settings pin."""
    format_ = _BY_NAME.get(name)
    if format_ is None:
        raise ConfigError(f"unknown format {name!r}", advice=f"Use one of: {', '.join(sorted(_BY_NAME))}.")
    return format_
