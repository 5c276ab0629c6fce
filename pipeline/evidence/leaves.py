"""Records of a range and the rows that were made of them in; one leaf per record out.

The value's own bytes are hashed, unless its only line is the value: then ingest has hashed them already, and that digest is taken.  Key and
headers stand in the leaf as they are, since they say host and file and are short; so a record whose line is its value can be shown whole
from `events.raw` and its leaf, after Kafka has dropped it.  Of a record that wraps its lines the leaf holds the digest of each line: then a
line can still be shown to be what was read from a record with that sha256.

Holds: a leaf is a function of the record and of the lines and times that were read from it; filtered and rejected records have one too.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import msgspec

from pipeline.model.outcome import Record

_encode = msgspec.json.Encoder().encode


def leaves_of(records: Sequence[Record], rows: Sequence[Any]) -> list[bytes]:
    """In offset order, as both arguments are.  `rows` are those of `events`."""
    leaves: list[bytes] = []
    at, count = 0, len(rows)
    for record in records:
        offset, value = record.offset, record.value
        if at < count and rows[at].offset == offset:
            row = rows[at]
            raw = row.raw
            # Lengths first: most lines are ASCII, and a line inside an envelope is shorter than the record.
            if value is not None and len(raw) == len(value) and raw.encode("utf-8", "surrogateescape") == value:
                digest = row.sha256
            else:
                digest = None if value is None else sha256(value).hexdigest()
            told: list[Any] = []
            while True:
                told.append(row.event_time if row.sha256 == digest else (row.event_time, row.sha256))
                at += 1
                if at == count or (row := rows[at]).offset != offset:
                    break
        else:
            digest, told = None if value is None else sha256(value).hexdigest(), []
        leaves.append(_encode((offset, record.timestamp, record.key, record.headers, digest, told)))
    return leaves
