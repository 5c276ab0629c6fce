"""What attempts of a simulated cluster achieved in; which GPU time each act destroyed or wasted, by its causes, out.

Nothing here is worked out from log lines, nor as `loss/` works it out: the simulator knows of each attempt when it saved, from which save
it went on, and what altered its numbers.

    ended       the act ended it: its time since its last save, or since its start
    spoiled     its numbers were altered: its time from then on, and that of all who went on from what it saved afterwards
    undone      its save was taken away: the time between the save that was gone on from, and the newest that there had been
    slowed      the part of its time that the act had added
    held        it only kept GPUs from others

Time in which nobody's work was on the GPUs, such as a wait in the queue, is not GPU time.  A line of the truth file is a stretch of one
attempt: {"truth": "waste", "act", "kind", "job", "submit_ms", "gpus", "start_ms", "end_ms", "share"}.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipeline.simulate.truth import JobTruth
from pipeline.simulate.work import Checkpoint, Job, Run

if TYPE_CHECKING:
    from pipeline.simulate.chronicle import Deed

GOES_ON = frozenset({"refused_cancel", "shell", "weights", "arguments", "resumed", "slow", "waited", "sleep", "diverge"})
GOES_ON |= frozenset({"learning_rate", "batch", "seed", "loss"})  # first words of effects by which no attempt ends
Name = tuple[str, int]  # raw id and submit time
Stretch = tuple[int, int, float]  # from, to, share of it that was wasted


@dataclass(slots=True, eq=False)
class Save:
    """One checkpoint as it was written."""

    time: int
    iteration: int
    by: "Trip"
    spoiled_by: frozenset[str]  # acts


@dataclass(slots=True, eq=False)
class Trip:
    """What one attempt did with its time."""

    name: Name
    gpus: int
    start: int
    resumed: Save | None = None
    saves: list[Save] = field(default_factory=list)
    spoiled: dict[str, int] = field(default_factory=dict)  # act -> since when
    slowed: dict[str, list[Stretch]] = field(default_factory=dict)  # act -> stretches
    undone: dict[str, list[Stretch]] = field(default_factory=dict)  # act -> stretches


class Waste:
    """The trips of all attempts of a period."""

    def __init__(self) -> None:
        self._trips: dict[Name, Trip] = {}
        self._saves: dict[Checkpoint, Save] = {}
        self._of_run: dict[Run, list[Save]] = {}
        self.slow_nodes: dict[str, str] = {}  # node -> the act that has slowed it

    def began(self, job: Job) -> Trip:
        """The attempt, known from now on."""
        name = str(job.id), job.submit
        trip = self._trips.get(name)
        if trip is None:
            trip = self._trips[name] = Trip(name, job.gpus, job.start or job.submit)
        return trip

    def saved(self, job: Job, checkpoint: Checkpoint, now: int) -> None:
        """A checkpoint is complete."""
        trip = self.began(job)
        save = Save(now, checkpoint.iteration, trip, frozenset(trip.spoiled))
        trip.saves.append(save)
        self._saves[checkpoint] = save
        self._of_run.setdefault(job.run, []).append(save)

    def loaded(self, job: Job, checkpoint: Checkpoint, now: int, undone_by: str = "") -> None:
        """A checkpoint is gone on from; `undone_by`: the act that took newer ones away."""
        trip, saves = self.began(job), self._of_run.get(job.run, [])
        trip.resumed = next((save for save in reversed(saves) if save.iteration == checkpoint.iteration), self._saves.get(checkpoint))
        for act in trip.resumed.spoiled_by if trip.resumed else ():
            self.spoiled(job, act, now)
        if undone_by and saves:
            _undo(saves[-1], checkpoint.iteration, undone_by)

    def spoiled(self, job: Job, act: str, now: int) -> None:
        """What the attempt computes from now on is not what its owner wanted."""
        self.began(job).spoiled.setdefault(act, now)

    def slowed(self, job: Job, act: str, start: int, end: int, share: float) -> None:
        """Of this time the attempt would not have needed a share, but for the act."""
        if share > 0:
            self.began(job).slowed.setdefault(act, []).append((start, end, share))

    def lines(self, deeds: Sequence["Deed"], jobs: Iterable[JobTruth], holders: Mapping[Name, str]) -> Iterator[dict[str, Any]]:
        """All of it; `holders`: attempts that only hold GPUs for an act.  What still runs when the period ends is left out."""
        harmed: dict[Name, list[Deed]] = {}
        for deed in deeds:
            for victim in deed.victims:
                if victim.effect.partition(" ")[0] not in GOES_ON:
                    harmed.setdefault((victim.job, victim.submit_ms), []).append(deed)
        for job in sorted(jobs, key=lambda job: (int(job.job), job.submit_ms)):
            name = job.job, job.submit_ms
            if job.start_ms is None or job.end_ms is None or name not in self._trips:
                continue
            trip = self._trips[name]
            for act, kind, (start, end, share) in _wasted(trip, job.end_ms, harmed.get(name, ()), holders.get(name, "")):
                if start < end:
                    yield {
                        "truth": "waste", "act": act, "kind": kind, "job": job.job, "submit_ms": job.submit_ms, "gpus": trip.gpus,
                        "start_ms": start, "end_ms": end, "share": round(share, 6),
                    }  # fmt: skip


def _wasted(trip: Trip, end: int, harmed_by: "Iterable[Deed]", holds_for: str) -> Iterator[tuple[str, str, Stretch]]:
    """(act, kind, stretch) of one attempt."""
    for deed in harmed_by:
        yield deed.id, "ended", (max((save.time for save in trip.saves), default=trip.start), end, 1.0)
    for act, since in sorted(trip.spoiled.items()):
        yield act, "spoiled", (since, end, 1.0)
    for kind, stretches in (("slowed", trip.slowed), ("undone", trip.undone)):
        for act in sorted(stretches):
            for stretch in stretches[act]:
                yield act, kind, stretch
    if holds_for:
        yield holds_for, "held", (trip.start, end, 1.0)


def _undo(newest: Save, iteration: int, act: str) -> None:
    """Note what had been done between a save of `iteration` and the newest one, attempt by attempt, backwards."""
    save: Save | None = newest
    while save is not None and save.iteration > iteration:
        trip = save.by
        before = max((each.time for each in trip.saves if each.iteration <= iteration and each.time < save.time), default=trip.start)
        trip.undone.setdefault(act, []).append((before, save.time, 1.0))
        save = None if before > trip.start else trip.resumed
