"""Ends the servers of a test run that was killed: the folder of the servers in; nothing left running out.

A process of its own, since a killed run cannot clean up.  It leaves when the run has ended the servers itself, or when the run's
process, noted in run/watchdog.json, is gone.
"""

import sys
import time
from pathlib import Path

from pipeline.embedded import process
from tests.conftest import end_servers

POLL_SECONDS = 0.5


def main(folder: Path) -> None:
    note = folder / "run" / "watchdog.json"
    while (watched := process.read_note(note)) is not None and process.is_alive(watched):
        time.sleep(POLL_SECONDS)
    if watched is not None:
        end_servers(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
