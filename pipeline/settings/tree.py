"""The whole tree, and what its sections must agree on; under other names where people are pseudonymous.

Holds: the digest names everything that decoding and judging depend on, and is the same with and without other names.
"""

import hashlib

from pydantic import Field, PrivateAttr, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from pipeline.model.identity import OF_CLUSTERS, Directory, Identity, Ticket, names_of
from pipeline.model.privacy import Pseudonyms, Veil
from pipeline.settings.clickhouse import ClickHouseSettings
from pipeline.settings.detect import DetectSettings
from pipeline.settings.evidence import EvidenceSettings
from pipeline.settings.inputs import ArtefactRootSettings, IngestSettings, SourceSettings
from pipeline.settings.kafka import KafkaSettings
from pipeline.settings.loss import LossSettings
from pipeline.settings.notify import NotifySettings
from pipeline.settings.part import milliseconds
from pipeline.settings.people import IdentitySettings, PrivacySettings, Role, TicketSettings
from pipeline.settings.process import CheckpointSettings, DeadLetterSettings, EmbeddedSettings, WorkerSettings
from pipeline.settings.times import RetentionSettings, TimeSettings

ENVIRONMENT_PREFIX = "TRAINWATCH_"
IDENTITIES = "identities"
DAY_SECONDS = 86_400
# What is told of whom is kept so long, and which windows look back on it.
REMEMBERED = {
    "job_days": (
        "kill_window_seconds", "cancel_window_seconds", "hardware_window_seconds", "spec_window_seconds", "unpickle_window_seconds",
        "door_window_seconds", "coverage_gap_seconds",
    ),
    "host_days": (
        "kill_window_seconds", "hardware_window_seconds", "unpickle_window_seconds", "door_window_seconds", "degrade_window_seconds",
        "telemetry_window_seconds",
    ),
    "artefact_days": ("import_window_seconds", "hook_window_seconds", "dataset_window_seconds", "removal_window_seconds"),
    "identity_days": ("diagnosis_window_seconds", "flood_window_seconds", "two_places_window_seconds"),
    "cohort_days": ("delay_window_seconds", "convergence_window_seconds"),
    "incident_days": ("campaign_window_seconds",),
}  # fmt: skip


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
    tickets: tuple[TicketSettings, ...] = Field(
        (), description="change tickets and maintenance windows: id, start, end, identities, cluster, hosts, jobs"
    )
    artefact_roots: tuple[ArtefactRootSettings, ...] = Field((), description="folders whose files are artefacts")
    _veiled: tuple[Veil, str] | None = PrivateAttr(None)  # of a copy under other names: by what they were changed, digest of the original

    @model_validator(mode="after")
    def _authenticated_inputs(self) -> "Settings":
        if stray := sorted({*self.ingest.authenticated_topics} - {*self.kafka.input_topics}):
            raise ValueError(
                f"ingest.authenticated_topics names {', '.join(stray)}, which is not an input: everything would count as unproven"
            )
        return self

    @model_validator(mode="after")
    def _remembers_long_enough(self) -> "Settings":
        """What is forgotten within the window of a detector is missing where it looks back, and in a cohort on both sides."""
        for kept, windows in REMEMBERED.items():
            days = getattr(self.retention, kept)
            for window in windows:
                asked = getattr(self.detect, window) / DAY_SECONDS
                if days < asked:
                    why = f"retention.{kept} is {days}, shorter than detect.{window}, {asked:g} days"
                    raise ValueError(f"{why}: raise the first, or lower the second")
        return self

    @model_validator(mode="after")
    def _one_identity_a_name(self) -> "Settings":
        """A name that two identities hold at one time would let the order of the file decide who is accused."""
        holders: dict[tuple[str, str], list[tuple[int, Identity]]] = {}
        for number, entry in enumerate(self.identities):
            identity = entry.identity()
            uid = () if identity.uid is None else (("uid", str(identity.uid)),)
            for name in dict.fromkeys((*uid, *names_of(identity))):
                by_cluster = name[0] in ("uid", *OF_CLUSTERS)
                for other, held in holders.setdefault(name, []):
                    at_one_time = held.valid_from < identity.valid_to and identity.valid_from < held.valid_to
                    in_one_place = not by_cluster or held.is_beside(identity)
                    if held.id != identity.id and at_one_time and in_one_place:
                        raise ValueError(
                            f"{IDENTITIES}.{other} ({held.id}) and {IDENTITIES}.{number} ({identity.id}) both claim {name[0]} {name[1]!r} "
                            "at the same time: give one of them valid_to, or take the name from it"
                            + (", or say of both in which `clusters` it is theirs" if by_cluster else "")
                        )
                holders[name].append((number, identity))
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  a signature of pydantic-settings
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
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
                    start=milliseconds(entry.start, 0),
                    end=milliseconds(entry.end, 0),
                    identities=frozenset(entry.identities),
                    cluster=entry.cluster,
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
        """What the stages see: all that names people under the names that ingest tells; the same digest."""
        veil = self.veil()
        pseudonyms = veil.pseudonyms
        if pseudonyms is None or self._veiled is not None:
            return self
        name, text = pseudonyms.name, pseudonyms.text
        renamed = self.model_copy(
            update={
                "identities": tuple(entry.renamed(pseudonyms) for entry in self.identities),
                "tickets": tuple(
                    each.model_copy(update={"id": text(each.id), "identities": tuple(map(name, each.identities))}) for each in self.tickets
                ),
                "artefact_roots": tuple(
                    root.model_copy(update={"path": text(root.path), "owner": name(root.owner), "writers": tuple(map(name, root.writers))})
                    for root in self.artefact_roots
                ),
                "detect": self.detect.model_copy(
                    update={"suppressions": tuple(each.renamed(pseudonyms) for each in self.detect.suppressions)}
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
