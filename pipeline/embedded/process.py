"""A server as a process of its own, and the note by which a later command recognises it.

A process is known by pid and start time together: after a reboot or a long uptime the pid alone may belong to somebody else,
and `down` must never end that.  The note is written right after the start, and a note whose process is gone is *stale*.

Servers are started through a shell that leaves at once, in a session of their own: Ctrl-C at the terminal does not reach them,
they outlive the command, and the system collects their exit, so that no zombie looks like a running server.
"""

import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import psutil

from pipeline.embedded.files import write_atomically
from pipeline.errors import ServerFailed

# The kernel tells the start in ticks since boot; the boot time that psutil adds moves a little when the clock is set.
START_TOLERANCE_SECONDS = 2.0
POLL_SECONDS = 0.05


class Note(msgspec.Struct, frozen=True):
    """A process that `up` started: who it is and where it listens."""

    pid: int
    started: float
    ports: dict[str, int]


def read_note(path: Path) -> Note | None:
    """The note at `path`; None when there is none or it is not readable as one, which a crash of the machine can cause."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Note)
    except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def write_note(path: Path, note: Note) -> None:
    write_atomically(path, msgspec.json.encode(note))


def is_alive(note: Note) -> bool:
    """Whether that very process still runs."""
    return _process(note) is not None


def spawn(command: Sequence[str], *, log: Path, folder: Path) -> int:
    """Start `command` in `folder`, its output appended to `log`; the pid.  It may have ended again already."""
    folder.mkdir(parents=True, exist_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    script = 'log=$1; shift; "$@" </dev/null >>"$log" 2>&1 & echo $!'
    started = subprocess.run(
        ["/bin/sh", "-c", script, "sh", str(log), *command],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
        check=True,
    )
    return int(started.stdout)


def note_of(pid: int, ports: dict[str, int]) -> Note:
    """The note of a process that was just started.  If it has ended already, the note says so: no process started in 1970."""
    try:
        started = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        started = 0.0
    return Note(pid=pid, started=started, ports=ports)


def stop(note: Note, *, patience_seconds: float) -> None:
    """End the process: SIGTERM, and SIGKILL when that has no effect within `patience_seconds`.  Data of both servers survive it."""
    for number, seconds in ((signal.SIGTERM, patience_seconds), (signal.SIGKILL, 10.0)):
        process = _process(note)
        if process is None:
            return
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            return
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not is_alive(note):
                return
            time.sleep(POLL_SECONDS)
    message = f"process {note.pid} does not end, not even by SIGKILL"
    raise ServerFailed(message, advice="It waits for a disk or a network file system; look at `dmesg`.")


def _process(note: Note) -> psutil.Process | None:
    try:
        process = psutil.Process(note.pid)
        if abs(process.create_time() - note.started) > START_TOLERANCE_SECONDS:
            return None
        # A killed Java process is a zombie while its other threads still hold ports and file locks: not gone yet.
        if process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1:
            return None
    except psutil.NoSuchProcess:
        return None
    return process
