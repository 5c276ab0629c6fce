"""The soak at a small size: every trouble, and the account at the end.

TRAINWATCH_SOAK_MINUTES=5 makes it longer, and `deploy/test --long` sets that; hours are for `trainwatch bench soak`.
"""

import os
from pathlib import Path

import msgspec
import pytest

from pipeline.faults.run import Result
from pipeline.faults.servers import Servers
from pipeline.faults.soak import Sample, Soaked, slope, soak
from pipeline.settings import Settings

MINUTES = float(os.environ.get("TRAINWATCH_SOAK_MINUTES", "0.4"))
RATE = 300.0
TROUBLES = {"cut", "freeze", "join", "kill", "retention", "rotate", "slow", "stop"}


@pytest.mark.servers
def test_a_site_under_small_troubles_loses_nothing(shared: Settings, tmp_path: Path) -> None:
    """Each kind of trouble came about, something was folded again, and nothing of it can be seen in what came out."""
    lines: list[str] = []
    soaked = soak(Servers(shared), tmp_path / "site", seconds=60 * MINUTES, rate=RATE, seed=2, say=lines.append)
    assert not soaked.wrong, "\n".join([*soaked.wrong, *lines])
    assert soaked.troubles.keys() >= TROUBLES - {"retention"}  # nothing may be committed yet when its turn comes
    assert soaked.result.findings
    assert all(sample.resident_mib > 0 and sample.files > 0 for sample in soaked.samples)
    assert max(sample.rows_mib for sample in soaked.samples) > 0


@pytest.mark.parametrize(
    ("points", "expected"),
    [([], 0.0), ([(1.0, 5.0)], 0.0), ([(1.0, 5.0), (1.0, 7.0)], 0.0), ([(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)], 2.0)],
    ids=["none", "one", "at one time", "a line"],
)
def test_slope(points: list[tuple[float, float]], expected: float) -> None:
    """Least squares."""
    assert slope(points) == pytest.approx(expected)


@pytest.mark.parametrize(("minutes", "mib_an_hour", "flat"), [(30, 500, None), (120, 0, True), (120, 50, True), (120, 60, False)], ids=str)
def test_memory_is_judged_when_there_is_time_to_tell(minutes: int, mib_an_hour: float, flat: bool | None) -> None:
    """By the bytes of a record: 51 MiB an hour at 150 a second; at a low rate by what an idle process breathes."""
    samples = [Sample(60.0 * at, 200 + mib_an_hour * at / 60, 20, 0, 1.0) for at in range(minutes + 1)]
    result = Result(
        fault="soak", seed=1, attempt=0, bit=True, records=1, replayed=0, take_overs=9, restarts=0, crashes=0, retries=0, lost=0,
        doubled=0, findings=1, findings_equal=True, verdicts_equal=True, seconds=1.0,
    )  # fmt: skip
    soaked = Soaked(result=result, sent=1, records_per_second=150.0, troubles={}, samples=samples)
    assert soaked.flat is flat
    assert msgspec.structs.replace(soaked, records_per_second=1.0).memory_slope_max == 20
