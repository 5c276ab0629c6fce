"""Series in, SVG as text out: lines, stacked bars, categories, heat map, states over time.

Drawn for a page without script: a value is read by its axis, and by the tooltip that browsers make of `<title>`.  Coordinates are those of
a box of fixed size that the page scales as a whole, so that text keeps its shape.  Colours come from the caller; all text is escaped here.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from pipeline.dashboard.period import STEPS_MS, Period
from pipeline.dashboard.text import escaped, number

LEFT, RIGHT, TOP, BOTTOM = 62, 12, 8, 22
POINTS_MARKED_MAX = 120
CHAR_WIDTH = 6.2

Points = Sequence[tuple[int, float | None]]


@dataclass(frozen=True, slots=True)
class Series:
    """One line, or one colour of bars."""

    name: str
    color: str
    points: Points


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened, marked across a chart."""

    time_ms: int
    text: str
    color: str


@dataclass(frozen=True, slots=True)
class Box:
    """The room for one chart, in pixels, and the part of it between the axes."""

    width: int
    height: int
    left: int = LEFT
    right: int = RIGHT

    @property
    def inner_width(self) -> float:
        return self.width - self.left - self.right

    @property
    def inner_height(self) -> float:
        return self.height - TOP - BOTTOM

    def wrap(self, parts: Sequence[str]) -> str:
        """The element around the drawing."""
        return f'<svg viewBox="0 0 {self.width} {self.height}" role="img">{"".join(parts)}</svg>'

    def at(self, time_ms: float, period: Period) -> float:
        """Where a time lies."""
        share = (time_ms - period.from_ms) / (period.to_ms - period.from_ms)
        return self.left + self.inner_width * min(max(share, 0.0), 1.0)


# --- over time ------------------------------------------------------------------------------------------------------------------------


def time_series(
    series: Sequence[Series], period: Period, box: Box, *, unit: str, bars: bool, stacked: bool, moments: Sequence[Moment] = ()
) -> str:
    """Lines, or bars of one interval each, which may stand on one another."""
    step = _step(series, period) if bars else 0
    low, high = _range(series, stacked=bars and stacked, from_zero=bars)
    scale = _Scale(low, high, box, counts=bars and unit == "short" and _whole(series))
    parts = [*_time_axis(period, box), *_value_axis(scale, box, unit), *_marks(moments, period, box)]
    if not bars:
        for each in series:
            parts += _line(each, period, box, scale, unit)
        return box.wrap(parts)
    base: dict[int, float] = {}
    share = 1 if stacked else max(len(series), 1)
    for position, each in enumerate(series):
        for time, value in each.points:
            if not value or not math.isfinite(value):
                continue
            bottom = base.get(time, 0.0) if stacked else 0.0
            base[time] = bottom + value
            left, right = box.at(time, period), box.at(time + step, period)
            width = max((right - left) / share - 1, 1.0)
            top, floor = scale.y(bottom + value), scale.y(bottom)
            title = f"{_clock(time)} {each.name}: {number(value, unit)}"
            parts.append(_rect(left + position * width * (not stacked), top, width, max(floor - top, 1.0), each.color, title))
    return box.wrap(parts)


def _marks(moments: Sequence[Moment], period: Period, box: Box) -> list[str]:
    return [
        f'<path d="M{x:.1f},{TOP}V{box.height - BOTTOM}" stroke="{each.color}" stroke-width="2" stroke-dasharray="3 3">'
        f"<title>{escaped(f'{_clock(each.time_ms)} {each.text}')}</title></path>"
        for each in moments
        if period.from_ms <= each.time_ms <= period.to_ms
        for x in (box.at(each.time_ms, period),)
    ]


def _line(series: Series, period: Period, box: Box, scale: "_Scale", unit: str) -> list[str]:
    runs: list[list[tuple[float, float, int, float]]] = [[]]
    for time, value in series.points:
        if value is None or not math.isfinite(value):
            runs.append([])
        else:
            runs[-1].append((box.at(time, period), scale.y(value), time, value))
    parts = []
    for run in runs:
        if run:
            path = "L".join(f"{x:.1f},{y:.1f}" for x, y, _, _ in run)
            parts.append(f'<path d="M{path}" fill="none" stroke="{series.color}" stroke-width="1.6"/>')
    marked = [point for run in runs for point in run]
    visible = len(marked) <= POINTS_MARKED_MAX
    for x, y, time, value in marked[:: max(len(marked) // 2000, 1)]:
        title = escaped(f"{_clock(time)} {series.name}: {number(value, unit)}")
        opacity = "" if visible else ' fill-opacity="0"'
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.4" fill="{series.color}"{opacity}><title>{title}</title></circle>')
    return parts


def heat_map(series: Sequence[Series], period: Period, box: Box, unit: str) -> str:
    """A row per series, a cell per interval; darker is more, on a scale of square roots."""
    step = _step(series, period)
    wide = Box(box.width, box.height, left=_label_room((each.name for each in series), box))
    row = wide.inner_height / max(len(series), 1)
    most = max((value for each in series for _, value in each.points if value), default=1.0)
    parts = _time_axis(period, wide)
    for position, each in enumerate(series):
        top = TOP + position * row
        parts.append(_label(wide.left - 6, top + row / 2 + 4, each.name, "end", wide.left - 8))
        parts.append(f'<rect x="{wide.left}" y="{top:.1f}" width="{wide.inner_width:.1f}" height="{max(row - 1, 1):.1f}" class="void"/>')
        for time, value in each.points:
            if value:
                left, right = wide.at(time, period), wide.at(time + step, period)
                opacity = 0.15 + 0.85 * math.sqrt(value / most)
                title = f"{_clock(time)} {each.name}: {number(value, unit)}"
                parts.append(_rect(left, top, max(right - left - 0.5, 0.8), max(row - 1, 1), each.color, title, opacity))
    return wide.wrap(parts)


@dataclass(frozen=True, slots=True)
class State:
    """A state and from when it holds."""

    time_ms: int
    text: str
    color: str


def state_timeline(lanes: Mapping[str, Sequence[State]], period: Period, box: Box, moments: Sequence[Moment] = ()) -> str:
    """A row per lane; a state lasts until the next one; an empty text is no state.  Moments are marked across all lanes."""
    wide = Box(box.width, box.height, left=_label_room(lanes, box))
    row = wide.inner_height / max(len(lanes), 1)
    parts = _time_axis(period, wide)
    for position, (lane, states) in enumerate(lanes.items()):
        top = TOP + position * row + row * 0.1
        parts.append(_label(wide.left - 6, top + row * 0.4 + 4, lane, "end", wide.left - 8))
        for each, end_ms in zip(states, [*(state.time_ms for state in states), period.to_ms][1:], strict=True):
            if not each.text or each.time_ms > period.to_ms or end_ms < period.from_ms:
                continue
            left, right = wide.at(each.time_ms, period), wide.at(end_ms, period)
            width = max(right - left, 2.0)
            parts.append(_rect(left, top, width, row * 0.8, each.color, f"{_clock(each.time_ms)} {lane}: {each.text}", 0.85))
            if width > len(each.text) * CHAR_WIDTH + 8:
                parts.append(f'<text x="{left + 4:.1f}" y="{top + row * 0.4 + 4:.1f}" class="in">{escaped(each.text)}</text>')
    return wide.wrap([*parts, *_marks(moments, period, wide)])


# --- by category ----------------------------------------------------------------------------------------------------------------------


def bars(
    names: Sequence[str], series: Sequence[Series], box: Box, *, unit: str, stacked: bool, horizontal: bool, maximum: float | None = None
) -> str:
    """Categories with one bar each, of several colours when stacked; `points` of a series are (number of the category, value)."""
    if not horizontal:
        points = [Series(each.name, each.color, each.points) for each in series]
        return _columns(names, points, box, unit=unit, stacked=stacked, maximum=maximum)
    wide = Box(box.width, box.height, left=_label_room(names, box), right=RIGHT + 50)
    values = [{index: value or 0.0 for index, value in each.points} for each in series]
    totals = [sum(each.get(index, 0.0) for each in values) if stacked else max((each.get(index, 0.0) for each in values), default=0.0)
              for index in range(len(names))]  # fmt: skip
    most = maximum or max(totals, default=0.0) or 1.0
    row = (box.height - TOP - 4) / max(len(names), 1)
    parts = []
    for index, name in enumerate(names):
        top, left = TOP + index * row, float(wide.left)
        parts.append(_label(wide.left - 6, top + row / 2 + 4, name, "end", wide.left - 8))
        share = 1 if stacked else max(len(series), 1)
        for position, (each, value_of) in enumerate(zip(series, values, strict=True)):
            value = value_of.get(index, 0.0)
            width = wide.inner_width * value / most
            if width > 0:
                thick = max(min(row * 0.8, 26.0) / share, 1.0)
                y = top + (row - thick * share) / 2 + (0 if stacked else position * thick)
                parts.append(_rect(left, y, max(width, 1.0), thick, each.color, f"{name} {each.name}: {number(value, unit)}"))
                left += width if stacked else 0
        parts.append(
            _label(wide.left + wide.inner_width * totals[index] / most + 5, top + row / 2 + 4, number(totals[index], unit), "start", 60)
        )
    return wide.wrap(parts)


def _columns(names: Sequence[str], series: Sequence[Series], box: Box, *, unit: str, stacked: bool, maximum: float | None) -> str:
    low, high = _range(series, stacked=stacked, from_zero=True)
    scale = _Scale(low, maximum or high, box, counts=maximum is None and _whole(series))
    parts = _value_axis(scale, box, unit)
    room = box.inner_width / max(len(names), 1)
    base: dict[int, float] = {}
    share = 1 if stacked else max(len(series), 1)
    for position, each in enumerate(series):
        for index, value in each.points:
            if value:
                bottom = base.get(index, 0.0) if stacked else 0.0
                base[index] = bottom + value
                width = room * 0.8 / share
                left = box.left + index * room + room * 0.1 + (0 if stacked else position * width)
                top = scale.y(bottom + value)
                title = f"{names[index]} {each.name}: {number(value, unit)}"
                parts.append(_rect(left, top, width, max(scale.y(bottom) - top, 1.0), each.color, title))
    for index, name in enumerate(names):
        parts.append(_label(box.left + (index + 0.5) * room, box.height - 6, name, "middle", int(room)))
    return box.wrap(parts)


# --- axes -----------------------------------------------------------------------------------------------------------------------------


class _Scale:
    """Values to heights; the range is widened to round numbers, of counts to whole ones."""

    def __init__(self, low: float, high: float, box: Box, *, counts: bool = False) -> None:
        if high <= low:
            high = low + (abs(low) or 1.0)
        rough = max((high - low) / 4, 1.0 if counts else 0.0)
        unit = 10.0 ** math.floor(math.log10(rough))
        self.step: float = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
        self.low, self.high = math.floor(low / self.step) * self.step, math.ceil(high / self.step) * self.step
        self._box = box

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return TOP + self._box.inner_height * (1 - min(max(share, 0.0), 1.0))

    def ticks(self) -> list[float]:
        return [self.low + self.step * count for count in range(round((self.high - self.low) / self.step) + 1)]


def _range(series: Sequence[Series], *, stacked: bool, from_zero: bool) -> tuple[float, float]:
    sums: dict[int, float] = {}
    values = []
    for each in series:
        for key, value in each.points:
            if value is not None and math.isfinite(value):
                values.append(value)
                sums[key] = sums.get(key, 0.0) + value
    found = list(sums.values()) if stacked else values
    if not found:
        return 0.0, 1.0
    low, high = min(found), max(found)
    return (min(0.0, low) if from_zero or low < high / 2 else low), high


def _whole(series: Sequence[Series]) -> bool:
    return all(value is None or value == int(value) for each in series for _, value in each.points if value is None or math.isfinite(value))


def _value_axis(scale: _Scale, box: Box, unit: str) -> list[str]:
    parts = []
    for tick in scale.ticks():
        y = scale.y(tick)
        parts.append(f'<line x1="{box.left}" x2="{box.width - box.right}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
        parts.append(_label(box.left - 6, y + 4, number(tick, unit), "end", box.left))
    return parts


def _time_axis(period: Period, box: Box) -> list[str]:
    span = period.to_ms - period.from_ms
    wanted = span / max(box.inner_width / 110, 2)
    step = next((step for step in STEPS_MS if step >= wanted), STEPS_MS[-1])
    form = "%m-%d" if step >= 86_400_000 else "%m-%d %H:%M" if span > 86_400_000 else "%H:%M" if step >= 60_000 else "%H:%M:%S"
    parts = []
    for time in range(-(-period.from_ms // step) * step, period.to_ms + 1, step):
        x = box.at(time, period)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{box.height - BOTTOM}" class="grid"/>')
        text = f"{datetime.fromtimestamp(time / 1000, UTC):{form}}"
        half = len(text) * CHAR_WIDTH / 2  # a label at the edge stays within the box
        parts.append(_label(min(x, box.width - half), box.height - 6, text, "middle", 110))
    return parts


def _step(series: Sequence[Series], period: Period) -> int:
    """The distance between points: what is seen, else the period's interval."""
    times = sorted({time for each in series for time, _ in each.points})
    gaps = [after - before for before, after in pairwise(times)]
    return max(min(gaps), 1) if gaps else period.interval_ms


def _label_room(names: Iterable[str], box: Box) -> int:
    longest = max((len(str(name)) for name in names), default=0)
    return int(min(max(longest * CHAR_WIDTH + 12, 40), box.width * 0.4))


def _label(x: float, y: float, text: str, anchor: str, room: float) -> str:
    fits = max(int(room / CHAR_WIDTH), 3)
    cut = text if len(text) <= fits else text[: fits - 1] + "…"
    whole = f"<title>{escaped(text)}</title>" if cut != text else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escaped(cut)}{whole}</text>'


def _rect(x: float, y: float, width: float, height: float, color: str, title: str, opacity: float = 1.0) -> str:
    faded = "" if opacity == 1.0 else f' fill-opacity="{opacity:.2f}"'
    box = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect {box} fill="{color}"{faded}><title>{escaped(title)}</title></rect>'


def _clock(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}Z"
