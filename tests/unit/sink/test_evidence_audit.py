"""What an audit of the evidence tells of many problems."""

from collections import Counter

from pipeline.evidence.verify import Problem
from pipeline.sink.evidence_audit import LIKE_MAX, left_out, unlike


def test_a_flood_at_one_place_hides_nothing_elsewhere() -> None:
    """Whoever adds a thousand rows under one offset would else have hidden the line that he changed at another."""
    flood = [Problem("line_changed", "logs.access/0@7", f"row {number}") for number in range(5000)]
    other = Problem("line_changed", "logs.access/0@9", "row 0")
    alike: Counter[tuple[str, str]] = Counter()
    kept = list(unlike([*flood, other], alike))
    assert kept == [*flood[:LIKE_MAX], other]
    assert alike == {("line_changed", "logs.access/0@7"): 5000, ("line_changed", "logs.access/0@9"): 1}
    assert left_out(alike) == [f"{5000 - LIKE_MAX} more line_changed at logs.access/0@7"]
