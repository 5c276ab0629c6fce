"""Section `detect`: windows and bounds of the detectors, what they take for harmless, and which alerts are suppressed."""

from pydantic import Field, field_validator, model_validator

from pipeline.model.networks import network_of
from pipeline.settings.excused import Allowed, SuppressionSettings, no_two_at_once
from pipeline.settings.part import Part


class DetectSettings(Part):
    """Windows of the detectors, seconds.  Entries of allow-lists are values, or {value, because, until}."""

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
    roaming_networks: tuple[Allowed, ...] = Field(
        (), description="networks of VPN and gateways, e.g. 10.21.0.0/16: to come from there is no place"
    )
    flood_window_seconds: int = Field(3600, ge=60, description="span in which a flood of jobs displaces others (sliding)")
    flood_jobs_min: int = Field(20, ge=2, description="jobs in that span below which nobody floods: sweeps of a team stay below")
    flood_own_factor: float = Field(2.0, ge=1, description="and this many times the person's own busiest span before, floods left out")
    flood_victims_min: int = Field(3, ge=1, description="attempts of others preempted for them; fewer are the scheduler's daily business")
    flood_short_seconds: int = Field(1800, ge=60, description="jobs that end within this, half of all and not cancelled, are an evaluation")
    import_window_seconds: int = Field(2_592_000, ge=3600, description="a module imported this long after a write is judged (30 days)")
    hook_window_seconds: int = Field(2_592_000, ge=3600, description="... and a start-up hook (30 days)")
    dataset_window_seconds: int = Field(7_776_000, ge=3600, description="... and a shard of a dataset (90 days)")
    removal_window_seconds: int = Field(604_800, ge=3600, description="a job that goes on this long after a removal feels it (7 days)")
    unpickle_window_seconds: int = Field(1800, ge=1, description="a program started this long after an odd unpickling belongs to it")
    door_window_seconds: int = Field(86_400, ge=60, description="... and a key added, or a port opened, this long after it (24 h)")
    pickle_globals_allowed: tuple[Allowed, ...] = Field(
        (
            "torch", "numpy", "collections", "functools.partial", "transformers", "tokenizers", "datasets", "accelerate", "megatron",
            "deepspeed", "apex", "transformer_engine", "lightning", "pytorch_lightning", "omegaconf", "argparse", "pathlib", "datetime",
        ),
        description="modules, or module.name, that checkpoints may name: what is below one is allowed, too",
    )  # fmt: skip
    child_programs_allowed: tuple[Allowed, ...] = Field(
        (
            "ffmpeg", "ffprobe", "git", "nvcc", "ninja", "gcc", "g++", "cc", "c++", "ld", "ptxas", "cicc", "cuobjdump", "nvdisasm",
            "nvidia-smi", "ldconfig", "uname", "hostname", "lscpu", "which", "df", "du", "ls", "cat", "tar", "gzip", "pigz", "cmake",
            "make",
        ),
        description="programs that data loaders and compilers start",
    )  # fmt: skip
    hooks_allowed: tuple[Allowed, ...] = Field((), description="sha256 of start-up hooks and shims that are known to be harmless")
    hook_names_known: tuple[Allowed, ...] = Field(
        ("__editable__*", "coverage*", "a1_coverage*", "distutils-precedence.pth", "*-nspkg.pth", "libnccl*", "libprof*", "*profiler*"),
        description="file names of ordinary hooks; a name alone lowers a hit and ends none",
    )
    diagnosis_window_seconds: int = Field(172_800, ge=3600, description="a write this long after reading diagnostics is a round (48 h)")
    diagnosis_rounds_min: int = Field(6, ge=3, description="rounds below which nothing is said: one round proves nothing")
    diagnosis_chance_max: float = Field(
        1e-3, gt=0, le=0.05, description="chance of the rounds, if writes came at any time, above which not"
    )
    suppressions: tuple[SuppressionSettings, ...] = Field(
        (), description="alerts that stay below the gate: detector, cluster, subject, path or owner, because, until, from"
    )

    @field_validator("roaming_networks")
    @classmethod
    def _are_networks(cls, entries: tuple[Allowed, ...]) -> tuple[Allowed, ...]:
        for entry in entries:
            network_of(entry if isinstance(entry, str) else entry.value)
        return entries

    @model_validator(mode="after")
    def _one_reason(self) -> "DetectSettings":
        no_two_at_once(self.suppressions)
        return self
