"""Harmless complaints of libraries are held back; lasting ones and all others come through, as lines that only show."""

import logging

import pytest

from pipeline.runtime.complaints import HARMLESS, HoldBack, Plain, Seldom

COORDINATOR = next(harmless for harmless in HARMLESS if harmless.hold_back_seconds)
TIMER = next(harmless for harmless in HARMLESS if harmless.hold_back_seconds is None)


def record(message: str, at: float) -> logging.LogRecord:
    made = logging.LogRecord("library", logging.WARNING, "", 0, message, (), None)
    made.created = at
    return made


@pytest.mark.parametrize(
    ("harmless", "times", "shown"),
    [
        (TIMER, (0, 30, 600), (False, False, False)),
        (COORDINATOR, (0, 1, 5), (False, False, False)),
        (COORDINATOR, (0, 5, 11, 12), (False, False, True, True)),
        (COORDINATOR, (0, 100, 101), (False, False, False)),
    ],
    ids=["never shown", "short", "it lasts", "another time"],
)
def test_a_complaint_is_shown_when_it_lasts(harmless: object, times: tuple[float, ...], shown: tuple[bool, ...]) -> None:
    """Counted from the first of a series."""
    kind = next(each for each in HARMLESS if each is harmless)
    held_back = HoldBack(kind)
    assert tuple(held_back.filter(record(f"{kind.beginning} ...", at)) for at in times) == shown


def test_other_messages_come_through() -> None:
    """From the same logger."""
    assert HoldBack(TIMER).filter(record("Timer %s woke up too late", 0))


def test_what_a_client_repeats_is_shown_seldom_and_counted() -> None:
    """Hours without a broker are a few lines a minute; our own lines, and other complaints, all come through."""
    seldom = Seldom()

    def shown(name: str, message: str, at: float) -> str:
        made = record(message, at)
        made.name, made.args = name, (f"node {at}",)
        return made.getMessage() if seldom.filter(made) else ""

    assert shown("aiokafka", "Unable connect to %s", 0) == "Unable connect to node 0"
    assert [shown("aiokafka", "Unable connect to %s", 0.1 * number) for number in range(1, 100)] == [""] * 99
    assert shown("aiokafka.consumer.fetcher", "Failed fetch from %s", 5) == "Failed fetch from node 5"
    assert shown("aiokafka", "Unable connect to %s", 10) == "Unable connect to node 10 (and 99 like it)"
    assert shown("aiokafka", "Unable connect to %s", 30) == "Unable connect to node 30"
    assert [shown("trainwatch.worker", "taking over %s", at) for at in (1, 2)] == ["taking over node 1", "taking over node 2"]


def test_what_records_say_cannot_act_on_a_terminal() -> None:
    """A host may be called anything: no sequence rewrites the screen, no line feed forges a line, right-to-left marks turn nothing."""
    hostile = record("under its rate: %s", 0)
    hostile.args = ("gpu\x1b[2J\x9b1m\u202e\r\nCRITICAL all is well",)
    assert Plain().format(hostile) == "under its rate: gpu\ufffd[2J\ufffd1m\ufffd\ufffd CRITICAL all is well"


def test_a_traceback_keeps_its_lines_and_nothing_else_that_acts() -> None:
    """What raised may quote the record."""
    failed = record("stage ingest raised", 0)
    try:
        raise ValueError("no number: \x1b]0;owned\x07")
    except ValueError as error:
        failed.exc_info = (ValueError, error, error.__traceback__)
    shown = Plain().format(failed).splitlines()
    assert shown[0] == "stage ingest raised"
    assert shown[1].startswith("Traceback")
    assert shown[-1] == "ValueError: no number: \ufffd]0;owned\ufffd"
