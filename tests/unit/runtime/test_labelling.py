"""Labels on the topic: what is one, and by what one that comes again is known."""

import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator
from kafka import OffsetAndMetadata, TopicPartition

from pipeline.errors import DecodeError, RejectedRecord, SchemaMismatch
from pipeline.model.outcome import Record
from pipeline.runtime import consuming, labelling
from pipeline.runtime.labelling import HOUR_MS, WAIT_MS, Labeller, Waiting, id_of, read, said_at
from pipeline.settings import Settings, schemas_folder
from pipeline.sink.clickhouse import Database
from pipeline.sink.labels import Said, Word

FINDING = "a378b78a07ce" + "0" * 20
SAID = {"finding": FINDING, "label": "benign", "because": "admin_ticket", "note": "CHG-17", "account": "u101"}
SCHEMA = Draft202012Validator(json.loads((schemas_folder() / "events" / "trainwatch.labels.v1.schema.json").read_text()))

PARTS = [TopicPartition("trainwatch.labels.v1", number) for number in range(2)]


def test_a_label_is_read() -> None:
    """Fields that a later version adds are passed over."""
    said = read(json.dumps({**SAID, "more": 1}).encode())
    assert (said.finding, said.label, said.because, said.note, said.account, said.on_behalf_of) == (
        FINDING, Word.BENIGN, "admin_ticket", "CHG-17", "u101", "",
    )  # fmt: skip
    assert SCHEMA.is_valid({**SAID, "more": 1})


WRONG = [
    ({"label": "maybe"}, True),
    ({"label": None}, True),
    ({"account": ""}, True),
    ({"account": 7}, True),
    ({"account": "x" * 101}, True),
    ({"note": "x" * 2001}, True),
    ({"finding": ["a"]}, True),
    ({"finding": FINDING[:12]}, True),
    # what a schema cannot say
    ({"account": " "}, False),
    ({"account": "u101\x1b[2J"}, False),
    ({"because": ""}, False),
    ({"because": "luck"}, False),
    ({"label": "true"}, False),
]


@pytest.mark.parametrize(("changes", "by_schema"), WRONG, ids=str)
def test_what_is_no_label_is_refused(changes: dict[str, Any], by_schema: bool) -> None:
    """With the reason; the schema says the same as far as it can."""
    with pytest.raises(SchemaMismatch, match="no label: "):
        read(json.dumps({**SAID, **changes}).encode())
    assert SCHEMA.is_valid({**SAID, **changes}) != by_schema


@pytest.mark.parametrize("value", [b"", b"{", b"\xff\xfe", b"[]", b"null", b'{"finding": "\xff"}', b"[" * 100_000])
def test_any_bytes_are_refused_as_a_record(value: bytes) -> None:
    """Whoever may write the topic stops nobody with it."""
    with pytest.raises(RejectedRecord):
        read(value)
    with pytest.raises(DecodeError):
        read(b"{")


def sent(offset: int = 1, timestamp: int = 1, name: bytes = b"", partition: int = 0) -> Record:
    """A record of the topic."""
    headers = (("ce_id", name),) if name else ()
    return Record(topic="trainwatch.labels.v1", partition=partition, offset=offset, timestamp=timestamp, value=b"", headers=headers)


def said(**changes: str) -> Said:
    """A label."""
    return msgspec.convert({**SAID, **changes}, Said)


def test_a_label_that_comes_again_has_its_id() -> None:
    """By what its sender calls it, wherever it comes; without that by its place, at its time."""
    named = b"review-17"
    assert id_of(sent(1, name=named), said()) == id_of(sent(2, 2, name=named), said())
    assert id_of(sent(), said()) == id_of(sent(), said())
    assert len({id_of(record, said()) for record in (sent(), sent(2), sent(1, 2), sent(name=named))}) == 4


@pytest.mark.parametrize("changes", [{"account": "u102"}, {"note": "other"}, {"on_behalf_of": "u103"}, {"because": "preempted"}])
def test_a_name_that_is_taken_silences_nobody(changes: dict[str, str]) -> None:
    """Another label under the id of a former one is another label."""
    assert id_of(sent(name=b"1"), said()) != id_of(sent(name=b"1"), said(**changes))


def test_a_label_waits_for_its_finding() -> None:
    """It holds up no other one, and the offset stays before it until it is done."""
    waiting = Waiting()
    waiting.keep(sent(4), said(finding="0" * 32))
    waiting.keep(sent(5), said())
    waiting.keep(sent(4), said(finding="0" * 32))  # read again
    ready, over = waiting.settled({FINDING}, 10)
    assert ([each.record.offset for each in ready], over) == ([5], [])
    waiting.forget(ready)
    assert waiting.findings() == {"0" * 32}
    assert waiting.reached({0: 6, 1: 9}) == {0: 4, 1: 9}
    waiting.forget(waiting.settled({"0" * 32}, 10)[0])
    assert (len(waiting), waiting.reached({0: 6, 1: 9})) == (0, {0: 6, 1: 9})


def test_a_label_is_given_up_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time, counted from when it was sent; before that only where more wait than can be kept, the oldest first."""
    waiting = Waiting()
    for offset in range(3):
        waiting.keep(sent(offset, 1_000 + offset), said())
    assert [len(each) for each in waiting.settled((), 1_001 + WAIT_MS)] == [0, 2]
    assert [len(each) for each in waiting.settled({FINDING}, 1_001 + WAIT_MS)] == [3, 0]
    monkeypatch.setattr(labelling, "WAITING_MAX", 2)
    assert [each.record.offset for each in waiting.settled((), 2_000)[1]] == [0]


def test_what_waits_in_a_partition_that_went_is_forgotten() -> None:
    """Whoever reads it now has it again."""
    waiting = Waiting()
    waiting.keep(sent(1), said())
    waiting.keep(sent(1, partition=1), said())
    waiting.only({1})
    assert waiting.reached({1: 3}) == {1: 1}


@pytest.mark.parametrize(("timestamp", "seconds"), [(1_000, 1), (-9 * 10**15, 5), (9 * 10**15, 5), (-1, 5)])
def test_an_absurd_time_of_a_sender_is_not_believed(timestamp: int, seconds: int) -> None:
    """It must not keep the labels behind it from being read."""
    record = Record(topic="t", partition=0, offset=0, timestamp=timestamp, value=b"")
    assert said_at(record, 5_000) == seconds * 1_000


@pytest.mark.parametrize(
    ("timestamp", "over"),
    [
        (-1, True),
        (0, True),
        (9 * 10**15, True),
        (10**13 + HOUR_MS, True),
        (10**13 + HOUR_MS - 1, False),
        (10**13, False),
        (10**13 - WAIT_MS, True),
    ],
)
def test_a_label_of_a_time_that_cannot_be_does_not_wait(timestamp: int, over: bool) -> None:
    """It would never grow older, and hold back the committed offset for ever; a clock that is a little ahead does no harm."""
    waiting = Waiting()
    waiting.keep(sent(timestamp=timestamp), said())
    assert len(waiting.settled((), 10**13)[1]) == over
    assert len(waiting.settled({FINDING}, 10**13)[0]) == 1  # it is noted all the same, where its finding is there


@pytest.mark.parametrize(("timestamp", "why"), [(10**13 - WAIT_MS, "24 h later"), (0, "message.timestamp.type=LogAppendTime")])
def test_a_label_that_is_given_up_says_why(timestamp: int, why: str) -> None:
    """In the custody log, for whoever sent it."""
    assert why in labelling.missing(sent(timestamp=timestamp), said(), 10**13)


class HalfLed:
    """A client with a partition whose leader is known, and one of which nobody tells where it is to be read from."""

    committed: dict[TopicPartition, Any]

    def __init__(self, **_: Any) -> None:
        self._coordinator = SimpleNamespace(request_rejoin=lambda: None)

    def topics(self) -> set[str]:
        return {"trainwatch.labels.v1"}

    def subscribe(self, topics: Sequence[str], listener: Any) -> None:
        listener.on_partitions_assigned(topics)

    def poll(self, timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        place = {"topic": PARTS[0].topic, "partition": 0, "offset": 6, "timestamp": timeout_ms, "key": None}
        return {PARTS[0]: [SimpleNamespace(**place, value=b"no label", headers=[])]}

    def assignment(self) -> set[TopicPartition]:
        return set(PARTS)

    def position(self, part: TopicPartition, timeout_ms: int) -> int | None:
        return 7 + timeout_ms if part == PARTS[0] else None

    def commit(self, offsets: dict[TopicPartition, Any], timeout_ms: int) -> None:
        assert timeout_ms > 0
        HalfLed.committed = offsets

    def close(self, timeout_ms: int) -> None: ...


def test_a_partition_without_a_leader_holds_back_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was done of the others is committed, and nobody waits for it."""
    monkeypatch.setattr(consuming, "KafkaConsumer", HalfLed)
    settings = Settings()
    with Labeller(settings, Database(settings.clickhouse), lambda _: None) as labeller:
        assert labeller.round(0.0).refused == 1
    assert HalfLed.committed == {PARTS[0]: OffsetAndMetadata(7)}
