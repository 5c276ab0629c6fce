"""Commands that are ended by a signal: what they hold is let go."""

import signal
import subprocess
import sys

import pytest

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
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as process:
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
