"""What acts waste by the simulator's own causes, attempt by attempt."""

from random import Random
from typing import Any

import pytest

from pipeline.simulate.chronicle import Deed
from pipeline.simulate.people import make_people
from pipeline.simulate.truth import JobTruth
from pipeline.simulate.wares import Effect
from pipeline.simulate.waste import Waste
from pipeline.simulate.work import Checkpoint, Fate, Job, Run

T0, MINUTE, HOUR = 1_772_409_600_000, 60_000, 3_600_000
OWNER, ACTOR = make_people(Random(1), 12).members[:2]


def run() -> Run:
    return Run(OWNER, 1, 1000, 10_000, 100, 64, 1, rename_on_save=False)


def job(number: int, of: Run, start: int, gpus: int = 8) -> Job:
    """An attempt that began at `start`."""
    return Job(
        number, OWNER, of, "train", "normal", 1, gpus, 7200, Fate("completed", HOUR), has_probe=True, has_times=True, new_torch=True,
        launcher="torchrun", alloc_node="login-1", submit=start - MINUTE, start=start,
    )  # fmt: skip


def checkpoint(iteration: int) -> Checkpoint:
    return Checkpoint(f"/c/{iteration}", iteration, iteration, "")


def deed(*harmed: Job, effect: str = "foreign_kill") -> Deed:
    """An act that befell these attempts."""
    act = Deed("p01-001", "p01", ACTOR, T0, 1)
    for each in harmed:
        act.befell(each, T0, effect)
    return act


def told(waste: Waste, act: Deed, *ended: tuple[Job, int], holders: dict[tuple[str, int], str] | None = None) -> list[tuple[Any, ...]]:
    """(kind, job, GPU-hours) of the lines."""
    jobs = [JobTruth(str(each.id), each.submit, each.start, end, OWNER.id, "FAILED", "interference") for each, end in ended]
    return [
        (line["kind"], line["job"], round(line["gpus"] * (line["end_ms"] - line["start_ms"]) * line["share"] / HOUR, 3))
        for line in waste.lines([act], jobs, holders or {})
    ]


def test_an_end_costs_what_was_not_saved() -> None:
    """Since the last save, or since the start."""
    waste, of = Waste(), run()
    saved, bare = job(1, of, T0), job(2, of, T0)
    waste.began(saved)
    waste.began(bare)
    waste.saved(saved, checkpoint(100), T0 + 30 * MINUTE)
    act = deed(saved, bare)
    assert told(waste, act, (saved, T0 + HOUR), (bare, T0 + HOUR)) == [("ended", "1", 4.0), ("ended", "2", 8.0)]


@pytest.mark.parametrize("effect", ["refused_cancel", "shell /x", "weights /x", "slow on gpu-001", "waited 50 minutes", "sleep /x"])
def test_what_ends_no_attempt_costs_no_end(effect: str) -> None:
    """Whatever ended it later was something else."""
    waste, each = Waste(), job(1, run(), T0)
    waste.began(each)
    assert told(waste, deed(each, effect=effect), (each, T0 + HOUR)) == []


@pytest.mark.parametrize(("effect", "goes_on"), [("sleep", True), ("diverge", True), ("loss", True), ("kill", False), ("crash", False)])
def test_bytes_that_change_numbers_do_so_until_they_are_put_back(effect: str, goes_on: bool) -> None:
    """Who kills stops when enough are dead; a module that sleeps knows nothing of enough."""
    first, second = job(1, run(), T0), job(2, run(), T0)
    act = deed(first)
    assert act.is_content
    assert Effect(effect, act).strikes(second, Random(1)) is goes_on


def test_whoever_goes_on_from_spoiled_work_is_spoiled() -> None:
    """From what was saved behind the load; what was saved before is clean."""
    waste, of = Waste(), run()
    first, second, third = (job(number, of, T0 + number * HOUR) for number in (1, 2, 3))
    clean, spoiled = checkpoint(100), checkpoint(200)
    waste.began(first)
    waste.saved(first, clean, T0 + HOUR + 10 * MINUTE)
    waste.spoiled(first, "p01-001", T0 + HOUR + 15 * MINUTE)
    waste.saved(first, spoiled, T0 + HOUR + 20 * MINUTE)
    waste.loaded(second, spoiled, T0 + 2 * HOUR)
    waste.loaded(third, clean, T0 + 3 * HOUR)
    ends = [(each, (each.start or 0) + 30 * MINUTE) for each in (first, second, third)]
    assert told(waste, deed(), *ends) == [("spoiled", "1", 2.0), ("spoiled", "2", 4.0)]


def test_a_removed_checkpoint_costs_the_way_to_it() -> None:
    """Over all attempts that had led to it, back to the save that was left."""
    waste, of = Waste(), run()
    first, second, third = (job(number, of, T0 + number * HOUR) for number in (1, 2, 3))
    old, newer, newest = checkpoint(100), checkpoint(200), checkpoint(300)
    waste.saved(first, old, T0 + HOUR + 10 * MINUTE)
    waste.saved(first, newer, T0 + HOUR + 25 * MINUTE)
    waste.loaded(second, newer, T0 + 2 * HOUR + MINUTE)
    waste.saved(second, newest, T0 + 2 * HOUR + 30 * MINUTE)
    waste.loaded(third, old, T0 + 3 * HOUR, undone_by="p01-001")
    ends = [(each, (each.start or 0) + 40 * MINUTE) for each in (first, second, third)]
    assert told(waste, deed(), *ends) == [("undone", "1", 2.0), ("undone", "2", 4.0)]


def test_slowness_and_idle_holding_count_by_share_and_in_full() -> None:
    """A share of the time; all of the time."""
    waste = Waste()
    slow, idle = job(1, run(), T0), job(2, run(), T0)
    waste.began(idle)
    waste.slowed(slow, "p01-001", T0, T0 + HOUR, 0.25)
    waste.slowed(slow, "p01-001", T0, T0 + HOUR, 0.0)
    holders = {(str(idle.id), idle.submit): "p01-001"}
    assert told(waste, deed(), (slow, T0 + HOUR), (idle, T0 + HOUR), holders=holders) == [("slowed", "1", 2.0), ("held", "2", 8.0)]


def test_what_still_runs_is_left_out() -> None:
    """Nobody knows yet how it ends."""
    waste, each = Waste(), job(1, run(), T0)
    waste.spoiled(each, "p01-001", T0)
    lines = waste.lines([deed()], [JobTruth("1", each.submit, T0, None, OWNER.id, "RUNNING", "running")], {})
    assert list(lines) == []
