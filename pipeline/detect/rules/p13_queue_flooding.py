"""P13: one account's jobs filled the queue, did no work, and others' jobs were preempted for them, or waited.

In: the jobs of one account, which of them wrote steps of training, and whom they displaced.  Out: one finding for each UTC day, about the
queue: the account would be a name.  Only all of it together is an alert: far more jobs within the hour than the account ever had, others
displaced by these very jobs, and none of them at work although the account's other jobs are seen at work.  Sweeps, rushes and evaluations
lack one of the three.

    submitted   40 jobs in 20 minutes, by an account whose busiest hour had 6
    displaced   9 attempts of 4 others, each followed within two minutes by one of the 40 on the same host
    or          7 of 4 others, that had waited for 45 minutes and more, each begun on the same host within two minutes after one of the 40
    steps       none of the 40; 31 of the 33 jobs before them

Who only waits may do so for reasons of his own: several people must, and the finding weighs less.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Sequence
from itertools import accumulate, chain

import msgspec

from pipeline.detect.benign import Suspicion
from pipeline.detect.benign_people import service_account, written_agreement
from pipeline.detect.case import evidence
from pipeline.detect.detector import CITED_MAX, Meta, explained, raised
from pipeline.detect.subjects import IdentityCase, Run, felt_at
from pipeline.model.finding import Checked, Explanation, Finding, Severity, Subject
from pipeline.model.instants import DAY_MS, HOUR_MS
from pipeline.model.source import Source
from pipeline.model.told import Attempt, Displaced
from pipeline.model.words import many
from pipeline.stream.watermark import Watermarks

WORKED_SHARE = 0.2  # of a burst that is seen at work, above which it is work
STEPS_SEEN_MS = HOUR_MS  # after which the steps of jobs that train would have arrived
SEEN_BEFORE_MIN = 3  # other jobs of the account that were seen at work, or steps of its jobs are not written where we read


class Burst(msgspec.Struct, frozen=True):
    """Jobs that were submitted within one span, and whom they displaced."""

    runs: tuple[Run, ...]
    displaced: tuple[Displaced, ...]  # each victim once: preempted, or else kept waiting

    @property
    def preempted(self) -> tuple[Displaced, ...]:
        return tuple(each for each in self.displaced if not each.waited)


def evaluation(case: IdentityCase, suspicion: Suspicion, now: Watermarks) -> Explanation:  # noqa: ARG001 - one signature for all
    """Short jobs: an evaluation, a test, a crash loop.  What they are called says nothing, nor what was cancelled soon.

    Somebody takes back what he submitted by mistake; or what has displaced others, and done its work by that.
    """
    name, runs = "evaluation", burst_at(case, suspicion).runs
    ended = [run for run in runs if run.ran_ms is not None]
    short = [run for run in ended if _is_short(case, run)]
    over = [run for run in short if run.record.state != "CANCELLED"]
    if ended and len(over) * 2 >= len(ended):
        return Explanation(name, Checked.CONFIRMED, runs[0].event.record, f"{len(over)} of {len(ended)} ended within half an hour or so")
    if len(ended) * 2 < len(runs):
        return Explanation(name, Checked.NOT_CHECKED, note="most of the jobs have not ended yet")
    if len(short) * 2 >= len(ended):
        return Explanation(
            name, Checked.NOT_CHECKED, note=f"{len(short) - len(over)} of {len(ended)} were cancelled within half an hour or so"
        )
    return Explanation(name, Checked.EXCLUDED, note=f"{len(ended) - len(short)} of {len(ended)} held their GPUs longer")


def at_work(case: IdentityCase, suspicion: Suspicion, now: Watermarks) -> Explanation:
    """The jobs train: a sweep, a rush before a deadline.  While nobody's output arrives, all jobs look idle."""
    name, runs = "at_work", burst_at(case, suspicion).runs
    mine = {_attempt(case, run) for run in runs}
    worked = [attempt for attempt in sorted(case.worked) if attempt in mine]
    if len(worked) >= WORKED_SHARE * len(runs):
        return Explanation(name, Checked.CONFIRMED, case.worked[worked[0]].record, f"{len(worked)} of {len(runs)} wrote steps of training")
    if len(case.worked) - len(worked) < SEEN_BEFORE_MIN:
        note = "steps of the account's other jobs are not seen either"
        return Explanation(name, Checked.NOT_CHECKED, note=note, missing=(Source.TRAINING,))
    told = f"{len(worked)} of {len(runs)} wrote steps; the account's other jobs do"
    started = [run.start for run in runs if run.start is not None]
    until = suspicion.effect_time + STEPS_SEEN_MS
    last = max([suspicion.effect_time, *(min(run.record.end, until) for run in runs if run.record.end is not None)])
    missing = case.missing(now, Source.TRAINING, min(started, default=runs[0].submit), last)
    return Explanation(name, Checked.NOT_CHECKED if missing else Checked.EXCLUDED, note=told, missing=missing)


def usual_for_the_account(case: IdentityCase, suspicion: Suspicion, now: Watermarks) -> Explanation:  # noqa: ARG001
    """The account often submits as many.  A flood makes nothing usual: whoever did it once could do it again."""
    name, runs = "usual_for_the_account", burst_at(case, suspicion).runs
    window = case.site.windows.flood_window_seconds * 1000
    before = [run for run in _by_submit(case.runs) if run.submit < runs[0].submit - window]
    flooded = _flooded_days(case, before)
    usual = [run for run in before if run.submit // DAY_MS not in flooded]
    if not usual:
        beside = " beside days like this one" if flooded else ""
        return Explanation(name, Checked.NOT_CHECKED, note=f"nothing is known of the account before{beside}")
    busiest = max(end - start for start, end in _spans(usual, window))
    if len(runs) < case.site.windows.flood_own_factor * busiest:
        return Explanation(name, Checked.CONFIRMED, runs[0].event.record, f"{len(runs)} against {busiest} in its busiest span before")
    return Explanation(name, Checked.EXCLUDED, note=f"{len(runs)} against {busiest} in its busiest span before")


META = Meta(
    id="p13_queue_flooding",
    version=6,
    title="Queue flooded with jobs that hold GPUs and do no work",
    subject="identity",
    severity=Severity.MEDIUM,
    attack=("T1499.003", "T1496.001", "T1078", "AML.T0034"),
    needs=(Source.JOBCOMP, Source.TRAINING),
    window_seconds="detect.flood_window_seconds",
    benign=(service_account, written_agreement, evaluation, at_work, usual_for_the_account),
    required=("service_account", "evaluation", "at_work", "usual_for_the_account"),
    blind_spots=(
        "Jobs that wait less than 45 minutes, begin elsewhere than where the flood ends, or are taken back before they begin.",
        "A flood that prints false steps of training looks like work; only the GPUs' own counters would tell.",
        "A burst whose own output alone does not arrive, while that of others and of the account's other jobs does, looks idle.",
        "Several accounts that share a flood each stay below the thresholds.",
        "Jobs most of which end by themselves within half an hour look like an evaluation, whatever they do.",
        "Who submits as many for a while, when nobody is displaced, makes it usual for the account.",
        "Priority, quality of service and project are not read: who raises or bills them wrongly is seen by whom his jobs displace alone.",
    ),
    runbook="Look at the GPUs' utilisation of the jobs, ask their owner what they are for, and hold the queue meanwhile.",
)


def judge(case: IdentityCase, now: Watermarks) -> Iterator[Finding]:
    """One finding for each day: its greatest burst that displaced others."""
    for burst in _bursts(case):
        first, last, preempted = burst.runs[0], max(map(felt_at, burst.displaced)), burst.preempted
        suspicion = Suspicion(case.valid_at(first.submit), first.event, last)
        checklist, harmless = explained(META, case, suspicion, now)
        if harmless:
            continue
        cited = [item for run in burst.runs[:CITED_MAX] for item in evidence("cause", run.event, f"job {run.record.job} of the burst")]
        for each in burst.displaced[:CITED_MAX]:
            waited = f"began behind one of them, having waited {(each.victim.start - each.victim.submit) // 60_000} minutes"
            cited += evidence("effect", each.event, f"job {each.victim.job} {waited if each.waited else 'preempted'}")
        yield raised(
            META,
            case,
            suspicion,
            checklist,
            effect="queue_flooded",
            about=Subject("cohort", case.cluster, f"queue/{_queue(burst.runs)}"),
            anchor=case.site.directory.label("flood", case.name, str(first.submit // DAY_MS)),
            summary=f"{many(len(burst.runs), 'job')} within the span; {_told(burst)}",
            cited=cited,
            parts=(("others' attempts made room for these jobs", 0.9), ("far more jobs than usual", 0.8)),
            closes_at=last + DAY_MS + case.site.grace_ms,
            severity=None if len(preempted) >= case.site.windows.flood_victims_min else Severity.LOW,
        )


def _told(burst: Burst) -> str:
    """What others felt of it."""
    preempted, others = burst.preempted, {each.victim_uid for each in burst.preempted}
    waited = [each for each in burst.displaced if each.waited]
    said = [f"{many(len(preempted), 'attempt')} of {many(len(others), 'other')} preempted for them"] if preempted else []
    said += [f"{len(waited)} of {len({each.victim_uid for each in waited})} others kept waiting"] if waited else []
    return ", ".join(said)


def _queue(runs: Sequence[Run]) -> str:
    """Where most of them were submitted: it is what was harmed, and says nothing of who did it."""
    queues = Counter(run.record.partition for run in runs)
    return max(sorted(queues), key=lambda each: queues[each])


def burst_at(case: IdentityCase, suspicion: Suspicion) -> Burst:
    """The burst that begins with the suspected job."""
    window, start = case.site.windows.flood_window_seconds * 1000, suspicion.cause
    submit = getattr(start.body, "submit", None) or start.event_time
    return _with_displaced(case, [run for run in _by_submit(case.runs) if submit <= run.submit <= submit + window])


def _with_displaced(case: IdentityCase, runs: Sequence[Run]) -> Burst:
    mine = {_attempt(case, run) for run in runs}
    victims: dict[Attempt, Displaced] = {}
    for each in case.displaced:
        if each.by in mine:
            victims.setdefault(each.victim, each)
    return Burst(tuple(runs), tuple(victims.values()))


def _bursts(case: IdentityCase) -> Iterator[Burst]:
    """The greatest bursts that displaced enough others and share no job; one for each UTC day."""
    if len(case.displaced) < case.site.windows.flood_victims_min:
        return  # as with most accounts at most times: their jobs need not be looked at
    ordered = _by_submit(case.runs)
    found: dict[int, tuple[int, int]] = {}
    for start, end in sorted(_harmful(case, ordered), key=lambda span: (span[0] - span[1], span[0])):
        day = ordered[start].submit // DAY_MS
        if day not in found and not any(start < other[1] and other[0] < end for other in found.values()):
            found[day] = (start, end)
    for day in sorted(found):
        yield _with_displaced(case, ordered[slice(*found[day])])


def _harmful(case: IdentityCase, ordered: Sequence[Run]) -> Iterator[tuple[int, int]]:
    """Spans of enough jobs for which enough were preempted; or enough, of as many people, preempted or kept waiting."""
    windows, by = case.site.windows, defaultdict[Attempt, list[tuple[int, Hashable]]](list)
    for each in case.displaced:
        by[each.by] += _counted(each)
    felt = [by.get(_attempt(case, run), []) for run in ordered]
    counts, taken = (Counter[Hashable](), Counter[Hashable]()), 0
    for start, end in _spans(ordered, windows.flood_window_seconds * 1000):
        for place, key in chain.from_iterable(felt[taken:end]):
            counts[place][key] += 1
        taken = end
        if end - start >= windows.flood_jobs_min and max(map(len, counts)) >= windows.flood_victims_min:
            yield start, end
        for place, key in felt[start]:
            counts[place][key] -= 1
            if not counts[place][key]:  # only what lies in the span is counted at each step
                del counts[place][key]


def _flooded_days(case: IdentityCase, ordered: Sequence[Run]) -> set[int]:
    """UTC days on which these jobs displaced enough others, and neither worked nor ended soon, as an evaluation does."""
    worked = [0, *accumulate(_attempt(case, run) in case.worked for run in ordered)]
    ended = [0, *accumulate(run.ran_ms is not None for run in ordered)]
    over = [0, *accumulate(_is_short(case, run) and run.record.state != "CANCELLED" for run in ordered)]
    days: set[int] = set()
    for start, end in _harmful(case, ordered):
        at_work = worked[end] - worked[start] >= WORKED_SHARE * (end - start)
        tried = ended[end] > ended[start] and (over[end] - over[start]) * 2 >= ended[end] - ended[start]
        if not at_work and not tried:
            days |= {ordered[start].submit // DAY_MS, ordered[end - 1].submit // DAY_MS}
    return days


def _counted(each: Displaced) -> Iterator[tuple[int, Hashable]]:
    """Among whom it counts: 0 attempts that were preempted, 1 people; of whom nobody knows who it is, it may be one of the others."""
    if not each.waited:
        yield 0, each.victim
    if each.victim_uid is not None:
        yield 1, each.victim_uid


def _spans(ordered: Sequence[Run], window: int) -> Iterator[tuple[int, int]]:
    """For each job, [its place, the place after the last that was submitted within the window]."""
    end = 0
    for start, run in enumerate(ordered):
        while end < len(ordered) and ordered[end].submit <= run.submit + window:
            end += 1
        yield start, end


def _by_submit(runs: Sequence[Run]) -> list[Run]:
    """By submission; a job that ran several times counts once."""
    first: dict[tuple[str, int], Run] = {}
    for run in sorted(runs, key=lambda each: (each.submit, each.start is None, each.start or 0, each.event.id)):
        first.setdefault((run.record.job, run.submit), run)
    return list(first.values())


def _is_short(case: IdentityCase, run: Run) -> bool:
    return run.ran_ms is not None and run.ran_ms <= case.site.windows.flood_short_seconds * 1000


def _attempt(case: IdentityCase, run: Run) -> Attempt:
    return Attempt(case.cluster, run.record.job, run.submit, -1 if run.start is None else run.start)
