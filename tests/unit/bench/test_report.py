"""What a job tells people: a figure says how often it was measured."""

import pytest
from click.testing import CliRunner

from pipeline.bench.contest import rounds_of
from pipeline.bench.report import OURS, Delay, JobReport, Measured, lines, tables
from pipeline.cli import main


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


@pytest.mark.parametrize(("warms_up", "order"), [(True, "ab ab ba ab"), (False, "ab ba ab")])
def test_a_warm_up_is_run_by_all_and_not_counted(warms_up: bool, order: str) -> None:
    """Before the first round, so that nobody is the first to read what the servers have not read yet."""
    ran: list[str] = []

    def run(peer: str) -> Measured:
        ran.append(peer)
        return measured(peer)

    found = rounds_of(["a", "b"], 3, run, lambda _: None, warm_up=warms_up)
    assert "".join(ran) == order.replace(" ", "")
    assert [[each.peer for each in results] for results in found] == [["a", "b"]] * 3


def test_delays_are_shown_by_consumer() -> None:
    """Percentiles of all records, whatever their order."""
    delays = [Delay.of(OURS, [0.9, *[0.5] * 98, 0.1]), Delay.of("stock", [2.0])]
    (table,) = tables(JobReport(job="latency", title="Latency", load="", delays=delays))
    assert [[*column.cells] for column in table.columns] == [[OURS, "stock"], ["0.50", "2.00"], ["0.90", "2.00"], ["0.90", "2.00"]]


@pytest.mark.parametrize(("rounds", "told"), [("1", "medians of 1 round say little"), ("2", "medians of 2 rounds say little"), ("3", "")])
def test_few_rounds_are_told_before_anything_is_measured(rounds: str, told: str) -> None:
    """On standard error, where nobody parses it."""
    result = CliRunner().invoke(main, ["bench", "ingest", "--rounds", rounds, "--peers", "nobody"])
    assert result.exit_code == 2
    assert ("say little" in result.stderr) is bool(told)
    assert told in result.stderr
