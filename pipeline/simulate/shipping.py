"""Lines in, as they are written on some machine; Kafka records out, as the machine's shipper would produce them.

A channel is one file (or plugin) behind one shipper: it keeps the byte offset, adds the delay of that shipper and never
overtakes itself, as a tail of a file does not.  Four envelopes occur: the raw line with headers, Filebeat's JSON, Vector's JSON,
and the JSON of an rsyslog template over `imfile` (so its own time is the read time, and the original prefix stays inside the
message).  Slurm's jobcomp plugin has none: the value is the event.

Besides delay there are the sins of real shipping: about one record in a thousand is delivered twice, byte for byte, a few values are broken
on the way, and some records come late, since a spool or a shipper without connection held them back.  Broken values are additional ones, so
that no event is lost by them.

Holds: records leave in order of their timestamps; the same calls give the same bytes.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from random import Random
from typing import NamedTuple

import orjson

from pipeline.simulate.clock import utc_ms

TRAINING = "logs.training"
SCHEDULER = "logs.scheduler"
ACCESS = "logs.access"
TOPICS = (TRAINING, SCHEDULER, ACCESS)

REDELIVERED_SHARE = 0.001


class Record(NamedTuple):
    """What a shipper puts into Kafka.  `timestamp` is when it was collected, UTC ms."""

    topic: str
    timestamp: int
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


class Shipper:
    """Collects what all channels send."""

    def __init__(self, dice: Random) -> None:
        self._dice = dice
        self._kept: list[Record] = []
        self.duplicates = 0
        self.late = {"spooled": 0, "cut_off": 0}  # lines that came later than their shipper takes, and why
        self.silent: frozenset[str] = frozenset()  # families of which nothing arrives

    def send(self, record: Record) -> None:
        """Take one record for delivery, now and then twice."""
        self._kept.append(record)
        if self._dice.random() < REDELIVERED_SHARE:
            self._kept.append(record)
            self.duplicates += 1

    def damage(self, count: int) -> dict[str, int]:
        """Add `count` broken values: JSON cut off before its message, or bytes that are not text.  Returns how many of which."""
        made = {"truncated_json": 0, "binary": 0}
        originals = [self._kept[self._dice.randrange(len(self._kept))] for _ in range(count * 3)]
        for number, original in enumerate(originals[:count]):
            if number % 2:
                value = bytes(self._dice.randrange(0x80, 0x100) for _ in range(self._dice.randrange(20, 200)))
                self._kept.append(Record(original.topic, original.timestamp, None, value, ()))
                made["binary"] += 1
            else:
                value = b'{"@timestamp":"' + utc_ms(original.timestamp).encode()[: self._dice.randrange(4, 24)]
                self._kept.append(Record(original.topic, original.timestamp, None, value, ()))
                made["truncated_json"] += 1
        return made

    def taken(self, until: int) -> list[Record]:
        """What was collected up to `until`, in order, which is then no longer kept: for those who write records as they come."""
        self._kept.sort(key=_timestamp)
        cut = bisect_right(self._kept, until, key=_timestamp)
        taken, self._kept = self._kept[:cut], self._kept[cut:]
        return taken

    def delivered(self) -> tuple[Record, ...]:
        """All records in order of their timestamps; equal ones in the order of sending."""
        self._kept.sort(key=_timestamp)
        return tuple(self._kept)


def _timestamp(record: Record) -> int:
    return record.timestamp


def _compact(event: Mapping[str, object]) -> bytes:
    """JSON in no more memory than it has bytes: orjson's own result keeps the buffer it was written into."""
    return bytes(memoryview(orjson.dumps(event)))


class Channel:
    """One file behind one shipper.  `delay` is the range of its delay in ms, `family` the source that the file is."""

    def __init__(self, shipper: Shipper, dice: Random, topic: str, delay: tuple[int, int], family: str = "") -> None:
        self._mute = family in shipper.silent
        self._shipper = shipper
        self._dice = dice
        self._topic = topic
        self._delay = delay
        self._latest = 0
        self._offset = 0
        self.held_until = 0  # the shipper is cut off until then, and delivers what it has kept afterwards

    def _collected(self, written: int, late: int, lines: int = 1) -> int:
        low, high = self._delay
        collected = written + low + int(self._dice.random() * (high - low))
        if self.held_until > collected:
            collected = self.held_until + int(self._dice.random() * 2000)
            self._shipper.late["cut_off"] += lines
        if late:
            # A spool that came back later: it does not hold up the lines after it.
            self._shipper.late["spooled"] += lines
            return collected + late
        self._latest = max(self._latest, collected)
        return self._latest

    def _advance(self, line: str) -> int:
        offset = self._offset
        self._offset += len(line.encode()) + 1
        return offset


class RawLines(Channel):
    """The line itself as value; source, host, file, offset and collection time as headers."""

    def __init__(self, shipper: Shipper, dice: Random, topic: str, delay: tuple[int, int], *, source: str, host: str, file: str) -> None:
        super().__init__(shipper, dice, topic, delay, source)
        self._headers = (("source", source.encode()), ("host", host.encode()), ("file", file.encode()))

    def write(self, written: int, lines: Sequence[str], late: int = 0) -> None:
        """Ship lines written at one instant; `late` ms more than usual."""
        if self._mute:
            return
        collected = self._collected(written, late, len(lines))
        collected_text = b"%d" % collected
        for line in lines:
            headers = (*self._headers, ("offset", b"%d" % self._advance(line)), ("collected", collected_text))
            self._shipper.send(Record(self._topic, collected, None, line.encode(), headers))


class Wrapped(Channel):
    """A shipper that puts each line into a JSON object of its own; `tag` is what rsyslog calls the file."""

    def __init__(
        self, shipper: Shipper, dice: Random, topic: str, delay: tuple[int, int], *, host: str, file: str, tag: str = "", family: str = ""
    ) -> None:
        super().__init__(shipper, dice, topic, delay, family)
        self._host = host
        self._file = file
        self._tag = tag

    def write(self, written: int, lines: Sequence[str]) -> None:
        """Ship lines written at one instant."""
        if self._mute:
            return
        collected = self._collected(written, 0, len(lines))
        read_time = utc_ms(collected)
        for line in lines:
            self._shipper.send(Record(self._topic, collected, self._key(), _compact(self._wrap(line, read_time)), ()))

    def _wrap(self, line: str, read_time: str) -> Mapping[str, object]:
        raise NotImplementedError

    def _key(self) -> bytes | None:
        return None


class Filebeat(Wrapped):
    """Filebeat's event: the line in `message`, file and offset under `log`, no key."""

    def _wrap(self, line: str, read_time: str) -> Mapping[str, object]:
        return {
            "@timestamp": read_time,
            "@metadata": {"beat": "filebeat", "type": "_doc", "version": "8.17.0"},
            "log": {"offset": self._advance(line), "file": {"path": self._file}},
            "message": line,
            "input": {"type": "filestream"},
            "ecs": {"version": "8.0.0"},
            "host": {"name": self._host},
            "agent": {"type": "filebeat", "version": "8.17.0"},
        }


class Rsyslog(Wrapped):
    """An rsyslog template over imfile: read time in `@timestamp`, the whole line in `message`, the host as key."""

    def _wrap(self, line: str, read_time: str) -> Mapping[str, object]:
        received = f"{read_time[:-1]}000+00:00"
        return {
            "@timestamp": received,
            "received_at": received,
            "host": self._host,
            "program": self._tag,
            "procid": "-",
            "facility": "local0",
            "severity": "notice",
            "file": self._file,
            "message": line,
        }

    def _key(self) -> bytes | None:
        return self._host.encode()


class Vector(Wrapped):
    """Vector's file source: read time in `timestamp`, no offset, no key."""

    def _wrap(self, line: str, read_time: str) -> Mapping[str, object]:
        return {
            "file": self._file,
            "host": self._host,
            "message": line,
            "source_type": "file",
            "timestamp": f"{read_time[:-1]}000000Z",
        }


class Events(Channel):
    """A plugin that produces the event itself: no key, no headers, no envelope."""

    def write(self, written: int, event: dict[str, object]) -> None:
        """Ship one event."""
        if self._mute:
            return
        self._shipper.send(Record(self._topic, self._collected(written, 0), None, _compact(event), ()))


def count_by_topic(records: Sequence[Record]) -> dict[str, int]:
    """How many records each topic receives."""
    counts = dict.fromkeys(TOPICS, 0)
    for record in records:
        counts[record.topic] += 1
    return counts
