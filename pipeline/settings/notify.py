"""Section `notify`: who is told of findings and incidents."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, model_validator

from pipeline.settings.part import Part

NoticeFormat = Literal["json", "ocsf", "slack", "feishu", "dingtalk"]
SeverityName = Literal["low", "medium", "high", "critical"]


class TargetSettings(Part):
    """A webhook that is told of findings and incidents."""

    name: str = Field(pattern=r"^[a-z0-9_-]{1,40}$", description="name of the target")
    url: SecretStr = Field(SecretStr(""), description="address; better in url_file, or in notify.urls from the environment")
    url_file: Path | None = Field(None, description="file whose first line is the address")
    secret_file: Path | None = Field(None, description="file whose first line is the key of the signature")
    format: NoticeFormat = Field(
        "json", description="what is sent: json, ocsf (the value of the topic; of a finding without its actor), slack, feishu, dingtalk"
    )
    severity_min: SeverityName = Field("high", description="told from this severity on")
    below_gate: bool = Field(False, description="also of findings that are not alerts")
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
    hourly_max: int = Field(
        30,
        ge=0,
        le=10_000,
        description="new findings of one detector that a target hears of in an hour; the rest wait; 0: no bound",
    )
    health_host: str = Field("127.0.0.1", min_length=1, description="address that serves /healthz, /readyz and /metrics of the notifier")
    health_port: int = Field(9440, ge=0, le=65_000, description="their port; 0: off")
    age_hours_max: int = Field(72, ge=1, le=8760, description="words older than this on the topic are noted and not told")

    @model_validator(mode="after")
    def _names(self) -> "NotifySettings":
        names = [target.name for target in self.targets]
        if len(names) != len(set(names)):
            raise ValueError("two targets of notify share a name")
        if stray := sorted({*self.urls, *self.secrets} - set(names)):
            raise ValueError(f"notify.urls or notify.secrets name {', '.join(stray)}, which is not a target")
        return self
