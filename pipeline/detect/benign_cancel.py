"""The harmless explanations of what is asked of a scheduler to end a job, or to change it, in the form of `benign.py`.

In: a case and a suspicion whose cause is a request.  Out: an `Explanation`; who was refused how often; and which requests may have ended
a job.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Collection, Sequence

from pipeline.detect import workload
from pipeline.detect.benign import COMMAND_MS, Suspicion
from pipeline.detect.benign_kubernetes import lived_on
from pipeline.detect.case import Cancel, Case
from pipeline.model import watched
from pipeline.model.actor import actor_of, relation
from pipeline.model.events import Event, JobRecord, JobUpdate, KillRequest, KubernetesRequest
from pipeline.model.finding import Checked, Explanation
from pipeline.model.identity import Identity
from pipeline.stream.watermark import Watermarks

_Times = defaultdict[int | None, list[int]]  # by uid, in order
CHANGES = frozenset({"patch", "update"})
TRIES_MIN, TRIES_MS = 3, 600_000
ONE_TRY_MS = 1_000  # the controller refuses one request in two lines


def which_signal(case: Case, suspicion: Suspicion, now: Watermarks) -> Explanation:  # noqa: ARG001 - one signature for all
    """The request was for a signal that ends nobody, such as one for a checkpoint, and the job failed by something else."""
    name, cause = "which_signal", suspicion.cause
    if not isinstance(cause.body, KillRequest) or case.state != "FAILED":
        return Explanation(name, Checked.EXCLUDED, cause.record, "the job ended as it was asked for")
    return Explanation(name, Checked.NOT_CHECKED, cause.record, "the controller does not say which signal was asked for")


def mistyped_number(case: Case, suspicion: Suspicion, now: Watermarks) -> Explanation:  # noqa: ARG001 - one signature for all
    """Somebody meant another job.  Whoever mistypes its number reads the answer, and does not go on for minutes.

    Tries before the one in question may have had their own reasons.  What anybody may have sent makes no more tries of one that somebody
    known told.
    """
    name, cause = "mistyped_number", suspicion.cause
    made = tries(case, to_change=changes(cause)).get(_id(suspicion.actor), []) if is_refused(cause) else []
    made = [each for each in made if each.event_time >= cause.event_time]
    if all(each.id != cause.id for each in made):
        return Explanation(name, Checked.EXCLUDED, cause.record, "it was not refused")
    times = [each.event_time for each in made if cause.unproven or not each.unproven]
    count, over = _count(times), times[-1] - times[0]
    tried = f"tries: {count}, in {over // 60_000} minutes"
    if count >= TRIES_MIN and over >= TRIES_MS:
        return Explanation(name, Checked.EXCLUDED, cause.record, tried)
    return Explanation(name, Checked.NOT_CHECKED, cause.record, f"{tried}; {TRIES_MIN} over {TRIES_MS // 60_000} minutes are no slip")


def may_have_ended(case: Case) -> Sequence[tuple[Event, KillRequest]]:
    """Requests by which an attempt may have ended CANCELLED, in order of time.

    Of the one whom accounting names, by uid or by name; where it is silent, of everybody but those whose own command shows that they were
    for a mere signal, which the controller's line does not say.
    """
    if case.end_record is None or case.end is None or case.state != "CANCELLED":
        return ()
    start, last, named = case.end - case.site.windows.cancel_window_seconds * 1000, case.end + 1_000, accounted(case)
    near = [(event, request) for event, request in case.requests() if start <= event.event_time <= last]
    if named:
        near = [each for each in near if any(may_be(case, each[0], who) for who in named)]
        if all(each.uid is not None for each in named):
            return near
    signals = _mere_signals(case)
    return [each for each in near if each[0].id not in signals]


def accounted(case: Case) -> Sequence[Cancel]:
    """Whom accounting names as the one who cancelled."""
    return [each for each in case.cancelled_by() if isinstance(each.event.body, JobRecord)]


def may_be(case: Case, asked: Event, named: Cancel) -> bool:
    """Was it the one who is named that asked?

    A name for which no uid is known is of nobody whose own name is known, such as root or the owner; of others nobody can tell.
    """
    uid = getattr(asked.body, "uid", None)
    if named.uid is not None:
        return uid == named.uid
    who = actor_of(case.site.directory, asked)
    return uid not in (0, case.owner_uid) and who is not None and not who.login


def _mere_signals(case: Case) -> Collection[str]:
    """Ids of requests about which `scancel` ran under their uid as often as was asked, each time for a signal that cancels nothing."""
    asked, ran, cancels = _Times(list), _Times(list), _Times(list)
    for event, request in case.of(KillRequest):
        if not request.refused and not request.no_effect:
            asked[request.uid].append(event.event_time)
    for event, run in case.ran("scancel"):
        ran[run.uid].append(event.event_time)
        if not run.success or not watched.signals_only(run.arguments):
            cancels[run.uid].append(event.event_time)
    return {
        event.id
        for event, request in case.of(KillRequest)
        if not _near(cancels[request.uid], event) and _near(ran[request.uid], event) >= _near(asked[request.uid], event)
    }


def _near(times: Sequence[int], event: Event) -> int:
    return bisect_right(times, event.event_time + COMMAND_MS) - bisect_left(times, event.event_time - COMMAND_MS)


def updates(case: Case) -> Sequence[Event]:
    """Requests to change the job, by time: those that say who asked.  Behind its end nothing is changed."""
    asked = [event for event, body in case.of(JobUpdate) if body.uid is not None]
    # How many there are is asked of a subresource: none is an end.
    told = (pair for granted in (True, False) for pair in case.kubernetes(*CHANGES, "scale", granted=granted))
    asked += [event for event, body in told if body.verb in CHANGES and body.subresource in ("", "scale")]
    if case.end is not None and not lived_on(case):
        asked = [each for each in asked if each.event_time <= case.end]
    return sorted(asked, key=lambda each: (each.event_time, each.id))


def changes(event: Event) -> bool:
    """Is the request for a change of the job, and not for its end?"""
    body = event.body
    return isinstance(body, JobUpdate) or (isinstance(body, KubernetesRequest) and body.verb in CHANGES)


def is_refused(event: Event) -> bool:
    """Did the scheduler, or the API server, refuse the request?"""
    body = event.body
    return workload.refused(body) if isinstance(body, KubernetesRequest) else isinstance(body, (KillRequest, JobUpdate)) and body.refused


def tries(case: Case, *, to_change: bool) -> dict[str, list[Event]]:
    """Requests of others than the owner to change the job, or to end it, that were refused, by identity, in order of time."""
    made: dict[str, list[Event]] = {}
    if to_change:
        asked = [event for event in updates(case) if is_refused(event)]
    else:
        asked = [event for event, request in case.of(KillRequest) if request.refused]
        if case.owner is not None:
            tried = case.kubernetes("delete", "eviction", granted=False)
            asked += [event for event, body in tried if workload.ends(body) or workload.stops(body)]
    for event in sorted(asked, key=lambda each: (each.event_time, each.id)):
        actor = actor_of(case.site.directory, event)
        if relation(actor, case.owner) != "owner":
            made.setdefault(_id(actor), []).append(event)
    return made


def _id(actor: Identity | None) -> str:
    return actor.id if actor else ""


def _count(times: list[int]) -> int:
    """How many tries leave lines at these times."""
    begun: list[int] = []
    for at in times:
        if not begun or at - begun[-1] > ONE_TRY_MS:
            begun.append(at)
    return len(begun)
