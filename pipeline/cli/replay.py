"""`trainwatch replay FILES...`: log files in, records on the input topics out, as shippers would have sent them.

Also the options by which `analyse` reads the same files: both must get the same records.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from pipeline.cli import Options, complain, examples, say, say_json
from pipeline.cli.meter import FilesRead, meter
from pipeline.cli.times import Moment, Number
from pipeline.errors import RecordTooLarge
from pipeline.model.words import many

if TYPE_CHECKING:
    from pipeline.model.outcome import Record
    from pipeline.runtime.files import FileOptions
    from pipeline.runtime.replay import Refused, Sent
    from pipeline.settings import Settings

REFUSED = 3
DRAWN_EVERY = 500  # records
MIB = 1 << 20

Command = TypeVar("Command", bound=Callable[..., Any])


def reading_options(command: Command) -> Command:
    """FILES and the options that say what raw log files do not tell themselves."""
    for decorate in reversed((
        click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)),
        click.option("--source", default="", help="Program that wrote the lines, e.g. sshd or auditd."),
        click.option("--host", default="", help="Host that wrote the lines, where they do not say it."),
        click.option("--topic", default="", help="training, scheduler or access, or an input topic; default: by the format of the lines."),
        click.option(
            "--collected", type=Moment(), help="When the files were collected, with offset; needed where lines tell no time or no year."
        ),
    )):  # fmt: skip
        command = decorate(command)
    return command


def file_options(*, source: str, host: str, topic: str, collected: int | None) -> "FileOptions":
    """The options as the reader takes them."""
    from pipeline.runtime.files import FileOptions  # noqa: PLC0415  keeps --help quick

    return FileOptions(source=source, host=host, topic=topic, collected=collected)


def with_broker(settings: "Settings") -> "Settings":
    """Settings that name the broker: the site's, else the embedded one.  Raises ServerFailed."""
    from pipeline.embedded import servers  # noqa: PLC0415  keeps --help quick

    return servers.connected(settings, clickhouse=False)


@click.command(
    epilog=examples(
        "replay --topic access --host gpu-012 audit.log",
        "replay --rate 2000 slurmctld.log",
        "replay logs.access.jsonl logs.scheduler.jsonl logs.training.jsonl --final",
    )
)
@reading_options
@click.option("--rate", type=Number(min=0, min_open=True), help="Records a second; default: as fast as the broker takes them.")
@click.option("--final", is_flag=True, help="Then end every partition of the input topics: what is open is judged, as at the end of files.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.pass_context
def replay(ctx: click.Context, /, files: tuple[Path, ...], rate: float | None, final: bool, as_json: bool, **known: Any) -> None:
    """Send log files to the input topics, as shippers would, in order of their times.

    FILES are raw logs, one record a line, or files of `trainwatch simulate` (*.jsonl).  Each record carries the time at which its
    shipper would have collected it, which is found in the lines: replayed twice, a file gives the same records.

    Exit 0: all sent; 1: the broker does not answer; 2: a topic or file is missing, or needs an option; 3: all sent but records that
    are larger than the broker accepts, which are named.
    """
    from pipeline.runtime.files import read_files  # noqa: PLC0415  keeps --help quick
    from pipeline.runtime.replay import send  # noqa: PLC0415

    settings = with_broker(ctx.ensure_object(Options).settings)
    read = FilesRead(files)
    records = read_files(files, file_options(**known), settings, read)
    begun = time.monotonic()
    with metered("sending", records, read, quiet=as_json) as counted:
        sent = send(settings, counted, final=final, rate=rate)
    report(sent, time.monotonic() - begun, as_json=as_json)
    ctx.exit(REFUSED if sent.refused else 0)


@contextmanager
def metered(doing: str, records: Iterable["Record"], read: FilesRead | None = None, *, quiet: bool = False) -> Iterator[Iterator["Record"]]:
    """The records, and a line on the terminal that counts them: with the time that is left where `read` knows the files they come from."""
    with meter(doing, quiet=quiet) as line:

        def counted() -> Iterator["Record"]:
            size = 0
            line.begin()
            for number, record in enumerate(records, start=1):
                size += len(record.value or b"")
                if number % DRAWN_EVERY == 0:
                    text = f"{doing}: {many(number, 'record')}, {size / MIB:,.1f} MiB, {line.rate(number)} records/s"
                    line.tell(text, *((read.done, read.total) if read else ()))
                yield record

        yield counted()


def report(sent: "Sent", seconds: float, *, as_json: bool) -> None:
    """What was sent, and what was not."""
    for refused in sent.refused:
        complain(_error(refused))
    if as_json:
        say_json(msgspec.json.encode({"seconds": round(seconds, 3), **msgspec.to_builtins(sent)}))
        return
    say(
        f"{many(sent.records, 'record')}, {sent.bytes / MIB:.1f} MiB in {seconds:.1f} s, "
        f"{sent.records / max(seconds, 0.001):,.0f} records/s"
    )
    for topic, count in sent.by_topic.items():
        if count:
            click.echo(f"{topic}  {many(count, 'record')}")
    if sent.final:
        say("all partitions of the input topics are ended")


def _error(refused: "Refused") -> RecordTooLarge:
    where = f"{refused.file or refused.topic}, byte {refused.offset or '?'}"
    return RecordTooLarge(
        f"{where}: a record of {many(refused.bytes, 'byte')} was not sent: {refused.topic} accepts {refused.limit:,}",
        advice="Raise max.message.bytes of the topic, or leave the line out; trainwatch dead-letters lines above ingest.record_bytes_max.",
    )
