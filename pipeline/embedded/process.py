"""A server as a process of its own, and the note by which a later command recognises it.

A process is known by pid and birth together: after a reboot or a long uptime the pid alone may belong to somebody else, and
`down` must never end that.  The birth is the boot and the kernel's tick at which the process started; a time of day would move
whenever the clock is set.  The note is written right after the start, and a note whose process is gone is *stale*.

Servers are started through a shell that leaves at once, in a session of their own: Ctrl-C at the terminal does not reach them,
they outlive the command, and the system collects their exit, so that no zombie looks like a running server.
"""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from pipeline.embedded.files import write_atomically
from pipeline.errors import ServerFailed

POLL_SECONDS = 0.05
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Note(msgspec.Struct, frozen=True):
    """A process that `up` started: who it is and where it listens."""

    pid: int
    birth: str
    ports: dict[str, int]


def read_note(path: Path) -> Note | None:
    """The note at `path`; None when there is none or it is not readable as one, which a crash of the machine can cause."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Note)
    except (FileNotFoundError, NotADirectoryError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def write_note(path: Path, note: Note) -> None:
    write_atomically(path, msgspec.json.encode(note))


def is_alive(note: Note) -> bool:
    """Whether that very process still runs."""
    found = _look(note.pid)
    return found is not None and found.birth == note.birth and not found.has_ended


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
    """The note of a process that was just started.  One that has ended already gets a birth that no process has."""
    found = _look(pid)
    return Note(pid=pid, birth="" if found is None else found.birth, ports=ports)


def stop(note: Note, *, patience_seconds: float) -> None:
    """End the process: SIGTERM, and SIGKILL when that has no effect within `patience_seconds`.  Data of both servers survive it."""
    for number, seconds in ((signal.SIGTERM, patience_seconds), (signal.SIGKILL, 10.0)):
        if not is_alive(note):
            return
        try:
            os.kill(note.pid, number)
        except ProcessLookupError:
            return
        except PermissionError as error:
            message = f"process {note.pid} belongs to another user"
            raise ServerFailed(message, advice="Run `trainwatch down` as the user who ran `trainwatch up`.") from error
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not is_alive(note):
                return
            time.sleep(POLL_SECONDS)
    message = f"process {note.pid} does not end, not even by SIGKILL"
    raise ServerFailed(message, advice="It waits for a disk or a network file system; look at `dmesg`.")


class _Look(msgspec.Struct, frozen=True):
    """A process as the kernel tells of it."""

    birth: str
    has_ended: bool


def _look(pid: int) -> _Look | None:
    try:
        told = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = BOOT_ID.read_text(encoding="ascii").strip() if BOOT_ID.exists() else ""
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name, in parentheses, may hold anything; the fields after it are state (3rd of all), ..., threads (20th), start (22nd).
    fields = told.rpartition(")")[2].split()
    state, threads, start = fields[0], int(fields[17]), fields[19]
    # A killed Java process is a zombie while its other threads still hold ports and file locks: it has not ended yet.
    return _Look(birth=f"{boot}:{start}", has_ended=state in "ZX" and threads <= 1)
