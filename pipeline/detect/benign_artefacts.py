"""Harmless explanations of what a job loaded: the second part of `benign.py`, for modules, hooks, datasets, checkpoints and what they do.

In: a case and a suspicion whose cause is a write, or an act from inside the job.  Out: an `Explanation`.  What only the output of a job
says confirms nothing here: who wrote a file can run a job of his own and print what he likes.
"""

from collections.abc import Collection
from fnmatch import fnmatchcase

import msgspec

from pipeline.detect import benign
from pipeline.detect.benign import Suspicion
from pipeline.detect.case import Case, Loaded, bytes_of, evidence
from pipeline.model.actor import actor_of, relation
from pipeline.model.events import (
    CheckpointSaved,
    CollectiveTimeout,
    Event,
    FileTouched,
    GlobalUnpickled,
    HookFound,
    ProcessStarted,
    RankFailed,
    RanksClosed,
    SignalRequested,
    SignalSent,
)
from pipeline.model.finding import Checked, Evidence, Explanation
from pipeline.model.runs import run_of
from pipeline.model.source import Source
from pipeline.settings import allowed
from pipeline.stream.watermark import Watermarks

ALTERED_BEFORE = "altered_before"
FORMER, ALTERED = "former", "altered"  # roles of the loads that show it
ABORT = 6
SAME_MS = 5_000  # the kernel and the probe tell of one signal
# What compilers make while a job runs; any job that may write there does.
_GENERATED = ("/__pycache__/", "/.triton/", "/torch_extensions/", "/torchinductor", "/.nv/ComputeCache/", "/numba_cache/")


# Whose objects people keep in files; a module that is called so but lies elsewhere is a hook or an import, and judged as such.
DATA_LIBRARIES = frozenset({
    "sklearn", "pandas", "scipy", "xgboost", "lightgbm", "catboost", "tokenizers", "transformers", "datasets", "sentencepiece", "PIL",
    "pyarrow", "omegaconf", "yaml", "joblib", "torchvision", "torchaudio", "lightning", "pytorch_lightning", "timm", "spacy", "nltk",
})  # fmt: skip
# What a pickle needs to act, not to hold data.
DANGEROUS = frozenset({
    "os", "posix", "nt", "subprocess", "_posixsubprocess", "sys", "socket", "_socket", "pty", "shutil", "ctypes", "_ctypes", "runpy",
    "importlib", "imp", "code", "codeop", "webbrowser", "builtins", "operator", "_operator", "pickle", "_pickle", "marshal",
    "multiprocessing", "asyncio", "urllib", "http", "timeit", "pdb", "bdb",
})  # fmt: skip


def loaded_by(case: Case, suspicion: Suspicion) -> Loaded | None:
    """The load that the suspicion is about: of the written file, at the time of the effect, else the last before it."""
    path = getattr(suspicion.cause.body, "path", "")
    known = [each for each in case.loaded() if each.path == path and each.event.event_time <= suspicion.effect_time]
    return known[-1] if known else None


def known_bytes(case: Case, suspicion: Suspicion, now: Watermarks) -> Explanation:  # noqa: ARG001 - one signature for all
    """The loaded bytes are old ones that came again: a release that was taken back, or a tamper that was undone.

    Another job says that it loaded them before, and its output may be the writer's: so nobody is cleared by it, and nobody accused.
    """
    name, loaded = "known_bytes", loaded_by(case, suspicion)
    if loaded is None or loaded.same is None:
        return Explanation(name, Checked.EXCLUDED, note="nobody loaded these bytes before the others")
    if loaded.earlier is not None:
        return Explanation(
            name, Checked.EXCLUDED, loaded.earlier.record, "when these bytes came first, a foreign hand had written them, too"
        )
    return Explanation(name, Checked.NOT_CHECKED, loaded.same.record, f"job {loaded.same.job} says that it loaded the same bytes before")


def loaded_since(case: Case, suspicion: Suspicion, now: Watermarks) -> Explanation:  # noqa: ARG001
    """Others loaded, or a watcher hashed, still other bytes after the write: then something else made these, whoever's that was.

    A job says so, and it may be the writer's: nobody is cleared by it, and nobody accused.  Nor is he whose write it was of which a watcher
    says that it left other bytes than were loaded: between lies a hand of which no record tells, and his own may have done no harm.
    """
    name, loaded = "loaded_since", loaded_by(case, suspicion)
    if loaded is not None and (hashed := _hashed_otherwise(loaded, suspicion.cause)) is not None:
        return Explanation(name, Checked.NOT_CHECKED, hashed.record, "a watcher hashed other bytes behind the write than were loaded")
    other = loaded.other if loaded is not None and loaded.others_differ else None
    if other is not None and other.event_time >= suspicion.cause.event_time:
        said = f"job {other.job} says that it loaded still other bytes behind the write"
        return Explanation(name, Checked.NOT_CHECKED, other.record, said)
    return Explanation(name, Checked.EXCLUDED, note="nobody says that he loaded still other bytes behind the write")


def _hashed_otherwise(loaded: Loaded, cause: Event) -> Event | None:
    """A watcher's word on the file behind the cause and the last change before the load, where it is of other bytes than were loaded."""
    writes = [(each, each.body) for each in loaded.writes if isinstance(each.body, FileTouched)]
    changes = [(each, body) for each, body in writes if body.changes and body.path == loaded.path]
    since = max([cause.event_time, *(each.event_time for each, _ in changes)]) - SAME_MS
    hashed = [(each.event_time, each.id, each, body.sha256) for each, body in changes if body.sha256 and each.event_time >= since]
    if not loaded.sha256 or not hashed:
        return None
    *_, event, sha256 = max(hashed, key=lambda each: each[:2])
    return event if sha256 != loaded.sha256 else None


def altered_before(case: Case, suspicion: Suspicion, now: Watermarks) -> Explanation:  # noqa: ARG001
    """Somebody had altered it before the first foreign hand on record, and no record says who: what came of it may be that hand's doing.

    Jobs say so, one of which may be the writer's; but what anybody may have sent says nothing here.  The hit stays, and names nobody.
    Excluded means that no load on record shows it.
    """
    if (found := _altered(case, suspicion)) is None:
        return Explanation(ALTERED_BEFORE, Checked.EXCLUDED, note="no two loads before the write show that its bytes had changed unseen")
    former, altered = found
    said = f"job {altered.job} had loaded other bytes than job {former.job} before, and no record says who wrote them"
    return Explanation(ALTERED_BEFORE, Checked.NOT_CHECKED, altered.record, said)


def cited_altered(case: Case, suspicion: Suspicion) -> tuple[list[Evidence], str]:
    """(the loads that show it, why the writer is not named); nothing and "" where nobody had altered it unseen."""
    if (found := _altered(case, suspicion)) is None:
        return [], ""
    cited = [
        item
        for role, load in zip((FORMER, ALTERED), found, strict=True)
        for item in evidence(role, load, f"job {load.job} loaded sha256 {bytes_of(load.body)[0][:16]}…, before the foreign write")
    ]
    return cited, "the file had been altered before, and no record says by whom"


def _altered(case: Case, suspicion: Suspicion) -> tuple[Event, Event] | None:
    loaded = loaded_by(case.proven, suspicion)
    return (loaded.former, loaded.altered) if loaded is not None and loaded.former is not None and loaded.altered is not None else None


def generated_file(case: Case, suspicion: Suspicion, now: Watermarks) -> Explanation:  # noqa: ARG001
    """A compiler made the file from inside a job: nobody was logged in who wrote it."""
    name, body = "generated_file", suspicion.cause.body
    if not isinstance(body, FileTouched) or not any(part in body.path for part in _GENERATED):
        return Explanation(name, Checked.EXCLUDED, suspicion.cause.record, "not in a folder of compiled files")
    if suspicion.cause.source is Source.AUDITD and body.uid is not None and body.auid is None:
        return Explanation(name, Checked.CONFIRMED, suspicion.cause.record, "compiled by a job: no login is attached to the write")
    if body.auid is None:
        return Explanation(name, Checked.NOT_CHECKED, suspicion.cause.record, "the source does not say whether somebody was logged in")
    return Explanation(name, Checked.EXCLUDED, suspicion.cause.record, "a login is attached to the write")


def ordinary_library(case: Case, suspicion: Suspicion, now: Watermarks) -> Explanation:  # noqa: ARG001
    """The file named objects of libraries that hold data, a scaler or a tokenizer: what the job started has another reason."""
    name, path = "ordinary_library", getattr(suspicion.cause.body, "path", "")
    for event, body in case.of(GlobalUnpickled):
        if body.path == path and body.module.partition(".")[0] not in DATA_LIBRARIES:
            return Explanation(name, Checked.EXCLUDED, event.record, f"it named {body.module}.{body.name}")
    return Explanation(name, Checked.NOT_CHECKED, note="what it named holds data, as far as its name says")


def own_place(case: Case, suspicion: Suspicion, now: Watermarks) -> Explanation:
    """The writer touched only what is his own: his files, or a hook in an environment of his own that somebody else chose to use.

    Whoever makes a hook owns the file; whose the folder is only the settings say.
    """
    name, loaded = "own_place", loaded_by(case, suspicion)
    if loaded is not None and isinstance(loaded.event.body, HookFound):
        root = case.site.root_of(loaded.path)
        if root.writers:
            return Explanation(name, Checked.EXCLUDED, suspicion.cause.record, f"the settings say whose {root.path} is")
    return msgspec.structs.replace(benign.own_file(case, suspicion, now), name=name)


def known_hook(case: Case, suspicion: Suspicion, now: Watermarks) -> Explanation:  # noqa: ARG001
    """An ordinary hook: bytes that the settings allow.  A name alone is anybody's to choose.

    A .pth file that names folders and holds no code is what an editable install writes.  Its folders are searched last and cannot stand
    before what is installed; but they may hold what is not (a `sitecustomize.py`, a module that others import if it is there).
    """
    name, loaded, windows = "known_hook", loaded_by(case, suspicion), case.site.windows
    body = loaded.event.body if loaded is not None else None
    if loaded is None or not isinstance(body, HookFound):
        return Explanation(name, Checked.NOT_CHECKED, missing=(Source.PROBE,))
    if body.sha256 and body.sha256 in allowed(windows.hooks_allowed, loaded.event.event_time):
        return Explanation(name, Checked.CONFIRMED, loaded.event.record, "its bytes are allowed in the settings")
    if body.hook == "pth" and body.executes is False:
        return Explanation(name, Checked.NOT_CHECKED, loaded.event.record, "it names folders only; what they hold is not known")
    file = body.path.rpartition("/")[2]
    if any(fnmatchcase(file, pattern) for pattern in allowed(windows.hook_names_known, loaded.event.event_time)):
        return Explanation(
            name, Checked.NOT_CHECKED, loaded.event.record, f"{file} is the name of an ordinary hook; its bytes are not known"
        )
    return Explanation(name, Checked.EXCLUDED, loaded.event.record, "neither bytes nor name are those of an ordinary hook")


def failed_save(case: Case, suspicion: Suspicion, now: Watermarks) -> Explanation:  # noqa: ARG001
    """What was removed was no checkpoint but what a failed save had left: no job ever said that its run had come so far."""
    name, (folder, step) = "failed_save", run_of(getattr(suspicion.cause.body, "path", ""))
    if step is None:
        return Explanation(name, Checked.EXCLUDED, suspicion.cause.record, "it says which checkpoint is the latest")
    for save in (each for loaded in case.loaded() for each in (*loaded.saves, *loaded.beside)):
        known, saved = run_of(save.body.path) if isinstance(save.body, CheckpointSaved) else ("", None)
        # Of a job's saves the last is told: who had saved a later step had got beyond this one.
        if known == folder and saved is not None and saved >= step:
            return Explanation(name, Checked.EXCLUDED, save.record, f"job {save.job} had saved this step, or a later one")
    return Explanation(name, Checked.NOT_CHECKED, note="no job said that it saved the removed file", missing=(Source.PROBE,))


def felt_before(case: Case, suspicion: Suspicion, now: Watermarks) -> Explanation:  # noqa: ARG001
    """Another attempt went on from the folder since the removal: that one lost the steps, and this one goes on from where that left it.

    It says so itself, and anybody can print it in a job of his own: so nobody is cleared by it, and nobody accused.
    """
    name, attempt = "felt_before", case.attempt
    for loaded in case.loaded():
        if loaded.event.event_time != suspicion.effect_time or not any(each.id == suspicion.cause.id for each in loaded.removed):
            continue
        for known in loaded.resumed:
            others = known.job != attempt.job or known.event_time < attempt.start
            if others and known.event_time > suspicion.cause.event_time:
                return Explanation(name, Checked.NOT_CHECKED, known.record, f"job {known.job} says that it went on from this folder before")
    return Explanation(name, Checked.EXCLUDED, note="no job says that it went on from this folder since the removal")


def sibling_first(case: Case, suspicion: Suspicion, now: Watermarks) -> Explanation:
    """Another rank had failed by itself, and the launcher ended the others.

    The launcher says so in the job's output, where the code that ended the job writes, too.  So the kernel must have seen the signal of a
    process that is none of the ranks, nor started by one.
    """
    name, cause = "sibling_first", suspicion.cause
    ranks = {body.pid for _, body in case.of(ProcessStarted) if body.rank is not None}
    if (said := _said_by_launcher(case, suspicion, ranks)) is not None:
        event, what = said
        if _seen_from_outside(case, suspicion, {*ranks, suspicion.target_pid} - {None}):
            return Explanation(name, Checked.CONFIRMED, event.record, what)
        return Explanation(name, Checked.NOT_CHECKED, event.record, f"only the job's own output says so: {what}")
    missing = case.missing(now, Source.TRAINING, cause.event_time, suspicion.effect_time)
    if missing:
        return Explanation(name, Checked.NOT_CHECKED, missing=missing)
    return Explanation(name, Checked.EXCLUDED, note="the job's output was heard and names no rank that failed before")


def _said_by_launcher(case: Case, suspicion: Suspicion, ranks: Collection[int | None]) -> tuple[Event, str] | None:
    """The line by which the launcher ended the process, or by which another had failed before."""
    cause, target = suspicion.cause, suspicion.target_pid
    for event, closed in case.of(RanksClosed):
        if closed.pid == target and event.event_time <= suspicion.effect_time:
            return event, f"the launcher ended process {closed.pid}"
    asked = {body.target_pid for _, body in case.of(SignalRequested)}
    asked |= {touch.event.body.target_pid for touch in case.touches if isinstance(touch.event.body, SignalSent)}
    sender = getattr(cause.body, "pid", None)
    whole = target is None or target <= 0  # a process group
    by_rank = sender is None or sender == target or sender in ranks or (whole and sender == -(target or 0))
    for event, rank in case.failed_ranks():
        mine = rank.pid in (None, target) or rank.pid in asked or (whole and event.event_time >= cause.event_time)
        # What fails after a rank's own act, on other nodes too, fails because of it; a launcher tells of the first failure last.
        if not mine and (event.event_time < cause.event_time or not by_rank):
            return event, f"process {rank.pid} had failed before"
    return None


def _seen_from_outside(case: Case, suspicion: Suspicion, inside: Collection[int | None]) -> bool:
    """Did the kernel see the target signalled by a process of the owner's that is none of these, nor the child of one?"""
    at, target = suspicion.cause.event_time, suspicion.target_pid
    for touch in case.touches:
        body = touch.event.body
        if isinstance(body, SignalSent) and body.success and body.target_pid == target and abs(touch.event.event_time - at) <= SAME_MS:
            outside = body.pid is not None and body.pid not in inside and body.ppid not in inside
            if outside and relation(actor_of(case.site.directory, touch.event), case.owner) == "owner":
                return True
    return False


def watchdog_abort(case: Case, suspicion: Suspicion, now: Watermarks) -> Explanation:
    """The watchdog of the collectives had waited long enough, and aborted its own process.

    It says so in the job's output, and nowhere else: whoever's code aborts the job can write the same.
    """
    name, cause = "watchdog_abort", suspicion.cause
    if getattr(cause.body, "signal", None) != ABORT:
        return Explanation(name, Checked.EXCLUDED, cause.record, "a watchdog aborts: this was no abort")
    start = cause.event_time - case.site.windows.hardware_window_seconds * 1000
    for event, _ in case.of(CollectiveTimeout):
        if start <= event.event_time <= cause.event_time:
            return Explanation(
                name, Checked.NOT_CHECKED, event.record, "only the job's own output says that a collective operation timed out"
            )
    missing = case.missing(now, Source.TRAINING, start, cause.event_time)
    if missing:
        return Explanation(name, Checked.NOT_CHECKED, missing=missing)
    return Explanation(name, Checked.EXCLUDED, note="the job's output was heard and tells of no abort behind a timeout")


def own_code(case: Case, suspicion: Suspicion, now: Watermarks) -> Explanation:  # noqa: ARG001
    """Other code of the job did it, as programs do that end themselves: at a deadline, at a loss that is not a number, in `abort()`.

    That somebody had written one of the files that a job loaded says nothing of who sends its signals.  The probe says which files' code
    made the call, and what a pickle named; code that hides itself from it is a doubt, too.
    """
    name, cause, path = "own_code", suspicion.cause, suspicion.path
    for event, body in case.of(GlobalUnpickled):
        if body.path == path and body.module.partition(".")[0] in DANGEROUS and event.event_time <= cause.event_time:
            return Explanation(name, Checked.EXCLUDED, event.record, f"the file named {body.module}.{body.name} as it was loaded")
    said = [
        (event, body)
        for event, body in case.of(SignalRequested)
        if body.signal == getattr(cause.body, "signal", None) and abs(event.event_time - cause.event_time) <= SAME_MS and body.through
    ]
    for event, call in said:
        if path in call.through:
            return Explanation(name, Checked.EXCLUDED, event.record, "the call came out of the file")
    if said:
        return Explanation(name, Checked.NOT_CHECKED, said[0][0].record, f"the call came out of {said[0][1].through[0]}, not of the file")
    return Explanation(name, Checked.NOT_CHECKED, note="nobody says which code sent the signal", missing=(Source.PROBE,))


def ordinary_exit(case: Case, suspicion: Suspicion, now: Watermarks) -> Explanation:  # noqa: ARG001
    """The program ended itself, as programs do."""
    name, cause = "ordinary_exit", suspicion.cause
    if isinstance(cause.body, RankFailed):
        return Explanation(name, Checked.NOT_CHECKED, cause.record, "it exited without an error line: nobody says why")
    return Explanation(name, Checked.EXCLUDED, cause.record, "it was ended by a signal from inside")
