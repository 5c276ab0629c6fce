"""The supervisor as the process that it is, over children that are shells."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from pipeline.embedded import supervisor
from tests.conftest import ROOT
from tests.patience import PATIENCE_SECONDS

QUICK = "from pipeline.embedded import supervisor; supervisor.PAUSE_SECONDS_MIN = supervisor.PAUSE_SECONDS_MAX = 0.01; supervisor.main()"


def started(folder: Path, script: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", QUICK, "--count", str(folder / "restarts"), "--", "/bin/sh", "-c", script]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def child_of(parent: "subprocess.Popen[str]", folder: Path, restarts: int = 0) -> psutil.Process:
    """The child in that life of its, once it is the program."""
    count = folder / "restarts"
    _wait_for(lambda: count.exists() and count.read_text() == f"{restarts}\n")
    _wait_for(lambda: [each.name() for each in psutil.Process(parent.pid).children()] == ["sh"])
    (child,) = psutil.Process(parent.pid).children()
    return child


def told(parent: "subprocess.Popen[str]") -> str:
    """Its log, once it has ended."""
    return parent.communicate(timeout=PATIENCE_SECONDS)[1]


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGSEGV, signal.SIGKILL])
def test_a_child_that_a_signal_ends_is_started_again(tmp_path: Path, number: int) -> None:
    """The log says why and how often, and so does the file."""
    parent = started(tmp_path, "while :; do sleep 0.1; done")
    for restarts in (0, 1):
        os.kill(child_of(parent, tmp_path, restarts).pid, number)
    child_of(parent, tmp_path, 2)
    parent.terminate()
    log = told(parent)
    assert f"ended by signal {number} " in log
    assert [f"restart {restarts} " in log for restarts in (1, 2, 3)] == [True, True, False]


def test_a_child_that_exits_is_not_started_again(tmp_path: Path) -> None:
    """It could not start: its code is passed on, so that `up` tells of it at once."""
    parent = started(tmp_path, "exit 7")
    assert "ended by itself with code 7" in told(parent)
    assert parent.returncode == 7


def test_a_child_that_dies_over_and_over_is_given_up(tmp_path: Path) -> None:
    """With a line that says so, and a code that is not 0."""
    parent = started(tmp_path, f"echo x >>{tmp_path / 'lives'}; kill -ABRT $$")
    assert f"given up after {supervisor.DEATHS_MAX} restarts" in told(parent)
    assert parent.returncode == 1
    assert len((tmp_path / "lives").read_text().split()) == supervisor.DEATHS_MAX + 1


def test_sigterm_ends_both(tmp_path: Path) -> None:
    """Orderly: no restart, exit 0, and the child is gone before we are."""
    parent = started(tmp_path, "while :; do sleep 0.1; done")
    child = child_of(parent, tmp_path)
    parent.terminate()
    assert "restart" not in told(parent)
    assert parent.returncode == 0
    assert is_over(child)


def test_a_killed_supervisor_leaves_nobody_behind(tmp_path: Path) -> None:
    """Even a child that ignores SIGTERM."""
    parent = started(tmp_path, "trap '' TERM; while :; do sleep 0.1; done")
    child = child_of(parent, tmp_path)
    parent.kill()
    told(parent)
    _wait_for(lambda: is_over(child))


def is_over(child: psutil.Process) -> bool:
    """Gone, or waiting for init: the kernel ends it where the signal came before the supervisor knew of it."""
    with suppress(psutil.NoSuchProcess):
        return not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    return True


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
