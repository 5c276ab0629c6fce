"""Servers for faults: the run's own for most, a pair per module for those that kill them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.embedded import servers as embedded
from pipeline.settings import EmbeddedSettings, Settings
from tests.conftest import SERVERS_FOLDER, watch
from tests.patience import PATIENCE_SECONDS


@pytest.fixture
def shared(running_servers: Settings) -> Settings:
    """The run's servers, by the folder in which they were started."""
    return Settings(embedded=running_servers.embedded)


@pytest.fixture(scope="module")
def breakable(installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A pair that tests of one module may kill."""
    directory: Path = tmp_path_factory.mktemp("breakable") / SERVERS_FOLDER
    settings = Settings(embedded=EmbeddedSettings(directory=directory, kafka_heap_mib=384, ready_timeout_seconds=PATIENCE_SECONDS))
    watch(directory)
    embedded.up(settings, say=print)
    yield settings
    embedded.down(settings, say=print)
