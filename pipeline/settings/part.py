"""What every section of the settings is built from: a closed and frozen branch, secrets from files, moments in milliseconds."""

import os
import stat
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, SecretStr

from pipeline.errors import ConfigError


class Part(BaseModel):
    """A branch of the tree: closed and frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def others_may(file: os.stat_result) -> bool:
    """May others read or change a secret?  A group may read it where its owner is another account, which mounts it for us."""
    return bool(file.st_mode & (stat.S_IRWXO | (stat.S_IRWXG if file.st_uid == os.getuid() else stat.S_IWGRP)))


def secret_of(name: str, given: SecretStr, file: Path | None) -> str:
    """A secret as it was given, else the first line of its file, read anew, since a site changes it under a running process.

    Raises ConfigError, which names the setting and the file, and never what is in it.
    """
    if file is None:
        return given.get_secret_value()
    try:
        found = file.read_text(encoding="utf-8").split("\n", 1)[0].removesuffix("\r")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise ConfigError(f"{name}: cannot read {file}: {why}", advice="Name a readable file whose first line is the secret.") from None
    if not found:
        raise ConfigError(f"{name}: the first line of {file} is empty", advice="Write the secret into its first line.")
    return found


def readable(name: str, file: Path) -> str:
    """The path of a file that can be opened, for libraries that do not say which they could not.  Raises ConfigError, which names both."""
    try:
        file.open("rb").close()
    except OSError as error:
        raise ConfigError(f"{name}: cannot read {file}: {error.strerror}", advice="Name a file that this account may read.") from error
    return str(file)


def host_name(value: str) -> str:
    """A name that can be looked up, or none; what cannot would end a client with an error of the resolver.  Raises ValueError."""
    try:
        value.encode("idna")
    except UnicodeError:
        raise ValueError(f"{value!r} is not a host name") from None
    return value


def one_place(name: str, given: SecretStr, file: Path | None) -> None:
    if given.get_secret_value() and file is not None:
        raise ValueError(f"{name} and {name}_file both hold it: leave one of them out")


def milliseconds(moment: datetime | None, default: int) -> int:
    return default if moment is None else round(moment.timestamp() * 1000)
