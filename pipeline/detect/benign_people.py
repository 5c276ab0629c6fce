"""The harmless explanations of what people do to hosts and with accounts, in the form of `benign.py`.

In: a case of a host or of an account, and a suspicion.  Out: an `Explanation`: confirmed by a record, excluded by a record or by a source
that was heard, or not checked.
"""

from ipaddress import ip_address

from pipeline.detect import acts
from pipeline.detect.benign import HARDWARE_XIDS, Suspicion, no_system
from pipeline.detect.subjects import HostCase, IdentityCase
from pipeline.model.actor import actor_of, key_of
from pipeline.model.events import AuditRecord, Event, JobRecord, KernelLine, Login, ProcessRun, Xid
from pipeline.model.finding import Checked, Explanation
from pipeline.model.identity import KEY, Identity
from pipeline.model.instants import DAY_MS, HOUR_MS
from pipeline.model.networks import is_in
from pipeline.model.source import PER_HOST, Source
from pipeline.settings import allowed
from pipeline.stream.watermark import Watermarks

SAME_ACT_MS = 60_000  # what sudo and the kernel tell of one command
PUT_BACK_MS = 180_000  # a package upgrade stops an agent and starts it again
REBOOT_BEFORE_MS, REBOOT_AFTER_MS = 300_000, 900_000
PRESENT_MS = 3_600_000
SESSION_MS = 12 * HOUR_MS  # who logged in may work on for a day; no record that is kept tells when a session ended
LEMON_XIDS = 2
OF_ROOTS = ", says the node's log, which root there can write"
KNOWN_DAYS = 3
DOCUMENTED = ("192.0.2.", "198.51.100.", "203.0.113.", "2001:db8:")  # networks of examples: Python counts them as private


# --- hosts ----------------------------------------------------------------------------------------------------------------------


def by_system(case: HostCase, suspicion: Suspicion, now: Watermarks) -> Explanation:  # noqa: ARG001 - one signature for all
    """The system, or a service of the site, did it: an upgrade, a health check, an epilog."""
    name, who = "by_system", suspicion.actor
    if who is None:
        return Explanation(name, Checked.NOT_CHECKED, note="no record says who acted")
    if who.role in ("daemon", "service"):
        return Explanation(name, Checked.CONFIRMED, suspicion.cause.record, f"the actor is a {who.role}")
    return Explanation(name, Checked.EXCLUDED, suspicion.cause.record, no_system(who))


def change_ticket(case: HostCase, suspicion: Suspicion, now: Watermarks) -> Explanation:  # noqa: ARG001
    """A change ticket or maintenance window covers the act on this host."""
    name, who, cause = "change_ticket", suspicion.actor, suspicion.cause
    if who is None:
        return Explanation(name, Checked.NOT_CHECKED, note="no record says who acted")
    ticket = case.site.directory.ticket_for(who, cause.event_time, cluster=case.cluster, host=case.host)
    if ticket is not None:
        return Explanation(name, Checked.CONFIRMED, cause.record, f"ticket {ticket.id}")
    return Explanation(name, Checked.EXCLUDED, note="no ticket in the settings covers actor, time and host")


def put_back(case: HostCase, suspicion: Suspicion, now: Watermarks) -> Explanation:
    """Recording was switched on again at once: an agent was upgraded, or its rules were loaded anew.

    By a login, or for what was done in between: who acted puts it back as easily.  The system's own upgrades are `by_system`.
    """
    name, start = "put_back", suspicion.cause.event_time
    last = suspicion.effect_time + PUT_BACK_MS
    for event in case.between(start, last):
        if acts.puts_back(event):
            return Explanation(
                name, Checked.NOT_CHECKED, event.record, f"{acts.named(event)} soon behind it; what was done meanwhile is not known"
            )
    if not now.passed(case.cluster, Source.AUDITD, last):
        return Explanation(name, Checked.NOT_CHECKED, missing=(Source.AUDITD,))
    return Explanation(name, Checked.EXCLUDED, note="no record says that it was put back")


def restarted(case: HostCase, suspicion: Suspicion, now: Watermarks) -> Explanation:
    """The host was going down, or came up: then everything stops, and starts again.

    The system does that; who switched recording off by hand before it may have made the host start, too.
    """
    name = "restarted"
    start, end = suspicion.cause.event_time - REBOOT_BEFORE_MS, suspicion.effect_time + REBOOT_AFTER_MS
    for event in case.between(start, end):
        body = event.body
        boots = isinstance(body, AuditRecord) and body.record_type in ("SYSTEM_BOOT", "SYSTEM_SHUTDOWN")
        if boots or (isinstance(body, KernelLine) and "Linux version" in body.text):
            return Explanation(
                name, Checked.NOT_CHECKED, event.record, "the host was started or shut down; by a login it was silenced before"
            )
    if not any(case.heard_between(source, suspicion.effect_time, end) for source in PER_HOST):
        return Explanation(name, Checked.NOT_CHECKED, note="nothing was heard of the host any more")
    if missing := _kernel_missing(case, now, suspicion.effect_time + PUT_BACK_MS):
        return Explanation(name, Checked.NOT_CHECKED, missing=missing)
    return Explanation(name, Checked.EXCLUDED, note="the host was heard, and does not speak of a start")


def cut_off(case: HostCase, suspicion: Suspicion, now: Watermarks) -> Explanation:  # noqa: ARG001
    """The host was cut off from the network: then all its sources fall silent together."""
    name = "cut_off"
    if acts.recorded_by_kernel(suspicion.cause) or acts.on_telemetry(suspicion.cause) == "clear":
        return Explanation(name, Checked.EXCLUDED, suspicion.cause.record, "the act is on record, whatever was heard behind it")
    last = suspicion.effect_time + case.site.windows.telemetry_window_seconds * 1000
    silenced = acts.silences(suspicion.cause)
    others = [source for source in sorted(PER_HOST) if source not in silenced]
    heard = [source for source in others if case.heard_between(source, suspicion.effect_time + case.site.bucket_ms, last)]
    if heard:
        return Explanation(name, Checked.EXCLUDED, note=f"{', '.join(heard)} was heard meanwhile")
    return Explanation(name, Checked.NOT_CHECKED, note="no other source of the host was heard meanwhile", missing=tuple(others))


def overflow(case: HostCase, suspicion: Suspicion, now: Watermarks) -> Explanation:
    """The kernel could not keep up and lost records by itself: load makes gaps, too."""
    name = "overflow"
    window = case.site.windows.telemetry_window_seconds * 1000
    for event in case.between(suspicion.cause.event_time - window, suspicion.effect_time + window):
        if isinstance(event.body, KernelLine) and ("backlog" in event.body.text or "audit_lost" in event.body.text):
            return Explanation(name, Checked.NOT_CHECKED, event.record, "the kernel lost audit records for want of room")
    if missing := _kernel_missing(case, now, suspicion.effect_time + PUT_BACK_MS):
        return Explanation(name, Checked.NOT_CHECKED, missing=missing)
    return Explanation(name, Checked.EXCLUDED, note="no line of the kernel speaks of lost audit records")


def _kernel_missing(case: HostCase, now: Watermarks, time: int) -> tuple[str, ...]:
    """The system log of this host, where it has not passed this time, or said nothing in the hour before: another's tells nothing of it."""
    gap = case.site.windows.coverage_gap_seconds * 1000
    heard = now.passed(case.cluster, Source.KERNEL, time) and case.heard_between(Source.KERNEL, time - gap, time)
    return () if heard else (f"{Source.KERNEL} on {case.host}",)


def still_heard(case: HostCase, suspicion: Suspicion, now: Watermarks) -> Explanation:
    """The act had no effect: what it would have silenced was heard all the same."""
    name, cause = "still_heard", suspicion.cause
    kind = acts.on_telemetry(cause)
    if acts.recorded_by_kernel(cause):
        return Explanation(name, Checked.EXCLUDED, cause.record, "the record says that it took effect")
    if kind == "clear":
        if (by := _seen_by_kernel(case, cause)) is not None:
            return Explanation(name, Checked.EXCLUDED, by.record, "the kernel saw it done")
        return Explanation(name, Checked.NOT_CHECKED, cause.record, "only what was asked for is on record, as anybody may write it")
    if kind == "clock":
        return Explanation(name, Checked.NOT_CHECKED, cause.record, "a clock that was wrong is set right so, too")
    window = case.site.windows.telemetry_window_seconds * 1000
    for source in acts.silences(cause):
        if gap_after(case, source, suspicion.effect_time, now) is not None:
            return Explanation(name, Checked.EXCLUDED, note=f"{source} fell silent on {case.host}")
    passed = all(now.passed(case.cluster, source, suspicion.effect_time + window) for source in acts.silences(cause))
    note = "no gap followed" if passed and acts.silences(cause) else "what followed is not known yet, or cannot be"
    return Explanation(name, Checked.NOT_CHECKED, note=note)


def _seen_by_kernel(case: HostCase, cause: Event) -> Event | None:
    """The kernel's own word that the command ran.

    Sudo and a shell's history write down what they are given, and `logger` writes a line like sudo's for anybody.
    """
    for event in (cause, *case.between(cause.event_time - SAME_ACT_MS, cause.event_time + SAME_ACT_MS)):
        if isinstance(event.body, ProcessRun) and acts.on_telemetry(event) == "clear":
            return event
    return None


def gap_after(case: HostCase, source: Source, time: int, now: Watermarks) -> int | None:
    """When the source fell silent after a time, if it was heard before; None: it did not, or nobody can know yet."""
    width = case.site.bucket_ms
    window = case.site.windows.telemetry_window_seconds * 1000
    if not now.passed(case.cluster, source, time + window) or now.lost(case.cluster, source, case.host, time, time + window):
        return None
    heard_before = not case.silent_buckets(source, time - 3 * width, time)
    silent = case.silent_buckets(source, time, time + window)
    return silent[0] if heard_before and len(silent) > 1 else None


def thermal_or_hardware(case: HostCase, suspicion: Suspicion, now: Watermarks) -> Explanation:
    """The machine itself was slow: throttled by heat or power, or with a failing GPU.

    Or whoever acted wrote so into the node's log, being root there; and what runs hot may be capped by who looks after it.
    """
    name = "thermal_or_hardware"
    window = case.site.windows.hardware_window_seconds * 1000
    start, end = suspicion.cause.event_time - window, suspicion.effect_time
    for event in case.between(start, end):
        body = event.body
        if isinstance(body, Xid) and body.code in HARDWARE_XIDS:
            return Explanation(name, Checked.NOT_CHECKED, event.record, f"Xid {body.code}{OF_ROOTS}")
        if isinstance(body, KernelLine) and "throttled" in body.text:
            return Explanation(name, Checked.NOT_CHECKED, event.record, f"throttled by heat or power{OF_ROOTS}")
    missing = _kernel_missing(case, now, end)
    if missing or not any(case.heard_between(source, start, end) for source in PER_HOST):
        return Explanation(name, Checked.NOT_CHECKED, missing=missing or (f"{Source.KERNEL} on {case.host}",))
    return Explanation(name, Checked.EXCLUDED, note="the kernel log shows neither a fault nor throttling")


def lemon_node(case: HostCase, suspicion: Suspicion, now: Watermarks) -> Explanation:
    """The node is known to fail: then it may be slow by itself."""
    name = "lemon_node"
    faults = [
        event for event in case.between(0, suspicion.cause.event_time) if isinstance(event.body, Xid) and event.body.code in HARDWARE_XIDS
    ]
    if len({event.event_time // DAY_MS for event in faults}) >= LEMON_XIDS:
        return Explanation(name, Checked.NOT_CHECKED, faults[-1].record, "hardware faults on several days before")
    if missing := _kernel_missing(case, now, suspicion.cause.event_time):
        return Explanation(name, Checked.NOT_CHECKED, missing=missing)
    return Explanation(name, Checked.EXCLUDED, note="no hardware faults on several days before")


# --- accounts -------------------------------------------------------------------------------------------------------------------


def service_account(case: IdentityCase, suspicion: Suspicion, now: Watermarks) -> Explanation:  # noqa: ARG001
    """The account is a service's or a team's, or a service used it: CI, transfers.

    Of an account that several people use nothing follows from who opens it, while they have it; what is done with it is judged.
    """
    name, cause = "service_account", suspicion.cause
    if not case.validities:
        return Explanation(name, Checked.NOT_CHECKED, note="the identity map does not say whose account it is")
    hand = actor_of(case.site.directory, cause)
    if any(each.role == "service" for each in case.validities) or (hand is not None and hand.role == "service"):
        return Explanation(name, Checked.CONFIRMED, cause.record, "a service identity")
    shared, holder = any(each.role == "shared" for each in case.validities), case.valid_at(cause.event_time)
    if holder is not None and holder.role == "shared" and not isinstance(cause.body, JobRecord):
        return Explanation(name, Checked.CONFIRMED, cause.record, "an account that several people use")
    whose = "several people's" if shared else "a person's"
    return Explanation(name, Checked.EXCLUDED, note=f"the identity map says that it is {whose}")


def written_agreement(case: IdentityCase, suspicion: Suspicion, now: Watermarks) -> Explanation:  # noqa: ARG001
    """A ticket covers it: hand-over after the end, debugging together, a stand-in."""
    name, cause = "written_agreement", suspicion.cause
    hand = actor_of(case.site.directory, cause)
    people = [*case.validities, *((hand,) if hand is not None else ()), Identity(id=case.name)]
    for who in people:
        ticket = case.site.directory.ticket_for(who, cause.event_time, cluster=case.cluster, host=cause.host, job=cause.job)
        if ticket is not None and who.id in ticket.identities:
            return Explanation(name, Checked.CONFIRMED, cause.record, f"ticket {ticket.id}")
    return Explanation(name, Checked.EXCLUDED, note="no ticket in the settings covers person and time")


def within_grace(case: IdentityCase, suspicion: Suspicion, now: Watermarks) -> Explanation:  # noqa: ARG001
    """It came within the days that the site gives everybody to hand over."""
    name, time = "within_grace", suspicion.cause.event_time
    grace = case.site.windows.offboarding_grace_seconds * 1000
    left = max((each.valid_to for each in case.validities if each.valid_to <= time), default=None)
    if left is not None and time < left + grace:
        return Explanation(name, Checked.CONFIRMED, suspicion.cause.record, f"within {grace // 1000} s of the end")
    return Explanation(name, Checked.EXCLUDED, suspicion.cause.record, "later than the site's grace")


def job_from_before(case: IdentityCase, suspicion: Suspicion, now: Watermarks) -> Explanation:  # noqa: ARG001
    """It is a job that was submitted before the end and still ran."""
    name, cause = "job_from_before", suspicion.cause
    if isinstance(cause.body, JobRecord) and cause.body.submit is not None and case.valid_at(cause.body.submit) is not None:
        return Explanation(name, Checked.CONFIRMED, cause.record, "submitted before the end")
    return Explanation(name, Checked.EXCLUDED, cause.record, "an access of its own")


def own_key(case: IdentityCase, suspicion: Suspicion, now: Watermarks) -> Explanation:  # noqa: ARG001
    """The key is the account's own."""
    name, cause = "own_key", suspicion.cause
    if not isinstance(cause.body, Login):
        return Explanation(name, Checked.EXCLUDED, cause.record, "no login")
    enrolled = {key for each in case.validities for kind, key in each.names if kind == KEY}
    if key_of(cause.body.fingerprint) in enrolled:
        return Explanation(name, Checked.CONFIRMED, cause.record, "enrolled for the account")
    hand = actor_of(case.site.directory, cause)
    if hand is not None and hand.id != case.name and cause.body.fingerprint:
        return Explanation(name, Checked.EXCLUDED, cause.record, "enrolled by somebody else")
    if not enrolled:
        return Explanation(name, Checked.NOT_CHECKED, note="the identity map names no key of the account")
    return Explanation(name, Checked.EXCLUDED, cause.record, "not among the keys that are enrolled for the account")


def debugging_together(case: IdentityCase, suspicion: Suspicion, now: Watermarks) -> Explanation:
    """The owner was there: a key of the account came from the same address within the hour."""
    name, cause = "debugging_together", suspicion.cause
    for event, login in case.logins:
        near = abs(event.event_time - cause.event_time) <= PRESENT_MS and event.id != cause.id
        if near and login.address == getattr(cause.body, "address", "") and not borrowed(case, event, login):
            return Explanation(name, Checked.NOT_CHECKED, event.record, "the account's own login came from the same address")
    if missing := case.missing(now, Source.SSHD, cause.event_time - PRESENT_MS, cause.event_time + PRESENT_MS):
        return Explanation(name, Checked.NOT_CHECKED, missing=missing)
    return Explanation(name, Checked.EXCLUDED, note="no login of the account itself came from there about that time")


def roaming(case: IdentityCase, suspicion: Suspicion, now: Watermarks) -> Explanation:  # noqa: ARG001
    """One of the addresses belongs to a VPN or a gateway: a person roams between them."""
    name, address = "roaming", getattr(suspicion.cause.body, "address", "")
    networks = case.site.windows.roaming_networks
    if any(is_in(address, each) for each in allowed(networks, suspicion.cause.event_time)):
        return Explanation(name, Checked.CONFIRMED, suspicion.cause.record, "from a network that the settings call roaming")
    if not networks:
        return Explanation(name, Checked.NOT_CHECKED, note="the settings name no network of VPN or gateways")
    return Explanation(name, Checked.EXCLUDED, suspicion.cause.record, "from no network that the settings call roaming")


def usual_network(case: IdentityCase, suspicion: Suspicion, now: Watermarks) -> Explanation:
    """The account came from there on another day, too; or nobody knows it long enough to say."""
    name, cause = "usual_network", suspicion.cause
    address = getattr(cause.body, "address", "")
    days = {event.event_time // DAY_MS for event, _ in case.logins if event.event_time < cause.event_time - DAY_MS}
    if len(days) < KNOWN_DAYS:
        return Explanation(name, Checked.NOT_CHECKED, note="the account is not known long enough")
    for event, login in case.logins:
        if event.event_time < cause.event_time - PRESENT_MS and network(login.address) == network(address):
            return Explanation(name, Checked.CONFIRMED, event.record, "it came from this network before")
    if is_private(address):
        return Explanation(name, Checked.NOT_CHECKED, note="an address of a private network may be another host of the site")
    if missing := case.missing_over(now, Source.SSHD, case.logins[0][0].event_time, cause.event_time):
        return Explanation(name, Checked.NOT_CHECKED, missing=missing)
    return Explanation(name, Checked.EXCLUDED, cause.record, "a network from which the account never came before")


def support(case: IdentityCase, suspicion: Suspicion, now: Watermarks) -> Explanation:  # noqa: ARG001
    """An admin looks after the account's user, or does what its user asked for."""
    name, who = "support", suspicion.actor
    if who is None or who.role == "" or who.role == "admin":
        return Explanation(name, Checked.NOT_CHECKED, suspicion.cause.record, "an admin, or nobody that the identity map knows")
    return Explanation(name, Checked.EXCLUDED, suspicion.cause.record, "not an admin")


def nothing_done(case: IdentityCase, suspicion: Suspicion, now: Watermarks) -> Explanation:
    """Nothing was ordered in the account's name, or by its owner, who was logged in: somebody looked at something together with him.

    A scheduler tells the account alone.  The kernel tells from whose login a command came: then it was not the owner.
    """
    name, time = "nothing_done", suspicion.cause.event_time
    if certain := asked_by(case, suspicion):
        return Explanation(name, Checked.EXCLUDED, certain[0].record, "a request in the account's name, by who had become its user")
    if not (orders := orders_behind(case, time)):
        return Explanation(name, Checked.NOT_CHECKED, note="no request in the account's name is known behind it")
    since, until = time - SESSION_MS, orders[0].event_time
    own = [event for event, login in case.logins if since <= event.event_time <= time and not borrowed(case, event, login)]
    if own:
        untold = case.missing(now, Source.AUDITD, time, until)
        return Explanation(name, Checked.NOT_CHECKED, own[-1].record, "its owner had logged in, and may have asked for it", untold)
    if missing := case.missing_over(now, Source.SSHD, since, until):
        return Explanation(name, Checked.NOT_CHECKED, missing=missing)
    return Explanation(name, Checked.EXCLUDED, orders[0].record, "a request in the account's name came behind it")


def asked_by(case: IdentityCase, suspicion: Suspicion) -> list[Event]:
    """What who became the account's user asked for in its name within the hour, as the kernel tells: anybody can write a line of sudo."""
    who, time = suspicion.actor, suspicion.cause.event_time
    asked = [event for event in case.asked_by_others if time <= event.event_time <= time + PRESENT_MS]
    hands = [(event, actor_of(case.site.directory, event)) for event in asked]
    return [event for event, hand in hands if who is not None and hand is not None and hand.id == who.id]


def orders_behind(case: IdentityCase, time: int) -> list[Event]:
    """Requests in the account's name within the hour after a time, until its owner comes in: from then on they are the owner's own."""
    own = (event.event_time for event, login in case.logins if event.event_time > time and not borrowed(case, event, login))
    until = min(time + PRESENT_MS, min(own, default=time + PRESENT_MS))
    return [event for event in case.orders if time <= event.event_time <= until]


def network(address: str) -> str:
    """What addresses of one place have in common: /16, of IPv6 /32."""
    return ":".join(address.split(":")[:2]) if ":" in address else ".".join(address.split(".")[:2])


def is_private(address: str) -> bool:
    """Is the address of a private network, or none at all?"""
    try:
        return ip_address(address).is_private and not address.startswith(DOCUMENTED)
    except ValueError:
        return True


def borrowed(case: IdentityCase, event: Event, login: Login) -> bool:
    """Did a key open the account that somebody else enrolled?"""
    hand = actor_of(case.site.directory, event)
    return bool(login.fingerprint) and hand is not None and hand.id != case.name and hand.role != ""
