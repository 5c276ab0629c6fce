"""A seed and a size in; records of a whole site out: nine of ten access, about one training, one in a hundred of the scheduler.

Lines are the simulator's.  Half of what it makes of one site is training and scheduler, so here is one site whose jobs print their
progress more often and whose controller logs without debug lines, and its access logs are joined by those of `SITES - 1` sites with
other seeds: their hosts get other names and their files lie outside the artefact roots, so they are more machines of the same people,
with logins, cron jobs, kills and writes of their own.  All values differ; none is a copy.

Records are spread over partitions one by one, as a producer without keys does it, so the parts of an audit event lie apart.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from heapq import merge
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from pipeline.model.outcome import Record
from pipeline.simulate import TOPICS, simulate
from pipeline.simulate import Record as Shipped

SITES = 9
ACCESS_PER_DAY = 200_000  # of all sites: a little less than there are
KIND_PER_DAY = {"json": 55_000, "auditd": 160_000}
DAYS_MIN = 1.0
ACCESS_SHARE, TRAINING_SHARE = 0.905, 0.09  # a little more than is taken
TRAINING, SCHEDULER, ACCESS = TOPICS
_DEBUG = b"] debug:"
_AUDITD = ("source", b"auditd")
_ITERATION = re.compile(rb"(iteration +)(\d+)(?=/)")
_OFFSET = re.compile(rb'("offset":)(\d+)')


class Mix(NamedTuple):
    """The load, in order of collection, and what the operator of the site wrote into the settings."""

    records: list[Record]
    settings: dict[str, Any]

    def shares(self) -> dict[str, float]:
        """Topic -> its share of the records."""
        counts = dict.fromkeys(TOPICS, 0)
        for record in self.records:
            counts[record.topic] += 1
        return {topic: count / max(len(self.records), 1) for topic, count in counts.items()}


def build(seed: int, size: int, partitions: int = 4) -> Mix:
    """`size` records from the simulator's first instant on."""
    days = max(DAYS_MIN, size / ACCESS_PER_DAY)
    site = simulate(seed, days)
    access = sorted(_access(site.records, seed, days), key=_timestamp)[: round(size * ACCESS_SHARE)]
    end = access[-1].timestamp if access else 0
    own = [each for each in site.records if each.topic != ACCESS and each.timestamp <= end and _DEBUG not in each.value]
    extra = round(size * TRAINING_SHARE) - sum(each.topic == TRAINING for each in own)
    ordered = merge(access, _talkative(own, extra), key=_timestamp)
    records = [_record(each, number, partitions) for number, each in enumerate(islice(ordered, size))]
    return Mix(records, site.settings)


def of_kind(seed: int, kind: str, size: int, partitions: int = 4) -> Mix:
    """`size` records of one kind out of the mix: `json`, those of training and access, or `auditd`, the raw ones."""
    days = max(DAYS_MIN, size / KIND_PER_DAY[kind])
    site = simulate(seed, days)
    wanted = _is_json if kind == "json" else _is_auditd
    own = [each for each in site.records if each.topic == TRAINING]
    sources = [_access(site.records, seed, days)]
    if kind == "json":
        sources.append(_talkative(own, len(own)))
    found = sorted((each for source in sources for each in source if wanted(each)), key=_timestamp)[:size]
    return Mix([_record(each, number, partitions) for number, each in enumerate(found)], site.settings)


def of_site(seed: int, partitions: int = 4) -> Mix:
    """All records of the one simulated site with the jobs, for two days: for what is about findings and not about volume."""
    site = simulate(seed, 2.0)
    return Mix([_record(each, number, partitions) for number, each in enumerate(site.records)], site.settings)


def placed(load: Mix, topics: Mapping[str, str]) -> Mix:
    """The load on topics of other names, offsets counted anew; the settings follow."""
    counts: dict[tuple[str, int], int] = {}
    records = []
    for record in load.records:
        place = (topics[record.topic], record.partition)
        offset = counts[place] = counts.get(place, -1) + 1
        records.append(msgspec.structs.replace(record, topic=place[0], offset=offset))
    sources = [{**source, "topic": topics.get(source["topic"], source["topic"])} for source in load.settings["sources"]]
    return Mix(records, {**load.settings, "sources": sources})


def _is_json(record: Shipped) -> bool:
    return record.value[:1] == b"{"


def _is_auditd(record: Shipped) -> bool:
    return (_AUDITD in record.headers) and record.topic == ACCESS


def _timestamp(record: Shipped) -> int:
    return record.timestamp


def _record(shipped: Shipped, number: int, partitions: int) -> Record:
    return Record(
        topic=shipped.topic,
        partition=number % partitions,
        offset=number // partitions,
        timestamp=shipped.timestamp,
        value=shipped.value,
        key=shipped.key,
        headers=shipped.headers,
    )


def _access(own: Sequence[Shipped], seed: int, days: float) -> Iterator[Shipped]:
    """Access records of all sites, each further one under names of its own."""
    yield from (each for each in own if each.topic == ACCESS)
    for number in range(1, SITES):
        names = _names(number)
        for each in simulate(seed * 100 + number, days):
            if each.topic == ACCESS:
                headers = tuple((name, _renamed(value, names)) for name, value in each.headers)
                key = _renamed(each.key, names) if each.key else None
                yield Shipped(ACCESS, each.timestamp, key, _renamed(each.value, names), headers)


def _names(number: int) -> list[tuple[bytes, bytes]]:
    digit = b"%d" % number
    return [
        (b"gpu-0", b"gpu-" + digit),
        (b"login-", b"login-" + digit),
        (b"ctl-", b"ctl-" + digit),
        (b"10.30.", b"10.3%d." % (number % 10)),
        (b"/lustre/ckpt", b"/lustre/arc" + digit),
    ]


def _renamed(text: bytes, names: Sequence[tuple[bytes, bytes]]) -> bytes:
    for old, new in names:
        text = text.replace(old, new)
    return text


def _talkative(records: Sequence[Shipped], extra: int) -> Iterator[Shipped]:
    """The records, with `extra` more lines of progress: the iterations between those that were printed."""
    lines = sum(_is_progress(each) for each in records)
    owed = 0.0
    for each in records:
        yield each
        if not _is_progress(each):
            continue
        owed += max(extra, 0) / lines
        count = int(owed)
        owed -= count
        for step in range(1, count + 1):
            yield each._replace(value=_later(each.value, step))


def _is_progress(record: Shipped) -> bool:
    return record.topic == TRAINING and _ITERATION.search(record.value) is not None and b"elapsed time per iteration" in record.value


def _later(value: bytes, step: int) -> bytes:
    """The same line `step` iterations and one byte each further down the file."""
    value = _ITERATION.sub(lambda found: found[1] + b"%d" % (int(found[2]) + step), value, count=1)
    return _OFFSET.sub(lambda found: found[1] + b"%d" % (int(found[2]) + step), value, count=1)
