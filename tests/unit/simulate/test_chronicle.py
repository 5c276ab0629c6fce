"""What the truth says that sources show of an act."""

from random import Random

import pytest

from pipeline.simulate.chronicle import Deed
from pipeline.simulate.people import make_people
from pipeline.simulate.work import Fate, Job, Run

T0, MINUTE = 1_772_409_600_000, 60_000
OWNER, ACTOR = make_people(Random(1), 12).members[:2]


def job(number: int, *, probe: bool) -> Job:
    """An attempt, with the probe or without."""
    of = Run(OWNER, 1, 1000, 10_000, 100, 64, 1, rename_on_save=False)
    return Job(
        number, OWNER, of, "train", "normal", 1, 8, 7200, Fate("completed", 60 * MINUTE), has_probe=probe, has_times=True, new_torch=True,
        launcher="torchrun", alloc_node="login-1", submit=T0 - MINUTE, start=T0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "harmed", "loaded", "missing"),
    [
        ("p05", (False,), (False, False), ["probe"]),
        ("p05", (False,), (False, True), []),
        ("p05", (True,), (True,), []),
        ("p05", (), (), []),
        ("p12", (False,), (), []),
        ("p02", (False,), (False, True), ["probe"]),
        ("p02", (False, True), (False, True), []),
    ],
    ids=[
        "no job with the probe",
        "one that was not harmed",
        "all with it",
        "no job at all",
        "an act without files",
        "a signal, told in the job that it ended",
        "one of two that it ended",
    ],
)
def test_the_probe_shows_only_jobs_that_run_with_it(
    pattern: str, harmed: tuple[bool, ...], loaded: tuple[bool, ...], missing: list[str]
) -> None:
    """An act that met no job with the probe says that the probe is missing; its other sources stay."""
    act = Deed(f"{pattern}-001", pattern, ACTOR, T0, 3)
    if pattern != "p12":
        act.did(T0, "/env/sitecustomize.py")
    for number, probe in enumerate(harmed):
        act.befell(job(number, probe=probe), T0, "exit /env/sitecustomize.py")
    for number, probe in enumerate(loaded, start=100):
        act.was_loaded(job(number, probe=probe), T0, "/env/sitecustomize.py")
    told = act.as_json(frozenset())
    assert told["missing"] == missing
    assert "auditd" in told["shows"]
    assert ("probe" in told["shows"]) is not bool(missing)
    assert act.as_json(frozenset({"auditd"}))["missing"] == sorted({"auditd", *missing})
