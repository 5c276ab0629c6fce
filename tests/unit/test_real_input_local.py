"""Real log files of others through the stages in memory: every line accounted for, the values that their notes state come out."""

from collections import Counter

import pytest

from pipeline.model.outcome import EventRow
from pipeline.runtime.files import FileOptions, read_files
from pipeline.runtime.local import LocalRuntime
from pipeline.settings import Settings
from tests.conftest import SHARED_DATA
from tests.real_input import CHECKS, SOURCES, Check, Found, files_of, names, row_of

pytestmark = pytest.mark.shared_data


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What came out of one run over all files."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real log lines: {SHARED_DATA} does not exist")
    settings = Settings(sources=SOURCES)
    runtime = LocalRuntime(settings, keep_rows=True)
    places: dict[tuple[str, int], str] = {}
    counts: Counter[str] = Counter()
    files = files_of(SHARED_DATA, tmp_path_factory.mktemp("made"))
    for file in files:
        records = list(read_files([file.path], FileOptions(host=file.host, collected=file.collected), settings))
        for record in records:
            places[record.topic, counts[record.topic]] = file.name
            counts[record.topic] += 1
        runtime.feed(records)
        runtime.checkpoint()
    results = runtime.finish()
    rows = [row_of(places[row.topic, row.offset], row, row.event_time) for row in results.rows if isinstance(row, EventRow)]
    codes = Counter((places[source.rpartition("/")[0], offset], code) for source, offset, code in results.listed)
    return Found(rows, codes, {file.name: file.lines() for file in files})


@pytest.mark.parametrize("check", CHECKS, ids=names(CHECKS))
def test_real_input(found: Found, check: Check) -> None:
    """What `check` says of itself."""
    check(found, SHARED_DATA)
