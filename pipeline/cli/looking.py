"""Whoever is shown evidence goes on record: rows of the custody log, written before anything is told.

Commands that copy evidence do not go on without their row (cli/evidence.py).  These only show it, also with an account that may read and
nothing else: then one line says that the look is not on record, and ClickHouse's query_log is what is left.  So it is for Grafana itself.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pipeline.cli import say
from pipeline.cli.asking import account
from pipeline.cli.times import now_ms
from pipeline.errors import TrainwatchError

if TYPE_CHECKING:
    from pipeline.sink.clickhouse import Database


def on_record(database: "Database", command: str, subjects: Iterable[str]) -> None:
    """A row for each subject."""
    from pipeline.sink.evidence import Custody, note  # noqa: PLC0415  keeps --help quick

    try:
        for subject in subjects:
            note(database, Custody(now_ms(), account(), "looked", subject, command))
    except TrainwatchError as error:
        say(f"this look is not in the custody log: {error}")
