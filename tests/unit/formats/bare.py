"""Lines for comparison, without the object that they stood in."""

from collections.abc import Iterable

import msgspec

from pipeline.formats.line import Line


def bare(lines: Iterable[Line]) -> list[Line]:
    """The lines, and nothing beside them."""
    return [msgspec.structs.replace(line, beside=None, tagged=False, writer="") for line in lines]
