"""Harmless complaints of libraries are held back; lasting ones and all others come through."""

import logging

import pytest

from pipeline.runtime.complaints import HARMLESS, HoldBack

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
