"""What goes into a line of a loss, in words that anybody can work out again."""

from pipeline.incidents.loss_inputs import said_of_inputs
from pipeline.loss import claims
from pipeline.loss.ledger import Staff, ledgers
from pipeline.loss.prices import Price, Prices
from pipeline.model.told import Attempt

HOUR, MINUTE = 3_600_000, 60_000
T0 = 1_772_402_400_000  # 2026-03-01 22:00 UTC
OF = (Attempt("main", "48001", T0, T0), [f"gpu-{number:03d}" for number in range(32)], 256)
PRICES = Prices([
    Price(since=T0, currency="CNY", method="rent", gpu_hour=(12.0, 20.0, 50.0)),
    Price(since=T0 + HOUR, currency="CNY", method="rent", gpu_hour=(10.0, 15.0, 40.0)),
])  # fmt: skip


def test_a_kill_of_a_large_job() -> None:
    """Half an hour since the checkpoint, as the README works it out."""
    lost = claims.lost_progress(*OF, saved=T0 + 30 * MINUTE, began=T0, failed=T0 + HOUR, evidence=["e"])
    (line,) = ledgers([lost], PRICES, 8).lines
    assert [*said_of_inputs(line)] == [
        f"{reading}: 256 GPUs on 32 nodes x 0.5000 h (2026-03-01 22:30:00Z to 2026-03-01 23:00:00Z) at {price} CNY per GPU-hour (rent)"
        for reading, price in (("low", 12), ("middle", 20), ("high", 50))
    ]


def test_shares_hours_counted_elsewhere_and_two_prices() -> None:
    """A slow run, the first hour of which another line counts, over a change of price."""
    slow = claims.slowdown(*OF, start=T0, end=T0 + 2 * HOUR, pace_ms=2000.0, usual_ms=[1000.0], evidence=["e"])
    spoilt = claims.invalid(*OF, loaded=T0, end=T0 + HOUR // 2, diverged=True, evidence=["e"])
    line = ledgers([slow, spoilt], PRICES, 8).lines[1]
    assert [*said_of_inputs(line)][1] == (
        "middle: 256 GPUs on 32 nodes x 2.0000 h (2026-03-01 22:00:00Z to 2026-03-02 00:00:00Z) x 0.5000 - 64.00 GPU-hours that other "
        "lines count: 64.00 GPU-hours at 20 CNY per GPU-hour (rent), 128.00 GPU-hours at 15 CNY per GPU-hour (rent)"
    )


def test_hours_without_a_price() -> None:
    """Where none is set nothing is said of it; hours before the first one are told as such."""
    lost = claims.lost_progress(*OF, saved=T0 - HOUR, began=T0 - HOUR, failed=T0 + HOUR, evidence=["e"])
    (line,) = ledgers([lost], Prices([]), 8).lines
    assert next(said_of_inputs(line)).endswith("(2026-03-01 21:00:00Z to 2026-03-01 23:00:00Z)")
    (line,) = ledgers([lost], PRICES, 8).lines
    assert next(said_of_inputs(line)).endswith(": 256.00 GPU-hours before the first price, 256.00 GPU-hours at 12 CNY per GPU-hour (rent)")


def test_what_people_state() -> None:
    """Hours and rate of each reading."""
    staff = Staff(what="search", hours=(10.0, 20.0, 30.0), per_hour=(100.0, 150.0, 200.0), evidence=("ticket-1",))
    (line,) = ledgers([], PRICES, 8, [staff]).lines
    assert [*said_of_inputs(line)] == ["low: 10 h x 100 CNY", "middle: 20 h x 150 CNY", "high: 30 h x 200 CNY"]
