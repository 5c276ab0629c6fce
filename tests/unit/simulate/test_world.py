"""The world that stories share: what is left of those who have gone."""

from types import SimpleNamespace
from typing import cast

from pipeline.simulate.work import Checkpoint, Run
from pipeline.simulate.world import Scale, build_world


def test_nobody_goes_on_with_the_run_of_somebody_who_has_left() -> None:
    """Else the account of a person who left submits jobs, and the truth tells of no act."""
    world = build_world(1, 0, 1000, Scale(gpu_hosts=1, members=4))
    owner = world.people.members[0]
    newest = Checkpoint("/lustre/ckpt/u001/run1/iter_100.pt", 100, 1, "")
    run = cast("Run", SimpleNamespace(owner=owner, busy=False, checkpoints=[newest]))
    world.runs[owner.id] = [run]
    assert world.idle_checkpoint("lookalikes") == (run, newest)
    world.gone.add(owner.id)
    assert world.idle_checkpoint("lookalikes") is None
