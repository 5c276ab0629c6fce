"""Dead letters in; which of them go back to the topics they came from, and which do not and why, out; and then the sending itself.

A record goes back as it came: key, value, time and headers, to the partition it was in.  Its attempts and first failure travel with it, so
a record that is refused again says so.  Facts go to the facts topic of their stage, where merging makes a second delivery harmless; a raw
record that comes twice is one event with two rows, which the keyed stages fold once.

    letters ── plan ──► to send: in pieces of PIECE   note "begun" ──► records, acknowledged ──► note "sent"
                  └──► refused, parked, sent before, twice on the topic

A record that was refused `dead_letters.attempts_max` times is parked: it stays on the topic, is listed, and goes back only when somebody
asks for parked ones.  Nothing is written for it, since the letter itself says how often; a raised setting releases it.

Holds: nothing is sent that is not whole, nor to a topic that is not one of ours, since the headers of a letter are only data; what was
acknowledged is noted even when the rest of its piece failed.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import islice
from typing import Any

import msgspec
from kafka import KafkaProducer
from kafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError

from pipeline.errors import BrokerUnavailable
from pipeline.model.words import many
from pipeline.runtime.access import client
from pipeline.runtime.dead_letter import Letter, headers_again
from pipeline.runtime.dead_letters import NOTE_HEADER, Note, Place, Resent, encode_note
from pipeline.runtime.producer import partition_of
from pipeline.settings import KafkaSettings
from pipeline.topology import PUBLIC, Topology

PIECE = 500  # letters between two notes
REQUEST_BYTES_MAX = 64 << 20  # the client's own bound; the topics' are the broker's word
ANSWER_SECONDS = 60.0
TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)

Targets = Mapping[str, int]  # topic -> partitions


class Why(StrEnum):
    """Why a letter is not sent: a closed set, for scripts."""

    PARKED = "parked"
    NOT_OURS = "not_ours"
    PUBLIC_VALUE = "public_value"
    NO_TOPIC = "no_topic"
    CUT = "cut"
    HEADERS_LEFT_OUT = "headers_left_out"
    NO_VALUE = "no_value"
    NO_KEY = "no_key"
    TOO_LARGE = "too_large"


class Refusal(msgspec.Struct, frozen=True):
    """A letter that is not sent, and why."""

    partition: int
    offset: int
    code: Why
    reason: str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What would be sent, and what would not."""

    send: tuple[Place, ...]
    by_topic: dict[str, int]
    by_code: dict[str, int]
    refused: tuple[Refusal, ...]
    sent_before: int  # left out, unless wanted again
    twice: int  # left out: the same record has another letter
    unsure: int  # of those to send: a former sending broke off
    again: int  # of those to send: sent before
    parked: int  # of those that are not sent: refused too often


class Sent(msgspec.Struct, frozen=True):
    """What the broker has acknowledged."""

    records: int
    by_topic: dict[str, int]
    refused: tuple[Refusal, ...]


def allowed_topics(topology: Topology) -> tuple[frozenset[str], frozenset[str]]:
    """Topics that take records again: inputs and facts; and those whose records others have seen: public ones."""
    read = frozenset(topic for stage in topology.stages for topic in stage.reads)
    public = frozenset(topology.public_topic(content) for content in PUBLIC) & read
    return read - public, public


def refusal(letter: Letter, targets: Targets, topology: Topology, *, public: bool) -> tuple[Why, str] | None:
    """Why a letter cannot go back; None when it can."""
    ours, seen = allowed_topics(topology)
    if letter.topic not in ours | seen:
        return Why.NOT_OURS, f"{letter.topic!r} is no topic of this site"
    if letter.topic in seen and not public:
        return Why.PUBLIC_VALUE, "a public value: at its new offset it would pass for the newest of its id (--public sends it all the same)"
    if letter.topic not in targets:
        return Why.NO_TOPIC, f"the topic {letter.topic} does not exist"
    if letter.truncated is not None:
        return Why.CUT, f"the value was cut from {many(letter.truncated, 'byte')}, or the key was cut: send it again from its source"
    if letter.headers_left_out:
        return (
            Why.HEADERS_LEFT_OUT,
            f"{many(letter.headers_left_out, 'header')} did not fit: without, it may be read as somebody else's",
        )
    if letter.value is None:
        return Why.NO_VALUE, "it has no value, and no release takes that"
    if letter.key is None and letter.topic in _facts(topology):
        return Why.NO_KEY, "not a fact: without a key it would be taken for watermarks"
    return None


def _facts(topology: Topology) -> frozenset[str]:
    return frozenset(topic for stage in topology.stages if stage.takes == "facts" for topic in stage.reads)


def plan(
    letters: Iterable[Letter],
    resent: Mapping[Place, Resent],
    targets: Targets,
    topology: Topology,
    *,
    attempts_max: int,
    again: bool = False,
    public: bool = False,
    parked: bool = False,
) -> Plan:
    """Sort the letters.  One record may have several letters, because a checkpoint that is repeated sends them again: one goes."""
    send: list[Letter] = []
    refused: list[Refusal] = []
    origins: set[tuple[str, int, int, int]] = set()
    sent_before = twice = 0
    for letter in letters:
        before = resent.get(letter.place)
        if letter.origin in origins:
            twice += 1
        elif before is not None and before.sure and not again:
            sent_before += 1
            origins.add(letter.origin)
        elif why := refusal(letter, targets, topology, public=public):
            refused.append(Refusal(*letter.place, *why))
        elif letter.attempts >= attempts_max and not parked:
            origins.add(letter.origin)
            refused.append(Refusal(*letter.place, Why.PARKED, f"refused {letter.attempts} times (--parked sends it all the same)"))
        else:
            origins.add(letter.origin)
            send.append(letter)
    marks = [resent[letter.place] for letter in send if letter.place in resent]
    return Plan(
        send=tuple(sorted(letter.place for letter in send)),
        by_topic=dict(Counter(letter.topic for letter in send)),
        by_code=dict(Counter(letter.code for letter in send)),
        refused=tuple(refused),
        sent_before=sent_before,
        twice=twice,
        unsure=sum(not mark.sure for mark in marks),
        again=sum(mark.sure for mark in marks),
        parked=sum(each.code is Why.PARKED for each in refused),
    )


def send(
    settings: KafkaSettings, topic: str, letters: Iterator[Letter], targets: Targets, progress: Callable[[int], None] = lambda _: None
) -> Sent:
    """Send them, and note it on `topic`, theirs.  Raises BrokerUnavailable; what was acknowledged by then is noted."""
    counts: Counter[str] = Counter()
    refused: list[Refusal] = []
    options = {"client_id": "trainwatch-dlq", "max_request_size": REQUEST_BYTES_MAX, "compression_type": "lz4", "linger_ms": 20}
    producer = client(KafkaProducer, settings, **options)
    try:
        while piece := list(islice(letters, PIECE)):
            _note(producer, topic, "begun", piece)
            acknowledged, failed = _send_piece(producer, piece, targets)
            _note(producer, topic, "sent", acknowledged)
            counts.update(letter.topic for letter in acknowledged)
            refused += [
                Refusal(*letter.place, Why.TOO_LARGE, f"larger than {letter.topic} accepts")
                for letter, why in failed
                if isinstance(why, TOO_LARGE)
            ]
            broken = next((why for _, why in failed if not isinstance(why, TOO_LARGE)), None)
            if broken is not None:
                raise BrokerUnavailable(
                    f"sent and noted: {many(counts.total(), 'record')}; then the broker failed: {broken!r}",
                    advice="Run the same command again: what was sent is left out.",
                )
            progress(counts.total())
    except KafkaError as error:
        raise BrokerUnavailable(f"sent: {many(counts.total(), 'record')}; then the broker failed: {error!r}") from error
    finally:
        producer.close()
    return Sent(counts.total(), dict(counts), tuple(refused))


def _send_piece(producer: Any, piece: Sequence[Letter], targets: Targets) -> tuple[list[Letter], list[tuple[Letter, KafkaError]]]:
    waiting: list[tuple[Letter, Any]] = []
    failed: list[tuple[Letter, KafkaError]] = []
    for letter in piece:
        try:
            future = producer.send(
                letter.topic,
                value=letter.value,
                key=letter.key,
                headers=headers_again(letter),
                partition=partition_for(letter, targets[letter.topic]),
                timestamp_ms=letter.timestamp if letter.timestamp >= 0 else None,
            )
        except KafkaError as error:
            failed.append((letter, error))
        else:
            waiting.append((letter, future))
    producer.flush()
    acknowledged: list[Letter] = []
    for letter, future in waiting:
        try:
            future.get(ANSWER_SECONDS)
        except KafkaError as error:
            failed.append((letter, error))
        else:
            acknowledged.append(letter)
    return acknowledged, failed


def partition_for(letter: Letter, count: int) -> int:
    """The one it was in; if that is gone, the one that its key chooses."""
    if letter.source_partition < count:
        return letter.source_partition
    return letter.source_partition % count if letter.key is None else partition_of(letter.key, count)


def _note(producer: Any, topic: str, state: str, letters: Collection[Letter]) -> None:
    """In the partition of the letters, after them.  Raises KafkaError."""
    by_partition: dict[int, list[int]] = {}
    for letter in letters:
        by_partition.setdefault(letter.partition, []).append(letter.offset)
    futures = [
        producer.send(
            topic,
            value=encode_note(Note(state, tuple(offsets))),
            headers=[(NOTE_HEADER, b"resent"), ("content-type", b"application/json")],
            partition=partition,
        )
        for partition, offsets in by_partition.items()
    ]
    producer.flush()
    for future in futures:
        future.get(ANSWER_SECONDS)
