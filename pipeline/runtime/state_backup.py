"""The state topics of a site in, one file out; and back again, in step with a backup of ClickHouse.

A worker's state says up to which offset each input is in ClickHouse.  So state and tables are saved together while no worker runs, and
restored together: workers then read on from there, and everything since is judged and written once more.

    stop workers ──► save, BACKUP DATABASE ──► start workers     ...     stop ──► RESTORE DATABASE, restore ──► start ──► verify

Restoring appends: a claim above all claims, so that epochs go on and whoever had the partition is void; the whole state as bases; and the
meta, which makes it count.  What stood there before is deleted after that.  Broken off anywhere, a partition has its old state or its new
one, and the command is run again.  A partition that was first read after the file was made has rows that went with the tables: its state
goes too, and it is read from the start.

Holds: a file is refused as a whole, before anything is changed, when it is not whole, of another site, or the inputs are not those of which
it speaks, because offsets would mean other records; with `anew` only the memory is taken over, and reading begins at the start of the
topics as they are, be it on another Kafka.  Saving that broke off leaves no file.  Workers whose group cannot be asked for are not taken
for absent, and one that starts meanwhile is found by its group or by what it wrote.
"""

import gzip
import os
import secrets
import struct
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.errors import GroupAuthorizationFailedError, GroupIdNotFoundError, RetriableError

from pipeline import __version__
from pipeline.errors import BrokerUnavailable, ConfigError, StateIncompatible
from pipeline.model.words import many
from pipeline.runtime.access import answering, client
from pipeline.runtime.consuming import consumer, ends_of
from pipeline.runtime.state_log import LogReader, LogWriter, Write
from pipeline.runtime.state_record import CLAIM, META, NOBODY, RAISED, VERSION, Claim, Meta, Owner, key, pack
from pipeline.runtime.topic_ids import shown_id
from pipeline.settings import KafkaSettings, Settings
from pipeline.topology import Topology

MAGIC = b"trainwatch state 1\n"
SIZE = struct.Struct(">I")
EPOCHS_UNKNOWN = 10_000  # a topic that was deleted does not tell how often it was claimed since the file was made
SILENCE_MS = 30_000
SESSION_SLACK_SECONDS, POLL_SECONDS, COORDINATOR_SECONDS = 5.0, 0.5, 5.0

Progress = Callable[[str], None]


class Head(msgspec.Struct, frozen=True, array_like=True):
    """Of a file."""

    release: str
    group: str
    prefix: str
    cluster: str = ""  # as Kafka calls itself; files of earlier releases do not say


class Part(msgspec.Struct, frozen=True, array_like=True):
    """The log of one partition; its records follow."""

    topic: str  # that is read
    partition: int
    partitions: int
    records: int


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One record."""

    key: str
    value: bytes


class Restored(msgspec.Struct, frozen=True):
    """What a restore did with one partition."""

    topic: str
    partition: int
    applied: int  # where reading goes on
    behind: int  # records that are read again


# --- saving -------------------------------------------------------------------------------------------------------------------------------


def save(settings: Settings, topology: Topology, path: Path, progress: Progress = lambda _: None) -> int:
    """Write all state to a new file, readable by this account alone; answers with the number of records.

    Raises ConfigError when workers run or the file is there, BrokerUnavailable.
    """
    require_no_worker(settings.kafka)
    records, ends = 0, dict[TopicPartition, int]()
    try:
        raw = open(path, "xb", opener=_private)  # noqa: SIM115  closed below; Path.open takes no opener
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", advice="Name a new file in a folder that can be written.") from error
    try:
        with raw, gzip.open(raw, "wb", compresslevel=3) as file, consumer(settings.kafka) as source:
            file.write(MAGIC)
            _put(file, Head(__version__, settings.kafka.group, topology.prefix, cluster_id(settings.kafka)))
            for topic in (topic for stage in topology.stages for topic in stage.reads):
                numbers = _partitions(source, topology.state_topic(topic))
                for number in numbers:
                    state = TopicPartition(topology.state_topic(topic), number)
                    log, ends[state] = _log(source, state)
                    _put(file, Part(topic, number, len(numbers), len(log)))
                    for name, value in log.items():
                        _put(file, Entry(name, value))
                    records += len(log)
                progress(topic)
            _require_untouched(settings.kafka, source, ends)
    except BaseException:
        path.unlink(missing_ok=True)  # gzip has closed it properly: it would pass for whole
        raise
    return records


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _put(file: gzip.GzipFile, what: msgspec.Struct) -> None:
    content = msgspec.msgpack.encode(what)
    file.write(SIZE.pack(len(content)) + content)


def _log(source: Any, part: TopicPartition) -> tuple[dict[str, bytes], int]:
    """The records that are not deleted, in log order, and the offset after the last.  Raises BrokerUnavailable."""
    log: dict[str, bytes] = {}
    source.assign([part])
    end, first = _end(source, part), _first(source, part)
    source.seek(part, first)
    while source.position(part) < end:
        polled = source.poll(timeout_ms=SILENCE_MS).get(part, ())
        if not polled and source.position(part) < end:  # compaction leaves batches without records
            raise BrokerUnavailable(f"{part.topic}/{part.partition}: nothing came for {SILENCE_MS // 1000} s")
        for record in polled:
            name = record.key.decode(errors="backslashreplace")
            log.pop(name, None)  # the last value of a key stands where it was written
            if record.value is not None:
                log[name] = record.value
    return log, end


def _partitions(source: Any, topic: str) -> list[int]:
    found = sorted(source.partitions_for_topic(topic) or ())
    if not found:
        raise ConfigError(f"the topic {topic} does not exist", advice="Run `trainwatch topics create`.")
    return found


def require_no_worker(settings: KafkaSettings) -> None:
    """Wait until the group has no members: a worker that was stopped keeps its name in it until its session has expired.

    Raises ConfigError when some stay: state and tables would not be of one moment; or when this account may not ask.
    BrokerUnavailable when the group's coordinator does not tell.
    """
    _require_nobody(settings, settings.session_timeout_seconds + SESSION_SLACK_SECONDS)


def _require_nobody(settings: KafkaSettings, seconds: float) -> None:
    deadline, asking = time.monotonic() + seconds, "cannot ask which workers run"
    with closing(_admin(settings)) as admin, answering(settings, asking):
        while (members := _members(admin, settings.group)) != 0:
            if time.monotonic() > deadline:
                if members is None:
                    raise BrokerUnavailable(f"{asking}: group {settings.group} has no coordinator")
                raise ConfigError(
                    f"still at work in group {settings.group}: {many(members, 'worker')}",
                    advice="Stop them; Kafka keeps what comes meanwhile.",
                )
            time.sleep(POLL_SECONDS)


def _require_untouched(settings: KafkaSettings, source: Any, ends: Mapping[TopicPartition, int]) -> None:
    """Raises ConfigError when somebody wrote state after these offsets, or runs."""
    for part, end in ends.items():
        if _end(source, part) != end:
            raise _meanwhile(part)
    _require_nobody(settings, COORDINATOR_SECONDS)


def _meanwhile(part: TopicPartition) -> ConfigError:
    return ConfigError(
        f"somebody wrote to {part.topic}/{part.partition} meanwhile: a worker was started",
        advice="Stop all workers and run the command again, or state and tables are not of one moment.",
    )


def _admin(settings: KafkaSettings) -> Any:
    return client(KafkaAdminClient, settings, client_id="trainwatch-state")


def cluster_id(settings: KafkaSettings) -> str:
    """What Kafka calls itself; empty: it does not say.  Raises BrokerUnavailable."""
    with closing(_admin(settings)) as admin, answering(settings):
        return str(admin.describe_cluster().get("cluster_id") or "")


def _topic_ids(settings: KafkaSettings, topology: Topology) -> dict[str, str]:
    """By input, as in `runtime.topic_ids`; without those that Kafka does not tell.  Raises BrokerUnavailable."""
    names = sorted({topic for stage in topology.stages for topic in stage.reads})
    with closing(_admin(settings)) as admin, answering(settings):
        found = admin.describe_topics(names)
    return {topic["name"]: shown_id(UUID(str(topic["topic_id"])).bytes) for topic in found if topic.get("topic_id")}


def _members(admin: Any, group: str) -> int | None:
    """None: nobody can tell yet, as in the first seconds of a broker.  Raises KafkaError."""
    try:
        found = admin.describe_groups([group]).get(group)
    except RetriableError:
        return None
    error = str((found or {}).get("error") or "")  # which the client tells, and does not raise
    if GroupAuthorizationFailedError.__name__ in error:
        raise GroupAuthorizationFailedError(group)
    if GroupIdNotFoundError.__name__ in error:
        return 0
    return None if error or found is None else len(found["members"])


# --- restoring ----------------------------------------------------------------------------------------------------------------------------


def restore(
    settings: Settings, topology: Topology, path: Path, *, anew: bool = False, progress: Progress = lambda _: None
) -> list[Restored]:
    """Put the state of a file in place of what the state topics hold.

    Raises ConfigError when workers run or the file is none, StateIncompatible when it is of another site or of other inputs,
    BrokerUnavailable.
    """
    with _opened(path) as file:
        _require_same_site(_need(file, Head), settings.kafka, topology, anew=anew)
    require_no_worker(settings.kafka)
    ends: dict[TopicPartition, int] = {}
    ids = {} if anew else _topic_ids(settings.kafka, topology)
    with consumer(settings.kafka) as source:
        later = _look_through(source, topology, path, ids, anew=anew)
        done = []
        producer = client(KafkaProducer, settings.kafka, client_id="trainwatch-state", acks="all", max_in_flight_requests_per_connection=1)
        try:
            with answering(settings.kafka):
                for part, log in chain(_read(path), ((part, {}) for part in later)):
                    if (restored := _restore(source, producer, topology, part, log, anew, ends)) is not None:
                        done.append(restored)
                    progress(f"{part.topic}/{part.partition}")
        finally:
            producer.close()
        _require_untouched(settings.kafka, source, ends)
    return done


def _require_same_site(head: Head, kafka: KafkaSettings, topology: Topology, *, anew: bool) -> None:
    """Raises StateIncompatible."""
    for what, saved, here in (("kafka.group", head.group, kafka.group), ("kafka.topic_prefix", head.prefix, topology.prefix)):
        if saved != here:
            raise StateIncompatible(
                f"the file was saved with {what} {saved!r}, and the settings say {here!r}",
                advice="It is of another site, whose workers may run: restore it with that site's settings.",
            )
    if not anew and head.cluster and (there := cluster_id(kafka)) and there != head.cluster:
        raise StateIncompatible(
            f"the file was saved on the Kafka cluster {head.cluster}, and this one is {there}",
            advice="Offsets mean other records here. --new-topics takes over what is remembered, and reads the topics from their start.",
        )


def _look_through(source: Any, topology: Topology, path: Path, ids: Mapping[str, str], *, anew: bool) -> list[Part]:
    """Read the file once, before anything is changed; answers with the partitions that it does not have.

    `ids` are those of the topics as they are.  Raises ConfigError or StateIncompatible.
    """
    counts: Counter[tuple[str, int]] = Counter()
    for part, log in _read(path):
        _check(source, topology, part)
        counts[part.topic, part.partitions] += 1
        if (meta := _taken(log).meta) is not None:
            _meta(source, part, meta, anew)
            if "" != meta.topic_id != ids.get(part.topic, "") != "":
                raise _another(f"{part.topic} has the id {ids[part.topic]}, and had {meta.topic_id} when its state was saved")
    short = sorted(topic for (topic, wanted), found in counts.items() if found != wanted)
    if short or not counts:
        raise ConfigError(f"{path} lacks partitions of {', '.join(short) or 'all topics'}", advice="It is cut short: take another copy.")
    saved = dict(counts.keys())
    later = []
    for topic in (topic for stage in topology.stages for topic in stage.reads):
        numbers = _partitions(source, topology.state_topic(topic))
        later += [Part(topic, number, len(numbers), 0) for number in numbers if number >= saved.get(topic, 0)]
    return later


@contextmanager
def _opened(path: Path) -> Iterator[gzip.GzipFile]:
    """A file, read up to its head.  Raises ConfigError, also for what is found within."""
    try:
        with gzip.open(path, "rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise ConfigError(f"{path} is not a saved state", advice="Name a file that `trainwatch state save` made.")
            yield file
    except (OSError, EOFError, zlib.error, msgspec.MsgspecError, struct.error) as error:
        raise ConfigError(f"{path} cannot be read: {error!r}", advice="It is broken or cut short: take another copy.") from error


def _read(path: Path) -> Iterator[tuple[Part, dict[str, bytes]]]:
    with _opened(path) as file:
        _need(file, Head)
        while (part := _get(file, Part)) is not None:
            entries = (_need(file, Entry) for _ in range(part.records))
            yield part, {entry.key: entry.value for entry in entries}


def _need(file: gzip.GzipFile, kind: Any) -> Any:
    """The next thing, which must be there.  Raises EOFError."""
    if (found := _get(file, kind)) is None:
        raise EOFError
    return found


def _get(file: gzip.GzipFile, kind: Any) -> Any:
    """The next thing of that kind; None at the end."""
    size = file.read(SIZE.size)
    return msgspec.msgpack.decode(file.read(SIZE.unpack(size)[0]), type=kind) if size else None


def _check(source: Any, topology: Topology, part: Part) -> None:
    count = len(_partitions(source, topology.state_topic(part.topic)))
    grows = any(part.topic in stage.reads for stage in topology.stages if stage.takes == "records")
    if count < part.partitions or (count > part.partitions and not grows):
        raise StateIncompatible(
            f"{part.topic} has {many(count, 'partition')}, and had {part.partitions} when its state was saved",
            advice="Facts of one case must stay in one partition: make the topics with the old count, then restore.",
        )


def _restore(
    source: Any, producer: Any, topology: Topology, part: Part, log: Mapping[str, bytes], anew: bool, ends: dict[TopicPartition, int]
) -> Restored | None:
    state = TopicPartition(topology.state_topic(part.topic), part.partition)
    before, ends[state] = _log(source, state)
    saved, there = _taken(log, keep=True), _taken(before)
    if saved.meta is not None:
        meta = _meta(source, part, saved.meta, anew)
    elif there.meta is not None and not anew:
        meta = Meta(VERSION, 0, _first(source, part), secrets.token_hex(4))
    else:
        return None  # was never read when it was saved, nor since
    epoch = max(saved.last.epoch + EPOCHS_UNKNOWN if there.last == NOBODY else 0, saved.last.epoch, there.last.epoch) + 1
    writer = LogWriter(Owner(epoch, 0, secrets.token_hex(4)))
    writer.seq = max(saved.seq, there.seq)
    writes: list[Write] = [(key(CLAIM, writer.owner), pack(Claim())), *writer.whole(saved.cases)]
    if saved.raised is not None and not anew:
        writes.append((key(RAISED, writer.owner), pack(saved.raised)))
    writes.append((key(META, writer.owner), pack(msgspec.structs.replace(meta, version=VERSION, seq=writer.seq))))
    sent = [*_send(producer, state, writes), *_send(producer, state, [(name, None) for name in before])]
    if sent[0] != ends[state]:
        raise _meanwhile(state)
    ends[state] = sent[-1] + 1
    return Restored(part.topic, part.partition, meta.applied, _end(source, part) - meta.applied)


def _taken(log: Mapping[str, bytes], *, keep: bool = False) -> LogReader:
    reader = LogReader(keep=keep)
    for name, value in log.items():
        reader.take(name, value)
    return reader


def _meta(source: Any, part: Part, meta: Meta, anew: bool) -> Meta:
    if anew:
        return Meta(meta.version, meta.seq, _first(source, part), secrets.token_hex(4))
    reached = max(meta.applied, meta.intent.hi if meta.intent else 0)
    if _end(source, part) < reached:
        raise _another(f"{part.topic}/{part.partition} ends before offset {reached}, up to which it was read when its state was saved")
    return meta


def _another(shown: str) -> StateIncompatible:
    return StateIncompatible(
        shown,
        advice="It is another topic of that name. --new-topics takes over what is remembered, and reads the topics from their start.",
    )


def _first(source: Any, part: Part | TopicPartition) -> int:
    where = TopicPartition(part.topic, part.partition)
    return ends_of(source, [where], begins=True)[where]


def _end(source: Any, part: Part | TopicPartition) -> int:
    where = TopicPartition(part.topic, part.partition)
    return ends_of(source, [where])[where]


def _send(producer: Any, to: TopicPartition, writes: list[Write]) -> list[int]:
    """In order; returns the offsets when the broker has all of it.  Raises KafkaError."""
    futures = [producer.send(to.topic, value=value, key=name.encode(), partition=to.partition) for name, value in writes]
    producer.flush()
    return [future.get(SILENCE_MS / 1000).offset for future in futures]
