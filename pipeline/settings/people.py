"""Sections `identities`, `tickets` and `privacy`: who is who, what was allowed when, and what is told of them."""

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, model_validator

from pipeline.errors import ConfigError
from pipeline.model.identity import Identity
from pipeline.model.privacy import Maskable, Pseudonyms
from pipeline.settings.part import Part, milliseconds, one_place, others_may, secret_of

FOREVER = 2**62  # ms
PRIVACY_KEY_MIN = 16


class Role(StrEnum):
    """What an identity is to the cluster."""

    MEMBER = "member"
    ADMIN = "admin"
    SERVICE = "service"
    SHARED = "shared"


NameKind = Literal["login", "kubernetes", "cloud", "bastion", "git", "key", "email"]


class IdentitySettings(Part):
    """One identity: a person or a service, and the names under which logs know it, valid in a period."""

    id: str = Field(min_length=1, description="the identity's own id, e.g. u017")
    uid: int | None = Field(None, ge=0, le=0xFFFFFFFE, description="numeric user id, in its clusters")
    login: str = Field("", description="login name")
    names: dict[NameKind, tuple[str, ...]] = Field(
        default_factory=dict,
        description="further names by kind: kubernetes (users, oidc:..., service accounts), cloud (ARNs, access keys), bastion, git, "
        "key (SHA256:...), email, login",
    )
    team: str = Field("", description="team, for the relation `team` between actor and owner")
    role: Role = Field(
        Role.MEMBER,
        description="member, admin, service, or shared: an account that several people use; what is done with it is judged as a "
        "person's act, and it is never named",
    )
    clusters: tuple[str, ...] = Field(
        (),
        description="clusters in which uid, logins and kubernetes names are this one's; empty: all. Who has others elsewhere has an"
        " entry for each, under one id",
    )
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
            valid_from=milliseconds(self.valid_from, 0),
            valid_to=milliseconds(self.valid_to, FOREVER),
            clusters=self.clusters,
        )


class TicketSettings(Part):
    """A change ticket or maintenance window that covers what an admin did."""

    id: str = Field(min_length=1, description="number of the ticket")
    identities: tuple[str, ...] = Field((), description="identity ids that act under it; empty: any admin")
    start: datetime = Field(description="start of the window, with offset")
    end: datetime = Field(description="end of the window, with offset")
    cluster: str = Field("", description="cluster of its hosts and jobs; empty: every")
    hosts: tuple[str, ...] = Field((), description="hosts concerned; empty: all")
    jobs: tuple[str, ...] = Field((), description="raw job ids concerned; empty: all")

    @model_validator(mode="after")
    def _ordered(self) -> "TicketSettings":
        if self.start.tzinfo is None or self.end.tzinfo is None or self.end <= self.start:
            raise ValueError(f"ticket {self.id}: start and end need an offset, and end must be later")
        return self


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
        one_place("key", self.key, self.key_file)
        if self.pseudonyms and not self.key.get_secret_value() and self.key_file is None:
            raise ValueError("pseudonyms without a key could be undone by guessing: set key_file, to what `openssl rand -hex 32` prints")
        return self

    def secret(self) -> bytes:
        """The key.  Raises ConfigError when its file cannot be read, others may read it, or it is too short."""
        if self.key_file is not None and self.key_file.exists() and others_may(self.key_file.stat()):
            raise ConfigError(f"others may read {self.key_file}", advice=f"chmod 600 {self.key_file}; if somebody may have, use a new key.")
        key = secret_of("privacy.key_file", self.key, self.key_file)
        if len(key) < PRIVACY_KEY_MIN:
            raise ConfigError(f"privacy: a key of {len(key)} characters", advice=f"Use {PRIVACY_KEY_MIN} or more, drawn by a machine.")
        return key.encode()
