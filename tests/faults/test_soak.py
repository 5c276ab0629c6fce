"""The soak at a small size: every trouble, and the account at the end.

TRAINWATCH_SOAK_MINUTES=5 makes it longer; hours are for `trainwatch bench soak`.
"""

import os
from pathlib import Path

import pytest

from pipeline.faults.servers import Servers
from pipeline.faults.soak import slope, soak
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
