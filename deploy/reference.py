"""A migrated ClickHouse in, `schemas/clickhouse/REFERENCE.md` out: tables and views with their columns, types and comments.

    .venv/bin/python -m deploy.reference --settings trainwatch.yaml

What is written is what the server says of itself, so the reference cannot tell anything else than the schema; a test on the real server
compares them.  Columns of the views *_current and *_told and of the copies *_held mean what the table's column of that name means.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import click

from pipeline import settings as settings_module
from pipeline.embedded import servers
from pipeline.settings import schemas_folder
from pipeline.sink.clickhouse import Database

TABLES = """
SELECT name, engine, comment, sorting_key, partition_key FROM system.tables WHERE database = %(database)s ORDER BY name
"""
COLUMNS = """
SELECT table, name, type, comment FROM system.columns WHERE database = %(database)s ORDER BY table, position
"""
HEAD = """# Tables and views

Made by `deploy/reference.py` from the comments of a migrated database; the migrations beside this file are what makes it.

Read the views `*_current` rather than the tables behind them: they show the newest version of each id, without `FINAL`. Join by
`job_id` (with `cluster`), `attempt`, `event_id`, `finding_id`, `incident_id`, `host`, and `actor` or `owner`, which are identity ids.
Questions with their answers in SQL stand in `deploy/sql/cookbook.sql`. Filters on the first columns of a sort key are cheap; those on
time read whole weeks.

Every table also has the columns of its origin: `_topic`, `_partition`, `_offset`, `_index` (number of the row in its record),
`_incarnation` (of the topic: a recreated one counts from 0 again), `_inserted` (when it was stored; retention counts from here) and,
where rows replace one another, `_version`.
"""


class Column(NamedTuple):
    """As the server tells it."""

    name: str
    type: str
    comment: str


class Table(NamedTuple):
    """A table or view."""

    name: str
    engine: str
    comment: str
    sorting_key: str
    partition_key: str
    columns: tuple[Column, ...]


def read(database: Database) -> list[Table]:
    """All tables and views of our database."""
    asked = {"database": database.name}
    columns: dict[str, list[Column]] = {}
    for table, *rest in database.query(COLUMNS, asked):
        columns.setdefault(str(table), []).append(Column(*map(str, rest)))
    return [
        Table(str(name), str(engine), str(comment), str(sorted_by), str(parted_by), tuple(columns.get(str(name), ())))
        for name, engine, comment, sorted_by, parted_by in database.query(TABLES, asked)
    ]


def inherited(tables: list[Table]) -> Mapping[str, Mapping[str, str]]:
    """View or copy -> column name -> comment: of the table after which it is called, else of the tables that agree on that name."""
    by_table = {table.name: {column.name: column.comment for column in table.columns if column.comment} for table in tables}
    agreed: dict[str, set[str]] = {}
    for comments in by_table.values():
        for name, comment in comments.items():
            agreed.setdefault(name, set()).add(comment)
    common = {name: comments.pop() for name, comments in agreed.items() if len(comments) == 1}
    behind = {table.name: table.name.removesuffix("_current").removesuffix("_told").removesuffix("_held") for table in tables} | {
        "enriched_current": "enriched_events"
    }
    return {table.name: {**common, **by_table.get(behind[table.name], {})} for table in tables if behind[table.name] != table.name}


def render(tables: list[Table]) -> str:
    """The page."""
    comments = inherited(tables)
    parts = [HEAD]
    for table in sorted(tables, key=lambda each: (each.engine != "View", each.name)):
        view = table.engine == "View"
        parts.append(f"\n## {table.name}\n\n{table.comment or '(no comment)'}\n")
        if not view:
            parts.append(
                f"\n{table.engine}, ordered by `{table.sorting_key}`"
                + (f", a part per `{table.partition_key}`" * bool(table.partition_key))
                + "\n"
            )
        parts.append("\n| column | type | meaning |\n|---|---|---|\n")
        for column in table.columns:
            if not column.name.startswith("_"):
                meaning = column.comment or comments.get(table.name, {}).get(column.name, "")
                parts.append(f"| `{column.name}` | `{column.type}` | {meaning.replace('|', chr(92) + '|')} |\n")
    return "".join(parts)


@click.command()
@click.option("--settings", "path", type=click.Path(path_type=Path, dir_okay=False), help="Settings file; default ./trainwatch.yaml.")
def main(path: Path | None) -> None:
    """Write schemas/clickhouse/REFERENCE.md anew from the database of the settings, which must be migrated."""
    settings = servers.connected(settings_module.load(path), kafka=False)
    with Database(settings.clickhouse) as database:
        page = render(read(database))
    target = schemas_folder() / "clickhouse" / "REFERENCE.md"
    target.write_text(page, encoding="utf-8")
    click.echo(f"{target}: {page.count(chr(10) + '## ')} tables and views")


if __name__ == "__main__":
    main()
