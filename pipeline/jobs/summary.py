"""A case in, its summary for incidents out: what cohorts are compared by.

The configuration is the account, the job's name without numbers, and what training itself says of the run: attempts that differ in these
are no siblings.  Step times come as samples spread over the run, losses at round step numbers, where siblings have theirs too.
"""

import re
from collections.abc import Iterator, Sequence

from pipeline.detect.case import Case, evidence
from pipeline.model.actor import actor_of, relation
from pipeline.model.events import Event, FileTouched, Iteration, is_round
from pipeline.model.finding import Verdict
from pipeline.model.identity import Identity
from pipeline.model.ids import digest
from pipeline.model.incident import Examined
from pipeline.model.summary import Exposure, JobSummary, Pace, Step
from pipeline.model.told import ArtefactUse

SAMPLES_MIN = 8
STEPS_MAX = 100
EXPOSURES_MAX = 50
WRITING = frozenset({"written", "renamed", "truncated"})
HARMLESS = frozenset({"owner", "service", "daemon", "root"})
Sample = tuple[Event, Iteration]
_NUMBERS = re.compile(r"[0-9]+")


def summarise(case: Case, verdict: Verdict | None) -> JobSummary | None:
    """None: nothing is known of its training and it was exposed to nothing, so there is nothing to compare."""
    exposures = tuple(sorted(_exposures(case))[:EXPOSURES_MAX])
    samples = _samples(case)
    if not samples and not exposures and (case.gpus or 0) < case.site.windows.large_job_gpus:
        return None
    record = case.end_record or (case.records[0] if case.records else None)
    return JobSummary(
        attempt=case.attempt,
        owner=case.owner_id,
        configuration=_configuration(case, samples),
        gpus=case.gpus,
        nodes=case.nodes,
        end=case.end,
        state=case.state,
        verdict=verdict.verdict if verdict else "",
        cause=verdict.cause if verdict else "",
        seen=max([case.end or case.attempt.start, *(event.event_time for event, _ in samples)]),
        record=evidence("run", record[0], f"job {case.attempt.job} of {case.owner_id}: {record[1].state or record[1].phase}")[0]
        if record
        else None,
        pace=_pace(samples),
        steps=tuple(_steps(samples))[-STEPS_MAX:],
        exposures=exposures,
    )


def cohorts_of(case: Case, summary: JobSummary) -> list[str]:
    """Where the summary belongs: with its configuration, when training told anything, and with all that are as large as it."""
    large = case.site.windows.large_job_gpus
    found = [f"configuration/{summary.configuration}"] if summary.pace or summary.steps else []
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
    )


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
        case.gpus or 0,
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
    """The first word on each round step: after a rollback it comes again."""
    seen = 0
    for event, step in sorted(samples, key=lambda each: (each[1].iteration, each[0].event_time, each[0].id)):
        if step.loss is not None and is_round(step.iteration) and step.iteration > seen:
            seen = step.iteration
            cited = evidence("step", event, f"step {step.iteration}: loss {step.loss:g}")[0]
            yield Step(step.iteration, step.loss, step.learning_rate, cited)


def _exposures(case: Case) -> Iterator[Exposure]:
    """For each path that was loaded, the last write before its last load, when it was foreign."""
    last: dict[str, ArtefactUse] = {}
    for use in case.uses:
        before = use.before
        if before is None or not isinstance(before.body, FileTouched) or not before.body.success or before.body.action not in WRITING:
            continue
        path = str(getattr(use.load.body, "path", ""))
        known = last.get(path)
        if known is None or _order(use) > _order(known):
            last[path] = use
    for path, use in last.items():
        before = use.before
        if before is None:
            continue
        writer = actor_of(case.site.directory, before)
        if writer is not None and _foreign(case, writer, path, before.event_time):
            write = evidence("written", before, f"{path} written by {writer.id}")[0]
            load = evidence("loaded", use.load, f"job {case.attempt.job} loaded {path}")[0]
            yield Exposure(path, writer.id, before.event_time, write, load)


def _order(use: ArtefactUse) -> tuple[int, int, str, str]:
    before = use.before
    return (use.load.event_time, before.event_time if before else 0, use.load.id, before.id if before else "")


def _foreign(case: Case, writer: Identity, path: str, at: int) -> bool:
    """Not the owner, not the system, nobody whom the settings let write there, nobody with a ticket."""
    if relation(writer, case.owner) in HARMLESS:
        return False
    if any(path.startswith(root) and writer.id in writers for root, writers in case.site.artefact_writers):
        return False
    return case.site.directory.ticket_for(writer, at, job=case.attempt.job) is None
