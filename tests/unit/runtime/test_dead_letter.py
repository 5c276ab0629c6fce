"""Dead letters keep what came and say why; what a log author wrote cannot pass for our words."""

import pytest

from pipeline import __version__
from pipeline.errors import ErrorCode
from pipeline.model.outcome import Record
from pipeline.runtime.dead_letter import HEADER_BYTES_MAX, REASON_CHARS_MAX, VALUE_BYTES_MAX, dead_letter, printable
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
