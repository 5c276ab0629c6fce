"""The source families: what a line is a log of.

A watermark exists per (cluster, family), because families differ from seconds to hours; coverage per (host, family) or
(cluster, family); a detector names the families it needs.  The family is decided by the payload format, never by the topic.
"""

from enum import StrEnum


class Source(StrEnum):
    """Closed set; the value is what stands in ClickHouse, in settings and in a finding's checklist."""

    JOBCOMP = "slurm_jobcomp"
    SLURMCTLD = "slurmctld"
    SACCT = "sacct"
    TRAINING = "training"
    PROBE = "probe"
    AUDITD = "auditd"
    SSHD = "sshd"
    KERNEL = "kernel"


# Heard per host (an absence is judged against that host's coverage); the others are heard per cluster.
PER_HOST = frozenset({Source.AUDITD, Source.SSHD, Source.KERNEL})

# What a topic family may speak for.  Whoever can print into a job's output must not become the controller or the kernel by it: a line
# of another family's format is no such line there.  A topic that carries several families is listed under each in the settings.
FAMILIES: dict[str, frozenset[Source]] = {
    "training": frozenset({Source.TRAINING, Source.PROBE}),
    "scheduler": frozenset({Source.JOBCOMP, Source.SLURMCTLD, Source.SACCT}),
    "access": frozenset({Source.AUDITD, Source.SSHD, Source.KERNEL}),
}
