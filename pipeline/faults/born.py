"""A module and its words in; a process that runs it as `python -m` would, born of one that has imported everything, out.

Most of what the start of a worker costs is imports, a second of CPU, and faults start workers by the dozen.  So they are forked from a
server process that has done nothing else: `multiprocessing`'s own, which ends with us.  What they need beyond that they import themselves.

    us ──► fork server: imports, once ──► worker ──► worker ──► verify ...

Holds: the process has its own environment and output, and an exit code like any other: negative for a signal.
"""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

IMPORTED = (
    "pipeline.cli.worker",
    "pipeline.cli.verify",
    "pipeline.runtime.admin",
    "pipeline.runtime.app",
    "pipeline.runtime.dead_letters",
    "pipeline.runtime.retention",
    "pipeline.embedded.servers",
    "pipeline.sink.migrate",
    "pipeline.sink.verify",
    "pipeline.topology",
)
_births = multiprocessing.get_context("forkserver")
_births.set_forkserver_preload([*IMPORTED])


class Born:
    """Speaks like `subprocess.Popen`, as far as that is needed here."""

    def __init__(self, module: str, words: Sequence[str], environment: Mapping[str, str], out: Path, errors: Path | None = None) -> None:
        self.args = [module, *words]
        out.touch()
        self._process = _births.Process(target=_live, args=(module, [*words], dict(environment), str(out), str(errors or out)), daemon=True)
        self._process.start()

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    def poll(self) -> int | None:
        """The exit code; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code.  Raises subprocess.TimeoutExpired."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _live(module: str, words: list[str], environment: dict[str, str], out: str, errors: str) -> None:
    for number, path in ((1, out), (2, errors)):
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)  # appended to, so that it can be cut while it is written
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which the fork server ignores
    sys.argv = [module, *words]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
