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
    """Half an hour since the checkpoint, as the README works it out; all readings count the same hours."""
    lost = claims.lost_progress(*OF, saved=T0 + 30 * MINUTE, began=T0, failed=T0 + HOUR, evidence=["e"])
    (line,) = ledgers([lost], PRICES, 8).lines
    (said,) = said_of_inputs(line)
    assert said == (
        "low / middle / high: 256 GPUs on 32 nodes x 0.5000 h (2026-03-01 22:30:00Z to 2026-03-01 23:00:00Z) at "
        "12 CNY per GPU-hour (rent) / 20 CNY per GPU-hour (rent) / 50 CNY per GPU-hour (rent)"
    )


def test_shares_hours_counted_elsewhere_and_two_prices() -> None:
    """A slow run, the first half hour of which another line counts, over a change of price."""
    slow = claims.slowdown(*OF, start=T0, end=T0 + 2 * HOUR, pace_ms=2000.0, usual_ms=[1000.0], evidence=["e"])
    spoilt = claims.invalid(*OF, loaded=T0, end=T0 + HOUR // 2, diverged=True, evidence=["e"])
    line = ledgers([slow, spoilt], PRICES, 8).lines[1]
    assert [*said_of_inputs(line)] == [
        "low / middle / high: 256 GPUs on 32 nodes x 2.0000 h (2026-03-01 22:00:00Z to 2026-03-02 00:00:00Z) x 0.5000 - 64.00 GPU-hours "
        "that other lines count at "
        + " / ".join(
            f"{first} CNY per GPU-hour (rent) for 64.00 GPU-hours + {then} CNY per GPU-hour (rent) for 128.00 GPU-hours"
            for first, then in ((12, 10), (20, 15), (50, 40))
        )
    ]


def test_hours_without_a_price() -> None:
    """Where none is set nothing is said of it; hours before the first one are told as such."""
    lost = claims.lost_progress(*OF, saved=T0 - HOUR, began=T0 - HOUR, failed=T0 + HOUR, evidence=["e"])
    (line,) = ledgers([lost], Prices([]), 8).lines
    assert next(said_of_inputs(line)).endswith("(2026-03-01 21:00:00Z to 2026-03-01 23:00:00Z)")
    (line,) = ledgers([lost], PRICES, 8).lines
    assert (
        next(said_of_inputs(line))
        .partition(" at ")[2]
        .startswith("no price, being before the first, for 256.00 GPU-hours + 12 CNY per GPU-hour (rent) for 256.00 GPU-hours / ")
    )


def test_readings_that_count_different_hours_stand_apart() -> None:
    """Low of a run that told no save counts nothing, middle half an hour, high from its start."""
    lost = claims.lost_progress(*OF, saved=None, began=T0, failed=T0 + 2 * HOUR, evidence=["e"])
    (line,) = ledgers([lost], PRICES, 8).lines
    assert [each.partition(":")[0] for each in said_of_inputs(line)] == ["middle", "high"]


def test_what_people_state() -> None:
    """Hours and rate of each reading."""
    staff = Staff(what="search", hours=(10.0, 20.0, 30.0), per_hour=(100.0, 150.0, 200.0), evidence=("ticket-1",))
    (line,) = ledgers([], PRICES, 8, [staff]).lines
    assert [*said_of_inputs(line)] == ["low: 10 h at 100 CNY", "middle: 20 h at 150 CNY", "high: 30 h at 200 CNY"]
