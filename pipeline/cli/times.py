"""Words for times, and numbers, on the command line in; UTC milliseconds, milliseconds, zones and finite numbers out.

2026-03-09T08:00:00+08:00   a moment: without its offset it would be another one on each machine
2026-03-09                  a day: its midnight in UTC
2h                          a duration; for `--since`, so long ago
"""

import math
import re
import time
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

UNITS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000}
DAYS_MAX = 3650  # of what is simulated
_AGE = re.compile(r"([0-9]{1,7})([smhdw])")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class Moment(click.ParamType):
    """An ISO 8601 time with an offset, as UTC milliseconds."""

    name = "time"
    example = "2026-03-09T08:00:00+08:00 or 2026-03-09T00:00:00Z"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a time; write for example {self.example}", param, ctx)
        if moment.tzinfo is None:
            self.fail(f"{value!r} has no offset; write for example {Moment.example}", param, ctx)
        return round(moment.timestamp() * 1000)


class Day(Moment):
    """A time with an offset, or a date."""

    example = f"2026-03-09, or {Moment.example}"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        is_day = isinstance(value, str) and _DAY.fullmatch(value)
        return super().convert(f"{value}T00:00:00Z" if is_day else value, param, ctx)


class Since(Day):
    """A time, a date, or how long ago: `2h`."""

    name = "time|age"
    example = f"2h, 7d, {Day.example}"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, str) and (found := _AGE.fullmatch(value)):
            return now_ms() - int(found[1]) * UNITS[found[2]]
        return super().convert(value, param, ctx)


class Duration(click.ParamType):
    """`7d`, `36h`, `0`, as milliseconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        if value == "0":
            return 0
        found = _AGE.fullmatch(value.strip())
        if found is None:
            self.fail(f"{value!r} is not a duration; write for example 36h or 7d", param, ctx)
        return int(found[1]) * UNITS[found[2]]


class Number(click.FloatRange):
    """A number: `nan` lies within no range, and in no comparison outside of one; `inf` lasts for ever."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a number", param, ctx)
        return number


class Zone(click.ParamType):
    """An IANA zone."""

    name = "zone"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> ZoneInfo:
        if isinstance(value, ZoneInfo):
            return value
        try:
            return ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: it names a folder of zones, or a name too long for a file
            self.fail(f"{value!r} is not an IANA zone; write for example Asia/Shanghai", param, ctx)


def now_ms() -> int:
    """By the clock of this machine, UTC."""
    return round(time.time() * 1000)
