"""Bare JSON records and the table they go to: what every consumer of job `ingest` decodes and inserts, and what must be in it then.

A record is a JSON object of about 270 bytes: who read or wrote which file from where, every value another one.  Decoding is into a typed
struct, unknown fields ignored; the table has a column per field.  Offsets are in it too, for those that keep them.
"""

import random
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from pipeline.model.outcome import Record

TABLE = "bench_bare"
BASE_MS = 1_772_400_000_000
USERS, HOSTS = 5000, 2000


class File(msgspec.Struct, frozen=True, gc=False):
    """The nested part."""

    path: str
    size: int


class Access(msgspec.Struct, gc=False):
    """One record; the last three are where it was, filled in by a consumer that keeps it."""

    time_ms: int
    host: str
    user: str
    pid: int
    address: str
    file: File
    rate: float
    message: str
    topic: str = ""
    partition: int = 0
    offset: int = 0


COLUMNS = ("time_ms", "host", "user", "pid", "address", "path", "size", "rate", "message")
CREATE = """
CREATE TABLE {db}.bench_bare (
    time_ms DateTime64(3, 'UTC'), host String, user String, pid UInt32, address String, path String, size UInt64, rate Float64,
    message String, _topic String DEFAULT '', _partition UInt32 DEFAULT 0, _offset UInt64 DEFAULT 0
) ENGINE = MergeTree ORDER BY (host, time_ms) SETTINGS non_replicated_deduplication_window = 1000
"""
CHECK = """
SELECT count(), uniqExact(pid, size), sum(size), sum(toUnixTimestamp64Milli(time_ms)), sum(length(path) + length(message))
FROM {db}.bench_bare
"""

decode = msgspec.json.Decoder(Access).decode


def columns(rows: Sequence[Access]) -> list[list[Any]]:
    """The columns of COLUMNS."""
    files = [row.file for row in rows]
    return [
        [row.time_ms for row in rows],
        [row.host for row in rows],
        [row.user for row in rows],
        [row.pid for row in rows],
        [row.address for row in rows],
        [file.path for file in files],
        [file.size for file in files],
        [row.rate for row in rows],
        [row.message for row in rows],
    ]


def records(seed: int, size: int, topic: str, partitions: int) -> Iterator[Record]:
    """The load."""
    for number, value in enumerate(_values(seed, size)):
        yield Record(topic=topic, partition=number % partitions, offset=0, timestamp=BASE_MS + number, value=value)


def reference(seed: int, size: int) -> tuple[int, ...]:
    """What CHECK must answer."""
    rows = [decode(value) for value in _values(seed, size)]
    return (
        len(rows),
        len({(row.pid, row.file.size) for row in rows}),
        sum(row.file.size for row in rows),
        sum(row.time_ms for row in rows),
        sum(len(row.file.path) + len(row.message) for row in rows),
    )


def _values(seed: int, size: int) -> Iterator[bytes]:
    draw = random.Random(seed).random
    for number in range(size):
        chance = draw()
        user, host, pid = int(chance * USERS), int(chance * 7919 % 1 * HOSTS), 1000 + int(chance * 104_729 % 1 * 4_000_000)
        yield (
            b'{"time_ms":%d,"host":"gpu-%04d","user":"u%04d","pid":%d,"address":"10.%d.%d.%d","file":{"path":"/lustre/u%04d/run%d/shard-%08x.bin",'
            b'"size":%d},"rate":%.6f,"level":"info","facility":"storage","message":"%s of shard %08x by pid %d in session %d done"}'
            % (
                BASE_MS + number, host, user, pid, host >> 8, host & 255, pid & 255, user, pid % 97, number * 2_654_435_761 & 0xFFFFFFFF,
                int(chance * 1e12), chance * 1e4, b"write" if pid & 1 else b"read", number * 2_654_435_761 & 0xFFFFFFFF, pid, number,
            )
        )  # fmt: skip
