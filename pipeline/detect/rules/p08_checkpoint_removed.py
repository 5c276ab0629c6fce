"""P08: a job went on from an older checkpoint than its run had reached, because somebody else had taken the newer ones away.

In: all facts on one attempt, among them what others saved in, and somebody removed from, the folder that it loads from.  Out: one finding
per folder.  What is gone is never loaded, so the folder joins them (model/runs.py):

    save step 400    save step 500    u099 removes step 500 @40    load step 400 @90        lost: 400 to 500

A file owner's own removals are not told: jobs delete an old checkpoint with every save, and owners go back after a loss spike.
"""

from collections.abc import Iterator

import msgspec

from pipeline.detect import benign, benign_artefacts
from pipeline.detect.benign import Suspicion
from pipeline.detect.case import Case, Loaded, evidence
from pipeline.detect.detector import Meta, raised
from pipeline.detect.writers import Accusation, accusation
from pipeline.model.events import CheckpointLoaded, CheckpointNote, Event, Iteration
from pipeline.model.finding import Checked, Evidence, Explanation, Finding, Severity
from pipeline.model.runs import run_of
from pipeline.model.source import Source
from pipeline.stream.watermark import Watermarks


def saved_since(case: Case, suspicion: Suspicion, now: Watermarks) -> Explanation:  # noqa: ARG001 - one signature for all
    """The run was saved again, as far or further, after the removal: then something else made the job go back.

    Another job says so in its output, where whoever removed the checkpoint can say it, too.
    """
    name, removal = "saved_since", suspicion.cause
    for loaded in case.loaded(CheckpointLoaded):
        if loaded.event.event_time != suspicion.effect_time or not any(each.id == removal.id for each in loaded.removed):
            continue
        for save in (*loaded.beside, *loaded.saves):
            if removal.event_time < save.event_time <= suspicion.effect_time and _step(save) >= _step(removal):
                return Explanation(name, Checked.NOT_CHECKED, save.record, f"job {save.job} says that it saved step {_step(save)} since")
    return Explanation(name, Checked.EXCLUDED, note="no job says that it got as far again")


META = Meta(
    id="p08_checkpoint_removed",
    version=3,
    title="Checkpoints taken away by somebody else; the job went on from an older one",
    subject="job",
    severity=Severity.HIGH,
    attack=("T1485", "T1490", "T1565.001"),
    needs=(Source.PROBE, Source.AUDITD, Source.TRAINING),
    window_seconds="detect.removal_window_seconds",
    benign=(
        benign.owner_or_service,
        benign.system_daemon,
        benign.allowed_writer,
        benign.admin_ticket,
        benign_artefacts.failed_save,
        benign_artefacts.felt_before,
        saved_since,
    ),
    required=("owner_or_service", "allowed_writer", "admin_ticket", "failed_save", "felt_before", "saved_since"),
    blind_spots=(
        "Who prints that he saved, or loaded, from the folder since, in a job of his own, lowers it below the gate.",
        "A run of which nothing is left begins anew: only Megatron says that it looked for something, and where.",
        "Who reads from the folder behind the removal, say to evaluate, may be the one that went on: the next is judged below the gate.",
        "Checkpoints whose names carry no step, and folders that were removed or renamed as a whole.",
        "A checkpoint that was emptied by writing to it is P06's, when it is loaded.",
        "A removal through a link that lies elsewhere: audit records tell the name by which a file was reached, not where it lies.",
        "Removals on shared storage by clients without audit rules; the storage's changelog would tell.",
    ),
    runbook="List the run's folder and its backups, and ask who needed the space; then compare the steps that were trained twice.",
    harms=frozenset({"resumed_from_older"}),
)
NEVER = 2**62
NOTE_MS = 1_800_000  # a framework says which step it loads about when the probe says which file


class Lost(msgspec.Struct, frozen=True):
    """What a run had reached, and where it went on."""

    folder: str
    resumed: int
    reached: int
    removed: tuple[Event, ...]  # after which nothing was saved again
    shown: tuple[Evidence, ...]


def judge(case: Case, now: Watermarks) -> Iterator[Finding]:
    """One finding per folder, on the first load that is not as far as the run had come; a launcher may begin anew, and load again."""
    before: dict[str, int] = {}  # when the attempt loaded from the folder last: what was gone by then it had felt, or not missed
    for loaded in case.loaded(CheckpointLoaded):
        folder, step = run_of(loaded.path)
        since = before.get(folder, -1)
        if not folder or (step is None and loaded.sha256) or since == NEVER:
            continue
        before[folder] = loaded.event.event_time
        lost = _lost(case, loaded, folder, step or 0, since) if loaded.removed else None  # a load of nothing: it begins anew
        if lost is None:
            continue
        held = accusation(META.benign, case, lost.removed, loaded.event.event_time, now, apart=True)
        if held is not None:
            before[folder] = NEVER
            yield _raised(case, loaded, lost, held)


def _lost(case: Case, loaded: Loaded, folder: str, step: int, before: int) -> Lost | None:
    """None: the job went on from the newest that the run had, or nobody removed anything newer since it loaded from there before."""
    load = loaded.event
    note = _note(case, load)
    resumed = step if note is None or note[1].iteration is None else min(step, note[1].iteration)
    newer = resumed if resumed < step else resumed + 1  # an older one that was moved over the newest went from where it had been
    since = max(load.event_time - case.site.windows.removal_window_seconds * 1000, before + 1)
    saves = [(each, _step(each)) for each in (*loaded.beside, *loaded.saves)]
    removed = tuple(
        each
        for each in loaded.removed
        if since <= each.event_time <= load.event_time
        and _step(each, resumed + 1) >= newer
        and not any(
            save.job == case.attempt.job and save.event_time > each.event_time and at >= _step(each, resumed + 1) for save, at in saves
        )
    )
    reached = max([*(_step(each) for each in removed), *(at for save, at in saves if save.event_time <= load.event_time)], default=0)
    if not removed or reached <= resumed:
        return None
    shown = list(evidence("loaded", load, f"loaded {loaded.path}" if loaded.sha256 else "found nothing to go on from"))
    if note is not None:
        shown += evidence("loaded", note[0], f"the framework loads step {resumed}")
    for save, at in saves:
        if at == reached:
            shown += evidence("saved", save, f"step {at} saved by job {save.job}")
    again = next(((event, body) for event, body in case.of(Iteration) if resumed < body.iteration <= reached), None)
    if again is not None:
        shown += evidence("effect", again[0], f"step {again[1].iteration} is trained a second time")
    return Lost(folder, resumed, reached, removed, tuple(shown))


def _step(event: Event, unnamed: int = 0) -> int:
    """Of a checkpoint's path; of `latest`, which names none, `unnamed`."""
    step = run_of(str(getattr(event.body, "path", "")))[1]
    return unnamed if step is None else step


def _note(case: Case, load: Event) -> tuple[Event, CheckpointNote] | None:
    """The framework's own word on the step that it loads."""
    for event, note in case.of(CheckpointNote):
        near = abs(event.event_time - load.event_time) <= NOTE_MS
        if near and note.action in ("loading", "loaded") and note.iteration is not None:
            return event, note
    return None


def _raised(case: Case, loaded: Loaded, lost: Lost, held: Accusation) -> Finding:
    return raised(
        META,
        case,
        held.suspicion,
        held.checklist,
        effect="resumed_from_older",
        anchor=lost.folder,
        summary=f"job {case.attempt.job} went on from step {lost.resumed} though its run had reached {lost.reached}; "
        f"{len(held.writes)} newer files of {lost.folder} were removed",
        cited=[*held.cited("removed"), *lost.shown],
        parts=(("a newer checkpoint was there", 0.97), ("a foreign removal before the load", held.strength)),
        closes_at=loaded.event.event_time + case.site.grace_ms,
        several_actors=held.several,
    )
