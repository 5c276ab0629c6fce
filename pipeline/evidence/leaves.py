"""Records of a range and the rows that were made of them in; leaves out, each of a run of records.

A leaf for each record would cost two hashes a record, its own and that of a node, and what a hash costs is the call: over a few KB it is
cheap (`decisions/0024-a-leaf-of-many-records.md`).

The value's own bytes are hashed, unless its only line is the value: then ingest has hashed them already, and that digest is taken.  Key and
headers stand in the leaf as they are, since they say host and file and are short; so a record whose line is its value can be shown whole
from `events.raw` and its leaf, after Kafka has dropped it.  Of a record that wraps its lines the leaf holds the digest of each line: then a
line can still be shown to be what was read from a record with that sha256.

Holds: a leaf is a function of its records and of the lines and times that were read from them; filtered and rejected records are in one.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import msgspec

from pipeline.evidence.verify import FORM, RUN
from pipeline.model.outcome import Record

_encode = msgspec.json.Encoder().encode


def leaves_of(records: Sequence[Record], rows: Sequence[Any]) -> list[bytes]:
    """In offset order, as both arguments are.  `rows` are those of `events`."""
    leaves: list[bytes] = []
    at, count = 0, len(rows)
    for begin in range(0, len(records), RUN):
        told: list[tuple[Any, ...]] = []
        for record in records[begin : begin + RUN]:
            offset, value = record.offset, record.value
            if at == count or rows[at].offset != offset:
                digest = None if value is None else sha256(value).hexdigest()
                told.append((offset, record.timestamp, record.key, record.headers, digest, ()))
                continue
            row = rows[at]
            raw = row.raw
            # Lengths first: a line inside an envelope is shorter than its record.  Of equal length they can only be equal in ASCII.
            if value is not None and len(raw) == len(value) and raw.isascii() and raw.encode() == value:
                digest = row.sha256
            else:
                digest = None if value is None else sha256(value).hexdigest()
            stored = [row.event_time if row.sha256 == digest else (row.event_time, row.sha256)]
            at += 1
            while at < count and (row := rows[at]).offset == offset:
                stored.append(row.event_time if row.sha256 == digest else (row.event_time, row.sha256))
                at += 1
            told.append((offset, record.timestamp, record.key, record.headers, digest, stored))
        leaves.append(_encode((FORM, told)))
    return leaves
