"""Sections `sources`, `artefact_roots` and `ingest`: what records do not say themselves, and the bounds of decoding."""

import re
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator

from pipeline.settings.part import Part


class ArtefactRootSettings(Part):
    """A folder whose files are artefacts worth a history, and who may write there."""

    path: str = Field(pattern=r"^(/|(s3|git)://)", description="absolute folder, s3://bucket/prefix, or git://owner/repository")
    kind: Literal["checkpoint", "environment", "framework", "hook", "dataset", "diagnostics"] = Field(
        "checkpoint", description="what lies there"
    )
    owner: str = Field("", description="identity id of the owner; empty: the job's owner")
    writers: tuple[str, ...] = Field((), description="identity ids that may write there, e.g. a resharding service")


JsonMeaning = Literal["step", "loss", "learning_rate", "grad_norm", "consumed_samples", "time"]


class SourceSettings(Part):
    """How to read the records of one source: which records it means, and what they do not say themselves."""

    name: str = Field(min_length=1, description="name of the source")
    topic: str = Field("", description="input topic; empty: any")
    program: str = Field("", description="program or source header; empty: any")
    file: str = Field("", description="regular expression on the file name; empty: any")
    hosts: str = Field("", description="regular expression on the host that the shipper names; empty: any")
    cluster_header: str = Field("", description="only records whose Kafka header of this name says `cluster`; empty: any")
    cluster_field: str = Field(
        "", description="only records whose shipper says `cluster` in this field (`fields.cluster`; no field of a line); empty: any"
    )
    host: str = Field("", description="host, where neither record nor line names one")
    format: str = Field("", description="payload format; empty: sniffed")
    cluster: str = Field("main", description="cluster of its jobs")
    zone: str = Field("UTC", description="IANA zone of times without offset")
    expected_per_hour: int = Field(
        0, ge=0, le=1_000_000_000, description="lines an hour from each host, at least; fewer are reported; 0: nobody knows"
    )
    json_keys: dict[JsonMeaning, tuple[str, ...]] = Field(
        default_factory=dict, description="what a training program calls its step, loss, learning_rate, time ... in JSON lines"
    )
    columns: tuple[str, ...] = Field((), description="columns of `sacct -P` in their order; empty: those that README names")
    job_pattern: str = Field(r"(?:slurm|job)[-_](?P<job>\d+)", description="finds the job id in the file name")

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"unknown zone {zone!r}: use an IANA name such as Asia/Shanghai") from error
        return zone

    @field_validator("file", "hosts", "job_pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"not a regular expression: {pattern!r}: {error}") from error
        return pattern


class IngestSettings(Part):
    """Bounds of decoding."""

    record_bytes_max: int = Field(1_048_576, ge=1024, description="longer records are dead-lettered")
    future_seconds_max: int = Field(300, ge=0, description="times further ahead of collection do not move watermarks")
    authenticated_topics: tuple[str, ...] = Field(
        (), description="inputs that only known senders may write to, by ACL: what others send counts less; empty: all count alike"
    )
    trusted_syslog_programs: tuple[str, ...] = Field(
        (),
        description="programs whose lines in the system log nobody but root can write, since the log daemon checks the sender (rsyslog's"
        " trusted properties of `imuxsock`, `_UID` of journald): what others send there in a daemon's name (`audispd`, `slurmctld` ...)"
        " names nobody; `-`: lines of a daemon there that have no tag or no prefix, which a line end in any user's message makes, too",
    )
    future_seconds_rejected: int = Field(86_400, ge=0, description="times further ahead of collection are dead-lettered")
    failing_percent: int = Field(
        50, ge=5, le=95, description="of the lines of a source that was read before: more that cannot be read, and it fails: it is a gap"
    )
    failing_records: int = Field(20, ge=5, le=100_000, description="so many unread lines in a row, or as many above that, and it fails")
    failing_hosts: int = Field(
        3, ge=0, description="sources of so many hosts, and of half of all, that fail at one time stop the worker; 0: it goes on regardless"
    )

    @field_validator("failing_hosts")
    @classmethod
    def _beyond_one_author(cls, hosts: int) -> int:
        if hosts in (1, 2):
            raise ValueError("one or two hosts may be one log author's, who could stop the worker: 0, or 3 and more")
        return hosts
