"""Text from records in, text that is safe in a page out.

Log content is written by attackers: markup is escaped, and characters that would turn, hide or overwrite text are shown as what they are.
"""

import re
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape

from pipeline.model.incident import Range

CELL_MAX = 600
LARGE = 4  # decimal logarithm


def safe(value: object, length: int = CELL_MAX) -> str:
    """One line, escaped, without characters that act; cut at `length`."""
    text = str(value)
    cut = text if len(text) <= length else f"{text[: length - 1]}…"
    shown = "".join(
        " " if char in "\t\r\n" else char if unicodedata.category(char)[0] != "C" else "\N{REPLACEMENT CHARACTER}" for char in cut
    )
    return escape(shown)


def day_and_time(time_ms: int) -> str:
    """UTC, to the minute, as plain text."""
    return _utc(time_ms, "%Y-%m-%d %H:%MZ")


def second(time_ms: int) -> str:
    """UTC, to the second, as plain text."""
    return _utc(time_ms, "%Y-%m-%d %H:%M:%SZ")


def _utc(time_ms: int, form: str) -> str:
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC).strftime(form)
    except (OverflowError, ValueError, OSError):
        return "a time out of range"


def figures(amount: Range, places: int = 2) -> tuple[str, str, str]:
    """Low, middle, high for people."""
    low, middle, high = (f"{each:,.{places}f}" for each in (amount.low, amount.middle, amount.high))
    return low, middle, high


def moment(time_ms: int) -> str:
    """UTC, to the second, as an element that says so."""
    try:
        at = datetime.fromtimestamp(time_ms / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return "out of range"
    return f'<time datetime="{at:%Y-%m-%dT%H:%M:%SZ}">{at:%Y-%m-%d %H:%M:%S}Z</time>'


def ratio(logarithm: float | None) -> str:
    """A decimal logarithm as a factor.  A product of assumptions beyond ten thousand is not a number that anybody could stand for."""
    if logarithm is None:
        return "-"
    if logarithm > LARGE:
        return f"over {10**LARGE:,}"
    return f"{10**logarithm:,.0f}" if logarithm >= 1 else f"{10**logarithm:.2g}"


def table(caption: str, headings: tuple[str, ...], rows: Sequence[tuple[str, ...]], *, empty: str = "None.") -> str:
    """A table that a screen reader can walk; `rows` hold escaped cells."""
    if not rows:
        return f"<p>{safe(caption)}: {safe(empty)}</p>"
    head = "".join(f'<th scope="col">{safe(each)}</th>' for each in headings)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return (
        f'<div class="wide" role="region" aria-label="{safe(caption)}" tabindex="0"><table><caption>{safe(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def listed(items: list[str]) -> str:
    """A list of escaped items."""
    return "<ul>" + "".join(f"<li>{item}</li>" for item in items) + "</ul>" if items else "<p>None.</p>"


ATTEMPT = re.compile(r"[^/]+/([^/]+)/[0-9]+/[0-9]+")  # cluster/job/submit/start
SUBJECT = re.compile(r"(\w+):[^/]+/(.+)")  # kind:cluster/name


def called(subject: str) -> str:
    """What a finding is about, as people say it: `job 48344`, `host gpu-012`.  Anything else stays as it is."""
    if job := ATTEMPT.fullmatch(subject):
        return f"job {job[1]}"
    other = SUBJECT.fullmatch(subject)
    return f"{other[1]} {other[2]}" if other else subject
