"""Log files in; the records that shippers would have made of them out, in order of collection.  One reader for `replay` and `analyse`.

    raw log      one record per line, LF taken off; what is known of the line stands in headers: source, host, file, offset, collected
    *.jsonl      records as `trainwatch simulate` writes them, taken as they are; the topic is the name of the file

Both commands get the same bytes, so they find the same.  Neither the file's own times nor the clock enter: the collected time of a line is
the greatest time that the formats have found in the file up to it, as if a shipper had followed the file while it grew.  Lines before
the first time take that one; a file without any, or whose times lack the year, needs to be told when it was collected.

    line          [12:00:07] start   step 1     [12:00:05] late   [12:01:00] end
    collected     12:00:07           12:00:07   12:00:07          12:01:00

Holds: a file is never in memory as a whole, nor open between two blocks (a thousand files must not be a thousand descriptors); records
of one file keep their order; files are merged by collected time, equal times in the order in which the files were named.
"""

import base64
import heapq
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from zlib import crc32

import msgspec

from pipeline.errors import ConfigError, RejectedRecord
from pipeline.formats import registry
from pipeline.formats.fields import EVENT_TIME_MAX, EVENT_TIME_MIN
from pipeline.formats.line import Line, Reading
from pipeline.ingest.reading import SourceReader, SourceReading
from pipeline.model.outcome import Record
from pipeline.model.source import FAMILIES
from pipeline.settings import Settings

BLOCK_BYTES = 256 << 10
LINE_BYTES_MAX = 64 << 20  # more is not a log line; it would have to be held in memory as one
SNIFFED_LINES = 2000  # looked at for the family of a file
SNIFFED_CLAIMS = 25  # claimed lines that settle it
# Two collections so far apart that a time without year falls into different years; a clock set back moves it by hours at most.
EARLY, LATE = 1_015_000_000_000, 2_561_000_000_000
YEARLESS_MS = 86_400_000

Seen = Callable[[int], None]  # bytes of the files that were read further, for whoever watches

FAMILY_OF = {source: family for family, sources in FAMILIES.items() for source in sources}
_RECORD_START = re.compile(rb'\s*\{\s*"timestamp"\s*:')


class FileOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the person at the terminal knows of raw files; files of records say it themselves."""

    source: str = ""  # the program that wrote the lines
    host: str = ""
    topic: str = ""  # training | scheduler | access, or the name of an input topic; empty: by format
    collected: int | None = None  # UTC ms: for files without times, and the year of times without one


class _Read(msgspec.Struct, frozen=True, gc=False):
    """One record before its partition is known."""

    time: int
    topic: str
    value: bytes | None
    key: bytes | None
    headers: tuple[tuple[str, bytes], ...]


class _Shipped(msgspec.Struct, frozen=True, gc=False):
    """One line of a file of records."""

    timestamp: int
    headers: dict[str, str]
    key: str | None = None
    value: str | None = None
    value_base64: str | None = None


_decode_shipped = msgspec.json.Decoder(_Shipped).decode


def _unseen(_: int) -> None:
    """Nobody watches."""


def read_files(paths: Sequence[Path], options: FileOptions, settings: Settings, seen: Seen = _unseen) -> Iterator[Record]:
    """All records of the files, merged by collected time; `seen` hears how much was read, which is the size of all files in the end.

    A record without key goes to the partition of its number in the topic, one with a key to that of the key's CRC-32; whoever
    takes them knows how many partitions there are.  Raises ConfigError: at once for what a file does not tell, later for what
    cannot be read.
    """
    names = _relative_names(paths)
    readers = [_reader(path, name, options, settings, seen) for path, name in zip(paths, names, strict=True)]
    return _numbered(heapq.merge(*readers, key=_time))


def read_untold(path: Path) -> Iterator[Record]:
    """The records of one file as they lie in it, before anything is known of them: no topic, no time, no headers of their own."""
    _, first = next(_lines(path), (0, b""))
    if _holds_records(first):
        yield from _numbered(_records(path, "", _unseen))
        return
    yield from untold_lines(_blocks(path, _unseen), str(path))


def untold_lines(blocks: Iterable[bytes], name: str) -> Iterator[Record]:
    """The same of the bytes of a raw log, from wherever they come.  Raises ConfigError."""
    for offset, line in _split(blocks, name):
        yield Record(topic="", partition=0, offset=offset, timestamp=0, value=line, key=None, headers=())


def _time(read: _Read) -> int:
    return read.time


def _numbered(merged: Iterable[_Read]) -> Iterator[Record]:
    numbers: dict[str, int] = {}
    for read in merged:
        number = numbers.get(read.topic, 0)
        numbers[read.topic] = number + 1
        yield Record(
            topic=read.topic,
            partition=number if read.key is None else crc32(read.key),
            offset=number,
            timestamp=read.time,
            value=read.value,
            key=read.key,
            headers=read.headers,
        )


def _relative_names(paths: Sequence[Path]) -> list[str]:
    """Each file relative to the folder that holds all of them: the same wherever that folder lies."""
    absolute = [os.path.abspath(path) for path in paths]
    if not absolute:
        return []
    common = os.path.commonpath([os.path.dirname(path) for path in absolute])
    return [os.path.relpath(path, common) for path in absolute]


def _reader(path: Path, name: str, options: FileOptions, settings: Settings, seen: Seen) -> Iterator[_Read]:
    _, first = next(_lines(path), (0, b""))
    if _holds_records(first):
        return _records(path, _topic_of_records(path, options, settings), seen)
    return RawFile(path, name, options, settings).records(seen)


# --- files of records


def _holds_records(first: bytes) -> bool:
    if not _RECORD_START.match(first):
        return False
    try:
        _decode_shipped(first)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
    return True


def _topic_of_records(path: Path, options: FileOptions, settings: Settings) -> str:
    """`logs.training.jsonl` holds records of `logs.training`, or of what the site calls its training topic."""
    if options.topic:
        return _topic_named(options.topic, settings)
    topic = path.name.removesuffix(path.suffix)
    if topic in settings.kafka.input_topics:
        return topic
    family = topic.rsplit(".", maxsplit=1)[-1]
    if family in FAMILIES:
        return _topic_named(family, settings)
    raise ConfigError(f"{path}: its name is not that of an input topic", advice="Say where its records belong, with --topic.")


def _records(path: Path, topic: str, seen: Seen) -> Iterator[_Read]:
    for offset, line in _lines(path, seen):
        if not line.strip():
            continue
        try:
            shipped = _decode_shipped(line)
            value = None if shipped.value is None else shipped.value.encode()
            if shipped.value_base64 is not None:
                value = base64.b64decode(shipped.value_base64, validate=True)
        except (msgspec.MsgspecError, ValueError) as error:
            advice = "Every line must be a record as `trainwatch simulate` writes them; was the file cut off?"
            raise ConfigError(f"{path}: no record at byte {offset}: {error}", advice=advice) from error
        headers = tuple((name, text.encode()) for name, text in shipped.headers.items())
        yield _Read(shipped.timestamp, topic, value, None if shipped.key is None else shipped.key.encode(), headers)


# --- raw log files


class RawFile:
    """One raw log file, its topic and its first time found out.  Raises ConfigError for what it does not tell."""

    def __init__(self, path: Path, name: str, options: FileOptions, settings: Settings) -> None:
        self._path, self._options = path, options
        self._sources = SourceReader(settings)
        self._ahead_ms = settings.ingest.future_seconds_max * 1000
        headers = [("source", options.source.encode()), ("host", options.host.encode()), ("file", os.fsencode(name))]
        self._headers = tuple((header, data) for header, data in headers if data)
        self.topic = _topic_named(options.topic, settings) if options.topic else self._sniffed_topic(settings)
        self.first_time = self._first_time()

    def records(self, seen: Seen) -> Iterator[_Read]:
        """One per line."""
        collected = self.first_time
        for offset, line in _lines(self._path, seen):
            headers = (*self._headers, ("offset", b"%d" % offset))
            told = self._told(line, headers, self._options.collected or collected)
            if told is not None and (self._options.collected is None or told <= self._options.collected + self._ahead_ms):
                collected = max(collected, told)
            yield _Read(collected, self.topic, line, None, (*headers, ("collected", b"%d" % collected)))

    def _sniffed_topic(self, settings: Settings) -> str:
        """The topic of the family that most of the first recognised lines belong to; equal shares: the one seen first."""
        families: Counter[str] = Counter()
        for _, value in islice(_lines(self._path), SNIFFED_LINES):
            for line, source in self._taken_apart(value, self._headers, ""):
                try:
                    format_, events = registry.parse(line, _reading(source, EARLY), source.format)
                except RejectedRecord:
                    continue
                families[FAMILY_OF[events[0].source if events else format_.source]] += 1
            if families.total() >= SNIFFED_CLAIMS:
                break
        if not families:
            message = f"{self._path}: no format reads any of its first {SNIFFED_LINES} lines"
            raise ConfigError(message, advice="Say what it is a log of, with --topic training, scheduler or access.")
        return _topic_named(families.most_common(1)[0][0], settings)

    def _first_time(self) -> int:
        told_at = self._options.collected
        for _, line in _lines(self._path):
            early, late = (self._told(line, self._headers, told_at or reference) for reference in (EARLY, LATE))
            if early is None or late is None:
                continue
            if abs(late - early) > YEARLESS_MS:
                message = f"{self._path}: its times have no year"
                raise ConfigError(message, advice="Say when it was collected, with --collected 2026-03-09T08:00:00+08:00.")
            if told_at is None or early <= told_at + self._ahead_ms:
                return early
        if told_at is None:
            message = f"{self._path}: no line tells its time"
            raise ConfigError(message, advice="Say when it was collected, with --collected 2026-03-09T08:00:00+08:00.")
        return told_at

    def _told(self, value: bytes, headers: Sequence[tuple[str, bytes]], reference: int) -> int | None:
        """The greatest time that the value tells of, UTC ms: the shipper's where its envelope has one."""
        times = []
        for line, source in self._taken_apart(value, headers, self.topic):
            if line.collected_time is not None:
                times.append(line.collected_time)
                continue
            try:
                _, events = registry.parse(line, _reading(source, reference), source.format)
            except RejectedRecord:
                continue
            times += [event.event_time for event in events if event.event_time is not None]
        return max((time for time in times if EVENT_TIME_MIN <= time < EVENT_TIME_MAX), default=None)

    def _taken_apart(self, value: bytes, headers: Sequence[tuple[str, bytes]], topic: str) -> list[tuple[Line, SourceReading]]:
        """The lines of a value with the settings of their source; none when the envelope is broken."""
        try:
            lines = registry.unwrap(value, headers)
        except RejectedRecord:
            return []
        return [(line, self._sources.reading_of(topic, line, self._sources.named(line, headers))) for line in lines]


def _reading(source: SourceReading, reference: int) -> Reading:
    return Reading(
        zone=source.zone, reference_time=reference, host=source.host, job=source.job, json_keys=source.json_keys, columns=source.columns
    )


def _topic_named(name: str, settings: Settings) -> str:
    """The input topic for `training`, `scheduler` or `access`, or the one that is called so."""
    kafka = settings.kafka
    if name in kafka.input_topics:
        return name
    topics = {"training": kafka.training_topics, "scheduler": kafka.scheduler_topics, "access": kafka.access_topics}.get(name)
    if topics is None:
        raise ConfigError(f"unknown topic {name!r}", advice=f"Use one of: {', '.join((*FAMILIES, *kafka.input_topics))}.")
    if not topics:
        raise ConfigError(f"settings name no topic of the {name} family", advice=f"Set kafka.{name}_topics.")
    return topics[0]


# --- lines


def _lines(path: Path, seen: Seen = _unseen) -> Iterator[tuple[int, bytes]]:
    """(byte offset, line without LF), as they come.  A last line without LF counts.  Raises ConfigError."""
    return _split(_blocks(path, seen), str(path))


def _split(blocks: Iterable[bytes], name: str) -> Iterator[tuple[int, bytes]]:
    pending, start = bytearray(), 0
    for block in blocks:
        head, *rest = block.split(b"\n")
        pending += head
        if len(pending) > LINE_BYTES_MAX:
            advice = "Is it a log file? Cut or leave out such a line."
            raise ConfigError(f"{name}: the line at byte {start} is longer than {LINE_BYTES_MAX >> 20} MiB", advice=advice)
        if not rest:
            continue
        yield start, bytes(pending)
        start += len(pending) + 1
        pending = bytearray(rest.pop())
        for line in rest:
            yield start, line
            start += len(line) + 1
    if pending:
        yield start, bytes(pending)


def _blocks(path: Path, seen: Seen) -> Iterator[bytes]:
    position = 0
    while True:
        try:
            with path.open("rb", buffering=0) as file:
                file.seek(position)
                block = file.read(BLOCK_BYTES)
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror}", advice="Name files that you may read.") from error
        if not block:
            return
        position += len(block)
        seen(len(block))
        yield block
