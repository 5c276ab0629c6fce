"""Section `loss`: what a GPU-hour and people's time cost, low, middle and high."""

import re
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from pipeline.settings.part import Part, milliseconds

Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Three = tuple[Amount, Amount, Amount]  # low, middle, high
NOTHING: Three = (0.0, 0.0, 0.0)


def _ascending(part: Part) -> None:
    for name, value in part:
        if name != "evidence" and isinstance(value, tuple) and list(value) != sorted(value):
            raise ValueError(f"{name}: {', '.join(f'{each:g}' for each in value)} are not low, middle, high: write them ascending")


class PriceSettings(Part):
    """What a GPU-hour costs from a moment on, until the next entry begins: low, middle, high."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    since: datetime = Field(alias="from", description="a day, which begins in UTC, or a moment with offset")
    currency: str = Field(pattern=r"^[A-Z]{3}$", description="ISO 4217, the same in all entries")
    method: Literal["rent", "own"] = Field("rent", description="rent, which contains power and staff; or own: the parts are stated")
    gpu_hour: Three = Field(NOTHING, description="rent")
    depreciation: Three = Field(NOTHING, description="own, per GPU-hour")
    kilowatt: Three = Field(NOTHING, description="own, per GPU with its share of the host")
    pue: Three = Field((1.0, 1.0, 1.0), description="own, power at the wall over power of the machines")
    kilowatt_hour: Three = Field(NOTHING, description="own, price of energy")
    staff: Three = Field(NOTHING, description="own, operators per GPU-hour")

    @field_validator("since", mode="before")
    @classmethod
    def _day(cls, value: Any) -> Any:
        if isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
            return f"{value}T00:00:00Z"
        return f"{value.isoformat()}T00:00:00Z" if isinstance(value, date) and not isinstance(value, datetime) else value

    @model_validator(mode="after")
    def _one_way(self) -> "PriceSettings":
        if self.since.tzinfo is None:
            raise ValueError("from: write a day, or a moment with offset, e.g. 2026-03-02T00:00:00Z")
        _ascending(self)
        if self.method == "rent" and any(map(any, (self.depreciation, self.kilowatt, self.kilowatt_hour, self.staff))):
            raise ValueError("a rent contains power, depreciation and staff: use method own, or leave gpu_hour alone")
        if self.method == "own" and any(self.gpu_hour):
            raise ValueError("a price is by rent or by own cost, never both: leave gpu_hour out, or use method rent")
        if self.method == "rent" and not any(self.gpu_hour):
            raise ValueError("gpu_hour is missing: a rent of nothing would make every loss worth nothing")
        if self.pue[0] < 1:
            raise ValueError("pue: below 1, which no data centre reaches")
        return self

    @property
    def since_ms(self) -> int:
        """UTC ms."""
        return milliseconds(self.since, 0)


class StaffSettings(Part):
    """Indirect loss of one incident: people's time, or a delay, as somebody states it; low, middle, high."""

    incident: str = Field(pattern=r"^[0-9a-f]{32}$", description="whole id of the incident, also one that was merged into another")
    kind: Literal["staff", "delay"] = Field("staff", description="people's time; or how much later something was ready")
    what: str = Field(min_length=1, max_length=200, description="what the time went into, or what was late")
    hours: Three = Field(description="hours of work, or of delay")
    per_hour: Three = Field(description="money for one hour, in the currency of the prices")
    evidence: tuple[str, ...] = Field((), max_length=12, description="where it is stated, e.g. numbers of tickets")

    @model_validator(mode="after")
    def _ordered(self) -> "StaffSettings":
        _ascending(self)
        return self


class LossSettings(Part):
    """What incidents cost."""

    gpus_per_node: int = Field(8, ge=1, le=1024, description="GPUs of one node: all attempts together lose no more at a time")
    prices: tuple[PriceSettings, ...] = Field((), description="what a GPU-hour costs from when on; empty: hours only")
    staff: tuple[StaffSettings, ...] = Field((), max_length=100, description="people's time and delay by incident, as somebody states it")

    @model_validator(mode="after")
    def _together(self) -> "LossSettings":
        for number, each in enumerate(self.prices):
            if each.currency != self.prices[0].currency:
                raise ValueError(
                    f"prices.0 is in {self.prices[0].currency} and prices.{number} in {each.currency}: state all prices in one currency"
                )
            if each.since_ms in [other.since_ms for other in self.prices[:number]]:
                raise ValueError(f"prices.{number} begins when another entry does: delete one of them")
        if self.staff and not self.prices:
            raise ValueError("staff.0 has no currency: state at least one price")
        return self
