"""The watchdog bites what hangs, says where, and leaves alone what does not.  Each case is a process of its own, since it ends it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.runtime.watchdog import EXIT_STUCK
from tests.patience import PATIENCE_SECONDS

PROGRAM = """
import asyncio, logging, re, sys, time
from pipeline.runtime import watchdog as module
from pipeline.runtime.watchdog import Watchdog

module.LAST_WORDS_SECONDS = 1.0
logging.basicConfig(level=logging.INFO)
watchdog = Watchdog({limit}, logging.getLogger("test"), tick_seconds=0.1)

def beat():
    watchdog.beat()
    asyncio.get_running_loop().call_later(0.05, beat)

def blocks_in_python():
    while True:
        time.sleep(0.01)

def holds_the_interpreter():
    re.match(r"(a|a)*$", "a" * 60 + "b")

async def waits_in_the_loop():
    watchdog.hangs = lambda limit: f"logs.access/0 stands still, limit {{limit}}"
    await asyncio.sleep(60)

async def behaves():
    for _ in range(50):
        await asyncio.sleep(0.1)

async def main():
    beat()
    print("running", flush=True)
    {act}

watchdog.start()
asyncio.run(main())
watchdog.close()
"""


def start(act: str, limit: float, stderr: int = subprocess.PIPE) -> "subprocess.Popen[bytes]":
    program = PROGRAM.format(act=act, limit=limit)
    return subprocess.Popen([sys.executable, "-c", program], cwd=Path(__file__).parents[3], stdout=subprocess.PIPE, stderr=stderr)


def finished(process: "subprocess.Popen[bytes]") -> tuple[int, str]:
    """Exit code and what it said; a process that does not end is killed, and fails the test by its code."""
    try:
        _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        _, errors = process.communicate()
    return process.returncode, (errors or b"").decode()


CASES = {
    "blocked loop": ("blocks_in_python()", EXIT_STUCK, ("in blocks_in_python", "the event loop has not turned")),
    "interpreter held": ("holds_the_interpreter()", 1, ("in holds_the_interpreter", "Timeout")),
    "no progress": ("await waits_in_the_loop()", EXIT_STUCK, ("logs.access/0 stands still", "in _end")),
}


@pytest.mark.parametrize(("act", "code", "said"), CASES.values(), ids=CASES)
def test_it_ends_what_hangs_and_says_where(act: str, code: int, said: tuple[str, ...]) -> None:
    """With a traceback that names the function, whatever holds the process."""
    ended, errors = finished(start(act, limit=0.6))
    assert ended == code, errors
    assert [words for words in said if words not in errors] == []


def test_what_behaves_longer_than_the_limit_goes_on_to_its_end() -> None:
    """The limit is one that a busy machine keeps."""
    code, errors = finished(start("await behaves()", limit=4.0))
    assert code == 0, errors


def test_being_frozen_is_no_hang() -> None:
    """Stopped for longer than the limit and woken up, the process goes on to its end."""
    process = start("await behaves()", limit=4.0)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGSTOP)
    time.sleep(5.0)  # longer than the limit; the timer of last resort, at twice that, does not know about freezing
    process.send_signal(signal.SIGCONT)
    code, errors = finished(process)
    assert code == 0, errors


def test_a_log_that_nobody_reads_does_not_keep_it_alive() -> None:
    """The pipe is full, so writing the traceback blocks for ever; the kernel ends the process."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while os.write(writing, b"x" * 4096):
            pass
    except BlockingIOError:
        os.set_blocking(writing, True)
    try:
        code, _ = finished(start("blocks_in_python()", limit=0.6, stderr=writing))
    finally:
        os.close(reading)
        os.close(writing)
    assert code == -signal.SIGALRM
