"""What is done to workers: killed, stopped, joined, frozen, at random moments and at every named step.

Steps are reached under load: each life of a worker is given a share of the records of its own, so that there is something at stake.
"""

import signal
from collections.abc import Callable

from pipeline.faults.run import Run
from pipeline.faults.site import Process
from pipeline.runtime.checkpoint import STEPS
from pipeline.runtime.worker import LEAVING_STEPS, TAKE_OVER_STEPS

REPLAYED_AT = STEPS[: STEPS.index("state")]  # killed there, its batch is folded again


def kill_at_random(run: Run) -> None:
    """SIGKILL, several times: while starting, taking over, folding, writing."""
    lives = run.dice.randint(3, 4)
    for life in range(1, lives + 1):
        run.feed.allow(life / (lives + 1))
        worker = run.start()
        if run.dice.random() < 0.7:
            run.folds(worker)
            run.pause(0.0, 0.7)
        else:
            run.pause(0.5, 3.0)
        run.kill(worker)


def stop_at_random(run: Run) -> None:
    """SIGTERM: exit 0, and the next worker goes on where this one was."""
    for life in (1, 2):
        run.feed.allow(life / 3)
        worker = run.start()
        run.folds(worker)
        run.pause(0.0, 1.0)
        run.stop(worker)


def stop_at_steps(run: Run) -> None:
    """SIGTERM at each step of checkpoint and take-over: what has begun is ended in order, and the next goes on from there."""
    # Steps of a take-over later: there is a state to prove then.
    steps = [*run.dice.sample(STEPS, len(STEPS)), *run.dice.sample(TAKE_OVER_STEPS, len(TAKE_OVER_STEPS))]
    for number, step in enumerate(steps, 1):
        run.feed.allow(number / (len(steps) + 1))
        run.ends_in_order(run.start(at=step, signal=signal.SIGTERM), step)
        run.seen[step] += 1


def rolling_restart(run: Run) -> None:
    """As another release goes in: one of three workers after the other is stopped, and started again under its name before the next."""
    lives = {name: run.start(instance=name) for name in "abc"}
    for worker in lives.values():
        run.takes_over(worker)
    for number, name in enumerate(lives, 1):
        before = run.site.folded_by()
        run.feed.allow(number / (len(lives) + 1))
        run.until(lambda before=before: run.site.folded_by() > before, "the next batch")  # type: ignore[misc]
        run.stop(lives[name])
        lives[name] = run.start(instance=name)
        run.takes_over(lives[name])
        run.seen[name] += 1


def kill_at_checkpoint_steps(run: Run) -> None:
    """SIGKILL at each step of the checkpoint, in a random order."""
    steps = [*STEPS]
    run.dice.shuffle(steps)
    for number, step in enumerate(steps, 1):
        run.feed.allow(number / (len(steps) + 1))
        run.dies(run.start(at=step))
        run.died[step] = run.site.folded_by()


def kill_at_take_over_steps(run: Run) -> None:
    """SIGKILL at each step of a take-over, each after a life that leaves something to recover."""
    steps = [*TAKE_OVER_STEPS]
    run.dice.shuffle(steps)
    for number, step in enumerate(steps, 1):
        run.feed.allow(number / (len(steps) + 1))
        run.dies(run.start(at=run.dice.choice(REPLAYED_AT)))
        run.dies(run.start(at=step))
        run.seen[step] += 1


def kill_while_leaving(run: Run) -> None:
    """SIGKILL in a rebalance or shutdown, before and after the last checkpoint: because another joins, or because it was stopped."""
    for number, step in enumerate(LEAVING_STEPS, 1):
        run.feed.allow(number / (len(LEAVING_STEPS) + 1))
        leaving = run.start(instance=f"a{number}", at=step)
        run.folds(leaving)
        if step != "hurried" or run.dice.random() < 0.5:  # a worker that is stopped need not hear that its partitions are revoked
            other = run.start(instance=f"b{number}")
            run.dies(leaving)
            run.takes_over(other)
            run.kill(other)
        else:
            leaving.signal(signal.SIGTERM)
            run.dies(leaving)
        run.seen[step] += 1


def stop_while_leaving(run: Run) -> None:
    """SIGTERM in a rebalance or, a second one, in a shutdown, before and after the last checkpoint: exit 0 all the same."""
    for number, step in enumerate(LEAVING_STEPS, 1):
        run.feed.allow(number / (len(LEAVING_STEPS) + 1))
        leaving = run.start(instance=f"a{number}", at=step, signal=signal.SIGTERM)
        run.folds(leaving)
        if step != "hurried" or run.dice.random() < 0.5:
            other = run.start(instance=f"b{number}")
            run.ends_in_order(leaving, step)
            run.takes_over(other)
            run.stop(other)
        else:
            leaving.signal(signal.SIGTERM)
            run.ends_in_order(leaving, step)
        run.seen[step] += 1


def join_and_leave(run: Run) -> None:
    """A second and a third worker join under load and leave again: partitions move with their state."""
    first = run.start(instance="a")
    run.folds(first)
    run.feed.allow(0.5)
    second = run.start(instance="b")
    run.takes_over(second)
    run.takes_over(first, 2)
    run.feed.allow(0.75)
    third = run.start(instance="c")
    run.takes_over(third)
    run.feed.allow(1.0)
    run.pause(0.0, 1.0)
    leaving = [first, second, third]
    run.dice.shuffle(leaving)
    run.stop(leaving[0])
    run.pause(0.0, 1.0)
    run.kill(leaving[1])


def freeze(run: Run) -> None:
    """SIGSTOP at a random moment, or at a step, for longer than the session; another takes over; then it is woken."""
    step = run.dice.choice(("", "", "", *STEPS, *TAKE_OVER_STEPS))
    if step in TAKE_OVER_STEPS:  # after a life that leaves something to prove and to recover
        run.dies(run.start(at=run.dice.choice(REPLAYED_AT)))
    _replaced(run, step, run.start(instance="a", at=step, signal=signal.SIGSTOP), lambda: run.start(instance="b"))


def twins(run: Run) -> None:
    """The same, but the other has its name: it is let in at once, and at the same generation; in the end the newcomer gives way."""
    step = run.dice.choice(("", *STEPS, *TAKE_OVER_STEPS, *TAKE_OVER_STEPS))
    if step in TAKE_OVER_STEPS and run.dice.random() < 0.5:  # else nobody has ever claimed
        run.dies(run.start(at=run.dice.choice(REPLAYED_AT)))
    elder = run.start(at=step, signal=signal.SIGSTOP)
    newcomer = _replaced(run, step, elder, lambda: run.start(elsewhere=True))
    run.until(lambda: not (elder.alive and newcomer.alive), "the end of one of them")
    run.seen["ended"] += 1


def _replaced(run: Run, step: str, frozen: Process, other: Callable[[], Process]) -> Process:
    """Freezes it, unless it does so itself at the step; another one works; it wakes up."""
    if not step:
        run.folds(frozen)
        run.pause(0.0, 1.0)
        frozen.signal(signal.SIGSTOP)
    run.until(lambda: frozen.frozen, f"the freeze at {step or 'a random moment'}", of=frozen)
    second = other()
    run.takes_over(second)
    run.feed.allow(0.8)
    run.folds(second)
    run.seen["frozen"] += 1
    before = frozen.take_overs()
    frozen.signal(signal.SIGCONT)
    run.until(lambda: not frozen.alive or frozen.take_overs() > before, "the return of the frozen worker")
    run.seen["woken"] += 1
    return second


def mixed(run: Run) -> None:
    """Three workers, of which one after the other is killed, stopped or frozen at random."""
    lives = {name: run.start(instance=name) for name in "abc"}
    for worker in lives.values():
        run.takes_over(worker)
    for number in range(5):
        before = run.site.folded_by()
        run.feed.allow((number + 2) / 7)
        run.until(lambda before=before: run.site.folded_by() > before, "the next batch")  # type: ignore[misc]
        name = run.dice.choice("abc")
        worker = lives[name]
        deed = run.dice.choice(("kill", "kill", "stop", "freeze"))
        run.seen[deed] += 1
        if deed == "freeze":
            worker.signal(signal.SIGSTOP)
            run.pause(0.5, 9.0)
            worker.signal(signal.SIGCONT)
        elif not worker.alive:
            pass
        elif deed == "stop":
            run.stop(worker)
        else:
            run.kill(worker)
        if not worker.alive:
            lives[name] = run.start(instance=name)
        run.pause(0.2, 2.0)
