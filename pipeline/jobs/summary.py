"""A case in, its summary for cohorts out: what they are compared by.

The configuration is the account, the job's name without numbers, and what training itself says of the run: attempts that differ in these
are not siblings.  How many machines share a batch decides the pace and not what is learned, so that siblings may differ in size; who
compares paces minds it.  Step times come as samples spread over the run, losses at round step numbers, where siblings have theirs too, and
at others where these are few.

How an attempt ended is told apart from what it loaded: that it loaded altered bytes must not make its end a bad one, or whoever wrote them
would be accused of every end.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import gcd
from typing import Any

from pipeline.detect.benign_artefacts import DANGEROUS
from pipeline.detect.case import Case, evidence
from pipeline.detect.verdict import LAUNCHERS_WORD
from pipeline.detect.writers import said_of, writes_of
from pipeline.formats.failures import Traceback
from pipeline.model.actor import actor_of, relation
from pipeline.model.arguments import argument_of
from pipeline.model.events import (
    CheckpointLoaded,
    CheckpointNote,
    CollectiveTimeout,
    Event,
    FileTouched,
    GlobalUnpickled,
    Iteration,
    TrainingLine,
    is_round,
)
from pipeline.model.facts import compared_with
from pipeline.model.finding import Evidence, Verdict
from pipeline.model.identity import Identity
from pipeline.model.ids import digest
from pipeline.model.incident import Examined, Mark
from pipeline.model.source import Source
from pipeline.model.summary import NEWEST_MAX, Exposure, JobSummary, Pace, Step

SAMPLES_MIN = 5
STEPS_MAX = 100
EXPOSURES_MAX = 50
HARMLESS = frozenset({"owner", "service", "daemon", "root"})
OUTPUT = frozenset({Source.TRAINING, Source.PROBE})
Sample = tuple[Event, Iteration]
_NUMBERS = re.compile(r"[0-9]+")


def summarise(case: Case, verdict: Verdict | None) -> JobSummary | None:
    """The verdict must not rest on what was loaded.  None: nothing is known of its training and it was exposed to nothing to compare."""
    exposures = tuple(sorted(_exposures(case), key=lambda each: (each.unproven, each))[:EXPOSURES_MAX])
    samples = _samples(case.proven) or _samples(case)
    if not samples and not exposures and (case.gpus or 0) < case.site.windows.large_job_gpus:
        return None
    record = case.end_record or (case.records[0] if case.records else None)
    said, cause = _ended(case, verdict, exposures)
    return JobSummary(
        attempt=case.attempt,
        owner=case.owner_id,
        configuration=_configuration(case, samples),
        gpus=case.gpus,
        nodes=case.nodes,
        end=case.end,
        state=case.state,
        verdict=said,
        cause=cause,
        seen=max([case.end or case.attempt.start, *(event.event_time for event, _ in samples)]),
        record=evidence("run", record[0], f"job {case.attempt.job} of {case.owner_id}: {record[1].state or record[1].phase}")[0]
        if record
        else None,
        pace=_pace(samples),
        steps=tuple(_steps(samples))[-STEPS_MAX:],
        exposures=exposures,
        arguments=tuple(_arguments(case.proven)) or tuple(_arguments(case)),
        loads_told=_loads_told(case),
    )


def cohorts_of(case: Case, summary: JobSummary) -> list[str]:
    """Where the summary belongs: with those of its account, when training told anything, and with all that are as large as it."""
    large = case.site.windows.large_job_gpus
    accounts = sorted({record.account for _, record in case.records if record.account})
    found = [compared_with(accounts[0] if accounts else "", summary.configuration)] if summary.pace or summary.steps else []
    return [*found, f"size/{large}"] if (summary.gpus or 0) >= large else found


def examine(case: Case, summary: JobSummary | None, verdict: Verdict | None) -> Examined | None:
    """How an attempt ended, for the scope of incidents.  None: it runs, and loaded nothing that others had written."""
    exposures = summary.exposures if summary else ()
    if verdict is None and not exposures:
        return None
    accounts = sorted({record.account for _, record in case.records if record.account})
    return Examined(
        attempt=case.attempt,
        owner=case.owner_id,
        project=accounts[0] if accounts else "",
        gpus=case.gpus,
        end=verdict.end if verdict else None,
        verdict=verdict.verdict if verdict else "",
        cause=verdict.cause if verdict else "",
        missing=tuple(sorted({source for item in verdict.checklist for source in item.missing})) if verdict else (),
        exposures=exposures,
        nodes=case.nodes,
        loads_told=_loads_told(case),
        task=_task(case),
        resumed=_resumed(case),
        unexplained=(summary.verdict if summary else verdict.verdict) == "unexplained" if verdict else None,
        **(_course(case, summary) if verdict else {}),
    )


def _course(case: Case, summary: JobSummary | None) -> dict[str, Any]:
    """How far it had come: what its loss is worked out from."""
    end = case.end if case.end is not None else 2**62
    samples = [(event, step) for event, step in _samples(case) if event.event_time <= end]
    saves = [event for event, note in case.of(CheckpointNote) if note.action == "saved" and event.event_time <= end]
    timeouts = case.of(CollectiveTimeout)
    record = case.end_record or (case.records[0] if case.records else None)
    return {
        "state": case.state,
        "configuration": summary.configuration if summary else "",
        "saved": _mark(saves),
        "last_step": _mark([event for event, _ in samples]),
        "steps_apart": _steps_apart(samples),
        "timed_out": timeouts[0][0].id if timeouts else "",
        "pace": summary.pace.mean if summary and summary.pace else None,
        "record": record[0].id if record else "",
        "code_in": tuple(sorted({each.path for _, each in case.of(GlobalUnpickled) if each.path and _acts(each)})),
    }


def _acts(named: GlobalUnpickled) -> bool:
    """Can what was named act, and not only hold data?"""
    return named.module.partition(".")[0] in DANGEROUS


def _mark(events: Sequence[Event]) -> Mark | None:
    """Of the last of them."""
    last = max(events, key=lambda each: (each.event_time, each.id), default=None)
    return Mark(last.event_time, last.id, getattr(last.body, "path", "")) if last else None


def _steps_apart(samples: Sequence[Sample]) -> int:
    """Time between two steps that are logged, also where only some of them are held: by the greatest step that divides all distances."""
    ordered = sorted({step.iteration: event.event_time for event, step in samples}.items())
    pairs = [(right[0] - left[0], right[1] - left[1]) for left, right in pairwise(ordered)]
    paces = sorted(took / steps for steps, took in pairs if took >= 0)
    return round(gcd(*(steps for steps, _ in pairs)) * paces[len(paces) // 2]) if paces else 0


def _loads_told(case: Case) -> bool:
    """Does it say what it loads: by known senders, as far as they tell of its output at all?  A forger must not make it say so."""
    known = any(event.source in OUTPUT for event in case.proven.all_events())
    return bool((case.proven if known else case).loaded())


def _task(case: Case) -> str:
    """What attempts that do the same work share; nothing of what training says, since an attempt may end before it says anything."""
    names = sorted({record.name for _, record in case.records if record.name})
    accounts = sorted({record.account for _, record in case.records if record.account})
    return digest("task", accounts[0] if accounts else "", _NUMBERS.sub("#", names[0])) if names else ""


def _resumed(case: Case) -> tuple[str, Mark] | None:
    """Which job had saved what it loaded first, and when.  Shards of a dataset are loaded alike, and no job saved them."""
    saves = next((load.saves for load in case.loaded(CheckpointLoaded) if load.saves), ())
    save = max(saves, key=lambda each: (each.event_time, each.id), default=None)
    return (save.job, Mark(save.event_time, save.id, getattr(save.body, "path", ""))) if save is not None else None


def _samples(case: Case) -> Sequence[Sample]:
    """Steps that were told, each once."""
    return tuple({event.id: (event, step) for event, step in case.of(Iteration)}.values())


def _configuration(case: Case, samples: Sequence[Sample]) -> str:
    names = sorted({record.name for _, record in case.records if record.name})
    accounts = sorted({record.account for _, record in case.records if record.account})
    totals = [step.iterations_total for _, step in samples if step.iterations_total]
    batches = [step.global_batch_size for _, step in samples if step.global_batch_size]
    return digest(
        accounts[0] if accounts else "",
        _NUMBERS.sub("#", names[0]) if names else "",
        max(totals, default=0),
        max(batches, default=0),
    )


def _pace(samples: Sequence[Sample]) -> Pace | None:
    timed = sorted((step.elapsed_ms, event.event_time, event.id, event) for event, step in samples if step.elapsed_ms)
    if len(timed) < SAMPLES_MIN:
        return None
    times = [elapsed for elapsed, _, _, _ in timed]
    first, slowest = min(timed, key=lambda each: each[1:3]), timed[-1]
    return Pace(
        len(times),
        round(sum(times) / len(times), 3),
        times[len(times) // 2],
        evidence("step", first[3], f"a step took {first[0]:g} ms")[0],
        evidence("step", slowest[3], f"a step took {slowest[0]:g} ms")[0],
    )


def _steps(samples: Sequence[Sample]) -> Iterator[Step]:
    """The first word on each round step, since after a rollback it comes again; where these are few, on others spread over the run."""
    first: dict[int, tuple[Event, Iteration, float]] = {}
    for event, step in sorted(samples, key=lambda each: (each[0].event_time, each[0].id)):
        if step.loss is not None and step.iteration > 0:
            first.setdefault(step.iteration, (event, step, step.loss))
    chosen = [iteration for iteration in first if is_round(iteration)]
    others, room = sorted(first.keys() - {*chosen}), max(0, NEWEST_MAX - len(chosen))
    chosen += [others[place * len(others) // room] for place in range(room)] if len(others) > room else others[:room]
    for iteration in sorted(chosen):
        event, step, loss = first[iteration]
        cited = evidence("step", event, f"step {iteration}: loss {loss:g}")[0]
        batches = step.consumed_samples / step.global_batch_size if step.consumed_samples and step.global_batch_size else None
        yield Step(iteration, loss, step.learning_rate, cited, batches, step.grad_norm)


def _arguments(case: Case) -> Iterator[tuple[str, str, Evidence]]:
    """What training says that it runs with, by name; the last word of each."""
    last = {}
    for event, line in case.of(TrainingLine):
        if line.what == "config" and (argument := argument_of(line.text)) is not None:
            last[argument[0]] = (argument[1], evidence("argument", event, f"runs with {argument[0]} {argument[1]}")[0])
    yield from ((name, *last[name]) for name in sorted(last))


def _ended(case: Case, verdict: Verdict | None, exposures: Sequence[Exposure]) -> tuple[str, str]:
    """(verdict, cause).  An error of the program explains an end; not so one in a file that others wrote, nor an exit without a word."""
    if verdict is None:
        return "", ""
    if verdict.cause == "app_error":
        files = {frame.path for each in case.tracebacks() if not _of_launcher(each) for frame in each.frames}
        if files & {exposure.path for exposure in exposures if not exposure.restored}:
            return "unexplained", "error_in_foreign_file"
        if not files and not any(line.what == "error" and LAUNCHERS_WORD not in line.text for _, line in case.of(TrainingLine)):
            return "unexplained", "exit_without_error"
    return verdict.verdict, verdict.cause


def _of_launcher(trace: Traceback) -> bool:
    """The launcher says that a rank failed; why, it does not know."""
    return LAUNCHERS_WORD in trace.error or any(frame.path.endswith("/torchrun") for frame in trace.frames)


def _exposures(case: Case) -> Iterator[Exposure]:
    """Those of the case's proven half count; what anybody may have sent adds others, and takes the place of none."""
    known = list(_exposures_in(case.proven))
    yield from known
    if case.unproven:
        taken = {(each.path, each.writer) for each in known}
        yield from (each for each in _exposures_in(case) if (each.path, each.writer) not in taken)


def _exposures_in(case: Case) -> Iterator[Exposure]:
    """For each path that was loaded, everybody who wrote it without leave since the last write that was nobody's offence.

    Whoever wrote last is not the only one whose bytes may be in there: a colleague who debugs adds a line to what somebody else altered.
    """
    for path, loaded in {each.path: each for each in case.loaded()}.items():
        foreign: dict[str, Event] = {}  # writer -> the last write
        for write in sorted(writes_of(loaded, -1), key=lambda each: (each.event_time, each.id)):
            writer = actor_of(case.site.directory, write)
            if writer is not None and _foreign(case, writer, path, write):
                foreign[writer.id] = write
            elif not write.unproven:
                foreign.clear()
        for name, write in foreign.items():
            yield Exposure(
                path,
                name,
                write.event_time,
                evidence("written", write, f"{path}: {said_of(write)}")[0],
                evidence("loaded", loaded.event, f"job {case.attempt.job} loaded {path}")[0],
                loaded.sha256,
                restored=loaded.same is not None and loaded.earlier is None,
                own=_is_own(case, name, path, write),
            )


def _is_own(case: Case, writer: str, path: str, write: Event) -> bool:
    """Nothing shows that the file was anybody's but the writer's: neither the settings, nor the kernel, which says whose file it was."""
    if case.site.root_of(path).writers:
        return False  # the settings say whose the folder is, and a foreign write is not by one of them
    uid = write.body.file_uid if isinstance(write.body, FileTouched) else None
    holder = case.site.directory.of(write.cluster).by_uid(uid, write.event_time) if uid is not None else None
    return holder is None or holder.id == writer


def _foreign(case: Case, writer: Identity, path: str, write: Event) -> bool:
    """Not the owner, not the system, nobody whom the settings let write there, nobody with a ticket."""
    if relation(writer, case.owner) in HARMLESS:
        return False
    if case.site.has_leave(writer, path):
        return False
    where = {"cluster": case.attempt.cluster, "host": write.host, "job": case.attempt.job}
    return case.site.directory.ticket_for(writer, write.event_time, **where) is None
