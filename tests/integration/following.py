"""A command that goes on until Ctrl-C, in; the running process, whose standard output is read, out."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import ROOT


@contextmanager
def following(settings: Path, *words: str) -> Iterator["subprocess.Popen[str]"]:
    """`trainwatch WORDS`, ended with the block.  It minds SIGINT also where these tests run in the background, which ignore it."""
    command = [sys.executable, "-m", "pipeline", "--settings", str(settings), *words]
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a handler becomes the default in a child, an ignored signal stays so
    try:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        try:
            yield process
        finally:
            process.kill()
