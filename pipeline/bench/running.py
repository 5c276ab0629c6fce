"""Processes under a meter: a consumer is started, says that it is ready, and is watched until its work is seen to be done.

CPU seconds of the process and its descendants, all threads, are counted from `ready` (imports done, connected, nothing read yet) to
the moment at which all rows are visible and, where the consumer commits, all offsets are committed: no work is left out by a
buffer that was full before or is still full afterwards.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psutil

from pipeline.bench.task import READY, Task
from pipeline.errors import FatalError

TAKEN_OVER = "partitions taken over"  # the worker's log, when it begins to read
READY_SECONDS_MAX = 90.0
RUN_SECONDS_MAX = 600.0
STOP_SECONDS = 30.0
POLL_SECONDS = 0.1
LOG_TAIL = 3000


class Spent(msgspec.Struct, frozen=True):
    """What a process took."""

    cpu_seconds: float
    seconds: float
    peak_mib: float


class Running:
    """A process that was started for a measurement."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self._process, self._log = process, log
        self._family = psutil.Process(process.pid)
        self._peak = 0

    @property
    def pid(self) -> int:
        return self._process.pid

    def await_ready(self) -> None:
        """Until it is about to read."""
        self.until(lambda: any(word in self.log() for word in (READY, TAKEN_OVER)), READY_SECONDS_MAX, pause=0.02)

    def until(self, done: Callable[[], bool], patience_seconds: float = RUN_SECONDS_MAX, *, pause: float = POLL_SECONDS) -> None:
        """Wait for something that the process brings about.  Raises FatalError when it ends before, or is late."""
        deadline = time.monotonic() + patience_seconds
        while not done():
            if self._process.poll() is not None or time.monotonic() > deadline:
                what = f"ended with code {self._process.returncode}" if self._process.poll() is not None else "is late"
                raise FatalError(f"the measured process {what}:\n{self.log()[-LOG_TAIL:]}")
            self._look()
            time.sleep(pause)

    def check(self) -> None:
        """Raises FatalError when it has ended."""
        if self._process.poll() is not None:
            raise FatalError(f"the measured process ended with code {self._process.returncode}:\n{self.log()[-LOG_TAIL:]}")

    def spent_until(self, done: Callable[[], bool], patience_seconds: float = RUN_SECONDS_MAX) -> Spent:
        """What it takes from now on until `done`."""
        cpu, clock = self.cpu_seconds(), time.monotonic()
        self.until(done, patience_seconds)
        spent = self.cpu_seconds() - cpu, time.monotonic() - clock
        self._look()
        return Spent(*spent, self._peak / 2**20)

    def cpu_seconds(self) -> float:
        """Of the process and its descendants, all threads, user and system."""
        return sum(_cpu_seconds(each) for each in (self._family, *self._family.children(recursive=True)))

    def resident_mb(self) -> float:
        """Memory of the process and its descendants, now."""
        return sum(map(_resident, (self._family, *self._family.children(recursive=True)))) / 1e6

    def log(self) -> str:
        """What it has said so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def stop(self, *, kill: bool = True) -> None:
        """End it: at once, since an orderly end is not what is measured."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _look(self) -> None:
        if self._process.poll() is None:
            family = (self._family, *self._family.children(recursive=True))
            self._peak = max(self._peak, sum(_resident(each) for each in family))


def _cpu_seconds(process: psutil.Process) -> float:
    """By the kernel's own clock of the process, in nanoseconds: `times` counts in ticks of 10 ms.  Nothing here starts short-lived ones."""
    try:
        return time.clock_gettime(~process.pid << 3 | 2)  # what clock_getcpuclockid(3) answers
    except OSError:  # it has just ended
        return 0.0


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


@contextmanager
def started(task: Task, folder: Path) -> Iterator[Running]:
    """The consumer of a task as a process of its own, in `folder`; ended when the block ends."""
    path = folder / "task.json"
    path.touch(mode=0o600)  # it holds the password
    path.write_bytes(msgspec.json.encode(task))
    package = str(Path(__file__).absolute().parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH", ""))))}
    log = folder / "log"
    with log.open("wb") as out:
        command = [sys.executable, "-m", "pipeline.bench.child", str(path)]
        process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd=folder, env=environment)
    running = Running(process, log)
    try:
        yield running
    finally:
        running.stop()
