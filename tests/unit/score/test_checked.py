"""What explanations acquitted, what they left open, and whether findings say what was missing."""

from typing import Any

from pipeline.detect.detector import witnessed
from pipeline.runtime.local import Results
from pipeline.score.checked import Checklist, Ended, checklist_of, open_in
from pipeline.score.truth import Job, Truth
from tests.build import SERVICE, WRITER, judge, load, save, write

T0 = 1_767_571_200_000


def finding(name: str, *, missing: tuple[str, ...] = (), unheard: tuple[str, ...] = (), **given: Any) -> tuple[dict[str, Any], list[str]]:
    """A canonical body with what is asked here, and the families that its detector never heard."""
    body = {"id": name, "detector": "p01_foreign_kill", "status": "final", "alert": True, "gate": "", "sources": ["auditd", "kernel"]}
    return {**body, "checklist": [{"name": "oom", "answer": "not_checked", "missing": list(missing)}], **given}, list(unheard)


def results(*findings: tuple[dict[str, Any], list[str]], verdicts: dict[str, tuple[str, str]] | None = None) -> Results:
    """Of a period whose attempts have these verdicts."""
    made = Results()
    made.findings = {body["id"]: body for body, _ in findings}
    made.unheard = {body["id"]: unheard for body, unheard in findings}
    said = verdicts or {}
    made.verdicts = {
        job: {"attempt": ["main", job, T0, T0], "verdict": verdict, "cause": cause} for job, (verdict, cause) in said.items()
    }  # fmt: skip
    return made


def ended(job: str, state: str = "FAILED") -> Job:
    """An attempt that ended so."""
    return Job(job, T0, T0, T0 + 1000, state, "script_error")


def asked(made: Results, *jobs: Job, silent: tuple[str, ...] = ()) -> Checklist:
    """Job 9 is the one that an act harmed."""
    return checklist_of(made, Truth((), (), jobs), {("9", T0)}, silent)


def test_attempts_are_acquitted_by_a_record_or_not() -> None:
    """Who ended well is not asked about; who was harmed stands apart."""
    said = {"1": ("benign", "app_error"), "2": ("unexplained", "no_record"), "3": ("benign", "completed"), "9": ("benign", "app_error")}
    of = asked(results(verdicts=said), ended("1"), ended("2"), ended("3", "COMPLETED"), ended("4"), ended("9"))
    assert of.acquitted == {"app_error": 1}
    assert of.not_acquitted == {"no verdict": 1, "unexplained": 1}
    assert of.harmed == {"app_error": 1}


def test_a_gate_names_what_is_open() -> None:
    """Each explanation once; a suppression is none."""
    assert open_in("not checked: oom, hardware") == ["oom", "hardware"]
    below = finding("a", alert=False, gate="not checked: oom, hardware")
    of = asked(results(below, finding("b", alert=False, gate="suppressed until 2026-04-01: known"), finding("c")))
    assert of.open == {"hardware": 1, "oom": 1, "suppressed or withheld": 1}


def test_a_suspicion_that_an_explanation_ended_is_counted_once() -> None:
    """By explanation, however often the case is judged; one that a finding came of is not among them."""
    ended = Ended()
    with witnessed(ended.look):
        for _ in range(2):
            judge("p06_checkpoint_tamper", save(10), write(40, SERVICE), write(41, WRITER), load(90))
        judge("p06_checkpoint_tamper", save(10), write(40), load(90))
    judge("p06_checkpoint_tamper", save(10), write(40, 0, auid=None), load(90))
    assert ended.counts() == {"allowed_writer": 1, "owner_or_service": 1}


def test_what_was_taken_back_is_counted_and_asked_nothing_else() -> None:
    """By detector."""
    of = asked(results(finding("a", status="retracted", alert=False, gate="not checked: oom")), silent=("kernel",))
    assert (of.taken_back, of.open, of.told_of) == ({"p01_foreign_kill": 1}, {}, 0)


def test_a_finding_says_what_was_missing() -> None:
    """In its checklist, also of one host alone, or as a family that was never heard; of those that its detector reads."""
    said = finding("a", missing=("kernel on gpu-001",)), finding("b", unheard=("kernel",)), finding("c"), finding("d", sources=["sshd"])
    of = asked(results(*said), silent=("kernel",))
    assert (of.told, of.told_of) == (2, 3)
    assert asked(results(finding("e", sources=["slurm_jobcomp"], unheard=("slurm_jobcomp",))), silent=("jobcomp",)).told == 1
