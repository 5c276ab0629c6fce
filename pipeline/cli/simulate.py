"""`trainwatch simulate`: a seed in, a folder with a simulated period out.

    logs.training.jsonl  logs.scheduler.jsonl  logs.access.jsonl    Kafka records, one JSON object a line, in order of timestamp
    truth.json                                                      what was planted, and why every job ended
    trainwatch.yaml                                                 settings of the simulated site

A record is {"timestamp", "key", "headers", "value"}; a value that is no UTF-8 stands as "value_base64" instead.
"""

import base64
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import orjson
import yaml

from pipeline.cli import say
from pipeline.errors import ConfigError
from pipeline.simulate import TOPICS, Record, Week
from pipeline.simulate import simulate as run


@click.command()
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same bytes.")
@click.option("--days", type=click.FloatRange(min=1), default=7.0, show_default=True, help="Length of the period.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder to write, made when missing.")
def simulate(seed: int, days: float, out: Path) -> None:
    """Write the log records of a simulated cluster, with the truth about them.

    Exit 0: written; 1: the folder cannot be written; 2: wrong usage.
    """
    week = run(seed, days)
    say(f"simulated {days:g} days: {len(week.records)} records, {len(week.jobs)} jobs, {len(week.acts)} acts of interference")
    try:
        write(week, out)
    except OSError as error:
        raise ConfigError(f"cannot write {out}: {error}", advice="Name a folder that you may write, with --out.") from error
    for topic in TOPICS:
        click.echo(f"{out / topic}.jsonl  {week.counts[topic]} records")
    click.echo(f"{out / 'truth.json'}  {len(week.acts)} acts, {len(week.jobs)} jobs")
    click.echo(f"{out / 'trainwatch.yaml'}  settings of the simulated site")


def write(week: Week, folder: Path) -> None:
    """Write all files of a simulated period into `folder`.  Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as open_files:
        files = {topic: open_files.enter_context((folder / f"{topic}.jsonl").open("wb")) for topic in TOPICS}
        for record in week.records:
            files[record.topic].write(orjson.dumps(_as_json(record), option=orjson.OPT_APPEND_NEWLINE))
    (folder / "truth.json").write_bytes(orjson.dumps(week.truth(), option=orjson.OPT_INDENT_2))
    (folder / "trainwatch.yaml").write_text(yaml.safe_dump(week.settings, sort_keys=False), encoding="utf-8")


def _as_json(record: Record) -> dict[str, Any]:
    key = None if record.key is None else record.key.decode()
    fields: dict[str, Any] = {"timestamp": record.timestamp, "key": key, "headers": _headers(record.headers)}
    try:
        fields["value"] = record.value.decode()
    except UnicodeDecodeError:
        fields["value_base64"] = base64.b64encode(record.value).decode()
    return fields


def _headers(headers: Sequence[tuple[str, bytes]]) -> dict[str, str]:
    return {name: data.decode() for name, data in headers}
