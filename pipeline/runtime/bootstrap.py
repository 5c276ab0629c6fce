"""Lists of jobs that a scheduler printed in; records for its input topic out.

One record a job, its key the job, its time when the list was taken.  They travel as every other record does, so that nothing about a cold
start is special after ingest: the same list gives the same events, however often it is sent.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO
from zlib import crc32
from zoneinfo import ZoneInfo

import msgspec

from pipeline.errors import ConfigError
from pipeline.formats.line import Line, Reading
from pipeline.formats.listing import read_listing
from pipeline.formats.listing_kubernetes import OWNER_NAMES
from pipeline.formats.payloads import bootstrap
from pipeline.formats.payloads.bootstrap import ListedJob
from pipeline.ingest.reading import SourceReader
from pipeline.model.outcome import Record
from pipeline.settings import Settings

LIST_BYTES_MAX = 512 << 20
PROGRAM = "bootstrap"  # the `source` header, unless told otherwise: settings find zone and cluster by it
STDIN = Path("-")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What lists do not tell themselves."""

    taken: int  # UTC ms: history begins then
    zone: ZoneInfo | None = None  # of times without offset; None: that of the source in the settings
    program: str = PROGRAM
    topic: str = ""  # empty: the first of the scheduler family
    owner_names: tuple[str, ...] = ()  # of labels and annotations, before the usual ones


class ColdStart(msgspec.Struct, frozen=True):
    """What was read."""

    cluster: str
    taken: int
    jobs: tuple[ListedJob, ...]
    refused: tuple[str, ...]
    records: tuple[Record, ...]


def read_lists(paths: Sequence[Path], options: Options, settings: Settings) -> ColdStart:
    """All jobs of the lists that are not over.  Raises ConfigError for a file that cannot be read or is no such list."""
    topic = _topic(options.topic, settings)
    source = SourceReader(settings).reading_of(topic, Line(payload=b"", program=options.program))
    reading = Reading(zone=options.zone or source.zone, reference_time=options.taken)
    jobs: list[ListedJob] = []
    refused: list[str] = []
    records: list[Record] = []
    for path in paths or (STDIN,):
        listing = read_listing(_bytes(path), reading, (*options.owner_names, *OWNER_NAMES))
        jobs += listing.jobs
        refused += listing.refused
        records += _records(listing.jobs, options, listing.kind, topic)
    return ColdStart(source.cluster, options.taken, tuple(jobs), tuple(refused), tuple(records))


def write_records(records: Iterable[Record], stream: IO[str]) -> None:
    """As files of records, which `replay` and `analyse` read."""
    for record in records:
        line = {
            "timestamp": record.timestamp,
            "headers": {name: data.decode() for name, data in record.headers},
            "key": (record.key or b"").decode(),
            "value": (record.value or b"").decode(),
        }
        stream.write(json.dumps(line, ensure_ascii=False) + "\n")


def _records(jobs: Iterable[ListedJob], options: Options, listed_by: str, topic: str) -> Iterator[Record]:
    """The partition is that of the key in any number of partitions, as for `read_files`."""
    headers = (("source", options.program.encode()), ("collected", b"%d" % options.taken))
    for offset, job in enumerate(jobs):
        key = job.job.encode()
        value = bootstrap.encode(job, options.taken, listed_by)
        yield Record(topic=topic, partition=crc32(key), offset=offset, timestamp=options.taken, value=value, key=key, headers=headers)


def _topic(named: str, settings: Settings) -> str:
    topics = settings.kafka.scheduler_topics
    if named and named not in topics:
        raise ConfigError(f"{named} is no topic of the scheduler family", advice=f"Use one of: {', '.join(topics)}.")
    if not topics:
        raise ConfigError("settings name no topic of the scheduler family", advice="Set kafka.scheduler_topics.")
    return named or topics[0]


def _bytes(path: Path) -> bytes:
    try:
        if path == STDIN:
            text = sys.stdin.buffer.read(LIST_BYTES_MAX + 1)
        else:
            with path.open("rb") as stream:
                text = stream.read(LIST_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", advice="Name files that you may read.") from error
    if len(text) > LIST_BYTES_MAX:
        raise ConfigError(f"{path}: more than {LIST_BYTES_MAX >> 20} MiB", advice="List one partition or namespace at a time.")
    return text
