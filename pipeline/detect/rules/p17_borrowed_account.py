"""P17: an account was used after its owner had left, with a key of somebody else, from two places at once, or by who became its user.

In: logins, jobs and orders of one account.  Out: up to four kinds of findings about the account.  None names anybody as actor: whoever
used it, it is precisely not known that it was the owner, and who enrolled a key may have lost it.  Who became the account's user is
on record, and suspected for incidents to weigh, where it was always the same.

    valid_to 100 |  login@97   job submitted@98        login@130  job submitted@140     ->  access_after_end
                                            job from before ends@150: harmless
"""

from collections.abc import Iterator, Sequence, Sized

import msgspec

from pipeline.detect import benign_people
from pipeline.detect.benign import Suspicion
from pipeline.detect.case import evidence
from pipeline.detect.detector import CITED_MAX, Hit, Meta, explained, raised
from pipeline.detect.subjects import IdentityCase
from pipeline.model.conduct import BASTIONS
from pipeline.model.events import Event, JobRecord, Login, PrivilegeUsed, ProcessRun
from pipeline.model.finding import Evidence, Finding, Severity
from pipeline.model.instants import DAY_MS
from pipeline.model.source import Source
from pipeline.stream.watermark import Watermarks

META = Meta(
    id="p17_borrowed_account",
    version=6,
    title="Account used by others, or after its owner had left",
    subject="identity",
    severity=Severity.HIGH,
    attack=("T1078", "T1098.004", "T1656", "AML.T0012", "AML.T0073"),
    needs=(Source.SSHD, Source.JOBCOMP),
    window_seconds="detect.two_places_window_seconds",
    benign=(
        benign_people.service_account,
        benign_people.written_agreement,
        benign_people.within_grace,
        benign_people.job_from_before,
        benign_people.own_key,
        benign_people.debugging_together,
        benign_people.roaming,
        benign_people.usual_network,
        benign_people.support,
        benign_people.nothing_done,
    ),
    required=(
        "service_account",
        "written_agreement",
        "within_grace",
        "job_from_before",
        "own_key",
        "debugging_together",
        "roaming",
        "usual_network",
        "support",
        "nothing_done",
    ),
    blind_spots=(
        "A key that was copied, or an agent that was forwarded, looks like its owner.",
        "A key that the identity map does not know is nobody's.",
        "Tokens, cookies and `kubectl exec` into somebody's notebook leave no login.",
        "An owner who was there himself, or came from a network before, by a host whose own sshd was silent while others' were heard.",
        "What others order as an owner who had logged in within half a day is below the gate unless auditd tells whose login it came from.",
        "An owner who logged in longer ago, or on another way than by ssh, may be there all the same.",
        "What somebody else orders minutes before the owner comes in and orders something, too: of ten minutes the last order is kept.",
        "Whom a bastion lets in under a name that the map does not know.",
        "An identity map that is late says that people are there who have left, or the other way round.",
    ),
    runbook="Ask the owner where he was, and compare the addresses with those of the key's other logins; block the account meanwhile.",
)
WITHHELD = "account may be borrowed"
# Explanations that are beside the point of one kind of finding.
AFTER_END_ASIDE = ("own_key", "debugging_together", "roaming", "usual_network", "support", "nothing_done")
FOREIGN_KEY_ASIDE = ("within_grace", "job_from_before", "roaming", "usual_network", "support", "nothing_done")
Hits = list[Hit]


def judge(case: IdentityCase, now: Watermarks) -> Iterator[Finding]:
    """At most one finding for each end of validity, each foreign key, each day of two places, and each who entered."""
    yield from _after_end(case, now)
    yield from _foreign_keys(case, now)
    yield from _two_places(case, now)
    yield from _entered(case, now)


def _after_end(case: IdentityCase, now: Watermarks) -> Iterator[Finding]:
    """Accesses by the end of validity that they came after."""
    by_end: dict[int, Hits] = {}
    accesses = [event for event, _ in case.logins] + list(case.orders) + [run.event for run in case.runs]
    for event in sorted(accesses, key=lambda each: (each.event_time, each.id)):
        left = [each for each in case.validities if each.valid_to <= event.event_time]
        if not left or case.valid_at(event.event_time) is not None:
            continue
        entry = max(left, key=lambda each: each.valid_to)
        at = event.body.submit if isinstance(event.body, JobRecord) and event.body.submit else event.event_time
        suspicion = Suspicion(entry, event, at, event.host)
        if (found := _suspect(case, suspicion, now, AFTER_END_ASIDE)) is not None:
            by_end.setdefault(entry.valid_to, []).append(found)
    for end in sorted(by_end):
        hits = by_end[end]
        cited = [item for suspicion, _ in _shown(hits) for item in evidence("cause", suspicion.cause, _said(suspicion.cause))]
        yield _finding(
            case,
            hits,
            effect="access_after_end",
            anchor=str(end),
            summary=f"the account was used {_often(hits)} after the validity of its owner had ended",
            cited=cited,
            parts=(("the identity map states the end", 0.95),),
        )


def _foreign_keys(case: IdentityCase, now: Watermarks) -> Iterator[Finding]:
    """Logins by the key of somebody else that opened the account."""
    by_key: dict[str, Hits] = {}
    for event, login in case.logins:
        if not benign_people.borrowed(case, event, login):
            continue
        suspicion = Suspicion(case.actor(event), event, event.event_time, event.host)
        if (found := _suspect(case, suspicion, now, FOREIGN_KEY_ASIDE)) is not None:
            by_key.setdefault(login.fingerprint, []).append(found)
    for key in sorted(by_key):
        hits = by_key[key]
        cited = [item for suspicion, _ in _shown(hits) for item in evidence("cause", suspicion.cause, _said(suspicion.cause))]
        yield _finding(
            case,
            hits,
            effect="opened_with_foreign_key",
            anchor=case.site.directory.label("key", key),
            summary=f"the account was opened {_often(hits)} with a key that somebody else enrolled",
            cited=cited,
            parts=(("the identity map states the key's holder", 0.95),),
        )


def _two_places(case: IdentityCase, now: Watermarks) -> Iterator[Finding]:
    """From where the account always comes, and within the hour from where it never came before."""
    window = case.site.windows.two_places_window_seconds * 1000
    seen: dict[str, int] = {}  # network -> first login from there
    by_day: dict[int, Hits] = {}
    usual: Event | None = None
    pairs: dict[str, Event] = {}
    for event, login in case.logins:
        if not login.address:
            continue
        network = benign_people.network(login.address)
        seen.setdefault(network, event.event_time)
        new = event.event_time - seen[network] <= window
        if not new:
            usual = event
        elif usual is not None and event.event_time - usual.event_time <= window:
            suspicion = Suspicion(case.actor(event), event, event.event_time, event.host)
            aside = ("within_grace", "job_from_before", "own_key", "debugging_together", "support", "nothing_done")
            if (found := _suspect(case, suspicion, now, aside)) is not None:
                by_day.setdefault(event.event_time // DAY_MS, []).append(found)
                pairs[event.id] = usual
    for day in sorted(by_day):
        hits = by_day[day]
        cited = [item for hit, _ in _shown(hits) for item in evidence("cause", hit.cause, _said(hit.cause))]
        cited += [item for hit, _ in _shown(hits) for item in evidence("before", pairs[hit.cause.id], _said(pairs[hit.cause.id]))]
        yield _finding(
            case,
            hits,
            effect="two_places",
            anchor=str(day),
            summary="the account came from its usual network, and within the hour from one where it never came before",
            cited=cited,
            parts=(("two networks within the window", 0.6),),
            severity=Severity.MEDIUM,
        )


def _entered(case: IdentityCase, now: Watermarks) -> Iterator[Finding]:
    """Somebody else became the account's user: by su or sudo, or since a bastion let him in so."""
    by_whom: dict[str, Hits] = {}
    for event, body in case.entered:
        who = case.actor(event)
        if who is None or who.id == case.name or body.user == "root":
            continue  # what root becomes is routine: incidents weigh it, where somebody would be named
        if body.means in BASTIONS and not (who.role and case.validities):
            continue  # a bastion has names of its own, and accounts for all: what the map does not know of both is weighed likewise
        suspicion = Suspicion(who, event, event.event_time, event.host)
        aside = ("within_grace", "job_from_before", "own_key", "debugging_together", "roaming", "usual_network")
        if (found := _suspect(case, suspicion, now, aside)) is not None:
            by_whom.setdefault(body.user, []).append(found)
    for user in sorted(by_whom):
        hits = by_whom[user]
        entered = {hit.actor.id for hit, _ in hits if hit.actor is not None and hit.actor.role not in ("root", "daemon")}
        cited = [item for hit, _ in _shown(hits) for item in evidence("cause", hit.cause, _said(hit.cause))]
        for hit, _ in _shown(hits):
            for order in [*benign_people.asked_by(case, hit), *benign_people.orders_behind(case, hit.cause.event_time)]:
                cited += evidence("effect", order, _said(order))
        yield _finding(
            case,
            hits,
            effect="entered_by_other",
            anchor=case.site.directory.label("by", user),
            summary=f"somebody else became the account's user {_often(hits)}",
            cited=cited,
            parts=(("a log tells who became whom", 0.9),),
            suspect=entered.pop() if len(entered) == 1 else "",
        )


def _often(hits: Sized) -> str:
    return "once" if len(hits) == 1 else f"{len(hits)} times"


def _suspect(case: IdentityCase, suspicion: Suspicion, now: Watermarks, aside: tuple[str, ...]) -> Hit | None:
    """The suspicion with its checklist, without what is beside the point; None when one of them clears it."""
    checklist, _ = explained(META, case, suspicion, now)
    kept = tuple(item for item in checklist if item.name not in aside)
    return None if any(item.answer == "confirmed" for item in kept) else Hit(suspicion, kept)


def _best(hits: Sequence[Hit]) -> Hit:
    """A doubt about one of several must not hide the others."""
    return min(hits, key=lambda each: each.open)


def _shown(hits: Sequence[Hit]) -> Sequence[Hit]:
    """Whose records are cited: the first, and the one whose checklist the finding has."""
    best = _best(hits)
    return hits[:CITED_MAX] if best in hits[:CITED_MAX] else [best, *hits[: CITED_MAX - 1]]


def _finding(
    case: IdentityCase,
    hits: Hits,
    *,
    effect: str,
    anchor: str,
    summary: str,
    cited: list[Evidence],
    parts: tuple[tuple[str, float], ...],
    severity: Severity | None = None,
    suspect: str = "",
) -> Finding:
    first, checklist = hits[0].suspicion, _best(hits).checklist
    last = max(suspicion.effect_time for suspicion, _ in hits)
    nobody = msgspec.structs.replace(first, actor=None)
    found = raised(
        META, case, nobody, checklist, effect=effect, anchor=anchor, summary=summary, cited=cited, parts=parts,
        closes_at=last + benign_people.PRESENT_MS + case.site.grace_ms, severity=severity,
    )  # fmt: skip
    return msgspec.structs.replace(found, actor="", actor_withheld=WITHHELD, suspect=suspect)


def _said(event: Event) -> str:
    body = event.body
    if isinstance(body, Login):
        return f"login by {body.method} from {body.address}"
    if isinstance(body, PrivilegeUsed):
        return f"{body.means} to the account's user"
    if isinstance(body, ProcessRun):
        return "such a request under its uid, from the login of somebody else"
    return "job submitted" if isinstance(body, JobRecord) else "request to the scheduler or the cluster"
