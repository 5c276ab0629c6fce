"""Simulated time: processes in, a run in time order out; and one instant written the way each log format writes it.

A process is a generator that yields the instant (UTC ms) at which it wants to go on, so a story reads top to bottom: log in,
wait, kill, wait, log out.  Whatever runs at one instant sees exactly the world as it is then; that is why process ids, audit
serials and file offsets can be handed out as they are needed and still rise with time.

Holds: `now` never goes back; equal instants run in the order in which they were asked for; no wall clock is read.
"""

import heapq
from collections.abc import Generator
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

Process = Generator[int, None, None]

SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

# Slurm and the jobs on the nodes log in the site's zone; syslog runs in UTC.
LOCAL_ZONE = "Asia/Shanghai"
_LOCAL = ZoneInfo(LOCAL_ZONE)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Clock:
    """The event loop: wakes processes in time order."""

    def __init__(self, start: int) -> None:
        self.now = start
        self._waiting: list[tuple[int, int, Process]] = []
        self._asked = 0

    def start(self, process: Process, at: int | None = None) -> None:
        """Let `process` begin at `at`, or now."""
        wake = self.now if at is None or at < self.now else at
        heapq.heappush(self._waiting, (wake, self._asked, process))
        self._asked += 1

    def run(self, until: int) -> None:
        """Wake whatever is due up to and including `until`; the rest is never woken."""
        waiting = self._waiting
        while waiting and waiting[0][0] <= until:
            self.now, _, process = heapq.heappop(waiting)
            wake = next(process, None)
            if wake is not None:
                self.start(process, wake)


@lru_cache(maxsize=16_384)
def _utc(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)


@lru_cache(maxsize=16_384)
def utc_second(second: int) -> str:
    """2026-03-02T11:40:41, without zone, of UTC."""
    return _utc(second).strftime("%Y-%m-%dT%H:%M:%S")


@lru_cache(maxsize=16_384)
def local_second(second: int) -> str:
    """2026-03-02T19:40:41, without zone, of the site's clock."""
    return datetime.fromtimestamp(second, _LOCAL).strftime("%Y-%m-%dT%H:%M:%S")


@lru_cache(maxsize=16_384)
def syslog_time(second: int) -> str:
    """`Mar  2 11:40:41` of UTC: RFC 3164, without year or zone, the day padded with a blank."""
    moment = _utc(second)
    return f"{_MONTHS[moment.month - 1]} {moment.day:2d} {moment.hour:02d}:{moment.minute:02d}:{moment.second:02d}"


def utc_ms(instant: int) -> str:
    """2026-03-02T11:40:41.318Z."""
    return f"{utc_second(instant // 1000)}.{instant % 1000:03d}Z"


def local_ms(instant: int) -> str:
    """2026-03-02T19:40:41.318, without zone, of the site's clock."""
    return f"{local_second(instant // 1000)}.{instant % 1000:03d}"


def local_offset(instant: int) -> str:
    """2026-03-02T19:40:41+0800."""
    return datetime.fromtimestamp(instant // 1000, _LOCAL).strftime("%Y-%m-%dT%H:%M:%S%z")


def glog_time(instant: int) -> str:
    """`0302 19:40:41.318000` of the site's clock: no year, no zone."""
    text = local_second(instant // 1000)
    return f"{text[5:7]}{text[8:10]} {text[11:]}.{instant % 1000:03d}000"
