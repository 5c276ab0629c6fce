"""Ends and silences of input channels: what a control record, or a quiet partition, does to the marks of ingest.

Only ingest decides these, and writes the decision into the stream, so that everything downstream is free of clocks.

    silence   a family that was read up to `observed` and is silent for d seconds at zero lag: advanced = observed + d, stepwise;
              one that a former owner has read, in records that are gone, goes by the progress, as one that was never seen does
    end       a record with the header `trainwatch-final`: all families jump ahead together, as at the end of input in `analyse`

Holds: the broker's now never enters, so that a replay of old logs does not jump to today; nothing here reads a clock.
"""

import math
from collections.abc import Mapping

from pipeline.stream.watermark import Marks

END_ADVANCE_MS = 86_400_000  # a channel that ended is a day past everything that was read from it
FIRST_STEP_MS, STEP_GROWTH = 1000, 1.25  # a silent day is 51 vectors a partition, not 86,400; a window closes at most a quarter late
PROGRESS = ""  # the name under which `Marks.advance` takes progress


def end_of_channel(marks: Marks) -> dict[str, int]:
    """What to advance when the channel ends: every family and the progress, to one time."""
    families = marks.own_marks()
    end = max([marks.own_progress(), *(observed for observed, _ in families.values())]) + END_ADVANCE_MS
    return {**dict.fromkeys(families, end), PROGRESS: end}


def silence(marks: Marks, silent_ms: Mapping[str, int]) -> dict[str, int]:
    """What to advance after silences: family (and PROGRESS) -> milliseconds without a record."""
    advanced = {}
    families, progress = marks.own_marks(), marks.own_progress()
    for name, duration in silent_ms.items():
        observed = progress if name == PROGRESS else families.get(name, (0, 0))[0]
        if observed:
            advanced[name] = observed + quantised(duration)
        elif name in families and progress:
            advanced[name] = progress + quantised(silent_ms.get(PROGRESS, 0))
    return advanced


def quantised(duration: int) -> int:
    """The greatest step of the grid 1 s, 1.25 s, 1.56 s ... that is not above a duration, both in milliseconds; 0 below the first."""
    if duration < FIRST_STEP_MS:
        return 0
    steps = math.floor(math.log(duration / FIRST_STEP_MS) / math.log(STEP_GROWTH) + 1e-9)
    return int(FIRST_STEP_MS * STEP_GROWTH**steps)
