"""P14: somebody slowed a node on which others' jobs ran, and they ran slower.

In: what befell one host, who held it, and how long training steps took there.  Out: at most one finding for each day, with the act and the
effect.  The effect is the median step of the hour before against the hour after the act; without one, or where no job wrote its steps on
this node, the hit stays below the gate, since nodes are slow for many reasons (fail-slow is normal at scale).

    sudo nvidia-smi -lgc 510    |@97
    steps of job 7, u012        2.1 2.0 2.1 | 4.0 4.1 4.0     1.9 times slower: an effect

A job that began minutes before the act tells little of how fast it was: then all the steps of an hour after it must be as much slower.
One that began after the act shows it when the same hand undoes it: it gets as much quicker.
"""

from collections.abc import Iterator, Sequence
from statistics import median

import msgspec

from pipeline.detect import acts, benign_people
from pipeline.detect.benign import Suspicion
from pipeline.detect.case import evidence
from pipeline.detect.detector import CITED_MAX, Hit, Meta, hit, raised, several
from pipeline.detect.subjects import Held, HostCase
from pipeline.model.actor import relation
from pipeline.model.events import Event
from pipeline.model.finding import ONLY_LOGGED, Checked, Evidence, Explanation, Finding, Severity
from pipeline.model.instants import DAY_MS
from pipeline.model.source import Source
from pipeline.stream.watermark import Watermarks


def steps_as_before(case: HostCase, suspicion: Suspicion, now: Watermarks) -> Explanation:
    """The jobs on the node went on as before; and as after the next act on it by the same hand, which may have undone it."""
    name = "steps_as_before"
    window = case.site.windows.degrade_window_seconds * 1000
    shifts = _shifts(case, suspicion)
    slower = [ratio for _, ratio, _ in shifts if ratio >= case.site.windows.degrade_ratio_min]
    if slower:
        return Explanation(name, Checked.EXCLUDED, note=f"steps took {max(slower):.2f} times as long")
    if not shifts:
        return Explanation(name, Checked.NOT_CHECKED, note="no steps are known on both sides of the act", missing=(Source.TRAINING,))
    if now.passed(case.cluster, Source.TRAINING, suspicion.cause.event_time + window):
        return Explanation(name, Checked.CONFIRMED, shifts[0][2].record, "steps took as long as before")
    return Explanation(name, Checked.NOT_CHECKED, note="the hour behind the act is not over")


META = Meta(
    id="p14_node_degraded",
    version=8,
    title="Node slowed by a person while others' jobs ran on it",
    subject="host",
    severity=Severity.HIGH,
    attack=("T1499", "T1529", "T1496", "AML.T0029"),
    needs=(Source.AUDITD, Source.SSHD, Source.TRAINING, Source.JOBCOMP, Source.KERNEL),
    window_seconds="detect.degrade_window_seconds",
    benign=(
        benign_people.by_system,
        benign_people.change_ticket,
        benign_people.thermal_or_hardware,
        benign_people.lemon_node,
        steps_as_before,
    ),
    required=("by_system", "change_ticket", "thermal_or_hardware", "lemon_node", "steps_as_before"),
    blind_spots=(
        "Steps are known only on the node where a job writes its log; a slow node elsewhere shows in the job, not here.",
        "A neighbour's job that makes load through its own programs is no command of a person.",
        "Root without a login looks like the system: a job of cron, a service that was made for it.",
        "What a root shell writes to the kernel's files by itself (`echo` is no program), or a program of one's own sets.",
        "Who acts on a node that runs hot, or writes so into its log, stays below the gate.",
        "Storage and switches are slowed elsewhere than on the node.",
        "A node whose own system log was not heard in the hour before: heat and faults cannot be excluded, and it stays below the gate.",
        "A job that had not written a step before, and ends before it is undone: its owner's other jobs are not known here.",
    ),
    runbook="Ask the node for its clocks, power limits and queues (nvidia-smi -q, tc qdisc show), and reset them; then ask the actor why.",
)
STEPS_MIN = 3  # on either side
MANY_MIN = 6  # after the act, where fewer are known before it
SAME_ACT_MS = 600_000  # what sudo, the audit and the shell tell of one command


def judge(case: HostCase, now: Watermarks) -> Iterator[Finding]:
    """One finding for each day on which a person acted on the node of others."""
    days: dict[int, list[Hit]] = {}
    for event in case.events:
        if not acts.on_node(event) or acts.undoes(event):
            continue
        suspicion = Suspicion(case.actor(event), event, event.event_time, case.host)
        if not _victims(case, suspicion):
            continue
        if (found := hit(META, case, suspicion, now)) is not None:
            days.setdefault(event.event_time // DAY_MS, []).append(found)
    for day in sorted(days):
        hits = days[day]
        suspicion, checklist = min(hits, key=lambda each: each.open)
        effective = any(item.name == "steps_as_before" and item.answer is Checked.EXCLUDED for item in checklist)
        jobs = sorted({held.attempt.job for held in _victims(case, suspicion)})
        window = case.site.windows.degrade_window_seconds * 1000
        yield raised(
            META,
            case,
            suspicion,
            checklist,
            effect="node_slowed",
            anchor=str(day),
            summary=f"{acts.named(suspicion.cause)} on {case.host} while job {', '.join(jobs[:3])} of others ran there",
            cited=[*_causes(case, hits), *_effects(case, suspicion)],
            parts=(("a command that slows the node", 0.9), ("effect on the steps", 0.95 if effective else 0.2)),
            closes_at=hits[-1].suspicion.cause.event_time + window + case.site.grace_ms,
            severity=None if effective else Severity.LOW,
            several_actors=several(each for each, _ in hits),
        )


def shift_of(case: HostCase, held: Held, at: int) -> tuple[Event, float, Event] | None:
    """(last step before, how many times as long the median step takes after the act, first step after); None: too few are known."""
    window = case.site.windows.degrade_window_seconds * 1000
    before = case.steps(held.attempt, at - window, at - 1)
    after = case.steps(held.attempt, at, at + window)
    if len(after) < STEPS_MIN or (len(before) < STEPS_MIN and not _is_clear(before, after, case.site.windows.degrade_ratio_min)):
        return None
    ratio = median(took for _, took in after) / median(took for _, took in before)
    return before[-1][0], ratio, after[0][0]


def _is_clear(before: Sequence[tuple[Event, float]], after: Sequence[tuple[Event, float]], ratio_min: float) -> bool:
    """Are all steps after the act, but the one that may have begun before it, slower by so much than all that are known before?"""
    if not before or len(after) < MANY_MIN:
        return False
    return min(took for _, took in after[1:]) >= ratio_min * max(took for _, took in before)


def _shifts(case: HostCase, suspicion: Suspicion) -> list[tuple[Event, float, Event]]:
    """What `shift_of` says of each victim of the act; and, turned round, of those who were on the node when the same hand acted next."""
    found = [shift for held in _victims(case, suspicion) if (shift := shift_of(case, held, suspicion.cause.event_time)) is not None]
    undone = _undone(case, suspicion)
    if undone is not None:
        later = msgspec.structs.replace(suspicion, cause=undone, effect_time=undone.event_time)
        shifts = [shift for held in _victims(case, later) if (shift := shift_of(case, held, undone.event_time)) is not None]
        found += [(before, 1 / ratio, after) for before, ratio, after in shifts if ratio > 0]
    return found


def _undone(case: HostCase, suspicion: Suspicion) -> Event | None:
    """The next act on the node by the same identity with the same program, within a day: what was set is set again."""
    at, who = suspicion.cause.event_time, suspicion.actor
    for event in case.events:
        if SAME_ACT_MS < event.event_time - at <= DAY_MS and acts.on_node(event) and who is not None:
            other = case.actor(event)
            if other is not None and other.id == who.id and acts.named(event) == acts.named(suspicion.cause):
                return event
    return None


def _victims(case: HostCase, suspicion: Suspicion) -> Sequence[Held]:
    """Attempts of others than the actor that held the host."""
    at = suspicion.cause.event_time
    owners = case.site.directory.of(case.cluster)
    return [held for held in case.holding(at) if relation(suspicion.actor, owners.by_uid(held.owner_uid, at)) not in ("owner", "unknown")]


def _causes(case: HostCase, hits: Sequence[Hit]) -> list[Evidence]:
    return [item for each, _ in hits[:CITED_MAX] for item in evidence("cause", each.cause, _said(case, each))]


def _said(case: HostCase, of: Suspicion) -> str:
    return f"{acts.named(of.cause)} on {of.host}{ONLY_LOGGED if acts.only_logged(case, of.cause) else ''}"


def _effects(case: HostCase, suspicion: Suspicion) -> list[Evidence]:
    cited: list[Evidence] = []
    for before, ratio, after in _shifts(case, suspicion):
        if ratio >= case.site.windows.degrade_ratio_min:
            when = (
                "the act" if after.event_time - suspicion.cause.event_time <= case.site.windows.degrade_window_seconds * 1000 else "its end"
            )
            cited += evidence("before", before, f"last step of job {before.job} before {when}")
            cited += evidence("effect", after, f"first step behind it; the median differs by {ratio:.2f} times, slower while it lasted")
    return cited
