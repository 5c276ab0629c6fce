"""Commands that are ended by a signal: what they hold is let go."""

import signal
import subprocess
import sys

import pytest

# A test run under nohup ignores SIGHUP, and so would what it starts.
HEARS = "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
PROGRAM = """
import sys, time
from pipeline.cli import unwinding
with unwinding():
    try:
        print("holds", flush=True)
        time.sleep(60)
    finally:
        print("lets go")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_lets_go_of_what_is_held_and_is_what_the_process_dies_of(number: signal.Signals) -> None:
    """A benchmark that is killed takes the servers with it that it started."""
    with subprocess.Popen([sys.executable, "-c", HEARS + PROGRAM], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "holds\n"
        process.send_signal(number)
        assert process.stdout.read() == "lets go\n"
    assert process.returncode == -number


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    """`nohup trainwatch bench` outlives the terminal."""
    program = f"import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n{PROGRAM.replace('time.sleep(60)', 'signal.raise_signal(1)')}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "holds\nlets go\n"


def test_a_signal_within_a_task_ends_more_than_the_task() -> None:
    """A worker whose terminal was closed must not live on with one task less."""
    program = """
import asyncio
from pipeline.cli import unwinding
async def main():
    async def beat():
        signal.raise_signal(signal.SIGHUP)
    beating = asyncio.ensure_future(beat())
    await asyncio.sleep(30)
    print("lives on", flush=True)
with unwinding():
    asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", HEARS + program], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (-signal.SIGHUP, "")


def test_the_echo_of_a_signal_does_not_cut_the_unwinding_short() -> None:
    """The terminal sends SIGHUP, and the shell sends it again."""
    program = PROGRAM.replace("time.sleep(60)", "signal.raise_signal(1)").replace(
        'print("lets go")', 'signal.raise_signal(1); print("lets go")'
    )
    done = subprocess.run([sys.executable, "-c", HEARS + program], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (-signal.SIGHUP, "holds\nlets go\n")


def test_what_was_said_before_a_signal_that_the_command_took_for_its_end_is_not_lost() -> None:
    """`trainwatch sniff` of a stream says what was read so far."""
    program = """
import signal
from pipeline.cli import unwinding
with unwinding():
    try:
        signal.raise_signal(signal.SIGTERM)
    except KeyboardInterrupt:
        print("so far")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "so far\n")
