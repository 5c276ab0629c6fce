"""The two servers of a run, as something that can be killed and brought back.

In: settings of embedded servers in a folder of their own.  Processes are known by the notes that `up` leaves, so that nothing else is
ever ended.

Holds: a killed server comes back on its ports with its data, by the same `up` that operators use.
"""

import os
import signal

from pipeline.embedded import process, servers
from pipeline.embedded.files import Layout
from pipeline.errors import ServerFailed
from pipeline.settings import Settings

KAFKA, CLICKHOUSE = "kafka", "clickhouse"
DIES_SECONDS = 60.0


class Servers:
    """A running pair."""

    def __init__(self, embedded: Settings) -> None:
        self._embedded = embedded
        self.settings = servers.connected(embedded)

    def end(self, name: str, by: int = signal.SIGKILL) -> None:
        """Signal it, and wait until it is gone."""
        note = process.read_note(Layout(self._embedded.embedded.directory).note(name))
        if note is None or not process.is_alive(note):
            raise ServerFailed(f"{name} does not run")
        os.kill(note.pid, by)
        process.stop(note, patience_seconds=DIES_SECONDS)

    def up(self) -> None:
        """Start what is dead, and wait until it answers."""
        servers.up(self._embedded, say=_silent)


def _silent(_: str) -> None:
    """A run says what it does."""
