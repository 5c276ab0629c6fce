"""Rates with intervals, and the bars."""

import msgspec
import orjson
import pytest

from pipeline.cli.score import reached
from pipeline.detect.chance import wilson
from pipeline.score.checked import Checklist
from pipeline.score.incidents import Judged
from pipeline.score.seed import OfLookAlike, OfPattern, OfTransport, SeedScore
from pipeline.score.table import LookAlikeRow, Rate, _hours_of_median, for_machines, table_of
from pipeline.score.truth import Transport

HOUR = 3_600_000


def period(seed: int, *, false_on_jobs: int = 0, named_wrongly: int = 0, **patterns: OfPattern) -> SeedScore:
    """Seven days with 10,000 attempts that ended badly."""
    names = tuple(f"{pattern}-{number}" for pattern, of in patterns.items() for number in range(of.found))
    stands = Judged("i", True, names, ("u099",), True, "right", "right", len(names), 0.0, 0.0, 0.0, 0.0)
    return SeedScore(
        plan="", seed=seed, days=7, records=500_000, jobs=30_000, ended_badly=10_000, findings=9, alerts=9,
        false_alerts=false_on_jobs, false_on_jobs=false_on_jobs, below_gate_false=0, named_wrongly=["p01 job 9"] * named_wrongly,
        patterns=patterns, fell_for={"p01: debugging": false_on_jobs} if false_on_jobs else {},
        verdicts={"completed": {"benign/completed": 5}}, dead_letters=0,
        incidents=[stands] if names else [],
    )  # fmt: skip


def good(acts: int = 100, found: int = 100, shown: int = 0, shown_found: int = 0) -> OfPattern:
    """So many acts, and those that were found; of those that all sources show, too."""
    return OfPattern(
        acts=acts,
        found=found,
        shown=shown,
        shown_found=shown_found,
        seen=found,
        named=found,
        attributable=acts,
        alerts=found,
        true=found,
        delays_ms=[HOUR, 3 * HOUR],
    )


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [(0, 0, 0.0, 1.0), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634), (95, 100, 0.8882, 0.9785)],
)
def test_intervals_are_wilsons(k: int, n: int, low: float, high: float) -> None:
    """Against published values; nothing known is everything possible."""
    assert Rate(k, n).interval == pytest.approx((low, high), abs=1e-4)


def test_machines_are_told_intervals() -> None:
    """Each rate of each row, at any depth; and a table is what JSON takes."""
    told = for_machines(table_of([period(1, p01=good(10, 10)), period(2, p01=good(10, 5))]))
    row = told["rows"][0]
    assert row["recall"] == {
        "k": 15,
        "n": 20,
        "value": 0.75,
        "low": pytest.approx(0.5313, abs=1e-4),
        "high": pytest.approx(0.8881, abs=1e-4),
    }
    assert {"low", "high"} <= row["false_at_risk"].keys() & told["incidents"]["leading"].keys() & told["false_on_jobs"].keys()
    assert orjson.loads(orjson.dumps(told)) == told


def test_a_median_lies_between_ranks() -> None:
    """Of a hundred, the 40th and the 61st (Conover); five bound it on neither side."""
    hours = [number * 3_600_000 for number in range(1, 101)]
    assert _hours_of_median(hours[::-1]) == (40.0, 61.0)
    assert (_hours_of_median(hours[:5]), _hours_of_median([])) == (None, None)


def test_periods_are_added() -> None:
    """Counts, not rates."""
    table = table_of([period(1, p01=good(10, 10)), period(2, p01=good(10, 5), p09=good(4, 1))])
    (first, second) = table.rows
    assert (first.recall, second.recall, table.days) == (Rate(15, 20), Rate(1, 4), 14)
    assert first.median_delay_hours == 2.0
    assert table.verdicts == {"completed": {"benign/completed": 10}}


@pytest.mark.parametrize(
    ("scores", "is_reached"),
    [
        ([period(1, p01=good(100, 95))], True),
        ([period(1, p01=good(100, 94))], False),
        ([period(1, p09=good(100, 80))], True),
        ([period(1, p09=good(100, 79))], False),
        ([period(1, p05=good(100, 94, shown=97, shown_found=94))], True),
        ([period(1, p05=good(100, 94, shown=99, shown_found=94))], False),
        ([period(1, p01=good(), false_on_jobs=1)], True),
        ([period(1, p01=good(), false_on_jobs=2)], False),
        ([period(1, p01=good(), named_wrongly=1)], False),
        ([period(1, p01=good(0, 0))], True),
    ],
    ids=[
        "high bar",
        "below it",
        "other bar",
        "below that",
        "full telemetry",
        "below with it",
        "one in 10,000, one a week",
        "two",
        "an innocent name",
        "no acts",
    ],
)
def test_bars(scores: list[SeedScore], is_reached: bool) -> None:
    """Recall by pattern, false alerts on jobs by rate and by week, no wrong name at all."""
    assert reached(table_of(scores)) is is_reached


def test_acts_that_were_found_stand_in_incidents() -> None:
    """Without incidents, as of a results file from before they were scored, there is nothing right or wrong, and no bar is reached."""
    complete = period(1, p01=good())
    assert table_of([complete]).incidents.left_out == 0
    table = table_of([complete, msgspec.structs.replace(complete, incidents=[])])
    assert (table.incidents.left_out, reached(table)) == (100, False)


def test_false_alerts_are_counted_by_look_alike() -> None:
    """Over all periods."""
    table = table_of([period(1, false_on_jobs=1), period(2, false_on_jobs=2)])
    assert table.fell_for == {"p01: debugging": 3}
    assert (table.false_on_jobs, table.false_per_week) == (Rate(3, 20_000), 1.5)


def test_false_alerts_are_set_against_what_could_have_raised_them() -> None:
    """Events at risk by pattern, look-alikes by kind; a kind that one period lacks counts in the others."""
    first = msgspec.structs.replace(
        period(1, p01=OfPattern(alerts=3, true=1, at_risk=400)), look_alikes={"debugging": OfLookAlike("p01", 8, 1, 2)}
    )
    second = msgspec.structs.replace(
        period(2, p01=OfPattern(alerts=1, true=1, at_risk=600)), look_alikes={"roaming": OfLookAlike("p17", 5, 0, 0)}
    )
    table = table_of([first, second])
    assert table.rows[0].false_at_risk == Rate(2, 1000)
    assert table.look_alikes == (
        LookAlikeRow("debugging", "p01", Rate(1, 8), Rate(2, 8)), LookAlikeRow("roaming", "p17", Rate(0, 5), Rate(0, 5)),
    )  # fmt: skip


def test_what_was_acquitted_and_what_came_late_are_added() -> None:
    """Over all periods, the most first."""
    one = msgspec.structs.replace(
        period(1),
        checklist=Checklist(acquitted={"oom": 1, "app_error": 6}, not_acquitted={"unexplained": 1}, told=2, told_of=3),
        transport=OfTransport(Transport(duplicates=4, broken={"binary": 1}, late={"spooled": 2}), 3, {"decode_error": 1}),
    )
    table = table_of([one, one])
    assert (table.checklist.acquitted, table.checklist.by, table.checklist.told) == (Rate(14, 16), {"app_error": 12, "oom": 2}, Rate(4, 6))
    assert (table.transport.late, table.transport.held_back, table.transport.dead_letters) == (6, {"spooled": 4}, {"decode_error": 2})


def test_none_and_all_are_ends() -> None:
    """Rounding made 1.7e-15 of none, and 0.9999999999999999 of all."""
    assert {wilson(0, of)[0] for of in range(1, 2000)} == {0.0}
    assert {wilson(of, of)[1] for of in range(1, 2000)} == {1.0}
