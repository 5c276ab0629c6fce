"""Every detector: its name, its metadata, its tests, and its silence on what is ordinary.

A new detector is one file in `rules/` and one test here beside it; this sweep finds both by name.
"""

import importlib
import inspect
import re
from pathlib import Path

import msgspec
import pytest

from pipeline.detect import rules, verdict
from pipeline.detect.detector import Detector, Meta, explanations_in_words, found, registry
from pipeline.detect.doubts import DOUBTS, SETTLED
from pipeline.model.finding import Checked, Explanation
from pipeline.model.told import Told
from pipeline.settings import Settings
from tests import build
from tests.build import (
    ADMIN,
    DAY,
    OWNER,
    SERVICE,
    allocation,
    cancel_request,
    case,
    collective_timeout,
    controller,
    error_line,
    iteration,
    job_end,
    job_update,
    kill,
    load,
    oom,
    process_started,
    rank_failed,
    save,
    scancel,
    step_cancelled,
    task_ended,
    ticket,
    write,
    xid,
)

EACH = pytest.mark.parametrize("detector", registry(), ids=lambda each: each.meta.id)
EACH_OF_JOBS = pytest.mark.parametrize("detector", registry("job"), ids=lambda each: each.meta.id)


def test_the_registry_holds_every_file_of_rules_once_in_order() -> None:
    """Name equals id."""
    files = sorted(path.stem for path in Path(rules.__path__[0]).glob("p*.py"))
    assert [each.meta.id for each in registry()] == files == sorted(set(files))


@EACH
def test_metadata_is_complete(detector: Detector) -> None:
    """What an operator reads before switching a detector on."""
    meta = detector.meta
    assert meta.version >= 1
    assert all((meta.title, meta.subject, meta.attack, meta.needs, meta.benign, meta.blind_spots, meta.runbook))
    assert all(technique.removeprefix("AML.").startswith("T") for technique in meta.attack)
    assert meta.subject in ("job", "host", "artefact", "identity", "cohort")


@EACH
def test_the_window_is_a_setting(detector: Detector) -> None:
    """Named as in the settings table, or none at all."""
    part, _, name = detector.meta.window_seconds.partition(".")
    assert not name or hasattr(getattr(Settings(), part), name)


@EACH
def test_every_required_explanation_is_tested(detector: Detector) -> None:
    """A gate on an explanation that is never asked would be open for ever."""
    asked = [explain.__name__ for explain in detector.meta.benign]
    assert len(set(asked)) == len(asked)
    assert set(detector.meta.required) <= set(asked)


@EACH_OF_JOBS
def test_the_effects_that_decide_a_verdict_are_raised(detector: Detector) -> None:
    """A word that no finding has would decide nothing: each stands in the metadata, and where the finding is made, there or in a helper."""
    module = importlib.import_module(f"{rules.__name__}.{detector.meta.id}")
    used = {getattr(value, "__module__", "") for value in vars(module).values()}
    helpers = [importlib.import_module(name) for name in sorted(used) if name.startswith("pipeline.detect.")]
    source = "".join(inspect.getsource(each) for each in (module, *helpers))
    assert all(source.count(f'"{effect}"') >= 2 for effect in detector.meta.ends | detector.meta.harms)
    assert not detector.meta.ends & detector.meta.harms


@EACH
def test_its_own_test_has_all_three_kinds_of_rows(detector: Detector) -> None:
    """Firing, silent, boundary, harmless; that each explanation answers all that it can, conftest.py asks when they have run."""
    module = importlib.import_module(f"tests.unit.detect.test_{detector.meta.id}")
    for rows, least in (("FIRING", 3), ("SILENT", 5), ("BOUNDARY", 3), ("HARMLESS", 3)):
        assert len(getattr(module, rows)) >= least, rows


def test_doubts_are_explanations() -> None:
    """A misspelt one would be asked for nothing."""
    asked = {(detector.meta.id, explain.__name__) for detector in registry() for explain in detector.meta.benign}
    assert {name for _, name in asked} >= DOUBTS
    assert asked >= SETTLED


# What happens on every cluster every day; `who` did what is told in the names.
BENIGN_CORPUS: dict[str, list[Told]] = {
    "completed": [process_started(1), iteration(50), save(60, "a"), job_end(100, "COMPLETED")],
    "a bug": [error_line(98), rank_failed(99, signal=None, exit_code=1), job_end(100, derived_signal=None)],
    "a bug, and the launcher ends the other ranks": [
        error_line(97), rank_failed(98, pid=4712, signal=None, exit_code=1), kill(99, uid=OWNER, auid=None, signal=15),
        rank_failed(99, signal=15), job_end(100, derived_signal=15),
    ],
    "a segmentation fault": [rank_failed(98, signal=11), task_ended(98, 11), job_end(100, derived_signal=11)],
    "out of memory": [oom(97), rank_failed(98), task_ended(98), job_end(100, "OUT_OF_MEMORY", derived_signal=9)],
    "a GPU fell off the bus": [xid(90, 79), rank_failed(95, signal=6), collective_timeout(98), job_end(100, derived_signal=6)],
    "a node was lost": [controller(95, "node_failed"), step_cancelled(96, "node_failure"), job_end(100, "NODE_FAIL")],
    "the owner cancels": [
        scancel(97, OWNER), cancel_request(98, OWNER), kill(98.5, uid=0, auid=None, signal=15), step_cancelled(99),
        job_end(100, "CANCELLED", derived_signal=15),
    ],
    "the owner kills a rank by hand": [kill(97, uid=OWNER, auid=OWNER), rank_failed(98), job_end(100)],
    "the owner uses sudo": [kill(97, uid=0, auid=OWNER), rank_failed(98), job_end(100)],
    "preempted": [
        controller(60, "preempted"), kill(61, uid=0, auid=None, signal=15), step_cancelled(61, "preemption"),
        kill(99, uid=0, auid=None), job_end(100, "PREEMPTED", derived_signal=9),
    ],
    "the time limit": [
        controller(90, "time_limit"), step_cancelled(90, "time_limit"), kill(90, uid=0, auid=None, signal=15),
        kill(120, uid=0, auid=None), job_end(121, "TIMEOUT", derived_signal=9),
    ],
    "an epilog cleans up": [kill(101, uid=0, auid=None), job_end(100, "COMPLETED")],
    "a service cancels idle jobs": [cancel_request(98, SERVICE), job_end(100, "CANCELLED")],
    "an admin works under a ticket": [
        cancel_request(98, ADMIN), kill(99, uid=ADMIN, auid=ADMIN), job_end(100, "CANCELLED", derived_signal=9),
    ],
    "someone cancels a job that is gone": [cancel_request(150, no_effect=True), job_end(100, "COMPLETED")],
    "an admin raises a time limit": [job_update(50, ADMIN), job_end(100, "COMPLETED")],
    "the owner averages checkpoints": [save(10), write(40, OWNER), load(90), job_end(100, "COMPLETED")],
    "a resharding service rewrites a checkpoint": [save(10), write(40, SERVICE), load(90), job_end(100, "COMPLETED")],
    "a restore from backup by a daemon": [save(-3 * DAY), write(-DAY, 0, auid=None), load(90), job_end(100, "COMPLETED")],
}  # fmt: skip


@EACH_OF_JOBS
@pytest.mark.parametrize("story", BENIGN_CORPUS.values(), ids=BENIGN_CORPUS)
def test_the_benign_corpus_is_silent(detector: Detector, story: list[Told]) -> None:
    """Failure is normal; none of it is interference."""
    site = build.site(tickets=(ticket(0, 200),))
    assert list(detector.judge(case(*story, at=site), build.now())) == []


@pytest.mark.parametrize("story", BENIGN_CORPUS.values(), ids=BENIGN_CORPUS)
def test_the_benign_corpus_accuses_nobody(story: list[Told]) -> None:
    """Its verdicts are benign, or at worst unexplained."""
    said = verdict.judge(case(allocation(), *story, at=build.site(tickets=(ticket(0, 200),))), [], build.now())
    assert said is not None
    assert said.verdict in ("benign", "unexplained")


DECISIVE = [
    pytest.param(each.meta, effect, id=f"{each.meta.id}: {effect}")
    for each in registry("job")
    for effect in sorted(each.meta.ends | each.meta.harms)
]


@pytest.mark.parametrize("events", [[job_end(100)], [error_line(98), job_end(100)]], ids=["unexplained", "benign"])
@pytest.mark.parametrize("passed", [True, False])
@pytest.mark.parametrize(("meta", "effect"), DECISIVE)
def test_only_what_passed_its_gate_decides_a_verdict(meta: Meta, effect: str, passed: bool, events: list[Told]) -> None:
    """Below it a hit is listed, and the verdict is what it would be without."""
    looked = case(allocation(), *events)
    checklist = [Explanation(name, Checked.EXCLUDED if passed else Checked.NOT_CHECKED) for name in meta.required]
    hit = found(
        meta, looked, None, checklist, effect=effect, summary="", cited=(), parts=(), effect_time=build.ms(100), cause_time=build.ms(97),
        closes_at=build.ms(220),
    )  # fmt: skip
    with_it, without = verdict.judge(looked, [hit], build.now()), verdict.judge(looked, [], build.now())
    assert with_it is not None
    assert without is not None
    assert with_it.findings == (hit.id,)
    if passed:
        assert (with_it.verdict, with_it.cause, with_it.by) == ("interference", effect, None)
    else:
        assert msgspec.structs.replace(with_it, findings=()) == without


def test_every_explanation_says_in_words_what_it_is() -> None:
    """Reports and `trainwatch rules` show this text: a sentence, and one for each name whatever detector checks it."""
    words = explanations_in_words()
    for detector in registry():
        for explain in detector.meta.benign:
            assert words[explain.__name__] == " ".join((explain.__doc__ or "").partition("\n\n")[0].split())
            assert re.fullmatch(r"[A-Z].{10,200}[.?]", words[explain.__name__]), explain.__name__
