"""What really happened in a simulated week: the planted acts, the cause of every job's end, and what was done to the records.

It is kept apart from the records, and nothing in the records is made from it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pipeline.simulate.shipping import Record

DETECTORS = {
    "foreign_kill": "p01_foreign_kill",
    "foreign_cancel": "p03_foreign_cancel",
    "refused_cancel": "p03_foreign_cancel",
    "checkpoint_tamper": "p06_checkpoint_tamper",
}


@dataclass(frozen=True, slots=True)
class Act:
    """One planted act of interference.  `event_time_ms` is when it was done; the job is named by raw id and submit time."""

    id: str
    kind: str
    actor: str
    victim_job: str
    victim_submit_ms: int
    event_time_ms: int
    detail: dict[str, str] = field(default_factory=dict)

    @property
    def detector(self) -> str:
        """The detector whose business this is."""
        return DETECTORS[self.kind]


class JobTruth(NamedTuple):
    """One attempt of a job and why it ended: `completed`, `owner_cancel`, ..., `running` when it had not ended yet."""

    job: str
    submit_ms: int
    start_ms: int | None
    end_ms: int | None
    owner: str
    state: str
    cause: str


class Expected(NamedTuple):
    """A finding that must be raised."""

    detector: str
    job: str
    actor: str


@dataclass(frozen=True, slots=True)
class Week:
    """A simulated period: records in order of their timestamps, settings of the site, and the truth."""

    seed: int
    start_ms: int
    end_ms: int
    records: Sequence[Record]
    settings: dict[str, Any]
    acts: tuple[Act, ...]
    jobs: tuple[JobTruth, ...]
    counts: dict[str, int]
    broken: dict[str, int]
    duplicates: int

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def expected_findings(self) -> frozenset[Expected]:
        """What a perfect detector raises, and nothing else."""
        return frozenset(Expected(act.detector, act.victim_job, act.actor) for act in self.acts)

    def causes(self) -> dict[str, int]:
        """How many jobs ended for which cause."""
        counts: dict[str, int] = {}
        for job in self.jobs:
            counts[job.cause] = counts.get(job.cause, 0) + 1
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def truth(self) -> dict[str, Any]:
        """All but records and settings, JSON-able."""
        return {
            "seed": self.seed,
            "start_ms": self.start_ms,
            "end_ms": self.end_ms,
            "records": self.counts,
            "broken": self.broken,
            "duplicates": self.duplicates,
            "causes": self.causes(),
            "acts": [
                {
                    "id": act.id,
                    "kind": act.kind,
                    "detector": act.detector,
                    "actor": act.actor,
                    "victim_job": act.victim_job,
                    "victim_submit_ms": act.victim_submit_ms,
                    "event_time_ms": act.event_time_ms,
                    "detail": act.detail,
                }
                for act in self.acts
            ],
            "jobs": [job._asdict() for job in self.jobs],
        }
