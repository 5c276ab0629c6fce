"""P02: a job was ended by a signal from its own code, after it had loaded what somebody else wrote.

In: all facts on one attempt.  Out: at most one finding.  The signal carries the victim's uid and accuses nobody; the question is whose
bytes the job was running.  So the finding names the last writer of what it had loaded, on the kernel's record of that write:

    write by u099 @40    load @90    signal 9 from the rank to itself @97    rank ended by 9 @98

Without an artefact that a foreign hand wrote there is no finding: loaders end their workers, watchdogs themselves, launchers their ranks.
Nor is it an alert while nothing says that the signal came out of that very file (`own_code`): programs end themselves, and colleagues
change libraries.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pipeline.detect import benign, benign_artefacts
from pipeline.detect.benign import Suspicion
from pipeline.detect.case import Case, Loaded, evidence
from pipeline.detect.detector import Meta, answered, raised
from pipeline.detect.writers import Accusation, accusation, saved_itself, writes_of, writes_since_saved
from pipeline.model.actor import actor_of, relation
from pipeline.model.events import CheckpointSaved, Event, ProcessStarted, SignalRequested, SignalSent, TaskEnded, TrainingLine
from pipeline.model.finding import Checked, Evidence, Explanation, Finding, Severity
from pipeline.model.source import Source
from pipeline.stream.watermark import Watermarks

OF_THE_WRITE = (
    benign.owner_or_service,
    benign.system_daemon,
    benign.allowed_writer,
    benign.admin_ticket,
    benign.saved_again,
    benign_artefacts.own_place,
    benign_artefacts.known_bytes,
    benign_artefacts.loaded_since,
)
OF_THE_ACT = (
    benign_artefacts.sibling_first,
    benign_artefacts.watchdog_abort,
    benign_artefacts.ordinary_exit,
    benign_artefacts.own_code,
    benign.out_of_memory,
    benign.hardware_fault,
)
META = Meta(
    id="p02_kill_from_inside",
    version=7,
    title="Job ended from inside, by code that somebody else had written",
    subject="job",
    severity=Severity.CRITICAL,
    attack=("T1489", "T1059.006", "T1565.001", "AML.T0011.000", "AML.T0112.001"),
    needs=(Source.PROBE, Source.AUDITD, Source.TRAINING, Source.KERNEL),
    window_seconds="detect.kill_window_seconds",
    benign=(*OF_THE_WRITE, *OF_THE_ACT),
    required=(
        "owner_or_service", "allowed_writer", "admin_ticket", "own_place", "saved_again", "known_bytes", "loaded_since", "sibling_first",
        "watchdog_abort", "ordinary_exit", "own_code", "out_of_memory",
    ),
    blind_spots=(
        "Code that prints what a launcher or a watchdog says lowers the hit below the gate, unless the kernel saw who signalled.",
        "Code that has others make the call (a timer, compiled code, a line of a .pth file) looks like the job's own: below the gate.",
        "What was loaded outside the artefact roots, or without the probe, has no writer.",
        "Saves and loads are told by jobs' output: who prints one behind his write stays the suspect, and lowers the hit below the gate.",
        "Who prints that he saved these very bytes hides a file of which nobody saved other ones, and that no record says was another's.",
        "A memory limit that a root shell or an own program wrote, or that was set on the node before the job began: its OOM kill acquits.",
        "A write through a link that lies elsewhere: audit records tell the name by which a file was opened, not where it lies.",
        "Code that ends the process by a fault (a segmentation fault, an abort) sends no signal that anybody records.",
        "Code that stops the probe's reports before it acts, on a node without audit rules for signals.",
    ),
    runbook="Open the named file without loading it (fickling, pickletools, a diff), and look what else loaded it.",
    harms=frozenset({"killed_from_inside"}),
)  # fmt: skip
# All that end or stop a process (P01's), but for TRAP, which debuggers send; the end must be by this very signal.
DEADLY = frozenset(range(1, 65)) - {5, 17, 18, 23, 28}
AFTER_MS = 5_000
Act = tuple[Event, int | None, int]  # (event, process that it ended, signal; 0: it exited)


class Suspect(NamedTuple):
    """A file that the job had loaded before the act, with who is accused of its bytes and what else may explain the act."""

    loaded: Loaded
    held: Accusation
    about: tuple[Explanation, ...]

    @property
    def open(self) -> int:
        """How many explanations nobody could exclude: bytes that came again accuse less than new ones, and the file that acted more."""
        asked = (*self.held.checklist, *self.about)
        return sum(item.answer is not Checked.EXCLUDED for item in asked if item.name in META.required)

    @property
    def actor_id(self) -> str:
        return self.held.suspicion.actor.id if self.held.suspicion.actor else ""


def judge(case: Case, now: Watermarks) -> Iterator[Finding]:
    """The first act from inside that has an effect, and of what was loaded before it the best established foreign write, or the newest."""
    acts = [*_signals(case), *_exits(case)]
    if not acts:
        return
    for act, effect in ((act, effect) for act in acts if (effect := _effect(case, act)) is not None):
        found = [
            Suspect(loaded, held, _about_the_act(case, act, loaded.path, effect[0], now))
            for loaded in case.loaded()
            if (held := _written(case, loaded, act, effect[0], now)) is not None
        ]
        if not found:
            continue
        best = max(found, key=lambda each: (-each.open, each.held.suspicion.cause.event_time, each.held.suspicion.cause.id))
        if not any(item.answer is Checked.CONFIRMED for item in best.about):
            # Where several people's bytes were loaded nothing may tell whose did it.
            several = len({each.actor_id for each in found if each.open == best.open}) > 1
            yield _raised(case, act, effect, best, several=several)
            return


def _signals(case: Case) -> list[Act]:
    """Deadly signals that a process of the job sent, as the probe heard it say, or the kernel saw it do, by time."""
    ranks = {body.pid for _, body in case.of(ProcessStarted)} | {body.pid for _, body in case.of(SignalRequested)}
    ranks |= {rank.pid for _, rank in case.failed_ranks()}
    acts: list[Act] = [(event, body.target_pid, body.signal) for event, body in case.of(SignalRequested) if body.signal in DEADLY]
    for touch in case.touches:
        body = touch.event.body
        if not isinstance(body, SignalSent) or not body.success or body.signal not in DEADLY or touch.matched == "host":
            continue
        inside = body.pid is not None and (body.pid == body.target_pid or not {body.pid, body.ppid}.isdisjoint(ranks - {None}))
        if inside and relation(actor_of(case.site.directory, touch.event), case.owner) == "owner":
            acts.append((touch.event, body.target_pid, body.signal))
    return sorted(acts, key=lambda act: (act[0].event_time, act[0].id))


def _exits(case: Case) -> list[Act]:
    """Ranks that ended by themselves without a word of why."""
    if any(line.what == "error" for _, line in case.of(TrainingLine)):
        return []
    return [(event, rank.pid, 0) for event, rank in case.failed_ranks() if rank.signal is None and rank.exit_code is not None]


def _effect(case: Case, act: Act) -> tuple[int, tuple[Evidence, ...]] | None:
    """(when, evidence) of a rank, or the job, that ended by the act."""
    event, target, signal = act
    if not signal:
        return event.event_time, ()
    window_ms = case.site.windows.kill_window_seconds * 1000
    sent, whole = event.event_time, target is None or target <= 0
    for died, rank in case.failed_ranks():
        fits = rank.signal == signal and (rank.pid == target or whole)
        if fits and sent - AFTER_MS <= died.event_time <= sent + window_ms:
            return max(died.event_time, sent), evidence("effect", died, f"process {rank.pid} ended by signal {signal}")
    if case.end is None or case.end_record is None or not sent - AFTER_MS <= case.end <= sent + window_ms:
        return None
    record, ranks = case.end_record[1], {body.pid for _, body in case.of(ProcessStarted)}
    traces = {record.exit_signal, record.derived_signal} | {task.signal for _, task in case.of(TaskEnded)}
    if signal in traces and (whole or target in ranks) and case.state not in ("COMPLETED", "TIMEOUT"):
        return max(case.end, sent), evidence("effect", case.end_record[0], f"job ended {case.state}")
    return None


def _written(case: Case, loaded: Loaded, act: Act, effect_time: int, now: Watermarks) -> Accusation | None:
    """Who wrote last what was loaded before the act; nobody when the bytes are those that its run saved."""
    event, _, signal = act
    ago_ms = event.event_time - loaded.event.event_time
    if ago_ms < 0 or (not signal and ago_ms > case.site.windows.kill_window_seconds * 1000):
        return None
    saves = [(each, each.body.sha256) for each in loaded.saves if isinstance(each.body, CheckpointSaved)]
    others = [each for each, sha256 in saves if sha256 != loaded.sha256]
    own = saved_itself(loaded, case.attempt.job)
    if own is not None and own not in others:
        return None
    # From the first save, or load, of other bytes on: a later one may be what the writer printed in a job of his own.
    writes = (() if others else _since_others(loaded)) or writes_since_saved(loaded, others, own)
    held = accusation(OF_THE_WRITE, case, writes, effect_time, now)
    if held is not None and saves and not others and not held.of_anothers_file:
        return None  # nobody says that it ever had other bytes, nor the kernel that it was not the writer's own
    return held


def _since_others(loaded: Loaded) -> Sequence[Event]:
    """The writes after the last load of other bytes; where that lies after them all, after the one before (loaded_since)."""
    others = [each for each in (loaded.other, loaded.untouched) if each is not None]
    return next((writes for other in others if (writes := writes_of(loaded, other.event_time))), ())


def _about_the_act(case: Case, act: Act, path: str, effect_time: int, now: Watermarks) -> tuple[Explanation, ...]:
    """Explanations of the end, beside those of the write."""
    suspicion = Suspicion(case.owner, act[0], effect_time, host=act[0].host, target_pid=act[1], path=path)
    return answered(OF_THE_ACT, case, suspicion, now)


def _raised(
    case: Case,
    act: Act,
    effect: tuple[int, tuple[Evidence, ...]],
    of: Suspect,
    *,
    several: bool,
) -> Finding:
    (event, target, signal), (loaded, held, about) = act, of
    did = f"signal {signal} to process {target}, from inside the job" if signal else f"process {target} exited without a word"
    load = evidence("loaded", loaded.event, f"loaded {loaded.path}")
    return raised(
        META,
        case,
        held.suspicion,
        (*held.checklist, *about),
        effect="killed_from_inside" if signal else "exited_from_inside",
        files=[loaded.path],
        summary=f"job {case.attempt.job} was ended from inside ({did}) after it had loaded {loaded.path}, which somebody else wrote",
        cited=[*held.cited(), *load, *evidence("act", event, did), *effect[1]],
        parts=(
            ("the job's own process did it", 0.97 if signal else 0.5),
            ("a foreign write of what it loaded", held.strength),
        ),
        closes_at=effect[0] + case.site.grace_ms,
        severity=None if signal else Severity.MEDIUM,
        several_actors=held.several or several,
    )
