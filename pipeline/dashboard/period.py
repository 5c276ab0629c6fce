"""What a person writes for a time in, UTC milliseconds out: `now`, `now-7d`, `-7d`, `now/d`, an ISO 8601 time, epoch milliseconds.

Grafana's notation, so that what stands in the address of a panel can be pasted here; `-7d` alone is short for `now-7d`.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from pipeline.errors import ConfigError

UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000}
RELATIVE = re.compile(r"(?:now)?(?:([+-])(\d{1,9})([smhdw]))?(?:/([mhd]))?")
# Rounded to what a person would choose: Grafana's own steps.
STEPS_MS = tuple(
    1_000 * seconds
    for seconds in (
        1,
        2,
        5,
        10,
        15,
        20,
        30,
        60,
        120,
        300,
        600,
        900,
        1200,
        1800,
        3600,
        7200,
        10800,
        21600,
        43200,
        86400,
        172800,
        604800,
        2592000,
    )
)
POINTS_MAX = 240


@dataclass(frozen=True, slots=True)
class Period:
    """From and to, both included, in UTC milliseconds."""

    from_ms: int
    to_ms: int

    @property
    def interval_ms(self) -> int:
        """How far apart points of a series stand: as Grafana computes `$__interval` for a panel of so many points."""
        wanted = (self.to_ms - self.from_ms) / POINTS_MAX
        return next((step for step in STEPS_MS if step >= wanted), STEPS_MS[-1])


def parse_period(start: str, end: str, now_ms: int) -> Period:
    """Both ends.  Raises ConfigError on text that is not a time and on an end before the start."""
    period = Period(parse_time(start, now_ms), parse_time(end, now_ms))
    if period.from_ms >= period.to_ms:
        raise ConfigError(f"--from {start} is not before --to {end}", advice="Write for example: --from -7d --to now")
    return period


def parse_time(text: str, now_ms: int) -> int:
    """One end.  Raises ConfigError on text that is not a time."""
    if text and (match := RELATIVE.fullmatch(text)):
        sign, number, unit, floor = match.groups()
        moved = now_ms + (int(sign + number) * UNITS_MS[unit] if number else 0)
        return moved - moved % UNITS_MS[floor] if floor else moved
    if text.isdigit():
        return int(text)
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError as error:
        advice = "Write now, -7d, -90m, an ISO 8601 time (2026-03-02T21:00:00Z), or epoch milliseconds."
        raise ConfigError(f"{text!r} is not a time", advice=advice) from error
    return int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp() * 1000)
