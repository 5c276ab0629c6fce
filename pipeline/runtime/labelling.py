"""Labels from a topic in; what `trainwatch label` would have written, each once, out: for review tools that cannot run a command.

    {"finding": "a378b78a07ce...", "label": "benign", "because": "admin_ticket", "note": "CHG-17, entered late", "account": "u101"}

    poll ──► finding there? ── yes ──► entry in the custody log ──► label ──► offsets committed
                   └─ no ──► kept, and asked for again; after a day given up: an entry in the custody log says so

A benign one by an explanation that the finding's detector does not know is given up at once.

A label may be quicker than its finding, which has to come through the pipeline: those after one that waits are noted meanwhile, and the
offset that is committed stays before it, so that whoever reads next has it again.

Who may write the topic may label, under whatever name: the rights on the topic are the gate, and the log says that a label came through it.
A label counts from the broker's time, so that one that waited does not stand above what was said meanwhile.  On a topic on which senders
write the time, one whose time cannot be counts from now, and does not wait.

Holds: an offset is committed only after its label stands or its end is on record; one that comes again is known by its id and content and
is not written twice; a value that is none is told and passed over, and holds up nobody.
"""

import hashlib
import re
from collections.abc import Callable, Container, Iterable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any, NamedTuple, Self
from uuid import UUID

import msgspec
from kafka import OffsetAndMetadata, TopicPartition
from kafka.errors import CommitFailedError, KafkaError

from pipeline.errors import BrokerUnavailable, ConfigError, DecodeError, RejectedRecord, SchemaMismatch
from pipeline.model.operator import THROUGH
from pipeline.model.outcome import Record
from pipeline.runtime.admin import LABELS
from pipeline.runtime.consuming import Group, consumer, ends_of, record_of
from pipeline.runtime.notify import ANSWER_MS, now_ms
from pipeline.settings import Settings
from pipeline.sink import labels
from pipeline.sink.clickhouse import Database
from pipeline.topology import public_topic

GROUP_SUFFIX = ".labels"
CLIENT = "trainwatch-labels"
ID_HEADER = "ce_id"
FINDING = re.compile(r"[0-9a-f]{32}")
HOUR_MS = 3_600_000
WAIT_MS = 24 * HOUR_MS  # for the finding, from when the label was sent
WAITING_MAX = 10_000
ASK_MS = 5_000  # between two looks for findings that were missing


class Told(NamedTuple):
    """What one round did."""

    noted: int = 0
    known: int = 0  # came before
    refused: int = 0  # was not a label, or its finding never came


def read(value: bytes) -> labels.Said:
    """Raises DecodeError or SchemaMismatch: it is not a label."""
    try:
        said = msgspec.json.decode(value, type=labels.Said)
    except msgspec.ValidationError as error:
        raise SchemaMismatch(f"no label: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DecodeError(f"no label: {error}") from error
    if why := labels.refusal(said):
        raise SchemaMismatch(f"no label: {why}")
    if not FINDING.fullmatch(said.finding):
        raise SchemaMismatch(f"no label: {said.finding[:40]!r} is no whole id of a finding")
    if not said.account.strip() or not said.account.isprintable():
        raise SchemaMismatch("no label: it does not say whose it is")
    return said


def id_of(record: Record, said: labels.Said) -> UUID:
    """Of the label: by what its sender calls it, else by its place, which a topic that was made anew would give again at another time.

    And by what it says: a name that another one has used already must not silence whoever says something else.
    """
    named = next((value for name, value in record.headers if name == ID_HEADER), b"")
    place = f"{record.topic}/{record.partition}/{record.offset}/{record.timestamp}".encode()
    return UUID(bytes=hashlib.sha256(hashlib.sha256(named or place).digest() + msgspec.json.encode(said)).digest()[:16], version=5)


def said_at(record: Record, now: int) -> int:
    """When it was sent, UTC ms; now, where the sender's own clock says something that cannot be."""
    return record.timestamp if 0 < record.timestamp < now else now


def waited(record: Record, now: int) -> int:
    """For how long, ms; as long as one may, where its time cannot be: it would not grow older, and hold back the offset for ever."""
    return now - record.timestamp if 0 < record.timestamp < now + HOUR_MS else WAIT_MS


def missing(record: Record, said: labels.Said, now: int) -> str:
    """Why it is given up."""
    there_is_none = f"there is no finding {said.finding}"
    if waited(record, now) == now - record.timestamp:
        return f"{there_is_none} {waited(record, now) / HOUR_MS:.0f} h later"
    return f"{there_is_none} now, and a record of the time {record.timestamp} cannot wait: set message.timestamp.type=LogAppendTime"


class Kept(NamedTuple):
    """A label, and the record by which it came."""

    record: Record
    said: labels.Said


class Waiting:
    """Labels whose findings are not known to be there, in the order in which they came; pure."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, int], Kept] = {}  # partition and offset: read again, it is the same one

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, record: Record, said: labels.Said) -> None:
        self._kept[record.partition, record.offset] = Kept(record, said)

    def only(self, partitions: Container[int]) -> None:
        """The others are somebody else's now, who reads them again."""
        self._kept = {place: each for place, each in self._kept.items() if place[0] in partitions}

    def findings(self) -> set[str]:
        """That are waited for."""
        return {each.said.finding for each in self._kept.values()}

    def settled(self, there: Container[str], now: int) -> tuple[list[Kept], list[Kept]]:
        """Those whose finding is there, and those to be given up: their time is over, or they are more than can be kept."""
        ready = [each for each in self._kept.values() if each.said.finding in there]
        left = [each for each in self._kept.values() if each.said.finding not in there]
        surplus = len(left) - WAITING_MAX
        over = [each for place, each in enumerate(left) if place < surplus or waited(each.record, now) >= WAIT_MS]
        return ready, over

    def forget(self, done: Iterable[Kept]) -> None:
        """These stand, or their end is on record."""
        for each in done:
            self._kept.pop((each.record.partition, each.record.offset), None)

    def reached(self, positions: Mapping[int, int]) -> dict[int, int]:
        """By partition: up to where all is done, of where it was read up to."""
        done = dict(positions)
        for partition, offset in self._kept:
            done[partition] = min(done.get(partition, offset), offset)
        return done


class Labeller:
    """Use as a context manager.  Raises BrokerUnavailable; ConfigError when the topic is missing."""

    def __init__(self, settings: Settings, database: Database, say: Callable[[str], None]) -> None:
        self._settings, self._database, self._say = settings, database, say
        self.topic = public_topic(settings.kafka.topic_prefix, LABELS)
        self.waiting = Waiting()
        self._asked = 0
        options = {"client_id": CLIENT, "group_id": settings.kafka.group + GROUP_SUFFIX, "auto_offset_reset": "earliest"}
        with ExitStack() as opened:
            self._consumer: Any = opened.enter_context(consumer(settings.kafka, **options))
            if self.topic not in self._consumer.topics():
                raise ConfigError(f"the topic {self.topic} does not exist", advice="Run `trainwatch topics create`.")
            self._group = Group(self._consumer, [self.topic])
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def round(self, seconds: float) -> Told:
        """Wait at most `seconds` for labels and note them.

        Raises TransientError or FatalError: then nothing of the round is committed, and the next one tries it again.
        """
        try:
            fetched = self._group.poll(seconds)
            self.waiting.only({part.partition for part in self._consumer.assignment()})
            refused = sum(not self._read(record_of(each)) for some in fetched.values() for each in some)
            told = self._settle(anew=bool(fetched))
            if fetched or any(told):
                self._commit()
        except CommitFailedError:  # the partition went to another one: its labels stand, and taking them again is harmless
            pass
        except KafkaError as error:
            raise BrokerUnavailable(f"labels cannot be read: {error!r}") from error
        return told._replace(refused=told.refused + refused)

    def caught_up(self) -> bool:
        """Whether all that is on the topic was taken, but for what waits; or others of the group take all.  Raises BrokerUnavailable."""
        try:
            parts = list(self._consumer.assignment())
            return self._group.joined and all(self._consumer.position(part) >= end for part, end in ends_of(self._consumer, parts).items())
        except KafkaError as error:
            raise BrokerUnavailable(f"labels cannot be read: {error!r}") from error

    def _read(self, record: Record) -> bool:
        try:
            self.waiting.keep(record, read(record.value or b""))
        except RejectedRecord as error:
            self._say(f"{record.topic}/{record.partition}@{record.offset}: passed over: {error}")
            return False
        return True

    def _settle(self, *, anew: bool) -> Told:
        """Note what waits and can be noted.  Raises TransientError or FatalError."""
        now = now_ms()
        if not self.waiting or (not anew and now < self._asked + ASK_MS):
            return Told()
        self._asked = now
        there = {each.finding_id: each for each in labels.exactly(self._database, self.waiting.findings())}
        ready, over = self.waiting.settled(there, now)
        told = [self._note(record, said, there[said.finding], now) for record, said in ready]
        told += [self._give_up(record, said, now, missing(record, said, now)) for record, said in over]
        self.waiting.forget([*ready, *over])
        return Told(*map(sum, zip(*told, strict=True)))

    def _note(self, record: Record, said: labels.Said, finding: labels.Labelled, now: int) -> Told:
        label_id = id_of(record, said)
        if labels.is_noted(self._database, said.finding, label_id):
            return Told(known=1)
        if why := labels.refusal(said, finding.detector):
            return self._give_up(record, said, now, why)
        custody = labels.custody_of(said, finding, self._sender(said), now_ms())
        at = datetime.fromtimestamp(said_at(record, custody.time) / 1000, UTC)
        more = {"label_id": label_id, "at": at}
        labels.add(self._database, finding, said, custody, person=labels.person(self._settings, said, custody), more=more)
        return Told(noted=1)

    def _give_up(self, record: Record, said: labels.Said, now: int, why: str) -> Told:
        self._say(f"{record.topic}/{record.partition}@{record.offset}: given up: {why}")
        labels.give_up(self._database, said, self._sender(said), now, why)
        return Told(refused=1)

    def _sender(self, said: labels.Said) -> str:
        return f"{said.account}{THROUGH}{self.topic}"

    def _commit(self) -> None:
        """Also while a partition has no leader: where it is to be read from is not known then, and nothing of it is done."""
        places = {part.partition: self._consumer.position(part, timeout_ms=0) for part in self._consumer.assignment()}
        done = self.waiting.reached({number: at for number, at in places.items() if at is not None})
        offsets = {TopicPartition(self.topic, number): OffsetAndMetadata(offset) for number, offset in done.items()}
        self._consumer.commit(offsets, timeout_ms=ANSWER_MS)
