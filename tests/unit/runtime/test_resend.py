"""Dead letters on their way back: read as they were written, sorted into what goes and what does not, sent as they came."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from pipeline.errors import ErrorCode
from pipeline.model.outcome import Record
from pipeline.runtime.dead_letter import HEADER_BYTES_MAX, VALUE_BYTES_MAX, Letter, dead_letter, headers_again, read_letter
from pipeline.runtime.dead_letters import Resent, Selection
from pipeline.runtime.resend import Plan, Why, partition_for, plan
from pipeline.settings import Settings
from pipeline.topology import build_topology
from tests.unit.runtime.build import records

TOPOLOGY = build_topology(Settings())
TARGETS = {"logs.access": 4, "trainwatch.facts.job.v1": 4, "trainwatch.findings.v1": 4}


def as_read(record: Record, offset: int = 0, code: ErrorCode = ErrorCode.DECODE_ERROR, time: int = 9_000) -> Letter | None:
    """The record after it was refused, as a consumer of the dead-letter topic gets it."""
    sent = dead_letter("ingest", record, code, "no brace")
    got = SimpleNamespace(partition=1, offset=offset, timestamp=time, key=sent.key, value=sent.value, headers=list(sent.headers))
    return read_letter(got)


def letter(offset: int = 0, *, of: int = 7, **fields: Any) -> Letter:
    """A letter at an offset of its topic, of the record at another."""
    found = as_read(records(of, **fields)[0], offset)
    assert found is not None
    return found


def planned(*letters: Letter, resent: dict[tuple[int, int], Resent] | None = None, **wanted: bool) -> Plan:
    """What is done with letters."""
    return plan(letters, resent or {}, TARGETS, TOPOLOGY, attempts_max=3, **wanted)


def test_a_letter_is_read_as_it_was_written() -> None:
    """Everything that a replay needs comes back."""
    found = letter(3, of=7, headers=(("host", b"gpu-012"), ("x-dlq-attempts", b"2"), ("x-dlq-first-failed-at", b"1234")))
    assert found.place == (1, 3)
    assert found.origin == ("logs.access", 0, 7, 5_000)
    assert (found.stage, found.code, found.reason) == ("ingest", "decode_error", "no brace")
    assert (found.key, found.value, found.headers) == (b"key", b"line", (("host", b"gpu-012"),))
    assert (found.attempts, found.first_failed_at, found.truncated, found.headers_left_out) == (3, 1234, None, 0)


def test_attempts_count_up_on_every_way_back() -> None:
    """Refused, sent again, refused again: the headers that travel with the record say how often, and since when."""
    record = records(7, headers=(("host", b"gpu-012"),))[0]
    for attempt in (1, 2, 3):
        found = as_read(record)
        assert found is not None
        assert (found.attempts, found.first_failed_at) == (attempt, 5_000)
        record = msgspec.structs.replace(record, offset=record.offset + 10, timestamp=5_000 + attempt, headers=tuple(headers_again(found)))
    assert record.headers[0] == ("host", b"gpu-012")


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("x-dlq-stage", b"ingest")],
        [(f"x-dlq-{name}", b"1") for name in ("stage", "code", "topic", "partition", "offset", "timestamp")],
        [(f"x-dlq-{name}", b"x") for name in ("stage", "code", "topic", "partition", "offset", "timestamp", "attempts")],
        [(f"x-dlq-{name}", b"9" * 30) for name in ("stage", "code", "topic", "partition", "offset", "timestamp", "attempts")],
    ],
    ids=["none", "one", "no attempts", "no numbers", "huge numbers"],
)
def test_a_stranger_is_no_letter(headers: list[tuple[str, bytes]]) -> None:
    """Anybody with the right to may have written to the topic."""
    got = SimpleNamespace(partition=0, offset=0, timestamp=0, key=None, value=b"x", headers=headers)
    assert read_letter(got) is None


@dataclass(frozen=True)
class Row:
    """A letter, and why it does not go; or that it does."""

    name: str
    letter: Letter
    reason: str = ""
    public: bool = False


FACT = "trainwatch.facts.job.v1"
ROWS = [
    Row("an input", letter()),
    Row("a fact", letter(topic=FACT)),
    Row("an empty value", letter(value=b"")),
    Row("a topic of somebody else", letter(topic="billing"), "no topic of this site"),
    Row("a state topic", letter(topic="trainwatch.state.logs.access.v1"), "no topic of this site"),
    Row("a public value", letter(topic="trainwatch.findings.v1"), "newest of its id"),
    Row("a public value, wanted", letter(topic="trainwatch.findings.v1"), public=True),
    Row("a topic that is gone", letter(topic="logs.scheduler"), "does not exist"),
    Row("a value that was cut", letter(value=b"x" * (VALUE_BYTES_MAX + 1)), "was cut from 900,001 bytes"),
    Row("headers that did not fit", letter(headers=(("a", b"1"), ("b", b"x" * HEADER_BYTES_MAX), ("c", b"3"))), "2 headers did not fit"),
    Row("a tombstone", letter(value=None), "no value"),
    Row("a vector of watermarks", letter(topic=FACT, key=None), "taken for watermarks"),
    Row("an input without a key", letter(key=None)),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_what_goes_back_and_what_does_not(row: Row) -> None:
    """Only what is whole, and only to topics that take it."""
    found = planned(row.letter, public=row.public)
    assert [refused.reason for refused in found.refused if row.reason not in refused.reason] == []
    assert (len(found.send), len(found.refused)) == ((0, 1) if row.reason else (1, 0))


def test_what_was_sent_before_is_left_out_unless_wanted() -> None:
    """A sending that broke off is repeated, and said to be so."""
    letters = [letter(offset, of=offset) for offset in range(3)]
    resent = {(1, 0): Resent(1, sure=True), (1, 1): Resent(1, sure=False)}
    found = planned(*letters, resent=resent)
    assert (found.send, found.sent_before, found.unsure, found.again) == (((1, 1), (1, 2)), 1, 1, 0)
    found = planned(*letters, resent=resent, again=True)
    assert (found.send, found.sent_before, found.unsure, found.again) == (((1, 0), (1, 1), (1, 2)), 0, 1, 1)


def test_a_record_goes_once_however_many_letters_it_has() -> None:
    """A checkpoint that was repeated has sent its letters again; another life of the topic has other records at these offsets."""
    found = planned(letter(0), letter(1), letter(2, timestamp=6_000))
    assert (found.send, found.twice) == (((1, 0), (1, 2)), 1)
    found = planned(letter(0), letter(1), resent={(1, 0): Resent(1, sure=True)})
    assert (found.send, found.sent_before, found.twice) == ((), 1, 1)


def refused_before(offset: int, of: int, attempts: int) -> Letter:
    return letter(offset, of=of, headers=(("x-dlq-attempts", str(attempts).encode()),))


def test_what_keeps_coming_back_is_parked() -> None:
    """Refused a third time it stays, with a code; and goes when somebody asks for parked ones."""
    letters = refused_before(0, 1, 2), refused_before(1, 2, 1)
    found = planned(*letters)
    assert (found.send, found.parked) == (((1, 1),), 1)
    assert [(refused.code, "3 times" in refused.reason) for refused in found.refused] == [(Why.PARKED, True)]
    found = planned(*letters, parked=True)
    assert (found.send, found.parked) == (((1, 0), (1, 1)), 0)


def test_the_older_letters_of_a_parked_record_stay_too() -> None:
    """Each refusal has a letter of its own, and sending the first would begin to count anew."""
    first, third = letter(0, of=1), refused_before(5, 9, 2)
    assert planned(third, first, resent={(1, 0): Resent(1, sure=True)}).send == ()


@pytest.mark.parametrize(
    ("key", "partition", "count", "to"),
    [(b"key", 3, 4, 3), (None, 3, 4, 3), (None, 3, 2, 1), (b"key", 3, 2, 1)],
    ids=["as it was", "as it was, no key", "gone, no key", "gone, by key"],
)
def test_a_record_returns_to_its_partition(key: bytes | None, partition: int, count: int, to: int) -> None:
    """As long as there is one of that number; murmur2 of `key` is odd."""
    assert partition_for(letter(key=key, partition=partition), count) == to


SELECTIONS = [
    ("all", Selection(), True),
    ("its place", Selection(places=frozenset({(1, 5)})), True),
    ("another place", Selection(places=frozenset({(0, 5)})), False),
    ("its code", Selection(codes=frozenset({"decode_error", "empty"})), True),
    ("another code", Selection(codes=frozenset({"empty"})), False),
    ("its stage", Selection(stages=frozenset({"ingest"})), True),
    ("another stage", Selection(stages=frozenset({"jobs"})), False),
    ("its topic", Selection(topics=frozenset({"logs.access"})), True),
    ("another topic", Selection(topics=frozenset({"logs.training"})), False),
    ("its partition", Selection(partition=0), True),
    ("another partition", Selection(partition=1), False),
    ("its offset", Selection(offsets=(7, 7)), True),
    ("offsets before it", Selection(offsets=(0, 6)), False),
    ("since just then", Selection(since=9_000), True),
    ("since later", Selection(since=9_001), False),
    ("its code in another topic", Selection(codes=frozenset({"decode_error"}), topics=frozenset({"logs.training"})), False),
]


@pytest.mark.parametrize(("selection", "takes"), [row[1:] for row in SELECTIONS], ids=[row[0] for row in SELECTIONS])
def test_a_selection_takes_what_all_its_parts_take(selection: Selection, takes: bool) -> None:
    """Empty parts do not matter."""
    assert selection.takes(letter(5, of=7)) is takes
