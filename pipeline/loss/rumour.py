"""What people say ("8,000 cards for two months") in; what the records say to it out.

No judgement on whoever said it: the figure, what the records support in the high reading, the factor between, and what is not known.
"""

import msgspec

from pipeline.model.incident import Loss

HOURS_A_DAY = 24


class Rumour(msgspec.Struct, frozen=True, kw_only=True):
    """A claim about the scale."""

    gpus: int
    days: float
    money: float | None = None


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """The rumour against the records."""

    claimed_gpu_hours: float
    recorded_gpu_hours: tuple[float, float, float]
    claimed_gpus: int
    recorded_gpus: int
    times_too_large: float | None  # against the high reading; None: no hours are on record
    claimed_money: float | None
    recorded_money: tuple[float, float, float]
    unknown: tuple[str, ...]


def check(rumour: Rumour, loss: Loss, unknown: tuple[str, ...] = ()) -> Checked:
    """`unknown`: what could not be judged, since records are missing, beside what the loss itself left out."""
    hours, money = loss.direct_gpu_hours, loss.direct_money
    claimed = rumour.gpus * rumour.days * HOURS_A_DAY
    return Checked(
        claimed_gpu_hours=claimed,
        recorded_gpu_hours=(hours.low, hours.middle, hours.high),
        claimed_gpus=rumour.gpus,
        recorded_gpus=loss.gpus,
        times_too_large=round(claimed / hours.high, 2) if hours.high else None,
        claimed_money=rumour.money,
        recorded_money=(money.low, money.middle, money.high),
        unknown=(*loss.unknown, *unknown),
    )
