"""One-line findings of a campaign: who, when, on what; days from T0."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec

from pipeline.incidents.attribution import Known, attribute
from pipeline.model.facts import Fact, incidents_case
from pipeline.model.finding import Checked, Confidence, Evidence, Explanation, Finding, Severity, Status, Subject, subject_of
from pipeline.model.ids import digest, rank
from pipeline.model.incident import BLOCK_DAYS, Attribution, Examined, LoggedIn, Way, encode_in_case, entered_id
from pipeline.model.source import Source
from pipeline.model.told import Attempt
from pipeline.stream.watermark import Watermarks
from tests import build

CLUSTER, DAY = "main", 86_400_000
T0 = build.T0
CHECKED = (Explanation("owner_or_service", Checked.EXCLUDED),)


def marks(days: int, silent: Iterable[Source] = ()) -> Watermarks:
    """All sources have passed so many days, and were heard on each of them, but those in `silent`."""
    families = [source for source in Source if source not in set(silent)]
    buckets = frozenset(range(T0, T0 + days * DAY, build.BUCKET_MS * 12))
    passed = T0 + days * DAY
    return Watermarks(
        {(CLUSTER, source): (passed, passed) for source in families}, {(CLUSTER, source): buckets for source in families}, build.BUCKET_MS
    )


def record(role: str, name: str, time: int, source: str = "auditd", summary: str = "", host: str = "gpu-012") -> Evidence:
    """A cited record; where `source` is no host's, `host` tells nothing."""
    return Evidence(role, digest(name), digest("line", name) * 2, source, time, summary or role, host)


def attempt_of(job: str, day: float) -> Attempt:
    """An attempt that began an hour before."""
    time = T0 + round(day * DAY)
    return Attempt(CLUSTER, job, time - 7_200_000, time - 3_600_000)


def finding(detector: str, day: float, job: str, suspect: str, *, owner: str = "u012", named: bool = True, **changes: Any) -> Finding:
    """A finding about a job; `named`: its gates are passed."""
    time = T0 + round(day * DAY)
    run = attempt_of(job, day)
    value = Finding(
        detector=detector,
        detector_version=1,
        title=detector,
        severity=Severity.HIGH,
        subject=subject_of(run),
        attempt=run,
        effect="harmed",
        anchor="",
        owner=owner,
        actor=suspect if named else "",
        actor_withheld="" if named else "below the gate: admin_ticket",
        effect_time=time + 1000,
        cause_time=time,
        closes_at=time + 120_000,
        summary=f"job {job} was harmed",
        evidence=(record("cause", f"act-{detector}-{job}-{suspect}", time), record("effect", f"end-{job}", time + 1000, "slurm_jobcomp")),
        checklist=CHECKED,
        confidence=Confidence(0.9, ()),
        attack=(),
        alert=named,
        gate="" if named else "not checked: admin_ticket",
        sources=(),
        status=Status.FINAL,
        suspect=suspect,
    )
    return msgspec.structs.replace(value, **changes)


def kill(day: float, job: str, suspect: str, **changes: Any) -> Finding:
    """P01, seen by the kernel's audit."""
    return finding("p01_foreign_kill", day, job, suspect, **changes)


def cancel(day: float, job: str, suspect: str, **changes: Any) -> Finding:
    """P03, seen by the controller."""
    time = T0 + round(day * DAY)
    cited = (record("cause", f"order-{job}-{suspect}", time, "slurmctld"), record("effect", f"end-{job}", time + 1000, "slurm_jobcomp"))
    return finding("p03_foreign_cancel", day, job, suspect, **{"evidence": cited, **changes})


def slowed(day: float, node: str, suspect: str) -> Finding:
    """P14, seen by the node's own authentication log."""
    time = T0 + round(day * DAY)
    value = finding("p14_node_degraded", day, "0", suspect, evidence=(record("cause", f"sudo-{node}", time, "sshd", host=node),))
    return msgspec.structs.replace(value, attempt=None, owner="", subject=Subject("host", CLUSTER, node), effect="slowed")


def on(host: str, finding: Finding, mark: str = "") -> Finding:
    """The same, told by another host's logs; `mark` stands behind what is said of each record."""
    cited = (msgspec.structs.replace(each, host=host, summary=each.summary + mark) for each in finding.evidence)
    return msgspec.structs.replace(finding, evidence=tuple(cited))


def tamper(day: float, job: str, suspect: str, path: str = "/ckpt/a.pt", *, written: str = "", **changes: Any) -> Finding:
    """P06: the job loaded what the suspect had written an hour before."""
    time = T0 + round(day * DAY)
    cited = (
        record("written", written or f"write-{path}-{suspect}-{day}", time - 3_600_000),
        record("loaded", f"load-{job}-{path}", time, "probe"),
    )
    return finding(
        "p06_checkpoint_tamper", day, job, suspect, **{"evidence": cited, "anchor": path, "cause_time": time - 3_600_000, **changes}
    )


def removal(day: float, job: str, suspect: str, folder: str) -> Finding:
    """P08: the job went on from an older file of its run's folder, for the suspect had removed the newer ones an hour before."""
    time = T0 + round(day * DAY)
    removed, loaded = record("removed", f"remove-{folder}-{day}", time - 3_600_000), record("loaded", f"load-{job}-{folder}", time, "probe")
    return finding(
        "p08_checkpoint_removed", day, job, suspect, evidence=(removed, loaded), anchor=folder, cause_time=removed.event_time,
        effect="resumed_from_older",
    )  # fmt: skip


def borrowed(day: float, account: str) -> Finding:
    """P17: the account was opened with a key of somebody else."""
    time = T0 + round(day * DAY)
    value = finding("p17_borrowed_account", day, "0", "", owner="", evidence=(record("cause", f"login-{account}", time, "sshd"),))
    return msgspec.structs.replace(value, attempt=None, subject=Subject("identity", CLUSTER, account), effect="opened_with_foreign_key")


def examined(job: str, day: float, *, verdict: str = "benign", owner: str = "u050", project: str = "vision", **changes: Any) -> Examined:
    """An attempt that ended."""
    value = Examined(
        attempt=attempt_of(job, day),
        owner=owner,
        project=project,
        gpus=64,
        end=T0 + round(day * DAY),
        verdict=verdict,
        cause="completed" if verdict == "benign" else "no_record",
        missing=(),
        exposures=(),
    )
    return msgspec.structs.replace(value, **changes)


def entered(*accounts: str, days: Iterable[int] = range(-1, 120), place: str = "") -> list[Fact]:
    """What the stage identities tells of logins, days from T0; without a place as a release before did, that did not say how."""
    blocks: dict[int, list[int]] = {}
    for day in days:
        blocks.setdefault((T0 // DAY + day) // BLOCK_DAYS, []).append(T0 // DAY + day)

    def told(of_block: list[int]) -> LoggedIn:
        return LoggedIn(tuple(of_block), tuple(Way(day, "publickey", "", place) for day in of_block if place))

    return [
        Fact(incidents_case(CLUSTER), entered_id(who, block), rank(of_block[-1], len(of_block)), encode_in_case(told(of_block)))
        for who in accounts
        for block, of_block in blocks.items()
    ]


def weigh(
    members: Iterable[Finding],
    *,
    services: Iterable[str] = (),
    signals: Iterable[Finding] = (),
    heard: bool = True,
    silent: Collection[Source] = (),
    entered: Iterable[int] = range(-7, 60),
    unlike: Sequence[tuple[int, str]] = (),
    rivals: Iterable[Finding] = (),
) -> Attribution:
    """What attribution says of them; `entered`: days on which all accounts were; `unlike`: logins unlike the owner's."""
    days = set(entered)
    by_account: dict[str, list[Finding]] = {}
    for each in signals:
        by_account.setdefault(each.subject.name, []).append(each)
    known = Known(
        role=lambda who: "" if ":" in who else "service" if who in services else "member",
        signals=by_account,
        heard=lambda source, day: heard and source not in silent,  # noqa: ARG005
        entered=lambda who, time: (time - T0) // DAY in days,  # noqa: ARG005
        unlike=lambda who, day: unlike,  # noqa: ARG005
    )
    ordered = sorted(members, key=lambda each: (each.effect_time, each.id))
    return attribute(CLUSTER, ordered, known, rivals=sorted(rivals, key=lambda each: (each.effect_time, each.id)))
