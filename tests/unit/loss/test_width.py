"""Which lines make a range wide, and what would narrow it."""

import msgspec
import pytest

from pipeline.loss import claims as claim
from pipeline.loss.ledger import DIRECT, FORMULAS
from pipeline.loss.width import NARROWED_BY, WORDS, said_of_width
from pipeline.model.incident import NONE, LossLine, Range
from pipeline.model.told import Attempt


def line(job: str, kind: str, low: float, high: float, note: str = "") -> LossLine:
    return LossLine(
        ledger=DIRECT, kind=kind, attempt=Attempt("main", job, 0, 1), gpu_hours=Range(low, low, high), money=NONE, currency="",
        method="hours only", formula="", note=note, evidence=(),
    )  # fmt: skip


UNTOLD = [line("1", "invalid", 0, 100, claim.UNTOLD), line("2", "invalid", 0, 60.5, claim.UNTOLD)]
KILLED = line("3", "lost_progress", 10, 10)
RESTART = line("3", "restart", 0, 30)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], ""),
        ([KILLED], ""),
        ([msgspec.structs.replace(KILLED, gpu_hours=Range(10, 15, 20))], ""),
        ([KILLED, RESTART],
         ("30.0 GPU-hours lie between low and high; 30.0 of them are the time until the next start of 1 attempt: records do not tell it "
          "more exactly; who had these GPUs meanwhile would narrow it.")),
        ([*UNTOLD, KILLED, RESTART],
         ("190.5 GPU-hours lie between low and high; 160.5 of them are the runs of 2 attempts, and of each holds: no record says what it "
          "loaded, and others at its work loaded altered bytes; the probe in these jobs or auditd's reads of these files would narrow "
          "it.")),
    ],
    ids=["no line", "exact", "twice as much is not wide", "a restart", "the largest part speaks"],
)  # fmt: skip
def test_the_largest_part_of_a_wide_range_is_named(lines: list[LossLine], expected: str) -> None:
    """With what would narrow it; the order of lines changes nothing."""
    assert said_of_width(lines) == said_of_width(lines[::-1]) == expected


def test_stated_hours_and_lines_that_are_not_listed_are_none_of_it() -> None:
    """They are money, or a sum of others."""
    assert said_of_width([line("1", "staff", 0, 9), line("2", "others", 0, 9)]) == ""


def test_every_note_and_every_formula_has_its_words() -> None:
    """So that nothing that is open goes without what would close it."""
    others = {claim.NOT_SEEN, claim.UNSAVED, claim.TAKEN, claim.UNTOLD_SAVES, claim.UNSEEN_END, claim.AMONG}
    assert claim.HIGH_ALONE | others == NARROWED_BY.keys()
    assert WORDS.keys() == FORMULAS.keys()
