"""Section `clickhouse`: the database, how it is reached, and how long rows stand in it."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, model_validator

from pipeline.settings.part import Part, host_name, one_place, secret_of


class ClickHouseSettings(Part):
    """The database."""

    host: Annotated[str, AfterValidator(host_name)] = Field("", description="host name; empty: the embedded server")
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
        one_place("password", self.password, self.password_file)
        if self.ca_file is not None and not (self.secure and self.verify):
            raise ValueError("ca_file without TLS or with verify off would vouch for nobody: set secure and verify, or leave ca_file out")
        return self

    def kept_days(self, *tables: str) -> int:
        """For how long rows stand in all of these tables."""
        return min(self.retention_days_by_table.get(table, self.retention_days) for table in tables)

    def secret(self) -> str:
        """The password.  Raises ConfigError when its file cannot be read."""
        return secret_of("clickhouse.password_file", self.password, self.password_file)
