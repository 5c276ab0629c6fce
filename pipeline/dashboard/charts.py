"""Series in; what the page's script draws, and the same values as rows of a table, out.

A `Chart` is data alone: names, colours, points.  How it looks is `draw.js`'s business, which gives it to Apache ECharts; the table is for
who has no script, for a screen reader, and for who wants the number itself.  Text is cleaned here and stays text: it is escaped where it
enters the page, as JSON or as HTML.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from pipeline.dashboard.period import Period
from pipeline.dashboard.text import cleaned, number

LABEL_MAX = 200  # characters of a name, a state, a moment

Points = Sequence[tuple[int, float | None]]


@dataclass(frozen=True, slots=True)
class Series:
    """One line, or one colour of bars."""

    name: str
    color: str
    points: Points

    def drawing(self) -> dict[str, Any]:
        """As the script reads it: a value that is not a number is a gap."""
        return {"name": _label(self.name), "color": self.color, "points": [[at, finite(value)] for at, value in self.points]}


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened, marked across a chart."""

    time_ms: int
    text: str
    color: str


@dataclass(frozen=True, slots=True)
class State:
    """A state and from when it holds."""

    time_ms: int
    text: str
    color: str


@dataclass(frozen=True, slots=True)
class Chart:
    """What is drawn, JSON throughout, and its values as text: headings, then rows."""

    drawing: Mapping[str, Any]
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


# --- over time ------------------------------------------------------------------------------------------------------------------------


def time_series(series: Sequence[Series], period: Period, *, unit: str, bars: bool, stacked: bool, moments: Sequence[Moment] = ()) -> Chart:
    """Lines, or bars of one interval each, which may stand on one another."""
    drawing = _over_time("bars over time" if bars else "lines", period, moments) | {
        "unit": unit,
        "step": _step(series, period) if bars else 0,
        "stacked": stacked,
        "whole": bars and unit == "short" and _whole(series),
        "series": [each.drawing() for each in (_aligned(series) if bars else series)],
    }
    return Chart(drawing, *_by_time(series, unit))


def heat_map(series: Sequence[Series], period: Period, unit: str) -> Chart:
    """A row per series, a cell per interval; darker is more, on a scale of square roots."""
    most = max((value for each in series for _, value in each.points if value and math.isfinite(value)), default=1.0)
    step = _step(series, period)
    cells = [
        [time, time + step, row, value, round(0.15 + 0.85 * math.sqrt(value / most), 3)]
        for row, each in enumerate(series)
        for time, value in each.points
        if value and math.isfinite(value) and value > 0
    ]
    drawing = _over_time("heat map", period, ()) | {
        "unit": unit,
        "color": series[0].color if series else "",
        "lanes": [_label(each.name) for each in series],
        "cells": cells,
    }
    return Chart(drawing, *_by_time(series, unit))


def state_timeline(lanes: Mapping[str, Sequence[State]], period: Period, moments: Sequence[Moment] = ()) -> Chart:
    """A row per lane; a state lasts until the next one; an empty text is no state.  Moments are marked across all lanes."""
    states: dict[str, dict[str, Any]] = {}
    rows = []
    for row, (lane, given) in enumerate(lanes.items()):
        for each, end_ms in zip(given, [*(state.time_ms for state in given), period.to_ms][1:], strict=True):
            start, end = max(each.time_ms, period.from_ms), min(end_ms, period.to_ms)
            if each.text and start <= period.to_ms and end >= period.from_ms:
                state = states.setdefault(each.text, {"name": _label(each.text), "color": each.color, "spans": []})
                state["spans"].append([start, end, row])
                rows.append((clock(start), clock(end), cleaned(lane), cleaned(each.text)))
    drawing = _over_time("states", period, moments) | {"lanes": [_label(lane) for lane in lanes], "series": list(states.values())}
    return Chart(drawing, ("from", "to", "of", "state"), rows)


# --- by category ----------------------------------------------------------------------------------------------------------------------


def bars(
    names: Sequence[str], series: Sequence[Series], *, unit: str, stacked: bool, horizontal: bool, maximum: float | None = None
) -> Chart:
    """Categories with one bar each, of several colours when stacked; `points` of a series are (number of the category, value)."""
    values = [{index: finite(value) for index, value in each.points} for each in series]
    rows = [(cleaned(name), *(_written(each.get(index), unit) for each in values)) for index, name in enumerate(names)]
    drawing = {
        "kind": "bars",
        "unit": unit,
        "stacked": stacked,
        "horizontal": horizontal,
        "maximum": maximum,
        "whole": unit == "short" and _whole(series),
        "names": [_label(name) for name in names],
        "series": [
            {"name": _label(each.name), "color": each.color, "values": [given.get(index) for index in range(len(names))]}
            for each, given in zip(series, values, strict=True)
        ],
    }
    return Chart(drawing, ("", *(cleaned(each.name) for each in series)), rows)


# --- shared ---------------------------------------------------------------------------------------------------------------------------


def finite(value: float | None) -> float | None:
    """JSON has no word for what is not a number, nor for what has no end."""
    return value if value is not None and math.isfinite(value) else None


def clock(time_ms: int) -> str:
    """UTC, to the second."""
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}Z"


def _over_time(kind: str, period: Period, moments: Sequence[Moment]) -> dict[str, Any]:
    marks = [[each.time_ms, _label(each.text), each.color] for each in moments if period.from_ms <= each.time_ms <= period.to_ms]
    return {"kind": kind, "from": period.from_ms, "to": period.to_ms, "moments": marks}


def _by_time(series: Sequence[Series], unit: str) -> tuple[list[str], list[list[str]]]:
    """A row per time, a column per series."""
    values = [dict(each.points) for each in series]
    times = sorted({time for each in series for time, _ in each.points})
    return (
        ["time", *(cleaned(each.name) for each in series)],
        [[clock(time), *(_written(finite(each.get(time)), unit) for each in values)] for time in times],
    )


def _aligned(series: Sequence[Series]) -> list[Series]:
    """Each with every time of all: the library stacks bars by their position, not by their time."""
    times = sorted({time for each in series for time, _ in each.points})
    return [
        Series(each.name, each.color, [(time, values.get(time)) for time in times]) for each in series for values in (dict(each.points),)
    ]


def _written(value: float | None, unit: str) -> str:
    return "" if value is None else number(value, unit)


def _step(series: Sequence[Series], period: Period) -> int:
    """The distance between points: what is seen, else the period's interval."""
    times = sorted({time for each in series for time, _ in each.points})
    gaps = [after - before for before, after in pairwise(times)]
    return max(min(gaps), 1) if gaps else period.interval_ms


def _whole(series: Sequence[Series]) -> bool:
    return all(value == int(value) for each in series for _, value in each.points if value is not None and math.isfinite(value))


def _label(text: str) -> str:
    return cleaned(text, LABEL_MAX)
