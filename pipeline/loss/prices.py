"""What a GPU-hour costs at a time: by rent, or by depreciation, power and staff; never both, since rent contains the others.

    loss:
      prices:
        - {from: 2026-01-01, currency: CNY, method: rent, gpu_hour: [12, 20, 50]}
        - {from: 2026-07-01, currency: CNY, method: own, depreciation: [6, 8, 10], kilowatt: [0.97, 1.0, 1.05], pue: [1.1, 1.4, 1.56],
           kilowatt_hour: [0.4, 0.6, 0.9], staff: [0, 0.5, 1]}

Each figure is low, middle, high.  Kilowatts are for one GPU with its share of the host: 0.97 to 1.05 for H100 nodes (arXiv 2506.14551; IEEE
Access 2025); PUE 1.1 at best, 1.56 on average (Uptime Institute survey, 2024).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.settings import LossSettings

Three = tuple[float, float, float]
READINGS = ("low", "middle", "high")


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """From a moment on, until the next one begins."""

    since: int  # UTC ms
    currency: str
    method: str  # rent | own
    gpu_hour: Three = (0.0, 0.0, 0.0)  # rent
    depreciation: Three = (0.0, 0.0, 0.0)  # own, per GPU-hour
    kilowatt: Three = (0.0, 0.0, 0.0)  # own, per GPU
    pue: Three = (1.0, 1.0, 1.0)
    kilowatt_hour: Three = (0.0, 0.0, 0.0)  # own, money
    staff: Three = (0.0, 0.0, 0.0)  # own, per GPU-hour

    def of_hour(self, reading: int) -> float:
        """Money for one GPU-hour, in a reading: 0 low, 1 middle, 2 high."""
        if self.method == "rent":
            return self.gpu_hour[reading]
        energy = self.kilowatt[reading] * self.pue[reading] * self.kilowatt_hour[reading]
        return self.depreciation[reading] + energy + self.staff[reading]

    def formula(self, reading: int) -> str:
        """How `of_hour` comes about, for people."""
        if self.method == "rent":
            return f"{self.gpu_hour[reading]:g} {self.currency} per GPU-hour (rent)"
        return (
            f"({self.depreciation[reading]:g} depreciation + {self.kilowatt[reading]:g} kW x {self.pue[reading]:g} PUE x "
            f"{self.kilowatt_hour[reading]:g} per kWh + {self.staff[reading]:g} staff) {self.currency} per GPU-hour"
        )


class Prices:
    """All of a site, in order of time.  Raises ConfigError for prices that contradict one another."""

    def __init__(self, prices: Sequence[Price]) -> None:
        self.periods = tuple(sorted(prices, key=lambda each: each.since))
        if len({each.currency for each in self.periods}) > 1:
            raise ConfigError("prices in several currencies", advice="State all prices of a site in one currency.")
        for each in self.periods:
            if each.method == "rent" and any(map(any, (each.depreciation, each.kilowatt_hour, each.staff))):
                raise ConfigError("a rent contains power, depreciation and staff", advice="Use method own, or leave gpu_hour alone.")
            if each.method == "own" and any(each.gpu_hour):
                raise ConfigError("a price is by rent or by own cost, never both", advice="Leave gpu_hour out, or use method rent.")
            for name in ("gpu_hour", "depreciation", "kilowatt", "pue", "kilowatt_hour", "staff"):
                low, middle, high = getattr(each, name)
                if not 0 <= low <= middle <= high:
                    raise ConfigError(f"{name}: {low:g}, {middle:g}, {high:g} are not low, middle, high", advice="Write them ascending.")

    @property
    def currency(self) -> str:
        return self.periods[0].currency if self.periods else ""

    def at(self, time: int) -> Price | None:
        """The price that holds at `time`; None before the first."""
        found = None
        for each in self.periods:
            if each.since > time:
                break
            found = each
        return found

    def borders(self, start: int, end: int) -> list[int]:
        """`start`, the changes of price within, and `end`."""
        return [start, *(each.since for each in self.periods if start < each.since < end), end]


def prices_of(settings: "LossSettings") -> Prices:
    """As the settings state them."""
    names = [name for name in Price.__struct_fields__ if name != "since"]
    return Prices([Price(since=each.since_ms, **{name: getattr(each, name) for name in names}) for each in settings.prices])
