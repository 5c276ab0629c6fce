"""What an ended attempt tells incidents of its course, by which its loss is worked out."""

from typing import Any

import pytest

from pipeline.detect import verdict
from pipeline.jobs.summary import examine, summarise
from pipeline.model.events import Event
from pipeline.model.incident import Examined, Mark
from pipeline.model.told import Told
from tests import build
from tests.build import allocation, case, collective_timeout, iteration, job_end, load, ms, note, now, save, uses


def told(*events: Event | Told, **fields: Any) -> Examined:
    """Of a job of an hour."""
    made = case(allocation(**fields), job_end(3600, **fields), *events)
    ended = verdict.judge(made, [], now())
    said = examine(made, summarise(made, ended), ended)
    assert said is not None
    return said


def test_the_last_save_before_the_end_counts() -> None:
    """That it begins to save is no save, and what comes behind the end is another's."""
    saves = [note(600, 100, "saved"), note(1200, 200, "saved"), note(1800, 300, "saving"), note(4000, 400, "saved")]
    assert told(*saves).saved == Mark(ms(1200), saves[1].id, "/ckpt/u012")
    assert told().saved is None


def test_what_it_loaded_first_says_where_the_run_before_had_come() -> None:
    """The save of the job that had saved it, by the probe."""
    earlier, older = save(-500, job="6"), save(-900, job="6")
    first, later = load(10), load(20, path="/ckpt/u012/other.pt")
    said = told(*uses(first, older, earlier), *uses(later, save(-100, job="5", path="/ckpt/u012/other.pt")))
    assert said.resumed == ("6", Mark(ms(-500), earlier.id, build.PATH))
    assert told(*uses(load(10))).resumed is None


@pytest.mark.parametrize(
    ("steps", "apart"),
    [
        ([(100, 10), (200, 20), (300, 30)], 100_000),
        ([(100, 10), (200, 20), (1200, 120)], 100_000),  # not all of them are held
        ([(100, 10)], 0),
        ([], 0),
        ([(100, 10), (200, 10)], 0),  # one step that was told twice
    ],
)
def test_steps_are_as_far_apart_as_they_are_logged(steps: list[tuple[float, int]], apart: int) -> None:
    """By the greatest number of steps that divides all distances."""
    said = told(*(iteration(at, number) for at, number in steps))
    assert said.steps_apart == apart
    assert said.last_step == (Mark(ms(steps[-1][0]), iteration(*steps[-1]).id) if steps else None)


def test_a_timeout_and_the_scheduler_are_cited() -> None:
    """With nodes, GPUs and state."""
    timeout = collective_timeout(3590)
    said = told(timeout)
    assert (said.timed_out, said.nodes, said.gpus, said.state) == (timeout.id, (build.HOST,), 8, "FAILED")
    assert said.record == job_end(3600).id


def test_attempts_at_the_same_work_share_its_name() -> None:
    """Numbers in it count runs; what has no name is like nothing."""
    names = [told(name=name).task for name in ("pretrain-7", "pretrain-8", "eval", "")]
    assert names[0] == names[1] != names[2]
    assert names[3] == ""
