"""Values in, text for a page out: escaped, in the unit that the panel names.

Log content is written by attackers: everything that goes into the page passes `escaped`, or `cleaned` where it goes in as JSON; control
characters and what turns the direction of text included.
"""

import html
import math
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

CELL_MAX = 2000
COLORS = {
    "green": "#3d9950", "yellow": "#c99a00", "orange": "#e0752d", "red": "#d44a3a", "purple": "#8f3bb8", "blue": "#3274d9",
    "text": "#8e8e99", "transparent": "none",
}  # fmt: skip
PALETTE = (
    "#3274d9",
    "#3d9950",
    "#e0752d",
    "#8f3bb8",
    "#c99a00",
    "#d44a3a",
    "#1f9e9e",
    "#b5527f",
    "#6b7f2a",
    "#5a5fcf",
    "#8a6d3b",
    "#777788",
)


def escaped(value: object, length: int = CELL_MAX) -> str:
    """`cleaned`, and harmless in an element and in a quoted attribute."""
    return html.escape(cleaned(value, length), quote=True)


def cleaned(value: object, length: int = CELL_MAX) -> str:
    """One line without what moves a cursor or turns text around; cut at `length`."""
    plain = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    if len(plain) > length:
        plain = plain[: length - 1] + "…"
    return "".join(" " if char in "\t\r\n" else char if unicodedata.category(char)[0] != "C" else "�" for char in plain)


def color_of(name: str, number: int = 0) -> str:
    """Hexadecimal; names are Grafana's, others come from the palette."""
    return COLORS.get(name, PALETTE[number % len(PALETTE)])


def moment(time: datetime) -> str:
    """UTC, to the second, with milliseconds where there are some."""
    shown = time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    return f"{shown:%Y-%m-%d %H:%M:%S}" + (f".{shown.microsecond // 1000:03d}" if shown.microsecond else "")


def shown(value: Any, field: Mapping[str, Any]) -> str:
    """A value as a panel shows it, not escaped yet."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return number(float(value), str(field.get("unit", "short")), field.get("decimals"))
    if isinstance(value, list | tuple):
        return ", ".join(shown(each, field) for each in value)
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def number(value: float, unit: str, decimals: int | None = None) -> str:
    """With its unit, at most four digits where none are asked for."""
    if not math.isfinite(value):
        return ""
    if unit == "percentunit":
        return f"{value * 100:.{decimals if decimals is not None else 1}f} %"
    if unit == "bytes":
        return _scaled(value, 1024, ("B", "KiB", "MiB", "GiB", "TiB", "PiB"), decimals)
    if unit in ("s", "ms"):
        return _duration(value if unit == "s" else value / 1000, decimals)
    if unit == "h":
        return f"{value:,.{decimals if decimals is not None else 1}f} h"
    return _plain(value, decimals) + ("/s" if unit == "cps" else "")


def _plain(value: float, decimals: int | None) -> str:
    if decimals is not None:
        return f"{value:,.{decimals}f}"
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:.4g}"


def _scaled(value: float, base: int, names: tuple[str, ...], decimals: int | None) -> str:
    power = 0
    while abs(value) >= base and power < len(names) - 1:
        value, power = value / base, power + 1
    return f"{value:.{decimals if decimals is not None else (0 if power == 0 else 1)}f} {names[power]}"


def _duration(seconds: float, decimals: int | None) -> str:
    for size, name in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        if abs(seconds) >= size:
            return f"{seconds / size:.{decimals if decimals is not None else 1}f} {name}".replace(".0 ", " ")
    return f"{seconds * 1000:.0f} ms" if seconds else "0 s"


def threshold_color(value: float, field: Mapping[str, Any]) -> str:
    """Of the highest step that the value reaches."""
    color = "text"
    for step in field.get("thresholds", {}).get("steps", ()):
        if step["value"] is None or value >= step["value"]:
            color = step["color"]
    return color_of(color)


def mapped_color(value: str, field: Mapping[str, Any]) -> str | None:
    """The colour that a mapping gives to a text; None when none does."""
    for mapping in field.get("mappings", ()):
        found = mapping["options"].get(value) if mapping["type"] == "value" else None
        if found is not None:
            return color_of(str(found["color"]))
    return None
