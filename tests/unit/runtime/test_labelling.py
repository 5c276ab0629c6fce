"""Labels on the topic: what is one, and by what one that comes again is known."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from pipeline.errors import DecodeError, RejectedRecord, SchemaMismatch
from pipeline.model.outcome import Record
from pipeline.runtime.labelling import id_of, read, said_at
from pipeline.settings import schemas_folder
from pipeline.sink.labels import Word

FINDING = "a378b78a07ce" + "0" * 20
SAID = {"finding": FINDING, "label": "benign", "because": "admin_ticket", "note": "CHG-17", "account": "u101"}
SCHEMA = Draft202012Validator(json.loads((schemas_folder() / "events" / "trainwatch.labels.v1.schema.json").read_text()))


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


def test_a_label_that_comes_again_has_its_id() -> None:
    """By what its sender calls it, wherever it comes; without that by its place, at its time."""

    def record(offset: int = 1, timestamp: int = 1, headers: tuple[tuple[str, bytes], ...] = ()) -> Record:
        return Record(topic="trainwatch.labels.v1", partition=0, offset=offset, timestamp=timestamp, value=b"", headers=headers)

    named = (("ce_id", b"review-17"),)
    assert id_of(record(1, headers=named)) == id_of(record(2, 2, headers=named))
    assert id_of(record()) == id_of(record())
    assert len({id_of(record()), id_of(record(2)), id_of(record(1, 2)), id_of(record(headers=named))}) == 4


@pytest.mark.parametrize(("timestamp", "seconds"), [(1_000, 1), (-9 * 10**15, 5), (9 * 10**15, 5), (-1, 5)])
def test_an_absurd_time_of_a_sender_is_not_believed(timestamp: int, seconds: int) -> None:
    """It must not keep the labels behind it from being read."""
    record = Record(topic="t", partition=0, offset=0, timestamp=timestamp, value=b"")
    assert said_at(record, 5_000).timestamp() == seconds
