"""Two ledgers: worked examples that can be checked by hand, and what holds for all claims."""

from collections.abc import Sequence
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ConfigError, InvariantViolation
from pipeline.loss import claims
from pipeline.loss.claims import KINDS, Claim, Span
from pipeline.loss.ledger import DIRECT, INDIRECT, Ledgers, Staff, ledgers
from pipeline.loss.prices import Price, Prices
from pipeline.loss.rumour import Rumour, check
from pipeline.model.incident import Range
from pipeline.model.told import Attempt
from tests.readme import README

HOUR, MINUTE, DAY = 3_600_000, 60_000, 86_400_000
NODES = tuple(f"gpu-{number:03d}" for number in range(32))
RENT = Prices([Price(since=0, currency="CNY", method="rent", gpu_hour=(12.0, 20.0, 50.0))])
FREE = Prices([])


def attempt(number: int = 1, start: int = 0) -> Attempt:
    return Attempt("main", str(48_000 + number), start, start)


def hours(found: Ledgers) -> Range:
    return found.total(DIRECT)[0]


def test_a_kill_of_a_large_job() -> None:
    """256 GPUs, half an hour since the checkpoint, ten minutes until it ran again: 171 GPU-hours."""
    lost = claims.lost_progress(attempt(), NODES, 256, saved=10 * HOUR, began=0, failed=10 * HOUR + 30 * MINUTE, evidence=["e1"])
    again = claims.restart(attempt(), NODES, 256, failed=10 * HOUR + 30 * MINUTE, resumed=10 * HOUR + 40 * MINUTE, evidence=["e1"])
    found = ledgers([lost, again], RENT, 8)
    assert (hours(found).low, hours(found).middle, hours(found).high) == pytest.approx((128.0, 170.666667, 170.666667))
    money = found.total(DIRECT)[1]
    assert (money.low, money.middle, money.high) == pytest.approx((128 * 12.0, 170.666667 * 20, 170.666667 * 50))


def test_what_high_alone_counts_names_its_price() -> None:
    """Money stands in no line without how it came about."""
    run = claims.below_gate(claims.invalid(attempt(), NODES, 256, loaded=0, end=HOUR, diverged=True, evidence=["e"]))
    (line,) = ledgers([run], RENT, 8).lines
    assert (line.money, line.method) == (Range(0.0, 0.0, 12_800.0), "rent")
    assert line.formula == "GPUs x (end - load of altered bytes); 50 CNY per GPU-hour (rent)"


def test_what_low_alone_counts_names_its_price() -> None:
    """Hours that stand under altered bytes in the other readings, and under the kill where nothing shows that results differ."""
    run = claims.invalid(attempt(), NODES, 256, loaded=0, end=HOUR, diverged=False, evidence=["e"])
    lost = claims.lost_progress(attempt(), NODES, 256, saved=0, began=0, failed=HOUR, evidence=["e"])
    found = {line.kind: line for line in ledgers([run, lost], RENT, 8).lines}
    assert (found["lost_progress"].money, found["lost_progress"].method) == (Range(3072.0, 0.0, 0.0), "rent")
    assert found["lost_progress"].formula == "GPUs x (failure - last good checkpoint); 12 CNY per GPU-hour (rent)"
    assert found["lost_progress"].note == "middle and high: other lines count these hours"
    assert "other lines" not in found["invalid"].note


def test_three_a_day_for_forty_days() -> None:
    """20.5 thousand GPU-hours: pure kills are cheap."""
    all_of_them = []
    for number in range(120):
        start = number * 8 * HOUR
        of = attempt(number, start)
        all_of_them += [
            claims.lost_progress(of, NODES, 256, saved=start + HOUR, began=start, failed=start + 90 * MINUTE, evidence=["e"]),
            claims.restart(of, NODES, 256, failed=start + 90 * MINUTE, resumed=start + 100 * MINUTE, evidence=["e"]),
        ]
    assert hours(ledgers(all_of_them, FREE, 8)).middle == pytest.approx(20_480)


@pytest.mark.parametrize(("yuan", "expected"), [(12.0, 666_667), (20.0, 400_000), (50.0, 160_000)])
def test_what_eight_million_yuan_are(yuan: float, expected: float) -> None:
    """At these prices; 256 GPUs for 109, 65 and 26 days."""
    days = expected / 256 / 24
    run = claims.invalid(attempt(), NODES, 256, loaded=0, end=round(days * DAY), diverged=True, evidence=["e"])
    money = ledgers([run], Prices([Price(since=0, currency="CNY", method="rent", gpu_hour=(yuan, yuan, yuan))]), 8).total(DIRECT)[1]
    assert money.middle == pytest.approx(8_000_000, rel=1e-4)


def test_a_stall_of_a_thousand_gpus() -> None:
    """1,024 for 40 minutes: 683 GPU-hours, 650 to 1,700 at 0.95 to 2.49."""
    nodes = [f"gpu-{number:03d}" for number in range(128)]
    stalled = claims.hang(attempt(), nodes, 1024, last_step=0, ended=40 * MINUTE, evidence=["e"])
    found = ledgers([stalled], Prices([Price(since=0, currency="USD", method="rent", gpu_hour=(0.95, 1.7, 2.49))]), 8)
    money = found.total(DIRECT)[1]
    assert (hours(found).middle, money.low, money.high) == pytest.approx((683, 650, 1700), rel=3e-3)


def test_energy_of_an_hour() -> None:
    """1.07 to 1.51 kWh at the wall, at 0.06 to 0.12: 0.06 to 0.18 for a GPU-hour."""
    own = Price(since=0, currency="USD", method="own", kilowatt=(0.97, 0.97, 0.97), pue=(1.1, 1.3, 1.56), kilowatt_hour=(1.0, 1.0, 1.0))
    assert [round(own.of_hour(reading), 2) for reading in (0, 2)] == [1.07, 1.51]
    own = msgspec.structs.replace(own, kilowatt_hour=(0.06, 0.09, 0.12))
    assert [round(own.of_hour(reading), 2) for reading in (0, 2)] == [0.06, 0.18]
    assert "PUE" in Prices([own]).periods[0].formula(1)
    assert round(msgspec.structs.replace(own, kilowatt=(0.0, 0.0, 1.05), kilowatt_hour=(0.0, 0.0, 1.0)).of_hour(2), 2) == 1.64


def test_people_of_a_quarter_cost_more_than_the_claim() -> None:
    """30 of them are 7.5 person-years."""
    hours = 30 / 4 * 1800
    staff = Staff(what="rebuilding", hours=(hours, hours, hours), per_hour=(600.0, 600.0, 600.0), evidence=())
    assert (30 / 4, hours) == (7.5, 13_500.0)
    assert ledgers([], RENT, 8, [staff]).total(INDIRECT)[1].middle == 8_100_000.0


@pytest.mark.parametrize(
    "figures",
    ["40/60 = 171 GPU-hours", "40 days 20,480",
     "666,667, 400,000 or 160,000 GPU-hours at 12, 20 or 50 yuan, 256 GPUs for 109, 65 or 26 days",
     "8,000 cards for 61 days would be 11.7 M GPU-hours, 23 M USD at 2 USD", "160,000 to 666,667 are 1 to 6 %",
     "683 GPU-hours, 650 to 1,700 USD at 0.95 to 2.49", "1.07 to 1.51 kWh", "0.06 to 0.18 USD at 0.06 to 0.12 a kWh",
     "1.05 kW at most 1.64 kWh", "30 people for a quarter are 7.5 person-years, 13,500 hours at 1,800 a year"],
)  # fmt: skip
def test_the_readme_says_what_the_examples_here_give(figures: str) -> None:
    """Whoever changes a formula changes both."""
    assert figures in " ".join(README.split())


def test_the_rumour_is_answered_from_records() -> None:
    """8,000 cards for 61 days would be 11.7 M GPU-hours; the records hold 400,000."""
    run = claims.invalid(attempt(), NODES, 256, loaded=0, end=round(400_000 / 256 * HOUR), diverged=True, evidence=["e"])
    said = check(Rumour(gpus=8000, days=61), ledgers([run], RENT, 8).loss("CNY"), ("auditd was silent for a week",))
    assert said.claimed_gpu_hours == pytest.approx(11.7e6, rel=0.01)
    assert said.recorded_gpu_hours[1] == pytest.approx(400_000, rel=1e-4)
    assert said.times_too_large == pytest.approx(29.3, rel=0.01)
    assert said.claimed_gpu_hours * 2 == pytest.approx(23e6, rel=0.02), "USD"
    assert [round(100 * each / said.claimed_gpu_hours) for each in (160_000, 666_667)] == [1, 6]
    assert (said.claimed_gpus, said.recorded_gpus) == (8000, 256)
    assert said.unknown


def test_nothing_is_counted_twice() -> None:
    """A run whose results are invalid has lost its progress already."""
    invalid = claims.invalid(attempt(), NODES[:1], 8, loaded=0, end=4 * HOUR, diverged=True, evidence=["a"])
    lost = claims.lost_progress(attempt(), NODES[:1], 8, saved=2 * HOUR, began=0, failed=6 * HOUR, evidence=["b"])
    found = ledgers([lost, invalid], FREE, 8)
    assert [(line.kind, line.gpu_hours.middle) for line in found.lines] == [("invalid", 32.0), ("lost_progress", 16.0)]
    assert hours(found).middle == 48.0


def test_attempts_that_share_a_node_may_have_held_different_gpus() -> None:
    """How many at most: one attempt's are the same, whatever is claimed of it; together they have no more than the node."""
    runs = [claims.hang(attempt(number), ["n1"], 4, last_step=0, ended=number * HOUR, evidence=["e"]) for number in (1, 1, 2, 3)]
    assert [ledgers(runs[:count], RENT, 8).loss("CNY").gpus for count in (1, 2, 3, 4)] == [4, 4, 8, 8]


def test_a_node_has_no_more_gpus_than_it_has() -> None:
    """Whoever ran there while the victim waited lost these hours, not both."""
    waiting = claims.restart(attempt(1), NODES[:1], 8, failed=0, resumed=2 * HOUR, evidence=["a"])
    meanwhile = claims.lost_progress(attempt(2), NODES[:1], 8, saved=0, began=0, failed=2 * HOUR, evidence=["b"])
    assert hours(ledgers([waiting, meanwhile], FREE, 8)) == Range(16.0, 16.0, 16.0)


def test_prices_change_in_the_middle() -> None:
    """An hour costs what it cost then; what lies before the first price is said to have none."""
    prices = Prices([
        Price(since=HOUR, currency="CNY", method="rent", gpu_hour=(10.0, 10.0, 10.0)),
        Price(since=2 * HOUR, currency="CNY", method="rent", gpu_hour=(30.0, 30.0, 30.0)),
    ])  # fmt: skip
    run = claims.invalid(attempt(), NODES[:1], 1, loaded=0, end=3 * HOUR, diverged=True, evidence=["e"])
    found = ledgers([run], prices, 8)
    assert found.total(DIRECT)[1].middle == 40.0
    assert found.unpriced == Range(1.0, 1.0, 1.0)
    assert found.lines[0].method == "rent"
    assert ledgers([run], FREE, 8).unpriced == Range(0.0, 0.0, 0.0), "where no price is set, none is the first"


def test_slow_down_is_read_against_all_siblings() -> None:
    """Low against the slowest of them; slower siblings claim nothing."""
    slow = claims.slowdown(
        attempt(), NODES[:1], 8, start=0, end=10 * HOUR, pace_ms=1250.0, usual_ms=[1000.0, 1100.0, 1300.0], evidence=["e"]
    )
    assert slow.low is None
    found = hours(ledgers([slow], FREE, 8))
    assert (found.low, found.middle, found.high) == pytest.approx((0.0, 9.6, 16.0))
    with pytest.raises(InvariantViolation):
        claims.slowdown(attempt(), NODES, 8, start=0, end=1, pace_ms=1.0, usual_ms=[], evidence=[])


def test_indirect_loss_is_a_ledger_of_its_own() -> None:
    """Staff time never mixes with GPU-hours."""
    staff = Staff(what="search for the cause", hours=(100.0, 200.0, 400.0), per_hour=(200.0, 250.0, 300.0), evidence=("n1",))
    found = ledgers([], RENT, 8, [staff])
    assert [(each.reading, each.start, each.prices[0].hours, each.prices[0].per_hour) for each in found.lines[0].inputs] == [
        ("low", None, 100.0, 200.0), ("middle", None, 200.0, 250.0), ("high", None, 400.0, 300.0),
    ]  # fmt: skip
    assert found.total(INDIRECT)[1] == Range(20_000.0, 50_000.0, 120_000.0)
    assert found.total(DIRECT) == (Range(0.0, 0.0, 0.0), Range(0.0, 0.0, 0.0))


@pytest.mark.parametrize(
    ("prices", "match"),
    [
        ([Price(since=0, currency="CNY", method="rent", gpu_hour=(1, 2, 3), staff=(1, 1, 1))], "rent contains"),
        ([Price(since=0, currency="CNY", method="own", gpu_hour=(1, 2, 3))], "never both"),
        ([Price(since=0, currency="CNY", method="own", kilowatt=(0.97, 1.0, 0.97))], "not low, middle, high"),
        ([Price(since=0, currency="CNY", method="rent"), Price(since=1, currency="USD", method="rent")], "several currencies"),
    ],
)
def test_prices_that_contradict_one_another(prices: list[Price], match: str) -> None:
    """A rent contains power and depreciation."""
    with pytest.raises(ConfigError, match=match):
        Prices(prices)


# --- what holds for all claims ----------------------------------------------------------------------------------------------------


@st.composite
def claim(draw: st.DrawFn) -> Claim:
    """Any claim of some attempts on few nodes, whose readings contain one another."""
    number = draw(st.integers(0, 3))
    start = draw(st.integers(0, 40))
    low, middle, high = sorted(draw(st.lists(st.integers(0, 20), min_size=3, max_size=3)))
    share = draw(st.sampled_from([0.25, 0.5, 1.0]))
    spans = [Span(start * HOUR, (start + length) * HOUR, share) if length else None for length in (low, middle, high)]
    first = draw(st.integers(0, 2))
    return Claim(
        kind=draw(st.sampled_from(KINDS)),
        attempt=attempt(number),
        nodes=NODES[first : first + draw(st.integers(1, 2))],
        gpus=draw(st.sampled_from([1, 4, 8, 16])),
        low=spans[0],
        middle=spans[1],
        high=spans[2],
        evidence=("e",),
    )


CLAIMS = st.lists(claim(), max_size=8)


def amounts(found: Ledgers) -> list[float]:
    hour, money = found.total(DIRECT)
    return [hour.low, hour.middle, hour.high, money.low, money.middle, money.high]


@settings(max_examples=200)
@given(CLAIMS, CLAIMS)
def test_merged_incidents_never_cost_more_than_apart(one: Sequence[Claim], other: Sequence[Claim]) -> None:
    """And never less than either."""
    merged, first, second = (amounts(ledgers(each, RENT, 8)) for each in ([*one, *other], one, other))
    for together, a, b in zip(merged, first, second, strict=True):
        assert together <= a + b + 1e-3
        assert together >= max(a, b) - 1e-3


@given(CLAIMS)
def test_lines_are_never_negative_and_readings_ascend(some: Sequence[Claim]) -> None:
    """Low is at most middle, middle at most high, in total."""
    found = ledgers(some, RENT, 8)
    assert all(getattr(line.gpu_hours, reading) >= 0 for line in found.lines for reading in ("low", "middle", "high"))
    low, middle, high = amounts(found)[:3]
    assert low <= middle + 1e-6
    assert middle <= high + 1e-6


@given(CLAIMS, st.randoms(use_true_random=False))
def test_order_and_repetition_change_nothing(some: list[Claim], dice: Random) -> None:
    """The same claims, the same lines."""
    shuffled = [*some, *some]
    dice.shuffle(shuffled)
    assert ledgers(shuffled, RENT, 8) == ledgers(some, RENT, 8)


@given(CLAIMS)
def test_lines_of_disjoint_attempts_add_up(some: Sequence[Claim]) -> None:
    """On nodes of their own they have nothing to do with one another."""
    apart = [msgspec.structs.replace(each, attempt=attempt(100 + n), nodes=(f"node-{n}",)) for n, each in enumerate(some)]
    total = amounts(ledgers(apart, RENT, 64))
    each = [amounts(ledgers([one], RENT, 64)) for one in apart]
    for place, value in enumerate(total):
        assert value == pytest.approx(sum(one[place] for one in each), abs=1e-3)


TWO_PRICES = Prices([
    Price(since=10 * HOUR, currency="CNY", method="rent", gpu_hour=(12.0, 20.0, 50.0)),
    Price(since=25 * HOUR, currency="CNY", method="own", depreciation=(6.0, 8.0, 10.0), staff=(0.0, 0.5, 1.0)),
])  # fmt: skip


@given(CLAIMS)
def test_every_amount_can_be_worked_out_again_from_its_inputs(some: Sequence[Claim]) -> None:
    """Hours of each reading from GPUs, times and share, money from hours and prices; nothing else goes in."""
    for line in ledgers(some, TWO_PRICES, 8).lines:
        told = {each.reading: each for each in line.inputs}
        for reading in ("low", "middle", "high"):
            hours, money = getattr(line.gpu_hours, reading), getattr(line.money, reading)
            if (each := told.get(reading)) is None:
                assert (hours, money) == (0.0, 0.0)
                continue
            assert each.start is not None
            assert each.end is not None
            assert hours == pytest.approx(line.gpus * (each.end - each.start) / HOUR * each.share - each.elsewhere, abs=1e-5)
            assert hours == pytest.approx(sum(priced.hours for priced in each.prices), abs=1e-5)
            assert money == pytest.approx(sum(priced.hours * priced.per_hour for priced in each.prices), abs=1e-3)


def test_a_line_names_the_method_of_its_own_price() -> None:
    """Of two that follow each other: never both at once, which would count power twice."""
    runs = [claims.hang(attempt(number), [f"n{number}"], 8, last_step=at * HOUR, ended=(at + 10) * HOUR, evidence=["e"])
            for number, at in enumerate((10, 20, 30))]  # fmt: skip
    assert [line.method for line in ledgers(runs, TWO_PRICES, 8).lines] == ["rent", "rent then own", "own"]


def test_a_delay_is_stated_like_peoples_time() -> None:
    """In the indirect ledger, under its own kind."""
    late = Staff(kind="delay", what="release a week late", hours=(100.0, 168.0, 200.0), per_hour=(1.0, 2.0, 3.0), evidence=("memo-1",))
    found = ledgers([], RENT, 8, [late])
    assert [(line.ledger, line.kind, line.money.middle) for line in found.lines] == [(INDIRECT, "delay", 336.0)]
