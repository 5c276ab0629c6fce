"""What came out of a period in; what explanations acquitted, what they left open, and whether findings say which source was missing, out.

    acquitted   attempts that failed or were cancelled and were not harmed, by the cause whose record acquits them
    harmed      attempts that an act harmed and a record acquits all the same: by their job alone nobody would have looked
    not_...     of those that were not harmed: unexplained, under a finding, or still without verdict
    open        findings that are not alerts, by the explanation that could not be excluded: each of them once
    taken back  findings that were raised and did not last, by detector
    told        findings of detectors that read a silent family; and of them those that say that it was missing
    ended       suspicions that an explanation ended before there was a finding, by it: each act against each subject once

All but the last is asked of what the pipeline publishes.  Of what ended before there was a finding it publishes nothing but the verdict on
the attempt, so a witness looks on (detect/detector.py).
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from pipeline.model.events import Event
from pipeline.model.finding import Checked, Explanation, Subject
from pipeline.runtime.local import Results
from pipeline.score.truth import Truth

ENDED_BADLY = frozenset({"FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "BOOT_FAIL", "DEADLINE"})
NAMES = {"jobcomp": "slurm_jobcomp"}  # of families that the simulator calls otherwise
NOT_CHECKED = "not checked: "  # begins the gate of a finding that is not an alert
OTHER_GATE = "suppressed or withheld"


class Checklist(msgspec.Struct, frozen=True):
    """Of one period."""

    acquitted: dict[str, int] = {}
    harmed: dict[str, int] = {}
    not_acquitted: dict[str, int] = {}  # by verdict
    open: dict[str, int] = {}
    taken_back: dict[str, int] = {}
    told: int = 0
    told_of: int = 0
    ended: dict[str, int] = {}


class Ended:
    """What explanations confirmed while a period was judged."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, Subject, str]] = set()

    def look(self, case: Any, suspicion: Any, answers: Sequence[Explanation]) -> None:
        """A checklist; the same one comes as often as a case is judged."""
        cause: Event | None = getattr(suspicion, "cause", None)
        confirmed = (each.name for each in answers if each.answer is Checked.CONFIRMED)
        self._seen.update((name, case.subject, cause.id if cause is not None else "") for name in confirmed)

    def counts(self) -> dict[str, int]:
        """By explanation, the most first."""
        return _ordered(Counter(name for name, _, _ in self._seen))


def checklist_of(results: Results, truth: Truth, harmed: Collection[tuple[str, int]], silent: Collection[str]) -> Checklist:
    """`harmed`: attempts by job and submission."""
    acquitted: Counter[str] = Counter()
    also: Counter[str] = Counter()
    others: Counter[str] = Counter()
    said = {(str(job), submit // 1000): body for body in results.verdicts.values() for _, job, submit, *_ in [_attempt(body)]}
    for job in truth.jobs:
        body = said.get((job.job, job.submit_ms // 1000))
        verdict, cause = (str(body["verdict"]), str(body["cause"])) if body is not None else ("no verdict", "")
        if (job.job, job.submit_ms) in harmed:
            also[cause] += verdict == "benign"
        elif job.state in ENDED_BADLY:
            (acquitted if verdict == "benign" else others)[cause if verdict == "benign" else verdict] += 1
    kept = [body for body in results.findings.values() if body["status"] != "retracted"]
    families = {NAMES.get(family, family) for family in silent}
    asked = [body for body in kept if families & set(_sources(body))]
    return Checklist(
        acquitted=_ordered(acquitted),
        harmed=_ordered(+also),
        not_acquitted=_ordered(others),
        open=_ordered(Counter(name for body in kept if not body["alert"] for name in open_in(str(body["gate"])))),
        taken_back=_ordered(Counter(str(body["detector"]) for body in results.findings.values() if body["status"] == "retracted")),
        told=sum(says_missing(body, results.unheard[str(body["id"])], families) for body in asked),
        told_of=len(asked),
    )


def open_in(gate: str) -> list[str]:
    """The explanations that a gate names."""
    return gate.removeprefix(NOT_CHECKED).split(", ") if gate.startswith(NOT_CHECKED) else [OTHER_GATE]


def says_missing(body: Mapping[str, Any], unheard: Collection[str], families: Collection[str]) -> bool:
    """Does a finding say that one of these was not heard: of the whole source, or of an explanation that it would have told?"""
    missing = {text.partition(" ")[0] for item in body["checklist"] for text in item["missing"]}
    return bool((missing | set(unheard)) & set(families))


def _attempt(body: Mapping[str, Any]) -> tuple[str, str, int, int]:
    cluster, job, submit, start = body["attempt"]
    return cluster, job, submit, start


def _sources(body: Mapping[str, Any]) -> Collection[str]:
    return [str(each) for each in body["sources"]]


def _ordered(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda each: (-each[1], each[0])))
