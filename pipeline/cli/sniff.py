"""`trainwatch sniff [FILE ...]`: a sample of a log in; what it is, what would be read of it, and the settings lines for it out.

Nothing is sent and nothing is stored.  What is shown was written by whoever wrote the log, so every text is made harmless.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click
import msgspec

from pipeline.cli import Options, examples, say, say_json
from pipeline.cli.console import build_table, moment, safe, stdout
from pipeline.cli.replay import metered, with_broker
from pipeline.cli.times import Moment, Zone, now_ms
from pipeline.errors import ConfigError
from pipeline.model.words import many

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.formats.sniff import Count, Report
    from pipeline.formats.sniff_settings import Origin
    from pipeline.model.outcome import Record
    from pipeline.settings import Settings

UNCLAIMED = 1
BLOCK_BYTES = 1 << 16
EXAMPLE_CHARS = 160
STDIN = Path("-")
# First bytes of files that hold a log in another form, and what makes lines of it.
PACKED = (
    (b"\x1f\x8b", "zcat"), (b"\x28\xb5\x2f\xfd", "zstdcat"), (b"\xfd7zXZ\x00", "xzcat"), (b"BZh", "bzcat"), (b"PK\x03\x04", "unzip -p"),
)  # fmt: skip


@click.command(epilog=examples("sniff auth.log", "sniff slurmctld.log --zone Europe/Berlin", "sniff --topic logs.unknown"))
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--topic", default="", help="Look at the newest records of this topic instead.")
@click.option("--limit", type=click.IntRange(1, 10_000_000), default=10_000, show_default=True, help="Records looked at, of each sample.")
@click.option("--zone", type=Zone(), help="Zone of times without offset; default: the settings', by topic, program and file.")
@click.option("--collected", type=Moment(), help="When files were collected, with offset: tells the year of times without; default: now.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.pass_context
def sniff(
    ctx: click.Context,
    /,
    files: tuple[Path, ...],
    topic: str,
    limit: int,
    zone: ZoneInfo | None,
    collected: int | None,
    as_json: bool,
) -> None:
    """Tell what a log is: envelope, formats, what is extracted, what is lost, and the settings lines for it.

    FILES are raw logs, or files of `trainwatch simulate` (*.jsonl), read as `trainwatch replay` reads them; `-` is standard input.

    Exit 0: every line is claimed and read; 1: some lines are not, or there are none, or the broker does not answer; 2: wrong usage.
    """
    if bool(files) == bool(topic):
        raise click.UsageError("name files, or - for standard input, or a --topic")
    settings = ctx.ensure_object(Options).settings
    told = collected or now_ms()
    if topic:
        from pipeline.runtime.sampling import newest  # noqa: PLC0415  keeps --help quick

        records = newest(with_broker(settings).kafka, topic, limit)
        results = [_sniffed(records, topic, settings, zone, told, topic=topic)]
    else:
        results = [_sniffed(islice(_read(file), limit), str(file), settings, zone, told, file=_name_of(file)) for file in files]
    if as_json:
        say_json(msgspec.json.encode({"samples": [_as_object(*result, settings) for result in results]}))
    else:
        for name, report, origin in results:
            _show(stdout(), name, report, origin, settings, limit)
    ctx.exit(0 if all(report.claimed and report.lines for _, report, _ in results) else UNCLAIMED)


def _sniffed(
    records: "Iterable[Record]", name: str, settings: "Settings", zone: ZoneInfo | None, collected: int, *, topic: str = "", file: str = ""
) -> "tuple[str, Report, Origin]":
    from pipeline.formats.line import Line  # noqa: PLC0415  keeps --help quick
    from pipeline.formats.sniff import Known, Sniffer  # noqa: PLC0415
    from pipeline.formats.sniff_settings import Origin  # noqa: PLC0415
    from pipeline.ingest.reading import DEFAULT, SourceReader  # noqa: PLC0415

    source = SourceReader(settings).reading_of(topic, Line(payload=b"", file=file))
    zone_is_known = zone is not None or source.zone.key != DEFAULT.zone
    known = Known(
        zone=zone or source.zone, reference_time=collected, host=source.host, job=source.job, json_keys=source.json_keys,
        columns=source.columns, of_job=source.of_job,
    )  # fmt: skip
    sniffer = Sniffer(known)
    headers = (("file", os.fsencode(file)),) if file else ()
    try:
        with metered(f"sniffing {safe(name)}", records) as counted:
            for record in counted:
                sniffer.feed(record.value or b"", record.headers or headers, record.timestamp or None)
    except KeyboardInterrupt:  # of a stream that does not end
        say("interrupted: what was read so far")
    return name, sniffer.report(), Origin(topic=topic, file=file, zone=known.zone.key, zone_is_known=zone_is_known)


def _name_of(file: Path) -> str:
    return "" if file == STDIN else file.name


# --- reading


def _read(file: Path) -> "Iterator[Record]":
    """The records of a file as `replay` would take them.  Raises ConfigError."""
    from pipeline.runtime.files import read_untold, untold_lines  # noqa: PLC0415  keeps --help quick

    if file == STDIN:
        return untold_lines(_unpacked(_standard_input(), "standard input"), "standard input")
    try:
        with file.open("rb") as opened:
            head = opened.read(8)
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}", advice="Name files that you may read.") from error
    for _ in _unpacked(iter([head]), str(file)):
        pass
    return read_untold(file)


def _standard_input() -> Iterator[bytes]:
    stream = click.get_binary_stream("stdin")
    read = getattr(stream, "read1", stream.read)  # what has come, without waiting for a whole block
    while block := read(BLOCK_BYTES):
        yield block


def _unpacked(blocks: Iterator[bytes], name: str) -> Iterator[bytes]:
    """The blocks.  Raises ConfigError when they are a packed file: `replay` and shippers read plain text too."""
    first = next(blocks, b"")
    for start, command in PACKED:
        if first.startswith(start):
            raise ConfigError(f"{name} is packed", advice=f"Unpack it: {command} FILE | trainwatch sniff -")
    yield first
    yield from blocks


# --- telling


def _topics(settings: "Settings") -> dict[str, tuple[str, ...]]:
    kafka = settings.kafka
    return {"training": kafka.training_topics, "scheduler": kafka.scheduler_topics, "access": kafka.access_topics}


def _as_object(name: str, report: "Report", origin: "Origin", settings: "Settings") -> dict[str, Any]:
    from pipeline.formats.sniff_settings import settings_lines  # noqa: PLC0415  keeps --help quick

    lines = settings_lines(report, origin, _topics(settings))
    return {"sample": name, "claimed": report.claimed, "families": report.families, **msgspec.to_builtins(report), "settings": lines}


def _show(console: "Console", name: str, report: "Report", origin: "Origin", settings: "Settings", limit: int) -> None:
    from pipeline.formats.sniff_settings import settings_lines  # noqa: PLC0415  keeps --help quick

    first = f", the {'newest' if origin.topic else 'first'} {limit:,}" if report.records >= limit else ""
    console.print(
        f"[bold]{safe(name)}[/bold]: {many(report.records, 'record')}{first}, {many(report.lines, 'line')}; confidence {report.confidence}"
    )
    if not report.lines:
        console.print("no line holds any text")
        return
    parts = [(word, getattr(report, word)) for word in ("typed", "generic", "quiet", "broken", "unclaimed")]
    console.print("  " + ", ".join(f"{word} {count:,} ({count / report.lines:.1%})" for word, count in parts if count))
    for note in _notes(report):
        console.print(f"  {note}", soft_wrap=True)
    _show_formats(console, report)
    _show_extracted(console, report)
    _show_lost(console, report)
    if lines := settings_lines(report, origin, _topics(settings)):
        console.print("Settings lines for trainwatch.yaml:")
        for line in lines:
            click.echo(line)


def _notes(report: "Report") -> Iterator[str]:
    if report.envelopes:
        yield "envelope: " + ", ".join(f"{safe(name)} {count:,}" for name, count in report.envelopes.items())
    odd = (
        ("blank", "blank"),
        ("truncated", "cut by the shipper"),
        ("pieces", "that are pieces of lines a runtime split: read when they are together"),
        ("crlf", "ending in CR LF"),
        ("binary", "that are not text"),
    )
    for field, words in odd:
        if count := getattr(report, field):
            yield f"{many(count, 'line')} {words}"
    if report.document:
        yield "this looks like one JSON document over many lines; a record is one line: jq -c . FILE, or jq -c '.[]' FILE for a list"
    if len(report.families) > 1:
        yield f"lines of several families: list the topic under each of {', '.join(report.families)}"


def _show_formats(console: "Console", report: "Report") -> None:
    if not report.formats:
        return
    table = build_table("Formats", "format", "family", "lines", "share", "typed", "generic", "quiet", "broken", "could be read by")
    for share in report.formats:
        counts = [f"{count:,}" for count in (share.typed, share.generic, share.quiet, share.broken)]
        rivals = ", ".join(f"{safe(name)} {count}" for name, count in share.rivals.items())
        table.add_row(share.format, share.family, f"{share.lines:,}", f"{share.lines / report.lines:.1%}", *counts, rivals)
    console.print(table)


def _show_extracted(console: "Console", report: "Report") -> None:
    if report.kinds:
        table = build_table("Extracted", "event", "count", "fields of the first")
        for kind in report.kinds:
            fields = "; ".join(f"{safe(name)}={safe(text, 80)}" for name, text in kind.example.items())
            table.add_row(safe(kind.kind), f"{kind.count:,}", fields)
        console.print(table)
    for words, names, total in (
        ("hosts", report.hosts, report.hosts_total),
        ("jobs", report.jobs, report.jobs_total),
        ("programs", report.programs, len(report.programs)),
        ("passed through unread", report.unmapped, report.unmapped_total),
    ):
        if names:
            console.print(f"{words}: {_counted(names, total)}", soft_wrap=True)
    _show_times(console, report)


def _counted(names: "Sequence[Count]", total: int) -> str:
    shown = ", ".join(f"{safe(each.name, 60)} {each.count:,}" for each in names[:8])
    return f"{shown} and {total - 8} more" if total > 8 else shown


def _show_times(console: "Console", report: "Report") -> None:
    from pipeline.formats.sniff_settings import offset_text  # noqa: PLC0415  keeps --help quick

    times = report.times
    parts = []
    if times.earliest is not None:
        parts.append(f"{moment(times.earliest)} to {moment(times.latest)}")
        parts.append(f"{times.with_zone:,} with zone or UTC by format, {times.without_zone:,} without zone")
    if times.without_year:
        parts.append(f"{times.without_year:,} without year")
    if times.none:
        parts.append(f"{many(times.none, 'event')} without time")
    if times.likely_offset_minutes is not None:
        parts.append(f"those without zone were likely written at {offset_text(times.likely_offset_minutes)}")
    if parts:
        console.print("times: " + "; ".join(parts), soft_wrap=True)


def _show_lost(console: "Console", report: "Report") -> None:
    if report.lost:
        table = build_table("Lost: claimed and not read", "by", "code", "reason", "lines", "first")
        for lost in report.lost:
            table.add_row(safe(lost.by), safe(lost.code), safe(lost.reason), f"{lost.count:,}", safe(lost.example, EXAMPLE_CHARS))
        console.print(table)
    if report.shapes:
        table = build_table("Unclaimed shapes", "lines", "shape", "first")
        for shape in report.shapes:
            table.add_row(f"{shape.count:,}", safe(shape.shape, EXAMPLE_CHARS), safe(shape.example, EXAMPLE_CHARS))
        console.print(table)
        if report.other_shapes:
            console.print(f"and {report.other_shapes:,} unclaimed lines of other shapes")
