"""Labels from a topic in; what `trainwatch label` would have written, each once, out: for review tools that cannot run a command.

    {"finding": "a378b78a07ce...", "label": "benign", "because": "admin_ticket", "note": "CHG-17, entered late", "account": "u101"}

    poll ──► entry in the custody log ──► label ──► offsets committed

Who may write the topic may label, under whatever name: the rights on the topic are the gate, and the log says that a label came through it.
A label counts from the broker's time, so that one that waited does not stand above what was said meanwhile.

Holds: an offset is committed only after its label stands; one that comes again is known by its id and is not written twice; a value that
is none is told and passed over, and holds up nobody.
"""

import hashlib
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any, NamedTuple, Self
from uuid import UUID

import msgspec
from kafka.errors import CommitFailedError, KafkaError

from pipeline.errors import BrokerUnavailable, ConfigError, DecodeError, RejectedRecord, SchemaMismatch
from pipeline.model.outcome import Record
from pipeline.runtime.admin import LABELS
from pipeline.runtime.consuming import consumer, record_of
from pipeline.runtime.notify import now_ms
from pipeline.settings import Settings
from pipeline.sink import labels
from pipeline.sink.clickhouse import Database
from pipeline.topology import public_topic

GROUP_SUFFIX = ".labels"
CLIENT = "trainwatch-labels"
ID_HEADER = "ce_id"


class Told(NamedTuple):
    """What one round did."""

    noted: int = 0
    known: int = 0  # came before
    refused: int = 0


def read(value: bytes) -> labels.Said:
    """Raises DecodeError or SchemaMismatch: it is no label."""
    try:
        said = msgspec.json.decode(value, type=labels.Said)
    except msgspec.ValidationError as error:
        raise SchemaMismatch(f"no label: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DecodeError(f"no label: {error}") from error
    if why := labels.refusal(said):
        raise SchemaMismatch(f"no label: {why}")
    if not said.account.strip() or not said.account.isprintable():
        raise SchemaMismatch("no label: it does not say whose it is")
    return said


def id_of(record: Record) -> UUID:
    """Of the label: by what its sender calls it, else by its place, which a topic that was made anew would give again at another time."""
    named = next((value for name, value in record.headers if name == ID_HEADER), b"")
    place = f"{record.topic}/{record.partition}/{record.offset}/{record.timestamp}".encode()
    return UUID(bytes=hashlib.sha256(named or place).digest()[:16], version=5)


def said_at(record: Record, now: int) -> datetime:
    """When it was sent; now, where the sender's own clock says something that cannot be."""
    return datetime.fromtimestamp((record.timestamp if 0 < record.timestamp < now else now) / 1000, UTC)


class Labeller:
    """Use as a context manager.  Raises BrokerUnavailable; ConfigError when the topic is missing."""

    def __init__(self, settings: Settings, database: Database, say: Callable[[str], None]) -> None:
        self._database, self._say = database, say
        self.topic = public_topic(settings.kafka.topic_prefix, LABELS)
        options = {"client_id": CLIENT, "group_id": settings.kafka.group + GROUP_SUFFIX, "auto_offset_reset": "earliest"}
        with ExitStack() as opened:
            self._consumer: Any = opened.enter_context(consumer(settings.kafka, **options))
            if self.topic not in self._consumer.topics():
                raise ConfigError(f"the topic {self.topic} does not exist", advice="Run `trainwatch topics create`.")
            self._consumer.subscribe([self.topic])
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def round(self, seconds: float) -> Told:
        """Wait at most `seconds` for labels and note them.  Raises TransientError or FatalError: then nothing of the round is committed."""
        noted = known = refused = 0
        try:
            fetched = self._consumer.poll(timeout_ms=round(seconds * 1000))
            for record in (record_of(each) for some in fetched.values() for each in some):
                try:
                    if self._note(record):
                        noted += 1
                    else:
                        known += 1
                except RejectedRecord as error:
                    refused += 1
                    self._say(f"{record.topic}/{record.partition}@{record.offset}: passed over: {error}")
            if fetched:
                self._consumer.commit()
        except CommitFailedError:  # the partition went to another one: its labels stand, and taking them again is harmless
            pass
        except KafkaError as error:
            raise BrokerUnavailable(f"labels cannot be read: {error!r}") from error
        return Told(noted, known, refused)

    def caught_up(self) -> bool:
        """Whether all that is on the topic was taken.  Raises BrokerUnavailable."""
        try:
            parts = list(self._consumer.assignment())
            ends = self._consumer.end_offsets(parts) if parts else {}
            return bool(parts) and all(self._consumer.position(part) >= end for part, end in ends.items())
        except KafkaError as error:
            raise BrokerUnavailable(f"labels cannot be read: {error!r}") from error

    def _note(self, record: Record) -> bool:
        said, label_id = read(record.value or b""), id_of(record)
        whole = len(said.finding) >= labels.PREFIX_MIN
        found = [each for each in labels.find(self._database, said.finding) if each.finding_id == said.finding] if whole else []
        if not found:
            raise SchemaMismatch(f"there is no finding {said.finding!r}")
        if labels.is_noted(self._database, said.finding, label_id):
            return False
        custody = labels.custody_of(said, found[0], f"{said.account} through {record.topic}", now_ms())
        labels.add(self._database, found[0], said, custody, more={"label_id": label_id, "at": said_at(record, custody.time)})
        return True
