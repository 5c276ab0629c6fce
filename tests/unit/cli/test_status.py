"""What `status` prints of what servers and workers said."""

import io
from typing import Any

import pytest
from rich.console import Console

from pipeline.cli import Options
from pipeline.cli.status import _shown

SERVER = {"state": "running", "addresses": ["127.0.0.1:9092"], "pid": 7, "data_mib": 1, "restarts": 0}
STAGE = {"stage": "ingest", "partitions": 12, "workers": 1, "lag": 0, "lag_seconds": 0, "state_bytes": 0, "silent": 0}


def shown(*stages: dict[str, Any]) -> str:
    found = {"kafka": SERVER, "clickhouse": SERVER, "stages": list(stages), "records": []}
    page = io.StringIO()
    Console(file=page, width=160, highlight=False).print(_shown(found, Options()))
    return page.getvalue()


@pytest.mark.parametrize("silent", [0, 3])
def test_who_is_silent_has_a_column_only_where_there_is_one(silent: int) -> None:
    """An empty one without a name looks like something that is missing."""
    page = shown(STAGE, {**STAGE, "stage": "hosts", "silent": silent})
    assert ("no worker reports on 3 partitions" in page) == bool(silent)
    (heading,) = [line for line in page.splitlines() if "remembers" in line]
    assert len(heading.strip("┃ ").split("┃")) == 6
    assert heading.count("┃") == 7 + bool(silent)


def test_how_far_behind_is_told_in_days_where_it_is_days() -> None:
    """Old logs that are read today are so many seconds old that nobody can read it."""
    assert " 7,200 s " in shown({**STAGE, "lag": 3, "lag_seconds": 7_200})
    assert " 262 days " in shown({**STAGE, "lag": 3, "lag_seconds": 262 * 86_400 + 5})
