"""Keeps a program running: a command line in; that program, started again whenever a signal ends it, out.

ClickHouse's library ends its whole process by an exception that nobody catches when a stranger's packet or a lost client surprises it
(26.7.2.1).  Data survive that, so the cure is to start it again.  Only the standard library is imported: this is a program of its own.

    started ──► child runs ──► killed by a signal (abort, fault, out of memory) ──► a pause, then the child again
                   │  exits by itself: it could not start; so do we, with its code
                   │  SIGTERM to us: the child gets it too, and we leave when it is gone
                   └─ we are killed: the kernel kills the child (PR_SET_PDEATHSIG), nothing is left behind

Holds: at most one child at a time; a child that dies over and over is given up, with a line in the log.
"""

import argparse
import collections
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import FrameType

PR_SET_PDEATHSIG = 1
PAUSE_SECONDS_MIN, PAUSE_SECONDS_MAX = 0.2, 5.0
DEATHS_MAX, DEATHS_SECONDS = 20, 600.0
STEADY_SECONDS = 60.0  # who has lived this long is started again at once
STOP_SECONDS = 15.0

# Loaded before the fork: between fork and exec only a call may follow.
_LIBC = ctypes.CDLL(None)


def supervise(command: list[str], count: Path) -> int:
    """Run the command until it exits by itself; its code.  `count` tells how often it was started again."""
    deaths: collections.deque[float] = collections.deque(maxlen=DEATHS_MAX)
    pause, restarts = PAUSE_SECONDS_MIN, 0
    _write(count, restarts)
    while True:
        started = time.monotonic()
        code = _run(command)
        lived = time.monotonic() - started
        if code >= 0:
            _say(f"the server ended by itself with code {code}")
            return code
        name = f"signal {-code} ({signal.strsignal(-code)})"
        if len(deaths) == DEATHS_MAX and time.monotonic() - deaths[0] < DEATHS_SECONDS:
            _say(f"the server was ended by {name}; it is given up after {restarts} restarts")
            return 1
        deaths.append(time.monotonic())
        if lived > STEADY_SECONDS:
            pause = PAUSE_SECONDS_MIN
        restarts += 1
        _say(f"the server was ended by {name} after {lived:.0f} s; restart {restarts} in {pause:.1f} s; data are kept")
        time.sleep(pause)
        pause = min(2 * pause, PAUSE_SECONDS_MAX)
        _write(count, restarts)


def _run(command: list[str]) -> int:
    """One life of the child; its return code, negative for a signal.  Its end is ours to see to, whatever ends us."""
    # preexec_fn is safe here: this program has one thread.  That thread is also the one whose end the kernel watches.
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=partial(_die_with, os.getpid()))  # noqa: PLW1509  see above
    try:
        return child.wait()
    finally:
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _die_with(supervisor: int) -> None:
    """In the child, before it becomes the program: to be killed when the supervisor dies, also if it has died just now."""
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != supervisor:
        os._exit(1)


def _write(count: Path, restarts: int) -> None:
    """For `status`.  A full disk is no reason to leave the server dead."""
    temporary = count.with_name(f"{count.name}.tmp")
    with contextlib.suppress(OSError):
        temporary.write_text(f"{restarts}\n", encoding="ascii")
        temporary.replace(count)


def _say(line: str) -> None:
    """Into our log, which is standard error."""
    with contextlib.suppress(OSError):  # as above
        sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} supervisor: {line}\n")
        sys.stderr.flush()


def _leave(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  a signal handler's signature
    """SIGTERM.  Should it come between the child's start and our knowing of it, the kernel ends the child after us."""
    raise SystemExit(0)


def main() -> None:
    parser = argparse.ArgumentParser(description="Runs a command and starts it again when a signal ends it.")
    parser.add_argument("--count", type=Path, required=True, help="file that tells the number of restarts")
    parser.add_argument("command", nargs="+", help="behind --")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(supervise(options.command, options.count))


if __name__ == "__main__":
    main()
