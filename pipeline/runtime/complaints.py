"""Log records, those of the libraries too, in; those that an operator should see, as lines that cannot act on his terminal, out.

Some complaints are part of a day without trouble: a group's coordinator is not known for a moment after a broker was set up, members are
asked to join again whenever another one comes, a checkpoint may outlast the timer that starts it.  What is told about them instead: each
take-over is a line of our own, as is a checkpoint that was abandoned, and one that does not end is what /healthz reports.  A coordinator
that stays away is serious, so that complaint is only held back for a while.

While a broker is away each client complains at each try, a hundred times a second together, a gigabyte a day: one of a kind in ten
seconds is enough, and the next one says how many it stands for.

What is logged names hosts, files and errors that quote records, and authors of logs choose those: control characters could rewrite the
screen of whoever reads, a line feed could forge a line.
"""

import asyncio
import logging
from typing import Any, NamedTuple

HOLD_BACK_SECONDS = 10.0
FORGET_SECONDS = 60.0  # of silence: the next complaint is a new one
SELDOM, SELDOM_SECONDS = "aiokafka", 10.0


class Harmless(NamedTuple):
    """A message by its beginning, before values are put in."""

    logger: str
    beginning: str
    hold_back_seconds: float | None = None  # None: for ever


HARMLESS = (
    Harmless("mode.timers", "Timer %s is overlapping"),
    Harmless("aiokafka.consumer.group_coordinator", "Heartbeat failed for group %s because it is rebalancing"),
    Harmless("aiokafka.consumer.group_coordinator", "OffsetCommit failed for group %s due to group error"),
    Harmless("aiokafka.consumer.group_coordinator", "Group Coordinator Request failed", HOLD_BACK_SECONDS),
)
CANCELLED_BY = ("faust.agents.actor",)  # loggers that tell of each task which the end of the process cancels, as of a crash


class HoldBack(logging.Filter):
    """Lets one kind of complaint through only when it goes on."""

    def __init__(self, harmless: Harmless) -> None:
        super().__init__()
        self._harmless = harmless
        self._first = self._last = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        if not str(record.msg).startswith(self._harmless.beginning):
            return True
        if record.created - self._last > FORGET_SECONDS:
            self._first = record.created
        self._last = record.created
        patience = self._harmless.hold_back_seconds
        return patience is not None and record.created - self._first >= patience


class Seldom(logging.Filter):
    """Of a handler: one complaint of a kind, by its text before values are put in, in so many seconds."""

    def __init__(self) -> None:
        super().__init__(SELDOM)
        self._kinds: dict[tuple[str, str], tuple[float, int]] = {}  # (when the last one was shown, how many were not since)

    def filter(self, record: logging.LogRecord) -> bool:
        if not super().filter(record):  # of another library
            return True
        kind = record.name, str(record.msg)
        shown, left_out = self._kinds.get(kind, (float("-inf"), 0))
        if record.created - shown < SELDOM_SECONDS:
            self._kinds[kind] = shown, left_out + 1
            return False
        self._kinds[kind] = record.created, 0
        if left_out:
            record.msg = f"{record.msg} (and {left_out} like it)"
        return True


class HoldBackCancelled(logging.Filter):
    """What was cancelled is not what went wrong."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and record.exc_info[0] is asyncio.CancelledError)


class Plain(logging.Formatter):
    """A record is one line of text that only shows; its traceback is as many as it has."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's name
        return _shown(super().formatMessage(record).replace("\n", " "))

    def formatException(self, ei: Any) -> str:  # noqa: N802  same
        return "\n".join(map(_shown, super().formatException(ei).split("\n")))


def _shown(text: str) -> str:
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def hold_back() -> None:
    """From now on, in this process."""
    for name in CANCELLED_BY:
        logging.getLogger(name).addFilter(HoldBackCancelled())
    for harmless in HARMLESS:
        logger = logging.getLogger(harmless.logger)
        if not any(isinstance(each, HoldBack) and each._harmless is harmless for each in logger.filters):
            logger.addFilter(HoldBack(harmless))
