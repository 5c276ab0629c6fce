"""A record's value and headers in; its lines out.  A line in; the format that reads it and its events out.

The two tuples are the list of formats: a new one is one line here.  Envelopes are asked in order, and the raw line takes what
is left.  A payload's format is pinned by the settings of its source, or sniffed: formats are asked in order whether they claim the
line, cheaply and mostly by its first bytes, and the first that can read it wins.  A claim may be wrong: UnknownFormat from
`parse` passes the line on; any other rejection is final, because the format knew the line for its own.

Nothing is remembered between lines.  A format last seen for a file would be quicker to find, and would make the answer depend on
what came before.
"""

from collections.abc import Sequence
from functools import lru_cache

from pipeline.errors import ConfigError, RejectedRecord, UnknownFormat
from pipeline.formats.envelopes import json_wrapper, raw
from pipeline.formats.line import Envelope, Headers, Line, Payload, Reading
from pipeline.formats.payloads import (
    auditbeat,
    auditd,
    cloudtrail,
    deepspeed,
    elastic,
    falco,
    git_push,
    hdfs_audit,
    hf_trainer,
    jobcomp_filetxt,
    json_logger,
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
    wazuh,
)
from pipeline.model.events import Parsed
from pipeline.model.source import Source

ENVELOPES: tuple[Envelope, ...] = (
    json_wrapper.ENVELOPE,
    raw.ENVELOPE,
)

# The order settles which of two claims is tried first: formats with an unmistakable start come before those that look inside the
# line, and torchrun, which claims whatever looks like an error, is asked last.
PAYLOADS: tuple[Payload, ...] = (
    probe.FORMAT,
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
    sshd.FORMAT,
    kernel.FORMAT,
    laurel.FORMAT,
    auditbeat.FORMAT,
    kubernetes_audit.FORMAT,
    falco.FORMAT,
    tetragon.FORMAT,
    hdfs_audit.FORMAT,
    git_push.FORMAT,
    cloudtrail.FORMAT,
    minio.FORMAT,
    s3_access.FORMAT,
    lustre_changelog.FORMAT,
    teleport.FORMAT,
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
    "probe", "slurm_jobcomp", "auditbeat", "kubernetes_audit", "tetragon", "git_push", "cloudtrail", "minio",
    "laurel", "falco", "teleport", "wazuh", "osquery",
})  # fmt: skip

_BY_NAME = {format_.name: format_ for format_ in PAYLOADS}


def unwrap(value: bytes, headers: Headers) -> list[Line]:
    """The lines of a record.  Raises DecodeError when its envelope is broken."""
    for envelope in ENVELOPES:
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
    formats = (by_name(pinned),) if pinned else _allowed(allowed, line.payload[:1] == b"{")
    for format_ in formats:
        if pinned or format_.claims(line.payload):
            try:
                return format_, format_.parse(line, reading)
            except UnknownFormat:
                continue
            except RejectedRecord as error:
                error.format = format_.name
                raise
    raise UnknownFormat("no format reads this line")


@lru_cache
def _allowed(sources: frozenset[Source], is_object: bool) -> tuple[Payload, ...]:
    formats = [format_ for format_ in PAYLOADS if format_.source in sources]
    return tuple(sorted(formats, key=lambda format_: is_object and format_.name not in _OBJECTS))


def by_name(name: str) -> Payload:
    """The format that settings pin."""
    format_ = _BY_NAME.get(name)
    if format_ is None:
        raise ConfigError(f"unknown format {name!r}", advice=f"Use one of: {', '.join(sorted(_BY_NAME))}.")
    return format_
