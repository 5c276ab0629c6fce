"""What commands ask alike: rows of ClickHouse, the one id that begins as typed, detectors by their short names, and who is asking."""

import difflib
import math
import os
import pwd
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli import Options
from pipeline.cli.console import safe
from pipeline.errors import ConfigError, MigrationMissing

if TYPE_CHECKING:
    from pipeline.sink.clickhouse import Database
    from pipeline.sink.labels import Labelled

NOT_FOUND = 4
SHORT = 12  # digits of an id that tell findings apart
SHOWN_MAX = 5
WHERE_IDS = (  # the one is often typed where the other belongs
    "`trainwatch finding list --all` shows ids of findings, `trainwatch incident list` those of incidents; the first 6 digits are enough"
)

Row = dict[str, Any]

EVIDENCE = """
SELECT c.finding_id AS finding_id, c.position AS position, c.role AS role, c.event_time AS event_time, c.source AS source,
    c.summary AS summary, c.event_id AS event_id, c.sha256 AS sha256, e.host AS host, e.raw AS raw
FROM {db}.finding_evidence_current AS c
LEFT JOIN
(
    SELECT event_id, sha256, host, raw FROM {db}.events
    WHERE event_id IN (SELECT event_id FROM {db}.finding_evidence WHERE finding_id IN %(findings)s)
    LIMIT 1 BY event_id, sha256
) AS e ON e.event_id = c.event_id AND e.sha256 = c.sha256
WHERE c.finding_id IN %(findings)s
ORDER BY c.finding_id, c.event_time, c.position
"""


@contextmanager
def clickhouse(options: Options, patience_seconds: float = 0.0, *, seconds_max: float = math.inf) -> "Iterator[Database]":
    """A connection, which waits for an answer as the settings say, or as long as it is told to, but no longer than `seconds_max`.

    Tables of an earlier release do as long as they have what is asked; else MigrationMissing says which are missing.
    """
    from pipeline.embedded import servers  # noqa: PLC0415  keeps --help quick
    from pipeline.sink import migrate  # noqa: PLC0415
    from pipeline.sink.clickhouse import Database  # noqa: PLC0415

    settings = servers.connected(options.settings, kafka=False).clickhouse
    seconds = min(max(settings.timeout_seconds, patience_seconds), seconds_max)
    with Database(settings.model_copy(update={"timeout_seconds": seconds})) as database:
        try:
            yield database
        except MigrationMissing:
            migrate.check(database)
            raise


def rows(database: "Database", sql: str, asked: Row) -> list[Row]:
    """Under the names of the columns."""
    columns, found = database.query_with_columns(sql, asked)
    return [{name: text_of(value) for name, value in zip(columns, row, strict=True)} for row in found]


def evidence(database: "Database", findings: Sequence[str]) -> list[Row]:
    """What findings cite, each with its line as far as ClickHouse still has it."""
    return rows(database, EVIDENCE, {"findings": findings}) if findings else []


def text_of(value: Any) -> Any:
    """The driver answers with bytes where a line is not UTF-8."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


def the_one(ids: Sequence[str], begun: str, missing: str) -> str:
    """The only id that begins so.  Exits 4 and says what is missing when there is none; UsageError when there are several."""
    if len(ids) > 1:
        raise click.UsageError(f"{begun} begins {len(ids)} ids or more: {', '.join(ids[:SHOWN_MAX])} ...")
    if not ids:
        click.echo(missing, err=True)
        raise SystemExit(NOT_FOUND)
    return ids[0]


def finding_of(database: "Database", begun: str) -> "Labelled":
    """The finding whose id begins so, as `the_one` says."""
    from pipeline.sink import labels  # noqa: PLC0415  keeps --help quick

    found = {each.finding_id: each for each in labels.find(database, begun)}
    return found[the_one([*found], begun, f"there is no finding {safe(begun)}: {WHERE_IDS}")]


def detector_ids(names: Sequence[str]) -> frozenset[str]:
    """Ids of detectors; `p09` is enough for one.  Raises ConfigError where one is no detector."""
    from pipeline.detect.detector import registry  # noqa: PLC0415  keeps --help quick

    known = {each.meta.id.partition("_")[0]: each.meta.id for each in registry()}
    for name in names:
        if name not in known and name not in known.values():
            near = difflib.get_close_matches(name, [*known.values()], n=3, cutoff=0.4)
            advice = f"Did you mean {' or '.join(near)}?" if near else "`trainwatch rules` lists them."
            raise ConfigError(f"there is no detector {name!r}", advice=advice)
    return frozenset(known.get(name, name) for name in names)


def complete_detector(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001  a signature of click
    """Ids of detectors that begin so, for a shell."""
    from pipeline.detect.detector import registry  # noqa: PLC0415  keeps --help quick

    return [each.meta.id for each in registry() if each.meta.id.startswith(incomplete)]


def account() -> str:
    """Account and machine, as the custody log has them."""
    return f"{user()}@{socket.gethostname()}"


def user() -> str:
    """Whose account this is: by the process, since `LOGNAME` and `USER` (`getpass`) are what anybody says they are."""
    with suppress(KeyError):  # a uid without a name, in a container
        return pwd.getpwuid(os.getuid()).pw_name
    return f"uid-{os.getuid()}"
