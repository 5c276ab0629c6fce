"""Numbered SQL files in, a database with the tables of this release out; and back again.

`schemas/clickhouse/NNNN_verb_object.up.sql` and its `.down.sql` are never edited once released: their checksum, taken before
placeholders are filled in, stands in the table `migrations`.  Statements end with a semicolon at the end of a line and are written so
that running them again is harmless, since ClickHouse has no transaction around definitions:

    started ---- killed half-way ---- started (again) ---- applied ---- reverted

Placeholders are what differs between sites: database, engine family, cluster, retention.  One machine gets plain MergeTree; a
replicated cluster will get `Replicated` and `ON CLUSTER` in the same files.

Holds: numbers are 1, 2, 3 ... without a gap, in the folder and in the database; an edited or missing file stops everything; a database
that is ahead of this release is accepted, because migrations only add and come one release before the code that needs them.
"""

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from pipeline import __version__
from pipeline.errors import ConfigError, MigrationMissing
from pipeline.settings import ClickHouseSettings, schemas_folder
from pipeline.sink.clickhouse import Database

FILE_NAME = re.compile(r"^(?P<number>\d{4})_(?P<name>[a-z0-9]+(?:_[a-z0-9]+)+)\.(?P<direction>up|down)\.sql$")
DROPPED = re.compile(r"^DROP TABLE IF EXISTS \{database\}\.(\w+)", re.MULTILINE)
PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
DEDUPLICATION_WINDOW = 100_000  # blocks per table: days of checkpoints
RETENTION = re.compile(r"_inserted \+ toIntervalDay\((\d+)\)")

Say = Callable[[str], None]


class State(StrEnum):
    """What a number has come to in a database."""

    PENDING = "pending"
    STARTED = "started"  # killed half-way: `up` runs it again
    APPLIED = "applied"
    REVERTED = "reverted"


class Migration(msgspec.Struct, frozen=True):
    """One numbered step, both directions, as released."""

    number: int
    name: str
    up: str
    down: str

    @property
    def checksum(self) -> str:
        """Of both texts before substitution."""
        return hashlib.sha256(f"{self.up}\0{self.down}".encode()).hexdigest()

    @property
    def title(self) -> str:
        return f"{self.number:04d}_{self.name}"


class Applied(msgspec.Struct, frozen=True):
    """What the database says of a number."""

    number: int
    name: str
    state: State
    checksum: str
    release: str


class Line(msgspec.Struct, frozen=True):
    """One line of `trainwatch migrate status`."""

    number: int
    name: str
    state: State
    release: str = ""
    known: bool = True  # False: applied by a newer release


def read_migrations(folder: Path | None = None) -> list[Migration]:
    """All files, by number.  Raises ConfigError on a gap, a double, a stray file or a missing direction."""
    folder = folder or schemas_folder() / "clickhouse"
    texts: dict[tuple[int, str], dict[str, str]] = {}
    for path in sorted(folder.glob("*.sql")):
        found = FILE_NAME.match(path.name)
        if found is None:
            raise ConfigError(f"{path}: not the name of a migration", advice="Name it NNNN_verb_object.up.sql or .down.sql.")
        key = int(found["number"]), found["name"]
        texts.setdefault(key, {})[found["direction"]] = path.read_text(encoding="utf-8")
    migrations = []
    for place, ((number, name), both) in enumerate(sorted(texts.items()), start=1):
        if number != place:
            raise ConfigError(
                f"{folder}: migration {number:04d}_{name} where number {place:04d} is expected",
                advice="Numbers run from 0001 without gap or double. Restore the missing file, or renumber what was never released.",
            )
        if len(both) != 2:
            raise ConfigError(f"{folder}: {number:04d}_{name} needs both .up.sql and .down.sql", advice="Restore the missing file.")
        migrations.append(Migration(number, name, both["up"], both["down"]))
    return migrations


def placeholders(settings: ClickHouseSettings) -> dict[str, str]:
    """What differs between sites.  `replicated` and `on_cluster` stay empty until there is a setting for them."""
    return {
        "database": settings.database,
        "on_cluster": "",
        "replicated": "",
        "deduplication_window": f"non_replicated_deduplication_window = {DEDUPLICATION_WINDOW}",
        "retention_days": str(settings.retention_days),
    }


def statements(text: str, values: dict[str, str]) -> list[str]:
    """The statements of a file with placeholders filled in.  Raises ConfigError on an unknown placeholder."""

    def fill(found: re.Match[str]) -> str:
        if found[1] not in values:
            raise ConfigError(f"unknown placeholder {found[0]} in a migration", advice=f"Known: {', '.join(sorted(values))}.")
        return values[found[1]]

    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("--"))
    return [statement.strip() for statement in re.split(r";[ \t]*(?:\n|$)", PLACEHOLDER.sub(fill, code)) if statement.strip()]


def applied(database: Database) -> dict[int, Applied]:
    """Number -> its newest state; empty for a database without our tables."""
    if not database.columns("migrations"):
        return {}
    found = database.query(
        "SELECT number, argMax(name, step), argMax(state, step), argMax(checksum, step), argMax(release, step) "
        "FROM {db}.migrations GROUP BY number ORDER BY number"
    )
    return {number: Applied(number, name, State(state), checksum, release) for number, name, state, checksum, release in found}


def compare(migrations: Sequence[Migration], done: dict[int, Applied]) -> list[Line]:
    """Files beside what the database says of them.  Pure.  Raises MigrationMissing on an edited file or a gap in the database."""
    lines: list[Line] = []
    for migration in migrations:
        entry = done.get(migration.number)
        state = entry.state if entry else State.PENDING
        if entry and state is State.APPLIED:
            if entry.checksum != migration.checksum:
                raise MigrationMissing(
                    f"migration {migration.title} was edited after it had been applied (as {entry.name}, release {entry.release})",
                    advice="Restore the released file; put the change into a new migration.",
                )
            if lines and lines[-1].state is not State.APPLIED:
                raise MigrationMissing(
                    f"migration {migration.title} is applied, but {lines[-1].number:04d}_{lines[-1].name} before it is {lines[-1].state}",
                    advice="Somebody changed the table `migrations` by hand: restore it from a backup.",
                )
        lines.append(Line(migration.number, migration.name, state, entry.release if entry else ""))
    newer = sorted(number for number in done if number > len(migrations) and done[number].state is State.APPLIED)
    lines += [Line(number, done[number].name, State.APPLIED, done[number].release, known=False) for number in newer]
    return lines


def check(database: Database, migrations: Sequence[Migration] | None = None) -> None:
    """Raises MigrationMissing when the database is behind this release, or was built from other files."""
    lines = compare(read_migrations() if migrations is None else migrations, applied(database))
    behind = [f"{line.number:04d}_{line.name}" for line in lines if line.state is not State.APPLIED]
    if behind:
        raise MigrationMissing(f"database {database.name} lacks {len(behind)} of {len(lines)} migrations, first {behind[0]}")


def status(database: Database, migrations: Sequence[Migration] | None = None) -> list[Line]:
    """Every migration and its state.  Changes nothing."""
    return compare(read_migrations() if migrations is None else migrations, applied(database))


def up(database: Database, *, say: Say, dry_run: bool = False, migrations: Sequence[Migration] | None = None) -> list[Migration]:
    """Apply what is missing, in order; answers with what was, or would be, applied.  A second call changes nothing."""
    migrations = read_migrations() if migrations is None else migrations
    lines = compare(migrations, applied(database))
    todo = [migrations[line.number - 1] for line in lines if line.state is not State.APPLIED]
    for migration in todo:
        _run(database, migration, migration.up, State.APPLIED, say=say, dry_run=dry_run)
    _apply_retention(database, say=say, dry_run=dry_run)
    return todo


def down(database: Database, to: int, *, say: Say, dry_run: bool = False, migrations: Sequence[Migration] | None = None) -> list[Migration]:
    """Revert everything above number `to`, newest first.  Tables go with their rows.  Raises ConfigError when files are missing for it."""
    migrations = read_migrations() if migrations is None else migrations
    if not 0 <= to <= len(migrations):
        raise ConfigError(f"there is no migration {to}", advice=f"Choose 0 to {len(migrations)}.")
    lines = compare(migrations, applied(database))
    unknown = [line for line in lines if not line.known]
    if unknown:
        raise ConfigError(
            f"migration {unknown[-1].number:04d}_{unknown[-1].name} belongs to release {unknown[-1].release}",
            advice="Revert it with that release, which has its .down.sql.",
        )
    todo = [migrations[line.number - 1] for line in reversed(lines) if line.number > to and line.state in (State.APPLIED, State.STARTED)]
    for migration in todo:
        _run(database, migration, migration.down, State.REVERTED, say=say, dry_run=dry_run)
    return todo


def dropped(migrations: Iterable[Migration]) -> set[str]:
    """Tables that go when these are reverted."""
    return {name for migration in migrations for name in DROPPED.findall(migration.down)}


def rows_of(database: Database, tables: Collection[str]) -> dict[str, int]:
    """Those that hold rows, and how many."""
    found = database.query("SELECT name, total_rows FROM system.tables WHERE database = '{db}' AND total_rows > 0 ORDER BY name")
    return {name: rows for name, rows in found if name in tables}


def _run(database: Database, migration: Migration, text: str, end: State, *, say: Say, dry_run: bool) -> None:
    verb = "apply" if end is State.APPLIED else "revert"
    say(f"{'would ' if dry_run else ''}{verb} {migration.title}")
    if dry_run:
        return
    _note(database, migration, State.STARTED)
    for statement in statements(text, placeholders(database.settings)):
        database.command(statement)
    _note(database, migration, end)


def _note(database: Database, migration: Migration, state: State) -> None:
    """The first migration makes, and its reversal drops, the table in which this stands."""
    if not database.columns("migrations"):
        return
    row: dict[str, Any] = {
        "number": [migration.number],
        "name": [migration.name],
        "state": [state.value],
        "checksum": [migration.checksum],
        "release": [__version__],
    }
    database.insert("migrations", row, async_insert=0)


def _apply_retention(database: Database, *, say: Say, dry_run: bool) -> None:
    """clickhouse.retention_days may change after a table was made; dropping old parts is left to the server.

    Raises ConfigError when a table is to have its own that has none, or is not there.
    """
    tables = database.query(
        "SELECT name, engine_full FROM system.tables WHERE database = %(database)s ORDER BY name", {"database": database.name}
    )
    aging = {name for name, engine in tables if RETENTION.search(engine)}
    if tables and (stray := sorted(database.settings.retention_days_by_table.keys() - aging)):
        raise ConfigError(
            f"clickhouse.retention_days_by_table names {', '.join(stray)}", advice=f"Tables that age: {', '.join(sorted(aging))}."
        )
    for name, engine in tables:
        found, days = RETENTION.search(engine), database.settings.kept_days(name)
        if found is None or int(found[1]) == days:
            continue
        say(f"{'would set' if dry_run else 'set'} retention of {name} to {days} days, was {found[1]}")
        if not dry_run:
            database.command(f"ALTER TABLE {database.name}.{name} MODIFY TTL _inserted + toIntervalDay({days})")
