"""Dead letters keep what came and say why; what a log author wrote cannot pass for our words."""

import pytest

from pipeline import __version__
from pipeline.errors import ErrorCode
from pipeline.model.outcome import Record
from pipeline.runtime.dead_letter import HEADER_BYTES_MAX, KEY_BYTES_MAX, REASON_CHARS_MAX, VALUE_BYTES_MAX, dead_letter, printable
from tests.unit.runtime.build import records


def letter_of(record: Record, reason: str = "no brace") -> tuple[dict[str, bytes], bytes | None]:
    letter = dead_letter("ingest", record, ErrorCode.DECODE_ERROR, reason)
    return dict(letter.headers), letter.value


def test_headers() -> None:
    """All that a replay and a person need."""
    headers, value = letter_of(records(7, headers=(("collected", b"1"),))[0])
    assert value == b"line"
    assert headers == {
        "collected": b"1",
        "x-dlq-stage": b"ingest",
        "x-dlq-code": b"decode_error",
        "x-dlq-reason": b"no brace",
        "x-dlq-topic": b"logs.access",
        "x-dlq-partition": b"0",
        "x-dlq-offset": b"7",
        "x-dlq-timestamp": b"5000",
        "x-dlq-first-failed-at": b"5000",
        "x-dlq-attempts": b"1",
        "x-dlq-version": __version__.encode(),
    }


@pytest.mark.parametrize(("attempts", "next_one"), [(b"2", b"3"), (b"many", b"1"), (b"9" * 30, b"1"), (b"", b"1")])
def test_a_letter_that_failed_before_counts_on(attempts: bytes, next_one: bytes) -> None:
    """The first failure keeps its time; nonsense in the headers starts anew."""
    again = records(8, headers=(("x-dlq-attempts", attempts), ("x-dlq-first-failed-at", b"1234"), ("x-dlq-stage", b"mine")))[0]
    headers, _ = letter_of(again)
    assert headers["x-dlq-attempts"] == next_one
    assert headers["x-dlq-first-failed-at"] == b"1234"
    assert headers["x-dlq-stage"] == b"ingest"


def test_a_large_value_is_cut_and_says_so() -> None:
    """It must fit into a message."""
    headers, value = letter_of(records(1, value=b"x" * (VALUE_BYTES_MAX + 5))[0])
    assert value is not None
    assert len(value) == VALUE_BYTES_MAX
    assert headers["x-dlq-truncated"] == str(VALUE_BYTES_MAX + 5).encode()


def test_whatever_came_fits_into_a_message() -> None:
    """A broker takes a megabyte as a rule.  A letter that it refuses would end each worker that reads the record."""
    given = records(1, key=b"k" * 5_000_000, value=b"x" * 5_000_000, headers=(("a", b"h" * HEADER_BYTES_MAX), ("b", b"1")))[0]
    letter = dead_letter("ingest", given, ErrorCode.RECORD_TOO_LARGE, "\0" * 5_000)
    size = len(letter.key or b"") + len(letter.value or b"") + sum(len(name) + len(value) for name, value in letter.headers)
    assert size < 1_040_000
    assert dict(letter.headers)["x-dlq-truncated"] == b"5000000"


@pytest.mark.parametrize("value", [b"line", None])
def test_a_large_key_is_cut_and_says_so(value: bytes | None) -> None:
    """Such a record is not sent again: it would be another one."""
    letter = dead_letter("ingest", records(1, key=b"k" * (KEY_BYTES_MAX + 1), value=value)[0], ErrorCode.DECODE_ERROR, "")
    assert (letter.key, letter.value) == (b"k" * KEY_BYTES_MAX, value)
    assert dict(letter.headers)["x-dlq-truncated"] == str(len(value or b"")).encode()


def test_headers_of_the_record_are_bounded() -> None:
    """So are its headers."""
    headers, _ = letter_of(records(1, headers=(("a", b"1"), ("large", b"x" * (HEADER_BYTES_MAX + 1))))[0])
    assert "a" in headers
    assert "large" not in headers


def test_a_tombstone_stays_one() -> None:
    """No value is not the empty value."""
    assert letter_of(records(1, value=None)[0])[1] is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\n", "\\x1b[31mred\\n"),
        ("ü\udc80", "\\xfc\\udc80"),
        ("x" * 500, "x" * (REASON_CHARS_MAX - 3) + "..."),
    ],
)
def test_text_from_records_is_printable_and_bounded(text: str, shown: str) -> None:
    """No control character of a log author reaches a terminal."""
    assert printable(text) == shown
