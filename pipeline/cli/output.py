"""Bytes and a path in; a file that only this account reads out: reports, pages and letters hold names and log lines."""

import os
import stat
from pathlib import Path

from pipeline.errors import ConfigError

PRIVATE = 0o600


def write_file(path: Path, data: bytes) -> None:
    """Over what was there.  Raises ConfigError."""
    try:
        with open(path, "wb", opener=private) as file:
            file.write(data)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}", advice="Name a file in a folder that you may write to.") from error


def private(path: str, flags: int) -> int:
    """An opener."""
    descriptor = os.open(path, flags, PRIVATE)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):  # it may have been there; /dev/stdout is left as it is
        os.fchmod(descriptor, PRIVATE)
    return descriptor
