"""One plan in; the simulated period through the whole pipeline in memory; what was found of it out.

The period happens twice: the first time to learn the site's settings, since who leaves when is known at the end, then record by record
through the stages, with a checkpoint every so often, so that findings are raised and taken back as on a live cluster.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from pipeline.detect.detector import witnessed
from pipeline.detect.site import site_of
from pipeline.model.instants import DAY_MS, HOUR_MS
from pipeline.model.outcome import Record
from pipeline.runtime.local import LocalRuntime, Results
from pipeline.score.at_risk import Read
from pipeline.score.checked import ENDED_BADLY, Checklist, Ended, checklist_of
from pipeline.score.incidents import Judged, judged
from pipeline.score.match import Found, Matched, found_of, kind_of, match
from pipeline.score.truth import Job, Transport, Truth, truth_of
from pipeline.settings import Settings
from pipeline.simulate.cluster import Run, simulate
from pipeline.simulate.plan import Plan

CHECKPOINT_RECORDS = 5000
CHECKPOINT_MS = 1_800_000  # of collection: delays of other findings are known as exactly as that
# Of collection between two looks of stages that look at months, and their delays are known as exactly as that.  The last word follows from
# the set, but where a finding stands whose records are forgotten by then; of incidents it alone is asked, and those between took long.
APART_MS = {"identities": HOUR_MS, "cohorts": HOUR_MS, "incidents": 15 * DAY_MS}


class OfPattern(msgspec.Struct):
    """Counts of one pattern in one period."""

    acts: int = 0  # that had an effect
    found: int = 0  # by an alert
    shown: int = 0  # of the acts, those of which each source shows what it should
    shown_found: int = 0
    seen: int = 0  # also below the gate
    named: int = 0  # with the right name
    attributable: int = 0
    alerts: int = 0  # findings of this detector
    true: int = 0
    delays_ms: list[int] = []
    at_risk: int = 0  # events that could have begun a finding (at_risk.py)


class OfLookAlike(msgspec.Struct):
    """Counts of one kind of look-alike in one period."""

    pattern: str = ""  # whose acts it looks like
    simulated: int = 0
    alerted: int = 0  # that raised an alert
    seen: int = 0  # also below the gate


class OfTransport(msgspec.Struct, frozen=True):
    """What became of records on their way, and what was made of it."""

    planted: Transport = Transport()
    late: int = 0  # events that ingest found behind their source's mark by more than grace
    dead_letters: dict[str, int] = {}  # by code


class SeedScore(msgspec.Struct, kw_only=True):
    """What came of one period; one line of the results file."""

    plan: str  # its name
    seed: int
    days: float
    records: int
    jobs: int
    ended_badly: int  # attempts that failed or were cancelled, harmed ones left out
    findings: int
    alerts: int
    false_alerts: int
    false_on_jobs: int
    below_gate_false: int
    harmless_alerts: int = 0  # of what somebody did without leave and without harm; not among the false ones
    named_wrongly: list[str]
    patterns: dict[str, OfPattern]
    fell_for: dict[str, int]
    verdicts: dict[str, dict[str, int]]  # cause in truth -> verdict/cause -> attempts
    dead_letters: int
    missed: list[str] = []  # acts
    incidents: list[Judged] = []
    look_alikes: dict[str, OfLookAlike] = {}
    checklist: Checklist = Checklist()
    transport: OfTransport = OfTransport()


def score(plan: Plan, progress: Callable[[int], None] = lambda _: None) -> SeedScore:
    """Simulate, judge, compare."""
    first = simulate(plan)
    total = sum(1 for _ in first)
    settings = Settings(**first.settings())
    truth = truth_of(first.truth())
    ended = Ended()
    with witnessed(ended.look):
        results, alerted, read = _judged(simulate(plan), settings, progress)
    findings = [
        found_of(body, alerted.get(str(body["id"]))) for _, body in sorted(results.findings.items()) if body["status"] != "retracted"
    ]
    scored = _scored(plan, truth, total, findings, results, read)
    checklist = msgspec.structs.replace(scored.checklist, ended=ended.counts())
    incidents = judged(results.incidents.values(), findings, truth, site_of(settings).directory.key)
    return msgspec.structs.replace(scored, checklist=checklist, incidents=incidents)


def _records(run: Run) -> Iterator[Record]:
    for number, each in enumerate(run):
        yield Record(
            topic=each.topic,
            partition=0,
            offset=number,
            timestamp=each.timestamp,
            value=each.value,
            key=each.key,
            headers=each.headers,
        )


def _judged(run: Run, settings: Settings, progress: Callable[[int], None]) -> tuple[Results, dict[str, int], Read]:
    """The results; by finding how far collection had come when it was first an alert; and what was read."""
    runtime, read = LocalRuntime(settings, keep_rows=True), Read()
    alerted: dict[str, int] = {}
    batch: list[Record] = []
    looked = dict.fromkeys(APART_MS, 0)
    seen = 0

    def fold() -> None:
        nonlocal seen
        runtime.feed(batch)
        now = batch[-1].timestamp
        waiting = [stage for stage, apart in APART_MS.items() if now - looked[stage] < apart]
        looked.update((stage, now) for stage in APART_MS if stage not in waiting)
        runtime.checkpoint(waiting)
        for body in runtime.found[seen:]:
            if body["alert"]:
                alerted.setdefault(str(body["id"]), now)
        seen = len(runtime.found)
        read.take(runtime.results.rows)
        runtime.results.rows.clear()
        progress(len(batch))
        batch.clear()

    for record in _records(run):
        batch.append(record)
        if len(batch) == CHECKPOINT_RECORDS or record.timestamp - batch[0].timestamp >= CHECKPOINT_MS:
            fold()
    last = batch[-1].timestamp if batch else 0
    if batch:
        fold()
    results = runtime.finish()
    for body in runtime.found[seen:]:
        if body["alert"]:
            alerted.setdefault(str(body["id"]), last)
    return results, alerted, read


def _scored(plan: Plan, truth: Truth, records: int, findings: list[Found], results: Results, read: Read) -> SeedScore:
    alerts = [finding for finding in findings if finding.alert]
    matched, all_matched = match(alerts, truth), match(findings, truth)
    harmed = {(victim.job, victim.submit_ms) for act in truth.acts for victim in act.victims}
    patterns = _of_patterns(truth, alerts, matched, all_matched, read.at_risk())
    letters = Counter(value.decode() for letter in results.dead_letters for name, value in letter.headers if name == "x-dlq-code")
    return SeedScore(
        plan=plan.name,
        seed=plan.seed,
        days=plan.days,
        records=records,
        jobs=len(truth.jobs),
        ended_badly=sum(job.state in ENDED_BADLY and (job.job, job.submit_ms) not in harmed for job in truth.jobs),
        findings=len(findings),
        alerts=len(alerts),
        false_alerts=len(matched.false),
        false_on_jobs=sum(finding.kind == "job" for finding, _ in matched.false),
        below_gate_false=len(all_matched.false) - len(matched.false),
        harmless_alerts=len(matched.harmless),
        named_wrongly=[f"{finding.detector} {finding.kind} {finding.name or finding.job}" for finding in matched.named_wrongly],
        patterns=patterns,
        fell_for=dict(sorted(Counter(f"{finding.detector[:3]}: {kind_of(each)}" for finding, each in matched.false).items())),
        verdicts=_verdicts(truth.jobs, results.verdicts.values()),
        dead_letters=len(results.dead_letters),
        missed=[f"{act.id} {act.pattern}" for act in truth.acts if act.effective and not matched.found[act.id]],
        look_alikes=_of_look_alikes(truth, matched, all_matched),
        checklist=checklist_of(results, truth, harmed, plan.silent),
        transport=OfTransport(truth.transport, read.late, dict(sorted(letters.items()))),
    )


def _of_look_alikes(truth: Truth, matched: Matched, all_matched: Matched) -> dict[str, OfLookAlike]:
    """How many there were of each kind, and of how many anything was said."""
    table: dict[str, OfLookAlike] = {}
    alerted, seen = ({id(each) for _, each in (*of.false, *of.harmless)} for of in (matched, all_matched))
    for each in truth.look_alikes:
        row = table.setdefault(each.kind, OfLookAlike(each.pattern))
        row.simulated += 1
        row.alerted += id(each) in alerted
        row.seen += id(each) in seen
    return dict(sorted(table.items()))


def _of_patterns(
    truth: Truth, alerts: list[Found], matched: Matched, all_matched: Matched, at_risk: Mapping[str, int]
) -> dict[str, OfPattern]:
    patterns = {pattern: OfPattern(at_risk=events) for pattern, events in at_risk.items()}
    false = {finding.id for finding, _ in matched.false}
    for act in truth.acts:
        if not act.effective:
            continue
        row = patterns.setdefault(act.pattern, OfPattern())
        row.acts += 1
        row.shown += not act.missing
        row.attributable += act.attributable
        found = matched.found[act.id]
        row.seen += bool(all_matched.found[act.id])
        if found:
            row.found += 1
            row.shown_found += not act.missing
            row.named += any(finding.actor == act.actor for finding in found)
            times = [finding.alerted_ms for finding in found if finding.alerted_ms is not None]
            if times and act.first_effect_ms is not None:
                row.delays_ms.append(max(0, min(times) - act.first_effect_ms))
    harmless = {finding.id for finding, _ in matched.harmless}
    for finding in alerts:
        if finding.id in harmless:
            continue
        row = patterns.setdefault(finding.detector[:3], OfPattern())
        row.alerts += 1
        row.true += finding.id not in false
    return dict(sorted(patterns.items()))


def _verdicts(jobs: Iterable[Job], verdicts: Iterable[dict[str, object]]) -> dict[str, dict[str, int]]:
    """What was said of the attempts that ended by each cause."""
    said: dict[tuple[str, int, int], str] = {}
    for body in verdicts:
        attempt: Any = body["attempt"]
        said[attempt[1], attempt[2], attempt[3]] = f"{body['verdict']}/{body['cause']}"
    table: dict[str, Counter[str]] = {}
    for job in jobs:
        if job.end_ms is not None:
            start = job.start_ms if job.start_ms is not None else -1
            word = next((said[key] for key in ((job.job, job.submit_ms, start), *_seconds(job, start)) if key in said), "no verdict")
            table.setdefault(job.cause, Counter())[word] += 1
    return {cause: dict(sorted(counts.items())) for cause, counts in sorted(table.items())}


def _seconds(job: Job, start: int) -> tuple[tuple[str, int, int], ...]:
    """Schedulers state whole seconds."""
    submit = job.submit_ms - job.submit_ms % 1000
    return ((job.job, submit, start - start % 1000 if start >= 0 else -1),)
