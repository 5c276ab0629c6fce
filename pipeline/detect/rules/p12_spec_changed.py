"""P12: a job's specification was changed by someone who neither owns it nor acts for its owner.

In: all facts on one attempt.  Out: findings.  The controller writes what changes first and who asked last, in one call:

    _update_job: setting time_limit to 5 for JobId=7          @97.0
    _slurm_rpc_update_job: complete JobId=7 uid=5099           @97.1     took effect, by 5099

A request that was refused is an attempt and is said to be one, below the gate as long as a mistyped number looks the same.  On Kubernetes
a patch or update of the job's object says both.
"""

from collections.abc import Iterator, Sequence

from pipeline.detect import benign, benign_cancel, benign_kubernetes
from pipeline.detect.benign import Suspicion
from pipeline.detect.case import Case, evidence
from pipeline.detect.detector import Hit, Meta, hit, raised, several
from pipeline.detect.refusals import refused
from pipeline.model.actor import actor_of, relation
from pipeline.model.events import ControllerJob, Event, JobUpdate, KubernetesRequest
from pipeline.model.finding import Checked, Evidence, Explanation, Finding, Severity
from pipeline.model.source import Source
from pipeline.stream.watermark import Watermarks

HARMLESS = frozenset({"comment", "admin_comment", "mail_user", "mail_type", "name", "wckey", "site_factor"})  # none changes what runs


def nothing_that_runs(case: Case, suspicion: Suspicion, now: Watermarks) -> Explanation:  # noqa: ARG001 - one signature for all
    """Only words changed: a comment, a name, whom to write to."""
    name, changes = "nothing_that_runs", case.set_by(suspicion.cause)
    if not changes:
        return Explanation(name, Checked.NOT_CHECKED, note="no record says what was changed")
    if all(body.change in HARMLESS for _, body in changes):
        return Explanation(name, Checked.CONFIRMED, changes[0][0].record, "nothing that the job runs with")
    return Explanation(name, Checked.EXCLUDED, changes[0][0].record, f"{', '.join(sorted({body.change for _, body in changes}))} changed")


OF_A_TRY = (
    benign.owner_or_service,
    benign.admin_ticket,
    benign.root_without_login,
    benign_kubernetes.controller_of_cluster,
    nothing_that_runs,
)
META = Meta(
    id="p12_spec_changed",
    version=4,
    title="Job's specification changed by a non-owner",
    subject="job",
    severity=Severity.HIGH,
    attack=("T1565.001", "T1078", "AML.T0010"),
    needs=(Source.SLURMCTLD, Source.JOBCOMP, Source.AUDITD, Source.KUBERNETES_AUDIT),
    window_seconds="detect.spec_window_seconds",
    benign=(*OF_A_TRY, benign_cancel.mistyped_number),
    required=("owner_or_service", "admin_ticket", "controller_of_cluster", "mistyped_number"),
    blind_spots=(
        "An edit of the script that the job runs is a change of a file: P04; one of a configuration that it reads leaves no trace here.",
        "An update through the owner's borrowed login looks like the owner: P17; one by root's timer, whoever made that, like the system.",
        "Refused tries are an alert from the third on, over ten minutes: who tries each of many jobs once stays below the gate.",
        "`scontrol suspend` leaves no uid in the controller's log at the default level.",
        "What a job asked for in the attempt before is another case: a requeue with another specification shows only through its update.",
    ),
    runbook="Compare the job with what was submitted (sacct --json), and look at the actor's session about that time.",
    direct=True,
)


def judge(case: Case, now: Watermarks) -> Iterator[Finding]:
    """One finding for the changes that took effect, and one per identity whose requests were refused."""
    done: list[Hit] = []
    for event in benign_cancel.updates(case):
        actor = actor_of(case.site.directory, event)
        if benign_cancel.is_refused(event) or relation(actor, case.owner) == "owner":
            continue
        if (found := hit(META, case, Suspicion(actor, event, event.event_time, event.host), now)) is not None:
            done.append(found)
    if done:
        yield _changed(case, done)
    made = benign_cancel.tries(case, to_change=True)
    yield from refused(META, case, now, made, OF_A_TRY, effect="spec_change_refused", tried_to="change", cite=_cited)


def _changed(case: Case, hits: Sequence[Hit]) -> Finding:
    suspicion, checklist = min(hits, key=lambda each: each.open)  # a service account's change before it must not hide a person's
    changed = [pair for each, _ in hits for pair in case.set_by(each.cause)]
    what = sorted({*(body.change for _, body in changed), *(_verb(each.cause) for each, _ in hits)} - {""})
    cited = [item for each, _ in hits for item in evidence("cause", each.cause, _said(each.cause))]
    cited += [item for event, body in changed for item in evidence("effect", event, _set(body))]
    ended = case.controller("time_limit") if "time_limit" in what or "timelimit" in what else None
    end = _ended_by(ended, hits[0].suspicion)
    return raised(
        META,
        case,
        suspicion,
        checklist,
        effect="spec_changed",
        summary=f"job {case.attempt.job} of {case.owner_id}: {', '.join(what) or 'its specification'} changed by somebody else",
        cited=[*cited, *end],
        parts=(("the controller completed the change", 0.97), ("what changed is on record", 1.0 if what else 0.8)),
        closes_at=hits[-1].suspicion.effect_time + case.site.grace_ms,
        severity=None if end or len(hits) > 1 else Severity.MEDIUM,
        several_actors=several(each for each, _ in hits),
    )


def _cited(tries: Sequence[Event]) -> Iterator[Evidence]:
    return (item for each in tries for item in evidence("cause", each, _said(each)))


def _ended_by(ended: tuple[Event, ControllerJob] | None, suspicion: Suspicion) -> list[Evidence]:
    """The limit that was set ended the job."""
    if ended is None or ended[0].event_time < suspicion.effect_time:
        return []
    return list(evidence("effect", ended[0], "the job ran into the limit"))


def _set(body: JobUpdate) -> str:
    """What was set; words that change nothing are left out, since whom to write to is often who asked."""
    return f"{body.change} set" if body.change in HARMLESS else f"{body.change} set to {body.value[:80]}"


def _verb(event: Event) -> str:
    return event.body.verb if isinstance(event.body, KubernetesRequest) else ""


def _said(event: Event) -> str:
    body = event.body
    if isinstance(body, KubernetesRequest):
        return f"{body.verb} of {body.resource} {body.name}"
    return "update of the job completed" if not benign_cancel.is_refused(event) else "update of the job refused"
