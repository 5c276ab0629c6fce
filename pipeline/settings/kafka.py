"""Section `kafka`: the broker, how it is reached, and which topics are read."""

import ipaddress
import re
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from pipeline.settings.part import Part, host_name, one_place


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
            host_name(host)
        return ",".join(parts)

    @model_validator(mode="after")
    def _agrees(self) -> "KafkaSettings":
        """What contradicts itself would be an answer without a reason, minutes later.  Files are read when a client is made."""
        one_place("password", self.password, self.password_file)
        one_place("key_password", self.key_password, self.key_password_file)
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
