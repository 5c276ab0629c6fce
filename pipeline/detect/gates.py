"""When a hit is an alert, and when a person is named.

A wrong accusation harms a person, so a name needs evidence from at least two independent groups of sources, of which at least one lies
where the person could not write (architecture section 6).  Families that one daemon writes are one group: the controller log, jobcomp
and sacct all say what slurmctld believes.  What a sender told whom nobody authenticated, at a site that authenticates others, is of no
group, nor is a line of sudo in the system log that the kernel's audit does not confirm, nor a store's that believes any name.  Below a
gate the hit stays visible in the case, raises no alert and says why.
"""

from collections.abc import Iterable, Sequence

from pipeline.model.finding import NO_LOGIN, OF_ANYBODY, SELF_NAMED, UNPROVEN, Checked, Evidence, Explanation, Subject
from pipeline.model.identity import Identity
from pipeline.model.source import Source
from pipeline.settings import SuppressionSettings

GROUPS: dict[str, str] = {
    Source.SLURMCTLD: "scheduler",
    Source.JOBCOMP: "scheduler",
    Source.SACCT: "scheduler",
    Source.BOOTSTRAP: "scheduler",
    Source.AUDITD: "kernel audit",
    Source.KERNEL: "kernel log",
    Source.SSHD: "login",
    Source.TRAINING: "job output",
    Source.PROBE: "probe",
    Source.KUBERNETES_AUDIT: "cluster API",
    Source.KUBERNETES_EVENTS: "cluster API",
    Source.SLURMD: "node daemon",  # in reach of whoever is root on the node
    Source.TELEPORT: "bastion",
    Source.FALCO: "kernel watcher",
    Source.TETRAGON: "kernel watcher",
    Source.WAZUH: "kernel audit",  # the kernel's audit is where both have their actors from
    Source.OSQUERY: "kernel audit",
    Source.HDFS_AUDIT: "storage",
    Source.CLOUDTRAIL: "storage",
    Source.MINIO: "storage",
    Source.S3_ACCESS: "storage",
    Source.LUSTRE_CHANGELOG: "storage",
    Source.GIT_PUSH: "code host",
}
# A user of the cluster can write the output of jobs and, as root on a node, its logs; not what the controller's host keeps.
OUT_OF_REACH = frozenset({"scheduler"})
NODE_LOGS = frozenset({"kernel audit", "kernel log", "login"})
SUPPRESSED = "suppressed until "  # so begins what SQL counts


def name_or_reason(actor: Identity | None, cited: Iterable[Evidence], *, one_host: bool = False) -> tuple[str, str]:
    """(identity id, "") when the person may be named, else ("", why not).

    `one_host`: what is told befell a host and stands in its own logs, all of which root writes there, and so may whoever acted as root.
    """
    if actor is None:
        return "", "no record says who acted"
    if actor.role in ("root", "daemon"):
        return "", "the system's own account acted; no login is attached to it"
    cited = tuple(cited)
    proven = [item for item in cited if not item.summary.endswith(UNPROVEN)]
    if open_roles := {item.role for item in cited} - {item.role for item in proven}:
        return "", f"only senders that nobody authenticated tell the {', '.join(sorted(open_roles))}"
    by_login = [item for item in proven if not item.summary.endswith(NO_LOGIN)]
    if {item.role for item in proven} - {item.role for item in by_login}:
        return "", "no login is behind what was done: a daemon, a timer, a job or whoever is root may have used the account"
    sure = [item for item in by_login if not item.summary.endswith(OF_ANYBODY)]
    if open_roles := {item.role for item in by_login} - {item.role for item in sure}:
        named = any(item.role in open_roles and item.summary.endswith(SELF_NAMED) for item in by_login)
        what = "a store that believes any name" if named else "a line of the system log, as anybody writes it,"
        return "", f"only {what} tells the {', '.join(sorted(open_roles))}"
    groups = {GROUPS[item.source] for item in sure if item.source in GROUPS}
    if len(groups) < 2:
        unsaid = "" if len(by_login) == len(proven) else "; what others tell was done with no login behind it"
        return "", f"only one independent source: {groups.pop()}{unsaid}" if groups else "no independent source tells who acted"
    if not groups & OUT_OF_REACH and (one_host or len(groups & NODE_LOGS) + len(groups & {"probe"}) < 2):
        return "", "no source that the person could not write"
    return actor.id, ""


def alert_or_reason(checklist: Sequence[Explanation], required: Iterable[str]) -> tuple[bool, str]:
    """(True, "") when every required explanation is excluded, else (False, what is open)."""
    needed = set(required)
    open_ones = [item.name for item in checklist if item.name in needed and item.answer is not Checked.EXCLUDED]
    return (not open_ones, f"not checked: {', '.join(open_ones)}" if open_ones else "")


def suppressed(
    suppressions: Iterable[SuppressionSettings], detector: str, *, subject: Subject, files: Sequence[str], owner: str, effect_time: int
) -> str:
    """Why what would be an alert raises none, or "": the site puts up with it until then.

    A hit that is below its gate anyhow says what it lacks instead: what says this counts the alerts that a suppression cost.  What is
    about several files is held back only where the site puts up with all of them.
    """
    for each in suppressions:
        if (
            each.detector == detector
            and each.cluster in ("", subject.cluster)
            and each.subject in ("", subject.name)
            and each.owner in ("", owner)
            and (not each.path or (bool(files) and all(f"{file}/".startswith(f"{each.path.rstrip('/')}/") for file in files)))
            and each.since_ms <= effect_time < each.until_ms
        ):
            return f"{SUPPRESSED}{each.until_text}: {each.because}"
    return ""
