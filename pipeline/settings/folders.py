"""Folders that no setting names: the cache of downloads, and `schemas/`."""

from pathlib import Path

import platformdirs

from pipeline.errors import ConfigError


def cache_folder() -> Path:
    """Where downloads are kept: Java archives and the ClickHouse library."""
    return Path(platformdirs.user_cache_dir("trainwatch", appauthor=False))


def schemas_folder() -> Path:
    """`schemas/`, inside an installed wheel or beside the package in a checkout.  Raises ConfigError when it is in neither."""
    package = Path(__file__).parent.parent
    for folder in (package / "_schemas", package.parent / "schemas"):
        if (folder / "clickhouse").is_dir():
            return folder
    raise ConfigError("schemas/ not found", advice="Install the wheel, or run from a checkout.")
