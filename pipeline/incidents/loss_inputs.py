"""A line of a loss in; what goes into each of its readings, as arithmetic that anybody can do again, out.

    low: 256 GPUs on 32 nodes x 0.5000 h (2026-03-01 09:30:00Z to 2026-03-01 10:00:00Z) at 12 CNY per GPU-hour (rent)

The body has the same figures unrounded.
"""

from collections.abc import Iterator

from pipeline.incidents.report_text import second
from pipeline.model.incident import Input, LossLine
from pipeline.model.instants import HOUR_MS
from pipeline.model.words import many


def said_of_inputs(line: LossLine) -> Iterator[str]:
    """One text for each reading that claims something; none for lines that were put together."""
    for each in line.inputs:
        yield f"{each.reading}: {_hours(line, each)}"


def _hours(line: LossLine, each: Input) -> str:
    if each.start is None or each.end is None:
        return " + ".join(f"{priced.hours:g} h x {priced.per_hour:g} {line.currency}".rstrip() for priced in each.prices)
    text = f"{many(line.gpus, 'GPU')} on {many(line.nodes, 'node')} x {max(0, each.end - each.start) / HOUR_MS:,.4f} h"
    text += f" ({second(each.start)} to {second(each.end)})"
    text += f" x {each.share:.4f}" if each.share != 1 else ""
    text += f" - {each.elsewhere:,.2f} GPU-hours that other lines count" if each.elsewhere else ""
    priced = [priced for priced in each.prices if priced.formula]
    if len(each.prices) == 1 and priced:
        return f"{text} at {priced[0].formula}"
    parts = [f"{part.hours:,.2f} GPU-hours {f'at {part.formula}' if part.formula else 'before the first price'}" for part in each.prices]
    return f"{text}: {', '.join(parts)}" if priced else text
