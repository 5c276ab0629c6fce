"""One frozen tree of settings, read once: `trainwatch.yaml`, then `TRAINWATCH_*` from the environment, which wins.

Nothing else reads the environment.  A field carries its unit in its name, a default, bounds and a description; schemas/SETTINGS.md is
rendered from them.  An unknown name, in the file or in the environment, is an error, since a typo must not be a silent default.
"""

import hashlib
import ipaddress
import os
import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import platformdirs
import yaml
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from pipeline.errors import ConfigError
from pipeline.model.identity import Directory, Identity, Ticket, names_of
from pipeline.model.privacy import Maskable, Pseudonyms, Veil

ENVIRONMENT_PREFIX = "TRAINWATCH_"
SETTINGS_FILE = "trainwatch.yaml"
AUTO = "auto"  # worker.instance_id
IDENTITIES = "identities"
FOREVER = 2**62  # ms
PRIVACY_KEY_MIN = 16
# Read by the commands themselves, not part of the tree.
OTHER_VARIABLES = frozenset({"TRAINWATCH_SETTINGS", "TRAINWATCH_PYTHON"})


class Part(BaseModel):
    """A branch of the tree: closed and frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def secret_of(name: str, given: SecretStr, file: Path | None) -> str:
    """A secret as it was given, else the first line of its file, read anew, since a site changes it under a running process.

    Raises ConfigError, which names the setting and the file, and never what is in it.
    """
    if file is None:
        return given.get_secret_value()
    try:
        found = file.read_text(encoding="utf-8").split("\n", 1)[0].removesuffix("\r")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise ConfigError(f"{name}: cannot read {file}: {why}", advice="Name a readable file whose first line is the secret.") from None
    if not found:
        raise ConfigError(f"{name}: the first line of {file} is empty", advice="Write the secret into its first line.")
    return found


def readable(name: str, file: Path) -> str:
    """The path of a file that can be opened, for libraries that do not say which they could not.  Raises ConfigError, which names both."""
    try:
        file.open("rb").close()
    except OSError as error:
        raise ConfigError(f"{name}: cannot read {file}: {error.strerror}", advice="Name a file that this account may read.") from error
    return str(file)


def _one_place(name: str, given: SecretStr, file: Path | None) -> None:
    if given.get_secret_value() and file is not None:
        raise ValueError(f"{name} and {name}_file both hold it: leave one of them out")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


class KafkaSettings(Part):
    """The broker, and how its topics are made."""

    bootstrap_servers: str = Field("", description="host:port, comma separated; empty: the embedded broker")
    group: str = Field("trainwatch", min_length=1, description="consumer group of the workers")
    topic_prefix: str = Field("trainwatch.", pattern=r"^[a-z0-9.-]+$", description="prefix of the topics that trainwatch creates")
    partitions: int = Field(4, ge=1, le=4096, description="partitions of topics that trainwatch creates")
    replication_factor: int = Field(1, ge=1, le=7, description="replicas of topics that trainwatch creates")
    session_timeout_seconds: float = Field(10.0, ge=6, le=600, description="a silent worker loses its partitions after this")
    training_topics: tuple[str, ...] = Field(("logs.training",), description="inputs of the training family")
    scheduler_topics: tuple[str, ...] = Field(("logs.scheduler",), description="inputs of the scheduler family")
    access_topics: tuple[str, ...] = Field(("logs.access",), description="inputs of the access family")
    security_protocol: Literal["", "plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = Field(
        "", description="how the broker is reached; empty: sasl_ssl with a user, ssl with a CA or certificate, else plaintext"
    )
    ca_file: Path | None = Field(None, description="PEM, authorities that vouch for the broker; empty: those of the system")
    certificate_file: Path | None = Field(None, description="PEM, our certificate with its chain, where the broker asks for one (mTLS)")
    key_file: Path | None = Field(None, description="PEM, its private key; the same file when it holds both")
    key_password: SecretStr = Field(SecretStr(""), description="password of the private key; better from the environment")
    key_password_file: Path | None = Field(None, description="file whose first line is that password")
    sasl_mechanism: Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"] = Field("SCRAM-SHA-512", description="how the user is proved")
    user: str = Field("", description="account on the broker; empty: none (SASL is off)")
    password: SecretStr = Field(SecretStr(""), description="its password; better from the environment")
    password_file: Path | None = Field(None, description="file whose first line is the password")
    password_in_clear: bool = Field(False, description="sasl_plaintext to other machines is allowed: who listens learns the password")

    @field_validator("bootstrap_servers")
    @classmethod
    def _addresses(cls, value: str) -> str:
        """Without the spaces; a client would look up an address that is none until it gives up."""
        parts = [part.strip() for part in value.split(",")]
        for part in parts if value.strip() else ():
            host, _, port = part.rpartition(":")
            if "://" in part:
                raise ValueError(f"{part!r} is a URL; write host:port")
            if not re.fullmatch(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]", host) or not port.isdecimal() or not 0 < int(port) < 65_536:
                raise ValueError(f"{part!r} is not host:port; write for example broker-1:9092,broker-2:9092")
        return ",".join(parts)

    @model_validator(mode="after")
    def _agrees(self) -> "KafkaSettings":
        """What contradicts itself would be an answer without a reason, minutes later.  Files are read when a client is made."""
        _one_place("password", self.password, self.password_file)
        _one_place("key_password", self.key_password, self.key_password_file)
        protocol, tls, sasl = self.protocol, self.protocol.endswith("ssl"), self.protocol.startswith("sasl")
        if not self.user and (self.password.get_secret_value() or self.password_file):
            raise ValueError("a password without a user: set user, or leave the password out")
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file go together: name both, the same file twice when it holds both")
        if self.key_file is None and (self.key_password.get_secret_value() or self.key_password_file):
            raise ValueError("a key_password without key_file: name the key, or leave its password out")
        if sasl and not self.user:
            raise ValueError(f"security_protocol {protocol} needs a user: set user and password_file")
        if self.user and not sasl:
            raise ValueError(f"a user, but security_protocol {protocol} names nobody: use sasl_ssl, or leave user out")
        if not tls and (self.ca_file or self.certificate_file):
            raise ValueError(f"a CA or certificate, but security_protocol {protocol} is without TLS: use ssl or sasl_ssl, or leave it out")
        hosts = [part.rpartition(":")[0] for part in self.bootstrap_servers.split(",") if part]
        if protocol == "sasl_plaintext" and not self.password_in_clear and not all(map(_is_loopback, hosts)):
            raise ValueError("sasl_plaintext to another machine: use sasl_ssl, or allow it with password_in_clear: true")
        return self

    @property
    def protocol(self) -> str:
        """The protocol in force: `security_protocol`, or what the other fields ask for."""
        asked = "sasl_ssl" if self.user else "ssl" if self.ca_file or self.certificate_file else "plaintext"
        return self.security_protocol or asked

    @property
    def input_topics(self) -> tuple[str, ...]:
        return (*self.training_topics, *self.scheduler_topics, *self.access_topics)


class ClickHouseSettings(Part):
    """The database."""

    host: str = Field("", description="host name; empty: the embedded server")
    port: int = Field(9000, ge=1, le=65535, description="native protocol port")
    http_port: int = Field(8123, ge=1, le=65535, description="HTTP port, shown to people")
    database: str = Field("trainwatch", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="database of all tables")
    user: str = Field("default", description="account of the writer")
    password: SecretStr = Field(SecretStr(""), description="its password; better from the environment")
    password_file: Path | None = Field(None, description="file whose first line is the password")
    secure: bool = Field(False, description="TLS on the native port")
    ca_file: Path | None = Field(None, description="PEM, authorities that vouch for the server; empty: those of the system")
    verify: bool = Field(True, description="with TLS, ask for a certificate in the server's name; off: whoever answers is believed")
    timeout_seconds: float = Field(30.0, gt=0, le=600, description="longest wait for one answer")
    retention_days: int = Field(365, ge=1, le=3650, description="rows older than this are dropped by the server")
    retention_days_by_table: dict[str, Annotated[int, Field(ge=1, le=3650)]] = Field(
        default_factory=dict, description="the same for one table, e.g. events: 90; `trainwatch migrate up` sets it"
    )

    @model_validator(mode="after")
    def _agrees(self) -> "ClickHouseSettings":
        _one_place("password", self.password, self.password_file)
        if self.ca_file is not None and not (self.secure and self.verify):
            raise ValueError("ca_file without TLS or with verify off would vouch for nobody: set secure and verify, or leave ca_file out")
        return self

    def kept_days(self, *tables: str) -> int:
        """For how long rows stand in all of these tables."""
        return min(self.retention_days_by_table.get(table, self.retention_days) for table in tables)

    def secret(self) -> str:
        """The password.  Raises ConfigError when its file cannot be read."""
        return secret_of("clickhouse.password_file", self.password, self.password_file)


class EmbeddedSettings(Part):
    """The servers that `trainwatch up` starts on this machine when no address is given."""

    directory: Path = Field(Path(".trainwatch"), description="data, logs and pid files of the embedded servers")
    kafka_port: int = Field(0, ge=0, le=65535, description="broker port; 0: a free one, kept over restarts")
    clickhouse_port: int = Field(0, ge=0, le=65535, description="native port; 0: a free one, kept over restarts")
    clickhouse_http_port: int = Field(0, ge=0, le=65535, description="HTTP port; 0: a free one, kept over restarts")
    disk_quota_mib: int = Field(20_480, ge=1024, description="`up` refuses when data exceed this; Kafka deletes old segments")
    kafka_heap_mib: int = Field(768, ge=256, description="Java heap of the broker")
    ready_timeout_seconds: float = Field(60.0, gt=0, le=600, description="longest wait for a server to answer")


class Role(StrEnum):
    """What an identity is to the cluster."""

    MEMBER = "member"
    ADMIN = "admin"
    SERVICE = "service"


NameKind = Literal["login", "kubernetes", "cloud", "bastion", "git", "key", "email"]


class IdentitySettings(Part):
    """One identity: a person or a service, and the names under which logs know it, valid in a period."""

    id: str = Field(min_length=1, description="the identity's own id, e.g. u017")
    uid: int | None = Field(None, ge=0, le=0xFFFFFFFE, description="numeric user id on the cluster")
    login: str = Field("", description="login name")
    names: dict[NameKind, tuple[str, ...]] = Field(
        default_factory=dict,
        description="further names by kind: kubernetes (users, oidc:..., service accounts), cloud (ARNs, access keys), bastion, git, "
        "key (SHA256:...), email, login",
    )
    team: str = Field("", description="team, for the relation `team` between actor and owner")
    role: Role = Field(Role.MEMBER, description="member, admin or service")
    valid_from: datetime | None = Field(None, description="start of validity, with offset; empty: always")
    valid_to: datetime | None = Field(None, description="end of validity, exclusive; empty: still")

    @model_validator(mode="after")
    def _aware(self) -> "IdentitySettings":
        for moment in (self.valid_from, self.valid_to):
            if moment is not None and moment.tzinfo is None:
                raise ValueError(f"identity {self.id}: write valid_from and valid_to with an offset, e.g. 2026-03-02T00:00:00Z")
        if self.valid_from is not None and self.valid_to is not None and self.valid_to <= self.valid_from:
            raise ValueError(f"identity {self.id}: valid_to must be later than valid_from")
        return self

    def all_names(self) -> Iterator[str]:
        """What the identity is called anywhere."""
        yield from (name for names in ((self.id, self.login), *self.names.values()) for name in names if name)

    def renamed(self, pseudonyms: Pseudonyms) -> "IdentitySettings":
        """Under other names."""
        names = {kind: tuple(map(pseudonyms.name, names)) for kind, names in self.names.items()}
        uid = None if self.uid is None else pseudonyms.uid(self.uid)
        return self.model_copy(update={"id": pseudonyms.name(self.id), "login": pseudonyms.name(self.login), "names": names, "uid": uid})

    def identity(self) -> Identity:
        """As it is looked up."""
        return Identity(
            id=self.id,
            uid=self.uid,
            login=self.login,
            names=tuple((str(kind), name) for kind, names in self.names.items() for name in names),
            team=self.team,
            role=self.role.value,
            valid_from=_milliseconds(self.valid_from, 0),
            valid_to=_milliseconds(self.valid_to, FOREVER),
        )


class TicketSettings(Part):
    """A change ticket or maintenance window that covers what an admin did."""

    id: str = Field(min_length=1, description="number of the ticket")
    identities: tuple[str, ...] = Field((), description="identity ids that act under it; empty: any admin")
    start: datetime = Field(description="start of the window, with offset")
    end: datetime = Field(description="end of the window, with offset")
    hosts: tuple[str, ...] = Field((), description="hosts concerned; empty: all")
    jobs: tuple[str, ...] = Field((), description="raw job ids concerned; empty: all")

    @model_validator(mode="after")
    def _ordered(self) -> "TicketSettings":
        if self.start.tzinfo is None or self.end.tzinfo is None or self.end <= self.start:
            raise ValueError(f"ticket {self.id}: start and end need an offset, and end must be later")
        return self


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
    job_pattern: str = Field(r"(?:slurm|job)[-_](?P<job>\d+)", description="finds the job id in the file name")

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"unknown zone {zone!r}: use an IANA name such as Asia/Shanghai") from error
        return zone

    @field_validator("file", "job_pattern")
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
    future_seconds_rejected: int = Field(86_400, ge=0, description="times further ahead of collection are dead-lettered")


class TimeSettings(Part):
    """Event time: how far sources run out of order, and how long verdicts wait."""

    grace_seconds: int = Field(120, ge=0, le=86_400, description="how long final verdicts wait beyond the watermark")
    out_of_order_seconds: int = Field(60, ge=0, le=86_400, description="bound of a source family without its own entry")
    out_of_order_seconds_by_family: dict[str, int] = Field(
        default_factory=lambda: {"sacct": 900}, description="bound per family, e.g. sacct: 900"
    )
    coverage_bucket_seconds: int = Field(600, ge=60, le=3600, description="width of the buckets that prove a source was heard")
    idle_seconds: int = Field(20, ge=1, le=3600, description="a family silent this long at zero lag is taken as quiet")


class RetentionSettings(Part):
    """How long cases are remembered, in event time, and how much one may hold."""

    job_days: int = Field(45, ge=1, le=3650, description="jobs, after their end")
    host_days: int = Field(90, ge=1, le=3650, description="host events; longest job + job_days")
    artefact_days: int = Field(90, ge=1, le=3650, description="artefacts, after their last event")
    identity_days: int = Field(90, ge=1, le=3650, description="what was told of a person; longer than the slowest campaign that counts")
    incident_days: int = Field(180, ge=1, le=3650, description="findings, ended attempts, large members of cohorts, after the last word")
    cohort_days: int = Field(60, ge=1, le=3650, description="attempts of one configuration, compared with one another, after the last word")
    cohort_members_max: int = Field(2000, ge=10, le=100_000, description="attempts in one cohort; the newest stay")
    case_facts_max: int = Field(20_000, ge=100, description="facts of one kind in one case; the rest is counted")


class CheckpointSettings(Part):
    """How often work is made durable."""

    interval_seconds: float = Field(1.0, ge=0.05, le=60, description="time between checkpoints")
    rows_max: int = Field(200_000, ge=1000, le=900_000, description="buffered rows above which folding waits")
    shutdown_seconds: float = Field(20.0, ge=1, le=300, description="a worker that has not stopped by then ends itself")


class DeadLetterSettings(Part):
    """Records that were refused, on their way back."""

    attempts_max: int = Field(3, ge=1, le=1000, description="a record refused this often is parked: `dlq replay` leaves it where it is")


class EvidenceSettings(Part):
    """Sealing of what was read: roots, chains, signatures."""

    key_file: Path | None = Field(None, description="private key that `trainwatch evidence keygen` made; empty: nothing is sealed")
    witness: str = Field(
        "",
        pattern=r"^(|print|file:.+|kafka:[^/]+/[A-Za-z0-9._-]+)$",
        description="where signed heads are told too: print (the worker's output), file:PATH, kafka:HOST:PORT,.../TOPIC of another cluster",
    )
    witness_seconds: float = Field(60.0, ge=0, le=86_400, description="the newest head of each partition is told this often")


class PrivacySettings(Part):
    """What is told of people."""

    pseudonyms: bool = Field(False, description="names in everything but raw bytes are replaced by keyed hashes, p-7f3a90c1d2")
    key: SecretStr = Field(SecretStr(""), description="key of the hashes, 16 characters or more; better from the environment")
    key_file: Path | None = Field(None, description="file whose first line is the key, readable by the owner alone")
    mask: tuple[Maskable, ...] = Field(
        (), description="fields that nobody is told and nothing is judged by, e.g. arguments (command lines), text, address"
    )

    @model_validator(mode="after")
    def _has_key(self) -> "PrivacySettings":
        _one_place("key", self.key, self.key_file)
        if self.pseudonyms and not self.key.get_secret_value() and self.key_file is None:
            raise ValueError("pseudonyms without a key could be undone by guessing: set key_file, to what `openssl rand -hex 32` prints")
        return self

    def secret(self) -> bytes:
        """The key.  Raises ConfigError when its file cannot be read, others may read it, or it is too short."""
        if self.key_file is not None and self.key_file.exists() and self.key_file.stat().st_mode & 0o077:
            raise ConfigError(f"others may read {self.key_file}", advice=f"chmod 600 {self.key_file}; if somebody may have, use a new key.")
        key = secret_of("privacy.key_file", self.key, self.key_file)
        if len(key) < PRIVACY_KEY_MIN:
            raise ConfigError(f"privacy: a key of {len(key)} characters", advice=f"Use {PRIVACY_KEY_MIN} or more, drawn by a machine.")
        return key.encode()


class DetectSettings(Part):
    """Windows of the detectors, seconds."""

    kill_window_seconds: int = Field(2100, ge=1, description="a kill explains a job end up to this much later (NCCL 30 min + 5)")
    cancel_window_seconds: int = Field(120, ge=1, description="a cancel request explains an end up to this much later")
    hardware_window_seconds: int = Field(900, ge=1, description="Xid, OOM and node failures explain an end up to this much later")
    coverage_gap_seconds: int = Field(
        3600, ge=60, description="a cluster-wide source heard this long before and after a moment was alive at it"
    )
    delay_window_seconds: int = Field(2_592_000, ge=3600, description="what somebody wrote slows jobs up to this much later (30 days)")
    convergence_window_seconds: int = Field(2_592_000, ge=3600, description="... or makes them learn otherwise (30 days)")
    campaign_window_seconds: int = Field(5_184_000, ge=86_400, description="... or makes large ones end without explanation (60 days)")
    large_job_gpus: int = Field(256, ge=2, description="jobs from this size on are compared with one another, whatever they run")
    spec_window_seconds: int = Field(5, ge=1, description="what an update changed is logged this long before its completion (one call)")
    degrade_window_seconds: int = Field(3600, ge=600, description="step times this long before and after an act on a node are compared")
    degrade_ratio_min: float = Field(1.25, ge=1.05, le=10, description="slower by this is an effect; fail-slow costs 1.34 (GREYHOUND)")
    telemetry_window_seconds: int = Field(3600, ge=600, description="a gap that begins this long after an act on the audit belongs to it")
    offboarding_grace_seconds: int = Field(0, ge=0, description="access this long after valid_to is hand-over; others need a ticket")
    two_places_window_seconds: int = Field(3600, ge=60, description="logins from two networks in turn within this are two places at once")
    roaming_networks: tuple[str, ...] = Field((), description="address prefixes of VPN and gateways: to come from there is no place")
    flood_window_seconds: int = Field(3600, ge=60, description="span in which a flood of jobs displaces others (sliding)")
    flood_jobs_min: int = Field(20, ge=2, description="jobs in that span below which nobody floods: sweeps of a team stay below")
    flood_own_factor: float = Field(2.0, ge=1, description="and this many times the person's own busiest span of the weeks before")
    flood_victims_min: int = Field(3, ge=1, description="attempts of others preempted for them; fewer are the scheduler's daily business")
    flood_short_seconds: int = Field(1800, ge=60, description="jobs that end within this, half of them at least, are an evaluation burst")
    import_window_seconds: int = Field(2_592_000, ge=3600, description="a module imported this long after a write is judged (30 days)")
    hook_window_seconds: int = Field(2_592_000, ge=3600, description="... and a start-up hook (30 days)")
    dataset_window_seconds: int = Field(7_776_000, ge=3600, description="... and a shard of a dataset (90 days)")
    removal_window_seconds: int = Field(604_800, ge=3600, description="a job that goes on this long after a removal feels it (7 days)")
    unpickle_window_seconds: int = Field(1800, ge=1, description="a program started this long after an odd unpickling belongs to it")
    door_window_seconds: int = Field(86_400, ge=60, description="... and a key added, or a port opened, this long after it (24 h)")
    pickle_globals_allowed: tuple[str, ...] = Field(
        (
            "torch", "numpy", "collections", "functools.partial", "transformers", "tokenizers", "datasets", "accelerate", "megatron",
            "deepspeed", "apex", "transformer_engine", "lightning", "pytorch_lightning", "omegaconf", "argparse", "pathlib", "datetime",
        ),
        description="modules, or module.name, that checkpoints may name: what is below one is allowed, too",
    )  # fmt: skip
    child_programs_allowed: tuple[str, ...] = Field(
        (
            "ffmpeg", "ffprobe", "git", "nvcc", "ninja", "gcc", "g++", "cc", "c++", "ld", "ptxas", "cicc", "cuobjdump", "nvdisasm",
            "nvidia-smi", "ldconfig", "uname", "hostname", "lscpu", "which", "df", "du", "ls", "cat", "tar", "gzip", "pigz", "cmake",
            "make",
        ),
        description="programs that data loaders and compilers start",
    )  # fmt: skip
    hooks_allowed: tuple[str, ...] = Field((), description="sha256 of start-up hooks and shims that are known to be harmless")
    hook_names_known: tuple[str, ...] = Field(
        ("__editable__*", "coverage*", "a1_coverage*", "distutils-precedence.pth", "*-nspkg.pth", "libnccl*", "libprof*", "*profiler*"),
        description="file names of ordinary hooks; a name alone lowers a hit and ends none",
    )
    diagnosis_window_seconds: int = Field(172_800, ge=3600, description="a write this long after reading diagnostics is a round (48 h)")
    diagnosis_rounds_min: int = Field(6, ge=3, description="rounds below which nothing is said: one round proves nothing")
    diagnosis_chance_max: float = Field(
        1e-4, gt=0, le=0.05, description="chance of the rounds, if writes came at any time, above which not"
    )


class WorkerSettings(Part):
    """The process that runs the pipeline."""

    instance_id: str = Field(
        AUTO,
        pattern=r"^[A-Za-z0-9._-]*$",
        max_length=249,
        description="static membership: a name per worker, kept over restarts; auto: from host and slot; empty: dynamic",
    )
    max_fetch_bytes: int = Field(2_097_152, ge=65_536, description="fetch size per partition")
    health_host: str = Field("127.0.0.1", min_length=1, description="address that serves /healthz, /readyz and /metrics")
    health_port: int = Field(9470, ge=0, le=65_000, description="their port, plus the slot of the worker on its host; 0: off")
    unhealthy_seconds: float = Field(60.0, ge=1, le=3600, description="no progress for this long makes /healthz fail")
    stuck_seconds: float = Field(180.0, ge=2, le=86_400, description="a worker that hangs for this long ends itself")


NoticeFormat = Literal["json", "ocsf", "slack", "feishu", "dingtalk"]
SeverityName = Literal["low", "medium", "high", "critical"]


class TargetSettings(Part):
    """A webhook that is told of findings and incidents."""

    name: str = Field(pattern=r"^[a-z0-9_-]{1,40}$", description="name of the target")
    url: SecretStr = Field(SecretStr(""), description="address; better in url_file, or in notify.urls from the environment")
    url_file: Path | None = Field(None, description="file whose first line is the address")
    secret_file: Path | None = Field(None, description="file whose first line is the key of the signature")
    format: NoticeFormat = Field("json", description="what is sent: json, ocsf (the value of the topic), slack, feishu, dingtalk")
    severity_min: SeverityName = Field("high", description="told from this severity on")
    below_gate: bool = Field(False, description="also of findings that are no alert")
    tells: Literal["both", "findings", "incidents"] = Field("both", description="of what; incidents alone are fewer, and come later")
    after_minutes: dict[SeverityName, int] = Field(
        default_factory=dict, description="told only of what nobody has acknowledged after so many minutes, by severity; empty: at once"
    )
    plain_http: bool = Field(False, description="http:// to other machines is allowed")


class NotifySettings(Part):
    """What `trainwatch notify` tells, to whom, and how often it tries."""

    targets: tuple[TargetSettings, ...] = Field((), description="webhooks")
    urls: dict[str, SecretStr] = Field(default_factory=dict, description="address by target: TRAINWATCH_NOTIFY__URLS__ONCALL=https://...")
    secrets: dict[str, SecretStr] = Field(default_factory=dict, description="key of the signature by target, from the environment likewise")
    state_file: Path = Field(Path(".trainwatch/notify.sqlite"), description="what was told, acknowledged and snoozed")
    timeout_seconds: float = Field(10.0, gt=0, le=120, description="longest wait for one answer")
    tries_max: int = Field(12, ge=1, le=100, description="then a delivery is given up, and reported")
    backoff_seconds: float = Field(2.0, ge=0.01, le=600, description="wait after the first failure; doubled by each further one")
    backoff_seconds_max: float = Field(600.0, ge=0.01, le=86_400, description="longest wait between two tries")
    age_hours_max: int = Field(72, ge=1, le=8760, description="words older than this on the topic are noted and not told")

    @model_validator(mode="after")
    def _names(self) -> "NotifySettings":
        names = [target.name for target in self.targets]
        if len(names) != len(set(names)):
            raise ValueError("two targets of notify share a name")
        if stray := sorted({*self.urls, *self.secrets} - set(names)):
            raise ValueError(f"notify.urls or notify.secrets name {', '.join(stray)}, which is no target")
        return self


Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Three = tuple[Amount, Amount, Amount]  # low, middle, high
NOTHING: Three = (0.0, 0.0, 0.0)


def _ascending(part: Part) -> None:
    for name, value in part:
        if name != "evidence" and isinstance(value, tuple) and list(value) != sorted(value):
            raise ValueError(f"{name}: {', '.join(f'{each:g}' for each in value)} are not low, middle, high: write them ascending")


class PriceSettings(Part):
    """What a GPU-hour costs from a moment on, until the next entry begins: low, middle, high."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    since: datetime = Field(alias="from", description="a day, which begins in UTC, or a moment with offset")
    currency: str = Field(pattern=r"^[A-Z]{3}$", description="ISO 4217, the same in all entries")
    method: Literal["rent", "own"] = Field("rent", description="rent, which contains power and staff; or own: the parts are stated")
    gpu_hour: Three = Field(NOTHING, description="rent")
    depreciation: Three = Field(NOTHING, description="own, per GPU-hour")
    kilowatt: Three = Field(NOTHING, description="own, per GPU with its share of the host")
    pue: Three = Field((1.0, 1.0, 1.0), description="own, power at the wall over power of the machines")
    kilowatt_hour: Three = Field(NOTHING, description="own, price of energy")
    staff: Three = Field(NOTHING, description="own, operators per GPU-hour")

    @field_validator("since", mode="before")
    @classmethod
    def _day(cls, value: Any) -> Any:
        if isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
            return f"{value}T00:00:00Z"
        return f"{value.isoformat()}T00:00:00Z" if isinstance(value, date) and not isinstance(value, datetime) else value

    @model_validator(mode="after")
    def _one_way(self) -> "PriceSettings":
        if self.since.tzinfo is None:
            raise ValueError("from: write a day, or a moment with offset, e.g. 2026-03-02T00:00:00Z")
        _ascending(self)
        if self.method == "rent" and any(map(any, (self.depreciation, self.kilowatt, self.kilowatt_hour, self.staff))):
            raise ValueError("a rent contains power, depreciation and staff: use method own, or leave gpu_hour alone")
        if self.method == "own" and any(self.gpu_hour):
            raise ValueError("a price is by rent or by own cost, never both: leave gpu_hour out, or use method rent")
        if self.method == "rent" and not any(self.gpu_hour):
            raise ValueError("gpu_hour is missing: a rent of nothing would make every loss worth nothing")
        if self.pue[0] < 1:
            raise ValueError("pue: below 1, which no data centre reaches")
        return self

    @property
    def since_ms(self) -> int:
        """UTC ms."""
        return _milliseconds(self.since, 0)


class StaffSettings(Part):
    """Indirect loss of one incident: people's time, as somebody states it; low, middle, high."""

    incident: str = Field(pattern=r"^[0-9a-f]{32}$", description="whole id of the incident, also one that was merged into another")
    what: str = Field(min_length=1, max_length=200, description="what the time went into")
    hours: Three = Field(description="hours of work")
    per_hour: Three = Field(description="money for one hour, in the currency of the prices")
    evidence: tuple[str, ...] = Field((), max_length=12, description="where it is stated, e.g. numbers of tickets")

    @model_validator(mode="after")
    def _ordered(self) -> "StaffSettings":
        _ascending(self)
        return self


class LossSettings(Part):
    """What incidents cost."""

    gpus_per_node: int = Field(8, ge=1, le=1024, description="GPUs of one node: all attempts together lose no more at a time")
    prices: tuple[PriceSettings, ...] = Field((), description="what a GPU-hour costs from when on; empty: hours only")
    staff: tuple[StaffSettings, ...] = Field((), max_length=100, description="people's time by incident, as somebody states it")

    @model_validator(mode="after")
    def _together(self) -> "LossSettings":
        for number, each in enumerate(self.prices):
            if each.currency != self.prices[0].currency:
                raise ValueError(
                    f"prices.0 is in {self.prices[0].currency} and prices.{number} in {each.currency}: state all prices in one currency"
                )
            if each.since_ms in [other.since_ms for other in self.prices[:number]]:
                raise ValueError(f"prices.{number} begins when another entry does: delete one of them")
        if self.staff and not self.prices:
            raise ValueError("staff.0 has no currency: state at least one price")
        return self


class Settings(BaseSettings):
    """The whole tree.  Build it with `load`."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    kafka: KafkaSettings = KafkaSettings()
    clickhouse: ClickHouseSettings = ClickHouseSettings()
    embedded: EmbeddedSettings = EmbeddedSettings()
    worker: WorkerSettings = WorkerSettings()
    checkpoint: CheckpointSettings = CheckpointSettings()
    ingest: IngestSettings = IngestSettings()
    time: TimeSettings = TimeSettings()
    retention: RetentionSettings = RetentionSettings()
    dead_letters: DeadLetterSettings = DeadLetterSettings()
    evidence: EvidenceSettings = EvidenceSettings()
    privacy: PrivacySettings = PrivacySettings()
    detect: DetectSettings = DetectSettings()
    notify: NotifySettings = NotifySettings()
    loss: LossSettings = LossSettings()
    operator: str = Field("", max_length=100, description="who works with incidents here; stands in their journal beside the system user")
    sources: tuple[SourceSettings, ...] = Field((), description="per-source settings; the first that fits wins")
    identities: tuple[IdentitySettings, ...] = Field((), description="who is who, valid from and to")
    tickets: tuple[TicketSettings, ...] = Field((), description="change tickets and maintenance windows")
    artefact_roots: tuple[ArtefactRootSettings, ...] = Field((), description="folders whose files are artefacts")
    _veiled: tuple[Veil, str] | None = PrivateAttr(None)  # of a copy under other names: by what they were changed, digest of the original

    @model_validator(mode="after")
    def _authenticated_inputs(self) -> "Settings":
        if stray := sorted({*self.ingest.authenticated_topics} - {*self.kafka.input_topics}):
            raise ValueError(f"ingest.authenticated_topics names {', '.join(stray)}, which is no input: everything would count as unproven")
        return self

    @model_validator(mode="after")
    def _remembers_long_enough(self) -> "Settings":
        """Members of a cohort that are forgotten within a detector's window are missing on both sides of its comparison."""
        detect, kept = self.detect, self.retention
        windows = {
            "cohort_days": (kept.cohort_days, max(detect.delay_window_seconds, detect.convergence_window_seconds)),
            "incident_days": (kept.incident_days, detect.campaign_window_seconds),
        }
        for name, (days, window_seconds) in windows.items():
            if days * 86_400 < window_seconds:
                raise ValueError(f"retention.{name} is {days}, shorter than a window of {window_seconds} s in detect: raise the first")
        return self

    @model_validator(mode="after")
    def _one_identity_a_name(self) -> "Settings":
        """A name that two identities hold at one time would let the order of the file decide who is accused."""
        holders: dict[tuple[str, str], list[tuple[int, Identity]]] = {}
        for number, entry in enumerate(self.identities):
            identity = entry.identity()
            uid = () if identity.uid is None else (("uid", str(identity.uid)),)
            for name in dict.fromkeys((*uid, *names_of(identity))):
                for other, held in holders.setdefault(name, []):
                    if held.id != identity.id and held.valid_from < identity.valid_to and identity.valid_from < held.valid_to:
                        raise ValueError(
                            f"{IDENTITIES}.{other} ({held.id}) and {IDENTITIES}.{number} ({identity.id}) both claim {name[0]} {name[1]!r} "
                            "at the same time: give one of them valid_to, or take the name from it"
                        )
                holders[name].append((number, identity))
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, whose content arrives as init arguments."""
        return env_settings, init_settings

    def directory(self) -> Directory:
        """The identity map and tickets as a lookup."""
        return Directory(
            [entry.identity() for entry in self.identities],
            [
                Ticket(
                    id=entry.id,
                    start=_milliseconds(entry.start, 0),
                    end=_milliseconds(entry.end, 0),
                    identities=frozenset(entry.identities),
                    hosts=frozenset(entry.hosts),
                    jobs=frozenset(entry.jobs),
                )
                for entry in self.tickets
            ],
            self.privacy.secret() if self.privacy.key.get_secret_value() or self.privacy.key_file is not None else b"",
        )

    def digest(self) -> str:
        """Names what decoding and judging depend on; addresses and secrets are left out.  16 hex digits."""
        if self._veiled is not None:
            return self._veiled[1]
        judged = {"ingest", "time", "retention", "detect", "sources", "identities", "tickets", "artefact_roots", "loss"}
        text = self.model_dump_json(include=judged)
        if (pseudonyms := self.veil().pseudonyms) is not None:
            text += pseudonyms.name("which key")
        if self.privacy.mask:
            text += ",".join(self.privacy.mask)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def veil(self) -> Veil:
        """What is told of people, and under which names.  Raises ConfigError when the key cannot be had."""
        if self._veiled is not None:
            return self._veiled[0]
        if not self.privacy.pseudonyms:
            return Veil(None, self.privacy.mask)
        services = [entry for entry in self.identities if entry.role is Role.SERVICE]
        people = [entry for entry in self.identities if entry.role is not Role.SERVICE]
        of_people, of_services = ({name for entry in some for name in entry.all_names()} for some in (people, services))
        return Veil(Pseudonyms(self.privacy.secret(), of_people, of_services - of_people), self.privacy.mask)

    def veiled(self) -> "Settings":
        """What the stages see: identities, tickets, roots and stated losses under the names that ingest tells; the same digest."""
        veil = self.veil()
        pseudonyms = veil.pseudonyms
        if pseudonyms is None or self._veiled is not None:
            return self
        name, text = pseudonyms.name, pseudonyms.text
        renamed = self.model_copy(
            update={
                "identities": tuple(entry.renamed(pseudonyms) for entry in self.identities),
                "tickets": tuple(each.model_copy(update={"identities": tuple(map(name, each.identities))}) for each in self.tickets),
                "artefact_roots": tuple(
                    root.model_copy(update={"path": text(root.path), "owner": name(root.owner), "writers": tuple(map(name, root.writers))})
                    for root in self.artefact_roots
                ),
                "loss": self.loss.model_copy(
                    update={
                        "staff": tuple(
                            each.model_copy(update={"what": text(each.what), "evidence": tuple(map(text, each.evidence))})
                            for each in self.loss.staff
                        )
                    }
                ),
            }
        )
        renamed._veiled = veil, self.digest()
        return renamed


def _milliseconds(moment: datetime | None, default: int) -> int:
    return default if moment is None else round(moment.timestamp() * 1000)


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in one mapping: YAML forbids it, PyYAML keeps the last, and a section would be lost in silence.

    `entries` says in which line each entry of a list at the top begins: `identities.3` -> 41.
    """

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self.entries: dict[str, int] = {}

    def get_single_node(self) -> yaml.Node | None:
        root: yaml.Node | None = super().get_single_node()
        for key, value in root.value if isinstance(root, yaml.MappingNode) else ():
            for number, entry in enumerate(value.value if isinstance(value, yaml.SequenceNode) else ()):
                self.entries[f"{key.value}.{number}"] = entry.start_mark.line + 1
        return root

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        first: dict[tuple[str, str], int] = {}
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            line, name = key.start_mark.line + 1, (key.tag, key.value)
            if name in first:
                message = f"{self.name}, line {line}: the key {key.value} stands in line {first[name]} already"
                raise ConfigError(message, advice="Put both under one key, or delete one.")
            first[name] = line
        return node


def chosen(path: Path | None = None) -> Path | None:
    """The file that is read: `path`, else $TRAINWATCH_SETTINGS, else ./trainwatch.yaml if present."""
    if path is None and (named := os.environ.get("TRAINWATCH_SETTINGS")):
        return Path(named)
    return Path(SETTINGS_FILE) if path is None and Path(SETTINGS_FILE).is_file() else path


def load(path: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Settings from `path`, else $TRAINWATCH_SETTINGS, else ./trainwatch.yaml if present; `overrides` win over the file.

    Raises ConfigError with a message that names the field.
    """
    _refuse_unknown_variables()
    path = chosen(path)
    content: dict[str, Any] = {}
    lines_of: dict[str, int] = {}
    if path is not None:
        try:
            with path.open(encoding="utf-8") as stream:
                loader = _Loader(stream)
                content = loader.get_single_data() or {}
                lines_of = loader.entries
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError(f"cannot read {path}: {error}", advice="Name a readable YAML file with --settings.") from error
        if not isinstance(content, dict):
            raise ConfigError(f"{path}: expected a mapping at the top level", advice="See schemas/SETTINGS.md.")
    try:
        return Settings(**_merged(content, overrides or {}))
    except ValidationError as error:
        lines = [_located(f"{'.'.join(map(str, item['loc']))}: {item['msg']}".removeprefix(": "), lines_of) for item in error.errors()]
        where = path or "settings"
        raise ConfigError(f"{where}: " + "; ".join(lines), advice="See schemas/SETTINGS.md.") from error


_ENTRY = re.compile(r"\b([a-z_]+\.[0-9]+)(?:\.[a-z_0-9]+)*")


def _located(message: str, lines_of: Mapping[str, int]) -> str:
    """The message, with the line behind each entry of a list that it names."""
    return _ENTRY.sub(lambda found: f"{found[0]} (line {lines_of[found[1]]})" if found[1] in lines_of else found[0], message)


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = _merged(result[key], value) if both else value
    return result


def _refuse_unknown_variables() -> None:
    """pydantic-settings ignores an unknown top-level variable, so a typo would be a silent default."""
    known = {f"{ENVIRONMENT_PREFIX}{name.upper()}" for name in Settings.model_fields}
    for name in sorted(os.environ):
        if not name.startswith(ENVIRONMENT_PREFIX) or name in OTHER_VARIABLES:
            continue
        if name.split("__", maxsplit=1)[0] not in known:
            raise ConfigError(f"unknown environment variable {name}", advice=f"Known: {', '.join(sorted(known))}.")


def cache_folder() -> Path:
    """Where downloads are kept: Java archives and the ClickHouse library."""
    return Path(platformdirs.user_cache_dir("trainwatch", appauthor=False))


def schemas_folder() -> Path:
    """`schemas/`, inside an installed wheel or beside the package in a checkout.  Raises ConfigError when it is in neither."""
    package = Path(__file__).parent
    for folder in (package / "_schemas", package.parent / "schemas"):
        if (folder / "clickhouse").is_dir():
            return folder
    raise ConfigError("schemas/ not found", advice="Install the wheel, or run from a checkout.")


Rows = Iterator[tuple[str, str, str]]


def table(model: type[BaseModel] = Settings, prefix: str = "") -> Rows:
    """(name, default, description) of every setting, for schemas/SETTINGS.md and `trainwatch settings`."""
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from table(annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _default(field), field.description or ""


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, SecretStr):
        return "(empty)"
    if isinstance(value, tuple):
        return ", ".join(value) if value else "(none)"
    return "(empty)" if value in ("", None) else str(value)
