"""What the dashboards' bench makes of its measurements."""

import pytest

from pipeline.bench.job_dashboards import JOB_SHARE, Cost, Query, percentile_90, told


def cost(board: str, milliseconds: float, share: float) -> Cost:
    return Cost(Query(board, f"What takes {milliseconds}?", "SELECT 1"), milliseconds, share)


@pytest.mark.parametrize(
    ("costs", "reached", "slow"),
    [
        ([cost("job", 10, JOB_SHARE), cost("entity", 20, 0.2)], True, False),
        ([cost("job", 10, 0.2)], False, False),
        ([cost("entity", 10, 0.5)], False, False),
        ([cost("overview", 900, 0.0)], True, True),
    ],
    ids=["all is well", "a job's panel reads too much", "a period's panel reads too much", "slow, which is the machine's affair"],
)
def test_shares_count_and_times_are_told(costs: list[Cost], reached: bool, slow: bool) -> None:
    """The share of a table that is read depends on us; milliseconds depend on the machine as well."""
    report = told(costs, 1000, 1, 1.0)
    assert report.reached is reached
    assert report.requirements[0].reached is not slow
    assert report.details[str(costs[0])] == {"milliseconds": costs[0].milliseconds, "share": costs[0].share}


def test_nine_of_ten_are_not_slower() -> None:
    """Of a single value itself."""
    assert percentile_90([7.0]) == 7.0
    assert percentile_90(list(map(float, range(11)))) == 9.0
