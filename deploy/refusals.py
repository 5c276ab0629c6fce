"""Invalid examples of `schemas/examples` in, `schemas/examples/REFUSED.md` out: which error each gives, in the words of whoever reads it.

    .venv/bin/python -m deploy.refusals

For whoever writes such values and asks what a line of `trainwatch dlq list` or of `label --from-topic` means.  Sealed ranges and dead
letters are left out: the first need the site's keys, the second nobody reads back but `dlq`; their file names say what is wrong.  A test
compares the file with what this makes.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import click

from pipeline.errors import RejectedRecord
from pipeline.formats import registry
from pipeline.formats.line import Line, Reading
from pipeline.model.outcome import Record, Rejected
from pipeline.runtime import labelling
from pipeline.settings import Settings, schemas_folder
from pipeline.sink.step import build_state, step
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import NOTHING

HEAD = """# What invalid examples give

Made by `deploy/refusals.py` from the files `NAME/v1/invalid/*.json`; the values beside those folders are valid. `trainwatch dlq list`
counts refused records by these codes, which also begin the files' names.
"""


WORDS_MAX = 160
BAR = "\\|"  # as a table of Markdown takes it
READING = Reading(zone=ZoneInfo("UTC"), reference_time=1_772_480_442_000)  # when examples were collected, after the time they tell

Refused = tuple[str, str]  # code, words
Reader = Callable[[bytes], Iterator[Refused]]


def parsed(value: bytes) -> Iterator[Refused]:
    """What the registry of formats says of a line."""
    try:
        registry.parse(Line(payload=value.rstrip()), READING)
    except RejectedRecord as error:
        yield error.code, str(error)


def labelled(value: bytes) -> Iterator[Refused]:
    """What the reader of labels says."""
    try:
        labelling.read(value)
    except RejectedRecord as error:
        yield error.code, str(error)


def stored(topic: str) -> Reader:
    """What the sink says of a value of a public topic."""

    def read(value: bytes) -> Iterator[Refused]:
        record = Record(topic=topic, partition=0, offset=0, timestamp=0, value=value)
        for outcome in step(build_state(Settings(), Cases()), [record], NOTHING)[1]:
            if isinstance(outcome, Rejected):
                yield outcome.code, outcome.reason

    return read


READERS: dict[str, tuple[str, Reader]] = {
    "trainwatch_probe": ("lines of the probe, by their parser", parsed),
    "trainwatch.labels": ("by `trainwatch label --from-topic`", labelled),
    **{f"trainwatch.{name}": ("by the sink", stored(f"trainwatch.{name}.v1")) for name in (
        "enriched", "findings", "incidents", "verdicts")},
}  # fmt: skip


def render(folder: Path | None = None) -> str:
    """The file."""
    folder = folder or schemas_folder() / "examples"
    parts = [HEAD]
    for name, (title, read) in READERS.items():
        rows = [row(path, read) for path in sorted((folder / name / "v1" / "invalid").glob("*.json"))]
        parts.append("\n".join((f"## {name}: {title}\n", "| file | error | words |", "|---|---|---|", *rows, "")))
    return "\n".join(parts)


def row(path: Path, read: Reader) -> str:
    """One example."""
    ((code, words),) = read(path.read_bytes())
    words = words if len(words) <= WORDS_MAX else f"{words[:WORDS_MAX]} …"
    return f"| `{path.name}` | `{code}` | {words.replace('|', BAR)} |"


@click.command()
def main() -> None:
    """Write schemas/examples/REFUSED.md anew."""
    target = schemas_folder() / "examples" / "REFUSED.md"
    target.write_text(render(), encoding="utf-8")
    click.echo(str(target))


if __name__ == "__main__":
    main()
