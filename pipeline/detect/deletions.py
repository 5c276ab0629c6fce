"""Jobs of Kubernetes that somebody else deleted, whole or by their parts: the half of P03 that asks the API server's log.

In: all facts on one attempt.  Out: findings.  The API server writes down who asked, and that it was granted; what it cannot tell is
whether the job was over before, or whether the request was a trial.
"""

from collections.abc import Iterator

from pipeline.detect import benign_kubernetes, workload
from pipeline.detect.benign import Suspicion
from pipeline.detect.case import Case, evidence
from pipeline.detect.detector import CITED_MAX, Hit, Meta, hit, raised, several
from pipeline.model.actor import actor_of, relation
from pipeline.model.events import Event, KubernetesRequest
from pipeline.model.finding import Finding, Severity
from pipeline.model.words import many
from pipeline.stream.watermark import Watermarks


def parts_taken(meta: Meta, case: Case, now: Watermarks) -> Iterator[Finding]:
    """Parts of a running job of Kubernetes that somebody else took away; a controller puts them back, or the job fails.

    Pods that belong to no job, or to one that nobody saw made, come and go all day: of those nothing is said.
    """
    hits: list[Hit] = []
    for event, body in case.kubernetes("delete", "eviction") if case.owner is not None else ():
        actor = actor_of(case.site.directory, event)
        over = case.end is not None and event.event_time > case.end and not benign_kubernetes.lived_on(case)
        if over or not workload.stops(body) or relation(actor, case.owner) == "owner":
            continue
        if (found := hit(meta, case, Suspicion(actor, event, event.event_time), now)) is not None:
            hits.append(found)
    if not hits:
        return
    # An admin's drain before it must not hide who takes pods: the hit that is best established speaks for all.
    (suspicion, checklist), last = min(hits, key=lambda each: each.open), hits[-1].suspicion.effect_time
    cited = [item for each, _ in hits[:CITED_MAX] for item in evidence("cause", each.cause, asked_for(each.cause))]
    if case.end_record is not None and case.state == "FAILED":
        cited += evidence("effect", case.end_record[0], "job ended FAILED")
    yield raised(
        meta,
        case,
        suspicion,
        checklist,
        effect="pods_deleted",
        summary=f"somebody else took {many(len(hits), 'part')} of the running job {case.attempt.job} of {case.owner_id} away",
        cited=cited,
        parts=(("the API server granted it", 0.95),),
        closes_at=last + case.site.grace_ms,
        several_actors=several(each for each, _ in hits),
    )


def deleted_in_doubt(meta: Meta, case: Case, now: Watermarks) -> Iterator[Finding]:
    """The deletion of a job that only an event says was over, and one that its address calls a trial: both may be what they say."""
    behind = benign_kubernetes.deleted_behind_end(case) if case.owner is not None else None
    trials = [event for event, body in case.kubernetes("delete") if body.trial and workload.ends(body)] if case.owner is not None else []
    seen = sorted({each.id: each for each in (behind, *trials) if each is not None}.values(), key=lambda each: (each.event_time, each.id))
    asked = (
        hit(meta, case, Suspicion(actor_of(case.site.directory, event), event, event.event_time), now)
        for event in seen
        if benign_kubernetes.is_persons(case, event)
    )
    hits = [each for each in asked if each is not None]
    if not hits:
        return
    suspicion, checklist = min(hits, key=lambda each: each.open)
    yield raised(
        meta,
        case,
        suspicion,
        checklist,
        effect="deleted_in_doubt",
        summary=f"somebody else deleted job {case.attempt.job} of {case.owner_id}; it may have been over, or a trial",
        cited=[item for each, _ in hits[:CITED_MAX] for item in evidence("cause", each.cause, asked_for(each.cause))],
        parts=(("the API server granted it", 0.5),),
        closes_at=hits[-1].suspicion.effect_time + case.site.grace_ms,
        severity=Severity.MEDIUM,
        several_actors=several(each for each, _ in hits),
    )


def asked_for(event: Event) -> str:
    """What a request was for, in words."""
    body = event.body
    if isinstance(body, KubernetesRequest):
        return f"{body.subresource or body.verb} of {body.resource} {body.name}"
    return "request to cancel"
