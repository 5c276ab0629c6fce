"""Sections `time` and `retention`: how long verdicts wait, and how long cases are remembered.  All of it is event time."""

from pydantic import Field

from pipeline.settings.part import Part


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
    cohort_members_max: int = Field(2000, ge=10, le=100_000, description="attempts in one cohort; of whoever has the most, the newest stay")
    case_facts_max: int = Field(20_000, ge=100, description="facts of one kind on a job, ended attempts of a cluster; the rest is counted")
    host_signals_max: int = Field(
        5000, ge=50, description="signals a day and host by one who reaches only himself; like ones a 50th an hour"
    )
