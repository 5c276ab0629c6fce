"""A database of a test or a measurement in; the tables of this release in it out, without rows.

The first one of a process is made by the migrations.  The others are made as that one came out, which takes the server a seventh of
the work: a table is not altered ten times.  Sites go by `migrate.up`, which knows of half-way, of newer and of edited files.

Holds: tables, views and what stands in `migrations` are those that `migrate.up` would have left.
"""

import re
from collections.abc import Sequence

import msgspec

from pipeline.sink import migrate
from pipeline.sink.clickhouse import Database

_known: dict[str, "Copy"] = {}  # by what decides how tables come out


class Copy(msgspec.Struct, frozen=True):
    """How a database came out."""

    name: str
    statements: Sequence[str]  # each after those that it needs
    migrations: dict[str, list[object]]  # column -> values


def make(database: Database) -> None:
    """Tables in a database; one that has some, of an older release perhaps, is migrated.  Raises what `migrate.up` raises."""
    if database.query("SELECT count() FROM system.databases WHERE name = '{db}'")[0][0]:
        migrate.up(database, say=_silent)
        return
    kind = str(database.settings.model_copy(update={"database": ""}))
    known = _known.get(kind)
    if known is None:
        migrate.up(database, say=_silent)
        _known[kind] = _taken(database)
        return
    database.command(f"CREATE DATABASE {database.name}")
    for statement in known.statements:
        database.command(re.sub(rf"\b{known.name}\.", f"{database.name}.", statement))
    database.insert("migrations", known.migrations, async_insert=0)


def _taken(database: Database) -> Copy:
    made = database.query("SELECT name, create_table_query FROM system.tables WHERE database = '{db}' ORDER BY engine = 'View', name")
    columns = list(database.columns("migrations"))
    rows = database.query(f"SELECT {', '.join(columns)} FROM {{db}}.migrations")  # noqa: S608  columns of our own table
    values = {name: list(column) for name, column in zip(columns, zip(*rows, strict=True), strict=True)}
    return Copy(database.name, [text for _, text in _in_order(dict(made), database.name)], values)


def _in_order(made: dict[str, str], name: str) -> list[tuple[str, str]]:
    """Views after the tables and views that they read."""
    waiting, ready = dict(made), dict[str, str]()
    while waiting:
        for each, text in list(waiting.items()):
            if not {*re.findall(rf"\b{name}\.(\w+)", text)} & waiting.keys() - {each}:
                ready[each] = waiting.pop(each)
    return list(ready.items())


def _silent(_: str) -> None:
    """Nobody waits for these lines."""
