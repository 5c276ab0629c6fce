"""A line of a loss in; what goes into each of its readings, as arithmetic that anybody can do again, out.

    low / middle: 256 GPUs on 32 nodes x 0.5000 h (2026-03-01 09:30:00Z to 2026-03-01 10:00:00Z) at 12 CNY per GPU-hour (rent) / 20 CNY ...

The body has the same figures unrounded.
"""

from collections.abc import Iterator
from itertools import groupby

from pipeline.incidents.report_text import second
from pipeline.model.incident import Input, LossLine
from pipeline.model.instants import HOUR_MS
from pipeline.model.words import many


def said_of_inputs(line: LossLine) -> Iterator[str]:
    """One text for all readings that count the same hours; none for lines that were put together."""
    for hours, group in groupby(line.inputs, lambda each: _hours(line, each)):
        alike = list(group)
        prices = [price for each in alike if (price := _price(line, each))]
        yield f"{' / '.join(each.reading for each in alike)}: {hours}{' at ' if prices else ''}{' / '.join(prices)}"


def _hours(line: LossLine, each: Input) -> str:
    if each.start is None or each.end is None:
        return " + ".join(f"{priced.hours:g} h" for priced in each.prices)
    text = f"{many(line.gpus, 'GPU')} on {many(line.nodes, 'node')} x {max(0, each.end - each.start) / HOUR_MS:,.4f} h"
    text += f" ({second(each.start)} to {second(each.end)})"
    text += f" x {each.share:.4f}" if each.share != 1 else ""
    return text + (f" - {each.elsewhere:,.2f} GPU-hours that other lines count" if each.elsewhere else "")


def _price(line: LossLine, each: Input) -> str:
    """Of several the hours of each."""
    if each.start is None:
        return " + ".join(f"{priced.per_hour:g} {line.currency}".rstrip() for priced in each.prices)
    if len(each.prices) == 1:
        return each.prices[0].formula
    if not any(priced.formula for priced in each.prices):
        return ""
    return " + ".join(
        f"{priced.formula or 'no price, being before the first,'} for {priced.hours:,.2f} GPU-hours" for priced in each.prices
    )
