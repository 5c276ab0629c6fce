"""What a job tells people: a figure says how often it was measured."""

import pytest

from pipeline.bench.report import OURS, JobReport, Measured, lines, tables


def measured(peer: str, seconds: float = 1.0) -> Measured:
    """A run."""
    return Measured(peer, 1000, seconds, seconds, 50.0)


@pytest.mark.parametrize(("rounds", "said"), [(1, " (1 round)"), (2, " (2 rounds)"), (3, ""), (5, "")])
def test_a_line_of_few_rounds_says_so(rounds: int, said: str) -> None:
    """One or two have no median that says anything."""
    found = lines([[measured(OURS), measured("stock", 2.0)]] * rounds)
    assert [line.rounds for line in found] == [rounds, rounds]
    (table,) = tables(JobReport(job="mix", title="Whole path", load="1,000 records", lines=found))
    assert [*table.columns[0].cells] == [OURS + said, "stock" + said]


def test_a_peer_that_ran_less_often_says_so_alone() -> None:
    """And is compared with nobody."""
    ours, stock = lines([[measured(OURS), measured("stock")], [measured(OURS)], [measured(OURS)]])
    assert (ours.name, stock.name) == (OURS, "stock (1 round)")
    assert stock.ours_to_it is None
