"""P18: somebody switched off, cut down or took away what a host records, and it fell silent.

In: what befell one host, and when its sources were heard.  Out: at most one finding for each spell of acts.  A gap alone accuses nobody:
hosts restart, networks break, kernels lose records under load.  An act alone is said, and is an alert only when the audit system itself
records that it took effect, or the source fell silent after it.

    auditd      heard heard heard |act@97| .... .... .... ....      gap: the act had its effect
    sshd        heard ....  heard          heard .... heard         the host was there, and so was the network
"""

from collections.abc import Iterator, Sequence

from pipeline.detect import acts, benign_people
from pipeline.detect.benign import Suspicion
from pipeline.detect.case import evidence
from pipeline.detect.detector import CITED_MAX, Hit, Meta, hit, raised, several
from pipeline.detect.subjects import HostCase
from pipeline.model.events import Event
from pipeline.model.finding import ONLY_LOGGED, Checked, Finding, Severity
from pipeline.model.instants import DAY_MS
from pipeline.model.source import Source
from pipeline.stream.watermark import Watermarks

META = Meta(
    id="p18_telemetry_tamper",
    version=9,
    title="Recording on a host switched off or cut down by a person, or its clock set",
    subject="host",
    severity=Severity.HIGH,
    attack=("T1562", "T1562.008", "T1070.002", "T1070.006"),
    needs=(Source.AUDITD, Source.SSHD, Source.KERNEL),
    window_seconds="detect.telemetry_window_seconds",
    benign=(
        benign_people.by_system,
        benign_people.change_ticket,
        benign_people.put_back,
        benign_people.restarted,
        benign_people.cut_off,
        benign_people.overflow,
        benign_people.still_heard,
    ),
    required=("by_system", "change_ticket", "put_back", "restarted", "cut_off", "overflow", "still_heard"),
    blind_spots=(
        "A log that a program of one's own emptied, where no audit rule watches the folder; a line of sudo alone is no alert.",
        "Who switches it on again at once, or starts the host anew, stays below the gate, whatever was done meanwhile.",
        "Whoever stops the shipper first is not heard stopping the rest.",
        "Root without a login looks like the system: a job of cron, a service that was made for it.",
        "A source whose hosts are silent for hours anyhow shows no gap.",
        "A host whose own system log was not heard in the hour before: a start, or a full queue, cannot be excluded, and it is no alert.",
        "What is recorded may be filtered on its way, behind the host.",
        "A clock that is set is told, and is no alert, since it may be set right; by a program of one's own it is not seen.",
        "A rule that leaves one account out (`auditctl -A never,exit`) stays below the gate while others are recorded.",
        "A full disk, a daemon that gets no processor, and `auditctl -f 0`, which hides that records are lost.",
    ),
    runbook="Compare what the host holds with what arrived, and treat whatever happened there during the gap as unknown, not as nothing. "
    "After its clock was set, go by when records were collected.",
)


def judge(case: HostCase, now: Watermarks) -> Iterator[Finding]:
    """One finding for each spell of acts that nothing explains."""
    for spell in _spells(case):
        asked = (hit(META, case, Suspicion(case.actor(event), event, event.event_time, case.host), now) for event in spell)
        accused = [each for each in asked if each is not None]
        if not accused:
            continue
        # The act that is best established speaks for the spell: proved by the audit system, else by the gap after it.
        suspicion, checklist = min(accused, key=lambda each: each.open)
        accused = _with_the_proved(accused)
        effective = all(item.answer is Checked.EXCLUDED for item in checklist if item.name == "still_heard")
        kinds = sorted({acts.on_telemetry(each.cause) for each, _ in accused})
        last = accused[-1].suspicion.effect_time
        yield raised(
            META,
            case,
            suspicion,
            checklist,
            effect="telemetry_silenced" if effective else "telemetry_touched",
            anchor=str(spell[0].event_time // DAY_MS),
            summary=f"recording on {case.host}: {', '.join(kinds)}, by a login" + _gaps(case, suspicion.cause, now),
            cited=[item for each, _ in accused[:CITED_MAX] for item in evidence("cause", each.cause, _said(case, each.cause))],
            parts=(("an act on the telemetry", 0.95), ("it took effect", 0.97 if effective else 0.3)),
            closes_at=last + case.site.windows.telemetry_window_seconds * 1000 + case.site.grace_ms,
            severity=None if effective else Severity.MEDIUM,
            several_actors=several(each for each, _ in accused),
        )


def _with_the_proved(accused: list[Hit]) -> list[Hit]:
    """Where acts leave nothing open, these and what else the same hands did.

    What others asked for that day, or a line that anybody writes says that they did, would hide who did it, or bear witness against him.
    """
    proved = {each.suspicion.actor for each in accused if each.open[0] == 0}
    return [each for each in accused if each.suspicion.actor in proved] if proved else accused


def _spells(case: HostCase) -> Iterator[Sequence[Event]]:
    """Acts of one UTC day: one person's commands, and what the audit system recorded of them."""
    days: dict[int, list[Event]] = {}
    for event in case.events:
        if acts.on_telemetry(event):
            days.setdefault(event.event_time // DAY_MS, []).append(event)
    yield from days.values()


def _gaps(case: HostCase, cause: Event, now: Watermarks) -> str:
    fell = [source for source in acts.silences(cause) if benign_people.gap_after(case, source, cause.event_time, now) is not None]
    return f"; {', '.join(fell)} fell silent behind it" if fell else ""


def _said(case: HostCase, event: Event) -> str:
    return f"{acts.named(event)}: {acts.on_telemetry(event)}{ONLY_LOGGED if acts.only_logged(case, event) else ''}"
