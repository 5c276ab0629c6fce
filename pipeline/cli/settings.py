"""`trainwatch settings`: every setting with its value, default and meaning; secrets stay hidden."""

from typing import Any

import click
import orjson
from pydantic import BaseModel

from pipeline import settings as settings_module
from pipeline.cli import Options, examples, say_json
from pipeline.cli.console import build_table, safe, stdout
from pipeline.model.words import many


@click.command(epilog=examples("settings", "settings --json | jq .kafka", "settings --schema > trainwatch.schema.json   # for an editor"))
@click.option("--markdown", is_flag=True, help="The page schemas/SETTINGS.md: names, defaults, meanings.")
@click.option("--schema", is_flag=True, help="A JSON Schema of the file, by which editors complete and check it.")
@click.option("--json", "as_json", is_flag=True, help="Effective values as one JSON object.")
@click.pass_obj
def settings(options: Options, *, markdown: bool, schema: bool, as_json: bool) -> None:
    """Show the settings in force.  Exit 0; 2 when they are wrong."""
    if markdown:
        click.echo(markdown_page(), nl=False)
        return
    if schema:
        described = {"$schema": "https://json-schema.org/draft/2020-12/schema", **settings_module.Settings.model_json_schema()}
        say_json(orjson.dumps(described, option=orjson.OPT_INDENT_2))
        return
    effective = options.settings
    if as_json:
        say_json(orjson.dumps(effective.model_dump(mode="json"), option=orjson.OPT_INDENT_2))
        return
    values = dict(_values(effective, ""))
    table = build_table("Settings", "name", "value", "default", "meaning")
    for name, default, description in settings_module.table():
        table.add_row(safe(name), safe(values[name]), safe(default), safe(description))
    stdout().print(table)


PAGE_HEAD = """# Settings

Written by `trainwatch settings --markdown`.  In the environment `kafka.group` is `TRAINWATCH_KAFKA__GROUP`.
"""


def markdown_page() -> str:
    """The page schemas/SETTINGS.md."""
    lines = [PAGE_HEAD, "| setting | default | meaning |", "|---|---|---|"]
    lines += [
        f"| `{name}` | {default.replace('|', chr(92) + '|')} | {description} |" for name, default, description in settings_module.table()
    ]
    return "\n".join(lines) + "\n"


def _values(part: BaseModel, prefix: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name in type(part).model_fields:
        value: Any = getattr(part, name)
        if isinstance(value, BaseModel):
            found += _values(value, f"{prefix}{name}.")
        elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
            found.append((f"{prefix}{name}", many(len(value), "entry", "entries")))
        else:
            found.append((f"{prefix}{name}", str(value)))
    return found
