"""Small things about files that installing and running share: a lock, a bounded log, room on the disk.

Holds: a lock ends with the process that held it, so none is ever stale; measuring a folder survives files that vanish meanwhile.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.errors import ConfigError, ServerFailed

MIB = 1024 * 1024
LOG_BYTES_MAX = 10 * MIB
PRIVATE = 0o700
Say = Callable[[str], None]


class Layout:
    """Where things lie below the directory of the embedded servers.  Raises ConfigError when that is below no folder any more."""

    def __init__(self, directory: Path) -> None:
        try:
            self.root = directory.expanduser().absolute()
        except FileNotFoundError as error:
            raise ConfigError("the current folder was deleted", advice="Go to another one, and try again.") from error
        self.logs = self.root / "logs"
        self.lock = self.root / "run" / "lock"
        self.ports = self.root / "run" / "ports.json"

    def data(self, name: str) -> Path:
        """Of the server `name`; also its working folder."""
        return self.root / name

    def note(self, name: str) -> Path:
        """Tells the running process of the server `name`."""
        return self.root / "run" / f"{name}.json"

    def restarts(self, name: str) -> Path:
        """Tells how often the supervisor of the server `name` has started it again."""
        return self.root / "run" / f"{name}.restarts"

    def output(self, name: str) -> Path:
        """What the server `name` printed."""
        return self.logs / f"{name}.out"


def private(folder: Path) -> None:
    """Make a folder that nobody else may enter, or close it; one of another account is left as it is.  Raises ServerFailed."""
    try:
        folder.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    except OSError as error:
        raise ServerFailed(
            f"cannot make {folder}: {error.strerror}", advice="Set embedded.directory to a folder that may be made."
        ) from error
    with suppress(PermissionError):
        folder.chmod(PRIVATE)


@contextmanager
def exclusive(path: Path, *, say: Say) -> Iterator[None]:
    """Hold the lock file `path`; waits for another process that holds it, and says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another trainwatch that holds {path}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def write_atomically(path: Path, content: bytes) -> None:
    """Readers see the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)


def rotate(log: Path, *, bytes_max: int = LOG_BYTES_MAX) -> None:
    """Keep one older log: `log` becomes `log`.1 once it is longer than `bytes_max`."""
    with suppress(FileNotFoundError):
        if log.stat().st_size > bytes_max:
            log.replace(log.with_name(f"{log.name}.1"))


def tail(log: Path, *, lines_max: int = 8, bytes_max: int = 8192) -> str:
    """The last lines of a log, for an error message."""
    try:
        with log.open("rb") as content:
            content.seek(max(0, log.stat().st_size - bytes_max))
            lines = content.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    return "\n".join(line[:300] for line in lines[-lines_max:])


def used_mib(folder: Path) -> int:
    """What the files below `folder` occupy.  Blocks, not lengths: Kafka's index files are long and mostly holes."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += os.lstat(os.path.join(where, name)).st_blocks * 512
    return total // MIB


def free_mib(folder: Path) -> int:
    """What an ordinary user can still write where `folder` is or will be."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free // MIB
