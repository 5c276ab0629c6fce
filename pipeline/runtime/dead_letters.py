"""The dead-letter topic in; its letters, and which of them were sent again, out.

Read with kafka-python and without a group, so that workers never notice.  What was sent again is noted on the topic itself, beside the
letters, since nothing else is seen by everybody who looks at them and lives as long as they do:

    letter 7   letter 8   note "begun 7, 8"   note "sent 7, 8"   letter 12 (attempts 2: 8 was refused again)

Every value in a letter was written by whoever wrote the log: nothing here trusts it, and whoever prints it escapes it.

Holds: reading ends at the offsets that were the ends when it began; a letter is known by the place where it lies.
"""

import heapq
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Self

import msgspec
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType

from pipeline.errors import BrokerUnavailable, TrainwatchError
from pipeline.runtime.access import absent, answering, client
from pipeline.runtime.consuming import ends_of, offsets_at
from pipeline.runtime.dead_letter import Letter, read_letter
from pipeline.settings import KafkaSettings
from pipeline.sink.account import Sighted, Wanted
from pipeline.topology import public_topic

NOTE_HEADER = "x-dlq-note"
CLIENT = "trainwatch-dlq"
SILENCE_SECONDS = 30.0  # without a record that should come
FETCH_BYTES = 8 << 20
PREVIEW_BYTES = 300
UNSENT_LOOKED_AT = 100_000  # newest letters among which those that were not sent again are looked for

Place = tuple[int, int]  # partition and offset on the dead-letter topic
Source = tuple[str, int]  # topic and partition that a letter came from
Progress = Callable[[int, int], None]  # records read, records in all


class Note(msgspec.Struct, frozen=True):
    """Beside the letters: some of this partition are being sent again, or were."""

    state: str  # begun | sent
    letters: tuple[int, ...]  # offsets


class Resent(msgspec.Struct, frozen=True):
    """That a letter was sent again, and when; `sure` is False when the sending broke off."""

    time: int
    sure: bool


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which letters are meant; what is empty does not matter."""

    places: frozenset[Place] = frozenset()
    codes: frozenset[str] = frozenset()
    stages: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()  # where they came from
    partition: int | None = None
    offsets: tuple[int, int] | None = None  # first and last
    since: int | None = None  # set aside then or later, UTC ms

    def takes(self, letter: Letter) -> bool:
        """Is this letter meant?"""
        return (
            (not self.places or letter.place in self.places)
            and (not self.codes or letter.code in self.codes)
            and (not self.stages or letter.stage in self.stages)
            and (not self.topics or letter.topic in self.topics)
            and (self.partition is None or letter.source_partition == self.partition)
            and (self.offsets is None or self.offsets[0] <= letter.source_offset <= self.offsets[1])
            and (self.since is None or letter.time >= self.since)
        )


class Count(msgspec.Struct, kw_only=True):
    """Letters of one code, stage and topic."""

    code: str
    stage: str
    topic: str
    letters: int = 0
    resent: int = 0  # sent again
    first: int = 0  # set aside, UTC ms
    last: int = 0
    attempts: int = 0  # the most


class Survey(msgspec.Struct, frozen=True):
    """What a selection holds."""

    letters: list[Letter]  # the newest first; values cut to PREVIEW_BYTES
    counts: list[Count]  # the most frequent first
    resent: dict[Place, Resent]
    strangers: int


class _Brief(msgspec.Struct, frozen=True, gc=False):
    """Of a letter what is counted."""

    group: tuple[str, str, str]  # code, stage, topic
    time: int
    attempts: int


def survey(found: "Letters", selection: Selection, *, keep: int, unsent: bool = False, progress: Progress = lambda _, __: None) -> Survey:
    """Read the topic once.  `keep` bounds the letters that are held, the newest; `unsent` leaves out those that were sent again."""
    briefs: dict[Place, _Brief] = {}
    groups: dict[tuple[str, str, str], tuple[str, str, str]] = {}  # each held once
    resent: dict[Place, Resent] = {}
    newest: list[tuple[int, Place, Letter]] = []
    for each in found.read(since=selection.since, progress=progress):
        if not isinstance(each, Letter):
            place, mark = each
            # Once sent is sent, also when a second sending broke off.
            if place in briefs and (mark.sure or not (place in resent and resent[place].sure)):
                resent[place] = mark
        elif selection.takes(each):
            group = each.code, each.stage, each.topic
            briefs[each.place] = _Brief(groups.setdefault(group, group), each.time, each.attempts)
            cut = msgspec.structs.replace(each, value=each.value[:PREVIEW_BYTES] if each.value is not None else None)
            heapq.heappush(newest, (each.time, each.place, cut))
            if len(newest) > (keep if not unsent else max(keep, UNSENT_LOOKED_AT)):
                heapq.heappop(newest)
    letters = [letter for _, _, letter in sorted(newest, key=lambda item: item[:2], reverse=True)]
    sent = {place for place, mark in resent.items() if mark.sure}
    if unsent:
        letters = [letter for letter in letters if letter.place not in sent][:keep]
        briefs = {place: brief for place, brief in briefs.items() if place not in sent}
    return Survey(letters, _counted(briefs, sent), resent, found.strangers)


def _counted(briefs: Mapping[Place, _Brief], sent: Container[Place]) -> list[Count]:
    counts: dict[tuple[str, str, str], Count] = {}
    for place, brief in briefs.items():
        code, stage, topic = brief.group
        count = counts.setdefault(brief.group, Count(code=code, stage=stage, topic=topic, first=brief.time))
        count.letters, count.resent = count.letters + 1, count.resent + (place in sent)
        count.first, count.last = min(count.first, brief.time), max(count.last, brief.time)
        count.attempts = max(count.attempts, brief.attempts)
    return sorted(counts.values(), key=lambda count: (-count.letters, count.code, count.topic))


class Letters:
    """An open dead-letter topic.  Use as a context manager.  Raises BrokerUnavailable; ConfigError when there is no such topic."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.topic = public_topic(settings.topic_prefix, "dead-letter")
        self._settings = settings
        self.strangers = 0  # records that are no dead letters
        self._ends: dict[Any, int] = {}  # where reading ended
        self._consumer = client(
            KafkaConsumer,
            settings,
            client_id=CLIENT,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=FETCH_BYTES,
        )
        try:
            self._partitions = sorted(self.counts().get(self.topic, ()))
        except TrainwatchError:
            self._consumer.close()
            raise
        if not self._partitions:
            self._consumer.close()
            raise absent(settings, self.topic)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def counts(self) -> dict[str, set[int]]:
        """The partitions of every topic that there is."""
        with answering(self._settings, "cannot list topics"):
            return {topic: set(self._consumer.partitions_for_topic(topic) or ()) for topic in self._consumer.topics()}

    def read(self, *, since: int | None = None, progress: Progress = lambda _, __: None) -> Iterator[Letter | tuple[Place, Resent]]:
        """All letters, and what the notes say of them, partition by partition in their order; `since` (UTC ms) leaves earlier ones out."""
        parts = [TopicPartition(self.topic, number) for number in self._partitions]
        with self._reading():
            if since is None:
                first = ends_of(self._consumer, parts, begins=True)
            else:
                first = offsets_at(self._consumer, parts, since, ends_of(self._consumer, parts))
            self._ends = ends_of(self._consumer, parts)
        for record in self._records(first, progress, self._ends):
            if any(name == NOTE_HEADER for name, _ in record.headers):
                yield from _told(record)
            elif letter := read_letter(record):
                if since is None or letter.time >= since:
                    yield letter
            else:
                self.strangers += 1

    def come(self) -> Iterator[list[Letter]]:
        """Letters that were set aside after those that were `read`, as they come, without end; an empty list where none came."""
        with self._reading():
            self._consumer.assign(list(self._ends))
            for part, end in self._ends.items():
                self._consumer.seek(part, end)
        while True:
            with self._reading():
                fetched = self._consumer.poll(timeout_ms=500)
            for part, records in fetched.items():
                self._ends[part] = records[-1].offset + 1
            yield [letter for records in fetched.values() for record in records if (letter := read_letter(record))]

    def at(self, places: Sequence[Place]) -> Iterator[Letter]:
        """The letters at these places, in the order of the topic; places that hold none are passed over."""
        wanted: dict[int, set[int]] = {}
        for partition, offset in places:
            wanted.setdefault(partition, set()).add(offset)
        for partition in sorted(wanted.keys() & set(self._partitions)):
            part = TopicPartition(self.topic, partition)
            with self._reading():
                begin, end = ends_of(self._consumer, [part], begins=True)[part], ends_of(self._consumer, [part])[part]
            offsets = sorted(offset for offset in wanted[partition] if begin <= offset < end)
            if offsets:
                for record in self._records({part: offsets[0]}, lambda _, __: None, {part: offsets[-1] + 1}):
                    if record.offset in wanted[partition] and (letter := read_letter(record)):
                        yield letter

    def _records(self, first: Mapping[Any, int], progress: Progress, until: Mapping[Any, int] | None = None) -> Iterator[Any]:
        with self._reading():
            ends = until or ends_of(self._consumer, first)
            left = {part: end for part, end in ends.items() if end > first[part]}
            total = sum(end - first[part] for part, end in left.items())
            self._consumer.assign(list(left))
            for part in left:
                self._consumer.seek(part, first[part])
        read, heard = 0, time.monotonic()
        while left:
            with self._reading():
                fetched = self._consumer.poll(timeout_ms=500)
            for part, records in fetched.items():
                read += len(records)
                yield from (record for record in records if part in left and record.offset < left[part])
            progress(read, total)
            with self._reading():
                left = {part: end for part, end in left.items() if self._consumer.position(part) < end}
            if fetched:
                heard = time.monotonic()  # from here on: whoever takes letters may have been longer at it
            elif left and time.monotonic() - heard > SILENCE_SECONDS:
                raise BrokerUnavailable(f"{self.topic}: {total - read} of {total} records did not come in {SILENCE_SECONDS:.0f} s")

    # --- for verify

    def sighted(self, wanted: Wanted, since: int | None = None, progress: Progress = lambda _, __: None) -> Sighted:
        """Which of the wanted source offsets have a dead letter, and since when the topic may not have deleted any.

        Letters from `since` (UTC ms) on are read first.  The ones before them only if some are missing then: a clock may have been wrong,
        and what is told as lost must not be there.
        """
        kept_seconds, kept_from = self._kept()
        seen: dict[Source, set[int]] = {place: set() for place in wanted}
        parts = [TopicPartition(self.topic, number) for number in self._partitions]
        with self._reading():
            begins, ends = ends_of(self._consumer, parts, begins=True), ends_of(self._consumer, parts)
            middle = begins if since is None else offsets_at(self._consumer, parts, since, ends)
        for first, until in (middle, ends), (begins, middle):
            missing = {place: offsets - seen[place] for place, offsets in wanted.items()}
            for record in self._records(first, progress, until) if any(missing.values()) else ():
                if (letter := read_letter(record)) and letter.source_offset in missing.get((letter.topic, letter.source_partition), ()):
                    seen[letter.topic, letter.source_partition].add(letter.source_offset)
        return Sighted({place: frozenset(found) for place, found in seen.items()}, kept_seconds, kept_from)

    def _kept(self) -> tuple[float, int | None]:
        """For how long, and from when on if the topic is also bounded by size and has come to that bound, or may have.

        Brokers tell their sizes to who may describe the cluster, and nothing, not even an error, to who may not.
        """
        config = self._config()
        milliseconds, size = int(config.get("retention.ms", -1)), int(config.get("retention.bytes", -1))
        kept_seconds = float("inf") if milliseconds < 0 else milliseconds / 1000
        if size < 0:
            return kept_seconds, None
        sizes, parts = self._sizes(), (TopicPartition(self.topic, number) for number in self._partitions)
        full = [part for part in parts if sizes.get(part, size) >= size]
        times = [self._first_time(part) for part in full]
        return kept_seconds, max((at for at in times if at is not None), default=None)

    def _config(self) -> dict[str, str]:
        names = dict.fromkeys(("retention.ms", "retention.bytes"))
        with self._reading(), self._admin() as admin:
            found = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, self.topic, names)], config_filter="all")
        return {name: entry["value"] for name, entry in found["topic"][self.topic].items()}

    def _sizes(self) -> dict[TopicPartition, int]:
        """Bytes of each partition of which that is told; after a deletion by size one holds at least what it may keep."""
        with self._reading(), self._admin() as admin:
            brokers = admin.describe_log_dirs([self.topic])
        sizes: dict[TopicPartition, int] = {}
        for folder in (folder for broker in brokers for folder in broker["log_dirs"]):
            for part in (part for topic in folder["topics"] if topic["name"] == self.topic for part in topic["partitions"]):
                at = TopicPartition(self.topic, part["partition_index"])
                sizes[at] = max(sizes.get(at, 0), part["partition_size"])
        return sizes

    def _first_time(self, part: TopicPartition) -> int | None:
        """Time of the first record, where some before it were deleted."""
        with self._reading():
            begin = ends_of(self._consumer, [part], begins=True)[part]
        record = next(self._records({part: begin}, lambda _, __: None, {part: begin + 1}), None) if begin else None
        return None if record is None else int(record.timestamp)

    def _reading(self) -> AbstractContextManager[None]:
        return answering(self._settings, "the dead-letter topic cannot be read")

    @contextmanager
    def _admin(self) -> Iterator[Any]:
        admin = client(KafkaAdminClient, self._settings, client_id=CLIENT)
        try:
            yield admin
        finally:
            admin.close()


def encode_note(note: Note) -> bytes:
    """The value of a note."""
    return msgspec.json.encode(note)


def _told(record: Any) -> Iterator[tuple[Place, Resent]]:
    """What a note says; nothing, if it is not one of ours."""
    try:
        note = msgspec.json.decode(record.value or b"", type=Note)
    except msgspec.MsgspecError:
        return
    for offset in note.letters:
        yield (record.partition, offset), Resent(record.timestamp, note.state == "sent")
