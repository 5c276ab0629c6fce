"""The source families: what a line is a log of.

A watermark exists per (cluster, family), because families differ from seconds to hours; coverage per (host, family) or
(cluster, family); a detector names the families it needs.  The family is decided by the payload format, never by the topic.
"""

from collections.abc import Iterable
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
    KUBERNETES_AUDIT = "kubernetes_audit"
    KUBERNETES_EVENTS = "kubernetes_events"
    SLURMD = "slurmd"
    FALCO = "falco"
    TETRAGON = "tetragon"
    HDFS_AUDIT = "hdfs_audit"
    CLOUDTRAIL = "cloudtrail"
    MINIO = "minio"
    S3_ACCESS = "s3_access"
    LUSTRE_CHANGELOG = "lustre_changelog"
    TELEPORT = "teleport"
    WAZUH = "wazuh"
    OSQUERY = "osquery"
    GIT_PUSH = "git_push"
    BOOTSTRAP = "bootstrap"  # what a scheduler listed when its logs began to be read


# Named after one of its programs: whoever looks for a line of su in sshd's log alone looks in vain.
WIDER = {Source.SSHD: "the access log of a host (auth.log, secure or its journal): lines of sshd, su, sudo, PAM, logind and cron alike"}


def in_words(sources: Iterable[str]) -> str:
    """What families that are named after a part of them hold; of `sources` as they stand in a table.  Empty: there is no such one."""
    used = {*sources}
    return "; ".join(f"source {source} is {words}" for source, words in WIDER.items() if source in used)


# Heard per host (an absence is judged against that host's coverage); the others are heard per cluster.  Watchers on nodes (Falco, osquery)
# join these when a detector judges their absence: until then their coverage by host would be kept for nobody.
PER_HOST = frozenset({Source.AUDITD, Source.SSHD, Source.KERNEL})

# Written on the host that they tell of, also where another host hands them in: whoever is root there writes there what he likes.
OF_HOSTS = PER_HOST | {Source.SLURMD, Source.FALCO, Source.TETRAGON, Source.WAZUH, Source.OSQUERY, Source.TRAINING, Source.PROBE}

# What a host's system log alone tells, and what jobs print: of a line of these nothing is known but what it says of itself.  The others
# have files, senders or a transport of their own, so of theirs a line that came by the system log is its writer's claim.
OF_LOGS = frozenset({Source.SSHD, Source.KERNEL, Source.TRAINING, Source.PROBE})

# Nobody waits for these: they come hours late (S3), in batches (sacct) or once a day (a push), and no detector needs them to have passed.
# A family that is waited for holds back every window of its cluster, and what may be forgotten, by its last word.
SLOW = frozenset({
    Source.SACCT, Source.SLURMD, Source.KUBERNETES_EVENTS, Source.BOOTSTRAP,
    Source.KUBERNETES_AUDIT, Source.FALCO, Source.TETRAGON, Source.HDFS_AUDIT, Source.CLOUDTRAIL, Source.MINIO,
    Source.S3_ACCESS, Source.LUSTRE_CHANGELOG, Source.TELEPORT, Source.WAZUH, Source.OSQUERY, Source.GIT_PUSH,
})  # fmt: skip

# What a topic family may speak for.  Whoever can print into a job's output must not become the controller or the kernel by it: a line
# of another family's format is no such line there.  A topic that carries several families is listed under each in the settings.
FAMILIES: dict[str, frozenset[Source]] = {
    "training": frozenset({Source.TRAINING, Source.PROBE}),
    "scheduler": frozenset({
        Source.JOBCOMP, Source.SLURMCTLD, Source.SACCT, Source.SLURMD, Source.KUBERNETES_EVENTS, Source.BOOTSTRAP,
    }),
    "access": frozenset({
        Source.AUDITD, Source.SSHD, Source.KERNEL, Source.KUBERNETES_AUDIT, Source.FALCO, Source.TETRAGON, Source.HDFS_AUDIT,
        Source.CLOUDTRAIL, Source.MINIO, Source.S3_ACCESS, Source.LUSTRE_CHANGELOG, Source.TELEPORT, Source.WAZUH, Source.OSQUERY,
        Source.GIT_PUSH,
    }),
}  # fmt: skip
