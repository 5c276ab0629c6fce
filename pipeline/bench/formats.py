"""Lines of every format in; microseconds and lines a second of its parser out, with the format pinned and sniffed, on one core.

The formats take turns within a round, and pinned and sniffed within a format by a few lines each, so that a moment in which the machine is
slow falls on both; what is told is the median of the turns, and of the sniffed share the median of the ratios of neighbouring turns.  From
run to run it differs by less than half a per cent as a rule, by two at most (two cores, seventeen processes that wanted them).
Only the parser is measured, from the payload line to the events: no envelope, no hash, no row.  Sniffed means among the formats of the
family of topics that the format's lines come on, as ingest asks.

Holds: every line was read by its own format into at least one event, pinned and sniffed alike, before anything is timed.
"""

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from zoneinfo import ZoneInfo

import msgspec
from rich.table import Table

from pipeline.bench.format_lines import MAKERS, lines_of
from pipeline.errors import FatalError, RejectedRecord
from pipeline.formats import registry
from pipeline.formats.line import Line, Reading
from pipeline.model.source import FAMILIES, Source

READING = Reading(zone=ZoneInfo("Europe/Berlin"), reference_time=1_772_600_000_000)
JSON_RATE, LINE_RATE = 150_000, 100_000
RATES = {"sshd": LINE_RATE, "slurmctld": LINE_RATE, "megatron": LINE_RATE, "auditd": LINE_RATE}
SNIFFED_SHARE = 0.05
TURN_LINES = 50
# The rate for JSON events means objects that hold one event.  LAUREL's hold several records: three of them in the lines of the bench.
SEVERAL = frozenset({"laurel"})


class FormatSpeed(msgspec.Struct, frozen=True):
    """One parser: medians over the rounds."""

    format: str
    lines: int
    bytes_a_line: int
    json: bool
    pinned_us: float
    sniffed_us: float
    pinned_a_second: float
    sniffed_a_second: float
    sniffing_share: float  # what sniffing adds to the time of the pinned parser
    sniffing_reached: bool  # of this format alone
    required: int | None  # lines a second, pinned
    reached: bool | None


class Speeds(msgspec.Struct, frozen=True):
    """All parsers.  Whether a rate is reached depends on the machine, so that the share alone is the requirement."""

    formats: list[FormatSpeed]
    rounds: int
    sniffing_share: float  # median over the formats
    reached: bool


def measure(names: Sequence[str], count: int, rounds: int, *, seed: int, say: Callable[[str], None]) -> Speeds:
    """Time the parsers of these formats on `count` lines each.  Raises FatalError when a format does not read its own lines."""
    loads = {name: [Line(payload=payload) for payload in lines_of(name, count, seed)] for name in names}
    for name, lines in loads.items():
        _check(name, lines)
    timed: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    gc.collect()
    gc.freeze()  # the lines are not the parser's work
    for number in range(rounds):
        first = number % len(names)
        for name in [*names[first:], *names[:first]]:
            timed[name] += _timed(name, loads[name], swapped=number % 2 == 1)
        say(f"round {number + 1} of {rounds}")
    gc.unfreeze()
    speeds = [_speed(name, loads[name], timed[name]) for name in names]
    share = statistics.median(speed.sniffing_share for speed in speeds)
    return Speeds(speeds, rounds, share, share < SNIFFED_SHARE)


def _check(name: str, lines: Sequence[Line]) -> None:
    family = _family(registry.by_name(name).source)
    for line in lines:
        try:
            found, events = registry.parse(line, READING, allowed=family)
            pinned = registry.parse(line, READING, pinned=name)
        except RejectedRecord as error:
            raise _wrong(name, line, str(error)) from error
        if found.name != name or not events or pinned[1] != events:
            raise _wrong(name, line, f"read by {found.name}")


def _wrong(name: str, line: Line, why: str) -> FatalError:
    shown = line.payload[:200].decode("utf-8", "backslashreplace")
    return FatalError(
        f"{name} does not read its own line: {why}: {shown}", advice="Its speed is not reported: mend the parser or the maker."
    )


def _family(source: Source) -> frozenset[Source]:
    return next(sources for sources in FAMILIES.values() if source in sources)


def _timed(name: str, lines: Sequence[Line], *, swapped: bool) -> list[tuple[float, float]]:
    """CPU seconds a line of turns, one pinned and one sniffed; every other pair, the other one comes first; swapped, they change places."""
    family, parse = _family(registry.by_name(name).source), registry.parse
    pairs = list[tuple[float, float]]()
    for number, start in enumerate(range(0, len(lines) - TURN_LINES, 2 * TURN_LINES)):
        spent = {True: 0.0, False: 0.0}
        for turn in (0, 1):
            pinned = (turn + number + swapped) % 2 == 0
            format_, some = name if pinned else "", lines[start + turn * TURN_LINES : start + (turn + 1) * TURN_LINES]
            begun = time.process_time()
            for line in some:
                parse(line, READING, format_, family)
            spent[pinned] = (time.process_time() - begun) / len(some)
        pairs.append((spent[True], spent[False]))
    return pairs


def _speed(name: str, lines: Sequence[Line], timed: Sequence[tuple[float, float]]) -> FormatSpeed:
    pinned, sniffed = (statistics.median(pair[each] for pair in timed) for each in (0, 1))
    share = statistics.median(with_claims / alone - 1 for alone, with_claims in timed)
    is_json = lines[0].payload[:1] == b"{" and lines[0].payload[1:2] != b"'"
    required = RATES.get(name) or (JSON_RATE if is_json and name not in SEVERAL else None)
    return FormatSpeed(
        format=name,
        lines=len(lines),
        bytes_a_line=sum(len(line.payload) for line in lines) // len(lines),
        json=is_json,
        pinned_us=1e6 * pinned,
        sniffed_us=1e6 * sniffed,
        pinned_a_second=1 / pinned,
        sniffed_a_second=1 / sniffed,
        sniffing_share=share,
        sniffing_reached=share < SNIFFED_SHARE,
        required=required,
        reached=None if required is None else 1 / pinned >= required,
    )


def table(speeds: Speeds) -> Table:
    """For people."""
    found = Table(title=f"Parsers, one core, medians of {speeds.rounds} rounds", title_justify="left")
    times = "pinned us/line", "lines/s", "sniffed us/line", "lines/s"
    columns = "format", "bytes/line", *times, "sniffing adds", f"< {SNIFFED_SHARE:.0%}", "required", ""
    for number, column in enumerate(columns):
        found.add_column(column, justify="left" if number == 0 else "right", no_wrap=True)
    for each in speeds.formats:
        found.add_row(
            each.format,
            str(each.bytes_a_line),
            f"{each.pinned_us:.2f}",
            f"{each.pinned_a_second:,.0f}",
            f"{each.sniffed_us:.2f}",
            f"{each.sniffed_a_second:,.0f}",
            f"{each.sniffing_share:+.1%}",
            "yes" if each.sniffing_reached else "no",
            "" if each.required is None else f">= {each.required:,}",
            "" if each.reached is None else "reached" if each.reached else "not reached on this machine",
        )
    return found


ALL = tuple(MAKERS)
